//! What only an operator settles about a peer: two histories, and numbers that jump.

use wbsync::exchange::head::Head;
use wbsync::id::bytes::DocHash;
use wbsync::state::peers::Trust;
use wbsync::sync::commit::Mode;
use wbsync::sync::error::Error;
use wbsync::sync::instance::{Instance, Purpose};
use wbsync::sync::progress::silent;
use wbsync::sync::restore::RestoreOptions;

use super::forge::Forge;
use super::world::{STICK, Site, Stick, pair};

fn title(site: &Site) -> String {
    site.app.value("SELECT title FROM help_requests WHERE sync_scope = 'public'")
}

fn retitle(site: &Site, from: &str, to: &str) {
    let sql = "UPDATE help_requests SET title = ?2 WHERE title = ?1";
    site.app.execute(sql, &[&from, &to]);
}

#[test]
fn after_two_histories_a_peer_counts_again_once_it_was_restored_and_accepted() {
    let (_stick, alpha, beta) = pair(Some(Trust::Writer));
    let alice = alpha.app.insert_user("alice", "public");
    alpha.request(alice, "ladder", "public");
    alpha.sync();
    beta.sync();
    alpha.sync();
    let other = Stick::new();
    alpha.uses_as(&other, "other");
    beta.uses_as(&other, "other");
    let before = alpha.save();
    retitle(&alpha, "ladder", "one");
    alpha.sync();
    before.restore(alpha.app.dir());
    retitle(&alpha, "ladder", "two");
    alpha.open().commit(Mode::Keep).unwrap();
    alpha.try_push("other").unwrap();
    beta.pull();
    let refused = &beta.try_pull("other").unwrap().fetched.remotes["other"].refused;
    assert!(refused[0].reason.contains("two histories") && refused[0].hint.contains("peer accept"), "{refused:?}");
    let error = beta.open().peer_accept("alpha").unwrap_err();
    assert!(matches!(error, Error::StillForked { .. }) && error.exit_code() == 5, "{error:?}");
    assert!(error.hint().is_some_and(|hint| hint.contains("wbsync restore")), "{error:?}");
    let mut instance = Instance::open(alpha.app.dir(), Purpose::Restore, silent()).unwrap();
    let summary = instance.restore(&RestoreOptions::default(), Mode::Keep).unwrap();
    assert!(summary.pushed.failed.is_empty() && summary.incarnation == (0, 1), "{summary:?}");
    drop(instance);
    // The restored history is taken in and verified, and not merged before somebody has said so.
    beta.try_pull(STICK).unwrap();
    assert_eq!(title(&beta), "one");
    assert!(beta.open().status().unwrap().scopes.iter().any(|scope| scope.forked == ["alpha"]));
    let accepted = beta.open().peer_accept("alpha").unwrap();
    assert_eq!((accepted.forks.len(), accepted.jumps.len()), (1, 0), "{accepted:?}");
    for site in [&beta, &alpha, &beta, &alpha] {
        site.sync();
    }
    assert_eq!(alpha.local_heads(), beta.local_heads());
    assert_eq!(title(&alpha), title(&beta));
    let held = format!("{:?}", beta.records());
    assert!(held.contains("\"one\"") && held.contains("\"two\""), "both histories are in it: {held}");
    assert!(beta.open().status().unwrap().scopes.iter().all(|scope| scope.forked.is_empty()));
    assert!(beta.open().peer_accept("alpha").unwrap().forks.is_empty(), "nothing is left to accept");
}

#[test]
fn a_wild_jump_is_taken_once_it_was_accepted() {
    let (stick, alpha, beta) = pair(Some(Trust::Writer));
    let alice = alpha.app.insert_user("alice", "public");
    alpha.request(alice, "ladder", "public");
    for site in [&alpha, &beta, &alpha] {
        site.sync();
    }
    retitle(&beta, "ladder", "early");
    for site in [&beta, &alpha, &beta] {
        site.sync();
    }
    let instance = beta.open();
    let mut forge = Forge::new(&instance, &instance.peer_named("alpha").unwrap().id, "public");
    let stamp = forge.stamp(instance.id(), forge.sequence);
    forge.retitle("early", "steps", stamp);
    forge.seq = 5_000_000;
    forge.publish(&stick.path(), |_| {}, |head: &mut Head| head.prev = Some(DocHash::from_bytes([3; 32])));
    drop(instance);
    for _ in 0..2 {
        let refused = &alpha.try_pull(STICK).unwrap().fetched.remotes[STICK].refused;
        assert!(refused[0].reason.contains("jumps") && refused[0].hint.contains("peer accept"), "{refused:?}");
        assert_eq!(title(&alpha), "early");
    }
    let accepted = alpha.open().peer_accept("beta").unwrap();
    assert_eq!(accepted.jumps, ["public 5000000"]);
    alpha.pull();
    assert_eq!(title(&alpha), "steps");
    assert!(alpha.open().peer_accept("beta").unwrap().jumps.is_empty());
}
