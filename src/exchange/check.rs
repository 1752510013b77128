//! Checking bytes against an object's name and size while they pass.
//!
//! Every byte that enters a store or leaves for use goes through here, so what "verified" means is said once.

use std::io::{self, Read, Write};

use crate::id::bytes::ObjectId;

/// How bytes differ from the object that they were said to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Damage {
    /// They end early.
    #[error("it has {found} bytes instead of {expected}")]
    Short {
        /// The size that the head names.
        expected: u64,
        /// The size that came.
        found: u64,
    },
    /// They go on past the size; how far wasn't read.
    #[error("it is longer than its {expected} bytes")]
    Long {
        /// The size that the head names.
        expected: u64,
    },
    /// The size is right and the content isn't.
    #[error("its BLAKE3 is {found}")]
    Hash {
        /// The BLAKE3 of the bytes that came.
        found: ObjectId,
    },
}

/// Counts and hashes the bytes of one object.
#[derive(Debug)]
pub struct ObjectCheck {
    id: ObjectId,
    size: u64,
    seen: u64,
    hasher: blake3::Hasher,
}

impl ObjectCheck {
    /// Begins to check against `id` and `size`.
    pub fn new(id: ObjectId, size: u64) -> Self {
        Self { id, size, seen: 0, hasher: blake3::Hasher::new() }
    }

    /// Takes the next bytes.
    ///
    /// # Errors
    /// `Long` as soon as there are more than the size.
    pub fn update(&mut self, bytes: &[u8]) -> Result<(), Damage> {
        self.seen = self.seen.saturating_add(bytes.len() as u64);
        if self.seen > self.size {
            return Err(Damage::Long { expected: self.size });
        }
        self.hasher.update(bytes);
        Ok(())
    }

    /// Ends the check.
    ///
    /// # Errors
    /// `Short` if bytes are lacking, `Hash` if they are others.
    pub fn finish(self) -> Result<(), Damage> {
        if self.seen < self.size {
            return Err(Damage::Short { expected: self.size, found: self.seen });
        }
        let found = ObjectId::from_bytes(*self.hasher.finalize().as_bytes());
        if found == self.id { Ok(()) } else { Err(Damage::Hash { found }) }
    }
}

/// Moves all of `from` through `check` to `to`, and returns how many bytes went.
///
/// Reads at most one buffer past the size that `check` knows; doesn't finish the check.
///
/// # Errors
/// Tells apart whether reading, the bytes themselves, or writing failed.
pub fn pump(from: &mut dyn Read, check: &mut ObjectCheck, to: &mut dyn Write) -> Result<u64, PumpError> {
    let mut buffer = vec![0; BUFFER_BYTES];
    let mut moved = 0;
    loop {
        let count = match from.read(&mut buffer) {
            Ok(0) => return Ok(moved),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(PumpError::Read(error)),
        };
        check.update(&buffer[..count]).map_err(PumpError::Damaged)?;
        to.write_all(&buffer[..count]).map_err(PumpError::Write)?;
        moved += count as u64;
    }
}

/// Why bytes stopped moving.
#[derive(Debug, thiserror::Error)]
pub enum PumpError {
    /// The reader failed.
    #[error("cannot read the bytes")]
    Read(#[source] io::Error),
    /// The bytes are not the object's.
    #[error("the bytes are damaged")]
    Damaged(#[source] Damage),
    /// The writer failed.
    #[error("cannot write the bytes")]
    Write(#[source] io::Error),
}

/// Returns the name of an object with these bytes.
pub fn object_id(bytes: &[u8]) -> ObjectId {
    ObjectId::from_bytes(*blake3::hash(bytes).as_bytes())
}

const BUFFER_BYTES: usize = 256 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    fn check(bytes: &[u8], id: ObjectId, size: u64) -> Result<(), Damage> {
        let mut check = ObjectCheck::new(id, size);
        match pump(&mut &*bytes, &mut check, &mut io::sink()) {
            Ok(_) => check.finish(),
            Err(PumpError::Damaged(damage)) => Err(damage),
            Err(error) => panic!("{error}"),
        }
    }

    #[test]
    fn each_damage_is_told_apart() {
        let id = object_id(b"sealed");
        assert_eq!(check(b"sealed", id, 6), Ok(()));
        assert_eq!(check(b"seale", id, 6), Err(Damage::Short { expected: 6, found: 5 }));
        assert_eq!(check(b"sealedx", id, 6), Err(Damage::Long { expected: 6 }));
        assert_eq!(check(b"sealeD", id, 6), Err(Damage::Hash { found: object_id(b"sealeD") }));
        assert_eq!(check(b"", object_id(b""), 0), Ok(()));
    }

    /// What a reader says in turn.
    struct Says(Vec<io::Result<&'static [u8]>>);

    impl Read for Says {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let Some(next) = self.0.pop() else { return Ok(0) };
            next.map(|bytes| {
                buffer[..bytes.len()].copy_from_slice(bytes);
                bytes.len()
            })
        }
    }

    #[test]
    fn interrupted_reads_go_on_and_broken_ones_end() {
        let pumped = |mut says: Says| {
            let mut check = ObjectCheck::new(object_id(b"sealed"), 6);
            pump(&mut says, &mut check, &mut io::sink())
        };
        let interrupted = || Err(io::ErrorKind::Interrupted.into());
        let counted = pumped(Says(vec![Ok(b"led"), interrupted(), Ok(b"sea"), interrupted()]));
        assert!(matches!(counted, Ok(6)), "{counted:?}");
        let broken = pumped(Says(vec![Ok(b"led"), Err(io::ErrorKind::ConnectionReset.into()), Ok(b"sea")]));
        assert!(matches!(broken, Err(PumpError::Read(error)) if error.kind() == io::ErrorKind::ConnectionReset));
    }

    #[test]
    fn an_endless_reader_is_left_after_one_buffer() {
        let mut check = ObjectCheck::new(object_id(b""), 10);
        let ended = pump(&mut io::repeat(0), &mut check, &mut io::sink());
        assert!(matches!(ended, Err(PumpError::Damaged(Damage::Long { expected: 10 }))));
    }
}
