//! Shards of a collection, each a process of its own.

#![allow(clippy::unwrap_used, reason = "helpers of tests may unwrap as tests do")]

mod tiny;

use serde_json::Value;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

const OF: usize = 5;

fn medner(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_medner"));
    command.env_remove("RUST_LOG").env("OMP_NUM_THREADS", "1").current_dir(folder);
    command.arg("annotate").args(arguments).output().unwrap()
}

fn annotate(folder: &Path, arguments: &[&str]) -> Output {
    medner(folder, &[&["notes", "--model", "model", "--runs", "runs", "--precision", "fp32"], arguments].concat())
}

fn shard(folder: &Path, number: usize) -> Output {
    annotate(folder, &["--out", "found", "--shard", &format!("{number}/{OF}")])
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn check(folder: &Path) -> (bool, String) {
    let output = medner(folder, &["--check", "found"]);
    (output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned() + &stderr(&output))
}

/// A model, eleven texts and a table of two rows.
fn bench() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    tiny::model(&folder.path().join("model"), ["Disease", "Drug"], 0.5);
    fs::create_dir_all(folder.path().join("notes/ward")).unwrap();
    for at in 0..11 {
        let text = format!("Note {at}: {}fever, naloxone 5 mg.", "no cough, ".repeat(at * at));
        fs::write(folder.path().join(format!("notes/ward/{at}.txt")), text).unwrap();
    }
    fs::write(folder.path().join("notes/table.csv"), "id,text\nrow 1,Fever.\nrow 2,naloxone\n").unwrap();
    folder
}

/// The documents of JSON lines, sorted. What shares a batch changes the last digits of a confidence, so that five count.
fn sorted_lines(paths: impl IntoIterator<Item = std::path::PathBuf>) -> Vec<String> {
    let mut lines = Vec::new();
    for path in paths {
        for line in fs::read_to_string(path).unwrap().lines() {
            let mut document: Value = serde_json::from_str(line).unwrap();
            for mention in document["mentions"].as_array_mut().unwrap() {
                let confidence = mention["confidence"].as_f64().unwrap();
                mention["confidence"] = format!("{confidence:.5}").into();
            }
            lines.push(document.to_string());
        }
    }
    lines.sort();
    lines
}

fn parts(folder: &Path) -> Vec<std::path::PathBuf> {
    (0..OF).map(|number| folder.join(format!("found/part-{number:05}-of-{OF:05}.jsonl"))).collect()
}

#[test]
fn shards_in_any_order_are_one_annotation() {
    let bench = bench();
    let folder = bench.path();
    let whole = annotate(folder, &["--out", "whole.jsonl"]);
    assert!(whole.status.success(), "{}", stderr(&whole));
    for number in [3, 0, 4, 1] {
        let output = shard(folder, number);
        assert!(output.status.success(), "{}", stderr(&output));
    }
    let (is_whole, said) = check(folder);
    assert!(!is_whole && said.contains("4 of 5 shards finished") && said.contains("start again: 2"), "{said}");
    assert!(shard(folder, 2).status.success());
    let (is_whole, said) = check(folder);
    assert!(is_whole && said.starts_with("5 of 5 shards finished: 13 documents, "), "{said}");
    assert_eq!(sorted_lines(parts(folder)), sorted_lines([folder.join("whole.jsonl")]));

    // A repeated shard does nothing; one whose manifest is gone writes the same bytes again.
    let before = fs::read(&parts(folder)[1]).unwrap();
    assert!(stderr(&shard(folder, 1)).contains("finished already"));
    fs::remove_file(folder.join("found/part-00001-of-00005.manifest.json")).unwrap();
    fs::remove_file(&parts(folder)[4]).unwrap();
    let (is_whole, said) = check(folder);
    assert!(!is_whole && said.contains("start again: 1,4"), "{said}");
    assert!(shard(folder, 1).status.success() && shard(folder, 4).status.success());
    assert_eq!(fs::read(&parts(folder)[1]).unwrap(), before);

    fs::write(&parts(folder)[0], "").unwrap();
    fs::copy(&parts(folder)[2], folder.join("found/part-00002-of-00007.jsonl")).unwrap();
    let (is_whole, said) = check(folder);
    assert!(!is_whole && said.contains("part-00000-of-00005.jsonl was changed"), "{said}");
    assert!(said.contains("part-00002-of-00007.jsonl belongs to no shard"), "{said}");

    // What is damaged is written again by its shard.
    fs::remove_file(folder.join("found/part-00002-of-00007.jsonl")).unwrap();
    fs::write(folder.join("found/part-00001-of-00005.manifest.json"), "").unwrap();
    let (is_whole, said) = check(folder);
    assert!(!is_whole && said.contains("start again: 0-1"), "{said}");
    assert!(shard(folder, 0).status.success() && shard(folder, 1).status.success());
    assert!(check(folder).0);
    assert_eq!(fs::read(&parts(folder)[1]).unwrap(), before);
}

#[test]
fn what_cannot_be_read_now_leaves_its_shard_unfinished() {
    let bench = bench();
    let folder = bench.path();
    assert!(annotate(folder, &["--to", "parquet", "--out", "notes/found.parquet"]).status.success());
    let output = annotate(folder, &["--out", "found", "--shard", "0/5", "--text-column", "note"]);
    let said = stderr(&output);
    assert!(!output.status.success() && said.contains("no column \"note\"; the table has"), "{said}");
    assert!(said.contains("shard 0/5 has not finished"), "{said}");
    assert!(check(folder).1.contains("no shard has finished"));
    fs::remove_file(folder.join("notes/found.parquet")).unwrap();
    assert!(shard(folder, 0).status.success());

    std::os::unix::fs::symlink("nowhere", folder.join("notes/link.txt")).unwrap();
    let said = stderr(&shard(folder, 1));
    assert!(said.contains("cannot be dealt out to shards: it cannot be read"), "{said}");
}

#[test]
fn shards_of_different_annotations_are_refused() {
    let bench = bench();
    let folder = bench.path();
    assert!(shard(folder, 0).status.success());
    let refused = |output: Output, why: &str| {
        let said = stderr(&output);
        assert!(!output.status.success() && said.contains(why), "{why} and not {said}");
    };
    let out = ["--out", "found", "--shard"];
    refused(annotate(folder, &[&out[..], &["1/6"]].concat()), "5 shards in one and 6 in the other");
    refused(annotate(folder, &[&out[..], &["1/5", "--threshold", "0.9"]].concat()), "these settings differ: threshold");
    refused(annotate(folder, &[&out[..], &["5/5"]].concat()), "numbers 0 to 4");
    refused(annotate(folder, &["--shard", "1/5"]), "--out");
    refused(annotate(folder, &[&out[..], &["1/5", "--to", "brat"]].concat()), "formats of one file");
    refused(annotate(folder, &[&out[..], &["1/5", "--id-column", "id"]].concat()), "these settings differ: id_column");
    refused(annotate(folder, &["--out", "notes/found", "--shard", "1/5"]), "lies in the input notes");
    fs::write(folder.join("notes/table.csv"), "id,text\nrow 1,Fever.\n").unwrap();
    refused(shard(folder, 0), "table.csv was another file then; remove found/part-00000-of-00005.manifest.json");
    fs::write(folder.join("notes/new.txt"), "A new note.").unwrap();
    refused(shard(folder, 1), "the inputs differ (12 files and row groups in one, 13 in the other)");
    refused(medner(folder, &["--check", "notes"]), "no readable manifest");
}

/// The precision that computes, whatever `auto` takes on this machine.
#[test]
fn the_manifest_names_the_precision_of_each_model() {
    let bench = bench();
    let folder = bench.path();
    for precision in ["fp32", "int8"] {
        let output = medner(
            folder,
            &["notes", "--model", "model", "--precision", precision, "--out", precision, "--shard", "0/5"],
        );
        assert!(output.status.success(), "{}", stderr(&output));
        let manifest = fs::read(folder.join(precision).join("part-00000-of-00005.manifest.json")).unwrap();
        let manifest: Value = serde_json::from_slice(&manifest).unwrap();
        assert_eq!(manifest["settings"]["precision"], Value::from(vec![precision]));
    }
}

#[test]
fn what_a_shard_skips_is_in_its_manifest() {
    let bench = bench();
    let folder = bench.path();
    fs::write(folder.join("notes/latin.txt"), b"Fi\xe8vre").unwrap();
    let mut said = String::new();
    for number in 0..OF {
        let output = shard(folder, number);
        assert!(output.status.success(), "{}", stderr(&output));
        said += &stderr(&output);
    }
    assert!(said.contains("is not UTF-8"), "{said}");
    let manifest = fs::read(folder.join("found/part-00000-of-00005.manifest.json")).unwrap();
    let manifest: Value = serde_json::from_slice(&manifest).unwrap();
    assert_eq!((&manifest["skipped"], &manifest["inputs"][0]["file"]), (&1.into(), &"latin.txt".into()));
    let (is_whole, said) = check(folder);
    assert!(!is_whole && said.contains("could not be annotated: 1 documents"), "{said}");
}
