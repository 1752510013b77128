//! Errors of connectors.
