//! What HTTP/2 says in another way than HTTP/1.1, and the bounds that one builder keeps for both.
//!
//! Behind this everything is as if it had come by HTTP/1.1: a target that is a path, and a host in `Host`.

use hyper::body::Incoming;
use hyper::header::{HOST, HeaderValue};
use hyper::http::uri::PathAndQuery;
use hyper::{Request, Uri, Version};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use hyper_util::server::conn::auto;

use crate::hub::limits::{
    CONNECTION_WINDOW_BYTES, HEADER_BYTES_MAX, HEADER_TIMEOUT, HEADERS_MAX, KEEP_ALIVE, RESETS_MAX, SEND_BYTES_MAX,
    STREAM_WINDOW_BYTES, STREAMS_MAX,
};
use crate::hub::refusal::Refusal;

/// Makes what speaks both versions, whichever the client begins with.
pub(crate) fn builder() -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_headers(HEADERS_MAX)
        .max_buf_size(HEADER_BYTES_MAX)
        .half_close(false);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS_MAX)
        .max_header_list_size(HEADER_BYTES_MAX as u32)
        .max_pending_accept_reset_streams(RESETS_MAX)
        .max_local_error_reset_streams(RESETS_MAX)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_send_buf_size(SEND_BYTES_MAX)
        .keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(KEEP_ALIVE);
    builder
}

/// Rewrites a request of HTTP/2 as HTTP/1.1 would have it; others are left alone.
///
/// # Errors
/// `malformed` if it names no host, or two; `headers` if it has too many fields.
pub(crate) fn plain(mut request: Request<Incoming>) -> Result<Request<Incoming>, Refusal> {
    if request.version() != Version::HTTP_2 {
        return Ok(request);
    }
    if request.headers().len() > HEADERS_MAX {
        return Err(Refusal::new(431, "headers", "the request has too many header fields"));
    }
    let authority = request.uri().authority().map(|authority| authority.as_str().to_owned());
    let hosts: Vec<&HeaderValue> = request.headers().get_all(HOST).iter().collect();
    match (authority, &hosts[..]) {
        (Some(authority), [] | [_]) if hosts.first().is_none_or(|host| host.as_bytes() == authority.as_bytes()) => {
            let host = HeaderValue::from_str(&authority).map_err(|_| Refusal::malformed("the host is none"))?;
            request.headers_mut().insert(HOST, host);
        }
        (None, [_]) => {}
        _ => return Err(Refusal::malformed("the request names no host, or two")),
    }
    let target = request.uri().path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("*"));
    *request.uri_mut() = Uri::from(target);
    Ok(request)
}
