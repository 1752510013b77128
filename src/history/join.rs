//! Joins two commits of a scope into the commit that contains both.

use std::collections::BTreeSet;

use super::commit::{Commit, Dot, Making};
use crate::id::bytes::{CommitId, InstanceId, RecordKey};
use crate::id::name::DatasetName;
use crate::merge::record::{Joined, Side, join as join_records};
use crate::record::cell::Record;
use crate::record::codec;
use crate::tree::apply::apply;
use crate::tree::diff::{Difference, diff};
use crate::tree::key::IdKey;
use crate::tree::store::NodeStore;

/// Why two commits can't be joined.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A tree can't be read or written.
    #[error("cannot read or write the tree of dataset {dataset}")]
    Tree {
        /// The dataset.
        dataset: DatasetName,
        /// Why.
        source: crate::tree::error::TreeError,
    },
    /// A record in a tree isn't canonical.
    #[error("the record {dataset}/{key} is damaged")]
    Record {
        /// The dataset.
        dataset: DatasetName,
        /// The record.
        key: String,
        /// What is wrong with it.
        source: crate::cbor::error::Error,
    },
    /// Two commits claim the same writes and differ: somebody made two histories.
    #[error("the commits {left} and {right} claim the same writes but differ")]
    Diverged {
        /// One.
        left: CommitId,
        /// The other.
        right: CommitId,
    },
}

/// A commit with its id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// The id.
    pub id: CommitId,
    /// The commit.
    pub commit: Commit,
}

/// How a join came out.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct Summary {
    /// Records in which both sides' changes were combined.
    pub combined: u64,
    /// Records that one side deleted while the other edited them; they live on.
    pub edits_against_deletes: u64,
}

/// What a join gave.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// The left commit contains the right one.
    Left,
    /// The right commit contains the left one: fast-forward.
    Right,
    /// A new merge commit.
    Merged(Box<Merged>),
}

/// A new merge commit, and what there is to say about it.
#[derive(Debug, Clone, PartialEq)]
pub struct Merged {
    /// The commit.
    pub known: Known,
    /// What was joined.
    pub summary: Summary,
    /// Records of which only the edited fields live on, because the other side deleted them.
    pub cut: Vec<Cut>,
    /// Other records that only one side has: new ones, and those of which it edited all that the other side deleted.
    pub lone: Vec<(DatasetName, RecordKey)>,
}

/// A record that one side deleted while the other edited it.
#[derive(Debug, Clone, PartialEq)]
pub struct Cut {
    /// The dataset.
    pub dataset: DatasetName,
    /// The record.
    pub key: RecordKey,
    /// The record as the editing side held it.
    pub whole: Record,
}

/// Joins two commits of a scope of `origin`.
///
/// The result is the same whoever joins and in whatever order the joins happen: records by
/// `merge::record::join`, and as making the set of newest capture commits. Reads and writes
/// O(differences · log records) nodes; nothing else is stored.
///
/// # Errors
/// A missing or damaged tree; two commits that claim the same writes and differ.
pub fn join(
    store: &impl NodeStore,
    key: &IdKey,
    origin: &InstanceId,
    left: &Known,
    right: &Known,
) -> Result<Outcome, Error> {
    assert_eq!(left.commit.scope, right.commit.scope, "commits of two scopes are never joined");
    if left.id == right.id {
        return Ok(Outcome::Left);
    }
    match (left.commit.clock.contains(&right.commit.clock), right.commit.clock.contains(&left.commit.clock)) {
        (true, true) => return Err(Error::Diverged { left: left.id, right: right.id }),
        (true, false) => return Ok(Outcome::Left),
        (false, true) => return Ok(Outcome::Right),
        (false, false) => {}
    }
    let dots = frontier(left, right).ok_or(Error::Diverged { left: left.id, right: right.id })?;
    let mut found = Findings::default();
    let mut datasets = left.commit.datasets.clone();
    let names: BTreeSet<_> = left.commit.datasets.keys().chain(right.commit.datasets.keys()).collect();
    for name in names {
        let tree_error = |source| Error::Tree { dataset: name.clone(), source };
        let mine = left.commit.root(name);
        let mut edits = Vec::new();
        for difference in diff(store, key, &mine, &right.commit.root(name)) {
            let difference = difference.map_err(tree_error)?;
            let joined = join_one(&difference, name, origin, left, right, &mut found)?;
            if joined != difference.left {
                edits.push((difference.key, joined));
            }
        }
        let root = apply(store, key, &mine, edits).map_err(tree_error)?;
        if root.count == 0 {
            datasets.remove(name)
        } else {
            datasets.insert(name.clone(), root)
        };
    }
    let commit = Commit {
        scope: left.commit.scope,
        clock: left.commit.clock.join(&right.commit.clock),
        datasets,
        making: Making::Merge(dots),
    };
    let id = commit.id(key);
    let Findings { summary, cut, lone } = found;
    Ok(Outcome::Merged(Box::new(Merged { known: Known { id, commit }, summary, cut, lone })))
}

#[derive(Default)]
struct Findings {
    summary: Summary,
    cut: Vec<Cut>,
    lone: Vec<(DatasetName, RecordKey)>,
}

fn join_one(
    difference: &Difference,
    dataset: &DatasetName,
    origin: &InstanceId,
    left: &Known,
    right: &Known,
    found: &mut Findings,
) -> Result<Option<Vec<u8>>, Error> {
    let decode = |bytes: &Option<Vec<u8>>| -> Result<Option<Record>, Error> {
        let decoded = bytes.as_ref().map(|bytes| codec::decode(bytes, origin)).transpose();
        decoded.map_err(|source| Error::Record { dataset: dataset.clone(), key: printed(&difference.key), source })
    };
    let (ours, theirs) = (decode(&difference.left)?, decode(&difference.right)?);
    let joined = join_records(
        Side { record: ours.as_ref(), seen: &left.commit.clock },
        Side { record: theirs.as_ref(), seen: &right.commit.clock },
    );
    let Joined::Present { record, edit_against_delete } = joined else { return Ok(None) };
    let bytes = codec::encode(&record, origin);
    if edit_against_delete {
        found.summary.edits_against_deletes += 1;
        let whole = ours.clone().or_else(|| theirs.clone()).expect("a joined record was on one side at least");
        let key = RecordKey::from_slice(&difference.key);
        found.cut.extend(key.map(|key| Cut { dataset: dataset.clone(), key, whole }));
    } else if ours.is_none() || theirs.is_none() {
        found.lone.extend(RecordKey::from_slice(&difference.key).map(|key| (dataset.clone(), key)));
    }
    let summary = &mut found.summary;
    if Some(&bytes) != difference.left.as_ref() && Some(&bytes) != difference.right.as_ref() {
        summary.combined += 1;
    }
    Ok(Some(bytes))
}

/// Keeps a side's dot if the other side hasn't seen that commit, or has it as newest too.
///
/// `None` if the sides contradict each other: commits of honest authors, none of which contains the
/// other, have two newest captures at least, and no two with the same coordinates.
/// Tells whether two commits claim the same writes and differ: a join of them is an error.
pub fn diverge(left: &Known, right: &Known) -> bool {
    match (left.commit.clock.contains(&right.commit.clock), right.commit.clock.contains(&left.commit.clock)) {
        (true, true) => left.id != right.id,
        (false, false) => frontier(left, right).is_none(),
        _ => false,
    }
}

fn frontier(left: &Known, right: &Known) -> Option<Vec<Dot>> {
    let (ours, theirs) = (left.commit.frontier(left.id), right.commit.frontier(right.id));
    let newest = |dot: &Dot, other: &Known, other_dots: &[Dot]| {
        other_dots.contains(dot) || other.commit.clock.seen(&dot.author, dot.incarnation) < dot.sequence
    };
    let kept_left = ours.iter().filter(|dot| newest(dot, right, &theirs));
    let kept_right = theirs.iter().filter(|dot| newest(dot, left, &ours));
    let dots: BTreeSet<Dot> = kept_left.chain(kept_right).copied().collect();
    let same_writes = |a: &Dot, b: &Dot| (a.author, a.incarnation, a.sequence) == (b.author, b.incarnation, b.sequence);
    let forked = ours.iter().any(|a| theirs.iter().any(|b| same_writes(a, b) && a.id != b.id));
    (dots.len() >= 2 && !forked).then(|| dots.into_iter().collect())
}

fn printed(key: &[u8]) -> String {
    RecordKey::from_slice(key).map_or_else(|| format!("{key:02x?}"), |key| key.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::bytes::{NodeId, ScopeId};
    use crate::id::name::FieldName;
    use crate::record::cell::Cell;
    use crate::record::clock::Clock;
    use crate::record::stamp::Stamp;
    use crate::record::value::Value;
    use crate::sys::clock::UnixMillis;
    use crate::tree::get::get;
    use crate::tree::memory::MemoryStore;
    use proptest::prelude::*;

    const ORIGIN: InstanceId = InstanceId::from_bytes([1; 32]);

    struct World {
        store: MemoryStore,
        key: IdKey,
        heads: Vec<Option<Known>>,
    }

    impl World {
        fn new(replicas: usize) -> Self {
            Self { store: MemoryStore::new(), key: IdKey::from_bytes([5; 32]), heads: vec![None; replicas] }
        }

        fn write(&mut self, replica: usize, record: u8, value: Option<i64>) {
            let author = InstanceId::from_bytes([replica as u8 + 1; 32]);
            let parent = self.heads[replica].clone();
            let mut clock = parent.as_ref().map_or_else(Clock::default, |known| known.commit.clock.clone());
            let mut datasets = parent.as_ref().map_or_else(Default::default, |known| known.commit.datasets.clone());
            let sequence = clock.seen(&author, 0) + 1;
            clock.advance(author, 0, sequence);
            let stamp = Stamp { author, incarnation: 0, sequence, time: UnixMillis(sequence) };
            let name = DatasetName::new("notes").unwrap();
            let root = datasets.get(&name).cloned().unwrap_or_default();
            let key = vec![record; 16];
            let old = get(&self.store, &self.key, &root, &key).unwrap();
            let bytes = value.map(|value| {
                let mut whole = old.map_or_else(Record::default, |bytes| codec::decode(&bytes, &ORIGIN).unwrap());
                let field = FieldName::new(if value % 2 == 0 { "even" } else { "odd" }).unwrap();
                whole.cells.insert(field, Cell::new(stamp, Value::Int(value)));
                codec::encode(&whole, &ORIGIN)
            });
            let root = apply(&self.store, &self.key, &root, vec![(key, bytes)]).unwrap();
            if root.count == 0 {
                datasets.remove(&name)
            } else {
                datasets.insert(name, root)
            };
            let making = Making::Capture {
                parent: parent.map(|known| known.id),
                author,
                incarnation: 0,
                sequence,
                time: UnixMillis(0),
            };
            let commit = Commit { scope: ScopeId::from_bytes([2; 16]), clock, datasets, making };
            assert_eq!(Commit::decode(&commit.encode()).unwrap(), commit);
            self.heads[replica] = Some(Known { id: commit.id(&self.key), commit });
        }

        fn pull(&mut self, to: usize, from: usize) {
            let Some(right) = self.heads[from].clone() else { return };
            let Some(left) = self.heads[to].clone() else {
                self.heads[to] = Some(right);
                return;
            };
            match join(&self.store, &self.key, &ORIGIN, &left, &right).unwrap() {
                Outcome::Left => {}
                Outcome::Right => self.heads[to] = Some(right),
                Outcome::Merged(merged) => {
                    let known = merged.known;
                    assert_eq!(Commit::decode(&known.commit.encode()).unwrap(), known.commit);
                    self.heads[to] = Some(known);
                }
            }
        }
    }

    /// A capture without records, on top of what `clock` counts.
    fn capture(key: &IdKey, author: u8, parent: Option<&Known>, time: u64) -> Known {
        let author = InstanceId::from_bytes([author; 32]);
        let mut clock = parent.map_or_else(Clock::default, |parent| parent.commit.clock.clone());
        let sequence = clock.seen(&author, 0) + 1;
        clock.advance(author, 0, sequence);
        let parent = parent.map(|parent| parent.id);
        let making = Making::Capture { parent, author, incarnation: 0, sequence, time: UnixMillis(time) };
        let commit = Commit { scope: ScopeId::from_bytes([2; 16]), clock, datasets: Default::default(), making };
        Known { id: commit.id(key), commit }
    }

    /// Author 1 captures twice with the same number; others build on one or the other.
    #[test]
    fn sides_built_on_two_histories_of_one_author_are_refused_without_panic() {
        let (store, key) = (MemoryStore::new(), IdKey::from_bytes([5; 32]));
        let base = capture(&key, 4, None, 0);
        let [one, other] = [capture(&key, 1, Some(&base), 0), capture(&key, 1, None, 1)];
        let joined = |left: &Known, right: &Known| join(&store, &key, &ORIGIN, left, right);
        let unrelated = capture(&key, 3, None, 0);
        let Outcome::Merged(merged) = joined(&other, &unrelated).unwrap() else { panic!("they are concurrent") };
        for hidden in [capture(&key, 3, Some(&other), 0), merged.known] {
            assert!(matches!(joined(&one, &hidden), Err(Error::Diverged { .. })));
            assert!(matches!(joined(&hidden, &one), Err(Error::Diverged { .. })));
        }
    }

    #[test]
    fn a_merge_reads_no_tree_but_those_of_the_two_sides() {
        let mut world = World::new(2);
        for record in 0..200 {
            world.write(0, record, Some(0));
        }
        world.pull(1, 0);
        world.write(0, 7, Some(2));
        world.write(0, 8, None);
        world.write(1, 7, Some(1));
        world.write(1, 9, None);
        let [left, right] = [0, 1].map(|at: usize| world.heads[at].clone().unwrap());
        let mut needed = BTreeSet::new();
        for known in [&left, &right] {
            for root in known.commit.datasets.values() {
                let seen = |id: &NodeId, _| needed.insert(*id);
                crate::tree::walk::walk(&world.store, &world.key, root, seen).unwrap();
            }
        }
        let pruned: Vec<NodeId> = world.store.ids().into_iter().filter(|id| !needed.contains(id)).collect();
        assert!(!pruned.is_empty(), "the base had nodes of its own");
        for id in pruned {
            world.store.remove(&id);
        }
        world.pull(0, 1);
        let merged = world.heads[0].as_ref().unwrap();
        assert_eq!(merged.commit.records(), 198, "both deletions count, and nothing else is gone");
        world.heads[0] = Some(left);
        world.pull(1, 0);
        assert_ne!(world.heads[1].as_ref().unwrap().id, right.id);
    }

    /// Authors 0 and 3 make one record; 1 has seen only the write of 0, and deletes it.
    #[test]
    fn merges_of_one_frontier_are_one_commit() {
        let mut world = World::new(4);
        world.write(3, 7, Some(0));
        world.write(0, 7, Some(0));
        world.pull(1, 0);
        world.write(1, 7, None);
        world.pull(0, 3);
        world.pull(0, 1);
        world.pull(1, 3);
        assert_eq!(world.heads[0], world.heads[1]);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(500))]
        #[test]
        fn replicas_converge_to_one_commit_id_in_whatever_order_they_exchange(
            steps in proptest::collection::vec((0..4usize, 0..4usize, 0..6u8, proptest::option::of(0..4i64)), 1..40),
            order in proptest::sample::select(vec![[0, 1, 2, 3], [3, 1, 0, 2], [2, 3, 1, 0]]),
        ) {
            let mut world = World::new(4);
            for (replica, other, record, value) in steps {
                if other == replica { world.write(replica, record, value) } else { world.pull(replica, other) }
            }
            // Everybody hears everybody's head as it stands now, each in another order.
            let before = world.heads.clone();
            let mut ids = Vec::new();
            for turn in 0..4 {
                world.heads = before.clone();
                for step in 0..4 {
                    world.pull(turn, order[(turn + step) % 4]);
                }
                ids.push(world.heads[turn].as_ref().map(|known| known.id));
            }
            prop_assert!(ids.windows(2).all(|pair| pair[0] == pair[1]), "{ids:?}");
        }
    }
}
