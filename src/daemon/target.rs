//! Targets: with whom the worker exchanges, and how often.

use std::time::Duration;

use crate::id::name::PeerName;
use crate::sync::error::Error;
use crate::sync::instance::Instance;
use crate::sync::network::NetworkMode;
use crate::sys::clock::{self, UnixMillis};

/// A store to exchange with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Its name.
    pub name: PeerName,
    /// How often at least.
    pub interval: Duration,
    /// Whether it can be asked what changed, and answers when something does.
    pub polls: bool,
    /// Whether it is for when another one can't be reached.
    pub reserve: bool,
    /// How often in a row it failed, and how long it is to be left alone from now on.
    pub failing: Option<(u32, Duration)>,
}

/// With whom, and how often.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Targets {
    /// The stores.
    pub list: Vec<Target>,
    /// How often at least to look at the application's database.
    pub look: Duration,
    /// Whether to watch the database for changes.
    pub watch: bool,
}

impl Targets {
    /// Reads them from the configuration and state of an instance.
    ///
    /// # Errors
    /// `State`.
    pub fn of(instance: &Instance) -> Result<Self, Error> {
        let run = &instance.config.run;
        let (mode, peers) = (instance.config.network.mode, instance.peer_sources()?);
        let remotes: Vec<PeerName> = match mode {
            NetworkMode::P2p => Vec::new(),
            NetworkMode::Central | NetworkMode::Hybrid => {
                instance.state.remotes()?.into_iter().map(|remote| remote.name).collect()
            }
        };
        let alone = remotes.is_empty();
        let mut list = Vec::new();
        for (name, is_peer) in
            remotes.into_iter().map(|name| (name, false)).chain(peers.into_iter().map(|name| (name, true)))
        {
            let failing = instance.state.failing(&name)?;
            list.push(Target {
                interval: run.interval(&name),
                polls: run.polls(&name) && instance.is_hub(&name)?,
                reserve: is_peer && !alone,
                failing: failing.map(|failing| (failing.failures, left(failing.next))),
                name,
            });
        }
        Ok(Self { list, look: run.look(), watch: run.watches() })
    }
}

/// Returns how long it is until a moment of the wall clock.
fn left(until: UnixMillis) -> Duration {
    Duration::from_millis(until.0.saturating_sub(clock::now().0))
}
