//! Arrays: read from the wire into the JSON text that lists are elsewhere, and written from it as literals.

use postgres::types::Type;

use crate::connector::sql::list::{self, Item};
use crate::connector::sql::raw::Raw;

/// The most dimensions that the server has.
const DIMENSIONS_MAX: usize = 6;

/// Reads an array whose elements `read` reads; `None` if the bytes are none. One that doesn't count from 1 is its literal.
pub(super) fn read(element: &Type, bytes: &[u8], read: impl Fn(&[u8]) -> Option<Raw>) -> Option<Raw> {
    let mut rest = bytes;
    let dimensions = usize::try_from(word(&mut rest)?).ok().filter(|count| *count <= DIMENSIONS_MAX)?;
    let (_has_nulls, _element) = (word(&mut rest)?, word(&mut rest)?);
    let mut sizes = Vec::with_capacity(dimensions);
    let mut bounds = Vec::with_capacity(dimensions);
    for _ in 0..dimensions {
        sizes.push(usize::try_from(word(&mut rest)?).ok().filter(|size| *size > 0)?);
        bounds.push(word(&mut rest)?);
    }
    if sizes.is_empty() {
        return rest.is_empty().then(|| Raw::Text("[]".to_owned()));
    }
    let count = sizes.iter().try_fold(1usize, |count, size| count.checked_mul(*size))?;
    // Each takes four bytes at least.
    if count > rest.len() / 4 {
        return None;
    }
    let mut items = Vec::with_capacity(count);
    for _ in 0..count {
        items.push(match word(&mut rest)? {
            -1 => list::spell(&Raw::Null, false),
            length => {
                let (value, after) = rest.split_at_checked(usize::try_from(length).ok()?)?;
                rest = after;
                list::spell(&read(value)?, *element == Type::BOOL)
            }
        });
    }
    for size in sizes.iter().rev() {
        items = items.chunks(*size).map(|items| format!("[{}]", items.join(", "))).collect();
    }
    let text = items.pop().filter(|_| items.is_empty() && rest.is_empty())?;
    if bounds.iter().all(|bound| *bound == 1) {
        return Some(Raw::Text(text));
    }
    let bound = |(size, bound): (&usize, &i32)| format!("[{bound}:{}]", i64::from(*bound) + *size as i64 - 1);
    let bounds: String = sizes.iter().zip(&bounds).map(bound).collect();
    Some(Raw::Text(format!("{bounds}={}", literal(&text, element)?)))
}

/// Spells a JSON list as an array literal; `None` if the text is no list, or deeper than arrays are.
pub(super) fn literal(text: &str, element: &Type) -> Option<String> {
    literal_at(text, element, 0)
}

fn literal_at(text: &str, element: &Type, depth: usize) -> Option<String> {
    let quoted = |text: &str| format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""));
    let spell = |item: Item<'_>| {
        Some(match item {
            Item::Null => "NULL".to_owned(),
            Item::Bool(value) => value.to_string(),
            Item::Number(digits) => digits.to_owned(),
            Item::Text(digits) if *element == Type::BYTEA => quoted(&format!("\\x{digits}")),
            Item::Text(text) => quoted(&text),
            Item::Object(text) => quoted(text),
            Item::List(text) => literal_at(text, element, depth + 1)?,
        })
    };
    let items = list::items(text).filter(|_| depth <= DIMENSIONS_MAX)?;
    let spelled: Vec<String> = items.into_iter().map(spell).collect::<Option<_>>()?;
    Some(format!("{{{}}}", spelled.join(",")))
}

fn word(rest: &mut &[u8]) -> Option<i32> {
    let (word, after) = rest.split_first_chunk::<4>()?;
    *rest = after;
    Some(i32::from_be_bytes(*word))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wire(dimensions: &[(i32, i32)], elements: &[Option<&[u8]>]) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut words = vec![dimensions.len() as i32, 0, 25];
        words.extend(dimensions.iter().flat_map(|(size, bound)| [*size, *bound]));
        words.iter().for_each(|word| bytes.extend_from_slice(&word.to_be_bytes()));
        for element in elements {
            let length = element.map_or(-1, |element| element.len() as i32);
            bytes.extend_from_slice(&length.to_be_bytes());
            bytes.extend_from_slice(element.unwrap_or_default());
        }
        bytes
    }

    fn texts(bytes: &[u8]) -> Option<Raw> {
        read(&Type::TEXT, bytes, |bytes| Some(Raw::Text(String::from_utf8(bytes.to_vec()).ok()?)))
    }

    #[test]
    fn arrays_become_lists_and_lists_literals() {
        let text = |text: &str| Some(Raw::Text(text.to_owned()));
        assert_eq!(texts(&wire(&[], &[])), text("[]"));
        assert_eq!(texts(&wire(&[(2, 1)], &[Some(b"a\""), None])), text("[\"a\\\"\", null]"));
        let four = [Some(&b"a"[..]), Some(b"b"), Some(b"c"), Some(b"d")];
        assert_eq!(texts(&wire(&[(2, 1), (2, 1)], &four)), text("[[\"a\", \"b\"], [\"c\", \"d\"]]"));
        assert_eq!(texts(&wire(&[(1, 0)], &[Some(b"x")])), text("[0:0]={\"x\"}"));
        assert_eq!(literal(r#"["a\\", null, [1]]"#, &Type::TEXT).unwrap(), r#"{"a\\",NULL,{1}}"#);
        assert_eq!(literal("[\"00ff\"]", &Type::BYTEA).unwrap(), "{\"\\\\x00ff\"}");
        assert_eq!(literal("[true, false]", &Type::BOOL).unwrap(), "{true,false}");
        assert_eq!(literal("{}", &Type::TEXT), None);
    }

    #[test]
    fn bytes_that_are_no_array_are_refused() {
        let whole = wire(&[(2, 1)], &[Some(b"ab"), None]);
        for cut in 0..whole.len() {
            assert_eq!(texts(&whole[..cut]), None, "{cut} bytes");
        }
        assert_eq!(texts(&[&whole[..], b"x"].concat()), None, "more than an array");
        assert_eq!(texts(&wire(&[(1, 1); 7], &[Some(b"a")])), None, "dimensions");
        assert_eq!(texts(&wire(&[(-1, 1)], &[])), None);
        assert_eq!(texts(&wire(&[(i32::MAX, 1), (i32::MAX, 1), (i32::MAX, 1)], &[])), None);
        assert_eq!(texts(&wire(&[(i32::MAX, 1)], &[Some(b"a")])), None, "more than there is");
        assert_eq!(texts(&wire(&[(0, 1)], &[])), None, "the server has no such");
    }
}
