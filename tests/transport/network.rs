//! A network that cuts, delays and garbles: nothing half is ever visible, and what arrived isn't sent again.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use wbsync::exchange::check::object_id;
use wbsync::exchange::copy::copy_objects;
use wbsync::exchange::fetch::fetch_object;
use wbsync::exchange::store::{Store, StoreError};
use wbsync::hub::limits::PARTS_PER_INSTANCE;
use wbsync::hub::members::Role;
use wbsync::hub::service::Options;
use wbsync::id::bytes::ObjectId;
use wbsync::keys::identity::Identity;
use wbsync::testing::prng::Prng;
use wbsync::transport::dir::DirStore;
use wbsync::transport::http::store::HttpStore;
use wbsync::transport::http::url::HttpUrl;

use crate::contract::{get, noise, put};
use crate::http::Running;
use crate::signed::{People, card, origin_head};

/// What a connection suffers, in one direction after so many bytes.
#[derive(Debug, Clone, Copy)]
enum Trouble {
    CutDown(u64),
    CutUp(u64),
    GarbleDown(u64),
    GarbleUp(u64),
    Delay,
}

/// Passes connections on, each with the next trouble.
struct Proxy {
    address: SocketAddr,
    troubles: Arc<Mutex<VecDeque<Trouble>>>,
    down: Arc<AtomicU64>,
    up: Arc<AtomicU64>,
    /// How long everything takes on its way down, in milliseconds.
    lag: Arc<AtomicU64>,
}

impl Proxy {
    fn before(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let troubles = Arc::new(Mutex::new(VecDeque::new()));
        let down = Arc::new(AtomicU64::new(0));
        let up = Arc::new(AtomicU64::new(0));
        let (next, counted, sent) = (Arc::clone(&troubles), Arc::clone(&down), Arc::clone(&up));
        let lag = Arc::new(AtomicU64::new(0));
        let lagging = Arc::clone(&lag);
        // Ends with the test's process.
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let Ok(server) = TcpStream::connect(server) else { continue };
                let trouble: Option<Trouble> = next.lock().unwrap().pop_front();
                let (cut_up, garble_up, cut_down, garble_down) = match trouble {
                    Some(Trouble::CutUp(at)) => (Some(at), None, None, None),
                    Some(Trouble::GarbleUp(at)) => (None, Some(at), None, None),
                    Some(Trouble::CutDown(at)) => (None, None, Some(at), None),
                    Some(Trouble::GarbleDown(at)) => (None, None, None, Some(at)),
                    Some(Trouble::Delay) => {
                        std::thread::sleep(Duration::from_millis(100));
                        (None, None, None, None)
                    }
                    None => (None, None, None, None),
                };
                let up = (client.try_clone().unwrap(), server.try_clone().unwrap());
                let sent = Arc::clone(&sent);
                let prompt = AtomicU64::new(0);
                std::thread::spawn(move || pass(up.0, up.1, cut_up, garble_up, &sent, &prompt));
                let counted = Arc::clone(&counted);
                let lag = Arc::clone(&lagging);
                std::thread::spawn(move || pass(server, client, cut_down, garble_down, &counted, &lag));
            }
        });
        Self { address, troubles, down, up, lag }
    }

    fn trouble(&self, troubles: impl IntoIterator<Item = Trouble>) {
        self.troubles.lock().unwrap().extend(troubles);
    }

    fn open(&self, identity: &Identity) -> HttpStore {
        HttpStore::open(&HttpUrl::parse(&format!("http://{}", self.address)).unwrap(), Some(identity)).unwrap()
    }
}

fn pass(
    mut from: TcpStream,
    mut to: TcpStream,
    cut: Option<u64>,
    garble: Option<u64>,
    count: &AtomicU64,
    lag: &AtomicU64,
) {
    let mut buffer = [0; 8192];
    let mut passed = 0;
    while let Ok(read @ 1..) = from.read(&mut buffer) {
        let mut part = read;
        std::thread::sleep(Duration::from_millis(lag.load(Ordering::Relaxed)));
        if let Some(at) = garble.filter(|at| (passed..passed + read as u64).contains(at)) {
            buffer[(at - passed) as usize] ^= 1;
        }
        if let Some(at) = cut {
            part = part.min((at - passed) as usize);
        }
        passed += part as u64;
        count.fetch_add(part as u64, Ordering::Relaxed);
        if to.write_all(&buffer[..part]).is_err() || cut == Some(passed) {
            break;
        }
    }
    let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
}

fn scene() -> (Running, Proxy, Identity) {
    let running = Running::start(Options::default());
    let admin = Identity::generate();
    running.allow(&admin, Role::Admin);
    let proxy = Proxy::before(running.server.address());
    (running, proxy, admin)
}

#[test]
fn a_download_goes_on_where_it_was_cut() {
    let (running, proxy, admin) = scene();
    let bytes = noise(3_000_000, 1);
    let id = put(&running.store(), &bytes);
    let store = proxy.open(&admin);
    // The open connection is the first; each cut makes another.
    drop(store);
    proxy.trouble([700_000, 600_000, 500_000].map(Trouble::CutDown));
    let store = proxy.open(&admin);
    let before = proxy.down.load(Ordering::Relaxed);
    assert!(get(&store, &id, 0) == bytes);
    let down = proxy.down.load(Ordering::Relaxed) - before;
    assert!(down < 3_010_000, "{down} bytes came for 3,000,000");
    assert!(proxy.troubles.lock().unwrap().is_empty(), "all of it happened");
}

#[test]
fn a_download_that_is_given_up_is_resumed_from_its_part() {
    let (running, proxy, admin) = scene();
    let bytes = noise(2_000_000, 2);
    let id = put(&running.store(), &bytes);
    let target = tempfile::tempdir().unwrap();
    let mut store = proxy.open(&admin);
    // One cut, and then every other try is cut before its first byte of content.
    proxy.trouble([Trouble::CutDown(100)].repeat(12));
    let mut failed = 0;
    let path = loop {
        match fetch_object(&store, &id, 2_000_000, target.path()) {
            Ok(path) => break path,
            Err(error) => {
                failed += 1;
                assert!(failed < 20, "{error}");
                if let Ok(opened) =
                    HttpStore::open(&HttpUrl::parse(&format!("http://{}", proxy.address)).unwrap(), Some(&admin))
                {
                    store = opened;
                }
            }
        }
    };
    assert!(std::fs::read(path).unwrap() == bytes);
}

#[test]
fn an_upload_that_is_cut_or_garbled_leaves_nothing() {
    let (running, proxy, admin) = scene();
    let mut last = Vec::new();
    for (number, trouble) in
        [Trouble::CutUp(500_000), Trouble::GarbleUp(500_000), Trouble::CutUp(999_999), Trouble::GarbleUp(900_000)]
            .into_iter()
            .enumerate()
    {
        last = noise(1_000_000, 3 + number as u64);
        proxy.trouble([trouble]);
        let store = proxy.open(&admin);
        store.put_object(&object_id(&last), 1_000_000, &mut &last[..]).unwrap_err();
        assert_eq!(running.store().objects().unwrap(), [], "{trouble:?}");
    }
    proxy.open(&admin).put_object(&object_id(&last), 1_000_000, &mut &last[..]).unwrap();
    assert!(get(&running.store(), &object_id(&last), 0) == last);
}

/// A store of one object, its id and its bytes.
fn one_object(bytes: &[u8]) -> (tempfile::TempDir, DirStore, (ObjectId, u64)) {
    let dir = tempfile::tempdir().unwrap();
    let store = DirStore::create(&dir.path().join("from")).unwrap();
    let id = put(&store, bytes);
    (dir, store, (id, bytes.len() as u64))
}

/// What lies in part, by file, at a hub.
fn parts(running: &Running) -> Vec<(String, u64)> {
    let dir = running.dir.path().join("store/hub/parts");
    let files = walkdir::WalkDir::new(dir).into_iter().filter_map(Result::ok);
    files
        .filter(|entry| entry.file_type().is_file())
        .map(|entry| (entry.file_name().to_string_lossy().into_owned(), entry.metadata().unwrap().len()))
        .collect()
}

/// The connection breaks four times within one object, and what came isn't sent again: neither within a push, nor by the next
/// push, nor after the hub was started anew.
#[test]
fn an_upload_goes_on_where_it_was_cut() {
    let running = Running::start(Options::default());
    let writer = Identity::generate();
    running.allow(&writer, Role::Writer);
    let proxy = Proxy::before(running.server.address());
    let bytes = noise(6_000_000, 9);
    let (_dir, from, object) = one_object(&bytes);
    let store = proxy.open(&writer);
    drop(store);
    proxy.trouble([1_500_000, 1_200_000, 900_000].map(Trouble::CutUp));
    let store = proxy.open(&writer);
    let before = proxy.up.load(Ordering::Relaxed);
    copy_objects(&from, &store, &[object], &mut |_| {}).unwrap();
    let up = proxy.up.load(Ordering::Relaxed) - before;
    let _ = writeln!(std::io::stderr(), "{up} bytes were sent for an object of 6,000,000, with 3 cuts");
    // By trying anew it would be 9,600,000. What was under way at a cut may be sent twice.
    assert!(up < 7_500_000, "{up} bytes went for 6,000,000");
    assert!(proxy.troubles.lock().unwrap().is_empty(), "all of it happened");
    assert!(get(&running.store(), &object.0, 0) == bytes);
    assert_eq!(parts(&running), [], "nothing is left of the parts");
    assert_eq!(running.members().member(&writer.id()).unwrap().unwrap().used_bytes, 6_000_000);
}

#[test]
fn what_came_of_an_object_waits_for_the_next_push_and_for_its_sender_alone() {
    let running = Running::start(Options::default());
    let [writer, other] = [(); 2].map(|()| Identity::generate());
    [&writer, &other].into_iter().for_each(|member| running.allow(member, Role::Writer));
    let proxy = Proxy::before(running.server.address());
    let bytes = noise(3_000_000, 10);
    let (_dir, from, object) = one_object(&bytes);
    proxy.trouble([Trouble::CutUp(2_000_000)]);
    proxy.open(&writer).put_object(&object.0, object.1, &mut &bytes[..]).unwrap_err();
    let kept = || running.members().member(&writer.id()).unwrap().unwrap().used_bytes;
    // The hub may not have begun yet, or not have noticed the end: then all of it is set aside.
    let until = Instant::now() + Duration::from_secs(20);
    while !(1_000_000..2_000_000).contains(&kept()) {
        assert!(Instant::now() < until, "a part counts for what it has: {}", kept());
        std::thread::yield_now();
    }
    assert_eq!(parts(&running), [(format!("{}.part", object.0), kept())]);
    assert_eq!(running.store().objects().unwrap(), [], "a part is no object");
    let reader = running.open(&writer);
    assert_eq!(reader.object_size(&object.0).unwrap(), None);
    assert!(reader.object(&object.0, 0).is_err());
    // Somebody else's is a part of its own.
    let before = proxy.up.load(Ordering::Relaxed);
    let (_dir2, from2, smaller) = one_object(&noise(400_000, 11));
    copy_objects(&from2, &proxy.open(&other), &[smaller], &mut |_| {}).unwrap();
    assert!(proxy.up.load(Ordering::Relaxed) - before > 400_000);
    // The hub starts anew, and counts anew.
    let again = Running::start_in(running.stop(), Options::default());
    let proxy = Proxy::before(again.server.address());
    let store = proxy.open(&writer);
    let before = proxy.up.load(Ordering::Relaxed);
    copy_objects(&from, &store, &[object], &mut |_| {}).unwrap();
    let up = proxy.up.load(Ordering::Relaxed) - before;
    assert!(up < 2_010_000, "{up} bytes went for the rest");
    assert!(get(&again.store(), &object.0, 0) == bytes);
    assert_eq!(again.members().member(&writer.id()).unwrap().unwrap().used_bytes, 3_000_000);
    assert_eq!(parts(&again), []);
}

#[test]
fn parts_that_are_garbled_are_begun_anew_and_no_member_has_many() {
    let running = Running::start(Options::default());
    let writer = Identity::generate();
    running.allow(&writer, Role::Writer);
    let proxy = Proxy::before(running.server.address());
    let bytes = noise(2_000_000, 12);
    let (_dir, from, object) = one_object(&bytes);
    proxy.trouble([Trouble::CutUp(1_500_000)]);
    proxy.open(&writer).put_object(&object.0, object.1, &mut &bytes[..]).unwrap_err();
    let part = running.dir.path().join(format!("store/hub/parts/{}/{}.part", writer.id(), object.0));
    let until = Instant::now() + Duration::from_secs(20);
    while !part.exists() || running.members().member(&writer.id()).unwrap().unwrap().used_bytes == 2_000_000 {
        assert!(Instant::now() < until);
        std::thread::yield_now();
    }
    let mut spoilt = std::fs::read(&part).unwrap();
    spoilt[77] ^= 1;
    std::fs::write(&part, spoilt).unwrap();
    copy_objects(&from, &proxy.open(&writer), &[object], &mut |_| {}).unwrap();
    assert!(get(&running.store(), &object.0, 0) == bytes, "by one push, with two tries");

    for number in 0..PARTS_PER_INSTANCE as u64 + 3 {
        let bytes = noise(1_000_000, 100 + number);
        proxy.trouble([Trouble::CutUp(800_000)]);
        proxy.open(&writer).put_object(&object_id(&bytes), 1_000_000, &mut &bytes[..]).unwrap_err();
    }
    assert!(parts(&running).len() <= PARTS_PER_INSTANCE, "{:?}", parts(&running));
}

#[test]
fn a_lost_answer_is_asked_for_again() {
    let (running, proxy, admin) = scene();
    let people = People::new();
    let alpha = people.alpha.id();
    // The answer to `info` passes, the next is cut in the middle.
    for cut in [830, 900, 960] {
        proxy.trouble([Trouble::CutDown(cut)]);
        let store = proxy.open(&admin);
        let (held, document) = (store.card(&alpha).unwrap(), card(&people.alpha, &format!("name{cut}"), 0));
        store.swap_card(&alpha, held.as_deref().map(wbsync::keys::document::hash_of), &document).unwrap();
        assert_eq!(running.store().card(&alpha).unwrap(), Some(document));
    }
}

#[test]
fn whatever_the_network_does_no_head_comes_before_its_objects_and_nothing_wrong_is_held() {
    let seed = std::env::var("WBSYNC_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(7);
    let _ = writeln!(std::io::stderr(), "WBSYNC_SEED={seed}");
    let mut random = Prng::new(seed);
    let (running, proxy, admin) = scene();
    let people = People::new();
    let scope = people.scope("trusted");
    running.store().swap_manifest(&scope.id, None, &scope.manifest).unwrap();
    let from_dir = tempfile::tempdir().unwrap();
    let from = DirStore::create(&from_dir.path().join("from")).unwrap();
    let mut last: Option<Vec<u8>> = None;
    for round in 1..=12u64 {
        let objects: Vec<_> = (0..4)
            .map(|n| {
                let size = 1000 + random.below(300_000) as usize;
                (put(&from, &noise(size, round * 10 + n)), size as u64)
            })
            .collect();
        let head = origin_head(&people.alpha, &scope.id, round, last.as_deref(), &objects);
        for _ in 0..6 {
            let at = random.below(400_000);
            proxy.trouble([match random.below(5) {
                0 => Trouble::CutDown(at / 100 + 200),
                1 => Trouble::CutUp(at),
                2 => Trouble::GarbleDown(at / 100),
                3 => Trouble::GarbleUp(at),
                _ => Trouble::Delay,
            }]);
        }
        let mut tries = 0;
        loop {
            tries += 1;
            assert!(tries < 50, "round {round}");
            let url = HttpUrl::parse(&format!("http://{}", proxy.address)).unwrap();
            let Ok(to) = HttpStore::open(&url, Some(&admin)) else { continue };
            let expected = last.as_deref().map(wbsync::keys::document::hash_of);
            let sent = copy_objects(&from, &to, &objects, &mut |_| {})
                .map_err(drop)
                .and_then(|_| to.swap_head(&scope.id, &people.alpha.id(), expected, &objects, &head).map_err(drop));
            assert_sound(&running, &scope.id, &people);
            if sent.is_ok() {
                break;
            }
        }
        last = Some(head);
    }
    assert_eq!(running.store().head(&scope.id, &people.alpha.id()).unwrap(), last);
}

fn assert_sound(running: &Running, scope: &wbsync::id::bytes::ScopeId, people: &People) {
    let store = running.store();
    for object in store.objects().unwrap() {
        assert_eq!(object_id(&get(&store, &object.id, 0)), object.id);
    }
    if let Some(head) = store.head(scope, &people.alpha.id()).unwrap() {
        let (head, _) = wbsync::exchange::head::Head::open(&head, &people.alpha.id()).unwrap();
        let objects: Vec<_> = head.objects().map(|object| (object.id, object.bytes)).collect();
        assert_eq!(store.missing(&objects).unwrap(), []);
    }
}

/// Answers one request after the other with these, each on a connection of its own, and returns what was asked.
fn scripted(answers: Vec<String>) -> (SocketAddr, std::thread::JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let thread = std::thread::spawn(move || {
        let mut asked = Vec::new();
        for answer in answers {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                stream.read_exact(&mut byte).unwrap();
                request.extend(byte);
            }
            stream.write_all(answer.as_bytes()).unwrap();
            asked.push(String::from_utf8(request).unwrap());
        }
        asked
    });
    (address, thread)
}

fn answer(status: &str, kind: &str, body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}")
}

fn info() -> String {
    let running = Running::start(Options::default());
    let (_, _, body) = crate::http::ask(&running, "/info", &[]);
    answer("200 OK", "application/json", &String::from_utf8(body).unwrap())
}

#[test]
fn a_wrong_clock_is_corrected_once_by_what_the_hub_says() {
    let problem =
        answer("401 X", "application/problem+json", r#"{"status":401,"code":"clock","title":"","time":4000000000}"#);
    let names = answer("200 OK", "application/json", r#"{"names":[]}"#);
    let (address, hub) = scripted(vec![info(), problem.clone(), names, problem.clone(), problem]);
    let url = HttpUrl::parse(&format!("http://{address}")).unwrap();
    let store = HttpStore::open(&url, Some(&Identity::generate())).unwrap();
    assert_eq!(store.scopes().unwrap(), []);
    assert!(matches!(store.scopes(), Err(StoreError::Denied { .. })), "twice is no clock any more");
    let asked = hub.join().unwrap();
    assert!(!asked[0].contains("signature"), "who asks for info may be a stranger");
    assert!(!asked[1].contains("created=40000000"));
    assert!(asked[2].contains("created=40000000"), "{}", asked[2]);
}

#[test]
fn a_busy_hub_is_asked_again_and_something_else_is_no_hub() {
    let busy = "HTTP/1.1 503 X\r\nRetry-After: 1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".to_owned();
    let names = answer("200 OK", "application/json", r#"{"names":[]}"#);
    let (address, hub) = scripted(vec![info(), busy, names]);
    let open = |address: SocketAddr| HttpStore::open(&HttpUrl::parse(&format!("http://{address}")).unwrap(), None);
    let started = Instant::now();
    assert_eq!(open(address).unwrap().scopes().unwrap(), []);
    assert!(started.elapsed() >= Duration::from_secs(1), "it waits as long as it was asked to");
    hub.join().unwrap();
    for other in [
        answer("200 OK", "text/html", "<html>welcome</html>"),
        answer("404 Not Found", "text/html", "no"),
        answer("200 OK", "application/json", "{}"),
        "HTTP/1.1 302 X\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".to_owned(),
        info().replace("\"protocol\":1", "\"protocol\":2"),
        info().replace("\"service\":\"wbsync\"", "\"service\":\"wbsynk\""),
        "SSH-2.0-OpenSSH_9.2\r\n".to_owned(),
    ] {
        let (address, _) = scripted(vec![other.clone()]);
        assert!(matches!(open(address).err(), Some(StoreError::NotAStore { .. })), "{other}");
    }
    let (address, _) = scripted(vec![info().replace("wbsync store 1", "wbsync store 2")]);
    assert!(matches!(open(address).err(), Some(StoreError::NewerFormat { found: 2, .. })));
}

/// What takes 40 ms to answer is asked for several objects at a time, both to fetch and to copy; and what is told of the
/// progress is right all the same.
#[test]
fn objects_that_come_at_once_hide_how_long_an_answer_takes() {
    const OBJECTS: usize = 24;
    let (running, proxy, admin) = scene();
    let objects: Vec<_> = (0..OBJECTS)
        .map(|seed| {
            let bytes = noise(4_000, seed as u64 + 10);
            (put(&running.store(), &bytes), bytes.len() as u64)
        })
        .collect();
    let store = proxy.open(&admin);
    assert!(store.lanes() > 1);
    proxy.lag.store(40, Ordering::Relaxed);
    let dirs = [(); 3].map(|()| tempfile::tempdir().unwrap());
    let begun = Instant::now();
    for (id, size) in &objects {
        fetch_object(&store, id, *size, dirs[0].path()).unwrap();
    }
    let one_by_one = begun.elapsed();
    let local = DirStore::create(&dirs[1].path().join("store")).unwrap();
    let mut told = Vec::new();
    let begun = Instant::now();
    let copied = copy_objects(&store, &local, &objects, &mut |progress| told.push(progress)).unwrap();
    let at_once = begun.elapsed();
    let lanes = store.lanes();
    let _ = writeln!(std::io::stderr(), "answers after 40 ms: {one_by_one:?} one by one, {at_once:?} in {lanes} lanes");
    assert!(at_once < one_by_one.mul_f64(0.6), "{at_once:?} at once, {one_by_one:?} one by one");
    assert_eq!((copied.objects, copied.bytes), (OBJECTS as u64, OBJECTS as u64 * 4_000));
    let last = told.last().unwrap();
    assert_eq!((last.objects_done, last.bytes_done), (last.objects_total, last.bytes_total));
    assert!(told.windows(2).all(|pair| pair[0].objects_done <= pair[1].objects_done));
    assert!(local.missing(&objects).unwrap().is_empty());
}
