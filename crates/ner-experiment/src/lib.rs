//! Experiments: from a [`Plan`](plan::Plan) to a trained model, its scores and its run folder, without a command line.
//!
//! [`train::train`] does one training, [`seeds`] several with other seeds, [`sweep`] many with other recipes; [`active`] is
//! active learning with models. [`corpus`] finds corpora, [`models`] finds trained models, [`input`] reads texts of any
//! format. What a run was is in [`record`].

#![forbid(unsafe_code)]

pub mod active;
pub mod corpus;
pub mod input;
pub mod models;
pub mod plan;
pub mod predict;
pub mod prepare;
pub mod progress;
pub mod recipe_file;
pub mod record;
pub mod seeds;
pub mod sweep;
pub mod threshold;
pub mod tracking;
pub mod train;
