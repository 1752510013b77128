//! Whether the local state is well: the file, its tables, documents, commits and trees.

use std::collections::{BTreeSet, HashSet};

use super::{Finding, Report};
use crate::exchange::head::Head;
use crate::exchange::receipt::Receipt;
use crate::exchange::receipt::fork::Fork;
use crate::history::commit::{Commit, id_of};
use crate::id::bytes::{CommitId, NodeId, ScopeId};
use crate::keys::card::SignedCard;
use crate::keys::document::hash_of;
use crate::scope::manifest::Manifest;
use crate::state::census::Miscount;
use crate::state::error::Error as StateError;
use crate::state::scopes::ScopeRow;
use crate::sync::error::Error;
use crate::sync::instance::Instance;
use crate::sync::progress::Event;
use crate::tree::check::check;
use crate::tree::walk::walk;

const STATE: &str = "state";
const MEND: &str = "wbsync repair";
const MEND_RESTORE: &str = "move .wbsync/state.db away, then `wbsync restore`";

/// Tables of the state without which the others mean nothing.
pub(in crate::sync) const ESSENTIAL: &[&str] = &["head", "meta", "peer", "published", "scope"];

/// What the trees of the state lack.
#[derive(Debug, Default)]
pub struct Trees {
    /// Nodes whose bytes aren't what their id says.
    pub damaged: BTreeSet<NodeId>,
    /// Commits whose trees are needed and not whole, with why.
    pub broken: Vec<(ScopeRow, Commit, String)>,
    /// Commits whose bytes aren't what their id says.
    pub commits: Vec<(ScopeId, CommitId)>,
    nodes: u64,
    commit_count: u64,
}

impl Instance {
    /// Looks at the state.
    ///
    /// # Errors
    /// It can't be read at all.
    pub(super) fn look_at_state(&self, report: &mut Report) -> Result<(), Error> {
        let before = report.findings.len();
        let mut find = |what, place: &str, detail: String, mend: &'static str| {
            report.findings.push(damaged(what, place, detail, mend));
        };
        for fault in self.state.faults()? {
            find("damaged database", "state.db", fault, MEND_RESTORE);
        }
        let missing = self.state.missing_tables()?;
        for table in &missing {
            let mend = if ESSENTIAL.contains(&table.as_str()) { MEND_RESTORE } else { MEND };
            find("missing table", table, "the table isn't there".into(), mend);
        }
        for (table, why) in self.state.unreadable_tables() {
            if !missing.iter().any(|missing| missing == table) {
                find("damaged table", table, why, MEND_RESTORE);
            }
        }
        if report.findings.len() > before {
            return Ok(());
        }
        self.look_at_census(report)?;
        // What can't be read as what it should be is a finding of its own.
        let documents = self.look_at_documents(report);
        note(documents, "documents", report)?;
        let trees = self.look_at_trees().map(|trees| trees.tell(report));
        note(trees, "trees", report)?;
        if self.state.pending()?.is_some() {
            report.findings.push(Finding {
                part: STATE,
                what: "unfinished commit",
                place: "pending".into(),
                detail: "a crash kept a commit from the application's database".into(),
                mend: MEND.into(),
                damage: false,
            });
        }
        Ok(())
    }

    /// Names the tables that something else than us has changed.
    fn look_at_census(&self, report: &mut Report) -> Result<(), Error> {
        for Miscount { table, written, found } in self.state.miscounts()? {
            let (place, detail) = match written {
                Some(written) if written != found => {
                    (table, format!("{written} rows were written to it, and {found} are there"))
                }
                Some(_) => (table, "its rows aren't those that were written".to_owned()),
                None => ("census", format!("it doesn't count {table} any more")),
            };
            let mend = if ESSENTIAL.contains(&place) { MEND_RESTORE } else { MEND };
            let (what, place) = ("damaged table", place.to_owned());
            report.findings.push(Finding { part: STATE, what, place, detail, mend: mend.into(), damage: true });
        }
        Ok(())
    }

    fn look_at_documents(&self, report: &mut Report) -> Result<(), Error> {
        let mut find = |place: &str, detail: String, mend: &'static str| {
            let place = place.to_owned();
            report.findings.push(Finding {
                part: STATE,
                what: "damaged document",
                place,
                detail,
                mend: mend.into(),
                damage: true,
            });
        };
        for peer in self.state.peers()? {
            match SignedCard::open(&peer.card) {
                Ok(card) if card.card.instance == peer.id => {}
                Ok(_) => find("peer", format!("the card of {} is that of another", peer.name), MEND_RESTORE),
                Err(error) => find("peer", format!("the card of {}: {error}", peer.name), MEND_RESTORE),
            }
        }
        for row in self.state.scopes()? {
            let label = self.scope_label(&row)?;
            match Manifest::open(&row.manifest, &row.origin) {
                Ok((manifest, hash))
                    if manifest.scope == row.id && hash == row.manifest_hash && manifest.seq == row.manifest_seq => {}
                Ok(_) => find("scope", format!("the manifest of {label} isn't the one it is said to be"), MEND_RESTORE),
                Err(error) => find("scope", format!("the manifest of {label}: {error}"), MEND_RESTORE),
            }
            let scope = self.open_scope(row.clone()).ok().flatten();
            for tracked in self.state.heads(&row.id)? {
                let what = format!("head {} of {} in {label}", tracked.seq, self.instance_label(&tracked.signer)?);
                match Head::open(&tracked.document, &tracked.signer) {
                    Ok((head, hash)) => {
                        let is_same = head.scope == tracked.scope
                            && hash == tracked.hash
                            && (head.incarnation, head.seq) == (tracked.incarnation, tracked.seq)
                            && head.commit == tracked.commit
                            && head.writes == tracked.writes;
                        if !is_same {
                            find("head", format!("{what} isn't what its row says"), MEND_RESTORE);
                        }
                    }
                    Err(error) => find("head", format!("{what}: {error}"), MEND_RESTORE),
                }
                for seen in self.state.seen(&row.id, &tracked.signer)? {
                    if !seen.document.is_empty() && hash_of(&seen.document) != seen.hash {
                        find("seen", format!("head {} before {what} isn't what its hash says", seen.seq), MEND);
                    }
                }
            }
            for receipt in self.state.receipts(&row.id)? {
                let reader = self.instance_label(&receipt.signer)?;
                match Receipt::open(&receipt.document, &receipt.signer) {
                    Ok((_, hash)) if hash == receipt.hash => {}
                    _ => find("receipt", format!("the receipt of {reader} in {label} doesn't verify"), MEND),
                }
                // One that is sealed to an epoch that we let go can't be compared.
                let opened = scope.as_ref().map(|scope| self.open_receipt(scope, &receipt.signer, receipt.document));
                if opened.is_some_and(|opened| {
                    opened.is_ok_and(|opened| opened.is_some_and(|opened| opened.statement != receipt.statement))
                }) {
                    find("receipt", format!("what {reader} states in {label} isn't what its receipt says"), MEND);
                }
            }
            for fork in self.state.forks(&row.id)? {
                if Fork::check([&fork.ours, &fork.theirs]).is_none() {
                    let signer = self.instance_label(&fork.signer)?;
                    find("fork", format!("the proof against {signer} in {label} proves nothing"), "");
                }
            }
        }
        Ok(())
    }

    /// Looks at every commit and every tree node.
    ///
    /// # Errors
    /// The state can't be read.
    pub(in crate::sync) fn look_at_trees(&self) -> Result<Trees, Error> {
        let mut trees = Trees::default();
        let rows = self.state.scopes()?;
        for (scope, id, bytes) in self.state.all_commits()? {
            trees.commit_count += 1;
            let Some(row) = rows.iter().find(|row| row.id == scope) else { continue };
            if id_of(&bytes, &row.id_key) != id || Commit::decode(&bytes).is_err() {
                trees.commits.push((scope, id));
            }
        }
        self.tell(Event::Phase { name: "reading trees", total: Some(self.state.node_count()?) });
        let mut good = HashSet::new();
        self.state.each_node(&mut |id, bytes| {
            trees.nodes += 1;
            match rows.iter().any(|row| row.id_key.node_id(bytes) == id) {
                true => drop(good.insert(id)),
                false => drop(trees.damaged.insert(id)),
            }
            self.tell(Event::Done(trees.nodes));
        })?;
        self.tell(Event::End);
        // A database that tells nothing is a finding of its own.
        let views = self.shown_views().unwrap_or_default();
        for row in rows {
            let shown: BTreeSet<CommitId> =
                views.iter().filter_map(|view| view.commits.get(&row.id).copied()).collect();
            self.look_at_scope(&row, shown, &good, &mut trees)?;
        }
        Ok(trees)
    }

    /// Looks at the trees of a scope that are needed, each node once, and at the shape of those that are shown.
    fn look_at_scope(
        &self,
        row: &ScopeRow,
        mut shown: BTreeSet<CommitId>,
        good: &HashSet<NodeId>,
        trees: &mut Trees,
    ) -> Result<(), Error> {
        shown.extend(row.local_head);
        let heads = self.state.heads(&row.id)?.into_iter().map(|head| head.commit);
        for id in &shown.iter().copied().chain(heads).collect::<BTreeSet<_>>() {
            if self.state.commit(&row.id, id).ok().flatten().is_none() && !trees.commits.contains(&(row.id, *id)) {
                trees.commits.push((row.id, *id));
            }
        }
        if trees.commits.iter().any(|(scope, _)| *scope == row.id) {
            return Ok(());
        }
        let essential = shown.clone();
        let mut seen = HashSet::new();
        for commit in self.needed_commits(row, shown)? {
            let is_essential = essential.contains(&commit.id(&row.id_key));
            for root in commit.datasets.values() {
                let Some(id) = root.node else { continue };
                let root_damaged = trees.damaged.contains(&id);
                if !is_essential && !good.contains(&id) && !root_damaged {
                    continue;
                }
                let mut lacking = None;
                let walked = walk(&self.state, &row.id_key, root, |node, _| {
                    if !good.contains(node) {
                        lacking.get_or_insert(*node);
                        return false;
                    }
                    seen.insert(*node)
                });
                let why = match (walked, lacking) {
                    (Err(error), _) => Some(error.to_string()),
                    (Ok(()), Some(node)) => Some(format!("node {node} is missing or damaged")),
                    (Ok(()), None) if is_essential => {
                        check(&self.state, &row.id_key, root).err().map(|error| error.to_string())
                    }
                    (Ok(()), None) => None,
                };
                if let Some(why) = why {
                    trees.broken.push((row.clone(), commit, why));
                    break;
                }
            }
        }
        Ok(())
    }
}

impl Trees {
    /// Tells whether nothing is wrong.
    pub(in crate::sync) fn is_whole(&self) -> bool {
        self.damaged.is_empty() && self.broken.is_empty() && self.commits.is_empty()
    }

    fn tell(self, report: &mut Report) {
        report.nodes = self.nodes;
        report.commits = self.commit_count;
        let mut find = |what, place: &str, detail: String, mend: &'static str| {
            report.findings.push(damaged(what, place, detail, mend));
        };
        for node in &self.damaged {
            find("damaged node", "node", format!("node {node} isn't what its id says"), MEND);
        }
        for (scope, commit) in &self.commits {
            let detail = format!("commit {commit} of scope {scope} is missing, or isn't what its id says");
            find("damaged commit", "commits", detail, MEND);
        }
        for (row, commit, why) in &self.broken {
            let id = commit.id(&row.id_key);
            find("broken tree", "node", format!("commit {id} of {}: {why}", row.name), MEND);
        }
    }
}

/// Turns a part of the state that can't be read as it should be into a finding.
fn note(result: Result<(), Error>, what: &str, report: &mut Report) -> Result<(), Error> {
    let detail = match result {
        Ok(()) => return Ok(()),
        Err(Error::State(StateError::Query { source, .. })) if source.sqlite_error_code().is_some() => {
            source.to_string()
        }
        Err(Error::State(error)) => match &error {
            StateError::Query { source, .. } => format!("{error}: {source}"),
            _ => error.to_string(),
        },
        Err(error @ (Error::Manifest { .. } | Error::Bookkeeping(_) | Error::Tree { .. })) => error.to_string(),
        Err(error) => return Err(error),
    };
    report.findings.push(Finding {
        part: STATE,
        what: "damaged table",
        place: what.to_owned(),
        detail,
        mend: MEND_RESTORE.into(),
        damage: true,
    });
    Ok(())
}

fn damaged(what: &'static str, place: &str, detail: String, mend: &'static str) -> Finding {
    Finding { part: STATE, what, place: place.to_owned(), detail, mend: mend.into(), damage: true }
}
