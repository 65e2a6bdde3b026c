//! One optimisation step of the default recipe on the synthetic corpus, with an encoder of MiniLM's shape.

#![allow(missing_docs, reason = "of what criterion's macro makes")]

#[path = "../../medner/src/allocator.rs"]
mod allocator;
#[path = "../../ner-model/benches/shared/random_model.rs"]
mod random_model;
#[path = "../../ner-data/benches/shared/synthetic.rs"]
mod synthetic;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use ner_model::Precision;
use ner_train::{Recipe, Trainer, TrainingSet};
use std::time::Duration;
use tch::Device;

fn step(criterion: &mut Criterion) {
    let (documents, labels) = (synthetic::documents(), synthetic::labels());
    let (config, recipe) = (random_model::config(6, 384, 12), Recipe::default());
    let encoder = synthetic::encoder(&documents, recipe.window_size());
    let encoded = encoder.encode(&documents).expect("encoded");
    let data = TrainingSet::new(&encoder, &documents, &encoded, &labels, recipe.head());
    let parameters = random_model::parameters(&config, recipe.head(), &labels);
    let mut group = criterion.benchmark_group("step");
    // Batches are filled to nearly this many.
    group.throughput(Throughput::Elements(recipe.batch_tokens as u64)).sample_size(10);
    for (name, precision) in [("fp32, tokens", Precision::Fp32), ("bf16, tokens", Precision::Bf16)] {
        let recipe = Recipe { precision, epochs: 1000, ..recipe.clone() };
        let mut trainer = Trainer::new(&recipe, &config, &parameters, &data, Device::Cpu).expect("a trainer");
        group.bench_function(name, |bencher| {
            bencher.iter_custom(|count| {
                let (mut left, mut elapsed) = (count as usize, Duration::ZERO);
                while left > 0 {
                    for step in trainer.next_epoch().take(left) {
                        elapsed += Duration::from_secs_f64(step.expect("finite").elapsed_ms / 1e3);
                        left -= 1;
                    }
                }
                elapsed
            });
        });
    }
    group.finish();
}

criterion_group!(benches, step);
criterion_main!(benches);
