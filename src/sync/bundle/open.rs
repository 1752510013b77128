//! Opening bundles: from files, sealed ones too, and from what comes over a pipe.

use std::io::{self, Read};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use super::BundleError;
use crate::keys::sealing;
use crate::sync::instance::Instance;
use crate::sys::disk;
use crate::transport::bundle::request::Request;
use crate::transport::bundle::store::{BundleStore, Part};
use crate::transport::bundle::tar::{self, BLOCK};
use crate::transport::bundle::write::INDEX;

/// An open bundle, with the files that live as long as it.
pub(in crate::sync) struct Opened {
    pub(in crate::sync) store: BundleStore,
    _plain: Vec<NamedTempFile>,
}

/// Opens all parts of a bundle; `-` is standard input. What is sealed is opened into files beside the instance, which
/// go with it.
pub(in crate::sync) fn open(files: &[PathBuf], instance: Option<&Instance>) -> Result<Opened, BundleError> {
    let (mut plain, mut parts) = (Vec::new(), Vec::new());
    for path in files {
        let is_stdin = path.as_os_str() == "-";
        let name = if is_stdin { "from standard input".to_owned() } else { path.display().to_string() };
        let of = if is_stdin { "standard input" } else { &*name }.to_owned();
        let read = |source| BundleError::Read { from: of.clone(), source };
        let mut from: Box<dyn Read> = match is_stdin {
            true => Box::new(io::stdin().lock()),
            false => Box::new(disk::open_at(path, 0).map_err(read)?),
        };
        let mut start = Vec::new();
        from.by_ref().take(AGE.len() as u64).read_to_end(&mut start).map_err(read)?;
        let is_sealed = start == AGE;
        if !is_sealed && !is_stdin {
            parts.push(Part { file: path.clone(), name });
            continue;
        }
        let mut from = io::Cursor::new(start).chain(from);
        let spool = match instance {
            Some(instance) => disk::temporary_in(instance.dir(), disk::Access::Secret),
            None => NamedTempFile::new(),
        };
        let mut spool = spool.map_err(|source| BundleError::Io { doing: "make a file for", source })?;
        let keep = |source| BundleError::Io { doing: "keep", source };
        match (is_sealed, instance) {
            (false, _) => drop(io::copy(&mut from, &mut spool).map_err(keep)?),
            (true, None) => return Err(BundleError::NoKeys),
            (true, Some(instance)) => {
                let mut opened = instance.identity.decryptor(from).map_err(BundleError::Sealed)?;
                unseal(&mut opened, &mut spool)?;
            }
        }
        parts.push(Part { file: spool.path().to_owned(), name });
        plain.push(spool);
    }
    match BundleStore::open(&parts) {
        Ok(store) => Ok(Opened { store, _plain: plain }),
        Err(error) => Err(match parts.into_iter().find(is_request) {
            Some(part) => BundleError::IsRequest { name: part.name },
            None => BundleError::Open(error),
        }),
    }
}

/// Reads the file of a request, as far as to tell that it is no bundle.
///
/// # Errors
/// `Bundle`.
pub fn read_request(path: &Path) -> Result<Vec<u8>, BundleError> {
    let name = path.display().to_string();
    let failed = |source| BundleError::Read { from: name.clone(), source };
    let read = disk::read_bounded(path, REQUEST_FILE_BYTES_MAX);
    let start = match &read {
        Ok(bytes) => bytes.iter().flatten().copied().take(BLOCK).collect(),
        // What is too large for a request may well be a bundle.
        Err(_) => disk::read_start(path, BLOCK as u64).map_err(failed)?,
    };
    let first = <&[u8; BLOCK]>::try_from(&*start).ok().and_then(|block| tar::parse(block).ok()?);
    if start.starts_with(AGE) || first.is_some_and(|(first, _)| first == INDEX) {
        return Err(BundleError::IsBundle { name });
    }
    read.map_err(failed)?.ok_or_else(|| failed(io::ErrorKind::NotFound.into()))
}

/// Tells whether a part is the other kind of file that people carry.
fn is_request(part: &Part) -> bool {
    let bytes = disk::read_bounded(&part.file, REQUEST_FILE_BYTES_MAX);
    bytes.is_ok_and(|bytes| bytes.is_some_and(|bytes| Request::open(&bytes).is_ok()))
}

/// Copies what is opened; to read is to check, so that what can't be read is damaged.
fn unseal(from: &mut dyn Read, to: &mut dyn io::Write) -> Result<(), BundleError> {
    let mut buffer = vec![0; 64 << 10];
    loop {
        let count = match from.read(&mut buffer) {
            Ok(0) => return to.flush().map_err(|source| BundleError::Io { doing: "keep", source }),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(BundleError::Sealed(sealing::Error::Read(error))),
        };
        to.write_all(&buffer[..count]).map_err(|source| BundleError::Io { doing: "keep", source })?;
    }
}

/// How every age file begins.
const AGE: &[u8] = b"age-encryption.org/";
/// The most bytes of the file of a request.
const REQUEST_FILE_BYTES_MAX: u64 = 4 << 20;
