//! An instance whose database, `.wbsync`, or both were put back from a backup a week old: nothing published is lost,
//! nothing edited here is lost, peers go on with it.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

use wbsync::id::name::PeerName;
use wbsync::state::peers::Trust;
use wbsync::sync::commit::Mode;
use wbsync::sync::error::Error;
use wbsync::sync::instance::{Instance, Purpose};
use wbsync::sync::progress::silent;
use wbsync::sync::restore::{RestoreOptions, RestoreSummary, bare};
use wbsync::sync::rotate::Resealing;

use super::crash::{Part, put_back};
use super::support::app::App;
use super::world::{STICK, Saved, Site, Stick, pair};

/// Alpha with a backup a week old, and beta, a writer of alpha's; both are in step when this returns.
struct Week {
    stick: Stick,
    alpha: Site,
    beta: Site,
    backup: Saved,
}

fn id_of(site: &Site, title: &str) -> i64 {
    site.app.value(&format!("SELECT id FROM help_requests WHERE title = '{title}'")).parse().unwrap()
}

fn describe(site: &Site, title: &str, text: &str) {
    site.edit(id_of(site, title), "description", text);
}

fn week() -> Week {
    let (stick, alpha, beta) = pair(Some(Trust::Writer));
    let alice = alpha.app.insert_user("alice", "public");
    for title in ["kept", "quiet", "edited later", "deleted later", "hidden later"] {
        alpha.request(alice, title, "public");
    }
    alpha.request(alice, "shared later", "private");
    let bob = beta.app.insert_user("bob", "public");
    for title in ["of beta", "of beta, edited later"] {
        beta.request(bob, title, "public");
    }
    for site in [&alpha, &beta, &alpha, &beta] {
        site.sync();
    }
    let backup = alpha.save();
    describe(&alpha, "edited later", "on Monday");
    alpha.sync();
    beta.sync();
    describe(&beta, "kept", "by beta");
    describe(&beta, "of beta, edited later", "on Tuesday");
    beta.request(bob, "new at beta", "public");
    beta.sync();
    describe(&alpha, "edited later", "on Wednesday");
    let new = alpha.request(alice, "new at alpha", "public");
    alpha.app.insert_comment(new, alice, "under it", "public");
    alpha.app.execute("DELETE FROM help_requests WHERE title = 'deleted later'", &[]);
    alpha.app.execute("UPDATE help_requests SET sync_scope = 'private' WHERE title = 'hidden later'", &[]);
    alpha.app.execute("UPDATE help_requests SET sync_scope = 'public' WHERE title = 'shared later'", &[]);
    for site in [&alpha, &beta, &alpha, &beta] {
        site.sync();
    }
    Week { stick, alpha, beta, backup }
}

impl Week {
    fn put_back_wbsync(&self) {
        Saved::of(&self.backup.path().join(".wbsync")).restore(&self.alpha.app.dir().join(".wbsync"));
    }

    fn put_back_database(&self) {
        put_back(&self.alpha, &self.backup, Part::App);
    }

    /// Both sides exchange until nothing moves, and hold the same.
    fn converges(&self) {
        for site in [&self.beta, &self.alpha, &self.beta, &self.alpha] {
            site.sync();
        }
        for site in [&self.alpha, &self.beta] {
            site.app.assert_whole();
        }
        assert_eq!(self.alpha.local_heads(), self.beta.local_heads());
        assert_eq!(shared(&self.alpha), shared(&self.beta));
    }
}

/// What is public: titles, descriptions and comments.
fn shared(site: &Site) -> BTreeSet<String> {
    let requests = "(SELECT * FROM help_requests WHERE sync_scope = 'public')";
    let requests = site.app.dump_columns(requests, &["title", "description"]);
    let comments = "request_comments c JOIN help_requests r ON r.id = c.help_request_id";
    let comments = site.app.dump_columns(comments, &["body", "title"]);
    requests.lines().chain(comments.lines()).map(str::to_owned).collect()
}

fn open_to_restore(site: &Site) -> Instance {
    Instance::open(site.app.dir(), Purpose::Restore, silent()).unwrap()
}

#[track_caller]
fn restore(site: &Site) -> RestoreSummary {
    let summary = open_to_restore(site).restore(&RestoreOptions::default(), Mode::Keep).unwrap();
    assert!(summary.pushed.failed.is_empty(), "{:?}", summary.pushed.failed);
    for fetched in summary.fetched.values() {
        assert!(fetched.refused.is_empty() && fetched.held.is_empty(), "{fetched:?}");
    }
    summary
}

fn count(site: &Site, title: &str) -> String {
    site.app.value(&format!("SELECT count(*) FROM help_requests WHERE title = '{title}'"))
}

fn description(site: &Site, title: &str) -> String {
    site.app.value(&format!("SELECT description FROM help_requests WHERE title = '{title}'"))
}

#[test]
fn an_old_database_beside_a_current_wbsync_catches_up() {
    let week = week();
    let Week { alpha, beta, .. } = &week;
    let expected = shared(alpha);
    week.put_back_database();
    describe(alpha, "quiet", "after the backup came back");
    alpha.request(1, "made after", "public");
    let summary = restore(alpha);
    assert_eq!(summary.incarnation, (0, 1));
    assert!(summary.lost.is_empty(), "{:?}", summary.lost);
    assert_eq!(summary.rows.conflicts, 0, "{:?}", summary.rows);
    let now = shared(alpha);
    let missing: Vec<_> = expected.difference(&now).filter(|line| !line.contains("quiet")).collect();
    assert!(missing.is_empty(), "{missing:?} in {now:?}");
    assert_eq!(description(alpha, "quiet"), "after the backup came back");
    assert_eq!(count(alpha, "deleted later"), "0");
    let scope = "SELECT sync_scope FROM help_requests WHERE title =";
    assert_eq!(alpha.app.value(&format!("{scope} 'hidden later'")), "private", "withdrawn, not deleted");
    assert_eq!(alpha.app.value(&format!("{scope} 'shared later'")), "public");
    week.converges();
    for title in ["made after", "new at alpha", "new at beta", "shared later"] {
        assert_eq!(count(beta, title), "1", "{title}");
    }
    assert_eq!(count(beta, "hidden later"), "0");
    assert_eq!(description(beta, "quiet"), "after the backup came back");
}

#[test]
fn a_row_that_the_backup_had_not_captured_yet_is_the_record_that_it_became() {
    let (_stick, alpha, beta) = pair(None);
    let alice = alpha.app.insert_user("alice", "public");
    alpha.sync();
    alpha.request(alice, "just written", "public");
    alpha.request(alice, "written and edited", "public");
    let backup = alpha.save();
    alpha.sync();
    describe(&alpha, "written and edited", "later");
    alpha.sync();
    put_back(&alpha, &backup, Part::App);
    let summary = restore(&alpha);
    assert_eq!(summary.rows.recognised, 2, "{:?}", summary.rows);
    for site in [&beta, &alpha, &beta] {
        site.sync();
    }
    for site in [&alpha, &beta] {
        assert_eq!(count(site, "just written"), "1");
        assert_eq!(count(site, "written and edited"), "1");
        assert_eq!(description(site, "written and edited"), "later", "{}", site.name);
    }
}

/// The database is current, `.wbsync` a week old.
fn current_database(week: &Week) -> (String, BTreeSet<String>) {
    let Week { alpha, beta, .. } = week;
    describe(beta, "edited later", "beta at last");
    beta.push();
    // Captured and never published.
    describe(alpha, "quiet", "captured only");
    alpha.request(1, "captured only", "public");
    alpha.open().commit(Mode::Keep).unwrap();
    let id = record_of(alpha, "captured only");
    // Not even captured.
    describe(alpha, "edited later", "alpha at last");
    alpha.app.execute("UPDATE help_requests SET title = 'kept and renamed' WHERE title = 'kept'", &[]);
    (id, shared(alpha))
}

fn record_of(site: &Site, title: &str) -> String {
    let records = site.records();
    let found = records.iter().find(|(_, _, record)| format!("{record:?}").contains(&format!("Text({title:?})")));
    found.map(|(_, key, _)| key.clone()).unwrap_or_else(|| panic!("{title} is no record"))
}

fn check_current_database(week: &Week, id: &str, expected: &BTreeSet<String>) {
    let Week { alpha, beta, .. } = week;
    week.converges();
    for site in [alpha, beta] {
        let now = shared(site);
        let missing: Vec<_> = expected.difference(&now).filter(|line| !line.contains("edited later")).collect();
        assert!(missing.is_empty(), "{}: {missing:?} in {now:?}", site.name);
        assert_eq!(description(site, "kept and renamed"), "by beta");
        assert_eq!(description(site, "quiet"), "captured only");
        assert_eq!(count(site, "captured only"), "1");
        assert_eq!(record_of(site, "captured only"), id, "{}", site.name);
        let held = format!("{:?}", site.records());
        assert!(held.contains("alpha at last") && held.contains("beta at last"), "{}: both are kept", site.name);
        assert!(["alpha at last", "beta at last"].contains(&description(site, "edited later").as_str()));
    }
    assert!(alpha.open().status().unwrap().conflicts.iter().any(|conflict| conflict.ends_with(".description")));
}

#[test]
fn an_old_wbsync_beside_a_current_database_catches_up() {
    let week = week();
    let (id, expected) = current_database(&week);
    week.put_back_wbsync();
    let error = week.alpha.try_pull(STICK).unwrap_err();
    assert!(matches!(error, Error::LostCommit { .. } | Error::LostHistory { .. }), "{error:?}");
    assert!(error.hint().is_some_and(|hint| hint.contains("wbsync restore")), "{error:?}");
    let summary = restore(&week.alpha);
    assert!(summary.lost.contains_key("public"), "{:?}", summary.lost);
    check_current_database(&week, &id, &expected);
    assert_eq!(count(&week.alpha, "deleted later"), "0", "what was deleted and published stays deleted");
}

/// The application writes at once after its own backup was put back: what the backup doesn't hold is not deleted by us.
#[test]
fn an_old_database_beside_a_current_state_publishes_nothing_until_it_is_restored() {
    let week = week();
    let Week { alpha, beta, .. } = &week;
    let expected = shared(beta);
    week.put_back_database();
    alpha.request(1, "made after", "public");
    describe(alpha, "quiet", "after the backup came back");
    let before = Saved::of(&week.stick.path());
    let error = alpha.open().commit(Mode::Keep).unwrap_err();
    assert!(matches!(error, Error::OldDatabase { .. }), "{error:?}");
    assert!(error.hint().is_some_and(|hint| hint.contains("wbsync restore")), "{error:?}");
    assert_eq!(super::world::files_under(before.path()), week.stick.files(), "nothing was sent");
    restore(alpha);
    week.converges();
    let now = shared(beta);
    let missing: Vec<_> = expected.difference(&now).filter(|line| !line.contains("quiet")).collect();
    assert!(missing.is_empty(), "{missing:?} in {now:?}");
    assert_eq!(
        (description(beta, "quiet"), count(beta, "made after")),
        ("after the backup came back".into(), "1".into())
    );
    // From then on all is as usual.
    alpha.request(1, "made later", "public");
    week.converges();
    assert_eq!(count(beta, "made later"), "1");
}

/// A row that was captured only after the backup is known by what it says, also if a sync was tried before the restore.
#[test]
fn a_refused_sync_spoils_nothing_for_the_restore() {
    for (is_tried, has_books) in [(false, true), (true, true), (true, false)] {
        let (_stick, alpha, beta) = pair(Some(Trust::Writer));
        alpha.request(1, "known", "public");
        alpha.sync();
        alpha.request(1, "just made", "public");
        let backup = Saved::of(alpha.app.dir());
        alpha.sync();
        beta.request(1, "of beta", "public");
        for site in [&beta, &alpha, &beta] {
            site.sync();
        }
        if has_books {
            put_back(&alpha, &backup, Part::App);
        } else {
            let names = "SELECT name FROM sqlite_master WHERE type = 'table' AND name LIKE '\\_wbsync%' ESCAPE '\\'";
            let drops = alpha.app.value(&format!("SELECT group_concat('DROP TABLE ' || name, ';') FROM ({names})"));
            alpha.app.db().execute_batch(&drops).unwrap();
        }
        if is_tried {
            let error = alpha.open().commit(Mode::Keep).unwrap_err();
            assert!(matches!(error, Error::OldDatabase { .. }), "{error:?}");
        }
        restore(&alpha);
        for site in [&alpha, &beta, &alpha] {
            site.sync();
        }
        for site in [&alpha, &beta] {
            for title in ["known", "just made", "of beta"] {
                assert_eq!(count(site, title), "1", "{title} at {}, tried {is_tried}, {has_books}", site.name);
            }
            assert_eq!(shared(site).len(), shared(&alpha).len());
        }
    }
}

#[test]
fn both_from_the_same_old_moment_catch_up() {
    let week = week();
    let Week { alpha, beta, .. } = &week;
    let expected = shared(alpha);
    week.put_back_wbsync();
    week.put_back_database();
    describe(alpha, "quiet", "after the backup came back");
    alpha.request(1, "made after", "public");
    let before = Saved::of(&week.stick.path());
    let error = alpha.try_pull(STICK).unwrap_err();
    assert!(matches!(error, Error::LostHistory { .. }), "{error:?}");
    let error = alpha.try_push(STICK).unwrap_err();
    assert!(matches!(error, Error::LostHistory { .. }), "{error:?}");
    assert_eq!(super::world::files_under(before.path()), week.stick.files(), "nothing was sent");
    let summary = restore(alpha);
    assert_eq!(summary.rows.conflicts, 0, "{:?}", summary.rows);
    assert_eq!(summary.rows.kept_home.len(), 2, "{:?}", summary.rows);
    for title in ["deleted later", "hidden later"] {
        let scope = alpha.app.value(&format!("SELECT sync_scope FROM help_requests WHERE title = '{title}'"));
        assert_eq!(scope, "private", "{title}");
    }
    week.converges();
    let now = shared(beta);
    let missing: Vec<_> = expected.difference(&now).filter(|line| !line.contains("quiet")).collect();
    assert!(missing.is_empty(), "{missing:?} in {now:?}");
    assert_eq!(description(beta, "quiet"), "after the backup came back");
    assert_eq!(count(beta, "made after"), "1");
    for title in ["deleted later", "hidden later"] {
        assert_eq!(count(beta, title), "0", "{title}");
    }
}

/// Leaves nothing of an instance but its keys, and completes it.
fn only_keys(week: &Week) {
    let dir = week.alpha.app.dir();
    for entry in fs::read_dir(dir.join(".wbsync")).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.ends_with("keys") {
            fs::remove_dir_all(&path).unwrap();
        } else if path.is_file() {
            fs::remove_file(&path).unwrap();
        }
    }
    let url = week.stick.path();
    let known = bare::Known { url: url.to_str(), ..bare::Known::default() };
    assert!(bare::complete(dir, known, dir).unwrap());
    assert!(!bare::complete(dir, known, dir).unwrap());
    let stick = PeerName::new(STICK).unwrap();
    open_to_restore(&week.alpha).remote_add(&stick, url.to_str().unwrap(), dir).unwrap();
}

#[test]
fn from_the_keys_alone_an_instance_comes_back() {
    let week = week();
    let (id, expected) = current_database(&week);
    only_keys(&week);
    let summary = restore(&week.alpha);
    assert!(summary.peers.iter().any(|peer| peer.contains("knows beta again")), "{:?}", summary.peers);
    assert!(summary.peers.iter().any(|peer| peer.contains("follows beta/public again")), "{:?}", summary.peers);
    check_current_database(&week, &id, &expected);
    assert_eq!(week.alpha.open().peer_named("beta").unwrap().trust, Trust::Writer);
}

#[test]
fn from_the_keys_and_a_database_without_bookkeeping_rows_are_recognised() {
    let week = week();
    let Week { alpha, beta, .. } = &week;
    let expected = shared(alpha);
    let tables = "SELECT group_concat('DROP TABLE ' || name, ';') FROM sqlite_schema
                  WHERE type = 'table' AND name LIKE '\\_wbsync\\_%' ESCAPE '\\'";
    alpha.app.db().execute_batch(&alpha.app.value(tables)).unwrap();
    only_keys(&week);
    let instance = open_to_restore(alpha);
    let card = beta.card();
    instance.peer_add(&card, &Default::default()).unwrap();
    instance.follow("beta", None).unwrap();
    drop(instance);
    let summary = restore(alpha);
    assert!(summary.rows.recognised > 5, "{:?}", summary.rows);
    assert_eq!(shared(alpha), expected);
    week.converges();
    assert_eq!(shared(beta), expected, "nothing doubled");
}

#[test]
fn an_empty_database_is_filled_with_all_that_was_published() {
    let week = week();
    let Week { alpha, .. } = &week;
    let expected = shared(alpha);
    let fresh = App::new();
    for suffix in ["-wal", "-shm"] {
        let _ = fs::remove_file(format!("{}{suffix}", alpha.app.db_path().display()));
    }
    fs::copy(fresh.db_path(), alpha.app.db_path()).unwrap();
    restore(alpha);
    assert_eq!(shared(alpha), expected);
    week.converges();
    assert_eq!(shared(alpha), expected);
}

#[test]
fn after_a_restore_an_instance_goes_on_as_before_and_can_be_restored_again() {
    let week = week();
    let Week { alpha, beta, .. } = &week;
    for round in 1..=2 {
        week.put_back_wbsync();
        week.put_back_database();
        assert_eq!(restore(alpha).incarnation, (0, round));
        describe(alpha, "quiet", &format!("in incarnation {round}"));
        alpha.sync();
        describe(beta, "kept", &format!("by beta, {round}"));
        week.converges();
        assert_eq!(description(beta, "quiet"), format!("in incarnation {round}"));
        assert_eq!(description(alpha, "kept"), format!("by beta, {round}"));
    }
    let again = restore(alpha);
    assert!(again.lost.is_empty() && again.rows.edits == 0 && again.rows.conflicts == 0, "{again:?}");
    week.converges();
}

#[test]
fn a_dry_run_changes_nothing_and_no_remote_is_no_restore() {
    let week = week();
    week.put_back_wbsync();
    week.put_back_database();
    let (before, stick) = (week.alpha.save(), Saved::of(&week.stick.path()));
    let summary = open_to_restore(&week.alpha).restore(&RestoreOptions::default(), Mode::DryRun).unwrap();
    assert_eq!(summary.incarnation, (0, 1));
    assert!(summary.asked[STICK].newer.iter().any(|newer| newer.scope == "public"), "{summary:?}");
    assert_eq!(week.alpha.app.dump("help_requests").len(), week.alpha.app.dump("help_requests").len());
    assert_eq!(
        super::world::files_under(before.path()).iter().filter(|file| !file.contains("db-")).collect::<Vec<_>>(),
        super::world::files_under(week.alpha.app.dir()).iter().filter(|file| !file.contains("db-")).collect::<Vec<_>>()
    );
    let away = week.stick.path().with_extension("away");
    fs::rename(week.stick.path(), &away).unwrap();
    let error = open_to_restore(&week.alpha).restore(&RestoreOptions::default(), Mode::Keep).unwrap_err();
    assert!(matches!(error, Error::RestoreAlone) && error.exit_code() == 4 && error.hint().is_some(), "{error:?}");
    assert!(Instance::open(week.alpha.app.dir(), Purpose::Change, silent()).is_ok(), "nothing was begun");
    fs::rename(&away, week.stick.path()).unwrap();
    drop(stick);
    restore(&week.alpha);
    week.converges();
}

#[test]
fn a_copy_of_an_instance_is_noticed_and_a_restore_of_one_settles_it() {
    let week = week();
    let Week { alpha, beta, .. } = &week;
    let copy = Site { app: App::new(), name: "copy" };
    Saved::of(alpha.app.dir()).restore(copy.app.dir());
    describe(&copy, "quiet", "at the copy");
    copy.sync();
    describe(alpha, "of beta", "seen at alpha");
    describe(alpha, "edited later", "at the first");
    let error = alpha.try_push(STICK).unwrap_err();
    assert!(matches!(error, Error::LostHistory { .. }), "{error:?}");
    restore(alpha);
    week.converges();
    assert_eq!(description(beta, "quiet"), "at the copy");
    assert_eq!(description(beta, "edited later"), "at the first");
    for error in [copy.try_pull(STICK).unwrap_err(), copy.try_push(STICK).unwrap_err()] {
        let text = error.to_string();
        assert!(matches!(error, Error::LostHistory { .. }) && text.contains("incarnation 1"), "{error:?}");
        assert!(error.hint().is_some_and(|hint| hint.contains("stop the other")), "{error:?}");
    }
}

#[test]
fn two_published_histories_are_both_taken_in() {
    let week = week();
    let Week { alpha, beta, .. } = &week;
    let other = Stick::new();
    let copy = Site { app: App::new(), name: "copy" };
    Saved::of(alpha.app.dir()).restore(copy.app.dir());
    alpha.uses_as(&other, "other");
    describe(&copy, "quiet", "at the copy");
    copy.request(1, "made at the copy", "public");
    copy.sync();
    describe(alpha, "edited later", "at the first");
    alpha.open().commit(Mode::Keep).unwrap();
    alpha.try_push("other").unwrap();
    let summary = open_to_restore(alpha).restore(&RestoreOptions::default(), Mode::Keep).unwrap();
    assert!(summary.pushed.failed.is_empty(), "{:?}", summary.pushed.failed);
    week.converges();
    for site in [alpha, beta] {
        assert_eq!(description(site, "quiet"), "at the copy", "{}", site.name);
        assert_eq!(count(site, "made at the copy"), "1", "{}", site.name);
        assert_eq!(description(site, "edited later"), "at the first", "{}", site.name);
    }
    drop(other);
}

/// What both wrote into several fields of one record, at several times, stands beside each other: one write has one time.
#[test]
fn fields_of_one_record_that_two_histories_wrote_are_conflicts() {
    let week = week();
    let Week { alpha, beta, .. } = &week;
    let other = Stick::new();
    let copy = Site { app: App::new(), name: "copy" };
    Saved::of(alpha.app.dir()).restore(copy.app.dir());
    alpha.uses_as(&other, "other");
    let complete =
        |site: &Site, day: u32| site.edit(id_of(site, "quiet"), "completed_at", &format!("2026-03-0{day} 09:00:00"));
    describe(&copy, "quiet", "at the copy");
    copy.sync();
    complete(&copy, 1);
    copy.sync();
    describe(alpha, "quiet", "at the first");
    alpha.open().commit(Mode::Keep).unwrap();
    complete(alpha, 2);
    alpha.open().commit(Mode::Keep).unwrap();
    alpha.try_push("other").unwrap();
    restore(alpha);
    week.converges();
    for site in [alpha, beta] {
        let open = site.open().open_conflicts().unwrap();
        for field in [".description", ".completed_at"] {
            assert!(open.iter().any(|conflict| conflict.ends_with(field)), "{}: {field}: {open:?}", site.name);
        }
    }
    drop(other);
}

/// Two heads that are several numbers apart are no proof, but the refusal says what it looks like.
#[test]
fn a_second_history_some_heads_further_on_is_named_as_what_it_may_be() {
    let week = week();
    let Week { alpha, beta, .. } = &week;
    let other = Stick::new();
    let copy = Site { app: App::new(), name: "copy" };
    Saved::of(alpha.app.dir()).restore(copy.app.dir());
    for site in [alpha, beta] {
        site.uses_as(&other, "other");
    }
    describe(&copy, "quiet", "at the copy");
    copy.sync();
    beta.sync();
    let before = beta.local_heads();
    for round in 0..3 {
        describe(alpha, "edited later", &format!("round {round} at the first"));
        alpha.open().commit(Mode::Keep).unwrap();
        alpha.try_push("other").unwrap();
    }
    let pulled = beta.try_pull("other").unwrap();
    let refused: Vec<_> = pulled.fetched.remotes.values().flat_map(|fetched| &fetched.refused).collect();
    assert!(refused.iter().any(|refusal| refusal.reason.contains("may have signed two histories")), "{pulled:?}");
    assert!(refused.iter().all(|refusal| refusal.hint.contains("wbsync restore")), "{refused:?}");
    assert_eq!(beta.local_heads(), before);
}

/// Whatever step a restore is interrupted at, running it again ends as if it had run through.
#[test]
fn an_interrupted_restore_is_finished_by_the_next() {
    let week = week();
    let (id, expected) = current_database(&week);
    week.put_back_wbsync();
    let (site, stick, peer) = (week.alpha.save(), Saved::of(&week.stick.path()), week.beta.save());
    let mut step = 0;
    loop {
        let left = Rc::new(Cell::new(step));
        let counter = left.clone();
        let watcher = Box::new(move |_: wbsync::sync::progress::Event<'_>| {
            assert!(counter.get() > 0, "interrupted");
            counter.set(counter.get() - 1);
        });
        let mut instance = Instance::open(week.alpha.app.dir(), Purpose::Restore, watcher).unwrap();
        let ran = catch_unwind(AssertUnwindSafe(|| instance.restore(&RestoreOptions::default(), Mode::Keep)));
        drop(instance);
        if let Ok(done) = ran {
            done.unwrap();
            check_current_database(&week, &id, &expected);
            assert!(step > 5, "a restore has steps");
            return;
        }
        let refused = Instance::open(week.alpha.app.dir(), Purpose::Change, silent()).map(drop).unwrap_err();
        assert!(matches!(refused, Error::RestoreUnfinished), "step {step}: {refused:?}");
        restore(&week.alpha);
        check_current_database(&week, &id, &expected);
        week.alpha.restore(&site);
        week.beta.restore(&peer);
        stick.restore(&week.stick.path());
        step += 7;
    }
}

/// An address for trusted peers lies beside the public record: it comes back with it, whichever part is old.
#[test]
fn a_field_of_a_narrower_scope_comes_back_too() {
    for part in ["database", "wbsync", "both"] {
        let (_stick, alpha, beta) = pair(Some(Trust::Trusted));
        for site in [&alpha, &beta] {
            let path = site.app.dir().join("wbsync.toml");
            let text = fs::read_to_string(&path).unwrap();
            fs::write(&path, text + "\n[dataset.users.fields.contact_email]\nscope = \"trusted\"\n").unwrap();
        }
        let email = |site: &Site, name: &str| {
            site.app.value(&format!("SELECT coalesce(contact_email, 'none') FROM users WHERE username = '{name}'"))
        };
        let set = |name: &str, email: &str| {
            alpha.app.execute("UPDATE users SET contact_email = ?2 WHERE username = ?1", &[&name, &email]);
        };
        for name in ["ann", "bea"] {
            alpha.app.insert_user(name, "public");
            set(name, "old");
        }
        for site in [&alpha, &beta, &alpha] {
            site.sync();
        }
        let backup = alpha.save();
        set("ann", "new");
        alpha.app.insert_user("cleo", "public");
        set("cleo", "first");
        for site in [&alpha, &beta, &alpha] {
            site.sync();
        }
        if part != "wbsync" {
            put_back(&alpha, &backup, Part::App);
        }
        if part != "database" {
            Saved::of(&backup.path().join(".wbsync")).restore(&alpha.app.dir().join(".wbsync"));
        }
        restore(&alpha);
        for site in [&beta, &alpha, &beta, &alpha] {
            site.sync();
        }
        for site in [&alpha, &beta] {
            let emails = ["ann", "bea", "cleo"].map(|name| email(site, name));
            assert_eq!(emails, ["new", "old", "first"], "{part} was old: {}", site.name);
        }
        assert_eq!(alpha.local_heads(), beta.local_heads(), "{part} was old");
        for site in [&alpha, &beta] {
            let committed = site.open().commit(Mode::DryRun).unwrap();
            assert!(committed.scopes.is_empty(), "{part} was old, {}: {:?}", site.name, committed.scopes);
            assert_eq!(site.open().open_conflicts().unwrap(), Vec::<String>::new(), "{part} was old");
        }
    }
}

/// An address that is written while a restore isn't finished, for a record that had none: the first restore, which failed
/// half-way, had lost the row's bookkeeping.
#[test]
fn a_field_of_a_narrower_scope_that_came_between_two_restores_travels() {
    let (_stick, alpha, beta) = pair(Some(Trust::Writer));
    for site in [&alpha, &beta] {
        let path = site.app.dir().join("wbsync.toml");
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, text + "\n[dataset.requests.fields.contact_email]\nscope = \"trusted\"\n").unwrap();
    }
    let email = |site: &Site, title: &str| {
        site.app.value(&format!("SELECT coalesce(contact_email, '') FROM help_requests WHERE title = '{title}'"))
    };
    let alice = alpha.app.insert_user("alice", "public");
    for title in ["own", "of another"] {
        alpha.request(alice, title, "public");
    }
    let before = alpha.save();
    for site in [&alpha, &beta, &alpha] {
        site.sync();
    }
    let known = beta.save();
    put_back(&alpha, &before, Part::App);
    alpha.edit(id_of(&alpha, "own"), "contact_email", "ann@example.org");
    restore(&alpha);
    for site in [&alpha, &beta, &alpha] {
        site.sync();
    }
    assert_eq!([email(&alpha, "own"), email(&beta, "own")], ["ann@example.org", "ann@example.org"]);
    // The same by a writer, in a row that is known.
    put_back(&beta, &known, Part::App);
    beta.edit(id_of(&beta, "of another"), "contact_email", "bea@example.org");
    restore(&beta);
    for site in [&beta, &alpha, &beta] {
        site.sync();
    }
    assert_eq!([email(&alpha, "of another"), email(&beta, "of another")], ["bea@example.org", "bea@example.org"]);
    assert_eq!(alpha.local_heads(), beta.local_heads());
}

/// The mapping was changed after `init`, and what publishes first is a restore: whoever edits our rows learns from it already which
/// fields are for fewer readers.
#[test]
fn a_restore_publishes_the_mapping_as_it_is() {
    let (_stick, alpha, beta) = pair(Some(Trust::Writer));
    for site in [&alpha, &beta] {
        let path = site.app.dir().join("wbsync.toml");
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, text + "\n[dataset.requests.fields.contact_email]\nscope = \"trusted\"\n").unwrap();
    }
    let alice = alpha.app.insert_user("alice", "public");
    alpha.request(alice, "soup", "public");
    alpha.request(alice, "nails", "trusted");
    beta.sync();
    restore(&alpha);
    beta.sync();
    beta.edit(id_of(&beta, "soup"), "contact_email", "bea@example.org");
    for site in [&beta, &alpha, &beta] {
        site.sync();
    }
    assert_eq!(alpha.app.value("SELECT contact_email FROM help_requests WHERE title = 'soup'"), "bea@example.org");
    assert_eq!(alpha.local_heads(), beta.local_heads());
}

/// Whoever restores before the first capture has rows that nobody looked at yet, but the restore itself.
#[test]
fn what_is_written_after_the_restore_of_an_empty_instance_reaches_the_others() {
    let (_stick, alpha, beta) = pair(Some(Trust::Writer));
    for site in [&alpha, &beta] {
        let path = site.app.dir().join("wbsync.toml");
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, text + "\n[dataset.requests.fields.contact_email]\nscope = \"trusted\"\n").unwrap();
    }
    let alice = alpha.app.insert_user("alice", "public");
    alpha.request(alice, "soup", "public");
    alpha.request(alice, "nails", "trusted");
    alpha.sync();
    restore(&beta);
    beta.edit(id_of(&beta, "soup"), "contact_email", "bea@example.org");
    describe(&beta, "soup", "for all");
    for site in [&beta, &alpha, &beta] {
        site.sync();
    }
    assert_eq!(
        alpha.app.value("SELECT contact_email || ', ' || description FROM help_requests WHERE title = 'soup'"),
        "bea@example.org, for all"
    );
    assert_eq!(alpha.local_heads(), beta.local_heads());
    assert!(beta.open().conflicts(None).unwrap().is_empty());
}

/// A writer's own head builds on one of the origin's that the origin's newest ladder has no more: it can't be taken in again,
/// and what it said has come with the origin's.
#[test]
fn a_head_of_our_own_that_its_origin_has_merged_and_folded_is_not_missed() {
    let (_stick, alpha, beta) = pair(Some(Trust::Writer));
    let alice = alpha.app.insert_user("alice", "public");
    let request = alpha.request(alice, "soup", "trusted");
    alpha.sync();
    let backup = beta.save();
    beta.sync();
    describe(&beta, "soup", "by a writer");
    for site in [&beta, &alpha] {
        site.sync();
    }
    alpha.open().scope_rotate("trusted", Resealing::AtNextPush, Mode::Keep).unwrap();
    alpha.edit(request, "title", "hot soup");
    alpha.sync();
    backup.restore(beta.app.dir());
    restore(&beta);
    for site in [&beta, &alpha, &beta] {
        site.sync();
    }
    assert_eq!(description(&beta, "hot soup"), "by a writer");
    describe(&beta, "hot soup", "by a writer, again");
    for site in [&beta, &alpha, &beta] {
        site.sync();
    }
    assert_eq!(description(&alpha, "hot soup"), "by a writer, again");
    assert_eq!(alpha.local_heads(), beta.local_heads());
}
