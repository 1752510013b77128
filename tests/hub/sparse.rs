//! What crosses the wire when little or nothing happened, every byte counted: contents, headers, signatures and all.

use crate::site::{Site, befriend, instance};
use crate::support::app::App;
use crate::support::wire::Wire;

/// Lets an application in through a line of its own.
fn admit(site: &Site, app: &App) -> Wire {
    let wire = Wire::start(site.url.trim_start_matches("http://").trim_end_matches('/'), u64::MAX);
    let token = site.hub(&["invite"]).ok().stdout;
    app.wbsync(&["remote", "add", "hub", &format!("http://{}/", wire.address)]).ok();
    std::fs::write(app.dir().join("token"), token).unwrap();
    app.wbsync(&["hub", "join", "hub", "--token-file", "token"]).ok();
    wire
}

#[test]
fn a_sync_of_nothing_is_two_small_requests_and_one_edit_a_few() {
    let site = Site::start(&[]);
    let apps = ["alpha", "beta", "gamma", "delta"].map(instance);
    let wires: Vec<Wire> = apps.iter().map(|app| admit(&site, app)).collect();
    for (index, app) in apps.iter().enumerate() {
        apps[..index].iter().for_each(|other| befriend(app, other));
        for scope in ["public", "trusted"] {
            app.insert_request(Some(App::ADMIN), &format!("{scope} of {index}"), scope);
        }
    }
    for _ in 0..3 {
        apps.iter().for_each(|app| drop(app.wbsync(&["sync"]).ok()));
    }
    // Eight scopes, sixteen heads, receipts and cards lie there.
    for (app, wire) in apps.iter().zip(&wires) {
        wire.crossed();
        app.wbsync(&["sync"]).ok();
        let bytes = wire.crossed();
        assert!((200..2000).contains(&bytes), "{bytes} bytes for nothing");
    }
    apps[0].insert_request(Some(App::ADMIN), "one more", "public");
    apps[0].wbsync(&["sync"]).ok();
    let sent = wires[0].crossed();
    apps[1].wbsync(&["pull"]).ok();
    let came = wires[1].crossed();
    assert!(apps[1].dump_columns("help_requests", &["description"]).contains("one more"));
    assert!(sent < 8000 && came < 8000, "{sent} bytes sent and {came} fetched for one row");

    // Whatever is kept can be lost, or damaged.
    let kept = || std::fs::read_dir(apps[1].dir().join(".wbsync/hubs")).unwrap().map(|entry| entry.unwrap().path());
    for damage in [Vec::new(), b"not what was written".to_vec()] {
        kept().for_each(|path| std::fs::write(path, &damage).unwrap());
        apps[1].wbsync(&["sync"]).ok();
        assert!(wires[1].crossed() > 3000, "everything was asked for again");
        apps[1].wbsync(&["sync"]).ok();
        assert!(wires[1].crossed() < 2000);
    }
    apps[1].wbsync(&["remote", "remove", "hub"]).ok();
    assert_eq!(kept().count(), 0, "what was kept goes with the remote");
}
