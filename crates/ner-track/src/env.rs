//! Tracker settings from the environment, read once.

use crate::error::TrackError;
use serde::{Deserialize, Serialize};
use std::fmt;

/// A tracker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TrackerKind {
    /// An MLflow server, through its REST API.
    Mlflow,
    /// Event files in the run folder, for TensorBoard.
    Tensorboard,
}

/// Credentials for an MLflow server. Their `Debug` form hides them.
#[derive(Clone, PartialEq, Eq)]
pub enum Credentials {
    /// A token.
    Bearer(String),
    /// User name and password.
    Basic(String, String),
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials(…)")
    }
}

/// An MLflow server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MlflowServer {
    /// Its address, without credentials or trailing slash.
    pub uri: String,
    /// Sent only to this address.
    pub credentials: Option<Credentials>,
}

/// Environment settings of this crate.
///
/// | field | variables |
/// |---|---|
/// | `trackers` | `MEDNER_TRACK`: `mlflow`, `tensorboard`, or both, separated by a comma |
/// | `mlflow` | `MLFLOW_TRACKING_URI`; `MLFLOW_TRACKING_TOKEN`, else `MLFLOW_TRACKING_USERNAME` and `MLFLOW_TRACKING_PASSWORD`, else the user name and password in the address |
/// | `experiment` | `MLFLOW_EXPERIMENT_NAME` |
///
/// `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and `NO_PROXY` apply, except for a server on this machine.
#[derive(Clone, Debug, Default)]
pub struct Env {
    /// Trackers for every training.
    pub trackers: Vec<TrackerKind>,
    /// The MLflow server.
    pub mlflow: Option<MlflowServer>,
    /// MLflow experiment; by default the name of the corpus.
    pub experiment: Option<String>,
}

impl Env {
    /// Reads the environment of this process.
    ///
    /// # Errors
    /// If a variable is invalid.
    pub fn from_process() -> Result<Self, TrackError> {
        Self::from_lookup(|name| std::env::var(name).ok())
    }

    /// Like [`Env::from_process`], with another source of variables.
    ///
    /// # Errors
    /// If a variable is invalid.
    pub fn from_lookup(variable: impl Fn(&str) -> Option<String>) -> Result<Self, TrackError> {
        let get = |name: &str| variable(name).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty());
        let list = get("MEDNER_TRACK").unwrap_or_default();
        let trackers = list.split(',').map(str::trim).filter(|name| !name.is_empty()).map(|name| match name {
            "mlflow" => Ok(TrackerKind::Mlflow),
            "tensorboard" => Ok(TrackerKind::Tensorboard),
            _ => Err(TrackError::BadTracker { value: list.clone() }),
        });
        let trackers = trackers.collect::<Result<_, _>>()?;
        let mut mlflow = get("MLFLOW_TRACKING_URI").map(|uri| MlflowServer::new(&uri)).transpose()?;
        if let Some(server) = &mut mlflow {
            let basic = || Some(Credentials::Basic(get("MLFLOW_TRACKING_USERNAME")?, get("MLFLOW_TRACKING_PASSWORD")?));
            let named = get("MLFLOW_TRACKING_TOKEN").map(Credentials::Bearer).or_else(basic);
            server.credentials = named.or(server.credentials.take());
        }
        Ok(Self { trackers, mlflow, experiment: get("MLFLOW_EXPERIMENT_NAME") })
    }
}

impl MlflowServer {
    /// A server at an address, which may contain a user name and password.
    ///
    /// # Errors
    /// If it is not an HTTP address.
    pub fn new(uri: &str) -> Result<Self, TrackError> {
        let (scheme, rest) = uri.split_once("://").unwrap_or(("", uri));
        let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let (user, host) = match host.rsplit_once('@') {
            Some((user, host)) => (Some(user), host),
            None => (None, host),
        };
        if !matches!(scheme, "http" | "https") || host.is_empty() {
            let scheme = if scheme.is_empty() { String::new() } else { format!("{scheme}://") };
            return Err(TrackError::BadAddress { uri: format!("{scheme}{host}{path}") });
        }
        let decoded = |text: &str| percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned();
        let credentials = user.map(|user| {
            let (name, password) = user.split_once(':').unwrap_or((user, ""));
            Credentials::Basic(decoded(name), decoded(password))
        });
        Ok(Self { uri: format!("{scheme}://{host}{}", path.trim_end_matches('/')), credentials })
    }

    /// Whether the server is on this machine.
    pub(crate) fn is_loopback(&self) -> bool {
        let host = self.uri.split("://").nth(1).unwrap_or_default().split('/').next().unwrap_or_default();
        let name = match host.strip_prefix('[') {
            Some(v6) => v6.split(']').next().unwrap_or_default(),
            None => host.split(':').next().unwrap_or_default(),
        };
        name.eq_ignore_ascii_case("localhost") || name.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_taken_apart() {
        let check = |uri: &str, expected: &str, loopback| {
            let server = MlflowServer::new(uri).unwrap();
            assert_eq!((server.uri.as_str(), server.is_loopback()), (expected, loopback), "{uri}");
        };
        check("http://127.0.0.1:5000/", "http://127.0.0.1:5000", true);
        check("http://[::1]:5000", "http://[::1]:5000", true);
        check("http://localhost", "http://localhost", true);
        check("https://me:p%40ss@ml.example.org/flow/", "https://ml.example.org/flow", false);
        let server = MlflowServer::new("https://me:p%40ss@ml.example.org").unwrap();
        assert_eq!(server.credentials, Some(Credentials::Basic("me".into(), "p@ss".into())));
        assert!(!format!("{server:?}").contains("p@ss"));
        for bad in ["sqlite:///runs.db", "mlruns", "http://", "databricks", "ftp://me:secret@host"] {
            let message = MlflowServer::new(bad).unwrap_err().to_string();
            assert!(message.contains("http://") && !message.contains("secret"), "{message}");
        }
    }

    #[test]
    fn variables_are_read() {
        let env = |variables: &[(&str, &str)]| {
            Env::from_lookup(|name| variables.iter().find(|(n, _)| *n == name).map(|(_, value)| (*value).to_owned()))
        };
        let uri = ("MLFLOW_TRACKING_URI", "http://a:b@h");
        let credentials = |variables: &[(&str, &str)]| env(variables).unwrap().mlflow.unwrap().credentials;
        assert_eq!(credentials(&[uri]), Some(Credentials::Basic("a".into(), "b".into())));
        let named = [uri, ("MLFLOW_TRACKING_USERNAME", "u"), ("MLFLOW_TRACKING_PASSWORD", "p")];
        assert_eq!(credentials(&named), Some(Credentials::Basic("u".into(), "p".into())));
        assert_eq!(credentials(&[uri, ("MLFLOW_TRACKING_TOKEN", "t")]), Some(Credentials::Bearer("t".into())));
        let both = env(&[("MEDNER_TRACK", "mlflow, tensorboard")]).unwrap().trackers;
        assert_eq!(both, [TrackerKind::Mlflow, TrackerKind::Tensorboard]);
        assert!(env(&[("MEDNER_TRACK", "wandb")]).is_err());
    }
}
