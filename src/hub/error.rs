//! What can stop a hub, or a command about its members.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use crate::exchange::store::StoreError;
use crate::id::bytes::InstanceId;

/// Why a hub can't go on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The store can't be opened.
    #[error("cannot serve the store")]
    Store(#[source] Box<StoreError>),
    /// The list of members can't be used.
    #[error("cannot use the hub's members in {path}", path = path.display())]
    Members {
        /// Its file.
        path: PathBuf,
        /// Why.
        source: rusqlite::Error,
    },
    /// A later version wrote the list of members.
    #[error("the hub's members in {path} were written by a later version (format {found})", path = path.display())]
    NewerMembers {
        /// Its file.
        path: PathBuf,
        /// Its format.
        found: u32,
    },
    /// No instance with this id is a member.
    #[error("{id} is no member of this hub")]
    NoMember {
        /// The id.
        id: InstanceId,
    },
    /// The address can't be listened on.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// Others than this machine could reach the hub without TLS.
    #[error("{address} can be reached from other machines, and there is no TLS")]
    Bare {
        /// The address.
        address: SocketAddr,
    },
    /// Signatures made for another hub would count here.
    #[error("this hub can be reached from other machines and doesn't know its own URL")]
    Nameless,
    /// A certificate or its key can't be read.
    #[error("cannot read {path} as {what}", path = path.display())]
    Certificate {
        /// The file.
        path: PathBuf,
        /// What it should hold.
        what: &'static str,
        /// Why.
        source: io::Error,
    },
    /// Certificate and key don't go together.
    #[error("cannot use the certificate")]
    Tls(#[source] rustls::Error),
    /// The threads of the server can't be started.
    #[error("cannot start the server")]
    Start(#[source] io::Error),
    /// The pipe broke.
    #[error("cannot speak over the pipe")]
    Pipe(#[source] io::Error),
}

/// Every word that `Error::code` returns.
pub const CODES: &[&str] = &[
    "hub-store",
    "hub-members",
    "no-member",
    "hub-listen",
    "hub-bare",
    "hub-nameless",
    "hub-certificate",
    "hub-start",
    "hub-pipe",
];

impl Error {
    /// Returns one stable word for what happened, of `CODES`.
    pub fn code(&self) -> &'static str {
        let code = match self {
            Self::Store(_) => "hub-store",
            Self::Members { .. } | Self::NewerMembers { .. } => "hub-members",
            Self::NoMember { .. } => "no-member",
            Self::Listen { .. } => "hub-listen",
            Self::Bare { .. } => "hub-bare",
            Self::Nameless => "hub-nameless",
            Self::Certificate { .. } | Self::Tls(_) => "hub-certificate",
            Self::Start(_) => "hub-start",
            Self::Pipe(_) => "hub-pipe",
        };
        assert!(CODES.contains(&code), "{code} is documented");
        code
    }

    /// Returns what to do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Store(_) => {
                "give a directory that is a store, or is empty; `wbsync fsck DIRECTORY` tells what is wrong in one"
            }
            Self::Members { .. } => {
                "see that this user may write it and that there is room; from a backup it can be put back alone"
            }
            Self::NewerMembers { .. } => "update wbsync on this machine",
            Self::NoMember { .. } => "`wbsync hub list` shows who is",
            Self::Listen { .. } => "choose an address of this machine and a port that is free, with --listen",
            Self::Bare { .. } => {
                "give --tls-cert and --tls-key, or --behind-proxy if a proxy on the way does TLS, \
                 or --insecure if the network itself is trusted, such as a VPN"
            }
            Self::Nameless => {
                "give the URL that clients use, as --url https://hub.example/, so that no other hub can pass requests on to this one"
            }
            Self::Certificate { .. } | Self::Tls(_) => {
                "give the certificate with its chain as --tls-cert and its own key as --tls-key, both in PEM"
            }
            Self::Start(_) => "the system may be out of threads or memory; try again",
            Self::Pipe(_) => "whoever called has gone; it will call again",
        }
    }
}
