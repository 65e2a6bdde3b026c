//! End-to-end tests of active learning, with a tiny encoder.

#![allow(clippy::unwrap_used, reason = "helpers of tests may unwrap as tests do")]
#![allow(dead_code, reason = "the bench is shared")]

mod bench;

use assert_cmd::Command;
use bench::Bench;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Runs `medner active`; returns stdout, or stderr if it failed.
fn active(arguments: &[&str]) -> Result<String, String> {
    let output = Command::cargo_bin("medner").unwrap().arg("active").args(arguments).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    if output.status.success() { Ok(text(output.stdout)) } else { Err(text(output.stderr)) }
}

fn lines(path: &Path) -> Vec<Value> {
    fs::read_to_string(path).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The rounds in a simulation's folder, without times.
fn rounds(folder: &Path) -> BTreeMap<String, Value> {
    let files = fs::read_dir(folder.join("seed1")).unwrap().map(|entry| entry.unwrap().path());
    files
        .map(|path| {
            let mut round: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
            for key in ["select_ms", "train_ms", "score_ms", "finished_at"] {
                round.as_object_mut().unwrap().remove(key);
            }
            (path.file_name().unwrap().to_str().unwrap().to_owned(), round)
        })
        .collect()
}

#[test]
fn a_simulation_goes_on_where_it_was_killed() {
    let bench = Bench::new();
    let (encoder, recipe) = (bench.path("encoder"), bench.path("recipe.toml"));
    let command = |out: &Path| -> Vec<String> {
        let fixed = "simulate bc5cdr --sample --seeds 1 --rounds 10,30 --min-steps 4 --score-documents 9 --format json \
                     --committee 2 --strategies random,mnlp,margin,core-set,badge,hybrid,bald,vote-entropy";
        let mut words: Vec<String> = fixed.split_whitespace().map(str::to_owned).collect();
        for (name, path) in [("--encoder", &encoder), ("--config", &recipe), ("--out", &out.to_owned())] {
            words.extend([name.to_owned(), path.display().to_string()]);
        }
        words
    };
    let simulate = |out: &Path| {
        let words = command(out);
        active(&words.iter().map(String::as_str).collect::<Vec<_>>())
    };
    let (whole, killed) = (bench.path("whole"), bench.path("killed"));
    let result: Value = serde_json::from_str(&simulate(&whole).unwrap()).unwrap();
    assert!(result["full"]["mean"].as_f64().is_some());
    let mnlp = &result["strategies"]["mnlp"];
    assert_eq!(mnlp["curve"].as_array().unwrap().len(), 2);
    assert_eq!(mnlp["curve"][0], result["strategies"]["random"]["curve"][0], "all begin alike");
    assert!(fs::read_to_string(whole.join("report.html")).unwrap().contains("<svg"));
    let all = rounds(&whole);
    assert_eq!(all.len(), 10);
    for (name, round) in all.iter().filter(|(name, _)| !name.starts_with("full")) {
        let limit = if name.starts_with("start") { 0.1 } else { 0.3 };
        let share = round["share"].as_f64().unwrap();
        assert!(share <= limit + 1e-6 && share > limit - 0.01, "{name}: {share}");
    }
    assert!(all["mnlp-30.json"]["chosen"] != all["random-30.json"]["chosen"]);

    let binary = assert_cmd::cargo::cargo_bin("medner");
    let mut process = std::process::Command::new(binary)
        .arg("active")
        .args(command(&killed))
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    while !killed.join("seed1/core-set-30.json").is_file() {
        assert!(process.try_wait().unwrap().is_none(), "it ended too soon");
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    process.kill().unwrap();
    process.wait().unwrap();
    simulate(&killed).unwrap();
    assert_eq!(rounds(&killed), all);
    let mut other = command(&killed);
    other.extend(["--whole-documents".into()]);
    let message = active(&other.iter().map(String::as_str).collect::<Vec<_>>()).unwrap_err();
    assert!(message.contains("another whole_documents"), "{message}");
}

/// An annotated corpus of `documents` documents with two sentences each.
fn corpus(path: &Path, name: &str, documents: usize) {
    let drugs = ["Aspirin", "Valproate", "Naloxone", "Cocaine", "Lithium"];
    let line = |at: usize| {
        let (drug, other) = (drugs[at % 5], drugs[(at / 5 + 1) % 5]);
        let first = format!("{drug} caused nausea in patient {at}. ");
        let text = format!("{first}No {other} was given – später, in {name}{at}.");
        let span =
            |start: usize, length: usize, label: &str| json!({ "start": start, "end": start + length, "label": label });
        let spans = [
            span(0, drug.len(), "Chemical"),
            span(drug.len() + 8, 6, "Disease"),
            span(first.len() + 3, other.len(), "Chemical"),
        ];
        json!({ "id": format!("{name}{at}"), "text": text, "spans": spans }).to_string() + "\n"
    };
    fs::write(path, (0..documents).map(line).collect::<String>()).unwrap();
}

/// A scripted correction of an item: removes the first suggestion and adds a mention.
fn correct(text: &str, spans: &[(usize, usize, String)]) -> Vec<(usize, usize, String)> {
    let mut spans: Vec<_> = spans.iter().skip(1).cloned().collect();
    let length = text.chars().take_while(|char| !char.is_whitespace()).count();
    let new = (0, length, "MergedMention".to_owned());
    if !spans.contains(&new) {
        spans.push(new);
    }
    spans.sort();
    spans
}

fn spans_of(line: &Value) -> Vec<(usize, usize, String)> {
    let number = |value: &Value| value.as_u64().unwrap() as usize;
    let spans = line["spans"].as_array().unwrap().iter();
    let mut spans: Vec<_> = spans
        .map(|span| (number(&span["start"]), number(&span["end"]), span["label"].as_str().unwrap().to_owned()))
        .collect();
    spans.sort();
    spans
}

#[test]
fn what_was_corrected_comes_back_and_what_is_damaged_does_not() {
    let bench = Bench::new();
    let path = |name: &str| bench.path(name).display().to_string();
    corpus(&bench.path("first.jsonl"), "a", 30);
    corpus(&bench.path("dev.jsonl"), "b", 10);
    corpus(&bench.path("test.jsonl"), "c", 10);
    corpus(&bench.path("pool.jsonl"), "p", 40);
    let (encoder, recipe, folder) = (path("encoder"), path("recipe.toml"), path("loop"));
    let mut begin = vec!["add", &folder, "--encoder", &encoder, "--config", &recipe, "--format", "json"];
    let options = [
        ("--labelled", path("first.jsonl")),
        ("--dev", path("dev.jsonl")),
        ("--test", path("test.jsonl")),
        ("--pool", path("pool.jsonl")),
    ];
    options.iter().for_each(|(name, value)| begin.extend([*name, value.as_str()]));
    begin.extend(["--budget", "12 sentences", "--strategy", "hybrid"]);
    let first: Value = serde_json::from_str(&active(&begin).unwrap()).unwrap();
    assert_eq!(first["next"], "batches/0001");
    assert_eq!(first["rounds"][0]["items"], 30);
    assert!(first["rounds"][0]["test_f1"].as_f64().unwrap() > 0.3, "{first}");

    // The loop can be moved, and every tool's format returns exactly the corrections.
    let moved = bench.path("moved");
    fs::rename(bench.path("loop"), &moved).unwrap();
    let moved_name = path("moved");
    let run = first["rounds"][0]["run"].as_str().unwrap();
    let model = moved.join("runs/active").join(run).display().to_string();
    let pool = path("pool.jsonl");
    let mut known = 30;
    for (number, to) in ["jsonl", "doccano", "brat", "conll"].into_iter().enumerate() {
        let out = path(&format!("batch-{to}"));
        let known_folder = moved.join("labelled");
        let known_files: Vec<String> =
            fs::read_dir(&known_folder).unwrap().map(|entry| entry.unwrap().path().display().to_string()).collect();
        let mut select = vec!["select", pool.as_str(), "--model", &model, "--to", to, "--out", &out];
        select.extend(["--budget", "8 sentences", "--strategy", "entropy"]);
        known_files.iter().for_each(|file| select.extend(["--known", file]));
        active(&select).unwrap();
        let batch = PathBuf::from(&out);
        let manifest: Value = serde_json::from_slice(&fs::read(batch.join("batch.json")).unwrap()).unwrap();
        let items = manifest["items"].as_array().unwrap();
        assert!(
            items.len() == 8 && items.windows(2).all(|pair| pair[0]["score"].as_f64() >= pair[1]["score"].as_f64())
        );
        let exported = lines(&batch.join("exported.jsonl"));
        let mut expected = BTreeMap::new();
        for line in &exported {
            let (id, text) = (line["id"].as_str().unwrap(), line["text"].as_str().unwrap());
            expected.insert(id.to_owned(), correct(text, &spans_of(line)));
        }
        // A script corrects the exported file, in the tool's own format.
        match to {
            "jsonl" | "doccano" => {
                let file = batch.join(if to == "jsonl" { "batch.jsonl" } else { "batch.doccano.jsonl" });
                let mut text = String::new();
                for (at, mut line) in lines(&file).into_iter().enumerate() {
                    let spans = &expected[line["id"].as_str().unwrap()];
                    if to == "jsonl" {
                        let span = |(start, end, label): &(usize, usize, String)| json!({ "start": start, "end": end, "label": label });
                        line["spans"] = spans.iter().map(span).collect();
                        line["answer"] = "accept".into();
                    } else {
                        line["label"] = spans.iter().map(|span| json!(span)).collect();
                        // doccano renumbers items; the text identifies the item.
                        line["id"] = json!(1000 + at);
                    }
                    text += &format!("{line}\n");
                }
                fs::write(file, text).unwrap();
            }
            "brat" => {
                for (id, spans) in &expected {
                    let text = fs::read_to_string(batch.join(format!("brat/{id}.txt"))).unwrap();
                    let chars: Vec<char> = text.chars().collect();
                    let line = |(at, (start, end, label)): (usize, &(usize, usize, String))| {
                        format!(
                            "T{}\t{label} {start} {end}\t{}\n",
                            at + 1,
                            chars[*start..*end].iter().collect::<String>()
                        )
                    };
                    let annotation: String = spans.iter().enumerate().map(line).collect();
                    fs::write(batch.join(format!("brat/{id}.ann")), annotation).unwrap();
                }
            }
            _ => {
                // Unedited: everything that the format can express must come back.
                expected =
                    exported.iter().map(|line| (line["id"].as_str().unwrap().to_owned(), spans_of(line))).collect();
            }
        }
        // Damaged or foreign files are rejected with file and line, and nothing is added.
        let before = fs::read_dir(&known_folder).unwrap().count();
        if to == "jsonl" {
            let whole = fs::read_to_string(batch.join("batch.jsonl")).unwrap();
            let check = |changed: String, expected: &[&str]| {
                fs::write(batch.join("batch.jsonl"), changed).unwrap();
                let message = active(&["add", &moved_name, &out]).unwrap_err();
                assert!(expected.iter().all(|part| message.contains(part)), "{message}");
                assert_eq!(fs::read_dir(&known_folder).unwrap().count(), before);
            };
            check(whole.replacen("{", "{{", 1), &["batch.jsonl:1", "nothing was added"]);
            check(
                whole.replacen("\"text\":\"", "\"text\":\"x", 1),
                &["batch.jsonl: item p", "differs from the exported one"],
            );
            check(whole.replacen("\"end\":", "\"end\":9", 1), &["batch.jsonl:", "out of range"]);
            let twice = format!("{whole}{}", whole.lines().next().unwrap().replacen("\"id\":\"p", "\"id\":\"q", 1));
            check(twice, &["batch.jsonl: item q", "appears twice"]);
            fs::write(batch.join("batch.jsonl"), &whole).unwrap();
        }
        let result: Value =
            serde_json::from_str(&active(&["add", &moved_name, &out, "--further", "--format", "json"]).unwrap())
                .unwrap();
        known += expected.len();
        let rounds = result["rounds"].as_array().unwrap();
        assert_eq!((rounds.len(), &rounds[number + 1]["items"]), (number + 2, &Value::from(known)), "{to}");
        let mut files: Vec<PathBuf> = fs::read_dir(&known_folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.sort();
        let came_back: BTreeMap<String, _> = lines(files.last().unwrap())
            .iter()
            .map(|line| (line["id"].as_str().unwrap().to_owned(), spans_of(line)))
            .collect();
        assert_eq!(came_back, expected, "{to}");

        // Adding the same again changes nothing; different corrections of the same items are rejected.
        let again = active(&["add", &moved_name, &out, "--format", "json"]).unwrap();
        assert_eq!(serde_json::from_str::<Value>(&again).unwrap()["rounds"], result["rounds"]);
        if to == "brat" {
            let id = expected.keys().next().unwrap();
            fs::write(batch.join(format!("brat/{id}.ann")), "").unwrap();
            let message = active(&["add", &moved_name, &out]).unwrap_err();
            assert!(message.contains(&format!("item {id}")) && message.contains("nothing was added"), "{message}");
        }
    }
}
