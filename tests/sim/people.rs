//! What people decide: whom they trust, who is in a group, what gets a new key, and what they let go of.

use wbsync::exchange::garbage::Collect;
use wbsync::id::name::DatasetName;
use wbsync::scope::manifest::draft::Since;
use wbsync::state::peers::Trust;
use wbsync::sync::commit::Mode;
use wbsync::sync::gc::gc_store;
use wbsync::sync::prune::{OldRecords, PruneOptions};
use wbsync::sync::rotate::Resealing;
use wbsync::sys::clock::{self, UnixMillis};
use wbsync::transport::url::{Access, RemoteUrl};

use super::model::At;
use super::town::{GROUP, GROUP_SCOPE, Town};

impl Town {
    /// Somebody is trusted, trusted no more, or revoked; joins a group or leaves it.
    pub fn change_trust(&mut self, at: At) {
        let peer = self.anybody();
        if peer == at || self.players[at].revoked.contains(&peer) {
            return;
        }
        let name = self.name(peer);
        let (reads, is_member) = {
            let player = &self.players[at];
            (player.readers.contains(&peer), player.group.as_ref().map(|group| group.contains(&peer)))
        };
        let lost = |scope| self.players[at].lost.contains(&(peer, scope));
        match self.random.below(5) {
            0 | 1 if !reads && !lost("trusted") => {
                self.tell(at, &format!("trust {name}"));
                self.admit(at, peer, "trusted");
                self.players[at].readers.insert(peer);
                self.insist(at, |instance| {
                    instance.peer_trust_since(name, Trust::Trusted, Since::Beginning, Mode::Keep)
                });
            }
            0 | 1 if reads => {
                self.tell(at, &format!("untrust {name}"));
                self.outcome.revoked += 1;
                self.note_audiences(at);
                self.insist(at, |instance| instance.peer_untrust(name, Mode::Keep));
                let player = &mut self.players[at];
                player.readers.remove(&peer);
                player.writers.remove(&peer);
                player.lost.insert((peer, "trusted"));
            }
            2 if is_member == Some(false) && !lost(GROUP_SCOPE) => self.join_group(at, peer),
            2 | 3 if is_member == Some(true) => {
                self.tell(at, &format!("{name} leaves the group"));
                self.outcome.revoked += 1;
                self.note_audiences(at);
                self.insist(at, |instance| instance.group_remove(GROUP, name, Mode::Keep));
                let player = &mut self.players[at];
                player.group.as_mut().unwrap().remove(&peer);
                player.lost.insert((peer, GROUP_SCOPE));
            }
            4 if self.outcome.revoked < 3 => self.revoke(at, peer),
            _ => {}
        }
    }

    fn revoke(&mut self, at: At, peer: At) {
        let name = self.name(peer);
        self.tell(at, &format!("revoke {name}"));
        self.outcome.revoked += 1;
        self.note_audiences(at);
        self.insist(at, |instance| instance.peer_revoke(name, Mode::Keep));
        let player = &mut self.players[at];
        player.readers.remove(&peer);
        player.writers.remove(&peer);
        if let Some(group) = &mut player.group {
            group.remove(&peer);
        }
        player.revoked.insert(peer);
    }

    /// A scope gets a new key; sometimes everything is sealed anew.
    pub fn rotate(&mut self, at: At) {
        let scope = if self.players[at].group.is_some() && self.random.chance(400) { GROUP_SCOPE } else { "trusted" };
        let resealing = if self.random.chance(500) { Resealing::AtNextPush } else { Resealing::Never };
        self.tell(at, &format!("rotate {scope}, {resealing:?}"));
        self.maybe_trouble();
        self.outcome.rotations += 1;
        self.with(at, |instance| instance.scope_rotate(scope, resealing, Mode::Keep).map(drop));
    }

    /// Rows of others, and history, go at one site, up to now or some days ago.
    pub fn prune(&mut self, at: At) {
        // It commits first, and what is committed by whoever doesn't know what it had published is another record.
        if self.players[at].is_behind {
            return;
        }
        let back = self.random.below(3) * self.random.below(5) * 86_400_000;
        let dataset = self.random.pick(&["", "", "comments", "requests"]);
        let datasets = Some(dataset).filter(|name| !name.is_empty()).map(|name| DatasetName::new(name).unwrap());
        let from = self.anybody();
        let from = (from != at && self.random.chance(400)).then(|| self.name(from).to_owned());
        let silent = self.anybody();
        let without = (silent != at && self.random.chance(300)).then(|| self.name(silent).to_owned());
        let (history, records) = (self.random.chance(500), self.random.chance(750));
        self.tell(at, &format!("prune {dataset} of {from:?}, {history}, {records}, {} days back", back / 86_400_000));
        self.maybe_trouble();
        self.outcome.prunes += 1;
        let pruned = self.with(at, |instance| {
            let before = UnixMillis(clock::now().0 - back);
            let options = PruneOptions {
                history_before: history.then_some(before),
                without: without.into_iter().collect(),
                records: records.then(|| OldRecords { before, datasets: datasets.into_iter().collect(), from }),
            };
            instance.prune(&options, Mode::Keep)
        });
        if let Some(Ok(pruned)) = pruned {
            self.tell(at, &format!("  {pruned:?}"));
            self.note_committed(at);
        }
    }

    /// What was pruned is wanted again.
    pub fn undo_prune(&mut self, at: At) {
        // Nothing but `restore` runs before that is done.
        if self.players[at].is_behind {
            return;
        }
        self.tell(at, "undo prune");
        let done = self.with(at, |instance| instance.undo_prune(&[], None, Mode::Keep));
        done.unwrap().unwrap();
    }

    /// A site, or whoever keeps a store, removes what nothing needs.
    pub fn clean(&mut self, at: At) {
        if self.random.chance(500) {
            self.tell(at, "gc");
            self.maybe_trouble();
            let cleared = self.with(at, |instance| instance.gc(0, Collect::Remove));
            if let Some(Ok(cleared)) = cleared {
                self.outcome.collected += cleared.store.collected.removed;
            }
            return;
        }
        let which = self.random.below(self.places.len() as u64) as usize;
        let store = self.places[which].store();
        if store.join("format").exists() {
            self.machine.set_clock(1_770_000_000_000 + self.minutes * 60_000);
            let url = RemoteUrl::Directory(store);
            // One that lies may have nothing that can be read.
            let cleared = gc_store(&url, Access::default(), 0, Collect::Remove);
            self.machine.restart();
            self.tell(0, &format!("gc of store {which}: {:?}", cleared.as_ref().ok().map(|cleared| cleared.collected)));
            assert!(cleared.is_ok() || self.places[which].lies, "gc of store {which}: {cleared:?}");
            self.outcome.collected += cleared.map_or(0, |cleared| cleared.collected.removed);
        }
    }

    /// Time passes.
    pub fn rest(&mut self) {
        let days = 1 + self.random.below(5);
        self.tell(0, &format!("{days} days pass"));
        self.minutes += days * 1440;
    }
}
