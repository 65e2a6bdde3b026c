use crate::span_classifier::{RowWords, found_spans, span_cross_entropy, span_divergence};
use crate::{
    Batch, BertConfig, Dropout, ModelError, Parameters, SpanClassifier, TokenClassifier, cross_entropy, divergence,
};
use ner_data::{FoundSpan, LabelSet, TaggedEntity};
use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor};

/// The head that stands on the encoder.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Head {
    /// A label for each token ([`TokenClassifier`]).
    #[default]
    Token,
    /// A score for each span of at most `longest` words ([`SpanClassifier`]).
    Span {
        /// Words of the longest span.
        longest: usize,
    },
}

impl Head {
    /// How many things it gives scores to: labels, or types.
    pub fn outputs(self, labels: &LabelSet) -> usize {
        match self {
            Self::Token => labels.len(),
            Self::Span { .. } => labels.types.len(),
        }
    }
}

/// An encoder with its head.
#[derive(Debug)]
pub enum Classifier {
    /// One that labels tokens.
    Token(TokenClassifier),
    /// One that scores spans.
    Span(SpanClassifier),
}

/// What a batch's rows should be taken for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Targets {
    /// A label number for each token of each row, or [`IGNORE_INDEX`](crate::IGNORE_INDEX).
    pub labels: Vec<Vec<i64>>,
    /// The words of each row.
    pub words: Vec<RowWords>,
    /// The mentions of each row, by its words.
    pub entities: Vec<Vec<TaggedEntity>>,
}

/// What is asked of a classifier beside the right answers.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct LossOptions {
    /// Share of a token's target that is spread over all labels.
    pub label_smoothing: f64,
    /// Share of a mention's target that is moved to the spans beside it.
    pub boundary_smoothing: f64,
    /// Weight of the divergence between the two halves of the batch; 0 where it has no such halves.
    pub r_drop: f64,
}

/// What a classifier says of the rows of a batch.
#[derive(Debug)]
pub enum Answers {
    /// Probabilities of the labels, `[batch, tokens, labels] f32` on the CPU.
    Labels(Tensor),
    /// Of each row, the spans that are not out of the question, by its words.
    Spans(Vec<Vec<FoundSpan>>),
}

impl Classifier {
    /// Names and shapes of all parameters of a head with so many outputs ([`Head::outputs`]).
    pub fn shapes(config: &BertConfig, outputs: usize, head: Head) -> Vec<(String, Vec<i64>)> {
        match head {
            Head::Token => TokenClassifier::shapes(config, outputs),
            Head::Span { longest } => SpanClassifier::shapes(config, outputs, longest),
        }
    }

    /// A classifier over `parameters`, which it shares.
    ///
    /// # Errors
    /// Where a parameter is missing.
    pub fn new(config: &BertConfig, parameters: &Parameters, head: Head) -> Result<Self, ModelError> {
        Ok(match head {
            Head::Token => Self::Token(TokenClassifier::new(config, parameters)?),
            Head::Span { .. } => Self::Span(SpanClassifier::new(config, parameters)?),
        })
    }

    /// The loss of a batch, a scalar.
    pub fn loss(
        &self,
        batch: &Batch,
        targets: &Targets,
        kind: Kind,
        dropout: &mut Dropout,
        options: LossOptions,
    ) -> Tensor {
        let Targets { labels, words, entities } = targets;
        let (loss, apart) = match self {
            Self::Token(model) => {
                let logits = model.forward(batch, kind, Some(dropout));
                let loss = cross_entropy(&logits, labels, options.label_smoothing);
                (loss, (options.r_drop > 0.0).then(|| divergence(&logits, labels)))
            }
            Self::Span(model) => {
                let scores = model.forward(batch, words, kind, Some(dropout));
                let loss = span_cross_entropy(&scores, words, entities, options.boundary_smoothing);
                (loss, (options.r_drop > 0.0).then(|| span_divergence(&scores, words)))
            }
        };
        match apart {
            Some(apart) => loss + options.r_drop * apart,
            None => loss,
        }
    }

    /// What it says of a batch, whose rows have these words. With `dropout` it is one of many answers (Gal and
    /// Ghahramani 2016, "Dropout as a Bayesian approximation").
    pub fn answers(&self, batch: &Batch, words: &[RowWords], kind: Kind, dropout: Option<&mut Dropout>) -> Answers {
        tch::no_grad(|| match self {
            Self::Token(model) => {
                let logits = model.forward(batch, kind, dropout);
                Answers::Labels(logits.softmax(-1, Kind::Float).to_device(Device::Cpu).contiguous())
            }
            Self::Span(model) => Answers::Spans(found_spans(&model.forward(batch, words, kind, dropout), words)),
        })
    }

    /// Hidden states of the encoder's last layer, `[batch, tokens, hidden] f32` on the CPU.
    pub fn hidden_states(&self, batch: &Batch, kind: Kind) -> Tensor {
        let encoder = match self {
            Self::Token(model) => model.encoder(),
            Self::Span(model) => model.encoder(),
        };
        tch::no_grad(|| encoder.forward(batch, kind, None).to_kind(Kind::Float).to_device(Device::Cpu).contiguous())
    }
}
