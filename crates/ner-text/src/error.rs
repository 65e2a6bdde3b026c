use std::path::PathBuf;

/// Why a text cannot be encoded.
#[derive(Debug, thiserror::Error)]
pub enum TokenizeError {
    /// A file of the tokenizer is invalid or incomplete.
    #[error("{}: {message}", path.display())]
    Files {
        /// The file or folder.
        path: PathBuf,
        /// What is wrong with it.
        message: String,
    },
    /// A file cannot be read.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// A document cannot be tokenized.
    #[error("document {document}: {message}")]
    Document {
        /// The document's id.
        document: String,
        /// Why not.
        message: String,
    },
}
