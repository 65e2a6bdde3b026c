//! Model folders: saved models are read back to the bit, and unsuitable ones are refused with a reason.

#![allow(clippy::unwrap_used, reason = "helpers of tests may unwrap as tests do")]

use ner_document::{LabelSet, TagScheme};
use ner_model::checkpoint::{self, TensorData, write_safetensors};
use ner_model::{
    BertConfig, Head, InferenceConfig, load_classifier, load_encoder, load_further, load_parameters, save_classifier,
};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use tch::Tensor;

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

/// A copy of the tiny classifier's folder.
fn copied() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for name in ["config.json", "model.safetensors"] {
        fs::copy(golden("gelu").join(name), folder.path().join(name)).unwrap();
    }
    folder
}

/// The user's error message for a folder, without the path, with which it must start.
fn error(folder: &Path, file: &str) -> String {
    let text = load_classifier(folder).unwrap_err().to_string();
    let path = format!("{}: ", folder.join(file).display());
    text.strip_prefix(&path).unwrap_or_else(|| panic!("{text} does not name {file}")).to_owned()
}

fn bits(tensor: &Tensor) -> (Vec<i64>, Vec<u32>) {
    let numbers = Vec::<f32>::try_from(tensor.contiguous().view(-1)).unwrap();
    (tensor.size(), numbers.into_iter().map(f32::to_bits).collect())
}

/// A label's values in a head's tensor: those at `place` of the second of three dimensions.
fn of_label(tensor: &Tensor, groups: i64, labels: i64, place: usize) -> (Vec<i64>, Vec<u32>) {
    bits(&tensor.view([groups, labels, -1]).select(1, place as i64))
}

#[test]
fn a_model_goes_on_with_the_labels_that_stay() {
    let encoder = golden("bare");
    let (config, weights) = (encoder.join("config.json"), encoder.join("model.safetensors"));
    for head in [Head::Token, Head::Span { longest: 5 }] {
        let old_labels = LabelSet::new(TagScheme::Bio, ["Disease", "Drug"]);
        let made = load_encoder(&config, &weights, &old_labels, head, 7).unwrap();
        // Biases of a new head are equal; these differ.
        let numbered = |(name, tensor): (&str, &Tensor)| {
            let steps = Tensor::arange(tensor.numel() as i64, (tch::Kind::Float, tch::Device::Cpu)).view_as(tensor);
            (name.to_owned(), if name.starts_with("classifier.") { tensor + steps } else { tensor.shallow_clone() })
        };
        let old = ner_model::Parameters::new(made.parameters.iter().map(numbered).collect());
        let folder = tempfile::tempdir().unwrap();
        let reading = InferenceConfig { head, ..InferenceConfig::default() };
        save_classifier(folder.path(), &made.config_json, &old_labels, &reading, &old).unwrap();

        // One label moves, one is new, one is dropped.
        let labels = LabelSet::new(TagScheme::Bio, ["Anatomy", "Disease"]);
        let (further, kept) = load_further(folder.path(), &labels, head, 3).unwrap();
        let fresh = load_encoder(&config, &weights, &labels, head, 3).unwrap();
        let names = |of: &LabelSet| if head == Head::Token { of.names() } else { of.types.clone() };
        let (ours, theirs) = (names(&labels), names(&old_labels));
        assert!(!kept.other_kind && kept.fresh.iter().all(|name| name.contains("Anatomy")), "{kept:?}");
        assert!(kept.kept.iter().all(|name| name == "O" || name.contains("Disease")), "{kept:?}");
        assert!(kept.left.iter().all(|name| name.contains("Drug")), "{kept:?}");
        for (name, tensor) in further.parameters.iter() {
            if !name.starts_with("classifier.") {
                assert_eq!(bits(tensor), bits(&old.get(name).unwrap()), "{name}");
                continue;
            }
            let groups = if name == "classifier.parts.weight" { 3 } else { 1 };
            for (at, label) in ours.iter().enumerate() {
                let found = of_label(tensor, groups, ours.len() as i64, at);
                let expected = match theirs.iter().position(|known| known == label) {
                    Some(place) => of_label(&old.get(name).unwrap(), groups, theirs.len() as i64, place),
                    None => of_label(&fresh.parameters.get(name).unwrap(), groups, ours.len() as i64, at),
                };
                assert_eq!(found, expected, "{name}, {label}");
            }
        }
        let other = if head == Head::Token { Head::Span { longest: 5 } } else { Head::Token };
        let (_, kept) = load_further(folder.path(), &labels, other, 3).unwrap();
        assert!(kept.other_kind && kept.kept.is_empty());
    }
}

#[test]
fn a_saved_classifier_comes_back_to_the_bit_with_its_labels() {
    let labels = LabelSet::new(TagScheme::Bioes, ["Drug", "Side-Effect"]);
    let encoder = golden("bare");
    let (config, weights) = (encoder.join("config.json"), encoder.join("model.safetensors"));
    let made = load_encoder(&config, &weights, &labels, Head::Token, 7).unwrap();
    let folder = tempfile::tempdir().unwrap();
    save_classifier(folder.path(), &made.config_json, &labels, &InferenceConfig::default(), &made.parameters).unwrap();
    let (read, read_labels, reading) = load_classifier(folder.path()).unwrap();
    assert_eq!(read_labels, labels);
    assert_eq!(read.config, made.config);
    assert_eq!(read.unexpected, [""; 0]);
    assert_eq!(read.parameters.iter().len(), made.parameters.iter().len());
    for ((name, tensor), (read_name, read)) in made.parameters.iter().zip(read.parameters.iter()) {
        assert_eq!((read_name, bits(read)), (name, bits(tensor)));
    }
    let config: Value = serde_json::from_slice(&fs::read(folder.path().join("config.json")).unwrap()).unwrap();
    assert_eq!(config["architectures"][0], "BertForTokenClassification");
    assert_eq!(config["label2id"]["S-Side-Effect"], 8);

    assert_eq!(reading.window.max_tokens as i64, made.config.max_position_embeddings);

    // Into a folder that holds another model.
    let reading = InferenceConfig { line_boundaries: true, ..InferenceConfig::default() };
    save_classifier(folder.path(), &made.config_json, &labels, &reading, &made.parameters).unwrap();
    let (_, _, read) = load_classifier(folder.path()).unwrap();
    assert!(read.line_boundaries);
    let names: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names.len(), 2, "{names:?}");
}

/// Rewrites the classifier's weights as `change` returns them, with those that it adds.
fn rewrite(folder: &Path, change: impl Fn(&str, TensorData<'static>) -> Option<(String, TensorData<'static>)>) {
    let file = checkpoint::read(&golden("gelu/model.safetensors")).unwrap();
    let owned = |data: TensorData<'_>| TensorData {
        dtype: data.dtype,
        shape: data.shape,
        bytes: data.bytes.into_owned().into(),
    };
    let tensors: Vec<_> = file.tensors().filter_map(|(name, data)| change(name, owned(data))).collect();
    write_safetensors(&folder.join("model.safetensors"), tensors).unwrap();
}

#[test]
fn weights_that_do_not_fit_are_named() {
    const NAME: &str = "bert.encoder.layer.1.attention.output.LayerNorm.bias";
    let folder = copied();
    rewrite(folder.path(), |name, data| (name != NAME).then(|| (name.to_owned(), data)));
    let message = error(folder.path(), "model.safetensors");
    assert!(message.contains(NAME) && message.starts_with("1 weight"), "{message}");

    rewrite(folder.path(), |name, data| (!name.starts_with("classifier.")).then(|| (name.to_owned(), data)));
    let message = error(folder.path(), "model.safetensors");
    assert!(message.contains("classifier.weight, classifier.bias"), "{message}");

    let shorter = |name: &str, mut data: TensorData<'static>| {
        if name == NAME {
            data.shape[0] -= 1;
            data.bytes.to_mut().truncate(data.shape[0] * 4);
        }
        Some((name.to_owned(), data))
    };
    rewrite(folder.path(), shorter);
    let message = error(folder.path(), "model.safetensors");
    assert!(message.contains(NAME) && message.contains("[31]") && message.contains("[32]"), "{message}");

    let renamed = |name: &str, data| Some((name.replace("classifier", "head.classifier"), data));
    rewrite(folder.path(), renamed);
    let labels = LabelSet::new(TagScheme::Io, ["X"]);
    let (config, weights) = (folder.path().join("config.json"), folder.path().join("model.safetensors"));
    let model = load_encoder(&config, &weights, &labels, Head::Token, 1).unwrap();
    assert_eq!(model.unexpected, ["head.classifier.bias", "head.classifier.weight"]);
}

#[test]
fn a_truncated_file_is_an_error_that_names_it() {
    let folder = copied();
    let path = folder.path().join("model.safetensors");
    let whole = fs::read(&path).unwrap();
    for len in [0, 7, 100, whole.len() / 2, whole.len() - 1] {
        fs::write(&path, &whole[..len]).unwrap();
        error(folder.path(), "model.safetensors");
        assert!(load_parameters(&path).unwrap_err().to_string().contains("model.safetensors"));
    }
}

#[test]
fn configurations_that_we_do_not_compute_are_refused_with_a_reason() {
    let text = fs::read_to_string(golden("gelu/config.json")).unwrap();
    let cases = [
        (
            "model_type",
            Value::from("xlnet"),
            "model_type xlnet is not supported; supported: bert, roberta, electra, distilbert",
        ),
        ("position_embedding_type", "relative_key".into(), "position_embedding_type relative_key is not supported"),
        ("hidden_act", "silu".into(), "silu"),
        ("num_attention_heads", 5.into(), "hidden_size 32 is not a multiple of num_attention_heads 5"),
        ("num_attention_heads", 0.into(), "num_attention_heads is 0; it must be at least 1"),
        ("hidden_size", Value::Null, "hidden_size is missing or null"),
        ("num_hidden_layers", (-1).into(), "num_hidden_layers is -1"),
    ];
    for (key, value, expected) in cases {
        let mut config: Value = serde_json::from_str(&text).unwrap();
        config[key] = value;
        let message = BertConfig::from_json(&config.to_string(), Path::new("x/config.json")).unwrap_err().to_string();
        assert!(message.starts_with("x/config.json: ") && message.contains(expected), "{message}");
    }

    let folder = copied();
    let path = folder.path().join("config.json");
    for (labels, expected) in [
        (r#"{"0": "O", "1": "E-X", "2": "L-X"}"#, "the labels E-X and L-X mean the same tag"),
        (r#"{"0": "O", "2": "I-X"}"#, "does not number its labels from 0"),
        ("null", "the key id2label is missing"),
    ] {
        let mut config: Value = serde_json::from_str(&text).unwrap();
        config["id2label"] = serde_json::from_str(labels).unwrap();
        fs::write(&path, config.to_string()).unwrap();
        let message = error(folder.path(), "config.json");
        assert!(message.contains(expected), "{message}");
    }
}

#[test]
fn a_student_has_the_first_the_last_and_evenly_spaced_layers() {
    let (config, weights) = (golden("gelu").join("config.json"), golden("gelu").join("model.safetensors"));
    let load = || load_encoder(&config, &weights, &LabelSet::new(TagScheme::Bio, ["X"]), Head::Token, 1).unwrap();
    let whole = load();
    let layers = whole.config.num_hidden_layers as usize;
    let name = |layer: usize| format!("bert.encoder.layer.{layer}.output.dense.weight");
    for count in 1..=layers {
        let student = load().with_layers(count).unwrap();
        assert_eq!(student.config_json["num_hidden_layers"], count);
        assert_eq!(student.config.num_hidden_layers as usize, count);
        let last = if count == 1 { 0 } else { layers - 1 };
        for (own, of) in [(0, 0), (count - 1, last)] {
            assert!(student.parameters.get(&name(own)).unwrap().equal(&whole.parameters.get(&name(of)).unwrap()));
        }
        assert!(student.parameters.get(&name(count)).is_err());
    }
    assert!(load().with_layers(layers + 1).unwrap_err().contains("cannot have"));
}
