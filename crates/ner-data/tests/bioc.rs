//! Compares BioC with the package `bioc` (golden files, and `make_golden.py` beside them), and the BioC with the
//! PubTator files of the real BC5CDR, which have the same content. The latter needs `MEDNER_CORPORA`, the folder that
//! contains `bc5cdr`; otherwise the test reports that it was skipped.

use ner_data::format::pubtator::INDIVIDUAL_MENTIONS;
use ner_data::{Argument, DiagnosticKind, Document, Format, FormatOptions, Mention, Passage, Relation, Span, Target};
use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};

fn mention(entity_type: &str, spans: &[(usize, usize)], ids: &[&str], attributes: &[(&str, &str)]) -> Mention {
    Mention {
        fragments: spans.iter().map(|&(start, end)| Span::new(start, end)).collect(),
        entity_type: entity_type.into(),
        concept_ids: ids.iter().map(|&id| id.into()).collect(),
        attributes: attributes.iter().map(|&(key, value)| (key.into(), value.into())).collect(),
        confidence: None,
    }
}

fn relation(kind: &str, arguments: &[(&str, Target)]) -> Relation {
    let argument = |(role, target): &(&str, Target)| Argument { role: (*role).into(), target: target.clone() };
    Relation { kind: kind.into(), arguments: arguments.iter().map(argument).collect() }
}

/// The documents of `make_golden.py`.
fn golden() -> [Document; 2] {
    let concept = |id: &str| Target::Concept(id.into());
    let passage = |kind: &str, start, end| Passage { kind: kind.into(), span: Span::new(start, end) };
    let first = Document {
        id: "D/1".into(),
        text: "α-Blocker 💊: \"acute\" and chronic pain Pain\u{202f}>\u{202f}5 e\u{301}tait traite\u{301}.".into(),
        passages: vec![passage("title", 0, 37), passage("abstract", 38, 62)],
        mentions: vec![
            mention("Chemical", &[(0, 9)], &["MESH:D000317"], &[]),
            mention("Disease", &[(14, 19), (33, 37)], &["D059787"], &[]),
            mention("Disease", &[(25, 37)], &["D059350"], &[]),
            mention("Sign", &[(33, 37)], &[], &[("certainty", "possible")]),
            mention("Sign", &[(38, 42)], &[], &[]),
        ],
        relations: vec![
            relation("treats", &[("agent", Target::Mention(0)), ("target", Target::Mention(2))]),
            relation("CID", &[("Chemical", concept("D000317")), ("Disease", concept("D059350"))]),
        ],
        attributes: BTreeMap::from([("site".into(), "Zürich & <Bern>".into())]),
        ..Document::default()
    };
    let second = Document {
        id: "2".into(),
        text: "No fever. Cough 😷.".into(),
        sentences: vec![Span::new(0, 9), Span::new(10, 18)],
        mentions: vec![mention("Sign", &[(3, 8)], &[], &[("negated", "true")]), mention("Sign", &[(10, 15)], &[], &[])],
        relations: vec![relation("with", &[("", Target::Mention(1)), ("", Target::Mention(0))])],
        ..Document::default()
    };
    [first, second]
}

#[test]
fn output_of_the_package_bioc_is_read() {
    for (format, name) in [(Format::BiocXml, "golden.xml"), (Format::BiocJson, "golden.json")] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/bioc").join(name);
        assert_eq!(Format::detect(&path).expect("readable"), Some(format));
        let (documents, diagnostics) = format.read(&path, &FormatOptions::default()).expect("readable");
        assert_eq!(documents, golden(), "{name}");
        let faults: Vec<String> =
            diagnostics.0.iter().map(|fault| format!("{:?}: {}", fault.kind, fault.message)).collect();
        assert_eq!(faults, ["NotRead: infons of passages other than their type: 1"], "{name}");
        for document in &documents {
            assert_eq!(format.express(document, &FormatOptions::default()).document, *document, "{name}");
        }
    }
}

fn bc5cdr() -> Option<PathBuf> {
    match std::env::var_os("MEDNER_CORPORA") {
        Some(folder) => Some(PathBuf::from(folder).join("bc5cdr")),
        None => {
            // Written directly: the test harness hides what a passing test prints.
            let message = "SKIPPED: MEDNER_CORPORA is not set, so the BioC files of bc5cdr were not tested\n";
            std::io::stderr().write_all(message.as_bytes()).expect("stderr");
            None
        }
    }
}

/// The content is the same except for the roles of relations, which only BioC has, and the empty seventh column of some
/// mentions in two documents of PubTator's training set, which BioC does not have.
#[test]
fn bc5cdr_is_the_same_in_bioc_and_in_pubtator() {
    let Some(folder) = bc5cdr() else { return };
    // With the numbers of parts of composite mentions, and of mentions that end inside a word.
    for (split, individual, odd) in [("TrainingSet", 185, 0), ("DevelopmentSet", 182, 10), ("TestSet", 119, 5)] {
        let not_read = BTreeMap::from([(DiagnosticKind::NotRead, individual)]);
        let odd = (odd > 0).then_some((DiagnosticKind::OddBoundary, odd));
        let options = FormatOptions::default();
        let read = |format: Format, ending: &str| {
            let path = folder.join(format!("CDR_{split}.{ending}"));
            assert_eq!(Format::detect(&path).expect("readable"), Some(format), "{split}");
            format.read(&path, &options).expect("readable")
        };
        let (bioc, diagnostics) = read(Format::BiocXml, "BioC.xml");
        assert_eq!(diagnostics.counts(), not_read.into_iter().chain(odd).collect(), "{split}");
        let (mut pubtator, diagnostics) = read(Format::Pubtator, "PubTator.txt");
        assert_eq!(diagnostics.counts(), odd.into_iter().collect(), "{split}");
        for mention in pubtator.iter_mut().flat_map(|document| &mut document.mentions) {
            mention.attributes.retain(|key, value| key != INDIVIDUAL_MENTIONS || !value.is_empty());
        }
        let mut without_roles = bioc.clone();
        let relations = without_roles.iter_mut().flat_map(|document| &mut document.relations);
        for (at, argument) in relations.flat_map(|relation| relation.arguments.iter_mut().enumerate()) {
            assert_eq!(argument.role, ["Chemical", "Disease"][at]);
            argument.role.clear();
        }
        assert!(without_roles == pubtator, "{split}: the documents differ");

        for format in [Format::BiocXml, Format::BiocJson] {
            let folder = tempfile::tempdir().expect("a folder");
            let path = folder.path().join("written");
            for documents in [&bioc, &pubtator] {
                assert!(format.write(&path, documents, &options).expect("written").is_lossless(), "{split} {format}");
                let (back, diagnostics) = format.read(&path, &options).expect("readable");
                assert_eq!(diagnostics.counts(), odd.into_iter().collect(), "{split} {format}");
                assert!(back == *documents, "{split} {format}: the documents differ");
            }
        }
    }
}
