//! Who sent a request: its signature, its date and its nonce, against the members.

use std::net::IpAddr;
use std::time::Instant;

use hyper::header::HOST;
use hyper::http::request::Parts;

use crate::hub::caller::Caller;
use crate::hub::limits::TARGET_BYTES_MAX;
use crate::hub::nonces::Stale;
use crate::hub::refusal::Refusal;
use crate::hub::service::{Connection, Hub};
use crate::id::bytes::InstanceId;
use crate::sys::clock;
use crate::transport::http::signature::{Claim, Covered};
use crate::transport::http::url::normal_authority;

/// A request whose sender is known.
#[derive(Debug)]
pub struct Known {
    /// The sender.
    pub caller: Caller,
    /// The instance that signed, also if it is no member: for `join`.
    pub signer: Option<InstanceId>,
    /// The path below the hub's base URL, without its first slash.
    pub path: String,
}

/// Finds out who sent a request.
///
/// Of a stranger nothing is verified but a request to join.
///
/// # Errors
/// `malformed`, `misdirected`, `bad-signature`, `not-a-member`, `clock`, `replayed`, `rate`.
pub fn authenticate(hub: &Hub, connection: &Connection, parts: &Parts) -> Result<Known, Refusal> {
    let target = parts.uri.path_and_query().map_or(0, |target| target.as_str().len());
    let full = parts.uri.path();
    if target > TARGET_BYTES_MAX {
        return Err(Refusal::new(414, "long-path", "no path here is so long"));
    }
    if parts.uri.authority().is_some() || !full.starts_with('/') {
        return Err(Refusal::malformed("the request target has to be a path"));
    }
    let stripped = hub.options.urls.iter().find_map(|url| {
        full.strip_prefix(url.prefix.as_str()).filter(|rest| !url.prefix.is_empty() && rest.starts_with('/'))
    });
    let path = stripped.unwrap_or(full)[1..].to_owned();
    if connection.trusted {
        return Ok(Known { caller: Caller::Owner, signer: None, path });
    }
    if let Some(address) = limited_address(hub, connection)
        && hub.rates().is_tiresome(&address, Instant::now())
    {
        return Err(Refusal::new(429, "rate", "too many requests from here were refused").later(5));
    }
    let Some(claim) = claim_of(parts)? else { return Ok(Known { caller: Caller::Anyone, signer: None, path }) };
    let role = hub.role(&claim.signer)?;
    let joins = path == "join" && parts.method == hyper::Method::POST;
    if role.is_none() && !joins && hub.options.public {
        // A stranger reads what is for anyone, signed or not.
        return Ok(Known { caller: Caller::Anyone, signer: None, path });
    }
    if role.is_none() && !joins {
        let refusal = Refusal::new(403, "not-a-member", "the instance that signed this is no member of this hub");
        return Err(refusal.inside(format!("signed by {}", claim.signer)));
    }
    let now = clock::now().0 / 1000;
    hub.nonces().check_date(now, claim.created).map_err(|stale| refuse_stale(stale, now))?;
    verify(hub, connection, parts, &path, &claim)?;
    let Some(role) = role else {
        // Somebody who wants to join: nothing is remembered of strangers, or they could fill the memory, and to join
        // once more changes nothing.
        return Ok(Known { caller: Caller::Anyone, signer: Some(claim.signer), path });
    };
    hub.nonces().remember(now, claim.created, &claim.signer, &claim.nonce).map_err(|stale| refuse_stale(stale, now))?;
    if !hub.rates().request(&claim.signer, Instant::now()) {
        return Err(Refusal::new(429, "rate", "this instance asks too often").later(1));
    }
    let caller = Caller::Member(claim.signer, role);
    Ok(Known { caller, signer: Some(claim.signer), path })
}

/// Returns the address whose refused requests are counted; a proxy's own stands for everybody and isn't.
pub fn limited_address(hub: &Hub, connection: &Connection) -> Option<IpAddr> {
    connection.address.filter(|_| !hub.options.behind_proxy)
}

fn claim_of(parts: &Parts) -> Result<Option<Claim>, Refusal> {
    let bad =
        |why: &dyn ToString| Refusal::new(401, "bad-signature", "the signature does not count").inside(why.to_string());
    let one = |name: &str| {
        let mut values = parts.headers.get_all(name).iter();
        match (values.next(), values.next()) {
            (None, _) => Ok(None),
            (Some(value), None) => value.to_str().map(Some).map_err(|_| bad(&"a field isn't text")),
            (Some(_), Some(_)) => Err(bad(&"a field is given twice")),
        }
    };
    match (one("signature-input")?, one("signature")?) {
        (None, None) => Ok(None),
        (Some(input), Some(signature)) => Claim::parse(input, signature).map(Some).map_err(|error| bad(&error)),
        _ => Err(bad(&"one of the two fields is missing")),
    }
}

/// Checks the signature as made for this hub: by the names that it was told to have, or else by the name that was asked for.
fn verify(hub: &Hub, connection: &Connection, parts: &Parts, path: &str, claim: &Claim) -> Result<(), Refusal> {
    let digest = parts.headers.get("content-digest").and_then(|value| value.to_str().ok());
    let query = parts.uri.query().unwrap_or_default();
    let covered = |authority: &str, path: &str| {
        claim.verify(&Covered { method: parts.method.as_str(), authority, path, query, digest })
    };
    let mut last = None;
    if hub.options.urls.is_empty() {
        let host = parts.headers.get(HOST).and_then(|host| host.to_str().ok());
        let host = host.and_then(|host| normal_authority(host, connection.tls));
        let host = host.ok_or_else(|| Refusal::malformed("the request names no host"))?;
        match covered(&host, parts.uri.path()) {
            Ok(()) => return Ok(()),
            Err(error) => last = Some(error),
        }
    }
    for url in &hub.options.urls {
        match covered(&url.authority, &format!("{}/{path}", url.prefix)) {
            Ok(()) => return Ok(()),
            Err(error) => last = Some(error),
        }
    }
    let why = last.map(|error| error.to_string()).unwrap_or_default();
    Err(Refusal::new(401, "bad-signature", "the signature does not count").inside(why))
}

fn refuse_stale(stale: Stale, now: u64) -> Refusal {
    match stale {
        Stale::Clock => {
            let mut refusal = Refusal::new(401, "clock", "the date of the signature is too far from this hub's clock");
            refusal.problem.time = Some(now);
            refusal
        }
        Stale::Replayed => Refusal::new(401, "replayed", "this request was made before"),
        Stale::Full => Refusal::busy("too many requests of late"),
    }
}
