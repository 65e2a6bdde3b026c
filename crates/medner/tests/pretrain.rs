//! End-to-end tests of masked-language-model training, with a tiny encoder.

#![allow(clippy::unwrap_used, reason = "helpers of tests may unwrap as tests do")]

mod bench;

use assert_cmd::Command;
use bench::Bench;
use ner_data::DatasetDescription;
use serde_json::{Value, json};
use std::fs;
use std::path::PathBuf;
use std::process::{Command as Process, Stdio};
use std::time::Duration;

/// The text of the sample's training split as JSON lines, and the two corpora's documents that follow it: one with the id
/// of an evaluation document, one that contains the text of another.
fn text(bench: &Bench) -> PathBuf {
    let sample = DatasetDescription::builtin("bc5cdr").unwrap().load_sample().unwrap();
    let line = |id: &str, text: &str| json!({ "id": id, "text": text }).to_string() + "\n";
    let mut lines: String =
        sample.train.documents.iter().map(|document| line(&format!("t{}", document.id), &document.text)).collect();
    lines += &line(&sample.dev.documents[0].id, "Something else.");
    lines += &line("copy", &format!("Before. {} After.", sample.test.documents[0].text));
    let path = bench.path("text.jsonl");
    fs::write(&path, lines).unwrap();
    path
}

/// A corpus whose splits are files.
fn corpus(bench: &Bench) -> PathBuf {
    let folder = bench.path("corpus");
    fs::create_dir(&folder).unwrap();
    let sample = DatasetDescription::builtin("bc5cdr").unwrap().load_sample().unwrap();
    for (split, loaded) in sample.iter() {
        let line =
            |document: &ner_data::Document| json!({ "id": document.id, "text": document.text }).to_string() + "\n";
        let lines: String = loaded.documents.iter().map(line).collect();
        fs::write(folder.join(format!("{split}.jsonl")), lines).unwrap();
    }
    let splits = ["train", "dev", "test"].map(|name| format!("{name} = {{ file = \"{name}.jsonl\" }}")).join(", ");
    fs::write(folder.join("dataset.toml"), format!("name = \"own\"\nformat = \"jsonl\"\nsplits = {{ {splits} }}\n"))
        .unwrap();
    folder
}

fn arguments(bench: &Bench, more: &[&str]) -> Vec<String> {
    fs::write(
        bench.path("pretrain.toml"),
        "max_tokens = 32\nbatch_tokens = 256\naccumulate = 2\nwarmup_steps = 4\nlearning_rate = 1e-2\nheld_out = 0.1\n\
         every = 4\n",
    )
    .unwrap();
    let path = |name: &str| bench.path(name).display().to_string();
    let mut all: Vec<String> = vec!["pretrain".into(), path("text.jsonl"), "--encoder".into(), path("encoder")];
    all.extend(["--config".into(), path("pretrain.toml"), "--runs".into(), path("runs")]);
    all.extend(["--format".into(), "json".into()]);
    all.extend(more.iter().map(|&word| word.to_owned()));
    all
}

fn run(arguments: &[String]) -> Result<(Value, String), String> {
    let output = Command::cargo_bin("medner").unwrap().args(arguments).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    match output.status.success() {
        true => Ok((serde_json::from_slice(&output.stdout).unwrap(), said)),
        false => Err(said),
    }
}

/// The metrics of a run, without times.
fn metrics(bench: &Bench, run: &str) -> Vec<Value> {
    let text = fs::read_to_string(bench.path("runs/pretrain").join(run).join("metrics.jsonl")).unwrap();
    let line = |line: &str| {
        let mut line: Value = serde_json::from_str(line).unwrap();
        ["elapsed_ms", "dev_ms"].iter().for_each(|time| drop(line.as_object_mut().unwrap().remove(*time)));
        line
    };
    text.lines().map(line).collect()
}

#[test]
fn an_encoder_learns_from_text_resumes_after_a_kill_and_is_fine_tuned() {
    let bench = Bench::new();
    text(&bench);
    let exclude = corpus(&bench).display().to_string();
    let command = arguments(&bench, &["--steps", "24", "--exclude", &exclude, "--whole-words"]);
    let (first, said) = run(&command).unwrap();
    assert!(said.contains("left out 2 documents") && said.contains("1 by id, 1 by text"), "{said}");
    assert!(said.contains("a new one starts from random weights"), "{said}");
    let scores = &first["scores"];
    let loss = |when: &str| scores[when]["loss"].as_f64().unwrap();
    assert!(loss("dev") < loss("before") - 1.0, "{scores}");
    let id = first["run"].as_str().unwrap();
    let folder = bench.path("runs/pretrain").join(id);
    let record: Value = serde_json::from_slice(&fs::read(folder.join("run.json")).unwrap()).unwrap();
    assert_eq!((&record["kind"], &record["new_head"]), (&"pretrain".into(), &true.into()));
    assert_eq!(record["text"]["excluded"][0]["by_text"], 1);
    let config: Value = serde_json::from_slice(&fs::read(folder.join("model/config.json")).unwrap()).unwrap();
    assert_eq!(config["architectures"][0], "BertForMaskedLM");
    assert!(folder.join("model/tokenizer.json").is_file() && !folder.join("state").exists());

    // Killed after its first saved state, then resumed: equal metrics.
    let mut killed = Process::new(assert_cmd::cargo::cargo_bin("medner"))
        .args(&command)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let unfinished = || {
        let runs = fs::read_dir(bench.path("runs/pretrain")).unwrap().map(|run| run.unwrap().file_name());
        runs.map(|run| run.into_string().unwrap())
            .find(|run| run != id && bench.path("runs/pretrain").join(run).join("state/epoch-4").exists())
    };
    let second = std::iter::repeat_with(unfinished).find_map(|found| {
        std::thread::sleep(Duration::from_millis(2));
        found
    });
    killed.kill().unwrap();
    killed.wait().unwrap();
    let runs = bench.path("runs").display().to_string();
    let resume = ["pretrain", "--resume", &second.unwrap(), "--runs", &runs, "--format", "json"].map(str::to_owned);
    let (resumed, said) = run(&resume).unwrap();
    assert_eq!(resumed["scores"]["dev"], first["scores"]["dev"], "{said}");
    assert_eq!(metrics(&bench, resumed["run"].as_str().unwrap()), metrics(&bench, id));
    assert!(run(&resume).unwrap_err().contains("nothing to resume"));

    // Its folder is an encoder, with and without a head for masked pieces.
    let model = folder.join("model").display().to_string();
    let (_, said) = run(&arguments(&bench, &["--steps", "1"])
        .into_iter()
        .map(|word| if word == bench.path("encoder").display().to_string() { model.clone() } else { word })
        .collect::<Vec<_>>())
    .unwrap();
    assert!(!said.contains("random weights"), "{said}");
    let mut train = Command::cargo_bin("medner").unwrap();
    train.args(["train", "bc5cdr", "--sample", "--epochs", "1", "--runs", &runs, "--encoder", &model]);
    train.arg("--config").arg(bench.path("recipe.toml")).assert().success();
}

#[test]
fn what_cannot_be_trained_on_is_said() {
    let bench = Bench::new();
    text(&bench);
    let fails = |more: &[&str], expected: &str| {
        let said = run(&arguments(&bench, more)).unwrap_err();
        assert!(said.contains(expected), "{said}");
    };
    fails(&["--exclude", "bc5cdr:tset"], "no split tset");
    fails(&["--exclude", "bc5crd"], "did you mean `bc5cdr`?");
    fails(&["--steps", "1", "--hours", "1"], "cannot be used with");
    fails(&["--epochs", "0"], "must be above 0");
    fails(&["--text-column", "note"], "text.jsonl");
    fs::write(bench.path("text.jsonl"), "{\"id\": 1, \"text\": \"Too short.\"}\n").unwrap();
    fails(&[], "holds out none of 1 documents");
}
