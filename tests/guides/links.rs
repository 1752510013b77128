//! Links within the documents lead somewhere, and README.md leads to all guides.

use std::collections::BTreeSet;
use std::path::Path;

use regex::Regex;

use crate::pages::{self, root};

#[test]
fn every_link_leads_to_a_file_and_a_heading() {
    let link = Regex::new(r"\]\(([^)\s]+)\)").unwrap();
    let mut complaints = Vec::new();
    for page in pages::all() {
        for target in link.captures_iter(&page.prose()).map(|found| found[1].to_owned()) {
            if target.contains("://") || target.starts_with("mailto:") {
                continue;
            }
            let (file, heading) = target.split_once('#').unwrap_or((&target, ""));
            let path = match file {
                "" => root().join(&page.path),
                file => root().join(&page.path).parent().unwrap().join(file),
            };
            let is_heading = || headings(&path).contains(heading);
            if !path.exists() || (!heading.is_empty() && !is_heading()) {
                complaints.push(format!("{}: {target} leads nowhere", page.path));
            }
        }
    }
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
}

#[test]
fn the_readme_leads_to_every_guide() {
    let readme = pages::page("README.md");
    let missing: Vec<String> = pages::of_today()
        .into_iter()
        .filter(|page| page.path.starts_with("docs/") && !readme.text.contains(&format!("({})", page.path)))
        .map(|page| page.path)
        .collect();
    assert_eq!(missing, Vec::<String>::new());
}

/// Returns the anchors of a document's headings.
fn headings(path: &Path) -> BTreeSet<String> {
    let text = std::fs::read_to_string(path).unwrap();
    let titles = text.lines().filter(|line| line.starts_with('#')).map(|line| line.trim_start_matches('#').trim());
    let anchor = |title: &str| {
        let kept = title.to_lowercase().replace(' ', "-");
        kept.chars().filter(|c| c.is_alphanumeric() || matches!(c, '-' | '_')).collect()
    };
    titles.map(anchor).collect()
}
