//! Seals plaintexts into objects and puts them into our own store, several at once.

use std::io;

use rayon::prelude::*;

use super::error::Error;
use crate::changeset::seal::{Padding, Sealed, seal};
use crate::exchange::head::ObjectRef;
use crate::exchange::store::{Store, StoreError};

/// The most plaintexts, of about 16 MiB each, that are held and sealed at once.
const AT_ONCE_MAX: usize = 3;

/// Seals plaintexts in the order in which they come.
pub(super) struct Sealer<'a> {
    store: &'a dyn Store,
    recipient: &'a str,
    padding: Padding,
    waiting: Vec<Vec<u8>>,
    objects: Vec<ObjectRef>,
    failed: Option<StoreError>,
}

impl<'a> Sealer<'a> {
    pub(super) fn new(store: &'a dyn Store, recipient: &'a str, padding: Padding) -> Self {
        Self { store, recipient, padding, waiting: Vec::new(), objects: Vec::new(), failed: None }
    }

    /// Takes one plaintext; seals when enough of them wait to keep every core busy.
    ///
    /// # Errors
    /// If sealing failed, or the store did; `finish` tells the store's own error.
    pub(super) fn take(&mut self, plain: Vec<u8>) -> io::Result<()> {
        self.waiting.push(plain);
        if self.waiting.len() < rayon::current_num_threads().min(AT_ONCE_MAX) { Ok(()) } else { self.flush() }
    }

    /// Seals what still waits and returns the objects in order.
    ///
    /// # Errors
    /// `Store`, or `Ok(Err(..))` if the work before or sealing failed.
    pub(super) fn finish<E>(
        mut self,
        before: Result<(), E>,
        wrap: impl FnOnce(io::Error) -> E,
    ) -> Result<Result<Vec<ObjectRef>, E>, Error> {
        let finished = before.and_then(|()| self.flush().map_err(wrap));
        match self.failed {
            Some(error) => Err(Error::store("this instance")(error)),
            None => Ok(finished.map(|()| self.objects)),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        let plains = std::mem::take(&mut self.waiting);
        let sealed: Vec<Sealed> = plains
            .into_par_iter()
            .map(|plain| seal(&plain, self.recipient, self.padding))
            .collect::<io::Result<_>>()?;
        for Sealed { id, bytes } in sealed {
            let size = bytes.len() as u64;
            if let Err(error) = self.store.put_object(&id, size, &mut &bytes[..]) {
                self.failed = Some(error);
                return Err(io::Error::other("the store failed"));
            }
            self.objects.push(ObjectRef { id, bytes: size });
        }
        Ok(())
    }
}
