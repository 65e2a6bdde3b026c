use crate::counts::{Counts, DocumentCounts, Score, averages};
use crate::error::ScoreError;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Settings of the resampling. The same values give the same numbers on every machine.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Resampling {
    /// Number of draws.
    pub resamples: usize,
    /// Seed of the random numbers.
    pub seed: u64,
    /// Share of the draws that an interval contains, from 0 to 1.
    pub level: f64,
}

impl Default for Resampling {
    /// 10,000 draws and 95 %.
    fn default() -> Self {
        Self { resamples: 10_000, seed: 1, level: 0.95 }
    }
}

impl Resampling {
    /// Runs `draw` once per resample, with the random numbers of that resample.
    fn draws<T: Send>(&self, draw: impl Fn(&mut ChaCha8Rng) -> T + Sync) -> Vec<T> {
        // Each draw has its own random stream, so that results do not depend on the thread that computes it.
        let numbers = (0..self.resamples as u64).into_par_iter();
        let begin = ChaCha8Rng::seed_from_u64(self.seed);
        numbers
            .map(|number| {
                let mut random = begin.clone();
                random.set_stream(number);
                draw(&mut random)
            })
            .collect()
    }
}

/// A confidence interval, from `low` to `high`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
    /// Number of draws in which the score is undefined; they are left out.
    pub undefined: usize,
}

impl Interval {
    /// The percentile interval: of n values the k-th from below and from above, where k = ⌊(n + 1) α⌋.
    fn percentile(drawn: impl Iterator<Item = Option<f64>>, level: f64) -> Option<Self> {
        let (mut values, mut undefined) = (Vec::new(), 0);
        for value in drawn {
            match value {
                Some(value) => values.push(value),
                None => undefined += 1,
            }
        }
        values.sort_unstable_by(f64::total_cmp);
        // The small addend is for levels such as 0.9, whose α rounds to slightly less than 0.05.
        let k = ((values.len() + 1) as f64 * (1.0 - level) / 2.0 + 1e-9) as usize;
        let k = k.clamp(1, values.len().max(1));
        Some(Self { low: *values.get(k - 1)?, high: *values.get(values.len() - k)?, undefined })
    }
}

/// Intervals of the parts of a [`Score`]; `None` if the score is undefined.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ScoreIntervals {
    /// Interval of the precision.
    pub precision: Option<Interval>,
    /// Interval of the recall.
    pub recall: Option<Interval>,
    /// Interval of F1.
    pub f1: Option<Interval>,
}

/// Confidence intervals of [`Scores`](crate::Scores), under the same names.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Intervals {
    /// Settings of the draws.
    #[serde(flatten)]
    pub resampling: Resampling,
    /// Number of documents drawn from.
    pub documents: usize,
    /// Micro average.
    pub overall: ScoreIntervals,
    /// Macro average; each draw averages over the types that occur in it.
    #[serde(rename = "macro")]
    pub macro_: ScoreIntervals,
    /// Weighted average.
    pub weighted: ScoreIntervals,
    /// Each type.
    pub per_type: BTreeMap<String, ScoreIntervals>,
}

/// Percentile bootstrap intervals of all scores: repeatedly draws as many documents as there are, with replacement, and
/// scores them. All intervals are `None` for fewer than two documents, which cannot show how documents differ.
///
/// The order of the documents and their ids do not matter.
///
/// Sources: Efron & Tibshirani 1993, "An Introduction to the Bootstrap", chapter 13; Berg-Kirkpatrick, Burkett, Klein
/// 2012, "An Empirical Investigation of Statistical Significance in NLP".
pub fn bootstrap_intervals(documents: &[DocumentCounts], resampling: &Resampling) -> Intervals {
    let types: BTreeSet<&str> = types_of(documents).collect();
    let mut rows: Vec<Vec<Counts>> = documents.iter().map(|document| row(document, &types)).collect();
    rows.sort_unstable();
    let scores = |counts: &[Counts]| -> Vec<Score> {
        averages(&present(counts)).into_iter().chain(counts.iter().map(|&counts| counts.into())).collect()
    };
    let observed = scores(&sum(rows.iter().map(Vec::as_slice), types.len()));
    let drawn: Vec<Vec<Score>> = match rows.len() {
        0 | 1 => Vec::new(),
        count => resampling.draws(|random| {
            let draw = (0..count).map(|_| rows[random.random_range(0..count as u32) as usize].as_slice());
            scores(&sum(draw, types.len()))
        }),
    };
    let mut intervals = observed.iter().enumerate().map(|(at, observed)| {
        let interval = |part: fn(&Score) -> Option<f64>| {
            part(observed)?;
            Interval::percentile(drawn.iter().map(|scores| part(&scores[at])), resampling.level)
        };
        ScoreIntervals {
            precision: interval(|score| score.precision),
            recall: interval(|score| score.recall),
            f1: interval(|score| score.f1),
        }
    });
    let mut next = || intervals.next().unwrap_or_default();
    Intervals {
        resampling: *resampling,
        documents: documents.len(),
        overall: next(),
        macro_: next(),
        weighted: next(),
        per_type: types.iter().map(|&entity_type| (entity_type.to_owned(), next())).collect(),
    }
}

/// Micro F1 of the counts of each type.
pub fn micro_f1(types: &[Counts]) -> Option<f64> {
    averages(types)[0].f1
}

/// Macro F1 of the counts of each type, over the types that occur.
pub fn macro_f1(types: &[Counts]) -> Option<f64> {
    averages(&present(types))[1].f1
}

/// A comparison of two systems on the same documents.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PairedTest {
    /// Score of the first system.
    pub first: Option<f64>,
    /// Score of the second.
    pub second: Option<f64>,
    /// `first - second`; `None` if one is undefined.
    pub difference: Option<f64>,
    /// Bootstrap interval of the difference.
    pub interval: Option<Interval>,
    /// Two-sided p-value of the approximate randomisation test: how often a difference at least as large arises if, per
    /// document, chance decides which system made which prediction. `None` if the difference is undefined.
    pub p: Option<f64>,
    /// Number of documents.
    pub documents: usize,
    /// Settings of the draws.
    #[serde(flatten)]
    pub resampling: Resampling,
}

/// Tests document by document whether one of two systems is better, by a score of the counts of each type
/// ([`micro_f1`], [`macro_f1`]).
///
/// Applies two methods to the same pairs. *Approximate randomisation*: each draw flips a coin per document to swap the
/// two systems' predictions; p is (r + 1) / (n + 1), where r of n draws differ at least as much as the systems do. A
/// draw whose score is undefined counts towards r. *Paired bootstrap*: draws as many documents as there are, with
/// replacement, the same for both systems; the interval is that of the difference. The order of the documents does not
/// matter.
///
/// Sources: Noreen 1989, "Computer-Intensive Methods for Testing Hypotheses"; Yeh 2000, "More accurate tests for the
/// statistical significance of result differences"; Efron & Tibshirani 1993, chapter 13; Berg-Kirkpatrick et al. 2012.
///
/// # Errors
/// If the two systems were scored on different documents, by id, or against different numbers of gold mentions.
pub fn paired_test(
    first: &[DocumentCounts],
    second: &[DocumentCounts],
    statistic: impl Fn(&[Counts]) -> Option<f64> + Sync,
    resampling: &Resampling,
) -> Result<PairedTest, ScoreError> {
    let pairs = pair(first, second)?;
    let types: BTreeSet<&str> = types_of(first).chain(types_of(second)).collect();
    let mut rows: Vec<[Vec<Counts>; 2]> = pairs.iter().map(|pair| pair.map(|document| row(document, &types))).collect();
    rows.sort_unstable();
    let score = |side: usize| statistic(&sum(rows.iter().map(|row| row[side].as_slice()), types.len()));
    let (first, second) = (score(0), score(1));
    let difference = first.zip(second).map(|(first, second)| first - second);

    let randomised = |random: &mut ChaCha8Rng| -> Option<f64> {
        let mut sides = [vec![Counts::default(); types.len()], vec![Counts::default(); types.len()]];
        for [first, second] in &rows {
            let swapped = usize::from(random.random::<bool>());
            add(&mut sides[swapped], first);
            add(&mut sides[1 - swapped], second);
        }
        let [first, second] = sides.map(|counts| statistic(&counts));
        Some(f64::abs(first? - second?))
    };
    let p = difference.map(|difference| {
        // Equal counts give equal scores; the tolerance is for scores that are summed in another order.
        let least = f64::abs(difference) - 1e-12;
        let as_large =
            resampling.draws(randomised).into_iter().filter(|drawn| drawn.is_none_or(|drawn| drawn >= least));
        (as_large.count() + 1) as f64 / (resampling.resamples + 1) as f64
    });
    let redrawn = |random: &mut ChaCha8Rng| -> Option<f64> {
        let mut sides = [vec![Counts::default(); types.len()], vec![Counts::default(); types.len()]];
        for _ in 0..rows.len() {
            let row = &rows[random.random_range(0..rows.len() as u32) as usize];
            sides.iter_mut().zip(row).for_each(|(sum, counts)| add(sum, counts));
        }
        let [first, second] = sides.map(|counts| statistic(&counts));
        Some(first? - second?)
    };
    let interval = match difference {
        Some(_) if rows.len() > 1 => Interval::percentile(resampling.draws(redrawn).into_iter(), resampling.level),
        _ => None,
    };
    Ok(PairedTest { first, second, difference, interval, p, documents: rows.len(), resampling: *resampling })
}

impl PairedTest {
    /// The result in one sentence. `first` and `second` are the names of the systems, `score` that of the compared
    /// score (`micro F1`), `unit` that of the drawn items (`documents`).
    pub fn in_words(&self, first: &str, second: &str, score: &str, unit: &str) -> String {
        let (Some(difference), Some(p)) = (self.difference, self.p) else {
            return format!("{score} is undefined for {first} or {second}, so they cannot be compared.");
        };
        let level = 100.0 * self.resampling.level;
        // From the view of the better system, which the sentence names first.
        let interval = match self.interval {
            Some(Interval { low, high, .. }) => {
                let (low, high) = if difference < 0.0 { (-high, -low) } else { (low, high) };
                format!("{level} % interval {:.1} to {:.1}", 100.0 * low, 100.0 * high)
            }
            None => "no interval".to_owned(),
        };
        let p = if p < 0.001 { format!("{p:.4}") } else { format!("{p:.3}") };
        let evidence = format!("{interval}; p = {p}, approximate randomisation over {} {unit}", self.documents);
        let (better, worse) = if difference < 0.0 { (second, first) } else { (first, second) };
        let points = 100.0 * difference.abs();
        if self.is_significant() {
            format!("{better} is better than {worse} by {points:.1} points of {score} ({evidence}).")
        } else if difference == 0.0 {
            format!("{first} and {second} do not differ in {score} ({evidence}).")
        } else {
            format!(
                "It is not shown that {better} is better than {worse}: they differ by {points:.1} points of {score}, which \
                 may be chance ({evidence})."
            )
        }
    }

    /// Whether p is below 1 − level.
    pub fn is_significant(&self) -> bool {
        self.p.is_some_and(|p| p < 1.0 - self.resampling.level)
    }
}

/// Mean and spread of a score over training seeds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct MeanAndDeviation {
    /// Arithmetic mean.
    pub mean: f64,
    /// Sample standard deviation (divisor `count - 1`); `None` for a single value.
    pub standard_deviation: Option<f64>,
    /// Number of values.
    pub count: usize,
}

impl MeanAndDeviation {
    /// Mean and deviation of `values`; `None` if there are none.
    pub fn of(values: &[f64]) -> Option<Self> {
        let count = values.len();
        let mean = values.iter().sum::<f64>() / count as f64;
        let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
        let standard_deviation = (count > 1).then(|| (squares / (count - 1) as f64).sqrt());
        (count > 0).then_some(Self { mean, standard_deviation, count })
    }
}

impl std::fmt::Display for MeanAndDeviation {
    /// Formats in points: `83.4 ± 0.2`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:.1}", 100.0 * self.mean)?;
        self.standard_deviation.map_or(Ok(()), |deviation| write!(f, " ± {:.1}", 100.0 * deviation))
    }
}

/// Pairs the documents of two systems by id.
fn pair<'d>(
    first: &'d [DocumentCounts],
    second: &'d [DocumentCounts],
) -> Result<Vec<[&'d DocumentCounts; 2]>, ScoreError> {
    let mut others: BTreeMap<&str, &DocumentCounts> = BTreeMap::new();
    let unpaired = |document: &DocumentCounts| ScoreError::Unpaired { id: document.id.clone() };
    for document in second {
        if others.insert(&document.id, document).is_some() {
            return Err(unpaired(document));
        }
    }
    let mut pairs = Vec::with_capacity(first.len());
    for document in first {
        let other = others.remove(document.id.as_str()).ok_or_else(|| unpaired(document))?;
        let gold = |document: &DocumentCounts| -> BTreeMap<String, u64> {
            let support = document.by_type.iter().map(|(name, counts)| (name.clone(), counts.support()));
            support.filter(|(_, support)| *support > 0).collect()
        };
        if gold(document) != gold(other) {
            return Err(ScoreError::OtherGold { id: document.id.clone() });
        }
        pairs.push([document, other]);
    }
    match others.into_values().next() {
        Some(document) => Err(unpaired(document)),
        None => Ok(pairs),
    }
}

fn types_of(documents: &[DocumentCounts]) -> impl Iterator<Item = &str> {
    documents.iter().flat_map(|document| document.by_type.keys().map(String::as_str))
}

/// The counts of a document, in the order of `types`.
fn row(document: &DocumentCounts, types: &BTreeSet<&str>) -> Vec<Counts> {
    types.iter().map(|&entity_type| document.by_type.get(entity_type).copied().unwrap_or_default()).collect()
}

fn sum<'r>(rows: impl Iterator<Item = &'r [Counts]>, types: usize) -> Vec<Counts> {
    let mut sum = vec![Counts::default(); types];
    rows.for_each(|row| add(&mut sum, row));
    sum
}

fn add(sum: &mut [Counts], row: &[Counts]) {
    sum.iter_mut().zip(row).for_each(|(sum, &counts)| *sum += counts);
}

/// The counts of the types that occur.
fn present(types: &[Counts]) -> Vec<Counts> {
    types.iter().copied().filter(|counts| !counts.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Scores;
    use crate::counts::sum_by_type;
    use proptest::prelude::*;

    fn document(id: usize, tp: u64, fp: u64, fn_: u64) -> DocumentCounts {
        DocumentCounts { id: id.to_string(), by_type: BTreeMap::from([("X".to_owned(), Counts { tp, fp, fn_ })]) }
    }

    const FEW: Resampling = Resampling { resamples: 2000, seed: 7, level: 0.95 };

    #[test]
    fn percentiles() {
        let check = |count: usize, level: f64, expected: Option<(f64, f64)>| {
            let drawn = (1..=count).rev().map(|value| Some(value as f64)).chain([None]);
            let found = Interval::percentile(drawn, level);
            assert_eq!(found.map(|interval| (interval.low, interval.high)), expected, "{count} {level}");
            assert!(found.is_none_or(|interval| interval.undefined == 1));
        };
        check(0, 0.95, None);
        check(1, 0.95, Some((1.0, 1.0)));
        check(999, 0.95, Some((25.0, 975.0)));
        check(999, 0.9, Some((50.0, 950.0)));
        check(10_000, 0.95, Some((250.0, 9751.0)));
    }

    /// Each document is one mention, found with probability 0.8: recall is the mean of 400 coin flips, whose interval
    /// is known.
    #[test]
    fn the_interval_of_a_share_is_that_of_the_binomial() {
        let documents: Vec<DocumentCounts> =
            (0..400).map(|at| document(at, u64::from(at % 5 > 0), 0, u64::from(at % 5 == 0))).collect();
        let intervals = bootstrap_intervals(&documents, &Resampling::default());
        let recall = intervals.overall.recall.expect("defined");
        // 0.8 ± 1.96 sqrt(0.8 * 0.2 / 400)
        assert!((recall.low - 0.7608).abs() < 0.004 && (recall.high - 0.8392).abs() < 0.004, "{recall:?}");
        assert_eq!(intervals.per_type["X"], intervals.overall);
        assert_eq!(intervals.overall.precision, Some(Interval { low: 1.0, high: 1.0, undefined: 0 }));
    }

    #[test]
    fn scores_without_an_interval() {
        let one = bootstrap_intervals(&[document(0, 1, 1, 1)], &FEW);
        assert_eq!((one.overall, one.documents), (ScoreIntervals::default(), 1));
        assert_eq!(bootstrap_intervals(&[], &FEW).overall, ScoreIntervals::default());
        // Nothing predicted: precision is undefined, recall is not.
        let unfound = bootstrap_intervals(&[document(0, 0, 0, 1), document(1, 0, 0, 2)], &FEW).overall;
        assert_eq!((unfound.precision, unfound.recall.map(|recall| recall.high)), (None, Some(0.0)));
        // Half of the documents have no predictions: precision is undefined if a draw contains only these.
        let rare = bootstrap_intervals(&[document(0, 1, 0, 0), document(1, 0, 0, 1)], &FEW).overall;
        let undefined = rare.precision.expect("defined").undefined;
        assert!((400..600).contains(&undefined), "{undefined} of 2000 draws, a quarter expected");
    }

    /// Ten documents; in each, the first system finds the single mention and the second does not. Only the draws that
    /// swap all or none differ as much: 2 of 1024.
    #[test]
    fn the_randomisation_test_has_the_p_of_the_exact_test() {
        let first: Vec<DocumentCounts> = (0..10).map(|at| document(at, 1, 0, 0)).collect();
        let second: Vec<DocumentCounts> = (0..10).map(|at| document(at, 0, 0, 1)).collect();
        let many = Resampling { resamples: 50_000, ..FEW };
        let test = paired_test(&first, &second, micro_f1, &many).expect("paired");
        let p = test.p.expect("defined");
        assert!((p - 2.0 / 1024.0).abs() < 0.0008, "{p}");
        assert_eq!((test.difference, test.interval.map(|interval| interval.low)), (Some(1.0), Some(1.0)));
        let mirrored = paired_test(&second, &first, micro_f1, &many).expect("paired");
        assert_eq!(mirrored.difference, Some(-1.0));
        assert!(mirrored.is_significant());
    }

    #[test]
    fn a_system_does_not_differ_from_itself() {
        let documents: Vec<DocumentCounts> = (0..20).map(|at| document(at, at as u64 % 3, 1, 2)).collect();
        let test = paired_test(&documents, &documents, macro_f1, &FEW).expect("paired");
        assert_eq!((test.p, test.difference), (Some(1.0), Some(0.0)));
        assert_eq!(test.interval, Some(Interval { low: 0.0, high: 0.0, undefined: 0 }));
        let nothing = paired_test(&[], &[], micro_f1, &FEW).expect("paired");
        assert_eq!((nothing.p, nothing.difference, nothing.interval), (None, None, None));
    }

    #[test]
    fn unpaired_documents_are_errors() {
        let check = |first: &[DocumentCounts], second: &[DocumentCounts], expected: &str| {
            let error = paired_test(first, second, micro_f1, &FEW).expect_err("not paired");
            assert_eq!(error.to_string(), expected);
        };
        let [one, two] = [document(1, 1, 0, 0), document(2, 1, 0, 0)];
        let only = std::slice::from_ref::<DocumentCounts>;
        check(&[one.clone(), two.clone()], only(&one), "document 2 was scored for one system only");
        check(only(&one), &[two.clone(), one.clone()], "document 2 was scored for one system only");
        check(only(&one), &[one.clone(), one.clone()], "document 1 was scored for one system only");
        let other = document(1, 1, 0, 1);
        check(&[one], &[other], "document 1 has different gold mentions for the two systems");
    }

    #[test]
    fn the_sentence() {
        let interval = Some(Interval { low: 0.004, high: 0.02, undefined: 0 });
        let resampling = Resampling::default();
        let test = PairedTest {
            first: Some(0.85),
            second: Some(0.838),
            difference: Some(0.012),
            interval,
            p: Some(0.003),
            documents: 500,
            resampling,
        };
        let check = |test: &PairedTest, expected: &str| {
            assert_eq!(test.in_words("A", "B", "micro F1", "documents"), expected);
        };
        check(
            &test,
            "A is better than B by 1.2 points of micro F1 (95 % interval 0.4 to 2.0; p = 0.003, approximate randomisation \
             over 500 documents).",
        );
        let interval = Some(Interval { low: -0.01, high: 0.006, undefined: 0 });
        check(
            &PairedTest { difference: Some(-0.002), interval, p: Some(0.61), ..test.clone() },
            "It is not shown that B is better than A: they differ by 0.2 points of micro F1, which may be chance (95 % \
             interval -0.6 to 1.0; p = 0.610, approximate randomisation over 500 documents).",
        );
        check(
            &PairedTest { difference: None, interval: None, p: None, ..test },
            "micro F1 is undefined for A or B, so they cannot be compared.",
        );
    }

    #[test]
    fn mean_and_deviation() {
        assert_eq!(MeanAndDeviation::of(&[]), None);
        let one = MeanAndDeviation::of(&[0.5]).expect("a mean");
        assert_eq!((one.mean, one.standard_deviation, one.to_string().as_str()), (0.5, None, "50.0"));
        let many = MeanAndDeviation::of(&[0.2, 0.4, 0.4, 0.4, 0.5, 0.5, 0.7, 0.9]).expect("a mean");
        // The textbook's example: the sum of squares is 0.32, over 7.
        assert!((many.mean - 0.5).abs() < 1e-12);
        assert!((many.standard_deviation.expect("eight values") - (0.32f64 / 7.0).sqrt()).abs() < 1e-12);
        assert_eq!(many.to_string(), "50.0 ± 21.4");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn order_does_not_matter(
            counts in proptest::collection::vec((0u64..4, 0u64..4, 0u64..4, 0u64..4), 2..12)
        ) {
            let few = Resampling { resamples: 300, ..FEW };
            let documents: Vec<DocumentCounts> =
                counts.iter().enumerate().map(|(at, &(tp, fp, fn_, _))| document(at, tp, fp, fn_)).collect();
            // Another system against the same gold.
            let others: Vec<DocumentCounts> = counts
                .iter()
                .enumerate()
                .map(|(at, &(tp, fp, fn_, found))| document(at, found.min(tp + fn_), fp, tp + fn_ - found.min(tp + fn_)))
                .collect();
            let intervals = bootstrap_intervals(&documents, &few);
            let test = paired_test(&documents, &others, micro_f1, &few).expect("paired");
            let scores = Scores::from(sum_by_type(&documents));
            prop_assert_eq!(test.first, scores.overall.f1);
            if let Some(interval) = intervals.overall.f1 {
                prop_assert!(0.0 <= interval.low && interval.low <= interval.high && interval.high <= 1.0, "{:?}", interval);
            }
            let reversed: Vec<DocumentCounts> = documents.iter().rev().cloned().collect();
            prop_assert_eq!(&bootstrap_intervals(&reversed, &few), &intervals);
            prop_assert_eq!(paired_test(&reversed, &others, micro_f1, &few).expect("paired"), test);
        }
    }
}
