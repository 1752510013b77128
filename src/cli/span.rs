//! Spans and moments on the command line: `48h`, `14d`, `2026-11-01`.

use crate::sys::clock::UnixMillis;

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

/// Parses a moment: so long before `now`, a day's begin in UTC, or a time as in RFC 3339.
///
/// # Errors
/// A text for people, if it is none or before 1970.
pub fn moment(text: &str, now: UnixMillis) -> Result<UnixMillis, String> {
    if let Ok(span) = parse(text) {
        return Ok(UnixMillis(now.0.saturating_sub(span)));
    }
    // A time without a zone would be read as its day.
    let day = || {
        let day = text.parse::<jiff::civil::Date>().ok().filter(|day| day.to_string() == text)?;
        day.to_zoned(jiff::tz::TimeZone::UTC).ok().map(|day| day.timestamp())
    };
    let found = text.parse::<jiff::Timestamp>().ok().or_else(day);
    let millis = found.and_then(|found| u64::try_from(found.as_millisecond()).ok());
    millis.map(UnixMillis).ok_or_else(|| {
        format!("{text:?} is no moment: give a span back from now as in 48h or 90d, a day as in 2026-11-01, or 2026-11-01T12:00:00Z")
    })
}

const CENTURY_HOURS: u64 = 100 * 366 * 24;

#[cfg(test)]
mod tests {
    use super::{moment, parse};
    use crate::sys::clock::UnixMillis;

    #[test]
    fn hours_and_days_are_read_and_nothing_else_is() {
        assert_eq!(parse("48h"), Ok(48 * 3_600_000));
        assert_eq!(parse("14d"), Ok(14 * 24 * 3_600_000));
        for text in ["", "d", "14", "+1d", "-1d", "1.5d", "14 d", "14days", "99999999999999999999d", "36601d", "1m"] {
            assert!(parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn moments_are_spans_back_days_or_times() {
        let now = UnixMillis(1_800_000_000_000);
        assert_eq!(moment("1d", now), Ok(UnixMillis(now.0 - 86_400_000)));
        assert_eq!(moment("2026-11-01", now), Ok(UnixMillis(1_793_491_200_000)));
        assert_eq!(moment("2026-11-01T00:00:01Z", now), Ok(UnixMillis(1_793_491_201_000)));
        assert_eq!(moment("2026-11-01T01:00:01+01:00", now), Ok(UnixMillis(1_793_491_201_000)));
        for text in ["", "yesterday", "2026-13-01", "2026-11-01T00:00:01", "1969-12-31T00:00:00Z"] {
            assert!(moment(text, now).is_err(), "{text:?}");
        }
    }
}
