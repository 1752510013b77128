//! `hub` and `serve`: what they say; what they do is shown in tests/hub.

use crate::shown::check;
use crate::support::run::wbsync;

#[test]
fn members_of_a_hub() {
    let dir = tempfile::tempdir().unwrap();
    let (one, two) = ("ab".repeat(32), "cd".repeat(32));
    let hub = |args: &[&str]| wbsync(dir.path(), &[&["hub"], args, &["--store", "store"]].concat());
    check!("hub_list_empty", hub(&["list"]).ok());
    check!("hub_allow", hub(&["allow", &one]).ok());
    hub(&["allow", &two, "--role", "reader"]).ok();
    check!("hub_quota", hub(&["quota", &one, "20G"]).ok());
    check!("hub_list", hub(&["list"]).ok());
    check!("hub_deny", hub(&["deny", &two]).ok());
    check!("hub_deny_unknown", hub(&["deny", &two]).exits(1));
    check!("hub_deny_unknown_json", hub(&["--json", "deny", &two]).exits(1));
    check!("hub_allow_nonsense", hub(&["allow", "beta"]).exits(2));
    check!("hub_quota_nonsense", hub(&["quota", &one, "much"]).exits(2));
    check!("hub_allow_json", hub(&["--json", "allow", &one]).ok());
    check!("hub_quota_json", hub(&["--json", "quota", &one, "30G"]).ok());
    check!("hub_list_json", hub(&["--json", "list"]).ok());
    check!("hub_deny_json", hub(&["--json", "deny", &one]).ok());
    check!("hub_invite", hub(&["invite", "--days", "1"]).ok());
    check!("hub_invite_json", hub(&["--json", "invite", "--days", "1"]).ok());
    std::fs::write(dir.path().join("letter"), "no store").unwrap();
    let elsewhere = |args: &[&str]| wbsync(dir.path(), &[&["hub"], args, &["--store", "letter"]].concat());
    check!("hub_list_elsewhere", elsewhere(&["list"]).exits(1));
    check!("hub_invite_elsewhere", elsewhere(&["invite"]).exits(1));
    let token = hub(&["invite", "--days", "1"]).ok().stdout;
    assert!(token.starts_with("wbsync-invite1:") && token.trim().len() == 79, "{token}");
}

#[test]
fn serving_what_cannot_be_served() {
    let dir = tempfile::tempdir().unwrap();
    let serve = |args: &[&str]| wbsync(dir.path(), &[&["serve"], args].concat());
    check!("serve_no_instance", serve(&[]).exits(1));
    check!("serve_bare", serve(&["--store", "store", "--listen", "0.0.0.0:0"]).exits(1));
    check!("serve_nameless", serve(&["--store", "store", "--behind-proxy"]).exits(1));
    check!("serve_bad_url", serve(&["--store", "store", "--url", "hub.example"]).exits(2));
    check!("serve_cert_without_key", serve(&["--store", "store", "--tls-cert", "x.pem"]).exits(2));
    std::fs::write(dir.path().join("file"), "x").unwrap();
    check!("serve_no_store", serve(&["--store", "file"]).exits(1));
}
