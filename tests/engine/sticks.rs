//! Three sites that exchange sticks only, in random order: lost, twice, late, cut short, with flipped bits, at the wrong site.
//!
//! Shown for every seed: all converge; a damaged stick changes no file and no table; and no bundle carries more than 1.1
//! times what its receivers lacked. *Lacked* is judged by a model that knows nothing of how a bundle is packed: what a
//! receiver held, document by document and record by record, when it last told the packer. `WBSYNC_SEED=7` replays one run,
//! `WBSYNC_SEEDS=300` runs more.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use wbsync::changeset::entry::Body;
use wbsync::changeset::reader::read;
use wbsync::changeset::seal;
use wbsync::exchange::head::Head;
use wbsync::exchange::layout::StorePath;
use wbsync::exchange::receipt::Receipt;
use wbsync::id::bytes::{DocHash, InstanceId, ScopeId};
use wbsync::keys::document::hash_of;
use wbsync::state::peers::Trust;
use wbsync::sync::bundle::{BundleApplied, BundleOptions};
use wbsync::sync::commit::Mode;
use wbsync::sync::error::Error;
use wbsync::testing::prng::Prng;
use wbsync::testing::replay;
use wbsync::transport::bundle::index::Index;
use wbsync::tree::scan::scan;

use super::world::{Site, files_under};

#[test]
fn three_sites_converge_whatever_becomes_of_the_sticks() {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().unwrap());
    let (first, runs) = match (number("WBSYNC_SEED"), number("WBSYNC_SEEDS")) {
        (Some(seed), runs) => (seed, runs.unwrap_or(1)),
        (None, runs) => (1, runs.unwrap_or(3)),
    };
    let mut all = Tally::default();
    for seed in first..first + runs {
        println!("WBSYNC_SEED={seed}");
        replay::start(seed);
        let tally = Run::new(seed).run();
        println!("{tally}");
        all.add(&tally);
    }
    replay::end();
    println!("{all}");
}

/// What was carried and what of it was lacking, summed up.
#[derive(Default)]
struct Tally {
    bundles: u64,
    applied: u64,
    damaged: u64,
    listed: u64,
    lacking: u64,
    files: u64,
    whole: u64,
    worst_permille: u64,
}

impl Tally {
    fn add(&mut self, other: &Self) {
        self.bundles += other.bundles;
        self.applied += other.applied;
        self.damaged += other.damaged;
        self.listed += other.listed;
        self.lacking += other.lacking;
        self.files += other.files;
        self.whole += other.whole;
        self.worst_permille = self.worst_permille.max(other.worst_permille);
    }
}

impl std::fmt::Display for Tally {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { bundles, applied, damaged, listed, lacking, files, whole, worst_permille } = self;
        write!(
            f,
            "{bundles} bundles, {applied} applied, {damaged} damaged ones refused; {files} files of {listed} bytes, of which \
             {lacking} were lacking (worst {worst_permille} permille over); {whole} bytes with tar and index"
        )
    }
}

type Records = BTreeMap<(String, Vec<u8>), Vec<u8>>;

/// What a site held at one moment.
#[derive(Clone, Default)]
struct Held {
    /// Documents by place, with what orders them: incarnation and number where they have them.
    documents: BTreeMap<StorePath, (DocHash, (u32, u64))>,
    /// The records of each tracked head.
    records: BTreeMap<(ScopeId, InstanceId), Records>,
    /// When: the step of the run.
    step: usize,
}

/// A stick on its way: a bundle, and what its packer held then.
struct Stick {
    from: usize,
    to: Vec<usize>,
    files: Vec<PathBuf>,
    held: Held,
}

struct Run {
    seed: u64,
    random: Prng,
    dir: tempfile::TempDir,
    sites: [Site; 3],
    users: Vec<i64>,
    step: usize,
    under_way: Vec<Stick>,
    /// By packer and receiver: what the packer was told that the receiver holds.
    told: BTreeMap<(usize, usize), Held>,
    /// By site: the step of its last withdrawal, after which its deltas are sealed anew.
    withdrew: [Option<usize>; 3],
    tally: Tally,
}

impl Run {
    fn new(seed: u64) -> Self {
        let sites = ["alpha", "beta", "gamma"].map(Site::new);
        let mut users = Vec::new();
        for site in &sites {
            for other in sites.iter().filter(|other| other.name != site.name) {
                site.knows(other, Some(Trust::Trusted));
            }
            users.push(site.app.insert_user(&format!("user-{}", site.name), "public"));
        }
        Self {
            seed,
            random: Prng::new(seed),
            dir: tempfile::tempdir().unwrap(),
            sites,
            users,
            step: 0,
            under_way: Vec::new(),
            told: BTreeMap::new(),
            withdrew: [None; 3],
            tally: Tally::default(),
        }
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.random.below(bound as u64)).unwrap()
    }

    fn run(mut self) -> Tally {
        for step in 1..=36 {
            self.step = step;
            let at = self.below(3);
            match self.below(6) {
                0 | 1 => self.edit(at),
                2 | 3 => self.pack(at),
                _ if self.under_way.is_empty() => {}
                _ => self.arrive(),
            }
        }
        self.meet();
        self.tally
    }

    /// Writes, rewrites, withdraws or deletes a row of a site.
    fn edit(&mut self, at: usize) {
        let (what, pick) = (self.below(12), self.below(1000));
        let (site, step) = (&self.sites[at], self.step);
        let own = format!("FROM help_requests WHERE created_by_user_id = {}", self.users[at]);
        let count: usize = site.app.value(&format!("SELECT count(*) {own}")).parse().unwrap();
        let some = || {
            let sql = format!("SELECT id {own} ORDER BY id LIMIT 1 OFFSET {}", pick % count.max(1));
            site.app.value(&sql).parse::<i64>().unwrap()
        };
        match what {
            8 | 9 if count > 0 => site.edit(some(), "description", &format!("rewritten in step {step}")),
            10 if count > 0 => {
                site.app.set_scope("help_requests", some(), "private");
                self.withdrew[at] = Some(step);
            }
            11 if count > 0 => site.app.execute("DELETE FROM help_requests WHERE id = ?1", &[&some()]),
            _ => {
                let words = "all the words that one writes when something is needed ".repeat(pick % 9);
                let scope = if pick % 2 == 0 { "public" } else { "trusted" };
                let title = format!("{} {step} {words}", site.name);
                site.request(self.users[at], &title, scope);
            }
        }
    }

    /// Packs for one or both of the others, by name or by a request that they wrote just now, and judges what it carries.
    fn pack(&mut self, from: usize) {
        let first = (from + 1 + self.below(2)) % 3;
        let both = self.below(4) == 0;
        let to: Vec<usize> = (0..3).filter(|site| *site == first || both && *site != from).collect();
        let mut options = BundleOptions::default();
        for receiver in &to {
            if self.below(4) == 0 {
                options.requests.push(self.sites[*receiver].open().bundle_request().unwrap());
                self.tell(from, *receiver, self.held(*receiver));
            } else {
                options.peers.push(self.sites[*receiver].name.into());
            }
        }
        if self.below(4) == 0 {
            options.sealed_to = to.iter().map(|site| self.sites[*site].name.into()).collect();
        }
        options.split = (self.below(4) == 0).then_some(16 << 10);
        let stick = self.carry(from, to, &options);
        self.under_way.push(stick);
    }

    fn carry(&mut self, from: usize, to: Vec<usize>, options: &BundleOptions) -> Stick {
        let instance = self.sites[from].open();
        let packing = instance.bundle_pack(options, Mode::Keep).unwrap();
        let number = self.tally.bundles;
        let mut files = Vec::new();
        for part in 0..packing.indexes.len() {
            let path = self.dir.path().join(format!("stick-{number}.{part}"));
            instance.bundle_write(&packing, part, &mut fs::File::create(&path).unwrap()).unwrap();
            files.push(path);
        }
        drop(instance);
        let whole: u64 = files.iter().map(|file| fs::metadata(file).unwrap().len()).sum();
        self.judge(from, &to, &packing.indexes, whole);
        Stick { from, to, files, held: self.held(from) }
    }

    /// Compares what a bundle carries with what its receivers lacked when they last told.
    fn judge(&mut self, from: usize, to: &[usize], indexes: &[Index], whole: u64) {
        let none = Held::default();
        let helds: Vec<&Held> = to.iter().map(|to| self.told.get(&(from, *to)).unwrap_or(&none)).collect();
        let store = self.sites[from].app.dir().join(".wbsync/store");
        let entries = || indexes.iter().flat_map(|index| &index.entries);
        let (mut listed, mut lacking, mut files) = (0, 0, 0);
        let mut objects = BTreeMap::new();
        for entry in entries() {
            files += 1;
            let is_there = |held: &&Held| match held.documents.get(&entry.path) {
                Some((hash, order)) => *hash == entry.hash || *order > order_of(&store, &entry.path),
                None => false,
            };
            match entry.path {
                // The fifteen bytes that make a store of what `tar` unpacks.
                StorePath::Format => continue,
                StorePath::Object(_) => continue,
                StorePath::Head(scope, signer) => {
                    let (head, _) = Head::open(&fs::read(entry.path.under(&store)).unwrap(), &signer).unwrap();
                    objects.extend(head.objects().map(|object| (object.id, (scope, signer))));
                }
                _ => {}
            }
            listed += entry.bytes;
            lacking += if helds.iter().all(is_there) { 0 } else { entry.bytes };
        }
        let instance = self.sites[from].open();
        for entry in entries() {
            let StorePath::Object(id) = entry.path else { continue };
            let (scope, signer) = objects[&id];
            let row = instance.state.scope(&scope).unwrap().unwrap();
            let opened = instance.open_scope(row).unwrap().unwrap();
            let bytes = fs::read(entry.path.under(&store)).unwrap();
            let plain = opened.keys.epochs.values().find_map(|key| seal::open(&id, &bytes, key).ok()).unwrap();
            let (mut all, mut wanted) = (0, 0);
            for record in read(&plain).unwrap().entries {
                let key = (record.dataset.to_string(), record.key.as_bytes().to_vec());
                let has = |held: &&Held| {
                    let known = held.records.get(&(scope, signer)).map(|records| records.get(&key));
                    match (known, record.body) {
                        (Some(known), Body::Put(bytes)) => known.is_some_and(|known| known == bytes),
                        (Some(known), Body::Deleted | Body::Withdrawn) => known.is_none(),
                        (None, _) => false,
                    }
                };
                let size = 64 + if let Body::Put(bytes) = record.body { bytes.len() as u64 } else { 0 };
                all += size;
                wanted += if helds.iter().all(has) { 0 } else { size };
            }
            listed += entry.bytes;
            // Who lacks the head lacks what it is made of, whatever records are in it.
            let envelope = entry.bytes.min(ENVELOPE_BYTES);
            lacking += envelope + ((entry.bytes - envelope) * wanted).checked_div(all).unwrap_or(0);
        }
        let (seed, step) = (self.seed, self.step);
        // What is withdrawn leaves history: its scope's deltas are sealed anew, and come once more.
        let is_anew =
            |withdrew: &Option<usize>| withdrew.is_some_and(|step| helds.iter().any(|held| held.step <= step));
        if !self.withdrew.iter().any(is_anew) {
            let over = (listed * 1000).checked_div(lacking).unwrap_or(0).saturating_sub(1000);
            self.tally.worst_permille = self.tally.worst_permille.max(over);
            assert!(
                listed * 10 <= lacking * 11,
                "seed {seed}, step {step}: {listed} bytes carried, {lacking} lacking: {:?}",
                entries().map(|entry| (entry.path.to_string(), entry.bytes)).collect::<Vec<_>>()
            );
            self.tally.listed += listed;
            self.tally.lacking += lacking;
            self.tally.files += files;
            self.tally.whole += whole;
        }
        // The container: headers, fillings, and what the index says of each file and of what the packer has.
        let parts = indexes.len() as u64;
        let bound = listed + parts * CONTAINER_BYTES + files * FILE_BYTES;
        assert!(whole <= bound, "seed {seed}, step {step}: {whole} bytes for {files} files of {listed} bytes");
        self.tally.bundles += 1;
    }

    /// A stick arrives, whole or not, and may arrive again; or it never does.
    fn arrive(&mut self) {
        let which = self.below(self.under_way.len());
        let (fate, visitor) = (self.below(8), self.below(3));
        match fate {
            0 => drop(self.under_way.swap_remove(which)),
            1 | 2 => {
                let stick = &self.under_way[which];
                let (at, part) = (stick.to[0], stick.files.len() - 1);
                let (files, mut bytes) = (stick.files.clone(), fs::read(&stick.files[part]).unwrap());
                let place = self.below(1 << 24) % bytes.len();
                if fate == 1 {
                    bytes[place] ^= 1 << self.below(8);
                } else {
                    bytes.truncate(place);
                }
                let path = self.dir.path().join("damaged");
                fs::write(&path, bytes).unwrap();
                let site = &self.sites[at];
                let before = everything(site);
                let files = [&files[..part], &[path]].concat();
                assert!(apply(site, &files).is_err(), "seed {}: damage at {place} is not noticed", self.seed);
                assert!(before == everything(site), "seed {}: damage at {place} changed something", self.seed);
                self.tally.damaged += 1;
            }
            // Somebody who isn't meant may read what isn't sealed, and it harms nobody.
            3 => {
                let stick = &self.under_way[which];
                if apply(&self.sites[visitor], &stick.files).is_ok() {
                    self.took(which, visitor);
                }
            }
            _ => {
                for at in self.under_way[which].to.clone() {
                    let applied = apply(&self.sites[at], &self.under_way[which].files).unwrap();
                    let refused = &applied.fetched.refused;
                    assert!(refused.is_empty(), "seed {}, step {}: {refused:?}", self.seed, self.step);
                    self.took(which, at);
                }
            }
        }
    }

    /// The packer's word on what it has has arrived.
    fn took(&mut self, which: usize, at: usize) {
        let Stick { from, to, held, .. } = &self.under_way[which];
        let (from, held, is_meant) = (*from, held.clone(), to.contains(&at));
        self.tally.applied += 1;
        if is_meant {
            self.tell(at, from, held);
        }
    }

    fn tell(&mut self, to: usize, from: usize, held: Held) {
        let known = self.told.entry((to, from)).or_default();
        if known.step <= held.step {
            *known = held;
        }
    }

    fn held(&self, at: usize) -> Held {
        let instance = self.sites[at].open();
        let mut held = Held { step: self.step, ..Held::default() };
        for peer in instance.state.peers().unwrap() {
            held.documents.insert(StorePath::Card(peer.id), (hash_of(&peer.card), (0, 0)));
        }
        for row in instance.state.scopes().unwrap() {
            held.documents.insert(StorePath::Manifest(row.id), (row.manifest_hash, (0, 0)));
            for receipt in instance.state.receipts(&row.id).unwrap() {
                let order = (receipt.incarnation, receipt.seq);
                held.documents.insert(StorePath::Receipt(row.id, receipt.signer), (receipt.hash, order));
            }
            for head in instance.state.heads(&row.id).unwrap() {
                let order = (head.incarnation, head.seq);
                held.documents.insert(StorePath::Head(row.id, head.signer), (head.hash, order));
                let known = instance.state.known_commit(&row.id, &head.commit).unwrap();
                let mut records = Records::new();
                for (dataset, root) in &known.commit.datasets {
                    for found in scan(&instance.state, &row.id_key, root, ..) {
                        let (key, bytes) = found.unwrap();
                        records.insert((dataset.to_string(), key.to_vec()), bytes.to_vec());
                    }
                }
                held.records.insert((row.id, head.signer), records);
            }
        }
        held
    }

    /// Then they meet in earnest, twice round: out, and back with what confirms it. Afterwards nobody lacks anything.
    fn meet(&mut self) {
        for _ in 0..2 {
            for from in 0..3 {
                for to in (0..3).filter(|to| *to != from) {
                    self.step += 1;
                    let options = BundleOptions { peers: vec![self.sites[to].name.into()], ..BundleOptions::default() };
                    let stick = self.carry(from, vec![to], &options);
                    let applied = apply(&self.sites[to], &stick.files).unwrap();
                    assert!(applied.fetched.refused.is_empty(), "seed {}: {:?}", self.seed, applied.fetched.refused);
                    self.under_way.push(stick);
                    self.took(self.under_way.len() - 1, to);
                }
            }
        }
        let seed = self.seed;
        let shown: Vec<String> = self.sites.iter().map(titles).collect();
        assert!(shown[0] == shown[1] && shown[1] == shown[2], "seed {seed}: {shown:#?}");
        let roots: Vec<BTreeMap<String, String>> = self.sites.iter().map(Site::local_heads).collect();
        assert!(roots[0] == roots[1] && roots[1] == roots[2], "seed {seed}: {roots:#?}");
        for from in &self.sites {
            for to in self.sites.iter().filter(|to| to.name != from.name) {
                let options = BundleOptions { peers: vec![to.name.into()], ..BundleOptions::default() };
                let packing = from.open().bundle_pack(&options, Mode::DryRun).unwrap();
                let rest: Vec<String> = packing
                    .indexes
                    .iter()
                    .flat_map(|index| &index.entries)
                    .map(|entry| entry.path.to_string())
                    .collect();
                let is_news = |path: &&String| path.contains("/heads/") || path.starts_with("objects");
                assert!(
                    !rest.iter().any(|path| is_news(&path)),
                    "seed {seed}, {} for {}: {rest:?}",
                    from.name,
                    to.name
                );
            }
        }
    }
}

/// What an object needs for itself: age's header, and the commit that it leads to.
const ENVELOPE_BYTES: u64 = 640;
/// What a bundle is larger than its files by: its own header, index and end; and by each file: header, filling, its line.
const CONTAINER_BYTES: u64 = 6 << 10;
const FILE_BYTES: u64 = 512 + 511 + 152;

fn apply(site: &Site, files: &[PathBuf]) -> Result<BundleApplied, Error> {
    site.open().bundle_apply(files, Mode::Keep)
}

/// Returns what orders a document among those at one place.
fn order_of(store: &Path, path: &StorePath) -> (u32, u64) {
    let bytes = fs::read(path.under(store)).unwrap();
    match path {
        StorePath::Head(_, signer) => {
            let (head, _) = Head::open(&bytes, signer).unwrap();
            (head.incarnation, head.seq)
        }
        StorePath::Receipt(_, reader) => {
            let (receipt, _) = Receipt::open(&bytes, reader).unwrap();
            (receipt.incarnation, receipt.seq)
        }
        _ => (0, 0),
    }
}

fn titles(site: &Site) -> String {
    site.app
        .dump_columns("help_requests WHERE title IS NOT NULL AND sync_scope <> 'private'", &["title", "description"])
}

/// Every file of a site, and every row of every table of its databases.
fn everything(site: &Site) -> BTreeMap<String, Vec<u8>> {
    let dir = site.app.dir();
    let is_database = |path: &str| path.ends_with(".db");
    let mut all = BTreeMap::new();
    for path in files_under(dir) {
        if is_database(&path) {
            all.extend(tables(&dir.join(&path)).into_iter().map(|(table, rows)| (format!("{path}:{table}"), rows)));
        } else if !path.ends_with("-wal") && !path.ends_with("-shm") {
            all.insert(path.clone(), fs::read(dir.join(&path)).unwrap());
        }
    }
    assert!(all.keys().filter(|name| name.contains(".db:")).count() > 20, "{:?}", all.keys().collect::<BTreeSet<_>>());
    all
}

fn tables(path: &Path) -> BTreeMap<String, Vec<u8>> {
    let db = rusqlite::Connection::open(path).unwrap();
    let mut names = db.prepare("SELECT name FROM sqlite_schema WHERE type = 'table'").unwrap();
    let names: Vec<String> = names.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
    let dump = |name: &String| {
        let mut statement = db.prepare(&format!("SELECT * FROM \"{name}\"")).unwrap();
        let columns = statement.column_count();
        let mut rows: Vec<String> = Vec::new();
        let mut found = statement.query([]).unwrap();
        while let Some(row) = found.next().unwrap() {
            let values: Vec<rusqlite::types::Value> = (0..columns).map(|column| row.get(column).unwrap()).collect();
            rows.push(format!("{values:?}"));
        }
        rows.sort();
        rows.join("\n").into_bytes()
    };
    names.iter().map(|name| (name.clone(), dump(name))).collect()
}
