//! A directory instead of a database, from the command line.

use std::fs;
use std::os::unix::fs::symlink;

use crate::shown::check;
use crate::support::run::wbsync;

#[test]
fn a_directory_from_the_command_line() {
    let dir = tempfile::tempdir().unwrap();
    let run = |args: &[&str]| wbsync(dir.path(), args);
    check!("files_missing", run(&["init", "--files", "docs", "--dataset", "docs", "--name", "alpha"]).exits(1));
    fs::create_dir(dir.path().join("docs")).unwrap();
    check!("files_init", run(&["init", "--files", "docs", "--dataset", "docs", "--name", "alpha"]).ok());
    let path = dir.path().join("wbsync.toml");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replace("scope = \"private\"", "scope = \"public\"")).unwrap();
    fs::write(dir.path().join("docs/readme.md"), "hello\n").unwrap();
    fs::write(dir.path().join("docs/zeros"), vec![0; 20_000]).unwrap();
    check!("files_diff_new", run(&["diff"]).ok());
    run(&["commit"]).ok();
    fs::write(dir.path().join("docs/readme.md"), "hello again\n").unwrap();
    symlink("/", dir.path().join("docs/link")).unwrap();
    check!("files_diff", run(&["diff"]).ok());
    check!("files_commit", run(&["commit"]).ok());
    check!("files_status", run(&["status"]).ok());
    fs::write(&path, text.replace("scope = \"private\"", "scope = \"everyone\"")).unwrap();
    check!("files_bad_scope", run(&["commit"]).exits(1));
}
