//! The power goes: what was not synced is there, gone, or there in part.

use wbsync::testing::prng::Prng;

use crate::acts::{act, points, seed, some};
use crate::disk::{Disk, Image, Loss, image_of, write_image};
use crate::strace::{CHANGES, is_there, run};
use crate::trace;

/// What else has to be known to follow what is written where.
const FILES: &str = "openat,open,creat,close,dup,dup2,dup3,fcntl,lseek,read,chdir";

/// Goes through the calls of a command, and crashes after some of them, or all.
fn walk(name: &'static str) {
    if !is_there(&format!("power cut at {name}")) {
        return;
    }
    let act = act(name);
    let roots = act.roots();
    let mut disk = Disk::of(&roots, act.app().dir());
    let mut counted = disk.clone();
    let record = tempfile::NamedTempFile::new().unwrap();
    let path = record.path().to_str().unwrap();
    let options = ["-xx", "-s", "1000000000", "-o", path, "-e", &format!("trace={CHANGES},{FILES}")];
    let output = run(&options, act.app().dir(), &act.args());
    assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
    let calls = trace::read(&std::fs::read_to_string(record.path()).unwrap());
    let found = image_of(&roots);
    let moments: Vec<usize> = (0..calls.len()).filter(|at| counted.make(&calls[*at])).collect();
    assert_same_image(&counted.after(&mut Loss::Nothing), &found, name);
    let chosen = some(moments.len(), points(), &mut Prng::new(seed()));
    let mut next = 0;
    for (at, moment) in moments.iter().enumerate() {
        while next <= *moment {
            disk.make(&calls[next]);
            next += 1;
        }
        if !chosen.contains(&at) {
            continue;
        }
        let losses = [Loss::Everything, Loss::Some(Prng::new(seed() ^ at as u64)), Loss::Nothing];
        // Where all are tried, all losses are; of a few points each has one.
        let all = points() >= moments.len();
        for (which, mut loss) in losses.into_iter().enumerate() {
            if all || at % 3 == which {
                let label =
                    format!("{name}, the power goes after {} at {at}, losing {}", calls[*moment].name, loss.name());
                write_image(&roots, &disk.after(&mut loss));
                act.finish(&label);
            }
        }
    }
    eprintln!("{name}: {} of {} moments", chosen.len(), moments.len());
}

/// What was recorded is what happened, or else nothing is shown here.
fn assert_same_image(made: &Image, found: &Image, name: &str) {
    for path in made.keys().chain(found.keys()) {
        let (made, found) = (made.get(path), found.get(path));
        let length = |image: Option<&Option<Vec<u8>>>| image.map(|bytes| bytes.as_ref().map(Vec::len));
        assert!(made == found, "{name}: {} is {:?} and was made {:?}", path.display(), length(found), length(made));
    }
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
