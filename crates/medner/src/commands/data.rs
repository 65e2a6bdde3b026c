//! `medner data`: inspects a corpus before training: statistics, faults, overlap between splits, and what tags can
//! represent.

use crate::OutputFormat;
use crate::args::CorpusArgs;
use crate::terminal::{score_table, stdout};
use anyhow::{Context, Result};
use ner_data::dataset::Dropped;
use ner_data::statistics::{CorpusStatistics, Examples};
use ner_data::{
    Diagnostic, DocumentTokenizer, LabelSet, MisfitReason, Span, Split, TagScheme, WindowSize, frames, shown,
};
use ner_experiment::corpus::{self, Corpus, Origin};
use ner_files::write_bytes;
use ner_report::corpus::{CorpusFile, CorpusPage, summary};
use serde::Serialize;
use std::io::Write;
use std::path::{Path, PathBuf};
use tracing::info;

/// Inspect a corpus: statistics, faults, overlap between splits, inconsistent labels, word pieces.
///
/// If an encoder is available, mentions are also converted to BIO tags over its tokenizer's words and back. Mentions
/// that do not survive limit the recall of every model that tags these words.
///
/// Output contains no text of the corpus unless you pass --with-text. The Parquet frames always contain the corpus.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  medner data bc5cdr --sample                       the synthetic sample; no download
  medner data bc5cdr --html bc5cdr.html             a page with plots, for the browser or for printing
  medner data bc5cdr --data-dir ~/CDR --out frames  your own copy, as Parquet for polars or pandas
  medner data bc5cdr --encoder biobert --list-misfits
  medner data bc5cdr --format json | jq .splits.test.statistics.mentions_by_type
  medner data bc5cdr --format json --diagnostics 9999 --with-text | jq .examples.partly_unlabelled")]
pub struct Args {
    /// Corpus: a name (`medner doctor` lists them) or the path of a dataset.toml
    #[arg(value_name = "NAME")]
    dataset: String,
    /// First import a release as distributed: its folders and archives (i2b2)
    #[arg(long, value_name = "PATH", num_args = 1.., conflicts_with_all = ["data_dir", "sample"])]
    from: Vec<PathBuf>,
    #[command(flatten)]
    place: CorpusArgs,
    /// Encoder for the alignment: a name, a hub id or a folder [default: minilm, if already downloaded]
    #[arg(long)]
    encoder: Option<String>,
    /// Maximum number of faults, and of examples per finding, to list
    #[arg(long, value_name = "N", default_value_t = 20)]
    diagnostics: usize,
    /// List mentions that tags cannot represent exactly, without their text
    #[arg(long)]
    list_misfits: bool,
    /// Write a page with plots: one self-contained file
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Include text of the corpus in examples, on the page and in JSON
    #[arg(long)]
    with_text: bool,
    /// Folder for documents.parquet and mentions.parquet [default: datasets/NAME/data/frames of the checkout]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Output format
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
    /// Mentions dropped by the label map, by type.
    dropped: &'c Dropped,
    encoder: Option<EncoderUsed>,
    #[serde(flatten)]
    statistics: &'c CorpusStatistics,
    /// The first `--diagnostics` faults; the statistics count all of them.
    diagnostics: Vec<&'c Diagnostic>,
    /// Examples of each finding, at most `--diagnostics` per kind.
    examples: Examples<'c>,
    /// With `--list-misfits`.
    #[serde(skip_serializing_if = "Option::is_none")]
    misfits: Option<Vec<MisfitRow<'c>>>,
    /// Files written; `None` if there was no folder for them.
    frames: Option<Vec<PathBuf>>,
    /// With `--html`.
    #[serde(skip_serializing_if = "Option::is_none")]
    html: Option<&'c Path>,
}

#[derive(Serialize)]
struct EncoderUsed {
    name: String,
    folder: PathBuf,
    tag_scheme: TagScheme,
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
/// If the corpus or the encoder is missing, or a file cannot be written. Faults of the corpus are not errors here.
pub fn run(args: Args) -> Result<()> {
    if !args.from.is_empty() {
        let folder = corpus::import(&args.dataset, &args.from)?;
        info!("{} is now in {}", args.dataset, folder.display());
    }
    let corpus = corpus::load(&args.dataset, &args.place.source())?;
    let encoder = find_encoder(args.encoder.as_deref())?;
    let labels = LabelSet::new(TagScheme::Bio, &corpus.labels);
    let statistics = CorpusStatistics::of(&corpus.splits, encoder.as_ref().map(|(_, encoder)| encoder), &labels)?;
    let frames = match frames_folder(&args, &corpus) {
        Some(folder) => Some(write_frames(&corpus, &folder)?),
        None => {
            info!("no Parquet files were written; name a folder with --out DIR");
            None
        }
    };
    let faults = corpus.splits.iter().flat_map(|(_, split)| &split.diagnostics.0);
    let report = Report {
        dataset: &args.dataset,
        title: match corpus.description.title.as_str() {
            "" => &corpus.description.name,
            title => title,
        },
        synthetic: corpus.is_sample(),
        origin: &corpus.origin,
        dropped: &corpus.dropped,
        encoder: encoder.map(|(used, _)| used),
        diagnostics: faults.take(args.diagnostics).collect(),
        examples: Examples::of(&statistics, &corpus.splits, args.diagnostics, args.with_text),
        misfits: args.list_misfits.then(|| misfit_rows(&corpus, &statistics)),
        statistics: &statistics,
        frames,
        html: args.html.as_deref(),
    };
    if let Some(path) = &args.html {
        write_page(&corpus, &report, path)?;
    }
    match args.format {
        OutputFormat::Json => stdout::print_json(&report),
        OutputFormat::Table => print_table(&report),
    }
}

/// The requested encoder, or minilm if already downloaded: inspecting data should not download a model.
fn find_encoder(spec: Option<&str>) -> Result<Option<(EncoderUsed, DocumentTokenizer)>> {
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
                    info!("alignment skipped: no encoder is at hand; --encoder {AT_HAND} downloads one");
                    return Ok(None);
                }
            }
        }
    };
    let encoder = DocumentTokenizer::from_folder(&folder, WindowSize::default())
        .with_context(|| format!("cannot load the tokenizer of {name}"))?;
    Ok(Some((EncoderUsed { name, folder, tag_scheme: TagScheme::Bio }, encoder)))
}

/// Folder for the frames. The sample's frames never overwrite those of the real corpus.
fn frames_folder(args: &Args, corpus: &Corpus) -> Option<PathBuf> {
    let in_checkout =
        || corpus::checkout_folder(&corpus.description.name).map(|folder| folder.join("data").join("frames"));
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

fn write_page(corpus: &Corpus, report: &Report, path: &Path) -> Result<()> {
    let description = &corpus.description;
    let file = |file: &corpus::OriginFile| CorpusFile {
        name: file.path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default(),
        sha256: file.sha256.clone(),
        as_published: file.as_described,
    };
    let note = description.sample.as_ref().map_or("", |sample| sample.note.as_str());
    let page = CorpusPage {
        title: report.title,
        synthetic: corpus.is_sample().then_some(note),
        description: &description.description,
        format: corpus.origin.format.to_string(),
        files: corpus.origin.files.iter().map(file).collect(),
        dropped: &corpus.dropped,
        homepage: &description.homepage,
        licence: &description.licence,
        version: env!("CARGO_PKG_VERSION"),
        encoder: report.encoder.as_ref().map(|encoder| encoder.name.as_str()),
        statistics: report.statistics,
        examples: &report.examples,
        faults: &report.diagnostics,
    };
    Ok(write_bytes(path, page.html()?.as_bytes())?)
}

fn misfit_rows<'c>(corpus: &'c Corpus, statistics: &CorpusStatistics) -> Vec<MisfitRow<'c>> {
    let mut rows = Vec::new();
    for (split, report) in statistics.splits.iter() {
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
    writeln!(out, "{}{}", shown(report.title), if report.synthetic { " — SYNTHETIC SAMPLE" } else { "" })?;
    let header: Vec<&str> = std::iter::once("").chain(Split::ALL.map(Split::name)).collect();
    let mut table = score_table::table(&header);
    for row in summary(report.statistics, report.encoder.as_ref().map(|encoder| encoder.name.as_str())) {
        let name = format!("{}{}", "  ".repeat(row.level), row.name);
        score_table::add_row(&mut table, vec![name, row.cells.train, row.cells.dev, row.cells.test]);
    }
    writeln!(out, "{table}")?;
    for fault in &report.diagnostics {
        writeln!(out, "{fault}")?;
    }
    let all: usize = report.statistics.splits.iter().flat_map(|(_, split)| split.statistics.diagnostics.values()).sum();
    if let Some(more @ 1..) = all.checked_sub(report.diagnostics.len()) {
        writeln!(out, "and {more} more faults (--diagnostics N lists more)")?;
    }
    for MisfitRow { split, document, span, entity_type, reason } in report.misfits.iter().flatten() {
        writeln!(out, "{split} {} {span} {}: {reason}", shown(document), shown(entity_type))?;
    }
    for path in report.frames.iter().flatten().map(PathBuf::as_path).chain(report.html) {
        writeln!(out, "written: {}", path.display())?;
    }
    Ok(out.flush()?)
}
