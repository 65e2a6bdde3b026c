//! A server with MLflow's API. It keeps everything it receives, duplicates included, and fails on demand.

use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

/// Faults of the next requests.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fault {
    /// Status 500 without effect.
    Refuses,
    /// The request takes effect, but the response is 500.
    DoesAndFails,
    /// The request takes effect, but the connection closes without a response.
    DoesAndHangsUp,
    /// The request succeeds after a delay.
    IsSlow,
}

#[derive(Clone, Debug, Default)]
pub struct FakeRun {
    pub id: String,
    pub name: String,
    pub status: String,
    pub tags: BTreeMap<String, String>,
    pub params: BTreeMap<String, String>,
    /// Key, step, value and time, in order of arrival.
    pub metrics: Vec<(String, i64, f64, i64)>,
    pub files: BTreeMap<String, Vec<u8>>,
}

#[derive(Debug)]
pub struct Store {
    pub experiments: Vec<String>,
    pub runs: Vec<FakeRun>,
    pub artifact_root: String,
    /// Faults of the next requests whose path has this ending, in order.
    pub faults: Vec<(&'static str, Fault)>,
    /// Method, path and authorisation of each request.
    pub requests: Vec<(String, Option<String>)>,
}

impl Default for Store {
    fn default() -> Self {
        let artifact_root = "mlflow-artifacts:/7".into();
        Self { experiments: vec![], runs: vec![], artifact_root, faults: vec![], requests: vec![] }
    }
}

/// The server. Its data survives restarts.
pub struct Fake {
    pub uri: String,
    port: u16,
    store: Arc<Mutex<Store>>,
    listening: Option<(Arc<AtomicBool>, JoinHandle<()>)>,
}

impl Fake {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let mut fake = Self { uri: format!("http://127.0.0.1:{port}"), port, store: Arc::default(), listening: None };
        fake.listen(listener);
        fake
    }

    pub fn start_again(&mut self) {
        self.listen(TcpListener::bind(("127.0.0.1", self.port)).unwrap());
    }

    pub fn stop(&mut self) {
        if let Some((stop, thread)) = self.listening.take() {
            stop.store(true, Ordering::Relaxed);
            thread.join().unwrap();
        }
    }

    pub fn with<T>(&self, look: impl FnOnce(&mut Store) -> T) -> T {
        look(&mut self.store.lock().unwrap())
    }

    fn listen(&mut self, listener: TcpListener) {
        let stop = Arc::new(AtomicBool::new(false));
        let (store, stopped) = (self.store.clone(), stop.clone());
        listener.set_nonblocking(true).unwrap();
        let thread = std::thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                match listener.accept() {
                    Ok((stream, _)) => serve(stream, &store),
                    Err(_) => std::thread::sleep(Duration::from_millis(1)),
                }
            }
        });
        self.listening = Some((stop, thread));
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Answers one request and closes the connection, so that no client talks to a stopped server.
fn serve(mut stream: TcpStream, store: &Mutex<Store>) {
    stream.set_nonblocking(false).unwrap();
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut line = String::new();
    reader.read_line(&mut line).unwrap();
    let mut words = line.split(' ');
    let (method, address) = (words.next().unwrap().to_owned(), words.next().unwrap_or_default().to_owned());
    let (mut length, mut authorization) = (0, None);
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).unwrap();
        let Some((name, value)) = header.trim().split_once(": ") else { break };
        match name.to_lowercase().as_str() {
            "content-length" => length = value.parse().unwrap(),
            "authorization" => authorization = Some(value.to_owned()),
            _ => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    let (path, query) = address.split_once('?').unwrap_or((&address, ""));
    let mut store = store.lock().unwrap();
    store.requests.push((format!("{method} {path}"), authorization));
    let fault = store.faults.iter().position(|(end, _)| path.ends_with(end)).map(|at| store.faults.remove(at).1);
    let refused = (500, json!({"message": "out of order"}));
    let (status, answer) = match fault {
        Some(Fault::Refuses) => refused,
        Some(Fault::DoesAndFails) => {
            store.answer(&method, path, query, &body);
            refused
        }
        Some(Fault::DoesAndHangsUp) => {
            store.answer(&method, path, query, &body);
            return;
        }
        Some(Fault::IsSlow) => {
            std::thread::sleep(Duration::from_millis(300));
            store.answer(&method, path, query, &body)
        }
        None => store.answer(&method, path, query, &body),
    };
    let answer = answer.to_string();
    let head = format!("HTTP/1.1 {status} x\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", answer.len());
    // The client may have disconnected.
    let _ = stream.write_all(format!("{head}{answer}").as_bytes());
}

fn error(code: &str) -> (u16, Value) {
    let status = if code == "RESOURCE_DOES_NOT_EXIST" { 404 } else { 400 };
    (status, json!({"error_code": code, "message": "the fake says no"}))
}

impl Store {
    fn answer(&mut self, method: &str, path: &str, query: &str, body: &[u8]) -> (u16, Value) {
        if let Some(place) = path.strip_prefix("/api/2.0/mlflow-artifacts/artifacts/7/") {
            let (run, name) = place.split_once("/artifacts/").unwrap();
            let run = self.runs.iter_mut().find(|of| of.id == run).unwrap();
            run.files.insert(name.to_owned(), body.to_vec());
            return (200, json!({}));
        }
        let body: Value = serde_json::from_slice(body).unwrap_or_default();
        let query: BTreeMap<&str, &str> = query.split('&').filter_map(|pair| pair.split_once('=')).collect();
        let run_id = body["run_id"].as_str().or(query.get("run_id").copied()).unwrap_or_default().to_owned();
        let call = format!("{method} {}", path.strip_prefix("/api/2.0/mlflow/").unwrap());
        let position = self.runs.iter().position(|run| run.id == run_id);
        match call.as_str() {
            "GET experiments/get-by-name" => match self.experiments.iter().any(|name| name == query["experiment_name"])
            {
                true => (200, json!({"experiment": {"experiment_id": "7"}})),
                false => error("RESOURCE_DOES_NOT_EXIST"),
            },
            "POST experiments/create" => {
                self.experiments.push(body["name"].as_str().unwrap().to_owned());
                (200, json!({"experiment_id": "7"}))
            }
            "POST runs/search" => {
                let wanted = body["filter"].as_str().unwrap().split('\'').nth(1).unwrap();
                let found = self.runs.iter().find(|run| run.tags.get("medner.key").is_some_and(|key| key == wanted));
                (200, json!({"runs": found.map(|run| vec![self.show(run)])}))
            }
            "POST runs/create" => {
                let mut run = FakeRun {
                    id: format!("run{}", self.runs.len()),
                    name: body["run_name"].as_str().unwrap().to_owned(),
                    status: "RUNNING".into(),
                    ..FakeRun::default()
                };
                put_all(&mut run.tags, &body["tags"]);
                let shown = self.show(&run);
                self.runs.push(run);
                (200, json!({"run": shown}))
            }
            _ if position.is_none() => error("RESOURCE_DOES_NOT_EXIST"),
            "GET runs/get" => (200, json!({"run": self.show(&self.runs[position.unwrap()])})),
            "GET metrics/get-history" => {
                let key = query["metric_key"].replace("%2F", "/");
                let all = self.runs[position.unwrap()].metrics.iter().filter(|metric| metric.0 == key);
                // Small pages; MLflow sends 64-bit integers as numbers.
                let from: usize = query.get("page_token").map_or(0, |token| token.parse().unwrap());
                let shown =
                    all.skip(from).take(3).map(|m| json!({"key": m.0, "step": m.1, "value": m.2, "timestamp": m.3}));
                let shown: Vec<Value> = shown.collect();
                let next = if shown.len() == 3 { (from + 3).to_string() } else { String::new() };
                (200, json!({"metrics": shown, "next_page_token": next}))
            }
            "POST runs/log-batch" => {
                let count = |name: &str| body[name].as_array().map_or(0, Vec::len);
                let long = |name: &str, most: usize| {
                    body[name].as_array().into_iter().flatten().any(|item| item["value"].as_str().unwrap().len() > most)
                };
                let too_many = count("metrics") > 1000 || count("params") > 100 || count("tags") > 100;
                let changes = |old: &FakeRun| {
                    body["params"].as_array().into_iter().flatten().any(|item| {
                        old.params
                            .get(item["key"].as_str().unwrap())
                            .is_some_and(|value| item["value"] != value.as_str())
                    })
                };
                let run = &mut self.runs[position.unwrap()];
                if too_many || long("params", 6000) || long("tags", 5000) || changes(run) {
                    return error("INVALID_PARAMETER_VALUE");
                }
                put_all(&mut run.params, &body["params"]);
                put_all(&mut run.tags, &body["tags"]);
                for metric in body["metrics"].as_array().into_iter().flatten() {
                    let integer = |name: &str| metric[name].as_i64().unwrap();
                    let key = metric["key"].as_str().unwrap().to_owned();
                    run.metrics.push((key, integer("step"), metric["value"].as_f64().unwrap(), integer("timestamp")));
                }
                (200, json!({}))
            }
            "POST runs/update" => {
                self.runs[position.unwrap()].status = body["status"].as_str().unwrap().to_owned();
                (200, json!({}))
            }
            _ => panic!("no such call: {call}"),
        }
    }

    fn show(&self, run: &FakeRun) -> Value {
        let pairs = |map: &BTreeMap<String, String>| -> Vec<Value> {
            map.iter().map(|(key, value)| json!({"key": key, "value": value})).collect()
        };
        let mut keys: Vec<&str> = run.metrics.iter().map(|metric| metric.0.as_str()).collect();
        keys.sort_unstable();
        keys.dedup();
        let metrics: Vec<Value> = keys.into_iter().map(|key| json!({"key": key, "value": 0.0})).collect();
        let artifact_uri = format!("{}/{}/artifacts", self.artifact_root, run.id);
        json!({
            "info": {
                "run_id": run.id, "status": run.status, "lifecycle_stage": "active", "artifact_uri": artifact_uri,
            },
            "data": {"metrics": metrics, "params": pairs(&run.params), "tags": pairs(&run.tags)},
        })
    }
}

fn put_all(map: &mut BTreeMap<String, String>, items: &Value) {
    for item in items.as_array().into_iter().flatten() {
        map.insert(item["key"].as_str().unwrap().to_owned(), item["value"].as_str().unwrap().to_owned());
    }
}
