//! Copying objects from store to store: what the other side lacks, verified.
//!
//! Interrupted copying needs no bookkeeping: what arrived is held, and the next call asks what is missing. So it is within an
//! object, where the target keeps what came of it.

use std::collections::HashSet;
use std::io::{self, Read};

use crate::exchange::check::{ObjectCheck, PumpError, pump};
use crate::exchange::lanes::in_lanes;
use crate::exchange::layout::StorePath;
use crate::exchange::store::{Doing, Store, StoreError};
use crate::id::bytes::ObjectId;

/// How far copying has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CopyProgress {
    /// Objects stored so far.
    pub objects_done: u64,
    /// Objects that were missing.
    pub objects_total: u64,
    /// Bytes handed to the target so far.
    pub bytes_done: u64,
    /// Bytes of all missing objects.
    pub bytes_total: u64,
}

/// What was copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CopySummary {
    /// Objects stored.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// Copies those of `objects`, given with their sizes, that `to` lacks from `from`.
///
/// Begins them in the order given, as many at once as the stores are worth (`Store::lanes`), and begins no other after one
/// failed; what was stored stays, and calling again goes on from there. An object given twice is copied once.
///
/// # Errors
/// `Ask` if `to` can't say what it lacks; `Source` if `from` can't deliver an object or delivers other bytes;
/// `Target` if `to` can't store it.
pub fn copy_objects(
    from: &dyn Store,
    to: &dyn Store,
    objects: &[(ObjectId, u64)],
    progress: &mut dyn FnMut(CopyProgress),
) -> Result<CopySummary, CopyError> {
    copy_unasked(from, to, &missing_of(to, objects)?, progress)
}

/// Copies `objects`, given with their sizes and each once, from `from`, as `copy_objects` does with those that `to` lacks: for who
/// has reason to think that it lacks all of them. What it holds nevertheless is taken for stored.
///
/// # Errors
/// As `copy_objects`, without `Ask`.
pub fn copy_unasked(
    from: &dyn Store,
    to: &dyn Store,
    missing: &[(ObjectId, u64)],
    progress: &mut dyn FnMut(CopyProgress),
) -> Result<CopySummary, CopyError> {
    let mut state = CopyProgress {
        objects_total: missing.len() as u64,
        bytes_total: missing.iter().fold(0, |sum, (_, size)| sum.saturating_add(*size)),
        ..CopyProgress::default()
    };
    progress(state);
    let lanes = from.lanes().max(to.lanes());
    let copy = |(id, size): &(ObjectId, u64), step: &dyn Fn(i64)| copy_one(from, to, *id, *size, step);
    let outcome = in_lanes(missing, lanes, copy, &mut |reached| {
        (state.objects_done, state.bytes_done) = (reached.items, reached.bytes);
        progress(state);
    });
    let mut done = CopySummary::default();
    for ((_, size), _) in missing.iter().zip(&outcome.done).filter(|(_, done)| done.is_some()) {
        done.objects += 1;
        done.bytes += size;
    }
    match outcome.failed {
        None => Ok(done),
        Some((at, failure)) => Err(failure.of(missing[at].0, done)),
    }
}

/// Returns what `to` lacks, in the order of `objects` and without duplicates.
fn missing_of(to: &dyn Store, objects: &[(ObjectId, u64)]) -> Result<Vec<(ObjectId, u64)>, CopyError> {
    let mut asked = HashSet::new();
    let unique: Vec<_> = objects.iter().copied().filter(|(id, _)| asked.insert(*id)).collect();
    let mut missing = Vec::new();
    for batch in unique.chunks(BATCH_OBJECTS_MAX) {
        let lacked = to.missing(batch).map_err(|source| CopyError::Ask { source: Box::new(source) })?;
        let lacked: HashSet<_> = lacked.into_iter().collect();
        missing.extend(batch.iter().copied().filter(|(id, _)| lacked.contains(id)));
    }
    Ok(missing)
}

/// Copies one object. Where the connection to `to` breaks while bytes pass, what came there is gone on with.
fn copy_one(from: &dyn Store, to: &dyn Store, id: ObjectId, size: u64, step: &dyn Fn(i64)) -> Result<(), Failure> {
    let (mut reached, mut tries_left) = (0, TRIES_AGAIN);
    loop {
        let mut passed = 0;
        let Err(failure) = try_once(from, to, id, size, step, &mut passed) else { return Ok(()) };
        let is_broken = matches!(&failure, Failure::Target(error) if error.is_transient());
        if !is_broken || passed == 0 {
            return Err(failure);
        }
        // Whoever comes further each time will arrive.
        if passed >= reached + STEP_BYTES_MIN {
            tries_left = TRIES_AGAIN;
        } else if tries_left == 0 {
            return Err(failure);
        } else {
            tries_left -= 1;
        }
        reached = reached.max(passed);
    }
}

fn try_once(
    from: &dyn Store,
    to: &dyn Store,
    id: ObjectId,
    size: u64,
    step: &dyn Fn(i64),
    passed: &mut i64,
) -> Result<(), Failure> {
    let reader = from.object(&id, 0).map_err(Failure::Source)?;
    let mut metered = Metered { reader, failed: None, passed: 0, step };
    let stored = to.put_object(&id, size, &mut metered);
    *passed = metered.passed;
    // An object that somebody else stored meanwhile was not read, and one that is sent again was read twice.
    let wanted = if stored.is_ok() { i64::try_from(size).unwrap_or(i64::MAX) } else { 0 };
    step(wanted - metered.passed);
    let Err(error) = stored else { return Ok(()) };
    if let Some(source) = metered.failed {
        let doing = Doing::Read(StorePath::Object(id));
        return Err(Failure::Source(StoreError::Io { store: from.describe(), doing, source }));
    }
    match error {
        // Who garbled it? Look at the source again.
        StoreError::Damaged { .. } => match verify(from, id, size) {
            Ok(()) => Err(Failure::Target(error)),
            Err(source) => Err(Failure::Source(source)),
        },
        error => Err(Failure::Target(error)),
    }
}

/// Reads an object of `size` bytes from end to end and checks it.
///
/// # Errors
/// `Damaged`, `Missing`, or as `store` fails.
pub fn verify(store: &dyn Store, id: ObjectId, size: u64) -> Result<(), StoreError> {
    let damaged = |damage| StoreError::Damaged { store: store.describe(), object: id, damage };
    let mut check = ObjectCheck::new(id, size);
    match pump(&mut *store.object(&id, 0)?, &mut check, &mut io::sink()) {
        Ok(_) => check.finish().map_err(damaged),
        Err(PumpError::Damaged(damage)) => Err(damaged(damage)),
        Err(PumpError::Read(source) | PumpError::Write(source)) => {
            Err(StoreError::Io { store: store.describe(), doing: Doing::Read(StorePath::Object(id)), source })
        }
    }
}

/// Objects could not be copied.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// The target can't say what it lacks.
    #[error("cannot find out which objects are missing")]
    Ask {
        /// Why.
        #[source]
        source: Box<StoreError>,
    },
    /// The source doesn't deliver an object, or delivers other bytes.
    #[error("cannot get object {object}")]
    Source {
        /// The object.
        object: ObjectId,
        /// What was copied before it, or beside it.
        done: CopySummary,
        /// Why.
        #[source]
        source: Box<StoreError>,
    },
    /// The target can't store an object.
    #[error("cannot put object {object}")]
    Target {
        /// The object.
        object: ObjectId,
        /// What was copied before it, or beside it.
        done: CopySummary,
        /// Why.
        #[source]
        source: Box<StoreError>,
    },
}

impl CopyError {
    /// Tells whether calling again later may succeed without anybody doing anything about it.
    pub fn is_transient(&self) -> bool {
        self.of_store().is_transient()
    }

    /// Returns what the store said.
    pub fn of_store(&self) -> &StoreError {
        match self {
            CopyError::Ask { source } | CopyError::Source { source, .. } | CopyError::Target { source, .. } => source,
        }
    }
}

enum Failure {
    Source(StoreError),
    Target(StoreError),
}

impl Failure {
    fn of(self, object: ObjectId, done: CopySummary) -> CopyError {
        match self {
            Failure::Source(source) => CopyError::Source { object, done, source: Box::new(source) },
            Failure::Target(source) => CopyError::Target { object, done, source: Box::new(source) },
        }
    }
}

/// Reads on behalf of the target, counts, and remembers whether it was the source that failed.
struct Metered<'a> {
    reader: Box<dyn Read + Send>,
    failed: Option<io::Error>,
    passed: i64,
    step: &'a dyn Fn(i64),
}

impl Read for Metered<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.reader.read(buffer) {
            Ok(count) => {
                self.passed += count as i64;
                (self.step)(count as i64);
                Ok(count)
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Err(error),
            Err(error) => {
                let told = io::Error::new(error.kind(), "the source failed");
                self.failed = Some(error);
                Err(told)
            }
        }
    }
}

/// How often an object is sent again without coming further.
const TRIES_AGAIN: u32 = 2;
/// Less than this is no way.
const STEP_BYTES_MIN: i64 = 64 << 10;
/// How many objects a store is asked about at once.
const BATCH_OBJECTS_MAX: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exchange::samples::Shelf;

    const SIZE: u64 = 10 * STEP_BYTES_MIN as u64;

    /// Copies one object over a connection that breaks after so many bytes, the first number first.
    fn over(breaks: &[u64]) -> Result<CopySummary, CopyError> {
        let (from, to) = (Shelf::default(), Shelf::default());
        let id = from.hold(&vec![7; SIZE as usize], 0);
        to.breaks.lock().unwrap().extend(breaks.iter().rev());
        let mut last = CopyProgress::default();
        let copied = copy_objects(&from, &to, &[(id, SIZE), (id, SIZE)], &mut |progress| last = progress);
        if copied.is_ok() {
            let wanted = CopyProgress { objects_done: 1, objects_total: 1, bytes_done: SIZE, bytes_total: SIZE };
            assert_eq!(last, wanted, "what was sent twice counts once");
            assert_eq!(to.object_size(&id).unwrap(), Some(SIZE));
        }
        copied
    }

    #[test]
    fn whoever_comes_further_arrives() {
        let step = STEP_BYTES_MIN as u64;
        assert_eq!(over(&[]).unwrap(), CopySummary { objects: 1, bytes: SIZE });
        over(&[step, 2 * step, 3 * step, 4 * step, 5 * step, 6 * step]).unwrap();
        over(&[step, step, step]).unwrap();
        let stuck = over(&[step, step, step, step]).unwrap_err();
        assert!(matches!(stuck, CopyError::Target { .. }) && stuck.is_transient(), "it tried thrice in vain");
        let slow = over(&[step, step + 1, step + 2, step + 3]);
        assert!(slow.is_err(), "a byte at a time is no way");
        assert!(over(&[0]).is_err(), "nothing came through");
    }

    /// A signal that interrupts a read isn't a failure of the source.
    #[test]
    fn an_interrupted_read_is_tried_again() {
        struct Interrupted(bool);
        impl Read for Interrupted {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                if std::mem::take(&mut self.0) {
                    Err(io::ErrorKind::Interrupted.into())
                } else {
                    io::empty().read(buffer)
                }
            }
        }
        let mut metered = Metered { reader: Box::new(Interrupted(true)), failed: None, passed: 0, step: &|_| {} };
        let mut read = Vec::new();
        metered.read_to_end(&mut read).unwrap();
        assert!(metered.failed.is_none() && read.is_empty());
    }

    #[test]
    fn the_side_that_fails_is_named() {
        let (from, to) = (Shelf::default(), Shelf::default());
        let id = from.hold(b"there", 0);
        from.objects.lock().unwrap().clear();
        assert!(matches!(copy_objects(&from, &to, &[(id, 5)], &mut |_| {}), Err(CopyError::Source { .. })));
        from.hold(b"there", 0);
        from.gives.lock().unwrap().push(2);
        let broken = copy_objects(&from, &to, &[(id, 5)], &mut |_| {}).unwrap_err();
        assert!(matches!(broken, CopyError::Source { .. }) && broken.is_transient(), "{broken:?}");
        let missing = ObjectId::from_bytes([9; 32]);
        let missing = copy_objects(&from, &to, &[(missing, 5)], &mut |_| {}).unwrap_err();
        assert!(!missing.is_transient(), "it isn't there later either");
        assert!(verify(&from, id, 5).is_ok() && verify(&from, id, 6).is_err());
    }
}
