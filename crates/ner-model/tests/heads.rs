//! Properties of every head: a batch gives the same as its single rows, padding changes nothing, and bf16 is near fp32.

#![allow(clippy::unwrap_used, reason = "helpers of tests may unwrap as tests do")]

use ner_document::{LabelSet, TagScheme, TaggedEntity};
use ner_model::{
    Batch, BatchOutput, BertConfig, Classifier, Cpu, FusedLayers, Head, IGNORE_INDEX, LossOptions, Parameters,
    RowWords, Targets, TrainingPass, decisions, load_encoder,
};
use ner_text::ScoredEntity;
use std::path::Path;
use std::sync::{Arc, Mutex};
use tch::{Device, Kind, Tensor, no_grad};

const HEADS: [Head; 7] = [
    Head::Token,
    Head::Span { longest: 3 },
    Head::Crf { scheme: TagScheme::Bio },
    Head::Crf { scheme: TagScheme::Bioes },
    Head::Multilabel { scheme: TagScheme::Bio },
    Head::Multilabel { scheme: TagScheme::Io },
    Head::Assertion,
];

fn labels(head: Head) -> LabelSet {
    let scheme = match head {
        Head::Crf { scheme } | Head::Multilabel { scheme } => scheme,
        Head::Token | Head::Span { .. } | Head::Assertion => TagScheme::Bio,
    };
    LabelSet::new(scheme, ["Chemical", "Disease"])
}

fn model(head: Head) -> Classifier {
    let (config, parameters) = parameters(head);
    Classifier::new(&config, &parameters, head).unwrap()
}

fn parameters(head: Head) -> (BertConfig, Parameters) {
    // All threads of a test share libtorch's generator, which draws new weights.
    static DRAWING: Mutex<()> = Mutex::new(());
    let _drawing = DRAWING.lock().unwrap();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/gelu");
    let (config, weights) = (folder.join("config.json"), folder.join("model.safetensors"));
    let model = load_encoder(&config, &weights, &labels(head), head, 1).unwrap();
    // New weights are small, and biases speak against mentions: these give probabilities of all sizes.
    let larger = |(name, tensor): (&str, &Tensor)| {
        let tensor = match tensor.dim() {
            _ if !name.starts_with("classifier.") => tensor.shallow_clone(),
            1 => Tensor::arange(tensor.size()[0], (Kind::Float, Device::Cpu)).sin() * 0.5,
            _ => tensor * 5.0,
        };
        (name.to_owned(), tensor)
    };
    (model.config.clone(), Parameters::new(model.parameters.iter().map(larger).collect()))
}

/// Three rows, the second one shorter; words of one to three pieces between two special tokens.
fn rows() -> (Batch, Vec<RowWords>) {
    let rows = vec![vec![2, 5, 6, 7, 8, 9, 10, 3], vec![2, 11, 12, 3], vec![2, 9, 9, 8, 7, 6, 3]];
    let words = vec![vec![1..2, 2..5, 5..7], vec![1..3], vec![1..2, 2..3, 3..4, 4..6]];
    (Batch { rows }, words)
}

/// The output for one row, as numbers in an order that does not depend on the batch.
fn numbers(answers: &BatchOutput, row: usize, tokens: usize) -> Vec<f32> {
    match answers {
        BatchOutput::Labels(all) => {
            Vec::try_from(all.get(row as i64).narrow(0, 0, tokens as i64).contiguous().view(-1)).unwrap()
        }
        BatchOutput::Words(all) => all[row].clone(),
        BatchOutput::Spans(all) => {
            let mut spans: Vec<&ScoredEntity> = all[row].iter().collect();
            spans.sort_by_key(|span| (span.words.start, span.words.end, span.entity_type));
            spans.iter().map(|span| span.probability).collect()
        }
    }
}

fn largest_gap(left: &[f32], right: &[f32]) -> f32 {
    assert_eq!(left.len(), right.len());
    left.iter().zip(right).map(|(left, right)| (left - right).abs()).fold(0.0, f32::max)
}

#[test]
fn a_batch_gives_what_its_rows_give_alone() {
    let (batch, words) = rows();
    for head in HEADS {
        let model = model(head);
        let together = model.output(&batch, &words, Kind::Float, None);
        for row in 0..batch.rows.len() {
            let tokens = batch.rows[row].len();
            let one = Batch { rows: vec![batch.rows[row].clone()] };
            let alone = numbers(&model.output(&one, &words[row..=row], Kind::Float, None), 0, tokens);
            let gap = largest_gap(&numbers(&together, row, tokens), &alone);
            assert!(!alone.is_empty() && gap < 1e-4, "{head:?}, row {row}: {gap}");
        }
    }
}

/// With fused layers and each row's head alone, not a digit depends on the other rows.
#[test]
fn by_row_a_batch_gives_exactly_what_its_rows_give_alone() {
    let (batch, words) = rows();
    for head in HEADS {
        for int8 in [false, true] {
            let (config, parameters) = parameters(head);
            let layers = Arc::new(FusedLayers::new(&config, &parameters, Cpu::current().unwrap(), int8).unwrap());
            let mut model = Classifier::new(&config, &parameters, head).unwrap();
            model.predict_with(layers);
            let together = model.output_by_row(&batch, &words, Kind::Float);
            for (row, together) in together.iter().enumerate() {
                let tokens = batch.rows[row].len();
                let one = Batch { rows: vec![batch.rows[row].clone()] };
                let alone = model.output(&one, &words[row..=row], Kind::Float, None);
                assert_eq!(numbers(together, 0, tokens), numbers(&alone, 0, tokens), "{head:?}, row {row}");
            }
        }
    }
}

/// Losses, too: the loss of a batch is the mean over words, pieces or mentions of the losses of its single rows.
#[test]
fn padding_adds_nothing_to_a_loss() {
    let (batch, words) = rows();
    let entity = |units, entity_type| TaggedEntity { units, entity_type };
    let entities = [vec![entity(0..2, 0), entity(2..3, 1)], vec![], vec![entity(1..4, 1)]];
    for head in HEADS {
        let model = model(head);
        let labels: Vec<Vec<i64>> = batch
            .rows
            .iter()
            .map(|row| (0..row.len() as i64).map(|at| at % labels(head).len() as i64).collect())
            .collect();
        for r_drop in [0.0, 1.0] {
            let loss = |rows: &[usize]| {
                // Both passes of R-Drop, which are equal without dropout.
                let rows: Vec<usize> = if r_drop > 0.0 { [rows, rows].concat() } else { rows.to_vec() };
                let batch = Batch { rows: rows.iter().map(|&row| batch.rows[row].clone()).collect() };
                let targets = Targets {
                    labels: rows.iter().map(|&row| labels[row].clone()).collect(),
                    words: rows.iter().map(|&row| words[row].clone()).collect(),
                    entities: rows.iter().map(|&row| entities[row].clone()).collect(),
                    ..Targets::default()
                };
                let options = LossOptions { r_drop, ..LossOptions::default() };
                let mut dropout = TrainingPass::new(1, Device::Cpu, 0.0, 0.0);
                no_grad(|| model.loss(&batch, &targets, Kind::Float, &mut dropout, &options)).double_value(&[])
            };
            let units = |row: usize| match head {
                Head::Token => batch.rows[row].len() as f64,
                Head::Assertion => entities[row].len() as f64,
                _ => words[row].len() as f64,
            };
            let alone: f64 = (0..3).filter(|&row| units(row) > 0.0).map(|row| loss(&[row]) * units(row)).sum();
            let expected = alone / (0..3).map(units).sum::<f64>();
            let found = loss(&[0, 1, 2]);
            assert!((found - expected).abs() < 1e-4, "{head:?}: {found} and {expected}");
        }
    }
}

/// Tolerances: 0.02 for a probability, 0.05 for a score of a word. bf16 has 8 bits: a state of size 1 is off by up to
/// 1/256, and a head's sum of states by a few times that.
#[test]
fn bf16_is_near_fp32() {
    let (batch, words) = rows();
    for head in HEADS {
        let model = model(head);
        let (exact, rough) =
            (model.output(&batch, &words, Kind::Float, None), model.output(&batch, &words, Kind::BFloat16, None));
        for row in 0..batch.rows.len() {
            let tokens = batch.rows[row].len();
            let gap = largest_gap(&numbers(&exact, row, tokens), &numbers(&rough, row, tokens));
            let bound = if matches!(exact, BatchOutput::Words(_)) { 0.05 } else { 0.02 };
            assert!(gap > 0.0 && gap < bound, "{head:?}, row {row}: {gap}");
        }
    }
}

#[test]
fn a_type_by_itself_is_a_softmax_against_outside() {
    let head = Head::Multilabel { scheme: TagScheme::Bio };
    let Classifier::Multilabel(model) = model(head) else { panic!("a multilabel head") };
    let (batch, words) = rows();
    let scores = no_grad(|| model.forward(&batch, &words, Kind::Float, None));
    assert_eq!(scores.size(), [3, 4, 4]);
    let entity = |units, entity_type| TaggedEntity { units, entity_type };
    // Mentions of two types that overlap.
    let entities = [vec![entity(0..3, 0), entity(1..2, 1)], vec![entity(0..1, 1)], vec![]];
    let (logits, found) = decisions(&scores, &words, &entities, model.scheme());
    assert_eq!(found[0], [1, 0, 2, 1, 2, 0, IGNORE_INDEX, IGNORE_INDEX]);
    assert_eq!(found[1], [[0, 1].as_slice(), &[IGNORE_INDEX; 6]].concat());
    assert_eq!(found[2], [0; 8]);
    for (row, word, of_type) in [(0, 0, 0), (0, 2, 1), (2, 3, 1)] {
        let own: Vec<f32> = Vec::try_from(logits.get(row).get(word * 2 + of_type)).unwrap();
        let expected: Vec<f32> = (0..2).map(|at| scores.double_value(&[row, word, of_type * 2 + at]) as f32).collect();
        assert_eq!(own, [[0.0].as_slice(), &expected].concat());
    }
}

/// Rows without padding use the fast path of prediction; plain weights in the same kind use the slow one.
#[test]
#[expect(clippy::print_stderr, reason = "what is skipped is said")]
fn packed_rows_give_what_padded_ones_do() {
    let (batch, words) = rows();
    for head in HEADS {
        let (mut config, parameters) = parameters(head);
        // Heads of 16: the fast path does not support smaller ones.
        config.num_attention_heads = 2;
        let plain = no_grad(|| parameters.for_computing(Device::Cpu, Kind::BFloat16));
        let packed = no_grad(|| plain.packed());
        if !packed.get("bert.encoder.layer.0.attention.self.query.weight").unwrap().is_mkldnn() {
            eprintln!("SKIPPED: no packed weights on this CPU");
            return;
        }
        let answers = |parameters: &Parameters| {
            Classifier::new(&config, parameters, head).unwrap().output(&batch, &words, Kind::BFloat16, None)
        };
        let (packed, plain) = (answers(&packed), answers(&plain));
        for row in 0..batch.rows.len() {
            let tokens = batch.rows[row].len();
            let (packed, plain) = (numbers(&packed, row, tokens), numbers(&plain, row, tokens));
            let gap = largest_gap(&packed, &plain);
            assert!(!plain.is_empty() && gap < 0.05, "{head:?}, row {row}: {gap}");
        }
    }
}
