use crate::checkpoint::CheckpointError;
use std::path::PathBuf;

/// Why a model cannot be loaded, built or saved.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// `config.json` does not describe a model that we compute.
    #[error("{}: {message}", path.display())]
    Config {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        message: String,
    },
    /// The weights do not fit the configuration.
    #[error("{}: {message}", path.display())]
    Weights {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        message: String,
    },
    /// The weights file cannot be read or written.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The tokenizer cannot be loaded, or fails.
    #[error(transparent)]
    Tokenizer(#[from] ner_text::TokenizeError),
    /// Another file cannot be read or written.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// A model was built over parameters that lack one of its own.
    #[error("the parameter {0} is missing")]
    MissingParameter(String),
    /// The device or precision asked for is not to be had.
    #[error("{wanted}: {message}")]
    Device {
        /// What was asked for.
        wanted: String,
        /// Why it is not there.
        message: String,
    },
}
