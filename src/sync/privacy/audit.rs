//! Audit: what is shared and probably shouldn't be.

use std::collections::BTreeMap;

use crate::connector::contract::Rows;
use crate::connector::mapping::model::{Dataset, Field};
use crate::id::name::{DatasetName, FieldName};
use crate::scope::audience::{Audience, Reason};
use crate::state::peers::Trust;
use crate::sync::error::Error;
use crate::sync::instance::Instance;

/// One thing that a person should look at.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
pub struct Finding {
    /// Of which kind it is: one word, the same for ever.
    pub kind: &'static str,
    /// What is so.
    pub text: String,
    /// What to do about it.
    pub hint: String,
}

/// How many values of a column are named in a finding.
const VALUES_MAX: usize = 5;

impl Instance {
    /// Looks for what is shared and probably shouldn't be; an empty list is good.
    ///
    /// # Errors
    /// The state or the database can't be read.
    pub fn audit(&self) -> Result<Vec<Finding>, Error> {
        let mut findings = Vec::new();
        self.audit_readers(&mut findings)?;
        for (name, dataset) in &self.mapping()?.dataset {
            audit_columns(name, dataset, &mut findings);
        }
        self.audit_values(&mut findings)?;
        findings.sort();
        Ok(findings)
    }

    /// Scopes that are sealed to somebody who is no peer of ours or was revoked, now or by older keys.
    fn audit_readers(&self, findings: &mut Vec<Finding>) -> Result<(), Error> {
        let revoked = self.state.peers()?.into_iter().filter(|peer| peer.trust == Trust::Revoked);
        let revoked: Vec<String> = revoked.map(|peer| peer.name.to_string()).collect();
        for scope in self.open_scopes_of(&self.id())? {
            let name = &scope.row.name;
            let older = scope.manifest.epochs.len() - 1;
            if !scope.manifest.public && older > 0 && self.state.head(&scope.row.id, &self.id())?.is_some() {
                let who =
                    if revoked.is_empty() { String::new() } else { format!(" (revoked: {})", revoked.join(", ")) };
                findings.push(Finding {
                    kind: "older-keys",
                    text: format!("objects of scope {name} may be sealed to {older} older keys, which readers who left it have{who}"),
                    hint: format!("`wbsync scope rotate {name} --reseal`, then push to every remote"),
                });
            }
            let readers = scope.manifest.epochs.iter().flat_map(|epoch| epoch.access.readers());
            let mut readers: Vec<_> = readers.filter(|reader| *reader != self.id()).collect();
            readers.sort();
            readers.dedup();
            for reader in readers {
                let label = self.instance_label(&reader)?;
                let (kind, what, hint) = match self.state.peer(&reader)? {
                    None => (
                        "unknown-reader",
                        "is no peer of ours",
                        format!("`wbsync scope rotate {name}` makes a key for its known readers only"),
                    ),
                    Some(peer) if peer.trust == Trust::Revoked => (
                        "revoked-reader",
                        "was revoked",
                        format!("`wbsync peer revoke {label}` again gives it a new key"),
                    ),
                    Some(_) => continue,
                };
                let text = format!("scope {name} is sealed to {label}, which {what}");
                findings.push(Finding { kind, text, hint });
            }
        }
        Ok(())
    }

    /// Rows whose scope column says something that nobody understands: private, but surely not on purpose.
    fn audit_values(&self, findings: &mut Vec<Finding>) -> Result<(), Error> {
        let mut unknown: BTreeMap<DatasetName, BTreeMap<String, u64>> = BTreeMap::new();
        self.survey(&Rows::Own(None), &mut |surveyed| {
            let Some(decided) = surveyed.decided else { return Ok(()) };
            if decided.own == Audience::Private(Reason::UnknownScope) {
                let values = unknown.entry(surveyed.dataset).or_default();
                *values.entry(decided.text.unwrap_or_default()).or_default() += 1;
            }
            Ok(())
        })?;
        for (dataset, values) in unknown {
            let rows: u64 = values.values().sum();
            let named: Vec<String> = values.keys().take(VALUES_MAX).map(|value| format!("{value:?}")).collect();
            let more = if values.len() > VALUES_MAX { ", …" } else { "" };
            findings.push(Finding {
                kind: "unknown-scope",
                text: format!("{rows} of {dataset} name a scope that isn't there: {}{more}", named.join(", ")),
                hint: "they stay private; correct them with `wbsync privacy set`, or make the group or peer".into(),
            });
        }
        Ok(())
    }
}

/// Fields that travel although their names say that they are secret.
fn audit_columns(name: &DatasetName, dataset: &Dataset, findings: &mut Vec<Finding>) {
    for (field_name, field) in &dataset.fields {
        let Some(word) = suspicious(field_name, field) else { continue };
        // An address that somebody gave a scope is shared on purpose.
        if word == ADDRESS && field.scope.is_some() {
            continue;
        }
        let goes = field.scope.as_deref().unwrap_or("wherever its record goes");
        findings.push(Finding {
            kind: "secret-column",
            text: format!(
                "{name}.{field_name} (column {:?}) is shared: {goes}, and sounds like a {word}",
                field.columns(field_name).join(", ")
            ),
            hint: format!(
                "keep it home with `scope = \"never\"` in [dataset.{name}.fields.{field_name}] of wbsync.toml"
            ),
        });
    }
}

fn suspicious(name: &FieldName, field: &Field) -> Option<&'static str> {
    if field.reference.is_some() {
        return None;
    }
    field.columns(name).into_iter().chain([name.as_str()]).find_map(|text| {
        let words: Vec<String> = text.split(['_', '-']).map(str::to_ascii_lowercase).collect();
        let is = |wanted: &str| match wanted.split_once('_') {
            Some((first, second)) => words.windows(2).any(|pair| pair[0] == first && pair[1] == second),
            None => words.iter().any(|word| word == wanted),
        };
        SECRETS.iter().find(|(wanted, _)| is(wanted)).map(|(_, what)| *what)
    })
}

/// Words of column names that are rarely meant for others.
const SECRETS: [(&str, &str); 24] = [
    ("password", "password"),
    ("passwd", "password"),
    ("passphrase", "password"),
    ("pwd", "password"),
    ("secret", "secret"),
    ("token", "bearer secret"),
    ("apikey", "bearer secret"),
    ("api_key", "bearer secret"),
    ("private_key", "secret key"),
    ("signing_key", "secret key"),
    ("session", "bearer secret"),
    ("cookie", "bearer secret"),
    ("salt", "password's salt"),
    ("hash", "password's hash"),
    ("otp", "one-time password"),
    ("totp", "one-time password"),
    ("pin", "secret number"),
    ("admin", "right"),
    ("superuser", "right"),
    ("iban", "bank account"),
    ("ssn", "personal number"),
    ("email", ADDRESS),
    ("mail", ADDRESS),
    ("phone", ADDRESS),
];
const ADDRESS: &str = "personal address";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_that_sound_secret_are_named() {
        let field = |column: Option<&str>| -> Field {
            let column = column.map(|column| format!("column = \"{column}\"\n")).unwrap_or_default();
            toml::from_str(&format!("{column}type = \"text\"")).unwrap()
        };
        let heard = |name: &str, column| suspicious(&FieldName::new(name).unwrap(), &field(column));
        assert_eq!(heard("password", None), Some("password"));
        assert_eq!(heard("contact_email", None), Some(ADDRESS));
        assert_eq!(heard("label", Some("API_KEY")), Some("bearer secret"));
        assert_eq!(heard("is_admin", None), Some("right"));
        for fine in ["title", "hashtag", "pinned", "tokens_used", "key", "mailbox"] {
            assert_eq!(heard(fine, None), None, "{fine}");
        }
    }
}
