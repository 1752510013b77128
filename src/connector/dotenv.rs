//! A strict reader of `.env` files: `KEY=value`, `export`, comments, single and double quotes.
//!
//! It stops at what it doesn't understand: to take the wrong database would be worse. No variable is
//! expanded. Error texts never show a line's content.

/// A line that isn't understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadLine {
    /// The line, from 1.
    pub line: usize,
    /// What is wrong with it.
    pub why: &'static str,
}

/// Returns the value of `name`; of several the last one counts. A key without `=` is no value.
///
/// # Errors
/// The first line that isn't understood, wherever it is.
pub fn lookup(text: &str, name: &str) -> Result<Option<String>, BadLine> {
    Ok(entries(text)?.into_iter().rev().find(|(key, _)| *key == name).map(|(_, value)| value))
}

/// Returns the names that have a value, in the order of the file.
///
/// # Errors
/// As `lookup`.
pub fn names(text: &str) -> Result<Vec<&str>, BadLine> {
    Ok(entries(text)?.into_iter().map(|(key, _)| key).collect())
}

fn entries(text: &str) -> Result<Vec<(&str, String)>, BadLine> {
    let mut found = Vec::new();
    let mut rest = text.strip_prefix('\u{feff}').unwrap_or(text);
    while !rest.is_empty() {
        let line = 1 + text[..text.len() - rest.len()].matches('\n').count();
        let bad = |why| BadLine { line, why };
        let start = rest.trim_start_matches([' ', '\t']);
        let (first, after) = start.split_once('\n').unwrap_or((start, ""));
        let first = first.trim_end();
        if first.is_empty() || first.starts_with('#') {
            rest = after;
            continue;
        }
        let body = match start.strip_prefix("export") {
            Some(body) if body.starts_with([' ', '\t']) => body.trim_start_matches([' ', '\t']),
            _ => start,
        };
        let key_end = body.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(body.len());
        let (key, tail) = body.split_at(key_end);
        if key.is_empty() || key.starts_with(|c: char| c.is_ascii_digit()) {
            return Err(bad("a name was expected"));
        }
        let tail = tail.trim_start_matches([' ', '\t']);
        let Some(value) = tail.strip_prefix('=') else {
            let (end, after) = tail.split_once('\n').unwrap_or((tail, ""));
            if !end.trim().is_empty() && !end.trim_start().starts_with('#') {
                return Err(bad("'=' was expected after the name"));
            }
            rest = after;
            continue;
        };
        let value = value.trim_start_matches([' ', '\t']);
        let (value, after) = match value.chars().next() {
            Some(quote @ ('\'' | '"')) => quoted(&value[1..], quote).map_err(bad)?,
            _ => plain(value),
        };
        found.push((key, value));
        rest = after;
    }
    Ok(found)
}

fn plain(text: &str) -> (String, &str) {
    let (line, after) = text.split_once('\n').unwrap_or((text, ""));
    let comment = line.match_indices('#').find(|(at, _)| *at == 0 || line[..*at].ends_with([' ', '\t']));
    let value = comment.map_or(line, |(at, _)| &line[..at]);
    (value.trim().to_owned(), after)
}

fn quoted(text: &str, quote: char) -> Result<(String, &str), &'static str> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        if c == quote {
            let (end, after) = text[at + 1..].split_once('\n').unwrap_or((&text[at + 1..], ""));
            let end = end.trim();
            let fine = end.is_empty() || end.starts_with('#');
            return if fine { Ok((value, after)) } else { Err("something follows the closing quote") };
        }
        match c {
            '\\' if quote == '"' => match chars.next().map(|(_, c)| c) {
                Some('n') => value.push('\n'),
                Some('r') => value.push('\r'),
                Some('t') => value.push('\t'),
                Some(c @ ('\\' | '"' | '\'' | '$')) => value.push(c),
                Some(c) => value.extend(['\\', c]),
                None => return Err("a quote is not closed"),
            },
            '\\' if text[at + 1..].starts_with(['\'', '\\']) => value.extend(chars.next().map(|(_, c)| c)),
            c => value.push(c),
        }
    }
    Err("a quote is not closed")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_as_the_application_reads_them() {
        let text = "\u{feff}# comment\r\n\nA=1\nexport  URL = sqlite:///x.db  # where\r\nB='a # b'\nURL=\"sqlite:///y#z.db\" # last\nBARE\nC=a#b\nM=\"one\ntwo\"\nE=\n";
        let get = |name| lookup(text, name).unwrap();
        assert_eq!(get("URL").as_deref(), Some("sqlite:///y#z.db"), "the last one counts");
        assert_eq!(get("B").as_deref(), Some("a # b"));
        assert_eq!(get("C").as_deref(), Some("a#b"));
        assert_eq!(get("M").as_deref(), Some("one\ntwo"));
        assert_eq!(get("E").as_deref(), Some(""));
        assert_eq!(get("BARE"), None);
        assert_eq!(get("exportURL"), None);
    }

    #[test]
    fn what_is_not_understood_is_named_by_line() {
        for (text, line) in
            [("A=1\n=2", 2), ("A='x", 1), ("A=1\nB C\n", 2), ("A=\"x\" y", 1), ("1A=3", 1), ("\n\n?", 3)]
        {
            assert_eq!(lookup(text, "A").unwrap_err().line, line, "{text:?}");
        }
    }
}
