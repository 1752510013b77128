//! Joins the two sides of one cell.

use crate::record::cell::{Cell, Element};
use crate::record::clock::Clock;

/// Returns the join of one field's cells; `None` if no value survives.
pub fn join(left: Option<&Cell>, left_seen: &Clock, right: Option<&Cell>, right_seen: &Clock) -> Option<Cell> {
    let survivors = surviving(left, right, right_seen).chain(surviving(right, left, left_seen));
    Cell::of(survivors.cloned().collect())
}

fn surviving<'a>(
    ours: Option<&'a Cell>,
    theirs: Option<&'a Cell>,
    they_saw: &'a Clock,
) -> impl Iterator<Item = &'a Element> {
    let elements = ours.map_or(&[][..], Cell::elements);
    elements.iter().filter(move |element| {
        !they_saw.covers(&element.stamp)
            || theirs.is_some_and(|cell| cell.elements().iter().any(|other| other.stamp == element.stamp))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::bytes::InstanceId;
    use crate::record::stamp::Stamp;
    use crate::record::value::Value;
    use crate::sys::clock::UnixMillis;

    fn write(author: u8, sequence: u64, text: &str) -> Cell {
        let author = InstanceId::from_bytes([author; 32]);
        let stamp = Stamp { author, incarnation: 0, sequence, time: UnixMillis(sequence) };
        Cell::new(stamp, Value::Text(text.into()))
    }

    fn saw(writes: &[(u8, u64)]) -> Clock {
        let mut clock = Clock::default();
        for &(author, sequence) in writes {
            clock.advance(InstanceId::from_bytes([author; 32]), 0, sequence);
        }
        clock
    }

    #[test]
    fn concurrent_writes_are_both_kept_and_a_seen_one_is_replaced() {
        let (base, left, right) = (write(1, 1, "base"), write(1, 2, "left"), write(2, 1, "right"));
        let both = join(Some(&left), &saw(&[(1, 2)]), Some(&right), &saw(&[(1, 1), (2, 1)])).unwrap();
        assert_eq!(both.elements().len(), 2);
        let one = join(Some(&left), &saw(&[(1, 2)]), Some(&base), &saw(&[(1, 1)])).unwrap();
        assert_eq!(one, left);
    }

    #[test]
    fn equal_values_of_different_writes_stay_apart() {
        let (left, right) = (write(1, 2, "open"), write(2, 1, "open"));
        let both = join(Some(&left), &saw(&[(1, 2)]), Some(&right), &saw(&[(1, 1), (2, 1)])).unwrap();
        assert!(both.is_conflict());
    }
}
