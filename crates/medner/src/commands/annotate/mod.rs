//! `medner annotate`: text in, mentions out.

mod output;
mod record;

use crate::args::{Columns, ModelArgs, SchemeName, offsets};
use crate::terminal::interrupt;
use anyhow::{Context, Result, bail, ensure};
use clap::ValueEnum;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use indicatif::ProgressBar;
use ner_annotate::{Annotator, BatchSize, MergedMention, Model, Offsets, Outcome, Summary, Thresholds, stream};
use ner_data::{ConversionReport, Document};
use ner_experiment::input::{self, Done, Ids, Input, Kind, Mark, Source};
use ner_experiment::progress;
use ner_files::write_bytes;
use output::{OutputPlace, Sink, To};
use record::Kept;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::time::Instant;
use tracing::{info, warn};

/// Find mentions in texts: files, folders or stdin, in any format
///
/// Nothing is cut off: long documents are read in overlapping windows. Positions are those of the text as it is given.
/// Documents stream through the models in constant memory and come out in their order. A document that cannot be read
/// is named and left out, and the exit code is 1 at the end.
///
/// With several models all their mentions are kept, whatever they overlap; where two find the same span with the same
/// type, it is one mention that names both, with the higher confidence.
///
/// With --ensemble the models, which must find the same types, are taken for one. Where their heads, labels and
/// tokenizers are the same, their probabilities are averaged and the mean decides. Else they vote: what more than half of
/// them find, with the same span and type, is a mention, and its confidence the mean over all of them, 0 where one does
/// not find it.
///
/// The confidence of a mention is that of the least certain of the decisions that made it (its words, its joints, its
/// two ends), from 0 to 1. It is of the span as a whole, and it is not calibrated.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  medner annotate note.txt --model i2b2 --to text              look at it
  medner annotate notes/ --model i2b2 --out found/             each file of a folder into one of its own
  medner annotate notes/ --model i2b2 --out found/ --resume    go on after it was interrupted
  cat note.txt | medner annotate --model bc5cdr | jq .mentions
  medner annotate all.jsonl.gz --model bc5cdr --model anatem --out found.jsonl
  medner annotate notes/ --model bc5cdr/RUN --model bc5cdr/RUN --ensemble --out found/     several runs as one model
  medner annotate notes.parquet --text-column note --id-column id --model i2b2 --to parquet --out found.parquet
  medner annotate CDR_TestSet.PubTator.txt --model path/to/folder --to html --out found.html
  medner annotate note.txt --model bc5cdr --threshold 0.5 --threshold Disease=0.8 --all-spans

What a folder of texts is to be written as is one file for each (OUT/ or a folder that is there), or all in one file
(OUT.jsonl). brat and i2b2 are always folders. --resume passes over what OUT holds already; with it the result is that
of an uninterrupted run.

With --out, and where a store of runs is there (--runs, or experiments/ of the checkout), a run of the kind annotate says
by which models and settings the output was made; it holds no text and no name of an input.")]
pub struct Args {
    /// Files, folders, or - for stdin; what ends in .gz, .zst or .zip is unpacked [default: stdin]
    #[arg(value_name = "INPUT")]
    inputs: Vec<PathBuf>,
    #[command(flatten)]
    models: ModelArgs,
    /// Take the models for one: average what they say, or let them vote
    #[arg(long)]
    ensemble: bool,
    /// Format of the inputs [default: what they look like; what looks like none is a text]
    #[arg(long, value_name = "FORMAT", value_parser = kind_name())]
    from: Option<Kind>,
    /// Format of the output
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t)]
    to: To,
    /// File or folder to write, or - for stdout [default: stdout]
    #[arg(long, value_name = "PATH")]
    out: Option<PathBuf>,
    /// Go on with an output that was interrupted: a folder, or a .jsonl file
    #[arg(long)]
    resume: bool,
    /// Leave no record of this annotation in the store of runs
    #[arg(long)]
    no_run: bool,
    /// Least confidence, from 0 to 1, of all types or of one; repeatable
    #[arg(long = "threshold", value_name = "[TYPE=]MIN", value_parser = threshold)]
    thresholds: Vec<(Option<String>, f32)>,
    /// Keep what lies below the thresholds, marked `below_threshold`
    #[arg(long)]
    all_spans: bool,
    /// What positions count
    #[arg(long, default_value = "characters", value_parser = offsets())]
    offsets: Offsets,
    /// Column that holds the texts (Parquet)
    #[arg(long, value_name = "NAME", default_value = "text")]
    text_column: String,
    /// Column that holds their ids (Parquet) [default: the number of the row]
    #[arg(long, value_name = "NAME")]
    id_column: Option<String>,
    #[command(flatten)]
    columns: Columns,
    /// Scheme of the tags that are written (CoNLL)
    #[arg(long, value_enum, default_value_t)]
    scheme: SchemeName,
}

fn kind_name() -> impl TypedValueParser<Value = Kind> {
    PossibleValuesParser::new(Kind::names()).try_map(|name| Kind::from_name(&name).ok_or("unknown"))
}

fn threshold(text: &str) -> Result<(Option<String>, f32), String> {
    let (entity_type, number) = match text.rsplit_once('=') {
        Some((entity_type, number)) => (Some(entity_type.to_owned()), number),
        None => (None, text),
    };
    let least = number.parse().ok().filter(|least| (0.0..=1.0).contains(least));
    Ok((entity_type, least.ok_or("a threshold is a number from 0 to 1, as in 0.5 or Disease=0.8")?))
}

/// Annotates.
///
/// # Errors
/// Where a model or an input is not there, the output cannot be written, or a document could not be annotated.
pub fn run(args: Args) -> Result<()> {
    let wanted = match args.inputs.as_slice() {
        [] if std::io::stdin().is_terminal() => bail!("no input is named; - is stdin"),
        [] => vec![PathBuf::from("-")],
        inputs => inputs.to_vec(),
    };
    let options = output::OutputOptions { to: args.to, offsets: args.offsets, scheme: args.scheme.scheme() };
    output::check(&options)?;
    let (inputs, is_tree) = input::find(&wanted, args.from)?;
    let layout = Layout::new(&args, is_tree)?;
    let (annotator, located) =
        if args.ensemble { args.models.selection().load_ensemble()? } else { args.models.selection().load()? };
    let thresholds = args.thresholds(annotator.models())?;
    let settings = args.settings(annotator.models(), &thresholds);
    let Some(begun) = layout.begin(&args, &inputs, &settings)? else {
        info!("all of it is there already");
        return Ok(());
    };
    let bytes = begun.inputs.iter().map(|(input, _)| input.bytes()).sum();
    let kept = Kept::begin(&args, &located, annotator.models(), (begun.inputs.len(), bytes), settings);
    let annotating =
        Annotating { args: &args, annotator: &annotator, layout: &layout, inputs: &inputs, options, bytes };
    let outcome = annotating.run(begun, thresholds);
    if let Some(kept) = kept {
        kept.end(&outcome);
    }
    let (summary, tally) = outcome?;
    if summary.stopped {
        let hint = if layout.can_resume() { "; go on with --resume" } else { "; the output is not written" };
        bail!("stopped after {} documents{hint}", summary.documents);
    }
    match tally.bad {
        0 => Ok(()),
        bad => bail!("{bad} documents or parts of the input could not be annotated; they are named above"),
    }
}

/// What an annotation works with.
struct Annotating<'a> {
    args: &'a Args,
    annotator: &'a Annotator,
    layout: &'a Layout,
    inputs: &'a [Input],
    options: output::OutputOptions,
    /// Bytes of what is left to do; none where nobody knows.
    bytes: Option<u64>,
}

impl Annotating<'_> {
    fn run(self, begun: Begun, thresholds: Thresholds) -> Result<(Summary, Tally)> {
        let Self { args, annotator, layout, inputs, options, bytes } = self;
        let stop = interrupt::stop_flag("stopping after this batch")?;
        let bar = match bytes {
            Some(bytes) => progress::bytes("annotating", bytes),
            None => progress::documents("annotating"),
        };
        let is_done = begun.inputs.iter().map(|(_, is_done)| *is_done).collect();
        let source = Source {
            inputs: begun.inputs,
            options: input::InputOptions {
                columns: args.columns.options(),
                text_column: args.text_column.clone(),
                id_column: args.id_column.clone(),
            },
            done: begun.done,
            together: !matches!(layout, Layout::PerInput(_)),
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
            all_spans: args.all_spans,
            open: None,
            losses: ConversionReport::default(),
            tally: Tally::default(),
            bar: &bar,
            counts_documents: bytes.is_none(),
            input: None,
            bad_in_input: 0,
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
        layout.end(&summary)?;
        writing.report(&summary, start.elapsed().as_secs_f64());
        Ok((summary, writing.tally))
    }
}

impl Args {
    fn thresholds(&self, models: &[Model]) -> Result<Thresholds> {
        let mut thresholds = Thresholds::default();
        let types: BTreeSet<&String> = models.iter().flat_map(|model| &model.recognizer.labels().types).collect();
        for (entity_type, least) in &self.thresholds {
            match entity_type {
                None => thresholds.general = *least,
                Some(entity_type) => {
                    let known = || types.iter().map(|name| name.as_str()).collect::<Vec<_>>().join(", ");
                    ensure!(
                        types.contains(entity_type),
                        "no model finds the type {entity_type}; there are {}",
                        known()
                    );
                    thresholds.by_type.insert(entity_type.clone(), *least);
                }
            }
        }
        Ok(thresholds)
    }

    /// What must be the same where an output is gone on with.
    fn settings(&self, models: &[Model], thresholds: &Thresholds) -> Value {
        let models: Vec<Value> =
            models.iter().map(|model| json!({ "name": model.name, "categories": model.categories })).collect();
        let mut settings = json!({
            "models": models,
            "threshold": thresholds.general,
            "thresholds": thresholds.by_type,
            "all_spans": self.all_spans,
            "to": name_of(self.to),
            "offsets": self.offsets,
            "scheme": name_of(self.scheme),
        });
        if self.ensemble {
            settings["ensemble"] = true.into();
        }
        settings
    }
}

/// The name of a value, as its option has it.
fn name_of(value: impl ValueEnum) -> String {
    value.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
}

/// Settings of an earlier version, which named values as `BiocXml`, `Characters` and `Iob2`, in today's names.
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

/// Which outputs there are.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Layout {
    /// Everything goes into one.
    One(OutputPlace),
    /// One for each input, in a folder.
    PerInput(PathBuf),
    /// Files for each document, in a folder.
    PerDocument(PathBuf),
}

/// What is left to do.
struct Begun {
    /// The inputs, and whether each is done. Those that are done are read all the same, see `Event::Known`.
    inputs: Vec<(Input, bool)>,
    done: Done,
}

/// In a folder that is written: what it is written with, so that nothing else is added to it.
const SETTINGS: &str = ".medner-annotate.json";

impl Layout {
    fn new(args: &Args, is_tree: bool) -> Result<Self> {
        let Some(out) = args.out.as_ref().filter(|out| *out != Path::new("-")) else {
            ensure!(!args.to.is_folder(), "{:?} is a folder of files; say --out FOLDER", args.to);
            return Ok(Self::One(OutputPlace::Stdout));
        };
        if args.to.is_folder() {
            return Ok(Self::PerDocument(out.clone()));
        }
        let says_folder = out.to_string_lossy().ends_with(std::path::MAIN_SEPARATOR);
        if says_folder || out.is_dir() || (is_tree && out.extension().is_none()) {
            return Ok(Self::PerInput(out.clone()));
        }
        let is_special = std::fs::metadata(out).is_ok_and(|facts| !facts.is_file());
        let is_packed = out.extension().is_some_and(|ending| ending == "gz");
        if args.to == To::Jsonl && !is_special && !is_packed {
            return Ok(Self::One(OutputPlace::Lines { part: with_suffix(out, ".part"), path: out.clone() }));
        }
        Ok(Self::One(OutputPlace::Path(out.clone())))
    }

    const fn can_resume(&self) -> bool {
        matches!(self, Self::PerInput(_) | Self::PerDocument(_) | Self::One(OutputPlace::Lines { .. }))
    }

    /// Where the settings stand.
    fn settings(&self) -> Option<PathBuf> {
        match self {
            Self::PerInput(folder) | Self::PerDocument(folder) => Some(folder.join(SETTINGS)),
            Self::One(OutputPlace::Lines { part, .. }) => Some(with_suffix(part, ".json")),
            Self::One(_) => None,
        }
    }

    /// Looks at what is there; none where nothing is left to do.
    fn begin(&self, args: &Args, inputs: &[Input], settings: &Value) -> Result<Option<Begun>> {
        ensure!(!args.resume || self.can_resume(), "--resume is for --out with a folder or a .jsonl file");
        let mut begun =
            Begun { inputs: inputs.iter().cloned().map(|input| (input, false)).collect(), done: Done::Nothing };
        let is_begun = match self {
            Self::One(OutputPlace::Lines { part, path }) => {
                if args.resume && !part.exists() && path.exists() {
                    return Ok(None);
                }
                part.exists()
            }
            Self::One(_) => return Ok(Some(begun)),
            Self::PerInput(folder) | Self::PerDocument(folder) => {
                fs_err::create_dir_all(folder)?;
                fs_err::read_dir(folder)?.next().is_some()
            }
        };
        let Some(place) = self.settings() else { return Ok(Some(begun)) };
        fs_err::create_dir_all(place.parent().filter(|at| !at.as_os_str().is_empty()).unwrap_or(Path::new(".")))?;
        if is_begun {
            self.check_begun(args, &place, settings)?;
        } else {
            write_bytes(&place, settings.to_string().as_bytes())?;
        }
        match self {
            Self::One(OutputPlace::Lines { part, .. }) if is_begun => {
                let mut ids = Ids::default();
                let count = output::ids_of_whole_lines(part, |id| {
                    ids.insert(id);
                })?;
                info!("{count} documents are there already");
                begun.done = Done::Ids(ids);
            }
            Self::One(_) => {}
            Self::PerInput(folder) => {
                let mut paths = BTreeSet::new();
                for input in inputs {
                    let path = output_of(folder, input, args.to);
                    ensure!(paths.insert(path.clone()), "two inputs would both become {}", path.display());
                }
                for (input, is_done) in &mut begun.inputs {
                    *is_done = output_of(folder, input, args.to).exists();
                }
                let there = begun.inputs.iter().filter(|(_, is_done)| *is_done).count();
                if there > 0 {
                    info!("{there} of {} files are there already", inputs.len());
                }
            }
            Self::PerDocument(folder) => {
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
            Self::One(OutputPlace::Lines { part, .. }) => part.display(),
            _ => args.out.as_deref().unwrap_or(Path::new("")).display(),
        };
        ensure!(args.resume, "{out} holds something already; --resume goes on with what was interrupted");
        let there: Option<Value> =
            place.is_file().then(|| anyhow::Ok(serde_json::from_str(&fs_err::read_to_string(place)?)?)).transpose()?;
        ensure!(there.is_some(), "{out} is nothing that annotate began: it has no {}", place.display());
        // As text: numbers that were read are of another width than those that were not.
        ensure!(
            there.map(modernised).as_ref().map(Value::to_string) == Some(settings.to_string()),
            "{out} was begun with other models or settings ({} names them); --resume goes on only with the same",
            place.display()
        );
        Ok(())
    }

    /// Takes away what only an interrupted output needs.
    fn end(&self, summary: &Summary) -> Result<()> {
        if let (Self::One(OutputPlace::Lines { .. }), Some(settings), false) = (self, self.settings(), summary.stopped)
        {
            fs_err::remove_file(settings)?;
        }
        Ok(())
    }
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut path = path.as_os_str().to_owned();
    path.push(suffix);
    path.into()
}

fn output_of(folder: &Path, input: &Input, to: To) -> PathBuf {
    folder.join(format!("{}.{}", input.name, to.extension()))
}

/// What was counted.
#[derive(Default)]
struct Tally {
    mentions: BTreeMap<String, usize>,
    below: usize,
    bad: usize,
}

/// The outputs while they are written.
struct Writing<'w> {
    models: &'w [Model],
    options: output::OutputOptions,
    layout: &'w Layout,
    inputs: &'w [Input],
    /// Whether the output of each input was there before.
    is_done: Vec<bool>,
    to: To,
    thresholds: Thresholds,
    all_spans: bool,
    open: Option<Box<dyn Sink>>,
    losses: ConversionReport,
    tally: Tally,
    bar: &'w ProgressBar,
    counts_documents: bool,
    /// The input whose documents come.
    input: Option<usize>,
    bad_in_input: usize,
}

impl Writing<'_> {
    /// Opens what all documents go into.
    fn begin(&mut self) -> Result<()> {
        let place = match self.layout {
            Layout::One(place) => place.clone(),
            Layout::PerDocument(folder) => OutputPlace::Path(folder.clone()),
            Layout::PerInput(_) => return Ok(()),
        };
        let title = match self.inputs {
            [input] => input.name.clone(),
            inputs => format!("{} files", inputs.len()),
        };
        self.open = Some(output::create(&self.options, &place, &title, self.models)?);
        Ok(())
    }

    fn take(&mut self, outcome: Outcome<Mark>) -> Result<()> {
        match outcome {
            Outcome::Annotated(document, findings) => self.write(&document, findings),
            Outcome::Failed(id, error) => {
                let file = self.input.map(|at| self.inputs[at].path.display().to_string()).unwrap_or_default();
                self.bad(&format!("{file}: document {id}: {error}"));
                Ok(())
            }
            Outcome::Mark(Mark::Bad(message)) => {
                self.bad(&message);
                Ok(())
            }
            Outcome::Mark(Mark::Begin(input)) => {
                (self.input, self.bad_in_input) = (Some(input), 0);
                Ok(())
            }
            Outcome::Mark(Mark::End(input)) if self.is_done[input] => Ok(()),
            Outcome::Mark(Mark::End(_)) => self.end_input(),
        }
    }

    fn bad(&mut self, message: &str) {
        self.tally.bad += 1;
        self.bad_in_input += 1;
        self.bar.suspend(|| warn!("left out: {message}"));
    }

    fn write(&mut self, document: &Document, findings: Vec<MergedMention>) -> Result<()> {
        let findings = self.thresholds.apply(findings, self.all_spans);
        for finding in &findings {
            *self.tally.mentions.entry(finding.entity_type.clone()).or_default() += 1;
            self.tally.below += usize::from(finding.below_threshold);
        }
        if self.counts_documents {
            self.bar.inc(1);
        }
        self.sink()?.write(document, &findings)
    }

    /// The output of the document in hand.
    fn sink(&mut self) -> Result<&mut Box<dyn Sink>> {
        if self.open.is_none()
            && let (Layout::PerInput(folder), Some(at)) = (self.layout, self.input)
        {
            let input = &self.inputs[at];
            let place = OutputPlace::Path(output_of(folder, input, self.to));
            self.open = Some(output::create(&self.options, &place, &input.name, self.models)?);
        }
        self.open.as_mut().context("no output is open")
    }

    fn end_input(&mut self) -> Result<()> {
        if matches!(self.layout, Layout::PerInput(_)) {
            // An input without documents becomes an output without any; but not one that cannot be read.
            if self.bad_in_input == 0 {
                self.sink()?;
            }
            self.close()?;
        }
        Ok(())
    }

    fn close(&mut self) -> Result<()> {
        if let Some(sink) = self.open.take() {
            self.losses.merge(&sink.finish()?);
        }
        Ok(())
    }

    /// Ends the output that all documents went into. One that was interrupted stays unfinished.
    fn finish(&mut self, summary: &Summary) -> Result<()> {
        let to_stdout = *self.layout == Layout::One(OutputPlace::Stdout);
        if summary.stopped && !to_stdout {
            self.open = None;
            return Ok(());
        }
        self.close()
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
            info!("the format cannot say all: {item}: {} moved, {} lost", tally.moved, tally.lost);
        }
    }
}
