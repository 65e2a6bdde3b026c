//! `medner sweep`: the same training with many recipes, compared on dev.

use crate::corpus::{self, Faults, Place};
use crate::experiment::{self, RecipeFile};
use crate::run_record::{GroupRecord, Plan, TrainOn, runs_folder};
use crate::train::{DEFAULT_ENCODER, Job, check, recipe_for, train};
use crate::{OutputFormat, score_table, stdout, tracking};
use anyhow::{Context, Result, bail, ensure};
use ner_runs::{Run, Status, Store};
use ner_train::TrainError;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::{Path, PathBuf};
use tracing::{info, warn};

/// Train with many recipes, and compare them on dev.
///
/// Each trial is a run of the group `sweep-NAME`, after the file's name. The test split is not scored, whatever comes of
/// it. A sweep that was stopped or killed goes on when it is started again: a trial is known by its corpus, encoder and
/// recipe as resolved, so that a file may also be changed in between.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  medner sweep experiments/sweeps/learning-rate.toml
  medner sweep experiments/sweeps/learning-rate.toml --dry-run   what would be trained

A file holds dataset, encoder, labels, base (a recipe, beside the file), method (grid or random), trials and seed
(of random), a table [recipe] of fixed values, and [ranges]: KEY = [VALUE, …], or for random also
KEY = { from = A, below = B }, with scale = \"log\" to draw by order of magnitude.")]
pub struct Args {
    /// The sweep
    #[arg(value_name = "FILE.toml")]
    file: PathBuf,
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    faults: Faults,
    /// auto, cpu or cuda:N
    #[arg(long, default_value = "auto")]
    device: String,
    /// Only list the trials
    #[arg(long)]
    dry_run: bool,
    /// Where runs are kept (default: experiments/runs of the checkout)
    #[arg(long, value_name = "DIR")]
    runs: Option<PathBuf>,
    /// Form of the table of trials on stdout
    #[arg(long, default_value = "table")]
    format: OutputFormat,
}

/// The file of a sweep.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct SweepFile {
    /// Corpus; that of the base recipe where none is named.
    dataset: Option<String>,
    encoder: Option<String>,
    labels: Option<String>,
    /// A recipe to begin from, relative to this file.
    base: Option<PathBuf>,
    method: Method,
    /// How many to draw; of `random`.
    trials: Option<usize>,
    /// Seed of what is drawn; of `random`. That of a training is a key of the recipe.
    seed: Option<u64>,
    /// Values that are the same in all trials.
    #[serde(default)]
    recipe: toml::Table,
    /// Values that are not, by the keys of a recipe.
    ranges: toml::Table,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Method {
    /// Every combination.
    Grid,
    /// Some, drawn by chance and always the same ones.
    Random,
}

/// What a key of a recipe may be.
#[derive(Clone, Debug)]
enum Range {
    Choices(Vec<toml::Value>),
    Interval(Interval),
}

/// Numbers to draw from; whole ones where both ends are.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Interval {
    /// The least.
    from: toml::Value,
    /// All are below it.
    below: toml::Value,
    #[serde(default)]
    scale: Scale,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Scale {
    #[default]
    Linear,
    Log,
}

/// One combination of values.
type Combination = BTreeMap<String, toml::Value>;

impl Range {
    fn parse(key: &str, value: toml::Value, method: Method) -> Result<Self> {
        match value {
            toml::Value::Array(choices) => {
                ensure!(!choices.is_empty(), "{key} of [ranges] has no values");
                Ok(Self::Choices(choices))
            }
            toml::Value::Table(_) if method == Method::Grid => {
                bail!("{key} of [ranges] is an interval, and a grid needs values: {key} = [VALUE, …]")
            }
            value @ toml::Value::Table(_) => {
                let interval: Interval = experiment::parse(value, &format!("{key} of [ranges]"))?;
                let [from, below] = [&interval.from, &interval.below].map(number);
                let (from, below) = from.zip(below).with_context(|| format!("{key} of [ranges]: ends are numbers"))?;
                ensure!(from < below, "{key} of [ranges]: {from} is not below {below}");
                ensure!(
                    interval.scale == Scale::Linear || from > 0.0,
                    "{key} of [ranges]: a scale of log needs from > 0"
                );
                Ok(Self::Interval(interval))
            }
            _ => bail!("{key} of [ranges] is neither a list of values nor {{ from = A, below = B }}"),
        }
    }

    fn draw(&self, random: &mut ChaCha8Rng) -> toml::Value {
        let Interval { from, below, scale } = match self {
            Self::Choices(choices) => return choices[random.random_range(0..choices.len())].clone(),
            Self::Interval(interval) => interval,
        };
        let (Some(low), Some(high)) = (number(from), number(below)) else { return from.clone() };
        let drawn = match scale {
            Scale::Linear => random.random_range(low..high),
            Scale::Log => random.random_range(low.ln()..high.ln()).exp().clamp(low, high),
        };
        match (from, below) {
            (toml::Value::Integer(_), toml::Value::Integer(_)) => toml::Value::Integer(drawn.floor() as i64),
            // Four digits: nobody tells 0.00031415926 from 0.0003142, and a table of trials can be read.
            _ => toml::Value::Float(format!("{drawn:.3e}").parse().unwrap_or(drawn)),
        }
    }
}

fn number(value: &toml::Value) -> Option<f64> {
    value.as_float().or_else(|| value.as_integer().map(|whole| whole as f64))
}

/// The combinations of a sweep, in order, each of them once.
fn combinations(file: &SweepFile) -> Result<Vec<Combination>> {
    let mut ranges = Vec::new();
    for (key, value) in &file.ranges {
        ranges.push((key, Range::parse(key, value.clone(), file.method)?));
    }
    ensure!(!ranges.is_empty(), "[ranges] names no key");
    match file.method {
        Method::Grid => {
            ensure!(file.trials.is_none() && file.seed.is_none(), "trials and seed are of method = \"random\"");
            let mut all = vec![Combination::new()];
            for (key, range) in ranges {
                let Range::Choices(choices) = range else { continue };
                let with = |combination: Combination| {
                    let choices = choices.clone().into_iter();
                    choices.map(move |choice| {
                        let mut combination = combination.clone();
                        combination.insert(key.clone(), choice);
                        combination
                    })
                };
                all = all.into_iter().flat_map(with).collect();
            }
            Ok(all)
        }
        Method::Random => {
            let trials = file.trials.context("how many? `trials` says it")?;
            let mut random = ChaCha8Rng::seed_from_u64(file.seed.unwrap_or(1));
            let mut seen = BTreeSet::new();
            let mut all = Vec::new();
            // What is drawn again is not trained again; where there are fewer than `trials`, this ends, too.
            for _ in 0..trials * 100 {
                let drawn: Combination =
                    ranges.iter().map(|(key, range)| ((*key).clone(), range.draw(&mut random))).collect();
                if all.len() < trials && seen.insert(toml::to_string(&drawn)?) {
                    all.push(drawn);
                }
            }
            if all.len() < trials {
                warn!("{} trials: there are no more combinations", all.len());
            }
            Ok(all)
        }
    }
}

/// One training of a sweep.
struct Trial {
    values: Combination,
    plan: Plan,
    /// Checksum of what decides about its result.
    key: String,
}

impl Trial {
    fn new(values: Combination, plan: Plan) -> Result<Self> {
        // Not the folder of the corpus or the device: another machine may go on.
        let what = (&plan.dataset, &plan.labels, plan.sample, plan.lenient, &plan.encoder, &plan.recipe);
        let sha256 = Sha256::digest(serde_json::to_vec(&what)?);
        let key = sha256.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        Ok(Self { values, plan, key })
    }
}

/// Runs the command.
///
/// # Errors
/// Where the file makes no sense, another process runs the sweep, or a training fails for another reason than its recipe.
pub fn run(args: Args) -> Result<()> {
    let store = Store::new(runs_folder(args.runs.as_deref())?);
    let trials = trials(&args)?;
    let first = trials.first().context("there is no trial")?;
    let dataset = corpus::name_of(&first.plan.dataset)?;
    let stem = args.file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let group = format!("sweep-{stem}");
    if !args.dry_run {
        let lock = store.lock_group(&dataset, &group)?;
        train_all(&store, &dataset, &group, &trials)?;
        drop(lock);
    }
    let members = members(&store, &dataset, &group)?;
    print(&dataset, &group, &trials, &members, args.format)
}

fn trials(args: &Args) -> Result<Vec<Trial>> {
    let place = args.file.display();
    let text = fs_err::read_to_string(&args.file)?;
    let table: toml::Table = toml::from_str(&text).with_context(|| format!("{place} is no TOML"))?;
    let file: SweepFile = experiment::parse(table.into(), &place.to_string())?;
    let base = match &file.base {
        Some(base) => RecipeFile::read(&args.file.parent().unwrap_or(Path::new("")).join(base))?,
        None => RecipeFile::default(),
    };
    experiment::check_keys(&file.recipe, &format!("[recipe] of {place}"))?;
    let dataset = file.dataset.as_ref().or(base.experiment.dataset.as_ref());
    let dataset = dataset.with_context(|| format!("{place} names no dataset"))?;
    let encoder = file.encoder.as_ref().or(base.experiment.encoder.as_ref());
    let labels = args.place.labels.as_ref().or(file.labels.as_ref()).or(base.experiment.labels.as_ref());
    let description = corpus::describe(dataset)?.description;
    let combinations = combinations(&file).with_context(|| place.to_string())?;
    combinations
        .into_iter()
        .map(|values| {
            let drawn: toml::Table = values.clone().into_iter().collect();
            let place = || format!("[ranges] of {place}: {}", words(&values));
            experiment::check_keys(&drawn, &format!("[ranges] of {}", args.file.display()))?;
            let recipe = recipe_for(&description, &[&base.recipe, &file.recipe, &drawn]).with_context(place)?;
            check(&recipe).with_context(place)?;
            let plan = Plan {
                dataset: dataset.clone(),
                data_dir: args.place.data_dir.clone(),
                sample: args.place.sample,
                labels: labels.cloned(),
                lenient: args.faults.lenient,
                encoder: encoder.map_or(DEFAULT_ENCODER, String::as_str).to_owned(),
                keep_head: false,
                device: args.device.clone(),
                keep_text: false,
                dev_only: true,
                train_on: TrainOn::Train,
                thresholds_from: None,
                recipe,
            };
            Trial::new(values, plan)
        })
        .collect()
}

fn words(values: &Combination) -> String {
    values.iter().map(|(key, value)| format!("{key} = {value}")).collect::<Vec<_>>().join(", ")
}

/// The runs of a sweep by their trials; of several of one trial the newest.
fn members(store: &Store, dataset: &str, group: &str) -> Result<BTreeMap<String, Run>> {
    let mut members = store.list(Some(dataset))?;
    members.retain(|run| run.group() == Some(group));
    let key = |run: Run| Some((run.value("group.trial")?.as_str()?.to_owned(), run));
    Ok(members.into_iter().filter_map(key).collect())
}

fn train_all(store: &Store, dataset: &str, group: &str, trials: &[Trial]) -> Result<()> {
    let stop = crate::interrupt::stop_flag("stopping after this step")?;
    let tracking = tracking::Options::default().for_training()?;
    let members = members(store, dataset, group)?;
    for (at, trial) in trials.iter().enumerate() {
        info!("trial {} of {}: {}", at + 1, trials.len(), words(&trial.values));
        let job = match members.get(&trial.key) {
            Some(run) if matches!(run.status, Status::Finished | Status::Failed) => {
                info!("run {} has {}", run.id(), run.status);
                continue;
            }
            Some(run) => Job::Resume(run.folder.clone()),
            None => Job::New {
                plan: Box::new(trial.plan.clone()),
                group: Some(GroupRecord { id: group.into(), seeds: Vec::new(), trial: Some(trial.key.clone()) }),
            },
        };
        match train(job, store, &tracking, &stop) {
            Ok(_) => {}
            // A rate that is too high is a finding. Anything else would happen to the next trial, too.
            Err(error) if error.downcast_ref().is_some_and(|error| matches!(error, TrainError::NotFinite { .. })) => {
                warn!("the trial failed: {error:#}");
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
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

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Result<Vec<Combination>> {
        let table: toml::Table = toml::from_str(text).unwrap();
        combinations(&experiment::parse(table.into(), "x.toml")?)
    }

    #[test]
    fn the_sweeps_of_the_repository_are_sweeps() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../experiments/sweeps");
        for entry in fs_err::read_dir(folder).unwrap() {
            let all = of(&fs_err::read_to_string(entry.unwrap().path()).unwrap()).unwrap();
            for values in all {
                experiment::check_keys(&values.into_iter().collect(), "x.toml").unwrap();
            }
        }
    }

    #[test]
    fn a_grid_is_every_combination() {
        let all = of("method = \"grid\"\n[ranges]\nepochs = [1, 2, 3]\ndropout = [0.1, 0.2]\n").unwrap();
        assert_eq!(
            all.iter().map(words).collect::<Vec<_>>()[..2],
            ["dropout = 0.1, epochs = 1", "dropout = 0.1, epochs = 2"]
        );
        assert_eq!(all.len(), 6);
    }

    #[test]
    fn what_is_drawn_lies_in_its_range_and_is_drawn_again_alike() {
        let text = "method = \"random\"\ntrials = 40\nseed = 7\n[ranges]\nepochs = { from = 2, below = 5 }\n\
                    learning_rate = { from = 1e-5, below = 1e-2, scale = \"log\" }\nprecision = [\"fp32\", \"bf16\"]\n";
        let all = of(text).unwrap();
        assert_eq!((all.len(), &all), (40, &of(text).unwrap()));
        assert!(all.iter().all(|drawn| matches!(drawn["epochs"].as_integer(), Some(2..5))));
        let rates: Vec<f64> = all.iter().filter_map(|drawn| drawn["learning_rate"].as_float()).collect();
        assert!(rates.len() == 40 && rates.iter().all(|rate| (1e-5..1e-2).contains(rate)));
        // A third of what is drawn by order of magnitude lies below 1e-4; of what is not, a hundredth would.
        assert!(rates.iter().filter(|&&rate| rate < 1e-4).count() > 5);
        let few = of("method = \"random\"\ntrials = 9\n[ranges]\nepochs = [1, 2]\n").unwrap();
        assert_eq!(few.len(), 2);
    }

    #[test]
    fn what_makes_no_sense_is_named() {
        let check = |text: &str, expected: &str| {
            let message = format!("{:#}", of(text).unwrap_err());
            assert!(message.contains(expected), "{message}");
        };
        check("methd = \"grid\"\n[ranges]\n", "did you mean `method`?");
        check("method = \"grid\"\n[ranges]\n", "names no key");
        check("method = \"grid\"\n[ranges]\nepochs = { from = 1, below = 3 }\n", "a grid needs values");
        check("method = \"grid\"\ntrials = 3\n[ranges]\nepochs = [1]\n", "method = \"random\"");
        check("method = \"random\"\n[ranges]\nepochs = [1]\n", "`trials`");
        check("method = \"random\"\ntrials = 1\n[ranges]\nepochs = { from = 3, below = 3 }\n", "3 is not below 3");
        check("method = \"random\"\ntrials = 1\n[ranges]\nepochs = { from = 3, belo = 3 }\n", "did you mean `below`?");
        check(
            "method = \"random\"\ntrials = 1\n[ranges]\nr_drop = { from = 0, below = 3, scale = \"log\" }\n",
            "from > 0",
        );
    }
}
