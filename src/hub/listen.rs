//! Listening: connections by TCP or TLS, bounded in number and patience, and an end that lets requests finish.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use crate::hub::activity::{Activity, Verdict, Watched};
use crate::hub::error::Error;
use crate::hub::guard::Guarded;
use crate::hub::http2;
use crate::hub::limits::{
    CONNECTIONS_MAX, HANDSHAKE_TIMEOUT, IDLE_TIMEOUT, LOOK_EVERY, SHUTDOWN_TIMEOUT, UPLOADS_AT_ONCE, WORK_AT_ONCE,
};
use crate::hub::log::Event;
use crate::hub::service::{Connection, Hub};

/// Where a hub listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The address; port 0 is any free one.
    pub address: SocketAddr,
    /// Certificate chain and private key, as PEM files.
    pub tls: Option<(PathBuf, PathBuf)>,
    /// What stands between the hub and others, if there is no TLS.
    pub trust: Trust,
}

/// Why a hub may listen without TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Trust {
    /// It may on this machine's own addresses only.
    #[default]
    Loopback,
    /// A reverse proxy that does TLS.
    Proxy,
    /// The network is trusted.
    Network,
}

/// A hub that listens. Ends when dropped, cutting requests off; `stop` lets them finish.
#[derive(Debug)]
pub struct Server {
    hub: Arc<Hub>,
    address: SocketAddr,
    tls: bool,
    runtime: Option<Runtime>,
    accepting: Option<tokio::task::JoinHandle<()>>,
}

impl Server {
    /// Begins to listen.
    ///
    /// # Errors
    /// `Bare` and `Nameless` if others could reach it in ways that aren't safe; `Certificate`, `Tls`, `Listen`, `Start`.
    pub fn start(hub: Arc<Hub>, place: &Place) -> Result<Self, Error> {
        let is_local = place.address.ip().is_loopback() && !hub.options.behind_proxy;
        if !place.address.ip().is_loopback() && place.tls.is_none() && place.trust == Trust::Loopback {
            return Err(Error::Bare { address: place.address });
        }
        if !is_local && hub.options.urls.is_empty() {
            return Err(Error::Nameless);
        }
        let acceptor = place.tls.as_ref().map(acceptor).transpose()?;
        let runtime = runtime()?;
        let listener = runtime.block_on(TcpListener::bind(place.address));
        let listener = listener.map_err(|source| Error::Listen { address: place.address, source })?;
        let address = listener.local_addr().map_err(|source| Error::Listen { address: place.address, source })?;
        let tls = acceptor.is_some();
        let accepting = runtime.spawn(accept(Arc::clone(&hub), listener, acceptor));
        let server = Self { hub, address, tls, runtime: Some(runtime), accepting: Some(accepting) };
        server.hub.tell(&Event::Listening { url: server.url() });
        Ok(server)
    }

    /// Returns where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns its URL on this machine.
    pub fn url(&self) -> String {
        format!("{}://{}/", if self.tls { "https" } else { "http" }, self.address)
    }

    /// Waits for a signal to end (SIGTERM, SIGINT), then lets requests finish for a while.
    ///
    /// # Errors
    /// `Start` if signals can't be waited for.
    pub fn run(self) -> Result<(), Error> {
        if let Some(runtime) = &self.runtime {
            runtime.block_on(signal()).map_err(Error::Start)?;
        }
        self.stop();
        Ok(())
    }

    /// Ends: takes no more connections, and lets requests finish for a while.
    pub fn stop(mut self) {
        self.hub.tell(&Event::Ending);
        self.hub.ending.send_replace(true);
        if let (Some(runtime), Some(accepting)) = (self.runtime.take(), self.accepting.take()) {
            // Ends by itself after `SHUTDOWN_TIMEOUT`.
            let _ = runtime.block_on(accepting);
            runtime.shutdown_timeout(Duration::from_secs(1));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.hub.ending.send_replace(true);
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// Makes the threads of a hub.
///
/// # Errors
/// `Start`.
pub fn runtime() -> Result<Runtime, Error> {
    tokio::runtime::Builder::new_multi_thread()
        .max_blocking_threads(2 * (UPLOADS_AT_ONCE + WORK_AT_ONCE))
        .thread_name("hub")
        .enable_all()
        .build()
        .map_err(Error::Start)
}

async fn accept(hub: Arc<Hub>, listener: TcpListener, acceptor: Option<TlsAcceptor>) {
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut connections = JoinSet::new();
    let mut ending = hub.ending.subscribe();
    loop {
        let permit = tokio::select! {
            permit = Arc::clone(&room).acquire_owned() => permit,
            _ = ending.wait_for(|ending| *ending) => break,
        };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = ending.wait_for(|ending| *ending) => break,
        };
        while connections.try_join_next().is_some() {}
        let (Ok(permit), Ok((stream, address))) = (permit, accepted) else {
            // Out of files, perhaps: some connection will end.
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let (hub, acceptor) = (Arc::clone(&hub), acceptor.clone());
        connections.spawn(async move {
            let connection = Connection { address: Some(address.ip()), tls: acceptor.is_some(), trusted: false };
            // Small answers must not wait for each other.
            let _ = stream.set_nodelay(true);
            secure(hub, connection, stream, acceptor).await;
            drop(permit);
        });
    }
    drop(listener);
    let all = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(SHUTDOWN_TIMEOUT, all).await.is_err() {
        connections.abort_all();
    }
}

async fn secure(hub: Arc<Hub>, connection: Connection, stream: TcpStream, acceptor: Option<TlsAcceptor>) {
    match acceptor {
        None => converse(hub, connection, stream).await,
        Some(acceptor) => {
            if let Ok(Ok(stream)) = tokio::time::timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream)).await {
                converse(hub, connection, stream).await;
            }
        }
    }
}

/// Answers the requests of one connection until it ends.
pub(crate) async fn converse<T>(hub: Arc<Hub>, connection: Connection, stream: T)
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut ending = hub.ending.subscribe();
    let activity = Activity::new(Instant::now());
    let watching = Arc::clone(&activity);
    let service = service_fn(move |request| {
        let underway = watching.begin();
        let answer = Arc::clone(&hub).answer(connection, request);
        async move { answer.await.map(|answer| answer.map(|body| Watched::new(body, underway))) }
    });
    let io = TokioIo::new(Guarded::new(stream, IDLE_TIMEOUT));
    let builder = http2::builder();
    let mut served = std::pin::pin!(builder.serve_connection(io, service));
    let mut looks = tokio::time::interval(LOOK_EVERY);
    let mut leaving = false;
    loop {
        let leave = tokio::select! {
            // What goes wrong here is the other side's: it left, or was cut off.
            _ = &mut served => return,
            _ = ending.wait_for(|ending| *ending), if !leaving => true,
            _ = looks.tick() => match activity.verdict(Instant::now()) {
                Verdict::Busy => false,
                Verdict::Idle if leaving => return,
                Verdict::Idle => true,
                Verdict::Stalled => return,
            },
        };
        if leave {
            leaving = true;
            served.as_mut().graceful_shutdown();
        }
    }
}

async fn signal() -> std::io::Result<()> {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        let mut terminate = signal(SignalKind::terminate())?;
        tokio::select! {
            _ = terminate.recv() => Ok(()),
            interrupted = tokio::signal::ctrl_c() => interrupted,
        }
    }
    #[cfg(not(unix))]
    tokio::signal::ctrl_c().await
}

fn acceptor((chain, key): &(PathBuf, PathBuf)) -> Result<TlsAcceptor, Error> {
    let unreadable = |path: &PathBuf, what| {
        let path = path.clone();
        move |error: rustls::pki_types::pem::Error| Error::Certificate {
            path,
            what,
            source: std::io::Error::other(error.to_string()),
        }
    };
    let certificates = CertificateDer::pem_file_iter(chain)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(unreadable(chain, "a chain of certificates"))?;
    let key = PrivateKeyDer::from_pem_file(key).map_err(unreadable(key, "a private key"))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(certificates, key))
        .map_err(Error::Tls)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}
