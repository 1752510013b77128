//! A client that keeps what a hub said sees what one that keeps nothing sees, whatever happens in between.

use std::cell::RefCell;
use std::time::Duration;

use tempfile::TempDir;
use wbsync::exchange::store::Store;
use wbsync::hub::limits::REFRESH_EVERY;
use wbsync::hub::log::Event;
use wbsync::hub::members::Role;
use wbsync::hub::service::Options;
use wbsync::keys::document::hash_of;
use wbsync::keys::identity::Identity;
use wbsync::testing::prng::Prng;
use wbsync::transport::http::store::HttpStore;

use crate::contract::{noise, put, store_contract};
use crate::http::Running;
use crate::signed::{People, Scope, card, origin_head, receipt, writer_head};
use crate::through::Through;

fn open(running: &Running, identity: &Identity, kept: &TempDir) -> HttpStore {
    HttpStore::open_recalling(&running.url(), Some(identity), kept.path()).unwrap()
}

fn requests(running: &Running) -> usize {
    running.log.lock().unwrap().iter().filter(|event| matches!(event, Event::Request { .. })).count()
}

/// Everything that a store shows: each document with its path.
fn shown(store: &dyn Store) -> Vec<(String, Option<Vec<u8>>)> {
    let mut all = Vec::new();
    for id in store.cards().unwrap() {
        all.push((format!("card {id}"), store.card(&id).unwrap()));
    }
    for scope in store.scopes().unwrap() {
        all.push((format!("manifest {scope}"), store.manifest(&scope).unwrap()));
        for signer in store.heads(&scope).unwrap() {
            all.push((format!("head {scope} {signer}"), store.head(&scope, &signer).unwrap()));
        }
        for reader in store.receipts(&scope).unwrap() {
            all.push((format!("receipt {scope} {reader}"), store.receipt(&scope, &reader).unwrap()));
        }
    }
    all
}

#[test]
fn a_client_that_keeps_what_it_reads_keeps_the_store_contract() {
    let hubs = RefCell::new(Vec::new());
    store_contract(|| {
        let running = std::rc::Rc::new(Running::start(Options::default()));
        let (admin, kept) = (Identity::generate(), tempfile::tempdir().unwrap());
        running.allow(&admin, Role::Admin);
        let (url, place) = (running.url(), kept.path().to_owned());
        hubs.borrow_mut().push((running, kept));
        Box::new(Through::new(move || {
            Box::new(HttpStore::open_recalling(&url, Some(&admin), &place).unwrap()) as Box<dyn Store>
        }))
    });
}

#[test]
fn what_is_kept_costs_one_request_and_nothing_else() {
    let (running, people, kept) = (Running::start(Options::default()), People::new(), tempfile::tempdir().unwrap());
    running.allow(&people.alpha, Role::Writer);
    running.allow(&people.gamma, Role::Reader);
    let alpha = running.open(&people.alpha);
    for name in ["trusted", "group:two", "group:three"] {
        let scope = people.scope(name);
        alpha.swap_manifest(&scope.id, None, &scope.manifest).unwrap();
        let objects = [(put(&alpha, &noise(1000, 1)), 1000)];
        let head = origin_head(&people.alpha, &scope.id, 1, None, &objects);
        alpha.swap_head(&scope.id, &people.alpha.id(), None, &objects, &head).unwrap();
    }
    let first = shown(&open(&running, &people.gamma, &kept));
    assert_eq!(first.len(), 6);
    let before = requests(&running);
    assert_eq!(shown(&open(&running, &people.gamma, &kept)), first);
    assert_eq!(requests(&running) - before, 1);
}

/// The documents that a history of changes goes through.
struct World<'a> {
    people: &'a People,
    scopes: Vec<Scope>,
    heads: Vec<(u64, Option<Vec<u8>>, u64, Option<Vec<u8>>)>,
    receipts: Vec<(u64, Option<Vec<u8>>)>,
    names: u64,
    card: Option<Vec<u8>>,
}

impl World<'_> {
    /// Changes something, as its owner would.
    fn step(&mut self, random: &mut Prng, place: &dyn Store) {
        let at = random.below(self.scopes.len() as u64) as usize;
        let (people, scope) = (self.people, &self.scopes[at]);
        let expected = |old: &Option<Vec<u8>>| old.as_ref().map(|bytes| hash_of(bytes));
        let (seq, head, writes, written) = &mut self.heads[at];
        match random.below(8) {
            // First with gamma among its readers, and after that without.
            0 => match place.manifest(&scope.id).unwrap() {
                None => place.swap_manifest(&scope.id, None, &scope.manifest).unwrap(),
                Some(there) if there == scope.manifest && at == 1 => {
                    place.swap_manifest(&scope.id, Some(hash_of(&there)), &people.without_gamma(scope)).unwrap();
                }
                Some(_) => {}
            },
            1 | 2 if place.manifest(&scope.id).unwrap().is_some() => {
                let objects = [(put(place, &noise(1000, 1)), 1000)];
                let new = origin_head(&people.alpha, &scope.id, *seq + 1, head.as_deref(), &objects);
                place.swap_head(&scope.id, &people.alpha.id(), expected(head), &objects, &new).unwrap();
                (*seq, *head) = (*seq + 1, Some(new));
            }
            3 if head.is_some() => {
                let new = writer_head(&people.beta, &scope.id, *writes + 1, written.as_deref());
                let there = place.head(&scope.id, &people.beta.id()).unwrap();
                place.swap_head(&scope.id, &people.beta.id(), expected(&there), &[], &new).unwrap();
                (*writes, *written) = (*writes + 1, Some(new));
            }
            4 => {
                let there = place.head(&scope.id, &people.beta.id()).unwrap();
                if let Some(hash) = expected(&there) {
                    place.remove_head(&scope.id, &people.beta.id(), hash).unwrap();
                }
            }
            5 if place.manifest(&scope.id).unwrap().is_some() => {
                let (seq, old) = &mut self.receipts[at];
                let new = receipt(&people.beta, &scope.id, *seq + 1);
                place.swap_receipt(&scope.id, &people.beta.id(), expected(old), &new).unwrap();
                (*seq, *old) = (*seq + 1, Some(new));
            }
            6 => {
                let new = card(&people.alpha, &format!("alpha{}", self.names), 0);
                place.swap_card(&people.alpha.id(), expected(&self.card), &new).unwrap();
                (self.names, self.card) = (self.names + 1, Some(new));
            }
            _ => {}
        }
    }
}

#[test]
fn whatever_changes_is_seen_as_by_a_client_that_keeps_nothing() {
    let seeds = std::env::var("WBSYNC_SEEDS").ok().and_then(|text| text.parse().ok()).unwrap_or(4);
    for seed in 0..seeds {
        let (mut random, people) = (Prng::new(seed), People::new());
        let mut running = Running::start(Options::default());
        running.allow(&people.alpha, Role::Admin);
        running.allow(&people.gamma, Role::Reader);
        let kept = tempfile::tempdir().unwrap();
        let scopes: Vec<_> = ["public", "trusted", "group:others"].iter().map(|name| people.scope(name)).collect();
        let count = scopes.len();
        let mut world = World {
            people: &people,
            scopes,
            heads: vec![(0, None, 0, None); count],
            receipts: vec![(0, None); count],
            names: 0,
            card: None,
        };
        for step in 0..120 {
            {
                // An administrator may write whatever its signers signed.
                let alpha = running.open(&people.alpha);
                for _ in 0..random.below(4) {
                    world.step(&mut random, &alpha);
                }
            }
            if random.chance(30) {
                let dir = running.stop();
                running = Running::start_in(dir, Options::default());
            }
            if random.chance(500) {
                let store = open(&running, &people.gamma, &kept);
                assert_eq!(shown(&store), shown(&running.open(&people.gamma)), "seed {seed}, step {step}");
                // It may also be renewed while it is open.
                world.step(&mut random, &running.open(&people.alpha));
                store.renew().unwrap();
                assert_eq!(shown(&store), shown(&running.open(&people.gamma)), "seed {seed}, step {step}, renewed");
            }
        }
    }
}

#[test]
fn who_becomes_a_member_sees_what_was_there_before() {
    let (people, kept) = (People::new(), tempfile::tempdir().unwrap());
    let running = Running::start(Options { public: true, ..Options::default() });
    running.allow(&people.alpha, Role::Writer);
    let alpha = running.open(&people.alpha);
    for name in ["public", "trusted"] {
        let scope = people.scope(name);
        alpha.swap_manifest(&scope.id, None, &scope.manifest).unwrap();
    }
    assert_eq!(shown(&open(&running, &people.gamma, &kept)).len(), 1);
    running.allow(&people.gamma, Role::Reader);
    assert_eq!(shown(&open(&running, &people.gamma, &kept)).len(), 2);
}

#[test]
fn what_another_process_writes_is_seen_a_moment_later() {
    let (people, kept) = (People::new(), tempfile::tempdir().unwrap());
    let running = Running::start(Options::default());
    running.allow(&people.gamma, Role::Reader);
    assert_eq!(shown(&open(&running, &people.gamma, &kept)), []);
    running.store().swap_card(&people.beta.id(), None, &card(&people.beta, "beta", 0)).unwrap();
    std::thread::sleep(REFRESH_EVERY + Duration::from_millis(100));
    assert_eq!(shown(&open(&running, &people.gamma, &kept)).len(), 1);
}
