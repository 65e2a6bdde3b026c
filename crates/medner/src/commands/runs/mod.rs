//! `medner runs`: lists, compares and manages runs.

mod report;
mod sides;
mod sync;
mod values;

use self::sides::{Tested, sides, split_of, test_sides};
use self::values::{count, shown};
use crate::OutputFormat;
use crate::terminal::{score_table, stdout};
use anyhow::{Result, bail, ensure};
use clap::{Subcommand, ValueEnum};
use ner_data::shown_lines;
use ner_experiment::record::runs_folder;
use ner_files::{NewFile, write_bytes};
use ner_runs::{
    Condition, Query, Run, Sort, Status, Store, differences, export_parquet, flatten, frame_of_all, rows, write_csv,
};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::io::{self, BufRead, IsTerminal, Write};
use std::path::PathBuf;

/// List, compare, report on, tag, remove and export runs.
///
/// Name a run by its id, a prefix of it, DATASET/ID, its folder, a tag, or latest. The name of a group of seeds or of a
/// sweep stands for all of its runs.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  medner runs list bc5cdr --sort -test --columns run,seed,learning_rate,dev,test
  medner runs list --filter status=finished --filter 'dev>0.84' --format csv
  medner runs show latest
  medner runs compare latest 20260102T030405Z-seed1
  medner runs report latest --out report.html
  medner runs tag latest baseline
  medner runs rm baseline
  medner runs export --out runs.parquet
  medner runs sync --all               send what trackers still lack to MLflow and TensorBoard")]
pub struct Args {
    /// Folder of runs [default: experiments/runs of the checkout]
    #[arg(long, value_name = "DIR", global = true)]
    runs: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    List(ListArgs),
    Show(ShowArgs),
    Compare(CompareArgs),
    Report(report::Args),
    /// Add tags
    Tag(TagArgs),
    /// Remove tags
    Untag(TagArgs),
    Rm(RmArgs),
    Export(ExportArgs),
    Sync(sync::Args),
}

/// List runs, oldest first
#[derive(clap::Args)]
struct ListArgs {
    /// Only runs of this corpus
    dataset: Option<String>,
    /// Only runs that match KEY=VALUE (or != < <= > >=) or KEY~TEXT (contains); repeatable, all must match
    #[arg(long, value_name = "CONDITION")]
    filter: Vec<Condition>,
    /// Key to sort by; -KEY sorts in descending order
    #[arg(long, value_name = "KEY", allow_hyphen_values = true)]
    sort: Option<Sort>,
    /// Columns: run, dataset, kind, status, tags, group, seed, encoder, epochs, train_on (if more than the train
    /// split), dev, test, started, finished, revision, fault, any recipe key, any key that `runs show` lists
    #[arg(
        long,
        value_name = "KEY,KEY,…",
        value_delimiter = ',',
        default_value = "run,dataset,kind,status,seed,encoder,train_on,dev,test,tags"
    )]
    columns: Vec<String>,
    /// Only the last N rows
    #[arg(long, value_name = "N")]
    last: Option<usize>,
    /// Output format
    #[arg(long, value_enum, default_value_t)]
    format: TableFormat,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum TableFormat {
    /// A table, with scores in percent
    #[default]
    Table,
    /// A list of objects, with scores from 0 to 1
    Json,
    /// CSV with a header row
    Csv,
}

/// Show everything recorded about a run
#[derive(clap::Args)]
struct ShowArgs {
    /// The run
    run: String,
    /// Output format
    #[arg(long, value_enum, default_value_t)]
    format: OutputFormat,
}

/// Compare runs: configuration differences, scores side by side, and significance tests.
///
/// Each run, or group with the same number of runs, is tested against the first one: approximate randomisation over
/// documents (Noreen 1989; Yeh 2000), with a bootstrap interval of the difference (Berg-Kirkpatrick et al. 2012).
#[derive(clap::Args)]
struct CompareArgs {
    /// Runs or groups of runs; the others are compared with the first
    #[arg(required = true, value_name = "RUN")]
    wanted: Vec<String>,
    /// Output format
    #[arg(long, value_enum, default_value_t)]
    format: OutputFormat,
}

#[derive(clap::Args)]
struct TagArgs {
    /// The run, or group of runs
    run: String,
    /// The tags
    #[arg(required = true, value_name = "TAG")]
    tags: Vec<String>,
}

/// Remove runs and their models
#[derive(clap::Args)]
struct RmArgs {
    /// The runs
    #[arg(required = true, value_name = "RUN")]
    wanted: Vec<String>,
    /// Do not ask for confirmation
    #[arg(long, short)]
    yes: bool,
}

/// Write everything recorded about all runs as one table, one row per run
#[derive(clap::Args)]
struct ExportArgs {
    /// Only runs of this corpus
    dataset: Option<String>,
    /// Output file, ending in .json, .csv or .parquet
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

/// Runs the command.
///
/// # Errors
/// If a run is missing, or something cannot be read or written.
pub fn run(args: Args) -> Result<()> {
    let store = Store::new(runs_folder(args.runs.as_deref())?);
    match args.command {
        Command::List(args) => list(&store, args),
        Command::Show(args) => show(&store, &args),
        Command::Compare(args) => compare(&store, &args),
        Command::Report(args) => report::run(&store, &args),
        Command::Tag(TagArgs { run, tags }) => tag(&store, &run, &tags, &[]),
        Command::Untag(TagArgs { run, tags }) => tag(&store, &run, &[], &tags),
        Command::Rm(args) => remove(&store, &args),
        Command::Export(args) => export(&store, &args),
        Command::Sync(args) => sync::run(&store, &args),
    }
}

fn list(store: &Store, args: ListArgs) -> Result<()> {
    let query = Query { conditions: args.filter, sort: args.sort, columns: args.columns, last: args.last };
    let frame = query.frame(&store.list_for(args.dataset.as_deref(), &query)?)?;
    let mut out = stdout::stdout();
    match args.format {
        TableFormat::Csv => write_csv(&frame, &mut out)?,
        TableFormat::Json => {
            let object = |row: Vec<Value>| query.columns.iter().cloned().zip(row).collect::<Value>();
            let rows: Vec<Value> = rows(&frame).into_iter().map(object).collect();
            return stdout::print_json(&rows);
        }
        TableFormat::Table if frame.height() == 0 => {
            let of = args.dataset.map(|dataset| format!(" of {dataset}")).unwrap_or_default();
            tracing::info!("no matching run{of} in {}", store.path().display());
        }
        TableFormat::Table => {
            let names: Vec<&str> = query.columns.iter().map(String::as_str).collect();
            let mut table = score_table::table(&names);
            for row in rows(&frame) {
                table.add_row(names.iter().zip(&row).map(|(name, value)| shown(name, value)));
            }
            writeln!(out, "{table}")?;
        }
    }
    Ok(out.flush()?)
}

fn show(store: &Store, args: &ShowArgs) -> Result<()> {
    let run = store.find_one(&args.run)?;
    if args.format == OutputFormat::Json {
        return stdout::print_json(&as_json(&run));
    }
    let mut out = stdout::stdout();
    writeln!(out, "{}\n", run.folder.path().display())?;
    let mut table = score_table::table(&["key", "value"]);
    for key in ["run", "dataset", "kind", "status", "tags", "fault"] {
        if let Some(value) = run.value(key) {
            table.add_row([key.to_owned(), shown(key, &value)]);
        }
    }
    let scores = flatten(&run.scores).into_iter().map(|(key, value)| (format!("scores.{key}"), value));
    for (key, value) in flatten(&run.record).into_iter().chain(scores) {
        if key != "run" && key != "kind" {
            table.add_row([shown("", &Value::from(key.as_str())), shown(&key, &value)]);
        }
    }
    writeln!(out, "{table}")?;
    Ok(out.flush()?)
}

fn as_json(run: &Run) -> Value {
    json!({
        "run": run.id(), "dataset": run.dataset, "status": run.status, "tags": run.tags, "fault": run.fault,
        "folder": run.folder.path(), "record": run.record, "scores": run.scores,
    })
}

/// The runs that the names stand for, without duplicates.
fn find_all(store: &Store, names: &[String]) -> Result<Vec<Run>> {
    let mut seen = BTreeSet::new();
    let mut found = Vec::new();
    for name in names {
        let runs = store.find(name)?;
        found.extend(runs.into_iter().filter(|run| seen.insert(run.folder.path().to_owned())));
    }
    Ok(found)
}

fn compare(store: &Store, args: &CompareArgs) -> Result<()> {
    let sides = sides(store, &args.wanted)?;
    let runs: Vec<Run> = sides.iter().flat_map(|side| side.runs.clone()).collect();
    ensure!(runs.len() > 1, "name at least two runs to compare");
    if let Some(unreadable) = runs.iter().find(|run| run.status == Status::Unreadable) {
        bail!("cannot read run {}: {}", unreadable.id(), unreadable.fault.as_deref().unwrap_or("run.json is missing"));
    }
    let differences = differences(&runs);
    let scores = scores(&runs);
    let tested = test_sides(&sides, split_of(&sides));
    if args.format == OutputFormat::Json {
        let ids: Vec<String> = runs.iter().map(Run::id).collect();
        let table = |pairs: &[(String, Vec<Option<Value>>)]| -> Value {
            pairs.iter().map(|(key, values)| (key.clone(), json!(values))).collect()
        };
        let differences: Vec<_> = differences.into_iter().map(|found| (found.key, found.values)).collect();
        return stdout::print_json(&json!({
            "runs": ids, "configuration": table(&differences), "scores": table(&scores), "tests": tested,
        }));
    }
    let mut out = stdout::stdout();
    let ids: Vec<String> = runs.iter().map(Run::id).collect();
    let header: Vec<&str> = [""].into_iter().chain(ids.iter().map(String::as_str)).collect();
    let cells = |key: &str, values: &[Option<Value>]| -> Vec<String> {
        let cell = |value: &Option<Value>| shown(key, value.as_ref().unwrap_or(&Value::Null));
        values.iter().map(cell).collect()
    };
    if differences.is_empty() {
        writeln!(out, "The configurations are equal.\n")?;
    } else {
        let mut table = score_table::table(&header);
        for difference in &differences {
            table.add_row([vec![difference.key.clone()], cells(&difference.key, &difference.values)].concat());
        }
        writeln!(out, "Configurations differ in\n\n{table}\n")?;
    }
    let mut table = score_table::table(&header);
    for (key, values) in &scores {
        let key = format!("scores.{key}");
        score_table::add_row(&mut table, [vec![key["scores.".len()..].to_owned()], cells(&key, values)].concat());
    }
    writeln!(out, "Strict scores, in percent\n\n{table}\n")?;
    for Tested { words, .. } in &tested {
        writeln!(out, "{}", shown_lines(words))?;
    }
    Ok(out.flush()?)
}

/// Precision, recall and F1 over all types, and F1 of each type, by split.
fn scores(runs: &[Run]) -> Vec<(String, Vec<Option<Value>>)> {
    let mut keys: Vec<String> = Vec::new();
    for split in ["dev", "test"] {
        keys.extend(["precision", "recall", "f1"].map(|part| format!("{split}.overall.{part}")));
        keys.push(format!("{split}.macro.f1"));
        let types: BTreeSet<&String> = runs
            .iter()
            .filter_map(|run| run.scores.get(split)?.get("per_type")?.as_object())
            .flat_map(|types| types.keys())
            .collect();
        keys.extend(types.into_iter().map(|name| format!("{split}.per_type.{name}.f1")));
    }
    let rows = keys.into_iter().map(|key| {
        let values: Vec<Option<Value>> = runs.iter().map(|run| run.value(&format!("scores.{key}"))).collect();
        (key, values)
    });
    rows.filter(|(_, values)| values.iter().any(Option::is_some)).collect()
}

fn tag(store: &Store, name: &str, add: &[String], remove: &[String]) -> Result<()> {
    let mut out = stdout::stdout();
    for run in store.find(name)? {
        let tags = store.tag(&run, add, remove)?;
        writeln!(out, "{}: {}", run.id(), shown_lines(&tags.join(", ")))?;
    }
    Ok(out.flush()?)
}

fn remove(store: &Store, args: &RmArgs) -> Result<()> {
    let runs = find_all(store, &args.wanted)?;
    if !args.yes {
        ensure!(io::stdin().is_terminal(), "cannot ask for confirmation without a terminal; add --yes");
        let mut err = io::stderr().lock();
        for run in &runs {
            writeln!(err, "{}/{} ({}, tags: {})", run.dataset, run.id(), run.status, run.tags.join(", "))?;
        }
        write!(err, "Remove {} with everything in their folders? [y/N] ", count(runs.len()))?;
        err.flush()?;
        let mut answer = String::new();
        io::stdin().lock().read_line(&mut answer)?;
        if !matches!(answer.trim(), "y" | "Y" | "yes") {
            bail!("cancelled: nothing was removed");
        }
    }
    for run in &runs {
        store.remove(run)?;
        tracing::info!("removed {}/{}", run.dataset, run.id());
    }
    Ok(())
}

fn export(store: &Store, args: &ExportArgs) -> Result<()> {
    let runs = store.list(args.dataset.as_deref())?;
    let extension = args.out.extension().and_then(|extension| extension.to_str());
    match extension {
        Some("json") => {
            let runs: Vec<Value> = runs.iter().map(as_json).collect();
            write_bytes(&args.out, &serde_json::to_vec_pretty(&runs)?)?;
        }
        Some("csv") => {
            let mut file = NewFile::create(&args.out)?;
            write_csv(&frame_of_all(&runs)?, &mut file)?;
            file.finish()?;
        }
        Some("parquet") => export_parquet(&mut frame_of_all(&runs)?, &args.out)?,
        _ => bail!("{}: the file name must end in .json, .csv or .parquet", args.out.display()),
    }
    tracing::info!("wrote {} to {}", count(runs.len()), args.out.display());
    Ok(())
}
