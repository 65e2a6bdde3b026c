//! Tests of `medner data`. No test needs the network, a corpus or an encoder.

use assert_cmd::Command;
use serde_json::Value;
use std::path::Path;

/// A word in a document outside mentions, and one in a mention.
const SECRETS: [&str; 2] = ["mysterious", "Naloxonide"];

/// Runs `medner data bc5cdr` in a folder where nothing is found or downloaded; returns stdout.
fn data(folder: &Path, arguments: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_medner"));
    command.env_remove("MEDNER_CORPORA").env_remove("RUST_LOG").current_dir(folder);
    command.env("MEDNER_CACHE", folder).env("HF_HOME", folder).env("HF_HUB_OFFLINE", "1");
    let output = command.args(["data", "bc5cdr"]).args(arguments).output().expect("the command starts");
    let [out, err] = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).expect("UTF-8"));
    assert!(output.status.success(), "{err}");
    assert!(!SECRETS.iter().any(|secret| err.contains(secret)), "{err}");
    out
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a folder")
}

/// A corpus whose splits share a sentence, and whose test document labels one of three equal strings.
fn corpus(folder: &Path) {
    let shared = "It was a mysterious case indeed.";
    let line = |id: &str, abstracts: &str, mentions: &str| format!("{id}|t|Title.\n{id}|a|{abstracts}\n{mentions}\n");
    let train = line("1", shared, "1\t0\t5\tTitle\tDisease\tD1\n");
    let test = line(
        "2",
        &format!("Naloxonide, naloxonide & naloxonide. {shared}"),
        "2\t7\t17\tNaloxonide\tChemical\t-1\n2\t19\t29\tnaloxonide\tDisease\tD1\n",
    );
    let files = [("Training", train.as_str()), ("Development", ""), ("Test", test.as_str())];
    for (name, text) in files {
        std::fs::write(folder.join(format!("CDR_{name}Set.PubTator.txt")), text).expect("written");
    }
}

/// The page of `--html page.html`; checks that it loads nothing and only has links for readers.
fn html(folder: &Path) -> String {
    let page = std::fs::read_to_string(folder.join("page.html")).expect("a page");
    let elsewhere = page.replace("<a href=\"https://", "").replace(" rel=\"noreferrer\">https://", "");
    for loads in ["http:", "https:", "//", "src=", "<script", "@import", "url(", "<iframe", "<object"] {
        assert!(!elsewhere.contains(loads), "{loads}");
    }
    page
}

#[test]
fn the_sample_as_a_table_and_as_a_page_that_loads_nothing() {
    let folder = folder();
    let out = data(folder.path(), &["--sample", "--html", "page.html"]);
    for row in ["| documents ", "|   never seen in training ", "| sentences also in train ", "written: page.html"] {
        assert!(out.contains(row), "{row} is not in {out}");
    }
    let page = html(folder.path());
    assert!(page.contains("SYNTHETIC SAMPLE") && page.contains("Content-Security-Policy"));
    assert!(page.matches("<svg").count() >= 6 && !page.contains("NaN"));
}

#[test]
fn json_keeps_its_keys_and_counts_add_up() {
    let folder = folder();
    let report: Value = serde_json::from_str(&data(folder.path(), &["--sample", "--format", "json"])).expect("JSON");
    for key in ["dataset", "title", "synthetic", "origin", "encoder", "splits", "diagnostics", "frames"] {
        assert!(report.get(key).is_some(), "{key}");
    }
    for split in ["train", "dev", "test"] {
        let counted = &report["splits"][split];
        let number = |value: &Value| value.as_u64().expect("a number");
        let mentions = number(&counted["statistics"]["mentions"]);
        let types = counted["statistics"]["types"].as_object().expect("an object");
        assert_eq!(types.values().map(|of_type| number(&of_type["mentions"])).sum::<u64>(), mentions, "{split}");
        for quantity in ["document_characters", "document_words", "document_mentions", "mention_words"] {
            let spread = &report["distributions"][quantity]["splits"][split];
            let bins = spread["histogram"].as_array().expect("a list");
            assert_eq!(bins.iter().map(number).sum::<u64>(), number(&spread["count"]), "{split} {quantity}");
        }
        assert_eq!(counted["alignment"], Value::Null, "no encoder is at hand");
        assert_eq!(counted["pieces"], Value::Null, "no encoder is at hand");
    }
    assert_eq!(report["distributions"]["document_tokens"], Value::Null);
    assert!(report["unseen"]["test"]["share"].as_f64().is_some_and(|share| (0.0..=1.0).contains(&share)));
}

#[test]
fn what_is_amiss_is_counted_and_its_text_shown_only_on_request() {
    let folder = folder();
    corpus(folder.path());
    let here = ["--data-dir", ".", "--format", "json", "--html", "page.html"];
    let check = |more: &[&str], shown: bool| {
        let out = data(folder.path(), &[&here, more].concat());
        let page = html(folder.path());
        for secret in SECRETS {
            assert_eq!((out.contains(secret), page.contains(secret)), (shown, shown), "{secret}");
        }
        let report: Value = serde_json::from_str(&out).expect("JSON");
        assert_eq!(report["shared"]["sentences"]["pairs"][1]["in_second"], 1);
        let consistency = &report["splits"]["test"]["consistency"];
        let counts = ["labelled", "unlabelled", "differently_typed"].map(|part| consistency[part].clone());
        assert_eq!(counts, [2, 1, 1].map(Value::from));
        assert_eq!(report["splits"]["dev"]["consistency"]["unlabelled_share"], Value::Null);
        assert_eq!(report["unseen"]["test"]["unseen"], 2);
        let example = &report["examples"]["partly_unlabelled"][0];
        assert_eq!((&example["document"], &example["unlabelled"][0]["start"]), (&"2".into(), &32.into()));
        assert!(page.contains("<td>2</td>") && page.contains("32..42"));
    };
    check(&[], false);
    check(&["--with-text"], true);
    check(&["--diagnostics", "1", "--with-text"], true);
}
