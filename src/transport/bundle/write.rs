//! Writing a bundle: the index, then each file as the store holds it, checked while it passes.

use std::io::{self, Write};

use super::index::{Entry, Index};
use super::tar;
use crate::exchange::check::{ObjectCheck, PumpError, pump};
use crate::exchange::layout::{FORMAT, StorePath};
use crate::exchange::store::{Doing, Store, StoreError};
use crate::keys::document::hash_of;
use crate::keys::identity::Identity;

/// The name of the index in the tar file.
pub const INDEX: &str = "index";

/// A bundle could not be written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The store doesn't give what it listed.
    #[error("cannot pack {path}")]
    Read {
        /// What.
        path: StorePath,
        /// Why.
        #[source]
        source: Box<StoreError>,
    },
    /// A document was replaced since it was listed.
    #[error("cannot pack {path}: it changed meanwhile")]
    Changed {
        /// Which.
        path: StorePath,
    },
    /// The bundle can't be written.
    #[error("cannot write the bundle")]
    Write(#[source] io::Error),
}

/// Writes one part of a bundle from `store`. `progress` gets the bytes written.
///
/// # Errors
/// Every variant; what was written then is no bundle.
pub fn write(
    index: &Index,
    identity: &Identity,
    store: &dyn Store,
    to: &mut dyn Write,
    progress: &mut dyn FnMut(u64),
) -> Result<(), Error> {
    let signed = index.sign(identity);
    let mut done = 0;
    let mut put = |name: &str, bytes: u64| {
        done += bytes;
        progress(done);
        tar::header(name, bytes)
    };
    let whole = |header: [u8; tar::BLOCK], bytes: &[u8], to: &mut dyn Write| -> io::Result<()> {
        to.write_all(&header)?;
        to.write_all(bytes)?;
        tar::pad(to, bytes.len() as u64)
    };
    whole(put(INDEX, signed.len() as u64), &signed, to).map_err(Error::Write)?;
    for entry in &index.entries {
        let header = put(&entry.path.to_string(), entry.bytes);
        match entry.path {
            StorePath::Object(id) => {
                let read = |source| Error::Read { path: entry.path, source: Box::new(source) };
                let mut from = store.object(&id, 0).map_err(read)?;
                to.write_all(&header).map_err(Error::Write)?;
                let mut check = ObjectCheck::new(id, entry.bytes);
                let damaged = |damage| StoreError::Damaged { store: store.describe(), object: id, damage };
                pump(&mut *from, &mut check, to).map_err(|error| match error {
                    PumpError::Write(error) => Error::Write(error),
                    PumpError::Damaged(damage) => read(damaged(damage)),
                    PumpError::Read(source) => {
                        read(StoreError::Io { store: store.describe(), doing: Doing::Read(entry.path), source })
                    }
                })?;
                check.finish().map_err(damaged).map_err(read)?;
                tar::pad(to, entry.bytes).map_err(Error::Write)?;
            }
            _ => {
                let bytes = document(store, entry)?;
                whole(header, &bytes, to).map_err(Error::Write)?;
            }
        }
    }
    tar::end(to).and_then(|()| to.flush()).map_err(Error::Write)
}

fn document(store: &dyn Store, entry: &Entry) -> Result<Vec<u8>, Error> {
    let path = entry.path;
    let read = match path {
        StorePath::Format => Ok(Some(FORMAT.as_bytes().to_vec())),
        StorePath::Manifest(scope) => store.manifest(&scope),
        StorePath::Head(scope, signer) => store.head(&scope, &signer),
        StorePath::Receipt(scope, reader) => store.receipt(&scope, &reader),
        StorePath::Card(instance) => store.card(&instance),
        StorePath::Object(_) => unreachable!("objects are streamed"),
    };
    let bytes = read.map_err(|source| Error::Read { path, source: Box::new(source) })?;
    bytes.filter(|bytes| hash_of(bytes) == entry.hash).ok_or(Error::Changed { path })
}
