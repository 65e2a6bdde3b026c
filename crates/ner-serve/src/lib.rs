//! Annotation over HTTP: models, a page to try them, and operations support (health, metrics, limits, graceful
//! shutdown).
//!
//! [`CorrectionServer`] is a second server, without models: a batch of active learning and the page to correct it.
//!
//! Where things are:
//! - `server.rs`: listening and shutdown. It accepts connections on one thread with hyper directly, because axum's own
//!   loop has no time limit for slow clients. `connections.rs`: which connection is closed to make room for another.
//!   `stream.rs`: disconnects clients that stop reading.
//! - `budget.rs`: bytes of bodies and answers. `turns.rs`: bytes of the bodies whose tokens are in memory.
//!   `hosts.rs`: the host names that the server answers to.
//! - `routes.rs`: wraps each request with token, limits, log and metrics. `request.rs`, `answer.rs`: bodies, read and
//!   written on a small thread pool. `problem.rs`: all errors that clients can see. `metrics.rs`: Prometheus.
//! - `worker.rs`: the thread that owns the models and batches several requests, one document of each in turn.
//! - `correct.rs`: the correction server, with the same connections, token, limits and shutdown. It keeps all
//!   annotators' work, and gets a function that saves.
//! - `page/`: the pages, embedded by `page.rs`. `openapi.json`: the interface of the models' server. Tests compare both
//!   with the routes.
//!
//! This crate does not use the command line or files, and does not find models: it gets an
//! [`Annotator`](ner_annotate::Annotator). No text of a request reaches a log line, a metric or an error.

#![forbid(unsafe_code)]

mod answer;
mod budget;
mod connections;
mod correct;
mod hosts;
mod metrics;
mod options;
mod page;
mod problem;
mod request;
mod routes;
mod server;
mod stream;
mod turns;
mod worker;

pub use correct::{CorrectionServer, Desk, Save};
pub use options::{Limits, ServeError, ServerOptions};
pub use problem::{Kind, Problem};
pub use routes::ROUTES;
pub use server::{Server, Stopper, Summary};
