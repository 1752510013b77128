//! Random histories of three sites that may all write everywhere: they come to show the same, and nothing is lost.
//!
//! `WBSYNC_SEEDS=200` runs more seeds, `WBSYNC_SEED=17` replays one and tells what happens.

use std::collections::{BTreeMap, BTreeSet};

use wbsync::exchange::health::Depth;
use wbsync::id::name::DatasetName;
use wbsync::record::value::Value;
use wbsync::state::peers::Trust;
use wbsync::sync::commit::Mode;
use wbsync::sync::prune::{OldRecords, PruneOptions};
use wbsync::sys::clock::{self, UnixMillis};
use wbsync::testing::prng::Prng;

use super::world::{Site, Stick};

struct World {
    _stick: Stick,
    sites: [Site; 3],
    /// A public user of each site's own.
    users: [i64; 3],
    random: Prng,
    texts: u64,
    tells: bool,
    /// Whether sites prune at random, too.
    prunes: bool,
    /// Every text that was ever committed, with its record and the request that a comment stands under.
    committed: BTreeMap<String, (String, Option<String>)>,
    /// Texts that somebody who saw them replaced or deleted.
    replaced: BTreeSet<String>,
    /// What each text replaced: texts that were never committed are known by those before them.
    before: BTreeMap<String, String>,
    /// Records that their origin took out of a scope, also into another one: edits that others made there
    /// at the same time are turned away, of the record and of what stands under it. Only the history of
    /// the scope has them.
    withdrawn: BTreeSet<String>,
    /// Requests that somebody deleted: what stands under them is withdrawn by its own origin.
    deleted: BTreeSet<String>,
}

const SHOWN_REQUESTS: &str = "sync_scope IN ('public', 'trusted') AND status IN ('open', 'completed')";

impl World {
    fn new(seed: u64, tells: bool, prunes: bool) -> Self {
        let stick = Stick::new();
        let sites = ["alpha", "beta", "gamma"].map(Site::new);
        for site in &sites {
            for other in sites.iter().filter(|other| other.name != site.name) {
                site.knows(other, Some(Trust::Writer));
            }
            site.uses(&stick);
        }
        let users =
            [0, 1, 2].map(|at: usize| sites[at].app.insert_user(&format!("user of {}", sites[at].name), "public"));
        let mut world = Self {
            _stick: stick,
            sites,
            users,
            random: Prng::new(seed),
            texts: 0,
            tells,
            prunes,
            committed: BTreeMap::new(),
            replaced: BTreeSet::new(),
            before: BTreeMap::new(),
            withdrawn: BTreeSet::new(),
            deleted: BTreeSet::new(),
        };
        for at in 0..3 {
            world.insert_request(at, "public");
            world.insert_request(at, "trusted");
        }
        for at in [0, 1, 2, 0, 1] {
            world.pull(at);
            world.push(at);
        }
        world
    }

    fn tell(&self, at: usize, what: &str) {
        if self.tells {
            println!("{}: {what}", self.sites[at].name);
        }
    }

    fn text(&mut self) -> String {
        self.texts += 1;
        format!("text {:04}", self.texts)
    }

    fn pull(&mut self, at: usize) {
        let summary = self.sites[at].pull();
        self.tell(at, &format!("pull {summary:?}"));
        for (_, id, record) in self.sites[at].records() {
            let parent = record.elements().find_map(|(field, element)| match &element.value {
                Value::Ref(parent) if field.as_str() == "request" => Some(format!("{}/{}", parent.dataset, parent.key)),
                _ => None,
            });
            for (_, element) in record.elements() {
                if let Value::Text(text) = &element.value
                    && text.starts_with("text ")
                {
                    self.committed.insert(text.clone(), (id.clone(), parent.clone()));
                }
            }
        }
    }

    fn push(&mut self, at: usize) {
        let summary = self.sites[at].push();
        self.tell(at, &format!("push {summary:?}"));
    }

    /// Notes that a site replaces a text that it shows, with all that stand beside it in an open conflict.
    fn replace(&mut self, at: usize, shown: &str) {
        self.replaced.insert(shown.to_owned());
        for (_, _, record) in self.sites[at].records() {
            for cell in record.cells.values() {
                let texts: Vec<&String> = cell
                    .elements()
                    .iter()
                    .filter_map(|element| if let Value::Text(text) = &element.value { Some(text) } else { None })
                    .collect();
                if texts.iter().any(|text| *text == shown) {
                    self.replaced.extend(texts.into_iter().cloned());
                }
            }
        }
    }

    /// Notes that a site takes a row out of its scopes, by the text that the row shows now.
    fn withdraw(&mut self, at: usize, shown: &str) {
        let records = self.records_of(at, shown);
        self.withdrawn.extend(records);
    }

    /// Finds the records of the row that shows a text.
    fn records_of(&self, at: usize, shown: &str) -> Vec<String> {
        let texts: Vec<&String> =
            std::iter::successors(self.before.get(shown), |text| self.before.get(*text)).collect();
        let holds = |record: &wbsync::record::cell::Record| {
            record.elements().any(
                |(_, element)| matches!(&element.value, Value::Text(text) if text == shown || texts.contains(&text)),
            )
        };
        let records = self.sites[at].records().into_iter();
        records.filter(|(_, _, record)| holds(record)).map(|(_, id, _)| id).collect()
    }

    /// Picks a row: its key and one of its texts.
    fn pick(&mut self, at: usize, sql: &str) -> Option<(i64, String)> {
        let db = self.sites[at].app.db();
        let mut select = db.prepare(sql).unwrap();
        let rows = select.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
        let rows: Vec<(i64, String)> = rows.map(Result::unwrap).collect();
        if rows.is_empty() { None } else { Some(rows[self.random.below(rows.len() as u64) as usize].clone()) }
    }

    fn insert_request(&mut self, at: usize, scope: &str) {
        let title = self.text();
        self.tell(at, &format!("new request {title} {scope}"));
        let key = self.sites[at].request(self.users[at], &title, scope);
        let description = self.text();
        self.sites[at].app.edit_request(key, &description);
    }

    fn set(&mut self, at: usize, table: &str, column: &str, key: i64, old: &str) {
        let text = self.text();
        self.tell(at, &format!("{table} {key}: {column} {old} becomes {text}"));
        self.replace(at, old);
        self.before.insert(text.clone(), old.to_owned());
        self.sites[at].app.execute(&format!("UPDATE {table} SET {column} = ?2 WHERE id = ?1"), &[&key, &text]);
    }

    fn delete_request(&mut self, at: usize, key: i64) {
        let db = self.sites[at].app.db();
        let texts = format!(
            "SELECT title FROM help_requests WHERE id = {key} UNION ALL SELECT description FROM help_requests WHERE id = {key}
             UNION ALL SELECT body FROM request_comments WHERE help_request_id = {key}"
        );
        let texts: Vec<String> =
            db.prepare(&texts).unwrap().query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
        self.tell(at, &format!("delete request {key}: {texts:?}"));
        for text in texts {
            let records = self.records_of(at, &text);
            self.deleted.extend(records);
            self.replace(at, &text);
        }
        db.execute("DELETE FROM request_comments WHERE help_request_id = ?1", [key]).unwrap();
        db.execute("DELETE FROM help_requests WHERE id = ?1", [key]).unwrap();
    }

    /// Lets go, at one site, of rows of others and of history, up to now or a while ago.
    fn prune(&mut self, at: usize) {
        let before = UnixMillis(clock::now().0 - self.random.below(3) * 300);
        let datasets = self.random.pick(&["", "", "comments", "requests"]);
        let datasets = Some(datasets)
            .filter(|name| !name.is_empty())
            .into_iter()
            .map(|name| DatasetName::new(name).unwrap())
            .collect();
        let from = self.sites[self.random.below(3) as usize].name;
        let from = (from != self.sites[at].name && self.random.below(2) == 0).then(|| from.to_owned());
        let left_out = self.sites[self.random.below(3) as usize].name;
        let leaves_out = left_out != self.sites[at].name && self.random.below(2) == 0;
        let options = PruneOptions {
            history_before: (self.random.below(2) == 0).then_some(before),
            without: leaves_out.then(|| left_out.to_owned()).into_iter().collect(),
            records: (self.random.below(4) > 0).then_some(OldRecords { before, datasets, from }),
        };
        let pruned = self.sites[at].open().prune(&options, Mode::Keep).unwrap();
        self.tell(at, &format!("prune {options:?}: {pruned:?}"));
    }

    fn step(&mut self) {
        let at = self.random.below(3) as usize;
        if self.prunes && self.random.below(6) == 0 {
            return self.prune(at);
        }
        let own = format!("created_by_user_id = {}", self.users[at]);
        match self.random.below(20) {
            0 | 1 => {
                let scope = self.random.pick(&["public", "public", "trusted", "private"]);
                self.insert_request(at, scope);
            }
            2 | 3 => {
                let Some((request, _)) = self.pick(at, "SELECT id, title FROM help_requests WHERE title IS NOT NULL")
                else {
                    return;
                };
                let body = self.text();
                self.tell(at, &format!("new comment {body} under {request}"));
                self.sites[at].app.insert_comment(request, self.users[at], &body, "public");
            }
            4..=6 => {
                let column = self.random.pick(&["title", "description"]);
                let sql =
                    format!("SELECT id, {column} FROM help_requests WHERE {SHOWN_REQUESTS} AND title IS NOT NULL");
                if let Some((key, old)) = self.pick(at, &sql) {
                    self.set(at, "help_requests", column, key, &old);
                }
            }
            7 => {
                let sql = "SELECT id, body FROM request_comments WHERE sync_scope = 'public' AND body <> ''";
                if let Some((key, old)) = self.pick(at, sql) {
                    self.set(at, "request_comments", "body", key, &old);
                }
            }
            8 => {
                let sql = format!("SELECT id, title FROM help_requests WHERE {SHOWN_REQUESTS} AND title IS NOT NULL");
                if let Some((key, _)) = self.pick(at, &sql) {
                    self.tell(at, &format!("complete {key}"));
                    self.sites[at].app.complete_request(key);
                }
            }
            9 => {
                let sql = format!("SELECT id, title FROM help_requests WHERE {own}");
                if let Some((key, title)) = self.pick(at, &sql) {
                    let scope = self.random.pick(&["public", "trusted", "private"]);
                    self.tell(at, &format!("request {key} {title} becomes {scope}"));
                    self.withdraw(at, &title);
                    self.sites[at].app.set_scope("help_requests", key, scope);
                }
            }
            10 => {
                let sql = format!("SELECT id, title FROM help_requests WHERE {own}");
                if let Some((key, title)) = self.pick(at, &sql) {
                    let status = self.random.pick(&["draft", "open"]);
                    self.tell(at, &format!("request {key} {title} becomes {status}"));
                    self.withdraw(at, &title);
                    self.sites[at].edit(key, "status", status);
                }
            }
            11 => {
                let sql = format!("SELECT id, title FROM help_requests WHERE {SHOWN_REQUESTS} AND title IS NOT NULL");
                if let Some((key, _)) = self.pick(at, &sql) {
                    self.delete_request(at, key);
                }
            }
            12 => {
                let sql = format!(
                    "SELECT id, body FROM request_comments WHERE user_id = {} AND deleted_at IS NULL",
                    self.users[at]
                );
                if let Some((key, body)) = self.pick(at, &sql) {
                    self.tell(at, &format!("soft-delete comment {key} {body}"));
                    self.replace(at, &body);
                    self.withdraw(at, &body);
                    self.sites[at].app.delete_comment(key);
                }
            }
            13..=15 => self.pull(at),
            16 => self.push(at),
            _ => {
                self.pull(at);
                self.push(at);
            }
        }
    }

    /// What the people of a site read of what is shared, by text alone.
    fn shown(&self, at: usize) -> String {
        let app = &self.sites[at].app;
        let requests = format!("(SELECT * FROM help_requests WHERE {SHOWN_REQUESTS})");
        let comments = format!(
            "(SELECT c.body, r.title FROM request_comments c JOIN {requests} r ON r.id = c.help_request_id
              WHERE c.deleted_at IS NULL AND c.sync_scope <> 'private')"
        );
        let columns = ["title", "description", "status", "completed_at", "sync_scope"];
        app.dump_columns(&requests, &columns)
            + &app.dump_columns(&comments, &["body", "title"])
            + &app.dump_columns("(SELECT * FROM users WHERE sync_scope = 'public')", &["username"])
    }

    /// Nothing is damaged, rows stay away as long as nothing changes, and come back when they are wanted.
    fn check_pruned(&mut self, seed: u64) {
        for at in 0..3 {
            let site = &self.sites[at];
            let report = site.open().fsck(Depth::Contents).unwrap();
            let damage: Vec<_> = report.findings.iter().filter(|finding| finding.damage).collect();
            assert!(damage.is_empty(), "seed {seed}: {}: {damage:?}", site.name);
            let away = site.open().state.pruned_count().unwrap();
            self.tell(at, &format!("{away} away"));
            let shown = self.shown(at);
            self.pull(at);
            assert_eq!(self.shown(at), shown, "seed {seed}");
            let instance = self.sites[at].open();
            assert_eq!(instance.state.pruned_count().unwrap(), away, "seed {seed}");
            instance.undo_prune(&[], None, Mode::Keep).unwrap();
            assert_eq!(instance.state.pruned_count().unwrap(), 0);
            drop(instance);
            let report = self.sites[at].open().fsck(Depth::Sizes).unwrap();
            assert!(report.findings.iter().all(|finding| !finding.damage), "seed {seed}: {:?}", report.findings);
        }
    }

    fn check(&mut self, seed: u64) {
        for _ in 0..4 {
            for at in 0..3 {
                self.pull(at);
                self.push(at);
            }
        }
        let heads = [0, 1, 2].map(|at: usize| self.sites[at].local_heads());
        for at in 1..3 {
            assert_eq!(heads[0], heads[at], "seed {seed}: {} does not hold what alpha holds", self.sites[at].name);
        }
        if self.prunes {
            self.check_pruned(seed);
        }
        let shown = [0, 1, 2].map(|at| self.shown(at));
        for at in 1..3 {
            assert_eq!(shown[0], shown[at], "seed {seed}: {} does not show what alpha shows", self.sites[at].name);
        }
        let mut findable = String::new();
        for site in &self.sites {
            site.app.assert_whole();
            let (pull, push) = (site.pull(), site.push());
            assert!(pull.committed.scopes.is_empty(), "seed {seed}: {} echoes: {pull:?}", site.name);
            assert!(
                pull.merge.applied.is_empty() && pull.merge.merged.is_empty() && push.published.is_empty(),
                "seed {seed}: {pull:?} {push:?}"
            );
            for held in pull.fetched.remotes.values().map(|fetched| &fetched.held) {
                assert!(held.is_empty(), "seed {seed}: {held:?}");
            }
            findable += &site.app.dump("help_requests");
            findable += &site.app.dump("request_comments");
            // What a writer wrote into a record that had left the scope waits for its owner.
            findable += &format!("{:?}", site.open().late_edits(None).unwrap());
            for (_, _, record) in site.records() {
                findable += &format!("{:?}", record.cells);
            }
        }
        for (text, (record, parent)) in &self.committed {
            let withdrawn = |record: &String| self.withdrawn.contains(record);
            let accounted = self.replaced.contains(text)
                || withdrawn(record)
                || parent.as_ref().is_some_and(|parent| withdrawn(parent) || self.deleted.contains(parent));
            assert!(accounted || findable.contains(text), "seed {seed}: {text} of {record} is lost");
        }
    }
}

#[test]
fn sites_that_heal_show_the_same_and_lose_nothing() {
    run(10, false);
}

/// What is pruned at one site, at any moment, is deleted for nobody, keeps nobody from merging, and is there again when it is
/// wanted.
#[test]
fn sites_that_prune_at_any_time_hold_the_same_and_lose_nothing() {
    run(3, true);
}

fn run(seeds: u64, prunes: bool) {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let seeds = match number("WBSYNC_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("WBSYNC_SEEDS").unwrap_or(seeds),
    };
    let tells = seeds.end - seeds.start == 1;
    for seed in seeds {
        println!("WBSYNC_SEED={seed}");
        let mut world = World::new(seed, tells, prunes);
        let steps = 20 + world.random.below(30);
        for _ in 0..steps {
            world.step();
        }
        world.check(seed);
    }
}
