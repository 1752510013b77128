//! The columns of mapped fields.

use crate::id::name::{DatasetName, FieldName};
use crate::record::fieldtype::FieldType;

/// A mapped field's column, as the database has it now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// The dataset.
    pub dataset: DatasetName,
    /// The field.
    pub field: FieldName,
    /// What the field holds.
    pub kind: FieldType,
    /// The column, as `table.column`.
    pub column: String,
    /// The type that the table declares for it.
    pub declared: String,
    /// Whether the column gives back what of the field's type is stored in it.
    pub fits: bool,
    /// Whether a new row can't do without a value for it.
    pub needed: bool,
    /// Whether the field has a scope of its own here: others may well send it to somebody else only.
    pub is_scoped: bool,
}
