//! The bodies of requests: bounded in size and in time, whole or as a blocking reader.

use std::io::{self, Read};
use std::time::Duration;

use http_body_util::BodyExt;
use hyper::body::{Bytes, Incoming};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout_at};

use crate::hub::limits::{IDLE_TIMEOUT, body_time};
use crate::hub::refusal::Refusal;

/// Reads a body of at most `bound` bytes.
///
/// # Errors
/// `too-large`, `slow`, `malformed`.
pub async fn whole(mut body: Incoming, bound: u64) -> Result<Vec<u8>, Refusal> {
    let deadline = Instant::now() + body_time(bound);
    let mut bytes = Vec::new();
    while let Some(data) = next(&mut body, deadline).await.map_err(|error| refusal(&error))? {
        if (bytes.len() + data.len()) as u64 > bound {
            return Err(Refusal::too_large(bound));
        }
        bytes.extend_from_slice(&data);
    }
    Ok(bytes)
}

/// Passes a body of `size` bytes to the other end of a channel, from when it is `wanted` until it ends, breaks, is too slow or isn't
/// wanted any more. A client that waits for `100 Continue` hears it when the first byte is wanted, and sends nothing if none is.
pub async fn pass(mut body: Incoming, size: u64, to: mpsc::Sender<io::Result<Bytes>>, wanted: oneshot::Receiver<()>) {
    if wanted.await.is_err() {
        return;
    }
    let deadline = Instant::now() + body_time(size);
    loop {
        let next = next(&mut body, deadline).await.transpose();
        match next {
            None => return,
            Some(part) => {
                let broke = part.is_err();
                if to.send(part).await.is_err() || broke {
                    return;
                }
            }
        }
    }
}

async fn next(body: &mut Incoming, deadline: Instant) -> io::Result<Option<Bytes>> {
    loop {
        let soon = Instant::now() + IDLE_TIMEOUT;
        let frame = timeout_at(deadline.min(soon), body.frame()).await;
        match frame.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))? {
            None => return Ok(None),
            Some(Err(error)) => return Err(io::Error::new(io::ErrorKind::UnexpectedEof, error)),
            // Trailers mean nothing here.
            Some(Ok(frame)) => {
                if let Ok(data) = frame.into_data() {
                    return Ok(Some(data));
                }
            }
        }
    }
}

fn refusal(error: &io::Error) -> Refusal {
    match error.kind() {
        io::ErrorKind::TimedOut => Refusal::body_timeout(),
        _ => Refusal::malformed("the body ended early").inside(error),
    }
}

/// The blocking end of `pass`.
#[derive(Debug)]
pub struct Passed {
    from: mpsc::Receiver<io::Result<Bytes>>,
    part: Bytes,
    /// Whom to tell at the first read.
    wants: Option<oneshot::Sender<()>>,
}

impl Passed {
    /// Reads from a channel, and tells when the first byte is wanted.
    pub fn new(from: mpsc::Receiver<io::Result<Bytes>>, wants: oneshot::Sender<()>) -> Self {
        Self { from, part: Bytes::new(), wants: Some(wants) }
    }
}

impl Read for Passed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if let Some(wants) = self.wants.take() {
            // Nobody hears it where the client is gone: then nothing comes.
            let _ = wants.send(());
        }
        while self.part.is_empty() {
            match self.from.blocking_recv() {
                None => return Ok(0),
                Some(part) => self.part = part?,
            }
        }
        let count = buffer.len().min(self.part.len());
        buffer[..count].copy_from_slice(&self.part.split_to(count));
        Ok(count)
    }
}

/// Reads an object in parts and hands them on, as fast as they are taken; ends if nobody takes any for a while.
///
/// No thread waits for the client: one is used for each part only.
pub async fn read_out(mut reader: Box<dyn Read + Send>, mut left: u64, to: mpsc::Sender<io::Result<Bytes>>) {
    while left > 0 {
        let wanted = usize::try_from(left).unwrap_or(PART_BYTES).min(PART_BYTES);
        let read = tokio::task::spawn_blocking(move || {
            let mut part = vec![0; wanted];
            let count = read_full(&mut *reader, &mut part);
            (
                reader,
                count.map(|count| {
                    part.truncate(count);
                    part
                }),
            )
        });
        let Ok((again, part)) = read.await else { return };
        reader = again;
        let part =
            part.and_then(|part| if part.is_empty() { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(part) });
        let broke = part.is_err();
        left -= part.as_ref().map_or(0, |part| part.len() as u64);
        let sent = tokio::time::timeout(TAKE_TIMEOUT, to.send(part.map(Bytes::from))).await;
        if broke || !matches!(sent, Ok(Ok(()))) {
            return;
        }
    }
}

fn read_full(reader: &mut dyn Read, part: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < part.len() {
        match reader.read(&mut part[filled..]) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// How many parts wait in a channel.
pub const PARTS_WAITING: usize = 2;
const PART_BYTES: usize = 128 << 10;
/// Longer than a write to a connection may stall.
const TAKE_TIMEOUT: Duration = Duration::from_secs(45);
const _: () = assert!(TAKE_TIMEOUT.as_secs() > IDLE_TIMEOUT.as_secs());
