//! The schema of a mapping: its fields with their types and rules, as readers are told.

use super::model::{Dataset, Field, Kind, Mapping};
use crate::record::fieldtype::FieldType;
use crate::record::schema::{FieldRule, Schema};

impl Mapping {
    /// Returns the mapped fields: what they hold, how concurrent values are shown, and which move together.
    pub fn schema(&self) -> Schema {
        let fields =
            |dataset: &Dataset| dataset.fields.iter().map(|(name, field)| (name.clone(), rule(field))).collect();
        Schema { fields: self.dataset.iter().map(|(name, dataset)| (name.clone(), fields(dataset))).collect() }
    }
}

fn rule(field: &Field) -> FieldRule {
    FieldRule { strategy: field.merge, group: field.group.clone(), kind: field_type(field) }
}

/// Returns what a field holds; a checked field has a type or a reference.
fn field_type(field: &Field) -> Option<FieldType> {
    let plain = |kind| match kind {
        Kind::Text => FieldType::Text,
        Kind::Int => FieldType::Int,
        Kind::Bool => FieldType::Bool,
        Kind::Float => FieldType::Float,
        Kind::Timestamp => FieldType::Timestamp,
        Kind::Bytes => FieldType::Bytes,
        Kind::Json => FieldType::Json,
        Kind::Decimal => FieldType::Decimal,
    };
    field.reference.clone().map(FieldType::Ref).or(field.kind.map(plain))
}
