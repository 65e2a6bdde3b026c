//! Inputs: encoders by shape, and rows of words without padding.

use crate::random_model;
use ner_data::{LabelSet, TagScheme, TaggedEntity};
use ner_model::{Batch, BertConfig, IGNORE_INDEX, Parameters, RowWords, Targets};
use ner_train::{Recipe, TrainingDocument, TrainingSet};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use serde::{Deserialize, Serialize};
use std::ops::Range;

/// Shape of an encoder.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Shape {
    pub name: String,
    pub layers: i64,
    pub hidden: i64,
    pub heads: i64,
}

impl Shape {
    fn new(name: &str, layers: i64, hidden: i64, heads: i64) -> Self {
        Self { name: name.to_owned(), layers, hidden, heads }
    }

    /// The default encoder's shape.
    pub fn minilm() -> Self {
        Self::new("MiniLM-L6", 6, 384, 12)
    }

    /// Small to large: BERT's own sizes (Turc et al. 2019, "Well-read students learn better") and MiniLM's.
    pub fn all() -> Vec<Self> {
        let tiny = Self::new("BERT-tiny", 2, 128, 2);
        let (mini, small) = (Self::new("BERT-mini", 4, 256, 4), Self::new("BERT-small", 4, 512, 8));
        vec![tiny, mini, Self::minilm(), small, Self::new("BERT-base", 12, 768, 12)]
    }

    pub const fn wide(&self) -> i64 {
        4 * self.hidden
    }

    pub fn config(&self) -> BertConfig {
        random_model::config(self.layers, self.hidden, self.heads)
    }

    pub fn parameters(&self, recipe: &Recipe) -> Parameters {
        random_model::parameters(&self.config(), recipe.head(), &labels())
    }

    /// Weights of the layers, without biases; every token is multiplied with them.
    pub fn weights(&self) -> f64 {
        (self.layers * (4 * self.hidden * self.hidden + 2 * self.hidden * self.wide())) as f64
    }

    /// FLOP of the encoder's matrix products for one token in a row of `tokens`.
    pub fn flops(&self, tokens: usize) -> f64 {
        2.0 * self.weights() + (4 * self.layers * self.hidden) as f64 * tokens as f64
    }
}

pub fn labels() -> LabelSet {
    LabelSet::new(TagScheme::Bio, ["Chemical", "Disease"])
}

const SPECIALS: usize = 2;

/// Words of one and two pieces alternating, with a mention on every eighth.
fn words(pieces: usize) -> (RowWords, Vec<TaggedEntity>) {
    let (mut words, mut start) = (RowWords::new(), 0);
    while start < pieces {
        let end = (start + 1 + words.len() % 2).min(pieces);
        words.push(start..end);
        start = end;
    }
    let mention = |at: usize| TaggedEntity { units: at..at + 1, entity_type: at / 8 % 2 };
    let entities = (0..words.len()).step_by(8).map(mention).collect();
    (words, entities)
}

fn pieces(random: &mut SmallRng, count: usize) -> Vec<u32> {
    (0..count).map(|_| random.random_range(1000..30_000)).collect()
}

/// Rows of `tokens` tokens including special tokens, with targets.
pub fn batch(rows: usize, tokens: usize) -> (Batch, Targets) {
    let mut random = SmallRng::seed_from_u64(1);
    let (words, entities) = words(tokens - SPECIALS);
    let inner = |word: &Range<usize>| word.start + 1..word.end + 1;
    let targets = Targets {
        labels: vec![vec![IGNORE_INDEX; tokens]; rows],
        words: vec![words.iter().map(inner).collect(); rows],
        entities: vec![entities; rows],
        unannotated: Vec::new(),
        soft: Vec::new(),
    };
    (Batch { rows: (0..rows).map(|_| pieces(&mut random, tokens)).collect() }, targets)
}

/// A training set of `rows` rows, each a document with one sentence.
pub fn training_set(rows: usize, tokens: usize) -> TrainingSet {
    let mut random = SmallRng::seed_from_u64(1);
    let (words, entities) = words(tokens - SPECIALS);
    let document = |at: usize| TrainingDocument {
        id: at.to_string(),
        input_ids: pieces(&mut random, tokens - SPECIALS),
        labels: vec![0; tokens - SPECIALS],
        cuts: words.iter().map(|word| word.start).collect(),
        words: words.clone(),
        entities: entities.clone(),
        unannotated: None,
        soft: None,
        sentences: vec![0],
    };
    TrainingSet {
        documents: (0..rows).map(document).collect(),
        prefix: vec![101],
        suffix: vec![102],
        mask_id: Some(103),
        types: labels().types,
        misfits: 0,
    }
}
