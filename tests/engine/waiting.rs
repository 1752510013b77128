//! Heads that carry words of another wait for that one's own, and come as soon as it is there: no sooner, and no later.

use wbsync::id::name::ScopeName;
use wbsync::state::peers::Trust;
use wbsync::sync::commit::Mode;
use wbsync::sync::fetch::FetchSummary;
use wbsync::sync::instance::{Instance, Purpose};
use wbsync::sync::progress::silent;
use wbsync::sync::restore::RestoreOptions;

use super::world::{STICK, Site, Stick, pair};

/// Alpha, whose public request "ladder" everybody holds, and two writers.
fn three() -> (Stick, Site, Site, Site) {
    let (stick, alpha, beta) = pair(Some(Trust::Writer));
    let gamma = Site::new("gamma");
    gamma.knows(&alpha, None);
    gamma.knows(&beta, None);
    alpha.knows(&gamma, Some(Trust::Writer));
    beta.knows(&gamma, None);
    gamma.uses(&stick);
    let alice = alpha.app.insert_user("alice", "public");
    alpha.request(alice, "ladder", "public");
    for site in [&alpha, &beta, &gamma] {
        site.sync();
    }
    (stick, alpha, beta, gamma)
}

fn write(site: &Site, column: &str, value: &str) {
    site.app.execute(&format!("UPDATE help_requests SET {column} = ?1 WHERE title = 'ladder'"), &[&value]);
}

fn shown(site: &Site) -> String {
    site.app.value("SELECT description || ', ' || status FROM help_requests WHERE title = 'ladder'")
}

fn fetched(site: &Site) -> FetchSummary {
    site.try_pull(STICK).unwrap().fetched.remotes.remove(STICK).unwrap()
}

/// Found by the simulation: what had gone to a store that the origin never sees went nowhere else, and the head of the writer who had
/// built on it waited for ever. As it had written nothing itself, nobody was told.
#[test]
fn what_was_sent_to_one_store_before_its_origin_was_revoked_comes_to_the_others_too() {
    let (_stick, alpha, beta, gamma) = three();
    let other = Stick::new();
    beta.uses_as(&other, "other");
    gamma.uses_as(&other, "other");
    write(&beta, "description", "by beta");
    beta.try_pull("other").unwrap();
    beta.try_push("other").unwrap();
    beta.open().peer_revoke("alpha", Mode::Keep).unwrap();
    gamma.try_pull("other").unwrap();
    gamma.sync();
    let held = fetched(&alpha).held;
    assert!(held.len() == 1 && held[0].contains("words of beta that no head here shows"), "{held:?}");
    beta.sync();
    for site in [&alpha, &gamma, &alpha] {
        site.sync();
    }
    assert_eq!(shown(&alpha), "by beta, open");
    let summary = fetched(&alpha);
    assert!(summary.held.is_empty() && summary.heads.is_empty(), "{summary:?}");
    assert_eq!(alpha.roots(&alpha, &ScopeName::public()), gamma.roots(&alpha, &ScopeName::public()));
    let sent = beta.push();
    assert_eq!((sent.heads, sent.objects), (0, 0), "{sent:?}");
}

/// As the one before, where the origin has withdrawn something meanwhile: then the one who has left takes its head back from everywhere,
/// for it may carry that, and nobody could ever check its words in the head of the other.
#[test]
fn what_was_merged_of_a_writer_who_left_and_took_its_head_back_comes_as_the_word_of_who_merged_it() {
    let (_stick, alpha, beta, gamma) = three();
    let other = Stick::new();
    beta.uses_as(&other, "other");
    gamma.uses_as(&other, "other");
    write(&beta, "description", "by beta");
    beta.try_pull("other").unwrap();
    beta.try_push("other").unwrap();
    gamma.try_pull("other").unwrap();
    gamma.sync();
    beta.open().peer_revoke("alpha", Mode::Keep).unwrap();
    let row = alpha
        .look()
        .state
        .scopes_of(&alpha.look().id())
        .unwrap()
        .into_iter()
        .find(|row| row.name == ScopeName::public());
    alpha.open().state.mark_refold(&row.unwrap().id).unwrap();
    alpha.sync();
    beta.try_pull(STICK).unwrap();
    beta.push();
    beta.try_push("other").unwrap();
    write(&gamma, "status", "completed");
    gamma.sync();
    let held = fetched(&alpha).held;
    assert!(held.len() == 1 && held[0].contains("words of beta that no head here shows"), "{held:?}");
    gamma.try_pull("other").unwrap();
    for site in [&gamma, &alpha, &gamma] {
        site.sync();
    }
    assert_eq!(shown(&alpha), "by beta, completed");
    let summary = fetched(&alpha);
    assert!(summary.held.is_empty() && summary.refused.is_empty() && summary.heads.is_empty(), "{summary:?}");
    assert_eq!(alpha.roots(&alpha, &ScopeName::public()), gamma.roots(&alpha, &ScopeName::public()));
    let theirs = beta.look().id();
    let words = alpha
        .records()
        .into_iter()
        .flat_map(|(_, _, record)| record.elements().map(|(_, element)| element.stamp.author).collect::<Vec<_>>());
    assert!(words.into_iter().all(|author| author != theirs), "gamma answers for them");
}

/// Found by the simulation: of two heads that vouch for each other one said nothing of its signer's new incarnation, and was put aside
/// as if its origin had merged it; the other waited for ever.
#[test]
fn writers_who_merged_each_other_are_believed_also_if_one_was_restored_since() {
    let (_stick, alpha, beta, gamma) = three();
    let backup = gamma.save();
    write(&gamma, "description", "by gamma");
    gamma.sync();
    write(&beta, "status", "completed");
    beta.sync();
    gamma.restore(&backup);
    let mut restoring = Instance::open(gamma.app.dir(), Purpose::Restore, silent()).unwrap();
    restoring.restore(&RestoreOptions::default(), Mode::Keep).unwrap();
    drop(restoring);
    let summary = fetched(&alpha);
    assert!(summary.held.is_empty() && summary.refused.is_empty(), "{summary:?}");
    assert_eq!(summary.heads.iter().filter(|head| head.scope == "public").count(), 2, "{summary:?}");
    assert_eq!(shown(&alpha), "by gamma, completed");
}
