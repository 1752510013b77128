//! Spells shared statements as PostgreSQL wants them.

/// Spells what a session of ours begins with.
///
/// Values have fixed spellings: what we give is text that the server reads. Rows that a policy hides are an error: they would look
/// deleted. What is settled is durable, whatever the application is content with: the state goes on from it.
pub(super) fn settings(schema: &str) -> String {
    format!(
        "SET search_path = pg_catalog, {schema}, pg_temp; SET TimeZone = 'UTC'; SET DateStyle = 'ISO, YMD';
         SET standard_conforming_strings = on; SET default_transaction_deferrable = off; SET synchronous_commit = on;
         SET row_security = off"
    )
}

/// Writes `?1` as `$1` and `_wbsync_NAME` as `wbsync.NAME`, but not within quotes.
pub(super) fn spell(sql: &str) -> String {
    const BOOKS: &str = "_wbsync_";
    let mut spelled = String::with_capacity(sql.len() + 8);
    let mut quote = None;
    let mut rest = sql;
    while let Some(c) = rest.chars().next() {
        let after = &rest[c.len_utf8()..];
        match quote {
            Some(open) if c == open => quote = None,
            Some(_) => {}
            None if matches!(c, '"' | '\'') => quote = Some(c),
            None if c == '?' && after.starts_with(|c: char| c.is_ascii_digit()) => {
                spelled.push('$');
                rest = after;
                continue;
            }
            None if rest.starts_with(BOOKS) => {
                spelled.push_str("wbsync.");
                rest = &rest[BOOKS.len()..];
                continue;
            }
            None => {}
        }
        spelled.push(c);
        rest = after;
    }
    spelled
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_texts_in_quotes_stay() {
        let sql = "SELECT m.\"_wbsync_?1\", '?2' FROM _wbsync_map m WHERE a = ?1 AND b = ?10 AND c ? 'd''?3'";
        let wanted = "SELECT m.\"_wbsync_?1\", '?2' FROM wbsync.map m WHERE a = $1 AND b = $10 AND c ? 'd''?3'";
        assert_eq!(spell(sql), wanted);
    }
}
