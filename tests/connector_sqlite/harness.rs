//! A small instance of the application's database, with the connector on it.

use std::collections::BTreeMap;
use std::path::PathBuf;

use rusqlite::{Connection, params};
use tempfile::TempDir;
use wbsync::connector::contract::{Applied, Capture, Change, Connector, Content, Context, Position, Seen, Sighting};
use wbsync::connector::mapping::model::Mapping;
use wbsync::connector::sql::connector::SqlConnector;
use wbsync::connector::sqlite;
use wbsync::connector::sqlite::options::Options;
use wbsync::id::bytes::{InstanceId, RecordKey};
use wbsync::id::name::{DatasetName, FieldName, PeerName, ScopeName};
use wbsync::record::recordid::RecordId;
use wbsync::record::value::Value;
use wbsync::scope::audience::{Addressees, Audience};
use wbsync::sys::clock::UnixMillis;

pub(crate) const OWN: InstanceId = InstanceId::from_bytes([1; 32]);
pub(crate) const BETA: InstanceId = InstanceId::from_bytes([2; 32]);
pub(crate) const GAMMA: InstanceId = InstanceId::from_bytes([3; 32]);
pub(crate) const NOW: UnixMillis = UnixMillis(1_780_000_000_000);
pub(crate) const TIME: &str = "2026-02-03 04:05:06.000007";

const SCHEMA: &str = "
CREATE TABLE users (id INTEGER NOT NULL, username VARCHAR, is_admin BOOLEAN NOT NULL, contact_email VARCHAR(255),
    created_at DATETIME NOT NULL, sync_scope VARCHAR NOT NULL, PRIMARY KEY (id));
CREATE UNIQUE INDEX ix_users_username ON users (username);
CREATE TABLE help_requests (id INTEGER NOT NULL, title VARCHAR(200), description VARCHAR(4000) NOT NULL,
    status VARCHAR NOT NULL, contact_email VARCHAR(255), created_by_user_id INTEGER, created_at DATETIME NOT NULL,
    updated_at DATETIME NOT NULL, completed_at DATETIME, sync_scope VARCHAR NOT NULL, PRIMARY KEY (id),
    FOREIGN KEY(created_by_user_id) REFERENCES users (id));
CREATE TABLE request_comments (id INTEGER NOT NULL, help_request_id INTEGER NOT NULL, user_id INTEGER NOT NULL,
    body TEXT NOT NULL, created_at DATETIME NOT NULL, deleted_at DATETIME, sync_scope VARCHAR NOT NULL,
    PRIMARY KEY (id), FOREIGN KEY(help_request_id) REFERENCES help_requests (id),
    FOREIGN KEY(user_id) REFERENCES users (id));
CREATE INDEX ix_request_comments_help_request_id ON request_comments (help_request_id);
CREATE INDEX ix_request_comments_user_id ON request_comments (user_id);
CREATE TABLE vouches (id INTEGER NOT NULL, voucher_user_id INTEGER NOT NULL, subject_user_id INTEGER NOT NULL,
    signature VARCHAR(128), created_at DATETIME NOT NULL, PRIMARY KEY (id),
    CONSTRAINT ux_vouches_unique UNIQUE (voucher_user_id, subject_user_id),
    FOREIGN KEY(voucher_user_id) REFERENCES users (id), FOREIGN KEY(subject_user_id) REFERENCES users (id));
CREATE TABLE user_attributes (id INTEGER NOT NULL, user_id INTEGER NOT NULL, key VARCHAR NOT NULL, value VARCHAR,
    created_at DATETIME NOT NULL, updated_at DATETIME NOT NULL, created_by_user_id INTEGER,
    updated_by_user_id INTEGER, PRIMARY KEY (id), CONSTRAINT ux_user_attributes_user_key UNIQUE (user_id, key),
    FOREIGN KEY(user_id) REFERENCES users (id));
CREATE TABLE invite_tokens (token VARCHAR NOT NULL, created_by_user_id INTEGER, created_at DATETIME NOT NULL,
    expires_at DATETIME, max_uses INTEGER NOT NULL, use_count INTEGER NOT NULL, disabled BOOLEAN NOT NULL,
    auto_approve BOOLEAN NOT NULL, suggested_username VARCHAR(64), suggested_bio VARCHAR(512),
    sync_scope VARCHAR NOT NULL, PRIMARY KEY (token), FOREIGN KEY(created_by_user_id) REFERENCES users (id));
CREATE TABLE invite_map_cache (user_id INTEGER NOT NULL, payload TEXT NOT NULL, PRIMARY KEY (user_id));
INSERT INTO users VALUES(1, 'admin', 1, 'admin@example.org', '2026-01-01 00:00:00.000000', 'private');
";

/// One application with its database.
pub(crate) struct App {
    pub(crate) dir: TempDir,
    pub(crate) db: Connection,
    pub(crate) sync: SqlConnector,
}

impl App {
    pub(crate) fn new() -> Self {
        Self::with("", "")
    }

    /// Begins with more SQL, and with keys laid over the preset.
    pub(crate) fn with(sql: &str, own: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let db = Connection::open(dir.path().join("app.db")).unwrap();
        db.execute_batch(SCHEMA).unwrap();
        db.execute_batch("PRAGMA foreign_keys = OFF").unwrap();
        db.execute_batch(sql).unwrap();
        let sync = connect(&dir, own);
        Self { dir, db, sync }
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.dir.path().join("app.db")
    }

    /// Forgets the connector as a crash does, and opens another.
    pub(crate) fn reopen(&mut self) {
        self.sync = connect(&self.dir, "");
    }

    pub(crate) fn sql(&self, sql: &str) {
        self.db.execute_batch(sql).unwrap();
    }

    pub(crate) fn text(&self, sql: &str) -> String {
        let value: rusqlite::types::Value = self.db.query_row(sql, [], |row| row.get(0)).unwrap();
        match value {
            rusqlite::types::Value::Null => "NULL".into(),
            rusqlite::types::Value::Integer(value) => value.to_string(),
            rusqlite::types::Value::Text(text) => text,
            other => format!("{other:?}"),
        }
    }

    pub(crate) fn user(&self, name: &str, scope: &str) -> i64 {
        let sql = "INSERT INTO users(username, is_admin, created_at, sync_scope) VALUES(?1, 0, ?2, ?3)";
        self.db.execute(sql, params![name, TIME, scope]).unwrap();
        self.db.last_insert_rowid()
    }

    pub(crate) fn request(&self, title: &str, author: Option<i64>, scope: &str) -> i64 {
        let sql = "INSERT INTO help_requests(title, description, status, contact_email, created_by_user_id, created_at,
                   updated_at, sync_scope) VALUES(?1, 'text', 'open', 'secret@example.org', ?2, ?3, ?3, ?4)";
        self.db.execute(sql, params![title, author, TIME, scope]).unwrap();
        self.db.last_insert_rowid()
    }

    pub(crate) fn comment(&self, request: i64, author: i64, body: &str, scope: &str) -> i64 {
        let sql = "INSERT INTO request_comments(help_request_id, user_id, body, created_at, sync_scope)
                   VALUES(?1, ?2, ?3, ?4, ?5)";
        self.db.execute(sql, params![request, author, body, TIME, scope]).unwrap();
        self.db.last_insert_rowid()
    }

    /// Captures without settling.
    pub(crate) fn capture(&mut self) -> (Capture, Vec<Sighting>) {
        let mut seen = Vec::new();
        let sink = &mut |sighting| {
            seen.push(sighting);
            Ok(())
        };
        let capture = self.sync.capture(NOW, sink).unwrap();
        assert_eq!(capture.reported, seen.len() as u64);
        (capture, seen)
    }

    /// Captures and settles.
    pub(crate) fn settle(&mut self) -> Vec<Sighting> {
        let (capture, seen) = self.capture();
        let position = self.sync.position().unwrap();
        self.sync.settle(&capture, &position).unwrap();
        seen
    }

    /// Applies changes as one view.
    pub(crate) fn apply(&mut self, changes: Vec<Change>) -> Applied {
        let target = [self.sync.position().unwrap().applied, vec![1]].concat();
        self.sync.begin_apply(&target).unwrap();
        let applied = self.sync.apply(&mut changes.into_iter().map(Ok), &mut |_| {}).unwrap();
        self.sync.finish_apply().unwrap();
        assert_eq!(self.sync.position().unwrap(), Position { applied: target, target: None });
        self.whole();
        applied
    }

    /// Applies, and checks that nothing of it is taken for an edit.
    pub(crate) fn apply_quietly(&mut self, changes: Vec<Change>) -> Applied {
        let applied = self.apply(changes);
        assert_eq!(self.settle(), [], "what was applied came back");
        applied
    }

    pub(crate) fn whole(&self) {
        assert_eq!(self.text("PRAGMA integrity_check"), "ok");
        let broken: i64 =
            self.db.query_row("SELECT count(*) FROM pragma_foreign_key_check", [], |row| row.get(0)).unwrap();
        assert_eq!(broken, 0, "foreign keys");
    }
}

pub(crate) fn connect(dir: &TempDir, own: &str) -> SqlConnector {
    let mapping = Mapping::load(Some("whiteballoon"), own.parse().unwrap(), "test").unwrap();
    let options = Options::new(&dir.path().join("app.db"), dir.path(), dir.path());
    sqlite::open(options, mapping, context()).unwrap()
}

pub(crate) fn context() -> Context {
    let names = [(BETA, "beta"), (GAMMA, "gamma")].map(|(id, name)| (id, PeerName::new(name).unwrap()));
    Context {
        own: OWN,
        names: names.into(),
        addressees: Addressees::default(),
        readers: BTreeMap::new(),
        restoring: false,
    }
}

pub(crate) fn id(origin: InstanceId, dataset: &str, number: u8) -> RecordId {
    let mut key = [number; 16];
    key[..6].copy_from_slice(&NOW.0.to_be_bytes()[2..]);
    RecordId { origin, dataset: DatasetName::new(dataset).unwrap(), key: RecordKey::from_bytes(key) }
}

pub(crate) fn field(name: &str) -> FieldName {
    FieldName::new(name).unwrap()
}

pub(crate) fn text(value: &str) -> Value {
    Value::Text(value.into())
}

pub(crate) fn time() -> Value {
    Value::Timestamp(1_770_091_506_000_007)
}

pub(crate) fn put(id: &RecordId, fields: &[(&str, Value)]) -> Change {
    let fields: BTreeMap<_, _> = fields.iter().map(|(name, value)| (field(name), value.clone())).collect();
    Change { id: id.clone(), content: Some(Content { scope: ScopeName::public(), fields }) }
}

pub(crate) fn gone(id: &RecordId) -> Change {
    Change { id: id.clone(), content: None }
}

pub(crate) fn user(id: &RecordId, name: &str) -> Change {
    put(id, &[("username", text(name)), ("created_at", time())])
}

pub(crate) fn request(id: &RecordId, title: &str, author: Option<&RecordId>) -> Change {
    put(
        id,
        &[
            ("title", text(title)),
            ("description", text("text")),
            ("status", text("open")),
            ("completed_at", Value::Null),
            ("created_at", time()),
            ("updated_at", time()),
            ("author", author.map_or(Value::Null, |author| Value::Ref(author.clone()))),
        ],
    )
}

pub(crate) fn comment(id: &RecordId, request: &RecordId, author: &RecordId, body: &str) -> Change {
    put(
        id,
        &[
            ("body", text(body)),
            ("created_at", time()),
            ("deleted_at", Value::Null),
            ("request", Value::Ref(request.clone())),
            ("author", Value::Ref(author.clone())),
        ],
    )
}

/// Finds the sighting of the only row whose field has a value.
pub(crate) fn find<'a>(seen: &'a [Sighting], name: &str, value: &str) -> &'a Sighting {
    let has = |sighting: &&Sighting| matches!(&sighting.seen, Seen::Row { fields, .. } if fields.get(&field(name)) == Some(&text(value)));
    let mut found = seen.iter().filter(has);
    let first = found.next().unwrap_or_else(|| panic!("{value} was not reported: {seen:#?}"));
    assert!(found.next().is_none(), "{value} was reported twice");
    first
}

pub(crate) fn audience(sighting: &Sighting) -> Option<Audience> {
    match &sighting.seen {
        Seen::Row { audience, .. } => audience.clone(),
        Seen::Gone => panic!("{} is gone", sighting.id),
    }
}

pub(crate) fn shown(sighting: &Sighting, name: &str) -> Option<Value> {
    match &sighting.seen {
        Seen::Row { fields, .. } => fields.get(&field(name)).cloned(),
        Seen::Gone => panic!("{} is gone", sighting.id),
    }
}
