//! What isn't the daily exchange: rows given up, rows found again after the bookkeeping was lost, rows kept home, and sizes. The same
//! on each database.

use wbsync::connector::contract::{Connector, Context, Dropped};
use wbsync::scope::audience::Audience;

use super::harness::*;

/// A member of beta's with two posts and a comment, and a comment of ours on the first.
fn visited() -> (App, [wbsync::record::recordid::RecordId; 4]) {
    let mut app = App::new();
    app.settle();
    let ids = [id(BETA, "users", 1), id(BETA, "requests", 2), id(BETA, "requests", 3), id(BETA, "comments", 4)];
    let [bea, one, two, said] = &ids;
    let changes = vec![
        user(bea, "bea"),
        request(one, "one", Some(bea)),
        request(two, "two", Some(bea)),
        comment(said, two, bea, "x"),
    ];
    app.apply_quietly(changes);
    let key: i64 = app.text("SELECT id FROM help_requests WHERE title = 'one'").parse().unwrap();
    app.comment(key, 1, "ours", "private");
    app.settle();
    (app, ids)
}

/// Gives rows up as one view.
fn give_up(app: &mut App, dropped: &Dropped) -> wbsync::connector::applied::Applied {
    let target = [app.sync.position().unwrap().applied, vec![1]].concat();
    app.sync.begin_apply(&target).unwrap();
    let applied = app.sync.drop_rows(dropped, &mut |_| {}).unwrap();
    app.sync.finish_apply().unwrap();
    assert_eq!(app.settle(), [], "what is given up is no statement");
    app.db.whole();
    applied
}

#[test]
fn rows_of_an_instance_are_given_up_but_for_what_ours_refer_to() {
    let (mut app, ids) = visited();
    let dropped = Dropped::Origin(BETA);
    let counts = app.sync.count_rows(&dropped).unwrap();
    assert_eq!(counts.values().sum::<u64>(), 4, "{counts:?}");
    let applied = give_up(&mut app, &dropped);
    let (deleted, blanked) = (applied.deleted.values().sum::<u64>(), applied.blanked.values().sum::<u64>());
    assert_eq!((deleted, blanked), (3, 1), "{applied:?}");
    assert_eq!(app.text("SELECT count(*) FROM help_requests WHERE title IN ('one', 'two')"), "0");
    assert_eq!(app.text("SELECT count(*) FROM request_comments WHERE body = 'ours'"), "1");
    assert_eq!(app.text("SELECT count(*) FROM users WHERE username = 'bea'"), "0");
    assert_eq!(app.sync.count_rows(&dropped).unwrap().values().sum::<u64>(), 0);
    assert_eq!(app.sync.placeholders().unwrap().values().sum::<u64>(), 1);
    // They come back in place.
    let applied = app.apply_quietly(vec![user(&ids[0], "bea"), request(&ids[1], "one", Some(&ids[0]))]);
    assert_eq!(applied.updated.values().sum::<u64>(), 1, "{applied:?}");
    let sql =
        "SELECT count(*) FROM request_comments c JOIN help_requests r ON r.id = c.help_request_id WHERE title = 'one'";
    assert_eq!(app.text(sql), "1");
    assert_eq!(app.sync.placeholders().unwrap().len(), 0);
}

#[test]
fn one_record_is_given_up() {
    let (mut app, ids) = visited();
    let applied = give_up(&mut app, &Dropped::Record(ids[3].clone()));
    assert_eq!(applied.deleted.values().sum::<u64>(), 1);
    assert_eq!(app.text("SELECT count(*) FROM request_comments WHERE body = 'x'"), "0");
    let applied = give_up(&mut app, &Dropped::Record(ids[3].clone()));
    assert_eq!(applied.deleted.len() + applied.blanked.len(), 0);
}

#[test]
fn only_what_nothing_refers_to_is_pruned() {
    let (mut app, ids) = visited();
    let applied = give_up(&mut app, &Dropped::Unused(ids.to_vec()));
    assert_eq!(applied.deleted.values().sum::<u64>(), 2, "{applied:?}");
    let mut kept = applied.kept;
    kept.sort();
    let mut wanted = vec![ids[0].clone(), ids[1].clone()];
    wanted.sort();
    assert_eq!(kept, wanted);
    assert_eq!(app.text("SELECT count(*) FROM help_requests WHERE title = 'one'"), "1");
    assert_eq!(app.text("SELECT count(*) FROM help_requests WHERE title = 'two'"), "0");
    // What returns is written again.
    let applied = app.apply_quietly(vec![request(&ids[2], "two", Some(&ids[0]))]);
    assert_eq!(applied.inserted.values().sum::<u64>(), 1);
}

#[test]
fn rows_find_their_records_again() {
    let mut app = App::new();
    let ann = app.user("ann", "public");
    app.request("bike", Some(ann), "public");
    let (bea, post) = (id(BETA, "users", 1), id(BETA, "requests", 2));
    app.settle();
    app.apply_quietly(vec![user(&bea, "bea"), request(&post, "boat", Some(&bea))]);
    let known = {
        let mut known = Vec::new();
        app.sync
            .compare(NOW, &mut |sighting| {
                known.push(sighting.id);
                Ok(())
            })
            .unwrap();
        known
    };
    // The bookkeeping is as after a restore of the tables alone.
    let map = if app.rows(TABLES_OF_BOOKS).is_empty() { "_wbsync_map" } else { "wbsync.map" };
    app.sql(&format!("DELETE FROM {map} WHERE origin > 0"));
    let records =
        vec![user(&bea, "bea"), request(&post, "boat", Some(&bea)), request(&id(BETA, "requests", 9), "none", None)];
    let adopted = app.sync.adopt(&mut records.into_iter().map(Ok)).unwrap();
    assert_eq!(adopted, [bea, post]);
    let mut again = Vec::new();
    app.sync
        .compare(NOW, &mut |sighting| {
            again.push(sighting.id);
            Ok(())
        })
        .unwrap();
    assert_eq!(again.len(), known.len());
    assert!(again.iter().all(|id| known.contains(id)), "{again:?} {known:?}");
}

/// Tells of PostgreSQL's bookkeeping; SQLite has no such table.
const TABLES_OF_BOOKS: &str = super::database::BOOKS_ARE_A_SCHEMA;

#[test]
fn own_rows_are_kept_home() {
    let mut app = App::new();
    let ann = app.user("ann", "public");
    let bike = app.request("bike", Some(ann), "public");
    let seen = app.settle();
    let post = find(&seen, "title", "bike").id.clone();
    app.sync.keep_home(std::slice::from_ref(&post)).unwrap();
    assert_eq!(app.text(&format!("SELECT sync_scope FROM help_requests WHERE id = {bike}")), "private");
    app.settle();
    assert!(matches!(app.sync.audience(&post).unwrap(), Some(Audience::Private(_))));
}

/// A table without a scope column: that it is private is said beside it, and stays so.
#[test]
fn own_rows_are_kept_home_beside_a_table_without_a_scope_column() {
    let mut app = App::new();
    let [ann, bob] = ["ann", "bob"].map(|name| app.user(name, "public"));
    app.sql(&format!(
        "INSERT INTO vouches(voucher_user_id, subject_user_id, created_at) VALUES({ann}, {bob}, '2026-02-01 12:00:00.000000')"
    ));
    let seen = app.settle();
    let vouch = seen.iter().find(|sighting| sighting.id.dataset.as_str() == "vouches").unwrap().id.clone();
    assert!(matches!(app.sync.audience(&vouch).unwrap(), Some(Audience::Shared(_))));
    app.sync.keep_home(std::slice::from_ref(&vouch)).unwrap();
    for _ in 0..2 {
        assert_eq!(app.text("SELECT count(*) FROM vouches"), "1");
        assert!(matches!(app.sync.audience(&vouch).unwrap(), Some(Audience::Private(_))));
        app.sql("UPDATE vouches SET created_at = created_at");
        app.settle();
    }
}

#[test]
fn own_rows_follow_what_was_published_only_while_restoring() {
    let mut app = App::new();
    let ann = app.user("ann", "public");
    app.request("bike", Some(ann), "private");
    app.settle();
    let own = {
        let mut own = Vec::new();
        app.sync
            .compare(NOW, &mut |sighting| {
                own.push(sighting.id);
                Ok(())
            })
            .unwrap();
        own.into_iter().find(|id| id.dataset.as_str() == "requests").unwrap()
    };
    let applied = app.apply(vec![request(&own, "newer", None)]);
    assert_eq!(applied.unchanged, 1, "what stays home is never touched from outside: {applied:?}");
    app.restoring = true;
    app.reopen();
    let applied = app.apply(vec![request(&own, "newer", None)]);
    assert_eq!(applied.updated.values().sum::<u64>(), 1, "{applied:?}");
    assert_eq!(app.text("SELECT title || sync_scope FROM help_requests"), "newerpublic");
}

#[test]
fn sizes_are_measured() {
    let mut app = App::new();
    app.settle();
    let before = app.sync.sizes().unwrap();
    assert!(before.books > 0 && before.books < before.whole, "{before:?}");
    for number in 0..400 {
        app.request(&format!("post {number}"), None, "public");
    }
    app.settle();
    let after = app.sync.sizes().unwrap();
    assert!(after.books > before.books && after.whole > before.whole, "{before:?} {after:?}");
}

/// Says whose the bookkeeping is.
#[test]
fn a_context_of_another_instance_is_refused() {
    let mut app = App::new();
    app.settle();
    let mut other = app.db.connect_as(app.dir.path(), mapping(""), Context { own: GAMMA, ..context() });
    assert!(other.position().unwrap_err().to_string().contains("belongs to the instance"));
}
