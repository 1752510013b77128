//! `wbsync metrics`: how much an instance holds, owes and hides, as OpenMetrics.

use std::path::PathBuf;

use crate::cli::context::Context;
use crate::cli::failure::Failure;
use crate::daemon::gauges::Gauges;
use crate::daemon::metrics::Metrics;
use crate::sync::error::Error;
use crate::sync::instance::Purpose;
use crate::sys::disk::Access;
use crate::sys::output;

/// Print the instance's metrics, or write them for node_exporter
///
/// Those that can be read from the instance: conflicts, private rows, what waits, sizes, ages. What is counted while the worker runs,
/// `wbsync run --listen` and `--textfile` tell.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  wbsync metrics
  wbsync metrics --textfile /var/lib/node_exporter/wbsync.prom")]
pub struct Args {
    /// The file to write instead, as a whole
    #[arg(long, value_name = "FILE")]
    textfile: Option<PathBuf>,
}

/// Runs it.
///
/// # Errors
/// As `Gauges::of`; the file can't be written.
pub fn run(context: &mut Context, args: Args) -> Result<(), Failure> {
    let metrics = Metrics::new();
    metrics.show(&Gauges::of(&context.instance(Purpose::Look)?)?);
    let text = metrics.text();
    if let Some(path) = args.textfile.map(|path| context.dir.join(path)) {
        output::write(&path, text.as_bytes(), Access::Shared).map_err(Error::io("write", &path))?;
        return context.answer(&serde_json::json!({ "written": path }), "");
    }
    context.answer(&serde_json::json!({ "openmetrics": text }), &text)
}
