//! Scopes: who may read and write what.

pub mod manifest;
