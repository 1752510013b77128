//! HTTP/2: everything that HTTP/1.1 does, and whoever misuses what is special to it is cut off.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use h2::client::SendRequest;
use hyper::Request;
use hyper::body::Bytes;
use wbsync::exchange::check::object_id;
use wbsync::exchange::store::Store;
use wbsync::hub::limits::{HEADER_BYTES_MAX, HEADERS_MAX, STREAMS_MAX};
use wbsync::hub::log::Event;
use wbsync::hub::members::Role;
use wbsync::hub::service::Options;
use wbsync::keys::identity::Identity;
use wbsync::sys::clock;
use wbsync::transport::http::signature::{Covered, digest_of, sign};

use crate::contract::{get, noise, put};
use crate::http::Running;
use crate::signed::{People, card};

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

/// Opens a connection by prior knowledge; `window` is what it takes of each body before it says more.
async fn connect(running: &Running, window: u32) -> (SendRequest<Bytes>, tokio::task::JoinHandle<bool>) {
    let stream = tokio::net::TcpStream::connect(running.server.address()).await.unwrap();
    let mut builder = h2::client::Builder::new();
    builder.initial_window_size(window).max_header_list_size(1 << 20);
    let (client, connection) = builder.handshake(stream).await.unwrap();
    (client, tokio::spawn(async move { connection.await.is_ok() }))
}

/// Returns a request as `identity` signs it.
fn signed(running: &Running, identity: &Identity, method: &str, path: &str, body: &[u8]) -> Request<()> {
    let authority = running.url().authority;
    let digest = (!body.is_empty() && !path.contains("objects/")).then(|| digest_of(body));
    let covered = Covered { method, authority: &authority, path, query: "", digest: digest.as_deref() };
    let fields = sign(identity, &covered, clock::now().0 / 1000);
    let mut request = Request::builder()
        .method(method)
        .uri(format!("http://{authority}{path}"))
        .header("signature-input", fields.input)
        .header("signature", fields.signature);
    if let Some(digest) = digest {
        request = request.header("content-digest", digest);
    }
    if !body.is_empty() {
        request = request.header("content-length", body.len());
    }
    request.body(()).unwrap()
}

/// Sends a request and returns the status and the body of its answer.
async fn ask(client: &SendRequest<Bytes>, request: Request<()>, body: &[u8]) -> (u16, Vec<u8>) {
    let mut client = client.clone().ready().await.unwrap();
    let (answer, mut sending) = client.send_request(request, body.is_empty()).unwrap();
    if !body.is_empty() {
        sending.send_data(Bytes::copy_from_slice(body), true).unwrap();
    }
    let answer = answer.await.unwrap();
    let status = answer.status().as_u16();
    let mut incoming = answer.into_body();
    let mut bytes = Vec::new();
    while let Some(part) = incoming.data().await {
        let part = part.unwrap();
        incoming.flow_control().release_capacity(part.len()).unwrap();
        bytes.extend_from_slice(&part);
    }
    (status, bytes)
}

#[test]
fn one_connection_carries_many_signed_requests_at_once() {
    let running = Running::start(Options::default());
    let people = People::new();
    running.allow(&people.alpha, Role::Writer);
    let objects: Vec<_> = (0..6).map(|seed| noise(700_000, seed)).collect();
    block_on(async {
        let (client, _) = connect(&running, 64 << 10).await;
        let paths: Vec<String> = objects
            .iter()
            .map(|bytes| object_id(bytes).to_string())
            .map(|id| format!("/objects/{}/{id}.age", &id[..2]))
            .collect();
        let sent = objects.iter().zip(&paths).map(|(bytes, path)| {
            let (client, request) = (client.clone(), signed(&running, &people.alpha, "PUT", path, bytes));
            async move { ask(&client, request, bytes).await.0 }
        });
        for status in join(sent).await {
            assert_eq!(status, 201);
        }
        let got = paths.iter().map(|path| {
            let (client, request) = (client.clone(), signed(&running, &people.alpha, "GET", path, b""));
            async move { ask(&client, request, b"").await }
        });
        for ((status, bytes), wanted) in join(got).await.into_iter().zip(&objects) {
            assert!(status == 200 && bytes == *wanted, "{status}, {} bytes", bytes.len());
        }
        let path = format!("/instances/{}", people.alpha.id());
        let document = card(&people.alpha, "alpha", 0);
        let mut request = signed(&running, &people.alpha, "PUT", &path, &document);
        request.headers_mut().insert("if-none-match", "*".parse().unwrap());
        assert_eq!(ask(&client, request, &document).await.0, 204);
        let request = signed(&running, &people.stranger, "GET", &path, b"");
        assert_eq!(ask(&client, request, b"").await.0, 403);
        let mut replayed = signed(&running, &people.alpha, "GET", &path, b"");
        let again = replayed.clone();
        assert_eq!(ask(&client, replayed.clone(), b"").await.0, 200);
        assert_eq!(ask(&client, again, b"").await.0, 401);
        // A name beside the one that is asked for.
        replayed.headers_mut().insert("host", "other.example".parse().unwrap());
        assert_eq!(ask(&client, replayed, b"").await.0, 400);
    });
    assert_eq!(running.store().objects().unwrap().len(), 6);
    let by_the_other = running.open(&people.alpha);
    assert!(get(&by_the_other, &object_id(&objects[3]), 0) == objects[3], "both versions serve the same");
}

/// Waits for all at once.
async fn join<T>(futures: impl Iterator<Item = impl Future<Output = T>>) -> Vec<T> {
    let mut waiting: Vec<_> = futures.map(|future| (Box::pin(future), None)).collect();
    std::future::poll_fn(|context| {
        for (future, done) in &mut waiting {
            if done.is_none()
                && let std::task::Poll::Ready(value) = future.as_mut().poll(context)
            {
                *done = Some(value);
            }
        }
        if waiting.iter().all(|(_, done)| done.is_some()) {
            std::task::Poll::Ready(())
        } else {
            std::task::Poll::Pending
        }
    })
    .await;
    waiting.into_iter().filter_map(|(_, done)| done).collect()
}

#[test]
fn floods_of_header_fields_are_refused() {
    let running = Running::start(Options::default());
    block_on(async {
        let (client, _) = connect(&running, 64 << 10).await;
        let url = format!("http://{}/info", running.url().authority);
        let many = (0..=HEADERS_MAX).fold(Request::get(&url), |request, n| request.header(format!("x-{n}"), "y"));
        let (status, problem) = ask(&client, many.body(()).unwrap(), b"").await;
        assert_eq!(status, 431, "{}", String::from_utf8_lossy(&problem));
        let long = Request::get(&url).header("x", "y".repeat(HEADER_BYTES_MAX));
        assert_eq!(ask(&client, long.body(()).unwrap(), b"").await.0, 431);
        assert_eq!(ask(&client, Request::get(&url).body(()).unwrap(), b"").await.0, 200);
        assert_eq!(client.current_max_send_streams(), STREAMS_MAX as usize);
    });
}

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const HEADERS: u8 = 1;
const RESET: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GO_AWAY: u8 = 7;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// The header fields of `GET /changes?wait=50`, or of another path, as HPACK's literals.
fn fields(running: &Running, path: &str) -> Vec<u8> {
    let authority = running.url().authority;
    let mut bytes = vec![0x82, 0x86];
    for (name, value) in [(0x04, path), (0x01, &authority)] {
        bytes.extend([name, u8::try_from(value.len()).unwrap()]);
        bytes.extend(value.bytes());
    }
    bytes
}

/// Opens a connection by hand, which has said its settings.
fn rude(running: &Running) -> TcpStream {
    let mut stream = TcpStream::connect(running.server.address()).unwrap();
    stream.write_all(&[PREFACE, &frame(SETTINGS, 0, 0, &[])].concat()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    stream
}

/// Reads frames until the hub ends the connection, and returns the kinds that came, with the error codes that some have.
fn until_the_end(mut stream: TcpStream) -> Vec<(u8, u32)> {
    let mut bytes = Vec::new();
    let ended = stream.read_to_end(&mut bytes);
    assert!(ended.as_ref().is_ok() || ended.is_err_and(|error| error.kind() == std::io::ErrorKind::ConnectionReset));
    let mut frames = Vec::new();
    let mut rest = &bytes[..];
    while rest.len() >= 9 {
        let length = u32::from_be_bytes([0, rest[0], rest[1], rest[2]]) as usize;
        let payload = &rest[9..rest.len().min(9 + length)];
        let code_at = match rest[3] {
            RESET => 0,
            GO_AWAY => 4,
            _ => usize::MAX,
        };
        let code = payload
            .get(code_at..)
            .and_then(|code| code.get(..4))
            .map_or(0, |code| u32::from_be_bytes(code.try_into().unwrap()));
        frames.push((rest[3], code));
        rest = &rest[rest.len().min(9 + length)..];
    }
    frames
}

#[test]
fn requests_taken_back_at_once_and_endless_fields_end_the_connection() {
    const ENHANCE_YOUR_CALM: u32 = 11;
    let running = Running::start(Options::default());
    let fields = fields(&running, "/scopes");
    let mut resetting = rude(&running);
    let mut flood = Vec::new();
    for number in 0..5_000 {
        flood.extend(frame(HEADERS, END_STREAM | END_HEADERS, 2 * number + 1, &fields));
        flood.extend(frame(RESET, 0, 2 * number + 1, &8u32.to_be_bytes()));
    }
    // It may be cut off before all is written.
    let _ = resetting.write_all(&flood);
    let frames = until_the_end(resetting);
    assert!(frames.contains(&(GO_AWAY, ENHANCE_YOUR_CALM)), "{frames:?}");
    let asked = running.log.lock().unwrap().iter().filter(|event| matches!(event, Event::Request { .. })).count();
    assert!(asked < 1_000, "{asked} of 5,000 were worked on");

    let mut endless = rude(&running);
    let _ = endless.write_all(&frame(HEADERS, END_STREAM, 1, &fields));
    let literal = [&[0x00, 0x01, b'x', 0x7f, 0x81, 0x7e][..], &[b'y'; 16_000]].concat();
    let mut sent = 0;
    while sent < 4_000 && endless.write_all(&frame(CONTINUATION, 0, 1, &literal)).is_ok() {
        sent += 1;
    }
    assert!(sent < 4_000, "it takes fields without an end");
    until_the_end(endless);
    put_is_served(&running);
}

#[test]
fn who_opens_more_than_it_may_at_once_is_refused_for_the_rest() {
    const REFUSED_STREAM: u32 = 7;
    const EXTRA: u32 = 8;
    let running = Running::start(Options::default());
    let fields = fields(&running, "/info");
    let mut many = rude(&running);
    // Its window is closed, so that no answer ends.
    many.write_all(&frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0])).unwrap();
    for number in 0..STREAMS_MAX + EXTRA {
        many.write_all(&frame(HEADERS, END_STREAM | END_HEADERS, 2 * number + 1, &fields)).unwrap();
    }
    let (mut refused, mut answered) = (0, 0);
    while refused < EXTRA || answered < STREAMS_MAX {
        let mut head = [0; 9];
        many.read_exact(&mut head).unwrap();
        let mut payload = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
        many.read_exact(&mut payload).unwrap();
        refused += u32::from(head[3] == RESET && payload == REFUSED_STREAM.to_be_bytes());
        answered += u32::from(head[3] == HEADERS);
    }
    assert_eq!((refused, answered), (EXTRA, STREAMS_MAX));
    put_is_served(&running);
}

fn put_is_served(running: &Running) {
    let someone = Identity::generate();
    running.allow(&someone, Role::Writer);
    put(&running.open(&someone), b"others are served meanwhile");
}

/// Pings, half a preface, and a window that stays closed hold a connection for a while and not for ever.
#[test]
fn who_says_nothing_or_takes_nothing_is_cut_off() {
    let running = Running::start(Options::default());
    let alpha = Identity::generate();
    running.allow(&alpha, Role::Writer);
    let bytes = noise(300_000, 1);
    let id = put(&running.open(&alpha), &bytes);
    let path = format!("/objects/{}/{id}.age", &id.to_string()[..2]);
    let bound = Duration::from_secs(60);
    std::thread::scope(|threads| {
        threads.spawn(|| {
            let mut half = TcpStream::connect(running.server.address()).unwrap();
            half.write_all(&PREFACE[..9]).unwrap();
            half.set_read_timeout(Some(bound)).unwrap();
            let ended = half.read_to_end(&mut Vec::new());
            assert!(ended.is_ok(), "half a preface: {ended:?}");
        });
        threads.spawn(|| {
            let mut pinging = rude(&running);
            let started = Instant::now();
            while pinging.write_all(&frame(PING, 0, 0, &[7; 8])).is_ok() {
                assert!(started.elapsed() < bound, "pings alone keep it open");
                // As a client does that wants to stay.
                std::thread::sleep(Duration::from_millis(500));
            }
        });
        threads.spawn(|| {
            block_on(async {
                let (client, connection) = connect(&running, 0).await;
                let mut client = client.ready().await.unwrap();
                let request = signed(&running, &alpha, "GET", &path, b"");
                let (answer, _) = client.send_request(request, true).unwrap();
                let answer = answer.await.unwrap();
                assert_eq!(answer.status(), 200);
                let mut body = answer.into_body();
                let ended = tokio::time::timeout(bound, body.data()).await.expect("a closed window keeps it open");
                assert!(!matches!(ended, Some(Ok(part)) if !part.is_empty()));
                drop(client);
                let _ = connection.await;
            });
        });
    });
}
