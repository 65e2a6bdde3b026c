use super::distribution::words_of;
use super::share;
use crate::dataset::LoadedSplit;
use crate::{DiagnosticKind, Document};
use serde::Serialize;
use std::collections::{BTreeMap, HashSet};

/// Counts of a split.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct SplitStatistics {
    /// Documents.
    pub documents: usize,
    /// Documents without a mention.
    pub documents_without_mentions: usize,
    /// Unicode characters of all texts.
    pub characters: usize,
    /// Sentences marked by the corpus; 0 if it marks none.
    pub sentences: usize,
    /// Words given by the corpus; 0 if it is not tokenised.
    pub words: usize,
    /// Mentions.
    pub mentions: usize,
    /// Mentions of each type.
    pub mentions_by_type: BTreeMap<String, usize>,
    /// More about each type.
    pub types: BTreeMap<String, TypeStatistics>,
    /// Mean number of mentions per document; `None` if there are no documents.
    pub mentions_per_document: Option<f64>,
    /// Mentions with several fragments.
    pub discontinuous: usize,
    /// Mentions with several concept identifiers.
    pub several_concepts: usize,
    /// Mentions without a concept identifier.
    pub no_concept: usize,
    /// Faults of the file, by kind.
    pub diagnostics: BTreeMap<DiagnosticKind, usize>,
}

/// Counts of one type in a split.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct TypeStatistics {
    /// Mentions.
    pub mentions: usize,
    /// Documents with at least one mention.
    pub documents: usize,
    /// Distinct strings of the mentions, folded.
    pub strings: usize,
    /// Mean number of words per mention; `None` if there are no mentions.
    pub mean_words: Option<f64>,
    /// Number of words of the longest mention.
    pub most_words: usize,
}

impl SplitStatistics {
    /// Counts a split.
    pub fn of(split: &LoadedSplit) -> Self {
        let mut counted =
            Self { documents: split.documents.len(), diagnostics: split.diagnostics.counts(), ..Self::default() };
        for document in &split.documents {
            counted.documents_without_mentions += usize::from(document.mentions.is_empty());
            counted.characters += document.text.chars().count();
            counted.sentences += document.sentences.len();
            counted.words += document.words.len();
            counted.mentions += document.mentions.len();
            for mention in &document.mentions {
                counted.discontinuous += usize::from(mention.is_discontinuous());
                counted.several_concepts += usize::from(mention.concept_ids.len() > 1);
                counted.no_concept += usize::from(mention.concept_ids.is_empty());
            }
        }
        counted.mentions_per_document = share(counted.mentions, counted.documents);
        counted.types = by_type(&split.documents);
        counted.mentions_by_type =
            counted.types.iter().map(|(name, of_type)| (name.clone(), of_type.mentions)).collect();
        counted
    }
}

fn by_type(documents: &[Document]) -> BTreeMap<String, TypeStatistics> {
    #[derive(Default)]
    struct Gathered {
        mentions: usize,
        documents: HashSet<usize>,
        strings: HashSet<String>,
        words: usize,
        most_words: usize,
    }
    let mut gathered: BTreeMap<&str, Gathered> = BTreeMap::new();
    for (at, document) in documents.iter().enumerate() {
        let index = document.char_index();
        for mention in &document.mentions {
            let of_type = gathered.entry(&mention.entity_type).or_default();
            let words = words_of(mention, document, &index);
            of_type.mentions += 1;
            of_type.documents.insert(at);
            of_type.strings.insert(mention.folded_text(&document.text, &index));
            of_type.words += words;
            of_type.most_words = of_type.most_words.max(words);
        }
    }
    let finish = |of_type: Gathered| TypeStatistics {
        mentions: of_type.mentions,
        documents: of_type.documents.len(),
        strings: of_type.strings.len(),
        mean_words: share(of_type.words, of_type.mentions),
        most_words: of_type.most_words,
    };
    gathered.into_iter().map(|(name, of_type)| (name.to_owned(), finish(of_type))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Diagnostics, Mention, Span};

    #[test]
    fn types_are_counted_and_add_up() {
        let mention = |start, end, kind: &str| Mention::new(Span::new(start, end), kind);
        let first = Document {
            mentions: vec![mention(0, 5, "A"), mention(6, 11, "A"), mention(0, 11, "B")],
            ..Document::new("1", "Fever fever")
        };
        let second = Document { mentions: vec![mention(0, 5, "A")], ..Document::new("2", "cough") };
        let documents = vec![first, second, Document::new("3", "")];
        let counted = SplitStatistics::of(&LoadedSplit { documents, diagnostics: Diagnostics::default() });
        let type_a = TypeStatistics { mentions: 3, documents: 2, strings: 2, mean_words: Some(1.0), most_words: 1 };
        let type_b = TypeStatistics { mentions: 1, documents: 1, strings: 1, mean_words: Some(2.0), most_words: 2 };
        assert_eq!(counted.types, BTreeMap::from([("A".to_owned(), type_a), ("B".to_owned(), type_b)]));
        assert_eq!(counted.mentions_by_type.values().sum::<usize>(), counted.mentions);
        assert_eq!((counted.mentions_per_document, counted.documents_without_mentions), (Some(4.0 / 3.0), 1));
        assert_eq!(SplitStatistics::of(&LoadedSplit::default()).mentions_per_document, None);
    }
}
