//! Requests that a hub has to refuse, spoken by hand: each with its status, and nothing stored.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use wbsync::exchange::check::object_id;
use wbsync::exchange::layout::OBJECT_BYTES_MAX;
use wbsync::exchange::store::{Store, StoreError};
use wbsync::hub::limits::{CLOCK_SECONDS, HEADER_BYTES_MAX, REFUSALS_BURST, UPLOADS_PER_INSTANCE};
use wbsync::hub::log::Event;
use wbsync::hub::members::Role;
use wbsync::hub::service::Options;
use wbsync::keys::document::hash_of;
use wbsync::keys::identity::Identity;
use wbsync::sys::clock;
use wbsync::transport::http::signature::{Covered, Fields, digest_of, sign};

use crate::contract::{get, noise, put};
use crate::dir::Mount;
use crate::http::Running;
use crate::signed::{People, card, origin_head, writer_head};

/// What came back.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Reply {
    status: u16,
    text: String,
}

/// A request by hand.
#[derive(Clone)]
struct Spoken<'a> {
    method: &'a str,
    target: &'a str,
    body: Vec<u8>,
    headers: Vec<(&'a str, String)>,
}

impl<'a> Spoken<'a> {
    fn new(method: &'a str, target: &'a str) -> Self {
        Self { method, target, body: Vec::new(), headers: Vec::new() }
    }

    fn body(mut self, body: &[u8]) -> Self {
        self.body = body.to_vec();
        self
    }

    fn header(mut self, name: &'a str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// Signs for the hub at `running`, as made at `created`.
    fn signed_at(mut self, running: &Running, identity: &Identity, created: u64) -> Self {
        let digest = (!self.body.is_empty() && !self.target.contains("objects/")).then(|| digest_of(&self.body));
        let Fields { input, signature } =
            fields(running, identity, self.method, self.target, digest.as_deref(), created);
        if let Some(digest) = digest {
            self.headers.push(("Content-Digest", digest));
        }
        self.headers.push(("Signature-Input", input));
        self.headers.push(("Signature", signature));
        self
    }

    fn signed(self, running: &Running, identity: &Identity) -> Self {
        self.signed_at(running, identity, now())
    }

    fn text(&self, running: &Running) -> Vec<u8> {
        let mut text = format!(
            "{} {} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n",
            self.method,
            self.target,
            running.url().authority
        );
        for (name, value) in &self.headers {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        if !self.body.is_empty()
            && !self.headers.iter().any(|(name, _)| *name == "Content-Length" || *name == "Transfer-Encoding")
        {
            text.push_str(&format!("Content-Length: {}\r\n", self.body.len()));
        }
        [text.as_bytes(), b"\r\n", &self.body].concat()
    }

    fn send(&self, running: &Running) -> Reply {
        speak(running, &self.text(running))
    }
}

fn fields(
    running: &Running,
    identity: &Identity,
    method: &str,
    target: &str,
    digest: Option<&str>,
    created: u64,
) -> Fields {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let authority = running.url().authority;
    sign(identity, &Covered { method, authority: &authority, path, query, digest }, created)
}

fn now() -> u64 {
    clock::now().0 / 1000
}

fn speak(running: &Running, bytes: &[u8]) -> Reply {
    let mut stream = TcpStream::connect(running.server.address()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    // The hub may refuse, and hang up, before it has read everything.
    let _ = stream.write_all(bytes);
    reply(stream)
}

fn reply(mut stream: TcpStream) -> Reply {
    let mut bytes = Vec::new();
    let _ = stream.read_to_end(&mut bytes);
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let status = text.strip_prefix("HTTP/1.1 ").and_then(|rest| rest[..3].parse().ok()).unwrap_or(0);
    Reply { status, text }
}

/// Starts a hub with `alpha` as a writer and `gamma` as a reader; `beta` and the stranger are none.
fn scene() -> (Running, People) {
    let running = Running::start(Options::default());
    let people = People::new();
    running.allow(&people.alpha, Role::Writer);
    running.allow(&people.gamma, Role::Reader);
    (running, people)
}

#[track_caller]
fn assert_reply(reply: &Reply, status: u16, code: &str) {
    assert!(
        reply.status == status && reply.text.contains(&format!("\"code\":\"{code}\"")),
        "{status} {code}: {}",
        reply.text
    );
    assert!(reply.text.contains("application/problem+json"), "{}", reply.text);
}

/// Returns the statuses of the log, with how often each.
fn events(running: &Running) -> std::collections::BTreeMap<String, usize> {
    let mut counts = std::collections::BTreeMap::new();
    for event in running.log.lock().unwrap().iter() {
        if let Event::Request { method, status, inside, .. } = event {
            *counts.entry(format!("{method} {status} {inside:?}")).or_default() += 1;
        }
    }
    counts
}

fn assert_empty(running: &Running) {
    let store = running.store();
    assert_eq!(store.objects().unwrap(), []);
    assert_eq!(store.scopes().unwrap(), []);
    assert_eq!(store.cards().unwrap(), []);
}

#[test]
fn nobody_without_a_good_signature_is_heard() {
    let (running, people) = scene();
    let target = format!("/instances/{}", people.alpha.id());
    let document = card(&people.alpha, "alpha", 0);
    let put = Spoken::new("PUT", &target).body(&document).header("If-None-Match", "*");
    assert_reply(&put.send(&running), 401, "unsigned");
    assert_reply(&put.clone().signed(&running, &people.stranger).send(&running), 403, "not-a-member");
    for (from, to) in [("\"@path\" ", ""), ("ed25519", "rsa"), ("wbsync=(", "wbsync=( "), ("created=", "created=1")] {
        let mut bent = put.clone().signed(&running, &people.alpha);
        bent.headers.iter_mut().for_each(|(name, value)| {
            if *name == "Signature-Input" {
                *value = value.replace(from, to);
            }
        });
        let reply = bent.send(&running);
        assert!(reply.status == 401, "{from}: {}", reply.text);
    }
    let signed = put.clone().signed(&running, &people.alpha);
    let other_body = Spoken { body: card(&people.alpha, "other", 0), ..signed.clone() };
    assert_reply(&other_body.send(&running), 401, "bad-digest");
    let other_target = format!("/instances/{}", people.beta.id());
    assert_reply(&Spoken { target: &other_target, ..signed.clone() }.send(&running), 401, "bad-signature");
    let twice = signed.clone().header("Signature", "wbsync=:AA==:");
    assert_reply(&twice.send(&running), 401, "bad-signature");
    let undigested =
        Spoken::new("PUT", &target).header("If-None-Match", "*").signed(&running, &people.alpha).body(&document);
    assert_reply(&undigested.send(&running), 401, "bad-digest");
    assert_empty(&running);
    let signed = put.clone().signed(&running, &people.alpha);
    assert_eq!(signed.send(&running).status, 204, "the same, unbent");
    assert_reply(&signed.send(&running), 401, "replayed");
}

#[test]
fn old_and_early_requests_do_not_count_and_learn_the_time() {
    let (running, people) = scene();
    for created in [now() - CLOCK_SECONDS - 5, now() + CLOCK_SECONDS + 5, 0, u64::MAX] {
        let reply = Spoken::new("GET", "/scopes").signed_at(&running, &people.alpha, created).send(&running);
        assert_reply(&reply, 401, "clock");
        assert!(reply.text.contains("\"time\":"), "{}", reply.text);
    }
}

#[test]
fn a_revoked_member_and_a_removed_reader_get_nothing_more() {
    let (running, people) = scene();
    let scope = people.scope("trusted");
    let alpha = running.open(&people.alpha);
    let gamma = running.open(&people.gamma);
    let id = put(&alpha, b"sealed");
    alpha.swap_manifest(&scope.id, None, &scope.manifest).unwrap();
    let head = origin_head(&people.alpha, &scope.id, 1, None, &[(id, 6)]);
    alpha.swap_head(&scope.id, &people.alpha.id(), None, &[(id, 6)], &head).unwrap();
    assert_eq!(gamma.scopes().unwrap(), [scope.id]);
    assert_eq!(gamma.head(&scope.id, &people.alpha.id()).unwrap(), Some(head.clone()));
    assert!(gamma.object(&id, 0).is_ok());
    running.allow(&people.stranger, Role::Writer);
    let stranger = running.open(&people.stranger);
    assert_eq!(stranger.scopes().unwrap(), [], "who isn't a reader doesn't learn that it is there");
    assert_eq!(stranger.manifest(&scope.id).unwrap(), None);
    assert_eq!(stranger.head(&scope.id, &people.alpha.id()).unwrap(), None);
    assert!(stranger.object(&id, 0).is_err());
    assert_eq!(stranger.object_size(&id).unwrap(), None);

    let next = people.without_gamma(&scope);
    alpha.swap_manifest(&scope.id, Some(hash_of(&scope.manifest)), &next).unwrap();
    assert_eq!(gamma.manifest(&scope.id).unwrap(), None);
    assert_eq!(gamma.heads(&scope.id).unwrap(), []);
    assert_eq!(gamma.head(&scope.id, &people.alpha.id()).unwrap(), None);
    assert!(gamma.object(&id, 0).is_err());
    running.members().deny(&people.gamma.id()).unwrap();
    assert!(gamma.scopes().is_err());
}

#[test]
fn documents_are_checked_as_their_readers_will() {
    let (running, people) = scene();
    let scope = people.scope("trusted");
    let (alpha, id) = (people.alpha.id(), scope.id);
    let put_as = |who: &Identity, target: &str, condition: (&'static str, String), body: &[u8]| {
        Spoken::new("PUT", target).header(condition.0, condition.1).body(body).signed(&running, who).send(&running)
    };
    let fresh = || ("If-None-Match", "*".to_owned());
    let over = |bytes: &[u8]| ("If-Match", format!("\"{}\"", hash_of(bytes)));
    let head_target = format!("/scopes/{id}/heads/{alpha}");
    let manifest_target = format!("/scopes/{id}/manifest");
    let object = put(&running.open(&people.alpha), b"carried");
    let objects = [(object, 7)];
    let first = origin_head(&people.alpha, &id, 1, None, &objects);

    assert_reply(&put_as(&people.alpha, &head_target, fresh(), &first), 409, "no-manifest");
    assert_reply(&put_as(&people.gamma, &manifest_target, fresh(), &scope.manifest), 403, "read-only-member");
    running.allow(&people.stranger, Role::Writer);
    assert_reply(&put_as(&people.stranger, &manifest_target, fresh(), &scope.manifest), 403, "not-yours");
    assert_reply(&put_as(&people.alpha, &manifest_target, fresh(), b"nonsense"), 422, "invalid");
    assert_reply(&put_as(&people.alpha, &manifest_target, fresh(), &first), 422, "invalid");
    let other = people.scope("trusted");
    assert_reply(&put_as(&people.alpha, &manifest_target, fresh(), &other.manifest), 422, "invalid");
    assert_reply(
        &put_as(&people.alpha, &manifest_target, ("If-Match", "\"x\"".into()), &scope.manifest),
        400,
        "malformed",
    );
    let no_condition = Spoken::new("PUT", &manifest_target).body(&scope.manifest).signed(&running, &people.alpha);
    assert_reply(&no_condition.send(&running), 428, "no-condition");
    assert_eq!(running.store().scopes().unwrap(), []);
    assert_eq!(put_as(&people.alpha, &manifest_target, fresh(), &scope.manifest).status, 204);

    let mut bent = first.clone();
    *bent.last_mut().unwrap() ^= 1;
    assert_reply(&put_as(&people.alpha, &head_target, fresh(), &bent), 422, "invalid");
    let lacking = origin_head(&people.alpha, &id, 1, None, &[(object_id(b"lacking"), 7)]);
    assert_reply(&put_as(&people.alpha, &head_target, fresh(), &lacking), 409, "incomplete");
    let foreign = origin_head(&people.gamma, &id, 1, None, &objects);
    let foreign_target = format!("/scopes/{id}/heads/{}", people.gamma.id());
    assert_reply(&put_as(&people.alpha, &foreign_target, fresh(), &foreign), 403, "not-a-writer");
    assert_reply(&put_as(&people.stranger, &head_target, fresh(), &first), 403, "not-yours");
    assert_eq!(running.store().heads(&id).unwrap(), []);
    assert_eq!(put_as(&people.alpha, &head_target, fresh(), &first).status, 204);
    let writers = writer_head(&people.beta, &id, 1, None);
    let writers_target = format!("/scopes/{id}/heads/{}", people.beta.id());
    assert_eq!(put_as(&people.alpha, &writers_target, fresh(), &writers).status, 204, "a writer's head may be relayed");

    let second = origin_head(&people.alpha, &id, 2, Some(&first), &objects);
    let forked = origin_head(&people.alpha, &id, 2, Some(&second), &objects);
    assert_reply(&put_as(&people.alpha, &head_target, fresh(), &second), 412, "swapped");
    assert_reply(&put_as(&people.alpha, &head_target, over(&second), &second), 412, "swapped");
    assert_reply(&put_as(&people.alpha, &head_target, over(&first), &forked), 409, "forked");
    let wild = origin_head(&people.alpha, &id, 9_000_000, Some(&first), &objects);
    assert_reply(&put_as(&people.alpha, &head_target, over(&first), &wild), 409, "wild-jump");
    assert_eq!(put_as(&people.alpha, &head_target, over(&first), &second).status, 204);
    assert_reply(&put_as(&people.alpha, &head_target, over(&second), &first), 409, "older");
    assert_eq!(running.store().head(&id, &alpha).unwrap().unwrap(), second);

    let newer = card(&people.alpha, "alpha", 1);
    let card_target = format!("/instances/{alpha}");
    assert_reply(&put_as(&people.stranger, &card_target, fresh(), &newer), 403, "not-yours");
    assert_reply(&put_as(&people.alpha, &card_target, fresh(), &card(&people.beta, "beta", 0)), 422, "invalid");
    assert_eq!(put_as(&people.alpha, &card_target, fresh(), &newer).status, 204);
    assert_reply(&put_as(&people.alpha, &card_target, over(&newer), &card(&people.alpha, "alpha", 0)), 409, "older");
    let removal = Spoken::new("DELETE", &card_target).signed(&running, &people.alpha);
    assert_reply(&removal.send(&running), 405, "method");
}

#[test]
fn wrong_and_oversized_bodies_are_refused_and_leave_nothing() {
    let (running, people) = scene();
    let id = object_id(b"right");
    let target = format!("/objects/{}/{id}.age", &id.to_string()[..2]);
    let signed = || Spoken::new("PUT", &target).signed(&running, &people.alpha);
    assert_reply(&signed().body(b"wrong").send(&running), 422, "damaged");
    let too_long = signed().header("Content-Length", (OBJECT_BYTES_MAX + 1).to_string());
    assert_reply(&too_long.send(&running), 413, "too-large");
    let chunked = signed().header("Transfer-Encoding", "chunked").body(b"5\r\nright\r\n0\r\n\r\n");
    assert_reply(&chunked.send(&running), 411, "no-length");
    let mut cut = TcpStream::connect(running.server.address()).unwrap();
    cut.write_all(&signed().header("Content-Length", "500").body(b"begun").text(&running)).unwrap();
    cut.shutdown(Shutdown::Write).unwrap();
    let cut = reply(cut);
    assert!([0, 400].contains(&cut.status), "{cut:?}");
    let card_target = format!("/instances/{}", people.alpha.id());
    let card = || Spoken::new("PUT", &card_target).header("If-None-Match", "*").signed(&running, &people.alpha);
    let huge = card().header("Content-Length", "9999999999");
    assert_reply(&huge.send(&running), 413, "too-large");
    let list = Spoken::new("POST", "/missing").body(&vec![b' '; 300 << 10]).signed(&running, &people.alpha);
    assert_reply(&list.send(&running), 413, "too-large");
    for json in ["{", "{}", "{\"objects\":[[\"ab\",1]]}", "{\"objects\":[],\"more\":1}", "[]"] {
        let reply =
            Spoken::new("POST", "/missing").body(json.as_bytes()).signed(&running, &people.alpha).send(&running);
        assert_reply(&reply, 400, "malformed");
    }
    assert_empty(&running);
    assert_eq!(running.members().member(&people.alpha.id()).unwrap().unwrap().used_bytes, 0);
}

#[test]
fn an_object_is_healed_by_right_bytes_only_and_only_where_it_is_damaged() {
    let (running, people) = scene();
    let bytes = noise(5_000, 11);
    let id = put(&running.open(&people.alpha), &bytes);
    let used = || running.members().member(&people.alpha.id()).unwrap().unwrap().used_bytes;
    let path = running.dir.path().join("store").join(format!("objects/{}/{id}.age", &id.to_string()[..2]));
    let heal = format!("/objects/{}/{id}.age?heal", &id.to_string()[..2]);
    let send = |who: &Identity, body: &[u8]| Spoken::new("PUT", &heal).signed(&running, who).body(body).send(&running);
    let mut flipped = bytes.clone();
    flipped[2_500] ^= 1;
    assert_eq!(send(&people.alpha, &flipped).status, 204, "what is whole is left alone");
    assert!(std::fs::read(&path).unwrap() == bytes);
    std::fs::write(&path, &flipped).unwrap();
    let other = noise(5_000, 12);
    assert_reply(&send(&people.alpha, &other), 422, "damaged");
    assert_reply(&send(&people.alpha, &flipped), 422, "damaged");
    assert_reply(&send(&people.gamma, &bytes), 403, "read-only-member");
    assert!(std::fs::read(&path).unwrap() == flipped, "nothing was taken away either");
    let asked = |who: &Identity, size: u64| {
        let body = format!("{{\"objects\":[[\"{id}\",{size}]]}}");
        Spoken::new("POST", "/damaged").body(body.as_bytes()).signed(&running, who).send(&running)
    };
    assert_reply(&asked(&people.gamma, 5_000), 403, "read-only-member");
    assert_reply(&asked(&people.alpha, OBJECT_BYTES_MAX + 1), 413, "too-large");
    assert!(asked(&people.alpha, 5_000).text.contains(&id.to_string()));
    assert_eq!(send(&people.alpha, &bytes).status, 201);
    assert!(std::fs::read(&path).unwrap() == bytes && !asked(&people.alpha, 5_000).text.contains(&id.to_string()));
    assert_eq!(used(), 5_000, "it counts once");
}

#[test]
fn a_range_that_does_not_go_on_is_refused_and_a_dead_upload_is_taken_over() {
    let (running, people) = scene();
    let bytes = noise(1_000_000, 7);
    let id = object_id(&bytes);
    let target = format!("/objects/{}/{id}.age", &id.to_string()[..2]);
    let signed = || Spoken::new("PUT", &target).signed(&running, &people.alpha);
    for range in ["bytes 10-19/1000000", "bytes 999990-999999/*", "bytes 1-10/11", "10", "bytes 999991-1000000/1000001"]
    {
        let reply = signed().header("Content-Range", range).body(&bytes[..9]).send(&running);
        assert_reply(&reply, 400, "malformed");
    }
    let huge = format!("bytes {OBJECT_BYTES_MAX}-{}/{}", OBJECT_BYTES_MAX + 8, OBJECT_BYTES_MAX + 9);
    assert_reply(&signed().header("Content-Range", huge).body(&bytes[..9]).send(&running), 413, "too-large");
    let beyond = signed().header("Content-Range", "bytes 500000-999999/1000000").body(&bytes[500_000..]).send(&running);
    assert_reply(&beyond, 409, "offset");
    assert!(beyond.text.contains("\"offset\":0"), "{}", beyond.text);

    // Another body that claims to go on spoils its own part only.
    let mut stalled = TcpStream::connect(running.server.address()).unwrap();
    let begun = signed().header("Content-Length", "1000000").body(&bytes[..600_000]).text(&running);
    stalled.write_all(&begun).unwrap();
    let part = running.dir.path().join(format!("store/hub/parts/{}/{id}.part", people.alpha.id()));
    let arrived = || std::fs::metadata(&part).map_or(0, |found| found.len());
    let started = Instant::now();
    while arrived() < 500_000 {
        assert!(started.elapsed() < Duration::from_secs(20), "{}", arrived());
        std::thread::yield_now();
    }
    let store = running.open(&people.alpha);
    let started = Instant::now();
    store.put_object(&id, 1_000_000, &mut &*bytes).unwrap();
    assert!(started.elapsed() < Duration::from_secs(20), "it doesn't wait until the dead one is given up");
    assert!(get(&store, &id, 0) == bytes);
    drop(stalled);

    let other = noise(1_000_000, 8);
    let id = object_id(&other);
    let target = format!("/objects/{}/{id}.age", &id.to_string()[..2]);
    let signed = || Spoken::new("PUT", &target).signed(&running, &people.alpha);
    let mut cut = TcpStream::connect(running.server.address()).unwrap();
    cut.write_all(&signed().header("Content-Length", "1000000").body(&other[..500_000]).text(&running)).unwrap();
    cut.shutdown(Shutdown::Write).unwrap();
    reply(cut);
    let part = running.dir.path().join(format!("store/hub/parts/{}/{id}.part", people.alpha.id()));
    let started = Instant::now();
    while std::fs::metadata(&part).map_or(0, |found| found.len()) < 500_000 {
        assert!(started.elapsed() < Duration::from_secs(20));
        std::thread::yield_now();
    }
    let wrong = signed().header("Content-Range", "bytes 400000-999999/1000000").body(&bytes[400_000..]).send(&running);
    assert_reply(&wrong, 422, "damaged-part");
    assert!(!part.exists(), "what was spoilt is gone");
    assert_eq!(running.store().objects().unwrap().len(), 1);
    assert_eq!(running.members().member(&people.alpha.id()).unwrap().unwrap().used_bytes, 1_000_000);
}

#[test]
fn a_full_disk_is_said_and_keeps_what_was_there() {
    let Some(mount) = Mount::tmpfs(4 << 20) else { return };
    let running = Running::start_in(tempfile::tempdir_in(&mount.path).unwrap(), Options::default());
    let alpha = Identity::generate();
    running.allow(&alpha, Role::Writer);
    let store = running.open(&alpha);
    let small = put(&store, &noise(400_000, 1));
    let big = noise(6_000_000, 2);
    let full = store.put_object(&object_id(&big), 6_000_000, &mut &*big).unwrap_err();
    assert!(matches!(full, StoreError::Full { .. }), "{full:?}");
    assert_eq!(running.store().objects().unwrap().len(), 1, "no half object is left");
    assert!(get(&store, &small, 0) == noise(400_000, 1));
    put(&store, &noise(400_000, 3));
}

#[test]
fn tricks_with_paths_lead_nowhere() {
    let (running, people) = scene();
    let secret = running.dir.path().join("secret");
    std::fs::write(&secret, "secret").unwrap();
    let id = "ab".repeat(32);
    for target in [
        "/../secret".to_owned(),
        "/..%2fsecret".into(),
        "/%2e%2e/secret".into(),
        "//secret".into(),
        "/hub/members.db".into(),
        "/lock".into(),
        "/objects/../hub/members.db".into(),
        format!("/objects/ac/{id}.age"),
        format!("/objects/ab/{id}.age/../../../hub/members.db"),
        format!("/objects/ab/{}.age", "AB".repeat(32)),
        format!("/instances/{id}/"),
        format!("/instances/{id}%00"),
        "/scopes/".into(),
        "/scopes//heads".into(),
        format!("/scopes/{id}/heads"),
    ] {
        for method in ["GET", "PUT", "DELETE"] {
            let reply = Spoken::new(method, &target).signed(&running, &people.alpha).send(&running);
            assert!([400, 404, 405].contains(&reply.status), "{method} {target}: {}", reply.text);
            assert!(!reply.text.contains("secret") && !reply.text.contains("SQLite"), "{target}");
        }
    }
    let absolute = speak(
        &running,
        b"GET http://other.example/scopes HTTP/1.1\r\nHost: other.example\r\nConnection: close\r\n\r\n",
    );
    assert_eq!(absolute.status, 400);
    let long = speak(
        &running,
        format!("GET /{} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", "a".repeat(5000)).as_bytes(),
    );
    assert_eq!(long.status, 414);
}

#[test]
fn floods_of_headers_and_other_protocols_are_cut_off() {
    let (running, _people) = scene();
    let many = (0..200).map(|n| format!("X-{n}: y\r\n")).collect::<String>();
    assert_eq!(speak(&running, format!("GET /info HTTP/1.1\r\nHost: x\r\n{many}\r\n").as_bytes()).status, 431);
    let long = "y".repeat(2 * HEADER_BYTES_MAX);
    assert_eq!(speak(&running, format!("GET /info HTTP/1.1\r\nHost: x\r\nX: {long}\r\n\r\n").as_bytes()).status, 431);
    assert!([0, 400].contains(&speak(&running, &[0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3, 0, 0, b'\r', b'\n']).status));
    let smuggled = b"POST /missing HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nContent-Length: 5\r\nConnection: close\r\n\r\nabcde";
    assert!([0, 400].contains(&speak(&running, smuggled).status));
}

#[test]
fn who_is_slow_on_purpose_is_cut_off_and_holds_up_nobody() {
    let (running, people) = scene();
    let slow: Vec<TcpStream> = (0..100)
        .map(|_| {
            let mut stream = TcpStream::connect(running.server.address()).unwrap();
            stream.write_all(b"GET /info HTTP/1.1\r\nHos").unwrap();
            stream
        })
        .collect();
    let target_of = |number: usize| {
        let id = object_id(&number.to_be_bytes());
        format!("/objects/{}/{id}.age", &id.to_string()[..2])
    };
    let uploads: Vec<TcpStream> = (0..UPLOADS_PER_INSTANCE)
        .map(|number| {
            let target = target_of(number);
            let upload =
                Spoken::new("PUT", &target).signed(&running, &people.alpha).header("Content-Length", "100").body(b"r");
            let mut stream = TcpStream::connect(running.server.address()).unwrap();
            stream.write_all(&upload.text(&running)).unwrap();
            stream
        })
        .collect();
    // One more of the same instance is refused as soon as the others are under way.
    let started = Instant::now();
    let target = target_of(UPLOADS_PER_INSTANCE);
    loop {
        let reply =
            Spoken::new("PUT", &target).signed(&running, &people.alpha).header("Content-Length", "0").send(&running);
        // Either it, or one of those above that came later than it.
        if events(&running).keys().any(|event| event.starts_with("PUT 429")) {
            break;
        }
        assert!(started.elapsed() < Duration::from_secs(20), "{reply:?} {:?}", events(&running));
    }
    running.allow(&people.beta, Role::Writer);
    put(&running.open(&people.beta), b"others are served meanwhile");
    let started = Instant::now();
    for mut stream in slow {
        stream.set_read_timeout(Some(Duration::from_secs(40))).unwrap();
        let mut rest = Vec::new();
        // Closed, with or without words.
        let ended = stream.read_to_end(&mut rest);
        assert!(ended.is_ok() || ended.is_err_and(|error| error.kind() == std::io::ErrorKind::ConnectionReset));
    }
    assert!(started.elapsed() < Duration::from_secs(40));
    for stream in uploads {
        let reply = reply(stream);
        assert!([0, 408, 429].contains(&reply.status), "{reply:?} {:?}", running.log.lock().unwrap());
    }
    assert_eq!(running.store().objects().unwrap().len(), 1, "the one of the others");
}

#[test]
fn who_is_refused_again_and_again_is_not_listened_to() {
    let (running, people) = scene();
    let mut last = 0;
    for _ in 0..REFUSALS_BURST + 200 {
        last = Spoken::new("GET", "/scopes").signed(&running, &people.stranger).send(&running).status;
        if last == 429 {
            break;
        }
        assert_eq!(last, 403);
    }
    assert_eq!(last, 429);
    let log = running.log.lock().unwrap();
    assert!(log.iter().any(|event| matches!(event, Event::Request { status: 429, .. })));
}
