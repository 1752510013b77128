//! One request to a hub: signed, sent, tried again where that helps, its answer bounded.

use std::fmt;
use std::io::{self, Read};
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use ureq::http;
use ureq::{Agent, AsSendBody, Body, SendBody};

use crate::exchange::layout::StorePath;
use crate::exchange::store::{Doing, StoreError};
use crate::keys::identity::Identity;
use crate::sys::clock;
use crate::transport::http::retry::{Patience, is_passing, is_passing_status};
use crate::transport::http::signature::{self, Covered};
use crate::transport::http::trouble::{io_of, refused, unanswered};
use crate::transport::http::upload::Sending;
use crate::transport::http::url::HttpUrl;
use crate::transport::http::wire::Problem;

/// Speaks with one hub.
pub(crate) struct Client {
    agent: Agent,
    url: HttpUrl,
    /// How the hub is called in messages.
    pub(crate) name: String,
    identity: Option<Identity>,
    /// What to add to our clock, in seconds, after the hub said that it stands elsewhere.
    clock_offset: AtomicI64,
}

/// A request.
pub(crate) struct Request<'a> {
    doing: Doing,
    about: Option<StorePath>,
    method: &'static str,
    path: String,
    query: String,
    headers: Vec<(&'static str, String)>,
    content: Content<'a>,
    signed: bool,
    /// How long an answer may take to begin.
    answer_within: Duration,
}

enum Content<'a> {
    None,
    Bytes(&'static str, Vec<u8>),
    Object(u64, &'a mut (dyn Sending + 'a)),
}

/// A success, or one of the two refusals that are answers: not modified, range not satisfiable.
pub(crate) struct Answer {
    response: http::Response<Body>,
}

impl<'a> Request<'a> {
    /// Asks for something.
    pub(crate) fn get(doing: Doing, path: String) -> Self {
        Self::new(doing, "GET", path, Content::None)
    }

    /// Asks for the headers of something.
    pub(crate) fn head(doing: Doing, path: String) -> Self {
        Self::new(doing, "HEAD", path, Content::None)
    }

    /// Removes something.
    pub(crate) fn delete(doing: Doing, path: String) -> Self {
        Self::new(doing, "DELETE", path, Content::None)
    }

    /// Sends JSON.
    pub(crate) fn post(doing: Doing, path: &str, value: &impl serde::Serialize) -> Self {
        let json = serde_json::to_vec(value).expect("requests have text keys");
        Self::new(doing, "POST", path.to_owned(), Content::Bytes("application/json", json))
    }

    /// Sends a document.
    pub(crate) fn put(path: StorePath, bytes: &[u8]) -> Self {
        let content = Content::Bytes("application/octet-stream", bytes.to_vec());
        Self::new(Doing::Write(path), "PUT", path.to_string(), content).about(path)
    }

    /// Sends an object.
    pub(crate) fn upload(path: StorePath, size: u64, upload: &'a mut (dyn Sending + 'a)) -> Self {
        Self::new(Doing::Write(path), "PUT", path.to_string(), Content::Object(size, upload)).about(path)
    }

    /// Adds a query, `a=b&c=d`.
    pub(crate) fn query(mut self, query: String) -> Self {
        self.query = query;
        self
    }

    /// Adds a header.
    pub(crate) fn header(mut self, name: &'static str, value: String) -> Self {
        self.headers.push((name, value));
        self
    }

    /// Waits so much longer for the answer to begin.
    pub(crate) fn after(mut self, wait: Duration) -> Self {
        self.answer_within += wait;
        self
    }

    /// Leaves the signature out: whoever isn't a member yet may ask for this too.
    pub(crate) fn unsigned(mut self) -> Self {
        self.signed = false;
        self
    }

    /// Names what it is about, for errors.
    pub(crate) fn about(mut self, path: StorePath) -> Self {
        self.about = Some(path);
        self
    }

    fn new(doing: Doing, method: &'static str, path: String, content: Content<'a>) -> Self {
        let answer_within = match (doing, method) {
            (Doing::Open, _) => OPEN_WITHIN,
            (_, "GET" | "HEAD") => READ_WITHIN,
            _ => WRITE_WITHIN,
        };
        let (query, headers) = (String::new(), Vec::new());
        Self { doing, about: None, method, path, query, headers, content, signed: true, answer_within }
    }
}

impl Client {
    /// Makes a client that signs as `identity`, if there is one.
    pub(crate) fn new(agent: Agent, url: HttpUrl, name: String, identity: Option<Identity>) -> Self {
        Self { agent, url, name, identity, clock_offset: AtomicI64::new(0) }
    }

    /// Sends a request and returns its answer: a success, 304 or 416.
    ///
    /// # Errors
    /// `Unreachable` if there is no answer; what the answer's status and problem mean.
    pub(crate) fn call(&self, request: Request<'_>) -> Result<Answer, StoreError> {
        self.finish(request, |response| Ok(Answer { response }))
    }

    /// Sends a request and returns the bytes of its answer, asked for again if they are cut.
    ///
    /// # Errors
    /// As `call`; `Io` of kind `InvalidData` if there are more than `bound`.
    pub(crate) fn bytes(&self, request: Request<'_>, bound: u64) -> Result<Vec<u8>, StoreError> {
        self.finish(request, |response| read_bounded(response.into_body().into_reader(), bound))
    }

    fn finish<T>(
        &self,
        mut request: Request<'_>,
        finish: impl Fn(http::Response<Body>) -> io::Result<T>,
    ) -> Result<T, StoreError> {
        let mut patience = Patience::new();
        let mut clock_corrected = false;
        loop {
            let response = match self.send(&mut request) {
                Ok(response) => response,
                Err(error) => {
                    let error = io_of(error);
                    if request.is_repeatable() && is_passing(error.kind()) && patience.wait(None) {
                        continue;
                    }
                    return Err(unanswered(&self.name, request.doing, error));
                }
            };
            let status = response.status().as_u16();
            if matches!(status, 200..=299 | 304 | 416) {
                match finish(response) {
                    Ok(finished) => return Ok(finished),
                    Err(error) if request.is_repeatable() && is_passing(error.kind()) && patience.wait(None) => {
                        continue;
                    }
                    Err(source) => {
                        return Err(StoreError::Io { store: self.name.clone(), doing: request.doing, source });
                    }
                }
            }
            let asked = header(&response, "retry-after").and_then(|text| text.parse().ok()).map(Duration::from_secs);
            let problem = problem_of(response);
            if problem.code == "clock" && !clock_corrected && request.is_repeatable() {
                clock_corrected = true;
                if let Some(time) = problem.time {
                    let offset = i64::try_from(time).unwrap_or(0).saturating_sub(seconds_now());
                    self.clock_offset.store(offset, Ordering::Relaxed);
                    continue;
                }
            }
            if is_passing_status(status) && request.is_repeatable() && patience.wait(asked) {
                continue;
            }
            return Err(refused(&self.name, request.doing, request.about, &problem));
        }
    }

    /// Sends a request and reads its answer as JSON.
    ///
    /// # Errors
    /// As `call`; `Io` if the answer is something else.
    pub(crate) fn json<T: serde::de::DeserializeOwned>(&self, request: Request<'_>) -> Result<T, StoreError> {
        let doing = request.doing;
        let failed = |source| StoreError::Io { store: self.name.clone(), doing, source };
        let bytes = self.bytes(request, JSON_BYTES_MAX)?;
        serde_json::from_slice(&bytes).map_err(|error| failed(io::Error::new(io::ErrorKind::InvalidData, error)))
    }

    fn send(&self, request: &mut Request<'_>) -> Result<http::Response<Body>, ureq::Error> {
        let scheme = if self.url.tls { "https" } else { "http" };
        let path = format!("{}/{}", self.url.prefix, request.path);
        let query = if request.query.is_empty() { String::new() } else { format!("?{}", request.query) };
        let mut builder = http::Request::builder()
            .method(request.method)
            .uri(format!("{scheme}://{}{path}{query}", self.url.authority));
        for (name, value) in &request.headers {
            builder = builder.header(*name, value);
        }
        let digest = match &request.content {
            Content::Bytes(kind, bytes) => {
                builder = builder.header("content-type", *kind);
                Some(signature::digest_of(bytes))
            }
            Content::None | Content::Object(..) => None,
        };
        if let Some(digest) = &digest {
            builder = builder.header("content-digest", digest);
        }
        if let Some(identity) = self.identity.as_ref().filter(|_| request.signed) {
            let covered = Covered {
                method: request.method,
                authority: &self.url.authority,
                path: &path,
                query: &request.query,
                digest: digest.as_deref(),
            };
            let created = seconds_now().saturating_add(self.clock_offset.load(Ordering::Relaxed));
            let fields = signature::sign(identity, &covered, u64::try_from(created).unwrap_or(0));
            builder = builder.header("signature-input", fields.input).header("signature", fields.signature);
        }
        let within = request.answer_within;
        match &mut request.content {
            Content::None => self.run(builder.body(())?, within),
            Content::Bytes(_, bytes) => self.run(builder.body(&bytes[..])?, within),
            Content::Object(size, upload) => {
                let builder = builder.header("content-length", size.to_string());
                self.run(builder.body(SendBody::from_reader(*upload))?, within)
            }
        }
    }

    fn run<S: AsSendBody>(
        &self,
        request: http::Request<S>,
        within: Duration,
    ) -> Result<http::Response<Body>, ureq::Error> {
        let request = self.agent.configure_request(request).timeout_recv_response(Some(within)).build();
        self.agent.run(request)
    }
}

impl Request<'_> {
    fn is_repeatable(&self) -> bool {
        match &self.content {
            Content::Object(_, upload) => !upload.is_touched(),
            Content::None | Content::Bytes(..) => true,
        }
    }
}

impl Answer {
    /// Returns the status.
    pub(crate) fn status(&self) -> u16 {
        self.response.status().as_u16()
    }

    /// Returns a header.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.response.headers().get(name)?.to_str().ok()
    }

    /// Returns the bytes as they come.
    pub(crate) fn into_reader(self) -> Box<dyn Read + Send> {
        Box::new(self.response.into_body().into_reader())
    }
}

fn read_bounded(reader: impl Read, bound: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    reader.take(bound + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > bound {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "the answer is longer than it may be"));
    }
    Ok(bytes)
}

/// Reads a problem document; whatever else came is a problem without words.
fn problem_of(response: http::Response<Body>) -> Problem {
    let status = response.status().as_u16();
    let is_problem = header(&response, "content-type").is_some_and(|kind| kind.starts_with("application/problem+json"));
    let bytes = read_bounded(response.into_body().into_reader(), PROBLEM_BYTES_MAX).unwrap_or_default();
    let problem = if is_problem { serde_json::from_slice(&bytes).unwrap_or_default() } else { Problem::default() };
    Problem { status, ..problem }
}

fn header<'a>(response: &'a http::Response<Body>, name: &str) -> Option<&'a str> {
    response.headers().get(name)?.to_str().ok()
}

fn seconds_now() -> i64 {
    i64::try_from(clock::now().0 / 1000).unwrap_or(i64::MAX)
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("name", &self.name).finish_non_exhaustive()
    }
}

/// A list of a million ids has 67 MB; a page of anything else is far below.
/// A hub that takes a connection and says nothing is not to be waited for.
const OPEN_WITHIN: Duration = Duration::from_secs(20);
const READ_WITHIN: Duration = Duration::from_secs(45);
/// A hub that syncs a large object to a slow disk needs a while.
const WRITE_WITHIN: Duration = Duration::from_secs(120);
const JSON_BYTES_MAX: u64 = 80 << 20;
const PROBLEM_BYTES_MAX: u64 = 64 << 10;
