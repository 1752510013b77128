//! Whatever question to the server is the last: the next run completes, and rows and bookkeeping agree.
//!
//! Each deed is begun over a wire that is cut at one of its questions, before the server heard it or after it did what it was
//! told; or an administrator ends the session; or the server crashes. Then it is done again. `WBSYNC_STRIDE=1` takes every question.

use std::collections::BTreeSet;
use std::sync::Arc;

use wbsync::connector::capturing::{Capturing, TriggerChange};
use wbsync::connector::contract::{Change, Connector, Sighting};
use wbsync::connector::error::Error;
use wbsync::connector::sql::connector::SqlConnector;

use super::database::{Database, NOTHING_LEFT};
use super::harness::*;
use super::support::pgwire::{Fault, Wire};
use super::support::postgres::{Cluster, connect};
use super::together::{picture, record, site};

/// Something that can be interrupted and is done again.
struct Deed {
    name: &'static str,
    capturing: Capturing,
    prepare: fn(&mut App),
    act: fn(&mut SqlConnector, &mut Vec<Sighting>) -> Result<(), Error>,
}

const DEEDS: [Deed; 5] = [
    Deed { name: "capture", capturing: Capturing::Scan, prepare: edited, act: capture },
    Deed { name: "capture by triggers", capturing: Capturing::Triggers, prepare: edited_watched, act: capture },
    Deed { name: "apply", capturing: Capturing::Scan, prepare: arrived, act: apply },
    Deed { name: "install", capturing: Capturing::Scan, prepare: settled, act: install },
    Deed { name: "uninstall", capturing: Capturing::Scan, prepare: watched, act: uninstall },
];

fn settled(app: &mut App) {
    let ann = app.user("ann", "public");
    let bike = app.request("bike", Some(ann), "public");
    app.comment(bike, ann, "mine?", "public");
    app.settle();
}

fn watched(app: &mut App) {
    settled(app);
    app.sync.change_triggers(TriggerChange::Install).unwrap();
    app.capturing = Capturing::Triggers;
    app.reopen();
    app.settle();
}

fn edit(app: &App) {
    let bob = app.user("bob", "public");
    for number in 0..9 {
        app.request(&format!("new {number}"), Some(bob), "public");
    }
    app.sql("UPDATE help_requests SET title = 'car' WHERE title = 'bike'; DELETE FROM request_comments");
    app.sql("UPDATE users SET sync_scope = 'trusted' WHERE username = 'ann'");
}

fn edited(app: &mut App) {
    settled(app);
    edit(app);
}

fn edited_watched(app: &mut App) {
    watched(app);
    edit(app);
}

fn arrived(app: &mut App) {
    settled(app);
    app.apply_quietly(site(12));
}

/// What arrives: new, edited and deleted records, a name that is taken, an author whom nobody knows, one that has to wait,
/// and one that the database refuses.
fn arrivals() -> Vec<Change> {
    let member = |number| record("users", number);
    let post = |number| record("requests", number);
    let mut changes = vec![user(&member(50), "ann"), user(&member(0), "renamed")];
    changes.extend((0..6).map(|at| request(&post(at), "edited", Some(&member(0)))));
    changes.extend((60..66).map(|at| request(&post(at), "more", Some(&member(50)))));
    changes.push(request(&post(90), &"long".repeat(60), None));
    changes.extend((90..94).map(|at| comment(&record("comments", at), &post(at - 30), &member(99), "hello")));
    changes.push(comment(&record("comments", 95), &post(1_000), &member(0), "it waits"));
    changes.extend((0..8).map(|at| gone(&record("comments", at))));
    changes
}

fn capture(sync: &mut SqlConnector, seen: &mut Vec<Sighting>) -> Result<(), Error> {
    let capture = sync.capture(NOW, &mut |sighting| {
        seen.push(sighting);
        Ok(())
    })?;
    let position = sync.position()?;
    sync.settle(&capture, &position)
}

fn apply(sync: &mut SqlConnector, _: &mut Vec<Sighting>) -> Result<(), Error> {
    if sync.position()?.applied == b"second" {
        return Ok(());
    }
    sync.begin_apply(b"second")?;
    let applied = sync.apply(&mut arrivals().into_iter().map(Ok), &mut |_| {})?;
    assert!(applied.dirty.is_empty(), "{applied:?}");
    sync.finish_apply()
}

fn install(sync: &mut SqlConnector, _: &mut Vec<Sighting>) -> Result<(), Error> {
    sync.change_triggers(TriggerChange::Install).map(drop)
}

fn uninstall(sync: &mut SqlConnector, _: &mut Vec<Sighting>) -> Result<(), Error> {
    sync.change_triggers(TriggerChange::Uninstall).map(drop)
}

/// An application prepared for a deed, in a cluster, and a connector on it over a wire.
struct Scene {
    app: App,
    wire: Arc<Wire>,
    sync: SqlConnector,
}

impl Scene {
    fn new(cluster: &Cluster, deed: &Deed) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let db = Database::of(cluster);
        let sync = db.connect(dir.path(), mapping(""), Capturing::Scan);
        let mut app = App { dir, db, sync, own: String::new(), capturing: Capturing::Scan, restoring: false };
        (deed.prepare)(&mut app);
        let wire = Arc::new(Wire::before(cluster.directory().to_owned()));
        let mut options = app.db.options_by(&wire.url(&app.db.url), app.dir.path());
        options.capturing = deed.capturing;
        let sync = wbsync::connector::postgres::open(options, mapping(""), context()).unwrap();
        Self { app, wire, sync }
    }

    /// Does the deed over the wire with a fault at a question; tells how many were asked.
    fn interrupt(&mut self, deed: &Deed, at: u64, fault: Fault) -> (u64, Vec<Sighting>) {
        let mut seen = Vec::new();
        self.wire.arm(at, fault);
        let result = (deed.act)(&mut self.sync, &mut seen);
        let is_past = self.wire.disarm();
        if let Err(error) = &result {
            assert!(!is_past, "{}: {error:?}", deed.name);
            assert!(matches!(error, Error::Unreachable { .. }), "{}, question {at}: {error:?}", deed.name);
            assert!(error.hint().is_some());
        }
        (self.wire.questions(), seen)
    }

    /// Does the deed again on a fresh connection, and returns everything that is there then.
    fn again(mut self, deed: &Deed, seen: &[Sighting]) -> Vec<String> {
        self.app.db.connect_again();
        self.app.capturing = deed.capturing;
        self.app.reopen();
        let mut again = Vec::new();
        (deed.act)(&mut self.app.sync, &mut again).unwrap_or_else(|error| panic!("{}: {error:?}", deed.name));
        // An id that got out is never given again to another row, and none is forgotten.
        let reported: BTreeSet<_> = again.iter().map(|sighting| &sighting.id).collect();
        let is_settled = deed.name.starts_with("capture") && again.is_empty();
        assert!(is_settled || seen.iter().all(|sighting| reported.contains(&sighting.id)), "{seen:#?} {again:#?}");
        let mut state = picture(&mut self.app);
        let triggers = self.app.sync.triggers().unwrap();
        let faults: Vec<_> = triggers.tables.iter().flat_map(|table| table.faults.clone()).collect();
        assert!(!triggers.installed || faults.is_empty(), "{}: {faults:?}", deed.name);
        state.extend(self.app.rows(NOTHING_LEFT).iter().map(|row| format!("{row:?}")));
        state.push(format!("reported {}", seen.len().max(again.len())));
        assert_eq!(self.app.settle(), [], "{}: something was left to report", deed.name);
        self.app.db.whole();
        state
    }
}

#[test]
fn a_wire_that_is_cut_anywhere_leaves_nothing_half_done() {
    let stride = std::env::var("WBSYNC_STRIDE").map_or(9, |stride| stride.parse().unwrap());
    let cluster = Cluster::or_skip();
    let mut hits = 0;
    for deed in &DEEDS {
        let mut clean = Scene::new(cluster, deed);
        let (questions, seen) = clean.interrupt(deed, u64::MAX, Fault::Before);
        let wanted = clean.again(deed, &seen);
        assert!(questions > 3, "{}: {questions}", deed.name);
        for kind in 0..3 {
            for at in (1 + kind..=questions).step_by(stride) {
                let mut scene = Scene::new(cluster, deed);
                let url = scene.app.db.url.clone();
                let fault = match kind {
                    0 => Fault::Before,
                    1 => Fault::After,
                    _ => Fault::First(Box::new(move || end_sessions(&url))),
                };
                let (_, seen) = scene.interrupt(deed, at, fault);
                hits += 1;
                let found = scene.again(deed, &seen);
                assert_eq!(found, wanted, "{}, cut at question {at} of {questions}, way {kind}", deed.name);
            }
        }
    }
    assert!(hits > 20, "{hits}");
}

fn end_sessions(url: &str) {
    let sql = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
               WHERE application_name = 'wbsync' AND datname = current_database()";
    connect(url).batch_execute(sql).unwrap();
}

#[test]
fn a_server_that_crashes_leaves_nothing_half_done() {
    let Some(cluster) = Cluster::alone("-crash").map(Arc::new) else { return };
    for deed in [&DEEDS[0], &DEEDS[2], &DEEDS[3]] {
        let mut clean = Scene::new(&cluster, deed);
        let (questions, seen) = clean.interrupt(deed, u64::MAX, Fault::Before);
        let wanted = clean.again(deed, &seen);
        for at in [questions / 3, questions * 2 / 3] {
            let mut scene = Scene::new(&cluster, deed);
            let crashing = cluster.clone();
            let (_, seen) = scene.interrupt(deed, at.max(1), Fault::First(Box::new(move || crashing.crash())));
            let found = scene.again(deed, &seen);
            assert_eq!(found, wanted, "{}, a crash at question {at} of {questions}", deed.name);
        }
    }
}
