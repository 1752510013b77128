//! The store contract: a directory-shaped set of immutable sealed objects and a few signed documents.
//!
//! A directory, a hub, a bucket and a stick are the same thing behind this trait. A store holds bytes and
//! reads none of them: it checks names, sizes and hashes; signatures and rights are checked by whoever serves or
//! accepts a document. Who may replace what, and in which order things are written: format/store.md.

use std::fmt;
use std::io::{self, Read};

use crate::exchange::check::Damage;
use crate::exchange::layout::StorePath;
use crate::id::bytes::{DocHash, InstanceId, ObjectId, ScopeId};
use crate::sys::clock::UnixMillis;

/// A store. All methods block, and any number of threads and processes may use one store at once.
///
/// What every method keeps: lists ascend and have no duplicates; an absent thing is `None` or an empty list, and
/// never stands for a store that can't be reached; what a call wrote is durable when it returns, or when `flush` does, and
/// nothing of a failed call is ever visible. Nothing is tried again here but what a broken connection to a hub cut off.
///
/// # Errors
/// Every method can fail with `Unreachable`, `NewerFormat`, `Denied`, `Irregular` and `Io`, every write also with `ReadOnly`,
/// `Busy` and `Full`. Methods name what they add to that.
pub trait Store: Send + Sync {
    /// Returns what to call this store in a message: its kind and place, no secrets.
    fn describe(&self) -> String;

    /// Returns how many objects it is worth moving at once: more than one where an answer takes its time.
    fn lanes(&self) -> usize {
        1
    }

    /// Sends what was gathered: a store may keep what is written until then, where each answer is dear, and show it to whoever
    /// holds this same store only. Whoever writes ends with this, and relies on nothing before.
    ///
    /// # Errors
    /// What the calls themselves would have failed with elsewhere: `Swapped`, `Incomplete`, `Denied`. Nothing is gathered
    /// any more then.
    fn flush(&self) -> Result<(), StoreError> {
        Ok(())
    }

    /// Looks again at what may have changed: a store may answer for documents and lists, but not for objects, by what it was
    /// told when it was opened or last renewed.
    ///
    /// # Errors
    /// As the store can't be reached.
    fn renew(&self) -> Result<(), StoreError> {
        Ok(())
    }

    /// Returns the scopes with a manifest or a head.
    fn scopes(&self) -> Result<Vec<ScopeId>, StoreError>;

    /// Returns the signers with a head of `scope`; none if the scope is unknown.
    fn heads(&self, scope: &ScopeId) -> Result<Vec<InstanceId>, StoreError>;

    /// Returns the instances with a card.
    fn cards(&self) -> Result<Vec<InstanceId>, StoreError>;

    /// Returns the manifest of `scope`. Foreign bytes, of at most `DOCUMENT_BYTES_MAX`.
    fn manifest(&self, scope: &ScopeId) -> Result<Option<Vec<u8>>, StoreError>;

    /// Returns the head of `scope` by `signer`. Foreign bytes, of at most `DOCUMENT_BYTES_MAX`.
    fn head(&self, scope: &ScopeId, signer: &InstanceId) -> Result<Option<Vec<u8>>, StoreError>;

    /// Returns the card of `instance`. Foreign bytes, of at most `DOCUMENT_BYTES_MAX`.
    fn card(&self, instance: &InstanceId) -> Result<Option<Vec<u8>>, StoreError>;

    /// Replaces the manifest of `scope` if its hash (`keys::document::hash_of`) is `expected`; `None` expects none.
    ///
    /// A manifest that already is `bytes` is left alone and the call succeeds, so a call whose answer was lost
    /// may be repeated.
    ///
    /// # Errors
    /// `Swapped` with the hash found, if another one was there first; `TooLarge`.
    fn swap_manifest(&self, scope: &ScopeId, expected: Option<DocHash>, bytes: &[u8]) -> Result<(), StoreError>;

    /// Replaces the head of `scope` by `signer` as `swap_manifest` does, if all `objects` are held at their sizes.
    ///
    /// `objects` are all that the head in `bytes` names. Their garbage clock starts again: they will not be taken
    /// by a `remove_object` that runs at the same time.
    ///
    /// # Errors
    /// `Incomplete` with the first object that isn't held at its size, and nothing is replaced; `Swapped`; `TooLarge`.
    fn swap_head(
        &self,
        scope: &ScopeId,
        signer: &InstanceId,
        expected: Option<DocHash>,
        objects: &[(ObjectId, u64)],
        bytes: &[u8],
    ) -> Result<(), StoreError>;

    /// Removes the head of `scope` by `signer` if its hash is `expected`; tells whether it did. Objects stay.
    ///
    /// For the scope's origin, whose own head contains all that the other one stands for, and for the signer itself. Nobody
    /// is rolled back by it: a missing head says nothing.
    ///
    /// # Errors
    /// `Swapped` with the hash found, if another one is there.
    fn remove_head(&self, scope: &ScopeId, signer: &InstanceId, expected: DocHash) -> Result<bool, StoreError>;

    /// Returns the readers with a receipt of `scope`; none if the scope is unknown.
    fn receipts(&self, scope: &ScopeId) -> Result<Vec<InstanceId>, StoreError>;

    /// Returns the receipt of `scope` by `reader`. Foreign bytes, of at most `DOCUMENT_BYTES_MAX`.
    fn receipt(&self, scope: &ScopeId, reader: &InstanceId) -> Result<Option<Vec<u8>>, StoreError>;

    /// Replaces the receipt of `scope` by `reader` as `swap_manifest` does.
    ///
    /// # Errors
    /// `Swapped`; `TooLarge`.
    fn swap_receipt(
        &self,
        scope: &ScopeId,
        reader: &InstanceId,
        expected: Option<DocHash>,
        bytes: &[u8],
    ) -> Result<(), StoreError>;

    /// Replaces the card of `instance` as `swap_manifest` does.
    ///
    /// # Errors
    /// `Swapped`; `TooLarge`.
    fn swap_card(&self, instance: &InstanceId, expected: Option<DocHash>, bytes: &[u8]) -> Result<(), StoreError>;

    /// Returns those of `objects` that are not held at their sizes, in the order given.
    ///
    /// An object cut short by a bad disk counts as missing, so that it is sent again. Contents are not read.
    fn missing(&self, objects: &[(ObjectId, u64)]) -> Result<Vec<ObjectId>, StoreError>;

    /// Returns the size of an object in bytes.
    fn object_size(&self, object: &ObjectId) -> Result<Option<u64>, StoreError>;

    /// Returns the bytes of an object from `offset` on; at or past the end there are none.
    ///
    /// As they are held: *not* verified. Whoever uses them checks them against the id (`check::ObjectCheck`).
    ///
    /// # Errors
    /// `Missing`.
    fn object(&self, object: &ObjectId, offset: u64) -> Result<Box<dyn Read + Send>, StoreError>;

    /// Stores an object of `size` bytes, read to the end from `bytes`; verified before it can be seen.
    ///
    /// If it is held at that size already, nothing is read and its garbage clock starts again. If it is held at
    /// another size, it is replaced.
    ///
    /// # Errors
    /// `Damaged` if the bytes handed over are not the object's; `Source` if reading them failed; `TooLarge`.
    fn put_object(&self, object: &ObjectId, size: u64, bytes: &mut dyn Read) -> Result<(), StoreError>;

    /// Puts right bytes in the place of wrong ones, and tells whether it stored them.
    ///
    /// The store itself compares what it holds with the name: what is whole stays, whoever says otherwise. What is damaged lies
    /// there until `bytes` were read to the end and verified. An object that isn't held at `size` is stored too.
    ///
    /// # Errors
    /// As `put_object`.
    fn heal_object(&self, object: &ObjectId, size: u64, bytes: &mut dyn Read) -> Result<bool, StoreError>;

    /// Removes an object, unless its garbage clock was started after `unused_since`; tells whether it did.
    ///
    /// The caller knows that no head names it. The clock closes the gap between knowing and removing, if `unused_since`
    /// lies at least `GRACE_MILLIS_MIN` before the heads were read. An absent object is not removed.
    fn remove_object(&self, object: &ObjectId, unused_since: UnixMillis) -> Result<bool, StoreError>;

    /// Returns every object held, for garbage collection and checks; reads no contents.
    fn objects(&self) -> Result<Vec<StoredObject>, StoreError>;
}

/// An object as it lies in a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoredObject {
    /// Its name.
    pub id: ObjectId,
    /// Its size in bytes.
    pub bytes: u64,
    /// When its garbage clock started, by the store's own clock.
    pub used: UnixMillis,
}

/// A store could not do what it was asked to.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The store isn't there: a path that doesn't exist, a stick that was pulled, a server that doesn't answer.
    #[error("cannot {doing}: {store} is not there")]
    Unreachable {
        /// The store, as it describes itself.
        store: String,
        /// What was being done.
        doing: Doing,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Something is there, and it isn't a store.
    #[error("{store} is not a store: {why}")]
    NotAStore {
        /// The place.
        store: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The store was written by a later version.
    #[error("{store} has store format {found}, and this version reads format 1 only")]
    NewerFormat {
        /// The store.
        store: String,
        /// The version of its format.
        found: u32,
    },
    /// The thing asked for isn't there.
    #[error("{store} does not hold {path}")]
    Missing {
        /// The store.
        store: String,
        /// The thing.
        path: StorePath,
    },
    /// Bytes are not those of the object they were said to be: held so, or handed over so.
    #[error("object {object} is damaged in {store}")]
    Damaged {
        /// The store that holds, or was given, the bytes.
        store: String,
        /// The object, whose name is the hash that was wanted.
        object: ObjectId,
        /// How the bytes differ.
        #[source]
        damage: Damage,
    },
    /// A document isn't the one that was to be replaced: somebody else was first.
    #[error("cannot replace {path} in {store}: it was changed in the meantime")]
    Swapped {
        /// The store.
        store: String,
        /// The document.
        path: StorePath,
        /// The hash of what is there now, if anything is.
        found: Option<DocHash>,
    },
    /// A head names an object that the store doesn't hold.
    #[error("cannot replace {path} in {store}: it names object {object}, which is not held there")]
    Incomplete {
        /// The store.
        store: String,
        /// The head.
        path: StorePath,
        /// The first missing object.
        object: ObjectId,
    },
    /// A thing exceeds the bound of its kind, as held or as handed over.
    #[error("{path} in {store} is larger than the {bound} bytes allowed there")]
    TooLarge {
        /// The store.
        store: String,
        /// The thing.
        path: StorePath,
        /// The bound in bytes.
        bound: u64,
    },
    /// A link, a device or another thing lies where only plain files and directories may. Never followed.
    #[error("{store} holds something at {path:?} that is neither a plain file nor a directory of its own")]
    Irregular {
        /// The store.
        store: String,
        /// The place, relative to the store.
        path: String,
    },
    /// The bytes that were to be stored could not be read from where they come.
    #[error("cannot store object {object} in {store}: its bytes stopped coming")]
    Source {
        /// The store.
        store: String,
        /// The object.
        object: ObjectId,
        /// What the reader said.
        #[source]
        source: io::Error,
    },
    /// Somebody else holds the store's lock and doesn't let go.
    #[error("cannot {doing}: another process keeps {store} locked")]
    Busy {
        /// The store.
        store: String,
        /// What was being done.
        doing: Doing,
    },
    /// No room is left.
    #[error("cannot {doing}: {store} is full")]
    Full {
        /// The store.
        store: String,
        /// What was being done.
        doing: Doing,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The store can't be written at all.
    #[error("cannot {doing}: {store} is read-only")]
    ReadOnly {
        /// The store.
        store: String,
        /// What was being done.
        doing: Doing,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// We lack the right.
    #[error("cannot {doing}: {store} does not allow it")]
    Denied {
        /// The store.
        store: String,
        /// What was being done.
        doing: Doing,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Anything else that the disk or the network can say.
    #[error("cannot {doing} in {store}")]
    Io {
        /// The store.
        store: String,
        /// What was being done.
        doing: Doing,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

impl StoreError {
    /// Tells whether the same call may succeed later without anybody doing anything about it.
    ///
    /// `Swapped` and `Incomplete` are not: they ask the caller to look again and do something else.
    pub fn is_transient(&self) -> bool {
        use io::ErrorKind as Kind;
        match self {
            StoreError::Unreachable { .. } | StoreError::Busy { .. } => true,
            StoreError::Io { source, .. } | StoreError::Source { source, .. } => matches!(
                source.kind(),
                Kind::TimedOut
                    | Kind::WouldBlock
                    | Kind::Interrupted
                    | Kind::ResourceBusy
                    | Kind::StaleNetworkFileHandle
                    | Kind::ConnectionReset
                    | Kind::ConnectionAborted
                    | Kind::ConnectionRefused
                    | Kind::BrokenPipe
                    | Kind::UnexpectedEof
                    | Kind::NetworkDown
                    | Kind::NetworkUnreachable
                    | Kind::HostUnreachable
            ),
            StoreError::NotAStore { .. }
            | StoreError::NewerFormat { .. }
            | StoreError::Missing { .. }
            | StoreError::Damaged { .. }
            | StoreError::Swapped { .. }
            | StoreError::Incomplete { .. }
            | StoreError::TooLarge { .. }
            | StoreError::Irregular { .. }
            | StoreError::Full { .. }
            | StoreError::ReadOnly { .. }
            | StoreError::Denied { .. } => false,
        }
    }
}

/// What was being done to which part of a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Doing {
    /// Opening the store.
    Open,
    /// Making a new store.
    Create,
    /// Listing scopes, heads, cards or objects, as named.
    List(&'static str),
    /// Reading one thing.
    Read(StorePath),
    /// Writing or replacing one thing.
    Write(StorePath),
    /// Removing one thing.
    Remove(StorePath),
    /// Removing what interrupted writes left behind.
    Sweep,
}

impl fmt::Display for Doing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Doing::Open => f.write_str("open the store"),
            Doing::Create => f.write_str("make a store"),
            Doing::List(what) => write!(f, "list {what}"),
            Doing::Read(path) => write!(f, "read {path}"),
            Doing::Write(path) => write!(f, "write {path}"),
            Doing::Remove(path) => write!(f, "remove {path}"),
            Doing::Sweep => f.write_str("sweep up after interrupted writes"),
        }
    }
}

/// The least time between an object's last use and its removal (format/store.md, "Garbage").
pub const GRACE_MILLIS_MIN: u64 = 48 * 3_600_000;

/// How old the garbage clock of an object may be before its next use starts it again.
pub const FRESH_MILLIS: u64 = 12 * 3_600_000;

/// What two machines' clocks, and FAT's local times, may differ by.
pub const CLOCK_SKEW_MILLIS: u64 = 26 * 3_600_000;

const _: () = assert!(FRESH_MILLIS + CLOCK_SKEW_MILLIS < GRACE_MILLIS_MIN);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_say_what_was_done_to_what_and_where() {
        let store = || "the directory /mnt/stick".to_owned();
        let (object, source) = (ObjectId::from_bytes([0xab; 32]), || io::Error::from(io::ErrorKind::NotFound));
        let path = StorePath::Manifest(ScopeId::from_bytes([0x5c; 16]));
        let errors = [
            StoreError::Unreachable { store: store(), doing: Doing::List("scopes"), source: source() },
            StoreError::NotAStore { store: store(), why: "it has no format file" },
            StoreError::NewerFormat { store: store(), found: 2 },
            StoreError::Missing { store: store(), path },
            StoreError::Damaged { store: store(), object, damage: Damage::Long { expected: 7 } },
            StoreError::Swapped { store: store(), path, found: None },
            StoreError::Busy { store: store(), doing: Doing::Write(path) },
            StoreError::Full { store: store(), doing: Doing::Write(path), source: source() },
        ];
        let text: Vec<_> = errors.iter().map(|error| format!("{} {error}", error.is_transient())).collect();
        insta::assert_snapshot!(text.join("\n"), @r#"
        true cannot list scopes: the directory /mnt/stick is not there
        false the directory /mnt/stick is not a store: it has no format file
        false the directory /mnt/stick has store format 2, and this version reads format 1 only
        false the directory /mnt/stick does not hold scopes/5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c/manifest
        false object abababababababababababababababababababababababababababababababab is damaged in the directory /mnt/stick
        false cannot replace scopes/5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c/manifest in the directory /mnt/stick: it was changed in the meantime
        true cannot write scopes/5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c/manifest: another process keeps the directory /mnt/stick locked
        false cannot write scopes/5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c/manifest: the directory /mnt/stick is full
        "#);
    }
}
