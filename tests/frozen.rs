//! What a format's first version wrote opens for ever: the frozen store, its bundles, its git repository and its proofs, by the program as
//! people use it. What fixtures/frozen holds is only ever read. `tests/reader` opens the same without our code.

#![allow(unreachable_pub, clippy::unwrap_used, clippy::print_stderr, reason = "a test binary has no outside")]

#[path = "support/mod.rs"]
mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use support::app::App;
use support::run::{Run, wbsync};
use walkdir::WalkDir;

fn frozen() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/frozen/1")
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// A copy of the store that may be written to.
fn store() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let root = frozen().join("store");
    for entry in WalkDir::new(&root) {
        let path = entry.unwrap().into_path();
        let copy = dir.path().join("store").join(path.strip_prefix(&root).unwrap());
        if path.is_dir() {
            fs::create_dir_all(copy).unwrap();
        } else {
            fs::copy(&path, copy).unwrap();
        }
    }
    let store = dir.path().join("store");
    (dir, store)
}

/// The rows that everybody, or beta, was shown when the store was frozen.
fn shown(file: &str, only: Option<&str>) -> Vec<String> {
    let text = fs::read_to_string(frozen().join(file)).unwrap();
    let rows = text.lines().filter(|row| only.is_none_or(|scope| row.ends_with(&format!("|{scope}"))));
    sorted(rows.map(str::to_owned).collect())
}

fn sorted(mut rows: Vec<String>) -> Vec<String> {
    rows.sort();
    rows
}

fn rows(app: &App, sql: &str) -> Vec<String> {
    let db = app.db();
    let mut statement = db.prepare(sql).unwrap();
    let columns = statement.column_count();
    let row = |row: &rusqlite::Row<'_>| {
        let cells = (0..columns).map(|at| row.get::<_, Option<String>>(at).map(Option::unwrap_or_default));
        Ok(cells.collect::<Result<Vec<_>, _>>()?.join("|"))
    };
    sorted(statement.query_map([], row).unwrap().map(Result::unwrap).collect())
}

const REQUESTS: &str = "SELECT title, description, status, created_at, completed_at, contact_email, sync_scope FROM help_requests \
                        WHERE sync_scope <> 'private'";
const COMMENTS: &str =
    "SELECT body, created_at, deleted_at, sync_scope FROM request_comments WHERE sync_scope <> 'private'";

fn done(run: Run) -> Run {
    assert!([0, 3].contains(&run.code), "{run}");
    run
}

/// Somebody new sees what is public.
#[test]
fn it_is_cloned() {
    let app = App::new();
    done(app.wbsync(&["clone", text(&frozen().join("store")), ".", "--preset", "whiteballoon", "--name", "gamma"]));
    assert_eq!(rows(&app, COMMENTS), shown("comments.txt", Some("public")));
    let requests = rows(&app, REQUESTS);
    assert_eq!(requests.len(), shown("requests.txt", Some("public")).len());
    // Its address is for those who are trusted.
    let wanted = shown("requests.txt", Some("public")).into_iter().map(|row| row.replace("|door@example.org|", "||"));
    assert_eq!(requests, sorted(wanted.collect()));
    app.wbsync(&["fsck"]).ok();
    app.wbsync(&["bundle", "verify", text(&frozen().join("all.tar"))]).ok();
    let parts: Vec<String> = (1..=6).map(|part| text(&frozen().join(format!("split.tar.{part}"))).to_owned()).collect();
    app.wbsync(&[vec!["bundle", "verify"], parts.iter().map(String::as_str).collect()].concat()).ok();
    done(app.wbsync(&["bundle", "apply", text(&frozen().join("all.tar"))]));
    app.wbsync(&["bundle", "verify", text(&frozen().join("sealed.tar.age"))]).exits(5);
}

/// Beta's operator finds the printed keys, and has everything again: all scopes, all epochs, its own writes in alpha's scopes.
#[test]
fn it_is_restored() {
    let (_dir, store) = store();
    let app = App::new();
    let passphrase = frozen().with_file_name("passphrase");
    let identity = frozen().join("beta.identity");
    let keys = ["--identity", text(&identity), "--passphrase-file", text(&passphrase)];
    let options = ["--db", "sqlite:///data/app.db", "--preset", "whiteballoon", "--prepare"];
    app.wbsync(&[&["restore"], &keys[..], &options[..]].concat()).ok();
    let config = app.dir().join("wbsync.toml");
    let overlay = "\n[dataset.requests.fields.contact_email]\nscope = \"trusted\"\n";
    fs::write(&config, fs::read_to_string(&config).unwrap() + overlay).unwrap();
    for peer in ["alpha", "delta"] {
        app.wbsync(&["peer", "add", text(&frozen().join(peer).with_extension("card"))]).ok();
    }
    app.wbsync(&["peer", "trust", "alpha", "--write"]).ok();
    for peer in ["alpha", "delta"] {
        app.wbsync(&["follow", peer]).ok();
    }
    let restored = done(app.wbsync(&["restore", text(&store)]));
    assert!(!restored.stderr.contains("refused"), "{restored}");
    assert_eq!(rows(&app, COMMENTS), shown("comments.txt", None));
    assert_eq!(rows(&app, REQUESTS), shown("requests.txt", None));
    app.wbsync(&["fsck"]).ok();
    app.wbsync(&["bundle", "verify", text(&frozen().join("sealed.tar.age"))]).ok();
    done(app.wbsync(&["bundle", "apply", text(&frozen().join("sealed.tar.age"))]));
    assert_eq!(rows(&app, REQUESTS), shown("requests.txt", None));
    done(app.wbsync(&["sync"]));
}

/// The git repository holds the same.
#[cfg(feature = "git")]
#[test]
fn its_git_repository_is_cloned() {
    let dir = tempfile::tempdir().unwrap();
    let bare = dir.path().join("store.git");
    let git = Command::new("git")
        .args(["clone", "--quiet", "--mirror"])
        .arg(frozen().join("store.gitbundle"))
        .arg(&bare)
        .status();
    match git {
        Ok(status) => assert!(status.success()),
        Err(error) => return eprintln!("SKIPPED: git can't be run: {error}"),
    }
    let app = App::new();
    let url = format!("git+file://{}", bare.display());
    done(app.wbsync(&["clone", &url, ".", "--preset", "whiteballoon", "--name", "gamma"]));
    assert_eq!(rows(&app, COMMENTS), shown("comments.txt", Some("public")));
}

#[test]
fn its_proofs_hold() {
    let elsewhere = tempfile::tempdir().unwrap();
    let card = frozen().join("alpha.card");
    let verify = |file: &str, more: &[&str]| {
        let proof = frozen().join(file);
        let arguments = ["verify-proof", text(&proof), "--origin", text(&card), "--json"];
        wbsync(elsewhere.path(), &[&arguments, more].concat()).ok().json()
    };
    let present = verify("present.proof", &[]);
    assert_eq!(present["record"].as_str(), Some(fs::read_to_string(frozen().join("proven")).unwrap().trim()));
    assert_eq!(present["present"], true);
    assert_eq!(verify("absent.proof", &["--absent"])["present"], false);
}
