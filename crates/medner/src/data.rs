//! `medner data`: what a corpus holds, what is wrong with it, and what of it survives the way to tags and back.

use crate::corpus::{self, Corpus, Origin, Place};
use crate::{OutputFormat, score_table, stdout};
use anyhow::{Context, Result};
use ner_data::{
    AlignmentStatistics, Diagnostic, DiagnosticKind, LabelSet, MisfitReason, Span, Split, SplitStatistics, Splits,
    TagScheme, TextEncoder, WindowSize, frames,
};
use serde::Serialize;
use std::collections::BTreeSet;
use std::io::Write;
use std::path::{Path, PathBuf};
use tracing::info;

/// Count what a corpus holds, name its faults, and write it as Parquet.
///
/// Where an encoder is at hand, the mentions are also brought onto its tokenizer's words as BIO tags and back: what does
/// not survive that bounds the recall of every model that tags these words.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  medner data bc5cdr --sample                       the synthetic sample, without any download
  medner data bc5cdr --data-dir ~/CDR --out frames  your own copy, as Parquet for polars or pandas
  medner data bc5cdr --encoder biobert --list-misfits
  medner data bc5cdr --format json | jq .splits.test.statistics.mentions_by_type")]
pub struct Args {
    /// Name of the corpus (bc5cdr)
    #[arg(value_name = "NAME")]
    dataset: String,
    #[command(flatten)]
    place: Place,
    /// Encoder for the alignment: a name, a hub id or a folder [default: minilm, if it is on this machine]
    #[arg(long)]
    encoder: Option<String>,
    /// How many faults to list
    #[arg(long, value_name = "N", default_value_t = 20)]
    diagnostics: usize,
    /// List the mentions that tags cannot say exactly; their text is not shown
    #[arg(long)]
    list_misfits: bool,
    /// Folder for documents.parquet and mentions.parquet [default: datasets/NAME/data/frames of the checkout]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// How to print the counts
    #[arg(long, value_enum, default_value_t)]
    format: OutputFormat,
}

/// What `--format json` prints.
#[derive(Serialize)]
struct Report<'c> {
    dataset: &'c str,
    title: &'c str,
    synthetic: bool,
    origin: &'c Origin,
    encoder: Option<EncoderUsed>,
    splits: Splits<SplitReport>,
    /// The first faults, as many as `--diagnostics` says; all are counted in the statistics.
    diagnostics: Vec<&'c Diagnostic>,
    /// Of `--list-misfits`.
    #[serde(skip_serializing_if = "Option::is_none")]
    misfits: Option<Vec<MisfitRow<'c>>>,
    /// Files written; none where there was no place for them.
    frames: Option<Vec<PathBuf>>,
}

#[derive(Serialize)]
struct EncoderUsed {
    name: String,
    folder: PathBuf,
    tag_scheme: TagScheme,
}

#[derive(Serialize)]
struct SplitReport {
    statistics: SplitStatistics,
    /// None without an encoder.
    alignment: Option<AlignmentStatistics>,
}

#[derive(Serialize)]
struct MisfitRow<'c> {
    split: Split,
    document: &'c str,
    span: Span,
    entity_type: &'c str,
    reason: MisfitReason,
}

/// Runs the command.
///
/// # Errors
/// Where the corpus or the encoder cannot be had, or a file cannot be written. Faults of the corpus are no error here.
pub fn run(args: Args) -> Result<()> {
    let corpus = corpus::load(&args.dataset, &args.place)?;
    let encoder = find_encoder(args.encoder.as_deref())?;
    let splits = count(&corpus, encoder.as_ref().map(|(_, encoder)| encoder))?;
    let frames = match frames_folder(&args, &corpus) {
        Some(folder) => Some(write_frames(&corpus, &folder)?),
        None => {
            info!("no Parquet files were written; --out DIR says where to");
            None
        }
    };
    let misfits = args.list_misfits.then(|| misfit_rows(&corpus, &splits));
    let faults = corpus.splits.iter().flat_map(|(_, split)| &split.diagnostics.0);
    let report = Report {
        dataset: &args.dataset,
        title: &corpus.description.title,
        synthetic: corpus.is_sample(),
        origin: &corpus.origin,
        encoder: encoder.map(|(used, _)| used),
        diagnostics: faults.take(args.diagnostics).collect(),
        splits,
        misfits,
        frames,
    };
    match args.format {
        OutputFormat::Json => stdout::print_json(&report),
        OutputFormat::Table => print_table(&report),
    }
}

/// The encoder that is asked for, or minilm where it is on this machine: a look at data should fetch no model.
fn find_encoder(spec: Option<&str>) -> Result<Option<(EncoderUsed, TextEncoder)>> {
    const AT_HAND: &str = "minilm";
    let options = corpus::hub_options();
    let (name, folder) = match spec {
        Some(spec) => {
            let files = ner_hub::resolve_encoder(spec, &options)?;
            (files.name, files.dir)
        }
        None => {
            let mut known = ner_hub::list_encoders(&options.env).into_iter();
            match known.find(|status| status.entry.name == AT_HAND).and_then(|status| status.local) {
                Some(local) => (AT_HAND.to_owned(), local.dir),
                None => {
                    info!("no encoder is at hand, so nothing was aligned; --encoder {AT_HAND} fetches one");
                    return Ok(None);
                }
            }
        }
    };
    let encoder = TextEncoder::from_folder(&folder, WindowSize::default())
        .with_context(|| format!("the tokenizer of {name} cannot be loaded"))?;
    Ok(Some((EncoderUsed { name, folder, tag_scheme: TagScheme::Bio }, encoder)))
}

fn count(corpus: &Corpus, encoder: Option<&TextEncoder>) -> Result<Splits<SplitReport>> {
    let labels = LabelSet::new(TagScheme::Bio, &corpus.labels);
    corpus.splits.try_map(|_, split| {
        let alignment =
            encoder.map(|encoder| AlignmentStatistics::of(&split.documents, encoder, &labels)).transpose()?;
        Ok(SplitReport { statistics: SplitStatistics::of(split), alignment })
    })
}

/// Where frames go: never the sample's over those of the real corpus.
fn frames_folder(args: &Args, corpus: &Corpus) -> Option<PathBuf> {
    let in_checkout = || corpus::checkout_folder(&args.dataset).map(|folder| folder.join("data").join("frames"));
    args.out.clone().or_else(|| if corpus.is_sample() { None } else { in_checkout() })
}

fn write_frames(corpus: &Corpus, folder: &Path) -> Result<Vec<PathBuf>> {
    let splits = || corpus.splits.iter().map(|(split, loaded)| (split, loaded.documents.as_slice()));
    let mut written = Vec::new();
    for (name, frame) in [("documents", frames::documents(splits())), ("mentions", frames::mentions(splits()))] {
        let path = folder.join(format!("{name}.parquet"));
        frames::write(&path, &mut frame?)?;
        written.push(path);
    }
    Ok(written)
}

fn misfit_rows<'c>(corpus: &'c Corpus, splits: &Splits<SplitReport>) -> Vec<MisfitRow<'c>> {
    let mut rows = Vec::new();
    for (split, report) in splits.iter() {
        let documents = &corpus.splits.get(split).documents;
        for &(document, mention, reason) in report.alignment.iter().flat_map(|alignment| &alignment.misfit_mentions) {
            let document = &documents[document];
            let mention = &document.mentions[mention];
            let (document, entity_type) = (document.id.as_str(), mention.entity_type.as_str());
            rows.push(MisfitRow { split, document, span: mention.span(), entity_type, reason });
        }
    }
    rows
}

fn print_table(report: &Report) -> Result<()> {
    let mut out = stdout::stdout();
    writeln!(out, "{}{}", report.title, if report.synthetic { " — SYNTHETIC SAMPLE" } else { "" })?;
    let header: Vec<&str> = std::iter::once("").chain(Split::ALL.map(Split::name)).collect();
    let mut table = score_table::table(&header);
    for (name, cells) in rows(report) {
        score_table::add_row(&mut table, vec![name, cells.train, cells.dev, cells.test]);
    }
    writeln!(out, "{table}")?;
    for fault in &report.diagnostics {
        writeln!(out, "{fault}")?;
    }
    let all: usize = report.splits.iter().flat_map(|(_, split)| split.statistics.diagnostics.values()).sum();
    if let Some(more @ 1..) = all.checked_sub(report.diagnostics.len()) {
        writeln!(out, "and {more} more faults (--diagnostics N lists more)")?;
    }
    for MisfitRow { split, document, span, entity_type, reason } in report.misfits.iter().flatten() {
        writeln!(out, "{split} {document} {span} {entity_type}: {}", reason_phrase(*reason))?;
    }
    for path in report.frames.iter().flatten() {
        writeln!(out, "written: {}", path.display())?;
    }
    Ok(out.flush()?)
}

/// The rows of the table, each with a cell for each split.
fn rows(report: &Report) -> Vec<(String, Splits<String>)> {
    let splits = &report.splits;
    let counted = |part: &dyn Fn(&SplitStatistics) -> usize| splits.map(|_, split| part(&split.statistics).to_string());
    let mut rows = vec![("documents".to_owned(), counted(&|s| s.documents))];
    let mut row = |name: &str, cells| rows.push((name.to_owned(), cells));
    row("  without mentions", counted(&|s| s.documents_without_mentions));
    row("characters", counted(&|s| s.characters));
    if splits.iter().any(|(_, split)| split.statistics.words > 0) {
        row("sentences", counted(&|s| s.sentences));
        row("words", counted(&|s| s.words));
    }
    row("mentions", counted(&|s| s.mentions));
    let types: BTreeSet<&String> = splits.iter().flat_map(|(_, s)| s.statistics.mentions_by_type.keys()).collect();
    for entity_type in types {
        let of_type = |s: &SplitStatistics| s.mentions_by_type.get(entity_type).copied().unwrap_or(0);
        row(&format!("  {entity_type}"), counted(&of_type));
    }
    let mean = |mean: Option<f64>| mean.map_or_else(|| "–".to_owned(), |mean| format!("{mean:.1}"));
    row("  a document (mean)", splits.map(|_, split| mean(split.statistics.mentions_per_document)));
    row("  discontinuous", counted(&|s| s.discontinuous));
    row("  of several concepts", counted(&|s| s.several_concepts));
    row("  of no known concept", counted(&|s| s.no_concept));
    row("faults", counted(&|s| s.diagnostics.values().sum()));
    let kinds: BTreeSet<DiagnosticKind> =
        splits.iter().flat_map(|(_, split)| split.statistics.diagnostics.keys().copied()).collect();
    for kind in kinds {
        let of_kind = |s: &SplitStatistics| s.diagnostics.get(&kind).copied().unwrap_or(0);
        row(&format!("  {kind}"), counted(&of_kind));
    }
    let Some(encoder) = &report.encoder else { return rows };
    let aligned = |part: &dyn Fn(&AlignmentStatistics) -> String| {
        splits.map(|_, split| split.alignment.as_ref().map(part).unwrap_or_default())
    };
    row(&format!("tokens of {}", encoder.name), aligned(&|a| a.tokens.to_string()));
    row("  words of them", aligned(&|a| a.words.to_string()));
    row("  windows", aligned(&|a| a.windows.to_string()));
    row("mentions that tags give back", aligned(&|a| a.surviving.to_string()));
    let percent = |share: Option<f64>| share.map_or_else(|| "–".to_owned(), |share| format!("{:.2} %", 100.0 * share));
    row("  of all", aligned(&|a| percent(a.surviving_share)));
    let reasons: BTreeSet<MisfitReason> =
        splits.iter().filter_map(|(_, s)| s.alignment.as_ref()).flat_map(|a| a.misfits.keys().copied()).collect();
    for reason in reasons {
        let of_reason = |a: &AlignmentStatistics| a.misfits.get(&reason).copied().unwrap_or(0).to_string();
        row(&format!("  lost: {}", reason_phrase(reason)), aligned(&of_reason));
    }
    rows
}

const fn reason_phrase(reason: MisfitReason) -> &'static str {
    match reason {
        MisfitReason::InsideUnit => "begins or ends inside a word",
        MisfitReason::Overlap => "overlaps another",
        MisfitReason::Discontinuous => "discontinuous",
        MisfitReason::NoUnit => "touches no word",
        MisfitReason::UnknownType => "its type is not in the label set",
        MisfitReason::Merged => "one with its neighbour",
    }
}
