use std::io;
use std::path::PathBuf;

/// Why runs cannot be found, listed or changed.
#[derive(Debug, thiserror::Error)]
pub enum RunsError {
    /// No run is called so.
    #[error("no run, tag or group is called {wanted} in {}{}", runs.display(), nearest.as_ref().map(|near| format!("; did you mean {near}?")).unwrap_or_default())]
    NotFound {
        /// As given.
        wanted: String,
        /// Where runs are kept.
        runs: PathBuf,
        /// The newest run, to show what a name looks like; none where there is no run.
        nearest: Option<String>,
    },
    /// A name is that of several runs where one is wanted.
    #[error("{wanted} are {} runs: {}", found.len(), found.join(", "))]
    Ambiguous {
        /// As given.
        wanted: String,
        /// `DATASET/RUN` of each.
        found: Vec<String>,
    },
    /// The process of a run is alive.
    #[error("run {run} is running ({process}); wait for it, or stop that process")]
    Running {
        /// The run, or the group of runs.
        run: String,
        /// `process 123`, as it wrote itself.
        process: String,
    },
    /// A condition, a column or a key to sort by makes no sense.
    #[error("{0}")]
    Query(String),
    /// A line of a file of predictions is no record.
    #[error("{}:{line}: {message}", path.display())]
    Predictions {
        /// The file.
        path: PathBuf,
        /// From 1.
        line: usize,
        /// What is wrong.
        message: String,
    },
    /// polars failed.
    #[error(transparent)]
    Frame(#[from] polars::error::PolarsError),
    /// A file cannot be read or written.
    #[error(transparent)]
    Io(#[from] io::Error),
}
