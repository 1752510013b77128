//! What rows show that were just inserted: known without reading them back, where nothing can have altered them.

use super::database::ODD;
use super::harness::*;

/// What the bookkeeping says of the rows of others after some arrived.
fn known_after(sql: &str) -> Vec<Vec<Raw>> {
    let mut app = App::with(sql, "");
    app.user("ann", "public");
    app.settle();
    let (ann, bea, lost) = (id(BETA, "users", 1), id(BETA, "users", 2), id(BETA, "users", 3));
    let posts = [("007", Some(&ann)), ("", None), (ODD, Some(&lost)), ("7e2", Some(&bea))];
    let mut changes = vec![user(&ann, "ann"), user(&bea, "0x10")];
    for (number, (title, author)) in (4..).zip(posts) {
        let post = id(BETA, "requests", number);
        changes.push(request(&post, title, author));
        changes.push(comment(&id(BETA, "comments", 10 + number), &post, &bea, title));
    }
    app.apply_quietly(changes);
    let map = "SELECT dataset, key, origin, record, birth, digest, audience, seen, view, flags, rule FROM _wbsync_map
               WHERE origin <> 0 ORDER BY dataset, key";
    let mut known = app.rows(map);
    assert_eq!(known.len(), 11, "with a placeholder for the author who isn't there");
    known.extend(app.rows("SELECT * FROM _wbsync_override ORDER BY dataset, key, field"));
    assert_eq!(known.len(), 12, "one name was taken");
    known
}

/// A trigger of the application's has each row read back, and the same is known of it.
#[test]
fn rows_are_known_as_they_would_be_read() {
    let watch = |table: &str| {
        format!("CREATE TRIGGER watch_{table} AFTER INSERT ON {table} BEGIN INSERT INTO seen VALUES(1); END;")
    };
    let watched: String = ["users", "help_requests", "request_comments"].map(watch).concat();
    assert_eq!(known_after(""), known_after(&format!("CREATE TABLE seen(n); {watched}")));
}

/// What a trigger of the application's makes of a new row is no edit.
#[test]
fn a_row_that_a_trigger_alters_is_read_back() {
    let louder = "CREATE TRIGGER louder AFTER INSERT ON help_requests BEGIN
                      UPDATE help_requests SET title = upper(title) WHERE id = NEW.id; END;";
    let mut app = App::with(louder, "");
    app.settle();
    let (bea, post) = (id(BETA, "users", 1), id(BETA, "requests", 2));
    app.apply_quietly(vec![user(&bea, "bea"), request(&post, "boat", Some(&bea))]);
    assert_eq!(app.text("SELECT title FROM help_requests"), "BOAT");
    assert_eq!(
        app.text("SELECT field || ': ' || reason FROM _wbsync_override"),
        "title: the column shows it otherwise"
    );
}
