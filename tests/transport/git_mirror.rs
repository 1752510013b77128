//! Mirrors: what git shows of scopes, the same on every instance, and nothing of other scopes.

use std::fs;
use std::path::{Path, PathBuf};

use crate::git::{assert_sound, git};
use crate::git_apps::{Hub, befriend};
use crate::support::app::App;

fn mirror(app: &App, name: &str, options: &[&str]) -> PathBuf {
    app.wbsync(&[&["mirror", "--git", name], options].concat()).ok();
    app.dir().join(name)
}

fn tip(mirror: &Path, branch: &str) -> String {
    git(mirror, &["rev-parse", branch]).trim().to_owned()
}

#[test]
fn two_instances_with_equal_heads_have_equal_ids_and_git_reads_them() {
    let hub = Hub::new();
    let (alpha, beta) = (hub.instance("alpha"), hub.instance("beta"));
    befriend(&alpha, "alpha", &beta, "beta");
    let id = alpha.insert_request(Some(App::ADMIN), "first line\nsecond line", "trusted");
    alpha.insert_request(Some(App::ADMIN), "everybody may know", "public");
    let round = || [&alpha, &beta, &alpha, &beta].map(|app| drop(app.wbsync(&["sync"]).ok()));
    round();
    let early = mirror(&alpha, "early.git", &["--scope", "trusted"]);
    let first = tip(&early, "alpha/trusted");
    for text in ["first line\nanother second line", "a first line\nanother second line"] {
        alpha.edit_request(id, text);
        round();
    }
    // Both write at once, so the next state is a merge.
    alpha.edit_request(id, "a first line\nanother second line\na third");
    beta.execute("UPDATE help_requests SET status = 'completed' WHERE description LIKE '%second line'", &[]);
    round();
    round();
    let ours = mirror(&alpha, "mirror.git", &["--scope", "trusted"]);
    let theirs = mirror(&beta, "mirror.git", &["--scope", "alpha/trusted"]);
    assert_eq!(tip(&ours, "alpha/trusted"), tip(&theirs, "alpha/trusted"));
    // The one that was begun early goes on, to the same ids.
    mirror(&alpha, "early.git", &["--scope", "trusted"]);
    assert_eq!(tip(&early, "alpha/trusted"), tip(&ours, "alpha/trusted"));
    git(&early, &["merge-base", "--is-ancestor", &first, "alpha/trusted"]);
    let before = fs::read_dir(early.join("objects/pack")).unwrap().count();
    mirror(&alpha, "early.git", &["--scope", "trusted"]);
    assert_eq!(fs::read_dir(early.join("objects/pack")).unwrap().count(), before, "nothing new, nothing written");
    for repository in [&ours, &theirs, &early] {
        assert_sound(repository);
    }
    let shown = git(&ours, &["log", "-p", "--format=%aN %s"]);
    assert!(shown.contains("-  second line") && shown.contains("+  another second line"), "{shown}");
    assert!(shown.contains("alpha capture") && shown.contains("merge merge"), "{shown}");
    let file = git(&ours, &["grep", "-l", "a third", "alpha/trusted"]);
    let file = file.trim().strip_prefix("alpha/trusted:").unwrap();
    let blamed = git(&ours, &["blame", "alpha/trusted", "--", file]);
    assert!(blamed.contains("(alpha") && blamed.contains("another second line"), "{blamed}");
    // Only what was chosen, and by itself only what is public.
    assert!(!shown.contains("everybody may know"));
    let public = mirror(&alpha, "public.git", &[]);
    let shown = git(&public, &["log", "-p", "--all"]);
    assert!(shown.contains("everybody may know") && !shown.contains("second line"), "{shown}");
    let mirrored = alpha.wbsync(&["--json", "mirror", "--git", "none.git", "--dry-run"]).ok().json();
    assert!(mirrored["scopes"]["public"]["commits"].as_u64().unwrap() > 0 && !alpha.dir().join("none.git").exists());
}

#[test]
fn what_is_withdrawn_goes_from_the_files_and_with_a_rebuild_from_history() {
    let hub = Hub::new();
    let alpha = hub.instance("alpha");
    let id = alpha.insert_request(Some(App::ADMIN), "taken back", "public");
    alpha.insert_request(Some(App::ADMIN), "stays", "public");
    alpha.wbsync(&["sync"]).ok();
    let path = mirror(&alpha, "mirror.git", &[]);
    alpha.set_scope("help_requests", id, "private");
    alpha.wbsync(&["sync"]).ok();
    mirror(&alpha, "mirror.git", &[]);
    let files = |path: &Path| git(path, &["archive", "--format=tar", "alpha/public"]);
    assert!(files(&path).contains("stays") && !files(&path).contains("taken back"));
    assert!(git(&path, &["log", "-p"]).contains("taken back"), "git forgets nothing by itself");
    let updated = tip(&path, "alpha/public");
    mirror(&alpha, "mirror.git", &["--rebuild"]);
    assert!(files(&path).contains("stays") && !git(&path, &["log", "-p"]).contains("taken back"));
    assert_ne!(tip(&path, "alpha/public"), updated);
    let held = git(&path, &["cat-file", "--batch-all-objects", "--batch-check=%(objectname)"]);
    for blob in held.lines() {
        assert!(!git(&path, &["cat-file", "-p", blob]).contains("taken back"));
    }
    assert_sound(&path);
}

#[test]
fn only_an_empty_place_or_a_mirror_is_written_and_a_damaged_one_is_made_again() {
    let hub = Hub::new();
    let alpha = hub.instance("alpha");
    alpha.insert_request(Some(App::ADMIN), "a ladder", "public");
    alpha.wbsync(&["sync"]).ok();
    let photos = alpha.dir().join("photos");
    fs::create_dir(&photos).unwrap();
    fs::write(photos.join("cat.jpg"), "cat").unwrap();
    for options in [&[][..], &["--rebuild"]] {
        alpha.wbsync(&[&["mirror", "--git", "photos"], options].concat()).exits(1);
    }
    assert_eq!(fs::read_dir(&photos).unwrap().count(), 1);
    alpha.wbsync(&["mirror", "--git", "x.git", "--scope", "none"]).exits(1);
    let path = mirror(&alpha, "mirror.git", &[]);
    let before = tip(&path, "alpha/public");
    for file in fs::read_dir(path.join("objects/pack")).unwrap() {
        fs::remove_file(file.unwrap().path()).unwrap();
    }
    mirror(&alpha, "mirror.git", &[]);
    assert_eq!(tip(&path, "alpha/public"), before);
    assert_sound(&path);
    // What git packs anew, it goes on with.
    git(&path, &["gc", "-q", "--prune=now"]);
    alpha.insert_request(Some(App::ADMIN), "a second ladder", "public");
    alpha.wbsync(&["sync"]).ok();
    mirror(&alpha, "mirror.git", &[]);
    assert_eq!(git(&path, &["rev-list", "--count", "alpha/public"]), "2\n");
    assert_sound(&path);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
    }
}
