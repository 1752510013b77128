//! Which values columns show just as they are written.

use super::raw::RawRef;

/// Which values a column shows just as they are written, if no trigger alters them. `NULL` and bytes always are among them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct AsWritten {
    pub(crate) integers: bool,
    pub(crate) texts: bool,
    /// Texts in which something stands that is in no number.
    pub(crate) words: bool,
}

impl AsWritten {
    /// Tells whether the value is one of them, as far as that is known.
    pub(crate) fn keeps(self, value: RawRef<'_>) -> bool {
        let is_of_number =
            |byte: &u8| byte.is_ascii_digit() || byte.is_ascii_whitespace() || b"+-.eE\x0b".contains(byte);
        match value {
            RawRef::Null | RawRef::Blob(_) => true,
            RawRef::Integer(_) => self.integers,
            // A number may be followed by a NUL and whatever else.
            RawRef::Text(text) => self.texts || self.words && !text.contains(&0) && !text.iter().all(is_of_number),
            // A column may have another spelling for some.
            RawRef::Real(_) => false,
        }
    }
}
