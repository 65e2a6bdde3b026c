//! Arguments that several commands have.

use anyhow::{Context, Result};
use clap::ValueEnum;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use ner_annotate::Offsets;
use ner_data::Format;
use ner_data::format::conll;
use ner_experiment::active::batch::To;
use ner_experiment::corpus::CorpusSource;
use ner_experiment::input::Kind;
use ner_experiment::models::ModelSelection;
use ner_experiment::plan::TrainOn;
use ner_model::Precision;
use ner_track::{Extra, TrackerKind, Wanted};
use serde::de::DeserializeOwned;
use std::path::{Path, PathBuf};

/// Where to take a corpus from.
#[derive(clap::Args, Clone, Debug, Default)]
pub struct CorpusArgs {
    /// Folder that holds the corpus's files (else: $MEDNER_CORPORA, the checkout, the cache, a download)
    #[arg(long, value_name = "DIR", conflicts_with = "sample")]
    pub data_dir: Option<PathBuf>,
    /// Take the synthetic sample that comes with medner; no score on it says anything about real text
    #[arg(long)]
    pub sample: bool,
    /// Label map of the corpus's description: other labels instead of its types (`data NAME` lists them)
    #[arg(long, value_name = "MAP")]
    pub labels: Option<String>,
}

impl CorpusArgs {
    /// As the library takes it.
    pub fn source(&self) -> CorpusSource {
        CorpusSource { data_dir: self.data_dir.clone(), sample: self.sample, labels: self.labels.clone() }
    }
}

/// What to do about faults of a corpus.
#[derive(clap::Args, Clone, Copy, Debug, Default)]
pub struct FaultArgs {
    /// Go on without the parts of the input that are faulty
    #[arg(long)]
    pub lenient: bool,
}

/// Which models, and how they compute.
#[derive(clap::Args, Clone, Debug)]
pub struct ModelArgs {
    /// A corpus (its newest run), a run (its id, DATASET/ID or folder), or a folder of any model with a
    /// token-classification head; several by repetition
    #[arg(long = "model", value_name = "RUN|DIR", required = true)]
    pub models: Vec<String>,
    /// A TOML file of categories, by type: `Disease = "problem"`; under [MODEL] for one model alone
    #[arg(long, value_name = "FILE.toml")]
    pub categories: Option<PathBuf>,
    /// auto, cpu or cuda:N
    #[arg(long, default_value = "auto")]
    pub device: String,
    /// Compute precision of the encoder: auto, fp32, bf16 or fp16
    #[arg(long, default_value = "auto", value_parser = precision)]
    pub precision: Precision,
    /// Where runs are kept (default: experiments/runs of the checkout)
    #[arg(long, value_name = "DIR")]
    pub runs: Option<PathBuf>,
}

impl ModelArgs {
    /// As the library takes it.
    pub fn selection(&self) -> ModelSelection {
        ModelSelection {
            models: self.models.clone(),
            categories: self.categories.clone(),
            device: self.device.clone(),
            precision: self.precision,
            runs: self.runs.clone(),
        }
    }
}

/// Reads a precision by its name.
///
/// # Errors
/// If there is none of that name; the message lists them.
pub fn precision(text: &str) -> Result<Precision, String> {
    serde_json::from_value(text.into()).map_err(|_| "precisions are auto, fp32, bf16 and fp16".to_owned())
}

/// Reads a value that has one of these names, as serde knows them.
fn named<T>(names: impl IntoIterator<Item = &'static str>) -> impl TypedValueParser<Value = T>
where
    T: DeserializeOwned + Clone + Send + Sync + 'static,
{
    PossibleValuesParser::new(names).try_map(|name| serde_json::from_value::<T>(name.into()))
}

/// Reads the splits that a training learns from.
pub fn train_on() -> impl TypedValueParser<Value = TrainOn> {
    named(["train", "train+dev"])
}

/// Reads what a batch is handed out as.
pub fn batch_form() -> impl TypedValueParser<Value = To> {
    named(["brat", "jsonl", "doccano", "conll"])
}

/// Reads the unit of positions.
pub fn offsets() -> impl TypedValueParser<Value = Offsets> {
    named(["characters", "bytes"])
}

/// Reads the format of an input.
pub fn kind_name() -> impl TypedValueParser<Value = Kind> {
    PossibleValuesParser::new(Kind::names()).try_map(|name| Kind::from_name(&name).ok_or("unknown"))
}

/// Reads the name of a format.
pub fn format_name() -> impl TypedValueParser<Value = Format> {
    PossibleValuesParser::new(Format::all().map(Format::name)).try_map(|name| Format::from_name(&name).ok_or("unknown"))
}

/// Which columns of a CoNLL file are read.
#[derive(clap::Args, Clone, Copy, Debug, Default)]
pub struct Columns {
    /// Column of the words, from 0 (CoNLL) [default: 0]
    #[arg(long, value_name = "N")]
    word_column: Option<usize>,
    /// Column of the tags, from 0 (CoNLL) [default: the last]
    #[arg(long, value_name = "N")]
    tag_column: Option<usize>,
}

impl Columns {
    /// The options of a reader.
    pub fn options(self) -> conll::ConllOptions {
        let word_column = self.word_column.unwrap_or(0);
        conll::ConllOptions { word_column, tag_column: self.tag_column, ..conll::ConllOptions::default() }
    }
}

/// The format of a file or folder: the one given, or the one that it looks like.
///
/// # Errors
/// Where it cannot be read, or looks like no format or like several.
pub fn told(path: &Path, given: Option<Format>) -> Result<Format> {
    match given {
        Some(format) => Ok(format),
        None => Format::detect(path)?.with_context(|| ask(path)),
    }
}

/// What to say where a format cannot be told.
pub fn ask(path: &Path) -> String {
    let names: Vec<&str> = Format::all().map(Format::name).collect();
    format!(
        "the format of {} cannot be told from what it looks like; say --from ({})",
        path.display(),
        names.join(", ")
    )
}

/// Scheme of tags.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum SchemeName {
    /// I-X; B-X only right after another mention of its type
    Iob1,
    /// B-X, then I-X
    #[default]
    Iob2,
    /// B-X, I-X, E-X, and S-X for one word
    Bioes,
    /// I-X; mentions of one type that touch become one
    Io,
}

impl SchemeName {
    /// As the writer knows it.
    pub const fn scheme(self) -> conll::Scheme {
        match self {
            Self::Iob1 => conll::Scheme::Iob1,
            Self::Iob2 => conll::Scheme::Iob2,
            Self::Bioes => conll::Scheme::Bioes,
            Self::Io => conll::Scheme::Io,
        }
    }
}

/// Whom to tell of a run.
#[derive(clap::Args, Clone, Debug, Default)]
pub struct TrackingArgs {
    /// Tell a tracker of the run; may be repeated (default: what it was sent to before; for a new training MEDNER_TRACK)
    #[arg(long, value_name = "TRACKER", value_delimiter = ',')]
    track: Vec<Tracker>,
    /// Send the model to MLflow, too
    #[arg(long)]
    track_model: bool,
    /// Send the predictions to MLflow, too; they may hold the text of documents
    #[arg(long)]
    track_predictions: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Tracker {
    /// The server at MLFLOW_TRACKING_URI
    Mlflow,
    /// Event files in the run folder
    Tensorboard,
}

impl TrackingArgs {
    /// The trackers that the command line names.
    pub fn wanted(&self) -> Wanted {
        let kind = |tracker: &Tracker| match tracker {
            Tracker::Mlflow => TrackerKind::Mlflow,
            Tracker::Tensorboard => TrackerKind::Tensorboard,
        };
        let extras = [(self.track_model, Extra::Model), (self.track_predictions, Extra::Predictions)];
        Wanted {
            trackers: self.track.iter().map(kind).collect(),
            extras: extras.into_iter().filter(|(wanted, _)| *wanted).map(|(_, extra)| extra).collect(),
        }
    }
}
