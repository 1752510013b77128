//! Mirror: the history of chosen scopes as an ordinary git repository, in clear and for this machine's owner only.
//!
//! One branch a scope, one git commit for each commit that somebody published and whose records are here, one file a record.
//! A git commit says nothing that the commit itself doesn't, so instances that hold the same ones give them the same ids;
//! what instances are called stands in a mailmap beside. docs/git.md says what it is good for.

mod text;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::commit::{Mode, decode_record};
use super::error::Error;
use super::instance::Instance;
use super::progress::Event;
use super::scopes::OpenScope;
use crate::exchange::head::Head;
use crate::history::commit::Making;
use crate::history::join::Known;
use crate::id::bytes::CommitId;
use crate::transport::git::mirror::{Begin, File, Mirror, Said};

/// What a mirror got.
#[derive(Debug, Clone, Default, serde::Serialize)]
pub struct Mirrored {
    /// By scope.
    pub scopes: BTreeMap<String, MirroredScope>,
}

/// What a mirror got of one scope.
#[derive(Debug, Clone, Default, serde::Serialize)]
pub struct MirroredScope {
    /// Its branch.
    pub branch: String,
    /// Commits that were added, or would be.
    pub commits: u64,
    /// Files that they changed.
    pub files: u64,
    /// git's name of the newest commit.
    pub tip: Option<String>,
}

impl Instance {
    /// Brings the mirror in `path` up to date: the scopes with these labels, or all public ones.
    ///
    /// # Errors
    /// `NotFound`, `Mirror`; `State`, `Tree`.
    pub fn mirror(&self, path: &Path, labels: &[String], begin: Begin, mode: Mode) -> Result<Mirrored, Error> {
        let scopes = match labels {
            [] => self.scopes_labelled(None)?.into_iter().filter(|open| open.manifest.public).collect(),
            labels => {
                let mut scopes = Vec::new();
                for label in labels.iter().collect::<BTreeSet<_>>() {
                    scopes.extend(self.scopes_labelled(Some(label))?);
                }
                scopes
            }
        };
        let failed = |source| Error::Mirror { source };
        let mut mirror = match mode {
            Mode::Keep => Some(Mirror::open(path, begin).map_err(failed)?),
            // Looking makes nothing.
            _ if begin == Begin::WhereItEnded && path.exists() => Some(Mirror::open(path, begin).map_err(failed)?),
            _ => None,
        };
        let mut mirrored = Mirrored::default();
        for open in &scopes {
            let label = open.label(self)?;
            let branch = self.branch_of(open)?;
            let mut found = MirroredScope { branch, ..MirroredScope::default() };
            self.tell(Event::Phase { name: &format!("mirroring {label}"), total: None });
            if let Some(tip) = open.row.local_head {
                let order = self.unmirrored(open, &tip, mirror.as_ref())?;
                found.commits = order.len() as u64;
                if let (Some(mirror), Mode::Keep) = (&mut mirror, mode) {
                    for (known, parents) in order {
                        found.files += self.mirror_commit(open, &known, &parents, mirror)?;
                    }
                    mirror.branch(&found.branch, tip);
                }
                found.tip = mirror.as_ref().and_then(|mirror| mirror.name_of(&tip));
            }
            self.tell(Event::End);
            mirrored.scopes.insert(label, found);
        }
        if let (Some(mirror), Mode::Keep) = (mirror, mode) {
            mirror.finish(&self.names()?).map_err(failed)?;
        }
        Ok(mirrored)
    }

    /// Lists the commits that a mirror lacks on the way to `tip`, parents first, each with its nearest mirrored parents.
    fn unmirrored(
        &self,
        open: &OpenScope,
        tip: &CommitId,
        mirror: Option<&Mirror>,
    ) -> Result<Vec<(Known, Vec<CommitId>)>, Error> {
        let shown = self.published_commits(open, tip)?;
        let is_known = |id: &CommitId| mirror.is_some_and(|mirror| mirror.holds(id));
        let (mut order, mut parents_of) = (Vec::new(), BTreeMap::new());
        // A commit is looked at twice: before and after what it builds on.
        let mut stack = vec![(*tip, false)];
        while let Some((id, is_ready)) = stack.pop() {
            if is_known(&id) || (!is_ready && parents_of.contains_key(&id)) {
                continue;
            }
            let Some(known) = self.state.commit(&open.row.id, &id)? else {
                parents_of.insert(id, BTreeSet::new());
                continue;
            };
            let before = known.commit.parents();
            if !is_ready {
                parents_of.insert(id, BTreeSet::new());
                stack.push((id, true));
                stack.extend(before.into_iter().map(|parent| (parent, false)));
                continue;
            }
            let mut nearest = BTreeSet::new();
            for parent in &before {
                match parents_of.get(parent) {
                    // Passed over: what it builds on stands for it.
                    Some(through) => nearest.extend(through.iter().copied()),
                    None => drop(nearest.insert(*parent)),
                }
            }
            if shown.contains(&id) && self.holds_trees(&known.commit)? {
                order.push((known, nearest.iter().copied().collect()));
                nearest = BTreeSet::from([id]);
            }
            parents_of.insert(id, nearest);
        }
        Ok(order)
    }

    /// Returns the commits of a scope that heads named, as far as we remember them, and `tip`.
    fn published_commits(&self, open: &OpenScope, tip: &CommitId) -> Result<BTreeSet<CommitId>, Error> {
        let mut shown = BTreeSet::from([*tip]);
        shown.extend(self.state.published(&open.row.id, 0, u64::MAX >> 1)?.into_iter().map(|(_, commit)| commit));
        for head in self.state.heads(&open.row.id)? {
            shown.insert(head.commit);
            for seen in self.state.seen(&open.row.id, &head.signer)? {
                shown.extend(Head::open(&seen.document, &head.signer).ok().map(|(head, _)| head.commit));
            }
        }
        Ok(shown)
    }

    fn mirror_commit(
        &self,
        open: &OpenScope,
        known: &Known,
        parents: &[CommitId],
        mirror: &mut Mirror,
    ) -> Result<u64, Error> {
        let mut base = None;
        for parent in parents {
            if let Some(before) = self.state.commit(&open.row.id, parent)?
                && self.holds_trees(&before.commit)?
            {
                base = Some(before);
                break;
            }
        }
        let (mut files, mut withdrawn) = (Vec::<File>::new(), BTreeMap::new());
        let before = base.as_ref().map(|base| &base.commit);
        self.each_difference(open, before, &known.commit, &mut |dataset, key, bytes| {
            if !withdrawn.contains_key(dataset) {
                withdrawn.insert(dataset.clone(), self.state.withdrawn(&open.row.id, &dataset.base())?);
            }
            // What we took back is in no history that is written from then on, though our own trees have it.
            let bytes = bytes.filter(|_| !withdrawn[dataset].contains(key));
            let record = bytes.map(|bytes| decode_record(bytes, &open.row.origin, dataset, key)).transpose()?;
            // Keys begin with the time: their ends spread evenly.
            let key = key.to_string();
            let place = [dataset.to_string(), key[key.len() - 2..].to_owned(), format!("{key}.yaml")];
            files.push((place, record.as_ref().map(text::file)));
            Ok(())
        })?;
        let count = files.len() as u64;
        let (kind, author, address, time) = match &known.commit.making {
            Making::Capture { author, time, .. } => ("capture", author.short(), address_of(author), Some(*time)),
            Making::Merge(_) => ("merge", "merge".to_owned(), "merge@wbsync.invalid".to_owned(), None),
        };
        let message = format!("{kind} {}\n\nWbsync-Commit: {}", known.id.short(), known.id);
        let said = Said { author, address, time, message };
        let base = base.map(|base| base.id);
        mirror.add(known.id, &said, parents, base.as_ref(), files).map_err(|source| Error::Mirror { source })?;
        Ok(count)
    }

    /// Returns the branch of a scope: its origin's name and its own, spelled as git allows.
    fn branch_of(&self, open: &OpenScope) -> Result<String, Error> {
        let origin = match open.row.origin == self.id() {
            true => self.card.card.name.to_string(),
            false => self.instance_label(&open.row.origin)?,
        };
        let spelled = |text: &str| text.replace(':', "=").replace(',', "+");
        Ok(format!("{}/{}", spelled(&origin), spelled(open.row.name.as_str())))
    }

    /// Returns what the instances that we know are called, by their addresses.
    fn names(&self) -> Result<BTreeMap<String, String>, Error> {
        let mut names = BTreeMap::from([(address_of(&self.id()), self.card.card.name.to_string())]);
        names.extend(self.state.peers()?.into_iter().map(|peer| (address_of(&peer.id), peer.name.to_string())));
        Ok(names)
    }
}

fn address_of(instance: &crate::id::bytes::InstanceId) -> String {
    format!("{instance}@wbsync.invalid")
}
