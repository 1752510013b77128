//! The schema of a mapping: the rules of its fields that differ from the default.

use std::collections::BTreeMap;

use super::model::{Field, Mapping};
use crate::record::schema::{FieldRule, Schema, Strategy};

impl Mapping {
    /// Returns how concurrent values of the mapped fields are shown, and which fields move together.
    pub fn schema(&self) -> Schema {
        let mut schema = Schema::default();
        for (dataset, rules) in &self.dataset {
            let fields: BTreeMap<_, _> =
                rules.fields.iter().filter_map(|(name, field)| Some((name.clone(), rule(field)?))).collect();
            if !fields.is_empty() {
                schema.fields.insert(dataset.clone(), fields);
            }
        }
        schema
    }
}

fn rule(field: &Field) -> Option<FieldRule> {
    if field.merge == Strategy::Conflict && field.group.is_none() {
        return None;
    }
    Some(FieldRule { strategy: field.merge, group: field.group.clone() })
}
