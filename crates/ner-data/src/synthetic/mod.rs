//! Invented documents in the style of a corpus, for a fresh clone without a corpus.
//!
//! [`bc5cdr`] imitates the BioCreative V CDR corpus: titles and abstracts with `Chemical` and `Disease` mentions and
//! chemical-induced disease relations. The chemicals are made of syllables and the findings are false. A score on such
//! text says nothing about real text; it only shows that everything from file to score works.
//!
//! To be less than trivial: about a quarter of the concepts of the development and test parts never occur in training;
//! proteins, cell lines and measurements are named and abbreviated like chemicals and diseases; "acute" is part of some
//! names and precedes others; institutes and scales contain names of diseases.
//!
//! A document depends only on the seed, its part and its number, not on the number of documents.

mod article;
mod builder;
pub mod clinical;
mod grammar;
mod lexicon;
mod random;

use crate::Document;
use lexicon::{Lexicon, Part};
use random::Random;

/// Number of documents in each part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    /// Documents for training.
    pub train: usize,
    /// Documents for model selection.
    pub dev: usize,
    /// Documents for the final measurement.
    pub test: usize,
}

/// The parts of an invented corpus.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parts {
    /// Documents for training.
    pub train: Vec<Document>,
    /// Documents for model selection.
    pub dev: Vec<Document>,
    /// Documents for the final measurement.
    pub test: Vec<Document>,
}

/// Seed of the committed sample.
pub const SAMPLE_SEED: u64 = 5;

/// Sizes of the committed sample.
pub const SAMPLE_SIZES: Sizes = Sizes { train: 210, dev: 55, test: 55 };

/// One in this many documents is long: several times the 512 positions of an encoder.
const LONG_EVERY: usize = 55;

/// Writes documents in the style of BC5CDR, identical for the same seed on every platform.
///
/// Document identifiers have nine digits and begin with 99, as no PMID does; concept identifiers are `D9` and five
/// digits. Offsets count Unicode scalar values; some texts are not ASCII.
pub fn bc5cdr(seed: u64, sizes: Sizes) -> Parts {
    let lexicon = Lexicon::new(seed);
    let part = |part: Part, number: u64, count: usize| {
        let write = |at: usize| {
            // Stream 0 is for the vocabulary; each document has its own, so that parts can grow.
            let random = Random::new(seed, (number << 32) | at as u64);
            let id = format!("99{number}{:06}", at + 1);
            article::write(&lexicon, part, random, id, at % LONG_EVERY == LONG_EVERY / 2)
        };
        (0..count).map(write).collect()
    };
    Parts {
        train: part(Part::Train, 1, sizes.train),
        dev: part(Part::Dev, 2, sizes.dev),
        test: part(Part::Test, 3, sizes.test),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::pubtator;
    use crate::{Format, FormatOptions, Target};
    use std::collections::{BTreeMap, BTreeSet};
    use std::path::Path;

    fn sample() -> Parts {
        bc5cdr(SAMPLE_SEED, SAMPLE_SIZES)
    }

    fn all(parts: &Parts) -> impl Iterator<Item = &Document> {
        parts.train.iter().chain(&parts.dev).chain(&parts.test)
    }

    fn texts(documents: &[Document]) -> Vec<(&str, String)> {
        let mut texts = Vec::new();
        for document in documents {
            let index = document.char_index();
            for mention in &document.mentions {
                let text = index.slice(&document.text, mention.span()).expect("a span inside the text");
                texts.push((mention.entity_type.as_str(), text.to_lowercase()));
            }
        }
        texts
    }

    #[test]
    fn every_mention_is_a_name_of_its_concept() {
        let lexicon = Lexicon::new(SAMPLE_SEED);
        let mut forms: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        let pools = [&lexicon.chemicals, &lexicon.diseases, &lexicon.ligands];
        let terms = pools.iter().flat_map(|pool| pool.iter()).chain([&lexicon.toxicity, &lexicon.overdose]);
        for term in terms {
            let Some(id) = &term.id else { continue };
            let optional = [&term.synonym, &term.acronym, &term.adjective, &term.plural];
            let names = std::iter::once(&term.name).chain(optional.into_iter().flatten());
            forms.entry(id.clone()).or_default().extend(names.map(|name| name.to_lowercase()));
        }
        for document in all(&sample()) {
            let index = document.char_index();
            for mention in &document.mentions {
                let text = index.slice(&document.text, mention.span()).expect("a span inside the text");
                let ascii = text.to_lowercase().replace("α-", "alpha-").replace("β-", "beta-").replace("γ-", "gamma-");
                match mention.attributes.get(pubtator::INDIVIDUAL_MENTIONS) {
                    Some(parts) => assert_eq!(parts.split('|').count(), 2, "{text}"),
                    None => {
                        assert!(mention.concept_ids.len() < 2, "{text}");
                        for id in &mention.concept_ids {
                            assert!(forms[id].contains(&ascii), "{id} is not {text}");
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn mentions_ascend_without_overlap_and_relations_name_their_concepts() {
        for document in all(&sample()) {
            for pair in document.mentions.windows(2) {
                assert!(pair[0].span().end <= pair[1].span().start, "{}", document.id);
            }
            let ids = |entity_type: &str| -> BTreeSet<&String> {
                let of_type = document.mentions.iter().filter(|mention| mention.entity_type == entity_type);
                of_type.flat_map(|mention| &mention.concept_ids).collect()
            };
            let (chemicals, diseases) = (ids("Chemical"), ids("Disease"));
            assert!(chemicals.is_disjoint(&diseases), "{}", document.id);
            for relation in &document.relations {
                let concept = |at: usize| match &relation.arguments[at].target {
                    Target::Concept(id) => id,
                    Target::Mention(_) => panic!("{}", document.id),
                };
                assert!(chemicals.contains(concept(0)), "{}", document.id);
                assert!(diseases.contains(concept(1)), "{}", document.id);
            }
        }
    }

    #[test]
    fn the_text_is_a_title_one_space_and_an_abstract_without_an_open_slot() {
        for seed in 0..20 {
            let sizes = Sizes { train: 80, dev: 20, test: 20 };
            for document in all(&bc5cdr(seed, sizes)) {
                let [title, body] = document.passages.as_slice() else { panic!("two passages") };
                assert_eq!((title.kind.as_str(), body.kind.as_str()), ("title", "abstract"));
                assert_eq!((title.span.start, title.span.end + 1), (0, body.span.start));
                assert_eq!(body.span.end, document.char_index().len());
                assert!(!document.text.contains(['{', '}', '~', '\n', '\t']), "{}", document.text);
                assert!(!document.text.contains("  "), "{}", document.text);
            }
        }
    }

    #[test]
    fn a_document_does_not_depend_on_how_many_there_are() {
        let few = bc5cdr(7, Sizes { train: 3, dev: 0, test: 2 });
        let many = bc5cdr(7, Sizes { train: 9, dev: 4, test: 5 });
        assert_eq!((&few.train[..], &few.test[..]), (&many.train[..3], &many.test[..2]));
        assert_ne!(few.train, bc5cdr(8, Sizes { train: 3, dev: 0, test: 2 }).train);
    }

    #[test]
    fn the_sample_has_the_difficulties_of_the_real_corpus() {
        let parts = sample();
        let count = |fits: &dyn Fn(&Document) -> bool| all(&parts).filter(|document| fits(document)).count();
        let mentions = |fits: &dyn Fn(&Document, &crate::Mention) -> bool| {
            all(&parts).map(|document| document.mentions.iter().filter(|m| fits(document, m)).count()).sum::<usize>()
        };
        assert!(count(&|document| !document.text.is_ascii()) > 20);
        assert!(count(&|document| document.text.split(' ').count() > 600) >= 4);
        assert!(mentions(&|_, mention| mention.concept_ids.is_empty()) > 20);
        assert!(mentions(&|_, mention| !mention.attributes.is_empty()) > 20);
        let ends_inside_a_word = |document: &Document, mention: &crate::Mention| {
            document.text.chars().nth(mention.span().end).is_some_and(char::is_alphanumeric)
        };
        assert!(mentions(&ends_inside_a_word) > 5);

        let seen: BTreeSet<_> = texts(&parts.train).into_iter().collect();
        for held_out in [&parts.dev, &parts.test] {
            let texts = texts(held_out);
            let unseen = texts.iter().filter(|text| !seen.contains(text)).count();
            assert!((15..50).contains(&(unseen * 100 / texts.len())), "{unseen} of {}", texts.len());
        }
    }

    #[test]
    fn the_committed_sample_equals_the_output_of_the_generator() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../datasets/bc5cdr/sample");
        let parts = sample();
        for (name, documents) in [("train", &parts.train), ("dev", &parts.dev), ("test", &parts.test)] {
            let path = folder.join(format!("{name}.PubTator.txt"));
            let options = FormatOptions::default();
            let written = tempfile::NamedTempFile::new().expect("a file");
            let report = Format::Pubtator.write(written.path(), documents, &options).expect("written");
            assert!(report.is_lossless(), "{report:?}");
            let committed = fs_err::read(&path).expect("the sample is committed");
            assert!(
                committed == fs_err::read(written.path()).expect("read"),
                "make {name} again: cargo run --release -p ner-data --example make_sample"
            );

            let (read, diagnostics) = Format::Pubtator.read(&path, &options).expect("the sample is committed");
            assert_eq!(diagnostics.losses().count(), 0, "{diagnostics:?}");
            assert_eq!(&read, documents);
        }
    }
}
