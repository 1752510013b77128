//! Draft of a manifest: how its origin makes a scope and changes its rules.
//!
//! One draft takes any number of changes and is signed once. Only the origin can make one, since it
//! reopens the secrets of all epochs from its own grants.

use super::*;
use crate::sys::random;

/// The next manifest of a scope, not signed yet. After an error it is spent: start another one.
pub struct ManifestDraft<'a> {
    origin: &'a Identity,
    manifest: Manifest,
    keys: Keys,
    details_changed: bool,
}

/// A reader and where to seal for it, as its card says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reader {
    /// The reader.
    pub instance: InstanceId,
    /// Its age recipient.
    pub recipient: String,
}

/// Which epochs are granted to a new reader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Since {
    /// All: it reads everything that the scope's epochs hold.
    Beginning,
    /// The newest only: it reads what is sealed from this epoch on.
    Now,
}

/// A signed manifest and what it says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signed {
    /// The document.
    pub bytes: Vec<u8>,
    /// Its name.
    pub hash: DocHash,
    /// What it says.
    pub manifest: Manifest,
}

/// A scope can't be made or changed like this.
#[derive(Debug, thiserror::Error)]
pub enum DraftError {
    /// The manifest is another instance's.
    #[error("scope {scope} is {origin}'s; only its origin changes it")]
    NotOrigin {
        /// The scope.
        scope: ScopeId,
        /// Whose it is.
        origin: InstanceId,
    },
    /// The manifest can't be opened, or has grown too large.
    #[error("cannot change the manifest")]
    Manifest(#[source] Error),
    /// A reader's recipient is none.
    #[error("cannot grant epoch {epoch} to {reader}")]
    Grant {
        /// The epoch.
        epoch: u32,
        /// The reader.
        reader: InstanceId,
        /// Why.
        source: sealing::Error,
    },
    /// Anyone reads a public scope; there is nobody to grant it to.
    #[error("scope {scope} is public: it has no named readers")]
    Public {
        /// The scope.
        scope: ScopeId,
    },
    /// The origin always reads its own scope: else nobody could, and nobody could change it.
    #[error("scope {scope} would be left without a reader: its origin can't be removed")]
    LastReader {
        /// The scope.
        scope: ScopeId,
    },
    /// A writer must be able to read.
    #[error("{instance} can't write to scope {scope} before it may read it")]
    NotReader {
        /// The scope.
        scope: ScopeId,
        /// Who.
        instance: InstanceId,
    },
    /// A bound of format/manifest.md is reached.
    #[error("scope {scope} would have {found} {what}, at most {bound} are allowed")]
    TooMany {
        /// The scope.
        scope: ScopeId,
        /// Of what.
        what: &'static str,
        /// How many it would have.
        found: usize,
        /// How many it may have.
        bound: usize,
    },
}

impl<'a> ManifestDraft<'a> {
    /// Starts a new scope with its first epoch, readable to the origin alone, or to anyone if `name` is `public`.
    ///
    /// # Errors
    /// `TooMany` if the schema has more bytes than allowed.
    pub fn new(origin: &'a Identity, name: &ScopeName, schema: &[u8], now: UnixMillis) -> Result<Self, DraftError> {
        let salt = random::bytes();
        let scope = scope_id(&origin.id(), &salt);
        let manifest = Manifest {
            scope,
            origin: origin.id(),
            salt,
            seq: 1,
            prev: None,
            public: name.is_public(),
            writers: Vec::new(),
            former: Vec::new(),
            epochs: Vec::new(),
            details: Vec::new(),
            time: now,
        };
        let id_key = Zeroizing::new(random::bytes());
        let keys = Keys { name: name.clone(), id_key, schema: Vec::new(), epochs: BTreeMap::new() };
        let mut draft = Self { origin, manifest, keys, details_changed: true };
        draft.set_schema(schema)?;
        draft.add_epoch(&[])?;
        Ok(draft)
    }

    /// Starts the successor of `manifest`, which has the name `hash`.
    ///
    /// # Errors
    /// `NotOrigin`; `Manifest` if the origin's own grants don't open.
    pub fn next(origin: &'a Identity, manifest: &Manifest, hash: DocHash, now: UnixMillis) -> Result<Self, DraftError> {
        if manifest.origin != origin.id() {
            return Err(DraftError::NotOrigin { scope: manifest.scope, origin: manifest.origin });
        }
        let keys = manifest.unlock(origin).map_err(DraftError::Manifest)?;
        let keys = keys.expect("every epoch of a manifest is granted to its origin");
        let manifest = Manifest { seq: manifest.seq + 1, prev: Some(hash), time: now, ..manifest.clone() };
        Ok(Self { origin, manifest, keys, details_changed: false })
    }

    /// Returns the draft as it stands; its details are brought up to date by `sign`.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Lets `reader` read. A reader that is one already is granted anew, to the recipient given now.
    ///
    /// # Errors
    /// `Public`, `Grant` and `TooMany`.
    pub fn grant(&mut self, reader: &Reader, since: Since) -> Result<(), DraftError> {
        if self.manifest.public {
            return Err(DraftError::Public { scope: self.manifest.scope });
        }
        let first = match since {
            Since::Beginning => 0,
            Since::Now => self.manifest.epochs.len() - 1,
        };
        for epoch in &mut self.manifest.epochs[first..] {
            let sealed = seal_grant(&self.keys.epochs[&epoch.number], epoch.number, reader)?;
            let Access::Granted(grants) = &mut epoch.access else { unreachable!("the scope is not public") };
            match grants.binary_search_by_key(&reader.instance, |(instance, _)| *instance) {
                Ok(at) => grants[at].1 = sealed,
                Err(at) => grants.insert(at, (reader.instance, sealed)),
            }
            bounded(self.manifest.scope, "readers", grants.len(), GRANTS_MAX)?;
        }
        Ok(())
    }

    /// Lets a reader write. Fine if it may already.
    ///
    /// # Errors
    /// `NotReader` and `TooMany`.
    pub fn add_writer(&mut self, instance: InstanceId) -> Result<(), DraftError> {
        let manifest = &mut self.manifest;
        if manifest.may_write(&instance) {
            return Ok(());
        }
        if !manifest.newest_epoch().access.is_granted_to(&instance) {
            return Err(DraftError::NotReader { scope: manifest.scope, instance });
        }
        manifest.former.retain(|former| *former != instance);
        insert(&mut manifest.writers, instance);
        bounded(manifest.scope, "writers", manifest.writers.len(), WRITERS_MAX)
    }

    /// Takes the right to write back; what was written before stays. Fine if it has none.
    ///
    /// # Errors
    /// `TooMany`, of former writers.
    pub fn remove_writer(&mut self, instance: InstanceId) -> Result<(), DraftError> {
        let manifest = &mut self.manifest;
        let Ok(at) = manifest.writers.binary_search(&instance) else { return Ok(()) };
        manifest.writers.remove(at);
        insert(&mut manifest.former, instance);
        bounded(manifest.scope, "former writers", manifest.former.len(), WRITERS_MAX)
    }

    /// Starts a new epoch for the origin and `readers`: everybody else can't read what is sealed from now on.
    ///
    /// Whoever isn't among them also loses its grants of older epochs (it may have kept a copy), and its
    /// right to write. In a public scope `readers` is empty.
    ///
    /// # Errors
    /// `Public`, `Grant` and `TooMany`.
    pub fn new_epoch(&mut self, readers: &[Reader]) -> Result<(), DraftError> {
        if self.manifest.public && !readers.is_empty() {
            return Err(DraftError::Public { scope: self.manifest.scope });
        }
        self.add_epoch(readers)?;
        let stays = |instance: &InstanceId| {
            *instance == self.origin.id() || readers.iter().any(|reader| reader.instance == *instance)
        };
        for epoch in &mut self.manifest.epochs {
            if let Access::Granted(grants) = &mut epoch.access {
                grants.retain(|(instance, _)| stays(instance));
            }
        }
        if self.manifest.public {
            return Ok(());
        }
        let leaving: Vec<_> = self.manifest.writers.iter().filter(|writer| !stays(writer)).copied().collect();
        leaving.into_iter().try_for_each(|writer| self.remove_writer(writer))
    }

    /// Takes the right to read and write from `leaving`, with a new epoch for `staying` where the scope is not public.
    ///
    /// What was sealed before stays readable to who left, as far as it kept its keys and the objects.
    ///
    /// # Errors
    /// `LastReader` if the origin is among them; `Grant` and `TooMany`.
    pub fn remove_readers(&mut self, leaving: &[InstanceId], staying: &[Reader]) -> Result<(), DraftError> {
        if leaving.contains(&self.origin.id()) {
            return Err(DraftError::LastReader { scope: self.manifest.scope });
        }
        if !self.manifest.public {
            assert!(staying.iter().all(|reader| !leaving.contains(&reader.instance)), "nobody both leaves and stays");
            self.new_epoch(staying)?;
        }
        leaving.iter().try_for_each(|instance| self.remove_writer(*instance))
    }

    /// Seals every epoch that is granted to `reader` anew, to the recipient given now. Others stay closed to it.
    ///
    /// # Errors
    /// `Grant`.
    pub fn regrant(&mut self, reader: &Reader) -> Result<(), DraftError> {
        for epoch in &mut self.manifest.epochs {
            let Access::Granted(grants) = &mut epoch.access else { continue };
            if let Ok(at) = grants.binary_search_by_key(&reader.instance, |(instance, _)| *instance) {
                grants[at].1 = seal_grant(&self.keys.epochs[&epoch.number], epoch.number, reader)?;
            }
        }
        Ok(())
    }

    /// Forgets epochs before `number`: for when no object is sealed to them any more. The newest always stays.
    pub fn drop_epochs_before(&mut self, number: u32) {
        let newest = self.manifest.newest_epoch().number;
        self.manifest.epochs.retain(|epoch| epoch.number >= number.min(newest));
    }

    /// Replaces the schema.
    ///
    /// # Errors
    /// `TooMany` bytes.
    pub fn set_schema(&mut self, schema: &[u8]) -> Result<(), DraftError> {
        bounded(self.manifest.scope, "bytes of schema", schema.len(), SCHEMA_BYTES_MAX)?;
        self.details_changed |= self.keys.schema != schema;
        self.keys.schema = schema.to_vec();
        Ok(())
    }

    /// Signs the draft.
    ///
    /// # Errors
    /// `Manifest` if it has outgrown a document.
    pub fn sign(mut self) -> Result<Signed, DraftError> {
        if self.details_changed {
            let details = codec::encode_details(&self.keys.name, &self.keys.id_key, &self.keys.schema);
            let recipient = &self.manifest.newest_epoch().recipient;
            self.manifest.details = if self.manifest.public {
                details.to_vec()
            } else {
                sealing::seal_to(&[recipient], &details).expect("our own key has a recipient")
            };
        }
        let bytes = self.manifest.sign(self.origin).map_err(DraftError::Manifest)?;
        Ok(Signed { hash: document::hash_of(&bytes), bytes, manifest: self.manifest })
    }

    fn add_epoch(&mut self, readers: &[Reader]) -> Result<(), DraftError> {
        let manifest = &mut self.manifest;
        let number = manifest.epochs.last().map_or(1, |epoch| epoch.number + 1);
        let key = EpochKey::generate();
        let access = if manifest.public {
            Access::Clear(key.secret_text().expose_secret().to_owned())
        } else {
            let own = Reader { instance: self.origin.id(), recipient: self.origin.recipient() };
            let mut grants = BTreeMap::from([(own.instance, seal_grant(&key, number, &own)?)]);
            for reader in readers.iter().filter(|reader| reader.instance != own.instance) {
                grants.insert(reader.instance, seal_grant(&key, number, reader)?);
            }
            bounded(manifest.scope, "readers", grants.len(), GRANTS_MAX)?;
            Access::Granted(grants.into_iter().collect())
        };
        manifest.epochs.push(Epoch { number, recipient: key.recipient(), access });
        self.keys.epochs.insert(number, key);
        self.details_changed = true;
        bounded(manifest.scope, "epochs", manifest.epochs.len(), EPOCHS_MAX)
    }
}

impl fmt::Debug for ManifestDraft<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ManifestDraft").field("scope", &self.manifest.scope).field("seq", &self.manifest.seq).finish()
    }
}

fn seal_grant(key: &EpochKey, epoch: u32, reader: &Reader) -> Result<Vec<u8>, DraftError> {
    let sealed = sealing::seal_to(&[&reader.recipient], key.secret_text().expose_secret().as_bytes())
        .map_err(|source| DraftError::Grant { epoch, reader: reader.instance, source })?;
    assert!(sealed.len() <= GRANT_BYTES_MAX);
    Ok(sealed)
}

fn insert(sorted: &mut Vec<InstanceId>, instance: InstanceId) {
    if let Err(at) = sorted.binary_search(&instance) {
        sorted.insert(at, instance);
    }
}

fn bounded(scope: ScopeId, what: &'static str, found: usize, bound: usize) -> Result<(), DraftError> {
    if found <= bound { Ok(()) } else { Err(DraftError::TooMany { scope, what, found, bound }) }
}
