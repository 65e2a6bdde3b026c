//! One forward pass of an encoder with MiniLM's shape, and of each head, on rows as long as a sentence.

#![allow(missing_docs, reason = "of what criterion's macro makes")]

#[path = "../../medner/src/allocator.rs"]
mod allocator;
#[path = "shared/random_model.rs"]
mod random_model;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use ner_document::{LabelSet, TagScheme};
use ner_model::{Batch, Bert, Classifier, Head, Precision, RowWords};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use std::hint::black_box;
use tch::{Device, Kind, no_grad};

const ROWS: usize = 16;
const TOKENS: usize = 32;

/// Rows without padding, whose words have one and two pieces in turn.
fn rows() -> (Batch, Vec<RowWords>) {
    let mut random = SmallRng::seed_from_u64(1);
    let rows = (0..ROWS).map(|_| (0..TOKENS).map(|_| random.random_range(1000..30_000)).collect()).collect();
    let words: RowWords = (1..TOKENS - 3).step_by(3).flat_map(|at| [at..at + 1, at + 1..at + 3]).collect();
    (Batch { rows }, vec![words; ROWS])
}

fn forward(criterion: &mut Criterion) {
    let (config, labels) = (random_model::config(6, 384, 12), LabelSet::new(TagScheme::Bio, ["X", "Y"]));
    let parameters = random_model::parameters(&config, Head::Token, &labels);
    let (batch, _) = rows();
    let mut group = criterion.benchmark_group("forward pass");
    group.throughput(Throughput::Elements(batch.tokens() as u64)).sample_size(20);
    for (name, kind) in [("fp32, tokens", Kind::Float), ("bf16, tokens", Kind::BFloat16)] {
        let parameters = no_grad(|| parameters.for_computing(Device::Cpu, kind).packed());
        let model = Bert::new(&config, &parameters).expect("all parameters");
        group.bench_function(name, |bencher| {
            bencher.iter(|| no_grad(|| model.forward(black_box(&batch), kind, None)));
        });
    }
    group.finish();
}

fn output(criterion: &mut Criterion) {
    let (config, labels) = (random_model::config(6, 384, 12), LabelSet::new(TagScheme::Bio, ["X", "Y"]));
    let kind = Precision::Auto.resolve(Device::Cpu).expect("the CPU has one");
    let (batch, words) = rows();
    let mut group = criterion.benchmark_group("encoder and head");
    group.throughput(Throughput::Elements(batch.tokens() as u64)).sample_size(20);
    let heads = [
        ("token", Head::Token),
        ("span", Head::Span { longest: 24 }),
        ("crf", Head::Crf { scheme: TagScheme::Bio }),
        ("multilabel", Head::Multilabel { scheme: TagScheme::Bio }),
    ];
    for (name, head) in heads {
        let parameters = random_model::parameters(&config, head, &labels);
        let parameters = no_grad(|| parameters.for_computing(Device::Cpu, kind).packed());
        let model = Classifier::new(&config, &parameters, head).expect("all parameters");
        group.bench_function(format!("{name}, tokens"), |bencher| {
            bencher.iter(|| model.output(black_box(&batch), &words, kind, None));
        });
    }
    group.finish();
}

criterion_group!(benches, forward, output);
criterion_main!(benches);
