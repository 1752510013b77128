//! Stores that lie: they lose, forget, withhold and alter what they were given.

use std::fs;

use super::town::Town;
use super::world::{Saved, files_under};

impl Town {
    /// A store is remembered, and later tells what was true then; or a file of it is lost, cut, or altered.
    pub fn lie(&mut self) {
        let which = self.random.below(self.places.len() as u64) as usize;
        let dir = self.places[which].dir.path().to_path_buf();
        let chance = self.random.below(5);
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
            _ if bytes.is_empty() => {}
            _ => {
                self.tell(0, &format!("store {which} alters {file}"));
                let at = self.random.below(bytes.len() as u64) as usize;
                bytes[at] ^= 1 << self.random.below(8);
                fs::write(&path, bytes).unwrap();
            }
        }
    }
}
