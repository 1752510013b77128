//! Rows that others refer to, as a capture finds them.

use super::books::Books;
use super::key::Key;
use super::look::{Parent, Parents};
use super::session::{Session, SqlError};
use super::touched::Touched;

/// The rows of parent datasets, by key.
#[derive(Default)]
pub(super) struct Known {
    pub(super) lists: Vec<Vec<(Key, Parent)>>,
}

impl Known {
    pub(super) fn get(&self, dataset: usize, key: &Key) -> Option<&Parent> {
        let mut list = &self.lists[dataset][..];
        // Numbers ascend by one at least, so none is further from the first than by their difference; most are just there.
        if let (Key::Int(key), Some((Key::Int(first), _))) = (key, list.first()) {
            if key < first {
                return None;
            }
            let at = usize::try_from(key.abs_diff(*first)).unwrap_or(usize::MAX);
            match list.get(at) {
                Some((Key::Int(known), parent)) if known == key => return Some(parent),
                _ => list = &list[..list.len().min(at)],
            }
        }
        list.binary_search_by(|(known, _)| known.cmp(key)).ok().map(|at| &list[at].1)
    }
}

/// Finds parents: among those of this capture, or, where only a part is looked at, as the map has them.
pub(super) struct Lookup<'a> {
    pub(super) known: &'a Known,
    pub(super) touched: Option<&'a Touched>,
    pub(super) conn: &'a dyn Session,
    pub(super) books: &'a Books,
}

impl Parents for Lookup<'_> {
    fn find(&mut self, dataset: usize, key: &Key) -> Result<Option<Parent>, SqlError> {
        match self.touched {
            // Circles are listed as a whole.
            Some(touched) if self.known.lists[dataset].is_empty() => {
                touched.parents(self.conn, self.books).find(dataset, key)
            }
            _ => Ok(self.known.get(dataset, key).cloned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scope::audience::{Audience, Reason};

    #[test]
    fn parents_are_found_whatever_lies_between_their_keys() {
        let parent = |key: i64| Parent { origin: key, record: [0; 16], audience: Audience::Private(Reason::Chosen) };
        for keys in [vec![], vec![1], vec![1, 2, 3], vec![-5, 1, 2, 9], vec![i64::MIN, 0, i64::MAX], vec![7, 8, 100]] {
            let mut list: Vec<(Key, Parent)> = keys.iter().map(|key| (Key::Int(*key), parent(*key))).collect();
            list.push((Key::Text("a".into()), parent(-77)));
            let known = Known { lists: vec![list] };
            let found = |key: Key| known.get(0, &key).map(|parent| parent.origin);
            for key in (-10..110).chain([i64::MIN, i64::MIN + 1, i64::MAX - 1, i64::MAX]) {
                assert_eq!(found(Key::Int(key)), keys.contains(&key).then_some(key), "{key} among {keys:?}");
            }
            assert_eq!((found(Key::Text("a".into())), found(Key::Text("b".into()))), (Some(-77), None));
        }
    }
}
