//! Explain: why one row is or isn't shared, which of its fields go where, and who could read it.

use std::collections::BTreeMap;

use super::rows::describe;
use crate::connector::column::Source;
use crate::connector::contract::{Decided, Rows, Surveyed};
use crate::id::name::{FieldName, ScopeName};
use crate::scope::audience::{Audience, Reason};
use crate::sync::error::Error;
use crate::sync::instance::Instance;

/// Why a row is meant for whom it is.
#[derive(Debug, serde::Serialize)]
pub struct Explanation {
    /// `dataset#key`, the row's own key in this database.
    pub row: String,
    /// `dataset/key` of its record; `None` until it was captured.
    pub record: Option<String>,
    /// Whose record it is.
    pub origin: String,
    /// For whom it is meant: a scope, or `private: ` and why.
    pub audience: String,
    /// What decided, step by step.
    pub steps: Vec<String>,
    /// By scope that fields of it go to, who can read it there and which fields these are.
    pub goes: BTreeMap<ScopeName, Going>,
    /// Fields that stay home although the row is shared.
    pub stays: Vec<FieldName>,
}

/// What goes into one scope.
#[derive(Debug, Default, serde::Serialize)]
pub struct Going {
    /// Who can read it; `anyone` if it is public.
    pub readers: Vec<String>,
    /// The fields.
    pub fields: Vec<FieldName>,
}

/// How many parents are followed: each lies in an earlier dataset, so there are fewer datasets than this.
const PARENTS_MAX: usize = 64;

impl Instance {
    /// Explains a row.
    ///
    /// # Errors
    /// `NotFound`, `Ambiguous`; the database can't be read.
    pub fn explain(&self, text: &str) -> Result<Explanation, Error> {
        let surveyed = self.one_row(&Self::rows_named(text)?, text)?;
        let mut steps = Vec::new();
        let mut next = Some(surveyed.clone());
        for _ in 0..PARENTS_MAX {
            let Some(at) = next.take() else { break };
            next = self.explain_step(&at, &mut steps)?;
        }
        let origin = match &surveyed.id {
            Some(id) => self.instance_label(&id.origin)?,
            None => self.card.card.name.to_string(),
        };
        let (mut goes, mut stays) = (BTreeMap::<ScopeName, Going>::new(), Vec::new());
        if let (Audience::Shared(row), Some(_)) = (&surveyed.audience, &surveyed.decided) {
            let least = self.with_database(|database| Ok(database.least_scopes()))?;
            let mapping = self.mapping()?;
            let dataset = &mapping.dataset[&surveyed.dataset];
            for field in dataset.fields.keys() {
                match least.route(&surveyed.dataset, field, row) {
                    Some(scope) => goes.entry(scope).or_default().fields.push(field.clone()),
                    None => stays.push(field.clone()),
                }
            }
            stays.extend(dataset.never.keys().cloned());
            for (scope, going) in &mut goes {
                going.readers = self.readers_named(scope)?;
            }
        }
        Ok(Explanation {
            row: format!("{}#{}", surveyed.dataset, surveyed.key),
            record: surveyed.id.as_ref().map(ToString::to_string),
            origin,
            audience: describe(&surveyed.audience),
            steps,
            goes,
            stays,
        })
    }

    /// Adds what decided of one row, and returns the parent that narrowed it.
    fn explain_step(&self, at: &Surveyed, steps: &mut Vec<String>) -> Result<Option<Surveyed>, Error> {
        let row = format!("{}#{}", at.dataset, at.key);
        let Some(decided) = &at.decided else {
            let origin = at.id.as_ref().map(|id| self.instance_label(&id.origin)).transpose()?.unwrap_or_default();
            steps.push(match &at.audience {
                Audience::Shared(scope) => {
                    format!("{row} is {origin}'s and came in its scope {scope}: {origin} decides")
                }
                Audience::Private(_) => format!("{row} stands for a record of {origin}'s that isn't here"),
            });
            return Ok(None);
        };
        steps.push(format!("{row}: {}", stated(decided)));
        match &at.audience {
            Audience::Private(Reason::Filtered) => steps.push(format!("{row}: the dataset's filter leaves it out")),
            Audience::Private(Reason::SoftDeleted) => steps.push(format!("{row}: the application deleted it")),
            _ => {}
        }
        let Some((field, parent)) = &decided.narrowed_by else { return Ok(None) };
        let Some((dataset, key)) = parent else {
            steps.push(format!("{row}: its {field} is not set, so that it is {}", describe(&at.audience)));
            return Ok(None);
        };
        steps.push(format!("{row}: its {field}, {dataset}#{key}, makes it {}", describe(&at.audience)));
        let rows = Rows::Key(dataset.clone(), key.clone());
        Ok(self.one_row(&rows, key).ok())
    }

    fn one_row(&self, rows: &Rows, text: &str) -> Result<Surveyed, Error> {
        let mut found = Vec::new();
        self.survey(rows, &mut |surveyed| {
            found.push(surveyed);
            Ok(())
        })?;
        match found.len() {
            1 => Ok(found.remove(0)),
            0 => Err(Error::NotFound { what: format!("row {text:?}") }),
            count => Err(Error::Ambiguous { what: format!("row {text:?}"), count }),
        }
    }

    /// Returns who can read a scope of ours, ourselves left out; of a scope that no row has asked for yet, who
    /// could.
    pub(super) fn readers_named(&self, name: &ScopeName) -> Result<Vec<String>, Error> {
        if name.is_public() {
            return Ok(vec!["anyone".to_owned()]);
        }
        let rows = self.state.scopes_of(&self.id())?;
        if let Some(row) = rows.into_iter().find(|row| row.name == *name)
            && let Some(scope) = self.open_scope(row)?
        {
            let others = scope.manifest.readers().into_iter().filter(|reader| *reader != self.id());
            return others.map(|reader| self.instance_label(&reader)).collect();
        }
        Ok(name.peer_names().unwrap_or_default().iter().map(ToString::to_string).collect())
    }
}

fn stated(decided: &Decided) -> String {
    let own = describe(&decided.own);
    let text = decided.text.as_deref().map_or_else(|| "nothing".to_owned(), |text| format!("{text:?}"));
    match decided.source {
        Source::Column => format!("its scope column says {text}: {own}"),
        Source::Rule => format!("`privacy set` said {text}: {own}"),
        Source::Default => format!("it says nothing itself, `privacy default` says {text}: {own}"),
        Source::Mapping => format!("the mapping says {text} of all rows: {own}"),
        Source::Parents => "the rows that it refers to decide".to_owned(),
    }
}
