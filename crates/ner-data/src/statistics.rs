use crate::dataset::LoadedSplit;
use crate::{DiagnosticKind, Document, LabelSet, MisfitReason, TextEncoder, TokenizeError, align, mentions_of};
use serde::Serialize;
use std::collections::BTreeMap;

/// What a split holds, counted.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct SplitStatistics {
    /// Documents.
    pub documents: usize,
    /// Documents without a mention.
    pub documents_without_mentions: usize,
    /// Unicode characters of all texts.
    pub characters: usize,
    /// Sentences, as the corpus marks them; 0 where it does not.
    pub sentences: usize,
    /// Words, as the corpus gives them; 0 where it comes without.
    pub words: usize,
    /// Mentions.
    pub mentions: usize,
    /// Mentions of each type.
    pub mentions_by_type: BTreeMap<String, usize>,
    /// Mean number of mentions of a document; none where there is no document.
    pub mentions_per_document: Option<f64>,
    /// Mentions of several fragments.
    pub discontinuous: usize,
    /// Mentions with several concept identifiers.
    pub several_concepts: usize,
    /// Mentions without a concept identifier.
    pub no_concept: usize,
    /// Faults of the file, by kind.
    pub diagnostics: BTreeMap<DiagnosticKind, usize>,
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
                *counted.mentions_by_type.entry(mention.entity_type.clone()).or_default() += 1;
                counted.discontinuous += usize::from(mention.is_discontinuous());
                counted.several_concepts += usize::from(mention.concept_ids.len() > 1);
                counted.no_concept += usize::from(mention.concept_ids.is_empty());
            }
        }
        counted.mentions_per_document =
            (counted.documents > 0).then(|| counted.mentions as f64 / counted.documents as f64);
        counted
    }
}

/// How many mentions survive the way to tags on words and back, which bounds the recall of any tagger of these words.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct AlignmentStatistics {
    /// Word pieces, without special tokens.
    pub tokens: usize,
    /// Words that the pieces make up; they are what is tagged.
    pub words: usize,
    /// Windows that the encoder sees.
    pub windows: usize,
    /// Mentions.
    pub mentions: usize,
    /// Mentions that come back with the same span and type.
    pub surviving: usize,
    /// `surviving / mentions`; none where there is no mention.
    pub surviving_share: Option<f64>,
    /// The others, by reason.
    pub misfits: BTreeMap<MisfitReason, usize>,
    /// The others, each by the place of its document and its place in the document.
    #[serde(skip)]
    pub misfit_mentions: Vec<(usize, usize, MisfitReason)>,
}

impl AlignmentStatistics {
    /// Aligns the mentions of `documents` with the encoder's words.
    ///
    /// # Errors
    /// Where the tokenizer fails on a document.
    pub fn of(documents: &[Document], encoder: &TextEncoder, labels: &LabelSet) -> Result<Self, TokenizeError> {
        let mut counted = Self::default();
        for (at, (document, encoded)) in documents.iter().zip(encoder.encode(documents)?).enumerate() {
            let spans = encoded.word_spans();
            let alignment = align(&spans, &document.mentions, labels);
            let back = mentions_of(&spans, &alignment.labels, labels);
            counted.tokens += encoded.tokens.len();
            counted.words += spans.len();
            counted.windows += encoded.windows.len();
            counted.mentions += document.mentions.len();
            let survives = |mention: &&crate::Mention| {
                back.iter().any(|b| b.fragments == mention.fragments && b.entity_type == mention.entity_type)
            };
            counted.surviving += document.mentions.iter().filter(survives).count();
            for misfit in alignment.misfits {
                *counted.misfits.entry(misfit.reason).or_default() += 1;
                counted.misfit_mentions.push((at, misfit.mention, misfit.reason));
            }
        }
        counted.surviving_share = (counted.mentions > 0).then(|| counted.surviving as f64 / counted.mentions as f64);
        Ok(counted)
    }
}
