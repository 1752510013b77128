//! What a hub tells about its work: one event for each request, never a content, a query or a token.

use std::sync::Arc;

use crate::id::bytes::InstanceId;

/// Something happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The hub listens.
    Listening {
        /// Where: its own URL on this machine.
        url: String,
    },
    /// A request was answered.
    Request {
        /// Who asked.
        caller: Option<InstanceId>,
        /// From where; `None` over a pipe.
        address: Option<std::net::IpAddr>,
        /// The method.
        method: String,
        /// The path, without its query, cut.
        path: String,
        /// The status.
        status: u16,
        /// How long until the answer began, in milliseconds.
        millis: u64,
        /// For the operator only: what was wrong.
        inside: Option<String>,
    },
    /// The hub ends.
    Ending,
}

/// Whoever listens to events.
pub type Log = Arc<dyn Fn(&Event) + Send + Sync>;
