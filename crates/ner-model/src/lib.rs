//! BERT-like encoders with heads that label tokens or score spans, on libtorch.
//!
//! A batch is plain vectors; tensors stay behind this crate's types. This crate does not depend on corpus formats,
//! training loops or the network.
//!
//! # Where things are
//! - [`encoder`]: `bert.rs` reads from top to bottom like the paper, and its parameters have BERT's names; `family.rs`
//!   holds the names and settings of related kinds, `distances.rs`, `modern.rs` and `deberta.rs` what MPNet, ModernBERT and
//!   DeBERTa compute differently. [`TrainingPass`] adds dropout and adversarial
//!   perturbations; `gradient_checkpointing.rs` recomputes layers instead of keeping their states. [`attention`] runs
//!   on rows without padding with special CPU instructions; `fused/` computes whole layers in int8 and fp32.
//! - [`heads`]: one file for each head and its loss. `classifier.rs` alone lists all heads; `words.rs` turns pieces
//!   into words; `partial_labels.rs` keeps types that a corpus does not annotate out of the loss.
//! - [`device`]: devices and precision, the CPU's instructions ([`Cpu`]), parallel threads on the CPU ([`Workers`]), faster operations of oneDNN
//!   ([`onednn`]), and tensors as slices ([`tensor_slice`]).
//! - [`checkpoint`]: reads and writes weights files as data, without libtorch.
//! - `pretrained.rs`: model folders in the hub's layout, and `masked_lm_files.rs` those of masked-language models; `tagger.rs`: prediction over whole documents; `recognizer.rs`:
//!   a model with its tokenizer; `assertion.rs`: the same for a model that says which value given mentions have;
//!   `names.rs`: vectors of names.

mod assertion;
pub mod checkpoint;
pub mod device;
pub mod encoder;
mod error;
pub mod heads;
mod masked_lm_files;
mod names;
mod pretrained;
mod recognizer;
mod tagger;

pub use assertion::AssertionClassifier;
pub use device::{
    CPU_VARIABLE, Cpu, MOST_THREADS, Precision, ThreadSource, Workers, caught_on_device, cpu_has_bf16, cuda,
    cuda_devices, device_name, find_device, onednn, precision_name, set_threads, tensor_slice,
};
pub use encoder::{
    Activation, Batch, Bert, BertConfig, DebertaConfig, Extras, FusedLayers, ModelType, ModernConfig, Parameters,
    TrainingPass, attention,
};
pub use error::ModelError;
pub use heads::{
    AssertionHead, BatchOutput, Classifier, Crf, CrfClassifier, Head, IGNORE_INDEX, LossOptions, MaskedLm,
    MaskedTokens, MultilabelClassifier, PartialLabels, RowWords, SoftLabels, SpanClassifier, Targets, TokenClassifier,
    cross_entropy, decisions, divergence, found_spans, hide_types, marginal_logits, span_cross_entropy,
    span_divergence,
};
pub use masked_lm_files::{load_masked_lm, save_masked_lm};
pub use names::{NameEncoder, load_name_encoder, name_vectors, rows_of_names};
pub use pretrained::{
    InferenceConfig, KeptHead, Pretrained, load_classifier, load_encoder, load_further, load_parameters, new_head_for,
    save_classifier, save_encoder, save_parameters,
};
pub use recognizer::Recognizer;
pub use tagger::{Progress, Tagger};

/// The libtorch release that this crate is built against; torch-sys refuses to build with another.
pub const LIBTORCH_VERSION: &str = "2.11.0";

/// Seeds libtorch's generator. All threads share it, so they take turns: each keeps the guard until it has drawn, and gets
/// the same numbers in every run.
fn seeded(seed: i64) -> std::sync::MutexGuard<'static, ()> {
    static TURN: std::sync::Mutex<()> = std::sync::Mutex::new(());
    let turn = TURN.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    tch::manual_seed(seed);
    turn
}
