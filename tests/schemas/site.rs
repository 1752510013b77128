//! One instance beside an application of any schema, on either database.

use std::cell::RefCell;
use std::path::Path;

use postgres::Client;
use rusqlite::Connection;
use tempfile::TempDir;
use wbsync::id::name::PeerName;
use wbsync::state::peers::Trust;
use wbsync::sync::error::Error;
use wbsync::sync::init::InitOptions;
use wbsync::sync::instance::{Instance, Purpose};
use wbsync::sync::peers::PeerAdd;
use wbsync::sync::progress::silent;

use super::support::postgres::{Cluster, connect};

/// A kind of database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Sqlite,
    Postgres,
}

pub(crate) use Kind::{Postgres, Sqlite};

/// The pairs that everything is shown for.
pub(crate) const PAIRS: [[Kind; 2]; 2] = [[Sqlite, Sqlite], [Sqlite, Postgres]];

pub(crate) enum Db {
    Sqlite(Connection),
    Postgres(RefCell<Client>),
}

pub(crate) struct Site {
    pub(crate) dir: TempDir,
    pub(crate) url: String,
    pub(crate) db: Db,
}

impl Site {
    /// Makes the application's database: `schema` is written for PostgreSQL, and told as SQLite wants it.
    pub(crate) fn without_instance(kind: Kind, schema: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (url, db) = match kind {
            Sqlite => {
                let path = dir.path().join("app.db");
                let db = Connection::open(&path).unwrap();
                // The application switches them on for itself; else it writes whatever it likes.
                db.execute_batch("PRAGMA foreign_keys = ON").unwrap();
                ("sqlite:///app.db".to_owned(), Db::Sqlite(db))
            }
            Postgres => {
                let url = Cluster::or_skip().new_database();
                let db = Db::Postgres(RefCell::new(connect(&url)));
                (url, db)
            }
        };
        let site = Self { dir, url, db };
        site.sql(&spelled(kind, schema));
        site
    }

    /// Makes an instance beside it with a mapping.
    pub(crate) fn new(kind: Kind, name: &str, schema: &str, mapping: &str) -> Self {
        let site = Self::without_instance(kind, schema);
        site.init(name, mapping).unwrap();
        site
    }

    pub(crate) fn init(&self, name: &str, mapping: &str) -> Result<Instance, Error> {
        let text = format!("database = {}\n{mapping}", toml::Value::String(self.url.clone()));
        std::fs::write(self.path().join("wbsync.toml"), text).unwrap();
        let options = InitOptions { name: Some(PeerName::new(name).unwrap()), ..InitOptions::default() };
        Instance::init(self.path(), &options, silent())
    }

    pub(crate) fn kind(&self) -> Kind {
        match &self.db {
            Db::Sqlite(_) => Sqlite,
            Db::Postgres(_) => Postgres,
        }
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn open(&self) -> Instance {
        Instance::open(self.path(), Purpose::Change, silent()).unwrap()
    }

    pub(crate) fn sql(&self, sql: &str) {
        match &self.db {
            Db::Sqlite(db) => db.execute_batch(sql).unwrap_or_else(|error| panic!("{sql}: {error}")),
            Db::Postgres(db) => db.borrow_mut().batch_execute(sql).unwrap_or_else(|error| panic!("{sql}: {error:?}")),
        }
    }

    /// The lines that a query gives, each of one text, in the order of their bytes.
    pub(crate) fn lines(&self, sql: &str) -> Vec<String> {
        let mut lines: Vec<String> = match &self.db {
            Db::Sqlite(db) => {
                let mut select = db.prepare(sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
                select.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
            }
            Db::Postgres(db) => {
                let rows = db.borrow_mut().query(sql, &[]).unwrap_or_else(|error| panic!("{sql}: {error:?}"));
                rows.iter().map(|row| row.get(0)).collect()
            }
        };
        lines.sort();
        lines
    }

    /// Exchanges everything through a store; nothing may be refused. Returns how many records wait.
    pub(crate) fn sync(&self) -> u64 {
        let stick = PeerName::new("stick").unwrap();
        let summary = self.open().pull(std::slice::from_ref(&stick)).unwrap();
        assert!(summary.fetched.failed.is_empty(), "{:?}", summary.fetched.failed);
        for fetched in summary.fetched.remotes.values() {
            assert!(fetched.refused.is_empty(), "{:?}", fetched.refused);
        }
        let open = self.open();
        open.push(&stick).unwrap();
        open.with_database(|database| Ok(database.parked(100)?)).unwrap().1
    }

    /// What waits, and why.
    pub(crate) fn waiting(&self) -> Vec<String> {
        let (parked, _) = self.open().with_database(|database| Ok(database.parked(100)?)).unwrap();
        parked.into_iter().map(|parked| parked.reason).collect()
    }

    /// The roots of all scopes, by origin and scope.
    pub(crate) fn roots(&self) -> Vec<String> {
        let instance = self.open();
        let root = |row: wbsync::state::scopes::ScopeRow| {
            let known = instance.state.known_commit(&row.id, &row.local_head?).unwrap();
            Some(format!("{} {} {:?}", row.origin, row.name, known.commit.datasets))
        };
        let mut roots: Vec<String> = instance.state.scopes().unwrap().into_iter().filter_map(root).collect();
        roots.sort();
        roots
    }

    /// The next capture finds nothing: what was written is no edit.
    pub(crate) fn is_quiet(&self) -> bool {
        self.open().diff_database(None).unwrap().records.is_empty()
    }
}

/// Two sites that read and edit each other's records.
pub(crate) fn pair(kinds: [Kind; 2], schema: &str, mapping: &str) -> (TempDir, Site, Site) {
    let stick = tempfile::tempdir().unwrap();
    let [one, two] =
        [("alpha", kinds[0]), ("beta", kinds[1])].map(|(name, kind)| Site::new(kind, name, schema, mapping));
    meet(&one, &two, "beta", stick.path());
    meet(&two, &one, "alpha", stick.path());
    (stick, one, two)
}

pub(crate) fn meet(one: &Site, other: &Site, name: &str, stick: &Path) {
    let card = other.open().card.clone();
    let instance = one.open();
    instance.peer_add(&card, &PeerAdd::default()).unwrap();
    instance.peer_trust(name, Trust::Writer).unwrap();
    instance.follow(name, None).unwrap();
    instance.remote_add(&PeerName::new("stick").unwrap(), stick.join("wb").to_str().unwrap(), one.path()).unwrap();
}

/// Syncs until both have everything, and checks that they show the same by these queries.
pub(crate) fn settle(one: &Site, two: &Site, shown: &[&str]) {
    for site in [one, two, one, two] {
        site.sync();
    }
    assert_eq!(one.roots(), two.roots(), "roots");
    for sql in shown {
        assert_eq!(one.lines(sql), two.lines(sql), "{sql}");
    }
    assert!(one.is_quiet() && two.is_quiet(), "what was written came back");
    for site in [one, two] {
        assert_eq!(site.waiting(), Vec::<String>::new());
        if let Db::Sqlite(db) = &site.db {
            let broken: i64 =
                db.query_row("SELECT count(*) FROM pragma_foreign_key_check", [], |row| row.get(0)).unwrap();
            assert_eq!(broken, 0, "foreign keys");
        }
    }
}

fn spelled(kind: Kind, schema: &str) -> String {
    match kind {
        Postgres => schema.to_owned(),
        Sqlite => [("SERIAL", "INTEGER"), ("BYTEA", "BLOB"), ("JSONB", "JSON"), ("UUID", "CHAR(36)")]
            .iter()
            .fold(schema.to_owned(), |schema, (theirs, ours)| schema.replace(theirs, ours)),
    }
}
