//! What keeps stores healthy: `fsck`, `repair`, `gc`, mirrors, and bundles as files.

use std::fs;

use crate::shown::{Pair, check, path};
use crate::support::app::App;

#[test]
fn stores_are_checked_mended_and_cleared_up() {
    let new = App::new();
    new.wbsync(&["init", "--preset", "whiteballoon", "--name", "alpha"]).ok();
    check!("fsck_fresh", new.wbsync(&["fsck"]).ok());
    check!("gc_fresh", new.wbsync(&["gc"]).ok());
    check!("repair_nothing", new.wbsync(&["repair"]).ok());
    let pair = Pair::new();
    pair.sync();
    let alpha = &pair.alpha;
    check!("fsck", alpha.wbsync(&["fsck"]).ok());
    check!("fsck_json", alpha.wbsync(&["fsck", "--json"]).ok());
    check!("fsck_remote", alpha.wbsync(&["fsck", "stick"]).ok());
    check!("fsck_nowhere", alpha.wbsync(&["fsck", "nowhere"]).exits(4));
    check!("gc_dry_run", alpha.wbsync(&["gc", "--dry-run"]).ok());
    check!("gc_json", alpha.wbsync(&["gc", "--json"]).ok());
    check!("repair_dry_run", alpha.wbsync(&["repair", "--dry-run"]).ok());
    check!("repair_json", alpha.wbsync(&["repair", "--json"]).ok());
}

#[cfg(feature = "git")]
#[test]
fn a_mirror_is_written_and_written_on() {
    let pair = Pair::new();
    pair.alpha.wbsync(&["commit"]).ok();
    let place = pair.stick.path().join("mirror.git");
    let mirror = |more: &[&str]| pair.alpha.wbsync(&[&["mirror", "--git", &path(&place)], more].concat());
    check!("mirror", mirror(&[]).ok());
    check!("mirror_again", mirror(&[]).ok());
    check!("mirror_json", mirror(&["--json"]).ok());
    fs::write(pair.stick.path().join("letter"), "no repository").unwrap();
    let at = path(&pair.stick.path().join("letter"));
    check!("mirror_elsewhere", pair.alpha.wbsync(&["mirror", "--git", &at]).exits(1));
}

#[test]
fn bundles_are_made_looked_at_and_applied() {
    let new = App::new();
    new.wbsync(&["init", "--preset", "whiteballoon", "--name", "gamma"]).ok();
    check!("bundle_request_new", new.wbsync(&["bundle", "request", "-o", "request"]).ok());
    let pair = Pair::new();
    let (alpha, beta) = (&pair.alpha, &pair.beta);
    beta.wbsync(&["commit"]).ok();
    check!("bundle_request", beta.wbsync(&["bundle", "request", "-o", "request"]).ok());
    check!("bundle_request_json", beta.wbsync(&["bundle", "request", "-o", "request", "--json"]).ok());
    let file = pair.stick.path().join("for-beta.tar");
    let file = path(&file);
    check!("bundle_create_dry_run", alpha.wbsync(&["bundle", "create", "--for", "beta", "-n"]).ok());
    check!("bundle_create", alpha.wbsync(&["bundle", "create", "--for", "beta", "-o", &file]).ok());
    let other = path(&pair.stick.path().join("again.tar"));
    check!("bundle_create_json", alpha.wbsync(&["bundle", "create", "--for", "beta", "-o", &other, "--json"]).ok());
    check!("bundle_create_unknown", alpha.wbsync(&["bundle", "create", "--for", "gamma", "-o", &other]).exits(1));
    check!("bundle_verify", beta.wbsync(&["bundle", "verify", &file]).ok());
    check!("bundle_verify_json", beta.wbsync(&["bundle", "verify", &file, "--json"]).ok());
    check!("bundle_list", beta.wbsync(&["bundle", "list", &file]).ok());
    check!("bundle_list_json", beta.wbsync(&["bundle", "list", &file, "--json"]).ok());
    check!("bundle_apply", beta.wbsync(&["bundle", "apply", &file]).ok());
    check!("bundle_apply_again", beta.wbsync(&["bundle", "apply", &file]).ok());
    check!("bundle_apply_json", beta.wbsync(&["bundle", "apply", &file, "--json"]).ok());
    fs::write(pair.stick.path().join("letter.tar"), "dear beta").unwrap();
    let letter = path(&pair.stick.path().join("letter.tar"));
    check!("bundle_verify_none", beta.wbsync(&["bundle", "verify", &letter]).exits(6));
    check!("bundle_list_none", beta.wbsync(&["bundle", "list", &letter]).exits(6));
    check!("bundle_apply_none", beta.wbsync(&["bundle", "apply", &letter]).exits(6));
    check!("bundle_list_nowhere", beta.wbsync(&["bundle", "list", "nowhere.tar"]).exits(1));
}
