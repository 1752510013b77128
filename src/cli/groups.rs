//! The program's own help: its commands by what one wants to do.

use std::fmt::Write;

use clap::builder::Styles;
use clap::{Args, Subcommand};

use super::arguments::{Command, Global};

/// The commands by what they are for, in the order of the help. A test sees that each is in one group.
pub const GROUPS: [(&str, &[&str]); 7] = [
    ("Start", &["init", "clone", "db", "id", "config"]),
    ("Say who is shown what", &["peer", "group", "follow", "unfollow", "scope", "privacy"]),
    ("Exchange", &["remote", "sync", "pull", "push", "commit", "fetch", "merge", "bundle", "mirror"]),
    ("Look", &["status", "log", "show", "diff", "blame", "debug"]),
    ("Settle and take back", &["conflicts", "resolve", "revert", "shun", "unshun"]),
    ("Keep safe and sound", &["fsck", "repair", "gc", "prune", "restore", "export-identity", "prove", "verify-proof"]),
    ("Run and serve", &["run", "run-once", "health", "metrics", "serve", "hub", "completions", "man"]),
];

/// Returns the layout of the program's help, with what each command says of itself.
pub fn template() -> String {
    let commands = Command::augment_subcommands(clap::Command::new("wbsync"));
    let header = *Styles::default().get_header();
    let literal = *Styles::default().get_literal();
    let width = terminal_size::terminal_size().map_or(WIDTH_MAX, |(width, _)| usize::from(width.0).min(WIDTH_MAX));
    let mut text = String::from("{about}\n\n{usage-heading} {usage}\n");
    for (title, names) in GROUPS {
        write!(text, "\n{header}{title}:{header:#}\n").expect("strings grow");
        for name in names {
            // Some are left out of builds without their feature.
            let Some(command) = commands.find_subcommand(name) else { continue };
            let about = command.get_about().map(ToString::to_string).unwrap_or_default();
            let about = wrapped(&about, width.saturating_sub(INDENT));
            writeln!(text, "  {literal}{name:16}{literal:#} {about}").expect("strings grow");
        }
    }
    // clap lists options with a heading of their own together with all commands only, so that they are laid out apart.
    let options = Global::augment_args(clap::Command::new("wbsync").version("")).max_term_width(WIDTH_MAX);
    let options = options.help_template("{all-args}").render_help().ansi().to_string();
    text + "\n`wbsync COMMAND --help` tells more of each.\n\n" + options.trim_end() + "{after-help}"
}

/// Breaks a text into lines of at most `width`, all but the first one indented.
fn wrapped(text: &str, width: usize) -> String {
    let (mut lines, mut used) = (String::new(), 0);
    for word in text.split(' ') {
        let length = word.chars().count();
        if used > 0 && used + 1 + length > width {
            write!(lines, "\n{:INDENT$}{word}", "").expect("strings grow");
            used = length;
        } else {
            lines += if used > 0 { " " } else { "" };
            lines += word;
            used += length + 1;
        }
    }
    lines
}

/// Where descriptions begin.
const INDENT: usize = 19;
/// As of the rest of the help.
const WIDTH_MAX: usize = 100;
