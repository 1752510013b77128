//! The presets name every table and column of their applications, and the second one works as the first does.

use std::collections::BTreeSet;

use rusqlite::Connection;
use wbsync::connector::mapping::model::Mapping;
use wbsync::connector::mapping::preset;
use wbsync::id::name::PeerName;
use wbsync::sync::init::InitOptions;
use wbsync::sync::instance::Instance;
use wbsync::sync::map::{self, Outline};
use wbsync::sync::progress::silent;

use super::site::{PAIRS, Site, Sqlite, meet, settle};

const NOTEBOARD: &str = include_str!("../../fixtures/noteboard/schema.sql");
const WHITEBALLOON: &str = include_str!("../../fixtures/whiteballoon/schema.sql");

/// What a preset says nothing of, as `table` or `table.column`.
fn unmentioned(name: &str, schema: &str) -> Vec<String> {
    let text = preset::text(name).unwrap();
    // Also what is off is mapped.
    let all: toml::Table = text.replace("enabled = false", "enabled = true").parse().unwrap();
    let mut own = toml::Table::new();
    own.insert("dataset".into(), all["dataset"].clone());
    let mapping = Mapping::load(Some(name), own, name).unwrap();
    let mut known: BTreeSet<String> = BTreeSet::new();
    for dataset in mapping.dataset.values() {
        let fields = dataset.fields.iter().chain(&dataset.never).flat_map(|(name, field)| field.columns(name));
        let keys = dataset.key.names().iter().map(String::as_str);
        let inserted = dataset.insert.keys().map(String::as_str);
        let others = [dataset.scope.column.as_deref(), dataset.soft_delete.as_deref()].into_iter().flatten();
        let columns = fields.chain(keys).chain(inserted).chain(others);
        known.extend(columns.map(|column| format!("{}.{column}", dataset.table)));
    }
    for line in text.lines().filter_map(|line| line.strip_prefix("# left out: ")) {
        let (what, why) = line.split_once(": ").expect("what is left out has a reason");
        assert!(why.len() > 10, "{line}");
        match what.split_once('.') {
            Some((table, columns)) => known.extend(columns.split(", ").map(|column| format!("{table}.{column}"))),
            None => drop(known.insert(what.to_owned())),
        }
    }
    let db = Connection::open_in_memory().unwrap();
    db.execute_batch(schema).unwrap();
    let sql =
        "SELECT t.name, c.name FROM sqlite_schema t, pragma_table_info(t.name) c WHERE t.type = 'table' ORDER BY 1, 2";
    let mut select = db.prepare(sql).unwrap();
    let found = select.query_map([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?))).unwrap();
    let found = found.map(Result::unwrap).filter(|(table, _)| !known.contains(table));
    found.map(|(table, column)| format!("{table}.{column}")).filter(|column| !known.contains(column)).collect()
}

#[test]
fn every_column_is_mapped_or_left_out_with_a_reason() {
    assert_eq!(unmentioned("whiteballoon", WHITEBALLOON), Vec::<String>::new());
    assert_eq!(unmentioned("noteboard", NOTEBOARD), Vec::<String>::new());
    let more = "CREATE TABLE mood (id INTEGER); ALTER TABLE notes ADD COLUMN secret TEXT;";
    assert_eq!(unmentioned("noteboard", &format!("{NOTEBOARD}{more}")), ["mood.id", "notes.secret"]);
}

#[test]
fn secrets_are_in_no_preset() {
    for (name, columns) in [
        (
            "whiteballoon",
            &["users.is_admin", "sessions.id", "rss_feed_tokens.token", "auth_requests.verification_code"][..],
        ),
        ("noteboard", &["notes.edit_token", "devices.sync_token"]),
    ] {
        let mapping = Mapping::load(Some(name), toml::Table::new(), name).unwrap();
        for column in columns {
            let (table, column) = column.split_once('.').unwrap();
            let travels = mapping.dataset.values().any(|dataset| {
                dataset.table == table
                    && dataset.fields.iter().any(|(name, field)| field.columns(name).contains(&column))
            });
            assert!(!travels, "{name}: {table}.{column}");
        }
    }
}

#[test]
fn applications_are_recognised_by_their_tables() {
    let outline = |schema: &str| {
        let site = Site::without_instance(Sqlite, schema);
        match map::outline(site.path(), Some(&site.url)).unwrap() {
            Outline::Preset(name) => name.to_owned(),
            Outline::Proposal(proposal) => proposal.datasets.join(" "),
        }
    };
    assert_eq!(outline(NOTEBOARD), "noteboard");
    assert_eq!(outline(WHITEBALLOON), "whiteballoon");
    // A table of the same name is not the application.
    assert_eq!(outline("CREATE TABLE notes(id TEXT PRIMARY KEY, body TEXT)"), "notes");
}

const SHOWN: [&str; 3] = [
    "SELECT n.id || n.title || n.body || f.title FROM notes n JOIN folders f ON f.id = n.folder_id
     WHERE n.share = 'public'",
    "SELECT note_id || CAST(position AS TEXT) || body FROM items WHERE note_id = 'n1'",
    "SELECT note_id || label FROM note_labels WHERE note_id = 'n1'",
];

#[test]
fn a_notes_board_syncs_with_its_preset() {
    for kinds in PAIRS {
        let stick = tempfile::tempdir().unwrap();
        let sites = kinds.map(|kind| Site::without_instance(kind, NOTEBOARD));
        for (site, name) in sites.iter().zip(["alpha", "beta"]) {
            let mut options = InitOptions {
                database: Some(site.url.clone()),
                name: PeerName::new(name).ok(),
                ..InitOptions::default()
            };
            assert!(matches!(map::complete(site.path(), &mut options).unwrap(), Some(Outline::Preset("noteboard"))));
            Instance::init(site.path(), &options, silent()).unwrap();
            let path = site.path().join("wbsync.toml");
            let text = std::fs::read_to_string(&path).unwrap();
            std::fs::write(&path, text + "[dataset.labels]\nscope = { constant = \"public\" }\n").unwrap();
        }
        let [alpha, beta] = &sites;
        meet(alpha, beta, "beta", stick.path());
        meet(beta, alpha, "alpha", stick.path());
        alpha.sql(
            "INSERT INTO folders VALUES('f1', NULL, 'Secret plans', '2026-01-01 00:00:00');
             INSERT INTO notes(id, folder_id, title, body, share, edit_token, created_at, updated_at) VALUES
             ('n1', 'f1', 'Shopping', 'today', 'public', 'word', '2026-01-01 00:00:00.000000', '2026-01-01 00:00:00.000000'),
             ('n2', 'f1', 'Diary', 'dear', 'private', NULL, '2026-01-01 00:00:00.000000', '2026-01-01 00:00:00.000000');
             INSERT INTO items(note_id, position, body) VALUES('n1', 1, 'bread'), ('n1', 2, 'oil'), ('n2', 1, 'sigh');
             INSERT INTO labels VALUES('urgent', 'red'); INSERT INTO note_labels VALUES('n1', 'urgent'), ('n2', 'urgent')",
        );
        beta.sql("INSERT INTO labels VALUES('urgent', 'orange'), ('mine', NULL)");
        for site in [alpha, beta, alpha, beta] {
            site.sync();
        }
        assert_eq!(beta.lines("SELECT title FROM notes"), ["Shopping"], "{kinds:?}");
        assert_eq!(beta.lines("SELECT body FROM items"), ["bread", "oil"]);
        assert_eq!(beta.lines("SELECT note_id || label FROM note_labels"), ["n1urgent"]);
        assert_eq!(beta.lines("SELECT title FROM folders"), ["Shared"], "a placeholder, not the private name");
        assert_eq!(beta.lines("SELECT coalesce(edit_token, 'none') FROM notes"), ["none"]);
        // Both edit; the folder is shared, so that its placeholder gets its name.
        beta.sql("UPDATE notes SET body = 'tomorrow'; DELETE FROM items WHERE position = 1; INSERT INTO items(note_id, position, body) VALUES('n1', 3, 'salt')");
        alpha.sql("UPDATE notes SET title = 'Market' WHERE id = 'n1'");
        let path = alpha.path().join("wbsync.toml");
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, text + "[dataset.folders]\nscope = { constant = \"public\" }\n").unwrap();
        settle(alpha, beta, &SHOWN);
        assert_eq!(beta.lines("SELECT title FROM folders"), ["Secret plans"], "{kinds:?}");
        assert_eq!(alpha.lines("SELECT body FROM items WHERE note_id = 'n1'"), ["oil", "salt"]);
    }
}
