//! `medner train`: fine-tunes an encoder on a corpus, and evaluates what came of it.

use crate::corpus::{self, Corpus, Faults, Place};
use crate::predict::{EncodedSplit, predict, probabilities};
use crate::progress;
use crate::run_record::{CodeRecord, CorpusRecord, EncoderRecord, Plan, RunRecord, now, runs_folder};
use crate::{OutputFormat, eval, interrupt, threshold};
use anyhow::{Context, Result, bail};
use ner_data::{
    DatasetDescription, Decision, Document, Format, FormatOptions, LabelSet, Split, Splits, TextEncoder, align,
};
use ner_eval::{Scores, score_documents};
use ner_model::{
    BertConfig, Precision, Pretrained, Reading, Recognizer, Tagger, find_device, load_encoder, save_token_classifier,
};
use ner_train::{Recipe, RunFolder, Trainer, TrainingSet, restore_state, save_state};
use serde::Serialize;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;
use tch::{Device, Kind};
use tracing::{info, warn};

const EXAMPLES: &str = "\
Examples:
  medner train bc5cdr --sample                    the synthetic sample, in a minute or two
  medner train bc5cdr --data-dir ~/corpora/bc5cdr --seed 2
  medner train bc5cdr --encoder biobert --device cuda:0
  medner train bc5cdr --config experiments/recipes/bc5cdr.toml
  medner train bc5cdr --resume latest             goes on where a run was stopped";

/// Fine-tune an encoder on a corpus: train on its train split, choose the best epoch on dev, score the test split
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Corpus: a name (`medner doctor` lists them) or the path of a dataset.toml
    dataset: String,
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    faults: Faults,
    /// Encoder: a name that `doctor` lists, a hub id (owner/name), or a folder
    #[arg(long, default_value = "minilm", value_name = "ENCODER")]
    encoder: String,
    /// Passes over the training data
    #[arg(long, value_name = "N")]
    epochs: Option<usize>,
    /// Seed; the same seed gives the same run, bit for bit on the CPU
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Highest learning rate
    #[arg(long, value_name = "RATE")]
    learning_rate: Option<f64>,
    /// Numbers that the encoder computes in: auto, fp32, bf16, fp16 (CUDA only)
    #[arg(long, value_name = "PRECISION", value_parser = precision)]
    precision: Option<Precision>,
    /// auto, cpu or cuda:N
    #[arg(long, default_value = "auto")]
    device: String,
    /// Hyperparameters as TOML; options on the command line win over it
    #[arg(long, value_name = "FILE.toml")]
    config: Option<PathBuf>,
    /// Go on with a run that was stopped: its id, its folder, or latest
    #[arg(long, value_name = "RUN", conflicts_with_all = ["data_dir", "sample", "labels", "lenient", "encoder", "epochs", "seed",
        "learning_rate", "precision", "device", "config"])]
    resume: Option<String>,
    /// Where runs are kept (default: experiments/runs of the checkout)
    #[arg(long, value_name = "DIR")]
    runs: Option<PathBuf>,
    /// Form of the test scores on stdout
    #[arg(long, default_value = "table")]
    format: OutputFormat,
}

fn precision(text: &str) -> Result<Precision, String> {
    let value = serde_json::Value::String(text.to_owned());
    serde_json::from_value(value).map_err(|_| "precisions are auto, fp32, bf16 and fp16".to_owned())
}

impl Args {
    /// The recipe: what suits the corpus over the defaults, the file's values over both, the options over all.
    fn recipe(&self, description: &DatasetDescription) -> Result<Recipe> {
        let mut table = description.recipe.clone();
        let mut place = "the corpus's description".to_owned();
        if let Some(path) = &self.config {
            place = path.display().to_string();
            let text = fs_err::read_to_string(path)?;
            let file: toml::Table = toml::from_str(&text).with_context(|| format!("{place} is no TOML"))?;
            table.extend(file);
        }
        let mut recipe: Recipe = table.try_into().with_context(|| format!("{place} is no recipe"))?;
        recipe.epochs = self.epochs.unwrap_or(recipe.epochs);
        recipe.seed = self.seed.unwrap_or(recipe.seed);
        recipe.learning_rate = self.learning_rate.unwrap_or(recipe.learning_rate);
        recipe.precision = self.precision.unwrap_or(recipe.precision);
        recipe.check().map_err(anyhow::Error::msg).context("the recipe makes no sense")?;
        Ok(recipe)
    }

    fn plan(&self) -> Result<Plan> {
        let description = corpus::describe(&self.dataset)?.description;
        Ok(Plan {
            dataset: self.dataset.clone(),
            data_dir: self.place.data_dir.clone(),
            sample: self.place.sample,
            labels: self.place.labels.clone(),
            lenient: self.faults.lenient,
            encoder: self.encoder.clone(),
            device: self.device.clone(),
            recipe: self.recipe(&description)?,
        })
    }
}

/// Trains.
///
/// # Errors
/// Where the corpus, the encoder or the run folder cannot be had, or the training fails.
pub fn run(args: Args) -> Result<()> {
    let runs = runs_folder(args.runs.as_deref())?;
    let name = corpus::name_of(&args.dataset)?;
    let resumed = match &args.resume {
        Some(wanted) => Some(find_unfinished(&runs, &name, wanted)?),
        None => None,
    };
    let mut plan = match &resumed {
        Some((_, record)) => record.plan.clone(),
        None => args.plan()?,
    };
    let stop = interrupt::stop_flag("stopping after this step")?;
    let device = find_device(&plan.device)?;
    let kind = plan.recipe.precision.resolve(device)?;
    let corpus = corpus::load(&plan.dataset, &plan.place())?;
    corpus.check_faults(Faults { lenient: plan.lenient })?;
    let files = ner_hub::resolve_encoder(&plan.encoder, &corpus::hub_options())?;
    let labels = LabelSet::new(plan.recipe.tag_scheme, &corpus.labels);
    let Pretrained { config, config_json, parameters, unexpected } =
        load_encoder(&files.config, &files.weights, &labels, plan.recipe.seed)?;
    plan.recipe.max_tokens = plan.recipe.max_tokens.min(config.max_position_embeddings as usize);
    let reading = Reading {
        window: plan.recipe.window_size(),
        line_boundaries: corpus.description.line_boundaries,
        decision: Decision::Together,
        categories: corpus.description.categories.clone(),
    };
    let encoder = TextEncoder::from_folder(&files.dir, reading.window)?;

    let split = |split: Split| EncodedSplit::new(&encoder, &corpus.splits.get(split).documents);
    let (train, dev, test) = (split(Split::Train)?, split(Split::Dev)?, split(Split::Test)?);
    let data = TrainingSet::new(&encoder, train.documents, &train.encoded, &labels);
    let misfits = count_misfits([&train, &dev, &test], &labels);
    report_misfits(&misfits);
    let mut trainer = Trainer::new(&plan.recipe, &config, &parameters, &data, device)?;
    drop(parameters);

    let encoder_record = EncoderRecord::of(&files, unexpected)?;
    let corpus_record = CorpusRecord::of(&corpus, misfits);
    let (folder, mut record) = match resumed {
        Some((folder, mut record)) => {
            if record.encoder.sha256 != encoder_record.sha256 || record.corpus != corpus_record {
                bail!(
                    "run {} cannot be resumed: its encoder or corpus is not what it was; see its run.json",
                    record.run
                );
            }
            record.resumed_at.push(now());
            (folder, record)
        }
        None => {
            let folder = RunFolder::create(&runs, &name, plan.recipe.seed).with_context(|| {
                format!("no run folder can be made in {}; --runs names another place", runs.display())
            })?;
            let record = RunRecord {
                run: folder.id(),
                plan: plan.clone(),
                labels: labels.clone(),
                device: format!("{device:?}"),
                compute: format!("{kind:?}"),
                threads: tch::get_num_threads(),
                encoder: encoder_record,
                corpus: corpus_record,
                code: CodeRecord::of_this_process(),
                started_at: now(),
                resumed_at: Vec::new(),
                finished_at: None,
            };
            (folder, record)
        }
    };
    folder.write_run(&record)?;
    save_tokenizer(&folder.model(), &encoder, &files.dir)?;
    info!("run {} on {device:?} in {kind:?}: {}", record.run, folder.path().display());

    let progress = restore_state(&folder.state(), &mut trainer)?;
    if let Some(progress) = &progress {
        info!("resuming after epoch {}", progress.epoch);
    }
    let format_options = corpus.description.format_options.clone();
    let format = corpus.origin.format;
    let model = Model { config, config_json, labels, encoder, reading, format, format_options, device, kind };
    train_epochs(&model, &record, &folder, &mut trainer, &dev, progress.and_then(|progress| progress.best), &stop)?;
    let outcome = finish(&model, &folder, [&dev, &test])?;
    record.finished_at = Some(now());
    folder.write_run(&record)?;
    eval::print(&name, Split::Test, &record.run, &outcome.test, args.format)
}

/// What a run predicts with, apart from the weights.
struct Model {
    config: BertConfig,
    config_json: serde_json::Value,
    labels: LabelSet,
    encoder: TextEncoder,
    reading: Reading,
    /// Format of the corpus, which predictions are written in.
    format: Format,
    format_options: FormatOptions,
    device: Device,
    kind: Kind,
}

/// Trains to the last epoch: after each, evaluates on dev, keeps the model where it is the best so far, and saves the
/// state to resume from. `best` is the best epoch so far and its dev F1.
fn train_epochs(
    model: &Model,
    record: &RunRecord,
    folder: &RunFolder,
    trainer: &mut Trainer<'_>,
    dev: &EncodedSplit<'_>,
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
                let run = &record.run;
                bail!("stopped in epoch {epoch}; go on with: train {} --resume {run}", plan.dataset);
            }
        }
        let train_ms = begin.elapsed().as_secs_f64() * 1e3;
        let tagger = Tagger::new(&model.config, &model.labels, trainer.weights(), model.device, model.kind)?;
        let recognizer = Recognizer::new(tagger, model.encoder.clone(), model.reading.clone());
        let probabilities = bar.suspend(|| probabilities(&recognizer, dev, "dev"));
        let lines = model.reading.line_boundaries;
        let offsets = match plan.recipe.thresholds {
            true => threshold::choose(dev, &probabilities, &model.labels, lines),
            false => vec![0.0; model.labels.len()],
        };
        let predicted = dev.with_mentions(threshold::decode(dev, &probabilities, &model.labels, &offsets, lines));
        let scores = score_documents(dev.documents, &predicted)?.scores;
        let f1 = scores.overall.f1.unwrap_or(0.0);
        let is_best = best.is_none_or(|(_, best)| f1 > best);
        if is_best {
            best = Some((epoch, f1));
            let weights = trainer.weights().with_label_offsets(&offsets)?;
            save_token_classifier(&folder.model(), &model.config_json, &model.labels, &model.reading, &weights)?;
        }
        let report = EpochReport {
            epoch,
            loss: losses / f64::from(steps),
            tokens,
            train_ms,
            dev_ms: begin.elapsed().as_secs_f64() * 1e3 - train_ms,
            label_offsets: &offsets,
            dev: &scores,
            best: is_best,
        };
        metrics.append("epoch", &report)?;
        save_state(&folder.state(), trainer, best)?;
        let rate = tokens as f64 / train_ms * 1e3;
        let mark = if is_best { " (best)" } else { "" };
        bar.suspend(|| {
            info!("epoch {epoch}: loss {:.4}, dev F1 {:.2}{mark}, {rate:.0} tokens/s", report.loss, 100.0 * f1)
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
    /// What dev chose to add to the logit of each label; it is in the bias of the model that is saved.
    label_offsets: &'s [f32],
    dev: &'s Scores,
    best: bool,
}

/// `scores.json`.
#[derive(Serialize)]
struct Outcome {
    dev: Scores,
    test: Scores,
}

/// Scores the best model, as it was saved, and keeps its test predictions.
fn finish(model: &Model, folder: &RunFolder, [dev, test]: [&EncodedSplit<'_>; 2]) -> Result<Outcome> {
    let recognizer = Recognizer::load(&folder.model(), model.device, model.kind)?;
    let on_dev = predict(&recognizer, dev, "dev");
    let on_test = predict(&recognizer, test, "test");
    let outcome = Outcome {
        dev: score_documents(dev.documents, &on_dev)?.scores,
        test: score_documents(test.documents, &on_test)?.scores,
    };
    write_predictions(&folder.path().join("predictions"), &on_test, model.format, &model.format_options)?;
    folder.write_json("scores.json", &outcome)?;
    Ok(outcome)
}

/// Writes the predictions for the test split in the format of the corpus, and says what it cannot express.
fn write_predictions(folder: &Path, documents: &[Document], format: Format, options: &FormatOptions) -> Result<()> {
    let place =
        if format.is_folder() { folder.join("test") } else { folder.join(format!("test.{}", format.extension())) };
    if place.is_dir() {
        // Of a process that was killed between writing them and the end of its run.
        fs_err::remove_dir_all(&place)?;
    }
    let report = format.write(&place, documents, options)?;
    for (item, tally) in report.items.iter().filter(|(_, tally)| tally.moved + tally.lost > 0) {
        info!("predictions as {format}: {item}: {} moved, {} lost", tally.moved, tally.lost);
    }
    Ok(())
}

impl CorpusRecord {
    fn of(corpus: &Corpus, misfits: Splits<usize>) -> Self {
        Self {
            origin: corpus.origin.clone(),
            documents: corpus.splits.map(|_, split| split.documents.len()),
            mentions: corpus.splits.map(|_, split| split.documents.iter().map(|d| d.mentions.len()).sum()),
            dropped: corpus.dropped.clone(),
            misfits,
        }
    }
}

fn count_misfits([train, dev, test]: [&EncodedSplit<'_>; 3], labels: &LabelSet) -> Splits<usize> {
    let count = |split: &EncodedSplit<'_>| {
        let pairs = split.documents.iter().zip(&split.encoded);
        pairs.map(|(document, encoded)| align(&encoded.word_spans(), &document.mentions, labels).misfits.len()).sum()
    };
    Splits { train: count(train), dev: count(dev), test: count(test) }
}

fn report_misfits(misfits: &Splits<usize>) {
    for (split, &count) in misfits.iter().filter(|(_, count)| **count > 0) {
        warn!(
            "{count} mentions of the {split} split cannot be said by tags on word pieces; `data --list-misfits` lists them"
        );
    }
}

/// The files that a tokenizer needs to be opened elsewhere, beside the model.
fn save_tokenizer(model: &Path, encoder: &TextEncoder, source: &Path) -> Result<()> {
    fs_err::create_dir_all(model)?;
    encoder.save(&model.join("tokenizer.json"))?;
    for name in ["tokenizer_config.json", "special_tokens_map.json", "vocab.txt"] {
        if source.join(name).is_file() {
            fs_err::copy(source.join(name), model.join(name))?;
        }
    }
    Ok(())
}

fn find_unfinished(runs: &Path, dataset: &str, wanted: &str) -> Result<(RunFolder, RunRecord)> {
    let folder = match wanted {
        "latest" => RunFolder::newest(runs, dataset)?,
        _ => RunFolder::find(runs, dataset, wanted)?,
    };
    let record: RunRecord = folder.read_run()?;
    if let Some(finished) = &record.finished_at {
        bail!("run {} ended at {finished}; there is nothing to resume", record.run);
    }
    Ok((folder, record))
}
