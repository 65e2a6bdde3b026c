//! `--seeds`: the same training with several seeds, and what they say together.

use crate::run_record::{GroupRecord, Plan};
use crate::tracking::Tracking;
use crate::train::{Job, train};
use crate::{OutputFormat, score_table, stdout};
use anyhow::Result;
use ner_eval::MeanAndDeviation;
use ner_runs::{Run, Status, Store, flatten};
use serde_json::{Map, Value, json};
use std::io::Write;
use std::sync::atomic::AtomicBool;
use tracing::info;

/// Begins a group of runs, one for each seed.
///
/// # Errors
/// Where a training fails or is stopped; the group can be resumed.
pub fn begin(
    store: &Store,
    dataset: &str,
    seeds: &[u64],
    plan: &Plan,
    tracking: &Tracking,
    stop: &AtomicBool,
    format: OutputFormat,
) -> Result<()> {
    let (id, lock) = store.new_group(dataset, "seeds")?;
    let group = GroupRecord { id, seeds: seeds.to_vec(), trial: None };
    let runs = train_all(store, dataset, &group, plan, tracking, stop)?;
    drop(lock);
    print(dataset, &group, &runs, format)
}

/// Goes on with a group of runs. What has finished is not done again.
///
/// # Errors
/// Where a training fails or is stopped, or another process trains the group.
pub fn run(
    store: &Store,
    dataset: &str,
    group: &GroupRecord,
    plan: &Plan,
    tracking: &Tracking,
    stop: &AtomicBool,
    format: OutputFormat,
) -> Result<()> {
    let lock = store.lock_group(dataset, &group.id)?;
    let runs = train_all(store, dataset, group, plan, tracking, stop)?;
    drop(lock);
    print(dataset, group, &runs, format)
}

/// The runs of a group in the order of its seeds, all of them finished.
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
                info!("run {} has finished", member.id());
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

/// Mean and standard deviation of every score over the runs; those that are undefined in one of them are undefined.
fn summary(runs: &[Run]) -> Map<String, Value> {
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

fn print(dataset: &str, group: &GroupRecord, runs: &[Run], format: OutputFormat) -> Result<()> {
    let summary = summary(runs);
    if format == OutputFormat::Json {
        let run = |(run, seed): (&Run, &u64)| json!({ "run": run.id(), "seed": seed, "scores": run.scores });
        let runs: Vec<Value> = runs.iter().zip(&group.seeds).map(run).collect();
        return stdout::print_json(&json!({ "dataset": dataset, "group": group.id, "runs": runs, "summary": summary }));
    }
    let mut out = stdout::stdout();
    let split = if runs.iter().all(|run| run.scores.get("test").is_some()) { "test" } else { "dev" };
    writeln!(out, "{dataset}, group {}: strict F1, in percent\n", group.id)?;
    let percent = |value: Option<Value>| score_table::percent(value.and_then(|value| value.as_f64()));
    let mut table = score_table::table(&["seed", "dev", "test", "run"]);
    for (run, seed) in runs.iter().zip(&group.seeds) {
        table.add_row([seed.to_string(), percent(run.value("dev")), percent(run.value("test")), run.id()]);
    }
    writeln!(out, "{table}\n\n{split} split, mean ± standard deviation over {} seeds\n", runs.len())?;
    let mut table = score_table::table(&["", "precision", "recall", "F1"]);
    let types = runs.first().and_then(|run| run.scores.get(split)?.get("per_type")?.as_object());
    let types = types.into_iter().flatten().map(|(name, _)| (name.clone(), format!("per_type.{name}")));
    let averages = [("all (micro)", "overall"), ("mean of types (macro)", "macro")];
    for (name, key) in types.chain(averages.map(|(name, key)| (name.to_owned(), key.to_owned()))) {
        let mut row = vec![name];
        for part in ["precision", "recall", "f1"] {
            let found = summary.get(&format!("{split}.{key}.{part}"));
            let (mean, deviation) = (
                found.and_then(|found| found["mean"].as_f64()),
                found.and_then(|found| found["standard_deviation"].as_f64()),
            );
            row.push(match (mean, deviation) {
                (Some(mean), Some(deviation)) => format!("{:.2} ± {:.2}", 100.0 * mean, 100.0 * deviation),
                _ => "–".to_owned(),
            });
        }
        score_table::add_row(&mut table, row);
    }
    writeln!(out, "{table}")?;
    Ok(out.flush()?)
}
