//! Spans of time on the command line: `48h`, `14d`.

/// Parses a span of hours or days into milliseconds.
///
/// # Errors
/// A text for people, if it is none or longer than a century.
pub fn parse(text: &str) -> Result<u64, String> {
    let told = || format!("{text:?} is no span of time: give hours or days, as in 48h or 90d");
    let (number, hours) = match text.as_bytes().last() {
        Some(b'h') => (&text[..text.len() - 1], 1),
        Some(b'd') => (&text[..text.len() - 1], 24),
        _ => return Err(told()),
    };
    let is_number = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    let hours = number.parse::<u64>().ok().filter(|_| is_number).and_then(|number| number.checked_mul(hours));
    match hours {
        Some(hours) if hours <= CENTURY_HOURS => Ok(hours * 3_600_000),
        _ => Err(told()),
    }
}

const CENTURY_HOURS: u64 = 100 * 366 * 24;

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn hours_and_days_are_read_and_nothing_else_is() {
        assert_eq!(parse("48h"), Ok(48 * 3_600_000));
        assert_eq!(parse("14d"), Ok(14 * 24 * 3_600_000));
        for text in ["", "d", "14", "+1d", "-1d", "1.5d", "14 d", "14days", "99999999999999999999d", "36601d", "1m"] {
            assert!(parse(text).is_err(), "{text:?}");
        }
    }
}
