//! Templates in constants: a text with `{name}` for what is known of the row.

/// Fills in every `{name}`.
///
/// # Errors
/// The first name that `value` doesn't know, or an open brace.
pub fn fill(template: &str, mut value: impl FnMut(&str) -> Option<String>) -> Result<String, String> {
    let mut text = String::with_capacity(template.len() + 16);
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('{') {
        text.push_str(before);
        let (name, tail) = after.split_once('}').ok_or_else(|| format!("{template:?} has a brace that stays open"))?;
        text.push_str(&value(name).ok_or_else(|| format!("{template:?} names {{{name}}}, which is not known here"))?);
        rest = tail;
    }
    text.push_str(rest);
    Ok(text)
}

/// Returns the names in a template.
///
/// # Errors
/// An open brace.
pub fn names(template: &str) -> Result<Vec<String>, String> {
    let mut names = Vec::new();
    fill(template, |name| {
        names.push(name.to_owned());
        Some(String::new())
    })?;
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_filled_in_and_unknown_ones_refused() {
        let value = |name: &str| (name == "key").then(|| "7".to_owned());
        assert_eq!(fill("a/{key}_{key}.json", value).unwrap(), "a/7_7.json");
        assert!(fill("{other}", value).unwrap_err().contains("{other}"));
        assert!(fill("{key", value).is_err());
        assert_eq!(names("{a}{b}").unwrap(), ["a", "b"]);
    }
}
