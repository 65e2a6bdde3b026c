//! The task of assertions from outside, on the embedded sample with a tiny encoder.

#![allow(clippy::unwrap_used, reason = "helpers of tests may unwrap as tests do")]

mod bench;

use assert_cmd::Command;
use bench::Bench;
use serde_json::{Value, json};
use std::fs;

/// JSON Lines in which a cue that no rule knows decides; with or without the attribute.
fn notes(count: usize, is_annotated: bool) -> String {
    let note = |at: usize| {
        let (cue, value) = if at.is_multiple_of(2) { ("aspirin", "present") } else { ("sodium", "possible") };
        let text = format!("{cue} and fever");
        let start = text.find("fever").unwrap();
        let attributes = if is_annotated { json!({ "assertion": value }) } else { json!({}) };
        // A mention without an assertion is left out.
        let other = json!({ "start": 0, "end": cue.len(), "label": "Drug" });
        let spans = json!([other, { "start": start, "end": start + 5, "label": "problem", "attributes": attributes }]);
        json!({ "id": at.to_string(), "text": text, "spans": spans }).to_string() + "\n"
    };
    (0..count).map(note).collect()
}

#[test]
fn a_classifier_is_trained_scored_again_listed_and_applied() {
    let bench = Bench::new();
    let trained = bench.json(&["train", "i2b2", "--task", "assertion", "--epochs", "2"]);
    let systems = &trained["systems"];
    let f1 = |system: &str| systems[system]["overall"]["f1"].as_f64().unwrap();
    for system in ["rules", "classifier", "combined"] {
        let overall = &systems[system]["overall"];
        assert_eq!(overall["precision"], overall["recall"], "every mention has one value");
        assert_eq!(overall["support"], trained["overall"]["support"]);
        assert!(systems[system]["intervals"]["overall"]["f1"]["low"].as_f64().unwrap() <= f1(system));
    }
    assert_eq!(systems["combined"]["overall"], trained["overall"]);
    assert!(f1("combined") >= f1("classifier") && f1("classifier") > 0.3, "{systems}");

    let run = trained["run"].as_str().unwrap();
    assert_eq!(bench.json(&["eval", "i2b2", "--run", run]), trained);
    let list = bench.json(&["runs", "list", "--columns", "run,head,test"]);
    let listed = list.as_array().unwrap().iter().find(|row| row["run"] == run).unwrap();
    assert_eq!((&listed["head"], &listed["test"]), (&"assertion".into(), &trained["overall"]["f1"]), "{list}");
    let page = bench.path("report.html").display().to_string();
    bench.succeeds(&["runs", "report", run, "--out", &page]);
    assert!(fs::read_to_string(&page).unwrap().contains("<mark"), "the report shows no text of the sample");
    let config = fs::read(bench.path("runs/i2b2").join(run).join("model/config.json")).unwrap();
    let config: Value = serde_json::from_slice(&config).unwrap();
    assert_eq!(config["medner"]["head"], "assertion");
    assert!(config["medner"]["rules_weight"].is_number() && config["id2label"]["0"] == "present");

    let (found, asserted) = (bench.path("found.jsonl"), bench.path("asserted.jsonl"));
    fs::write(&found, notes(4, false)).unwrap();
    let assert = |model: &str| {
        let mut command = Command::cargo_bin("medner").unwrap();
        command.args(["assert", "--from", "jsonl", "--to", "jsonl", "--model", model, "--runs"]);
        command.arg(bench.path("runs")).arg(&found).arg(&asserted);
        let output = command.output().unwrap();
        (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (well, said) = assert("i2b2");
    assert!(well, "{said}");
    assert_eq!(values(&fs::read_to_string(&asserted).unwrap()).len(), 8);

    // The two tasks are told apart.
    let note = bench.path("note.txt");
    fs::write(&note, "Aspirin caused liver failure.").unwrap();
    let annotate = |model: &str| {
        let mut command = Command::cargo_bin("medner").unwrap();
        command.args(["annotate", "--to", "jsonl", "--model", model, "--runs"]).arg(bench.path("runs")).arg(&note);
        let output = command.output().unwrap();
        assert!(!output.status.success());
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let (by_name, by_run) = (annotate("i2b2"), annotate(run));
    assert!(by_name.contains("no run of i2b2") && by_name.contains("finds mentions"), "{by_name}");
    assert!(by_run.contains("it says which assertion a mention has and finds no mentions"), "{by_run}");
    let (well, said) = assert("bc5cdr");
    assert!(!well && said.contains("no model bc5cdr"), "{said}");
    assert!(bench.fails(&["eval", "i2b2", "--run", run, "--detail"]).contains("no effect"));
}

#[test]
fn what_has_no_assertions_or_no_effect_is_refused() {
    let bench = Bench::new();
    let fails = |extra: &[&str], expected: &str| {
        let message = bench.fails(&[&["train"], extra].concat());
        assert!(message.contains(expected), "{message}");
    };
    fails(&["bc5cdr", "--task", "assertion"], "has no mention with an assertion");
    fails(&["bc5cdr", "--task", "assertion"], ".ast files beside the .con files");
    fails(&["i2b2+bc5cdr", "--task", "assertion"], "a single corpus");
    fails(&["i2b2", "--task", "assertion", "--head", "span"], "does not fit --task assertion");
    fails(&["i2b2", "--head", "assertion"], "does not fit --task mentions");
    fails(&["i2b2", "--task", "assertion", "--keep-text"], "no effect");
}

/// The assertions of all mentions in JSON Lines.
fn values(text: &str) -> Vec<String> {
    let of_line = |line: &str| -> Vec<String> {
        let document: Value = serde_json::from_str(line).unwrap();
        let spans = document["spans"].as_array().unwrap().iter();
        spans.map(|span| span["attributes"]["assertion"].as_str().unwrap().to_owned()).collect()
    };
    text.lines().flat_map(of_line).collect()
}

#[test]
fn attributes_of_another_format_are_learned_and_only_values_of_the_corpus_are_said() {
    let bench = Bench::new();
    for (split, count) in [("train", 24), ("dev", 8), ("test", 8)] {
        fs::write(bench.path(&format!("{split}.jsonl")), notes(count, true)).unwrap();
    }
    let splits = ["train", "dev", "test"].map(|name| format!("{name} = {{ file = \"{name}.jsonl\" }}")).join(", ");
    let description = format!("name = \"own\"\nformat = \"jsonl\"\nsplits = {{ {splits} }}\n");
    fs::write(bench.path("dataset.toml"), description).unwrap();
    fs::write(bench.path("assertion.toml"), "epochs = 20\nlearning_rate = 1e-2\nema_decay = 0.0\noverlap = 32\n")
        .unwrap();
    let [dataset, encoder, recipe, runs] =
        ["dataset.toml", "encoder", "assertion.toml", "runs"].map(|name| bench.path(name).display().to_string());
    let mut train = Command::cargo_bin("medner").unwrap();
    train.args(["train", &dataset, "--task", "assertion", "--encoder", &encoder, "--config", &recipe]);
    let output = train.args(["--runs", &runs]).output().unwrap();
    let table = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let row = |name: &str| table.lines().find(|line| line.starts_with(&format!("| {name} "))).unwrap().to_owned();
    assert!(row("all (micro): rules").contains(" 50.00 "), "{table}");
    for name in ["all (micro): classifier", "all (micro): combined", "possible: combined"] {
        assert!(row(name).contains(" 100.00 "), "{table}");
    }
    assert!(table.ends_with("combined: the classifier alone, as dev chose\n"), "{table}");

    // The rules say absent, which this corpus lacks.
    let (found, asserted) = (bench.path("found.jsonl"), bench.path("asserted.jsonl"));
    let denied = json!({ "id": "no", "text": "No fever", "spans": [{ "start": 3, "end": 8, "label": "problem" }] });
    fs::write(&found, notes(2, false) + &denied.to_string() + "\n").unwrap();
    let mut assert = Command::cargo_bin("medner").unwrap();
    assert.args(["assert", "--from", "jsonl", "--to", "jsonl", "--type", "problem", "--model", "own", "--runs", &runs]);
    assert.arg(&found).arg(&asserted).assert().success();
    let text = fs::read_to_string(&asserted)
        .unwrap()
        .replace("{\"start\":0,", "{\"attributes\":{\"assertion\":\"-\"},\"start\":0,");
    let found = values(&text);
    assert_eq!(&found[..4], ["-", "present", "-", "possible"], "{text}");
    assert!(["present", "possible"].contains(&found[4].as_str()), "{text}");

    // Unknown values are no classes.
    fs::write(bench.path("dev.jsonl"), notes(2, true).replace("possible", "negated")).unwrap();
    let message = String::from_utf8(train.output().unwrap().stderr).unwrap();
    assert!(message.contains("document 1: the assertion `negated` is unknown; known: present, absent"), "{message}");
}
