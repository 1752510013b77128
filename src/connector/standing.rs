//! What an examination of the database and its bookkeeping finds.

/// What something wrong is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The bookkeeping.
    Books,
    /// The file of the application's database.
    File,
    /// A row of the application's that refers to one that isn't there: its own business, and no damage.
    Orphan,
}

/// Something wrong in the application's database or the bookkeeping.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Blemish {
    /// What it is about.
    pub part: Part,
    /// The table.
    pub place: String,
    /// What is wrong.
    pub detail: String,
}

/// How the bookkeeping knows a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It has a row.
    Row {
        /// Whether the row was settled since it was last seen.
        is_settled: bool,
        /// Whether it is meant for anybody else.
        is_shared: bool,
    },
    /// A placeholder stands for it.
    Placeholder,
    /// It waits to be written, or its row vanished just now.
    Waits,
}
