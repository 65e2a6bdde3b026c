//! No command says a word of a document on stderr, however much it is asked to say.

#![allow(clippy::unwrap_used, reason = "helpers of tests may unwrap as tests do")]

mod bench;

use bench::Bench;
use serde_json::json;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};

/// In every text, mention and file of the corpus.
const CANARY: &str = "zebracanary";

/// Runs a command with `-vv` in the folder of `bench`, and looks for the canary on stderr.
fn check(bench: &Bench, arguments: &[&str]) {
    let output = command(bench, arguments).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!said.contains(CANARY), "{arguments:?}: {said}");
    assert!(output.status.success(), "{arguments:?}: {said}");
}

fn command(bench: &Bench, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_medner"));
    command.env_remove("RUST_LOG").env_remove("MEDNER_TOKEN").env("OMP_NUM_THREADS", "1").current_dir(bench.path(""));
    command.arg("-vv").args(arguments);
    command
}

/// A corpus in which every document holds the canary, in a mention and outside, and which has faults of several kinds.
fn write_corpus(bench: &Bench) {
    let line = |id: String| {
        let text = format!("The {CANARY} was given aspirin. No {CANARY} fever.");
        let mention = |start: usize, end: usize, label: &str| json!({ "start": start, "end": end, "label": label });
        json!({ "id": id, "text": text, "spans": [mention(4, 15, "Disease"), mention(26, 33, "Chemical")] }).to_string()
    };
    for (name, count) in [("train", 12), ("dev", 4), ("test", 4)] {
        let lines: String = (0..count).map(|at| line(format!("{name}{at}")) + "\n").collect();
        let faults =
            format!("{{\"text\": {CANARY}\n{{\"text\": \"{CANARY}\", \"spans\": [{{\"start\": 0, \"end\": 99}}]}}\n");
        fs::write(bench.path(&format!("{name}.jsonl")), lines + &faults).unwrap();
    }
    let splits = ["train", "dev", "test"].map(|name| format!("{name} = {{ file = \"{name}.jsonl\" }}")).join(", ");
    let description = format!("name = \"own\"\nformat = \"jsonl\"\nsplits = {{ {splits} }}\n");
    fs::write(bench.path("dataset.toml"), description).unwrap();
    fs::write(bench.path("note.txt"), format!("The {CANARY} was given aspirin.\n")).unwrap();
}

#[test]
fn no_command_logs_a_word_of_a_document() {
    let bench = Bench::new();
    write_corpus(&bench);
    let recipe = ["--encoder", "encoder", "--config", "recipe.toml", "--epochs", "1"];
    check(&bench, &["data", "dataset.toml", "--html", "data.html", "--encoder", "encoder"]);
    check(&bench, &[&["train", "dataset.toml", "--lenient", "--runs", "runs"], &recipe[..]].concat());
    check(&bench, &["eval", "own", "--runs", "runs", "--detail"]);
    check(&bench, &["runs", "list", "--runs", "runs"]);
    check(&bench, &["runs", "report", "latest", "--out", "report.html", "--runs", "runs"]);
    for to in ["jsonl", "pubtator", "bioc-xml", "bioc-json", "brat", "i2b2", "conll", "csv", "parquet", "html"] {
        let out = format!("found-{to}");
        check(&bench, &["annotate", "note.txt", "--model", "own", "--runs", "runs", "--to", to, "--out", &out]);
    }
    for to in ["pubtator", "bioc-xml", "bioc-json", "brat", "i2b2", "conll"] {
        check(&bench, &["convert", "train.jsonl", &format!("out-{to}"), "--to", to, "--lenient", "--list-changes"]);
    }
    check(&bench, &["score", "--gold", "test.jsonl", "--predicted", "test.jsonl", "--lenient", "--detail"]);
    check(&bench, &["active", "select", "note.txt", "--model", "own", "--runs", "runs", "--out", "batch"]);
    check(&bench, &["active", "agreement", "batch"]);

    let arguments = ["serve", "--model", "own", "--runs", "runs", "--port", "0"];
    let mut server = command(&bench, &arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(server.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    let address = line.trim().trim_start_matches("http://").trim_end_matches('/').to_owned();
    for body in [json!({ "text": format!("The {CANARY} fever.") }).to_string(), format!("{{\"text\": {CANARY}")] {
        let mut stream = TcpStream::connect(&address).unwrap();
        let length = body.len();
        write!(stream, "POST /v1/annotate HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}").unwrap();
        stream.read_to_string(&mut String::new()).unwrap();
    }
    assert!(Command::new("kill").args(["-TERM", &server.id().to_string()]).status().unwrap().success());
    let said = String::from_utf8(server.wait_with_output().unwrap().stderr).unwrap();
    assert!(said.contains("/v1/annotate") && !said.contains(CANARY), "{said}");
}
