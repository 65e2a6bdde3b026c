//! `medner runs report`: an HTML page about one run, or about several side by side.

use super::sides::{Side, sides, split_of, test_sides};
use super::values::shown;
use crate::commands::eval;
use crate::terminal::stdout;
use anyhow::{Result, bail, ensure};
use fs_err as fs;
use ner_data::{Document, Mention, Split};
use ner_experiment::assertion::assertions_as_types;
use ner_experiment::corpus::{self, CorpusSource};
use ner_files::write_bytes;
use ner_report::runs::{Epoch, MACRO, OVERALL, PredictedMentions, ReportedRun, RunsPage, ScoreRow};
use ner_runs::{PredictedDocument, Run, SpanRecord, Status, Store, differences, flatten, read_predictions};
use serde_json::Value;
use std::collections::HashMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use tracing::warn;

/// Write a page about one run, or about several side by side.
///
/// The page shows learning curves, scores with intervals, error classes, confused types, calibration, the strings most
/// often missed or spuriously predicted, documents with gold and predicted mentions, and the configuration. For several
/// runs it adds their differences and the paired test of `runs compare`. It is one self-contained file without scripts.
///
/// Text is shown if the corpus is on this machine and its description says it is public, as for samples; for other
/// corpora pass --with-text. Everything else comes from the run folder. A report never downloads a corpus.
#[derive(clap::Args)]
pub struct Args {
    /// Runs or groups of runs; the others are compared with the first
    #[arg(required = true, value_name = "RUN")]
    wanted: Vec<String>,
    /// Page to write
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Split to report on [default: test, or dev if not all runs have test scores]
    #[arg(long, value_parser = eval::split)]
    split: Option<Split>,
    /// Show text even if the corpus is not public
    #[arg(long, conflicts_with = "no_text")]
    with_text: bool,
    /// Never show text of the corpus
    #[arg(long)]
    no_text: bool,
}

/// Writes the page.
///
/// # Errors
/// If a run is missing or unreadable, or the page cannot be written.
pub fn run(store: &Store, args: &Args) -> Result<()> {
    let sides = sides(store, &args.wanted)?;
    let runs: Vec<Run> = sides.iter().flat_map(|side| side.runs.clone()).collect();
    if let Some(unreadable) = runs.iter().find(|run| run.status == Status::Unreadable) {
        bail!("cannot read run {}: {}", unreadable.id(), unreadable.fault.as_deref().unwrap_or("run.json is missing"));
    }
    if let Some(other) = runs.iter().find(|run| !matches!(run.kind(), "train" | "eval")) {
        bail!("run {} has no scores (its kind is {}); reports need trainings or evaluations", other.id(), other.kind());
    }
    let split = args.split.map_or_else(|| split_of(&sides), Split::name);
    let mut notes = Vec::new();
    let mut reported = Vec::new();
    let mut kept = Vec::new();
    for run in &runs {
        let documents = read_predictions(run.folder.path(), split)?;
        if run.status != Status::Finished {
            notes.push(format!("Run {} is {}: the page shows its results so far.", run.id(), run.status));
        }
        if documents.is_none() {
            notes.push(format!(
                "Run {} kept no predictions for {split}, so its errors cannot be shown; `medner eval {} --run {}` \
                 makes a run that keeps them.",
                run.id(),
                run.dataset,
                run.id()
            ));
        }
        reported.push(ReportedRun {
            name: run.id(),
            record: record(&run.record),
            epochs: epochs(store, run, &mut notes)?,
            scores: score_rows(run.scores.get(split), run.scores.get(format!("{split}_intervals"))),
            dev_f1: run.value("dev").and_then(|score| score.as_f64()),
            documents: documents.as_deref().map(|documents| documents.iter().map(mentions).collect()),
        });
        kept.push(documents);
    }
    let corpus = CorpusOfRun::new(&runs[0]);
    let texts = match may_show_text(&corpus, args) {
        Err(why) => {
            notes.push(why);
            None
        }
        Ok(()) => match corpus.texts(split, &runs, &kept) {
            Ok(documents) => Some(documents),
            Err(error) => {
                let why = format!("No text is shown: {error:#}");
                warn!("{why}");
                notes.push(why);
                None
            }
        },
    };
    let cell = |key: &str, value: Option<Value>| value.map(|value| as_text(key, &value));
    let differences = differences(&runs).into_iter().map(|difference| {
        let values = difference.values.into_iter().map(|value| cell(&difference.key, value)).collect();
        (difference.key, values)
    });
    let page = RunsPage {
        title: &corpus.title,
        synthetic: corpus.synthetic.as_deref(),
        notes,
        split,
        runs: reported,
        differences: differences.collect(),
        tests: words_of_tests(&sides, split),
        texts: texts.as_deref(),
        version: env!("CARGO_PKG_VERSION"),
    };
    write_bytes(&args.out, page.html()?.as_bytes())?;
    let mut out = stdout::stdout();
    writeln!(out, "written: {}", args.out.display())?;
    Ok(out.flush()?)
}

fn words_of_tests(sides: &[Side], split: &'static str) -> Vec<String> {
    test_sides(sides, split).into_iter().map(|tested| tested.words).collect()
}

/// The corpus of a run, as far as known without loading it.
struct CorpusOfRun {
    /// As named on the command line.
    dataset: String,
    place: CorpusSource,
    title: String,
    /// The sample's note; `None` for a real corpus.
    synthetic: Option<String>,
    /// Whether the page may show text without `--with-text`.
    is_public: bool,
    /// Whether its types are assertions.
    has_assertions: bool,
}

impl CorpusOfRun {
    fn new(run: &Run) -> Self {
        let plan = |key: &str| run.value(&format!("plan.{key}"));
        let text = |value: Option<Value>| value.and_then(|value| Some(value.as_str()?.to_owned()));
        let dataset = text(plan("dataset")).unwrap_or_else(|| run.dataset.clone());
        let sample = plan("sample") == Some(Value::Bool(true));
        // An evaluation records the location of its corpus only in its origin.
        let source = text(run.value("corpus.source").or_else(|| run.value("corpus.origin.source")));
        let folder = text(run.value("corpus.folder").or_else(|| run.value("corpus.origin.folder")));
        let data_dir = folder.filter(|_| source.as_deref() == Some("--data-dir")).map(PathBuf::from);
        let description = corpus::describe(&dataset).map(|named| named.description);
        let note = description.as_ref().ok().and_then(|found| Some(found.sample.as_ref()?.note.clone()));
        Self {
            place: CorpusSource { data_dir, sample, labels: text(plan("labels")) },
            title: description
                .as_ref()
                .map(|found| found.title.clone())
                .ok()
                .filter(|title| !title.is_empty())
                .unwrap_or_else(|| run.dataset.clone()),
            synthetic: sample.then(|| note.unwrap_or_default()),
            is_public: sample || description.is_ok_and(|description| description.public),
            has_assertions: run.value("head") == Some("assertion".into()),
            dataset,
        }
    }

    /// The documents of a split.
    ///
    /// # Errors
    /// If the corpus is not on this machine, or differs from the documents that `runs` were measured on.
    fn texts(&self, split: &str, runs: &[Run], kept: &[Option<Vec<PredictedDocument>>]) -> Result<Vec<Document>> {
        let Self { dataset, place, has_assertions, .. } = self;
        ensure!(kept.iter().any(Option::is_some), "no run kept predictions");
        let named = corpus::describe(dataset)?;
        let is_here = place.sample || place.data_dir.is_some() || named.own_folder.is_some();
        ensure!(
            is_here || corpus::look(&named.description)?.is_some(),
            "the corpus {} is not on this machine",
            named.description.name
        );
        let mut corpus = corpus::load(dataset, place)?;
        if *has_assertions {
            assertions_as_types(&mut corpus)?;
        }
        let splits = &mut corpus.splits;
        let loaded = if split == Split::Dev.name() { &mut splits.dev } else { &mut splits.test };
        let documents = std::mem::take(&mut loaded.documents);
        let by_id: HashMap<&str, &Document> = documents.iter().map(|document| (&*document.id, document)).collect();
        for (run, kept) in runs.iter().zip(kept) {
            for kept in kept.iter().flatten() {
                let is_it = |document: &&Document| {
                    document.text.chars().count() == kept.length
                        && document.mentions.iter().map(SpanRecord::from).eq(kept.gold.iter().cloned())
                };
                ensure!(
                    by_id.get(kept.id.as_str()).is_some_and(is_it),
                    "document {} of the corpus differs from the one that run {} was measured on",
                    kept.id,
                    run.id()
                );
            }
        }
        Ok(documents)
    }
}

/// Whether the page may show text of the corpus; the error is the reason why not.
fn may_show_text(corpus: &CorpusOfRun, args: &Args) -> Result<(), String> {
    match (args.no_text, args.with_text || corpus.is_public) {
        (true, _) => Err("No text is shown: the page was made with --no-text.".into()),
        (false, false) => {
            Err("No text is shown: the corpus's description does not say it is public; --with-text shows it.".into())
        }
        (false, true) => Ok(()),
    }
}

fn mentions(document: &PredictedDocument) -> PredictedMentions {
    let of = |spans: &[SpanRecord]| spans.iter().map(Mention::from).collect();
    PredictedMentions { id: document.id.clone(), gold: of(&document.gold), predicted: of(&document.predicted) }
}

/// The epochs of a training. For an evaluation: those of the training it evaluated, if it still exists.
fn epochs(store: &Store, run: &Run, notes: &mut Vec<String>) -> Result<Vec<Epoch>> {
    let trained =
        run.value("plan.run").and_then(|id| store.find_one(&format!("{}/{}", run.dataset, id.as_str()?)).ok());
    let path = trained.as_ref().unwrap_or(run).folder.path().join("metrics.jsonl");
    if !path.exists() {
        return Ok(Vec::new());
    }
    let text = fs::read_to_string(&path)?;
    // A last line without a line end is still being written.
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    let mut epochs = Vec::new();
    let mut unreadable = 0;
    for line in whole.lines() {
        match serde_json::from_str::<Value>(line) {
            Ok(line) if line["kind"] == "epoch" => epochs.push(Epoch {
                number: line["epoch"].as_u64().unwrap_or_default() as usize,
                loss: line["loss"].as_f64(),
                dev: score_rows(line.get("dev"), None),
                is_best: line["best"] == true,
            }),
            Ok(_) => {}
            Err(_) => unreadable += 1,
        }
    }
    if unreadable > 0 {
        notes.push(format!("{unreadable} unreadable lines in the metrics of run {} are skipped.", run.id()));
    }
    Ok(epochs)
}

/// The scores of a split as in `scores.json`: types by name, then averages.
fn score_rows(scores: Option<&Value>, intervals: Option<&Value>) -> Vec<ScoreRow> {
    const AVERAGES: [(&str, &str); 3] =
        [("overall", OVERALL), ("macro", MACRO), ("weighted", "mean by support (weighted)")];
    let Some(scores) = scores else { return Vec::new() };
    let row = |name: &str, is_average: bool, score: &Value, interval: Option<&Value>| {
        let end = |end: &str| interval?.get("f1")?.get(end)?.as_f64();
        ScoreRow {
            name: name.to_owned(),
            is_average,
            precision: score["precision"].as_f64(),
            recall: score["recall"].as_f64(),
            f1: score["f1"].as_f64(),
            interval: end("low").zip(end("high")),
            support: score["support"].as_u64().unwrap_or_default(),
        }
    };
    let types = scores["per_type"].as_object().into_iter().flatten();
    let of_type = |name: &str| intervals?.get("per_type")?.get(name);
    let mut rows: Vec<ScoreRow> = types.map(|(name, score)| row(name, false, score, of_type(name))).collect();
    for (key, name) in AVERAGES {
        rows.extend(scores.get(key).map(|score| row(name, true, score, intervals.and_then(|found| found.get(key)))));
    }
    rows
}

/// The run record except its id, as keys and text. Paths are reduced to their last part, because a page may be passed
/// on to people who should not see them.
fn record(record: &Value) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for (key, value) in flatten(record) {
        match &value {
            Value::Array(items) if items.iter().any(Value::is_object) => {
                for (at, item) in items.iter().enumerate() {
                    let parts = flatten(item).into_iter();
                    found.extend(
                        parts.map(|(part, value)| (format!("{key}.{}.{part}", at + 1), as_text(&part, &value))),
                    );
                }
            }
            value => found.push((key.clone(), as_text(&key, value))),
        }
    }
    found.retain(|(key, _)| key != "run");
    found
}

fn as_text(key: &str, value: &Value) -> String {
    match value {
        Value::Array(items) => items.iter().map(|item| as_text(key, item)).collect::<Vec<_>>().join(" "),
        Value::String(text) if Path::new(text).is_absolute() => {
            let name = Path::new(text).file_name().unwrap_or_default();
            format!("…/{}", name.to_string_lossy())
        }
        value => shown(key, value),
    }
}
