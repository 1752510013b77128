//! A mapping or a table that is another one than at the last capture: what a row shows because of that is no edit.

use wbsync::connector::contract::{Base, Connector, Seen, Sighting};
use wbsync::connector::error::Error;

use super::harness::{App, BETA, NOW, OWN, field, find, id, put, request, shown, text, user};

const PLACE: &str = "[dataset.requests.fields]\nplace = { type = \"text\" }\n";
const OFF: &str = "[dataset.requests]\nenabled = false\n[dataset.comments]\nenabled = false\n";
const COLUMN: &str = "ALTER TABLE help_requests ADD COLUMN place VARCHAR DEFAULT 'nowhere'";

/// An own request `ours` and one of beta's, `theirs`.
fn two(app: &mut App) {
    let ann = app.user("ann", "public");
    app.request("ours", Some(ann), "public");
    app.settle();
    let (bob, theirs) = (id(BETA, "users", 1), id(BETA, "requests", 2));
    app.apply(vec![user(&bob, "bob"), request(&theirs, "theirs", Some(&bob))]);
    assert!(app.settle().is_empty());
}

fn says(app: &mut App, own: &str) {
    own.clone_into(&mut app.own);
    app.reopen();
}

fn lagging(app: &mut App) -> Vec<(String, bool)> {
    let newcomers = app.sync.newcomers().unwrap();
    newcomers.into_iter().map(|one| (one.dataset.to_string(), one.with_own)).collect()
}

fn catch_up(app: &mut App) {
    let datasets: Vec<_> = app.sync.newcomers().unwrap().into_iter().map(|one| one.dataset).collect();
    app.sync.caught_up(&datasets).unwrap();
    assert!(lagging(app).is_empty());
}

#[test]
fn a_field_that_is_mapped_later_is_hidden_in_rows_of_others_until_it_was_written() {
    for by_triggers in [false, true] {
        let mut app = App::with(COLUMN, "");
        two(&mut app);
        if by_triggers {
            app = app.watched();
        }
        catch_up(&mut app);
        says(&mut app, PLACE);
        assert_eq!(lagging(&mut app), [("requests".to_owned(), true)]);
        // What isn't settled is found again.
        let (_, unsettled) = app.capture();
        let seen = app.settle();
        assert_eq!(unsettled, seen);
        let (ours, theirs) = (find(&seen, "title", "ours"), find(&seen, "title", "theirs"));
        assert_eq!((shown(ours, "place"), &ours.fresh[..]), (Some(text("nowhere")), &[field("place")][..]));
        assert_eq!((shown(theirs, "place"), theirs.fresh.len()), (None, 0));
        assert!(app.settle().is_empty());
        app.sql("UPDATE help_requests SET title = 'still theirs' WHERE title = 'theirs'");
        assert_eq!(shown(&app.settle()[0], "place"), None, "another edit doesn't take it along");
        app.sql("UPDATE help_requests SET place = 'barn' WHERE title = 'still theirs'");
        assert_eq!(shown(&app.settle()[0], "place"), Some(text("barn")), "but it can be edited");
        let theirs = id(BETA, "requests", 2);
        let fields = [("title", text("said")), ("description", text("x")), ("place", text("shed"))];
        app.apply(vec![put(&theirs, &fields)]);
        assert_eq!(app.text("SELECT place FROM help_requests WHERE title = 'said'"), "shed");
        catch_up(&mut app);
        assert!(app.settle().is_empty());
        // Left out for a while, it is unknown again.
        says(&mut app, "");
        app.settle();
        says(&mut app, PLACE);
        let seen = app.settle();
        assert_eq!(shown(find(&seen, "title", "said"), "place"), None);
        assert_eq!(find(&seen, "title", "ours").fresh, [field("place")]);
    }
}

#[test]
fn a_dataset_that_comes_back_reports_own_rows_and_what_was_edited_of_others() {
    for by_triggers in [false, true] {
        let mut app = App::new();
        two(&mut app);
        if by_triggers {
            app = app.watched();
        }
        catch_up(&mut app);
        says(&mut app, OFF);
        app.settle();
        let reported = |seen: &[Sighting]| {
            let mut all: Vec<_> = seen.iter().map(|one| (one.id.origin, one.base, one.seen == Seen::Gone)).collect();
            all.sort_by_key(|(origin, ..)| *origin);
            all
        };
        says(&mut app, "");
        assert_eq!(lagging(&mut app), [("requests".to_owned(), false), ("comments".to_owned(), false)]);
        assert_eq!(app.sync.foreign(&"requests".parse().unwrap()).unwrap(), [id(BETA, "requests", 2)]);
        assert_eq!(reported(&app.settle()), [(OWN, Base::Applied, false)], "theirs is as it was");
        assert!(app.settle().is_empty());
        // What theirs shows may be old until it was written.
        app.sql("UPDATE help_requests SET title = 'edited' WHERE title = 'theirs'");
        assert_eq!(reported(&app.settle()), [(BETA, Base::Neither, false)]);
        catch_up(&mut app);
        app.sql("UPDATE help_requests SET title = 'again' WHERE title = 'edited'");
        assert_eq!(reported(&app.settle()), [(BETA, Base::Applied, false)]);
    }
}

#[test]
fn births_are_read_anew_where_other_columns_tell_them() {
    let mut app = App::new();
    two(&mut app);
    says(&mut app, "[dataset.requests]\nbirth = []\n");
    assert!(app.settle().is_empty());
    says(&mut app, "");
    assert!(app.settle().is_empty());
    app.sql("UPDATE help_requests SET created_at = '2026-03-03 03:03:03.000003' WHERE title = 'theirs'");
    let seen = app.settle();
    assert_eq!(seen.iter().filter(|one| one.seen == Seen::Gone).count(), 1, "they are watched as before: {seen:?}");
}

#[test]
fn a_table_that_was_made_anew_is_not_taken_for_deletions() {
    let mut app = App::new();
    for name in ["ann", "bob", "eve"] {
        app.user(name, "public");
    }
    let vouch = |by: i64, of: i64| {
        format!(
            "INSERT INTO vouches(id, voucher_user_id, subject_user_id, created_at) VALUES({by}, {by}, {of}, '2026-01-0{by}')"
        )
    };
    let made =
        "CREATE TABLE vouches (id INTEGER NOT NULL, voucher_user_id INTEGER NOT NULL, subject_user_id INTEGER NOT NULL,
        signature VARCHAR(128), created_at TIMESTAMP NOT NULL, PRIMARY KEY (id),
        CONSTRAINT ux_vouches_unique UNIQUE (voucher_user_id, subject_user_id))";
    app.sql(&vouch(2, 3));
    app.sql(&vouch(3, 2));
    app.settle();
    app.sql(&format!(
        "ALTER TABLE vouches RENAME TO kept; CREATE TABLE spare(id INTEGER); {}",
        made.replace("ux_", "uy_")
    ));
    app.reopen();
    let refused = |app: &mut App| match app.sync.capture(NOW, &mut |_| Ok(())) {
        Err(Error::OtherTable { table, .. }) => table == "vouches",
        _ => false,
    };
    assert!(refused(&mut app) && refused(&mut app));
    // With the rows in it, it is the same.
    app.sql("INSERT INTO vouches SELECT * FROM kept");
    assert!(app.settle().is_empty());
    // All rows of a table may go.
    app.sql("DELETE FROM vouches");
    assert_eq!(app.settle().len(), 2);
}
