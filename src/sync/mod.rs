//! The engine: commit, fetch, merge, apply, publish and push over one instance.

pub mod apply;
pub mod blame;
pub mod changes;
pub mod code;
pub mod commit;
pub mod compose;
pub mod config;
pub mod debug;
pub mod edit;
pub mod error;
pub mod fetch;
pub mod ingest;
pub mod init;
pub mod inspect;
pub mod instance;
pub mod mend;
pub mod merge;
pub mod own;
pub mod peers;
mod prepare;
pub mod progress;
pub mod publish;
pub mod push;
pub mod remotes;
pub mod resolve;
pub mod restore;
pub mod revert;
pub mod round;
pub mod scopes;
pub mod show;
pub mod status;
pub mod view;
pub mod write;

mod sealer;
mod vouch;
