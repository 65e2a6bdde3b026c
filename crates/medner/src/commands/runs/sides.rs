//! Runs, or groups of runs, beside each other.

use super::values::count;
use anyhow::{Context, Result, ensure};
use ner_data::Mention;
use ner_eval::{DocumentCounts, PairedDocuments, PairedTest, Resampling, micro_f1, paired_test};
use ner_runs::{Run, SpanRecord, Store, read_predictions};
use serde::Serialize;

/// What is compared: a run, or the runs of a group as one.
pub struct Side {
    /// The id of a run, or the name of a group.
    pub name: String,
    /// Its runs.
    pub runs: Vec<Run>,
}

impl Side {
    /// The mentions of each document that are right, invented and missed, summed over the runs. `None` where a run kept
    /// no predictions for the split.
    fn counts(&self, split: &str) -> Result<Option<Vec<DocumentCounts>>> {
        let mut sum: Vec<DocumentCounts> = Vec::new();
        for run in &self.runs {
            let Some(documents) = read_predictions(run.folder.path(), split)? else { return Ok(None) };
            let mentions = |spans: &[SpanRecord]| -> Vec<Mention> { spans.iter().map(Mention::from).collect() };
            let documents: Vec<(String, Vec<Mention>, Vec<Mention>)> = documents
                .into_iter()
                .map(|document| (document.id, mentions(&document.gold), mentions(&document.predicted)))
                .collect();
            let gold = documents.iter().map(|(id, gold, _)| (id.as_str(), gold.as_slice()));
            let predicted = documents.iter().map(|(id, _, predicted)| (id.as_str(), predicted.as_slice()));
            let counts = PairedDocuments::by_id(gold, predicted)?.score().by_document;
            if sum.is_empty() {
                sum = counts;
                continue;
            }
            ensure!(
                sum.iter().map(|document| &document.id).eq(counts.iter().map(|document| &document.id)),
                "the runs of {} were not measured on the same documents",
                self.name
            );
            for (sum, counts) in sum.iter_mut().zip(counts) {
                for (entity_type, counts) in counts.by_type {
                    *sum.by_type.entry(entity_type).or_default() += counts;
                }
            }
        }
        Ok(Some(sum))
    }
}

/// A paired test of two sides, or why there is none.
#[derive(Serialize)]
pub struct Tested {
    first: String,
    second: String,
    split: &'static str,
    /// What it says.
    pub words: String,
    #[serde(flatten)]
    test: Option<PairedTest>,
}

/// The split to compare on: test where all runs were measured on it, else dev.
pub fn split_of(sides: &[Side]) -> &'static str {
    let was_tested = |side: &Side| side.runs.iter().all(|run| run.value("test").is_some());
    if sides.iter().all(was_tested) { "test" } else { "dev" }
}

/// Compares each side with the first.
pub fn test_sides(sides: &[Side], split: &'static str) -> Vec<Tested> {
    let Some((first, others)) = sides.split_first() else { return Vec::new() };
    let test = |side: &Side| -> Result<PairedTest> {
        ensure!(
            side.runs.len() == first.runs.len(),
            "{} has {} and {} has {}",
            first.name,
            count(first.runs.len()),
            side.name,
            count(side.runs.len())
        );
        let missing = || format!("a run kept no predictions for {split}: it did not end, or is of an earlier version");
        let (ours, theirs) = (side.counts(split)?.with_context(missing)?, first.counts(split)?.with_context(missing)?);
        Ok(paired_test(&ours, &theirs, micro_f1, &Resampling::default())?)
    };
    let mut tested = Vec::new();
    for side in others {
        let (words, test) = match test(side) {
            Ok(test) => {
                let unit = match side.runs.len() {
                    1 => "documents".to_owned(),
                    seeds => format!("documents, each with what {seeds} runs make of it"),
                };
                let score = format!("micro F1 on {split}");
                (test.in_words(&side.name, &first.name, &score, &unit), Some(test))
            }
            Err(error) => (format!("{} and {} cannot be tested: {error:#}.", side.name, first.name), None),
        };
        tested.push(Tested { first: side.name.clone(), second: first.name.clone(), split, words, test });
    }
    tested
}

/// What several names stand for.
///
/// # Errors
/// Where there is no run of such a name.
pub fn sides(store: &Store, names: &[String]) -> Result<Vec<Side>> {
    let mut sides = Vec::new();
    for name in names {
        let runs = store.find(name)?;
        // A run goes by its id, however it was named; of one group alone, the runs are what is compared.
        if runs.len() == 1 || names.len() == 1 {
            sides.extend(runs.into_iter().map(|run| Side { name: run.id(), runs: vec![run] }));
        } else {
            sides.push(Side { name: name.clone(), runs });
        }
    }
    Ok(sides)
}
