//! Fine-tunes a classifier: the recipe, the training loop, the optimiser, and the state from which a run resumes.
//!
//! [`Trainer`] yields steps; the caller evaluates, logs and saves between them. This crate does not depend on corpus
//! formats, the network or the command line.
//!
//! # Where things are
//! - `recipe.rs`: [`Recipe`], all hyperparameters and their checks.
//! - `examples.rs`: documents as word pieces with labels, cut into new crops in each epoch: single sentences by
//!   default, runs of sentences or whole documents by option.
//! - `trainer.rs`: the loop; one optimisation step fits on a screen.
//! - `names.rs`: training an encoder to bring the names of a concept together.
//! - `optimizer.rs`: AdamW; `ema.rs`: the moving average of the weights; `grad_scaler.rs`: the loss scale of fp16;
//!   `arithmetic.rs`: sums for all three.
//! - `state.rs`: the state that a resumed run reads.
//! - [`pretrain`]: masked-language-model training on plain text.

mod arithmetic;
mod ema;
mod error;
mod examples;
mod grad_scaler;
mod names;
mod optimizer;
pub mod pretrain;
mod recipe;
mod state;
mod trainer;

pub use documented::DocumentedFields;
pub use ema::Ema;
pub use error::TrainError;
pub use examples::{Crop, TrainingDocument, TrainingSet};
pub use grad_scaler::GradScaler;
pub use names::{NameRecipe, loss_of_names, train_names};
pub use optimizer::AdamW;
pub use recipe::{HeadName, Recipe};
pub use state::{Progress, restore_state, save_state};
pub use trainer::{Further, FurtherTask, Step, Trainer, steps_of_epoch};
