//! A tiny model.

#![allow(dead_code, reason = "not every test needs both models")]

use ner_data::{LabelSet, TagScheme};
use ner_model::{BertConfig, Parameters, TokenClassifier, save_parameters};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use tch::{Device, Kind, Tensor};

/// A model with pseudo-random weights and single letters as vocabulary; `phase` varies it.
pub fn model(folder: &Path, types: [&str; 2], phase: f64) {
    write(folder, &types, |name, shape| {
        let count = shape.iter().product::<i64>();
        // From a public generator, so that the model can be recreated outside this test.
        let numbers =
            ((Tensor::arange(count, (Kind::Double, Device::Cpu)) * 12.9898 + phase).sin() * 43758.5453).frac();
        let scale = if name.starts_with("classifier") { 2.0 } else { 0.5 };
        let numbers = (numbers * scale).to_kind(Kind::Float).view(shape);
        if name.ends_with("LayerNorm.weight") { numbers + 1.0 } else { numbers }
    });
}

/// A model that labels every token `I-X`, so that each sentence is one mention.
pub fn finder(folder: &Path) {
    write(folder, &["X"], |name, shape| {
        let zeros = Tensor::zeros(shape, (Kind::Float, Device::Cpu));
        match name {
            "classifier.bias" => Tensor::from_slice(&[0.0_f32, 0.0, 5.0]),
            name if name.ends_with("LayerNorm.weight") => zeros + 1.0,
            _ => zeros,
        }
    });
}

fn write(folder: &Path, types: &[&str], weights: impl Fn(&str, &[i64]) -> Tensor) {
    fs::create_dir_all(folder).unwrap();
    let labels = LabelSet::new(TagScheme::Bio, types.iter().copied());
    let mut vocabulary: Vec<String> = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"].map(str::to_owned).into();
    vocabulary.extend("abcdefghijklmnopqrstuvwxyz0123456789.,".chars().flat_map(|c| [c.to_string(), format!("##{c}")]));
    let names: BTreeMap<String, String> =
        labels.names().into_iter().enumerate().map(|(at, name)| (at.to_string(), name)).collect();
    let config = format!(
        r#"{{"model_type": "bert", "vocab_size": {}, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
            "intermediate_size": 32, "max_position_embeddings": 64, "id2label": {}}}"#,
        vocabulary.len(),
        serde_json::to_string(&names).unwrap()
    );
    let sizes = BertConfig::from_json(&config, folder).unwrap();
    fs::write(folder.join("config.json"), config).unwrap();
    fs::write(folder.join("vocab.txt"), vocabulary.join("\n")).unwrap();
    let shapes = TokenClassifier::shapes(&sizes, labels.len());
    let tensors = shapes.into_iter().map(|(name, shape)| (name.clone(), weights(&name, &shape))).collect();
    save_parameters(&folder.join("model.safetensors"), &Parameters::new(tensors)).unwrap();
}
