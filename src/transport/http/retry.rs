//! When to try a request again, and how long to wait before.
//!
//! Only what passes by itself and can't have done harm: a broken connection, a hub that is busy. A hub that isn't there
//! at all is told at once; trying that again later is the business of whoever keeps a queue.

use std::io::ErrorKind;
use std::time::Duration;

use crate::sys::random;

/// What is left of the tries for one request.
#[derive(Debug)]
pub(crate) struct Patience {
    tries_left: u32,
    wait: Duration,
}

impl Patience {
    /// Begins.
    pub(crate) fn new() -> Self {
        Self { tries_left: TRIES_AGAIN, wait: WAIT_FIRST }
    }

    /// Waits before the next try and tells that there is one; `asked` is what the hub asked for.
    pub(crate) fn wait(&mut self, asked: Option<Duration>) -> bool {
        if self.tries_left == 0 {
            return false;
        }
        self.tries_left -= 1;
        // Between half and one and a half: clients that were cut off together don't come back together.
        let [byte] = random::bytes();
        let jittered = self.wait.mul_f64(0.5 + f64::from(byte) / 256.0);
        self.wait *= 2;
        std::thread::sleep(asked.unwrap_or_default().max(jittered).min(WAIT_MAX));
        true
    }
}

/// Tells whether a connection that failed so is worth another. One that was silent until our patience ended is not: whoever waits
/// would wait as long again.
pub(crate) fn is_passing(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::ConnectionReset
            | ErrorKind::ConnectionAborted
            | ErrorKind::BrokenPipe
            | ErrorKind::UnexpectedEof
            | ErrorKind::Interrupted
    )
}

/// Tells whether a status asks to try again.
pub(crate) fn is_passing_status(status: u16) -> bool {
    matches!(status, 429 | 502 | 503 | 504)
}

const TRIES_AGAIN: u32 = 4;
const WAIT_FIRST: Duration = Duration::from_millis(150);
/// Nobody at a terminal waits longer without being told why.
const WAIT_MAX: Duration = Duration::from_secs(10);
