//! Spells a proposed mapping as TOML, with the reason beside each choice.

use std::collections::BTreeSet;
use std::fmt::Write;

use super::dataset::{Draft, Field, Holds};
use crate::connector::mapping::finding::{Finding, Weight};

/// Orders datasets, those referred to before those that refer to them as far as that goes.
pub(super) fn ordered(mut drafts: Vec<Draft>) -> Vec<Draft> {
    let mut ordered: Vec<Draft> = Vec::new();
    while !drafts.is_empty() {
        let done: BTreeSet<&str> = ordered.iter().map(|draft| draft.name.as_str()).collect();
        let waits = |draft: &Draft| {
            let waits = |field: &Field| match &field.holds {
                Holds::Ref { parent, .. } if *parent == draft.name || done.contains(parent.as_str()) => 0,
                Holds::Ref { missing: "null", .. } => 1,
                Holds::Ref { .. } => 100,
                Holds::Value(_) => 0,
            };
            draft.fields.iter().map(waits).sum::<u32>()
        };
        let (next, _) = drafts.iter().enumerate().min_by_key(|(_, draft)| waits(draft)).expect("it isn't empty");
        ordered.push(drafts.remove(next));
    }
    ordered
}

/// Spells the mapping.
pub(super) fn write(drafts: &[Draft], findings: &[Finding], place: &str) -> String {
    let mut text = format!(
        "# A mapping proposed from the tables of {}. Every key is explained in docs/mapping.md.\n\
         #\n\
         # Nothing is shared yet: every dataset is private. To share one, say for whom: `scope = \"public\"`,\n\
         # or \"trusted\", \"group:NAME\", \"peers:NAME,NAME\". Or leave it, and say `wbsync privacy default DATASET public`, or of single rows\n\
         # `wbsync privacy set`. Then look at `wbsync db map --check` and `wbsync privacy list` before the first commit.\n\
         # What isn't named here never leaves, and is never written.\n",
        plain(place)
    );
    let tables: Vec<&Finding> =
        findings.iter().filter(|finding| finding.why.starts_with("left out") && !finding.at.contains('.')).collect();
    if !tables.is_empty() {
        text += "#\n# Tables that take no part:\n";
        for finding in tables {
            let why = finding.why.trim_start_matches("left out: ");
            let next = finding.next.as_deref().map(|next| format!(": {next}")).unwrap_or_default();
            writeln!(text, "#   {}", plain(&format!("{}: {why}{next}", finding.at)))
                .expect("a string takes everything");
        }
    }
    for draft in drafts {
        dataset(&mut text, draft, findings).expect("a string takes everything");
    }
    text
}

fn dataset(text: &mut String, draft: &Draft, findings: &[Finding]) -> std::fmt::Result {
    writeln!(text)?;
    for finding in findings.iter().filter(|finding| finding.at == draft.table && finding.weight != Weight::Error) {
        writeln!(
            text,
            "# {}{}",
            finding.why,
            finding.next.as_deref().map(|next| format!(": {next}")).unwrap_or_default()
        )?;
    }
    writeln!(text, "[dataset.{}]", draft.name)?;
    line(text, &format!("table = {}", quoted(&draft.table)), "")?;
    let why = match (draft.is_chosen, draft.key.len()) {
        (true, _) => "chosen by each database for itself: it never travels",
        (false, 1) => "travels with the row",
        (false, _) => "several columns, which are fields below",
    };
    line(text, &format!("key = {}", one_or_several(&draft.key)), why)?;
    if let Some(birth) = &draft.birth {
        line(
            text,
            &format!("birth = [{}]", quoted(birth)),
            "tells a new row from an old one whose key was handed out again",
        )?;
    }
    match draft.parents.is_empty() {
        true => {
            let hint = draft
                .audience
                .as_ref()
                .map(|column| format!("; or {{ column = {} }}, if that says it", quoted(column)));
            let why = format!("for whom the rows are{}", hint.unwrap_or_default());
            line(text, "scope = \"private\"", &why)?;
        }
        false => {
            let parents = list(&draft.parents);
            line(text, &format!("scope = {{ parents = {parents} }}"), "for those whom all of these are for")?;
        }
    }
    if let Some(column) = &draft.soft_delete {
        line(text, &format!("soft_delete = {}", quoted(column)), "rows with it are deleted for others")?;
    }
    if !draft.unique.is_empty() {
        let sets: Vec<String> = draft.unique.iter().map(|set| list(set)).collect();
        line(text, &format!("unique = [{}]", sets.join(", ")), "")?;
    }
    if !draft.same.is_empty() {
        line(
            text,
            &format!("same = {}", list(&draft.same)),
            "rows that are equal in this mean the same, whoever made them",
        )?;
    }
    if let Some(alias) = &draft.alias {
        let why = format!(
            "where the name is taken, a row shows name@peer; `same = [{}]` if equal names mean the same thing",
            quoted(alias)
        );
        line(text, &format!("alias = {}", quoted(alias)), &why)?;
    }
    for (column, value, why) in &draft.insert {
        line(text, &format!("insert.{} = {value}", bare(column)), why)?;
    }
    if !draft.stub.is_empty() {
        let values: Vec<String> =
            draft.stub.iter().map(|(field, value)| format!("{} = {value}", bare(field))).collect();
        line(
            text,
            &format!("stub = {{ {} }}", values.join(", ")),
            "what stands for a row that isn't shared, or not any more",
        )?;
    }
    for (column, why) in &draft.left {
        writeln!(text, "# left out: {}", plain(&format!("{column}: {why}")))?;
    }
    writeln!(text, "[dataset.{}.fields]", draft.name)?;
    for field in &draft.fields {
        line(text, &spelled(field), field.why.as_deref().unwrap_or(""))?;
    }
    Ok(())
}

fn spelled(field: &Field) -> String {
    let mut keys = Vec::new();
    if field.columns != [field.name.as_str()] {
        keys.push(format!("column = {}", one_or_several(&field.columns)));
    }
    match &field.holds {
        Holds::Value(kind) => keys.push(format!("type = \"{kind}\"")),
        Holds::Ref { parent, missing, required, author } => {
            keys.push(format!("ref = \"{parent}\""));
            keys.push(format!("missing = \"{missing}\""));
            keys.extend(required.then(|| "required = true".to_owned()));
            keys.extend(author.then(|| "author = true".to_owned()));
        }
    }
    keys.extend(field.is_never.then(|| "scope = \"never\"".to_owned()));
    format!("{} = {{ {} }}", bare(&field.name), keys.join(", "))
}

fn line(text: &mut String, code: &str, why: &str) -> std::fmt::Result {
    match why {
        "" => writeln!(text, "{code}"),
        why => writeln!(text, "{code} # {}", plain(why)),
    }
}

/// Writes what is named by a table or column so that it stays within its comment.
fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

fn list(names: &[String]) -> String {
    format!("[{}]", names.iter().map(|name| quoted(name)).collect::<Vec<_>>().join(", "))
}

fn one_or_several(names: &[String]) -> String {
    match names {
        [only] => quoted(only),
        several => list(several),
    }
}

fn bare(name: &str) -> String {
    let is_bare = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
    if is_bare { name.to_owned() } else { quoted(name) }
}

fn quoted(text: &str) -> String {
    let text = text.replace('\\', "\\\\").replace('"', "\\\"");
    let escaped = text.chars().map(|c| if c.is_control() { format!("\\u{:04x}", u32::from(c)) } else { c.to_string() });
    format!("\"{}\"", escaped.collect::<String>())
}
