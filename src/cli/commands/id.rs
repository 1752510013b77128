//! `wbsync id`: who this instance is.

use serde_json::json;

use crate::cli::context::Context;
use crate::cli::failure::Failure;
use crate::cli::qr;
use crate::sync::instance::Purpose;

/// Print this instance's card: one line to give to others
///
/// A card holds the public keys and the name, nothing secret. Whoever adds it should compare the fingerprint with you.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  wbsync id > alpha.card
  wbsync id --fingerprint
  wbsync id --qr")]
pub struct Args {
    /// Print the fingerprint instead, to be read out
    #[arg(long)]
    fingerprint: bool,
    /// Draw it as a QR code: the card if the terminal is wide enough, else the fingerprint
    #[arg(long)]
    qr: bool,
}

/// Runs it.
///
/// # Errors
/// The instance can't be opened.
pub fn run(context: &mut Context, args: Args) -> Result<(), Failure> {
    let instance = context.instance(Purpose::Look)?;
    let (card, fingerprint) = (instance.card.line(), instance.identity.fingerprint());
    let mut text = format!("{}\n", if args.fingerprint { &fingerprint } else { &card });
    let name = &instance.card.card.name;
    if args.qr {
        let drawn = if args.fingerprint { None } else { qr::draw(&card, columns_max()) };
        text = match drawn {
            Some(drawn) => drawn,
            None => {
                if !args.fingerprint {
                    context.note("the card needs a wider terminal; this is the fingerprint");
                }
                qr::draw(&fingerprint, usize::MAX).expect("a fingerprint is short")
            }
        };
    }
    context.answer(&json!({ "name": name, "id": instance.id(), "fingerprint": fingerprint, "card": card }), &text)
}

/// Returns how wide a picture may be: in a file or a pipe, as wide as it likes.
fn columns_max() -> usize {
    terminal_size::terminal_size_of(std::io::stdout()).map_or(usize::MAX, |(width, _)| width.0.into())
}
