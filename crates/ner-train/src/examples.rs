use ner_document::{Document, LabelSet, TaggedEntity};
use ner_model::{Head, PartialLabels, SoftLabels};
use ner_text::{DocumentTokenizer, EncodedDocument, ScoredEntity, piece_labels};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::ops::Range;

/// Training data: documents as word pieces with labels.
#[derive(Clone, Debug, Default)]
pub struct TrainingSet {
    /// The documents.
    pub documents: Vec<TrainingDocument>,
    /// Special tokens before the pieces of a row.
    pub prefix: Vec<u32>,
    /// Special tokens after them.
    pub suffix: Vec<u32>,
    /// Id of the mask token.
    pub mask_id: Option<u32>,
    /// Names of the types, by index.
    pub types: Vec<String>,
    /// Number of mentions that the head cannot represent exactly.
    pub misfits: usize,
}

/// One document of a training set.
#[derive(Clone, Debug, PartialEq)]
pub struct TrainingDocument {
    /// Its id, for messages.
    pub id: String,
    /// Ids of all its pieces, without special tokens.
    pub input_ids: Vec<u32>,
    /// Label index of each piece.
    pub labels: Vec<i64>,
    /// The pieces of each word.
    pub words: Vec<Range<usize>>,
    /// The mentions that the head can represent, in words.
    pub entities: Vec<TaggedEntity>,
    /// Types that its corpus does not annotate. `None` in all documents of a set if they come from one corpus, else
    /// `Some` in all.
    pub unannotated: Option<PartialLabels>,
    /// What a teacher says of it, in its words. `None` in all documents of a set, or in none.
    pub soft: Option<SoftLabels>,
    /// Pieces before which it may be cut, ascending: the first pieces of words outside and at the start of mentions.
    pub cuts: Vec<usize>,
    /// Pieces that start a sentence outside a mention, ascending; the first is 0 if there is one.
    pub sentences: Vec<usize>,
}

/// One row of a batch: a crop of a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Crop {
    /// Index of the document in the training set.
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

    /// Whether it has no pieces.
    pub const fn is_empty(&self) -> bool {
        self.end == self.start
    }
}

impl TrainingDocument {
    /// The words and mentions of a crop: the pieces of each word as positions in the crop, and the mentions in words of
    /// the crop. Words and mentions cut by the crop are left out.
    pub fn words_of(&self, crop: &Crop) -> (Vec<Range<usize>>, Vec<TaggedEntity>) {
        let first = self.words.partition_point(|word| word.start < crop.start);
        let last = self.words.partition_point(|word| word.end <= crop.end);
        let words = self.words[first..last.max(first)].iter();
        let words = words.map(|word| word.start - crop.start..word.end - crop.start).collect();
        let inside = self.entities.iter().filter(|entity| first <= entity.units.start && entity.units.end <= last);
        let to_crop = |entity: &TaggedEntity| TaggedEntity {
            units: entity.units.start - first..entity.units.end - first,
            entity_type: entity.entity_type,
        };
        (words, inside.map(to_crop).collect())
    }

    /// What a teacher says of a crop, in words of the crop, or in tokens of its row for the head `token`: the row has
    /// `prefix` special tokens before and `suffix` after the crop.
    pub fn soft_of(&self, crop: &Crop, head: Head, prefix: usize, suffix: usize) -> Option<SoftLabels> {
        let first = self.words.partition_point(|word| word.start < crop.start);
        let last = self.words.partition_point(|word| word.end <= crop.end).max(first);
        Some(match self.soft.as_ref()? {
            SoftLabels::Spans(spans) => {
                let inside = spans.iter().filter(|span| first <= span.words.start && span.words.end <= last);
                let to_crop = |span: &ScoredEntity| ScoredEntity {
                    words: span.words.start - first..span.words.end - first,
                    ..span.clone()
                };
                SoftLabels::Spans(inside.map(to_crop).collect())
            }
            SoftLabels::Places(all) => SoftLabels::Places(match head {
                Head::Token => {
                    let width = all.len() / self.input_ids.len().max(1);
                    let nothing = |tokens: usize| vec![0.0; tokens * width];
                    [&nothing(prefix), &all[crop.start * width..crop.end * width], &nothing(suffix)].concat()
                }
                _ => {
                    let width = all.len() / self.words.len().max(1);
                    all[first * width..last * width].to_vec()
                }
            }),
        })
    }
}

impl TrainingDocument {
    /// A range of its tokens as a document of its own. Cut mentions are left out, as in a crop.
    pub fn part(&self, tokens: Range<usize>) -> Self {
        let (words, entities) = self.words_of(&Crop { document: 0, start: tokens.start, end: tokens.end });
        let inside = |places: &[usize]| -> Vec<usize> {
            places.iter().filter(|place| tokens.contains(place)).map(|place| place - tokens.start).collect()
        };
        let mut sentences = inside(&self.sentences);
        if sentences.first() != Some(&0) && !tokens.is_empty() {
            sentences.insert(0, 0);
        }
        Self {
            id: self.id.clone(),
            input_ids: self.input_ids[tokens.clone()].to_vec(),
            labels: self.labels[tokens.clone()].to_vec(),
            cuts: inside(&self.cuts),
            words,
            entities,
            unannotated: self.unannotated.clone(),
            soft: None,
            sentences,
        }
    }
}

impl TrainingSet {
    /// Converts documents into training documents for a head. [`Head::align`] defines what becomes of mentions that the
    /// head cannot represent.
    pub fn new(
        tokenizer: &DocumentTokenizer,
        documents: &[Document],
        encoded: &[EncodedDocument],
        labels: &LabelSet,
        head: Head,
    ) -> Self {
        let (prefix, suffix) = tokenizer.special_ids();
        let mut set = Self {
            documents: Vec::with_capacity(documents.len()),
            prefix: prefix.to_vec(),
            suffix: suffix.to_vec(),
            mask_id: tokenizer.mask_id(),
            types: labels.types.clone(),
            misfits: 0,
        };
        for (document, encoded) in documents.iter().zip(encoded) {
            let spans = encoded.word_spans();
            let (entities, misfits) = head.align(&spans, &document.mentions, labels);
            // Only heads whose mentions do not overlap learn from them.
            let pieces = piece_labels(&encoded.words, &entities, labels);
            // Use the head's own mentions: tags of a scheme without beginnings do not show where a mention starts, and
            // tags keep only one of two overlapping mentions.
            let mut is_inside = vec![false; encoded.words.len()];
            entities.iter().for_each(|entity| is_inside[entity.units.start + 1..entity.units.end].fill(true));
            let open = encoded.words.iter().zip(&is_inside).filter(|(_, is_inside)| !**is_inside);
            let cuts: Vec<usize> = open.map(|(word, _)| word.tokens.start).collect();
            let sentences = encoded.sentences.iter().copied().filter(|start| cuts.binary_search(start).is_ok());
            set.misfits += misfits.len();
            set.documents.push(TrainingDocument {
                id: document.id.clone(),
                input_ids: encoded.tokens.iter().map(|token| token.id).collect(),
                labels: pieces.into_iter().map(|label| label as i64).collect(),
                entities,
                words: encoded.words.iter().map(|word| word.tokens.clone()).collect(),
                sentences: sentences.collect(),
                unannotated: None,
                soft: None,
                cuts,
            });
        }
        set
    }

    /// The same special tokens and types with other documents.
    pub fn with_documents(&self, documents: Vec<TrainingDocument>) -> Self {
        Self {
            documents,
            prefix: self.prefix.clone(),
            suffix: self.suffix.clone(),
            mask_id: self.mask_id,
            types: self.types.clone(),
            misfits: 0,
        }
    }

    /// Cuts every document into crops, differently for each `seed`; each piece is in exactly one crop. A crop holds as
    /// many whole sentences as fit into a random number of pieces from `shortest` to `longest`, and at least one
    /// sentence. A sentence of more than `room` pieces is cut between words.
    pub fn crops(&self, shortest: usize, longest: usize, room: usize, seed: u64) -> Vec<Crop> {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let mut crops = Vec::new();
        for (at, document) in self.documents.iter().enumerate() {
            let len = document.input_ids.len();
            let mut start = 0;
            while start < len {
                let wanted = start + random.random_range(shortest..=longest);
                let end = last_in(&document.sentences, start, wanted.min(start + room), len)
                    .or_else(|| document.sentences.iter().copied().find(|&next| next > start))
                    .unwrap_or(len);
                let end = if end - start <= room {
                    end
                } else {
                    last_in(&document.cuts, start, start + room, len).unwrap_or(start + room)
                };
                crops.push(Crop { document: at, start, end });
                start = end;
            }
        }
        crops
    }
}

/// The last of the ascending `cuts` after `start` and at most at `most`, or the end `len` if it is not beyond `most`.
fn last_in(cuts: &[usize], start: usize, most: usize, len: usize) -> Option<usize> {
    if len <= most {
        return Some(len);
    }
    let cuts = &cuts[..cuts.partition_point(|&cut| cut <= most)];
    cuts.last().copied().filter(|&cut| cut > start)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_piece_is_in_one_crop(
            lengths in prop::collection::vec(0usize..900, 1..6), cut in prop::collection::btree_set(0usize..900, 0..90),
            shortest in 1usize..100, more in 0usize..400, room in 1usize..500, every in 1usize..9, seed: u64,
        ) {
            let document = |len: usize| TrainingDocument {
                id: String::new(), input_ids: vec![7; len], labels: vec![0; len], words: vec![], entities: vec![], unannotated: None, soft: None,
                cuts: cut.iter().copied().filter(|&cut| cut < len).collect(),
                sentences: [0].into_iter().chain(cut.iter().copied()).step_by(every).filter(|&cut| cut < len).collect(),
            };
            let set = TrainingSet { documents: lengths.iter().map(|&len| document(len)).collect(), ..TrainingSet::default() };
            let crops = set.crops(shortest, shortest + more, room, seed);
            let mut at = (0, 0);
            for crop in &crops {
                if crop.document != at.0 {
                    prop_assert!(lengths[at.0] == at.1 && lengths[at.0 + 1..crop.document].iter().all(|&len| len == 0));
                    at = (crop.document, 0);
                }
                prop_assert_eq!(crop.start, at.1);
                prop_assert!(!crop.is_empty() && crop.len() <= room);
                at.1 = crop.end;
            }
            prop_assert_eq!(crops.iter().map(Crop::len).sum::<usize>(), lengths.iter().sum::<usize>());
            prop_assert_eq!(crops, set.crops(shortest, shortest + more, room, seed));
        }
    }
}
