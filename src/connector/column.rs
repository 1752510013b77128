//! The columns of mapped fields, who says for whom a row is meant, and why what is written into one stays here.

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

/// Why edits of a row of another instance's record stay here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stays {
    /// Its scope column says that it is meant for fewer than its record is.
    Narrowed,
    /// A column has a value that doesn't travel.
    Unfit,
}

/// Who says for whom a row is meant, before its parents narrow it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// The row's own column.
    Column,
    /// A rule for this row, beside the table.
    Rule,
    /// The dataset's default, beside the table.
    Default,
    /// The mapping says the same of all rows.
    Mapping,
    /// The rows that it refers to.
    Parents,
}
