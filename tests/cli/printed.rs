//! `wbsync export-identity`, and what `restore --identity` says of what it made.

use std::fs;
use std::io::Write;
use std::process::Command;

use crate::shown::{Pair, check};
use crate::support::app::App;
use crate::support::run::{Run, wbsync_with};

const PASSPHRASE: &str = "seven moons over the quay";

fn run(app: &App, args: &[&str]) -> Run {
    wbsync_with(app.dir(), args, &[("WBSYNC_PASSPHRASE", PASSPHRASE)])
}

/// What is sealed differs each time.
fn without_armor(mut run: Run) -> Run {
    let is_base64 = |byte: u8| byte.is_ascii_alphanumeric() || b"+/=".contains(&byte);
    let is_sealed = |line: &&str| !line.is_empty() && line.bytes().all(is_base64);
    let lines: Vec<&str> = run.stdout.lines().filter(|line| !is_sealed(line)).collect();
    run.stdout = lines.join("\n") + "\n";
    run
}

#[test]
fn an_exported_identity_says_what_it_is() {
    let pair = Pair::new();
    let printed = run(&pair.alpha, &["export-identity"]).ok();
    fs::write(pair.alpha.dir().join("paper"), &printed.stdout).unwrap();
    fs::write(pair.alpha.dir().join("passphrase"), format!("{PASSPHRASE}\n")).unwrap();
    check!("export_identity", without_armor(printed));
    let read = ["restore", "--identity", "paper", "--passphrase-file", "passphrase", "--dry-run"];
    check!("export_identity_read", pair.alpha.wbsync(&read).ok());
    let drawn = run(&pair.alpha, &["export-identity", "--qr", "--output", "drawn"]).ok();
    assert!(drawn.stdout.starts_with("wrote "), "{drawn}");
    let text = fs::read_to_string(pair.alpha.dir().join("drawn")).unwrap();
    assert!(text.contains('█') && !text.contains('\u{1b}'), "{text}");
    run(&pair.alpha, &["restore", "--identity", "drawn", "--dry-run"]).ok();
    let json = run(&pair.alpha, &["export-identity", "--json"]).ok().json();
    assert!(json["export"].as_str().unwrap().starts_with("-----BEGIN AGE ENCRYPTED FILE-----\n"));
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(fs::metadata(pair.alpha.dir().join("drawn")).unwrap().permissions().mode() & 0o777, 0o600);
    }
}

#[test]
fn what_cannot_be_opened_is_refused_with_its_reason() {
    let pair = Pair::new();
    check!(
        "export_identity_short",
        wbsync_with(pair.alpha.dir(), &["export-identity"], &[("WBSYNC_PASSPHRASE", "hunter2")]).exits(2)
    );
    check!("export_identity_nobody_to_ask", pair.alpha.wbsync(&["export-identity"]).exits(2));
    fs::write(pair.alpha.dir().join("letter"), "dear alpha\n").unwrap();
    check!("export_identity_none", run(&pair.alpha, &["restore", "--identity", "letter"]).exits(5));
    check!("export_identity_nowhere", run(&pair.alpha, &["restore", "--identity", "missing"]).exits(1));
    let printed = run(&pair.alpha, &["export-identity"]).ok().stdout;
    fs::write(pair.beta.dir().join("paper"), &printed).unwrap();
    let args = ["restore", "--identity", "paper", "--dry-run"];
    let wrong = [("WBSYNC_PASSPHRASE", "eight moons over the quay")];
    check!("export_identity_other_passphrase", wbsync_with(pair.beta.dir(), &args, &wrong).exits(5));
    run(&pair.beta, &["restore", "--identity", "paper"]).exits(1);
    check!("restore_options_without_identity", pair.beta.wbsync(&["restore", "--preset", "whiteballoon"]).exits(2));
}

/// The command in the heading, and the two of format/identity.md that take the keys out, give back the very files.
#[test]
fn the_ordinary_age_opens_an_exported_identity() {
    if Command::new("age").arg("--version").output().is_err()
        || Command::new("script").arg("--version").output().is_err()
    {
        assert!(
            std::env::var_os("CI").is_none() || std::env::var_os("WBSYNC_ALLOW_SKIPS").is_some(),
            "age or script is missing"
        );
        let _ = writeln!(std::io::stderr(), "SKIPPED: age or script is not installed");
        return;
    }
    let pair = Pair::new();
    let dir = pair.alpha.dir();
    fs::write(dir.join("paper"), run(&pair.alpha, &["export-identity"]).ok().stdout).unwrap();
    // age asks on a terminal only.
    let printed = fs::read_to_string(dir.join("paper")).unwrap();
    let opening = printed.lines().find(|line| line.ends_with("age -d")).unwrap().replace("THIS-FILE", "paper");
    let opening = format!("{opening} -o opened");
    let mut child = Command::new("script")
        .args(["-q", "-e", "-c", &opening, "/dev/null"])
        .current_dir(dir)
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(format!("{PASSPHRASE}\n").as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    let taking =
        "grep '^AGE-SECRET-KEY-1' opened > age.key && sed -n '/BEGIN OPENSSH/,/END OPENSSH/p' opened > id_ed25519";
    assert!(Command::new("sh").args(["-c", taking]).current_dir(dir).status().unwrap().success());
    let keys = dir.join(".wbsync/keys");
    let read = |path| fs::read_to_string(path).unwrap();
    assert_eq!(read(dir.join("id_ed25519")), read(keys.join("id_ed25519")));
    assert!(read(keys.join("age.key")).ends_with(&read(dir.join("age.key"))));
}
