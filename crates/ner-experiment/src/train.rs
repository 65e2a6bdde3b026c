//! One training, from a [`Plan`] to scores in a run folder.

use crate::assertion::{self, Systems};
use crate::auxiliary::{self, AuxiliaryRecord};
use crate::corpus::{self, Corpus};
use crate::life::{Resumed, Stopped, TrainingRecord, live, new_folder};
use crate::plan::{Plan, TrainOn};
use crate::predict::{EncodedSplit, TextForm, keep_predictions, model_outputs, predict};
use crate::prepare::Prepared;
use crate::record::{
    CodeRecord, CorpusRecord, EncoderRecord, GroupRecord, HardwareRecord, RunLife, RunRecord, TRAINING,
};
use crate::tracking::Tracking;
use crate::{progress, teacher, threshold};
use anyhow::{Result, bail, ensure};
use ner_data::{Document, DocumentTokenizer, LabelSet, Split, Splits};
use ner_eval::{Intervals, Resampling, Scores, bootstrap_intervals, score_documents};
use ner_files::write_bytes;
use ner_model::{
    AssertionClassifier, BertConfig, Head, InferenceConfig, PartialLabels, Pretrained, Recognizer, Tagger, device_name,
    precision_name, save_classifier,
};
use ner_runs::{Run, RunFolder, Status, Store};
use ner_train::{Further, FurtherTask, Trainer, TrainingSet, restore_state, save_state};
use rayon::prelude::*;
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;
use tch::{Device, Kind};
use tracing::{info, warn};

/// A training to run.
pub enum Job {
    /// A new training.
    New {
        /// Its plan.
        plan: Box<Plan>,
        /// Its group.
        group: Option<GroupRecord>,
    },
    /// A training to resume.
    Resume(RunFolder),
}

/// The result of a training.
pub struct Trained {
    /// Its folder.
    pub folder: RunFolder,
    /// Its scores.
    pub outcome: Outcome,
}

/// Runs one training, from its first or its last step to its scores.
///
/// # Errors
/// If the corpus, the encoder or the run folder is missing, or the training fails or is stopped ([`Stopped`]).
pub fn train(job: Job, store: &Store, tracking: &Tracking, stop: &AtomicBool) -> Result<Trained> {
    let (mut plan, group, resumed) = match job {
        Job::New { plan, group } => (*plan, group, None),
        Job::Resume(folder) => {
            let resumed: Resumed<RunRecord> = Resumed::open(folder)?;
            (resumed.record.plan.clone(), resumed.record.group.clone(), Some(resumed))
        }
    };
    let name = corpus::name_of(&plan.dataset)?;
    let Prepared { corpus, files, labels, pretrained, inference, tokenizer, device, kind, reading_time } =
        Prepared::of(&mut plan)?;
    let Pretrained { config, config_json, parameters, unexpected } = pretrained;

    let begin = Instant::now();
    let split = |split: Split| EncodedSplit::of(&tokenizer, &corpus, split);
    let (train, dev, test) = (split(Split::Train)?, split(Split::Dev)?, split(Split::Test)?);
    if !corpus.parts.is_empty() {
        let can_say_nothing = matches!(plan.recipe.head(), Head::Token | Head::Span { .. });
        ensure!(can_say_nothing, "training on several corpora needs the head token or span");
        ensure!(
            plan.recipe.label_smoothing == 0.0,
            "label_smoothing needs a single corpus: with several, some labels are impossible"
        );
        for part in &corpus.parts {
            info!(
                "{}: annotates {}; other types add no loss there and are not scored",
                part.name,
                part.types.join(", ")
            );
        }
    }
    let head = plan.recipe.head();
    let mut data = training_set(&tokenizer, &train, &labels, head);
    let misfits =
        Splits { train: data.misfits, dev: misfits_of(&dev, &labels, head), test: misfits_of(&test, &labels, head) };
    report_misfits(&misfits);
    let offsets = match &plan.thresholds_from {
        Some(from) => from.for_types(&labels.types)?,
        None => vec![0.0; labels.types.len()],
    };
    if plan.train_on == TrainOn::TrainAndDev {
        ensure!(plan.recipe.patience == 0, "patience needs a dev split, but --train-on train+dev leaves none");
        data.documents.extend(training_set(&tokenizer, &dev, &labels, head).documents);
        let thresholds = match &plan.thresholds_from {
            Some(from) => format!("thresholds come from run {}", from.run),
            None => "there are no thresholds".into(),
        };
        let epochs = plan.recipe.epochs;
        info!("training on train and dev: the last of {epochs} epochs is kept, {thresholds}, and dev is not scored");
    }
    let auxiliary = auxiliary::load(&plan, &corpus, &tokenizer, &config)?;
    let taught: Vec<Document> = match plan.train_on {
        TrainOn::Train => train.documents.to_vec(),
        TrainOn::TrainAndDev => [train.documents, dev.documents].concat(),
    };
    let lessons = teacher::lessons(&plan, &corpus, (&tokenizer, &labels), (&taught, &mut data), (device, kind), stop)?;
    drop(taught);
    let prepare_ms = (reading_time + begin.elapsed()).as_secs_f64() * 1e3;
    let unlabelled = lessons.as_ref().and_then(|lessons| lessons.unlabelled.as_ref()).map(|data| Further {
        data,
        batches: plan.recipe.unlabelled_batches,
        task: FurtherTask::Unlabelled,
    });
    let further = auxiliary::sources(&auxiliary, plan.recipe.auxiliary_batches).chain(unlabelled).collect();
    let mut trainer = Trainer::with_further(&plan.recipe, &config, &parameters, &data, further, device)?;
    drop(parameters);
    let auxiliary_record: Vec<AuxiliaryRecord> = auxiliary.iter().map(|auxiliary| auxiliary.record.clone()).collect();
    let teacher_record = lessons.as_ref().map(|lessons| lessons.record.clone());

    let encoder_record = EncoderRecord::of(&files, unexpected)?;
    let corpus_record = CorpusRecord::of(&corpus, misfits);
    // The lock lives as long as the training.
    let (folder, _lock, mut record) = match resumed {
        Some(Resumed { folder, lock, record }) => {
            if record.encoder.sha256 != encoder_record.sha256 || record.corpus != corpus_record {
                bail!("cannot resume run {}: its encoder or corpus has changed; see its run.json", record.run);
            }
            if record.auxiliary != auxiliary_record || record.teacher != teacher_record {
                bail!(
                    "cannot resume run {}: its auxiliary corpora, teachers or unlabelled text have changed; see its run.json",
                    record.run
                );
            }
            (folder, lock, record)
        }
        None => {
            let (folder, lock) = new_folder(store, &name, plan.recipe.seed)?;
            let record = RunRecord {
                run: folder.id(),
                kind: TRAINING.into(),
                group,
                plan: plan.clone(),
                labels: labels.clone(),
                device: device_name(device),
                compute: precision_name(kind),
                threads: tch::get_num_threads(),
                encoder: encoder_record,
                corpus: corpus_record,
                auxiliary: auxiliary_record,
                teacher: teacher_record,
                code: CodeRecord::of_this_process(),
                hardware: Some(HardwareRecord::of_this_machine()),
                prepare_ms: Some(prepare_ms),
                life: RunLife::begin(),
            };
            (folder, lock, record)
        }
    };
    folder.write_run(&record)?;
    info!("run {} on {} in {}: {}", record.run, record.device, record.compute, folder.path().display());

    let text = plan
        .keep_text
        .then(|| TextForm { format: corpus.origin.format, options: corpus.description.format_options.clone() });
    let model = Model { config, config_json, labels, tokenizer, inference, text, device, kind };
    let outcome = live(&folder, &mut record, tracking, |record, follow| {
        save_tokenizer(&folder.model(), &model.tokenizer, &files.dir)?;
        let progress = restore_state(&folder.state(), &mut trainer)?;
        if let Some(progress) = &progress {
            info!("resuming after epoch {}", progress.epoch);
        }
        // Cut back before a tracker reads metrics of steps that are repeated.
        drop(folder.metrics_after(trainer.epochs_done())?);
        follow()?;
        let choice = if plan.train_on.is_train() { Choice::Dev(&dev) } else { Choice::Last(&offsets) };
        train_epochs(&model, record, &folder, &mut trainer, choice, progress.and_then(|progress| progress.best), stop)?;
        let dev = plan.train_on.is_train().then_some(&dev);
        finish(&model, &folder, &corpus, dev, (!plan.dev_only).then_some(&test))
    })?;
    Ok(Trained { folder, outcome })
}

impl TrainingRecord for RunRecord {
    fn life(&mut self) -> &mut RunLife {
        &mut self.life
    }
}

impl RunRecord {
    /// The command that resumes this run, or its group.
    fn resume_command(&self) -> String {
        match &self.group {
            Some(GroupRecord { trial: Some(_), .. }) => "the same sweep".into(),
            Some(GroupRecord { id, .. }) => format!("train {} --resume {id}", self.plan.dataset),
            None => format!("train {} --resume {}", self.plan.dataset, self.run),
        }
    }
}

/// A run's model, apart from its weights.
struct Model {
    config: BertConfig,
    config_json: serde_json::Value,
    labels: LabelSet,
    tokenizer: DocumentTokenizer,
    inference: InferenceConfig,
    /// Format of predictions with text; `None` if they are not kept.
    text: Option<TextForm>,
    device: Device,
    kind: Kind,
}

/// How to choose the epoch and the thresholds of the kept model.
#[derive(Clone, Copy)]
enum Choice<'a> {
    /// The scores of the dev split.
    Dev(&'a EncodedSplit<'a>),
    /// The last epoch, with these offsets of the types' log-odds.
    Last(&'a [f32]),
}

/// Trains to the last epoch. After each epoch, evaluates on dev, saves the model if it is the best so far, and saves
/// the state for `--resume`. `best` is the best epoch so far and its dev F1.
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
                return Err(Stopped::at(format!("in epoch {epoch}"), record.resume_command()).into());
            }
        }
        let train_ms = begin.elapsed().as_secs_f64() * 1e3;
        let Model { config, labels, .. } = model;
        let mut inference = model.inference.clone();
        let tagger =
            || Tagger::new(config, labels, model.inference.head, &trainer.model_weights(), model.device, model.kind);
        let (offsets, scores) = match choice {
            Choice::Last(offsets) => (offsets.to_vec(), None),
            Choice::Dev(dev) if inference.head == Head::Assertion => {
                let classifier = AssertionClassifier::new(tagger()?, model.tokenizer.clone(), inference.clone());
                let found = bar.suspend(|| assertion::log_probabilities(&classifier, dev, "dev"));
                let (weight, scored) = assertion::choose_weight(dev, &found, &labels.types)?;
                inference.rules_weight = Some(weight);
                (vec![0.0; labels.types.len()], Some(scored.scores))
            }
            Choice::Dev(dev) => {
                let recognizer = Recognizer::new(tagger()?, model.tokenizer.clone(), inference.clone());
                let outputs = bar.suspend(|| model_outputs(&recognizer, dev, "dev"));
                let offsets = match plan.recipe.thresholds {
                    true => threshold::choose(dev, &outputs, labels, inference.decode_options()),
                    false => vec![0.0; labels.types.len()],
                };
                let mentions = threshold::decide(dev, &outputs, labels, &offsets, inference.decode_options());
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
            let weights =
                trainer.model_weights().with_offsets(&threshold::as_bias(&offsets, labels, inference.head))?;
            save_classifier(&folder.model(), &model.config_json, labels, &inference, &weights)?;
        }
        let report = EpochReport {
            epoch,
            loss: losses / f64::from(steps),
            tokens,
            train_ms,
            dev_ms: begin.elapsed().as_secs_f64() * 1e3 - train_ms,
            offsets: &offsets,
            rules_weight: inference.rules_weight,
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
    /// Offsets that dev chose for the log-odds of each type; the saved model's bias includes them.
    offsets: &'s [f32],
    /// How much the rules count, for a classifier of assertions.
    #[serde(skip_serializing_if = "Option::is_none")]
    rules_weight: Option<f32>,
    /// `None` if dev was trained on.
    #[serde(skip_serializing_if = "Option::is_none")]
    dev: Option<&'s Scores>,
    /// Whether this is the best epoch so far.
    best: bool,
}

/// `scores.json`.
#[derive(Serialize)]
pub struct Outcome {
    /// Dev scores; `None` if dev was trained on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dev: Option<Scores>,
    /// Test scores; `None` if the test split was skipped.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub test: Option<Scores>,
    /// Bootstrap intervals of the dev scores, over documents.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dev_intervals: Option<Intervals>,
    /// Bootstrap intervals of the test scores.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub test_intervals: Option<Intervals>,
    /// For joined corpora, the scores of each, by split and name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub by_corpus: BTreeMap<Split, BTreeMap<String, Scores>>,
    /// For a classifier of assertions, the scores of rules, model, and both together, by split.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub systems: BTreeMap<Split, Systems>,
}

/// Scores the saved best model and keeps its predictions. Splits that are not given are skipped.
fn finish(
    model: &Model,
    folder: &RunFolder,
    corpus: &Corpus,
    dev: Option<&EncodedSplit<'_>>,
    test: Option<&EncodedSplit<'_>>,
) -> Result<Outcome> {
    let (mut by_corpus, mut systems) = (BTreeMap::new(), BTreeMap::new());
    if model.inference.head == Head::Assertion {
        let classifier = AssertionClassifier::load(&folder.model(), model.device, model.kind)?;
        for (split, name) in [(dev, Split::Dev), (test, Split::Test)] {
            let Some(split) = split else { continue };
            let (scored, predicted) = Systems::score(&classifier, split, name.name())?;
            keep_predictions(folder, name, split.documents, &predicted, None)?;
            systems.insert(name, scored);
        }
        let combined = |name| systems.get(&name).map(|systems| systems.combined.clone());
        let parts = |name| combined(name).map(|system| (system.scores, system.intervals)).unzip();
        let ((dev, dev_intervals), (test, test_intervals)) = (parts(Split::Dev), parts(Split::Test));
        let outcome = Outcome { dev, test, dev_intervals, test_intervals, by_corpus, systems };
        folder.write_json("scores.json", &outcome)?;
        return Ok(outcome);
    }
    let recognizer = Recognizer::load(&folder.model(), model.device, model.kind)?;
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
    let outcome = Outcome { dev, test, dev_intervals, test_intervals, by_corpus, systems: BTreeMap::new() };
    folder.write_json("scores.json", &outcome)?;
    Ok(outcome)
}

/// A split as training data, with the types that each document's corpus leaves unannotated.
fn training_set(tokenizer: &DocumentTokenizer, split: &EncodedSplit<'_>, labels: &LabelSet, head: Head) -> TrainingSet {
    let mut set = TrainingSet::new(tokenizer, split.documents, &split.encoded, labels, head);
    for (at, document) in set.documents.iter_mut().enumerate() {
        document.unannotated = split.types_of(at).map(|types| PartialLabels::of(labels, types));
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

/// Number of mentions in a split that the head cannot represent exactly.
fn misfits_of(split: &EncodedSplit<'_>, labels: &LabelSet, head: Head) -> usize {
    let pairs = split.documents.par_iter().zip(&split.encoded);
    pairs.map(|(document, encoded)| head.align(&encoded.word_spans(), &document.mentions, labels).1.len()).sum()
}

fn report_misfits(misfits: &Splits<usize>) {
    for (split, &count) in misfits.iter().filter(|(_, count)| **count > 0) {
        warn!(
            "the head cannot represent {count} {split} mentions; `data --list-misfits` lists those that tags cannot represent"
        );
    }
}

/// Saves the tokenizer's files beside the model, so that it can be opened elsewhere.
pub(crate) fn save_tokenizer(model: &Path, tokenizer: &DocumentTokenizer, source: &Path) -> Result<()> {
    fs_err::create_dir_all(model)?;
    tokenizer.save(&model.join("tokenizer.json"))?;
    for name in ["tokenizer_config.json", "special_tokens_map.json", "vocab.txt", "vocab.json", "merges.txt"] {
        if source.join(name).is_file() {
            write_bytes(&model.join(name), &fs_err::read(source.join(name))?)?;
        }
    }
    Ok(())
}

/// The target of `--resume`.
pub enum Unfinished {
    /// A run.
    Run(RunFolder),
    /// A group of seeds, and the plan of one of them.
    Group(GroupRecord, Box<Plan>),
}

/// Finds the target of `--resume`: a run's id or folder, a group, or `latest`.
///
/// # Errors
/// If there is no such run or group.
pub fn find_unfinished(store: &Store, dataset: &str, wanted: &str) -> Result<Unfinished> {
    let mut trainings = store.list(Some(dataset))?;
    trainings.retain(|run| run.kind() == TRAINING && run.status != Status::Unreadable);
    let latest = trainings.last().filter(|_| wanted == "latest");
    // A group is found by its name, or through its newest run by `latest`.
    let group = latest.map_or(Some(wanted), Run::group);
    if let Some(member) = trainings.iter().rev().find(|run| group.is_some() && run.group() == group) {
        let record: RunRecord = member.folder.read_run()?;
        if let Some(group) = record.group.filter(|group| !group.seeds.is_empty()) {
            return Ok(Unfinished::Group(group, Box::new(record.plan)));
        }
    }
    match latest {
        Some(latest) => Ok(Unfinished::Run(latest.folder.clone())),
        None if wanted == "latest" => bail!("no training of {dataset} in {}", store.path().display()),
        None => Ok(Unfinished::Run(RunFolder::find(store.path(), dataset, wanted)?)),
    }
}
