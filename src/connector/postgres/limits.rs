//! What a column of PostgreSQL would quietly change on the way in: such a value waits instead.

use super::introspect;
use crate::connector::sql::raw::Raw;
use crate::connector::sql::session::{Session, SqlError};

/// Tells what of a value a column of a declared type can't hold as it is, in words.
pub(super) fn lacks(declared: &str, raw: &Raw) -> Option<&'static str> {
    match raw {
        Raw::Text(text) if text.contains('\0') => Some("a text with a NUL"),
        Raw::Text(text) if declared.starts_with("numeric(") => {
            let (_, scale) = length(declared)?;
            (!has_scale(text, scale)).then_some("more digits than the column keeps")
        }
        Raw::Text(text) if declared.starts_with("timestamp(") || declared.starts_with("time(") => {
            let (digits, _) = length(declared)?;
            let fraction = fraction(text).unwrap_or_default();
            let beyond = fraction.bytes().take_while(u8::is_ascii_digit).skip(digits.unsigned_abs() as usize);
            beyond.into_iter().any(|digit| digit != b'0').then_some("a finer time than the column keeps")
        }
        Raw::Text(text) if declared == "date" || declared.starts_with("time ") => {
            // `today` and its like mean another time whenever they are read.
            let is_fixed = text.bytes().any(|byte| byte.is_ascii_digit()) || text.trim_start_matches('-') == "infinity";
            (!is_fixed).then_some("a word in place of a date or a time")
        }
        Raw::Real(value) if declared == "real" => {
            // As it is read: by way of its shortest spelling.
            let kept = (*value as f32).to_string().parse() == Ok(*value);
            (!kept && !value.is_nan()).then_some("a number of more digits than the column keeps")
        }
        _ => None,
    }
}

/// Finds a value of a declared type that has only some.
pub(super) fn some_value(conn: &dyn Session, declared: &str) -> Result<Option<Raw>, SqlError> {
    match declared.strip_prefix("enum ").filter(|name| !name.ends_with("[]")) {
        Some(name) => conn.one(introspect::FIRST_MEMBER, &bind![name], |row| Ok(Raw::Text(row.get(0)?))),
        None => Ok(None),
    }
}

/// Returns the numbers in the parentheses of a type, the second 0 if there is one only.
fn length(declared: &str) -> Option<(i32, i32)> {
    let (_, rest) = declared.split_once('(')?;
    let (inside, _) = rest.split_once(')')?;
    let mut numbers = inside.split(',').map(|number| number.trim().parse());
    Some((numbers.next()?.ok()?, numbers.next().unwrap_or(Ok(0)).ok()?))
}

/// Tells whether a decimal number has no digit beyond a place; a negative one is to the left of the point.
fn has_scale(number: &str, scale: i32) -> bool {
    let fraction = fraction(number).unwrap_or_default();
    match usize::try_from(scale) {
        Ok(scale) => fraction.trim_end_matches('0').len() <= scale,
        Err(_) => {
            let whole = number.split('.').next().unwrap_or_default();
            let zeros = whole.len() - whole.trim_end_matches('0').len();
            let is_zero = whole.bytes().all(|byte| matches!(byte, b'0' | b'-'));
            fraction.trim_end_matches('0').is_empty() && (is_zero || zeros >= scale.unsigned_abs() as usize)
        }
    }
}

fn fraction(text: &str) -> Option<&str> {
    text.split_once('.').map(|(_, fraction)| fraction)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_be_rounded_or_read_as_another_time_is_told() {
        let text = |text: &str| Raw::Text(text.into());
        for (declared, raw) in [
            ("text", text("a\0b")),
            ("numeric(6,2)", text("12.345")),
            ("numeric(3,-2)", text("12345")),
            ("numeric(3,-2)", text("100.5")),
            ("numeric(4)", text("0.5")),
            ("timestamp(0) without time zone", text("2026-01-01 00:00:00.600000")),
            ("time(2) without time zone", text("12:00:00.123000")),
            ("date", text("today")),
            ("date", text("NOW")),
            ("time without time zone", text("allballs")),
            ("real", Raw::Real(16_777_217.0)),
            ("real", Raw::Real(1e300)),
        ] {
            assert!(lacks(declared, &raw).is_some(), "{declared} {raw:?}");
        }
        for (declared, raw) in [
            ("text", text("today")),
            ("numeric(6,2)", text("-12.34")),
            ("numeric(6,2)", text("NaN")),
            ("numeric(3,-2)", text("-12300")),
            ("numeric(3,-2)", text("0")),
            ("numeric", text("12.345")),
            ("timestamp(0) without time zone", text("2026-01-01 00:00:00.000000")),
            ("timestamp(3) with time zone", text("2026-01-01 00:00:00.123000")),
            ("time(2) with time zone", text("12:00:00.120000+02")),
            ("date", text("-infinity")),
            ("date", text("2026-01-01")),
            ("timestamp without time zone", text("2026-01-01 00:00:00.123456")),
            ("real", Raw::Real(0.1)),
            ("real", Raw::Real(f64::INFINITY)),
            ("double precision", Raw::Real(16_777_217.0)),
        ] {
            assert_eq!(lacks(declared, &raw), None, "{declared} {raw:?}");
        }
    }
}
