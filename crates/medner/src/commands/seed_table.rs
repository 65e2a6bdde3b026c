//! The scores of a group of seeds.

use crate::OutputFormat;
use crate::terminal::{score_table, stdout};
use anyhow::Result;
use ner_experiment::record::GroupRecord;
use ner_experiment::seeds::summary;
use ner_runs::Run;
use serde_json::{Value, json};
use std::io::Write;

/// Prints the runs of a group, with mean and standard deviation of their scores.
///
/// # Errors
/// If stdout cannot be written.
pub fn print(dataset: &str, group: &GroupRecord, runs: &[Run], format: OutputFormat) -> Result<()> {
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
