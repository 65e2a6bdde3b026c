//! Errors, and whether a retry may help.

use std::io;

/// An error that the user must fix. An unreachable tracker only causes a warning and retries.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrackError {
    /// MLflow is requested, but no address is set.
    #[error("MLFLOW_TRACKING_URI is not set; set it to the server's address, for example http://127.0.0.1:5000")]
    NoServer,
    /// An address that is not HTTP.
    #[error("MLFLOW_TRACKING_URI = {uri}: only tracking servers at http:// or https:// are supported")]
    BadAddress {
        /// The given address, without password.
        uri: String,
    },
    /// `MEDNER_TRACK` contains an unknown tracker.
    #[error("MEDNER_TRACK = {value}: use mlflow, tensorboard, or both separated by a comma")]
    BadTracker {
        /// The given value.
        value: String,
    },
    /// The run was sent to another server.
    #[error(
        "the run was sent to {known}, but MLFLOW_TRACKING_URI is {named}; add --track mlflow to send it there, too"
    )]
    OtherServer {
        /// The earlier server.
        known: String,
        /// The server in the environment.
        named: String,
    },
    /// A file of the run cannot be read or written.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// Sending failed.
    #[error("{tracker}: {message}")]
    Unsent {
        /// The tracker.
        tracker: String,
        /// The message of the server or the connection.
        message: String,
        /// Whether a retry may succeed.
        passing: bool,
    },
}

impl TrackError {
    /// Whether the tracker is unreachable, so that other runs would fail, too.
    pub fn is_away(&self) -> bool {
        matches!(self, Self::Unsent { passing: true, .. })
    }
}

/// Why a tracker could not be updated.
#[derive(Debug)]
pub(crate) struct Failure {
    /// What failed.
    pub message: String,
    /// The server's `error_code`, if any.
    pub code: Option<String>,
    /// Whether a retry may succeed.
    pub passing: bool,
}

impl Failure {
    pub(crate) fn passing(message: impl Into<String>) -> Self {
        Self { message: message.into(), code: None, passing: true }
    }

    pub(crate) fn lasting(message: impl Into<String>) -> Self {
        Self { message: message.into(), code: None, passing: false }
    }

    pub(crate) fn is(&self, code: &str) -> bool {
        self.code.as_deref() == Some(code)
    }
}

impl From<io::Error> for Failure {
    /// Worth a retry: a full disk may be cleaned up, or a folder mounted again.
    fn from(error: io::Error) -> Self {
        Self::passing(error.to_string())
    }
}
