//! The sites of a simulation, what they know of each other, and the stores that they meet in.

use std::collections::BTreeSet;
use std::panic::{self, AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::rc::Rc;

use tempfile::TempDir;
use wbsync::id::name::PeerName;
use wbsync::state::peers::Trust;
use wbsync::sync::error::Error;
use wbsync::sync::instance::Instance;
use wbsync::testing::prng::Prng;

use super::history::Outcome;
use super::model::{At, Model};
use super::rig::Machine;
use super::world::{Saved, Site};

const NAMES: [&str; 8] = ["alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta"];

/// A site and what the simulation knows of it.
pub struct Player {
    pub site: Site,
    /// The public user whose rows are this site's own.
    pub user: i64,
    /// The stores that it uses, by number.
    pub stores: Vec<usize>,
    /// What its clock is off by, in milliseconds.
    pub skew: i64,
    /// The readers of its trusted scope, and who may also write in its scopes.
    pub readers: BTreeSet<At>,
    pub writers: BTreeSet<At>,
    /// Who was once a reader.
    pub ever: BTreeSet<At>,
    pub revoked: BTreeSet<At>,
    /// Whether it was put back from a backup and hasn't caught up.
    pub is_behind: bool,
    /// An old copy of everything it has.
    pub backup: Option<Saved>,
}

/// A store that several sites use.
pub struct Place {
    pub dir: TempDir,
    /// An old copy of it.
    pub old: Option<Saved>,
    /// Whether it has lied: nothing that it says now needs to make sense.
    pub lies: bool,
}

/// A bundle on its way.
pub struct Carried {
    pub to: At,
    pub files: Vec<PathBuf>,
}

/// What kind of trouble a history has; some would hide each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weather {
    /// Stores lie.
    Lies,
    /// Sites are put back from backups.
    Restores,
    /// Peers are revoked.
    Distrust,
}

pub struct Town {
    pub machine: Rc<Machine>,
    pub random: Prng,
    pub tells: bool,
    pub weather: Weather,
    pub players: Vec<Player>,
    pub places: Vec<Place>,
    pub carried: Vec<Carried>,
    pub drawer: TempDir,
    pub model: Model,
    pub outcome: Outcome,
    /// Minutes since the beginning.
    pub minutes: u64,
}

impl Town {
    pub fn new(seed: u64, tells: bool) -> Self {
        let machine = Machine::install(seed ^ 0x5eed);
        let mut random = Prng::new(seed);
        let more = if random.chance(150) { 6 } else { 2 };
        let count = 3 + random.below(more) as usize;
        let places: Vec<Place> = (0..1 + random.below(3))
            .map(|_| Place { dir: tempfile::tempdir().unwrap(), old: None, lies: false })
            .collect();
        let weather = [Weather::Lies, Weather::Restores, Weather::Distrust][random.below(3) as usize];
        let mut town = Self {
            machine,
            tells,
            weather,
            players: Vec::new(),
            places,
            carried: Vec::new(),
            drawer: tempfile::tempdir().unwrap(),
            model: Model::default(),
            outcome: Outcome { sites: count as u64, ..Outcome::default() },
            minutes: 0,
            random,
        };
        for name in NAMES.into_iter().take(count) {
            let site = Site::new(name);
            site.app.wait(12_345 * (town.players.len() as i64 + 1));
            let user = site.app.insert_user(&format!("user of {name}"), "public");
            // Every site uses the first store, so that all can meet.
            let others = 1..town.places.len();
            let stores = std::iter::once(0).chain(others.filter(|_| town.random.chance(600))).collect();
            for store in &stores {
                let store: &usize = store;
                let url = town.places[*store].dir.path().join("wb");
                let name = PeerName::new(&place_name(*store)).unwrap();
                site.open().remote_add(&name, url.to_str().unwrap(), site.app.dir()).unwrap();
            }
            let skew = town.random.below(7_200_000) as i64 - 3_600_000;
            let (readers, writers, ever, revoked) = Default::default();
            town.players.push(Player {
                site,
                user,
                stores,
                skew,
                readers,
                writers,
                ever,
                revoked,
                is_behind: false,
                backup: None,
            });
        }
        let all_write = town.random.chance(500);
        for at in 0..count {
            for other in (0..count).filter(|other| *other != at) {
                let trust = match town.random.below(4) {
                    _ if all_write => Some(Trust::Writer),
                    0 => None,
                    1 => Some(Trust::Trusted),
                    _ => Some(Trust::Writer),
                };
                town.players[at].site.knows(&town.players[other].site, trust);
                if trust.is_some() {
                    town.players[at].readers.insert(other);
                    town.players[at].ever.insert(other);
                }
                if trust == Some(Trust::Writer) {
                    town.players[at].writers.insert(other);
                }
            }
        }
        town.tell(0, &format!("{count} sites, {} stores, {:?}, all write: {all_write}", town.places.len(), weather));
        for at in 0..count {
            town.insert_request(at, "public");
            town.insert_request(at, "trusted");
        }
        town
    }

    pub fn tell(&self, at: At, what: &str) {
        if self.tells {
            println!("{}: {what}", self.name(at));
        }
    }

    pub fn name(&self, at: At) -> &'static str {
        NAMES[at]
    }

    pub fn sites(&self) -> std::ops::Range<At> {
        0..self.players.len()
    }

    /// Picks a site.
    pub fn anybody(&mut self) -> At {
        self.random.below(self.players.len() as u64) as usize
    }

    /// Does something with a site's instance. `None`: the power went meanwhile.
    pub fn with<T>(&mut self, at: At, work: impl FnOnce(&Instance) -> Result<T, Error>) -> Option<Result<T, Error>> {
        self.minutes += 1;
        let clock = 1_770_000_000_000 + self.minutes as i64 * 60_000 + self.players[at].skew;
        self.machine.set_clock(u64::try_from(clock).unwrap());
        self.note_audiences(at);
        let site = &self.players[at].site;
        let done = catch_unwind(AssertUnwindSafe(|| {
            let instance = Instance::open(
                site.app.dir(),
                wbsync::sync::instance::Purpose::Change,
                wbsync::sync::progress::silent(),
            )?;
            work(&instance)
        }));
        let past = self.machine.restart();
        match done {
            Ok(result) => {
                if let Err(error) = &result {
                    self.players[at].is_behind |= matches!(error, Error::LostHistory { .. });
                    self.outcome.refused += 1;
                    self.tell(at, &format!("  failed: {}", wbsync::sync::status::explain(error)));
                }
                Some(result)
            }
            // It may have gone in a thread of the engine's: what unwinds here is another payload then.
            Err(_) if past.was_cut => {
                self.tell(at, &format!("  the power went at disk call {}", past.calls));
                None
            }
            Err(payload) => panic::resume_unwind(payload),
        }
    }

    /// The remotes that a site uses.
    pub fn remotes(&self, at: At) -> Vec<PeerName> {
        self.players[at].stores.iter().map(|store| PeerName::new(&place_name(*store)).unwrap()).collect()
    }
}

/// What every site calls a store.
pub fn place_name(number: usize) -> String {
    format!("store{number}")
}
