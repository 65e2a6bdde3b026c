//! Mentions from a head that labels tokens: the pieces of a word decide together, or the first piece alone.

use super::chain::Transitions;
use super::{line_breaks, mention_of};
use crate::Word;
use ner_document::{Confidence, LabelSet, Mention, Position, Span, Tag, TaggedEntity};
use serde::{Deserialize, Serialize};

/// Which pieces of a word determine its label.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Aggregation {
    /// All pieces: each adds its probabilities of lying outside and inside each type, and the largest sum wins. The
    /// first piece decides whether the word begins a mention.
    #[default]
    Together,
    /// The first piece alone, by its likeliest label: transformers' aggregation strategy `first`. For models trained
    /// only on the labels of first pieces, whose other pieces mean nothing.
    FirstPiece,
    /// All pieces, taking the likeliest of all sequences that the scheme allows (Viterbi), so that no mention continues
    /// without a beginning. Among the positions of a type, the first piece decides whether a mention begins, and the
    /// last whether one ends.
    Constrained,
}

/// Decodes mentions from a tagger's probabilities, `[pieces, labels]`, row by row.
///
/// `aggregation` decides how words are tagged; a mention begins and ends with a word. With `line_boundaries`, mentions
/// end at line breaks; they always end at page breaks.
///
/// The confidence of a mention is that of its least certain decision: for each word, the probability of its type (the
/// mean over the pieces that decide); for each pair of adjacent words, that the second continues the mention instead of
/// beginning another; for each end, that the adjacent word is not of the type or begins another mention. It describes
/// the span as a whole and falls if one of its boundaries is uncertain. It is not a calibrated probability: nothing was
/// fitted to make 0.8 mean that 8 of 10 are right.
pub fn mentions_from_probabilities(
    words: &[Word],
    probabilities: &[f32],
    labels: &LabelSet,
    aggregation: Aggregation,
    line_boundaries: bool,
) -> Vec<Mention> {
    let tagger = Probabilities {
        tags: (0..labels.len()).map(|id| labels.tag(id)).collect(),
        types: labels.types.len(),
        rows: probabilities,
        aggregation,
    };
    if aggregation == Aggregation::Constrained {
        let scores: Vec<f32> = words.iter().flat_map(|word| tagger.word_scores(word)).collect();
        let transitions = Transitions::constraints(labels.scheme, labels.types.len());
        let entities = transitions.entities(&scores, &line_breaks(words, line_boundaries));
        return entities.iter().map(|entity| mention_of(words, entity, labels)).collect();
    }
    let decided: Vec<Option<Decided>> = words.iter().map(|word| tagger.decide(word)).collect();
    let mut entities: Vec<TaggedEntity> = Vec::new();
    let mut open = None;
    for (at, (word, decided)) in words.iter().zip(&decided).enumerate() {
        if word.starts_page || (line_boundaries && word.starts_line) {
            open = None;
        }
        let Some(Decided { entity_type, begins, closes }) = *decided else {
            open = None;
            continue;
        };
        match entities.last_mut() {
            Some(last) if open == Some(entity_type) && !begins => last.units.end = at + 1,
            _ => entities.push(TaggedEntity { units: at..at + 1, entity_type }),
        }
        open = (!closes).then_some(entity_type);
    }
    let to_mention = |entity: TaggedEntity| {
        let TaggedEntity { units, entity_type } = &entity;
        let span = Span::new(words[units.start].span.start, words[units.end - 1].span.end);
        let mention = Mention::new(span, labels.types[*entity_type].as_str());
        Mention { confidence: tagger.confidence(words, &decided, &entity, line_boundaries), ..mention }
    };
    entities.into_iter().map(to_mention).collect()
}

/// Lower bound of probabilities: only the scheme makes a label impossible.
const LEAST: f32 = 1e-30;

/// Probabilities of the tags, and which pieces decide.
struct Probabilities<'p> {
    tags: Vec<Tag>,
    types: usize,
    rows: &'p [f32],
    aggregation: Aggregation,
}

/// The decision for a word that is not outside.
#[derive(Clone, Copy)]
struct Decided {
    entity_type: usize,
    /// Whether it begins a mention, even directly after another of its type.
    begins: bool,
    /// Whether the mention ends with it.
    closes: bool,
}

impl Probabilities<'_> {
    /// Rows of the pieces that decide for a word.
    fn rows_of(&self, word: &Word) -> &[f32] {
        let end = match self.aggregation {
            Aggregation::Together | Aggregation::Constrained => word.tokens.end,
            Aggregation::FirstPiece => word.tokens.start + 1,
        };
        &self.rows[word.tokens.start * self.tags.len()..end * self.tags.len()]
    }

    fn decide(&self, word: &Word) -> Option<Decided> {
        let rows = self.rows_of(word);
        if self.aggregation == Aggregation::FirstPiece {
            // Of equally likely labels, the first.
            let likelier = |best: usize, at: usize| if rows[at] > rows[best] { at } else { best };
            let Tag::Entity(position, entity_type) = self.tags[(1..rows.len()).fold(0, likelier)] else { return None };
            let begins = matches!(position, Position::Begin | Position::Single);
            return Some(Decided { entity_type, begins, closes: matches!(position, Position::End | Position::Single) });
        }
        let mut outside = 0.0;
        let mut mass = vec![0f32; self.types];
        for (tag, probability) in self.tags.iter().cycle().zip(rows) {
            match tag {
                Tag::Outside => outside += probability,
                Tag::Entity(_, entity_type) => mass[*entity_type] += probability,
            }
        }
        let best = (0..mass.len()).max_by(|&a, &b| mass[a].total_cmp(&mass[b])).filter(|&best| mass[best] > outside)?;
        let (begins, continues) = self.begin_and_continue(word, best);
        Some(Decided { entity_type: best, begins: begins > continues, closes: false })
    }

    /// The first piece's probabilities of beginning a mention of this type, and of continuing one.
    fn begin_and_continue(&self, word: &Word, of_type: usize) -> (f32, f32) {
        let (mut begins, mut continues) = (0.0, 0.0);
        for (tag, probability) in self.tags.iter().zip(self.rows_of(word)) {
            match tag {
                Tag::Entity(Position::Begin | Position::Single, found) if *found == of_type => begins += probability,
                Tag::Entity(_, found) if *found == of_type => continues += probability,
                _ => {}
            }
        }
        (begins, continues)
    }

    /// Log-probability of each tag of a word. The mean over its pieces decides whether it is outside or its type, the
    /// first piece whether it begins a mention, and the last piece whether it ends one.
    fn word_scores(&self, word: &Word) -> Vec<f32> {
        let rows = self.rows_of(word);
        let width = self.tags.len();
        let pieces = (rows.len() / width) as f32;
        let (first, last) = (&rows[..width], &rows[rows.len() - width..]);
        let share = |row: &[f32], of_type: usize, counts: fn(Position) -> bool| -> f32 {
            let (mut sum, mut all) = (0.0, 0.0);
            for (tag, probability) in self.tags.iter().zip(row) {
                if let Tag::Entity(position, found) = tag
                    && *found == of_type
                {
                    all += probability;
                    sum += if counts(*position) { *probability } else { 0.0 };
                }
            }
            if all > 0.0 { sum / all } else { 0.0 }
        };
        let begins = |of_type| share(first, of_type, |position| matches!(position, Position::Begin | Position::Single));
        let ends = |of_type| share(last, of_type, |position| matches!(position, Position::End | Position::Single));
        let has =
            |position: Position| self.tags.iter().any(|tag| matches!(tag, Tag::Entity(found, _) if *found == position));
        let (marks_begin, marks_end) = (has(Position::Begin), has(Position::End));
        let probability = |tag: &Tag| match *tag {
            Tag::Outside => rows.iter().step_by(width).sum::<f32>() / pieces,
            Tag::Entity(position, of_type) => {
                let (begins, ends) = (begins(of_type), ends(of_type));
                let begin = match position {
                    Position::Begin | Position::Single => begins,
                    Position::Inside | Position::End if marks_begin => 1.0 - begins,
                    Position::Inside | Position::End => 1.0,
                };
                let end = match position {
                    Position::End | Position::Single => ends,
                    Position::Begin | Position::Inside if marks_end => 1.0 - ends,
                    Position::Begin | Position::Inside => 1.0,
                };
                self.inside(word, of_type) * begin * end
            }
        };
        self.tags.iter().map(|tag| probability(tag).max(LEAST).ln()).collect()
    }

    /// Probability that a word has this type: the mean over the pieces that decide.
    fn inside(&self, word: &Word, of_type: usize) -> f32 {
        let rows = self.rows_of(word);
        let is_of_type = |tag: &Tag| matches!(tag, Tag::Entity(_, found) if *found == of_type);
        let sum: f32 = self
            .tags
            .iter()
            .cycle()
            .zip(rows)
            .filter(|(tag, _)| is_of_type(tag))
            .map(|(_, probability)| probability)
            .sum();
        sum / (rows.len() / self.tags.len()) as f32
    }

    /// Share of beginning in the first piece's probability of this type.
    fn begins(&self, word: &Word, of_type: usize) -> f32 {
        let (begins, continues) = self.begin_and_continue(word, of_type);
        if begins + continues > 0.0 { begins / (begins + continues) } else { 0.0 }
    }

    fn confidence(
        &self,
        words: &[Word],
        decided: &[Option<Decided>],
        entity: &TaggedEntity,
        line_boundaries: bool,
    ) -> Option<Confidence> {
        let TaggedEntity { units, entity_type } = entity;
        let is_of_type = |at: usize| decided[at].is_some_and(|decided| decided.entity_type == *entity_type);
        // Probability that no mention continues from the word before `at` into `at`; `beside` is the one outside of
        // this entity.
        let parts = |at: usize, beside: usize| match is_of_type(beside) {
            true => self.begins(&words[at], *entity_type),
            false => 1.0 - self.inside(&words[beside], *entity_type),
        };
        let is_open = |at: usize| !(words[at].starts_page || (line_boundaries && words[at].starts_line));
        let before = (units.start > 0 && is_open(units.start)).then(|| parts(units.start, units.start - 1));
        let behind = (units.end < words.len() && is_open(units.end)).then(|| parts(units.end, units.end));
        let inside = units.clone().map(|at| self.inside(&words[at], *entity_type));
        let joints = (units.start + 1..units.end).map(|at| 1.0 - self.begins(&words[at], *entity_type));
        let least = inside.chain(joints).chain(before).chain(behind).fold(1.0, f32::min);
        // A sum of probabilities may round to slightly more than 1.
        Confidence::new(least.max(0.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ner_document::TagScheme;

    /// Two words of two pieces each; one row of probabilities (O, B, I) for each piece.
    fn decided(rows: [[f32; 3]; 4]) -> Vec<Span> {
        let word = |at: usize| Word {
            span: Span::new(at * 5, at * 5 + 4),
            tokens: at * 2..at * 2 + 2,
            starts_line: at == 1,
            starts_page: false,
        };
        let labels = LabelSet::new(TagScheme::Bio, ["X"]);
        let mentions = |lines| {
            mentions_from_probabilities(&[word(0), word(1)], rows.as_flattened(), &labels, Aggregation::Together, lines)
        };
        // With line boundaries mentions end at line breaks, and nothing else changes.
        let at_lines: Vec<Span> = mentions(true).iter().map(Mention::span).collect();
        let spans: Vec<Span> = mentions(false).iter().map(Mention::span).collect();
        let cut = |&span: &Span| if span == Span::new(0, 9) { vec![word(0).span, word(1).span] } else { vec![span] };
        assert_eq!(at_lines, spans.iter().flat_map(cut).collect::<Vec<_>>());
        spans
    }

    #[test]
    fn the_pieces_of_a_word_decide_together() {
        let (o, b, i) = ([1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]);
        assert_eq!(decided([b, i, i, i]), [Span::new(0, 9)]);
        assert_eq!(decided([b, i, b, i]), [Span::new(0, 4), Span::new(5, 9)]);
        assert_eq!(decided([o, [0.6, 0.4, 0.0], i, i]), [Span::new(5, 9)]);
        assert_eq!(decided([[0.6, 0.4, 0.0], i, o, o]), [Span::new(0, 4)]);
        // What the later pieces of a word say of its beginning does not count.
        assert_eq!(decided([b, b, i, b]), [Span::new(0, 9)]);
    }

    #[test]
    fn first_pieces_decide_alone_and_sequences_are_read_as_transformers_does() {
        let check = |names: [&str; 4], expected: &[(usize, usize)]| {
            let labels = LabelSet::new(TagScheme::Bioes, ["X", "Y"]);
            let all = labels.names();
            let id = |name: &str| all.iter().position(|known| known == name).expect("a label");
            // Each word has a second piece, which would decide otherwise.
            let words: Vec<Word> = (0..4)
                .map(|at| Word {
                    span: Span::new(at, at + 1),
                    tokens: at * 2..at * 2 + 2,
                    starts_line: false,
                    starts_page: false,
                })
                .collect();
            let row = |name: &str| (0..all.len()).map(|at| f32::from(u8::from(at == id(name)))).collect::<Vec<_>>();
            let rows: Vec<f32> = names.iter().flat_map(|name| [row(name), row("B-Y")]).flatten().collect();
            let found = mentions_from_probabilities(&words, &rows, &labels, Aggregation::FirstPiece, false);
            let spans: Vec<(usize, usize)> = found.iter().map(|m| (m.span().start, m.span().end)).collect();
            assert_eq!(spans, expected, "{names:?}");
        };
        check(["B-X", "I-X", "B-X", "O"], &[(0, 2), (2, 3)]);
        check(["I-X", "I-X", "O", "I-X"], &[(0, 2), (3, 4)]);
        check(["I-X", "I-Y", "B-X", "I-X"], &[(0, 1), (1, 2), (2, 4)]);
        check(["B-X", "E-X", "I-X", "S-X"], &[(0, 2), (2, 3), (3, 4)]);
    }

    #[test]
    fn constrained_sequences_begin_before_they_continue() {
        let check = |scheme: TagScheme,
                     rows: &[&[f32]],
                     pieces: usize,
                     aggregation: Aggregation,
                     expected: &[(usize, usize)]| {
            let labels = LabelSet::new(scheme, ["X"]);
            let word = |at: usize| Word {
                span: Span::new(at, at + 1),
                tokens: at * pieces..(at + 1) * pieces,
                starts_line: false,
                starts_page: false,
            };
            let words: Vec<Word> = (0..rows.len() / pieces).map(word).collect();
            let found = mentions_from_probabilities(&words, &rows.concat(), &labels, aggregation, false);
            let spans: Vec<(usize, usize)> = found.iter().map(|m| (m.span().start, m.span().end)).collect();
            assert_eq!(spans, expected, "{rows:?}, {aggregation:?}");
            assert!(found.iter().all(|mention| mention.confidence.is_some()));
        };
        // O, B, I. What goes on with nothing is a mention to the one, and not to the other.
        let unsure: &[&[f32]] = &[&[0.9, 0.05, 0.05], &[0.1, 0.0, 0.9]];
        check(TagScheme::Bio, unsure, 1, Aggregation::Together, &[(1, 2)]);
        check(TagScheme::Bio, unsure, 1, Aggregation::Constrained, &[]);
        check(TagScheme::Bio, &[&[0.6, 0.4, 0.0], &[0.1, 0.0, 0.9]], 1, Aggregation::Constrained, &[(0, 2)]);
        // O, B, I, E, S, two pieces a word: the first piece says that a mention begins, the last that it ends.
        let (b, i, e): (&[f32], &[f32], &[f32]) =
            (&[0.0, 1.0, 0.0, 0.0, 0.0], &[0.0, 0.0, 1.0, 0.0, 0.0], &[0.0, 0.0, 0.0, 1.0, 0.0]);
        check(TagScheme::Bioes, &[b, e, b, e], 2, Aggregation::Constrained, &[(0, 1), (1, 2)]);
        check(TagScheme::Bioes, &[b, i, i, e], 2, Aggregation::Constrained, &[(0, 2)]);
        check(TagScheme::Bioes, &[b, i, i, i], 2, Aggregation::Constrained, &[(0, 2)]);
        check(TagScheme::Io, &[&[0.2, 0.8], &[0.1, 0.9], &[0.9, 0.1]], 1, Aggregation::Constrained, &[(0, 2)]);
    }

    #[test]
    fn the_confidence_is_that_of_the_least_certain_decision() {
        let labels = LabelSet::new(TagScheme::Bio, ["X"]);
        let words: Vec<Word> = (0..3)
            .map(|at| Word {
                span: Span::new(at, at + 1),
                tokens: at..at + 1,
                starts_line: at == 2,
                starts_page: false,
            })
            .collect();
        let check = |rows: [[f32; 3]; 3], lines: bool, expected: &[f32]| {
            let found = mentions_from_probabilities(&words, rows.as_flattened(), &labels, Aggregation::Together, lines);
            let found: Vec<f32> = found.iter().filter_map(|mention| Some(mention.confidence?.value())).collect();
            assert!(found.len() == expected.len(), "{found:?}");
            assert!(found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-6), "{found:?} and not {expected:?}");
        };
        let (o, b, i) = ([1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]);
        check([o, b, o], false, &[1.0]);
        // The type of a word, the word before, the word after, the joint, and two adjacent mentions.
        check([o, [0.25, 0.75, 0.0], o], false, &[0.75]);
        check([[0.6, 0.4, 0.0], b, o], false, &[0.6]);
        check([o, b, [0.7, 0.0, 0.3]], false, &[0.7]);
        check([b, [0.0, 0.2, 0.8], o], false, &[0.8]);
        check([b, [0.0, 0.9, 0.1], o], false, &[0.9, 0.9]);
        // The word after a line break that ends mentions has no influence.
        check([o, b, [0.7, 0.0, 0.3]], true, &[1.0]);
        check([o, b, i], true, &[1.0, 1.0]);
    }
}
