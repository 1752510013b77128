//! Kills while something withdrawn leaves history: whatever is killed, the next run finishes, and nothing is left.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use wbsync::changeset::seal;
use wbsync::sync::instance::{Instance, Purpose};
use wbsync::sync::progress::silent;

use crate::scene::Scene;
use crate::sound::{assert_sound, assert_store};
use crate::strike::{Striker, seed};
use crate::support::app::App;

const WORD: &str = "zqwithdrawn";

fn holds(bytes: &[u8]) -> bool {
    bytes.windows(WORD.len()).any(|window| window == WORD.as_bytes())
}

fn files(dir: &Path) -> BTreeSet<std::path::PathBuf> {
    let entries = walkdir::WalkDir::new(dir).into_iter().map(Result::unwrap);
    entries.filter(|entry| entry.file_type().is_file()).map(|entry| entry.path().to_owned()).collect()
}

/// Counts the objects under a store that one of the application's epoch keys opens to the word.
fn carriers(app: &App, store: &Path) -> usize {
    let instance = Instance::open(app.dir(), Purpose::Look, silent()).unwrap();
    let mut keys = Vec::new();
    for row in instance.state.scopes().unwrap() {
        keys.extend(instance.open_scope(row).unwrap().into_iter().flat_map(|scope| scope.keys.epochs.into_values()));
    }
    let named = |path: &std::path::PathBuf| path.extension().is_some_and(|extension| extension == "age");
    let opened = files(&store.join("objects")).into_iter().filter(named).map(|path| {
        let bytes = fs::read(path).unwrap();
        let id = seal::id_of(&bytes);
        keys.iter().find_map(|key| seal::open(&id, &bytes, key).ok()).expect("a key opens it")
    });
    opened.filter(|plain| holds(plain)).count()
}

/// Whether the application's state holds the word in clear.
fn remembers(app: &App) -> bool {
    files(&app.dir().join(".wbsync")).into_iter().any(|path| holds(&fs::read(path).unwrap()))
}

/// Beta, a writer, has edited one of alpha's requests; alpha takes all that carry the word out of the scope.
fn scene() -> Scene {
    let scene = Scene::new(600);
    let author = App::ADMIN;
    for number in 0..30 {
        scene.alpha.insert_request(Some(author), &format!("{WORD} {number}"), "public");
    }
    scene.settle();
    scene.settle();
    let sql = "UPDATE help_requests SET title = ?1 WHERE description = ?2";
    scene.beta.execute(sql, &[&format!("{WORD} of beta"), &format!("{WORD} 3")]);
    scene.beta.wbsync(&["sync"]).ok();
    scene.alpha.wbsync(&["sync"]).ok();
    assert!(carriers(&scene.alpha, &scene.store()) > 0 && remembers(&scene.beta));
    let sql = "UPDATE help_requests SET sync_scope = 'private' WHERE description LIKE ?1";
    assert_eq!(scene.alpha.db().execute(sql, [format!("{WORD} %")]).unwrap(), 30);
    scene
}

#[test]
fn a_killed_withdrawal_is_finished_by_the_next_sync() {
    let scene = scene();
    let before = scene.save();
    let took = scene.alpha.wbsync(&["sync"]).ok().took;
    let mut striker = Striker::new(seed("withdrawal"));
    for round in 0..12 {
        scene.restore(&before);
        let label = format!("round {round}");
        for _ in 0..1 + striker.below(3) {
            if !striker.strike(scene.alpha.dir(), &["sync"], took) {
                break;
            }
        }
        scene.alpha.wbsync(&["sync"]).ok();
        assert_eq!(carriers(&scene.alpha, &scene.store()), 0, "{label}: on the stick");
        assert_eq!(carriers(&scene.alpha, &scene.alpha.dir().join(".wbsync/store")), 0, "{label}: in our own store");
        assert_sound(&scene.alpha, &label);
        assert_store(&scene.store(), &label);
        let took = took.max(std::time::Duration::from_millis(50));
        for _ in 0..1 + striker.below(3) {
            if !striker.strike(scene.beta.dir(), &["sync"], took) {
                break;
            }
        }
        scene.beta.wbsync(&["sync"]).ok();
        assert!(!remembers(&scene.beta), "{label}: a follower remembers");
        assert_eq!(carriers(&scene.beta, &scene.beta.dir().join(".wbsync/store")), 0, "{label}: in the writer's store");
        assert_eq!(carriers(&scene.alpha, &scene.store()), 0, "{label}: on the stick, after the writer's turn");
        assert_sound(&scene.beta, &label);
    }
    assert!(striker.landed >= 6, "only {} kills landed", striker.landed);
}
