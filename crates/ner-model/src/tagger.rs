use crate::{Batch, BertConfig, ModelError, Parameters, TokenClassifier};
use ner_data::{EncodedDocument, LabelSet, TextEncoder, batches_by_length};
use tch::{Device, Kind, Tensor, no_grad};

/// A token classifier ready to predict: weights on their device, products in the kind of the computation.
#[derive(Debug)]
pub struct Tagger {
    model: TokenClassifier,
    kind: Kind,
    labels: LabelSet,
}

/// Most tokens of a batch at prediction, padding included: enough to keep two dozen cores or a graphics card busy, and
/// less memory than a step of training.
const BATCH_TOKENS: usize = 8192;

impl Tagger {
    /// A tagger with a copy of `parameters` on `device`, which computes in `kind`.
    ///
    /// # Errors
    /// Where a parameter is missing.
    pub fn new(
        config: &BertConfig,
        labels: &LabelSet,
        parameters: &Parameters,
        device: Device,
        kind: Kind,
    ) -> Result<Self, ModelError> {
        let parameters = no_grad(|| parameters.to_device(device).for_prediction(kind));
        Ok(Self { model: TokenClassifier::new(config, &parameters)?, kind, labels: labels.clone() })
    }

    /// The labels that it gives.
    pub const fn labels(&self) -> &LabelSet {
        &self.labels
    }

    /// Label number of each token of each document.
    ///
    /// Every token is predicted once, from the window whose core it stands in. `progress` is told the number of tokens
    /// after each batch.
    pub fn label_ids(
        &self,
        encoder: &TextEncoder,
        documents: &[EncodedDocument],
        mut progress: impl FnMut(usize),
    ) -> Vec<Vec<usize>> {
        let mut labels: Vec<Vec<usize>> = documents.iter().map(|document| vec![0; document.tokens.len()]).collect();
        let windows: Vec<_> = documents.iter().enumerate().flat_map(|(at, document)| document.windows.iter().map(move |window| (at, window))).collect();
        let lengths: Vec<usize> = windows.iter().map(|(_, window)| window.tokens.len() + encoder.specials()).collect();
        for rows in batches_by_length(&lengths, BATCH_TOKENS) {
            let input_ids = |&row: &usize| encoder.input_ids(&documents[windows[row].0], windows[row].1);
            let batch = Batch { rows: rows.iter().map(input_ids).collect() };
            // [batch, tokens]
            let best = no_grad(|| self.model.forward(&batch, self.kind, None).argmax(-1, false));
            let best: Vec<i64> = Vec::try_from(best.to_device(Device::Cpu).view(-1)).expect("a flat tensor of integers");
            for (row, best) in rows.iter().zip(best.chunks(batch.width())) {
                let (document, window) = windows[*row];
                let from = encoder.offset() + window.core.start - window.tokens.start;
                let slots = labels[document][window.core.clone()].iter_mut();
                for (slot, &id) in slots.zip(&best[from..]) {
                    *slot = id as usize;
                }
            }
            progress(batch.tokens());
        }
        labels
    }

    /// Scores of each label for one batch, `[batch, tokens, labels] f32`.
    pub fn logits(&self, batch: &Batch) -> Tensor {
        no_grad(|| self.model.forward(batch, self.kind, None))
    }
}
