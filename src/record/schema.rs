//! The schema of a scope: its fields with their types, how concurrent values of each are shown, and which fields
//! move together.
//!
//! It travels in the scope's manifest, signed by the origin, so that every reader shows the same. It never
//! changes what a merge keeps: all concurrent values stay in the cell until somebody writes the field.
//! Bytes: format/schema.md.

use std::collections::{BTreeMap, BTreeSet};

use super::codec::FIELDS_MAX;
use super::fieldtype::{FieldType, TYPE_BYTES_MAX};
use crate::cbor::error::Error;
use crate::cbor::reader::Reader;
use crate::cbor::writer::Writer;
use crate::id::name::{DatasetName, FieldName};

/// The most datasets of a schema, the most fields of a dataset.
/// The most datasets of a schema.
pub const DATASETS_MAX: usize = 256;

/// How the concurrent values of a field become the one that is shown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Strategy {
    /// The latest is shown, and the conflict stays open until somebody resolves it.
    #[default]
    Conflict,
    /// The latest counts.
    Latest,
    /// A line-wise, then word-wise three-way merge; what doesn't merge is an open conflict.
    Text,
    /// Lists: what either side added is in, what either side removed is out.
    Set,
    /// Integers: the sum of both sides' changes.
    Counter,
    /// The greatest; nothing is less than anything.
    Max,
    /// The least; nothing is greater than anything.
    Min,
    /// True if any is.
    Or,
    /// The earliest that isn't nothing: set once, it sticks.
    Once,
    /// The origin's own value.
    Origin,
}

/// The rules of one field.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FieldRule {
    /// How concurrent values are shown.
    pub strategy: Strategy,
    /// Fields of one group are written together: a write to one writes them all.
    pub group: Option<FieldName>,
    /// What the field holds, if the origin says so in a way that we know.
    pub kind: Option<FieldType>,
}

/// The rules of the fields. One that isn't named has the default: an origin names all that it sends, but those of
/// earlier versions named only what differs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Schema {
    /// The rules by dataset and field.
    pub fields: BTreeMap<DatasetName, BTreeMap<FieldName, FieldRule>>,
}

impl Strategy {
    /// Tells whether showing the field needs the value that each side replaced.
    pub fn needs_base(self) -> bool {
        matches!(self, Self::Text | Self::Set | Self::Counter)
    }

    fn name(self) -> &'static str {
        NAMES.iter().find(|(strategy, _)| *strategy == self).expect("every strategy has a name").1
    }
}

const NAMES: [(Strategy, &str); 10] = [
    (Strategy::Conflict, "conflict"),
    (Strategy::Latest, "latest"),
    (Strategy::Text, "text"),
    (Strategy::Set, "set"),
    (Strategy::Counter, "counter"),
    (Strategy::Max, "max"),
    (Strategy::Min, "min"),
    (Strategy::Or, "or"),
    (Strategy::Once, "once"),
    (Strategy::Origin, "origin"),
];

impl Schema {
    /// Returns a field's strategy.
    pub fn strategy(&self, dataset: &DatasetName, field: &FieldName) -> Strategy {
        self.rule(dataset, field).map_or(Strategy::default(), |rule| rule.strategy)
    }

    /// Returns the other fields that move with a field.
    pub fn group_of(&self, dataset: &DatasetName, field: &FieldName) -> BTreeSet<FieldName> {
        let Some(group) = self.rule(dataset, field).and_then(|rule| rule.group.as_ref()) else {
            return BTreeSet::new();
        };
        let fields = self.fields[dataset].iter();
        fields
            .filter(|(other, rule)| *other != field && rule.group.as_ref() == Some(group))
            .map(|(other, _)| other.clone())
            .collect()
    }

    /// Tells whether a field is named, whatever its rule.
    pub fn names(&self, dataset: &DatasetName, field: &FieldName) -> bool {
        self.rule(dataset, field).is_some()
    }

    fn rule(&self, dataset: &DatasetName, field: &FieldName) -> Option<&FieldRule> {
        self.fields.get(dataset)?.get(field)
    }

    /// Returns the canonical bytes; none for the empty schema.
    pub fn encode(&self) -> Vec<u8> {
        if self.fields.is_empty() {
            return Vec::new();
        }
        let mut writer = Writer::new();
        let mut datasets = writer.map(self.fields.len());
        for (dataset, fields) in &self.fields {
            writer.key(&mut datasets, dataset.as_str());
            let mut order = writer.map(fields.len());
            for (field, rule) in fields {
                writer.key(&mut order, field.as_str());
                writer.array(2 + usize::from(rule.kind.is_some()));
                writer.text(rule.strategy.name());
                match &rule.group {
                    Some(group) => writer.text(group.as_str()),
                    None => writer.null(),
                }
                if let Some(kind) = &rule.kind {
                    writer.text(&kind.to_string());
                }
            }
        }
        writer.finish()
    }

    /// Decodes what `encode` writes. A strategy of a later version counts as `conflict`, a type of one as not told.
    ///
    /// # Errors
    /// Any other form.
    pub fn decode(bytes: &[u8]) -> Result<Self, Error> {
        let mut schema = Self::default();
        if bytes.is_empty() {
            return Ok(schema);
        }
        let mut reader = Reader::new(bytes);
        let mut datasets = reader.map(DATASETS_MAX)?;
        if bytes == [0xa0] {
            return Err(reader.invalid(0, "the empty schema has no bytes"));
        }
        loop {
            let at = reader.offset();
            let Some(name) = datasets.next_key(&mut reader)? else { break };
            let dataset = DatasetName::new(name).map_err(|_| reader.invalid(at, "a dataset has no valid name"))?;
            schema.fields.insert(dataset, decode_fields(&mut reader)?);
        }
        reader.finish()?;
        Ok(schema)
    }
}

fn decode_fields(reader: &mut Reader<'_>) -> Result<BTreeMap<FieldName, FieldRule>, Error> {
    let mut fields = BTreeMap::new();
    let mut keys = reader.map(FIELDS_MAX)?;
    loop {
        let at = reader.offset();
        let Some(name) = keys.next_key(reader)? else { return Ok(fields) };
        let field = FieldName::new(name).map_err(|_| reader.invalid(at, "a field has no valid name"))?;
        let at = reader.offset();
        let items = reader.array(3)?;
        if items < 2 {
            return Err(reader.invalid(at, "a rule has at least two parts"));
        }
        let name = reader.text(64)?;
        let strategy = NAMES.iter().find(|(_, known)| *known == name).map_or(Strategy::Conflict, |(found, _)| *found);
        let at = reader.offset();
        let group = if reader.null() {
            None
        } else {
            let name = reader.text(64)?;
            Some(FieldName::new(name).map_err(|_| reader.invalid(at, "a group has no valid name"))?)
        };
        let kind = if items == 3 { FieldType::parse(reader.text(TYPE_BYTES_MAX)?) } else { None };
        fields.insert(field, FieldRule { strategy, group, kind });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::vectors::{self, Case};
    use crate::record::fieldtype;

    fn sample() -> Schema {
        let name = |name: &str| FieldName::new(name).unwrap();
        let rule = |strategy, group: Option<&str>| FieldRule { strategy, group: group.map(name), ..Default::default() };
        let fields = BTreeMap::from([
            (name("status"), rule(Strategy::Conflict, Some("completion"))),
            (name("completed_at"), rule(Strategy::Conflict, Some("completion"))),
            (name("description"), rule(Strategy::Text, None)),
        ]);
        let overlay = BTreeMap::from([(name("contact_email"), FieldRule::default())]);
        let requests = DatasetName::new("requests").unwrap();
        Schema { fields: BTreeMap::from([(requests.overlay(), overlay), (requests, fields)]) }
    }

    #[test]
    fn a_schema_round_trips_and_knows_its_groups() {
        let schema = sample();
        assert_eq!(Schema::decode(&schema.encode()).unwrap(), schema);
        assert_eq!(Schema::decode(&[]).unwrap(), Schema::default());
        let dataset = DatasetName::new("requests").unwrap();
        let status = FieldName::new("status").unwrap();
        let moved: Vec<_> = schema.group_of(&dataset, &status).into_iter().map(|field| field.to_string()).collect();
        assert_eq!(moved, ["completed_at"]);
        assert_eq!(schema.strategy(&dataset, &FieldName::new("other").unwrap()), Strategy::Conflict);
    }

    #[test]
    fn vectors_hold() {
        let field = |key: &[u8], rule: &[u8]| [b"\xa1\x61d\xa1", key, rule].concat();
        let rule = |rule: &[u8]| field(b"\x61f", rule);
        let all = NAMES.iter().map(|(strategy, name)| {
            (FieldName::new(name).unwrap(), FieldRule { strategy: *strategy, ..Default::default() })
        });
        let all = Schema { fields: BTreeMap::from([(DatasetName::new("all").unwrap(), all.collect())]) };
        let users = FieldType::Ref(DatasetName::new("users").unwrap());
        let kinds = fieldtype::NAMES.iter().map(|(kind, _)| FieldType::Plain(*kind)).chain([users]).enumerate();
        let typed = kinds.map(|(index, kind)| {
            (FieldName::new(&format!("f{index}")).unwrap(), FieldRule { kind: Some(kind), ..Default::default() })
        });
        let typed = Schema { fields: BTreeMap::from([(DatasetName::new("typed").unwrap(), typed.collect())]) };
        assert_eq!(Schema::decode(&typed.encode()).unwrap(), typed);
        let lists = fieldtype::NAMES.iter().map(|(kind, name)| {
            let kind = Some(FieldType::Plain(fieldtype::Kind::List(kind)));
            (FieldName::new(name).unwrap(), FieldRule { kind, ..Default::default() })
        });
        let lists = Schema { fields: BTreeMap::from([(DatasetName::new("lists").unwrap(), lists.collect())]) };
        assert_eq!(Schema::decode(&lists.encode()).unwrap(), lists);
        let long_type = [b"\x83\x66latest\xf6\x78\x45ref:", "x".repeat(65).as_bytes()].concat();
        let wide = |count: usize| {
            let mut writer = Writer::new();
            writer.map(count);
            writer.finish()
        };
        let long = [b"\x82\x78\x41", "x".repeat(65).as_bytes(), b"\xf6"].concat();
        let cases = [
            Case::accept("empty", Vec::new()),
            Case::accept("groups", sample().encode()),
            Case::accept("every-strategy", all.encode()),
            Case::accept("dataset-without-fields", b"\xa1\x61d\xa0".to_vec()),
            Case::accept("every-type", typed.encode()),
            Case::accept("list-types", lists.encode()),
            Case::accept("unknown-type", rule(b"\x83\x66latest\xf6\x64uuid")),
            Case::accept("unknown-strategy", rule(b"\x82\x65later\xf6")),
            Case::reject("empty-map", b"\xa0".to_vec()),
            Case::reject("no-map", b"\x80".to_vec()),
            Case::reject("truncated", b"\xa1\x61d".to_vec()),
            Case::reject("trailing", [&sample().encode()[..], b"\x00"].concat()),
            Case::reject("257-datasets", wide(257)),
            Case::reject("1025-fields", [b"\xa1\x61d", &wide(1025)[..]].concat()),
            Case::reject("dataset-of-no-name", b"\xa1\x61D\xa0".to_vec()),
            Case::reject("datasets-repeat", b"\xa2\x61d\xa0\x61d\xa0".to_vec()),
            Case::reject("datasets-unsorted", b"\xa2\x61e\xa0\x61d\xa0".to_vec()),
            Case::reject("field-of-no-name", field(b"\x60", b"\x82\x66latest\xf6")),
            Case::reject("rule-of-one", rule(b"\x81\x66latest")),
            Case::reject("type-is-null", rule(b"\x83\x66latest\xf6\xf6")),
            Case::reject("rule-of-four", rule(b"\x84\x66latest\xf6\x64text\xf6")),
            Case::reject("overlay-of-overlay", b"\xa1\x63d++\xa0".to_vec()),
            Case::reject("type-is-number", rule(b"\x83\x66latest\xf6\x01")),
            Case::reject("type-of-69", rule(&long_type)),
            Case::reject("rule-is-text", rule(b"\x66latest")),
            Case::reject("strategy-is-null", rule(b"\x82\xf6\xf6")),
            Case::reject("strategy-of-65", rule(&long)),
            Case::reject("group-of-no-name", rule(b"\x82\x66latest\x63a b")),
            Case::reject("group-is-number", rule(b"\x82\x66latest\x01")),
            Case::reject("indefinite", b"\xbf\xff".to_vec()),
        ];
        vectors::run("schema", &cases, |bytes| Schema::decode(bytes).map(|_| ()));
    }

    #[test]
    fn a_changed_byte_is_refused_or_canonical() {
        let bytes = sample().encode();
        for at in 0..bytes.len() {
            for flip in [1, 0x20, 0x80] {
                let mut changed = bytes.clone();
                changed[at] ^= flip;
                if let Ok(schema) = Schema::decode(&changed) {
                    let known = |bytes: &[u8]| Schema::decode(bytes).map(|schema| schema.encode());
                    assert_eq!(known(&schema.encode()), known(&changed), "byte {at}");
                }
            }
        }
    }
}
