//! The engine: commit, fetch, merge, apply, publish and push over one instance.

pub mod apply;
pub mod changes;
pub mod commit;
pub mod config;
pub mod error;
pub mod fetch;
pub mod ingest;
pub mod init;
pub mod inspect;
pub mod instance;
pub mod merge;
pub mod peers;
mod prepare;
pub mod progress;
pub mod publish;
pub mod push;
pub mod remotes;
pub mod scopes;
pub mod status;
pub mod view;
mod vouch;
