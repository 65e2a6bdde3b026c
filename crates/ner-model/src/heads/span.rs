use super::loss_options::LossOptions;
use super::words::{RowWords, count, word_states};
use crate::device::cuda::upload;
use crate::error::NOT_FINITE;
use crate::{Batch, Bert, BertConfig, ModelError, Parameters, TrainingPass};
use ner_document::TaggedEntity;
use ner_text::ScoredEntity;
use tch::{Device, Kind, Tensor};

/// Width of the queries and keys of each type.
const HEAD_SIZE: i64 = 64;

/// Spans with a lower probability are dropped: they are not worth keeping until thresholds are known.
const FLOOR: f64 = 0.01;

/// Initial bias: at first a span is a mention with probability 0.02, because most spans are not mentions (Lin et al.
/// 2017, "Focal loss", section 3.3).
pub(crate) const PRIOR: f64 = -4.0;

/// An encoder with a head that scores every run of words up to a length, for every type separately, so that mentions
/// may nest and overlap.
///
/// With `x` the mean of a word's pieces, the score of the words `i..=j` as a mention of a type is
///
/// ```text
/// q(xᵢ)·k(xⱼ)/√d + a(xᵢ) + b(xⱼ) + mean of c(x) over i..=j + l(j - i)
/// ```
///
/// with separate `q`, `k`, `a`, `b`, `c`, `l` for each type. The first three terms are Efficient GlobalPointer (Su et
/// al.
/// 2022, <https://arxiv.org/abs/2208.03054>) with queries and keys for each type, a form of the biaffine scores of Yu
/// et al. (2020); the mean over the inside and the bias by length replace its relative positions. Only spans of at
/// most `longest` words are scored, so the cost grows linearly with the text.
///
/// Dimensions: `batch`, `words` (of the longest row), `types`, `longest`.
#[derive(Debug)]
pub struct SpanClassifier {
    encoder: Bert,
    query: (Tensor, Tensor),
    key: (Tensor, Tensor),
    /// `[3 types, hidden]`: a, b and c.
    parts: Tensor,
    /// `[types, longest]`.
    length: Tensor,
    /// `[types]`: the bias, which includes the thresholds.
    bias: Tensor,
}

impl SpanClassifier {
    /// Names and shapes of all parameters.
    pub fn shapes(config: &BertConfig, types: usize, longest: usize) -> Vec<(String, Vec<i64>)> {
        let mut shapes = Bert::shapes(config);
        let (types, hidden) = (types as i64, config.hidden_size);
        shapes.extend([
            ("classifier.query.weight".to_owned(), vec![types * HEAD_SIZE, hidden]),
            ("classifier.query.bias".to_owned(), vec![types * HEAD_SIZE]),
            ("classifier.key.weight".to_owned(), vec![types * HEAD_SIZE, hidden]),
            ("classifier.key.bias".to_owned(), vec![types * HEAD_SIZE]),
            ("classifier.parts.weight".to_owned(), vec![3 * types, hidden]),
            ("classifier.length.weight".to_owned(), vec![types, longest as i64]),
            ("classifier.bias".to_owned(), vec![types]),
        ]);
        shapes
    }

    /// A model that shares `parameters`.
    ///
    /// # Errors
    /// If a parameter is missing.
    pub fn new(config: &BertConfig, parameters: &Parameters) -> Result<Self, ModelError> {
        let linear = |name: &str| -> Result<(Tensor, Tensor), ModelError> {
            Ok((
                parameters.get(&format!("classifier.{name}.weight"))?,
                parameters.get(&format!("classifier.{name}.bias"))?,
            ))
        };
        Ok(Self {
            encoder: Bert::new(config, parameters)?,
            query: linear("query")?,
            key: linear("key")?,
            parts: parameters.get("classifier.parts.weight")?,
            length: parameters.get("classifier.length.weight")?,
            bias: parameters.get("classifier.bias")?,
        })
    }

    /// The encoder.
    pub(crate) const fn encoder(&self) -> &Bert {
        &self.encoder
    }

    pub(crate) const fn encoder_mut(&mut self) -> &mut Bert {
        &mut self.encoder
    }

    /// Scores (log-odds), `[batch, words, types, longest] f32`: `[row, i, type, n]` is that of the n + 1 words from
    /// `i`. Undefined for spans that end behind the row's last word.
    pub fn forward(
        &self,
        batch: &Batch,
        words: &[RowWords],
        kind: Kind,
        mut dropout: Option<&mut TrainingPass>,
    ) -> Tensor {
        let states = self.encoder.forward(batch, kind, dropout.as_deref_mut());
        self.scores(states, words, dropout)
    }

    /// The same from the encoder's states, `[batch, tokens, hidden]`.
    pub(super) fn scores(&self, states: Tensor, words: &[RowWords], dropout: Option<&mut TrainingPass>) -> Tensor {
        // [batch, words, hidden]
        let states = word_states(states, words, dropout);
        let (rows, width, _) = states.size3().expect("three dimensions");
        let (types, longest) = self.length.size2().expect("two dimensions");

        let project = |(weight, bias): &(Tensor, Tensor)| states.linear(weight, Some(bias));
        // [batch, words, types, 1, head] and [batch, words, types, head, longest]
        let query = project(&self.query).view([rows, width, types, 1, HEAD_SIZE]) / (HEAD_SIZE as f64).sqrt();
        let key = following(&project(&self.key), longest).view([rows, width, types, HEAD_SIZE, longest]);
        // [batch, words, types, longest]
        let pairs = query.matmul(&key).squeeze_dim(3);

        let parts = states.linear(&self.parts, None::<&Tensor>).chunk(3, 2);
        let start = parts[0].unsqueeze(-1);
        let end = following(&parts[1], longest);
        // Sums of c over the words before each position; the mean over i..=j is a difference of two sums.
        let sums = parts[2].cumsum(1, Kind::Float);
        let before = (&sums - &parts[2]).unsqueeze(-1);
        let lengths = Tensor::arange_start(1, longest + 1, (Kind::Float, states.device()));
        let inside = (following(&sums, longest) - before) / lengths;

        pairs + start + end + inside + &self.length + self.bias.unsqueeze(-1)
    }
}

/// Maps `[batch, words, width]` to `[batch, words, width, longest]`: index `n` holds the values `n` words further on,
/// zeros behind the last word.
fn following(states: &Tensor, longest: i64) -> Tensor {
    states.constant_pad_nd([0, 0, 0, longest - 1]).unfold(1, longest, 1)
}

/// Mask of spans within their rows' words, `[batch, words, 1, longest] f32` of 0 and 1.
pub(super) fn real_spans(words: &[RowWords], scores: &Tensor) -> Tensor {
    let (rows, width, _, longest) = scores.size4().expect("four dimensions");
    let device = scores.device();
    let counts: Vec<i64> = words.iter().map(|words| words.len() as i64).collect();
    let counts = upload(&Tensor::from_slice(&counts).view([rows, 1, 1, 1]), device);
    let starts = Tensor::arange(width, (Kind::Int64, device)).view([1, width, 1, 1]);
    let lengths = Tensor::arange(longest, (Kind::Int64, device)).view([1, 1, 1, longest]);
    (starts + lengths).lt_tensor(&counts).to_kind(Kind::Float)
}

/// Binary cross-entropy of all spans, summed over the spans that begin with a word and averaged over the words of a
/// batch; a scalar.
///
/// `entities` are each row's mentions in words; mentions longer than the head's longest span are ignored.
/// `options.boundary_smoothing` moves that share of a mention's target to the spans with a start or end one word off
/// (Zhu and Li 2022, "Boundary smoothing for named entity recognition"). `options.focal` scales each span's loss by
/// `(1 - p)^γ`, with p the probability of the right answer (Lin et al. 2017, "Focal loss", equation 4). Class weights
/// scale the loss of each type's mentions and of spans that are not mentions.
pub fn span_cross_entropy(
    scores: &Tensor,
    words: &[RowWords],
    entities: &[Vec<TaggedEntity>],
    options: &LossOptions,
) -> Tensor {
    let target = upload(&targets(scores, words, entities, options.boundary_smoothing as f32), scores.device());
    let losses = if options.focal == 0.0 && options.class_weights.is_empty() {
        // softplus(x) - x t is the cross-entropy of a logit x with a target t.
        scores.softplus() - scores * target
    } else {
        let (mut positive, mut negative) = ((-scores).softplus(), scores.softplus());
        if options.focal > 0.0 {
            // The power's slope is infinite at 0 if γ is below 1.
            positive = (-scores).sigmoid().clamp_min(1e-6).pow_tensor_scalar(options.focal) * positive;
            negative = scores.sigmoid().clamp_min(1e-6).pow_tensor_scalar(options.focal) * negative;
        }
        if let [none, types @ ..] = options.class_weights.as_slice() {
            let types: Vec<f32> = types.iter().map(|&weight| weight as f32).collect();
            positive = upload(&Tensor::from_slice(&types).unsqueeze(-1), scores.device()) * positive;
            negative = *none * negative;
        }
        // Soft targets take a share of both.
        let rest: Tensor = 1.0 - &target;
        target * positive + rest * negative
    };
    (losses * real_spans(words, scores)).sum(Kind::Float) / count(words)
}

fn targets(scores: &Tensor, words: &[RowWords], entities: &[Vec<TaggedEntity>], smoothing: f32) -> Tensor {
    let (_, width, types, longest) = scores.size4().expect("four dimensions");
    let (width, types, longest) = (width as usize, types as usize, longest as usize);
    let mut target = vec![0f32; words.len() * width * types * longest];
    for (row, (words, entities)) in words.iter().zip(entities).enumerate() {
        for TaggedEntity { units, entity_type } in entities {
            let mut add = |start: usize, end: usize, share: f32| {
                if start < end && end <= words.len() && end - start <= longest {
                    let at = ((row * width + start) * types + entity_type) * longest + (end - start - 1);
                    target[at] = (target[at] + share).min(1.0);
                }
            };
            add(units.start, units.end, 1.0 - smoothing);
            if smoothing > 0.0 {
                let quarter = smoothing / 4.0;
                add(units.start.wrapping_sub(1), units.end, quarter);
                add(units.start + 1, units.end, quarter);
                add(units.start, units.end - 1, quarter);
                add(units.start, units.end + 1, quarter);
            }
        }
    }
    Tensor::from_slice(&target).view(scores.size().as_slice())
}

/// Symmetric Kullback-Leibler divergence between the spans' probabilities in the first and the second half of a batch,
/// which hold the same rows with different dropout; mean over the words, a scalar (R-Drop, Liang et al. 2021, equation
/// 2).
pub fn span_divergence(scores: &Tensor, words: &[RowWords]) -> Tensor {
    let halves = (scores * real_spans(words, scores)).chunk(2, 0);
    let (first, second) = (&halves[0], &halves[1]);
    // KL(p, q) + KL(q, p) of two coins is (p - q)(logit p - logit q); outside real spans both logits are 0.
    let apart = (first.sigmoid() - second.sigmoid()) * (first - second);
    apart.sum(Kind::Float) / (2.0 * count(&words[..words.len() / 2]))
}

/// The spans of each row with a probability above the floor, in words of the row. Panics if a score is not finite.
pub fn found_spans(scores: &Tensor, words: &[RowWords]) -> Vec<Vec<ScoredEntity>> {
    let (_, width, types, longest) = scores.size4().expect("four dimensions");
    let probabilities = scores.sigmoid() * real_spans(words, scores);
    let flat = probabilities.contiguous().view(-1);
    let scores = scores.contiguous().view(-1);
    // Chosen on the device: of a card only what is found is copied, and what is wrong.
    let places = flat.gt(FLOOR).logical_or(&scores.isfinite().logical_not()).nonzero().view(-1);
    let of_places = Vec::<f32>::try_from(scores.index_select(0, &places).to_device(Device::Cpu));
    assert!(of_places.expect("a flat tensor of fp32").iter().all(|score| score.is_finite()), "{NOT_FINITE}");
    let values = flat.index_select(0, &places).to_device(Device::Cpu);
    let places = places.to_device(Device::Cpu);
    let values = Vec::<f32>::try_from(values).expect("a flat tensor of fp32");
    let places = Vec::<i64>::try_from(places).expect("a flat tensor of int64");
    let mut found = vec![Vec::new(); words.len()];
    for (place, probability) in places.into_iter().zip(values) {
        let (length, rest) = (place % longest, place / longest);
        let (entity_type, rest) = ((rest % types) as usize, rest / types);
        let (start, row) = ((rest % width) as usize, (rest / width) as usize);
        found[row].push(ScoredEntity { words: start..start + 1 + length as usize, entity_type, probability });
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_that_are_not_finite_are_not_taken_for_no_mentions() {
        for score in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            let scores = Tensor::full([1, 2, 1, 2], -9.0, (Kind::Float, Device::Cpu));
            assert!(found_spans(&scores, &[vec![0..1, 1..2]])[0].is_empty());
            let _ = scores.get(0).get(1).get(0).get(1).fill_(score);
            let found = ner_text::caught(|| found_spans(&scores, &[vec![0..1, 1..2]]));
            assert_eq!(found.expect_err("a panic"), NOT_FINITE);
        }
    }
}
