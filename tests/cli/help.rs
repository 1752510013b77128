//! Help: of every command, with an example each.

use clap::CommandFactory;
use wbsync::cli::arguments::CommandLine;
use wbsync::cli::groups::GROUPS;

use crate::shown::check;
use crate::support::app::App;
use crate::support::run::wbsync;

#[test]
fn help_of_the_program() {
    let dir = tempfile::tempdir().unwrap();
    check!("help", wbsync(dir.path(), &["--help"]).ok());
    check!("help_short_alone", wbsync(dir.path(), &[]).exits(2));
}

#[test]
fn every_command_is_in_one_group_of_the_help() {
    let mut grouped: Vec<&str> = GROUPS.iter().flat_map(|(_, names)| names.iter().copied()).collect();
    let program = CommandLine::command();
    let mut known: Vec<&str> = program.get_subcommands().map(clap::Command::get_name).collect();
    if cfg!(not(feature = "git")) {
        known.push("mirror");
    }
    grouped.sort_unstable();
    known.sort_unstable();
    assert_eq!(grouped, known);
}

#[test]
fn every_command_has_help_with_an_example() {
    fn visit(command: &clap::Command, words: &[String]) {
        let mut command = command.clone();
        let help = command.render_long_help().to_string();
        let name = words.join(" ");
        let example = format!("  {name}");
        assert!(help.contains("Examples:") && help.contains(&example), "{name} has no example of itself:\n{help}");
        for sub in command.get_subcommands().filter(|sub| sub.get_name() != "help") {
            let words: Vec<String> = words.iter().cloned().chain([sub.get_name().to_owned()]).collect();
            visit(sub, &words);
        }
    }
    for sub in CommandLine::command().get_subcommands() {
        visit(sub, &["wbsync".into(), sub.get_name().into()]);
    }
}

#[test]
fn a_mistyped_word_is_guessed() {
    let app = App::new();
    check!("help_mistyped_command", app.wbsync(&["stauts"]).exits(2));
    check!("help_mistyped_option", app.wbsync(&["commit", "--dryrun"]).exits(2));
    check!("help_missing_argument_json", app.wbsync(&["--json", "remote", "add", "stick"]).exits(2));
}
