//! Applies sorted edits to a tree.

use super::build::{Builder, check_bounds};
use super::chunker::Entry;
use super::cursor::read_node;
use super::error::TreeError;
use super::key::IdKey;
use super::level::{Change, Changes, LevelEditor, Put};
use super::node::{tail_child, value_tail};
use super::root::Root;
use super::store::NodeStore;

/// Puts (`Some`) or removes (`None`) entries, and returns the root of the tree that results.
///
/// The result is the tree that `build` makes of the resulting entries. Removing an absent key and putting
/// an equal value change nothing. The old tree stays as it is. Reads and writes O(edits · log n) nodes, in
/// one pass from left to right, so that edits as many as the entries cost about as much as `build`.
/// Memory: a few nodes per level.
///
/// # Errors
/// A key or value that is too large; `Missing`, `Read` or `Corrupt` for a node of the old tree; a store
/// that can't write. Nodes written until then are in the store, and no root refers to them.
///
/// # Panics
/// If keys don't strictly ascend: sorting is the caller's business.
pub fn apply<S: NodeStore + ?Sized>(
    store: &S,
    key: &IdKey,
    root: &Root,
    edits: impl IntoIterator<Item = (Vec<u8>, Option<Vec<u8>>)>,
) -> Result<Root, TreeError> {
    try_apply(store, key, root, edits.into_iter().map(Ok))
}

/// Does what `apply` does with edits that may fail to come.
///
/// # Errors
/// As `apply`, and the first error of `edits`.
///
/// # Panics
/// As `apply`.
pub fn try_apply<S, E>(
    store: &S,
    key: &IdKey,
    root: &Root,
    edits: impl IntoIterator<Item = Result<(Vec<u8>, Option<Vec<u8>>), E>>,
) -> Result<Root, E>
where
    S: NodeStore + ?Sized,
    E: From<TreeError>,
{
    let mut changes: Changes<'_, E> = Box::new(encoded(edits.into_iter()));
    let Some(id) = root.node else { return rebuilt(store, key, 0, changes, Root::EMPTY) };
    let top = read_node(store, key, &id)?.level();
    for level in 0..=top {
        changes = Box::new(LevelEditor::open(store, key, root, level, changes)?);
    }
    rebuilt(store, key, top + 1, changes, *root)
}

/// Why edits that may fail to come didn't become a tree: the error for `try_apply` of callers with errors of their own.
#[derive(Debug)]
pub enum Failed<E> {
    /// The tree can't be read or written.
    Tree(TreeError),
    /// An edit didn't come.
    Edit(E),
}

impl<E> From<TreeError> for Failed<E> {
    fn from(error: TreeError) -> Self {
        Self::Tree(error)
    }
}

/// Builds the levels from `base` up of the changes of `base`, of which the old tree had one entry at most.
fn rebuilt<S, E>(store: &S, key: &IdKey, base: u8, changes: Changes<'_, E>, old: Root) -> Result<Root, E>
where
    S: NodeStore + ?Sized,
    E: From<TreeError>,
{
    let mut root = old;
    let mut first = None;
    let mut builder = None;
    for change in changes {
        let Change { key: entry_key, put } = change?;
        root = Root::EMPTY;
        let Some(Put { tail, count }) = put else { continue };
        let entry = Entry { key: entry_key, tail, count };
        if base > 0 && first.is_none() && builder.is_none() {
            first = Some(entry);
            continue;
        }
        let builder = builder.get_or_insert_with(|| Builder::new(store, key, base));
        if let Some(first) = first.take() {
            builder.push(first)?;
        }
        builder.push(entry)?;
    }
    match (first, builder) {
        (_, Some(builder)) => Ok(builder.finish()?),
        (Some(only), None) => Ok(lowest_alone(store, key, only)?),
        (None, None) => Ok(root),
    }
}

/// Returns the root of a tree whose topmost node may have a single child.
fn lowest_alone<S: NodeStore + ?Sized>(store: &S, key: &IdKey, top: Entry) -> Result<Root, TreeError> {
    let mut id = tail_child(&top.tail);
    loop {
        let node = read_node(store, key, &id)?;
        if node.level() == 0 || node.entries() > 1 {
            return Ok(Root { node: Some(id), count: top.count });
        }
        id = node.child(0);
    }
}

/// Encodes the edits as changes of the leaves' entries, and checks their order and bounds.
fn encoded<'a, E: From<TreeError> + 'a>(
    edits: impl Iterator<Item = Result<(Vec<u8>, Option<Vec<u8>>), E>> + 'a,
) -> impl Iterator<Item = Result<Change, E>> + 'a {
    let mut last: Option<Vec<u8>> = None;
    edits.map(move |edit| {
        let (key, value) = edit?;
        check_bounds(&key, value.as_deref())?;
        assert!(last.as_ref().is_none_or(|last| *last < key), "edits must come in strictly ascending order of keys");
        let last = last.get_or_insert_default();
        last.clear();
        last.extend_from_slice(&key);
        Ok(Change { key, put: value.map(|value| Put { tail: value_tail(&value), count: 1 }) })
    })
}
