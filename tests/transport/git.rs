//! The store in a git repository: the contract by every way, races, compaction, damage, and what plain git sees.

use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Barrier;

use wbsync::exchange::layout::FORMAT;
use wbsync::exchange::store::{Store, StoreError};
use wbsync::id::bytes::{InstanceId, ObjectId};
use wbsync::keys::document::hash_of;
use wbsync::sys::clock::UnixMillis;
use wbsync::transport::git::store::GitStore;
use wbsync::transport::git::url::GitUrl;

use crate::contract::{ALPHA, BETA, SCOPE, get, noise, put, store_contract};
use crate::through::Through;

const EVER: UnixMillis = UnixMillis(u64::MAX);

/// A bare repository, made by git.
pub(crate) fn bare(dir: &Path, name: &str) -> PathBuf {
    let path = dir.join(name);
    git(dir, &["init", "-q", "--bare", path.to_str().unwrap()]);
    path
}

pub(crate) fn git(dir: &Path, args: &[&str]) -> String {
    let out = Command::new("git").current_dir(dir).env_remove("GIT_DIR").args(args).output().unwrap();
    assert!(out.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8(out.stdout).unwrap()
}

fn file_url(path: &Path) -> GitUrl {
    GitUrl::parse(&format!("git+file://{}", path.display())).unwrap()
}

fn open_as(own: InstanceId, url: &GitUrl, cache: Option<&Path>) -> GitStore {
    GitStore::open(url, Some(own), cache).unwrap()
}

pub(crate) fn assert_sound(hub: &Path) {
    git(hub, &["fsck", "--strict", "--full", "--no-dangling"]);
}

fn branches(hub: &Path) -> Vec<String> {
    git(hub, &["for-each-ref", "--format=%(refname)"]).lines().map(str::to_owned).collect()
}

#[test]
fn a_repository_keeps_the_store_contract() {
    let dir = tempfile::tempdir().unwrap();
    let number = Cell::new(0);
    store_contract(|| {
        number.set(number.get() + 1);
        let hub = bare(dir.path(), &format!("{}.git", number.get()));
        Box::new(open_as(ALPHA, &file_url(&hub), None))
    });
}

#[test]
fn what_is_sent_keeps_the_store_contract() {
    let dir = tempfile::tempdir().unwrap();
    let number = Cell::new(0);
    store_contract(|| {
        number.set(number.get() + 1);
        let url = file_url(&bare(dir.path(), &format!("{}.git", number.get())));
        let cache = dir.path().join(format!("caches/{}", number.get()));
        Box::new(Through::new(move || Box::new(open_as(ALPHA, &url, Some(&cache)))))
    });
    for number in 1..=number.get() {
        assert_sound(&dir.path().join(format!("{number}.git")));
    }
}

#[test]
fn the_program_git_keeps_the_store_contract() {
    let dir = tempfile::tempdir().unwrap();
    let number = Cell::new(0);
    store_contract(|| {
        number.set(number.get() + 1);
        let hub = bare(dir.path(), &format!("{}.git", number.get()));
        let url = GitUrl::parse(&format!("git+file://{}#via=git", hub.display())).unwrap();
        let cache = dir.path().join(format!("caches/{}", number.get()));
        Box::new(Through::new(move || Box::new(open_as(ALPHA, &url, Some(&cache)))))
    });
    for number in 1..=number.get() {
        assert_sound(&dir.path().join(format!("{number}.git")));
    }
}

#[test]
fn everything_lies_where_the_layout_says_and_goes_in_one_push() {
    let dir = tempfile::tempdir().unwrap();
    let hub = bare(dir.path(), "hub.git");
    let store = open_as(ALPHA, &file_url(&hub), None);
    let id = put(&store, b"sealed");
    store.swap_manifest(&SCOPE, None, b"m").unwrap();
    store.swap_head(&SCOPE, &ALPHA, None, &[(id, 6)], b"h").unwrap();
    store.swap_card(&ALPHA, None, b"c").unwrap();
    store.swap_receipt(&SCOPE, &ALPHA, None, b"r").unwrap();
    assert_eq!(branches(&hub), Vec::<String>::new(), "nothing is sent before it is asked for");
    store.flush().unwrap();
    let own = format!("refs/wbsync/{ALPHA}");
    assert_eq!(branches(&hub), [own.clone(), "refs/wbsync/store".to_owned()]);
    assert_eq!(
        git(&hub, &["ls-tree", "-r", "--name-only", "refs/wbsync/store"]),
        format!("format\nscopes/{SCOPE}/manifest\n")
    );
    let mut files = vec![
        format!("instances/{ALPHA}"),
        format!("objects/{}/{id}.age", &id.to_string()[..2]),
        format!("scopes/{SCOPE}/heads/{ALPHA}"),
        format!("scopes/{SCOPE}/receipts/{ALPHA}"),
    ];
    files.sort();
    let listed = git(&hub, &["ls-tree", "-r", "--name-only", &own]);
    assert_eq!(listed.lines().collect::<Vec<_>>(), files);
    assert_eq!(git(&hub, &["cat-file", "blob", "refs/wbsync/store:format"]), FORMAT);
    assert_eq!(git(&hub, &["rev-list", "--count", "--all"]), "2\n", "one commit for each branch");
    let said = git(&hub, &["log", "--format=%an %ae %cn %ce %s%b %at %ct", &own]);
    let (said, day) = said.trim_end().rsplit_once(' ').unwrap();
    assert_eq!(said, format!("wbsync wbsync@localhost wbsync wbsync@localhost sync {day}"));
    assert_eq!(day.parse::<u64>().unwrap() % 86_400, 0, "a commit tells the day only");
    assert_sound(&hub);
    store.flush().expect("there is nothing to send");
    assert_eq!(git(&hub, &["rev-list", "--count", "--all"]), "2\n");
    // Another reader finds it all, and another layer of references nothing.
    let other = open_as(BETA, &file_url(&hub), None);
    assert_eq!(get(&other, &id, 2), b"aled");
    assert_eq!(other.head(&SCOPE, &ALPHA).unwrap().unwrap(), b"h");
    let elsewhere = open_as(BETA, &file_url(&hub).below("refs/heads/wbsync").unwrap(), None);
    assert_eq!(elsewhere.scopes().unwrap(), []);
}

#[test]
fn only_what_is_new_is_fetched() {
    let dir = tempfile::tempdir().unwrap();
    let hub = bare(dir.path(), "hub.git");
    let (url, cache) = (file_url(&hub), dir.path().join("cache"));
    let size = || {
        walkdir::WalkDir::new(&cache)
            .into_iter()
            .map(|file| file.unwrap().metadata().unwrap())
            .filter(std::fs::Metadata::is_file)
            .map(|file| file.len())
            .sum::<u64>()
    };
    let writer = open_as(ALPHA, &url, None);
    put(&writer, &noise(3_000_000, 1));
    writer.flush().unwrap();
    drop(open_as(BETA, &url, Some(&cache)));
    let before = size();
    assert!(before > 3_000_000);
    let id = put(&writer, &noise(10_000, 2));
    writer.flush().unwrap();
    let reader = open_as(BETA, &url, Some(&cache));
    assert!(get(&reader, &id, 0) == noise(10_000, 2));
    let more = size() - before;
    assert!(more < 30_000, "{more} bytes came for 10,000");
    drop(open_as(BETA, &url, Some(&cache)));
    assert_eq!(size(), before + more, "nothing new, nothing fetched");
}

#[test]
fn of_four_at_once_exactly_one_swaps_a_document_and_all_swap_their_own() {
    let dir = tempfile::tempdir().unwrap();
    let hub = bare(dir.path(), "hub.git");
    for _ in 0..3 {
        race(|own| open_as(own, &file_url(&hub), None));
        assert_sound(&hub);
    }
}

/// Has four instances swap one document and a head of each at once.
pub(crate) fn race(open: impl Fn(InstanceId) -> GitStore + Sync) {
    let before = open(ALPHA).manifest(&SCOPE).unwrap();
    let round = before.as_ref().map_or(0, |bytes| bytes[0] + 1);
    let expected = before.map(|bytes| hash_of(&bytes));
    let barrier = Barrier::new(4);
    let won: Vec<bool> = std::thread::scope(|threads| {
        let racers: Vec<_> = (0..4_u8)
            .map(|racer| {
                let (open, barrier) = (&open, &barrier);
                threads.spawn(move || {
                    let own = InstanceId::from_bytes([racer + 1; 32]);
                    let [shared, alone] = [(); 2].map(|()| open(own));
                    shared.swap_manifest(&SCOPE, expected, &[round, racer]).unwrap();
                    let object = put(&alone, &[b'o', round, racer]);
                    let head = alone.head(&SCOPE, &own).unwrap().map(|bytes| hash_of(&bytes));
                    alone.swap_head(&SCOPE, &own, head, &[(object, 3)], &[b'h', round, racer]).unwrap();
                    barrier.wait();
                    alone.flush().expect("nobody else writes it");
                    match shared.flush() {
                        Ok(()) => true,
                        Err(StoreError::Swapped { .. }) => false,
                        Err(error) => panic!("{error:?}"),
                    }
                })
            })
            .collect();
        racers.into_iter().map(|racer| racer.join().unwrap()).collect()
    });
    assert_eq!(won.iter().filter(|won| **won).count(), 1);
    let winner = won.iter().position(|won| *won).unwrap() as u8;
    let store = open(ALPHA);
    assert_eq!(store.manifest(&SCOPE).unwrap().unwrap(), [round, winner]);
    for racer in 0..4 {
        let own = InstanceId::from_bytes([racer + 1; 32]);
        assert_eq!(store.head(&SCOPE, &own).unwrap().unwrap(), [b'h', round, racer]);
    }
}

#[test]
fn a_removed_object_leaves_history_and_the_servers_disk() {
    let dir = tempfile::tempdir().unwrap();
    let hub = bare(dir.path(), "hub.git");
    let url = file_url(&hub);
    let store = open_as(ALPHA, &url, None);
    let [kept, gone] = [b"kept", b"gone"].map(|bytes| put(&store, bytes));
    store.swap_head(&SCOPE, &ALPHA, None, &[(kept, 4), (gone, 4)], b"1").unwrap();
    store.flush().unwrap();
    store.swap_head(&SCOPE, &ALPHA, Some(hash_of(b"1")), &[(kept, 4)], b"2").unwrap();
    store.flush().unwrap();
    let own = format!("refs/wbsync/{ALPHA}");
    assert_eq!(git(&hub, &["rev-list", "--count", &own]), "2\n");
    let blob = |id: &ObjectId| git(&hub, &["rev-parse", &format!("{own}:objects/{}/{id}.age", &id.to_string()[..2])]);
    let (kept_blob, gone_blob) = (blob(&kept), blob(&gone));
    assert!(store.remove_object(&gone, EVER).unwrap());
    assert_eq!(store.object_size(&gone).unwrap(), None);
    store.flush().unwrap();
    assert_eq!(git(&hub, &["rev-list", "--count", &own]), "1\n", "the commit has no parent");
    git(&hub, &["gc", "-q", "--prune=now"]);
    let there = |blob: &str| {
        Command::new("git").current_dir(&hub).args(["cat-file", "-e", blob.trim()]).output().unwrap().status.success()
    };
    assert!(there(&kept_blob) && !there(&gone_blob));
    let again = open_as(BETA, &url, None);
    assert_eq!(again.missing(&[(kept, 4), (gone, 4)]).unwrap(), [gone]);
    assert_eq!(again.head(&SCOPE, &ALPHA).unwrap().unwrap(), b"2");
    assert_sound(&hub);
    // What the server has thrown away is sent again.
    put(&store, b"gone");
    store.flush().unwrap();
    assert_eq!(get(&open_as(BETA, &url, None), &gone, 0), b"gone");
    assert_sound(&hub);
}

#[test]
fn a_damaged_cache_is_fetched_again() {
    let dir = tempfile::tempdir().unwrap();
    let hub = bare(dir.path(), "hub.git");
    let (url, cache) = (file_url(&hub), dir.path().join("cache"));
    let store = open_as(ALPHA, &url, None);
    let bytes = noise(100_000, 3);
    let id = put(&store, &bytes);
    store.swap_card(&ALPHA, None, &noise(5_000, 4)).unwrap();
    store.flush().unwrap();
    drop(open_as(BETA, &url, Some(&cache)));
    let files: Vec<PathBuf> = walkdir::WalkDir::new(&cache)
        .into_iter()
        .map(|file| file.unwrap().into_path())
        .filter(|path| path.is_file())
        .collect();
    assert!(files.iter().any(|path| path.extension().is_some_and(|extension| extension == "pack")));
    for path in files {
        for damage in ["cut", "flip", "gone"] {
            let Ok(whole) = std::fs::read(&path) else { continue };
            match damage {
                "cut" => std::fs::write(&path, &whole[..whole.len() / 2]).unwrap(),
                "flip" => {
                    let mut flipped = whole.clone();
                    flipped.iter_mut().skip(whole.len() / 3).step_by(7).for_each(|byte| *byte ^= 0x55);
                    std::fs::remove_file(&path).unwrap();
                    std::fs::write(&path, flipped).unwrap();
                }
                _ => std::fs::remove_file(&path).unwrap(),
            }
            // The first look may only notice it; the one after it has everything.
            let look = || {
                let store = GitStore::open(&url, Some(BETA), Some(&cache))?;
                let mut read = Vec::new();
                std::io::Read::read_to_end(&mut store.object(&id, 0)?, &mut read).unwrap();
                Ok::<_, StoreError>((read, store.card(&ALPHA)?))
            };
            let (read, card) = look().or_else(|_| look()).unwrap();
            assert!(read == bytes && card == Some(noise(5_000, 4)), "{} {damage}", path.display());
        }
    }
}

#[test]
fn what_is_no_repository_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let open = |path: &Path| GitStore::open(&file_url(path), Some(ALPHA), None).err().unwrap();
    assert!(matches!(open(&dir.path().join("nowhere")), StoreError::Unreachable { .. }));
    std::fs::create_dir(dir.path().join("plain")).unwrap();
    assert!(matches!(open(&dir.path().join("plain")), StoreError::NotAStore { .. }));
    let newer = bare(dir.path(), "newer.git");
    let path = dir.path().join("format");
    std::fs::write(&path, "wbsync store 2\n").unwrap();
    let blob = git(&newer, &["hash-object", "-w", path.to_str().unwrap()]);
    let script = format!("printf '100644 blob {}\\tformat\\n' | git mktree", blob.trim());
    let tree = Command::new("sh").current_dir(&newer).args(["-c", &script]).output().unwrap();
    let tree = String::from_utf8(tree.stdout).unwrap();
    let commit = git(&newer, &["-c", "user.name=x", "-c", "user.email=x", "commit-tree", "-m", "x", tree.trim()]);
    git(&newer, &["update-ref", "refs/wbsync/store", commit.trim()]);
    assert!(matches!(open(&newer), StoreError::NewerFormat { found: 2, .. }));
    let sha256 = dir.path().join("sha256.git");
    git(dir.path(), &["init", "-q", "--bare", "--object-format=sha256", sha256.to_str().unwrap()]);
    let refused = GitStore::open(&file_url(&sha256), Some(ALPHA), None).and_then(|store| {
        put(&store, b"x");
        store.flush()
    });
    assert!(matches!(refused, Err(StoreError::NotAStore { .. })), "{refused:?}");
    let missing = dir.path().join("made.git");
    let made = GitStore::create(&file_url(&missing), Some(ALPHA), None).unwrap();
    put(&made, b"x");
    made.flush().unwrap();
    assert_sound(&missing);
}

#[test]
fn a_server_that_keeps_all_history_says_so_and_takes_the_rest() {
    let dir = tempfile::tempdir().unwrap();
    let hub = bare(dir.path(), "hub.git");
    git(&hub, &["config", "receive.denyNonFastForwards", "true"]);
    // git holds to it only where its own branches are.
    let store = open_as(ALPHA, &file_url(&hub).below("refs/heads/wbsync").unwrap(), None);
    let id = put(&store, b"gone");
    store.flush().unwrap();
    assert!(store.remove_object(&id, EVER).unwrap());
    match store.flush() {
        Err(StoreError::Denied { source, .. }) => assert!(source.to_string().contains("non-fast-forward"), "{source}"),
        other => panic!("{other:?} instead of Denied"),
    }
    assert_eq!(store.object_size(&id).unwrap(), Some(4), "nothing of a failed call is visible");
    store.swap_card(&ALPHA, None, b"c").unwrap();
    store.flush().unwrap();
}
