//! Git objects in packs: reading them from a directory of packs, and writing new ones.
//!
//! Everything lies in packs, nothing loose: what is fetched comes as a pack, and what is pushed goes as one. Whatever is
//! read is hashed again, so a damaged file is an error here and never a wrong answer. Packs of one directory need
//! not know each other, except that nothing in one is a delta against another.

use std::fs::{self, File};
use std::io::{self, BufRead, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, PoisonError, RwLock};

use gix_hash::{Kind as HashKind, ObjectId as Oid};
use gix_object::Kind;
use gix_pack::Bundle;
use gix_pack::data::output::{Count, Entry, bytes::FromEntriesIter};
use gix_utils::progress::Discard;
use gix_zlib::{Compression, Inflate};

use crate::transport::git::error::GitError;

/// The packs of one directory.
pub(crate) struct Packs {
    dir: PathBuf,
    bundles: RwLock<Vec<Arc<Bundle>>>,
}

/// A git object that is yet to be packed.
#[derive(Debug, Clone)]
pub(crate) struct NewObject {
    /// Its name.
    pub(crate) oid: Oid,
    /// What it is.
    pub(crate) kind: Kind,
    /// What is in it.
    pub(crate) content: Content,
}

/// The bytes of a new object.
#[derive(Debug, Clone)]
pub(crate) enum Content {
    /// These.
    Bytes(Vec<u8>),
    /// Those of a file, which don't compress.
    Sealed(PathBuf),
}

impl NewObject {
    /// Makes an object of bytes.
    pub(crate) fn new(kind: Kind, bytes: Vec<u8>) -> Self {
        Self { oid: oid_of(kind, &bytes), kind, content: Content::Bytes(bytes) }
    }
}

impl Packs {
    /// Opens all packs of a directory. Files that aren't named as packs are none of ours.
    ///
    /// # Errors
    /// `Cache` if one can't be opened.
    pub(crate) fn open(dir: &Path) -> Result<Self, GitError> {
        let packs = Self { dir: dir.to_owned(), bundles: RwLock::default() };
        packs.look_again()?;
        Ok(packs)
    }

    /// Opens the packs that somebody else put there meanwhile.
    ///
    /// # Errors
    /// `Cache`.
    pub(crate) fn look_again(&self) -> Result<(), GitError> {
        let known: Vec<PathBuf> = self.bundles().iter().map(|bundle| bundle.index.path().to_owned()).collect();
        for path in indices(&self.dir)?.iter().filter(|path| !known.contains(path)) {
            let bundle = Arc::new(open_bundle(path)?);
            self.bundles.write().unwrap_or_else(PoisonError::into_inner).push(bundle);
        }
        Ok(())
    }

    /// Returns how many packs there are.
    pub(crate) fn count(&self) -> usize {
        self.bundles().len()
    }

    /// Tells whether an object is held.
    pub(crate) fn contains(&self, oid: &Oid) -> bool {
        self.bundles().iter().any(|bundle| bundle.index.lookup(oid).is_some())
    }

    /// Returns the size of an object without reading it.
    ///
    /// # Errors
    /// `Cache` if it isn't held or can't be read.
    pub(crate) fn size(&self, oid: &Oid) -> Result<u64, GitError> {
        let (bundle, index) = self.find(oid)?;
        let entry = |index| bundle.pack.entry(bundle.index.pack_offset_at_index(index));
        let resolve = |base: &gix_hash::oid| {
            let found = bundle.index.lookup(base).map(entry).transpose();
            found.map(|entry| entry.map(gix_pack::data::decode::header::ResolvedBase::InPack))
        };
        let header = entry(index)
            .and_then(|entry| bundle.pack.decode_header(entry, &mut Inflate::default(), &resolve))
            .map_err(|error| GitError::damaged(format!("git object {oid}: {error:#}")))?;
        Ok(header.object_size)
    }

    /// Reads an object of at most `bound` bytes, and checks that it is what its name says.
    ///
    /// # Errors
    /// `Cache` if it isn't held, is something else, is larger, or is damaged.
    pub(crate) fn read(&self, oid: &Oid, kind: Kind, bound: u64) -> Result<Vec<u8>, GitError> {
        let bad = |what: &str| GitError::damaged(format!("git object {oid} {what}"));
        if self.size(oid)? > bound {
            return Err(bad("is larger than allowed"));
        }
        let (bundle, index) = self.find(oid)?;
        let mut bytes = Vec::new();
        let found = bundle
            .get_object_by_index(index, &mut bytes, &mut Inflate::default(), &mut gix_pack::cache::Never)
            .map_err(|error| GitError::damaged(format!("git object {oid}: {error:#}")))?;
        match (found.0.kind == kind, oid_of(kind, found.0.data) == *oid) {
            (true, true) => Ok(bytes),
            (false, _) => Err(bad("is of another kind")),
            (true, false) => Err(bad("is damaged")),
        }
    }

    /// Takes a pack in, from `pack` to its end, with an index made for it.
    ///
    /// # Errors
    /// `Spoken` if it isn't a whole, self-contained pack of at most 4,194,304 objects; `Local`.
    pub(crate) fn take(&self, pack: &mut dyn BufRead) -> Result<(), GitError> {
        // Room for all objects is reserved by their count before any has come.
        let mut header = [0; PACK_HEADER_BYTES];
        pack.read_exact(&mut header).map_err(|error| GitError::said(format!("the pack is none: {error}")))?;
        let [.., a, b, c, d] = header;
        let count = u32::from_be_bytes([a, b, c, d]);
        if count > PACK_OBJECTS_MAX {
            return Err(GitError::said(format!(
                "the pack claims {count} objects, at most {PACK_OBJECTS_MAX} are taken"
            )));
        }
        let mut pack = (&header[..]).chain(pack);
        let options = gix_pack::bundle::write::Options {
            thread_limit: Some(1),
            alloc_limit_bytes: Some(OBJECT_BYTES_MAX),
            ..gix_pack::bundle::write::Options::default()
        };
        let taken = Bundle::write_to_directory(
            &mut pack,
            Some(&self.dir),
            &mut Discard,
            &AtomicBool::new(false),
            None::<gix_object::find::Never>,
            HashKind::Sha1,
            options,
        )
        .map_err(|error| GitError::said(format!("the pack is none: {error:#}")))?;
        if let Some(keep) = &taken.keep_path {
            fs::remove_file(keep).map_err(GitError::Local)?;
        }
        let Some(path) = taken.index_path else { return Ok(()) };
        let bundle = Arc::new(open_bundle(&path)?);
        self.bundles.write().unwrap_or_else(PoisonError::into_inner).push(bundle);
        Ok(())
    }

    /// Packs new objects and takes the pack in; returns it, to be read from its begin.
    ///
    /// # Errors
    /// `Local`.
    pub(crate) fn pack(&self, objects: &[NewObject]) -> Result<File, GitError> {
        let mut file = tempfile::tempfile_in(&self.dir).map_err(GitError::Local)?;
        write_pack(objects, &mut file).map_err(GitError::Local)?;
        let rewind = |file: &mut File| io::Seek::rewind(file).map_err(GitError::Local);
        rewind(&mut file)?;
        self.take(&mut io::BufReader::new(&mut file))?;
        rewind(&mut file)?;
        Ok(file)
    }

    /// Puts these objects, which are held, into one pack and removes all other packs.
    ///
    /// # Errors
    /// `Cache` if one can't be read; `Local`.
    pub(crate) fn repack(&self, objects: impl ExactSizeIterator<Item = (Oid, Kind)>) -> Result<(), GitError> {
        let before: Vec<PathBuf> = self.bundles().iter().map(|bundle| bundle.index.path().to_owned()).collect();
        let mut file = tempfile::tempfile_in(&self.dir).map_err(GitError::Local)?;
        let (mut failed, count) = (None, objects.len());
        let whole = objects.map_while(|(oid, kind)| {
            let read = self.read(&oid, kind, OBJECT_BYTES_MAX as u64);
            read.map(|bytes| (oid, kind, bytes)).map_err(|error| failed = Some(error)).ok()
        });
        let written = write_entries(whole, count, &mut file);
        if let Some(error) = failed {
            return Err(error);
        }
        written.map_err(GitError::Local)?;
        io::Seek::rewind(&mut file).map_err(GitError::Local)?;
        self.take(&mut io::BufReader::new(&mut file))?;
        let kept = self.bundles().last().map(|bundle| bundle.index.path().to_owned());
        let mut bundles = self.bundles.write().unwrap_or_else(PoisonError::into_inner);
        bundles.retain(|bundle| Some(bundle.index.path()) == kept.as_deref());
        for path in before.iter().filter(|path| Some(*path) != kept.as_ref()) {
            // Another process may still read them, or have removed them.
            for path in [path.with_extension("idx"), path.with_extension("pack")] {
                let _ = fs::remove_file(path);
            }
        }
        Ok(())
    }

    fn bundles(&self) -> std::sync::RwLockReadGuard<'_, Vec<Arc<Bundle>>> {
        self.bundles.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn find(&self, oid: &Oid) -> Result<(Arc<Bundle>, u32), GitError> {
        // What came last is wanted most.
        let bundles = self.bundles();
        let found = bundles.iter().rev().find_map(|bundle| Some((Arc::clone(bundle), bundle.index.lookup(oid)?)));
        found.ok_or_else(|| GitError::damaged(format!("git object {oid} is not there")))
    }
}

/// Returns the name of an object.
pub(crate) fn oid_of(kind: Kind, bytes: &[u8]) -> Oid {
    gix_object::compute_hash(HashKind::Sha1, kind, bytes).expect("only bytes made to collide have no hash")
}

/// Hashes a blob of `size` bytes while it passes.
pub(crate) fn blob_hasher(size: u64) -> gix_hash::Hasher {
    let mut hasher = gix_hash::hasher(HashKind::Sha1);
    hasher.update(format!("blob {size}\0").as_bytes());
    hasher
}

fn indices(dir: &Path) -> Result<Vec<PathBuf>, GitError> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).map_err(GitError::Cache)? {
        let path = entry.map_err(GitError::Cache)?.path();
        if path.extension().is_some_and(|extension| extension == "idx") {
            found.push(path);
        }
    }
    Ok(found)
}

fn open_bundle(path: &Path) -> Result<Bundle, GitError> {
    Bundle::at(path, HashKind::Sha1).map_err(|error| GitError::damaged(format!("{}: {error:#}", path.display())))
}

fn write_pack(objects: &[NewObject], out: &mut File) -> io::Result<()> {
    let mut failed = None;
    let whole = objects.iter().map_while(|object| {
        let bytes = match &object.content {
            Content::Bytes(bytes) => Ok(bytes.clone()),
            Content::Sealed(path) => File::open(path).and_then(|mut file| {
                let mut bytes = Vec::new();
                file.read_to_end(&mut bytes).map(|_| bytes)
            }),
        };
        bytes.map(|bytes| (object.oid, object.kind, bytes)).map_err(|error| failed = Some(error)).ok()
    });
    let written = write_entries(whole, objects.len(), out);
    failed.map_or(written, Err)
}

fn write_entries(objects: impl Iterator<Item = (Oid, Kind, Vec<u8>)>, count: usize, out: &mut File) -> io::Result<()> {
    let count = u32::try_from(count).map_err(|_| io::Error::other("too many objects for a pack"))?;
    let entries = objects.map(|(oid, kind, bytes)| {
        // Sealed objects don't compress, and the small ones cost nothing to try.
        let is_sealed = kind == Kind::Blob && bytes.len() > TEXT_BYTES_MAX;
        let compression = if is_sealed { Compression::NONE } else { Compression::BEST_SPEED };
        let data = gix_object::Data { kind, object_hash: HashKind::Sha1, data: &bytes };
        Ok(vec![Entry::from_data(&Count::from_data(oid, None), &data, compression)?])
    });
    let mut out = io::BufWriter::new(out);
    for written in FromEntriesIter::new(entries, &mut out, count, gix_pack::data::Version::V2, HashKind::Sha1) {
        written.map_err(|error| io::Error::other(format!("{error:#}")))?;
    }
    out.flush()
}

/// The most bytes of a git object that is taken: an object of a store, and a little more.
const OBJECT_BYTES_MAX: usize = (crate::exchange::layout::OBJECT_BYTES_MAX as usize) + (1 << 20);

/// The most objects of a pack that is taken: 64 bytes are reserved for each.
const PACK_OBJECTS_MAX: u32 = 1 << 22;
/// `PACK`, the version, and how many objects there are.
const PACK_HEADER_BYTES: usize = 12;

/// Larger blobs are taken for sealed.
const TEXT_BYTES_MAX: usize = 64 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    /// What a server claims costs nothing before it has sent it.
    #[test]
    fn a_pack_that_claims_too_much_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let packs = Packs::open(dir.path()).unwrap();
        let empty = [
            &b"PACK\0\0\0\x02\0\0\0\0"[..],
            &[0x02, 0x9d, 0x08, 0x82, 0x3b, 0xd8, 0xa8, 0xea, 0xb5, 0x10],
            &[0xad, 0x6a, 0xc7, 0x5c, 0x82, 0x3c, 0xfd, 0x3e, 0xd3, 0x1e],
        ]
        .concat();
        packs.take(&mut &empty[..]).unwrap();
        for claimed in [PACK_OBJECTS_MAX + 1, u32::MAX] {
            let mut pack = empty.clone();
            pack[8..12].copy_from_slice(&claimed.to_be_bytes());
            let error = packs.take(&mut &pack[..]).unwrap_err();
            assert!(format!("{error:?}").contains("at most"), "{error:?}");
        }
        assert!(packs.take(&mut &empty[..11]).is_err());
    }
}
