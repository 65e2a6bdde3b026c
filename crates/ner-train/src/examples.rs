use ner_data::{Alignment, Document, EncodedDocument, LabelSet, Position, Span, Tag, TextEncoder, align, piece_labels};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// What a trainer learns from: documents as word pieces with their labels.
#[derive(Clone, Debug, Default)]
pub struct TrainingSet {
    /// The documents.
    pub documents: Vec<TrainingDocument>,
    /// Special tokens before the pieces of a row.
    pub prefix: Vec<u32>,
    /// Special tokens after them.
    pub suffix: Vec<u32>,
    /// Number of the mask token.
    pub mask_id: Option<u32>,
}

/// One document of a training set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrainingDocument {
    /// Its id, for messages.
    pub id: String,
    /// All its pieces, without special tokens.
    pub input_ids: Vec<u32>,
    /// Label number of each piece.
    pub labels: Vec<i64>,
    /// Pieces before which it may be cut, ascending: first pieces of words, but not inside a mention.
    pub cuts: Vec<usize>,
}

/// One row of a batch: a crop of a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Crop {
    /// Place of the document in the training set.
    pub document: usize,
    /// First piece.
    pub start: usize,
    /// Piece after the last.
    pub end: usize,
}

impl Crop {
    /// Number of pieces.
    pub const fn len(&self) -> usize {
        self.end - self.start
    }

    /// Whether it has no piece.
    pub const fn is_empty(&self) -> bool {
        self.end == self.start
    }
}

impl TrainingSet {
    /// Makes documents into training documents. Mentions that the tags cannot say are as [`align`] leaves them.
    pub fn new(encoder: &TextEncoder, documents: &[Document], encoded: &[EncodedDocument], labels: &LabelSet) -> Self {
        let (prefix, suffix) = encoder.special_ids();
        let mut set = Self {
            documents: Vec::with_capacity(documents.len()),
            prefix: prefix.to_vec(),
            suffix: suffix.to_vec(),
            mask_id: encoder.mask_id(),
        };
        for (document, encoded) in documents.iter().zip(encoded) {
            let words = encoded.words();
            let spans: Vec<Span> = words.iter().map(|word| word.span).collect();
            let Alignment { entities, labels: tags, .. } = align(&spans, &document.mentions, labels);
            let pieces = piece_labels(&words, &entities, labels);
            let inside = |tag: usize| matches!(labels.tag(tag), Tag::Entity(Position::Inside | Position::End, _));
            let open = words.iter().zip(&tags).filter(|(_, tag)| !inside(**tag));
            set.documents.push(TrainingDocument {
                id: document.id.clone(),
                input_ids: encoded.tokens.iter().map(|token| token.id).collect(),
                labels: pieces.into_iter().map(|label| label as i64).collect(),
                cuts: open.map(|(word, _)| word.tokens.start).collect(),
            });
        }
        set
    }

    /// Cuts every document into crops of `shortest` to `longest` pieces, anew for each `seed`; each piece is in exactly
    /// one crop. The last crop of a document, and one between cuts that lie close, may be shorter; none is longer.
    pub fn crops(&self, shortest: usize, longest: usize, seed: u64) -> Vec<Crop> {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let mut crops = Vec::new();
        for (at, document) in self.documents.iter().enumerate() {
            let len = document.input_ids.len();
            let mut start = 0;
            while start < len {
                let wanted = start + random.random_range(shortest..=longest);
                let end = if wanted >= len {
                    len
                } else {
                    let cuts = &document.cuts[..document.cuts.partition_point(|&cut| cut <= wanted)];
                    cuts.last().copied().filter(|&cut| cut > start).unwrap_or(wanted)
                };
                crops.push(Crop { document: at, start, end });
                start = end;
            }
        }
        crops
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_piece_is_in_one_crop(
            lengths in prop::collection::vec(0usize..900, 1..6), cut in prop::collection::btree_set(0usize..900, 0..90),
            shortest in 1usize..100, more in 0usize..400, seed: u64,
        ) {
            let document = |len: usize| TrainingDocument {
                id: String::new(), input_ids: vec![7; len], labels: vec![0; len],
                cuts: cut.iter().copied().filter(|&cut| cut < len).collect(),
            };
            let set = TrainingSet { documents: lengths.iter().map(|&len| document(len)).collect(), ..TrainingSet::default() };
            let crops = set.crops(shortest, shortest + more, seed);
            let mut at = (0, 0);
            for crop in &crops {
                if crop.document != at.0 {
                    prop_assert!(lengths[at.0] == at.1 && lengths[at.0 + 1..crop.document].iter().all(|&len| len == 0));
                    at = (crop.document, 0);
                }
                prop_assert_eq!(crop.start, at.1);
                prop_assert!(!crop.is_empty() && crop.len() <= shortest + more);
                at.1 = crop.end;
            }
            prop_assert_eq!(crops.iter().map(Crop::len).sum::<usize>(), lengths.iter().sum::<usize>());
            prop_assert_eq!(crops, set.crops(shortest, shortest + more, seed));
        }
    }
}
