//! BERT's encoder, with the checkpoint's names for its parts, and the few places where its kin differ (`family.rs`).
//!
//! Dimensions: `batch` rows of `tokens` word pieces; `hidden` wide states; `heads` of `head` = hidden / heads.
//! Source: Devlin et al. (2019), "BERT", section 3; Vaswani et al. (2017) for the layer.

use crate::{BertConfig, Dropout, ModelError, Parameters, attention, onednn};
use std::ops::Range;
use tch::{Device, Kind, Tensor};

/// A batch of rows of word pieces, the special tokens included.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// The rows, each as long as its window; padding is the encoder's affair.
    pub rows: Vec<Vec<u32>>,
}

impl Batch {
    /// Length of the longest row: the width of the padded batch.
    pub fn width(&self) -> usize {
        self.rows.iter().map(Vec::len).max().unwrap_or(0)
    }

    /// Number of tokens that are no padding.
    pub fn tokens(&self) -> usize {
        self.rows.iter().map(Vec::len).sum()
    }
}

#[derive(Debug)]
struct Linear {
    weight: Tensor,
    bias: Tensor,
}

impl Linear {
    fn new(parameters: &Parameters, name: &str) -> Result<Self, ModelError> {
        Ok(Self { weight: parameters.get(&format!("{name}.weight"))?, bias: parameters.get(&format!("{name}.bias"))? })
    }

    /// Computes in the kind of `input`; the fp32 weights are cast to it, and their gradients come back in fp32.
    fn forward(&self, input: &Tensor) -> Tensor {
        let kind = input.kind();
        if onednn::is_packed(&self.weight) {
            return onednn::linear(input, &self.weight, &self.bias.to_kind(kind));
        }
        input.linear(&self.weight.to_kind(kind), Some(&self.bias.to_kind(kind)))
    }
}

#[derive(Debug)]
struct LayerNorm {
    weight: Tensor,
    bias: Tensor,
    eps: f64,
}

impl LayerNorm {
    fn new(parameters: &Parameters, name: &str, eps: f64) -> Result<Self, ModelError> {
        let Linear { weight, bias } = Linear::new(parameters, name)?;
        Ok(Self { weight, bias, eps })
    }

    fn forward(&self, input: &Tensor) -> Tensor {
        let norm =
            |input: &Tensor| input.layer_norm(self.weight.size(), Some(&self.weight), Some(&self.bias), self.eps, true);
        // The CPU's kernel takes half-precision states with fp32 weights; CUDA's wants one kind for all.
        if input.device().is_cuda() && input.kind() != Kind::Float {
            norm(&input.to_kind(Kind::Float)).to_kind(input.kind())
        } else {
            norm(input)
        }
    }
}

#[derive(Debug)]
pub(crate) struct Layer {
    query: Linear,
    key: Linear,
    value: Linear,
    attention_output: Linear,
    attention_norm: LayerNorm,
    intermediate: Linear,
    output: Linear,
    output_norm: LayerNorm,
}

impl Layer {
    fn new(parameters: &Parameters, at: i64, eps: f64) -> Result<Self, ModelError> {
        let linear = |part: &str| Linear::new(parameters, &format!("bert.encoder.layer.{at}.{part}"));
        let norm = |part: &str| LayerNorm::new(parameters, &format!("bert.encoder.layer.{at}.{part}"), eps);
        Ok(Self {
            query: linear("attention.self.query")?,
            key: linear("attention.self.key")?,
            value: linear("attention.self.value")?,
            attention_output: linear("attention.output.dense")?,
            attention_norm: norm("attention.output.LayerNorm")?,
            intermediate: linear("intermediate.dense")?,
            output: linear("output.dense")?,
            output_norm: norm("output.LayerNorm")?,
        })
    }

    /// From `[places, hidden]` to the same.
    pub(crate) fn forward(
        &self,
        states: &Tensor,
        layout: &Layout,
        config: &BertConfig,
        mut dropout: Option<&mut Dropout>,
    ) -> Tensor {
        let projected = [&self.query, &self.key, &self.value].map(|linear| linear.forward(states));
        let context = layout.attend(projected, config.num_attention_heads, dropout.as_deref_mut());
        let attended = drop(self.attention_output.forward(&context), &mut dropout);
        let states = self.attention_norm.forward(&add(attended, states));
        let wide = config.hidden_act.apply(self.intermediate.forward(&states));
        let narrow = drop(self.output.forward(&wide), &mut dropout);
        self.output_norm.forward(&add(narrow, &states))
    }
}

/// How the tokens of a batch lie in the matrix of its states, `[places, hidden]`.
#[derive(Debug)]
pub(crate) struct Layout {
    /// Rows of the batch, and the width of the longest.
    size: [i64; 2],
    rows: Rows,
}

#[derive(Debug)]
enum Rows {
    /// All as wide as the longest, for which every tensor operation serves.
    Padded {
        /// As [`attention_mask`] makes it.
        mask: Option<Tensor>,
    },
    /// One after another, each by its places, for [`attention`]; then places that stand for nothing. oneDNN compiles a
    /// product for each number of places and keeps it, a quarter of a megabyte each, so that few numbers should recur.
    Packed { rows: Vec<Range<usize>>, places: usize },
}

/// The places of packed rows are a multiple of this.
const PLACES_STEP: usize = 16;

impl Layout {
    fn padded(batch: &Batch, kind: Kind, device: Device) -> Self {
        let mask = attention_mask(batch, kind).map(|mask| mask.to_device(device));
        Self { size: [batch.rows.len() as i64, batch.width() as i64], rows: Rows::Padded { mask } }
    }

    fn packed(batch: &Batch) -> Self {
        let ends = batch.rows.iter().scan(0, |end, row| {
            *end += row.len();
            Some(*end)
        });
        let rows = ends.zip(&batch.rows).map(|(end, row)| end - row.len()..end).collect();
        let places = batch.tokens().next_multiple_of(PLACES_STEP);
        Self { size: [batch.rows.len() as i64, batch.width() as i64], rows: Rows::Packed { rows, places } }
    }

    /// A number for each token, which its place in its row and its id are known of, and `fill` where there is none:
    /// `[places] i64`.
    fn numbers(&self, batch: &Batch, fill: i64, number: impl Fn(usize, u32) -> i64) -> Tensor {
        let mut all = Vec::new();
        for (at, row) in batch.rows.iter().enumerate() {
            all.extend(row.iter().enumerate().map(|(at, &id)| number(at, id)));
            if let Rows::Padded { .. } = self.rows {
                all.resize((at + 1) * batch.width(), fill);
            }
        }
        if let Rows::Packed { places, .. } = self.rows {
            all.resize(places, fill);
        }
        Tensor::from_slice(&all)
    }

    /// Attention within the rows, of `[places, hidden]`.
    fn attend(&self, [query, key, value]: [Tensor; 3], heads: i64, dropout: Option<&mut Dropout>) -> Tensor {
        match &self.rows {
            Rows::Packed { rows, .. } => attention::attend(&query, &key, &value, rows, heads),
            Rows::Padded { mask } => {
                let [rows, width] = self.size;
                // [batch, heads, tokens, head]
                let split = |states: Tensor| states.view([rows, width, heads, -1]).transpose(1, 2);
                let context = attend(&split(query), &split(key), &split(value), mask.as_ref(), dropout);
                context.transpose(1, 2).reshape([rows * width, -1])
            }
        }
    }

    /// `[batch, tokens, hidden]` of `[places, hidden]`; what stands at padding is without meaning.
    pub(crate) fn tokens(&self, states: &Tensor) -> Tensor {
        let [count, width] = self.size;
        match &self.rows {
            Rows::Padded { .. } => states.view([count, width, -1]),
            Rows::Packed { rows, places } => {
                let last = *places as i64 - 1;
                let starts = rows.iter().map(|row| row.start as i64);
                let places: Vec<i64> =
                    starts.flat_map(|start| (start..start + width).map(|place| place.min(last))).collect();
                states.index_select(0, &Tensor::from_slice(&places)).view([count, width, -1])
            }
        }
    }
}

/// BERT without pooler: embeddings and layers.
#[derive(Debug)]
pub struct Bert {
    config: BertConfig,
    word_embeddings: Tensor,
    position_embeddings: Tensor,
    /// None for an encoder that tells no segments apart.
    token_type_embeddings: Option<Tensor>,
    embeddings_norm: LayerNorm,
    /// From the width of the embeddings to that of the states, where they differ.
    embeddings_project: Option<Linear>,
    layers: Vec<Layer>,
}

impl Bert {
    /// Names and shapes of all parameters of an encoder of this configuration, in the order of a checkpoint.
    pub fn shapes(config: &BertConfig) -> Vec<(String, Vec<i64>)> {
        let (hidden, wide, narrow) = (config.hidden_size, config.intermediate_size, config.embedding_size);
        let mut shapes = vec![
            ("bert.embeddings.word_embeddings.weight".to_owned(), vec![config.vocab_size, narrow]),
            ("bert.embeddings.position_embeddings.weight".to_owned(), vec![config.max_position_embeddings, narrow]),
        ];
        if config.type_vocab_size > 0 {
            let name = "bert.embeddings.token_type_embeddings.weight".to_owned();
            shapes.push((name, vec![config.type_vocab_size, narrow]));
        }
        let mut pair = |name: String, weight: Vec<i64>| {
            let bias = vec![weight[0]];
            shapes.push((format!("{name}.weight"), weight));
            shapes.push((format!("{name}.bias"), bias));
        };
        pair("bert.embeddings.LayerNorm".to_owned(), vec![narrow]);
        if narrow != hidden {
            pair("bert.embeddings_project".to_owned(), vec![hidden, narrow]);
        }
        for at in 0..config.num_hidden_layers {
            let layer = format!("bert.encoder.layer.{at}");
            pair(format!("{layer}.attention.self.query"), vec![hidden, hidden]);
            pair(format!("{layer}.attention.self.key"), vec![hidden, hidden]);
            pair(format!("{layer}.attention.self.value"), vec![hidden, hidden]);
            pair(format!("{layer}.attention.output.dense"), vec![hidden, hidden]);
            pair(format!("{layer}.attention.output.LayerNorm"), vec![hidden]);
            pair(format!("{layer}.intermediate.dense"), vec![wide, hidden]);
            pair(format!("{layer}.output.dense"), vec![hidden, wide]);
            pair(format!("{layer}.output.LayerNorm"), vec![hidden]);
        }
        shapes
    }

    /// An encoder over `parameters`, which it shares.
    ///
    /// # Errors
    /// Where a parameter is missing.
    pub fn new(config: &BertConfig, parameters: &Parameters) -> Result<Self, ModelError> {
        let eps = config.layer_norm_eps;
        Ok(Self {
            word_embeddings: parameters.get("bert.embeddings.word_embeddings.weight")?,
            position_embeddings: parameters.get("bert.embeddings.position_embeddings.weight")?,
            token_type_embeddings: (config.type_vocab_size > 0)
                .then(|| parameters.get("bert.embeddings.token_type_embeddings.weight"))
                .transpose()?,
            embeddings_norm: LayerNorm::new(parameters, "bert.embeddings.LayerNorm", eps)?,
            embeddings_project: (config.embedding_size != config.hidden_size)
                .then(|| Linear::new(parameters, "bert.embeddings_project"))
                .transpose()?,
            layers: (0..config.num_hidden_layers)
                .map(|at| Layer::new(parameters, at, eps))
                .collect::<Result<_, _>>()?,
            config: config.clone(),
        })
    }

    /// Hidden states of the last layer, `[batch, tokens, hidden]` in `kind`; what stands at padding is without meaning.
    ///
    /// `dropout` is given while training, and absent for prediction. Panics where a row is longer than the encoder's
    /// positions: cutting a text into windows is the caller's affair.
    pub fn forward(&self, batch: &Batch, kind: Kind, mut dropout: Option<&mut Dropout>) -> Tensor {
        let device = self.word_embeddings.device();
        let width = batch.width() as i64;
        assert!(width <= self.config.max_tokens(), "a row of {width} tokens is too long for this encoder");
        let layout = match dropout {
            None if self.packs_rows() => Layout::packed(batch),
            _ => Layout::padded(batch, kind, device),
        };

        let ids = layout.numbers(batch, self.config.pad_token_id, |_, id| i64::from(id)).to_device(device);
        let first = self.config.first_position();
        let positions = layout.numbers(batch, first, |at, _| first + at as i64).to_device(device);
        // [places, embedding]
        let mut words = Tensor::embedding(&self.word_embeddings, &ids, -1, false, false);
        if let Some(dropout) = dropout.as_deref() {
            words = dropout.embeddings(words);
        }
        let mut embeddings = words + Tensor::embedding(&self.position_embeddings, &positions, -1, false, false);
        if let Some(segments) = &self.token_type_embeddings {
            embeddings += segments.select(0, 0);
        }
        // [places, hidden]
        let mut states = self.embeddings_norm.forward(&embeddings).to_kind(kind);
        states = drop(states, &mut dropout);
        if let Some(project) = &self.embeddings_project {
            states = project.forward(&states);
        }
        match dropout {
            Some(dropout) if dropout.gradient_checkpointing => self.forward_keeping_inputs(states, layout, dropout),
            mut dropout => {
                for layer in &self.layers {
                    states = layer.forward(&states, &layout, &self.config, dropout.as_deref_mut());
                }
                layout.tokens(&states)
            }
        }
    }

    /// Whether rows can lie without padding: in prediction with packed weights.
    fn packs_rows(&self) -> bool {
        let head = self.config.hidden_size / self.config.num_attention_heads;
        self.layers.first().is_some_and(|layer| onednn::is_packed(&layer.query.weight)) && attention::is_available(head)
    }

    pub(crate) fn layers(&self) -> &[Layer] {
        &self.layers
    }

    pub(crate) const fn config(&self) -> &BertConfig {
        &self.config
    }
}

fn drop(states: Tensor, dropout: &mut Option<&mut Dropout>) -> Tensor {
    match dropout {
        Some(dropout) => dropout.hidden_states(&states),
        None => states,
    }
}

/// Rows of up to this many tokens are attended to with plain products in half precision on the CPU.
const SHORT: i64 = 128;

/// Scaled dot-product attention over `[batch, heads, tokens, head]`.
///
/// libtorch's fused kernel serves everywhere but on the CPU in half precision, in training and on short rows, and with
/// attention dropout there. (Prediction in bf16 has [`attention`] where it can.) Its backward pass took twice as long as plain products (29 against 14 ms on 7 rows of 290
/// tokens, 12 heads of 32), on sentences its forward pass takes a quarter of all time, and its dropout draws from a slow
/// generator.
fn attend(
    query: &Tensor,
    key: &Tensor,
    value: &Tensor,
    mask: Option<&Tensor>,
    dropout: Option<&mut Dropout>,
) -> Tensor {
    let on_cpu = !query.device().is_cuda();
    let is_half = query.kind() != Kind::Float;
    let is_short = query.size()[2] <= SHORT;
    let drops = dropout.as_ref().is_some_and(|dropout| dropout.attention > 0.0);
    if on_cpu && (drops || is_half && (is_short || dropout.is_some())) {
        plain_attention(query, key, value, mask, dropout)
    } else {
        let probability = dropout.map_or(0.0, |dropout| dropout.attention);
        // The fused kernel wants it for each query.
        let mask = mask.map(|mask| mask.expand([-1, -1, query.size()[2], -1], false));
        Tensor::scaled_dot_product_attention(query, key, value, mask.as_ref(), probability, false, None, false)
    }
}

/// The products as the paper writes them: softmax(Q Kᵀ / √head) V.
fn plain_attention(
    query: &Tensor,
    key: &Tensor,
    value: &Tensor,
    mask: Option<&Tensor>,
    dropout: Option<&mut Dropout>,
) -> Tensor {
    let (rows, heads, tokens, head) = query.size4().expect("four dimensions");
    let flat = |states: &Tensor| states.reshape([rows * heads, tokens, head]);
    // What is masked is part of the product: it would be a pass of its own over all scores.
    let (mask, beta) = match mask {
        Some(mask) => (mask.expand([rows, heads, 1, tokens], false).reshape([rows * heads, 1, tokens]), 1.0),
        None => (query.new_zeros([1], (query.kind(), query.device())), 0.0),
    };
    // [batch * heads, tokens, tokens]
    let scores = mask.baddbmm(&flat(&(query / (head as f64).sqrt())), &flat(key).transpose(1, 2), beta, 1.0);
    let weights = onednn::softmax(&scores);
    match dropout {
        Some(dropout) => dropout.attention_weights(&weights),
        None => weights,
    }
    .bmm(&flat(value))
    .view([rows, heads, tokens, head])
}

fn add(mut states: Tensor, residual: &Tensor) -> Tensor {
    states += residual;
    states
}

/// What is added to attention scores, `[batch, 1, 1, tokens]`: 0 on tokens, minus infinity on padding; `None`
/// where no row is padded, for which attention has a faster kernel.
fn attention_mask(batch: &Batch, kind: Kind) -> Option<Tensor> {
    let (rows, width) = (batch.rows.len(), batch.width());
    if batch.rows.iter().all(|row| row.len() == width) {
        return None;
    }
    let mut mask = vec![0f32; rows * width];
    for (row, slots) in batch.rows.iter().zip(mask.chunks_mut(width)) {
        slots[row.len()..].fill(f32::NEG_INFINITY);
    }
    let (rows, width) = (rows as i64, width as i64);
    Some(Tensor::from_slice(&mask).view([rows, 1, 1, width]).to_kind(kind))
}
