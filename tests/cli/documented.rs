//! The reference is what the program says: docs/commands.md and the table in docs/exit-codes.md are made from it.
//!
//! To write them anew: `WBSYNC_UPDATE_DOCS=1 cargo test --test cli documented`.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use clap::CommandFactory;
use wbsync::cli::arguments::CommandLine;
use wbsync::sync::code::Code;

#[test]
fn the_reference_of_commands_is_up_to_date() {
    let mut text = String::from(
        "# Commands\n\nThis page is made from the program's own help (`wbsync COMMAND --help`); a test keeps it in step.\n\
         The options below `Global options` in the first section hold for every command.\n",
    );
    section(&CommandLine::command().term_width(100), "wbsync", &mut text);
    compare("docs/commands.md", &text);
}

fn section(command: &clap::Command, name: &str, text: &mut String) {
    let mut shown = command.clone().bin_name(name).display_name(name);
    let help = shown.render_long_help().to_string();
    let lines: Vec<&str> = help.lines().map(str::trim_end).collect();
    *text += &format!("\n## {name}\n\n```text\n{}\n```\n", lines.join("\n").trim());
    for sub in command.get_subcommands().filter(|sub| sub.get_name() != "help") {
        section(sub, &format!("{name} {}", sub.get_name()), text);
    }
}

#[test]
fn every_code_is_documented() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/exit-codes.md");
    let found = fs::read_to_string(path).unwrap();
    let (before, after) = found.split_once("<!-- codes -->\n").expect("the page marks its table");
    let (_, after) = after.split_once("<!-- end -->\n").expect("the page marks the end of its table");
    let rows = Code::ALL.iter().map(|code| format!("| `{}` | {} | {} |\n", code.as_str(), code.exit(), code.meaning()));
    let table: String =
        ["| code | exit code | meaning |\n|---|---|---|\n".to_owned()].into_iter().chain(rows).collect();
    compare("docs/exit-codes.md", &format!("{before}<!-- codes -->\n{table}<!-- end -->\n{after}"));
}

#[test]
fn codes_are_words_of_their_own() {
    let words: BTreeSet<_> = Code::ALL.iter().map(|code| code.as_str()).collect();
    assert_eq!(words.len(), Code::ALL.len(), "no word twice");
    for word in words {
        assert!(word.bytes().all(|c| c.is_ascii_lowercase() || c == b'-'), "{word}");
    }
}

#[test]
fn every_exit_code_is_explained() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/exit-codes.md");
    let page = fs::read_to_string(path).unwrap();
    let exits: BTreeSet<u8> = Code::ALL.iter().map(|code| code.exit()).chain([0, 3]).collect();
    for exit in exits {
        assert!(page.contains(&format!("\n| {exit} | ")), "exit code {exit} is not explained");
    }
}

fn compare(name: &str, wanted: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    if std::env::var_os("WBSYNC_UPDATE_DOCS").is_some() {
        fs::write(&path, wanted).unwrap();
    }
    let found = fs::read_to_string(&path).unwrap_or_default();
    assert!(found == wanted, "{name} is out of date: run WBSYNC_UPDATE_DOCS=1 cargo test --test cli documented");
}
