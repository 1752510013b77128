//! The worker as a process.
