//! Exchange of sealed objects and signed heads between stores; knows nothing of records.

pub mod head;
