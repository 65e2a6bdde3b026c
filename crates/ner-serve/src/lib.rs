//! Annotation over HTTP: models that answer requests, a page to look at what they find, and what an operator needs
//! (health, metrics, limits, an end that loses nothing).
//!
//! [`CorrectionServer`] is another one, without models: a batch of active learning and the page to correct it.
//!
//! It knows nothing of the command line, of files and of how models are found: it is given an
//! [`Annotator`](ner_annotate::Annotator). A single thread owns the models and computes what several requests ask in one
//! batch; another serves all connections; what grows with a text in between (JSON, tokens) is done on a small pool.
//!
//! No text of a request reaches a log line, a metric or an error.

#![forbid(unsafe_code)]

mod answer;
mod correct;
mod metrics;
mod page;
mod problem;
mod request;
mod routes;
mod server;
mod stream;
mod worker;

pub use correct::{CorrectionServer, Desk, Save};
pub use problem::{Kind, Problem};
pub use routes::ROUTES;
pub use server::{Limits, ServeError, Server, ServerOptions, Stopper, Summary};
