//! Triggers on the application's tables in PostgreSQL, which note the keys of rows that change.
//!
//! They fire once a statement, by transition tables, and only add: a note is never in another transaction's way. What a
//! snapshot saw of them is told by their transactions, so that one that commits late is never taken for seen.

use crate::connector::sql::raw::{Raw, RawRef};
use crate::connector::sql::session::{Outbox, Session, SqlError, Standing, Step, Watched};

/// The tables that triggers write to, and what notices that rows moved which others refer to. Each with its kind, its name,
/// and for a function its body.
const PARTS: &[(&str, &str, &str)] = &[
    (
        "TABLE",
        "outbox",
        "CREATE TABLE wbsync.outbox(tx xid8 NOT NULL DEFAULT pg_catalog.pg_current_xact_id(), place text NOT NULL, key text)",
    ),
    (
        "TABLE",
        "moved",
        "CREATE TABLE wbsync.moved(dataset bigint NOT NULL, key text COLLATE \"C\" NOT NULL, PRIMARY KEY(dataset, key))",
    ),
    (
        "TABLE",
        "unsettled",
        "CREATE TABLE wbsync.unsettled(dataset bigint NOT NULL, key text COLLATE \"C\" NOT NULL, PRIMARY KEY(dataset, key))",
    ),
    (
        "TABLE",
        "watch",
        "CREATE TABLE wbsync.watch(place text PRIMARY KEY, print text NOT NULL, number bigint NOT NULL)",
    ),
    ("INDEX", "map_dangling", "CREATE INDEX map_dangling ON wbsync.map(dataset) WHERE flags & 2 <> 0"),
];

const MOVED: &str = "
BEGIN
    INSERT INTO wbsync.moved VALUES(OLD.dataset, OLD.key) ON CONFLICT DO NOTHING;
    RETURN NULL;
END";

const MAP_TRIGGERS: &[(&str, &str)] = &[
    (
        "map_moved",
        "CREATE TRIGGER map_moved AFTER UPDATE ON wbsync.map FOR EACH ROW WHEN (OLD.origin <> NEW.origin OR OLD.record <> NEW.record OR OLD.audience <> NEW.audience) EXECUTE FUNCTION wbsync.map_moved()",
    ),
    ("map_left", "CREATE TRIGGER map_left AFTER DELETE ON wbsync.map FOR EACH ROW EXECUTE FUNCTION wbsync.map_moved()"),
];

/// What each trigger of a table is called, when it fires, and which rows it is given; its kind as the catalogue has it.
const EVENTS: &[(&str, &str, &str, i64)] = &[
    ("_wbsync_insert", "AFTER INSERT", "REFERENCING NEW TABLE AS new_rows", 4),
    ("_wbsync_update", "AFTER UPDATE", "REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows", 16),
    ("_wbsync_delete", "AFTER DELETE", "REFERENCING OLD TABLE AS old_rows", 8),
    ("_wbsync_truncate", "AFTER TRUNCATE", "", 32),
];

pub(super) const OUTBOX: Outbox = Outbox {
    horizon: "SELECT pg_current_snapshot()::text",
    forget: "DELETE FROM wbsync.outbox WHERE ctid = ANY(ARRAY(SELECT ctid FROM wbsync.outbox
             WHERE pg_visible_in_snapshot(tx, ?1::text::pg_snapshot) LIMIT ?2::bigint))",
    forget_keys: "DELETE FROM wbsync.outbox WHERE place = ?1 AND key = ANY(?2::text[])",
};

/// Describes the table `$2` of the schema `$1`: whether it has parts, whether it is ours to alter, and a text that is another
/// one once it was rewritten or its columns or triggers were altered.
const TABLE: &str = "
SELECT c.relkind = 'p' OR EXISTS (SELECT 1 FROM pg_inherits i WHERE i.inhparent = c.oid),
       pg_has_role(c.relowner, 'USAGE'),
       concat_ws(' ', c.oid, c.relfilenode, (SELECT b.oid FROM pg_class b WHERE b.oid = to_regclass('wbsync.outbox')),
           (SELECT string_agg(concat_ws(':', a.attnum, a.atttypid, a.atttypmod), ',' ORDER BY a.attnum)
            FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped),
           (SELECT string_agg(concat_ws(':', t.oid, t.xmin, f.oid, f.xmin), ',' ORDER BY t.oid)
            FROM pg_trigger t JOIN pg_proc f ON f.oid = t.tgfoid JOIN pg_namespace n ON n.oid = f.pronamespace
            WHERE t.tgrelid = c.oid AND n.nspname = 'wbsync'))
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = ?1 AND c.relname = ?2 AND c.relkind IN ('r', 'p')";

/// Lists the triggers of a table that call functions of ours: name, kind, when it fires, rows, function, body, rights.
const TRIGGERS: &str = "
SELECT t.tgname::text, t.tgtype::bigint, t.tgenabled::text,
       concat_ws(' ', t.tgoldtable, t.tgnewtable, CASE WHEN t.tgqual IS NOT NULL THEN 'when' END, t.tgnargs),
       f.proname::text, f.prosrc, f.prosecdef AND f.proconfig = ARRAY['search_path=pg_catalog, pg_temp']
FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_proc f ON f.oid = t.tgfoid JOIN pg_namespace m ON m.oid = f.pronamespace
WHERE n.nspname = ?1 AND c.relname = ?2 AND m.nspname = 'wbsync' AND NOT t.tgisinternal";

/// Lists the functions of ours that triggers call.
const FUNCTIONS: &str = "
SELECT f.proname::text FROM pg_proc f JOIN pg_namespace n ON n.oid = f.pronamespace WHERE n.nspname = 'wbsync'
ORDER BY 1";

/// A trigger as it is.
struct Known {
    name: String,
    kind: i64,
    enabled: String,
    rows: String,
    function: String,
    body: String,
    is_safe: bool,
}

pub(super) fn has_outbox(conn: &dyn Session) -> Result<bool, SqlError> {
    has(conn, "outbox")
}

pub(super) fn standings(conn: &dyn Session, schema: &str, tables: &[Watched]) -> Result<Vec<Standing>, SqlError> {
    let mut general = Vec::new();
    for (kind, name, _) in PARTS {
        if !has(conn, name)? {
            general.push(format!("the {} wbsync.{name} is missing", kind.to_ascii_lowercase()));
        }
    }
    general.extend(faults_of_map(conn)?);
    let mut standings = Vec::new();
    for watched in tables {
        let mut faults = general.clone();
        let found = conn.one(TABLE, &bind![schema, watched.table], |row| {
            Ok((row.get::<i64>(0)? != 0, row.get::<i64>(1)? != 0, row.get::<String>(2)?))
        })?;
        let (has_parts, is_ours, print) = found.unwrap_or_default();
        let uncovered = has_parts.then(|| "it has partitions or heirs, which can change by themselves".to_owned());
        if uncovered.is_none() {
            faults.extend(faults_of_table(conn, schema, watched, is_ours)?);
        }
        standings.push(Standing { print, faults, uncovered });
    }
    Ok(standings)
}

pub(super) fn plan_install(conn: &dyn Session, schema: &str, tables: &[Watched]) -> Result<Vec<Step>, SqlError> {
    let mut general = Vec::new();
    for (_, name, sql) in PARTS {
        if !has(conn, name)? {
            general.push((*sql).to_owned());
        }
    }
    if !faults_of_map(conn)?.is_empty() {
        general.push(function_sql("map_moved", MOVED));
        for (name, sql) in MAP_TRIGGERS {
            general.push(format!("DROP TRIGGER IF EXISTS {name} ON wbsync.map"));
            general.push((*sql).to_owned());
        }
    }
    let mut steps = Vec::new();
    // Functions of tables that aren't mapped any more go, and their triggers with them.
    let mut wanted = vec!["map_moved".to_owned()];
    for watched in tables {
        let found = conn
            .one(TABLE, &bind![schema, watched.table], |row| Ok((row.get::<i64>(0)? != 0, row.get::<i64>(1)? != 0)))?;
        let (has_parts, is_ours) = found.unwrap_or_default();
        if has_parts {
            continue;
        }
        wanted.push(function_of(&watched.table));
        if faults_of_table(conn, schema, watched, is_ours)?.is_empty() {
            continue;
        }
        steps.push(Step { statements: table_sql(conn, schema, watched, is_ours) });
    }
    for function in functions(conn)? {
        if !wanted.contains(&function) {
            general.push(drop_function(&function));
        }
    }
    if !general.is_empty() {
        steps.insert(0, Step { statements: general });
    }
    Ok(steps)
}

pub(super) fn plan_uninstall(conn: &dyn Session) -> Result<Vec<Step>, SqlError> {
    // With a function its triggers go, also from tables that aren't ours.
    let mut steps: Vec<Step> =
        functions(conn)?.iter().map(|function| Step { statements: vec![drop_function(function)] }).collect();
    let mut statements = Vec::new();
    for (kind, name, _) in PARTS.iter().rev() {
        if has(conn, name)? {
            statements.push(format!("DROP {kind} wbsync.{name}"));
        }
    }
    if !statements.is_empty() {
        steps.push(Step { statements });
    }
    Ok(steps)
}

fn has(conn: &dyn Session, name: &str) -> Result<bool, SqlError> {
    let sql = "SELECT 1 FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
               WHERE n.nspname = 'wbsync' AND c.relname = ?1";
    conn.exists(sql, &bind![name])
}

fn functions(conn: &dyn Session) -> Result<Vec<String>, SqlError> {
    conn.all(FUNCTIONS, &[], |row| row.get(0))
}

fn known(conn: &dyn Session, schema: &str, table: &str) -> Result<Vec<Known>, SqlError> {
    conn.all(TRIGGERS, &bind![schema, table], |row| {
        Ok(Known {
            name: row.get(0)?,
            kind: row.get(1)?,
            enabled: row.get(2)?,
            rows: row.get(3)?,
            function: row.get(4)?,
            body: row.get(5)?,
            is_safe: matches!(row.raw(6)?.to_raw(), Raw::Integer(1)),
        })
    })
}

fn faults_of_map(conn: &dyn Session) -> Result<Vec<String>, SqlError> {
    let found = known(conn, "wbsync", "map")?;
    let stands = |(name, _): &&(&str, &str)| {
        let known = found.iter().find(|known| known.name == *name);
        known.is_some_and(|known| known.body == MOVED && known.is_safe && known.enabled != "D")
    };
    let missing = MAP_TRIGGERS.iter().filter(|part| !stands(part));
    Ok(missing.map(|(name, _)| format!("the trigger {name} on wbsync.map is not as we make it")).collect())
}

fn faults_of_table(
    conn: &dyn Session,
    schema: &str,
    watched: &Watched,
    is_ours: bool,
) -> Result<Vec<String>, SqlError> {
    let found = known(conn, schema, &watched.table)?;
    let (function, body) = (function_of(&watched.table), body(conn, watched));
    let mut faults = Vec::new();
    for (name, _, rows, kind) in EVENTS {
        let Some(known) = found.iter().find(|known| known.name == *name) else {
            faults.push(format!("the trigger {name} on {} is missing", watched.table));
            continue;
        };
        let tables: Vec<&str> = rows.split(' ').filter(|word| word.ends_with("_rows")).collect();
        let given = [tables.as_slice(), &["0"]].concat().join(" ");
        let fires = known.enabled == "A" || known.enabled == "O" && !is_ours;
        let is_fine = known.kind == *kind
            && fires
            && known.rows == given
            && known.function == function
            && known.body == body
            && known.is_safe;
        if !is_fine {
            faults.push(format!("the trigger {name} on {} is not as we make it", watched.table));
        }
    }
    Ok(faults)
}

/// Writes what makes the triggers of a table.
fn table_sql(conn: &dyn Session, schema: &str, watched: &Watched, is_ours: bool) -> Vec<String> {
    let function = function_of(&watched.table);
    let table = format!("{}.{}", quote(schema), quote(&watched.table));
    // Dropping the function is how somebody drops triggers who doesn't own the table.
    let mut statements = vec![drop_function(&function), function_sql(&function, &body(conn, watched))];
    for (name, event, rows, _) in EVENTS {
        let rows = if rows.is_empty() { String::new() } else { format!("{rows} ") };
        statements.push(format!(
            "CREATE TRIGGER \"{name}\" {event} ON {table} {rows}FOR EACH STATEMENT EXECUTE FUNCTION wbsync.{}()",
            quote(&function)
        ));
        if is_ours {
            // Also where somebody replays changes with session_replication_role = replica.
            statements.push(format!("ALTER TABLE {table} ENABLE ALWAYS TRIGGER \"{name}\""));
        }
    }
    statements
}

fn drop_function(name: &str) -> String {
    format!("DROP FUNCTION IF EXISTS wbsync.{}() CASCADE", quote(name))
}

fn function_sql(name: &str, body: &str) -> String {
    // Whoever writes to the application's tables needs no right on ours, and names nothing that we call.
    format!(
        "CREATE OR REPLACE FUNCTION wbsync.{}() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $wbsync${body}$wbsync$",
        quote(name)
    )
}

/// Writes what the triggers of a table do. Without an outbox they do nothing, and without the columns of the key they note
/// that everything may have changed: the application must go on.
fn body(conn: &dyn Session, watched: &Watched) -> String {
    let place = text(&watched.table);
    let [new, old] = ["n.", "o."].map(|row| conn.key_in_map(&watched.key.value(conn, row)));
    let columns: Vec<String> = watched.key.list().map(text).collect();
    format!(
        "
BEGIN
    IF to_regclass('wbsync.outbox') IS NULL THEN
        RETURN NULL;
    END IF;
    IF (SELECT count(*) FROM pg_attribute a WHERE a.attrelid = TG_RELID AND a.attname IN ({}) AND NOT a.attisdropped) <> {} THEN
        INSERT INTO wbsync.outbox(place, key) VALUES({place}, NULL);
    ELSIF TG_OP = 'INSERT' THEN
        INSERT INTO wbsync.outbox(place, key) SELECT {place}, {new} FROM new_rows n;
    ELSIF TG_OP = 'UPDATE' THEN
        INSERT INTO wbsync.outbox(place, key)
        SELECT {place}, {new} FROM new_rows n UNION SELECT {place}, {old} FROM old_rows o;
    ELSIF TG_OP = 'DELETE' THEN
        INSERT INTO wbsync.outbox(place, key) SELECT {place}, {old} FROM old_rows o;
    ELSE
        INSERT INTO wbsync.outbox(place, key) VALUES({place}, NULL);
    END IF;
    IF FOUND AND current_setting('wbsync.writes', true) IS DISTINCT FROM 'on' THEN
        NOTIFY wbsync;
    END IF;
    RETURN NULL;
END",
        columns.join(", "),
        columns.len()
    )
}

/// Names the function of a table; names are at most 63 bytes long.
fn function_of(table: &str) -> String {
    let name = format!("note_{table}");
    if name.len() <= 63 {
        return name;
    }
    format!("note_{}", &blake3::hash(table.as_bytes()).to_hex()[..32])
}

fn quote(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn text(value: &str) -> String {
    format!("'{}'", value.replace('\'', "''"))
}

/// Spells keys as an array.
pub(super) fn list<'a>(keys: impl Iterator<Item = RawRef<'a>>) -> String {
    let spelled: Vec<String> = keys
        .map(|key| match key {
            RawRef::Integer(number) => number.to_string(),
            RawRef::Text(bytes) => {
                let text = String::from_utf8_lossy(bytes);
                format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
            }
            _ => "NULL".to_owned(),
        })
        .collect();
    format!("{{{}}}", spelled.join(","))
}
