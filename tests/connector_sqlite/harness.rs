//! A small instance of the application's database, with the connector on it. Which database is `database`'s business.

use std::collections::BTreeMap;

use tempfile::TempDir;
use wbsync::connector::applied::Applied;
use wbsync::connector::capturing::{Capturing, TriggerChange};
use wbsync::connector::contract::{Capture, Change, Connector, Content, Context, Position, Seen, Sighting};
use wbsync::connector::mapping::model::Mapping;
use wbsync::connector::sql::connector::SqlConnector;
use wbsync::id::bytes::{InstanceId, RecordKey};
use wbsync::id::name::{DatasetName, FieldName, PeerName, ScopeName};
use wbsync::record::recordid::RecordId;
use wbsync::record::value::Value;
use wbsync::scope::audience::{Addressees, Audience};
use wbsync::sys::clock::UnixMillis;

use super::database::Database;

pub(crate) const OWN: InstanceId = InstanceId::from_bytes([1; 32]);
pub(crate) const BETA: InstanceId = InstanceId::from_bytes([2; 32]);
pub(crate) const GAMMA: InstanceId = InstanceId::from_bytes([3; 32]);
pub(crate) const NOW: UnixMillis = UnixMillis(1_780_000_000_000);
pub(crate) const TIME: &str = "2026-02-03 04:05:06.000007";

/// One application with its database.
pub(crate) struct App {
    pub(crate) dir: TempDir,
    pub(crate) db: Database,
    pub(crate) sync: SqlConnector,
    pub(crate) own: String,
    pub(crate) capturing: Capturing,
    /// Whether the rows are those of a backup, from the next `reopen` on.
    pub(crate) restoring: bool,
}

impl App {
    pub(crate) fn new() -> Self {
        Self::with("", "")
    }

    /// Begins with more SQL, and with keys laid over the preset.
    pub(crate) fn with(sql: &str, own: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let db = Database::new(dir.path());
        db.batch(sql);
        let sync = db.connect(dir.path(), mapping(own), Capturing::Scan);
        Self { dir, db, sync, own: own.to_owned(), capturing: Capturing::Scan, restoring: false }
    }

    /// Captures by triggers from now on, and has captured everything once.
    pub(crate) fn watched(mut self) -> Self {
        self.sync.change_triggers(TriggerChange::Install).unwrap();
        self.capturing = Capturing::Triggers;
        self.reopen();
        self.settle();
        self
    }

    /// Forgets the connector as a crash does, and opens another.
    pub(crate) fn reopen(&mut self) {
        let context = Context { restoring: self.restoring, ..context() };
        self.sync = self.db.connect_in(self.dir.path(), mapping(&self.own), self.capturing, context);
    }

    pub(crate) fn sql(&self, sql: &str) {
        self.db.batch(sql);
    }

    pub(crate) fn text(&self, sql: &str) -> String {
        match self.rows(sql).remove(0).remove(0) {
            Raw::Null => "NULL".into(),
            Raw::Integer(value) => value.to_string(),
            Raw::Text(text) => text,
            other => format!("{other:?}"),
        }
    }

    pub(crate) fn rows(&self, sql: &str) -> Vec<Vec<Raw>> {
        self.db.rows(sql)
    }

    pub(crate) fn user(&self, name: &str, scope: &str) -> i64 {
        self.insert(&format!(
            "INSERT INTO users(username, is_admin, created_at, sync_scope)
             VALUES('{name}', FALSE, '{TIME}', '{scope}') RETURNING id"
        ))
    }

    pub(crate) fn request(&self, title: &str, author: Option<i64>, scope: &str) -> i64 {
        let author = author.map_or("NULL".to_owned(), |author| author.to_string());
        self.insert(&format!(
            "INSERT INTO help_requests(title, description, status, contact_email, created_by_user_id, created_at,
             updated_at, sync_scope)
             VALUES('{title}', 'text', 'open', 'secret@example.org', {author}, '{TIME}', '{TIME}', '{scope}') RETURNING id"
        ))
    }

    pub(crate) fn comment(&self, request: i64, author: i64, body: &str, scope: &str) -> i64 {
        self.insert(&format!(
            "INSERT INTO request_comments(help_request_id, user_id, body, created_at, sync_scope)
             VALUES({request}, {author}, '{body}', '{TIME}', '{scope}') RETURNING id"
        ))
    }

    fn insert(&self, sql: &str) -> i64 {
        self.text(sql).parse().unwrap()
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

    /// Captures by triggers and settles, and checks that a scan finds nothing else.
    pub(crate) fn settle_exactly(&mut self) -> Vec<Sighting> {
        let (capture, seen) = self.capture();
        assert_eq!(capture.unwatched, Vec::<String>::new());
        let position = self.sync.position().unwrap();
        self.sync.settle(&capture, &position).unwrap();
        self.capturing = Capturing::Scan;
        self.reopen();
        assert_eq!(self.settle(), [], "the triggers missed it");
        self.capturing = Capturing::Triggers;
        self.reopen();
        seen
    }

    /// Applies changes as one view.
    pub(crate) fn apply(&mut self, changes: Vec<Change>) -> Applied {
        let target = [self.sync.position().unwrap().applied, vec![1]].concat();
        self.sync.begin_apply(&target).unwrap();
        let applied = self.sync.apply(&mut changes.into_iter().map(Ok), &mut |_| {}).unwrap();
        self.sync.finish_apply().unwrap();
        let Position { applied: shown, target: open, .. } = self.sync.position().unwrap();
        assert_eq!((shown, open), (target, None));
        self.db.whole();
        applied
    }

    /// Applies, and checks that nothing of it is taken for an edit.
    pub(crate) fn apply_quietly(&mut self, changes: Vec<Change>) -> Applied {
        let applied = self.apply(changes);
        assert_eq!(self.settle(), [], "what was applied came back");
        applied
    }
}

pub(crate) fn mapping(own: &str) -> Mapping {
    Mapping::load(Some("whiteballoon"), own.parse().unwrap(), "test").unwrap()
}

/// What a column holds.
pub(crate) use rusqlite::types::Value as Raw;

pub(crate) fn context() -> Context {
    let names = [(BETA, "beta"), (GAMMA, "gamma")].map(|(id, name)| (id, PeerName::new(name).unwrap()));
    Context {
        own: OWN,
        names: names.into(),
        addressees: Addressees::default(),
        readers: BTreeMap::new(),
        restoring: false,
        said: Default::default(),
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
    Change {
        id: id.clone(),
        content: Some(Content { scope: ScopeName::public(), fields, hidden: BTreeMap::default() }),
    }
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
