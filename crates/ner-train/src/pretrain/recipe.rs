use documented::DocumentedFields;
use ner_model::Precision;
use serde::{Deserialize, Serialize};

/// All settings of masked-language-model training, apart from its text, budget and machine.
///
/// Each field is a key of a `pretrain --config` file. Missing keys keep their defaults; an unknown key is an error.
#[derive(Clone, Debug, PartialEq, DocumentedFields, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PretrainRecipe {
    /// Seed for a new head's weights, the order of the text, masking and dropout.
    pub seed: u64,
    /// Length of a row in tokens, special tokens included. Every row is full.
    pub max_tokens: usize,
    /// Tokens in a batch. Large ones are faster, because each costs several passes over the embeddings' gradient.
    pub batch_tokens: usize,
    /// Batches per step (gradient accumulation).
    pub accumulate: usize,
    /// Share of a row's pieces that the model must predict (Devlin et al. 2019: 0.15). Of these, 80 % are replaced by
    /// the mask token, 10 % by a random piece, and 10 % stay.
    pub masking: f64,
    /// Choose whole words instead of single pieces.
    pub whole_words: bool,
    /// Peak learning rate.
    pub learning_rate: f64,
    /// Peak learning rate of the head; 0 uses that of the encoder. A head that starts random needs a higher one.
    pub head_learning_rate: f64,
    /// Steps over which the learning rate rises linearly from 0 to its peak, where it then stays.
    pub warmup_steps: usize,
    /// Share of the steps at the end over which the learning rate falls linearly to 0.
    pub decay: f64,
    /// Decoupled weight decay of all parameters but biases and LayerNorm.
    pub weight_decay: f64,
    /// Maximum global norm of the gradient; larger gradients are scaled down. 0 disables clipping.
    pub max_grad_norm: f64,
    /// Dropout on hidden states. Text that is read only once or twice needs none (Geiping and Goldstein 2023,
    /// "Cramming", section 4.3).
    pub dropout: f64,
    /// Dropout on attention weights.
    pub attention_dropout: f64,
    /// Gradient checkpointing: less memory for about a third more time.
    pub gradient_checkpointing: bool,
    /// Share of the documents that are held out to measure perplexity, chosen by a hash of their ids. 0 holds out none.
    pub held_out: f64,
    /// Steps between two measurements of perplexity; the model and the state to resume from are saved then, too.
    pub every: usize,
    /// Compute precision of the products.
    pub precision: Precision,
}

impl Default for PretrainRecipe {
    fn default() -> Self {
        Self {
            seed: 1,
            max_tokens: 128,
            batch_tokens: 8192,
            accumulate: 1,
            masking: 0.15,
            whole_words: false,
            learning_rate: 5e-4,
            head_learning_rate: 0.0,
            warmup_steps: 200,
            decay: 0.5,
            weight_decay: 0.01,
            max_grad_norm: 1.0,
            dropout: 0.0,
            attention_dropout: 0.0,
            gradient_checkpointing: false,
            held_out: 0.005,
            every: 500,
            precision: Precision::Auto,
        }
    }
}

impl PretrainRecipe {
    /// Checks all values.
    ///
    /// # Errors
    /// If a value is invalid; describes the first one.
    pub fn check(&self) -> Result<(), String> {
        let shares = [
            ("dropout", self.dropout),
            ("attention_dropout", self.attention_dropout),
            ("held_out", self.held_out),
            ("decay", self.decay),
        ];
        for (name, value) in shares {
            if !(0.0..1.0).contains(&value) {
                return Err(format!("{name} = {value}: it must be at least 0 and below 1"));
            }
        }
        if !(self.masking > 0.0 && self.masking < 1.0) {
            return Err(format!("masking = {}: it must be above 0 and below 1", self.masking));
        }
        let amounts = [
            ("weight_decay", self.weight_decay),
            ("max_grad_norm", self.max_grad_norm),
            ("head_learning_rate", self.head_learning_rate),
        ];
        for (name, value) in amounts {
            if !(value >= 0.0 && value.is_finite()) {
                return Err(format!("{name} = {value}: it must be at least 0"));
            }
        }
        if !(self.learning_rate > 0.0 && self.learning_rate.is_finite()) {
            return Err(format!("learning_rate = {}: it must be above 0", self.learning_rate));
        }
        let counts = [("accumulate", self.accumulate), ("every", self.every)];
        for (name, value) in counts {
            if value == 0 {
                return Err(format!("{name} = 0: it must be at least 1"));
            }
        }
        if self.batch_tokens < self.max_tokens {
            let (batch, row) = (self.batch_tokens, self.max_tokens);
            return Err(format!("batch_tokens = {batch}: it must be at least max_tokens = {row}, one row"));
        }
        Ok(())
    }

    /// Rows in a batch.
    pub const fn batch_rows(&self) -> usize {
        self.batch_tokens / self.max_tokens
    }

    /// Rows in a step.
    pub const fn step_rows(&self) -> usize {
        self.batch_rows() * self.accumulate
    }

    /// Learning rate of a step (from 0): linear warm-up, a plateau, and a linear decay to 0 before the end. Without a
    /// known end (`total`), the rate stays at its peak.
    pub fn learning_rate_at(&self, step: usize, total: Option<usize>) -> f64 {
        let rising = (step + 1) as f64 / self.warmup_steps.max(1) as f64;
        let falling = total.map_or(1.0, |total| {
            let decay = (self.decay * total as f64).max(1.0);
            total.saturating_sub(step) as f64 / decay
        });
        self.learning_rate * rising.min(falling).min(1.0)
    }

    /// A parameter's factor on the learning rate.
    pub fn rate_of(&self, name: &str) -> f64 {
        let is_head = name.starts_with("cls.") && self.head_learning_rate > 0.0;
        if is_head { self.head_learning_rate / self.learning_rate } else { 1.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_learning_rate_rises_stays_and_falls() {
        let recipe = PretrainRecipe { learning_rate: 1.0, warmup_steps: 10, decay: 0.5, ..PretrainRecipe::default() };
        let at = |step| recipe.learning_rate_at(step, Some(100));
        assert_eq!([at(0), at(9), at(50), at(75), at(99)], [0.1, 1.0, 1.0, 0.5, 0.02]);
        assert_eq!(recipe.learning_rate_at(5000, None), 1.0);
    }
}
