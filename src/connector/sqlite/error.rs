//! What SQLite's errors mean.

use rusqlite::ErrorCode;

use crate::connector::sql::session::Meaning;

/// Tells what a failure means for the record that was being written.
pub(in crate::connector) fn meaning(error: &rusqlite::Error) -> Meaning {
    let (code, text) = match error {
        rusqlite::Error::SqliteFailure(error, text) => (error.code, text.clone()),
        rusqlite::Error::SqlInputError { error, msg, .. } => (error.code, Some(msg.clone())),
        _ => return Meaning::Whole,
    };
    match code {
        ErrorCode::ConstraintViolation => Meaning::Constraint(text),
        ErrorCode::TooBig | ErrorCode::TypeMismatch => Meaning::Value(text),
        // The statement can't be made: a function or a collation is the application's own, a trigger names what isn't there.
        ErrorCode::Unknown => match text.filter(|text| !text.contains("_wbsync_")) {
            Some(text) => Meaning::Unable(text),
            None => Meaning::Whole,
        },
        _ => Meaning::Whole,
    }
}
