//! A crash at any write of the bookkeeping: the next run ends what was begun, and files and books agree.

use std::fs;

use wbsync::state::peers::Trust;

use super::site::{Site, noise, pair, stick_name};

/// The tables whose writes fail, each with what is done to it. Those that the connector for tables owns are its tests'.
const WRITES: [(&str, &str); 12] = [
    ("disk", "INSERT"),
    ("disk", "DELETE"),
    ("part", "INSERT"),
    ("piece", "INSERT"),
    ("piece", "UPDATE"),
    ("piece", "DELETE"),
    ("named", "INSERT"),
    ("named", "DELETE"),
    ("staged", "INSERT"),
    ("staged", "DELETE"),
    ("home", "INSERT"),
    ("_wbsync_position", "UPDATE"),
];

/// Lets the n-th write from now fail.
fn break_at(site: &Site, number: u32) {
    let books = site.books();
    books.execute_batch(&format!("CREATE TABLE left(n INTEGER); INSERT INTO left VALUES({number})")).unwrap();
    for (table, event) in WRITES {
        let sql = format!(
            "CREATE TRIGGER broken_{table}_{event} BEFORE {event} ON {table} BEGIN
                 UPDATE left SET n = n - 1; SELECT RAISE(ABORT, 'crash') FROM left WHERE n < 0; END"
        );
        books.execute_batch(&sql).unwrap();
    }
}

fn mend(site: &Site) {
    let books = site.books();
    for (table, event) in WRITES {
        books.execute_batch(&format!("DROP TRIGGER broken_{table}_{event}")).unwrap();
    }
    books.execute_batch("DROP TABLE left").unwrap();
}

fn prepared() -> (tempfile::TempDir, Site, Site) {
    let (stick, alpha, beta) = pair("trusted", Some(Trust::Writer));
    for (name, seed) in [("stays", 1), ("edited", 2), ("goes", 3), ("moves", 4)] {
        alpha.write(name, noise(seed, 60_000));
    }
    alpha.sync();
    beta.sync();
    (stick, alpha, beta)
}

fn change(site: &Site) {
    site.write("edited", [&noise(2, 60_000)[..], b"end"].concat());
    site.remove("goes");
    fs::rename(site.path("moves"), site.path("moved")).unwrap();
    site.write("new/one", noise(5, 60_000));
    site.write("new/small", "small");
}

#[test]
fn an_apply_that_crashed_at_any_write_is_ended_by_the_next() {
    let mut crashes = 0;
    for number in (0..).step_by(3) {
        let (_stick, alpha, beta) = prepared();
        change(&alpha);
        alpha.sync();
        break_at(&beta, number);
        let result = beta.open().pull(&[stick_name()]);
        mend(&beta);
        crashes += u32::from(result.is_err());
        beta.sync();
        assert_eq!(beta.tree(), alpha.tree(), "a crash at write {number}");
        assert_eq!(beta.waits(), [].into());
        assert!(beta.commit().scopes.is_empty(), "a crash at write {number} leaves an echo");
        if result.is_ok() {
            break;
        }
    }
    println!("{crashes} crashes");
    assert!(crashes > 10);
}

#[test]
fn a_commit_that_crashed_at_any_write_is_ended_by_the_next() {
    let mut crashes = 0;
    for number in (0..).step_by(3) {
        let (_stick, alpha, beta) = prepared();
        change(&alpha);
        break_at(&alpha, number);
        let result = alpha.open().commit(wbsync::sync::commit::Mode::Keep);
        mend(&alpha);
        crashes += u32::from(result.is_err());
        alpha.sync();
        beta.sync();
        assert_eq!(beta.tree(), alpha.tree(), "a crash at write {number}");
        assert_eq!(beta.waits(), [].into());
        assert_eq!(alpha.roots(), beta.roots());
        if result.is_ok() {
            break;
        }
    }
    println!("{crashes} crashes");
    assert!(crashes > 5);
}

#[test]
fn what_was_written_and_not_noted_is_known_again() {
    let (_stick, alpha, beta) = prepared();
    // As if the books had been lost after everything was renamed into its place.
    change(&alpha);
    alpha.sync();
    beta.sync();
    beta.books().execute_batch("DELETE FROM disk; DELETE FROM part").unwrap();
    let before = beta.tree();
    beta.sync();
    assert_eq!(beta.tree(), before);
    assert!(beta.commit().scopes.is_empty());
    assert_eq!(beta.waits(), [].into());
}

#[test]
fn an_edit_in_the_moment_of_a_crash_is_set_aside() {
    let (_stick, alpha, beta) = prepared();
    alpha.write("edited", "alpha's");
    alpha.sync();
    // The row is written, the file isn't.
    let sql = "CREATE TRIGGER broken BEFORE INSERT ON disk BEGIN SELECT RAISE(ABORT, 'crash'); END";
    let old = beta.read("edited");
    beta.books().execute_batch(sql).unwrap();
    assert!(beta.open().pull(&[stick_name()]).is_err());
    beta.books().execute_batch("DROP TRIGGER broken").unwrap();
    beta.write("edited", [&old[..], b"beta's"].concat());
    beta.sync();
    assert_eq!(beta.read("edited"), b"alpha's");
    let kept: Vec<_> = beta.tree().into_values().map(|(bytes, _)| bytes).collect();
    assert!(kept.contains(&[&old[..], b"beta's"].concat()), "{:?}", beta.tree().keys());
}
