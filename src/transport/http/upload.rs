//! The body of an upload: bytes that are checked before the last of them leave.
//!
//! The last buffer is held back until the source has ended and everything is the object that it was said to be, so wrong
//! bytes never arrive whole, whatever the other side checks.

use std::io::{self, Read};

use crate::exchange::check::{Damage, ObjectCheck};
use crate::id::bytes::ObjectId;

/// Why an upload stopped by itself.
#[derive(Debug)]
pub(crate) enum Stopped {
    /// The source failed.
    Source(io::Error),
    /// The source has other bytes.
    Damaged(Damage),
}

/// A body that is read while it is sent.
pub(crate) trait Sending: Read {
    /// Tells whether it was read at all: then it can't be sent again.
    fn is_touched(&self) -> bool;
}

/// Reads an object for sending.
pub(crate) struct Upload<'a> {
    source: &'a mut dyn Read,
    check: Option<ObjectCheck>,
    size: u64,
    /// Bytes that are checked and not sent: the other side has them.
    skip: u64,
    taken: u64,
    buffer: Vec<u8>,
    sent: usize,
    touched: bool,
    /// Why reading failed.
    pub(crate) stopped: Option<Stopped>,
}

impl<'a> Upload<'a> {
    /// Begins to read `object` of `size` bytes, of which the first `skip`, less than all, aren't sent.
    pub(crate) fn new(object: ObjectId, size: u64, skip: u64, source: &'a mut dyn Read) -> Self {
        let check = Some(ObjectCheck::new(object, size));
        Self { source, check, size, skip, taken: 0, buffer: Vec::new(), sent: 0, touched: false, stopped: None }
    }

    fn stop(&mut self, stopped: Stopped) -> io::Error {
        self.stopped = Some(stopped);
        io::Error::other("the object to send can't be read")
    }

    fn refill(&mut self) -> io::Result<()> {
        self.touched = true;
        self.sent = 0;
        let most = usize::try_from(self.skip - self.taken.min(self.skip)).unwrap_or(BUFFER_BYTES).min(BUFFER_BYTES);
        self.buffer.resize(if most == 0 { BUFFER_BYTES } else { most }, 0);
        let count = match read_some(self.source, &mut self.buffer) {
            Ok(count) => count,
            Err(error) => return Err(self.stop(Stopped::Source(error))),
        };
        self.buffer.truncate(count);
        self.taken += count as u64;
        let Some(check) = self.check.as_mut() else { return Ok(()) };
        let mut checked = check.update(&self.buffer);
        if checked.is_ok() && (count == 0 || self.taken == self.size) {
            if count > 0 {
                let mut more = [0; 1];
                checked = match read_some(self.source, &mut more) {
                    Ok(0) => Ok(()),
                    Ok(_) => Err(Damage::Long { expected: self.size }),
                    Err(error) => return Err(self.stop(Stopped::Source(error))),
                };
            }
            let check = self.check.take().expect("it was there just above");
            checked = checked.and_then(|()| check.finish());
        }
        checked.map_err(|damage| self.stop(Stopped::Damaged(damage)))
    }
}

impl Sending for Upload<'_> {
    fn is_touched(&self) -> bool {
        self.touched
    }
}

impl Read for Upload<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.stopped.is_some() {
            return Err(io::Error::other("the object to send can't be read"));
        }
        while self.check.is_some() && (self.taken < self.skip || self.sent == self.buffer.len()) {
            self.refill()?;
            if self.taken <= self.skip {
                self.sent = self.buffer.len();
            }
        }
        let count = buffer.len().min(self.buffer.len() - self.sent);
        buffer[..count].copy_from_slice(&self.buffer[self.sent..self.sent + count]);
        self.sent += count;
        Ok(count)
    }
}

fn read_some(source: &mut dyn Read, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        match source.read(buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}

const BUFFER_BYTES: usize = 64 << 10;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exchange::check::object_id;

    fn sent(bytes: &[u8], of: &[u8]) -> (usize, bool) {
        let mut source = bytes;
        let mut upload = Upload::new(object_id(of), of.len() as u64, 0, &mut source);
        let mut out = Vec::new();
        let failed = upload.read_to_end(&mut out).is_err();
        assert_eq!(failed, upload.stopped.is_some());
        (out.len(), failed)
    }

    #[test]
    fn only_the_rest_leaves_after_all_of_it_was_checked() {
        let bytes: Vec<u8> = (0..3 * BUFFER_BYTES + 7).map(|at| at as u8).collect();
        for skip in [1, 5, BUFFER_BYTES, BUFFER_BYTES + 1, 3 * BUFFER_BYTES, bytes.len() - 1] {
            for flipped in [None, Some(0), Some(bytes.len() - 1)] {
                let mut wrong = bytes.clone();
                flipped.into_iter().for_each(|at| wrong[at] ^= 1);
                let (id, size, mut source) = (object_id(&bytes), bytes.len() as u64, &wrong[..]);
                let mut upload = Upload::new(id, size, skip as u64, &mut source);
                let mut out = Vec::new();
                let read = upload.read_to_end(&mut out);
                assert_eq!(read.is_err(), flipped.is_some());
                assert!(flipped.is_some() || out == bytes[skip..], "{skip}");
                assert!(flipped.is_none() || out.len() < bytes.len() - skip, "the last of wrong bytes never leave");
            }
        }
    }

    #[test]
    fn right_bytes_leave_and_wrong_ones_never_whole() {
        for size in [0, 1, BUFFER_BYTES - 1, BUFFER_BYTES, BUFFER_BYTES + 1, 3 * BUFFER_BYTES] {
            let bytes = vec![7; size];
            assert_eq!(sent(&bytes, &bytes), (size, false));
            assert!(sent(&[&bytes[..], b"x"].concat(), &bytes).1, "longer than {size}");
            if size > 0 {
                let mut flipped = bytes.clone();
                flipped[size / 2] ^= 1;
                for wrong in [&flipped[..], &bytes[..size - 1]] {
                    let (left, failed) = sent(wrong, &bytes);
                    assert!(failed && left < size, "{left} of {size}");
                }
            }
        }
    }
}
