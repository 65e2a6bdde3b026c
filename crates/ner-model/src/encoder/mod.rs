//! BERT-like encoders, and dropout and perturbations in training.

mod activation;
mod attend;
pub mod attention;
mod batch;
mod bert;
mod config;
mod family;
mod fused;
mod gradient_checkpointing;
mod parameters;
mod tape;
mod training_pass;

pub use activation::Activation;
pub use batch::Batch;
pub use bert::Bert;
pub use config::BertConfig;
pub use family::ModelType;
pub use fused::FusedLayers;
pub(crate) use parameters::BIAS;
pub use parameters::Parameters;
pub use training_pass::TrainingPass;
