//! Garbage: removes the objects of a store that no head names any more, and have not for a while.
//!
//! Safe beside a publisher: the limit is fixed before the heads are read, and whoever stores an object or swaps in a head
//! that names it starts the object's garbage clock again (format/store.md, "Garbage"). A head that can't be read may name
//! anything, so nothing is removed while there is one.

use crate::exchange::health::named;
use crate::exchange::layout::StorePath;
use crate::exchange::store::{GRACE_MILLIS_MIN, Store, StoreError};
use crate::sys::clock::UnixMillis;

/// Whether garbage is removed, or only counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Collect {
    /// Removed.
    Remove,
    /// Counted.
    Count,
}

/// What a collection found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Collected {
    /// Objects held before.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Garbage that was removed, or would be.
    pub removed: u64,
    /// Its bytes.
    pub removed_bytes: u64,
    /// Garbage that is too young to be removed.
    pub young: u64,
    /// Its bytes.
    pub young_bytes: u64,
    /// Garbage that the store doesn't let us remove.
    pub refused: u64,
}

/// Garbage could not be collected.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A head can't be read, so nobody knows what it names.
    #[error("cannot tell what is garbage in {store}: {path} can't be read")]
    Unread {
        /// The store.
        store: String,
        /// The head.
        path: StorePath,
    },
    /// The store fails.
    #[error("cannot collect garbage")]
    Store(#[source] Box<StoreError>),
}

/// Removes the objects of `store` that no head names and that were last used `grace_millis` before `now`.
///
/// A grace period below `GRACE_MILLIS_MIN` counts as that.
///
/// # Errors
/// `Unread`, and nothing is removed; `Store`.
pub fn collect(store: &dyn Store, grace_millis: u64, now: UnixMillis, mode: Collect) -> Result<Collected, Error> {
    let failed = |error| Error::Store(Box::new(error));
    let limit = UnixMillis(now.0.saturating_sub(grace_millis.max(GRACE_MILLIS_MIN)));
    let named = named(store).map_err(failed)?;
    if let Some(path) = named.unread.first() {
        return Err(Error::Unread { store: store.describe(), path: *path });
    }
    let mut found = Collected::default();
    for object in store.objects().map_err(failed)? {
        found.objects += 1;
        found.bytes += object.bytes;
        if named.objects.contains_key(&object.id) {
            continue;
        }
        let is_old = object.used <= limit;
        let removed = match (is_old, mode) {
            (true, Collect::Count) => Ok(true),
            (true, Collect::Remove) => store.remove_object(&object.id, limit),
            (false, _) => Ok(false),
        };
        match removed {
            Ok(true) => {
                found.removed += 1;
                found.removed_bytes += object.bytes;
            }
            Ok(false) => {
                found.young += 1;
                found.young_bytes += object.bytes;
            }
            Err(StoreError::Denied { .. }) => found.refused += 1,
            Err(error) => return Err(failed(error)),
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exchange::samples::{NOW, Shelf};

    /// What a head names stays however old it is, and of the rest what isn't older than the grace period.
    #[test]
    fn old_and_unnamed_objects_go() {
        let mut shelf = Shelf::default();
        let manifest = shelf.put_scope();
        let grace = 2 * GRACE_MILLIS_MIN;
        let named = shelf.hold(b"named", 9 * grace);
        let (old, at_the_limit, young) =
            (shelf.hold(b"old one", grace + 1), shelf.hold(b"limit", grace), shelf.hold(b"young ones", grace - 1));
        shelf.put_head(&manifest, &[(named, 5)], |_| {});
        let counted = collect(&shelf, grace, NOW, Collect::Count).unwrap();
        let wanted = Collected {
            objects: 4,
            bytes: 5 + 7 + 5 + 10,
            removed: 2,
            removed_bytes: 12,
            young: 1,
            young_bytes: 10,
            refused: 0,
        };
        assert_eq!(counted, wanted);
        assert_eq!(shelf.objects().unwrap().len(), 4, "to count removes nothing");
        assert_eq!(collect(&shelf, grace, NOW, Collect::Remove).unwrap(), wanted);
        let left: Vec<_> = shelf.objects().unwrap().iter().map(|object| object.id).collect();
        assert!(left.len() == 2 && left.contains(&named) && left.contains(&young), "{old} and {at_the_limit} are gone");
    }

    #[test]
    fn a_short_grace_counts_as_the_shortest() {
        let shelf = Shelf::default();
        shelf.hold(b"young", GRACE_MILLIS_MIN - 1);
        let found = collect(&shelf, 0, NOW, Collect::Remove).unwrap();
        assert_eq!((found.removed, found.young), (0, 1));
    }

    /// Of a store that lets nobody remove anything, how much is counted.
    #[test]
    fn what_may_not_be_removed_is_counted() {
        let shelf = Shelf { keeps: true, ..Default::default() };
        for bytes in [b"one", b"two"] {
            shelf.hold(bytes, 9 * GRACE_MILLIS_MIN);
        }
        let found = collect(&shelf, 0, NOW, Collect::Remove).unwrap();
        assert_eq!(found, Collected { objects: 2, bytes: 6, refused: 2, ..Default::default() });
    }

    #[test]
    fn nothing_goes_while_a_head_cannot_be_read() {
        let mut shelf = Shelf::default();
        let manifest = shelf.put_scope();
        shelf.hold(b"old", 9 * GRACE_MILLIS_MIN);
        shelf.put_head(&manifest, &[(shelf.hold(b"named", 0), 5)], |_| {});
        let path = StorePath::Head(manifest.scope, manifest.origin);
        shelf.documents.insert(path, b"damaged".to_vec());
        let refused = collect(&shelf, 0, NOW, Collect::Remove);
        assert!(matches!(refused, Err(Error::Unread { path: found, .. }) if found == path));
        assert_eq!(shelf.objects().unwrap().len(), 2);
    }
}
