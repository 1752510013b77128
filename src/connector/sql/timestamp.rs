//! Date-times as the application spells them: `YYYY-MM-DD HH:MM:SS.ffffff`, UTC without saying so.
//!
//! Read leniently (a `T`, no fraction, `Z` or an offset), written in exactly that spelling: one odd
//! date-time breaks the application's pages.

use jiff::civil::DateTime;
use jiff::tz::TimeZone;

const MICROS_PER_DAY: i64 = 86_400_000_000;
/// 0001-01-01 and 9999-12-31, the years that the application can hold.
const YEARS: (i64, i64) = (-62_135_596_800_000_000, 253_402_300_799_999_999);

/// Returns the microseconds since 1970 that a text means, or `None` if it means none.
pub(super) fn parse(text: &str) -> Option<i64> {
    if let Some(micros) = parse_usual(text.as_bytes()) {
        return Some(micros);
    }
    if let Ok(time) = text.parse::<jiff::Timestamp>() {
        return Some(time.as_microsecond());
    }
    let civil: DateTime = text.parse().ok()?;
    Some(civil.to_zoned(TimeZone::UTC).ok()?.timestamp().as_microsecond())
}

/// Returns the application's spelling, or `None` outside the years 1 to 9999.
pub(in crate::connector) fn format(micros: i64) -> Option<String> {
    if !(YEARS.0..=YEARS.1).contains(&micros) {
        return None;
    }
    let (year, month, day) = civil_from_days(micros.div_euclid(MICROS_PER_DAY));
    let in_day = micros.rem_euclid(MICROS_PER_DAY);
    let (seconds, fraction) = (in_day / 1_000_000, in_day % 1_000_000);
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    let mut text = String::with_capacity(26);
    for (number, digits, mark) in [
        (year, 4, Some('-')),
        (month, 2, Some('-')),
        (day, 2, Some(' ')),
        (hour, 2, Some(':')),
        (minute, 2, Some(':')),
        (second, 2, Some('.')),
        (fraction, 6, None),
    ] {
        let digit = |place: u32| char::from(b'0' + (number / 10i64.pow(place) % 10) as u8);
        text.extend((0..digits).rev().map(digit).chain(mark));
    }
    Some(text)
}

/// The usual spelling, ten times as fast as the general parser.
fn parse_usual(text: &[u8]) -> Option<i64> {
    if text.len() != 26 {
        return None;
    }
    let marks = (text[4], text[7], text[10], text[13], text[16], text[19]);
    if marks != (b'-', b'-', b' ', b':', b':', b'.') {
        return None;
    }
    let number = |from: usize, to: usize| {
        text[from..to].iter().try_fold(0i64, |n, c| c.is_ascii_digit().then(|| n * 10 + i64::from(c - b'0')))
    };
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second, micros) = (number(11, 13)?, number(14, 16)?, number(17, 19)?, number(20, 26)?);
    if year == 0 || !(1..=12).contains(&month) || day == 0 || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let days = days_from_civil(year, month, day);
    if civil_from_days(days) != (year, month, day) {
        return None;
    }
    Some(days * MICROS_PER_DAY + ((hour * 60 + minute) * 60 + second) * 1_000_000 + micros)
}

/// Days since 1970-01-01 (Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms").
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

/// Returns year, month and day of a day since 1970-01-01; the year before 1 is 0.
pub(in crate::connector) fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let (month, day) = ((shifted + 2) % 12 + 1, day_of_year - (153 * shifted + 2) / 5 + 1);
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn other_spellings_mean_the_same_time() {
        let usual = parse("2026-02-03 04:05:06.000000").unwrap();
        for text in [
            "2026-02-03 04:05:06",
            "2026-02-03T04:05:06",
            "2026-02-03T04:05:06.000Z",
            "2026-02-03 06:05:06+02:00",
            "2026-02-03T04:05:06.0000009",
        ] {
            assert_eq!(parse(text), Some(usual), "{text}");
        }
        for text in
            ["", "now", "2026-02-30 00:00:00.000000", "2026-13-01 00:00:00.000000", "0000-01-01 00:00:00.00000x"]
        {
            assert_eq!(parse(text), None, "{text}");
        }
        assert_eq!(format(YEARS.1 + 1), None);
        assert_eq!(format(YEARS.0 - 1), None);
    }

    proptest! {
        #[test]
        fn the_spelling_round_trips_and_agrees_with_jiff(micros in YEARS.0..=YEARS.1) {
            let text = format(micros).unwrap();
            prop_assert_eq!(parse(&text), Some(micros));
            let time = jiff::Timestamp::from_microsecond(micros);
            if let Ok(time) = time {
                prop_assert_eq!(time.strftime("%Y-%m-%d %H:%M:%S%.6f").to_string(), text);
            }
        }
    }
}
