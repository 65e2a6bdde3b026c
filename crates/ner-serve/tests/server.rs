//! A server on loopback with a tiny pseudo-random model: responses, errors, shutdown.

#![allow(clippy::unwrap_used, reason = "helpers of tests may unwrap as tests do")]

#[path = "../../medner/tests/tiny/mod.rs"]
mod tiny;

use ner_annotate::{Annotator, MergedMention, Model};
use ner_model::Recognizer;
use ner_serve::{Limits, ROUTES, ServeError, Server, ServerOptions, Stopper, Summary};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{LazyLock, Mutex, Once};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};
use tch::{Device, Kind};

/// Part of the texts, which must not appear anywhere else.
const SECRET: &str = "naloxone";

static FOLDER: LazyLock<tempfile::TempDir> = LazyLock::new(|| {
    let folder = tempfile::tempdir().unwrap();
    tiny::model(&folder.path().join("first"), ["Disease", "Drug"], 0.5);
    tiny::model(&folder.path().join("second"), ["Disease", "Organ"], 1.7);
    folder
});

fn annotator() -> Annotator {
    let load = |name: &str| {
        let recognizer = Recognizer::load(&FOLDER.path().join(name), Device::Cpu, Kind::Float).unwrap();
        let mut model = Model::new(name, recognizer);
        model.categories.0.insert("Disease".into(), "problem".into());
        model
    };
    Annotator::new(vec![load("first"), load("second")])
}

/// The log of this process.
static LOG: Mutex<Vec<u8>> = Mutex::new(Vec::new());

struct Log;

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        LOG.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

struct Running {
    address: SocketAddr,
    stopper: Stopper,
    thread: Option<JoinHandle<Summary>>,
}

impl Running {
    fn start(options: ServerOptions) -> Self {
        Self::serving(annotator(), options)
    }

    fn serving(annotator: Annotator, options: ServerOptions) -> Self {
        static LOGGED: Once = Once::new();
        LOGGED.call_once(|| {
            tracing_subscriber::fmt()
                .with_max_level(tracing_subscriber::filter::LevelFilter::TRACE)
                .with_writer(|| Log)
                .init();
        });
        let server = Server::bind(annotator, "127.0.0.1:0".parse().unwrap(), options).unwrap();
        let (address, stopper) = (server.address(), server.stopper());
        Self { address, stopper, thread: Some(thread::spawn(move || server.run().unwrap())) }
    }

    fn with(limits: Limits) -> Self {
        Self::start(ServerOptions { limits, ..ServerOptions::default() })
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    fn post(&self, body: impl AsRef<[u8]>) -> Reply {
        post(&agent(), &self.url("/v1/annotate"), body.as_ref()).unwrap()
    }

    fn get(&self, path: &str) -> Reply {
        Reply::of(agent().get(self.url(path)).call().unwrap())
    }

    /// Sends raw bytes and reads until the server closes.
    fn raw(&self, bytes: &[u8]) -> String {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        // The server may close before it has read all.
        let _ = stream.write_all(bytes);
        let mut text = Vec::new();
        let _ = stream.read_to_end(&mut text);
        String::from_utf8_lossy(&text).into_owned()
    }

    fn end(mut self) -> Summary {
        self.stopper.stop();
        self.thread.take().unwrap().join().unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stopper.stop();
    }
}

#[derive(Debug)]
struct Reply {
    status: u16,
    headers: BTreeMap<String, String>,
    body: String,
}

impl Reply {
    fn of(mut response: ureq::http::Response<ureq::Body>) -> Self {
        let header = |(name, value): (&ureq::http::HeaderName, &ureq::http::HeaderValue)| {
            (name.to_string(), value.to_str().unwrap().to_owned())
        };
        let headers = response.headers().iter().map(header).collect();
        let body = response.body_mut().with_config().limit(1 << 30).read_to_string().unwrap();
        Self { status: response.status().as_u16(), headers, body }
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }

    /// Checks that it is a problem of a kind; returns its detail.
    fn problem(&self, status: u16, name: &str) -> String {
        assert_eq!(self.status, status, "{self:?}");
        assert_eq!(self.headers["content-type"], "application/problem+json");
        let body = self.json();
        assert_eq!((&body["status"], &body["type"]), (&status.into(), &format!("urn:medner:problem:{name}").into()));
        assert!(!self.body.contains(SECRET), "{self:?}");
        body["detail"].as_str().unwrap().to_owned()
    }
}

fn agent() -> ureq::Agent {
    ureq::Agent::config_builder().http_status_as_error(false).build().into()
}

fn post(agent: &ureq::Agent, url: &str, body: &[u8]) -> Result<Reply, ureq::Error> {
    Ok(Reply::of(agent.post(url).content_type("application/json").send(body)?))
}

/// The parts that must be equal: all except confidences, which other matrix products may round differently.
fn bare(mention: &Value) -> Value {
    let mut bare = mention.clone();
    bare.as_object_mut().unwrap().remove("confidence");
    bare
}

fn expected(text: &str, findings: &[MergedMention]) -> Vec<Value> {
    let index = ner_data::CharIndex::new(text);
    let row = |finding: &MergedMention| {
        json!({
            "start": finding.span.start, "end": finding.span.end, "text": index.slice(text, finding.span),
            "type": finding.entity_type, "category": finding.category, "models": finding.models,
        })
    };
    findings.iter().map(row).collect()
}

fn text(number: usize) -> String {
    let odd = ["caf\u{e9} 👩\u{200d}🔬 fever", "\tabc\r\n\r\ndef", "中文 12 mg", "", "e\u{301} x\u{200b}y"][number % 5];
    format!("No {number} {odd} of {SECRET}. {}", "a quick brown fox, 12 mg. ".repeat(number % 4))
}

#[test]
fn concurrent_answers_are_those_of_the_library() {
    const CLIENTS: usize = 32;
    const REQUESTS: usize = 8;
    let annotator = annotator();
    let texts: Vec<String> = (0..CLIENTS * REQUESTS).map(text).collect();
    let wanted: Vec<Vec<MergedMention>> = texts.iter().map(|text| annotator.annotate(text).unwrap()).collect();
    assert!(wanted.iter().map(Vec::len).sum::<usize>() > texts.len());
    let server = Running::start(ServerOptions::default());
    thread::scope(|scope| {
        for client in 0..CLIENTS {
            let (texts, wanted, url) = (&texts, &wanted, server.url("/v1/annotate"));
            scope.spawn(move || {
                let agent = agent();
                for number in (client * REQUESTS..).take(REQUESTS) {
                    let body =
                        json!({ "documents": [{ "id": "x", "text": texts[number] }, { "text": texts[client] }] });
                    let reply = post(&agent, &url, body.to_string().as_bytes()).unwrap();
                    assert_eq!(reply.status, 200);
                    let answer = reply.json();
                    assert_eq!((&answer["offsets"], &answer["models"]), (&"chars".into(), &json!(["first", "second"])));
                    for (at, id, number) in [(0, "x", number), (1, "2", client)] {
                        let document = &answer["documents"][at];
                        let mentions = document["mentions"].as_array().unwrap();
                        assert_eq!(document["id"], id);
                        assert_eq!(
                            mentions.iter().map(bare).collect::<Vec<_>>(),
                            expected(&texts[number], &wanted[number])
                        );
                        for (mention, finding) in mentions.iter().zip(&wanted[number]) {
                            let difference =
                                mention["confidence"].as_f64().unwrap() - f64::from(finding.confidence.value());
                            assert!(difference.abs() < 1e-4, "{difference}");
                        }
                    }
                }
            });
        }
    });
    let (mut asked, mut numbers) = (1, server.get("/metrics"));
    // A request leaves the queue's count only after its response was sent.
    while !numbers.body.contains("medner_queue_requests 0\n") && asked < 100 {
        thread::sleep(Duration::from_millis(20));
        (asked, numbers) = (asked + 1, server.get("/metrics"));
    }
    assert_eq!(numbers.headers["content-type"].split(';').next(), Some("application/openmetrics-text"));
    for line in [
        "medner_documents_total 512",
        "medner_queue_requests 0",
        "medner_http_requests_total{path=\"/v1/annotate\",status=\"200\"} 256",
    ] {
        assert!(numbers.body.contains(line), "{line}: {}", numbers.body);
    }
    // Requests were batched: fewer batches than requests.
    let batches = numbers.body.lines().find_map(|line| line.strip_prefix("medner_batch_documents_count ")).unwrap();
    assert!(batches.parse::<usize>().unwrap() < CLIENTS * REQUESTS, "{batches}");
    let requests = (CLIENTS * REQUESTS) as u64;
    assert_eq!(server.end(), Summary { answered: requests + asked, abandoned: 0, documents: 2 * requests });
    assert!(!numbers.body.contains(SECRET));
    let log = String::from_utf8(LOG.lock().unwrap().clone()).unwrap();
    assert!(log.contains("POST /v1/annotate 200, 2 documents, ") && !log.contains(SECRET));
}

#[test]
fn options_of_a_request() {
    let server = Running::start(ServerOptions::default());
    let text = "é 👩\u{200d}🔬 The quick brown fox, 12 mg of abc. Jumps over lazy dogs 34, and so on.";
    let ask = |more: Value| {
        let mut body = json!({ "text": text });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let reply = server.post(body.to_string());
        assert_eq!(reply.status, 200, "{reply:?}");
        reply
    };
    let mentions = |more: Value| ask(more).json()["documents"][0]["mentions"].as_array().unwrap().clone();
    let all = mentions(json!({}));
    let number = |mention: &Value, key: &str| mention[key].as_u64().unwrap() as usize;
    for mention in mentions(json!({ "offsets": "bytes" })) {
        assert_eq!(text.get(number(&mention, "start")..number(&mention, "end")), mention["text"].as_str());
    }
    let confidence = |mention: &Value| mention["confidence"].as_f64().unwrap();
    let least = all.iter().map(confidence).sum::<f64>() / all.len() as f64;
    let sure = mentions(json!({ "min_confidence": least }));
    assert!(!sure.is_empty() && sure.len() < all.len() && sure.iter().all(|mention| confidence(mention) >= least));
    let marked = mentions(json!({ "min_confidence": least, "all_spans": true }));
    assert_eq!(marked.iter().filter(|mention| mention.get("below_threshold").is_none()).count(), sure.len());
    assert!(
        mentions(json!({ "min_confidence": { "*": 1.0, "Organ": 0.0 } }))
            .iter()
            .all(|mention| mention["type"] == "Organ")
    );
    let problems = mentions(json!({ "categories": ["problem"] }));
    assert!(!problems.is_empty() && problems.iter().all(|mention| mention["type"] == "Disease"));
    let second = mentions(json!({ "models": ["second"] }));
    assert!(!second.is_empty() && second.iter().all(|mention| mention["models"] == json!(["second"])));
    for (format, sign) in
        [("jsonl", "{\"id\":\"1\""), ("bioc-xml", "<?xml"), ("bioc-json", "{"), ("pubtator", "1|t|"), ("conll", "")]
    {
        let reply = ask(json!({ "format": format }));
        assert!(reply.body.starts_with(sign), "{reply:?}");
        assert!(format != "pubtator" || reply.body.contains("\tDisease"), "{reply:?}");
    }
    assert_eq!(server.post(r#"{"documents": []}"#).json()["documents"], json!([]));
    assert_eq!(server.post(r#"{"text": ""}"#).json()["documents"][0]["mentions"], json!([]));
}

#[test]
fn what_the_text_says_of_a_mention() {
    let folder = tempfile::tempdir().unwrap();
    // With this phase, the model finds `fever` in the text below.
    tiny::model(folder.path(), ["Disease", "Drug"], 15.6);
    let annotator = || {
        let recognizer = Recognizer::load(folder.path(), Device::Cpu, Kind::Float).unwrap();
        let mut annotator = Annotator::new(vec![Model::new("m", recognizer)]);
        annotator.make_assertable("Disease").unwrap();
        annotator
    };
    let rules = ner_context::ContextRules::builtin();
    let server = Running::serving(annotator().with_context(rules), ServerOptions::default());
    let text = "No fever.";
    let ask = |more: Value| {
        let mut body = json!({ "text": text });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        server.post(body.to_string())
    };
    let mut mention = ask(json!({})).json()["documents"][0]["mentions"][0].clone();
    for confidence in [mention["confidence"].take(), mention["assertion"]["confidence"].take()] {
        assert!(confidence.as_f64().is_some_and(|value| 0.0 < value && value <= 1.0), "{confidence}");
    }
    let mut expected = json!({
        "start": 3, "end": 8, "text": "fever", "type": "Disease", "category": null, "confidence": null, "models": ["m"],
        "assertion": {
            "value": "absent", "historical": false, "cue": { "start": 0, "end": 2, "text": "No" }, "confidence": null,
        },
    });
    assert_eq!(mention, expected);
    assert_eq!(server.get("/v1/models").json()["models"][0]["assertable"], json!(["Disease"]));
    // The description names every key of the answer.
    let description = server.get("/openapi.json").json();
    for (schema, object) in [("Mention", &expected), ("Assertion", &expected["assertion"])] {
        let properties = &description["components"]["schemas"][schema]["properties"];
        assert!(object.as_object().unwrap().keys().all(|key| properties.get(key).is_some()), "{schema}");
    }

    let mut without = ask(json!({ "assertion": false })).json()["documents"][0]["mentions"][0].clone();
    without["confidence"].take();
    expected.as_object_mut().unwrap().remove("assertion");
    assert_eq!(without, expected);
    for (assertion, count) in [(true, 2), (false, 0)] {
        let file = ask(json!({ "format": "bioc-json", "assertion": assertion })).body;
        assert_eq!(file.matches("absent").count() + file.matches("assertion_cue").count(), count, "{file}");
    }
    // A server without rules has nothing to give.
    let bare = Running::serving(annotator(), ServerOptions::default());
    assert_eq!(bare.get("/v1/models").json()["models"][0]["assertable"], json!([]));
    bare.post(r#"{"text": "No fever.", "assertion": true}"#).problem(422, "invalid");
}

#[test]
fn each_fault_has_its_answer_and_the_server_stays_up() {
    let limits = Limits {
        body: 10_000,
        documents: 3,
        body_time: Duration::from_millis(300),
        head_time: Duration::from_millis(300),
        ..Limits::default()
    };
    let server = Running::with(limits);
    let secret = format!("{{\"text\": \"{SECRET}");
    server.post(&secret).problem(400, "malformed");
    server.post("").problem(400, "malformed");
    let detail = server.post([secret.as_bytes(), b"\xff\"}"].concat()).problem(400, "malformed");
    assert_eq!(detail, format!("byte {} of the body is not UTF-8", secret.len()));
    server.post(format!("{{\"min_confidence\": {}", "{\"a\":".repeat(1000))).problem(422, "invalid");
    server.post(format!("[\"{SECRET}\"]")).problem(422, "invalid");
    let detail = server.post(format!("{{\"text\": \"a\", \"models\": [\"{SECRET}\"]}}")).problem(422, "unknown-model");
    assert_eq!(detail, "`models[0]` is unknown; there are first, second");
    server.post(format!("{secret}{}\"}}", "a".repeat(10_000))).problem(413, "too-large");
    // Far over the limit, so that the client still writes when the response is there.
    server.post(format!("{secret}{}\"}}", "a".repeat(70_000))).problem(413, "too-large");
    server.post(r#"{"documents": [{"text":""},{"text":""},{"text":""},{"text":""}]}"#).problem(413, "too-large");
    let plain = agent().post(server.url("/v1/annotate")).content_type("text/plain").send(r#"{"text": "a"}"#).unwrap();
    Reply::of(plain).problem(415, "unsupported-media-type");
    let wrong = server.get("/v1/annotate");
    wrong.problem(405, "method-not-allowed");
    assert_eq!(wrong.headers["allow"], "POST");
    server.get(&format!("/{SECRET}")).problem(404, "not-found");

    let other = |name: &str, value: &str| {
        let request = agent().post(server.url("/v1/annotate")).header("content-type", "application/json");
        Reply::of(request.header(name, value).send(r#"{"text": "a"}"#).unwrap())
    };
    assert!(other("content-encoding", "gzip").problem(415, "unsupported-media-type").contains("Content-Encoding"));
    assert_eq!(other("content-encoding", "identity").status, 200);
    let latin = agent().post(server.url("/v1/annotate")).content_type("application/json; charset=latin1");
    Reply::of(latin.send(r#"{"text": "a"}"#).unwrap()).problem(415, "unsupported-media-type");
    let detail = server.post(format!("{{\"text\": \"a\", \"text\": \"{SECRET}\"}}")).problem(422, "invalid");
    assert!(detail.contains("same key twice"), "{detail}");

    let head = "POST /v1/annotate HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n";
    // A body that stops, a wrongly framed body, a head that stops, and bytes that are not HTTP.
    assert!(server.raw(format!("{head}Content-Length: 100\r\n\r\n{{\"text\"").as_bytes()).starts_with("HTTP/1.1 408"));
    assert!(
        server.raw(format!("{head}Transfer-Encoding: chunked\r\n\r\nxyz\r\n").as_bytes()).starts_with("HTTP/1.1 400")
    );
    let begin = Instant::now();
    server.raw(head.as_bytes());
    assert!(begin.elapsed() > Duration::from_millis(200));
    server.raw(&[0xff; 100]);
    server.raw(format!("GET /{SECRET}{} HTTP/1.1\r\n\r\n", "a".repeat(1 << 20)).as_bytes());
    let large_head = format!("{head}Cookie: {}\r\n\r\n", "a".repeat(17 << 10));
    assert!(server.raw(large_head.as_bytes()).starts_with("HTTP/1.1 431"));
    // Clients that disconnect.
    for _ in 0..20 {
        let mut stream = TcpStream::connect(server.address).unwrap();
        let _ = stream.write_all(format!("{head}Content-Length: 13\r\n\r\n{{\"text\": \"a\"}}").as_bytes());
    }
    assert_eq!(server.post(r#"{"text": "a"}"#).status, 200);
    server.end();
    assert!(!String::from_utf8_lossy(&LOG.lock().unwrap()).contains(SECRET));
}

fn long(words: usize) -> String {
    json!({ "text": "a quick brown fox, 12 mg. ".repeat(words) }).to_string()
}

#[test]
fn an_overloaded_server_says_so_at_once_and_recovers() {
    let server = Running::with(Limits { queue: 1, ..Limits::default() });
    thread::scope(|scope| {
        let first = scope.spawn(|| server.post(long(20_000)));
        while !server.get("/metrics").body.contains("medner_queue_requests 1") {
            assert!(!first.is_finished(), "it was too quick for the test");
        }
        let refused = server.post(r#"{"text": "a"}"#);
        assert!(!first.is_finished(), "it was too quick for the test");
        refused.problem(503, "overloaded");
        assert_eq!(refused.headers["retry-after"], "1");
        assert_eq!((server.get("/healthz").status, server.get("/readyz").status), (200, 200));
        assert_eq!(first.join().unwrap().status, 200);
    });
    assert_eq!(server.post(r#"{"text": "a"}"#).status, 200);

    // Limited by the bytes of bodies.
    let server = Running::with(Limits { bodies: 1000, ..Limits::default() });
    server.post(long(1000)).problem(503, "overloaded");
    assert_eq!(server.post(long(1)).status, 200);

    // A request that takes too long is answered in time, and its remaining documents are not computed.
    let server = Running::with(Limits { time: Duration::from_millis(100), ..Limits::default() });
    server.post(long(20_000)).problem(504, "timed-out");
    let recovered = (0..600).any(|_| {
        thread::sleep(Duration::from_millis(50));
        server.post(r#"{"text": "a"}"#).status == 200
    });
    assert!(recovered);
}

#[test]
fn an_end_under_load_loses_nothing_that_was_accepted() {
    let server = Running::start(ServerOptions::default());
    let answered = AtomicUsize::new(0);
    let (answered, url) = (&answered, server.url("/v1/annotate"));
    let summary = thread::scope(|scope| {
        for client in 0..16 {
            let url = &url;
            scope.spawn(move || {
                let agent = agent();
                for number in client.. {
                    let body = json!({ "text": text(number) }).to_string();
                    // Once the server has stopped listening, the request was not accepted.
                    match post(&agent, url, body.as_bytes()) {
                        Ok(reply) => assert_eq!(reply.status, 200),
                        Err(_) => break,
                    }
                    answered.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        while answered.load(Ordering::Relaxed) < 100 {
            thread::sleep(Duration::from_millis(5));
        }
        server.end()
    });
    let answered = answered.load(Ordering::Relaxed) as u64;
    assert_eq!(summary, Summary { answered, abandoned: 0, documents: answered });
}

#[test]
fn who_is_let_in() {
    let anywhere: SocketAddr = "0.0.0.0:0".parse().unwrap();
    let bind = |token: Option<&str>, open_without_token: bool, address: SocketAddr| {
        let options = ServerOptions { token: token.map(str::to_owned), open_without_token, ..ServerOptions::default() };
        Server::bind(annotator(), address, options).err()
    };
    assert!(matches!(bind(None, false, anywhere), Some(ServeError::TokenNeeded(_))));
    assert!(matches!(bind(Some(""), false, anywhere), Some(ServeError::BadToken)));
    assert!(matches!(bind(Some("a\nb"), true, "127.0.0.1:0".parse().unwrap()), Some(ServeError::BadToken)));
    assert!(bind(None, true, anywhere).is_none() && bind(Some("secret"), false, anywhere).is_none());
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    assert!(matches!(bind(None, false, taken.local_addr().unwrap()), Some(ServeError::Listen { .. })));

    let server = Running::start(ServerOptions { token: Some("secret".into()), ..ServerOptions::default() });
    for (_, path) in ROUTES {
        let reply = server.get(path);
        match path {
            "/v1/annotate" | "/v1/models" | "/metrics" => {
                reply.problem(401, "unauthorized");
                assert_eq!(reply.headers["www-authenticate"], "Bearer realm=\"medner\"");
            }
            _ => assert_eq!(reply.status, 200, "{path}"),
        }
        for (name, part) in [("content-security-policy", "default-src 'none'"), ("x-content-type-options", "nosniff")] {
            assert!(reply.headers[name].contains(part), "{reply:?}");
        }
    }
    let with =
        |token: &str| Reply::of(agent().get(server.url("/v1/models")).header("Authorization", token).call().unwrap());
    with("Bearer other").problem(401, "unauthorized");
    let models = with("Bearer secret").json();
    assert_eq!(models["models"][0]["types"], json!(["Disease", "Drug"]));
    assert_eq!(models["models"][1]["categories"], json!({ "Disease": "problem" }));
    assert_eq!(server.get("/openapi.json").json()["openapi"], "3.1.0");
    assert!(server.get("/").body.contains("not a medical"));
}

/// The server's value of a metric without labels.
fn metric(server: &Running, name: &str) -> usize {
    let numbers = server.get("/metrics").body;
    numbers.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')).unwrap().parse().unwrap()
}

fn wait_for(condition: impl Fn() -> bool) {
    for _ in 0..3000 {
        if condition() {
            return;
        }
        thread::sleep(Duration::from_millis(20));
    }
    panic!("it did not happen within a minute");
}

/// Sends a whole request and returns its connection.
fn sent(server: &Running, body: &str) -> TcpStream {
    let mut stream = TcpStream::connect(server.address).unwrap();
    let head = "POST /v1/annotate HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n";
    stream.write_all(format!("{head}Content-Length: {}\r\n\r\n{body}", body.len()).as_bytes()).unwrap();
    stream
}

#[test]
fn requests_that_are_given_up_are_not_computed_and_hold_nothing() {
    const GIVEN_UP: usize = 30;
    // Long enough for minutes of computing; only one of them fits into memory with its tokens.
    let body = long(100_000);
    let limits = Limits { bodies: 3 * body.len(), body: body.len(), queue: 4, ..Limits::default() };
    let server = Running::with(limits);
    let first = sent(&server, &body);
    wait_for(|| metric(&server, "medner_queue_requests") == 1);
    drop(first);
    for _ in 0..GIVEN_UP {
        drop(sent(&server, &body));
    }
    wait_for(|| metric(&server, "medner_queue_requests") == 0);
    // All bytes are free, so that as many fit as at first.
    let all: Vec<TcpStream> = (0..3).map(|_| sent(&server, &body)).collect();
    wait_for(|| metric(&server, "medner_queue_requests") == 3);
    drop(all);
    wait_for(|| metric(&server, "medner_queue_requests") == 0);
    assert_eq!(server.post(r#"{"text": "a"}"#).status, 200);
    assert_eq!(metric(&server, "medner_documents_total"), 1);
    assert_eq!(server.end().documents, 1);
}

#[test]
fn slow_connections_keep_nobody_out() {
    let slow = |server: &Running, number: usize| {
        let mut stream = TcpStream::connect(server.address).unwrap();
        let head = ["GET /", "POST /v1/annotate HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{"];
        stream.write_all(head[number % 2].as_bytes()).unwrap();
        stream
    };
    let server = Running::with(Limits { connections: 4, ..Limits::default() });
    let _slow: Vec<TcpStream> = (0..40).map(|number| slow(&server, number)).collect();
    assert_eq!(server.get("/healthz").status, 200);
    // At first, the slow clients have time to send their requests.
    wait_for(|| server.post(r#"{"text": "a"}"#).status == 200);

    // While requests use all connections, only probes are answered.
    let server = Running::with(Limits { connections: 1, ..Limits::default() });
    let mut accepted = sent(&server, &long(20_000));
    let refused = server.get("/v1/models");
    refused.problem(503, "overloaded");
    assert_eq!((refused.headers["retry-after"].as_str(), refused.headers["connection"].as_str()), ("1", "close"));
    assert_eq!((server.get("/healthz").status, server.get("/readyz").status), (200, 200));
    let mut status = [0; 12];
    accepted.read_exact(&mut status).unwrap();
    assert_eq!(&status, b"HTTP/1.1 200");
    drop(accepted);
    wait_for(|| server.get("/v1/models").status == 200);

    // An end waits for what was accepted, and not for slow clients.
    let server = Running::start(ServerOptions::default());
    let _slow: Vec<TcpStream> = (0..40).map(|number| slow(&server, number)).collect();
    let mut accepted = sent(&server, &long(10_000));
    wait_for(|| metric(&server, "medner_queue_requests") == 1);
    let reading = thread::spawn(move || {
        let mut answer = Vec::new();
        accepted.read_to_end(&mut answer).unwrap();
        answer
    });
    let begin = Instant::now();
    server.end();
    assert!(begin.elapsed() < Limits::default().head_time);
    let answer = reading.join().unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 200") && answer.ends_with(b"}]}"));
}

#[test]
fn foreign_host_names_are_refused() {
    let ask = |server: &Running, target: &str, host: &str| {
        server.raw(format!("GET {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").as_bytes())
    };
    let server = Running::start(ServerOptions { host_names: vec!["ward.example".into()], ..ServerOptions::default() });
    for (_, path) in ROUTES {
        let answer = ask(&server, path, "evil.example");
        assert!(answer.starts_with("HTTP/1.1 421") && answer.contains("--host-name"), "{path}: {answer}");
    }
    for host in [server.address.to_string(), "localhost".into(), "ward.example:80".into()] {
        assert!(ask(&server, "/v1/models", &host).starts_with("HTTP/1.1 200"), "{host}");
    }
    assert!(ask(&server, "http://evil.example/v1/models", "localhost").starts_with("HTTP/1.1 421"));
    assert!(server.raw(b"GET /v1/models HTTP/1.0\r\n\r\n").starts_with("HTTP/1.0 421"));
    let bad = ServerOptions { host_names: vec!["http://ward".into()], ..ServerOptions::default() };
    let bad = Server::bind(annotator(), "127.0.0.1:0".parse().unwrap(), bad).err();
    assert!(matches!(bad, Some(ServeError::BadHostName(_))));

    // A page does not know the token.
    let server = Running::start(ServerOptions { token: Some("secret".into()), ..ServerOptions::default() });
    assert!(ask(&server, "/v1/models", "evil.example").starts_with("HTTP/1.1 401"));
    assert!(ask(&server, "/healthz", "evil.example").starts_with("HTTP/1.1 200"));
}
