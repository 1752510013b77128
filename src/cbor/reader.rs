//! Reads canonical CBOR from foreign bytes, refusing every other form.

use super::error::{Error, Problem};

/// Reads items one after the other; each call checks the canonical form of what it takes.
///
/// Memory: nothing is allocated; texts and byte strings are borrowed. Counts are checked against the
/// bytes that are left, so no length in the input can make a caller reserve more than the input holds.
#[derive(Debug, Clone)]
pub struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

/// Reads the keys of one map in order.
#[derive(Debug)]
pub struct MapKeys<'a> {
    left: usize,
    last: Option<&'a str>,
}

/// The kind of the item that comes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A non-negative integer.
    Uint,
    /// A negative integer.
    Negative,
    /// A byte string.
    Bytes,
    /// A text.
    Text,
    /// An array.
    Array,
    /// A map.
    Map,
    /// `true` or `false`.
    Bool,
    /// Null.
    Null,
    /// A float.
    Float,
    /// Anything else: tags, other simple values, the end.
    Other,
}

impl<'a> Reader<'a> {
    /// Starts at the first byte.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// Returns the offset of the next item.
    pub fn offset(&self) -> usize {
        self.at
    }

    /// Returns the bytes from `start` to here.
    pub fn since(&self, start: usize) -> &'a [u8] {
        &self.bytes[start..self.at]
    }

    /// Makes an error about the item at `offset`.
    pub fn error(&self, offset: usize, problem: Problem) -> Error {
        Error { offset, problem }
    }

    /// Makes an error that the item before this offset breaks a rule of its format.
    pub fn invalid(&self, offset: usize, rule: &'static str) -> Error {
        Error { offset, problem: Problem::Invalid(rule) }
    }

    /// Makes an error that the next item isn't what was wanted, or that there is none.
    pub fn unexpected(&self, wanted: &'static str) -> Error {
        let ends = self.at == self.bytes.len();
        self.error(self.at, if ends { Problem::Truncated } else { Problem::Wanted(wanted) })
    }

    /// Tells what comes next.
    pub fn peek(&self) -> Kind {
        match self.bytes.get(self.at) {
            None => Kind::Other,
            Some(byte) => match (byte >> 5, byte & 31) {
                (0, _) => Kind::Uint,
                (1, _) => Kind::Negative,
                (2, _) => Kind::Bytes,
                (3, _) => Kind::Text,
                (4, _) => Kind::Array,
                (5, _) => Kind::Map,
                (7, 20 | 21) => Kind::Bool,
                (7, 22) => Kind::Null,
                (7, 25..=27) => Kind::Float,
                _ => Kind::Other,
            },
        }
    }

    /// Reads a non-negative integer.
    ///
    /// # Errors
    /// Another kind of item, a longer form than needed, or the end.
    pub fn uint(&mut self) -> Result<u64, Error> {
        self.head(0, "a non-negative integer")
    }

    /// Reads a non-negative integer of at most `bound`.
    ///
    /// # Errors
    /// As `uint`, and a larger number.
    pub fn uint_max(&mut self, bound: u64) -> Result<u64, Error> {
        let start = self.at;
        let found = self.uint()?;
        if found > bound { Err(self.error(start, Problem::TooLarge { found, bound })) } else { Ok(found) }
    }

    /// Reads a non-negative integer of 32 bits.
    ///
    /// # Errors
    /// As `uint_max`.
    pub fn uint32(&mut self) -> Result<u32, Error> {
        Ok(u32::try_from(self.uint_max(u64::from(u32::MAX))?).expect("bounded just above"))
    }

    /// Reads an integer of 64 bits with sign.
    ///
    /// # Errors
    /// As `uint`, and a number outside the range of `i64`.
    pub fn int(&mut self) -> Result<i64, Error> {
        let start = self.at;
        let (negative, value) = match self.peek() {
            Kind::Negative => (true, self.head(1, "an integer")?),
            _ => (false, self.head(0, "an integer")?),
        };
        let bound = i64::MAX as u64;
        if value > bound {
            return Err(self.error(start, Problem::TooLarge { found: value, bound }));
        }
        Ok(if negative { !(value as i64) } else { value as i64 })
    }

    /// Reads a byte string of at most `bound` bytes.
    ///
    /// # Errors
    /// As `uint`, and a longer string.
    pub fn bytes(&mut self, bound: usize) -> Result<&'a [u8], Error> {
        self.string(2, "a byte string", bound)
    }

    /// Reads a byte string of exactly `N` bytes.
    ///
    /// # Errors
    /// As `uint`, and another length.
    pub fn fixed<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        let start = self.at;
        let bytes = self.bytes(N)?;
        bytes.try_into().map_err(|_| self.invalid(start, "a byte string has the wrong length"))
    }

    /// Reads a text of at most `bound` bytes.
    ///
    /// # Errors
    /// As `uint`, a longer text, and bytes that are not UTF-8.
    pub fn text(&mut self, bound: usize) -> Result<&'a str, Error> {
        let start = self.at;
        let bytes = self.string(3, "a text", bound)?;
        std::str::from_utf8(bytes).map_err(|_| self.error(start, Problem::NotUtf8))
    }

    /// Reads the head of an array of at most `bound` items.
    ///
    /// # Errors
    /// As `uint`, more items, and more items than bytes are left.
    pub fn array(&mut self, bound: usize) -> Result<usize, Error> {
        self.count(4, "an array", bound, 1)
    }

    /// Reads the head of an array of exactly `items` items.
    ///
    /// # Errors
    /// As `array`, and another count.
    pub fn array_of(&mut self, items: usize) -> Result<(), Error> {
        let start = self.at;
        if self.array(items)? == items { Ok(()) } else { Err(self.invalid(start, "an array has the wrong length")) }
    }

    /// Reads the head of a map of at most `bound` entries.
    ///
    /// # Errors
    /// As `array`.
    pub fn map(&mut self, bound: usize) -> Result<MapKeys<'a>, Error> {
        Ok(MapKeys { left: self.count(5, "a map", bound, 2)?, last: None })
    }

    /// Reads a boolean.
    ///
    /// # Errors
    /// Another kind of item, or the end.
    pub fn bool(&mut self) -> Result<bool, Error> {
        match self.bytes.get(self.at) {
            Some(0xf4) => Ok((self.at += 1, false).1),
            Some(0xf5) => Ok((self.at += 1, true).1),
            _ => Err(self.unexpected("a boolean")),
        }
    }

    /// Reads null if it comes next, and tells whether it did.
    pub fn null(&mut self) -> bool {
        let null = self.peek() == Kind::Null;
        self.at += usize::from(null);
        null
    }

    /// Reads a float.
    ///
    /// # Errors
    /// Another kind of item, a wider form than needed, a NaN other than the canonical one, or the end.
    pub fn float(&mut self) -> Result<f64, Error> {
        let start = self.at;
        let value = match self.bytes.get(self.at) {
            Some(0xf9) => half_to_f64(u16::from_be_bytes(self.float_bytes()?)),
            Some(0xfa) => f64::from(f32::from_be_bytes(self.float_bytes()?)),
            Some(0xfb) => f64::from_be_bytes(self.float_bytes()?),
            _ => return Err(self.unexpected("a float")),
        };
        let mut canonical = super::writer::Writer::new();
        canonical.float(value);
        if canonical.finish() == self.since(start) { Ok(value) } else { Err(self.error(start, Problem::NotShortest)) }
    }

    /// Checks that nothing follows.
    ///
    /// # Errors
    /// `Trailing` if something does.
    pub fn finish(&self) -> Result<(), Error> {
        if self.at == self.bytes.len() { Ok(()) } else { Err(self.error(self.at, Problem::Trailing)) }
    }

    fn float_bytes<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        let start = self.at;
        self.at += 1;
        let bytes = self.take(N, start)?;
        Ok(bytes.try_into().expect("`take` returns what was asked for"))
    }

    fn string(&mut self, major: u8, wanted: &'static str, bound: usize) -> Result<&'a [u8], Error> {
        let start = self.at;
        let found = self.head(major, wanted)?;
        if found > bound as u64 {
            return Err(self.error(start, Problem::TooLarge { found, bound: bound as u64 }));
        }
        self.take(found as usize, start)
    }

    fn count(&mut self, major: u8, wanted: &'static str, bound: usize, item_bytes: usize) -> Result<usize, Error> {
        let start = self.at;
        let found = self.head(major, wanted)?;
        if found > bound as u64 {
            return Err(self.error(start, Problem::TooLarge { found, bound: bound as u64 }));
        }
        if found as usize > (self.bytes.len() - self.at) / item_bytes {
            return Err(self.error(start, Problem::Truncated));
        }
        Ok(found as usize)
    }

    fn head(&mut self, major: u8, wanted: &'static str) -> Result<u64, Error> {
        let start = self.at;
        let first = *self.bytes.get(start).ok_or_else(|| self.error(start, Problem::Truncated))?;
        if first >> 5 != major {
            return Err(self.error(start, Problem::Wanted(wanted)));
        }
        let width = match first & 31 {
            short @ 0..=23 => {
                self.at += 1;
                return Ok(u64::from(short));
            }
            24 => 1,
            25 => 2,
            26 => 4,
            27 => 8,
            31 => return Err(self.error(start, Problem::Indefinite)),
            _ => return Err(self.error(start, Problem::Wanted(wanted))),
        };
        self.at += 1;
        let value = self.take(width, start)?.iter().fold(0u64, |value, byte| value << 8 | u64::from(*byte));
        let least = match width {
            1 => 24,
            2 => 1 << 8,
            4 => 1 << 16,
            _ => 1 << 32,
        };
        if value < least {
            self.at = start;
            return Err(self.error(start, Problem::NotShortest));
        }
        Ok(value)
    }

    fn take(&mut self, count: usize, start: usize) -> Result<&'a [u8], Error> {
        if count > self.bytes.len() - self.at {
            self.at = start;
            return Err(self.error(start, Problem::Truncated));
        }
        let bytes = &self.bytes[self.at..self.at + count];
        self.at += count;
        Ok(bytes)
    }
}

impl<'a> MapKeys<'a> {
    /// Returns how many entries are left.
    pub fn left(&self) -> usize {
        self.left
    }

    /// Reads the next key, or returns `None` after the last entry.
    ///
    /// # Errors
    /// A key that is no text, or isn't strictly after the one before.
    pub fn next_key(&mut self, reader: &mut Reader<'a>) -> Result<Option<&'a str>, Error> {
        if self.left == 0 {
            return Ok(None);
        }
        let start = reader.at;
        let key = reader.text(usize::from(u8::MAX))?;
        if self.last.is_some_and(|last| (last.len(), last) >= (key.len(), key)) {
            return Err(reader.error(start, Problem::Unsorted));
        }
        self.last = Some(key);
        self.left -= 1;
        Ok(Some(key))
    }

    /// Reads the key `wanted`.
    ///
    /// # Errors
    /// `WantedKey` if another key, or the end of the map, is there.
    pub fn expect(&mut self, reader: &mut Reader<'a>, wanted: &'static str) -> Result<(), Error> {
        let start = reader.at;
        let found = self.next_key(reader)?;
        if found == Some(wanted) {
            return Ok(());
        }
        let found = found.unwrap_or_default().to_owned();
        Err(reader.error(start, Problem::WantedKey { wanted, found }))
    }

    /// Reads the key `wanted` if it is the next one, and tells whether it was.
    ///
    /// # Errors
    /// A key that is no text or out of order.
    pub fn maybe(&mut self, reader: &mut Reader<'a>, wanted: &'static str) -> Result<bool, Error> {
        let mut ahead = reader.clone();
        let mut keys = MapKeys { left: self.left, last: self.last };
        if keys.next_key(&mut ahead)? != Some(wanted) {
            return Ok(false);
        }
        (*reader, *self) = (ahead, keys);
        Ok(true)
    }

    /// Checks that the map has no further entry.
    ///
    /// # Errors
    /// `Invalid` if it has: a later format would have another format number.
    pub fn end(&self, reader: &Reader<'a>) -> Result<(), Error> {
        if self.left == 0 { Ok(()) } else { Err(reader.invalid(reader.at, "the map has an unknown key")) }
    }
}

fn half_to_f64(half: u16) -> f64 {
    let sign = if half >> 15 == 1 { -1.0 } else { 1.0 };
    let exponent = i32::from(half >> 10 & 31);
    let fraction = f64::from(half & 0x3ff);
    match exponent {
        0 => sign * fraction * 2f64.powi(-24),
        31 if fraction == 0.0 => sign * f64::INFINITY,
        31 => f64::NAN,
        _ => sign * (1.0 + fraction / 1024.0) * 2f64.powi(exponent - 15),
    }
}

#[cfg(test)]
mod tests {
    use super::super::writer::Writer;
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn non_canonical_forms_are_refused_with_their_offset() {
        let cases: &[(&[u8], Problem)] = &[
            (&[0x18, 0x17], Problem::NotShortest),
            (&[0x19, 0x00, 0xff], Problem::NotShortest),
            (&[0x1a, 0x00, 0x00, 0xff, 0xff], Problem::NotShortest),
            (&[0x1b, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff], Problem::NotShortest),
            (&[0x1f], Problem::Indefinite),
            (&[0x1c], Problem::Wanted("a non-negative integer")),
            (&[0x19, 0x01], Problem::Truncated),
            (&[], Problem::Truncated),
        ];
        for (bytes, problem) in cases {
            let error = Reader::new(bytes).uint().unwrap_err();
            assert_eq!(error, Error { offset: 0, problem: problem.clone() }, "{bytes:x?}");
        }
        assert_eq!(Reader::new(&[0x5f, 0x41, 0x00, 0xff]).bytes(9).unwrap_err().problem, Problem::Indefinite);
        assert_eq!(Reader::new(&[0x61, 0xff]).text(9).unwrap_err().problem, Problem::NotUtf8);
        assert_eq!(Reader::new(&[0x9a, 0xff, 0, 0, 0]).array(usize::MAX).unwrap_err().problem, Problem::Truncated);
        assert!(Reader::new(&[0xfb, 0x3f, 0xf0, 0, 0, 0, 0, 0, 0]).float().is_err(), "1.0 fits a half");
        assert!(Reader::new(&[0xf9, 0x7e, 0x01]).float().is_err(), "a NaN with a payload");
    }

    #[test]
    fn map_keys_must_ascend_and_be_known() {
        let duplicate = [0xa2, 0x61, b'a', 0x01, 0x61, b'a', 0x02];
        let mut reader = Reader::new(&duplicate);
        let mut keys = reader.map(9).unwrap();
        keys.expect(&mut reader, "a").unwrap();
        reader.uint().unwrap();
        assert_eq!(keys.next_key(&mut reader).unwrap_err(), Error { offset: 4, problem: Problem::Unsorted });
    }

    proptest! {
        #[test]
        fn integers_and_floats_round_trip_and_agree_with_ciborium(int in any::<i64>(), float in any::<f64>()) {
            let mut writer = Writer::new();
            writer.array(2);
            writer.int(int);
            writer.float(float);
            let bytes = writer.finish();
            let mut reader = Reader::new(&bytes);
            reader.array_of(2).unwrap();
            prop_assert_eq!(reader.int().unwrap(), int);
            let read = reader.float().unwrap();
            prop_assert!(read == float || read.is_nan() && float.is_nan());
            reader.finish().unwrap();
            let (other_int, other_float): (i64, f64) = ciborium::from_reader(&bytes[..]).unwrap();
            prop_assert_eq!(other_int, int);
            prop_assert!(other_float == float || other_float.is_nan() && float.is_nan());
        }

        #[test]
        fn any_bytes_are_read_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let mut reader = Reader::new(&bytes);
            let _ = reader.clone().int();
            let _ = reader.clone().text(32);
            let _ = reader.clone().bytes(32);
            let _ = reader.clone().array(32);
            let _ = reader.clone().float();
            if let Ok(mut keys) = reader.map(32) {
                while let Ok(Some(_)) = keys.next_key(&mut reader) {}
            }
        }
    }
}
