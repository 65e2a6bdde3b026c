//! Masked-language models of each kind, compared with transformers' loss and gradients, and saved with its names.
//!
//! `masked_lm/make_golden.py` made the models and the numbers.

#![allow(clippy::unwrap_used, reason = "helpers of tests may unwrap as tests do")]

use ner_model::{Batch, MaskedLm, MaskedTokens, TrainingPass, checkpoint, load_masked_lm, save_masked_lm};
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use tch::{Device, Kind};

const KINDS: [(&str, &str); 4] =
    [("bert", "Bert"), ("roberta", "Roberta"), ("electra", "Electra"), ("distilbert", "DistilBert")];

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/masked_lm").join(name)
}

fn names(folder: &Path) -> BTreeSet<String> {
    checkpoint::read(&folder.join("model.safetensors")).unwrap().names().map(str::to_owned).collect()
}

#[test]
fn each_kind_gives_the_loss_and_the_gradients_of_transformers() {
    let golden: Value = serde_json::from_str(&std::fs::read_to_string(folder("golden.json")).unwrap()).unwrap();
    let batch = Batch { rows: serde_json::from_value(golden["rows"].clone()).unwrap() };
    let masked: Vec<MaskedTokens> = serde_json::from_value(golden["masked"].clone()).unwrap();
    let count = masked.iter().map(Vec::len).sum::<usize>() as f64;
    for (kind, _) in KINDS {
        let (config, weights) = (folder(kind).join("config.json"), folder(kind).join("model.safetensors"));
        let (model, is_new) = load_masked_lm(&config, &weights, 1).unwrap();
        assert_eq!((is_new, model.unexpected.as_slice()), (false, &[][..]), "{kind}");
        let parameters = model.parameters.requiring_gradients(|_| true);
        let embeddings = parameters.get("bert.embeddings.word_embeddings.weight").unwrap();
        let lm = MaskedLm::new(&model.config, &parameters, MaskedLm::activation(&model.config)).unwrap();
        let mut pass = TrainingPass::new(1, Device::Cpu, 0.0, 0.0);
        let loss = lm.loss_sum(&batch, &masked, Kind::Float, Some(&mut pass)) / count;
        let expected = golden["loss"][kind].as_f64().unwrap();
        assert!((loss.double_value(&[]) - expected).abs() < 1e-4, "{kind}: {loss:?} and {expected}");
        let gradient = lm.gradients(&loss, &[&embeddings], &mut pass).remove(0);
        let expected = golden["norms"][kind].as_f64().unwrap();
        assert!((gradient.norm().double_value(&[]) - expected).abs() < 1e-3, "{kind}: {gradient:?} and {expected}");
        let (sum, right) = lm.score(&batch, &masked, Kind::Float);
        assert!((sum / count - loss.double_value(&[])).abs() < 1e-4 && right <= 4);
    }
}

#[test]
fn each_kind_is_saved_with_the_names_of_transformers_and_comes_back() {
    for (kind, class) in KINDS {
        let (config, weights) = (folder(kind).join("config.json"), folder(kind).join("model.safetensors"));
        let (model, _) = load_masked_lm(&config, &weights, 1).unwrap();
        let to = tempfile::tempdir().unwrap();
        save_masked_lm(to.path(), &model.config, &model.config_json, &model.parameters).unwrap();
        assert_eq!(names(to.path()), names(&folder(kind)), "{kind}");
        let config = to.path().join("config.json");
        let written: Value = serde_json::from_str(&std::fs::read_to_string(&config).unwrap()).unwrap();
        assert_eq!(written["architectures"][0], format!("{class}ForMaskedLM"));
        let (again, is_new) = load_masked_lm(&config, &to.path().join("model.safetensors"), 1).unwrap();
        assert!(!is_new);
        for ((name, tensor), (same, other)) in model.parameters.iter().zip(again.parameters.iter()) {
            assert_eq!((name, tensor.equal(other)), (same, true));
        }
    }
}

#[test]
fn an_encoder_without_the_head_gets_a_new_one() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/encoders/electra");
    let load = |seed| load_masked_lm(&folder.join("config.json"), &folder.join("model.safetensors"), seed).unwrap();
    let ((model, is_new), (other, _)) = (load(1), load(2));
    assert!(is_new);
    let dense = |model: &ner_model::Pretrained| model.parameters.get("cls.predictions.transform.dense.weight").unwrap();
    assert!(!dense(&model).equal(&dense(&other)) && dense(&model).equal(&dense(&load(1).0)));
    assert!(dense(&model).std(true).double_value(&[]) < 0.03);
}
