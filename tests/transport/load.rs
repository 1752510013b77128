//! Many clients at once, against a hub in a process of its own whose memory is watched.

use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use wbsync::exchange::store::Store;
use wbsync::hub::members::{Members, Role};
use wbsync::id::name::ScopeName;
use wbsync::keys::document::hash_of;
use wbsync::keys::identity::Identity;
use wbsync::scope::manifest::draft::ManifestDraft;
use wbsync::sys::clock;
use wbsync::transport::dir::DirStore;
use wbsync::transport::http::store::HttpStore;
use wbsync::transport::http::url::HttpUrl;

use crate::contract::{get, noise, put};
use crate::signed::{NOW, origin_head};

#[test]
fn fifty_clients_at_once_lose_no_head_see_no_error_and_fill_no_memory() {
    let seconds = std::env::var("WBSYNC_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(3);
    let hub = Process::start();
    let people: Vec<Identity> = (0..50).map(|_| Identity::generate()).collect();
    let members = Members::open(&hub.store_dir()).unwrap();
    people.iter().for_each(|person| members.allow(&person.id(), Role::Writer, clock::now()).unwrap());
    let until = Instant::now() + Duration::from_secs(seconds);
    let sampled = hub.sample(until);
    let heads: Vec<_> = std::thread::scope(|threads| {
        let hub = &hub;
        let spawned: Vec<_> = people
            .iter()
            .enumerate()
            .map(|(number, person)| {
                threads.spawn(move || {
                    let mut draft = ManifestDraft::new(person, &ScopeName::new("trusted").unwrap(), b"s", NOW).unwrap();
                    draft.set_schema(&number.to_be_bytes()).unwrap();
                    let manifest = draft.sign().unwrap();
                    let scope = manifest.manifest.scope;
                    let store = HttpStore::open(&hub.url, Some(person)).unwrap();
                    store.swap_manifest(&scope, None, &manifest.bytes).unwrap();
                    let (mut last, mut seq) = (None::<Vec<u8>>, 0);
                    while Instant::now() < until {
                        seq += 1;
                        let bytes = noise(20_000, number as u64 * 1_000_000 + seq);
                        let objects = [(put(&store, &bytes), 20_000)];
                        let head = origin_head(person, &scope, seq, last.as_deref(), &objects);
                        store.swap_head(&scope, &person.id(), last.as_deref().map(hash_of), &objects, &head).unwrap();
                        assert_eq!(store.head(&scope, &person.id()).unwrap(), Some(head.clone()));
                        assert!(get(&store, &objects[0].0, 0) == bytes);
                        last = Some(head);
                    }
                    (scope, person.id(), last, seq)
                })
            })
            .collect();
        spawned.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let pushes: u64 = heads.iter().map(|(.., seq)| seq).sum();
    let samples = sampled.join().unwrap();
    let third = samples.len() / 3;
    // What it needs for fifty at once, it has after the first third.
    let [early, late] =
        [&samples[..third + 1], &samples[2 * third..]].map(|part| part.iter().max().copied().unwrap_or(0));
    let grown = late.saturating_sub(early);
    let _ = writeln!(
        std::io::stderr(),
        "{pushes} pushes by 50 clients in {seconds} s; the hub had {} MiB at first, {} at most in the first third, {} in the last, \
         {} at its peak",
        samples.first().unwrap_or(&0) >> 20,
        early >> 20,
        late >> 20,
        hub.memory("VmHWM:").unwrap_or(0) >> 20,
    );
    assert!(grown <= GROWTH_BYTES_MAX, "the hub's memory grew by {} MiB", grown >> 20);
    let store = DirStore::open(&hub.store_dir()).unwrap();
    for (scope, signer, last, seq) in heads {
        assert!(seq > 0);
        assert_eq!(store.head(&scope, &signer).unwrap(), last);
    }
}

/// A hub in a process of its own. Killed when dropped.
struct Process {
    dir: TempDir,
    child: Child,
    url: HttpUrl,
}

impl Process {
    fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_wbsync"))
            .args(["serve", "--listen", "127.0.0.1:0", "--store", "store"])
            .current_dir(dir.path())
            .env_clear()
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap());
        let mut first = String::new();
        lines.read_line(&mut first).unwrap();
        let url = HttpUrl::parse(first.trim().strip_prefix("listening on ").unwrap()).unwrap();
        // Nobody reads the log; a full pipe would stop the program.
        std::thread::spawn(move || lines.lines().map_while(Result::ok).for_each(drop));
        Self { dir, child, url }
    }

    fn store_dir(&self) -> PathBuf {
        self.dir.path().join("store")
    }

    /// Returns a line of what the system knows of its memory, in bytes; none where the system doesn't say.
    fn memory(&self, line: &str) -> Option<u64> {
        memory(self.child.id(), line)
    }

    /// Looks at its memory again and again.
    fn sample(&self, until: Instant) -> JoinHandle<Vec<u64>> {
        let id = self.child.id();
        std::thread::spawn(move || {
            let mut samples = Vec::new();
            while Instant::now() < until {
                samples.extend(memory(id, "VmRSS:"));
                std::thread::sleep(Duration::from_millis(100));
            }
            samples
        })
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn memory(process: u32, line: &str) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find_map(|found| found.strip_prefix(line))?;
    Some(line.trim().trim_end_matches(" kB").trim().parse::<u64>().ok()? << 10)
}

/// Generous: an allocator keeps what it had, and a nonce is remembered for four minutes with about 150 bytes.
const GROWTH_BYTES_MAX: u64 = 64 << 20;
