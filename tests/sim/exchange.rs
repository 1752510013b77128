//! How instances exchange: through stores, by bundles, and after a backup was put back.

use std::collections::BTreeSet;
use std::fs;

use wbsync::record::value::Value;
use wbsync::sync::bundle::BundleOptions;
use wbsync::sync::commit::Mode;
use wbsync::sync::instance::Purpose;
use wbsync::sync::restore::RestoreOptions;

use super::model::{At, Model, text_of, whole_of};
use super::rig::Fault;
use super::town::{Carried, Town, Weather};

impl Town {
    /// Notes which texts are committed, by what a site holds.
    pub fn note_committed(&mut self, at: At) {
        self.model.note_commits(self.players[at].site.look().state.all_commits().unwrap());
        for (scope, id, record) in self.players[at].site.records() {
            self.model.note_writes(&scope, &id, &record);
            let id = whole_of(&id);
            let parent = record.elements().find_map(|(field, element)| match &element.value {
                Value::Ref(parent) if field.as_str() == "request" => Some(format!("{}/{}", parent.dataset, parent.key)),
                _ => None,
            });
            for text in record.elements().filter_map(|(_, element)| text_of(&element.value)) {
                if self.model.author.contains_key(text) {
                    self.model.committed.insert(text.clone(), (id.clone(), parent.clone()));
                }
            }
        }
    }

    pub fn exchange(&mut self, at: At) {
        if self.players[at].is_behind {
            return self.restore(at);
        }
        self.maybe_trouble();
        self.outcome.exchanges += 1;
        let remotes = self.remotes(at);
        let remotes: Vec<_> = remotes.iter().filter(|_| self.random.chance(750)).cloned().collect();
        let Some(first) = remotes.first() else {
            // Nothing is done, so nothing goes wrong: it isn't kept for what comes next.
            self.machine.restart();
            return;
        };
        self.maybe_busy();
        let done = match self.random.below(6) {
            0 => {
                self.tell(at, "commit");
                self.with(at, |instance| Ok(format!("{:?}", instance.commit(Mode::Keep)?)))
            }
            1 => {
                self.tell(at, &format!("fetch {first}"));
                self.with(at, |instance| Ok(format!("{:?}", instance.fetch(first)?)))
            }
            2 => {
                self.tell(at, &format!("push {first}"));
                self.with(at, |instance| Ok(format!("{:?}", instance.push(first)?)))
            }
            3 => {
                self.tell(at, &format!("pull {remotes:?}"));
                self.with(at, |instance| Ok(format!("{:?}", instance.pull(&remotes)?)))
            }
            _ => {
                self.tell(at, &format!("sync {remotes:?}"));
                self.with(at, |instance| Ok(format!("{:?}", instance.sync(&remotes)?)))
            }
        };
        if let Some(Ok(done)) = done {
            self.tell(at, &format!("  {done}"));
            self.note_committed(at);
        }
    }

    /// Writes a little and sends it, again and again: so often that deltas are folded.
    pub fn send_often(&mut self, at: At) {
        if self.players[at].is_behind {
            return self.restore(at);
        }
        let Some(remote) = self.remotes(at).first().cloned() else { return };
        self.tell(at, &format!("sends often to {remote}"));
        for _ in 0..10 {
            self.desk(at).insert_request("public");
            self.maybe_trouble();
            self.outcome.exchanges += 1;
            let done = self.with(at, |instance| {
                instance.commit(Mode::Keep)?;
                Ok(format!("{:?}", instance.push(&remote)?))
            });
            if let Some(Ok(done)) = done {
                self.tell(at, &format!("  {done}"));
                self.note_committed(at);
            }
        }
    }

    /// Sometimes the disk fails in what comes next, or the process ends, or the network is bad.
    pub fn maybe_trouble(&mut self) {
        if self.is_calm {
            return;
        }
        if self.random.chance(200) {
            let fault = [Fault::Kill, Fault::PowerCut, Fault::PowerCut, Fault::Full][self.random.below(4) as usize];
            self.outcome.cuts += 1;
            let bound = self.random.below(3);
            let calls = self.random.below([15, 120, 500][bound as usize]);
            self.machine.fail_after(calls, fault);
        }
        if self.random.chance(200) {
            let per_mille = [30, 100, 300][self.random.below(3) as usize];
            self.machine.disturb(per_mille, self.random.bits());
        }
    }

    /// Sometimes people type while the next command is at work.
    fn maybe_busy(&mut self) {
        if !self.is_calm && self.random.chance(250) {
            self.busy = Some([100, 300, 700][self.random.below(3) as usize]);
        }
    }

    pub fn pack(&mut self, at: At) {
        let to = self.anybody();
        // What went out by stick alone can't be asked back for: docs/restore.md.
        if to == at || self.weather == Weather::Restores {
            return;
        }
        self.maybe_trouble();
        self.outcome.bundles += 1;
        let options = BundleOptions { peers: vec![self.name(to).into()], ..BundleOptions::default() };
        let number = self.outcome.bundles;
        let dir = self.drawer.path().to_path_buf();
        self.tell(at, &format!("bundle {number} for {}", self.name(to)));
        self.maybe_busy();
        let packed = self.with(at, |instance| {
            let packing = instance.bundle_pack(&options, Mode::Keep)?;
            let mut files = Vec::new();
            for part in 0..packing.indexes.len() {
                let path = dir.join(format!("{number}.{part}"));
                instance.bundle_write(&packing, part, &mut fs::File::create(&path).unwrap())?;
                files.push(path);
            }
            Ok(files)
        });
        if let Some(Ok(files)) = packed {
            self.note_committed(at);
            self.carried.push(Carried { to, files });
        }
    }

    /// A bundle arrives and stays in the drawer, to arrive again; or is lost, or arrives damaged.
    pub fn receive(&mut self) {
        if self.carried.is_empty() {
            return;
        }
        let which = self.random.below(self.carried.len() as u64) as usize;
        let (to, mut files) = (self.carried[which].to, self.carried[which].files.clone());
        match self.random.below(5) {
            0 => {
                self.carried.swap_remove(which);
                return;
            }
            1 => {
                let mut bytes = fs::read(&files[0]).unwrap();
                let at = self.random.below(bytes.len() as u64) as usize;
                bytes[at] ^= 1 << self.random.below(8);
                let damaged = self.drawer.path().join("damaged");
                fs::write(&damaged, bytes).unwrap();
                files[0] = damaged;
                let before = self.players[to].site.heads();
                self.tell(to, "a damaged bundle");
                let applied = self.with(to, |instance| instance.bundle_apply(&files, Mode::Keep).map(drop));
                assert!(!matches!(applied, Some(Ok(()))), "{} took a damaged bundle", self.name(to));
                assert_eq!(self.players[to].site.heads(), before, "a damaged bundle moved heads");
                return;
            }
            _ => {}
        }
        self.maybe_trouble();
        self.tell(to, &format!("apply {:?}", files[0].file_name().unwrap()));
        self.maybe_busy();
        let applied = self.with(to, |instance| Ok(format!("{:?}", instance.bundle_apply(&files, Mode::Keep)?)));
        if let Some(Ok(applied)) = applied {
            self.tell(to, &format!("  {applied}"));
            self.note_committed(to);
        }
    }

    pub fn back_up_or_restore(&mut self, at: At) {
        let Some(backup) = self.players[at].backup.take() else {
            self.tell(at, "a backup");
            self.players[at].backup = Some(self.players[at].site.save());
            return;
        };
        self.tell(at, "put back from the backup");
        self.outcome.restores += 1;
        self.players[at].site.restore(&backup);
        self.players[at].marks.clear();
        // What only it held is gone, as people know who restore a backup.
        let others: Vec<At> = self.sites().filter(|other| *other != at).collect();
        let mut known = BTreeSet::new();
        for other in others {
            known.extend(self.texts_held(other));
        }
        let author = self.model.author.clone();
        self.model.committed.retain(|text, _| author[text] != at || known.contains(text));
        self.restore(at);
    }

    /// Runs `restore`. It stays behind if no store could be asked: then it does nothing else.
    pub fn restore(&mut self, at: At) {
        self.players[at].is_behind = true;
        self.maybe_trouble();
        // Where nobody has ever sent anything there is nobody to ask, and people say so.
        let stores = &self.players[at].stores;
        let without_remotes = stores.iter().all(|store| !self.places[*store].store().exists());
        let options = RestoreOptions { without_remotes, ..RestoreOptions::default() };
        let restored = self.with_mut(at, Purpose::Restore, |instance| instance.restore(&options, Mode::Keep));
        if let Some(Ok(summary)) = restored {
            self.tell(at, &format!("  restores: {summary:?}"));
            self.players[at].is_behind = !summary.pushed.failed.is_empty();
        }
    }

    /// The texts of the records that a site holds.
    pub fn texts_held(&self, at: At) -> BTreeSet<String> {
        let records = self.players[at].site.records();
        Model::find(format!("{:?}", records.iter().map(|(_, _, record)| record).collect::<Vec<_>>()).as_bytes())
    }
}
