//! Two installations that know each other, and a directory to meet in.

#![allow(clippy::unwrap_used)]

use tempfile::TempDir;

use super::app::App;

/// Two installations, `alpha` and `beta`, and a directory to meet in.
pub struct Pair {
    pub alpha: App,
    pub beta: App,
    pub stick: TempDir,
}

impl Pair {
    /// Makes both, each with a public alice and her public request; they know, trust and follow each other.
    pub fn new() -> Self {
        let pair = Self::strangers();
        let (alpha, beta) = (&pair.alpha, &pair.beta);
        for (app, other) in [(alpha, beta), (beta, alpha)] {
            let card = other.wbsync(&["id"]).ok().stdout;
            let name = if std::ptr::eq(other, beta) { "beta" } else { "alpha" };
            app.wbsync(&["peer", "add", card.trim()]).ok();
            app.wbsync(&["peer", "trust", name, "--write"]).ok();
            app.wbsync(&["follow", name]).ok();
            app.wbsync(&["remote", "add", "stick", &pair.store()]).ok();
        }
        pair
    }

    /// Makes both as instances that have never heard of each other.
    pub fn strangers() -> Self {
        let pair = Self { alpha: App::new(), beta: App::new(), stick: tempfile::tempdir().unwrap() };
        for (app, name, text) in [(&pair.alpha, "alpha", "a ladder, please"), (&pair.beta, "beta", "soup on Friday")] {
            let alice = app.insert_user("alice", "public");
            app.insert_request(Some(alice), text, "public");
            app.insert_request(Some(alice), "nobody's business", "private");
            app.wbsync(&["init", "--preset", "whiteballoon", "--name", name]).ok();
        }
        pair
    }

    /// Returns the path of the store to meet in.
    pub fn store(&self) -> String {
        self.stick.path().join("store").to_str().unwrap().to_owned()
    }

    /// Syncs until both hold what both have.
    pub fn sync(&self) {
        for app in [&self.alpha, &self.beta, &self.alpha] {
            let run = app.wbsync(&["sync"]);
            assert!([0, 3].contains(&run.code), "{run}");
        }
    }

    /// Makes a conflict: both edit the description of alpha's request. It is open at both afterwards.
    pub fn disagree(&self) {
        self.sync();
        self.beta
            .execute("UPDATE help_requests SET description = 'from beta' WHERE description = 'a ladder, please'", &[]);
        self.alpha
            .execute("UPDATE help_requests SET description = 'from alpha' WHERE description = 'a ladder, please'", &[]);
        self.beta.wbsync(&["sync"]).ok();
        self.alpha.wbsync(&["sync"]).exits(3);
        self.beta.wbsync(&["sync"]).exits(3);
    }
}
