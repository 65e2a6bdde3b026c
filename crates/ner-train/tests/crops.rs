//! Where documents may be cut, which depends on the head's own mentions.

#![allow(clippy::unwrap_used, reason = "tests")]

use ner_document::{Document, LabelSet, Mention, Span, TagScheme};
use ner_model::Head;
use ner_text::{DocumentTokenizer, WindowSize};
use ner_train::TrainingSet;

const VOCABULARY: &str = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nfever\ncame\nafter\naspirin\n.\n";

/// Checks the indexes of `text`'s words at which training may cut it, and at which its sentences start.
fn check(text: &str, mentions: &[(usize, usize)], scheme: TagScheme, head: Head, cuts: &[usize], sentences: &[usize]) {
    let folder = tempfile::tempdir().unwrap();
    fs_err::write(folder.path().join("vocab.txt"), VOCABULARY).unwrap();
    let tokenizer = DocumentTokenizer::from_folder(folder.path(), WindowSize::default()).unwrap();
    let mentions = mentions.iter().map(|&(start, end)| Mention::new(Span::new(start, end), "X")).collect();
    let documents = [Document { mentions, ..Document::new("1", text) }];
    let encoded = tokenizer.encode(&documents).unwrap();
    let set = TrainingSet::new(&tokenizer, &documents, &encoded, &LabelSet::new(scheme, ["X"]), head);
    assert_eq!((set.documents[0].cuts.as_slice(), set.documents[0].sentences.as_slice()), (cuts, sentences));
}

#[test]
fn a_sentence_that_begins_with_a_mention_is_a_place_to_cut_in_every_scheme() {
    for scheme in [TagScheme::Io, TagScheme::Bio, TagScheme::Bioes] {
        check("aspirin came. Fever came.", &[(14, 19)], scheme, Head::Token, &[0, 1, 2, 3, 4, 5], &[0, 3]);
    }
}

#[test]
fn no_cut_runs_through_the_shorter_of_two_mentions_that_cross() {
    // Words: fever came after aspirin fever. The mentions are the first three and the last three.
    let (text, mentions) = ("fever came after aspirin fever", [(0, 16), (11, 30)]);
    check(text, &mentions, TagScheme::Bio, Head::Span { longest: 4 }, &[0], &[0]);
    // Tags keep only the longer one.
    check(text, &mentions, TagScheme::Bio, Head::Token, &[0, 1, 2], &[0]);
}
