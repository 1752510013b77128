//! What the catalogue says of tables. Everything is named with its schema: nobody's `search_path` decides.

/// What is behind a column's type: `own`, the type without its domains, with its length; `item`, of an array the same for
/// what is in it, otherwise `own` again.
macro_rules! behind {
    () => {
        "
CROSS JOIN LATERAL (
    WITH RECURSIVE up(oid, length, required) AS (
        SELECT a.atttypid, a.atttypmod, false
        UNION ALL SELECT t.typbasetype, t.typtypmod, t.typnotnull FROM up JOIN pg_catalog.pg_type t ON t.oid = up.oid
        WHERE t.typtype = 'd')
    SELECT up.length, (SELECT pg_catalog.bool_or(every.required) FROM up every) AS required, b.*
    FROM up JOIN pg_catalog.pg_type b ON b.oid = up.oid AND b.typtype <> 'd') own
CROSS JOIN LATERAL (
    WITH RECURSIVE up(oid, length) AS (
        SELECT CASE WHEN own.typcategory = 'A' THEN own.typelem ELSE own.oid END, own.length
        UNION ALL SELECT t.typbasetype, t.typtypmod FROM up JOIN pg_catalog.pg_type t ON t.oid = up.oid
        WHERE t.typtype = 'd')
    SELECT up.length, b.* FROM up JOIN pg_catalog.pg_type b ON b.oid = up.oid AND b.typtype <> 'd') item"
    };
}

/// Spells a column's type without its domains.
macro_rules! declared {
    () => {
        "
       CASE WHEN item.typtype = 'e' THEN 'enum ' ELSE '' END || pg_catalog.format_type(item.oid, item.length)
           || CASE WHEN own.typcategory = 'A' THEN '[]' ELSE '' END"
    };
}

/// Describes the columns of the table `$2` in the schema `$1`.
pub(super) const COLUMNS: &str = concat!(
    "
SELECT a.attname::text,",
    declared!(),
    ",
       a.attnotnull OR own.required,
       a.atthasdef OR a.attidentity <> '' OR a.attgenerated <> '',
       coalesce(pg_catalog.array_position(k.conkey, a.attnum), 0),
       own.typname::text,
       item.typtype = 'e',
       item.typname::text
FROM pg_catalog.pg_attribute a
JOIN pg_catalog.pg_class c ON c.oid = a.attrelid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace",
    behind!(),
    "
LEFT JOIN pg_catalog.pg_constraint k ON k.conrelid = c.oid AND k.contype = 'p'
WHERE n.nspname = $1 AND c.relname = $2 AND c.relkind IN ('r', 'p') AND a.attnum > 0 AND NOT a.attisdropped"
);

/// Lists the columns of the unique indexes of all rows of the table `$2` in the schema `$1`, by the index's number.
pub(super) const UNIQUE_SETS: &str = "
SELECT i.indexrelid::bigint, a.attname::text
FROM pg_catalog.pg_index i
JOIN pg_catalog.pg_class c ON c.oid = i.indrelid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum = ANY((i.indkey::smallint[])[0:i.indnkeyatts - 1])
WHERE n.nspname = $1 AND c.relname = $2 AND i.indisunique AND i.indpred IS NULL AND i.indexprs IS NULL";

/// Lists the columns of the foreign keys of tables of the schema `$1`, to tables of the same schema (`$2` is 1) or of others
/// (0): number, table, column, parent (with its schema if that is another), its column, whether deleting acts, whether it is deferred, whether it can be.
pub(super) const FOREIGN_KEYS: &str = "
SELECT k.oid::bigint, c.relname::text, a.attname::text,
       CASE WHEN p.relnamespace = c.relnamespace THEN p.relname::text
            ELSE p.relnamespace::regnamespace::text || '.' || p.relname::text END, b.attname::text,
       k.confdeltype NOT IN ('a', 'r'), k.condeferred, k.condeferrable
FROM pg_catalog.pg_constraint k
JOIN pg_catalog.pg_class c ON c.oid = k.conrelid
JOIN pg_catalog.pg_class p ON p.oid = k.confrelid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
CROSS JOIN LATERAL ROWS FROM (pg_catalog.unnest(k.conkey), pg_catalog.unnest(k.confkey)) WITH ORDINALITY AS u(x, y, at)
JOIN pg_catalog.pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = u.x
JOIN pg_catalog.pg_attribute b ON b.attrelid = k.confrelid AND b.attnum = u.y
WHERE n.nspname = $1 AND k.contype = 'f' AND k.conparentid = 0 AND (p.relnamespace = c.relnamespace)::int = $2
ORDER BY c.relname, k.conname, u.at";

/// Lists what has columns in the schema `$1`: name and kind.
pub(super) const TABLES: &str = "
SELECT c.relname::text, c.relkind::text FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = $1 AND c.relkind IN ('r', 'p', 'v', 'm', 'f') AND NOT c.relispartition ORDER BY c.relname";

/// Describes the columns of the table `$2` in the schema `$1`, in order; among it whether the database computes the column,
/// and whether it alone numbers the rows by it.
pub(super) const TABLE_COLUMNS: &str = concat!(
    "
SELECT a.attname::text,",
    declared!(),
    ",
       a.attnotnull OR own.required,
       a.atthasdef OR a.attidentity <> '' OR a.attgenerated <> '',
       a.attgenerated <> '',
       a.attidentity = 'a',
       coalesce(pg_catalog.array_position(k.conkey, a.attnum), 0),
       own.typname::text,
       item.typtype = 'e',
       item.typname::text,
       (SELECT m.enumlabel::text FROM pg_catalog.pg_enum m WHERE m.enumtypid = own.oid ORDER BY m.enumsortorder LIMIT 1)
FROM pg_catalog.pg_attribute a
JOIN pg_catalog.pg_class c ON c.oid = a.attrelid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace",
    behind!(),
    "
LEFT JOIN pg_catalog.pg_constraint k ON k.conrelid = c.oid AND k.contype = 'p'
WHERE n.nspname = $1 AND c.relname = $2 AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum"
);

/// Lists the application's triggers on the table `$2` in the schema `$1`.
pub(super) const TRIGGERS: &str = "
SELECT g.tgname::text FROM pg_catalog.pg_trigger g
JOIN pg_catalog.pg_class c ON c.oid = g.tgrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = $1 AND c.relname = $2 AND NOT g.tgisinternal AND g.tgname NOT LIKE '%wbsync%' ORDER BY g.tgname";

/// Tells whether deleting a row of the schema `$1` may delete or alter others.
pub(super) const ACTING_KEYS: &str = "
SELECT 1 FROM pg_catalog.pg_constraint k JOIN pg_catalog.pg_namespace n ON n.oid = k.connamespace
WHERE n.nspname = $1 AND k.contype = 'f' AND k.confdeltype NOT IN ('a', 'r') LIMIT 1";

/// Measures the bookkeeping and the whole database.
pub(super) const SIZES: &str = "
SELECT coalesce((SELECT sum(pg_catalog.pg_total_relation_size(c.oid)) FROM pg_catalog.pg_class c
                 JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
                 WHERE n.nspname = 'wbsync' AND c.relkind = 'r'), 0)::bigint,
       pg_catalog.pg_database_size(pg_catalog.current_database())::bigint";

/// Tells whether something in the schema `$1` may be checked at the end of a transaction.
pub(super) const DEFERRABLE: &str = "
SELECT 1 FROM pg_catalog.pg_constraint k JOIN pg_catalog.pg_namespace n ON n.oid = k.connamespace
WHERE n.nspname = $1 AND k.condeferrable LIMIT 1";

/// Tells whether the bookkeeping is there.
pub(super) const HAS_BOOKS: &str = "
SELECT 1 FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = 'wbsync' AND c.relname = 'meta'";

/// Tells whether its schema is there: an administrator may have made it for us.
pub(super) const HAS_SCHEMA: &str = "SELECT 1 FROM pg_catalog.pg_namespace WHERE nspname = 'wbsync'";

/// Gives the first member of the enumeration `$1`, as `format_type` spells it.
pub(super) const FIRST_MEMBER: &str = "
SELECT m.enumlabel::text FROM pg_catalog.pg_enum m WHERE m.enumtypid = $1::text::pg_catalog.regtype
ORDER BY m.enumsortorder LIMIT 1";

/// Tells whether an integer type is one of the three that keys can be of.
pub(super) fn is_integer(name: &str) -> bool {
    matches!(name, "int2" | "int4" | "int8")
}
