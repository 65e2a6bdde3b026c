//! Input of benchmarks: the synthetic corpus, and a tokenizer whose vocabulary is built from it, so that nothing is
//! downloaded.

use ner_data::synthetic::{SAMPLE_SEED, SAMPLE_SIZES, bc5cdr};
use ner_data::{Document, DocumentTokenizer, LabelSet, TagScheme, WindowSize};
use std::collections::BTreeMap;

/// The documents of the training part.
pub fn documents() -> Vec<Document> {
    bc5cdr(SAMPLE_SEED, SAMPLE_SIZES).train
}

/// The types of their mentions.
pub fn labels() -> LabelSet {
    LabelSet::new(TagScheme::Bio, ["Chemical", "Disease"])
}

/// A BERT tokenizer that knows the frequent words of `documents`, and every run of three letters in any word: common
/// words are one piece and names are several, as with a real vocabulary.
pub fn encoder(documents: &[Document], window: WindowSize) -> DocumentTokenizer {
    const FREQUENT: usize = 20;
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    let mut pieces: BTreeMap<String, usize> = BTreeMap::new();
    for document in documents {
        for word in document.text.to_lowercase().split(|letter: char| !letter.is_alphanumeric()) {
            let letters: Vec<char> = word.chars().collect();
            for length in 1..=3 {
                for (at, run) in letters.windows(length).enumerate() {
                    let run: String = run.iter().collect();
                    *pieces.entry(if at == 0 { run } else { format!("##{run}") }).or_default() += 1;
                }
            }
            *counts.entry(word.to_owned()).or_default() += 1;
        }
    }
    let special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"].map(str::to_owned);
    let signs = (b'!'..b'~').map(char::from).filter(char::is_ascii_punctuation).map(String::from);
    let words = counts.into_iter().filter(|(word, count)| *count >= FREQUENT && word.chars().count() > 3);
    let lines = special.into_iter().chain(signs).chain(words.map(|(word, _)| word)).chain(pieces.into_keys());
    let folder = tempfile::tempdir().expect("a folder");
    let vocabulary: String = lines.map(|piece| piece + "\n").collect();
    std::fs::write(folder.path().join("vocab.txt"), vocabulary).expect("a vocabulary");
    DocumentTokenizer::from_folder(folder.path(), window).expect("a tokenizer")
}
