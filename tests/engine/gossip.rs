//! Two histories of one signer meet: whoever holds both by whatever way has the proof, and forged ones prove nothing.

use wbsync::exchange::layout::StorePath;
use wbsync::exchange::receipt::{Applied, Receipt, Statement};
use wbsync::exchange::store::Store;
use wbsync::id::bytes::{DocHash, ScopeId};
use wbsync::id::name::ScopeName;
use wbsync::keys::document::hash_of;
use wbsync::state::peers::Trust;
use wbsync::sync::refusal::Refusal;
use wbsync::sync::round::PullSummary;
use wbsync::sys::clock::UnixMillis;
use wbsync::transport::dir::DirStore;

use super::world::{STICK, Site, Stick, copy_tree, pair};

fn refused(summary: &PullSummary) -> Vec<&Refusal> {
    summary.fetched.remotes.values().flat_map(|fetched| &fetched.refused).collect()
}

fn public(origin: &Site) -> ScopeId {
    let instance = origin.open();
    let rows = instance.state.scopes_of(&instance.id()).unwrap();
    rows.into_iter().find(|row| row.name == ScopeName::public()).unwrap().id
}

/// Alpha, its writer beta, and the reader gamma, who all know each other and use one stick.
fn three() -> (Stick, Site, Site, Site) {
    let (stick, alpha, beta) = pair(Some(Trust::Writer));
    let gamma = Site::new("gamma");
    for site in [&alpha, &beta] {
        gamma.knows(site, None);
        site.knows(&gamma, None);
    }
    gamma.uses(&stick);
    let alice = alpha.app.insert_user("alice", "public");
    alpha.request(alice, "ladder", "public");
    for site in [&alpha, &beta, &gamma, &alpha, &beta, &gamma] {
        site.sync();
    }
    (stick, alpha, beta, gamma)
}

fn retitle(site: &Site, title: &str) {
    let key = site.app.value("SELECT id FROM help_requests").parse().unwrap();
    site.edit(key, "title", title);
}

#[test]
fn a_fork_shown_to_two_readers_is_proved_by_their_receipts_and_stops_there() {
    let (stick, alpha, beta, gamma) = three();
    let other = Stick::new();
    copy_tree(&stick.path(), &other.path());
    for site in [&beta, &gamma] {
        site.uses_as(&other, "other");
    }
    let before = beta.save();
    retitle(&beta, "one history");
    beta.sync();
    beta.restore(&before);
    retitle(&beta, "another history");
    beta.try_pull("other").unwrap();
    beta.try_push("other").unwrap();
    let beta_id = beta.card().card.instance;
    // Alpha meets the one, gamma the other, each without a doubt.
    alpha.pull();
    gamma.try_pull("other").unwrap();
    assert_eq!(alpha.app.value("SELECT title FROM help_requests"), "one history");
    assert_eq!(gamma.app.value("SELECT title FROM help_requests"), "another history");
    gamma.open().push(&wbsync::id::name::PeerName::new(STICK).unwrap()).unwrap();
    let pulled = alpha.try_pull(STICK).unwrap();
    assert!(refused(&pulled).iter().any(|refusal| refusal.reason.contains("two histories")), "{pulled:?}");
    let scope = public(&alpha);
    assert!(alpha.open().state.is_forked(&scope, &beta_id).unwrap());
    let proofs = alpha.open().fork_proofs(Some("beta")).unwrap();
    assert!(proofs.len() == 1 && proofs[0].valid && proofs[0].signer == "beta", "{proofs:?}");
    let status = alpha.open().status().unwrap();
    assert!(status.scopes.iter().any(|scope| scope.scope == "public" && scope.forked == ["beta"]), "{status:?}");
    // Alpha's receipt carries the proof on.
    alpha.push();
    gamma.try_pull(STICK).unwrap();
    assert!(gamma.open().state.is_forked(&scope, &beta_id).unwrap());
    assert!(gamma.open().fork_proofs(None).unwrap()[0].valid);
    // Nothing of beta's is merged any more.
    retitle(&beta, "a third thing");
    beta.open().commit(wbsync::sync::commit::Mode::Keep).unwrap();
    let _ = beta.try_push(STICK);
    let _ = alpha.try_pull(STICK).unwrap();
    assert_eq!(alpha.app.value("SELECT title FROM help_requests"), "one history");
}

/// Writes the title first, and then other things beside it.
fn write(site: &Site, words: &str, round: usize) {
    match round {
        0 => retitle(site, words),
        _ => {
            let key = site.app.value("SELECT id FROM help_requests").parse().unwrap();
            site.edit(key, "description", &format!("{words}, {round}"));
        }
    }
}

/// Beta shows alpha one history and gamma another, `ahead` heads of each, and alpha meets the other one.
fn shown_apart(ahead: [usize; 2]) -> ([Stick; 2], Site, Site, Site, PullSummary) {
    let (stick, alpha, beta, gamma) = three();
    let other = Stick::new();
    copy_tree(&stick.path(), &other.path());
    for site in [&alpha, &beta, &gamma] {
        site.uses_as(&other, "other");
    }
    let before = beta.save();
    for round in 0..ahead[0] {
        write(&beta, "one history", round);
        beta.sync();
        alpha.pull();
    }
    beta.restore(&before);
    for round in 0..ahead[1] {
        write(&beta, "another history", round);
        beta.try_pull("other").unwrap();
        beta.try_push("other").unwrap();
        gamma.try_pull("other").unwrap();
    }
    let met = alpha.try_pull("other").unwrap();
    ([stick, other], alpha, beta, gamma, met)
}

#[test]
fn a_head_of_long_ago_proves_a_fork_that_has_gone_far_apart() {
    let (_sticks, alpha, beta, _gamma, met) = shown_apart([4, 1]);
    assert!(refused(&met).iter().any(|refusal| refusal.reason.contains("two histories")), "{met:?}");
    let (scope, signer) = (public(&alpha), beta.card().card.instance);
    assert!(alpha.open().state.is_forked(&scope, &signer).unwrap());
    let proofs = alpha.open().fork_proofs(Some("beta")).unwrap();
    assert!(proofs.len() == 1 && proofs[0].valid, "{proofs:?}");
    // Met once more it is still the same proof.
    alpha.try_pull("other").unwrap();
    assert_eq!(alpha.open().fork_proofs(Some("beta")).unwrap().len(), 1);
}

#[test]
fn what_lacks_for_a_proof_is_named_and_comes_with_receipts() {
    let (_sticks, alpha, beta, gamma, met) = shown_apart([1, 4]);
    let scope = public(&alpha);
    let signer = beta.card().card.instance;
    let is_forked = |site: &Site| site.open().state.is_forked(&scope, &signer).unwrap();
    let named = refused(&met).into_iter().find(|refusal| refusal.reason.contains("two histories"));
    let named = named.unwrap_or_else(|| panic!("{met:?}"));
    assert!(is_forked(&alpha) || named.reason.contains("would prove it"), "{named:?}");
    // Whoever saw the other history grow has what lacks: alpha's receipt shows it the one, its own brings the proof.
    let other = wbsync::id::name::PeerName::new("other").unwrap();
    alpha.open().push(&other).unwrap();
    gamma.try_pull("other").unwrap();
    assert!(is_forked(&gamma), "gamma can compare");
    gamma.open().push(&other).unwrap();
    let _ = alpha.try_pull("other").unwrap();
    assert!(is_forked(&alpha), "and tells");
    assert!(alpha.open().fork_proofs(Some("beta")).unwrap()[0].valid);
}

/// Puts a receipt of gamma's about alpha's public scope on the stick.
fn forge(stick: &Stick, gamma: &Site, scope: ScopeId, change: impl Fn(&mut Receipt, &mut Statement)) {
    let instance = gamma.open();
    let mut statement = Statement::default();
    let mut receipt = Receipt {
        scope,
        signer: instance.id(),
        incarnation: 0,
        seq: 100,
        time: UnixMillis(1),
        epoch: None,
        body: Vec::new(),
    };
    change(&mut receipt, &mut statement);
    if receipt.body.is_empty() {
        receipt.body = statement.encode();
    }
    let bytes = receipt.sign(&instance.identity);
    put(stick, &bytes, StorePath::Receipt(scope, instance.id()));
}

fn put(stick: &Stick, bytes: &[u8], path: StorePath) {
    let StorePath::Receipt(scope, signer) = path else { panic!("{path}") };
    let store = DirStore::open(&stick.path()).unwrap();
    let there = store.receipt(&scope, &signer).unwrap().map(|bytes| hash_of(&bytes));
    store.swap_receipt(&scope, &signer, there, bytes).unwrap();
}

#[test]
fn a_forged_proof_stops_nobody() {
    let (stick, alpha, beta, gamma) = three();
    retitle(&beta, "of beta");
    beta.sync();
    alpha.sync();
    let scope = public(&alpha);
    let (alpha_id, beta_id) = (alpha.card().card.instance, beta.card().card.instance);
    let store = DirStore::open(&stick.path()).unwrap();
    let [of_alpha, of_beta] = [alpha_id, beta_id].map(|signer| store.head(&scope, &signer).unwrap().unwrap());
    let mut altered = of_beta.clone();
    *altered.last_mut().unwrap() ^= 1;
    let manifest = store.manifest(&scope).unwrap().unwrap();
    forge(&stick, &gamma, scope, |_, statement| {
        statement.forks = vec![
            [of_beta.clone(), of_beta.clone()],
            [of_beta.clone(), altered.clone()],
            [of_alpha.clone(), of_beta.clone()],
            [manifest.clone(), manifest.clone()],
        ];
        statement.heads = vec![altered.clone(), b"junk".to_vec(), of_beta.clone(), manifest.clone()];
    });
    // Nothing in it is taken; the true receipt of gamma's would say the same of the heads.
    alpha.pull();
    for signer in [alpha_id, beta_id] {
        assert!(!alpha.open().state.is_forked(&scope, &signer).unwrap());
    }
    assert!(alpha.open().fork_proofs(None).unwrap().is_empty());
    retitle(&beta, "of beta again");
    beta.sync();
    alpha.sync();
    assert_eq!(alpha.app.value("SELECT title FROM help_requests"), "of beta again");
}

#[test]
fn a_receipt_that_is_wrong_is_refused_and_one_of_a_stranger_ignored() {
    let (stick, alpha, _beta, gamma) = three();
    let scope = public(&alpha);
    let alpha_id = alpha.card().card.instance;
    let says = |change: &dyn Fn(&mut Receipt, &mut Statement)| {
        forge(&stick, &gamma, scope, change);
        let pulled = alpha.try_pull(STICK).unwrap();
        refused(&pulled).into_iter().map(|refusal| refusal.reason.clone()).collect::<Vec<_>>().join("; ")
    };
    let elsewhere = says(&|receipt, _| receipt.scope = ScopeId::from_bytes([7; 16]));
    assert!(elsewhere.contains("receipt of an unknown scope"), "{elsewhere}");
    let sealed = says(&|receipt, _| (receipt.epoch, receipt.body) = (Some(9), vec![1]));
    assert!(sealed.contains("no key of epoch 9"), "{sealed}");
    let garbled = says(&|receipt, _| receipt.body = vec![0xff; 10]);
    assert!(!garbled.is_empty());
    let applied = |seq| Applied { signer: alpha_id, incarnation: 0, seq, hash: DocHash::from_bytes([9; 32]) };
    let another = says(&|_, statement| statement.applied = vec![applied(1)]);
    assert!(another.contains("another head 1 of alpha"), "{another}");
    assert!(!alpha.open().state.is_forked(&scope, &alpha_id).unwrap(), "a word is no proof");
    let older = says(&|receipt, _| receipt.seq = 50);
    assert_eq!(older, "");
    assert_eq!(alpha.open().state.receipt(&scope, &gamma.card().card.instance).unwrap().unwrap().seq, 100);
    let delta = Site::new("delta");
    let stranger = delta.open();
    let receipt = Receipt {
        scope,
        signer: stranger.id(),
        incarnation: 0,
        seq: 1,
        time: UnixMillis(1),
        epoch: None,
        body: Statement { applied: vec![applied(1)], ..Statement::default() }.encode(),
    };
    put(&stick, &receipt.sign(&stranger.identity), StorePath::Receipt(scope, stranger.id()));
    alpha.pull();
    assert_eq!(alpha.open().state.receipt(&scope, &stranger.id()).unwrap(), None);
    // A damaged one of somebody we know is named.
    put(&stick, b"junk", StorePath::Receipt(scope, gamma.card().card.instance));
    assert!(refused(&alpha.try_pull(STICK).unwrap()).iter().any(|refusal| refusal.damaged));
}
