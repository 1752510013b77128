//! What becomes of a record when two sides do different things to it: the table of docs/merge.md, row by row.

use std::fs;
use std::path::Path;

use wbsync::id::name::ScopeName;
use wbsync::state::peers::Trust;
use wbsync::sync::commit::Mode;
use wbsync::sync::late::LateEdit;
use wbsync::sync::resolve::Choice;

use super::world::{Site, clone, pair};

/// Pulls and pushes everywhere until nothing can be left to say.
fn settle_down(sites: &[&Site]) {
    for _ in 0..3 {
        for site in sites {
            site.sync();
        }
    }
    for site in sites {
        site.app.assert_whole();
        let pull = site.pull();
        assert!(pull.committed.scopes.is_empty() && pull.merge.applied.is_empty(), "{} echoes: {pull:?}", site.name);
    }
}

/// The key of the request with this title.
fn request(site: &Site, title: &str) -> i64 {
    site.app.value(&format!("SELECT id FROM help_requests WHERE title = '{title}'")).parse().unwrap()
}

fn same_records(origin: &Site, other: &Site) {
    let public = ScopeName::public();
    assert_eq!(origin.roots(origin, &public), other.roots(origin, &public));
}

#[test]
fn different_fields_combine() {
    let (_stick, alpha, beta) = pair(Some(Trust::Writer));
    let alice = alpha.app.insert_user("alice", "public");
    let ladder = alpha.request(alice, "ladder", "public");
    settle_down(&[&alpha, &beta]);
    alpha.edit(ladder, "title", "long ladder");
    beta.app.complete_request(request(&beta, "ladder"));
    settle_down(&[&alpha, &beta]);
    for site in [&alpha, &beta] {
        assert_eq!(site.app.value("SELECT status FROM help_requests WHERE title = 'long ladder'"), "completed");
        assert!(site.open().conflicts(None).unwrap().is_empty());
    }
}

#[test]
fn one_field_keeps_both_values_until_one_is_chosen() {
    let (_stick, alpha, beta) = pair(Some(Trust::Writer));
    let alice = alpha.app.insert_user("alice", "public");
    let ladder = alpha.request(alice, "ladder", "public");
    settle_down(&[&alpha, &beta]);
    let there = request(&beta, "ladder");
    alpha.edit(ladder, "title", "ladder of alpha");
    beta.edit(there, "title", "ladder of beta");
    settle_down(&[&alpha, &beta]);
    for site in [&alpha, &beta] {
        let conflicts = site.open().conflicts(None).unwrap();
        let mut values: Vec<String> = conflicts[0].sides.iter().map(|side| side.value.to_string()).collect();
        values.sort();
        assert_eq!(values, ["\"ladder of alpha\"", "\"ladder of beta\""], "{}", site.name);
    }
    let take = |_: &str| Some(Choice::Author("alpha".into()));
    assert_eq!(beta.open().resolve(None, &take, Mode::Keep).unwrap().resolved.len(), 1);
    settle_down(&[&alpha, &beta]);
    for site in [&alpha, &beta] {
        assert!(site.open().conflicts(None).unwrap().is_empty());
        request(site, "ladder of alpha");
    }
    same_records(&alpha, &beta);
}

#[test]
fn a_group_follows_the_side_that_is_chosen() {
    let (_stick, alpha, beta) = pair(Some(Trust::Writer));
    let alice = alpha.app.insert_user("alice", "public");
    let ladder = alpha.request(alice, "ladder", "public");
    alpha.app.complete_request(ladder);
    settle_down(&[&alpha, &beta]);
    // Alpha opens it again, beta completes it anew: the status says the same as before, its time doesn't.
    let there = request(&beta, "ladder");
    beta.app.complete_request(there);
    beta.sync();
    let open = "UPDATE help_requests SET status = 'open', completed_at = NULL WHERE id = ?1";
    alpha.app.execute(open, &[&ladder]);
    settle_down(&[&alpha, &beta]);
    let shown = "SELECT status || coalesce(completed_at, ' and no time') FROM help_requests WHERE title = 'ladder'";
    assert_eq!(alpha.app.value(shown), "open and no time");
    let status = alpha.open().conflicts(None).unwrap().into_iter().find(|conflict| conflict.field == "status").unwrap();
    let field = format!("{}.status", status.record);
    alpha.open().resolve(Some(&field), &|_| Some(Choice::Theirs), Mode::Keep).unwrap();
    assert!(alpha.app.value(shown).starts_with("completed20"), "{}", alpha.app.value(shown));
    settle_down(&[&alpha, &beta]);
    assert_eq!(alpha.app.value(shown), beta.app.value(shown));
    assert!(beta.open().conflicts(None).unwrap().is_empty(), "the time of completion was settled with the status");
}

#[test]
fn a_record_deleted_on_both_sides_is_gone() {
    let (_stick, alpha, beta) = pair(Some(Trust::Writer));
    let alice = alpha.app.insert_user("alice", "public");
    let ladder = alpha.request(alice, "ladder", "public");
    settle_down(&[&alpha, &beta]);
    beta.app.execute("DELETE FROM help_requests WHERE id = ?1", &[&request(&beta, "ladder")]);
    alpha.app.execute("DELETE FROM help_requests WHERE id = ?1", &[&ladder]);
    settle_down(&[&alpha, &beta]);
    for site in [&alpha, &beta] {
        assert_eq!(site.app.value("SELECT count(*) FROM help_requests"), "0");
        assert!(site.open().conflicts(None).unwrap().is_empty());
    }
    same_records(&alpha, &beta);
}

/// A vouch of alice for bob, both of alpha, made in the application of each: beta's stays home, because it isn't alice who
/// made it there. Returns the keys of the two rows.
fn both_vouch(alpha: &Site, beta: &Site) -> (i64, i64) {
    let [alice, bob] = ["alice", "bob"].map(|name| alpha.app.insert_user(name, "public"));
    settle_down(&[alpha, beta]);
    let local = beta.app.insert_vouch(user(beta, "alice"), user(beta, "bob"));
    let shared = alpha.app.insert_vouch(alice, bob);
    settle_down(&[alpha, beta]);
    (shared, local)
}

fn user(site: &Site, name: &str) -> i64 {
    site.app.value(&format!("SELECT id FROM users WHERE username = '{name}'")).parse().unwrap()
}

const VOUCHES: &str = "SELECT coalesce(group_concat(id), 'none') FROM vouches";

/// The vouches that a site holds as records, wherever they are from.
fn vouches(site: &Site) -> Vec<String> {
    let records = site.records().into_iter().map(|(_, name, _)| name);
    records.filter(|name| name.starts_with("vouches/")).collect()
}

#[test]
fn a_vouch_of_the_same_pair_is_covered_by_the_row_that_is_there() {
    let (_stick, alpha, beta) = pair(None);
    let (shared, local) = both_vouch(&alpha, &beta);
    assert_eq!((alpha.app.value(VOUCHES), beta.app.value(VOUCHES)), (shared.to_string(), local.to_string()));
    assert_eq!(beta.open().status().unwrap().parked_total, 0, "nobody has to do anything");
    let vouch = vouches(&beta).remove(0);
    let shown = beta.open().show_record(&vouch).unwrap();
    assert_eq!((shown.origin.as_str(), shown.row), ("alpha", Some(format!("vouches {local}"))), "the row is both");
    same_records(&alpha, &beta);
}

#[test]
fn a_covered_vouch_takes_the_place_of_the_row_that_is_deleted() {
    let (_stick, alpha, beta) = pair(None);
    let (_, local) = both_vouch(&alpha, &beta);
    let born = "SELECT created_at FROM vouches";
    assert_ne!(alpha.app.value(born), beta.app.value(born));
    beta.app.execute("DELETE FROM vouches WHERE id = ?1", &[&local]);
    settle_down(&[&alpha, &beta]);
    assert_eq!(alpha.app.value(born), beta.app.value(born), "alpha's vouch is in its place");
    same_records(&alpha, &beta);
}

#[test]
fn deleting_a_covered_vouch_changes_nothing_that_is_seen() {
    let (_stick, alpha, beta) = pair(None);
    let (shared, local) = both_vouch(&alpha, &beta);
    let before = beta.app.dump("vouches");
    alpha.app.execute("DELETE FROM vouches WHERE id = ?1", &[&shared]);
    settle_down(&[&alpha, &beta]);
    assert_eq!((alpha.app.value(VOUCHES), beta.app.dump("vouches")), ("none".into(), before));
    // Nor is anything left that could come back.
    beta.app.execute("DELETE FROM vouches WHERE id = ?1", &[&local]);
    settle_down(&[&alpha, &beta]);
    assert_eq!((beta.app.value(VOUCHES), vouches(&beta).len()), ("none".into(), 0));
}

/// Makes a site where whoever is at an instance may vouch for anybody: then two can share the same vouch.
fn free(site: &Site) {
    let path = site.app.dir().join("wbsync.toml");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, format!("{text}\n[dataset.vouches.fields.voucher]\nauthor = false\n")).unwrap();
}

#[test]
fn two_shared_vouches_of_one_pair_show_as_one_row_everywhere() {
    let (_stick, alpha, beta) = pair(None);
    for site in [&alpha, &beta] {
        free(site);
    }
    let (shared, local) = both_vouch(&alpha, &beta);
    assert_eq!((vouches(&alpha).len(), vouches(&beta).len()), (2, 2), "both travel");
    assert_eq!((alpha.app.value(VOUCHES), beta.app.value(VOUCHES)), (shared.to_string(), local.to_string()));
    assert_eq!([&alpha, &beta].map(|site| site.open().status().unwrap().parked_total), [0, 0]);
    for origin in [&alpha, &beta] {
        same_records(origin, &alpha);
        same_records(origin, &beta);
    }
}

#[test]
fn of_two_foreign_vouches_of_one_pair_the_other_takes_the_place_of_the_one_that_goes() {
    let (stick, alpha, beta) = pair(None);
    let gamma = Site::new("gamma");
    for site in [&alpha, &beta, &gamma] {
        free(site);
    }
    gamma.knows(&alpha, None);
    gamma.knows(&beta, None);
    gamma.uses(&stick);
    both_vouch(&alpha, &beta);
    settle_down(&[&alpha, &beta, &gamma]);
    let born = "SELECT created_at FROM vouches";
    let (shown, other) = match gamma.app.value(born) == alpha.app.value(born) {
        true => (&alpha, &beta),
        false => (&beta, &alpha),
    };
    assert_eq!(gamma.app.value(born), shown.app.value(born));
    assert_eq!((vouches(&gamma).len(), gamma.open().status().unwrap().parked_total), (2, 0));
    let left = other.app.value(born);
    shown.app.execute("DELETE FROM vouches", &[]);
    settle_down(&[&alpha, &beta, &gamma]);
    // Whose it was sees the other one too, now that its own is gone.
    assert_eq!([&alpha, &beta, &gamma].map(|site| site.app.value(born)), [left.as_str(); 3]);
    other.app.execute("DELETE FROM vouches", &[]);
    settle_down(&[&alpha, &beta, &gamma]);
    assert_eq!([&alpha, &beta, &gamma].map(|site| site.app.value(VOUCHES)), ["none"; 3]);
}

#[test]
fn a_parent_deleted_while_a_child_was_added_stays_as_a_placeholder_and_the_child_stays_home() {
    let (_stick, alpha, beta) = pair(None);
    let alice = alpha.app.insert_user("alice", "public");
    let ladder = alpha.request(alice, "ladder", "public");
    settle_down(&[&alpha, &beta]);
    let bob = beta.app.insert_user("bob", "public");
    let there = request(&beta, "ladder");
    beta.app.insert_comment(there, bob, "take mine", "public");
    alpha.app.execute("DELETE FROM help_requests WHERE id = ?1", &[&ladder]);
    beta.sync();
    alpha.sync();
    let waiting = alpha.open().status().unwrap();
    assert_eq!(waiting.parked_total, 1, "the comment waits for its request: {:?}", waiting.parked);
    assert_eq!(alpha.app.value("SELECT count(*) FROM request_comments"), "0");
    settle_down(&[&alpha, &beta]);
    let row = "SELECT coalesce(title, '') || description || status || sync_scope FROM help_requests";
    assert_eq!(beta.app.value(row), "draftprivate", "nothing of the request is left but its place");
    assert_eq!(beta.app.value("SELECT body FROM request_comments"), "take mine", "a local row is never lost");
    assert_eq!(alpha.open().status().unwrap().parked_total, 0, "under what is gone nothing is shared any more");
}

#[test]
fn a_name_taken_on_both_sides_shows_as_an_alias_on_the_other() {
    let (_stick, alpha, beta) = pair(Some(Trust::Writer));
    for site in [&alpha, &beta] {
        let alice = site.app.insert_user("alice", "public");
        site.request(alice, &format!("ladder of {}", site.name), "public");
    }
    settle_down(&[&alpha, &beta]);
    for (site, names) in [(&alpha, "admin,alice,alice@beta"), (&beta, "admin,alice,alice@alpha")] {
        let sql = "SELECT group_concat(username) FROM (SELECT username FROM users ORDER BY username)";
        assert_eq!(site.app.value(sql), names);
    }
    let sql = "SELECT username FROM users u JOIN help_requests r ON r.created_by_user_id = u.id WHERE r.title = 'ladder of alpha'";
    assert_eq!((alpha.app.value(sql), beta.app.value(sql)), ("alice".into(), "alice@alpha".into()));
    same_records(&alpha, &beta);
}

fn names(site: &Site) -> String {
    site.app.value("SELECT group_concat(username) FROM (SELECT username FROM users ORDER BY username)")
}

/// Names change hands in one round: what was taken when its record was written may be free at the end.
#[test]
fn an_alias_goes_as_soon_as_the_name_is_free() {
    let (_stick, alpha, beta) = pair(Some(Trust::Writer));
    for name in ["eve", "fay", "Gus"] {
        let user = alpha.app.insert_user(name, "public");
        alpha.request(user, &format!("request of {name}"), "public");
    }
    settle_down(&[&alpha, &beta]);
    let before = "SELECT id FROM users WHERE username = 'fay'";
    let fay: i64 = beta.app.value(before).parse().unwrap();
    alpha.app.execute("UPDATE users SET username = 'fayette' WHERE username = 'fay'", &[]);
    alpha.app.execute("UPDATE users SET username = 'fay' WHERE username = 'eve'", &[]);
    alpha.sync();
    beta.sync();
    assert_eq!(names(&beta), "Gus,admin,fay,fayette");
    assert_eq!(beta.app.value(&format!("SELECT username FROM users WHERE id = {fay}")), "fayette");
    // Somebody here had the name, and lets it go; nothing comes from others.
    let ida = beta.app.insert_user("ida", "private");
    alpha.app.execute("UPDATE users SET username = 'ida' WHERE username = 'fay'", &[]);
    settle_down(&[&alpha, &beta]);
    assert_eq!(names(&beta), "Gus,admin,fayette,ida,ida@alpha");
    let other = beta.app.insert_user("hal", "public");
    beta.request(other, "of hal", "public");
    beta.app.execute("UPDATE users SET username = 'idaho' WHERE id = ?1", &[&ida]);
    settle_down(&[&alpha, &beta]);
    assert_eq!(names(&beta), "Gus,admin,fayette,hal,ida,idaho");
    same_records(&alpha, &beta);
}

#[test]
fn what_was_withdrawn_stays_withdrawn_whoever_edits_it() {
    let (_stick, alpha, beta) = pair(Some(Trust::Writer));
    let alice = alpha.app.insert_user("alice", "public");
    let ladder = alpha.request(alice, "ladder", "public");
    settle_down(&[&alpha, &beta]);
    beta.edit(request(&beta, "ladder"), "title", "ladder of beta");
    beta.sync();
    alpha.app.set_scope("help_requests", ladder, "private");
    settle_down(&[&alpha, &beta]);
    assert_eq!(alpha.app.value("SELECT title FROM help_requests"), "ladder", "the row is as its owner left it");
    assert_eq!(beta.app.value("SELECT count(*) FROM help_requests"), "0");
    same_records(&alpha, &beta);
    // Nothing is lost: the owner finds what beta wrote.
    let instance = alpha.open();
    let [late, time] = &instance.late_edits(None).unwrap()[..] else { panic!("{:?}", instance.late_edits(None)) };
    assert_eq!(time.field, "updated_at");
    let LateEdit { field, value, author, scope, .. } = late;
    assert_eq!(
        (field.as_str(), value, author.as_str(), scope.as_str()),
        ("title", &"ladder of beta".into(), "beta", "public")
    );
    assert_eq!(instance.status().unwrap().late_edits, 2);
    assert_eq!(instance.forget_late_edits(Some("requests/")).unwrap(), 2);
    assert!(instance.late_edits(None).unwrap().is_empty() && instance.late_edits(Some("requests/")).is_err());
}

/// Adds a column that the preset doesn't know, and maps it.
fn adds_place(dir: &Path, site: &Site) {
    site.app.db().execute_batch("ALTER TABLE help_requests ADD COLUMN place TEXT").unwrap();
    let path = dir.join("wbsync.toml");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, format!("{text}\n[dataset.requests.fields]\nplace = {{ type = \"text\" }}\n")).unwrap();
}

#[test]
fn a_field_without_a_column_here_is_carried_through_edits() {
    let (stick, alpha, beta) = pair(Some(Trust::Writer));
    adds_place(alpha.app.dir(), &alpha);
    let alice = alpha.app.insert_user("alice", "public");
    let ladder = alpha.request(alice, "ladder", "public");
    alpha.edit(ladder, "place", "the barn");
    settle_down(&[&alpha, &beta]);
    beta.edit(request(&beta, "ladder"), "title", "long ladder");
    settle_down(&[&alpha, &beta]);
    assert_eq!(alpha.app.value("SELECT place FROM help_requests WHERE title = 'long ladder'"), "the barn");
    let gamma = clone(&stick, "gamma");
    let place = |site: &Site| {
        let records = site.records();
        let (_, _, record) = records.into_iter().find(|(_, name, _)| name.starts_with("requests/")).unwrap();
        let (_, element) = record.elements().find(|(field, _)| field.as_str() == "place").unwrap();
        element.value.to_json()
    };
    assert_eq!([place(&beta), place(&gamma)], ["the barn", "the barn"]);
    same_records(&alpha, &gamma);
}

#[test]
fn a_column_that_others_do_not_have_keeps_its_local_values() {
    let (_stick, alpha, beta) = pair(Some(Trust::Writer));
    adds_place(beta.app.dir(), &beta);
    let alice = alpha.app.insert_user("alice", "public");
    let ladder = alpha.request(alice, "ladder", "public");
    settle_down(&[&alpha, &beta]);
    let there = request(&beta, "ladder");
    assert_eq!(beta.app.value("SELECT place FROM help_requests WHERE title = 'ladder'"), "NULL");
    beta.edit(there, "place", "the barn");
    settle_down(&[&alpha, &beta]);
    alpha.edit(ladder, "title", "long ladder");
    settle_down(&[&alpha, &beta]);
    assert_eq!(beta.app.value("SELECT place FROM help_requests WHERE title = 'long ladder'"), "the barn");
    same_records(&alpha, &beta);
}

#[test]
fn a_value_of_another_type_waits_and_is_kept_whole() {
    let (stick, alpha, beta) = pair(Some(Trust::Writer));
    let bytes = "\n[dataset.requests.fields]\ntitle = { type = \"bytes\" }\n";
    let path = beta.app.dir().join("wbsync.toml");
    fs::write(&path, fs::read_to_string(&path).unwrap() + bytes).unwrap();
    let alice = alpha.app.insert_user("alice", "public");
    alpha.request(alice, "ladder", "public");
    settle_down(&[&alpha, &beta]);
    let status = beta.open().status().unwrap();
    assert_eq!((status.parked_total, status.fits[0].mismatched[0].field.as_str()), (1, "requests.title"));
    assert_eq!(beta.app.value("SELECT count(*) FROM help_requests"), "0");
    same_records(&alpha, &beta);
    // Beta holds what alpha wrote: once its mapping is right, the row is there.
    fs::write(&path, fs::read_to_string(&path).unwrap().replace(bytes, "")).unwrap();
    settle_down(&[&alpha, &beta]);
    assert_eq!(beta.app.value("SELECT title FROM help_requests"), "ladder");
    assert!(beta.open().status().unwrap().fits.is_empty());
    assert_eq!(clone(&stick, "gamma").app.value("SELECT title FROM help_requests"), "ladder");
}

/// The page names every test of this file, and only tests that there are.
#[test]
fn the_table_of_outcomes_names_its_tests() {
    let read = |name: &str| fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).unwrap();
    let (page, own) = (read("docs/merge.md"), read("tests/engine/outcomes.rs"));
    let others = ["exchange", "pieces", "narrowing"].map(|name| read(&format!("tests/engine/{name}.rs"))).concat();
    let table = page.split_once("## Record by record").unwrap().1;
    let rows: Vec<&str> = table.lines().filter(|line| line.starts_with("| ") && line.contains('`')).collect();
    assert!(rows.len() >= 10, "the page has lost its table");
    for row in rows {
        let test = row.rsplit('|').nth(1).and_then(|cell| cell.split('`').nth(1)).unwrap_or_default();
        let declared = format!("fn {test}()");
        assert!(own.contains(&declared) || others.contains(&declared), "no test is called {test:?}");
    }
    for line in own.split("#[test]\nfn ").skip(1) {
        let test = line.split('(').next().unwrap();
        let itself = test == "the_table_of_outcomes_names_its_tests";
        assert!(itself || table.contains(&format!("`{test}`")), "docs/merge.md does not name {test}");
    }
}

/// Nobody has joined them before, so nobody else has written again what the deletion took.
#[test]
fn a_writer_that_meets_an_edit_and_a_deletion_at_once_makes_the_record_whole() {
    let (stick, alpha, beta) = pair(Some(Trust::Writer));
    let alice = alpha.app.insert_user("alice", "public");
    alpha.request(alice, "soup", "public");
    alpha.sync();
    beta.sync();
    let gamma = Site::new("gamma");
    gamma.uses(&stick);
    for site in [&alpha, &beta] {
        site.knows(&gamma, Some(Trust::Writer));
        gamma.knows(site, None);
    }
    alpha.app.execute("DELETE FROM help_requests", &[]);
    beta.edit(request(&beta, "soup"), "status", "completed");
    for site in [&alpha, &beta] {
        site.open().commit(Mode::Keep).unwrap();
        site.push();
    }
    gamma.sync();
    let shown = |site: &Site| site.app.value("SELECT title || ', ' || status FROM help_requests");
    assert_eq!(shown(&gamma), "soup, completed");
    settle_down(&[&alpha, &beta, &gamma]);
    for site in [&alpha, &beta, &gamma] {
        assert_eq!(shown(site), "soup, completed", "{}", site.name);
    }
    same_records(&alpha, &gamma);
}

#[test]
fn the_same_edit_on_both_sides_is_no_conflict_and_another_is_one() {
    let (_stick, alpha, beta) = pair(Some(Trust::Writer));
    let alice = alpha.app.insert_user("alice", "public");
    alpha.request(alice, "soup", "public");
    alpha.sync();
    beta.sync();
    for (ours, theirs, conflicts) in [("stew", "stew", 0), ("salad", "bread", 1)] {
        for (site, title) in [(&alpha, ours), (&beta, theirs)] {
            site.app.execute("UPDATE help_requests SET title = ?1", &[&title]);
        }
        beta.sync();
        let merge = alpha.pull().merge;
        let public = &merge.merged["public"];
        assert_eq!(
            (public.records.combined, public.conflicts, merge.conflicts.len() as u64),
            (1, conflicts, conflicts)
        );
    }
}
