//! What the database says that isn't committed: the same as the next commit takes, and looking leaves no trace.

use std::fs;

use wbsync::connector::contract::Position;
use wbsync::id::name::PeerName;
use wbsync::state::peers::Trust;
use wbsync::state::pending::PendingSettle;
use wbsync::sync::commit::Mode;
use wbsync::sync::view::View;
use wbsync::sync::working::WorkingDiff;

use super::world::{Site, files_under, pair};

/// Every byte of an installation, but for SQLite's own index of its log.
fn bytes(site: &Site) -> Vec<(String, Vec<u8>)> {
    let dir = site.app.dir();
    let files = files_under(dir).into_iter().filter(|name| !name.ends_with("-shm") && !name.ends_with("/lock"));
    files.map(|name| (name.clone(), fs::read(dir.join(&name)).unwrap())).collect()
}

fn look(site: &Site, from: Option<&str>) -> WorkingDiff {
    // An open connection keeps SQLite from folding its log into the file when the last one closes.
    let _keep = site.app.db();
    let before = bytes(site);
    let diff = site.open().diff_database(from).unwrap();
    site.open().commit(Mode::DryRun).unwrap();
    assert!(before == bytes(site), "looking changed a file of {}", site.name);
    diff
}

fn lines(diff: &WorkingDiff) -> Vec<String> {
    let line = |record: &wbsync::sync::working::ScopedDiff| {
        let fields: Vec<&str> = record.diff.fields.keys().map(String::as_str).collect();
        let dataset = record.diff.record.split('/').next().unwrap();
        format!("{} {} {dataset}: {}", record.scope, record.diff.change, fields.join(","))
    };
    diff.records.iter().map(line).collect()
}

#[test]
fn what_is_not_committed_is_what_the_next_commit_takes_and_looking_writes_nothing() {
    let (_stick, alpha, beta) = pair(Some(Trust::Writer));
    let alice = alpha.app.insert_user("alice", "public");
    let ladder = alpha.request(alice, "ladder", "public");
    let saw = alpha.request(alice, "saw", "public");
    let all = "author,completed_at,created_at,description,status,title,updated_at";
    let first = look(&alpha, None);
    assert!(lines(&first).contains(&format!("public added requests: {all}")), "{:?}", lines(&first));
    assert_eq!(first.records.len(), 3);
    alpha.sync();
    beta.sync();
    assert!(look(&alpha, None).records.is_empty() && look(&beta, None).records.is_empty());
    // An edit, a withdrawal, a deletion, a private row, and an edit of another's record.
    alpha.edit(ladder, "title", "long ladder");
    alpha.app.set_scope("help_requests", saw, "private");
    let secret = alpha.request(alice, "secret", "private");
    alpha.edit(secret, "description", "canary");
    beta.app.execute("DELETE FROM help_requests WHERE title = 'saw'", &[]);
    beta.app.execute("UPDATE help_requests SET status = 'completed' WHERE title = 'ladder'", &[]);
    let found = look(&alpha, None);
    let mut sorted = lines(&found);
    sorted.sort();
    assert_eq!(
        sorted,
        ["public changed requests: title,updated_at".to_owned(), format!("public withdrawn requests: {all}")]
    );
    assert_eq!(found.private["requests: chosen"], 2);
    assert!(!serde_json::to_string(&found).unwrap().contains("canary"));
    let mut sorted = lines(&look(&beta, None));
    sorted.sort();
    assert_eq!(
        sorted,
        [
            "alpha/public changed requests: completed_at,status".to_owned(),
            format!("alpha/public removed requests: {all}")
        ]
    );
    let taken = beta.open().commit(Mode::Keep).unwrap();
    assert_eq!((taken.scopes["alpha/public"].put, taken.scopes["alpha/public"].removed), (1, 1));
    assert!(look(&beta, None).records.is_empty());
}

#[test]
fn a_commit_is_compared_with_the_rows_as_they_are() {
    let (_stick, alpha, beta) = pair(Some(Trust::Writer));
    let alice = alpha.app.insert_user("alice", "public");
    let ladder = alpha.request(alice, "ladder", "public");
    let first = alpha.open().commit(Mode::Keep).unwrap().scopes["public"].commit.to_string();
    alpha.edit(ladder, "title", "long ladder");
    alpha.open().commit(Mode::Keep).unwrap();
    alpha.edit(ladder, "description", "four metres");
    let since = look(&alpha, Some(&first));
    assert_eq!(lines(&since), ["public changed requests: description,title,updated_at"]);
    assert_eq!(lines(&look(&alpha, Some("public"))), ["public changed requests: description,updated_at"]);
    // Fetched and not yet applied: no row shows any of it.
    alpha.sync();
    let newest = alpha.open().log(Some("public"), 1).unwrap()[0].commit.to_string();
    beta.open().fetch(&PeerName::new("stick").unwrap()).unwrap();
    assert!(look(&beta, None).records.is_empty());
    let missing = look(&beta, Some(&newest));
    assert_eq!(missing.records.len(), 2, "{:?}", lines(&missing));
    assert!(missing.records.iter().all(|record| record.diff.change == "removed"));
    beta.pull();
    assert!(look(&beta, Some(&newest)).records.is_empty());
}

#[test]
fn a_dataset_that_is_mapped_anew_is_looked_at_without_being_numbered() {
    let alpha = Site::new("alpha");
    let alice = alpha.app.insert_user("alice", "public");
    alpha.app.insert_invite("token", Some(alice), "public");
    alpha.open().commit(Mode::Keep).unwrap();
    let path = alpha.app.dir().join("wbsync.toml");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, format!("{text}\n[dataset.invites]\nenabled = true\n")).unwrap();
    let found = look(&alpha, None);
    assert_eq!((found.records.len(), found.records[0].diff.change), (1, "added"));
}

#[test]
fn what_a_crash_kept_from_being_settled_is_not_shown_as_uncommitted() {
    let (_stick, alpha, _beta) = pair(None);
    let alice = alpha.app.insert_user("alice", "public");
    let ladder = alpha.request(alice, "ladder", "public");
    alpha.open().commit(Mode::Keep).unwrap();
    alpha.edit(ladder, "title", "long ladder");
    let before = fs::read(alpha.app.db_path()).unwrap();
    let instance = alpha.open();
    instance.commit(Mode::Keep).unwrap();
    let Position { applied, target, .. } = instance.with_database(|database| Ok(database.position()?)).unwrap();
    // The commit is durable here, and the application's database has not heard of it.
    instance.state.put_pending(&PendingSettle { number: 2, applied, target }).unwrap();
    drop(instance);
    fs::write(alpha.app.db_path(), before).unwrap();
    assert!(look(&alpha, None).records.is_empty());
    assert!(look(&alpha, Some("public")).records.is_empty());
    alpha.edit(ladder, "description", "four metres");
    assert_eq!(lines(&look(&alpha, None)), ["public changed requests: description,updated_at"]);
}

#[test]
fn edits_in_the_middle_of_an_apply_are_told_against_what_each_row_reflects() {
    let (_stick, alpha, beta) = pair(Some(Trust::Writer));
    let alice = alpha.app.insert_user("alice", "public");
    let ladder = alpha.request(alice, "ladder", "public");
    alpha.sync();
    beta.sync();
    alpha.edit(ladder, "title", "long ladder");
    alpha.sync();
    let instance = beta.open();
    instance.fetch(&PeerName::new("stick").unwrap()).unwrap();
    instance.merge().unwrap();
    let mut target = View::default();
    for row in instance.state.scopes().unwrap() {
        target.commits.extend(row.local_head.map(|head| (row.id, head)));
    }
    instance.with_database(|database| Ok(database.begin_apply(&target.encode())?)).unwrap();
    drop(instance);
    assert!(look(&beta, None).records.is_empty(), "a row that is not written yet is no edit");
    beta.app.execute("UPDATE help_requests SET description = 'here' WHERE title = 'ladder'", &[]);
    assert_eq!(lines(&look(&beta, None)), ["alpha/public changed requests: description"]);
    beta.sync();
    assert!(look(&beta, None).records.is_empty());
    assert_eq!(beta.app.value("SELECT title || ' ' || description FROM help_requests"), "long ladder here");
}
