//! HTTP calls to an MLflow server: JSON, files, and error responses.

use crate::env::{Credentials, MlflowServer};
use crate::error::Failure;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use fs_err::File;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use std::time::Duration;
use ureq::Body;
use ureq::http::Response;
use ureq::http::header::{AUTHORIZATION, CONTENT_TYPE};
use ureq::tls::{RootCerts, TlsConfig};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Timeout of a whole call. A late response is requested again.
const CALL_TIMEOUT: Duration = Duration::from_secs(30);
/// Slowest supported upload rate for files, in bytes per second.
const SLOWEST: u64 = 50_000;
/// Characters kept in a path (RFC 3986, section 2.3), and slashes.
const PATH: AsciiSet = NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/');
const LONGEST_MESSAGE: usize = 300;

/// A connection to one server.
pub(crate) struct Client {
    agent: ureq::Agent,
    uri: String,
    authorization: Option<String>,
}

impl Client {
    pub(crate) fn new(server: &MlflowServer) -> Self {
        let mut config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            // A redirect could take the credentials to another server.
            .max_redirects(0)
            .max_redirects_will_error(false)
            .user_agent(concat!("medner/", env!("CARGO_PKG_VERSION")))
            .timeout_connect(Some(CONNECT_TIMEOUT))
            .timeout_global(Some(CALL_TIMEOUT))
            .tls_config(TlsConfig::builder().root_certs(RootCerts::PlatformVerifier).build());
        if server.is_loopback() {
            config = config.proxy(None);
        }
        let authorization = server.credentials.as_ref().map(|credentials| match credentials {
            Credentials::Bearer(token) => format!("Bearer {token}"),
            Credentials::Basic(name, password) => {
                format!("Basic {}", BASE64_STANDARD.encode(format!("{name}:{password}")))
            }
        });
        Self { agent: config.build().new_agent(), uri: server.uri.clone(), authorization }
    }

    /// `GET /api/2.0/mlflow/{call}`.
    pub(crate) fn get(&self, call: &str, query: &[(&str, &str)]) -> Result<Value, Failure> {
        let mut request = self.agent.get(format!("{}/api/2.0/mlflow/{call}", self.uri));
        for (name, value) in query {
            request = request.query(name, value);
        }
        if let Some(authorization) = &self.authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        answer(call, request.call())
    }

    /// `POST /api/2.0/mlflow/{call}`.
    pub(crate) fn post(&self, call: &str, body: &Value) -> Result<Value, Failure> {
        let mut request = self.agent.post(format!("{}/api/2.0/mlflow/{call}", self.uri));
        if let Some(authorization) = &self.authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        let body = serde_json::to_vec(body).map_err(|error| Failure::lasting(error.to_string()))?;
        answer(call, request.header(CONTENT_TYPE, "application/json").send(&body))
    }

    /// Uploads a file to the server's artifact store at the path `place`.
    pub(crate) fn put(&self, place: &str, file: &File) -> Result<(), Failure> {
        let path = utf8_percent_encode(place, &PATH);
        let bytes = file.metadata()?.len();
        let mut request = self.agent.put(format!("{}/api/2.0/mlflow-artifacts/artifacts/{path}", self.uri));
        if let Some(authorization) = &self.authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        let timeout = CALL_TIMEOUT + Duration::from_secs(bytes / SLOWEST);
        let request = request.config().timeout_global(Some(timeout)).build();
        let sent = request.header(CONTENT_TYPE, "application/octet-stream").send(file.file());
        answer(&format!("uploading {place}"), sent).map(|_| ())
    }
}

/// The JSON of a response; null if it has none.
fn answer(what: &str, response: Result<Response<Body>, ureq::Error>) -> Result<Value, Failure> {
    let mut response = response.map_err(|error| Failure::passing(format!("{what}: {error}")))?;
    let status = response.status().as_u16();
    let text = response.body_mut().read_to_string();
    if status == 200 {
        let text = text.map_err(|error| Failure::passing(format!("{what}: {error}")))?;
        // Uploads return an object, or nothing with some stores.
        return match text.trim() {
            "" => Ok(Value::Null),
            text => serde_json::from_str(text).map_err(|_| {
                Failure::lasting(format!("{what}: the response is not JSON; is MLFLOW_TRACKING_URI an MLflow server?"))
            }),
        };
    }
    let body: Value = text.ok().and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default();
    let message: String = body["message"].as_str().unwrap_or_default().chars().take(LONGEST_MESSAGE).collect();
    let hint = match status {
        401 | 403 => "; check MLFLOW_TRACKING_TOKEN, or MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD",
        300..=399 => "; the server redirects: set MLFLOW_TRACKING_URI to its final address",
        _ => "",
    };
    Err(Failure {
        message: format!("{what}: status {status} {message}{hint}"),
        code: body["error_code"].as_str().map(str::to_owned),
        passing: status >= 500 || matches!(status, 408 | 425 | 429),
    })
}
