//! The bounds that a hub keeps, each with its reason; what a client should know of them is in the info answer.

use std::time::Duration;

use crate::exchange::layout::{DOCUMENT_BYTES_MAX, OBJECT_BYTES_MAX};
use crate::transport::http::wire::Limits;

/// All header fields of a request: ours have about 700 bytes, and proxies add some. hyper wants 8 KiB at least.
pub const HEADER_BYTES_MAX: usize = 16 << 10;
/// Header fields of a request: ours are 8, and proxies add some.
pub const HEADERS_MAX: usize = 64;
/// Path and query of a request: the longest of ours is an object with a date, about 130 bytes, below a prefix.
pub const TARGET_BYTES_MAX: usize = 1024;
/// Who doesn't finish its headers in this time is slow on purpose; an idle connection ends so too.
pub const HEADER_TIMEOUT: Duration = Duration::from_secs(15);
/// Requests at once on one connection of HTTP/2: a few uploads, a few waits, some reads.
pub const STREAMS_MAX: u32 = 32;
/// Requests of one connection of HTTP/2 that are taken back before they were looked at, or that break its rules.
pub const RESETS_MAX: usize = 16;
/// Bytes of a body that may be on their way by HTTP/2 before they are read: a megabyte in a second where an answer takes 0.1 s.
pub const STREAM_WINDOW_BYTES: u32 = 128 << 10;
/// The same for all bodies of a connection, which is what it can make the hub hold.
pub const CONNECTION_WINDOW_BYTES: u32 = 256 << 10;
/// Bytes of an answer that wait in a connection of HTTP/2.
pub const SEND_BYTES_MAX: usize = 32 << 10;
/// How long a connection of HTTP/2 may be silent before it is asked whether it is there, and then to say so.
pub const KEEP_ALIVE: Duration = Duration::from_secs(20);
/// How often each connection is looked at for whether it is idle or stalled.
pub const LOOK_EVERY: Duration = Duration::from_secs(5);
/// A TLS handshake takes a few round trips.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// A body or an answer on which nothing moves for so long is given up.
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(30);
/// Every body may take this long, and longer as it has more bytes.
pub const BODY_SECONDS: u64 = 30;
/// A body that is slower than this on average is given up: slower than any modem, faster than an attacker's patience.
pub const BODY_BYTES_PER_SECOND_MIN: u64 = 2 << 10;
/// Open connections; each costs a file and about 30 KiB, and by HTTP/2 as much as its window if it is rude.
pub const CONNECTIONS_MAX: usize = 1024;
/// Requests that use the disk at once; more only wait for it.
pub const WORK_AT_ONCE: usize = 32;
/// Objects that all instances send at once; each holds a thread.
pub const UPLOADS_AT_ONCE: usize = 64;
/// Objects that one instance sends at once, so that a slow or bad one leaves room for others.
pub const UPLOADS_PER_INSTANCE: usize = 8;
/// Requests of one instance in a second, on average: pushing small objects takes about two for each.
pub const REQUESTS_PER_SECOND: u32 = 500;
/// Requests of one instance at once after a pause.
pub const REQUESTS_BURST: u32 = 2000;
/// Refused requests of one address in a second, on average; a signature that must be verified costs 0.1 ms.
pub const REFUSALS_PER_SECOND: u32 = 20;
/// Refused requests of one address at once after a pause.
pub const REFUSALS_BURST: u32 = 200;
/// Instances and addresses whose rates are remembered at once.
pub const RATES_MAX: usize = 65_536;
/// How far the clock of a client may be off: people set clocks by hand, and the answer says by how much to correct.
pub const CLOCK_SECONDS: u64 = 120;
/// Nonces remembered at once. They live for twice `CLOCK_SECONDS`; only members make any, and their rate is bound.
pub const NONCES_MAX: usize = 1 << 20;
/// Objects in one `missing` or `offers`: 72 KiB of ids.
pub const OBJECTS_PER_REQUEST: usize = 1024;
/// Objects in one page of the list.
pub const OBJECTS_PER_PAGE: usize = 4096;
/// Changes in one answer.
pub const CHANGES_PER_ANSWER: usize = 1000;
/// The longest wait for a change; many proxies end a request after 60 seconds.
pub const WAIT_SECONDS: u64 = 50;
/// Waiting requests of one instance; the others are answered at once.
pub const WAITS_PER_INSTANCE: usize = 4;
/// How often the store is looked at for what other processes wrote to it.
pub const REFRESH_EVERY: Duration = Duration::from_secs(2);
/// What an instance may store, unless `wbsync hub quota` says otherwise.
pub const QUOTA_BYTES: u64 = 10 << 30;
/// Scopes of one origin: two, and one for each group; their documents don't count towards the quota.
pub const SCOPES_PER_ORIGIN: usize = 256;
/// The body of a request other than an object or a document: a list of ids.
pub const JSON_BYTES_MAX: u64 = 256 << 10;
/// After a signal to end, requests may go on for so long.
pub const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(20);
/// How long an invitation counts, unless said otherwise.
pub const INVITATION_DAYS: u32 = 7;
/// Base URLs of one hub: each may cost a verification for a bad signature.
pub const URLS_MAX: usize = 8;

// A nonce may have to be remembered from `CLOCK_SECONDS` before its date to as long after it.
const _: () = assert!(NONCES_MAX as u64 >= CLOCK_SECONDS * 2 * REQUESTS_PER_SECOND as u64);
const _: () = assert!(JSON_BYTES_MAX > OBJECTS_PER_REQUEST as u64 * 100);

/// Returns the bounds that clients should know.
pub fn told() -> Limits {
    Limits {
        object_bytes: OBJECT_BYTES_MAX,
        document_bytes: DOCUMENT_BYTES_MAX,
        header_bytes: HEADER_BYTES_MAX as u64,
        objects_per_request: OBJECTS_PER_REQUEST as u64,
        changes_per_answer: CHANGES_PER_ANSWER as u64,
        wait_seconds: WAIT_SECONDS,
        clock_seconds: CLOCK_SECONDS,
        requests_per_second: REQUESTS_PER_SECOND.into(),
        uploads_at_once: UPLOADS_PER_INSTANCE as u64,
        quota_bytes: QUOTA_BYTES,
        scopes: SCOPES_PER_ORIGIN as u64,
    }
}

/// Returns how long a body of `bytes` may take.
pub fn body_time(bytes: u64) -> Duration {
    Duration::from_secs(BODY_SECONDS + bytes / BODY_BYTES_PER_SECOND_MIN)
}
