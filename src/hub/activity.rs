//! What a connection is doing, so that one that does nothing, or whose answers nobody takes, is given up.
//!
//! A connection of HTTP/2 may carry many requests, and its bytes tell little: pings keep it busy, and a closed window holds up
//! one answer while others go on. So requests are counted until the last byte of their answer was asked for, and for each
//! answer it is known since when the client doesn't ask for more.

use std::collections::HashMap;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Instant;

use hyper::body::{Body, Bytes, Frame, SizeHint};

use crate::hub::answer::AnswerBody;
use crate::hub::limits::{HEADER_TIMEOUT, IDLE_TIMEOUT};

/// What one connection does.
#[derive(Debug)]
pub(crate) struct Activity {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    next: u64,
    /// By request under way: since when its client has a part of the answer and doesn't ask for the next.
    requests: HashMap<u64, Option<Instant>>,
    /// Since when there is none.
    idle_since: Instant,
}

/// What a connection deserves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It does something.
    Busy,
    /// No request came for a while.
    Idle,
    /// An answer isn't taken.
    Stalled,
}

impl Activity {
    /// Begins with a connection that was just made.
    pub(crate) fn new(now: Instant) -> Arc<Self> {
        Arc::new(Self { state: Mutex::new(State { next: 0, requests: HashMap::new(), idle_since: now }) })
    }

    /// Takes notice of a request, which lasts as long as what is returned.
    pub(crate) fn begin(self: &Arc<Self>) -> Underway {
        let mut state = self.lock();
        let number = state.next;
        state.next += 1;
        state.requests.insert(number, None);
        Underway { activity: Arc::clone(self), number }
    }

    /// Judges the connection.
    pub(crate) fn verdict(&self, now: Instant) -> Verdict {
        let state = self.lock();
        let longer = |since: Instant, bound| now.saturating_duration_since(since) >= bound;
        if state.requests.is_empty() {
            return if longer(state.idle_since, HEADER_TIMEOUT) { Verdict::Idle } else { Verdict::Busy };
        }
        let is_stalled = state.requests.values().flatten().any(|since| longer(*since, IDLE_TIMEOUT));
        if is_stalled { Verdict::Stalled } else { Verdict::Busy }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A request under way.
#[derive(Debug)]
pub(crate) struct Underway {
    activity: Arc<Activity>,
    number: u64,
}

impl Underway {
    /// Takes notice that it is the client's turn, or ours.
    fn turn(&self, clients_since: Option<Instant>) {
        self.activity.lock().requests.insert(self.number, clients_since);
    }
}

impl Drop for Underway {
    fn drop(&mut self) {
        let mut state = self.activity.lock();
        state.requests.remove(&self.number);
        if state.requests.is_empty() {
            state.idle_since = Instant::now();
        }
    }
}

/// The body of an answer, watched, and cut into parts so small that each is taken soon.
#[derive(Debug)]
pub(crate) struct Watched {
    body: AnswerBody,
    /// What was read of it and isn't handed on yet.
    rest: Bytes,
    underway: Underway,
}

impl Watched {
    /// Watches the body of a request's answer.
    pub(crate) fn new(body: AnswerBody, underway: Underway) -> Self {
        Self { body, rest: Bytes::new(), underway }
    }
}

impl Body for Watched {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        self.underway.turn(None);
        if self.rest.is_empty() {
            match Pin::new(&mut self.body).poll_frame(context) {
                Poll::Ready(Some(Ok(frame))) => self.rest = frame.into_data().unwrap_or_default(),
                other => return other,
            }
        }
        let count = self.rest.len().min(PART_BYTES);
        let part = self.rest.split_to(count);
        self.underway.turn(Some(Instant::now()));
        Poll::Ready(Some(Ok(Frame::data(part))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.body.left() + self.rest.len() as u64)
    }
}

/// A client that takes half a kilobyte in a second takes a part in time.
const PART_BYTES: usize = 16 << 10;

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_connection_is_idle_after_its_last_request_and_stalled_by_any_answer() {
        let start = Instant::now();
        let activity = Activity::new(start);
        assert_eq!(activity.verdict(start), Verdict::Busy);
        assert_eq!(activity.verdict(start + HEADER_TIMEOUT), Verdict::Idle);
        let (one, other) = (activity.begin(), activity.begin());
        let late = Instant::now() + Duration::from_secs(3600);
        assert_eq!(activity.verdict(late), Verdict::Busy, "it may be ours to wait for");
        one.turn(Some(start));
        assert_eq!(activity.verdict(start + IDLE_TIMEOUT), Verdict::Stalled);
        one.turn(None);
        assert_eq!(activity.verdict(start + IDLE_TIMEOUT), Verdict::Busy);
        drop((one, other));
        assert_eq!(activity.verdict(Instant::now()), Verdict::Busy);
        assert_eq!(activity.verdict(late), Verdict::Idle);
    }

    #[test]
    fn a_body_comes_in_small_parts_and_whole() {
        let activity = Activity::new(Instant::now());
        let bytes = Bytes::from(vec![7; 3 * PART_BYTES + 1]);
        let mut body = Watched::new(AnswerBody::Whole(Some(bytes.clone())), activity.begin());
        let mut context = Context::from_waker(std::task::Waker::noop());
        let mut parts = Vec::new();
        assert_eq!(body.size_hint().exact(), Some(bytes.len() as u64));
        while !body.is_end_stream() {
            let Poll::Ready(Some(Ok(frame))) = Pin::new(&mut body).poll_frame(&mut context) else { panic!("no frame") };
            parts.push(frame.into_data().unwrap());
            let left = bytes.len() - parts.iter().map(Bytes::len).sum::<usize>();
            assert_eq!(body.size_hint().exact(), Some(left as u64));
        }
        assert_eq!(parts.iter().map(Bytes::len).collect::<Vec<_>>(), [PART_BYTES, PART_BYTES, PART_BYTES, 1]);
        assert!(parts.concat() == bytes);
    }
}
