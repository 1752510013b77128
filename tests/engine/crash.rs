//! A crash between the two databases: any old one beside any new one heals at the next sync, and nothing doubles.

use std::fs;
use std::path::{Path, PathBuf};

use wbsync::state::peers::Trust;
use wbsync::sync::commit::Mode;
use wbsync::sync::error::Error;
use wbsync::sync::instance::Instance;
use wbsync::sync::view::View;

use super::world::{STICK, Saved, Site, Stick, pair};

/// What a crash can separate: each is durable on its own.
#[derive(Debug, Clone, Copy)]
pub enum Part {
    State,
    App,
    Store,
}

impl Part {
    fn path(self, site: &Site) -> PathBuf {
        match self {
            Self::State => site.app.dir().join(".wbsync/state.db"),
            Self::App => site.app.db_path(),
            Self::Store => site.app.dir().join(".wbsync/store"),
        }
    }
}

/// Puts a part of a saved site in the place of the present one.
pub fn put_back(site: &Site, saved: &Saved, part: Part) {
    let path = part.path(site);
    let from = saved.path().join(path.strip_prefix(site.app.dir()).unwrap());
    if path.is_dir() {
        Saved::of(&from).restore(&path);
        return;
    }
    for suffix in ["", "-wal", "-shm", "-journal"] {
        let with = |path: &Path| PathBuf::from(format!("{}{suffix}", path.display()));
        let _ = fs::remove_file(with(&path));
        if with(&from).exists() {
            fs::copy(with(&from), with(&path)).unwrap();
        }
    }
}

/// Two sites with rows of each other's, and changes on both sides that are about to be synced by alpha.
fn world() -> (Stick, Site, Site) {
    let (stick, alpha, beta) = pair(Some(Trust::Writer));
    for site in [&alpha, &beta] {
        let alice = site.app.insert_user("alice", "public");
        for number in 0..3 {
            let request = site.request(alice, &format!("{number} of {}", site.name), "public");
            site.app.insert_comment(request, alice, &format!("under {number} of {}", site.name), "public");
        }
    }
    for site in [&alpha, &beta, &alpha, &beta] {
        site.sync();
    }
    // Beta: an edit of its own, one of alpha's, a new row, a deletion.
    beta.app.execute("UPDATE help_requests SET title = 'edited by beta' WHERE title = '0 of beta'", &[]);
    beta.app.execute("UPDATE help_requests SET description = 'by beta' WHERE title = '0 of alpha'", &[]);
    beta.request(1, "new at beta", "public");
    beta.app.execute("DELETE FROM request_comments WHERE body = 'under 1 of beta'", &[]);
    beta.sync();
    // Alpha: the same, not committed yet.
    alpha.app.execute("UPDATE help_requests SET title = 'edited by alpha' WHERE title = '0 of alpha'", &[]);
    alpha.app.execute("UPDATE help_requests SET description = 'by alpha' WHERE title = '2 of beta'", &[]);
    alpha.request(1, "new at alpha", "public");
    alpha.app.execute("DELETE FROM request_comments WHERE body = 'under 1 of alpha'", &[]);
    (stick, alpha, beta)
}

fn threads(site: &Site) -> String {
    let requests =
        site.app.dump_columns("(SELECT * FROM help_requests WHERE sync_scope = 'public')", &["title", "description"]);
    let comments = "request_comments c JOIN help_requests r ON r.id = c.help_request_id";
    requests + &site.app.dump_columns(comments, &["body", "title"])
}

/// Runs the steps of a sync; after the given one, all combinations of old and new parts must heal to the same rows.
fn heals(name: &str, parts: [Part; 2], prepare: impl Fn(&Instance), step: impl Fn(&Instance)) {
    let mut expected: Option<String> = None;
    for choice in [[false, false], [true, true], [true, false], [false, true]] {
        let (stick, alpha, beta) = world();
        prepare(&alpha.open());
        let before = alpha.save();
        step(&alpha.open());
        for (part, old) in parts.into_iter().zip(choice) {
            if old {
                put_back(&alpha, &before, part);
            }
        }
        let label = format!("{name}: {parts:?} put back: {choice:?}");
        let result = alpha.try_pull(STICK).and_then(|_| alpha.try_push(STICK).map(drop));
        if let Err(error) = &result {
            // Each part is durable before the next begins: one that went backwards beside the other, which no crash does,
            // has to be said.
            let said = match choice {
                [true, false] => matches!(error, Error::LostCommit { .. } | Error::LostHistory { .. }),
                _ => name == "commit" && choice == [false, true] && matches!(error, Error::OldDatabase { .. }),
            };
            assert!(said && [5, 6].contains(&error.exit_code()), "{label}: {error:?}");
            assert!(error.hint().is_some(), "{label}");
            alpha.app.assert_whole();
            continue;
        }
        for _ in 0..3 {
            beta.sync();
            alpha.sync();
        }
        for site in [&alpha, &beta] {
            site.app.assert_whole();
        }
        assert_eq!(threads(&alpha), threads(&beta), "{label}");
        assert_eq!(alpha.local_heads(), beta.local_heads(), "{label}");
        let shown = threads(&alpha);
        for (text, times) in
            [("new at alpha", 1), ("new at beta", 1), ("edited by alpha", 2), ("edited by beta", 2), ("under 1 of", 0)]
        {
            assert_eq!(shown.matches(text).count(), times, "{label}: {text} in\n{shown}");
        }
        assert_eq!(expected.get_or_insert_with(|| shown.clone()), &shown, "{label}");
        drop(stick);
    }
}

const BOTH: [Part; 2] = [Part::State, Part::App];

fn stick_name() -> wbsync::id::name::PeerName {
    wbsync::id::name::PeerName::new(STICK).unwrap()
}

#[test]
fn a_crash_during_commit_heals() {
    heals("commit", BOTH, |_| {}, |alpha| drop(alpha.commit(Mode::Keep).unwrap()));
}

#[test]
fn a_crash_during_fetch_and_merge_heals() {
    let step = |alpha: &Instance| {
        alpha.fetch(&stick_name()).unwrap();
        alpha.merge().unwrap();
    };
    heals("fetch", BOTH, |alpha| drop(alpha.commit(Mode::Keep).unwrap()), step);
}

#[test]
fn a_crash_during_apply_heals() {
    let prepare = |alpha: &Instance| {
        alpha.commit(Mode::Keep).unwrap();
        alpha.fetch(&stick_name()).unwrap();
        alpha.merge().unwrap();
    };
    heals("apply", BOTH, prepare, |alpha| drop(alpha.apply(Mode::Keep).unwrap()));
}

#[test]
fn a_crash_during_publish_heals() {
    let prepare = |alpha: &Instance| drop(alpha.pull(&[stick_name()]).unwrap());
    heals("publish", [Part::State, Part::Store], prepare, |alpha| drop(alpha.publish().unwrap()));
}

#[test]
fn a_state_older_than_the_applications_database_after_a_push_says_so() {
    let (_stick, alpha, _beta) = world();
    let before = alpha.save();
    alpha.sync();
    put_back(&alpha, &before, Part::State);
    let error = alpha.try_pull(STICK).unwrap_err();
    assert!(matches!(error, Error::LostCommit { .. } | Error::LostHistory { .. }), "{error:?}");
    assert!(error.hint().is_some_and(|hint| hint.contains("wbsync restore")), "{error:?}");
}

#[test]
fn an_apply_that_only_began_is_finished_and_edits_meanwhile_count() {
    let (_stick, alpha, beta) = world();
    let instance = alpha.open();
    instance.commit(Mode::Keep).unwrap();
    instance.fetch(&stick_name()).unwrap();
    instance.merge().unwrap();
    let mut target = View::default();
    for row in instance.state.scopes().unwrap() {
        target.commits.extend(row.local_head.map(|head| (row.id, head)));
    }
    instance.with_database(|database| Ok(database.begin_apply(&target.encode())?)).unwrap();
    drop(instance);
    assert!(alpha.open().status().unwrap().unfinished_apply);
    // The row is still as it was; its edit is one of the old title, beside beta's.
    alpha.app.execute("UPDATE help_requests SET title = 'edited meanwhile' WHERE title = '0 of beta'", &[]);
    alpha.sync();
    assert!(!alpha.open().status().unwrap().unfinished_apply);
    for _ in 0..2 {
        beta.sync();
        alpha.sync();
    }
    assert_eq!(threads(&alpha), threads(&beta));
    let shown = threads(&alpha);
    assert_eq!(shown.matches("new at beta").count(), 1, "{shown}");
    let held = format!("{:?}", alpha.records());
    assert!(held.contains("edited meanwhile") && held.contains("edited by beta"), "both are kept");
    assert!(alpha.open().status().unwrap().conflicts.iter().any(|conflict| conflict.ends_with(".title")));
    alpha.app.assert_whole();
}
