//! What comes back with a backup meets what the others went on with: records that moved, remotes that were away, lines that turn up late.

use std::fs;

use wbsync::id::name::PeerName;
use wbsync::state::peers::Trust;
use wbsync::sync::commit::Mode;
use wbsync::sync::error::Error;
use wbsync::sync::instance::{Instance, Purpose};
use wbsync::sync::progress::silent;
use wbsync::sync::restore::{RestoreOptions, RestoreSummary};

use super::crash::{Part, put_back};
use super::withdrawal::WORD;
use super::world::{STICK, Site, Stick, pair};

fn id_of(site: &Site, title: &str) -> i64 {
    site.app.value(&format!("SELECT id FROM help_requests WHERE title = '{title}'")).parse().unwrap()
}

fn description(site: &Site, title: &str) -> String {
    site.app.value(&format!("SELECT description FROM help_requests WHERE title = '{title}'"))
}

fn try_restore(site: &Site, options: &RestoreOptions) -> Result<RestoreSummary, Error> {
    Instance::open(site.app.dir(), Purpose::Restore, silent()).unwrap().restore(options, Mode::Keep)
}

#[track_caller]
fn restore(site: &Site) -> RestoreSummary {
    let summary = try_restore(site, &RestoreOptions::default()).unwrap();
    assert!(summary.pushed.failed.is_empty(), "{:?}", summary.pushed.failed);
    for fetched in summary.fetched.values() {
        assert!(fetched.refused.is_empty() && fetched.held.is_empty(), "{fetched:?}");
    }
    summary
}

#[track_caller]
fn converge(sites: &[&Site]) {
    for _ in 0..2 {
        for site in sites {
            site.sync();
        }
    }
    for site in sites {
        site.app.assert_whole();
        assert_eq!(site.local_heads(), sites[0].local_heads(), "{}", site.name);
    }
}

/// A reader's row says what the record said in the scope that it left: that is old, and no edit of the reader's.
#[test]
fn a_row_of_a_record_that_moved_to_another_scope_follows_it() {
    let (_stick, alpha, beta) = pair(Some(Trust::Trusted));
    let alice = alpha.app.insert_user("alice", "public");
    let ladder = alpha.request(alice, "a ladder", "public");
    for site in [&alpha, &beta] {
        site.sync();
    }
    let backup = beta.save();
    alpha.app.set_scope("help_requests", ladder, "trusted");
    alpha.edit(ladder, "title", "a long ladder");
    alpha.sync();
    beta.restore(&backup);
    let summary = restore(&beta);
    assert_eq!((summary.rows.edits, summary.rows.conflicts), (0, 0), "{:?}", summary.rows);
    assert_eq!(beta.app.value("SELECT title FROM help_requests"), "a long ladder");
    assert_eq!(summary.conflicts, Vec::<String>::new());
    converge(&[&alpha, &beta]);
}

/// Where nobody knows us, and somebody who may is away, going on would sign numbers that others have seen.
#[test]
fn a_restore_that_only_strangers_answer_waits_for_the_remote_that_is_away() {
    let (stick, alpha, beta) = pair(Some(Trust::Trusted));
    let (other, gamma) = (Stick::new(), Site::new("gamma"));
    gamma.uses_as(&other, "other");
    gamma.request(gamma.app.insert_user("carol", "public"), "a drill", "public");
    gamma.open().commit(Mode::Keep).unwrap();
    gamma.try_push("other").unwrap();
    alpha.uses_as(&other, "other");
    let alice = alpha.app.insert_user("alice", "public");
    alpha.request(alice, "a ladder", "public");
    let backup = alpha.save();
    for site in [&alpha, &beta] {
        site.sync();
    }
    alpha.restore(&backup);

    let away = stick.path().with_extension("away");
    fs::rename(stick.path(), &away).unwrap();
    fs::create_dir(stick.path()).unwrap();
    fs::write(stick.path().join("format"), "no store").unwrap();
    let error = try_restore(&alpha, &RestoreOptions::default()).unwrap_err();
    assert!(matches!(&error, Error::RestoreUnheard { away } if away == STICK), "{error:?}");
    assert!(error.exit_code() == 4 && error.hint().is_some_and(|hint| hint.contains("--without-remotes")), "{error:?}");
    assert!(Instance::open(alpha.app.dir(), Purpose::Change, silent()).is_ok(), "nothing was begun");

    fs::remove_dir_all(stick.path()).unwrap();
    fs::rename(&away, stick.path()).unwrap();
    restore(&alpha);
    converge(&[&alpha, &beta]);
    // Who is told and goes on anyway may.
    alpha.restore(&backup);
    fs::remove_dir_all(stick.path()).unwrap();
    fs::create_dir(stick.path()).unwrap();
    fs::write(stick.path().join("format"), "no store").unwrap();
    try_restore(&alpha, &RestoreOptions { without_remotes: true, ..RestoreOptions::default() }).unwrap();
}

/// A remote that was away has what another one never had: the two lines are joined, as by everybody who met both.
#[test]
fn what_was_published_where_a_restore_could_not_look_is_joined_when_it_turns_up() {
    let (_stick, alpha, beta) = pair(Some(Trust::Trusted));
    let other = Stick::new();
    alpha.uses_as(&other, "other");
    let alice = alpha.app.insert_user("alice", "public");
    for title in ["a ladder", "a drill", "a saw"] {
        alpha.request(alice, title, "public");
    }
    alpha.sync();
    alpha.try_push("other").unwrap();
    beta.sync();
    let backup = alpha.save();
    alpha.edit(id_of(&alpha, "a ladder"), "description", "on Monday");
    alpha.app.set_scope("help_requests", id_of(&alpha, "a saw"), "private");
    alpha.request(alice, "made on Monday", "public");
    alpha.sync();
    beta.sync();

    alpha.restore(&backup);
    let only = vec![PeerName::new("other").unwrap()];
    let options = RestoreOptions { remotes: only, ..RestoreOptions::default() };
    assert_eq!(try_restore(&alpha, &options).unwrap().incarnation, (0, 1));
    alpha.edit(id_of(&alpha, "a drill"), "description", "after the backup");
    alpha.open().commit(Mode::Keep).unwrap();
    alpha.try_push("other").unwrap();
    assert!(matches!(alpha.try_pull(STICK).unwrap_err(), Error::LostHistory { .. }));
    let summary = restore(&alpha);
    assert_eq!(summary.incarnation, (1, 2));
    converge(&[&alpha, &beta]);
    for site in [&alpha, &beta] {
        assert_eq!(description(site, "a ladder"), "on Monday", "{}", site.name);
        assert_eq!(description(site, "a drill"), "after the backup", "{}", site.name);
        assert_eq!(site.app.value("SELECT count(*) FROM help_requests WHERE title = 'made on Monday'"), "1");
    }
    // What was taken back stays so, and its row stays at home.
    assert_eq!(beta.app.value("SELECT count(*) FROM help_requests WHERE title = 'a saw'"), "0");
    assert_eq!(alpha.app.value("SELECT sync_scope FROM help_requests WHERE title = 'a saw'"), "private");
}

/// A head of a new incarnation counts no write of an earlier one, and is all that vouches for it.
#[test]
fn a_head_that_has_written_nothing_since_a_restore_still_vouches_for_what_was_written_before() {
    let stick = Stick::new();
    let [alpha, beta, gamma] = ["alpha", "beta", "gamma"].map(Site::new);
    let sites = [&alpha, &beta, &gamma];
    for site in sites {
        site.uses(&stick);
        for other in sites.into_iter().filter(|other| other.name != site.name) {
            site.knows(other, Some(Trust::Writer));
        }
    }
    let carol = gamma.app.insert_user("carol", "public");
    for title in ["a ladder", "a drill"] {
        gamma.request(carol, title, "public");
    }
    for site in [&gamma, &alpha, &beta] {
        site.sync();
    }
    let backup = beta.save();
    beta.edit(id_of(&beta, "a ladder"), "description", "by beta");
    beta.sync();
    beta.restore(&backup);
    restore(&beta);
    // Each of the two writers now holds words of the other, and gamma has seen neither.
    alpha.edit(id_of(&alpha, "a drill"), "description", "by alpha");
    alpha.sync();
    beta.sync();
    let pulled = gamma.pull();
    let held: Vec<_> = pulled.fetched.remotes.values().flat_map(|fetched| &fetched.held).collect();
    assert!(held.is_empty(), "{held:?}");
    gamma.push();
    converge(&sites);
    for site in sites {
        assert_eq!(description(site, "a ladder"), "by beta", "{}", site.name);
        assert_eq!(description(site, "a drill"), "by alpha", "{}", site.name);
    }
}

/// What was narrowed or withdrawn since the backup isn't published again because somebody edits the row that came back before
/// `wbsync restore` runs; nor is what was written while the row was for fewer.
#[test]
fn an_edited_row_that_came_back_reaches_nobody_whom_its_record_left_out_since() {
    for (part, parts) in [("database", &[Part::App][..]), ("both", &[Part::App, Part::State, Part::Store][..])] {
        let (_stick, alpha, beta) = pair(None);
        let alice = alpha.app.insert_user("alice", "public");
        for title in ["narrowed", "withdrawn", "deleted", "left"] {
            alpha.request(alice, title, "public");
        }
        for title in ["widened", "opened"] {
            alpha.request(alice, title, "trusted");
        }
        alpha.sync();
        beta.sync();
        let backup = alpha.save();
        for (title, scope) in [("narrowed", "trusted"), ("withdrawn", "private"), ("widened", "public")] {
            alpha.app.set_scope("help_requests", id_of(&alpha, title), scope);
        }
        alpha.app.execute("DELETE FROM help_requests WHERE title = 'deleted'", &[]);
        alpha.sync();
        beta.sync();
        parts.iter().for_each(|part| put_back(&alpha, &backup, *part));
        for title in ["narrowed", "withdrawn", "deleted", "left", "widened", "opened"] {
            alpha.edit(id_of(&alpha, title), "description", &format!("{WORD} {title}"));
        }
        alpha.app.set_scope("help_requests", id_of(&alpha, "opened"), "public");
        let summary = restore(&alpha);
        beta.sync();
        let scopes = ["narrowed", "withdrawn", "left", "widened", "opened"].map(|title| {
            assert_eq!(description(&alpha, title), format!("{WORD} {title}"), "{part}");
            alpha.app.value(&format!("SELECT sync_scope FROM help_requests WHERE title = '{title}'"))
        });
        assert_eq!(scopes, ["trusted", "private", "public", "trusted", "public"], "{part}: {:?}", summary.rows);
        assert!(summary.rows.kept_home.len() == 1 + usize::from(part == "both"), "{:?}", summary.rows);
        let public = |site: &Site| {
            let sql = "(SELECT * FROM help_requests WHERE sync_scope = 'public')";
            site.app.dump_columns(sql, &["title", "description"])
        };
        assert_eq!(public(&beta), public(&alpha), "{part}");
        // What is deleted by one and edited by the other lives on; who lost the deletion can't tell it from a withdrawal.
        assert_eq!(public(&beta).contains("deleted"), part == "database", "{}", public(&beta));
        let shown = fs::read(beta.app.db_path()).unwrap();
        for title in ["narrowed", "withdrawn", "widened"] {
            let word = format!("{WORD} {title}");
            assert!(!shown.windows(word.len()).any(|window| window == word.as_bytes()), "{part}: {word}");
        }
    }
}
