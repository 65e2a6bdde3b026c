//! Models on disk, in the layout of Hugging Face's hub: `config.json`, `model.safetensors`, `tokenizer.json`.

use crate::checkpoint::{self, Dtype, TensorData, write_safetensors};
use crate::encoder::BIAS;
use crate::heads::PRIOR;
use crate::{BertConfig, Classifier, Head, ModelError, ModelType, Parameters};
use ner_document::{LabelMap, LabelSet};
use ner_text::{Aggregation, DecodeOptions, DocumentTokenizer, WindowSize};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::path::Path;
use tch::{Device, Kind, Tensor};

/// Buffers that old checkpoints hold and no model needs.
const BUFFERS: [&str; 2] = ["bert.embeddings.position_ids", "bert.embeddings.token_type_ids"];

/// Standard deviation of new weights, as in BERT.
const INITIALIZER_RANGE: f64 = 0.02;

/// A model's configuration and weights, on the CPU in fp32.
#[derive(Debug)]
pub struct Pretrained {
    /// The sizes that the model is built from.
    pub config: BertConfig,
    /// The whole `config.json`, for saving.
    pub config_json: Value,
    /// All parameters, the head's included.
    pub parameters: Parameters,
    /// Tensors of the file that the model has no use for (a pooler, another task's head).
    pub unexpected: Vec<String>,
}

/// Loads an encoder and puts a new head for `labels` on it.
///
/// The head's weights are normal with standard deviation 0.02 and depend on `seed` alone; its biases are 0, but for those
/// of all spans and of types by themselves, which begin at what most of them are.
///
/// # Errors
/// Where a file cannot be read, describes no encoder that we compute, or lacks a weight of the encoder.
pub fn load_encoder(
    config: &Path,
    weights: &Path,
    labels: &LabelSet,
    head: Head,
    seed: u64,
) -> Result<Pretrained, ModelError> {
    load(config, weights, head.outputs(labels), head, Some(seed))
}

/// What of a trained head goes on in a new one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptHead {
    /// Labels (of a head that labels tokens) or types whose weights were taken over.
    pub kept: Vec<String>,
    /// Those whose weights are new.
    pub fresh: Vec<String>,
    /// Those that the trained model had and the new one has not.
    pub left: Vec<String>,
    /// Whether the trained model had another kind of head (or, of a head whose weights lie between labels, other labels),
    /// so that nothing could be taken over.
    pub other_kind: bool,
}

/// Loads a trained model to train it further on `labels`, which may be others than its own: the encoder, and a head in
/// which the labels that both have keep their weights and the others begin as in [`load_encoder`]. Thresholds that dev
/// chose before stay in the bias.
///
/// # Errors
/// As [`load_classifier`].
pub fn load_further(
    folder: &Path,
    labels: &LabelSet,
    head: Head,
    seed: u64,
) -> Result<(Pretrained, KeptHead), ModelError> {
    let (old, old_labels, inference) = load_classifier(folder)?;
    let names = |labels: &LabelSet| match head {
        Head::Token | Head::Crf { .. } | Head::Multilabel { .. } => labels.names(),
        Head::Span { .. } => labels.types.clone(),
    };
    let (ours, theirs) = (names(labels), names(&old_labels));
    // Weights between labels, and rows of several labels, are taken over with all of them or not at all.
    let whole = matches!(head, Head::Crf { .. } | Head::Multilabel { .. });
    let same_kind =
        std::mem::discriminant(&head) == std::mem::discriminant(&inference.head) && (!whole || ours == theirs);
    let place = |name: &String| theirs.iter().position(|known| known == name).filter(|_| same_kind);
    let places: Vec<Option<usize>> = ours.iter().map(place).collect();
    let mut parameters = Vec::new();
    for (name, shape) in Classifier::shapes(&old.config, head.outputs(labels), head) {
        let tensor = if is_head(&name) { new_head(&name, &shape, head, seed) } else { old.parameters.get(&name)? };
        if is_head(&name) && same_kind && whole {
            tensor.shallow_clone().copy_(&old.parameters.get(&name)?);
        } else if is_head(&name) && same_kind {
            take_over(&name, &tensor, &old.parameters.get(&name)?, &places, theirs.len());
        }
        parameters.push((name, tensor));
    }
    let with = |is_kept: bool| {
        let pairs = ours.iter().zip(&places).filter(|(_, place)| place.is_some() == is_kept);
        pairs.map(|(name, _)| name.clone()).collect()
    };
    let kept = KeptHead {
        kept: with(true),
        fresh: with(false),
        left: theirs.iter().filter(|name| !ours.contains(name)).cloned().collect(),
        other_kind: !same_kind,
    };
    Ok((Pretrained { parameters: Parameters::new(parameters), ..old }, kept))
}

/// Copies the rows of the labels at `places` of the `old` tensor of a head, which has so many labels, into the `new` one.
/// The rows of a label are a block, but for the three parts of a head that scores spans, each of which has one. Where the
/// longest spans differ, the lengths that both know are copied.
fn take_over(name: &str, new: &Tensor, old: &Tensor, places: &[Option<usize>], labels: usize) {
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

/// Loads a trained classifier from its folder, with its labels and the way in which it reads: a run's `model`, or any
/// folder with a token-classification head in the hub's layout. The rows of such a head come in the order of our labels;
/// a label that the model does not have is never likely.
///
/// # Errors
/// Where a file cannot be read, no labels are named, or a weight is missing.
pub fn load_classifier(folder: &Path) -> Result<(Pretrained, LabelSet, InferenceConfig), ModelError> {
    let path = folder.join("config.json");
    let text = fs_err::read_to_string(&path)?;
    let (labels, places) = labels_of(&text, &path)?;
    let inference = InferenceConfig::of(&text, &path)?;
    let weights = WEIGHTS.map(|name| folder.join(name)).into_iter().find(|path| path.is_file());
    let weights = weights.unwrap_or_else(|| folder.join(WEIGHTS[0]));
    let outputs = match inference.head {
        Head::Token => places.iter().flatten().count(),
        head => head.outputs(&labels),
    };
    let mut model = load(&path, &weights, outputs, inference.head, None)?;
    if inference.head == Head::Token && !places.iter().copied().eq((0..places.len()).map(Some)) {
        model.parameters = in_order_of(&model.parameters, &places)?;
    }
    Ok((model, labels, inference))
}

/// Names of weights files, the better first.
const WEIGHTS: [&str; 2] = ["model.safetensors", "pytorch_model.bin"];

/// Score of a label that a model does not have: its probability is 0.
const NEVER: f64 = -1e9;

/// The parameters with the rows of the head from `places`.
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

/// How a model reads documents, which its weights do not say. It stands under `medner` in `config.json`, where other
/// programs pass over it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct InferenceConfig {
    /// Windows that the model was chosen with.
    pub window: WindowSize,
    /// Whether no mention goes on behind a line break.
    pub line_boundaries: bool,
    /// The head.
    #[serde(default)]
    pub head: Head,
    /// Whether mentions may overlap.
    #[serde(default)]
    pub overlaps: bool,
    /// Which pieces of a word decide.
    #[serde(default, alias = "decision")]
    pub aggregation: Aggregation,
    /// What a reader calls the types of the model: `problem` for `Disease` (`[categories]` of the corpus).
    #[serde(default)]
    pub categories: LabelMap,
}

const MEDNER_KEY: &str = "medner";

impl InferenceConfig {
    /// What mentions may be.
    pub const fn decode_options(&self) -> DecodeOptions {
        DecodeOptions { line_boundaries: self.line_boundaries, overlaps: self.overlaps, aggregation: self.aggregation }
    }

    /// That of a model that medner trained, from its `config.json`. A model that was trained elsewhere is read as
    /// transformers reads it: in windows as long as its positions reach, and by the first pieces of words
    /// ([`Aggregation::FirstPiece`]). Windows never reach past a model's positions.
    fn of(text: &str, path: &Path) -> Result<Self, ModelError> {
        let fault = |message: String| ModelError::Config { path: path.into(), message };
        let positions = BertConfig::from_json(text, path)?.max_tokens() as usize;
        let config: Value = serde_json::from_str(text).map_err(|error| fault(error.to_string()))?;
        let mut inference = match config.get(MEDNER_KEY) {
            None => Self::foreign(positions),
            Some(value) => serde_json::from_value(value.clone())
                .map_err(|error| fault(format!("`{MEDNER_KEY}` in it: {error}")))?,
        };
        inference.window.max_tokens = inference.window.max_tokens.min(positions);
        Ok(inference)
    }

    fn foreign(positions: usize) -> Self {
        let overlap = WindowSize::default().overlap.min(positions / 4);
        let window = WindowSize { max_tokens: positions, overlap, packed: positions };
        Self { window, aggregation: Aggregation::FirstPiece, ..Self::default() }
    }

    /// The text encoder of a folder that reads so.
    ///
    /// # Errors
    /// Where its tokenizer cannot be loaded.
    pub fn tokenizer(&self, folder: &Path) -> Result<DocumentTokenizer, ModelError> {
        let tokenizer = DocumentTokenizer::from_folder(folder, self.window)?;
        Ok(match self.aggregation {
            Aggregation::Together | Aggregation::Constrained => tokenizer,
            Aggregation::FirstPiece => tokenizer.with_whole_pre_tokens(),
        })
    }
}

/// `seed` is that of a new head; without it the head is read from the file.
fn load(
    config: &Path,
    weights: &Path,
    outputs: usize,
    head: Head,
    seed: Option<u64>,
) -> Result<Pretrained, ModelError> {
    let text = fs_err::read_to_string(config)?;
    let sizes = BertConfig::from_json(&text, config)?;
    let config_json = serde_json::from_str(&text)
        .map_err(|error| ModelError::Config { path: config.into(), message: error.to_string() })?;
    let file = checkpoint::read(weights)?;
    let family = sizes.model_type.family();
    let our_name = |stored: &str| family.our_name(stored);
    let named: HashMap<String, &str> = file.names().map(|name| (our_name(name), name)).collect();

    let (mut tensors, mut missing) = (Vec::new(), Vec::new());
    for (name, shape) in Classifier::shapes(&sizes, outputs, head) {
        if let Some(seed) = seed.filter(|_| is_head(&name)) {
            let tensor = new_head(&name, &shape, head, seed);
            tensors.push((name, tensor));
            continue;
        }
        let Some(data) = named.get(&name).and_then(|stored| file.get(stored)) else {
            missing.push(family.their_name(&name));
            continue;
        };
        let found: Vec<i64> = data.shape.iter().map(|&extent| extent as i64).collect();
        if found != shape {
            let name = family.their_name(&name);
            let message = format!("{name} has shape {found:?}, config.json says {shape:?}");
            return Err(ModelError::Weights { path: weights.into(), message });
        }
        let Some(values) = data.to_f32() else {
            let message = format!("{name} is of type {}, not a floating-point type", data.dtype.name());
            return Err(ModelError::Weights { path: weights.into(), message });
        };
        tensors.push((name, Tensor::from_slice(&values).view(shape.as_slice())));
    }
    if !missing.is_empty() {
        let held: Vec<&str> = file.names().take(3).collect();
        let message = format!(
            "{} weights of the model are missing: {}; the file holds {} tensors (such as {})",
            missing.len(),
            missing.join(", "),
            file.len(),
            held.join(", "),
        );
        return Err(ModelError::Weights { path: weights.into(), message });
    }
    // Where the head is a new one, the file's own is another task's.
    let taken = |name: &&str| seed.is_none() || !is_head(name);
    let used: HashSet<&str> = tensors.iter().map(|(name, _)| name.as_str()).filter(taken).collect();
    let mut unexpected: Vec<String> = file
        .names()
        .filter(|stored| !used.contains(our_name(stored).as_str()) && !BUFFERS.contains(&our_name(stored).as_str()))
        .map(str::to_owned)
        .collect();
    unexpected.sort();
    Ok(Pretrained { config: sizes, config_json, parameters: Parameters::new(tensors), unexpected })
}

fn is_head(name: &str) -> bool {
    name.starts_with("classifier.")
}

fn new_head(name: &str, shape: &[i64], head: Head, seed: u64) -> Tensor {
    let options = (Kind::Float, Device::Cpu);
    if shape.len() == 1 {
        let against_outside = name == BIAS && matches!(head, Head::Span { .. } | Head::Multilabel { .. });
        return Tensor::full(shape, if against_outside { PRIOR } else { 0.0 }, options);
    }
    tch::manual_seed(seed as i64);
    Tensor::randn(shape, options) * INITIALIZER_RANGE
}

/// Reads the labels of a `config.json`, and for each of ours its place among those of the file.
fn labels_of(text: &str, path: &Path) -> Result<(LabelSet, Vec<Option<usize>>), ModelError> {
    let fault = |message: String| ModelError::Config { path: path.into(), message };
    let value: Value = serde_json::from_str(text).map_err(|error| fault(error.to_string()))?;
    let map = value.get("id2label").and_then(Value::as_object).ok_or_else(|| fault("it has no id2label".into()))?;
    let name = |id: usize| map.get(&id.to_string()).and_then(Value::as_str);
    let names: Option<Vec<&str>> = (0..map.len()).map(name).collect();
    let names = names.ok_or_else(|| fault("id2label does not number its labels from 0".into()))?;
    if let Some(labels) = LabelSet::from_names(&names) {
        let places = (0..labels.len()).map(Some).collect();
        return Ok((labels, places));
    }
    LabelSet::from_any_names(&names)
        .ok_or_else(|| fault(format!("two of the labels {} mean the same", names.join(", "))))
}

/// Saves a model as Hugging Face does: weights and `config.json`. The tokenizer is saved by its owner.
///
/// One that labels tokens is a model that transformers' `AutoModelForTokenClassification` opens. The other heads are
/// unknown there; `AutoModel` opens their encoder.
///
/// Each file is replaced whole or not at all.
///
/// # Errors
/// Where a file cannot be written.
pub fn save_classifier(
    folder: &Path,
    config_json: &Value,
    labels: &LabelSet,
    inference: &InferenceConfig,
    parameters: &Parameters,
) -> Result<(), ModelError> {
    let mut config = config_json.clone();
    config[MEDNER_KEY] = json!(inference);
    let names = labels.names();
    // An unknown one was refused when it was read, and a checkpoint of 2019 names none.
    let family = config["model_type"].as_str().and_then(ModelType::named).unwrap_or_default().family();
    config["architectures"] = match inference.head {
        Head::Token => json!([format!("{}ForTokenClassification", family.class)]),
        Head::Span { .. } | Head::Crf { .. } | Head::Multilabel { .. } => json!([format!("{}Model", family.class)]),
    };
    config["model_type"] = json!(family.name);
    config["id2label"] = names.iter().enumerate().map(|(id, name)| (id.to_string(), json!(name))).collect();
    config["label2id"] = names.iter().enumerate().map(|(id, name)| (name.clone(), json!(id))).collect();
    if let Some(config) = config.as_object_mut() {
        // Names of the fp16 copies that some encoders were published as; these weights are fp32.
        config.remove("torch_dtype");
        config.insert("dtype".into(), json!("float32"));
    }
    let named = parameters.iter().map(|(name, tensor)| (family.their_name(name), tensor.shallow_clone())).collect();
    save_parameters(&folder.join("model.safetensors"), &Parameters::new(named))?;
    let path = folder.join("config.json");
    let text = serde_json::to_string_pretty(&config)
        .map_err(|error| ModelError::Config { path: path.clone(), message: error.to_string() })?;
    Ok(ner_files::write_bytes(&path, text.as_bytes())?)
}

/// Writes fp32 tensors to a safetensors file, which is replaced whole or not at all.
///
/// # Errors
/// Where the file cannot be written; the one that stood there is then as it was.
pub fn save_parameters(path: &Path, parameters: &Parameters) -> Result<(), ModelError> {
    let plain = |tensor: &Tensor| tensor.detach().to_device(Device::Cpu).to_kind(Kind::Float).contiguous();
    let tensors: Vec<(&str, Tensor)> = parameters.iter().map(|(name, tensor)| (name, plain(tensor))).collect();
    let rows = tensors.iter().map(|(name, tensor)| {
        let shape = tensor.size().iter().map(|&extent| extent as usize).collect();
        ((*name).to_owned(), TensorData { dtype: Dtype::F32, shape, bytes: Cow::Borrowed(bytes_of(tensor)) })
    });
    Ok(write_safetensors(path, rows)?)
}

/// The memory of a contiguous fp32 tensor on the CPU. A copy of each would double the memory of saving a state.
fn bytes_of(tensor: &Tensor) -> &[u8] {
    assert!(tensor.kind() == Kind::Float && tensor.is_contiguous() && tensor.device() == Device::Cpu);
    // SAFETY: contiguous fp32 on the CPU, as checked: 4 bytes an element, all of them initialised. The storage lives as
    // long as the tensor that is borrowed, and nothing writes to it meanwhile.
    unsafe { std::slice::from_raw_parts(tensor.data_ptr().cast(), tensor.numel() * 4) }
}

/// Reads the fp32 tensors of a safetensors file in the file's order.
///
/// # Errors
/// Where it cannot be read or holds another type.
pub fn load_parameters(path: &Path) -> Result<Parameters, ModelError> {
    let file = checkpoint::read(path)?;
    let mut tensors = Vec::with_capacity(file.len());
    for (name, data) in file.tensors() {
        let shape: Vec<i64> = data.shape.iter().map(|&extent| extent as i64).collect();
        let values = data.to_f32().ok_or_else(|| {
            let message = format!("{name} is of type {}, not a floating-point type", data.dtype.name());
            ModelError::Weights { path: path.into(), message }
        })?;
        tensors.push((name.to_owned(), Tensor::from_slice(&values).view(shape.as_slice())));
    }
    Ok(Parameters::new(tensors))
}
