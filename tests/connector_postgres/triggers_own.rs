//! What only PostgreSQL does to triggers.
