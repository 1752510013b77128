//! Field scopes: which fields of a record are meant for fewer readers than the record itself.
//!
//! Such a field travels in its own scope, in a record with the same id that holds these fields only (an
//! overlay). Whoever reads both scopes sees one record.

use std::collections::{BTreeMap, BTreeSet};

use super::audience::Addressees;
use crate::id::name::{DatasetName, FieldName, ScopeName};

/// The fields with a scope of their own.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LeastScopes {
    /// The widest scope that each of these fields may travel in. Every other field goes where its record goes.
    pub fields: BTreeMap<DatasetName, BTreeMap<FieldName, ScopeName>>,
    /// Whom the scopes mean.
    pub addressees: Addressees,
}

impl LeastScopes {
    /// Returns the scope that a field has of its own.
    pub fn of(&self, dataset: &DatasetName, field: &FieldName) -> Option<&ScopeName> {
        self.fields.get(dataset)?.get(field)
    }

    /// Returns the scope in which a field of a record of `row` travels; `None` if it stays home, because nobody is
    /// known to be meant by both.
    pub fn route(&self, dataset: &DatasetName, field: &FieldName, row: &ScopeName) -> Option<ScopeName> {
        let Some(least) = self.of(dataset, field) else { return Some(row.clone()) };
        self.addressees.common(least, row)
    }

    /// Returns all scopes in which fields of a record of `row` may travel, its own among them.
    pub fn routes(&self, dataset: &DatasetName, row: &ScopeName) -> BTreeSet<ScopeName> {
        let fields = self.fields.get(dataset).into_iter().flat_map(BTreeMap::keys);
        fields.filter_map(|field| self.route(dataset, field, row)).chain([row.clone()]).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_goes_no_further_than_its_record_nor_than_its_own_scope() {
        let (users, email) = (DatasetName::new("users").unwrap(), FieldName::new("email").unwrap());
        let scope = |name: &str| ScopeName::new(name).unwrap();
        let least = |name: &str| LeastScopes {
            fields: [(users.clone(), [(email.clone(), scope(name))].into())].into(),
            addressees: Addressees::default(),
        };
        for (field, row, goes) in [
            ("trusted", "public", Some("trusted")),
            ("trusted", "trusted", Some("trusted")),
            ("trusted", "group:board", None),
            ("peers:a,b", "peers:b,c", Some("peers:b")),
            ("group:board", "public", Some("group:board")),
        ] {
            let found = least(field).route(&users, &email, &scope(row));
            assert_eq!(found.as_ref().map(ScopeName::as_str), goes, "{field} in {row}");
        }
        let other = FieldName::new("name").unwrap();
        assert_eq!(least("trusted").route(&users, &other, &scope("public")), Some(scope("public")));
        let routes = least("trusted").routes(&users, &scope("public"));
        assert_eq!(routes, [scope("public"), scope("trusted")].into());
    }
}
