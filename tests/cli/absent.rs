//! Where there is no instance, every command that needs one says so and changes nothing.

use std::fs;

use crate::shown::{check_all, stable};
use crate::support::app::App;
use crate::support::run::wbsync;

const NEED_ONE: &[&str] = &[
    "db install",
    "db uninstall",
    "db check",
    "id",
    "peer add beta.card",
    "peer list",
    "peer show beta",
    "peer trust beta",
    "peer untrust beta",
    "peer revoke beta",
    "peer forget beta --yes",
    "peer accept beta",
    "group create board",
    "group add board beta",
    "group remove board beta",
    "group delete board",
    "group list",
    "group show board",
    "follow beta",
    "unfollow beta",
    "remote add stick stick",
    "remote list",
    "remote remove stick",
    "scope list",
    "scope show public",
    "scope rotate trusted",
    "privacy list",
    "privacy set requests#1 public",
    "privacy default vouches trusted",
    "privacy explain requests#1",
    "privacy audit",
    "privacy receipts",
    "privacy late",
    "privacy preview beta",
    "commit",
    "fetch",
    "merge",
    "prove requests/0198f3a1",
    "mirror --git mirror.git",
    "push",
    "pull",
    "sync",
    "status",
    "log",
    "show public",
    "diff",
    "blame requests/0198f3a1",
    "conflicts",
    "resolve",
    "revert 27f3a1b2",
    "shun requests/0198f3a1",
    "unshun requests/0198f3a1",
    "bundle request -o request",
    "bundle create --for beta -o bundle",
    "bundle apply bundle",
    "fsck",
    "repair",
    "prune --keep-history 90d",
    "gc",
    "export-identity",
    "debug tree public requests",
    "debug fork",
    "debug epoch-key trusted",
    "run",
    "run-once",
    "health",
    "metrics",
    "config show",
    "config check",
    "hub join hub --token-file token",
];

#[test]
fn every_command_that_needs_an_instance_says_that_there_is_none() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("token"), "wbsync-invite1:none\n").unwrap();
    let beta = App::new();
    beta.wbsync(&["init", "--name", "beta"]).ok();
    fs::write(dir.path().join("beta.card"), beta.wbsync(&["id"]).ok().stdout).unwrap();
    let mut said = Vec::new();
    for line in NEED_ONE {
        let args: Vec<&str> = line.split(' ').collect();
        let run = wbsync(dir.path(), &args);
        if !["config show", "config check"].contains(line) {
            assert!(run.code == 1 && run.stderr.contains("there is no wbsync instance"), "{run}");
        }
        said.push(stable(&run));
    }
    let mut names: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["beta.card", "token"], "nothing was made");
    check_all!("no_instance", said);
}
