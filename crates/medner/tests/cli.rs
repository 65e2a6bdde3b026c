//! The command as a user meets it. No test needs the network, a corpus or an encoder.

use assert_cmd::Command;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

const GOOD: &str = "7|t|Aspirin and fever.\n7|a|None.\n7\t0\t7\tAspirin\tChemical\tD1\n7\t12\t17\tfever\tDisease\tD2\n";
const SECRET: &str = "Naloxone";

/// The command in an empty folder and an environment where nothing is found and nothing is fetched.
fn medner(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_medner"));
    for variable in ["MEDNER_CORPORA", "RUST_LOG"] {
        command.env_remove(variable);
    }
    // Else the frames of a test could land in this checkout, and its corpus be found.
    command.current_dir(folder).env("MEDNER_CACHE", folder).env("HF_HOME", folder).env("HF_HUB_OFFLINE", "1");
    command
}

fn folder() -> TempDir {
    tempfile::tempdir().expect("a folder")
}

fn file(folder: &TempDir, name: &str, text: &str) -> PathBuf {
    let path = folder.path().join(name);
    std::fs::write(&path, text).expect("written");
    path
}

/// Exit code, stdout and stderr.
fn run(command: &mut Command) -> (Option<i32>, String, String) {
    let output = command.output().expect("the command starts");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
    (output.status.code(), text(output.stdout), text(output.stderr))
}

fn score(folder: &TempDir, gold: &str, predicted: &str, more: &[&str]) -> (Option<i32>, String, String) {
    let (gold, predicted) = (file(folder, "gold", gold), file(folder, "predicted", predicted));
    run(medner(folder.path()).arg("score").arg("--gold").arg(gold).arg("--predicted").arg(predicted).args(more))
}

fn json(text: &str) -> serde_json::Value {
    serde_json::from_str(text).expect("one JSON object")
}

#[test]
fn an_unknown_dataset_gets_a_suggestion() {
    let folder = folder();
    let (code, out, err) = run(medner(folder.path()).args(["data", "bc5crd"]));
    assert_eq!((code, out.as_str()), (Some(1), ""));
    assert!(err.starts_with("error: no dataset is called `bc5crd`, did you mean `bc5cdr`?"), "{err}");
}

#[test]
fn a_corpus_that_cannot_be_had_names_every_way_to_get_on() {
    let folder = folder();
    let (code, out, err) = run(medner(folder.path()).args(["data", "bc5cdr"]));
    assert_eq!((code, out.as_str()), (Some(1), ""));
    for way in
        ["--data-dir DIR", "MEDNER_CORPORA=DIR", "CDR_TestSet.PubTator.txt", "put them into", "https://", "--sample"]
    {
        assert!(err.contains(way), "{way} is not in: {err}");
    }
}

#[test]
fn the_sample_as_json_is_one_object_and_its_frames_are_written() {
    let folder = folder();
    let (code, out, err) =
        run(medner(folder.path()).args(["data", "bc5cdr", "--sample", "--format", "json", "--out", "frames"]));
    assert_eq!(code, Some(0), "{err}");
    let report = json(&out);
    assert_eq!(
        (&report["synthetic"], &report["origin"]["source"]),
        (&true.into(), &"embedded synthetic sample".into())
    );
    let statistics = &report["splits"]["test"]["statistics"];
    let by_type = statistics["mentions_by_type"].as_object().expect("an object");
    let sum: u64 = by_type.values().filter_map(serde_json::Value::as_u64).sum();
    assert_eq!(Some(sum), statistics["mentions"].as_u64());
    assert!(err.contains("Synthetic"), "{err}");
    assert!(folder.path().join("frames/documents.parquet").is_file());
    assert!(folder.path().join("frames/mentions.parquet").is_file());
}

#[test]
fn data_lists_faults_and_goes_on() {
    let folder = folder();
    let broken = format!("{GOOD}7\t0\t8\t{SECRET}\tChemical\n");
    for (name, text) in [("Training", GOOD), ("Development", broken.as_str()), ("Test", GOOD)] {
        file(&folder, &format!("CDR_{name}Set.PubTator.txt"), text);
    }
    let (code, out, err) = run(medner(folder.path()).args(["data", "bc5cdr", "--data-dir", "."]));
    assert_eq!(code, Some(0), "{err}");
    assert!(out.contains("CDR_DevelopmentSet.PubTator.txt:5: document 7: text does not match"), "{out}");
    assert!(err.contains("is NOT the published file"), "{err}");
    assert!(!out.contains(SECRET) && !err.contains(SECRET));
}

#[test]
fn scores_of_spans_and_tags() {
    let folder = folder();
    let check = |gold: &str, predicted: &str, more: &[&str], expected: [serde_json::Value; 3]| {
        let (code, out, err) = score(&folder, gold, predicted, &[more, &["--format", "json"]].concat());
        assert_eq!(code, Some(0), "{err}");
        let overall = &json(&out)["overall"];
        assert_eq!(["precision", "recall", "f1"].map(|part| overall[part].clone()), expected, "{out}");
    };
    let [one, zero, half] = [1.0, 0.0, 0.5].map(serde_json::Value::from);
    let null = serde_json::Value::Null;
    check(GOOD, GOOD, &[], [one.clone(), one.clone(), one.clone()]);
    check(GOOD, "7|t|Aspirin and fever.\n7|a|None.\n", &[], [null.clone(), zero.clone(), zero.clone()]);
    check("a B-X\nb I-X\n", "a I-X\nb I-X\n", &[], [one.clone(), one.clone(), one]);
    let strict = ["--mode", "strict", "--scheme", "iob2"];
    check("a B-X\nb I-X\n", "a I-X\nb I-X\n", &strict, [null, zero.clone(), zero]);
    check("a B-X\n\nb B-X\n", "a B-X\n\nb B-Y\n", &[], [half.clone(), half.clone(), half]);

    let (code, out, err) = score(&folder, GOOD, GOOD, &[]);
    assert_eq!(code, Some(0), "{err}");
    assert!(out.contains("| Chemical ") && out.contains("100.00"), "{out}");
}

#[test]
fn a_fault_stops_scoring_with_its_place_unless_lenient() {
    let folder = folder();
    let broken = format!("{GOOD}7\t0\t8\t{SECRET}\tChemical\n7 0 7 {SECRET}\n");
    let (code, out, err) = score(&folder, GOOD, &broken, &[]);
    assert_eq!((code, out.as_str()), (Some(1), ""));
    let path = folder.path().join("predicted");
    for line in ["5: document 7: text does not match", "6: document 7: malformed line"] {
        assert!(err.contains(&format!("{}:{line}", path.display())), "{err}");
    }
    assert!(err.contains("--lenient") && !err.contains(SECRET), "{err}");

    let (code, out, err) = score(&folder, GOOD, &broken, &["--lenient", "--format", "json"]);
    assert_eq!(code, Some(0), "{err}");
    assert_eq!(json(&out)["overall"]["f1"], 1.0);
    assert!(err.contains("2 parts of the input are faulty") && !err.contains(SECRET), "{err}");
}

#[test]
fn what_cannot_be_compared_is_named_by_line() {
    let folder = folder();
    let (code, _, err) = score(&folder, "a O\n\nb O\nc O\n", "a O\n\nb O\n", &[]);
    assert_eq!(code, Some(1));
    assert!(err.contains("gold:3, ") && err.contains("predicted:3"), "{err}");
    let (code, _, err) = score(&folder, "a O\n\nb O\n", &format!("a O\n\nb {SECRET}\n"), &[]);
    assert_eq!(code, Some(1));
    assert!(err.contains("predicted:3") && !err.contains(SECRET), "{err}");
    let (code, _, err) = score(&folder, GOOD, "a O\n", &[]);
    assert_eq!(code, Some(1));
    assert!(err.contains("--from"), "{err}");
}

#[test]
fn the_doctor_finds_nothing_wrong_with_a_bare_machine() {
    let folder = folder();
    let (code, out, err) = run(medner(folder.path()).args(["doctor", "--format", "json"]));
    assert_eq!(code, Some(0), "{err}");
    let findings = json(&out)["findings"].as_array().expect("a list").clone();
    let corpus = findings.iter().find(|finding| finding["what"] == "corpus bc5cdr").expect("a row");
    assert_eq!(corpus["found"], false);
    assert!(findings.iter().any(|finding| finding["what"] == "libtorch" && finding["found"] == true));
}

/// `medner … | head -0`: nobody reads, and that is no failure.
#[test]
fn a_reader_who_goes_is_no_error() {
    let folder = folder();
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_medner"));
    command.args(["data", "bc5cdr", "--sample", "--quiet"]).current_dir(folder.path()).stdout(writer);
    let output = command.env("MEDNER_CACHE", folder.path()).env("HF_HOME", folder.path()).output().expect("starts");
    assert_eq!(output.status.code(), Some(0));
    let err = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!err.contains("error"), "{err}");
}

#[test]
fn a_command_line_that_makes_no_sense_ends_with_2() {
    let folder = folder();
    let (code, _, err) = run(medner(folder.path()).args(["data", "bc5cdr", "--sample", "--data-dir", "x"]));
    assert_eq!(code, Some(2), "{err}");
}
