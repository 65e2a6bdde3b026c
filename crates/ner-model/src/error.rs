use crate::checkpoint::CheckpointError;
use std::path::PathBuf;

/// Without a panic, such a document would have no mentions in silence.
pub(crate) const NOT_FINITE: &str = "the model computes numbers that are not finite";

/// Why a model cannot be loaded, built or saved.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// `config.json` does not describe a supported model.
    #[error("{}: {message}", path.display())]
    Config {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        message: String,
    },
    /// The weights do not match the configuration.
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
    /// The parameters lack one that the model needs.
    #[error("the parameter {0} is missing")]
    MissingParameter(String),
    /// The requested device or precision is not available.
    #[error("{wanted}: {message}")]
    Device {
        /// The requested device or precision.
        wanted: String,
        /// Why it is not available.
        message: String,
    },
}
