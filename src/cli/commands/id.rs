//! `wbsync id`: who this instance is.

use serde_json::json;

use crate::cli::context::Context;
use crate::cli::failure::Failure;
use crate::cli::qr;
use crate::sync::instance::Purpose;
use crate::transport::http::url::HttpUrl;

/// Print this instance's card: one line to give to others
///
/// A card holds the public keys and the name, nothing secret. Whoever adds it should compare the fingerprint with you.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  wbsync id > alpha.card
  wbsync id --fingerprint
  wbsync id --url https://alpha.example/sync/
  wbsync id --qr")]
pub struct Args {
    /// Put a URL on the card by which others reach this instance's own store (`wbsync serve`), in place of those that
    /// are on it; may be given several times, best first
    #[arg(long, value_name = "URL", value_parser = parse_url)]
    url: Vec<HttpUrl>,
    /// Take all URLs off the card
    #[arg(long, conflicts_with = "url")]
    no_url: bool,
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
    const URLS_MAX: usize = 16;
    if args.url.len() > URLS_MAX {
        return Err(Failure::Usage(format!("a card has at most {URLS_MAX} URLs")));
    }
    let changes = args.no_url || !args.url.is_empty();
    let mut instance = context.instance(if changes { Purpose::Change } else { Purpose::Look })?;
    if changes {
        instance.set_urls(args.url.iter().map(ToString::to_string).collect())?;
        context.hint("peers learn of it with your next push, or by `wbsync peer add` with this card");
    }
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
    context.answer(&json!({ "name": name, "id": instance.id(), "fingerprint": fingerprint, "card": card, "urls": instance.card.card.urls }), &text)
}

fn parse_url(text: &str) -> Result<HttpUrl, String> {
    HttpUrl::parse(text).map_err(|error| error.to_string())
}

/// Returns how wide a picture may be: in a file or a pipe, as wide as it likes.
fn columns_max() -> usize {
    terminal_size::terminal_size_of(std::io::stdout()).map_or(usize::MAX, |(width, _)| width.0.into())
}
