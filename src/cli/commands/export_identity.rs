//! `wbsync export-identity`: the secret keys under a passphrase, to be printed and kept.

use std::path::PathBuf;

use serde_json::json;

use crate::cli::context::Context;
use crate::cli::failure::Failure;
use crate::cli::passphrase::{Source, Use};
use crate::cli::qr;
use crate::keys::export;
use crate::sync::error::Error;
use crate::sync::instance::Purpose;
use crate::sys::disk::Access;
use crate::sys::output;

/// Print this instance's secret keys, sealed with a passphrase
///
/// With it, the passphrase and a store that this instance pushed to, `wbsync restore --identity` brings everything back that was
/// published, on any machine. Print it, and keep it apart from the passphrase.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  wbsync export-identity | lpr
  wbsync export-identity --output /media/stick/alpha.identity
  wbsync export-identity --qr > alpha.qr
  wbsync export-identity --passphrase-file /run/secrets/passphrase")]
pub struct Args {
    /// Write it to FILE, which only you may read, instead of standard output
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Draw it as a QR code below, for a camera; it needs 140 columns
    #[arg(long)]
    qr: bool,
    #[command(flatten)]
    passphrase: Source,
}

/// Runs it.
///
/// # Errors
/// As `Instance::export_identity`; the file can't be written.
pub fn run(context: &mut Context, args: Args) -> Result<(), Failure> {
    let instance = context.instance(Purpose::Look)?;
    let export = instance.export_identity()?;
    let sealed = export.seal(&args.passphrase.passphrase(Use::Seal)?).map_err(|error| match error {
        export::Error::Short => Failure::Usage(error.to_string()),
        error => Error::Export(error).into(),
    })?;
    let mut text = export.heading(&sealed);
    if args.qr {
        let drawn = qr::draw(&sealed, usize::MAX);
        text += &format!("\n{}", drawn.ok_or_else(|| Failure::Usage("it is too long for a QR code".into()))?);
    }
    let json = json!({ "name": export.name, "id": instance.id(), "fingerprint": export.identity.fingerprint(),
        "incarnation": export.incarnation, "export": sealed, "file": args.output });
    match &args.output {
        None => context.answer(&json, &text)?,
        Some(path) => {
            let path = context.dir.join(path);
            let plain = anstream::adapter::strip_str(&text).to_string();
            output::write(&path, plain.as_bytes(), Access::Secret).map_err(Error::io("write", &path))?;
            context.answer(&json, &format!("wrote {}\n", path.display()))?;
        }
    }
    context.hint(
        "try it once, elsewhere: `wbsync restore --identity FILE --dry-run` says whether the passphrase opens it",
    );
    Ok(())
}
