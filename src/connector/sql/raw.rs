//! Values as the columns of a database hold them, whichever database it is.
//!
//! There are five kinds, SQLite's. A richer column shows what it holds in one spelling: a truth value as 0 or 1, a
//! time as `timestamp` spells it, a decimal or an enum as text.

/// A value.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Raw {
    Null,
    Integer(i64),
    Real(f64),
    Text(String),
    Blob(Vec<u8>),
}

/// A value, borrowed. A text may be no UTF-8.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum RawRef<'a> {
    Null,
    Integer(i64),
    Real(f64),
    Text(&'a [u8]),
    Blob(&'a [u8]),
}

impl RawRef<'_> {
    /// Copies the value; a text that is no UTF-8 is kept as its bytes.
    pub(crate) fn to_raw(self) -> Raw {
        match self {
            Self::Null => Raw::Null,
            Self::Integer(value) => Raw::Integer(value),
            Self::Real(value) => Raw::Real(value),
            Self::Blob(bytes) => Raw::Blob(bytes.to_vec()),
            Self::Text(bytes) => match std::str::from_utf8(bytes) {
                Ok(text) => Raw::Text(text.to_owned()),
                Err(_) => Raw::Blob(bytes.to_vec()),
            },
        }
    }
}

impl<'a> From<&'a Raw> for RawRef<'a> {
    fn from(raw: &'a Raw) -> Self {
        match raw {
            Raw::Null => Self::Null,
            Raw::Integer(value) => Self::Integer(*value),
            Raw::Real(value) => Self::Real(*value),
            Raw::Text(text) => Self::Text(text.as_bytes()),
            Raw::Blob(bytes) => Self::Blob(bytes),
        }
    }
}

/// What can be given to a statement.
pub(crate) trait Bind {
    fn bind(&self) -> RawRef<'_>;
}

impl Bind for i64 {
    fn bind(&self) -> RawRef<'_> {
        RawRef::Integer(*self)
    }
}

impl Bind for str {
    fn bind(&self) -> RawRef<'_> {
        RawRef::Text(self.as_bytes())
    }
}

impl Bind for String {
    fn bind(&self) -> RawRef<'_> {
        RawRef::Text(self.as_bytes())
    }
}

impl Bind for [u8] {
    fn bind(&self) -> RawRef<'_> {
        RawRef::Blob(self)
    }
}

impl<const N: usize> Bind for [u8; N] {
    fn bind(&self) -> RawRef<'_> {
        RawRef::Blob(self)
    }
}

impl Bind for Vec<u8> {
    fn bind(&self) -> RawRef<'_> {
        RawRef::Blob(self)
    }
}

impl Bind for Raw {
    fn bind(&self) -> RawRef<'_> {
        self.into()
    }
}

impl<T: Bind + ?Sized> Bind for &T {
    fn bind(&self) -> RawRef<'_> {
        (**self).bind()
    }
}

impl<T: Bind> Bind for Option<T> {
    fn bind(&self) -> RawRef<'_> {
        self.as_ref().map_or(RawRef::Null, Bind::bind)
    }
}

/// Makes the values of a statement: `&bind![number, key]`.
macro_rules! bind {
    ($($value:expr),* $(,)?) => { [$($crate::connector::sql::raw::Bind::bind(&$value)),*] };
}

/// What can be read from a column.
pub(crate) trait Take: Sized {
    /// What the column should hold, for errors.
    const WANTED: &'static str;

    fn take(value: RawRef<'_>) -> Option<Self>;
}

impl Take for i64 {
    const WANTED: &'static str = "an integer";

    fn take(value: RawRef<'_>) -> Option<Self> {
        match value {
            RawRef::Integer(value) => Some(value),
            _ => None,
        }
    }
}

impl Take for String {
    const WANTED: &'static str = "a text";

    fn take(value: RawRef<'_>) -> Option<Self> {
        match value {
            RawRef::Text(bytes) => String::from_utf8(bytes.to_vec()).ok(),
            _ => None,
        }
    }
}

impl Take for Vec<u8> {
    const WANTED: &'static str = "bytes";

    fn take(value: RawRef<'_>) -> Option<Self> {
        match value {
            RawRef::Blob(bytes) => Some(bytes.to_vec()),
            _ => None,
        }
    }
}

impl<const N: usize> Take for [u8; N] {
    const WANTED: &'static str = "bytes of a fixed number";

    fn take(value: RawRef<'_>) -> Option<Self> {
        match value {
            RawRef::Blob(bytes) => bytes.try_into().ok(),
            _ => None,
        }
    }
}

impl Take for Raw {
    const WANTED: &'static str = "a value";

    fn take(value: RawRef<'_>) -> Option<Self> {
        Some(value.to_raw())
    }
}

impl<T: Take> Take for Option<T> {
    const WANTED: &'static str = T::WANTED;

    fn take(value: RawRef<'_>) -> Option<Self> {
        match value {
            RawRef::Null => Some(None),
            value => T::take(value).map(Some),
        }
    }
}
