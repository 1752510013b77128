//! The mappings that we ship.

use super::model::{Dataset, Mapping};
use crate::connector::catalogue::Table;
use crate::connector::error::Error;

const PRESETS: [(&str, &str); 2] = [
    ("noteboard", include_str!("../presets/noteboard.toml")),
    ("whiteballoon", include_str!("../presets/whiteballoon.toml")),
];

/// Returns the names of the presets.
pub fn names() -> impl Iterator<Item = &'static str> {
    PRESETS.iter().map(|(name, _)| *name)
}

/// Returns a preset as it is written.
///
/// # Errors
/// `UnknownPreset`, with those there are.
pub fn text(name: &str) -> Result<&'static str, Error> {
    let found = PRESETS.iter().find(|(known, _)| *known == name);
    found.map(|(_, text)| *text).ok_or_else(|| Error::UnknownPreset { name: name.into(), known: names().collect() })
}

/// Returns a preset as a table, to lay one's own keys over.
///
/// # Errors
/// `UnknownPreset`, with those there are.
pub fn table(name: &str) -> Result<toml::Table, Error> {
    Ok(text(name)?.parse().expect("presets are tested"))
}

/// Finds the preset whose tables and columns a database has: the one with the most of them.
pub fn recognise(tables: &[Table]) -> Option<&'static str> {
    let fits = |name: &&str| {
        let mapping = Mapping::load(Some(name), toml::Table::new(), name).ok()?;
        let fits = |dataset: &Dataset| {
            let table = tables.iter().find(|table| table.name.eq_ignore_ascii_case(&dataset.table))?;
            let columns = dataset.fields.iter().chain(&dataset.never).flat_map(|(name, field)| field.columns(name));
            columns.chain(dataset.scope.column.as_deref()).all(|column| table.column(column).is_some()).then_some(())
        };
        mapping.dataset.values().all(|dataset| fits(dataset).is_some()).then_some(mapping.dataset.len())
    };
    names().filter_map(|name| Some((fits(&name)?, name))).max().map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::name::DatasetName;

    #[test]
    fn every_preset_checks_out_and_invites_are_off() {
        for name in names() {
            Mapping::load(Some(name), toml::Table::new(), name).unwrap();
        }
        let mapping = Mapping::load(Some("whiteballoon"), toml::Table::new(), "").unwrap();
        let names: Vec<&str> = mapping.dataset.keys().map(|name| name.as_str()).collect();
        assert_eq!(names, ["users", "vouches", "comments", "requests", "user_attributes"]);
        let own = "[dataset.invites]\nenabled = true".parse().unwrap();
        assert!(
            Mapping::load(Some("whiteballoon"), own, "")
                .unwrap()
                .dataset
                .contains_key(&DatasetName::new("invites").unwrap())
        );
    }

    #[test]
    fn an_unknown_preset_lists_those_there_are() {
        let error = Mapping::load(Some("redballoon"), toml::Table::new(), "").unwrap_err();
        assert!(error.hint().unwrap().contains("whiteballoon"));
    }
}
