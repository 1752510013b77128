//! Mending a remote: from this instance, and from its other remotes.

use std::path::Path;

use super::{HERE, Repaired, Source, mend_objects};
use crate::exchange::health::{self, Depth};
use crate::exchange::layout::StorePath;
use crate::exchange::store::{Store, StoreError};
use crate::id::name::PeerName;
use crate::sync::commit::Mode;
use crate::sync::error::Error;
use crate::sync::fsck::fsck_store;
use crate::sync::instance::Instance;
use crate::sync::progress::Event;
use crate::transport::dir::DirStore;
use crate::transport::url::RemoteUrl;

/// What becomes of a store that isn't there any more.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Gone {
    /// It may be a stick that isn't plugged in: nothing is made in its place.
    #[default]
    Wait,
    /// It is lost for good: a new one is made, and gets all that we have for it.
    Recreate,
}

impl Instance {
    /// Mends a remote from what we and our other remotes have.
    ///
    /// # Errors
    /// The remote can't be read or written at all; as `push`.
    pub fn repair_remote(&self, name: &PeerName, gone: Gone, mode: Mode) -> Result<Repaired, Error> {
        let mut repaired = Repaired::default();
        if mode == Mode::Keep {
            self.mend_queue_of(name, &mut repaired)?;
            self.forget_recalls()?;
            let remote = self.open_for_mending(name, gone, &mut repaired)?;
            self.mend_remote(remote.as_ref(), name, &mut repaired)?;
            let pushed = self.push(name)?;
            if pushed.heads > 0 {
                let line = format!("pushed {} heads and {} objects to {name}", pushed.heads, pushed.objects);
                repaired.done.push(line);
            }
        }
        repaired.left = self.fsck_remote(name, Depth::Contents)?;
        Ok(repaired)
    }

    /// Opens a remote for writing: with a new `format` file if it is a directory that lacks nothing else, and made anew if it is
    /// known to be lost.
    fn open_for_mending(&self, name: &PeerName, gone: Gone, repaired: &mut Repaired) -> Result<Box<dyn Store>, Error> {
        let opened = self.open_remote_for_writing(name);
        let Err(Error::Store { source, .. }) = &opened else { return opened };
        if !matches!(**source, StoreError::NotAStore { .. } | StoreError::Unreachable { .. }) {
            return opened;
        }
        if let Ok(RemoteUrl::Directory(path)) = self.remote_url(name)
            && mend_format(&path)?
        {
            repaired.done.push(format!("{name}: wrote its format file again"));
            return self.open_remote_for_writing(name);
        }
        if gone == Gone::Wait {
            return opened;
        }
        let made = self.recreate(name)?;
        repaired.done.push(format!("{name}: made a new store"));
        Ok(made)
    }

    fn mend_remote(&self, remote: &dyn Store, name: &PeerName, repaired: &mut Repaired) -> Result<(), Error> {
        let label = name.as_str();
        let mut sources = vec![Source { name: HERE.into(), store: Box::new(self.own_store()?) }];
        sources.extend(self.sources(Some(name), repaired)?);
        let health = health::examine(remote, Depth::Contents, &mut |_, _| {}).map_err(Error::store(label))?;
        mend_objects(remote, label, &health, &sources, repaired)?;
        self.mend_documents(remote, label, &health, repaired)?;
        for lacking in self.lacking_there(remote, name)? {
            let is_head = matches!(lacking.path, StorePath::Head(..));
            // Ours goes with the push, which also brings its objects.
            if !(lacking.is_ours && is_head) && self.mend_document(remote, lacking.path).map_err(Error::store(label))? {
                repaired.done.push(format!("{label}: brought {} again", lacking.path));
            }
        }
        remote.flush().map_err(Error::store(label))
    }

    /// Forgets that a remote failed, and what it was sent: all of that is found out anew.
    fn mend_queue_of(&self, name: &PeerName, repaired: &mut Repaired) -> Result<(), Error> {
        if let Some(failing) = self.state.failing(name)? {
            self.state.put_failing(name, None)?;
            repaired.done.push(format!("{name}: it failed {} times, and is tried again at once", failing.failures));
        }
        Ok(())
    }

    /// Has every remote that failed be tried again at once.
    pub(super) fn mend_queue(&self, repaired: &mut Repaired) -> Result<(), Error> {
        self.state.remotes()?.iter().try_for_each(|row| self.mend_queue_of(&row.name, repaired))
    }
}

/// Looks at the store in a directory without an instance, and writes its `format` file again if that is all that keeps it from
/// being one.
///
/// # Errors
/// It is no store, or can't be read or written.
pub fn repair_directory(path: &Path, mode: Mode, tell: &dyn Fn(Event<'_>)) -> Result<Repaired, Error> {
    let mut repaired = Repaired::default();
    if mode == Mode::Keep && mend_format(path)? {
        repaired.done.push("wrote its format file again".into());
    }
    let url = RemoteUrl::Directory(path.to_owned());
    repaired.left = fsck_store(&url, None, Depth::Contents, tell)?;
    Ok(repaired)
}

fn mend_format(path: &Path) -> Result<bool, Error> {
    DirStore::mend_format(path).map_err(Error::store(path.display().to_string()))
}
