//! `medner score`: compares two files of mentions or tags, whoever made them.

use crate::corpus::{Faults, check_faults};
use crate::formats::{self, Columns, format_name};
use crate::{OutputFormat, score_table, stdout};
use anyhow::{Context, Result, anyhow, bail};
use clap::ValueEnum;
use ner_data::format::conll::{TaggedSentence, read_sentences};
use ner_data::{Format, FormatOptions};
use ner_eval::{Mode, ScoreError, Scores, SeqevalScheme, Side, score_documents, score_tags};
use serde::Serialize;
use std::io::Write;
use std::path::{Path, PathBuf};
use tracing::warn;

/// Compare predicted mentions with gold ones.
///
/// A mention counts where its place and its type are right, and not otherwise. Files and folders of documents, in
/// whatever formats, are paired by document and compared by character offsets; two CoNLL files are paired by sentence and
/// compared by what their tags stand for.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  medner score --gold CDR_TestSet.PubTator.txt --predicted mine.txt
  medner score --gold test.jsonl --predicted mine.PubTator.txt
  medner score --gold test.tsv --predicted tagged.tsv --mode strict --scheme iob2
  medner score --gold a --predicted b --format json | jq .overall.f1")]
pub struct Args {
    /// File or folder with the true mentions
    #[arg(long, value_name = "PATH")]
    gold: PathBuf,
    /// File or folder with the mentions to measure
    #[arg(long, value_name = "PATH")]
    predicted: PathBuf,
    /// Format of both [default: what each looks like]
    #[arg(long, value_name = "FORMAT", value_parser = format_name())]
    from: Option<Format>,
    #[command(flatten)]
    columns: Columns,
    /// How tags are read (CoNLL)
    #[arg(long, value_enum, default_value_t)]
    mode: ModeName,
    /// Scheme of the strict mode [default: iob2]
    #[arg(long, value_enum)]
    scheme: Option<SchemeName>,
    /// How to print the scores
    #[arg(long, value_enum, default_value_t)]
    format: OutputFormat,
    #[command(flatten)]
    faults: Faults,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum ModeName {
    /// As conlleval and seqeval read them: a tag that cannot continue an entity begins one
    #[default]
    Default,
    /// As seqeval's strict mode reads them: what does not fit the scheme is no entity
    Strict,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
enum SchemeName {
    Iob1,
    Iob2,
    Ioe1,
    Ioe2,
    Iobes,
    Bilou,
}

impl SchemeName {
    const fn scheme(self) -> SeqevalScheme {
        match self {
            Self::Iob1 => SeqevalScheme::Iob1,
            Self::Iob2 => SeqevalScheme::Iob2,
            Self::Ioe1 => SeqevalScheme::Ioe1,
            Self::Ioe2 => SeqevalScheme::Ioe2,
            Self::Iobes => SeqevalScheme::Iobes,
            Self::Bilou => SeqevalScheme::Bilou,
        }
    }
}

/// What `--format json` prints.
#[derive(Serialize)]
struct Report<'a> {
    gold: &'a Path,
    predicted: &'a Path,
    gold_format: Format,
    predicted_format: Format,
    /// `spans`, or the mode of the tags.
    mode: &'static str,
    scheme: Option<SchemeName>,
    #[serde(flatten)]
    scores: Scores,
    /// Gold documents without predictions; none for tags.
    missing_documents: Option<usize>,
    /// Pairs of neighbouring tags that the mode does not allow; none for spans.
    invalid_gold_transitions: Option<u64>,
    invalid_predicted_transitions: Option<u64>,
}

/// Runs the command.
///
/// # Errors
/// Where a file cannot be read, is faulty, or does not fit the other.
pub fn run(args: Args) -> Result<()> {
    let [gold, predicted] = formats_of(&args)?;
    let report = match (gold, predicted) {
        (Format::Conll, Format::Conll) => by_tags(&args)?,
        (Format::Conll, _) | (_, Format::Conll) => {
            bail!(
                "gold looks like {gold} and predicted like {predicted}: tags and mentions cannot be compared; convert one \
                 of them, or say --from where they are not what they look like"
            )
        }
        _ => by_spans(&args, [gold, predicted])?,
    };
    match args.format {
        OutputFormat::Json => stdout::print_json(&report),
        OutputFormat::Table => {
            let mut out = stdout::stdout();
            score_table::print(&report.scores, &mut out)?;
            Ok(out.flush()?)
        }
    }
}

fn by_spans(args: &Args, formats: [Format; 2]) -> Result<Report<'_>> {
    if args.mode == ModeName::Strict || args.scheme.is_some() {
        bail!("--mode strict and --scheme are for tags; these files are compared by character offsets");
    }
    let options = FormatOptions::default();
    let read = |format: Format, path: &Path| {
        format.read(path, &options).with_context(|| format!("{} cannot be read", path.display()))
    };
    let (gold, gold_faults) = read(formats[0], &args.gold)?;
    let (predicted, predicted_faults) = read(formats[1], &args.predicted)?;
    check_faults([&gold_faults, &predicted_faults], args.faults)?;
    let scored = score_documents(&gold, &predicted).with_context(|| not_comparable(args))?;
    if scored.missing_documents > 0 {
        warn!("{} gold documents are not in the predictions; their mentions count as missed", scored.missing_documents);
    }
    Ok(Report {
        gold: &args.gold,
        predicted: &args.predicted,
        gold_format: formats[0],
        predicted_format: formats[1],
        mode: "spans",
        scheme: None,
        scores: scored.scores,
        missing_documents: Some(scored.missing_documents),
        invalid_gold_transitions: None,
        invalid_predicted_transitions: None,
    })
}

fn by_tags(args: &Args) -> Result<Report<'_>> {
    let (mode, name, scheme) = match (args.mode, args.scheme) {
        (ModeName::Default, None) => (Mode::Default, "default", None),
        (ModeName::Default, Some(_)) => bail!("--scheme is for --mode strict; the default mode reads every scheme"),
        (ModeName::Strict, scheme) => {
            let scheme = scheme.unwrap_or(SchemeName::Iob2);
            (Mode::Strict(scheme.scheme()), "strict", Some(scheme))
        }
    };
    let options = args.columns.options();
    let (gold, gold_faults) = read_sentences(&args.gold, &options)?;
    let (predicted, predicted_faults) = read_sentences(&args.predicted, &options)?;
    check_faults([&gold_faults, &predicted_faults], args.faults)?;
    let tags =
        |sentences: &[TaggedSentence]| -> Vec<Vec<String>> { sentences.iter().map(|s| s.tags.clone()).collect() };
    let scored = score_tags(&tags(&gold), &tags(&predicted), mode)
        .map_err(|error| {
            let place = place_of(&error, args, &gold, &predicted);
            let error = anyhow!(error);
            match place {
                Some(place) => error.context(place),
                None => error,
            }
        })
        .with_context(|| not_comparable(args))?;
    let pairs = gold.iter().zip(&predicted).flat_map(|(gold, predicted)| gold.words.iter().zip(&predicted.words));
    let other_words = pairs.filter(|(gold, predicted)| gold != predicted).count();
    if other_words > 0 {
        warn!("{other_words} words of the predictions are not those of gold; are both files of the same text?");
    }
    let invalid = scored.invalid_predicted_transitions;
    if invalid > 0 {
        warn!(
            "{invalid} pairs of neighbouring predicted tags are not valid; the mode {name} decides what they stand for"
        );
    }
    Ok(Report {
        gold: &args.gold,
        predicted: &args.predicted,
        gold_format: Format::Conll,
        predicted_format: Format::Conll,
        mode: name,
        scheme,
        scores: scored.scores,
        missing_documents: None,
        invalid_gold_transitions: Some(scored.invalid_gold_transitions),
        invalid_predicted_transitions: Some(invalid),
    })
}

fn not_comparable(args: &Args) -> String {
    format!("{} and {} cannot be compared", args.gold.display(), args.predicted.display())
}

/// Where in the files the fault lies, which the scorer cannot know.
fn place_of(error: &ScoreError, args: &Args, gold: &[TaggedSentence], predicted: &[TaggedSentence]) -> Option<String> {
    let line = |side: Side, sequence: usize, position: usize| -> Option<String> {
        let (path, sentences) = match side {
            Side::Gold => (&args.gold, gold),
            Side::Predicted => (&args.predicted, predicted),
        };
        Some(format!("{}:{}", path.display(), sentences.get(sequence)?.lines.get(position)?))
    };
    match error {
        ScoreError::SequenceLength { sequence, .. } => {
            Some(format!("{}, {}", line(Side::Gold, *sequence, 0)?, line(Side::Predicted, *sequence, 0)?))
        }
        ScoreError::Tags { side, sequence, source } => line(*side, *sequence, source.position),
        _ => None,
    }
}

/// The formats of gold and predicted. A file that looks like none (an empty one) has that of the other.
fn formats_of(args: &Args) -> Result<[Format; 2]> {
    if let Some(format) = args.from {
        return Ok([format; 2]);
    }
    match (Format::detect(&args.gold)?, Format::detect(&args.predicted)?) {
        (Some(gold), Some(predicted)) => Ok([gold, predicted]),
        (Some(format), None) | (None, Some(format)) => Ok([format; 2]),
        (None, None) => bail!(formats::ask(&args.gold)),
    }
}
