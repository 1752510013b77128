//! `wbsync unfollow`: stop taking in what a peer shares.

use serde_json::json;

use super::follow::What;
use crate::cli::context::Context;
use crate::cli::failure::Failure;
use crate::sync::instance::Purpose;
use crate::sync::peers::split_scope;

/// Stop taking in what a peer shares; rows that came stay
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  wbsync unfollow beta
  wbsync unfollow beta/public")]
pub struct Args {
    #[command(flatten)]
    what: What,
}

/// Runs it.
///
/// # Errors
/// As `Instance::unfollow`.
pub fn run(context: &mut Context, args: Args) -> Result<(), Failure> {
    let (peer, scope) = split_scope(&args.what.peer, args.what.scope.as_deref())?;
    let instance = context.instance(Purpose::Change)?;
    let what = scope.as_ref().map_or_else(|| peer.to_owned(), |scope| format!("{peer}/{scope}"));
    let was_followed = instance.unfollow(peer, scope.clone())?;
    let text = if was_followed {
        format!("no longer following {what}; its rows stay as they are\n")
    } else {
        format!("there was no rule to follow {what}\n")
    };
    context.answer(&json!({ "peer": peer, "scope": scope, "removed": was_followed }), &text)
}
