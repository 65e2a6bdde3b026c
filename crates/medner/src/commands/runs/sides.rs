//! The sides of a comparison: runs, or groups of runs.

use super::values::count;
use anyhow::{Context, Result, ensure};
use ner_data::Mention;
use ner_eval::{DocumentCounts, PairedDocuments, PairedTest, Resampling, micro_f1, paired_test};
use ner_runs::{Run, SpanRecord, Store, read_predictions};
use serde::Serialize;

/// One side of a comparison: a run, or a group of runs taken together.
pub struct Side {
    /// The id of the run, or the name of the group.
    pub name: String,
    /// Its runs.
    pub runs: Vec<Run>,
}

impl Side {
    /// Correct, spurious and missed mentions of each document, summed over the runs. `None` if a run kept no
    /// predictions for the split.
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

/// A paired test of two sides, or the reason why it is missing.
#[derive(Serialize)]
pub struct Tested {
    first: String,
    second: String,
    split: &'static str,
    /// The result in words.
    pub words: String,
    #[serde(flatten)]
    test: Option<PairedTest>,
}

/// The split to compare on: test if all runs were measured on it, else dev.
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
        let missing = || format!("a run has no predictions for {split}: it is unfinished or from an earlier version");
        let (ours, theirs) = (side.counts(split)?.with_context(missing)?, first.counts(split)?.with_context(missing)?);
        Ok(paired_test(&ours, &theirs, micro_f1, &Resampling::default())?)
    };
    let mut tested = Vec::new();
    for side in others {
        let (words, test) = match test(side) {
            Ok(test) => {
                let unit = match side.runs.len() {
                    1 => "documents".to_owned(),
                    seeds => format!("documents, each with the results of {seeds} runs"),
                };
                let score = format!("micro F1 on {split}");
                (test.in_words(&side.name, &first.name, &score, &unit), Some(test))
            }
            Err(error) => (format!("{} and {} cannot be compared: {error:#}.", side.name, first.name), None),
        };
        tested.push(Tested { first: side.name.clone(), second: first.name.clone(), split, words, test });
    }
    tested
}

/// The sides that names stand for.
///
/// # Errors
/// If no run has the name.
pub fn sides(store: &Store, names: &[String]) -> Result<Vec<Side>> {
    let mut sides = Vec::new();
    for name in names {
        let runs = store.find(name)?;
        // A run goes by its id, whatever its name was. A single group is split into its runs.
        if runs.len() == 1 || names.len() == 1 {
            sides.extend(runs.into_iter().map(|run| Side { name: run.id(), runs: vec![run] }));
        } else {
            sides.push(Side { name: name.clone(), runs });
        }
    }
    Ok(sides)
}
