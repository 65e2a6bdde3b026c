//! BERT encoders with a token-classification head, on libtorch.
//!
//! A batch is plain vectors; tensors stay behind this crate's types. It knows nothing of corpora formats, of training
//! loops or of the network.

mod bert;
pub mod checkpoint;
mod config;
mod device;
mod dropout;
mod error;
mod parameters;
mod pretrained;
mod recognizer;
mod tagger;
mod token_classifier;

pub use bert::{Batch, Bert};
pub use config::{Activation, BertConfig};
pub use device::{Precision, cpu_has_bf16, cuda_devices, find_device};
pub use dropout::Dropout;
pub use error::ModelError;
pub use parameters::Parameters;
pub use pretrained::{
    Pretrained, Reading, load_encoder, load_parameters, load_token_classifier, save_parameters, save_token_classifier,
};
pub use recognizer::Recognizer;
pub use tagger::Tagger;
pub use token_classifier::{IGNORE_INDEX, TokenClassifier, cross_entropy, divergence};

/// Release of libtorch that this crate is built against; torch-sys refuses to build with another.
pub const LIBTORCH_VERSION: &str = "2.11.0";
