//! Looks up one key.

use super::cursor::Cursor;
use super::error::TreeError;
use super::key::IdKey;
use super::root::Root;
use super::store::NodeStore;

/// Returns the value of a key, or `None` if the tree doesn't have it. Reads one node per level.
///
/// # Errors
/// `Missing`, `Read` or `Corrupt` for a node on the way.
pub fn get<S: NodeStore + ?Sized>(
    store: &S,
    key: &IdKey,
    root: &Root,
    wanted: &[u8],
) -> Result<Option<Vec<u8>>, TreeError> {
    let mut cursor = Cursor::open(store, key, root)?;
    if cursor.place().is_none() {
        return Ok(None);
    }
    cursor.seek(wanted, 0)?;
    let (leaf, index) = cursor.place().expect("a tree with a root has a leaf for any key");
    let found = index < leaf.entries() && leaf.key(index) == wanted;
    Ok(found.then(|| leaf.value(index).to_vec()))
}
