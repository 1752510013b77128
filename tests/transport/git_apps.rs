//! Instances that exchange through a git repository: one push a round, nothing to read in it, what is withdrawn gone.

use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::git::{assert_sound, bare, git};
use crate::support::app::App;
use crate::support::run::wbsync;

const CANARY: &str = "kaNArieNvogel-7f3a";

/// A hub that counts what is pushed to it.
pub(crate) struct Hub {
    dir: TempDir,
    path: PathBuf,
}

impl Hub {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = bare(dir.path(), "hub.git");
        let hook = path.join("hooks/post-receive");
        fs::create_dir_all(path.join("hooks")).unwrap();
        fs::write(&hook, "#!/bin/sh\necho >> pushes\n").unwrap();
        #[cfg(unix)]
        fs::set_permissions(&hook, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        Self { dir, path }
    }

    fn url(&self) -> String {
        format!("git+file://{}", self.path.display())
    }

    fn pushes(&self) -> usize {
        fs::read_to_string(self.path.join("pushes")).unwrap_or_default().lines().count()
    }

    pub(crate) fn instance(&self, name: &str) -> App {
        let app = App::new();
        app.wbsync(&["init", "--preset", "whiteballoon", "--name", name]).ok();
        app.wbsync(&["remote", "add", "hub", &self.url()]).ok();
        app
    }

    /// Returns the bytes of everything in the hub, as whoever clones it has them.
    fn cloned(&self) -> Vec<u8> {
        let mirror = self.dir.path().join("mirror.git");
        if mirror.exists() {
            fs::remove_dir_all(&mirror).unwrap();
        }
        git(self.dir.path(), &["clone", "-q", "--mirror", self.path.to_str().unwrap(), mirror.to_str().unwrap()]);
        let out = std::process::Command::new("git")
            .current_dir(&mirror)
            .args(["cat-file", "--batch-all-objects", "--unordered", "--batch"])
            .output()
            .unwrap();
        assert!(out.status.success());
        let mut all = out.stdout;
        for file in
            walkdir::WalkDir::new(&mirror).into_iter().map(Result::unwrap).filter(|file| file.file_type().is_file())
        {
            all.extend(fs::read(file.path()).unwrap());
        }
        all
    }
}

fn holds(bytes: &[u8], word: &str) -> bool {
    bytes.windows(word.len()).any(|part| part == word.as_bytes())
}

pub(crate) fn befriend(one: &App, one_name: &str, other: &App, other_name: &str) {
    for (one, other, name) in [(one, other, other_name), (other, one, one_name)] {
        let card = other.wbsync(&["id"]).ok().stdout;
        one.wbsync(&["peer", "add", card.trim()]).ok();
        one.wbsync(&["peer", "trust", name, "--write"]).ok();
        one.wbsync(&["follow", name]).ok();
    }
}

#[test]
fn a_round_is_one_push_and_a_clone_of_the_hub_reads_nothing() {
    let hub = Hub::new();
    let (alpha, beta) = (hub.instance("alpha"), hub.instance("beta"));
    befriend(&alpha, "alpha", &beta, "beta");
    alpha.insert_request(Some(App::ADMIN), CANARY, "trusted");
    alpha.insert_request(Some(App::ADMIN), "a ladder, please", "public");
    alpha.wbsync(&["sync"]).ok();
    assert_eq!(hub.pushes(), 1, "card, manifests, objects, heads and receipts are one push");
    beta.wbsync(&["sync"]).ok();
    assert_eq!(hub.pushes(), 2);
    let there = |app: &App| app.value("SELECT count(*) FROM help_requests WHERE description LIKE '%kaNArieN%'");
    assert_eq!(there(&beta), "1", "it arrived, so it went through the hub");
    beta.execute("UPDATE help_requests SET status = 'completed' WHERE description LIKE 'kaNArieN%'", &[]);
    beta.wbsync(&["sync"]).ok();
    alpha.wbsync(&["sync"]).ok();
    assert_eq!(alpha.value("SELECT status FROM help_requests WHERE description LIKE 'kaNArieN%'"), "completed");
    beta.wbsync(&["sync"]).ok();
    let before = hub.pushes();
    for app in [&alpha, &beta, &alpha] {
        app.wbsync(&["sync"]).ok();
    }
    assert!(hub.pushes() <= before + 1, "where nothing is new, nothing is pushed, but a last receipt");
    let cloned = hub.cloned();
    assert!(holds(&cloned, "wbsync store 1"), "the search itself works");
    for word in [CANARY, "ladder"] {
        assert!(!holds(&cloned, word), "{word} can be read in the hub");
    }
    assert_sound(&hub.path);
    let clone = App::new();
    clone.wbsync(&["clone", &hub.url(), ".", "--preset", "whiteballoon"]).ok();
    assert!(clone.dump("help_requests").contains("a ladder, please") && !clone.dump("help_requests").contains(CANARY));
}

#[test]
fn what_is_withdrawn_leaves_the_repository() {
    let hub = Hub::new();
    let (alpha, beta) = (hub.instance("alpha"), hub.instance("beta"));
    befriend(&alpha, "alpha", &beta, "beta");
    let id = alpha.insert_request(Some(App::ADMIN), "taken back", "trusted");
    alpha.insert_request(Some(App::ADMIN), "stays", "trusted");
    for app in [&alpha, &beta, &alpha] {
        app.wbsync(&["sync"]).ok();
    }
    let objects = |what: &[&str]| -> Vec<String> {
        let listed = git(&hub.path, &[&["rev-list", "--objects"], what].concat());
        listed.lines().filter(|line| line.ends_with(".age")).map(|line| line[..40].to_owned()).collect()
    };
    let before = objects(&["--all"]);
    alpha.set_scope("help_requests", id, "private");
    for app in [&alpha, &beta, &alpha] {
        app.wbsync(&["sync"]).ok();
    }
    let after = objects(&["--all"]);
    assert!(before.iter().any(|object| !after.contains(object)), "what carried it is named by nothing any more");
    git(&hub.path, &["gc", "-q", "--prune=now"]);
    let held = git(&hub.path, &["cat-file", "--batch-all-objects", "--batch-check=%(objectname)"]);
    assert!(before.iter().filter(|object| !after.contains(object)).all(|gone| !held.contains(gone.as_str())));
    assert!(beta.dump("help_requests").contains("stays") && !beta.dump("help_requests").contains("taken back"));
    assert_sound(&hub.path);
}

#[test]
fn four_that_sync_at_once_end_alike() {
    let hub = Hub::new();
    let names = ["alpha", "beta", "gamma", "delta"];
    let apps = names.map(|name| hub.instance(name));
    for (at, one) in apps.iter().enumerate() {
        for (other_at, other) in apps.iter().enumerate().skip(at + 1) {
            befriend(one, names[at], other, names[other_at]);
        }
    }
    let dirs: Vec<&Path> = apps.iter().map(App::dir).collect();
    for round in 0..2 {
        for (app, name) in apps.iter().zip(names) {
            app.insert_request(Some(App::ADMIN), &format!("{name} {round}"), "trusted");
        }
        std::thread::scope(|threads| {
            for dir in &dirs {
                threads.spawn(move || {
                    let run = wbsync(dir, &["sync"]);
                    assert!([0, 3, 75].contains(&run.code), "{run}");
                });
            }
        });
    }
    for _ in 0..2 {
        for app in &apps {
            app.wbsync(&["sync"]).ok();
        }
    }
    let rows = |app: &App| app.dump_columns("help_requests", &["description", "status"]);
    for app in &apps {
        assert_eq!(rows(app), rows(&apps[0]));
    }
    assert!(names.iter().all(|name| rows(&apps[0]).contains(&format!("{name} 1"))));
    assert_sound(&hub.path);
}

#[test]
fn fsck_gc_and_repair_know_the_hub() {
    let hub = Hub::new();
    let alpha = hub.instance("alpha");
    alpha.insert_request(Some(App::ADMIN), "a ladder, please", "public");
    alpha.wbsync(&["sync"]).ok();
    let checked = alpha.wbsync(&["fsck", "hub"]).ok();
    assert!(!checked.stdout.contains("damaged"), "{checked}");
    alpha.wbsync(&["gc", "hub"]).ok();
    alpha.wbsync(&["repair", "hub"]).ok();
    // Somebody threw our branch away: the next push puts everything there again.
    let own = git(&hub.path, &["for-each-ref", "--format=%(refname)", "refs/wbsync"]);
    let own = own.lines().find(|name| !name.ends_with("/store")).unwrap().to_owned();
    git(&hub.path, &["update-ref", "-d", &own]);
    alpha.wbsync(&["sync"]).ok();
    assert!(git(&hub.path, &["ls-tree", "-r", "--name-only", &own]).contains("/heads/"));
    let clone = App::new();
    clone.wbsync(&["clone", &hub.url(), ".", "--preset", "whiteballoon"]).ok();
    assert!(clone.dump("help_requests").contains("a ladder, please"));
}
