//! Where the audience of a dataset's rows comes from, as it is written: `"public"`, or a table with one of three keys.

use std::fmt;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde::{Deserialize, de};

use crate::id::name::FieldName;

/// Where a row's audience comes from: exactly one of the three. A required parent always caps it.
#[derive(Debug, Clone, Default)]
pub struct Scope {
    /// A column of the row.
    pub column: Option<String>,
    /// The same for all rows.
    pub constant: Option<String>,
    /// The narrowest audience of these references.
    pub parents: Option<Vec<FieldName>>,
}

/// The same as a table.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    #[serde(default)]
    column: Option<String>,
    #[serde(default)]
    constant: Option<String>,
    #[serde(default)]
    parents: Option<Vec<FieldName>>,
}

struct Read;

impl<'de> Visitor<'de> for Read {
    type Value = Scope;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("\"public\" or another scope, { column = \"…\" } or { parents = [\"…\"] }")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Scope, E> {
        Ok(Scope { constant: Some(text.to_owned()), ..Scope::default() })
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Scope, A::Error> {
        let Table { column, constant, parents } = Table::deserialize(MapAccessDeserializer::new(map))?;
        Ok(Scope { column, constant, parents })
    }
}

impl<'de> Deserialize<'de> for Scope {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Read)
    }
}

#[cfg(test)]
mod tests {
    use crate::connector::mapping::model::Mapping;

    fn read(scope: &str) -> Result<Mapping, String> {
        let text =
            format!("[dataset.t]\ntable = \"t\"\nkey = \"id\"\nscope = {scope}\nfields.name = {{ type = \"text\" }}");
        Mapping::parse(&text, "test").map_err(|error| match std::error::Error::source(&error) {
            Some(source) => format!("{error}: {source}"),
            None => error.to_string(),
        })
    }

    #[test]
    fn a_word_is_for_all_rows() {
        for scope in ["\"public\"", "{ constant = \"public\" }"] {
            let mapping = read(scope).unwrap();
            let dataset = mapping.dataset.values().next().unwrap();
            assert_eq!(dataset.scope.constant.as_deref(), Some("public"), "{scope}");
        }
        for (scope, expected) in [
            ("\"sync_scope\"", "{ column = \"sync_scope\" }"),
            ("{ constnat = \"public\" }", "constnat"),
            ("3", "\"public\" or another scope"),
        ] {
            let error = read(scope).unwrap_err();
            assert!(error.contains(expected), "{scope}: {error}");
        }
    }

    #[test]
    fn the_scope_of_a_preset_is_replaced_as_a_whole() {
        for scope in ["\"public\"", "{ constant = \"public\" }"] {
            let own = format!("[dataset.users]\nscope = {scope}").parse().unwrap();
            let mapping = Mapping::load(Some("whiteballoon"), own, "test").unwrap();
            let users = mapping.dataset.iter().find(|(name, _)| name.as_str() == "users").unwrap().1;
            assert_eq!((users.scope.constant.as_deref(), &users.scope.column), (Some("public"), &None));
        }
    }
}
