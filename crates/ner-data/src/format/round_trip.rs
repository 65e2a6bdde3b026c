//! The round-trip test of formats: expressed documents are read back unchanged.

use super::{Format, FormatOptions, Output};
use crate::{Argument, Confidence, DiagnosticKind, Document, Mention, Passage, Relation, Span, Target};
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use proptest::sample::select;
use std::collections::HashSet;
use std::io::Write;

/// Pieces of text: of one to four bytes, combining, right-to-left, line breaks, and characters of markup and columns.
const PIECES: &[&str] = &[
    "a",
    "b",
    "ab",
    "Ab1",
    " ",
    " ",
    " ",
    "  ",
    "\n",
    "\r\n",
    "\r",
    "\t",
    "|",
    "\"",
    "'",
    "<",
    ">",
    "&",
    "&amp;",
    "]]>",
    "#",
    "/",
    "\\",
    "{",
    "-",
    "_",
    "0",
    "7|t|",
    "-DOCSTART-",
    "é",
    "e\u{301}",
    "→",
    "𝛼",
    "😀",
    "👩\u{200d}👧",
    "שלום",
    "\u{202e}",
    "\u{a0}",
    "\u{2009}",
    "\u{2028}",
    "\u{85}",
    "\u{feff}",
    "\u{fffd}",
    "\u{0}",
    "\u{1}",
    "\u{b}",
    "\u{c}",
    "\u{1f}",
    "\u{ffff}",
];

const IDS: &[&str] = &[
    "7",
    "227508",
    "a/b",
    "a|b",
    "x y",
    " ",
    "..",
    ".hidden",
    "",
    "-DOCSTART-",
    "ä\u{301}",
    "a\tb",
    "a\nb",
    "100%",
    "%41",
    "\u{feff}x",
    "<&\">",
    "C:\\x",
    "T1",
    "\u{0}",
    " x",
    "x ",
    "a/ b /c",
    "A.txt",
    "-",
];

const NAMES: &[&str] = &[
    "X",
    "Y",
    "Disease",
    "a b",
    " X",
    "p|q",
    "tab\tbed",
    "line\nbroken",
    "cr\r",
    "<&\">",
    "ä",
    "-1",
    "12",
    "D1",
    "D2|D3",
    "",
    "negated",
    "confidence",
    "0.5",
    "B-X",
    "O",
    "#",
    "\u{1}",
    // Ids with separators of ids, alone and as those of variants; and types of variants.
    "a,b",
    "a; b",
    "a|",
    "|a",
    "|",
    "-1|a",
    "-",
    "x ",
    "c|DEL|1314_1328|",
    "SequenceVariant",
    "rs1;rs2",
    // What readers look for.
    "type",
    "identifier",
    "individual_mentions",
    "CompositeRole",
    "IndividualMention",
    "Novel",
    "true",
    "T1",
    "R0",
    "a:b",
    "argument1",
    "assertion",
    "1e3",
];

/// A text of these pieces, with all annotation that a document may have.
pub(super) fn document() -> impl Strategy<Value = Document> {
    let text = vec(select(PIECES), 0..14).prop_map(|pieces| pieces.concat());
    let name = || select(NAMES).prop_map(str::to_owned);
    let attributes = || btree_map(name(), name(), 0..3);
    let spans = || vec((0usize..40, 0usize..9), 0..4);
    let passages = vec((select(vec!["title", "abstract", "x y", ""]), 0usize..30, 0usize..12), 0..4);
    let confidence =
        proptest::option::of((0.0f32..=1.0).prop_map(|value| Confidence::new(value).expect("in its range")));
    let mention =
        (vec((0usize..12, 1usize..6), 1..3), name(), vec(name(), 0..3), attributes(), confidence, any::<bool>());
    let argument = (name(), prop_oneof![name().prop_map(Target::Concept), (0usize..4).prop_map(Target::Mention)]);
    let relation = (name(), vec(argument, 0..4));
    let marks = (passages, spans(), spans(), vec(mention, 0..6), vec(relation, 0..3), attributes());
    (select(IDS), text, any::<bool>(), marks).prop_map(|(id, text, titled, marks)| {
        let (passages, sentences, words, mentions, relations, attributes) = marks;
        let len = text.chars().count();
        let inside = |span: Span| span.end <= len;
        let mut passages: Vec<Passage> = passages
            .into_iter()
            .map(|(kind, start, length)| Passage { kind: kind.into(), span: Span::new(start, start + length) })
            .filter(|passage| inside(passage.span))
            .collect();
        if let (true, Some(end)) = (titled, text.chars().position(char::is_whitespace)) {
            let passage = |kind: &str, span| Passage { kind: kind.into(), span };
            passages = vec![passage("title", Span::new(0, end)), passage("abstract", Span::new(end + 1, len))];
        }
        let mentions: Vec<Mention> = mentions
            .into_iter()
            .map(|(steps, entity_type, concept_ids, attributes, confidence, is_wild)| {
                // Some overlap, or are in another order.
                let mut fragments = ascending(steps);
                for at in (1..fragments.len()).filter(|_| is_wild) {
                    fragments[at].start = fragments[at].start.saturating_sub(2);
                    fragments.swap(at - 1, at);
                }
                Mention { fragments, entity_type, concept_ids, attributes, confidence }
            })
            .filter(|mention| inside(mention.span()))
            .collect();
        let relations = relations.into_iter().map(|(kind, arguments)| {
            let there = |target: &Target| !matches!(target, Target::Mention(at) if *at >= mentions.len());
            let arguments = arguments.into_iter().map(|(role, target)| Argument { role, target });
            Relation { kind, arguments: arguments.filter(|argument| there(&argument.target)).collect() }
        });
        let relations = relations.collect();
        let sentences = ascending(sentences).into_iter().filter(|span| inside(*span)).collect();
        let words = ascending(words).into_iter().filter(|span| inside(*span) && !span.is_empty()).collect();
        Document { id: id.into(), text, passages, sentences, words, mentions, relations, attributes }
    })
}

/// Spans from steps of gap and length.
fn ascending(steps: Vec<(usize, usize)>) -> Vec<Span> {
    let mut at = 0;
    let span = |(gap, len): (usize, usize)| {
        let start = at + gap;
        at = start + len;
        Span::new(start, at)
    };
    steps.into_iter().map(span).collect()
}

/// Checks that expressed documents are read back equal and without faults, and that expressing them again changes
/// nothing. CoNLL, which has no ids, numbers its documents.
pub(super) fn check(format: Format, options: &FormatOptions, documents: &[Document]) -> Result<(), TestCaseError> {
    let mut ids = HashSet::new();
    let mut expected: Vec<Document> = Vec::new();
    for document in documents {
        let once = format.express(document, options).document;
        let twice = format.express(&once, options);
        prop_assert_eq!(&twice.document, &once, "expressing it again changes it");
        prop_assert!(twice.mentions.iter().copied().eq((0..once.mentions.len()).map(Some)));
        prop_assert!(twice.relations.iter().copied().eq((0..once.relations.len()).map(Some)));
        if format == Format::Conll || ids.insert(once.id.clone()) {
            expected.push(once);
        }
    }
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("written");
    let (mut found, mut diagnostics) = if format.is_folder() {
        format.write(&path, &expected, options).expect("written");
        format.read(&path, options).expect("read")
    } else {
        let mut bytes = Vec::new();
        let out: Box<dyn Write + '_> = Box::new(&mut bytes);
        let mut writer = format.create_output(Output::Open(out), options).expect("memory");
        for document in &expected {
            writer.write(document).expect("memory");
        }
        writer.finish().expect("memory");
        let input = format.open_input(Box::new(bytes.as_slice()), &path, options).expect("memory");
        input.read_all().expect("memory")
    };
    // Their ends are where they were.
    diagnostics.0.retain(|diagnostic| diagnostic.kind != DiagnosticKind::OddBoundary);
    prop_assert_eq!(diagnostics.0, vec![]);
    if format == Format::Conll {
        for (at, document) in expected.iter_mut().enumerate() {
            document.id = (at + 1).to_string();
        }
    }
    if format.is_folder() {
        found.sort_by(|a, b| a.id.cmp(&b.id));
        expected.sort_by(|a, b| a.id.cmp(&b.id));
    }
    prop_assert_eq!(found, expected);
    Ok(())
}
