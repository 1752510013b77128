//! What can be wrong with foreign CBOR, and where.

/// Foreign bytes are not the canonical CBOR that was wanted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("byte {offset}: {problem}")]
pub struct Error {
    /// Offset of the item that is wrong.
    pub offset: usize,
    /// What is wrong with it.
    pub problem: Problem,
}

/// The kinds of wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// The input ends inside an item.
    #[error("the input ends too early")]
    Truncated,
    /// There is more after the last item.
    #[error("bytes follow the end")]
    Trailing,
    /// An integer or length isn't in its shortest form.
    #[error("a number is not in its shortest form")]
    NotShortest,
    /// An indefinite length.
    #[error("an indefinite length")]
    Indefinite,
    /// Another kind of item was wanted.
    #[error("wanted {0}")]
    Wanted(&'static str),
    /// A map key was wanted by name.
    #[error("wanted the map key {wanted:?}, found {found:?}")]
    WantedKey {
        /// The key of the format.
        wanted: &'static str,
        /// The key in the input, empty at the end of the map.
        found: String,
    },
    /// Map keys, or set elements, do not strictly ascend.
    #[error("map keys or set elements are not in strictly ascending order")]
    Unsorted,
    /// A text is no UTF-8.
    #[error("a text is not UTF-8")]
    NotUtf8,
    /// A length or count exceeds the bound of its place.
    #[error("{found} exceeds the bound of {bound}")]
    TooLarge {
        /// What was found.
        found: u64,
        /// What is allowed there.
        bound: u64,
    },
    /// Items are nested too deeply.
    #[error("items are nested too deeply")]
    TooDeep,
    /// A value breaks a rule of its format.
    #[error("{0}")]
    Invalid(&'static str),
}
