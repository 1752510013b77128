//! Where in a file a part of the mapping stands.

use toml::de::{DeTable, DeValue};

/// Returns the line, from 1, of a TOML key such as `dataset.users.fields.name`, or of as much of it as is there.
pub fn line(text: &str, at: &str) -> Option<usize> {
    let table = DeTable::parse(text).ok()?;
    let mut table = table.get_ref();
    let mut offset = None;
    for part in at.split('.') {
        let Some((key, value)) = table.iter().find(|(key, _)| key.get_ref().as_ref() == part) else { break };
        offset = Some(key.span().start);
        match value.get_ref() {
            DeValue::Table(inner) => table = inner,
            _ => break,
        }
    }
    Some(text.get(..offset?)?.matches('\n').count() + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_of_a_key_is_found_however_it_is_written() {
        let text = "database = 'x'\n\n[dataset.users]\ntable = 'u'\nstub = { name = 'x' }\n[dataset.users.fields]\nname = {}\n";
        for (at, wanted) in [
            ("dataset.users", Some(3)),
            ("dataset.users.table", Some(4)),
            ("dataset.users.stub.name", Some(5)),
            ("dataset.users.fields.name.type", Some(7)),
            ("dataset.posts", Some(3)),
            ("database", Some(1)),
            ("nothing", None),
        ] {
            assert_eq!(line(text, at), wanted, "{at}");
        }
        assert_eq!(line("not toml", "not"), None);
    }
}
