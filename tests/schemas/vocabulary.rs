//! Words that everybody has for themselves: rows that mean the same by what they say, and what refers to them.

use wbsync::sync::peers::PeerAdd;

use super::site::{PAIRS, Site, Sqlite, meet, pair, settle};

const SCHEMA: &str = "
CREATE TABLE posts(id SERIAL PRIMARY KEY, title TEXT NOT NULL);
CREATE TABLE tags(slug TEXT PRIMARY KEY, label TEXT NOT NULL);
CREATE TABLE post_tags(post_id INTEGER NOT NULL REFERENCES posts(id), tag TEXT NOT NULL REFERENCES tags(slug),
    PRIMARY KEY (post_id, tag));";
const MAPPING: &str = r#"
[dataset.posts]
table = "posts"
key = "id"
scope = { constant = "public" }
fields.title = { type = "text" }
[dataset.tags]
table = "tags"
key = "slug"
scope = { constant = "public" }
unique = [["slug"]]
same = ["slug"]
fields.slug = { type = "text" }
fields.label = { type = "text" }
[dataset.post_tags]
table = "post_tags"
key = ["post_id", "tag"]
scope = { parents = ["post", "tag"] }
unique = [["post", "tag"]]
same = ["post", "tag"]
fields.post = { column = "post_id", ref = "posts", required = true }
fields.tag = { ref = "tags", required = true }
"#;
const SHOWN: &str = "SELECT p.title || ':' || t.tag FROM post_tags t JOIN posts p ON p.id = t.post_id";

#[test]
fn a_word_that_both_have_stands_for_both() {
    for kinds in PAIRS {
        let (_stick, alpha, beta) = pair(kinds, SCHEMA, MAPPING);
        alpha.sql("INSERT INTO posts(title) VALUES('bread'), ('soup'); INSERT INTO tags VALUES('food', 'Food'), ('warm', 'Warm');
                   INSERT INTO post_tags VALUES(1, 'food'), (2, 'food'), (2, 'warm')");
        beta.sql(
            "INSERT INTO posts(title) VALUES('apples'); INSERT INTO tags VALUES('food', 'To eat'), ('cold', 'Cold');
                  INSERT INTO post_tags VALUES(1, 'food'), (1, 'cold')",
        );
        settle(&alpha, &beta, &[SHOWN, "SELECT slug FROM tags"]);
        assert_eq!(
            alpha.lines(SHOWN),
            ["apples:cold", "apples:food", "bread:food", "soup:food", "soup:warm"],
            "{kinds:?}"
        );
        assert_eq!(alpha.lines("SELECT label FROM tags"), ["Cold", "Food", "Warm"]);
        assert_eq!(beta.lines("SELECT label FROM tags"), ["Cold", "To eat", "Warm"], "each has its own word for it");
        // Both give the same tag to the same post.
        for site in [&alpha, &beta] {
            site.sql("INSERT INTO post_tags SELECT id, 'warm' FROM posts WHERE title = 'apples'");
        }
        settle(&alpha, &beta, &[SHOWN]);
        // Alpha withdraws its word: what beta says of it takes the row over, and what refers to it stays.
        alpha.sql("DELETE FROM post_tags WHERE tag = 'food' AND post_id IN (SELECT id FROM posts WHERE title IN ('bread', 'soup'));
                   INSERT INTO tags VALUES('fare', 'Fare')");
        beta.sql("DELETE FROM post_tags WHERE tag = 'food'");
        settle(&alpha, &beta, &[SHOWN]);
        alpha.sql("DELETE FROM tags WHERE slug = 'food'");
        settle(&alpha, &beta, &[SHOWN, "SELECT slug || label FROM tags WHERE slug = 'food'"]);
        assert_eq!(alpha.lines("SELECT label FROM tags WHERE slug = 'food'"), ["To eat"], "{kinds:?}");
    }
}

#[test]
fn the_next_one_takes_a_row_over_that_others_refer_to() {
    for kinds in PAIRS {
        let (stick, alpha, beta) = pair(kinds, SCHEMA, MAPPING);
        let gamma = Site::new(Sqlite, "gamma", SCHEMA, MAPPING);
        meet(&gamma, &beta, "beta", stick.path());
        let card = gamma.open().card.clone();
        beta.open().peer_add(&card, &PeerAdd::default()).unwrap();
        beta.open().follow("gamma", None).unwrap();
        alpha.sql("INSERT INTO tags VALUES('food', 'Food')");
        alpha.sync();
        beta.sync();
        gamma.sql("INSERT INTO tags VALUES('food', 'Fare'); INSERT INTO posts(title) VALUES('rice'); INSERT INTO post_tags VALUES(1, 'food')");
        gamma.sync();
        beta.sync();
        beta.sql("INSERT INTO posts(title) VALUES('apples'); INSERT INTO post_tags SELECT id, 'food' FROM posts WHERE title = 'apples'");
        beta.sync();
        assert_eq!(beta.lines(SHOWN), ["apples:food", "rice:food"], "{kinds:?}");
        assert_eq!(beta.lines("SELECT label FROM tags"), ["Food"]);
        alpha.sql("DELETE FROM tags");
        alpha.sync();
        beta.sync();
        assert_eq!(beta.lines("SELECT label FROM tags"), ["Fare"], "{kinds:?}");
        assert_eq!(beta.lines(SHOWN), ["apples:food", "rice:food"]);
        assert_eq!(beta.waiting(), Vec::<String>::new());
        assert!(beta.is_quiet());
    }
}
