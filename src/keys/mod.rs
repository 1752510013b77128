//! Who we are and what we sign or seal: identities, signed documents, cards, small sealed payloads.

pub mod card;
pub mod document;
pub mod export;
pub mod identity;
pub mod sealing;
pub mod sshsig;
#[cfg(test)]
pub(crate) mod vectors;
