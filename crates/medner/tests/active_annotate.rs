//! End-to-end tests of the correction server: corrections over HTTP are on disk, and come back unchanged.

#![allow(clippy::unwrap_used, reason = "helpers of tests may unwrap as tests do")]

mod bench;

use bench::Bench;
use serde_json::{Value, json};
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// Part of the texts, which must not appear in any log or message.
const SECRET: &str = "naloxone";

fn medner(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_medner"));
    command.env_remove("RUST_LOG").env_remove("MEDNER_TOKEN").env("OMP_NUM_THREADS", "1");
    command.arg("active").args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Runs a command that must fail; returns its message.
fn fails(arguments: &[&str]) -> String {
    let output = medner(arguments).output().unwrap();
    assert!(!output.status.success(), "{arguments:?}");
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(!said.contains(SECRET), "{said}");
    said
}

/// Three items as exported by `active select`, two of them with suggestions.
fn batch(folder: &Path) -> PathBuf {
    let batch = folder.join("batch");
    fs::create_dir(&batch).unwrap();
    let span = |start: usize, end: usize, label: &str| json!({ "start": start, "end": end, "label": label, "confidence": 0.75 });
    let items = [
        json!({ "id": "n.s1", "text": format!("👩🏽‍🔬 Cafe\u{301} and {SECRET} for nausea."), "spans": [span(15, 23, "Chemical"), span(28, 34, "Disease")] }),
        json!({ "id": "n.s2", "text": "No fever, no chest pain.", "spans": [span(3, 8, "Chemical")] }),
        json!({ "id": "m", "text": "Nothing else.", "spans": [] }),
    ];
    let lines: String = items.iter().map(|item| format!("{item}\n")).collect();
    fs::write(batch.join("exported.jsonl"), &lines).unwrap();
    fs::write(batch.join("batch.jsonl"), &lines).unwrap();
    let item = |(at, item): (usize, &Value)| json!({ "id": item["id"], "document": "n", "start": 0, "words": 5, "rank": at + 1, "score": 0.5 });
    let manifest = json!({
        "strategy": "mnlp", "source": "", "budget": { "amount": 3, "unit": "sentences" }, "seed": 1, "types": ["Chemical", "Disease"],
        "models": ["x"], "to": "jsonl", "offered": 3, "items": items.iter().enumerate().map(item).collect::<Vec<_>>(),
    });
    fs::write(batch.join("batch.json"), manifest.to_string()).unwrap();
    batch
}

struct Server {
    child: Child,
    address: String,
}

impl Server {
    fn start(batch: &Path, arguments: &[&str], token: Option<&str>) -> Self {
        let batch = batch.display().to_string();
        let mut command = medner(&[&["annotate", &batch, "--port", "0"], arguments].concat());
        let mut child = command.envs(token.map(|token| ("MEDNER_TOKEN", token))).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim().trim_start_matches("http://").trim_end_matches('/').replace("0.0.0.0", "127.0.0.1");
        assert!(!address.is_empty(), "{:?}", child.wait_with_output());
        Self { child, address }
    }

    /// Sends a request; returns status and body.
    fn ask(&self, head: &str, headers: &str, body: &str) -> (u16, Value) {
        let host = if headers.contains("Host:") { "" } else { "Host: localhost\r\n" };
        let mut stream = TcpStream::connect(&self.address).unwrap();
        write!(
            stream,
            "{head} HTTP/1.1\r\n{host}Connection: close\r\nContent-Type: application/json\r\n{headers}Content-Length: {}\r\n\r\n{body}",
            body.len()
        )
        .unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        (head.split(' ').nth(1).unwrap().parse().unwrap(), serde_json::from_str(body).unwrap_or(Value::Null))
    }

    fn get(&self, path: &str) -> Value {
        let (status, body) = self.ask(&format!("GET {path}"), "", "");
        assert_eq!(status, 200, "{body}");
        body
    }

    /// Sends an action after action number `after`; returns status and response.
    fn act(&self, name: &str, after: u64, action: &Value) -> (u16, Value) {
        let mut action = action.clone();
        action["after"] = after.into();
        self.ask(&format!("POST /v1/annotators/{name}/actions"), "", &action.to_string())
    }

    /// Sends several actions, starting with the first number.
    fn all(&self, name: &str, actions: &[Value]) {
        let mut last = 0;
        for action in actions {
            let (status, answer) = self.act(name, last, action);
            assert_eq!(status, 200, "{answer}");
            last = answer["last"].as_u64().unwrap();
        }
    }

    /// Kills the server with SIGKILL.
    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Stops the server with SIGTERM; returns its log.
    fn end(self) -> String {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        let output = self.child.wait_with_output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success() && !said.contains(SECRET) && !said.contains("Finding"), "{said}");
        said
    }
}

fn place(start: usize, end: usize, label: &str) -> Value {
    json!({ "start": start, "end": end, "label": label })
}

/// Corrections with all kinds of actions on the first item.
fn corrections() -> Vec<Value> {
    vec![
        json!({ "item": "n.s1", "do": "accept", "mention": place(15, 23, "Chemical") }),
        json!({ "item": "n.s1", "do": "reject", "mention": place(28, 34, "Disease") }),
        json!({ "item": "n.s1", "do": "add", "mention": place(0, 4, "Finding") }),
        json!({ "item": "n.s1", "do": "add", "mention": place(5, 10, "Finding") }),
        json!({ "item": "n.s1", "do": "add", "mention": place(5, 23, "Finding") }),
        json!({ "do": "undo" }),
        json!({ "item": "n.s1", "do": "add", "mention": place(10, 34, "Disease") }),
        json!({ "item": "n.s1", "do": "done" }),
        json!({ "item": "n.s2", "do": "change", "mention": place(3, 8, "Chemical"), "to": place(0, 8, "Disease") }),
        json!({ "item": "n.s2", "do": "done" }),
    ]
}

/// The resulting mentions.
fn expected() -> Value {
    json!({
        "n.s1": [[0, 4, "Finding"], [5, 10, "Finding"], [10, 34, "Disease"], [15, 23, "Chemical"]],
        "n.s2": [[0, 8, "Disease"]],
    })
}

fn spans_by_id(lines: &str) -> Value {
    let line = |line: &str| {
        let line: Value = serde_json::from_str(line).unwrap();
        let mut spans: Vec<(u64, u64, String)> = line["spans"]
            .as_array()
            .unwrap_or(&Vec::new())
            .iter()
            .map(|span| {
                (
                    span["start"].as_u64().unwrap(),
                    span["end"].as_u64().unwrap(),
                    span["label"].as_str().unwrap().to_owned(),
                )
            })
            .collect();
        spans.sort();
        (line["id"].as_str().unwrap().to_owned(), json!(spans))
    };
    Value::Object(lines.lines().map(line).collect())
}

#[test]
fn what_was_corrected_survives_a_kill_and_comes_back_as_exactly_that() {
    let bench = Bench::new();
    let folder = bench.path("");
    let batch = batch(&folder);
    let server = Server::start(&batch, &[], None);
    let page = server.get("/v1/batch");
    assert_eq!((&page["types"], &page["items"][1]["rank"]), (&json!(["Chemical", "Disease"]), &json!(2)));
    let entry = server.get("/v1/annotators/anna")["items"][0]["entries"][0].clone();
    assert_eq!((&entry["verdict"], &entry["confidence"]), (&json!("open"), &json!(0.75)));
    server.all("anna", &corrections());

    // Actions based on outdated state (another window or process) are rejected; so are invalid ones.
    let add = json!({ "item": "m", "do": "add", "mention": place(0, 7, "Finding") });
    let (status, problem) = server.act("anna", 9, &add);
    assert_eq!((status, problem["type"].as_str()), (409, Some("urn:medner:problem:conflict")));
    let far = json!({ "item": "m", "do": "add", "mention": place(0, 14, "Finding") });
    for (status, action) in [
        (422, far),
        (422, json!({ "item": SECRET, "do": "done" })),
        (422, json!({ "item": "m", "do": SECRET })),
        (422, json!({ "item": "m", "do": "start", "entries": [] })),
        (200, add),
    ] {
        let (answered, problem) = server.act("anna", 10, &action);
        assert!(answered == status && !problem.to_string().contains(SECRET), "{problem}");
    }
    assert!(fails(&["annotate", &batch.display().to_string(), "--port", "0"]).contains("a batch has one server"));
    let state = server.get("/v1/annotators/anna");
    assert_eq!((&state["last"], &state["undo"], &state["items"][1]["done"]), (&json!(11), &json!("m"), &json!(true)));
    server.kill();

    // A partial line at the end.
    let path = batch.join("corrections/anna.jsonl");
    let whole = fs::read(&path).unwrap();
    fs::write(&path, [&whole, &br#"{"n":12,"at":"2026-01-05T09:00:00Z","item":"m","do":"do"#[..]].concat()).unwrap();
    let server = Server::start(&batch, &[], None);
    assert_eq!(server.get("/v1/annotators/anna"), state);
    assert_eq!(fs::read(&path).unwrap(), whole);
    let log = server.end();
    assert!(log.contains("anna.jsonl: cut off a partial line"), "{log}");
    assert!(log.contains("GET /v1/annotators/{name} 200"), "{log}");

    // The loop adds only finished items.
    let name = |path: PathBuf| path.display().to_string();
    let line = |id: usize, text: &str| {
        let spans = [json!({ "start": 0, "end": 7, "label": "Chemical" })];
        format!(
            "{}\n",
            json!({ "id": format!("x{id}"), "text": format!("{text} was given to patient {id}."), "spans": spans })
        )
    };
    for split in ["dev", "test"] {
        fs::write(folder.join(format!("{split}.jsonl")), (0..6).map(|at| line(at, "Aspirin")).collect::<String>())
            .unwrap();
    }
    let (loop_, dev, test) =
        (name(folder.join("loop")), name(folder.join("dev.jsonl")), name(folder.join("test.jsonl")));
    let (encoder, recipe) = (name(folder.join("encoder")), name(folder.join("recipe.toml")));
    let add = ["add", &loop_, &name(batch), "--dev", &dev, "--test", &test, "--encoder", &encoder, "--config", &recipe];
    let output = medner(&add).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{said}");
    assert!(said.contains("the corrections that anna made") && said.contains("skipped 1 items"), "{said}");
    let labelled = fs::read_dir(folder.join("loop/labelled")).unwrap().next().unwrap().unwrap().path();
    assert_eq!(spans_by_id(&fs::read_to_string(labelled).unwrap()), expected());
}

#[test]
fn several_annotators_are_compared_and_what_is_damaged_or_not_plain_is_refused_with_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let place_of = batch(folder.path());
    let batch = place_of.display().to_string();
    let loop_ = folder.path().join("loop").display().to_string();
    let server = Server::start(&place_of, &[], None);
    assert_eq!(server.act("Anna", 0, &json!({ "do": "undo" })).0, 422);
    assert_eq!(server.act("adjudicated", 0, &json!({ "item": "m", "do": "done" })).0, 422, "nobody has finished it");
    server.all("anna", &corrections()[..9]);
    assert_eq!(server.ask("GET /v1/batch", "Host: evil.example\r\n", "").0, 421);
    server.all("bert", &[json!({ "item": "n.s1", "do": "done" }), json!({ "item": "m", "do": "done" })]);

    // Anna has four mentions and Bert two; one is equal. Words: Cafe, and, naloxone, for, nausea. Anna: F, D, CD, D, D
    // (one mention goes from the blank after Cafe to the end). Bert: none, none, C, none, D.
    let told = server.get("/v1/agreement");
    let pair = &told["pairs"][0];
    assert_eq!([&pair["items"], &pair["both"], &pair["only_first"], &pair["only_second"]], [1, 1, 3, 1]);
    assert!((pair["f1"].as_f64().unwrap() - 2.0 / 6.0).abs() < 1e-12);
    // Observed agreement 1/5; expected by chance, both D: 3/5 * 1/5.
    assert!((pair["kappa"].as_f64().unwrap() - (0.2 - 0.12) / 0.88).abs() < 1e-12, "{pair}");
    assert_eq!(told["items"][0]["differences"].as_array().unwrap().len(), 4);

    // Adjudication starts with the mentions in common, and cannot end before all differences are settled.
    let begin = server.get("/v1/annotators/adjudicated");
    let verdicts: Vec<&str> = begin["items"][0]["entries"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| entry["verdict"].as_str().unwrap())
        .collect();
    assert_eq!(verdicts, ["open", "open", "open", "accepted", "open"]);
    assert_eq!(begin["items"][1], Value::Null);
    assert_eq!(server.act("adjudicated", 0, &json!({ "item": "n.s1", "do": "done" })).0, 422);
    let output = medner(&["agreement", &batch, "--format", "json"]).output().unwrap();
    let agreement: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&agreement["pairs"][0], &agreement["differences"]), (pair, &told["items"]));

    let said = fails(&["add", &loop_, &batch]);
    assert!(said.contains("anna and bert have corrected it") && said.contains("--annotator NAME"), "{said}");
    assert!(fails(&["add", &loop_, &batch, "--annotator", "carl"]).contains("carl has corrected nothing"));
    let settle =
        |start, end, label, verdict| json!({ "item": "n.s1", "do": verdict, "mention": place(start, end, label) });
    server.all("adjudicated", &[settle(0, 4, "Finding", "reject"), settle(5, 10, "Finding", "accept")]);
    let state = server.get("/v1/annotators/adjudicated");
    assert_eq!(state["last"], 3, "the beginning of the item is a line, too");
    assert!(fails(&["add", &loop_, &batch]).contains("adjudicated has marked no item as done"));
    server.end();

    // Corrections on the page and by another tool.
    let whole = fs::read_to_string(place_of.join("batch.jsonl")).unwrap();
    let alone = place_of.join("corrections/anna.jsonl");
    for name in ["bert", "adjudicated"] {
        fs::remove_file(place_of.join(format!("corrections/{name}.jsonl"))).unwrap();
    }
    fs::write(place_of.join("batch.jsonl"), whole.replacen("Chemical", "Drug", 1)).unwrap();
    let said = fails(&["add", &loop_, &batch]);
    assert!(said.contains("was corrected on the page") && said.contains("batch.jsonl was edited too"), "{said}");
    fs::write(place_of.join("batch.jsonl"), &whole).unwrap();

    // Damaged journals, in every command that reads them.
    let journal = fs::read_to_string(&alone).unwrap();
    let check = |changed: String, place: &str, why: &str| {
        fs::write(&alone, changed).unwrap();
        for command in [&["annotate", &batch, "--port", "0"][..], &["add", &loop_, &batch], &["agreement", &batch]] {
            let said = fails(command);
            assert!(said.contains(place) && said.contains(why), "{said}");
        }
    };
    check(journal.replacen("\"do\":\"reject\"", "\"do\":\"re", 1), "anna.jsonl:3:", "not a journal record");
    check(journal.replacen("\"end\":34", "\"end\":99", 1), "anna.jsonl:3:", "no mention of that type from 28 to 99");
    check(journal.replacen("\"n\":4,", "\"n\":5,", 1), "anna.jsonl:5:", "number 5, expected 4");
    check(journal.replacen("\"batch\":\"", "\"batch\":\"0", 1), "anna.jsonl:1:", "another batch");
    fs::write(&alone, &journal).unwrap();
    fs::rename(&alone, place_of.join("corrections/dora.jsonl")).unwrap();
    assert!(fails(&["agreement", &batch]).contains("dora.jsonl:1: it belongs to another annotator"));
    fs::rename(place_of.join("corrections/dora.jsonl"), place_of.join("corrections/Dora.txt")).unwrap();
    assert!(fails(&["agreement", &batch]).contains("Dora.txt is not an annotator's journal"));
}

#[test]
fn others_are_let_in_with_a_token_alone() {
    let folder = tempfile::tempdir().unwrap();
    let batch = batch(folder.path());
    let name = batch.display().to_string();
    let said = fails(&["annotate", &name, "--host", "0.0.0.0", "--port", "0"]);
    assert!(said.contains("MEDNER_TOKEN or --token, or --no-token"), "{said}");
    let server = Server::start(&batch, &["--host", "0.0.0.0"], Some("secret"));
    for path in ["/v1/batch", "/v1/annotators/anna", "/v1/agreement"] {
        assert_eq!(server.ask(&format!("GET {path}"), "", "").0, 401, "{path}");
        assert_eq!(server.ask(&format!("GET {path}"), "Authorization: Bearer secret\r\n", "").0, 200, "{path}");
    }
    assert_eq!(server.act("anna", 0, &json!({ "item": "m", "do": "done" })).0, 401);
    assert_eq!(server.ask("GET /", "", "").0, 200);
    assert_eq!(server.ask("DELETE /v1/batch", "Authorization: Bearer secret\r\n", "").0, 405);
    assert_eq!(server.ask("GET /v1/models", "", "").0, 404);
    assert!(!batch.join("corrections/anna.jsonl").exists());
    server.end();
}
