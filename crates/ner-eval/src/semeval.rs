use crate::pairing::{Agreement, Pairing, pair_mentions};
use ner_document::Mention;
use serde::Serialize;
use std::collections::BTreeMap;
use std::ops::AddAssign;

/// The counts of one scheme, in the terms of MUC-5.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SchemeCounts {
    /// Pairs that count as correct.
    pub correct: u64,
    /// Pairs that count as incorrect.
    pub incorrect: u64,
    /// Pairs that count half, in the partial scheme only.
    pub partial: u64,
    /// Gold mentions without a pair.
    pub missed: u64,
    /// Predicted mentions without a pair.
    pub spurious: u64,
}

impl SchemeCounts {
    /// Gold mentions: `correct + incorrect + partial + missed`.
    pub fn possible(self) -> u64 {
        self.correct + self.incorrect + self.partial + self.missed
    }

    /// Predicted mentions: `correct + incorrect + partial + spurious`.
    pub fn actual(self) -> u64 {
        self.correct + self.incorrect + self.partial + self.spurious
    }

    /// `(correct + partial / 2) / actual`, or `None` if nothing was predicted.
    pub fn precision(self) -> Option<f64> {
        self.credit_of(self.actual())
    }

    /// `(correct + partial / 2) / possible`, or `None` if gold is empty.
    pub fn recall(self) -> Option<f64> {
        self.credit_of(self.possible())
    }

    /// Harmonic mean of precision and recall; `None` if both sides are empty, and 0 if only one of the two is defined.
    pub fn f1(self) -> Option<f64> {
        self.credit_of(self.possible() + self.actual()).map(|half| 2.0 * half)
    }

    fn credit_of(self, whole: u64) -> Option<f64> {
        (whole > 0).then(|| (2 * self.correct + self.partial) as f64 / (2 * whole) as f64)
    }
}

impl AddAssign for SchemeCounts {
    fn add_assign(&mut self, other: Self) {
        self.correct += other.correct;
        self.incorrect += other.incorrect;
        self.partial += other.partial;
        self.missed += other.missed;
        self.spurious += other.spurious;
    }
}

impl Serialize for SchemeCounts {
    /// Serialises the counts together with the scores.
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Fields {
            correct: u64,
            incorrect: u64,
            partial: u64,
            missed: u64,
            spurious: u64,
            possible: u64,
            actual: u64,
            precision: Option<f64>,
            recall: Option<f64>,
            f1: Option<f64>,
        }
        let Self { correct, incorrect, partial, missed, spurious } = *self;
        let (possible, actual) = (self.possible(), self.actual());
        let (precision, recall, f1) = (self.precision(), self.recall(), self.f1());
        Fields { correct, incorrect, partial, missed, spurious, possible, actual, precision, recall, f1 }
            .serialize(serializer)
    }
}

/// The counts of the four schemes over the same pairs.
///
/// | pair | strict | exact | partial | type |
/// |---|---|---|---|---|
/// | the same position and type | correct | correct | correct | correct |
/// | the same position, another type | incorrect | correct | correct | incorrect |
/// | the same type, another position | incorrect | incorrect | partial | correct |
/// | another position and type | incorrect | incorrect | partial | incorrect |
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Schemes {
    /// Position and type must match.
    pub strict: SchemeCounts,
    /// The position must match; the type is ignored.
    pub exact: SchemeCounts,
    /// An overlapping position counts half; the type is ignored.
    pub partial: SchemeCounts,
    /// The type must match and the positions overlap.
    #[serde(rename = "type")]
    pub type_: SchemeCounts,
}

impl Schemes {
    fn each(&mut self, part: SchemeCounts) {
        for scheme in [&mut self.strict, &mut self.exact, &mut self.partial, &mut self.type_] {
            *scheme += part;
        }
    }

    fn add_pair(&mut self, agreement: Agreement) {
        let correct = SchemeCounts { correct: 1, ..SchemeCounts::default() };
        let incorrect = SchemeCounts { incorrect: 1, ..SchemeCounts::default() };
        let partial = SchemeCounts { partial: 1, ..SchemeCounts::default() };
        let [strict, exact, half, type_] = match agreement {
            Agreement::Right => [correct; 4],
            Agreement::OtherType => [incorrect, correct, correct, incorrect],
            Agreement::OtherBoundary => [incorrect, incorrect, partial, correct],
            Agreement::OtherBoundaryAndType => [incorrect, incorrect, partial, incorrect],
        };
        self.strict += strict;
        self.exact += exact;
        self.partial += half;
        self.type_ += type_;
    }
}

/// Scores by the four schemes of SemEval-2013, task 9.1.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct SemevalScores {
    /// Over all mentions. The strict scheme's precision, recall and F1 are those of [`Scores::overall`].
    ///
    /// [`Scores::overall`]: crate::Scores::overall
    pub overall: Schemes,
    /// By type: pairs and missed mentions under the type of the gold mention, spurious mentions under their own. The
    /// types thus add up to `overall`, but a prediction of the wrong type lowers the precision of the gold type, not of
    /// its own as in [`Scores::per_type`](crate::Scores::per_type).
    pub per_type: BTreeMap<String, Schemes>,
}

/// Scores mentions by the schemes of SemEval-2013, task 9.1; each item is one document's gold and predicted mentions.
///
/// Mentions are paired by [`pair_mentions`]; the order of documents and mentions does not matter.
///
/// Source: Segura-Bedmar, Martínez, Herrero-Zazo 2013, "SemEval-2013 Task 9: Extraction of Drug-Drug Interactions from
/// Biomedical Texts", section 4; the counts are those of MUC-5 (Chinchor & Sundheim 1993).
pub fn score_semeval<'m>(documents: impl IntoIterator<Item = (&'m [Mention], &'m [Mention])>) -> SemevalScores {
    let mut scores = SemevalScores::default();
    for (gold, predicted) in documents {
        let Pairing { pairs, missed, invented } = pair_mentions(gold, predicted);
        let mut add = |entity_type: &str, add: &dyn Fn(&mut Schemes)| {
            add(&mut scores.overall);
            add(scores.per_type.entry(entity_type.to_owned()).or_default());
        };
        for pair in pairs {
            add(&pair.gold.entity_type, &|schemes| schemes.add_pair(pair.agreement));
        }
        for mention in missed {
            add(&mention.entity_type, &|schemes| schemes.each(SchemeCounts { missed: 1, ..SchemeCounts::default() }));
        }
        for mention in invented {
            let spurious = SchemeCounts { spurious: 1, ..SchemeCounts::default() };
            add(&mention.entity_type, &|schemes| schemes.each(spurious));
        }
    }
    scores
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pairing::tests::{any_mentions, mentions};
    use crate::score_mentions;
    use proptest::prelude::*;

    fn counts([correct, incorrect, partial, missed, spurious]: [u64; 5]) -> SchemeCounts {
        SchemeCounts { correct, incorrect, partial, missed, spurious }
    }

    /// Computed by hand from the task's definitions.
    #[test]
    fn a_table_by_hand() {
        let gold =
            mentions(&["0-4 drug", "10-20 drug", "30-34 brand", "40-45 drug", "50-55 group", "70-72 76-78 group"]);
        // Correct; longer; of another type; both; missed; spurious; discontinuous, one fragment short.
        let predicted =
            mentions(&["0-4 drug", "10-24 drug", "30-34 drug", "43-47 brand", "60-65 brand", "70-72 group"]);
        let scores = score_semeval([(gold.as_slice(), predicted.as_slice())]);
        let Schemes { strict, exact, partial, type_ } = scores.overall;
        assert_eq!(strict, counts([1, 4, 0, 1, 1]));
        assert_eq!(exact, counts([2, 3, 0, 1, 1]));
        assert_eq!(partial, counts([2, 0, 3, 1, 1]));
        assert_eq!(type_, counts([3, 2, 0, 1, 1]));
        assert_eq!((partial.possible(), partial.actual()), (6, 6));
        assert_eq!(
            (partial.precision(), partial.recall(), partial.f1()),
            (Some(3.5 / 6.0), Some(3.5 / 6.0), Some(3.5 / 6.0))
        );

        let drug = scores.per_type["drug"];
        assert_eq!([drug.strict, drug.exact], [counts([1, 2, 0, 0, 0]); 2]);
        assert_eq!([drug.partial, drug.type_], [counts([1, 0, 2, 0, 0]), counts([2, 1, 0, 0, 0])]);
        let brand = scores.per_type["brand"];
        assert_eq!([brand.strict, brand.exact], [counts([0, 1, 0, 0, 1]), counts([1, 0, 0, 0, 1])]);
        assert_eq!([brand.partial, brand.type_], [counts([1, 0, 0, 0, 1]), counts([0, 1, 0, 0, 1])]);
        assert_eq!(
            (brand.exact.precision(), brand.exact.recall(), brand.exact.f1()),
            (Some(0.5), Some(1.0), Some(2.0 / 3.0))
        );
        let group = scores.per_type["group"];
        assert_eq!([group.strict, group.partial], [counts([0, 1, 0, 1, 0]), counts([0, 0, 1, 1, 0])]);
        assert_eq!((group.partial.precision(), group.partial.recall()), (Some(0.5), Some(0.25)));

        let json = serde_json::to_value(scores).expect("scores serialise");
        assert_eq!((&json["overall"]["type"]["correct"], &json["overall"]["type"]["f1"]), (&3.into(), &0.5.into()));
    }

    #[test]
    fn undefined_scores_are_none() {
        let nothing = SchemeCounts::default();
        assert_eq!((nothing.precision(), nothing.recall(), nothing.f1()), (None, None, None));
        let missed = counts([0, 0, 0, 1, 0]);
        assert_eq!((missed.precision(), missed.recall(), missed.f1()), (None, Some(0.0), Some(0.0)));
    }

    proptest! {
        #[test]
        fn order_does_not_matter_and_strict_is_strict(
            documents in proptest::collection::vec((any_mentions(), any_mentions()), 0..4)
        ) {
            let score = |documents: &[(Vec<Mention>, Vec<Mention>)]| {
                score_semeval(documents.iter().map(|(gold, predicted)| (gold.as_slice(), predicted.as_slice())))
            };
            let scores = score(&documents);
            let mut other = documents.clone();
            other.reverse();
            for (gold, predicted) in &mut other {
                gold.reverse();
                let middle = predicted.len() / 2;
                predicted.rotate_left(middle);
                predicted.extend_from_within(..);
            }
            prop_assert_eq!(&score(&other), &scores);

            let strict = score_mentions(documents.iter().map(|(g, p)| (g.as_slice(), p.as_slice())));
            let overall = scores.overall.strict;
            prop_assert_eq!(overall.possible(), strict.overall.support);
            prop_assert_eq!((overall.precision(), overall.recall()), (strict.overall.precision, strict.overall.recall));
            prop_assert_eq!(overall.f1(), strict.overall.f1);
            // All schemes count the same mentions, and the types add up.
            let Schemes { strict, exact, partial, type_ } = scores.overall;
            for scheme in [exact, partial, type_] {
                prop_assert_eq!((scheme.possible(), scheme.actual()), (strict.possible(), strict.actual()));
            }
            prop_assert!(strict.correct <= exact.correct && exact.correct == partial.correct && strict.correct <= type_.correct);
            let mut sum = SchemeCounts::default();
            scores.per_type.values().for_each(|of_type| sum += of_type.partial);
            prop_assert_eq!(sum, partial);
        }
    }
}
