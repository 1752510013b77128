//! Privacy: who is shown what, why, and how to say so.

pub mod audit;
pub mod explain;
pub mod preview;
pub mod rows;
