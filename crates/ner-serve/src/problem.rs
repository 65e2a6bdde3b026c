use axum::body::Body;
use axum::http::{HeaderValue, Response, StatusCode, header};
use serde_json::json;

/// Why a request is not answered as it was meant.
///
/// It becomes an `application/problem+json` body (RFC 9457). Nothing of the request stands in it but positions, numbers
/// and what the server itself has named: a request is a clinical text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    kind: Kind,
    detail: String,
}

/// What can go wrong, as `type` in the body says it: `about:blank` would say no more than the status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The body is no UTF-8 or no JSON.
    Malformed,
    /// The body is JSON, but no request.
    Invalid,
    /// A model is asked for that is not there.
    UnknownModel,
    /// The bearer token is missing or another.
    Unauthorized,
    /// There is nothing at this path.
    NotFound,
    /// The path is there, but not for this method.
    MethodNotAllowed,
    /// The request was sent to a name that is not this server's.
    WrongHost,
    /// What the request builds on is not the last that was saved.
    Conflict,
    /// The body did not come in time.
    SlowBody,
    /// The body, or the number of documents, is over the limit.
    TooLarge,
    /// The body does not say that it is JSON.
    UnsupportedMediaType,
    /// A fault of the server.
    Internal,
    /// As many requests wait as may.
    Overloaded,
    /// The server ends.
    ShuttingDown,
    /// The models took longer than a request may take.
    TimedOut,
}

impl Kind {
    /// Name, status and title. One `match`, so that none is forgotten.
    const fn facts(self) -> (&'static str, StatusCode, &'static str) {
        match self {
            Self::Malformed => ("malformed", StatusCode::BAD_REQUEST, "The body cannot be read"),
            Self::Invalid => ("invalid", StatusCode::UNPROCESSABLE_ENTITY, "The body is no request"),
            Self::UnknownModel => ("unknown-model", StatusCode::UNPROCESSABLE_ENTITY, "There is no such model"),
            Self::Unauthorized => ("unauthorized", StatusCode::UNAUTHORIZED, "A bearer token is needed"),
            Self::NotFound => ("not-found", StatusCode::NOT_FOUND, "There is nothing at this path"),
            Self::MethodNotAllowed => {
                ("method-not-allowed", StatusCode::METHOD_NOT_ALLOWED, "The path is not for this method")
            }
            Self::WrongHost => {
                ("wrong-host", StatusCode::MISDIRECTED_REQUEST, "The server does not answer to that name")
            }
            Self::Conflict => ("conflict", StatusCode::CONFLICT, "Something else was saved in the meantime"),
            Self::SlowBody => ("slow-body", StatusCode::REQUEST_TIMEOUT, "The body did not come in time"),
            Self::TooLarge => ("too-large", StatusCode::PAYLOAD_TOO_LARGE, "The request is over a limit"),
            Self::UnsupportedMediaType => {
                ("unsupported-media-type", StatusCode::UNSUPPORTED_MEDIA_TYPE, "The body must be JSON")
            }
            Self::Internal => ("internal", StatusCode::INTERNAL_SERVER_ERROR, "The server failed"),
            Self::Overloaded => ("overloaded", StatusCode::SERVICE_UNAVAILABLE, "Too many requests wait"),
            Self::ShuttingDown => ("shutting-down", StatusCode::SERVICE_UNAVAILABLE, "The server ends"),
            Self::TimedOut => ("timed-out", StatusCode::GATEWAY_TIMEOUT, "The models took too long"),
        }
    }

    /// Status of the answer.
    pub const fn status(self) -> StatusCode {
        self.facts().1
    }
}

/// Seconds after which it is worth to ask an overloaded server again.
const RETRY_AFTER: &str = "1";

impl Problem {
    /// A problem; `detail` quotes nothing of the request.
    pub fn new(kind: Kind, detail: impl Into<String>) -> Self {
        Self { kind, detail: detail.into() }
    }

    /// What it is.
    pub const fn kind(&self) -> Kind {
        self.kind
    }

    /// The answer.
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
            // What the client still sends is not read.
            Kind::TooLarge | Kind::SlowBody => {
                headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
            _ => {}
        }
        response
    }
}
