//! The head of given mentions, compared with plain loops; the classifier: batches, windows, mentions of every kind.

#![allow(clippy::unwrap_used, reason = "helpers of tests may unwrap as tests do")]

use ner_document::{Document, LabelSet, Span, TagScheme, TaggedEntity};
use ner_model::{
    AssertionClassifier, Batch, Bert, Classifier, Head, InferenceConfig, LossOptions, Pretrained, Recognizer, Targets,
    TrainingPass, load_classifier, load_encoder, load_further, save_classifier,
};
use ner_text::WindowSize;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use tch::{Device, Kind, Tensor, no_grad};

const VALUES: [&str; 3] = ["present", "absent", "associated_with_someone_else"];

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/gelu")
}

fn labels() -> LabelSet {
    LabelSet::new(TagScheme::Bio, VALUES)
}

fn model() -> Pretrained {
    // All threads of a test share libtorch's generator, which draws new weights.
    static DRAWING: Mutex<()> = Mutex::new(());
    let _drawing = DRAWING.lock().unwrap();
    let (config, weights) = (golden().join("config.json"), golden().join("model.safetensors"));
    let model = load_encoder(&config, &weights, &labels(), Head::Assertion, 1).unwrap();
    // New weights are small; larger ones make the terms of the score distinguishable.
    let larger = |(name, tensor): (&str, &Tensor)| {
        let tensor = if name.starts_with("classifier.") { tensor * 10.0 + 0.1 } else { tensor.shallow_clone() };
        (name.to_owned(), tensor)
    };
    let parameters = ner_model::Parameters::new(model.parameters.iter().map(larger).collect());
    Pretrained { parameters, ..model }
}

fn numbers(tensor: &Tensor) -> Vec<f64> {
    Vec::try_from(tensor.to_kind(Kind::Double).contiguous().view(-1)).unwrap()
}

#[test]
fn scores_and_loss_are_those_of_plain_loops() {
    let Pretrained { config, parameters, .. } = model();
    let batch = Batch { rows: vec![vec![2, 5, 6, 7, 8, 9, 10, 3], vec![2, 11, 12, 3], vec![2, 9, 9, 3]] };
    let words = vec![vec![1..2, 2..5, 5..7], vec![1..3], vec![1..2, 2..3]];
    let entity = |units, entity_type| TaggedEntity { units, entity_type };
    // Nested mentions, and a row without any.
    let entities = vec![vec![entity(0..2, 1), entity(1..2, 0), entity(2..3, 2)], vec![entity(0..1, 0)], vec![]];
    let states = no_grad(|| Bert::new(&config, &parameters).unwrap().forward(&batch, Kind::Float, None));
    let hidden = config.hidden_size as usize;
    let (weight, bias) =
        (numbers(&parameters.get("classifier.weight").unwrap()), numbers(&parameters.get("classifier.bias").unwrap()));
    let (mut loss, mut count) = (0.0, 0.0);
    for (row, entities) in entities.iter().enumerate() {
        let states = numbers(&states.get(row as i64));
        for TaggedEntity { units, entity_type } in entities {
            let (start, end) = (words[row][units.start].start, words[row][units.end - 1].end);
            let mut scores = Vec::new();
            for value in 0..VALUES.len() {
                let weight = &weight[value * 3 * hidden..(value + 1) * 3 * hidden];
                let mut score = bias[value];
                for at in 0..hidden {
                    let mean =
                        (start..end).map(|token| states[token * hidden + at]).sum::<f64>() / (end - start) as f64;
                    score += weight[at] * states[start * hidden + at];
                    score += weight[hidden + at] * states[(end - 1) * hidden + at];
                    score += weight[2 * hidden + at] * mean;
                }
                scores.push(score);
            }
            loss += scores.iter().map(|score| score.exp()).sum::<f64>().ln() - scores[*entity_type];
            count += 1.0;
        }
    }
    let classifier = Classifier::new(&config, &parameters, Head::Assertion).unwrap();
    let targets = Targets { words, entities, ..Targets::default() };
    let mut dropout = TrainingPass::new(1, Device::Cpu, 0.0, 0.0);
    let options = LossOptions::default();
    let found = no_grad(|| classifier.loss(&batch, &targets, Kind::Float, &mut dropout, &options)).double_value(&[]);
    assert!((found - loss / count).abs() < 1e-4, "{found} and {}", loss / count);
    assert_eq!(classifier.weight(&targets), 4);
}

/// A folder with the classifier, a vocabulary, and windows of at most `packed` tokens.
fn folder(packed: usize) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let Pretrained { config_json, parameters, .. } = model();
    let window = WindowSize { max_tokens: 16, overlap: 4, packed };
    let inference =
        InferenceConfig { window, head: Head::Assertion, rules_weight: Some(2.0), ..InferenceConfig::default() };
    save_classifier(folder.path(), &config_json, &labels(), &inference, &parameters).unwrap();
    let mut pieces: Vec<String> = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"].map(str::to_owned).into();
    pieces.extend("abcdefghijklmnopqr".chars().flat_map(|char| [char.to_string(), format!("##{char}")]));
    pieces.extend("0123456789.,-".chars().map(String::from));
    fs::write(folder.path().join("vocab.txt"), pieces.join("\n")).unwrap();
    folder
}

fn load(folder: &tempfile::TempDir) -> AssertionClassifier {
    AssertionClassifier::load(folder.path(), Device::Cpu, Kind::Float).unwrap()
}

#[test]
fn a_document_gets_alone_what_it_gets_among_others() {
    let classifier = load(&folder(1));
    assert_eq!(classifier.values(), VALUES);
    assert_eq!(classifier.inference().rules_weight, Some(2.0));
    let long = "ab cd ".repeat(20);
    let documents = ["ab. cd ef gh. a b", "  ", long.as_str(), "no."].map(|text| Document::new("x", text));
    let span = Span::new;
    let mentions = [
        // Nested, the same twice, in reverse order, over two sentences, of one character within a word.
        vec![span(4, 9), span(4, 6), span(4, 6), span(0, 2), span(0, 12), span(5, 6)],
        // White space touches no word.
        vec![span(0, 1)],
        // Over more than a window, and in a later one.
        vec![span(0, 110), span(90, 95)],
        vec![],
    ];
    let encoded = classifier.tokenizer().encode(&documents).unwrap();
    assert!(encoded[2].windows.len() > 2);
    let together = classifier.log_probabilities(&encoded, &mentions, |_| {});
    let third = -3f32.ln();
    assert_eq!(together[1], [[third; 3]]);
    assert_eq!(together[3].len(), 0);
    let gap = |left: &[f32], right: &[f32]| left.iter().zip(right).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    // Their rows are at different places of a product, which may round them differently.
    assert!(gap(&together[0][1], &together[0][2]) < 1e-6);
    for (at, document) in documents.iter().enumerate() {
        for (mention, together) in mentions[at].iter().zip(&together[at]) {
            let encoded = classifier.tokenizer().encode(std::slice::from_ref(document)).unwrap();
            let alone = classifier.log_probabilities(&encoded, &[vec![*mention]], |_| {}).remove(0).remove(0);
            assert!(gap(&alone, together) < 1e-4, "{at} {mention:?}: {alone:?} {together:?}");
            let sum: f32 = alone.iter().map(|score| score.exp()).sum();
            assert!((sum - 1.0).abs() < 1e-4, "{sum}");
        }
    }
}

#[test]
fn models_of_the_two_tasks_are_not_confused_and_share_their_encoders() {
    let folder = folder(1);
    let refused = Recognizer::load(folder.path(), Device::Cpu, Kind::Float).map(drop).unwrap_err().to_string();
    assert!(refused.contains("use it with `assert --model`"), "{refused}");
    let finds = tempfile::tempdir().unwrap();
    for (from, name) in
        [(&golden(), "config.json"), (&golden(), "model.safetensors"), (&folder.path().to_owned(), "vocab.txt")]
    {
        fs::copy(from.join(name), finds.path().join(name)).unwrap();
    }
    let refused = AssertionClassifier::load(finds.path(), Device::Cpu, Kind::Float).map(drop).unwrap_err().to_string();
    assert!(refused.contains("train one with --task assertion"), "{refused}");
    let config: serde_json::Value =
        serde_json::from_slice(&fs::read(folder.path().join("config.json")).unwrap()).unwrap();
    assert_eq!((&config["medner"]["head"], &config["id2label"]["1"]), (&"assertion".into(), &"absent".into()));

    let (saved, saved_labels, _) = load_classifier(folder.path()).unwrap();
    assert_eq!(saved_labels.types, VALUES);
    let fewer = LabelSet::new(TagScheme::Bio, ["absent", "possible"]);
    let (further, kept) = load_further(folder.path(), &fewer, Head::Assertion, 3).unwrap();
    assert_eq!((kept.kept, kept.fresh, kept.other_kind), (vec!["absent".into()], vec!["possible".into()], false));
    let row = |model: &Pretrained, at: i64| numbers(&model.parameters.get("classifier.weight").unwrap().get(at));
    assert_eq!(row(&further, 0), row(&saved, 1));
    // From one that finds mentions, only the encoder.
    let (further, kept) = load_further(&golden(), &labels(), Head::Assertion, 3).unwrap();
    assert!(kept.other_kind);
    assert_eq!(further.parameters.get("classifier.weight").unwrap().size()[0], 3);
}
