//! `wbsync verify-proof`: checks a proof, without an instance.

use std::path::PathBuf;

use crate::cli::commands::diff::value_text;
use crate::cli::context::Context;

use crate::cli::failure::Failure;
use crate::cli::text::HEADING;
use crate::sync::error::{Error, exit};
use crate::sync::proof::{PROOF_BYTES_MAX, Proven, Trusted};
use crate::sync::prove::verify;
use crate::sys::disk;

/// Check a proof that a signed state holds a record
///
/// Needs no instance and no keys: only the file, and whom to believe. Exit code 8 if it proves that the record isn't there (with --absent: that it is),
/// 6 if it proves nothing, 5 if it is about another origin's records. It shows what was signed once; a later state may differ.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  wbsync verify-proof requests-0198f3a1.proof --origin SHA256:wJ…
  wbsync verify-proof request.proof --origin alpha.card --json")]
pub struct Args {
    /// The proof
    file: PathBuf,
    /// Whose records these have to be: a fingerprint, an id, a card, or a file with one
    #[arg(long, value_name = "FINGERPRINT|ID|CARD|FILE")]
    origin: String,
    /// It has to show that the state doesn't hold the record
    #[arg(long)]
    absent: bool,
}

/// Runs it.
///
/// # Errors
/// The file can't be read; `Card`; `Proof`.
pub fn run(context: &mut Context, args: Args) -> Result<(), Failure> {
    let trusted = Trusted::read(&args.origin, &context.dir)?;
    let path = context.dir.join(args.file);
    // One byte more is read, so that a longer file is told apart.
    let bytes = disk::read_start(&path, PROOF_BYTES_MAX as u64 + 1).map_err(Error::io("read", &path))?;
    let proven = verify(&path, &bytes, &trusted)?;
    context.answer(&proven, &describe(&proven))?;
    if proven.present == args.absent {
        context.exit_with(exit::FINDINGS);
        if proven.present {
            context.hint("the file proves the opposite of what was asked for");
        } else {
            context.hint("the file proves that it isn't there: with `--absent` that is what is asked for");
        }
    }
    Ok(())
}

fn describe(proven: &Proven) -> String {
    let is = if proven.present { "is" } else { "is not" };
    let mut text = format!("{HEADING}{} {is} in the signed state{HEADING:#}\n", proven.record);
    let public = if proven.public { ", public" } else { "" };
    text += &format!("origin  {} ({})\nscope   {}{public}\n", proven.fingerprint, proven.origin, proven.scope);
    let signer = if proven.signer == proven.origin { "the origin".into() } else { format!("writer {}", proven.signer) };
    text += &format!("head    {} of {signer}, {}\ncommit  {}\n", proven.seq, proven.time, proven.commit);
    for (field, values) in &proven.fields {
        text += &format!("{field}:\n");
        for value in values {
            text += &format!("  {}\n    by {}, {}\n", value_text(&value.value), value.author, value.time);
        }
    }
    text
}
