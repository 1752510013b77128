//! Nothing a command says goes unseen: of each there is a snapshot of a success, of an empty answer, of an error and of JSON. Help is
//! docs/commands.md, which `documented` compares.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use clap::CommandFactory;
use wbsync::cli::arguments::CommandLine;

/// What a snapshot shows of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Success,
    Empty,
    Error,
    Json,
}

/// Snapshots of an answer with nothing in it, or of a command that had nothing to do.
const EMPTY: &[&str] = &[
    "bundle_apply_again",
    "bundle_request_new",
    "clone_nobody",
    "commit_nothing",
    "config_check",
    "config_show",
    "conflicts_none",
    "db_check_none",
    "db_install_again",
    "db_uninstall_again",
    "debug_fork_none",
    "diff_none",
    "fetch_nothing",
    "follow_again",
    "fsck_fresh",
    "gc_fresh",
    "group_add_again",
    "group_list_empty",
    "group_remove_again",
    "group_show_nobody",
    "health_fresh",
    "hub_list_empty",
    "log_empty",
    "merge_nothing",
    "metrics_fresh",
    "mirror_again",
    "peer_accept_nothing",
    "peer_forget_again",
    "peer_list_empty",
    "peer_revoke_again",
    "peer_trust_from_now_again",
    "peer_untrust_again",
    "privacy_audit_clean",
    "privacy_default_again",
    "privacy_late_none",
    "privacy_list_none",
    "privacy_preview_nothing",
    "privacy_receipts_none",
    "privacy_set_none",
    "prune_none_old",
    "pull_nothing",
    "push_nothing",
    "remote_list_empty",
    "repair_nothing",
    "resolve_nothing",
    "revert_again",
    "run_once_alone",
    "scope_list_new",
    "shun_list_empty",
    "status_new",
    "sync_nothing",
    "unfollow_again",
];

/// What there is nothing to show of, and why.
const EXEMPT: &[(&str, Kind, &str)] = &[
    ("blame", Kind::Empty, "a record has fields"),
    ("bundle list", Kind::Empty, "a bundle holds something"),
    ("bundle verify", Kind::Empty, "a bundle holds something"),
    ("completions", Kind::Empty, "a script has lines"),
    ("debug cbor", Kind::Empty, "a file without an item is an error"),
    ("debug doc", Kind::Empty, "a document says something"),
    ("debug epoch-key", Kind::Empty, "a scope has a key"),
    ("db map", Kind::Empty, "a database without tables is an error"),
    ("bundle create", Kind::Empty, "cards are always in it, for whoever reads it may know nobody"),
    ("debug tree", Kind::Empty, "a dataset without records is an error"),
    ("debug object", Kind::Empty, "an object holds something"),
    ("export-identity", Kind::Empty, "an instance has an identity"),
    ("group create", Kind::Empty, "a group that is there is an error"),
    ("group delete", Kind::Empty, "a group that isn't there is an error"),
    ("hub allow", Kind::Empty, "allowing twice sets the role"),
    ("hub deny", Kind::Empty, "who is no member is an error"),
    ("hub invite", Kind::Empty, "an invitation is always made"),
    ("hub join", Kind::Empty, "joining needs an invitation that counts"),
    ("hub quota", Kind::Empty, "a quota is always set"),
    ("id", Kind::Empty, "an instance has an identity"),
    ("init", Kind::Empty, "an instance that is there is an error"),
    ("man", Kind::Empty, "a page has lines"),
    ("peer add", Kind::Empty, "adding twice takes the newer card"),
    ("peer show", Kind::Empty, "a peer has a card"),
    ("privacy explain", Kind::Empty, "a row that isn't there is an error"),
    ("prove", Kind::Empty, "a proof says something"),
    ("verify-proof", Kind::Empty, "a proof says something"),
    ("remote add", Kind::Empty, "a remote that is there is an error"),
    ("remote remove", Kind::Empty, "a remote that isn't there is an error"),
    ("restore", Kind::Empty, "nothing to restore from is an error"),
    ("run", Kind::Success, "it runs until it is ended: tests/worker"),
    ("run", Kind::Empty, "it runs until it is ended: tests/worker"),
    ("run", Kind::Json, "it writes a log: tests/worker"),
    ("scope rotate", Kind::Empty, "a key is always made"),
    ("scope show", Kind::Empty, "a scope has a manifest"),
    ("serve", Kind::Success, "it runs until it is ended: tests/hub"),
    ("serve", Kind::Empty, "it runs until it is ended: tests/hub"),
    ("serve", Kind::Json, "it writes a log: tests/hub"),
    ("show", Kind::Empty, "what isn't there is an error"),
    ("unshun", Kind::Empty, "what isn't shunned is an error"),
    ("completions", Kind::Success, "the script is clap's: `habits` looks at it for each shell"),
    ("completions", Kind::Json, "the script is clap's: `habits` looks at it for each shell"),
    ("man", Kind::Success, "the page is clap's: `habits` looks at it"),
    ("man", Kind::Json, "the page is clap's: `habits` looks at it"),
    ("export-identity", Kind::Json, "is sealed anew each time: `printed` reads it"),
    ("hub join", Kind::Success, "needs a hub that runs: tests/hub"),
    ("hub join", Kind::Json, "needs a hub that runs: tests/hub"),
    ("completions", Kind::Error, "a shell that isn't known is a mistake of the command line"),
];

fn leaves(command: &clap::Command, path: &str, into: &mut BTreeSet<String>) {
    let subcommands: Vec<_> = command.get_subcommands().filter(|sub| sub.get_name() != "help").collect();
    if subcommands.is_empty() {
        into.insert(path.trim().to_owned());
    }
    for sub in subcommands {
        leaves(sub, &format!("{path} {}", sub.get_name()), into);
    }
}

/// The command of a line as it was typed, without its options.
fn command_of(line: &str, known: &BTreeSet<String>) -> Option<String> {
    let mut words = Vec::new();
    let mut typed = line.split(' ');
    while let Some(word) = typed.next() {
        match word {
            "-C" | "--color" | "--log-format" => drop(typed.next()),
            word if word.starts_with('-') => {}
            word => words.push(word),
        }
    }
    (1..=words.len().min(3)).rev().map(|count| words[..count].join(" ")).find(|path| known.contains(path))
}

/// Each run that a snapshot shows: the line that was typed, and all that came of it.
fn runs() -> Vec<(String, String, String)> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cli/snapshots");
    let mut runs = Vec::new();
    for path in fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()) {
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        let text = fs::read_to_string(&path).unwrap();
        for run in text.split("\n$ wbsync").skip(1) {
            let (line, said) = run.split_once('\n').unwrap();
            runs.push((name.clone(), line.trim().to_owned(), said.to_owned()));
        }
    }
    runs
}

fn exit_code(said: &str) -> u8 {
    said.rsplit_once("--- exit code ").map_or(0, |(_, code)| code.trim().parse().unwrap())
}

#[test]
fn every_command_is_shown_succeeding_empty_failing_and_as_json() {
    let mut known = BTreeSet::new();
    leaves(&CommandLine::command(), "", &mut known);
    let mut seen: BTreeMap<String, BTreeSet<Kind>> = BTreeMap::new();
    let mut names = BTreeSet::new();
    for (name, line, said) in runs() {
        let Some(command) = command_of(&line, &known) else { continue };
        let kinds = seen.entry(command).or_default();
        // Conflicts and findings are what such a command is for.
        let is_good = matches!(exit_code(&said), 0 | 3 | 8);
        let is_json = line.split(' ').any(|word| word == "--json");
        kinds.insert(if !is_good {
            Kind::Error
        } else if is_json {
            Kind::Json
        } else {
            Kind::Success
        });
        if EMPTY.contains(&name.as_str()) {
            kinds.insert(Kind::Empty);
        }
        names.insert(name);
    }
    let mut wrong: Vec<String> = EMPTY
        .iter()
        .filter(|name| !names.contains(**name))
        .map(|name| format!("there is no snapshot {name}"))
        .collect();
    for command in &known {
        for kind in [Kind::Success, Kind::Empty, Kind::Error, Kind::Json] {
            let is_seen = seen.get(command).is_some_and(|kinds| kinds.contains(&kind));
            let is_exempt = EXEMPT.iter().any(|(name, exempt, _)| name == command && *exempt == kind);
            match (is_seen, is_exempt) {
                (false, false) => wrong.push(format!("{command} lacks {kind:?}")),
                (true, true) => wrong.push(format!("{command} has {kind:?} and needs no exemption")),
                _ => {}
            }
        }
    }
    let strange = EXEMPT.iter().filter(|(name, _, _)| !known.contains(*name));
    wrong.extend(strange.map(|(name, _, _)| format!("there is no command {name}")));
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Errors that tell what to do in their own words, without a line for it.
const TELLS_ITSELF: &[(&str, &str)] = &[("run_once_unreachable", "a line of the log, which has its hint in brackets")];

#[test]
fn every_error_that_is_shown_says_what_to_do() {
    let mut silent = Vec::new();
    for (name, line, said) in runs() {
        let is_usage = exit_code(&said) == 2;
        let is_error = said.contains("error: ") || said.contains("\"code\": ");
        if !is_error || is_usage || TELLS_ITSELF.iter().any(|(known, _)| *known == name) {
            continue;
        }
        let says = said.contains("hint: ") || said.contains("\"hint\": \"") || said.contains("\"hint\":\"");
        if !says {
            silent.push(format!("{name}: wbsync {line}"));
        }
    }
    assert!(silent.is_empty(), "{}", silent.join("\n"));
}
