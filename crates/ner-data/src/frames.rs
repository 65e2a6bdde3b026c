//! Documents and mentions as data frames, for analysis with other tools.
//!
//! The frames contain the text of the corpus; store them beside it and under the same terms. Offsets count Unicode
//! characters and are half-open.

use crate::table::list_columns;
use crate::{Document, dataset::Split};
use fs_err as fs;
use ner_files::NewFile;
use polars::io::mmap::MmapBytesReader;
use polars::prelude::{
    ArrowDataType, BatchedWriter, Column, DataFrame, DataType, NamedFrom, ParquetReader, ParquetWriter, PolarsError,
    SerReader, Series, TimeUnit,
};
use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::{Path, PathBuf};

/// Why a frame cannot be created, written or read.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// polars failed.
    #[error("{}", path.display())]
    Parquet {
        /// The file.
        path: PathBuf,
        /// The error of polars.
        source: PolarsError,
    },
    /// A table lacks a column, or the column has another type.
    #[error("{}: {message}", path.display())]
    Column {
        /// The file.
        path: PathBuf,
        /// What is wrong; it names the columns and the option that names one.
        message: String,
    },
    /// A file cannot be read or written.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// One row per document: `split`, `id`, `characters`, `words` (null if the corpus is not tokenised), `mentions`,
/// `text`.
///
/// # Errors
/// Only if polars fails; none is known.
pub fn documents<'d>(splits: impl IntoIterator<Item = (Split, &'d [Document])>) -> Result<DataFrame, PolarsError> {
    let rows: Vec<(Split, &Document)> =
        splits.into_iter().flat_map(|(split, documents)| documents.iter().map(move |d| (split, d))).collect();
    DataFrame::new(vec![
        strings("split", rows.iter().map(|(split, _)| Some(split.name()))),
        strings("id", rows.iter().map(|(_, document)| Some(document.id.as_str()))),
        numbers("characters", rows.iter().map(|(_, document)| Some(document.text.chars().count()))),
        numbers("words", rows.iter().map(|(_, d)| (!d.words.is_empty()).then_some(d.words.len()))),
        numbers("mentions", rows.iter().map(|(_, document)| Some(document.mentions.len()))),
        strings("text", rows.iter().map(|(_, document)| Some(document.text.as_str()))),
    ])
}

/// One row per mention: `split`, `document`, `start`, `end`, `entity_type`, `text`, `concept_ids` (joined by `|`, null
/// if there are none), `fragments` (`10..15;20..25` for a discontinuous mention, else null).
///
/// # Errors
/// Only if polars fails; none is known.
pub fn mentions<'d>(splits: impl IntoIterator<Item = (Split, &'d [Document])>) -> Result<DataFrame, PolarsError> {
    let mut columns = MentionColumns::default();
    for (split, documents) in splits {
        for document in documents {
            let index = document.char_index();
            for mention in &document.mentions {
                let span = mention.span();
                let slice = |span| index.slice(&document.text, span).unwrap_or_default();
                let texts: Vec<&str> = mention.fragments.iter().map(|&fragment| slice(fragment)).collect();
                let spans: Vec<String> = mention.fragments.iter().map(ToString::to_string).collect();
                columns.split.push(split.name());
                columns.document.push(&document.id);
                columns.start.push(span.start);
                columns.end.push(span.end);
                columns.entity_type.push(&mention.entity_type);
                columns.text.push(texts.join(" "));
                columns.concept_ids.push((!mention.concept_ids.is_empty()).then(|| mention.concept_ids.join("|")));
                columns.fragments.push(mention.is_discontinuous().then(|| spans.join(";")));
            }
        }
    }
    DataFrame::new(vec![
        strings("split", columns.split.into_iter().map(Some)),
        strings("document", columns.document.into_iter().map(Some)),
        numbers("start", columns.start.into_iter().map(Some)),
        numbers("end", columns.end.into_iter().map(Some)),
        strings("entity_type", columns.entity_type.into_iter().map(Some)),
        strings("text", columns.text.iter().map(|text| Some(text.as_str()))),
        strings("concept_ids", columns.concept_ids.iter().map(Option::as_deref)),
        strings("fragments", columns.fragments.iter().map(Option::as_deref)),
    ])
}

#[derive(Default)]
struct MentionColumns<'d> {
    split: Vec<&'static str>,
    document: Vec<&'d str>,
    start: Vec<usize>,
    end: Vec<usize>,
    entity_type: Vec<&'d str>,
    text: Vec<String>,
    concept_ids: Vec<Option<String>>,
    fragments: Vec<Option<String>>,
}

fn strings<'s>(name: &str, values: impl Iterator<Item = Option<&'s str>>) -> Column {
    Series::new(name.into(), values.collect::<Vec<_>>()).into()
}

fn numbers(name: &str, values: impl Iterator<Item = Option<usize>>) -> Column {
    Series::new(name.into(), values.map(|value| value.map(|value| value as u64)).collect::<Vec<_>>()).into()
}

/// Writes a frame as Parquet, atomically: the file is renamed to `path` when complete.
///
/// # Errors
/// If the file cannot be written.
pub fn write(path: &Path, frame: &mut DataFrame) -> Result<(), FrameError> {
    let mut file = NewFile::create(path)?;
    let fault = |source| FrameError::Parquet { path: path.into(), source };
    ParquetWriter::new(&mut file).finish(frame).map_err(fault)?;
    file.finish()?;
    Ok(())
}

/// Reads a frame written by [`write()`].
///
/// # Errors
/// If the file cannot be read.
pub fn read(path: &Path) -> Result<DataFrame, FrameError> {
    let file = fs::File::open(path)?.into_parts().0;
    ParquetReader::new(file).finish().map_err(|source| FrameError::Parquet { path: path.into(), source })
}

/// Rows of a Parquet file that are read together.
const ROWS: usize = 8192;

/// The texts of a Parquet file with their ids, chunk by chunk.
///
/// Without an id column, the ids are row numbers, counted from 1.
pub struct Texts {
    path: PathBuf,
    text: String,
    id: Option<String>,
    row: usize,
    /// Where to stop.
    rows: usize,
}

/// A row group of a Parquet file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowGroup {
    /// Its rows.
    pub rows: Range<usize>,
    /// Where it is in the file, in bytes.
    pub bytes: Range<u64>,
}

/// The row groups of a Parquet file, in order.
///
/// # Errors
/// If the file cannot be read.
pub fn row_groups(path: &Path) -> Result<Vec<RowGroup>, FrameError> {
    row_groups_of(fs::File::open(path)?.into_parts().0, path)
}

/// The same of a file that is elsewhere; errors name `path`.
///
/// # Errors
/// If it cannot be read.
pub fn row_groups_of(input: impl Read + Seek + Send + Sync, path: &Path) -> Result<Vec<RowGroup>, FrameError> {
    let mut reader = ParquetReader::new(Elsewhere(input));
    let metadata = reader.get_metadata().map_err(|source| FrameError::Parquet { path: path.into(), source })?;
    let mut first = 0;
    let groups = metadata.row_groups.iter().map(|group| {
        let rows = first..first + group.num_rows();
        first = rows.end;
        let columns = group.parquet_columns().iter().map(|column| column.byte_range());
        let bytes = columns.reduce(|one, other| one.start.min(other.start)..one.end.max(other.end));
        RowGroup { rows, bytes: bytes.unwrap_or_default() }
    });
    Ok(groups.collect())
}

/// An input for polars that is no file.
struct Elsewhere<R>(R);

impl<R: Read> Read for Elsewhere<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl<R: Seek> Seek for Elsewhere<R> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.0.seek(to)
    }
}

impl<R: Read + Seek + Send + Sync> MmapBytesReader for Elsewhere<R> {}

impl Texts {
    /// Opens a file with texts in the column `text` and, if `id` is given, their ids (strings or numbers) in that
    /// column.
    ///
    /// # Errors
    /// If the file cannot be read, lacks such a column, or a column has another type.
    pub fn open(path: &Path, text: &str, id: Option<&str>) -> Result<Self, FrameError> {
        let mut texts = Self { path: path.into(), text: text.into(), id: id.map(str::to_owned), row: 0, rows: 0 };
        texts.rows = texts.reader()?.num_rows().map_err(|source| texts.fault(source))?;
        texts.check_columns()?;
        Ok(texts)
    }

    fn check_columns(&self) -> Result<(), FrameError> {
        let fault = |message| FrameError::Column { path: self.path.clone(), message };
        let schema = self.reader()?.schema().map_err(|source| self.fault(source))?;
        for (name, option) in
            [(&self.text, "--text-column")].into_iter().chain(self.id.iter().map(|id| (id, "--id-column")))
        {
            if !schema.contains(name) {
                let columns = list_columns(schema.iter_names().map(|name| name.as_str()));
                return Err(fault(format!("no column {name:?}; the table has {columns}; name one with {option}")));
            }
        }
        // From the file's own types: polars is built without some, and panics at them.
        let dtype = |name: &str| schema.get(name).map_or(&ArrowDataType::Null, |field| &field.dtype);
        let text = dtype(&self.text);
        if !is_string(text) {
            let message =
                format!("the column {:?} holds {text:?}, not texts; name another with --text-column", self.text);
            return Err(fault(message));
        }
        if let Some(id) = &self.id {
            use ArrowDataType::{Float32, Float64, Int32, Int64, UInt32, UInt64};
            let dtype = dtype(id);
            if !is_string(dtype) && !matches!(dtype, Int32 | Int64 | UInt32 | UInt64 | Float32 | Float64) {
                let message = format!(
                    "the column {id:?} holds {dtype:?}, not texts or numbers of 32 or 64 bits; name another with --id-column"
                );
                return Err(fault(message));
            }
        }
        Ok(())
    }

    /// Only these rows. Ids do not change: without a column of ids, a row's id is its number in the file.
    pub fn within(mut self, rows: Range<usize>) -> Self {
        self.rows = self.rows.min(rows.end);
        self.row = rows.start;
        self
    }

    /// Number of rows left.
    pub const fn len(&self) -> usize {
        self.rows.saturating_sub(self.row)
    }

    /// Whether no rows are left.
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The next texts with their ids, in order; `None` at the end. Null texts and ids are `None`.
    ///
    /// # Errors
    /// If the file cannot be read.
    #[allow(clippy::type_complexity, reason = "a row is a pair")]
    pub fn next_rows(&mut self) -> Result<Option<Vec<(Option<String>, Option<String>)>>, FrameError> {
        if self.row >= self.rows {
            return Ok(None);
        }
        let frame = self.chunk(ROWS.min(self.len()))?;
        let first = self.row;
        self.row += ROWS;
        let strings = |name: &str| -> Result<Vec<Option<String>>, PolarsError> {
            let mut column = frame.column(name)?.clone();
            // pandas writes whole numbers with gaps as floats.
            if column.dtype().is_float() && column.cast(&DataType::Int64)?.cast(column.dtype())?.equals_missing(&column)
            {
                column = column.cast(&DataType::Int64)?;
            }
            let column = column.cast(&DataType::String)?;
            Ok(column.str()?.into_iter().map(|value| value.map(str::to_owned)).collect())
        };
        let texts = strings(&self.text).map_err(|source| self.fault(source))?;
        let ids = match &self.id {
            Some(id) => strings(id).map_err(|source| self.fault(source))?,
            None => (0..texts.len()).map(|at| Some((first + at + 1).to_string())).collect(),
        };
        Ok(Some(ids.into_iter().zip(texts).collect()))
    }

    fn reader(&self) -> Result<ParquetReader<std::fs::File>, FrameError> {
        Ok(ParquetReader::new(fs::File::open(&self.path)?.into_parts().0))
    }

    fn chunk(&self, rows: usize) -> Result<DataFrame, FrameError> {
        let columns = std::iter::once(&self.text).chain(&self.id).cloned().collect();
        let reader = self.reader()?.with_columns(Some(columns)).with_slice(Some((self.row, rows)));
        reader.finish().map_err(|source| self.fault(source))
    }

    fn fault(&self, source: PolarsError) -> FrameError {
        FrameError::Parquet { path: self.path.clone(), source }
    }
}

/// A predicted mention as a row.
#[derive(Clone, Debug, PartialEq)]
pub struct FoundRow {
    /// Id of the document.
    pub document: String,
    /// First position, in the writer's unit.
    pub start: usize,
    /// Position after the last.
    pub end: usize,
    /// The text of the mention.
    pub text: String,
    /// Entity type.
    pub entity_type: String,
    /// The display name of the type.
    pub category: Option<String>,
    /// Confidence, from 0 to 1.
    pub confidence: f32,
    /// Names of the models, joined by `|`.
    pub models: String,
    /// Whether the confidence lies below the threshold.
    pub below_threshold: bool,
    /// What the text says of it (`absent`); `None` if its type is not assertable.
    pub assertion: Option<String>,
    /// Whether it lies in the past; `None` likewise.
    pub historical: Option<bool>,
    /// Positions of the cue that decided, in the writer's unit.
    pub cue: Option<(usize, usize)>,
    /// Name of its section.
    pub section: Option<String>,
    /// Ids of its concepts, joined by `|`.
    pub concept_ids: Option<String>,
    /// Their preferred names, likewise.
    pub concept_names: Option<String>,
    /// Score of the worst of its links, from 0 to 1.
    pub link_score: Option<f32>,
    /// URI of the code system of its concepts.
    pub concept_system: Option<String>,
}

/// A row of OMOP's table NOTE_NLP (CDM 5.4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoteNlpRow {
    /// Number of the row.
    pub note_nlp_id: i32,
    /// The note.
    pub note_id: i32,
    /// Concept of the section.
    pub section_concept_id: Option<i32>,
    /// Text around the term.
    pub snippet: String,
    /// First position in the note, in characters.
    pub offset: String,
    /// The term.
    pub lexical_variant: String,
    /// Standard concept of the term.
    pub note_nlp_concept_id: Option<i32>,
    /// Source concept of the term.
    pub note_nlp_source_concept_id: Option<i32>,
    /// The program and its models.
    pub nlp_system: String,
    /// Days since 1970-01-01.
    pub nlp_date: i32,
    /// Seconds since 1970-01-01, UTC.
    pub nlp_datetime: i64,
    /// `Y` or `N`.
    pub term_exists: Option<&'static str>,
    /// `present` or `past`.
    pub term_temporal: Option<&'static str>,
    /// `key=value;…`.
    pub term_modifiers: String,
}

impl NoteNlpRow {
    /// Names of the columns, in the order of the CDM.
    pub const COLUMNS: [&str; 14] = [
        "note_nlp_id",
        "note_id",
        "section_concept_id",
        "snippet",
        "offset",
        "lexical_variant",
        "note_nlp_concept_id",
        "note_nlp_source_concept_id",
        "nlp_system",
        "nlp_date",
        "nlp_datetime",
        "term_exists",
        "term_temporal",
        "term_modifiers",
    ];
}

impl Row for NoteNlpRow {
    fn frame(rows: &[Self]) -> Result<DataFrame, PolarsError> {
        let integers = |of: fn(&Self) -> Option<i32>| Series::new("".into(), rows.iter().map(of).collect::<Vec<_>>());
        let texts = |of: fn(&Self) -> Option<&str>| Series::new("".into(), rows.iter().map(of).collect::<Vec<_>>());
        let times: Vec<i64> = rows.iter().map(|row| row.nlp_datetime * 1_000_000).collect();
        let columns = [
            integers(|row| Some(row.note_nlp_id)),
            integers(|row| Some(row.note_id)),
            integers(|row| row.section_concept_id),
            texts(|row| Some(&row.snippet)),
            texts(|row| Some(&row.offset)),
            texts(|row| Some(&row.lexical_variant)),
            integers(|row| row.note_nlp_concept_id),
            integers(|row| row.note_nlp_source_concept_id),
            texts(|row| Some(&row.nlp_system)),
            integers(|row| Some(row.nlp_date)).cast(&DataType::Date)?,
            Series::new("".into(), times).cast(&DataType::Datetime(TimeUnit::Microseconds, None))?,
            texts(|row| row.term_exists),
            texts(|row| row.term_temporal),
            texts(|row| Some(&row.term_modifiers)),
        ];
        let named = columns.into_iter().zip(Self::COLUMNS);
        DataFrame::new(named.map(|(column, name)| column.with_name(name.into()).into()).collect())
    }
}

/// A row of a table.
pub trait Row: Sized {
    /// The rows as a frame. Without rows, it has the columns.
    ///
    /// # Errors
    /// Only if polars fails; none is known.
    fn frame(rows: &[Self]) -> Result<DataFrame, PolarsError>;
}

/// Writes rows as Parquet, one row group at a time, in constant memory. The file appears when it is finished.
pub struct RowWriter<R> {
    rows: Vec<R>,
    writer: BatchedWriter<std::fs::File>,
    file: NewFile,
    path: PathBuf,
}

/// Rows of a row group.
const GROUP: usize = 1 << 16;

impl<R: Row> RowWriter<R> {
    /// Creates a temporary file for `path`.
    ///
    /// # Errors
    /// If it cannot be created.
    pub fn create(path: &Path) -> Result<Self, FrameError> {
        let file = NewFile::create_alone(path)?;
        let fault = |source| FrameError::Parquet { path: path.into(), source };
        let schema = R::frame(&[]).map_err(fault)?.schema().as_ref().clone();
        let writer = ParquetWriter::new(file.reopen()?).batched(&schema).map_err(fault)?;
        Ok(Self { rows: Vec::new(), writer, file, path: path.into() })
    }

    /// Writes one row.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn write(&mut self, row: R) -> Result<(), FrameError> {
        self.rows.push(row);
        if self.rows.len() < GROUP { Ok(()) } else { self.flush() }
    }

    fn flush(&mut self) -> Result<(), FrameError> {
        let written = R::frame(&self.rows).and_then(|frame| self.writer.write_batch(&frame));
        self.rows.clear();
        written.map_err(|source| FrameError::Parquet { path: self.path.clone(), source })
    }

    /// Writes everything and renames the file to its target.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn finish(mut self) -> Result<(), FrameError> {
        if !self.rows.is_empty() {
            self.flush()?;
        }
        self.writer.finish().map_err(|source| FrameError::Parquet { path: self.path.clone(), source })?;
        Ok(self.file.finish_on_disk()?)
    }
}

fn is_string(dtype: &ArrowDataType) -> bool {
    match dtype {
        ArrowDataType::Utf8 | ArrowDataType::LargeUtf8 | ArrowDataType::Utf8View | ArrowDataType::Null => true,
        ArrowDataType::Dictionary(_, values, _) => is_string(values),
        _ => false,
    }
}

impl Row for FoundRow {
    fn frame(rows: &[Self]) -> Result<DataFrame, PolarsError> {
        DataFrame::new(vec![
            strings("document", rows.iter().map(|row| Some(row.document.as_str()))),
            numbers("start", rows.iter().map(|row| Some(row.start))),
            numbers("end", rows.iter().map(|row| Some(row.end))),
            strings("text", rows.iter().map(|row| Some(row.text.as_str()))),
            strings("entity_type", rows.iter().map(|row| Some(row.entity_type.as_str()))),
            strings("category", rows.iter().map(|row| row.category.as_deref())),
            Series::new("confidence".into(), rows.iter().map(|row| row.confidence).collect::<Vec<f32>>()).into(),
            strings("models", rows.iter().map(|row| Some(row.models.as_str()))),
            Series::new("below_threshold".into(), rows.iter().map(|row| row.below_threshold).collect::<Vec<bool>>())
                .into(),
            strings("assertion", rows.iter().map(|row| row.assertion.as_deref())),
            Series::new("historical".into(), rows.iter().map(|row| row.historical).collect::<Vec<_>>()).into(),
            numbers("cue_start", rows.iter().map(|row| row.cue.map(|(start, _)| start))),
            numbers("cue_end", rows.iter().map(|row| row.cue.map(|(_, end)| end))),
            strings("section", rows.iter().map(|row| row.section.as_deref())),
            strings("concept_ids", rows.iter().map(|row| row.concept_ids.as_deref())),
            strings("concept_names", rows.iter().map(|row| row.concept_names.as_deref())),
            Series::new("link_score".into(), rows.iter().map(|row| row.link_score).collect::<Vec<_>>()).into(),
            strings("concept_system", rows.iter().map(|row| row.concept_system.as_deref())),
        ])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Mention, Span};

    #[test]
    fn texts_and_findings_stream() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("found.parquet");
        let row = |at: usize| FoundRow {
            document: format!("d{at}"),
            start: at,
            end: at + 1,
            text: "ä".repeat(at % 3),
            entity_type: "X".into(),
            category: at.is_multiple_of(2).then(|| "x".into()),
            confidence: 0.5,
            models: "a|b".into(),
            below_threshold: false,
            assertion: at.is_multiple_of(2).then(|| "absent".into()),
            historical: at.is_multiple_of(2).then_some(true),
            cue: at.is_multiple_of(2).then_some((0, at)),
            section: None,
            concept_ids: Some("D1|D2".into()),
            concept_names: None,
            link_score: Some(0.5),
            concept_system: None,
        };
        let count = GROUP + 3;
        let mut writer = RowWriter::create(&path).expect("made");
        for at in 0..count {
            writer.write(row(at)).expect("written");
        }
        writer.finish().expect("written");

        let mut texts = Texts::open(&path, "text", Some("document")).expect("opened");
        assert_eq!(texts.len(), count);
        let mut rows = Vec::new();
        while let Some(more) = texts.next_rows().expect("read") {
            rows.extend(more);
        }
        assert_eq!((rows.len(), texts.len()), (count, 0));
        // Each row is in one row group, and keeps its number.
        let mut numbers = Vec::new();
        for group in row_groups(&path).expect("read") {
            let mut texts = Texts::open(&path, "text", None).expect("opened").within(group.rows);
            while let Some(more) = texts.next_rows().expect("read") {
                numbers.extend(more.into_iter().map(|(id, _)| id.expect("a number")));
            }
        }
        assert!(numbers.iter().enumerate().all(|(at, number)| *number == (at + 1).to_string()));
        assert_eq!(numbers.len(), count);
        assert!(rows.iter().enumerate().all(|(at, (id, text))| {
            let expected = row(at);
            (id.as_deref(), text.as_deref()) == (Some(expected.document.as_str()), Some(expected.text.as_str()))
        }));
        // Numbers as ids; no ids; null.
        let first = |text: &str, id| {
            Texts::open(&path, text, id).expect("opened").next_rows().expect("read").expect("rows").swap_remove(1)
        };
        assert_eq!(first("category", Some("start")), (Some("1".into()), None));
        assert_eq!(first("models", None), (Some("2".into()), Some("a|b".into())));
        assert!(Texts::open(&path, "note", None).is_err());
    }

    #[test]
    fn frames_are_read_back_unchanged() {
        let fragments = vec![Span::new(0, 2), Span::new(3, 4)];
        let plain =
            Mention { concept_ids: vec!["D1".into(), "D2".into()], ..Mention::new(Span::new(3, 4), "Chemical") };
        let apart = Mention { fragments, ..Mention::new(Span::new(0, 4), "Disease") };
        let german = Document { mentions: vec![plain, apart], ..Document::new("7", "äb c") };
        let tagged = Document { words: vec![Span::new(0, 1)], ..Document::new("8", "x") };
        let (train, test) = ([german], [tagged]);
        let splits = || [(Split::Train, train.as_slice()), (Split::Test, test.as_slice())];

        let folder = tempfile::tempdir().expect("a folder");
        for (name, frame) in [("documents", documents(splits())), ("mentions", mentions(splits()))] {
            let mut frame = frame.expect("columns of one length");
            let path = folder.path().join("frames").join(format!("{name}.parquet"));
            write(&path, &mut frame).expect("written");
            write(&path, &mut frame).expect("written over");
            let back = read(&path).expect("read");
            assert!(back.equals_missing(&frame), "{back} and not {frame}");
            assert_eq!(frame.height(), 2, "{name}");
        }
        let names = std::fs::read_dir(folder.path().join("frames")).expect("a folder").count();
        assert_eq!(names, 2, "nothing is left behind");

        let mentions = mentions(splits()).expect("columns of one length");
        let cell =
            |column: &str, row: usize| mentions.column(column).expect("a column").get(row).expect("a row").to_string();
        assert_eq!((cell("text", 0), cell("concept_ids", 0)), ("\"c\"".into(), "\"D1|D2\"".into()));
        assert_eq!((cell("text", 1), cell("fragments", 1)), ("\"äb c\"".into(), "\"0..2;3..4\"".into()));
        assert_eq!(cell("concept_ids", 1), "null");
    }
}
