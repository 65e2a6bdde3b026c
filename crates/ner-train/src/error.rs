use ner_model::ModelError;
use ner_text::caught;
use std::path::PathBuf;
use tch::Device;

/// Why training cannot start or continue.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    /// A value of the recipe is invalid.
    #[error("{0}")]
    Recipe(String),
    /// The loss or the gradient is infinite or not a number.
    #[error(
        "the {what} is {value} at step {step}, in a batch with documents {}; try a lower learning rate or --precision fp32, \
         and continue from the last epoch with --resume",
        documents.join(", ")
    )]
    NotFinite {
        /// `loss` or `gradient`.
        what: &'static str,
        /// Its value.
        value: f64,
        /// The step, from 1.
        step: usize,
        /// Ids of the documents in the batch.
        documents: Vec<String>,
    },
    /// The memory of the card is too small for a step.
    #[error(
        "the memory of the card is too small ({reason}): lower batch_tokens, now {batch_tokens}, and raise accumulate by the \
         same factor, or set gradient_checkpointing = true"
    )]
    CardMemory {
        /// What libtorch says.
        reason: String,
        /// The recipe's.
        batch_tokens: usize,
    },
    /// libtorch failed on the card.
    #[error("the computation on the card failed: {0}")]
    Card(String),
    /// The model failed.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// A saved state does not match the run that resumes from it.
    #[error("{}: {message}", path.display())]
    State {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        message: String,
    },
    /// A file cannot be read or written.
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

/// Runs `work`. A panic of libtorch on a card is an error, since the card's memory may be full; `batch_tokens` is the
/// recipe's.
pub(crate) fn on_card<T>(device: Device, batch_tokens: usize, work: impl FnOnce() -> T) -> Result<T, TrainError> {
    if !device.is_cuda() {
        return Ok(work());
    }
    caught(work).map_err(|reason| card_error(reason, batch_tokens))
}

fn card_error(reason: String, batch_tokens: usize) -> TrainError {
    if reason.contains("out of memory") {
        TrainError::CardMemory { reason, batch_tokens }
    } else {
        TrainError::Card(reason)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn full_memory_comes_with_what_to_do() {
        let torch =
            r#"called `Result::unwrap()` on an `Err` value: Torch("CUDA out of memory. Tried to allocate 2 GiB\nE")"#;
        let reason = caught(|| panic!("{torch}")).expect_err("a panic");
        let message = card_error(reason, 896).to_string();
        assert!(message.contains("Tried to allocate 2 GiB") && message.contains("batch_tokens, now 896"), "{message}");
        assert!(matches!(card_error("no kernel".into(), 896), TrainError::Card(_)));
        assert_eq!(on_card(Device::Cpu, 1, || 2).expect("no card"), 2);
    }
}
