//! The store contract over HTTP, against a real hub on loopback.

use std::cell::RefCell;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use wbsync::exchange::layout::StorePath;
use wbsync::exchange::store::{Store, StoreError};
use wbsync::hub::limits::REFRESH_EVERY;
use wbsync::hub::listen::{Place, Server, Trust};
use wbsync::hub::log::Event;
use wbsync::hub::members::{Members, Role};
use wbsync::hub::service::{Hub, Options};
use wbsync::id::bytes::InstanceId;
use wbsync::keys::document::hash_of;
use wbsync::keys::identity::Identity;
use wbsync::sys::clock::{self, UnixMillis};
use wbsync::transport::dir::DirStore;
use wbsync::transport::http::store::HttpStore;
use wbsync::transport::http::url::HttpUrl;

use crate::contract::{noise, put, store_contract};
use crate::signed::{People, card, origin_head};

/// A hub that runs, and what it logged.
pub(crate) struct Running {
    pub(crate) dir: TempDir,
    pub(crate) server: Server,
    pub(crate) log: Arc<Mutex<Vec<Event>>>,
}

impl Running {
    pub(crate) fn start(options: Options) -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), options)
    }

    pub(crate) fn start_in(dir: TempDir, options: Options) -> Self {
        let log = Arc::new(Mutex::new(Vec::new()));
        let server = serve(dir.path(), options, Arc::clone(&log));
        Self { dir, server, log }
    }

    /// Ends it and returns its directory.
    pub(crate) fn stop(self) -> TempDir {
        self.server.stop();
        self.dir
    }

    pub(crate) fn members(&self) -> Members {
        Members::open(&self.dir.path().join("store")).unwrap()
    }

    pub(crate) fn allow(&self, identity: &Identity, role: Role) {
        self.members().allow(&identity.id(), role, clock::now()).unwrap();
    }

    pub(crate) fn store(&self) -> DirStore {
        DirStore::open(&self.dir.path().join("store")).unwrap()
    }

    pub(crate) fn url(&self) -> HttpUrl {
        HttpUrl::parse(&self.server.url()).unwrap()
    }

    /// Opens it as `identity`.
    pub(crate) fn open(&self, identity: &Identity) -> HttpStore {
        HttpStore::open(&self.url(), Some(identity)).unwrap()
    }
}

fn serve(dir: &Path, options: Options, log: Arc<Mutex<Vec<Event>>>) -> Server {
    let root = dir.join("store");
    let store = DirStore::create(&root).unwrap();
    let members = Members::open(&root).unwrap();
    let hub =
        Hub::new(store, members, options, Arc::new(move |event| log.lock().unwrap().push(event.clone()))).unwrap();
    let place = Place { address: "127.0.0.1:0".parse().unwrap(), tls: None, trust: Trust::Loopback };
    hub.recount().unwrap();
    Server::start(Arc::new(hub), &place).unwrap()
}

/// Asks for something as anyone, and returns status, headers and body.
pub(crate) fn ask(running: &Running, path: &str, headers: &[(&str, &str)]) -> (u16, String, Vec<u8>) {
    let mut stream = TcpStream::connect(running.server.address()).unwrap();
    let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n{headers}\r\n", running.url().authority)
        .unwrap();
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    let at = bytes.windows(4).position(|part| part == b"\r\n\r\n").unwrap();
    let head = String::from_utf8(bytes[..at].to_vec()).unwrap();
    (head[9..12].parse().unwrap(), head, bytes[at + 4..].to_vec())
}

#[test]
fn objects_and_documents_are_cacheable_and_read_by_range() {
    let running = Running::start(Options { public: true, ..Options::default() });
    let people = People::new();
    running.allow(&people.alpha, Role::Writer);
    let alpha = running.open(&people.alpha);
    let scope = people.scope("public");
    let bytes = noise(1000, 1);
    let id = put(&alpha, &bytes);
    let path = format!("/objects/{}/{id}.age", &id.to_string()[..2]);
    assert_eq!(ask(&running, &path, &[]).0, 404, "no public head names it yet");
    alpha.swap_manifest(&scope.id, None, &scope.manifest).unwrap();
    let head = origin_head(&people.alpha, &scope.id, 1, None, &[(id, 1000)]);
    alpha.swap_head(&scope.id, &people.alpha.id(), None, &[(id, 1000)], &head).unwrap();

    let (status, headers, body) = ask(&running, &path, &[]);
    assert_eq!((status, &body), (200, &bytes));
    assert!(headers.contains(&format!("etag: \"{id}\"")) && headers.contains("immutable"), "{headers}");
    let (status, headers, body) = ask(&running, &path, &[("Range", "bytes=990-")]);
    assert_eq!((status, &body[..]), (206, &bytes[990..]));
    assert!(headers.contains("content-range: bytes 990-999/1000"), "{headers}");
    assert_eq!(ask(&running, &path, &[("Range", "bytes=1000-")]).0, 416);
    for range in ["bytes=1-2", "bytes=-5", "bytes=0-1,5-6", "lines=1-", "bytes=99999999999999999999999-"] {
        assert_eq!(ask(&running, &path, &[("Range", range)]).2, bytes, "{range}");
    }
    assert_eq!(ask(&running, &path, &[("Range", "bytes=990-"), ("If-Range", "\"other\"")]).2, bytes);
    assert_eq!(ask(&running, &path, &[("If-None-Match", &format!("\"{id}\""))]).0, 304);
    let path = format!("/scopes/{}/manifest", scope.id);
    let tag = format!("\"{}\"", hash_of(&scope.manifest));
    assert_eq!(ask(&running, &path, &[]).2, scope.manifest);
    assert_eq!(ask(&running, &path, &[("If-None-Match", &tag)]).0, 304);
}

#[test]
fn anyone_learns_of_public_scopes_only_and_only_if_the_hub_says_so() {
    for public in [true, false] {
        let running = Running::start(Options { public, ..Options::default() });
        let people = People::new();
        running.allow(&people.alpha, Role::Writer);
        let alpha = running.open(&people.alpha);
        let scopes = ["public", "trusted"].map(|name| people.scope(name));
        for scope in &scopes {
            alpha.swap_manifest(&scope.id, None, &scope.manifest).unwrap();
        }
        alpha.swap_card(&people.alpha.id(), None, &card(&people.alpha, "alpha", 0)).unwrap();
        running.allow(&people.beta, Role::Writer);
        running.open(&people.beta).swap_card(&people.beta.id(), None, &card(&people.beta, "beta", 0)).unwrap();
        for nobody in [None, Some(&people.stranger)] {
            let store = HttpStore::open(&running.url(), nobody).unwrap();
            if !public {
                assert!(matches!(store.scopes(), Err(StoreError::Denied { .. })));
                continue;
            }
            assert_eq!(store.scopes().unwrap(), [scopes[0].id]);
            assert_eq!(store.manifest(&scopes[1].id).unwrap(), None);
            assert_eq!(store.cards().unwrap(), [people.alpha.id()], "beta has nothing public");
            assert!(store.swap_card(&people.stranger.id(), None, &card(&people.stranger, "x", 0)).is_err());
        }
    }
}

#[test]
fn changes_come_once_in_order_and_are_waited_for() {
    let running = Running::start(Options::default());
    let people = People::new();
    running.allow(&people.alpha, Role::Writer);
    running.allow(&people.gamma, Role::Reader);
    let (alpha, gamma) = (running.open(&people.alpha), running.open(&people.gamma));
    let none = gamma.changes(None, Duration::ZERO).unwrap();
    assert_eq!((none.changes.len(), none.more), (0, false));
    let scope = people.scope("trusted");
    let path = format!("scopes/{}/manifest", scope.id);
    let changed = std::thread::scope(|threads| {
        let waiting = threads.spawn(|| {
            let started = Instant::now();
            let changes = gamma.changes(Some(&none.cursor), Duration::from_secs(40)).unwrap();
            (changes, started.elapsed())
        });
        alpha.swap_manifest(&scope.id, None, &scope.manifest).unwrap();
        waiting.join().unwrap()
    });
    assert_eq!(changed.0.changes.iter().map(|change| &change.path[..]).collect::<Vec<_>>(), [path.as_str()]);
    assert!(changed.1 < Duration::from_secs(20), "it was told when it happened");
    assert_eq!(gamma.changes(Some(&changed.0.cursor), Duration::ZERO).unwrap().changes, []);
    // Another process writes to the store: it is noticed too.
    let card = card(&people.beta, "beta", 0);
    running.store().swap_card(&people.beta.id(), None, &card).unwrap();
    let noticed = gamma.changes(Some(&changed.0.cursor), Duration::from_secs(40)).unwrap();
    assert_eq!(noticed.changes.len(), 1);
    assert_eq!(noticed.changes[0].hash, Some(hash_of(&card).to_string()));
    let all = gamma.changes(Some("00000000000000000000000000000000.7"), Duration::ZERO).unwrap();
    assert_eq!(all.changes.len(), 2, "a cursor of another start brings everything");
}

#[test]
fn ten_thousand_heads_are_listed_by_pages_and_then_cost_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let store = DirStore::create(&dir.path().join("store")).unwrap();
    let people = People::new();
    let scope = people.scope("public");
    store.swap_manifest(&scope.id, None, &scope.manifest).unwrap();
    for number in 0..10_000u32 {
        let mut id = [7; 32];
        id[..4].copy_from_slice(&number.to_be_bytes());
        // Not signed: a hub lists what lies there, and readers verify.
        let path = StorePath::Head(scope.id, InstanceId::from_bytes(id)).under(&dir.path().join("store"));
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, number.to_be_bytes()).unwrap();
    }
    let running = Running::start_in(dir, Options { public: true, ..Options::default() });
    let client = HttpStore::open(&running.url(), None).unwrap();
    let (mut cursor, mut seen, mut answers) = (None, 0, 0);
    loop {
        let page = client.changes(cursor.as_deref(), Duration::ZERO).unwrap();
        seen += page.changes.len();
        answers += 1;
        cursor = Some(page.cursor);
        if !page.more {
            break;
        }
    }
    assert_eq!((seen, answers), (10_001, 11));
    let started = Instant::now();
    for _ in 0..20 {
        assert_eq!(client.changes(cursor.as_deref(), Duration::ZERO).unwrap().changes, []);
    }
    let _ = writeln!(std::io::stderr(), "20 looks for changes among 10,000 heads: {:?}", started.elapsed());
    // Files this young are read twice, for they may have changed within one tick of their dates.
    let reads = || running.server.hub().documents_read();
    let until = Instant::now() + Duration::from_secs(30);
    loop {
        let before = reads();
        assert!(before <= 3 * 10_001, "{before} documents read for 10,001");
        std::thread::sleep(REFRESH_EVERY + Duration::from_millis(100));
        assert_eq!(client.changes(cursor.as_deref(), Duration::ZERO).unwrap().changes, []);
        if reads() == before {
            break;
        }
        assert!(Instant::now() < until, "documents that don't change are read again and again");
    }
    let settled = reads();
    let mut one = [7; 32];
    one[..4].copy_from_slice(&77u32.to_be_bytes());
    std::fs::write(
        StorePath::Head(scope.id, InstanceId::from_bytes(one)).under(&running.dir.path().join("store")),
        b"another",
    )
    .unwrap();
    let changed = client.changes(cursor.as_deref(), Duration::from_secs(20)).unwrap().changes;
    assert_eq!((changed.len(), reads() - settled), (1, 1), "a change costs what changed");
    assert_eq!(client.heads(&scope.id).unwrap().len(), 10_000);
}

#[test]
fn the_openapi_document_is_served_and_names_every_path() {
    let running = Running::start(Options::default());
    let (status, _, body) = ask(&running, "/openapi.json", &[]);
    assert_eq!(status, 200);
    let document: serde_json::Value = serde_json::from_slice(&body).unwrap();
    let mut lines = Vec::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        let filled = path
            .replace("{scope}", &"5c".repeat(16))
            .replace("{signer}", &"ab".repeat(32))
            .replace("{instance}", &"ab".repeat(32))
            .replace("{reader}", &"ab".repeat(32))
            .replace("{prefix}", "ab")
            .replace("{id}", &"ab".repeat(32));
        for method in methods.as_object().unwrap().keys().filter(|name| *name != "parameters") {
            let mut stream = TcpStream::connect(running.server.address()).unwrap();
            let method = method.to_uppercase();
            let length = if ["PUT", "POST"].contains(&&method[..]) { "Content-Length: 0\r\n" } else { "" };
            write!(stream, "{method} {filled} HTTP/1.1\r\nHost: x\r\n{length}Connection: close\r\n\r\n").unwrap();
            let mut reply = String::new();
            stream.read_to_string(&mut reply).unwrap();
            // Known to the hub: what isn't for anyone wants a signature, and is neither unknown nor another method's.
            lines.push(format!("{method} {path}: {}", &reply[9..12]));
            assert!(["200", "401"].contains(&&reply[9..12]), "{method} {path}: {reply}");
        }
    }
    insta::assert_snapshot!(lines.join("\n"));
    let (_, _, body) = ask(&running, "/info", &[]);
    let info: serde_json::Value = serde_json::from_slice(&body).unwrap();
    let told: Vec<_> = info["limits"].as_object().unwrap().keys().cloned().collect();
    let documented = &document["components"]["schemas"]["Info"]["properties"]["limits"]["properties"];
    assert_eq!(told, documented.as_object().unwrap().keys().cloned().collect::<Vec<_>>());
}

#[test]
fn a_hub_keeps_the_store_contract() {
    let hubs = RefCell::new(Vec::new());
    store_contract(|| {
        let running = Running::start(Options::default());
        let admin = Identity::generate();
        running.allow(&admin, Role::Admin);
        let store = running.open(&admin);
        hubs.borrow_mut().push(running);
        Box::new(store)
    });
}

#[test]
fn who_stored_an_object_may_remove_it_while_no_head_names_it() {
    let running = Running::start(Options::default());
    let people = People::new();
    let scope = people.scope("public");
    for identity in [&people.alpha, &people.beta] {
        running.allow(identity, Role::Writer);
    }
    let (alpha, beta) = (running.open(&people.alpha), running.open(&people.beta));
    const AT_ONCE: UnixMillis = UnixMillis(u64::MAX);
    // A push that ended before its head: nobody but its sender knows of the object, and no scope carries it.
    let left = put(&beta, &noise(3_000, 1));
    let refused = alpha.remove_object(&left, AT_ONCE);
    assert!(matches!(refused, Err(StoreError::Denied { .. })), "{refused:?}");
    assert!(beta.remove_object(&left, AT_ONCE).unwrap());
    assert!(!StorePath::Object(left).under(&running.dir.path().join("store")).exists());
    // What isn't there is no complaint, whosever it was.
    for store in [&alpha, &beta] {
        assert!(!store.remove_object(&left, AT_ONCE).unwrap());
    }
    // What a head names stays, whoever stored it.
    let named = put(&alpha, &noise(3_000, 2));
    alpha.swap_manifest(&scope.id, None, &scope.manifest).unwrap();
    let head = origin_head(&people.alpha, &scope.id, 1, None, &[(named, 3_000)]);
    alpha.swap_head(&scope.id, &people.alpha.id(), None, &[(named, 3_000)], &head).unwrap();
    assert!(alpha.remove_object(&named, AT_ONCE).is_err());
    assert!(StorePath::Object(named).under(&running.dir.path().join("store")).exists());
}
