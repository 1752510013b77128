//! Cards that travel by stores: their URLs are taken, nothing else, and none that was replaced before.

use wbsync::exchange::store::Store;
use wbsync::id::name::PeerName;
use wbsync::keys::card::{Card, SignedCard};
use wbsync::keys::document::hash_of;
use wbsync::keys::identity::Identity;
use wbsync::transport::dir::DirStore;

use super::world::{Site, Stick, pair};

fn put(stick: &Stick, card: &SignedCard) {
    let store = DirStore::open_for_writing(&stick.path()).unwrap();
    let there = store.card(&card.card.instance).unwrap().map(|bytes| hash_of(&bytes));
    store.swap_card(&card.card.instance, there, &card.bytes).unwrap();
}

fn known(site: &Site, of: &str) -> Card {
    let peer = site.open().peer_named(of).unwrap();
    SignedCard::open(&peer.card).unwrap().card
}

#[test]
fn urls_of_a_card_are_taken_and_nothing_else() {
    let (stick, alpha, beta) = pair(None);
    let config = beta.app.dir().join("wbsync.toml");
    let central = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, format!("{central}\n[network]\nmode = \"hybrid\"\n")).unwrap();
    alpha.sync();
    beta.sync();
    let (first, keys) = (alpha.card(), alpha.app.dir().join(".wbsync/keys"));
    let sign = |change: &dyn Fn(&mut Card)| {
        let mut card = first.card.clone();
        change(&mut card);
        SignedCard::sign(card, &Identity::open(&keys).unwrap())
    };
    let moved = sign(&|card| card.urls = vec!["https://alpha.example/".into(), "ssh://evil.example/x".into()]);
    put(&stick, &moved);
    beta.pull();
    assert_eq!(known(&beta, "alpha"), moved.card);
    // A carrier that has an old one doesn't bring it back.
    put(&stick, &first);
    beta.pull();
    assert_eq!(known(&beta, "alpha"), moved.card);
    let renamed = sign(&|card| card.name = PeerName::new("gamma").unwrap());
    let restored = sign(&|card| card.incarnation = 7);
    let other_recipient = sign(&|card| card.recipient = beta.card().card.recipient);
    for card in [renamed, restored, other_recipient] {
        put(&stick, &card);
        beta.pull();
        assert_eq!(known(&beta, "alpha"), moved.card);
    }
    // The operator may go back.
    assert_eq!(beta.open().peer_sources().unwrap().len(), 1);
    beta.knows(&alpha, None);
    assert_eq!(known(&beta, "alpha"), first.card);
    // Nobody is read at a URL that could start a program or name a file, nor in the mode `central` at any.
    put(&stick, &sign(&|card| card.urls = vec!["ssh://evil.example/x".into(), "file:///etc".into()]));
    beta.pull();
    assert_eq!(known(&beta, "alpha").urls.len(), 2);
    assert!(beta.open().peer_sources().unwrap().is_empty());
    std::fs::write(&config, central).unwrap();
    put(&stick, &sign(&|card| card.urls = vec!["https://elsewhere.example/".into()]));
    beta.pull();
    assert!(known(&beta, "alpha").urls.len() == 2 && beta.open().peer_sources().unwrap().is_empty());
}

/// Cards are handed over before their owner's next push: what stores have is older then.
#[test]
fn a_card_that_was_handed_over_outlives_the_older_one_of_a_store() {
    let (stick, alpha, beta) = pair(None);
    let gamma = Site::new("gamma");
    for site in [&beta, &gamma] {
        let config = site.app.dir().join("wbsync.toml");
        let central = std::fs::read_to_string(&config).unwrap();
        std::fs::write(&config, format!("{central}\n[network]\nmode = \"hybrid\"\n")).unwrap();
    }
    alpha.sync();
    let old = alpha.card();
    alpha.open().set_urls(vec!["https://alpha.example/".into()]).unwrap();
    let new = alpha.card();
    // Who knew the old card keeps the new one.
    beta.knows(&alpha, None);
    beta.pull();
    assert_eq!(known(&beta, "alpha"), new.card);
    // Who never saw the old one takes it, and has the new one again once its owner has pushed.
    gamma.knows(&alpha, None);
    gamma.uses(&stick);
    gamma.pull();
    assert_eq!(known(&gamma, "alpha"), old.card);
    alpha.sync();
    gamma.pull();
    assert_eq!(known(&gamma, "alpha"), new.card);
    put(&stick, &old);
    gamma.pull();
    assert_eq!(known(&gamma, "alpha"), new.card, "the old one stays replaced");
}
