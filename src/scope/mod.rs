//! Privacy rules: which scope a row belongs to, and the signed manifests of scopes.

pub mod audience;
pub mod fields;
pub mod manifest;
