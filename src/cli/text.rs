//! Text for people: colours, tables, counts.

use std::collections::BTreeMap;
use std::fmt::{Display, Write};

use anstyle::{AnsiColor, Style};

use crate::sync::commit::Mode;

/// The word `error:`.
pub const ERROR: Style = AnsiColor::Red.on_default().bold();
/// The word `hint:`.
pub const HINT: Style = AnsiColor::Cyan.on_default();
/// What needs attention.
pub const WARNING: Style = AnsiColor::Yellow.on_default();
/// What was added.
pub const ADDED: Style = AnsiColor::Green.on_default();
/// What was removed.
pub const REMOVED: Style = AnsiColor::Red.on_default();
/// Ids.
pub const ID: Style = AnsiColor::Yellow.on_default();
/// Headings.
pub const HEADING: Style = Style::new().bold();

/// Lays out rows in columns, two blanks apart, each line after `indent`; the last column is not padded, and what is longer
/// than 72 signs moves its own line only.
pub fn table<const N: usize>(indent: &str, rows: &[[String; N]]) -> String {
    let mut widths = [0; N];
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            let length = cell.chars().count();
            *width = if length > PADDED_MAX { *width } else { (*width).max(length) };
        }
    }
    let mut text = String::new();
    for row in rows {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
        let line = format!("{indent}{}", cells.collect::<Vec<_>>().join("  "));
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// An id of 64 digits still has its place in a column.
const PADDED_MAX: usize = 72;

/// Marks what a dry run says on each line: nothing of it was done.
pub fn planned(text: &str, mode: Mode) -> String {
    match mode {
        Mode::Keep => text.to_owned(),
        Mode::DryRun => text.lines().map(|line| format!("if done: {line}\n")).collect(),
    }
}

/// Returns whether a command keeps what it does.
pub fn mode_of(dry_run: bool) -> Mode {
    if dry_run { Mode::DryRun } else { Mode::Keep }
}

/// Writes `1 record`, `2,000 records`.
pub fn count(number: u64, what: &str) -> String {
    format!("{} {what}{}", grouped(number), if number == 1 { "" } else { "s" })
}

/// Writes `requests 3, users 1`, or nothing.
pub fn by_name<K: Display>(counts: &BTreeMap<K, u64>) -> String {
    counts.iter().map(|(name, number)| format!("{name} {}", grouped(*number))).collect::<Vec<_>>().join(", ")
}

/// Names the records that are too large to travel, and what to do about them.
pub fn too_large(records: &BTreeMap<String, u64>) -> String {
    let names: Vec<String> =
        records.iter().take(10).map(|(record, bytes)| format!("{record} ({} KiB)", bytes >> 10)).collect();
    let number = count(records.len() as u64, "record");
    format!("{number} too large to travel, at most 1 MiB can; shorten them: {}\n", names.join(", "))
}

/// Writes how many rows stay home and why: `7 of requests (marked private)`; keys are `dataset: reason`.
pub fn private(counts: &BTreeMap<String, u64>) -> String {
    private_parts(counts).join(", ")
}

/// The same, each by itself.
pub fn private_parts(counts: &BTreeMap<String, u64>) -> Vec<String> {
    let part = |(key, number): (&String, &u64)| {
        let (dataset, reason) = key.split_once(": ").unwrap_or((key, ""));
        let reason = match reason {
            "chosen" => "marked private".into(),
            "parent" => "of a private parent".into(),
            other => other.replace('_', " "),
        };
        format!("{} of {dataset} ({reason})", grouped(*number))
    };
    counts.iter().map(part).collect()
}

/// Writes a number with commas between thousands.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Writes `1.5 MiB`, `820 bytes`.
pub fn bytes(number: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    if number < 1024 {
        return count(number, "byte");
    }
    let mut value = number as f64 / 1024.0;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

/// Returns a text safe for a terminal: control characters but line ends, and those that turn the direction of what follows or end a line
/// unseen, are written as escapes.
///
/// Texts of other instances reach the screen; they must not move its cursor.
pub fn tame(text: &str) -> String {
    let mut tamed = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' | '\t' => tamed.push(c),
            c if c.is_control() || turns(c) => write!(tamed, "{}", c.escape_default()).expect("strings grow"),
            c => tamed.push(c),
        }
    }
    tamed
}

/// Returns a text that stays on its line.
pub fn on_one_line(text: &str) -> String {
    tame(text).replace('\n', "\\n").replace('\t', "\\t")
}

/// Tells whether a sign makes others be shown in another order, or on another line (Boucher and Anderson, "Trojan Source", 2021).
fn turns(c: char) -> bool {
    matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_by_thousands() {
        assert_eq!([0, 999, 1000, 1234567].map(grouped), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!(count(1, "row"), "1 row");
        assert_eq!([1023, 1024, 5 << 20].map(bytes), ["1,023 bytes", "1.0 KiB", "5.0 MiB"]);
    }

    #[test]
    fn columns_line_up_and_lines_have_no_blanks_at_the_end() {
        let rows = [["a".into(), "bb".into()], ["ccc".into(), String::new()]];
        assert_eq!(table("  ", &rows), "  a    bb\n  ccc\n");
        let long = "x".repeat(1024);
        let rows = [["a".into(), "bb".into()], [long.clone(), "c".into()]];
        assert_eq!(table("", &rows), format!("a  bb\n{long}  c\n"));
    }

    #[test]
    fn escape_sequences_are_defused() {
        assert_eq!(tame("a\u{1b}[2Jb\n"), "a\\u{1b}[2Jb\n");
        assert_eq!(tame("a\u{202e}b"), "a\\u{202e}b");
        assert_eq!(on_one_line("a\nb\u{1b}"), "a\\nb\\u{1b}");
    }
}
