//! A mapping proposed from what a database says of its tables: everything that can travel, and nothing of it shared.
//!
//! `tables` decides which tables take part and by which key, `dataset` what becomes of their columns, `guess` what their names say, `write` spells it as
//! TOML with the reason beside each choice. Names are only hints (`words`), and a hint never shares anything.

mod dataset;
mod guess;
mod kinds;
mod tables;
mod write;

use super::finding::{Finding, Weight};
use crate::connector::catalogue::Table;

/// A mapping to be edited.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Proposal {
    /// The datasets, parents first.
    pub datasets: Vec<String>,
    /// The mapping, with comments.
    pub toml: String,
    /// What the comments say, and what has no place in the mapping.
    pub findings: Vec<Finding>,
}

/// Proposes a mapping of tables; `place` names their database for people.
pub fn propose(tables: &[Table], place: &str) -> Proposal {
    let mut findings = Vec::new();
    let chosen = tables::choose(tables, &mut findings);
    let drafts: Vec<dataset::Draft> =
        (0..chosen.len()).map(|index| dataset::draft(&chosen, index, &mut findings)).collect();
    let drafts = write::ordered(drafts);
    findings.sort_by_key(|finding| finding.weight);
    let toml = write::write(&drafts, &findings, place);
    Proposal { datasets: drafts.iter().map(|draft| draft.name.to_string()).collect(), toml, findings }
}

fn note(kind: &'static str, at: impl Into<String>, why: impl Into<String>) -> Finding {
    Finding::new(Weight::Note, kind, at, why)
}

fn warning(kind: &'static str, at: impl Into<String>, why: impl Into<String>) -> Finding {
    Finding::new(Weight::Warning, kind, at, why)
}
