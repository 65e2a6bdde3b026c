//! A folder for trainings, with a tiny encoder.

#![allow(clippy::unwrap_used, dead_code, reason = "helpers of tests may unwrap as tests do; not every test needs all")]

use assert_cmd::Command;
use ner_data::{DatasetDescription, LabelSet, TagScheme};
use ner_model::{BertConfig, Parameters, TokenClassifier, save_parameters};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command as Process, Stdio};
use std::time::Duration;
use tch::{Device, Kind, Tensor};

/// An encoder with random weights whose vocabulary is the sample's words.
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
    // Pseudo-random numbers; tests of one process share libtorch's generator.
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

/// A folder with an encoder, a recipe and a folder of runs.
pub struct Bench(tempfile::TempDir);

impl Bench {
    /// Creates it, with a recipe of three short epochs.
    pub fn new() -> Self {
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

    /// The arguments of a command, plus those that it always gets here.
    pub fn arguments(&self, command: &[&str]) -> Vec<String> {
        let path = |name: &str| self.0.path().join(name).display().to_string();
        let mut arguments: Vec<String> = command.iter().map(|&word| word.to_owned()).collect();
        arguments.extend(["--runs".into(), path("runs")]);
        if !command.contains(&"--format")
            && !matches!(command, ["runs", "tag" | "untag" | "rm" | "export" | "report", ..])
        {
            arguments.extend(["--format".into(), "json".into()]);
        }
        if command[0] == "train" && !command.contains(&"--resume") {
            arguments.extend(["--sample".into(), "--encoder".into(), path("encoder")]);
            arguments.extend(["--config".into(), path("recipe.toml")]);
        }
        arguments
    }

    /// A path in the folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Starts a command without waiting for it.
    pub fn spawn(&self, command: &[&str]) -> Child {
        let mut process = Process::new(assert_cmd::cargo::cargo_bin("medner"));
        process.args(self.arguments(command)).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    }

    /// Waits until a run other than those in `known` has the path `name` in its folder, and returns the id of that run.
    pub fn wait_for(&self, name: &str, known: &[&str]) -> String {
        for _ in 0..24_000 {
            std::thread::sleep(Duration::from_millis(5));
            let found = self
                .trainings()
                .into_iter()
                .find(|run| !known.contains(&run.as_str()) && self.path("runs/bc5cdr").join(run).join(name).exists());
            if let Some(found) = found {
                return found;
            }
        }
        panic!("no {name} came to be")
    }

    /// Ids of the trainings, in order.
    pub fn trainings(&self) -> Vec<String> {
        let Ok(entries) = fs::read_dir(self.path("runs/bc5cdr")) else { return Vec::new() };
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<String> = names.filter(|name| !name.starts_with('.') && name.contains("-seed")).collect();
        names.sort();
        names
    }

    /// Runs a command that must succeed.
    pub fn succeeds(&self, command: &[&str]) {
        Command::cargo_bin("medner").unwrap().args(self.arguments(command)).assert().success();
    }

    /// Runs a command that must succeed, with only the folder of runs as additional argument.
    pub fn succeeds_bare(&self, command: &[&str]) {
        let output = Command::cargo_bin("medner").unwrap().args(command).arg("--runs").arg(self.path("runs")).output();
        let output = output.unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    /// Runs a command that must fail; returns its message.
    pub fn fails(&self, command: &[&str]) -> String {
        let output = Command::cargo_bin("medner").unwrap().args(self.arguments(command)).output().unwrap();
        assert!(!output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
        String::from_utf8_lossy(&output.stderr).into_owned()
    }

    /// Runs a command that must succeed and print JSON.
    pub fn json(&self, command: &[&str]) -> Value {
        let output = Command::cargo_bin("medner").unwrap().args(self.arguments(command)).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// The metrics of a run's steps and epochs, without times.
    pub fn metrics(&self, run: &str) -> Vec<Value> {
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
