//! Triggers on the application's tables in SQLite, which note the keys of rows that change.
//!
//! A trigger names no table but its own and the outbox: else renaming or rebuilding another table would fail. Notes are
//! upserts, whose conflict clause holds also within an `INSERT OR IGNORE` of the application's. Rows that an `OR REPLACE`
//! deletes fire no trigger, so those that are in the way are noted before.

use rusqlite::Connection;

use crate::connector::sql::session::{Outbox, Session, SqlError, Standing, Step, Watched};

/// The tables that triggers write to, and what notices that rows moved which others refer to.
const TABLES: &[(&str, &str)] = &[
    (
        "_wbsync_outbox",
        "CREATE TABLE _wbsync_outbox(id INTEGER PRIMARY KEY, place TEXT NOT NULL, key, UNIQUE(place, key))",
    ),
    (
        "_wbsync_moved",
        "CREATE TABLE _wbsync_moved(dataset INTEGER NOT NULL, key NOT NULL, PRIMARY KEY(dataset, key)) WITHOUT ROWID",
    ),
    (
        "_wbsync_unsettled",
        "CREATE TABLE _wbsync_unsettled(dataset INTEGER NOT NULL, key NOT NULL, PRIMARY KEY(dataset, key)) WITHOUT ROWID",
    ),
    (
        "_wbsync_watch",
        "CREATE TABLE _wbsync_watch(place TEXT NOT NULL PRIMARY KEY, print TEXT NOT NULL, number INTEGER NOT NULL) WITHOUT ROWID",
    ),
    ("_wbsync_map_dangling", "CREATE INDEX _wbsync_map_dangling ON _wbsync_map(dataset) WHERE flags & 2 <> 0"),
    (
        "_wbsync_map_moved",
        "CREATE TRIGGER _wbsync_map_moved AFTER UPDATE ON _wbsync_map WHEN OLD.origin <> NEW.origin OR OLD.record <> NEW.record OR OLD.audience <> NEW.audience BEGIN INSERT INTO _wbsync_moved VALUES(OLD.dataset, OLD.key) ON CONFLICT(dataset, key) DO NOTHING; END",
    ),
    (
        "_wbsync_map_left",
        "CREATE TRIGGER _wbsync_map_left AFTER DELETE ON _wbsync_map BEGIN INSERT INTO _wbsync_moved VALUES(OLD.dataset, OLD.key) ON CONFLICT(dataset, key) DO NOTHING; END",
    ),
];

/// Ids ascend in the order of commits, since writers come one by one; while a capture runs nothing else deletes any.
pub(super) const OUTBOX: Outbox = Outbox {
    horizon: "SELECT CAST(coalesce(max(id), 0) AS TEXT) FROM _wbsync_outbox",
    forget: "DELETE FROM _wbsync_outbox WHERE id IN
             (SELECT id FROM _wbsync_outbox WHERE id <= CAST(?1 AS INTEGER) ORDER BY id LIMIT ?2)",
    forget_keys: "DELETE FROM _wbsync_outbox WHERE place = ?1 AND key IN (SELECT value FROM json_each(?2))",
};

/// What ends every note: the same key once more takes a higher id.
const AGAIN: &str = "ON CONFLICT(place, key) DO UPDATE SET id = (SELECT max(id) + 1 FROM _wbsync_outbox)";

pub(super) fn has_outbox(conn: &Connection) -> Result<bool, SqlError> {
    let sql = "SELECT 1 FROM main.sqlite_schema WHERE type = 'table' AND name = '_wbsync_outbox'";
    Ok(conn.prepare_cached(sql)?.exists([])?)
}

pub(super) fn standings(
    session: &dyn Session,
    conn: &Connection,
    tables: &[Watched],
) -> Result<Vec<Standing>, SqlError> {
    let print: i64 = conn.prepare_cached("PRAGMA main.schema_version")?.query_row([], |row| row.get(0))?;
    let found = found(conn)?;
    let mut general = Vec::new();
    for (name, sql) in TABLES {
        general.extend(fault(&found, name, sql));
    }
    let mut standings = Vec::new();
    for watched in tables {
        let mut faults = general.clone();
        for (name, sql) in triggers(session, conn, watched)? {
            faults.extend(fault(&found, &name, &sql));
        }
        standings.push(Standing { print: print.to_string(), faults, uncovered: None });
    }
    Ok(standings)
}

pub(super) fn plan_install(
    session: &dyn Session,
    conn: &Connection,
    tables: &[Watched],
) -> Result<Vec<Step>, SqlError> {
    let found = found(conn)?;
    let mut statements = Vec::new();
    let mut wanted: Vec<(String, String)> =
        TABLES.iter().map(|(name, sql)| ((*name).to_owned(), (*sql).to_owned())).collect();
    for watched in tables {
        wanted.extend(triggers(session, conn, watched)?);
    }
    for (kind, name, _) in found.iter().filter(|(kind, ..)| kind == "trigger") {
        if !wanted.iter().any(|(known, _)| known.eq_ignore_ascii_case(name)) {
            statements.push(drop(kind, name));
        }
    }
    for (name, sql) in wanted {
        match found.iter().find(|(_, known, _)| known.eq_ignore_ascii_case(&name)) {
            Some((.., known)) if *known == sql => continue,
            Some((kind, name, _)) => statements.push(drop(kind, name)),
            None => {}
        }
        statements.push(sql);
    }
    Ok(if statements.is_empty() { Vec::new() } else { vec![Step { statements }] })
}

pub(super) fn plan_uninstall(conn: &Connection) -> Result<Vec<Step>, SqlError> {
    // Triggers first: without them nobody misses the tables.
    let mut statements = Vec::new();
    for wanted in ["trigger", "index", "table"] {
        let found = found(conn)?.into_iter().filter(|(kind, ..)| kind == wanted);
        statements.extend(found.map(|(kind, name, _)| drop(&kind, &name)));
    }
    Ok(if statements.is_empty() { Vec::new() } else { vec![Step { statements }] })
}

fn drop(kind: &str, name: &str) -> String {
    format!("DROP {} {}", kind.to_ascii_uppercase(), quote(name))
}

/// Lists everything of ours that belongs to the capture by triggers: kind, name, text.
fn found(conn: &Connection) -> Result<Vec<(String, String, String)>, SqlError> {
    let sql = "SELECT type, name, sql FROM main.sqlite_schema
               WHERE name LIKE '\\_wbsync\\_%' ESCAPE '\\' AND sql IS NOT NULL ORDER BY name";
    let mut statement = conn.prepare_cached(sql)?;
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    let all: Vec<(String, String, String)> = rows.collect::<Result<_, _>>()?;
    let is_ours =
        |kind: &str, name: &str| kind == "trigger" || TABLES.iter().any(|(known, _)| known.eq_ignore_ascii_case(name));
    Ok(all.into_iter().filter(|(kind, name, _)| is_ours(kind, name)).collect())
}

fn fault(found: &[(String, String, String)], name: &str, sql: &str) -> Option<String> {
    match found.iter().find(|(_, known, _)| known.eq_ignore_ascii_case(name)) {
        Some((.., known)) if known == sql => None,
        Some((kind, ..)) => Some(format!("the {kind} {name} is not as we make it")),
        None => Some(format!("{name} is missing")),
    }
}

/// Writes the triggers of a table: name and text.
fn triggers(session: &dyn Session, conn: &Connection, watched: &Watched) -> Result<Vec<(String, String)>, SqlError> {
    let (table, place) = (quote(&watched.table), text(&watched.table));
    let [new, old, other] = ["NEW.", "OLD.", "t."].map(|row| watched.key.value(session, row));
    let note = |select: &str| format!("INSERT INTO _wbsync_outbox(place, key) SELECT {place}, {select} {AGAIN};");
    let trigger = |what: &str, event: &str, body: String| {
        let name = format!("_wbsync_{what}_{}", watched.table);
        let sql = format!("CREATE TRIGGER {} {event} ON {table} BEGIN {body} END", quote(&name));
        (name, sql)
    };
    // `WHERE` keeps what follows from being read as a condition of a join.
    let this = |key: &str| note(&format!("{key} WHERE TRUE"));
    let before = note(&format!("{old} WHERE {old} IS NOT {new}"));
    let mut triggers = vec![
        trigger("insert", "AFTER INSERT", this(&new)),
        trigger("update", "AFTER UPDATE", format!("{} {before}", this(&new))),
        trigger("delete", "AFTER DELETE", this(&old)),
    ];
    let ways = ways(conn, &watched.table)?;
    if !ways.is_empty() {
        let replaced = |except: &str| {
            let note = |way: &Option<String>| match way {
                Some(same) => note(&format!("{other} FROM {table} AS t WHERE {same}{except}")),
                // What is unique there can't be said here: everything is looked at.
                None => note("x'' WHERE TRUE"),
            };
            ways.iter().map(note).collect::<Vec<_>>().join(" ")
        };
        triggers.push(trigger("inserting", "BEFORE INSERT", replaced("")));
        let except = format!(" AND {other} IS NOT {old}");
        triggers.push(trigger("updating", "BEFORE UPDATE", replaced(&except)));
    }
    Ok(triggers)
}

/// Finds what else than a row's integer key must be unique: for each a condition on a row `t` that it is in the way of
/// `NEW`; `None` for one on expressions. A partial one is taken for a whole.
fn ways(conn: &Connection, table: &str) -> Result<Vec<Option<String>>, SqlError> {
    let mut indexes = conn.prepare_cached("SELECT name FROM pragma_index_list(?1) WHERE \"unique\" ORDER BY name")?;
    let names: Vec<String> = indexes.query_map([table], |row| row.get(0))?.collect::<Result<_, _>>()?;
    let mut columns = conn.prepare_cached("SELECT name, coll FROM pragma_index_xinfo(?1) WHERE key ORDER BY seqno")?;
    let mut ways = Vec::new();
    for name in names {
        let parts =
            columns.query_map([name], |row| Ok((row.get::<_, Option<String>>(0)?, row.get::<_, String>(1)?)))?;
        let mut same = Some(Vec::new());
        for part in parts {
            let (column, collation) = part?;
            same = match (same, column) {
                (Some(mut same), Some(column)) => {
                    let column = quote(&column);
                    same.push(format!("t.{column} = NEW.{column} COLLATE {}", quote(&collation)));
                    Some(same)
                }
                _ => None,
            };
        }
        ways.push(same.map(|same| same.join(" AND ")));
    }
    Ok(ways)
}

fn quote(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn text(value: &str) -> String {
    format!("'{}'", value.replace('\'', "''"))
}
