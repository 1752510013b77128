//! What of a record belongs into a scope of ours, by the mapping. A capture asks it of our rows, a merge of what others wrote.

use crate::connector::mapping::model::Mapping;
use crate::id::name::{DatasetName, FieldName, ScopeName};
use crate::record::cell::Record;
use crate::scope::fields::LeastScopes;

/// The rules of our mapping, and whom its scopes mean.
pub(super) struct Belongs<'a> {
    pub(super) mapping: &'a Mapping,
    pub(super) least: &'a LeastScopes,
    /// The datasets that are mapped and switched on: what the mapping doesn't name never leaves.
    pub(super) mapped: &'a [DatasetName],
}

impl Belongs<'_> {
    /// Tells whether records of a dataset leave at all.
    pub(super) fn dataset(&self, dataset: &DatasetName) -> bool {
        self.mapped.contains(dataset)
    }

    /// Tells whether any field of a dataset is for fewer readers than its records.
    pub(super) fn narrows(&self, dataset: &DatasetName) -> bool {
        self.least.fields.contains_key(dataset)
            || self.mapping.dataset.get(dataset).is_some_and(|rules| !rules.never.is_empty())
    }

    /// Tells whether a scope takes a piece of the record of a row that is for the readers of `row`: the record itself, or
    /// in the tree of overlays some of its fields.
    pub(super) fn piece(&self, tree: &DatasetName, row: &ScopeName, scope: &ScopeName) -> bool {
        match tree.is_overlay() {
            true => row != scope && self.least.routes(&tree.base(), row).contains(scope),
            false => row == scope,
        }
    }

    /// Tells whether a field that the mapping names may stand in a piece; any that it doesn't name may. Of a row that is
    /// gone nobody knows any more for whom it was: then it counts whether the field has a scope of its own.
    pub(super) fn field(
        &self,
        tree: &DatasetName,
        field: &FieldName,
        row: Option<&ScopeName>,
        scope: &ScopeName,
    ) -> bool {
        let dataset = tree.base();
        let Some(rules) = self.mapping.dataset.get(&dataset) else { return true };
        let goes = || match row {
            Some(row) => self.least.route(&dataset, field, row).as_ref() == Some(scope),
            None if tree.is_overlay() => self.least.of(&dataset, field).is_some(),
            None => self.least.route(&dataset, field, scope).as_ref() == Some(scope),
        };
        !rules.never.contains_key(field) && (!rules.fields.contains_key(field) || goes())
    }

    /// Takes the fields out of a piece that may not stand there, and returns them.
    pub(super) fn take_out(
        &self,
        tree: &DatasetName,
        row: Option<&ScopeName>,
        scope: &ScopeName,
        record: &mut Record,
    ) -> Record {
        let taken = record.cells.extract_if(.., |field, _| !self.field(tree, field, row, scope));
        Record { cells: taken.collect() }
    }
}
