//! JSON documents merge member by member, and are written back as they were laid out.

use std::fs;

use wbsync::state::peers::Trust;

use super::site::{Site, pair};

fn with_documents(scope: &str, trust: Trust) -> (tempfile::TempDir, Site, Site) {
    let (stick, alpha, beta) = pair(scope, Some(trust));
    for site in [&alpha, &beta] {
        site.configure("# ignore = ", "json = [\"records/*.json\"]\n# ignore = ");
    }
    (stick, alpha, beta)
}

const PLACE: &str = "records/a.json";

#[test]
fn members_that_each_side_changed_are_both_in_the_document() {
    let (_stick, alpha, beta) = with_documents("trusted", Trust::Writer);
    alpha.write(
        PLACE,
        "{\n  \"title\": \"saw\",\n  \"tags\": [\n    1,\n    2\n  ],\n  \"open\": true,\n  \"gone\": 1\n}\n",
    );
    alpha.sync();
    beta.sync();
    assert_eq!(beta.tree(), alpha.tree());
    alpha.write(PLACE, alpha.text(PLACE).replace("saw", "ladder").replace(",\n  \"gone\": 1", ""));
    alpha.commit();
    beta.write(PLACE, beta.text(PLACE).replace("true", "false").replace("  \"open\"", "  \"new\": 1.50,\n  \"open\""));
    beta.commit();
    for site in [&alpha, &beta, &alpha, &beta] {
        site.sync();
    }
    let merged =
        "{\n  \"title\": \"ladder\",\n  \"tags\": [\n    1,\n    2\n  ],\n  \"new\": 1.50,\n  \"open\": false\n}\n";
    assert_eq!(alpha.text(PLACE), merged);
    assert_eq!(alpha.tree(), beta.tree());
    assert_eq!(alpha.roots(), beta.roots());
    assert!(alpha.commit().scopes.is_empty() && beta.commit().scopes.is_empty());
    assert_eq!(alpha.open().conflicts(None).unwrap().len(), 0);
}

#[test]
fn a_document_may_become_a_file_like_others_and_one_again() {
    let (_stick, alpha, beta) = with_documents("trusted", Trust::Writer);
    for text in ["{\"a\": 1}", "no JSON", "{\"b\": 2}\n", "[1]", "{}", "{\"a\": 1, \"a\": 2}", "{\"a\": 3}"] {
        alpha.write(PLACE, text);
        alpha.sync();
        beta.sync();
        assert_eq!(beta.text(PLACE), text);
        assert!(beta.commit().scopes.is_empty(), "{text}");
    }
    beta.write(PLACE, "{\"a\": 4}");
    beta.sync();
    alpha.sync();
    assert_eq!(alpha.text(PLACE), "{\"a\": 4}");
}

#[test]
fn who_has_no_pattern_gets_the_document_and_its_edits_stay_ones_of_members() {
    let (_stick, alpha, beta) = with_documents("trusted", Trust::Writer);
    beta.configure("json = ", "# json = ");
    let long = format!("{{\n  \"long\": \"{}\",\n  \"a\": 1\n}}\n", "x".repeat(30_000));
    alpha.write(PLACE, &long);
    alpha.sync();
    beta.sync();
    assert_eq!(beta.text(PLACE), long);
    beta.write(PLACE, long.replace("\"a\": 1", "\"a\": 2"));
    beta.commit();
    alpha.write(PLACE, long.replace("xx", "yy"));
    alpha.commit();
    for site in [&alpha, &beta, &alpha, &beta] {
        site.sync();
    }
    assert_eq!(alpha.text(PLACE), long.replace("xx", "yy").replace("\"a\": 1", "\"a\": 2"));
    assert_eq!(alpha.tree(), beta.tree());
}

#[test]
fn of_a_private_document_nothing_leaves() {
    let (stick, alpha, beta) = with_documents("private", Trust::Trusted);
    alpha.write(PLACE, "{\"zqcanary\": \"zqcanary\"}");
    alpha.sync();
    beta.sync();
    assert!(beta.tree().is_empty());
    for dir in [stick.path().to_owned(), alpha.dir.path().join(".wbsync/store")] {
        for entry in
            walkdir::WalkDir::new(dir).into_iter().map(Result::unwrap).filter(|entry| entry.file_type().is_file())
        {
            let bytes = fs::read(entry.path()).unwrap();
            assert!(!bytes.windows(8).any(|window| window == b"zqcanary"));
        }
    }
    let state = fs::read(alpha.dir.path().join(".wbsync/state.db")).unwrap();
    assert!(!state.windows(8).any(|window| window == b"zqcanary"));
}
