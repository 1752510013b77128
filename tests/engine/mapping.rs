//! What changes in a mapping, or a table in its place, is no edit of anybody's: nobody loses a value by it, and what isn't
//! mapped any more leaves.

use std::fs;

use wbsync::connector::error::Error as DatabaseError;
use wbsync::state::peers::Trust;
use wbsync::sync::code::Code;
use wbsync::sync::commit::Mode;
use wbsync::sync::error::Error;

use super::world::{STICK, Site, Stick, clone, pair};

const PLACE: &str = "\n[dataset.requests.fields]\nplace = { type = \"text\" }\n";
const OFF: &str = "\n[dataset.requests]\nenabled = false\n[dataset.comments]\nenabled = false\n";

fn config(site: &Site, change: impl FnOnce(String) -> String) {
    let path = site.app.dir().join("wbsync.toml");
    fs::write(&path, change(fs::read_to_string(&path).unwrap())).unwrap();
}

fn says(site: &Site, more: &str) {
    config(site, |text| text + more);
}

fn says_no_more(site: &Site, more: &str) {
    config(site, |text| text.replace(more, ""));
}

fn gets_column(site: &Site, default: &str) {
    let sql = format!("ALTER TABLE help_requests ADD COLUMN place TEXT {default}");
    site.app.db().execute_batch(&sql).unwrap();
}

fn settle(sites: &[&Site]) {
    for _ in 0..2 {
        sites.iter().for_each(|site| site.sync());
    }
    for site in sites {
        site.app.assert_whole();
        let pull = site.pull();
        assert!(pull.committed.scopes.is_empty() && pull.merge.applied.is_empty(), "{} echoes: {pull:?}", site.name);
    }
}

fn places(site: &Site) -> String {
    site.app.value("SELECT group_concat(title || ' ' || coalesce(place, '-'), '; ') FROM (SELECT * FROM help_requests ORDER BY title)")
}

fn titles(site: &Site) -> String {
    site.app.value("SELECT group_concat(title, ' ') FROM (SELECT * FROM help_requests ORDER BY title)")
}

fn request(site: &Site, title: &str) -> i64 {
    site.app.value(&format!("SELECT id FROM help_requests WHERE title = '{title}'")).parse().unwrap()
}

/// Alpha has three requests, with places; beta's application has no such column.
fn with_places() -> (Stick, Site, Site) {
    let (stick, alpha, beta) = pair(Some(Trust::Writer));
    gets_column(&alpha, "");
    says(&alpha, PLACE);
    let alice = alpha.app.insert_user("alice", "public");
    for (title, place) in [("ladder", "barn"), ("saw", "shed"), ("rope", "boat")] {
        let key = alpha.request(alice, title, "public");
        alpha.edit(key, "place", place);
    }
    settle(&[&alpha, &beta]);
    (stick, alpha, beta)
}

#[test]
fn a_field_that_is_mapped_later_shows_what_its_record_says() {
    for default in ["", "DEFAULT 'nowhere'"] {
        let (_stick, alpha, beta) = with_places();
        gets_column(&beta, default);
        says(&beta, PLACE);
        // Another field is edited before anything was applied: the stale value doesn't travel along.
        beta.open().commit(Mode::Keep).unwrap();
        beta.edit(request(&beta, "saw"), "description", "sharp");
        settle(&[&beta, &alpha]);
        assert_eq!(places(&alpha), "ladder barn; rope boat; saw shed", "{default}");
        assert_eq!(places(&beta), places(&alpha), "{default}");
        assert_eq!(alpha.app.value("SELECT description FROM help_requests WHERE title = 'saw'"), "sharp");
        beta.edit(request(&beta, "rope"), "place", "pier");
        settle(&[&beta, &alpha]);
        assert_eq!(places(&alpha), "ladder barn; rope pier; saw shed", "edits travel now");
    }
}

#[test]
fn what_a_writer_put_into_a_field_of_ours_before_we_mapped_it_is_shown() {
    let (_stick, alpha, beta) = pair(Some(Trust::Writer));
    gets_column(&beta, "");
    says(&beta, PLACE);
    let alice = alpha.app.insert_user("alice", "public");
    for title in ["ladder", "saw"] {
        alpha.request(alice, title, "public");
    }
    settle(&[&alpha, &beta]);
    beta.edit(request(&beta, "ladder"), "place", "barn");
    settle(&[&beta, &alpha]);
    gets_column(&alpha, "DEFAULT 'nowhere'");
    says(&alpha, PLACE);
    alpha.open().commit(Mode::Keep).unwrap();
    alpha.edit(request(&alpha, "ladder"), "description", "long");
    settle(&[&alpha, &beta]);
    assert_eq!((places(&alpha), places(&beta)), ("ladder barn; saw nowhere".into(), "ladder barn; saw nowhere".into()));
    assert_eq!(beta.app.value("SELECT description FROM help_requests WHERE title = 'ladder'"), "long");
}

#[test]
fn a_field_that_a_follower_leaves_out_for_a_while_takes_nothing_back() {
    for never in [false, true] {
        let (_stick, alpha, beta) = with_places();
        gets_column(&beta, "");
        says(&beta, PLACE);
        settle(&[&beta, &alpha]);
        let never_said = PLACE.replace("\"text\"", "\"text\", scope = \"never\"");
        config(&beta, |text| text.replace(PLACE, if never { &never_said } else { "" }));
        beta.sync();
        alpha.edit(request(&alpha, "ladder"), "place", "attic");
        let alice = alpha.app.value("SELECT id FROM users WHERE username = 'alice'").parse().unwrap();
        let key = alpha.request(alice, "anvil", "public");
        alpha.edit(key, "place", "forge");
        settle(&[&alpha, &beta]);
        config(&beta, |text| if never { text.replace(&never_said, PLACE) } else { text + PLACE });
        settle(&[&beta, &alpha]);
        assert_eq!(places(&alpha), "anvil forge; ladder attic; rope boat; saw shed", "never: {never}");
        assert_eq!(places(&beta), places(&alpha), "never: {never}");
    }
}

#[test]
fn a_dataset_that_a_follower_switches_on_again_catches_up() {
    let (_stick, alpha, beta) = pair(Some(Trust::Writer));
    let alice = alpha.app.insert_user("alice", "public");
    for title in ["ladder", "saw", "rope", "axe"] {
        alpha.request(alice, title, "public");
    }
    settle(&[&alpha, &beta]);
    says(&beta, OFF);
    beta.sync();
    alpha.edit(request(&alpha, "ladder"), "title", "long ladder");
    alpha.edit(request(&alpha, "axe"), "title", "sharp axe");
    alpha.app.execute("DELETE FROM help_requests WHERE title = 'saw'", &[]);
    alpha.request(alice, "anvil", "public");
    settle(&[&alpha, &beta]);
    assert_eq!(titles(&beta), "axe ladder rope saw");
    // Meanwhile the application goes on with what it has.
    beta.edit(request(&beta, "axe"), "description", "beta's axe");
    beta.app.execute("DELETE FROM help_requests WHERE title = 'rope'", &[]);
    says_no_more(&beta, OFF);
    settle(&[&beta, &alpha]);
    assert_eq!(alpha.app.value("SELECT description FROM help_requests WHERE title LIKE '%axe'"), "beta's axe");
    // Nobody can tell which of the two titles is the newer one: both are kept.
    let conflicts = beta.open().conflicts(None).unwrap();
    assert_eq!(conflicts.len(), 1, "{conflicts:?}");
    let shown = |site: &Site| titles(site).replace("sharp axe", "axe");
    assert_eq!(
        shown(&alpha).split(' ').filter(|word| *word != "axe").collect::<Vec<_>>().join(" "),
        "anvil long ladder rope"
    );
    assert_eq!(titles(&beta), titles(&alpha));
}

#[test]
fn a_dataset_that_is_mapped_after_its_records_came_shows_them() {
    let (_stick, alpha, beta) = pair(Some(Trust::Writer));
    says(&beta, OFF);
    let alice = alpha.app.insert_user("alice", "public");
    let ladder = alpha.request(alice, "ladder", "public");
    alpha.app.insert_comment(ladder, alice, "mine", "public");
    settle(&[&alpha, &beta]);
    assert_eq!(beta.app.value("SELECT count(*) FROM help_requests"), "0");
    says_no_more(&beta, OFF);
    settle(&[&beta, &alpha]);
    assert_eq!(titles(&beta), "ladder");
    assert_eq!(beta.app.value("SELECT body FROM request_comments"), "mine");
}

#[test]
fn own_records_that_the_mapping_has_no_more_are_withdrawn_and_come_back() {
    let (stick, alpha, beta) = pair(Some(Trust::Writer));
    let (alice, bob) = (alpha.app.insert_user("alice", "public"), beta.app.insert_user("bob", "public"));
    for title in ["ladder", "saw"] {
        alpha.request(alice, title, "public");
    }
    beta.request(bob, "rope", "public");
    settle(&[&alpha, &beta]);
    says(&alpha, OFF);
    assert_eq!(alpha.open().commit(Mode::DryRun).unwrap().unmapped.values().sum::<u64>(), 2);
    let committed = alpha.pull().committed;
    assert_eq!(committed.unmapped.values().sum::<u64>(), 2, "{committed:?}");
    alpha.push();
    beta.sync();
    assert_eq!(titles(&beta), "rope");
    assert_eq!(titles(&clone(&stick, "gamma")), "rope", "others' records are carried on");
    assert_eq!(titles(&alpha), "ladder rope saw", "here nothing changes");
    says_no_more(&alpha, OFF);
    settle(&[&alpha, &beta]);
    assert_eq!((titles(&alpha), titles(&beta)), ("ladder rope saw".into(), "ladder rope saw".into()));
}

#[test]
fn a_field_that_its_origin_maps_no_more_is_taken_back() {
    let (stick, alpha, beta) = with_places();
    gets_column(&beta, "");
    says(&beta, PLACE);
    settle(&[&beta, &alpha]);
    says_no_more(&alpha, PLACE);
    settle(&[&alpha, &beta]);
    assert_eq!(places(&beta), "ladder -; rope -; saw -");
    assert_eq!(places(&alpha), "ladder barn; rope boat; saw shed", "here it stays");
    let gamma = clone(&stick, "gamma");
    let fields: Vec<String> =
        gamma.records().iter().flat_map(|(_, _, record)| record.cells.keys()).map(ToString::to_string).collect();
    assert!(!fields.is_empty() && !fields.contains(&"place".to_owned()), "{fields:?}");
}

#[test]
fn other_birth_columns_make_no_new_records() {
    let (_stick, alpha, beta) = with_places();
    let none = "\n[dataset.requests]\nbirth = []\n";
    says(&alpha, none);
    settle(&[&alpha, &beta]);
    says_no_more(&alpha, none);
    alpha.edit(request(&alpha, "saw"), "description", "sharp");
    settle(&[&alpha, &beta]);
    assert_eq!(alpha.app.value("SELECT count(*) FROM help_requests"), "3");
    assert_eq!(beta.app.value("SELECT group_concat(id) FROM help_requests"), "1,2,3");
    // Births are watched as before: a key that is handed out again is another request's.
    let last = "DELETE FROM help_requests WHERE id = (SELECT max(id) FROM help_requests)";
    alpha.app.execute(last, &[]);
    let alice = alpha.app.value("SELECT id FROM users WHERE username = 'alice'").parse().unwrap();
    alpha.request(alice, "anvil", "public");
    settle(&[&alpha, &beta]);
    assert_eq!((titles(&beta), titles(&alpha)), ("anvil ladder saw".into(), "anvil ladder saw".into()));
}

fn refused(site: &Site) -> DatabaseError {
    let error = site.try_pull(STICK).unwrap_err();
    assert_eq!(error.code(), Code::LostHistory, "{error}");
    match error {
        Error::Database(source) => *source,
        other => panic!("{other}"),
    }
}

#[test]
fn births_that_are_all_spelled_otherwise_are_not_taken_for_new_rows() {
    let (_stick, alpha, beta) = with_places();
    let text = "\n[dataset.requests]\nbirth = [\"closing\"]\n";
    alpha.app.db().execute_batch("ALTER TABLE help_requests ADD COLUMN closing TEXT DEFAULT 'x'").unwrap();
    says(&alpha, text);
    says(&alpha, "\n[dataset.requests.fields.closing]\ntype = \"text\"\n");
    settle(&[&alpha, &beta]);
    alpha.app.db().execute_batch("UPDATE help_requests SET closing = 'y'").unwrap();
    assert!(matches!(refused(&alpha), DatabaseError::Reborn { rows: 3, .. }));
    // As the hint says.
    config(&alpha, |config| config.replace(text, "\n[dataset.requests]\nbirth = []\n"));
    settle(&[&alpha, &beta]);
    config(&alpha, |config| config.replace("\n[dataset.requests]\nbirth = []\n", text));
    settle(&[&alpha, &beta]);
    assert_eq!(alpha.app.value("SELECT group_concat(id) FROM help_requests"), "1,2,3");
    assert_eq!(beta.app.value("SELECT group_concat(id) FROM help_requests"), "1,2,3");
}

#[test]
fn an_empty_table_in_the_place_of_another_deletes_nothing() {
    let (_stick, alpha, beta) = with_places();
    let made: String = beta.app.value("SELECT sql FROM sqlite_schema WHERE name = 'help_requests'");
    // Another table by the mapping.
    beta.app.db().execute_batch(&made.replacen("help_requests", "other_requests", 1)).unwrap();
    let other = "\n[dataset.requests]\ntable = \"other_requests\"\n";
    says(&beta, other);
    assert!(matches!(refused(&beta), DatabaseError::OtherTable { .. }));
    assert!(matches!(refused(&beta), DatabaseError::OtherTable { .. }), "and again");
    says_no_more(&beta, other);
    settle(&[&beta, &alpha]);
    // A table with the rows under another name is no other.
    beta.app
        .db()
        .execute_batch("DROP TABLE other_requests; ALTER TABLE help_requests RENAME TO other_requests")
        .unwrap();
    says(&beta, other);
    settle(&[&beta, &alpha]);
    beta.app.db().execute_batch("ALTER TABLE other_requests RENAME TO help_requests").unwrap();
    says_no_more(&beta, other);
    settle(&[&beta, &alpha]);
    // Made anew.
    beta.app.db().execute_batch(&format!("DROP TABLE help_requests; {made}")).unwrap();
    assert!(matches!(refused(&beta), DatabaseError::OtherTable { .. }));
    assert_eq!(places(&alpha), "ladder barn; rope boat; saw shed");
}
