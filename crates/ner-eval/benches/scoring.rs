//! Benchmarks scoring of the synthetic corpus: strict, SemEval schemes, error classes, and intervals.

#![allow(missing_docs, reason = "of what criterion's macro makes")]

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use ner_data::synthetic::{SAMPLE_SEED, Sizes, bc5cdr};
use ner_document::{Document, Mention, Span};
use ner_eval::{PairedDocuments, Resampling, bootstrap_intervals, count_errors, score_documents, score_semeval};
use std::hint::black_box;

/// As many documents as a test split.
const DOCUMENTS: usize = 500;

/// Gold, and predictions with missed, shifted and mistaken mentions.
fn both() -> (Vec<Document>, Vec<Document>) {
    let gold = bc5cdr(SAMPLE_SEED, Sizes { train: 0, dev: 0, test: DOCUMENTS }).test;
    let mut predicted = gold.clone();
    for document in &mut predicted {
        let mut at = 0;
        document.mentions.retain(|_| {
            at += 1;
            at % 8 > 0
        });
        for (at, mention) in document.mentions.iter_mut().enumerate() {
            let Span { start, end } = mention.span();
            if at % 6 == 0 && end - start > 1 {
                let entity_type = mention.entity_type.clone();
                *mention = Mention::new(Span::new(start + 1, end), entity_type);
            } else if at % 11 == 0 {
                mention.entity_type = "Disease".into();
            }
        }
    }
    (gold, predicted)
}

fn scoring(criterion: &mut Criterion) {
    let (gold, predicted) = both();
    let mut group = criterion.benchmark_group("scoring");
    group.throughput(Throughput::Elements(gold.len() as u64));
    group.bench_function("strict, documents", |bencher| {
        bencher.iter(|| score_documents(black_box(&gold), &predicted).expect("the same documents"));
    });
    let pairs = PairedDocuments::new(&gold, &predicted).expect("the same documents");
    group.bench_function("semeval, documents", |bencher| {
        bencher.iter(|| score_semeval(black_box(&pairs).mentions()));
    });
    group.bench_function("errors, documents", |bencher| {
        bencher.iter(|| count_errors(black_box(&pairs).mentions()));
    });
    let counts = pairs.score().by_document;
    // A tenth of the draws used for reported scores.
    let resampling = Resampling { resamples: 1000, ..Resampling::default() };
    group.throughput(Throughput::Elements(resampling.resamples as u64));
    group.bench_function("bootstrap, draws", |bencher| {
        bencher.iter(|| bootstrap_intervals(black_box(&counts), &resampling));
    });
    group.finish();
}

criterion_group!(benches, scoring);
criterion_main!(benches);
