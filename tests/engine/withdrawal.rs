//! What is withdrawn leaves history: the objects that carried it, the followers' applications and their states.

use std::collections::BTreeSet;
use std::path::Path;

use wbsync::id::name::{PeerName, ScopeName};
use wbsync::state::peers::Trust;
use wbsync::sync::commit::Mode;
use wbsync::testing::prng::Prng;

use super::folding::head_of;
use super::world::{STICK, Saved, Site, Stick, clone, files_under, pair};

pub const WORD: &str = "zqsecret";

fn holds(bytes: &[u8]) -> bool {
    bytes.windows(WORD.len()).any(|window| window == WORD.as_bytes())
}

/// The sealed objects under a store that decrypt to the word.
pub fn carriers(site: &Site, store: &Path) -> Vec<String> {
    let opened = site.unseal(store, &BTreeSet::new());
    opened.into_iter().filter(|(_, _, plain)| holds(plain)).map(|(path, _, _)| path).collect()
}

pub fn own_store(site: &Site) -> std::path::PathBuf {
    site.app.dir().join(".wbsync/store")
}

fn objects(stick: &Stick) -> usize {
    stick.files().iter().filter(|path| path.starts_with("objects/")).count()
}

fn same_roots(alpha: &Site, beta: &Site) {
    let roots = alpha.roots(alpha, &ScopeName::public());
    assert!(roots.is_some());
    assert_eq!(beta.roots(alpha, &ScopeName::public()), roots);
}

/// A request with the word that travelled through several heads, among others; returns its key.
fn travelled(stick: &Stick, alpha: &Site, beta: &Site) -> i64 {
    let alice = alpha.app.insert_user("alice", "public");
    let ladder = alpha.request(alice, &format!("{WORD} ladder"), "public");
    for number in 0..4 {
        alpha.request(alice, &format!("request {number}"), "public");
        alpha.sync();
        beta.pull();
    }
    alpha.edit(ladder, "description", &format!("more of {WORD}"));
    alpha.sync();
    assert!(!carriers(alpha, &stick.path()).is_empty(), "it travels");
    ladder
}

#[test]
fn a_followers_database_keeps_no_words_of_it_where_rows_were() {
    let (stick, alpha, beta) = pair(None);
    let ladder = travelled(&stick, &alpha, &beta);
    let file = || std::fs::read(beta.app.db_path()).unwrap();
    assert!(holds(&file()));
    alpha.app.set_scope("help_requests", ladder, "private");
    alpha.sync();
    beta.pull();
    assert!(!holds(&file()));
}

#[test]
fn after_the_next_push_no_object_decrypts_to_what_was_withdrawn() {
    let (stick, alpha, beta) = pair(None);
    let ladder = travelled(&stick, &alpha, &beta);
    let gone = alpha.request(1, "request 9", "public");
    alpha.sync();
    // Beta stands a few heads back and must catch up over the withdrawal.
    alpha.app.set_scope("help_requests", ladder, "private");
    alpha.app.execute("DELETE FROM help_requests WHERE id = ?1", &[&gone]);
    alpha.pull();
    let push = alpha.push();
    assert!(push.removed > 0 && push.unremoved == 0, "{push:?}");
    assert_eq!(carriers(&alpha, &stick.path()), Vec::<String>::new());
    assert_eq!(carriers(&alpha, &own_store(&alpha)), Vec::<String>::new());
    let head = |at: &Path| files_under(at).into_iter().filter(|path| path.starts_with("objects/")).collect::<Vec<_>>();
    assert_eq!(head(&stick.path()), head(&own_store(&alpha)), "nothing but the fresh ladder is left");
    let pull = beta.pull();
    assert_eq!(pull.merge.applied.deleted.values().sum::<u64>(), 1, "{:?}", pull.merge.applied);
    same_roots(&alpha, &beta);
    let gamma = clone(&stick, "gamma");
    same_roots(&alpha, &gamma);
    assert_eq!(alpha.push().heads, 0, "once is enough");
    let (before, again) = (stick.files(), alpha.push());
    assert_eq!((again.removed, stick.files()), (0, before));
}

#[test]
fn a_follower_that_is_behind_catches_up_over_the_fresh_ladder_by_its_delta() {
    let (stick, alpha, beta) = pair(None);
    let alice = alpha.app.insert_user("alice", "public");
    let mut random = Prng::new(3);
    let text = |random: &mut Prng| (0..400).map(|_| char::from(b'a' + random.below(26) as u8)).collect::<String>();
    for _ in 0..200 {
        alpha.request(alice, &text(&mut random), "public");
    }
    alpha.sync();
    beta.pull();
    let ladder = alpha.request(alice, &format!("{WORD} ladder"), "public");
    alpha.sync();
    alpha.app.set_scope("help_requests", ladder, "private");
    alpha.pull();
    let push = alpha.push();
    let pull = beta.pull();
    let fetched: u64 = pull.fetched.remotes.values().map(|fetched| fetched.bytes).sum();
    println!("pushed {} bytes for one withdrawal of 201 records; a follower fetched {fetched}", push.bytes);
    assert!(fetched > 0 && fetched * 10 < push.bytes, "{fetched} of {}", push.bytes);
    same_roots(&alpha, &beta);
    assert_eq!(carriers(&alpha, &stick.path()), Vec::<String>::new());
}

#[test]
fn what_never_travelled_costs_no_fresh_ladder() {
    let (stick, alpha, beta) = pair(None);
    travelled(&stick, &alpha, &beta);
    let before = objects(&stick);
    let cellar = alpha.request(1, "cellar", "public");
    alpha.open().commit(Mode::Keep).unwrap();
    alpha.app.set_scope("help_requests", cellar, "private");
    alpha.pull();
    let push = alpha.push();
    assert_eq!((push.removed, push.heads), (0, 1), "{push:?}");
    assert!(objects(&stick) > before, "the old objects stay");
    assert!(!carriers(&alpha, &stick.path()).is_empty());
}

#[test]
fn back_and_forth_leaves_what_is_shared_now() {
    let (stick, alpha, beta) = pair(None);
    let ladder = travelled(&stick, &alpha, &beta);
    for (scope, shown) in [("private", "0"), ("public", "1"), ("private", "0"), ("public", "1")] {
        alpha.app.set_scope("help_requests", ladder, scope);
        alpha.sync();
        beta.pull();
        let sql = format!("SELECT count(*) FROM help_requests WHERE title = '{WORD} ladder'");
        assert_eq!(beta.app.value(&sql), shown);
        assert_eq!(carriers(&alpha, &stick.path()).is_empty(), shown == "0");
        same_roots(&alpha, &beta);
    }
}

/// After a crash at any of these points the next push finishes.
#[test]
fn a_crash_between_the_steps_leaves_nothing_behind() {
    for at in ["committed", "published", "store lost", "head moved"] {
        let (stick, alpha, beta) = pair(None);
        let ladder = travelled(&stick, &alpha, &beta);
        let store = Saved::of(&own_store(&alpha));
        alpha.app.set_scope("help_requests", ladder, "private");
        alpha.open().commit(Mode::Keep).unwrap();
        match at {
            "committed" => {}
            "published" => drop(alpha.open().publish().unwrap()),
            // The state knows the new head, the store doesn't: a crash before the store was written.
            "store lost" => {
                alpha.open().publish().unwrap();
                store.restore(&own_store(&alpha));
            }
            // The head moved there and nothing was removed.
            _ => {
                let old = Saved::of(&stick.path());
                alpha.open().publish().unwrap();
                let published = alpha.save();
                alpha.push();
                let objects = stick.path().join("objects");
                super::world::copy_tree(&old.path().join("objects"), &objects);
                alpha.restore(&published);
                assert!(!carriers(&alpha, &stick.path()).is_empty());
            }
        }
        alpha.sync();
        assert_eq!(carriers(&alpha, &stick.path()), Vec::<String>::new(), "{at}: on the stick");
        assert_eq!(carriers(&alpha, &own_store(&alpha)), Vec::<String>::new(), "{at}: in our own store");
        beta.pull();
        same_roots(&alpha, &beta);
    }
}

#[test]
fn every_remote_is_cleaned_when_its_turn_comes() {
    let (stick, alpha, beta) = pair(None);
    let other = Stick::new();
    alpha.uses_as(&other, "other");
    let ladder = travelled(&stick, &alpha, &beta);
    alpha.try_push("other").unwrap();
    assert!(!carriers(&alpha, &other.path()).is_empty());
    alpha.app.set_scope("help_requests", ladder, "private");
    alpha.sync();
    assert!(!carriers(&alpha, &other.path()).is_empty(), "that one was not pushed to");
    alpha.request(1, "later", "public");
    alpha.sync();
    let push = alpha.try_push("other").unwrap();
    assert!(push.removed > 0, "{push:?}");
    assert_eq!(carriers(&alpha, &other.path()), Vec::<String>::new());
    let name = PeerName::new("other").unwrap();
    let scopes = alpha.open().state.scopes().unwrap();
    assert!(scopes.iter().all(|row| alpha.open().state.spent(&name, &row.id).unwrap().is_empty()));
}

/// The files of an instance's own that hold the word in clear.
fn remembers(site: &Site) -> Vec<String> {
    let dir = site.app.dir().join(".wbsync");
    files_under(&dir).into_iter().filter(|file| holds(&std::fs::read(dir.join(file)).unwrap())).collect()
}

#[test]
fn a_followers_state_forgets_what_was_withdrawn() {
    let (stick, alpha, beta) = pair(None);
    let alice = alpha.app.insert_user("alice", "public");
    let mut random = Prng::new(5);
    let mut ladders = Vec::new();
    for number in 0..300 {
        let filler: String = (0..random.below(3000)).map(|_| char::from(b'a' + random.below(26) as u8)).collect();
        if number % 3 == 0 {
            ladders.push(alpha.request(alice, &format!("{WORD} {filler} {WORD}"), "public"));
        } else {
            alpha.request(alice, &filler, "public");
        }
        if number % 60 == 0 {
            alpha.sync();
            beta.pull();
        }
    }
    alpha.sync();
    beta.pull();
    assert!(!remembers(&beta).is_empty());
    for ladder in ladders {
        alpha.app.set_scope("help_requests", ladder, "private");
    }
    alpha.sync();
    let head = beta.local_heads();
    beta.pull();
    assert_ne!(beta.local_heads(), head);
    assert_eq!(remembers(&beta), Vec::<String>::new());
    assert!(!remembers(&alpha).is_empty(), "its own data stays with the origin");
    // The history that is left is of use.
    same_roots(&alpha, &beta);
    alpha.request(alice, "after", "public");
    alpha.sync();
    beta.pull();
    same_roots(&alpha, &beta);
    let log = beta.open().log(None, 1000).unwrap();
    let swept = log.last().unwrap().commit.to_string();
    let error = beta.open().diff(&swept, &log[0].commit.to_string()).unwrap_err();
    assert!(matches!(error, wbsync::sync::error::Error::NotHeld { .. }) && error.hint().is_some(), "{error:?}");
    assert!(beta.open().sweep().unwrap().removed > 0, "nodes of the tree before");
    same_roots(&alpha, &beta);
    same_roots(&alpha, &clone(&stick, "gamma"));
}

#[test]
fn an_interrupted_pull_forgets_at_the_next_one_and_a_quiet_pull_sweeps_nothing() {
    let (stick, alpha, beta) = pair(None);
    let ladder = travelled(&stick, &alpha, &beta);
    beta.pull();
    alpha.app.set_scope("help_requests", ladder, "private");
    alpha.sync();
    let instance = beta.open();
    let name = PeerName::new("stick").unwrap();
    instance.fetch(&name).unwrap();
    instance.merge().unwrap();
    assert!(instance.state.sweep_due().unwrap(), "the note is as durable as the head");
    drop(instance);
    assert!(!remembers(&beta).is_empty(), "the rows still show it");
    beta.pull();
    assert_eq!(remembers(&beta), Vec::<String>::new());
    assert!(!beta.open().state.sweep_due().unwrap());
    alpha.request(1, "after", "public");
    alpha.sync();
    beta.pull();
    let swept = beta.open().sweep().unwrap();
    assert!(swept.removed > 0, "the pull before left the older trees: nothing was withdrawn");
}

#[test]
fn a_local_comment_under_a_withdrawn_request_survives_under_a_placeholder() {
    let (stick, alpha, beta) = pair(None);
    let ladder = travelled(&stick, &alpha, &beta);
    beta.pull();
    let bob = beta.app.insert_user("bob", "private");
    let there: i64 =
        beta.app.value(&format!("SELECT id FROM help_requests WHERE title LIKE '{WORD}%'")).parse().unwrap();
    beta.app.insert_comment(there, bob, "mine", "private");
    beta.pull();
    alpha.app.set_scope("help_requests", ladder, "private");
    alpha.sync();
    let applied = beta.pull().merge.applied;
    assert_eq!((applied.blanked.values().sum::<u64>(), applied.deleted.len()), (1, 0), "{applied:?}");
    assert_eq!(beta.app.value("SELECT body FROM request_comments"), "mine");
    assert_eq!(beta.app.value(&format!("SELECT count(*) FROM help_requests WHERE title LIKE '{WORD}%'")), "0");
    let status = beta.open().status().unwrap();
    assert_eq!(status.placeholders.values().sum::<u64>(), 1, "{status:?}");
    assert_eq!(remembers(&beta), Vec::<String>::new());
    beta.app.assert_whole();
}

/// A request with the word that alpha published and beta, a writer, edited; returns alpha's key.
pub fn edited_by_a_writer(alpha: &Site, beta: &Site) -> i64 {
    let alice = alpha.app.insert_user("alice", "public");
    let ladder = alpha.request(alice, "ladder", "public");
    for site in [alpha, beta, alpha, beta] {
        site.sync();
    }
    let there: i64 = beta.app.value("SELECT id FROM help_requests WHERE title = 'ladder'").parse().unwrap();
    beta.edit(there, "title", &format!("{WORD} ladder"));
    beta.sync();
    ladder
}

#[test]
fn a_writers_head_that_carried_it_goes_too_and_newcomers_still_believe_the_origin() {
    let (stick, alpha, beta) = pair(Some(Trust::Writer));
    let ladder = edited_by_a_writer(&alpha, &beta);
    alpha.sync();
    assert_eq!(alpha.app.value("SELECT title FROM help_requests"), format!("{WORD} ladder"));
    let (of_alpha, of_beta) = (alpha.card().card.instance, beta.card().card.instance);
    let rows = alpha.open().state.scopes_of(&of_alpha).unwrap();
    let public = rows.into_iter().find(|row| row.name == ScopeName::public()).unwrap().id;
    let in_public = |stick: &Stick| stick.files().contains(&format!("scopes/{public}/heads/{of_beta}"));
    assert!(in_public(&stick));
    alpha.app.set_scope("help_requests", ladder, "private");
    alpha.sync();
    assert_eq!(carriers(&alpha, &stick.path()), Vec::<String>::new());
    assert_eq!(carriers(&alpha, &own_store(&alpha)), Vec::<String>::new());
    assert!(!in_public(&stick), "the writer's head is gone");
    // Whoever comes now finds no head of beta's, and still a proof that beta wrote what alpha claims to have seen.
    let gamma = clone(&stick, "gamma");
    same_roots(&alpha, &gamma);
    // The writer takes its head back itself.
    beta.sync();
    assert_eq!(carriers(&beta, &own_store(&beta)), Vec::<String>::new());
    assert_eq!(carriers(&alpha, &stick.path()), Vec::<String>::new());
    assert_eq!(remembers(&beta), Vec::<String>::new());
    assert!(in_public(&stick), "with an empty head");
    for site in [&alpha, &beta] {
        site.pull();
    }
    gamma.try_pull("origin").unwrap();
    same_roots(&alpha, &beta);
    same_roots(&alpha, &gamma);
    // And goes on writing.
    beta.request(1, "of beta", "public");
    let other = alpha.request(1, "stool", "public");
    alpha.sync();
    beta.sync();
    let there: i64 = beta.app.value("SELECT id FROM help_requests WHERE title = 'stool'").parse().unwrap();
    beta.edit(there, "title", "high stool");
    beta.sync();
    alpha.sync();
    assert_eq!(alpha.app.value(&format!("SELECT title FROM help_requests WHERE id = {other}")), "high stool");
}

#[test]
fn a_writers_edit_that_comes_late_is_taken_out_with_its_objects() {
    let (stick, alpha, beta) = pair(Some(Trust::Writer));
    let alice = alpha.app.insert_user("alice", "public");
    let ladder = alpha.request(alice, "ladder", "public");
    for site in [&alpha, &beta, &alpha, &beta] {
        site.sync();
    }
    // Both at once: alpha withdraws, beta edits.
    alpha.app.set_scope("help_requests", ladder, "private");
    let there: i64 = beta.app.value("SELECT id FROM help_requests WHERE title = 'ladder'").parse().unwrap();
    beta.edit(there, "title", &format!("{WORD} ladder"));
    alpha.sync();
    beta.sync();
    assert!(!carriers(&alpha, &stick.path()).is_empty(), "beta has not heard of the withdrawal when it writes");
    alpha.sync();
    assert_eq!(carriers(&alpha, &stick.path()), Vec::<String>::new());
    beta.sync();
    alpha.sync();
    beta.sync();
    assert_eq!(carriers(&alpha, &stick.path()), Vec::<String>::new());
    for site in [&alpha, &beta] {
        assert_eq!(carriers(site, &own_store(site)), Vec::<String>::new(), "{}", site.name);
    }
    assert_eq!(beta.app.value("SELECT count(*) FROM help_requests"), "0");
    let late = alpha.open().late_edits(None).unwrap();
    assert!(late.iter().any(|late| late.field == "title" && late.author == "beta"), "{late:?}");
    assert!(late.iter().all(|late| ["title", "updated_at"].contains(&late.field.as_str())), "{late:?}");
    assert_eq!(remembers(&beta), Vec::<String>::new());
    same_roots(&alpha, &beta);
    same_roots(&alpha, &clone(&stick, "gamma"));
}

#[test]
fn readers_confirm_a_withdrawal_and_a_sync_of_nothing_writes_nothing() {
    let (stick, alpha, beta) = pair(Some(Trust::Trusted));
    let alice = alpha.app.insert_user("alice", "trusted");
    let ladder = alpha.request(alice, &format!("{WORD} ladder"), "trusted");
    alpha.sync();
    beta.sync();
    assert!(alpha.open().confirmations(None).unwrap().is_empty());
    alpha.app.set_scope("help_requests", ladder, "private");
    alpha.open().commit(Mode::Keep).unwrap();
    let [unpublished] = &alpha.open().confirmations(None).unwrap()[..] else { panic!() };
    assert_eq!((unpublished.head, &unpublished.waiting[..]), (None, &["beta".to_owned()][..]));
    alpha.sync();
    let [sent] = &alpha.open().confirmations(Some("requests/")).unwrap()[..] else { panic!() };
    assert!(sent.head.is_some() && sent.confirmed.is_empty() && sent.waiting == ["beta"], "{sent:?}");
    beta.pull();
    alpha.pull();
    assert_eq!(alpha.open().confirmations(None).unwrap()[0].waiting, ["beta"], "it has pulled and not pushed");
    let push = beta.push();
    assert!(push.receipts > 0, "{push:?}");
    alpha.pull();
    let [done] = &alpha.open().confirmations(None).unwrap()[..] else { panic!() };
    assert!(done.waiting.is_empty() && done.confirmed.len() == 1 && done.confirmed[0].peer == "beta", "{done:?}");
    assert!(alpha.open().confirmations(Some("requests/zz")).is_err());
    for site in [&alpha, &beta, &alpha, &beta] {
        site.sync();
    }
    let before = stick.files().into_iter().map(|file| (std::fs::read(stick.path().join(&file)).unwrap(), file));
    let before: Vec<_> = before.collect();
    for site in [&beta, &alpha] {
        site.sync();
    }
    for (bytes, file) in &before {
        assert!(std::fs::read(stick.path().join(file)).unwrap() == *bytes, "{file}");
    }
    assert_eq!(stick.files().len(), before.len());
    // What a receipt of a scope that isn't public says is sealed.
    let clear = before.iter().filter(|(_, file)| file.contains("/receipts/"));
    let signers = [&alpha, &beta].map(|site| site.card().card.instance);
    let named =
        |bytes: &[u8]| signers.iter().filter(|id| bytes.windows(32).any(|window| window == id.as_bytes())).count();
    assert!(clear.clone().count() > 0);
    for (bytes, file) in clear {
        assert!(named(bytes) <= 1, "{file} names more than its own signer");
    }
}

#[test]
fn a_store_that_holds_an_older_head_of_a_writer_is_cleaned_too() {
    let (stick, alpha, beta) = pair(Some(Trust::Writer));
    let other = Stick::new();
    alpha.uses_as(&other, "other");
    let ladder = edited_by_a_writer(&alpha, &beta);
    alpha.sync();
    alpha.try_push("other").unwrap();
    assert!(!carriers(&alpha, &other.path()).is_empty());
    // Beta's next head replaces the one that the other store holds.
    beta.sync();
    beta.request(1, "of beta", "public");
    let there: i64 = beta.app.value("SELECT min(id) FROM help_requests").parse().unwrap();
    beta.edit(there, "description", &format!("{WORD} again"));
    beta.sync();
    alpha.sync();
    alpha.app.set_scope("help_requests", ladder, "private");
    alpha.sync();
    alpha.try_push("other").unwrap();
    for store in [stick.path(), other.path(), own_store(&alpha)] {
        assert_eq!(carriers(&alpha, &store), Vec::<String>::new(), "{}", store.display());
    }
    same_roots(&alpha, &clone(&other, "gamma"));
}

#[test]
fn an_edit_where_one_may_not_write_does_not_hold_what_was_withdrawn() {
    let (_stick, alpha, beta) = pair(None);
    let alice = alpha.app.insert_user("alice", "public");
    let ladder = alpha.request(alice, &format!("{WORD} ladder"), "public");
    let drill = alpha.request(alice, "drill", "public");
    alpha.sync();
    beta.sync();
    // beta may not write in alpha's scope: its edits stay there.
    for title in [format!("{WORD} ladder"), "drill".into()] {
        beta.app.execute("UPDATE help_requests SET description = 'ours now' WHERE title = ?1", &[&title]);
    }
    beta.sync();
    alpha.app.set_scope("help_requests", ladder, "private");
    alpha.sync();
    beta.sync();
    alpha.pull();
    assert_eq!(beta.app.value("SELECT group_concat(title) FROM help_requests"), "drill");
    let [withdrawal] = &alpha.open().confirmations(Some("requests/")).unwrap()[..] else { panic!() };
    assert_eq!((&withdrawal.confirmed.len(), withdrawal.waiting.len()), (&1, 0), "{withdrawal:?}");
    // What its origin only deleted lives on as beta's edit of it, which nobody else sees; `shun` gives it up.
    alpha.app.execute("DELETE FROM help_requests WHERE id = ?1", &[&drill]);
    alpha.sync();
    beta.sync();
    assert_eq!(beta.app.value("SELECT description FROM help_requests"), "ours now");
    assert_eq!(alpha.app.value("SELECT count(*) FROM help_requests WHERE title = 'drill'"), "0");
}

/// The delta outweighs the snapshot here, so that a follower comes by a snapshot alone: it says what was withdrawn, too.
#[test]
fn what_was_withdrawn_is_known_from_what_was_deleted_also_by_a_snapshot() {
    for trust in [Trust::Trusted, Trust::Writer] {
        let (stick, alpha, beta) = pair(Some(trust));
        let alice = alpha.app.insert_user("alice", "public");
        let ladder = alpha.request(alice, &format!("{WORD} ladder"), "public");
        for number in 0..30 {
            alpha.request(alice, &format!("request {number}"), "public");
        }
        alpha.sync();
        beta.sync();
        let edit = "UPDATE help_requests SET description = 'ours now' WHERE title LIKE ?1";
        beta.app.execute(edit, &[&format!("{WORD}%")]);
        if trust == Trust::Trusted {
            beta.sync();
        }
        alpha.app.set_scope("help_requests", ladder, "private");
        alpha.app.db().execute_batch("DELETE FROM help_requests WHERE title LIKE 'request%'").unwrap();
        alpha.sync();
        assert_eq!(head_of(&stick, &alpha, "public").segments.len(), 1, "a snapshot alone");
        beta.sync();
        let all = (carriers(&alpha, &stick.path()), carriers(&beta, &own_store(&beta)));
        assert_eq!(all, (Vec::new(), Vec::new()), "{trust:?}");
        if trust == Trust::Writer {
            // What beta wrote comes to alpha by itself, and goes out of the scope again.
            alpha.sync();
            let late = alpha.open().late_edits(None).unwrap();
            assert_eq!(late.iter().map(|late| late.value.as_str().unwrap()).collect::<Vec<_>>(), ["ours now"]);
            beta.sync();
        }
        assert_eq!(beta.app.value("SELECT count(*) FROM help_requests"), "0", "{trust:?}");
        alpha.pull();
        let [withdrawal] = &alpha.open().confirmations(Some("requests/")).unwrap()[..] else { panic!() };
        assert_eq!((&withdrawal.confirmed.len(), withdrawal.waiting.len()), (&1, 0), "{withdrawal:?}");
    }
}

/// One `sync` is enough: what hangs on a withdrawn request goes in the round that brings the withdrawal.
#[test]
fn what_a_pull_narrows_is_published_narrowed_in_the_same_sync() {
    let (stick, alpha, beta) = pair(Some(Trust::Trusted));
    let alice = alpha.app.insert_user("alice", "public");
    let ladder = alpha.request(alice, "ladder", "public");
    alpha.sync();
    beta.sync();
    let there: i64 = beta.app.value("SELECT id FROM help_requests").parse().unwrap();
    beta.app.insert_comment(there, 1, &format!("{WORD} on it"), "public");
    beta.sync();
    assert!(!carriers(&beta, &stick.path()).is_empty());
    alpha.app.set_scope("help_requests", ladder, "private");
    alpha.sync();
    beta.open().sync(&[PeerName::new(STICK).unwrap()]).unwrap();
    assert_eq!(carriers(&beta, &stick.path()), Vec::<String>::new());
    assert_eq!(beta.app.value(&format!("SELECT count(*) FROM request_comments WHERE body = '{WORD} on it'")), "1");
}

#[test]
fn an_edit_that_nobody_takes_goes_with_what_it_carried() {
    let (stick, alpha, beta) = pair(Some(Trust::Writer));
    let alice = alpha.app.insert_user("alice", "trusted");
    let ladder = alpha.request(alice, &format!("{WORD} ladder"), "trusted");
    alpha.sync();
    beta.sync();
    alpha.open().peer_untrust("beta", Mode::Keep).unwrap();
    // beta doesn't know yet, and a directory takes whatever it is given.
    beta.app.execute("UPDATE help_requests SET description = 'late'", &[]);
    beta.sync();
    alpha.sync();
    assert_ne!(carriers(&alpha, &stick.path()), Vec::<String>::new());
    alpha.app.set_scope("help_requests", ladder, "private");
    alpha.sync();
    assert_eq!(carriers(&alpha, &stick.path()), Vec::<String>::new());
}

#[test]
fn a_late_edit_of_a_record_that_was_withdrawn_and_then_deleted_does_not_bring_it_back() {
    let (_stick, alpha, beta) = pair(Some(Trust::Writer));
    let alice = alpha.app.insert_user("alice", "public");
    let soup = alpha.request(alice, "soup", "public");
    alpha.sync();
    beta.sync();
    alpha.app.set_scope("help_requests", soup, "private");
    alpha.sync();
    alpha.app.execute("DELETE FROM help_requests WHERE id = ?1", &[&soup]);
    alpha.sync();
    beta.app.execute("UPDATE help_requests SET description = 'with leeks'", &[]);
    for site in [&beta, &alpha, &beta, &alpha] {
        site.sync();
    }
    for site in [&alpha, &beta] {
        assert_eq!(site.app.value("SELECT count(*) FROM help_requests"), "0", "{}", site.name);
        assert!(site.records().iter().all(|(_, record, _)| !record.starts_with("requests/")), "{}", site.name);
    }
    let status = alpha.open().status().unwrap();
    assert_eq!((status.parked_total, status.late_edits), (0, 1));
}
