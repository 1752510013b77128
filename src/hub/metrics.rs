//! Metrics of a hub, in OpenMetrics (docs/metrics.md): requests by method and status, how long they took, members, and what is
//! stored. No name, no path, no id.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

use crate::exchange::store::Store;
use crate::hub::members::Members;
use crate::transport::dir::DirStore;

/// The metrics.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    requests: Family<Vec<(String, String)>, Counter>,
    seconds: Histogram,
    members: Gauge,
    bytes: Gauge,
    objects: Gauge,
    counted: Mutex<Option<Instant>>,
}

impl Metrics {
    /// Begins at nothing.
    pub(crate) fn new() -> Self {
        let mut registry = Registry::with_prefix("wbsync_hub");
        let requests = Family::default();
        registry.register("requests", "Requests that were answered, by method and status", requests.clone());
        let seconds = Histogram::new(exponential_buckets(0.001, 4.0, 10));
        registry.register("request_duration_seconds", "How long it took until an answer began", seconds.clone());
        let [members, bytes, objects] = [(); 3].map(|()| Gauge::default());
        registry.register("members", "Members of the hub", members.clone());
        registry.register("store_bytes", "Bytes of the objects held", bytes.clone());
        registry.register("store_objects", "Objects held", objects.clone());
        Self { registry, requests, seconds, members, bytes, objects, counted: Mutex::new(None) }
    }

    /// Counts a request.
    pub(crate) fn count(&self, method: &str, status: u16, took: Duration) {
        // Whatever else is sent as a method is one of them here: labels are kept for ever.
        let method = ["GET", "HEAD", "PUT", "POST", "DELETE"].into_iter().find(|known| *known == method);
        let method = method.unwrap_or("other").to_owned();
        let labels = BTreeMap::from([("method".to_owned(), method), ("status".to_owned(), status.to_string())]);
        self.requests.get_or_create(&labels.into_iter().collect()).inc();
        self.seconds.observe(took.as_secs_f64());
    }

    /// Writes them as OpenMetrics text. The store is counted once in a while only.
    pub(crate) fn text(&self, store: &DirStore, members: &Members) -> String {
        if let Ok(list) = members.list() {
            self.members.set(i64::try_from(list.len()).unwrap_or(i64::MAX));
        }
        let mut counted = self.counted.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if counted.is_none_or(|at| at.elapsed() >= COUNT_EVERY)
            && let Ok(held) = store.objects()
        {
            let bytes: u64 = held.iter().map(|object| object.bytes).sum();
            self.bytes.set(i64::try_from(bytes).unwrap_or(i64::MAX));
            self.objects.set(i64::try_from(held.len()).unwrap_or(i64::MAX));
            *counted = Some(Instant::now());
        }
        drop(counted);
        let mut text = String::new();
        encode(&mut text, &self.registry).expect("strings grow");
        text
    }
}

/// What the text is.
pub(crate) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
/// Counting lists every object.
const COUNT_EVERY: Duration = Duration::from_secs(300);
