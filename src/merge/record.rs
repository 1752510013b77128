//! Joins the two sides of one record.

use std::collections::BTreeSet;

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
    /// Neither side keeps it.
    Absent,
    /// It lives on.
    Present {
        /// The joined record.
        record: Record,
        /// One side had deleted it while the other edited it: the whole edited record is kept.
        edit_against_delete: bool,
    },
}

/// Joins a record. A side that has seen every write of the other's record and doesn't hold it has
/// deleted it; if there is one write that it hasn't seen, the record is kept whole.
pub fn join(left: Side<'_>, right: Side<'_>) -> Joined {
    match (left.record, right.record) {
        (None, None) => Joined::Absent,
        (Some(record), None) => against_absence(record, right.seen),
        (None, Some(record)) => against_absence(record, left.seen),
        (Some(ours), Some(theirs)) => {
            let fields: BTreeSet<_> = ours.cells.keys().chain(theirs.cells.keys()).collect();
            let cells = fields.into_iter().filter_map(|field| {
                let joined = cell::join(ours.cells.get(field), left.seen, theirs.cells.get(field), right.seen);
                joined.map(|cell| (field.clone(), cell))
            });
            Joined::Present { record: Record { cells: cells.collect() }, edit_against_delete: false }
        }
    }
}

fn against_absence(record: &Record, seen: &Clock) -> Joined {
    let mut stamps = record.elements().map(|(_, element)| &element.stamp);
    if stamps.clone().all(|stamp| seen.covers(stamp)) {
        return Joined::Absent;
    }
    let edit_against_delete = stamps.any(|stamp| seen.covers(stamp));
    Joined::Present { record: record.clone(), edit_against_delete }
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
        /// The operation-based model: every (field, stamp) with the stamps it replaced.
        log: Vec<Write>,
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
            Self { author, record: None, seen: Clock::default(), log: Vec::new() }
        }

        fn write(&mut self, number: u8, value: i64) {
            let sequence = self.seen.seen(&self.author, 0) + 1;
            let stamp = Stamp { author: self.author, incarnation: 0, sequence, time: UnixMillis(0) };
            self.log.push(Write { field: number, stamp, saw: self.seen.clone() });
            let record = self.record.get_or_insert_with(Record::default);
            record.cells.insert(field(number), Cell::new(stamp, Value::Int(value)));
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
        }

        fn side(&self) -> Side<'_> {
            Side { record: self.record.as_ref(), seen: &self.seen }
        }

        /// The multi-value register that causality implies: the writes that no other known write saw.
        fn expected(&self, number: u8) -> Vec<Stamp> {
            let of_field = || self.log.iter().filter(|write| write.field == number);
            let mut stamps: Vec<Stamp> = of_field()
                .filter(|write| !of_field().any(|later| later.saw.covers(&write.stamp)))
                .map(|write| write.stamp)
                .collect();
            stamps.sort_unstable();
            stamps
        }
    }

    #[derive(Debug, Clone)]
    enum Step {
        Write(usize, u8, i64),
        Pull(usize, usize),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            (0..4usize, 0..2u8, 0..3i64).prop_map(|(replica, field, value)| Step::Write(replica, field, value)),
            (0..4usize, 0..4usize).prop_map(|(to, from)| Step::Pull(to, from)),
        ];
        proptest::collection::vec(step, 0..40)
    }

    fn run(steps: &[Step]) -> Vec<Replica> {
        let mut replicas: Vec<Replica> = (0..4).map(Replica::new).collect();
        for step in steps {
            match *step {
                Step::Write(replica, field, value) => replicas[replica].write(field, value),
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
    fn an_edit_that_the_deleter_had_not_seen_keeps_the_whole_record() {
        let mut left = Replica::new(0);
        left.write(0, 1);
        left.write(1, 2);
        let mut right = Replica::new(1);
        right.pull(&left);
        left.record = None;
        right.write(0, 3);
        let Joined::Present { record, edit_against_delete } = join(left.side(), right.side()) else {
            panic!("the edit is lost")
        };
        assert!(edit_against_delete);
        assert_eq!(record, right.record.unwrap());
        assert_eq!(join(left.side(), Replica::new(2).side()), Joined::Absent);
    }
}
