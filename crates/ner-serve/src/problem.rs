use axum::body::Body;
use axum::http::{HeaderValue, Response, StatusCode, header};
use serde_json::json;

/// Why a request failed.
///
/// Sent as an `application/problem+json` body (RFC 9457). It contains only positions, numbers and names chosen by the
/// server, never parts of the request, which is a clinical text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    kind: Kind,
    detail: String,
}

/// Kinds of problems, which become `type` in the body: `about:blank` would add nothing to the status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The body is not UTF-8 or not JSON.
    Malformed,
    /// The body is JSON, but not a valid request.
    Invalid,
    /// The request names an unknown model.
    UnknownModel,
    /// The bearer token is missing or wrong.
    Unauthorized,
    /// There is nothing at this path.
    NotFound,
    /// The path does not support this method.
    MethodNotAllowed,
    /// The request's host name is not this server's.
    WrongHost,
    /// Another action was saved since the one that the request builds on.
    Conflict,
    /// The body did not arrive in time.
    SlowBody,
    /// The body is too large, or has too many documents.
    TooLarge,
    /// The content type is not JSON.
    UnsupportedMediaType,
    /// A server error.
    Internal,
    /// The server is at its limit of requests.
    Overloaded,
    /// The server is shutting down.
    ShuttingDown,
    /// The models took longer than a request may.
    TimedOut,
}

impl Kind {
    /// Name, status and title. One `match`, so that no kind is forgotten.
    const fn facts(self) -> (&'static str, StatusCode, &'static str) {
        match self {
            Self::Malformed => ("malformed", StatusCode::BAD_REQUEST, "The body cannot be parsed"),
            Self::Invalid => ("invalid", StatusCode::UNPROCESSABLE_ENTITY, "The body is not a valid request"),
            Self::UnknownModel => ("unknown-model", StatusCode::UNPROCESSABLE_ENTITY, "Unknown model"),
            Self::Unauthorized => ("unauthorized", StatusCode::UNAUTHORIZED, "A bearer token is needed"),
            Self::NotFound => ("not-found", StatusCode::NOT_FOUND, "There is nothing at this path"),
            Self::MethodNotAllowed => {
                ("method-not-allowed", StatusCode::METHOD_NOT_ALLOWED, "The path does not support this method")
            }
            Self::WrongHost => {
                ("wrong-host", StatusCode::MISDIRECTED_REQUEST, "The server does not serve that host name")
            }
            Self::Conflict => ("conflict", StatusCode::CONFLICT, "Another action was saved in the meantime"),
            Self::SlowBody => ("slow-body", StatusCode::REQUEST_TIMEOUT, "The body did not arrive in time"),
            Self::TooLarge => ("too-large", StatusCode::PAYLOAD_TOO_LARGE, "The request exceeds a limit"),
            Self::UnsupportedMediaType => {
                ("unsupported-media-type", StatusCode::UNSUPPORTED_MEDIA_TYPE, "The body must be JSON")
            }
            Self::Internal => ("internal", StatusCode::INTERNAL_SERVER_ERROR, "The server failed"),
            Self::Overloaded => ("overloaded", StatusCode::SERVICE_UNAVAILABLE, "Too many requests are in progress"),
            Self::ShuttingDown => ("shutting-down", StatusCode::SERVICE_UNAVAILABLE, "The server is shutting down"),
            Self::TimedOut => ("timed-out", StatusCode::GATEWAY_TIMEOUT, "The models took too long"),
        }
    }

    /// HTTP status.
    pub const fn status(self) -> StatusCode {
        self.facts().1
    }
}

/// Seconds after which an overloaded server may be asked again.
const RETRY_AFTER: &str = "1";

impl Problem {
    /// Creates a problem; `detail` must not quote the request.
    pub fn new(kind: Kind, detail: impl Into<String>) -> Self {
        Self { kind, detail: detail.into() }
    }

    /// Its kind.
    pub const fn kind(&self) -> Kind {
        self.kind
    }

    /// The response.
    pub fn response(&self) -> Response<Body> {
        let (name, status, title) = self.kind.facts();
        let body = json!({
            "type": format!("urn:medner:problem:{name}"),
            "title": title,
            "status": status.as_u16(),
            "detail": self.detail,
        });
        let mut response = Response::new(Body::from(body.to_string()));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        match self.kind {
            Kind::Overloaded | Kind::ShuttingDown => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from_static(RETRY_AFTER));
            }
            Kind::Unauthorized => {
                headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"medner\""));
            }
            // The rest of the body is not read.
            Kind::TooLarge | Kind::SlowBody => {
                headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
            _ => {}
        }
        response
    }
}
