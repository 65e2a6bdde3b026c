//! Tests the public i2b2 format: a corpus with known counts, which needs `MEDNER_CORPORA`, and faulty files.

use ner_data::format::i2b2;
use ner_data::{DiagnosticKind, Format, FormatOptions};
use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};

#[test]
fn an_invented_document_is_written_as_it_was_read() {
    let Some(corpora) = std::env::var_os("MEDNER_CORPORA") else {
        // Written directly: the test harness hides what a passing test prints.
        let message = b"SKIPPED: MEDNER_CORPORA is not set, so i2b2-format was not tested\n";
        std::io::stderr().write_all(message).expect("stderr");
        return;
    };
    let folder = PathBuf::from(corpora).join("i2b2-format");
    let (documents, diagnostics) = Format::I2b2.read(&folder, &FormatOptions::default()).expect("readable");
    assert_eq!(diagnostics.0, []);
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for mention in documents.iter().flat_map(|document| &document.mentions) {
        *counts.entry(&mention.entity_type).or_default() += 1;
    }
    assert_eq!(counts, BTreeMap::from([("problem", 28), ("treatment", 17), ("test", 13)]));

    let out = tempfile::tempdir().expect("a folder");
    let report = Format::I2b2.write(out.path(), &documents, &FormatOptions::default()).expect("written");
    assert!(report.is_lossless(), "{report:?}");
    let read = |path: &Path| std::fs::read_to_string(path).expect("readable");
    assert!(read(&folder.join("ex_doc.txt")) == read(&out.path().join("txt/ex_doc.txt")));
    let lines = |text: &str| {
        let mut lines: Vec<String> = text.split_inclusive('\n').map(str::to_owned).collect();
        lines.sort();
        lines
    };
    let (original, written) = (read(&folder.join("ex_doc.con")), read(&out.path().join("concept/ex_doc.con")));
    assert!(lines(&original) == lines(&written));
    assert_eq!(i2b2::read_concepts(&folder).expect("readable").0["ex_doc"].len(), 58);
}

/// Folder; documents, mentions; number of faults of each kind.
type Case<'c> = (&'c str, usize, usize, &'c [(DiagnosticKind, usize)]);

#[test]
fn valid_parts_of_bad_files_are_read() {
    use DiagnosticKind::*;
    let cases: &[Case<'_>] = &[
        ("assertions-astray", 1, 1, &[(MalformedLine, 3)]),
        ("bytes", 1, 0, &[(MalformedLine, 1), (InvalidUtf8, 3)]),
        ("carriage-returns-only", 1, 2, &[]),
        ("concepts-missing", 0, 0, &[(UnknownDocument, 1)]),
        ("doubles", 1, 3, &[(DuplicateDocument, 1), (DuplicateMention, 2)]),
        ("empty", 1, 0, &[(OffsetOutOfRange, 1)]),
        ("latin-1", 1, 2, &[(InvalidUtf8, 2)]),
        ("malformed", 1, 1, &[(MalformedLine, 12)]),
        ("marks", 1, 2, &[]),
        ("mismatch", 1, 1, &[(TextMismatch, 3)]),
        ("out-of-range", 1, 1, &[(OffsetOutOfRange, 5)]),
        ("quotes", 1, 2, &[]),
        ("spaces", 1, 1, &[]),
        ("text-missing", 0, 0, &[(UnknownDocument, 2)]),
    ];
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/bad/i2b2");
    let mut found: Vec<String> = Vec::new();
    for entry in std::fs::read_dir(&folder).expect("readable") {
        let entry = entry.expect("readable");
        if entry.path().is_dir() {
            found.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    found.sort();
    assert_eq!(found, cases.iter().map(|case| case.0).collect::<Vec<_>>());
    for &(name, documents, mentions, faults) in cases {
        let (read, diagnostics) =
            Format::I2b2.read(&folder.join(name), &FormatOptions::default()).expect("only what is inside is wrong");
        let found = read.iter().map(|document| document.mentions.len()).sum::<usize>();
        assert_eq!((read.len(), found), (documents, mentions), "{name}: {diagnostics:?}");
        assert_eq!(diagnostics.counts(), faults.iter().copied().collect(), "{name}: {diagnostics:?}");
    }
}
