//! What PostgreSQL's errors mean: by their SQLSTATE, and told without the values of rows.

use postgres::error::{DbError, SqlState};

use crate::connector::error::Error;
use crate::connector::sql::session::Meaning;

/// Tells what a failure means for the record that was being written.
pub(in crate::connector) fn meaning(error: &postgres::Error) -> Meaning {
    let Some(found) = error.as_db_error() else { return Meaning::Whole };
    let text = Some(found.message().to_owned());
    match (found.code(), class(found)) {
        // Said by a trigger's own words (`RAISE`), it isn't about locks and lasts.
        _ if found.routine() == Some("exec_stmt_raise") => Meaning::Value(text),
        (code, _) if is_contention(code) => Meaning::Contended,
        (_, "23") => Meaning::Constraint(text),
        // Data exceptions; too large for an index or a row; a type that doesn't fit; raised by a trigger; a rule in the way.
        (_, "0A" | "22" | "44" | "54" | "P0") => Meaning::Value(text),
        (code, _) if *code == SqlState::DATATYPE_MISMATCH => Meaning::Value(text),
        // A policy or a missing right; what a trigger names isn't there, or it failed or was too slow. Unless it is ours.
        (code, class) if matches!(class, "38" | "39" | "42") || *code == SqlState::QUERY_CANCELED => {
            match found.message().contains("wbsync") {
                true => Meaning::Whole,
                false => Meaning::Unable(found.message().to_owned()),
            }
        }
        _ => Meaning::Whole,
    }
}

/// Makes the error of a failed call, sorted by what to do about it. A server's details and hints hold values of rows
/// and are left out.
pub(super) fn explain(doing: &'static str, place: &str, waited_ms: u64, source: postgres::Error) -> Error {
    let database = place.to_owned();
    let Some(found) = source.as_db_error() else { return Error::Unreachable { doing, database, source } };
    let why = format!("{} (SQLSTATE {})", found.message(), found.code().code());
    match (found.code(), class(found)) {
        (code, _) if is_contention(code) || *code == SqlState::QUERY_CANCELED => {
            Error::Locked { doing, database, waited_ms }
        }
        (_, "28" | "3D" | "08" | "53" | "57") => Error::Unreachable { doing, database, source },
        (code, _) if *code == SqlState::INSUFFICIENT_PRIVILEGE || *code == SqlState::READ_ONLY_SQL_TRANSACTION => {
            Error::Forbidden { doing, database, why }
        }
        _ => Error::Postgres { doing, database, why },
    }
}

fn class(error: &DbError) -> &str {
    &error.code().code()[..2]
}

fn is_contention(code: &SqlState) -> bool {
    [SqlState::LOCK_NOT_AVAILABLE, SqlState::T_R_DEADLOCK_DETECTED, SqlState::T_R_SERIALIZATION_FAILURE].contains(code)
}
