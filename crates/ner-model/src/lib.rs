//! BERT encoders and their kin with a head that labels tokens or scores spans, on libtorch.
//!
//! A batch is plain vectors; tensors stay behind this crate's types. It knows nothing of corpora formats, of training
//! loops or of the network.

mod activation;
pub mod attention;
mod bert;
pub mod checkpoint;
mod classifier;
mod config;
mod crf_classifier;
mod device;
mod dropout;
mod error;
mod family;
mod gradient_checkpointing;
mod multilabel_classifier;
pub mod onednn;
mod parameters;
mod pretrained;
mod raw;
mod recognizer;
mod span_classifier;
mod tagger;
mod token_classifier;
mod unannotated;
mod words;
mod workers;

pub use activation::Activation;
pub use bert::{Batch, Bert};
pub use classifier::{Answers, Classifier, Head, LossOptions, Targets};
pub use config::BertConfig;
pub use crf_classifier::{Crf, CrfClassifier};
pub use device::{Precision, cpu_has_bf16, cuda_devices, find_device};
pub use dropout::Dropout;
pub use error::ModelError;
pub use family::ModelType;
pub use multilabel_classifier::{MultilabelClassifier, decisions};
pub use parameters::Parameters;
pub use pretrained::{
    KeptHead, Pretrained, Reading, load_classifier, load_encoder, load_further, load_parameters, save_classifier,
    save_parameters,
};
pub use recognizer::Recognizer;
pub use span_classifier::{SpanClassifier, found_spans, span_cross_entropy, span_divergence};
pub use tagger::Tagger;
pub use token_classifier::{IGNORE_INDEX, TokenClassifier, cross_entropy, divergence};
pub use unannotated::{Unannotated, hide_types, marginal_logits};
pub use words::RowWords;
pub use workers::Workers;

/// Release of libtorch that this crate is built against; torch-sys refuses to build with another.
pub const LIBTORCH_VERSION: &str = "2.11.0";
