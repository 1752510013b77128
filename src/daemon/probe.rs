//! Probes: a small HTTP server beside the worker for `/healthz`, `/readyz` and `/metrics`.
//!
//! It knows three paths and GET, and takes no body. Its runtime is its own thread's; what it answers comes from a function that
//! doesn't wait.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use crate::daemon::error::Error;
use crate::daemon::metrics;

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Probe {
    /// Whether the program lives.
    Alive,
    /// Whether it can work.
    Ready,
    /// The metrics.
    Metrics,
}

/// Answers a probe: whether all is well, and the words.
pub type Answer = Arc<dyn Fn(Probe) -> (bool, String) + Send + Sync>;

/// Begins to answer probes at `address`, for as long as the program runs, and returns where: port 0 is any free one.
///
/// # Errors
/// `Listen`; `Start`.
pub fn start(address: SocketAddr, answer: Answer) -> Result<SocketAddr, Error> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Error::Start)?;
    let failed = |source| Error::Listen { address, source };
    let listener = runtime.block_on(TcpListener::bind(address)).map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    let serve = move || runtime.block_on(accept(listener, answer));
    thread::Builder::new().name("probe".into()).spawn(serve).map_err(Error::Start)?;
    Ok(bound)
}

async fn accept(listener: TcpListener, answer: Answer) {
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let Ok(permit) = Arc::clone(&room).acquire_owned().await else { return };
        let Ok((stream, _)) = listener.accept().await else {
            // Out of files, perhaps: some will be closed.
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let answer = Arc::clone(&answer);
        tokio::spawn(async move {
            let service = service_fn(move |request| {
                let response = respond(&answer, &request);
                async move { Ok::<_, Infallible>(response) }
            });
            let served = hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(PATIENCE)
                .max_headers(HEADERS_MAX)
                .max_buf_size(BYTES_MAX)
                .serve_connection(TokioIo::new(stream), service);
            // Whoever is slow, or keeps its connection, comes again.
            let _ = tokio::time::timeout(LASTING_MAX, served).await;
            drop(permit);
        });
    }
}

fn respond(answer: &Answer, request: &Request<Incoming>) -> Response<Full<Bytes>> {
    let (probe, kind) = match request.uri().path() {
        "/healthz" => (Probe::Alive, TEXT),
        "/readyz" => (Probe::Ready, TEXT),
        "/metrics" => (Probe::Metrics, metrics::CONTENT_TYPE),
        _ => return plain(StatusCode::NOT_FOUND, "there are /healthz, /readyz and /metrics here\n".into(), TEXT),
    };
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut response = plain(StatusCode::METHOD_NOT_ALLOWED, "this path knows only GET\n".into(), TEXT);
        response.headers_mut().insert(ALLOW, hyper::header::HeaderValue::from_static("GET, HEAD"));
        return response;
    }
    let (is_well, text) = answer(probe);
    plain(if is_well { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }, text, kind)
}

fn plain(status: StatusCode, text: String, kind: &'static str) -> Response<Full<Bytes>> {
    let response = Response::builder().status(status).header(CONTENT_TYPE, kind).header(CACHE_CONTROL, "no-store");
    response.body(Full::new(Bytes::from(text))).expect("the headers are sound")
}

const TEXT: &str = "text/plain; charset=utf-8";
const CONNECTIONS_MAX: usize = 32;
const HEADERS_MAX: usize = 64;
const BYTES_MAX: usize = 16 << 10;
const PATIENCE: Duration = Duration::from_secs(10);
const LASTING_MAX: Duration = Duration::from_secs(300);
