//! End-to-end tests of training, on the embedded sample with a tiny encoder.

#![allow(clippy::unwrap_used, reason = "helpers of tests may unwrap as tests do")]

mod bench;

use assert_cmd::Command;
use bench::Bench;
use serde_json::Value;
use std::fs;

#[test]
fn a_run_repeats_itself_resumes_and_is_scored_again() {
    let bench = Bench::new();
    let first = bench.json(&["train", "bc5cdr"]);
    assert_eq!((&first["dataset"], &first["split"]), (&Value::from("bc5cdr"), &Value::from("test")));
    assert!(first["overall"]["f1"].as_f64().unwrap() > 0.02, "it learned nothing: {first}");
    let run = first["run"].as_str().unwrap();
    for file in [
        "run.json",
        "scores.json",
        "predictions/dev.jsonl",
        "predictions/test.jsonl",
        "predictions/test.PubTator.txt",
        "model/config.json",
        "model/tokenizer.json",
    ] {
        assert!(bench.path("runs/bc5cdr").join(run).join(file).is_file(), "{file}");
    }
    assert_eq!(bench.json(&["eval", "bc5cdr"]), first);
    let detailed = bench.json(&["eval", "bc5cdr", "--detail"]);
    assert_eq!((&detailed["overall"], &detailed["intervals"]), (&first["overall"], &first["intervals"]));
    let support = |groups: &Value| -> u64 {
        groups.as_array().unwrap().iter().map(|group| group["support"].as_u64().unwrap()).sum()
    };
    let detail = &detailed["detail"];
    for groups in [&detail["by_words"], &detail["by_pieces"], &detail["seen"]["by_frequency"], &detail["per_document"]]
    {
        assert_eq!(Some(support(groups)), first["overall"]["support"].as_u64());
    }
    assert!(detail["seen"]["by_string"][0]["group"] == "seen" && detail["frequent"].is_null());

    // With a vocabulary of the names and ids of gold, gold mentions find their ids, and predicted ones are linked.
    let sample = concat!(env!("CARGO_MANIFEST_DIR"), "/../../datasets/bc5cdr/sample/test.PubTator.txt");
    let mut names = "id\tname\n".to_owned();
    for line in fs::read_to_string(sample).unwrap().lines() {
        if let [_, _, _, name, "Disease", id] = line.split('\t').collect::<Vec<_>>().as_slice() {
            names += &format!("{id}\t{name}\n");
        }
    }
    let [tsv, voc] = ["names.tsv", "disease.voc"].map(|name| bench.path(name));
    fs::write(&tsv, names).unwrap();
    let mut build = Command::cargo_bin("medner").unwrap();
    build.args(["vocabulary", "build"]).arg(&tsv).arg("--out").arg(&voc).assert().success();
    let [for_disease, for_diseese] = ["Disease", "Diseese"].map(|of| format!("{of}={}", voc.display()));
    let linked = bench.json(&["eval", "bc5cdr", "--vocabulary", &for_disease, "--candidates", "2"]);
    assert_eq!(linked["overall"], first["overall"]);
    let concepts = &linked["concepts"];
    let gold = &concepts["gold_mentions"];
    assert!(gold["accuracy"].as_f64().unwrap() > 0.9 && gold["at_k"]["accuracy"].as_f64() >= gold["accuracy"].as_f64());
    assert!(gold["accuracy_interval"]["low"].as_f64() <= gold["accuracy"].as_f64(), "{gold}");
    assert_eq!(gold["accuracy_per_type"].as_object().unwrap().keys().collect::<Vec<_>>(), ["Disease"]);
    // Some gold mentions have several ids, and their names are no names of one.
    assert_eq!(concepts["ceiling"]["mentions"], gold["matched"]);
    assert!(concepts["ceiling"]["held"].as_f64() > gold["matched"].as_f64().map(|matched| 0.9 * matched));
    assert!(concepts["predicted_mentions"]["documents"]["overall"]["support"].as_u64() > Some(0));
    let count = || fs::read_dir(bench.path("runs/bc5cdr")).unwrap().count();
    let known = count();
    let message = bench.fails(&["eval", "bc5cdr", "--vocabulary", &for_diseese]);
    assert_eq!(count(), known, "it leaves no record");
    assert!(message.contains("no gold mention has the type Diseese"), "{message}");

    // Killed after its first epoch, then resumed: equal metrics and scores.
    let mut killed = bench.spawn(&["train", "bc5cdr"]);
    let second = bench.wait_for("state/epoch-1", &[run]);
    let status = || bench.json(&["runs", "show", &second])["status"].clone();
    // Paused, so that it cannot end meanwhile.
    let signal = |name: &str| Command::new("kill").args([name, &killed.id().to_string()]).assert().success();
    signal("-STOP");
    assert_eq!(status(), "running");
    for command in [&["train", "bc5cdr", "--resume", &second][..], &["runs", "rm", "--yes", &second]] {
        let message = bench.fails(command);
        assert!(message.contains("is running (process"), "{message}");
    }
    killed.kill().unwrap();
    killed.wait().unwrap();
    assert_eq!(status(), "stopped");
    let resumed = bench.json(&["train", "bc5cdr", "--resume", &second]);
    assert_eq!(resumed["overall"], first["overall"]);
    assert_eq!(bench.metrics(&second), bench.metrics(run));
}

#[test]
fn every_head_is_trained_scored_again_and_annotates() {
    let bench = Bench::new();
    let note = bench.path("note.txt");
    fs::write(&note, "Aspirin caused liver failure.").unwrap();
    for head in ["token", "crf", "multilabel"] {
        let trained = bench.json(&["train", "bc5cdr", "--head", head, "--epochs", "1"]);
        let run = trained["run"].as_str().unwrap();
        assert!(trained["overall"]["support"].as_u64().unwrap() > 0);
        assert_eq!(bench.json(&["eval", "bc5cdr", "--run", run]), trained, "{head}");
        let model = bench.path("runs/bc5cdr").join(run).join("model");
        let config: Value = serde_json::from_slice(&fs::read(model.join("config.json")).unwrap()).unwrap();
        let known = &config["medner"]["head"];
        assert!(known == head || known[head]["scheme"] == "bio", "{known}");
        let mut annotate = Command::cargo_bin("medner").unwrap();
        annotate.args(["annotate", "--to", "jsonl", "--model"]).arg(model).arg(&note).assert().success();
    }
    fs::write(bench.path("recipe.toml"), "label_smoothing = 0.1\noverlap = 32\n").unwrap();
    let message = bench.fails(&["train", "bc5cdr", "--head", "crf"]);
    assert!(message.contains("label_smoothing does not apply to the head `crf`"), "{message}");
    assert!(bench.fails(&["train", "bc5cdr", "--head", "crv"]).contains("unknown variant `crv`"));
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
    fails(&["--precision", "fp16", "--device", "cpu"], "fp16 needs CUDA");
    fails(&["--precision", "int8"], "int8 is for prediction");
    fails(&["--device", "cuda:7"], "cuda:7");
    fs::write(bench.path("recipe.toml"), "epoch = 3\n").unwrap();
    fails(&[], "unknown field `epoch`");
    fails(&[], "did you mean `epochs`?");
    fs::write(bench.path("recipe.toml"), "overlap = 32\n").unwrap();
    let weights = bench.path("encoder/model.safetensors");
    let whole = fs::read(&weights).unwrap();
    fs::write(&weights, &whole[..whole.len() - 10]).unwrap();
    fails(&[], "truncated");
    fs::remove_file(&weights).unwrap();
    fails(&[], "model.safetensors or pytorch_model.bin");
    fs::write(&weights, &whole).unwrap();
    fs::write(bench.path("runs"), "a file where the folder should be").unwrap();
    fails(&[], "cannot create a run folder");
}

#[test]
fn a_tracker_that_is_away_stops_nothing() {
    let bench = Bench::new();
    let train = |extra: &[&str], uri: Option<&str>| {
        let mut command = Command::cargo_bin("medner").unwrap();
        command.args(bench.arguments(&["train", "bc5cdr"])).args(["--epochs", "1"]).args(extra);
        command
            .env_remove("MLFLOW_TRACKING_URI")
            .env_remove("MEDNER_TRACK")
            .envs(uri.map(|uri| ("MLFLOW_TRACKING_URI", uri)));
        let output = command.output().unwrap();
        (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    // Nothing listens on the port of the discard service.
    let (well, said) = train(&["--track", "mlflow,tensorboard"], Some("http://127.0.0.1:9"));
    assert!(well && said.matches("WARN MLflow at http://127.0.0.1:9").count() == 2, "{said}");
    let mut runs = fs::read_dir(bench.path("runs/bc5cdr")).unwrap();
    let run = runs.next().unwrap().unwrap().path();
    assert_eq!(fs::read_dir(run.join("tensorboard")).unwrap().count(), 1);
    assert!(run.join("tracking.json").is_file() && run.join("scores.json").is_file());
    let folder = bench.path("runs");
    let sync = ["runs", "sync", "--all", "--format", "json", "--runs", folder.to_str().unwrap()];
    let output = Command::cargo_bin("medner").unwrap().args(sync).env_remove("MLFLOW_TRACKING_URI").output().unwrap();
    let result: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(
        !output.status.success() && result["runs"][0]["error"].as_str().unwrap().contains("127.0.0.1:9"),
        "{result}"
    );
    // Errors that the user must fix are reported before anything is loaded.
    let (well, said) = train(&["--track", "mlflow"], None);
    assert!(!well && said.contains("MLFLOW_TRACKING_URI is not set"), "{said}");
    let (well, said) = train(&["--track", "mlflow"], Some("sqlite:///runs.db"));
    assert!(!well && said.contains("http://"), "{said}");
}

#[test]
fn a_training_on_dev_too_keeps_the_last_epoch_and_says_so_everywhere() {
    let bench = Bench::new();
    bench.json(&["train", "bc5cdr", "--epochs", "2"]);
    let first = bench.trainings().remove(0);
    let chosen = bench.metrics(&first).into_iter().rfind(|line| line["best"] == true).unwrap()["offsets"].clone();
    let both = ["train", "bc5cdr", "--train-on", "train+dev"];
    assert!(bench.fails(&["train", "bc5cdr", "--thresholds-from", &first]).contains("--train-on train+dev"));
    let result = bench.json(&[&both[..], &["--epochs", "2", "--thresholds-from", &first]].concat());
    assert_eq!((&result["train_on"], &result["split"]), (&"train+dev".into(), &"test".into()));
    let run = result["run"].as_str().unwrap();
    let folder = bench.path("runs/bc5cdr").join(run);
    let read = |name: &str| -> Value { serde_json::from_slice(&fs::read(folder.join(name)).unwrap()).unwrap() };
    let (record, scores) = (read("run.json"), read("scores.json"));
    assert_eq!(record["plan"]["train_on"], "train+dev");
    assert_eq!(record["plan"]["thresholds_from"]["run"], first.as_str());
    assert!(scores.get("dev").is_none() && scores["test"]["overall"]["f1"].is_number(), "{scores}");
    let epochs: Vec<Value> = bench.metrics(run).into_iter().filter(|line| line["kind"] == "epoch").collect();
    assert_eq!(epochs.iter().map(|line| &line["best"]).collect::<Vec<_>>(), [false, true]);
    assert!(epochs.iter().all(|line| line.get("dev").is_none() && line["offsets"] == chosen), "{epochs:?}");
    // Trained on more than the train split.
    let tokens = |run: &str| bench.metrics(run).iter().filter_map(|line| line["tokens"].as_u64()).sum::<u64>();
    assert!(tokens(run) > tokens(&first));
    let list = bench.json(&["runs", "list", "--columns", "run,train_on,dev"]);
    assert_eq!((&list[0]["train_on"], &list[1]["train_on"]), (&Value::Null, &"train+dev".into()));
    assert!(list[0]["dev"].is_number() && list[1]["dev"].is_null(), "{list}");
}

#[test]
fn corpora_are_trained_on_together_and_each_is_scored_on_its_own_types() {
    let bench = Bench::new();
    let result = bench.json(&["train", "bc5cdr+i2b2", "--epochs", "1"]);
    let types = |scores: &Value| -> Vec<String> { scores["per_type"].as_object().unwrap().keys().cloned().collect() };
    assert_eq!(types(&result["by_corpus"]["bc5cdr"]), ["Chemical", "Disease"]);
    assert_eq!(types(&result["by_corpus"]["i2b2"]), ["problem", "test", "treatment"]);
    let run = bench.path("runs/bc5cdr+i2b2").join(result["run"].as_str().unwrap());
    let read = |name: &str| -> Value { serde_json::from_slice(&fs::read(run.join(name)).unwrap()).unwrap() };
    let (record, scores) = (read("run.json"), read("scores.json"));
    assert_eq!(record["corpus"]["parts"][1]["name"], "i2b2");
    assert_eq!(record["labels"]["types"], serde_json::json!(["Chemical", "Disease", "problem", "treatment", "test"]));
    assert_eq!(scores["by_corpus"]["test"], result["by_corpus"]);
    assert!(scores["by_corpus"]["dev"]["i2b2"]["overall"].is_object());
    let again = bench.json(&["eval", "bc5cdr+i2b2"]);
    assert_eq!((&again["overall"], &again["by_corpus"]), (&result["overall"], &result["by_corpus"]));
    assert!(bench.fails(&["train", "bc5cdr+bc5cdr"]).contains("named twice"));
    assert!(bench.fails(&["train", "bc5cdr+i2b3"]).contains("did you mean `i2b2`?"));
    fs::write(bench.path("recipe.toml"), "label_smoothing = 0.1\nhead = \"token\"\noverlap = 32\n").unwrap();
    assert!(bench.fails(&["train", "bc5cdr+i2b2"]).contains("label_smoothing needs a single corpus"));
}
