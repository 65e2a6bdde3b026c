//! The examples of the libraries run.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// `cargo test` builds the examples of the workspace beside its tests.
fn run(example: &str, arguments: &[&str]) -> String {
    let tests = std::env::current_exe().unwrap();
    let program = tests.ancestors().nth(2).unwrap().join("examples").join(example);
    assert!(program.is_file(), "{} is not built: run `cargo test --workspace`", program.display());
    let Output { status, stdout, stderr } = Command::new(program).args(arguments).output().unwrap();
    assert!(status.success(), "{example}: {}", String::from_utf8_lossy(&stderr));
    String::from_utf8(stdout).unwrap()
}

fn crates() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// An encoder of random weights, small enough for a test.
fn encoder() -> String {
    crates().join("ner-model/tests/encoders/biobert").to_str().unwrap().to_owned()
}

#[test]
fn a_model_is_trained_from_a_plan_and_annotates() {
    let folder = tempfile::tempdir().unwrap();
    let out = run("train", &[&encoder(), folder.path().to_str().unwrap()]);
    let (run_folder, score) = out.split_once('\n').unwrap();
    assert!(score.starts_with("strict micro F1 on the test split: "), "{score}");
    run("annotate", &[&format!("{run_folder}/model"), "Aspirin relieved the fever."]);
}

#[test]
fn a_head_is_trained_step_by_step() {
    let out = run("fit", &[&encoder()]);
    assert!(out.starts_with("epoch 1, step 1: loss ") && out.contains("epoch 3, "), "{out}");
}

#[test]
fn documents_are_converted_and_scored() {
    let folder = tempfile::tempdir().unwrap();
    let (from, to) = (folder.path().join("a.PubTator.txt"), folder.path().join("a.tsv"));
    fs_err::write(&from, "7|t|Aspirin and fever\n7|a|\n7\t0\t7\tAspirin\tChemical\tD001241\n").unwrap();
    let out = run("convert", &[from.to_str().unwrap(), to.to_str().unwrap()]);
    assert!(out.contains("1 documents from pubtator to conll") && out.contains("concept ids: 0 kept"), "{out}");
    assert!(fs_err::read_to_string(to).unwrap().contains("Aspirin\tB-Chemical"));
    assert!(run("score", &[]).contains("Disease: precision Some(0.0)"));
}
