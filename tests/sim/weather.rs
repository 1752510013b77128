//! Stores that lie: they lose, forget, withhold and alter what they were given, and show some people something else.

use std::fs;
use std::os::unix::fs::symlink;

use wbsync::transport::dir::DirStore;

use super::town::Town;
use super::world::{Saved, copy_tree, files_under};

impl Town {
    /// A store is remembered, and later tells what was true then; or a file of it is lost, cut, altered, or as it was then; or
    /// the store shows two groups of people two histories.
    pub fn lie(&mut self) {
        let which = self.random.below(self.places.len() as u64) as usize;
        let dir = self.places[which].store();
        let chance = self.random.below(8);
        // Nobody has sent anything there yet.
        if !dir.exists() {
            return;
        }
        if chance == 0 || self.places[which].old.is_none() {
            self.places[which].old = Some(Saved::of(&dir));
            return;
        }
        self.outcome.lies += 1;
        self.places[which].lies = true;
        let files = files_under(&dir);
        if chance == 1 || files.is_empty() {
            self.tell(0, &format!("store {which} tells what it told before"));
            let old = self.places[which].old.take().unwrap();
            old.restore(&dir);
            self.places[which].old = Some(old);
            return;
        }
        if chance >= 6 {
            return self.split(which);
        }
        let file = &files[self.random.below(files.len() as u64) as usize];
        let path = dir.join(file);
        let mut bytes = fs::read(&path).unwrap();
        match chance {
            2 => {
                self.tell(0, &format!("store {which} withholds {file}"));
                fs::remove_file(&path).unwrap();
            }
            3 => {
                self.tell(0, &format!("store {which} cuts {file}"));
                let at = self.random.below(bytes.len().max(1) as u64) as usize;
                bytes.truncate(at);
                fs::write(&path, bytes).unwrap();
            }
            4 => {
                let old = self.places[which].old.as_ref().unwrap();
                if let Ok(bytes) = fs::read(old.path().join(file)) {
                    self.tell(0, &format!("store {which} has {file} as it was before"));
                    fs::write(&path, bytes).unwrap();
                }
            }
            _ if bytes.is_empty() => {}
            _ => {
                self.tell(0, &format!("store {which} alters {file}"));
                let at = self.random.below(bytes.len() as u64) as usize;
                bytes[at] ^= 1 << self.random.below(8);
                fs::write(&path, bytes).unwrap();
            }
        }
    }

    /// A store shows some people what it takes from them alone, until it shows everybody the same again.
    fn split(&mut self, which: usize) {
        let other = self.places[which].other_store();
        let was_split = other.exists();
        if was_split {
            fs::remove_dir_all(&other).unwrap();
        } else {
            copy_tree(&self.places[which].store(), &other);
        }
        let mut there = Vec::new();
        for at in self.sites() {
            if self.players[at].stores.contains(&which) && !was_split && self.random.chance(500) {
                there.push(at);
            }
            self.show(which, at, if there.contains(&at) { "wb2" } else { "wb" });
        }
        self.tell(0, &format!("store {which} shows {there:?} something else"));
    }

    fn show(&self, which: usize, at: usize, store: &str) {
        let face = self.places[which].face(self.name(at));
        if fs::symlink_metadata(&face).is_ok() {
            fs::remove_file(&face).unwrap();
            symlink(store, &face).unwrap();
        }
    }

    /// Stores that lied begin anew.
    pub fn end_lies(&mut self) {
        for which in (0..self.places.len()).filter(|which| self.places[*which].lies).collect::<Vec<_>>() {
            self.tell(0, &format!("store {which} begins anew"));
            // An empty store: a directory that isn't there is a stick that nobody put in.
            let dir = self.places[which].store();
            let _ = fs::remove_dir_all(&dir);
            let _ = fs::remove_dir_all(self.places[which].other_store());
            DirStore::create(&dir).unwrap();
            for at in self.sites() {
                self.show(which, at, "wb");
            }
        }
    }
}
