//! Connectors read and write the application's database. Contract: `contract`.

// First, for its macro.
#[macro_use]
pub mod sql;

pub mod alone;
pub mod applied;
pub mod both;
pub mod capturing;
pub mod catalogue;
pub mod column;
pub mod contract;
pub mod dburl;
pub mod dotenv;
pub mod error;
pub mod files;
pub mod mapping;
pub mod postgres;
pub mod said;
pub mod sqlite;
pub mod standing;
pub mod twin;
