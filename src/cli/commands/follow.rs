//! `wbsync follow`: take in what a peer shares.

use serde_json::json;

use crate::cli::context::Context;
use crate::cli::failure::Failure;
use crate::sync::fit::Fit;
use crate::sync::instance::Purpose;
use crate::sync::peers::split_scope;

/// Take in what a peer shares: all scopes that we may read, or one
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  wbsync follow beta
  wbsync follow beta/public")]
pub struct Args {
    #[command(flatten)]
    what: What,
}

/// A peer, or one of its scopes.
#[derive(Debug, clap::Args)]
pub struct What {
    /// The peer, or one scope of it
    #[arg(value_name = "PEER[/SCOPE]")]
    pub peer: String,
    /// The scope, if it isn't part of the first word
    #[arg(value_name = "/SCOPE")]
    pub scope: Option<String>,
}

/// Runs it.
///
/// # Errors
/// As `Instance::follow`.
pub fn run(context: &mut Context, args: Args) -> Result<(), Failure> {
    let (peer, scope) = split_scope(&args.what.peer, args.what.scope.as_deref())?;
    let instance = context.instance(Purpose::Change)?;
    let what = scope.as_ref().map_or_else(|| "all that we may read".into(), |scope| format!("scope {scope}"));
    let is_new = instance.follow(peer, scope.clone())?;
    let of_peer = |fit: &Fit| fit.scopes.iter().any(|scope| scope.split('/').next() == Some(peer));
    let fits: Vec<Fit> = instance.fits()?.into_iter().filter(of_peer).collect();
    let text = if is_new { "following" } else { "already following" };
    context.answer(
        &json!({ "peer": peer, "scope": scope, "new": is_new, "fits": fits }),
        &format!("{text} {peer}: {what}\n"),
    )?;
    context.warn_of_fits(&fits);
    if is_new {
        context.hint("`wbsync pull` fetches it");
    }
    Ok(())
}
