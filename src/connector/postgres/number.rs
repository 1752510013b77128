//! PostgreSQL's `numeric` as it comes over the wire: groups of four decimal digits.

/// Spells a number with all the digits that it has; `None` if the bytes aren't one.
pub(super) fn spell(bytes: &[u8]) -> Option<String> {
    let word = |at: usize| Some(u16::from_be_bytes(bytes.get(at * 2..at * 2 + 2)?.try_into().ok()?));
    let (count, weight, sign, scale) = (usize::from(word(0)?), word(1)?.cast_signed(), word(2)?, usize::from(word(3)?));
    match sign {
        0xC000 => return Some("NaN".to_owned()),
        0xD000 => return Some("Infinity".to_owned()),
        0xF000 => return Some("-Infinity".to_owned()),
        0 | 0x4000 => {}
        _ => return None,
    }
    if bytes.len() != 8 + count * 2 {
        return None;
    }
    // The group for 10000^place; groups that aren't sent are zero.
    let group = |place: i32| {
        let at = usize::try_from(i32::from(weight) - place).ok().filter(|at| *at < count);
        at.map_or(Some(0), |at| word(4 + at))
    };
    let mut text = if sign == 0 { String::new() } else { "-".to_owned() };
    text.push_str(&group(i32::from(weight).max(0))?.to_string());
    for place in (0..i32::from(weight)).rev() {
        text.push_str(&format!("{:04}", group(place)?));
    }
    if scale > 0 {
        let mut fraction = String::new();
        let mut place = -1;
        while fraction.len() < scale {
            fraction.push_str(&format!("{:04}", group(place)?));
            place -= 1;
        }
        text.push('.');
        text.push_str(&fraction[..scale]);
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wire(weight: i16, sign: u16, scale: u16, groups: &[u16]) -> Vec<u8> {
        let head = [groups.len() as u16, weight.cast_unsigned(), sign, scale];
        head.iter().chain(groups).flat_map(|word| word.to_be_bytes()).collect()
    }

    #[test]
    fn numbers_are_spelled_with_all_their_digits() {
        for (bytes, text) in [
            (wire(0, 0, 0, &[]), "0"),
            (wire(0, 0, 2, &[7, 5000]), "7.50"),
            (wire(1, 0x4000, 0, &[12, 345]), "-120345"),
            (wire(2, 0, 0, &[1]), "100000000"),
            (wire(-2, 0, 8, &[12]), "0.00000012"),
            (wire(0, 0xC000, 0, &[]), "NaN"),
        ] {
            assert_eq!(spell(&bytes).as_deref(), Some(text));
        }
    }

    #[test]
    fn what_is_cut_short_or_of_another_sign_is_no_number() {
        let whole = wire(0, 0, 2, &[7, 5000]);
        for cut in 0..whole.len() {
            assert_eq!(spell(&whole[..cut]), None, "{cut} bytes");
        }
        assert_eq!(spell(&wire(0, 1, 0, &[7])), None);
    }
}
