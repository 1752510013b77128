//! `wbsync run`: the background worker.

use std::net::SocketAddr;
use std::path::PathBuf;

use crate::cli::context::Context;
use crate::cli::failure::Failure;
use crate::cli::told;
use crate::daemon::worker::{self, Options};

/// Exchange in the background until told to end
///
/// Exchanges with each remote every few minutes, at once when the application or a hub has something new, and
/// after the machine slept. What fails is tried again for ever, ever more seldom. `[run]` in wbsync.toml says how often.
/// SIGTERM and SIGINT end it, SIGHUP reads the configuration again. One worker per instance; other commands work beside it.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  wbsync run
  wbsync run --log-format json
  wbsync run --listen 127.0.0.1:7421
  wbsync run --textfile /var/lib/node_exporter/wbsync.prom")]
pub struct Args {
    /// Where to answer /healthz, /readyz and /metrics
    ///
    /// An address of this machine, or one that only those reach who may see how much is exchanged: there is no TLS.
    #[arg(long, value_name = "ADDR")]
    listen: Option<SocketAddr>,
    /// The file to write the metrics to after each exchange, for node_exporter
    #[arg(long, value_name = "FILE")]
    textfile: Option<PathBuf>,
}

/// Runs it.
///
/// # Errors
/// As `worker::run`.
pub fn run(context: &mut Context, args: Args) -> Result<(), Failure> {
    let root = worker::root_of(&context.dir)?;
    let textfile = args.textfile.map(|path| context.dir.join(path));
    Ok(worker::run(&root, &Options { listen: args.listen, textfile }, told::log(context))?)
}
