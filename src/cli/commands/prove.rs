//! `wbsync prove`: a file that shows others that a record is in a signed state.

use std::path::PathBuf;

use serde_json::json;

use crate::cli::context::Context;
use crate::cli::failure::Failure;
use crate::cli::text::{count, mode_of, planned};
use crate::sync::commit::Mode;
use crate::sync::error::Error;
use crate::sync::instance::Purpose;
use crate::sync::prove::{Asked, Made};
use crate::sys::disk::Access;
use crate::sys::output;

/// Prove that a signed state holds a record, or doesn't
///
/// The file lets anybody who knows the origin check it with `wbsync verify-proof`, without keys or an instance. It holds the record whole, and its
/// neighbours in the tree: format/proof.md says what it reveals.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  wbsync prove requests/0198f3a1
  wbsync prove requests/0198f3a1 --scope beta/public --signer beta --output request.proof
  wbsync prove requests/0198f3a17c6d7b1e9a4c5d6e7f809112 --absent --scope public
  wbsync prove requests/0198f3a1 --scope trusted --dry-run")]
pub struct Args {
    /// A record: `dataset/key`, or the first digits of the key; all digits with --absent
    record: String,
    /// Write to FILE instead of DATASET-DIGITS.proof
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// In this scope: `public`, `beta/public`
    #[arg(long, value_name = "SCOPE")]
    scope: Option<String>,
    /// By the head of this instance; otherwise the origin's, or another that shows it
    #[arg(long, value_name = "NAME")]
    signer: Option<String>,
    /// Prove that there is no such record
    #[arg(long, requires = "scope")]
    absent: bool,
    /// Allow a proof about a scope that isn't public, which whoever gets it can read
    #[arg(long)]
    reveal: bool,
    /// Say what the proof would hold and write nothing
    #[arg(long)]
    dry_run: bool,
}

/// Runs it.
///
/// # Errors
/// As `Instance::prove`; the file can't be written.
pub fn run(context: &mut Context, args: Args) -> Result<(), Failure> {
    let mode = mode_of(args.dry_run);
    let made = context.instance(Purpose::Look)?.prove(&Asked {
        record: &args.record,
        scope: args.scope.as_deref(),
        signer: args.signer.as_deref(),
        absent: args.absent,
        // Who only asks what it would reveal reveals nothing.
        reveal: args.reveal || args.dry_run,
    })?;
    let bytes = made.proof.encode();
    let digits = made.proof.key.short();
    let path = args.output.unwrap_or_else(|| format!("{}-{digits}.proof", made.proof.dataset).into());
    let full = context.dir.join(&path);
    if mode == Mode::Keep {
        let access = if made.proven.public { Access::Shared } else { Access::Secret };
        output::write(&full, &bytes, access).map_err(Error::io("write", &full))?;
    }
    let json = json!({ "file": full, "bytes": bytes.len(), "dry_run": mode == Mode::DryRun, "scope": made.scope,
        "signer": made.signer, "current": made.current, "proven": made.proven });
    context.answer(&json, &planned(&describe(&made, &full.display().to_string(), bytes.len()), mode))?;
    if !made.current && !args.absent {
        context.warn("the head has another state of the record than there is here");
        context.hint("`wbsync push` signs the newer one, if it is ours to sign");
    }
    context.hint(&format!(
        "they check it with `wbsync verify-proof {} --origin {}{}`",
        path.display(),
        made.proven.fingerprint,
        if made.proven.present { "" } else { " --absent" }
    ));
    Ok(())
}

fn describe(made: &Made, path: &str, bytes: usize) -> String {
    let proven = &made.proven;
    let is = if proven.present { "is" } else { "is not" };
    let mut text = format!("wrote {path}, {}\n", count(bytes as u64, "byte"));
    text += &format!("{} {is} in head {} of {} in {}\n", proven.record, proven.seq, made.signer, made.scope);
    text += &format!("{} can be read in it too\n", count(proven.others as u64, "other record"));
    if !proven.public {
        text += "so can the key that the scope's ids are made with\n";
    }
    text
}
