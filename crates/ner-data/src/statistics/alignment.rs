use super::share;
use crate::{Document, EncodedDocument, LabelSet, MisfitReason, Span, align, mentions_of};
use serde::Serialize;
use std::collections::{BTreeMap, HashSet};

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
    /// Aligns the mentions of `documents` with the words of the same documents, `encoded`.
    pub fn of(documents: &[Document], encoded: &[EncodedDocument], labels: &LabelSet) -> Self {
        let mut counted = Self::default();
        for (at, (document, encoded)) in documents.iter().zip(encoded).enumerate() {
            let spans = encoded.word_spans();
            let alignment = align(&spans, &document.mentions, labels);
            let back = mentions_of(&spans, &alignment.labels, labels);
            let back: HashSet<(&[Span], &str)> =
                back.iter().map(|mention| (mention.fragments.as_slice(), mention.entity_type.as_str())).collect();
            counted.tokens += encoded.tokens.len();
            counted.words += spans.len();
            counted.windows += encoded.windows.len();
            counted.mentions += document.mentions.len();
            let survives = |mention: &&crate::Mention| {
                back.contains(&(mention.fragments.as_slice(), mention.entity_type.as_str()))
            };
            counted.surviving += document.mentions.iter().filter(survives).count();
            for misfit in alignment.misfits {
                *counted.misfits.entry(misfit.reason).or_default() += 1;
                counted.misfit_mentions.push((at, misfit.mention, misfit.reason));
            }
        }
        counted.surviving_share = share(counted.surviving, counted.mentions);
        counted
    }
}
