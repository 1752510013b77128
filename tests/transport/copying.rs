//! Copying and fetching: what is missing goes over, resumes, and blames the right side.

use std::sync::atomic::Ordering;

use tempfile::TempDir;
use wbsync::exchange::copy::{CopyError, CopyProgress, CopySummary, copy_objects};
use wbsync::exchange::fetch::{FetchError, fetch_object};
use wbsync::exchange::layout::{OBJECT_BYTES_MAX, StorePath};
use wbsync::exchange::store::{Store, StoreError};
use wbsync::id::bytes::ObjectId;
use wbsync::transport::dir::DirStore;

use crate::contract::{get, noise, put};
use crate::faulty::{Fault, Faulty};

fn stores() -> (TempDir, DirStore, DirStore) {
    let dir = tempfile::tempdir().unwrap();
    let from = DirStore::create(&dir.path().join("from")).unwrap();
    let to = DirStore::create(&dir.path().join("to")).unwrap();
    (dir, from, to)
}

fn fill(store: &dyn Store, count: u64) -> Vec<(ObjectId, u64)> {
    (0..count).map(|n| (put(store, &noise(1000 + n as usize, n)), 1000 + n)).collect()
}

#[test]
fn only_what_is_missing_goes_over_and_progress_reaches_the_total() {
    let (_dir, from, to) = stores();
    let objects = fill(&from, 5);
    put(&to, &noise(1001, 1));
    let twice = [&objects[..], &objects[..]].concat();
    let from = Faulty::new(&from, Fault::None);
    let mut seen: Vec<CopyProgress> = Vec::new();
    let summary = copy_objects(&from, &to, &twice, &mut |progress| seen.push(progress)).unwrap();
    let bytes = 1000 + 1002 + 1003 + 1004;
    assert_eq!(summary, CopySummary { objects: 4, bytes });
    assert_eq!(from.delivered.load(Ordering::Relaxed), bytes);
    assert_eq!(seen[0], CopyProgress { objects_total: 4, bytes_total: bytes, ..CopyProgress::default() });
    let end = CopyProgress { objects_done: 4, objects_total: 4, bytes_done: bytes, bytes_total: bytes };
    assert_eq!(*seen.last().unwrap(), end);
    assert!(seen.windows(2).all(|pair| pair[0].bytes_done <= pair[1].bytes_done));
    assert_eq!(to.missing(&objects).unwrap(), []);
    assert!(get(&to, &objects[3].0, 0) == noise(1003, 3));
    assert_eq!(copy_objects(&from, &to, &objects, &mut |_| {}).unwrap(), CopySummary::default());
}

#[test]
fn a_damaged_source_is_blamed_and_earlier_objects_stay() {
    let (dir, from, to) = stores();
    let objects = fill(&from, 3);
    let second = StorePath::Object(objects[1].0).under(&dir.path().join("from"));
    let good = std::fs::read(&second).unwrap();
    let mut flipped = good.clone();
    flipped[500] ^= 1;
    for bad in [&flipped[..], &good[..700]] {
        std::fs::write(&second, bad).unwrap();
        match copy_objects(&from, &to, &objects, &mut |_| {}).unwrap_err() {
            CopyError::Source { object, done, source } => {
                assert_eq!(object, objects[1].0);
                assert!(done.objects <= 1);
                assert!(
                    matches!(*source, StoreError::Damaged { ref store, .. } if *store == from.describe()),
                    "{source}"
                );
            }
            other => panic!("{other:?} instead of Source"),
        }
        assert_eq!(to.missing(&objects).unwrap(), [objects[1].0, objects[2].0]);
    }
    std::fs::write(&second, &good).unwrap();
    assert_eq!(copy_objects(&from, &to, &objects, &mut |_| {}).unwrap().objects, 2);
}

#[test]
fn broken_source_lost_object_and_full_target_are_told_apart() {
    let (_dir, from, to) = stores();
    let objects = fill(&from, 1);
    let copy =
        |from: &dyn Store, to: &dyn Store, objects: &[_]| copy_objects(from, to, objects, &mut |_| {}).unwrap_err();
    let broken = copy(&Faulty::new(&from, Fault::BreaksAfter(10)), &to, &objects);
    assert!(matches!(&broken, CopyError::Source { .. }), "{broken:?}");
    assert!(broken.is_transient());
    let lost = copy(&from, &to, &[(ObjectId::from_bytes([9; 32]), 1)]);
    assert!(matches!(&lost, CopyError::Source { source, .. } if matches!(**source, StoreError::Missing { .. })));
    assert!(!lost.is_transient());
    let full = copy(&from, &Faulty::new(&to, Fault::RefusesPut), &objects);
    assert!(matches!(&full, CopyError::Target { source, .. } if matches!(**source, StoreError::Full { .. })));
}

#[test]
fn a_truncated_object_in_the_target_is_sent_again() {
    let (dir, from, to) = stores();
    let objects = fill(&from, 1);
    copy_objects(&from, &to, &objects, &mut |_| {}).unwrap();
    std::fs::write(StorePath::Object(objects[0].0).under(&dir.path().join("to")), b"cut").unwrap();
    assert_eq!(copy_objects(&from, &to, &objects, &mut |_| {}).unwrap().objects, 1);
    assert!(get(&to, &objects[0].0, 0) == noise(1000, 0));
}

#[test]
fn an_interrupted_fetch_costs_only_the_rest() {
    let (dir, from, _to) = stores();
    let bytes = noise(1_000_000, 7);
    let id = put(&from, &bytes);
    let size = bytes.len() as u64;
    for fault in [Fault::BreaksAfter(400_000), Fault::EndsAfter(400_000)] {
        let target = tempfile::tempdir_in(dir.path()).unwrap();
        let broken = Faulty::new(&from, fault);
        assert!(matches!(fetch_object(&broken, &id, size, target.path()), Err(FetchError::Store { .. })));
        let good = Faulty::new(&from, Fault::None);
        let path = fetch_object(&good, &id, size, target.path()).unwrap();
        assert_eq!(good.delivered.load(Ordering::Relaxed), 600_000, "{fault:?}");
        assert!(std::fs::read(&path).unwrap() == bytes);
        assert_eq!(fetch_object(&good, &id, size, target.path()).unwrap(), path);
        assert_eq!(good.delivered.load(Ordering::Relaxed), 600_000, "what is there is not fetched again");
        assert_eq!(std::fs::read_dir(target.path()).unwrap().count(), 1, "no part is left");
    }
}

#[test]
fn garbled_leftovers_are_fetched_anew_and_a_garbled_source_is_refused() {
    let (dir, from, _to) = stores();
    let bytes = noise(5000, 8);
    let id = put(&from, &bytes);
    let target = tempfile::tempdir_in(dir.path()).unwrap();
    let (part, whole) = (target.path().join(format!("{id}.part")), target.path().join(format!("{id}.age")));
    let garbled = Faulty::new(&from, Fault::Garbles);
    for _ in 0..2 {
        let refused = fetch_object(&garbled, &id, 5000, target.path());
        assert!(matches!(refused, Err(FetchError::Store { .. })), "{refused:?}");
        assert!(!whole.exists());
    }
    for leftover in [vec![0; 3000], vec![0; 5000], vec![0; 9000]] {
        std::fs::write(&part, leftover).unwrap();
        assert!(std::fs::read(fetch_object(&from, &id, 5000, target.path()).unwrap()).unwrap() == bytes);
        std::fs::remove_file(&whole).unwrap();
    }
    std::fs::write(&whole, b"rotten").unwrap();
    assert!(std::fs::read(fetch_object(&from, &id, 5000, target.path()).unwrap()).unwrap() == bytes);
    let huge = fetch_object(&from, &id, OBJECT_BYTES_MAX + 1, target.path());
    assert!(matches!(huge, Err(FetchError::TooLarge { .. })));
    assert!(fetch_object(&from, &id, 4000, target.path()).is_err(), "a wrong announced size is refused");
}
