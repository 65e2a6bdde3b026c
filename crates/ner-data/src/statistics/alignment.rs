use super::share;
use crate::{Document, EncodedDocument, LabelSet, MisfitReason, Span, align, mentions_of};
use serde::Serialize;
use std::collections::{BTreeMap, HashSet};

/// How many mentions survive conversion to word tags and back: an upper bound on the recall of any tagger of these
/// words.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct AlignmentStatistics {
    /// Word pieces, without special tokens.
    pub tokens: usize,
    /// Words, the unit of tagging.
    pub words: usize,
    /// Windows for the encoder.
    pub windows: usize,
    /// Mentions.
    pub mentions: usize,
    /// Mentions that are restored with the same span and type.
    pub surviving: usize,
    /// `surviving / mentions`; `None` if there are no mentions.
    pub surviving_share: Option<f64>,
    /// The other mentions, by reason.
    pub misfits: BTreeMap<MisfitReason, usize>,
    /// The other mentions: index of the document, index of the mention in it, reason.
    #[serde(skip)]
    pub misfit_mentions: Vec<(usize, usize, MisfitReason)>,
}

impl AlignmentStatistics {
    /// Aligns the mentions of `documents` with the words of the same documents in `encoded`.
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
