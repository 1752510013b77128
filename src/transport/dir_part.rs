//! Storing an object through a file that outlives a broken upload, so that the next one has only the rest to bring.
//!
//! Nothing of it can be seen as an object before all of it is there and verified (format/http.md, "Uploads that go on").

use std::fs::File;
use std::io::{self, Read, Seek};
use std::path::PathBuf;

use crate::exchange::check::{Damage, ObjectCheck, PumpError, pump};
use crate::exchange::layout::StorePath;
use crate::exchange::store::{Doing, StoreError};
use crate::id::bytes::ObjectId;
use crate::sys::disk;
use crate::transport::dir::DirStore;

/// What came of an object so far.
#[derive(Debug)]
pub struct Part {
    /// The file, which nobody else writes (`disk::open_exclusive`), on the file system of the store.
    pub file: File,
    /// Where it lies.
    pub path: PathBuf,
    /// How many of its bytes count; what follows is dropped.
    pub offset: u64,
}

impl DirStore {
    /// Stores an object of `size` bytes: the first are those of `part`, the others come from `bytes`.
    ///
    /// The part grows as they come, and becomes the object when all of it is verified. If `bytes` break off, it stays for
    /// another call; after any other failure it is removed.
    ///
    /// # Errors
    /// `Source` if the bytes broke off; `Damaged` if all of them aren't the object; as `put_object`.
    pub fn grow_object(
        &self,
        object: &ObjectId,
        size: u64,
        mut part: Part,
        bytes: &mut dyn Read,
    ) -> Result<(), StoreError> {
        let grown = self.grow(object, size, &mut part, bytes);
        if !matches!(grown, Ok(()) | Err(StoreError::Source { .. })) {
            // While it is locked; that it can't be removed is not worse than what failed.
            let _ = disk::remove(&part.path);
        }
        grown
    }

    fn grow(&self, object: &ObjectId, size: u64, part: &mut Part, bytes: &mut dyn Read) -> Result<(), StoreError> {
        let path = StorePath::Object(*object);
        let doing = Doing::Write(path);
        let failed = |error| self.root.fail(doing, error);
        let source = |source| StoreError::Source { store: self.root.describe(), object: *object, source };
        let damaged = |damage| StoreError::Damaged { store: self.root.describe(), object: *object, damage };
        self.root.check(doing)?;
        let target = self.root.prepare(&path)?;
        let mut check = ObjectCheck::new(*object, size);
        part.file.set_len(part.offset).and_then(|()| part.file.rewind()).map_err(failed)?;
        let known = pump(&mut &part.file, &mut check, &mut io::sink());
        known.and_then(|_| pump(bytes, &mut check, &mut &part.file)).map_err(|error| match error {
            PumpError::Read(error) => source(error),
            PumpError::Damaged(damage) => damaged(damage),
            PumpError::Write(error) => failed(error),
        })?;
        match check.finish() {
            Ok(()) => {}
            Err(Damage::Short { .. }) => return Err(source(io::ErrorKind::UnexpectedEof.into())),
            Err(damage) => return Err(damaged(damage)),
        }
        disk::sync(&part.file, &target).and_then(|()| disk::rename(&part.path, &target)).map_err(failed)?;
        self.root.check(doing)
    }
}
