//! `medner annotate`: finds mentions in texts.

mod handover;
mod output;
mod record;
mod shards;

use crate::args::{AnnotatorArgs, Columns, SchemeName, TextColumns, ThresholdArgs, add_checksums, kind_name, offsets};
use crate::terminal::interrupt;
use anyhow::{Context, Result, bail, ensure};
use clap::ValueEnum;
use handover::HandoverArgs;
use indicatif::ProgressBar;
use ner_annotate::{Annotator, BatchSize, MergedMention, Model, Offsets, Outcome, Summary, Thresholds, stream};
use ner_data::format::file_names::short_id;
use ner_data::{ConversionReport, Document};
use ner_experiment::input::{self, Done, Ids, Input, InputOptions, Inputs, Kind, Mark, Source};
use ner_experiment::progress;
use ner_experiment::shards::{MOST_FAULTS, Shard};
use ner_files::{Lock, Scratch, in_use, is_draft, remove_left_drafts};
use ner_stores::is_url;
use output::{OutputPlace, Sink, To};
use record::Kept;
use serde_json::{Value, json};
use shards::ShardRun;
use std::collections::BTreeMap;
use std::io::{self, ErrorKind, IsTerminal};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tracing::{info, warn};

/// Find mentions in texts: files, folders, object stores or stdin, in any format
///
/// No text is truncated: long documents are read in overlapping windows. Offsets refer to the text as given.
/// Documents are streamed in constant memory, and the output keeps their order. Unreadable documents are reported and
/// skipped; the exit code is then 1.
///
/// With several models all mentions are kept, even if they overlap. If two models find the same span with the same
/// type, the output has one mention that names both and has the higher confidence.
///
/// With --ensemble several models of the same types act as one. If their heads, labels and tokenizers are equal, their
/// probabilities are averaged. Otherwise they vote: a mention (span and type) is kept if more than half of the models
/// find it. Its confidence is the mean over all models, with 0 for those that do not find it.
///
/// Mentions of problems and diseases get an assertion (present, absent, possible, conditional, hypothetical,
/// associated_with_someone_else; and historical) with the cue that decided it, and the section of the note: docs/assertion.md.
///
/// With --vocabulary, mentions get the concepts that they mean: id, preferred name and score (docs/link.md).
///
/// The confidence of a mention, from 0 to 1, is that of the least certain decision behind it (about a word, a boundary
/// between words, or an end). It refers to the whole span and is not calibrated.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  medner annotate note.txt --model i2b2 --to text              show the mentions in the terminal
  medner annotate notes/ --model i2b2 --out found/             one output file for each file of a folder
  medner annotate notes/ --model i2b2 --out found/ --resume    continue after an interruption
  cat note.txt | medner annotate --model bc5cdr | jq .mentions
  medner annotate all.jsonl.gz --model bc5cdr --model anatem --out found.jsonl
  medner annotate notes/ --model bc5cdr/RUN --model bc5cdr/RUN --ensemble --out found/     several runs as one model
  medner annotate notes.parquet --text-column note --id-column id --model i2b2 --to parquet --out found.parquet
  medner annotate CDR_TestSet.PubTator.txt --model path/to/folder --to html --out found.html
  medner annotate notes/ --model i2b2 --assert treatment --to csv --out found.csv     assertions of treatments, too
  medner annotate all.jsonl --model bc5cdr --vocabulary Disease=doid.voc --vocabulary Chemical=mesh.voc --out found.jsonl
  medner annotate notes/ --model i2b2 --to fhir --out found.ndjson                    FHIR R4: docs/hospital.md
  medner annotate notes.parquet --text-column note_text --id-column note_id --model i2b2 --to omop --out note_nlp.parquet
  medner annotate note.txt --model bc5cdr --threshold 0.5 --threshold Disease=0.8 --all-spans
  medner annotate notes/ --model i2b2 --out found/ --shard 3/64        the fourth of 64 processes: docs/collections.md
  medner annotate --check found/                                       which of them have to start again
  medner annotate s3://hospital/notes/ --model i2b2 --out s3://hospital/found/ --shard 3/64

For a folder of texts, --out is a folder (OUT/ or an existing one) with one file for each text, or one file (OUT.jsonl)
with all of them. brat and i2b2 output is always a folder. --resume skips what OUT already holds; the result equals that
of an uninterrupted run.

With --out, the models and settings are also recorded as a run of kind annotate, if there is a folder of runs (--runs,
or experiments/ of the checkout). The record holds no text and no input names.")]
pub struct Args {
    /// Files, folders, URLs of objects or prefixes (s3://, gs://, az://), or - for stdin; .gz, .zst and .zip are
    /// decompressed [default: stdin]
    #[arg(value_name = "INPUT")]
    inputs: Vec<PathBuf>,
    #[command(flatten)]
    annotator: AnnotatorArgs,
    /// Format of the inputs [default: detected, else plain text]
    #[arg(long, value_name = "FORMAT", value_parser = kind_name())]
    from: Option<Kind>,
    /// Format of the output
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t)]
    to: To,
    /// File, folder or URL to write, or - for stdout [default: stdout]
    #[arg(long, value_name = "PATH")]
    out: Option<PathBuf>,
    /// Continue an interrupted output: a folder or prefix, or a file of JSON lines (jsonl, fhir)
    #[arg(long)]
    resume: bool,
    /// Do not record this annotation as a run
    #[arg(long)]
    no_run: bool,
    #[command(flatten)]
    thresholds: ThresholdArgs,
    /// Unit of the offsets
    #[arg(long, default_value = "characters", value_parser = offsets())]
    offsets: Offsets,
    #[command(flatten)]
    text_columns: TextColumns,
    #[command(flatten)]
    columns: Columns,
    /// Tag scheme of the output (CoNLL) [default: iob2]
    #[arg(long, value_enum)]
    scheme: Option<SchemeName>,
    /// Put ' before cells that a spreadsheet would run as formulas, or that begin with ' (CSV)
    #[arg(long)]
    escape_formulas: bool,
    #[command(flatten)]
    handover: HandoverArgs,
    /// Annotate one of OF equal shares of the inputs, with NUMBER from 0; all shards write to the same folder OUT. It
    /// implies --apart: all shards together find what one process with --apart finds
    #[arg(long, value_name = "NUMBER/OF", requires = "out", conflicts_with = "resume")]
    shard: Option<Shard>,
    /// Check the folder or prefix that shards wrote to: prints the numbers of those to start again
    #[arg(long, value_name = "DIR", exclusive = true)]
    check: Option<PathBuf>,
}

/// Annotates.
///
/// # Errors
/// If a model or an input is missing, the output cannot be written, or a document could not be annotated.
pub fn run(mut args: Args) -> Result<()> {
    if let Some(folder) = &args.check {
        return shards::check(folder);
    }
    let wanted = match args.inputs.as_slice() {
        [] if std::io::stdin().is_terminal() => bail!("name an input file or folder, or - for stdin"),
        [] => vec![PathBuf::from("-")],
        inputs => inputs.to_vec(),
    };
    let options = output::OutputOptions {
        to: args.to,
        offsets: args.offsets,
        scheme: args.scheme.unwrap_or_default().scheme(),
        escape_formulas: args.escape_formulas,
        handover: args.handover.resolve(
            args.to,
            args.out.as_deref(),
            args.thresholds.all_spans,
            args.annotator.linking.vocabularies().are_given(),
        )?,
    };
    for (is_given, needs, option) in
        [(args.scheme.is_some(), To::Conll, "--scheme"), (args.escape_formulas, To::Csv, "--escape-formulas")]
    {
        ensure!(
            !is_given || args.to == needs,
            "{option} has no effect on {} output: it is for {}",
            name_of(args.to),
            name_of(needs)
        );
    }
    output::check(&options)?;
    args.annotator.linking.vocabularies().check_candidates(&name_of(args.to))?;
    let input_options = args.text_columns.options(args.columns);
    let Inputs { mut inputs, is_tree, mut bad, has_outage } = input::find(&wanted, args.from, &input_options)?;
    // The batches of a shard are not those of another number of shards.
    args.annotator.apart |= args.shard.is_some();
    if let (Some(_), Some(message)) = (&args.shard, bad.first()) {
        // The list of inputs decides what each shard gets.
        ensure!(!has_outage && !inputs.is_empty(), "the inputs cannot be dealt out to shards: {message}");
    }
    let shard = args.shard.map(|shard| ShardRun::new(&args, shard, &inputs)).transpose()?;
    let layout = match &shard {
        Some(shard) => Layout::Part(shard.part()),
        None => Layout::new(&args, is_tree)?,
    };
    if let Some(run) = &shard {
        inputs = run.inputs();
        // The first shard reports what no shard can read.
        bad.retain(|_| args.shard.is_some_and(|shard| shard.number == 0));
    }
    let (annotator, located) = args.annotator.load()?;
    if args.to == To::Fhir {
        handover::check_categories(annotator.models())?;
    }
    if let Some(linkers) = annotator.linkers() {
        handover::check_vocabularies(args.to, linkers)?;
    }
    let thresholds = args.thresholds.resolve(&annotator)?;
    let mut settings = args.settings(&annotator, &thresholds)?;
    if let Some(shard) = &shard {
        add_checksums(annotator.models(), &located, &mut settings)?;
        if shard.is_finished(&settings)? {
            return Ok(());
        }
    }
    let Some(begun) = layout.begin(&args, &inputs, &settings)? else {
        bad.iter().for_each(|message| warn!("skipped: {message}"));
        ensure!(bad.is_empty(), "{} files could not be read; see the warnings above", bad.len());
        warn!(
            "nothing to do: the output was complete already; new and changed inputs, and other settings, need another --out"
        );
        return Ok(());
    };
    let bytes = begun.inputs.iter().map(|(input, _)| input.size()).sum();
    let kept = Kept::begin(&args, &located, annotator.models(), (begun.inputs.len(), bytes), settings.clone());
    let annotating = Annotating {
        args: &args,
        annotator: &annotator,
        layout: &layout,
        inputs: &inputs,
        input_options,
        bad,
        options,
        bytes,
    };
    let outcome = annotating.run(begun, thresholds);
    if let Some(kept) = kept {
        kept.end(&outcome);
    }
    let (summary, tally) = match outcome {
        Err(error) if layout.can_resume() => {
            return Err(error.context("the output is not complete; solve the problem and continue with --resume"));
        }
        outcome => outcome?,
    };
    if summary.stopped {
        let hint = if layout.can_resume() { "; continue with --resume" } else { "; no output was written" };
        bail!("stopped after {} documents{hint}", summary.documents);
    }
    if let Some(shard) = shard {
        return shard.finish(settings, &summary, tally);
    }
    let mut faults = Vec::new();
    if tally.cut > 0 {
        faults.push(format!("{} inputs could not be read to the end{}", tally.cut, layout.after_cut()));
    }
    if tally.bad > 0 {
        faults.push(format!("{} documents or parts of the input could not be annotated", tally.bad));
    }
    ensure!(faults.is_empty(), "{}; see the warnings above", faults.join("; "));
    Ok(())
}

/// Time for the current batch after Ctrl-C or SIGTERM. A batch may hold a document of any size, and what it would have
/// written is written again by `--resume`.
const GRACE: Duration = Duration::from_secs(5);

/// The parts of a running annotation.
struct Annotating<'a> {
    args: &'a Args,
    annotator: &'a Annotator,
    layout: &'a Layout,
    inputs: &'a [Input],
    input_options: InputOptions,
    /// What cannot be read at all.
    bad: Vec<String>,
    options: output::OutputOptions,
    /// Bytes left to read; `None` if unknown.
    bytes: Option<u64>,
}

impl Annotating<'_> {
    fn run(self, begun: Begun, thresholds: Thresholds) -> Result<(Summary, Tally)> {
        let Self { args, annotator, layout, inputs, input_options, bad, options, bytes } = self;
        let stop = interrupt::stop_flag_within("stopping after this batch", GRACE)?;
        let bar = match bytes {
            Some(bytes) => progress::bytes("annotating", bytes),
            None => progress::documents("annotating"),
        };
        let Begun { inputs: left, done, lock: _lock } = begun;
        let is_done = left.iter().map(|(_, is_done)| *is_done).collect();
        let source = Source {
            inputs: left,
            options: input_options,
            bad,
            stop: Arc::clone(&stop),
            done,
            together: !matches!(layout, Layout::PerInput(_) | Layout::Part(_)),
            bar: bytes.is_some().then(|| bar.clone()),
        };
        let mut writing = Writing {
            models: annotator.models(),
            options,
            layout,
            inputs,
            is_done,
            to: args.to,
            thresholds,
            all_spans: args.thresholds.all_spans,
            open: None,
            upload: None,
            losses: ConversionReport::default(),
            left_out: BTreeMap::new(),
            tally: Tally::default(),
            bar: &bar,
            counts_documents: bytes.is_none(),
            input: None,
            faults: Faults::default(),
        };
        writing.begin()?;
        let start = Instant::now();
        let read = move |push: &mut dyn FnMut(ner_annotate::Event<Mark>) -> bool| {
            source.read(push);
            Ok(())
        };
        let summary = stream(annotator, BatchSize::default(), &stop, read, |outcome| writing.take(outcome))?;
        bar.finish_and_clear();
        writing.finish(&summary)?;
        writing.report(&summary, start.elapsed().as_secs_f64());
        Ok((summary, writing.tally))
    }
}

impl Args {
    /// The settings that must be equal to resume an output.
    fn settings(&self, annotator: &Annotator, thresholds: &Thresholds) -> Result<Value> {
        let models = annotator.models().iter();
        let models: Vec<Value> =
            models.map(|model| json!({ "name": model.name, "categories": model.categories })).collect();
        let mut settings = json!({
            "models": models,
            "threshold": thresholds.general,
            "thresholds": thresholds.by_type,
            "all_spans": self.thresholds.all_spans,
            "to": name_of(self.to),
            "offsets": self.offsets,
            "scheme": name_of(self.scheme.unwrap_or_default()),
        });
        if self.annotator.ensemble {
            settings["ensemble"] = true.into();
        }
        if self.escape_formulas {
            settings["escape_formulas"] = true.into();
        }
        for (key, value) in self.text_columns.settings(self.columns) {
            settings[key] = value;
        }
        self.annotator.add_settings(annotator, &mut settings)?;
        if let Some(handover) = self.handover.settings() {
            settings["handover"] = handover;
        }
        Ok(settings)
    }
}

/// The name of an option's value.
fn name_of(value: impl ValueEnum) -> String {
    value.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
}

/// Converts settings of earlier versions, which used names like `BiocXml`, `Characters` and `Iob2`, to current names.
fn modernised(mut settings: Value) -> Value {
    let plain = |text: &str| text.replace('-', "").to_lowercase();
    let names = |key: &str| -> Vec<String> {
        match key {
            "to" => To::value_variants().iter().map(|&value| name_of(value)).collect(),
            _ => SchemeName::value_variants().iter().map(|&value| name_of(value)).collect(),
        }
    };
    for key in ["to", "scheme"] {
        if let Some(Value::String(value)) = settings.get_mut(key)
            && let Some(today) = names(key).into_iter().find(|name| plain(name) == plain(value))
        {
            *value = today;
        }
    }
    if let Some(Value::String(value)) = settings.get_mut("offsets") {
        *value = if plain(value) == "bytes" { "bytes".into() } else { "chars".into() };
    }
    settings
}

/// Which outputs to write.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Layout {
    /// stdout, a pipe or a device.
    Stream(OutputPlace),
    /// One file for everything, called `part` until every input was read to its end.
    File { part: PathBuf, path: PathBuf },
    /// Likewise, but of lines, which `--resume` can continue.
    Lines { part: PathBuf, path: PathBuf },
    /// One file per input, in a folder.
    PerInput(PathBuf),
    /// Files per document, in a folder.
    PerDocument(PathBuf),
    /// The part of a shard, which appears when it is finished.
    Part(PathBuf),
}

/// The remaining work.
struct Begun {
    /// The inputs, and whether each is done. Finished inputs are read again, see `Event::Known`.
    inputs: Vec<(Input, bool)>,
    done: Done,
    lock: Option<OutputLock>,
}

/// Holds the settings of an output folder, so that `--resume` can refuse different ones.
const SETTINGS: &str = ".medner-annotate.json";

/// Held while an output folder is written.
const LOCK: &str = ".medner-annotate.lock";

/// The lock of an output, so that two processes never write the same one.
struct OutputLock {
    _lock: Lock,
    /// A file that exists only for the lock.
    file: Option<PathBuf>,
}

impl OutputLock {
    /// `None` on a file system without locks.
    fn take(file: &Path, out: &Path, is_only_lock: bool) -> Result<Option<Self>> {
        match Lock::on(file) {
            Ok(Some(lock)) => Ok(Some(Self { _lock: lock, file: is_only_lock.then(|| file.to_owned()) })),
            Ok(None) => Err(in_use(out).into()),
            Err(error) if error.kind() == ErrorKind::Unsupported => {
                warn!("the file system of {} has no locks: start no second process for this output", out.display());
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }
}

impl Drop for OutputLock {
    fn drop(&mut self) {
        if let Some(file) = &self.file {
            let _ = std::fs::remove_file(file);
        }
    }
}

impl Layout {
    fn new(args: &Args, is_tree: bool) -> Result<Self> {
        let Some(out) = args.out.as_ref().filter(|out| *out != Path::new("-")) else {
            ensure!(!args.to.is_folder(), "{:?} output is a folder of files; add --out FOLDER", args.to);
            return Ok(Self::Stream(OutputPlace::Stdout));
        };
        if args.to.is_folder() {
            ensure!(
                !is_url(out),
                "{} output is a folder of files, which {} cannot be: name a folder on this machine and copy it",
                name_of(args.to),
                out.display()
            );
            return Ok(Self::PerDocument(out.clone()));
        }
        let says_folder = out.to_string_lossy().ends_with(std::path::MAIN_SEPARATOR);
        // The scheme is a component, too.
        let is_bucket = is_url(out) && out.components().count() < 3;
        if says_folder || is_bucket || out.is_dir() || (is_tree && out.extension().is_none()) {
            return Ok(Self::PerInput(out.clone()));
        }
        if std::fs::metadata(out).is_ok_and(|facts| !facts.is_file()) {
            return Ok(Self::Stream(OutputPlace::Path(out.clone())));
        }
        let ending = out.extension().map(|ending| ending.to_string_lossy().into_owned());
        // An object cannot grow.
        if args.to.is_lines() && ending.as_deref() != Some("gz") && !is_url(out) {
            return Ok(Self::Lines { part: with_suffix(out, ".part"), path: out.clone() });
        }
        // The ending stays, because `.gz` is compressed.
        let part = ending.map_or_else(|| "part".into(), |ending| format!("part.{ending}"));
        Ok(Self::File { part: out.with_extension(part), path: out.clone() })
    }

    const fn can_resume(&self) -> bool {
        matches!(self, Self::PerInput(_) | Self::PerDocument(_) | Self::Lines { .. })
    }

    /// What an input that ended too early means for the output, as the end of a message.
    fn after_cut(&self) -> String {
        let resume = "then continue with --resume";
        match self {
            Self::Stream(_) | Self::Part(_) => String::new(),
            Self::File { part, path } => {
                let (part, path) = (part.display(), path.display());
                format!(": repair or omit them. {part} has what could be read, and {path} is not written")
            }
            Self::Lines { part, .. } => {
                let part = part.display();
                format!(
                    ": repair or omit them, {resume}, which appends the rest. Until then {part} has what could be read"
                )
            }
            Self::PerInput(_) => format!(" and have no output: repair or omit them, {resume}"),
            Self::PerDocument(_) => format!(": repair or omit them, {resume}"),
        }
    }

    /// Path of the settings file.
    fn settings(&self) -> Option<PathBuf> {
        match self {
            Self::PerInput(folder) | Self::PerDocument(folder) => Some(folder.join(SETTINGS)),
            Self::Lines { part, .. } => Some(with_suffix(part, ".json")),
            Self::Stream(_) | Self::File { .. } | Self::Part(_) => None,
        }
    }

    /// Locks the output and compares it with the inputs; `None` if nothing is left to do.
    fn begin(&self, args: &Args, inputs: &[Input], settings: &Value) -> Result<Option<Begun>> {
        ensure!(
            !args.resume || self.can_resume(),
            "--resume needs --out with a folder, a .jsonl file, or --to fhir; in a store it needs a prefix (with a slash at \
             its end), because an object cannot be continued"
        );
        let mut begun = Begun {
            inputs: inputs.iter().cloned().map(|input| (input, false)).collect(),
            done: Done::Nothing,
            lock: None,
        };
        let Some(place) = self.settings() else { return Ok(Some(begun)) };
        let out = args.out.as_deref().unwrap_or(Path::new("."));
        // What a store holds already. It has no locks, folders and drafts.
        let stored = is_url(out).then(|| ner_stores::below(out)).transpose()?;
        if stored.is_none() {
            fs_err::create_dir_all(place.parent().filter(|at| !at.as_os_str().is_empty()).unwrap_or(Path::new(".")))?;
        }
        let is_begun = match (self, &stored) {
            (_, Some(stored)) => stored.iter().any(|url| !url.ends_with(SETTINGS)),
            (Self::Lines { part, path }, None) => {
                let was_there = part.exists();
                begun.lock = OutputLock::take(part, path, false)?;
                let is_begun = std::fs::metadata(part).is_ok_and(|facts| facts.len() > 0);
                // A run that was killed before its first line leaves an empty part and its settings.
                let is_finished = !is_begun && path.exists() && !(was_there && place.exists());
                if args.resume && is_finished {
                    std::fs::remove_file(part).ok();
                    return Ok(None);
                }
                is_begun
            }
            (_, None) => {
                begun.lock = OutputLock::take(&out.join(LOCK), out, true)?;
                has_outputs(out)?
            }
        };
        if is_begun {
            self.check_begun(args, &place, settings)?;
        } else if let Err(error) = ner_stores::write(&place, settings.to_string().into_bytes()) {
            if let Self::Lines { part, .. } = self {
                std::fs::remove_file(part).ok();
            }
            return Err(error.into());
        }
        match self {
            Self::Lines { part, .. } => {
                let mut ids = Ids::default();
                let count = output::ids_of_whole_lines(part, |id| {
                    ids.insert(id);
                })?;
                if count > 0 {
                    info!("skipping {count} finished documents");
                }
                begun.done = Done::Ids(ids);
            }
            Self::Stream(_) | Self::File { .. } | Self::Part(_) => {}
            Self::PerInput(folder) => {
                if stored.is_none() {
                    remove_left_drafts(folder)?;
                }
                let mut owners = BTreeMap::new();
                for input in inputs {
                    let path = output_of(folder, input, args.to);
                    if let Some(other) = owners.insert(path.clone(), &input.path) {
                        let (one, other) = (input.path.display(), other.display());
                        bail!("{other} and {one} would both be written to {}; rename one", path.display());
                    }
                }
                for (input, is_done) in &mut begun.inputs {
                    let path = output_of(folder, input, args.to);
                    *is_done = stored.as_ref().map_or_else(|| path.is_file(), |stored| stored.contains(&path));
                }
                let there = begun.inputs.iter().filter(|(_, is_done)| *is_done).count();
                if there > 0 {
                    info!("skipping {there} of {} files, which are finished", inputs.len());
                }
            }
            Self::PerDocument(folder) => {
                remove_left_drafts(folder)?;
                if let Some(format) = args.to.format() {
                    begun.done = Done::Folder(folder.clone(), format);
                }
            }
        }
        let is_left = begun.inputs.iter().any(|(_, is_done)| !is_done);
        Ok(is_left.then_some(begun))
    }

    fn check_begun(&self, args: &Args, place: &Path, settings: &Value) -> Result<()> {
        let out = match self {
            Self::Lines { part, .. } => part.display(),
            _ => args.out.as_deref().unwrap_or(Path::new("")).display(),
        };
        let settings_file = place.display();
        ensure!(args.resume, "{out} is not empty; name another --out, or add --resume to continue an interrupted run");
        ensure!(ner_stores::contains(place)?, "{out} was not written by annotate: {settings_file} is missing");
        let there: Value = serde_json::from_slice(&ner_stores::read(place)?).with_context(|| {
            format!("{settings_file}, the settings with which {out} was begun, is damaged; name another --out")
        })?;
        // Its JSON lines have another form, and one output has one form.
        let is_earlier = there["to"] == "Jsonl";
        ensure!(!is_earlier, "{out} was begun by an earlier version, whose JSON lines differ; name another --out");
        // Compared as text: a parsed f32 becomes an f64 and would differ.
        let (there, wanted) = (modernised(there).to_string(), settings.to_string());
        ensure!(
            there == wanted,
            "{out} was begun with other models or settings, listed in {settings_file}; --resume needs the same ones"
        );
        Ok(())
    }

    /// Gives the output its name.
    fn complete(&self) -> Result<()> {
        if let Self::File { path, .. } | Self::Part(path) = self
            && is_url(path)
        {
            return Ok(());
        }
        if let Self::File { part, path } | Self::Lines { part, path } = self {
            fs_err::File::open(part)?.sync_all()?;
            fs_err::rename(part, path)?;
        }
        if let Self::Part(path) = self {
            fs_err::File::open(path)?.sync_all()?;
        }
        if let (Self::Lines { .. }, Some(settings)) = (self, self.settings()) {
            fs_err::remove_file(settings)?;
        }
        Ok(())
    }
}

/// Whether a folder has any file apart from those that medner needs while it writes.
fn has_outputs(folder: &Path) -> Result<bool> {
    for entry in walkdir::WalkDir::new(folder) {
        let entry = entry?;
        let is_ours = [SETTINGS, LOCK].iter().any(|name| entry.file_name() == *name) || is_draft(entry.path());
        if !entry.file_type().is_dir() && !is_ours {
            return Ok(true);
        }
    }
    Ok(false)
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut path = path.as_os_str().to_owned();
    path.push(suffix);
    path.into()
}

/// The output file of an input. A name that is too long with its new ending is shortened.
fn output_of(folder: &Path, input: &Input, to: To) -> PathBuf {
    let (place, name) = input.name.rsplit_once('/').unwrap_or(("", &input.name));
    folder.join(place).join(format!("{}.{}", short_id(name), to.extension()))
}

/// Whether an error concerns the name of one output, so that the others can be written.
fn is_about_name(error: &anyhow::Error) -> bool {
    const KINDS: [ErrorKind; 5] = [
        ErrorKind::AlreadyExists,
        ErrorKind::NotADirectory,
        ErrorKind::IsADirectory,
        ErrorKind::DirectoryNotEmpty,
        ErrorKind::InvalidFilename,
    ];
    error.chain().find_map(|cause| cause.downcast_ref::<io::Error>()).is_some_and(|cause| KINDS.contains(&cause.kind()))
}

/// Counts for the report.
#[derive(Default)]
struct Tally {
    mentions: BTreeMap<String, usize>,
    below: usize,
    bad: usize,
    /// Inputs that could not be read to the end.
    cut: usize,
    /// Whether one of them may be read another time.
    has_outage: bool,
    /// The first messages about both.
    faults: Vec<String>,
}

impl Tally {
    fn note(&mut self, message: &str) {
        if self.faults.len() < MOST_FAULTS {
            self.faults.push(message.to_owned());
        }
    }
}

/// What happened in the current input.
#[derive(Clone, Copy, Default)]
struct Faults {
    bad: usize,
    is_cut: bool,
}

/// An output that is written in the temporary folder, and becomes an object when it is finished.
struct Upload {
    file: PathBuf,
    url: PathBuf,
    _folder: Scratch,
}

/// The outputs being written.
struct Writing<'w> {
    models: &'w [Model],
    options: output::OutputOptions,
    layout: &'w Layout,
    inputs: &'w [Input],
    /// Whether the output of each input existed before.
    is_done: Vec<bool>,
    to: To,
    thresholds: Thresholds,
    all_spans: bool,
    open: Option<Box<dyn Sink>>,
    /// What becomes of it in a store.
    upload: Option<Upload>,
    losses: ConversionReport,
    /// Mentions that the format has no place for, by reason.
    left_out: BTreeMap<String, usize>,
    tally: Tally,
    bar: &'w ProgressBar,
    counts_documents: bool,
    /// The input whose documents are being written.
    input: Option<usize>,
    faults: Faults,
}

impl Writing<'_> {
    /// Opens the output that all documents share.
    fn begin(&mut self) -> Result<()> {
        let place = match self.layout {
            Layout::Stream(place) => place.clone(),
            Layout::File { part, .. } => OutputPlace::Path(part.clone()),
            Layout::Lines { part, .. } => OutputPlace::Lines(part.clone()),
            Layout::PerDocument(folder) => OutputPlace::Path(folder.clone()),
            Layout::Part(path) => OutputPlace::Path(path.clone()),
            Layout::PerInput(_) => return Ok(()),
        };
        let title = match self.inputs {
            [input] => input.name.clone(),
            inputs => format!("{} files", inputs.len()),
        };
        self.create(place, &title)
    }

    fn create(&mut self, mut place: OutputPlace, title: &str) -> Result<()> {
        if let OutputPlace::Path(path) = &mut place
            && is_url(path)
        {
            let folder = Scratch::new()?;
            let file = folder.path().join(path.file_name().context("an output without a name")?);
            let url = std::mem::replace(path, file.clone());
            self.upload = Some(Upload { file, url, _folder: folder });
        }
        self.open = Some(output::create(&self.options, &place, title, self.models)?);
        Ok(())
    }

    fn take(&mut self, outcome: Outcome<Mark>) -> Result<()> {
        match outcome {
            Outcome::Annotated(document, mentions) => self.write(&document, mentions),
            Outcome::Failed(id, error) => {
                let file = self.input.map(|at| self.inputs[at].path.display().to_string()).unwrap_or_default();
                self.bad(&format!("{file}: document {id}: {error}"));
                Ok(())
            }
            Outcome::Mark(Mark::Bad(message)) => {
                self.bad(&message);
                Ok(())
            }
            Outcome::Mark(Mark::Cut(message)) => {
                self.cut(&message);
                Ok(())
            }
            Outcome::Mark(Mark::Lost(message)) => {
                self.tally.has_outage = true;
                self.cut(&message);
                Ok(())
            }
            Outcome::Mark(Mark::Begin(input)) => {
                (self.input, self.faults) = (Some(input), Faults::default());
                Ok(())
            }
            Outcome::Mark(Mark::End(input)) if self.is_done[input] => Ok(()),
            Outcome::Mark(Mark::End(_)) => self.end_input(),
        }
    }

    fn cut(&mut self, message: &str) {
        self.tally.cut += 1;
        self.tally.note(message);
        self.faults.is_cut = true;
        self.bar.suspend(|| warn!("{message}"));
    }

    fn bad(&mut self, message: &str) {
        self.tally.bad += 1;
        self.tally.note(message);
        self.faults.bad += 1;
        self.bar.suspend(|| warn!("skipped: {message}"));
    }

    fn write(&mut self, document: &Document, mentions: Vec<MergedMention>) -> Result<()> {
        let mentions = self.thresholds.apply(mentions, self.all_spans);
        for mention in &mentions {
            *self.tally.mentions.entry(mention.entity_type.clone()).or_default() += 1;
            self.tally.below += usize::from(mention.below_threshold);
        }
        if self.counts_documents {
            self.bar.inc(1);
        }
        match self.sink().and_then(|sink| sink.write(document, &mentions)) {
            Err(error) if *self.layout != Layout::Stream(OutputPlace::Stdout) && is_about_name(&error) => {
                let name = document.id.clone();
                self.bad(&format!("document {name}: {error:#}"));
                Ok(())
            }
            written => written,
        }
    }

    /// The output of the current document.
    fn sink(&mut self) -> Result<&mut Box<dyn Sink>> {
        if self.open.is_none()
            && let (Layout::PerInput(folder), Some(at)) = (self.layout, self.input)
        {
            let input = &self.inputs[at];
            let place = OutputPlace::Path(output_of(folder, input, self.to));
            self.create(place, &input.name)?;
        }
        self.open.as_mut().context("no output is open")
    }

    fn end_input(&mut self) -> Result<()> {
        if !matches!(self.layout, Layout::PerInput(_)) {
            return Ok(());
        }
        if self.faults.is_cut {
            // A file under its name counts as complete.
            (self.open, self.upload) = (None, None);
            return Ok(());
        }
        // An input without documents gets an empty output, but an unreadable input gets none.
        let opened = if self.faults.bad == 0 { self.sink().map(|_| ()) } else { Ok(()) };
        match opened.and_then(|()| self.close()) {
            Err(error) if is_about_name(&error) => {
                self.bad(&format!("{error:#}"));
                Ok(())
            }
            closed => closed,
        }
    }

    fn close(&mut self) -> Result<()> {
        if let Some(sink) = self.open.take() {
            for (reason, count) in sink.left_out() {
                *self.left_out.entry(reason).or_default() += count;
            }
            self.losses.merge(&sink.finish()?);
        }
        if let Some(upload) = self.upload.take() {
            ner_stores::put(&upload.file, &upload.url)?;
        }
        Ok(())
    }

    /// Finishes the shared output. An interrupted one stays unfinished, and so does one that lacks a part of an input.
    fn finish(&mut self, summary: &Summary) -> Result<()> {
        let to_stdout = *self.layout == Layout::Stream(OutputPlace::Stdout);
        if summary.stopped && !to_stdout {
            (self.open, self.upload) = (None, None);
            return Ok(());
        }
        // A manifest says what a part lacks.
        let is_whole = self.tally.cut == 0 || matches!(self.layout, Layout::Part(_));
        if let (true, Layout::File { path, .. }, Some(upload)) = (is_whole, self.layout, &mut self.upload) {
            // It was created as the part.
            upload.url.clone_from(path);
        }
        self.close()?;
        if is_whole { self.layout.complete() } else { Ok(()) }
    }

    fn report(&self, summary: &Summary, seconds: f64) {
        let types = self.tally.mentions.iter().map(|(entity_type, count)| format!("{entity_type} {count}"));
        let types = types.collect::<Vec<_>>().join(", ");
        let mentions: usize = self.tally.mentions.values().sum();
        let below =
            if self.all_spans { format!(", {} of them below the thresholds", self.tally.below) } else { String::new() };
        let Summary { documents, tokens, windows, .. } = summary;
        let rate = if seconds > 0.0 { *documents as f64 / seconds } else { 0.0 };
        info!(
            "{documents} documents ({tokens} tokens in {windows} windows, {rate:.1} documents/s): {mentions} mentions{}{below}",
            if types.is_empty() { String::new() } else { format!(" ({types})") },
        );
        for (item, tally) in self.losses.items.iter().filter(|(_, tally)| tally.moved + tally.lost > 0) {
            info!("the format cannot express everything: {item}: {} moved, {} lost", tally.moved, tally.lost);
        }
        for (reason, count) in &self.left_out {
            info!("lost because the format has no place for them: {count} {reason}");
        }
    }
}
