//! Tests of `medner convert`.
#![allow(clippy::unwrap_used, reason = "a test")]

use assert_cmd::Command;
use std::fs;
use std::path::Path;
use tempfile::TempDir;

const PUBTATOR: &str =
    "7|t|Aspirin and fever.\n7|a|Both\n7\t0\t7\tAspirin\tChemical\tD1\n7\t12\t17\tfever\tDisease\tD2\n7\tCID\tD1\tD2\n";
const JSONL: &str = concat!(
    r#"{"id":"7","text":"Aspirin and fever. Both","spans":[{"start":0,"end":7,"label":"Chemical","concept_ids":["D1"]},"#,
    r#"{"start":12,"end":17,"label":"Disease","concept_ids":["D2"]}],"passages":[{"kind":"title","start":0,"end":18},"#,
    r#"{"kind":"abstract","start":19,"end":23}],"relations":[{"kind":"CID","arguments":[{"target":{"concept":"D1"}},"#,
    r#"{"target":{"concept":"D2"}}]}]}"#,
    "\n"
);
const SECRET: &str = "Naloxone";

fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

fn convert(folder: &Path, arguments: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_medner"));
    command.current_dir(folder).env_remove("RUST_LOG").arg("convert").args(arguments.split(' '));
    command
}

/// Returns exit code, stdout and stderr.
fn run(command: &mut Command) -> (Option<i32>, String, String) {
    let output = command.output().unwrap();
    (output.status.code(), String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap())
}

/// Runs the command; returns its report.
fn report(folder: &Path, arguments: &str) -> serde_json::Value {
    let (code, out, err) = run(&mut convert(folder, &format!("{arguments} --format json")));
    assert_eq!(code, Some(0), "{err}");
    serde_json::from_str(&out).unwrap()
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn there_and_back_without_loss() {
    let folder = folder();
    let folder = folder.path();
    fs::write(folder.join("a.txt"), PUBTATOR).unwrap();
    let there = report(folder, "a.txt b.jsonl --to jsonl --strict");
    assert_eq!(
        (&there["lossless"], &there["from"], &there["documents"]),
        (&true.into(), &"pubtator".into(), &1.into())
    );
    assert_eq!(there["items"]["mention"], serde_json::json!({"kept": 2, "moved": 0, "lost": 0}));
    assert_eq!(fs::read_to_string(folder.join("b.jsonl")).unwrap(), JSONL);
    report(folder, "b.jsonl c.txt --to pubtator --strict");
    assert_eq!(fs::read_to_string(folder.join("c.txt")).unwrap(), PUBTATOR);
    // Compressed; and into a folder, where the file name determines the output name.
    report(folder, "b.jsonl c.jsonl.gz --to jsonl");
    fs::create_dir(folder.join("out")).unwrap();
    report(folder, "c.jsonl.gz out --to pubtator");
    assert_eq!(fs::read_to_string(folder.join("out/c.PubTator.txt")).unwrap(), PUBTATOR);
}

#[test]
fn losses_are_counted_listed_and_refused() {
    let folder = folder();
    let folder = folder.path();
    fs::write(folder.join("a.txt"), PUBTATOR).unwrap();
    let (code, out, err) = run(&mut convert(folder, "a.txt b.tsv --to conll --scheme bioes --list-losses"));
    assert_eq!(code, Some(0), "{err}");
    // Positions stay up to the full stop, which becomes a separate word.
    assert!(!out.contains("moved: the mention"), "{out}");
    assert!(out.contains("document 7: lost: the concept id D2 of the mention Disease at 12..17\n"), "{out}");
    assert!(out.contains("1 documents from pubtator to conll"), "{out}");
    let tags = fs::read_to_string(folder.join("b.tsv")).unwrap();
    assert_eq!(tags, "-DOCSTART-\tO\n\nAspirin\tS-Chemical\nand\tO\nfever\tS-Disease\n.\tO\n\nBoth\tO\n\n");

    let listed = report(folder, "a.txt c.tsv --to conll --list-losses");
    let lost: u64 = listed["items"]
        .as_object()
        .unwrap()
        .values()
        .map(|tally| tally["moved"].as_u64().unwrap() + tally["lost"].as_u64().unwrap())
        .sum();
    assert_eq!(listed["listed"].as_array().unwrap().len() as u64, lost);
    assert!(lost > 0 && listed["lossless"] == false);

    let (code, out, err) = run(&mut convert(folder, "a.txt d.tsv --to conll --strict"));
    assert_eq!(code, Some(1), "{err}");
    assert!(out.contains("concept ids") && err.contains("d.tsv is not written"), "{out}{err}");
    let (code, _, _) = run(&mut convert(folder, ". e --to conll --from pubtator --strict"));
    assert_eq!(code, Some(1));
    assert_eq!(names(folder), ["a.txt", "b.tsv", "c.tsv"]);
}

#[test]
fn a_tree_of_files_becomes_a_tree() {
    let folder = folder();
    let folder = folder.path();
    fs::create_dir_all(folder.join("in/sub/.hidden")).unwrap();
    fs::write(folder.join("in/train.PubTator.txt"), PUBTATOR).unwrap();
    fs::write(folder.join("in/sub/test.txt"), PUBTATOR).unwrap();
    fs::write(folder.join("in/sub/.hidden/x.txt"), PUBTATOR).unwrap();
    fs::write(folder.join("in/README"), "What this is.").unwrap();
    let (code, out, err) = run(&mut convert(folder, "in new/out --to jsonl --format json"));
    assert_eq!(code, Some(0), "{err}");
    assert!(err.contains("1 files do not look like pubtator and were not converted, for example in/README"), "{err}");
    let report: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!((&report["inputs"], &report["documents"]), (&2.into(), &2.into()));
    assert_eq!(names(&folder.join("new")), ["out"]);
    assert_eq!(names(&folder.join("new/out")), ["sub", "train.jsonl"]);
    assert_eq!(fs::read_to_string(folder.join("new/out/sub/test.jsonl")).unwrap(), JSONL);

    // Existing files are not overwritten, and two inputs do not share an output.
    let (code, _, err) = run(&mut convert(folder, "in new/out --to jsonl"));
    assert_eq!(code, Some(1));
    assert!(err.contains("already exists"), "{err}");
    fs::write(folder.join("in/train.txt"), PUBTATOR).unwrap();
    let (code, _, err) = run(&mut convert(folder, "in other --to jsonl"));
    assert_eq!(code, Some(1));
    assert!(err.contains("would both become train.jsonl"), "{err}");
    assert_eq!(names(folder), ["in", "new"]);
}

#[test]
fn faults_stop_it_and_leave_nothing_behind_unless_lenient() {
    let folder = folder();
    let folder = folder.path();
    fs::write(folder.join("a.txt"), format!("{PUBTATOR}7\t0\t8\t{SECRET}\tChemical\n7\t0\t7\tAspirin\tChemical\n"))
        .unwrap();
    let (code, out, err) = run(&mut convert(folder, "a.txt b.jsonl --to jsonl"));
    assert_eq!((code, out.as_str()), (Some(1), ""));
    assert!(err.contains("a.txt:6: document 7: text does not match") && err.contains("--lenient"), "{err}");
    assert_eq!(names(folder), ["a.txt"]);

    let (code, _, err) = run(&mut convert(folder, "a.txt b.jsonl --to jsonl --lenient --strict"));
    assert_eq!(code, Some(1), "{err}");
    assert_eq!(names(folder), ["a.txt"]);

    let lenient = report(folder, "a.txt b.jsonl --to jsonl --lenient");
    assert_eq!(lenient["faults"], serde_json::json!({"text-mismatch": 1, "duplicate-mention": 1}));
    assert_eq!(lenient["lossless"], false);
    assert_eq!(fs::read_to_string(folder.join("b.jsonl")).unwrap(), JSONL);
}

#[test]
fn streams() {
    let folder = folder();
    let folder = folder.path();
    let (code, out, err) = run(convert(folder, "- - --to jsonl").write_stdin(PUBTATOR));
    assert_eq!((code, out.as_str()), (Some(0), JSONL), "{err}");
    assert!(err.contains("| mentions"), "{err}");
    let (code, out, err) = run(convert(folder, "- - --to jsonl --from conll --word-column 1 --tag-column 2 --quiet")
        .write_stdin("x a B-X y\n"));
    assert_eq!(code, Some(0), "{err}");
    assert!(out.starts_with(r#"{"id":"1","text":"a","spans":[{"start":0,"end":1,"label":"X"}]"#), "{out}");
    let (code, out, err) = run(convert(folder, "- - --to jsonl").write_stdin(SECRET));
    assert_eq!((code, out.as_str()), (Some(1), ""));
    assert!(err.contains("--from names a format (pubtator, ") && !err.contains(SECRET), "{err}");
    let (code, _, err) = run(&mut convert(folder, "a b --to word"));
    assert_eq!(code, Some(2));
    assert!(err.contains("possible values: pubtator, "), "{err}");
}

#[test]
fn formats_of_spans_are_scored_against_each_other() {
    let folder = folder();
    let folder = folder.path();
    fs::write(folder.join("gold.txt"), PUBTATOR).unwrap();
    fs::write(folder.join("predicted.jsonl"), JSONL.replace("\"label\":\"Disease\"", "\"label\":\"Chemical\""))
        .unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_medner"));
    let arguments = ["score", "--gold", "gold.txt", "--predicted", "predicted.jsonl", "--format", "json"];
    let (code, out, err) = run(command.current_dir(folder).args(arguments));
    assert_eq!(code, Some(0), "{err}");
    let report: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!((&report["overall"]["f1"], &report["predicted_format"]), (&0.5.into(), &"jsonl".into()));
}

#[test]
fn assertions_are_added_to_mentions_of_any_origin() {
    let folder = folder();
    let folder = folder.path();
    let line = |spans: &str| format!(r#"{{"id":"1","text":"No fever. Mother had gout.","spans":[{spans}]}}"#);
    let (fever, gout) = (r#"{"start":3,"end":8,"label":"Sign"}"#, r#"{"start":21,"end":25,"label":"Disease"}"#);
    fs::write(folder.join("a.jsonl"), line(&format!("{fever},{gout}"))).unwrap();
    let assert = |arguments: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_medner"));
        run(command.current_dir(folder).env_remove("RUST_LOG").arg("assert").args(arguments.split(' ')))
    };
    let values = |file: &str| -> Vec<String> {
        let document: serde_json::Value =
            serde_json::from_str(&fs::read_to_string(folder.join(file)).unwrap()).unwrap();
        let spans = document["spans"].as_array().unwrap();
        spans
            .iter()
            .map(|span| format!("{} {}", span["attributes"]["assertion"], span["attributes"]["assertion_cue"]))
            .collect()
    };
    let (code, _, err) = assert("a.jsonl b.jsonl --to jsonl");
    assert!(code == Some(0) && err.contains("1 absent, 1 associated_with_someone_else"), "{err}");
    assert_eq!(values("b.jsonl"), [r#""absent" "0-2""#, r#""associated_with_someone_else" "10-16""#]);
    // Again: what was there is replaced, and that is said. Other types keep what they have.
    let (code, _, err) = assert("b.jsonl c.jsonl --to jsonl --type Sign");
    assert!(code == Some(0) && err.contains("1 mentions had an assertion"), "{err}");
    assert_eq!(values("c.jsonl"), values("b.jsonl"));
    let (code, _, err) = assert("a.jsonl d.jsonl --to jsonl --type Sing");
    assert!(code == Some(1) && err.contains("no mention has the type Sing; the types are Disease, Sign"), "{err}");
    // i2b2 has a place for the value only; PubTator for none.
    let (_, out, _) = assert("a.jsonl i2b2 --to i2b2 --format json");
    let items: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(items["items"]["attribute"]["lost"].as_u64().map(|lost| lost > 0), Some(true), "{out}");
    let ast = fs::read_to_string(folder.join("i2b2/ast/1.ast")).unwrap();
    assert!(ast.contains("||t=\"Sign\"||a=\"absent\""), "{ast}");
}

#[test]
fn mentions_are_linked_to_a_vocabulary_of_ones_own() {
    let folder = folder();
    let folder = folder.path();
    let medner = |arguments: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_medner"));
        run(command.current_dir(folder).env_remove("RUST_LOG").args(arguments.split(' ')))
    };
    fs::write(
        folder.join("names.tsv"),
        "id\tname\tsynonyms\nD1\tHeart Failure\tCardiac failure\nD2\tGout\t\nD3\tBreast Cancer\t\nD4\tOvarian Cancer\t\n",
    )
    .unwrap();
    let obo = "format-version: 1.4\ndata-version: 2026-01\n[Term]\nid: HP 1\nname: Redness\n";
    fs::write(folder.join("hp.obo"), obo).unwrap();
    let (code, _, err) = medner("vocabulary build names.tsv --out our.voc --release 7");
    assert!(code == Some(0) && err.contains("4 concepts, 5 names"), "{err}");
    let (_, out, _) = medner("vocabulary show our.voc --verify --format json");
    let facts: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!((&facts["release"], &facts["concepts"]), (&"7".into(), &4.into()));

    let text = "Cardiac failure (CF) and gouts. CF, xyzzy, breast and ovarian cancer.";
    let span = |mention: &str, last: bool| {
        let start = if last { text.rfind(mention) } else { text.find(mention) }.unwrap();
        format!(r#"{{"start":{start},"end":{},"label":"Disease"}}"#, start + mention.len())
    };
    let spans = [("gouts", false), ("CF", true), ("xyzzy", false), ("breast and ovarian cancer", false)];
    let spans = spans.map(|(mention, last)| span(mention, last)).join(",");
    fs::write(folder.join("a.jsonl"), format!(r#"{{"id":"1","text":"{text}","spans":[{spans}]}}"#)).unwrap();
    let (code, _, err) = medner("link a.jsonl b.jsonl --to jsonl --vocabulary Disease=our.voc");
    assert!(code == Some(0) && err.contains("3 mentions linked, 1 without a concept"), "{err}");
    let linked: serde_json::Value = serde_json::from_str(&fs::read_to_string(folder.join("b.jsonl")).unwrap()).unwrap();
    let ids = |at: usize| linked["spans"][at]["concept_ids"].clone();
    assert_eq!(
        [ids(0), ids(1), ids(2), ids(3)],
        [
            serde_json::json!(["D2"]),
            serde_json::json!(["D1"]),
            serde_json::Value::Null,
            serde_json::json!(["D3", "D4"])
        ]
    );
    let (_, _, err) = medner("link b.jsonl c.jsonl --to jsonl --vocabulary our.voc");
    assert!(err.contains("3 mentions had ids"), "{err}");
    // What has no link keeps its ids.
    fs::write(folder.join("old.jsonl"), fs::read_to_string(folder.join("b.jsonl")).unwrap().replace("D2", "X9"))
        .unwrap();
    fs::write(folder.join("other.tsv"), "id\tname\nD1\tHeart Failure\n").unwrap();
    medner("vocabulary build other.tsv --out other.voc");
    let (_, _, err) = medner("link old.jsonl kept.jsonl --to jsonl --vocabulary other.voc --replace");
    assert!(err.contains("2 mentions kept their old ids") && err.contains("1 mentions linked"), "{err}");
    assert!(fs::read_to_string(folder.join("kept.jsonl")).unwrap().contains(r#""concept_ids":["X9"]"#));

    fs::copy(folder.join("b.jsonl"), folder.join("d.jsonl")).unwrap();
    for (arguments, message) in [
        ("link a.jsonl d.jsonl --to jsonl --vocabulary Diseese=our.voc", "no mention has the type Diseese"),
        ("link a.jsonl d.jsonl --to jsonl --vocabulary names.tsv", "vocabulary build"),
        ("link a.jsonl d.jsonl --to jsonl --vocabulary our.voc --vocabulary our.voc", "two vocabularies"),
        (
            "link a.jsonl d.txt --to pubtator --vocabulary our.voc --candidates 2",
            "--candidates has no effect on pubtator",
        ),
        ("link a.jsonl d.jsonl --to jsonl --vocabulary our.voc --concept-type X", "the vocabulary has no types"),
        ("vocabulary build names.tsv --out x.voc --name-column term", "names.tsv"),
        ("vocabulary build names.tsv --out x.voc --language de", "--language has no effect"),
        ("vocabulary build hp.obo --out x.voc --id-column code", "--id-column, --name-column"),
        ("vocabulary build names.tsv --out names.tsv", "names.tsv exists and is no vocabulary"),
        ("vocabulary build names.tsv --out .", ". is a folder"),
    ] {
        let (code, _, err) = medner(arguments);
        assert!(code == Some(1) && err.contains(message), "{arguments}: {err}");
    }
    let unchanged = [("d.jsonl", "b.jsonl"), ("names.tsv", "names.tsv")];
    let bytes = |name: &str| fs::read(folder.join(name)).unwrap();
    assert!(unchanged.iter().all(|(name, as_in)| bytes(name) == bytes(as_in)) && bytes("names.tsv").starts_with(b"id"));
    assert!(!folder.join("x.voc").exists() && !folder.join("d.txt").exists());
    // The release of a file, and one vocabulary in the place of another.
    let (code, _, err) = medner("vocabulary build hp.obo --out our.voc");
    assert!(code == Some(0) && err.contains("1 ids are -1"), "{err}");
    assert!(medner("vocabulary show our.voc").1.contains("2026-01"), "the release");
}
