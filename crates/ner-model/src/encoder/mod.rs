//! BERT-like encoders, and dropout and perturbations in training.

mod activation;
mod attend;
pub mod attention;
mod batch;
mod bert;
mod config;
mod deberta;
mod distances;
mod extras;
mod family;
mod fused;
mod gradient_checkpointing;
mod linear;
mod modern;
mod parameters;
mod tape;
mod terms;
mod training_pass;

pub use activation::Activation;
pub use batch::Batch;
pub use bert::Bert;

pub use config::BertConfig;
pub use extras::{DebertaConfig, Extras, ModernConfig};
pub use family::ModelType;
pub use fused::FusedLayers;
pub(crate) use linear::{LayerNorm, Linear};
pub(crate) use modern::PredictionHead;
pub use parameters::Parameters;
pub(crate) use parameters::{BIAS, LAYERS};
pub use training_pass::TrainingPass;
