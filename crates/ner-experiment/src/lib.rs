//! Experiments: from a [`Plan`](plan::Plan) to a trained model, its scores and its run folder, without a command line.
//!
//! Where things are:
//! - [`plan`], [`recipe_file`]: a resolved training, and recipes as TOML.
//! - [`corpus`], [`models`], [`input`]: find corpora, trained models, and texts in any format.
//! - [`train`]: one training ([`train::train`]), with [`prepare`], [`predict`] and [`threshold`] as its steps.
//! - [`pretrain`]: masked-language-model training on plain text, which [`texts`] reads. [`overlap`]: documents that are in
//!   an evaluation split.
//! - [`auxiliary`]: further corpora with heads of their own. [`teacher`]: models whose probabilities another learns.
//! - [`assertion`]: the task of saying whether a patient has what a mention names.
//! - [`share`]: a model with its card, as a folder for others.
//! - [`life`]: how a run that trains begins, goes on and ends.
//! - [`seeds`], [`sweep`]: groups of trainings with several seeds or recipes.
//! - [`linking`]: scores of links to vocabularies. [`reranker`]: trains and opens rerankers of links.
//! - [`shards`]: a collection dealt out to processes, and the check of their outputs.
//! - [`record`]: `run.json`. [`tracking`], [`progress`]: trackers and progress bars.
//! - [`active`]: active learning with models: selection, batches, the loop, and its simulation. Its `acquisition.rs`
//!   computes the inputs for the formulas of `ner-active`.

#![forbid(unsafe_code)]

pub mod active;
pub mod assertion;
pub mod auxiliary;
pub mod corpus;
pub mod input;
pub mod life;
pub mod linking;
pub mod models;
pub mod overlap;
pub mod plan;
pub mod predict;
pub mod prepare;
pub mod pretrain;
pub mod progress;
pub mod recipe_file;
pub mod record;
pub mod reranker;
pub mod seeds;
pub mod shards;
pub mod share;
pub mod sweep;
pub mod teacher;
pub mod texts;
pub mod threshold;
pub mod tracking;
pub mod train;
