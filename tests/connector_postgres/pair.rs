//! An instance on SQLite and one on PostgreSQL, with the application's whole schema as SQLAlchemy declares it on each.

use std::path::Path;

use postgres::Client;
use tempfile::TempDir;
use wbsync::id::name::PeerName;
use wbsync::state::peers::Trust;
use wbsync::sync::init::InitOptions;
use wbsync::sync::instance::{Instance, Purpose};
use wbsync::sync::peers::PeerAdd;
use wbsync::sync::progress::silent;
use wbsync::testing::whiteballoon::seed::SCHEMA;

use super::support::app::App;
use super::support::postgres::{Cluster, connect};

/// The application on PostgreSQL: keys from sequences, foreign keys enforced.
pub(crate) struct Remote {
    pub(crate) dir: TempDir,
    db: Client,
    pub(crate) url: String,
}

impl Remote {
    pub(crate) fn new() -> Self {
        let url = Cluster::or_skip().new_database();
        let mut db = connect(&url);
        let schema = SCHEMA.replace("    id INTEGER NOT NULL", "    id SERIAL NOT NULL");
        db.batch_execute(&schema.replace("DATETIME", "TIMESTAMP WITHOUT TIME ZONE").replace("BLOB", "BYTEA")).unwrap();
        let admin = "INSERT INTO users(username, is_admin, created_at, sync_scope)
                     VALUES('root', TRUE, '2026-02-01 12:00:00', 'private')";
        db.batch_execute(admin).unwrap();
        Self { dir: tempfile::tempdir().unwrap(), db, url }
    }

    pub(crate) fn batch(&mut self, sql: &str) {
        self.db.batch_execute(sql).unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    }

    /// The lines that a query gives, each of one text, in the order of their bytes.
    pub(crate) fn lines(&mut self, sql: &str) -> Vec<String> {
        let rows = self.db.query(sql, &[]).unwrap_or_else(|error| panic!("{sql}: {error:?}"));
        let mut lines: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
        lines.sort();
        lines
    }
}

impl Remote {
    /// Asserts that each row of the map stands for a row, and each of those that are shared has one.
    pub(crate) fn whole(&mut self) {
        let sql = "SELECT concat_ws(' ', d.name, m.key) FROM wbsync.map m JOIN wbsync.dataset d USING(dataset)
                   WHERE d.name IN ('requests', 'comments', 'users') AND NOT EXISTS (
                       SELECT 1 FROM help_requests t WHERE d.name = 'requests' AND t.id::text = m.key
                       UNION ALL SELECT 1 FROM request_comments t WHERE d.name = 'comments' AND t.id::text = m.key
                       UNION ALL SELECT 1 FROM users t WHERE d.name = 'users' AND t.id::text = m.key)";
        assert_eq!(self.lines(sql), Vec::<String>::new(), "map rows without rows");
        let sql = "SELECT t.id::text FROM help_requests t JOIN wbsync.dataset d ON d.name = 'requests'
                   WHERE NOT EXISTS (SELECT 1 FROM wbsync.map m WHERE m.dataset = d.dataset AND m.key = t.id::text)";
        assert_eq!(self.lines(sql), Vec::<String>::new(), "rows without map rows");
    }
}

fn init(dir: &Path, name: &str, database: Option<&str>) {
    let options = InitOptions {
        database: database.map(str::to_owned),
        preset: Some("whiteballoon".into()),
        name: Some(PeerName::new(name).unwrap()),
        ..InitOptions::default()
    };
    Instance::init(dir, &options, silent()).unwrap();
}

fn open(dir: &Path) -> Instance {
    Instance::open(dir, Purpose::Change, silent()).unwrap()
}

fn meet(one: &Path, other: &Path, name: &str, stick: &Path) {
    let card = open(other).card.clone();
    let instance = open(one);
    instance.peer_add(&card, &PeerAdd::default()).unwrap();
    instance.peer_trust(name, Trust::Writer).unwrap();
    instance.follow(name, None).unwrap();
    instance.remote_add(&PeerName::new("stick").unwrap(), stick.to_str().unwrap(), one).unwrap();
}

fn sync(dir: &Path) {
    let stick = PeerName::new("stick").unwrap();
    let summary = open(dir).pull(std::slice::from_ref(&stick)).unwrap();
    assert!(summary.fetched.failed.is_empty(), "{:?}", summary.fetched.failed);
    for fetched in summary.fetched.remotes.values() {
        assert!(fetched.refused.is_empty(), "{:?}", fetched.refused);
    }
    open(dir).push(&stick).unwrap();
}

/// The roots of all scopes as an instance holds them, by origin and scope.
pub(crate) fn roots(dir: &Path) -> Vec<String> {
    let instance = open(dir);
    let mut roots: Vec<String> = instance
        .state
        .scopes()
        .unwrap()
        .into_iter()
        .filter_map(|row| {
            let known = instance.state.known_commit(&row.id, &row.local_head?).unwrap();
            Some(format!("{} {} {:?}", row.origin, row.name, known.commit.datasets))
        })
        .collect();
    roots.sort();
    roots
}

/// What both applications show of what is shared, without their own keys; spelled alike.
const SHOWN: [(&str, &str); 3] = [
    (
        "SELECT username || '|' || created_at || '|' || sync_scope FROM users WHERE sync_scope <> 'private'",
        "SELECT username || '|' || to_char(created_at, 'YYYY-MM-DD HH24:MI:SS.US') || '|' || sync_scope FROM users
         WHERE sync_scope <> 'private'",
    ),
    (
        "SELECT coalesce(title, '-') || '|' || description || '|' || status || '|' || coalesce(completed_at, '-') || '|' ||
         updated_at || '|' || coalesce(u.username, '-') || '|' || r.sync_scope
         FROM help_requests r LEFT JOIN users u ON u.id = r.created_by_user_id WHERE r.sync_scope <> 'private'",
        "SELECT coalesce(title, '-') || '|' || description || '|' || status || '|' ||
         coalesce(to_char(completed_at, 'YYYY-MM-DD HH24:MI:SS.US'), '-') || '|' ||
         to_char(updated_at, 'YYYY-MM-DD HH24:MI:SS.US') || '|' || coalesce(u.username, '-') || '|' || r.sync_scope
         FROM help_requests r LEFT JOIN users u ON u.id = r.created_by_user_id WHERE r.sync_scope <> 'private'",
    ),
    (
        "SELECT body || '|' || u.username || '|' || r.description FROM request_comments c
         JOIN users u ON u.id = c.user_id JOIN help_requests r ON r.id = c.help_request_id WHERE c.deleted_at IS NULL",
        "SELECT body || '|' || u.username || '|' || r.description FROM request_comments c
         JOIN users u ON u.id = c.user_id JOIN help_requests r ON r.id = c.help_request_id WHERE c.deleted_at IS NULL",
    ),
];

fn assert_alike(app: &App, remote: &mut Remote) {
    assert_eq!(roots(app.dir()), roots(remote.dir.path()), "roots");
    for (on_sqlite, on_postgres) in SHOWN {
        let db = app.db();
        let mut select = db.prepare(on_sqlite).unwrap();
        let mut lines: Vec<String> = select.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
        lines.sort();
        assert_eq!(lines, remote.lines(on_postgres), "{on_sqlite}");
        assert!(!lines.is_empty(), "{on_sqlite}");
    }
    app.assert_whole();
}

#[test]
fn both_databases_end_with_equal_roots_and_rows() {
    let (stick, app, mut remote) = (tempfile::tempdir().unwrap(), App::new(), Remote::new());
    let there = remote.dir.path().to_owned();
    init(app.dir(), "alpha", None);
    init(&there, "beta", Some(&remote.url.clone()));
    meet(app.dir(), &there, "beta", &stick.path().join("wb"));
    meet(&there, app.dir(), "alpha", &stick.path().join("wb"));

    let ann = app.insert_user("ann", "public");
    let post = app.insert_request(Some(ann), "a boat\r\nand \u{2028} oars \u{1f6f6}", "public");
    app.insert_request(Some(ann), "for friends", "trusted");
    app.insert_request(Some(ann), "never", "private");
    app.insert_comment(post, ann, "still there?", "public");
    app.insert_vouch(ann, ann);
    app.insert_attribute(ann, "profile_photo_url", "x.png");
    remote.batch(
        "INSERT INTO users(username, is_admin, created_at, sync_scope) VALUES('bea', FALSE, '2026-02-02 01:02:03.5', 'public');
         INSERT INTO help_requests(title, description, status, created_by_user_id, created_at, updated_at, sync_scope)
         VALUES('car', 'a lift', 'open', 2, '2026-02-02 01:02:03', '2026-02-02 01:02:03.000001', 'public');
         INSERT INTO request_comments(help_request_id, user_id, body, created_at, sync_scope)
         VALUES(1, 2, 'on monday', '2026-02-02 02:00:00', 'public')",
    );
    let settle = || {
        for _ in 0..2 {
            sync(app.dir());
            sync(&there);
        }
        sync(app.dir());
    };
    settle();
    assert_alike(&app, &mut remote);
    assert_eq!(remote.lines("SELECT description FROM help_requests WHERE description = 'never'"), Vec::<String>::new());

    // Each edits what the other made, both at once, the same record too.
    app.execute("UPDATE help_requests SET title = 'bus' WHERE title = 'car'", &[]);
    remote.batch(
        "UPDATE help_requests SET status = 'completed', completed_at = '2026-02-03 00:00:00' WHERE title = 'car'",
    );
    remote.batch("UPDATE help_requests SET description = 'a boat, from beta' WHERE description LIKE 'a boat%'");
    settle();
    assert_alike(&app, &mut remote);
    assert_eq!(app.value("SELECT status || title FROM help_requests WHERE title = 'bus'"), "completedbus");
    assert_eq!(app.value("SELECT count(*) FROM help_requests WHERE description = 'a boat, from beta'"), "1");

    // The application on PostgreSQL goes on with keys of its own, and a name that is taken there lives beside it.
    remote.batch(
        "INSERT INTO users(username, is_admin, created_at, sync_scope) VALUES('ann', FALSE, '2026-02-04 00:00:00', 'private')
         ON CONFLICT DO NOTHING;
         INSERT INTO help_requests(description, status, created_at, updated_at, sync_scope)
         VALUES('after the import', 'open', '2026-02-05 00:00:00', '2026-02-05 00:00:00', 'public')",
    );
    // Deleted, withdrawn, and NUL, which PostgreSQL can't hold: that one waits there and nothing else does.
    app.set_scope("help_requests", post + 1, "private");
    let nul = app.insert_request(Some(ann), "nul \0 inside", "public");
    settle();
    assert_eq!(roots(app.dir()), roots(&there), "roots");
    let waits = open(&there).with_database(|database| Ok(database.parked(9)?)).unwrap();
    assert_eq!(waits.1, 1, "{waits:?}");
    assert_eq!(app.value("SELECT count(*) FROM help_requests WHERE description = 'after the import'"), "1");
    app.edit_request(nul, "no more");
    settle();
    assert_alike(&app, &mut remote);
}
