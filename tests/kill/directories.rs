//! Kills of instances that have a database and a directory, and exchange both through a hub: after each round the files and
//! the rows of both are what was written, nothing waits, and no half a file lies about.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::Path;
use std::time::{Duration, SystemTime};

use crate::hub::{Site, befriend, instance_with};
use crate::sound::{age_temporaries, assert_sound};
use crate::strike::{Striker, seed};
use crate::support::app::App;

/// Who runs what, each killed several times before it may end.
const STEPS: [(usize, &[&str]); 8] = [
    (0, &["commit"]),
    (0, &["push"]),
    (1, &["fetch"]),
    (1, &["merge"]),
    (1, &["pull"]),
    (1, &["sync"]),
    (0, &["pull"]),
    (0, &["sync"]),
];
/// How often a command is killed in a row, at most.
const STRIKES_MAX: u64 = 3;

/// How names of files begin that are being written.
const DRAFT: &str = "/.wbsync-";

type Tree = BTreeMap<String, Vec<u8>>;

fn tree(dir: &Path) -> Tree {
    let files = walkdir::WalkDir::new(dir).into_iter().map(Result::unwrap);
    let files = files.filter(|entry| entry.file_type().is_file());
    let name = |path: &Path| path.strip_prefix(dir).unwrap().to_str().unwrap().to_owned();
    files.map(|entry| (name(entry.path()), fs::read(entry.path()).unwrap())).collect()
}

fn noise(striker: &mut Striker, bytes: usize) -> Vec<u8> {
    let mut noise = vec![0; bytes];
    blake3::Hasher::new().update(&striker.below(u64::MAX).to_le_bytes()).finalize_xof().fill(&mut noise);
    noise
}

/// Changes files of one side: whose names begin with its number nobody else edits.
fn change(striker: &mut Striker, app: &App, side: usize, round: usize, model: &mut Tree) {
    let mine: Vec<String> = model.keys().filter(|name| name.starts_with(&side.to_string())).cloned().collect();
    for name in mine {
        match striker.below(5) {
            0 => drop(model.remove(&name)),
            1 => {
                let bytes = model.remove(&name).unwrap();
                model.insert(format!("{name}r"), bytes);
            }
            2 => {
                let more = noise(striker, 900);
                let bytes = model.get_mut(&name).unwrap();
                let at = striker.below(bytes.len() as u64 + 1) as usize;
                bytes.splice(at..at, more);
            }
            _ => {}
        }
    }
    for number in 0..4 {
        let size = [20, 3_000, 120_000, 700_000][number];
        let bytes = noise(striker, size);
        model.insert(format!("{side}/{round}/{number}"), bytes);
    }
    let docs = app.dir().join("docs");
    let is_mine = |name: &str| name.starts_with(&side.to_string());
    let is_old = |name: &str| is_mine(name) && !name.contains(DRAFT) && !model.contains_key(name);
    for name in tree(&docs).keys().filter(|name| is_old(name)) {
        fs::remove_file(docs.join(name)).unwrap();
    }
    for (name, bytes) in model.iter().filter(|(name, _)| is_mine(name)) {
        let path = docs.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        if fs::read(&path).ok().as_ref() != Some(bytes) {
            fs::write(path, bytes).unwrap();
        }
    }
    app.insert_request(None, &format!("round {round} of {side}"), "public");
}

/// Makes the files that a kill left half written as old as those that nobody goes on with.
fn age_drafts(dir: &Path) {
    for name in tree(dir).keys().filter(|name| name.contains(DRAFT)) {
        let past = SystemTime::now() - Duration::from_secs(2 * 3600);
        File::options().write(true).open(dir.join(name)).unwrap().set_modified(past).unwrap();
    }
}

#[test]
fn files_and_rows_survive_kills_over_a_hub() {
    let rounds = std::env::var("WBSYNC_ROUNDS").ok().and_then(|factor| factor.parse().ok()).unwrap_or(1) * 3;
    let mut striker = Striker::new(seed("directories"));
    let hub = Site::start(&[]);
    let sites = ["alpha", "beta"].map(|name| {
        let app = instance_with(name, &[]);
        let path = app.dir().join("wbsync.toml");
        let text = fs::read_to_string(&path).unwrap();
        fs::write(path, text + "[files.docs]\ndir = \"docs\"\nscope = \"trusted\"\n").unwrap();
        fs::create_dir(app.dir().join("docs")).unwrap();
        hub.admit(&app);
        app
    });
    befriend(&sites[0], &sites[1]);
    let mut took = BTreeMap::new();
    let mut model = Tree::new();
    for round in 0..rounds {
        for (side, app) in sites.iter().enumerate() {
            change(&mut striker, app, side, round, &mut model);
        }
        for (side, args) in STEPS {
            let within = took.get(&(side, args)).copied().unwrap_or(Duration::from_millis(400));
            for _ in 0..1 + striker.below(STRIKES_MAX) {
                if !striker.strike(sites[side].dir(), args, within) {
                    break;
                }
            }
            took.insert((side, args), sites[side].wbsync(args).ok().took.max(Duration::from_millis(50)));
        }
        // What a kill left of objects goes once it is old.
        for store in
            [sites[0].dir().join(".wbsync/store"), sites[1].dir().join(".wbsync/store"), hub.dir.path().join("store")]
        {
            age_temporaries(&store);
        }
        for app in &sites {
            age_drafts(&app.dir().join("docs"));
        }
        for app in [&sites[0], &sites[1], &sites[0], &sites[1]] {
            app.wbsync(&["sync"]).ok();
        }
        for app in &sites {
            let found = tree(&app.dir().join("docs"));
            let names = |tree: &Tree| tree.keys().cloned().collect::<Vec<_>>();
            assert_eq!(names(&found), names(&model), "round {round}");
            assert!(found == model, "round {round}: a file is not what was written");
            let status = app.wbsync(&["status", "--json"]).ok().json();
            assert_eq!((&status["parked_total"], &status["unfinished_apply"]), (&0.into(), &false.into()));
            let rows = app.dump_columns("help_requests", &["description"]);
            assert_eq!(rows.lines().filter(|line| line.contains("round")).count(), 2 * (round + 1), "{rows}");
            assert_sound(app, &format!("round {round}"));
        }
        for side in [0, 1] {
            let mut command = sites[side].wbsync(&["commit", "--json"]).ok().json();
            assert_eq!(command["scopes"].take(), serde_json::json!({}), "what was written came back");
        }
    }
    eprintln!("{} kills landed, {} came late", striker.landed, striker.late);
    assert!(striker.landed >= 8, "only {} kills landed", striker.landed);
}
