//! What exchanges with a remote left behind: failures in a row, when to try again, and the heads that it was sent.
//!
//! Kept as settings by the remote's name. Losing them costs a try too early, or heads that are counted as waiting until
//! the next push finds them there.

use std::collections::BTreeMap;

use super::database::State;
use super::error::Error;
use crate::id::bytes::{DocHash, InstanceId, ScopeId};
use crate::id::name::PeerName;
use crate::sys::clock::UnixMillis;

/// A remote that failed last time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Failing {
    /// How often in a row.
    pub failures: u32,
    /// When to try again.
    pub next: UnixMillis,
    /// What failed.
    pub contact: Contact,
}

/// What was tried with a remote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Contact {
    /// A fetch.
    Fetch,
    /// A push.
    Push,
}

/// The heads that a remote was sent: number and name of the document.
pub type Sent = BTreeMap<(ScopeId, InstanceId), (u64, DocHash)>;

impl State {
    /// Reads how a remote fails; `None` if the last exchange went well.
    ///
    /// # Errors
    /// `Query`.
    pub fn failing(&self, remote: &PeerName) -> Result<Option<Failing>, Error> {
        let text = self.meta(&failing_key(remote))?.unwrap_or_default();
        let mut words = text.split(' ');
        Ok((|| {
            let failures = words.next()?.parse().ok()?;
            let next = UnixMillis(words.next()?.parse().ok()?);
            let contact = if words.next()? == "push" { Contact::Push } else { Contact::Fetch };
            Some(Failing { failures, next, contact })
        })())
    }

    /// Remembers how a remote fails, or that it doesn't.
    ///
    /// # Errors
    /// `Query`.
    pub fn put_failing(&self, remote: &PeerName, failing: Option<Failing>) -> Result<(), Error> {
        let Some(Failing { failures, next, contact }) = failing else {
            return self.forget_meta(&failing_key(remote));
        };
        let contact = if contact == Contact::Push { "push" } else { "fetch" };
        self.set_meta(&failing_key(remote), &format!("{failures} {} {contact}", next.0))
    }

    /// Reads how the last exchange with a remote failed, as it was noted.
    ///
    /// # Errors
    /// `Query`.
    pub fn trouble(&self, remote: &PeerName) -> Result<Option<String>, Error> {
        self.meta(&trouble_key(remote))
    }

    /// Notes how the last exchange with a remote failed, or that it didn't.
    ///
    /// # Errors
    /// `Query`.
    pub fn put_trouble(&self, remote: &PeerName, trouble: Option<&str>) -> Result<(), Error> {
        match trouble {
            Some(text) => self.set_meta(&trouble_key(remote), text),
            None => self.forget_meta(&trouble_key(remote)),
        }
    }

    /// Reads which heads a remote was sent.
    ///
    /// # Errors
    /// `Query`.
    pub fn sent(&self, remote: &PeerName) -> Result<Sent, Error> {
        let text = self.meta(&sent_key(remote))?.unwrap_or_default();
        let line = |line: &str| {
            let mut words = line.split(' ');
            let mut word = || words.next();
            let place = (word()?.parse().ok()?, word()?.parse().ok()?);
            Some((place, (word()?.parse().ok()?, word()?.parse().ok()?)))
        };
        Ok(text.lines().filter_map(line).collect())
    }

    /// Remembers which heads a remote has been sent.
    ///
    /// # Errors
    /// `Query`.
    pub fn put_sent(&self, remote: &PeerName, sent: &Sent) -> Result<(), Error> {
        let line = |((scope, signer), (seq, hash)): (&(ScopeId, InstanceId), &(u64, DocHash))| {
            format!("{scope} {signer} {seq} {hash}\n")
        };
        self.set_meta(&sent_key(remote), &sent.iter().map(line).collect::<String>())
    }

    /// Forgets all that of a remote.
    pub(super) fn forget_queue(&self, remote: &PeerName) -> Result<(), Error> {
        self.forget_meta(&failing_key(remote))?;
        self.forget_meta(&trouble_key(remote))?;
        self.forget_meta(&sent_key(remote))
    }
}

fn failing_key(remote: &PeerName) -> String {
    format!("failing:{remote}")
}

fn trouble_key(remote: &PeerName) -> String {
    format!("trouble:{remote}")
}

fn sent_key(remote: &PeerName) -> String {
    format!("sent:{remote}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_put_is_read_until_the_remote_goes() {
        let dir = tempfile::tempdir().unwrap();
        let state = State::open(&dir.path().join("state.db")).unwrap();
        let hub = PeerName::new("hub").unwrap();
        assert_eq!((state.failing(&hub).unwrap(), state.sent(&hub).unwrap().len()), (None, 0));
        let failing = Failing { failures: 3, next: UnixMillis(99), contact: Contact::Push };
        let place = (ScopeId::from_bytes([7; 16]), InstanceId::from_bytes([8; 32]));
        let sent = Sent::from([(place, (5, DocHash::from_bytes([9; 32])))]);
        state.put_failing(&hub, Some(failing)).unwrap();
        state.put_sent(&hub, &sent).unwrap();
        assert_eq!((state.failing(&hub).unwrap(), state.sent(&hub).unwrap()), (Some(failing), sent));
        assert_eq!(state.failing(&PeerName::new("hub2").unwrap()).unwrap(), None);
        state.put_trouble(&hub, Some("away")).unwrap();
        assert_eq!(state.trouble(&hub).unwrap().as_deref(), Some("away"));
        state.remove_remote(&hub).unwrap();
        assert_eq!(state.trouble(&hub).unwrap(), None);
        assert_eq!((state.failing(&hub).unwrap(), state.sent(&hub).unwrap().len()), (None, 0));
    }
}
