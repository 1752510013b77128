//! Transports: the forms a store takes, behind `exchange::store::Store`.

pub mod bundle;
pub mod dir;
mod dir_lock;
pub mod dir_part;
mod dir_root;
#[cfg(feature = "git")]
pub mod git;
pub(crate) mod guard;
pub mod http;
pub mod ssh;
pub mod strays;
mod unreliable;
pub mod url;
