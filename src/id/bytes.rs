//! Fixed-size binary ids.

use std::fmt;
use std::str::FromStr;

/// An id was not written as it prints.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("an id of {digits} hexadecimal digits is wanted, not {found:?}")]
pub struct ParseIdError {
    digits: usize,
    found: String,
}

macro_rules! byte_id {
    ($(#[$doc:meta])* $name:ident, $size:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; $size]);

        impl $name {
            /// Size in bytes.
            pub const SIZE: usize = $size;

            /// Wraps raw bytes.
            pub const fn from_bytes(bytes: [u8; $size]) -> Self {
                Self(bytes)
            }

            /// Wraps a slice, or returns `None` if its length is wrong.
            pub fn from_slice(bytes: &[u8]) -> Option<Self> {
                bytes.try_into().ok().map(Self)
            }

            /// Returns the raw bytes.
            pub const fn as_bytes(&self) -> &[u8; $size] {
                &self.0
            }

            /// Returns the first eight hexadecimal digits, for people.
            pub fn short(&self) -> String {
                hex(&self.0[..4])
            }

            /// Tells whether the printed form begins with `prefix` (at least four digits).
            pub fn matches_prefix(&self, prefix: &str) -> bool {
                prefix.len() >= 4 && self.to_string().starts_with(prefix)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&hex(&self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.short())
            }
        }

        impl FromStr for $name {
            type Err = ParseIdError;

            fn from_str(text: &str) -> Result<Self, ParseIdError> {
                let wrong = || ParseIdError { digits: $size * 2, found: text.chars().take(80).collect() };
                let digits = text.as_bytes();
                if digits.len() != $size * 2 {
                    return Err(wrong());
                }
                let mut bytes = [0u8; $size];
                for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
                    *byte = digit(pair[0]).ok_or_else(wrong)? << 4 | digit(pair[1]).ok_or_else(wrong)?;
                }
                Ok(Self(bytes))
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
    };
}

byte_id!(
    /// An instance: its Ed25519 public key.
    InstanceId, 32
);
byte_id!(
    /// A scope, bound to its origin (format/manifest.md, "Scope id").
    ScopeId, 16
);
byte_id!(
    /// A commit: keyed BLAKE3 of its canonical bytes (format/commit.md).
    CommitId, 32
);
byte_id!(
    /// A tree node: keyed BLAKE3 of its bytes (format/tree.md).
    NodeId, 32
);
byte_id!(
    /// A sealed object: plain BLAKE3 of its bytes, as `b3sum` prints it.
    ObjectId, 32
);
byte_id!(
    /// A signed document: plain BLAKE3 of its bytes.
    DocHash, 32
);
byte_id!(
    /// The 16 time-ordered bytes that a record gets at birth (format/record.md, "Record key").
    RecordKey, 16
);

fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes.iter().flat_map(|b| [DIGITS[(b >> 4) as usize] as char, DIGITS[(b & 15) as usize] as char]).collect()
}

fn digit(c: u8) -> Option<u8> {
    match c {
        b'0'..=b'9' => Some(c - b'0'),
        b'a'..=b'f' => Some(c - b'a' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn printed_id_parses_back() {
        let id = ScopeId::from_bytes(*b"0123456789abcdef");
        assert_eq!(id.to_string().parse(), Ok(id));
        assert!(id.matches_prefix("3031"));
        assert!(!id.matches_prefix("303"), "three digits are too few to mean anything");
    }

    #[test]
    fn other_spellings_are_refused() {
        for text in [
            "",
            "30",
            "3031323334353637383961626364656",
            "3031323334353637383961626364656G",
            "A0313233343536373839616263646566",
        ] {
            assert!(text.parse::<ScopeId>().is_err(), "{text:?}");
        }
    }
}
