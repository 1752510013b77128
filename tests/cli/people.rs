//! Identity, peers, follows and remotes.

use std::fs;

use crate::shown::{Pair, check, path};
use crate::support::app::App;

#[test]
fn init_and_id() {
    let app = App::new();
    check!("init", app.wbsync(&["init", "--preset", "whiteballoon", "--name", "alpha"]).ok());
    check!("init_twice", app.wbsync(&["init", "--preset", "whiteballoon"]).exits(1));
    check!("id", app.wbsync(&["id"]).ok());
    check!("id_fingerprint", app.wbsync(&["id", "--fingerprint"]).ok());
    check!("id_json", app.wbsync(&["id", "--json"]).ok());
    let other = App::new();
    let run = other.wbsync(&["--json", "init", "--preset", "whiteballoon", "--name", "beta", "--db", "data/app.db"]);
    check!("init_json", run.ok());
}

#[test]
fn a_failed_init_leaves_nothing_behind() {
    let app = App::new();
    app.wbsync(&["init", "--preset", "redballoon"]).exits(1);
    let names: Vec<_> = fs::read_dir(app.dir()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["data"]);
}

#[test]
fn peers() {
    let pair = Pair::strangers();
    let (alpha, beta) = (&pair.alpha, &pair.beta);
    check!("peer_list_empty", alpha.wbsync(&["peer", "list"]).ok());
    check!("peer_unknown_before_any", alpha.wbsync(&["follow", "beta"]).exits(1));
    let card = beta.wbsync(&["id"]).ok().stdout;
    fs::write(alpha.dir().join("beta.card"), &card).unwrap();
    let expected = beta.wbsync(&["id", "--fingerprint"]).ok().stdout;
    check!("peer_add", alpha.wbsync(&["peer", "add", "beta.card", "--expect", expected.trim()]).ok());
    check!("peer_add_again", alpha.wbsync(&["peer", "add", card.trim(), "--name", "beta"]).ok());
    let own = alpha.wbsync(&["id"]).ok().stdout;
    check!("peer_add_unpinned", beta.wbsync(&["peer", "add", own.trim()]).ok());
    let wrong = format!("SHA256:{}", "A".repeat(43));
    check!("peer_add_fingerprint", alpha.wbsync(&["peer", "add", card.trim(), "--expect", &wrong]).exits(5));
    check!("peer_add_own", alpha.wbsync(&["peer", "add", own.trim()]).exits(1));
    check!("peer_add_json", alpha.wbsync(&["--json", "peer", "add", "beta.card"]).ok());
    check!("peer_list", alpha.wbsync(&["peer", "list"]).ok());
    check!("peer_list_json", alpha.wbsync(&["peer", "list", "--json"]).ok());
    check!("peer_show", alpha.wbsync(&["peer", "show", "beta"]).ok());
    check!("peer_unknown", alpha.wbsync(&["peer", "show", "gamma"]).exits(1));
    check!("peer_trust", alpha.wbsync(&["peer", "trust", "beta"]).ok());
    check!("peer_trust_write", alpha.wbsync(&["peer", "trust", "beta", "--write"]).ok());
    check!("peer_trust_json", alpha.wbsync(&["--json", "peer", "trust", "beta"]).ok());
}

#[test]
fn cards_that_are_none() {
    let pair = Pair::strangers();
    let alpha = &pair.alpha;
    let card = pair.beta.wbsync(&["id"]).ok().stdout;
    // At a place where the text is still base64.
    let body = "wbsync-card1:".len();
    let cut = &card[..body + (card.trim().len() - body) / 4 * 4 - 8];
    let altered = card.trim().replacen("YWdlMT", "YWdlMU", 1);
    check!("card_garbage", alpha.wbsync(&["peer", "add", "hello"]).exits(5));
    check!("card_truncated", alpha.wbsync(&["peer", "add", cut]).exits(5));
    fs::write(alpha.dir().join("key.pub"), "ssh-ed25519 AAAAC3Nza alice@example\n").unwrap();
    check!("card_foreign", alpha.wbsync(&["peer", "add", "key.pub"]).exits(5));
    if altered != card.trim() {
        alpha.wbsync(&["peer", "add", &altered]).exits(5);
    }
    check!("card_garbage_json", alpha.wbsync(&["--json", "peer", "add", "hello"]).exits(5));
}

#[test]
fn follows() {
    let pair = Pair::new();
    let alpha = &pair.alpha;
    check!("follow_again", alpha.wbsync(&["follow", "beta"]).ok());
    check!("follow_scope", alpha.wbsync(&["follow", "beta/public"]).ok());
    check!("follow_scope_apart_json", alpha.wbsync(&["--json", "follow", "beta", "/trusted"]).ok());
    check!("follow_bad_scope", alpha.wbsync(&["follow", "beta/everything"]).exits(1));
    check!("unfollow", alpha.wbsync(&["unfollow", "beta"]).ok());
    check!("unfollow_again", alpha.wbsync(&["unfollow", "beta"]).ok());
    check!("unfollow_json", alpha.wbsync(&["--json", "unfollow", "beta/public"]).ok());
    check!("unfollow_unknown", alpha.wbsync(&["unfollow", "gamma"]).exits(1));
}

#[test]
fn remotes() {
    let pair = Pair::strangers();
    let alpha = &pair.alpha;
    check!("remote_list_empty", alpha.wbsync(&["remote", "list"]).ok());
    check!("remote_none", alpha.wbsync(&["sync"]).exits(1));
    check!("remote_add", alpha.wbsync(&["remote", "add", "stick", &pair.store()]).ok());
    check!("remote_add_again", alpha.wbsync(&["remote", "add", "stick", "/elsewhere"]).exits(1));
    check!("remote_add_via", alpha.wbsync(&["remote", "add", "git", "git+file:///srv/hub.git", "--via", "git"]).ok());
    check!("remote_add_via_elsewhere", alpha.wbsync(&["remote", "add", "no", "/srv/hub", "--via", "git"]).exits(2));
    alpha.wbsync(&["remote", "remove", "git"]).ok();
    check!("remote_add_json", alpha.wbsync(&["--json", "remote", "add", "nas", "file:///srv/wbsync"]).ok());
    check!("remote_bad_scheme", alpha.wbsync(&["remote", "add", "hub", "gopher://example.org/x"]).exits(1));
    let secret = ["remote", "add", "hub", "https://me:hunter2@example.org/x"];
    check!("remote_password", alpha.wbsync(&secret).exits(1).says_nothing_of("hunter2"));
    check!("remote_bad_name", alpha.wbsync(&["remote", "add", "Stick", "/x"]).exits(2));
    check!("remote_list", alpha.wbsync(&["remote", "list"]).ok());
    check!("remote_list_json", alpha.wbsync(&["remote", "list", "--json"]).ok());
    check!("remote_unknown", alpha.wbsync(&["fetch", "nowhere"]).exits(1));
    alpha.wbsync(&["remote", "add", "attic", "/mnt/attic/wbsync"]).ok();
    check!("remote_remove_json", alpha.wbsync(&["--json", "remote", "remove", "attic"]).ok());
    check!("remote_remove", alpha.wbsync(&["remote", "remove", "nas"]).ok());
    check!("remote_remove_again", alpha.wbsync(&["remote", "remove", "nas"]).exits(1));
}

#[test]
fn an_instance_is_found_from_below_and_by_variable() {
    let pair = Pair::strangers();
    let below = pair.alpha.dir().join("data");
    let from_below = crate::support::run::wbsync(&below, &["id"]).ok().stdout;
    let elsewhere = tempfile::tempdir().unwrap();
    for place in [pair.alpha.dir().to_owned(), pair.alpha.dir().join(".wbsync")] {
        let variables = [("WBSYNC_DIR", path(&place))];
        let variables: Vec<_> = variables.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let run = crate::support::run::wbsync_with(elsewhere.path(), &["id"], &variables).ok();
        assert_eq!(run.stdout, from_below);
    }
    let run = crate::support::run::wbsync(elsewhere.path(), &["-C", &path(pair.alpha.dir()), "id"]).ok();
    assert_eq!(run.stdout, from_below);
}
