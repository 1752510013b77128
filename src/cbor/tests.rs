//! Vectors of the CBOR that we use (format/cbor.md): any one item, with every bound wide open.

use super::error::{Error, Problem};
use super::reader::{Kind, Reader};
use crate::keys::vectors::{self, Case};

const DEPTH_MAX: usize = 16;

/// Reads any one item, as `wbsync debug` does.
fn item(reader: &mut Reader<'_>, depth: usize) -> Result<(), Error> {
    if depth > DEPTH_MAX {
        return Err(reader.error(reader.offset(), Problem::TooDeep));
    }
    match reader.peek() {
        Kind::Uint => reader.uint().map(drop),
        Kind::Negative => reader.int().map(drop),
        Kind::Bytes => reader.bytes(usize::MAX).map(drop),
        Kind::Text => reader.text(usize::MAX).map(drop),
        Kind::Array => (0..reader.array(usize::MAX)?).try_for_each(|_| item(reader, depth + 1)),
        Kind::Map => {
            let mut keys = reader.map(usize::MAX)?;
            while keys.next_key(reader)?.is_some() {
                item(reader, depth + 1)?;
            }
            Ok(())
        }
        Kind::Bool => reader.bool().map(drop),
        Kind::Null => {
            reader.null();
            Ok(())
        }
        Kind::Float => reader.float().map(drop),
        Kind::Other => Err(reader.unexpected("an item that we use")),
    }
}

fn read(bytes: &[u8]) -> Result<(), Error> {
    let mut reader = Reader::new(bytes);
    item(&mut reader, 0)?;
    reader.finish()
}

/// Our own forms, and those of RFC 8949, appendix A, that are canonical and that we use.
const ACCEPT: &[(&str, &[u8])] = &[
    ("uint-0", b"\x00"),
    ("uint-23", b"\x17"),
    ("uint-24", b"\x18\x18"),
    ("uint-256", b"\x19\x01\x00"),
    ("uint-65536", b"\x1a\x00\x01\x00\x00"),
    ("uint-2-to-the-32", b"\x1b\x00\x00\x00\x01\x00\x00\x00\x00"),
    ("uint-largest", b"\x1b\xff\xff\xff\xff\xff\xff\xff\xff"),
    ("int-minus-1", b"\x20"),
    ("int-smallest", b"\x3b\x7f\xff\xff\xff\xff\xff\xff\xff"),
    ("bytes-empty", b"\x40"),
    ("bytes-24", b"\x58\x18xxxxxxxxxxxxxxxxxxxxxxxx"),
    ("text-empty", b"\x60"),
    ("text-any-unicode", b"\x69\xc3\xbc\x00\xf0\x90\x85\x91\xcc\x88"),
    ("array-nested", b"\x83\x01\x82\x02\x03\x82\x04\x05"),
    ("map-short-keys-first", b"\xa3\x60\x01\x61z\x02\x62aa\x03"),
    ("false", b"\xf4"),
    ("true", b"\xf5"),
    ("null", b"\xf6"),
    ("float-zero", b"\xf9\x00\x00"),
    ("float-minus-zero", b"\xf9\x80\x00"),
    ("float-half", b"\xf9\x3e\x00"),
    ("float-smallest-half", b"\xf9\x00\x01"),
    ("float-single", b"\xfa\x47\xc3\x50\x00"),
    ("float-double", b"\xfb\x3f\xf1\x99\x99\x99\x99\x99\x9a"),
    ("float-infinity", b"\xf9\x7c\x00"),
    ("float-minus-infinity", b"\xf9\xfc\x00"),
    ("float-nan", b"\xf9\x7e\x00"),
];

const REJECT: &[(&str, &[u8])] = &[
    ("nothing", b""),
    ("two-items", b"\x00\x00"),
    ("uint-long-23", b"\x18\x17"),
    ("uint-long-255", b"\x19\x00\xff"),
    ("uint-long-65535", b"\x1a\x00\x00\xff\xff"),
    ("uint-long-2-to-the-32-less-1", b"\x1b\x00\x00\x00\x00\xff\xff\xff\xff"),
    ("uint-truncated", b"\x19\x01"),
    ("uint-reserved-28", b"\x1c"),
    ("uint-indefinite", b"\x1f"),
    ("int-below-i64", b"\x3b\x80\x00\x00\x00\x00\x00\x00\x00"),
    ("int-long", b"\x38\x00"),
    ("bytes-indefinite", b"\x5f\x41\x00\xff"),
    ("bytes-long-length", b"\x58\x01\x00"),
    ("bytes-truncated", b"\x42\x00"),
    ("bytes-of-2-to-the-64-less-1", b"\x5b\xff\xff\xff\xff\xff\xff\xff\xff"),
    ("text-not-utf8", b"\x61\xff"),
    ("text-overlong", b"\x62\xc0\x80"),
    ("text-surrogate", b"\x63\xed\xa0\x80"),
    ("text-indefinite", b"\x7f\x61a\xff"),
    ("array-indefinite", b"\x9f\x01\xff"),
    ("array-long-length", b"\x98\x01\x01"),
    ("array-of-more-than-bytes", b"\x9a\xff\xff\xff\xff\x00"),
    ("array-truncated-inside", b"\x82\x01"),
    ("map-indefinite", b"\xbf\x61a\x01\xff"),
    ("map-of-more-than-bytes", b"\xa2\x61a\x01"),
    ("map-repeats-key", b"\xa2\x61a\x01\x61a\x02"),
    ("map-bytewise-not-length-first", b"\xa2\x62aa\x01\x61z\x02"),
    ("map-unsorted", b"\xa2\x61b\x01\x61a\x02"),
    ("map-key-is-int", b"\xa1\x01\x01"),
    ("map-key-is-bytes", b"\xa1\x41a\x01"),
    ("map-without-value", b"\xa2\x61a\x01\x61b"),
    ("tag", b"\xc1\x1a\x51\x4b\x67\xb0"),
    ("tag-bignum", b"\xc2\x49\x01\x00\x00\x00\x00\x00\x00\x00\x00"),
    ("undefined", b"\xf7"),
    ("simple-0", b"\xe0"),
    ("simple-long-true", b"\xf8\x15"),
    ("simple-255", b"\xf8\xff"),
    ("break", b"\xff"),
    ("float-single-that-fits-half", b"\xfa\x3f\xc0\x00\x00"),
    ("float-double-that-fits-half", b"\xfb\x3f\xf0\x00\x00\x00\x00\x00\x00"),
    ("float-double-that-fits-single", b"\xfb\x40\xf8\x6a\x00\x00\x00\x00\x00"),
    ("float-wide-infinity", b"\xfa\x7f\x80\x00\x00"),
    ("float-nan-with-payload", b"\xf9\x7e\x01"),
    ("float-nan-negative", b"\xf9\xfe\x00"),
    ("float-nan-signalling", b"\xf9\x7d\x00"),
    ("float-wide-nan", b"\xfb\x7f\xf8\x00\x00\x00\x00\x00\x00"),
    ("float-truncated", b"\xf9\x3e"),
    ("nested-17-deep", b"\x81\x81\x81\x81\x81\x81\x81\x81\x81\x81\x81\x81\x81\x81\x81\x81\x81\x00"),
];

#[test]
fn vectors_hold() {
    let accept = ACCEPT.iter().map(|(name, bytes)| Case::accept(name, bytes.to_vec()));
    let reject = REJECT.iter().map(|(name, bytes)| Case::reject(name, bytes.to_vec()));
    let cases: Vec<Case> = accept.chain(reject).collect();
    vectors::run("cbor", &cases, read);
}

/// An independent reader takes all that we take, and its writer gives the same bytes back.
#[test]
fn ciborium_agrees_with_what_is_accepted() {
    for (name, bytes) in ACCEPT {
        let value: ciborium::Value = ciborium::from_reader(*bytes).unwrap_or_else(|error| panic!("{name}: {error}"));
        let mut again = Vec::new();
        ciborium::into_writer(&value, &mut again).unwrap();
        assert_eq!(again, *bytes, "{name}");
    }
}
