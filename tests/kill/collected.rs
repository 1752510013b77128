//! `wbsync gc` beside real pushes, some of them killed, on a store and a state where everything looks a month old.

use std::fs::File;
use std::path::Path;
use std::time::{Duration, SystemTime};

use crate::scene::Scene;
use crate::sound::assert_sound;
use crate::strike::{Striker, seed, start};
use crate::support::app::App;
use crate::support::run::wbsync;

/// Makes every object look as if nobody had used it for a month: what a killed push left, and what heads name.
fn age_objects(store: &Path) {
    let then = SystemTime::now() - Duration::from_secs(30 * 24 * 3600);
    for entry in walkdir::WalkDir::new(store.join("objects")).into_iter().map(Result::unwrap) {
        if entry.file_type().is_file() {
            File::options().write(true).open(entry.path()).unwrap().set_modified(then).unwrap();
        }
    }
}

#[test]
fn gc_takes_nothing_that_a_push_at_work_needs() {
    let mut striker = Striker::new(seed("gc beside pushes"));
    let rounds = std::env::var("WBSYNC_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(1) * 20;
    let scene = Scene::new(200);
    scene.settle();
    let store = scene.store();
    let (mut collected, mut removed) = (0, 0);
    for round in 0..rounds {
        scene.edit(&format!("round {round}"));
        scene.alpha.wbsync(&["commit"]).ok();
        // What is aged is what a push finds; what it touches from here on is young.
        age_objects(&store);
        age_objects(&scene.alpha.dir().join(".wbsync/store"));
        let before = objects(&store);
        let mut collectors = [0, 1].map(|_| start(&store, &["gc", ".", "--grace", "48h"]));
        match striker.below(3) {
            0 => drop(striker.strike(scene.alpha.dir(), &["push"], Duration::from_millis(150))),
            1 => drop(striker.strike(scene.alpha.dir(), &["gc"], Duration::from_millis(60))),
            _ => {
                let code = start(scene.alpha.dir(), &["push"]).wait().unwrap().code();
                assert!(matches!(code, Some(0 | 7 | 75)), "{code:?}");
            }
        }
        for child in &mut collectors {
            let code = child.wait().unwrap().code();
            // 7: the store was locked, 75: it changed meanwhile.
            assert!(matches!(code, Some(0 | 7 | 75)), "{code:?}");
            collected += u32::from(code == Some(0));
        }
        removed += before.saturating_sub(objects(&store));
        let found = wbsync(&store, &["fsck", "."]);
        assert_eq!(found.code, 0, "round {round}: {found}");
        scene.alpha.wbsync(&["commit"]).ok();
        assert_sound(&scene.alpha, "gc beside a push");
    }
    assert!(collected > 0 && removed > 0, "{collected} collections removed {removed} objects");
    eprintln!("gc beside pushes: {collected} collections, {} of the others killed", striker.landed);
    scene.settle();
    scene.beta.wbsync(&["sync"]).ok();
    let head = |app: &App, scope: &str| {
        let status = app.wbsync(&["status", "--json"]).ok().json();
        let scopes = status["scopes"].as_array().unwrap().clone();
        scopes.into_iter().find(|found| found["scope"] == scope).unwrap()["head"].clone()
    };
    assert_eq!(head(&scene.beta, "alpha/public"), head(&scene.alpha, "public"));
    assert_eq!(head(&scene.beta, "alpha/trusted"), head(&scene.alpha, "trusted"));
    let report = scene.alpha.wbsync(&["fsck"]);
    assert_eq!(report.code, 0, "{report}");
}

fn objects(store: &Path) -> usize {
    let entries = walkdir::WalkDir::new(store.join("objects")).into_iter().map(Result::unwrap);
    entries.filter(|entry| entry.file_type().is_file()).count()
}
