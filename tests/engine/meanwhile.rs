//! Applications that write while an apply is at work: what they write is captured again and again before all rows show the
//! merge, and every capture builds on the ones before.

use std::cell::Cell;
use std::rc::Rc;

use wbsync::id::name::PeerName;
use wbsync::state::peers::Trust;
use wbsync::sync::commit::Mode;
use wbsync::sync::instance::{Instance, Purpose};
use wbsync::sync::progress::Event;

use super::world::{STICK, Site, pair};

fn title(site: &Site, number: i64) -> String {
    site.app.value(&format!("SELECT title || ': ' || description FROM help_requests WHERE title LIKE '{number} %'"))
}

fn edited_by_beta(beta: &Site, number: i64) {
    let sql = "UPDATE help_requests SET description = 'by beta' WHERE title LIKE ?1";
    beta.app.execute(sql, &[&format!("{number} %")]);
}

/// Syncs; before rows are written for the nth time, `meanwhile` is called with n.
fn sync_with(site: &Site, meanwhile: impl Fn(u32) + 'static) {
    let rounds = Rc::new(Cell::new(0));
    let watcher = {
        let rounds = Rc::clone(&rounds);
        move |event: Event<'_>| {
            if matches!(event, Event::Phase { name: "writing rows", .. }) {
                rounds.set(rounds.get() + 1);
                meanwhile(rounds.get());
            }
        }
    };
    let instance = Instance::open(site.app.dir(), Purpose::Change, Box::new(watcher)).unwrap();
    let stick = PeerName::new(STICK).unwrap();
    instance.sync(&[stick]).unwrap();
    assert!(rounds.get() > 3, "only {} rounds", rounds.get());
}

/// The first row is edited in each round before it is written, the second once it was written, and the first again.
#[test]
fn rows_that_are_edited_while_they_are_written_lose_nothing() {
    let (_stick, alpha, beta) = pair(Some(Trust::Writer));
    let author = alpha.app.insert_user("mara", "public");
    let ids = [1, 2, 3].map(|number| alpha.request(author, &format!("{number} as it was"), "public"));
    for site in [&alpha, &beta, &alpha] {
        site.sync();
    }
    for number in [1, 2, 3] {
        edited_by_beta(&beta, number);
    }
    beta.sync();
    let path = alpha.app.db_path();
    let edit = move |number: usize, round: u32| {
        let db = rusqlite::Connection::open(&path).unwrap();
        let title = format!("{number} in round {round}");
        db.execute("UPDATE help_requests SET title = ?1 WHERE id = ?2", (title, ids[number - 1])).unwrap();
    };
    sync_with(&alpha, move |round| match round {
        1 => edit(1, round),
        2 => (1..3).for_each(|number| edit(number, round)),
        3 | 4 => edit(1, round),
        _ => {}
    });
    for site in [&beta, &alpha, &beta, &alpha] {
        site.sync();
    }
    for site in [&alpha, &beta] {
        let shown = [1, 2, 3].map(|number| title(site, number));
        assert_eq!(shown, ["1 in round 4: by beta", "2 in round 2: by beta", "3 as it was: by beta"], "{}", site.name);
    }
    assert_eq!(alpha.local_heads(), beta.local_heads());
}

/// The same with a row that is deleted, one that is withdrawn and a new one, all before the rows show the merge.
#[test]
fn rows_that_go_while_others_are_written_are_gone_for_all() {
    let (_stick, alpha, beta) = pair(Some(Trust::Writer));
    let author = alpha.app.insert_user("mara", "public");
    let ids = [1, 2, 3, 4].map(|number| alpha.request(author, &format!("{number} as it was"), "public"));
    for site in [&alpha, &beta, &alpha] {
        site.sync();
    }
    for number in [1, 2, 3, 4] {
        edited_by_beta(&beta, number);
    }
    beta.sync();
    let path = alpha.app.db_path();
    sync_with(&alpha, move |round| {
        let db = rusqlite::Connection::open(&path).unwrap();
        let edit = |number: usize| {
            let title = format!("{number} in round {round}");
            db.execute("UPDATE help_requests SET title = ?1 WHERE id = ?2", (title, ids[number - 1])).unwrap();
        };
        match round {
            1 => edit(1),
            2 => [1, 2].into_iter().for_each(edit),
            3 => {
                edit(1);
                db.execute("DELETE FROM help_requests WHERE id = ?1", [ids[2]]).unwrap();
                db.execute("UPDATE help_requests SET sync_scope = 'private' WHERE id = ?1", [ids[3]]).unwrap();
            }
            4 => edit(1),
            _ => {}
        }
    });
    for site in [&beta, &alpha, &beta, &alpha] {
        site.sync();
    }
    let shown = "SELECT group_concat(title || ': ' || description, '; ') FROM (SELECT * FROM help_requests WHERE sync_scope <> 'private' ORDER BY title)";
    for site in [&alpha, &beta] {
        assert_eq!(site.app.value(shown), "1 in round 4: by beta; 2 in round 2: by beta", "{}", site.name);
    }
    assert_eq!(alpha.local_heads(), beta.local_heads());
}

/// The target of the apply that meets the edit has no record any more; the newest heads have it again. A row that went in between
/// would lose what only its database holds.
#[test]
fn a_row_that_is_edited_while_its_deletion_is_applied_stays_the_row_that_it_is() {
    let (_stick, alpha, beta) = pair(Some(Trust::Writer));
    alpha.app.db().execute_batch("ALTER TABLE help_requests ADD COLUMN shelf TEXT").unwrap();
    let alice = alpha.app.insert_user("alice", "public");
    let soup = alpha.request(alice, "soup", "public");
    alpha.request(alice, "stew", "public");
    alpha.app.db().execute_batch("UPDATE help_requests SET shelf = 'third'").unwrap();
    alpha.sync();
    beta.sync();
    beta.app.execute("DELETE FROM help_requests WHERE title = 'soup'", &[]);
    beta.sync();
    let stick = PeerName::new(STICK).unwrap();
    alpha.open().fetch(&stick).unwrap();
    alpha.edit(soup, "description", "with leeks");
    alpha.app.set_scope("help_requests", soup, "trusted");
    alpha.open().merge_and_apply(Mode::Keep).unwrap();
    let shown =
        "SELECT id || ' ' || description || ' ' || coalesce(shelf, 'nowhere') FROM help_requests WHERE title = 'soup'";
    assert_eq!(alpha.app.value(shown), format!("{soup} with leeks third"));
    for site in [&alpha, &beta, &alpha] {
        site.sync();
    }
    assert_eq!(alpha.app.value(shown), format!("{soup} with leeks third"));
    assert_eq!(beta.app.value("SELECT description FROM help_requests WHERE title = 'soup'"), "with leeks");
    assert_eq!(alpha.local_heads(), beta.local_heads());
}
