//! The only door to clock, randomness and disk, so that simulation and fault injection can replace them.

pub mod beneath;
pub mod clock;
pub mod disk;
pub mod output;
pub mod random;
pub mod rig;
pub mod room;
pub mod signals;
