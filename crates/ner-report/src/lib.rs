//! Self-contained HTML pages and plots for people.
//!
//! Pages include their style and plots, contain no scripts and load nothing; a Content-Security-Policy enforces this.
//!
//! Where things are:
//! - [`corpus`]: the page about a corpus; [`corpus::summary`] is also its table in the terminal.
//! - [`runs`]: the page about one or several runs, from their predictions as offsets, with text if given.
//! - [`active`]: the page about a simulation of active learning.
//! - [`annotated`]: a page of highlighted texts, written as a stream; [`marked`]: one highlighted text.
//! - [`speed`]: plots of measurements as SVG files.
//! - `page.rs`, `templates/`: the frame of all pages: title, provenance, contents, sections of texts, tables and plots.
//! - `plot.rs`: SVG plots that use the font and colours of the page's style. [`number`]: number formats.
//!
//! This crate turns statistics and scores into text. It does not use files, the network or libtorch.

#![forbid(unsafe_code)]

pub mod active;
pub mod annotated;
pub mod corpus;
pub mod marked;
pub mod number;
mod page;
mod plot;
pub mod runs;
pub mod speed;

/// An error while making a page.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// A plot cannot be drawn.
    #[error("cannot draw a plot: {0}")]
    Plot(String),
    /// Mentions cannot be scored.
    #[error(transparent)]
    Score(ner_eval::ScoreError),
    /// The template failed.
    #[error(transparent)]
    Template(#[from] askama::Error),
}
