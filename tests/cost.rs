//! What a change costs, counted and never timed: objects, bytes and rows follow the change, not the database.

#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "a test binary has no outside; figures are printed")]

mod support;

use std::io::Write;
use std::path::{Path, PathBuf};

use ciborium::Value;
use rusqlite::Connection;
use rusqlite::types::ValueRef;
use support::app::App;
use support::run::Run;
use tempfile::TempDir;
use walkdir::WalkDir;
use wbsync::testing::whiteballoon::edit::edit;
use wbsync::testing::whiteballoon::seed::Seed;

/// Two installations with `records` rows in the first, which the second follows; everything is exchanged.
struct Pair {
    alpha: App,
    beta: App,
    stick: TempDir,
}

impl Pair {
    fn new(records: u64) -> Self {
        let pair =
            Self { alpha: App::seeded(&Seed::new(records, 1)), beta: App::new(), stick: tempfile::tempdir().unwrap() };
        for (app, name) in [(&pair.alpha, "alpha"), (&pair.beta, "beta")] {
            app.wbsync(&["init", "--preset", "whiteballoon", "--name", name]).ok();
            app.wbsync(&["remote", "add", "stick", pair.store().to_str().unwrap()]).ok();
        }
        for (app, other, name) in [(&pair.alpha, &pair.beta, "beta"), (&pair.beta, &pair.alpha, "alpha")] {
            app.wbsync(&["peer", "add", other.wbsync(&["id"]).ok().stdout.trim()]).ok();
            app.wbsync(&["peer", "trust", name]).ok();
            app.wbsync(&["follow", name]).ok();
        }
        for app in [&pair.alpha, &pair.beta, &pair.alpha, &pair.beta] {
            app.wbsync(&["sync"]).ok();
        }
        pair
    }

    fn store(&self) -> PathBuf {
        self.stick.path().join("store")
    }
}

/// Returns a number out of the JSON answer, of the remote `stick`.
fn of_stick(run: &Run, part: &str, name: &str) -> u64 {
    run.json()[part]["remotes"]["stick"][name].as_u64().unwrap_or_else(|| panic!("{part} {name}: {run}"))
}

fn files(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let files = WalkDir::new(dir).sort_by_file_name().into_iter().map(Result::unwrap);
    files
        .filter(|file| file.file_type().is_file())
        .map(|file| (file.path().into(), std::fs::read(file.path()).unwrap()))
        .collect()
}

/// Returns every row of the application's and of our bookkeeping.
fn rows(app: &App) -> String {
    let db = app.db();
    let sql = "SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name";
    let tables: Vec<String> =
        db.prepare(sql).unwrap().query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
    tables.iter().map(|table| format!("{table}\n{}", app.dump(table))).collect()
}

#[test]
fn one_edited_comment_is_one_small_object_and_one_row() {
    let pair = Pair::new(3000);
    let comment = "SELECT c.id FROM request_comments c JOIN help_requests r ON r.id = c.help_request_id \
        WHERE c.sync_scope = 'public' AND r.sync_scope = 'public' AND r.status = 'open' AND c.deleted_at IS NULL LIMIT 1";
    let comment: i64 = pair.alpha.value(comment).parse().unwrap();
    pair.alpha.execute("UPDATE request_comments SET body = 'Is Tuesday fine?' WHERE id = ?1", &[&comment]);
    let sent = pair.alpha.wbsync(&["sync", "--json"]).ok();
    assert_eq!(of_stick(&sent, "pushed", "objects"), 1, "{sent}");
    let bytes = of_stick(&sent, "pushed", "bytes");
    eprintln!("one edited comment: an object of {bytes} bytes");
    assert!(bytes < 2048, "{bytes} bytes");
    let come = pair.beta.wbsync(&["sync", "--json"]).ok();
    assert_eq!(of_stick(&come, "fetched", "objects"), 1, "{come}");
    let applied = &come.json()["applied"];
    assert_eq!(
        applied.to_string(),
        r#"{"inserted":{},"updated":{"comments":1},"deleted":{},"blanked":{},"parked":{}}"#,
        "{come}"
    );
    assert_eq!(pair.beta.value("SELECT count(*) FROM request_comments WHERE body = 'Is Tuesday fine?'"), "1");
}

#[test]
fn a_sync_of_nothing_moves_and_writes_nothing() {
    let pair = Pair::new(1000);
    let sync = |app: &App| {
        let run = app.wbsync(&["sync", "--json"]).ok();
        for (part, name) in [
            ("fetched", "objects"),
            ("fetched", "bytes"),
            ("pushed", "objects"),
            ("pushed", "bytes"),
            ("pushed", "heads"),
        ] {
            assert_eq!(of_stick(&run, part, name), 0, "{part} {name}: {run}");
        }
    };
    let quiet = |commits: u32| {
        let store = files(&pair.store());
        for app in [&pair.alpha, &pair.beta] {
            let before = rows(app);
            sync(app);
            assert!(rows(app) == before, "the application's database after {commits} commits");
        }
        assert!(files(&pair.store()) == store, "the store after {commits} commits");
    };
    quiet(1);
    for number in 0..12 {
        pair.alpha.insert_request(None, &format!("request {number}"), "public");
        pair.alpha.wbsync(&["sync"]).ok();
        pair.beta.wbsync(&["sync"]).ok();
    }
    quiet(13);
}

/// The price of forgetting: one snapshot at the origin, and at a follower no more than the records concerned.
#[test]
fn a_withdrawal_costs_a_snapshot_here_and_a_small_delta_there() {
    let pair = Pair::new(10_000);
    let snapshot: u64 = files(&pair.store().join("objects")).iter().map(|(_, bytes)| bytes.len() as u64).sum();
    let sql = "UPDATE help_requests SET sync_scope = 'private' WHERE id = (SELECT min(id) FROM help_requests \
        WHERE sync_scope = 'public' AND status = 'open')";
    assert_eq!(pair.alpha.db().execute(sql, []).unwrap(), 1);
    let sent = pair.alpha.wbsync(&["sync", "--json"]).ok();
    let (bytes, removed) = (of_stick(&sent, "pushed", "bytes"), of_stick(&sent, "pushed", "removed"));
    let come = pair.beta.wbsync(&["sync", "--json"]).ok();
    let fetched = of_stick(&come, "fetched", "bytes");
    eprintln!(
        "one withdrawal in 10,000 records: {bytes} bytes of {snapshot} pushed, {removed} objects removed, {fetched} bytes fetched"
    );
    assert!(removed > 0 && bytes < snapshot + snapshot / 8, "{sent}");
    assert!(fetched < 4096, "{come}");
    pair.alpha.execute(
        "UPDATE help_requests SET title = 'after' WHERE id = (SELECT min(id) FROM help_requests \
        WHERE sync_scope = 'public' AND status = 'open')",
        &[],
    );
    let sent = pair.alpha.wbsync(&["sync", "--json"]).ok();
    assert!(of_stick(&sent, "pushed", "bytes") < 4096, "the next push is small again: {sent}");
}

#[test]
fn a_hundred_edits_in_ten_thousand_cost_about_what_they_are() {
    a_hundred_edits_in(10_000);
}

#[test]
#[ignore = "twenty seconds; `cargo test --test cost -- --ignored`"]
fn a_hundred_edits_in_a_hundred_thousand_cost_about_what_they_are() {
    a_hundred_edits_in(100_000);
}

fn a_hundred_edits_in(records: u64) {
    let pair = Pair::new(records);
    let before = tempfile::tempdir().unwrap();
    let before = before.path().join("before.db");
    std::fs::copy(pair.alpha.db_path(), &before).unwrap();
    edit(&pair.alpha.db_path(), 100, 7).unwrap();
    let sent = pair.alpha.wbsync(&["sync", "--json"]).ok();
    let bytes = of_stick(&sent, "pushed", "bytes");
    let (mut least, mut rows) = (0, 0);
    for scope in ["public", "trusted"] {
        let changed = changed_rows(&pair.alpha.db(), &before, scope);
        rows += changed.len();
        least += if changed.is_empty() { 0 } else { sealed(&changed) };
    }
    eprintln!("100 edits in {records} records: {rows} shared rows changed, {bytes} bytes; zstd -3 | age makes {least}");
    assert!(rows > 30, "{rows} rows");
    assert!(bytes <= 2 * least as u64, "{bytes} bytes, at least {least}");
}

/// Returns the shared rows that were added or changed, as CBOR maps.
fn changed_rows(db: &Connection, before: &Path, scope: &str) -> Vec<Value> {
    db.execute("ATTACH ?1 AS old", [before.to_str().unwrap()]).unwrap();
    let shared = "status IN ('open', 'completed') AND sync_scope";
    // A row goes with the narrower of its own scope and its parent's.
    let wider = if scope == "public" { "= 'public'" } else { "IN ('public', 'trusted')" };
    let both = if scope == "public" { "" } else { "AND (c.sync_scope = 'trusted' OR r.sync_scope = 'trusted')" };
    let queries = [
        format!(
            "SELECT * FROM (SELECT * FROM main.help_requests EXCEPT SELECT * FROM old.help_requests) WHERE {shared} = '{scope}'"
        ),
        format!(
            "SELECT c.* FROM (SELECT * FROM main.request_comments EXCEPT SELECT * FROM old.request_comments) c \
             JOIN main.help_requests r ON r.id = c.help_request_id \
             WHERE r.status IN ('open', 'completed') AND r.sync_scope {wider} AND c.sync_scope {wider} {both}"
        ),
    ];
    let mut rows = Vec::new();
    for sql in queries {
        let mut select = db.prepare(&sql).unwrap();
        let columns: Vec<String> = select.column_names().map(String::from).collect();
        let mut found = select.query([]).unwrap();
        while let Some(row) = found.next().unwrap() {
            let cell = |index| match row.get_ref(index).unwrap() {
                ValueRef::Null => Value::Null,
                ValueRef::Integer(number) => Value::Integer(number.into()),
                ValueRef::Real(number) => Value::Float(number),
                ValueRef::Text(text) => Value::Text(String::from_utf8_lossy(text).into_owned()),
                ValueRef::Blob(bytes) => Value::Bytes(bytes.into()),
            };
            rows.push(Value::Map(
                columns.iter().enumerate().map(|(index, name)| (Value::Text(name.clone()), cell(index))).collect(),
            ));
        }
    }
    db.execute("DETACH old", []).unwrap();
    rows
}

/// Returns how many bytes `zstd -3 | age` makes of the rows.
fn sealed(rows: &[Value]) -> usize {
    let mut plain = Vec::new();
    for row in rows {
        ciborium::into_writer(row, &mut plain).unwrap();
    }
    let packed = zstd::bulk::compress(&plain, 3).unwrap();
    let recipient = age::x25519::Identity::generate().to_public();
    let encryptor = age::Encryptor::with_recipients(std::iter::once(&recipient as &dyn age::Recipient)).unwrap();
    let mut sealed = Vec::new();
    let mut writer = encryptor.wrap_output(&mut sealed).unwrap();
    writer.write_all(&packed).unwrap();
    writer.finish().unwrap();
    sealed.len()
}
