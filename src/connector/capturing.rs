//! How captures find what changed: by reading everything, or by triggers that note it.

/// How a capture finds what changed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Capturing {
    /// It reads all rows and compares them with what was last known of them.
    #[default]
    Scan,
    /// It reads those that triggers noted, where they stand as they should.
    Triggers,
}

/// How the triggers stand that note what changes.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct Triggers {
    /// How captures find what changed, as it is configured.
    pub mode: Capturing,
    /// Whether anything of them is there.
    pub installed: bool,
    /// The mapped tables.
    pub tables: Vec<TriggersOf>,
    /// How many changes are noted and not captured yet.
    pub noted: u64,
}

/// How the triggers of one table stand.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct TriggersOf {
    /// The table.
    pub table: String,
    /// What is wrong with its triggers; while anything is, a capture reads the whole table.
    pub faults: Vec<String>,
    /// Why triggers can't note everything in it: a capture always reads the whole table.
    pub uncovered: Option<String>,
}

/// What to do with the triggers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TriggerChange {
    /// Make them stand as they should.
    Install,
    /// Remove them, and what they noted.
    Uninstall,
}
