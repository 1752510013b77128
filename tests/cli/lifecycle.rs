//! Trust and its end: groups, revocation, new keys, forgetting, shunning.

use std::fs;

use crate::shown::{Pair, check};
use crate::support::app::App;

#[test]
fn trust_and_its_end() {
    let pair = Pair::new();
    let alpha = &pair.alpha;
    pair.sync();
    check!("peer_show_writer", alpha.wbsync(&["peer", "show", "beta"]).ok());
    check!("peer_untrust", alpha.wbsync(&["peer", "untrust", "beta"]).ok());
    check!("peer_untrust_again", alpha.wbsync(&["peer", "untrust", "beta"]).ok());
    check!("peer_untrust_json", alpha.wbsync(&["--json", "peer", "untrust", "beta"]).ok());
    check!("peer_untrust_unknown", alpha.wbsync(&["peer", "untrust", "gamma"]).exits(1));
    check!("peer_trust_from_now", alpha.wbsync(&["peer", "trust", "beta", "--from-now"]).ok());
    check!("peer_trust_from_now_again", alpha.wbsync(&["peer", "trust", "beta", "--from-now"]).ok());
    check!("peer_show_from_now", alpha.wbsync(&["--json", "peer", "show", "beta"]).ok());
    check!("peer_revoke", alpha.wbsync(&["peer", "revoke", "beta"]).ok());
    check!("peer_revoke_again", alpha.wbsync(&["peer", "revoke", "beta"]).ok());
    check!("peer_revoke_own", alpha.wbsync(&["peer", "revoke", "alpha"]).exits(5));
    check!("peer_revoke_unknown", alpha.wbsync(&["peer", "revoke", "gamma"]).exits(1));
    check!("peer_list_revoked", alpha.wbsync(&["peer", "list"]).ok());
    check!("follow_revoked", alpha.wbsync(&["follow", "beta"]).exits(5));
    alpha.wbsync(&["push"]).ok();
    pair.beta.insert_request(None, "after the fall", "public");
    pair.beta.wbsync(&["sync"]).ok();
    check!("pull_of_revoked", alpha.wbsync(&["pull"]).exits(5));
    check!("pull_of_revoked_again", alpha.wbsync(&["pull"]).ok());
    check!("peer_trust_revoked", alpha.wbsync(&["peer", "trust", "beta"]).ok());
    check!("peer_revoke_json", alpha.wbsync(&["--json", "peer", "revoke", "beta"]).ok());
}

#[test]
fn groups() {
    let pair = Pair::new();
    let alpha = &pair.alpha;
    check!("group_list_empty", alpha.wbsync(&["group", "list"]).ok());
    check!("group_unknown_before_any", alpha.wbsync(&["group", "show", "board"]).exits(1));
    check!("group_create", alpha.wbsync(&["group", "create", "board"]).ok());
    check!("group_show_nobody", alpha.wbsync(&["group", "show", "board"]).ok());
    check!("group_create_again", alpha.wbsync(&["group", "create", "board"]).exits(1));
    check!("group_create_bad_name", alpha.wbsync(&["group", "create", "The Board"]).exits(1));
    check!("group_add", alpha.wbsync(&["group", "add", "board", "beta"]).ok());
    check!("group_add_again", alpha.wbsync(&["group", "add", "board", "beta", "--from-now"]).ok());
    check!("group_add_unknown", alpha.wbsync(&["group", "add", "board", "gamma"]).exits(1));
    alpha.insert_request(None, "for the board", "group:board");
    pair.sync();
    check!("group_list", alpha.wbsync(&["group", "list"]).ok());
    check!("group_show", alpha.wbsync(&["group", "show", "board"]).ok());
    check!("group_show_json", alpha.wbsync(&["--json", "group", "show", "board"]).ok());
    check!("group_delete_in_use", alpha.wbsync(&["group", "delete", "board"]).exits(1));
    check!("group_remove", alpha.wbsync(&["group", "remove", "board", "beta"]).ok());
    check!("group_remove_again", alpha.wbsync(&["group", "remove", "board", "beta"]).ok());
    check!("group_remove_unknown", alpha.wbsync(&["group", "remove", "kitchen", "beta"]).exits(1));
    check!("group_add_json", alpha.wbsync(&["--json", "group", "add", "board", "beta"]).ok());
    check!("group_remove_json", alpha.wbsync(&["--json", "group", "remove", "board", "beta"]).ok());
    check!("group_list_json", alpha.wbsync(&["--json", "group", "list"]).ok());
    check!("group_create_json", alpha.wbsync(&["--json", "group", "create", "garden"]).ok());
    check!("group_delete_json", alpha.wbsync(&["--json", "group", "delete", "garden"]).ok());
    check!("group_unknown", alpha.wbsync(&["group", "show", "kitchen"]).exits(1));
    alpha.wbsync(&["group", "create", "kitchen"]).ok();
    check!("group_delete", alpha.wbsync(&["group", "delete", "kitchen"]).ok());
}

#[test]
fn new_keys() {
    let pair = Pair::new();
    let alpha = &pair.alpha;
    pair.sync();
    check!("scope_rotate", alpha.wbsync(&["scope", "rotate", "trusted"]).ok());
    check!("scope_rotate_reseal", alpha.wbsync(&["scope", "rotate", "trusted", "--reseal"]).ok());
    check!("scope_show_resealing", alpha.wbsync(&["scope", "show", "trusted"]).ok());
    check!("scope_rotate_json", alpha.wbsync(&["--json", "scope", "rotate", "trusted"]).ok());
    check!("scope_rotate_public", alpha.wbsync(&["scope", "rotate", "public"]).exits(1));
    check!("scope_rotate_foreign", alpha.wbsync(&["scope", "rotate", "beta/public"]).exits(1));
    check!("scope_rotate_unknown", alpha.wbsync(&["scope", "rotate", "group:x"]).exits(1));
}

#[test]
fn forgetting() {
    let pair = Pair::new();
    let alpha = &pair.alpha;
    pair.sync();
    check!("peer_forget_unasked", alpha.wbsync(&["peer", "forget", "beta"]).exits(2));
    check!("peer_forget_dry", alpha.wbsync(&["peer", "forget", "beta", "--dry-run"]).ok());
    check!("peer_forget", alpha.wbsync(&["peer", "forget", "beta", "--yes"]).ok());
    check!("peer_forget_again", alpha.wbsync(&["peer", "forget", "beta", "--yes"]).exits(1));
    check!("sync_after_forget", alpha.wbsync(&["sync"]).ok());
    let card = pair.beta.wbsync(&["id"]).ok().stdout;
    alpha.wbsync(&["peer", "add", card.trim()]).ok();
    check!("peer_forget_json", alpha.wbsync(&["--json", "peer", "forget", "beta", "--yes"]).ok());
}

#[test]
fn shunning() {
    let pair = Pair::new();
    let alpha = &pair.alpha;
    pair.sync();
    check!("shun_list_empty", alpha.wbsync(&["shun", "--list"]).ok());
    check!("shun_unknown", alpha.wbsync(&["shun", "requests/0000"]).exits(1));
    check!("shun_nothing", alpha.wbsync(&["shun"]).exits(2));
    check!("unshun_unknown", alpha.wbsync(&["unshun", "requests/0000"]).exits(1));
    // The record of beta's request is the only one of beta's among the requests here.
    let key: Vec<u8> = alpha
        .db()
        .query_row(
            "SELECT record FROM _wbsync_map m JOIN _wbsync_dataset d USING (dataset)
             WHERE d.name = 'requests' AND m.origin <> 0",
            [],
            |row| row.get(0),
        )
        .unwrap();
    let key: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
    let record = format!("requests/{key}");
    check!("shun_dry", alpha.wbsync(&["shun", &record, "--dry-run"]).ok());
    check!("shun", alpha.wbsync(&["shun", &record]).ok());
    check!("shun_list", alpha.wbsync(&["shun", "--list"]).ok());
    check!("unshun_dry", alpha.wbsync(&["unshun", &record, "--dry-run"]).ok());
    check!("unshun", alpha.wbsync(&["unshun", &record]).ok());
    alpha.wbsync(&["shun", &record]).ok();
    check!("unshun_json", alpha.wbsync(&["unshun", &record, "--json"]).ok());
    check!("shun_json", alpha.wbsync(&["--json", "shun", &record]).ok());
}

#[test]
fn another_identity_under_a_pinned_name() {
    let pair = Pair::new();
    let other = App::new();
    other.wbsync(&["init", "--preset", "whiteballoon", "--name", "beta"]).ok();
    fs::write(pair.alpha.dir().join("new.card"), other.wbsync(&["id"]).ok().stdout).unwrap();
    check!("peer_add_other_identity", pair.alpha.wbsync(&["peer", "add", "new.card"]).exits(5));
    other.wbsync(&["remote", "add", "stick", &pair.store()]).ok();
    other.wbsync(&["push"]).ok();
    check!("pull_of_impostor", pair.alpha.wbsync(&["pull"]).exits(5));
}

#[test]
fn a_code_to_hold_a_camera_to() {
    let app = App::new();
    app.wbsync(&["init", "--preset", "whiteballoon", "--name", "alpha"]).ok();
    let [card, print] = [&["id", "--qr"][..], &["id", "--qr", "--fingerprint"]].map(|args| app.wbsync(args).ok());
    for drawn in [&card, &print] {
        let widths: Vec<_> = drawn.stdout.lines().map(|line| line.chars().count()).collect();
        assert!(widths.windows(2).all(|pair| pair[0] == pair[1]), "{drawn}");
        assert!(drawn.stdout.chars().all(|c| "█▀▄ \n".contains(c)), "{drawn}");
        assert!(drawn.stderr.is_empty(), "{drawn}");
    }
    let width = |text: &str| text.lines().next().unwrap().chars().count();
    assert!(width(&card.stdout) > width(&print.stdout), "a card says more");
}
