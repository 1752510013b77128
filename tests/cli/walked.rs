//! The walk through docs/air-gap.md, run as it is written there.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use crate::support::app::App;

#[test]
fn three_sites_and_a_courier() {
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/air-gap.md")).unwrap();
    let sites: BTreeMap<&str, App> = ["alpha", "beta", "gamma"].map(|name| (name, App::new())).into();
    for (name, app) in &sites {
        let user = app.insert_user(&format!("somebody-of-{name}"), "public");
        app.insert_request(Some(user), &format!("needed at {name}"), "public");
        app.insert_request(Some(user), &format!("among friends of {name}"), "trusted");
    }
    let stick = tempfile::tempdir().unwrap();
    let bin = Path::new(env!("CARGO_BIN_EXE_wbsync")).parent().unwrap();
    let path = std::env::join_paths(
        std::iter::once(bin.to_owned()).chain(std::env::split_paths(&std::env::var_os("PATH").unwrap())),
    );
    let path = path.unwrap();
    let (mut commands, mut said) = (0, String::new());
    for block in page.split("```console\n").skip(1).map(|rest| rest.split("```").next().unwrap()) {
        for line in block.lines() {
            let command = line.split_once("$ ").and_then(|(site, command)| Some((sites.get(site)?, command)));
            let Some((app, command)) = command else {
                // What is shown stands in what was said, piece by piece.
                let mut rest = said.as_str();
                for piece in line.split('…') {
                    let at = rest.find(piece);
                    rest = &rest[at.unwrap_or_else(|| panic!("{line:?} isn't in:\n{said}")) + piece.len()..];
                }
                continue;
            };
            let command = command.replace("/media/stick", stick.path().to_str().unwrap());
            let mut run = Command::new("sh");
            run.args(["-ec", &command]).current_dir(app.dir()).env_clear().env("NO_COLOR", "1").env("PATH", &path);
            let output = run.output().unwrap();
            said = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text).into_owned()).concat();
            assert!(output.status.success(), "{line}\n{said}");
            commands += 1;
        }
    }
    assert!(commands > 25, "the page has {commands} commands");
    // Everybody has everything, and what nobody was meant to see stayed home.
    let texts = |app: &App| app.dump_columns("help_requests", &["description"]);
    for (name, app) in &sites {
        for other in sites.keys() {
            assert!(texts(app).contains(&format!("needed at {other}")), "{name}: {}", texts(app));
            assert!(texts(app).contains(&format!("among friends of {other}")), "{name}: {}", texts(app));
        }
    }
}
