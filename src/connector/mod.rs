//! Connectors read and write the application's database. Contract: `contract`.

pub mod contract;
