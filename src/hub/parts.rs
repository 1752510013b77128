//! Parts: what came of objects whose upload broke off, kept for a while for their senders to go on with.
//!
//! Each member has its own, so that nobody's part is spoilt by another. They lie in `hub/parts/<member>/<object>.part`, count
//! towards the quota, and are few. What is in them is believed only when it is whole and hashed.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use crate::exchange::store::Store;
use crate::hub::error::Error;
use crate::hub::limits::{PART_BYTES_MIN, PART_LIFE, PARTS_PER_INSTANCE};
use crate::hub::members::Members;
use crate::id::bytes::{InstanceId, ObjectId};
use crate::sys::clock::{self, UnixMillis};
use crate::sys::disk::{self, Entry};
use crate::transport::dir::DirStore;
use crate::transport::dir_part::Part;

/// Who sends an object: a member, or the owner of the store over a pipe.
pub(crate) type Sender = Option<InstanceId>;

/// The parts of a hub.
#[derive(Debug)]
pub(crate) struct Parts {
    dir: PathBuf,
    growing: Mutex<HashMap<(Sender, ObjectId), Arc<Notify>>>,
}

impl Parts {
    /// Looks after the parts below the directory of a hub's own files.
    pub(crate) fn new(hub_dir: &Path) -> Self {
        Self { dir: hub_dir.join("parts"), growing: Mutex::new(HashMap::new()) }
    }

    /// Returns how many bytes of an object of `size` bytes needn't be sent again: less than all of them.
    pub(crate) fn length(&self, sender: &Sender, object: &ObjectId, size: u64) -> u64 {
        match disk::look(&self.path(sender, object)) {
            Ok(Some(Entry::File { bytes, .. })) => bytes.min(size.saturating_sub(1)),
            _ => 0,
        }
    }

    /// Begins an upload, and ends the one of the same object by the same sender, whose connection is most likely dead.
    pub(crate) fn take_over(&self, sender: Sender, object: ObjectId) -> Growing<'_> {
        let stop = Arc::new(Notify::new());
        if let Some(before) = self.lock().insert((sender, object), Arc::clone(&stop)) {
            before.notify_one();
        }
        Growing { parts: self, key: (sender, object), stop }
    }

    /// Waits while uploads of these objects by this sender still grow: what a broken connection had under way is here soon, and
    /// needn't be sent again.
    pub(crate) async fn settled(&self, sender: &Sender, objects: &[(ObjectId, u64)]) {
        let until = Instant::now() + SETTLE_TIMEOUT;
        let mut reached = None;
        while Instant::now() < until {
            let grown: Vec<u64> = {
                let growing = self.lock();
                let is_growing = |(object, _): &&(ObjectId, u64)| growing.contains_key(&(*sender, *object));
                let lengths = objects.iter().filter(is_growing);
                lengths.map(|(object, size)| self.length(sender, object, *size)).collect()
            };
            if grown.is_empty() || reached.as_ref() == Some(&grown) {
                return;
            }
            reached = Some(grown);
            tokio::time::sleep(QUIET_TIME).await;
        }
    }

    /// Opens the part of an object, new or known, with its length as offset; `None` if it is in use and stays so.
    ///
    /// # Errors
    /// As the operating system says.
    pub(crate) fn open(&self, sender: &Sender, object: &ObjectId) -> io::Result<Option<Part>> {
        let path = self.path(sender, object);
        let own = path.parent().unwrap_or(&self.dir);
        disk::create_dir_in_parent(&self.dir)?;
        disk::create_dir_in_parent(own)?;
        let until = Instant::now() + TAKE_OVER_TIMEOUT;
        loop {
            if let Some(file) = disk::open_exclusive(&path)? {
                let offset = file.metadata()?.len();
                return Ok(Some(Part { file, path, offset }));
            }
            if Instant::now() > until {
                return Ok(None);
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Removes the part if it isn't worth keeping, and tells how long it is then.
    pub(crate) fn settle(&self, sender: &Sender, object: &ObjectId) -> u64 {
        let path = self.path(sender, object);
        match disk::look(&path) {
            Ok(Some(Entry::File { bytes, .. })) if bytes >= PART_BYTES_MIN => bytes,
            Ok(Some(_)) => {
                if let Ok(Some(file)) = disk::open_exclusive(&path) {
                    remove(&path, file);
                }
                0
            }
            _ => 0,
        }
    }

    /// Makes room for one more part of a sender: removes the oldest if there are as many as there may be.
    ///
    /// # Errors
    /// `Members`.
    pub(crate) fn make_room(&self, sender: &Sender, object: &ObjectId, members: &Members) -> Result<(), Error> {
        let mut known = self.of(&self.dir.join(name_of(sender)));
        known.retain(|(id, _)| id != object);
        known.sort_unstable_by_key(|(_, modified)| *modified);
        let surplus = (known.len() + 1).saturating_sub(PARTS_PER_INSTANCE);
        for (id, _) in known.into_iter().take(surplus) {
            self.drop_part(sender, &id, members)?;
        }
        Ok(())
    }

    /// Removes parts that are too old, and those of objects that are held.
    ///
    /// # Errors
    /// `Members`.
    pub(crate) fn sweep(&self, store: &DirStore, members: &Members) -> Result<(), Error> {
        let now = clock::now();
        for name in disk::names(&self.dir, SENDERS_MAX).ok().flatten().unwrap_or_default() {
            let sender = match (name.as_str(), name.parse()) {
                (OWNER, _) => None,
                (_, Ok(id)) => Some(id),
                _ => continue,
            };
            for (id, modified) in self.of(&self.dir.join(&name)) {
                let is_old = modified.0.saturating_add(PART_LIFE.as_millis() as u64) < now.0;
                if is_old || matches!(store.object_size(&id), Ok(Some(_))) {
                    self.drop_part(&sender, &id, members)?;
                }
            }
        }
        Ok(())
    }

    fn drop_part(&self, sender: &Sender, object: &ObjectId, members: &Members) -> Result<(), Error> {
        let path = self.path(sender, object);
        // One that grows is left alone.
        let Ok(Some(file)) = disk::open_exclusive(&path) else { return Ok(()) };
        remove(&path, file);
        sender.as_ref().map_or(Ok(()), |id| members.release_undone(id, object))
    }

    /// Lists the parts in a sender's directory, with when they last grew.
    fn of(&self, dir: &Path) -> Vec<(ObjectId, UnixMillis)> {
        let names = disk::names(dir, PARTS_LISTED_MAX).ok().flatten().unwrap_or_default();
        let part = |name: &String| {
            let id = name.strip_suffix(".part")?.parse().ok()?;
            match disk::look(&dir.join(name)) {
                Ok(Some(Entry::File { modified, .. })) => Some((id, modified)),
                _ => None,
            }
        };
        names.iter().filter_map(part).collect()
    }

    fn path(&self, sender: &Sender, object: &ObjectId) -> PathBuf {
        self.dir.join(name_of(sender)).join(format!("{object}.part"))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<(Sender, ObjectId), Arc<Notify>>> {
        self.growing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An upload under way.
#[derive(Debug)]
pub(crate) struct Growing<'a> {
    parts: &'a Parts,
    key: (Sender, ObjectId),
    stop: Arc<Notify>,
}

impl Growing<'_> {
    /// Waits until another upload takes its place.
    pub(crate) async fn taken_over(&self) {
        self.stop.notified().await;
    }
}

impl Drop for Growing<'_> {
    fn drop(&mut self) {
        let mut growing = self.parts.lock();
        if growing.get(&self.key).is_some_and(|stop| Arc::ptr_eq(stop, &self.stop)) {
            growing.remove(&self.key);
        }
    }
}

fn name_of(sender: &Sender) -> String {
    sender.as_ref().map_or_else(|| OWNER.to_owned(), InstanceId::to_string)
}

/// Removes a part that is locked; one that can't be removed is found again by the next sweep.
fn remove(path: &Path, locked: File) {
    let _ = disk::remove(path);
    drop(locked);
}

/// How the directory is called of whoever owns the store.
const OWNER: &str = "owner";
/// How long a new upload waits for the one that it takes the place of.
const TAKE_OVER_TIMEOUT: Duration = Duration::from_secs(2);
/// Who sends nothing for so long sends nothing more.
const QUIET_TIME: Duration = Duration::from_millis(300);
/// How long is waited for what is under way.
const SETTLE_TIMEOUT: Duration = Duration::from_secs(3);
/// More senders than a hub has members.
const SENDERS_MAX: usize = 1 << 20;
/// A sender has few parts; whatever else lies there isn't ours.
const PARTS_LISTED_MAX: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hub::members::Role;
    use std::io::Write;

    #[test]
    fn parts_are_swept_when_they_are_old_or_held_and_the_oldest_makes_room() {
        let dir = tempfile::tempdir().unwrap();
        let store = DirStore::create(&dir.path().join("store")).unwrap();
        let members = Members::open(&dir.path().join("store")).unwrap();
        let parts = Parts::new(members.dir());
        let (alpha, now) = (InstanceId::from_bytes([1; 32]), clock::now());
        members.allow(&alpha, Role::Writer, now).unwrap();
        let object = |n: u8| ObjectId::from_bytes([n; 32]);
        let make = |sender: &Sender, n: u8, age: Duration| {
            let part = parts.open(sender, &object(n)).unwrap().unwrap();
            (&part.file).write_all(&[7; 100]).unwrap();
            disk::set_modified(&part.path, UnixMillis(now.0 - age.as_millis() as u64)).unwrap();
            sender.iter().for_each(|id| assert!(members.reserve(id, &object(n), 100).unwrap()));
            part
        };
        let sender = Some(alpha);
        for (n, age) in [(1, PART_LIFE + Duration::from_secs(60)), (2, Duration::ZERO)] {
            make(&sender, n, age);
            make(&None, n, age);
        }
        let growing = make(&sender, 3, PART_LIFE * 2);
        parts.sweep(&store, &members).unwrap();
        let lengths = |sender: &Sender| [1, 2, 3].map(|n| parts.length(sender, &object(n), 1000));
        assert_eq!((lengths(&sender), lengths(&None)), ([0, 100, 100], [0, 100, 0]), "what grows isn't old");
        assert_eq!(members.member(&alpha).unwrap().unwrap().used_bytes, 200);
        drop(growing);
        for n in 10..10 + PARTS_PER_INSTANCE as u8 {
            parts.make_room(&sender, &object(n), &members).unwrap();
            make(&sender, n, Duration::ZERO);
        }
        assert_eq!(parts.of(&parts.dir.join(alpha.to_string())).len(), PARTS_PER_INSTANCE);
        assert_eq!(lengths(&sender), [0, 0, 0], "the oldest went first");
        assert_eq!(members.member(&alpha).unwrap().unwrap().used_bytes, 100 * PARTS_PER_INSTANCE as u64);
        assert_eq!(parts.length(&sender, &object(10), 100), 99, "a part is never all of it");
    }
}
