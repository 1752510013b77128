//! The commands that crash, each with what came before it, and what must hold after.

use std::path::PathBuf;

use std::fs::File;
use std::time::{Duration, SystemTime};

use crate::scene::{Saved, Scene, assert_same, content, copy_tree, replace_tree};
use crate::sound::{age_temporaries, assert_sound, assert_store};
use crate::support::app::App;

/// A command in a scene where it has much to do.
pub struct Act {
    pub name: &'static str,
    pub scene: Scene,
    pub args: Vec<String>,
    is_at_beta: bool,
    /// The scene as it is before the command.
    before: Saved,
    /// What both sides show in the end.
    expected: [String; 2],
}

impl Act {
    pub fn app(&self) -> &App {
        if self.is_at_beta { &self.scene.beta } else { &self.scene.alpha }
    }

    pub fn args(&self) -> Vec<&str> {
        self.args.iter().map(String::as_str).collect()
    }

    /// The directories whose disk fails.
    pub fn roots(&self) -> Vec<PathBuf> {
        [self.scene.alpha.dir(), self.scene.beta.dir(), self.scene.stick.path()].map(PathBuf::from).into()
    }

    /// Makes all as it was before the command. For `gc` everything is a month old.
    pub fn reset(&self) {
        self.scene.restore(&self.before);
        if self.name == "gc" {
            let then = SystemTime::now() - Duration::from_secs(30 * 24 * 3600);
            let objects = self.own_store(&self.scene.alpha).join("objects");
            for entry in walkdir::WalkDir::new(objects).into_iter().map(Result::unwrap) {
                if entry.file_type().is_file() {
                    File::options().write(true).open(entry.path()).unwrap().set_modified(then).unwrap();
                }
            }
        }
    }

    /// Runs the command once more, lets everybody exchange, and compares.
    pub fn finish(&self, label: &str) {
        let stores = [self.scene.store(), self.own_store(&self.scene.alpha), self.own_store(&self.scene.beta)];
        stores.iter().for_each(|store| age_temporaries(store));
        self.app().wbsync(&self.args()).ok();
        assert_sound(self.app(), label);
        self.scene.settle();
        for (app, expected) in [&self.scene.alpha, &self.scene.beta].into_iter().zip(&self.expected) {
            assert_same(&content(app), expected, label);
            assert_sound(app, label);
            app.wbsync(&["fsck"]).ok();
        }
        assert_store(&self.scene.store(), label);
    }

    fn own_store(&self, app: &App) -> PathBuf {
        app.dir().join(".wbsync/store")
    }
}

/// Makes the scene of a command.
pub fn act(name: &'static str) -> Act {
    let scene = Scene::new(RECORDS);
    scene.settle();
    let [alpha, beta] = [&scene.alpha, &scene.beta];
    let words = |text: &str| text.split(' ').map(String::from).collect::<Vec<_>>();
    let mut args = words(name);
    match name {
        "commit" | "sync" => scene.edit("one"),
        "push" => {
            scene.edit("one");
            alpha.wbsync(&["commit"]).ok();
        }
        "fetch" => {
            scene.edit("one");
            beta.wbsync(&["sync"]).ok();
        }
        "pull" => {
            scene.edit("one");
            beta.wbsync(&["sync"]).ok();
            for fetched in [&["commit"], &["fetch"]] {
                alpha.wbsync(fetched).ok();
            }
        }
        "gc" => {
            for mark in ["one", "two", "three"] {
                scene.edit(mark);
                scene.settle();
            }
            args = words("gc --grace 48h");
        }
        "prune" => {
            scene.edit("one");
            scene.settle();
            args = words("prune --remote-records-older-than 0h --keep-history 0h");
        }
        "bundle create" => {
            scene.edit("one");
            args = words("bundle create --for beta -o out.tar");
        }
        "bundle apply" => {
            scene.edit("one");
            let bundle = beta.dir().join("in.tar");
            alpha.wbsync(&["bundle", "create", "--for", "beta", "-o", bundle.to_str().unwrap()]).ok();
            args = words("bundle apply in.tar");
        }
        "restore" => {
            let old = tempfile::tempdir().unwrap();
            copy_tree(alpha.dir(), old.path());
            scene.edit("one");
            scene.settle();
            replace_tree(old.path(), alpha.dir());
        }
        "scope rotate" => {
            scene.edit("one");
            args = words("scope rotate trusted --reseal");
        }
        "peer untrust" => args = words("peer untrust beta"),
        name => panic!("there is no act {name}"),
    }
    let before = scene.save();
    let is_at_beta = name == "bundle apply";
    let mut act = Act { name, scene, args, is_at_beta, before, expected: Default::default() };
    act.app().wbsync(&act.args()).ok();
    act.scene.settle();
    act.expected = [content(&act.scene.alpha), content(&act.scene.beta)];
    act.reset();
    act
}

/// How many rows each side begins with.
const RECORDS: u64 = 120;

/// About how many points of each act are tried.
pub fn points() -> usize {
    std::env::var("WBSYNC_POINTS").ok().and_then(|points| points.parse().ok()).unwrap_or(3)
}

/// Picks so many numbers below a bound, spread evenly and otherwise by chance.
pub fn some(bound: usize, count: usize, chance: &mut wbsync::testing::prng::Prng) -> Vec<usize> {
    let count = count.min(bound);
    let pick = |part: usize, chance: &mut wbsync::testing::prng::Prng| {
        let (from, to) = (part * bound / count, (part + 1) * bound / count);
        from + chance.below((to - from).max(1) as u64) as usize
    };
    (0..count).map(|part| pick(part, chance)).collect()
}

/// The seed of this run.
pub fn seed() -> u64 {
    std::env::var("WBSYNC_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1)
}
