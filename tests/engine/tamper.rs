//! Every file of a store, damaged or exchanged in every way: refused by name, nothing of it kept, healed afterwards.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use wbsync::state::peers::Trust;
use wbsync::sync::error::Error;
use wbsync::sync::refusal::Refusal;
use wbsync::sync::round::PullSummary;
use wbsync::sync::status::explain;
use wbsync::testing::prng::Prng;

use super::world::{STICK, Saved, Site, Stick, files_under};

/// A stick that two writers and a reader share, as it was and as it is.
struct Scene {
    stick: Stick,
    /// The stick, earlier: every document has a newer version now.
    old: Saved,
    now: Saved,
    /// Has seen the stick as it was, and pushed to it.
    reader: Victim,
    /// Has seen nothing.
    fresh: Victim,
}

/// A site that needs what is on the stick.
struct Victim {
    site: Site,
    start: Saved,
    before: Shown,
    good: Shown,
}

/// What a site shows and holds.
#[derive(Debug, Clone, PartialEq)]
struct Shown {
    /// Each column of each row by the row's birth.
    cells: BTreeSet<String>,
    heads: BTreeMap<String, String>,
    local: BTreeMap<String, String>,
}

impl Shown {
    fn of(site: &Site) -> Self {
        let requests =
            ["title", "description", "status", "completed_at", "sync_scope"].map(|column| ("help_requests", column));
        let comments = ["body", "deleted_at", "sync_scope"].map(|column| ("request_comments", column));
        let mut cells = BTreeSet::new();
        for (table, column) in requests.into_iter().chain(comments) {
            // Rows of one application are born at different times.
            let dump = site.app.dump_columns(table, &["created_at", column]);
            cells.extend(dump.lines().map(|line| format!("{table} {line}")));
        }
        Self { cells, heads: site.heads(), local: site.local_heads() }
    }
}

impl Victim {
    fn new(site: Site) -> Self {
        let (start, before) = (site.save(), Shown::of(&site));
        Self { site, start, good: before.clone(), before }
    }

    /// Learns what an honest stick gives.
    fn learn(&mut self) {
        self.site.pull();
        self.good = Shown::of(&self.site);
        self.site.restore(&self.start);
    }
}

impl Scene {
    fn new() -> Self {
        let stick = Stick::new();
        let [alpha, beta, gamma, delta] = ["alpha", "beta", "gamma", "delta"].map(Site::new);
        for site in [&alpha, &beta, &gamma, &delta] {
            for other in [&alpha, &beta, &gamma, &delta].into_iter().filter(|other| other.name != site.name) {
                let is_reader = other.name == "gamma" || other.name == "delta";
                let trust = if is_reader { Trust::Trusted } else { Trust::Writer };
                site.knows(other, (site.name < "c").then_some(trust));
            }
            site.uses(&stick);
        }
        for site in [&alpha, &beta, &gamma] {
            let alice = site.app.insert_user("alice", "public");
            for scope in ["public", "trusted", "private"] {
                let request = site.request(alice, &format!("{scope} of {}", site.name), scope);
                site.app.insert_comment(request, alice, &format!("under {scope} of {}", site.name), scope);
            }
        }
        for site in [&alpha, &beta, &alpha, &beta] {
            site.sync();
        }
        for site in [&alpha, &beta] {
            let other = if site.name == "alpha" { "beta" } else { "alpha" };
            for scope in ["public", "trusted"] {
                let sql = format!("SELECT id FROM help_requests WHERE title = '{scope} of {other}'");
                site.edit(site.app.value(&sql).parse().unwrap(), "description", &format!("early, from {}", site.name));
            }
        }
        for site in [&alpha, &beta, &gamma] {
            site.sync();
        }
        let old = Saved::of(&stick.path());
        let mut reader = Victim::new(gamma);
        let mut fresh = Victim::new(delta);
        for site in [&alpha, &beta] {
            site.open().peer_trust("gamma", Trust::Writer).unwrap();
            let request =
                site.app.value(&format!("SELECT id FROM help_requests WHERE title = 'public of {}'", site.name));
            site.app.insert_comment(request.parse().unwrap(), 1, &format!("news of {}", site.name), "public");
            for scope in ["public", "trusted"] {
                for origin in ["alpha", "beta"] {
                    let sql = format!("SELECT id FROM help_requests WHERE title = '{scope} of {origin}'");
                    let (key, text) = (site.app.value(&sql).parse().unwrap(), format!("from {}", site.name));
                    site.edit(
                        key,
                        if origin == site.name { "title" } else { "description" },
                        &format!("{text} {scope}"),
                    );
                }
            }
        }
        alpha.sync();
        beta.sync();
        let now = Saved::of(&stick.path());
        reader.learn();
        fresh.learn();
        assert!(fresh.good.cells.len() > fresh.before.cells.len() + 15, "the stick holds something");
        Self { stick, old, now, reader, fresh }
    }

    /// Lets a victim pull from the tampered stick, judges what came of it, and heals.
    fn judge(&self, victim: &Victim, what: &str, file: &str, tamper: &str) {
        let label = format!("{what}: {tamper} of {file}");
        victim.site.restore(&victim.start);
        let result = victim.site.try_pull(STICK);
        let now = Shown::of(&victim.site);
        for cell in &now.cells {
            let known = victim.good.cells.contains(cell) || victim.before.cells.contains(cell);
            // Of two heads of one scope the other one may be refused: then its edit is missing, and no more.
            let earlier = cell.contains("early, from ");
            assert!(known || earlier, "{label}: nobody wrote {cell}");
        }
        for (head, hash) in &now.heads {
            let known = victim.good.heads.get(head) == Some(hash) || victim.before.heads.get(head) == Some(hash);
            assert!(known, "{label}: head {head} was taken");
        }
        victim.site.app.assert_whole();
        match &result {
            Err(error) => {
                // What was verified before the error may be merged; that it is right was seen above.
                check_error(error, file, &label);
            }
            Ok(summary) => check_summary(summary, file, tamper, now == victim.good, &label),
        }
        self.now.restore(&self.stick.path());
        victim.site.pull();
        assert_eq!(Shown::of(&victim.site), victim.good, "{label}: not healed");
    }

    fn file(&self, file: &str) -> std::path::PathBuf {
        self.stick.path().join(file)
    }
}

fn check_error(error: &Error, file: &str, label: &str) {
    let text = explain(error);
    assert!([1, 4, 5, 6].contains(&error.exit_code()), "{label}: exit code {} of {text}", error.exit_code());
    let name = file.rsplit('/').next().unwrap().trim_end_matches(".age");
    assert!(text.contains(name) || file == "format" && text.contains("store"), "{label}: names nothing: {text}");
}

fn check_summary(summary: &PullSummary, file: &str, tamper: &str, complete: bool, label: &str) {
    let refused: Vec<&Refusal> = summary.fetched.remotes.values().flat_map(|fetched| &fetched.refused).collect();
    for refusal in &refused {
        let said = !refusal.document.is_empty() && !refusal.reason.is_empty() && !refusal.hint.is_empty();
        assert!(said, "{label}: {refusal:?}");
    }
    // Nobody can miss a document that it never saw.
    let unseen = tamper == "delete" && !file.starts_with("objects");
    let behind = summary.fetched.remotes.values().any(|fetched| !fetched.behind.is_empty());
    let noticed = !refused.is_empty() || tamper == "older" && behind;
    assert!(noticed || complete || unseen, "{label}: went unnoticed: {:?}", summary.fetched);
    if file.starts_with("objects") && !refused.is_empty() {
        let name = &file[11..file.len() - 4];
        assert!(refused.iter().any(|refusal| refusal.reason.contains(name)), "{label}: {refused:?} names no object");
    }
    if file.contains("/heads/") && !refused.is_empty() {
        assert!(refused.iter().any(|refusal| refusal.document.starts_with("head ")), "{label}: {refused:?}");
    }
    if file.ends_with("/manifest") && !refused.is_empty() {
        let scope = file.split('/').nth(1).unwrap();
        assert!(refused.iter().any(|refusal| refusal.document.contains(scope)), "{label}: {refused:?}");
    }
}

/// The part of a store that a file belongs to, so that files of one kind can be exchanged.
fn kind(file: &str) -> &str {
    match file.split('/').collect::<Vec<_>>()[..] {
        ["scopes", _, "manifest"] => "manifest",
        ["scopes", _, "heads", _] => "head",
        ["objects", ..] => "object",
        ["instances", _] => "card",
        ["format"] => "format",
        _ => "other",
    }
}

#[test]
fn no_damaged_document_does_harm() {
    damage(|file| matches!(kind(file), "card" | "format" | "head" | "manifest"));
}

#[test]
fn no_damaged_object_does_harm() {
    damage(|file| kind(file) == "object");
}

fn damage(wanted: impl Fn(&str) -> bool) {
    let scene = Scene::new();
    let seed = std::env::var("WBSYNC_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(20_260_201);
    eprintln!("WBSYNC_SEED={seed}");
    let mut random = Prng::new(seed);
    let files = scene.stick.files();
    let kinds: BTreeSet<&str> = files.iter().map(|file| kind(file)).collect();
    assert!(kinds.is_superset(&["card", "format", "head", "manifest", "object"].into()), "{files:?}");
    let mut noticed = 0;
    for file in files.iter().filter(|file| wanted(file)) {
        let bytes = fs::read(scene.file(file)).unwrap();
        let any = random.below(bytes.len() as u64) as usize;
        let flips = [0, bytes.len() / 2, bytes.len() - 1, any].map(|at| {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1 << random.below(8);
            (format!("flip at {at}"), flipped)
        });
        let cuts = [("cut".to_owned(), bytes[..bytes.len() / 2].to_vec()), ("empty".to_owned(), Vec::new())];
        for (tamper, bytes) in flips.into_iter().chain(cuts) {
            fs::write(scene.file(file), bytes).unwrap();
            scene.judge(&scene.fresh, "fresh", file, &tamper);
            noticed += 1;
        }
        fs::remove_file(scene.file(file)).unwrap();
        scene.judge(&scene.fresh, "fresh", file, "delete");
    }
    assert!(noticed > 60, "{noticed} files were damaged");
}

#[test]
fn no_exchanged_document_of_a_store_does_harm() {
    let scene = Scene::new();
    let files = scene.stick.files();
    for file in files.iter().filter(|file| kind(file) != "other") {
        let bytes = fs::read(scene.file(file)).unwrap();
        for other in files.iter().filter(|other| *other != file && kind(other) == kind(file)) {
            // Objects are named by their bytes, so one exchange stands for all.
            let next = files.iter().find(|next| kind(next) == "object" && *next > file);
            if kind(file) == "object" && Some(other) != next {
                continue;
            }
            fs::copy(scene.file(other), scene.file(file)).unwrap();
            scene.judge(&scene.fresh, "fresh", file, &format!("exchange with {other}"));
        }
        for (victim, name) in [(&scene.fresh, "fresh"), (&scene.reader, "reader")] {
            link(&scene.file(file), &bytes);
            scene.judge(victim, name, file, "link");
        }
    }
}

#[cfg(unix)]
fn link(file: &Path, bytes: &[u8]) {
    let target = file.ancestors().find(|dir| dir.ends_with("wb")).unwrap().parent().unwrap().join("elsewhere");
    fs::write(&target, bytes).unwrap();
    fs::remove_file(file).unwrap();
    std::os::unix::fs::symlink(&target, file).unwrap();
}

#[test]
fn an_older_document_put_back_is_ignored_quietly() {
    let scene = Scene::new();
    // The reader has taken what is on the stick now; nothing older may move it back.
    scene.reader.site.pull();
    let start = scene.reader.site.save();
    let before = scene.reader.good.clone();
    let victim = Victim { site: Site::new("unused"), start, before: before.clone(), good: before };
    let site = &scene.reader.site;
    let mut older = 0;
    for file in files_under(scene.old.path()).iter().filter(|file| matches!(kind(file), "head" | "manifest")) {
        let old = fs::read(scene.old.path().join(file)).unwrap();
        if old == fs::read(scene.file(file)).unwrap() {
            continue;
        }
        older += 1;
        fs::write(scene.file(file), old).unwrap();
        let summary = site.try_pull(STICK).unwrap();
        for fetched in summary.fetched.remotes.values() {
            assert!(fetched.refused.is_empty(), "{file}: {:?}", fetched.refused);
            assert_eq!(fetched.behind.len(), 1, "{file}: {:?}", fetched.behind);
        }
        assert_eq!(Shown::of(site), victim.good, "{file}");
        scene.now.restore(&scene.stick.path());
    }
    assert!(older >= 6, "{older} documents have an older version");
}
