//! The head that scores spans, compared with plain loops and with itself in batches.

#![allow(clippy::unwrap_used, reason = "helpers of tests may unwrap as tests do")]

use ner_document::{LabelSet, TagScheme, TaggedEntity};
use ner_model::{
    Batch, Bert, BertConfig, Head, LossOptions, Parameters, RowWords, SpanClassifier, found_spans, load_encoder,
    span_cross_entropy, span_divergence,
};
use std::path::Path;
use std::sync::Mutex;
use tch::{Kind, Tensor, no_grad};

const LONGEST: usize = 3;
const TYPES: usize = 2;
const HEAD_SIZE: usize = 64;

fn model() -> (BertConfig, Parameters) {
    // All threads of a test share libtorch's generator, which draws new weights.
    static DRAWING: Mutex<()> = Mutex::new(());
    let _drawing = DRAWING.lock().unwrap();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/gelu");
    let labels = LabelSet::new(TagScheme::Bio, ["Chemical", "Disease"]);
    let head = Head::Span { longest: LONGEST };
    let model = load_encoder(&folder.join("config.json"), &folder.join("model.safetensors"), &labels, head, 1).unwrap();
    // New weights are small; larger ones make the terms of the score distinguishable.
    let larger = |(name, tensor): (&str, &Tensor)| {
        let tensor = if name.starts_with("classifier.") { tensor * 10.0 + 0.1 } else { tensor.shallow_clone() };
        (name.to_owned(), tensor)
    };
    (model.config, Parameters::new(model.parameters.iter().map(larger).collect()))
}

/// Three rows, the second one shorter; words of one to three pieces between two special tokens.
fn rows() -> (Batch, Vec<RowWords>) {
    let rows = vec![vec![2, 5, 6, 7, 8, 9, 10, 3], vec![2, 11, 12, 3], vec![2, 9, 9, 8, 7, 6, 3]];
    let words = vec![vec![1..2, 2..5, 5..7], vec![1..3], vec![1..2, 2..3, 3..4, 4..6]];
    (Batch { rows }, words)
}

fn scores(batch: &Batch, words: &[RowWords]) -> Tensor {
    let (config, parameters) = model();
    no_grad(|| SpanClassifier::new(&config, &parameters).unwrap().forward(batch, words, Kind::Float, None))
}

/// Every span of every row with its type: row, first word, number of words less one, type.
fn spans(words: &[RowWords]) -> Vec<[usize; 4]> {
    let mut spans = Vec::new();
    for (row, words) in words.iter().enumerate() {
        for start in 0..words.len() {
            for more in 0..LONGEST.min(words.len() - start) {
                spans.extend((0..TYPES).map(|entity_type| [row, start, more, entity_type]));
            }
        }
    }
    spans
}

fn at(scores: &Tensor, [row, start, more, entity_type]: [usize; 4]) -> f64 {
    scores.double_value(&[row as i64, start as i64, entity_type as i64, more as i64])
}

fn numbers(parameters: &Parameters, name: &str) -> Vec<f64> {
    Vec::try_from(parameters.get(name).unwrap().to_kind(Kind::Double).contiguous().view(-1)).unwrap()
}

#[test]
fn scores_are_those_of_the_formula() {
    let (batch, words) = rows();
    let (config, parameters) = model();
    let states = no_grad(|| Bert::new(&config, &parameters).unwrap().forward(&batch, Kind::Float, None));
    let hidden = config.hidden_size as usize;
    let state = |row: usize, token: usize| -> Vec<f64> {
        Vec::try_from(states.get(row as i64).get(token as i64).to_kind(Kind::Double)).unwrap()
    };
    let mean = |row: usize, word: usize| -> Vec<f64> {
        let tokens = words[row][word].clone();
        let count = tokens.len() as f64;
        (0..hidden).map(|k| tokens.clone().map(|token| state(row, token)[k]).sum::<f64>() / count).collect()
    };
    let dot = |left: &[f64], right: &[f64]| left.iter().zip(right).map(|(l, r)| l * r).sum::<f64>();
    let row_of = |weights: &[f64], at: usize| weights[at * hidden..(at + 1) * hidden].to_vec();
    let (query, key) = (numbers(&parameters, "classifier.query.weight"), numbers(&parameters, "classifier.key.weight"));
    let (query_bias, key_bias) =
        (numbers(&parameters, "classifier.query.bias"), numbers(&parameters, "classifier.key.bias"));
    let parts = numbers(&parameters, "classifier.parts.weight");
    let (length, bias) = (numbers(&parameters, "classifier.length.weight"), numbers(&parameters, "classifier.bias"));
    let found = scores(&batch, &words);
    for span in spans(&words) {
        let [row, start, more, entity_type] = span;
        let end = start + more;
        let mut expected = bias[entity_type] + length[entity_type * LONGEST + more];
        for unit in entity_type * HEAD_SIZE..(entity_type + 1) * HEAD_SIZE {
            let q = dot(&mean(row, start), &row_of(&query, unit)) + query_bias[unit];
            let k = dot(&mean(row, end), &row_of(&key, unit)) + key_bias[unit];
            expected += q * k / (HEAD_SIZE as f64).sqrt();
        }
        expected += dot(&mean(row, start), &row_of(&parts, entity_type));
        expected += dot(&mean(row, end), &row_of(&parts, TYPES + entity_type));
        let inside = (start..=end).map(|word| dot(&mean(row, word), &row_of(&parts, 2 * TYPES + entity_type)));
        expected += inside.sum::<f64>() / (more + 1) as f64;
        assert!((at(&found, span) - expected).abs() < 1e-3, "{span:?}: {} and {expected}", at(&found, span));
    }
}

#[test]
fn a_batch_gives_what_its_rows_give_alone() {
    let (batch, words) = rows();
    let together = scores(&batch, &words);
    for row in 0..batch.rows.len() {
        let alone = (Batch { rows: vec![batch.rows[row].clone()] }, vec![words[row].clone()]);
        let alone_scores = scores(&alone.0, &alone.1);
        for [_, start, more, entity_type] in spans(&alone.1) {
            let gap = at(&alone_scores, [0, start, more, entity_type]) - at(&together, [row, start, more, entity_type]);
            assert!(gap.abs() < 1e-4, "row {row}, word {start}: {gap}");
        }
        let (found, found_alone) = (&found_spans(&together, &words)[row], &found_spans(&alone_scores, &alone.1)[0]);
        let places = |found: &[ner_text::ScoredEntity]| -> Vec<_> {
            found.iter().map(|span| (span.words.clone(), span.entity_type)).collect()
        };
        assert_eq!(places(found), places(found_alone));
    }
}

#[test]
fn loss_divergence_and_finds_are_those_of_plain_loops() {
    let (batch, words) = rows();
    let scores = scores(&batch, &words);
    let entity = |units, entity_type| TaggedEntity { units, entity_type };
    // Nested mentions, one span of two types, and one that is too long.
    let entities = vec![vec![entity(0..2, 0), entity(1..2, 0), entity(1..2, 1)], vec![], vec![entity(0..4, 1)]];
    let softplus = |x: f64| x.max(0.0) + (-x.abs()).exp().ln_1p();
    let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
    for (smoothing, focal, class_weights) in
        [(0.0, 0.0, vec![]), (0.2, 0.0, vec![]), (0.2, 2.0, vec![0.5, 3.0, 2.0]), (0.0, 0.5, vec![])]
    {
        let weights = if class_weights.is_empty() { vec![1.0; 3] } else { class_weights.clone() };
        let options = LossOptions { boundary_smoothing: smoothing, focal, class_weights, ..LossOptions::default() };
        let target = |[row, start, more, entity_type]: [usize; 4]| {
            let end = start + more + 1;
            let share = |entity: &TaggedEntity| {
                let off = entity.units.start.abs_diff(start) + entity.units.end.abs_diff(end);
                match (entity.entity_type == entity_type, off) {
                    (true, 0) => 1.0 - smoothing,
                    (true, 1) => smoothing / 4.0,
                    _ => 0.0,
                }
            };
            entities[row].iter().map(share).sum::<f64>().min(1.0)
        };
        let loss = |span: [usize; 4]| {
            let (score, target) = (at(&scores, span), target(span));
            let positive = target * weights[1 + span[3]] * sigmoid(-score).powf(focal) * softplus(-score);
            positive + (1.0 - target) * weights[0] * sigmoid(score).powf(focal) * softplus(score)
        };
        let expected = spans(&words).into_iter().map(loss).sum::<f64>() / 8.0;
        let found = span_cross_entropy(&scores, &words, &entities, &options).double_value(&[]);
        assert!((found - expected).abs() < 1e-4, "{smoothing}: {found} and {expected}");
    }

    let halves = Tensor::cat(&[&scores, &(&scores * 0.5)], 0);
    let apart = spans(&words).into_iter().map(|span| {
        let (first, second) = (at(&scores, span), at(&scores, span) * 0.5);
        (sigmoid(first) - sigmoid(second)) * (first - second)
    });
    let expected = apart.sum::<f64>() / 2.0 / 8.0;
    let found = span_divergence(&halves, &[words.clone(), words.clone()].concat()).double_value(&[]);
    assert!((found - expected).abs() < 1e-4, "{found} and {expected}");

    let found = found_spans(&scores, &words);
    for span in spans(&words) {
        let [row, start, more, entity_type] = span;
        let probability = sigmoid(at(&scores, span));
        let known = found[row].iter().find(|f| f.words == (start..start + more + 1) && f.entity_type == entity_type);
        match known {
            Some(known) => assert!((f64::from(known.probability) - probability).abs() < 1e-5),
            None => assert!(probability < 0.0101, "{span:?}: {probability}"),
        }
    }
    assert_eq!(found.iter().flatten().count(), found.iter().flatten().filter(|f| f.probability > 0.01).count());
}
