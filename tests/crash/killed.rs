//! The process ends at the nth call of a kind; everything that it had written stays.

use std::os::unix::process::ExitStatusExt;

use wbsync::testing::prng::Prng;

use crate::acts::{act, points, seed, some};
use crate::strace::{CHANGES, is_there, run};
use crate::trace;

/// Kills a command everywhere, or at some points.
fn walk(name: &'static str) {
    if !is_there(&format!("killed at {name}")) {
        return;
    }
    let act = act(name);
    let record = tempfile::NamedTempFile::new().unwrap();
    let path = record.path().to_str().unwrap();
    let output = run(&["-xx", "-s", "0", "-o", path, "-e", &format!("trace={CHANGES}")], act.app().dir(), &act.args());
    assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
    let text = std::fs::read_to_string(record.path()).unwrap().replace("\"\"...", "\"\"");
    let calls = trace::read(&text);
    let mut moments = Vec::new();
    for kind in CHANGES.split(',') {
        let count = calls.iter().filter(|call| call.name == kind).count();
        moments.extend((1..=count).map(|number| (kind, number)));
    }
    let mut landed = 0;
    for at in some(moments.len(), points(), &mut Prng::new(seed())) {
        let (kind, number) = moments[at];
        act.reset();
        let inject = format!("inject={kind}:signal=KILL:when={number}");
        let output =
            run(&["-o", "/dev/null", "-e", &format!("trace={kind}"), "-e", &inject], act.app().dir(), &act.args());
        // Of what several threads do each is counted by itself: fewer of one thread than of all.
        if output.status.signal().is_some() || output.status.code() == Some(128 + 9) {
            landed += 1;
        } else {
            assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
        }
        act.finish(&format!("{name}, killed at {kind} {number}"));
    }
    eprintln!("{name}: {landed} kills landed of {} tried, at {} calls", points().min(moments.len()), moments.len());
    assert!(landed > 0, "{name}: no kill landed");
}

macro_rules! walks {
    ($($test:ident: $name:literal,)*) => { $(#[test] fn $test() { walk($name); })* };
}

walks! {
    commit: "commit",
    push: "push",
    fetch: "fetch",
    pull: "pull",
    sync: "sync",
    gc: "gc",
    prune: "prune",
    bundle_create: "bundle create",
    bundle_apply: "bundle apply",
    restore: "restore",
    rotate: "scope rotate",
    untrust: "peer untrust",
}
