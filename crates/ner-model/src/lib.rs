//! BERT encoders and their kin with a head that labels tokens or scores spans, on libtorch.
//!
//! A batch is plain vectors; tensors stay behind this crate's types. It knows nothing of corpora formats, of training
//! loops or of the network.

pub mod checkpoint;
pub mod device;
pub mod encoder;
mod error;
pub mod heads;
mod pretrained;
mod recognizer;
mod tagger;

pub use device::{
    Precision, Workers, cpu_has_bf16, cuda_devices, device_name, find_device, onednn, precision_name, tensor_slice,
};
pub use encoder::{Activation, Batch, Bert, BertConfig, ModelType, Parameters, TrainingPass, attention};
pub use error::ModelError;
pub use heads::{
    BatchOutput, Classifier, Crf, CrfClassifier, Head, IGNORE_INDEX, LossOptions, MultilabelClassifier, PartialLabels,
    RowWords, SpanClassifier, Targets, TokenClassifier, cross_entropy, decisions, divergence, found_spans, hide_types,
    marginal_logits, span_cross_entropy, span_divergence,
};
pub use pretrained::{
    InferenceConfig, KeptHead, Pretrained, load_classifier, load_encoder, load_further, load_parameters,
    save_classifier, save_parameters,
};
pub use recognizer::Recognizer;
pub use tagger::Tagger;

/// Release of libtorch that this crate is built against; torch-sys refuses to build with another.
pub const LIBTORCH_VERSION: &str = "2.11.0";
