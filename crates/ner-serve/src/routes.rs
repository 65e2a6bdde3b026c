//! Routes of the annotation server.

use crate::answer::Answer;
use crate::metrics::{self, Metrics};
use crate::options::{Limits, ServerOptions};
use crate::page::{self, CONTENT_SECURITY_POLICY};
use crate::problem::{Kind, Problem};
use crate::request::{Asked, ModelFacts};
use crate::worker::{Arriving, Job};
use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::IntoResponse;
use axum::routing::{get, post};
use http_body_util::BodyExt;
use ner_annotate::Tokenizers;
use serde_json::json;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Instant;
use subtle::ConstantTimeEq;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::time::timeout_at;
use tracing::info;

/// All paths with their methods.
pub const ROUTES: [(&str, &str); 9] = [
    ("post", "/v1/annotate"),
    ("get", "/v1/models"),
    ("get", "/healthz"),
    ("get", "/readyz"),
    ("get", "/metrics"),
    ("get", "/openapi.json"),
    ("get", "/"),
    ("get", "/page.js"),
    ("get", "/page.css"),
];

/// Name of unknown paths in logs and metrics: a made-up path could contain anything.
const OTHER: &str = "other";

/// Paths that require the token, if one is set. The others reveal nothing about texts or load.
const GUARDED: [&str; 3] = ["/v1/annotate", "/v1/models", "/metrics"];

/// State shared by all requests.
pub struct Shared {
    pub options: ServerOptions,
    pub models: Vec<ModelFacts>,
    pub encoders: Tokenizers,
    pub jobs: mpsc::Sender<Job>,
    pub arriving: Arc<Arriving>,
    /// One permit per request in progress.
    pub queue: Arc<Semaphore>,
    /// One permit per byte of all request bodies together.
    pub bytes: Arc<Semaphore>,
    pub metrics: Arc<Metrics>,
    /// Whether the server is shutting down, so that clients should disconnect.
    pub is_ending: AtomicBool,
    pub answered: AtomicU64,
    pub abandoned: AtomicU64,
    pub documents: AtomicU64,
}

/// Number of documents of a request, for the log.
#[derive(Clone, Copy)]
struct Documents(usize);

/// The router of all paths.
pub fn router(shared: Arc<Shared>) -> Router {
    let mut router = Router::new()
        .route("/v1/annotate", post(annotate))
        .route("/v1/models", get(models))
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(numbers))
        .route("/openapi.json", get(|| async { json_response(openapi()) }));
    for (path, media_type, contents) in page::FILES {
        router = router.route(path, get(move || async move { page::file(media_type, contents) }));
    }
    router
        .fallback(|| async { Problem::new(Kind::NotFound, "see GET /openapi.json for the paths").response() })
        .layer(from_fn_with_state(shared.clone(), watch))
        .with_state(shared)
}

/// Name of a request's method in logs: a made-up method could contain anything.
pub fn method_name(request: &Request) -> &'static str {
    match *request.method() {
        Method::GET => "GET",
        Method::POST => "POST",
        Method::HEAD => "HEAD",
        _ => "OTHER",
    }
}

/// Wraps every request: token, response headers, log and metrics.
async fn watch(State(shared): State<Arc<Shared>>, request: Request, next: Next) -> Response<Body> {
    let begin = Instant::now();
    let method = method_name(&request);
    let path = ROUTES.iter().map(|&(_, path)| path).find(|&path| path == request.uri().path()).unwrap_or(OTHER);
    let mut watched = Watched { shared: &shared, is_answered: false };
    let mut response = if GUARDED.contains(&path) && !is_allowed(&shared.options, request.headers()) {
        Problem::new(Kind::Unauthorized, "send it as `Authorization: Bearer TOKEN`").response()
    } else {
        next.run(request).await
    };
    finish(&mut response, &shared.is_ending);
    watched.is_answered = true;
    drop(watched);
    let (status, time) = (response.status().as_u16(), begin.elapsed());
    shared.metrics.answered(path, status, time);
    let milliseconds = time.as_secs_f64() * 1e3;
    match response.extensions().get::<Documents>() {
        Some(Documents(count)) => info!("{method} {path} {status}, {count} documents, {milliseconds:.1} ms"),
        None => info!("{method} {path} {status}, {milliseconds:.1} ms"),
    }
    response
}

/// Headers common to all responses of both servers.
pub fn finish(response: &mut Response<Body>, is_ending: &AtomicBool) {
    if response.status() == StatusCode::METHOD_NOT_ALLOWED {
        let allow = response.headers().get(header::ALLOW).cloned();
        *response = Problem::new(Kind::MethodNotAllowed, "see the header `Allow`").response();
        response.headers_mut().extend(allow.map(|allow| (header::ALLOW, allow)));
    }
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    if is_ending.load(Ordering::Relaxed) {
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
}

/// Counts a request at its end: answered, or dropped because the client disconnected.
struct Watched<'s> {
    shared: &'s Shared,
    is_answered: bool,
}

impl Drop for Watched<'_> {
    fn drop(&mut self) {
        if self.is_answered {
            self.shared.answered.fetch_add(1, Ordering::Relaxed);
        } else {
            self.shared.abandoned.fetch_add(1, Ordering::Relaxed);
            self.shared.metrics.abandoned();
        }
    }
}

/// Whether a request has the token, compared in constant time.
pub fn is_allowed(options: &ServerOptions, headers: &HeaderMap) -> bool {
    let Some(token) = &options.token else { return true };
    let given =
        headers.get(header::AUTHORIZATION).map(HeaderValue::as_bytes).and_then(|value| value.split_at_checked(7));
    let Some((scheme, given)) = given else { return false };
    scheme.eq_ignore_ascii_case(b"bearer ") && given.ct_eq(token.as_bytes()).into()
}

async fn annotate(State(shared): State<Arc<Shared>>, request: Request) -> Response<Body> {
    let mut documents = 0;
    let mut response = match answer(&shared, request, &mut documents).await {
        Ok(answer) => {
            let mut response = Response::new(Body::from(answer.body));
            let headers = response.headers_mut();
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(answer.media_type));
            if answer.lost_or_moved > 0 {
                headers.insert("medner-lost-or-moved", HeaderValue::from(answer.lost_or_moved));
            }
            response
        }
        Err(problem) => problem.response(),
    };
    response.extensions_mut().insert(Documents(documents));
    response
}

async fn answer(shared: &Arc<Shared>, request: Request, documents: &mut usize) -> Result<Answer, Problem> {
    let arriving = shared.arriving.begin();
    let limits = &shared.options.limits;
    let is_json = is_json(request.headers());
    let (body, bytes) = read_body(limits, &shared.bytes, request.into_body()).await?;
    // A foreign page can make a browser send plain text without a preflight request, but not JSON.
    if !is_json {
        return Err(Problem::new(Kind::UnsupportedMediaType, "send `Content-Type: application/json`"));
    }
    let place = shared.queue.clone().try_acquire_owned().map_err(|_| {
        let detail = format!("{} requests are already in progress", limits.queue);
        Problem::new(Kind::Overloaded, detail)
    })?;
    let until = tokio::time::Instant::now() + limits.time;
    let too_long = |_| Problem::new(Kind::TimedOut, format!("longer than {} s", limits.time.as_secs_f64()));

    let reading = shared.clone();
    let read = off_the_network(move || {
        let Asked { documents, wishes } = Asked::read(&body, &reading.models, reading.options.limits.documents)?;
        let prepared = reading.encoders.prepare_for(documents, |at| wishes.models.contains(&at));
        let prepared = prepared.map_err(|_| Problem::new(Kind::Internal, "a tokenizer failed"))?;
        Ok((VecDeque::from(prepared), wishes))
    });
    let (waiting, wishes) = timeout_at(until, read).await.map_err(too_long)??;
    *documents = waiting.len();
    let (reply, found) = oneshot::channel();
    let job = Job { found: Vec::with_capacity(waiting.len()), waiting, reply, _places: [place, bytes] };
    let is_gone = |_| Problem::new(Kind::Internal, "the models are no longer running");
    shared.jobs.send(job).map_err(|_| is_gone(()))?;
    drop(arriving);
    let found = timeout_at(until, found).await.map_err(too_long)?.map_err(|_| is_gone(()))?;
    let found = found.map_err(|_| Problem::new(Kind::Internal, "the models failed on the batch with this request"))?;
    shared.documents.fetch_add(*documents as u64, Ordering::Relaxed);
    let writing = shared.clone();
    off_the_network(move || Answer::write(&wishes, &writing.models, found)).await
}

/// Runs work that grows with the text on another thread, so that the connection thread never waits for it.
pub async fn off_the_network<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Problem> + Send + 'static,
) -> Result<T, Problem> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(_) => Err(Problem::new(Kind::Internal, "internal work failed")),
    }
}

pub fn is_json(headers: &HeaderMap) -> bool {
    let named = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let media_type = named.split(';').next().unwrap_or_default().trim();
    media_type.eq_ignore_ascii_case("application/json")
}

/// Bytes above the limit that are read and discarded, as a multiple of the limit: some clients read the response only
/// after sending the whole body.
const LINGER: usize = 8;

/// Reads a body, and takes a permit of `all` for each of its bytes.
pub async fn read_body(
    limits: &Limits,
    all: &Arc<Semaphore>,
    mut body: Body,
) -> Result<(Vec<u8>, OwnedSemaphorePermit), Problem> {
    let until = tokio::time::Instant::now() + limits.body_time;
    let (mut bytes, mut places, mut problem, mut over) = (Vec::new(), None::<OwnedSemaphorePermit>, None, 0);
    loop {
        let slow = |_| Problem::new(Kind::SlowBody, format!("longer than {} s", limits.body_time.as_secs_f64()));
        let Some(frame) = timeout_at(until, body.frame()).await.map_err(slow)? else { break };
        let broken =
            |_| Problem::new(Kind::Malformed, "the connection was lost, or the HTTP framing of the body is invalid");
        let Ok(data) = frame.map_err(broken)?.into_data() else { continue };
        if problem.is_none() && bytes.len() + data.len() > limits.body {
            problem = Some(Problem::new(Kind::TooLarge, format!("the body has more than {} bytes", limits.body)));
        }
        if problem.is_none() {
            match all.clone().try_acquire_many_owned(data.len() as u32) {
                Ok(more) => {
                    bytes.extend_from_slice(&data);
                    match &mut places {
                        Some(places) => places.merge(more),
                        None => places = Some(more),
                    }
                }
                Err(_) => problem = Some(Problem::new(Kind::Overloaded, "bodies of other requests use all the memory")),
            }
        }
        if problem.is_some() {
            (bytes, places, over) = (Vec::new(), None, over + data.len());
            if over > LINGER * limits.body {
                break;
            }
        }
    }
    match (problem, places) {
        (Some(problem), _) => Err(problem),
        (None, Some(places)) => Ok((bytes, places)),
        (None, None) => Err(Problem::new(Kind::Malformed, "the body is empty")),
    }
}

async fn models(State(shared): State<Arc<Shared>>) -> Response<Body> {
    let limits = &shared.options.limits;
    json_response(json!({
        "version": env!("CARGO_PKG_VERSION"),
        "models": shared.models,
        "limits": {
            "body_bytes": limits.body,
            "documents": limits.documents,
            "queue_requests": limits.queue,
            "seconds": limits.time.as_secs_f64(),
        },
    }))
}

/// Readiness: whether to send requests here. The models are loaded before the first connection.
async fn ready(State(shared): State<Arc<Shared>>) -> Response<Body> {
    if shared.is_ending.load(Ordering::Relaxed) {
        return Problem::new(Kind::ShuttingDown, "it is finishing its requests").response();
    }
    "ok\n".into_response()
}

async fn numbers(State(shared): State<Arc<Shared>>) -> Response<Body> {
    let waiting = shared.options.limits.queue - shared.queue.available_permits();
    let mut response = Response::new(Body::from(shared.metrics.text(waiting)));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(metrics::MEDIA_TYPE));
    response
}

pub fn json_response(value: serde_json::Value) -> Response<Body> {
    let mut response = Response::new(Body::from(value.to_string()));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// The OpenAPI 3.1 description of the interface.
fn openapi() -> serde_json::Value {
    let mut description: serde_json::Value =
        serde_json::from_str(include_str!("openapi.json")).expect("a test reads the same file");
    description["info"]["version"] = env!("CARGO_PKG_VERSION").into();
    description
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_description_names_every_route_and_no_other() {
        let description = openapi();
        let paths = description["paths"].as_object().expect("paths");
        let named = |path: &str| {
            paths[path]
                .as_object()
                .expect("methods")
                .keys()
                .map(|method| (method.clone(), path.to_owned()))
                .collect::<Vec<_>>()
        };
        let mut named: Vec<(String, String)> = paths.keys().flat_map(|path| named(path)).collect();
        let mut routes = ROUTES.map(|(method, path)| (method.to_owned(), path.to_owned()));
        named.sort();
        routes.sort();
        assert_eq!(named, routes);
        // Every reference leads somewhere.
        let text = description.to_string();
        for reference in text.split("\"$ref\":\"#").skip(1) {
            let pointer = reference.split('"').next().expect("a pointer");
            assert!(description.pointer(pointer).is_some(), "{pointer}");
        }
    }

    #[test]
    fn the_page_asks_for_nothing_from_elsewhere_and_holds_nothing_that_the_policy_forbids() {
        let html = page::FILES[0].2;
        for word in ["http:", "https:", "//", "<style", " style=", " onclick", "javascript:", "data:"] {
            assert!(!html.contains(word), "{word}");
        }
        assert_eq!(html.matches("<script").count(), html.matches("<script src=\"page.js\"").count());
    }

    #[test]
    fn tokens_are_compared_whole() {
        let check = |token: Option<&str>, header: Option<&str>, expected: bool| {
            let options = ServerOptions { token: token.map(str::to_owned), ..ServerOptions::default() };
            let mut headers = HeaderMap::new();
            headers.extend(header.map(|value| (header::AUTHORIZATION, HeaderValue::from_str(value).expect("a value"))));
            assert_eq!(is_allowed(&options, &headers), expected, "{token:?} {header:?}");
        };
        check(None, None, true);
        for (header, expected) in [
            (None, false),
            (Some("Bearer secret"), true),
            (Some("bearer secret"), true),
            (Some("Bearer secre"), false),
            (Some("Bearer secrets"), false),
            (Some("Bearer "), false),
            (Some("Bearer"), false),
            (Some("Basic secret"), false),
        ] {
            check(Some("secret"), header, expected);
        }
    }
}
