use crate::{TrainingRow, TrainingSet};
use ner_data::{Document, EncodedDocument, LabelSet, Misfit, Span, TextEncoder, align, piece_labels};
use ner_model::IGNORE_INDEX;

/// Makes the windows of `documents` into training rows; also gives the mentions that the tags cannot say, by document.
///
/// Each token carries its label in the one window whose core it stands in; elsewhere it is context.
pub fn training_set(
    encoder: &TextEncoder,
    documents: &[Document],
    encoded: &[EncodedDocument],
    labels: &LabelSet,
) -> (TrainingSet, Vec<Vec<Misfit>>) {
    let mut set = TrainingSet { mask_id: encoder.mask_id(), ..TrainingSet::default() };
    let mut misfits = Vec::with_capacity(documents.len());
    for (at, (document, encoded)) in documents.iter().zip(encoded).enumerate() {
        set.document_ids.push(document.id.clone());
        let words = encoded.words();
        let spans: Vec<Span> = words.iter().map(|word| word.span).collect();
        let alignment = align(&spans, &document.mentions, labels);
        let pieces = piece_labels(&words, &alignment, labels);
        for window in &encoded.windows {
            let input_ids = encoder.input_ids(encoded, window);
            let mut row = vec![IGNORE_INDEX; input_ids.len()];
            let first = encoder.offset() + window.core.start - window.tokens.start;
            for (slot, &label) in row[first..].iter_mut().zip(&pieces[window.core.clone()]) {
                *slot = label as i64;
            }
            set.rows.push(TrainingRow { input_ids, labels: row, document: at });
        }
        misfits.push(alignment.misfits);
    }
    (set, misfits)
}
