use crate::device::cuda::upload;
use crate::encoder::{LayerNorm, Linear};
use crate::{Activation, Batch, Bert, BertConfig, ModelError, Parameters, TrainingPass};
use tch::{Kind, Reduction, Tensor};

/// For each row of a batch, the positions to predict and their pieces.
pub type MaskedTokens = Vec<(usize, u32)>;

/// An encoder with the head of masked-language-model training: it predicts pieces from their context.
///
/// A position's state goes through a linear layer, the activation and a LayerNorm; its product with the word embeddings
/// ("tied") and a bias are the logits of all pieces. Parameters have BERT's names in memory, those of
/// `BertForMaskedLM`; `masked_lm_files.rs` holds the names of other families.
///
/// Source: Devlin et al. (2019), "BERT", section 3.1, task 1; google-research/bert, `get_masked_lm_output`.
#[derive(Debug)]
pub struct MaskedLm {
    encoder: Bert,
    /// `[pieces, embedding]`.
    word_embeddings: Tensor,
    dense: Linear,
    norm: LayerNorm,
    /// `[pieces]`.
    bias: Tensor,
    activation: Activation,
}

impl MaskedLm {
    /// Start of the names of the head's parameters.
    pub(crate) const HEAD: &str = "cls.predictions.";

    /// Names and shapes of the head's parameters, in the order of a checkpoint.
    pub fn head_shapes(config: &BertConfig) -> Vec<(String, Vec<i64>)> {
        let (hidden, narrow) = (config.hidden_size, config.embedding_size);
        let name = |part: &str| format!("{}{part}", Self::HEAD);
        vec![
            (name("bias"), vec![config.vocab_size]),
            (name("transform.dense.weight"), vec![narrow, hidden]),
            (name("transform.dense.bias"), vec![narrow]),
            (name("transform.LayerNorm.weight"), vec![narrow]),
            (name("transform.LayerNorm.bias"), vec![narrow]),
        ]
    }

    /// A model that shares `parameters`. `activation` is that of the head.
    ///
    /// # Errors
    /// If a parameter is missing.
    pub fn new(config: &BertConfig, parameters: &Parameters, activation: Activation) -> Result<Self, ModelError> {
        let name = |part: &str| format!("{}{part}", Self::HEAD);
        Ok(Self {
            encoder: Bert::new(config, parameters)?,
            word_embeddings: parameters.get("bert.embeddings.word_embeddings.weight")?,
            dense: Linear::new(parameters, &name("transform.dense"))?,
            norm: LayerNorm::new(parameters, &name("transform.LayerNorm"), config.layer_norm_eps)?,
            bias: parameters.get(&name("bias"))?,
            activation,
        })
    }

    /// Logits of all pieces at the positions of `masked`, row by row: `[positions, pieces] f32`. The products are in
    /// `kind`. Other positions cost nothing: the product with the embeddings would take longer than the encoder.
    pub fn logits(
        &self,
        batch: &Batch,
        masked: &[MaskedTokens],
        kind: Kind,
        dropout: Option<&mut TrainingPass>,
    ) -> Tensor {
        let states = self.encoder.forward(batch, kind, dropout);
        let width = batch.width();
        let places = masked
            .iter()
            .enumerate()
            .flat_map(|(row, masked)| masked.iter().map(move |&(position, _)| (row * width + position) as i64));
        let places = upload(&Tensor::from_slice(&places.collect::<Vec<_>>()), states.device());
        // [positions, hidden]
        let states = states.view([-1, states.size()[2]]).index_select(0, &places);
        let states = self.norm.forward(&self.activation.apply(self.dense.forward(&states)));
        let logits = states.linear(&self.word_embeddings.to_kind(kind), Some(&self.bias.to_kind(kind)));
        logits.to_kind(Kind::Float)
    }

    /// Cross-entropy of the pieces of `masked`, summed over them; a scalar.
    pub fn loss_sum(
        &self,
        batch: &Batch,
        masked: &[MaskedTokens],
        kind: Kind,
        dropout: Option<&mut TrainingPass>,
    ) -> Tensor {
        cross_entropy(&self.logits(batch, masked, kind, dropout), &pieces(masked))
    }

    /// The same without gradients, and for how many positions the piece is the likeliest.
    pub fn score(&self, batch: &Batch, masked: &[MaskedTokens], kind: Kind) -> (f64, usize) {
        tch::no_grad(|| {
            let (logits, pieces) = (self.logits(batch, masked, kind, None), pieces(masked));
            let right = logits.argmax(-1, false).eq_tensor(&pieces.to_device(logits.device())).sum(Kind::Int64);
            (cross_entropy(&logits, &pieces).double_value(&[]), right.int64_value(&[]) as usize)
        })
    }

    /// Gradients of a loss by each of `leaves`. `dropout` is the one that the loss was computed with.
    pub fn gradients(&self, loss: &Tensor, leaves: &[&Tensor], dropout: &mut TrainingPass) -> Vec<Tensor> {
        self.encoder.gradients(loss, leaves, dropout)
    }
}

/// The pieces to predict, `[positions] i64`.
fn pieces(masked: &[MaskedTokens]) -> Tensor {
    Tensor::from_slice(&masked.iter().flatten().map(|&(_, piece)| i64::from(piece)).collect::<Vec<_>>())
}

fn cross_entropy(logits: &Tensor, pieces: &Tensor) -> Tensor {
    let pieces = upload(pieces, logits.device());
    logits.cross_entropy_loss::<Tensor>(&pieces, None, Reduction::Sum, super::IGNORE_INDEX, 0.0)
}
