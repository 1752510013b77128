//! Pruning: rows of others and history of our own go here, and nobody else loses anything by it.

use wbsync::exchange::health::Depth;
use wbsync::id::name::ScopeName;
use wbsync::state::peers::Trust;
use wbsync::sync::commit::Mode;
use wbsync::sync::error::Error;
use wbsync::sync::prune::{OldRecords, PruneOptions, Pruned};
use wbsync::sys::clock::{self, UnixMillis};

use super::crash::{Part, put_back};
use super::world::{Site, Stick, pair};

fn records(before: UnixMillis) -> PruneOptions {
    let records = Some(OldRecords { before, datasets: Vec::new(), from: None });
    PruneOptions { history_before: None, records, ..PruneOptions::default() }
}

fn prune(site: &Site, options: &PruneOptions) -> Pruned {
    site.open().prune(options, Mode::Keep).unwrap()
}

/// A moment after everything so far, and before everything that follows.
fn a_moment() -> UnixMillis {
    let now = clock::now();
    while clock::now() <= now {
        std::thread::yield_now();
    }
    UnixMillis(now.0 + 1)
}

fn titles(site: &Site) -> Vec<String> {
    let dump = site.app.dump_columns("(SELECT * FROM help_requests WHERE title IS NOT NULL)", &["title"]);
    dump.lines().map(|line| line.trim().to_owned()).filter(|line| !line.is_empty()).collect()
}

fn has(site: &Site, title: &str) -> bool {
    titles(site).iter().any(|line| line.contains(title))
}

fn id_of(site: &Site, title: &str) -> i64 {
    site.app.value(&format!("SELECT id FROM help_requests WHERE title = '{title}'")).parse().unwrap()
}

fn assert_sound(site: &Site) {
    let report = site.open().fsck(Depth::Contents).unwrap();
    assert!(report.findings.iter().all(|finding| !finding.damage), "{:?}", report.findings);
    site.app.assert_whole();
}

/// Alpha with three requests of alice's, of which two have comments; all three are old when this returns.
fn old() -> (Stick, Site, Site, i64, UnixMillis) {
    let (stick, alpha, beta) = pair(Some(Trust::Writer));
    let alice = alpha.app.insert_user("alice", "public");
    for title in ["plain", "discussed", "disputed"] {
        let request = alpha.request(alice, title, "public");
        if title == "discussed" {
            alpha.app.insert_comment(request, alice, "an old word", "public");
        }
    }
    for site in [&alpha, &beta, &alpha] {
        site.sync();
    }
    let moment = a_moment();
    (stick, alpha, beta, alice, moment)
}

#[test]
fn what_is_pruned_stays_away_here_and_is_deleted_nowhere() {
    let (_stick, alpha, beta, _, moment) = old();
    let before = (alpha.app.dump("help_requests"), alpha.local_heads());
    let would = beta.open().prune(&records(moment), Mode::DryRun).unwrap();
    let pruned = prune(&beta, &records(moment));
    assert_eq!(would.rows, pruned.rows);
    assert_eq!(pruned.rows.values().sum::<u64>(), 5, "three requests, a comment, and their author: {pruned:?}");
    assert!(titles(&beta).is_empty(), "{:?}", titles(&beta));
    assert_sound(&beta);
    for _ in 0..2 {
        for site in [&beta, &alpha, &beta] {
            site.sync();
        }
    }
    assert!(titles(&beta).is_empty());
    assert_eq!((alpha.app.dump("help_requests"), alpha.local_heads()), before);
    assert_eq!(beta.local_heads(), before.1, "roots are what they were");
    assert!(prune(&beta, &records(moment)).rows.is_empty(), "nothing is left to prune");
    // And back, if that is wanted.
    let back = beta.open().undo_prune(&[], None, Mode::Keep).unwrap();
    assert_eq!(back.rows(), 5);
    assert_eq!(titles(&beta).len(), 3);
    assert_sound(&beta);
    beta.sync();
    assert_eq!(beta.local_heads(), before.1);
}

#[test]
fn an_edit_elsewhere_shows_the_record_again_with_what_it_belongs_to() {
    let (_stick, alpha, beta, alice, moment) = old();
    prune(&beta, &records(moment));
    alpha.edit(id_of(&alpha, "plain"), "description", "written since");
    alpha.app.insert_comment(id_of(&alpha, "discussed"), alice, "a new word", "public");
    alpha.sync();
    beta.sync();
    assert!(has(&beta, "plain") && has(&beta, "discussed") && !has(&beta, "disputed"), "{:?}", titles(&beta));
    let comments =
        "request_comments c JOIN help_requests r ON r.id = c.help_request_id JOIN users u ON u.id = c.user_id";
    let comments = beta.app.dump_columns(comments, &["c.body", "r.title", "u.username"]);
    assert!(
        comments.contains("a new word") && comments.contains("discussed") && comments.contains("alice"),
        "{comments}"
    );
    assert!(!comments.contains("an old word"), "nobody has touched that one: {comments}");
    assert_sound(&beta);
    // A deletion elsewhere finds nothing to delete, and what was away is away for good.
    alpha.app.execute("DELETE FROM help_requests WHERE title = 'disputed'", &[]);
    alpha.sync();
    beta.sync();
    beta.open().undo_prune(&[], None, Mode::Keep).unwrap();
    assert!(!has(&beta, "disputed"));
    assert_sound(&beta);
}

#[test]
fn rows_that_are_referred_to_or_disputed_or_edited_here_stay() {
    let (_stick, alpha, beta, _, moment) = old();
    let bob = beta.app.insert_user("bob", "public");
    beta.app.insert_comment(id_of(&beta, "discussed"), bob, "my word", "public");
    // Not committed yet: prune takes it in first.
    beta.edit(id_of(&beta, "plain"), "description", "edited at beta");
    for (site, text) in [(&alpha, "here"), (&beta, "there")] {
        site.edit(id_of(site, "disputed"), "description", text);
    }
    let pruned = prune(&beta, &records(moment));
    assert_eq!(titles(&beta).len(), 3, "{pruned:?}");
    assert!(pruned.kept >= 2, "the request with a comment, and its author: {pruned:?}");
    for site in [&beta, &alpha, &beta] {
        site.sync();
    }
    // In doubt about a field, both sides are old by now.
    let pruned = prune(&beta, &records(a_moment()));
    assert!(has(&beta, "disputed") && has(&beta, "discussed") && !has(&beta, "plain"), "{pruned:?}");
    assert_sound(&beta);
    assert!(alpha.app.dump("help_requests").contains("edited at beta"), "what was written here is not lost");
}

#[test]
fn a_row_stays_where_its_deletion_would_take_others_along() {
    let (_stick, _alpha, beta, _, moment) = old();
    let sql = "CREATE TABLE local_notes (id INTEGER PRIMARY KEY, text TEXT,
        request INTEGER REFERENCES help_requests ON DELETE CASCADE)";
    beta.app.db().execute_batch(sql).unwrap();
    beta.app.execute("INSERT INTO local_notes (text, request) VALUES ('mine', ?1)", &[&id_of(&beta, "plain")]);
    let pruned = prune(&beta, &records(moment));
    assert!(has(&beta, "plain") && !has(&beta, "disputed"), "{pruned:?}");
    assert_eq!(beta.app.value("SELECT text FROM local_notes"), "mine");
    assert_sound(&beta);
}

/// Prune on one side, edits on both others, and one of them was away for long.
#[test]
fn who_was_away_merges_with_what_is_pruned_and_with_pruned_history() {
    let (stick, alpha, beta, alice, _) = old();
    let gamma = Site::new("gamma");
    gamma.uses(&stick);
    for (one, other) in [(&alpha, &gamma), (&gamma, &alpha), (&beta, &gamma), (&gamma, &beta)] {
        one.knows(other, Some(Trust::Writer));
    }
    for site in [&alpha, &beta, &gamma, &alpha, &beta, &gamma, &alpha] {
        site.sync();
    }
    // Gamma is away from here on, and edits.
    gamma.edit(id_of(&gamma, "plain"), "description", "from far away");
    for round in 0..12 {
        alpha.edit(id_of(&alpha, "discussed"), "description", &format!("round {round}"));
        alpha.sync();
    }
    beta.sync();
    alpha.sync();
    let nodes = alpha.open().state.node_count().unwrap();
    let history = PruneOptions { history_before: Some(a_moment()), records: None, ..PruneOptions::default() };
    let pruned = prune(&alpha, &history);
    let public = &pruned.history[ScopeName::public().as_str()];
    assert_eq!(public.held_back_by.as_deref(), Some("gamma"), "{pruned:?}");
    prune(&beta, &records(a_moment()));
    alpha.request(alice, "another", "public");
    for _ in 0..3 {
        for site in [&alpha, &beta, &gamma] {
            site.sync();
        }
    }
    for site in [&alpha, &gamma] {
        assert!(site.app.dump("help_requests").contains("from far away"), "{}", site.name);
        assert!(has(site, "another"));
    }
    assert!(has(&beta, "plain") && has(&beta, "another"), "what changed is back: {:?}", titles(&beta));
    assert_eq!(alpha.local_heads(), gamma.local_heads());
    assert_eq!(alpha.local_heads(), beta.local_heads());
    // Now that gamma has caught up, what it held back goes.
    let pruned = prune(&alpha, &history);
    assert!(pruned.history[ScopeName::public().as_str()].held_back_by.is_none(), "{pruned:?}");
    assert!(alpha.open().state.node_count().unwrap() < nodes, "{nodes}");
    for site in [&alpha, &beta, &gamma] {
        assert_sound(site);
    }
}

/// A peer that never returns holds nothing back for ever; if it returns after all, what it wrote is merged.
#[test]
fn who_is_left_out_of_account_holds_nothing_back_and_loses_nothing() {
    let (stick, alpha, beta, _, _) = old();
    let gamma = Site::new("gamma");
    gamma.uses(&stick);
    for (one, other) in [(&alpha, &gamma), (&gamma, &alpha), (&beta, &gamma), (&gamma, &beta)] {
        one.knows(other, Some(Trust::Writer));
    }
    for site in [&alpha, &beta, &gamma, &alpha, &beta, &gamma, &alpha] {
        site.sync();
    }
    gamma.edit(id_of(&gamma, "plain"), "description", "from far away");
    for round in 0..12 {
        alpha.edit(id_of(&alpha, "discussed"), "description", &format!("round {round}"));
        alpha.sync();
        beta.sync();
    }
    alpha.sync();
    let history = PruneOptions { history_before: Some(a_moment()), ..PruneOptions::default() };
    let would = alpha.open().prune(&history, Mode::DryRun).unwrap();
    let public = &would.history[ScopeName::public().as_str()];
    let shown: Vec<_> = public.behind.iter().map(|peer| (peer.name.as_str(), peer.head, peer.counts)).collect();
    assert!(shown.starts_with(&[("gamma", public.from_head, true)]), "{would:?}");
    let without = PruneOptions { without: vec!["gamma".into()], ..history };
    let pruned = prune(&alpha, &without);
    let public = &pruned.history[ScopeName::public().as_str()];
    assert!(public.from_head > shown[0].1 && public.held_back_by.as_deref() != Some("gamma"), "{pruned:?}");
    assert!(public.behind.iter().any(|peer| peer.name == "gamma" && !peer.counts), "{pruned:?}");
    assert!(pruned.removed_nodes > would.removed_nodes, "{pruned:?}");
    alpha.sync();
    // It returns, and pushes what it wrote before it has heard of anything.
    gamma.open().commit(Mode::Keep).unwrap();
    gamma.push();
    for _ in 0..2 {
        for site in [&alpha, &gamma, &beta] {
            site.try_pull(super::world::STICK).unwrap();
            site.push();
        }
    }
    for site in [&alpha, &beta, &gamma] {
        site.sync();
        assert!(site.app.dump("help_requests").contains("from far away"), "{}", site.name);
        assert_eq!(site.local_heads(), alpha.local_heads(), "{}", site.name);
        assert_sound(site);
    }
}

/// Somebody without receipts, who stands before all that is kept, takes the snapshot and merges all the same.
#[test]
fn below_the_floor_a_snapshot_serves_and_nothing_of_old_is_in_any_object() {
    let (stick, alpha, beta, alice, _) = old();
    for round in 0..10 {
        alpha.edit(id_of(&alpha, "plain"), "description", &format!("sEcret word {round}"));
        alpha.sync();
        if round == 2 {
            beta.sync();
        }
    }
    alpha.app.execute("DELETE FROM help_requests WHERE title = 'disputed'", &[]);
    alpha.sync();
    beta.edit(id_of(&beta, "discussed"), "description", "by one without a receipt");
    // As if its receipts had never come.
    let state = rusqlite::Connection::open(alpha.app.dir().join(".wbsync/state.db")).unwrap();
    state.execute("DELETE FROM receipt", []).unwrap();
    drop(state);
    alpha.open().state.recount("receipt").unwrap();
    let pruned =
        prune(&alpha, &PruneOptions { history_before: Some(a_moment()), records: None, ..PruneOptions::default() });
    let public = &pruned.history[ScopeName::public().as_str()];
    assert!(public.refolds && public.from_head == public.newest_head && pruned.removed_nodes > 0, "{pruned:?}");
    // Looking at what is gone says so, or leaves it out.
    let records = alpha.records();
    let instance = alpha.open();
    let log = instance.log(Some("public"), 1000).unwrap();
    let oldest = log.last().unwrap().commit.to_string();
    assert!(matches!(instance.revert(&oldest, Mode::Keep), Err(Error::NotRevertible { .. })));
    let newest = log.first().unwrap().commit.to_string();
    assert!(matches!(instance.diff(&oldest, &newest), Err(Error::NotHeld { .. })));
    instance.show(&oldest).unwrap();
    for (_, record, _) in records {
        instance.blame(&record).unwrap();
        instance.log_record(&record, 100).unwrap();
    }
    drop(instance);
    alpha.request(alice, "after", "public");
    alpha.push();
    let said: Vec<String> = alpha
        .unseal(&stick.path(), &Default::default())
        .into_iter()
        .map(|(_, _, plain)| String::from_utf8_lossy(&plain).into_owned())
        .collect();
    assert!(said.iter().any(|plain| plain.contains("sEcret word 9")));
    assert!(said.iter().all(|plain| !plain.contains("sEcret word 3") && !plain.contains("disputed")));
    for site in [&beta, &alpha, &beta] {
        site.sync();
    }
    assert_eq!(alpha.local_heads(), beta.local_heads());
    assert!(alpha.app.dump("help_requests").contains("by one without a receipt") && has(&beta, "after"));
    for site in [&alpha, &beta] {
        assert_sound(site);
    }
}

/// The process ends after it has noted what goes and before the rows went.
#[test]
fn pruning_that_was_interrupted_is_finished_by_the_next() {
    let (_stick, _alpha, beta, _, moment) = old();
    // Captures and applies what it finds, and removes no row.
    beta.open().prune(&records(UnixMillis(0)), Mode::Keep).unwrap();
    let before = beta.save();
    let first = prune(&beta, &records(moment));
    assert!(!first.rows.is_empty());
    put_back(&beta, &before, Part::App);
    assert!(has(&beta, "plain"), "the rows are there, and noted as pruned");
    assert_eq!(prune(&beta, &records(moment)).rows, first.rows);
    assert!(!has(&beta, "plain"));
    assert_sound(&beta);
    let third = prune(&beta, &records(moment));
    assert!(third.rows.is_empty(), "{third:?}");
}
