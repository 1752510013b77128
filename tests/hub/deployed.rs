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

/// No builder of images is asked: this reads the file as one would.
#[test]
fn the_dockerfile_has_known_instructions_stages_and_versions() {
    let text = text("Dockerfile").replace("\\\n", " ");
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let (mut stages, mut user, mut entry) = (Vec::new(), "root".to_owned(), false);
    for line in lines {
        let (instruction, rest) = line.split_once(' ').unwrap_or((line, ""));
        match instruction {
            "FROM" => {
                let words: Vec<&str> = rest.split(' ').collect();
                stages.push((words[0].to_owned(), words.get(2).map(|name| (*name).to_owned())));
                "root".clone_into(&mut user);
            }
            "COPY" => {
                let from = rest.split(' ').find_map(|word| word.strip_prefix("--from="));
                let is_stage = |name| stages.iter().any(|(_, stage)| stage.as_deref() == Some(name));
                assert!(from.is_none_or(is_stage), "{line}");
            }
            "USER" => rest.clone_into(&mut user),
            "CMD" | "ENTRYPOINT" => {
                serde_json::from_str::<Vec<String>>(rest).unwrap_or_else(|error| panic!("{line}: {error}"));
                entry |= instruction == "ENTRYPOINT";
            }
            "HEALTHCHECK" => {
                let command = rest.split_once(" CMD ").expect("a health check has a command").1;
                serde_json::from_str::<Vec<String>>(command.trim()).unwrap_or_else(|error| panic!("{line}: {error}"));
            }
            "RUN" | "WORKDIR" | "VOLUME" | "EXPOSE" | "STOPSIGNAL" | "ENV" | "LABEL" => {
                assert!(!rest.is_empty(), "{line}")
            }
            other => panic!("{other} is no instruction of a Dockerfile"),
        }
    }
    assert!(entry && user != "root" && stages.len() == 2, "{stages:?} {user}");
    let manifest = fs::read_to_string(dir().join("../../Cargo.toml")).unwrap();
    let version =
        manifest.lines().find_map(|line| line.strip_prefix("rust-version = \"")).unwrap().trim_end_matches('"');
    assert!(stages[0].0.starts_with(&format!("rust:{version}-")), "{stages:?} builds with another Rust than {version}");
    // Built and run on the same system: the C library is the one that it was built with.
    let system = |image: &str| image.rsplit(['-', ':']).find(|word| *word != "slim").unwrap().to_owned();
    assert_eq!(system(&stages[0].0), system(&stages[1].0), "{stages:?}");
}

#[test]
fn the_installer_installs_and_removes() {
    let here = tempfile::tempdir().unwrap();
    let prefix = here.path().join("prefix");
    let script = dir().join("../install");
    let run = |args: &[&str]| {
        let run =
            Command::new("sh").arg(&script).args(args).args(["--prefix", prefix.to_str().unwrap()]).output().unwrap();
        assert!(run.status.success(), "{args:?}: {}", String::from_utf8_lossy(&run.stderr));
    };
    run(&["--binary", env!("CARGO_BIN_EXE_wbsync"), "--units"]);
    for file in ["bin/wbsync", "share/man/man1/wbsync-run.1", "share/bash-completion/completions/wbsync"] {
        assert!(prefix.join(file).exists(), "{file}");
    }
    let unit = fs::read_to_string(prefix.join("lib/systemd/system/wbsync@.service")).unwrap();
    assert!(unit.contains(&format!("ExecStart={}/bin/wbsync run", prefix.display())), "{unit}");
    run(&["--uninstall"]);
    let left =
        walkdir::WalkDir::new(&prefix).into_iter().map(Result::unwrap).filter(|entry| entry.file_type().is_file());
    assert_eq!(left.map(|entry| entry.path().to_owned()).collect::<Vec<_>>(), Vec::<PathBuf>::new());
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
