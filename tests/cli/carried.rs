//! `bundle`, `fsck`, `repair` and `gc` as people run them.

use std::fs;

use crate::shown::Pair;

#[test]
fn a_bundle_goes_there_and_back() {
    let pair = Pair::new();
    let file = pair.alpha.dir().join("for-beta.tar");
    let file = file.to_str().unwrap();
    let dry = pair.alpha.wbsync(&["bundle", "create", "--for", "beta", "--dry-run"]).exits(0);
    assert!(dry.stdout.starts_with("bundle "), "{}", dry.stdout);
    pair.alpha.wbsync(&["bundle", "create", "--for", "beta", "-o", file]).exits(0);
    let listed = pair.beta.wbsync(&["bundle", "list", file]).exits(0);
    assert!(listed.stdout.contains("of alpha") && listed.stdout.contains("  objects/"), "{}", listed.stdout);
    pair.beta.wbsync(&["bundle", "verify", file]).exits(0);
    let applied = pair.beta.wbsync(&["--json", "bundle", "apply", file]).exits(0);
    assert!(applied.stdout.contains("\"fetched\""), "{}", applied.stdout);
    let request = pair.beta.dir().join("beta.request");
    let request = request.to_str().unwrap();
    pair.beta.wbsync(&["bundle", "request", "-o", request]).exits(0);
    let nothing = pair.alpha.wbsync(&["bundle", "create", "--request", request, "--dry-run"]).exits(0);
    assert!(nothing.stdout.contains("0 heads, 0 objects"), "{}", nothing.stdout);
    pair.alpha.wbsync(&["bundle", "create"]).exits(2);
    pair.alpha.wbsync(&["bundle", "create", "--for", "nobody", "-o", file]).exits(1);
}

#[test]
fn a_damaged_bundle_ends_with_six_and_a_sealed_one_of_others_with_five() {
    let pair = Pair::new();
    let file = pair.alpha.dir().join("bundle");
    let name = file.to_str().unwrap();
    pair.alpha.wbsync(&["bundle", "create", "--for", "beta", "-o", name]).exits(0);
    let mut bytes = fs::read(&file).unwrap();
    bytes.truncate(bytes.len() - 1);
    fs::write(&file, &bytes).unwrap();
    let refused = pair.beta.wbsync(&["bundle", "apply", name]).exits(6);
    assert!(refused.stderr.contains("nothing was changed"), "{}", refused.stderr);
    pair.beta.wbsync(&["bundle", "verify", "nowhere"]).exits(1);
    pair.alpha.wbsync(&["bundle", "create", "--for", "beta", "--to", "beta", "-o", name]).exits(0);
    pair.beta.wbsync(&["bundle", "verify", name]).exits(0);
}

#[test]
fn damage_is_found_mended_and_cleared_up() {
    let pair = Pair::new();
    pair.sync();
    let store = pair.store();
    assert!(pair.alpha.wbsync(&["fsck"]).exits(0).stdout.ends_with(": all is well\n"));
    assert!(pair.alpha.wbsync(&["fsck", &store]).exits(0).stdout.ends_with(": all is well\n"));
    let object = walkdir::WalkDir::new(&store)
        .into_iter()
        .map(Result::unwrap)
        .find(|entry| entry.file_name().to_string_lossy().ends_with(".age"));
    let object = object.unwrap().into_path();
    let mut bytes = fs::read(&object).unwrap();
    bytes[100] ^= 1;
    fs::write(&object, bytes).unwrap();
    let found = pair.alpha.wbsync(&["fsck", &store]).exits(6);
    assert!(found.stdout.contains("store: damaged object objects/"), "{}", found.stdout);
    assert!(pair.alpha.wbsync(&["fsck", "--quick", &store]).exits(0).stdout.contains("all is well"));
    let remote = "stick".to_owned();
    pair.alpha.wbsync(&["repair", &remote, "--dry-run"]).exits(6);
    for site in [&pair.alpha, &pair.beta] {
        site.wbsync(&["repair", &remote]);
    }
    pair.alpha.wbsync(&["fsck", &store]).exits(0);
    assert!(pair.alpha.wbsync(&["repair"]).exits(0).stdout.contains("all is well"));
    assert!(pair.alpha.wbsync(&["gc", "--dry-run"]).exits(0).stdout.contains("would remove"));
    assert!(pair.alpha.wbsync(&["--json", "gc"]).exits(0).stdout.contains("\"removed_nodes\""));
    assert!(pair.alpha.wbsync(&["gc", &store, "--grace", "90d"]).exits(0).stdout.starts_with("store: "));
    pair.alpha.wbsync(&["gc", "--grace", "soon"]).exits(2);
    pair.alpha.wbsync(&["fsck", "/nowhere/at/all"]).exits(4);
}
