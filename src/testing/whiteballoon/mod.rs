//! Made-up databases of the WhiteBalloon application, in exactly its own spelling.

mod audience;
mod board;
pub mod edit;
mod invites;
mod local_only;
mod maker;
mod oddities;
mod people;
pub mod seed;
pub mod stamp;
