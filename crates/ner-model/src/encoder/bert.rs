//! BERT's encoder, with the checkpoint's names for its parts. What related models do differently is in `family.rs`,
//! `distances.rs` (MPNet), `modern.rs` (ModernBERT) and `deberta.rs`.
//!
//! Dimensions: `batch` rows of `tokens` word pieces; states of width `hidden`; `heads` of size `head` = hidden / heads.
//! Sources: Devlin et al. (2019), "BERT", section 3; Vaswani et al. (2017) for the layer.

use super::attend::attend;
use super::attention;
use super::batch::{Batch, Layout, Rows};
use super::config::BertConfig;
use super::deberta::{self, Convolution, Disentangled};
use super::distances::RelativeBias;
use super::extras::{Extras, ModernConfig};
use super::family::ModelType;
use super::fused::FusedLayers;
use super::linear::{LayerNorm, Linear, add_residual, apply_dropout};
use super::modern::ModernLayer;
use super::parameters::Parameters;
use super::terms::Positions;
use super::training_pass::TrainingPass;
use crate::ModelError;
use crate::device::cuda::{self, upload};
use std::sync::Arc;
use tch::{Device, Kind, Tensor};

/// A layer of one of the kinds.
#[derive(Debug)]
pub(crate) enum Layer {
    Bert(Box<BertLayer>),
    Modern(Box<ModernLayer>),
}

impl Layer {
    /// Maps `[places, hidden]` to `[places, hidden]`.
    pub(crate) fn forward(
        &self,
        states: &Tensor,
        layout: &Layout,
        config: &BertConfig,
        dropout: Option<&mut TrainingPass>,
    ) -> Tensor {
        match self {
            Self::Bert(layer) => layer.forward(states, layout, config, dropout),
            Self::Modern(layer) => layer.forward(states, layout, config, dropout),
        }
    }

    /// Whether it computes rows without padding in prediction, on a CPU that supports heads of this size.
    fn packs_rows(&self) -> bool {
        let adds_nothing = match self {
            Self::Bert(layer) => layer.disentangled.is_none() && layer.convolution.is_none(),
            Self::Modern(_) => true,
        };
        adds_nothing && self.any_linear().is_packed() && !self.any_linear().is_int8()
    }

    /// One of the linear layers, which are all of a kind.
    const fn any_linear(&self) -> &Linear {
        match self {
            Self::Bert(layer) => &layer.query,
            Self::Modern(layer) => layer.any_linear(),
        }
    }

    /// Whether its attention scores need nothing but queries, keys and a limit of distances.
    fn attends_plainly(&self) -> bool {
        match self {
            Self::Bert(layer) => {
                layer.relative_bias.is_none() && layer.disentangled.is_none() && layer.convolution.is_none()
            }
            Self::Modern(_) => true,
        }
    }
}

/// A layer of BERT, and of the kinds that add to it.
#[derive(Debug)]
pub(crate) struct BertLayer {
    query: Linear,
    key: Linear,
    value: Linear,
    /// Of MPNet; the same in all layers.
    relative_bias: Option<RelativeBias>,
    /// Of DeBERTa.
    disentangled: Option<Disentangled>,
    attention_output: Linear,
    attention_norm: LayerNorm,
    intermediate: Linear,
    output: Linear,
    output_norm: LayerNorm,
    /// Of the first layer of some DeBERTa.
    convolution: Option<Convolution>,
}

impl BertLayer {
    fn new(config: &BertConfig, parameters: &Parameters, at: i64) -> Result<Self, ModelError> {
        let linear = |part: &str| Linear::new(parameters, &format!("bert.encoder.layer.{at}.{part}"));
        let norm =
            |part: &str| LayerNorm::new(parameters, &format!("bert.encoder.layer.{at}.{part}"), config.layer_norm_eps);
        Ok(Self {
            query: linear("attention.self.query")?,
            key: linear("attention.self.key")?,
            value: linear("attention.self.value")?,
            relative_bias: RelativeBias::new(config, parameters)?,
            disentangled: Disentangled::new(config, parameters, at)?,
            attention_output: linear("attention.output.dense")?,
            attention_norm: norm("attention.output.LayerNorm")?,
            intermediate: linear("intermediate.dense")?,
            output: linear("output.dense")?,
            output_norm: norm("output.LayerNorm")?,
            convolution: if at == 0 { Convolution::new(config, parameters)? } else { None },
        })
    }

    fn forward(
        &self,
        states: &Tensor,
        layout: &Layout,
        config: &BertConfig,
        mut dropout: Option<&mut TrainingPass>,
    ) -> Tensor {
        let heads = config.num_attention_heads;
        let input = states;
        let mut projected = [&self.query, &self.key, &self.value].map(|linear| linear.forward(states));
        let mut own_terms = None;
        if let Some(disentangled) = &self.disentangled {
            let [query, key, _] = &projected;
            let linears = [&self.query, &self.key];
            let (terms, factor) = disentangled.terms(layout, [query, key], linears, heads, dropout.as_deref_mut());
            own_terms = terms;
            projected[0] = &projected[0] * factor;
        } else if let (Some(bias), None) = (&self.relative_bias, &layout.terms) {
            own_terms = Some(bias.terms(layout, states.kind()));
        }
        let terms = own_terms.as_ref().or(layout.terms.as_ref());
        let context = attend(layout, projected, heads, terms, dropout.as_deref_mut());
        let attended = apply_dropout(self.attention_output.forward(&context), &mut dropout);
        let states = self.attention_norm.forward(&add_residual(attended, states));
        let wide = config.hidden_act.apply(self.intermediate.forward(&states));
        let narrow = apply_dropout(self.output.forward(&wide), &mut dropout);
        let states = self.output_norm.forward(&add_residual(narrow, &states));
        match &self.convolution {
            Some(convolution) => convolution.forward(input, &states, layout, dropout),
            None => states,
        }
    }
}

/// BERT without a pooler: embeddings and layers.
#[derive(Debug)]
pub struct Bert {
    config: BertConfig,
    word_embeddings: Tensor,
    /// `None` for an encoder whose layers alone know positions.
    position_embeddings: Option<Tensor>,
    /// `None` for an encoder without segments.
    token_type_embeddings: Option<Tensor>,
    embeddings_norm: LayerNorm,
    /// Maps embeddings to the width of the states, if the widths differ: before DeBERTa's normalisation, after ELECTRA's.
    embeddings_project: Option<Linear>,
    layers: Vec<Layer>,
    /// Of ModernBERT, whose layers do not end in one.
    final_norm: Option<LayerNorm>,
    /// The same for prediction, if the device and the precision support it.
    fused: Option<Arc<FusedLayers>>,
}

impl Bert {
    /// Names and shapes of all parameters for this configuration, in the order of a checkpoint.
    pub fn shapes(config: &BertConfig) -> Vec<(String, Vec<i64>)> {
        let (hidden, wide, narrow) = (config.hidden_size, config.intermediate_size, config.embedding_size);
        let mut shapes = vec![("bert.embeddings.word_embeddings.weight".to_owned(), vec![config.vocab_size, narrow])];
        if config.has_position_embeddings() {
            let name = "bert.embeddings.position_embeddings.weight".to_owned();
            shapes.push((name, vec![config.max_position_embeddings, narrow]));
        }
        if config.type_vocab_size > 0 {
            let name = "bert.embeddings.token_type_embeddings.weight".to_owned();
            shapes.push((name, vec![config.type_vocab_size, narrow]));
        }
        let mut part = |name: String, weight: Vec<i64>, has_bias: bool| {
            let bias = vec![weight[0]];
            shapes.push((format!("{name}.weight"), weight));
            if has_bias {
                shapes.push((format!("{name}.bias"), bias));
            }
        };
        let (modern, is_deberta) = (modern_of(config), config.model_type == ModelType::DebertaV2);
        let norm_bias = modern.is_none_or(|modern| modern.norm_bias);
        part("bert.embeddings.LayerNorm".to_owned(), vec![if is_deberta { hidden } else { narrow }], norm_bias);
        if narrow != hidden {
            part("bert.embeddings_project".to_owned(), vec![hidden, narrow], !is_deberta);
        }
        if let Some(modern) = modern {
            part("bert.encoder.final_norm".to_owned(), vec![hidden], norm_bias);
            shapes.extend((0..config.num_hidden_layers).flat_map(|at| ModernLayer::shapes(config, modern, at)));
            return shapes;
        }
        for at in 0..config.num_hidden_layers {
            let layer = format!("bert.encoder.layer.{at}");
            let mut part = |name: &str, weight: Vec<i64>| part(format!("{layer}.{name}"), weight, true);
            part("attention.self.query", vec![hidden, hidden]);
            part("attention.self.key", vec![hidden, hidden]);
            part("attention.self.value", vec![hidden, hidden]);
            part("attention.output.dense", vec![hidden, hidden]);
            part("attention.output.LayerNorm", vec![hidden]);
            part("intermediate.dense", vec![wide, hidden]);
            part("output.dense", vec![hidden, wide]);
            part("output.LayerNorm", vec![hidden]);
        }
        shapes.extend(RelativeBias::shape(config));
        shapes.extend(deberta::shapes(config));
        shapes
    }

    /// An encoder that shares `parameters`.
    ///
    /// # Errors
    /// If a parameter is missing.
    pub fn new(config: &BertConfig, parameters: &Parameters) -> Result<Self, ModelError> {
        let eps = config.layer_norm_eps;
        let modern = modern_of(config);
        let norm_bias = modern.is_none_or(|modern| modern.norm_bias);
        let layer = |at| match modern {
            Some(modern) => Ok(Layer::Modern(Box::new(ModernLayer::new(parameters, config, modern, at)?))),
            None => Ok(Layer::Bert(Box::new(BertLayer::new(config, parameters, at)?))),
        };
        Ok(Self {
            word_embeddings: parameters.get("bert.embeddings.word_embeddings.weight")?,
            position_embeddings: config
                .has_position_embeddings()
                .then(|| parameters.get("bert.embeddings.position_embeddings.weight"))
                .transpose()?,
            token_type_embeddings: (config.type_vocab_size > 0)
                .then(|| parameters.get("bert.embeddings.token_type_embeddings.weight"))
                .transpose()?,
            embeddings_norm: LayerNorm::with(parameters, "bert.embeddings.LayerNorm", eps, norm_bias)?,
            embeddings_project: (config.embedding_size != config.hidden_size)
                .then(|| {
                    let has_bias = config.model_type != ModelType::DebertaV2;
                    Linear::with(parameters, "bert.embeddings_project", has_bias)
                })
                .transpose()?,
            layers: (0..config.num_hidden_layers).map(layer).collect::<Result<_, ModelError>>()?,
            final_norm: modern
                .map(|_| LayerNorm::with(parameters, "bert.encoder.final_norm", eps, norm_bias))
                .transpose()?,
            fused: None,
            config: config.clone(),
        })
    }

    /// Computes the hidden states of the last layer, `[batch, tokens, hidden]` in `kind` (fp32 with fused layers and in int8);
    /// values at padding are undefined.
    ///
    /// `dropout` is for training only. Panics if a row is longer than the encoder's positions: callers cut text into
    /// windows.
    pub fn forward(&self, batch: &Batch, kind: Kind, dropout: Option<&mut TrainingPass>) -> Tensor {
        let device = self.word_embeddings.device();
        let fused = self.fused.as_ref().filter(|_| dropout.is_none());
        let is_int8 = dropout.is_none() && self.layers.first().is_some_and(|layer| layer.any_linear().is_int8());
        let kind = if fused.is_some() || is_int8 { Kind::Float } else { kind };
        let layout = match dropout {
            None if fused.is_some() || self.packs_rows() => Layout::packed(batch),
            _ if self.concatenates_rows(device, kind) => Layout::concatenated(batch, device),
            _ => Layout::padded(batch, kind, device),
        };
        self.forward_in(layout, batch, kind, dropout)
    }

    /// [`forward`](Self::forward) in a layout that the device and the precision support.
    fn forward_in(
        &self,
        mut layout: Layout,
        batch: &Batch,
        kind: Kind,
        mut dropout: Option<&mut TrainingPass>,
    ) -> Tensor {
        let device = self.word_embeddings.device();
        let width = batch.width() as i64;
        assert!(width <= self.config.max_tokens(), "a row of {width} tokens is too long for this encoder");
        let fused = self.fused.as_ref().filter(|_| dropout.is_none());
        let ids = upload(&layout.numbers(batch, self.config.pad_token_id, |_, id| i64::from(id)), device);
        layout.positions = Positions::new(batch, &layout, &self.config, kind, device);
        if let Some(Layer::Bert(layer)) = self.layers.first()
            && fused.is_none()
            && dropout.as_ref().is_none_or(|dropout| !dropout.gradient_checkpointing)
        {
            // With checkpointing each layer has a graph of its own.
            layout.terms = layer.relative_bias.as_ref().map(|bias| bias.terms(&layout, kind));
        }
        // [places, embedding]
        let mut words = Tensor::embedding(&self.word_embeddings, &ids, -1, false, false);
        if let Some(dropout) = dropout.as_deref() {
            words = dropout.embeddings(words, &layout);
        }
        let mut embeddings = match &self.position_embeddings {
            Some(of_positions) => {
                let first = self.config.first_position();
                let positions = upload(&layout.numbers(batch, first, |at, _| first + at as i64), device);
                words + Tensor::embedding(of_positions, &positions, -1, false, false)
            }
            None => words,
        };
        if let Some(segments) = &self.token_type_embeddings {
            embeddings += segments.select(0, 0);
        }
        // [places, hidden]
        let (before, after) = match self.config.model_type {
            ModelType::DebertaV2 => (self.embeddings_project.as_ref(), None),
            _ => (None, self.embeddings_project.as_ref()),
        };
        if let Some(project) = before {
            embeddings = project.forward(&embeddings);
        }
        let mut states = self.embeddings_norm.forward(&embeddings).to_kind(kind);
        states = apply_dropout(states, &mut dropout);
        if let Some(project) = after {
            states = project.forward(&states);
        }
        if let (Some(fused), Rows::Packed { rows, .. }) = (fused, &layout.rows) {
            return layout.tokens(&fused.forward(&states, rows));
        }
        let states = match dropout {
            Some(dropout) if dropout.gradient_checkpointing => self.forward_keeping_inputs(states, layout, dropout),
            mut dropout => {
                for layer in &self.layers {
                    states = layer.forward(&states, &layout, &self.config, dropout.as_deref_mut());
                }
                layout.tokens(&states)
            }
        };
        match &self.final_norm {
            Some(norm) => norm.forward(&states),
            None => states,
        }
    }

    /// Whether rows can be packed without padding: in prediction with packed weights.
    fn packs_rows(&self) -> bool {
        let head = self.config.hidden_size / self.config.num_attention_heads;
        self.layers.first().is_some_and(Layer::packs_rows) && attention::is_available(head)
    }

    /// Whether rows are concatenated on a card.
    fn concatenates_rows(&self, device: Device, kind: Kind) -> bool {
        let head = self.config.hidden_size / self.config.num_attention_heads;
        self.layers.iter().all(Layer::attends_plainly) && cuda::attends(device, kind, head)
    }

    /// Predicts with `layers`, which were made of the same parameters; all else is then fp32.
    pub(crate) fn predict_with(&mut self, layers: Arc<FusedLayers>) {
        self.fused = Some(layers);
    }

    pub(crate) fn layers(&self) -> &[Layer] {
        &self.layers
    }

    pub(crate) const fn config(&self) -> &BertConfig {
        &self.config
    }
}

fn modern_of(config: &BertConfig) -> Option<&ModernConfig> {
    match &config.extras {
        Extras::Modern(modern) => Some(modern),
        Extras::None | Extras::Deberta(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seeded;
    use std::path::Path;

    fn encoder(config: &str) -> (Bert, Parameters) {
        let config = BertConfig::from_json(config, Path::new("config.json")).expect("a sound configuration");
        let random = |(name, shape): (String, Vec<i64>)| {
            let tensor = Tensor::randn(&shape, (Kind::Float, Device::Cpu)) * 0.1;
            (name, if shape.len() == 1 { tensor + 1.0 } else { tensor })
        };
        let parameters = Parameters::new(Bert::shapes(&config).into_iter().map(random).collect());
        let parameters = parameters.requiring_gradients(|_| true);
        (Bert::new(&config, &parameters).expect("all parameters"), parameters)
    }

    /// The layout of cards, with the slow equivalent of their attention, computes what padded rows do.
    #[test]
    fn concatenated_rows_give_the_states_and_gradients_of_padded_ones() {
        let kinds = [
            include_str!("../../tests/encoders/roberta/config.json"),
            include_str!("../../tests/encoders/modernbert/config.json"),
        ];
        for config in kinds {
            let _turn = seeded(1);
            let (bert, parameters) = encoder(config);
            let batch = Batch { rows: [3, 40, 1, 17].map(|len| (2..2 + len).collect()).to_vec() };
            let size = [4, 40, bert.config.embedding_size];
            let perturbation = Tensor::randn(size, (Kind::Float, Device::Cpu)).set_requires_grad(true);
            let upstream = Tensor::randn([4, 40, bert.config.hidden_size], (Kind::Float, Device::Cpu));
            let is_real = Tensor::from_slice(&[3i64, 40, 1, 17]).unsqueeze(1);
            let is_real = Tensor::arange(40, (Kind::Int64, Device::Cpu)).lt_tensor(&is_real).unsqueeze(-1);
            let leaves: Vec<&Tensor> = parameters.iter().map(|(_, leaf)| leaf).chain([&perturbation]).collect();
            let of = |layout: Layout, gradient_checkpointing: bool| {
                let mut pass = TrainingPass::new(1, Device::Cpu, 0.0, 0.0);
                pass.gradient_checkpointing = gradient_checkpointing;
                pass.perturbation = Some(perturbation.shallow_clone());
                let states = bert.forward_in(layout, &batch, Kind::Float, Some(&mut pass)) * &is_real;
                let mut all = bert.gradients(&(&states * &upstream).sum(Kind::Float), &leaves, &mut pass);
                all.push(states.detach());
                all
            };
            let expected = of(Layout::padded(&batch, Kind::Float, Device::Cpu), false);
            for gradient_checkpointing in [false, true] {
                let found = of(Layout::concatenated(&batch, Device::Cpu), gradient_checkpointing);
                for (at, (found, expected)) in found.iter().zip(&expected).enumerate() {
                    let gap = ((found - expected).abs() / (expected.abs() + 1.0)).max().double_value(&[]);
                    let name = parameters.iter().nth(at).map_or("states or perturbation", |(name, _)| name);
                    assert!(gap < 1e-4, "{name}: {gap}");
                }
            }
        }
    }
}
