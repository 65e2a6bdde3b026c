//! Masked-language models on disk, in transformers' layout (`AutoModelForMaskedLM`).

use crate::checkpoint::{self, modern_name};
use crate::{
    Activation, BertConfig, Head, MaskedLm, ModelError, Parameters, Pretrained, load_encoder, save_parameters,
};
use ner_document::{LabelSet, TagScheme};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};
use std::path::Path;
use tch::Tensor;

/// The head's names in the files of some families; in memory they have BERT's.
struct Names {
    families: &'static [&'static str],
    /// Name of each part in memory after [`MaskedLm::HEAD`], and in a file.
    parts: [(&'static str, &'static str); 3],
    /// Whether the activation is always GELU instead of the encoder's.
    gelu: bool,
}

const NAMES: [Names; 4] = [
    Names {
        families: &["bert"],
        parts: [
            ("bias", "cls.predictions.bias"),
            ("transform.dense", "cls.predictions.transform.dense"),
            ("transform.LayerNorm", "cls.predictions.transform.LayerNorm"),
        ],
        gelu: false,
    },
    Names {
        families: &["roberta", "xlm-roberta", "mpnet"],
        parts: [
            ("bias", "lm_head.bias"),
            ("transform.dense", "lm_head.dense"),
            ("transform.LayerNorm", "lm_head.layer_norm"),
        ],
        gelu: true,
    },
    Names {
        families: &["electra"],
        parts: [
            ("bias", "generator_lm_head.bias"),
            ("transform.dense", "generator_predictions.dense"),
            ("transform.LayerNorm", "generator_predictions.LayerNorm"),
        ],
        gelu: true,
    },
    Names {
        families: &["distilbert"],
        parts: [
            ("bias", "vocab_projector.bias"),
            ("transform.dense", "vocab_transform"),
            ("transform.LayerNorm", "vocab_layer_norm"),
        ],
        gelu: false,
    },
];

impl Names {
    /// Those of a kind of encoder, by its `model_type`.
    fn of(config: &BertConfig) -> Option<&'static Self> {
        let name = config.model_type.family().name;
        NAMES.iter().find(|names| names.families.contains(&name))
    }

    /// The name of a parameter in a file; of the encoder's parameters `None`.
    fn stored(&self, ours: &str) -> Option<String> {
        let bare = ours.strip_prefix(MaskedLm::HEAD)?;
        let (part, stored) = self.parts.iter().find(|(part, _)| bare.starts_with(part))?;
        Some(format!("{stored}{}", &bare[part.len()..]))
    }
}

impl MaskedLm {
    /// The activation of the head in this kind of encoder.
    pub fn activation(config: &BertConfig) -> Activation {
        match Names::of(config) {
            Some(names) if names.gelu => Activation::Gelu,
            _ => config.hidden_act,
        }
    }
}

/// Loads an encoder with the head of masked-language-model training, and whether that head is new: many checkpoints
/// (sentence-transformers, models with another head) have none. A new head is normal with BERT's standard deviation 0.02
/// and depends on `seed` alone; its biases are 0.
///
/// # Errors
/// If the encoder cannot be loaded, has untied output embeddings, or medner does not know the head of its kind.
pub fn load_masked_lm(config: &Path, weights: &Path, seed: u64) -> Result<(Pretrained, bool), ModelError> {
    // The head for labels is left out below.
    let labels = LabelSet::new(TagScheme::Io, ["any"]);
    let mut model = load_encoder(config, weights, &labels, Head::Token, seed)?;
    let fault = |message: String| ModelError::Weights { path: weights.into(), message };
    let names = Names::of(&model.config).ok_or_else(|| {
        let kind = model.config.model_type.family().name;
        fault(format!("medner cannot train {kind} as a masked-language model"))
    })?;
    if model.config_json["tie_word_embeddings"] == false {
        return Err(fault(
            "tie_word_embeddings is false; medner trains only models that share their embeddings".into(),
        ));
    }
    let file = checkpoint::read(weights)?;
    // A wrapper may have put a prefix before all names, and checkpoints of 2018 have other names in LayerNorm.
    let stored_as = |name: &str| {
        let is_it = |stored: &&str| {
            let modern = modern_name(stored);
            modern == name || modern.ends_with(&format!(".{name}"))
        };
        file.names().find(is_it).map(str::to_owned)
    };
    let shapes = MaskedLm::head_shapes(&model.config);
    let stored: Vec<Option<String>> =
        shapes.iter().map(|(name, _)| stored_as(&names.stored(name).unwrap_or_default())).collect();
    let is_new = stored.iter().any(Option::is_none);
    let mut tensors: Vec<(String, Tensor)> = model
        .parameters
        .iter()
        .filter(|(name, _)| !name.starts_with("classifier."))
        .map(|(name, tensor)| (name.to_owned(), tensor.shallow_clone()))
        .collect();
    let mut random = SmallRng::seed_from_u64(seed);
    for ((name, shape), stored) in shapes.into_iter().zip(&stored) {
        let data = stored.as_ref().filter(|_| !is_new).and_then(|stored| file.get(stored));
        let values = match data {
            Some(data) => {
                let found: Vec<i64> = data.shape.iter().map(|&extent| extent as i64).collect();
                let values = data.to_f32().filter(|_| found == shape);
                values.ok_or_else(|| fault(format!("{name} has shape {found:?}, but the model needs {shape:?}")))?
            }
            None => {
                let count = shape.iter().product::<i64>() as usize;
                // The sum of twelve uniform numbers is very nearly normal.
                let mut normal = || (0..12).map(|_| random.random::<f32>()).sum::<f32>() - 6.0;
                match shape.len() {
                    2 => (0..count).map(|_| 0.02 * normal()).collect(),
                    _ => vec![if name.ends_with("LayerNorm.weight") { 1.0 } else { 0.0 }; count],
                }
            }
        };
        tensors.push((name, Tensor::from_slice(&values).view(shape.as_slice())));
    }
    if !is_new {
        model.unexpected.retain(|name| !stored.iter().flatten().any(|known| known == name));
    }
    Ok((Pretrained { parameters: Parameters::new(tensors), ..model }, is_new))
}

/// Saves a masked-language model: `model.safetensors` and `config.json`. The caller saves the tokenizer. The tied output
/// embeddings are not stored twice.
///
/// Each file is replaced atomically.
///
/// # Errors
/// If a file cannot be written, or medner does not know the head of this kind of encoder.
pub fn save_masked_lm(
    folder: &Path,
    sizes: &BertConfig,
    config_json: &Value,
    parameters: &Parameters,
) -> Result<(), ModelError> {
    let path = folder.join("config.json");
    let fault = |message: String| ModelError::Config { path: path.clone(), message };
    let family = sizes.model_type.family();
    let names = Names::of(sizes).ok_or_else(|| fault(format!("{} has no known head", family.name)))?;
    let stored = |name: &str| names.stored(name).unwrap_or_else(|| family.stored_name(name));
    let named = parameters.iter().map(|(name, tensor)| (stored(name), tensor.shallow_clone())).collect();
    save_parameters(&folder.join("model.safetensors"), &Parameters::new(named))?;
    let mut config = config_json.clone();
    config["architectures"] = json!([format!("{}ForMaskedLM", family.class)]);
    config["model_type"] = json!(family.name);
    if let Some(config) = config.as_object_mut() {
        // Of another head, or of the published weights' kind; these are fp32.
        for key in ["torch_dtype", "id2label", "label2id", "medner"] {
            config.remove(key);
        }
        config.insert("dtype".into(), json!("float32"));
    }
    let text = serde_json::to_string_pretty(&config).map_err(|error| fault(error.to_string()))?;
    Ok(ner_files::write_bytes(&path, text.as_bytes())?)
}
