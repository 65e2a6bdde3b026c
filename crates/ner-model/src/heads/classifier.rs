//! The heads behind one type. Only this file lists all of them.

use super::assertion::AssertionHead;
use super::crf::CrfClassifier;
use super::loss_options::LossOptions;
use super::multilabel::{MultilabelClassifier, decisions};
use super::partial_labels::{PartialLabels, hide_types, marginal_logits};
use super::soft_labels::{self, SoftLabels};
use super::span::{SpanClassifier, found_spans, real_spans, span_cross_entropy, span_divergence};
use super::token::{IGNORE_INDEX, TokenClassifier, cross_entropy, divergence};
use super::words::RowWords;
use crate::{Batch, Bert, BertConfig, FusedLayers, ModelError, Parameters, TrainingPass};
use ner_document::{
    Alignment, LabelSet, Mention, Misfit, MisfitReason, Span, TagScheme, TaggedEntity, align, align_by_type,
    align_spans,
};
use ner_text::ScoredEntity;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use tch::{Device, Kind, Tensor};

/// Classification head.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Head {
    /// Labels each token ([`TokenClassifier`]).
    #[default]
    Token,
    /// Scores each span of at most `longest` words ([`SpanClassifier`]).
    Span {
        /// Longest span in words.
        longest: usize,
    },
    /// Finds the best label sequence of the words ([`CrfClassifier`]).
    Crf {
        /// Scheme of the labels.
        scheme: TagScheme,
    },
    /// Labels words for each type separately ([`MultilabelClassifier`]).
    Multilabel {
        /// Scheme of the labels of each type.
        scheme: TagScheme,
    },
    /// Says which value given mentions have, and finds none itself ([`AssertionHead`]). The types of its labels are the
    /// values.
    Assertion,
}

impl Head {
    /// Number of outputs that it scores: labels, labels without `O`, or types.
    pub fn outputs(self, labels: &LabelSet) -> usize {
        match self {
            Self::Token | Self::Crf { .. } => labels.len(),
            Self::Multilabel { .. } => labels.len() - 1,
            Self::Span { .. } | Self::Assertion => labels.types.len(),
        }
    }

    /// The mentions that this head can represent, in words of the document, and those that it cannot represent exactly.
    pub fn align(self, words: &[Span], mentions: &[Mention], labels: &LabelSet) -> (Vec<TaggedEntity>, Vec<Misfit>) {
        match self {
            Self::Token | Self::Crf { .. } => {
                let Alignment { entities, misfits, .. } = align(words, mentions, labels);
                (entities, misfits)
            }
            Self::Multilabel { .. } => align_by_type(words, mentions, labels),
            Self::Span { longest } => align_spans(words, mentions, labels, longest),
            Self::Assertion => {
                let whole: Vec<Mention> =
                    mentions.iter().map(|mention| Mention::new(mention.span(), &*mention.entity_type)).collect();
                let (entities, mut misfits) = align_spans(words, &whole, labels, usize::MAX);
                // A value needs no exact boundaries.
                misfits.retain(|misfit| misfit.reason != MisfitReason::InsideUnit);
                (entities, misfits)
            }
        }
    }
}

/// An encoder with its head.
#[derive(Debug)]
pub enum Classifier {
    /// Labels tokens.
    Token(TokenClassifier),
    /// Scores spans.
    Span(SpanClassifier),
    /// Labels words along a chain.
    Crf(CrfClassifier),
    /// Labels words for each type separately.
    Multilabel(MultilabelClassifier),
    /// Says which value given mentions have.
    Assertion(AssertionHead),
}

/// The gold targets of a batch.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Targets {
    /// Label index of each token of each row, or [`IGNORE_INDEX`](crate::IGNORE_INDEX).
    pub labels: Vec<Vec<i64>>,
    /// The words of each row.
    pub words: Vec<RowWords>,
    /// The mentions of each row that the head can represent ([`Head::align`]), in words of the row.
    pub entities: Vec<Vec<TaggedEntity>>,
    /// Types that each row's corpus does not annotate; empty if there is only one corpus.
    pub unannotated: Vec<PartialLabels>,
    /// What a teacher says of each row; empty without one.
    pub soft: Vec<SoftLabels>,
}

/// A classifier's output for a batch.
#[derive(Debug)]
pub enum BatchOutput {
    /// Probabilities of the labels, `[batch, tokens, labels] f32` on the CPU.
    Labels(Tensor),
    /// For each row, the spans with a relevant probability, in words of the row.
    Spans(Vec<Vec<ScoredEntity>>),
    /// For each row, the scores of its words, word by word.
    Words(Vec<Vec<f32>>),
}

impl Classifier {
    /// Names and shapes of all parameters of a model with `outputs` outputs ([`Head::outputs`]).
    pub fn shapes(config: &BertConfig, outputs: usize, head: Head) -> Vec<(String, Vec<i64>)> {
        match head {
            Head::Token => TokenClassifier::shapes(config, outputs),
            Head::Span { longest } => SpanClassifier::shapes(config, outputs, longest),
            Head::Crf { .. } => CrfClassifier::shapes(config, outputs),
            Head::Multilabel { .. } => MultilabelClassifier::shapes(config, outputs),
            Head::Assertion => AssertionHead::shapes(config, outputs),
        }
    }

    /// A classifier that shares `parameters`.
    ///
    /// # Errors
    /// If a parameter is missing.
    pub fn new(config: &BertConfig, parameters: &Parameters, head: Head) -> Result<Self, ModelError> {
        Ok(match head {
            Head::Token => Self::Token(TokenClassifier::new(config, parameters)?),
            Head::Span { .. } => Self::Span(SpanClassifier::new(config, parameters)?),
            Head::Crf { scheme } => Self::Crf(CrfClassifier::new(config, parameters, scheme)?),
            Head::Multilabel { scheme } => Self::Multilabel(MultilabelClassifier::new(config, parameters, scheme)?),
            Head::Assertion => Self::Assertion(AssertionHead::new(config, parameters)?),
        })
    }

    /// The loss of a batch, a scalar. With [`soft`](Targets::soft) labels, `options.distillation` mixes the loss against
    /// them with that of the gold labels.
    ///
    /// The teacher of a chain gives the marginals of its words, which those of the student approach ("posterior
    /// distillation", Wang et al. 2020, "Structure-level knowledge distillation for multilingual sequence labeling",
    /// section 3.2).
    pub fn loss(
        &self,
        batch: &Batch,
        targets: &Targets,
        kind: Kind,
        dropout: &mut TrainingPass,
        options: &LossOptions,
    ) -> Tensor {
        let Targets { labels, words, entities, unannotated, soft } = targets;
        let temperature = options.temperature;
        let mixed = |gold: &dyn Fn() -> Tensor, taught: &dyn Fn() -> Tensor| match options.distillation {
            _ if soft.is_empty() => gold(),
            1.0 => taught(),
            share => gold() * (1.0 - share) + taught() * share,
        };
        let (loss, apart) = match self {
            Self::Token(model) => {
                let logits = marginal_logits(&model.forward(batch, kind, Some(dropout)), unannotated);
                // Number of labels of a type: `class_weights` has one value for each type and one more.
                let types = options.class_weights.len().saturating_sub(1).max(1);
                let positions = (logits.size()[2] as usize - 1).div_ceil(types).max(1);
                let weight_of = |_, label: i64| options.weight_of((label as usize).div_ceil(positions));
                let gold = || cross_entropy(&logits, labels, options, weight_of);
                let tempered = || (&logits / temperature).log_softmax(-1, Kind::Float);
                let loss = mixed(&gold, &|| soft_labels::place_loss(&tempered(), soft, temperature));
                (loss, (options.r_drop > 0.0).then(|| divergence(&logits, labels)))
            }
            Self::Span(model) => {
                let scores = hide_types(&model.forward(batch, words, kind, Some(dropout)), unannotated);
                let gold = || span_cross_entropy(&scores, words, entities, options);
                let real = || real_spans(words, &scores);
                let loss = mixed(&gold, &|| soft_labels::span_loss(&scores, &real(), words, soft, temperature));
                (loss, (options.r_drop > 0.0).then(|| span_divergence(&scores, words)))
            }
            Self::Crf(model) => {
                let scores = model.forward(batch, words, kind, Some(dropout));
                let gold = || model.crf().negative_log_likelihood(&scores, words, entities);
                let marginals = || model.crf().log_marginals(&scores, words);
                let loss = mixed(&gold, &|| soft_labels::place_loss(&marginals(), soft, 1.0));
                (loss, (options.r_drop > 0.0).then(|| model.crf().divergence(&scores, words)))
            }
            Self::Multilabel(model) => {
                let scores = model.forward(batch, words, kind, Some(dropout));
                let (logits, labels) = decisions(&scores, words, entities, model.scheme());
                // The mean over words of the sum over types.
                let types = scores.size()[2] as usize / model.scheme().width();
                let weight_of = |at: usize, label: i64| options.weight_of(if label == 0 { 0 } else { 1 + at % types });
                let gold = || cross_entropy(&logits, &labels, options, weight_of) * types as f64;
                let tempered = || (&logits / temperature).log_softmax(-1, Kind::Float);
                let of_type = || soft_labels::place_loss(&tempered(), soft, temperature);
                let loss = mixed(&gold, &|| of_type() * types as f64);
                (loss, (options.r_drop > 0.0).then(|| divergence(&logits, &labels) * types as f64))
            }
            Self::Assertion(model) => {
                let logits = model.forward(batch, &tokens_of(words, entities), kind, Some(dropout));
                let values = |row: &Vec<TaggedEntity>| row.iter().map(|entity| entity.entity_type as i64).collect();
                let values: Vec<Vec<i64>> = entities.iter().map(values).collect();
                let loss = cross_entropy(&logits, &values, options, |_, value| options.weight_of(1 + value as usize));
                (loss, (options.r_drop > 0.0).then(|| divergence(&logits, &values)))
            }
        };
        match apart {
            Some(apart) => loss + options.r_drop * apart,
            None => loss,
        }
    }

    /// Number of terms in the mean loss of a batch: its labelled tokens, its words, or its mentions.
    pub fn weight(&self, targets: &Targets) -> usize {
        match self {
            Self::Token(_) => targets.labels.iter().flatten().filter(|&&label| label != IGNORE_INDEX).count(),
            Self::Span(_) | Self::Crf(_) | Self::Multilabel(_) => targets.words.iter().map(Vec::len).sum(),
            Self::Assertion(_) => targets.entities.iter().map(Vec::len).sum(),
        }
    }

    /// The output for a batch whose rows have these words; for a head of given mentions, the tokens of mentions, of which
    /// one row must have one. With `dropout` it is a random sample (Gal and Ghahramani
    /// 2016, "Dropout as a Bayesian approximation").
    pub fn output(
        &self,
        batch: &Batch,
        words: &[RowWords],
        kind: Kind,
        mut dropout: Option<&mut TrainingPass>,
    ) -> BatchOutput {
        tch::no_grad(|| {
            let states = self.encoder().forward(batch, kind, dropout.as_deref_mut());
            self.output_of(states, words, dropout)
        })
    }

    /// The same with the head computed for each row alone: no digit of it then depends on the other rows. Nor does one of
    /// the encoder, if it predicts with [`FusedLayers`].
    pub fn output_by_row(&self, batch: &Batch, words: &[RowWords], kind: Kind) -> Vec<BatchOutput> {
        tch::no_grad(|| {
            let states = self.encoder().forward(batch, kind, None);
            let row = |(at, words): (usize, &RowWords)| {
                let states = states.narrow(0, at as i64, 1).narrow(1, 0, batch.rows[at].len() as i64);
                self.output_of(states, std::slice::from_ref(words), None)
            };
            words.iter().enumerate().map(row).collect()
        })
    }

    /// The output from the encoder's states, `[batch, tokens, hidden]`.
    fn output_of(&self, states: Tensor, words: &[RowWords], dropout: Option<&mut TrainingPass>) -> BatchOutput {
        match self {
            Self::Token(model) => {
                let probabilities = model.scores(states, dropout).softmax(-1, Kind::Float);
                BatchOutput::Labels(probabilities.to_device(Device::Cpu).contiguous())
            }
            Self::Span(model) => BatchOutput::Spans(found_spans(&model.scores(states, words, dropout), words)),
            Self::Crf(model) => BatchOutput::Words(word_scores(&model.scores(states, words, dropout), words)),
            Self::Multilabel(model) => BatchOutput::Words(word_scores(&model.scores(states, words, dropout), words)),
            // Its words are the tokens of mentions.
            Self::Assertion(model) => {
                let scores = model.scores(states, words, dropout).log_softmax(-1, Kind::Float);
                BatchOutput::Words(word_scores(&scores, words))
            }
        }
    }

    /// Hidden states of the encoder's last layer, `[batch, tokens, hidden] f32` on the CPU.
    pub fn hidden_states(&self, batch: &Batch, kind: Kind) -> Tensor {
        let states = || self.encoder().forward(batch, kind, None).to_kind(Kind::Float);
        tch::no_grad(|| states().to_device(Device::Cpu).contiguous())
    }

    /// Gradients of a loss by each of `leaves`. `dropout` is the one that the loss was computed with.
    pub fn gradients(&self, loss: &Tensor, leaves: &[&Tensor], dropout: &mut TrainingPass) -> Vec<Tensor> {
        self.encoder().gradients(loss, leaves, dropout)
    }

    /// Predicts with `layers`, which were made of the same parameters; all else is then fp32. Passes with
    /// dropout do not use them.
    pub fn predict_with(&mut self, layers: Arc<FusedLayers>) {
        match self {
            Self::Token(model) => model.encoder_mut(),
            Self::Span(model) => model.encoder_mut(),
            Self::Crf(model) => model.encoder_mut(),
            Self::Multilabel(model) => model.encoder_mut(),
            Self::Assertion(model) => model.encoder_mut(),
        }
        .predict_with(layers);
    }

    const fn encoder(&self) -> &Bert {
        match self {
            Self::Token(model) => model.encoder(),
            Self::Span(model) => model.encoder(),
            Self::Crf(model) => model.encoder(),
            Self::Multilabel(model) => model.encoder(),
            Self::Assertion(model) => model.encoder(),
        }
    }
}

/// The tokens of each row's mentions.
fn tokens_of(words: &[RowWords], entities: &[Vec<TaggedEntity>]) -> Vec<RowWords> {
    let of_row = |(words, entities): (&RowWords, &Vec<TaggedEntity>)| {
        let tokens = |TaggedEntity { units, .. }: &TaggedEntity| words[units.start].start..words[units.end - 1].end;
        entities.iter().map(tokens).collect()
    };
    words.iter().zip(entities).map(of_row).collect()
}

/// The scores of each row's words, from `[batch, words, outputs]`.
fn word_scores(scores: &Tensor, words: &[RowWords]) -> Vec<Vec<f32>> {
    let (_, width, outputs) = scores.size3().expect("three dimensions");
    let flat = scores.to_device(Device::Cpu).contiguous().view(-1);
    let flat = Vec::<f32>::try_from(flat).expect("a flat tensor of fp32");
    let rows = flat.chunks_exact((width * outputs) as usize).zip(words);
    rows.map(|(row, words)| row[..words.len() * outputs as usize].to_vec()).collect()
}
