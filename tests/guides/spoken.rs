//! What documents say of the program is so: commands and options that they name exist, and so do variables, files and tests.

use std::collections::BTreeSet;
use std::fs;

use clap::CommandFactory;
use regex::Regex;
use wbsync::cli::arguments::CommandLine;
use wbsync::sync::settings::{OTHER_VARIABLES, SETTINGS};

use crate::pages::{self, Code, root};

#[test]
fn every_command_that_a_document_names_exists_with_its_options() {
    let mut wbsync = CommandLine::command();
    wbsync.build();
    let (mut seen, mut complaints) = (0, Vec::new());
    for page in pages::of_today() {
        // In the formats a span that begins with the program's name is often a text that is signed or hashed.
        for code in page.code().into_iter().filter(|code| code.is_block || !page.path.starts_with("format/")) {
            for line in command_lines(&code) {
                seen += 1;
                if let Err(complaint) = understand(&wbsync, &line, code.is_block) {
                    complaints.push(format!("{}:{}: `wbsync {}`: {complaint}", page.path, code.line, line.join(" ")));
                }
            }
        }
    }
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
    assert!(seen > 500, "{seen} commands are named");
}

/// What stands in a block and isn't typed by a test: it wants root, a docker daemon, cron, or is a line of a configuration.
const NOT_TYPED: [(&str, &str); 5] = [
    ("docs/deploy.md", "wbsync hub invite --store /var/lib/wbsync/store > invitation.txt"),
    ("docs/deploy.md", "docker compose -f scripts/deploy/compose.yaml exec hub "),
    ("docs/operate.md", "cd /srv/alpha && sudo -u alpha wbsync init"),
    ("docs/worker.md", "*/5 * * * *  board  cd /srv/board && wbsync run-once --quiet"),
    ("docs/hub.md", "restrict,command="),
];

#[test]
fn every_command_in_a_block_is_typed_by_a_test() {
    let tests = texts(&["tests"]);
    let (mut excused, mut complaints) = (BTreeSet::new(), Vec::new());
    for page in pages::of_today().into_iter().filter(|page| !page.path.starts_with("format/")) {
        if page.text.contains("```console") && !tests.contains(&format!("\"{}\"", page.path)) {
            complaints.push(format!("{}: no test types it", page.path));
        }
        for code in page.code().into_iter().filter(|code| code.is_block && !code.is_typed) {
            let excuse = NOT_TYPED.iter().position(|(path, line)| *path == page.path && code.text.starts_with(line));
            match excuse {
                Some(excuse) => drop(excused.insert(excuse)),
                None if command_lines(&code).is_empty() => {}
                None => complaints.push(format!("{}:{}: not typed: {}", page.path, code.line, code.text)),
            }
        }
    }
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
    assert_eq!(excused.len(), NOT_TYPED.len(), "some excuses aren't needed any more");
}

#[test]
fn options_that_stand_alone_exist_somewhere() {
    let wbsync = CommandLine::command();
    let mut known = BTreeSet::new();
    options(&wbsync, &mut known);
    let option = Regex::new("^--[a-z]").unwrap();
    // Of other programs: cargo and its tools, PostgreSQL, node_exporter, git, systemd.
    let others =
        ["--shard", "--nocapture", "--locked", "--profile", "--collector.textfile.directory", "--offline", "--ignored"];
    let mut complaints = Vec::new();
    for page in pages::of_today() {
        for code in page.code().iter().filter(|code| !code.is_block && option.is_match(&code.text)) {
            let name = code.text.split([' ', '=', ',']).next().unwrap();
            if !known.contains(name) && !others.contains(&name) {
                complaints.push(format!("{}:{}: no command has `{name}`", page.path, code.line));
            }
        }
    }
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
}

#[test]
fn variables_files_and_tests_that_documents_name_are_there() {
    let sources = texts(&["src", "tests", "scripts", "examples"]);
    let tables = fs::read_to_string(root().join("fixtures/whiteballoon/schema.sql")).unwrap();
    let variable = Regex::new(r"\bWBSYNC_[A-Z][A-Z_]*[A-Z]\b").unwrap();
    let file = Regex::new(r"^(docs|format|scripts|tests|src|examples|fixtures)/[\w./@*-]+$").unwrap();
    let test = Regex::new(r"^[a-z0-9]+(_[a-z0-9]+){3,}$").unwrap();
    let mut complaints = Vec::new();
    for page in pages::of_today() {
        let mut complain =
            |line: usize, what: &str| complaints.push(format!("{}:{line}: there is no {what}", page.path));
        for (number, line) in page.text.lines().enumerate() {
            for name in variable.find_iter(line).filter(|name| !sources.contains(name.as_str())) {
                complain(number + 1, name.as_str());
            }
        }
        for code in page.code().iter().filter(|code| !code.is_block) {
            let text = code.text.as_str();
            let is_there = |name: &str| root().join(name).exists() || root().join(format!("{name}.rs")).exists();
            if file.is_match(text) && !text.contains('*') && !is_there(text) {
                complain(code.line, text);
            }
            let is_data = || tables.contains(&format!("{text} ")) || sources.contains(&format!("\"{text}\""));
            let is_named = || text.starts_with("wbsync_") || text.starts_with("sqlite_") || is_data();
            if test.is_match(text) && !is_named() && !sources.contains(&format!("fn {text}(")) {
                complain(code.line, &format!("test {text}"));
            }
        }
    }
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
}

#[test]
fn every_variable_of_the_program_is_in_the_one_table() {
    let page = pages::page("docs/configuration.md").text;
    for setting in SETTINGS {
        let row = page.lines().find(|line| line.contains(&format!("| `{}` |", setting.key)));
        let row = row.unwrap_or_else(|| panic!("docs/configuration.md lacks {}", setting.key));
        for name in setting.variables {
            assert!(row.contains(&format!("`{name}`")), "docs/configuration.md lacks {name}");
        }
    }
    for name in OTHER_VARIABLES {
        assert!(page.contains(&format!("`{name}`")), "docs/configuration.md lacks {name}");
    }
}

/// Returns the words after `wbsync` of each command in a piece of code.
pub(crate) fn command_lines(code: &Code) -> Vec<Vec<String>> {
    let text = code.text.split("  #").next().unwrap();
    if !code.is_block && !text.starts_with("wbsync ") {
        return Vec::new();
    }
    let mut found: Vec<Vec<String>> = Vec::new();
    let mut current: Option<Vec<String>> = None;
    let mut may_begin = true;
    for word in words(text) {
        let ends = [";", "&&", "||", "|", "&", ">", "<", "2>"].contains(&word.as_str());
        if ends {
            found.extend(current.take());
        } else if let Some(words) = &mut current {
            // In `"$(wbsync id)"` and `command="wbsync …"` the end of the command is within a word.
            let stripped = word.trim_end_matches([')', '"', ';']);
            words.push(stripped.to_owned());
            if stripped.len() < word.len() && !word.starts_with('"') {
                found.extend(current.take());
            }
        } else if may_begin && word == "wbsync" {
            current = Some(Vec::new());
        }
        // Before a command stand a prompt, a word of the shell, or variables.
        may_begin = ends
            || word.ends_with('$')
            || ["sudo", "if", "until", "while", "do", "exec"].contains(&word.as_str())
            || word.contains('=');
    }
    found.extend(current);
    found
}

/// Splits like a shell, near enough.
fn words(text: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut quote = None;
    for c in text.chars() {
        match (quote, c) {
            (None, '\'' | '"') => quote = Some(c),
            (Some(open), _) if open == c => quote = None,
            (None, ' ') => words.push(String::new()),
            _ => words.last_mut().expect("it begins with one").push(c),
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

/// Says what is wrong with the words after `wbsync`.
pub(crate) fn understand(wbsync: &clap::Command, words: &[String], is_whole: bool) -> Result<(), String> {
    let (mut command, mut positions, mut options) = (wbsync, 0, BTreeSet::new());
    let mut rest = words.iter().map(String::as_str).peekable();
    let mut is_cut = false;
    while let Some(word) = rest.next() {
        if word.contains('…') || word == "\\" {
            is_cut = true;
        } else if let Some(option) = word.strip_prefix("--").filter(|option| !option.is_empty()) {
            if ["version", "help"].contains(&option) {
                return Ok(());
            }
            let (name, value) = option.split_once('=').map_or((option, None), |(name, value)| (name, Some(value)));
            options.insert(name);
            let arg = command
                .get_arguments()
                .find(|arg| arg.get_long_and_visible_aliases().is_some_and(|names| names.contains(&name)));
            let arg = arg.ok_or_else(|| format!("there is no --{name}"))?;
            if arg.get_action().takes_values() && value.is_none() {
                is_cut |= rest.next().is_none();
            }
        } else if let Some(letters) = word.strip_prefix('-').filter(|letters| !letters.is_empty()) {
            let letter = letters.chars().next().expect("it isn't empty");
            let arg = command.get_arguments().find(|arg| arg.get_short() == Some(letter));
            let arg = arg.ok_or_else(|| format!("there is no -{letter}"))?;
            if arg.get_action().takes_values() {
                rest.next();
            }
        } else if command.has_subcommands() {
            if word.chars().all(|c| c.is_ascii_uppercase()) {
                return Ok(()); // `wbsync COMMAND --help`
            }
            command = command.find_subcommand(word).ok_or_else(|| format!("there is no {word}"))?;
        } else {
            positions += 1;
        }
    }
    let positionals: Vec<_> = command.get_positionals().collect();
    let many = positionals.last().is_some_and(|last| last.get_num_args().is_some_and(|range| range.max_values() > 1));
    if positions > positionals.len() && !many {
        return Err(format!("takes {} words, not {positions}", positionals.len()));
    }
    let needed = positionals.iter().filter(|arg| arg.is_required_set()).count();
    let is_given = |arg: &clap::Arg| arg.get_long().is_none_or(|name| options.contains(name));
    let has_options = command.get_opts().filter(|arg| arg.is_required_set()).all(is_given);
    if is_whole && !is_cut && (positions < needed || !has_options || command.is_subcommand_required_set()) {
        return Err("something is missing".to_owned());
    }
    Ok(())
}

fn options(command: &clap::Command, known: &mut BTreeSet<String>) {
    let names = command.get_arguments().flat_map(|arg| arg.get_long_and_visible_aliases().unwrap_or_default());
    known.extend(names.map(|long| format!("--{long}")));
    known.extend(["--help".to_owned(), "--version".to_owned()]);
    for sub in command.get_subcommands() {
        options(sub, known);
    }
}

fn texts(dirs: &[&str]) -> String {
    let files = dirs.iter().flat_map(|dir| walkdir::WalkDir::new(root().join(dir)).into_iter().map(Result::unwrap));
    let files = files.filter(|entry| entry.file_type().is_file());
    files.map(|entry| String::from_utf8_lossy(&fs::read(entry.path()).unwrap()).into_owned()).collect()
}

/// The checks themselves, on samples.
mod checks {
    use super::*;

    fn said(text: &str, is_block: bool) -> Result<(), String> {
        let mut wbsync = CommandLine::command();
        wbsync.build();
        let lines = command_lines(&Code { line: 1, text: text.to_owned(), is_block, is_typed: false });
        lines.iter().try_for_each(|line| understand(&wbsync, line, is_block))
    }

    #[test]
    fn what_does_not_exist_is_noticed() {
        for (text, is_block) in [
            ("wbsync snyc", false),
            ("wbsync sync --dew", false),
            ("alpha$ wbsync peer ad x && true", true),
            ("true && wbsync peer add", true),
            ("FOO=1 wbsync -C x remote add one two three", true),
        ] {
            assert!(said(text, is_block).is_err(), "{text}");
        }
        for (text, is_block) in [
            ("wbsync peer add", false),
            ("git log --dew", false),
            ("alpha$ wbsync id > x && wbsync -C b peer add ../x --expect \"$(wbsync id --fingerprint)\"", true),
            ("wbsync sync --due    # --dew", true),
            ("wbsync bundle apply one two three", true),
        ] {
            assert_eq!(said(text, is_block), Ok(()), "{text}");
        }
    }
}
