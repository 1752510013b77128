//! Who can obtain what: every text carries its own marker, the rules are random, and what each reader finds in
//! everything it can reach is exactly what the rules give it.
//!
//! The rules are computed here a second time, as sets of people, by the tables of docs/mapping.md.
//! `WBSYNC_SEEDS` runs more seeds, `WBSYNC_SEED` one.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use wbsync::changeset::seal;
use wbsync::keys::document::Unverified;
use wbsync::keys::sealing::EpochKey;
use wbsync::scope::manifest::draft::Since;
use wbsync::scope::manifest::{Access, Manifest};
use wbsync::state::peers::Trust;
use wbsync::sync::commit::Mode;
use wbsync::sync::trust::Right;
use wbsync::testing::prng::Prng;

use super::world::{Site, Stick, files_under};

type Markers = BTreeSet<u32>;
type People = BTreeSet<&'static str>;

const READERS: [&str; 4] = ["beta", "gamma", "delta", "epsilon"];
const STRANGER: &str = "stranger";
const ROW_SCOPES: [&str; 12] = [
    "public",
    "public",
    "trusted",
    "trusted",
    "group:board",
    "peers:beta",
    "peers:gamma,beta",
    "peers:delta,epsilon",
    "private",
    "do_not_sync",
    "Public",
    "group:nobody",
];
const FIELD_SCOPES: [&str; 5] = ["public", "trusted", "group:board", "peers:beta,delta", "never"];

/// One table's row as the model has it.
#[derive(Debug, Clone)]
struct Row {
    table: &'static str,
    key: i64,
    scope: &'static str,
    is_draft: bool,
    /// The request of a comment.
    parent: Option<usize>,
    text: u32,
    email: Option<u32>,
}

struct World {
    stick: Stick,
    alpha: Site,
    readers: Vec<Site>,
    /// Keys that each reader ever had.
    keys: BTreeMap<&'static str, Vec<EpochKey>>,
    random: Prng,
    rows: Vec<Row>,
    markers: u32,
    email_scopes: BTreeMap<&'static str, &'static str>,
    trusted: People,
}

fn marker(number: u32) -> String {
    format!("mk{number:05}z")
}

fn markers_in(bytes: &[u8]) -> Markers {
    let mut found = Markers::new();
    for window in bytes.windows(8).filter(|window| window.starts_with(b"mk") && window[7] == b'z') {
        found.extend(std::str::from_utf8(&window[2..7]).ok().and_then(|digits| digits.parse::<u32>().ok()));
    }
    found
}

impl World {
    fn new(seed: u64) -> Self {
        let mut random = Prng::new(seed);
        let email_scopes: BTreeMap<_, _> =
            ["users", "requests"].map(|dataset| (dataset, random.pick(&FIELD_SCOPES))).into();
        let config: String = email_scopes
            .iter()
            .map(|(dataset, scope)| format!("\n[dataset.{dataset}.fields.contact_email]\nscope = \"{scope}\"\n"))
            .collect();
        let site = |name| {
            let site = Site::new(name);
            let path = site.app.dir().join("wbsync.toml");
            fs::write(&path, fs::read_to_string(&path).unwrap() + &config).unwrap();
            site
        };
        let (stick, alpha) = (Stick::new(), site("alpha"));
        let readers: Vec<Site> = READERS.into_iter().map(site).collect();
        alpha.uses(&stick);
        for reader in &readers {
            alpha.knows(reader, None);
            reader.knows(&alpha, None);
            reader.uses(&stick);
        }
        let instance = alpha.open();
        for name in ["beta", "epsilon"] {
            instance.peer_trust(name, Trust::Trusted).unwrap();
        }
        instance.group_create("board", Mode::Keep).unwrap();
        instance.group_add("board", "gamma", Right::Read, Since::Beginning, Mode::Keep).unwrap();
        drop(instance);
        let (keys, rows) = Default::default();
        let trusted = ["beta", "epsilon"].into();
        Self { stick, alpha, readers, keys, random, rows, markers: 0, email_scopes, trusted }
    }

    fn next(&mut self) -> u32 {
        self.markers += 1;
        self.markers
    }

    fn of(&mut self, table: &str) -> Option<usize> {
        let found: Vec<usize> = (0..self.rows.len()).filter(|at| self.rows[*at].table == table).collect();
        if found.is_empty() { None } else { Some(*self.random.pick(&found.iter().collect::<Vec<_>>())) }
    }

    fn grow(&mut self, count: usize) {
        for _ in 0..count {
            let (text, scope) = (self.next(), self.random.pick(&ROW_SCOPES));
            let what = if self.of("help_requests").is_none() { self.random.below(2) } else { self.random.below(3) };
            let author = self.of("users").map_or(1, |at| self.rows[at].key);
            let mut row = Row { table: "users", key: 0, scope, is_draft: false, parent: None, text, email: None };
            match what {
                0 => row.key = self.alpha.app.insert_user(&marker(text), scope),
                1 => {
                    (row.table, row.key) = ("help_requests", self.alpha.request(author, &marker(text), scope));
                    row.is_draft = self.random.chance(150);
                    if row.is_draft {
                        self.alpha.app.execute("UPDATE help_requests SET status = 'draft' WHERE id = ?1", &[&row.key]);
                    }
                }
                _ => {
                    let parent = self.of("help_requests").expect("there is one");
                    let request = self.rows[parent].key;
                    (row.table, row.parent) = ("request_comments", Some(parent));
                    row.key = self.alpha.app.insert_comment(request, author, &marker(text), scope);
                }
            }
            if what < 2 && self.random.chance(800) {
                let email = self.next();
                row.email = Some(email);
                let sql = format!("UPDATE {} SET contact_email = ?2 WHERE id = ?1", row.table);
                self.alpha.app.execute(&sql, &[&row.key, &marker(email)]);
            }
            self.rows.push(row);
        }
    }

    /// Changes for whom rows are meant.
    fn shuffle(&mut self, count: usize) {
        for _ in 0..count {
            let at = usize::try_from(self.random.below(self.rows.len() as u64)).unwrap();
            let scope = self.random.pick(&ROW_SCOPES);
            self.rows[at].scope = scope;
            self.alpha.app.set_scope(self.rows[at].table, self.rows[at].key, scope);
        }
    }

    /// Whom a scope means: by its name, since groups stay apart even where their members are the same.
    fn people(&self, scope: &str) -> People {
        match scope {
            "public" => READERS.into_iter().chain([STRANGER]).collect(),
            "trusted" => self.trusted.clone(),
            "group:board" => ["gamma"].into(),
            names => {
                let names: Vec<&str> = names.strip_prefix("peers:").unwrap_or_default().split(',').collect();
                READERS.into_iter().filter(|reader| names.contains(reader)).collect()
            }
        }
    }

    /// The scope of whoever two scopes mean, by the table of docs/mapping.md; `None` is nobody.
    fn both(&self, one: Option<String>, other: Option<String>) -> Option<String> {
        let (one, other) = (one?, other?);
        if one == other || other == "public" {
            return Some(one);
        }
        if one == "public" {
            return Some(other);
        }
        if !one.starts_with("peers:") && !other.starts_with("peers:") {
            return None;
        }
        let common: Vec<&str> = self.people(&one).intersection(&self.people(&other)).copied().collect();
        if common.is_empty() { None } else { Some(format!("peers:{}", common.join(","))) }
    }

    fn audience(&self, row: &Row) -> Option<String> {
        let own = match row.scope {
            "private" | "do_not_sync" | "Public" | "group:nobody" => None,
            _ if row.is_draft => None,
            scope => Some(scope.to_owned()),
        };
        match row.parent {
            None => own,
            Some(parent) => self.both(own, self.audience(&self.rows[parent])),
        }
    }

    /// Every marker that a person may have.
    fn allowed(&self, person: &str) -> Markers {
        let mut allowed = Markers::new();
        for row in &self.rows {
            let audience = self.audience(row);
            let sees = |scope: Option<String>| scope.is_some_and(|scope| self.people(&scope).contains(person));
            if sees(audience.clone()) {
                allowed.insert(row.text);
            }
            let Some(email) = row.email else { continue };
            let dataset = if row.table == "users" { "users" } else { "requests" };
            let scope = self.email_scopes[dataset];
            if scope != "never" && sees(self.both(Some(scope.to_owned()), audience)) {
                allowed.insert(email);
            }
        }
        allowed
    }

    /// Learns the keys that the store's manifests give a person now.
    fn learn(&mut self, person: &'static str) {
        let scopes = self.stick.path().join("scopes");
        let mut learned = Vec::new();
        for scope in fs::read_dir(&scopes).unwrap() {
            let bytes = fs::read(scope.unwrap().path().join("manifest")).unwrap();
            let signer = Unverified::parse(&bytes).unwrap().claimed_signer().unwrap();
            let (manifest, _) = Manifest::open(&bytes, &signer).unwrap();
            for epoch in &manifest.epochs {
                if let Access::Clear(secret) = &epoch.access {
                    learned.push(EpochKey::from_secret_text(secret).unwrap());
                }
            }
            if let Some(site) = self.readers.iter().find(|site| site.name == person) {
                let keys = manifest.unlock(&site.open().identity).unwrap();
                learned.extend(keys.into_iter().flat_map(|keys| keys.epochs.into_values()));
            }
        }
        self.keys.entry(person).or_default().extend(learned);
    }

    /// Every marker in what a person can reach: the store with its keys, its own state, its application.
    fn obtained(&mut self, person: &'static str) -> Markers {
        self.learn(person);
        let store = self.stick.path();
        let mut found = Markers::new();
        for path in files_under(&store) {
            let bytes = fs::read(store.join(&path)).unwrap();
            found.extend(markers_in(path.as_bytes()));
            found.extend(markers_in(&bytes));
            if path.starts_with("objects/") {
                let id = seal::id_of(&bytes);
                let opened = self.keys[person].iter().find_map(|key| seal::open(&id, &bytes, key).ok());
                found.extend(opened.iter().flat_map(|plain| markers_in(plain)));
            }
        }
        if let Some(site) = self.readers.iter().find(|site| site.name == person) {
            for (_, cell) in super::canary::cells(&site.app.db_path()) {
                found.extend(markers_in(&cell));
            }
            let own = site.app.dir().join(".wbsync");
            for path in files_under(&own) {
                found.extend(markers_in(&read(&own.join(path))));
            }
        }
        found
    }

    /// Sends alpha's rows, and lets everybody take them.
    fn exchange(&self) {
        for _ in 0..2 {
            self.alpha.sync();
            for reader in &self.readers {
                reader.sync();
            }
        }
    }

    fn check(&mut self, seed: u64, phase: &str, people: &[&'static str]) {
        for person in people {
            let (allowed, obtained) = (self.allowed(person), self.obtained(person));
            let row = |marker: &u32| self.rows.iter().find(|row| row.text == *marker || row.email == Some(*marker));
            let leaked: Vec<_> = obtained.difference(&allowed).map(|marker| (marker, row(marker))).collect();
            assert!(leaked.is_empty(), "seed {seed}, {phase}: {person} has {leaked:?}; emails {:?}", self.email_scopes);
            let lacking: Vec<_> = allowed.difference(&obtained).map(|marker| (marker, row(marker))).collect();
            assert!(lacking.is_empty(), "seed {seed}, {phase}: {person} lacks {lacking:?}; {:?}", self.email_scopes);
            if *person != STRANGER {
                let mut shown = Markers::new();
                let preview = |record| {
                    shown.extend(markers_in(serde_json::to_string(&record).unwrap().as_bytes()));
                    Ok(())
                };
                self.alpha.open().preview(person, &mut { preview }).unwrap();
                assert_eq!(shown, allowed, "seed {seed}, {phase}: what `preview` says of {person}");
            }
        }
    }
}

fn read(path: &Path) -> Vec<u8> {
    fs::read(path).unwrap_or_default()
}

#[test]
fn everybody_obtains_exactly_what_the_rules_give() {
    let seeds = std::env::var("WBSYNC_SEEDS").ok().and_then(|text| text.parse().ok()).unwrap_or(3);
    let one = std::env::var("WBSYNC_SEED").ok().and_then(|text| text.parse().ok());
    for seed in one.map_or(0..seeds, |seed| seed..seed + 1) {
        let mut world = World::new(seed);
        let all: Vec<&'static str> = READERS.into_iter().chain([STRANGER]).collect();
        world.grow(30);
        world.exchange();
        world.check(seed, "at first", &all);
        for round in 0..2 {
            world.shuffle(12);
            world.grow(4);
            world.alpha.sync();
            world.check(seed, &format!("right after push {round}"), &[STRANGER]);
            world.exchange();
            world.check(seed, &format!("after round {round}"), &all);
        }
        let had = world.obtained("epsilon");
        let before = world.markers;
        world.alpha.open().peer_revoke("epsilon", Mode::Keep).unwrap();
        world.trusted.remove("epsilon");
        world.grow(15);
        world.exchange();
        world.check(seed, "after the revocation", &["beta", "gamma", "delta", STRANGER]);
        let obtained = world.obtained("epsilon");
        let public = world.allowed(STRANGER);
        assert!(public.is_subset(&obtained), "seed {seed}: a revoked peer still reads what is public");
        let new: Vec<_> = obtained.iter().filter(|marker| **marker > before && !public.contains(marker)).collect();
        assert!(new.is_empty(), "seed {seed}: the revoked peer has {new:?} of what came later");
        assert!(obtained.is_subset(&(&had | &public)), "seed {seed}: the revoked peer has more than before");
    }
}
