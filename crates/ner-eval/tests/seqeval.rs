//! Compares scores of tag sequences with those of seqeval and conlleval, computed by the originals.

use ner_eval::{Counts, Mode, Score, Scores, SeqevalScheme, TagScores, score_tags};
use serde_json::Value;
use std::io::Write;
use std::path::PathBuf;

type Sequences = Vec<Vec<String>>;

const MODES: [(&str, Mode); 7] = [
    ("default", Mode::Default),
    ("IOB1", Mode::Strict(SeqevalScheme::Iob1)),
    ("IOB2", Mode::Strict(SeqevalScheme::Iob2)),
    ("IOE1", Mode::Strict(SeqevalScheme::Ioe1)),
    ("IOE2", Mode::Strict(SeqevalScheme::Ioe2)),
    ("IOBES", Mode::Strict(SeqevalScheme::Iobes)),
    ("BILOU", Mode::Strict(SeqevalScheme::Bilou)),
];

fn sequences(side: &Value) -> Sequences {
    let lines = side.as_array().expect("an array of sequences").iter();
    lines.map(|tags| tags.as_str().expect("tags").split_whitespace().map(str::to_owned).collect()).collect()
}

/// `expected` is `[precision, recall, F1, support]`, null where seqeval divides by zero.
fn check_score(score: &Score, expected: &Value, what: &str) {
    for (index, value) in [score.precision, score.recall, score.f1].into_iter().enumerate() {
        let same = match (value, expected[index].as_f64()) {
            (Some(value), Some(expected)) => (value - expected).abs() < 1e-12,
            (None, None) => expected[index].is_null(),
            _ => false,
        };
        assert!(same, "{what}: {score:?} instead of {expected}");
    }
    assert_eq!(Some(score.support), expected[3].as_u64(), "{what}");
}

fn check_scores(scores: &Scores, expected: &Value, what: &str) {
    check_score(&scores.overall, &expected[0], what);
    check_score(&scores.macro_, &expected[1], what);
    check_score(&scores.weighted, &expected[2], what);
    let types = expected[3].as_object().expect("scores by type");
    assert!(scores.per_type.keys().eq(types.keys()), "{what}: types {:?}", scores.per_type.keys());
    for (entity_type, score) in &scores.per_type {
        check_score(score, &types[entity_type], &format!("{what}, type {entity_type}"));
    }
}

#[test]
fn random_sequences_score_as_in_seqeval() {
    let golden: Value = serde_json::from_str(include_str!("golden/seqeval.json")).expect("valid JSON");
    let mut compared = [0; MODES.len()];
    for (index, case) in golden["cases"].as_array().expect("an array of cases").iter().enumerate() {
        let (gold, predicted) = (sequences(&case["gold"]), sequences(&case["predicted"]));
        for (count, (name, mode)) in compared.iter_mut().zip(MODES) {
            let Some(expected) = case["scores"].get(name) else { continue };
            let scored = score_tags(&gold, &predicted, mode).expect("comparable sequences");
            check_scores(&scored.scores, expected, &format!("case {index}, {name}"));
            *count += gold.len();
        }
    }
    assert!(compared.iter().all(|&count| count >= 2000), "sequences by mode: {compared:?}");
}

/// Reads the file from `MEDNER_CORPORA`; `None`, with a note on stderr, if the variable is unset.
fn corpus_file(name: &str) -> Option<String> {
    let Some(corpora) = std::env::var_os("MEDNER_CORPORA") else {
        // Not `eprintln!`: the test harness hides it for tests that pass.
        writeln!(std::io::stderr(), "SKIPPED: MEDNER_CORPORA is unset, so seqeval/{name} was not compared").ok();
        return None;
    };
    let path = PathBuf::from(corpora).join("seqeval").join(name);
    Some(std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display())))
}

/// Scores a file of `word pos gold predicted` lines; a blank line ends a sequence.
fn score_file(text: &str) -> TagScores {
    let (mut gold, mut predicted): (Sequences, Sequences) = (vec![Vec::new()], vec![Vec::new()]);
    for line in text.lines() {
        let columns: Vec<&str> = line.split_whitespace().collect();
        match columns[..] {
            [] => {
                gold.push(Vec::new());
                predicted.push(Vec::new());
            }
            [_, _, gold_tag, predicted_tag] => {
                for (side, tag) in [(&mut gold, gold_tag), (&mut predicted, predicted_tag)] {
                    // The second file writes the prefix last (`NP-B`).
                    let tag = match tag.rsplit_once('-') {
                        Some((entity_type, prefix @ ("B" | "I"))) => format!("{prefix}-{entity_type}"),
                        _ => tag.to_owned(),
                    };
                    side.last_mut().expect("never empty").push(tag);
                }
            }
            _ => panic!("{} columns", columns.len()),
        }
    }
    score_tags(&gold, &predicted, Mode::Default).expect("comparable sequences")
}

#[test]
fn ground_truth_scores_as_in_conlleval() {
    let Some(truth) = corpus_file("ground_truth.txt") else { return };
    let Some(inverted) = corpus_file("ground_truth_inv.txt") else { return };
    let Some(report) = corpus_file("conlleval_output.txt") else { return };
    let scored = score_file(&truth);
    assert_eq!(scored, score_file(&inverted));

    // Percentages with two decimals; undefined scores are 0.
    let check = |line: &str, score: &Score| {
        for (key, value) in [("precision:", score.precision), ("recall:", score.recall), ("FB1:", score.f1)] {
            let (_, rest) = line.split_once(key).expect(key);
            let expected = rest.split_whitespace().next().expect(key).trim_end_matches(['%', ';']);
            assert_eq!(format!("{:.2}", 100.0 * value.unwrap_or(0.0)), expected, "{key} {line}");
        }
    };
    let (head, by_type) = report.split_once('\n').expect("two head lines");
    let (overall, by_type) = by_type.split_once('\n').expect("two head lines");
    check(overall, &scored.scores.overall);
    let sum: Counts = scored.scores.counts.values().copied().sum();
    let expected = format!("{} phrases; found: {} phrases; correct: {}.", sum.support(), sum.tp + sum.fp, sum.tp);
    assert!(head.ends_with(&expected), "{head}: {expected}");

    let mut types = Vec::new();
    for line in by_type.lines() {
        let entity_type = line.split_once(':').expect("a type").0.trim();
        let counts = scored.scores.counts[entity_type];
        check(line, &counts.into());
        let predicted = line.split_whitespace().last().and_then(|count| count.parse().ok());
        assert_eq!(predicted, Some(counts.tp + counts.fp), "{line}");
        types.push(entity_type);
    }
    assert!(scored.scores.per_type.keys().eq(types), "{:?}", scored.scores.per_type.keys());
}
