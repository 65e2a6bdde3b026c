//! `medner eval`: scores the model of a run on a split of its corpus.

use crate::OutputFormat;
use crate::terminal::detail::{Detail, DetailArgs, JSON_KEYS};
use crate::terminal::{assertion_table, concept_table, score_table, stdout};
use crate::vocabularies::LinkArgs;
use anyhow::{Result, bail, ensure};
use ner_annotate::{Annotator, Combination, Model};
use ner_data::{Document, DocumentTokenizer, Split, WindowSize};
use ner_eval::{Intervals, PairedDocuments, Resampling, Scores, bootstrap_intervals};
use ner_experiment::assertion::{Systems, assertions_as_types};
use ner_experiment::corpus::{self, Corpus};
use ner_experiment::linking::{GoldLinks, LinkScores};
use ner_experiment::plan::TrainOn;
use ner_experiment::predict::{EncodedSplit, TextForm, keep_predictions, predict, predict_together};
use ner_experiment::record::{CodeRecord, EvalPlan, EvalRecord, HardwareRecord, RunRecord, now, runs_folder};
use ner_model::{AssertionClassifier, Head, Recognizer, device_name, find_device, precision_name};
use ner_runs::{Lock, RunFolder};
use serde::Serialize;
use serde_json::json;
use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use tracing::{info, warn};

/// Score a run's model on a split of its corpus
#[derive(clap::Args, Debug)]
#[command(after_help = format!("\
Examples:
  medner eval bc5cdr                              the newest run, test split
  medner eval bc5cdr --detail                     with an error analysis
  medner eval bc5cdr --run 20260102T030405Z-seed1 --split dev --format json
  medner eval bc5cdr --vocabulary Disease=medic.voc --vocabulary Chemical=mesh.voc --candidates 5   links, too
  medner eval bc5cdr --run ID --run ID --run ID   an ensemble of several runs with one label set

{JSON_KEYS}"))]
pub struct Args {
    /// Corpus: a name (`medner doctor` lists them) or the path of a dataset.toml
    dataset: String,
    /// Run: its id, its folder, or latest. Repeat it for an ensemble: probabilities are averaged if heads, labels and
    /// tokenizers are equal; otherwise mentions found by more than half of the runs are kept
    #[arg(long, default_value = "latest")]
    run: Vec<String>,
    /// Split to score
    #[arg(long, default_value = "test", value_parser = split)]
    split: Split,
    /// Pack whole sentences into windows of this many tokens [default: as recorded with the model]
    #[arg(long, value_name = "TOKENS")]
    window: Option<usize>,
    /// Write the documents with predicted mentions, in the corpus's format
    #[arg(long, value_name = "PATH")]
    out: Option<PathBuf>,
    #[command(flatten)]
    detail: DetailArgs,
    #[command(flatten)]
    linking: LinkArgs,
    /// Also keep the predictions with their text in the record of the evaluation
    #[arg(long)]
    keep_text: bool,
    /// Output format
    #[arg(long, default_value = "table")]
    format: OutputFormat,
    /// auto, cpu or cuda:N
    #[arg(long, default_value = "auto")]
    device: String,
    /// Folder of runs [default: experiments/runs of the checkout]
    #[arg(long, value_name = "DIR")]
    runs: Option<PathBuf>,
}

/// Parses the name of a split that models are measured on.
///
/// # Errors
/// If it is neither dev nor test.
pub fn split(text: &str) -> Result<Split, String> {
    match text {
        "dev" => Ok(Split::Dev),
        "test" => Ok(Split::Test),
        _ => Err("the split must be dev or test".to_owned()),
    }
}

/// Evaluates a run or an ensemble.
///
/// # Errors
/// If the run, its model or its corpus is missing.
pub fn run(args: Args) -> Result<()> {
    let runs = runs_folder(args.runs.as_deref())?;
    let members = Members::find(&runs, &args)?;
    let record = &members.records[0];
    let mut corpus = corpus::load(&record.plan.dataset, &record.plan.source())?;
    corpus.check_faults(record.plan.lenient)?;
    if record.plan.recipe.head() == Head::Assertion {
        assertions_as_types(&mut corpus)?;
    }
    corpus.check_gold(&[args.split])?;
    if args.split == Split::Dev && !members.train_on().is_train() {
        warn!("the run was trained on dev, so its dev scores say nothing about other texts");
    }
    if record.plan.recipe.head() == Head::Assertion {
        return score_assertions(&runs, &corpus, &members, &args);
    }
    // Opened first: a wrong name is said at once.
    let linkers = args.linking.open()?;
    let models = members.load(&args)?;
    let tokenizer = models[0].recognizer.tokenizer().clone();
    let split = EncodedSplit::of(&tokenizer, &corpus, args.split)?;
    let mut annotator = Annotator::new(models);
    if members.folders.len() > 1 {
        annotator = annotator.into_ensemble().map_err(anyhow::Error::msg)?;
    }
    let gold_links = linkers.as_ref().map(|linkers| GoldLinks::new(linkers, split.documents)).transpose()?;
    let combination = annotator.combination().map(Combination::name);
    let kept = Kept::begin(&runs, &corpus, &members, combination, tokenizer.window(), &args);
    let mut predicted = match annotator.combination() {
        None => predict(&annotator.models()[0].recognizer, &split, args.split.name()),
        Some(combination) => {
            info!("ensemble of {} runs, by {}", members.folders.len(), combination.name());
            predict_together(&annotator, &split, args.split.name())?
        }
    };
    let concepts = gold_links.map(|links| links.score(&mut predicted)).transpose()?;
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
        run: &members.name(),
        train_on: members.train_on(),
        scores: &scored.scores,
        intervals: &intervals,
        by_corpus: corpus.scores_by_part(args.split, &predicted)?,
        systems: None,
        concepts,
        detail,
    };
    finish(kept, &corpus, &split, &predicted, &report, args.format)
}

/// Records an evaluation if possible, and prints it.
fn finish(
    kept: Result<Kept<'_>>,
    corpus: &Corpus,
    split: &EncodedSplit<'_>,
    predicted: &[Document],
    report: &Report<'_>,
    format: OutputFormat,
) -> Result<()> {
    match kept.and_then(|kept| kept.end(corpus, split, predicted, report)) {
        Ok(folder) => info!("recorded in {}", folder.path().display()),
        // Other people's runs can be scored from a store that we cannot write to.
        Err(error) => warn!("this evaluation is not recorded: {error:#}"),
    }
    report.print(format)
}

/// Scores a run of `--task assertion`.
fn score_assertions(runs: &Path, corpus: &Corpus, members: &Members, args: &Args) -> Result<()> {
    let [folder] = members.folders.as_slice() else { bail!("runs of --task assertion form no ensemble; name one run") };
    let without_effect = args.window.is_some() || args.out.is_some() || args.detail.detail || args.keep_text;
    ensure!(
        !without_effect && !args.linking.vocabularies().are_given(),
        "--window, --out, --detail, --vocabulary and --keep-text have no effect on a run of --task assertion; \
         `assert --model` writes assertions"
    );
    let record = &members.records[0];
    let device = find_device(&args.device)?;
    let model = AssertionClassifier::load(&folder.model(), device, record.plan.recipe.precision.resolve(device)?)?;
    let split = EncodedSplit::of(model.tokenizer(), corpus, args.split)?;
    let kept = Kept::begin(runs, corpus, members, None, model.tokenizer().window(), args);
    let (systems, predicted) = Systems::score(&model, &split, args.split.name())?;
    let combined = systems.combined.clone();
    let report = Report {
        dataset: &corpus.description.name,
        split: args.split,
        run: &members.name(),
        train_on: members.train_on(),
        scores: &combined.scores,
        intervals: &combined.intervals,
        by_corpus: BTreeMap::new(),
        systems: Some(systems),
        concepts: None,
        detail: None,
    };
    finish(kept, corpus, &split, &predicted, &report, args.format)
}

/// The runs to score, one or an ensemble.
struct Members {
    folders: Vec<RunFolder>,
    records: Vec<RunRecord>,
}

impl Members {
    fn find(runs: &Path, args: &Args) -> Result<Self> {
        let name = corpus::name_of(&args.dataset)?;
        let folders: Vec<RunFolder> =
            args.run.iter().map(|wanted| RunFolder::find(runs, &name, wanted)).collect::<Result<_, _>>()?;
        let records: Vec<RunRecord> = folders.iter().map(RunFolder::read_run).collect::<Result<_, _>>()?;
        let corpus = |record: &RunRecord| {
            let plan = &record.plan;
            (plan.dataset.clone(), plan.data_dir.clone(), plan.sample, plan.labels.clone())
        };
        for (at, record) in records.iter().enumerate() {
            let twice = records[..at].iter().any(|known| known.run == record.run);
            ensure!(!twice, "run {} is named twice", record.run);
            ensure!(
                corpus(record) == corpus(&records[0]),
                "runs {} and {} differ in their corpus or labels; an ensemble needs the same ones",
                records[0].run,
                record.run
            );
        }
        Ok(Self { folders, records })
    }

    /// Loads their models, with the requested windows.
    fn load(&self, args: &Args) -> Result<Vec<Model>> {
        let device = find_device(&args.device)?;
        let load = |(folder, record): (&RunFolder, &RunRecord)| -> Result<Model> {
            let kind = record.plan.recipe.precision.resolve(device)?;
            let recognizer = Recognizer::load(&folder.model(), device, kind)?;
            let window = recognizer.inference().window;
            let window = WindowSize { packed: args.window.unwrap_or(window.packed), ..window };
            let tokenizer = DocumentTokenizer::from_folder(&folder.model(), window)?;
            Ok(Model::new(record.run.clone(), recognizer.with_tokenizer(tokenizer)))
        };
        self.folders.iter().zip(&self.records).map(load).collect()
    }

    /// The splits that any of them was trained on, if more than train.
    fn train_on(&self) -> TrainOn {
        let more = self.records.iter().map(|record| record.plan.train_on).find(|train_on| !train_on.is_train());
        more.unwrap_or_default()
    }

    fn name(&self) -> String {
        self.records.iter().map(|record| record.run.as_str()).collect::<Vec<_>>().join("+")
    }
}

/// The record of an evaluation: a folder beside the trainings.
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
        members: &Members,
        combination: Option<&'static str>,
        window: WindowSize,
        args: &'a Args,
    ) -> Result<Self> {
        let training = &members.records[0];
        let folder = RunFolder::create_named(runs, &corpus.description.name, "eval")?;
        let lock = folder.lock()?;
        let device = find_device(&args.device)?;
        let keep_text =
            corpus.rule_values.is_none() && (args.keep_text || corpus.is_sample() || corpus.description.public);
        let plan = EvalPlan {
            run: members.name(),
            ensemble: combination,
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
        let sum = |run: &RunFolder| ner_hub::sha256_file(&run.model().join("model.safetensors"));
        let sums: Vec<String> = members.folders.iter().map(sum).collect::<Result<_, _>>()?;
        let record = EvalRecord {
            run: folder.id(),
            kind: "eval".into(),
            plan,
            model_sha256: sums.join("+"),
            corpus: corpus.origin.clone(),
            device: device_name(device),
            compute: precision_name(training.plan.recipe.precision.resolve(device)?),
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
        let mut scores = json!({ name: report.scores, intervals: report.intervals });
        if let Some(systems) = &report.systems {
            scores["systems"] = json!({ name: systems });
        }
        if let Some(concepts) = &report.concepts {
            scores["concepts"] = json!({ name: concepts });
        }
        self.folder.write_json("scores.json", &scores)?;
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
    /// The splits it was trained on, if more than train.
    #[serde(skip_serializing_if = "TrainOn::is_train")]
    pub train_on: TrainOn,
    /// Strict scores.
    #[serde(flatten)]
    pub scores: &'s Scores,
    /// Bootstrap intervals of the scores, over documents.
    pub intervals: &'s Intervals,
    /// With several corpora, the scores of each on the types that it annotates.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub by_corpus: BTreeMap<String, Scores>,
    /// For a run of `--task assertion`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub systems: Option<Systems>,
    /// With `--vocabulary`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub concepts: Option<LinkScores>,
    /// With `--detail`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<Detail>,
}

impl Report<'_> {
    /// Prints the scores on stdout.
    ///
    /// # Errors
    /// If stdout cannot be written.
    pub fn print(&self, format: OutputFormat) -> Result<()> {
        match format {
            OutputFormat::Json => stdout::print_json(self),
            OutputFormat::Table => {
                let mut out = stdout::stdout();
                let Self { dataset, split, run, .. } = self;
                let learned = if self.train_on.is_train() { "" } else { ", trained on train and dev" };
                let what = if self.systems.is_some() { "assertions of gold mentions" } else { "strict spans" };
                writeln!(out, "{dataset}, {} split, run {run}{learned}: {what}, in percent\n", split.name())?;
                match &self.systems {
                    Some(systems) => assertion_table::print(systems, &mut out)?,
                    None => score_table::print(self.scores, Some(self.intervals), &mut out)?,
                }
                for (name, scores) in &self.by_corpus {
                    writeln!(out, "\n{name}, on the types that it annotates\n")?;
                    score_table::print(scores, None, &mut out)?;
                }
                if let Some(concepts) = &self.concepts {
                    concept_table::print_links(concepts, &mut out)?;
                }
                if let Some(detail) = &self.detail {
                    detail.print(&mut out)?;
                }
                Ok(out.flush()?)
            }
        }
    }
}
