//! JSON that a page describes in tables: `## object`, then `| `member` | type | is |` for each member.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use serde_json::Value;

/// The objects of a page, each with its members and their types.
pub struct Described {
    objects: BTreeMap<String, BTreeMap<String, String>>,
    met: BTreeSet<(String, String)>,
}

impl Described {
    /// Reads a page below `docs/`.
    pub fn read(page: &str) -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs").join(page);
        let text = fs::read_to_string(path).unwrap();
        let mut objects: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
        let mut object = String::new();
        for line in text.lines() {
            if let Some(heading) = line.strip_prefix("## ") {
                object = heading.to_owned();
            } else if let Some(row) = line.strip_prefix("| `") {
                let mut cells = row.split(" | ");
                let member = cells.next().unwrap().trim_end_matches('`').to_owned();
                let told_twice =
                    objects.entry(object.clone()).or_default().insert(member, cells.next().unwrap().to_owned());
                assert_eq!(told_twice, None, "{line}");
            }
        }
        Self { objects, met: BTreeSet::new() }
    }

    /// Asserts that a value is such an object: every member described, none missing, each of its type.
    pub fn check(&mut self, object: &str, value: &Value) {
        self.check_object(object, value, object);
    }

    /// Returns the members that no checked value had anything in, as `object.member`.
    pub fn unmet(&self) -> Vec<String> {
        let all = self.objects.iter().flat_map(|(object, members)| members.keys().map(move |member| (object, member)));
        let unmet = all.filter(|(object, member)| !self.met.contains(&((*object).clone(), (*member).clone())));
        unmet.map(|(object, member)| format!("{object}.{member}")).collect()
    }

    fn check_object(&mut self, object: &str, value: &Value, place: &str) {
        let members = self.objects.get(object).unwrap_or_else(|| panic!("no object is called {object}")).clone();
        let found = value.as_object().unwrap_or_else(|| panic!("{place} is no object: {value}"));
        for name in found.keys() {
            assert!(members.contains_key(name), "{place}.{name} is not described");
        }
        for (name, kind) in members {
            let place = format!("{place}.{name}");
            let value = found.get(&name).unwrap_or_else(|| panic!("{place} is missing"));
            let is_something = match value {
                Value::Null => false,
                Value::Array(list) => !list.is_empty(),
                Value::Object(map) => !map.is_empty(),
                _ => true,
            };
            if is_something {
                self.met.insert((object.to_owned(), name));
            }
            self.check_kind(&kind, value, &place);
        }
    }

    fn check_kind(&mut self, kind: &str, value: &Value, place: &str) {
        if let Some(kind) = kind.strip_suffix('?') {
            if !value.is_null() {
                self.check_kind(kind, value, place);
            }
        } else if let Some(kind) = kind.strip_prefix('[') {
            let kind = kind.strip_suffix(']').unwrap();
            let list = value.as_array().unwrap_or_else(|| panic!("{place} is no list: {value}"));
            list.iter().for_each(|value| self.check_kind(kind, value, place));
        } else if let Some(kind) = kind.strip_prefix('{') {
            let kind = kind.strip_suffix('}').unwrap();
            let map = value.as_object().unwrap_or_else(|| panic!("{place} is no object: {value}"));
            map.values().for_each(|value| self.check_kind(kind, value, place));
        } else {
            let fits = match kind {
                "text" => value.is_string(),
                "number" => value.is_u64(),
                "boolean" => value.is_boolean(),
                "time" => value.as_str().is_some_and(is_time),
                object => return self.check_object(object, value, place),
            };
            assert!(fits, "{place} is no {kind}: {value}");
        }
    }
}

fn is_time(text: &str) -> bool {
    let digits = text.bytes().filter(u8::is_ascii_digit).count();
    text.len() == 20 && text.ends_with('Z') && text.as_bytes()[10] == b'T' && digits == 14
}
