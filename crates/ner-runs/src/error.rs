use std::io;
use std::path::PathBuf;

/// An error of the store of runs.
#[derive(Debug, thiserror::Error)]
pub enum RunsError {
    /// No run has this name.
    #[error("no run, tag or group {wanted} in {}{}", runs.display(), nearest.as_ref().map(|near| format!("; the newest run is {near}")).unwrap_or_default())]
    NotFound {
        /// The given name.
        wanted: String,
        /// Folder of the runs.
        runs: PathBuf,
        /// The newest run, as an example; `None` without runs.
        nearest: Option<String>,
    },
    /// A name matches several runs, but one is needed.
    #[error("{wanted} matches {} runs: {}", found.len(), found.join(", "))]
    Ambiguous {
        /// The given name.
        wanted: String,
        /// `DATASET/RUN` of each match.
        found: Vec<String>,
    },
    /// Another process is running the run.
    #[error("run {run} is running ({process}); wait for it, or stop that process")]
    Running {
        /// The run, or group of runs.
        run: String,
        /// `process 123`, as it identified itself.
        process: String,
    },
    /// An invalid condition, column or sort key.
    #[error("{0}")]
    Query(String),
    /// An invalid line in a predictions file.
    #[error("{}:{line}: {message}", path.display())]
    Predictions {
        /// The file.
        path: PathBuf,
        /// Line number, from 1.
        line: usize,
        /// The problem.
        message: String,
    },
    /// polars failed.
    #[error(transparent)]
    Frame(#[from] polars::error::PolarsError),
    /// A file cannot be read or written.
    #[error(transparent)]
    Io(#[from] io::Error),
}
