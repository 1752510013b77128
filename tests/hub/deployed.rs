//! What scripts/deploy has for operators: each file is read by the program that it is for, where that is here, and every
//! command line of wbsync in them is one.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::secured::{Certificates, skipped};
use crate::site::free_address;
use crate::support::run::wbsync;

fn dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/deploy")
}

fn text(name: &str) -> String {
    fs::read_to_string(dir().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// Asserts that `wbsync` knows a command and its options.
fn is_understood(args: &[&str]) {
    let here = tempfile::tempdir().unwrap();
    wbsync(here.path(), &[args, &["--help"]].concat()).ok();
}

#[test]
fn every_command_line_is_understood() {
    for unit in ["wbsync-hub.service", "wbsync@.service", "wbsync-sync@.service"] {
        let text = text(unit);
        let line = text.lines().find_map(|line| line.strip_prefix("ExecStart=/usr/local/bin/wbsync ")).unwrap();
        is_understood(&line.split(' ').collect::<Vec<_>>());
    }
    let dockerfile = text("Dockerfile");
    let line = dockerfile.lines().find_map(|line| line.strip_prefix("CMD ")).unwrap();
    let words: Vec<String> = serde_json::from_str(line).unwrap();
    is_understood(&words.iter().map(String::as_str).collect::<Vec<_>>());
    let compose = text("compose.yaml");
    let line = compose.lines().find_map(|line| line.trim().strip_prefix("command: [serve, ")).unwrap();
    let words: Vec<&str> = line.trim_end_matches(']').split(", ").map(|word| word.trim_matches('"')).collect();
    is_understood(&[&["serve"], &words[..]].concat());
    assert!(compose.contains("wbsync sync --due"));
    is_understood(&["sync", "--due"]);
    // An option that isn't there is noticed by this test.
    let here = tempfile::tempdir().unwrap();
    wbsync(here.path(), &["serve", "--no-such-option", "--help"]).exits(2);
}

#[test]
fn systemd_takes_the_units() {
    let here = tempfile::tempdir().unwrap();
    for unit in ["wbsync-hub.service", "wbsync@.service", "wbsync-sync@.service", "wbsync-sync@.timer"] {
        let program = env!("CARGO_BIN_EXE_wbsync");
        fs::write(here.path().join(unit), text(unit).replace("/usr/local/bin/wbsync", program)).unwrap();
    }
    for unit in ["wbsync-hub.service", "wbsync@.service", "wbsync-sync@.service", "wbsync-sync@.timer"] {
        let run = Command::new("systemd-analyze").args(["verify", &format!("./{unit}")]).current_dir(&here).output();
        let Ok(run) = run else { return goes_without("there is no systemd-analyze") };
        let said = String::from_utf8_lossy(&run.stderr).into_owned();
        assert!(run.status.success() && !said.contains(unit), "{unit}: {said}");
    }
}

#[test]
fn nginx_takes_the_site() {
    let Some(certificates) = Certificates::new() else { return };
    let here = certificates.path("");
    let site = text("nginx.conf")
        .replace("/etc/ssl/hub.example/fullchain.pem", &certificates.path("hub.pem"))
        .replace("/etc/ssl/hub.example/privkey.pem", &certificates.path("hub.key"))
        .replace("listen 443 ssl", &format!("listen {} ssl", free_address()))
        .replace("    listen [::]:443 ssl;\n", "");
    let config = format!(
        "pid {here}/nginx.pid; error_log stderr; events {{}}\nhttp {{ access_log off;\nclient_body_temp_path {here}/1; \
         proxy_temp_path {here}/2; fastcgi_temp_path {here}/3; uwsgi_temp_path {here}/4; scgi_temp_path {here}/5;\n{site}}}\n"
    );
    fs::write(certificates.path("nginx.conf"), config).unwrap();
    let run =
        Command::new("/usr/sbin/nginx").args(["-t", "-p", &here, "-c", &certificates.path("nginx.conf")]).output();
    let Ok(run) = run else { return skipped("there is no nginx") };
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
}

#[test]
fn the_composition_is_yaml_with_the_parts_that_it_names() {
    let script = "import sys, yaml; c = yaml.safe_load(open(sys.argv[1])); s = c['services']\n\
        assert set(s) == {'hub', 'alpha', 'beta'}, s\n\
        assert all(p['read_only'] and p['cap_drop'] == ['ALL'] for p in s.values())\n\
        assert all(s[n]['depends_on']['hub'] for n in ('alpha', 'beta')) and 'hub-store' in c['volumes']";
    let has_yaml = Command::new("python3").args(["-c", "import yaml"]).output();
    if !has_yaml.is_ok_and(|run| run.status.success()) {
        return goes_without("there is no python3 with yaml");
    }
    let run = Command::new("python3").args(["-c", script]).arg(dir().join("compose.yaml")).output().unwrap();
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    assert!(
        dir().join("Dockerfile").exists() && text("compose.yaml").contains("dockerfile: scripts/deploy/Dockerfile")
    );
}

#[test]
fn caddy_takes_its_file() {
    let mut caddy = Command::new("caddy");
    let run = caddy.args(["validate", "--adapter", "caddyfile", "--config"]).arg(dir().join("Caddyfile")).output();
    let Ok(run) = run else { return goes_without("there is no caddy") };
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
}

/// Says that a check of a file for other programs is left out: not every machine has these, and none of ours needs
/// them, so that continuous integration goes without them too.
fn goes_without(why: &str) {
    let _ = std::io::Write::write_all(&mut std::io::stderr(), format!("SKIPPED: {why}\n").as_bytes());
}
