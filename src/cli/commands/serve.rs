//! `wbsync serve`: a store for others to reach, over HTTP or over a pipe.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::json;

use crate::cli::arguments::LogFormat;
use crate::cli::context::{Context, say};
use crate::cli::failure::Failure;
use crate::hub::error::Error;
use crate::hub::limits::URLS_MAX;
use crate::hub::listen::{Place, Server, Trust};
use crate::hub::log::Event;
use crate::hub::members::Members;
use crate::hub::service::{Guests, Hub, Options};
use crate::hub::stdio;
use crate::state::peers::Trust as PeerTrust;
use crate::sync::instance::Purpose;
use crate::sync::network::NetworkMode;
use crate::sys::clock;
use crate::transport::dir::DirStore;
use crate::transport::http::url::HttpUrl;
use crate::transport::http::wire::shown;

/// Serve a store to other instances
///
/// Without --store it is this instance's own store; with it, no instance is needed, and an empty or new directory
/// becomes a store. Who may use it is the business of `wbsync hub`; in the modes `p2p` and `hybrid` peers may fetch from
/// this instance's own store without more. Only this machine can reach the address unless
/// others are let in by one of --tls-cert, --behind-proxy and --insecure.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  wbsync serve
  wbsync serve --store /srv/hub --tls-cert hub.pem --tls-key hub.key --listen 0.0.0.0:7420 --url https://hub.example:7420/
  wbsync serve --store /srv/hub --behind-proxy --url https://hub.example/
  wbsync serve --stdio --store /srv/hub")]
pub struct Args {
    /// Where to listen
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:7420")]
    listen: SocketAddr,
    /// The store to serve
    #[arg(long, value_name = "DIR")]
    store: Option<PathBuf>,
    /// Serve standard input and output, for SSH; whoever is there may do everything
    #[arg(long, conflicts_with_all = ["listen", "url", "tls_cert", "behind_proxy", "insecure", "public"])]
    stdio: bool,
    /// With --stdio: take only signed requests of members, as over HTTP
    #[arg(long, requires = "stdio")]
    signed: bool,
    /// Serve public scopes to anyone
    #[arg(long)]
    public: bool,
    /// Answer /metrics to anyone who reaches it; /healthz and /readyz are answered in any case
    #[arg(long)]
    metrics: bool,
    /// The URL that clients use; may be given several times
    #[arg(long, value_name = "URL")]
    url: Vec<String>,
    /// Certificate chain, a PEM file
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// Its private key, a PEM file
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// A reverse proxy stands before it and does TLS
    #[arg(long)]
    behind_proxy: bool,
    /// Listen without TLS in a network that is trusted
    #[arg(long)]
    insecure: bool,
}

/// Runs it.
///
/// # Errors
/// As `Server::start` and `stdio::serve`.
pub fn run(context: &mut Context, args: Args) -> Result<(), Failure> {
    let (dir, store) = open(context, args.store.as_deref())?;
    let guests = if args.store.is_none() { peers(context)? } else { None };
    let members = Members::open(&dir)?;
    let urls = args.url.iter().map(|text| HttpUrl::parse(text)).collect::<Result<Vec<_>, _>>();
    let urls = urls.map_err(|error| Failure::Usage(format!("cannot use the value of --url: {error}")))?;
    if urls.len() > URLS_MAX {
        return Err(Failure::Usage(format!("a hub has at most {URLS_MAX} URLs")));
    }
    let options = Options { public: args.public, metrics: args.metrics, behind_proxy: args.behind_proxy, urls };
    let (quiet, piped) = (context.global.quiet, args.stdio && !context.global.verbose);
    let json = context.log_format() == LogFormat::Json;
    let log = move |event: &Event| {
        if !quiet && !piped {
            tell(event, json);
        }
    };
    let mut hub = Hub::new(store, members, options, Arc::new(log))?;
    if let Some(guests) = guests {
        hub = hub.with_guests(guests);
    }
    let hub = Arc::new(hub);
    if !args.stdio {
        // Over a pipe others may be sending at this moment, and it starts often.
        hub.recount()?;
    }
    if args.stdio {
        return Ok(stdio::serve(hub, !args.signed)?);
    }
    let trust = match () {
        () if args.behind_proxy => Trust::Proxy,
        () if args.insecure => Trust::Network,
        () => Trust::Loopback,
    };
    let place = Place { address: args.listen, tls: args.tls_cert.zip(args.tls_key), trust };
    Ok(Server::start(hub, &place)?.run()?)
}

/// Returns what lets the peers in that aren't revoked, if they are to come for what is in our own store.
fn peers(context: &Context) -> Result<Option<Guests>, Failure> {
    let instance = context.instance(Purpose::Look)?;
    if instance.config.network.mode == NetworkMode::Central {
        return Ok(None);
    }
    // Commands change who is a peer while this runs.
    let state = Mutex::new(instance.state);
    Ok(Some(Arc::new(move |id| {
        let state = state.lock().unwrap_or_else(PoisonError::into_inner);
        state.peer(id).is_ok_and(|peer| peer.is_some_and(|peer| peer.trust != PeerTrust::Revoked))
    })))
}

/// Opens the store in `dir`, or the instance's own; returns its directory too.
///
/// # Errors
/// As opening the store or the instance.
pub fn open(context: &Context, dir: Option<&Path>) -> Result<(PathBuf, DirStore), Failure> {
    let dir = match dir {
        Some(dir) => context.dir.join(dir),
        None => {
            let instance = context.instance(Purpose::Look)?;
            // Made if it isn't there.
            instance.own_store()?;
            instance.dir().join("store")
        }
    };
    let store = DirStore::create(&dir).map_err(|error| Error::Store(Box::new(error)))?;
    Ok((dir, store))
}

/// Writes an event to stderr, on one line.
fn tell(event: &Event, json: bool) {
    let text = match event {
        event if json => in_json(event).to_string(),
        Event::Listening { url } => format!("listening on {url}"),
        Event::Ending => "ending; requests may finish".to_owned(),
        Event::Request { caller, address, method, path, status, millis, inside } => {
            let inside = inside.as_ref().map(|inside| format!(" ({inside})")).unwrap_or_default();
            let address = address.as_ref().map_or_else(|| "-".to_owned(), IpAddr::to_string);
            format!("{address} {} {method} {path:?} {status} {millis} ms{inside}", shown(caller.as_ref()))
        }
    };
    say(&text);
}

/// Returns an event as a line of a log that begins as the worker's do.
fn in_json(event: &Event) -> serde_json::Value {
    let time = clock::now();
    match event {
        Event::Listening { url } => json!({ "time": time, "level": "info", "event": "listening", "url": url }),
        Event::Ending => json!({ "time": time, "level": "info", "event": "ending" }),
        Event::Request { caller, address, method, path, status, millis, inside } => json!({
            "time": time, "level": if *status < 500 { "info" } else { "error" }, "event": "request",
            "caller": caller, "address": address.as_ref().map(IpAddr::to_string), "method": method, "path": path,
            "status": status, "millis": millis, "inside": inside,
        }),
    }
}
