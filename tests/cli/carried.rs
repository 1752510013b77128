//! `bundle`, `fsck`, `repair` and `gc` as people run them.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use crate::shown::Pair;
use crate::support::app::App;

/// Runs a line of shell in which `$wbsync` is the program.
fn shell(dir: &Path, line: &str) -> Output {
    let mut command = Command::new("sh");
    command.args(["-c", line]).current_dir(dir).env_clear().env("NO_COLOR", "1");
    command.env("PATH", std::env::var_os("PATH").unwrap()).env("wbsync", env!("CARGO_BIN_EXE_wbsync"));
    command.output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

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

#[test]
fn a_bundle_goes_through_a_pipe_in_clear_and_sealed() {
    let pair = Pair::new();
    let beta = pair.beta.dir().to_str().unwrap();
    for seal in ["", "--to beta", "-o -"] {
        pair.alpha.insert_request(Some(App::ADMIN), &format!("through the gate {seal}"), "public");
        let line = format!("\"$wbsync\" bundle create --for beta {seal} | \"$wbsync\" -C {beta} bundle apply -");
        let run = shell(pair.alpha.dir(), &line);
        assert!(run.status.success(), "{seal}: {}", text(&run.stderr));
        assert!(text(&run.stdout).contains(" new head"), "{seal}: {}", text(&run.stdout));
        let shown = pair.beta.dump_columns("help_requests", &["description"]);
        assert!(shown.contains(&format!("through the gate {seal}")), "{shown}");
        let line = format!("\"$wbsync\" bundle create --for beta --full {seal} | \"$wbsync\" -C {beta} bundle list -");
        let run = shell(pair.alpha.dir(), &line);
        assert!(text(&run.stdout).contains("  objects/"), "{seal}: {}{}", text(&run.stdout), text(&run.stderr));
    }
    assert!(!pair.alpha.dir().join("-").exists(), "`-` is no file");
    let line = format!("\"$wbsync\" bundle request -o - | \"$wbsync\" -C {beta} bundle create --request /dev/stdin -n");
    let run = shell(pair.alpha.dir(), &line);
    assert!(text(&run.stdout).starts_with("bundle "), "{}{}", text(&run.stdout), text(&run.stderr));
    // A gate that cuts the line leaves nothing behind.
    let before = pair.beta.dump("help_requests");
    let line =
        format!("\"$wbsync\" bundle create --for beta --full | head -c 9000 | \"$wbsync\" -C {beta} bundle apply -");
    let run = shell(pair.alpha.dir(), &line);
    assert_eq!(run.status.code(), Some(6), "{}", text(&run.stderr));
    assert!(text(&run.stderr).contains("from standard input"), "{}", text(&run.stderr));
    assert_eq!(pair.beta.dump("help_requests"), before);
    pair.alpha.wbsync(&["bundle", "create", "--for", "beta", "--split", "4G"]).exits(2);
}

#[test]
fn parts_are_named_for_their_numbers_and_one_that_lacks_is_named() {
    let pair = Pair::new();
    for number in 0..60 {
        let random: String =
            (0..400).map(|at| char::from(b'a' + ((at * 7919 + number * 104_729 + at * at) % 26) as u8)).collect();
        pair.alpha.insert_request(Some(App::ADMIN), &random, "public");
        if number % 12 == 0 {
            pair.alpha.wbsync(&["bundle", "create", "--for", "beta", "-o", "lost"]).exits(0);
        }
    }
    pair.alpha.wbsync(&["bundle", "create", "--for", "beta", "--split", "14K", "-o", "part"]).exits(0);
    let mut parts: Vec<String> = (1..)
        .map(|part| pair.alpha.dir().join(format!("part.{part}")))
        .take_while(|path| path.exists())
        .map(|path| path.to_str().unwrap().to_owned())
        .collect();
    assert!(parts.len() > 2, "{parts:?}");
    parts.reverse();
    let lacking: Vec<&str> = ["bundle", "apply"].into_iter().chain(parts[1..].iter().map(String::as_str)).collect();
    let run = pair.beta.wbsync(&lacking).exits(1);
    let last = parts.len();
    assert!(run.stderr.contains(&format!("of the {last} parts of the bundle these are missing: {last}")), "{run}");
    let all: Vec<&str> = ["bundle", "apply"].into_iter().chain(parts.iter().map(String::as_str)).collect();
    pair.beta.wbsync(&all).exits(0);
}

#[test]
fn since_and_whole_are_taken_as_they_are_meant() {
    let pair = Pair::new();
    pair.alpha.wbsync(&["bundle", "create", "--for", "beta", "-o", "one"]).exits(0);
    let nothing = pair.alpha.wbsync(&["bundle", "create", "--all", "--since", "0h", "-n"]).exits(0);
    assert!(nothing.stdout.contains("0 heads, 0 objects"), "{nothing}");
    let all = pair.alpha.wbsync(&["bundle", "create", "--all", "--since", "2026-01-01", "-n"]).exits(0);
    assert!(!all.stdout.contains("0 heads, 0 objects"), "{all}");
    pair.alpha.wbsync(&["bundle", "create", "--for", "beta", "--since", "lately", "-n"]).exits(2);
    pair.alpha.wbsync(&["bundle", "create", "--for", "beta", "--since", "1d", "--full", "-n"]).exits(2);
    let whole = pair.alpha.wbsync(&["bundle", "create", "--for", "beta", "--whole", "-n"]).exits(0);
    assert!(whole.stdout.contains("2 heads"), "{whole}");
}

#[test]
fn a_site_is_made_from_a_bundle_by_file_by_pipe_and_by_init() {
    let pair = Pair::new();
    let file = pair.alpha.dir().join("all.tar");
    let file = file.to_str().unwrap();
    pair.alpha.wbsync(&["bundle", "create", "--all", "-o", file]).exits(0);
    let rows = |app: &App| app.value("SELECT count(*) FROM help_requests");
    let by_file = App::new();
    let run = by_file.wbsync(&["clone", file, "--preset", "whiteballoon", "--name", "gamma"]).exits(0);
    assert!(run.stdout.contains("cloned from:\n  alpha"), "{run}");
    let by_pipe = App::new();
    let piped = shell(by_pipe.dir(), &format!("cat '{file}' | \"$wbsync\" clone - --preset whiteballoon"));
    assert!(piped.status.success(), "{}", text(&piped.stderr));
    let by_init = App::new();
    by_init.wbsync(&["init", "--from", file, "--preset", "whiteballoon"]).exits(0);
    assert!(rows(&by_file) != "0" && rows(&by_file) == rows(&by_pipe) && rows(&by_file) == rows(&by_init));
    by_file.wbsync(&["fsck"]).exits(0);
    let store = pair.alpha.dir().join(".wbsync/store");
    let run = App::new().wbsync(&["clone", store.to_str().unwrap(), "--part", file, "--preset", "whiteballoon"]);
    run.exits(2);
}

#[test]
fn a_bundle_of_a_stranger_says_why_nothing_is_taken() {
    let pair = Pair::strangers();
    let (alpha, beta) = (&pair.alpha, &pair.beta);
    alpha.wbsync(&["bundle", "create", "--all", "-o", "all.tar"]).ok();
    let file = alpha.dir().join("all.tar");
    let apply = |more: &[&str]| beta.wbsync(&[&["bundle", "apply", file.to_str().unwrap()], more].concat()).ok();
    for run in [apply(&["-n"]), apply(&[])] {
        assert!(run.stderr.contains("nothing is taken of alpha (SHA256:"), "{run}");
        assert!(run.stderr.contains("hint: `wbsync peer add CARD`"), "{run}");
    }
    let told = apply(&["--json"]).json();
    assert_eq!((&told["strangers"][0]["name"], &told["strangers"][0]["is_peer"]), (&"alpha".into(), &false.into()));
    beta.wbsync(&["peer", "add", alpha.wbsync(&["id"]).ok().stdout.trim()]).ok();
    let run = apply(&[]);
    assert!(run.stderr.contains("nothing is taken of alpha, who isn't followed here"), "{run}");
    assert!(!run.stderr.contains("peer add") && run.stderr.contains("wbsync follow NAME"), "{run}");
    beta.wbsync(&["follow", "alpha"]).ok();
    let run = apply(&[]);
    assert!(run.stdout.contains("took 1 new head\n") && !run.stderr.contains("nothing is taken"), "{run}");
}

#[test]
fn strangers_in_the_bundle_of_a_peer_are_not_spoken_of() {
    let pair = Pair::new();
    let gamma = App::new();
    gamma.insert_user("gina", "public");
    gamma.wbsync(&["init", "--preset", "whiteballoon", "--name", "gamma"]).ok();
    // Alpha carries for gamma, whom beta doesn't know.
    pair.alpha.wbsync(&["peer", "add", gamma.wbsync(&["id"]).ok().stdout.trim()]).ok();
    pair.alpha.wbsync(&["follow", "gamma"]).ok();
    gamma.wbsync(&["bundle", "create", "--all", "-o", "all.tar"]).ok();
    pair.alpha.wbsync(&["bundle", "apply", gamma.dir().join("all.tar").to_str().unwrap()]).ok();
    pair.alpha.wbsync(&["bundle", "create", "--all", "--whole", "-o", "all.tar"]).ok();
    let run = pair.beta.wbsync(&["bundle", "apply", pair.alpha.dir().join("all.tar").to_str().unwrap()]).ok();
    assert!(run.stdout.contains("of alpha") && !run.stderr.contains("nothing is taken"), "{run}");
}

#[test]
fn a_request_and_a_bundle_are_told_apart() {
    let pair = Pair::new();
    let (alpha, beta) = (&pair.alpha, &pair.beta);
    beta.wbsync(&["bundle", "request", "-o", "beta.request"]).ok();
    let request = beta.dir().join("beta.request").to_str().unwrap().to_owned();
    for verb in ["apply", "verify", "list"] {
        let run = beta.wbsync(&["bundle", verb, &request]).exits(1);
        assert!(run.stderr.contains("beta.request is a request, which asks for a bundle"), "{run}");
        assert!(
            run.stderr.contains("hint: whoever it is meant for answers it: `wbsync bundle create --request"),
            "{run}"
        );
    }
    for seal in [&[][..], &["--to", "beta"]] {
        alpha.wbsync(&[&["bundle", "create", "--for", "beta", "--full", "-o", "for-beta"], seal].concat()).ok();
        let run = alpha.wbsync(&["bundle", "create", "--request", "for-beta", "-o", "again"]).exits(1);
        assert!(run.stderr.contains("for-beta is a bundle, and no request for one"), "{run}");
        assert!(!alpha.dir().join("again").exists());
    }
    // What is neither is damage, as before.
    let mut bytes = fs::read(&request).unwrap();
    bytes[100] ^= 1;
    fs::write(&request, bytes).unwrap();
    beta.wbsync(&["bundle", "apply", &request]).exits(6);
    alpha.wbsync(&["bundle", "create", "--request", &request]).exits(6);
}
