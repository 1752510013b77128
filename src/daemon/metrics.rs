//! Metrics of an instance, in OpenMetrics (docs/metrics.md): counters of what the worker did since it began, and gauges of what
//! the instance holds. Labels are names of remotes, first digits of ids, and codes of errors; never a content.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

use crate::daemon::event::Trouble;
use crate::daemon::gauges::Gauges;
use crate::daemon::job::Done;
use crate::sync::commit::CommitSummary;
use crate::sys::clock::{self, UnixMillis};

type Labels = Vec<(String, String)>;
type Numbers = Family<Labels, Gauge<f64, AtomicU64>>;
type Counts = Family<Labels, Counter>;

/// The metrics.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    jobs: Histogram,
    exchanges: Counts,
    fetched_objects: Counts,
    fetched_bytes: Counts,
    fetched_records: Counts,
    pushed_objects: Counts,
    pushed_bytes: Counts,
    applied: Counts,
    committed: Counts,
    refused: Counts,
    errors: Counts,
    conflicts: Numbers,
    private: Numbers,
    withheld: Numbers,
    parked: Numbers,
    forks: Numbers,
    store_bytes: Numbers,
    store_objects: Numbers,
    free: Numbers,
    failures: Numbers,
    backoff: Numbers,
    last: Numbers,
    queue_heads: Numbers,
    queue_bytes: Numbers,
    behind: Numbers,
    heard: Numbers,
    here: Numbers,
}

/// What is answered to a scrape, and the file of node_exporter holds.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

impl Metrics {
    /// Begins at nothing.
    pub fn new() -> Self {
        let mut registry = Registry::with_prefix("wbsync");
        let mut counts = |name: &str, help: &str| {
            let counts = Counts::default();
            registry.register(name, help, counts.clone());
            counts
        };
        let exchanges = counts("exchanges", "Exchanges with a remote, by how they ended");
        let fetched_objects = counts("fetched_objects", "Objects fetched from a remote");
        let fetched_bytes = counts("fetched_bytes", "Bytes of objects fetched from a remote");
        let fetched_records = counts("fetched_records", "Records that came with heads of a remote");
        let pushed_objects = counts("pushed_objects", "Objects pushed to a remote");
        let pushed_bytes = counts("pushed_bytes", "Bytes of objects pushed to a remote");
        let applied = counts("applied_rows", "Rows of the application that were written");
        let committed = counts("committed_records", "Records that the application changed");
        let refused = counts("refused_documents", "Documents of a remote that were refused");
        let errors = counts("errors", "Failures, by the code of docs/exit-codes.md");
        let mut numbers = |name: &str, help: &str| {
            let numbers = Numbers::default();
            registry.register(name, help, numbers.clone());
            numbers
        };
        let conflicts = numbers("conflicts", "Fields that hold more than one concurrent value");
        let private = numbers("private_rows", "Own rows that stayed home at the last commit");
        let withheld = numbers("withheld_rows", "Those of them that refer to what can't travel");
        let parked = numbers("waiting_records", "Records that wait to be written into the application's rows");
        let forks = numbers("forked_signers", "Signers that published two histories");
        let store_bytes = numbers("store_bytes", "Bytes of the own store");
        let store_objects = numbers("store_objects", "Objects of the own store");
        let free = numbers("disk_free_bytes", "Bytes that can still be written beside the state");
        let failures = numbers("remote_failures", "Failures in a row of a remote");
        let backoff = numbers("remote_backoff_seconds", "How long a remote that failed is still left alone");
        let last = numbers("remote_last_success_timestamp_seconds", "When an exchange with a remote last went well");
        let queue_heads = numbers("queue_heads", "Heads that a remote has not been sent yet");
        let queue_bytes = numbers("queue_bytes", "Bytes of new objects that a remote has not been sent yet");
        let behind = numbers("behind_heads", "Heads that came from a remote and wait to be merged");
        let heard = numbers("peer_head_timestamp_seconds", "When the newest head of a peer came");
        let here = numbers("stopped", "1 while nothing can be exchanged because something is wrong here");
        numbers("build_info", "1, with the version as a label")
            .get_or_create(&of("version", env!("CARGO_PKG_VERSION")))
            .set(1.0);
        let jobs = Histogram::new(exponential_buckets(0.05, 2.0, 14));
        registry.register("job_duration_seconds", "How long exchanges and looks took", jobs.clone());
        Self {
            registry,
            jobs,
            exchanges,
            fetched_objects,
            fetched_bytes,
            fetched_records,
            pushed_objects,
            pushed_bytes,
            applied,
            committed,
            refused,
            errors,
            conflicts,
            private,
            withheld,
            parked,
            forks,
            store_bytes,
            store_objects,
            free,
            failures,
            backoff,
            last,
            queue_heads,
            queue_bytes,
            behind,
            heard,
            here,
        }
    }

    /// Counts what a job did.
    pub fn count(&self, done: &Done, took: Duration) {
        self.jobs.observe(took.as_secs_f64());
        done.committed.iter().for_each(|summary| self.count_commit(summary));
        if let Some(summary) = &done.exchanged {
            for pull in std::iter::once(&summary.pull).chain(&summary.again) {
                self.count_commit(&pull.committed);
                self.applied.get_or_create(&Vec::new()).inc_by(pull.merge.applied.rows());
                for (remote, fetched) in &pull.fetched.remotes {
                    let labels = of("remote", remote);
                    self.fetched_objects.get_or_create(&labels).inc_by(fetched.objects);
                    self.fetched_bytes.get_or_create(&labels).inc_by(fetched.bytes);
                    let records = fetched.heads.iter().map(|head| head.records).sum();
                    self.fetched_records.get_or_create(&labels).inc_by(records);
                    self.refused.get_or_create(&labels).inc_by(fetched.refused.len() as u64);
                }
            }
            for (remote, pushed) in &summary.pushed.remotes {
                let labels = of("remote", remote);
                self.pushed_objects.get_or_create(&labels).inc_by(pushed.objects);
                self.pushed_bytes.get_or_create(&labels).inc_by(pushed.bytes);
            }
        }
        for (remote, result) in &done.outcome.remotes {
            let word = if result.is_ok() { "done" } else { "failed" };
            let labels = vec![("remote".to_owned(), remote.to_string()), ("result".to_owned(), word.to_owned())];
            self.exchanges.get_or_create(&labels).inc();
            result.as_ref().err().into_iter().for_each(|trouble| self.count_error(trouble));
        }
        done.outcome.stopped.iter().for_each(|trouble| self.count_error(trouble));
        set(&self.here, f64::from(u8::from(done.outcome.stopped.is_some())));
    }

    /// Takes what the instance holds now.
    pub fn show(&self, gauges: &Gauges) {
        set(&self.conflicts, gauges.conflicts as f64);
        set(&self.private, gauges.private as f64);
        set(&self.withheld, gauges.withheld as f64);
        set(&self.parked, gauges.parked as f64);
        set(&self.forks, gauges.forks as f64);
        set(&self.store_bytes, gauges.store.0 as f64);
        set(&self.store_objects, gauges.store.1 as f64);
        if let Some(free) = gauges.free {
            set(&self.free, free as f64);
        }
        let by_remote = [&self.failures, &self.backoff, &self.last, &self.queue_heads, &self.queue_bytes, &self.behind];
        by_remote.into_iter().chain([&self.heard]).for_each(|family| family.clear());
        for remote in &gauges.remotes {
            let put = |family: &Numbers, value: f64| {
                family.get_or_create(&of("remote", &remote.name)).set(value);
            };
            put(&self.failures, f64::from(remote.failures));
            let left = remote.next.map_or(0, |next| next.0.saturating_sub(clock::now().0));
            put(&self.backoff, left as f64 / 1000.0);
            if let Some(last) = remote.last {
                put(&self.last, seconds(last));
            }
            put(&self.queue_heads, remote.waiting.0 as f64);
            put(&self.queue_bytes, remote.waiting.1 as f64);
            put(&self.behind, remote.behind as f64);
        }
        for (peer, time) in &gauges.heard {
            self.heard.get_or_create(&of("peer", peer)).set(seconds(*time));
        }
    }

    /// Writes them as OpenMetrics text.
    pub fn text(&self) -> String {
        let mut text = String::new();
        encode(&mut text, &self.registry).expect("strings grow");
        text
    }

    fn count_commit(&self, summary: &CommitSummary) {
        let records = summary.scopes.values().map(|scope| scope.put + scope.removed).sum();
        self.committed.get_or_create(&Vec::new()).inc_by(records);
    }

    fn count_error(&self, trouble: &Trouble) {
        self.errors.get_or_create(&of("code", trouble.code.as_str())).inc();
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

fn of(name: &str, value: &str) -> Labels {
    vec![(name.to_owned(), value.to_owned())]
}

fn set(family: &Numbers, value: f64) {
    family.get_or_create(&Vec::new()).set(value);
}

fn seconds(time: UnixMillis) -> f64 {
    time.0 as f64 / 1000.0
}
