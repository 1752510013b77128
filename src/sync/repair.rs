//! Repair: mends what `fsck` finds, in this instance or in a remote, from whatever still has it.
//!
//! Nothing is guessed: an object comes only from a store that has it whole, a document only as its signer signed it, a
//! tree only if it gives the signed root. What is done is listed, and what can't be mended is what a last look
//! still finds.

pub mod remote;
mod tables;
mod trees;

use std::path::Path;

use super::commit::Mode;
use super::error::Error;
use super::fsck::Report;
use super::instance::{Instance, Purpose};
use super::own_file;
use super::progress::Watcher;
use crate::connector::error::Error as DatabaseError;
use crate::exchange::copy::{copy_objects, verify};
use crate::exchange::head::Head;
use crate::exchange::health::{self, Depth, Health, Kind};
use crate::exchange::layout::{self, StorePath};
use crate::exchange::store::{Store, StoreError};
use crate::id::name::PeerName;
use crate::keys::document::hash_of;
use crate::sys::clock::UnixMillis;
use crate::sys::disk;
use crate::transport::dir::DirStore;

/// What a repair did.
#[derive(Debug, Default, serde::Serialize)]
pub struct Repaired {
    /// What was mended, each in words.
    pub done: Vec<String>,
    /// Remotes that could not be asked, with the reason.
    pub unreachable: Vec<(String, String)>,
    /// How things are now; after a dry run, as they were found.
    pub left: Report,
}

/// A store that may have what is lacking.
pub(super) struct Source {
    pub(super) name: String,
    pub(super) store: Box<dyn Store>,
}

/// Whatever its garbage clock says: the bytes are of no use to anybody.
const AT_ONCE: UnixMillis = UnixMillis(u64::MAX);

/// Mends the instance in `root`, also where it can't even be opened for want of one of its own files.
///
/// # Errors
/// As `own_file::mend`, `Instance::open` and `Instance::repair`.
pub fn repair_here(root: &Path, mode: Mode, watcher: Watcher) -> Result<Repaired, Error> {
    let (purpose, done) = match mode {
        Mode::DryRun => (Purpose::Look, Vec::new()),
        Mode::Keep => (Purpose::Change, own_file::mend(root)?),
    };
    let mut repaired = Instance::open(root, purpose, watcher)?.repair(mode)?;
    repaired.done.splice(0..0, done);
    Ok(repaired)
}

impl Instance {
    /// Mends this instance: its state, its own store, and what it published.
    ///
    /// # Errors
    /// The state or our own store can't be written. What can't be mended is in the result.
    pub fn repair(&self, mode: Mode) -> Result<Repaired, Error> {
        let mut repaired = Repaired::default();
        if mode == Mode::DryRun {
            repaired.left = self.fsck(Depth::Contents)?;
            return Ok(repaired);
        }
        if self.mend_tables(&mut repaired)? {
            // What can't be read there is named by the last look, and nothing that needs it is tried.
            let has_books = self.has_sound_books()?;
            if has_books {
                self.mend_pending(&mut repaired)?;
            }
            self.mend_queue(&mut repaired)?;
            let store = self.mend_own_directory(&mut repaired)?;
            let sources = self.sources(None, &mut repaired)?;
            let health = health::examine(&store, Depth::Contents, &mut |_, _| {}).map_err(Error::store(HERE))?;
            let lost = mend_objects(&store, HERE, &health, &sources, &mut repaired)?;
            for id in lost {
                // It counts as missing from now on, and what it carried is sealed anew.
                store.remove_object(&id, AT_ONCE).map_err(Error::store(HERE))?;
            }
            if has_books {
                self.mend_trees(&store, &sources, &mut repaired)?;
            }
            self.mend_documents(&store, HERE, &health, &mut repaired)?;
            for lacking in self.lacking_here(&store)? {
                if self.mend_document(&store, lacking.path).map_err(Error::store(HERE))? {
                    repaired.done.push(format!("put {} into our own store again", lacking.path));
                }
            }
            if has_books && self.look_at_trees()?.is_whole() {
                for (scope, published) in self.publish()? {
                    repaired.done.push(format!("published head {} of {scope} anew", published.seq));
                }
            }
        }
        repaired.left = self.fsck(Depth::Contents)?;
        Ok(repaired)
    }

    /// Finishes a commit that a crash kept from the application's database, or forgets it if the database has gone on
    /// without it: then its changes are captured again.
    fn mend_pending(&self, repaired: &mut Repaired) -> Result<(), Error> {
        if self.state.pending()?.is_none() {
            return Ok(());
        }
        match self.settle_pending() {
            Ok(()) => repaired.done.push("finished a commit that a crash had interrupted".into()),
            Err(Error::Database(source)) if matches!(*source, DatabaseError::StaleCapture { .. }) => {
                self.state.clear_pending()?;
                repaired.done.push(
                    "forgot a commit that the application's database never took; the next commit captures its changes again"
                        .into(),
                );
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Opens our own store, with a new `format` file if that is what it lacks.
    fn mend_own_directory(&self, repaired: &mut Repaired) -> Result<DirStore, Error> {
        let dir = self.dir().join("store");
        match DirStore::open(&dir) {
            Err(StoreError::NotAStore { .. }) if dir.is_dir() => {
                let path = dir.join("format");
                disk::replace(&path, layout::FORMAT.as_bytes(), disk::Access::Shared)
                    .map_err(Error::io("write", &path))?;
                repaired.done.push("wrote the format file of our own store again".into());
            }
            Err(StoreError::Unreachable { .. }) if !dir.exists() && self.has_published()? => {
                repaired.done.push("made our own store again".into());
            }
            _ => {}
        }
        self.own_store()
    }

    fn has_published(&self) -> Result<bool, Error> {
        for row in self.state.scopes()? {
            if self.state.head(&row.id, &self.id())?.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Opens every remote but one; those that can't be are listed.
    fn sources(&self, but: Option<&PeerName>, repaired: &mut Repaired) -> Result<Vec<Source>, Error> {
        let mut sources = Vec::new();
        for row in self.state.remotes()?.into_iter().filter(|row| Some(&row.name) != but) {
            match self.open_remote(&row.name) {
                Ok(Some(store)) => sources.push(Source { name: row.name.to_string(), store }),
                Ok(None) => {}
                Err(error) => {
                    let why = std::error::Error::source(&error).map_or_else(|| error.to_string(), ToString::to_string);
                    repaired.unreachable.push((row.name.to_string(), why));
                }
            }
        }
        Ok(sources)
    }

    /// Replaces damaged documents by those that the state holds of the same signer.
    fn mend_documents(
        &self,
        store: &dyn Store,
        name: &str,
        health: &Health,
        repaired: &mut Repaired,
    ) -> Result<(), Error> {
        let broken = |kind| matches!(kind, Kind::DamagedDocument | Kind::Misplaced | Kind::NoManifest);
        for finding in health.findings.iter().filter(|finding| broken(finding.kind)) {
            if self.mend_document(store, finding.path).map_err(Error::store(name))? {
                repaired.done.push(format!("{name}: put {} right", finding.path));
            }
        }
        Ok(())
    }

    fn mend_document(&self, store: &dyn Store, path: StorePath) -> Result<bool, StoreError> {
        // A state that can't be read has nothing to offer.
        let mended = match path {
            StorePath::Manifest(scope) => {
                let Ok(Some(row)) = self.state.scope(&scope) else { return Ok(false) };
                let there = store.manifest(&scope)?.map(|bytes| hash_of(&bytes));
                store.swap_manifest(&scope, there, &row.manifest)
            }
            StorePath::Head(scope, signer) => {
                let Ok(Some(head)) = self.state.head(&scope, &signer) else { return Ok(false) };
                let Ok((opened, _)) = Head::open(&head.document, &signer) else { return Ok(false) };
                let objects: Vec<_> = opened.objects().map(|object| (object.id, object.bytes)).collect();
                let there = store.head(&scope, &signer)?.map(|bytes| hash_of(&bytes));
                store.swap_head(&scope, &signer, there, &objects, &head.document)
            }
            StorePath::Receipt(scope, reader) => {
                let Ok(Some(receipt)) = self.state.receipt(&scope, &reader) else { return Ok(false) };
                let there = store.receipt(&scope, &reader)?.map(|bytes| hash_of(&bytes));
                store.swap_receipt(&scope, &reader, there, &receipt.document)
            }
            StorePath::Card(instance) => {
                let card = match instance == self.id() {
                    true => Some(self.card.bytes.clone()),
                    false => self.state.peer(&instance).ok().flatten().map(|peer| peer.card),
                };
                let Some(card) = card else { return Ok(false) };
                let there = store.card(&instance)?.map(|bytes| hash_of(&bytes));
                store.swap_card(&instance, there, &card)
            }
            StorePath::Format | StorePath::Object(_) => return Ok(false),
        };
        match mended {
            Ok(()) => Ok(true),
            // Not ours to write there, or it names what nobody has: the last look tells.
            Err(StoreError::Denied { .. } | StoreError::Incomplete { .. } | StoreError::Swapped { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// Brings damaged and missing objects back from stores that have them. Returns those damaged ones that nobody has.
fn mend_objects(
    store: &dyn Store,
    name: &str,
    health: &Health,
    sources: &[Source],
    repaired: &mut Repaired,
) -> Result<Vec<crate::id::bytes::ObjectId>, Error> {
    let mut lost = Vec::new();
    for finding in &health.findings {
        let (StorePath::Object(id), Kind::DamagedObject | Kind::MissingObject) = (finding.path, finding.kind) else {
            continue;
        };
        if !finding.is_named {
            match store.remove_object(&id, AT_ONCE) {
                Ok(true) => repaired.done.push(format!("{name}: removed {}, which no head names", finding.path)),
                Ok(false) | Err(StoreError::Denied { .. }) => {}
                Err(error) => return Err(Error::store(name)(error)),
            }
            continue;
        }
        let source = sources.iter().find(|source| verify(source.store.as_ref(), id, finding.bytes).is_ok());
        let Some(source) = source else {
            if finding.kind == Kind::DamagedObject {
                lost.push(id);
            }
            continue;
        };
        if finding.kind == Kind::DamagedObject {
            let reader = source.store.object(&id, 0).map_err(Error::store(source.name.as_str()))?;
            store.heal_object(&id, finding.bytes, &mut { reader }).map_err(Error::store(name))?;
        } else {
            copy_objects(source.store.as_ref(), store, &[(id, finding.bytes)], &mut |_| {})
                .map_err(|source| Error::Copy { to: name.into(), source })?;
        }
        // A hub of an earlier version keeps what a head names, whatever its bytes are.
        if verify(store, id, finding.bytes).is_ok() {
            repaired.done.push(format!("{name}: got {} again from {}", finding.path, source.name));
        }
    }
    Ok(lost)
}

pub(super) const HERE: &str = "this instance";
