//! Rows that don't show what their records say: an edit that no capture could take in, a newer version that waits, a row of
//! another instance's record that is set to fewer readers here. Nothing of it is lost, and nothing leaves that is not meant to.

use std::collections::BTreeSet;

use wbsync::connector::contract::{Base, Rows};
use wbsync::id::name::DatasetName;
use wbsync::state::peers::Trust;
use wbsync::sync::commit::Mode;
use wbsync::sync::resolve::Choice;

use super::world::{Site, pair};

const LARGE: &str =
    "UPDATE help_requests SET description = replace(hex(zeroblob(1000000)), '00', 'ab'), title = 'mine'";

fn sync(sites: &[&Site]) {
    for site in sites {
        site.sync();
    }
}

fn shown(site: &Site, columns: &str) -> String {
    site.app.value(&format!(
        "SELECT group_concat(line, '; ') FROM (SELECT {columns} AS line FROM help_requests ORDER BY created_at)"
    ))
}

/// The values of a conflict, whoever wrote which.
fn values(site: &Site, field: &str) -> BTreeSet<String> {
    let conflicts = site.open().conflicts(None).unwrap();
    let of_field = conflicts.into_iter().filter(|conflict| conflict.field == field);
    of_field.flat_map(|conflict| conflict.sides).map(|side| side.value.to_string()).collect()
}

fn with_a_ladder() -> (super::world::Stick, Site, Site) {
    let (stick, alpha, beta) = pair(Some(Trust::Writer));
    let alice = alpha.app.insert_user("alice", "public");
    alpha.request(alice, "ladder", "public");
    sync(&[&alpha, &beta, &alpha]);
    (stick, alpha, beta)
}

#[test]
fn a_text_too_large_to_travel_is_never_written_over() {
    for owner_writes in [true, false] {
        let (_stick, alpha, beta) = with_a_ladder();
        let (site, other) = if owner_writes { (&alpha, &beta) } else { (&beta, &alpha) };
        site.app.execute(LARGE, &[]);
        site.sync();
        assert_eq!(site.open().status().unwrap().too_large.len(), 1);
        other.app.execute("UPDATE help_requests SET status = 'completed', completed_at = created_at", &[]);
        sync(&[other, site, other, site]);
        let all = "length(description) || ' ' || title || ' ' || status";
        assert_eq!(shown(site, all), "2000000 mine completed", "the rest of the row goes on");
        assert_eq!(site.open().status().unwrap().too_large.len(), 1);
        assert_eq!(shown(other, "title"), "ladder");
        // Nobody has seen the other's title: both are kept. The text that only one has written is no conflict.
        other.app.execute("UPDATE help_requests SET title = 'theirs'", &[]);
        sync(&[other, site]);
        assert_eq!(shown(site, all), "2000000 mine completed");
        site.app.execute("UPDATE help_requests SET description = 'short'", &[]);
        sync(&[site, other, site]);
        for site in [site, other] {
            assert_eq!(values(site, "title"), ["\"mine\"", "\"theirs\""].map(str::to_owned).into(), "{}", site.name);
            assert_eq!(site.open().conflicts(None).unwrap().len(), 1);
            assert_eq!(shown(site, "description || ' ' || title"), "short mine");
        }
        assert!(site.open().status().unwrap().too_large.is_empty());
        assert_eq!(alpha.local_heads(), beta.local_heads());
    }
}

#[test]
fn a_deletion_waits_while_the_row_holds_what_could_not_travel() {
    let (_stick, alpha, beta) = with_a_ladder();
    alpha.app.execute(LARGE, &[]);
    alpha.sync();
    beta.app.execute("DELETE FROM help_requests", &[]);
    sync(&[&beta, &alpha, &alpha]);
    assert_eq!(shown(&alpha, "length(description)"), "2000000");
    assert_eq!(alpha.open().status().unwrap().parked_total, 1);
    alpha.app.execute("UPDATE help_requests SET description = 'short'", &[]);
    sync(&[&alpha, &beta]);
    for site in [&alpha, &beta] {
        assert_eq!(shown(site, "description || ' ' || title"), "short mine", "an edit beats a deletion");
        assert_eq!(site.open().status().unwrap().parked_total, 0);
    }
}

/// Three requests of alpha's with a new title that beta's database refuses.
fn refused() -> (super::world::Stick, Site, Site) {
    let (stick, alpha, beta) = pair(Some(Trust::Writer));
    let alice = alpha.app.insert_user("alice", "public");
    for number in 1..=3 {
        alpha.request(alice, &format!("{number}"), "public");
    }
    sync(&[&alpha, &beta, &alpha]);
    beta.app
        .db()
        .execute_batch(
            "CREATE TRIGGER picky BEFORE UPDATE OF title ON help_requests WHEN NEW.title LIKE '%alphas'
             BEGIN SELECT RAISE(ABORT, 'not such a title'); END",
        )
        .unwrap();
    alpha.app.db().execute_batch("UPDATE help_requests SET title = title || ' alphas'").unwrap();
    sync(&[&alpha, &beta]);
    assert_eq!((shown(&beta, "title").as_str(), beta.open().status().unwrap().parked_total), ("1; 2; 3", 3));
    (stick, alpha, beta)
}

#[test]
fn who_edits_a_row_whose_newer_version_waits_has_not_seen_it() {
    let (_stick, alpha, beta) = refused();
    for sql in [
        "UPDATE help_requests SET title = '1 betas' WHERE title = '1'",
        "UPDATE help_requests SET description = 'by beta' WHERE title = '2'",
        "DELETE FROM help_requests WHERE title = '3'",
    ] {
        beta.app.execute(sql, &[]);
    }
    sync(&[&beta, &alpha, &beta, &alpha]);
    let both: BTreeSet<String> = ["\"1 alphas\"", "\"1 betas\""].map(str::to_owned).into();
    assert_eq!((values(&alpha, "title"), values(&beta, "title")), (both.clone(), both));
    assert_eq!(shown(&alpha, "title || ' ' || description"), "1 betas ; 2 alphas by beta; 3 alphas ");
    assert_eq!(beta.app.value("SELECT description FROM help_requests WHERE title = '2'"), "by beta");
    // Once the database takes it, rows and records are the same again.
    beta.app.db().execute_batch("DROP TRIGGER picky").unwrap();
    sync(&[&beta, &alpha, &beta]);
    assert_eq!(shown(&beta, "title || ' ' || description"), "1 betas ; 2 alphas by beta; 3 alphas ");
    assert_eq!(beta.open().status().unwrap().parked_total, 0);
    let take = |_: &str| Some(Choice::Author("alpha".into()));
    beta.open().resolve(None, &take, Mode::Keep).unwrap();
    sync(&[&beta, &alpha]);
    assert_eq!([&alpha, &beta].map(|site| shown(site, "title")), ["1 alphas; 2 alphas; 3 alphas"; 2]);
    assert_eq!(alpha.local_heads(), beta.local_heads());
}

/// The capture that finds the row gone is cut off before it is settled: the next one still knows that it was behind.
#[test]
fn a_crash_does_not_make_a_deletion_of_what_was_not_seen() {
    let (_stick, alpha, beta) = refused();
    beta.app.execute("DELETE FROM help_requests WHERE title = '3'", &[]);
    let mut seen = Vec::new();
    let instance = beta.open();
    instance
        .with_database(|database| {
            let sink = &mut |sighting: wbsync::connector::contract::Sighting| {
                seen.push((sighting.base, sighting.behind.is_some()));
                Ok(())
            };
            Ok(database.capture(wbsync::sys::clock::now(), sink)?)
        })
        .unwrap();
    assert_eq!(seen, [(Base::Applied, true)]);
    drop(instance);
    sync(&[&beta, &alpha]);
    assert_eq!(shown(&alpha, "title"), "1 alphas; 2 alphas; 3 alphas");
}

#[test]
fn what_is_written_into_a_foreign_row_that_is_set_private_stays() {
    for scope in ["private", "trusted", "nonsense"] {
        let (_stick, alpha, beta) = with_a_ladder();
        beta.app.execute("UPDATE help_requests SET sync_scope = ?1, description = 'secret'", &[&scope]);
        let bob = beta.app.insert_user("bob", "public");
        let request: i64 = beta.app.value("SELECT id FROM help_requests").parse().unwrap();
        beta.app.insert_comment(request, bob, "a secret too", "public");
        sync(&[&beta, &alpha]);
        assert_eq!((shown(&alpha, "description").as_str(), alpha.app.dump("request_comments").as_str()), ("", ""));
        let held = beta.open().status().unwrap().held;
        assert_eq!(held.len(), 1, "{scope}: {held:?}");
        assert!(held.values().all(|why| why.starts_with("description: ") && why.contains("fewer readers")), "{held:?}");
        // The owner's edits arrive beside it, and the row stays as private as it is.
        alpha.app.execute("UPDATE help_requests SET title = 'long ladder'", &[]);
        sync(&[&alpha, &beta, &alpha]);
        let all = "title || ' ' || description || ' ' || sync_scope";
        assert_eq!(shown(&beta, all), format!("long ladder secret {scope}"));
        assert_eq!(shown(&alpha, "description"), "");
        // Once it is as public as the record, the edit travels, and what hangs on it.
        beta.app.execute("UPDATE help_requests SET sync_scope = 'public'", &[]);
        sync(&[&beta, &alpha]);
        assert_eq!(shown(&alpha, "description"), "secret");
        assert_eq!(alpha.app.value("SELECT body FROM request_comments"), "a secret too");
        assert!(beta.open().status().unwrap().held.is_empty());
        assert_eq!(alpha.local_heads(), beta.local_heads());
    }
}

#[test]
fn a_foreign_row_that_is_only_set_private_follows_its_record() {
    let (_stick, alpha, beta) = with_a_ladder();
    beta.app.execute("UPDATE help_requests SET sync_scope = 'private'", &[]);
    alpha.app.execute("UPDATE help_requests SET title = 'long ladder'", &[]);
    sync(&[&alpha, &beta]);
    assert_eq!(shown(&beta, "title || ' ' || sync_scope"), "long ladder private");
    let bob = beta.app.insert_user("bob", "public");
    let request: i64 = beta.app.value("SELECT id FROM help_requests").parse().unwrap();
    beta.app.insert_comment(request, bob, "a secret", "public");
    sync(&[&beta, &alpha]);
    assert_eq!(alpha.app.dump("request_comments"), "");
    assert!(beta.open().status().unwrap().held.is_empty(), "nothing was written into it");
    alpha.app.execute("UPDATE help_requests SET sync_scope = 'private'", &[]);
    sync(&[&alpha, &beta]);
    assert_eq!(beta.app.value("SELECT count(*) FROM help_requests WHERE title = 'long ladder'"), "0", "withdrawn");
}

#[test]
fn a_value_that_does_not_travel_stays_in_foreign_rows_too() {
    let (_stick, alpha, beta) = pair(Some(Trust::Writer));
    let alice = alpha.app.insert_user("alice", "public");
    alpha.app.insert_attribute(alice, "profile_photo_url", "a.jpg");
    sync(&[&alpha, &beta, &alpha]);
    let shown = |site: &Site| site.app.value("SELECT group_concat(key || '=' || value) FROM user_attributes");
    assert_eq!(shown(&beta), "profile_photo_url=a.jpg");
    beta.app.execute("UPDATE user_attributes SET key = 'ui_theme', value = 'dark'", &[]);
    sync(&[&beta, &alpha]);
    assert_eq!((shown(&alpha), shown(&beta)), ("profile_photo_url=a.jpg".into(), "ui_theme=dark".into()));
    let held = beta.open().status().unwrap().held;
    assert!(held.values().any(|why| why.starts_with("key, value: ")), "{held:?}");
    alpha.app.execute("UPDATE user_attributes SET value = 'b.jpg'", &[]);
    sync(&[&alpha, &beta]);
    assert_eq!(shown(&beta), "ui_theme=dark", "nothing is written over it");
    beta.app.execute("UPDATE user_attributes SET key = 'profile_photo_url', value = 'a.jpg'", &[]);
    sync(&[&beta, &alpha, &beta]);
    assert!(beta.open().status().unwrap().held.is_empty());
    assert_eq!((shown(&alpha), shown(&beta)), ("profile_photo_url=b.jpg".into(), "profile_photo_url=b.jpg".into()));
}

const MEMO: &str = "
[dataset.memo]
table = \"memo\"
key = \"id\"
birth = [\"created_at\"]
scope = \"public\"
[dataset.memo.fields]
v = { type = \"text\" }
note = { type = \"text\", scope = \"trusted\" }
created_at = { type = \"text\" }
";

/// Two sites with a table of memos, whose notes are for trusted readers; alpha has three, and doesn't trust beta.
fn with_memos() -> (super::world::Stick, Site, Site) {
    let (stick, alpha, beta) = pair(None);
    for site in [&alpha, &beta] {
        let sql = "CREATE TABLE memo(id INTEGER PRIMARY KEY, v TEXT, note TEXT DEFAULT 'n/a', created_at TEXT)";
        site.app.db().execute_batch(sql).unwrap();
        let path = site.app.dir().join("wbsync.toml");
        let own = std::fs::read_to_string(&path).unwrap();
        std::fs::write(path, own + MEMO).unwrap();
    }
    for (id, v) in ["one", "two", "three"].iter().enumerate() {
        let sql = "INSERT INTO memo VALUES(?1, ?2, 'of ' || ?2, '2026-01-0' || ?1)";
        alpha.app.execute(sql, &[&(id as i64 + 1), v]);
    }
    sync(&[&alpha, &beta]);
    assert_eq!(notes(&beta), "one n/a, three n/a, two n/a");
    (stick, alpha, beta)
}

fn notes(site: &Site) -> String {
    site.app.value("SELECT group_concat(line, ', ') FROM (SELECT v || ' ' || note AS line FROM memo ORDER BY v)")
}

#[test]
fn what_is_written_where_nothing_was_sent_of_a_field_is_not_written_over_when_it_comes() {
    let (_stick, alpha, beta) = with_memos();
    beta.app.execute("UPDATE memo SET note = 'mine' WHERE v = 'two'", &[]);
    // The default of a column is nobody's edit, whatever else of its row is edited, here or there.
    beta.app.execute("UPDATE memo SET v = 'three!' WHERE v = 'three'", &[]);
    alpha.app.execute("UPDATE memo SET v = 'one!' WHERE v = 'one'", &[]);
    sync(&[&alpha, &beta]);
    let held = |site: &Site| site.open().status().unwrap().held.into_values().collect::<Vec<_>>();
    assert_eq!(held(&beta), ["note: the field is meant for others than the record is"]);
    // When it comes, nobody has seen the other's value: both are kept, at beta also while it may not write.
    alpha.open().peer_trust("beta", Trust::Trusted).unwrap();
    sync(&[&alpha, &beta]);
    assert_eq!(notes(&beta), "one! of one, three! of three, two mine");
    let both = BTreeSet::from(["\"of two\"".to_owned(), "\"mine\"".to_owned()]);
    sync(&[&beta]);
    assert_eq!((values(&beta, "note"), held(&beta).len()), (both.clone(), 0));
    alpha.open().peer_trust("beta", Trust::Writer).unwrap();
    sync(&[&alpha, &beta, &alpha]);
    assert_eq!(values(&alpha, "note"), both);
    let conflicts = alpha.open().conflicts(None).unwrap();
    assert_eq!(conflicts[0].row.as_deref(), Some("memo 2"), "it names the row");
}

/// As a published edit of somebody who may not write doesn't.
#[test]
fn what_stays_in_a_row_does_not_hold_it_when_its_origin_withdraws_it() {
    let (_stick, alpha, beta) = with_memos();
    beta.app.execute("UPDATE memo SET note = 'mine' WHERE v = 'two'", &[]);
    sync(&[&beta]);
    assert_eq!(beta.open().status().unwrap().held.len(), 1);
    let row = Rows::Key(DatasetName::new("memo").unwrap(), "2".to_owned());
    alpha.open().mark_rows(&row, "private", Mode::Keep).unwrap();
    sync(&[&alpha, &beta, &alpha]);
    assert_eq!(beta.app.value("SELECT count(*) FROM memo WHERE note = 'mine' OR v = 'two'"), "0");
    assert!(beta.open().status().unwrap().held.is_empty());
}

#[test]
fn what_was_written_before_its_scope_was_known_goes_there_once_it_is() {
    let (_stick, alpha, beta) = pair(None);
    for site in [&alpha, &beta] {
        let path = site.app.dir().join("wbsync.toml");
        let own = std::fs::read_to_string(&path).unwrap();
        std::fs::write(path, own + "\n[dataset.requests.fields.contact_email]\nscope = \"trusted\"\n").unwrap();
    }
    let alice = alpha.app.insert_user("alice", "public");
    alpha.request(alice, "soup", "public");
    sync(&[&alpha, &beta]);
    let soup = beta.app.value("SELECT id FROM help_requests").parse().unwrap();
    beta.edit(soup, "contact_email", "bea@example.org");
    sync(&[&beta]);
    assert_eq!(beta.open().status().unwrap().held.len(), 1, "beta knows no scope for trusted readers");
    alpha.open().peer_trust("beta", Trust::Writer).unwrap();
    alpha.request(alice, "stew", "trusted");
    sync(&[&alpha, &beta, &beta, &alpha]);
    assert_eq!(beta.open().status().unwrap().held, Default::default());
    let contact = "SELECT contact_email FROM help_requests WHERE title = 'soup'";
    assert_eq!(
        (alpha.app.value(contact), beta.app.value(contact)),
        ("bea@example.org".into(), "bea@example.org".into())
    );
}
