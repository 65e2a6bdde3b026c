//! Benchmarks of document processing around the model: parsing, tokenisation, alignment, batching, decoding.

#![allow(missing_docs, reason = "of what criterion's macro makes")]

#[path = "shared/synthetic.rs"]
mod synthetic;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use ner_data::{
    DecodeOptions, EncodedDocument, Format, FormatOptions, ModelOutput, ScoredEntity, TagScheme, TaggedEntity,
    Transitions, WindowSize, Word, WordScores, align, align_spans, batches_by_length, decode_mentions, piece_labels,
    shuffled_batches,
};
use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;

/// Words of the longest span, and tokens per batch, as in the default recipe.
const LONGEST: usize = 24;
const BUDGET: usize = 896;

/// Windows of one sentence each, as in the default recipe.
fn sentences() -> WindowSize {
    WindowSize { packed: 1, ..WindowSize::default() }
}

fn parsing(criterion: &mut Criterion) {
    let options = FormatOptions::default();
    let file = tempfile::NamedTempFile::new().expect("a file");
    Format::Pubtator.write(file.path(), &synthetic::documents(), &options).expect("written");
    let text = std::fs::read(file.path()).expect("read");
    let mut group = criterion.benchmark_group("parsing");
    group.throughput(Throughput::Bytes(text.len() as u64));
    group.bench_function("pubtator", |bencher| {
        bencher.iter(|| {
            let input = Box::new(black_box(text.as_slice()));
            let documents = Format::Pubtator.open_input(input, Path::new("bench"), &options).expect("one file");
            documents.read_all().expect("it lies in memory")
        });
    });
    group.finish();
}

fn tokenisation(criterion: &mut Criterion) {
    let documents = synthetic::documents();
    let encoder = synthetic::encoder(&documents, sentences());
    let tokens: usize = encoder.encode(&documents).expect("encoded").iter().map(|document| document.tokens.len()).sum();
    let mut group = criterion.benchmark_group("tokenisation");
    group.throughput(Throughput::Elements(tokens as u64));
    group.bench_function("windows of sentences, tokens", |bencher| {
        bencher.iter(|| encoder.encode(black_box(&documents)).expect("encoded"));
    });
    group.finish();
}

fn alignment(criterion: &mut Criterion) {
    let documents = synthetic::documents();
    let encoded = synthetic::encoder(&documents, sentences()).encode(&documents).expect("encoded");
    let labels = synthetic::labels();
    let words: Vec<Vec<Word>> = encoded.iter().map(|document| document.words.clone()).collect();
    let tokens: usize = encoded.iter().map(|document| document.tokens.len()).sum();
    let mut group = criterion.benchmark_group("alignment");
    group.throughput(Throughput::Elements(tokens as u64));
    group.bench_function("words, tokens", |bencher| {
        bencher.iter(|| encoded.iter().map(|document| black_box(document).words.len()).sum::<usize>());
    });
    let spans: Vec<_> = encoded.iter().map(EncodedDocument::word_spans).collect();
    group.bench_function("labels, tokens", |bencher| {
        bencher.iter(|| {
            for ((document, words), spans) in documents.iter().zip(&words).zip(&spans) {
                let aligned = align(spans, &document.mentions, &labels);
                black_box(piece_labels(words, &aligned.entities, &labels));
            }
        });
    });
    group.bench_function("spans, tokens", |bencher| {
        bencher.iter(|| {
            for (document, spans) in documents.iter().zip(&spans) {
                black_box(align_spans(spans, &document.mentions, &labels, LONGEST));
            }
        });
    });
    group.finish();
}

fn batching(criterion: &mut Criterion) {
    let documents = synthetic::documents();
    let encoder = synthetic::encoder(&documents, sentences());
    let encoded = encoder.encode(&documents).expect("encoded");
    let windows = encoded.iter().flat_map(|document| &document.windows);
    let of_sample: Vec<usize> = windows.map(|window| window.tokens.len() + encoder.specials()).collect();
    // As many rows as a corpus.
    let lengths = of_sample.repeat(10);
    let mut group = criterion.benchmark_group("batching");
    group.throughput(Throughput::Elements(lengths.len() as u64));
    group.bench_function("shuffled, rows", |bencher| {
        bencher.iter(|| shuffled_batches(black_box(&lengths), BUDGET, 1));
    });
    group.bench_function("by length, rows", |bencher| {
        bencher.iter(|| batches_by_length(black_box(&lengths), BUDGET, BUDGET));
    });
    group.finish();
}

/// The output of a head that is nearly correct and nearly certain, and the words of its document.
struct Found {
    words: Vec<Word>,
    findings: ModelOutput,
}

fn found(kind: &str, encoded: &[EncodedDocument]) -> Vec<Found> {
    let labels = synthetic::labels();
    let transitions = Arc::new(Transitions::constraints(TagScheme::Bio, labels.types.len()));
    let documents = synthetic::documents();
    let findings = |words: &[Word], entities: &[TaggedEntity]| {
        let tags = labels.encode(words.len(), entities);
        // Every seventh word is uncertain.
        let sure = |at: usize| if at.is_multiple_of(7) { 0.6f32 } else { 0.97 };
        let rest = |at: usize| (1.0 - sure(at)) / (labels.len() - 1) as f32;
        let row = |at: usize, tag: usize| -> Vec<f32> {
            (0..labels.len()).map(|label| if label == tag { sure(at) } else { rest(at) }).collect()
        };
        match kind {
            "labels" => {
                let tags = piece_labels(words, entities, &labels);
                ModelOutput::Labels(tags.into_iter().enumerate().flat_map(|(at, tag)| row(at, tag)).collect())
            }
            "spans" => {
                let gold = |entity: &TaggedEntity, probability: f32| ScoredEntity {
                    words: entity.units.clone(),
                    entity_type: entity.entity_type,
                    probability,
                };
                // Each mention, and one that is a word longer and half as probable.
                let longer = entities.iter().filter(|entity| entity.units.end < words.len()).map(|entity| {
                    ScoredEntity { words: entity.units.start..entity.units.end + 1, ..gold(entity, 0.48) }
                });
                ModelOutput::Spans(entities.iter().map(|entity| gold(entity, 0.97)).chain(longer).collect())
            }
            "chains" => ModelOutput::Chains(WordScores {
                scores: tags.into_iter().enumerate().flat_map(|(at, tag)| row(at, tag)).map(f32::ln).collect(),
                starts: vec![0],
                transitions: Arc::clone(&transitions),
            }),
            "types" => {
                let odds = |(at, tag): (usize, usize)| -> Vec<f32> {
                    row(at, tag)[1..].iter().map(|share| (share / (1.0 - share)).ln()).collect()
                };
                ModelOutput::Types(tags.into_iter().enumerate().flat_map(odds).collect())
            }
            _ => unreachable!("a kind of output"),
        }
    };
    let of_document = |(document, encoded): (&ner_data::Document, &EncodedDocument)| {
        let words = encoded.words.clone();
        let spans: Vec<_> = words.iter().map(|word| word.span).collect();
        let entities = align(&spans, &document.mentions, &labels).entities;
        Found { findings: findings(&words, &entities), words }
    };
    documents.iter().zip(encoded).map(of_document).collect()
}

fn decoding(criterion: &mut Criterion) {
    let documents = synthetic::documents();
    let encoded = synthetic::encoder(&documents, sentences()).encode(&documents).expect("encoded");
    let labels = synthetic::labels();
    let tokens: usize = encoded.iter().map(|document| document.tokens.len()).sum();
    let mut group = criterion.benchmark_group("decoding");
    group.throughput(Throughput::Elements(tokens as u64));
    for kind in ["labels", "spans", "chains", "types"] {
        let all = found(kind, &encoded);
        group.bench_with_input(format!("{kind}, tokens"), &all, |bencher, all| {
            bencher.iter(|| {
                for Found { words, findings } in all {
                    let offsets = [0.1, -0.1];
                    black_box(decode_mentions(words, findings, &labels, &offsets, DecodeOptions::default()));
                }
            });
        });
    }
    group.finish();
}

criterion_group!(benches, parsing, tokenisation, alignment, batching, decoding);
criterion_main!(benches);
