use crate::{Confidence, Decision, LabelSet, Mention, Span, Tag, Word, mentions_from_probabilities};
use std::ops::Range;

/// What a model says of a document before anything is decided.
#[derive(Clone, Debug, PartialEq)]
pub enum Findings {
    /// Of a head that labels tokens: probabilities, `[tokens, labels]`, row by row.
    Labels(Vec<f32>),
    /// Of a head that scores spans: those that are not out of the question.
    Spans(Vec<FoundSpan>),
}

/// A span of words that may be a mention.
#[derive(Clone, Debug, PartialEq)]
pub struct FoundSpan {
    /// Its words.
    pub words: Range<usize>,
    /// Number of its type in the label set.
    pub entity_type: usize,
    /// Probability that it is a mention of this type.
    pub probability: f32,
}

/// What mentions may be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Allowed {
    /// Whether none goes on behind a line break.
    pub line_boundaries: bool,
    /// Whether they may share words. (Only a head that scores spans can find such.)
    pub overlaps: bool,
    /// Which pieces of a word decide what it is, where tokens are labelled.
    pub decision: Decision,
}

/// Decides which mentions a document has: those that are more probable than not, once `offsets`, one for each type, are
/// added to the log-odds.
///
/// Where mentions may not overlap, the more probable span wins, and of two as probable the one that stands first. The
/// confidence of a span is its probability, the offset included.
pub fn mentions_from_findings(
    words: &[Word],
    findings: &Findings,
    labels: &LabelSet,
    offsets: &[f32],
    allowed: Allowed,
) -> Vec<Mention> {
    match findings {
        Findings::Labels(rows) if offsets.iter().all(|&offset| offset == 0.0) => {
            mentions_from_probabilities(words, rows, labels, allowed.decision, allowed.line_boundaries)
        }
        Findings::Labels(rows) => {
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
            mentions_from_probabilities(words, &rows, labels, allowed.decision, allowed.line_boundaries)
        }
        Findings::Spans(found) => mentions_from_spans(words, found, labels, offsets, allowed),
    }
}

fn mentions_from_spans(
    words: &[Word],
    found: &[FoundSpan],
    labels: &LabelSet,
    offsets: &[f32],
    allowed: Allowed,
) -> Vec<Mention> {
    let crosses_line =
        |span: &FoundSpan| words[span.words.start + 1..span.words.end].iter().any(|word| word.starts_line);
    let surer = |span: &FoundSpan| (span.probability / (1.0 - span.probability)).ln() + offsets[span.entity_type];
    let mut likely: Vec<(f32, &FoundSpan)> = found.iter().map(|span| (surer(span), span)).collect();
    likely.retain(|(odds, span)| *odds > 0.0 && !(allowed.line_boundaries && crosses_line(span)));
    likely.sort_by(|(a, left), (b, right)| {
        let place = |span: &FoundSpan| (span.words.start, span.words.end, span.entity_type);
        b.total_cmp(a).then(place(left).cmp(&place(right)))
    });
    let mut taken = vec![false; words.len()];
    let mut mentions: Vec<Mention> = Vec::new();
    for (odds, span) in likely {
        let range = span.words.clone();
        if !allowed.overlaps && taken[range.clone()].iter().any(|&taken| taken) {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::TagScheme;

    fn check(overlaps: bool, line_boundaries: bool, offset: f32, expected: &[(usize, usize)]) {
        // Words of one character, the fourth of which begins a line.
        let words: Vec<Word> =
            (0..5).map(|at| Word { span: Span::new(at, at + 1), tokens: at..at + 1, starts_line: at == 3 }).collect();
        let span = |start, end, probability| FoundSpan { words: start..end, entity_type: 0, probability };
        let findings =
            Findings::Spans(vec![span(0, 3, 0.7), span(1, 2, 0.9), span(2, 4, 0.6), span(4, 5, 0.4), span(3, 4, 0.1)]);
        let labels = LabelSet::new(TagScheme::Bio, ["X"]);
        let allowed = Allowed { line_boundaries, overlaps, ..Allowed::default() };
        let mentions = mentions_from_findings(&words, &findings, &labels, &[offset], allowed);
        let found: Vec<(usize, usize)> = mentions.iter().map(|m| (m.span().start, m.span().end)).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn spans_are_mentions_where_they_are_more_probable_than_not_and_than_what_they_overlap() {
        check(true, false, 0.0, &[(0, 3), (1, 2), (2, 4)]);
        check(false, false, 0.0, &[(1, 2), (2, 4)]);
        check(true, true, 0.0, &[(0, 3), (1, 2)]);
        check(false, false, 1.0, &[(1, 2), (2, 4), (4, 5)]);
        check(false, false, -1.0, &[(1, 2)]);
    }
}
