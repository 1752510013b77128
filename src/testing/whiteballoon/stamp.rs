//! Date-times as the application stores them on SQLite: `YYYY-MM-DD HH:MM:SS.ffffff`, naive UTC, six digits always.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

/// Spells microseconds since 1970 as the application does.
///
/// Panics outside the years 0 to 9999, which no made-up time reaches.
pub fn spell(micros: i64) -> String {
    let instant = Timestamp::from_microsecond(micros).expect("made-up times lie in our century");
    let time = TimeZone::UTC.to_datetime(instant);
    assert!((0..=9999).contains(&time.year()), "the application's spelling has four digits for the year");
    format!(
        "{:04}-{:02}-{:02} {:02}:{:02}:{:02}.{:06}",
        time.year(),
        time.month(),
        time.day(),
        time.hour(),
        time.minute(),
        time.second(),
        time.subsec_nanosecond() / 1000
    )
}

/// Reads the application's spelling as microseconds since 1970; any other spelling is `None`.
pub fn read(text: &str) -> Option<i64> {
    let time: DateTime = text.parse().ok()?;
    let micros = TimeZone::UTC.to_timestamp(time).ok()?.as_microsecond();
    (spell(micros) == text).then_some(micros)
}

/// Microseconds in an hour.
pub const HOUR: i64 = 3600 * 1_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spelling_has_six_digits_even_at_a_full_second() {
        assert_eq!(spell(1_704_704_400_000_000), "2024-01-08 09:00:00.000000");
        assert_eq!(spell(1_704_704_400_000_042), "2024-01-08 09:00:00.000042");
    }

    #[test]
    fn only_the_exact_spelling_is_read() {
        assert_eq!(read("2024-01-08 09:00:00.000042"), Some(1_704_704_400_000_042));
        for other in ["2024-01-08T09:00:00.000042", "2024-01-08 09:00:00", "2024-01-08 09:00:00.000042Z", ""] {
            assert_eq!(read(other), None, "{other}");
        }
    }
}
