//! What must hold: nothing private anywhere it mustn't be, nothing lost, and after the trouble everybody holds the same.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use rusqlite::Connection;
use wbsync::changeset::seal;
use wbsync::exchange::head::Head;
use wbsync::exchange::health::Depth;
use wbsync::exchange::layout::StorePath;
use wbsync::sync::round::SyncSummary;
use wbsync::sync::status::explain;

use super::model::{At, Model};
use super::support::app::App;
use super::town::{GROUP_SCOPE, Player, Town};
use super::world::files_under;

const SHOWN_REQUESTS: &str = "sync_scope IN ('public', 'trusted', 'group:ring') AND status IN ('open', 'completed')";

/// How many rounds of exchanges are more than enough.
const ROUNDS_MAX: usize = 10;

/// Tells whether nothing came, nothing was new here, and nothing was sent.
fn has_rested(done: &SyncSummary) -> bool {
    let fetched = done.pull.fetched.remotes.values().all(|fetched| fetched.heads.is_empty() && fetched.held.is_empty());
    let merged = done.pull.merge.applied.is_empty() && done.pull.merge.merged.is_empty();
    let pushed = done.pushed.remotes.values().all(|pushed| pushed.published.is_empty() && pushed.heads == 0);
    fetched && merged && pushed && done.pull.committed.scopes.is_empty() && done.again.is_empty()
}

/// What a row of the application says, and for whom.
pub struct Shown {
    texts: String,
    contact: String,
    scope: String,
    is_open: bool,
    user: String,
}

/// Lists what the rows of an application say.
pub fn shown_rows(app: &App) -> Vec<Shown> {
    let db = app.db();
    let sql = "SELECT coalesce(r.title, '') || ' ' || r.description, coalesce(r.contact_email, ''), r.sync_scope,
            r.status IN ('open', 'completed'), u.username
          FROM help_requests r JOIN users u ON u.id = r.created_by_user_id
        UNION ALL
        -- Comments are made for everybody; they are for those who read the request.
        SELECT c.body, '', r.sync_scope, r.status IN ('open', 'completed') AND c.deleted_at IS NULL, o.username
          FROM request_comments c JOIN help_requests r ON r.id = c.help_request_id
          JOIN users o ON o.id = r.created_by_user_id";
    let mut select = db.prepare(sql).unwrap();
    let read = |row: &rusqlite::Row<'_>| {
        let (texts, contact, scope, is_open, user) = (row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?);
        Ok(Shown { texts, contact, scope, is_open, user })
    };
    select.query_map([], read).unwrap().map(Result::unwrap).collect()
}

impl Town {
    /// Notes for whom the texts in a site's application are meant now.
    pub fn note_audiences(&mut self, at: At) {
        let rows = shown_rows(&self.players[at].site.app);
        self.note_shown(at, rows);
    }

    /// The same of rows as they were at some time.
    pub fn note_shown(&mut self, at: At, rows: Vec<Shown>) {
        for Shown { texts, contact, scope, is_open, user } in rows {
            let Some(origin) = self.origin_of(&user).filter(|_| is_open) else { continue };
            let Some(audience) = self.audience(origin, at, &scope) else { continue };
            // Of what others typed they know themselves, and the origin, for whom it is.
            let is_known = |text: &String| origin == at || self.model.author[text] == at;
            let known =
                |texts: &str| -> Vec<String> { Model::find(texts.as_bytes()).into_iter().filter(is_known).collect() };
            let (known_texts, known_contact) = (known(&texts), known(&contact));
            self.note_audience(&known_texts, &audience);
            let scope = ["trusted", GROUP_SCOPE].into_iter().find(|known| *known == scope);
            if let Some(scope) = scope {
                self.model.meant.entry((origin, scope)).or_default().extend(Model::find(texts.as_bytes()));
            }
            // An address is for trusted readers at most; what is for the group isn't for those.
            if scope != Some(GROUP_SCOPE) {
                let trusted = self.audience(origin, at, "trusted").unwrap();
                self.note_audience(&known_contact, &audience.intersection(&trusted).copied().collect());
                self.model.meant.entry((origin, "trusted")).or_default().extend(Model::find(contact.as_bytes()));
            }
        }
    }

    /// Returns who may read a row of a site's in a scope, as another site knows it.
    fn audience(&self, origin: At, at: At, scope: &str) -> Option<BTreeSet<At>> {
        let player = &self.players[origin];
        let mut audience = match scope {
            "public" => self.sites().collect(),
            // Whoever isn't the origin may not know yet that a reader was revoked.
            _ if origin != at => player.ever.get(scope).cloned().unwrap_or_default(),
            "trusted" => player.readers.clone(),
            GROUP_SCOPE => player.group.clone().unwrap_or_default(),
            _ => return None,
        };
        audience.insert(origin);
        Some(audience)
    }

    fn note_audience(&mut self, texts: &[String], audience: &BTreeSet<At>) {
        for text in texts {
            self.model.allowed.get_mut(text).unwrap().extend(audience.iter().copied());
        }
    }

    /// No head that a site tracks ever goes back.
    pub fn check_marks(&mut self, at: At) {
        let state = Connection::open(self.players[at].site.app.dir().join(".wbsync/state.db")).unwrap();
        let mut select = state.prepare("SELECT scope, signer, incarnation, seq FROM head").unwrap();
        let found = select.query_map([], |row| Ok(((row.get(0)?, row.get(1)?), (row.get(2)?, row.get(3)?)))).unwrap();
        for (head, mark) in found.map(Result::unwrap) {
            let before = self.players[at].marks.insert(head, mark);
            assert!(
                before.is_none_or(|before| before <= mark),
                "{} went back from {before:?} to {mark:?}",
                self.name(at)
            );
        }
    }

    /// No head in a store that doesn't lie ever goes back, whatever arrives late or twice.
    pub fn check_stores(&mut self) {
        for place in self.places.iter_mut().filter(|place| !place.lies && place.store().exists()) {
            for file in files_under(&place.store()) {
                let Ok(StorePath::Head(_, signer)) = file.parse() else { continue };
                let bytes = fs::read(place.store().join(&file)).unwrap();
                let (head, _) = Head::open(&bytes, &signer).unwrap();
                let mark = (head.incarnation, head.seq);
                let before = place.marks.insert(file.clone(), mark);
                assert!(before.is_none_or(|before| before <= mark), "{file} went back from {before:?} to {mark:?}");
            }
        }
    }

    /// After the trouble: stores tell the truth again, clocks are right, and everybody exchanges until nothing moves.
    pub fn heal(&mut self) {
        self.is_calm = true;
        self.machine.restart();
        self.check_stores();
        self.machine.deliver();
        self.check_stores();
        self.end_lies();
        for at in self.sites() {
            self.players[at].skew = 0;
            if self.players[at].is_behind {
                self.restore(at);
            }
        }
        self.settle("heals");
        if self.outcome.prunes > 0 {
            for at in self.sites() {
                self.undo_prune(at);
            }
            self.settle("settles");
        }
    }

    /// Lets everybody exchange until nothing moves: nobody echoes, publishes or waits.
    fn settle(&mut self, what: &str) {
        let mut last = String::new();
        for round in 0..ROUNDS_MAX {
            let mut has_moved = false;
            for at in self.sites() {
                if self.players[at].is_behind {
                    self.restore(at);
                    has_moved = true;
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
                    self.tell(at, &format!("{what}: {done:?}"));
                }
                // Who was put back learns from others what it had published.
                assert!(wrong.is_empty() || round < 3, "{} in round {round}: {wrong:?}", self.name(at));
                if !done.as_ref().is_ok_and(has_rested) || !wrong.is_empty() {
                    has_moved = true;
                    last = format!("{}: {done:?}", self.name(at));
                }
            }
            if !has_moved {
                return;
            }
        }
        panic!("after {ROUNDS_MAX} rounds something still moves, at {last}");
    }

    /// Asserts everything.
    pub fn check(&mut self) {
        self.outcome.texts = self.model.texts();
        for at in self.sites() {
            self.check_whole(at);
            self.check_private(at);
            if self.seed.is_multiple_of(16) {
                self.check_sealed(at);
            }
        }
        self.check_equal();
        self.check_nothing_lost();
    }

    /// A site is whole, and accuses nobody.
    fn check_whole(&mut self, at: At) {
        let name = self.name(at);
        self.players[at].site.app.assert_whole();
        let (report, forks) = self
            .with(at, |instance| Ok((instance.fsck(Depth::Contents)?, format!("{:?}", instance.fork_proofs(None)?))))
            .unwrap()
            .unwrap();
        assert!(!report.is_damaged(), "{name} is damaged: {report:?}");
        assert_eq!(forks, "[]", "{name} accuses somebody who signed one history");
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
            if !place.store().exists() {
                continue;
            }
            for file in files_under(&place.store()) {
                let found = Model::find(&fs::read(place.store().join(&file)).unwrap());
                assert!(found.is_empty(), "{file} of a store says {found:?}");
            }
        }
    }

    /// No key that a site has opens an object in any store that holds a text that isn't for it.
    fn check_sealed(&self, at: At) {
        let instance = self.players[at].site.open();
        let mut keys = Vec::new();
        for row in instance.state.scopes().unwrap() {
            keys.extend(
                instance.open_scope(row).unwrap().into_iter().flat_map(|scope| scope.keys.epochs.into_values()),
            );
        }
        for place in self.places.iter().filter(|place| place.store().exists()) {
            let objects = place.store().join("objects");
            for path in files_under(&objects) {
                let bytes = fs::read(objects.join(&path)).unwrap();
                let id = seal::id_of(&bytes);
                let Some(plain) = keys.iter().find_map(|key| seal::open(&id, &bytes, key).ok()) else { continue };
                let leaked = Model::find(&plain).into_iter().find(|text| !self.model.allowed[text].contains(&at));
                assert_eq!(leaked, None, "{} can open it in {path}", self.name(at));
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
            let status = instance.status().unwrap();
            let own_ways: Vec<&str> =
                status.scopes.iter().filter(|scope| scope.local_edits).map(|scope| scope.scope.as_str()).collect();
            let mut scopes = BTreeSet::new();
            for (scope, head) in mine {
                let row = instance.state.scopes().unwrap().into_iter().find(|row| row.id.to_string() == scope).unwrap();
                let origin = ids.iter().position(|id| *id == row.origin).unwrap();
                // Who was revoked keeps what it had of what it may read no more.
                let player = &self.players[origin];
                let is_lost = player.lost.iter().any(|(peer, scope)| *peer == at && *scope == row.name.as_str());
                // What a writer wrote when it no longer might stays where it is, and `status` says so.
                let is_own_way = player.lost.contains(&(at, "trusted"))
                    && own_ways.contains(&format!("{}/{}", self.name(origin), row.name).as_str());
                if is_lost || is_own_way || player.revoked.contains(&at) || self.players[at].revoked.contains(&origin) {
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
        // What is for trusted readers at most is for nobody where the row is for a group: it stays where it was written.
        let contact = "iif(sync_scope = 'group:ring', NULL, contact_email)";
        let columns = ["title", "description", contact, "status", "completed_at", "sync_scope"];
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
            // What was written into a record before its writer heard that it had left is kept for its owner.
            let late = self.players[at].site.open().late_edits(None).unwrap();
            findable.extend(late.iter().flat_map(|late| Model::find(late.value.to_string().as_bytes())));
        }
        for (text, (record, parent)) in &self.model.committed {
            let withdrawn = |record: &String| self.model.withdrawn.contains(record);
            let under_gone =
                parent.as_ref().is_some_and(|parent| withdrawn(parent) || self.model.deleted.contains(parent));
            let accounted = self.model.replaced.contains(text) || withdrawn(record) || under_gone;
            // What a revoked peer wrote elsewhere may be turned away.
            let author = self.model.author[text];
            let lost = |player: &Player| player.lost.iter().any(|(peer, _)| *peer == author);
            let by_revoked = self.players.iter().any(|player| player.revoked.contains(&author) || lost(player));
            assert!(accounted || by_revoked || findable.contains(text), "{text} of {record} is lost");
        }
    }
}
