//! What SQLite's errors mean.

use rusqlite::ErrorCode;

use crate::connector::sql::session::Meaning;

/// Tells what a failure means for the record that was being written.
pub(in crate::connector) fn meaning(error: &rusqlite::Error) -> Meaning {
    let Some((code, text)) = said(error) else { return Meaning::Whole };
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

/// Tells whether a statement can't be made, as where it needs a function of the application's own.
pub(super) fn is_unable(error: &rusqlite::Error) -> bool {
    said(error).is_some_and(|(code, _)| code == ErrorCode::Unknown)
}

fn said(error: &rusqlite::Error) -> Option<(ErrorCode, Option<String>)> {
    match error {
        rusqlite::Error::SqliteFailure(error, text) => Some((error.code, text.clone())),
        rusqlite::Error::SqlInputError { error, msg, .. } => Some((error.code, Some(msg.clone()))),
        _ => None,
    }
}
