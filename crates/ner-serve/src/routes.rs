//! Routes of the annotation server.

use crate::answer::Answer;
use crate::budget::{Budget, Share};
use crate::connections::Connection;
use crate::hosts;
use crate::metrics::{self, Metrics};
use crate::options::{Limits, ServerOptions};
use crate::page::{self, CONTENT_SECURITY_POLICY};
use crate::problem::{Kind, Problem};
use crate::request::{Asked, ModelFacts, VocabularyFacts};
use crate::turns::Turns;
use crate::worker::{Arriving, Computed, Held, Job};
use axum::Router;
use axum::body::{Body, Bytes};
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
use tokio::sync::{Semaphore, oneshot};
use tokio::task::AbortHandle;
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
    pub vocabularies: Vec<VocabularyFacts>,
    pub encoders: Tokenizers,
    pub jobs: mpsc::Sender<Job>,
    pub arriving: Arc<Arriving>,
    /// One permit per request in progress.
    pub queue: Arc<Semaphore>,
    /// Bytes of all request bodies and answers together.
    pub bytes: Arc<Budget>,
    /// Bytes of the bodies whose tokens are in memory.
    pub turns: Turns,
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
        .route("/openapi.json", get(|| async { json_response(openapi().to_string()) }));
    for (path, media_type, contents) in page::FILES {
        router = router.route(path, get(move || async move { page::file(media_type, contents) }));
    }
    router
        .fallback(|| async { Problem::new(Kind::NotFound, "see GET /openapi.json for the paths").response() })
        .layer(from_fn_with_state(shared.clone(), watch))
        .with_state(shared)
}

/// Whether a path is answered when all connections are in use.
pub fn is_probe(path: &str) -> bool {
    ["/healthz", "/readyz"].contains(&path)
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
    } else if let Err(problem) = hosts::check(&shared.options, request.uri(), request.headers()) {
        problem.response()
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
        Ok((answer, bytes)) => {
            let mut response = Response::new(sent(answer.body, bytes));
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

/// A body whose bytes are counted until they are sent.
pub fn sent(body: Vec<u8>, mut bytes: Share) -> Body {
    struct Sent(Vec<u8>, #[allow(dead_code, reason = "counts the bytes until it is dropped")] Share);
    impl AsRef<[u8]> for Sent {
        fn as_ref(&self) -> &[u8] {
            &self.0
        }
    }
    bytes.hold(body.capacity());
    Body::from(Bytes::from_owner(Sent(body, bytes)))
}

async fn answer(shared: &Arc<Shared>, request: Request, documents: &mut usize) -> Result<(Answer, Share), Problem> {
    let arriving = shared.arriving.begin();
    let limits = &shared.options.limits;
    let (body, bytes) = read_json(limits, &shared.bytes, request).await?;
    let place = shared.queue.clone().try_acquire_owned().map_err(|_| {
        let detail = format!("{} requests are already in progress", limits.queue);
        Problem::new(Kind::Overloaded, detail)
    })?;
    let until = tokio::time::Instant::now() + limits.time;
    let too_long = |_| Problem::new(Kind::TimedOut, format!("longer than {} s", limits.time.as_secs_f64()));
    let is_gone = || Problem::new(Kind::Internal, "the work on the request failed");

    let turn = timeout_at(until, shared.turns.of(body.len())).await.map_err(too_long)?.map_err(|_| is_gone())?;
    let (reply, computed) = oneshot::channel();
    let (reading, held) = (shared.clone(), Held { _permits: [place, turn], bytes });
    // The work owns the permits and ends by itself once `computed` is dropped, which is when the client disconnects or
    // its time is over.
    tokio::task::spawn_blocking(move || {
        prepare(&reading, body, held, reply);
        drop(arriving);
    });
    let computed = timeout_at(until, computed).await.map_err(too_long)?.map_err(|_| is_gone())?;
    let Computed { found, wishes, held } = computed?;
    *documents = found.len();
    shared.documents.fetch_add(*documents as u64, Ordering::Relaxed);
    let writing = shared.clone();
    off_the_network(move || {
        // All of it: the request keeps its place and its turn while the answer is written.
        let held = held;
        let answer = Answer::write(&wishes, &writing.models, found)?;
        Ok((answer, held.bytes))
    })
    .await
}

/// Bytes of text that are tokenized together. In between, others get the processors and a request without a client ends.
const TOKENIZED_TOGETHER: usize = 256 << 10;

/// Reads and tokenizes a request and gives it to the models.
fn prepare(shared: &Shared, body: Vec<u8>, held: Held, reply: oneshot::Sender<Result<Computed, Problem>>) {
    let prepared = || {
        if reply.is_closed() {
            return Ok(None);
        }
        let Asked { documents, wishes } = Asked::read(&body, &shared.models, shared.options.limits.documents)?;
        drop(body);
        let mut waiting = VecDeque::with_capacity(documents.len());
        let mut documents = documents.into_iter().peekable();
        while documents.peek().is_some() {
            if reply.is_closed() {
                return Ok(None);
            }
            let (mut together, mut bytes) = (Vec::new(), 0);
            while bytes < TOKENIZED_TOGETHER
                && let Some(document) = documents.next()
            {
                bytes += document.text.len();
                together.push(document);
            }
            let prepared = shared.encoders.prepare_for(together, |at| wishes.models.contains(&at));
            waiting.extend(prepared.map_err(|_| Problem::new(Kind::Internal, "a tokenizer failed"))?);
        }
        Ok(Some((waiting, wishes)))
    };
    match prepared() {
        // If the models are gone, the dropped reply says so.
        Ok(Some((waiting, wishes))) => {
            let found = Vec::with_capacity(waiting.len());
            let _ = shared.jobs.send(Job { waiting, found, wishes, reply, held });
        }
        Ok(None) => {}
        Err(problem) => {
            let _ = reply.send(Err(problem));
        }
    }
}

/// Runs work that grows with the text on another thread, so that the connection thread never waits for it. Work that
/// has not begun when its client disconnects never begins.
pub async fn off_the_network<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Problem> + Send + 'static,
) -> Result<T, Problem> {
    struct Abort(AbortHandle);
    impl Drop for Abort {
        fn drop(&mut self) {
            self.0.abort();
        }
    }
    let task = tokio::task::spawn_blocking(work);
    let _abort = Abort(task.abort_handle());
    task.await.unwrap_or_else(|_| Err(Problem::new(Kind::Internal, "internal work failed")))
}

/// Checks that a body is JSON in UTF-8, and not compressed.
fn check_media_type(headers: &HeaderMap) -> Result<(), Problem> {
    let of = |name| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let mut parts = of(header::CONTENT_TYPE).split(';').map(str::trim);
    let refused = |detail| Err(Problem::new(Kind::UnsupportedMediaType, detail));
    if !parts.next().unwrap_or_default().eq_ignore_ascii_case("application/json") {
        return refused("send `Content-Type: application/json`");
    }
    let charset =
        parts.filter_map(|part| part.split_once('=')).find(|(name, _)| name.trim().eq_ignore_ascii_case("charset"));
    if charset.is_some_and(|(_, value)| !value.trim().trim_matches('"').eq_ignore_ascii_case("utf-8")) {
        return refused("JSON is always UTF-8; send the body in UTF-8, without another `charset`");
    }
    if headers.contains_key(header::CONTENT_ENCODING) && !of(header::CONTENT_ENCODING).eq_ignore_ascii_case("identity")
    {
        return refused("compressed bodies are not read; send the body without `Content-Encoding`");
    }
    Ok(())
}

/// Bytes above the limit that are read and discarded, as a multiple of the limit: some clients read the response only
/// after sending the whole body.
const LINGER: usize = 8;

/// Bytes of a body that a client must send in a given time.
const STEP: usize = 64 << 10;

/// Reads a request's JSON, and counts its bytes. From then on the request is accepted.
///
/// # Errors
/// If the body is too large, too slow or not JSON.
pub async fn read_json(limits: &Limits, all: &Arc<Budget>, request: Request) -> Result<(Vec<u8>, Share), Problem> {
    let (head, body) = request.into_parts();
    let read = read_body(limits, all, body).await;
    if let Some(connection) = head.extensions.get::<Arc<Connection>>() {
        connection.accepted();
    }
    let read = read?;
    // A foreign page can make a browser send plain text without a preflight request, but not JSON.
    check_media_type(&head.headers)?;
    Ok(read)
}

async fn read_body(limits: &Limits, all: &Arc<Budget>, mut body: Body) -> Result<(Vec<u8>, Share), Problem> {
    let begin = tokio::time::Instant::now();
    let (mut step, mut in_step) = (begin, 0);
    let (mut bytes, mut share, mut problem, mut over) = (Vec::new(), all.share(), None, 0);
    loop {
        let until = (begin + limits.body_time).min(step + limits.body_step_time);
        let slow = |_| {
            let (all, step) = (limits.body_time.as_secs_f64(), limits.body_step_time.as_secs_f64());
            Problem::new(Kind::SlowBody, format!("longer than {all} s, or than {step} s for {} KiB", STEP >> 10))
        };
        let Some(frame) = timeout_at(until, body.frame()).await.map_err(slow)? else { break };
        let broken =
            |_| Problem::new(Kind::Malformed, "the connection was lost, or the HTTP framing of the body is invalid");
        let Ok(data) = frame.map_err(broken)?.into_data() else { continue };
        in_step += data.len();
        if in_step >= STEP {
            (step, in_step) = (tokio::time::Instant::now(), 0);
        }
        if problem.is_none() && bytes.len() + data.len() > limits.body {
            problem = Some(Problem::new(Kind::TooLarge, format!("the body has more than {} bytes", limits.body)));
        }
        if problem.is_none() {
            if share.try_add(data.len()) {
                bytes.extend_from_slice(&data);
            } else {
                problem = Some(Problem::new(Kind::Overloaded, "other requests use all the memory"));
            }
        }
        if problem.is_some() {
            (bytes, share, over) = (Vec::new(), all.share(), over + data.len());
            if over > LINGER * limits.body {
                break;
            }
        }
    }
    match problem {
        Some(problem) => Err(problem),
        None if bytes.is_empty() => Err(Problem::new(Kind::Malformed, "the body is empty")),
        None => Ok((bytes, share)),
    }
}

async fn models(State(shared): State<Arc<Shared>>) -> Response<Body> {
    let limits = &shared.options.limits;
    let facts = json!({
        "version": env!("CARGO_PKG_VERSION"),
        "models": shared.models,
        "vocabularies": shared.vocabularies,
        "limits": {
            "body_bytes": limits.body,
            "documents": limits.documents,
            "queue_requests": limits.queue,
            "seconds": limits.time.as_secs_f64(),
        },
    });
    json_response(facts.to_string())
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

pub fn json_response(body: impl Into<Body>) -> Response<Body> {
    let mut response = Response::new(body.into());
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
