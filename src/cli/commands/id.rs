//! `wbsync id`: who this instance is.

use serde_json::json;

use crate::cli::context::Context;
use crate::cli::failure::Failure;
use crate::sync::instance::Purpose;

/// Print this instance's card: one line to give to others
///
/// A card holds the public keys and the name, nothing secret. Whoever adds it should compare the fingerprint with you.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  wbsync id > alpha.card
  wbsync id --fingerprint")]
pub struct Args {
    /// Print the fingerprint instead, to be read out
    #[arg(long)]
    fingerprint: bool,
}

/// Runs it.
///
/// # Errors
/// The instance can't be opened.
pub fn run(context: &mut Context, args: Args) -> Result<(), Failure> {
    let instance = context.instance(Purpose::Look)?;
    let (card, fingerprint) = (instance.card.line(), instance.identity.fingerprint());
    let text = format!("{}\n", if args.fingerprint { &fingerprint } else { &card });
    let name = &instance.card.card.name;
    context.answer(&json!({ "name": name, "id": instance.id(), "fingerprint": fingerprint, "card": card }), &text)
}
