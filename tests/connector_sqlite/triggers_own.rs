//! What only SQLite does to triggers.
