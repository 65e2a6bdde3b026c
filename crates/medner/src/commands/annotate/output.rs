//! Output formats of `medner annotate`.

use crate::terminal::stdout;
use anyhow::{Context, Result, ensure};
use clap::ValueEnum;
use ner_annotate::{MergedMention, Model, Offsets, WireMention, wire_mentions};
use ner_clinical::{Fhir, Finding, NoteNlp, ProcessedAt, Software};
use ner_context::AssertionValue;
use ner_data::format::{Output, conll};
use ner_data::frames::{FoundRow, NoteNlpRow, RowWriter};
use ner_data::{Confidence, ConversionReport, Document, Format, FormatOptions, Span, Writer, shown};
use ner_link::LinkedConcept;
use ner_report::annotated::AnnotatedPage;
use ner_report::marked::{Highlight, segments};
use serde::Serialize;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::{self, BufWriter, IsTerminal, Write};
use std::path::{Path, PathBuf};
use tracing::warn;

/// Format of the output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum To {
    /// JSON lines: one document with its text and mentions per line
    #[default]
    Jsonl,
    /// PubTator
    Pubtator,
    /// BioC XML
    BiocXml,
    /// BioC JSON
    BiocJson,
    /// A folder of text files with .ann files
    Brat,
    /// A folder of text files with .con files
    I2b2,
    /// Words with tags
    Conll,
    /// One mention per row
    Csv,
    /// One mention per row
    Parquet,
    /// The text with mentions in brackets, coloured in a terminal
    Text,
    /// An HTML page with highlights
    Html,
    /// FHIR R4: one bundle of resources per document and line
    Fhir,
    /// OMOP CDM 5.4: rows of NOTE_NLP, as CSV or Parquet by the ending of OUT
    Omop,
}

impl To {
    /// The corpus format, for formats that `ner-data` writes directly.
    pub const fn format(self) -> Option<Format> {
        match self {
            Self::Pubtator => Some(Format::Pubtator),
            Self::BiocXml => Some(Format::BiocXml),
            Self::BiocJson => Some(Format::BiocJson),
            Self::Brat => Some(Format::Brat),
            Self::I2b2 => Some(Format::I2b2),
            Self::Conll => Some(Format::Conll),
            Self::Jsonl | Self::Csv | Self::Parquet | Self::Text | Self::Html | Self::Fhir | Self::Omop => None,
        }
    }

    /// File extension, without the dot.
    pub fn extension(self) -> &'static str {
        match self {
            Self::Jsonl => "jsonl",
            Self::Csv => "csv",
            Self::Parquet => "parquet",
            Self::Text => "txt",
            Self::Html => "html",
            Self::Fhir => "ndjson",
            Self::Omop => "csv",
            _ => self.format().map_or("txt", Format::extension),
        }
    }

    /// Whether each document gets its own files.
    pub fn is_folder(self) -> bool {
        self.format().is_some_and(Format::is_folder)
    }

    /// Whether each document is one line, which `--resume` can continue after.
    pub const fn is_lines(self) -> bool {
        matches!(self, Self::Jsonl | Self::Fhir)
    }
}

/// How to write the output.
#[derive(Clone, Debug, Default)]
pub struct OutputOptions {
    /// Format.
    pub to: To,
    /// Unit of the offsets.
    pub offsets: Offsets,
    /// Tag scheme (CoNLL).
    pub scheme: conll::Scheme,
    /// Whether to escape cells that a spreadsheet would run as formulas (CSV).
    pub escape_formulas: bool,
    /// What FHIR and OMOP need; set for these formats alone.
    pub handover: Option<Handover>,
}

/// What FHIR and OMOP need besides the mentions.
#[derive(Clone, Debug)]
pub struct Handover {
    /// Time of processing.
    pub processed_at: ProcessedAt,
    /// Reference to the patient (FHIR).
    pub patient: Option<String>,
    /// Whether to embed texts (FHIR).
    pub with_text: bool,
    /// NOTE_NLP_ID of the first row (OMOP).
    pub first_note_nlp_id: i32,
    /// Whether mentions are linked to a vocabulary.
    pub is_linked: bool,
}

impl Handover {
    /// The rows of NOTE_NLP, from the first.
    const fn omop(&self) -> NoteNlp<'static> {
        let (next_id, is_linked) = (self.first_note_nlp_id, self.is_linked);
        NoteNlp { next_id, processed_at: self.processed_at, software: SOFTWARE, is_linked }
    }
}

/// Where to write the output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OutputPlace {
    /// stdout.
    Stdout,
    /// A file, or a folder if [`To::is_folder`]. It appears when it is finished.
    Path(PathBuf),
    /// A file of lines that grows under its name, so that `--resume` can continue it.
    Lines(PathBuf),
}

/// Writes annotated documents.
pub trait Sink {
    /// Writes one document.
    ///
    /// # Errors
    /// If the output cannot be written.
    fn write(&mut self, document: &Document, merged: &[MergedMention]) -> Result<()>;

    /// Writes the end and renames the file; returns what the format could not express.
    ///
    /// # Errors
    /// If the output cannot be written.
    fn finish(self: Box<Self>) -> Result<ConversionReport>;

    /// Mentions that the format has no place for, by reason.
    fn left_out(&self) -> BTreeMap<String, usize> {
        BTreeMap::new()
    }
}

/// Opens an output. `title` is the page's title (HTML).
///
/// # Errors
/// If it cannot be created.
pub fn create(options: &OutputOptions, place: &OutputPlace, title: &str, models: &[Model]) -> Result<Box<dyn Sink>> {
    if let Some(format) = options.to.format() {
        let conll = conll::ConllOptions { scheme: options.scheme, ..conll::ConllOptions::default() };
        let options = FormatOptions { conll, ..FormatOptions::default() };
        let writer = match place {
            OutputPlace::Stdout => format.create_output(open(place)?, &options)?,
            OutputPlace::Path(path) | OutputPlace::Lines(path) => format.create(path, &options)?,
        };
        return Ok(Box::new(Corpus { writer }));
    }
    if options.to == To::Parquet {
        let OutputPlace::Path(path) = place else {
            anyhow::bail!("Parquet cannot be written to stdout; add --out FILE.parquet")
        };
        return Ok(Box::new(Parquet { writer: RowWriter::create(path)?, offsets: options.offsets }));
    }
    if let (To::Omop, OutputPlace::Path(path)) = (options.to, place)
        && is_parquet(path)
    {
        let out = OmopOut::Parquet(Box::new(RowWriter::create(path)?));
        return Ok(Box::new(Omop { out, rows: options.handover()?.omop(), report: ConversionReport::default() }));
    }
    let mut out = open(place)?;
    Ok(match options.to {
        To::Omop => {
            csv_row(&mut out, NoteNlpRow::COLUMNS)?;
            let (out, rows) = (OmopOut::Csv(out), options.handover()?.omop());
            Box::new(Omop { out, rows, report: ConversionReport::default() })
        }
        To::Fhir => {
            let (handover, report) = (options.handover()?.clone(), ConversionReport::default());
            Box::new(Bundles { out, handover, report, left_out: BTreeMap::new() })
        }
        To::Csv => {
            let mut csv = Csv { out, offsets: options.offsets, escape_formulas: options.escape_formulas, formulas: 0 };
            csv.row(CSV_HEADER)?;
            Box::new(csv)
        }
        To::Html => {
            let names: Vec<&str> = models.iter().map(|model| model.name.as_str()).collect();
            let page = AnnotatedPage::new(title, &names.join(", "), env!("CARGO_PKG_VERSION"))?;
            out.write_all(page.top().as_bytes())?;
            Box::new(Html { out, page })
        }
        To::Text => {
            let in_colours =
                *place == OutputPlace::Stdout && io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
            Box::new(Text { out, in_colours, colours: BTreeMap::new() })
        }
        _ => Box::new(Lines { out, offsets: options.offsets }),
    })
}

impl OutputOptions {
    fn handover(&self) -> Result<&Handover> {
        self.handover.as_ref().context("this format needs the options of a hand-over")
    }
}

/// The program, for formats that name it.
const SOFTWARE: Software = Software { name: "medner", version: env!("CARGO_PKG_VERSION") };

/// Whether a file's ending says Parquet.
pub fn is_parquet(path: &Path) -> bool {
    path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("parquet"))
}

fn open(place: &OutputPlace) -> Result<Output<'static>> {
    Ok(match place {
        OutputPlace::Stdout => Output::Open(Box::new(stdout::stdout())),
        OutputPlace::Path(path) => Output::create(path)?,
        OutputPlace::Lines(path) => {
            let file = fs_err::OpenOptions::new().create(true).append(true).open(path)?;
            Output::Open(Box::new(BufWriter::new(file)))
        }
    })
}

/// A format of `ner-data`: category and models become attributes of mentions, if the format has attributes.
struct Corpus {
    writer: Writer<'static>,
}

impl Sink for Corpus {
    fn write(&mut self, document: &Document, merged: &[MergedMention]) -> Result<()> {
        let mentions = merged.iter().map(MergedMention::to_mention).collect();
        self.writer.write(&Document { mentions, ..document.clone() })?;
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<ConversionReport> {
        Ok(self.writer.finish()?)
    }
}

/// JSON lines, in the shape that `ner-data` reads.
struct Lines {
    out: Output<'static>,
    offsets: Offsets,
}

#[derive(Serialize)]
struct Line<'d> {
    id: &'d str,
    /// The unit of offsets; omitted for characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    offsets: Option<Offsets>,
    text: &'d str,
    mentions: Vec<WireMention<'d>>,
}

impl Sink for Lines {
    fn write(&mut self, document: &Document, merged: &[MergedMention]) -> Result<()> {
        let mentions = wire_mentions(document, merged, self.offsets).with_context(|| outside(document))?;
        let offsets = (self.offsets == Offsets::Bytes).then_some(self.offsets);
        let line = Line { id: &document.id, offsets, text: &document.text, mentions };
        serde_json::to_writer(&mut self.out, &line).map_err(io::Error::from)?;
        Ok(writeln!(self.out)?)
    }

    fn finish(self: Box<Self>) -> Result<ConversionReport> {
        self.out.finish()?;
        Ok(ConversionReport::default())
    }
}

/// A line of an output, as far as its document's id. A bundle has it as the identifier of its first resource, the note.
#[derive(serde::Deserialize)]
struct WholeLine {
    id: String,
    #[serde(default)]
    entry: Vec<BundleEntry>,
}

#[derive(serde::Deserialize)]
struct BundleEntry {
    resource: BundleResource,
}

#[derive(serde::Deserialize)]
struct BundleResource {
    #[serde(default)]
    identifier: Vec<BundleIdentifier>,
}

#[derive(serde::Deserialize)]
struct BundleIdentifier {
    value: String,
}

impl WholeLine {
    fn id(&self) -> &str {
        let Some(BundleEntry { resource }) = self.entry.first() else { return &self.id };
        resource.identifier.first().map_or("", |identifier| &identifier.value)
    }
}

/// Passes the ids of all complete lines to `keep`. Returns their number and their length in bytes.
///
/// # Errors
/// If the file cannot be read, or a line has another form.
fn ids_of_lines(path: &Path, mut keep: impl FnMut(&str)) -> Result<(usize, u64)> {
    let mut input = io::BufReader::new(fs_err::File::open(path)?);
    let (mut whole, mut count, mut line) = (0, 0, Vec::new());
    loop {
        line.clear();
        let read = io::BufRead::read_until(&mut input, b'\n', &mut line)?;
        if read == 0 || line.last() != Some(&b'\n') {
            return Ok((count, whole));
        }
        count += 1;
        let line: WholeLine = serde_json::from_slice(&line)
            .with_context(|| format!("line {count} of {} was not written by annotate", path.display()))?;
        keep(line.id());
        whole += read as u64;
    }
}

/// Passes the ids of all complete lines to `keep` and cuts off a partial last line. Returns the number of lines.
///
/// # Errors
/// If the file cannot be read, or a line has another form.
pub fn ids_of_whole_lines(part: &Path, keep: impl FnMut(&str)) -> Result<usize> {
    let (count, whole) = ids_of_lines(part, keep)?;
    fs_err::OpenOptions::new().write(true).open(part)?.set_len(whole)?;
    Ok(count)
}

/// Passes the ids of all documents in the part of a shard to `keep`, if its format has lines of documents.
///
/// # Errors
/// If the part cannot be read.
pub fn ids_of_part(part: &Path, keep: &mut dyn FnMut(&str)) -> Result<()> {
    let is_lines = [To::Jsonl, To::Fhir].iter().any(|to| part.extension().is_some_and(|end| end == to.extension()));
    if is_lines {
        ids_of_lines(part, keep)?;
    }
    Ok(())
}

const CSV_HEADER: [&str; 18] = [
    "document",
    "start",
    "end",
    "text",
    "entity_type",
    "category",
    "confidence",
    "models",
    "below_threshold",
    "assertion",
    "historical",
    "cue_start",
    "cue_end",
    "section",
    "concept_ids",
    "concept_names",
    "link_score",
    "concept_system",
];

fn outside(document: &Document) -> String {
    format!("document {}: a mention lies outside the text", document.id)
}

/// A value of each concept, joined by `|`.
fn joined(concepts: &[LinkedConcept], value: fn(&LinkedConcept) -> &String) -> Option<String> {
    let values: Vec<&str> = concepts.iter().map(|concept| value(concept).as_str()).collect();
    (!values.is_empty()).then(|| values.join("|"))
}

fn rows(document: &Document, merged: &[MergedMention], offsets: Offsets) -> Result<Vec<FoundRow>> {
    let index = document.char_index();
    let row = |mention: &MergedMention| -> Result<FoundRow> {
        let (start, end) = offsets.positions(mention.span, &index).with_context(|| outside(document))?;
        Ok(FoundRow {
            document: document.id.clone(),
            start,
            end,
            text: index.slice(&document.text, mention.span).unwrap_or_default().to_owned(),
            entity_type: mention.entity_type.clone(),
            category: mention.category.clone(),
            confidence: mention.confidence.value(),
            models: mention.models.join("|"),
            below_threshold: mention.below_threshold,
            assertion: mention.assertion.map(|assertion| assertion.value.to_string()),
            historical: mention.assertion.map(|assertion| assertion.historical),
            cue: mention.assertion.and_then(|assertion| offsets.positions(assertion.cue?, &index)),
            section: mention.section.as_ref().map(|section| section.name.clone()),
            concept_ids: joined(&mention.concepts, |concept| &concept.id),
            concept_names: joined(&mention.concepts, |concept| &concept.name),
            link_score: mention.concepts.iter().map(|concept| concept.score).min().map(Confidence::value),
            concept_system: mention.concepts.first().and_then(|concept| concept.system.clone()),
        })
    };
    merged.iter().map(row).collect()
}

/// Rows in RFC 4180 format, but with `\n` as line end.
///
/// Cells hold the exact text by default, because programs read these files and a changed text would no longer fit its
/// offsets. `--escape-formulas` follows OWASP's advice against CSV injection: it puts an apostrophe before a cell that a
/// spreadsheet would run as a formula, and before one that begins with an apostrophe, so that removing one apostrophe
/// from each cell that begins with one restores the text.
struct Csv {
    out: Output<'static>,
    offsets: Offsets,
    escape_formulas: bool,
    /// Number of cells that a spreadsheet would run, if they are not escaped.
    formulas: usize,
}

/// Whether a spreadsheet takes a cell with this beginning for a formula. The last four are the full-width forms.
fn is_formula(cell: &str) -> bool {
    cell.starts_with(['=', '+', '-', '@', '\t', '\r', '\n', '\u{ff1d}', '\u{ff0b}', '\u{ff0d}', '\u{ff20}'])
}

impl Csv {
    /// A cell of text.
    fn cell<'c>(&mut self, cell: &'c str) -> Cow<'c, str> {
        if self.escape_formulas && (is_formula(cell) || cell.starts_with('\'')) {
            return Cow::Owned(format!("'{cell}"));
        }
        self.formulas += usize::from(is_formula(cell));
        Cow::Borrowed(cell)
    }

    fn row<'f>(&mut self, fields: impl IntoIterator<Item = &'f str>) -> io::Result<()> {
        csv_row(&mut self.out, fields)
    }
}

fn csv_row<'f>(out: &mut impl Write, fields: impl IntoIterator<Item = &'f str>) -> io::Result<()> {
    let mut writer = csv_core::WriterBuilder::new().terminator(csv_core::Terminator::Any(b'\n')).build();
    let mut buffer = Vec::new();
    for (at, field) in fields.into_iter().enumerate() {
        // Room for doubled quotes, the enclosing quotes and the delimiter.
        let start = buffer.len();
        buffer.resize(start + 2 * field.len() + 4, 0);
        let mut written = start;
        if at > 0 {
            written += writer.delimiter(&mut buffer[written..]).1;
        }
        written += writer.field(field.as_bytes(), &mut buffer[written..]).2;
        buffer.truncate(written);
    }
    let start = buffer.len();
    buffer.resize(start + 4, 0);
    let written = writer.terminator(&mut buffer[start..]).1;
    buffer.truncate(start + written);
    out.write_all(&buffer)
}

impl Sink for Csv {
    fn write(&mut self, document: &Document, merged: &[MergedMention]) -> Result<()> {
        for row in rows(document, merged, self.offsets)? {
            let (start, end) = (row.start.to_string(), row.end.to_string());
            let (confidence, below) = (row.confidence.to_string(), row.below_threshold.to_string());
            let category = row.category.as_deref().unwrap_or_default();
            let FoundRow { document, text, entity_type, models, .. } = &row;
            let [ids, names, system] = [&row.concept_ids, &row.concept_names, &row.concept_system]
                .map(|cell| cell.as_deref().unwrap_or_default());
            let cells = [document.as_str(), text, entity_type, category, models, ids, names, system];
            let [document, text, entity_type, category, models, ids, names, system] = cells.map(|cell| self.cell(cell));
            let score = row.link_score.map(|score| score.to_string()).unwrap_or_default();
            let historical = row.historical.map(|historical| historical.to_string()).unwrap_or_default();
            let (cue_start, cue_end) =
                row.cue.map(|(start, end)| (start.to_string(), end.to_string())).unwrap_or_default();
            let [assertion, section] = [&row.assertion, &row.section].map(|cell| cell.as_deref().unwrap_or_default());
            self.row([
                &*document,
                &start,
                &end,
                &text,
                &entity_type,
                &category,
                &confidence,
                &models,
                &below,
                assertion,
                &historical,
                &cue_start,
                &cue_end,
                section,
                &ids,
                &names,
                &score,
                &system,
            ])?;
        }
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<ConversionReport> {
        self.out.finish()?;
        if self.formulas > 0 {
            warn!(
                "{} cells begin like formulas (=, +, -, @, a tab or a line break): a spreadsheet would run them; import the \
                 file as text there, or add --escape-formulas",
                self.formulas
            );
        }
        Ok(ConversionReport::default())
    }
}

struct Parquet {
    writer: RowWriter<FoundRow>,
    offsets: Offsets,
}

impl Sink for Parquet {
    fn write(&mut self, document: &Document, merged: &[MergedMention]) -> Result<()> {
        for row in rows(document, merged, self.offsets)? {
            self.writer.write(row)?;
        }
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<ConversionReport> {
        self.writer.finish()?;
        Ok(ConversionReport::default())
    }
}

fn finding(mention: &MergedMention) -> Finding<'_> {
    let MergedMention { span, entity_type, category, confidence, models, assertion, section, concepts, .. } = mention;
    Finding {
        span: *span,
        entity_type,
        category: category.as_deref(),
        confidence: *confidence,
        models,
        assertion: assertion.as_ref(),
        section: section.as_ref(),
        concepts,
    }
}

/// FHIR: a bundle per line (NDJSON).
struct Bundles {
    out: Output<'static>,
    handover: Handover,
    report: ConversionReport,
    left_out: BTreeMap<String, usize>,
}

impl Sink for Bundles {
    fn write(&mut self, document: &Document, merged: &[MergedMention]) -> Result<()> {
        let findings: Vec<Finding> = merged.iter().map(finding).collect();
        let Handover { processed_at, patient, with_text, .. } = &self.handover;
        let fhir = Fhir {
            patient: patient.as_deref(),
            processed_at: *processed_at,
            software: SOFTWARE,
            with_text: *with_text,
        };
        let bundled = fhir.bundle(document, &findings);
        self.report.merge(&bundled.report);
        for (reason, count) in bundled.left_out {
            *self.left_out.entry(reason.to_string()).or_default() += count;
        }
        serde_json::to_writer(&mut self.out, &bundled.bundle).map_err(io::Error::from)?;
        Ok(writeln!(self.out)?)
    }

    fn left_out(&self) -> BTreeMap<String, usize> {
        self.left_out.clone()
    }

    fn finish(self: Box<Self>) -> Result<ConversionReport> {
        self.out.finish()?;
        Ok(self.report)
    }
}

/// OMOP: rows of NOTE_NLP.
struct Omop {
    out: OmopOut,
    rows: NoteNlp<'static>,
    report: ConversionReport,
}

enum OmopOut {
    Csv(Output<'static>),
    Parquet(Box<RowWriter<NoteNlpRow>>),
}

impl Sink for Omop {
    fn write(&mut self, document: &Document, merged: &[MergedMention]) -> Result<()> {
        let findings: Vec<Finding> = merged.iter().map(finding).collect();
        let (rows, report) = self.rows.rows(document, &findings)?;
        self.report.merge(&report);
        for row in rows {
            match &mut self.out {
                OmopOut::Csv(out) => csv_row(out, self.rows.cells(&row).each_ref().map(String::as_str))?,
                OmopOut::Parquet(writer) => writer.write(row)?,
            }
        }
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<ConversionReport> {
        match self.out {
            OmopOut::Csv(out) => out.finish()?,
            OmopOut::Parquet(writer) => writer.finish()?,
        }
        Ok(self.report)
    }
}

struct Html {
    out: Output<'static>,
    page: AnnotatedPage,
}

impl Sink for Html {
    fn write(&mut self, document: &Document, merged: &[MergedMention]) -> Result<()> {
        let highlights: Vec<Highlight> = merged.iter().map(highlight).collect();
        let html = self.page.document(&document.id, &document.text, &highlights);
        Ok(self.out.write_all(html.as_bytes())?)
    }

    fn finish(mut self: Box<Self>) -> Result<ConversionReport> {
        self.out.write_all(self.page.bottom().as_bytes())?;
        self.out.finish()?;
        Ok(ConversionReport::default())
    }
}

fn highlight(mention: &MergedMention) -> Highlight {
    let MergedMention {
        span,
        entity_type,
        category,
        confidence,
        models,
        below_threshold,
        assertion,
        section,
        long_form,
        concepts,
    } = mention;
    let category = category.clone().unwrap_or_else(|| entity_type.clone());
    let below = if *below_threshold { ", below the threshold" } else { "" };
    let said = said(mention);
    let mut details = format!("{entity_type} ({category}), {confidence:.2}{below}, {}", models.join(", "));
    if let Some(said) = &said {
        details.push_str(&format!("; {said}"));
    }
    if let Some(section) = section {
        details.push_str(&format!("; section {}", section.name));
    }
    if let Some(long_form) = long_form {
        details.push_str(&format!("; short for {}", long_form.text));
    }
    for LinkedConcept { id, name, score, .. } in concepts {
        details.push_str(&format!("; {id} {name}, {score}"));
    }
    let ids = concepts.iter().map(|concept| &concept.id);
    let label = said.iter().chain(ids).fold(entity_type.clone(), |label, more| format!("{label} · {more}"));
    let is_struck = assertion.is_some_and(|assertion| assertion.value == AssertionValue::Absent);
    Highlight { span: *span, label, category, details, is_dotted: *below_threshold, is_struck }
}

/// What the text says of a mention that is not simply present: `absent`, `historical`.
fn said(mention: &MergedMention) -> Option<String> {
    let assertion = mention.assertion?;
    let value = (assertion.value != AssertionValue::Present).then(|| assertion.value.name().replace('_', " "));
    let past = assertion.historical.then(|| "historical".to_owned());
    match (past, value) {
        (Some(past), Some(value)) => Some(format!("{past}, {value}")),
        (past, value) => past.or(value),
    }
}

/// For reading in a terminal: `[aspirin](Chemical 0.99)`.
struct Text {
    out: Output<'static>,
    in_colours: bool,
    /// Number of each category, which selects its colour.
    colours: BTreeMap<String, usize>,
}

/// ANSI colours that are distinct on dark and light backgrounds: blue, yellow, green, magenta, cyan.
const ANSI: [u8; 5] = [34, 33, 32, 35, 36];

impl Sink for Text {
    fn write(&mut self, document: &Document, merged: &[MergedMention]) -> Result<()> {
        let index = document.char_index();
        let spans: Vec<Span> = merged.iter().map(|mention| mention.span).collect();
        let (bold, reset) = if self.in_colours { ("\x1b[1m", "\x1b[0m") } else { ("", "") };
        writeln!(self.out, "{bold}── {}{reset}", shown(&document.id))?;
        for (segment, over) in segments(index.len(), &spans) {
            // The innermost mention sets the colour.
            let inner = over.iter().min_by_key(|&&at| spans[at].len());
            let colour = inner.map(|&at| self.colour(&merged[at])).unwrap_or_default();
            let begin = over.iter().filter(|&&at| spans[at].start == segment.start).count();
            write!(self.out, "{colour}{}", "[".repeat(begin))?;
            write!(self.out, "{}", visible(index.slice(&document.text, segment).unwrap_or_default()))?;
            let mut ending: Vec<usize> = over.into_iter().filter(|&at| spans[at].end == segment.end).collect();
            ending.sort_by_key(|&at| spans[at].len());
            for at in ending {
                let MergedMention { entity_type, confidence, below_threshold, .. } = &merged[at];
                let doubt = if *below_threshold { "?" } else { "" };
                let said = said(&merged[at]).map(|said| format!(" {said}")).unwrap_or_default();
                let ids: String =
                    merged[at].concepts.iter().map(|concept| format!(" {}", shown(&concept.id))).collect();
                write!(self.out, "]({} {confidence:.2}{doubt}{said}{ids})", shown(entity_type))?;
            }
            write!(self.out, "{}", if colour.is_empty() { "" } else { reset })?;
        }
        Ok(writeln!(self.out)?)
    }

    fn finish(self: Box<Self>) -> Result<ConversionReport> {
        self.out.finish()?;
        Ok(ConversionReport::default())
    }
}

impl Text {
    fn colour(&mut self, mention: &MergedMention) -> String {
        if !self.in_colours {
            return String::new();
        }
        let next = self.colours.len();
        let category = mention.category.as_ref().unwrap_or(&mention.entity_type).clone();
        let number = *self.colours.entry(category).or_insert(next);
        format!("\x1b[{}m", ANSI[number % ANSI.len()])
    }
}

/// Replaces control characters, which could steer a terminal.
fn visible(text: &str) -> String {
    let is_steering = |character: char| character.is_control() && !"\n\t".contains(character);
    text.replace("\r\n", "\n").replace(is_steering, "\u{fffd}")
}

/// Rejects options that the format does not support.
///
/// # Errors
/// If byte offsets are requested for a format that only has character offsets, or escaped formulas for one without
/// cells.
pub fn check(options: &OutputOptions) -> Result<()> {
    let has_bytes = matches!(options.to, To::Jsonl | To::Csv | To::Parquet);
    ensure!(
        has_bytes || options.offsets == Offsets::Chars,
        "--offsets bytes works only with jsonl, csv and parquet; the other formats use characters"
    );
    ensure!(!options.escape_formulas || options.to == To::Csv, "--escape-formulas needs --to csv");
    Ok(())
}
