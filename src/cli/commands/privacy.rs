//! `wbsync privacy`: what is shared, and what was taken back.

use serde_json::json;

use crate::cli::context::Context;
use crate::cli::failure::Failure;
use crate::cli::text::{HEADING, WARNING};
use crate::sync::confirm::Confirmations;
use crate::sync::instance::Purpose;

/// See what is shared, and who has taken out what was taken back
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  wbsync privacy receipts")]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// List what was withdrawn, and which readers have confirmed that it is gone there
    ///
    /// A reader confirms at its next push after the pull that took the record out. Nothing is confirmed by who kept a copy
    /// elsewhere, and nobody can be forced to.
    #[command(after_help = "\
Examples:
  wbsync privacy receipts
  wbsync privacy receipts requests/0198f3a1
  wbsync privacy receipts --json")]
    Receipts {
        /// A record: `dataset/key`, or the first digits of the key; otherwise all
        record: Option<String>,
    },
}

/// Runs it.
///
/// # Errors
/// As `Instance::confirmations`.
pub fn run(context: &mut Context, args: Args) -> Result<(), Failure> {
    match args.command {
        Command::Receipts { record } => {
            let list = context.instance(Purpose::Look)?.confirmations(record.as_deref())?;
            context.answer(&json!({ "withdrawals": list }), &describe(&list))?;
            if list.iter().any(|withdrawal| withdrawal.head.is_none()) {
                context.hint("`wbsync push` sends what was withdrawn and not published yet");
            }
            Ok(())
        }
    }
}

fn describe(list: &[Confirmations]) -> String {
    if list.is_empty() {
        return "nothing was withdrawn\n".into();
    }
    let mut text = String::new();
    for withdrawal in list {
        let Confirmations { record, scope, withdrawn, head, confirmed, waiting } = withdrawal;
        let by = head.map_or_else(|| "not published yet".to_owned(), |head| format!("published with head {head}"));
        text += &format!("{HEADING}{record}{HEADING:#}\n  left {scope} {withdrawn}, {by}\n");
        for confirmed in confirmed {
            text += &format!("  gone at {}, it says ({})\n", confirmed.peer, confirmed.time);
        }
        if !waiting.is_empty() {
            text += &format!("  {WARNING}not confirmed: {}{WARNING:#}\n", waiting.join(", "));
        }
    }
    text
}
