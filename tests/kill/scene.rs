//! Two installations full of rows that know each other and share a store, and how all of it is put back as it was.

use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;
use wbsync::testing::whiteballoon::seed::Seed;

use crate::support::app::App;

/// Two installations and the directory that they meet in.
pub struct Scene {
    pub alpha: App,
    pub beta: App,
    pub stick: TempDir,
}

/// A scene as it was once.
pub struct Saved([TempDir; 3]);

impl Scene {
    /// Makes both with `records` rows each; each is a writer of the other's scopes. Nothing is exchanged yet.
    pub fn new(records: u64) -> Self {
        let seeded =
            |seed, prefix: &str| App::seeded(&Seed { username_prefix: prefix.into(), ..Seed::new(records, seed) });
        let scene = Self { alpha: seeded(1, "a-"), beta: seeded(2, "b-"), stick: tempfile::tempdir().unwrap() };
        for (app, name) in [(&scene.alpha, "alpha"), (&scene.beta, "beta")] {
            app.wbsync(&["init", "--preset", "whiteballoon", "--name", name]).ok();
        }
        for (app, other, name) in [(&scene.alpha, &scene.beta, "beta"), (&scene.beta, &scene.alpha, "alpha")] {
            let card = other.wbsync(&["id"]).ok().stdout;
            app.wbsync(&["peer", "add", card.trim()]).ok();
            app.wbsync(&["peer", "trust", name, "--write"]).ok();
            app.wbsync(&["follow", name]).ok();
            app.wbsync(&["remote", "add", "stick", scene.store().to_str().unwrap()]).ok();
        }
        scene
    }

    /// Returns the shared store.
    pub fn store(&self) -> PathBuf {
        self.stick.path().join("store")
    }

    /// Exchanges until both sides have everything.
    pub fn settle(&self) {
        for app in [&self.alpha, &self.beta, &self.alpha] {
            app.wbsync(&["sync"]).ok();
        }
    }

    /// Edits rows of both sides on both sides, each with `mark` in it; no field is edited twice.
    pub fn edit(&self, mark: &str) {
        for (app, side) in [(&self.alpha, 0), (&self.beta, 1)] {
            let db = app.db();
            let name = if side == 0 { "alpha" } else { "beta" };
            let comments = "UPDATE request_comments SET body = body || ?1 WHERE substr(created_at, -3) % 8 = ?2 AND deleted_at IS NULL";
            assert!(db.execute(comments, rusqlite::params![format!(" [{mark} {name}]"), side]).unwrap() > 10);
            let requests = "UPDATE help_requests SET title = coalesce(title, '') || ?1 \
                WHERE substr(created_at, -3) % 4 = ?2 AND status IN ('open', 'completed')";
            db.execute(requests, rusqlite::params![format!(" [{mark} {name}]"), side]).unwrap();
            let open =
                "SELECT id FROM help_requests WHERE sync_scope = 'public' AND status = 'open' ORDER BY id LIMIT 1";
            let request: i64 = db.query_row(open, [], |row| row.get(0)).unwrap();
            drop(db);
            for number in 0..40 {
                let author = App::ADMIN;
                app.insert_comment(request, author, &format!("new {mark} {name} {number}"), "public");
            }
            let gone = format!("new {mark} {name} 7");
            app.execute("DELETE FROM request_comments WHERE body = ?1", &[&gone]);
        }
    }

    pub fn save(&self) -> Saved {
        Saved(self.dirs().map(|dir| {
            let saved = tempfile::tempdir().unwrap();
            copy_tree(dir, saved.path());
            saved
        }))
    }

    pub fn restore(&self, saved: &Saved) {
        for (dir, saved) in self.dirs().into_iter().zip(&saved.0) {
            replace_tree(saved.path(), dir);
        }
    }

    fn dirs(&self) -> [&Path; 3] {
        [self.alpha.dir(), self.beta.dir(), self.stick.path()]
    }
}

/// Returns what people see, without keys; equal if nothing is lost, doubled or changed.
pub fn content(app: &App) -> String {
    // A placeholder's name comes from its random id.
    let name = |alias: &str| {
        format!("CASE WHEN {alias}.username GLOB '[ab]-*' OR {alias}.username = 'admin' THEN {alias}.username END")
    };
    let (author, author2) = (name("u"), name("s"));
    let requests = "help_requests r LEFT JOIN users u ON u.id = r.created_by_user_id";
    let comments =
        "request_comments c JOIN help_requests r ON r.id = c.help_request_id JOIN users u ON u.id = c.user_id";
    let vouches = "vouches v JOIN users u ON u.id = v.voucher_user_id JOIN users s ON s.id = v.subject_user_id";
    let queries: [(&str, &[&str]); 6] = [
        ("users u", &[&author, "u.is_admin", "u.contact_email", "u.sync_scope"]),
        (
            requests,
            &[
                "r.title",
                "r.description",
                "r.status",
                "r.created_at",
                "r.updated_at",
                "r.completed_at",
                "r.sync_scope",
                &author,
            ],
        ),
        (
            comments,
            &["c.body", "c.created_at", "c.deleted_at", "c.sync_scope", "r.description", "r.created_at", &author],
        ),
        (vouches, &[&author, &author2, "v.created_at"]),
        ("user_attributes a JOIN users u ON u.id = a.user_id", &["a.\"key\"", "a.value", "a.updated_at", &author]),
        ("invite_tokens i", &["i.token", "i.use_count", "i.sync_scope"]),
    ];
    queries.iter().map(|(from, columns)| format!("-- {from}\n{}", app.dump_columns(from, columns))).collect()
}

/// Asserts that two contents are equal, and shows the first lines that differ.
#[track_caller]
pub fn assert_same(found: &str, expected: &str, label: &str) {
    if found == expected {
        return;
    }
    let (found, expected): (Vec<_>, Vec<_>) = (found.lines().collect(), expected.lines().collect());
    let only = |these: &[&str], those: &[&str]| -> String {
        let those: std::collections::BTreeSet<_> = those.iter().collect();
        these.iter().filter(|line| !those.contains(line)).take(5).map(|line| format!("  {line:.300}\n")).collect()
    };
    panic!(
        "{label}: {} lines, expected {}\nonly found:\n{}only expected:\n{}",
        found.len(),
        expected.len(),
        only(&found, &expected),
        only(&expected, &found)
    );
}

/// Makes `to` a copy of `from`.
pub fn replace_tree(from: &Path, to: &Path) {
    for entry in fs::read_dir(to).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) }.unwrap();
    }
    copy_tree(from, to);
}

/// Copies what is in a directory into another.
pub fn copy_tree(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_tree(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}
