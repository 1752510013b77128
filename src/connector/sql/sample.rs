//! What the values of a column say of its kind, where its declared type says too little: SQLite keeps any value in any column,
//! and frameworks write times as texts in several spellings, or as numbers, whatever the column is declared as.

use super::convert::{Logical, write};
use super::plan::quote;
use super::raw::RawRef;
use super::schema::SchemaView;
use super::session::{Row, Session};
use crate::connector::catalogue::{Seen, Table, TableKind};
use crate::connector::error::Error;
use crate::record::fieldtype::Kind;

/// How many values of a column are looked at, in how many rows.
const VALUES_MAX: u32 = 4096;
const ROWS_MAX: u32 = 65_536;

impl SchemaView {
    /// Looks at values of the columns whose declared type several spellings go by, and notes in the tables what holds them all.
    ///
    /// Reads at most some thousand rows of each table.
    ///
    /// # Errors
    /// The database can't be read.
    pub fn sample(&self, tables: &mut [Table]) -> Result<(), Error> {
        if !takes_anything(self.session()) {
            return Ok(());
        }
        for table in tables.iter_mut().filter(|table| table.kind == TableKind::Table) {
            for column in table.columns.iter_mut().filter(|column| !column.is_generated) {
                let Some(declared) = ambiguous(&column.declared) else { continue };
                column.seen = self.seen(&table.name, &column.name, declared)?;
            }
        }
        Ok(())
    }

    /// Counts the values of a column that a field of this kind wouldn't give back as they are: how many of how many.
    ///
    /// # Errors
    /// The database can't be read.
    pub fn misfits(&self, table: &str, column: &str, declared: &str, kind: Kind) -> Result<(u64, u64), Error> {
        let (mut wrong, mut all) = (0, 0);
        if !takes_anything(self.session()) || ambiguous(declared).is_none() {
            return Ok((0, 0));
        }
        self.values(table, column, &mut |raw| {
            all += 1;
            wrong += u64::from(!keeps(kind, raw));
        })?;
        Ok((wrong, all))
    }

    fn seen(&self, table: &str, column: &str, declared: Kind) -> Result<Option<Seen>, Error> {
        let mut candidates = vec![declared, Kind::Int, Kind::Float, Kind::Text, Kind::Bytes];
        let (mut count, mut wrong) = (0, 0);
        self.values(table, column, &mut |raw| {
            count += 1;
            wrong += u64::from(!keeps(declared, raw));
            candidates.retain(|kind| keeps(*kind, raw));
        })?;
        Ok(match candidates.first() {
            _ if wrong == 0 => None,
            Some(kind) => Some(Seen::Every { kind: *kind, count }),
            None => Some(Seen::Various { wrong, count }),
        })
    }

    fn values(&self, table: &str, column: &str, see: &mut dyn FnMut(RawRef<'_>)) -> Result<(), Error> {
        let (from, name) = (self.session().table(table), quote(column));
        let rows = format!("SELECT {name} AS value FROM {from} LIMIT {ROWS_MAX}");
        let sql = format!("SELECT value FROM ({rows}) seen WHERE value IS NOT NULL LIMIT {VALUES_MAX}");
        let mut visit = |row: &dyn Row| {
            see(row.raw(0)?);
            Ok(true)
        };
        let read = self.session().each(&sql, &[], &mut visit);
        read.map_err(|source| self.session().explain("look at the values of a column", source))
    }
}

/// Tells whether a column takes values of any kind, whatever type it is declared with.
fn takes_anything(session: &dyn Session) -> bool {
    session.keeps("DATETIME", Kind::Int)
}

/// Returns the kind that a declared type stands for, if more than one way to write such values is in use.
fn ambiguous(declared: &str) -> Option<Kind> {
    let declared = declared.to_ascii_lowercase();
    let has = |part: &str| declared.contains(part);
    match () {
        () if has("timestamp") || has("datetime") => Some(Kind::Timestamp),
        () if has("bool") => Some(Kind::Bool),
        () if has("json") => Some(Kind::Json),
        () if has("numeric") || has("decimal") => Some(Kind::Decimal),
        () if declared == "date" || declared == "time" => Some(Kind::Text),
        () => None,
    }
}

/// Tells whether a field of this kind gives a value back as it is.
fn keeps(kind: Kind, raw: RawRef<'_>) -> bool {
    match (kind, raw) {
        // Numbers have one spelling for all that was read as the same.
        (Kind::Decimal, _) => return matches!(Logical::read(kind, raw), Logical::Decimal(_)),
        // SQL's own spelling is read alike with a fraction and without one.
        (Kind::Timestamp, RawRef::Text(text)) => {
            let is_usual = matches!(text.len(), 19 | 21..=26)
                && text[10] == b' '
                && text[19..].iter().all(|c| matches!(c, b'.' | b'0'..=b'9'));
            return is_usual && matches!(Logical::read(kind, raw), Logical::Timestamp(_));
        }
        _ => {}
    }
    let value = Logical::read(kind, raw).value();
    value.and_then(|value| write(kind, &value).ok()).is_some_and(|written| written == raw.to_raw())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_keeps_what_it_writes_as_it_was() {
        let text = |text: &'static str| RawRef::Text(text.as_bytes());
        for (kind, raw, wanted) in [
            (Kind::Timestamp, text("2026-01-01 10:00:00.000000"), true),
            (Kind::Timestamp, text("2026-01-01 10:00:00"), true),
            (Kind::Timestamp, text("2026-01-01T10:00:00.000Z"), false),
            (Kind::Timestamp, text("2026-01-01 10:00:00-01:00"), false),
            (Kind::Timestamp, text("2026-01-01 10:00:00.123456789"), false),
            (Kind::Timestamp, RawRef::Integer(1_700_000_000), false),
            (Kind::Int, RawRef::Integer(1_700_000_000), true),
            (Kind::Bool, RawRef::Integer(1), true),
            (Kind::Bool, RawRef::Integer(2), false),
            (Kind::Bool, text("true"), false),
            (Kind::Text, text("true"), true),
            (Kind::Decimal, RawRef::Real(1.5), true),
            (Kind::Decimal, text("12,50"), false),
            (Kind::Json, text("{}"), true),
            (Kind::Json, RawRef::Integer(1), false),
        ] {
            assert_eq!(keeps(kind, raw), wanted, "{kind:?} {raw:?}");
        }
    }
}
