//! Joins the two sides of one record.

use std::collections::{BTreeMap, BTreeSet};

use super::cell;
use crate::record::cell::Record;
use crate::record::clock::Clock;

/// One side of a merge: its record, if it holds one, and the writes that it has seen.
#[derive(Debug, Clone, Copy)]
pub struct Side<'a> {
    /// The record; `None` if this side doesn't hold it.
    pub record: Option<&'a Record>,
    /// The writes that the side has seen.
    pub seen: &'a Clock,
}

/// What became of a record.
#[derive(Debug, Clone, PartialEq)]
pub enum Joined {
    /// Nobody keeps it.
    Absent,
    /// It lives on.
    Present {
        /// The joined record.
        record: Record,
        /// One side had deleted it while the other edited it. Only what the deleting side had not seen is
        /// left of it; whoever may write should write the rest again.
        edit_against_delete: bool,
    },
}

/// Joins a record: field by field, and a side that doesn't hold it has dropped every value that it has
/// seen. The record lives as long as one value does.
///
/// What survives is decided value by value even against a deletion, because only that is a join: a side
/// that has deleted a record knows nothing of its fields any more, so an outcome that keeps them would
/// depend on the order of merging. How the rest of an edited record comes back: docs/merge.md.
pub fn join(left: Side<'_>, right: Side<'_>) -> Joined {
    let (ours, theirs) = (left.record, right.record);
    let fields: BTreeSet<_> = ours.iter().chain(&theirs).flat_map(|record| record.cells.keys()).collect();
    let cells: BTreeMap<_, _> = fields
        .into_iter()
        .filter_map(|field| {
            let cell = |record: Option<&Record>| record.and_then(|record| record.cells.get(field)).cloned();
            let joined = cell::join(cell(ours).as_ref(), left.seen, cell(theirs).as_ref(), right.seen);
            joined.map(|cell| (field.clone(), cell))
        })
        .collect();
    if cells.is_empty() {
        return Joined::Absent;
    }
    let one_sided = ours.xor(theirs);
    let edit_against_delete = one_sided.is_some_and(|record| record.cells != cells);
    Joined::Present { record: Record { cells }, edit_against_delete }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::bytes::InstanceId;
    use crate::id::name::FieldName;
    use crate::record::cell::Cell;
    use crate::record::stamp::Stamp;
    use crate::record::value::Value;
    use crate::sys::clock::UnixMillis;
    use proptest::prelude::*;

    /// One replica of one record, as a real instance keeps it.
    #[derive(Debug, Clone)]
    struct Replica {
        author: InstanceId,
        record: Option<Record>,
        seen: Clock,
        /// The operation-based model: every write with what it had seen, and what each deletion had seen.
        log: Vec<Write>,
        deletions: Vec<Clock>,
    }

    #[derive(Debug, Clone, PartialEq)]
    struct Write {
        field: u8,
        stamp: Stamp,
        saw: Clock,
    }

    fn field(number: u8) -> FieldName {
        FieldName::new(&format!("f{number}")).unwrap()
    }

    impl Replica {
        fn new(number: u8) -> Self {
            let author = InstanceId::from_bytes([number + 1; 32]);
            Self { author, record: None, seen: Clock::default(), log: Vec::new(), deletions: Vec::new() }
        }

        fn write(&mut self, number: u8, value: i64) {
            let sequence = self.seen.seen(&self.author, 0) + 1;
            let stamp = Stamp { author: self.author, incarnation: 0, sequence, time: UnixMillis(0) };
            self.log.push(Write { field: number, stamp, saw: self.seen.clone() });
            let record = self.record.get_or_insert_with(Record::default);
            record.cells.insert(field(number), Cell::new(stamp, Value::Int(value)));
            self.seen.advance(self.author, 0, sequence);
        }

        fn delete(&mut self) {
            let sequence = self.seen.seen(&self.author, 0) + 1;
            self.deletions.push(self.seen.clone());
            self.record = None;
            self.seen.advance(self.author, 0, sequence);
        }

        fn pull(&mut self, other: &Self) {
            let joined = join(self.side(), other.side());
            self.record = match joined {
                Joined::Absent => None,
                Joined::Present { record, .. } => Some(record),
            };
            self.seen = self.seen.join(&other.seen);
            for write in &other.log {
                if !self.log.contains(write) {
                    self.log.push(write.clone());
                }
            }
            self.deletions.extend(other.deletions.iter().cloned());
        }

        fn side(&self) -> Side<'_> {
            Side { record: self.record.as_ref(), seen: &self.seen }
        }

        /// The multi-value register that causality implies: the writes that no other known write saw.
        fn expected(&self, number: u8) -> Vec<Stamp> {
            let of_field = || self.log.iter().filter(|write| write.field == number);
            let mut stamps: Vec<Stamp> = of_field()
                .filter(|write| !of_field().any(|later| later.saw.covers(&write.stamp)))
                .filter(|write| !self.deletions.iter().any(|saw| saw.covers(&write.stamp)))
                .map(|write| write.stamp)
                .collect();
            stamps.sort_unstable();
            stamps
        }
    }

    #[derive(Debug, Clone)]
    enum Step {
        Write(usize, u8, i64),
        Delete(usize),
        Pull(usize, usize),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            (0..4usize, 0..2u8, 0..3i64).prop_map(|(replica, field, value)| Step::Write(replica, field, value)),
            (0..4usize).prop_map(Step::Delete),
            (0..4usize, 0..4usize).prop_map(|(to, from)| Step::Pull(to, from)),
        ];
        proptest::collection::vec(step, 0..40)
    }

    fn run(steps: &[Step]) -> Vec<Replica> {
        let mut replicas: Vec<Replica> = (0..4).map(Replica::new).collect();
        for step in steps {
            match *step {
                Step::Write(replica, field, value) => replicas[replica].write(field, value),
                Step::Delete(replica) => replicas[replica].delete(),
                Step::Pull(to, from) => {
                    let other = replicas[from].clone();
                    replicas[to].pull(&other);
                }
            }
        }
        replicas
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]
        #[test]
        fn every_cell_is_the_multi_value_register_of_its_causal_history(steps in steps()) {
            for replica in run(&steps) {
                for number in 0..2 {
                    let cell = replica.record.as_ref().and_then(|record| record.cells.get(&field(number)));
                    let found: Vec<Stamp> =
                        cell.map_or(Vec::new(), |cell| cell.elements().iter().map(|element| element.stamp).collect());
                    prop_assert_eq!(found, replica.expected(number));
                }
            }
        }

        #[test]
        fn join_is_commutative_associative_and_idempotent(steps in steps()) {
            let replicas = run(&steps);
            let [a, b, c] = [&replicas[0], &replicas[1], &replicas[2]];
            let pulled = |one: &Replica, others: &[&Replica]| {
                let mut replica = one.clone();
                others.iter().for_each(|other| replica.pull(other));
                replica.record
            };
            prop_assert_eq!(pulled(a, &[b]), pulled(b, &[a]));
            let mut bc = b.clone();
            bc.pull(c);
            prop_assert_eq!(pulled(a, &[b, c]), pulled(a, &[&bc]));
            prop_assert_eq!(pulled(a, &[a]), a.record.clone());
        }
    }

    #[test]
    fn of_a_deleted_record_lives_what_the_deleter_had_not_seen() {
        let mut left = Replica::new(0);
        left.write(0, 1);
        left.write(1, 2);
        let mut right = Replica::new(1);
        right.pull(&left);
        left.delete();
        right.write(0, 3);
        let Joined::Present { record, edit_against_delete } = join(left.side(), right.side()) else {
            panic!("the edit is lost")
        };
        assert!(edit_against_delete);
        assert_eq!(record.cells.keys().collect::<Vec<_>>(), [&field(0)]);
        assert_eq!(join(left.side(), Replica::new(2).side()), Joined::Absent);
    }
}
