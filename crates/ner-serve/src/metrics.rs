//! Prometheus metrics: numbers, routes and statuses, never text.

use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;
use std::time::Duration;

/// Media type of [`Metrics::text`].
pub const MEDIA_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

type Labels = Vec<(&'static str, String)>;

/// All metrics.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    requests: Family<Labels, Counter>,
    seconds: Family<Labels, Histogram>,
    abandoned: Counter,
    waiting: Gauge,
    documents: Counter,
    tokens: Counter,
    mentions: Counter,
    batch_documents: Histogram,
    batch_tokens: Histogram,
    batch_seconds: Histogram,
}

/// Buckets from a millisecond to half a minute.
fn seconds() -> Histogram {
    Histogram::new(exponential_buckets(0.001, 2.0, 16))
}

impl Default for Metrics {
    fn default() -> Self {
        let mut new = Self {
            registry: Registry::with_prefix("medner"),
            requests: Family::default(),
            seconds: Family::new_with_constructor(seconds),
            abandoned: Counter::default(),
            waiting: Gauge::default(),
            documents: Counter::default(),
            tokens: Counter::default(),
            mentions: Counter::default(),
            batch_documents: Histogram::new(exponential_buckets(1.0, 2.0, 10)),
            batch_tokens: Histogram::new(exponential_buckets(16.0, 2.0, 12)),
            batch_seconds: seconds(),
        };
        let registry = &mut new.registry;
        registry.register("http_requests", "Requests answered, by path and status", new.requests.clone());
        registry.register("http_request_seconds", "Time from a request's head to its response", new.seconds.clone());
        registry.register(
            "http_requests_abandoned",
            "Requests whose client disconnected before the response",
            new.abandoned.clone(),
        );
        registry.register(
            "queue_requests",
            "Requests being encoded, waiting for the models or being computed",
            new.waiting.clone(),
        );
        registry.register("documents", "Documents annotated", new.documents.clone());
        registry.register("tokens", "Tokens of these documents, over all requested models", new.tokens.clone());
        registry.register("mentions", "Mentions found, before thresholds", new.mentions.clone());
        registry.register("batch_documents", "Documents computed together", new.batch_documents.clone());
        registry.register("batch_tokens", "Tokens computed together", new.batch_tokens.clone());
        registry.register("batch_seconds", "Time to compute a batch", new.batch_seconds.clone());
        new
    }
}

impl Metrics {
    /// Counts a response. `path` is a known route, or a placeholder for all others.
    pub fn answered(&self, path: &'static str, status: u16, time: Duration) {
        let path = ("path", path.to_owned());
        self.requests.get_or_create(&vec![path.clone(), ("status", status.to_string())]).inc();
        self.seconds.get_or_create(&vec![path]).observe(time.as_secs_f64());
    }

    /// Counts a request whose client disconnected.
    pub fn abandoned(&self) {
        self.abandoned.inc();
    }

    /// Counts a batch.
    pub fn computed(&self, documents: usize, tokens: usize, mentions: usize, time: Duration) {
        self.documents.inc_by(documents as u64);
        self.tokens.inc_by(tokens as u64);
        self.mentions.inc_by(mentions as u64);
        self.batch_documents.observe(documents as f64);
        self.batch_tokens.observe(tokens as f64);
        self.batch_seconds.observe(time.as_secs_f64());
    }

    /// All metrics in OpenMetrics text format, for Prometheus; `waiting` is the current queue length.
    pub fn text(&self, waiting: usize) -> String {
        self.waiting.set(waiting as i64);
        let mut text = String::new();
        // Writing to a string cannot fail.
        let _ = encode(&mut text, &self.registry);
        text
    }
}
