//! Kills of `commit`, `push`, `fetch`, `merge`, `pull` and `sync`: the first exchange of everything, and edits on both sides.

use crate::scene::{Scene, assert_same, content};
use crate::sound::{age_temporaries, assert_sound, assert_store, temporaries};
use crate::strike::{Striker, seed};
use crate::support::app::App;

/// One command, killed several times in each round and then run through.
struct Ordeal {
    at: fn(&Scene) -> &App,
    command: &'static str,
    rounds: u32,
}

/// How often a command is killed in a row, at most.
const STRIKES_MAX: u64 = 4;

/// How much longer than usual to go on.
fn rounds_factor() -> u32 {
    std::env::var("WBSYNC_ROUNDS").ok().and_then(|factor| factor.parse().ok()).unwrap_or(1)
}

/// Runs the ordeals one after the other, each from where the one before ended.
fn survive(test: &str, scene: &Scene, ordeals: &[Ordeal], landed_min: u32) {
    let mut striker = Striker::new(seed(test));
    for Ordeal { at, command, rounds } in ordeals {
        let app = at(scene);
        let before = scene.save();
        let took = app.wbsync(&[command]).ok().took;
        let after = scene.save();
        scene.settle();
        let expected = [content(&scene.alpha), content(&scene.beta)];
        // On a fast disk most kills come late: go on until enough have landed.
        let least = striker.landed + rounds;
        for round in 0..rounds * rounds_factor() * 6 {
            if round >= rounds * rounds_factor() && striker.landed >= least {
                break;
            }
            let label = format!("{test}: {command}, round {round}");
            scene.restore(&before);
            for _ in 0..1 + striker.below(STRIKES_MAX) {
                if !striker.strike(app.dir(), &[command], took) {
                    break;
                }
            }
            for store in
                [scene.store(), scene.alpha.dir().join(".wbsync/store"), scene.beta.dir().join(".wbsync/store")]
            {
                if store.exists() {
                    age_temporaries(&store);
                }
            }
            app.wbsync(&[command]).ok();
            assert_sound(app, &label);
            scene.settle();
            for (app, expected) in [&scene.alpha, &scene.beta].into_iter().zip(&expected) {
                assert_same(&content(app), expected, &label);
                assert_sound(app, &label);
                let store = app.dir().join(".wbsync/store");
                assert_eq!(temporaries(&store), [""; 0].map(std::path::PathBuf::from), "{label}");
            }
            assert_store(&scene.store(), &label);
            assert!(temporaries(&scene.store()).is_empty(), "{label}: {:?}", temporaries(&scene.store()));
        }
        eprintln!(
            "{test}: {command} takes {took:?}; {} kills landed so far, {} came late",
            striker.landed, striker.late
        );
        scene.restore(&after);
    }
    assert!(striker.landed >= landed_min, "only {} kills landed", striker.landed);
}

fn alpha(scene: &Scene) -> &App {
    &scene.alpha
}

fn beta(scene: &Scene) -> &App {
    &scene.beta
}

#[test]
fn a_first_exchange_survives_kills() {
    let scene = Scene::new(2000);
    let ordeals = [
        Ordeal { at: alpha, command: "commit", rounds: 8 },
        Ordeal { at: alpha, command: "push", rounds: 8 },
        Ordeal { at: beta, command: "fetch", rounds: 8 },
        Ordeal { at: beta, command: "merge", rounds: 8 },
        Ordeal { at: beta, command: "sync", rounds: 5 },
    ];
    survive("first exchange", &scene, &ordeals, 50);
}

#[test]
fn edits_on_both_sides_survive_kills() {
    let scene = Scene::new(2000);
    scene.settle();
    scene.edit("first");
    scene.beta.wbsync(&["sync"]).ok();
    let ordeals = [
        Ordeal { at: alpha, command: "commit", rounds: 8 },
        Ordeal { at: alpha, command: "fetch", rounds: 8 },
        Ordeal { at: alpha, command: "merge", rounds: 8 },
        Ordeal { at: alpha, command: "push", rounds: 8 },
    ];
    survive("edits", &scene, &ordeals, 40);
    scene.settle();
    scene.edit("second");
    scene.beta.wbsync(&["sync"]).ok();
    let ordeals = [Ordeal { at: alpha, command: "pull", rounds: 8 }, Ordeal { at: alpha, command: "sync", rounds: 8 }];
    survive("edits", &scene, &ordeals, 20);
}

#[test]
fn a_commit_killed_between_its_last_two_steps_is_done() {
    let app = App::new();
    app.insert_request(None, "a ladder", "public");
    app.wbsync(&["init", "--preset", "whiteballoon", "--name", "alpha"]).ok();
    app.wbsync(&["commit"]).ok();
    // The application's database has settled the capture, and the state still says that it is due.
    let state = rusqlite::Connection::open(app.dir().join(".wbsync/state.db")).unwrap();
    state.execute("ATTACH ?1 AS app", [app.db_path().to_str().unwrap()]).unwrap();
    let again = "INSERT INTO pending SELECT 'settle', settled, applied, target FROM app._wbsync_position";
    assert_eq!(state.execute(again, []).unwrap(), 1);
    drop(state);
    app.insert_request(None, "a second ladder", "public");
    let run = app.wbsync(&["commit", "--json"]).ok();
    assert_eq!(run.json()["scopes"]["public"]["put"], 1, "{run}");
    assert_sound(&app, "settled twice");
}

#[test]
fn a_store_whose_making_was_killed_is_made_by_the_next_push() {
    let (app, stick) = (App::new(), tempfile::tempdir().unwrap());
    app.insert_request(None, "a ladder", "public");
    app.wbsync(&["init", "--preset", "whiteballoon", "--name", "alpha"]).ok();
    app.wbsync(&["remote", "add", "stick", stick.path().to_str().unwrap()]).ok();
    // The format file was being written.
    std::fs::write(stick.path().join(".tmp-Ab12Cd"), "wbs").unwrap();
    app.wbsync(&["sync"]).ok();
    assert_store(stick.path(), "a store made in the second try");
}
