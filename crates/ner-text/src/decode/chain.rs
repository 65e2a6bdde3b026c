//! The best sequence of tags for words, and the probability of each of its entities.

use super::ScoredEntity;
use ner_document::{Position, Tag, TagScheme, TaggedEntity};

/// Transition scores of tags, from one to the next and at the start and end of a text: the part that a linear chain
/// adds to the scores of words. Transitions that the scheme forbids are impossible.
///
/// Source: Lafferty et al. (2001), "Conditional random fields"; Rabiner (1989), "A tutorial on hidden Markov models",
/// section III, for the scaled forward-backward procedure and Viterbi's.
#[derive(Clone, Debug, PartialEq)]
pub struct Transitions {
    scheme: TagScheme,
    labels: usize,
    /// `[labels]`, in log space, minus infinity for impossible transitions; the same for `end` and `between`.
    start: Vec<f64>,
    end: Vec<f64>,
    /// `[labels, labels]`: row is the label before, column the label after.
    between: Vec<f64>,
    /// Like `between`, for words that must begin something new, so that an open entity has to end.
    between_apart: Vec<f64>,
}

impl Transitions {
    /// Builds from learned scores: `start` and `end` per label, `between` per pair, row by row.
    pub fn new(scheme: TagScheme, start: &[f32], end: &[f32], between: &[f32]) -> Self {
        let labels = start.len();
        assert!(end.len() == labels && between.len() == labels * labels, "one score for each label and each pair");
        let tag = |label: usize| Some(scheme.tag(label));
        let masked = |allowed: bool, score: f32| if allowed { f64::from(score) } else { f64::NEG_INFINITY };
        let pair = |(at, &score): (usize, &f32)| masked(scheme.allows(tag(at / labels), tag(at % labels)), score);
        let between: Vec<f64> = between.iter().enumerate().map(pair).collect();
        let apart = |(at, &score): (usize, &f64)| {
            let allowed = scheme.allows(tag(at / labels), None) && scheme.allows(None, tag(at % labels));
            if allowed { score } else { f64::NEG_INFINITY }
        };
        Self {
            scheme,
            labels,
            start: start.iter().enumerate().map(|(to, &score)| masked(scheme.allows(None, tag(to)), score)).collect(),
            end: end.iter().enumerate().map(|(from, &score)| masked(scheme.allows(tag(from), None), score)).collect(),
            between_apart: between.iter().enumerate().map(apart).collect(),
            between,
        }
    }

    /// The scheme's constraints alone for `types` types: every allowed transition scores 0.
    pub fn constraints(scheme: TagScheme, types: usize) -> Self {
        let labels = 1 + types * scheme.width();
        Self::new(scheme, &vec![0.0; labels], &vec![0.0; labels], &vec![0.0; labels * labels])
    }

    /// Number of labels.
    pub const fn labels(&self) -> usize {
        self.labels
    }

    /// The entities of the best sequence for words with these `scores`, `[words, labels]` in log space, row by row. No
    /// entity continues into a word whose `breaks` is true.
    pub fn entities(&self, scores: &[f32], breaks: &[bool]) -> Vec<ScoredEntity> {
        assert_eq!(scores.len(), breaks.len() * self.labels, "a score for each label of each word");
        let best = self.best_sequence(scores, breaks);
        let mut entities: Vec<TaggedEntity> = Vec::new();
        for (at, &label) in best.iter().enumerate() {
            let Tag::Entity(_, entity_type) = self.scheme.tag(label) else { continue };
            match entities.last_mut() {
                Some(last) if last.units.end == at && !breaks[at] && self.continues(best[at - 1], label) => {
                    last.units.end = at + 1;
                }
                _ => entities.push(TaggedEntity { units: at..at + 1, entity_type }),
            }
        }
        if entities.is_empty() {
            return Vec::new();
        }
        let chain = Chain::new(self, scores, breaks);
        let scored = |entity: TaggedEntity| {
            let probability = chain.probability(entity.units.start, &best[entity.units.clone()]) as f32;
            let TaggedEntity { units: words, entity_type } = entity;
            ScoredEntity { words, entity_type, probability: probability.clamp(0.0, 1.0) }
        };
        entities.into_iter().map(scored).collect()
    }

    /// Marginal probability of each label of each word, `[words, labels]`, row by row, for words with these `scores`.
    pub fn marginals(&self, scores: &[f32]) -> Vec<f32> {
        let breaks = vec![false; scores.len() / self.labels];
        if breaks.is_empty() {
            return Vec::new();
        }
        let chain = Chain::new(self, scores, &breaks);
        let products: Vec<f64> =
            chain.forward.iter().zip(&chain.backward).map(|(forward, backward)| forward * backward).collect();
        let of_word = |row: &[f64]| {
            let sum: f64 = row.iter().sum();
            row.iter().map(|product| (product / sum) as f32).collect::<Vec<f32>>()
        };
        products.chunks_exact(self.labels).flat_map(of_word).collect()
    }

    /// Viterbi's algorithm: the label of each word in the best sequence; of equally good labels, the one with the lower
    /// number.
    pub fn best_sequence(&self, scores: &[f32], breaks: &[bool]) -> Vec<usize> {
        let labels = self.labels;
        let words = breaks.len();
        if words == 0 {
            return Vec::new();
        }
        let mut best: Vec<f64> = (0..labels).map(|to| self.start[to] + f64::from(scores[to])).collect();
        // For each word after the first and each of its labels, the best label before.
        let mut before = vec![0; words * labels];
        for at in 1..words {
            let between = if breaks[at] { &self.between_apart } else { &self.between };
            let mut next = vec![f64::NEG_INFINITY; labels];
            for (to, slot) in next.iter_mut().enumerate() {
                for (from, best) in best.iter().enumerate() {
                    let score = best + between[from * labels + to];
                    if score > *slot {
                        (*slot, before[at * labels + to]) = (score, from);
                    }
                }
                *slot += f64::from(scores[at * labels + to]);
            }
            best = next;
        }
        let last = best.iter().zip(&self.end).map(|(best, end)| best + end);
        let better = |best: (usize, f64), next: (usize, f64)| if next.1 > best.1 { next } else { best };
        let (mut label, _) = last.enumerate().fold((0, f64::NEG_INFINITY), better);
        let mut sequence = vec![label; words];
        for at in (1..words).rev() {
            label = before[at * labels + label];
            sequence[at - 1] = label;
        }
        sequence
    }

    /// Whether a word labelled `to` continues the entity of the previous word, labelled `from`.
    fn continues(&self, from: usize, to: usize) -> bool {
        match (self.scheme.tag(from), self.scheme.tag(to)) {
            (Tag::Entity(before, left), Tag::Entity(Position::Inside | Position::End, right)) => {
                left == right && !matches!(before, Position::End | Position::Single)
            }
            _ => false,
        }
    }
}

/// Forward and backward sums over a text, scaled per word.
struct Chain<'c> {
    transitions: &'c Transitions,
    breaks: &'c [bool],
    /// Exponentials of the transition scores; 0 for impossible ones.
    start: Vec<f64>,
    end: Vec<f64>,
    between: Vec<f64>,
    between_apart: Vec<f64>,
    /// Exponentials of the word scores, scaled so that sums neither vanish nor overflow. `[words, labels]`, as the next
    /// two.
    weights: Vec<f64>,
    /// Sum over everything before a word, its own score included.
    forward: Vec<f64>,
    /// Sum over everything after a word.
    backward: Vec<f64>,
    total: f64,
}

impl<'c> Chain<'c> {
    fn new(transitions: &'c Transitions, scores: &[f32], breaks: &'c [bool]) -> Self {
        let (labels, words) = (transitions.labels, breaks.len());
        let exp = |scores: &[f64]| -> Vec<f64> { scores.iter().map(|score| score.exp()).collect() };
        let mut chain = Self {
            transitions,
            breaks,
            start: exp(&transitions.start),
            end: exp(&transitions.end),
            between: exp(&transitions.between),
            between_apart: exp(&transitions.between_apart),
            weights: Vec::with_capacity(scores.len()),
            forward: vec![0.0; scores.len()],
            backward: vec![0.0; scores.len()],
            total: 0.0,
        };
        for row in scores.chunks_exact(labels) {
            let largest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            chain.weights.extend(row.iter().map(|&score| f64::from(score - largest).exp()));
        }
        for at in 0..words {
            let mut sums: Vec<f64> =
                (0..labels).map(|to| chain.before(at, to, |_| true) * chain.weights[at * labels + to]).collect();
            let scale: f64 = sums.iter().sum();
            for (to, sum) in sums.iter_mut().enumerate() {
                chain.forward[at * labels + to] = *sum / scale;
                chain.weights[at * labels + to] /= scale;
            }
        }
        for at in (0..words).rev() {
            for from in 0..labels {
                chain.backward[at * labels + from] = chain.after(at, from, |_| true);
            }
        }
        let last = (words - 1) * labels;
        chain.total = (0..labels).map(|from| chain.forward[last + from] * chain.end[from]).sum();
        chain
    }

    /// Weight of the transition from `from` to `to`.
    fn pair(&self, from: usize, to: usize, breaks: bool) -> f64 {
        let between = if breaks { &self.between_apart } else { &self.between };
        between[from * self.transitions.labels + to]
    }

    /// Sum over everything before the label `to` of word `at`, restricted to previous labels that `counts` accepts.
    fn before(&self, at: usize, to: usize, counts: impl Fn(usize) -> bool) -> f64 {
        let labels = self.transitions.labels;
        if at == 0 {
            return self.start[to];
        }
        let forward = &self.forward[(at - 1) * labels..at * labels];
        let kept = forward.iter().enumerate().filter(|(from, _)| counts(*from));
        kept.map(|(from, forward)| forward * self.pair(from, to, self.breaks[at])).sum()
    }

    /// Sum over everything after the label `from` of word `at`, restricted to next labels that `counts` accepts.
    fn after(&self, at: usize, from: usize, counts: impl Fn(usize) -> bool) -> f64 {
        let labels = self.transitions.labels;
        let next = at + 1;
        if next == self.breaks.len() {
            return self.end[from];
        }
        let follows = |to: usize| self.weights[next * labels + to] * self.backward[next * labels + to];
        (0..labels).filter(|&to| counts(to)).map(|to| self.pair(from, to, self.breaks[next]) * follows(to)).sum()
    }

    /// Probability that the words from `start` have these labels and that their entity extends no further.
    fn probability(&self, start: usize, labels: &[usize]) -> f64 {
        let (first, last) = (labels[0], labels[labels.len() - 1]);
        let end = start + labels.len();
        let width = self.transitions.labels;
        let breaks = |at: usize| self.breaks.get(at).copied().unwrap_or(true);
        let continues = |from: usize, to: usize| self.transitions.continues(from, to);
        let mut product = self.before(start, first, |from| breaks(start) || !continues(from, first));
        for (at, &label) in labels.iter().enumerate() {
            if at > 0 {
                product *= self.between[labels[at - 1] * width + label];
            }
            product *= self.weights[(start + at) * width + label];
        }
        product * self.after(end - 1, last, |to| breaks(end) || !continues(last, to)) / self.total
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ner_document::LabelSet;
    use proptest::prelude::*;

    /// Every sequence of labels for `words` words.
    fn sequences(words: usize, labels: usize) -> impl Iterator<Item = Vec<usize>> {
        let count = labels.pow(words as u32);
        (0..count).map(move |number| (0..words as u32).map(|at| number / labels.pow(at) % labels).collect())
    }

    fn entities_of(labels: &LabelSet, sequence: &[usize], breaks: &[bool]) -> Vec<TaggedEntity> {
        let mut entities = Vec::new();
        for entity in labels.decode(sequence) {
            let mut start = entity.units.start;
            let cuts = (start + 1..entity.units.end).filter(|&at| breaks[at]);
            for at in cuts.chain([entity.units.end]) {
                entities.push(TaggedEntity { units: start..at, entity_type: entity.entity_type });
                start = at;
            }
        }
        entities
    }

    proptest! {
        #[test]
        fn the_best_sequence_and_its_probabilities_are_those_of_all_sequences(
            scheme in prop::sample::select(vec![TagScheme::Io, TagScheme::Bio, TagScheme::Bioes]),
            types in 1usize..3, breaks in prop::collection::vec(prop::bool::weighted(0.3), 1..5),
            numbers in prop::collection::vec(-3f32..3.0, 200), learned: bool,
        ) {
            let types = if scheme == TagScheme::Bioes && breaks.len() > 3 { 1 } else { types };
            let labels = LabelSet::new(scheme, ["a", "b"].into_iter().take(types));
            let (count, words) = (labels.len(), breaks.len());
            let (scores, rest) = numbers.split_at(words * count);
            let zeros = vec![0.0; rest.len()];
            let rest = if learned { rest } else { zeros.as_slice() };
            let (start, rest) = rest.split_at(count);
            let (end, rest) = rest.split_at(count);
            let between = &rest[..count * count];
            let transitions = Transitions::new(scheme, start, end, between);
            if !learned {
                prop_assert_eq!(&transitions, &Transitions::constraints(scheme, types));
            }

            let tag = |label: usize| Some(labels.tag(label));
            let score = |sequence: &[usize]| -> Option<f64> {
                let mut sum = start[sequence[0]] + end[sequence[words - 1]];
                let mut allowed = scheme.allows(None, tag(sequence[0])) && scheme.allows(tag(sequence[words - 1]), None);
                for at in 0..words {
                    sum += scores[at * count + sequence[at]];
                    if at > 0 {
                        let (from, to) = (sequence[at - 1], sequence[at]);
                        sum += between[from * count + to];
                        let at_break = scheme.allows(tag(from), None) && scheme.allows(None, tag(to));
                        allowed &= scheme.allows(tag(from), tag(to)) && (!breaks[at] || at_break);
                    }
                }
                allowed.then_some(f64::from(sum))
            };
            let all: Vec<(Vec<usize>, f64)> =
                sequences(words, count).filter_map(|s| score(&s).map(|found| (s, found))).collect();
            let best = all.iter().map(|(_, score)| *score).fold(f64::NEG_INFINITY, f64::max);
            let total: f64 = all.iter().map(|(_, score)| score.exp()).sum();

            if breaks.iter().skip(1).all(|is_break| !is_break) {
                let marginals = transitions.marginals(scores);
                for at in 0..words * count {
                    let holds = |sequence: &[usize]| sequence[at / count] == at % count;
                    let share: f64 = all.iter().filter(|(s, _)| holds(s)).map(|(_, score)| score.exp()).sum();
                    prop_assert!((share / total - f64::from(marginals[at])).abs() < 1e-5);
                }
            }
            let found = transitions.best_sequence(scores, &breaks);
            prop_assert!((score(&found).expect("a sequence that is allowed") - best).abs() < 1e-4);
            let entities = transitions.entities(scores, &breaks);
            let plain: Vec<TaggedEntity> = entities
                .iter()
                .map(|found| TaggedEntity { units: found.words.clone(), entity_type: found.entity_type })
                .collect();
            prop_assert_eq!(&plain, &entities_of(&labels, &found, &breaks));
            for ScoredEntity { words, entity_type, probability } in entities {
                let entity = TaggedEntity { units: words, entity_type };
                let holds = |sequence: &[usize]| entities_of(&labels, sequence, &breaks).contains(&entity);
                let share: f64 = all.iter().filter(|(s, _)| holds(s)).map(|(_, score)| score.exp()).sum();
                prop_assert!((share / total - f64::from(probability)).abs() < 1e-5, "{} {}", share / total, probability);
            }
        }
    }

    #[test]
    fn a_text_without_words_has_no_entities() {
        assert_eq!(Transitions::constraints(TagScheme::Bio, 1).entities(&[], &[]), []);
    }
}
