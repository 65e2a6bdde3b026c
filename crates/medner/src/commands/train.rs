//! `medner train`: fine-tunes an encoder on a corpus and evaluates the model.

use super::{eval, seed_table};
use crate::OutputFormat;
use crate::args::{CorpusArgs, FaultArgs, TrackingArgs, precision, train_on};
use crate::terminal::interrupt;
use anyhow::{Context, Result, anyhow, ensure};
use clap::ValueEnum;
use ner_data::Split;
use ner_experiment::assertion;
use ner_experiment::corpus;
use ner_experiment::models::{DEFAULT_ENCODER, trained_model};
use ner_experiment::plan::{AuxiliaryPlan, Plan, ThresholdsFrom, TrainOn};
use ner_experiment::recipe_file::{RecipeFile, check_recipe, recipe_for};
use ner_experiment::record::{RunRecord, runs_folder};
use ner_experiment::seeds::{resume_seeds, train_seeds};
use ner_experiment::tracking::Tracking;
use ner_experiment::train::{Job, Trained, Unfinished, find_unfinished, train};
use ner_model::Precision;
use ner_runs::{RunFolder, Store};
use ner_train::HeadName;
use std::path::PathBuf;

const EXAMPLES: &str = "\
Examples:
  medner train bc5cdr --sample                    the synthetic sample, in a few minutes
  medner train bc5cdr --data-dir ~/corpora/bc5cdr --seed 2
  medner train bc5cdr --encoder biobert --device cuda:0
  medner train anatem --init-from bc5cdr          start from the newest model of another corpus
  medner train bc5cdr --config experiments/recipes/bc5cdr-crf-r-drop.toml
  medner train bc5cdr+anatem                      two corpora with different annotated types
  medner train bc5cdr --seeds 1,2,3,4,5           five runs, with mean and standard deviation
  medner train bc5cdr --auxiliary drugprot --auxiliary biored=0.5   learn from further corpora, too
  medner train bc5cdr --teacher RUN --unlabelled text/ --student-layers 3   a small model that learns from a larger one
  medner train i2b2 --task assertion              whether a problem is present, absent, possible, …
  medner train i2b2 --task assertion --init-from i2b2   with the encoder of a run
  medner train bc5cdr --resume latest             continue an interrupted run or group of seeds";

/// Fine-tune an encoder: train on the train split, choose the best epoch on dev, score on test
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Corpus: a name (`medner doctor` lists them) or the path of a dataset.toml; join several with + to train on all
    /// of them [default: the one in --config]
    #[arg(required_unless_present = "config")]
    dataset: Option<String>,
    #[command(flatten)]
    place: CorpusArgs,
    #[command(flatten)]
    faults: FaultArgs,
    /// Encoder: a name that `doctor` lists, a hub id (owner/name), or a folder [default: minilm]
    #[arg(long, value_name = "ENCODER")]
    encoder: Option<String>,
    /// What to learn. `mentions`: to find them. `assertion`: to say of given mentions whether the patient has them, from
    /// their attribute `assertion` (.ast files in i2b2); scored beside the rules, which count as much as dev chooses
    #[arg(long, value_enum, default_value_t)]
    task: Task,
    /// Classification head: span, token, crf or multilabel
    #[arg(long)]
    head: Option<HeadName>,
    /// Start from a model instead of an encoder: a run (id, DATASET/ID or folder), a corpus (its newest run) or a model
    /// folder. Labels it knows keep their weights; others start from random weights
    #[arg(long, value_name = "RUN", conflicts_with = "encoder")]
    init_from: Option<String>,
    /// Epochs: passes over the training data
    #[arg(long, value_name = "N")]
    epochs: Option<usize>,
    /// Random seed; with the same seed and number of threads, CPU runs are identical bit for bit
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Train one run per seed; print mean and standard deviation
    #[arg(long, value_name = "N,N,…", value_delimiter = ',', conflicts_with = "seed")]
    seeds: Vec<u64>,
    /// Peak learning rate
    #[arg(long, value_name = "RATE")]
    learning_rate: Option<f64>,
    /// Compute precision: auto, fp32, bf16 or fp16 (CUDA only)
    #[arg(long, value_name = "PRECISION", value_parser = precision)]
    precision: Option<Precision>,
    /// auto, cpu or cuda:N
    #[arg(long, default_value = "auto")]
    device: String,
    /// Recipe as TOML; options on the command line override it
    #[arg(long, value_name = "FILE.toml")]
    config: Option<PathBuf>,
    /// Keep predictions with their text, in the corpus's format, even if the corpus is not public
    #[arg(long)]
    keep_text: bool,
    /// Continue an interrupted run or group of seeds: its id, its folder, or latest
    #[arg(long, value_name = "RUN", conflicts_with_all = ["data_dir", "sample", "labels", "lenient", "encoder", "init_from", "task", "head", "epochs", "seed",
        "seeds", "learning_rate", "precision", "device", "config", "keep_text", "train_on", "thresholds_from", "auxiliary",
        "teacher", "unlabelled", "student_layers"])]
    resume: Option<String>,
    /// Splits to train on. With train+dev there is no split left to choose an epoch on: the last of all epochs is kept,
    /// and there are no dev scores
    #[arg(long, value_name = "SPLITS", default_value = "train", value_parser = train_on())]
    train_on: TrainOn,
    /// Run to take the thresholds from, with --train-on train+dev [default: no thresholds]
    #[arg(long, value_name = "RUN")]
    thresholds_from: Option<String>,
    /// Further corpus to learn from, with a head of its own that is not part of the model, and a weight [default: 1];
    /// repeatable. Its documents that are in CORPUS's dev or test split are left out
    #[arg(long, value_name = "CORPUS[=WEIGHT]")]
    auxiliary: Vec<AuxiliaryPlan>,
    /// Learn from the probabilities of a model, or from the mean of several with the same head and types: runs (id,
    /// DATASET/ID or folder) or model folders
    #[arg(long, value_name = "RUN,RUN,…", value_delimiter = ',')]
    teacher: Vec<String>,
    /// File or folder of text without labels, in any format that `annotate` reads, for the teacher to label; repeatable
    #[arg(long, value_name = "PATH")]
    unlabelled: Vec<PathBuf>,
    /// Keep only this many layers of the encoder, evenly spaced
    #[arg(long, value_name = "N", conflicts_with = "init_from")]
    student_layers: Option<usize>,
    /// Folder of runs [default: experiments/runs of the checkout]
    #[arg(long, value_name = "DIR")]
    runs: Option<PathBuf>,
    #[command(flatten)]
    tracking: TrackingArgs,
    /// Output format of the test scores
    #[arg(long, default_value = "table")]
    format: OutputFormat,
}

/// What to learn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Task {
    #[default]
    Mentions,
    Assertion,
}

impl Args {
    /// The resolved request for one dataset. Precedence, from low to high: defaults, the corpus's recipe, the file, the
    /// command line.
    fn plan(&self, dataset: &str, file: &RecipeFile) -> Result<Plan> {
        let description = corpus::describe(dataset)?.description;
        let of_task = match self.task {
            Task::Mentions => toml::Table::new(),
            Task::Assertion => assertion::recipe(),
        };
        let mut recipe = recipe_for(&description, self.place.sample, &[&of_task, &file.recipe])?;
        recipe.head = self.head.unwrap_or(recipe.head);
        recipe.epochs = self.epochs.unwrap_or(recipe.epochs);
        recipe.seed = self.seed.unwrap_or(recipe.seed);
        recipe.learning_rate = self.learning_rate.unwrap_or(recipe.learning_rate);
        recipe.precision = self.precision.unwrap_or(recipe.precision);
        let is_assertion = self.task == Task::Assertion;
        ensure!(
            (recipe.head == HeadName::Assertion) == is_assertion,
            "the head `{}` does not fit --task {}: the head `assertion` is that of --task assertion",
            recipe.head,
            if is_assertion { "assertion" } else { "mentions" }
        );
        ensure!(
            !(is_assertion && (self.keep_text || self.thresholds_from.is_some())),
            "--keep-text and --thresholds-from have no effect with --task assertion; drop them"
        );
        check_recipe(&recipe)?;
        let encoder = match &self.init_from {
            Some(run) => Some(trained_model(run, self.runs.as_deref())?),
            None => self.encoder.clone().or_else(|| file.experiment.encoder.clone()),
        };
        let encoder = encoder.unwrap_or_else(|| DEFAULT_ENCODER.to_owned());
        let experiment = &file.experiment;
        let auxiliary = match self.auxiliary.as_slice() {
            [] => {
                let parse =
                    |text: &String| text.parse().map_err(|error: String| anyhow!("auxiliary = {text:?}: {error}"));
                experiment.auxiliary.iter().map(parse).collect::<Result<_>>()?
            }
            given => given.to_vec(),
        };
        let teachers = if self.teacher.is_empty() { &experiment.teacher } else { &self.teacher };
        let teachers =
            teachers.iter().map(|run| trained_model(run, self.runs.as_deref())).collect::<Result<Vec<_>>>()?;
        let unlabelled = if self.unlabelled.is_empty() { &experiment.unlabelled } else { &self.unlabelled };
        // Absolute, because a resumed training may start in another folder.
        let unlabelled = unlabelled.iter().map(|path| path.canonicalize().unwrap_or_else(|_| path.clone())).collect();
        Ok(Plan {
            data_dir: self.place.data_dir.clone(),
            sample: self.place.sample,
            labels: self.place.labels.clone().or_else(|| file.experiment.labels.clone()),
            lenient: self.faults.lenient,
            keep_head: self.init_from.is_some(),
            device: self.device.clone(),
            // The mentions are those of the corpus, and their values are kept as offsets.
            keep_text: !is_assertion && (self.keep_text || self.place.sample || description.public),
            train_on: self.train_on,
            auxiliary,
            teachers,
            unlabelled,
            student_layers: self.student_layers.or(experiment.student_layers),
            ..Plan::new(dataset, &encoder, recipe)
        })
    }
}

/// Trains one run or a group of seeds.
///
/// # Errors
/// If the corpus or the encoder is missing, the run folder cannot be created, or the training fails.
pub fn run(args: Args) -> Result<()> {
    let store = Store::new(runs_folder(args.runs.as_deref())?);
    let file = args.config.as_deref().map(RecipeFile::read).transpose()?.unwrap_or_default();
    let dataset = args.dataset.as_ref().or(file.experiment.dataset.as_ref());
    let dataset = dataset.context("no corpus given; name one, or set `dataset` in the recipe's [experiment]")?;
    let name = corpus::name_of(dataset)?;
    let tracking = Tracking::for_training(args.tracking.wanted())?;
    let stop = interrupt::stop_flag("stopping after this step")?;
    let job = match &args.resume {
        Some(wanted) => match find_unfinished(&store, &name, wanted)? {
            Unfinished::Run(folder) => Job::Resume(folder),
            Unfinished::Group(group, plan) => {
                let runs = resume_seeds(&store, &name, &group, &plan, &tracking, &stop)?;
                return seed_table::print(&name, &group, &runs, args.format);
            }
        },
        None => {
            let mut plan = args.plan(dataset, &file)?;
            if let Some(wanted) = &args.thresholds_from {
                ensure!(
                    !plan.train_on.is_train(),
                    "--thresholds-from needs --train-on train+dev; otherwise dev chooses the thresholds"
                );
                plan.thresholds_from =
                    Some(ThresholdsFrom::of(&RunFolder::find(store.path(), &name, wanted)?, &plan.recipe)?);
            }
            let from_file = args.seeds.is_empty() && args.seed.is_none();
            let seeds = if from_file { &file.experiment.seeds } else { &args.seeds };
            match seeds.as_slice() {
                [] => {}
                [seed] => plan.recipe.seed = *seed,
                seeds => {
                    let twice = seeds.iter().enumerate().find(|(at, seed)| seeds[..*at].contains(seed));
                    ensure!(twice.is_none(), "a seed is listed twice: {seeds:?}");
                    let (group, runs) = train_seeds(&store, &name, seeds, &plan, &tracking, &stop)?;
                    return seed_table::print(&name, &group, &runs, args.format);
                }
            }
            Job::New { plan: Box::new(plan), group: None }
        }
    };
    let Trained { folder, outcome } = train(job, &store, &tracking, &stop)?;
    let test = outcome.test.as_ref().zip(outcome.test_intervals.as_ref()).map(|test| (Split::Test, test));
    let dev = || outcome.dev.as_ref().zip(outcome.dev_intervals.as_ref()).map(|dev| (Split::Dev, dev));
    let (split, (scores, intervals)) = test.or_else(dev).context("no split was scored")?;
    let train_on = folder.read_run::<RunRecord>()?.plan.train_on;
    let run = folder.id();
    let by_corpus = outcome.by_corpus.get(&split).cloned().unwrap_or_default();
    let systems = outcome.systems.get(&split).cloned();
    eval::Report {
        dataset: &name,
        split,
        run: &run,
        train_on,
        scores,
        intervals,
        by_corpus,
        systems,
        concepts: None,
        detail: None,
    }
    .print(args.format)
}
