//! Writes canonical CBOR into memory.

use std::ops::Range;

use ciborium_ll::{Encoder, Header, simple};

/// Appends canonical items to a buffer.
///
/// Lengths come first, so the caller announces how many items follow an `array` or `map`. Map keys
/// must be given in canonical order (shorter first, then bytewise); `key` asserts it.
#[derive(Debug, Default)]
pub struct Writer {
    buffer: Vec<u8>,
}

/// Asserts the canonical order of a map's keys while they are written.
#[derive(Debug, Default)]
pub struct KeyOrder {
    /// Where the key before lies among what was written.
    last: Option<Range<usize>>,
}

impl Writer {
    /// Starts empty.
    pub fn new() -> Self {
        Self::default()
    }

    /// Starts empty, with room for about so many bytes.
    pub fn with_capacity(bytes: usize) -> Self {
        Self { buffer: Vec::with_capacity(bytes) }
    }

    /// Returns what was written.
    pub fn finish(self) -> Vec<u8> {
        self.buffer
    }

    /// Returns what was written so far.
    pub fn written(&self) -> &[u8] {
        &self.buffer
    }

    /// Returns how many bytes were written so far.
    pub fn len(&self) -> usize {
        self.buffer.len()
    }

    /// Tells whether nothing was written yet.
    pub fn is_empty(&self) -> bool {
        self.buffer.is_empty()
    }

    /// Appends items that are canonical already.
    pub fn raw(&mut self, items: &[u8]) {
        self.buffer.extend_from_slice(items);
    }

    /// Writes a non-negative integer.
    pub fn uint(&mut self, value: u64) {
        self.head(Header::Positive(value));
    }

    /// Writes an integer.
    pub fn int(&mut self, value: i64) {
        self.head(if value < 0 { Header::Negative(!value as u64) } else { Header::Positive(value as u64) });
    }

    /// Writes a float in the shortest of its three widths; every NaN becomes the one canonical NaN.
    pub fn float(&mut self, value: f64) {
        self.head(Header::Float(if value.is_nan() { f64::NAN } else { value }));
    }

    /// Writes a boolean.
    pub fn bool(&mut self, value: bool) {
        self.head(Header::Simple(if value { simple::TRUE } else { simple::FALSE }));
    }

    /// Writes null.
    pub fn null(&mut self) {
        self.head(Header::Simple(simple::NULL));
    }

    /// Writes a byte string.
    pub fn bytes(&mut self, value: &[u8]) {
        self.head(Header::Bytes(Some(value.len())));
        self.raw(value);
    }

    /// Writes a text.
    pub fn text(&mut self, value: &str) {
        self.head(Header::Text(Some(value.len())));
        self.raw(value.as_bytes());
    }

    /// Announces an array of `items` items.
    pub fn array(&mut self, items: usize) {
        self.head(Header::Array(Some(items)));
    }

    /// Announces a map of `entries` entries.
    pub fn map(&mut self, entries: usize) -> KeyOrder {
        self.head(Header::Map(Some(entries)));
        KeyOrder::default()
    }

    /// Writes a text key of the map that `order` belongs to.
    ///
    /// # Panics
    /// If the key isn't after the one before: the caller's mistake, never the input's.
    pub fn key(&mut self, order: &mut KeyOrder, key: &str) {
        if let Some(last) = order.last.take() {
            let last = &self.buffer[last];
            assert!(
                (last.len(), last) < (key.len(), key.as_bytes()),
                "map key {key:?} must come before {:?}",
                String::from_utf8_lossy(last)
            );
        }
        self.text(key);
        order.last = Some(self.buffer.len() - key.len()..self.buffer.len());
    }

    fn head(&mut self, header: Header) {
        let pushed = Encoder::from(&mut self.buffer).push(header);
        pushed.expect("writing to memory cannot fail");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[should_panic(expected = "must come before")]
    fn keys_out_of_order_are_our_own_mistake() {
        let mut writer = Writer::new();
        let mut order = writer.map(2);
        writer.key(&mut order, "aa");
        writer.key(&mut order, "z");
    }
}
