//! Who vouches for the words in a head: no signer can speak for another, nor take back what it said itself.
//!
//! A stamp that isn't the signer's own must come from a head that its author signed. The author's newest
//! head shows the write unless the author has replaced it since; earlier states that we hold may show it
//! then. What cannot be checked here and now is not refused but waits: the author, the scope's origin, or
//! a later head of the signer will settle it.

use std::cell::RefCell;
use std::collections::BTreeMap;

use super::commit::decode_record;
use super::error::Error;
use super::ingest::{Building, HINT_TWO, Step, Stop, Writes, refuse};
use super::instance::Instance;
use super::refusal::Refusal;
use super::scopes::OpenScope;
use crate::history::commit::Commit;
use crate::history::join::Known;
use crate::id::bytes::InstanceId;
use crate::id::name::{DatasetName, FieldName};
use crate::record::cell::{Element, Record};
use crate::record::codec;
use crate::record::stamp::Stamp;
use crate::tree::error::TreeError;
use crate::tree::get::get;

/// The states in which words are looked up.
pub(super) struct Vouchers<'a> {
    instance: &'a Instance,
    scope: &'a OpenScope,
    writes: &'a Writes,
    /// Whether anything is checked at all.
    checks: bool,
    /// What signers signed in heads that aren't tracked yet.
    believed: BTreeMap<InstanceId, Commit>,
    /// The newest tracked commit of each author.
    tips: RefCell<BTreeMap<InstanceId, Option<Commit>>>,
    /// The commits of the scope that we hold, read when first needed.
    history: RefCell<Option<Vec<Commit>>>,
}

/// What a state says of a write.
enum Finding {
    /// It was made, with this very value, in the place of the same one.
    True,
    /// It was made with another value, or in the place of another.
    False,
    /// The state has the record without the write.
    Replaced,
    /// The state has no such record.
    Absent,
}

/// What all states that we hold say of a write.
enum Memory {
    /// One shows it, with this very value.
    True,
    /// One shows it with another value.
    False,
    /// None shows it.
    Nothing,
    /// None shows it, but some states can't be looked into.
    Gaps,
}

impl<'a> Vouchers<'a> {
    pub(super) fn new(instance: &'a Instance, scope: &'a OpenScope, writes: &'a Writes) -> Self {
        let (believed, tips, history) = Default::default();
        Self { instance, scope, writes, checks: true, believed, tips, history }
    }

    /// Checks nothing: to find out what a signer signed, whether it may or not.
    pub(super) fn nobody(instance: &'a Instance, scope: &'a OpenScope, writes: &'a Writes) -> Self {
        Self { checks: false, ..Self::new(instance, scope, writes) }
    }

    /// Takes a commit as what `signer` signed.
    pub(super) fn believe(&mut self, signer: InstanceId, commit: Commit) {
        self.believed.insert(signer, commit);
    }

    /// Returns the newest commit of an author that we track: of ourselves the local head.
    fn tip(&self, author: &InstanceId) -> Result<Option<Commit>, Error> {
        if let Some(tip) = self.tips.borrow().get(author) {
            return Ok(tip.clone());
        }
        let (state, scope) = (&self.instance.state, &self.scope.row.id);
        let id = if *author == self.instance.id() {
            self.instance.scope_row(scope)?.local_head
        } else {
            state.head(scope, author)?.map(|head| head.commit)
        };
        let tip = id.map(|id| state.commit(scope, &id)).transpose()?.flatten().map(|known| known.commit);
        self.tips.borrow_mut().insert(*author, tip.clone());
        Ok(tip)
    }
}

impl Building<'_> {
    /// Tells whether a word of a record is to be looked for: others than those that the signer said since the state that it
    /// builds on.
    pub(super) fn has_old_words(&self, record: &Record) -> bool {
        self.vouchers.checks && !record.elements().all(|(_, element)| self.is_news(&element.stamp))
    }

    fn is_news(&self, stamp: &Stamp) -> bool {
        let said_before = || self.start.as_ref().is_some_and(|start| start.clock.covers(stamp));
        stamp.author == self.head.signer && !said_before()
    }

    /// Checks every word of a record that the head carries; `before` is the record in the state that it builds on.
    pub(super) fn check_stamps(
        &self,
        dataset: &DatasetName,
        key: &[u8],
        record: &Record,
        before: Option<&Record>,
    ) -> Step<()> {
        if !self.has_old_words(record) {
            return Ok(());
        }
        let signer = self.head.signer;
        for (field, element) in record.elements().filter(|(_, element)| !self.is_news(&element.stamp)) {
            match find(before, field, element) {
                Finding::True => continue,
                Finding::False if element.stamp.author == signer => {
                    return refuse("it changes its own words under an earlier stamp");
                }
                Finding::False => return self.usurped(&element.stamp.author),
                Finding::Replaced | Finding::Absent => {}
            }
            if element.stamp.author != signer {
                self.check_foreign(dataset, key, field, element, record)?;
            }
        }
        Ok(())
    }

    /// Compares with the newest head of the same signer before, if what came wasn't built on it: a signer's line only grows, so that
    /// a word of before is there as it was, or replaced. Reads what differs between the two.
    pub(super) fn check_own_words(&self, seq: u64, before: &Known, commit: &Commit) -> Step<()> {
        let instance = self.instance;
        let is_built_on = self.start.as_ref() == Some(&before.commit);
        if !self.vouchers.checks || is_built_on || !instance.holds_trees(&before.commit).map_err(Stop::Fail)? {
            return Ok(());
        }
        let mut changed = false;
        let differences =
            instance.each_difference(self.scope, Some(&before.commit), commit, &mut |dataset, key, bytes| {
                let Some(bytes) = bytes else { return Ok(()) };
                let record = decode_record(bytes, &self.scope.row.origin, dataset, key)?;
                let held = instance.record_at(self.scope, before, dataset, key)?;
                let is_old = |stamp: &Stamp| stamp.author == self.head.signer && before.commit.clock.covers(stamp);
                let mut old = record.elements().filter(|(_, element)| is_old(&element.stamp));
                changed |= old.any(|(field, element)| matches!(find(held.as_ref(), field, element), Finding::False));
                Ok(())
            });
        differences.map_err(Stop::Fail)?;
        if !changed {
            return Ok(());
        }
        let next = seq + 1;
        let reason = format!(
            "it changes words that its signer signed in head {seq}, and so may have signed two histories: head {seq} or {next} of \
             the other one would prove it, and whoever has it tells with a receipt"
        );
        Err(Stop::Refuse(Refusal::because("", reason, HINT_TWO)))
    }

    /// Looks for a word of another author that the state before doesn't have.
    fn check_foreign(
        &self,
        dataset: &DatasetName,
        key: &[u8],
        field: &FieldName,
        element: &Element,
        record: &Record,
    ) -> Step<()> {
        let stamp = &element.stamp;
        let author = stamp.author;
        let tip = self.vouchers.tip(&author).map_err(Stop::Fail)?;
        let mut replaced_since = false;
        for state in tip.iter().chain(self.vouchers.believed.get(&author)) {
            match find(self.lookup(state, dataset, key)?.as_ref(), field, element) {
                Finding::True => return Ok(()),
                Finding::False => return self.usurped(&author),
                Finding::Replaced => replaced_since |= state.clock.covers(stamp) && tip.as_ref() == Some(state),
                Finding::Absent => {}
            }
        }
        let signed = self.vouchers.writes.get(&author).copied().unwrap_or((0, 0));
        if (stamp.incarnation, stamp.sequence) > signed {
            return self.usurped(&author);
        }
        let contains_tip = |tip: &Commit| {
            self.commits
                .get(&self.head.commit)
                .is_some_and(|bytes| Commit::decode(bytes).is_ok_and(|commit| commit.clock.contains(&tip.clock)))
        };
        if replaced_since && tip.as_ref().is_some_and(contains_tip) {
            // Whoever has seen the author's newest state has seen the write replaced.
            return self.usurped(&author);
        }
        let memory = match author == self.vouchers.instance.id() || self.head.signer != self.scope.row.origin {
            true => self.remembered(dataset, key, field, element)?,
            false => Memory::Gaps,
        };
        match memory {
            Memory::True => return Ok(()),
            Memory::False => return self.usurped(&author),
            // All that we ever wrote is here, unless a backup took some of it back; how much, a restore finds out.
            Memory::Nothing
                if author == self.vouchers.instance.id()
                    && !self.vouchers.instance.is_restoring()
                    && self.vouchers.instance.remembers(stamp.incarnation).map_err(Stop::Fail)? =>
            {
                return self.usurped(&author);
            }
            Memory::Nothing | Memory::Gaps => {}
        }
        // The author has replaced the write; the next merge with the author's head drops it, true or not.
        // The origin merges everybody's words, also those of authors whose trees have moved on since.
        if replaced_since || self.head.signer == self.scope.row.origin {
            return Ok(());
        }
        // A deleted record comes back only with an edit that the deletion hadn't seen.
        let edited =
            |record: &Record, start: &Commit| record.elements().any(|(_, other)| !start.clock.covers(&other.stamp));
        let comes_back = self.start.as_ref().is_none_or(|start| !start.clock.covers(stamp) || edited(record, start));
        if !comes_back {
            return self.usurped(&author);
        }
        let is_former = self.scope.manifest.former.binary_search(&author).is_ok();
        let author = self.instance.instance_label(&author).map_err(Stop::Fail)?;
        Err(Stop::Hold(match is_former {
            true => format!(
                "it carries words of {author}, who may write here no more, that no head here shows; its signer writes them \
                 again as its own when it next exchanges"
            ),
            false => format!("it carries words of {author} that no head here shows"),
        }))
    }

    /// Looks for a write in every state of the scope that we ever held.
    fn remembered(&self, dataset: &DatasetName, key: &[u8], field: &FieldName, element: &Element) -> Step<Memory> {
        let vouchers = &self.vouchers;
        if vouchers.history.borrow().is_none() {
            let commits = vouchers.instance.state.commits(&self.scope.row.id, HISTORY_MAX);
            *vouchers.history.borrow_mut() = Some(commits.map_err(|error| Stop::Fail(error.into()))?);
        }
        let history = vouchers.history.borrow();
        let history = history.as_deref().unwrap_or_default();
        let mut memory = if history.len() == HISTORY_MAX { Memory::Gaps } else { Memory::Nothing };
        for commit in history.iter().filter(|commit| commit.clock.covers(&element.stamp)) {
            if !vouchers.instance.holds_trees(commit).map_err(Stop::Fail)? {
                memory = Memory::Gaps;
                continue;
            }
            match find(self.lookup(commit, dataset, key)?.as_ref(), field, element) {
                Finding::True => return Ok(Memory::True),
                Finding::False => return Ok(Memory::False),
                Finding::Replaced | Finding::Absent => {}
            }
        }
        Ok(memory)
    }

    fn usurped<T>(&self, author: &InstanceId) -> Step<T> {
        let author = self.instance.instance_label(author).map_err(Stop::Fail)?;
        // Nobody can tell the two apart but the author.
        let hint = format!(
            "ask {author}'s owner: was a backup put back there? Then these may be words that left it by stick alone, and \
             `wbsync restore` takes them back from a store of the peer that has them (docs/restore.md). If not, do not trust \
             this peer before you know how it came to sign this"
        );
        let reason = format!("it puts words under the stamp of {author}, who never signed them");
        Err(Stop::Refuse(Refusal::because("", reason, &hint)))
    }

    /// Reads a record of a state; `None` also if the state's tree isn't here.
    pub(super) fn lookup(&self, commit: &Commit, dataset: &DatasetName, key: &[u8]) -> Step<Option<Record>> {
        let found = get(&self.instance.state, &self.scope.row.id_key, &commit.root(dataset), key);
        let found = match found {
            Err(TreeError::Missing { .. }) => None,
            other => other.map_err(|error| self.tree(error))?,
        };
        let Some(bytes) = found else { return Ok(None) };
        let record = codec::decode(&bytes, &self.scope.row.origin)
            .map_err(|source| Stop::Fail(Error::Record { record: dataset.to_string(), source }))?;
        Ok(Some(record))
    }
}

fn find(record: Option<&Record>, field: &FieldName, element: &Element) -> Finding {
    let Some(record) = record else { return Finding::Absent };
    let write = |stamp: &Stamp| (stamp.author, stamp.incarnation, stamp.sequence);
    let elements = record.cells.get(field).map_or(&[][..], |cell| cell.elements());
    match elements.iter().find(|held| write(&held.stamp) == write(&element.stamp)) {
        Some(held) if held.says_as(element) => Finding::True,
        Some(_) => Finding::False,
        None => Finding::Replaced,
    }
}

/// How many earlier states are looked through for one head at most.
const HISTORY_MAX: usize = 10_000;
