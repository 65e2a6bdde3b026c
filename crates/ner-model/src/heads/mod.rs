//! Classification heads, their losses and their outputs.

mod assertion;
mod classifier;
mod crf;
mod loss_options;
mod masked_lm;
mod multilabel;
mod partial_labels;
mod soft_labels;
mod span;
mod token;
mod words;

pub use assertion::AssertionHead;
pub use classifier::{BatchOutput, Classifier, Head, Targets};
pub use crf::{Crf, CrfClassifier};
pub use loss_options::LossOptions;
pub use masked_lm::{MaskedLm, MaskedTokens};
pub use multilabel::{MultilabelClassifier, decisions};
pub use partial_labels::{PartialLabels, hide_types, marginal_logits};
pub use soft_labels::SoftLabels;
pub(crate) use span::PRIOR;
pub use span::{SpanClassifier, found_spans, span_cross_entropy, span_divergence};
pub use token::{IGNORE_INDEX, TokenClassifier, cross_entropy, divergence};
pub use words::RowWords;
