//! What is private stays home: canaries in rows that must never leave are looked for in everything that leaves.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use wbsync::id::name::PeerName;
use wbsync::sync::status::explain;
use wbsync::testing::prng::Prng;
use wbsync::testing::whiteballoon::edit::edit;
use wbsync::testing::whiteballoon::seed::Seed;

use super::support::app::App;
use super::world::{STICK, Site, Stick, files_under, pair};

const WORD: &str = "zqcanary";

fn contains(bytes: &[u8], word: &str) -> bool {
    bytes.windows(word.len()).any(|window| window.eq_ignore_ascii_case(word.as_bytes()))
}

/// Every text and blob of a database, table by table.
pub fn cells(path: &Path) -> Vec<(String, Vec<u8>)> {
    let db = rusqlite::Connection::open(path).unwrap();
    let mut names = db.prepare("SELECT name FROM sqlite_schema WHERE type = 'table'").unwrap();
    let names: Vec<String> = names.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
    let mut cells = Vec::new();
    for name in names {
        let mut select = db.prepare(&format!("SELECT * FROM \"{name}\"")).unwrap();
        let columns = select.column_count();
        let mut rows = select.query([]).unwrap();
        while let Some(row) = rows.next().unwrap() {
            for column in 0..columns {
                use rusqlite::types::ValueRef::{Blob, Text};
                if let Text(bytes) | Blob(bytes) = row.get_ref(column).unwrap() {
                    cells.push((name.clone(), bytes.to_owned()));
                }
            }
        }
    }
    cells
}

/// Looks for the word in a store: sealed objects opened, documents as they are, file names.
fn search_store(site: &Site, store: &Path) {
    for file in files_under(store) {
        assert!(!contains(file.as_bytes(), WORD), "the name {file}");
        assert!(!contains(&fs::read(store.join(&file)).unwrap(), WORD), "the bytes of {file}");
    }
    let opened = site.unseal(store, &BTreeSet::new());
    assert!(opened.len() > 1, "the store holds objects");
    for (path, scope, plain) in opened {
        assert!(!contains(&plain, WORD), "object {path} of scope {scope} holds private text");
    }
}

#[test]
fn a_seeded_canary_never_leaves() {
    let stick = Stick::new();
    let app = App::seeded(&Seed { canary: Some(WORD.into()), ..Seed::new(2500, 7) });
    let rows = cells(&app.db_path()).iter().filter(|(_, bytes)| contains(bytes, WORD)).count();
    assert!(rows > 300, "only {rows} cells hold the canary");
    let alpha = Site::of(app, "alpha");
    let beta = Site::new("beta");
    alpha.knows(&beta, Some(wbsync::state::peers::Trust::Trusted));
    beta.knows(&alpha, None);
    alpha.uses(&stick);
    beta.uses(&stick);
    let mut said = format!("{:?}", alpha.pull());
    said += &serde_json::to_string(&alpha.push()).unwrap();
    for round in 0..4 {
        edit(&alpha.app.db_path(), 100, round).unwrap();
        said += &format!("{:?}{:?}", alpha.pull(), alpha.push());
    }
    search_store(&alpha, &stick.path());
    search_store(&alpha, &alpha.app.dir().join(".wbsync/store"));
    for (table, bytes) in cells(&alpha.app.dir().join(".wbsync/state.db")) {
        assert!(!contains(&bytes, WORD), "table {table} of the state holds private text");
    }
    let instance = alpha.open();
    said += &serde_json::to_string(&instance.status().unwrap()).unwrap();
    said += &serde_json::to_string(&instance.log(None, 1000).unwrap()).unwrap();
    said += &serde_json::to_string(&instance.diff_database(None).unwrap()).unwrap();
    said += &serde_json::to_string(&instance.diff_database(Some("public")).unwrap()).unwrap();
    for error in [
        instance.fetch(&PeerName::new("nowhere").unwrap()).map(drop),
        instance.diff("00", "ff").map(drop),
        instance.show_record(WORD).map(drop),
    ] {
        said += &explain(&error.unwrap_err()).replace(&format!("{WORD:?}"), "").replace(WORD, "");
    }
    drop(instance);
    // The application's own tables are gone: whatever is said then must not quote a row.
    let away = alpha.app.dir().join("data/away.db");
    fs::rename(alpha.app.db_path(), &away).unwrap();
    fs::write(alpha.app.db_path(), &fs::read(&away).unwrap()[..20_000]).unwrap();
    said += &explain(&alpha.try_pull(STICK).unwrap_err());
    assert!(!contains(said.as_bytes(), WORD), "{said}");
    let gone = beta.pull();
    assert!(gone.fetched.remotes.values().any(|fetched| fetched.heads.iter().any(|head| head.records > 500)));
    for (table, bytes) in cells(&beta.app.db_path()) {
        assert!(!contains(&bytes, WORD), "table {table} of the follower holds private text");
    }
}

/// One application whose rows each carry a marker that changes with every edit.
struct Board {
    alpha: Site,
    random: Prng,
    markers: u64,
    next_user: u64,
}

impl Board {
    fn marker(&mut self) -> String {
        self.markers += 1;
        format!("mark{:05}x", self.markers)
    }

    fn scope(&mut self) -> &'static str {
        self.random.pick(&["public", "trusted", "private", "public", "private", "do_not_sync", "group:x", "Public"])
    }

    /// A random key of a table, if it has rows.
    fn key(&mut self, table: &str) -> Option<i64> {
        let count: u64 = self.alpha.app.value(&format!("SELECT count(*) FROM {table}")).parse().unwrap();
        let at = self.random.below(count.max(1));
        let sql = format!("SELECT coalesce((SELECT id FROM {table} ORDER BY id LIMIT 1 OFFSET {at}), 0)");
        self.alpha.app.value(&sql).parse().ok().filter(|key| *key > 0)
    }

    fn step(&mut self) {
        let app = &self.alpha.app;
        match self.random.below(14) {
            0 => {
                self.next_user += 1;
                let name = self.marker();
                let scope = self.scope();
                self.alpha.app.insert_user(&name, scope);
            }
            1 | 2 => {
                let (title, scope) = (self.marker(), self.scope());
                let Some(author) = self.key("users") else { return };
                let request = self.alpha.request(author, &title, scope);
                if self.random.chance(300) {
                    self.alpha.app.execute("UPDATE help_requests SET status = 'draft' WHERE id = ?1", &[&request]);
                }
            }
            3..=5 => {
                let (body, scope) = (self.marker(), self.scope());
                let (Some(request), Some(author)) = (self.key("help_requests"), self.key("users")) else { return };
                self.alpha.app.insert_comment(request, author, &body, scope);
            }
            6..=8 => {
                let table = self.random.pick(&["help_requests", "help_requests", "request_comments", "users"]);
                let scope = self.scope();
                if let Some(key) = self.key(table) {
                    self.alpha.app.set_scope(table, key, scope);
                }
            }
            9 => {
                let status = self.random.pick(&["draft", "pending", "open", "completed"]);
                if let Some(key) = self.key("help_requests") {
                    self.alpha.edit(key, "status", status);
                }
            }
            10 => {
                // The highest row goes, and a private one gets its key.
                let key: i64 = app.value("SELECT coalesce(max(id), 0) FROM help_requests").parse().unwrap();
                if key == 0 {
                    return;
                }
                let db = app.db();
                db.execute("DELETE FROM request_comments WHERE help_request_id = ?1", [key]).unwrap();
                db.execute("DELETE FROM help_requests WHERE id = ?1", [key]).unwrap();
                let title = self.marker();
                let reused = self.alpha.request(1, &title, "private");
                assert_eq!(reused, key);
            }
            11 => {
                if let Some(key) = self.key("request_comments") {
                    let sql = "UPDATE request_comments SET deleted_at = CASE WHEN deleted_at IS NULL THEN ?2 END WHERE id = ?1";
                    self.alpha.app.execute(sql, &[&key, &self.alpha.app.now()]);
                }
            }
            12 => {
                let title = self.marker();
                if let Some(key) = self.key("help_requests") {
                    self.alpha.edit(key, "title", &title);
                }
            }
            _ => {
                let body = self.marker();
                if let Some(key) = self.key("request_comments") {
                    let sql = "UPDATE request_comments SET body = ?2 WHERE id = ?1";
                    self.alpha.app.execute(sql, &[&key, &body]);
                }
            }
        }
    }

    /// The markers that may be read in each scope now, by the application's own words alone.
    fn allowed(&self) -> BTreeMap<String, BTreeSet<String>> {
        let effective = "CASE WHEN r.status NOT IN ('open', 'completed') THEN '-' ELSE r.sync_scope END";
        let sql = format!(
            "SELECT sync_scope, username FROM users WHERE username LIKE 'mark%'
             UNION ALL SELECT {effective}, r.title FROM help_requests r
             UNION ALL SELECT CASE WHEN c.deleted_at IS NOT NULL THEN '-'
                 WHEN {effective} = 'public' THEN c.sync_scope
                 WHEN {effective} = 'trusted' AND c.sync_scope IN ('public', 'trusted') THEN 'trusted'
                 ELSE '-' END, c.body
             FROM request_comments c JOIN help_requests r ON r.id = c.help_request_id"
        );
        let db = self.alpha.app.db();
        let mut select = db.prepare(&sql).unwrap();
        let rows = select.query_map([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?))).unwrap();
        let mut allowed: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for (scope, marker) in rows.map(Result::unwrap) {
            if scope == "public" || scope == "trusted" {
                allowed.entry(scope).or_default().insert(marker);
            }
        }
        allowed
    }
}

fn markers_in(bytes: &[u8]) -> BTreeSet<String> {
    let windows = bytes.windows(10).filter(|window| window.starts_with(b"mark") && window[9] == b'x');
    windows.map(|window| String::from_utf8_lossy(window).into_owned()).collect()
}

#[test]
fn whatever_flips_only_what_is_shared_now_is_written() {
    let seeds: u64 = std::env::var("WBSYNC_SEEDS").ok().and_then(|seeds| seeds.parse().ok()).unwrap_or(4);
    for seed in 0..seeds {
        eprintln!("seed {seed}");
        flip_scopes(seed);
    }
}

fn flip_scopes(seed: u64) {
    let (stick, alpha, beta) = pair(None);
    alpha.open().peer_trust("beta", wbsync::state::peers::Trust::Trusted).unwrap();
    let own_store = alpha.app.dir().join(".wbsync/store");
    let state = alpha.app.dir().join(".wbsync/state.db");
    let mut board = Board { alpha, random: Prng::new(seed), markers: 0, next_user: 0 };
    let (mut seen, mut ever, mut found_ever) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    for round in 0..25 {
        for _ in 0..1 + board.random.below(8) {
            board.step();
        }
        board.alpha.sync();
        let allowed = board.allowed();
        ever.extend(allowed.values().flatten().cloned());
        for (path, scope, plain) in board.alpha.unseal(&own_store, &seen) {
            let found = markers_in(&plain);
            let extra: Vec<_> =
                found.iter().filter(|marker| !allowed.get(&scope).is_some_and(|set| set.contains(*marker))).collect();
            assert!(extra.is_empty(), "seed {seed}, round {round}: scope {scope} got private {extra:?}");
            found_ever.extend(found);
            seen.insert(path);
        }
        for (table, bytes) in cells(&state) {
            let extra: Vec<_> = markers_in(&bytes).into_iter().filter(|marker| !ever.contains(marker)).collect();
            assert!(extra.is_empty(), "seed {seed}, round {round}: table {table} of the state got {extra:?}");
        }
        if round % 4 == 3 {
            beta.pull();
            let shown: BTreeSet<String> = ["users", "help_requests", "request_comments"]
                .iter()
                .flat_map(|table| markers_in(beta.app.dump(table).as_bytes()))
                .collect();
            let expected: BTreeSet<String> = allowed.into_values().flatten().collect();
            assert_eq!(shown, expected, "seed {seed}, round {round}: what the follower shows");
            beta.app.assert_whole();
        }
    }
    assert_eq!(found_ever, ever, "every marker that was ever shared travelled in its time");
    assert!(!files_under(&stick.path().join("objects")).is_empty());
}
