//! Cells and records: what merge works on.

use std::collections::BTreeMap;

use super::schema::Strategy;
use super::stamp::Stamp;
use super::value::Value;
use crate::id::name::FieldName;

/// One value of a cell, with the write that put it there.
#[derive(Debug, Clone, PartialEq)]
pub struct Element {
    /// The write.
    pub stamp: Stamp,
    /// What it wrote.
    pub value: Value,
    /// What was shown before the write; kept for fields whose strategy needs it (`Strategy::needs_base`).
    pub over: Option<Value>,
}

/// The concurrent values of one field: one element, or several while a conflict is open.
///
/// Elements ascend by stamp and no two have the same stamp. A cell is never empty.
#[derive(Debug, Clone, PartialEq)]
pub struct Cell {
    elements: Vec<Element>,
}

/// A record's fields. Fields that this instance has no column for are carried like all others.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Record {
    /// The cells by field.
    pub cells: BTreeMap<FieldName, Cell>,
}

impl Element {
    /// Tells whether both are one write with one meaning: the same value in the place of the same one.
    pub fn says_as(&self, other: &Self) -> bool {
        self == other || self.stamp == other.stamp && self.meaning() == other.meaning()
    }

    /// The canonical bytes of what is written, and of what is replaced.
    fn meaning(&self) -> (Vec<u8>, Option<Vec<u8>>) {
        (self.value.canonical(), self.over.as_ref().map(Value::canonical))
    }
}

impl Cell {
    /// Makes a cell of one write.
    pub fn new(stamp: Stamp, value: Value) -> Self {
        Self { elements: vec![Element { stamp, value, over: None }] }
    }

    /// Makes a cell of one write that remembers what it replaced.
    pub fn replacing(stamp: Stamp, value: Value, over: Option<Value>) -> Self {
        Self { elements: vec![Element { stamp, value, over }] }
    }

    /// Makes a cell of one write that says again what was known: it counts as no change, so that several
    /// who do so at once add nothing up.
    pub fn again(stamp: Stamp, value: Value, strategy: Strategy) -> Self {
        let over = strategy.needs_base().then(|| value.clone());
        Self::replacing(stamp, value, over)
    }

    /// Makes a cell of several concurrent writes, or `None` of none.
    ///
    /// Nobody honest signs one write with two meanings; if somebody did, everybody keeps the same of them.
    pub fn of(mut elements: Vec<Element>) -> Option<Self> {
        elements.sort_by_key(|element| element.stamp);
        elements.dedup_by(|later, kept| {
            let twice = later.stamp == kept.stamp;
            if twice && !later.says_as(kept) && later.meaning() < kept.meaning() {
                std::mem::swap(later, kept);
            }
            twice
        });
        if elements.is_empty() { None } else { Some(Self { elements }) }
    }

    /// Returns the elements, ascending by stamp.
    pub fn elements(&self) -> &[Element] {
        &self.elements
    }

    /// Tells whether more than one concurrent value is open.
    pub fn is_conflict(&self) -> bool {
        self.elements.len() > 1
    }

    /// Takes the value of a cell that has only one; gives the cell back otherwise.
    ///
    /// # Errors
    /// The cell, if a conflict is open.
    pub fn into_only(mut self) -> Result<Value, Self> {
        match self.elements.pop() {
            Some(only) if self.elements.is_empty() => Ok(only.value),
            last => {
                self.elements.extend(last);
                Err(self)
            }
        }
    }

    /// Returns the element shown to the application: the latest by clock, then the greatest stamp.
    ///
    /// Every instance that holds the same cell shows the same winner.
    pub fn winner(&self) -> &Element {
        let latest = self.elements.iter().max_by_key(|element| (element.stamp.time, element.stamp));
        latest.expect("a cell is never empty")
    }
}

impl Record {
    /// Returns the value shown for a field.
    pub fn shown(&self, field: &FieldName) -> Option<&Value> {
        self.cells.get(field).map(|cell| &cell.winner().value)
    }

    /// Returns the fields whose conflict is open.
    pub fn conflicts(&self) -> impl Iterator<Item = (&FieldName, &Cell)> {
        self.cells.iter().filter(|(_, cell)| cell.is_conflict())
    }

    /// Iterates over every element of every cell.
    pub fn elements(&self) -> impl Iterator<Item = (&FieldName, &Element)> + Clone {
        self.cells.iter().flat_map(|(field, cell)| cell.elements.iter().map(move |element| (field, element)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::bytes::InstanceId;
    use crate::sys::clock::UnixMillis;

    #[test]
    fn one_write_with_two_meanings_is_kept_alike_everywhere() {
        let author = InstanceId::from_bytes([3; 32]);
        let stamp = Stamp { author, incarnation: 1, sequence: 4, time: UnixMillis(5) };
        let element = |value: &str, over: Option<&str>| {
            let over = over.map(|over| Value::Text(over.into()));
            Element { stamp, value: Value::Text(value.into()), over }
        };
        let meanings = [element("a", None), element("a", Some("x")), element("b", Some("x")), element("b", None)];
        for one in &meanings {
            for other in &meanings {
                let joined = |one: &Element, other: &Element| Cell::of(vec![one.clone(), other.clone()]).unwrap();
                assert_eq!(joined(one, other), joined(other, one));
                assert_eq!(joined(one, other).elements().len(), 1);
            }
        }
    }
}
