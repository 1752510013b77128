//! HTTP: the store contract over HTTP/1.1, by TCP, TLS or any pipe.
//!
//! The protocol (format/http.md) is one for all carriers: `transport::ssh` speaks it over the pipe of `ssh`. What both
//! sides must agree on, `wire`, `signature` and `url`, is here and used by the hub too.

pub mod client;
pub mod download;
pub mod recall;
pub mod retry;
pub mod signature;
pub mod store;
pub mod trouble;
pub mod upload;
pub mod url;
pub mod wire;
