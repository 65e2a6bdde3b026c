//! Tests of the command line. No test needs the network, a corpus or an encoder.

use assert_cmd::Command;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

const GOOD: &str = "7|t|Aspirin and fever.\n7|a|None.\n7\t0\t7\tAspirin\tChemical\tD1\n7\t12\t17\tfever\tDisease\tD2\n";
const SECRET: &str = "Naloxone";

/// The command in an empty folder, with an environment in which nothing is found or downloaded.
fn medner(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_medner"));
    for variable in ["MEDNER_CORPORA", "RUST_LOG"] {
        command.env_remove(variable);
    }
    // Otherwise tests could write frames to this checkout, and find its corpora.
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

/// Returns exit code, stdout and stderr.
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
    assert!(err.starts_with("error: unknown dataset `bc5crd`; did you mean `bc5cdr`?"), "{err}");
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
    check("a\tB-X\n\nb\tB-X\n", "a\tB-X\n\nb\tB-Y\n", &[], [half.clone(), half.clone(), half]);

    let (code, out, err) = score(&folder, GOOD, GOOD, &[]);
    assert_eq!(code, Some(0), "{err}");
    assert!(out.contains("| Chemical ") && out.contains("100.00"), "{out}");
}

/// A document of `No fever. Cough? Pain.`, from start, end, type and value of its mentions.
fn asserted(mentions: &[(u64, u64, &str, Option<&str>)]) -> String {
    let span = |&(start, end, label, value): &(u64, u64, &str, Option<&str>)| {
        let attributes: std::collections::BTreeMap<_, _> =
            value.map(|value| ("assertion", value)).into_iter().collect();
        serde_json::json!({"start": start, "end": end, "label": label, "attributes": attributes})
    };
    let spans: Vec<serde_json::Value> = mentions.iter().map(span).collect();
    serde_json::json!({"id": "a", "text": "No fever. Cough? Pain.", "spans": spans}).to_string() + "\n"
}

#[test]
fn an_attribute_is_scored_on_matched_mentions_and_end_to_end() {
    let folder = folder();
    let gold = asserted(&[
        (3, 8, "problem", Some("absent")),
        (10, 15, "problem", Some("possible")),
        (17, 21, "problem", Some("present")),
        (0, 2, "test", None),
    ]);
    let predicted = asserted(&[
        (3, 8, "problem", Some("absent")),
        (10, 15, "problem", Some("present")),
        (17, 22, "problem", Some("present")),
        (0, 2, "test", None),
    ]);
    let assertion = ["--attribute", "assertion"];
    let (code, out, err) = score(&folder, &gold, &predicted, &[&assertion[..], &["--format", "json"]].concat());
    assert_eq!(code, Some(0), "{err}");
    let scores = json(&out);
    let attribute = &scores["attribute"];
    let part = |pointer: &str| attribute.pointer(pointer).unwrap_or_else(|| panic!("{pointer}: {out}")).clone();
    assert_eq!((part("/matched/mentions"), part("/matched/accuracy")), (2.into(), 0.5.into()));
    assert_eq!((part("/matched/without_in_both"), part("/missed"), part("/invented")), (1.into(), 1.into(), 1.into()));
    assert_eq!(part("/end_to_end/overall/f1"), serde_json::json!(1.0 / 3.0));
    assert_eq!(part("/end_to_end/per_type/absent/f1"), serde_json::json!(1.0));
    assert_eq!(
        part("/matched/confusion/1"),
        serde_json::json!({"gold": "possible", "predicted": "present", "count": 1})
    );

    let (code, out, err) = score(&folder, &gold, &predicted, &assertion);
    assert_eq!(code, Some(0), "{err}");
    for part in [
        "assertion of 2 mentions",
        "Accuracy: 50.00",
        "| possible ",
        "in both: 1 (not counted)",
        "end to end",
        "mean of values",
    ] {
        assert!(out.contains(part), "{part}: {out}");
    }
    let (code, _, err) = score(&folder, &gold, &predicted, &["--attribute", "negated"]);
    assert_eq!(code, Some(1));
    assert!(
        err.contains("no gold mention has the attribute negated") && err.contains("gold are: assertion; in"),
        "{err}"
    );
    let bare = asserted(&[(3, 8, "problem", None)]);
    let (code, _, err) = score(&folder, &bare, &bare, &assertion);
    assert!(code == Some(1) && err.contains("are: none"), "{err}");
    let (code, _, err) = score(&folder, &gold, &bare, &assertion);
    assert!(code == Some(0) && err.contains("all its values count as missed"), "{err}");
    let (code, _, err) = score(&folder, "a B-X\nb I-X\n", "a B-X\nb O\n", &assertion);
    assert!(code == Some(1) && err.contains("tags have no attributes"), "{err}");
}

/// Creates a folder of i2b2 files, from names and contents.
fn i2b2(folder: &TempDir, name: &str, files: &[(&str, &str)]) -> PathBuf {
    let path = folder.path().join(name);
    std::fs::create_dir(&path).expect("a folder");
    for (name, text) in files {
        std::fs::write(path.join(name), text).expect("written");
    }
    path
}

#[test]
fn bare_concepts_are_scored_without_their_texts() {
    let folder = folder();
    let line = |concept: &str, place: &str, kind: &str| format!("c=\"{concept}\" {place}||t=\"{kind}\"\n");
    let one = [line("chest pain", "1:1 1:2", "problem"), line("an ekg", "2:0 2:1", "test")];
    let two = [line("aspirin", "1:0 1:0", "treatment"), line("the long wait", "1:4 2:1", "problem")];
    let gold = i2b2(&folder, "gold", &[("1.con", &one.concat()), ("2.con", &two.concat())]);
    let score = |predicted: &Path, more: &[&str]| {
        let mut command = medner(folder.path());
        run(command
            .args(["score", "--format", "json", "--gold"])
            .arg(&gold)
            .arg("--predicted")
            .arg(predicted)
            .args(more))
    };
    let scores = |predicted: &Path, more: &[&str]| {
        let (code, out, err) = score(predicted, more);
        assert_eq!(code, Some(0), "{err}");
        json(&out)
    };
    let found = scores(&gold, &[]);
    assert_eq!((&found["overall"]["f1"], &found["overall"]["support"]), (&1.0.into(), &4.into()));
    assert_eq!((&found["gold_format"], &found["missing_documents"]), (&"i2b2".into(), &0.into()));

    // One line fewer, in another order; then a document fewer; then an end that is one token off.
    let fewer = i2b2(&folder, "fewer", &[("1.con", &one[1]), ("2.con", &[two[1].as_str(), &two[0]].concat())]);
    let found = scores(&fewer, &["--detail"]);
    assert_eq!((&found["overall"]["recall"], &found["overall"]["precision"]), (&0.75.into(), &1.0.into()));
    assert_eq!(
        (&found["detail"]["errors"]["overall"]["missed"], &found["detail"]["by_words"]),
        (&1.into(), &().into())
    );
    let missing = i2b2(&folder, "missing", &[("1.con", &one.concat())]);
    let found = scores(&missing, &[]);
    assert_eq!((&found["overall"]["recall"], &found["missing_documents"]), (&0.5.into(), &1.into()));
    let longer = line("the long wait", "1:4 2:2", "problem");
    let longer = i2b2(&folder, "longer", &[("1.con", ""), ("2.con", &longer)]);
    let found = scores(&longer, &["--detail", "--compare", fewer.to_str().expect("UTF-8")]);
    assert_eq!((&found["overall"]["f1"], &found["detail"]["errors"]["overall"]["boundary"]), (&0.0.into(), &1.into()));
    assert_eq!(found["comparison"]["micro_f1"]["documents"], 2);

    let unknown = i2b2(&folder, "unknown", &[("3.con", &one[0])]);
    let (code, _, err) = score(&unknown, &["--attribute", "assertion"]);
    assert!(code == Some(1) && err.contains("--attribute needs the texts"), "{err}");
    let (code, out, err) = score(&unknown, &[]);
    assert_eq!((code, out.as_str()), (Some(1), ""));
    assert!(err.contains("document 3 is predicted but not in gold"), "{err}");

    let endless = line("the long wait", "99999999999:0 99999999999:0", "problem");
    let endless = i2b2(&folder, "endless", &[("1.con", &endless)]);
    let (code, _, err) = score(&endless, &[]);
    assert!(
        code == Some(1) && err.contains("document 1 has a concept with an impossible line or token number"),
        "{err}"
    );

    // If gold has texts, predictions without texts are read with them; a mismatch with the text is a fault.
    let text = "My chest pain .\nAn ekg .\n";
    let texts = i2b2(&folder, "texts", &[("1.con", &one.concat()), ("1.txt", text)]);
    let against = |predicted: &Path| {
        let mut command = medner(folder.path());
        run(command.args(["score", "--format", "json", "--gold"]).arg(&texts).arg("--predicted").arg(predicted))
    };
    let (code, out, err) = against(&missing);
    assert_eq!((code, json(&out)["overall"]["f1"].clone()), (Some(0), 1.0.into()), "{err}");
    let astray = i2b2(&folder, "astray", &[("1.con", &line(SECRET, "1:1 1:2", "problem"))]);
    let (code, out, err) = against(&astray);
    assert_eq!((code, out.as_str()), (Some(1), ""));
    assert!(err.contains("1.con:1: document 1") && !err.contains(SECRET), "{err}");
}

#[test]
fn details_and_intervals() {
    let folder = folder();
    let document = |id: usize, mentions: &str| {
        let mentions = mentions.replace('#', &id.to_string());
        format!("{id}|t|Aspirin, {SECRET} and fever.\n{id}|a|None.\n{mentions}\n")
    };
    let gold = "#\t0\t7\tAspirin\tChemical\tD1\n#\t9\t17\tNaloxone\tChemical\tD2\n#\t22\t27\tfever\tDisease\tD3\n";
    let predicted = "#\t0\t7\tAspirin\tDisease\tD1\n#\t18\t27\tand fever\tDisease\tD3\n";
    let collection = |mentions: &str| (1..=8).map(|id| document(id, mentions)).collect::<String>();
    let (gold, predicted) = (collection(gold), collection(predicted));
    let (code, out, err) = score(&folder, &gold, &predicted, &["--detail", "--format", "json"]);
    assert_eq!(code, Some(0), "{err}");
    assert!(!out.contains(SECRET) && !err.contains(SECRET));
    let found = json(&out);
    assert_eq!(found["intervals"]["overall"]["f1"]["high"], 0.0);
    let detail = &found["detail"];
    assert_eq!(
        (&detail["schemes"]["overall"]["partial"]["partial"], &detail["schemes"]["overall"]["type"]["correct"]),
        (&8.into(), &8.into())
    );
    let errors = &detail["errors"]["overall"];
    let classes = ["right", "boundary", "type", "boundary_and_type", "missed", "invented"];
    assert_eq!(classes.map(|class| errors[class].as_u64()), [0, 8, 8, 0, 8, 0].map(Some));
    let lengths: Vec<&str> =
        detail["by_words"].as_array().expect("a list").iter().filter_map(|group| group["group"].as_str()).collect();
    assert_eq!(lengths, ["1", "2"]);
    assert_eq!(detail["per_document"][7]["id"], "8");

    let (code, out, err) = score(&folder, &gold, &predicted, &["--detail", "--with-text"]);
    assert_eq!(code, Some(0), "{err}");
    assert!(out.contains("8  Chemical  naloxone") && out.contains("95 % interval"), "{out}");

    // The same predictions as another system, and perfect ones.
    let compared = |predicted: &str, other: &str| {
        let other = file(&folder, "other", other);
        let (code, out, err) = score(&folder, &gold, predicted, &["--compare", other.to_str().expect("UTF-8")]);
        assert_eq!(code, Some(0), "{err}");
        out.lines().last().expect("a line").to_owned()
    };
    let words = compared(&predicted, &predicted);
    assert!(words.contains("do not differ in micro F1") && words.contains("p = 1.000"), "{words}");
    let words = compared(&predicted, &gold);
    assert!(
        words.contains("other is better than") && words.contains("by 100.0 points of micro F1 (95 % interval 100.0 to"),
        "{words}"
    );
    assert!(words.ends_with("approximate randomisation over 8 documents)."), "{words}");
}

#[test]
fn the_two_modes_of_tags_stand_side_by_side() {
    let folder = folder();
    let (gold, predicted) = ("a B-X\nb I-X\n\nc B-X\n", "a I-X\nb I-X\n\nc B-X\n");
    let (code, out, err) = score(&folder, gold, predicted, &["--format", "json", "--detail"]);
    assert_eq!(code, Some(0), "{err}");
    let found = json(&out);
    let modes = &found["modes"];
    assert_eq!((&modes["default"]["f1"], &modes["strict"]["scheme"]), (&1.0.into(), &"iob2".into()));
    assert_eq!(modes["strict"]["recall"], 0.5);
    assert_eq!(
        (&modes["strict"]["invalid_predicted_transitions"], &modes["strict"]["invalid_gold_transitions"]),
        (&1.into(), &0.into())
    );
    assert_eq!(
        (&found["intervals_over"], &found["detail"]["by_words"][0]["group"]),
        (&"sentences".into(), &"1".into())
    );
    assert!(
        err.contains("seqeval's modes differ: F1 is 100.00 in the default mode and 66.67 in the strict one"),
        "{err}"
    );
    let (code, out, err) = score(&folder, gold, gold, &[]);
    assert_eq!(code, Some(0), "{err}");
    assert!(out.contains("| strict, iob2   |    100.00"), "{out}");
    assert!(!err.contains("part"), "{err}");
    let bilou = ["--mode", "strict", "--scheme", "bilou"];
    let (code, _, err) = score(&folder, "a B-X\nb L-X\n", "a U-X\nb L-X\n", &bilou);
    assert_eq!(code, Some(0), "{err}");
    assert!(err.contains("seqeval's default mode does not know"), "{err}");
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
    let (code, _, err) = score(&folder, GOOD, "a O\nb O\n", &[]);
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

/// `medner … | head -0`: a closed stdout is not a failure.
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

#[test]
fn concepts_are_scored_by_document_and_by_mention() {
    let folder = folder();
    let predicted = GOOD.replace("\tD2\n", "\tD9\n");
    let (code, out, err) = score(&folder, GOOD, &predicted, &["--concepts", "--format", "json"]);
    assert_eq!(code, Some(0), "{err}");
    let concepts = &json(&out)["concepts"];
    assert_eq!((&concepts["matched"], &concepts["accuracy"]), (&2.into(), &0.5.into()), "{out}");
    assert_eq!(concepts["documents"]["overall"]["f1"], 0.5);
    let none = GOOD.replace("\tD1\n", "\n").replace("\tD2\n", "\n");
    let (code, _, err) = score(&folder, &none, GOOD, &["--concepts"]);
    assert!(code == Some(1) && err.contains("no gold mention has a concept id"), "{err}");
}
