//! The chain over words, compared with pytorch-crf (golden/make_crf_golden.py) and with all sequences enumerated.

#![allow(clippy::unwrap_used, reason = "helpers of tests may unwrap as tests do")]

use ner_document::{TagScheme, TaggedEntity};
use ner_model::{Crf, RowWords};
use serde_json::Value;
use std::path::Path;
use tch::{Kind, Tensor};

fn golden() -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/crf.json");
    serde_json::from_str(&fs_err::read_to_string(path).unwrap()).unwrap()
}

fn numbers(value: &Value) -> Vec<f32> {
    serde_json::from_value(value.clone()).unwrap()
}

/// A chain and its inputs; each word is one piece.
struct Case {
    scheme: TagScheme,
    scores: Tensor,
    parts: [Tensor; 3],
    words: Vec<RowWords>,
    entities: Vec<Vec<TaggedEntity>>,
}

impl Case {
    fn new(golden: &Value, case: &Value) -> Self {
        let lengths: Vec<usize> = serde_json::from_value(golden["lengths"].clone()).unwrap();
        let entities: Vec<Vec<[usize; 3]>> = serde_json::from_value(golden["entities"].clone()).unwrap();
        let labels = case["labels"].as_i64().unwrap();
        let leaf =
            |name: &str, size: &[i64]| Tensor::from_slice(&numbers(&case[name])).view(size).set_requires_grad(true);
        let entity = |&[start, end, entity_type]: &[usize; 3]| TaggedEntity { units: start..end, entity_type };
        Self {
            scheme: serde_json::from_value(case["scheme"].clone()).unwrap(),
            scores: leaf("scores", &[lengths.len() as i64, *lengths.iter().max().unwrap() as i64, labels]),
            parts: [leaf("start", &[labels]), leaf("between", &[labels, labels]), leaf("end", &[labels])],
            words: lengths.into_iter().map(|count| (0..count).map(|at| at..at + 1).collect()).collect(),
            entities: entities.iter().map(|row| row.iter().map(entity).collect()).collect(),
        }
    }

    fn crf(&self) -> Crf {
        let [start, between, end] = &self.parts;
        Crf::new(self.scheme, start.shallow_clone(), between.shallow_clone(), end.shallow_clone())
    }

    fn loss(&self) -> Tensor {
        self.crf().negative_log_likelihood(&self.scores, &self.words, &self.entities)
    }

    /// Every label sequence of a row that the scheme allows, with its score.
    fn sequences(&self, row: usize) -> Vec<(Vec<usize>, f64)> {
        let [start, between, end] = &self.parts;
        let (words, labels) = (self.words[row].len(), start.size()[0] as usize);
        let score = |sequence: &Vec<usize>| -> Option<f64> {
            let tags: Vec<_> = sequence.iter().map(|&label| Some(self.scheme.tag(label))).collect();
            let pairs = [None].into_iter().chain(tags.clone()).zip(tags.into_iter().chain([None]));
            if !pairs.into_iter().all(|(from, to)| self.scheme.allows(from, to)) {
                return None;
            }
            let at = |tensor: &Tensor, place: &[i64]| tensor.double_value(place);
            let first = sequence[0] as i64;
            let last = sequence[words - 1] as i64;
            let own = (0..words).map(|word| at(&self.scores, &[row as i64, word as i64, sequence[word] as i64]));
            let beside = sequence.windows(2).map(|pair| at(between, &[pair[0] as i64, pair[1] as i64]));
            Some(own.sum::<f64>() + beside.sum::<f64>() + at(start, &[first]) + at(end, &[last]))
        };
        let all = (0..labels.pow(words as u32))
            .map(|number| (0..words as u32).map(|at| number / labels.pow(at) % labels).collect::<Vec<usize>>());
        all.filter_map(|sequence| score(&sequence).map(|score| (sequence, score))).collect()
    }
}

fn check_close(found: &Tensor, expected: &[f32], what: &str) {
    let found = Vec::<f32>::try_from(found.detach().contiguous().view(-1)).unwrap();
    assert_eq!(found.len(), expected.len(), "{what}");
    for (at, (found, expected)) in found.iter().zip(expected).enumerate() {
        assert!((found - expected).abs() < 2e-5, "{what} at {at}: {found} and {expected}");
    }
}

#[test]
fn all_that_is_computed_is_what_pytorch_crf_computes() {
    let golden = golden();
    for expected in golden["cases"].as_array().unwrap() {
        let case = Case::new(&golden, expected);
        let crf = case.crf();
        check_close(
            &crf.log_partition(&case.scores, &case.words),
            &numbers(&expected["log_partition"]),
            "log-partition",
        );
        check_close(&crf.marginals(&case.scores, &case.words), &numbers(&expected["marginals"]), "marginals");
        let loss = case.loss();
        let expected_loss = expected["negative_log_likelihood"].as_f64().unwrap();
        assert!((loss.double_value(&[]) - expected_loss).abs() < 1e-5);
        let [start, between, end] = &case.parts;
        let leaves = [("scores", &case.scores), ("start", start), ("between", between), ("end", end)];
        let gradients = Tensor::run_backward(&[loss], &leaves.map(|(_, leaf)| leaf), false, false);
        for ((name, _), gradient) in leaves.iter().zip(&gradients) {
            check_close(gradient, &numbers(&expected["gradients"][name]), name);
        }
        let transitions = crf.transitions();
        let best: Vec<Vec<usize>> = serde_json::from_value(expected["best"].clone()).unwrap();
        for (row, best) in best.iter().enumerate() {
            let scores = case.scores.get(row as i64).narrow(0, 0, best.len() as i64).detach().contiguous().view(-1);
            let scores = Vec::<f32>::try_from(scores).unwrap();
            assert_eq!(&transitions.best_sequence(&scores, &vec![false; best.len()]), best, "{:?}", case.scheme);
        }
    }
}

#[test]
fn sums_are_those_over_all_sequences() {
    let golden = golden();
    for case in golden["cases"].as_array().unwrap().iter().take(2).map(|case| Case::new(&golden, case)) {
        let crf = case.crf();
        let partition = crf.log_partition(&case.scores, &case.words);
        let marginals = crf.marginals(&case.scores, &case.words);
        // A second pass of the same rows with other scores.
        let other = Case {
            scheme: case.scheme,
            scores: &case.scores * 0.5 + 0.1,
            parts: case.parts.each_ref().map(Tensor::shallow_clone),
            words: case.words.clone(),
            entities: Vec::new(),
        };
        let (mut apart, mut count) = (0.0, 0);
        for (row, words) in case.words.iter().enumerate() {
            let all = case.sequences(row);
            let total: f64 = all.iter().map(|(_, score)| score.exp()).sum();
            assert!((partition.double_value(&[row as i64]) - total.ln()).abs() < 1e-5);
            for word in 0..words.len() {
                for label in 0..case.parts[0].size()[0] {
                    let with = all.iter().filter(|(sequence, _)| sequence[word] == label as usize);
                    let share = with.map(|(_, score)| score.exp()).sum::<f64>() / total;
                    let found = marginals.double_value(&[row as i64, word as i64, label]);
                    assert!((found - share).abs() < 1e-5, "{found} and {share}");
                }
            }
            let others = other.sequences(row);
            let other_total: f64 = others.iter().map(|(_, score)| score.exp()).sum();
            for ((_, score), (_, other)) in all.iter().zip(&others) {
                let (p, q) = (score - total.ln(), other - other_total.ln());
                apart += (p.exp() - q.exp()) * (p - q);
            }
            count += words.len();
        }
        let both = Tensor::cat(&[&case.scores, &other.scores], 0);
        let found = crf.divergence(&both, &[case.words.clone(), case.words.clone()].concat()).double_value(&[]);
        let expected = apart / 2.0 / count as f64;
        assert!((found - expected).abs() < 1e-5, "{found} and {expected}");
    }
}

#[test]
fn gradients_are_differences() {
    let golden = golden();
    for case in golden["cases"].as_array().unwrap() {
        let mut case = Case::new(&golden, case);
        let gradients = Tensor::run_backward(&[case.loss()], &[&case.parts[1]], false, false);
        let labels = case.parts[0].size()[0];
        for (from, to) in [(0, 0), (0, 1), (1, 0), (1, labels - 1), (labels - 1, 0)] {
            let mut moved = |step: f64| {
                let change = Tensor::zeros([labels, labels], (Kind::Float, tch::Device::Cpu));
                let _ = change.get(from).get(to).fill_(step);
                let moved = case.parts[1].detach() + change;
                let kept = std::mem::replace(&mut case.parts[1], moved);
                let loss = case.loss().double_value(&[]);
                case.parts[1] = kept;
                loss
            };
            let slope = (moved(1e-2) - moved(-1e-2)) / 2e-2;
            let found = gradients[0].double_value(&[from, to]);
            assert!((found - slope).abs() < 2e-4, "{:?}, {from} to {to}: {found} and {slope}", case.scheme);
        }
    }
}

#[test]
fn a_row_without_words_costs_nothing() {
    let golden = golden();
    let mut case = Case::new(&golden, &golden["cases"][1]);
    let whole = case.loss().double_value(&[]) * 12.0;
    case.words.push(Vec::new());
    case.entities.push(Vec::new());
    case.scores = Tensor::cat(&[&case.scores, &case.scores.narrow(0, 0, 1)], 0);
    assert!((case.loss().double_value(&[]) * 12.0 - whole).abs() < 1e-5);
    let none: [RowWords; 1] = [Vec::new()];
    let loss = case.crf().negative_log_likelihood(&case.scores.narrow(0, 0, 1).narrow(1, 0, 1), &none, &[Vec::new()]);
    assert_eq!(loss.double_value(&[]), 0.0);
}
