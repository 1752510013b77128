//! The name that a changed file gets when the record has changed too: the record keeps the name, the file stays.

use std::fmt::Write;

use crate::sys::{clock, random};

use super::path::NAME_BYTES_MAX;

/// Returns `name.sync-conflict-DATE-TIME-RANDOM.extension`, as Syncthing writes it, in the same directory.
pub(super) fn name(path: &str) -> String {
    let (dir, name) = path.rsplit_once('/').map_or(("", path), |(dir, name)| (dir, name));
    let (stem, extension) = match name.rfind('.').filter(|at| *at > 0) {
        Some(at) => name.split_at(at),
        None => (name, ""),
    };
    let millis = i64::try_from(clock::now().0).unwrap_or(0);
    let time = jiff::Timestamp::from_millisecond(millis).unwrap_or_default();
    let mut mark = format!(".sync-conflict-{}-", time.strftime("%Y%m%d-%H%M%S"));
    for byte in random::bytes::<4>() {
        write!(mark, "{byte:02x}").expect("a text takes whatever is written");
    }
    let room = NAME_BYTES_MAX.saturating_sub(mark.len() + extension.len());
    let stem: String = stem.char_indices().take_while(|(at, c)| at + c.len_utf8() <= room).map(|(_, c)| c).collect();
    let separator = if dir.is_empty() { "" } else { "/" };
    format!("{dir}{separator}{stem}{mark}{extension}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connector::files::path;

    #[test]
    fn the_name_says_what_it_was_and_is_one_that_may_be() {
        for (path, begin, end) in [
            ("a/b.txt", "a/b.sync-conflict-", ".txt"),
            ("b", "b.sync-conflict-", ""),
            (".hidden", ".hidden.sync-conflict-", ""),
        ] {
            let name = name(path);
            assert!(name.starts_with(begin) && name.ends_with(end), "{name}");
            assert_eq!(path::check(&name), Ok(()));
        }
        let long = name(&format!("{}.txt", "ü".repeat(100)));
        assert_eq!(path::check(&long), Ok(()), "{long}");
    }
}
