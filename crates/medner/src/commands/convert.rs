//! `medner convert`: converts between formats and reports what changed.

use crate::OutputFormat;
use crate::args::{self, Columns, FaultArgs, InputOffsets, SchemeName, TextColumns, format_name};
use crate::terminal::{interrupt, score_table, stdout};
use anyhow::{Context, Result, bail, ensure};
use indicatif::ProgressBar;
use ner_data::format::{Output, buffered, conll, without_packing};
use ner_data::{ConversionChange, ConversionReport, DiagnosticKind, Document, Documents, Format, FormatOptions};
use ner_experiment::corpus::FaultCount;
use ner_experiment::input::{Kind, is_stream, open_once, open_stream};
use ner_experiment::progress;
use ner_files::NewFolder;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, BufRead, Write};
use std::path::{Path, PathBuf};
use tracing::warn;

/// Convert documents from one format to another, and report what was kept, moved and lost.
///
/// Folders are converted file by file. Formats with files per document (folders) and formats with many documents in one
/// file convert into each other. The report counts what the new format cannot express: `kept` items read back
/// unchanged, `moved` items change position or form, `lost` items are missing. Output files are complete or absent. The
/// report goes to stdout, or to stderr if OUT is -.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  medner convert CDR_TestSet.PubTator.txt test.jsonl --to jsonl
  medner convert CDR_TestSet.PubTator.txt test.tsv --to conll --scheme bioes --list-changes
  medner convert annotated/ converted/ --from jsonl --to pubtator --strict
  medner convert tagged.conll tagged.jsonl --word-column 1 --tag-column 3 --to jsonl
  zcat corpus.jsonl.gz | medner convert - - --from jsonl --to pubtator | wc -l")]
pub struct Args {
    /// File or folder to read, or - for stdin; gzip and Zstandard are decompressed
    #[arg(value_name = "IN")]
    input: PathBuf,
    /// File or folder to write, or - for stdout; .gz is compressed
    #[arg(value_name = "OUT")]
    output: PathBuf,
    /// Format of IN [default: detected]
    #[arg(long, value_name = "FORMAT", value_parser = format_name())]
    from: Option<Format>,
    /// Format of OUT
    #[arg(long, value_name = "FORMAT", value_parser = format_name())]
    pub(super) to: Format,
    #[command(flatten)]
    columns: Columns,
    #[command(flatten)]
    text_columns: TextColumns,
    #[command(flatten)]
    offsets: InputOffsets,
    /// Tag scheme of the output (CoNLL) [default: iob2]
    #[arg(long, value_enum)]
    scheme: Option<SchemeName>,
    /// Omit -DOCSTART- lines; the output then has sentences but no documents (CoNLL)
    #[arg(long)]
    no_docstart: bool,
    /// List each moved or lost item, without its text
    #[arg(long, alias = "list-losses")]
    list_changes: bool,
    /// Fail and write nothing if anything is moved, lost or unreadable
    #[arg(long)]
    strict: bool,
    /// Format of the report
    #[arg(long, value_enum, default_value_t)]
    format: OutputFormat,
    #[command(flatten)]
    faults: FaultArgs,
}

/// The resolved arguments.
struct Plan {
    from: Format,
    steps: Vec<Step>,
    output: Target,
    /// The input, if it can be read only once.
    stream: Option<Box<dyn BufRead + Send>>,
}

/// One collection to read, and its output path.
struct Step {
    input: PathBuf,
    /// Path inside OUT; empty for OUT itself.
    output: PathBuf,
}

/// Where the output goes.
enum Target {
    Stdout,
    File(PathBuf),
    /// A folder that appears when everything is done.
    Folder(PathBuf),
}

/// What `--format json` prints.
#[derive(Serialize)]
struct Report<'a> {
    input: &'a Path,
    output: &'a Path,
    from: Format,
    to: Format,
    /// Number of input files, or of folders if a collection is a folder.
    inputs: usize,
    lossless: bool,
    /// Documents, and the number of items of each kind that were kept, moved and lost.
    #[serde(flatten)]
    losses: ConversionReport,
    /// Number of input faults by kind.
    faults: BTreeMap<DiagnosticKind, usize>,
    /// With `--list-changes`.
    #[serde(skip_serializing_if = "Option::is_none")]
    listed: Option<Vec<ConversionChange>>,
}

/// Runs the command.
///
/// # Errors
/// If something cannot be read or written, the input is faulty, or `--strict` finds a loss.
pub fn run(args: &Args) -> Result<()> {
    run_with(args, &BTreeSet::new(), &mut |_| Ok(()))
}

/// Likewise, and changes each document on its way.
///
/// # Errors
/// As [`run`], and if a change fails or no mention has one of the `types`: no file is written then.
pub fn run_with(
    args: &Args,
    types: &BTreeSet<&str>,
    change: &mut dyn FnMut(&mut Document) -> Result<()>,
) -> Result<()> {
    let mut plan = Plan::new(args)?;
    interrupt::end_cleanly()?;
    let options = args.format_options(plan.from)?;
    let mut out: Box<dyn Write> =
        if args.output == Path::new("-") { Box::new(io::stderr()) } else { Box::new(stdout::stdout()) };
    let mut listed = Vec::new();
    // If the reader of the list goes away (`… | head`), the conversion continues.
    let mut printed: io::Result<()> = Ok(());
    let mut list = |changes: Vec<ConversionChange>, bar: &ProgressBar| match args.format {
        OutputFormat::Json => listed.extend(changes),
        OutputFormat::Table => {
            for change in changes {
                if printed.is_ok() {
                    printed = bar.suspend(|| writeln!(out, "{change}"));
                }
            }
        }
    };

    let staging = match &plan.output {
        Target::Folder(folder) => Some(NewFolder::create(folder)?),
        Target::Stdout | Target::File(_) => None,
    };
    let bar = plan.bar()?;
    let mut faults = FaultCount::default();
    let mut report = ConversionReport::default();
    let mut unfinished = None;
    let mut seen = BTreeSet::new();
    for at in 0..plan.steps.len() {
        let mut documents = plan.open(at, &options, &bar)?;
        let step = &plan.steps[at];
        let mut writer = match (&plan.output, &staging) {
            (Target::Stdout, _) => args.to.create_output(Output::Open(Box::new(stdout::stdout())), &options)?,
            (Target::File(path), _) => args.to.create(path, &options)?,
            (Target::Folder(_), Some(staging)) => args.to.create(&staging.draft().join(&step.output), &options)?,
            (Target::Folder(_), None) => continue,
        };
        let unreadable = || format!("cannot read {}", step.input.display());
        while let Some(mut document) = documents.next_document().with_context(unreadable)? {
            for mention in &document.mentions {
                if !seen.contains(&mention.entity_type) {
                    seen.insert(mention.entity_type.clone());
                }
            }
            change(&mut document)?;
            faults.add(&documents.take_diagnostics());
            let changes = writer.write(&document)?;
            if args.list_changes {
                list(changes, &bar);
            }
            if plan.from.is_folder() {
                bar.inc(1);
            }
        }
        faults.add(&documents.take_diagnostics());
        report.merge(writer.report());
        match staging {
            Some(_) => drop(writer.finish()?),
            None => unfinished = Some(writer),
        }
    }
    bar.finish_and_clear();
    faults.check(args.faults.lenient)?;
    args::check_seen(types.iter().copied(), &seen)?;

    let lossless = report.is_lossless() && faults.left_out() == 0;
    if lossless || !args.strict {
        if let Some(writer) = unfinished {
            writer.finish()?;
        }
        if let Some(staging) = staging {
            staging.finish()?;
        }
    }
    let report = Report {
        input: &args.input,
        output: &args.output,
        from: plan.from,
        to: args.to,
        inputs: plan.steps.len(),
        lossless,
        losses: report,
        faults: faults.counts(),
        listed: args.list_changes.then_some(listed),
    };
    let printed = printed.and_then(|()| print(&report, args.format, &mut out));
    if args.strict && !lossless {
        bail!(
            "--strict: something was moved, lost or not read, so {} is not written; see the report, or drop --strict",
            args.output.display()
        );
    }
    Ok(printed?)
}

impl Args {
    /// Options of both formats; those that neither has are refused.
    fn format_options(&self, from: Format) -> Result<FormatOptions> {
        let input = self.text_columns.options(self.columns);
        let options = FormatOptions {
            conll: conll::ConllOptions {
                scheme: self.scheme.unwrap_or_default().scheme(),
                documents: !self.no_docstart,
                ..input.columns.clone()
            },
            json: input.json_keys(),
            offsets: self.offsets.of(from),
        };
        input.check([Kind::Corpus(from)])?;
        self.offsets.check(&[from])?;
        let is_for_output = self.scheme.is_some() || self.no_docstart;
        ensure!(
            !is_for_output || self.to == Format::Conll,
            "--scheme and --no-docstart have no effect on {} output: they are for CoNLL",
            self.to
        );
        Ok(options)
    }
}

impl Plan {
    fn new(args: &Args) -> Result<Self> {
        let (input, to) = (&args.input, args.to);
        let whole = || vec![Step { input: input.clone(), output: PathBuf::new() }];
        let mut stream = None;
        let (from, steps) = if is_stream(input) {
            let (opened, from) = match args.from {
                Some(from) => (open_once(input)?, from),
                None => {
                    let (opened, look, _) = open_stream(input)?;
                    (opened, look.format().with_context(|| args::no_corpus(input, Some(&look)))?)
                }
            };
            stream = Some(opened);
            (from, whole())
        } else if input.is_dir() && args.from.or(Format::detect(input)?).is_none_or(|from| !from.is_folder()) {
            let (from, files) = files_of(input, args.from)?;
            let steps: Vec<Step> = files.into_iter().map(|file| step(input, file, from, to)).collect();
            let mut outputs = BTreeSet::new();
            if let Some(twice) = steps.iter().find(|step| !outputs.insert(&step.output)) {
                bail!("two files of {} would both become {}; rename one", input.display(), twice.output.display());
            }
            (from, steps)
        } else {
            (args::told(input, args.from)?, whole())
        };
        ensure!(
            !from.is_folder() || input.is_dir(),
            "{from} input is a folder, but {} is not a folder",
            input.display()
        );
        let is_tree = input.is_dir() && !from.is_folder();
        let output = match (args.output == Path::new("-"), to.is_folder() || is_tree) {
            (true, true) => bail!("this output is a folder and cannot be written to stdout; name a folder as OUT"),
            (true, false) => Target::Stdout,
            (false, true) => Target::Folder(args.output.clone()),
            (false, false) if args.output.is_dir() => {
                ensure!(!is_stream(input), "{} is a folder; name the output file", args.output.display());
                Target::File(args.output.join(new_name(input, from, to)))
            }
            (false, false) => Target::File(args.output.clone()),
        };
        Ok(Self { from, steps, output, stream })
    }

    /// A progress bar over bytes, or over documents if each document is a file.
    fn bar(&self) -> Result<ProgressBar> {
        let is_file = |step: &&Step| !is_stream(&step.input);
        if self.from.is_folder() || !self.steps.iter().all(|step| is_file(&step)) {
            return Ok(progress::documents("converting"));
        }
        let mut bytes = 0;
        for step in &self.steps {
            bytes += fs_err::metadata(&step.input)?.len();
        }
        Ok(progress::bytes("converting", bytes))
    }

    fn open(&mut self, at: usize, options: &FormatOptions, bar: &ProgressBar) -> Result<Documents<'static>> {
        let path = &self.steps[at].input;
        if let Some(stream) = self.stream.take() {
            let name = if path == Path::new("-") { Path::new("stdin") } else { path };
            return Ok(self.from.open_input(stream, name, options)?);
        }
        if self.from.is_folder() {
            return Ok(self.from.open(path, options)?);
        }
        let file = bar.wrap_read(fs_err::File::open(path)?);
        let unpacked = buffered(file, path).with_context(|| format!("cannot read {}", path.display()))?;
        Ok(self.from.open_input(unpacked, path, options)?)
    }
}

/// The files below a folder that have the format, in order, and the format: the given one, or the only one detected.
fn files_of(folder: &Path, given: Option<Format>) -> Result<(Format, Vec<PathBuf>)> {
    let is_hidden =
        |entry: &walkdir::DirEntry| entry.depth() > 0 && entry.file_name().to_string_lossy().starts_with('.');
    let mut files = Vec::new();
    let entries = walkdir::WalkDir::new(folder).follow_links(true).sort_by_file_name().into_iter();
    for entry in entries.filter_entry(|entry| !is_hidden(entry)) {
        let entry = entry?;
        if entry.file_type().is_file() {
            let format = Format::detect(entry.path());
            let format = format.with_context(|| format!("cannot read {}", entry.path().display()))?;
            files.push((format, entry.into_path()));
        }
    }
    let looks: BTreeSet<Format> = files.iter().filter_map(|(format, _)| *format).collect();
    let from = match (given, looks.len()) {
        (Some(from), _) => from,
        (None, 1) => looks.into_iter().next().with_context(|| args::ask(folder))?,
        (None, _) => bail!(args::ask(folder)),
    };
    let ending = format!(".{}", from.extension().to_lowercase());
    let is_named = |path: &Path| without_packing(path).to_string_lossy().to_lowercase().ends_with(&ending);
    let (taken, others): (Vec<_>, Vec<_>) =
        files.into_iter().partition(|(format, path)| *format == Some(from) || is_named(path));
    if let Some((_, other)) = others.first() {
        let count = others.len();
        warn!("{count} files do not look like {from} and were not converted, for example {}", other.display());
    }
    ensure!(!taken.is_empty(), "{} contains no {from} file", folder.display());
    Ok((from, taken.into_iter().map(|(_, path)| path).collect()))
}

/// Pairs a file with its path in the new folder.
fn step(folder: &Path, file: PathBuf, from: Format, to: Format) -> Step {
    let relative = file.strip_prefix(folder).unwrap_or(&file);
    let output = relative.with_file_name(new_name(&file, from, to));
    Step { output, input: file }
}

/// The name of a file or folder after conversion.
fn new_name(path: &Path, from: Format, to: Format) -> PathBuf {
    let name = without_packing(path).file_name().unwrap_or_default().to_string_lossy().into_owned();
    let stem = match name.strip_suffix(&format!(".{}", from.extension())) {
        Some(stem) if !stem.is_empty() => stem.to_owned(),
        _ if path.is_dir() => name,
        _ => Path::new(&name).file_stem().unwrap_or_default().to_string_lossy().into_owned(),
    };
    if to.is_folder() { stem.into() } else { format!("{stem}.{}", to.extension()).into() }
}

fn print(report: &Report, format: OutputFormat, out: &mut impl Write) -> io::Result<()> {
    if format == OutputFormat::Json {
        serde_json::to_writer_pretty(&mut *out, report)?;
        writeln!(out)?;
        return out.flush();
    }
    let ConversionReport { documents, items } = &report.losses;
    writeln!(out, "{documents} documents from {} to {}", report.from, report.to)?;
    let mut table = score_table::table(&["", "kept", "moved", "lost"]);
    for (item, tally) in items {
        let counts = [tally.kept, tally.moved, tally.lost].map(|count| count.to_string());
        score_table::add_row(&mut table, [vec![item.name().to_owned()], counts.into()].concat());
    }
    writeln!(out, "{table}")?;
    out.flush()
}
