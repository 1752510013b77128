//! Pager: what is longer than the terminal goes through `less`, as git does it.
//!
//! `WBSYNC_PAGER`, else `PAGER`, else `less`, run by the shell; empty or `cat` is none. Only on a terminal, and never for JSON.

use std::io::{self, IsTerminal, Write};
use std::process::{Command, Stdio};

use crate::sys::signals;

/// Writes a text to standard output, through the pager if it is longer than the terminal. Returns false if it was not written:
/// then there is no need of a pager, or none to be had.
///
/// # Errors
/// The pager can't be waited for. That it was left before the end is none.
pub fn paged(text: &str) -> io::Result<bool> {
    let Some(program) = program() else { return Ok(false) };
    if !io::stdout().is_terminal() || !is_long(text) {
        return Ok(false);
    }
    let mut command = Command::new("sh");
    command.args(["-c", &program]).stdin(Stdio::piped());
    if std::env::var_os("LESS").is_none() {
        // Ends by itself where all fits, shows colours, leaves the text on the screen.
        command.env("LESS", "FRX");
    }
    // To interrupt means to interrupt the pager, which knows what to do.
    signals::hold_interrupts()?;
    let Ok(mut child) = command.spawn() else { return Ok(false) };
    let is_plain = anstream::AutoStream::choice(&io::stdout()) == anstream::ColorChoice::Never;
    let text = if is_plain { anstream::adapter::strip_str(text).to_string() } else { text.to_owned() };
    let mut input = child.stdin.take().expect("it was asked for");
    // Whoever has seen enough leaves.
    let _ = input.write_all(text.as_bytes());
    drop(input);
    // The shell says so if there is no such program.
    Ok(!matches!(child.wait()?.code(), Some(126 | 127)))
}

fn program() -> Option<String> {
    let set = ["WBSYNC_PAGER", "PAGER"].into_iter().find_map(|name| std::env::var(name).ok());
    let program = set.unwrap_or_else(|| "less".into());
    (!matches!(program.trim(), "" | "cat")).then_some(program)
}

fn is_long(text: &str) -> bool {
    let (width, height) = terminal_size::terminal_size_of(io::stdout())
        .map_or((80, 24), |(width, height)| (usize::from(width.0), usize::from(height.0)));
    rows(text, width) >= height
}

/// How many rows of a terminal a text takes.
fn rows(text: &str, width: usize) -> usize {
    let visible = |line: &str| anstream::adapter::strip_str(line).to_string().chars().count();
    text.lines().map(|line| visible(line).div_ceil(width.max(1)).max(1)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_that_are_wider_take_more_rows_and_colours_none() {
        assert_eq!(rows("", 80), 0);
        assert_eq!(rows("one\n\ntwo\n", 80), 3);
        assert_eq!(rows("12345678", 4), 2);
        assert_eq!(rows("\u{1b}[1m1234\u{1b}[0m", 4), 1);
        assert_eq!(rows("no width is known", 0), 17);
    }
}
