use crate::{Batch, BertConfig, ModelError, Parameters, TokenClassifier};
use ner_data::{EncodedDocument, LabelSet, TextEncoder, Window, batches_by_length};
use tch::{Device, Kind, Tensor, no_grad};

/// A token classifier ready to predict: weights on their device, in the kind of the computation.
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
    /// A tagger over `parameters` on `device`, which computes in `kind`. It may share their storage: it is good for as
    /// long as they do not change.
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
        let parameters = no_grad(|| parameters.for_prediction(device, kind));
        Ok(Self { model: TokenClassifier::new(config, &parameters)?, kind, labels: labels.clone() })
    }

    /// The labels that it gives.
    pub const fn labels(&self) -> &LabelSet {
        &self.labels
    }

    /// Probabilities of the labels, `[tokens, labels]` of each document, row by row.
    ///
    /// Every token is predicted once, from the window whose core it stands in. `progress` is told the number of tokens
    /// after each batch.
    pub fn probabilities(
        &self,
        encoder: &TextEncoder,
        documents: &[EncodedDocument],
        mut progress: impl FnMut(usize),
    ) -> Vec<Vec<f32>> {
        let classes = self.labels.len();
        let mut probabilities: Vec<Vec<f32>> =
            documents.iter().map(|document| vec![0.0; document.tokens.len() * classes]).collect();
        // Not by the windows' own numbers: documents that were encoded apart may come together.
        let windows: Vec<(usize, &Window)> = documents
            .iter()
            .enumerate()
            .flat_map(|(at, document)| document.windows.iter().map(move |window| (at, window)))
            .collect();
        let lengths: Vec<usize> = windows.iter().map(|(_, window)| window.tokens.len() + encoder.specials()).collect();
        for rows in batches_by_length(&lengths, BATCH_TOKENS) {
            let input_ids = |&row: &usize| encoder.input_ids(&documents[windows[row].0], windows[row].1);
            let batch = Batch { rows: rows.iter().map(input_ids).collect() };
            // [batch, tokens, labels]
            let predicted =
                no_grad(|| self.logits(&batch).softmax(-1, Kind::Float).to_device(Device::Cpu).contiguous());
            let predicted = Vec::<f32>::try_from(predicted.view(-1)).expect("a flat tensor of fp32");
            for (row, predicted) in rows.iter().zip(predicted.chunks(batch.width() * classes)) {
                let (document, Window { tokens, core, .. }) = windows[*row];
                let from = encoder.offset() + core.start - tokens.start;
                probabilities[document][core.start * classes..core.end * classes]
                    .copy_from_slice(&predicted[from * classes..(from + core.len()) * classes]);
            }
            progress(batch.tokens());
        }
        probabilities
    }

    /// Scores of each label for one batch, `[batch, tokens, labels] f32`.
    pub fn logits(&self, batch: &Batch) -> Tensor {
        no_grad(|| self.model.forward(batch, self.kind, None))
    }
}
