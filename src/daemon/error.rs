//! What can keep the worker from running.

use std::io;
use std::net::SocketAddr;

use crate::sync;
use crate::sync::code::Code;

/// Why the worker doesn't run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is one already.
    #[error("{}", match .pid { Some(pid) => format!("a worker is running here already, with the process id {pid}"), None => "a worker is running here already".into() })]
    Running {
        /// Its process.
        pid: Option<u32>,
    },
    /// Signals, threads or clocks can't be had.
    #[error("cannot start the worker's threads")]
    Start(#[source] io::Error),
    /// The address can't be listened on.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// A part of the program fell over: a mistake of ours.
    #[error("a part of the worker ended that should not")]
    Broken,
    /// The instance can't be used.
    #[error(transparent)]
    Sync(Box<sync::error::Error>),
}

impl Error {
    /// Returns the word that scripts know this error by.
    pub fn code(&self) -> Code {
        match self {
            Self::Running { .. } => Code::WorkerRunning,
            Self::Start(_) | Self::Broken => Code::Worker,
            Self::Listen { .. } => Code::WorkerAddress,
            Self::Sync(error) => error.code(),
        }
    }

    /// Returns what to do next.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Running { .. } => Some("`wbsync status` shows what it does; end it before starting another".into()),
            Self::Start(_) => Some("the system may be out of threads or memory; try again".into()),
            Self::Listen { .. } => Some("choose a free address of this machine with --listen".into()),
            Self::Broken => Some("start it again; what it was doing goes on from there".into()),
            Self::Sync(error) => error.hint(),
        }
    }
}

impl From<sync::error::Error> for Error {
    fn from(error: sync::error::Error) -> Self {
        Self::Sync(Box::new(error))
    }
}
