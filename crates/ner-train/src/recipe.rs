use documented::DocumentedFields;
use ner_document::TagScheme;
use ner_model::{Head, LossOptions, Precision};
use ner_text::{Aggregation, WindowSize};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Name of a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HeadName {
    /// [`Head::Token`].
    Token,
    /// [`Head::Span`].
    Span,
    /// [`Head::Crf`].
    Crf,
    /// [`Head::Multilabel`].
    Multilabel,
    /// [`Head::Assertion`].
    Assertion,
}

impl std::fmt::Display for HeadName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::Token => "token",
            Self::Span => "span",
            Self::Crf => "crf",
            Self::Multilabel => "multilabel",
            Self::Assertion => "assertion",
        })
    }
}

impl std::str::FromStr for HeadName {
    type Err = serde::de::value::Error;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::deserialize(serde::de::value::StrDeserializer::new(name))
    }
}

/// All settings of training, apart from its data and machine.
///
/// Each field is a key of a `--config` file. Missing keys keep their defaults; an unknown key is an error.
#[derive(Clone, Debug, PartialEq, DocumentedFields, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Recipe {
    /// Seed for the head's weights, the order of batches, dropout and masking.
    pub seed: u64,
    /// Passes over the training data.
    pub epochs: usize,
    /// Stop after this many epochs without a better dev F1; 0 disables early stopping.
    pub patience: usize,
    /// Peak learning rate.
    pub learning_rate: f64,
    /// Peak learning rate of the head, whose weights start random; 0 uses that of the encoder.
    pub head_learning_rate: f64,
    /// Layer-wise learning-rate decay: each layer's rate is this share of the rate of the layer above (Howard and Ruder
    /// 2018). 1 disables it.
    pub layer_decay: f64,
    /// Weight of the divergence between two passes of each row with different dropout (R-Drop, Liang et al. 2021). 0
    /// disables it and halves the time.
    pub r_drop: f64,
    /// Share of steps over which the learning rate rises linearly from 0 to its peak; then it falls linearly to 0.
    pub warmup: f64,
    /// Decoupled weight decay of all parameters but biases and LayerNorm.
    pub weight_decay: f64,
    /// Maximum global norm of the gradient; larger gradients are scaled down. 0 disables clipping.
    pub max_grad_norm: f64,
    /// Maximum number of tokens in a batch, padding included.
    pub batch_tokens: usize,
    /// Batches per step (gradient accumulation).
    pub accumulate: usize,
    /// Dropout on hidden states.
    pub dropout: f64,
    /// Dropout on attention weights; takes about half as much time again.
    pub attention_dropout: f64,
    /// Share of input tokens replaced by the mask token during training.
    pub token_masking: f64,
    /// Label smoothing: the share of the target spread over all labels.
    pub label_smoothing: f64,
    /// Focal-loss exponent γ: each term is scaled by (1 − p)^γ (Lin et al. 2017). 0 disables it. Not for the head
    /// `crf`, whose decision is a whole sequence.
    pub focal: f64,
    /// Loss weight by type name, and of the outside class (`O`); 1 by default. They trade precision for recall (King
    /// and Zeng 2001, "Logistic regression in rare events data", section 4.2). Not for the head `crf`.
    pub class_weights: BTreeMap<String, f64>,
    /// Adversarial training: also train on word embeddings moved by a step of this length in the direction that
    /// increases the loss most (Miyato et al. 2017, "Adversarial training methods for semi-supervised text
    /// classification", equation 5). Applies to frozen embeddings, too. 0 disables it; otherwise training takes twice
    /// the time.
    pub adversarial: f64,
    /// Gradient checkpointing: keep only each layer's input and recompute the rest for the gradients (Chen et al. 2016,
    /// "Training deep nets with sublinear memory cost"). Less memory for about a third more time.
    pub gradient_checkpointing: bool,
    /// Decay of the exponential moving average of the weights, which is evaluated and saved. 0 disables it.
    pub ema_decay: f64,
    /// Batches of auxiliary corpora (`--auxiliary`) for each batch of the corpus, in proportion to their sizes.
    pub auxiliary_batches: f64,
    /// Batches of unlabelled text (`--unlabelled`) for each batch of the corpus.
    pub unlabelled_batches: f64,
    /// With a teacher (`--teacher`), the share of its probabilities in the loss of labelled documents; the rest is that of
    /// their labels (Hinton et al. 2015, "Distilling the knowledge in a neural network").
    pub distillation: f64,
    /// Temperature of the probabilities of teacher and student: above 1, small ones count more. Not for the head `crf`.
    pub temperature: f64,
    /// Keep the pretrained embeddings fixed, so that words missing from the training data stay close to similar words.
    pub freeze_embeddings: bool,
    /// Number of lowest encoder layers to keep fixed (Lee et al. 2019, "What would Elsa do? Freezing layers during
    /// transformer fine-tuning").
    pub freeze_layers: usize,
    /// Choose a threshold for each type on dev: how much more confident than of no mention a model must be. It becomes
    /// part of the model.
    pub thresholds: bool,
    /// Classification head. `token` labels tokens; `crf` finds the best label sequence of words; `multilabel` labels
    /// words for each type separately, so that mentions of different types may overlap; `span` scores every run of
    /// words, so that mentions may nest. `assertion` is the head of `--task assertion`, and of no other task.
    pub head: HeadName,
    /// Tag scheme of the heads `token`, `crf` and `multilabel`: `io`, `bio` or `bioes`.
    pub tag_scheme: TagScheme,
    /// Whether the head `token` decodes the most probable sequence that the scheme allows. (`crf` and `multilabel`
    /// always do.)
    pub constrained: bool,
    /// Longest mention of the head `span`, in words.
    pub longest_span: usize,
    /// Whether mentions of the heads `span` and `multilabel` may overlap.
    pub overlaps: bool,
    /// Boundary smoothing: the share of a mention's target that the head `span` moves to spans with one boundary one
    /// word off (Zhu and Li 2022).
    pub boundary_smoothing: f64,
    /// Longest row in tokens, special tokens included: a window at prediction, a crop in training.
    pub max_tokens: usize,
    /// Tokens shared by neighbouring windows at prediction, if a sentence is longer than a window.
    pub overlap: usize,
    /// Window size at prediction in tokens: a window holds as many whole sentences as fit, and at least one. From
    /// `max_tokens` on, windows hold whole documents.
    pub window: usize,
    /// Shortest crop in training: a row holds as many whole sentences as fit into a random number of pieces, and at
    /// least one. This is the minimum of that number.
    pub shortest_crop: usize,
    /// Longest crop in training: the maximum of that number.
    pub longest_crop: usize,
    /// Compute precision of the encoder.
    pub precision: Precision,
}

impl Default for Recipe {
    fn default() -> Self {
        Self {
            seed: 1,
            epochs: 8,
            patience: 0,
            learning_rate: 3e-4,
            head_learning_rate: 0.0,
            layer_decay: 1.0,
            r_drop: 1.0,
            warmup: 0.1,
            weight_decay: 0.01,
            max_grad_norm: 1.0,
            batch_tokens: 896,
            accumulate: 1,
            dropout: 0.15,
            attention_dropout: 0.0,
            token_masking: 0.15,
            label_smoothing: 0.0,
            focal: 0.0,
            class_weights: BTreeMap::new(),
            adversarial: 0.0,
            gradient_checkpointing: false,
            ema_decay: 0.998,
            auxiliary_batches: 1.0,
            unlabelled_batches: 1.0,
            distillation: 0.5,
            temperature: 1.0,
            freeze_embeddings: true,
            freeze_layers: 0,
            thresholds: true,
            head: HeadName::Span,
            tag_scheme: TagScheme::Bio,
            constrained: false,
            longest_span: 24,
            overlaps: false,
            boundary_smoothing: 0.0,
            max_tokens: 512,
            overlap: 128,
            window: 1,
            shortest_crop: 1,
            longest_crop: 1,
            precision: Precision::Auto,
        }
    }
}

impl Recipe {
    /// Checks all values.
    ///
    /// # Errors
    /// If a value is invalid; describes the first one.
    pub fn check(&self) -> Result<(), String> {
        let shares = [
            ("warmup", self.warmup),
            ("dropout", self.dropout),
            ("attention_dropout", self.attention_dropout),
            ("token_masking", self.token_masking),
            ("label_smoothing", self.label_smoothing),
            ("boundary_smoothing", self.boundary_smoothing),
            ("ema_decay", self.ema_decay),
        ];
        for (name, value) in shares {
            if !(0.0..1.0).contains(&value) {
                return Err(format!("{name} = {value}: it must be at least 0 and below 1"));
            }
        }
        let amounts = [
            ("weight_decay", self.weight_decay),
            ("max_grad_norm", self.max_grad_norm),
            ("r_drop", self.r_drop),
            ("head_learning_rate", self.head_learning_rate),
            ("focal", self.focal),
            ("adversarial", self.adversarial),
            ("auxiliary_batches", self.auxiliary_batches),
            ("unlabelled_batches", self.unlabelled_batches),
        ];
        for (name, value) in amounts {
            if !(value >= 0.0 && value.is_finite()) {
                return Err(format!("{name} = {value}: it must be at least 0"));
            }
        }
        if !(self.layer_decay > 0.0 && self.layer_decay <= 1.0) {
            return Err(format!("layer_decay = {}: it must be above 0 and at most 1", self.layer_decay));
        }
        if !(0.0..=1.0).contains(&self.distillation) {
            return Err(format!("distillation = {}: it must be from 0 to 1", self.distillation));
        }
        if !(self.temperature > 0.0 && self.temperature.is_finite()) {
            return Err(format!("temperature = {}: it must be above 0", self.temperature));
        }
        if !(self.learning_rate > 0.0 && self.learning_rate.is_finite()) {
            return Err(format!("learning_rate = {}: it must be above 0", self.learning_rate));
        }
        let counts = [
            ("epochs", self.epochs),
            ("batch_tokens", self.batch_tokens),
            ("accumulate", self.accumulate),
            ("shortest_crop", self.shortest_crop),
            ("longest_span", self.longest_span),
        ];
        for (name, value) in counts {
            if value == 0 {
                return Err(format!("{name} = 0: it must be at least 1"));
            }
        }
        if self.shortest_crop > self.longest_crop {
            return Err("shortest_crop must be at most longest_crop".into());
        }
        if let Some((name, weight)) =
            self.class_weights.iter().find(|(_, weight)| !(**weight > 0.0 && weight.is_finite()))
        {
            return Err(format!("class_weights: {name} = {weight}: it must be above 0"));
        }
        if self.freeze_layers > 0 && !self.freeze_embeddings {
            return Err(
                "freeze_layers: the embeddings below frozen layers must be frozen, too; set freeze_embeddings = true"
                    .into(),
            );
        }
        self.check_head()
    }

    /// Refuses options that the head does not have.
    fn check_head(&self) -> Result<(), String> {
        use HeadName::{Assertion, Crf, Multilabel, Span, Token};
        // `overlaps` is not here: it is only a permission, and descriptions of corpora set it.
        let options: [(&str, bool, &[HeadName]); 8] = [
            ("tag_scheme", self.tag_scheme != TagScheme::Bio, &[Token, Crf, Multilabel]),
            ("constrained", self.constrained, &[Token]),
            ("label_smoothing", self.label_smoothing > 0.0, &[Token, Multilabel, Assertion]),
            ("boundary_smoothing", self.boundary_smoothing > 0.0, &[Span]),
            ("focal", self.focal > 0.0, &[Token, Multilabel, Span, Assertion]),
            ("class_weights", !self.class_weights.is_empty(), &[Token, Multilabel, Span, Assertion]),
            ("temperature", self.temperature != 1.0, &[Token, Multilabel, Span]),
            ("thresholds", self.thresholds, &[Token, Crf, Multilabel, Span]),
        ];
        match options.into_iter().find(|(_, asked, heads)| *asked && !heads.contains(&self.head)) {
            Some((name, _, heads)) => {
                let heads: Vec<String> = heads.iter().map(HeadName::to_string).collect();
                Err(format!("{name} does not apply to the head `{}`, only to {}", self.head, heads.join(", ")))
            }
            None => Ok(()),
        }
    }

    /// A parameter's factor on the learning rate, in an encoder with `layers` layers.
    pub fn rate_of(&self, name: &str, layers: i64) -> f64 {
        if name.starts_with("classifier.") && self.head_learning_rate > 0.0 {
            return self.head_learning_rate / self.learning_rate;
        }
        let below = match layer_of(name) {
            Some(layer) => layers - 1 - layer,
            None if name.contains("embeddings") => layers,
            None => 0,
        };
        self.layer_decay.powi(below as i32)
    }

    /// Whether a parameter is trained.
    pub fn trains(&self, name: &str) -> bool {
        let frozen = match layer_of(name) {
            Some(layer) => layer < self.freeze_layers as i64,
            None => self.freeze_embeddings && name.contains("embeddings."),
        };
        !frozen
    }

    /// The head.
    pub const fn head(&self) -> Head {
        match self.head {
            HeadName::Token => Head::Token,
            HeadName::Span => Head::Span { longest: self.longest_span },
            HeadName::Crf => Head::Crf { scheme: self.tag_scheme },
            HeadName::Multilabel => Head::Multilabel { scheme: self.tag_scheme },
            HeadName::Assertion => Head::Assertion,
        }
    }

    /// How token labels become mentions.
    pub const fn aggregation(&self) -> Aggregation {
        if self.constrained { Aggregation::Constrained } else { Aggregation::Together }
    }

    /// The loss options for these types.
    ///
    /// # Errors
    /// If a class weight names an unknown type.
    pub fn loss_options(&self, types: &[String]) -> Result<LossOptions, String> {
        let classes = || [OUTSIDE].into_iter().chain(types.iter().map(String::as_str));
        if let Some(unknown) = self.class_weights.keys().find(|name| classes().all(|known| known != name.as_str())) {
            let known: Vec<&str> = classes().collect();
            return Err(format!("class_weights: unknown type `{unknown}`; known: {}", known.join(", ")));
        }
        let weight = |name: &str| self.class_weights.get(name).copied().unwrap_or(1.0);
        Ok(LossOptions {
            label_smoothing: self.label_smoothing,
            boundary_smoothing: self.boundary_smoothing,
            focal: self.focal,
            class_weights: if self.class_weights.is_empty() { Vec::new() } else { classes().map(weight).collect() },
            r_drop: self.r_drop,
            distillation: self.distillation,
            temperature: self.temperature,
        })
    }

    /// Windows at prediction.
    pub const fn window_size(&self) -> WindowSize {
        WindowSize { max_tokens: self.max_tokens, overlap: self.overlap, packed: self.window }
    }

    /// Learning rate of a step (from 0) out of `total`: linear warm-up, then linear decay to 0.
    pub fn learning_rate_at(&self, step: usize, total: usize) -> f64 {
        let (step, total) = (step as f64, total.max(1) as f64);
        let rising = self.warmup * total;
        let share = if step < rising { (step + 1.0) / rising.max(1.0) } else { (total - step) / (total - rising) };
        self.learning_rate * share.clamp(0.0, 1.0)
    }
}

/// Name of the outside class in the class weights.
const OUTSIDE: &str = "O";

/// Index of the encoder layer of a parameter.
fn layer_of(name: &str) -> Option<i64> {
    name.split_once("encoder.layer.")?.1.split('.').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_learning_rate_rises_and_falls() {
        let recipe = Recipe { learning_rate: 1.0, warmup: 0.1, ..Recipe::default() };
        let rates: Vec<f64> = (0..100).map(|step| recipe.learning_rate_at(step, 100)).collect();
        assert!((rates[0] - 0.1).abs() < 1e-12 && (rates[9] - 1.0).abs() < 1e-12 && (rates[10] - 1.0).abs() < 1e-12);
        assert!(rates[10..].windows(2).all(|pair| pair[0] > pair[1]));
        assert!((rates[99] - 1.0 / 90.0).abs() < 1e-12);
    }

    #[test]
    fn lower_layers_learn_more_slowly() {
        let recipe = Recipe { layer_decay: 0.5, ..Recipe::default() };
        let check = |name: &str, rate: f64| assert_eq!(recipe.rate_of(name, 6), rate, "{name}");
        check("classifier.weight", 1.0);
        check("bert.encoder.layer.5.output.dense.weight", 1.0);
        check("bert.encoder.layer.3.output.dense.weight", 0.25);
        check("bert.embeddings.word_embeddings.weight", 0.5f64.powi(6));
        assert_eq!(Recipe::default().rate_of("bert.encoder.layer.0.output.dense.bias", 6), 1.0);
        let recipe = Recipe { learning_rate: 1e-4, head_learning_rate: 1e-3, ..recipe };
        assert!((recipe.rate_of("classifier.transitions", 6) - 10.0).abs() < 1e-9);
        assert_eq!(recipe.rate_of("bert.encoder.layer.3.output.dense.weight", 6), 0.25);
    }

    #[test]
    fn frozen_layers_are_the_lowest() {
        let recipe = Recipe { freeze_layers: 2, ..Recipe::default() };
        let trained = |name: &str| recipe.trains(name);
        assert!(!trained("bert.embeddings.LayerNorm.weight") && !trained("bert.encoder.layer.1.output.dense.bias"));
        assert!(trained("bert.encoder.layer.2.output.dense.bias") && trained("classifier.bias"));
    }

    #[test]
    fn options_that_a_head_cannot_take_are_refused() {
        use HeadName::{Crf, Multilabel, Span, Token};
        let check = |recipe: Recipe, heads: &[HeadName], name: &str| {
            for head in [Token, Crf, Multilabel, Span] {
                match (Recipe { head, ..recipe.clone() }).check() {
                    Ok(()) => assert!(heads.contains(&head), "{name} of {head}"),
                    Err(message) => assert!(!heads.contains(&head) && message.starts_with(name), "{message}"),
                }
            }
        };
        let weights = BTreeMap::from([("X".to_owned(), 2.0)]);
        check(Recipe::default(), &[Token, Crf, Multilabel, Span], "");
        check(Recipe { tag_scheme: TagScheme::Bioes, ..Recipe::default() }, &[Token, Crf, Multilabel], "tag_scheme");
        check(Recipe { constrained: true, ..Recipe::default() }, &[Token], "constrained");
        check(Recipe { overlaps: true, ..Recipe::default() }, &[Token, Crf, Multilabel, Span], "");
        check(Recipe { label_smoothing: 0.1, ..Recipe::default() }, &[Token, Multilabel], "label_smoothing");
        check(Recipe { boundary_smoothing: 0.1, ..Recipe::default() }, &[Span], "boundary_smoothing");
        check(Recipe { focal: 2.0, ..Recipe::default() }, &[Token, Multilabel, Span], "focal");
        let weighted = Recipe { class_weights: weights, ..Recipe::default() };
        check(weighted.clone(), &[Token, Multilabel, Span], "class_weights");
        let options = weighted.loss_options(&["X".into(), "Y".into()]).unwrap();
        assert_eq!(options.class_weights, [1.0, 2.0, 1.0]);
        assert!(weighted.loss_options(&["Y".into()]).unwrap_err().contains("unknown type `X`; known: O, Y"));
    }
}
