//! Connectors read and write the application's database. Contract: `contract`.

pub mod contract;
pub mod dburl;
pub mod dotenv;
pub mod error;
pub mod mapping;
pub mod sqlite;
