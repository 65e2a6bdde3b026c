//! `medner eval`: scores the model of a run on a split of its corpus.

use crate::corpus::{self, Corpus, Faults};
use crate::detail::{Detail, DetailArgs, JSON_KEYS};
use crate::predict::{EncodedSplit, TextForm, keep_predictions, predict};
use crate::run_record::{CodeRecord, EvalPlan, EvalRecord, HardwareRecord, RunRecord, now, runs_folder};
use crate::{OutputFormat, score_table, stdout};
use anyhow::Result;
use ner_data::{Document, Split, TextEncoder, WindowSize};
use ner_eval::{Intervals, PairedDocuments, Resampling, Scores, bootstrap_intervals};
use ner_model::{Recognizer, find_device};
use ner_runs::{Lock, RunFolder};
use serde::Serialize;
use serde_json::json;
use std::io::Write;
use std::path::{Path, PathBuf};
use tracing::{info, warn};

/// Score the model of a run on a split of its corpus
#[derive(clap::Args, Debug)]
#[command(after_help = format!("\
Examples:
  medner eval bc5cdr                              the newest run, test split
  medner eval bc5cdr --detail                     also on what it fails
  medner eval bc5cdr --run 20260102T030405Z-seed1 --split dev --format json

{JSON_KEYS}"))]
pub struct Args {
    /// Corpus: a name (`medner doctor` lists them) or the path of a dataset.toml
    dataset: String,
    /// Run: its id, its folder, or latest
    #[arg(long, default_value = "latest")]
    run: String,
    /// Split to score
    #[arg(long, default_value = "test", value_parser = split)]
    split: Split,
    /// Pack whole sentences into windows of so many tokens, instead of those that the model was chosen with
    #[arg(long, value_name = "TOKENS")]
    window: Option<usize>,
    /// Write the documents with predicted mentions, in the format of the corpus
    #[arg(long, value_name = "PATH")]
    out: Option<PathBuf>,
    #[command(flatten)]
    detail: DetailArgs,
    /// Keep the predictions with their text, too, in the record of the evaluation
    #[arg(long)]
    keep_text: bool,
    /// Form of the scores
    #[arg(long, default_value = "table")]
    format: OutputFormat,
    /// auto, cpu or cuda:N
    #[arg(long, default_value = "auto")]
    device: String,
    /// Where runs are kept (default: experiments/runs of the checkout)
    #[arg(long, value_name = "DIR")]
    runs: Option<PathBuf>,
}

/// Reads the name of a split that models are measured on.
///
/// # Errors
/// Where it is none.
pub fn split(text: &str) -> Result<Split, String> {
    match text {
        "dev" => Ok(Split::Dev),
        "test" => Ok(Split::Test),
        _ => Err("splits to score are dev and test".to_owned()),
    }
}

/// Evaluates.
///
/// # Errors
/// Where the run, its model or its corpus cannot be had.
pub fn run(args: Args) -> Result<()> {
    let runs = runs_folder(args.runs.as_deref())?;
    let folder = RunFolder::find(&runs, &corpus::name_of(&args.dataset)?, &args.run)?;
    let record: RunRecord = folder.read_run()?;
    let device = find_device(&args.device)?;
    let recognizer = Recognizer::load(&folder.model(), device, record.plan.recipe.precision.resolve(device)?)?;
    let corpus = corpus::load(&record.plan.dataset, &record.plan.place())?;
    corpus.check_faults(Faults { lenient: record.plan.lenient })?;
    let window = recognizer.reading().window;
    let window = WindowSize { packed: args.window.unwrap_or(window.packed), ..window };
    let encoder = TextEncoder::from_folder(&folder.model(), window)?;
    let split = EncodedSplit::new(&encoder, &corpus.splits.get(args.split).documents)?;
    let kept = Kept::begin(&runs, &corpus, &folder, &record, &args, window);
    let predicted = predict(&recognizer, &split, args.split.name());
    if let Some(path) = &args.out {
        corpus.origin.format.write(path, &predicted, &corpus.description.format_options)?;
    }
    let paired = PairedDocuments::new(split.documents, &predicted)?;
    let scored = paired.score();
    let detail = args.detail.detail.then(|| {
        Detail::of_documents(&paired, &scored.by_document, split.documents, args.detail.with_text).with_training(
            &paired,
            split.documents,
            &corpus.splits.train.documents,
            &split.encoded,
        )
    });
    let intervals = bootstrap_intervals(&scored.by_document, &Resampling::default());
    let report = Report {
        dataset: &corpus.description.name,
        split: args.split,
        run: &record.run,
        scores: &scored.scores,
        intervals: &intervals,
        detail,
    };
    match kept.and_then(|kept| kept.end(&corpus, &split, &predicted, &report)) {
        Ok(folder) => info!("recorded in {}", folder.path().display()),
        // Somebody else's runs can be scored, too.
        Err(error) => warn!("no record of this evaluation is kept: {error:#}"),
    }
    report.print(args.format)
}

/// The record of an evaluation: a folder beside those of the trainings.
struct Kept<'a> {
    folder: RunFolder,
    _lock: Lock,
    record: EvalRecord,
    args: &'a Args,
}

impl<'a> Kept<'a> {
    fn begin(
        runs: &Path,
        corpus: &Corpus,
        model: &RunFolder,
        training: &RunRecord,
        args: &'a Args,
        window: WindowSize,
    ) -> Result<Self> {
        let folder = RunFolder::create_named(runs, &corpus.description.name, "eval")?;
        let lock = folder.lock()?;
        let device = find_device(&args.device)?;
        let keep_text = args.keep_text || corpus.is_sample() || corpus.description.public;
        let plan = EvalPlan {
            run: training.run.clone(),
            split: args.split,
            window,
            keep_text,
            dataset: training.plan.dataset.clone(),
            labels: training.plan.labels.clone(),
            sample: training.plan.sample,
            lenient: training.plan.lenient,
            encoder: training.plan.encoder.clone(),
            recipe: training.plan.recipe.clone(),
        };
        let record = EvalRecord {
            run: folder.id(),
            kind: "eval".into(),
            plan,
            model_sha256: ner_hub::sha256_file(&model.model().join("model.safetensors"))?,
            corpus: corpus.origin.clone(),
            device: format!("{device:?}"),
            compute: format!("{:?}", training.plan.recipe.precision.resolve(device)?),
            threads: tch::get_num_threads(),
            code: CodeRecord::of_this_process(),
            hardware: HardwareRecord::of_this_machine(),
            started_at: now(),
            finished_at: None,
        };
        folder.write_run(&record)?;
        Ok(Self { folder, _lock: lock, record, args })
    }

    fn end(
        mut self,
        corpus: &Corpus,
        split: &EncodedSplit<'_>,
        predicted: &[Document],
        report: &Report<'_>,
    ) -> Result<RunFolder> {
        let text = self
            .record
            .plan
            .keep_text
            .then(|| TextForm { format: corpus.origin.format, options: corpus.description.format_options.clone() });
        keep_predictions(&self.folder, self.args.split, split.documents, predicted, text.as_ref())?;
        let name = self.args.split.name();
        let intervals = format!("{name}_intervals");
        self.folder.write_json("scores.json", &json!({ name: report.scores, intervals: report.intervals }))?;
        self.record.finished_at = Some(now());
        self.folder.write_run(&self.record)?;
        Ok(self.folder)
    }
}

/// Scores of a run on a split. Serialises to what `--format json` prints.
#[derive(Serialize)]
pub struct Report<'s> {
    /// Name of the corpus.
    pub dataset: &'s str,
    /// The split that was scored.
    pub split: Split,
    /// Id of the run.
    pub run: &'s str,
    /// Strict scores.
    #[serde(flatten)]
    pub scores: &'s Scores,
    /// Their bootstrap intervals, over documents.
    pub intervals: &'s Intervals,
    /// Of `--detail`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<Detail>,
}

impl Report<'_> {
    /// Prints the scores on stdout.
    ///
    /// # Errors
    /// Where stdout cannot be written.
    pub fn print(&self, format: OutputFormat) -> Result<()> {
        match format {
            OutputFormat::Json => stdout::print_json(self),
            OutputFormat::Table => {
                let mut out = stdout::stdout();
                let Self { dataset, split, run, .. } = self;
                writeln!(out, "{dataset}, {} split, run {run}: strict spans, in percent\n", split.name())?;
                score_table::print(self.scores, Some(self.intervals), &mut out)?;
                if let Some(detail) = &self.detail {
                    detail.print(&mut out)?;
                }
                Ok(out.flush()?)
            }
        }
    }
}
