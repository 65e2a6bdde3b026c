//! Models on disk in the Hugging Face hub's layout: `config.json`, `model.safetensors`, `tokenizer.json`.

use crate::checkpoint::{self, Dtype, TensorData, write_safetensors};
use crate::encoder::{BIAS, LAYERS, PredictionHead};
use crate::heads::PRIOR;
use crate::{BertConfig, Classifier, Head, ModelError, ModelType, Parameters};
use ner_document::{ForeignLabels, LabelMap, LabelSet, TagScheme};
use ner_text::{Aggregation, DecodeOptions, DocumentTokenizer, WindowSize};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::path::{Path, PathBuf};
use tch::{Device, Kind, Tensor};
use tracing::warn;

/// Buffers in old checkpoints that models do not need.
const BUFFERS: [&str; 2] = ["bert.embeddings.position_ids", "bert.embeddings.token_type_ids"];

/// Standard deviation of new weights, as in BERT.
const INITIALIZER_RANGE: f64 = 0.02;

/// A model's configuration and weights, on the CPU in fp32.
#[derive(Debug)]
pub struct Pretrained {
    /// The model's sizes.
    pub config: BertConfig,
    /// The whole `config.json`, for saving.
    pub config_json: Value,
    /// All parameters, including the head's.
    pub parameters: Parameters,
    /// Tensors of the file that the model does not use (a pooler, another task's head).
    pub unexpected: Vec<String>,
}

/// Loads an encoder and adds a new head for `labels`.
///
/// The head's weights are normal with standard deviation 0.02 and depend on `seed` alone. Its biases are 0, except for
/// the heads that score spans or decide for each type by itself: there they start at the most common answer.
///
/// # Errors
/// If a file cannot be read, describes an unsupported encoder, or lacks one of the encoder's weights.
pub fn load_encoder(
    config: &Path,
    weights: &Path,
    labels: &LabelSet,
    head: Head,
    seed: u64,
) -> Result<Pretrained, ModelError> {
    load(config, weights, head.outputs(labels), head, Some(seed))
}

/// A new head alone, as [`load_encoder`] adds it: the parameters whose names start with `classifier.`.
pub fn new_head_for(config: &BertConfig, labels: &LabelSet, head: Head, seed: u64) -> Parameters {
    let shapes = Classifier::shapes(config, head.outputs(labels), head).into_iter();
    let own = shapes.filter(|(name, _)| is_head(name)).map(|(name, shape)| {
        let tensor = new_head(&name, &shape, head, seed);
        (name, tensor)
    });
    Parameters::new(own.collect())
}

impl Pretrained {
    /// The model with `count` of its layers: the first, the last, and evenly spaced ones between them.
    ///
    /// Source: Sanh et al. (2019), "DistilBERT", section 3, which takes every other layer of the teacher.
    ///
    /// # Errors
    /// If it does not have as many layers; the message says how many it has.
    pub fn with_layers(mut self, count: usize) -> Result<Self, String> {
        let all = self.config.num_hidden_layers as usize;
        if count == 0 || count > all {
            return Err(format!("the encoder has {all} layers, so it cannot have {count}"));
        }
        let step = (all - 1) as f64 / (count.max(2) - 1) as f64;
        let kept: Vec<usize> = (0..count).map(|at| (at as f64 * step).round() as usize).collect();
        let renumbered = |(name, tensor): (&str, &Tensor)| {
            let tensor = tensor.shallow_clone();
            let Some((number, part)) = name.strip_prefix(LAYERS).and_then(|rest| rest.split_once('.')) else {
                return Some((name.to_owned(), tensor));
            };
            let at = kept.iter().position(|layer| number.parse() == Ok(*layer))?;
            Some((format!("{LAYERS}{at}.{part}"), tensor))
        };
        self.parameters = Parameters::new(self.parameters.iter().filter_map(renumbered).collect());
        self.config.num_hidden_layers = count as i64;
        let key = self.config.model_type.family().stored_key("num_hidden_layers");
        self.config_json[key] = json!(count);
        Ok(self)
    }
}

/// Which parts of a trained head were kept in a new one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptHead {
    /// Labels (of a head that labels tokens) or types with kept weights.
    pub kept: Vec<String>,
    /// Labels or types with new weights.
    pub fresh: Vec<String>,
    /// Labels or types of the trained model that the new one lacks.
    pub left: Vec<String>,
    /// Whether the heads differ in kind, so that no weights were kept. For heads with weights between labels, also if
    /// the labels differ.
    pub other_kind: bool,
}

/// Loads a trained model for further training on `labels`, which may differ from its own: the encoder, and a head in
/// which shared labels keep their weights and the others start as in [`load_encoder`]. Thresholds chosen on dev before
/// stay in the bias.
///
/// # Errors
/// Same as [`load_classifier`].
pub fn load_further(
    folder: &Path,
    labels: &LabelSet,
    head: Head,
    seed: u64,
) -> Result<(Pretrained, KeptHead), ModelError> {
    let (old, old_labels, inference) = load_classifier(folder)?;
    let names = |labels: &LabelSet| match head {
        Head::Token | Head::Crf { .. } | Head::Multilabel { .. } => labels.names(),
        Head::Span { .. } | Head::Assertion => labels.types.clone(),
    };
    let (new_names, old_names) = (names(labels), names(&old_labels));
    // Weights between labels, and rows of several labels, are kept all together or not at all.
    let whole = matches!(head, Head::Crf { .. } | Head::Multilabel { .. });
    let same_kind =
        std::mem::discriminant(&head) == std::mem::discriminant(&inference.head) && (!whole || new_names == old_names);
    let place = |name: &String| old_names.iter().position(|known| known == name).filter(|_| same_kind);
    let places: Vec<Option<usize>> = new_names.iter().map(place).collect();
    let mut parameters = Vec::new();
    for (name, shape) in Classifier::shapes(&old.config, head.outputs(labels), head) {
        let is_new = is_head(&name) || name.starts_with(PredictionHead::PREFIX) && old.parameters.get(&name).is_err();
        let tensor = if is_new { new_head(&name, &shape, head, seed) } else { old.parameters.get(&name)? };
        if is_head(&name) && same_kind && whole {
            tensor.shallow_clone().copy_(&old.parameters.get(&name)?);
        } else if is_head(&name) && same_kind {
            copy_rows(&name, &tensor, &old.parameters.get(&name)?, &places, old_names.len());
        }
        parameters.push((name, tensor));
    }
    let with = |is_kept: bool| {
        let pairs = new_names.iter().zip(&places).filter(|(_, place)| place.is_some() == is_kept);
        pairs.map(|(name, _)| name.clone()).collect()
    };
    let kept = KeptHead {
        kept: with(true),
        fresh: with(false),
        left: old_names.iter().filter(|name| !new_names.contains(name)).cloned().collect(),
        other_kind: !same_kind,
    };
    Ok((Pretrained { parameters: Parameters::new(parameters), ..old }, kept))
}

/// Copies a head's rows for the labels at `places` from the `old` tensor, which has `labels` labels, into the `new`
/// one. A label's rows are one block, or three in a head that scores spans: one in each of its three parts. If the
/// longest spans differ, only the common lengths are copied.
fn copy_rows(name: &str, new: &Tensor, old: &Tensor, places: &[Option<usize>], labels: usize) {
    let groups = if name == "classifier.parts.weight" { 3 } else { 1 };
    let new = new.view([groups, places.len() as i64, -1]);
    let old = old.view([groups, labels as i64, -1]);
    let width = new.size()[2].min(old.size()[2]);
    for (to, from) in places.iter().enumerate() {
        if let Some(from) = from {
            let row = |tensor: &Tensor, at: usize| tensor.select(1, at as i64).narrow(1, 0, width);
            row(&new, to).copy_(&row(&old, *from));
        }
    }
}

/// Loads a trained classifier from its folder, with its labels and its inference settings: a run's `model`, or any
/// folder with a token-classification head in the hub's layout. The rows of such a head are sorted into our label
/// order; a label that the model lacks gets probability 0.
///
/// # Errors
/// If a file cannot be read, the labels have no names, or a weight is missing.
pub fn load_classifier(folder: &Path) -> Result<(Pretrained, LabelSet, InferenceConfig), ModelError> {
    load_rows(folder, false)
}

/// The same for prediction: a head that labels tokens has further rows after ours, for the file's other labels that mean
/// outside ([`ForeignLabels::outside`]). [`Tagger`](crate::Tagger) takes the likeliest of them.
pub(crate) fn load_for_prediction(folder: &Path) -> Result<(Pretrained, LabelSet, InferenceConfig), ModelError> {
    load_rows(folder, true)
}

fn load_rows(folder: &Path, with_outside: bool) -> Result<(Pretrained, LabelSet, InferenceConfig), ModelError> {
    let path = folder.join("config.json");
    let text = text_of(&path)?;
    let inference = InferenceConfig::of(&text, &path)?;
    let ForeignLabels { labels, places, outside, notes } = labels_of(&text, &path, inference.head)?;
    notes.iter().for_each(|note| warn!("{}: {note}", path.display()));
    let weights = weights_of(folder)?;
    let outputs = match inference.head {
        Head::Token => places.iter().flatten().count() + outside.len(),
        head => head.outputs(&labels),
    };
    let mut model = load(&path, &weights, outputs, inference.head, None)?;
    check_unused(&model, &weights)?;
    let rows: Vec<Option<usize>> =
        places.into_iter().chain(outside.into_iter().filter(|_| with_outside).map(Some)).collect();
    if inference.head == Head::Token && !rows.iter().copied().eq((0..outputs).map(Some)) {
        model.parameters = in_order_of(&model.parameters, &rows)?;
    }
    Ok((model, labels, inference))
}

fn text_of(path: &Path) -> Result<String, ModelError> {
    ner_files::read_text(path).map_err(|error| ModelError::Config { path: path.into(), message: error.to_string() })
}

/// Names of weights files, in order of preference.
const WEIGHTS: [&str; 4] =
    ["model.safetensors", "model.safetensors.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json"];

/// Starts or ends of names in folders without weights that we read, and what to do about them.
const OTHER_WEIGHTS: [(&str, &str); 8] = [
    ("adapter_config.json", "an adapter; merge it into its model and save the whole"),
    (".onnx", "only ONNX; use the safetensors file that it was made from"),
    ("onnx", "only ONNX; use the safetensors file that it was made from"),
    ("tf_model.h5", "only TensorFlow's; convert them with transformers"),
    ("flax_model.msgpack", "only Flax's; convert them with transformers"),
    (".gguf", "only GGUF; use the safetensors file that they were made from"),
    ("model.ckpt", "only TensorFlow's; convert them with transformers"),
    ("checkpoint-", "name one of its checkpoints"),
];

/// The weights file of a folder.
pub(crate) fn weights_of(folder: &Path) -> Result<PathBuf, ModelError> {
    // A pipe or a folder of this name is an error when it is opened, not a reason to take another file.
    if let Some(weights) = WEIGHTS.map(|name| folder.join(name)).into_iter().find(|path| path.exists()) {
        return Ok(weights);
    }
    let names =
        fs_err::read_dir(folder)?.filter_map(|entry| Some(entry.ok()?.file_name().to_string_lossy().into_owned()));
    let mut names: Vec<String> = names.collect();
    names.sort();
    let hint = |name: &String| {
        let known = OTHER_WEIGHTS.iter().find(|(part, _)| name.starts_with(part) || name.ends_with(part))?;
        Some(format!("it has {name}: {}", known.1))
    };
    let found = names.iter().find_map(hint);
    let found = found.unwrap_or_else(|| format!("it has {}", names[..names.len().min(20)].join(", ")));
    let message = format!("no weights: neither model.safetensors nor pytorch_model.bin, whole or in shards; {found}");
    Err(ModelError::Weights { path: folder.into(), message })
}

/// Parts of names of tensors that change what a model computes, but that we do not compute.
const COMPUTED: [&str; 9] = ["crf", "lstm", "bilstm", "gru", "rnn", "transitions", "lora", "adapter", "adapters"];

/// Starts of names of tensors that a head of another task, or nothing, uses.
const UNUSED: [&str; 11] = [
    "bert.pooler.",
    "cls.",
    "lm_head.",
    "discriminator_predictions.",
    "generator_",
    "vocab_",
    "qa_outputs.",
    // Of ModernBERT and DeBERTa.
    "head.",
    "decoder.",
    "lm_predictions.",
    "mask_predictions.",
];

/// Refuses a model with a part that we do not compute, and names other tensors that we do not use.
fn check_unused(model: &Pretrained, weights: &Path) -> Result<(), ModelError> {
    let computed = |name: &&String| {
        let parts = name.to_lowercase();
        parts.split(['.', '_']).any(|part| COMPUTED.contains(&part))
    };
    if let Some(name) = model.unexpected.iter().find(computed) {
        let message = format!("{name} belongs to a part that medner does not compute; its mentions would differ");
        return Err(ModelError::Weights { path: weights.into(), message });
    }
    let family = model.config.model_type.family();
    let others =
        model.unexpected.iter().filter(|name| !UNUSED.iter().any(|start| family.bert_name(name).starts_with(start)));
    let others: Vec<&str> = others.map(String::as_str).collect();
    if let Some(first) = others.first() {
        warn!("{}: {} tensors are not used, among them {first}", weights.display(), others.len());
    }
    Ok(())
}

/// Score of a label that the model lacks: its probability is 0.
const NEVER: f64 = -1e9;

/// The parameters, with the head's rows taken from `places`.
fn in_order_of(parameters: &Parameters, places: &[Option<usize>]) -> Result<Parameters, ModelError> {
    let (weight, bias) = (parameters.get("classifier.weight")?, parameters.get("classifier.bias")?);
    let row_of = |tensor: &Tensor, place: Option<usize>, otherwise: f64| match place {
        Some(place) => tensor.get(place as i64),
        None => tensor.get(0).full_like(otherwise),
    };
    let rows = |tensor: &Tensor, otherwise: f64| -> Tensor {
        let rows: Vec<Tensor> = places.iter().map(|&place| row_of(tensor, place, otherwise)).collect();
        Tensor::stack(&rows, 0)
    };
    let (weight, bias) = (rows(&weight, 0.0), rows(&bias, NEVER));
    let tensor = |(name, tensor): (&str, &Tensor)| {
        let tensor = match name {
            "classifier.weight" => weight.shallow_clone(),
            "classifier.bias" => bias.shallow_clone(),
            _ => tensor.shallow_clone(),
        };
        (name.to_owned(), tensor)
    };
    Ok(Parameters::new(parameters.iter().map(tensor).collect()))
}

/// How a model is applied to documents, which its weights do not say. Stored under `medner` in `config.json`; other
/// programs ignore it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct InferenceConfig {
    /// The windows with which the model was selected.
    pub window: WindowSize,
    /// Whether mentions end at line breaks.
    pub line_boundaries: bool,
    /// The head.
    #[serde(default)]
    pub head: Head,
    /// Whether mentions may overlap.
    #[serde(default)]
    pub overlaps: bool,
    /// Which pieces decide the label of a word.
    #[serde(default, alias = "decision")]
    pub aggregation: Aggregation,
    /// The categories of the model's types: `problem` for `Disease` (`[categories]` of the corpus).
    #[serde(default)]
    pub categories: LabelMap,
    /// The types whose mentions are assertable (`assertable` of the corpus); empty for models trained elsewhere.
    #[serde(default)]
    pub assertable: BTreeSet<String>,
    /// Of a classifier of assertions: what is added to the log-probability of the value that the rules say, as chosen on
    /// dev. 0 leaves the rules out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rules_weight: Option<f32>,
}

const MEDNER_KEY: &str = "medner";

impl InferenceConfig {
    /// The options for decoding mentions.
    pub const fn decode_options(&self) -> DecodeOptions {
        DecodeOptions { line_boundaries: self.line_boundaries, overlaps: self.overlaps, aggregation: self.aggregation }
    }

    /// Reads the settings of a model trained by medner from its `config.json`. A model trained elsewhere is read as in
    /// transformers: windows as long as the model's positions allow, and the first piece decides for a word
    /// ([`Aggregation::FirstPiece`]). Windows never exceed the model's positions.
    fn of(text: &str, path: &Path) -> Result<Self, ModelError> {
        let fault = |message: String| ModelError::Config { path: path.into(), message };
        let positions = BertConfig::from_json(text, path)?.max_tokens() as usize;
        let config: Value = serde_json::from_str(text).map_err(|error| fault(error.to_string()))?;
        let mut inference = match config.get(MEDNER_KEY) {
            None => Self::foreign(positions),
            Some(value) => serde_json::from_value(value.clone())
                .map_err(|error| fault(format!("invalid value of `{MEDNER_KEY}`: {error}")))?,
        };
        inference.window.max_tokens = inference.window.max_tokens.min(positions);
        Ok(inference)
    }

    fn foreign(positions: usize) -> Self {
        let overlap = WindowSize::default().overlap.min(positions / 4);
        let window = WindowSize { max_tokens: positions, overlap, packed: positions };
        Self { window, aggregation: Aggregation::FirstPiece, ..Self::default() }
    }

    /// Loads a folder's tokenizer with these settings.
    ///
    /// # Errors
    /// If it cannot be loaded.
    pub fn tokenizer(&self, folder: &Path) -> Result<DocumentTokenizer, ModelError> {
        let tokenizer = DocumentTokenizer::from_folder(folder, self.window)?;
        Ok(match self.aggregation {
            Aggregation::Together | Aggregation::Constrained => tokenizer,
            Aggregation::FirstPiece => tokenizer.with_whole_pre_tokens(),
        })
    }
}

/// `seed` is for a new head; without it the head is read from the file.
fn load(
    config: &Path,
    weights: &Path,
    outputs: usize,
    head: Head,
    seed: Option<u64>,
) -> Result<Pretrained, ModelError> {
    let text = text_of(config)?;
    let sizes = BertConfig::from_json(&text, config)?;
    let config_json = serde_json::from_str(&text)
        .map_err(|error| ModelError::Config { path: config.into(), message: error.to_string() })?;
    let file = checkpoint::read(weights)?;
    let family = sizes.model_type.family();
    let wrapper = WRAPPERS.into_iter().find(|wrapper| file.names().all(|name| name.starts_with(wrapper)));
    let bert_name = |stored: &str| family.bert_name(stored.strip_prefix(wrapper.unwrap_or_default()).unwrap_or(stored));
    let mut named: HashMap<String, Vec<&str>> = HashMap::new();
    file.names().for_each(|name| named.entry(bert_name(name)).or_default().push(name));
    let fault = |message: String| ModelError::Weights { path: weights.into(), message };

    let (mut tensors, mut missing) = (Vec::new(), Vec::new());
    for (name, shape) in Classifier::shapes(&sizes, outputs, head) {
        if let Some(seed) = seed.filter(|_| is_head(&name)) {
            if !missing.is_empty() {
                break;
            }
            let tensor = new_head(&name, &shape, head, seed);
            tensors.push((name, tensor));
            continue;
        }
        let stored = named.get(&name).map_or(&[][..], Vec::as_slice);
        if let (Some(seed), [], true) = (seed, stored, name.starts_with(PredictionHead::PREFIX)) {
            tensors.push((name.clone(), new_head(&name, &shape, head, seed)));
            continue;
        }
        if let [one, other, ..] = stored {
            return Err(fault(format!("both {one} and {other} are there; the model needs one")));
        }
        let Some(data) = stored.first().and_then(|stored| file.get(stored)) else {
            missing.push(family.stored_name(&name));
            continue;
        };
        let found: Vec<i64> = data.shape.iter().map(|&extent| extent as i64).collect();
        if found != shape {
            let name = family.stored_name(&name);
            let rows = if is_head(&name) && head == Head::Token { " (a row for each label of id2label)" } else { "" };
            return Err(fault(format!("{name} has shape {found:?}, but config.json needs {shape:?}{rows}")));
        }
        let Some(values) = data.to_f32() else {
            return Err(fault(format!("{name} has type {}, which is not a floating-point type", data.dtype.name())));
        };
        if let Some(at) = values.iter().position(|value| !value.is_finite()) {
            return Err(fault(format!("{name} holds {} instead of a number; the model is damaged", values[at])));
        }
        tensors.push((name, Tensor::from_slice(&values).view(shape.as_slice())));
    }
    if !missing.is_empty() {
        let held: Vec<&str> = file.names().take(3).collect();
        let more = missing.len().saturating_sub(MOST_NAMED);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        return Err(fault(format!(
            "{} weights of the model are missing: {}{more}; the file holds {} tensors (e.g. {})",
            missing.len(),
            missing[..missing.len().min(MOST_NAMED)].join(", "),
            file.len(),
            held.join(", "),
        )));
    }
    // If the head is new, the file's head belongs to another task.
    let taken = |name: &&str| seed.is_none() || !is_head(name);
    let used: HashSet<&str> = tensors.iter().map(|(name, _)| name.as_str()).filter(taken).collect();
    let mut unexpected: Vec<String> = file
        .names()
        .filter(|stored| !used.contains(bert_name(stored).as_str()) && !BUFFERS.contains(&bert_name(stored).as_str()))
        .map(str::to_owned)
        .collect();
    unexpected.sort();
    Ok(Pretrained { config: sizes, config_json, parameters: Parameters::new(tensors), unexpected })
}

/// Prefixes of all names in files that were saved from a wrapper: DataParallel, a training framework, or torch.compile.
const WRAPPERS: [&str; 3] = ["module.", "model.", "_orig_mod."];

/// Number of missing weights that an error names.
const MOST_NAMED: usize = 10;

fn is_head(name: &str) -> bool {
    name.starts_with("classifier.")
}

fn new_head(name: &str, shape: &[i64], head: Head, seed: u64) -> Tensor {
    let options = (Kind::Float, Device::Cpu);
    if name == "head.norm.weight" {
        return Tensor::ones(shape, options);
    }
    if shape.len() == 1 {
        let against_outside = name == BIAS && matches!(head, Head::Span { .. } | Head::Multilabel { .. });
        return Tensor::full(shape, if against_outside { PRIOR } else { 0.0 }, options);
    }
    let _turn = crate::seeded(seed as i64);
    Tensor::randn(shape, options) * INITIALIZER_RANGE
}

/// Maximum number of labels; a score for each of them is kept for every token of a document.
const MOST_LABELS: usize = 10_000;

/// Classes of transformers whose head has the names of one that labels tokens, but labels whole texts.
const OTHER_TASKS: [&str; 2] = ["ForSequenceClassification", "ForMultipleChoice"];

/// Reads the labels of a `config.json`.
fn labels_of(text: &str, path: &Path, head: Head) -> Result<ForeignLabels, ModelError> {
    let fault = |message: String| ModelError::Config { path: path.into(), message };
    let value: Value = serde_json::from_str(text).map_err(|error| fault(error.to_string()))?;
    let class = value["architectures"][0].as_str().unwrap_or_default();
    if OTHER_TASKS.iter().any(|task| class.ends_with(task)) {
        return Err(fault(format!("{class} labels whole texts; medner needs a model that labels tokens")));
    }
    let map = match value.get("id2label") {
        Some(Value::Object(map)) => map,
        None | Some(Value::Null) => {
            return Err(fault("the key id2label is missing; is this a token-classification model?".into()));
        }
        Some(_) => return Err(fault("id2label is not an object from numbers to labels".into())),
    };
    if map.len() > MOST_LABELS {
        return Err(fault(format!("id2label has {} labels; medner reads at most {MOST_LABELS}", map.len())));
    }
    let mut names = vec![None; map.len()];
    for (id, name) in map {
        let name = name.as_str().ok_or_else(|| fault(format!("label {id} of id2label is not text")))?;
        let slot = id.trim().parse().ok().and_then(|id: usize| names.get_mut(id));
        let slot = slot.filter(|slot| slot.is_none());
        *slot.ok_or_else(|| fault(format!("id2label does not number its labels from 0: {id}")))? = Some(name);
    }
    let names: Vec<&str> = names.into_iter().flatten().collect();
    if head == Head::Assertion {
        let labels = LabelSet::new(TagScheme::default(), names);
        return Ok(ForeignLabels { labels, places: Vec::new(), outside: Vec::new(), notes: Vec::new() });
    }
    if let Some(labels) = LabelSet::from_names(&names) {
        // `B-O` and the like are to be read as by transformers, also in our order.
        if labels.types.iter().all(|name| name != "O") || value.get(MEDNER_KEY).is_some() {
            let places = (0..labels.len()).map(Some).collect();
            return Ok(ForeignLabels { labels, places, outside: Vec::new(), notes: Vec::new() });
        }
    }
    ForeignLabels::read(&names).map_err(|message| fault(format!("id2label: {message}")))
}

/// Saves a model in Hugging Face's layout: weights and `config.json`. The caller saves the tokenizer.
///
/// transformers' `AutoModelForTokenClassification` opens a model that labels tokens. It does not know the other heads;
/// `AutoModel` opens their encoder.
///
/// Each file is replaced atomically.
///
/// # Errors
/// If a file cannot be written.
pub fn save_classifier(
    folder: &Path,
    config_json: &Value,
    labels: &LabelSet,
    inference: &InferenceConfig,
    parameters: &Parameters,
) -> Result<(), ModelError> {
    let mut config = config_json.clone();
    config[MEDNER_KEY] = json!(inference);
    let names = if inference.head == Head::Assertion { labels.types.clone() } else { labels.names() };
    let family = type_of(&config).family();
    config["architectures"] = match inference.head {
        Head::Token => json!([format!("{}ForTokenClassification", family.class)]),
        Head::Span { .. } | Head::Crf { .. } | Head::Multilabel { .. } | Head::Assertion => {
            json!([format!("{}Model", family.class)])
        }
    };
    config["id2label"] = names.iter().enumerate().map(|(id, name)| (id.to_string(), json!(name))).collect();
    config["label2id"] = names.iter().enumerate().map(|(id, name)| (name.clone(), json!(id))).collect();
    save(folder, config, parameters)
}

/// Saves an encoder without a head in Hugging Face's layout: weights and `config.json`. The caller saves the tokenizer.
///
/// # Errors
/// If a file cannot be written.
pub fn save_encoder(folder: &Path, config_json: &Value, parameters: &Parameters) -> Result<(), ModelError> {
    let mut config = config_json.clone();
    config["architectures"] = json!([format!("{}Model", type_of(&config).family().class)]);
    if let Some(config) = config.as_object_mut() {
        // A head that is not there.
        [MEDNER_KEY, "id2label", "label2id"].iter().for_each(|key| drop(config.remove(*key)));
    }
    save(folder, config, parameters)
}

fn type_of(config: &Value) -> ModelType {
    // Unknown types were refused when the file was read, and checkpoints of 2019 name none.
    config["model_type"].as_str().and_then(ModelType::named).unwrap_or_default()
}

fn save(folder: &Path, mut config: Value, parameters: &Parameters) -> Result<(), ModelError> {
    let family = type_of(&config).family();
    config["model_type"] = json!(family.name);
    if let Some(config) = config.as_object_mut() {
        // Some encoders are published as fp16 copies and say so here; these weights are fp32.
        config.remove("torch_dtype");
        config.insert("dtype".into(), json!("float32"));
    }
    let named = parameters.iter().map(|(name, tensor)| (family.stored_name(name), tensor.shallow_clone())).collect();
    save_parameters(&folder.join("model.safetensors"), &Parameters::new(named))?;
    let path = folder.join("config.json");
    let text = serde_json::to_string_pretty(&config)
        .map_err(|error| ModelError::Config { path: path.clone(), message: error.to_string() })?;
    Ok(ner_files::write_bytes(&path, text.as_bytes())?)
}

/// Writes fp32 tensors to a safetensors file, replacing it atomically.
///
/// # Errors
/// If the file cannot be written; an existing file then stays unchanged.
pub fn save_parameters(path: &Path, parameters: &Parameters) -> Result<(), ModelError> {
    let plain = |tensor: &Tensor| tensor.detach().to_device(Device::Cpu).to_kind(Kind::Float).contiguous();
    let tensors: Vec<(&str, Tensor)> = parameters.iter().map(|(name, tensor)| (name, plain(tensor))).collect();
    let rows = tensors.iter().map(|(name, tensor)| {
        let shape = tensor.size().iter().map(|&extent| extent as usize).collect();
        ((*name).to_owned(), TensorData { dtype: Dtype::F32, shape, bytes: Cow::Borrowed(bytes_of(tensor)) })
    });
    Ok(write_safetensors(path, rows)?)
}

/// The memory of a contiguous fp32 tensor on the CPU. Copies would double the memory needed for saving.
fn bytes_of(tensor: &Tensor) -> &[u8] {
    assert!(tensor.kind() == Kind::Float && tensor.is_contiguous() && tensor.device() == Device::Cpu);
    // SAFETY: contiguous fp32 on the CPU, as checked: 4 bytes an element, all initialised. The storage lives as long as
    // the borrowed tensor, and nothing writes to it meanwhile.
    unsafe { std::slice::from_raw_parts(tensor.data_ptr().cast(), tensor.numel() * 4) }
}

/// Reads the fp32 tensors of a safetensors file in the file's order.
///
/// # Errors
/// If it cannot be read or holds another type.
pub fn load_parameters(path: &Path) -> Result<Parameters, ModelError> {
    let file = checkpoint::read(path)?;
    let mut tensors = Vec::with_capacity(file.len());
    for (name, data) in file.tensors() {
        let shape: Vec<i64> = data.shape.iter().map(|&extent| extent as i64).collect();
        let values = data.to_f32().ok_or_else(|| {
            let message = format!("{name} has type {}, which is not a floating-point type", data.dtype.name());
            ModelError::Weights { path: path.into(), message }
        })?;
        tensors.push((name.to_owned(), Tensor::from_slice(&values).view(shape.as_slice())));
    }
    Ok(Parameters::new(tensors))
}
