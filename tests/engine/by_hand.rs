//! A sealed bundle taken apart with `age`, `tar`, `b3sum` and `zstd` alone, by a shell script.

use std::fs;
use std::process::Command;

use wbsync::exchange::health::Depth;
use wbsync::state::peers::Trust;
use wbsync::sync::bundle::BundleOptions;
use wbsync::sync::commit::Mode;
use wbsync::sync::fsck::fsck_store;
use wbsync::sync::remotes;

use super::world::Site;

const SCRIPT: &str = r#"
set -eu
# $1 bundle, $2 key file of the receiver, $3 key of the scope, $4 an empty directory
cd "$4"
age -d -i "$2" "$1" | tar -x
test "$(cat format)" = "wbsync store 1"
for object in objects/*/*.age; do
    name=$(basename "$object" .age)
    test "$(b3sum --no-names "$object")" = "$name"
    if age -d -i "$3" "$object" 2>/dev/null | zstd -dq > plain; then
        cat plain >> opened
    fi
done
grep -q 'by hand' opened
"#;

#[test]
fn a_shell_script_opens_a_sealed_bundle() {
    for tool in ["age", "tar", "b3sum", "zstd"] {
        if Command::new(tool).arg("--version").output().is_err() {
            assert!(std::env::var_os("CI").is_none() || std::env::var_os("WBSYNC_ALLOW_SKIPS").is_some(), "{tool}");
            println!("SKIPPED: there is no {tool}");
            return;
        }
    }
    let (alpha, beta) = (Site::new("alpha"), Site::new("beta"));
    alpha.knows(&beta, Some(Trust::Trusted));
    beta.knows(&alpha, Some(Trust::Trusted));
    let user = alpha.app.insert_user("mara", "public");
    alpha.request(user, "opened by hand", "trusted");
    let dir = tempfile::tempdir().unwrap();
    let bundle = dir.path().join("bundle.tar.age");
    let names = vec!["beta".to_owned()];
    let options = BundleOptions { peers: names.clone(), sealed_to: names, ..BundleOptions::default() };
    let instance = alpha.open();
    let packing = instance.bundle_pack(&options, Mode::Keep).unwrap();
    instance.bundle_write(&packing, 0, &mut fs::File::create(&bundle).unwrap()).unwrap();
    // The receiver's key of the scope comes with the first bundle; a person would take it out of the manifest.
    drop(instance);
    beta.open().bundle_apply(std::slice::from_ref(&bundle), Mode::Keep).unwrap();
    let instance = beta.open();
    let rows = instance.state.scopes().unwrap().into_iter().filter(|row| !row.name.is_public());
    let scope =
        rows.filter_map(|row| instance.open_scope(row).unwrap()).find(|scope| scope.row.origin != instance.id());
    let key = dir.path().join("scope.key");
    let epoch = scope.unwrap();
    let secret = epoch.keys.epochs.values().next_back().unwrap().secret_text();
    fs::write(&key, age::secrecy::ExposeSecret::expose_secret(&secret)).unwrap();
    let out = dir.path().join("out");
    fs::create_dir(&out).unwrap();
    let run = Command::new("sh")
        .args(["-c", SCRIPT, "sh"])
        .args([&bundle, &beta.app.dir().join(".wbsync/keys/age.key"), &key, &out])
        .output()
        .unwrap();
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    fs::remove_file(out.join("plain")).unwrap();
    fs::remove_file(out.join("opened")).unwrap();
    // What `tar` made of it is a store.
    let url = remotes::parse(out.to_str().unwrap(), dir.path()).unwrap();
    let report = fsck_store(&url, None, Depth::Contents, &|_| {}).unwrap();
    assert!(!report.is_damaged() && report.objects > 0, "{:?}", report.findings);
}
