//! The sites of a simulation, what they know of each other, and the stores that they meet in.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::symlink;
use std::panic::{self, AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;

use tempfile::TempDir;
use wbsync::connector::capturing::TriggerChange;
use wbsync::id::name::PeerName;
use wbsync::scope::manifest::draft::Since;
use wbsync::state::peers::Trust;
use wbsync::sync::commit::Mode;
use wbsync::sync::error::Error;
use wbsync::sync::instance::{Instance, Purpose};
use wbsync::sync::progress::silent;
use wbsync::sync::trust::Right;
use wbsync::testing::prng::Prng;
use wbsync::transport::dir::DirStore;

use super::history::Outcome;
use super::meanwhile::Meanwhile;
use super::model::{At, Model};
use super::rig::Machine;
use super::world::{Saved, Site};

const NAMES: [&str; 8] = ["alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta"];

/// The group that sites may have.
pub const GROUP: &str = "ring";

/// How they write to it in a row.
pub const GROUP_SCOPE: &str = "group:ring";

/// A site and what the simulation knows of it.
pub struct Player {
    pub site: Rc<Site>,
    /// The public user whose rows are this site's own.
    pub user: i64,
    /// The stores that it uses, by number.
    pub stores: Vec<usize>,
    /// What its clock is off by, in milliseconds.
    pub skew: i64,
    /// The readers of its trusted scope, and who may also write in its scopes.
    pub readers: BTreeSet<At>,
    pub writers: BTreeSet<At>,
    /// Who is in its group, if it has one.
    pub group: Option<BTreeSet<At>>,
    /// Who was once a reader of each scope that isn't public.
    pub ever: BTreeMap<&'static str, BTreeSet<At>>,
    pub revoked: BTreeSet<At>,
    /// Who doesn't read a scope any more that it read once.
    pub lost: BTreeSet<(At, &'static str)>,
    /// Whether it was put back from a backup and hasn't caught up.
    pub is_behind: bool,
    /// An old copy of everything it has.
    pub backup: Option<Saved>,
    /// The newest heads that it has accepted.
    pub marks: BTreeMap<(Vec<u8>, Vec<u8>), (i64, i64)>,
}

/// A store that several sites use.
pub struct Place {
    pub dir: TempDir,
    /// An old copy of it.
    pub old: Option<Saved>,
    /// Whether it has lied: nothing that it says now needs to make sense.
    pub lies: bool,
    /// The newest heads that it has had.
    pub marks: BTreeMap<String, (u32, u64)>,
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
    /// Peers are revoked, and leave groups.
    Distrust,
}

pub struct Town {
    pub machine: Arc<Machine>,
    pub random: Prng,
    pub tells: bool,
    pub seed: u64,
    pub weather: Weather,
    pub players: Vec<Player>,
    pub places: Vec<Place>,
    pub carried: Vec<Carried>,
    pub drawer: TempDir,
    pub model: Model,
    pub outcome: Outcome,
    /// Minutes since the beginning.
    pub minutes: u64,
    /// Whether nothing goes wrong any more.
    pub is_calm: bool,
    /// How busy the application is while the next command is at work, at so many of a thousand moments.
    pub busy: Option<u64>,
}

impl Place {
    /// Where the store is.
    pub fn store(&self) -> PathBuf {
        self.dir.path().join("wb")
    }

    /// Where it is for a site: a store may show others something else.
    pub fn face(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// What it shows to some.
    pub fn other_store(&self) -> PathBuf {
        self.dir.path().join("wb2")
    }
}

impl Town {
    pub fn new(seed: u64, tells: bool) -> Self {
        let machine = Machine::install(seed ^ 0x5eed);
        let mut random = Prng::new(seed);
        let more = if random.chance(150) { 6 } else { 2 };
        let count = 3 + random.below(more) as usize;
        let weather = [Weather::Lies, Weather::Restores, Weather::Distrust][random.below(3) as usize];
        let places = (0..1 + random.below(3)).map(|_| tempfile::tempdir().unwrap());
        let mut town = Self {
            machine,
            tells,
            seed,
            weather,
            players: Vec::new(),
            places: places.map(|dir| Place { dir, old: None, lies: false, marks: BTreeMap::new() }).collect(),
            carried: Vec::new(),
            drawer: tempfile::tempdir().unwrap(),
            model: Model::default(),
            outcome: Outcome { sites: count as u64, ..Outcome::default() },
            minutes: 0,
            is_calm: false,
            busy: None,
            random,
        };
        for name in NAMES.into_iter().take(count) {
            town.settle_in(name);
        }
        town.introduce();
        for at in 0..count {
            town.desk(at).insert_request("public");
            town.desk(at).insert_request("trusted");
        }
        town
    }

    /// Makes a site, and says which stores it uses.
    fn settle_in(&mut self, name: &'static str) {
        let site = Site::new(name);
        // Nothing happens to a disk while a site is made.
        self.machine.restart();
        site.app.wait(12_345 * (self.players.len() as i64 + 1));
        let user = site.app.insert_user(&format!("user of {name}"), "public");
        let mut config = "\n[dataset.requests.fields.contact_email]\nscope = \"trusted\"\n".to_owned();
        let by_triggers = self.random.chance(300);
        if by_triggers {
            config += "\n[capture]\nmode = \"triggers\"\n";
        }
        let path = site.app.dir().join("wbsync.toml");
        fs::write(&path, fs::read_to_string(&path).unwrap() + &config).unwrap();
        if by_triggers {
            site.open().change_triggers(TriggerChange::Install).unwrap();
        }
        // Every site uses the first store, so that all can meet.
        let others = 1..self.places.len();
        let stores: Vec<usize> = std::iter::once(0).chain(others.filter(|_| self.random.chance(600))).collect();
        for store in &stores {
            let place = &self.places[*store];
            let mut url = place.store();
            if self.weather == Weather::Lies {
                DirStore::create(&url).unwrap();
                symlink("wb", place.face(name)).unwrap();
                url = place.face(name);
            }
            let place = PeerName::new(&place_name(*store)).unwrap();
            site.open().remote_add(&place, url.to_str().unwrap(), site.app.dir()).unwrap();
        }
        let skew = self.random.below(7_200_000) as i64 - 3_600_000;
        let (readers, writers, ever, revoked, lost, marks) = Default::default();
        self.players.push(Player {
            site: Rc::new(site),
            user,
            stores,
            skew,
            readers,
            writers,
            group: None,
            ever,
            revoked,
            lost,
            is_behind: false,
            backup: None,
            marks,
        });
    }

    /// Says who trusts whom.
    fn introduce(&mut self) {
        let count = self.players.len();
        let all_write = self.random.chance(500);
        for at in 0..count {
            let has_group = self.random.chance(300);
            if has_group {
                self.players[at].group = Some(BTreeSet::new());
                self.players[at].site.open().group_create(GROUP, Mode::Keep).unwrap();
            }
            for other in (0..count).filter(|other| *other != at) {
                let trust = match self.random.below(4) {
                    _ if all_write => Some(Trust::Writer),
                    0 => None,
                    1 => Some(Trust::Trusted),
                    _ => Some(Trust::Writer),
                };
                self.players[at].site.knows(&self.players[other].site, trust);
                if trust.is_some() {
                    self.players[at].readers.insert(other);
                    self.players[at].ever.entry("trusted").or_default().insert(other);
                }
                if trust == Some(Trust::Writer) {
                    self.players[at].writers.insert(other);
                }
                if has_group && self.random.chance(500) {
                    self.join_group(at, other);
                }
            }
        }
        let what = format!("{count} sites, {} stores, {:?}, all write: {all_write}", self.places.len(), self.weather);
        self.tell(0, &what);
    }

    /// Puts a peer into a site's group.
    pub fn join_group(&mut self, at: At, peer: At) {
        self.tell(at, &format!("{} joins the group", self.name(peer)));
        self.admit(at, peer, GROUP_SCOPE);
        self.players[at].group.get_or_insert_default().insert(peer);
        let name = self.name(peer);
        self.insist(at, |instance| instance.group_add(GROUP, name, Right::Read, Since::Beginning, Mode::Keep));
    }

    /// Notes that a peer may have all that a scope ever held.
    pub fn admit(&mut self, at: At, peer: At, scope: &'static str) {
        self.players[at].ever.entry(scope).or_default().insert(peer);
        for text in self.model.meant.get(&(at, scope)).cloned().unwrap_or_default() {
            self.model.allowed.get_mut(&text).unwrap().insert(peer);
        }
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

    /// Does something with a site's instance. `None`: the machine stopped meanwhile.
    pub fn with<T>(&mut self, at: At, work: impl FnOnce(&Instance) -> Result<T, Error>) -> Option<Result<T, Error>> {
        self.with_mut(at, Purpose::Change, |instance| work(instance))
    }

    /// As `with`, for a purpose.
    pub fn with_mut<T>(
        &mut self,
        at: At,
        purpose: Purpose,
        work: impl FnOnce(&mut Instance) -> Result<T, Error>,
    ) -> Option<Result<T, Error>> {
        self.minutes += 1;
        let clock = 1_770_000_000_000 + self.minutes as i64 * 60_000 + self.players[at].skew;
        self.machine.set_clock(u64::try_from(clock).unwrap());
        self.note_audiences(at);
        let dir = self.players[at].site.app.dir().to_owned();
        let stores = self.players[at].stores.iter().map(|store| self.places[*store].dir.path().to_owned());
        self.machine.hold(stores.chain([dir.clone()]).collect());
        let meanwhile = self.busy.take().map(|per_mille| Meanwhile::begin(self, at, per_mille));
        let watcher = meanwhile.as_ref().map_or_else(silent, Meanwhile::watcher);
        let done = catch_unwind(AssertUnwindSafe(|| work(&mut Instance::open(&dir, purpose, watcher)?)));
        let past = self.machine.restart();
        if let Some(meanwhile) = meanwhile {
            meanwhile.end(self);
        }
        let result = match done {
            Ok(result) => {
                if let Err(error) = &result {
                    self.players[at].is_behind |= matches!(error, Error::LostHistory { .. });
                    self.outcome.refused += 1;
                    self.tell(at, &format!("  failed: {}", wbsync::sync::status::explain(error)));
                } else {
                    assert!(past.unsynced.is_empty(), "{} left unsynced: {:?}", self.name(at), past.unsynced);
                }
                Some(result)
            }
            // It may have stopped in a thread of the engine's: what unwinds here is another payload then.
            Err(_) if past.was_cut => {
                self.tell(at, &format!("  the machine stopped at call {}", past.calls));
                None
            }
            Err(payload) => panic::resume_unwind(payload),
        };
        self.check_marks(at);
        result
    }

    /// Does something that people repeat until it is done, whatever happens meanwhile.
    pub fn insist<T>(&mut self, at: At, work: impl Fn(&Instance) -> Result<T, Error>) {
        self.maybe_trouble();
        let mut was_cut = false;
        for _ in 0..3 {
            match self.with(at, &work) {
                Some(Ok(_)) => return,
                None => was_cut = true,
                // It had been done before the machine stopped.
                Some(Err(_)) if was_cut => return,
                // The disk was full.
                Some(Err(_)) => {}
            }
        }
        panic!("{} could not do what people want", self.name(at));
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
