//! What the worker tells about its work: ids, names of remotes and counts; never a content.

use std::sync::Arc;

use crate::daemon::event::Trouble;
use crate::id::name::{DatasetName, PeerName};

/// Something happened.
#[derive(Debug, Clone)]
pub enum Told {
    /// The worker begins.
    Started {
        /// How many remotes it exchanges with.
        remotes: u64,
    },
    /// It listens for probes.
    Listening {
        /// Where.
        url: String,
    },
    /// The application's changes were committed.
    Committed {
        /// Records put or removed, over all scopes.
        records: u64,
    },
    /// New rows stay home because they may be rows that were marked by hand.
    KeptHome {
        /// Their dataset.
        dataset: DatasetName,
        /// How many.
        rows: u64,
    },
    /// An exchange with a remote went well.
    Exchanged {
        /// The remote.
        remote: String,
        /// Heads that moved here.
        heads_fetched: u64,
        /// Bytes of objects fetched.
        bytes_fetched: u64,
        /// Heads that it lacked.
        heads_pushed: u64,
        /// Bytes of objects that it lacked.
        bytes_pushed: u64,
    },
    /// Rows of the application were written.
    Applied {
        /// How many.
        rows: u64,
    },
    /// Fields hold more than one value.
    Conflicts {
        /// How many.
        open: u64,
    },
    /// A document of a remote was refused.
    Refused {
        /// The remote.
        remote: String,
        /// The document.
        document: String,
        /// Why.
        reason: String,
    },
    /// An exchange with a remote failed.
    Failed {
        /// The remote.
        remote: PeerName,
        /// Why.
        trouble: Trouble,
    },
    /// Nothing can be done at the moment, whatever the remote.
    Stopped {
        /// Why.
        trouble: Trouble,
    },
    /// A remote said that something changed there.
    Heard {
        /// The remote.
        remote: PeerName,
    },
    /// The machine slept, or its clock was set.
    Resumed {
        /// By how much.
        millis: i64,
    },
    /// The configuration was read again.
    Reloaded,
    /// The configuration can't be read again; what was read before still holds.
    NotReloaded {
        /// Why.
        trouble: Trouble,
    },
    /// The worker ends.
    Ending,
    /// It waited long enough for the job at work.
    Abandoned,
}

/// How much something matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// For whoever looks closely.
    Detail,
    /// What was done.
    Info,
    /// What should be looked at.
    Warning,
    /// What keeps it from working.
    Error,
}

/// Whoever listens.
pub type Log = Arc<dyn Fn(&Told) + Send + Sync>;

impl Told {
    /// Says how much it matters.
    pub fn level(&self) -> Level {
        match self {
            Self::Exchanged { heads_fetched: 0, heads_pushed: 0, .. } | Self::Heard { .. } => Level::Detail,
            Self::Failed { .. }
            | Self::Refused { .. }
            | Self::NotReloaded { .. }
            | Self::KeptHome { .. }
            | Self::Abandoned => Level::Warning,
            Self::Stopped { .. } => Level::Error,
            _ => Level::Info,
        }
    }
}
