//! Training from outside, on the embedded sample with an encoder small enough for a test.

#![allow(clippy::unwrap_used, reason = "helpers of tests may unwrap as tests do")]

use assert_cmd::Command;
use ner_data::{DatasetDescription, LabelSet, TagScheme};
use ner_model::{BertConfig, Parameters, TokenClassifier, save_parameters};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::{Command as Process, Stdio};
use std::time::{Duration, Instant};
use tch::{Device, Kind, Tensor};

/// An encoder of random weights whose vocabulary is the sample's own words.
fn tiny_encoder(folder: &Path) {
    let sample = DatasetDescription::builtin("bc5cdr").unwrap().load_sample().unwrap();
    let documents = sample.iter().flat_map(|(_, split)| &split.documents);
    let words: BTreeSet<String> = documents
        .flat_map(|document| {
            document.text.to_lowercase().split(|c: char| !c.is_alphanumeric()).map(str::to_owned).collect::<Vec<_>>()
        })
        .filter(|word| !word.is_empty())
        .collect();
    let mut vocabulary: Vec<String> = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"].map(str::to_owned).into();
    vocabulary.extend(words);
    let config = format!(
        r#"{{"model_type": "bert", "vocab_size": {}, "hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2,
            "intermediate_size": 64, "max_position_embeddings": 128}}"#,
        vocabulary.len()
    );
    let config_path = folder.join("config.json");
    let sizes = BertConfig::from_json(&config, &config_path).unwrap();
    fs::write(config_path, config).unwrap();
    fs::write(folder.join("vocab.txt"), vocabulary.join("\n")).unwrap();
    // Numbers that look random; libtorch's generator is shared by the tests of a process.
    let labels = LabelSet::new(TagScheme::Bio, ["Chemical", "Disease"]);
    let random = |(name, shape): (String, Vec<i64>)| {
        let count = shape.iter().product::<i64>();
        let random =
            (Tensor::arange(count, (Kind::Float, Device::Cpu)).square() * 0.37).sin().view(shape.as_slice()) * 0.1;
        (name.clone(), if name.ends_with("LayerNorm.weight") { random + 1.0 } else { random })
    };
    let tensors = TokenClassifier::shapes(&sizes, labels.len()).into_iter().map(random).collect();
    save_parameters(&folder.join("model.safetensors"), &Parameters::new(tensors)).unwrap();
}

/// A folder with an encoder, a recipe and a place for runs.
struct Bench(tempfile::TempDir);

impl Bench {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("encoder")).unwrap();
        tiny_encoder(&folder.path().join("encoder"));
        fs::write(
            folder.path().join("recipe.toml"),
            "epochs = 3\nlearning_rate = 1e-2\nema_decay = 0.9\noverlap = 32\ntoken_masking = 0.0\nbatch_tokens = 512\nfreeze_embeddings = false\n",
        )
        .unwrap();
        Self(folder)
    }

    fn arguments(&self, command: &[&str]) -> Vec<String> {
        let path = |name: &str| self.0.path().join(name).display().to_string();
        let mut arguments: Vec<String> = command.iter().map(|&word| word.to_owned()).collect();
        arguments.extend(["--runs".into(), path("runs"), "--format".into(), "json".into()]);
        if command[0] == "train" && !command.contains(&"--resume") {
            arguments.extend(["--sample".into(), "--encoder".into(), path("encoder")]);
            arguments.extend(["--config".into(), path("recipe.toml")]);
        }
        arguments
    }

    /// Runs a command that must succeed and print one JSON object.
    fn json(&self, command: &[&str]) -> Value {
        let output = Command::cargo_bin("medner").unwrap().args(self.arguments(command)).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// What a run wrote of its steps and epochs, without times.
    fn metrics(&self, run: &str) -> Vec<Value> {
        let text = fs::read_to_string(self.0.path().join("runs/bc5cdr").join(run).join("metrics.jsonl")).unwrap();
        let line = |line: &str| {
            let mut line: Value = serde_json::from_str(line).unwrap();
            for time in ["elapsed_ms", "train_ms", "dev_ms"] {
                line.as_object_mut().unwrap().remove(time);
            }
            line
        };
        text.lines().map(line).collect()
    }
}

#[test]
fn a_run_repeats_itself_resumes_and_is_scored_again() {
    let bench = Bench::new();
    let first = bench.json(&["train", "bc5cdr"]);
    assert_eq!((&first["dataset"], &first["split"]), (&Value::from("bc5cdr"), &Value::from("test")));
    assert!(first["overall"]["f1"].as_f64().unwrap() > 0.02, "it learned nothing: {first}");
    let run = first["run"].as_str().unwrap();
    for file in
        ["run.json", "scores.json", "predictions/test.PubTator.txt", "model/config.json", "model/tokenizer.json"]
    {
        assert!(bench.0.path().join("runs/bc5cdr").join(run).join(file).is_file(), "{file}");
    }
    assert_eq!(bench.json(&["eval", "bc5cdr"]), first);

    // Killed after its first epoch, then resumed: the same metrics, and the same scores.
    let mut killed = Process::new(assert_cmd::cargo::cargo_bin("medner"))
        .args(bench.arguments(&["train", "bc5cdr"]))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let begin = Instant::now();
    let second = loop {
        assert!(begin.elapsed() < Duration::from_secs(120), "no epoch was saved");
        std::thread::sleep(Duration::from_millis(5));
        let runs = fs::read_dir(bench.0.path().join("runs/bc5cdr")).unwrap();
        let other = runs.map(|entry| entry.unwrap()).find(|entry| entry.file_name() != run);
        if let Some(other) = other.filter(|other| other.path().join("state/epoch-1").is_dir()) {
            break other.file_name().into_string().unwrap();
        }
    };
    killed.kill().unwrap();
    killed.wait().unwrap();
    let resumed = bench.json(&["train", "bc5cdr", "--resume", &second]);
    assert_eq!(resumed["overall"], first["overall"]);
    assert_eq!(bench.metrics(&second), bench.metrics(run));
}

#[test]
fn what_cannot_be_trained_is_said() {
    let bench = Bench::new();
    let fails = |extra: &[&str], expected: &str| {
        let output = Command::cargo_bin("medner")
            .unwrap()
            .args(bench.arguments(&["train", "bc5cdr"]))
            .args(extra)
            .output()
            .unwrap();
        let message = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && message.contains(expected), "{message}");
    };
    fails(&["--epochs", "0"], "epochs = 0");
    fails(&["--precision", "fp16", "--device", "cpu"], "half precision with loss scaling is for CUDA");
    fails(&["--device", "cuda:7"], "cuda:7");
    fs::write(bench.0.path().join("recipe.toml"), "epoch = 3\n").unwrap();
    fails(&[], "unknown field `epoch`");
    fs::write(bench.0.path().join("recipe.toml"), "overlap = 32\n").unwrap();
    let weights = bench.0.path().join("encoder/model.safetensors");
    let whole = fs::read(&weights).unwrap();
    fs::write(&weights, &whole[..whole.len() - 10]).unwrap();
    fails(&[], "truncated");
    fs::remove_file(&weights).unwrap();
    fails(&[], "model.safetensors or pytorch_model.bin");
    fs::write(&weights, &whole).unwrap();
    fs::write(bench.0.path().join("runs"), "a file where the folder should be").unwrap();
    fails(&[], "no run folder can be made");
}
