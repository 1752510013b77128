//! Values between our five kinds and PostgreSQL's types.
//!
//! What is given goes as text, and the server reads it as it reads a literal: that is one spelling for every type,
//! and what a column can't hold is the server's to refuse. What is read comes in binary form.

use std::error::Error as StdError;

use bytes::BytesMut;
use postgres::types::{Format, FromSql, IsNull, Kind, ToSql, Type};

use super::{array, number};
use crate::connector::sql::raw::{Raw, RawRef};
use crate::connector::sql::timestamp;
use crate::record::fieldtype::Kind as Logical;

/// Microseconds from 1970 to 2000, where PostgreSQL's times begin.
const EPOCH: i64 = 946_684_800_000_000;
const DAY: i64 = 86_400_000_000;

/// A parameter.
#[derive(Debug)]
pub(super) struct Given<'a>(pub(super) RawRef<'a>);

impl ToSql for Given<'_> {
    fn to_sql(&self, kind: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn StdError + Sync + Send>> {
        if let (RawRef::Text(bytes), Kind::Array(element)) = (self.0, base(kind).kind())
            && let Some(literal) = std::str::from_utf8(bytes).ok().and_then(|text| array::literal(text, base(element)))
        {
            out.extend_from_slice(literal.as_bytes());
            return Ok(IsNull::No);
        }
        match self.0 {
            RawRef::Null => return Ok(IsNull::Yes),
            RawRef::Integer(value) => out.extend_from_slice(value.to_string().as_bytes()),
            RawRef::Real(value) => out.extend_from_slice(format!("{value:?}").as_bytes()),
            RawRef::Text(bytes) | RawRef::Blob(bytes) => out.extend_from_slice(bytes),
        }
        Ok(IsNull::No)
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    fn encode_format(&self, kind: &Type) -> Format {
        match self.0 {
            RawRef::Blob(_) if *base(kind) == Type::BYTEA => Format::Binary,
            _ => Format::Text,
        }
    }

    fn to_sql_checked(&self, kind: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn StdError + Sync + Send>> {
        self.to_sql(kind, out)
    }
}

/// An answer.
#[derive(Debug)]
pub(super) struct Found(pub(super) Raw);

impl<'a> FromSql<'a> for Found {
    fn from_sql(kind: &Type, bytes: &'a [u8]) -> Result<Self, Box<dyn StdError + Sync + Send>> {
        read(base(kind), bytes).map(Self).ok_or_else(|| format!("a value of the type {kind} can't be read").into())
    }

    fn from_sql_null(_: &Type) -> Result<Self, Box<dyn StdError + Sync + Send>> {
        Ok(Self(Raw::Null))
    }

    fn accepts(_: &Type) -> bool {
        true
    }
}

/// Names the types that `read` can read, as the catalogue does; enums besides.
pub(super) const KNOWN: &[&str] = &[
    "bool",
    "int2",
    "int4",
    "int8",
    "float4",
    "float8",
    "numeric",
    "text",
    "varchar",
    "bpchar",
    "name",
    "citext",
    "bytea",
    "timestamp",
    "timestamptz",
    "date",
    "time",
    "timetz",
    "json",
    "jsonb",
    "uuid",
];

/// Tells whether a column of a declared type gives back what of a kind is stored in it, as that kind.
pub(super) fn keeps(declared: &str, kind: Logical) -> bool {
    if let Logical::List(item) = kind {
        return declared.strip_suffix("[]").is_some_and(|element| keeps(element, *item));
    }
    let is = |starts: &[&str]| starts.iter().any(|start| declared.starts_with(start)) && !declared.ends_with("[]");
    match kind {
        Logical::Text => is(&["text", "character", "name", "citext", "uuid", "date", "time with", "time(", "enum "]),
        Logical::Int => is(&["smallint", "integer", "bigint"]),
        Logical::Bool => is(&["boolean"]),
        Logical::Float => is(&["double precision", "real"]),
        Logical::Timestamp => is(&["timestamp"]),
        Logical::Bytes => is(&["bytea"]),
        Logical::Json => is(&["json"]),
        Logical::Decimal => is(&["numeric"]),
        Logical::List(_) => false,
    }
}

fn read(kind: &Type, bytes: &[u8]) -> Option<Raw> {
    let text = |bytes: &[u8]| Some(Raw::Text(std::str::from_utf8(bytes).ok()?.to_owned()));
    Some(match *kind {
        Type::BOOL => Raw::Integer(i64::from(*bytes.first()? != 0)),
        Type::INT2 => Raw::Integer(i64::from(i16::from_be_bytes(bytes.try_into().ok()?))),
        Type::INT4 => Raw::Integer(i64::from(i32::from_be_bytes(bytes.try_into().ok()?))),
        Type::INT8 => Raw::Integer(i64::from_be_bytes(bytes.try_into().ok()?)),
        // By way of its shortest spelling, which reads back to the same.
        Type::FLOAT4 => Raw::Real(f32::from_be_bytes(bytes.try_into().ok()?).to_string().parse().ok()?),
        Type::FLOAT8 => Raw::Real(f64::from_be_bytes(bytes.try_into().ok()?)),
        Type::NUMERIC => Raw::Text(number::spell(bytes)?),
        Type::BYTEA => Raw::Blob(bytes.to_vec()),
        Type::TIMESTAMP | Type::TIMESTAMPTZ => Raw::Text(time(i64::from_be_bytes(bytes.try_into().ok()?))),
        Type::DATE => Raw::Text(date(i32::from_be_bytes(bytes.try_into().ok()?))),
        Type::TIME => Raw::Text(clock(i64::from_be_bytes(bytes.try_into().ok()?))?),
        Type::TIMETZ => {
            let (micros, west) = bytes.split_first_chunk::<8>()?;
            let west = i64::from(i32::from_be_bytes(west.try_into().ok()?));
            Raw::Text(clock(i64::from_be_bytes(*micros))? + &zone(west))
        }
        Type::UUID => {
            let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            let part = |from, to| hex.get(from..to);
            Raw::Text([part(0, 8)?, part(8, 12)?, part(12, 16)?, part(16, 20)?, part(20, 32)?].join("-"))
        }
        Type::JSONB => return bytes.strip_prefix(&[1]).and_then(text),
        Type::JSON | Type::TEXT | Type::VARCHAR | Type::BPCHAR | Type::NAME | Type::UNKNOWN => return text(bytes),
        _ if matches!(kind.kind(), Kind::Enum(_)) || kind.name() == "citext" => return text(bytes),
        _ => match kind.kind() {
            Kind::Array(element) => return array::read(base(element), bytes, |bytes| read(base(element), bytes)),
            _ => return None,
        },
    })
}

/// Spells a day, as the server does: also those before our era and after the year 9999.
fn date(days: i32) -> String {
    match days {
        i32::MAX => "infinity".to_owned(),
        i32::MIN => "-infinity".to_owned(),
        _ => {
            let (year, month, day) = timestamp::civil_from_days(i64::from(days) + EPOCH / DAY);
            let (year, era) = if year > 0 { (year, "") } else { (1 - year, " BC") };
            format!("{year:04}-{month:02}-{day:02}{era}")
        }
    }
}

/// Spells a time of day; 24:00 is one.
fn clock(micros: i64) -> Option<String> {
    let (seconds, fraction) = (micros.checked_div(1_000_000)?, micros % 1_000_000);
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    (0..=86_400_000_000).contains(&micros).then(|| format!("{hour:02}:{minute:02}:{second:02}.{fraction:06}"))
}

/// Spells a zone of seconds west of Greenwich, as the server does.
fn zone(west: i64) -> String {
    let (sign, away) = if west > 0 { ('-', west) } else { ('+', -west) };
    let mut text = format!("{sign}{:02}", away / 3600);
    if away % 3600 != 0 {
        text += &format!(":{:02}", away / 60 % 60);
    }
    if away % 60 != 0 {
        text += &format!(":{:02}", away % 60);
    }
    text
}

/// Spells a time as the application does on SQLite. Those that it can't have are told apart and mean no time.
fn time(micros: i64) -> String {
    match micros {
        i64::MAX => "infinity".to_owned(),
        i64::MIN => "-infinity".to_owned(),
        _ => micros
            .checked_add(EPOCH)
            .and_then(timestamp::format)
            .unwrap_or_else(|| format!("{micros} microseconds after 2000")),
    }
}

fn base(kind: &Type) -> &Type {
    match kind.kind() {
        Kind::Domain(inner) => base(inner),
        _ => kind,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_dates_are_spelled_as_on_sqlite() {
        let read = |kind, bytes: &[u8]| read(&kind, bytes).unwrap();
        assert_eq!(read(Type::TIMESTAMP, &0i64.to_be_bytes()), Raw::Text("2000-01-01 00:00:00.000000".into()));
        assert_eq!(read(Type::TIMESTAMP, &(-1i64).to_be_bytes()), Raw::Text("1999-12-31 23:59:59.999999".into()));
        assert_eq!(read(Type::TIMESTAMP, &i64::MAX.to_be_bytes()), Raw::Text("infinity".into()));
        for (days, shown) in [
            (1i32, "2000-01-02"),
            (2_145_031_948, "5874897-12-31"),
            (2_921_940, "10000-01-01"),
            (-730_120, "0001-12-31 BC"),
            (-730_119, "0001-01-01"),
            (-2_451_545, "4714-11-24 BC"),
            (i32::MAX, "infinity"),
            (i32::MIN, "-infinity"),
        ] {
            assert_eq!(read(Type::DATE, &days.to_be_bytes()), Raw::Text(shown.into()));
        }
        assert_eq!(read(Type::TIME, &86_399_999_999i64.to_be_bytes()), Raw::Text("23:59:59.999999".into()));
        assert_eq!(read(Type::TIME, &86_400_000_000i64.to_be_bytes()), Raw::Text("24:00:00.000000".into()));
        for (west, zone) in [(0, "+00"), (-7200, "+02"), (19_800, "-05:30"), (-30, "+00:00:30")] {
            let bytes = [&1i64.to_be_bytes()[..], &i32::to_be_bytes(west)].concat();
            assert_eq!(read(Type::TIMETZ, &bytes), Raw::Text(format!("00:00:00.000001{zone}")));
        }
    }

    #[test]
    fn columns_keep_what_is_of_their_type() {
        for (declared, kind) in [
            ("text", Logical::Text),
            ("time without time zone", Logical::Text),
            ("timestamp with time zone", Logical::Timestamp),
            ("text[]", Logical::List(&Logical::Text)),
            ("enum mood[]", Logical::List(&Logical::Text)),
            ("numeric(5,2)[]", Logical::List(&Logical::Decimal)),
        ] {
            assert!(keeps(declared, kind), "{declared}");
        }
        assert!(!keeps("text[]", Logical::Text) && !keeps("timestamp with time zone", Logical::Text));
        assert!(!keeps("text", Logical::List(&Logical::Text)) && !keeps("text[]", Logical::List(&Logical::Int)));
    }

    #[test]
    fn values_of_the_wrong_length_are_refused() {
        for kind in
            [Type::BOOL, Type::INT2, Type::INT4, Type::INT8, Type::FLOAT8, Type::TIMESTAMP, Type::DATE, Type::UUID]
        {
            assert_eq!(read(&kind, &[]), None, "{kind}");
        }
        assert_eq!(read(&Type::TIME, &(-1i64).to_be_bytes()), None);
        assert_eq!(read(&Type::TIMETZ, &1i64.to_be_bytes()), None, "no zone");
        assert_eq!(read(&Type::TEXT_ARRAY, b"xx"), None);
        assert_eq!(read(&Type::JSONB, b"{}"), None, "no version");
        assert_eq!(read(&Type::TEXT, b"\xff"), None);
        assert_eq!(read(&Type::INET, b""), None, "a type that we don't know");
    }
}
