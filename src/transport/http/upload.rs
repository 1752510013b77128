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
    taken: u64,
    buffer: Vec<u8>,
    sent: usize,
    touched: bool,
    /// Why reading failed.
    pub(crate) stopped: Option<Stopped>,
}

impl<'a> Upload<'a> {
    /// Begins to read `object` of `size` bytes.
    pub(crate) fn new(object: ObjectId, size: u64, source: &'a mut dyn Read) -> Self {
        let check = Some(ObjectCheck::new(object, size));
        Self { source, check, size, taken: 0, buffer: Vec::new(), sent: 0, touched: false, stopped: None }
    }

    fn stop(&mut self, stopped: Stopped) -> io::Error {
        self.stopped = Some(stopped);
        io::Error::other("the object to send can't be read")
    }

    fn refill(&mut self) -> io::Result<()> {
        self.touched = true;
        self.sent = 0;
        self.buffer.resize(BUFFER_BYTES, 0);
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
        if self.sent == self.buffer.len() && self.check.is_some() {
            self.refill()?;
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
        let mut upload = Upload::new(object_id(of), of.len() as u64, &mut source);
        let mut out = Vec::new();
        let failed = upload.read_to_end(&mut out).is_err();
        assert_eq!(failed, upload.stopped.is_some());
        (out.len(), failed)
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
