//! docs/troubleshooting.md knows every way in which the program can fail, and every command that the guides advise can be typed.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::process::Command;

use clap::CommandFactory;
use regex::Regex;
use wbsync::cli::arguments::CommandLine;
use wbsync::hub::error::CODES;
use wbsync::sync::code::Code;

use crate::pages;
use crate::spoken::{command_lines, understand};
use crate::support::pair::Pair;
use crate::support::run::wbsync_with;

/// Returns the words in the first column of the tables below a heading of the page, with their second column.
fn rows(heading: &str) -> BTreeMap<String, String> {
    let page = pages::page("docs/troubleshooting.md");
    let (_, below) =
        page.text.split_once(&format!("\n## {heading}\n")).unwrap_or_else(|| panic!("there is no {heading}"));
    let below = below.split("\n## ").next().unwrap();
    let mut found = BTreeMap::new();
    for line in below.lines().filter(|line| line.starts_with("| `")) {
        let mut cells = line.trim_matches('|').split(" | ");
        let (words, exit) = (cells.next().unwrap().trim(), cells.next().unwrap().trim());
        for word in words.split('`').skip(1).step_by(2) {
            assert_eq!(found.insert(word.to_owned(), exit.to_owned()), None, "{word} stands there twice");
        }
    }
    found
}

#[test]
fn every_code_has_its_row_and_every_row_a_code() {
    let wanted: BTreeMap<String, String> = Code::ALL
        .iter()
        .map(|code| (code.as_str().to_owned(), code.exit().to_string()))
        .chain(CODES.iter().map(|code| ((*code).to_owned(), "1".to_owned())))
        .collect();
    let found = rows("By the error's word");
    let differ: Vec<_> = wanted.iter().filter(|(word, exit)| found.get(*word) != Some(exit)).collect();
    let unknown: Vec<_> = found.keys().filter(|word| !wanted.contains_key(*word)).collect();
    assert!(
        differ.is_empty() && unknown.is_empty(),
        "not there, or with another exit code: {differ:?}; unknown: {unknown:?}"
    );
}

#[test]
fn every_exit_code_has_its_row() {
    let found: BTreeSet<String> = rows("By the exit code").into_keys().collect();
    let wanted = Code::ALL.iter().map(|code| code.exit()).chain([0, 3, 8]).map(|exit| exit.to_string());
    assert_eq!(found, wanted.collect());
}

#[test]
fn every_word_of_a_hub_has_its_row() {
    let format = pages::page("format/http.md");
    let (_, table) = format.text.split_once("| status | code |\n").expect("the format lists them");
    let table = table.split("\n\n").next().unwrap();
    let wanted: BTreeSet<&str> = table.split('`').skip(1).step_by(2).filter(|word| *word != "Retry-After").collect();
    let rows = rows("When a hub refuses");
    let found: BTreeSet<&str> = rows.keys().map(String::as_str).collect();
    assert_eq!(found, wanted);
    // And the format's list is what the hub says.
    let source: String = walkdir::WalkDir::new(pages::root().join("src/hub"))
        .into_iter()
        .map(Result::unwrap)
        .filter(|entry| entry.file_type().is_file())
        .map(|entry| fs::read_to_string(entry.path()).unwrap())
        .collect();
    let refusal = Regex::new(r#"(?:Refusal|Self)::new\(\s*\d{3},\s*"([a-z-]+)""#).unwrap();
    let said: BTreeSet<&str> = refusal.captures_iter(&source).map(|found| found.get(1).unwrap().as_str()).collect();
    assert!(said.len() > 25 && said.is_subset(&wanted), "{:?}", said.difference(&wanted));
}

#[test]
fn every_check_of_health_has_its_row() {
    let source = fs::read_to_string(pages::root().join("src/daemon/health.rs")).unwrap();
    let check = Regex::new(r#"(?:add|add_about|fail|fail_about)\(\s*"([a-z]+)""#).unwrap();
    let wanted: BTreeSet<&str> = check.captures_iter(&source).map(|found| found.get(1).unwrap().as_str()).collect();
    let rows = rows("By what health says");
    let found: BTreeSet<&str> = rows.keys().map(String::as_str).collect();
    assert_eq!(found, wanted);
}

/// Each command in a sentence of the guides is run beside an instance that has whatever they speak of: a peer, a store, a
/// conflict, a row. What comes of it is the tests' of the commands; here it is taken at all, and ends.
#[test]
fn every_command_in_a_sentence_of_the_guides_can_be_typed() {
    let pair = Pair::new();
    pair.disagree();
    pair.alpha.wbsync(&["group", "create", "board"]).ok();
    let list = pair.alpha.wbsync(&["--json", "conflicts"]).exits(3).json();
    let record = list["conflicts"][0]["record"].as_str().unwrap().to_owned();
    let card = pair.beta.wbsync(&["id"]).ok().stdout;
    fs::write(pair.alpha.dir().join("FILE"), &card).unwrap();
    let fingerprint = pair.beta.wbsync(&["id", "--fingerprint"]).ok().stdout;
    let stand_ins = [
        ("RECORD", record.as_str()),
        ("FINGERPRINT", fingerprint.trim()),
        ("REMOTE", "stick"),
        ("HUB", "stick"),
        ("PEER", "beta"),
        ("NAME", "another"),
        ("GROUP", "board"),
        ("CARD", card.trim()),
        ("ROW", "requests#1"),
        ("URL", &pair.store()),
        ("COMMIT", "HEAD"),
        ("DATASET", "requests"),
        ("DIR", &pair.store()),
        ("SPAN", "90d"),
        ("https://hub.example/", &pair.store()),
        ("http://hub:7420/", &pair.store()),
        ("/var/lib/wbsync/store", &pair.store()),
        ("ID", &"ab".repeat(32)),
    ];
    let mut wbsync = CommandLine::command();
    wbsync.build();
    // A command without what it needs is only named.
    let is_whole =
        |words: &Vec<String>| !words.iter().any(|word| word.contains('…')) && understand(&wbsync, words, true).is_ok();
    let mut typed = BTreeSet::new();
    for guide in pages::of_today().iter().filter(|page| !page.path.starts_with("format/")) {
        for code in guide.code().iter().filter(|code| !code.is_block) {
            typed.extend(command_lines(code).into_iter().filter(is_whole));
        }
    }
    // These run on; the walks run them.
    typed.retain(|words| !matches!(words[0].as_str(), "run" | "serve") && !words.contains(&"--watch".to_owned()));
    assert!(typed.len() > 100, "{} commands", typed.len());
    let saved = tempfile::tempdir().unwrap();
    let copy = |from: &std::path::Path, to: &std::path::Path| {
        assert!(Command::new("cp").arg("-a").arg(from.join(".")).arg(to).status().unwrap().success());
    };
    let places = [(pair.alpha.dir(), saved.path().join("alpha")), (pair.stick.path(), saved.path().join("stick"))];
    for (place, kept) in &places {
        fs::create_dir(kept).unwrap();
        copy(place, kept);
    }
    for words in &typed {
        let words: Vec<String> = words
            .iter()
            .map(|word| stand_ins.iter().fold(word.clone(), |word, (name, here)| word.replace(name, here)))
            .collect();
        let passphrase = [("WBSYNC_PASSPHRASE", "correct horse battery")];
        let run = wbsync_with(pair.alpha.dir(), &words.iter().map(String::as_str).collect::<Vec<_>>(), &passphrase);
        // A command alone may be its name: `prune` has to be told what.
        assert!((run.code != 2 || words.len() == 1) && run.code >= 0 && !run.stderr.contains("panicked"), "{run}");
        // Each meets what the first met.
        for (place, kept) in &places {
            for entry in fs::read_dir(place).unwrap().map(|entry| entry.unwrap().path()) {
                if entry.is_dir() { fs::remove_dir_all(entry).unwrap() } else { fs::remove_file(entry).unwrap() }
            }
            copy(kept, place);
        }
    }
}
