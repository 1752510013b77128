//! Queue: what waits for a remote that can't be reached, and when to try it again.
//!
//! Nothing is copied to wait: what is due lies in our own store, and a push sends what the remote lacks. Only how a
//! remote failed and what it was sent is remembered. A command that names remotes, or means all, always tries at once;
//! what runs by itself asks `due` first.

use super::backoff::Backoff;
use super::error::Error;
use super::instance::Instance;
use crate::exchange::head::Head;
use crate::exchange::store::Store;
use crate::id::name::PeerName;
use crate::keys::document::hash_of;
use crate::state::queue::{Contact, Failing, Sent};
use crate::state::remotes::Exchange;
use crate::sys::clock::{self, UnixMillis};
use crate::sys::random;

/// What a remote has not been sent yet.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Waiting {
    /// Heads.
    pub heads: u64,
    /// The bytes of their new objects, as far as the remote isn't known to hold them.
    pub bytes: u64,
}

/// Remotes, by whether their time has come.
#[derive(Debug, Clone, Default)]
pub struct Due {
    /// To be tried now.
    pub now: Vec<PeerName>,
    /// To be tried later, and when.
    pub later: Vec<(PeerName, UnixMillis)>,
}

impl Instance {
    /// Splits remotes into those whose time has come and those that failed and are to be left alone for a while.
    ///
    /// # Errors
    /// `State`.
    pub fn due(&self, remotes: Vec<PeerName>) -> Result<Due, Error> {
        let (mut due, now) = (Due::default(), clock::now());
        for remote in remotes {
            match self.state.failing(&remote)?.map(|failing| failing.next) {
                // A clock that was set back must not keep a remote waiting for years.
                Some(next) if next > now && u128::from(next.0 - now.0) <= Backoff::REMOTE.longest().as_millis() => {
                    due.later.push((remote, next))
                }
                _ => due.now.push(remote),
            }
        }
        Ok(due)
    }

    /// Counts what a remote has not been sent yet, of what lies in our own store.
    ///
    /// # Errors
    /// Our own store can't be read.
    pub fn waiting(&self, remote: &PeerName) -> Result<Waiting, Error> {
        let sent = self.state.sent(remote)?;
        let mut waiting = Waiting::default();
        self.each_own_head(|head, place| {
            let before = sent.get(&(head.scope, head.signer));
            if before.is_some_and(|(_, hash)| *hash == place) {
                return;
            }
            let held = before.map_or(0, |(seq, _)| if head.base.is_none() && *seq < head.seq { *seq } else { 0 });
            let segments = head.segments.iter().filter(|segment| segment.to_seq > held);
            waiting.heads += 1;
            waiting.bytes += segments.flat_map(|segment| &segment.objects).map(|object| object.bytes).sum::<u64>();
        })?;
        Ok(waiting)
    }

    /// Remembers that a remote has all that lies in our own store.
    pub(super) fn note_sent(&self, remote: &PeerName) -> Result<(), Error> {
        let mut sent = Sent::new();
        self.each_own_head(|head, hash| {
            sent.insert((head.scope, head.signer), (head.seq, hash));
        })?;
        if sent != self.state.sent(remote)? {
            self.state.put_sent(remote, &sent)?;
        }
        Ok(())
    }

    fn each_own_head(&self, mut take: impl FnMut(&Head, crate::id::bytes::DocHash)) -> Result<(), Error> {
        let (own, failed) = (self.own_store()?, || Error::store("this instance"));
        for scope in own.scopes().map_err(failed())? {
            for signer in own.heads(&scope).map_err(failed())? {
                let Some(bytes) = own.head(&scope, &signer).map_err(failed())? else { continue };
                if let Ok((head, _)) = Head::open(&bytes, &signer) {
                    take(&head, hash_of(&bytes));
                }
            }
        }
        Ok(())
    }

    /// Notes how an exchange with a remote went, and when to try again.
    pub(super) fn note_outcome(&self, remote: &PeerName, contact: Contact, error: Option<&Error>) -> Result<(), Error> {
        let now = clock::now();
        let failing = self.state.failing(remote)?;
        let Some(error) = error else {
            let exchange = if contact == Contact::Push { Exchange::Pushed } else { Exchange::Fetched };
            self.state.note_exchange(remote, exchange, now)?;
            // That it can be read doesn't say that it takes anything.
            if contact == Contact::Push || failing.is_none_or(|failing| failing.contact == Contact::Fetch) {
                self.state.put_failing(remote, None)?;
                self.state.put_trouble(remote, None)?;
            }
            return Ok(());
        };
        self.note_failure(remote, error)?;
        self.state.note_exchange(remote, Exchange::Failed(&error.to_string()), now)?;
        if matches!(error, Error::Store { .. } | Error::Copy { .. }) && !error.is_race() {
            let failures = failing.map_or(0, |failing| failing.failures).saturating_add(1);
            let wait = Backoff::REMOTE.wait(failures, u64::from_le_bytes(random::bytes()));
            let next = UnixMillis(now.0.saturating_add(wait.as_millis() as u64));
            self.state.put_failing(remote, Some(Failing { failures, next, contact }))?;
        }
        Ok(())
    }
}
