//! Objects on their way in: fetched into `.wbsync/incoming/`, resumed after an interruption, removed when used.

use std::fs;
use std::path::PathBuf;

use super::error::Error;
use super::fetch::Refusal;
use super::instance::Instance;
use super::progress::Event;
use super::scopes::OpenScope;
use crate::exchange::fetch::{FetchError, fetch_object};
use crate::exchange::head::{ObjectRef, Segment};
use crate::exchange::store::{Store, StoreError};
use crate::sys::disk;

const HINT_AGAIN: &str = "ask the instance that wrote it to push again, or fetch from another remote";

impl Instance {
    fn incoming_dir(&self) -> PathBuf {
        self.dir().join("incoming")
    }

    /// Makes the directory for objects that are being fetched. Parts of unfinished ones stay.
    ///
    /// # Errors
    /// `Io`.
    pub(super) fn make_incoming(&self) -> Result<(), Error> {
        let dir = self.incoming_dir();
        disk::create_dir(&dir).map_err(Error::io("make", &dir))
    }

    /// Removes what was fetched whole for heads that have to wait; they will be fetched again.
    ///
    /// # Errors
    /// `Io`.
    pub(super) fn clear_incoming(&self) -> Result<(), Error> {
        let dir = self.incoming_dir();
        for entry in fs::read_dir(&dir).map_err(Error::io("list", &dir))? {
            let path = entry.map_err(Error::io("list", &dir))?.path();
            if path.extension().is_some_and(|extension| extension == "age") {
                fs::remove_file(&path).map_err(Error::io("remove", &path))?;
            }
        }
        Ok(())
    }

    /// Removes fetched objects that were used or refused.
    ///
    /// # Errors
    /// `Io`.
    pub(super) fn remove_incoming(&self, files: &[PathBuf]) -> Result<(), Error> {
        for path in files {
            match fs::remove_file(path) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(Error::io("remove", path)(error));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Fetches the objects of these segments, in order; `Err` inside if one can't be had.
    ///
    /// # Errors
    /// The remote can't be read (any more), or the files can't be written.
    pub(super) fn download(
        &self,
        store: &dyn Store,
        remote: &str,
        scope: &OpenScope,
        segments: &[&Segment],
    ) -> Result<Result<Vec<PathBuf>, Refusal>, Error> {
        let objects: Vec<&ObjectRef> = segments.iter().flat_map(|segment| &segment.objects).collect();
        let total = objects.iter().map(|object| object.bytes).sum();
        let name = format!("fetching {}", scope.label(self)?);
        self.tell(Event::Phase { name: &name, total: Some(total) });
        let (mut files, mut done) = (Vec::new(), 0);
        for object in objects {
            match fetch_object(store, &object.id, object.bytes, &self.incoming_dir()) {
                Ok(path) => files.push(path),
                Err(FetchError::Store { source, .. })
                    if matches!(
                        *source,
                        StoreError::Missing { .. }
                            | StoreError::Damaged { .. }
                            | StoreError::Irregular { .. }
                            | StoreError::TooLarge { .. }
                    ) =>
                {
                    return Ok(Err(Refusal::new("", &source, HINT_AGAIN).damaged()));
                }
                Err(FetchError::Store { source, .. }) => return Err(Error::store(remote)(*source)),
                Err(FetchError::TooLarge { object, bytes }) => {
                    let reason = format!("its object {object} of {bytes} bytes is too large");
                    return Ok(Err(Refusal::because("", reason, HINT_AGAIN)));
                }
                Err(error) => {
                    return Err(Error::io("write", self.incoming_dir())(std::io::Error::other(error)));
                }
            }
            done += object.bytes;
            self.tell(Event::Done(done));
        }
        self.tell(Event::End);
        Ok(Ok(files))
    }
}
