//! What peers told of what they have, and which of our heads were handed out: so a bundle holds what is lacking.

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;

use super::database::State;
use super::error::Error;
use crate::id::bytes::{InstanceId, ScopeId};

impl State {
    /// Returns the newest request of a peer, as it was signed.
    ///
    /// # Errors
    /// `Query`; `Damaged` if what is kept can't be read.
    pub fn told(&self, peer: &InstanceId) -> Result<Option<Vec<u8>>, Error> {
        let text = self.meta(&told_key(peer))?;
        let decode = |text: String| STANDARD_NO_PAD.decode(text).map_err(|_| Error::damaged("what a peer told"));
        text.map(decode).transpose()
    }

    /// Keeps a request that was verified, instead of the peer's last one.
    ///
    /// # Errors
    /// `Query`.
    pub fn put_told(&self, peer: &InstanceId, request: &[u8]) -> Result<(), Error> {
        self.set_meta(&told_key(peer), &STANDARD_NO_PAD.encode(request))
    }

    /// Forgets what a peer told.
    ///
    /// # Errors
    /// `Query`.
    pub fn forget_told(&self, peer: &InstanceId) -> Result<(), Error> {
        self.forget_meta(&told_key(peer))
    }

    /// Returns the numbers of our heads of a scope that were handed out in bundles, ascending; the last few.
    ///
    /// # Errors
    /// `Query`; `Damaged` if what is kept can't be read.
    pub fn handed(&self, scope: &ScopeId) -> Result<Vec<u64>, Error> {
        let text = self.meta(&handed_key(scope))?.unwrap_or_default();
        let numbers = text.split_whitespace().map(str::parse).collect::<Result<_, _>>();
        numbers.map_err(|_| Error::damaged("the heads that were handed out"))
    }

    /// Notes that one of our heads was handed out.
    ///
    /// # Errors
    /// As `handed`.
    pub fn put_handed(&self, scope: &ScopeId, seq: u64) -> Result<(), Error> {
        let mut numbers = self.handed(scope)?;
        numbers.retain(|number| *number != seq);
        numbers.push(seq);
        numbers.sort_unstable();
        let from = numbers.len().saturating_sub(HANDED_MAX);
        let text: Vec<String> = numbers[from..].iter().map(u64::to_string).collect();
        self.set_meta(&handed_key(scope), &text.join(" "))
    }
}

fn told_key(peer: &InstanceId) -> String {
    format!("told:{peer}")
}

fn handed_key(scope: &ScopeId) -> String {
    format!("handed:{scope}")
}

/// How many of them are remembered.
const HANDED_MAX: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_told_and_handed_out_is_remembered() {
        let dir = tempfile::tempdir().unwrap();
        let state = State::open(&dir.path().join("state.db")).unwrap();
        let (peer, scope) = (InstanceId::from_bytes([1; 32]), ScopeId::from_bytes([2; 16]));
        assert_eq!(state.told(&peer).unwrap(), None);
        state.put_told(&peer, b"one").unwrap();
        state.put_told(&peer, b"two").unwrap();
        assert_eq!(state.told(&peer).unwrap(), Some(b"two".to_vec()));
        state.forget_told(&peer).unwrap();
        assert_eq!(state.told(&peer).unwrap(), None);
        for seq in (1..=20).chain([7, 19]) {
            state.put_handed(&scope, seq).unwrap();
        }
        assert_eq!(state.handed(&scope).unwrap(), (5..=20).collect::<Vec<u64>>());
        state.set_meta("told:", "!").unwrap();
        state.set_meta(&handed_key(&scope), "x").unwrap();
        assert!(state.handed(&scope).is_err());
    }
}
