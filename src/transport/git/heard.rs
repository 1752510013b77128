//! A git server that says given bytes whatever it is asked, and how much of it is understood: what fuzzing feeds.

use std::fs::File;
use std::io::{self, BufReader, Cursor, Read};
use std::path::Path;

use gix_object::Kind;

use crate::transport::git::error::GitError;
use crate::transport::git::objects::{NewObject, Packs};
use crate::transport::git::wire::{Link, Service, Session, Talk};

/// Listens to what a server says: its branches, then its answer to a fetch or to a push. Tells whether any of it was understood.
pub(crate) fn understood(bytes: &[u8]) -> bool {
    let begin = |service| Session::begin(&Server(bytes.to_vec()), service);
    let Ok(fetching) = begin(Service::UploadPack) else { return false };
    let wanted: Vec<_> = fetching.refs.values().copied().collect();
    let fetched = fetching.fetch(&wanted, &[], &mut |pack| {
        io::copy(pack, &mut io::sink()).map_err(GitError::Local)?;
        Ok(())
    });
    let pushed = match (begin(Service::ReceivePack), tempfile::tempfile()) {
        (Ok(pushing), Ok(mut nothing)) => pushing.push(&[], &mut nothing),
        (Ok(_), Err(error)) => Err(GitError::Local(error)),
        (Err(error), _) => Err(error),
    };
    fetched.is_ok() || pushed.is_ok()
}

/// Takes a pack in, as one that was fetched, into an empty directory. Tells whether it is one.
///
/// # Errors
/// The directory can't be used.
pub(crate) fn is_pack(dir: &Path, bytes: &[u8]) -> io::Result<bool> {
    let packs = Packs::open(dir).map_err(io::Error::other)?;
    Ok(packs.take(&mut BufReader::new(bytes)).is_ok())
}

/// Makes a pack of a file and an empty tree.
///
/// # Errors
/// The directory can't be used.
pub(crate) fn sample_pack(dir: &Path) -> io::Result<Vec<u8>> {
    let packs = Packs::open(dir).map_err(io::Error::other)?;
    let objects = [NewObject::new(Kind::Blob, b"wbsync store 1\n".to_vec()), NewObject::new(Kind::Tree, Vec::new())];
    let mut bytes = Vec::new();
    packs.pack(&objects).map_err(io::Error::other)?.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Writes what a server says that has one branch, and answers a fetch with these bytes.
pub(crate) fn sample_answer(pack: &[u8]) -> Vec<u8> {
    let line = |content: &[u8]| [format!("{:04x}", content.len() + 4).as_bytes(), content].concat();
    let branch = format!("{} refs/heads/main\0side-band-64k ofs-delta report-status atomic\n", "5c".repeat(20));
    let banded = line(&[&[1], pack].concat());
    [line(branch.as_bytes()), b"0000".to_vec(), line(b"NAK\n"), banded, b"0000".to_vec()].concat()
}

struct Server(Vec<u8>);

impl Link for Server {
    fn connect(&self, _service: Service) -> Result<Box<dyn Talk>, GitError> {
        Ok(Box::new(Said(Cursor::new(self.0.clone()))))
    }
}

struct Said(Cursor<Vec<u8>>);

impl Talk for Said {
    fn listen(&mut self) -> &mut dyn Read {
        &mut self.0
    }

    fn ask(&mut self, _request: &[u8], _pack: Option<&mut File>) -> Result<(), GitError> {
        Ok(())
    }

    fn leave(&mut self) {}

    fn explain(&mut self, error: io::Error) -> GitError {
        GitError::Local(error)
    }
}
