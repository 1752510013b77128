//! What a writer put into another's scope doesn't outlive a withdrawal, wherever it lies and whatever the writer did since.

use wbsync::id::name::{PeerName, ScopeName};
use wbsync::state::peers::Trust;
use wbsync::sync::commit::Mode;
use wbsync::testing::prng::Prng;

use super::withdrawal::{carriers, edited_by_a_writer, own_store};
use super::world::{Site, Stick, clone, pair};

/// Alpha and beta, a writer, who meet at one stick; beta pushes to another one too, where alpha never comes. Beta has edited alpha's
/// request; returns its key there.
fn two_sticks() -> (Stick, Stick, Site, Site, i64) {
    let (stick, alpha, beta) = pair(Some(Trust::Writer));
    let other = Stick::new();
    beta.uses_as(&other, "other");
    let ladder = edited_by_a_writer(&alpha, &beta);
    beta.try_push("other").unwrap();
    assert_ne!(carriers(&beta, &other.path()), Vec::<String>::new(), "it lies where alpha never comes");
    (stick, other, alpha, beta, ladder)
}

fn assert_gone(beta: &Site, stick: &Stick, other: &Stick) {
    for store in [other.path(), own_store(beta), stick.path()] {
        assert_eq!(carriers(beta, &store), Vec::<String>::new(), "{}", store.display());
    }
}

#[test]
fn what_was_named_before_an_empty_head_goes_with_the_withdrawal() {
    let (stick, other, alpha, beta, ladder) = two_sticks();
    alpha.sync();
    beta.sync();
    // Alpha writes so much that its ladder begins with a new snapshot: beta's head is empty from then on.
    let mut random = Prng::new(7);
    for _ in 0..3 {
        for _ in 0..60 {
            let text: String = (0..800).map(|_| char::from(b'!' + random.below(90) as u8)).collect();
            alpha.request(1, &text, "public");
        }
        alpha.sync();
        beta.sync();
    }
    beta.try_push("other").unwrap();
    assert!(!carriers(&beta, &other.path()).is_empty(), "nothing was withdrawn yet");
    alpha.app.set_scope("help_requests", ladder, "private");
    alpha.sync();
    beta.sync();
    beta.try_push("other").unwrap();
    assert_gone(&beta, &stick, &other);
    let (before, again) = (other.files(), beta.try_push("other").unwrap());
    assert_eq!((again.removed, again.unremoved, other.files()), (0, 0, before));
}

/// Found by the simulation: the writer, who reads the scope still, sent its head again at each push, and the origin removed it again
/// at each of its own.
#[test]
fn what_was_written_by_one_who_may_write_no_more_is_not_sent_again_after_a_fresh_ladder() {
    let (_stick, alpha, beta) = pair(Some(Trust::Writer));
    edited_by_a_writer(&alpha, &beta);
    alpha.open().peer_untrust("beta", Mode::Keep).unwrap();
    // As `prune` does.
    let row = alpha
        .look()
        .state
        .scopes_of(&alpha.look().id())
        .unwrap()
        .into_iter()
        .find(|row| row.name == ScopeName::public());
    alpha.open().state.mark_refold(&row.unwrap().id).unwrap();
    for site in [&alpha, &beta, &alpha, &beta] {
        site.sync();
    }
    let (there, back) = (beta.push(), alpha.push());
    assert_eq!((there.heads, there.objects, back.removed), (0, 0, 0), "{there:?} {back:?}");
    let roots = |site: &Site| site.roots(&alpha, &ScopeName::public());
    assert_ne!(roots(&alpha), roots(&beta), "beta keeps what it wrote");
    alpha.open().peer_trust("beta", Trust::Writer).unwrap();
    for site in [&alpha, &beta, &alpha] {
        site.sync();
    }
    assert_eq!(roots(&alpha), roots(&beta), "it comes as soon as beta may write again");
}

#[test]
fn who_follows_no_more_takes_out_what_was_merged() {
    let (stick, other, alpha, beta, ladder) = two_sticks();
    alpha.sync();
    beta.sync();
    beta.open().unfollow("alpha", None).unwrap();
    alpha.app.set_scope("help_requests", ladder, "private");
    alpha.sync();
    for _ in 0..2 {
        beta.sync();
        beta.try_push("other").unwrap();
        assert_gone(&beta, &stick, &other);
        alpha.sync();
        assert_gone(&beta, &stick, &other);
    }
    // Whoever comes now still believes alpha.
    let gamma = clone(&stick, "gamma");
    assert_eq!(gamma.app.value("SELECT count(*) FROM help_requests"), "0");
    // And beta may come back, and write again.
    beta.open().follow("alpha", None).unwrap();
    alpha.request(1, "stool", "public");
    alpha.sync();
    beta.sync();
    beta.app.execute("UPDATE help_requests SET description = 'high' WHERE title = 'stool'", &[]);
    beta.sync();
    alpha.sync();
    assert_eq!(alpha.app.value("SELECT description FROM help_requests WHERE title = 'stool'"), "high");
}

#[test]
fn what_was_not_merged_stays_until_the_origin_begins_its_ladder_anew() {
    let (stick, other, alpha, beta, ladder) = two_sticks();
    let stool = alpha.request(1, "stool", "public");
    beta.open().unfollow("alpha", None).unwrap();
    beta.sync();
    beta.try_push("other").unwrap();
    assert_ne!(carriers(&alpha, &stick.path()), Vec::<String>::new(), "alpha has still to take it");
    // Alpha withdraws it and takes in nothing: what lies there may hold it.
    alpha.app.set_scope("help_requests", ladder, "private");
    alpha.open().commit(Mode::Keep).unwrap();
    alpha.push();
    beta.sync();
    beta.try_push("other").unwrap();
    assert_gone(&beta, &stick, &other);
    // It is not lost: with the next follow it comes, but for what is gone.
    beta.open().follow("alpha", None).unwrap();
    for site in [&beta, &alpha, &beta, &alpha] {
        site.sync();
    }
    beta.try_push("other").unwrap();
    assert_gone(&beta, &stick, &other);
    assert_eq!(beta.app.value("SELECT group_concat(title) FROM help_requests"), "stool");
    assert_eq!(alpha.app.value(&format!("SELECT title FROM help_requests WHERE id = {stool}")), "stool");
}

#[test]
fn who_may_write_no_more_takes_it_out_of_every_remote() {
    let (stick, other, alpha, beta, ladder) = two_sticks();
    alpha.sync();
    beta.sync();
    alpha.open().peer_untrust("beta", Mode::Keep).unwrap();
    alpha.sync();
    beta.sync();
    alpha.app.set_scope("help_requests", ladder, "private");
    alpha.sync();
    beta.sync();
    let push = beta.try_push("other").unwrap();
    assert!(push.removed > 0 && push.unremoved == 0, "{push:?}");
    assert_gone(&beta, &stick, &other);
    assert_eq!(beta.app.value("SELECT count(*) FROM help_requests"), "0");
    // Trusted again, it writes again.
    alpha.open().peer_trust("beta", Trust::Writer).unwrap();
    alpha.request(1, "stool", "public");
    alpha.sync();
    beta.sync();
    beta.app.execute("UPDATE help_requests SET description = 'high' WHERE title = 'stool'", &[]);
    beta.sync();
    alpha.sync();
    assert_eq!(alpha.app.value("SELECT description FROM help_requests WHERE title = 'stool'"), "high");
    assert_gone(&beta, &stick, &other);
}

#[test]
fn a_remote_that_was_none_for_a_while_is_cleaned_when_it_is_one_again() {
    let (stick, other, alpha, beta, ladder) = two_sticks();
    alpha.sync();
    beta.sync();
    let name = PeerName::new("other").unwrap();
    let left = beta.open().remote_remove(&name).unwrap();
    assert!(left.was_pushed && left.unremoved == 0, "{left:?}");
    alpha.app.set_scope("help_requests", ladder, "private");
    alpha.sync();
    beta.sync();
    beta.uses_as(&other, "other");
    beta.try_push("other").unwrap();
    assert_gone(&beta, &stick, &other);
    // What it still had to remove is told when it goes.
    beta.uses_as(&stick, "again");
    let scope = beta.open().state.scopes().unwrap()[0].id;
    let object = wbsync::id::bytes::ObjectId::from_bytes([7; 32]);
    let again = PeerName::new("again").unwrap();
    beta.open().state.put_spent(&again, &scope, [object]).unwrap();
    assert_eq!(beta.open().remote_remove(&again).unwrap().unremoved, 1);
}

#[test]
fn a_relay_takes_out_what_it_brought_where_nobody_else_comes() {
    let (stick, alpha, beta) = pair(Some(Trust::Writer));
    let (gamma, nas) = (Site::new("gamma"), Stick::new());
    // Everybody opens everything, so that nothing is overlooked.
    for other in [&alpha, &beta] {
        gamma.knows(other, Some(Trust::Trusted));
        other.knows(&gamma, Some(Trust::Trusted));
    }
    let config = gamma.app.dir().join("wbsync.toml");
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, text + "\n[network]\nrelay = \"followed\"\n").unwrap();
    gamma.uses(&stick);
    gamma.uses_as(&nas, "nas");
    let ladder = edited_by_a_writer(&alpha, &beta);
    for _ in 0..2 {
        gamma.sync();
        gamma.try_push("nas").unwrap();
        alpha.sync();
    }
    assert!(carriers(&gamma, &nas.path()).len() > 1, "alpha's and beta's");
    alpha.app.set_scope("help_requests", ladder, "private");
    alpha.sync();
    gamma.sync();
    gamma.try_push("nas").unwrap();
    for store in [nas.path(), own_store(&gamma), stick.path()] {
        assert_eq!(carriers(&gamma, &store), Vec::<String>::new(), "{}", store.display());
    }
    // What is there is of use to who comes.
    let delta = clone(&nas, "delta");
    assert_eq!(delta.app.value("SELECT count(*) FROM help_requests"), "0");
    let (before, again) = (nas.files(), gamma.try_push("nas").unwrap());
    assert_eq!((again.removed, again.unremoved, nas.files()), (0, 0, before));
}
