//! The bytes of an object as they come, over as many connections as it takes.
//!
//! When a connection breaks, the next one asks for the rest by range. Nothing is verified here; whoever uses the bytes does.

use std::io::{self, Read};
use std::sync::Arc;

use crate::exchange::layout::StorePath;
use crate::exchange::store::{Doing, StoreError};
use crate::id::bytes::ObjectId;
use crate::transport::http::client::{Client, Request};
use crate::transport::http::retry::Patience;

/// Reads an object from an offset to its end.
pub(crate) struct Download {
    client: Arc<Client>,
    object: ObjectId,
    offset: u64,
    left: u64,
    body: Box<dyn Read + Send>,
    patience: Patience,
}

impl Download {
    /// Asks for `object` from `offset` on; past the end there is nothing.
    ///
    /// # Errors
    /// `Missing`, or as requests fail.
    pub(crate) fn start(client: Arc<Client>, object: ObjectId, offset: u64) -> Result<Self, StoreError> {
        let (body, left) = ask(&client, &object, offset)?;
        Ok(Self { client, object, offset, left, body, patience: Patience::new() })
    }
}

impl Read for Download {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.left == 0 || buffer.is_empty() {
            return Ok(0);
        }
        loop {
            let broke = match self.body.read(buffer) {
                Ok(count) if count > 0 => {
                    self.offset += count as u64;
                    self.left = self.left.saturating_sub(count as u64);
                    // Whatever moves on may be cut off again.
                    self.patience = Patience::new();
                    return Ok(count);
                }
                Ok(_) => io::ErrorKind::UnexpectedEof.into(),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => return Err(error),
                Err(error) => error,
            };
            if !self.patience.wait(None) {
                return Err(broke);
            }
            let (body, left) = ask(&self.client, &self.object, self.offset).map_err(|_| broke)?;
            (self.body, self.left) = (body, left);
            if self.left == 0 {
                return Ok(0);
            }
        }
    }
}

/// Returns the bytes from `offset` on, and how many they are.
fn ask(client: &Client, object: &ObjectId, offset: u64) -> Result<(Box<dyn Read + Send>, u64), StoreError> {
    let path = StorePath::Object(*object);
    let mut request = Request::get(Doing::Read(path), path.to_string()).about(path);
    if offset > 0 {
        request = request.header("range", format!("bytes={offset}-"));
    }
    let answer = client.call(request)?;
    let length = answer.header("content-length").and_then(|text| text.parse::<u64>().ok());
    let malformed = |why| {
        let source = io::Error::new(io::ErrorKind::InvalidData, why);
        StoreError::Io { store: client.name.clone(), doing: Doing::Read(path), source }
    };
    match answer.status() {
        416 => Ok((Box::new(io::empty()), 0)),
        206 => {
            let begins = format!("bytes {offset}-");
            if !answer.header("content-range").is_some_and(|range| range.starts_with(&begins)) {
                return Err(malformed("it answers with another range than was asked for"));
            }
            let left = length.ok_or_else(|| malformed("it does not say how long the rest is"))?;
            Ok((answer.into_reader(), left))
        }
        200 if offset == 0 => {
            let left = length.ok_or_else(|| malformed("it does not say how long the object is"))?;
            Ok((answer.into_reader(), left))
        }
        // Something on the way ignored the range: skip what is known.
        200 => {
            let left = length.ok_or_else(|| malformed("it does not say how long the object is"))?;
            let mut body = answer.into_reader();
            let skipped = io::copy(&mut body.by_ref().take(offset), &mut io::sink());
            let skipped = skipped.map_err(|source| StoreError::Io {
                store: client.name.clone(),
                doing: Doing::Read(path),
                source,
            })?;
            Ok((body, left.saturating_sub(skipped)))
        }
        _ => Err(malformed("it answers with an unexpected status")),
    }
}
