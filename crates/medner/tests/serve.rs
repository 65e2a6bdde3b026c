//! End-to-end tests of the server, with a tiny model.

#![allow(clippy::unwrap_used, reason = "helpers of tests may unwrap as tests do")]

mod tiny;

use serde_json::{Value, json};
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};

const SECRET: &str = "naloxone";

fn medner(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_medner"));
    command.env_remove("RUST_LOG").env_remove("MEDNER_TOKEN").env("OMP_NUM_THREADS", "1").current_dir(folder);
    command.args(arguments).args(["--runs", "runs", "--precision", "fp32", "--device", "cpu"]);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Sends a request on its own connection; returns status and body.
fn ask(address: &str, head: &str, body: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "{head} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}", body.len()).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

fn started(mut child: Child) -> (Child, String) {
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    let address = line.trim().trim_start_matches("http://").trim_end_matches('/').to_owned();
    assert!(!address.is_empty(), "{:?}", child.wait_with_output());
    (child, address)
}

#[test]
fn it_answers_as_annotate_does_outlives_its_folder_and_ends_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path();
    tiny::model(&place.join("first"), ["Disease", "Drug"], 0.5);
    let text = format!("The quick brown {SECRET} 👩\u{200d}🔬, 12 mg of abc.\r\nJumps over lazy dogs 34, and so on.");
    fs::write(place.join("note.txt"), &text).unwrap();
    let output = medner(place, &["annotate", "note.txt", "--model", "first"]).output().unwrap();
    let line: Value = serde_json::from_slice(&output.stdout).unwrap();

    let (child, address) = started(medner(place, &["serve", "--model", "first", "--port", "0"]).spawn().unwrap());
    fs::remove_dir_all(place.join("first")).unwrap();
    let (status, body) = ask(&address, "POST /v1/annotate", &json!({ "text": text }).to_string());
    assert_eq!(status, 200, "{body}");
    let answer: Value = serde_json::from_str(&body).unwrap();
    let mentions = answer["documents"][0]["mentions"].as_array().unwrap();
    let theirs = line["mentions"].as_array().unwrap();
    assert!(!theirs.is_empty() && mentions.len() == theirs.len());
    for (mention, theirs) in mentions.iter().zip(theirs) {
        for key in ["start", "end", "text", "type", "category", "models"] {
            assert_eq!(mention[key], theirs[key]);
        }
        assert!((mention["confidence"].as_f64().unwrap() - theirs["confidence"].as_f64().unwrap()).abs() < 1e-4);
    }
    assert_eq!(ask(&address, "GET /healthz", "").0, 200);
    let ended = Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap();
    assert!(ended.success());
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success() && said.contains("answered 2 requests with 1 documents"), "{said}");
    assert!(said.contains("POST /v1/annotate 200, 1 documents, ") && !said.contains(SECRET), "{said}");
}

#[test]
fn mentions_have_the_concepts_of_annotate() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path();
    tiny::finder(&place.join("finder"));
    fs::write(place.join("names.tsv"), "id\tname\nD2\tGout\n").unwrap();
    fs::write(place.join("note.txt"), "gouts").unwrap();
    let mut build = Command::new(env!("CARGO_BIN_EXE_medner"));
    build.args(["vocabulary", "build", "names.tsv", "--out", "our.voc", "--system", "urn:oid:1.2"]).current_dir(place);
    assert!(build.output().unwrap().status.success());
    let linking = ["--model", "finder", "--vocabulary", "our.voc"];
    let output = medner(place, &[&["annotate", "note.txt"], &linking[..]].concat()).output().unwrap();
    let line: Value = serde_json::from_slice(&output.stdout).unwrap();
    let concepts = &line["mentions"][0]["concepts"];
    assert_eq!((&concepts[0]["id"], &concepts[0]["vocabulary"]), (&"D2".into(), &"our".into()), "{line}");

    let (mut child, address) =
        started(medner(place, &[&["serve", "--port", "0"], &linking[..]].concat()).spawn().unwrap());
    let (_, body) = ask(&address, "POST /v1/annotate", &json!({ "text": "gouts" }).to_string());
    let answer: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(&answer["documents"][0]["mentions"][0]["concepts"], concepts, "{body}");
    let (_, body) = ask(&address, "POST /v1/annotate", &json!({ "text": "gouts", "format": "pubtator" }).to_string());
    assert!(body.contains("\tgouts\tX\tD2"), "{body}");
    let (_, body) = ask(&address, "GET /v1/models", "");
    let vocabulary = &serde_json::from_str::<Value>(&body).unwrap()["vocabularies"][0];
    let facts = ["type", "release", "system", "concepts", "names"].map(|key| vocabulary[key].clone());
    assert_eq!(json!(facts), json!([null, "", "urn:oid:1.2", 1, 1]));
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn it_does_not_start_open_to_others_or_without_its_model() {
    let folder = tempfile::tempdir().unwrap();
    tiny::model(&folder.path().join("first"), ["Disease", "Drug"], 0.5);
    let check = |arguments: &[&str], token: Option<&str>, message: &str| {
        let mut command = medner(folder.path(), &[&["serve"], arguments].concat());
        command.envs(token.map(|token| ("MEDNER_TOKEN", token)));
        let output = command.output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && said.contains(message), "{said}");
        assert_eq!(output.stdout, b"");
    };
    check(&["--model", "first", "--host", "0.0.0.0", "--port", "0"], None, "MEDNER_TOKEN or --token, or --no-token");
    check(&["--model", "first", "--host", "0.0.0.0", "--port", "0"], Some(""), "the token is empty");
    check(&["--model", "second", "--port", "0"], None, "no model second");
    let named = ["--model", "first", "--port", "0", "--host-name"];
    check(&[&named[..], &["ward"]].concat(), Some("secret"), "--host-name has no effect with a token");
    check(
        &[&named[..], &["http://ward:80"]].concat(),
        None,
        "http://ward:80 is not a host name; give it without scheme",
    );
    check(&["--model", "first", "--host", "192.0.2.1", "--port", "0"], Some("secret"), "cannot listen on");

    let mut command = medner(folder.path(), &["serve", "--model", "first", "--host", "0.0.0.0", "--port", "0"]);
    let (mut child, address) = started(command.env("MEDNER_TOKEN", "secret").spawn().unwrap());
    let address = address.replace("0.0.0.0", "127.0.0.1");
    assert_eq!(ask(&address, "GET /v1/models", "").0, 401);
    child.kill().unwrap();
    child.wait().unwrap();

    // The name in --host is one that the server answers to.
    let named = ["serve", "--model", "first", "--host", "localhost", "--port", "0", "--host-name", "ward.example"];
    let (mut child, address) = started(medner(folder.path(), &named).spawn().unwrap());
    for (host, status) in [("ward.example", 200), ("LOCALHOST:80", 200), ("evil.example", 421)] {
        let mut stream = TcpStream::connect(&address).unwrap();
        write!(stream, "GET /v1/models HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        assert!(text.starts_with(&format!("HTTP/1.1 {status}")), "{host}: {text}");
    }
    child.kill().unwrap();
    child.wait().unwrap();
}
