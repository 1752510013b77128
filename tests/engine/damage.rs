//! Every file of a store, and every table of the state and of the bookkeeping, deleted, cut and flipped: what fsck names, what repair
//! mends or says that it can't, and what is there afterwards.
//!
//! The files are listed from the directories, the tables from the schemas: a new kind of file, or a new table that has no rows
//! here, fails until somebody says what becomes of it.

use std::collections::BTreeSet;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use rusqlite::Connection;
use rusqlite::types::Value;
use wbsync::exchange::head::Head;
use wbsync::exchange::health::Depth;
use wbsync::exchange::layout::StorePath;
use wbsync::id::name::PeerName;
use wbsync::sync::commit::Mode;
use wbsync::sync::fsck::Report;
use wbsync::sync::instance::{Instance, Purpose};
use wbsync::sync::progress::silent;
use wbsync::sync::repair::remote::Gone;
use wbsync::sync::restore::{RestoreOptions, bare};

use super::health::{look, pair};
use super::mending::{WAYS, spoil};
use super::world::{STICK, Saved, Site, Stick, files_under};

fn stick() -> PeerName {
    PeerName::new(STICK).unwrap()
}

/// Every finding as `place`, and as a line for messages.
fn places(report: &Report) -> BTreeSet<String> {
    report.findings.iter().map(|finding| finding.place.clone()).collect()
}

fn damage(report: &Report) -> BTreeSet<String> {
    let findings = report.findings.iter().filter(|finding| finding.damage);
    findings.map(|finding| format!("{} {}: {}", finding.what, finding.place, finding.detail)).collect()
}

fn rows(site: &Site) -> String {
    ["users", "help_requests", "request_comments"].map(|table| site.app.dump(table)).concat()
}

/// What may be deleted from a store and be missed by nobody: objects that no head names, and heads of writers that the
/// origin has merged.
fn is_unneeded(file: &str, unused: &BTreeSet<String>, origins: &Site, dir: &Path) -> bool {
    match file.parse::<StorePath>().unwrap() {
        StorePath::Object(_) => unused.contains(file),
        StorePath::Head(scope, signer) => {
            let row = origins.open().state.scope(&scope).unwrap();
            let Some(row) = row.filter(|row| row.origin != signer) else { return false };
            let read = |of| fs::read(StorePath::Head(scope, of).under(dir)).unwrap();
            let (head, _) = Head::open(&read(signer), &signer).unwrap();
            let (origin, _) = Head::open(&read(row.origin), &row.origin).unwrap();
            let commit = origins.open().state.known_commit(&scope, &origin.commit).unwrap().commit;
            commit.clock.seen(&signer, head.incarnation) >= head.writes
        }
        StorePath::Format | StorePath::Manifest(_) | StorePath::Receipt(..) | StorePath::Card(_) => false,
    }
}

fn store_files(dir: &Path) -> Vec<String> {
    // The lock holds nothing; whoever writes next makes it anew.
    files_under(dir).into_iter().filter(|file| !file.starts_with("lock")).collect()
}

#[test]
fn every_damaged_file_of_a_stick_is_named_and_mended() {
    let (alpha, beta, stick_dir) = pair();
    let dir = stick_dir.path();
    let (whole, alphas, betas) = (Saved::of(&dir), alpha.save(), beta.save());
    let unused: BTreeSet<String> =
        look(&dir).findings.into_iter().filter(|finding| finding.what == "unused object").map(|it| it.place).collect();
    for file in store_files(&dir) {
        let is_unneeded = is_unneeded(&file, &unused, &alpha, &dir);
        for how in WAYS {
            spoil(&dir.join(&file), how);
            let label = format!("{file} {how}");
            let mut named = BTreeSet::new();
            for site in [&alpha, &beta] {
                match site.open().fsck_remote(&stick(), Depth::Contents) {
                    Ok(report) => named.append(&mut places(&report)),
                    // What isn't a store any more is named as such.
                    Err(error) => {
                        assert!(file == "format" && error.hint().unwrap().contains("repair"), "{label}: {error}")
                    }
                }
            }
            assert!(file == "format" || how == "deleted" && is_unneeded || named.contains(&file), "{label}: {named:?}");
            let mut done = Vec::new();
            for site in [&alpha, &beta] {
                done.extend(site.open().repair_remote(&stick(), Gone::Wait, Mode::Keep).unwrap().done);
            }
            for site in [&alpha, &beta] {
                let left = site.open().fsck_remote(&stick(), Depth::Contents).unwrap();
                assert_eq!(damage(&left), BTreeSet::new(), "{label}: {done:?}");
            }
            assert!(is_unneeded || dir.join(&file).is_file(), "{label}: it is there again; {done:?}");
            whole.restore(&dir);
            alpha.restore(&alphas);
            beta.restore(&betas);
        }
    }
}

#[test]
fn every_damaged_file_of_our_own_store_is_named_and_mended() {
    let (alpha, _beta, _stick) = pair();
    let whole = Saved::of(alpha.app.dir());
    let store = alpha.app.dir().join(".wbsync/store");
    let unused: BTreeSet<String> = look(&store)
        .findings
        .into_iter()
        .filter(|finding| finding.what == "unused object")
        .map(|it| it.place)
        .collect();
    let before = rows(&alpha);
    for file in store_files(&store) {
        let is_unneeded = is_unneeded(&file, &unused, &alpha, &store);
        for how in WAYS {
            spoil(&store.join(&file), how);
            let label = format!("{file} {how}");
            let found = alpha.open().fsck(Depth::Contents).unwrap();
            let is_named = places(&found)
                .iter()
                .any(|place| place.ends_with(&file) || file == "format" && place.ends_with("store"));
            assert!(is_named || how == "deleted" && is_unneeded, "{label}: {:?}", found.findings);
            let repaired = alpha.open().repair(Mode::Keep).unwrap();
            assert_eq!(damage(&repaired.left), BTreeSet::new(), "{label}: {:?}", repaired.done);
            assert!(is_unneeded || store.join(&file).is_file(), "{label}: it is there again; {:?}", repaired.done);
            alpha.sync();
            assert_eq!(rows(&alpha), before, "{label}");
            whole.restore(alpha.app.dir());
        }
    }
}

/// A row for each table that has none after an ordinary exchange. What it says is made up; it only has to be missed.
const MADE_UP: &[(&str, &str)] = &[
    ("bygone", "(zeroblob(32), 'group:crew', '')"),
    ("conflict", "((SELECT scope FROM published LIMIT 1), 'users', zeroblob(16), 'email')"),
    ("fork", "(zeroblob(16), zeroblob(32), 'heads', zeroblob(99), zeroblob(99), 1)"),
    ("fork_settled", "(zeroblob(16), zeroblob(32))"),
    ("forgotten", "(zeroblob(32), 'carol', 1)"),
    ("jump", "(zeroblob(16), zeroblob(32), zeroblob(32), 0, 1, 0)"),
    ("late", "((SELECT scope FROM published LIMIT 1), 'users', zeroblob(16), 'email', zeroblob(32), 0, 1, 1, 'x')"),
    ("noted", "(zeroblob(32))"),
    ("pending", "('settle', 99, x'', NULL)"),
    ("pruned", "(zeroblob(32), 'users', zeroblob(16), zeroblob(32), 1)"),
    ("refold", "((SELECT scope FROM published LIMIT 1))"),
    ("refolded", "((SELECT scope FROM published LIMIT 1), 1)"),
    ("reseal", "((SELECT scope FROM published LIMIT 1), 1, NULL)"),
    ("retired", "(zeroblob(16))"),
    ("sealed", "(zeroblob(16), zeroblob(32))"),
    ("shun", "(zeroblob(32), 'users', zeroblob(16), 1)"),
    ("spent", "('stick', zeroblob(16), zeroblob(32))"),
    ("withdrawn", "(zeroblob(16), 'users', zeroblob(16), 1, NULL)"),
];

/// Named by their content, and needed only as far as a head or a row leads to them.
const CONTENT: &[&str] = &["commits", "node"];

/// Without these the others mean nothing: what is left is to restore the instance.
const ESSENTIAL: &[&str] = &["head", "meta", "peer", "published", "scope"];

fn state_of(site: &Site) -> Connection {
    Connection::open(site.app.dir().join(".wbsync/state.db")).unwrap()
}

fn tables_of(db: &Connection, like: &str) -> Vec<String> {
    let sql = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name LIKE ?1 ESCAPE '\\' ORDER BY name";
    let mut statement = db.prepare(sql).unwrap();
    statement.query_map([like], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
}

fn count_of(db: &Connection, table: &str) -> i64 {
    db.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0)).unwrap()
}

/// The columns of a table, and whether each is part of its key.
fn columns_of(db: &Connection, table: &str) -> Vec<(String, bool)> {
    let mut statement = db.prepare("SELECT name, pk > 0 FROM pragma_table_info(?1)").unwrap();
    statement.query_map([table], |row| Ok((row.get(0)?, row.get(1)?))).unwrap().map(Result::unwrap).collect()
}

/// Alters one value a little, as a flipped bit does.
fn flipped(value: Value) -> Value {
    let middle = |bytes: &mut [u8]| {
        let at = bytes.len() / 2;
        bytes[at] ^= 1;
    };
    match value {
        Value::Null => unreachable!("it has no bits to flip"),
        Value::Integer(number) => Value::Integer(number ^ 1024),
        Value::Real(number) => Value::Real(number + 1.0),
        Value::Text(text) if text.is_empty() => Value::Text("x".into()),
        Value::Text(text) => {
            let mut bytes = text.into_bytes();
            middle(&mut bytes);
            Value::Text(String::from_utf8_lossy(&bytes).into_owned())
        }
        Value::Blob(bytes) if bytes.is_empty() => Value::Blob(vec![1]),
        Value::Blob(mut bytes) => {
            middle(&mut bytes);
            Value::Blob(bytes)
        }
    }
}

/// The ways to damage a table: it is gone, has no rows, lacks one, or has one with a flipped bit in one column.
fn ways_of(db: &Connection, table: &str) -> Vec<String> {
    let is_there = |column: &str| {
        let sql = format!("SELECT {column} IS NOT NULL FROM {table} ORDER BY {} LIMIT 1", keys_of(db, table));
        db.query_row(&sql, [], |row| row.get::<_, bool>(0)).unwrap()
    };
    let columns = columns_of(db, table).into_iter().filter(|(column, _)| is_there(column));
    let flips = columns.map(|(column, _)| format!("flipped {column}"));
    ["dropped", "emptied", "cut"].map(String::from).into_iter().chain(flips).collect()
}

/// The columns that order the rows of a table.
fn keys_of(db: &Connection, table: &str) -> String {
    let columns = columns_of(db, table);
    let keys: Vec<&str> = columns.iter().filter(|(_, is_key)| *is_key).map(|(name, _)| name.as_str()).collect();
    if keys.is_empty() { "rowid".to_owned() } else { keys.join(", ") }
}

/// Damages a table; false where the database itself refuses that.
fn damage_table(db: &Connection, table: &str, how: &str) -> bool {
    let keys = keys_of(db, table);
    let one = format!("({keys}) = (SELECT {keys} FROM {table} ORDER BY {keys} LIMIT 1)");
    let done = match how.strip_prefix("flipped ") {
        Some(column) => {
            let sql = format!("SELECT {column} FROM {table} WHERE {one}");
            let value: Value = db.query_row(&sql, [], |row| row.get(0)).unwrap();
            db.execute(&format!("UPDATE {table} SET {column} = ?1 WHERE {one}"), [flipped(value)])
        }
        None if how == "dropped" => db.execute_batch(&format!("DROP TABLE {table}")).map(|()| 1),
        None if how == "emptied" => db.execute(&format!("DELETE FROM {table}"), []),
        None => db.execute(&format!("DELETE FROM {table} WHERE {one}"), []),
    };
    match done {
        Err(rusqlite::Error::SqliteFailure(error, _)) if error.code == rusqlite::ErrorCode::ConstraintViolation => {
            false
        }
        done => done.unwrap() > 0,
    }
}

#[test]
fn every_damaged_table_of_the_state_is_named_and_mended_or_said_to_be_lost() {
    let (alpha, _beta, shared) = pair();
    let tables = tables_of(&state_of(&alpha), "%");
    // Trees and commits as an ordinary exchange leaves them; the others with a row each.
    let (content, others): (Vec<&String>, Vec<&String>) =
        tables.iter().partition(|table| CONTENT.contains(&table.as_str()));
    let mut failed = judge_all(&alpha, &shared, &content);
    for table in others.iter().filter(|table| count_of(&state_of(&alpha), table) == 0) {
        let made_up = MADE_UP.iter().find(|(name, _)| name == *table);
        let (_, values) =
            made_up.unwrap_or_else(|| panic!("the table {table} has no rows here: say what one looks like"));
        state_of(&alpha).execute_batch(&format!("INSERT INTO {table} VALUES {values}")).unwrap();
        alpha.open().state.recount(table).unwrap();
    }
    failed.extend(judge_all(&alpha, &shared, &others));
    assert!(failed.is_empty(), "{failed:?}");
}

/// Judges tables one by one and way by way, always from the same state; returns those that failed.
fn judge_all(alpha: &Site, shared: &Stick, tables: &[&String]) -> Vec<String> {
    let (whole, before, there) = (alpha.save(), rows(alpha), Saved::of(&shared.path()));
    let baseline = damage(&alpha.open().fsck(Depth::Sizes).unwrap());
    assert!(baseline.iter().all(|line| line.contains("fork")), "{baseline:?}");
    let mut failed = Vec::new();
    for table in tables {
        for how in ways_of(&state_of(alpha), table) {
            let judged = catch_unwind(AssertUnwindSafe(|| judge(alpha, table, &how, &before, &baseline)));
            if judged.is_err() {
                failed.push(format!("{table} {how}"));
            }
            whole.restore(alpha.app.dir());
            there.restore(&shared.path());
        }
    }
    failed
}

/// Damages a table, and looks at what is said, mended, and there afterwards.
fn judge(alpha: &Site, table: &str, how: &str, before: &str, baseline: &BTreeSet<String>) {
    let label = format!("{table} {how}");
    if !damage_table(&state_of(alpha), table, how) {
        return;
    }
    // Trees and commits that nothing needs any more are nobody's loss.
    let is_content = CONTENT.contains(&table);
    let is_unneeded =
        is_content && ["cut", "flipped scope", "flipped id"].contains(&how) || table == "census" && how == "dropped";
    let opened = Instance::open(alpha.app.dir(), Purpose::Change, silent());
    let instance = match opened {
        Ok(instance) => instance,
        // Nothing can be read without it, and that is said.
        Err(error) => {
            assert!(table == "meta" && !error.to_string().is_empty(), "{label}: {error}");
            return;
        }
    };
    let found = instance.fsck(Depth::Sizes).unwrap_or_else(|error| panic!("{label}: {error}"));
    let new: Vec<_> = found.findings.iter().filter(|finding| finding.damage).collect();
    let is_named = table == "census" && !new.is_empty()
        || new.iter().any(|finding| finding.place == table || finding.detail.contains(table))
        || is_content && new.iter().any(|finding| ["commits", "node", "trees"].contains(&finding.place.as_str()));
    assert!(is_named || is_unneeded, "{label}: {new:?}");
    let repaired = instance.repair(Mode::Keep).unwrap_or_else(|error| panic!("{label}: {error}"));
    let left: Vec<_> = damage(&repaired.left).difference(baseline).cloned().collect();
    drop(instance);
    if left.is_empty() {
        assert!(!ESSENTIAL.contains(&table), "{label} was made up: {:?}", repaired.done);
        let is_told = repaired.done.iter().any(|line| line.contains(&format!("the table {table} ")));
        let is_built = (is_content || table == "census") && !repaired.done.is_empty();
        assert!(is_told || is_built || is_unneeded, "{label}: {:?}", repaired.done);
        if table != "remote" && !how.starts_with("flipped") {
            alpha.sync();
        }
        assert_eq!(rows(alpha), before, "{label}");
        let again = damage(&alpha.open().fsck(Depth::Sizes).unwrap());
        assert!(again.is_subset(baseline), "{label}: {again:?}");
    } else {
        let lacks_a_way = repaired
            .left
            .findings
            .iter()
            .any(|finding| finding.damage && finding.mend.is_empty() && !finding.detail.contains("proves nothing"));
        assert!(ESSENTIAL.contains(&table) && !lacks_a_way, "{label}: {left:?} {:?}", repaired.done);
        assert!(!repaired.done.iter().any(|line| line.starts_with("published")), "{label}: {:?}", repaired.done);
        assert_eq!(rows(alpha), before, "{label}");
    }
}

/// What is said of the essential tables helps: with the state moved away, the instance comes back from the stick.
#[test]
fn without_its_state_an_instance_comes_back() {
    let (alpha, beta, shared) = pair();
    let before = rows(&alpha);
    state_of(&alpha).execute_batch("DELETE FROM head").unwrap();
    for file in ["state.db", "state.db-wal", "state.db-shm"] {
        let path = alpha.app.dir().join(".wbsync").join(file);
        assert!(fs::remove_file(path).is_ok() || file != "state.db");
    }
    restore(&alpha, &shared);
    assert_eq!(rows(&alpha), before);
    assert_eq!(damage(&alpha.open().fsck(Depth::Contents).unwrap()), BTreeSet::new());
    beta.sync();
    alpha.request(1, "after the restore", "trusted");
    alpha.sync();
    beta.sync();
    assert!(beta.app.dump("help_requests").contains("after the restore"));
}

fn restore(site: &Site, shared: &Stick) {
    let (dir, url) = (site.app.dir(), shared.path());
    let known = bare::Known { url: url.to_str(), ..bare::Known::default() };
    bare::complete(dir, known, dir).unwrap();
    let mut instance = Instance::open(dir, Purpose::Restore, silent()).unwrap();
    if instance.state.remotes().unwrap().is_empty() {
        instance.remote_add(&stick(), url.to_str().unwrap(), dir).unwrap();
    }
    instance.restore(&RestoreOptions::default(), Mode::Keep).unwrap();
}

/// Every table of the bookkeeping is missed, and those that tie rows to records also where they are empty. Flipped bits are named as far
/// as rows and records contradict them; whatever is named, repair makes nothing up.
#[test]
fn every_lost_table_of_the_bookkeeping_is_named_and_nothing_is_made_up() {
    let (alpha, _beta, shared) = pair();
    let made_up = [
        ("_wbsync_gone", "(1, 0, zeroblob(16), 1, 0)"),
        ("_wbsync_override", "(1, 1, 'email', 'x', 'alias')"),
        ("_wbsync_waiting", "(1, 1, 0, zeroblob(16), 'email', NULL, NULL, NULL, NULL, 'parent')"),
    ];
    let tables = tables_of(&alpha.app.db(), "\\_wbsync\\_%");
    for table in &tables {
        if count_of(&alpha.app.db(), table) == 0 {
            let made_up = made_up.iter().find(|(name, _)| name == table);
            let (_, values) =
                made_up.unwrap_or_else(|| panic!("the table {table} has no rows here: say what one looks like"));
            alpha.app.db().execute_batch(&format!("INSERT INTO {table} VALUES {values}")).unwrap();
        }
    }
    let (whole, before, there) = (alpha.save(), rows(&alpha), Saved::of(&shared.path()));
    // Datasets get their numbers again, in the order of the mapping.
    let ties = ["_wbsync_map", "_wbsync_origin"];
    let mut unnoticed = Vec::new();
    for table in &tables {
        for how in ways_of(&alpha.app.db(), table) {
            let label = format!("{table} {how}");
            if !damage_table(&alpha.app.db(), table, &how) {
                continue;
            }
            let found = alpha.open().fsck(Depth::Sizes).unwrap_or_else(|error| panic!("{label}: {error}"));
            let named: Vec<_> = found.findings.iter().filter(|it| it.damage && it.part == "database").collect();
            if named.is_empty() {
                // What the mapping was is made up anew by the next capture: as it is now.
                let is_lost = how == "dropped" && table != "_wbsync_shape";
                let must = is_lost || how == "emptied" && ties.contains(&table.as_str());
                assert!(!must, "{label}");
                unnoticed.push(label);
            } else {
                assert!(named.iter().all(|finding| !finding.mend.is_empty()), "{label}: {named:?}");
                let repaired = alpha.open().repair(Mode::Keep).unwrap_or_else(|error| panic!("{label}: {error}"));
                assert!(repaired.left.is_damaged(), "{label}: nothing is guessed: {:?}", repaired.done);
                assert_eq!(rows(&alpha), before, "{label}");
            }
            whole.restore(alpha.app.dir());
            there.restore(&shared.path());
        }
    }
    println!("not noticed by fsck: {}", unnoticed.join(", "));
}
