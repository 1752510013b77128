//! Whether the bookkeeping in the application's database, its rows, and the records that they show agree.

use std::collections::{BTreeMap, BTreeSet};

use super::{Finding, Report};
use crate::connector::standing::{Part, Standing};
use crate::id::bytes::{InstanceId, RecordKey};
use crate::id::name::DatasetName;
use crate::record::recordid::RecordId;
use crate::sync::error::Error;
use crate::sync::instance::Instance;
use crate::sync::progress::Event;
use crate::sync::view::View;
use crate::tree::scan::scan;

const DATABASE: &str = "database";
/// How many records of one kind are named at most.
const NAMED_MAX: usize = 20;

impl Instance {
    /// Looks at the application's database, and compares it with a state that is sound.
    ///
    /// # Errors
    /// The state can't be read. A database that can't be read is a finding.
    pub(super) fn look_at_rows(&self, is_sound: bool, report: &mut Report) -> Result<(), Error> {
        self.tell(Event::Phase { name: "reading the bookkeeping", total: None });
        let mut known = Known::default();
        let looked = self.with_database(|database| {
            let found = database.examine(&mut |id, standing| known.add(id, standing))?;
            Ok((found, database.datasets(), database.position()))
        });
        self.tell(Event::End);
        let mut find = |what, place: String, detail: String, mend: &'static str, damage| {
            report.findings.push(Finding { part: DATABASE, what, place, detail, mend: mend.into(), damage });
        };
        let (found, datasets, position) = match looked {
            Ok(looked) => looked,
            Err(error) => {
                let cause = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
                find(
                    "unusable database",
                    "the application's database".into(),
                    format!("{error}: {cause}"),
                    RESTORE,
                    true,
                );
                return Ok(());
            }
        };
        for blemish in found {
            let (what, mend, damage) = match blemish.part {
                Part::Books => ("damaged bookkeeping", RESTORE, true),
                Part::File => ("damaged rows", APPLICATION, true),
                Part::Orphan => ("lost reference", ORPHAN, false),
            };
            find(what, blemish.place, blemish.detail, mend, damage);
        }
        known.sort();
        report.records = known.count();
        // Rows on the way between two views agree with neither, and a damaged tree tells nothing of rows.
        let Ok(position) = position else { return Ok(()) };
        let is_damaged = report.findings.iter().any(|finding| finding.damage && finding.part == DATABASE);
        if !is_sound || is_damaged || position.target.is_some() || self.state.pending()?.is_some() {
            return Ok(());
        }
        let view = View::decode(&position.applied).map_err(Error::Bookkeeping)?;
        let origins: BTreeSet<_> = self.state.scopes()?.into_iter().map(|row| row.origin).collect();
        let shunned: BTreeSet<RecordId> = self.state.shunned()?.into_iter().map(|shunned| shunned.id).collect();
        let pruned = self.state.pruned()?;
        let mut found = Vec::new();
        self.each_record(&view, &mut |id| {
            let is_here = known.meet(id);
            if !is_here && datasets.contains(&id.dataset) && !shunned.contains(id) && !pruned.contains_key(id) {
                found.push(format!("no row stands for the record {}/{}", id.dataset, id.key));
            }
        })?;
        for (origin, dataset, record) in known.unmet() {
            let is_claimed = matches!(record.standing, Standing::Row { is_settled: true, is_shared: true });
            if is_claimed && origins.contains(origin) {
                let key = record.key;
                found.push(format!("the row of {dataset}/{key} is said to be shared, and no record says so"));
            }
        }
        found.sort();
        found.dedup();
        let more = found.len().saturating_sub(NAMED_MAX);
        for detail in found.into_iter().take(NAMED_MAX).chain((more > 0).then(|| format!("… and {more} more"))) {
            let (place, what) = ("_wbsync_map".to_owned(), "broken mapping");
            report.findings.push(Finding { part: DATABASE, what, place, detail, mend: RESTORE.into(), damage: true });
        }
        Ok(())
    }

    /// Tells whether the bookkeeping can be read.
    ///
    /// # Errors
    /// As `look_at_rows`.
    pub(in crate::sync) fn has_sound_books(&self) -> Result<bool, Error> {
        let mut report = Report::default();
        self.look_at_rows(false, &mut report)?;
        Ok(!report.is_damaged())
    }

    /// Gives every record of a view, some perhaps twice.
    fn each_record(&self, view: &View, see: &mut dyn FnMut(&RecordId)) -> Result<(), Error> {
        for row in self.state.scopes()? {
            let Some(id) = view.commits.get(&row.id) else { continue };
            let commit = self.state.known_commit(&row.id, id)?.commit;
            for (dataset, root) in commit.datasets.iter().filter(|(dataset, _)| !dataset.is_overlay()) {
                for entry in scan(&self.state, &row.id_key, root, ..) {
                    let (key, _) = entry.map_err(|source| Error::Tree { scope: row.name.to_string(), source })?;
                    if let Some(key) = RecordKey::from_slice(&key) {
                        see(&RecordId { origin: row.origin, dataset: dataset.clone(), key });
                    }
                }
            }
        }
        Ok(())
    }
}

/// What the bookkeeping knows, in few bytes: it may be as many records as the database has rows.
#[derive(Default)]
struct Known {
    records: BTreeMap<(InstanceId, DatasetName), Vec<KnownRecord>>,
}

struct KnownRecord {
    key: RecordKey,
    standing: Standing,
    /// Whether a commit has it.
    is_met: bool,
}

impl Known {
    fn add(&mut self, RecordId { origin, dataset, key }: RecordId, standing: Standing) {
        self.records.entry((origin, dataset)).or_default().push(KnownRecord { key, standing, is_met: false });
    }

    /// Orders the records so that they can be found; of several with one key the last counts.
    fn sort(&mut self) {
        for records in self.records.values_mut() {
            records.sort_by_key(|record| record.key);
            records.reverse();
            records.dedup_by_key(|record| record.key);
            records.reverse();
        }
    }

    fn count(&self) -> u64 {
        self.records.values().map(|records| records.len() as u64).sum()
    }

    /// Notes that a commit has a record; tells whether it is known.
    fn meet(&mut self, id: &RecordId) -> bool {
        let Some(records) = self.records.get_mut(&(id.origin, id.dataset.clone())) else { return false };
        let Ok(at) = records.binary_search_by(|record| record.key.cmp(&id.key)) else { return false };
        records[at].is_met = true;
        true
    }

    fn unmet(&self) -> impl Iterator<Item = (&InstanceId, &DatasetName, &KnownRecord)> {
        self.records.iter().flat_map(|((origin, dataset), records)| {
            records.iter().filter(|record| !record.is_met).map(move |record| (origin, dataset, record))
        })
    }
}

const RESTORE: &str = "put back a backup of the application's database, then `wbsync restore`; that alone where there is none, and rows of \
                       others may come twice";
const APPLICATION: &str = "put back a backup of the application's database, then `wbsync restore`";
const ORPHAN: &str = "it is the application's own: set the column to NULL or delete the row; till then the record goes without it, or waits at home";
