//! Reads the real AnatEM, whose counts are known, as brat standoff. Needs `MEDNER_CORPORA`, the folder that contains
//! `anatem`; otherwise the test reports that it was skipped.

use ner_data::{DiagnosticKind, Document, Format, FormatOptions};
use std::collections::HashMap;
use std::io::Write;
use std::path::PathBuf;

fn anatem() -> Option<PathBuf> {
    match std::env::var_os("MEDNER_CORPORA") {
        Some(folder) => Some(PathBuf::from(folder).join("anatem")),
        None => {
            // Written directly: the test harness hides what a passing test prints.
            let message = "SKIPPED: MEDNER_CORPORA is not set, so anatem was not tested\n";
            std::io::stderr().write_all(message.as_bytes()).expect("stderr");
            None
        }
    }
}

#[test]
fn anatem_is_read_and_written() {
    let Some(folder) = anatem() else { return };
    let options = FormatOptions::default();
    let standoff = folder.join("standoff");
    assert_eq!(Format::detect(&standoff).expect("readable"), Some(Format::Brat));
    let (documents, diagnostics) = Format::Brat.read(&standoff, &options).expect("readable");
    // Mentions of parts of words.
    assert!(diagnostics.0.iter().all(|fault| fault.kind == DiagnosticKind::OddBoundary), "{diagnostics:?}");
    assert_eq!(documents.len(), 1212);
    let by_id: HashMap<&str, &Document> = documents.iter().map(|document| (document.id.as_str(), document)).collect();
    for (split, count, mentions) in [("train", 606, 6946), ("devel", 202, 2139), ("test", 404, 4616)] {
        let list = std::fs::read_to_string(folder.join(format!("splits/{split}-documents.list"))).expect("readable");
        let listed: Vec<&Document> = list.lines().map(|name| by_id[format!("{split}/{name}").as_str()]).collect();
        let found: usize = listed.iter().map(|document| document.mentions.len()).sum();
        assert_eq!((listed.len(), found), (count, mentions), "{split}");
    }

    let folder = tempfile::tempdir().expect("a folder");
    assert!(Format::Brat.write(folder.path(), &documents, &options).expect("written").is_lossless());
    let (back, again) = Format::Brat.read(folder.path(), &options).expect("readable");
    assert_eq!(again.counts(), diagnostics.counts());
    assert!(back == documents, "the documents differ");
    for document in &documents {
        let ann = |folder: &std::path::Path| std::fs::read_to_string(folder.join(format!("{}.ann", document.id)));
        let lines =
            |text: String| text.lines().map(|line| line.split_once('\t').map(|line| line.1.to_owned())).collect();
        let (old, new): (Vec<_>, Vec<_>) =
            (lines(ann(&standoff).expect("there")), lines(ann(folder.path()).expect("there")));
        assert!(old == new, "{}: the lines differ", document.id);
    }
}
