//! How the records of others fit our tables, and our mapping its own: told beforehand, by the schemas.
//!
//! Nothing of this loses anything. What has no column is carried on, what doesn't fit a column waits.

use std::collections::BTreeMap;

use super::error::Error;
use super::instance::Instance;
use crate::connector::column::Column;
use crate::id::name::{DatasetName, FieldName};
use crate::record::schema::Schema;

/// How the records of scopes of another instance fit our tables.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct Fit {
    /// The labels of the scopes: those of one origin are mostly alike.
    pub scopes: Vec<String>,
    /// Datasets of theirs that we don't map: carried on, not shown.
    pub carried_datasets: Vec<DatasetName>,
    /// Fields of theirs that we have no column for, as `dataset.field`: carried on, not shown.
    pub carried: Vec<String>,
    /// Fields of ours that they don't have: new rows show the column's default.
    pub defaulted: Vec<String>,
    /// Fields of ours that they don't have, and that new rows can't do without: their records wait.
    pub needed: Vec<String>,
    /// Fields that hold something else there than here: records with such values wait.
    pub mismatched: Vec<Mismatch>,
}

/// A field of two types.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Mismatch {
    /// `dataset.field`.
    pub field: String,
    /// What it holds there.
    pub theirs: String,
    /// What it holds here.
    pub ours: String,
}

/// A column whose type isn't that of its field.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Misfit {
    /// `dataset.field`.
    pub field: String,
    /// What the mapping says that it holds.
    pub mapped: String,
    /// `table.column`.
    pub column: String,
    /// What the table declares.
    pub declared: String,
}

impl Instance {
    /// Compares the schemas of the scopes that we follow with our tables; scopes that fit are left out.
    ///
    /// # Errors
    /// The state or the application's database can't be read.
    pub fn fits(&self) -> Result<Vec<Fit>, Error> {
        let columns = self.with_database(|database| Ok(database.columns()))?;
        let mut fits: Vec<Fit> = Vec::new();
        for scope in self.scopes_labelled(None)? {
            if scope.row.origin == self.id() || !self.follows(&scope.row)? {
                continue;
            }
            let found = compare(&scope.schema, &columns);
            if found == Fit::default() {
                continue;
            }
            let mut scopes = vec![scope.label(self)?];
            let alike = |fit: &Fit| Fit { scopes: Vec::new(), ..fit.clone() } == found;
            if let Some(at) = fits.iter().position(alike) {
                scopes.extend(fits.remove(at).scopes);
            }
            scopes.sort();
            fits.push(Fit { scopes, ..found });
        }
        fits.sort_by(|a, b| a.scopes.cmp(&b.scopes));
        Ok(fits)
    }

    /// Lists the columns of our own database whose type isn't that of their field.
    ///
    /// # Errors
    /// The application's database can't be read.
    pub fn misfits(&self) -> Result<Vec<Misfit>, Error> {
        let columns = self.with_database(|database| Ok(database.columns()))?;
        let misfit = |column: Column| Misfit {
            mapped: column.kind.to_string(),
            field: named(&column.dataset, &column.field),
            column: column.column,
            declared: column.declared,
        };
        Ok(columns.into_iter().filter(|column| !column.fits).map(misfit).collect())
    }
}

impl Fit {
    /// Tells whether records can't be written as they are: their fields need other columns.
    pub fn blocks(&self) -> bool {
        !self.needed.is_empty() || !self.mismatched.is_empty()
    }

    /// Says it in lines.
    pub fn lines(&self) -> Vec<String> {
        let datasets: Vec<String> = self.carried_datasets.iter().map(ToString::to_string).collect();
        let mut lines = self.listed("not mapped here, carried on", &datasets);
        lines.extend(self.listed("no column here, carried on", &self.carried));
        lines.extend(self.listed("not sent, shown as the column's default", &self.defaulted));
        lines.extend(self.blocking_lines());
        lines
    }

    /// Says in lines what records will wait for.
    pub fn blocking_lines(&self) -> Vec<String> {
        let mut lines = self.listed("not sent, but new rows need it, so they wait", &self.needed);
        let types =
            self.mismatched.iter().map(|Mismatch { field, theirs, ours }| format!("{field} ({theirs}, here {ours})"));
        lines.extend(self.listed("of another type there, so such records wait", &types.collect::<Vec<_>>()));
        lines
    }

    fn listed(&self, what: &str, names: &[String]) -> Vec<String> {
        if names.is_empty() {
            return Vec::new();
        }
        vec![format!("{}: {what}: {}", self.scopes.join(", "), first_of(names))]
    }
}

impl Misfit {
    /// Says it in words.
    pub fn line(&self) -> String {
        let declared = if self.declared.is_empty() { "nothing" } else { &self.declared };
        format!("{} is mapped as {}, but {} is declared as {declared}", self.field, self.mapped, self.column)
    }
}

/// The most names of a line: the other instance chooses how many there are.
const NAMES_MAX: usize = 20;

fn first_of(names: &[String]) -> String {
    let more = names.len().saturating_sub(NAMES_MAX);
    let text = names[..names.len() - more].join(", ");
    if more == 0 { text } else { format!("{text} and {more} more") }
}

/// Compares a schema of theirs with our columns. What a schema of an earlier version doesn't tell isn't guessed.
fn compare(theirs: &Schema, columns: &[Column]) -> Fit {
    let mut fit = Fit::default();
    for (tree, fields) in &theirs.fields {
        let dataset = &tree.base();
        let told: BTreeMap<_, _> =
            fields.iter().filter_map(|(name, rule)| Some((name.clone(), rule.kind.as_ref()?))).collect();
        if told.is_empty() {
            continue;
        }
        let mapped: BTreeMap<&FieldName, &Column> =
            columns.iter().filter(|column| column.dataset == *dataset).map(|column| (&column.field, column)).collect();
        if mapped.is_empty() {
            fit.carried_datasets.push(tree.clone());
            continue;
        }
        for (field, theirs) in &told {
            match mapped.get(field).map(|column| &column.kind) {
                None if fit.carried.contains(&named(dataset, field)) => {}
                None => fit.carried.push(named(dataset, field)),
                Some(ours) if ours != *theirs => fit.mismatched.push(Mismatch {
                    field: named(dataset, field),
                    theirs: theirs.to_string(),
                    ours: ours.to_string(),
                }),
                Some(_) => {}
            }
        }
        // An overlay adds to records that lie in another scope.
        let lacking =
            |column: &&&Column| !tree.is_overlay() && !column.is_scoped && !fields.contains_key(&column.field);
        for column in mapped.values().filter(lacking) {
            let list = if column.needed { &mut fit.needed } else { &mut fit.defaulted };
            list.push(named(dataset, &column.field));
        }
    }
    fit
}

fn named(dataset: &DatasetName, field: &FieldName) -> String {
    format!("{dataset}.{field}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::fieldtype::{FieldType, Kind};
    use crate::record::schema::FieldRule;

    fn schema(fields: &[(&str, &str, Option<FieldType>)]) -> Schema {
        let mut schema = Schema::default();
        for (dataset, field, kind) in fields {
            let rule = FieldRule { kind: kind.clone(), ..FieldRule::default() };
            let dataset = schema.fields.entry(DatasetName::new(dataset).unwrap()).or_default();
            dataset.insert(FieldName::new(field).unwrap(), rule);
        }
        schema
    }

    fn column(dataset: &str, field: &str, needed: bool) -> Column {
        Column {
            dataset: DatasetName::new(dataset).unwrap(),
            field: FieldName::new(field).unwrap(),
            kind: FieldType::Plain(Kind::Text),
            column: format!("{dataset}.{field}"),
            declared: "TEXT".into(),
            fits: true,
            needed,
            is_scoped: false,
        }
    }

    #[test]
    fn each_difference_is_told_once() {
        let (text, int) = (|| Some(FieldType::Plain(Kind::Text)), || Some(FieldType::Plain(Kind::Int)));
        let theirs = schema(&[
            ("polls", "question", text()),
            ("requests", "place", text()),
            ("requests", "count", int()),
            ("requests", "title", text()),
        ]);
        let mut theirs = theirs;
        theirs.fields.extend(schema(&[("requests+", "phone", text())]).fields);
        let ours = ["count", "title", "body", "colour"].map(|field| column("requests", field, field == "body"));
        let mut columns = ours.to_vec();
        columns.push(column("users", "name", true));
        columns.push(Column { is_scoped: true, ..column("requests", "phone", false) });
        let fit = compare(&theirs, &columns);
        assert_eq!(fit.carried_datasets, [DatasetName::new("polls").unwrap()]);
        assert_eq!(fit.carried, ["requests.place"]);
        assert_eq!((fit.needed.join(","), fit.defaulted.join(",")), ("requests.body".into(), "requests.colour".into()));
        let mismatch = Mismatch { field: "requests.count".into(), theirs: "int".into(), ours: "text".into() };
        assert_eq!(fit.mismatched, [mismatch]);
        assert!(fit.blocks() && fit.lines().len() == 5);
    }

    #[test]
    fn a_schema_that_tells_no_types_is_not_guessed_at() {
        let theirs = schema(&[("requests", "status", None), ("polls", "question", None)]);
        assert_eq!(compare(&theirs, &[column("requests", "title", true)]), Fit::default());
    }
}
