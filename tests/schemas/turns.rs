//! A column that refers to rows of different tables, as another column says: what frameworks call a polymorphic reference.

use super::site::{PAIRS, pair, settle};

const SCHEMA: &str = "
CREATE TABLE posts(id SERIAL PRIMARY KEY, title TEXT NOT NULL);
CREATE TABLE photos(id SERIAL PRIMARY KEY, title TEXT NOT NULL);
CREATE TABLE notes(id SERIAL PRIMARY KEY, about_type TEXT NOT NULL, about_id INTEGER, about_key TEXT, body TEXT NOT NULL);";
const MAPPING: &str = r#"
[dataset.posts]
table = "posts"
key = "id"
scope = "public"
fields.title = { type = "text" }
[dataset.photos]
table = "photos"
key = "id"
scope = "public"
fields.title = { type = "text" }
[dataset.notes]
table = "notes"
key = "id"
scope = "public"
fields.body = { type = "text" }
fields.kind = { column = "about_type", type = "text" }
fields.post = { column = "about_id", ref = "posts", when = { column = "about_type", any = ["Post", "Draft"] } }
fields.photo = { column = "about_id", ref = "photos", missing = "null", when = { column = "about_type", any = ["Photo"] } }
fields.number = { column = "about_id", type = "int" }
fields.spelled = { column = "about_key", ref = "posts", missing = "null" }
"#;
const SHOWN: [&str; 4] = [
    "SELECT n.body || p.title FROM notes n JOIN posts p ON p.id = n.about_id WHERE n.about_type IN ('Post', 'Draft')",
    "SELECT n.body || p.title FROM notes n JOIN photos p ON p.id = n.about_id WHERE n.about_type = 'Photo'",
    "SELECT body || CAST(about_id AS TEXT) FROM notes WHERE about_type = 'Number'",
    "SELECT n.body || p.title FROM notes n JOIN posts p ON CAST(p.id AS TEXT) = n.about_key",
];

#[test]
fn a_column_refers_to_what_another_says() {
    for kinds in PAIRS {
        let (_stick, alpha, beta) = pair(kinds, SCHEMA, MAPPING);
        // The keys differ at both.
        alpha.sql(
            "INSERT INTO posts(title) VALUES('bread'), ('soup'); INSERT INTO photos(title) VALUES('loaf');
             INSERT INTO notes(about_type, about_id, about_key, body) VALUES('Post', 2, '1', 'a'), ('Photo', 1, NULL, 'b'),
                ('Number', 7, '2', 'c'), ('Other', NULL, NULL, 'd')",
        );
        beta.sql("INSERT INTO posts(title) VALUES('tea'); INSERT INTO photos(title) VALUES('cup'), ('pot')");
        settle(&alpha, &beta, &SHOWN);
        let shown: Vec<Vec<String>> = SHOWN.iter().map(|sql| beta.lines(sql)).collect();
        assert_eq!(shown, [vec!["asoup"], vec!["bloaf"], vec!["c7"], vec!["abread", "csoup"]], "{kinds:?}");
        // It becomes a reference to something else, and what it was about goes.
        beta.sql("UPDATE notes SET about_type = 'Photo', about_id = (SELECT id FROM photos WHERE title = 'pot') WHERE body = 'a'");
        alpha.sql("UPDATE notes SET about_type = 'Number', about_id = 12 WHERE body = 'b'; DELETE FROM photos WHERE title = 'loaf'");
        settle(&alpha, &beta, &SHOWN);
        let shown: Vec<Vec<String>> = SHOWN.iter().map(|sql| alpha.lines(sql)).collect();
        assert_eq!(shown, [vec![], vec!["apot"], vec!["b12", "c7"], vec!["abread", "csoup"]], "{kinds:?}");
        assert_eq!(beta.lines("SELECT title FROM photos"), ["cup", "pot"], "{kinds:?}");
    }
}
