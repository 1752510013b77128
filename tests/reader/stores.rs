//! Stores of real instances are rebuilt record by record and compared with what wbsync holds, and whatever is wrong in them is noticed.
//!
//! `WBSYNC_SEEDS=20` runs more random histories.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Output;

use serde_json::{Value as Json, json};
use wbsync::exchange::head::Head;
use wbsync::exchange::layout::StorePath;
use wbsync::id::bytes::{CommitId, InstanceId, ScopeId};
use wbsync::id::name::FieldName;
use wbsync::keys::card::SignedCard;
use wbsync::record::cell::{Cell, Element, Record};
use wbsync::record::codec;
use wbsync::record::value::Value;
use wbsync::state::peers::Trust;
use wbsync::testing::prng::Prng;
use wbsync::tree::scan::scan;

use super::cddl::{Pages, keys_for};
use super::forge::Forge;
use super::run::{python_at_hand, reader, said};
use super::support::app::App;
use super::world::{Saved, Site, Stick};

/// Records by scope, head, commit, dataset and key, as the reader prints them.
pub type Records = BTreeMap<[String; 5], Json>;

/// What a row may say; the third names peers as alpha and the others know them, one of them perhaps oneself.
const SCOPES: [&str; 4] = ["public", "trusted", "peers:beta,delta", "private"];

/// An origin, two writers and somebody who only reads, around one stick.
pub struct Scene {
    pub stick: Stick,
    pub sites: [Site; 4],
    pub random: Prng,
    texts: u64,
}

impl Scene {
    pub fn new(seed: u64) -> Self {
        let stick = Stick::new();
        let sites = ["alpha", "beta", "gamma", "delta"].map(Site::new);
        for site in &sites {
            let config = site.app.dir().join("wbsync.toml");
            let text = fs::read_to_string(&config).unwrap();
            fs::write(config, format!("{text}\n[dataset.requests.fields.contact_email]\nscope = \"trusted\"\n"))
                .unwrap();
            for other in sites.iter().filter(|other| other.name != site.name) {
                let trust = if other.name == "delta" { Trust::Trusted } else { Trust::Writer };
                site.knows(other, (site.name != "delta").then_some(trust));
            }
            site.uses(&stick);
            site.app.insert_user(&format!("user of {}", site.name), "public");
        }
        let mut scene = Self { stick, sites, random: Prng::new(seed), texts: 0 };
        for at in [0, 1, 2] {
            for scope in ["public", "trusted", "private"] {
                scene.insert(at, scope);
            }
        }
        for at in [0, 1, 2, 0, 1, 3] {
            scene.sites[at].sync();
        }
        scene
    }

    fn text(&mut self) -> String {
        self.texts += 1;
        let odd = ["", "\u{1f388} ☂", "line\nline", "\u{0}\u{7f}", "e\u{301}", "\"quoted\" \\"];
        let odd = odd[self.random.below(odd.len() as u64) as usize];
        format!("{odd} {} {}", self.texts, "long ".repeat(self.random.below(60) as usize))
    }

    fn insert(&mut self, at: usize, scope: &str) {
        let text = self.text();
        let request = self.sites[at].request(1, &text, scope);
        self.sites[at].app.insert_comment(request, 1, &text, scope);
        self.sites[at].edit(request, "contact_email", &format!("{}@example.org", self.texts));
    }

    /// Changes something that is there.
    fn change(&mut self, at: usize) {
        let text = self.text();
        let (requests, comments) = ("SELECT id FROM help_requests", "SELECT id FROM request_comments");
        let what = self.random.below(10);
        let app = &self.sites[at].app;
        let open = format!("{requests} WHERE status = 'open' AND sync_scope <> 'private'");
        let Some(id) = pick(&mut self.random, app, if what < 8 { &open } else { comments }) else { return };
        match what {
            0..4 => self.sites[at].edit(id, ["title", "description", "contact_email"][what as usize % 3], &text),
            4 => app.complete_request(id),
            5 => app.set_scope("help_requests", id, SCOPES[self.random.below(4) as usize]),
            6 | 7 => drop(app.insert_comment(id, 1, &text, ["public", "trusted"][what as usize % 2])),
            8 => app.delete_comment(id),
            _ => app.execute("DELETE FROM request_comments WHERE id = ?1", &[&id]),
        }
    }

    /// One of the writers writes a little, perhaps sees what there is, and pushes.
    pub fn live(&mut self) {
        let at = self.random.below(3) as usize;
        for _ in 0..=self.random.below(3) {
            if self.random.chance(300) {
                let scope = SCOPES[self.random.below(3) as usize];
                self.insert(at, scope);
            }
            self.change(at);
        }
        if self.random.chance(700) {
            self.sites[at].pull();
        }
        self.sites[at].push();
    }

    pub fn reader(&self, command: &str, at: Option<usize>, more: &[&str]) -> Output {
        let key = at.map(|at| self.sites[at].app.dir().join(".wbsync/keys/age.key"));
        reader(command, &[&self.stick.path()], key.as_deref(), more)
    }

    /// What the reader prints for whoever has this site's key, or none.
    pub fn read(&self, at: Option<usize>, more: &[&str]) -> Records {
        let output = self.reader("records", at, more);
        assert!(output.status.success(), "{}", said(&output));
        let parts = |line: &Json| {
            ["scope", "head", "commit", "dataset", "key"].map(|name| line[name].as_str().unwrap().to_owned())
        };
        let lines = String::from_utf8(output.stdout).unwrap();
        let lines = lines.lines().map(|line| serde_json::from_str::<Json>(line).unwrap());
        lines.map(|line| (parts(&line), line["cells"].clone())).collect()
    }

    /// Every head on the stick that the owner of one of our sites signed: scope, signer and commit.
    pub fn heads(&self) -> Vec<(ScopeId, InstanceId, CommitId)> {
        let mut heads = Vec::new();
        for site in &self.sites {
            let instance = site.open();
            for row in instance.state.scopes().unwrap() {
                let path = StorePath::Head(row.id, instance.id()).under(&self.stick.path());
                let Ok(bytes) = fs::read(path) else { continue };
                heads.push((row.id, instance.id(), Head::open(&bytes, &instance.id()).unwrap().0.commit));
            }
        }
        heads
    }

    /// What the signers of the heads hold themselves.
    fn held(&self, heads: &[(ScopeId, InstanceId, CommitId)]) -> Records {
        let mut records = Records::new();
        for site in &self.sites {
            let id = site.open().id();
            for (scope, _, commit) in heads.iter().filter(|(_, signer, _)| *signer == id) {
                records.extend(held(site, scope, commit, &id.to_string()));
            }
        }
        records
    }

    /// Compares all that the reader can rebuild, and returns how many heads wait for a base that isn't there.
    pub fn check(&self) -> usize {
        let heads = self.heads();
        let held = self.held(&heads);
        self.judge();
        let mut waiting = BTreeSet::new();
        for at in 0..4 {
            let output = self.reader("verify", Some(at), &[]);
            let said = said(&output);
            assert!(output.status.success(), "{said}");
            let waits: BTreeSet<[String; 2]> = heads
                .iter()
                .map(|(scope, signer, _)| [scope.to_string(), signer.to_string()])
                .filter(|[scope, signer]| said.contains(&format!("scopes/{scope}/heads/{signer}: waits")))
                .collect();
            let sealed = |scope: &str| said.contains(&format!("scopes/{scope}: not opened"));
            let read = self.read(Some(at), &[]);
            let wanted = held
                .iter()
                .filter(|([scope, signer, ..], _)| !sealed(scope) && !waits.contains(&[scope.clone(), signer.clone()]));
            let wanted: Records = wanted.map(|(place, cells)| (place.clone(), cells.clone())).collect();
            assert!(!wanted.is_empty());
            for place in read.keys().chain(wanted.keys()) {
                assert_eq!(read.get(place), wanted.get(place), "{place:?} as {} holds it", self.sites[at].name);
            }
            waiting.extend(waits);
        }
        for (place, cells) in self.read(None, &[]) {
            assert!(cells.get("contact_email").is_none(), "{place:?} shows an address to everybody");
        }
        waiting.len()
    }

    /// Judges every file that one of us can open by the CDDL of its page.
    fn judge(&self) {
        let root = self.stick.path();
        let keys = self.sites.iter().flat_map(|site| {
            let instance = site.open();
            keys_for(&root, &instance.id(), |sealed| instance.identity.open_sealed(sealed, 128).unwrap())
        });
        let counts = Pages::read().store(&root, &keys.collect::<Vec<_>>());
        assert_eq!(counts.get("sealed object"), None, "somebody reads each: {counts:?}");
    }

    /// Counts the records that lie in several scopes.
    fn overlaid(&self) -> usize {
        let mut scopes: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for [scope, _, _, _, key] in self.read(Some(0), &[]).into_keys() {
            scopes.entry(key).or_default().insert(scope);
        }
        scopes.values().filter(|scopes| scopes.len() > 1).count()
    }
}

#[test]
fn stores_of_random_histories_hold_what_their_signers_hold() {
    let Some(_alone) = python_at_hand() else { return };
    let seeds = std::env::var("WBSYNC_SEEDS").map_or(2, |seeds| seeds.parse().unwrap());
    let (mut rebuilt, mut waited, mut overlaid) = (0, 0, 0);
    for seed in 0..seeds {
        println!("seed {seed}");
        let mut scene = Scene::new(seed);
        for _ in 0..6 {
            scene.live();
            rebuilt += scene.heads().len();
            waited += scene.check();
        }
        overlaid += scene.overlaid();
    }
    println!("{overlaid} records had fields with a scope of their own");
    assert!(overlaid > 0);
    println!("{waited} of {rebuilt} heads stood on a state that is no longer in the store");
    assert!(waited * 2 < rebuilt, "{waited} of {rebuilt}");
}

#[test]
fn a_merge_of_two_writers_has_the_same_id_and_records() {
    let Some(_alone) = python_at_hand() else { return };
    let scene = Scene::new(7);
    let [alpha, beta, gamma, delta] = &scene.sites;
    let title = |site: &Site| -> i64 {
        site.app.value("SELECT max(id) FROM help_requests WHERE sync_scope = 'public'").parse().unwrap()
    };
    let subject = alpha.app.value(&format!("SELECT title FROM help_requests WHERE id = {}", title(alpha)));
    alpha.sync();
    for site in [beta, gamma] {
        site.pull();
        let sql = format!("SELECT id FROM help_requests WHERE title = '{}'", subject.replace('\'', "''"));
        let id: i64 = site.app.value(&sql).parse().unwrap();
        site.edit(id, "description", &format!("at once, by {}", site.name));
        site.app.insert_comment(id, 1, &format!("comment by {}", site.name), "public");
        site.open().commit(wbsync::sync::commit::Mode::Keep).unwrap();
    }
    beta.push();
    gamma.push();
    assert_eq!(scene.check(), 0, "every head can be rebuilt");
    delta.pull();
    let joined: Vec<([String; 5], Json)> =
        scene.read(Some(3), &["--joined"]).into_iter().filter(|([_, head, ..], _)| head == "joined").collect();
    let local = delta.local_heads();
    let mut merges = 0;
    for (scope, commit) in &local {
        let ours: Vec<_> = joined.iter().filter(|([found, ..], _)| found == scope).cloned().collect();
        let instance = delta.open();
        let row = instance.state.scopes().unwrap().into_iter().find(|row| row.id.to_string() == *scope).unwrap();
        let known = instance.state.known_commit(&row.id, &row.local_head.unwrap()).unwrap();
        assert_eq!(known.id.to_string(), *commit);
        drop(instance);
        let wanted: Vec<_> = held(delta, &row.id, &known.id, "joined").into_iter().collect();
        assert_eq!(ours, wanted, "the merge of {}", row.name);
        let writers = scene.heads().into_iter().filter(|(found, ..)| *found == row.id).count();
        let is_new = scene.heads().iter().all(|(_, _, signed)| *signed != known.id);
        merges += usize::from(is_new);
        assert!(writers > 0);
    }
    assert!(merges > 0, "nobody signed the merge of the two writers yet");
    let conflicts = joined.iter().any(|(_, cells)| cells["description"].as_array().is_some_and(|cell| cell.len() == 2));
    assert!(conflicts, "both descriptions are kept");
}

/// Heads that are properly signed and lie; the good store is put back after each.
#[test]
fn what_contradicts_itself_is_noticed_behind_good_signatures() {
    let Some(_alone) = python_at_hand() else { return };
    let scene = Scene::new(9);
    let (alpha, beta) = (scene.sites[0].open(), scene.sites[1].open());
    let (origin, third) = (alpha.id(), scene.sites[2].open().id());
    let (store, good) = (scene.stick.path(), Saved::of(&scene.stick.path()));
    let refused = |why: &str| {
        let output = scene.reader("verify", Some(0), &[]);
        assert_eq!(output.status.code(), Some(1), "{why}: {}", said(&output));
        assert!(said(&output).contains(why), "{why}: {}", said(&output));
        good.restore(&store);
    };
    let forge = |instance, name: &str| {
        let mut forge = Forge::new(instance, &origin, name);
        let own = forge.stamp(instance.id(), forge.sequence);
        forge.invent("forged", own, own);
        forge
    };
    for instance in [&alpha, &beta] {
        forge(instance, "public").honestly(&store);
        let output = scene.reader("verify", Some(0), &[]);
        assert!(output.status.success(), "a head that doesn't lie: {}", said(&output));
        good.restore(&store);
        forge(instance, "public").publish(&store, |commit| drop(commit.datasets.pop_last()), |_| {});
        refused("the roots aren't those");
        forge(instance, "public").publish(&store, |_| {}, |head| head.commit = CommitId::from_bytes([1; 32]));
        refused("isn't among what it carries");
        forge(instance, "public").publish(&store, |_| {}, |head| head.writes += 1);
        refused("writes by its signer");
        forge(instance, "public").publish(&store, |_| {}, |head| head.manifest_seq += 1);
        refused("a newer manifest");
        forge(instance, "public").publish(&store, |_| {}, |head| head.epoch += 1);
        refused("speaks of epoch");
        let size = |head: &mut Head| head.segments.last_mut().unwrap().objects[0].bytes += 1;
        forge(instance, "public").publish(&store, |_| {}, size);
        refused("bytes long");
        forge(instance, "public").publish(&store, |commit| commit.clock.advance(third, 0, 99), |_| {});
        refused("whose own head does not show it");
        let mut ahead = forge(instance, "public");
        let stamp = ahead.stamp(instance.id(), ahead.sequence + 1);
        ahead.invent("ahead", stamp, stamp);
        ahead.honestly(&store);
        refused("hasn't seen");
        forge(instance, "trusted").honestly(&store);
        refused("isn't padded");
    }
    // The writer puts other words under the origin's stamp, or says that they replaced others than they did.
    let title = scene.sites[0].app.value("SELECT title FROM help_requests WHERE sync_scope = 'public'");
    let field = FieldName::new("title").unwrap();
    for (value, over) in [("misquoted", None), (&*title, Some(Value::Text("another".into())))] {
        let mut quoted = forge(&beta, "public");
        let (id, mut record) = quoted.find("requests", "title", &title);
        let stamp = record.cells[&field].elements()[0].stamp;
        record.cells.insert(field.clone(), Cell::replacing(stamp, Value::Text(value.into()), over));
        quoted.entries.insert(id, record);
        quoted.honestly(&store);
        refused("two values under one stamp");
    }
    // Without a base only the origin's head stands, and nothing is signed for nothing.
    let mut alone = forge(&beta, "public");
    (alone.base, alone.start, alone.seq) = (None, None, 1);
    alone.publish(&store, |_| {}, |head| (head.prev, head.segments[0].from_seq) = (None, 0));
    refused("stands without a base");
    forge(&beta, "public").publish(&store, |_| {}, |head| head.segments.clear());
    refused("isn't among what it carries");
}

#[test]
fn two_histories_of_one_signer_show_when_stores_are_compared() {
    let Some(_alone) = python_at_hand() else { return };
    let scene = Scene::new(5);
    let alpha = &scene.sites[0];
    let (before, earlier) = (alpha.save(), Saved::of(&scene.stick.path()));
    alpha.request(1, "one history", "public");
    alpha.sync();
    let later = reader("verify", &[earlier.path(), &scene.stick.path()], None, &[]);
    assert!(later.status.success(), "{}", said(&later));
    assert!(said(&later).contains("is behind"), "{}", said(&later));
    alpha.restore(&before);
    let other = Stick::new();
    alpha.uses_as(&other, "other");
    alpha.request(1, "another history", "public");
    alpha.try_pull("other").unwrap();
    alpha.try_push("other").unwrap();
    let forked = reader("verify", &[&scene.stick.path(), &other.path()], None, &[]);
    assert_eq!(forked.status.code(), Some(1), "{}", said(&forked));
    assert!(said(&forked).contains("two histories"), "{}", said(&forked));
}

/// The records of a commit, as a site holds them.
fn held(site: &Site, scope: &ScopeId, commit: &CommitId, head: &str) -> Records {
    let instance = site.open();
    let row = instance.state.scopes().unwrap().into_iter().find(|row| row.id == *scope).unwrap();
    let known = instance.state.known_commit(scope, commit).unwrap();
    let mut records = Records::new();
    for (dataset, root) in &known.commit.datasets {
        for found in scan(&instance.state, &row.id_key, root, ..) {
            let (key, bytes) = found.unwrap();
            let place = [scope.to_string(), head.to_owned(), commit.to_string(), dataset.to_string(), hex(&key)];
            records.insert(place, cells(&codec::decode(&bytes, &row.origin).unwrap()));
        }
    }
    records
}

fn cells(record: &Record) -> Json {
    let cells = record.cells.iter();
    cells.map(|(field, cell)| (field.to_string(), cell.elements().iter().map(element).collect::<Json>())).collect()
}

fn element(element: &Element) -> Json {
    let stamp = &element.stamp;
    let mut json = json!({
        "author": stamp.author.to_string(),
        "incarnation": stamp.incarnation,
        "sequence": stamp.sequence,
        "time": stamp.time.0,
        "value": value(&element.value),
    });
    if let Some(over) = &element.over {
        json["over"] = value(over);
    }
    json
}

/// A value in the reader's own spelling, which keeps all kinds apart.
fn value(it: &Value) -> Json {
    match it {
        Value::Null => Json::Null,
        Value::Bool(value) => json!(value),
        Value::Int(value) => json!(value),
        Value::Float(value) => json!({ "float": format!("{value:?}") }),
        Value::Text(text) => json!(text),
        Value::Bytes(bytes) => json!({ "bytes": hex(bytes) }),
        Value::Timestamp(micros) => json!({ "timestamp": micros }),
        Value::Decimal(text) => json!({ "decimal": text }),
        Value::Json(text) => json!({ "json": text }),
        Value::List(items) => json!({ "list": items.iter().map(value).collect::<Vec<_>>() }),
        Value::Ref(id) => json!({ "ref": [id.origin.to_string(), id.dataset.as_str(), id.key.to_string()] }),
        Value::Blob { hash, size } => json!({ "blob": [hex(hash), size] }),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn pick(random: &mut Prng, app: &App, sql: &str) -> Option<i64> {
    let db = app.db();
    let mut select = db.prepare(sql).unwrap();
    let ids: Vec<i64> = select.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
    if ids.is_empty() { None } else { Some(ids[random.below(ids.len() as u64) as usize]) }
}

/// The store that the first version wrote: as it was rebuilt then, root by root.
#[test]
fn the_frozen_store_is_rebuilt_as_ever() {
    let Some(_alone) = python_at_hand() else { return };
    let frozen = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/frozen/1");
    let (store, key) = (frozen.join("store"), frozen.join("keys/age.key"));
    let output = reader("verify", &[&store], Some(&key), &[]);
    assert!(output.status.success(), "{}", said(&output));
    let output = reader("tree", &[&store], Some(&key), &["--joined"]);
    assert_eq!(String::from_utf8(output.stdout).unwrap(), fs::read_to_string(frozen.join("trees.jsonl")).unwrap());
    let parts: Vec<_> = (1..=6).map(|part| frozen.join(format!("split.tar.{part}"))).collect();
    for files in [vec![frozen.join("all.tar")], vec![frozen.join("sealed.tar.age")], parts] {
        let files: Vec<&Path> = files.iter().map(|file| file.as_path()).collect();
        let output = reader("bundle", &files, Some(&key), &[]);
        assert!(output.status.success(), "{}", said(&output));
    }
    let alpha = SignedCard::from_line(&fs::read_to_string(frozen.join("alpha.card")).unwrap()).unwrap();
    let origin = alpha.card.instance.to_string();
    for (file, absent) in [("present.proof", false), ("absent.proof", true)] {
        let output = reader("verify-proof", &[&frozen.join(file)], None, &["--origin", &origin]);
        assert!(output.status.success(), "{}", said(&output));
        assert_eq!(serde_json::from_slice::<Json>(&output.stdout).unwrap()["cells"].is_null(), absent);
    }
}
