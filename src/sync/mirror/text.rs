//! A record as a readable file: one field a line, in the order of their names, a long text line by line. It is YAML.
//!
//! It depends on the record alone, neither on schema nor time: equal records are equal files everywhere.

use crate::record::cell::Record;
use crate::record::value::Value;

/// Returns the file of a record.
pub(super) fn file(record: &Record) -> Vec<u8> {
    let mut fields: Vec<_> = record.cells.iter().collect();
    fields.sort_by(|(a, _), (b, _)| a.as_str().cmp(b.as_str()));
    let mut text = String::new();
    for (name, cell) in fields {
        text += &field(name.as_str(), &cell.winner().value);
        if cell.is_conflict() {
            // All that concurrent writers wrote, the shown one among them.
            let values: Vec<_> = cell.elements().iter().map(|element| element.value.to_json()).collect();
            text += &format!("{name} (conflict): {}\n", serde_json::Value::Array(values));
        }
    }
    text.into_bytes()
}

fn field(name: &str, value: &Value) -> String {
    match value {
        Value::Text(text) if is_block(text) => {
            let (body, end) = match text.strip_suffix('\n') {
                None => (text.as_str(), "-"),
                Some(body) if body.ends_with('\n') => (body, "+"),
                Some(body) => (body, ""),
            };
            let lines: String = body
                .split('\n')
                .map(|line| if line.is_empty() { "\n".to_owned() } else { format!("  {line}\n") })
                .collect();
            format!("{name}: |2{end}\n{lines}")
        }
        // JSON is YAML, and one line.
        value => format!("{name}: {}\n", value.to_json()),
    }
}

/// Tells whether a text reads better line by line, and comes back from that unchanged.
fn is_block(text: &str) -> bool {
    let is_plain =
        |c: char| c == '\n' || c == '\t' || !(c.is_control() || c == '\u{2028}' || c == '\u{2029}' || c == '\u{feff}');
    text.trim_end_matches('\n').contains('\n') && text.chars().all(is_plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> String {
        field("body", &Value::Text(text.into()))
    }

    #[test]
    fn texts_of_several_lines_stand_line_by_line() {
        assert_eq!(of("one line"), "body: \"one line\"\n");
        assert_eq!(of("one line\n"), "body: \"one line\\n\"\n");
        assert_eq!(of("a\nb"), "body: |2-\n  a\n  b\n");
        assert_eq!(of("a\n\n b\n"), "body: |2\n  a\n\n   b\n");
        assert_eq!(of("a\nb\n\n"), "body: |2+\n  a\n  b\n\n");
        assert_eq!(of("a\r\nb"), "body: \"a\\r\\nb\"\n");
        assert_eq!(of("\n"), "body: \"\\n\"\n");
        assert_eq!(field("n", &Value::Null), "n: null\n");
        assert_eq!(of("null"), "body: \"null\"\n", "a text is never taken for something else");
    }
}
