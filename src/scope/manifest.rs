//! Scope manifest: the rules of one scope, signed by its origin.
//!
//! It says who may read, who may write, and under which keys: a hub sees the ids of readers and writers,
//! but the scope's name, schema and id key only a reader can open. Format: format/manifest.md.
//!
//! Invariants, checked on decode and before signing: the scope id belongs to origin and salt; sequence 1
//! and only it has no predecessor; every non-public epoch is granted to the origin, and the newest one to
//! every writer.

mod codec;
pub mod draft;

use std::collections::BTreeMap;
use std::fmt;

use age::secrecy::ExposeSecret;
use zeroize::Zeroizing;

use crate::cbor;
use crate::id::bytes::{DocHash, InstanceId, ScopeId};
use crate::id::name::ScopeName;
use crate::keys::document::{self, DocKind, Unverified};
use crate::keys::identity::Identity;
use crate::keys::sealing::{self, EpochKey};
use crate::sys::clock::UnixMillis;

/// The rules of a scope as of one sequence number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// The scope; see `scope_id`.
    pub scope: ScopeId,
    /// Whose records these are, and who signs this.
    pub origin: InstanceId,
    /// Makes several scopes of one origin different.
    pub salt: [u8; 16],
    /// 1 for the first manifest, then one more each time.
    pub seq: u64,
    /// The manifest before; `None` for the first.
    pub prev: Option<DocHash>,
    /// Whether anyone may read.
    pub public: bool,
    /// Who may write besides the origin, ascending.
    pub writers: Vec<InstanceId>,
    /// Who could write once and can't any more, ascending.
    pub former: Vec<InstanceId>,
    /// The generations of the scope's key, ascending, the newest last; never empty.
    pub epochs: Vec<Epoch>,
    /// Name, id key and schema: in clear if public, else sealed to the newest epoch.
    pub details: Vec<u8>,
    /// When the origin signed this, by its own clock.
    pub time: UnixMillis,
}

/// One generation of a scope's key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Epoch {
    /// Counts from 1.
    pub number: u32,
    /// What is written in this epoch is sealed to this: `age1…`.
    pub recipient: String,
    /// Who has the secret of it.
    pub access: Access,
}

/// How one gets at an epoch's secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Access {
    /// Public: the secret itself, for anyone.
    Clear(String),
    /// The secret sealed to each reader's own recipient, ascending by reader.
    Granted(Vec<(InstanceId, Vec<u8>)>),
}

/// What a reader finds in a manifest.
#[derive(Clone)]
pub struct Keys {
    /// How the origin calls the scope.
    pub name: ScopeName,
    /// Keys every id within the scope.
    pub id_key: Zeroizing<[u8; 32]>,
    /// The schema; its meaning is not the manifest's business.
    pub schema: Vec<u8>,
    /// The epochs that we were granted, the newest among them.
    pub epochs: BTreeMap<u32, EpochKey>,
}

/// What a manifest that we are given means beside the one we know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Succession {
    /// Take it.
    New,
    /// We have it.
    Same,
    /// It is out of date; whoever brought it is behind.
    Older,
    /// The origin signed two different histories; keep both as proof and stop.
    Forked,
}

/// A manifest can't be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The document doesn't count.
    #[error("cannot verify the manifest")]
    Verify(#[source] document::Error),
    /// What was signed is no manifest.
    #[error("cannot read the manifest")]
    Decode(#[source] cbor::error::Error),
    /// It names another origin than the one that signed it.
    #[error("the manifest of {origin} is signed by {signer}")]
    OtherOrigin {
        /// Whom it names.
        origin: InstanceId,
        /// Who signed it.
        signer: InstanceId,
    },
    /// It has outgrown what a document may have.
    #[error("the manifest of scope {scope} has {bytes} bytes, at most {bound} are allowed; drop old epochs or readers")]
    TooLarge {
        /// The scope.
        scope: ScopeId,
        /// Its length.
        bytes: usize,
        /// What is allowed.
        bound: usize,
    },
    /// The grant that is ours doesn't open, or what is in clear is no key.
    #[error("cannot open our grant of epoch {epoch} of scope {scope}")]
    Grant {
        /// The scope.
        scope: ScopeId,
        /// The epoch.
        epoch: u32,
        /// Why.
        source: sealing::Error,
    },
    /// The granted secret isn't the one of the epoch.
    #[error("the secret granted to us for epoch {epoch} of scope {scope} belongs to another recipient")]
    WrongSecret {
        /// The scope.
        scope: ScopeId,
        /// The epoch.
        epoch: u32,
    },
    /// The details don't open with the newest epoch's key.
    #[error("cannot open the details of scope {scope}")]
    OpenDetails {
        /// The scope.
        scope: ScopeId,
        /// Why.
        source: sealing::Error,
    },
    /// The details are none.
    #[error("cannot read the details of scope {scope}")]
    DecodeDetails {
        /// The scope.
        scope: ScopeId,
        /// Why.
        source: cbor::error::Error,
    },
}

impl Manifest {
    /// Signs the manifest.
    ///
    /// # Errors
    /// `TooLarge`.
    ///
    /// # Panics
    /// If the identity isn't the origin, or the manifest breaks a rule of format/manifest.md.
    pub fn sign(&self, identity: &Identity) -> Result<Vec<u8>, Error> {
        assert!(self.origin == identity.id(), "only its origin signs a manifest");
        let payload = self.encode();
        let bound = DocKind::Manifest.payload_bytes_max();
        if payload.len() > bound {
            return Err(Error::TooLarge { scope: self.scope, bytes: payload.len(), bound });
        }
        assert!(Self::decode(&payload).as_ref() == Ok(self), "the manifest breaks a rule of its format");
        Ok(document::sign(identity, DocKind::Manifest, &payload))
    }

    /// Reads a manifest that `origin` signed.
    ///
    /// # Errors
    /// `Verify`, `Decode` and `OtherOrigin`.
    pub fn open(bytes: &[u8], origin: &InstanceId) -> Result<(Self, DocHash), Error> {
        let document = Unverified::parse(bytes).map_err(Error::Verify)?;
        let verified = document.verify(DocKind::Manifest, origin).map_err(Error::Verify)?;
        let manifest = Self::decode(verified.payload).map_err(Error::Decode)?;
        if manifest.origin != *origin {
            return Err(Error::OtherOrigin { origin: manifest.origin, signer: *origin });
        }
        Ok((manifest, verified.hash))
    }

    /// Returns the epoch that new objects are sealed to.
    pub fn newest_epoch(&self) -> &Epoch {
        self.epochs.last().expect("a manifest has an epoch")
    }

    /// Returns who can read what is written from now on, ascending, the origin included; nobody by name if public.
    pub fn readers(&self) -> Vec<InstanceId> {
        self.newest_epoch().access.readers().collect()
    }

    /// Returns the first epoch that is granted to `instance` by name.
    pub fn granted_since(&self, instance: &InstanceId) -> Option<u32> {
        let granted = |epoch: &&Epoch| epoch.access.readers().any(|reader| reader == *instance);
        self.epochs.iter().find(granted).map(|epoch| epoch.number)
    }

    /// Tells whether heads of `instance` count in this scope.
    pub fn may_write(&self, instance: &InstanceId) -> bool {
        *instance == self.origin || self.writers.binary_search(instance).is_ok()
    }

    /// Opens name, id key, schema and epochs with what was granted to `identity`.
    ///
    /// `None` if the newest epoch isn't granted to it: it is no reader (any more).
    ///
    /// # Errors
    /// `Grant` and `WrongSecret` for any epoch granted to us; `OpenDetails` and `DecodeDetails`.
    pub fn unlock(&self, identity: &Identity) -> Result<Option<Keys>, Error> {
        let mut epochs = BTreeMap::new();
        for epoch in &self.epochs {
            if let Some(key) = self.unlock_epoch(epoch, identity)? {
                epochs.insert(epoch.number, key);
            }
        }
        let Some(newest) = epochs.get(&self.newest_epoch().number) else { return Ok(None) };
        let opened;
        let details = if self.public {
            &self.details
        } else {
            let open = newest.open(&self.details, DETAILS_BYTES_MAX);
            opened = Zeroizing::new(open.map_err(|source| Error::OpenDetails { scope: self.scope, source })?);
            &*opened
        };
        let (name, id_key, schema) = codec::decode_details(details, self.public)
            .map_err(|source| Error::DecodeDetails { scope: self.scope, source })?;
        Ok(Some(Keys { name, id_key, schema, epochs }))
    }

    /// Returns the id key of a public scope, which anybody may know; `None` of others: for their readers there is `unlock`.
    ///
    /// # Errors
    /// `DecodeDetails`.
    pub fn public_id_key(&self) -> Result<Option<Zeroizing<[u8; 32]>>, Error> {
        if !self.public {
            return Ok(None);
        }
        let details = codec::decode_details(&self.details, true);
        let (_, id_key, _) = details.map_err(|source| Error::DecodeDetails { scope: self.scope, source })?;
        Ok(Some(id_key))
    }

    fn unlock_epoch(&self, epoch: &Epoch, identity: &Identity) -> Result<Option<EpochKey>, Error> {
        let broken = |source| Error::Grant { scope: self.scope, epoch: epoch.number, source };
        let key = match &epoch.access {
            Access::Clear(secret) => EpochKey::from_secret_text(secret).map_err(broken)?,
            Access::Granted(grants) => {
                let Ok(at) = grants.binary_search_by_key(&identity.id(), |(reader, _)| *reader) else {
                    return Ok(None);
                };
                let opened = identity.open_sealed(&grants[at].1, SECRET_BYTES_MAX).map_err(broken)?;
                let opened = Zeroizing::new(opened);
                let text =
                    std::str::from_utf8(&opened).map_err(|_| broken(sealing::Error::SecretText("it is not text")))?;
                EpochKey::from_secret_text(text).map_err(broken)?
            }
        };
        if key.recipient() != epoch.recipient {
            return Err(Error::WrongSecret { scope: self.scope, epoch: epoch.number });
        }
        Ok(Some(key))
    }
}

impl Access {
    /// Returns who was granted the secret by name, ascending; nobody if it is in clear.
    pub fn readers(&self) -> impl Iterator<Item = InstanceId> {
        let grants = match self {
            Self::Clear(_) => &[][..],
            Self::Granted(grants) => grants,
        };
        grants.iter().map(|(reader, _)| *reader)
    }

    fn is_granted_to(&self, reader: &InstanceId) -> bool {
        match self {
            Self::Clear(_) => true,
            Self::Granted(grants) => grants.binary_search_by_key(reader, |(reader, _)| *reader).is_ok(),
        }
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let epochs: Vec<_> = self.epochs.keys().collect();
        f.debug_struct("Keys").field("name", &self.name).field("epochs", &epochs).finish_non_exhaustive()
    }
}

/// Returns the id of the scope that `origin` made with `salt`: nobody else can make a scope with this id.
pub fn scope_id(origin: &InstanceId, salt: &[u8; 16]) -> ScopeId {
    let hash = blake3::derive_key("wbsync 2026 scope id v1", &[&origin.as_bytes()[..], salt].concat());
    ScopeId::from_slice(&hash[..ScopeId::SIZE]).expect("a hash is longer")
}

/// Compares a verified manifest with the newest that we know of its scope, given as sequence and hash.
///
/// A manifest that skips some is `New`: those between may be lost, and each is whole.
pub fn succession(known: Option<(u64, &DocHash)>, candidate: &Manifest, hash: &DocHash) -> Succession {
    let Some((known_seq, known_hash)) = known else { return Succession::New };
    if candidate.seq < known_seq {
        Succession::Older
    } else if candidate.seq == known_seq {
        if hash == known_hash { Succession::Same } else { Succession::Forked }
    } else if candidate.seq == known_seq + 1 && candidate.prev.as_ref() != Some(known_hash) {
        Succession::Forked
    } else {
        Succession::New
    }
}

/// A manifest has at most this many epochs.
pub const EPOCHS_MAX: usize = 1024;
/// An epoch is granted to at most this many readers, the origin included.
pub const GRANTS_MAX: usize = 4096;
/// A scope has at most this many writers besides its origin, and as many former ones.
pub const WRITERS_MAX: usize = 1024;
/// A schema has at most this many bytes.
pub const SCHEMA_BYTES_MAX: usize = 1 << 20;
const DETAILS_BYTES_MAX: usize = SCHEMA_BYTES_MAX + (8 << 10);
const GRANT_BYTES_MAX: usize = 4096;
const SECRET_BYTES_MAX: usize = 128;

#[cfg(test)]
mod tests;
