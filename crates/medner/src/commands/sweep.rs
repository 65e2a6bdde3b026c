//! `medner sweep`: trains with many recipes and compares them on dev.

use crate::OutputFormat;
use crate::args::{CorpusArgs, FaultArgs};
use crate::terminal::{interrupt, score_table, stdout};
use anyhow::{Context, Result};
use ner_experiment::corpus;
use ner_experiment::record::runs_folder;
use ner_experiment::shards::Shard;
use ner_experiment::sweep::{Trial, members, train_trials, trials};
use ner_experiment::tracking::Tracking;
use ner_runs::{Run, Store};
use ner_track::Wanted;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;

/// Train with many recipes and compare them on dev.
///
/// Each trial is a run in the group `sweep-NAME`, named after the file. The test split is never scored. Run the same
/// command again to continue an interrupted sweep: finished trials are recognised by corpus, encoder and resolved
/// recipe, so you may also change the file in between.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  medner sweep experiments/sweeps/learning-rate.toml
  medner sweep experiments/sweeps/learning-rate.toml --dry-run   list the trials
  medner sweep experiments/sweeps/learning-rate.toml --shard 0/2 --device cuda:0    the first half, on the first card

The file has the keys dataset, encoder, labels, base (a recipe file beside it), method (grid or random), trials and seed
(for random), a table [recipe] of fixed values, and [ranges]: KEY = [VALUE, …], or for random also
KEY = { from = A, below = B }, with scale = \"log\" to sample log-uniformly.")]
pub struct Args {
    /// The sweep file
    #[arg(value_name = "FILE.toml")]
    file: PathBuf,
    #[command(flatten)]
    place: CorpusArgs,
    #[command(flatten)]
    faults: FaultArgs,
    /// auto, cpu or cuda:N
    #[arg(long, default_value = "auto")]
    device: String,
    /// Train one of OF equal shares of the trials, with NUMBER from 0: one on each card or machine
    #[arg(long, value_name = "NUMBER/OF", conflicts_with = "dry_run")]
    shard: Option<Shard>,
    /// List the trials without training
    #[arg(long)]
    dry_run: bool,
    /// Folder of runs [default: experiments/runs of the checkout]
    #[arg(long, value_name = "DIR")]
    runs: Option<PathBuf>,
    /// Output format
    #[arg(long, default_value = "table")]
    format: OutputFormat,
}

/// Runs the command.
///
/// # Errors
/// If the file is invalid, another process runs the sweep, or a training fails for a reason other than its recipe.
pub fn run(args: Args) -> Result<()> {
    let store = Store::new(runs_folder(args.runs.as_deref())?);
    let trials = trials(&args.file, &args.place.source(), args.faults.lenient, &args.device)?;
    let first = trials.first().context("the sweep has no trials; add values to its [ranges]")?;
    let dataset = corpus::name_of(&first.plan.dataset)?;
    let stem = args.file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let group = format!("sweep-{stem}");
    if !args.dry_run {
        let place = args.shard.map_or_else(|| group.clone(), |shard| format!("{group}-{}", shard.part()));
        let lock = store.lock_group(&dataset, &place)?;
        let stop = interrupt::stop_flag("stopping after this step")?;
        let tracking = Tracking::for_training(Wanted::default())?;
        train_trials(&store, &dataset, &group, (&trials, args.shard), &tracking, &stop)?;
        drop(lock);
    }
    let members = members(&store, &dataset, &group)?;
    print(&dataset, &group, &trials, &members, args.format)
}

/// Prints the trials, the best on dev first.
fn print(
    dataset: &str,
    group: &str,
    trials: &[Trial],
    members: &BTreeMap<String, Run>,
    format: OutputFormat,
) -> Result<()> {
    let mut rows: Vec<(&Trial, Option<&Run>, Option<f64>)> = trials
        .iter()
        .map(|trial| {
            let run = members.get(&trial.key);
            let dev = run.and_then(|run| run.value("dev")?.as_f64());
            (trial, run, dev)
        })
        .collect();
    rows.sort_by(|(_, _, a), (_, _, b)| b.unwrap_or(-1.0).total_cmp(&a.unwrap_or(-1.0)));
    let status = |run: Option<&Run>| run.map_or("to do", |run| run.status.name());
    if format == OutputFormat::Json {
        let trials: Vec<Value> = rows
            .iter()
            .map(|(trial, run, dev)| {
                json!({ "values": trial.values, "status": status(*run), "dev": dev, "run": run.map(Run::id) })
            })
            .collect();
        return stdout::print_json(&json!({ "dataset": dataset, "group": group, "trials": trials }));
    }
    let mut out = stdout::stdout();
    writeln!(out, "{dataset}, {group}: strict F1 on dev, in percent\n")?;
    let keys: Vec<&str> =
        trials.first().into_iter().flat_map(|trial| trial.values.keys().map(String::as_str)).collect();
    let mut table = score_table::table(&[&keys[..], &["dev", "status", "run"]].concat());
    for (trial, run, dev) in rows {
        let mut row: Vec<String> = trial.values.values().map(ToString::to_string).collect();
        row.push(score_table::percent(dev));
        row.push(status(run).to_owned());
        row.push(run.map(Run::id).unwrap_or_default());
        table.add_row(row);
    }
    writeln!(out, "{table}")?;
    Ok(out.flush()?)
}
