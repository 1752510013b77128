//! The answers of a hub, and their bodies: whole, or read from an object while they are sent.

use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use hyper::body::{Body, Bytes, Frame, SizeHint};
use hyper::header::{self, HeaderName, HeaderValue};
use hyper::{Response, StatusCode};
use tokio::sync::mpsc;

use crate::hub::refusal::Refusal;

/// The body of an answer.
#[derive(Debug)]
pub enum AnswerBody {
    /// All bytes at once.
    Whole(Option<Bytes>),
    /// So many bytes, as they are read.
    Read(u64, mpsc::Receiver<io::Result<Bytes>>),
}

/// An answer.
pub type Answer = Response<AnswerBody>;

impl AnswerBody {
    /// Returns how many bytes are left.
    pub(crate) fn left(&self) -> u64 {
        match self {
            Self::Whole(bytes) => bytes.as_ref().map_or(0, |bytes| bytes.len() as u64),
            Self::Read(left, _) => *left,
        }
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        match &mut *self {
            Self::Whole(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::Read(left, receiver) => match receiver.poll_recv(context) {
                Poll::Pending => Poll::Pending,
                Poll::Ready(Some(Ok(bytes))) => {
                    *left = left.saturating_sub(bytes.len() as u64);
                    Poll::Ready(Some(Ok(Frame::data(bytes))))
                }
                Poll::Ready(Some(Err(error))) => Poll::Ready(Some(Err(error))),
                // Cut: the connection breaks off, so that nobody takes this for the end.
                Poll::Ready(None) if *left > 0 => Poll::Ready(Some(Err(io::ErrorKind::UnexpectedEof.into()))),
                Poll::Ready(None) => Poll::Ready(None),
            },
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Whole(None) | Self::Read(0, _))
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left())
    }
}

/// Makes an answer of bytes.
pub fn bytes(status: StatusCode, kind: &'static str, bytes: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(AnswerBody::Whole(Some(bytes.into())));
    *answer.status_mut() = status;
    set(&mut answer, header::CONTENT_TYPE, kind);
    answer
}

/// Makes an answer of JSON that nobody may keep.
pub fn json(value: &impl serde::Serialize) -> Answer {
    let body = serde_json::to_vec(value).expect("answers have text keys");
    let mut answer = bytes(StatusCode::OK, "application/json", body);
    set(&mut answer, header::CACHE_CONTROL, "no-store");
    answer
}

/// Makes an answer without a body.
pub fn empty(status: StatusCode) -> Answer {
    let mut answer = Response::new(AnswerBody::Whole(None));
    *answer.status_mut() = status;
    answer
}

/// Makes the answer that refuses (RFC 9457).
pub fn refuse(refusal: &Refusal) -> Answer {
    let body = serde_json::to_vec(&refusal.problem).expect("problems have text keys");
    let status = StatusCode::from_u16(refusal.problem.status).expect("refusals have a status");
    let mut answer = bytes(status, "application/problem+json", body);
    set(&mut answer, header::CACHE_CONTROL, "no-store");
    if let Some(seconds) = refusal.retry_after {
        set(&mut answer, header::RETRY_AFTER, &seconds.to_string());
    }
    if status == StatusCode::UNAUTHORIZED {
        set(&mut answer, header::WWW_AUTHENTICATE, "Signature realm=\"wbsync\"");
    }
    answer
}

/// Sets a header to text of our own making.
pub fn set(answer: &mut Answer, name: HeaderName, value: &str) {
    answer.headers_mut().insert(name, HeaderValue::from_str(value).expect("our headers are visible ASCII"));
}

/// An answer always comes.
pub type Always<T> = Result<T, Infallible>;
