//! Trains with many recipes and compares them on dev.

use crate::corpus::{self, CorpusSource};
use crate::models::DEFAULT_ENCODER;
use crate::plan::Plan;
use crate::recipe_file::{self, RecipeFile, check_recipe, recipe_for};
use crate::record::GroupRecord;
use crate::shards::Shard;
use crate::tracking::Tracking;
use crate::train::{Job, train};
use anyhow::{Context, Result, bail, ensure};
use ner_runs::{Run, Status, Store};
use ner_train::TrainError;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::Deserialize;
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use tracing::{info, warn};

/// A sweep file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct SweepFile {
    /// Corpus; by default that of the base recipe.
    dataset: Option<String>,
    encoder: Option<String>,
    labels: Option<String>,
    /// Base recipe, relative to this file.
    base: Option<PathBuf>,
    method: Method,
    /// Number of trials to draw, for `random`.
    trials: Option<usize>,
    /// Seed of the draws, for `random`. The training seed is a recipe key.
    seed: Option<u64>,
    /// Values shared by all trials.
    #[serde(default)]
    recipe: toml::Table,
    /// Values that vary, by recipe key.
    ranges: toml::Table,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Method {
    /// Every combination.
    Grid,
    /// Random combinations, reproducible by seed.
    Random,
}

/// Possible values of a recipe key.
#[derive(Clone, Debug)]
enum Range {
    Choices(Vec<toml::Value>),
    Interval(Interval),
}

/// An interval to draw from; integers if both ends are integers.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Interval {
    /// Inclusive lower end.
    from: toml::Value,
    /// Exclusive upper end.
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
pub type Combination = BTreeMap<String, toml::Value>;

impl Range {
    fn parse(key: &str, value: toml::Value, method: Method) -> Result<Self> {
        match value {
            toml::Value::Array(choices) => {
                ensure!(!choices.is_empty(), "{key} of [ranges] has no values");
                Ok(Self::Choices(choices))
            }
            toml::Value::Table(_) if method == Method::Grid => {
                bail!("{key} of [ranges] is an interval, but a grid needs values: {key} = [VALUE, …]")
            }
            value @ toml::Value::Table(_) => {
                let interval: Interval = recipe_file::parse(value, &format!("{key} of [ranges]"))?;
                let [from, below] = [&interval.from, &interval.below].map(number);
                let (from, below) =
                    from.zip(below).with_context(|| format!("{key} of [ranges]: both ends must be numbers"))?;
                ensure!(from < below, "{key} of [ranges]: from = {from} is not below {below}");
                ensure!(
                    interval.scale == Scale::Linear || from > 0.0,
                    "{key} of [ranges]: scale = \"log\" needs from > 0"
                );
                Ok(Self::Interval(interval))
            }
            _ => bail!("{key} of [ranges] must be a list of values or {{ from = A, below = B }}"),
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
            // Four digits: more would not help anyone, and keep the table of trials readable.
            _ => toml::Value::Float(format!("{drawn:.3e}").parse().unwrap_or(drawn)),
        }
    }
}

fn number(value: &toml::Value) -> Option<f64> {
    value.as_float().or_else(|| value.as_integer().map(|whole| whole as f64))
}

/// The distinct combinations of a sweep, in order.
fn combinations(file: &SweepFile) -> Result<Vec<Combination>> {
    let mut ranges = Vec::new();
    for (key, value) in &file.ranges {
        ranges.push((key, Range::parse(key, value.clone(), file.method)?));
    }
    ensure!(!ranges.is_empty(), "[ranges] has no keys");
    match file.method {
        Method::Grid => {
            ensure!(file.trials.is_none() && file.seed.is_none(), "trials and seed need method = \"random\"");
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
            let trials = file.trials.context("`trials` is missing: the number of combinations to draw")?;
            let mut random = ChaCha8Rng::seed_from_u64(file.seed.unwrap_or(1));
            let mut seen = BTreeSet::new();
            let mut all = Vec::new();
            // Duplicates are skipped. The loop also ends if there are fewer than `trials` combinations.
            for _ in 0..trials * 100 {
                let drawn: Combination =
                    ranges.iter().map(|(key, range)| ((*key).clone(), range.draw(&mut random))).collect();
                if all.len() < trials && seen.insert(toml::to_string(&drawn)?) {
                    all.push(drawn);
                }
            }
            if all.len() < trials {
                warn!("only {} trials: there are no more combinations", all.len());
            }
            Ok(all)
        }
    }
}

/// One training of a sweep.
pub struct Trial {
    /// Values that differ between trials.
    pub values: Combination,
    /// The resolved training.
    pub plan: Plan,
    /// Checksum of everything that determines its result.
    pub key: String,
}

impl Trial {
    fn new(values: Combination, plan: Plan) -> Result<Self> {
        // Without corpus folder and device: another machine may continue the sweep.
        let what = (&plan.dataset, &plan.labels, plan.sample, plan.lenient, &plan.encoder, &plan.recipe);
        let sha256 = Sha256::digest(serde_json::to_vec(&what)?);
        let key = sha256.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        Ok(Self { values, plan, key })
    }
}

/// The trials of the sweep in `file`, in order.
///
/// # Errors
/// If the file cannot be read or contradicts itself.
pub fn trials(path: &Path, source: &CorpusSource, lenient: bool, device: &str) -> Result<Vec<Trial>> {
    let place = path.display();
    let text = fs_err::read_to_string(path)?;
    let table: toml::Table = toml::from_str(&text).with_context(|| format!("{place} is not valid TOML"))?;
    let file: SweepFile = recipe_file::parse(table.into(), &place.to_string())?;
    let base = match &file.base {
        Some(base) => RecipeFile::read(&path.parent().unwrap_or(Path::new("")).join(base))?,
        None => RecipeFile::default(),
    };
    recipe_file::check_keys(&file.recipe, &format!("[recipe] of {place}"))?;
    let dataset = file.dataset.as_ref().or(base.experiment.dataset.as_ref());
    let dataset = dataset.with_context(|| format!("{place} has no dataset"))?;
    let encoder = file.encoder.as_ref().or(base.experiment.encoder.as_ref());
    let labels = source.labels.as_ref().or(file.labels.as_ref()).or(base.experiment.labels.as_ref());
    let description = corpus::describe(dataset)?.description;
    let combinations = combinations(&file).with_context(|| place.to_string())?;
    combinations
        .into_iter()
        .map(|values| {
            let drawn: toml::Table = values.clone().into_iter().collect();
            let place = || format!("[ranges] of {place}: {}", words(&values));
            recipe_file::check_keys(&drawn, &format!("[ranges] of {}", path.display()))?;
            let recipe =
                recipe_for(&description, source.sample, &[&base.recipe, &file.recipe, &drawn]).with_context(place)?;
            check_recipe(&recipe).with_context(place)?;
            let encoder = encoder.map_or(DEFAULT_ENCODER, String::as_str);
            let plan = Plan {
                data_dir: source.data_dir.clone(),
                sample: source.sample,
                labels: labels.cloned(),
                lenient,
                device: device.to_owned(),
                dev_only: true,
                ..Plan::new(dataset, encoder, recipe)
            };
            Trial::new(values, plan)
        })
        .collect()
}

/// A combination as text: `key = value, …`.
pub fn words(values: &Combination) -> String {
    values.iter().map(|(key, value)| format!("{key} = {value}")).collect::<Vec<_>>().join(", ")
}

/// The runs of a sweep by trial; the newest one if a trial has several.
///
/// # Errors
/// If the store cannot be read.
pub fn members(store: &Store, dataset: &str, group: &str) -> Result<BTreeMap<String, Run>> {
    let mut members = store.list(Some(dataset))?;
    members.retain(|run| run.group() == Some(group));
    let key = |run: Run| Some((run.value("group.trial")?.as_str()?.to_owned(), run));
    Ok(members.into_iter().filter_map(key).collect())
}

/// Trains every trial, or those of a shard, that has no finished or failed run yet.
///
/// # Errors
/// If a training fails for a reason other than its recipe, or is stopped.
pub fn train_trials(
    store: &Store,
    dataset: &str,
    group: &str,
    (trials, shard): (&[Trial], Option<Shard>),
    tracking: &Tracking,
    stop: &AtomicBool,
) -> Result<()> {
    let members = members(store, dataset, group)?;
    let is_own = |at: usize| shard.is_none_or(|shard| at % shard.of == shard.number);
    for (at, trial) in trials.iter().enumerate().filter(|(at, _)| is_own(*at)) {
        info!("trial {} of {}: {}", at + 1, trials.len(), words(&trial.values));
        let job = match members.get(&trial.key) {
            Some(run) if matches!(run.status, Status::Finished | Status::Failed) => {
                info!("run {} is already {}", run.id(), run.status);
                continue;
            }
            Some(run) => Job::Resume(run.folder.clone()),
            None => Job::New {
                plan: Box::new(trial.plan.clone()),
                group: Some(GroupRecord { id: group.into(), seeds: Vec::new(), trial: Some(trial.key.clone()) }),
            },
        };
        match train(job, store, tracking, stop) {
            Ok(_) => {}
            // A learning rate that is too high is a result. Other errors would recur in the next trial.
            Err(error) if error.downcast_ref().is_some_and(|error| matches!(error, TrainError::NotFinite { .. })) => {
                warn!("the trial failed: {error:#}");
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Result<Vec<Combination>> {
        let table: toml::Table = toml::from_str(text).unwrap();
        combinations(&recipe_file::parse(table.into(), "x.toml")?)
    }

    #[test]
    fn the_sweeps_of_the_repository_are_sweeps() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../experiments/sweeps");
        for entry in fs_err::read_dir(folder).unwrap() {
            let all = of(&fs_err::read_to_string(entry.unwrap().path()).unwrap()).unwrap();
            for values in all {
                recipe_file::check_keys(&values.into_iter().collect(), "x.toml").unwrap();
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
        check("method = \"grid\"\n[ranges]\n", "has no keys");
        check("method = \"grid\"\n[ranges]\nepochs = { from = 1, below = 3 }\n", "but a grid needs values");
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
