//! Masked-language-model training of an encoder on a user's text, from a [`PretrainPlan`] to a run folder.

use crate::corpus;
use crate::life::{Resumed, Stopped, TrainingRecord, live, new_folder};
use crate::overlap::{Excluded, evaluation_texts};
use crate::progress;
use crate::record::{CodeRecord, EncoderRecord, HardwareRecord, RunLife};
use crate::texts::TextInputs;
use crate::tracking::Tracking;
use crate::train::save_tokenizer;
use anyhow::{Context, Result, ensure};
use ner_data::{Document, DocumentTokenizer, WindowSize};
use ner_model::{Pretrained, device_name, find_device, load_masked_lm, precision_name, save_masked_lm};
use ner_runs::{MetricsLog, RunFolder, Store};
use ner_train::pretrain::{Evaluation, PretrainRecipe, PretrainText, Pretrainer};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;
use tracing::{info, warn};

/// The kind of these runs, and the name of their folder in the store.
pub const PRETRAINING: &str = "pretrain";

/// How long to train.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Budget {
    /// Number of steps.
    Steps(usize),
    /// Passes over the text.
    Epochs(f64),
    /// Hours of training, without measurements. How many steps that is becomes known when the learning rate starts to
    /// fall.
    Hours(f64),
}

/// A resolved training: everything needed to repeat it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PretrainPlan {
    /// Files and folders with text.
    pub inputs: Vec<PathBuf>,
    /// Format of the inputs, if given.
    #[serde(default)]
    pub from: Option<String>,
    /// Column or key of the texts, if given.
    #[serde(default)]
    pub text_column: Option<String>,
    /// Column or key of the ids, if given.
    #[serde(default)]
    pub id_column: Option<String>,
    /// Whether to skip what cannot be read.
    pub lenient: bool,
    /// Corpora whose documents are left out, as in `bc5cdr:dev,test`.
    #[serde(default)]
    pub exclude: Vec<String>,
    /// Encoder: a name, a hub id or a folder.
    pub encoder: String,
    /// Requested device.
    pub device: String,
    /// How long to train.
    pub budget: Budget,
    /// The hyperparameters.
    pub recipe: PretrainRecipe,
}

/// What was read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TextRecord {
    /// Documents to train on.
    pub documents: usize,
    /// Their tokens, without special tokens.
    pub tokens: usize,
    /// Documents that measure perplexity.
    pub held_out_documents: usize,
    /// Their tokens.
    pub held_out_tokens: usize,
    /// Documents left out.
    pub excluded: Vec<Excluded>,
    /// Documents or parts of the input that could not be read.
    pub unreadable: usize,
    /// SHA-256 of all pieces, those held out last.
    pub sha256: String,
}

/// `run.json` of a masked-language-model training.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PretrainRecord {
    /// Id of the run: the name of its folder.
    pub run: String,
    /// [`PRETRAINING`].
    pub kind: String,
    /// The resolved training.
    pub plan: PretrainPlan,
    /// Device name.
    pub device: String,
    /// Compute precision: `fp32`, `bf16` or `fp16`.
    pub compute: String,
    /// Threads of libtorch. On the CPU a run repeats bit for bit with the same number.
    pub threads: i32,
    /// The initial encoder.
    pub encoder: EncoderRecord,
    /// Whether the encoder had no head for masked-language-model training, so that it started random.
    pub new_head: bool,
    /// The text.
    pub text: TextRecord,
    /// The code.
    pub code: CodeRecord,
    /// The machine.
    pub hardware: HardwareRecord,
    /// Milliseconds to read and encode the text.
    pub prepare_ms: f64,
    /// When it began, went on and ended.
    #[serde(flatten)]
    pub life: RunLife,
}

impl TrainingRecord for PretrainRecord {
    fn life(&mut self) -> &mut RunLife {
        &mut self.life
    }
}

/// A training to run.
#[derive(Debug)]
pub enum PretrainJob {
    /// A new one.
    New(Box<PretrainPlan>),
    /// One to resume.
    Resume(RunFolder),
}

/// `scores.json`.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct PretrainOutcome {
    /// Steps taken.
    pub steps: usize,
    /// On held-out text, before the first step; `None` if nothing is held out, or the run was resumed.
    pub before: Option<Evaluation>,
    /// On held-out text, after the last step.
    pub dev: Option<Evaluation>,
}

/// Finds the run to resume: an id, a folder, or `latest`.
///
/// # Errors
/// If there is no such run.
pub fn find_unfinished(store: &Store, wanted: &str) -> Result<RunFolder> {
    if wanted == "latest" {
        let latest = store.list(Some(PRETRAINING))?.pop();
        return Ok(latest.with_context(|| format!("no run of pretrain in {}", store.path().display()))?.folder);
    }
    Ok(RunFolder::find(store.path(), PRETRAINING, wanted)?)
}

/// Trains, from the first or the last saved step to a model.
///
/// # Errors
/// If the text or the encoder is missing, or the training fails or is stopped ([`Stopped`]).
pub fn pretrain(
    job: PretrainJob,
    store: &Store,
    tracking: &Tracking,
    stop: &AtomicBool,
) -> Result<(RunFolder, PretrainOutcome)> {
    let (plan, resumed) = match job {
        PretrainJob::New(plan) => (*plan, None),
        PretrainJob::Resume(folder) => {
            let resumed: Resumed<PretrainRecord> = Resumed::open(folder)?;
            (resumed.record.plan.clone(), Some(resumed))
        }
    };
    let recipe = &plan.recipe;
    recipe.check().map_err(anyhow::Error::msg).context("invalid recipe")?;
    let device = find_device(&plan.device)?;
    let kind = recipe.precision.resolve(device)?;
    let files = ner_hub::resolve_encoder(&plan.encoder, &corpus::hub_options())?;
    let (Pretrained { config, config_json, parameters, unexpected }, new_head) =
        load_masked_lm(&files.config, &files.weights, recipe.seed)?;
    if new_head {
        warn!("{} has no head for masked-language-model training; a new one starts from random weights", files.name);
    }
    let window = WindowSize { max_tokens: recipe.max_tokens, overlap: 0, packed: recipe.max_tokens };
    let tokenizer = DocumentTokenizer::from_folder(&files.dir, window)?.with_embeddings(config.vocab_size as usize)?;
    let mask_id = tokenizer.mask_id().with_context(|| format!("the tokenizer of {} has no mask token", files.name))?;

    let begin = Instant::now();
    let Text { train, dev, record: text } = read_text(&plan, &tokenizer, stop)?;
    let (prefix, suffix) = tokenizer.special_ids();
    let mut trainer = Pretrainer::new(recipe, &config, &parameters, &train, (prefix, suffix, mask_id), device)?;
    drop(parameters);
    match plan.budget {
        Budget::Steps(steps) => trainer.end_at(steps),
        Budget::Epochs(epochs) => trainer.end_at((epochs * trainer.steps_per_epoch() as f64).ceil() as usize),
        Budget::Hours(_) => {}
    }
    let prepare_ms = begin.elapsed().as_secs_f64() * 1e3;

    let encoder_record = EncoderRecord::of(&files, unexpected)?;
    // The lock lives as long as the training.
    let (folder, _lock, mut record) = match resumed {
        Some(Resumed { folder, lock, record }) => {
            ensure!(
                record.encoder.sha256 == encoder_record.sha256 && record.text == text,
                "cannot resume run {}: its encoder or text has changed; see its run.json",
                record.run
            );
            (folder, lock, record)
        }
        None => {
            let (folder, lock) = new_folder(store, PRETRAINING, recipe.seed)?;
            let record = PretrainRecord {
                run: folder.id(),
                kind: PRETRAINING.into(),
                plan: plan.clone(),
                device: device_name(device),
                compute: precision_name(kind),
                threads: tch::get_num_threads(),
                encoder: encoder_record,
                new_head,
                text,
                code: CodeRecord::of_this_process(),
                hardware: HardwareRecord::of_this_machine(),
                prepare_ms,
                life: RunLife::begin(),
            };
            (folder, lock, record)
        }
    };
    folder.write_run(&record)?;
    info!("run {} on {} in {}: {}", record.run, record.device, record.compute, folder.path().display());

    let outcome = live(&folder, &mut record, tracking, |record, follow| {
        save_tokenizer(&folder.model(), &tokenizer, &files.dir)?;
        if let Some(progress) = trainer.restore_state(&folder.state())? {
            info!("resuming after step {}", progress.step);
        }
        // Cut back before a tracker reads metrics of steps that are repeated.
        drop(folder.metrics_until_step(trainer.steps_taken())?);
        follow()?;
        let save = |trainer: &Pretrainer<'_>| -> Result<()> {
            save_masked_lm(&folder.model(), &config, &config_json, trainer.weights())?;
            Ok(trainer.save_state(&folder.state())?)
        };
        let outcome = take_steps(record, &folder, &mut trainer, &dev, &save, stop)?;
        folder.write_json("scores.json", &outcome)?;
        Ok(outcome)
    })?;
    Ok((folder, outcome))
}

/// The line of a measurement in `metrics.jsonl`.
#[derive(Serialize)]
struct Measured {
    step: usize,
    epoch: usize,
    dev: Evaluation,
    dev_ms: f64,
}

/// Takes steps until the budget is used up. Every so many steps, measures perplexity and saves the model and the state.
fn take_steps(
    record: &PretrainRecord,
    folder: &RunFolder,
    trainer: &mut Pretrainer<'_>,
    dev: &PretrainText,
    save: &impl Fn(&Pretrainer<'_>) -> Result<()>,
    stop: &AtomicBool,
) -> Result<PretrainOutcome> {
    let PretrainPlan { recipe, budget, .. } = &record.plan;
    let mut metrics = folder.metrics_until_step(trainer.steps_taken())?;
    let bar = progress::steps("pretraining", 0);
    let mut outcome = PretrainOutcome { steps: 0, before: None, dev: None };
    if trainer.steps_taken() == 0 {
        outcome.before = measure(trainer, dev, 0, &mut metrics)?;
        if let Some(dev) = outcome.before {
            info!("before training: dev perplexity {:.2}", dev.perplexity);
        }
    }
    let (mut losses, mut since, mut tokens, mut time_ms) = (0.0, 0, 0, 0.0);
    loop {
        let done = trainer.total_steps().is_some_and(|total| trainer.steps_taken() >= total);
        if !done {
            let step = trainer.take_step()?;
            metrics.append("step", &step)?;
            (losses, since) = (losses + step.loss, since + 1);
            (tokens, time_ms) = (tokens + step.tokens, time_ms + step.elapsed_ms);
            if let Budget::Hours(hours) = budget
                && trainer.total_steps().is_none()
                && trainer.elapsed_ms() >= (1.0 - recipe.decay) * hours * 3.6e6
            {
                let total = (step.step as f64 / (1.0 - recipe.decay)).ceil() as usize;
                trainer.end_at(total);
                info!("the learning rate falls from now on; the training ends after step {total}");
            }
            let expected = match (trainer.total_steps(), budget) {
                (None, Budget::Hours(hours)) => hours * 3.6e6 / trainer.elapsed_ms() * step.step as f64,
                (total, _) => total.unwrap_or_default() as f64,
            };
            bar.set_length(expected as u64);
            bar.set_position(step.step as u64);
            bar.set_message(format!("epoch {} loss {:.4}", step.epoch, losses / f64::from(since)));
        }
        let total = trainer.total_steps();
        let done = done || total.is_some_and(|total| trainer.steps_taken() >= total);
        if stop.load(Ordering::Relaxed) && !done {
            bar.finish_and_clear();
            save(trainer)?;
            let resume = format!("pretrain --resume {}", record.run);
            return Err(Stopped::at(format!("after step {}", trainer.steps_taken()), resume).into());
        }
        if done || trainer.steps_taken().is_multiple_of(recipe.every) {
            let epoch = trainer.steps_taken() / trainer.steps_per_epoch() + 1;
            outcome.dev = bar.suspend(|| measure(trainer, dev, epoch, &mut metrics))?;
            save(trainer)?;
            let of = total.map_or_else(String::new, |total| format!("/{total}"));
            let dev = outcome.dev.map_or_else(String::new, |dev| format!(", dev perplexity {:.2}", dev.perplexity));
            let rate = f64::from(tokens as u32) / time_ms * 1e3;
            let loss = losses / f64::from(since);
            bar.suspend(|| {
                info!("step {}{of}: loss {loss:.4}{dev}, {rate:.0} tokens/s", trainer.steps_taken());
            });
            (losses, since, tokens, time_ms) = (0.0, 0, 0, 0.0);
        }
        if done {
            bar.finish_and_clear();
            outcome.steps = trainer.steps_taken();
            return Ok(outcome);
        }
    }
}

/// Measures perplexity, if text is held out.
fn measure(
    trainer: &mut Pretrainer<'_>,
    dev: &PretrainText,
    epoch: usize,
    metrics: &mut MetricsLog,
) -> Result<Option<Evaluation>> {
    let begin = Instant::now();
    let Some(dev) = trainer.evaluate(dev) else { return Ok(None) };
    let dev_ms = begin.elapsed().as_secs_f64() * 1e3;
    metrics.append("measurement", &Measured { step: trainer.steps_taken(), epoch, dev, dev_ms })?;
    Ok(Some(dev))
}

/// The text of a training.
struct Text {
    train: PretrainText,
    dev: PretrainText,
    record: TextRecord,
}

/// Reads and tokenizes all inputs.
fn read_text(plan: &PretrainPlan, tokenizer: &DocumentTokenizer, stop: &AtomicBool) -> Result<Text> {
    let mut excluded = plan.exclude.iter().map(|name| evaluation_texts(name)).collect::<Result<Vec<_>>>()?;
    let inputs = TextInputs {
        paths: &plan.inputs,
        from: plan.from.as_deref(),
        text_column: plan.text_column.as_deref(),
        id_column: plan.id_column.as_deref(),
        lenient: plan.lenient,
    };
    let mut text = Text { train: PretrainText::default(), dev: PretrainText::default(), record: TextRecord::default() };
    text.record.unreadable =
        inputs.read(&mut excluded, stop, |documents| text.add(&documents, tokenizer, plan.recipe.held_out))?;
    text.finish(excluded.into_iter().map(|(counts, _)| counts).collect(), plan.recipe.held_out)
}

impl Text {
    /// Tokenizes documents and adds them.
    fn add(&mut self, documents: &[Document], tokenizer: &DocumentTokenizer, held_out: f64) -> Result<()> {
        for (document, encoded) in documents.iter().zip(tokenizer.encode(documents)?) {
            if is_held_out(&document.id, held_out) { &mut self.dev } else { &mut self.train }.push(&encoded);
        }
        Ok(())
    }

    /// Completes the record and reports it.
    fn finish(mut self, excluded: Vec<Excluded>, held_out: f64) -> Result<Self> {
        let mut sha256 = Sha256::new();
        for text in [&self.train, &self.dev] {
            text.input_ids().iter().for_each(|id| sha256.update(id.to_le_bytes()));
        }
        let record = &mut self.record;
        record.sha256 = sha256.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        (record.documents, record.tokens) = (self.train.documents(), self.train.input_ids().len());
        (record.held_out_documents, record.held_out_tokens) = (self.dev.documents(), self.dev.input_ids().len());
        record.excluded = excluded;
        info!(
            "{} documents with {} tokens; {} more documents held out to measure perplexity",
            record.documents, record.tokens, record.held_out_documents
        );
        for Excluded { from, by_id, by_text } in &record.excluded {
            info!("left out {} documents of {from}: {by_id} by id, {by_text} by text", by_id + by_text);
        }
        ensure!(record.documents > 0, "the inputs have no text");
        ensure!(
            held_out == 0.0 || record.held_out_documents > 0,
            "held_out = {held_out} holds out none of {} documents; raise it, or set it to 0 to measure no perplexity",
            record.documents
        );
        Ok(self)
    }
}

/// Whether a document is held out: by a hash of its id, so that the same documents are in every training.
fn is_held_out(id: &str, share: f64) -> bool {
    let hash: [u8; 32] = Sha256::digest(id.as_bytes()).into();
    let number = u32::from_le_bytes([hash[0], hash[1], hash[2], hash[3]]);
    f64::from(number) < share * f64::from(u32::MAX)
}
