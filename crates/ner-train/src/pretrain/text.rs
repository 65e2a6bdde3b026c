use ner_document::derive_seed;
use ner_text::EncodedDocument;
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use std::ops::Range;

/// Tokenized documents, one after the other.
#[derive(Clone, Debug, Default)]
pub struct PretrainText {
    /// Ids of all pieces, without special tokens.
    input_ids: Vec<u32>,
    /// Whether each piece begins a word.
    starts_word: Vec<bool>,
    /// The piece behind the last one of each document.
    ends: Vec<usize>,
}

/// A full row: special tokens, and pieces of one document or of several with a special token between them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PackedRow {
    /// All its tokens.
    pub input_ids: Vec<u32>,
    /// The positions of its words; the first and the last word may be cut.
    pub words: Vec<Range<usize>>,
}

impl PretrainText {
    /// Adds a document; one without pieces adds nothing.
    pub fn push(&mut self, document: &EncodedDocument) {
        if document.tokens.is_empty() {
            return;
        }
        self.input_ids.extend(document.tokens.iter().map(|token| token.id));
        let from = self.starts_word.len();
        self.starts_word.resize(self.input_ids.len(), false);
        document.words.iter().for_each(|word| self.starts_word[from + word.tokens.start] = true);
        self.ends.push(self.input_ids.len());
    }

    /// Number of documents.
    pub const fn documents(&self) -> usize {
        self.ends.len()
    }

    /// The pieces of all documents.
    pub fn input_ids(&self) -> &[u32] {
        &self.input_ids
    }

    fn document(&self, at: usize) -> Range<usize> {
        let start = at.checked_sub(1).map_or(0, |before| self.ends[before]);
        start..self.ends[at]
    }

    /// Number of rows with `room` places beside the special tokens.
    pub const fn rows(&self, room: usize) -> usize {
        // A separator follows each document.
        (self.input_ids.len() + self.ends.len()) / room
    }
}

/// The rows of an epoch: all documents in random order, each followed by a separator, cut into rows of equal length.
///
/// Rows are full and cross the bounds of documents ("FULL-SENTENCES" of Liu et al. 2019, "RoBERTa", section 4.2), so that
/// no place is padding. Attention crosses them, too: a row of several documents is read as one text. The last pieces of
/// an epoch that fill no row are left out; another epoch has another order.
#[derive(Debug)]
pub(crate) struct Epoch {
    /// The documents in their order.
    order: Vec<usize>,
    /// Where each of them starts in the sequence.
    starts: Vec<usize>,
    /// The rows in their order.
    rows: Vec<usize>,
    room: usize,
}

impl Epoch {
    /// The rows of an epoch, shuffled by `seed`; in the order of the documents without one.
    pub(crate) fn new(text: &PretrainText, room: usize, seed: Option<u64>) -> Self {
        let mut order: Vec<usize> = (0..text.documents()).collect();
        let mut rows: Vec<usize> = (0..text.rows(room)).collect();
        if let Some(seed) = seed {
            order.shuffle(&mut ChaCha8Rng::seed_from_u64(derive_seed(seed, 0)));
            rows.shuffle(&mut ChaCha8Rng::seed_from_u64(derive_seed(seed, 1)));
        }
        let starts = order.iter().scan(0, |end, &document| {
            let start = *end;
            *end += text.document(document).len() + 1;
            Some(start)
        });
        Self { starts: starts.collect(), order, rows, room }
    }

    pub(crate) const fn len(&self) -> usize {
        self.rows.len()
    }

    /// The row with this number in the epoch, between the special tokens `prefix` and `suffix`, of which the last
    /// separates documents.
    pub(crate) fn row(&self, text: &PretrainText, number: usize, prefix: &[u32], suffix: &[u32]) -> PackedRow {
        let range = self.rows[number] * self.room..(self.rows[number] + 1) * self.room;
        let mut row = PackedRow { input_ids: prefix.to_vec(), words: Vec::new() };
        let mut at = range.start;
        let mut document = self.starts.partition_point(|&start| start <= at) - 1;
        while at < range.end {
            let pieces = text.document(self.order[document]);
            let start = self.starts[document];
            let wanted = pieces.start + (at - start)..pieces.end.min(pieces.start + (range.end - start));
            for piece in wanted.clone() {
                let position = row.input_ids.len();
                match row.words.last_mut() {
                    Some(word) if !text.starts_word[piece] && piece > wanted.start => word.end = position + 1,
                    _ => row.words.push(position..position + 1),
                }
                row.input_ids.push(text.input_ids[piece]);
            }
            at += wanted.len();
            if at < range.end {
                row.input_ids.extend(suffix.last().or(prefix.last()));
                at += 1;
            }
            document += 1;
        }
        row.input_ids.extend(suffix);
        row
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn rows_are_full_and_hold_every_piece_once(
            lengths in prop::collection::vec(1usize..40, 1..20), room in 1usize..30, seed: u64,
        ) {
            let mut text = PretrainText::default();
            for (document, &length) in lengths.iter().enumerate() {
                let pieces = (0..length).map(|at| (1000 * (document + 1) + at) as u32);
                text.input_ids.extend(pieces);
                text.starts_word.extend((0..length).map(|at| at % 3 == 0));
                text.ends.push(text.input_ids.len());
            }
            let epoch = Epoch::new(&text, room, Some(seed));
            let rows: Vec<PackedRow> = (0..epoch.len()).map(|at| epoch.row(&text, at, &[2], &[3])).collect();
            let mut seen = Vec::new();
            for row in &rows {
                prop_assert_eq!(row.input_ids.len(), room + 2);
                prop_assert!(row.input_ids[0] == 2 && row.input_ids[room + 1] == 3);
                let in_words: Vec<u32> = row.words.iter().flat_map(|word| row.input_ids[word.clone()].to_vec()).collect();
                let pieces: Vec<u32> = row.input_ids.iter().copied().filter(|&id| id >= 1000).collect();
                prop_assert_eq!(&in_words, &pieces);
                for word in &row.words {
                    let begins = row.input_ids[word.clone()].iter().skip(1).all(|id| id % 1000 % 3 != 0);
                    prop_assert!(begins);
                }
                // Within a document, pieces follow each other.
                for pair in row.input_ids[1..=room].windows(2) {
                    prop_assert!(pair[0] == 3 || pair[1] == 3 || pair[1] == pair[0] + 1);
                }
                seen.extend(pieces);
            }
            let all: usize = lengths.iter().sum();
            seen.sort_unstable();
            prop_assert!(seen.windows(2).all(|pair| pair[0] < pair[1]) && seen.len() <= all && seen.len() + room + lengths.len() >= all);
        }
    }
}
