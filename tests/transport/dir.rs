//! The directory store: the contract, races, pulled sticks, full and read-only disks, hostile directories.

use std::cell::RefCell;
use std::fs;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};

use tempfile::TempDir;
use wbsync::exchange::check::object_id;
use wbsync::exchange::layout::{DOCUMENT_BYTES_MAX, FORMAT, StorePath};
use wbsync::exchange::store::{FRESH_MILLIS, GRACE_MILLIS_MIN, Store, StoreError};
use wbsync::keys::document::hash_of;
use wbsync::keys::identity::Identity;
use wbsync::sys::clock::{self, UnixMillis};
use wbsync::sys::disk;
use wbsync::transport::dir::DirStore;
use wbsync::transport::url::{self, RemoteUrl};

use crate::contract::{ALPHA, BETA, SCOPE, get, noise, put, store_contract};

#[test]
fn a_directory_keeps_the_store_contract() {
    let dirs = RefCell::new(Vec::new());
    store_contract(|| {
        let (dir, store) = fresh();
        dirs.borrow_mut().push(dir);
        Box::new(store)
    });
}

fn fresh() -> (TempDir, DirStore) {
    let dir = tempfile::tempdir().unwrap();
    let store = DirStore::create(&dir.path().join("store")).unwrap();
    (dir, store)
}

/// Returns all files below `dir`, relative, ascending.
fn files(dir: &Path) -> Vec<String> {
    let mut files: Vec<_> = walkdir::WalkDir::new(dir)
        .into_iter()
        .map(Result::unwrap)
        .filter(|entry| !entry.file_type().is_dir())
        .map(|entry| entry.path().strip_prefix(dir).unwrap().to_str().unwrap().to_owned())
        .collect();
    files.sort();
    files
}

#[test]
fn the_files_are_those_of_the_layout() {
    let (dir, store) = fresh();
    let id = put(&store, b"sealed");
    store.swap_manifest(&SCOPE, None, b"m").unwrap();
    store.swap_head(&SCOPE, &ALPHA, None, &[(id, 6)], b"h").unwrap();
    store.swap_card(&ALPHA, None, b"c").unwrap();
    let root = dir.path().join("store");
    let mut layout = [
        StorePath::Format,
        StorePath::Object(id),
        StorePath::Manifest(SCOPE),
        StorePath::Head(SCOPE, ALPHA),
        StorePath::Card(ALPHA),
    ]
    .map(|path| path.to_string())
    .to_vec();
    layout.push("lock".into());
    layout.sort();
    assert_eq!(files(&root), layout);
    assert_eq!(fs::read_to_string(root.join("format")).unwrap(), FORMAT);
    assert_eq!(DirStore::open(&root).unwrap().head(&SCOPE, &ALPHA).unwrap().unwrap(), b"h");
}

#[test]
fn only_empty_directories_become_stores() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("photos");
    fs::create_dir(&path).unwrap();
    fs::write(path.join("cat.jpg"), b"meow").unwrap();
    let refused = DirStore::create(&path).unwrap_err();
    assert!(matches!(refused, StoreError::NotAStore { .. }), "{refused:?}");
    assert_eq!(files(&path), ["cat.jpg"]);
    assert!(matches!(DirStore::open(&path), Err(StoreError::NotAStore { .. })));
    assert!(matches!(DirStore::open(&path.join("cat.jpg")), Err(StoreError::NotAStore { .. })));
    assert!(matches!(DirStore::create(&path.join("cat.jpg")), Err(StoreError::NotAStore { .. })));
    let gone = DirStore::open(&dir.path().join("none")).unwrap_err();
    assert!(matches!(gone, StoreError::Unreachable { .. }) && gone.is_transient(), "{gone:?}");
    let below = DirStore::create(&dir.path().join("none/store")).unwrap_err();
    assert!(matches!(below, StoreError::Unreachable { .. }), "{below:?}");
    assert!(!dir.path().join("none").exists(), "parents are not made");
}

#[test]
fn foreign_and_newer_formats_are_refused() {
    let (dir, store) = fresh();
    let format = dir.path().join("store/format");
    for foreign in ["", "restic 2\n", "wbsync store 1", &"x".repeat(10_000)] {
        fs::write(&format, foreign).unwrap();
        assert!(matches!(DirStore::open(&dir.path().join("store")), Err(StoreError::NotAStore { .. })));
    }
    fs::write(&format, "wbsync store 7\n").unwrap();
    let newer = DirStore::open(&dir.path().join("store")).unwrap_err();
    assert!(matches!(newer, StoreError::NewerFormat { found: 7, .. }), "{newer:?}");
    let write = store.swap_card(&ALPHA, None, b"c").unwrap_err();
    assert!(matches!(write, StoreError::NewerFormat { .. }), "a store converted meanwhile is not written: {write:?}");
}

#[test]
fn a_half_made_store_can_be_made_again() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join(".tmp-abc"), b"wbs").unwrap();
    DirStore::create(dir.path()).unwrap();
    fs::remove_dir(dir.path().join("objects")).unwrap();
    let store = DirStore::create(dir.path()).unwrap();
    put(&store, b"x");
}

#[test]
fn each_round_of_a_race_has_one_winner() {
    let (_dir, store) = fresh();
    let barrier = Barrier::new(2);
    let wins: Vec<Vec<bool>> = std::thread::scope(|scope| {
        let race = |me: u8| {
            let (barrier, store) = (&barrier, &store);
            move || {
                let mut wins = Vec::new();
                for round in 0..200 {
                    let old = store.head(&SCOPE, &ALPHA).unwrap().map(|bytes| hash_of(&bytes));
                    let new = format!("{me} after {old:?} in round {round}");
                    barrier.wait();
                    wins.push(match store.swap_head(&SCOPE, &ALPHA, old, &[], new.as_bytes()) {
                        Ok(()) => true,
                        Err(StoreError::Swapped { found, .. }) => {
                            assert_ne!(found, old);
                            false
                        }
                        Err(error) => panic!("{error:?}"),
                    });
                    barrier.wait();
                }
                wins
            }
        };
        let racers = [scope.spawn(race(1)), scope.spawn(race(2))];
        racers.map(|racer| racer.join().unwrap()).into()
    });
    assert!(wins[0].iter().zip(&wins[1]).all(|(one, two)| one != two), "{wins:?}");
}

const RACE_STORE: &str = "WBSYNC_TEST_RACE_STORE";
const RACE_ROUNDS: u64 = 100;

/// Not a test by itself: what `processes_lose_no_update` runs in other processes.
#[test]
fn racing_process() {
    let Some(path) = std::env::var_os(RACE_STORE) else { return };
    let store = DirStore::open(Path::new(&path)).unwrap();
    let mut done = 0;
    while done < RACE_ROUNDS {
        let old = store.head(&SCOPE, &ALPHA).unwrap();
        // The process id makes two equal counts different documents: of those, one has to lose.
        let new = format!("{} {}", old.as_deref().map_or(0, count_of) + 1, std::process::id());
        match store.swap_head(&SCOPE, &ALPHA, old.as_deref().map(hash_of), &[], new.as_bytes()) {
            Ok(()) => done += 1,
            Err(StoreError::Swapped { .. }) => {}
            Err(error) => panic!("{error:?}"),
        }
    }
}

#[test]
fn processes_lose_no_update() {
    let (dir, store) = fresh();
    let spawn = || {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "dir::racing_process"]).env(RACE_STORE, dir.path().join("store"));
        command.stdout(std::process::Stdio::null()).spawn().unwrap()
    };
    for mut racer in [spawn(), spawn()] {
        assert!(racer.wait().unwrap().success());
    }
    assert_eq!(count_of(&store.head(&SCOPE, &ALPHA).unwrap().unwrap()), 2 * RACE_ROUNDS);
}

fn count_of(document: &[u8]) -> u64 {
    std::str::from_utf8(document).unwrap().split_once(' ').unwrap().0.parse().unwrap()
}

#[test]
fn a_reader_never_sees_half_a_document_or_object() {
    let (dir, store) = fresh();
    let documents = [vec![b'a'; 300_000], vec![b'b'; 200_000]];
    let object = noise(3_000_000, 5);
    let (id, size) = (object_id(&object), object.len() as u64);
    let path = StorePath::Object(id).under(&dir.path().join("store"));
    let ended = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut seen = 0;
            while !ended.load(Ordering::Relaxed) {
                if let Some(bytes) = store.head(&SCOPE, &ALPHA).unwrap() {
                    assert!(documents.contains(&bytes));
                }
                if let Some(found) = store.object_size(&id).unwrap() {
                    assert_eq!(found, size);
                    // It may be removed between the two calls, never cut.
                    match store.object(&id, 0) {
                        Ok(mut reader) => {
                            let mut bytes = Vec::new();
                            reader.read_to_end(&mut bytes).unwrap();
                            assert!(bytes == object);
                            seen += 1;
                        }
                        Err(StoreError::Missing { .. }) => {}
                        Err(error) => panic!("{error:?}"),
                    }
                }
            }
            seen
        });
        let mut old = None;
        for round in 0..40 {
            let new = &documents[round % 2];
            store.swap_head(&SCOPE, &ALPHA, old, &[], new).unwrap();
            old = Some(hash_of(new));
            store.put_object(&id, size, &mut &*object).unwrap();
            std::thread::sleep(std::time::Duration::from_millis(2));
            fs::remove_file(&path).unwrap();
        }
        ended.store(true, Ordering::Relaxed);
        assert!(reader.join().unwrap() > 0, "the reader saw the object at least once");
    });
}

/// Hands out bytes, and does something when half of them are gone.
struct Midway<'a, F: FnMut()> {
    bytes: &'a [u8],
    at: usize,
    act: Option<F>,
}

impl<F: FnMut()> Read for Midway<'_, F> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.bytes.len() <= self.at
            && let Some(mut act) = self.act.take()
        {
            act();
        }
        let most = buffer.len().min(10_000);
        self.bytes.read(&mut buffer[..most])
    }
}

#[test]
fn a_stick_pulled_while_writing_leaves_nothing_and_says_so() {
    let (dir, store) = fresh();
    let (here, away) = (dir.path().join("store"), dir.path().join("away"));
    store.swap_card(&ALPHA, None, b"card").unwrap();
    let object = noise(1_000_000, 6);
    let pull = || fs::rename(&here, &away).unwrap();
    let mut reader = Midway { bytes: &object, at: 500_000, act: Some(pull) };
    let error = store.put_object(&object_id(&object), 1_000_000, &mut reader).unwrap_err();
    assert!(matches!(error, StoreError::Unreachable { .. }) && error.is_transient(), "{error:?}");
    assert!(error.to_string().ends_with("is not there"), "{error}");
    assert!(!files(&away).iter().any(|file| file.ends_with(".age")), "no object is visible: {:?}", files(&away));

    // Without the directory, and with the empty mount point that a stick leaves behind.
    for mount_point in [false, true] {
        if mount_point {
            fs::create_dir(&here).unwrap();
        }
        let errors = [
            store.card(&ALPHA).map(drop).unwrap_err(),
            store.scopes().map(drop).unwrap_err(),
            store.heads(&SCOPE).map(drop).unwrap_err(),
            store.missing(&[(object_id(b"x"), 1)]).map(drop).unwrap_err(),
            store.objects().map(drop).unwrap_err(),
            store.swap_card(&ALPHA, None, b"new").unwrap_err(),
            store.swap_head(&SCOPE, &ALPHA, None, &[], b"new").unwrap_err(),
            store.put_object(&object_id(b"x"), 1, &mut &b"x"[..]).unwrap_err(),
            store.remove_object(&object_id(b"x"), clock::now()).map(drop).unwrap_err(),
        ];
        for error in errors {
            assert!(matches!(error, StoreError::Unreachable { .. }), "{error:?}");
        }
        assert_eq!(files(dir.path()).iter().filter(|file| file.starts_with("store")).count(), 0);
    }
    fs::remove_dir(&here).unwrap();
    fs::rename(&away, &here).unwrap();
    assert_eq!(store.card(&ALPHA).unwrap().unwrap(), b"card");
}

#[cfg(unix)]
#[test]
fn links_and_pipes_are_never_followed() {
    use std::os::unix::fs::symlink;
    let (dir, store) = fresh();
    let (root, outside) = (dir.path().join("store"), dir.path().join("outside"));
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("secret"), b"secret").unwrap();
    let id = object_id(b"secret");
    let object = StorePath::Object(id);
    fs::create_dir_all(object.under(&root).parent().unwrap()).unwrap();

    // A document and an object that are links, to a file that would even fit.
    symlink(outside.join("secret"), StorePath::Card(ALPHA).under(&root)).unwrap();
    symlink(outside.join("secret"), object.under(&root)).unwrap();
    assert!(matches!(store.card(&ALPHA), Err(StoreError::Irregular { .. })));
    assert!(matches!(store.object(&id, 0).err(), Some(StoreError::Irregular { .. })));
    assert!(matches!(store.missing(&[(id, 6)]), Err(StoreError::Irregular { .. })));
    assert!(matches!(store.swap_card(&ALPHA, None, b"new"), Err(StoreError::Irregular { .. })));

    // Directories that are links.
    fs::remove_dir_all(root.join("objects")).unwrap();
    symlink(&outside, root.join("objects")).unwrap();
    fs::remove_dir_all(root.join("scopes")).unwrap();
    symlink(&outside, root.join("scopes")).unwrap();
    assert!(matches!(store.put_object(&id, 6, &mut &b"secret"[..]), Err(StoreError::Irregular { .. })));
    assert!(matches!(store.scopes(), Err(StoreError::Irregular { .. })));
    assert!(matches!(store.swap_head(&SCOPE, &ALPHA, None, &[], b"h"), Err(StoreError::Irregular { .. })));

    // A pipe would make the reader wait forever.
    let pipe = StorePath::Card(BETA).under(&root);
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    assert!(matches!(store.card(&BETA), Err(StoreError::Irregular { .. })));
    fs::remove_file(root.join("lock")).unwrap();
    assert!(Command::new("mkfifo").arg(root.join("lock")).status().unwrap().success());
    assert!(matches!(store.swap_card(&ALPHA, None, b"c"), Err(StoreError::Irregular { .. })));
    assert_eq!(files(&outside), ["secret"]);

    // The way to the store is the operator's own.
    let (dir, _store) = fresh();
    symlink(dir.path().join("store"), dir.path().join("link")).unwrap();
    DirStore::open(&dir.path().join("link")).unwrap();
}

#[test]
fn strangers_files_are_left_out_of_lists_and_oversized_documents_refused() {
    let (dir, store) = fresh();
    let root = dir.path().join("store");
    let id = put(&store, b"x");
    store.swap_card(&ALPHA, None, b"c").unwrap();
    store.swap_manifest(&SCOPE, None, b"m").unwrap();
    let object_dir = StorePath::Object(id).under(&root).parent().unwrap().to_owned();
    for dir in [&root, &root.join("instances"), &root.join("scopes"), &root.join("objects"), &object_dir] {
        fs::write(dir.join(".DS_Store"), b"x").unwrap();
        fs::write(dir.join("Thumbs.db"), b"x").unwrap();
        fs::write(dir.join(".tmp-half"), b"x").unwrap();
    }
    fs::create_dir(root.join("scopes").join("77".repeat(16))).unwrap();
    fs::copy(StorePath::Object(id).under(&root), object_dir.join(format!("{}.age", "0".repeat(64)))).unwrap();
    assert_eq!(store.cards().unwrap(), [ALPHA]);
    assert_eq!(store.scopes().unwrap(), [SCOPE], "an empty scope directory is no scope");
    assert_eq!(store.objects().unwrap().iter().map(|object| object.id).collect::<Vec<_>>(), [id]);
    let big = fs::File::create(StorePath::Card(BETA).under(&root)).unwrap();
    big.set_len(DOCUMENT_BYTES_MAX + 1).unwrap();
    assert!(matches!(store.card(&BETA), Err(StoreError::TooLarge { .. })));
}

#[test]
fn opening_for_writing_sweeps_old_leftovers_only() {
    let (dir, store) = fresh();
    let root = dir.path().join("store");
    let id = put(&store, b"x");
    store.swap_head(&SCOPE, &ALPHA, None, &[], b"h").unwrap();
    let dirs = [
        root.clone(),
        StorePath::Object(id).under(&root).parent().unwrap().to_owned(),
        StorePath::Manifest(SCOPE).under(&root).parent().unwrap().to_owned(),
        StorePath::Head(SCOPE, ALPHA).under(&root).parent().unwrap().to_owned(),
        root.join("instances"),
    ];
    let before = files(&root);
    let hours_ago = |hours: u64| UnixMillis(clock::now().0 - hours * 3_600_000);
    for dir in &dirs {
        for (name, hours) in [(".tmp-old", 25), (".tmp-new", 23)] {
            fs::write(dir.join(name), b"half").unwrap();
            disk::set_modified(&dir.join(name), hours_ago(hours)).unwrap();
        }
    }
    disk::set_modified(&StorePath::Object(id).under(&root), hours_ago(1000)).unwrap();
    DirStore::open(&root).unwrap();
    assert_eq!(files(&root).len(), before.len() + 10, "opening for reading removes nothing");
    DirStore::open_for_writing(&root).unwrap();
    let after = files(&root);
    assert!(!after.iter().any(|file| file.ends_with(".tmp-old")), "{after:?}");
    assert_eq!(after.len(), before.len() + 5);
}

#[test]
fn a_head_keeps_its_old_objects_from_a_collector_at_work() {
    let (dir, store) = fresh();
    let id = put(&store, b"old");
    let path = StorePath::Object(id).under(&dir.path().join("store"));
    let cutoff = UnixMillis(clock::now().0 - GRACE_MILLIS_MIN);
    let age = || disk::set_modified(&path, UnixMillis(cutoff.0 - 1)).unwrap();
    age();
    store.swap_head(&SCOPE, &ALPHA, None, &[(id, 3)], b"head").unwrap();
    assert!(!store.remove_object(&id, cutoff).unwrap(), "the head came after the collector had looked");
    age();
    put(&store, b"old");
    assert!(!store.remove_object(&id, cutoff).unwrap(), "putting it again is a use");
    age();
    assert!(store.remove_object(&id, cutoff).unwrap());
    const { assert!(FRESH_MILLIS < GRACE_MILLIS_MIN) };
}

#[test]
fn remotes_open_by_url() {
    let dir = tempfile::tempdir().unwrap();
    let url = RemoteUrl::parse("stick", dir.path()).unwrap();
    assert!(matches!(url::open(&url, None).err(), Some(StoreError::Unreachable { .. })));
    let id = put(&*url::create(&url, &Identity::generate()).unwrap(), b"x");
    let file_url = format!("file://{}", dir.path().join("stick").display());
    let again = RemoteUrl::parse(&file_url, Path::new("/")).unwrap();
    assert_eq!(get(&*url::open_for_writing(&again, &Identity::generate()).unwrap(), &id, 0), b"x");
}

/// Says so past the capture of the test runner: a skipped test is not a passed one.
fn skipped(why: &str) {
    let _ = writeln!(io::stderr(), "SKIPPED: {why}");
}

/// A small file system of its own, unmounted when dropped.
pub(crate) struct Mount {
    pub(crate) path: PathBuf,
    _dir: TempDir,
}

impl Mount {
    /// Mounts `bytes` of memory, or says loudly that it can't.
    pub(crate) fn tmpfs(bytes: u32) -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().to_owned();
        let size = format!("size={bytes}");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(&path).output();
        if mounted.is_ok_and(|output| output.status.success()) {
            return Some(Self { path, _dir: dir });
        }
        skipped("this test mounts a file system, which only root may");
        None
    }

    fn read_only(&self) {
        let remounted = Command::new("mount").args(["-o", "remount,ro"]).arg(&self.path).status().unwrap();
        assert!(remounted.success());
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.path).status();
    }
}

#[test]
fn a_full_disk_refuses_and_keeps_what_it_held() {
    let Some(mount) = Mount::tmpfs(1 << 20) else { return };
    let store = DirStore::create(&mount.path.join("store")).unwrap();
    let small = put(&store, &noise(400_000, 1));
    store.swap_card(&ALPHA, None, b"card").unwrap();
    let before = files(&mount.path);
    let big = noise(2_000_000, 2);
    let full = store.put_object(&object_id(&big), 2_000_000, &mut &*big).unwrap_err();
    assert!(matches!(full, StoreError::Full { .. }), "{full:?}");
    let full = store.swap_card(&ALPHA, Some(hash_of(b"card")), &big).unwrap_err();
    assert!(matches!(full, StoreError::Full { .. }), "{full:?}");
    assert_eq!(files(&mount.path), before, "no half file is left");
    assert_eq!(store.card(&ALPHA).unwrap().unwrap(), b"card");
    assert!(get(&store, &small, 0) == noise(400_000, 1));
}

#[test]
fn a_read_only_disk_is_read_and_refuses_writes() {
    let Some(mount) = Mount::tmpfs(1 << 20) else { return };
    let path = mount.path.join("store");
    let id = put(&DirStore::create(&path).unwrap(), b"x");
    mount.read_only();
    let store = DirStore::open(&path).unwrap();
    assert_eq!(get(&store, &id, 0), b"x");
    assert_eq!(store.missing(&[(id, 1)]).unwrap(), []);
    for refused in [
        DirStore::open_for_writing(&path).map(drop),
        DirStore::create(&path).map(drop),
        DirStore::create(&mount.path.join("other")).map(drop),
        store.swap_card(&ALPHA, None, b"c"),
        store.swap_head(&SCOPE, &ALPHA, None, &[(id, 1)], b"h"),
        store.put_object(&object_id(b"y"), 1, &mut &b"y"[..]),
        store.remove_object(&id, clock::now()).map(drop),
    ] {
        assert!(matches!(refused, Err(StoreError::ReadOnly { .. })), "{refused:?}");
    }
}

#[cfg(unix)]
#[test]
fn a_directory_without_write_permission_is_denied() {
    use std::os::unix::fs::PermissionsExt;
    let (dir, store) = fresh();
    let root = dir.path().join("store");
    fs::remove_file(root.join("lock")).unwrap();
    for path in [root.clone(), root.join("objects")] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o555)).unwrap();
    }
    if fs::write(root.join("probe"), b"").is_ok() {
        skipped("permissions don't bind this user");
        return;
    }
    let refused = store.put_object(&object_id(b"y"), 1, &mut &b"y"[..]);
    assert!(matches!(refused, Err(StoreError::Denied { .. })), "{refused:?}");
    assert!(matches!(store.swap_card(&ALPHA, None, b"c"), Err(StoreError::Denied { .. })));
    fs::set_permissions(root, fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn a_stick_unmounted_while_writing_is_unreachable() {
    let Some(mount) = Mount::tmpfs(4 << 20) else { return };
    let store = DirStore::create(&mount.path.join("store")).unwrap();
    let object = noise(1_000_000, 6);
    let point = mount.path.clone();
    let pull = || assert!(Command::new("umount").arg("-l").arg(&point).status().unwrap().success());
    let mut reader = Midway { bytes: &object, at: 500_000, act: Some(pull) };
    let error = store.put_object(&object_id(&object), 1_000_000, &mut reader).unwrap_err();
    assert!(matches!(error, StoreError::Unreachable { .. }), "{error:?}");
    assert_eq!(files(&point), [""; 0], "nothing lands on the disk below");
}
