//! End-to-end tests of trainings that learn from more than one corpus's labels: auxiliary corpora and teachers.

#![allow(clippy::unwrap_used, reason = "helpers of tests may unwrap as tests do")]

mod bench;

use assert_cmd::Command;
use bench::Bench;
use ner_data::DatasetDescription;
use serde_json::{Value, json};
use std::fs;

/// Runs a training that must succeed; returns its result and what it said.
fn train(bench: &Bench, more: &[&str]) -> (Value, String) {
    let command = bench.arguments(&[&["train", "bc5cdr"], more].concat());
    let output = Command::cargo_bin("medner").unwrap().args(command).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{said}");
    (serde_json::from_slice(&output.stdout).unwrap(), said)
}

fn record(bench: &Bench, result: &Value) -> Value {
    let folder = bench.path("runs/bc5cdr").join(result["run"].as_str().unwrap());
    serde_json::from_slice(&fs::read(folder.join("run.json")).unwrap()).unwrap()
}

/// A corpus of the sample's training documents, two of its test split, and one that contains the text of a dev document.
fn corpus(bench: &Bench) -> String {
    let sample = DatasetDescription::builtin("bc5cdr").unwrap().load_sample().unwrap();
    let line = |id: &str, document: &ner_data::Document| {
        let span = |mention: &ner_data::Mention| json!({ "start": mention.span().start, "end": mention.span().end, "label": "Thing" });
        let spans: Vec<Value> = document.mentions.iter().map(span).collect();
        json!({ "id": id, "text": document.text, "spans": spans }).to_string() + "\n"
    };
    let mut lines: String =
        sample.train.documents.iter().take(12).map(|document| line(&format!("x{}", document.id), document)).collect();
    for document in &sample.test.documents[..2] {
        lines += &line(&document.id, document);
    }
    lines += &line("copy", &sample.dev.documents[0]);
    let folder = bench.path("things");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("all.jsonl"), lines).unwrap();
    fs::write(folder.join("dataset.toml"), "name = \"things\"\nformat = \"jsonl\"\nsplit = { file = \"all.jsonl\" }\n")
        .unwrap();
    folder.display().to_string()
}

#[test]
fn an_auxiliary_corpus_without_evaluation_documents_trains_a_head_that_is_dropped() {
    let bench = Bench::new();
    let things = corpus(&bench);
    let auxiliary = format!("{things}/dataset.toml=0.5");
    let more = ["--epochs", "2", "--auxiliary", &auxiliary];
    let command = bench.arguments(&[&["train", "bc5cdr"], &more[..]].concat());
    // The sample's place is for the corpus and its auxiliary ones, and this one has none.
    let refused = Command::cargo_bin("medner").unwrap().args(&command).output().unwrap();
    assert!(String::from_utf8_lossy(&refused.stderr).contains("the dataset things has no sample"));

    let (result, said) = train(&bench, &["--epochs", "1", "--auxiliary", "i2b2=0.5"]);
    assert!(said.contains("i2b2: an auxiliary corpus of"), "{said}");
    assert_eq!(result["per_type"].as_object().unwrap().keys().collect::<Vec<_>>(), ["Chemical", "Disease"]);
    let record = record(&bench, &result);
    assert_eq!(record["plan"]["auxiliary"][0], json!({ "dataset": "i2b2", "weight": 0.5 }));
    assert_eq!(record["auxiliary"][0]["labels"], json!(["problem", "treatment", "test"]));
    let model = bench.path("runs/bc5cdr").join(result["run"].as_str().unwrap()).join("model/model.safetensors");
    assert!(!String::from_utf8_lossy(&fs::read(model).unwrap()).contains("auxiliary"));

    for (wrong, expected) in
        [("bc5cdr", "is the corpus itself"), ("i2b2=0", "must be a number above 0"), ("i2b3", "did you mean `i2b2`?")]
    {
        let said = bench.fails(&["train", "bc5cdr", "--auxiliary", wrong]);
        assert!(said.contains(expected), "{said}");
    }
    assert!(bench.fails(&["train", "bc5cdr", "--auxiliary", "i2b2", "--auxiliary", "i2b2"]).contains("given twice"));
}

#[test]
fn evaluation_documents_in_an_auxiliary_corpus_are_left_out() {
    let bench = Bench::new();
    let things = corpus(&bench);
    // The sample as files, so that both corpora are.
    let sample = DatasetDescription::builtin("bc5cdr").unwrap().load_sample().unwrap();
    let own = bench.path("own");
    fs::create_dir(&own).unwrap();
    for (split, loaded) in sample.iter() {
        let options = ner_data::FormatOptions::default();
        let path = own.join(format!("{split}.txt"));
        ner_data::Format::Pubtator.write(&path, &loaded.documents, &options).unwrap();
    }
    let splits = ["train", "dev", "test"].map(|name| format!("{name} = {{ file = \"{name}.txt\" }}")).join(", ");
    fs::write(own.join("dataset.toml"), format!("name = \"own\"\nformat = \"pubtator\"\nsplits = {{ {splits} }}\n"))
        .unwrap();
    let mut command = Command::cargo_bin("medner").unwrap();
    command.arg("train").arg(&own).args(["--auxiliary", &things, "--epochs", "1", "--runs"]).arg(bench.path("runs"));
    command.arg("--encoder").arg(bench.path("encoder")).arg("--config").arg(bench.path("recipe.toml"));
    let output = command.output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{said}");
    assert!(said.contains("left out 3 documents of things"), "{said}");
    assert!(said.contains("2 by id and 1 by text") && said.contains("copy"), "{said}");
}

#[test]
fn a_student_learns_from_teachers_and_resumes() {
    let bench = Bench::new();
    let (first, _) = train(&bench, &["--epochs", "1"]);
    let (second, _) = train(&bench, &["--epochs", "1", "--seed", "2"]);
    let teachers = format!("{},{}", first["run"].as_str().unwrap(), second["run"].as_str().unwrap());
    let text = bench.path("text.txt");
    fs::write(&text, "Aspirin caused liver failure. No other drug did. The patient had a fever and a headache.")
        .unwrap();
    let unlabelled = text.display().to_string();
    let more = ["--teacher", &teachers, "--unlabelled", &unlabelled, "--student-layers", "1", "--epochs", "3"];
    let (result, said) = train(&bench, &more);
    assert!(said.contains("2 teachers scored") && said.contains("of which 0 do not match"), "{said}");
    let record = record(&bench, &result);
    assert_eq!(record["teacher"]["unlabelled_documents"], 1);
    assert_eq!((&record["plan"]["student_layers"], &record["plan"]["teachers"][1].is_string()), (&json!(1), &true));

    let mut killed = bench.spawn(&[&["train", "bc5cdr"], &more[..]].concat());
    let known: Vec<&str> = [&first, &second, &result].iter().map(|result| result["run"].as_str().unwrap()).collect();
    let stopped = bench.wait_for("state/epoch-1", &known);
    killed.kill().unwrap();
    killed.wait().unwrap();
    let resumed = bench.json(&["train", "bc5cdr", "--resume", &stopped]);
    assert_eq!(resumed["overall"], result["overall"]);
    assert_eq!(bench.metrics(&stopped), bench.metrics(result["run"].as_str().unwrap()));

    for (more, expected) in [
        (&["--unlabelled", &unlabelled][..], "--unlabelled has no effect without --teacher"),
        (&["--teacher", "none"], "no model none"),
        (&["--teacher", &teachers, "--head", "crf"], "its head is another one"),
        (&["--student-layers", "2"], "the encoder has 1 layers"),
    ] {
        let said = bench.fails(&[&["train", "bc5cdr"], more].concat());
        assert!(said.contains(expected), "{said}");
    }
}
