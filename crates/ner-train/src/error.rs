use ner_model::ModelError;
use std::path::PathBuf;

/// Why training cannot start or continue.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    /// A value of the recipe is invalid.
    #[error("{0}")]
    Recipe(String),
    /// The loss or the gradient is infinite or not a number.
    #[error(
        "the {what} is {value} at step {step}, in a batch with documents {}; try a lower learning rate or --precision fp32, \
         and continue from the last epoch with --resume",
        documents.join(", ")
    )]
    NotFinite {
        /// `loss` or `gradient`.
        what: &'static str,
        /// Its value.
        value: f64,
        /// The step, from 1.
        step: usize,
        /// Ids of the documents in the batch.
        documents: Vec<String>,
    },
    /// The model failed.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// A saved state does not match the run that resumes from it.
    #[error("{}: {message}", path.display())]
    State {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        message: String,
    },
    /// A file cannot be read or written.
    #[error(transparent)]
    Io(#[from] std::io::Error),
}
