//! Invented discharge summaries in exactly the layout of the i2b2 2010 release, for users without it.
//!
//! They contain nobody's record: the program invents people, places, findings and most names of problems, treatments
//! and tests. The first line of every note says so. A score on them says nothing about real notes; it only shows that
//! everything from release to score works.
//!
//! To be less than trivial: training never names about a quarter of the concepts of a held-out note, and one in five of
//! its lines follows a pattern that training never shows; the same words are a concept in one place and not in another,
//! or concepts of different types ("Brinman" is a clinician, a street, a syndrome, a shunt and a score; an acronym is a
//! drug or a department); modifiers, articles and places belong to a concept in one position and not in another;
//! annotators disagree about articles and overlook mentions, as people do.
//!
//! The quirks of the format occur as well: lines that begin with a space, quotes in a concept, concepts across lines,
//! unsorted concept files with duplicates, carriage returns.

mod grammar;
mod lexicon;
mod note;

use super::lexicon::Part;
use super::random::Random;
use crate::dataset::i2b2_release::{FileTree, development_ids};
use itertools::Itertools;
use lexicon::Lexicon;
use note::Note;
use std::path::PathBuf;

/// Number of notes in each part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    /// Training notes of the site beth.
    pub beth: usize,
    /// Training notes of the site partners.
    pub partners: usize,
    /// Test notes.
    pub test: usize,
}

/// Seed of the sample.
pub const SAMPLE_SEED: u64 = 10;

/// Sizes of the sample.
pub const SAMPLE_SIZES: Sizes = Sizes { beth: 60, partners: 60, test: 40 };

/// Percentage of notes with carriage returns, and of notes with a duplicate concept.
const CARRIAGE_RETURN_PERCENT: usize = 5;
const DOUBLE_PERCENT: usize = 12;

/// Where the notes of a site are stored, and their styles.
struct Site {
    name: &'static str,
    /// Indices in the grammar's list of styles.
    styles: &'static [usize],
    texts: &'static str,
    concepts: &'static str,
    assertions: &'static str,
}

const SITES: [Site; 3] = [
    Site {
        name: "beth",
        styles: &[0],
        texts: "concept_assertion_relation_training_data/beth/txt",
        concepts: "concept_assertion_relation_training_data/beth/concept",
        assertions: "concept_assertion_relation_training_data/beth/ast",
    },
    Site {
        name: "partners",
        styles: &[1],
        texts: "concept_assertion_relation_training_data/partners/txt",
        concepts: "concept_assertion_relation_training_data/partners/concept",
        assertions: "concept_assertion_relation_training_data/partners/ast",
    },
    Site {
        name: "test",
        styles: &[0, 1],
        texts: "test_data",
        concepts: "reference_standard_for_test_data/concepts",
        assertions: "reference_standard_for_test_data/ast",
    },
];

/// Writes notes in the style and layout of the i2b2 2010 release, identical for the same seed on every platform.
///
/// The paths are those of the release, with folders for both sites, the test texts separate from their concepts, and no
/// relations. Document names begin with `synthetic`.
pub fn i2b2(seed: u64, sizes: Sizes) -> FileTree {
    let lexicon = Lexicon::new(seed);
    let mut tree = FileTree::new();
    let counts = [sizes.beth, sizes.partners, sizes.test];
    for ((number, site), count) in (1..).zip(&SITES).zip(counts) {
        let ids = (1..=count).map(|at| format!("synthetic-{}-{at:03}", site.name)).collect_vec();
        let development = development_ids(ids.iter().map(String::as_str));
        for (at, id) in (0..).zip(&ids) {
            let part = match site.name {
                "test" => Part::Test,
                _ if development.contains(&id.as_str()) => Part::Dev,
                _ => Part::Train,
            };
            // Stream 0 is for the vocabulary; each note has two of its own.
            let stream = number << 32 | at << 1;
            let note = note::write(&lexicon, part, Random::new(seed, stream), site.styles);
            let files = render(&note, &mut Random::new(seed, stream | 1));
            tree.insert(PathBuf::from(format!("{}/{id}.txt", site.texts)), files.text);
            tree.insert(PathBuf::from(format!("{}/{id}.con", site.concepts)), files.concepts);
            tree.insert(PathBuf::from(format!("{}/{id}.ast", site.assertions)), files.assertions);
        }
    }
    tree.insert(PathBuf::from("README.md"), README.into());
    tree
}

const README: &str = "\
# Synthetic discharge summaries

A program, `ner_data::synthetic::clinical`, made these up in the layout of the i2b2 2010 release. Nothing in them is from
a record, or from the release. **A score on them is worthless as a benchmark.**
";

/// The files of a note.
struct Rendered {
    text: Vec<u8>,
    concepts: Vec<u8>,
    assertions: Vec<u8>,
}

/// Writes a note as in the release, with some of its quirks.
fn render(note: &Note, random: &mut Random) -> Rendered {
    let line_break = if random.chance(CARRIAGE_RETURN_PERCENT) { "\r\n" } else { "\n" };
    let ends = note.lines.iter().skip(1).copied().chain([note.tokens.len()]);
    let lines = note.lines.iter().zip(ends).map(|(&start, end)| note.tokens[start..end].join(" ") + line_break);
    let text: String = lines.collect();

    let place = |token: usize| {
        let line = note.lines.partition_point(|&start| start <= token);
        format!("{line}:{}", token - note.lines[line - 1])
    };
    let (mut concepts, mut assertions) = (Vec::new(), Vec::new());
    for concept in &note.concepts {
        let words = note.tokens[concept.tokens.clone()].iter().filter(|token| !token.is_empty()).join(" ");
        let (first, last) = (place(concept.tokens.start), place(concept.tokens.end - 1));
        let line = format!("c=\"{}\" {first} {last}||t=\"{}\"", words.to_lowercase(), concept.entity_type);
        assertions.extend(concept.assertion.map(|assertion| format!("{line}||a=\"{assertion}\"{line_break}")));
        concepts.push(line + line_break);
    }
    if !concepts.is_empty() && random.chance(DOUBLE_PERCENT) {
        concepts.push(random.choose(&concepts).clone());
    }
    random.shuffle(&mut concepts);
    Rendered { text: text.into(), concepts: concepts.concat().into(), assertions: assertions.concat().into() }
}

#[cfg(test)]
mod tests {
    use super::grammar::{SECTIONS, STYLES, WORDS};
    use super::*;
    use crate::dataset::i2b2_release::{SITE, load_tree};
    use crate::format::i2b2::ASSERTION;
    use crate::{DiagnosticKind, Document, Splits};
    use sha2::{Digest, Sha256};
    use std::collections::{BTreeMap, BTreeSet};

    fn sample() -> FileTree {
        i2b2(SAMPLE_SEED, SAMPLE_SIZES)
    }

    fn documents() -> Splits<Vec<Document>> {
        load_tree(&sample()).expect("the layout of the release").map(|_, split| split.documents.clone())
    }

    fn all(splits: &Splits<Vec<Document>>) -> impl Iterator<Item = &Document> {
        splits.train.iter().chain(&splits.dev).chain(&splits.test)
    }

    #[test]
    fn the_sample_is_the_same_everywhere() {
        let mut hash = Sha256::new();
        for (path, bytes) in sample() {
            hash.update(path.to_string_lossy().as_bytes());
            hash.update([0]);
            hash.update(bytes);
        }
        assert_eq!(
            format!("{:x}", hash.finalize()),
            "3eae81cd5710a4a8c42f491a6a89ffde7eb9da3b331dd5fee5f494f046942a79"
        );
    }

    #[test]
    fn the_importer_loads_it_without_a_loss() {
        let splits = load_tree(&sample()).expect("the layout of the release");
        let mut doubles = 0;
        for (split, loaded) in splits.iter() {
            assert_eq!(loaded.diagnostics.losses().next(), None, "{split}");
            doubles += loaded.diagnostics.0.len();
            for fault in &loaded.diagnostics.0 {
                assert_eq!(fault.kind, DiagnosticKind::DuplicateMention, "{fault}");
            }
        }
        assert!(doubles > 5, "{doubles}");
        assert_eq!(
            [splits.train.documents.len(), splits.dev.documents.len(), splits.test.documents.len()],
            [102, 18, 40]
        );

        let documents = splits.map(|_, split| split.documents.clone());
        let mut sites: BTreeMap<&str, usize> = BTreeMap::new();
        let mut counts: BTreeMap<(&str, &str), usize> = BTreeMap::new();
        for document in all(&documents) {
            *sites.entry(&document.attributes[SITE]).or_default() += 1;
            for mention in &document.mentions {
                let assertion = mention.attributes.get(ASSERTION).map_or("", String::as_str);
                *counts.entry((&mention.entity_type, assertion)).or_default() += 1;
            }
        }
        assert_eq!(sites, BTreeMap::from([("beth", 60), ("partners", 60), ("test", 40)]));
        let expected = [
            (("problem", "absent"), 674),
            (("problem", "associated_with_someone_else"), 74),
            (("problem", "conditional"), 72),
            (("problem", "hypothetical"), 214),
            (("problem", "possible"), 209),
            (("problem", "present"), 1530),
            (("test", ""), 1247),
            (("treatment", ""), 1660),
        ];
        assert_eq!(counts, BTreeMap::from(expected));
    }

    #[test]
    fn notes_have_their_length_and_no_open_slot() {
        for seed in 0..5 {
            let sizes = Sizes { beth: 20, partners: 20, test: 20 };
            let splits = load_tree(&i2b2(seed, sizes)).expect("the layout of the release");
            let documents = splits.map(|_, split| split.documents.clone());
            for document in all(&documents) {
                assert!((20..46).contains(&document.text.lines().count()), "{}", document.id);
                assert!(document.text.to_lowercase().contains("invented by a program"), "{}", document.id);
                let marks = ["{", "}", "|", ">"];
                assert!(!marks.iter().any(|mark| document.text.contains(mark)), "{}", document.text);
            }
        }
    }

    #[test]
    fn the_sample_has_the_difficulties_of_the_release() {
        let documents = documents();
        let count = |fits: &dyn Fn(&Document) -> bool| all(&documents).filter(|document| fits(document)).count();
        assert!(count(&|document| document.text.contains("\r\n")) > 3);
        assert!(count(&|document| document.text.contains("\n ")) > 40);
        let mut kinds: BTreeMap<&str, usize> = BTreeMap::new();
        let mut types: BTreeMap<String, BTreeSet<&str>> = BTreeMap::new();
        for document in all(&documents) {
            let index = document.char_index();
            for mention in &document.mentions {
                let text = index.slice(&document.text, mention.span()).expect("a span inside the text").to_lowercase();
                for (kind, holds) in [("across lines", text.contains('\n')), ("quotes", text.contains('"'))] {
                    *kinds.entry(kind).or_default() += usize::from(holds);
                }
                types.entry(text).or_default().insert(&mention.entity_type);
            }
        }
        assert!(kinds["across lines"] > 10 && kinds["quotes"] > 10, "{kinds:?}");
        assert!(types.values().filter(|types| types.len() > 1).count() > 10);

        // Strings that are a mention in one place occur unannotated in another.
        let words: BTreeSet<&str> =
            types.keys().map(String::as_str).filter(|text| !text.contains(char::is_whitespace)).collect();
        let mut elsewhere = 0;
        for document in all(&documents) {
            let index = document.char_index();
            for word in &document.words {
                let text = index.slice(&document.text, *word).unwrap_or_default().to_lowercase();
                let is_covered = document.mentions.iter().any(|mention| mention.span().covers(*word));
                elsewhere += usize::from(words.contains(text.as_str()) && !is_covered);
            }
        }
        assert!(elsewhere > 300, "{elsewhere}");

        let names = |documents: &[Document]| -> Vec<String> {
            let of = |document: &Document| -> Vec<String> {
                let index = document.char_index();
                let text =
                    |m: &crate::Mention| index.slice(&document.text, m.span()).unwrap_or_default().to_lowercase();
                document.mentions.iter().map(|mention| format!("{} {}", mention.entity_type, text(mention))).collect()
            };
            documents.iter().flat_map(of).collect()
        };
        let seen: BTreeSet<String> = names(&documents.train).into_iter().collect();
        for held_out in [&documents.dev, &documents.test] {
            let names = names(held_out);
            let unseen = names.iter().filter(|name| !seen.contains(*name)).count();
            assert!((25..55).contains(&(unseen * 100 / names.len())), "{unseen} of {}", names.len());
        }
    }

    /// A term of one sort is never a term of another: only the sentences make words ambiguous, not the lists.
    #[test]
    fn terms_are_distinct() {
        let lexicon = Lexicon::new(SAMPLE_SEED);
        let mut types: BTreeMap<String, &str> = BTreeMap::new();
        for (entity_type, term) in lexicon.types() {
            let before = types.insert(term.name.to_lowercase(), entity_type);
            assert!(before.is_none_or(|before| before == entity_type), "{}", term.name);
        }
    }

    #[test]
    fn marks_are_closed() {
        let rows = WORDS.iter().chain(STYLES.iter().copied().flatten()).flat_map(|(_, choices)| choices.iter());
        let lines = SECTIONS.iter().flat_map(|section| section.headings.iter().chain(section.lines));
        for template in lines.chain(rows) {
            let open = template.split(' ').filter(|piece| piece.len() > 1 && piece.starts_with('<')).count();
            let close = template.split(' ').filter(|piece| piece.contains('|') && piece.ends_with('>')).count();
            assert_eq!(open, close, "{template}");
            assert!(!template.contains("  ") && template.trim() == *template, "{template}");
        }
    }
}
