//! Values of any kind in one column of bytes: a letter for the kind, then the value.

use crate::connector::sql::raw::{Raw, RawRef};

pub(super) fn pack(raw: &Raw) -> Raw {
    Raw::Blob(match raw {
        Raw::Null => vec![b'n'],
        Raw::Integer(value) => [b"i", &value.to_be_bytes()[..]].concat(),
        Raw::Real(value) => [b"r", &value.to_be_bytes()[..]].concat(),
        Raw::Text(text) => [b"t", text.as_bytes()].concat(),
        Raw::Blob(bytes) => [b"b", bytes.as_slice()].concat(),
    })
}

/// Reads what `pack` makes; `None` for anything else.
pub(super) fn unpack(raw: RawRef<'_>) -> Option<Raw> {
    let RawRef::Blob(bytes) = raw else { return None };
    let (kind, rest) = bytes.split_first()?;
    Some(match kind {
        b'n' if rest.is_empty() => Raw::Null,
        b'i' => Raw::Integer(i64::from_be_bytes(rest.try_into().ok()?)),
        b'r' => Raw::Real(f64::from_be_bytes(rest.try_into().ok()?)),
        b't' => Raw::Text(String::from_utf8(rest.to_vec()).ok()?),
        b'b' => Raw::Blob(rest.to_vec()),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_come_back_as_they_were_and_other_bytes_are_none() {
        let text = Raw::Text("ä\0".into());
        for raw in [Raw::Null, Raw::Integer(-1), Raw::Real(0.5), text, Raw::Blob(vec![0, 255])] {
            let Raw::Blob(bytes) = pack(&raw) else { panic!("{raw:?}") };
            assert_eq!(unpack(RawRef::Blob(&bytes)), Some(raw));
        }
        for bytes in [&b""[..], b"n0", b"i", b"i1234567", b"r", b"t\xff", b"x"] {
            assert_eq!(unpack(RawRef::Blob(bytes)), None, "{bytes:?}");
        }
        assert_eq!(unpack(RawRef::Text(b"n")), None);
    }
}
