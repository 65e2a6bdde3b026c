//! Pages and plots for people: self-contained HTML.
//!
//! A page holds its style and its plots, no script, and asks for nothing from anywhere; its Content-Security-Policy
//! says so to the browser. This crate turns statistics and scores into text. It knows nothing of files, of the network or of
//! libtorch.

#![forbid(unsafe_code)]

pub mod active;
pub mod annotated;
pub mod corpus;
pub mod number;
mod page;
mod plot;
pub mod runs;
pub mod speed;

/// Why a page cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// A plot cannot be drawn.
    #[error("a plot cannot be drawn: {0}")]
    Plot(String),
    /// Mentions cannot be scored.
    #[error(transparent)]
    Score(ner_eval::ScoreError),
    /// The template failed.
    #[error(transparent)]
    Template(#[from] askama::Error),
}
