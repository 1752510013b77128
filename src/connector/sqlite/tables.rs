//! The tables of the bookkeeping in SQLite: what they hold is `sql::books`'s business.

/// Makes them, empty.
pub(super) const TABLES: &str = "
CREATE TABLE _wbsync_meta(format INTEGER NOT NULL);
CREATE TABLE _wbsync_origin(origin INTEGER PRIMARY KEY, instance BLOB NOT NULL UNIQUE);
CREATE TABLE _wbsync_dataset(dataset INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, audience TEXT);
CREATE TABLE _wbsync_map(
    dataset INTEGER NOT NULL, key NOT NULL, origin INTEGER NOT NULL, record BLOB NOT NULL,
    birth INTEGER NOT NULL, digest INTEGER NOT NULL, audience TEXT NOT NULL,
    seen INTEGER NOT NULL, view INTEGER NOT NULL, flags INTEGER NOT NULL, rule TEXT,
    PRIMARY KEY(dataset, key)) WITHOUT ROWID;
CREATE UNIQUE INDEX _wbsync_map_record ON _wbsync_map(dataset, origin, record);
CREATE INDEX _wbsync_map_stub ON _wbsync_map(dataset) WHERE flags & 1 <> 0;
CREATE TABLE _wbsync_override(
    dataset INTEGER NOT NULL, key NOT NULL, field TEXT NOT NULL, shown, reason TEXT NOT NULL,
    PRIMARY KEY(dataset, key, field)) WITHOUT ROWID;
CREATE TABLE _wbsync_gone(
    dataset INTEGER NOT NULL, origin INTEGER NOT NULL, record BLOB NOT NULL,
    number INTEGER NOT NULL, base INTEGER NOT NULL, PRIMARY KEY(dataset, origin, record)) WITHOUT ROWID;
CREATE TABLE _wbsync_waiting(
    id INTEGER PRIMARY KEY, dataset INTEGER NOT NULL, origin INTEGER NOT NULL, record BLOB NOT NULL,
    field TEXT NOT NULL, change BLOB, for_dataset INTEGER, for_origin INTEGER, for_record BLOB,
    reason TEXT NOT NULL, UNIQUE(dataset, origin, record, field));
CREATE INDEX _wbsync_waiting_for ON _wbsync_waiting(for_dataset, for_origin, for_record);
CREATE TABLE _wbsync_position(
    one INTEGER PRIMARY KEY CHECK(one = 1), settled INTEGER NOT NULL, view INTEGER NOT NULL,
    applied BLOB NOT NULL, target BLOB);
INSERT INTO _wbsync_position VALUES(1, 0, 0, x'', NULL);
";
