//! Finds what two trees differ in, without reading what they share.

use super::cursor::Cursor;
use super::error::TreeError;
use super::key::IdKey;
use super::node::Node;
use super::root::Root;
use super::store::NodeStore;

/// A key whose value isn't the same in two trees.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// The key.
    pub key: Vec<u8>,
    /// Its value in the left tree, if it is there.
    pub left: Option<Vec<u8>>,
    /// Its value in the right tree, if it is there.
    pub right: Option<Vec<u8>>,
}

/// Returns the differences of two trees of one store, in key order.
///
/// A subtree that both have is stepped over unread, also where it hangs at different places. Reads
/// O(differences · log n) nodes; memory: a node per level and tree.
///
/// # Errors
/// `Missing`, `Read` or `Corrupt` for a node on the way. The iterator ends with the first error.
pub fn diff<'a, S: NodeStore + ?Sized>(store: &'a S, key: &'a IdKey, left: &Root, right: &Root) -> Diff<'a, S> {
    Diff { place: Place::Unopened { store, key, left: *left, right: *right } }
}

/// Iterator over differences; see `diff`.
pub struct Diff<'a, S: ?Sized> {
    place: Place<'a, S>,
}

enum Place<'a, S: ?Sized> {
    Unopened { store: &'a S, key: &'a IdKey, left: Root, right: Root },
    At { left: Cursor<'a, S>, right: Cursor<'a, S> },
    Done,
}

impl<S: NodeStore + ?Sized> Iterator for Diff<'_, S> {
    type Item = Result<Difference, TreeError>;

    fn next(&mut self) -> Option<Self::Item> {
        let next = self.next_difference().transpose();
        if !matches!(next, Some(Ok(_))) {
            self.place = Place::Done;
        }
        next
    }
}

impl<S: NodeStore + ?Sized> Diff<'_, S> {
    fn next_difference(&mut self) -> Result<Option<Difference>, TreeError> {
        if let Place::Unopened { store, key, left, right } = &self.place {
            if left == right {
                return Ok(None);
            }
            let (left, right) = (Cursor::open(*store, key, left)?, Cursor::open(*store, key, right)?);
            self.place = Place::At { left, right };
        }
        let Place::At { left, right } = &mut self.place else { return Ok(None) };
        loop {
            let step = compare(left.place(), right.place());
            match step {
                Step::Same => {
                    left.advance();
                    right.advance();
                }
                Step::Descend { into_left, into_right } => {
                    if into_left {
                        left.descend()?;
                    }
                    if into_right {
                        right.descend()?;
                    }
                }
                Step::Differ(difference) => {
                    if difference.left.is_some() {
                        left.advance();
                    }
                    if difference.right.is_some() {
                        right.advance();
                    }
                    return Ok(Some(difference));
                }
                Step::End => return Ok(None),
            }
        }
    }
}

/// What to do where two cursors stand, all keys before being dealt with on both sides.
enum Step {
    /// The items are equal: step over both.
    Same,
    /// An item is a subtree that must be looked into.
    Descend { into_left: bool, into_right: bool },
    /// The next difference.
    Differ(Difference),
    /// Nothing is left.
    End,
}

fn compare(left: Option<(&Node, usize)>, right: Option<(&Node, usize)>) -> Step {
    // The level of an item: of a child, one more than that of what it holds; of an entry, zero.
    let levels = (left.map(|(node, _)| node.level()), right.map(|(node, _)| node.level()));
    match (left, right) {
        (None, None) => Step::End,
        (Some((l, i)), Some((r, j))) if levels.0 == levels.1 && l.key(i) == r.key(j) && l.tail(i) == r.tail(j) => {
            Step::Same
        }
        _ if levels.0.max(levels.1) > Some(0) => {
            Step::Descend { into_left: levels.0 >= levels.1, into_right: levels.1 >= levels.0 }
        }
        (Some((l, i)), Some((r, j))) if l.key(i) == r.key(j) => {
            Step::Differ(Difference { left: Some(l.value(i).to_vec()), ..only_right(r, j) })
        }
        (Some((l, i)), Some((r, j))) if l.key(i) > r.key(j) => Step::Differ(only_right(r, j)),
        (Some((l, i)), _) => {
            Step::Differ(Difference { key: l.key(i).to_vec(), left: Some(l.value(i).to_vec()), right: None })
        }
        (None, Some((r, j))) => Step::Differ(only_right(r, j)),
    }
}

fn only_right(leaf: &Node, index: usize) -> Difference {
    Difference { key: leaf.key(index).to_vec(), left: None, right: Some(leaf.value(index).to_vec()) }
}
