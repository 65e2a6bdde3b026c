//! `medner train`: fine-tunes an encoder on a corpus, and evaluates what came of it.

use crate::corpus::{self, Corpus, Faults, Place};
use crate::experiment::{self, RecipeFile};
use crate::predict::{EncodedSplit, TextForm, findings, keep_predictions, predict};
use crate::progress;
use crate::run_record::{
    CodeRecord, CorpusRecord, EncoderRecord, GroupRecord, HardwareRecord, Plan, RunRecord, TRAINING, ThresholdsFrom,
    TrainOn, now, runs_folder,
};
use crate::tracking::{self, Tracking};
use crate::{OutputFormat, eval, interrupt, models, seeds, threshold};
use anyhow::{Context, Result, bail, ensure};
use ner_data::{DatasetDescription, LabelSet, Split, Splits, TextEncoder};
use ner_eval::{Intervals, Resampling, Scores, bootstrap_intervals, score_documents};
use ner_hub::EncoderFiles;
use ner_model::{
    BertConfig, Head, KeptHead, Precision, Pretrained, Reading, Recognizer, Tagger, Unannotated, find_device,
    load_encoder, load_further, save_classifier,
};
use ner_runs::{Lock, Run, RunFolder, Status, Store};
use ner_track::State;
use ner_train::{HeadName, Recipe, Trainer, TrainingSet, restore_state, save_state};
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tch::{Device, Kind};
use tracing::{info, warn};

const EXAMPLES: &str = "\
Examples:
  medner train bc5cdr --sample                    the synthetic sample, in a minute or two
  medner train bc5cdr --data-dir ~/corpora/bc5cdr --seed 2
  medner train bc5cdr --encoder biobert --device cuda:0
  medner train anatem --init-from bc5cdr          goes on with the newest model of another corpus
  medner train bc5cdr --config experiments/recipes/bc5cdr-r-drop.toml
  medner train bc5cdr+anatem                      two corpora together, of which neither annotates what the other does
  medner train bc5cdr --seeds 1,2,3,4,5           five runs, their mean and standard deviation
  medner train bc5cdr --resume latest             goes on where a run, or a group of seeds, was stopped";

/// Fine-tune an encoder on a corpus: train on its train split, choose the best epoch on dev, score the test split
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Corpus: a name (`medner doctor` lists them) or the path of a dataset.toml; several joined by + are trained on
    /// together [default: what --config says]
    #[arg(required_unless_present = "config")]
    dataset: Option<String>,
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    faults: Faults,
    /// Encoder: a name that `doctor` lists, a hub id (owner/name), or a folder [default: minilm]
    #[arg(long, value_name = "ENCODER")]
    encoder: Option<String>,
    /// What stands on the encoder: span, token, crf or multilabel
    #[arg(long)]
    head: Option<HeadName>,
    /// Instead of an encoder, go on training a model: a run (its id, DATASET/ID or folder), a corpus (its newest run) or
    /// a model's folder. Labels that it has keep their weights, others begin anew
    #[arg(long, value_name = "RUN", conflicts_with = "encoder")]
    init_from: Option<String>,
    /// Passes over the training data
    #[arg(long, value_name = "N")]
    epochs: Option<usize>,
    /// Seed; with as many threads the same seed gives the same run, bit for bit on the CPU
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// A run for each of these seeds, and mean and standard deviation over them
    #[arg(long, value_name = "N,N,…", value_delimiter = ',', conflicts_with = "seed")]
    seeds: Vec<u64>,
    /// Highest learning rate
    #[arg(long, value_name = "RATE")]
    learning_rate: Option<f64>,
    /// Numbers that the encoder computes in: auto, fp32, bf16, fp16 (CUDA only)
    #[arg(long, value_name = "PRECISION", value_parser = models::precision)]
    precision: Option<Precision>,
    /// auto, cpu or cuda:N
    #[arg(long, default_value = "auto")]
    device: String,
    /// Recipe as TOML; options on the command line win over it
    #[arg(long, value_name = "FILE.toml")]
    config: Option<PathBuf>,
    /// Keep predictions with their text, in the format of the corpus, even where that text must not be passed on
    #[arg(long)]
    keep_text: bool,
    /// Go on with a run that was stopped, or with a group of seeds: its id, its folder, or latest
    #[arg(long, value_name = "RUN", conflicts_with_all = ["data_dir", "sample", "labels", "lenient", "encoder", "init_from", "head", "epochs", "seed",
        "seeds", "learning_rate", "precision", "device", "config", "keep_text", "train_on", "thresholds_from"])]
    resume: Option<String>,
    /// Splits to learn from. With train+dev nothing is left to choose by: all epochs are trained, the last is kept, and
    /// there are no scores of dev
    #[arg(long, value_name = "SPLITS", default_value = "train")]
    train_on: TrainOn,
    /// With --train-on train+dev, a run whose thresholds to take; none are taken where it is not said
    #[arg(long, value_name = "RUN")]
    thresholds_from: Option<String>,
    /// Where runs are kept (default: experiments/runs of the checkout)
    #[arg(long, value_name = "DIR")]
    runs: Option<PathBuf>,
    #[command(flatten)]
    tracking: tracking::Options,
    /// Form of the test scores on stdout
    #[arg(long, default_value = "table")]
    format: OutputFormat,
}

/// The encoder where none is named.
pub const DEFAULT_ENCODER: &str = "minilm";

impl Args {
    /// What is asked for of one dataset: what suits the corpus over the defaults, the file's values over both, the
    /// options over all.
    fn plan(&self, dataset: &str, file: &RecipeFile) -> Result<Plan> {
        let description = corpus::describe(dataset)?.description;
        let mut recipe = recipe_for(&description, &[&file.recipe])?;
        recipe.head = self.head.unwrap_or(recipe.head);
        recipe.epochs = self.epochs.unwrap_or(recipe.epochs);
        recipe.seed = self.seed.unwrap_or(recipe.seed);
        recipe.learning_rate = self.learning_rate.unwrap_or(recipe.learning_rate);
        recipe.precision = self.precision.unwrap_or(recipe.precision);
        check(&recipe)?;
        let encoder = match &self.init_from {
            Some(run) => Some(trained_model(run, self.runs.as_deref())?),
            None => self.encoder.clone().or_else(|| file.experiment.encoder.clone()),
        };
        Ok(Plan {
            dataset: dataset.to_owned(),
            data_dir: self.place.data_dir.clone(),
            sample: self.place.sample,
            labels: self.place.labels.clone().or_else(|| file.experiment.labels.clone()),
            lenient: self.faults.lenient,
            encoder: encoder.unwrap_or_else(|| DEFAULT_ENCODER.to_owned()),
            keep_head: self.init_from.is_some(),
            device: self.device.clone(),
            keep_text: self.keep_text || self.place.sample || description.public,
            dev_only: false,
            train_on: self.train_on,
            thresholds_from: None,
            recipe,
        })
    }
}

/// The folder of the model that `--init-from` names, as an encoder is named.
///
/// # Errors
/// Where there is none.
pub fn trained_model(run: &str, runs: Option<&Path>) -> Result<String> {
    let folder = models::folder_of(run, &runs_folder(runs)?)?.canonicalize()?;
    Ok(folder.to_str().context("the path of the model is no UTF-8")?.to_owned())
}

/// The recipe of a corpus: what suits it over the defaults, `tables` over both.
///
/// # Errors
/// Where one of them is no recipe.
pub fn recipe_for(description: &DatasetDescription, tables: &[&toml::Table]) -> Result<Recipe> {
    experiment::check_keys(&description.recipe, "the corpus's description")?;
    experiment::recipe(&[&[&description.recipe], tables].concat())
}

/// Refuses values that make no sense.
///
/// # Errors
/// Where there is one.
pub fn check(recipe: &Recipe) -> Result<()> {
    recipe.check().map_err(anyhow::Error::msg).context("the recipe makes no sense")
}

/// Trains.
///
/// # Errors
/// Where the corpus, the encoder or the run folder cannot be had, or the training fails.
pub fn run(args: Args) -> Result<()> {
    let store = Store::new(runs_folder(args.runs.as_deref())?);
    let file = args.config.as_deref().map(RecipeFile::read).transpose()?.unwrap_or_default();
    let dataset = args.dataset.as_ref().or(file.experiment.dataset.as_ref());
    let dataset = dataset.context("which corpus? Name it, or let the recipe say `dataset` in its [experiment]")?;
    let name = corpus::name_of(dataset)?;
    let tracking = args.tracking.for_training()?;
    let stop = interrupt::stop_flag("stopping after this step")?;
    let job = match &args.resume {
        Some(wanted) => match find_unfinished(&store, &name, wanted)? {
            Unfinished::Run(folder) => Job::Resume(folder),
            Unfinished::Group(group, plan) => {
                return seeds::run(&store, &name, &group, &plan, &tracking, &stop, args.format);
            }
        },
        None => {
            let mut plan = args.plan(dataset, &file)?;
            if let Some(wanted) = &args.thresholds_from {
                ensure!(
                    !plan.train_on.is_train(),
                    "--thresholds-from is for --train-on train+dev; dev chooses them here"
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
                    ensure!(twice.is_none(), "a seed is there twice: {seeds:?}");
                    return seeds::begin(&store, &name, seeds, &plan, &tracking, &stop, args.format);
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
    eval::Report { dataset: &name, split, run: &run, train_on, scores, intervals, by_corpus, detail: None }
        .print(args.format)
}

/// A training to do.
pub enum Job {
    /// One that begins.
    New {
        /// What it is.
        plan: Box<Plan>,
        /// What it belongs to.
        group: Option<GroupRecord>,
    },
    /// One that goes on.
    Resume(RunFolder),
}

/// What a training leaves behind.
pub struct Trained {
    /// Its folder.
    pub folder: RunFolder,
    /// Its scores.
    pub outcome: Outcome,
}

/// A run that goes on, held by this process.
struct Resumed {
    folder: RunFolder,
    lock: Lock,
    record: RunRecord,
}

impl Resumed {
    fn open(folder: RunFolder) -> Result<Self> {
        let lock = folder.lock()?;
        // Read under the lock: whoever held it before may have ended the run just now.
        let mut record: RunRecord = folder.read_run()?;
        if let Some(finished) = &record.finished_at {
            bail!("run {} ended at {finished}; there is nothing to resume", record.run);
        }
        record.resumed_at.push(now());
        record.error = None;
        Ok(Self { folder, lock, record })
    }
}

/// What a training begins with.
pub struct Prepared {
    pub corpus: Corpus,
    pub files: EncoderFiles,
    pub labels: LabelSet,
    pub pretrained: Pretrained,
    pub reading: Reading,
    pub encoder: TextEncoder,
    pub device: Device,
    pub kind: Kind,
    /// What reading the corpus took.
    pub reading_time: Duration,
}

impl Prepared {
    /// Loads the corpus and the encoder, on which a new head stands. The plan's windows are made to fit the encoder.
    ///
    /// # Errors
    /// Where one of them cannot be had, or the corpus has faults that the plan does not pass over.
    pub fn of(plan: &mut Plan) -> Result<Self> {
        let device = find_device(&plan.device)?;
        let kind = plan.recipe.precision.resolve(device)?;
        let begin = Instant::now();
        let corpus = corpus::load(&plan.dataset, &plan.place())?;
        let reading_time = begin.elapsed();
        corpus.check_faults(Faults { lenient: plan.lenient })?;
        let files = ner_hub::resolve_encoder(&plan.encoder, &corpus::hub_options())?;
        let labels = LabelSet::new(plan.recipe.tag_scheme, &corpus.labels);
        let (head, seed) = (plan.recipe.head(), plan.recipe.seed);
        let pretrained = if plan.keep_head {
            let (pretrained, head) = load_further(&files.dir, &labels, head, seed)?;
            report_head(&head);
            pretrained
        } else {
            load_encoder(&files.config, &files.weights, &labels, head, seed)?
        };
        plan.recipe.max_tokens = plan.recipe.max_tokens.min(pretrained.config.max_tokens() as usize);
        let reading = Reading {
            window: plan.recipe.window_size(),
            line_boundaries: corpus.description.line_boundaries,
            head: plan.recipe.head(),
            overlaps: plan.recipe.overlaps,
            decision: plan.recipe.decision(),
            categories: corpus.description.categories.clone(),
        };
        let encoder = TextEncoder::from_folder(&files.dir, reading.window)?;
        Ok(Self { corpus, files, labels, pretrained, reading, encoder, device, kind, reading_time })
    }
}

/// One training from its first or its last step on to its scores.
///
/// # Errors
/// Where the corpus, the encoder or the run folder cannot be had, or the training fails or is stopped ([`Stopped`]).
pub fn train(job: Job, store: &Store, tracking: &Tracking, stop: &AtomicBool) -> Result<Trained> {
    let (mut plan, group, resumed) = match job {
        Job::New { plan, group } => (*plan, group, None),
        Job::Resume(folder) => {
            let resumed = Resumed::open(folder)?;
            (resumed.record.plan.clone(), resumed.record.group.clone(), Some(resumed))
        }
    };
    let name = corpus::name_of(&plan.dataset)?;
    let Prepared { corpus, files, labels, pretrained, reading, encoder, device, kind, reading_time } =
        Prepared::of(&mut plan)?;
    let Pretrained { config, config_json, parameters, unexpected } = pretrained;

    let begin = Instant::now();
    let split = |split: Split| EncodedSplit::of(&encoder, &corpus, split);
    let (train, dev, test) = (split(Split::Train)?, split(Split::Dev)?, split(Split::Test)?);
    if !corpus.parts.is_empty() {
        let can_say_nothing = matches!(plan.recipe.head(), Head::Token | Head::Span { .. });
        ensure!(can_say_nothing, "several corpora are trained on together with the heads token and span alone");
        ensure!(
            plan.recipe.label_smoothing == 0.0,
            "label_smoothing is for one corpus: some labels of several are impossible"
        );
        for part in &corpus.parts {
            info!(
                "{}: annotates {}; other types are neither punished nor scored there",
                part.name,
                part.types.join(", ")
            );
        }
    }
    let mut data = training_set(&encoder, &train, &labels, plan.recipe.head());
    let offsets = match &plan.thresholds_from {
        Some(from) => from.for_types(&labels.types)?,
        None => vec![0.0; labels.types.len()],
    };
    if plan.train_on == TrainOn::TrainAndDev {
        ensure!(plan.recipe.patience == 0, "patience needs a dev split, and --train-on train+dev leaves none");
        data.documents.extend(training_set(&encoder, &dev, &labels, plan.recipe.head()).documents);
        let thresholds = match &plan.thresholds_from {
            Some(from) => format!("the thresholds are those of run {}", from.run),
            None => "no thresholds are chosen".into(),
        };
        let epochs = plan.recipe.epochs;
        info!("training on train and dev: the last of {epochs} epochs is kept, {thresholds}, and dev is not scored");
    }
    let misfits = count_misfits([&train, &dev, &test], &labels, plan.recipe.head());
    report_misfits(&misfits);
    let prepare_ms = (reading_time + begin.elapsed()).as_secs_f64() * 1e3;
    let mut trainer = Trainer::new(&plan.recipe, &config, &parameters, &data, device)?;
    drop(parameters);

    let encoder_record = EncoderRecord::of(&files, unexpected)?;
    let corpus_record = CorpusRecord::of(&corpus, misfits);
    // The lock lives as long as the training.
    let (folder, _lock, mut record) = match resumed {
        Some(Resumed { folder, lock, record }) => {
            if record.encoder.sha256 != encoder_record.sha256 || record.corpus != corpus_record {
                bail!(
                    "run {} cannot be resumed: its encoder or corpus is not what it was; see its run.json",
                    record.run
                );
            }
            (folder, lock, record)
        }
        None => {
            let made = RunFolder::create(store.path(), &name, plan.recipe.seed);
            let folder = made.with_context(|| {
                format!("no run folder can be made in {}; --runs names another place", store.path().display())
            })?;
            let lock = folder.lock()?;
            let record = RunRecord {
                run: folder.id(),
                kind: TRAINING.into(),
                group,
                plan: plan.clone(),
                labels: labels.clone(),
                device: format!("{device:?}"),
                compute: format!("{kind:?}"),
                threads: tch::get_num_threads(),
                encoder: encoder_record,
                corpus: corpus_record,
                code: CodeRecord::of_this_process(),
                hardware: Some(HardwareRecord::of_this_machine()),
                prepare_ms: Some(prepare_ms),
                started_at: now(),
                resumed_at: Vec::new(),
                finished_at: None,
                error: None,
            };
            (folder, lock, record)
        }
    };
    folder.write_run(&record)?;
    info!("run {} on {device:?} in {kind:?}: {}", record.run, folder.path().display());

    let text = plan
        .keep_text
        .then(|| TextForm { format: corpus.origin.format, options: corpus.description.format_options.clone() });
    let model = Model { config, config_json, labels, encoder, reading, text, device, kind };
    let mut follower = None;
    let mut work = || -> Result<Outcome> {
        save_tokenizer(&folder.model(), &model.encoder, &files.dir)?;
        let progress = restore_state(&folder.state(), &mut trainer)?;
        if let Some(progress) = &progress {
            info!("resuming after epoch {}", progress.epoch);
        }
        // Cut back before a tracker reads of steps that are made again.
        drop(folder.metrics_after(trainer.epochs_done())?);
        follower = Some(tracking.follow(folder.path())?);
        let choice = if plan.train_on.is_train() { Choice::Dev(&dev) } else { Choice::Last(&offsets) };
        train_epochs(
            &model,
            &record,
            &folder,
            &mut trainer,
            choice,
            progress.and_then(|progress| progress.best),
            stop,
        )?;
        let dev = plan.train_on.is_train().then_some(&dev);
        finish(&model, &folder, &corpus, dev, (!plan.dev_only).then_some(&test))
    };
    let outcome = match work() {
        Ok(outcome) => outcome,
        Err(error) => {
            if !error.is::<Stopped>() {
                record.error = Some(format!("{error:#}"));
                if let Err(second) = folder.write_run(&record) {
                    warn!("that the run failed cannot be written: {second}");
                }
            }
            if let Some(follower) = follower {
                follower.finish(if error.is::<Stopped>() { State::Killed } else { State::Failed });
            }
            return Err(error);
        }
    };
    record.finished_at = Some(now());
    folder.write_run(&record)?;
    if let Some(follower) = follower {
        follower.finish(State::Finished);
    }
    // Four times the weights, and of no use any more.
    fs_err::remove_dir_all(folder.state())?;
    Ok(Trained { folder, outcome })
}

/// A training was stopped by the user.
#[derive(Debug)]
pub struct Stopped {
    epoch: usize,
    resume: String,
}

impl std::fmt::Display for Stopped {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "stopped in epoch {}; go on with: {}", self.epoch, self.resume)
    }
}

impl std::error::Error for Stopped {}

impl RunRecord {
    /// The command that goes on with this run, and with the group that it belongs to.
    fn resume_command(&self) -> String {
        match &self.group {
            Some(GroupRecord { trial: Some(_), .. }) => "the same sweep".into(),
            Some(GroupRecord { id, .. }) => format!("train {} --resume {id}", self.plan.dataset),
            None => format!("train {} --resume {}", self.plan.dataset, self.run),
        }
    }
}

/// What a run predicts with, apart from the weights.
struct Model {
    config: BertConfig,
    config_json: serde_json::Value,
    labels: LabelSet,
    encoder: TextEncoder,
    reading: Reading,
    /// How predictions are kept with their text; none where they are not.
    text: Option<TextForm>,
    device: Device,
    kind: Kind,
}

/// What decides which epoch's model is kept, and with which thresholds.
#[derive(Clone, Copy)]
enum Choice<'a> {
    /// The scores of the dev split.
    Dev(&'a EncodedSplit<'a>),
    /// Nothing: the last, with these offsets of the log-odds of the types.
    Last(&'a [f32]),
}

/// Trains to the last epoch: after each, evaluates on dev, keeps the model where it is the best so far, and saves the
/// state to resume from. `best` is the best epoch so far and its dev F1.
fn train_epochs(
    model: &Model,
    record: &RunRecord,
    folder: &RunFolder,
    trainer: &mut Trainer<'_>,
    choice: Choice<'_>,
    mut best: Option<(usize, f64)>,
    stop: &AtomicBool,
) -> Result<()> {
    let plan = &record.plan;
    let mut metrics = folder.metrics_after(trainer.epochs_done())?;
    let bar = progress::training(trainer.tokens_per_epoch() * plan.recipe.epochs);
    bar.set_position((trainer.tokens_per_epoch() * trainer.epochs_done()) as u64);
    bar.reset_eta();
    while trainer.epochs_done() < plan.recipe.epochs {
        if let Some((epoch, _)) = best
            && plan.recipe.patience > 0
            && trainer.epochs_done() >= epoch + plan.recipe.patience
        {
            info!("stopping early: no better dev F1 in {} epochs", plan.recipe.patience);
            break;
        }
        let epoch = trainer.epochs_done() + 1;
        let begin = Instant::now();
        let (mut losses, mut steps, mut tokens) = (0.0, 0, 0);
        for step in trainer.next_epoch() {
            let step = step?;
            metrics.append("step", &step)?;
            (losses, steps, tokens) = (losses + step.loss, steps + 1, tokens + step.tokens);
            bar.inc(step.pieces as u64);
            bar.set_message(format!("epoch {epoch}/{} loss {:.4}", plan.recipe.epochs, losses / f64::from(steps)));
            if stop.load(Ordering::Relaxed) {
                bar.finish_and_clear();
                return Err(Stopped { epoch, resume: record.resume_command() }.into());
            }
        }
        let train_ms = begin.elapsed().as_secs_f64() * 1e3;
        let Model { config, labels, reading, .. } = model;
        let (offsets, scores) = match choice {
            Choice::Last(offsets) => (offsets.to_vec(), None),
            Choice::Dev(dev) => {
                let tagger = Tagger::new(config, labels, reading.head, trainer.weights(), model.device, model.kind)?;
                let recognizer = Recognizer::new(tagger, model.encoder.clone(), reading.clone());
                let findings = bar.suspend(|| findings(&recognizer, dev, "dev"));
                let offsets = match plan.recipe.thresholds {
                    true => threshold::choose(dev, &findings, labels, reading.allowed()),
                    false => vec![0.0; labels.types.len()],
                };
                let mentions = threshold::decide(dev, &findings, labels, &offsets, reading.allowed());
                (offsets, Some(score_documents(dev.documents, &dev.with_mentions(mentions))?.scores))
            }
        };
        let f1 = scores.as_ref().map(|scores| scores.overall.f1.unwrap_or(0.0));
        let is_best = match f1 {
            Some(f1) => best.is_none_or(|(_, best)| f1 > best),
            None => epoch == plan.recipe.epochs,
        };
        if is_best {
            best = f1.map(|f1| (epoch, f1));
            let weights = trainer.weights().with_offsets(&threshold::as_bias(&offsets, labels, reading.head))?;
            save_classifier(&folder.model(), &model.config_json, labels, reading, &weights)?;
        }
        let report = EpochReport {
            epoch,
            loss: losses / f64::from(steps),
            tokens,
            train_ms,
            dev_ms: begin.elapsed().as_secs_f64() * 1e3 - train_ms,
            offsets: &offsets,
            dev: scores.as_ref(),
            best: is_best,
        };
        metrics.append("epoch", &report)?;
        save_state(&folder.state(), trainer, best)?;
        let rate = tokens as f64 / train_ms * 1e3;
        let mark = if is_best && f1.is_some() { " (best)" } else { "" };
        bar.suspend(|| {
            let dev = f1.map_or_else(String::new, |f1| format!(", dev F1 {:.2}", 100.0 * f1));
            info!("epoch {epoch}: loss {:.4}{dev}{mark}, {rate:.0} tokens/s", report.loss)
        });
    }
    bar.finish_and_clear();
    Ok(())
}

/// The line of an epoch in `metrics.jsonl`.
#[derive(Serialize)]
struct EpochReport<'s> {
    epoch: usize,
    loss: f64,
    tokens: usize,
    train_ms: f64,
    dev_ms: f64,
    /// What dev chose to add to the log-odds of each type; it is in the bias of the model that is saved.
    offsets: &'s [f32],
    /// None where dev was trained on.
    #[serde(skip_serializing_if = "Option::is_none")]
    dev: Option<&'s Scores>,
    /// Whether its model is kept.
    best: bool,
}

/// `scores.json`.
#[derive(Serialize)]
pub struct Outcome {
    /// Of the dev split; none where it was trained on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dev: Option<Scores>,
    /// Of the test split; none where it was left alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub test: Option<Scores>,
    /// Bootstrap intervals over documents.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dev_intervals: Option<Intervals>,
    /// Those of the test split.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub test_intervals: Option<Intervals>,
    /// Of several corpora, the scores of each, by split and name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub by_corpus: BTreeMap<Split, BTreeMap<String, Scores>>,
}

/// Scores the model that was kept, as it was saved, and keeps its predictions. A split that is not given is left alone.
fn finish(
    model: &Model,
    folder: &RunFolder,
    corpus: &Corpus,
    dev: Option<&EncodedSplit<'_>>,
    test: Option<&EncodedSplit<'_>>,
) -> Result<Outcome> {
    let recognizer = Recognizer::load(&folder.model(), model.device, model.kind)?;
    let mut by_corpus = BTreeMap::new();
    let mut score = |split: &EncodedSplit<'_>, name: Split| -> Result<(Scores, Intervals)> {
        let predicted = predict(&recognizer, split, name.name());
        keep_predictions(folder, name, split.documents, &predicted, model.text.as_ref())?;
        if !corpus.parts.is_empty() {
            by_corpus.insert(name, corpus.scores_by_part(name, &predicted)?);
        }
        let scored = score_documents(split.documents, &predicted)?;
        Ok((scored.scores, bootstrap_intervals(&scored.by_document, &Resampling::default())))
    };
    let (dev, dev_intervals) = dev.map(|dev| score(dev, Split::Dev)).transpose()?.unzip();
    let (test, test_intervals) = test.map(|test| score(test, Split::Test)).transpose()?.unzip();
    let outcome = Outcome { dev, test, dev_intervals, test_intervals, by_corpus };
    folder.write_json("scores.json", &outcome)?;
    Ok(outcome)
}

/// A split to learn from, each document with what its corpus leaves open.
fn training_set(encoder: &TextEncoder, split: &EncodedSplit<'_>, labels: &LabelSet, head: Head) -> TrainingSet {
    let mut set = TrainingSet::new(encoder, split.documents, &split.encoded, labels, head);
    for (at, document) in set.documents.iter_mut().enumerate() {
        document.unannotated = split.types_of(at).map(|types| Unannotated::of(labels, types));
    }
    set
}

impl CorpusRecord {
    fn of(corpus: &Corpus, misfits: Splits<usize>) -> Self {
        Self {
            origin: corpus.origin.clone(),
            parts: corpus.parts.clone(),
            documents: corpus.splits.map(|_, split| split.documents.len()),
            mentions: corpus.splits.map(|_, split| split.documents.iter().map(|d| d.mentions.len()).sum()),
            dropped: corpus.dropped.clone(),
            misfits,
        }
    }
}

fn count_misfits([train, dev, test]: [&EncodedSplit<'_>; 3], labels: &LabelSet, head: Head) -> Splits<usize> {
    let count = |split: &EncodedSplit<'_>| {
        let pairs = split.documents.iter().zip(&split.encoded);
        pairs.map(|(document, encoded)| head.align(&encoded.word_spans(), &document.mentions, labels).1.len()).sum()
    };
    Splits { train: count(train), dev: count(dev), test: count(test) }
}

fn report_head(KeptHead { kept, fresh, left, other_kind }: &KeptHead) {
    if *other_kind {
        warn!("the model has another head than the recipe: only its encoder is trained further");
        return;
    }
    let list = |names: &[String]| if names.is_empty() { "none".to_owned() } else { names.join(", ") };
    info!("the head goes on: kept {}; new {}; left out {}", list(kept), list(fresh), list(left));
}

fn report_misfits(misfits: &Splits<usize>) {
    for (split, &count) in misfits.iter().filter(|(_, count)| **count > 0) {
        warn!(
            "{count} mentions of the {split} split cannot be said by the head; `data --list-misfits` lists those of tags"
        );
    }
}

/// The files that a tokenizer needs to be opened elsewhere, beside the model.
fn save_tokenizer(model: &Path, encoder: &TextEncoder, source: &Path) -> Result<()> {
    fs_err::create_dir_all(model)?;
    encoder.save(&model.join("tokenizer.json"))?;
    for name in ["tokenizer_config.json", "special_tokens_map.json", "vocab.txt", "vocab.json", "merges.txt"] {
        if source.join(name).is_file() {
            fs_err::copy(source.join(name), model.join(name))?;
        }
    }
    Ok(())
}

/// What `--resume` names.
enum Unfinished {
    Run(RunFolder),
    /// Seeds, and the plan of one of them.
    Group(GroupRecord, Box<Plan>),
}

fn find_unfinished(store: &Store, dataset: &str, wanted: &str) -> Result<Unfinished> {
    let mut trainings = store.list(Some(dataset))?;
    trainings.retain(|run| run.kind() == TRAINING && run.status != Status::Unreadable);
    let latest = trainings.last().filter(|_| wanted == "latest");
    // A group goes by its name, or by its newest run where that is asked for without a name.
    let group = latest.map_or(Some(wanted), Run::group);
    if let Some(member) = trainings.iter().rev().find(|run| group.is_some() && run.group() == group) {
        let record: RunRecord = member.folder.read_run()?;
        if let Some(group) = record.group.filter(|group| !group.seeds.is_empty()) {
            return Ok(Unfinished::Group(group, Box::new(record.plan)));
        }
    }
    match latest {
        Some(latest) => Ok(Unfinished::Run(latest.folder.clone())),
        None if wanted == "latest" => bail!("there is no training of {dataset} in {}", store.path().display()),
        None => Ok(Unfinished::Run(RunFolder::find(store.path(), dataset, wanted)?)),
    }
}
