use super::words::{RowWords, count, width, word_states};
use crate::device::cuda::upload;
use crate::{Batch, Bert, BertConfig, ModelError, Parameters, TrainingPass};
use ner_document::{TagScheme, TaggedEntity};
use ner_text::Transitions;
use tch::{Device, Kind, Tensor};

/// Score of transitions that the scheme does not allow: exp of it is 0 in fp32, and no sum of such scores becomes
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
/// and its probability is exp(score) divided by the sum over all sequences that the scheme allows. Sources: Lafferty et
/// al. (2001); Lample et al. (2016), "Neural architectures for named entity recognition", section 2.2.
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
    /// Names and shapes of all parameters of a model with `labels` labels.
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

    /// A model that shares `parameters`.
    ///
    /// # Errors
    /// If a parameter is missing.
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

    pub(crate) const fn encoder_mut(&mut self) -> &mut Bert {
        &mut self.encoder
    }

    /// Scores of the labels of each word, `[batch, words, labels] f32`; undefined behind the last word of a row. The
    /// encoder computes in `kind`, the head in fp32.
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
        word_states(states, words, dropout).linear(&self.weight, Some(&self.bias))
    }

    /// The chain over the words.
    pub const fn crf(&self) -> &Crf {
        &self.crf
    }
}

/// A linear chain: the scores of starts, transitions and ends. All sums are in log space and fp32, for a whole batch at
/// once, with a loop over the words.
#[derive(Debug)]
pub struct Crf {
    scheme: TagScheme,
    /// `start [labels]`, `between [labels, labels]` (row: from, column: to), `end [labels]`.
    start: Tensor,
    between: Tensor,
    end: Tensor,
    /// 0 if the scheme allows it, else [`NEVER`].
    masks: [Tensor; 3],
}

impl Crf {
    /// A chain that shares these learned scores.
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

    /// The chain for decoding without libtorch.
    pub fn transitions(&self) -> Transitions {
        let numbers = |tensor: &Tensor| {
            let flat = tensor.detach().to_device(Device::Cpu).to_kind(Kind::Float).contiguous().view(-1);
            Vec::<f32>::try_from(flat).expect("a flat tensor of fp32")
        };
        Transitions::new(self.scheme, &numbers(&self.start), &numbers(&self.end), &numbers(&self.between))
    }

    /// The scores with the masks added: starts, transitions, ends.
    fn constrained(&self) -> (Tensor, Tensor, Tensor) {
        let [start, between, end] = &self.masks;
        (&self.start + start, &self.between + between, &self.end + end)
    }

    /// Log partition function, by the forward algorithm: log of the sum of exp(score) over all sequences, `[batch]
    /// f32`. 0 for a row without words.
    pub fn log_partition(&self, scores: &Tensor, words: &[RowWords]) -> Tensor {
        let (.., end) = self.constrained();
        let forward = self.forward_sums(scores, words);
        let last = forward.last().expect("at least one place");
        (last + end).logsumexp(-1, false) * has_words(words, scores.device())
    }

    /// For each word, log sums over all prefixes that end in each of its labels, including its own score, `[batch,
    /// labels]` each. Constant behind the last word of a row.
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

    /// For each word, log sums over all suffixes that follow each of its labels, `[batch, labels]` each.
    fn backward_sums(&self, scores: &Tensor, words: &[RowWords]) -> Vec<Tensor> {
        let (_, between, end) = self.constrained();
        let scores = scores.unbind(1);
        let real = real_words(words, scores[0].device());
        let mut sums = vec![end.unsqueeze(0).expand_as(&scores[0])];
        for (at, score) in scores.iter().enumerate().skip(1).rev() {
            let behind = &sums[sums.len() - 1];
            let before = (&between + (behind + score).unsqueeze(1)).logsumexp(2, false);
            // If there is no word here, the one before may be the last.
            sums.push(match &real[at] {
                Some(real) => before.where_self(real, &sums[0]),
                None => before,
            });
        }
        sums.reverse();
        sums
    }

    /// Marginal probability of each label of each word, `[batch, words, labels] f32`; 0 behind the last word.
    pub fn marginals(&self, scores: &Tensor, words: &[RowWords]) -> Tensor {
        let marginals = self.sums_of_all(scores, words).softmax(-1, Kind::Float);
        marginals * all_real_words(words, scores.device()).unsqueeze(-1)
    }

    /// Their logarithms; undefined behind the last word.
    pub(super) fn log_marginals(&self, scores: &Tensor, words: &[RowWords]) -> Tensor {
        self.sums_of_all(scores, words).log_softmax(-1, Kind::Float)
    }

    /// Log sums over all sequences with each label of each word, `[batch, words, labels]`.
    fn sums_of_all(&self, scores: &Tensor, words: &[RowWords]) -> Tensor {
        let forward = Tensor::stack(&self.forward_sums(scores, words), 1);
        let backward = Tensor::stack(&self.backward_sums(scores, words), 1);
        forward + backward
    }

    /// Negative log-likelihood of the gold sequences, as a mean over the words of a batch, a scalar.
    ///
    /// `entities` are each row's mentions in words. They must not overlap.
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
        let target = upload(&Tensor::from_slice(&target).view([rows, width]), device);
        let own = scores.gather(2, &target.unsqueeze(-1), false).squeeze_dim(-1) * &real;
        // Gold sequences are always allowed by the scheme, so the masks are not needed here.
        let pairs = target.narrow(1, 0, width - 1) * labels + target.narrow(1, 1, width - 1);
        let between = self.between.view(-1).index_select(0, &pairs.reshape(-1)).view([rows, width - 1]);
        let between = between * real.narrow(1, 1, width - 1);
        let ends = self.start.index_select(0, &target.select(1, 0))
            + self.end.index_select(0, &upload(&Tensor::from_slice(&last), device));
        let right = own.sum_dim_intlist(1, false, Kind::Float)
            + between.sum_dim_intlist(1, false, Kind::Float)
            + ends * has_words(words, device);
        (self.log_partition(scores, words) - right).sum(Kind::Float) / count(words)
    }

    /// Symmetric Kullback-Leibler divergence between the first and the second half of a batch, which hold the same rows
    /// with different dropout; per word, a scalar (R-Drop, Liang et al. 2021, equation 2).
    ///
    /// Both halves have the same transitions, so the partition functions cancel: with `m` the marginals and `s` the
    /// scores, KL(p, q) + KL(q, p) = Σ (mₚ - m_q)(sₚ - s_q).
    pub fn divergence(&self, scores: &Tensor, words: &[RowWords]) -> Tensor {
        let halves = scores.chunk(2, 0);
        let marginals = self.marginals(scores, words).chunk(2, 0);
        let apart = (&marginals[0] - &marginals[1]) * (&halves[0] - &halves[1]);
        apart.sum(Kind::Float) / (2.0 * count(&words[..words.len() / 2]))
    }
}

/// For each position in the longest row, the rows with a word there, `[batch, 1] bool`; `None` if all have one.
fn real_words(words: &[RowWords], device: Device) -> Vec<Option<Tensor>> {
    let width = width(words);
    let real: Vec<bool> = (0..width).flat_map(|at| words.iter().map(move |words| at < words.len())).collect();
    // One copy to the device for all positions.
    let all = upload(&Tensor::from_slice(&real).view([width as i64, words.len() as i64, 1]), device);
    let rows = real.chunks(words.len().max(1)).zip(all.unbind(0));
    rows.map(|(real, on_device)| real.contains(&false).then_some(on_device)).collect()
}

/// Positions with a word, `[batch, words] f32` of 0 and 1.
fn all_real_words(words: &[RowWords], device: Device) -> Tensor {
    let width = width(words);
    let real = words.iter().flat_map(|words| (0..width).map(|at| f32::from(u8::from(at < words.len()))));
    let real: Vec<f32> = real.collect();
    upload(&Tensor::from_slice(&real).view([words.len() as i64, width as i64]), device)
}

/// Rows with words, `[batch] f32` of 0 and 1.
fn has_words(words: &[RowWords], device: Device) -> Tensor {
    let has: Vec<f32> = words.iter().map(|words| f32::from(u8::from(!words.is_empty()))).collect();
    upload(&Tensor::from_slice(&has), device)
}
