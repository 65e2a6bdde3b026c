//! Compares statistics of real corpora with numbers from other programs. Needs `MEDNER_CORPORA`, the folder that
//! contains `bc5cdr` and `genia-nested`; otherwise the tests report that they were skipped.

mod common;

use common::corpus;
use ner_data::statistics::{Consistency, Overlaps, Unseen, shared_documents, shared_sentences};
use ner_data::{Document, Format, FormatOptions, Mention, Span, Split, Splits};

#[test]
fn bc5cdr() {
    let Some(folder) = corpus("bc5cdr") else { return };
    let names = Splits { train: "Training", dev: "Development", test: "Test" };
    let splits = names.map(|_, name| {
        let path = folder.join(format!("CDR_{name}Set.PubTator.txt"));
        Format::Pubtator.read(&path, &FormatOptions::default()).expect("readable").0
    });
    let splits = splits.map(|_, documents| documents.as_slice());

    // Strings: all, and partly unlabelled ones; occurrences: unlabelled, inside another mention.
    let expected = Splits { train: [4201, 17, 22, 410], dev: [4157, 10, 11, 371], test: [4256, 15, 15, 407] };
    for (split, documents) in splits.iter() {
        let Consistency { strings, partly_unlabelled, places, .. } = Consistency::of(documents);
        assert_eq!(&[strings, partly_unlabelled, places.unlabelled, places.inside_another], expected.get(split));
        assert_eq!(Overlaps::of(documents).deepest, 1, "{split}");
    }
    let unseen = |documents| Unseen::of(splits.train, documents).overall.unseen;
    assert_eq!([unseen(splits.train), unseen(splits.dev), unseen(splits.test)], [0, 3513, 3719]);
    assert!(shared_documents(&splits).pairs.iter().all(|pair| pair.texts == 0));
    let shared = shared_sentences(&splits);
    assert_eq!(shared.pairs.iter().map(|pair| pair.texts).collect::<Vec<_>>(), [1, 1, 5]);
    assert_eq!((shared.repeated.train, shared.repeated.dev, shared.repeated.test), (6, 7, 7));
    assert_eq!(shared.pairs[2].second, Split::Test);
}

/// 41 % of the mentions take part in nesting, which is up to five deep.
#[test]
fn genia() {
    let Some(path) = corpus("genia-nested/genia_terms_nested.jsonl") else { return };
    let text = std::fs::read_to_string(path).expect("readable");
    let documents: Vec<Document> = text.lines().map(document).collect();
    let Overlaps { overlapping, share, same_extent, nested, containing, crossing, deepest, .. } =
        Overlaps::of(&documents);
    assert_eq!([overlapping, same_extent, nested, containing, crossing, deepest], [22485, 436, 12527, 10411, 0, 5]);
    assert_eq!(share, Some(22485.0 / 54509.0));
}

/// A line of the file: an abstract in sentences, whose entities have offsets within their sentence.
fn document(line: &str) -> Document {
    let value: serde_json::Value = serde_json::from_str(line).expect("JSON");
    let mut document = Document::new(value["pmid"].as_str().expect("an id"), "");
    for sentence in value["sentences"].as_array().expect("a list") {
        let start = document.text.chars().count();
        let number = |value: &serde_json::Value| start + value.as_u64().expect("an offset") as usize;
        for entity in sentence["entities"].as_array().expect("a list") {
            let span = Span::new(number(&entity["start"]), number(&entity["end"]));
            document.mentions.push(Mention::new(span, entity["type"].as_str().expect("a type")));
        }
        document.text += sentence["text"].as_str().expect("a text");
        document.text += "\n";
    }
    document
}
