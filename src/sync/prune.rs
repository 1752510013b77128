//! Prune: rows of others that nobody has touched for long leave this application, and trees of long ago this state.
//!
//! Nobody else notices: nothing is deleted, heads and roots stay what they are. What is pruned stays away until it says
//! something new (docs/adr/0020-pruned-records-return.md); what a peer may still build on stays (docs/adr/0021-history-floor.md).

use std::collections::{BTreeMap, BTreeSet};

use super::admit::content_hash;
use super::apply::{ApplySummary, ROUNDS_MAX};
use super::changes::{Span, newest};
use super::commit::{Mode, decode_record};
use super::error::Error;
use super::history::HistoryPruned;
use super::instance::Instance;
use super::progress::Event;
use super::view::View;
use crate::connector::contract::Dropped;
use crate::id::bytes::{InstanceId, RecordKey};
use crate::id::name::DatasetName;
use crate::record::recordid::RecordId;
use crate::state::database;
use crate::state::pruned::ContentHash;
use crate::sys::clock::{self, UnixMillis};
use crate::tree::scan::scan;

/// What to prune.
#[derive(Debug, Clone, Default)]
pub struct PruneOptions {
    /// Since when the history of our own scopes is kept; left out, all of it.
    pub history_before: Option<UnixMillis>,
    /// Peers, by name, who hold no history back, however old the state is that they show.
    pub without: Vec<String>,
    /// Which rows of others go, if any.
    pub records: Option<OldRecords>,
}

/// Which rows of others are meant.
#[derive(Debug, Clone)]
pub struct OldRecords {
    /// Nobody has written any of their fields since.
    pub before: UnixMillis,
    /// Of these datasets; empty: of all.
    pub datasets: Vec<DatasetName>,
    /// Of this peer; left out: of everybody.
    pub from: Option<String>,
}

/// What was pruned, or would be.
#[derive(Debug, Clone, Default, serde::Serialize)]
pub struct Pruned {
    /// Rows that are gone, by dataset; of a dry run, those that may go.
    pub rows: BTreeMap<DatasetName, u64>,
    /// Rows that stay because others refer to them.
    pub kept: u64,
    /// Records whose rows were pruned so far, and did not come back.
    pub away: u64,
    /// How far each of our scopes goes back now, by label.
    pub history: BTreeMap<String, HistoryPruned>,
    /// Tree nodes that went; of a dry run, that would.
    pub removed_nodes: u64,
}

/// Records with what they show.
type Candidates = Vec<(RecordId, ContentHash)>;

impl Instance {
    /// Prunes; a dry run only counts.
    ///
    /// # Errors
    /// `UnknownPeer`, `UnknownDataset`; the database or the state can't be read or written; `Restless`.
    pub fn prune(&self, options: &PruneOptions, mode: Mode) -> Result<Pruned, Error> {
        let mut pruned = Pruned::default();
        if let Some(records) = &options.records {
            self.check_datasets(&records.datasets)?;
            let from = records.from.as_deref().map(|name| Ok::<_, Error>(self.peer_named(name)?.id)).transpose()?;
            self.prune_records((records.before, &records.datasets, from), mode, &mut pruned)?;
        }
        pruned.away = self.state.pruned_count()?;
        if let Some(before) = options.history_before {
            let without = options.without.iter().map(|name| Ok::<_, Error>(self.peer_named(name)?.id));
            let without: BTreeSet<InstanceId> = without.collect::<Result<_, _>>()?;
            let (history, removed) = self.prune_history(before, &without, mode)?;
            (pruned.history, pruned.removed_nodes) = (history, removed);
        }
        Ok(pruned)
    }

    /// Brings back what was pruned, of one peer or of all. Returns what was written.
    ///
    /// # Errors
    /// As `prune`.
    pub fn undo_prune(&self, datasets: &[DatasetName], from: Option<&str>, mode: Mode) -> Result<ApplySummary, Error> {
        let from = from.map(|name| Ok::<_, Error>(self.peer_named(name)?.id)).transpose()?;
        let all = self.state.pruned()?.into_keys();
        self.check_datasets(datasets)?;
        let wanted = all.filter(|id| is_wanted(id, datasets, from));
        let ids: Vec<RecordId> = wanted.collect();
        if mode == Mode::DryRun {
            let mut summary = ApplySummary::default();
            for id in ids {
                *summary.inserted.entry(id.dataset).or_default() += 1;
            }
            return Ok(summary);
        }
        self.commit(Mode::Keep)?;
        self.apply(Mode::Keep)?;
        let summary = self.bring_back(&ids.iter().collect::<Vec<_>>())?;
        let transaction = self.state.transaction()?;
        for id in &ids {
            self.state.drop_pruned(id)?;
        }
        database::commit(transaction)?;
        Ok(summary)
    }

    /// Refuses a name that is no dataset's: of none there is nothing to remove, and that would look as if all were well.
    fn check_datasets(&self, names: &[DatasetName]) -> Result<(), Error> {
        names.iter().try_for_each(|name| self.dataset_named(name.as_str()).map(drop))
    }

    fn prune_records(
        &self,
        wanted: (UnixMillis, &[DatasetName], Option<InstanceId>),
        mode: Mode,
        pruned: &mut Pruned,
    ) -> Result<(), Error> {
        let mut restless = 0;
        for round in 0..=CHAIN_MAX + ROUNDS_MAX {
            if mode == Mode::Keep {
                // What the application changed is captured while the rows are there, and is no longer old then.
                self.commit(Mode::Keep)?;
                self.apply(Mode::Keep)?;
            }
            let position = self.with_database(|database| Ok(database.position()?))?;
            let applied = View::decode(&position.applied).map_err(Error::Bookkeeping)?;
            let away = self.state.pruned()?;
            let mut candidates = self.old_records(&applied, wanted)?;
            // Looked for once: whatever is kept loses its note below.
            let begun = if round == 0 { self.begun(&away, &candidates)? } else { BTreeSet::new() };
            candidates.retain(|(id, _)| !away.contains_key(id) || begun.contains(id));
            let ids = candidates.iter().map(|(id, _)| id.clone()).collect();
            let dropped = Dropped::Unused(ids);
            if mode == Mode::DryRun {
                pruned.rows = self.with_database(|database| Ok(database.count_rows(&dropped)?))?;
                return Ok(());
            }
            if candidates.is_empty() {
                return Ok(());
            }
            // Known before they go: a row without one, and without this note, would be missing.
            let transaction = self.state.transaction()?;
            for (id, content) in candidates.iter().filter(|(id, _)| !away.contains_key(id)) {
                self.state.put_pruned(id, content, clock::now())?;
            }
            database::commit(transaction)?;
            self.tell(Event::Phase { name: "removing rows", total: Some(candidates.len() as u64) });
            let done = self.with_database(|database| {
                database.begin_apply(&applied.encode())?;
                Ok(database.drop_rows(&dropped, &mut |rows| self.tell(Event::Done(rows)))?)
            })?;
            self.tell(Event::End);
            let transaction = self.state.transaction()?;
            for id in done.kept.iter().chain(&done.dirty) {
                self.state.drop_pruned(id)?;
            }
            database::commit(transaction)?;
            let has_deleted = done.deleted.values().any(|count| *count > 0);
            for (dataset, count) in done.deleted {
                *pruned.rows.entry(dataset).or_default() += count;
            }
            pruned.kept = done.kept.len() as u64;
            // What only pruned rows referred to is free to go now.
            let has_freed = !done.kept.is_empty() && round < CHAIN_MAX && has_deleted;
            if done.dirty.is_empty() && !has_freed {
                return self.with_database(|database| Ok(database.finish_apply()?));
            }
            restless += usize::from(!done.dirty.is_empty());
            if restless == ROUNDS_MAX {
                return Err(Error::Restless);
            }
        }
        Err(Error::Restless)
    }

    /// Finds the records that are noted as pruned and still have their rows, because pruning was interrupted.
    fn begun(
        &self,
        away: &BTreeMap<RecordId, ContentHash>,
        candidates: &Candidates,
    ) -> Result<BTreeSet<RecordId>, Error> {
        let noted = candidates.iter().filter(|(id, content)| away.get(id) == Some(content));
        let noted: Vec<RecordId> = noted.map(|(id, _)| id.clone()).collect();
        self.with_database(|database| {
            let mut begun = BTreeSet::new();
            if database.count_rows(&Dropped::Unused(noted.clone()))?.is_empty() {
                return Ok(begun);
            }
            for id in noted {
                if !database.count_rows(&Dropped::Unused(vec![id.clone()]))?.is_empty() {
                    begun.insert(id);
                }
            }
            Ok(begun)
        })
    }

    /// Lists the records of others that nobody has written since, and whose fields nobody disputes.
    fn old_records(
        &self,
        view: &View,
        (before, datasets, from): (UnixMillis, &[DatasetName], Option<InstanceId>),
    ) -> Result<Candidates, Error> {
        let mut found = Vec::new();
        for (origin, spans) in self.spans(&View::default(), view)? {
            if origin == self.id() || from.is_some_and(|from| from != origin) {
                continue;
            }
            let here = spans.iter().filter_map(|span| Some(&span.after.as_ref()?.commit.datasets));
            let here: BTreeSet<DatasetName> = here.flat_map(BTreeMap::keys).map(DatasetName::base).collect();
            for dataset in here.iter().filter(|dataset| datasets.is_empty() || datasets.contains(dataset)) {
                for key in self.old_keys(&origin, &spans, dataset, before)? {
                    let id = RecordId { origin, dataset: dataset.clone(), key };
                    if let Some(content) = self.content_after(&spans, &id)? {
                        let hash = content_hash(&content, &origin);
                        found.push((id, hash));
                    }
                }
            }
        }
        Ok(found)
    }

    /// Lists the keys of one dataset of one origin of which no piece in any scope is young or disputed.
    fn old_keys(
        &self,
        origin: &InstanceId,
        spans: &[Span],
        dataset: &DatasetName,
        before: UnixMillis,
    ) -> Result<BTreeSet<RecordKey>, Error> {
        let (mut old, mut other) = (BTreeSet::new(), BTreeSet::new());
        for (span, tree) in spans.iter().flat_map(|span| [(span, dataset.clone()), (span, dataset.overlay())]) {
            let Some(after) = &span.after else { continue };
            for entry in scan(&self.state, &span.scope.row.id_key, &after.commit.root(&tree), ..) {
                let failed = |source| Error::Tree { scope: span.scope.row.name.to_string(), source };
                let (key, bytes) = entry.map_err(failed)?;
                let Some(key) = RecordKey::from_slice(&key) else { continue };
                let record = decode_record(&bytes, origin, &tree, &key)?;
                let is_disputed = record.cells.values().any(|cell| cell.elements().len() > 1);
                let is_young = newest(&record).is_some_and(|(time, _)| time >= before);
                if is_disputed || is_young {
                    other.insert(key)
                } else {
                    old.insert(key)
                };
            }
        }
        Ok(old.difference(&other).copied().collect())
    }
}

/// How long a chain of rows that refer to each other may be to go in one call.
const CHAIN_MAX: usize = 64;

fn is_wanted(id: &RecordId, datasets: &[DatasetName], from: Option<InstanceId>) -> bool {
    from.is_none_or(|from| from == id.origin) && (datasets.is_empty() || datasets.contains(&id.dataset))
}
