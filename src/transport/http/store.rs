//! A hub as a store: each method of the contract is a request.

use std::io::Read;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ureq::Agent;
use ureq::tls::{RootCerts, TlsConfig, TlsProvider};

use crate::exchange::layout::{self, FormatError, StorePath};
use crate::exchange::store::{Doing, Store, StoreError, StoredObject};
use crate::id::bytes::{DocHash, InstanceId, ObjectId, ScopeId};
use crate::keys::identity::Identity;
use crate::sys::clock::UnixMillis;
use crate::transport::http::client::{Client, Request};
use crate::transport::http::download::Download;
use crate::transport::http::recall::Recall;
use crate::transport::http::upload::{Stopped, Upload};
use crate::transport::http::url::HttpUrl;
use crate::transport::http::wire::{self, Changes, Held, Info, Join, Names, Objects, Offers, Removed};

/// A store behind HTTP.
#[derive(Debug)]
pub struct HttpStore {
    client: Arc<Client>,
    info: Info,
    /// How many connections are worth it: over SSH each one would be a login of its own.
    lanes: usize,
    recall: Option<Recall>,
}

impl HttpStore {
    /// Opens the hub at `url`, signing each request as `identity`; without one, only what is public can be had.
    ///
    /// Goes through the proxy that `HTTPS_PROXY`, `HTTP_PROXY` and `NO_PROXY` say; trusts the certificates of the system, or
    /// those of `SSL_CERT_FILE`.
    ///
    /// # Errors
    /// `Unreachable`; `NotAStore` if something else answers; `NewerFormat`.
    pub fn open(url: &HttpUrl, identity: Option<&Identity>) -> Result<Self, StoreError> {
        Self::over(client(url, identity), Duration::ZERO).map(Self::with_lanes)
    }

    /// As `open`, but what is read is kept below `dir`, and asked for again only if the hub says that it changed.
    ///
    /// # Errors
    /// As `open`.
    pub fn open_recalling(url: &HttpUrl, identity: Option<&Identity>, dir: &Path) -> Result<Self, StoreError> {
        let recall = Recall::load(dir, url, identity.map(Identity::id).as_ref());
        let client = client(url, identity);
        if let Some(info) = recall.info()
            && let Ok(changes) = resume(&client, &recall.cursor())
            && !changes.forgotten
        {
            recall.renew(&changes);
            let store = Self { client: Arc::new(client), info, lanes: 1, recall: Some(recall) };
            return Ok(store.with_lanes());
        }
        let store = Self::over(client, Duration::ZERO)?.with_lanes();
        // Whoever may not ask what changed keeps nothing, and is told why by what it asks for next.
        let Ok(changes) = resume(&store.client, "") else { return Ok(store) };
        recall.renew(&changes);
        recall.keep_info(&store.info);
        Ok(Self { recall: Some(recall), ..store })
    }

    fn with_lanes(self) -> Self {
        let uploads = usize::try_from(self.info.limits.uploads_at_once).unwrap_or(LANES);
        Self { lanes: uploads.clamp(1, LANES), ..self }
    }

    /// Opens the hub that `client` speaks with, once whoever brings us there was asked what it wants to know: that takes at most
    /// so long.
    ///
    /// # Errors
    /// As `open`.
    pub(crate) fn over(client: Client, asked: Duration) -> Result<Self, StoreError> {
        let not_a_store = |why| StoreError::NotAStore { store: client.name.clone(), why };
        let info: Info = match client.json(Request::get(Doing::Open, "info".into()).unsigned().after(asked)) {
            Ok(info) => info,
            Err(StoreError::Io { source, .. })
                if source.kind() == std::io::ErrorKind::InvalidData && !is_tls(&source) =>
            {
                return Err(not_a_store("it does not answer like a hub of wbsync"));
            }
            Err(StoreError::Io { source, .. }) if source.kind() == std::io::ErrorKind::Other => {
                return Err(not_a_store("there is no hub of wbsync at this address"));
            }
            Err(error) => return Err(error),
        };
        if info.service != SERVICE {
            return Err(not_a_store("it does not answer like a hub of wbsync"));
        }
        if info.protocol != wire::PROTOCOL {
            return Err(not_a_store("it speaks another version of the protocol; update the older side"));
        }
        match layout::check_format(info.store_format.as_bytes()) {
            Ok(()) => {}
            Err(FormatError::Newer { version }) => {
                return Err(StoreError::NewerFormat { store: client.name.clone(), found: version });
            }
            Err(FormatError::Foreign) => return Err(not_a_store("its store has an unknown format")),
        }
        Ok(Self { client: Arc::new(client), info, lanes: 1, recall: None })
    }

    /// Returns what the hub says about itself.
    pub fn info(&self) -> &Info {
        &self.info
    }

    /// Becomes a member of the hub by an invitation.
    ///
    /// # Errors
    /// `Denied` if the invitation doesn't count.
    pub fn join(&self, token: &str) -> Result<(), StoreError> {
        let body = Join { token: token.to_owned() };
        self.client.call(Request::post(Doing::Open, "join", &body)).map(drop)
    }

    /// Returns what changed after `cursor`, from the beginning without one; waits at most `wait` until something does.
    ///
    /// A cursor from before a restart of the hub brings everything again.
    ///
    /// # Errors
    /// As requests fail.
    pub fn changes(&self, cursor: Option<&str>, wait: Duration) -> Result<Changes, StoreError> {
        let mut query = format!("wait={}", wait.as_secs().min(self.info.limits.wait_seconds));
        if let Some(cursor) = cursor {
            query.push_str("&since=");
            query.push_str(cursor);
        }
        self.client.json(Request::get(Doing::List("changes"), "changes".into()).query(query).after(wait))
    }

    fn names<T: std::str::FromStr>(&self, what: &'static str, path: String) -> Result<Vec<T>, StoreError> {
        let doing = Doing::List(what);
        if let Some(names) = self.recall.as_ref().and_then(|recall| recall.list(&path)) {
            return wire::parsed(&names).ok_or_else(|| self.malformed(doing));
        }
        let names: Names = self.client.json(Request::get(doing, path.clone()))?;
        let parsed = wire::parsed(&names.names).ok_or_else(|| self.malformed(doing))?;
        self.recall.iter().for_each(|recall| recall.keep_list(&path, &names.names));
        Ok(parsed)
    }

    fn document(&self, path: StorePath) -> Result<Option<Vec<u8>>, StoreError> {
        if let Some(document) = self.recall.as_ref().and_then(|recall| recall.document(&path)) {
            return Ok(document);
        }
        let document = self.asked_document(path)?;
        self.recall.iter().for_each(|recall| recall.keep_document(&path, document.as_deref()));
        Ok(document)
    }

    fn asked_document(&self, path: StorePath) -> Result<Option<Vec<u8>>, StoreError> {
        let doing = Doing::Read(path);
        match self.client.bytes(Request::get(doing, path.to_string()).about(path), path.bytes_max()) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(StoreError::Missing { .. }) => Ok(None),
            Err(StoreError::Io { source, .. }) if source.kind() == std::io::ErrorKind::InvalidData => {
                Err(StoreError::TooLarge { store: self.describe(), path, bound: path.bytes_max() })
            }
            Err(error) => Err(error),
        }
    }

    fn swap(&self, path: StorePath, expected: Option<DocHash>, bytes: &[u8]) -> Result<(), StoreError> {
        if bytes.len() as u64 > path.bytes_max() {
            return Err(StoreError::TooLarge { store: self.describe(), path, bound: path.bytes_max() });
        }
        let request = Request::put(path, bytes);
        let request = match expected {
            Some(hash) => request.header("if-match", wire::document_tag(&hash)),
            None => request.header("if-none-match", "*".to_owned()),
        };
        let done = self.client.call(request).map(drop);
        self.noted(done, |recall| recall.note_written(&path, Some(bytes)))
    }

    /// Takes notice of what a write did. One that failed may have shown that what is kept isn't what is there.
    fn noted<T>(&self, done: Result<T, StoreError>, note: impl Fn(&Recall)) -> Result<T, StoreError> {
        match &done {
            Ok(_) => self.recall.iter().for_each(note),
            Err(_) => self.recall.iter().for_each(Recall::clear),
        }
        done
    }

    fn ask(&self, doing: Doing, path: &str, objects: &[(ObjectId, u64)]) -> Result<Vec<ObjectId>, StoreError> {
        let most = usize::try_from(self.info.limits.objects_per_request).unwrap_or(usize::MAX).max(1);
        let mut wanted = Vec::new();
        for batch in objects.chunks(most) {
            let names: Names = self.client.json(Request::post(doing, path, &Objects::of(batch)))?;
            wanted.extend(wire::parsed::<ObjectId>(&names.names).ok_or_else(|| self.malformed(doing))?);
        }
        Ok(wanted)
    }

    /// Returns how much of an object came by an earlier upload and needn't be sent again; `None` if the hub holds all of it.
    fn part_of(&self, object: ObjectId, size: u64) -> Result<Option<u64>, StoreError> {
        if size < ASKED_BYTES_MIN {
            return Ok(Some(0));
        }
        let doing = Doing::Write(StorePath::Object(object));
        let offers: Offers = self.client.json(Request::post(doing, "offers", &Objects::of(&[(object, size)])))?;
        if offers.names.is_empty() {
            return Ok(None);
        }
        let known = offers.parts.iter().find(|(id, _)| *id == object.to_string()).map_or(0, |(_, known)| *known);
        Ok(Some(known.min(size.saturating_sub(1))))
    }

    /// Says why an upload failed: where its bytes stopped coming, whatever the hub made of that.
    fn outcome<T>(
        &self,
        object: ObjectId,
        stopped: Option<Stopped>,
        put: Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        match stopped {
            Some(Stopped::Source(source)) => Err(StoreError::Source { store: self.describe(), object, source }),
            Some(Stopped::Damaged(damage)) => Err(StoreError::Damaged { store: self.describe(), object, damage }),
            None => put,
        }
    }

    fn malformed(&self, doing: Doing) -> StoreError {
        let source = std::io::Error::new(std::io::ErrorKind::InvalidData, "the answer names something that is no id");
        StoreError::Io { store: self.describe(), doing, source }
    }
}

fn client(url: &HttpUrl, identity: Option<&Identity>) -> Client {
    Client::new(agent(AGENT), url.clone(), format!("the hub {url}"), identity.cloned())
}

/// Asks what changed since the cursor of what is kept.
fn resume(client: &Client, cursor: &str) -> Result<Changes, StoreError> {
    client.json(Request::get(Doing::List("changes"), "changes".into()).query(format!("resume={cursor}")))
}

/// Makes a client of HTTP that calls itself `name`: the system's certificates, no redirects, patience with slow answers only.
pub(crate) fn agent(name: &str) -> Agent {
    let tls = TlsConfig::builder()
        .provider(TlsProvider::Rustls)
        .root_certs(RootCerts::PlatformVerifier)
        .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .build();
    let config = Agent::config_builder()
        .tls_config(tls)
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .user_agent(name)
        .max_idle_connections_per_host(LANES)
        .timeout_resolve(Some(CONNECT_TIMEOUT))
        .timeout_connect(Some(CONNECT_TIMEOUT))
        .timeout_recv_response(Some(ANSWER_TIMEOUT))
        .timeout_per_read(Some(IDLE_TIMEOUT))
        .timeout_per_write(Some(IDLE_TIMEOUT))
        .build();
    Agent::new_with_config(config)
}

impl Store for HttpStore {
    fn lanes(&self) -> usize {
        self.lanes
    }

    fn describe(&self) -> String {
        self.client.name.clone()
    }

    fn renew(&self) -> Result<(), StoreError> {
        let Some(recall) = &self.recall else { return Ok(()) };
        recall.renew(&resume(&self.client, &recall.cursor())?);
        Ok(())
    }

    fn scopes(&self) -> Result<Vec<ScopeId>, StoreError> {
        self.names("scopes", "scopes".into())
    }

    fn heads(&self, scope: &ScopeId) -> Result<Vec<InstanceId>, StoreError> {
        self.names("heads", wire::heads_path(scope))
    }

    fn cards(&self) -> Result<Vec<InstanceId>, StoreError> {
        self.names("cards", "instances".into())
    }

    fn manifest(&self, scope: &ScopeId) -> Result<Option<Vec<u8>>, StoreError> {
        self.document(StorePath::Manifest(*scope))
    }

    fn head(&self, scope: &ScopeId, signer: &InstanceId) -> Result<Option<Vec<u8>>, StoreError> {
        self.document(StorePath::Head(*scope, *signer))
    }

    fn card(&self, instance: &InstanceId) -> Result<Option<Vec<u8>>, StoreError> {
        self.document(StorePath::Card(*instance))
    }

    fn swap_manifest(&self, scope: &ScopeId, expected: Option<DocHash>, bytes: &[u8]) -> Result<(), StoreError> {
        self.swap(StorePath::Manifest(*scope), expected, bytes)
    }

    /// The hub reads the objects from the head itself, and `objects` are not sent.
    fn swap_head(
        &self,
        scope: &ScopeId,
        signer: &InstanceId,
        expected: Option<DocHash>,
        _objects: &[(ObjectId, u64)],
        bytes: &[u8],
    ) -> Result<(), StoreError> {
        self.swap(StorePath::Head(*scope, *signer), expected, bytes)
    }

    fn remove_head(&self, scope: &ScopeId, signer: &InstanceId, expected: DocHash) -> Result<bool, StoreError> {
        let path = StorePath::Head(*scope, *signer);
        let request = Request::delete(Doing::Remove(path), path.to_string()).about(path);
        let removed = self.client.json(request.header("if-match", wire::document_tag(&expected)));
        let removed: Removed = self.noted(removed, |recall| recall.note_written(&path, None))?;
        Ok(removed.removed)
    }

    fn receipts(&self, scope: &ScopeId) -> Result<Vec<InstanceId>, StoreError> {
        self.names("receipts", wire::receipts_path(scope))
    }

    fn receipt(&self, scope: &ScopeId, reader: &InstanceId) -> Result<Option<Vec<u8>>, StoreError> {
        self.document(StorePath::Receipt(*scope, *reader))
    }

    fn swap_receipt(
        &self,
        scope: &ScopeId,
        reader: &InstanceId,
        expected: Option<DocHash>,
        bytes: &[u8],
    ) -> Result<(), StoreError> {
        self.swap(StorePath::Receipt(*scope, *reader), expected, bytes)
    }

    fn swap_card(&self, instance: &InstanceId, expected: Option<DocHash>, bytes: &[u8]) -> Result<(), StoreError> {
        self.swap(StorePath::Card(*instance), expected, bytes)
    }

    fn missing(&self, objects: &[(ObjectId, u64)]) -> Result<Vec<ObjectId>, StoreError> {
        self.ask(Doing::List("missing objects"), "missing", objects)
    }

    fn object_size(&self, object: &ObjectId) -> Result<Option<u64>, StoreError> {
        let path = StorePath::Object(*object);
        match self.client.call(Request::head(Doing::Read(path), path.to_string()).about(path)) {
            Ok(answer) => Ok(answer.header("content-length").and_then(|text| text.parse().ok())),
            Err(StoreError::Missing { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn object(&self, object: &ObjectId, offset: u64) -> Result<Box<dyn Read + Send>, StoreError> {
        Ok(Box::new(Download::start(Arc::clone(&self.client), *object, offset)?))
    }

    fn put_object(&self, object: &ObjectId, size: u64, bytes: &mut dyn Read) -> Result<(), StoreError> {
        let path = StorePath::Object(*object);
        let bound = self.info.limits.object_bytes.min(path.bytes_max());
        if size > bound {
            return Err(StoreError::TooLarge { store: self.describe(), path, bound });
        }
        let Some(known) = self.part_of(*object, size)? else { return Ok(()) };
        let mut upload = Upload::new(*object, size, known, bytes);
        let mut request = Request::upload(path, size - known, &mut upload);
        if size < ASKED_BYTES_MIN {
            request = request.header("expect", "100-continue".to_owned());
        }
        if known > 0 {
            request = request.header("content-range", format!("bytes {known}-{}/{size}", size - 1));
        }
        let put = self.client.call(request).map(drop);
        self.outcome(*object, upload.stopped, put)
    }

    /// The hub is asked first which of its objects are damaged; one that doesn't know the question heals nothing.
    fn heal_object(&self, object: &ObjectId, size: u64, bytes: &mut dyn Read) -> Result<bool, StoreError> {
        let path = StorePath::Object(*object);
        let doing = Doing::Write(path);
        let asked = Request::post(doing, "damaged", &Objects::of(&[(*object, size)])).about(path);
        match self.client.json::<Names>(asked) {
            Ok(damaged) if damaged.names.is_empty() => return Ok(false),
            Ok(_) => {}
            Err(StoreError::Missing { .. }) => return Ok(false),
            Err(error) => return Err(error),
        }
        let mut upload = Upload::new(*object, size, 0, bytes);
        let request = Request::upload(path, size, &mut upload).query(wire::HEAL.into());
        let put = self.client.call(request).map(|answer| answer.status() == 201);
        self.outcome(*object, upload.stopped, put)
    }

    fn remove_object(&self, object: &ObjectId, unused_since: UnixMillis) -> Result<bool, StoreError> {
        let path = StorePath::Object(*object);
        let request = Request::delete(Doing::Remove(path), path.to_string()).about(path);
        let removed: Removed = self.client.json(request.query(format!("unused_since={}", unused_since.0)))?;
        Ok(removed.removed)
    }

    fn objects(&self) -> Result<Vec<StoredObject>, StoreError> {
        let doing = Doing::List("objects");
        let mut objects: Vec<StoredObject> = Vec::new();
        loop {
            let after = objects.last().map(|last| format!("after={}", last.id)).unwrap_or_default();
            let page: Held = self.client.json(Request::get(doing, "objects".into()).query(after))?;
            let more = page.more && !page.objects.is_empty();
            for (id, bytes, used) in page.objects {
                let id: ObjectId = id.parse().map_err(|_| self.malformed(doing))?;
                if objects.last().is_some_and(|last| last.id >= id) {
                    return Err(self.malformed(doing));
                }
                objects.push(StoredObject { id, bytes, used: UnixMillis(used) });
            }
            if !more {
                return Ok(objects);
            }
        }
    }
}

fn is_tls(error: &std::io::Error) -> bool {
    error.get_ref().is_some_and(|inner| inner.is::<rustls::Error>())
}

/// What `Info::service` says.
pub const SERVICE: &str = "wbsync";
const AGENT: &str = concat!("wbsync/", env!("CARGO_PKG_VERSION"));
/// Enough to hide the way there and back; more would take the line from others.
const LANES: usize = 4;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);
/// Of a smaller object nothing is kept by a hub if it breaks off, so that there is nothing to go on with: whether it is wanted at all,
/// `Expect` asks in the same request.
const ASKED_BYTES_MIN: u64 = 64 << 10;
/// Where a request doesn't say it.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(120);
/// A connection on which nothing moved for so long is dead.
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);
