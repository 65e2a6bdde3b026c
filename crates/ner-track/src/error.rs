//! What can go wrong, and whether it passes.

use std::io;

/// What a person has to set right. A tracker that is down is none of these: it is said, and tried again.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrackError {
    /// MLflow is asked for and nothing says where it is.
    #[error("MLFLOW_TRACKING_URI is not set; set it to the address of the server, as in http://127.0.0.1:5000")]
    NoServer,
    /// An address that is no web server's.
    #[error("MLFLOW_TRACKING_URI = {uri}: medner speaks to tracking servers only, at http:// or https://")]
    BadAddress {
        /// As given, without a password.
        uri: String,
    },
    /// `MEDNER_TRACK` names no tracker.
    #[error("MEDNER_TRACK = {value}: trackers are mlflow and tensorboard, with a comma between them")]
    BadTracker {
        /// As given.
        value: String,
    },
    /// The run is at another server.
    #[error("it was sent to {known}, and MLFLOW_TRACKING_URI is {named}; --track mlflow sends it there, too")]
    OtherServer {
        /// Where it was sent.
        known: String,
        /// What the environment names.
        named: String,
    },
    /// A file of the run.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// What could not be sent.
    #[error("{tracker}: {message}")]
    Unsent {
        /// The tracker.
        tracker: String,
        /// What it or the way to it said.
        message: String,
        /// Whether another try may succeed.
        passing: bool,
    },
}

impl TrackError {
    /// Whether a tracker cannot be reached now, whichever run it is about.
    pub fn is_away(&self) -> bool {
        matches!(self, Self::Unsent { passing: true, .. })
    }
}

/// Why a tracker is not where the folder is.
#[derive(Debug)]
pub(crate) struct Failure {
    /// What failed.
    pub message: String,
    /// The server's `error_code`, where it gave one.
    pub code: Option<String>,
    /// Whether another try may succeed.
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
    /// A full disk may be emptied, and a folder be mounted again.
    fn from(error: io::Error) -> Self {
        Self::passing(error.to_string())
    }
}
