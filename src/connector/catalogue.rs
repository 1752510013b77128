//! What a database says of its tables, for whoever proposes or checks a mapping.

use crate::record::fieldtype::Kind;

/// A table, a view, or what else has columns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    /// Its name.
    pub name: String,
    /// What it is.
    pub kind: TableKind,
    /// Its columns in order.
    pub columns: Vec<Column>,
    /// The sets of columns that are unique in all rows, but for the primary key.
    pub unique: Vec<Vec<String>>,
    /// Its foreign keys.
    pub keys: Vec<ForeignKey>,
    /// The names of the application's triggers on it.
    pub triggers: Vec<String>,
    /// Whether keys of deleted rows may be handed out again.
    pub reuses_keys: bool,
}

/// What has columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TableKind {
    /// A table with rows of its own.
    Table,
    /// What shows rows of others.
    View,
    /// What a module or another server keeps.
    Foreign,
}

/// A column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// The type, in the database's own words.
    pub declared: String,
    /// Whether it can't be NULL.
    pub not_null: bool,
    /// Whether a new row gets a value without being given one.
    pub has_default: bool,
    /// Whether the database computes it.
    pub is_generated: bool,
    /// The place in the primary key, from 1; 0 outside.
    pub primary: i64,
    /// Whether the database chooses integers for it.
    pub is_chosen: bool,
    /// Whether values of its type can travel.
    pub is_known: bool,
    /// One of its values, where the type has only some.
    pub some_value: Option<String>,
    /// What its values are, if they were looked at and aren't what the type says.
    pub seen: Option<Seen>,
}

/// What the values of a column are that its declared type doesn't say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seen {
    /// All that were looked at are of one kind.
    Every {
        /// The kind.
        kind: Kind,
        /// How many were looked at.
        count: u64,
    },
    /// They are of several kinds.
    Various {
        /// How many aren't of the declared one.
        wrong: u64,
        /// How many were looked at.
        count: u64,
    },
}

/// A foreign key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForeignKey {
    /// The table that has it.
    pub table: String,
    /// Its columns.
    pub columns: Vec<String>,
    /// The table that it refers to.
    pub parent: String,
    /// The columns there; none means the parent's primary key.
    pub parent_columns: Vec<String>,
    /// Whether deleting the parent's row deletes or alters those that refer to it.
    pub acts: bool,
    /// Whether it is checked at the end of a transaction, unless told otherwise.
    pub is_deferred: bool,
    /// Whether it can be checked then.
    pub is_deferrable: bool,
}

impl Table {
    /// Returns the columns of the primary key, in its order.
    pub fn primary_key(&self) -> Vec<&str> {
        let mut columns: Vec<&Column> = self.columns.iter().filter(|column| column.primary > 0).collect();
        columns.sort_by_key(|column| column.primary);
        columns.into_iter().map(|column| column.name.as_str()).collect()
    }

    /// Finds a column, as SQL compares names.
    pub fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|column| column.name.eq_ignore_ascii_case(name))
    }
}

/// How much room the application's database takes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct DatabaseSizes {
    /// Bytes of our bookkeeping in it.
    pub books: u64,
    /// Bytes of all of it.
    pub whole: u64,
}
