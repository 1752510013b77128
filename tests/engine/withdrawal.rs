//! What is withdrawn leaves history: the objects that carried it, the followers' applications and their states.

use std::collections::BTreeSet;
use std::path::Path;

use wbsync::id::name::{PeerName, ScopeName};
use wbsync::sync::commit::Mode;
use wbsync::testing::prng::Prng;

use super::world::{Saved, Site, Stick, clone, files_under, pair};

const WORD: &str = "zqsecret";

fn holds(bytes: &[u8]) -> bool {
    bytes.windows(WORD.len()).any(|window| window == WORD.as_bytes())
}

/// The sealed objects under a store that decrypt to the word.
fn carriers(site: &Site, store: &Path) -> Vec<String> {
    let opened = site.unseal(store, &BTreeSet::new());
    opened.into_iter().filter(|(_, _, plain)| holds(plain)).map(|(path, _, _)| path).collect()
}

fn own_store(site: &Site) -> std::path::PathBuf {
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
    assert!(!beta.open().log(None, 1000).unwrap().is_empty());
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
