//! Trains with several seeds.

use crate::plan::Plan;
use crate::record::GroupRecord;
use crate::tracking::Tracking;
use crate::train::{Job, train};
use anyhow::Result;
use ner_eval::MeanAndDeviation;
use ner_runs::{Run, Status, Store, flatten};
use serde_json::{Map, Value, json};
use std::sync::atomic::AtomicBool;
use tracing::info;

/// Trains a new group of runs, one per seed. Returns the group and its runs in the order of the seeds.
///
/// # Errors
/// If a training fails or is stopped; the group can be resumed.
pub fn train_seeds(
    store: &Store,
    dataset: &str,
    seeds: &[u64],
    plan: &Plan,
    tracking: &Tracking,
    stop: &AtomicBool,
) -> Result<(GroupRecord, Vec<Run>)> {
    let (id, _lock) = store.new_group(dataset, "seeds")?;
    let group = GroupRecord { id, seeds: seeds.to_vec(), trial: None };
    let runs = train_all(store, dataset, &group, plan, tracking, stop)?;
    Ok((group, runs))
}

/// Continues a group of runs. Finished runs are not trained again.
///
/// # Errors
/// If a training fails or is stopped, or another process trains the group.
pub fn resume_seeds(
    store: &Store,
    dataset: &str,
    group: &GroupRecord,
    plan: &Plan,
    tracking: &Tracking,
    stop: &AtomicBool,
) -> Result<Vec<Run>> {
    let _lock = store.lock_group(dataset, &group.id)?;
    train_all(store, dataset, group, plan, tracking, stop)
}

/// The runs of a group in the order of its seeds, all finished.
fn train_all(
    store: &Store,
    dataset: &str,
    group: &GroupRecord,
    plan: &Plan,
    tracking: &Tracking,
    stop: &AtomicBool,
) -> Result<Vec<Run>> {
    let mut members = store.list(Some(dataset))?;
    members.retain(|run| run.group() == Some(group.id.as_str()));
    let mut runs = Vec::new();
    for (at, &seed) in group.seeds.iter().enumerate() {
        info!("seed {seed}, {} of {}", at + 1, group.seeds.len());
        let member = members.iter().rev().find(|run| run.value("seed") == Some(seed.into()));
        let job = match member {
            Some(member) if member.status == Status::Finished => {
                info!("run {} is already finished", member.id());
                runs.push(member.clone());
                continue;
            }
            Some(member) => Job::Resume(member.folder.clone()),
            None => {
                let mut plan = plan.clone();
                plan.recipe.seed = seed;
                Job::New { plan: Box::new(plan), group: Some(group.clone()) }
            }
        };
        runs.push(Run::read(train(job, store, tracking, stop)?.folder));
    }
    Ok(runs)
}

/// Mean and standard deviation of every score over the runs. A score that is undefined in one run is undefined.
pub fn summary(runs: &[Run]) -> Map<String, Value> {
    let mut summary = Map::new();
    let Some(first) = runs.first() else { return summary };
    let is_score = |key: &str| key.starts_with("dev.") || key.starts_with("test.");
    for (key, _) in flatten(&first.scores).into_iter().filter(|(key, _)| is_score(key)) {
        let values = runs.iter().map(|run| run.value(&format!("scores.{key}")).and_then(|value| value.as_f64()));
        if let Some(found) = values.collect::<Option<Vec<f64>>>().and_then(|values| MeanAndDeviation::of(&values)) {
            summary.insert(key, json!({ "mean": found.mean, "standard_deviation": found.standard_deviation }));
        }
    }
    summary
}
