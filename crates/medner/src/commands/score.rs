//! `medner score`: compares two files of mentions or tags from any system.

use crate::OutputFormat;
use crate::args::{self, Columns, FaultArgs, InputOffsets, format_name};
use crate::terminal::detail::{Detail, DetailArgs, JSON_KEYS};
use crate::terminal::score_table::{self, add_row, percent, table};
use crate::terminal::{concept_table, stdout};
use anyhow::{Context, Result, anyhow, bail, ensure};
use clap::ValueEnum;
use ner_data::format::brat;
use ner_data::format::conll::{ConllOptions, TaggedSentence, read_sentences};
use ner_data::format::i2b2::{self, Concept, TokenPosition};
use ner_data::{Diagnostics, Document, Format, FormatOptions, Mention, Span, shown, shown_lines};
use ner_eval::{
    AttributeScores, ConceptScores, ConfusionCell, DocumentCounts, DocumentScores, Intervals, Mode, PairedDocuments,
    PairedTest, Resampling, Score, ScoreError, Scores, SeqevalScheme, Side, TagScores, ValueScores,
    bootstrap_intervals, entities, macro_f1, micro_f1, paired_test, score_attribute, score_concepts, score_tags,
};
use ner_experiment::corpus::check_faults;
use ner_experiment::input::is_stream;
use serde::Serialize;
use std::collections::BTreeSet;
use std::io::Write;
use std::path::{Path, PathBuf};
use tracing::warn;

/// Compare predicted mentions with gold ones.
///
/// A mention is correct only if both its span and its type match. Documents, in any format, are paired by id and
/// compared by character offsets. Two CoNLL files are paired by sentence and compared by the entities in their tags; one
/// file can hold both in two columns.
/// Folders of i2b2 concepts without texts are compared by line and token.
///
/// F1 has a bootstrap interval over documents (over sentences for tags). Tags are scored in both of seqeval's modes,
/// with a warning if the results differ.
///
/// --attribute also scores an attribute that mentions have in both files, such as the assertion; --concepts the ids that
/// they are linked to.
#[derive(clap::Args)]
#[command(after_help = format!("\
Examples:
  medner score --gold CDR_TestSet.PubTator.txt --predicted mine.txt
  medner score --gold test.jsonl --predicted mine.PubTator.txt
  medner score --gold test.tsv --predicted tagged.tsv --mode strict --scheme iob2
  medner score --gold both.tsv --predicted both.tsv --gold-column 1 --predicted-column 2
  medner score --gold a --predicted b --detail      partial matches, error classes
  medner score --gold a --predicted b --compare c   is b better than c?
  medner score --gold a.jsonl --predicted b.jsonl --attribute assertion
  medner score --gold a.PubTator.txt --predicted linked.PubTator.txt --concepts
  medner score --gold a --predicted b --format json | jq .overall.f1

{JSON_KEYS}
modes holds seqeval's default and strict mode (tags only).
--compare adds comparison: micro_f1 and macro_f1, each with first, second, difference,
interval and p; and words, the result as a sentence.
--attribute adds attribute:
  matched       of mentions with equal span and type: mentions, their number; accuracy;
                overall, macro, weighted and per_type, by value instead of type; and
                confusion: how often each gold value was predicted as each value, null
                being none
  end_to_end    the same scores of all mentions that have the attribute: one is correct if
                span, type and value are
  missed        gold mentions with the attribute that were not found
  invented      predicted mentions with the attribute that are not in gold
--concepts adds concepts: documents, the scores of distinct ids; matched, accuracy and
accuracy_per_type of mentions with equal span and type; and at_k if predictions have several
candidates: k, and the same for ids that are all among the candidates."))]
pub struct Args {
    /// File or folder with the gold mentions
    #[arg(long, value_name = "PATH")]
    gold: PathBuf,
    /// File or folder with the predicted mentions
    #[arg(long, value_name = "PATH")]
    predicted: PathBuf,
    /// Mentions of another system, to test which one is better
    #[arg(long, value_name = "PATH", conflicts_with_all = ["attribute", "concepts"])]
    compare: Option<PathBuf>,
    /// Format of all files [default: detected for each]
    #[arg(long, value_name = "FORMAT", value_parser = format_name())]
    from: Option<Format>,
    #[command(flatten)]
    columns: Columns,
    #[command(flatten)]
    offsets: InputOffsets,
    /// Column of the gold tags, from 0 (CoNLL) [default: the last one]
    #[arg(long, value_name = "N", conflicts_with = "tag_column")]
    gold_column: Option<usize>,
    /// Column of the predicted tags, from 0 (CoNLL) [default: the last one]
    #[arg(long, value_name = "N", conflicts_with = "tag_column")]
    predicted_column: Option<usize>,
    /// Column of the other system's tags, from 0 (CoNLL) [default: --predicted-column]
    #[arg(long, value_name = "N", conflicts_with = "tag_column", requires = "compare")]
    compare_column: Option<usize>,
    /// How to read tags (CoNLL)
    #[arg(long, value_enum, default_value_t)]
    mode: ModeName,
    /// Tag scheme for --mode strict [default: iob2]
    #[arg(long, value_enum)]
    scheme: Option<SchemeName>,
    /// Also score this attribute of mentions: `assertion`, `historical`, or any other that the files hold
    #[arg(long, value_name = "NAME")]
    attribute: Option<String>,
    /// Also score the concept ids of mentions: per document, and of mentions whose span and type are right, also among the
    /// candidates of `link --candidates`
    #[arg(long)]
    concepts: bool,
    #[command(flatten)]
    detail: DetailArgs,
    /// Output format
    #[arg(long, value_enum, default_value_t)]
    format: OutputFormat,
    #[command(flatten)]
    faults: FaultArgs,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum ModeName {
    /// Like conlleval and seqeval: a tag that cannot continue an entity begins one
    #[default]
    Default,
    /// Like seqeval's strict mode: tags that violate the scheme form no entity
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

    fn of(scheme: SeqevalScheme) -> Option<Self> {
        Self::value_variants().iter().copied().find(|name| name.scheme() == scheme)
    }
}

/// What `--format json` prints.
#[derive(Serialize)]
struct Report<'a> {
    gold: &'a Path,
    predicted: &'a Path,
    gold_format: Format,
    predicted_format: Format,
    /// `spans`, or the mode for tags.
    mode: &'static str,
    scheme: Option<SchemeName>,
    #[serde(flatten)]
    scores: Scores,
    intervals: Intervals,
    /// Unit of the intervals: documents or sentences.
    intervals_over: &'static str,
    /// Gold documents without predictions; `None` for tags.
    missing_documents: Option<usize>,
    /// Adjacent tag pairs that the mode does not allow; `None` for spans.
    invalid_gold_transitions: Option<u64>,
    invalid_predicted_transitions: Option<u64>,
    /// Both modes, for tags; `None` for spans.
    modes: Option<Modes>,
    /// With `--compare`.
    #[serde(skip_serializing_if = "Option::is_none")]
    comparison: Option<Comparison<'a>>,
    /// With `--attribute`.
    #[serde(skip_serializing_if = "Option::is_none")]
    attribute: Option<AttributeScores>,
    /// With `--concepts`.
    #[serde(skip_serializing_if = "Option::is_none")]
    concepts: Option<ConceptScores>,
    /// With `--detail`.
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<Detail>,
}

/// The same tags in both of seqeval's modes. A mode that does not know a tag prefix has no scores.
#[derive(Serialize)]
struct Modes {
    default: Option<ModeScore>,
    strict: Option<ModeScore>,
}

/// Scores in one of seqeval's modes.
#[derive(Serialize)]
struct ModeScore {
    /// Only for the strict mode.
    scheme: Option<SchemeName>,
    #[serde(flatten)]
    overall: Score,
    invalid_gold_transitions: u64,
    invalid_predicted_transitions: u64,
}

/// Comparison with another system's predictions.
#[derive(Serialize)]
struct Comparison<'a> {
    /// File of the other system's predictions.
    other: &'a Path,
    micro_f1: PairedTest,
    macro_f1: PairedTest,
    /// Result of the micro F1 test in words.
    words: String,
}

/// Runs the command.
///
/// # Errors
/// If a file cannot be read or is faulty, gold has no mentions, or the files do not match.
pub fn run(args: Args) -> Result<()> {
    let formats = formats_of(&args)?;
    args.offsets.check(&formats)?;
    let report = match formats.iter().filter(|format| **format == Format::Conll).count() {
        0 => by_spans(&args, &formats)?,
        tagged if tagged == formats.len() => by_tags(&args)?,
        _ => {
            let (gold, predicted) = (formats[0], formats[1]);
            bail!(
                "gold looks like {gold} and predicted like {predicted}: tags and mentions cannot be compared; convert \
                 one of them, or pass --from if the detected formats are wrong"
            )
        }
    };
    if report.scores.overall.support == 0 {
        let (gold, mode) = (args.gold.display(), report.mode);
        match report.scheme.and_then(|scheme| scheme.to_possible_value()) {
            Some(scheme) => bail!(
                "{gold} has no gold mention that --mode strict --scheme {} reads, so nothing can be scored; choose \
                 another --scheme, or --mode default",
                scheme.get_name()
            ),
            None if mode == "spans" => bail!(
                "{gold} has no mentions, so nothing can be scored; check that it is the gold file and that --from, if \
                 given, is its format"
            ),
            None => bail!(
                "{gold} has no gold mention, so nothing can be scored; check that it is the gold file, and choose the \
                 column of its tags with --gold-column"
            ),
        }
    }
    match args.format {
        OutputFormat::Json => stdout::print_json(&report),
        OutputFormat::Table => print(&report),
    }
}

fn print(report: &Report<'_>) -> Result<()> {
    let mut out = stdout::stdout();
    score_table::print(&report.scores, Some(&report.intervals), &mut out)?;
    if let Some(Modes { default, strict }) = &report.modes {
        let header =
            ["seqeval's mode", "precision", "recall", "F1", "support", "invalid in gold", "invalid in predicted"];
        let mut modes = table(&header);
        for (name, mode) in [("default", default), ("strict", strict)] {
            let Some(mode) = mode else { continue };
            let scheme = mode.scheme.and_then(|scheme| scheme.to_possible_value());
            let name = scheme.map_or_else(|| name.to_owned(), |scheme| format!("{name}, {}", scheme.get_name()));
            let shares = [mode.overall.precision, mode.overall.recall, mode.overall.f1].map(percent);
            let counts = [mode.overall.support, mode.invalid_gold_transitions, mode.invalid_predicted_transitions];
            let counts = counts.map(|count| count.to_string());
            add_row(&mut modes, [name].into_iter().chain(shares).chain(counts).collect());
        }
        writeln!(out, "\n{modes}")?;
    }
    if let Some(detail) = &report.detail {
        detail.print(&mut out)?;
    }
    if let Some(attribute) = &report.attribute {
        print_attribute(attribute, &mut out)?;
    }
    if let Some(concepts) = &report.concepts {
        concept_table::print(concepts, &mut out)?;
    }
    if let Some(comparison) = &report.comparison {
        writeln!(out, "\n{}", shown_lines(&comparison.words))?;
    }
    Ok(out.flush()?)
}

fn print_attribute(attribute: &AttributeScores, out: &mut impl Write) -> Result<()> {
    let AttributeScores { name, matched, end_to_end, missed, invented } = attribute;
    let name = shown(name);
    writeln!(out, "\n{name} of {} mentions whose span and type are right, in percent\n", matched.mentions)?;
    let ValueScores { scores, intervals } = &matched.values;
    score_table::print_by("values", scores, Some(intervals), out)?;
    let interval = score_table::range(matched.accuracy_interval);
    writeln!(
        out,
        "Accuracy: {} ({} % interval {interval}).",
        percent(matched.accuracy),
        100.0 * intervals.resampling.level
    )?;
    let without = [matched.without_in_gold, matched.without_in_predicted, matched.without_in_both];
    if without != [0; 3] {
        let [gold, predicted, both] = without;
        writeln!(
            out,
            "Without {name} in gold: {gold} (the predicted value counts as wrong); in predicted: {predicted} (the gold \
             value counts as missed); in both: {both} (not counted)."
        )?;
    }
    let values: BTreeSet<Option<&str>> =
        matched.confusion.iter().flat_map(|cell| [cell.gold.as_deref(), cell.predicted.as_deref()]).collect();
    // No value comes last.
    let values: Vec<Option<&str>> =
        values.iter().filter(|value| value.is_some()).chain(values.get(&None)).copied().collect();
    let label = |value: Option<&str>| value.unwrap_or("(none)").to_owned();
    let header: Vec<String> =
        [format!("gold {name} ↓, predicted →")].into_iter().chain(values.iter().copied().map(label)).collect();
    let mut confusion = table(&header.iter().map(String::as_str).collect::<Vec<_>>());
    for &gold in &values {
        let count = |predicted: Option<&str>| -> u64 {
            let is_here =
                |cell: &&ConfusionCell| (cell.gold.as_deref(), cell.predicted.as_deref()) == (gold, predicted);
            matched.confusion.iter().find(is_here).map_or(0, |cell| cell.count)
        };
        let counts = values.iter().map(|&predicted| count(predicted).to_string());
        add_row(&mut confusion, [label(gold)].into_iter().chain(counts).collect());
    }
    writeln!(out, "\n{confusion}")?;
    writeln!(out, "\n{name} end to end: span, type and value are right, in percent\n")?;
    score_table::print_by("values", &end_to_end.scores, Some(&end_to_end.intervals), out)?;
    writeln!(
        out,
        "Mentions with {name} in gold alone: {missed} (missed); in predicted alone: {invented} (invented). They count only \
         end to end."
    )?;
    Ok(())
}

/// The compared paths, gold first.
fn paths(args: &Args) -> Vec<&Path> {
    [&args.gold, &args.predicted].into_iter().chain(&args.compare).map(PathBuf::as_path).collect()
}

/// Whether two paths lead to one file or folder.
fn is_same(a: &Path, b: &Path) -> bool {
    matches!((a.canonicalize(), b.canonicalize()), (Ok(a), Ok(b)) if a == b)
}

fn by_spans<'a>(args: &'a Args, formats: &[Format]) -> Result<Report<'a>> {
    if args.mode == ModeName::Strict || args.scheme.is_some() {
        bail!("--mode strict and --scheme apply only to tags; these files are compared by character offsets");
    }
    if args.columns.are_given() || [args.gold_column, args.predicted_column, args.compare_column] != [None; 3] {
        bail!("options for columns apply only to tags; these files are compared by character offsets");
    }
    for path in paths(args).into_iter().skip(1).filter(|path| is_same(&args.gold, path)) {
        warn!("{} is scored against itself, so its scores say nothing", path.display());
    }
    let mut texts = None;
    for (path, _) in paths(args).into_iter().zip(formats).filter(|(_, format)| **format == Format::I2b2) {
        if texts.is_none() && i2b2::has_texts(path)? {
            texts = Some(path);
        }
    }
    if texts.is_none() && formats.iter().all(|format| *format == Format::I2b2) {
        if args.concepts {
            bail!("--concepts has no effect on i2b2 concepts without texts: that format has no concept ids");
        }
        if args.attribute.is_some() {
            bail!(
                "--attribute needs the texts of the concepts, but no folder has them; put them beside gold's concepts"
            );
        }
        return by_concepts(args, formats);
    }
    let mut sides: Vec<(Vec<Document>, Diagnostics)> = Vec::new();
    for (path, format) in paths(args).into_iter().zip(formats) {
        let options = FormatOptions { offsets: args.offsets.of(*format), ..FormatOptions::default() };
        // Predictions may be annotation without texts; then the texts of gold apply.
        let read = match (texts, sides.first()) {
            (Some(texts), _) if *format == Format::I2b2 && !i2b2::has_texts(path)? => {
                i2b2::read_with_texts(path, texts)
            }
            (_, Some((gold, _))) if *format == Format::Brat => brat::read_with_texts(path, gold, options.offsets),
            _ => format.read(path, &options),
        };
        sides.push(read.with_context(|| format!("cannot read {}", path.display()))?);
    }
    check_faults(sides.iter().map(|(_, faults)| faults), args.faults.lenient)?;
    let (gold, predicted) = (&sides[0].0, &sides[1].0);
    let paired = PairedDocuments::new(gold, predicted).with_context(|| not_comparable(args, &args.predicted))?;
    let scored = paired.score();
    let detail = args.detail.detail;
    let detail = detail.then(|| Detail::of_documents(&paired, &scored.by_document, gold, args.detail.with_text));
    let other = sides.get(2).map(|(other, _)| PairedDocuments::new(gold, other));
    let attribute = args.attribute.as_deref().map(|name| {
        check_attribute(name, [(&args.gold, gold), (&args.predicted, predicted)])?;
        anyhow::Ok(score_attribute(&paired.documents, name, &Resampling::default()))
    });
    let concepts = args.concepts.then(|| {
        let has_ids = |mention: &Mention| !mention.concept_ids.is_empty();
        let is_there = gold.iter().flat_map(|document| &document.mentions).any(has_ids);
        ensure!(is_there, "no gold mention has a concept id, so --concepts has nothing to score");
        Ok(score_concepts(&paired.documents, &Resampling::default())?)
    });
    Ok(Report {
        attribute: attribute.transpose()?,
        concepts: concepts.transpose()?,
        ..report_of_spans(args, formats, scored, other, detail)?
    })
}

/// Warns if no predicted mention has an attribute.
///
/// # Errors
/// If no gold mention has it; the message names the attributes that there are.
fn check_attribute(name: &str, sides: [(&Path, &[Document]); 2]) -> Result<()> {
    let names = |(_, documents): (&Path, &[Document])| -> BTreeSet<String> {
        let mentions = documents.iter().flat_map(|document| &document.mentions);
        mentions.flat_map(|mention| mention.attributes.keys().cloned()).collect()
    };
    let [gold, predicted] = sides.map(names);
    let [gold_path, predicted_path] = sides.map(|(path, _)| path.display());
    if !gold.contains(name) {
        let list = |names: BTreeSet<String>| match names.is_empty() {
            true => "none".to_owned(),
            false => shown(&names.into_iter().collect::<Vec<_>>().join(", ")).into_owned(),
        };
        bail!(
            "no gold mention has the attribute {}, so it cannot be scored; the attributes in {gold_path} are: {}; in \
             {predicted_path}: {}",
            shown(name),
            list(gold),
            list(predicted)
        );
    }
    if !predicted.contains(name) {
        warn!("no mention in {predicted_path} has the attribute {}, so all its values count as missed", shown(name));
    }
    Ok(())
}

/// Compares concepts without their texts.
fn by_concepts<'a>(args: &'a Args, formats: &[Format]) -> Result<Report<'a>> {
    if args.detail.with_text {
        bail!("--with-text needs texts, but these folders have none");
    }
    let (mut sides, mut faults) = (Vec::new(), Vec::new());
    for path in paths(args) {
        let (concepts, found) = i2b2::read_concepts(path).with_context(|| format!("cannot read {}", path.display()))?;
        let mut side: Vec<(String, Vec<Mention>)> = Vec::new();
        for (id, concepts) in concepts {
            let mentions = concepts.into_iter().map(mention_of).collect::<Option<_>>();
            let mentions = mentions.with_context(|| {
                format!("{}: document {id} has a concept with an impossible line or token number", path.display())
            })?;
            side.push((id, mentions));
        }
        sides.push(side);
        faults.push(found);
    }
    check_faults(&faults, args.faults.lenient)?;
    let pair = |other: usize| {
        let side = |at: usize| sides[at].iter().map(|(id, mentions)| (id.as_str(), mentions.as_slice()));
        PairedDocuments::by_id(side(0), side(other))
    };
    let paired = pair(1).with_context(|| not_comparable(args, &args.predicted))?;
    let scored = paired.score();
    let detail = args.detail.detail.then(|| Detail::of_mentions(&paired, &scored.by_document, None));
    report_of_spans(args, formats, scored, args.compare.as_ref().map(|_| pair(2)), detail)
}

/// Maps a concept to a span that orders and overlaps as its tokens do, though its unit is not characters. `None` if the
/// numbers of lines or tokens are too large for this.
fn mention_of(concept: Concept) -> Option<Mention> {
    let place = |at: TokenPosition| -> Option<usize> {
        let (line, token) = (u32::try_from(at.line).ok()?, u32::try_from(at.token).ok()?);
        Some(((line as usize) << 32) + token as usize)
    };
    Some(Mention::new(Span::new(place(concept.start)?, place(concept.end)?), concept.entity_type))
}

fn report_of_spans<'a>(
    args: &'a Args,
    formats: &[Format],
    scored: DocumentScores,
    other: Option<Result<PairedDocuments<'_>, ScoreError>>,
    detail: Option<Detail>,
) -> Result<Report<'a>> {
    let missing = |missing: usize, path: &Path| {
        if missing > 0 {
            warn!("{missing} gold documents are missing in {}; their mentions count as missed", path.display());
        }
    };
    missing(scored.missing_documents, &args.predicted);
    let comparison = match (&args.compare, other) {
        (Some(path), Some(other)) => {
            let other = other.with_context(|| not_comparable(args, path))?.score();
            missing(other.missing_documents, path);
            Some(compare(args, path, [&scored.by_document, &other.by_document], "documents")?)
        }
        _ => None,
    };
    Ok(Report {
        gold: &args.gold,
        predicted: &args.predicted,
        gold_format: formats[0],
        predicted_format: formats[1],
        mode: "spans",
        scheme: None,
        intervals: bootstrap_intervals(&scored.by_document, &Resampling::default()),
        intervals_over: "documents",
        scores: scored.scores,
        missing_documents: Some(scored.missing_documents),
        invalid_gold_transitions: None,
        invalid_predicted_transitions: None,
        modes: None,
        attribute: None,
        concepts: None,
        comparison,
        detail,
    })
}

fn compare<'a>(
    args: &Args,
    other: &'a Path,
    [first, second]: [&[DocumentCounts]; 2],
    unit: &str,
) -> Result<Comparison<'a>> {
    let resampling = Resampling::default();
    let micro = paired_test(first, second, micro_f1, &resampling)?;
    let macro_ = paired_test(first, second, macro_f1, &resampling)?;
    let name = |path: &Path| path.display().to_string();
    let words = micro.in_words(&name(&args.predicted), &name(other), "micro F1", unit);
    Ok(Comparison { other, micro_f1: micro, macro_f1: macro_, words })
}

fn by_tags(args: &Args) -> Result<Report<'_>> {
    if args.attribute.is_some() {
        bail!("--attribute applies only to documents; tags have no attributes");
    }
    if args.concepts {
        bail!("--concepts applies only to documents; tags have no concept ids");
    }
    if args.detail.with_text {
        bail!("--with-text applies only to documents; tags are compared without their words");
    }
    let (mode, name, scheme) = match (args.mode, args.scheme) {
        (ModeName::Default, None) => (Mode::Default, "default", None),
        (ModeName::Default, Some(_)) => bail!("--scheme needs --mode strict; the default mode reads every scheme"),
        (ModeName::Strict, scheme) => {
            let scheme = scheme.unwrap_or(SchemeName::Iob2);
            (Mode::Strict(scheme.scheme()), "strict", Some(scheme))
        }
    };
    let columns = [args.gold_column, args.predicted_column, args.compare_column.or(args.predicted_column)];
    let read = |(path, column): (&Path, Option<usize>)| {
        let options = args.columns.options();
        let options = ConllOptions { tag_column: column.or(options.tag_column), ..options };
        read_sentences(path, &options).with_context(|| format!("cannot read {}", path.display()))
    };
    let sides: Vec<(Vec<TaggedSentence>, Diagnostics)> =
        paths(args).into_iter().zip(columns).map(read).collect::<Result<_>>()?;
    check_faults(sides.iter().map(|(_, faults)| faults), args.faults.lenient)?;
    let tags: Vec<Vec<Vec<String>>> =
        sides.iter().map(|(sentences, _)| sentences.iter().map(|s| s.tags.clone()).collect()).collect();
    for (path, side) in paths(args).into_iter().zip(&tags).skip(1) {
        if *side == tags[0] && is_same(&args.gold, path) {
            warn!(
                "{} is scored against itself: the gold and predicted tags are the same; if the file has both, choose \
                 them with --gold-column and --predicted-column",
                path.display()
            );
        }
    }
    let score = |at: usize| -> Result<TagScores> {
        let path = paths(args)[at];
        score_tags(&tags[0], &tags[at], mode)
            .map_err(|error| {
                let place = place_of(&error, [&args.gold, path], [&sides[0].0, &sides[at].0]);
                let error = anyhow!(error);
                match place {
                    Some(place) => error.context(place),
                    None => error,
                }
            })
            .with_context(|| not_comparable(args, path))
    };
    let scored = score(1)?;
    let (gold, predicted) = (&sides[0].0, &sides[1].0);
    let pairs = gold.iter().zip(predicted).flat_map(|(gold, predicted)| gold.words.iter().zip(&predicted.words));
    let other_words = pairs.filter(|(gold, predicted)| gold != predicted).count();
    if other_words > 0 {
        warn!("{other_words} words differ between predictions and gold; do both files have the same text?");
    }
    let invalid = scored.invalid_predicted_transitions;
    if invalid > 0 {
        warn!("{invalid} pairs of adjacent predicted tags are invalid; they are read as in the mode {name}");
    }
    let comparison = match &args.compare {
        Some(other) => Some(compare(args, other, [&scored.by_sequence, &score(2)?.by_sequence], "sentences")?),
        None => None,
    };
    let detail = args.detail.detail.then(|| detail_of_tags(&tags[0], &tags[1], mode, &scored.by_sequence));
    Ok(Report {
        gold: &args.gold,
        predicted: &args.predicted,
        gold_format: Format::Conll,
        predicted_format: Format::Conll,
        mode: name,
        scheme,
        intervals: bootstrap_intervals(&scored.by_sequence, &Resampling::default()),
        intervals_over: "sentences",
        modes: Some(modes(&tags[0], &tags[1], scheme)),
        scores: scored.scores,
        missing_documents: None,
        invalid_gold_transitions: Some(scored.invalid_gold_transitions),
        invalid_predicted_transitions: Some(invalid),
        attribute: None,
        concepts: None,
        comparison,
        detail: detail.transpose()?,
    })
}

/// Scores in both of seqeval's modes; warns if they differ. The strict scheme is `scheme`, else that of the gold tags.
fn modes(gold: &[Vec<String>], predicted: &[Vec<String>], scheme: Option<SchemeName>) -> Modes {
    let scheme = scheme.or_else(|| SchemeName::of(SeqevalScheme::of_tags(gold, predicted)?));
    let score = |mode: Mode, scheme: Option<SchemeName>| {
        let scored = score_tags(gold, predicted, mode).ok()?;
        Some(ModeScore {
            scheme,
            overall: scored.scores.overall,
            invalid_gold_transitions: scored.invalid_gold_transitions,
            invalid_predicted_transitions: scored.invalid_predicted_transitions,
        })
    };
    let modes = Modes {
        default: score(Mode::Default, None),
        strict: scheme.and_then(|name| score(Mode::Strict(name.scheme()), scheme)),
    };
    match (&modes.default, &modes.strict) {
        (Some(default), Some(strict)) if default.overall != strict.overall => warn!(
            "seqeval's modes differ: F1 is {} in the default mode and {} in the strict one; report which one you use",
            percent(default.overall.f1),
            percent(strict.overall.f1)
        ),
        (Some(_), Some(_)) => {}
        (default, _) => {
            let unread = if default.is_none() { "default" } else { "strict" };
            warn!("seqeval's {unread} mode does not know the prefixes of these tags, so it has no scores");
        }
    }
    modes
}

/// Details of tags; positions count tags.
fn detail_of_tags(
    gold: &[Vec<String>],
    predicted: &[Vec<String>],
    mode: Mode,
    by_sequence: &[DocumentCounts],
) -> Result<Detail> {
    let mentions = |tags: &Vec<String>| -> Result<Vec<Mention>> {
        let (found, _) = entities(tags, mode)?;
        Ok(found.into_iter().map(|e| Mention::new(Span::new(e.tags.start, e.tags.end), e.entity_type)).collect())
    };
    let side = |side: &[Vec<String>]| -> Result<Vec<(String, Vec<Mention>)>> {
        side.iter().enumerate().map(|(at, tags)| Ok((at.to_string(), mentions(tags)?))).collect()
    };
    let (gold, predicted) = (side(gold)?, side(predicted)?);
    let paired = PairedDocuments::by_id(
        gold.iter().map(|(id, mentions)| (id.as_str(), mentions.as_slice())),
        predicted.iter().map(|(id, mentions)| (id.as_str(), mentions.as_slice())),
    )?;
    Ok(Detail::of_mentions(&paired, by_sequence, Some(|mention| mention.span().len())))
}

fn not_comparable(args: &Args, other: &Path) -> String {
    format!("{} and {} cannot be compared", args.gold.display(), other.display())
}

/// File and line of the fault in gold or predicted, which the scorer does not know.
fn place_of(error: &ScoreError, paths: [&Path; 2], sentences: [&[TaggedSentence]; 2]) -> Option<String> {
    let line = |side: Side, sequence: usize, position: usize| -> Option<String> {
        let at = match side {
            Side::Gold => 0,
            Side::Predicted => 1,
        };
        Some(format!("{}:{}", paths[at].display(), sentences[at].get(sequence)?.lines.get(position)?))
    };
    match error {
        ScoreError::SequenceLength { sequence, .. } => {
            Some(format!("{}, {}", line(Side::Gold, *sequence, 0)?, line(Side::Predicted, *sequence, 0)?))
        }
        ScoreError::Tags { side, sequence, source } => line(*side, *sequence, source.position),
        _ => None,
    }
}

/// The formats of gold, predicted and the other predictions. A file without a detectable format (an empty one) gets the
/// first detected format.
fn formats_of(args: &Args) -> Result<Vec<Format>> {
    let mut found = Vec::new();
    for path in paths(args) {
        if is_stream(path) {
            bail!("{} can be read only once, and score reads a file more than once; save it as a file", path.display());
        }
        found.push(if args.from.is_some() { args.from } else { Format::detect(path)? });
    }
    let first = found.iter().flatten().next().copied().with_context(|| args::ask(&args.gold))?;
    Ok(found.into_iter().map(|format| format.unwrap_or(first)).collect())
}
