//! Turns the output of a head into mentions.

mod chain;
mod ensemble;
mod tokens;

pub use chain::Transitions;
pub use ensemble::{ElectedMention, mean_output, vote};
pub use tokens::{Aggregation, mentions_from_probabilities};

use crate::Word;
use ner_document::{Confidence, LabelSet, Mention, Span, Tag};
use std::ops::Range;
use std::sync::Arc;

/// A model's output for a document, before decoding.
#[derive(Clone, Debug, PartialEq)]
pub enum ModelOutput {
    /// From a head that labels tokens: probabilities, `[tokens, labels]`, row by row.
    Labels(Vec<f32>),
    /// From a head that scores spans: the spans that are not negligible.
    Spans(Vec<ScoredEntity>),
    /// From a head that scores the labels of words along a chain.
    Chains(WordScores),
    /// From a head that decides for each type separately: log-odds of its positions against being outside of it,
    /// `[words, labels less one]`, row by row.
    Types(Vec<f32>),
}

impl ModelOutput {
    /// Whether all numbers are finite. Others come from weights that are too large, and decode to nothing.
    pub fn is_finite(&self) -> bool {
        match self {
            Self::Labels(numbers) | Self::Types(numbers) => numbers.iter().all(|number| number.is_finite()),
            Self::Spans(spans) => spans.iter().all(|span| span.probability.is_finite()),
            Self::Chains(output) => output.scores.iter().all(|number| number.is_finite()),
        }
    }
}

/// Scores of words, and of transitions between their labels.
#[derive(Clone, Debug, PartialEq)]
pub struct WordScores {
    /// `[words, labels]` in log space, row by row.
    pub scores: Vec<f32>,
    /// The first words of chains (the rows in training), ascending; the first is 0 if there are words.
    pub starts: Vec<usize>,
    /// The model's transitions.
    pub transitions: Arc<Transitions>,
}

/// A run of words that may be a mention, with its probability.
#[derive(Clone, Debug, PartialEq)]
pub struct ScoredEntity {
    /// Its words.
    pub words: Range<usize>,
    /// Number of its type in the label set.
    pub entity_type: usize,
    /// From a head that scores spans: the probability that it is a mention of this type. From a chain: the total
    /// probability of all sequences that contain it.
    pub probability: f32,
}

/// Constraints on mentions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DecodeOptions {
    /// Whether mentions end at line breaks.
    pub line_boundaries: bool,
    /// Whether mentions may share words. (Heads that score spans, or decide for each type separately, find overlapping
    /// ones.)
    pub overlaps: bool,
    /// Which pieces of a word determine its label, for heads that label tokens.
    pub aggregation: Aggregation,
}

/// Decodes the mentions of a document after adding `offsets`, one per type, to the scores of its labels or the log-odds
/// of its spans. The result is the spans that are more probable than not, the likeliest label of each word, or the best
/// sequence of labels that the scheme allows.
///
/// If mentions may not overlap, the more probable span wins; of equally probable spans, the first. The confidence of a
/// span is its probability with the offset included; in a chain, the total probability of all sequences that contain
/// it.
pub fn decode_mentions(
    words: &[Word],
    output: &ModelOutput,
    labels: &LabelSet,
    offsets: &[f32],
    options: DecodeOptions,
) -> Vec<Mention> {
    match output {
        ModelOutput::Labels(rows) if offsets.iter().all(|&offset| offset == 0.0) => {
            mentions_from_probabilities(words, rows, labels, options.aggregation, options.line_boundaries)
        }
        ModelOutput::Labels(rows) => {
            let factor = |label: usize| match labels.tag(label) {
                Tag::Outside => 1.0,
                Tag::Entity(_, entity_type) => offsets[entity_type].exp(),
            };
            let factors: Vec<f32> = (0..labels.len()).map(factor).collect();
            let shifted = |row: &[f32]| -> Vec<f32> {
                let row: Vec<f32> =
                    row.iter().zip(&factors).map(|(probability, factor)| probability * factor).collect();
                let sum: f32 = row.iter().sum();
                row.into_iter().map(|probability| probability / sum).collect()
            };
            let rows: Vec<f32> = rows.chunks_exact(labels.len()).flat_map(shifted).collect();
            mentions_from_probabilities(words, &rows, labels, options.aggregation, options.line_boundaries)
        }
        ModelOutput::Spans(spans) => mentions_from_spans(words, spans, labels, offsets, options),
        ModelOutput::Chains(scores) => mentions_from_chains(words, scores, labels, offsets, options),
        ModelOutput::Types(scores) => mentions_by_type(words, scores, labels, offsets, options),
    }
}

fn mentions_from_chains(
    words: &[Word],
    output: &WordScores,
    labels: &LabelSet,
    offsets: &[f32],
    options: DecodeOptions,
) -> Vec<Mention> {
    let WordScores { scores, starts, transitions } = output;
    let width = transitions.labels();
    let offset = |label: usize| match labels.tag(label) {
        Tag::Outside => 0.0,
        Tag::Entity(_, entity_type) => offsets[entity_type],
    };
    let of_labels: Vec<f32> = (0..width).map(offset).collect();
    let mut mentions = Vec::new();
    for (at, &start) in starts.iter().enumerate() {
        let end = starts.get(at + 1).copied().unwrap_or(words.len());
        let scores = &scores[start * width..end * width];
        let scores: Vec<f32> =
            scores.iter().zip(of_labels.iter().cycle()).map(|(score, offset)| score + offset).collect();
        let words = &words[start..end];
        let entities = transitions.entities(&scores, &line_breaks(words, options.line_boundaries));
        mentions.extend(entities.iter().map(|entity| mention_of(words, entity, labels)));
    }
    mentions
}

fn mentions_by_type(
    words: &[Word],
    scores: &[f32],
    labels: &LabelSet,
    offsets: &[f32],
    options: DecodeOptions,
) -> Vec<Mention> {
    let width = labels.scheme.width();
    let transitions = Transitions::constraints(labels.scheme, 1);
    let breaks = line_breaks(words, options.line_boundaries);
    let mut spans = Vec::new();
    for (entity_type, offset) in offsets.iter().enumerate() {
        let of_type = |row: &[f32]| -> Vec<f32> {
            let positions = row[entity_type * width..(entity_type + 1) * width].iter().map(|score| score + offset);
            // The log-odds are relative to being outside.
            [0.0].into_iter().chain(positions).collect()
        };
        let scores: Vec<f32> = scores.chunks_exact(labels.types.len() * width).flat_map(of_type).collect();
        let entities = transitions.entities(&scores, &breaks).into_iter();
        spans.extend(entities.map(|entity| ScoredEntity { entity_type, ..entity }));
    }
    surest(words, spans.iter().map(|span| (log_odds(span), span)).collect(), labels, options)
}

fn log_odds(span: &ScoredEntity) -> f32 {
    (span.probability / (1.0 - span.probability)).ln()
}

fn mentions_from_spans(
    words: &[Word],
    spans: &[ScoredEntity],
    labels: &LabelSet,
    offsets: &[f32],
    options: DecodeOptions,
) -> Vec<Mention> {
    let breaks = line_breaks(words, options.line_boundaries);
    let crosses = |span: &ScoredEntity| breaks[span.words.start + 1..span.words.end].contains(&true);
    let odds = |span: &ScoredEntity| log_odds(span) + offsets[span.entity_type];
    let mut likely: Vec<(f32, &ScoredEntity)> = spans.iter().map(|span| (odds(span), span)).collect();
    likely.retain(|(odds, span)| *odds > 0.0 && !crosses(span));
    surest(words, likely, labels, options)
}

/// Makes mentions of the spans, each with its log-odds. Unless mentions may overlap, keeps the surest first and
/// drops each span that overlaps a kept one.
fn surest(
    words: &[Word],
    mut likely: Vec<(f32, &ScoredEntity)>,
    labels: &LabelSet,
    options: DecodeOptions,
) -> Vec<Mention> {
    likely.sort_by(|(a, left), (b, right)| {
        let place = |span: &ScoredEntity| (span.words.start, span.words.end, span.entity_type);
        b.total_cmp(a).then(place(left).cmp(&place(right)))
    });
    let mut taken = vec![false; words.len()];
    let mut mentions: Vec<Mention> = Vec::new();
    for (odds, span) in likely {
        let range = span.words.clone();
        if !options.overlaps && taken[range.clone()].iter().any(|&taken| taken) {
            continue;
        }
        taken[range.clone()].fill(true);
        let place = Span::new(words[range.start].span.start, words[range.end - 1].span.end);
        let mention = Mention::new(place, labels.types[span.entity_type].as_str());
        mentions.push(Mention { confidence: Confidence::new(1.0 / (1.0 + (-odds).exp())), ..mention });
    }
    mentions.sort_by_key(|mention| (mention.span().start, mention.span().end));
    mentions
}

/// The words into which no mention continues: those that begin a page, and those that begin a line if line breaks end
/// mentions.
fn line_breaks(words: &[Word], line_boundaries: bool) -> Vec<bool> {
    words.iter().map(|word| word.starts_page || (line_boundaries && word.starts_line)).collect()
}

/// Makes a mention of an entity of words; its confidence is the entity's probability.
fn mention_of(words: &[Word], entity: &ScoredEntity, labels: &LabelSet) -> Mention {
    let ScoredEntity { words: range, entity_type, probability } = entity;
    let span = Span::new(words[range.start].span.start, words[range.end - 1].span.end);
    let mention = Mention::new(span, labels.types[*entity_type].as_str());
    Mention { confidence: Confidence::new(*probability), ..mention }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ner_document::TagScheme;

    fn check(overlaps: bool, line_boundaries: bool, offset: f32, expected: &[(usize, usize)]) {
        // Words of one character; the fourth begins a line.
        let words: Vec<Word> = (0..5)
            .map(|at| Word {
                span: Span::new(at, at + 1),
                tokens: at..at + 1,
                starts_line: at == 3,
                starts_page: false,
            })
            .collect();
        let span = |start, end, probability| ScoredEntity { words: start..end, entity_type: 0, probability };
        let output = ModelOutput::Spans(vec![
            span(0, 3, 0.7),
            span(1, 2, 0.9),
            span(2, 4, 0.6),
            span(4, 5, 0.4),
            span(3, 4, 0.1),
        ]);
        let labels = LabelSet::new(TagScheme::Bio, ["X"]);
        let options = DecodeOptions { line_boundaries, overlaps, ..DecodeOptions::default() };
        let mentions = decode_mentions(&words, &output, &labels, &[offset], options);
        let found: Vec<(usize, usize)> = mentions.iter().map(|m| (m.span().start, m.span().end)).collect();
        assert_eq!(found, expected);
    }

    /// Words of one character and one piece, without lines.
    fn words(count: usize) -> Vec<Word> {
        (0..count)
            .map(|at| Word { span: Span::new(at, at + 1), tokens: at..at + 1, starts_line: false, starts_page: false })
            .collect()
    }

    fn places(mentions: &[Mention]) -> Vec<(usize, usize, &str)> {
        mentions.iter().map(|m| (m.span().start, m.span().end, m.entity_type.as_str())).collect()
    }

    #[test]
    fn types_by_themselves_may_overlap() {
        let labels = LabelSet::new(TagScheme::Bio, ["X", "Y"]);
        // Log-odds of B-X, I-X, B-Y, I-Y: X on the first three words, Y on the second.
        let rows = [[8.0, -8.0, -4.0, -4.0], [-8.0, 8.0, 4.0, -4.0], [-8.0, 8.0, -4.0, -4.0], [-8.0, -8.0, -4.0, -1.0]];
        let output = ModelOutput::Types(rows.as_flattened().to_vec());
        let check = |overlaps: bool, offsets: [f32; 2], expected: &[(usize, usize, &str)]| {
            let options = DecodeOptions { overlaps, ..DecodeOptions::default() };
            let found = decode_mentions(&words(4), &output, &labels, &offsets, options);
            assert_eq!(places(&found), expected);
            assert!(found.iter().all(|mention| mention.confidence.is_some_and(|sure| sure.value() > 0.5)));
        };
        check(true, [0.0, 0.0], &[(0, 3, "X"), (1, 2, "Y")]);
        check(false, [0.0, 0.0], &[(0, 3, "X")]);
        check(true, [0.0, -5.0], &[(0, 3, "X")]);
        check(false, [-9.0, 0.0], &[(1, 2, "Y")]);
    }

    #[test]
    fn a_chain_ends_where_the_next_begins() {
        let labels = LabelSet::new(TagScheme::Bio, ["X"]);
        // O, B, I: a mention of the second and the third word.
        let rows = [[3.0, 0.0, 0.0], [0.0, 3.0, 0.0], [0.0, 0.5, 3.0], [3.0, 0.0, 0.0]];
        let transitions = Arc::new(Transitions::constraints(TagScheme::Bio, 1));
        let check = |starts: &[usize], offset: f32, expected: &[(usize, usize, &str)]| {
            let scores = rows.as_flattened().to_vec();
            let scores = WordScores { scores, starts: starts.to_vec(), transitions: Arc::clone(&transitions) };
            let found = ModelOutput::Chains(scores);
            let found = decode_mentions(&words(4), &found, &labels, &[offset], DecodeOptions::default());
            assert_eq!(places(&found), expected);
        };
        check(&[0], 0.0, &[(1, 3, "X")]);
        check(&[0, 2], 0.0, &[(1, 2, "X"), (2, 3, "X")]);
        check(&[0], -4.0, &[]);
    }

    #[test]
    fn probable_spans_win_over_overlapping_ones() {
        check(true, false, 0.0, &[(0, 3), (1, 2), (2, 4)]);
        check(false, false, 0.0, &[(1, 2), (2, 4)]);
        check(true, true, 0.0, &[(0, 3), (1, 2)]);
        check(false, false, 1.0, &[(1, 2), (2, 4), (4, 5)]);
        check(false, false, -1.0, &[(1, 2)]);
    }
}
