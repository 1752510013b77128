//! Metrics: what is documented, drawn and alerted on is what the program exports, and nothing of what is private is in it.

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::time::Duration;

use wbsync::daemon::event::{Outcome, Trouble};
use wbsync::daemon::gauges::{Gauges, RemoteGauges};
use wbsync::daemon::job::Done;
use wbsync::daemon::metrics::Metrics;
use wbsync::id::name::PeerName;
use wbsync::sync::code::Code;
use wbsync::sync::fetch::FetchSummary;
use wbsync::sync::push::PushSummary;
use wbsync::sync::round::SyncSummary;
use wbsync::sys::clock::UnixMillis;

use crate::process::{Worker, until};
use crate::site::{Site, instance};

/// Asks for a path as a person with telnet would.
pub(crate) fn get(url: &str, path: &str) -> (u16, String) {
    let address = url.trim_start_matches("http://").trim_end_matches('/');
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
    (status, answer)
}

/// Returns the names of the samples in OpenMetrics text.
fn names(text: &str) -> BTreeSet<String> {
    let sample = |line: &str| line.split(['{', ' ']).next().map(str::to_owned);
    text.lines().filter(|line| line.starts_with("wbsync_")).filter_map(sample).collect()
}

/// Metrics of a worker to which everything has happened.
fn full() -> String {
    let hub = || "hub".to_owned();
    let mut summary = SyncSummary::default();
    summary.pull.fetched.remotes.insert(hub(), FetchSummary::default());
    summary.pushed.remotes.insert(hub(), PushSummary::default());
    let trouble = Trouble { code: Code::Unreachable, text: "CANARY".into(), hint: None, wait: None };
    let failed = (PeerName::new("hub").unwrap(), Err(trouble));
    let outcome = Outcome { remotes: vec![failed], ..Outcome::default() };
    let metrics = Metrics::new();
    metrics.count(&Done { outcome, exchanged: Some(summary), ..Done::default() }, Duration::from_secs(1));
    let time = UnixMillis(1_790_000_000_000);
    let remote = RemoteGauges { name: hub(), last: Some(time), ..RemoteGauges::default() };
    let heard = vec![("ab12cd34".to_owned(), time)];
    metrics.show(&Gauges { free: Some(1), remotes: vec![remote], heard, ..Gauges::default() });
    metrics.text()
}

#[test]
fn what_is_documented_drawn_and_alerted_on_is_exported() {
    let hub = Site::start(&["--metrics"]);
    get(&hub.url, "/info");
    let (status, of_hub) = get(&hub.url, "/metrics");
    assert_eq!(status, 200);
    let full = full();
    assert!(!full.contains("CANARY"), "an error's text is no metric");
    let exported: BTreeSet<String> = names(&full).into_iter().chain(names(&of_hub)).collect();
    let histogram = |name: &str| format!("{name}_bucket");
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs");
    let mut mentioned = BTreeSet::new();
    for file in ["metrics.md", "monitoring/grafana.json", "monitoring/alerts.yaml"] {
        let text = fs::read_to_string(docs.join(file)).unwrap();
        let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
        for word in words.filter(|word| word.starts_with("wbsync_")) {
            assert!(exported.contains(word) || exported.contains(&histogram(word)), "{file}: {word} is not exported");
            mentioned.insert((file, word.trim_end_matches("_bucket").to_owned()));
        }
    }
    let bases = exported.iter().filter(|name| !["_sum", "_count"].iter().any(|end| name.ends_with(end)));
    for name in bases.map(|name| name.trim_end_matches("_bucket").to_owned()) {
        for file in ["metrics.md", "monitoring/grafana.json"] {
            assert!(mentioned.contains(&(file, name.clone())), "{name} is not in docs/{file}");
        }
    }
    serde_json::from_str::<serde_json::Value>(&fs::read_to_string(docs.join("monitoring/grafana.json")).unwrap())
        .unwrap();
}

#[test]
fn a_hub_keeps_its_metrics_to_itself_unless_told_otherwise() {
    let hub = Site::start(&[]);
    assert_eq!(get(&hub.url, "/metrics").0, 404);
    assert_eq!(get(&hub.url, "/healthz").0, 200);
    assert_eq!(get(&hub.url, "/readyz").0, 200);
}

#[test]
fn a_worker_answers_probes_and_counts_what_it_does() {
    let (app, stick) = (instance("alpha"), tempfile::tempdir().unwrap());
    let place = stick.path().join("store");
    app.wbsync(&["remote", "add", "stick", place.to_str().unwrap()]).ok();
    app.insert_request(None, "CANARY in public", "public");
    app.insert_user("CANARY-person", "private");
    let file = stick.path().join("wbsync.prom");
    let worker = Worker::start_with(&app, &["--listen", "127.0.0.1:0", "--textfile", file.to_str().unwrap()]);
    until("it exchanged", || worker.log().contains("\"exchanged\""));
    let line = worker.log().lines().find(|line| line.contains("\"listening\"")).unwrap().to_owned();
    let url = serde_json::from_str::<serde_json::Value>(&line).unwrap()["url"].as_str().unwrap().to_owned();
    until("it is counted", || {
        get(&url, "/metrics").1.contains("wbsync_exchanges_total{remote=\"stick\",result=\"done\"} 1")
    });
    let (status, text) = get(&url, "/metrics");
    assert_eq!(status, 200);
    assert!(
        text.contains("application/openmetrics-text") && text.contains("wbsync_committed_records_total{} 1"),
        "{text}"
    );
    assert!(text.contains("wbsync_private_rows{} 2.0") || text.contains("wbsync_private_rows{} 1.0"), "{text}");
    assert!(!text.contains("CANARY"), "{text}");
    assert_eq!((get(&url, "/healthz").0, get(&url, "/readyz").0, get(&url, "/else").0), (200, 200, 404));
    until("the file is there", || file.exists());
    assert!(fs::read_to_string(&file).unwrap().contains("wbsync_store_objects"));

    // A database that can't be opened keeps it from working, and it says so.
    fs::rename(app.db_path(), app.dir().join("gone")).unwrap();
    worker.signal("-HUP");
    until("it isn't ready", || get(&url, "/readyz").0 == 503);
    assert_eq!(get(&url, "/healthz").0, 200, "it lives nevertheless");
    let told = app.wbsync(&["status", "--json"]).ok().json();
    assert_eq!(told["worker"]["here"]["error"]["code"], "database-missing", "{told}");
    app.wbsync(&["health"]).exits(8);
    fs::rename(app.dir().join("gone"), app.db_path()).unwrap();
    worker.signal("-HUP");
    until("it is ready again", || get(&url, "/readyz").0 == 200);
    worker.stop();
}
