//! One conflict from beginning to end, as two people type it: the example of docs/merge.md, run as it is written there.

use crate::shown::Pair;
use crate::support::document::Stage;

#[test]
fn two_people_edit_one_title_and_one_of_them_settles_it() {
    let pair = Pair::new();
    let (alpha, beta) = (&pair.alpha, &pair.beta);
    alpha.execute("UPDATE help_requests SET title = 'Ladder' WHERE description = 'a ladder, please'", &[]);
    pair.sync();
    let commands = Stage::new("docs/merge.md").site("alpha", alpha.dir()).site("beta", beta.dir()).run();
    assert!(commands > 10, "the page has {commands} commands");
    for app in [alpha, beta] {
        let title = app.value("SELECT title FROM help_requests WHERE description = 'a ladder, please'");
        assert_eq!(title, "Long ladder, 4 m");
        assert_eq!(app.wbsync(&["conflicts"]).ok().stdout, "no conflicts\n");
        app.assert_whole();
    }
    let heads = [(alpha, "public"), (beta, "alpha/public")].map(|(app, scope)| {
        let log = app.wbsync(&["log", scope, "-n", "1", "--json"]).ok().json();
        log["commits"][0]["commit"].clone()
    });
    assert_eq!(heads[0], heads[1], "both hold the same commit");
}
