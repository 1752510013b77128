//! Kills of `init` and `clone`: there is no half instance, and the same command goes through afterwards.

use std::fs;

use wbsync::testing::whiteballoon::seed::Seed;

use crate::scene::{Scene, assert_same, content, replace_tree};
use crate::sound::assert_sound;
use crate::strike::{Striker, seed};
use crate::support::app::App;
use crate::support::run::wbsync_with;
use crate::support::sshd::Sshd;

#[test]
fn an_init_survives_kills() {
    let mut striker = Striker::new(seed("init"));
    let template = App::seeded(&Seed::new(60, 1));
    let app = App::new();
    let args = ["init", "--db", "sqlite:///data/app.db", "--preset", "whiteballoon", "--name", "alpha"];
    replace_tree(template.dir(), app.dir());
    let took = app.wbsync(&args).ok().took;
    let config = fs::read_to_string(app.dir().join("wbsync.toml")).unwrap();
    // On a fast disk most kills come late: go on until enough have landed.
    for round in 0..240 {
        if round >= 40 && striker.landed >= 25 {
            break;
        }
        let label = format!("init, round {round}");
        replace_tree(template.dir(), app.dir());
        let mut made = false;
        for _ in 0..1 + striker.below(3) {
            let landed = striker.strike(app.dir(), &args, took);
            let file = app.dir().join("wbsync.toml");
            assert!(!file.exists() || fs::read_to_string(&file).unwrap() == config, "{label}: half a file");
            made = app.dir().join(".wbsync").exists();
            if made {
                break;
            }
            assert!(landed, "{label}: it ended without an instance");
        }
        if !made {
            app.wbsync(&args).ok();
        }
        assert_eq!(fs::read_to_string(app.dir().join("wbsync.toml")).unwrap(), config, "{label}");
        app.wbsync(&["commit"]).ok();
        assert_sound(&app, &label);
    }
    eprintln!("init takes {took:?}; {} kills landed, {} came late", striker.landed, striker.late);
    assert!(striker.landed >= 25, "only {} kills landed", striker.landed);
}

#[test]
fn a_clone_survives_kills() {
    let scene = Scene::new(2000);
    scene.settle();
    let store = scene.store();
    survives(&Clone { from: store.to_str().unwrap(), then: "sync", variables: &[], kills: 12 });
}

#[test]
fn a_clone_over_ssh_survives_kills() {
    let Some(sshd) = Sshd::start() else { return };
    let scene = Scene::new(2000);
    scene.settle();
    let ssh = sshd.command("client_key");
    let url = format!("ssh://{}@127.0.0.1:{}{}", Sshd::user(), sshd.port, scene.store().display());
    survives(&Clone { from: &url, then: "sync", variables: &[("WBSYNC_SSH", &ssh)], kills: 6 });
}

#[test]
fn a_clone_from_a_bundle_survives_kills() {
    let scene = Scene::new(2000);
    scene.settle();
    let bundle = scene.stick.path().join("all.tar");
    let bundle = bundle.to_str().unwrap();
    scene.alpha.wbsync(&["bundle", "create", "--all", "-o", bundle]).ok();
    survives(&Clone { from: bundle, then: "commit", variables: &[], kills: 6 });
}

/// A clone that is killed.
struct Clone<'a> {
    from: &'a str,
    /// The command that comes after it.
    then: &'a str,
    variables: &'a [(&'a str, &'a str)],
    /// How many kills have to land.
    kills: u32,
}

fn survives(clone: &Clone<'_>) {
    let mut striker = Striker::new(seed("clone"));
    let args = ["clone", clone.from, "--preset", "whiteballoon", "--name", "gamma"];
    let (template, app) = (App::new(), App::new());
    let run = |args: &[&str]| wbsync_with(app.dir(), args, clone.variables);
    replace_tree(template.dir(), app.dir());
    let took = run(&args).ok().took;
    let expected = content(&app);
    assert!(expected.lines().count() > 500, "a clone of something");
    for round in 0..84 {
        if round >= clone.kills && striker.landed >= clone.kills {
            break;
        }
        let label = format!("clone, round {round}");
        replace_tree(template.dir(), app.dir());
        let mut done = false;
        for _ in 0..1 + striker.below(3) {
            done = !striker.strike_with(app.dir(), &args, took, clone.variables);
            if done {
                break;
            }
        }
        let again = run(&args);
        // A kill may come after the last step and before the end.
        if done || again.code == 1 {
            assert!(again.exits(1).stderr.contains("instance already"), "{label}");
        } else {
            again.ok();
        }
        assert_same(&content(&app), &expected, &label);
        run(&[clone.then]).ok();
        assert_same(&content(&app), &expected, &label);
        assert_sound(&app, &label);
    }
    eprintln!("clone takes {took:?}; {} kills landed, {} came late", striker.landed, striker.late);
    assert!(striker.landed >= clone.kills, "only {} kills landed", striker.landed);
}
