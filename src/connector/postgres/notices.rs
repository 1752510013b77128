//! What triggers told over a connection that listens.

use std::time::Duration;

use postgres::Client;
use postgres::fallible_iterator::FallibleIterator;

/// Takes everything that was told; waits for the first at most that long. Tells whether there was anything.
pub(super) fn told(client: &mut Client, at_most: Duration) -> Result<bool, postgres::Error> {
    let mut told = client.notifications();
    let is_told = told.timeout_iter(at_most).next()?.is_some();
    while told.iter().next()?.is_some() {}
    Ok(is_told)
}
