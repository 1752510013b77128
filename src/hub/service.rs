//! One request from beginning to end: who asks, what for, and the answer.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, RwLock, RwLockReadGuard};
use std::time::Instant;

use hyper::body::Incoming;
use hyper::{Method, Request, StatusCode};
use tokio::sync::{Semaphore, watch};

use crate::exchange::layout::{FORMAT, StorePath};
use crate::exchange::store::{Store, StoreError};
use crate::hub::answer::{self, Always, Answer};
use crate::hub::auth::{self, Known};
use crate::hub::body;
use crate::hub::caller::Caller;
use crate::hub::catalogue::Catalogue;
use crate::hub::error::Error;
use crate::hub::limits::{JSON_BYTES_MAX, REFRESH_EVERY, UPLOADS_AT_ONCE, WORK_AT_ONCE, told};
use crate::hub::log::{Event, Log};
use crate::hub::members::{Members, Role};
use crate::hub::metrics::{self, Metrics};
use crate::hub::nonces::Nonces;
use crate::hub::parts::Parts;
use crate::hub::rates::Rates;
use crate::hub::refusal::Refusal;
use crate::hub::{changes, documents, http2, lists, objects};
use crate::id::bytes::{InstanceId, ScopeId};
use crate::sys::clock;
use crate::transport::dir::DirStore;
use crate::transport::http::signature::digest_of;
use crate::transport::http::store::SERVICE;
use crate::transport::http::url::HttpUrl;
use crate::transport::http::wire::{Info, Join, Objects, PROTOCOL};

/// How a hub serves.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Whether public scopes are for anyone.
    pub public: bool,
    /// Whether a proxy stands before it: the addresses of requests are the proxy's then.
    pub behind_proxy: bool,
    /// Whether anyone who reaches it may read its metrics.
    pub metrics: bool,
    /// The base URLs that clients know it by; none: whatever they ask for.
    pub urls: Vec<HttpUrl>,
}

/// A served store.
pub struct Hub {
    pub(crate) store: DirStore,
    pub(crate) members: Members,
    pub(crate) options: Options,
    pub(crate) uploads: Semaphore,
    pub(crate) parts: Parts,
    /// Tells the number of the newest change.
    pub(crate) changed: watch::Sender<u64>,
    /// Tells that the hub ends.
    pub(crate) ending: watch::Sender<bool>,
    catalogue: RwLock<Catalogue>,
    renewed: Mutex<Option<Instant>>,
    nonces: Mutex<Nonces>,
    rates: Mutex<Rates>,
    work: Arc<Semaphore>,
    metrics: Metrics,
    log: Log,
    guests: Option<Guests>,
}

/// Tells whether an instance that is no member may read what it is granted.
pub type Guests = Arc<dyn Fn(&InstanceId) -> bool + Send + Sync>;

/// What is known of the connection that a request comes by.
#[derive(Debug, Clone, Copy)]
pub struct Connection {
    /// The other end; none over a pipe.
    pub address: Option<IpAddr>,
    /// Whether it is TLS.
    pub tls: bool,
    /// Whether whoever made it owns the store: requests need no signature.
    pub trusted: bool,
}

impl Hub {
    /// Makes a hub of a store and its members. Reads none of the store's documents yet.
    ///
    /// # Errors
    /// `Members`.
    pub fn new(store: DirStore, members: Members, options: Options, log: Log) -> Result<Self, Error> {
        let parts = Parts::new(members.dir());
        // What died with another process, and what nobody came back for.
        parts.sweep(&store, &members)?;
        Ok(Self {
            store,
            parts,
            members,
            options,
            uploads: Semaphore::new(UPLOADS_AT_ONCE),
            changed: watch::Sender::new(0),
            ending: watch::Sender::new(false),
            catalogue: RwLock::new(Catalogue::new()),
            renewed: Mutex::new(None),
            nonces: Mutex::new(Nonces::new(clock::now().0 / 1000)),
            rates: Mutex::new(Rates::default()),
            work: Arc::new(Semaphore::new(WORK_AT_ONCE)),
            metrics: Metrics::new(),
            log,
            guests: None,
        })
    }

    /// Returns how many documents were read for the catalogue so far: what it costs.
    pub fn documents_read(&self) -> u64 {
        self.catalogue.read().unwrap_or_else(std::sync::PoisonError::into_inner).reads()
    }

    /// Lets in others than members, to read; asked at each of their requests.
    pub fn with_guests(self, guests: Guests) -> Self {
        Self { guests: Some(guests), ..self }
    }

    /// Counts anew what each member stores, while nothing is being uploaded.
    ///
    /// # Errors
    /// `Members`.
    pub fn recount(&self) -> Result<(), Error> {
        let part_of = |id: &InstanceId, object: &_| self.parts.length(&Some(*id), object, u64::MAX);
        self.members.recount(|object| self.store.object_size(object).ok().flatten(), part_of)
    }

    /// Returns what an instance may do.
    ///
    /// # Errors
    /// `Members`.
    pub(crate) fn role(&self, id: &InstanceId) -> Result<Option<Role>, Error> {
        let role = self.members.role(id)?;
        Ok(role.or_else(|| self.guests.as_ref().is_some_and(|guests| guests(id)).then_some(Role::Reader)))
    }

    /// Tells the log.
    pub fn tell(&self, event: &Event) {
        (self.log)(event);
    }

    /// Answers a request; never fails.
    ///
    /// # Errors
    /// None.
    pub async fn answer(self: Arc<Self>, connection: Connection, request: Request<Incoming>) -> Always<Answer> {
        let started = Instant::now();
        let method = request.method().to_string();
        let path: String = request.uri().path().chars().take(LOGGED_CHARS_MAX).collect();
        let mut caller = None;
        let mut unanswered = Unanswered { hub: &self, connection, counts: true };
        let result = match http2::plain(request) {
            Ok(request) => Arc::clone(&self).respond(connection, request, &mut caller).await,
            Err(refusal) => Err(refusal),
        };
        unanswered.counts = false;
        drop(unanswered);
        let (answer, inside) = match result {
            Ok(answer) => (answer, None),
            Err(refusal) => {
                let status = refusal.problem.status;
                if matches!(status, 400 | 401 | 403 | 404 | 405 | 414 | 431)
                    && caller.is_none()
                    && let Some(address) = auth::limited_address(&self, &connection)
                {
                    self.rates().refused(address, Instant::now());
                }
                (answer::refuse(&refusal), Some(refusal.inside.unwrap_or(refusal.problem.code)))
            }
        };
        let millis = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        let status = answer.status().as_u16();
        self.metrics.count(&method, status, started.elapsed());
        self.tell(&Event::Request { caller, address: connection.address, method, path, status, millis, inside });
        Ok(answer)
    }

    async fn respond(
        self: Arc<Self>,
        connection: Connection,
        request: Request<Incoming>,
        caller: &mut Option<InstanceId>,
    ) -> Result<Answer, Refusal> {
        let (parts, incoming) = request.into_parts();
        let (hub, parts) = (Arc::clone(&self), Arc::new(parts));
        let known = {
            let parts = Arc::clone(&parts);
            self.work(move || auth::authenticate(&hub, &connection, &parts)).await?
        };
        *caller = known.caller.id();
        let Known { caller, signer, path } = known;
        let query = parts.uri.query().unwrap_or_default().to_owned();
        let hub = Arc::clone(&self);
        match (&parts.method, path.as_str()) {
            (&Method::GET, "info" | "") => Ok(self.info()),
            (&Method::GET | &Method::HEAD, "healthz") => Ok(answer::bytes(StatusCode::OK, "text/plain", "alive\n")),
            (&Method::GET | &Method::HEAD, "readyz") => self.work(move || ready(&hub)).await,
            (&Method::GET, "metrics") if self.options.metrics || caller == Caller::Owner => {
                self.work(move || {
                    Ok(answer::bytes(StatusCode::OK, metrics::CONTENT_TYPE, hub.metrics.text(&hub.store, &hub.members)))
                })
                .await
            }
            (&Method::GET, "openapi.json") => Ok(answer::bytes(StatusCode::OK, "application/json", OPENAPI.as_bytes())),
            (&Method::GET, "format") => Ok(answer::bytes(StatusCode::OK, "text/plain", FORMAT.as_bytes())),
            (&Method::GET, "scopes") => self.work(move || lists::scopes(&hub, &caller)).await,
            (&Method::GET, "instances") => self.work(move || lists::cards(&hub, &caller)).await,
            (&Method::GET, "objects") => self.work(move || lists::objects(&hub, &caller, &query)).await,
            (&Method::GET, "changes") => {
                // It may wait for long, and what nobody reads shouldn't.
                drop(incoming);
                changes::changes(&self, &caller, &query).await
            }
            (&Method::POST, "missing") => {
                let objects = self.objects_of(&parts, incoming, &caller).await?;
                self.work(move || lists::missing(&hub, &objects)).await
            }
            (&Method::POST, "damaged") => {
                let objects = self.objects_of(&parts, incoming, &caller).await?;
                self.work(move || lists::damaged(&hub, &caller, &objects)).await
            }
            (&Method::POST, "offers") => {
                let objects = self.objects_of(&parts, incoming, &caller).await?;
                hub.parts.settled(&caller.id(), &objects).await;
                self.work(move || lists::offers(&hub, &caller, &objects)).await
            }
            (&Method::POST, "join") => {
                let signer = signer.ok_or_else(Refusal::unsigned)?;
                let join: Join = json_of(&checked_body(&parts, incoming, JSON_BYTES_MAX).await?)?;
                self.work(move || match hub.members.join(&join.token, &signer, clock::now())? {
                    Some(_) => Ok(answer::empty(StatusCode::NO_CONTENT)),
                    None => Err(Refusal::new(403, "no-invitation", "this invitation does not count, or not any more")),
                })
                .await
            }
            (_, "info" | "openapi.json" | "format" | "scopes" | "instances" | "objects" | "changes") => {
                Err(Refusal::new(405, "method", "this path knows only GET"))
            }
            (_, "missing" | "damaged" | "offers" | "join") => {
                Err(Refusal::new(405, "method", "this path knows only POST"))
            }
            (method, path) => {
                if let Some((scope, list)) = list_of(path) {
                    return match *method {
                        Method::GET => self.work(move || list(&hub, &caller, &scope)).await,
                        _ => Err(Refusal::new(405, "method", "this path knows only GET")),
                    };
                }
                match path.parse::<StorePath>() {
                    Ok(StorePath::Object(object)) => objects::answer(&self, &caller, &parts, incoming, object).await,
                    Ok(StorePath::Format) | Err(_) => Err(Refusal::not_found()),
                    Ok(path) => documents::answer(&self, caller, parts, incoming, path).await,
                }
            }
        }
    }

    async fn objects_of(
        &self,
        parts: &hyper::http::request::Parts,
        incoming: Incoming,
        caller: &Caller,
    ) -> Result<Vec<(crate::id::bytes::ObjectId, u64)>, Refusal> {
        if *caller == Caller::Anyone {
            return Err(Refusal::unsigned());
        }
        let objects: Objects = json_of(&checked_body(parts, incoming, JSON_BYTES_MAX).await?)?;
        let parsed = objects.parsed().ok_or_else(|| Refusal::malformed("an object's id is 64 hexadecimal digits"))?;
        if parsed.len() > crate::hub::limits::OBJECTS_PER_REQUEST {
            return Err(Refusal::too_large(crate::hub::limits::OBJECTS_PER_REQUEST as u64));
        }
        Ok(parsed)
    }

    fn info(&self) -> Answer {
        answer::json(&Info {
            service: SERVICE.into(),
            protocol: PROTOCOL,
            store_format: FORMAT.into(),
            time: clock::now().0 / 1000,
            public: self.options.public,
            limits: told(),
        })
    }

    /// Does what blocks on a thread for it.
    ///
    /// # Errors
    /// As `work`; `internal` if it panics.
    pub(crate) async fn work<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, Refusal> + Send + 'static,
    ) -> Result<T, Refusal> {
        let permit = Arc::clone(&self.work).acquire_owned().await.map_err(Refusal::internal)?;
        // Work that nobody waits for any more isn't stopped by that, so it counts until it ends.
        let counted = move || {
            let done = work();
            drop(permit);
            done
        };
        tokio::task::spawn_blocking(counted).await.unwrap_or_else(|error| Err(Refusal::internal(error)))
    }

    /// Returns the catalogue, renewed if it is old.
    ///
    /// # Errors
    /// As the store fails.
    pub(crate) fn catalogue(&self) -> Result<RwLockReadGuard<'_, Catalogue>, StoreError> {
        self.renew()?;
        Ok(self.catalogue.read().unwrap_or_else(std::sync::PoisonError::into_inner))
    }

    /// Looks at the store, unless that was done a moment ago.
    ///
    /// # Errors
    /// As the store fails.
    pub(crate) fn renew(&self) -> Result<(), StoreError> {
        // Whoever comes while another looks takes what is there.
        let Ok(mut renewed) = self.renewed.try_lock() else { return Ok(()) };
        if renewed.is_some_and(|at| at.elapsed() < REFRESH_EVERY) {
            return Ok(());
        }
        let mut catalogue = self.catalogue.write().unwrap_or_else(std::sync::PoisonError::into_inner);
        catalogue.renew(&self.store)?;
        self.announce(catalogue.last());
        *renewed = Some(Instant::now());
        Ok(())
    }

    /// Takes notice of a document that was written.
    ///
    /// # Errors
    /// As the store fails.
    pub(crate) fn note(&self, path: StorePath) -> Result<(), StoreError> {
        // Whoever needs the catalogue first reads all of it; the owner of a store, over a pipe, never does.
        if self.renewed.lock().unwrap_or_else(std::sync::PoisonError::into_inner).is_none() {
            return Ok(());
        }
        let mut catalogue = self.catalogue.write().unwrap_or_else(std::sync::PoisonError::into_inner);
        catalogue.load(&self.store, path)?;
        self.announce(catalogue.last());
        Ok(())
    }

    fn announce(&self, last: u64) {
        self.changed.send_if_modified(|known| std::mem::replace(known, last) != last);
    }

    pub(crate) fn nonces(&self) -> MutexGuard<'_, Nonces> {
        self.nonces.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    pub(crate) fn rates(&self) -> MutexGuard<'_, Rates> {
        self.rates.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// Answers whether the store and the members can be read.
fn ready(hub: &Hub) -> Result<Answer, Refusal> {
    let is_ready = !*hub.ending.borrow() && hub.catalogue().is_ok() && hub.members.list().is_ok();
    let (status, text) =
        if is_ready { (StatusCode::OK, "ready\n") } else { (StatusCode::SERVICE_UNAVAILABLE, "not ready\n") };
    Ok(answer::bytes(status, "text/plain", text))
}

/// A request whose client didn't wait for the answer: it may not be cheaper than a refused one.
struct Unanswered<'a> {
    hub: &'a Hub,
    connection: Connection,
    counts: bool,
}

impl Drop for Unanswered<'_> {
    fn drop(&mut self) {
        if let (true, Some(address)) = (self.counts, auth::limited_address(self.hub, &self.connection)) {
            self.hub.rates().refused(address, Instant::now());
        }
    }
}

impl std::fmt::Debug for Hub {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hub").field("options", &self.options).finish_non_exhaustive()
    }
}

/// Reads a body that is small, and checks it against its digest.
///
/// # Errors
/// `too-large`, `slow`, `malformed`, `bad-digest`.
pub(crate) async fn checked_body(
    parts: &hyper::http::request::Parts,
    incoming: Incoming,
    bound: u64,
) -> Result<Vec<u8>, Refusal> {
    use hyper::body::Body;
    if incoming.size_hint().lower() > bound {
        return Err(Refusal::too_large(bound));
    }
    let bytes = body::whole(incoming, bound).await?;
    match parts.headers.get("content-digest") {
        Some(told) if told.as_bytes() == digest_of(&bytes).as_bytes() => Ok(bytes),
        // Only the owner's requests may come without a signature, and so without what it covers.
        None if parts.headers.get("signature").is_none() => Ok(bytes),
        _ => Err(Refusal::new(401, "bad-digest", "the body is not the one that was signed")),
    }
}

/// Returns one value of a query.
pub(crate) fn value<'a>(query: &'a str, name: &str) -> Option<&'a str> {
    query.split('&').filter_map(|pair| pair.split_once('=')).find(|(key, _)| *key == name).map(|(_, value)| value)
}

fn json_of<T: serde::de::DeserializeOwned>(bytes: &[u8]) -> Result<T, Refusal> {
    serde_json::from_slice(bytes)
        .map_err(|error| Refusal::malformed("the body is not the JSON of this request").inside(error))
}

/// What answers with a list about one scope.
type ScopeList = fn(&Hub, &Caller, &ScopeId) -> Result<Answer, Refusal>;

fn list_of(path: &str) -> Option<(ScopeId, ScopeList)> {
    let (scope, what) = path.strip_prefix("scopes/")?.split_once('/')?;
    let list: ScopeList = match what {
        "heads" => lists::heads,
        "receipts" => lists::receipts,
        _ => return None,
    };
    Some((scope.parse().ok()?, list))
}

/// The description of the protocol for other people's tools.
pub const OPENAPI: &str = include_str!("../../format/openapi.json");
const LOGGED_CHARS_MAX: usize = 200;
