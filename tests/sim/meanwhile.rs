//! People who type while a command is at work: before and after each of its phases, so that captures find what others captured
//! before all rows show the merge, and rows change after they were read and before they are written.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use wbsync::sync::progress::{Event, Watcher};
use wbsync::sys::rig;
use wbsync::testing::prng::Prng;

use super::check::{Shown, shown_rows};
use super::deeds::{Desk, Held, Rights};
use super::model::{At, Model};
use super::rig::Machine;
use super::town::Town;
use super::world::Site;

/// The most that is typed under one command: one that finds new changes again and again gives up.
const DEEDS_MAX: u32 = 6;

/// Somebody at a site where a command is at work.
pub struct Meanwhile(Rc<Inner>);

struct Inner {
    site: Rc<Site>,
    rights: Rights,
    machine: Arc<Machine>,
    tells: bool,
    per_mille: u64,
    now: RefCell<Now>,
}

struct Now {
    model: Model,
    random: Prng,
    /// What the site held before the command: what rows show until some were written.
    before: Vec<Held>,
    /// What the rows said after each that was typed.
    shown: Vec<Vec<Shown>>,
    is_writing: bool,
    have_written: bool,
    deeds: u32,
}

impl Meanwhile {
    /// Takes the model along until `end`.
    pub fn begin(town: &mut Town, at: At, per_mille: u64) -> Self {
        let site = Rc::clone(&town.players[at].site);
        // What the simulation looks at isn't on the account of the command, nor is what people do.
        rig::install(None);
        let sql = "SELECT count(target) FROM _wbsync_position";
        let is_unfinished = site.app.db().query_row(sql, [], |row| row.get::<_, i64>(0)).is_ok_and(|count| count > 0);
        let now = Now {
            model: std::mem::take(&mut town.model),
            random: Prng::new(town.random.bits()),
            before: site.records(),
            shown: Vec::new(),
            is_writing: false,
            have_written: is_unfinished,
            deeds: 0,
        };
        rig::install(Some(town.machine.clone()));
        let (rights, machine, tells) = (town.rights(at), Arc::clone(&town.machine), town.tells);
        Self(Rc::new(Inner { site, rights, machine, tells, per_mille, now: RefCell::new(now) }))
    }

    pub fn watcher(&self) -> Watcher {
        let inner = Rc::clone(&self.0);
        Box::new(move |event| inner.see(event))
    }

    /// Gives the model back, with what was typed.
    pub fn end(self, town: &mut Town) {
        let mut now = self.0.now.borrow_mut();
        town.model = std::mem::take(&mut now.model);
        town.outcome.meanwhile += u64::from(now.deeds);
        for rows in std::mem::take(&mut now.shown) {
            town.note_shown(self.0.rights.at, rows);
        }
    }
}

impl Inner {
    fn see(&self, event: Event<'_>) {
        let mut now = self.now.borrow_mut();
        match event {
            Event::Done(_) => return,
            Event::Phase { name, .. } => now.is_writing = name == "writing rows",
            Event::End => now.have_written |= std::mem::take(&mut now.is_writing),
        }
        if now.deeds == DEEDS_MAX || !now.random.chance(self.per_mille) || !self.machine.is_on() || !self.is_free() {
            return;
        }
        now.deeds += 1;
        rig::install(None);
        let Now { model, random, before, shown, have_written, .. } = &mut *now;
        shown.push(shown_rows(&self.site.app));
        if self.tells {
            println!("{}: while {event:?}:", self.site.name);
        }
        let before = (!*have_written).then_some(before.as_slice());
        let rights = self.rights.clone();
        Desk { site: &self.site, rights, model, random, tells: self.tells, before }.type_something();
        shown.push(shown_rows(&self.site.app));
        rig::install(Some(self.machine.clone()));
    }

    /// Tells whether the application needn't wait for the command just now.
    fn is_free(&self) -> bool {
        let db = self.site.app.db();
        db.busy_timeout(Duration::ZERO).unwrap();
        db.execute_batch("BEGIN EXCLUSIVE; ROLLBACK").is_ok()
    }
}
