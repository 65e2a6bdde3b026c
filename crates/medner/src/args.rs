//! Arguments shared by several commands.

use crate::vocabularies::LinkArgs;
use anyhow::{Context, Result, ensure};
use clap::ValueEnum;
use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use ner_annotate::{Annotator, Model, Offsets, Thresholds};
use ner_context::ContextRules;
use ner_data::Format;
use ner_data::OffsetUnit;
use ner_data::format::{self, Look, conll};
use ner_experiment::active::batch::To;
use ner_experiment::corpus::CorpusSource;
use ner_experiment::input::{InputOptions, Kind};
use ner_experiment::models::{Located, ModelSelection};
use ner_experiment::plan::TrainOn;
use ner_hub::sha256_file;
use ner_model::{Precision, precision_name};
use ner_track::{Extra, TrackerKind, Wanted};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Where the corpus comes from.
#[derive(clap::Args, Clone, Debug, Default)]
pub struct CorpusArgs {
    /// Folder with the corpus files [default: $MEDNER_CORPORA, the checkout, the cache, or a download]
    #[arg(long, value_name = "DIR", conflicts_with = "sample")]
    pub data_dir: Option<PathBuf>,
    /// Use the embedded synthetic sample; its scores say nothing about real text
    #[arg(long)]
    pub sample: bool,
    /// Label map from the corpus's description: replaces its types with other labels (`data NAME` lists the maps)
    #[arg(long, value_name = "MAP")]
    pub labels: Option<String>,
}

impl CorpusArgs {
    /// The same as a library type.
    pub fn source(&self) -> CorpusSource {
        CorpusSource { data_dir: self.data_dir.clone(), sample: self.sample, labels: self.labels.clone() }
    }
}

/// How to treat faults in a corpus.
#[derive(clap::Args, Clone, Copy, Debug, Default)]
pub struct FaultArgs {
    /// Skip faulty parts of the input instead of failing
    #[arg(long)]
    pub lenient: bool,
}

/// Which models to use, and how they compute.
#[derive(clap::Args, Clone, Debug)]
pub struct ModelArgs {
    /// A corpus (its newest run), a run (id, DATASET/ID or folder), or a folder of any token-classification model;
    /// repeatable
    #[arg(long = "model", value_name = "RUN|DIR", required = true)]
    pub models: Vec<String>,
    /// TOML file that maps types to categories: `Disease = "problem"`; a `[MODEL]` table applies to that model only
    #[arg(long, value_name = "FILE.toml")]
    pub categories: Option<PathBuf>,
    /// auto, cpu or cuda:N
    #[arg(long, default_value = "auto")]
    pub device: String,
    /// Compute precision: auto, fp32, bf16, fp16 or int8
    #[arg(long, default_value = "auto", value_parser = precision)]
    pub precision: Precision,
    /// Folder of runs [default: experiments/runs of the checkout]
    #[arg(long, value_name = "DIR")]
    pub runs: Option<PathBuf>,
}

impl ModelArgs {
    /// The same as a library type.
    pub fn selection(&self) -> ModelSelection {
        ModelSelection {
            models: self.models.clone(),
            categories: self.categories.clone(),
            device: self.device.clone(),
            precision: self.precision,
            apart: false,
            runs: self.runs.clone(),
        }
    }
}

/// What finds mentions, and what is said of them.
#[derive(clap::Args, Clone, Debug)]
pub struct AnnotatorArgs {
    #[command(flatten)]
    pub models: ModelArgs,
    #[command(flatten)]
    context: ContextArgs,
    #[command(flatten)]
    pub linking: LinkArgs,
    /// Use the models as one: average their probabilities, or vote
    #[arg(long)]
    pub ensemble: bool,
    /// Let no document affect another, to the last digit: in int8 and fp32 none does (except with ModernBERT and
    /// DeBERTa); bf16 then takes longer, and `--precision auto` prefers int8
    #[arg(long)]
    pub apart: bool,
}

impl AnnotatorArgs {
    /// Loads the models, rules and vocabularies; also returns where the models were found.
    ///
    /// # Errors
    /// If one is missing or cannot be loaded, or options have no effect.
    pub fn load(&self) -> Result<(Annotator, Vec<Located>)> {
        let selection = ModelSelection { apart: self.apart, ..self.models.selection() };
        let (annotator, located) = if self.ensemble { selection.load_ensemble()? } else { selection.load()? };
        Ok((self.linking.apply(self.context.apply(annotator)?)?, located))
    }

    /// Adds what must be equal to resume an output, besides the models.
    ///
    /// # Errors
    /// If a file of rules or of a reranker cannot be read.
    pub fn add_settings(&self, annotator: &Annotator, settings: &mut Value) -> Result<()> {
        if self.apart {
            settings["apart"] = true.into();
        }
        self.context.add_settings(annotator, settings)?;
        self.linking.add_settings(annotator, settings)
    }
}

/// Adds what decides the mentions on any machine: checksums and the precision of the models.
///
/// # Errors
/// If a model cannot be read.
pub fn add_checksums(models: &[Model], located: &[Located], settings: &mut Value) -> Result<()> {
    let sums: Vec<String> = located.iter().map(Located::weights_sha256).collect::<Result<_>>()?;
    settings["sha256_of_models"] = sums.into();
    let precisions: Vec<String> = models.iter().map(|model| precision_name(model.recognizer.kind())).collect();
    settings["precision"] = precisions.into();
    Ok(())
}

/// What the text says of a mention: assertion and section.
#[derive(clap::Args, Clone, Debug, Default)]
pub struct ContextArgs {
    /// Leave out assertions and sections
    #[arg(long, conflicts_with_all = ["assert_types", "assertion_rules", "section_rules"])]
    pub no_assertion: bool,
    /// Type whose mentions get an assertion, besides those of the model's corpus; repeatable
    #[arg(long = "assert", value_name = "TYPE")]
    assert_types: Vec<String>,
    #[command(flatten)]
    rules: RuleArgs,
    /// Leave out the long forms of abbreviations
    #[arg(long)]
    no_long_forms: bool,
}

/// Files of rules.
#[derive(clap::Args, Clone, Debug, Default)]
pub struct RuleArgs {
    /// TOML file of cues that extends or replaces the built-in rules of assertion
    #[arg(long, value_name = "FILE.toml")]
    assertion_rules: Option<PathBuf>,
    /// TOML file of headings that extends or replaces the built-in rules of sections
    #[arg(long, value_name = "FILE.toml")]
    section_rules: Option<PathBuf>,
}

impl RuleArgs {
    /// Reads the rules.
    ///
    /// # Errors
    /// If a file cannot be read or is no file of rules.
    pub fn read(&self) -> Result<ContextRules> {
        let text = |path: &Option<PathBuf>| path.as_ref().map(fs_err::read_to_string).transpose();
        let (assertion, sections) = (text(&self.assertion_rules)?, text(&self.section_rules)?);
        ContextRules::with(assertion.as_deref(), sections.as_deref()).with_context(|| {
            let paths = [&self.assertion_rules, &self.section_rules].into_iter().flatten();
            paths.map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
        })
    }

    /// SHA-256 of each file.
    fn checksums(&self) -> Result<Vec<Option<String>>> {
        let sum = |path: &Option<PathBuf>| path.as_deref().map(sha256_file).transpose();
        Ok([sum(&self.assertion_rules)?, sum(&self.section_rules)?].into())
    }
}

impl ContextArgs {
    /// Adds assertions and sections to an annotator, if its models have assertable types.
    ///
    /// # Errors
    /// If a file of rules is invalid, a type is unknown, or options have no effect.
    pub fn apply(&self, mut annotator: Annotator) -> Result<Annotator> {
        if !self.no_long_forms {
            annotator = annotator.with_long_forms();
        }
        if self.no_assertion {
            return Ok(annotator);
        }
        for entity_type in &self.assert_types {
            annotator.make_assertable(entity_type).map_err(anyhow::Error::msg)?;
        }
        // Rules are read only where they have an effect.
        if annotator.assertable().is_empty() {
            let has_files = self.rules.assertion_rules.is_some() || self.rules.section_rules.is_some();
            ensure!(!has_files, "rules have no effect: no type of these models is assertable; name one with --assert");
            return Ok(annotator);
        }
        Ok(annotator.with_context(self.rules.read()?))
    }

    /// Adds what must be equal to resume an output.
    ///
    /// # Errors
    /// If a file of rules cannot be read.
    pub fn add_settings(&self, annotator: &Annotator, settings: &mut Value) -> Result<()> {
        if annotator.has_context() {
            settings["assertion"] = json!({ "types": annotator.assertable(), "rules": self.rules.checksums()? });
        }
        if !self.no_long_forms {
            settings["long_forms"] = true.into();
        }
        Ok(())
    }
}

/// The least confidence of mentions.
#[derive(clap::Args, Clone, Debug, Default)]
pub struct ThresholdArgs {
    /// Minimum confidence, from 0 to 1, for all types or for one; repeatable
    #[arg(long = "threshold", value_name = "[TYPE=]MIN", value_parser = threshold)]
    thresholds: Vec<(Option<String>, f32)>,
    /// Keep mentions below the thresholds, marked `below_threshold`
    #[arg(long)]
    pub all_spans: bool,
}

impl ThresholdArgs {
    /// The thresholds for the types of an annotator.
    ///
    /// # Errors
    /// If no model finds a type.
    pub fn resolve(&self, annotator: &Annotator) -> Result<Thresholds> {
        let mut thresholds = Thresholds::default();
        for (entity_type, least) in &self.thresholds {
            match entity_type {
                None => thresholds.general = *least,
                Some(entity_type) => {
                    annotator.check_type(entity_type).map_err(anyhow::Error::msg)?;
                    thresholds.by_type.insert(entity_type.clone(), *least);
                }
            }
        }
        Ok(thresholds)
    }
}

fn threshold(text: &str) -> Result<(Option<String>, f32), String> {
    let (entity_type, number) = match text.rsplit_once('=') {
        Some((entity_type, number)) => (Some(entity_type.to_owned()), number),
        None => (None, text),
    };
    let least = number.parse().ok().filter(|least| (0.0..=1.0).contains(least));
    Ok((entity_type, least.ok_or("the threshold must be a number from 0 to 1, as in 0.5 or Disease=0.8")?))
}

/// Parses a precision name.
///
/// # Errors
/// If the name is unknown; the message lists the valid names.
pub fn precision(text: &str) -> Result<Precision, String> {
    serde_json::from_value(text.into()).map_err(|_| "the precision must be auto, fp32, bf16, fp16 or int8".to_owned())
}

/// Parses one of these names into a value, using its serde names.
fn named<T>(names: impl IntoIterator<Item = impl Into<PossibleValue>>) -> impl TypedValueParser<Value = T>
where
    T: DeserializeOwned + Clone + Send + Sync + 'static,
{
    PossibleValuesParser::new(names).try_map(|name| serde_json::from_value::<T>(name.into()))
}

/// Parses the splits to train on.
pub fn train_on() -> impl TypedValueParser<Value = TrainOn> {
    named(["train", "train+dev"])
}

/// Parses the file format of a batch.
pub fn batch_form() -> impl TypedValueParser<Value = To> {
    named(["brat", "jsonl", "doccano", "conll"])
}

/// Parses the unit of offsets.
pub fn offsets() -> impl TypedValueParser<Value = Offsets> {
    named([PossibleValue::new("characters").alias("chars"), PossibleValue::new("bytes")])
}

/// Parses an input format.
pub fn kind_name() -> impl TypedValueParser<Value = Kind> {
    PossibleValuesParser::new(Kind::names()).try_map(|name| Kind::from_name(&name).ok_or("unknown"))
}

/// Parses the name of a corpus format.
pub fn format_name() -> impl TypedValueParser<Value = Format> {
    PossibleValuesParser::new(Format::all().map(Format::name)).try_map(|name| Format::from_name(&name).ok_or("unknown"))
}

/// Which columns of a CoNLL file to read.
#[derive(clap::Args, Clone, Copy, Debug, Default)]
pub struct Columns {
    /// Column of the words, from 0 (CoNLL) [default: 0, or 1 if column 0 numbers the words]
    #[arg(long, value_name = "N")]
    word_column: Option<usize>,
    /// Column of the tags, from 0 (CoNLL) [default: the last one]
    #[arg(long, value_name = "N")]
    tag_column: Option<usize>,
}

impl Columns {
    /// Whether a column was chosen.
    pub const fn are_given(self) -> bool {
        self.word_column.is_some() || self.tag_column.is_some()
    }

    /// The reader's options.
    pub fn options(self) -> conll::ConllOptions {
        let Self { word_column, tag_column } = self;
        conll::ConllOptions { word_column, tag_column, ..conll::ConllOptions::default() }
    }
}

/// Where the texts are in tables and JSON.
#[derive(clap::Args, Clone, Debug, Default)]
pub struct TextColumns {
    /// Column or key of the texts (CSV, TSV, Parquet, JSON) [default: text]
    #[arg(long, value_name = "NAME")]
    text_column: Option<String>,
    /// Column or key of their ids (CSV, TSV, Parquet, JSON) [default: the row number in tables, `id` in JSON]
    #[arg(long, value_name = "NAME")]
    id_column: Option<String>,
}

impl TextColumns {
    /// The options of a reader of inputs.
    pub fn options(&self, columns: Columns) -> InputOptions {
        let Self { text_column, id_column } = self.clone();
        InputOptions { columns: columns.options(), text_column, id_column }
    }

    /// The options that are given, these and those of CoNLL, with their names in settings.
    pub fn settings(&self, columns: Columns) -> impl Iterator<Item = (&'static str, Value)> {
        let all: [(&'static str, Option<Value>); 4] = [
            ("text_column", self.text_column.clone().map(Value::from)),
            ("id_column", self.id_column.clone().map(Value::from)),
            ("word_column", columns.word_column.map(Value::from)),
            ("tag_column", columns.tag_column.map(Value::from)),
        ];
        all.into_iter().filter_map(|(key, value)| Some((key, value?)))
    }
}

/// What the offsets of files count.
#[derive(clap::Args, Clone, Copy, Debug, Default)]
pub struct InputOffsets {
    /// What the offsets of the input count: characters, utf16 (Java, JavaScript), bytes, crlf-as-one (a line break of two
    /// characters as one) or lf-as-two (texts that lost their carriage returns)
    #[arg(long, value_name = "UNIT", default_value = "characters", value_parser = offset_unit())]
    input_offsets: OffsetUnit,
}

impl InputOffsets {
    /// The unit for files of this format, which may be one of several; conll and i2b2 state no offsets.
    pub fn of(self, format: Format) -> OffsetUnit {
        if format.has_offsets() { self.input_offsets } else { OffsetUnit::default() }
    }

    /// Fails if none of the formats states offsets, so that the option has no effect.
    ///
    /// # Errors
    /// If it is given and has no effect.
    pub fn check(self, formats: &[Format]) -> Result<()> {
        let has_effect = formats.iter().any(|format| format.has_offsets());
        ensure!(
            has_effect || self.input_offsets == OffsetUnit::default(),
            "--input-offsets has no effect on {} input, which states no offsets; drop it",
            formats.first().copied().map_or("this", Format::name)
        );
        Ok(())
    }
}

/// Parses the unit of input offsets.
fn offset_unit() -> impl TypedValueParser<Value = OffsetUnit> {
    named(OffsetUnit::ALL.map(OffsetUnit::name))
}

/// Fails if no mention has a type that was named on the command line; `seen` are the types of the mentions.
///
/// # Errors
/// If types were not seen; the message names them.
pub fn check_seen<'n>(named: impl IntoIterator<Item = &'n str>, seen: &BTreeSet<String>) -> Result<()> {
    let unseen: Vec<&str> = named.into_iter().filter(|name| !seen.contains(*name)).collect();
    let types = || seen.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
    ensure!(unseen.is_empty(), "no mention has the type {}; the types are {}", unseen.join(", "), types());
    Ok(())
}

/// The format of a file or folder: the given one, or the detected one.
///
/// # Errors
/// If the file cannot be read, or no format or several formats match it.
pub fn told(path: &Path, given: Option<Format>) -> Result<Format> {
    match given {
        Some(format) => Ok(format),
        None => Format::detect(path)?.with_context(|| ask(path)),
    }
}

/// The error message for a format that cannot be detected.
pub fn ask(path: &Path) -> String {
    let look = if path.is_file() { format::look(path).ok() } else { None };
    no_corpus(path, look.as_ref())
}

/// The error message for an input that is no corpus, as far as its content tells.
pub fn no_corpus(path: &Path, look: Option<&Look>) -> String {
    let names: Vec<&str> = Format::all().map(Format::name).collect();
    let path = if path == Path::new("-") { "stdin".into() } else { path.display().to_string() };
    let what = match look {
        Some(Look::Refused(what)) => format!("{path} {what}"),
        Some(Look::Table(_)) => {
            format!("{path} is a table: annotate reads tables of texts, and --from conll reads words with tags")
        }
        Some(Look::Parquet) => format!("{path} is a table of texts, which only annotate reads"),
        Some(Look::Text { .. }) => {
            format!("{path} looks like a plain text without annotation, which only annotate reads")
        }
        Some(Look::Corpus(_)) | None => format!("cannot detect the format of {path}"),
    };
    format!("{what}; --from names a format ({})", names.join(", "))
}

/// Tag scheme.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum SchemeName {
    /// I-X; B-X only directly after another mention of the same type
    Iob1,
    /// B-X, then I-X
    #[default]
    Iob2,
    /// B-X, I-X, E-X, and S-X for one word
    Bioes,
    /// I-X; adjacent mentions of one type merge into one
    Io,
}

impl SchemeName {
    /// The same as the writer's type.
    pub const fn scheme(self) -> conll::Scheme {
        match self {
            Self::Iob1 => conll::Scheme::Iob1,
            Self::Iob2 => conll::Scheme::Iob2,
            Self::Bioes => conll::Scheme::Bioes,
            Self::Io => conll::Scheme::Io,
        }
    }
}

/// Where to log a run.
#[derive(clap::Args, Clone, Debug, Default)]
pub struct TrackingArgs {
    /// Tracker to log the run to; repeatable [default: trackers used before; for a new training $MEDNER_TRACK]
    #[arg(long, value_name = "TRACKER", value_delimiter = ',')]
    track: Vec<Tracker>,
    /// Also upload the model to MLflow
    #[arg(long)]
    track_model: bool,
    /// Also upload the predictions to MLflow; they may contain text of documents
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
    /// The trackers named on the command line.
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
