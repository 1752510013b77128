//! What the catalogue says of tables. Everything is named with its schema: nobody's `search_path` decides.

/// Describes the columns of the table `$2` in the schema `$1`.
pub(super) const COLUMNS: &str = "
SELECT a.attname::text,
       CASE WHEN e.typtype = 'e' THEN 'enum ' ELSE '' END || pg_catalog.format_type(a.atttypid, a.atttypmod),
       a.attnotnull OR (t.typtype = 'd' AND t.typnotnull),
       a.atthasdef OR a.attidentity <> '' OR a.attgenerated <> '',
       coalesce(pg_catalog.array_position(k.conkey, a.attnum), 0),
       b.typname::text,
       e.typtype = 'e',
       e.typname::text
FROM pg_catalog.pg_attribute a
JOIN pg_catalog.pg_class c ON c.oid = a.attrelid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
JOIN pg_catalog.pg_type b ON b.oid = CASE t.typtype WHEN 'd' THEN t.typbasetype ELSE t.oid END
JOIN pg_catalog.pg_type e ON e.oid = CASE WHEN b.typcategory = 'A' THEN b.typelem ELSE b.oid END
LEFT JOIN pg_catalog.pg_constraint k ON k.conrelid = c.oid AND k.contype = 'p'
WHERE n.nspname = $1 AND c.relname = $2 AND c.relkind IN ('r', 'p') AND a.attnum > 0 AND NOT a.attisdropped";

/// Lists the columns of the unique indexes of all rows of the table `$2` in the schema `$1`, by the index's number.
pub(super) const UNIQUE_SETS: &str = "
SELECT i.indexrelid::bigint, a.attname::text
FROM pg_catalog.pg_index i
JOIN pg_catalog.pg_class c ON c.oid = i.indrelid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum = ANY((i.indkey::smallint[])[0:i.indnkeyatts - 1])
WHERE n.nspname = $1 AND c.relname = $2 AND i.indisunique AND i.indpred IS NULL AND i.indexprs IS NULL";

/// Lists the columns of the foreign keys between tables of the schema `$1`: number, table, column, parent, its column,
/// whether deleting acts, whether it is deferred, whether it can be.
pub(super) const FOREIGN_KEYS: &str = "
SELECT k.oid::bigint, c.relname::text, a.attname::text, p.relname::text, b.attname::text,
       k.confdeltype NOT IN ('a', 'r'), k.condeferred, k.condeferrable
FROM pg_catalog.pg_constraint k
JOIN pg_catalog.pg_class c ON c.oid = k.conrelid
JOIN pg_catalog.pg_class p ON p.oid = k.confrelid AND p.relnamespace = c.relnamespace
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
CROSS JOIN LATERAL ROWS FROM (pg_catalog.unnest(k.conkey), pg_catalog.unnest(k.confkey)) WITH ORDINALITY AS u(x, y, at)
JOIN pg_catalog.pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = u.x
JOIN pg_catalog.pg_attribute b ON b.attrelid = k.confrelid AND b.attnum = u.y
WHERE n.nspname = $1 AND k.contype = 'f' AND k.conparentid = 0 ORDER BY c.relname, k.conname, u.at";

/// Lists what has columns in the schema `$1`: name and kind.
pub(super) const TABLES: &str = "
SELECT c.relname::text, c.relkind::text FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = $1 AND c.relkind IN ('r', 'p', 'v', 'm', 'f') AND NOT c.relispartition ORDER BY c.relname";

/// Describes the columns of the table `$2` in the schema `$1`, in order.
pub(super) const TABLE_COLUMNS: &str = "
SELECT a.attname::text,
       CASE WHEN e.typtype = 'e' THEN 'enum ' ELSE '' END || pg_catalog.format_type(a.atttypid, a.atttypmod),
       a.attnotnull OR (t.typtype = 'd' AND t.typnotnull),
       a.atthasdef OR a.attidentity <> '' OR a.attgenerated <> '',
       a.attgenerated <> '' OR a.attidentity = 'a',
       coalesce(pg_catalog.array_position(k.conkey, a.attnum), 0),
       b.typname::text,
       e.typtype = 'e',
       e.typname::text
FROM pg_catalog.pg_attribute a
JOIN pg_catalog.pg_class c ON c.oid = a.attrelid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
JOIN pg_catalog.pg_type b ON b.oid = CASE t.typtype WHEN 'd' THEN t.typbasetype ELSE t.oid END
JOIN pg_catalog.pg_type e ON e.oid = CASE WHEN b.typcategory = 'A' THEN b.typelem ELSE b.oid END
LEFT JOIN pg_catalog.pg_constraint k ON k.conrelid = c.oid AND k.contype = 'p'
WHERE n.nspname = $1 AND c.relname = $2 AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum";

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

/// Tells whether an integer type is one of the three that keys can be of.
pub(super) fn is_integer(name: &str) -> bool {
    matches!(name, "int2" | "int4" | "int8")
}
