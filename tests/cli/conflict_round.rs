//! One conflict from beginning to end, as two people type it. The transcript is the example of docs/merge.md.
//!
//! To write it anew: `WBSYNC_UPDATE_DOCS=1 cargo test --test cli conflict_round`.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use crate::shown::Pair;
use crate::support::app::App;
use crate::support::run::Run;

#[test]
fn two_people_edit_one_title_and_one_of_them_settles_it() {
    let pair = Pair::new();
    let (alpha, beta) = (&pair.alpha, &pair.beta);
    let request = "description = 'a ladder, please'";
    let edit = |app: &App, title: &str| {
        app.execute(&format!("UPDATE help_requests SET title = ?1 WHERE {request}"), &[&title]);
    };
    let title = |app: &App| app.value(&format!("SELECT title FROM help_requests WHERE {request}"));
    edit(alpha, "Ladder");
    pair.sync();
    let mut script = Transcript::default();

    script.say(
        "Both change the title of one request in their application: alpha to \"Ladder, 4 m\", beta to \"Long ladder\".",
    );
    edit(beta, "Long ladder");
    edit(alpha, "Ladder, 4 m");
    script.run("beta", beta.wbsync(&["sync"]).ok());
    script.run("alpha", alpha.wbsync(&["sync"]).exits(3));
    script.run("alpha", alpha.wbsync(&["conflicts"]).exits(3));
    assert_eq!(title(alpha), "Ladder, 4 m", "the later one is shown");

    script.say("Beta sees the same two values after its next sync.");
    beta.wbsync(&["sync"]).exits(3);
    let conflicts = beta.wbsync(&["conflicts", "--json"]).exits(3).json();
    let conflict = &conflicts["conflicts"][0];
    let values: Vec<_> = conflict["sides"].as_array().unwrap().iter().map(|side| side["value"].clone()).collect();
    assert_eq!(values, ["Ladder, 4 m", "Long ladder"]);
    assert_eq!(title(beta), "Ladder, 4 m", "both applications show the same");
    let record = conflict["record"].as_str().unwrap().to_owned();
    let field = format!("{record}.title");
    let settle = ["resolve", &field, "--value", "Long ladder, 4 m"];
    script.run("beta", beta.wbsync(&[settle.as_slice(), &["--dry-run"]].concat()).ok());
    beta.wbsync(&["conflicts"]).exits(3);
    script.run("beta", beta.wbsync(&settle).ok());
    script.run("beta", beta.wbsync(&["sync"]).ok());
    script.run("alpha", alpha.wbsync(&["sync"]).ok());

    for app in [alpha, beta] {
        assert_eq!(title(app), "Long ladder, 4 m");
        assert_eq!(app.wbsync(&["conflicts"]).ok().stdout, "no conflicts\n");
        app.assert_whole();
    }
    let heads = [(alpha, "public"), (beta, "alpha/public")].map(|(app, scope)| {
        let log = app.wbsync(&["log", scope, "-n", "1", "--json"]).ok().json();
        log["commits"][0]["commit"].clone()
    });
    assert_eq!(heads[0], heads[1], "both hold the same commit");

    script.say("The record tells its story on both sides.");
    script.run("alpha", alpha.wbsync(&["log", &record]).ok());
    script.run("alpha", alpha.wbsync(&["blame", &record]).ok());
    script.compare("docs/merge.md");
}

/// What was typed and answered, with ids that are the same in every run.
#[derive(Default)]
struct Transcript {
    text: String,
    ids: BTreeMap<String, String>,
}

impl Transcript {
    fn say(&mut self, text: &str) {
        self.text += &format!("{}{text}\n\n", if self.text.is_empty() { "" } else { "\n" });
    }

    fn run(&mut self, who: &str, run: Run) {
        let mut lines = vec![format!("{who}$ {}", quoted(&run.command))];
        lines.extend(run.stdout.lines().map(str::to_owned));
        lines.extend(run.stderr.lines().map(str::to_owned));
        // Sizes and speeds differ from run to run.
        lines.retain(|line| !(line.contains(" rows/s)") || line.starts_with("fetched") && line.contains(" object")));
        for line in &mut lines {
            if let Some(at) = line.find(" head, ") {
                line.truncate(at + " head".len());
            }
        }
        if run.code != 0 {
            lines.push(format!("(exit code {})", run.code));
        }
        let mut text = String::new();
        for line in self.stable(&lines.join("\n")).lines() {
            // Which parent comes first depends on the ids of the instances.
            let mut words: Vec<&str> = line.split(' ').collect();
            if line.starts_with("merge ") {
                words[1..].sort_unstable();
            }
            text += &format!("{}\n", words.join(" "));
        }
        self.text += &format!("```text\n{text}```\n");
    }

    /// Gives every id and time a stand-in; a short id is the beginning of the stand-in of the long one.
    fn stable(&mut self, text: &str) -> String {
        let is_time =
            |word: &str| word.len() >= 20 && word.starts_with("20") && word.ends_with('Z') && word.contains('T');
        let mut out = String::new();
        let mut word = String::new();
        for c in text.chars().chain(['\0']) {
            if c.is_ascii_alphanumeric() || (is_time_char(c) && word.starts_with("20")) {
                word.push(c);
                continue;
            }
            if word.len() >= 8 && word.chars().all(|c| c.is_ascii_digit() || ('a'..='f').contains(&c)) {
                out += &self.stand_in(&word);
            } else if is_time(&word) {
                out += "2026-02-01T18:30:00Z";
            } else {
                out += &word;
            }
            word.clear();
            if c != '\0' {
                out.push(c);
            }
        }
        out
    }

    fn stand_in(&mut self, id: &str) -> String {
        let known = self.ids.iter().find(|(long, _)| long.starts_with(id)).map(|(_, stand_in)| stand_in.clone());
        let stand_in = known.unwrap_or_else(|| {
            let number = self.ids.len() as u64 + 1;
            // Any spread-out digits will do.
            let digits =
                (1..=4).map(|round| format!("{:016x}", number.wrapping_mul(0x9e37_79b9_7f4a_7c15 ^ (round << 56))));
            let stand_in: String = digits.collect();
            self.ids.insert(id.to_owned(), stand_in.clone());
            stand_in
        });
        stand_in[..id.len()].to_owned()
    }

    #[track_caller]
    fn compare(&self, name: &str) {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
        let page = fs::read_to_string(&path).unwrap();
        let (before, rest) = page.split_once("<!-- round -->\n").expect("the page marks its example");
        let (_, after) = rest.split_once("<!-- end -->\n").expect("the page marks the end of its example");
        let wanted = format!("{before}<!-- round -->\n{}<!-- end -->\n{after}", self.text);
        if std::env::var_os("WBSYNC_UPDATE_DOCS").is_some() {
            fs::write(&path, &wanted).unwrap();
        }
        let found = fs::read_to_string(&path).unwrap();
        assert!(
            found == wanted,
            "{name} is out of date: run WBSYNC_UPDATE_DOCS=1 cargo test --test cli conflict_round"
        );
    }
}

fn is_time_char(c: char) -> bool {
    matches!(c, '-' | ':' | '.')
}

/// Writes a command line as it would be typed.
fn quoted(command: &str) -> String {
    match command.split_once("--value ") {
        Some((before, value)) => {
            let (value, dry) = value.strip_suffix(" --dry-run").map_or((value, ""), |value| (value, " --dry-run"));
            format!("{before}--value \"{value}\"{dry}")
        }
        None => command.to_owned(),
    }
}
