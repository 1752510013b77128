//! `wbsync diff`: what changed between two commits, or since one in the application's database.

use serde_json::{Value, json};

use crate::cli::context::Context;
use crate::cli::failure::Failure;
use crate::cli::text::{ADDED, HEADING, REMOVED, bytes, count, private, tame};
use crate::sync::inspect::RecordDiff;
use crate::sync::instance::Purpose;
use crate::sync::working::{DATABASE, WorkingDiff};

/// Show how records differ between commits and the application's database
///
/// Without a commit: what the database has that isn't committed. With one: what differs from it to the database. With two:
/// from one to the other. A commit is given by its first digits, or by a scope's name for the newest one there; `^` behind
/// the first is its parent, `database` as the second the application's database. Private rows are only counted.
#[derive(Debug, clap::Args)]
#[command(
    override_usage = "wbsync diff [OPTIONS] [FROM] [TO]",
    after_help = "\
Examples:
  wbsync diff
  wbsync diff public
  wbsync diff 27f3a1b2 database
  wbsync diff 27f3a1b2 94c01d7e
  wbsync diff public^ public"
)]
pub struct Args {
    /// The commits: none, FROM, or FROM and TO
    #[arg(value_name = "COMMIT", num_args = 0..=2)]
    commits: Vec<String>,
}

/// Runs it.
///
/// # Errors
/// As `Instance::diff` and `Instance::diff_database`.
pub fn run(context: &mut Context, args: Args) -> Result<(), Failure> {
    let instance = context.instance(Purpose::Look)?;
    let from = match &args.commits[..] {
        [from, to] if to != DATABASE => {
            let records = instance.diff(from, to)?;
            let text: String = records.iter().map(|record| describe(record, "")).collect();
            return context.answer(&json!({ "records": records }), &text);
        }
        given => given.first().map(String::as_str),
    };
    let diff = instance.diff_database(from)?;
    context.answer(&diff, &describe_working(&diff))?;
    if !diff.private.is_empty() {
        context.note(&format!("private: {}", private(&diff.private)));
    }
    context.note_speed(diff.rows);
    Ok(())
}

fn describe_working(diff: &WorkingDiff) -> String {
    diff.records.iter().map(|record| describe(&record.diff, &format!(" ({})", record.scope))).collect()
}

fn describe(diff: &RecordDiff, place: &str) -> String {
    let mut text = format!("{HEADING}{} {}{place}{HEADING:#}\n", diff.change, diff.record);
    for (field, (old, new)) in &diff.fields {
        if let Some(old) = old {
            text += &format!("  {REMOVED}- {field}: {}{REMOVED:#}\n", value_text(old));
        }
        if let Some(new) = new {
            text += &format!("  {ADDED}+ {field}: {}{ADDED:#}\n", value_text(new));
        }
    }
    text
}

/// Writes a value on one line, harmless to a terminal; of bytes the text that they are, or how many.
pub fn value_text(value: &Value) -> String {
    content_text(value).unwrap_or_else(|| tame(&value.to_string()))
}

/// Says what bytes are to people; nothing of other values.
fn content_text(value: &Value) -> Option<String> {
    match value {
        Value::Object(object) => {
            let digits = object.get("bytes").filter(|_| object.len() == 1)?.as_str()?;
            let text = from_hex(digits).and_then(|bytes| String::from_utf8(bytes).ok());
            let text = text.filter(|text| text.chars().count() <= CHARACTERS_SHOWN);
            Some(text.map_or_else(|| bytes(digits.len() as u64 / 2), |text| tame(&json!(text).to_string())))
        }
        Value::Array(pieces) if !pieces.is_empty() => {
            let size = |piece: &Value| piece.get("blob").and(piece.get("bytes")).and_then(Value::as_u64);
            let sizes: Option<Vec<u64>> = pieces.iter().map(size).collect();
            let size = sizes?.into_iter().fold(0, u64::saturating_add);
            Some(format!("{} in {}", bytes(size), count(pieces.len() as u64, "piece")))
        }
        _ => None,
    }
}

fn from_hex(digits: &str) -> Option<Vec<u8>> {
    let pairs = digits.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).ok());
    pairs.map(|pair| u8::from_str_radix(pair?, 16).ok()).collect()
}

/// The longest text of bytes that is shown.
const CHARACTERS_SHOWN: usize = 200;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contents_are_shown_as_text_or_by_their_size() {
        let noise = "ff".repeat(300_000);
        let piece = json!({ "blob": "00", "bytes": 65_536 });
        for (value, expected) in [
            (json!({ "bytes": "68690a" }), "\"hi\\n\""),
            (json!({ "bytes": "ff00" }), "2 bytes"),
            (json!({ "bytes": noise }), "293.0 KiB"),
            (json!([piece, piece]), "128.0 KiB in 2 pieces"),
            (json!([1, 2]), "[1,2]"),
            (json!({ "ref": "x" }), "{\"ref\":\"x\"}"),
        ] {
            assert_eq!(value_text(&value), expected);
        }
    }
}
