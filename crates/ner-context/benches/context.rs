//! Benchmarks of assertion and sections: reading the rules, and applying them to a note.

#![allow(missing_docs, reason = "of what criterion's macro makes")]

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use ner_context::ContextRules;
use ner_document::{Document, Span};
use std::hint::black_box;

const NOTE: &str = "\
HISTORY OF PRESENT ILLNESS: The patient is a 63-year-old man with a history of hypertension who presents with three days
of productive cough and pleuritic chest pain. He denies fever, chills, or night sweats. He has dyspnea on exertion.
FAMILY HISTORY: Mother had breast cancer at age 60.
PHYSICAL EXAM: No edema. Lungs: crackles at the right base without wheezing.
IMPRESSION: Probable pneumonia; cannot exclude pulmonary embolism. Return if hemoptysis develops.
";

const MENTIONS: [&str; 13] = [
    "hypertension",
    "productive cough",
    "pleuritic chest pain",
    "fever",
    "chills",
    "night sweats",
    "dyspnea on exertion",
    "breast cancer",
    "edema",
    "wheezing",
    "pneumonia",
    "pulmonary embolism",
    "hemoptysis",
];

fn context(criterion: &mut Criterion) {
    criterion.bench_function("rules/read", |bencher| bencher.iter(ContextRules::builtin));
    let rules = ContextRules::builtin();
    let document = Document::new("note", NOTE);
    let position = |mention: &&str| NOTE.find(*mention).map(|start| Span::new(start, start + mention.len()));
    let mentions: Vec<Span> = MENTIONS.iter().filter_map(position).collect();
    let mut group = criterion.benchmark_group("context");
    group.throughput(Throughput::Bytes(NOTE.len() as u64));
    group.bench_function("note", |bencher| bencher.iter(|| black_box(rules.of(black_box(&document), &mentions).len())));
    group.finish();
}

criterion_group!(benches, context);
criterion_main!(benches);
