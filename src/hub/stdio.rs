//! The hub over standard input and output: the same requests and answers, for `ssh` to carry.

use std::sync::Arc;

use crate::hub::error::Error;
use crate::hub::listen::{converse, runtime};
use crate::hub::service::{Connection, Hub};

/// Serves until the input ends. With `trusted`, whoever is at the other end has all rights.
///
/// # Errors
/// `Start`.
pub fn serve(hub: Arc<Hub>, trusted: bool) -> Result<(), Error> {
    let runtime = runtime()?;
    let connection = Connection { address: None, tls: false, trusted };
    runtime.block_on(converse(hub, connection, tokio::io::join(tokio::io::stdin(), tokio::io::stdout())));
    // A thread may still be waiting for input that never comes.
    runtime.shutdown_background();
    Ok(())
}
