//! Races: who loses one to another writer takes in what that one wrote and tries again, a few times.
//!
//! A head has one signer, so instances that write one scope at once seldom meet: they do where one of them carries
//! heads of the other, or where what a head names is taken away while it is read.

use std::time::Duration;

use super::error::Error;
use super::fetch::FetchSummary;
use super::instance::Instance;
use super::push::PushSummary;
use crate::exchange::copy::CopyError;
use crate::exchange::store::{Store, StoreError};
use crate::id::name::PeerName;
use crate::sys::{clock, random};

/// What is left of the tries after a lost race.
#[derive(Debug)]
pub(super) struct Tries {
    left: u32,
    wait: Duration,
}

impl Tries {
    /// Begins.
    pub(super) fn new() -> Self {
        Self { left: TRIES_AGAIN, wait: WAIT_FIRST }
    }

    /// Waits before the next try and tells that there is one.
    pub(super) fn wait(&mut self) -> bool {
        if self.left == 0 {
            return false;
        }
        self.left -= 1;
        // Anything up to the bound: who met once must not meet again.
        let [byte] = random::bytes();
        clock::pause(self.wait.mul_f64(f64::from(byte) / 255.0));
        self.wait = (self.wait * 2).min(WAIT_MAX);
        true
    }
}

impl Error {
    /// Tells whether somebody else was first, so that looking again and trying once more may help.
    pub(super) fn is_race(&self) -> bool {
        match self {
            Self::Raced { .. } => true,
            Self::Store { source, .. } => {
                matches!(**source, StoreError::Swapped { .. } | StoreError::Incomplete { .. })
            }
            Self::Copy { source: CopyError::Target { source, .. }, .. } => {
                matches!(**source, StoreError::Swapped { .. } | StoreError::Incomplete { .. })
            }
            _ => false,
        }
    }
}

impl Instance {
    /// Fetches, and once more where heads were replaced while they were read.
    pub(super) fn fetch_until_still(&self, store: &dyn Store, remote: &str) -> Result<FetchSummary, Error> {
        let mut tries = Tries::new();
        let mut summary = self.fetch_store(store, remote)?;
        while summary.moved_on && tries.wait() {
            let before = summary;
            store.renew().map_err(Error::store(remote))?;
            summary = self.fetch_store(store, remote)?;
            summary.heads.splice(..0, before.heads);
            // What was refused once may not be spoken of again.
            summary.refused.splice(..0, before.refused);
            summary.objects += before.objects;
            summary.bytes += before.bytes;
        }
        Ok(summary)
    }

    /// Pushes to a remote. After a lost race `look` takes in what the others wrote, and the push is made again.
    ///
    /// # Errors
    /// As `push`; `Raced` if every try was lost.
    pub(super) fn push_until_through(
        &self,
        remote: &PeerName,
        look: &mut dyn FnMut() -> Result<(), Error>,
    ) -> Result<PushSummary, Error> {
        let mut tries = Tries::new();
        let mut raced = 0;
        loop {
            match self.push(remote) {
                Ok(summary) => return Ok(PushSummary { raced, ..summary }),
                Err(error) if error.is_race() && tries.wait() => {
                    raced += 1;
                    look()?;
                }
                Err(error) => return Err(error),
            }
        }
    }
}

const TRIES_AGAIN: u32 = 6;
const WAIT_FIRST: Duration = Duration::from_millis(100);
const WAIT_MAX: Duration = Duration::from_secs(3);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tries_end_and_only_races_are_tried_again() {
        let mut tries = Tries { left: 3, wait: Duration::ZERO };
        assert_eq!((0..10).filter(|_| tries.wait()).count(), 3);
        assert!(Error::Raced { remote: "hub".into() }.is_race());
        let path = crate::exchange::layout::StorePath::Format;
        let swapped = StoreError::Swapped { store: "hub".into(), path, found: None };
        assert!(Error::store("hub")(swapped).is_race());
        let missing = StoreError::Missing { store: "hub".into(), path };
        assert!(!Error::store("hub")(missing).is_race());
        assert!(!Error::NoRemote.is_race());
    }
}
