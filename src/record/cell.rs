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
    pub fn of(mut elements: Vec<Element>) -> Option<Self> {
        elements.sort_by_key(|element| element.stamp);
        elements.dedup_by_key(|element| element.stamp);
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
