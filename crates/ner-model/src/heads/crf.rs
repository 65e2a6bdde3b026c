use super::words::{RowWords, count, width, word_states};
use crate::{Batch, Bert, BertConfig, ModelError, Parameters, TrainingPass};
use ner_document::{TagScheme, TaggedEntity};
use ner_text::Transitions;
use tch::{Device, Kind, Tensor};

/// What a transition that the scheme does not allow adds to a score: e to it is 0 in fp32, and no sum of such becomes
/// infinite or not a number.
const NEVER: f32 = -1e4;

/// An encoder with a linear-chain conditional random field over words.
///
/// With `x` the mean of a word's pieces, the score of a sequence of labels `y` is
///
/// ```text
/// start(y₁) + Σ (W xᵢ + b)(yᵢ) + Σ transitions(yᵢ, yᵢ₊₁) + end(yₙ)
/// ```
///
/// and its probability is e to that, over the sum of all sequences that the scheme allows. Source: Lafferty et al. (2001);
/// Lample et al. (2016), "Neural architectures for named entity recognition", section 2.2.
///
/// Dimensions: `batch`, `words` (of the longest row), `labels`.
#[derive(Debug)]
pub struct CrfClassifier {
    encoder: Bert,
    weight: Tensor,
    bias: Tensor,
    crf: Crf,
}

impl CrfClassifier {
    /// Names and shapes of all parameters of a model with so many labels.
    pub fn shapes(config: &BertConfig, labels: usize) -> Vec<(String, Vec<i64>)> {
        let mut shapes = Bert::shapes(config);
        let labels = labels as i64;
        shapes.extend([
            ("classifier.weight".to_owned(), vec![labels, config.hidden_size]),
            ("classifier.bias".to_owned(), vec![labels]),
            ("classifier.transitions".to_owned(), vec![labels, labels]),
            ("classifier.start".to_owned(), vec![labels]),
            ("classifier.end".to_owned(), vec![labels]),
        ]);
        shapes
    }

    /// A model over `parameters`, which it shares.
    ///
    /// # Errors
    /// Where a parameter is missing.
    pub fn new(config: &BertConfig, parameters: &Parameters, scheme: TagScheme) -> Result<Self, ModelError> {
        let get = |name: &str| parameters.get(&format!("classifier.{name}"));
        Ok(Self {
            encoder: Bert::new(config, parameters)?,
            weight: get("weight")?,
            bias: get("bias")?,
            crf: Crf::new(scheme, get("start")?, get("transitions")?, get("end")?),
        })
    }

    /// The encoder.
    pub(crate) const fn encoder(&self) -> &Bert {
        &self.encoder
    }

    /// Scores of the labels of each word, `[batch, words, labels] f32`. The encoder computes in `kind`, the head in fp32.
    /// What stands behind the last word of a row is without meaning.
    pub fn forward(
        &self,
        batch: &Batch,
        words: &[RowWords],
        kind: Kind,
        mut dropout: Option<&mut TrainingPass>,
    ) -> Tensor {
        let states = self.encoder.forward(batch, kind, dropout.as_deref_mut());
        word_states(states, words, dropout).linear(&self.weight, Some(&self.bias))
    }

    /// The chain over the words.
    pub const fn crf(&self) -> &Crf {
        &self.crf
    }
}

/// A linear chain: what it adds to the scores of words. All sums are in log space and fp32, over a batch at once, with a
/// loop over words alone.
#[derive(Debug)]
pub struct Crf {
    scheme: TagScheme,
    /// `[labels]`, `[labels, labels]` from the row's label to the column's, `[labels]`.
    start: Tensor,
    between: Tensor,
    end: Tensor,
    /// 0 where the scheme allows, [`NEVER`] elsewhere.
    masks: [Tensor; 3],
}

impl Crf {
    /// A chain of learned scores, which it shares.
    pub fn new(scheme: TagScheme, start: Tensor, between: Tensor, end: Tensor) -> Self {
        let labels = start.size()[0] as usize;
        let tag = |label: usize| Some(scheme.tag(label));
        let mask = |allowed: Vec<bool>| {
            let scores: Vec<f32> = allowed.into_iter().map(|allowed| if allowed { 0.0 } else { NEVER }).collect();
            Tensor::from_slice(&scores).to_device(start.device())
        };
        let pairs = (0..labels * labels).map(|at| scheme.allows(tag(at / labels), tag(at % labels))).collect();
        let masks = [
            mask((0..labels).map(|to| scheme.allows(None, tag(to))).collect()),
            mask(pairs).view([labels as i64, labels as i64]),
            mask((0..labels).map(|from| scheme.allows(tag(from), None)).collect()),
        ];
        Self { scheme, start, between, end, masks }
    }

    /// The same for decoding, without libtorch.
    pub fn transitions(&self) -> Transitions {
        let numbers = |tensor: &Tensor| {
            let flat = tensor.detach().to_device(Device::Cpu).to_kind(Kind::Float).contiguous().view(-1);
            Vec::<f32>::try_from(flat).expect("a flat tensor of fp32")
        };
        Transitions::new(self.scheme, &numbers(&self.start), &numbers(&self.end), &numbers(&self.between))
    }

    /// The scores with what is not allowed: those of starts, of pairs and of ends.
    fn constrained(&self) -> (Tensor, Tensor, Tensor) {
        let [start, between, end] = &self.masks;
        (&self.start + start, &self.between + between, &self.end + end)
    }

    /// Logarithm of the sum over all sequences of e to their score, `[batch] f32`: the forward algorithm. 0 for a row
    /// without words.
    pub fn log_partition(&self, scores: &Tensor, words: &[RowWords]) -> Tensor {
        let (.., end) = self.constrained();
        let forward = self.forward_sums(scores, words);
        let last = forward.last().expect("at least one place");
        (last + end).logsumexp(-1, false) * has_words(words, scores.device())
    }

    /// For each word the sums over all that leads to its labels, its own score included, `[batch, labels]` each; behind
    /// the last word of a row they stay as they are there.
    fn forward_sums(&self, scores: &Tensor, words: &[RowWords]) -> Vec<Tensor> {
        let (start, between, _) = self.constrained();
        let scores = scores.unbind(1);
        let real = real_words(words, scores[0].device());
        let mut sums = vec![&scores[0] + start];
        for (at, score) in scores.iter().enumerate().skip(1) {
            let before = &sums[at - 1];
            // [batch, from, to]
            let next = (before.unsqueeze(2) + &between).logsumexp(1, false) + score;
            sums.push(match &real[at] {
                Some(real) => next.where_self(real, before),
                None => next,
            });
        }
        sums
    }

    /// For each word the sums over all that follows its labels, `[batch, labels]` each.
    fn backward_sums(&self, scores: &Tensor, words: &[RowWords]) -> Vec<Tensor> {
        let (_, between, end) = self.constrained();
        let scores = scores.unbind(1);
        let real = real_words(words, scores[0].device());
        let mut sums = vec![end.unsqueeze(0).expand_as(&scores[0])];
        for (at, score) in scores.iter().enumerate().skip(1).rev() {
            let behind = &sums[sums.len() - 1];
            let before = (&between + (behind + score).unsqueeze(1)).logsumexp(2, false);
            // Where no word stands here, the one before may be the last.
            sums.push(match &real[at] {
                Some(real) => before.where_self(real, &sums[0]),
                None => before,
            });
        }
        sums.reverse();
        sums
    }

    /// Probability of each label of each word over all sequences, `[batch, words, labels] f32`; 0 behind the last word.
    pub fn marginals(&self, scores: &Tensor, words: &[RowWords]) -> Tensor {
        let forward = Tensor::stack(&self.forward_sums(scores, words), 1);
        let backward = Tensor::stack(&self.backward_sums(scores, words), 1);
        (forward + backward).softmax(-1, Kind::Float) * all_real_words(words, scores.device()).unsqueeze(-1)
    }

    /// The mean over the words of a batch of what its rows' right sequences lack in log-probability, a scalar.
    ///
    /// `entities` are each row's mentions by its words, which do not overlap.
    pub fn negative_log_likelihood(
        &self,
        scores: &Tensor,
        words: &[RowWords],
        entities: &[Vec<TaggedEntity>],
    ) -> Tensor {
        let (rows, width, labels) = scores.size3().expect("three dimensions");
        let device = scores.device();
        let real = all_real_words(words, device);
        let mut target = vec![0i64; (rows * width) as usize];
        let mut last = Vec::with_capacity(words.len());
        for ((words, entities), slots) in words.iter().zip(entities).zip(target.chunks_mut(width as usize)) {
            let encoded = self.scheme.encode(words.len(), entities);
            last.push(encoded.last().map_or(0, |&label| label as i64));
            slots.iter_mut().zip(encoded).for_each(|(slot, label)| *slot = label as i64);
        }
        let target = Tensor::from_slice(&target).view([rows, width]).to_device(device);
        let own = scores.gather(2, &target.unsqueeze(-1), false).squeeze_dim(-1) * &real;
        // Sequences that the scheme does not allow are never right: the masks have no say here.
        let pairs = target.narrow(1, 0, width - 1) * labels + target.narrow(1, 1, width - 1);
        let between = self.between.view(-1).index_select(0, &pairs.reshape(-1)).view([rows, width - 1]);
        let between = between * real.narrow(1, 1, width - 1);
        let ends = self.start.index_select(0, &target.select(1, 0))
            + self.end.index_select(0, &Tensor::from_slice(&last).to_device(device));
        let right = own.sum_dim_intlist(1, false, Kind::Float)
            + between.sum_dim_intlist(1, false, Kind::Float)
            + ends * has_words(words, device);
        (self.log_partition(scores, words) - right).sum(Kind::Float) / count(words)
    }

    /// How far the first half of a batch's rows and the second, the same rows under other dropout, are apart: the
    /// symmetric Kullback-Leibler divergence of their sequences, by words, a scalar (R-Drop, Liang et al. 2021, equation
    /// 2).
    ///
    /// Both halves have the same transitions, so that the partition sums cancel: with `m` the marginals and `s` the
    /// scores, KL(p, q) + KL(q, p) = Σ (mₚ - m_q)(sₚ - s_q).
    pub fn divergence(&self, scores: &Tensor, words: &[RowWords]) -> Tensor {
        let halves = scores.chunk(2, 0);
        let marginals = self.marginals(scores, words).chunk(2, 0);
        let apart = (&marginals[0] - &marginals[1]) * (&halves[0] - &halves[1]);
        apart.sum(Kind::Float) / (2.0 * count(&words[..words.len() / 2]))
    }
}

/// For each place in the longest row, which rows have a word there, `[batch, 1] bool`; none where all have.
fn real_words(words: &[RowWords], device: Device) -> Vec<Option<Tensor>> {
    let at = |at: usize| {
        let real: Vec<bool> = words.iter().map(|words| at < words.len()).collect();
        real.contains(&false).then(|| Tensor::from_slice(&real).unsqueeze(-1).to_device(device))
    };
    (0..width(words)).map(at).collect()
}

/// The places of rows at which a word stands, `[batch, words] f32` of 0 and 1.
fn all_real_words(words: &[RowWords], device: Device) -> Tensor {
    let width = width(words);
    let real = words.iter().flat_map(|words| (0..width).map(|at| f32::from(u8::from(at < words.len()))));
    let real: Vec<f32> = real.collect();
    Tensor::from_slice(&real).view([words.len() as i64, width as i64]).to_device(device)
}

/// The rows with words, `[batch] f32` of 0 and 1.
fn has_words(words: &[RowWords], device: Device) -> Tensor {
    let has: Vec<f32> = words.iter().map(|words| f32::from(u8::from(!words.is_empty()))).collect();
    Tensor::from_slice(&has).to_device(device)
}
