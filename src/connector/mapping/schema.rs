//! The schema of a mapping: its fields with their types and rules, as readers are told.

use std::collections::BTreeMap;

use super::model::{Dataset, Field, Mapping};
use crate::id::name::{DatasetName, FieldName, ScopeName};
use crate::record::fieldtype::FieldType;
use crate::record::schema::{FieldRule, Schema};
use crate::scope::audience::{Addressees, scope_of};
use crate::scope::fields::LeastScopes;

impl Mapping {
    /// Returns the fields of one scope of ours: what they hold, how concurrent values are shown, which move together;
    /// and as overlays those that belong there although their record lies in a wider scope.
    pub fn schema(&self, scope: &ScopeName) -> Schema {
        let mut schema = Schema::default();
        for (dataset, rules) in &self.dataset {
            let least = |field: &Field| field.least_scope();
            // Records of a narrower scope may hold any field; the public needn't know of those that it can't see.
            let whole = |field: &Field| !scope.is_public() || least(field).is_none();
            let overlay = |field: &Field| least(field).as_ref() == Some(scope);
            schema.insert(dataset.clone(), rules, &whole);
            schema.insert(dataset.overlay(), rules, &overlay);
        }
        schema
    }

    /// Returns the fields that are meant for fewer readers than their records.
    pub fn least_scopes(&self, addressees: &Addressees) -> LeastScopes {
        let mut fields: BTreeMap<DatasetName, BTreeMap<FieldName, ScopeName>> = BTreeMap::new();
        for (dataset, rules) in &self.dataset {
            let scoped: BTreeMap<_, _> =
                rules.fields.iter().filter_map(|(name, field)| Some((name.clone(), field.least_scope()?))).collect();
            if !scoped.is_empty() {
                fields.insert(dataset.clone(), scoped);
            }
        }
        LeastScopes { fields, addressees: addressees.clone() }
    }
}

impl Schema {
    fn insert(&mut self, dataset: DatasetName, rules: &Dataset, takes: &dyn Fn(&Field) -> bool) {
        let taken = rules.fields.iter().filter(|(_, field)| takes(field));
        let fields: BTreeMap<_, _> = taken.map(|(name, field)| (name.clone(), rule(field))).collect();
        if !fields.is_empty() {
            self.fields.insert(dataset, fields);
        }
    }
}

impl Dataset {
    /// Takes out the fields that never travel, and keeps them by name.
    pub(super) fn set_apart(&mut self) {
        let never = self.fields.extract_if(.., |_, field| field.scope.as_deref() == Some(NEVER));
        self.never = never.collect();
    }
}

impl Field {
    /// Returns the widest scope that the field may travel in; `None` wherever its record does.
    pub fn least_scope(&self) -> Option<ScopeName> {
        self.scope.as_deref().and_then(scope_of).filter(|scope| !scope.is_public())
    }

    /// Returns what the field holds; a checked one has a type or a reference.
    pub fn field_type(&self) -> Option<FieldType> {
        self.reference.clone().map(FieldType::Ref).or(self.kind.map(FieldType::Plain))
    }
}

/// The scope of a field that is neither read nor written.
pub const NEVER: &str = "never";

fn rule(field: &Field) -> FieldRule {
    FieldRule { strategy: field.merge, group: field.group.clone(), kind: field.field_type() }
}
