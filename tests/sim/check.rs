//! What must hold: nothing private anywhere it mustn't be, nothing lost, and after the trouble everybody holds the same.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use wbsync::exchange::health::Depth;
use wbsync::sync::status::explain;
use wbsync::transport::dir::DirStore;

use super::model::{At, Model};
use super::town::Town;
use super::world::files_under;

const SHOWN_REQUESTS: &str = "sync_scope IN ('public', 'trusted') AND status IN ('open', 'completed')";

impl Town {
    /// Notes for whom the texts in a site's application are meant now.
    pub fn note_audiences(&mut self, at: At) {
        let db = self.players[at].site.app.db();
        let rows = "SELECT coalesce(r.title, '') || ' ' || r.description, r.sync_scope, r.status IN ('open', 'completed'), u.username
              FROM help_requests r JOIN users u ON u.id = r.created_by_user_id
            UNION ALL
            -- Comments are made for everybody; they are for those who read the request.
            SELECT c.body, r.sync_scope, r.status IN ('open', 'completed') AND c.deleted_at IS NULL, o.username
              FROM request_comments c JOIN help_requests r ON r.id = c.help_request_id
              JOIN users o ON o.id = r.created_by_user_id";
        let mut select = db.prepare(rows).unwrap();
        let rows = select.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))).unwrap();
        let rows: Vec<(String, String, bool, String)> = rows.map(Result::unwrap).collect();
        drop(select);
        for (texts, scope, is_open, user) in rows {
            let Some(origin) = self.origin_of(&user).filter(|_| is_open) else { continue };
            let mut audience: BTreeSet<At> = match scope.as_str() {
                "public" => self.sites().collect(),
                // Whoever isn't the origin may not know yet that a reader was revoked.
                "trusted" if origin != at => self.players[origin].ever.clone(),
                "trusted" => self.players[origin].readers.clone(),
                _ => continue,
            };
            audience.insert(origin);
            for text in Model::find(texts.as_bytes()) {
                if scope == "trusted" {
                    self.model.trusted.entry(origin).or_default().insert(text.clone());
                }
                self.model.allowed.get_mut(&text).unwrap().extend(audience.iter().copied());
            }
        }
    }

    /// After the trouble: stores tell the truth again, clocks are right, and everybody exchanges until nothing moves.
    pub fn heal(&mut self) {
        self.machine.restart();
        for which in 0..self.places.len() {
            if self.places[which].lies {
                self.tell(0, &format!("store {which} begins anew"));
                // An empty store: a directory that isn't there is a stick that nobody put in.
                let dir = self.places[which].dir.path().join("wb");
                let _ = fs::remove_dir_all(&dir);
                DirStore::create(&dir).unwrap();
            }
        }
        for round in 0..8 {
            for at in self.sites() {
                self.players[at].skew = 0;
                if self.players[at].is_behind {
                    self.restore(at);
                    continue;
                }
                let remotes = self.remotes(at);
                let done = self.with(at, |instance| instance.sync(&remotes)).expect("no power cut");
                let wrong = match &done {
                    Ok(done) => done
                        .pull
                        .fetched
                        .failed
                        .iter()
                        .chain(&done.pushed.failed)
                        .map(|(remote, error)| format!("{remote}: {}", explain(error)))
                        .collect(),
                    Err(error) => vec![explain(error)],
                };
                if self.tells && round < 3 {
                    self.tell(at, &format!("heals: {done:?}"));
                }
                // Who was put back learns from others what it had published.
                assert!(wrong.is_empty() || round < 3, "{} in round {round}: {wrong:?}", self.name(at));
                self.note_committed(at);
            }
        }
    }

    /// Asserts everything.
    pub fn check(&mut self) {
        self.outcome.texts = self.model.texts();
        for at in self.sites() {
            self.check_rests(at);
            self.check_private(at);
        }
        self.check_equal();
        self.check_nothing_lost();
    }

    /// A site is whole, has nothing to do any more, and doesn't echo.
    fn check_rests(&mut self, at: At) {
        let name = self.name(at);
        self.players[at].site.app.assert_whole();
        let remotes = self.remotes(at);
        let done = self.with(at, |instance| instance.sync(&remotes)).unwrap().unwrap();
        assert!(done.pull.committed.scopes.is_empty(), "{name} echoes: {done:?}");
        assert!(
            done.pull.merge.applied.is_empty() && done.pull.merge.merged.is_empty(),
            "{name} is not at rest: {done:?}"
        );
        assert!(
            done.pushed.remotes.values().all(|pushed| pushed.published.is_empty()),
            "{name} still publishes: {done:?}"
        );
        for fetched in done.pull.fetched.remotes.values() {
            assert!(fetched.held.is_empty(), "{name} still waits: {fetched:?}");
        }
        let report = self.with(at, |instance| instance.fsck(Depth::Contents)).unwrap().unwrap();
        assert!(!report.is_damaged(), "{name} is damaged: {report:?}");
    }

    /// A site has no text that it may not have, and no store has any.
    fn check_private(&self, at: At) {
        let dir = self.players[at].site.app.dir();
        let mut found = self.texts_held(at);
        for file in files_under(dir) {
            found.extend(Model::find(&fs::read(dir.join(file)).unwrap()));
        }
        let leaked: Vec<_> = found.iter().filter(|text| !self.model.allowed[*text].contains(&at)).collect();
        assert!(leaked.is_empty(), "{} has {leaked:?}, which are not for it", self.name(at));
        for place in &self.places {
            for file in files_under(place.dir.path()) {
                let found = Model::find(&fs::read(place.dir.path().join(&file)).unwrap());
                assert!(found.is_empty(), "{file} of a store says {found:?}");
            }
        }
    }

    /// Whoever reads a scope holds the same of it, and whoever reads the same scopes shows the same.
    fn check_equal(&self) {
        let mut heads: BTreeMap<String, (At, String)> = BTreeMap::new();
        let mut shown: BTreeMap<BTreeSet<String>, (At, String)> = BTreeMap::new();
        let ids: Vec<_> = self.players.iter().map(|player| player.site.open().id()).collect();
        for at in self.sites() {
            let mine = self.players[at].site.local_heads();
            let instance = self.players[at].site.open();
            let mut scopes = BTreeSet::new();
            for (scope, head) in mine {
                let row = instance.state.scopes().unwrap().into_iter().find(|row| row.id.to_string() == scope).unwrap();
                let origin = ids.iter().position(|id| *id == row.origin).unwrap();
                // Who was revoked keeps what it had of what it may read no more.
                if self.players[origin].revoked.contains(&at) || self.players[at].revoked.contains(&origin) {
                    continue;
                }
                let label = format!("{} of {}", row.name, self.name(origin));
                if let Some((other, theirs)) = heads.get(&scope) {
                    assert_eq!(
                        theirs,
                        &head,
                        "{label}: {} does not hold what {} holds",
                        self.name(at),
                        self.name(*other)
                    );
                } else {
                    heads.insert(scope.clone(), (at, head));
                }
                scopes.insert(scope);
            }
            drop(instance);
            if self.outcome.revoked > 0 {
                continue;
            }
            let rows = self.shown(at);
            if let Some((other, theirs)) = shown.get(&scopes) {
                assert_eq!(theirs, &rows, "{} does not show what {} shows", self.name(at), self.name(*other));
            } else {
                shown.insert(scopes, (at, rows));
            }
        }
    }

    /// What the people of a site read of what is shared, by text alone.
    fn shown(&self, at: At) -> String {
        let app = &self.players[at].site.app;
        let requests = format!("(SELECT * FROM help_requests WHERE {SHOWN_REQUESTS})");
        let comments = format!(
            "(SELECT c.body, r.title FROM request_comments c JOIN {requests} r ON r.id = c.help_request_id
              WHERE c.deleted_at IS NULL AND c.sync_scope <> 'private')"
        );
        let columns = ["title", "description", "status", "completed_at", "sync_scope"];
        app.dump_columns(&requests, &columns)
            + &app.dump_columns(&comments, &["body", "title"])
            + &app.dump_columns("(SELECT * FROM users WHERE sync_scope = 'public')", &["username"])
    }

    fn check_nothing_lost(&self) {
        let mut findable = BTreeSet::new();
        for at in self.sites() {
            let app = &self.players[at].site.app;
            findable.extend(Model::find((app.dump("help_requests") + &app.dump("request_comments")).as_bytes()));
            findable.extend(self.texts_held(at));
        }
        for (text, (record, parent)) in &self.model.committed {
            let withdrawn = |record: &String| self.model.withdrawn.contains(record);
            let under_gone =
                parent.as_ref().is_some_and(|parent| withdrawn(parent) || self.model.deleted.contains(parent));
            let accounted = self.model.replaced.contains(text) || withdrawn(record) || under_gone;
            // What a revoked peer wrote elsewhere may be turned away.
            let by_revoked = self.players.iter().any(|player| player.revoked.contains(&self.model.author[text]));
            assert!(accounted || by_revoked || findable.contains(text), "{text} of {record} is lost");
        }
    }
}
