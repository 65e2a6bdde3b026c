//! Models of any size with random weights, so that nothing is downloaded.

use ner_document::LabelSet;
use ner_model::{BertConfig, Classifier, Head, Parameters};
use std::path::Path;
use tch::{Device, Kind, Tensor};

/// A BERT of this shape with BERT's vocabulary and positions, and a feed-forward layer four times as wide as the states.
pub fn config(layers: i64, hidden: i64, heads: i64) -> BertConfig {
    let wide = 4 * hidden;
    let json = format!(
        r#"{{"model_type": "bert", "vocab_size": 30522, "hidden_size": {hidden}, "num_hidden_layers": {layers},
             "num_attention_heads": {heads}, "intermediate_size": {wide}}}"#
    );
    BertConfig::from_json(&json, Path::new("bench")).expect("a shape that BERT can have")
}

/// Initial weights of training, except for the bias of spans: almost no span is predicted, as after training.
pub fn parameters(config: &BertConfig, head: Head, labels: &LabelSet) -> Parameters {
    tch::manual_seed(1);
    let float = (Kind::Float, Device::Cpu);
    let tensor = |(name, shape): (String, Vec<i64>)| {
        let tensor = match shape.len() {
            1 if name.ends_with("LayerNorm.weight") => Tensor::ones(shape, float),
            1 if name == "classifier.bias" && matches!(head, Head::Span { .. }) => Tensor::full(shape, -8.0, float),
            1 => Tensor::zeros(shape, float),
            _ => Tensor::randn(shape, float) * 0.02,
        };
        (name, tensor)
    };
    Parameters::new(Classifier::shapes(config, head.outputs(labels), head).into_iter().map(tensor).collect())
}
