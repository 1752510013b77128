//! Views: which commit of each scope the application's rows reflect.

use std::collections::BTreeMap;

use crate::cbor::error::Error;
use crate::cbor::reader::Reader;
use crate::cbor::writer::Writer;
use crate::id::bytes::{CommitId, ScopeId};

/// The most scopes that one instance can hold.
const SCOPES_MAX: usize = 65_536;

/// A commit for each scope. Scopes that are not in it count as empty.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct View {
    /// The commits.
    pub commits: BTreeMap<ScopeId, CommitId>,
}

impl View {
    /// Returns the bytes that the application's database keeps.
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::new();
        writer.array(self.commits.len());
        for (scope, commit) in &self.commits {
            writer.array(2);
            writer.bytes(scope.as_bytes());
            writer.bytes(commit.as_bytes());
        }
        writer.finish()
    }

    /// Reads what `encode` writes; no bytes are the empty view.
    ///
    /// # Errors
    /// Any other form.
    pub fn decode(bytes: &[u8]) -> Result<Self, Error> {
        let mut commits = BTreeMap::new();
        if bytes.is_empty() {
            return Ok(Self { commits });
        }
        let mut reader = Reader::new(bytes);
        for _ in 0..reader.array(SCOPES_MAX)? {
            reader.array_of(2)?;
            commits.insert(ScopeId::from_bytes(reader.fixed()?), CommitId::from_bytes(reader.fixed()?));
        }
        reader.finish()?;
        Ok(Self { commits })
    }
}
