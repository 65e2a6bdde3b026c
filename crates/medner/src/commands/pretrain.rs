//! `medner pretrain`: trains an encoder further on plain text.

use crate::OutputFormat;
use crate::args::{Columns, TextColumns, TrackingArgs, kind_name, precision};
use crate::terminal::interrupt;
use crate::terminal::stdout::{print_json, stdout};
use anyhow::{Context, Result, ensure};
use ner_experiment::input::Kind;
use ner_experiment::models::DEFAULT_ENCODER;
use ner_experiment::pretrain::{Budget, PretrainJob, PretrainPlan, find_unfinished, pretrain};
use ner_experiment::recipe_file::parse;
use ner_experiment::record::runs_folder;
use ner_experiment::tracking::Tracking;
use ner_model::Precision;
use ner_runs::Store;
use ner_train::pretrain::{Evaluation, PretrainRecipe};
use serde_json::json;
use std::io::Write;
use std::path::PathBuf;

/// Train an encoder further on plain text, so that it knows the words and phrases of your field before `train`.
///
/// The model learns to predict masked pieces from their context (Gururangan et al. 2020, "Don't stop pretraining"). It
/// needs no labels. The result is the folder `model` of the run: `train --encoder FOLDER` takes it, and transformers
/// opens it as AutoModelForMaskedLM.
///
/// Every row is full: documents follow each other with a separator between them, so a row may hold the end of one and
/// the beginning of the next, and attention crosses that bound.
///
/// Ctrl-C saves the last step. A killed training repeats at most the steps since the last measurement, with the same
/// result.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  medner pretrain notes/ --hours 2                               two hours on your notes, with minilm
  medner pretrain text/*.jsonl.gz --epochs 1 --whole-words       one pass, masking whole words
  medner pretrain text/ --exclude bc5cdr --steps 20000           without the documents of BC5CDR's dev and test splits
  medner pretrain --resume latest                                continue an interrupted training
  medner train bc5cdr --encoder experiments/runs/pretrain/RUN/model")]
pub struct Args {
    /// Files and folders with text, in any format that `annotate` reads
    #[arg(value_name = "INPUT", required_unless_present = "resume")]
    inputs: Vec<PathBuf>,
    /// Encoder: a name that `doctor` lists, a hub id (owner/name), or a folder
    #[arg(long, value_name = "ENCODER", default_value = DEFAULT_ENCODER)]
    encoder: String,
    /// Leave out documents of a corpus's dev and test splits, or of SPLIT (train, dev, test; several with commas): those
    /// with the same id, the same text, or 20 consecutive words of it; repeatable
    #[arg(long, value_name = "CORPUS[:SPLIT]")]
    exclude: Vec<String>,
    /// Number of steps
    #[arg(long, value_name = "N", group = "budget")]
    steps: Option<usize>,
    /// Passes over the text [default: 1, if neither --steps nor --hours is given]
    #[arg(long, value_name = "N", group = "budget")]
    epochs: Option<f64>,
    /// Hours of training, without the time for measurements
    #[arg(long, value_name = "N", group = "budget")]
    hours: Option<f64>,
    /// Mask whole words instead of single pieces
    #[arg(long)]
    whole_words: bool,
    /// Random seed; with the same seed and number of threads, CPU runs are identical bit for bit
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Peak learning rate
    #[arg(long, value_name = "RATE")]
    learning_rate: Option<f64>,
    /// Compute precision: auto, fp32, bf16 or fp16 (CUDA only)
    #[arg(long, value_name = "PRECISION", value_parser = precision)]
    precision: Option<Precision>,
    /// auto, cpu or cuda:N
    #[arg(long, default_value = "auto")]
    device: String,
    /// Settings as TOML; options on the command line override it
    #[arg(long, value_name = "FILE.toml")]
    config: Option<PathBuf>,
    /// Skip what cannot be read instead of failing
    #[arg(long)]
    lenient: bool,
    /// Format of the inputs [default: detected, else plain text]
    #[arg(long, value_name = "FORMAT", value_parser = kind_name())]
    from: Option<Kind>,
    #[command(flatten)]
    text_columns: TextColumns,
    /// Continue an interrupted training: its id, its folder, or latest
    #[arg(long, value_name = "RUN", conflicts_with_all = ["inputs", "encoder", "exclude", "budget", "whole_words", "seed",
        "learning_rate", "precision", "device", "config", "lenient", "from", "text_column", "id_column"])]
    resume: Option<String>,
    /// Folder of runs [default: experiments/runs of the checkout]
    #[arg(long, value_name = "DIR")]
    runs: Option<PathBuf>,
    #[command(flatten)]
    tracking: TrackingArgs,
    /// Output format of the result
    #[arg(long, default_value = "table")]
    format: OutputFormat,
}

impl Args {
    fn plan(&self) -> Result<PretrainPlan> {
        let mut recipe = match &self.config {
            None => PretrainRecipe::default(),
            Some(path) => {
                let place = path.display().to_string();
                let text = fs_err::read_to_string(path)?;
                parse(toml::from_str(&text).with_context(|| format!("{place} is not valid TOML"))?, &place)?
            }
        };
        recipe.seed = self.seed.unwrap_or(recipe.seed);
        recipe.whole_words |= self.whole_words;
        recipe.learning_rate = self.learning_rate.unwrap_or(recipe.learning_rate);
        recipe.precision = self.precision.unwrap_or(recipe.precision);
        let budget = match (self.steps, self.hours) {
            (Some(steps), _) => Budget::Steps(steps),
            (_, Some(hours)) => Budget::Hours(hours),
            _ => Budget::Epochs(self.epochs.unwrap_or(1.0)),
        };
        let is_there = match budget {
            Budget::Steps(steps) => steps > 0,
            Budget::Epochs(amount) | Budget::Hours(amount) => amount > 0.0 && amount.is_finite(),
        };
        ensure!(is_there, "--steps, --epochs and --hours must be above 0");
        let inputs = self.inputs.iter().map(|path| path.canonicalize().unwrap_or_else(|_| path.clone()));
        // Without CoNLL's columns, which say where the words are: its texts are few.
        let options = self.text_columns.options(Columns::default());
        Ok(PretrainPlan {
            // Absolute, because a resumed training may start in another folder.
            inputs: inputs.collect(),
            from: self.from.map(|kind| kind.to_string()),
            text_column: options.text_column,
            id_column: options.id_column,
            lenient: self.lenient,
            exclude: self.exclude.clone(),
            encoder: self.encoder.clone(),
            device: self.device.clone(),
            budget,
            recipe,
        })
    }
}

/// Runs the command.
///
/// # Errors
/// If the text or the encoder is missing, or the training fails or is stopped.
pub fn run(args: Args) -> Result<()> {
    let store = Store::new(runs_folder(args.runs.as_deref())?);
    let tracking = Tracking::for_training(args.tracking.wanted())?;
    let stop = interrupt::stop_flag("stopping after this step")?;
    let job = match &args.resume {
        Some(wanted) => PretrainJob::Resume(find_unfinished(&store, wanted)?),
        None => PretrainJob::New(Box::new(args.plan()?)),
    };
    let (folder, outcome) = pretrain(job, &store, &tracking, &stop)?;
    let model = folder.model();
    if args.format == OutputFormat::Json {
        return print_json(&json!({ "run": folder.id(), "model": model, "scores": outcome }));
    }
    let mut out = stdout();
    let mut row = |name: &str, value: String| writeln!(out, "{name:<22} {value}");
    row("run", folder.id())?;
    row("steps", outcome.steps.to_string())?;
    for (name, measured) in [("perplexity before", outcome.before), ("perplexity after", outcome.dev)] {
        if let Some(Evaluation { perplexity, accuracy, .. }) = measured {
            row(name, format!("{perplexity:.2} ({:.1} % of the masked pieces are right)", 100.0 * accuracy))?;
        }
    }
    row("model", model.display().to_string())?;
    Ok(out.flush()?)
}
