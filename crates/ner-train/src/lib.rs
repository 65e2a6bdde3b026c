//! Fine-tuning a classifier: the recipe, the loop, the optimiser, and the state that a run resumes from.
//!
//! [`Trainer`] yields steps; who calls it saves, logs and evaluates. This crate knows nothing of corpus formats, of the
//! network or of the command line.

mod arithmetic;
mod ema;
mod error;
mod examples;
mod grad_scaler;

mod optimizer;
mod recipe;
mod state;
mod trainer;

pub use ema::Ema;
pub use error::TrainError;
pub use examples::{Crop, TrainingDocument, TrainingSet};
pub use grad_scaler::GradScaler;
pub use optimizer::AdamW;
pub use documented::DocumentedFields;
pub use recipe::{HeadName, Recipe};
pub use state::{Progress, restore_state, save_state};
pub use trainer::{Step, Trainer, steps_of_epoch};
