//! The formats of corpora, behind one reader and one writer.
//!
//! Each format is a module with three parts: a [`Reader`], which yields documents and notes faults; `express`, which
//! converts a document to a form that the format can represent exactly; and a [`Sink`], which writes documents of that
//! form. [`Writer`] combines the last two. [`ConversionReport`] compares the document before and after `express`, so
//! that the reported losses always match the written file.
//!
//! Where things are:
//!
//! - One module per format: [`brat`], [`conll`], [`i2b2`], [`jsonl`], [`pubtator`], [`bioc_xml`] and [`bioc_json`];
//!   `bioc.rs` is shared by the last two. `columns.rs` tells how the columns of a CoNLL file are written.
//! - [`detect`] decides what a file is.
//! - `lines.rs` is shared by line formats, `json.rs` by the JSON formats, `file_names.rs` by folder formats; `packed.rs`
//!   unpacks, `per_document.rs` bounds what a document takes; `encoding.rs`, `utf8.rs`, [`OffsetUnit`]'s `offsets.rs`,
//!   `concept_ids.rs` and `faults.rs` are shared by several.
//! - `round_trip.rs` is the test that every format passes: expressed documents are read back equal and without faults,
//!   and expressing them again changes nothing.

mod bioc;
pub mod bioc_json;
pub mod bioc_xml;
pub mod brat;
mod columns;
mod concept_ids;
pub mod conll;
pub mod detect;
mod encoding;
mod expressed;
mod faults;
pub mod file_names;
pub mod i2b2;
mod json;
pub mod jsonl;
mod lines;
mod offsets;
mod packed;
mod per_document;
pub mod pubtator;
#[cfg(test)]
mod round_trip;
mod utf8;

pub use detect::Look;
pub use encoding::refused_encoding;
pub use expressed::Expressed;
pub use offsets::OffsetUnit;
pub use packed::{MAX_RATIO, buffered};

use crate::{ConversionChange, ConversionReport, Diagnostic, DiagnosticKind, Diagnostics, Document};
use encoding::Decoded;
use flate2::Compression;
use flate2::write::GzEncoder;
use fs_err as fs;
use ner_files::NewFile;
use per_document::{PerDocument, SinceDocument};
use serde::{Deserialize, Serialize};
use std::cell::LazyCell;
use std::collections::HashSet;
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::io::{self, BufRead, Read, Write};
use std::path::{Path, PathBuf};
use unicode_normalization::UnicodeNormalization;

/// A format of corpus files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Format {
    /// Titles and abstracts with character offsets ([`pubtator`]).
    Pubtator,
    /// Words with tags ([`conll`]).
    Conll,
    /// One JSON value per line ([`jsonl`]).
    Jsonl,
    /// A collection in XML ([`bioc_xml`]).
    BiocXml,
    /// A collection in JSON ([`bioc_json`]).
    BiocJson,
    /// Texts with standoff annotation ([`brat`]).
    Brat,
    /// Clinical notes with concepts by line and token ([`i2b2`]).
    I2b2,
}

/// Properties of a format, apart from its reader and writer.
struct Facts {
    format: Format,
    name: &'static str,
    /// File extension, without the dot; for documents of several files, that of the text file.
    extension: &'static str,
    /// Extensions of annotation files, by which a folder of the format is recognised. Empty for formats with many
    /// documents in a file.
    annotations: &'static [&'static str],
}

const fn facts(
    format: Format,
    name: &'static str,
    extension: &'static str,
    annotations: &'static [&'static str],
) -> Facts {
    Facts { format, name, extension, annotations }
}

const FACTS: &[Facts] = &[
    facts(Format::Pubtator, "pubtator", "PubTator.txt", &[]),
    facts(Format::Conll, "conll", "tsv", &[]),
    facts(Format::Jsonl, "jsonl", "jsonl", &[]),
    facts(Format::BiocXml, "bioc-xml", "BioC.xml", &[]),
    facts(Format::BiocJson, "bioc-json", "BioC.json", &[]),
    facts(Format::Brat, "brat", "txt", &["ann", "a1", "a2"]),
    facts(Format::I2b2, "i2b2", "txt", &["con"]),
];

/// Number of folder entries examined to detect the format.
const ENTRIES: usize = 10_000;

impl Format {
    /// All formats.
    pub fn all() -> impl Iterator<Item = Self> {
        FACTS.iter().map(|facts| facts.format)
    }

    fn facts(self) -> &'static Facts {
        // Every format has a row; a test checks them all.
        FACTS.iter().find(|facts| facts.format == self).unwrap_or(&FACTS[0])
    }

    /// Its name on the command line and in descriptions.
    pub fn name(self) -> &'static str {
        self.facts().name
    }

    /// The format with this name.
    pub fn from_name(name: &str) -> Option<Self> {
        FACTS.iter().find(|facts| facts.name == name).map(|facts| facts.format)
    }

    /// File extension, without the dot.
    pub fn extension(self) -> &'static str {
        self.facts().extension
    }

    /// Whether each document has its own file or files, so that a collection is a folder.
    pub fn is_folder(self) -> bool {
        !self.facts().annotations.is_empty()
    }

    /// Whether its files state offsets, whose unit [`FormatOptions::offsets`] names.
    pub const fn has_offsets(self) -> bool {
        !matches!(self, Self::Conll | Self::I2b2)
    }

    /// An option without effect is an error.
    fn check_unit(self, options: &FormatOptions) -> io::Result<()> {
        if self.has_offsets() || options.offsets == OffsetUnit::default() {
            return Ok(());
        }
        let message = format!("{self} files state no offsets, so a unit of offsets (--input-offsets) has no effect");
        Err(io::Error::new(io::ErrorKind::InvalidInput, message))
    }

    /// Detects the format of a file or folder; `None` if none or several match. [`look`] says what a file is otherwise.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn detect(path: &Path) -> io::Result<Option<Self>> {
        if path.is_dir() {
            return Ok(Self::detect_folder(path));
        }
        Ok(look(path)?.format())
    }

    fn detect_folder(folder: &Path) -> Option<Self> {
        let entries = walkdir::WalkDir::new(folder).follow_links(true).sort_by_file_name().into_iter();
        let files = entries.take(ENTRIES).filter_map(Result::ok).filter(|entry| entry.file_type().is_file());
        let endings: HashSet<String> = files.map(|entry| extension_of(entry.path())).collect();
        let mut found = FACTS.iter().filter(|facts| facts.annotations.iter().any(|ending| endings.contains(*ending)));
        let first = found.next()?;
        found.next().is_none().then_some(first.format)
    }

    /// Opens a file for reading, or a folder if [`Format::is_folder`].
    ///
    /// # Errors
    /// If it cannot be opened.
    pub fn open(self, path: &Path, options: &FormatOptions) -> io::Result<Documents<'static>> {
        self.check_unit(options)?;
        match self {
            Self::Pubtator | Self::Conll | Self::Jsonl | Self::BiocXml | Self::BiocJson => {
                self.open_input(open_file(path)?, path, options)
            }
            Self::Brat => Ok(Documents::new(Box::new(brat::Reader::open(path, options.offsets)?), true)),
            Self::I2b2 => Ok(Documents::new(Box::new(i2b2::Reader::open(path)?), false)),
        }
    }

    /// Reads from any input; diagnostics report `file` as its name.
    ///
    /// # Errors
    /// If [`Format::is_folder`]: a folder cannot be read from one input.
    pub fn open_input<'r>(
        self,
        input: Box<dyn BufRead + 'r>,
        file: &Path,
        options: &FormatOptions,
    ) -> io::Result<Documents<'r>> {
        self.check_unit(options)?;
        let since = SinceDocument::default();
        let input = PerDocument { input, since: since.clone() };
        let mut refused = None;
        let input: Box<dyn BufRead + 'r> = match Decoded::or_refused(input) {
            Ok(decoded) => Box::new(decoded),
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                let (kind, message) = (DiagnosticKind::InvalidUtf8, format!("{error}; nothing was read"));
                refused = Some(Diagnostic { kind, file: file.into(), line: 1, document: None, message });
                Box::new(io::empty())
            }
            Err(error) => return Err(error),
        };
        let reader: Box<dyn Reader + 'r> = match self {
            Self::Pubtator => Box::new(pubtator::Reader::new(input, file, options.offsets)),
            Self::Conll => Box::new(conll::Reader::new(input, file, &options.conll)),
            Self::Jsonl => Box::new(jsonl::Reader::new(input, file, &options.json, options.offsets)?),
            Self::BiocXml => Box::new(bioc_xml::Reader::new(input, file, options.offsets)),
            Self::BiocJson => Box::new(bioc_json::Reader::new(input, file, options.offsets)),
            Self::Brat => return Err(only_as_folder(self)),
            Self::I2b2 => return Err(only_as_folder(self)),
        };
        let others = refused.into_iter().collect();
        Ok(Documents { others, since, ..Documents::new(reader, self.has_offsets()) })
    }

    /// Reads a whole file or folder.
    ///
    /// # Errors
    /// Only if it cannot be read; faults inside it become diagnostics.
    pub fn read(self, path: &Path, options: &FormatOptions) -> io::Result<(Vec<Document>, Diagnostics)> {
        self.open(path, options)?.read_all()
    }

    /// Converts a document to the form that this format can represent.
    pub fn express(self, document: &Document, options: &FormatOptions) -> Expressed {
        match self {
            Self::Pubtator => pubtator::express(document),
            Self::Conll => conll::express(document, &options.conll),
            Self::Jsonl => jsonl::express(document),
            Self::BiocXml => bioc_xml::express(document),
            Self::BiocJson => bioc_json::express(document),
            Self::Brat => brat::express(document),
            Self::I2b2 => i2b2::express(document),
        }
    }

    /// Whether a folder of this format contains a complete document with this id.
    pub fn is_written(self, folder: &Path, id: &str) -> bool {
        match self {
            Self::Brat => brat::is_written(folder, id),
            Self::I2b2 => i2b2::is_written(folder, id),
            Self::Pubtator | Self::Conll | Self::Jsonl | Self::BiocXml | Self::BiocJson => false,
        }
    }

    /// Creates a file for writing documents, or a folder if [`Format::is_folder`].
    ///
    /// # Errors
    /// If it cannot be created.
    pub fn create(self, path: &Path, options: &FormatOptions) -> io::Result<Writer<'static>> {
        let sink: Box<dyn Sink> = match self {
            Self::Pubtator | Self::Conll | Self::Jsonl | Self::BiocXml | Self::BiocJson => {
                return self.create_output(Output::create(path)?, options);
            }
            Self::Brat => Box::new(brat::Sink::create(path)?),
            Self::I2b2 => Box::new(i2b2::Sink::create(path)?),
        };
        let names = Some(FileNames { folder: path.into(), exact: HashSet::new(), folded: HashSet::new() });
        Ok(Writer { format: self, options: options.clone(), sink, report: ConversionReport::default(), names })
    }

    /// Writes to any output.
    ///
    /// # Errors
    /// If [`Format::is_folder`]: a folder cannot be written to one output.
    pub fn create_output<'w>(self, out: Output<'w>, options: &FormatOptions) -> io::Result<Writer<'w>> {
        let sink: Box<dyn Sink + 'w> = match self {
            Self::Pubtator => Box::new(pubtator::Sink::new(out)),
            Self::Conll => Box::new(conll::Sink::new(out, &options.conll)),
            Self::Jsonl => Box::new(jsonl::Sink::new(out)),
            Self::BiocXml => Box::new(bioc_xml::Sink::new(out)),
            Self::BiocJson => Box::new(bioc_json::Sink::new(out)),
            Self::Brat => return Err(only_as_folder(self)),
            Self::I2b2 => return Err(only_as_folder(self)),
        };
        Ok(Writer { format: self, options: options.clone(), sink, report: ConversionReport::default(), names: None })
    }

    /// Writes all documents into a new file or folder; reports what was kept, moved and lost.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn write<'d>(
        self,
        path: &Path,
        documents: impl IntoIterator<Item = &'d Document>,
        options: &FormatOptions,
    ) -> io::Result<ConversionReport> {
        let mut writer = self.create(path, options)?;
        for document in documents {
            writer.write(document)?;
        }
        writer.finish()
    }
}

/// What a file is.
///
/// # Errors
/// If it cannot be read.
pub fn look(path: &Path) -> io::Result<Look> {
    let input = fs::File::open(path)?;
    Ok(look_at(&without_packing(path), &mut buffered(input, path)?)?.0)
}

/// What an input with this name is, and the bytes that were read to decide.
///
/// # Errors
/// If it cannot be read.
pub fn look_at(name: &Path, input: &mut dyn Read) -> io::Result<(Look, Vec<u8>)> {
    let mut beginning = Vec::new();
    // A packed file that ends too early has a beginning nevertheless. Its end is reported when it is read.
    let is_whole = match input.take(detect::BEGINNING as u64).read_to_end(&mut beginning) {
        Ok(read) => read < detect::BEGINNING,
        Err(error) if beginning.is_empty() => return Err(error),
        Err(_) => false,
    };
    Ok((detect::look(name, &beginning, is_whole), beginning))
}

fn open_file(path: &Path) -> io::Result<Box<dyn BufRead>> {
    let named = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
    let input = buffered(fs::File::open(path)?, path).map_err(named)?;
    Ok(input)
}

/// The last extension in lower case.
pub fn extension_of(path: &Path) -> String {
    path.extension().map(|ending| ending.to_string_lossy().to_lowercase()).unwrap_or_default()
}

/// The name without the ending of a compression.
pub fn without_packing(path: &Path) -> PathBuf {
    if matches!(extension_of(path).as_str(), "gz" | "zst") { path.with_extension("") } else { path.into() }
}

fn is_gz(name: &Path) -> bool {
    extension_of(name) == "gz"
}

/// The error of reading or writing a folder format through one stream.
fn only_as_folder(format: Format) -> io::Error {
    io::Error::new(io::ErrorKind::Unsupported, format!("a {format} collection is a folder, not a single file"))
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Options of the formats that have any.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FormatOptions {
    /// Options of CoNLL files.
    pub conll: conll::ConllOptions,
    /// Keys of JSON documents.
    pub json: jsonl::JsonKeys,
    /// What the offsets of the files count that are read; files are always written in characters.
    pub offsets: OffsetUnit,
}

/// Reads documents one at a time, in constant memory.
pub trait Reader {
    /// The next document, or `None` at the end. Faults in the file are noted, and are never an error.
    ///
    /// # Errors
    /// If the input cannot be read.
    fn next_document(&mut self) -> io::Result<Option<Document>>;

    /// File and line (from 1) where the last returned document begins.
    fn place(&self) -> (&Path, usize);

    /// The faults noted since the last call, ordered by line.
    fn take_diagnostics(&mut self) -> Diagnostics;
}

/// Writes documents one at a time. It only receives documents returned by `express`.
pub trait Sink {
    /// Writes one document.
    ///
    /// # Errors
    /// If the output cannot be written.
    fn write(&mut self, document: &Document) -> io::Result<()>;

    /// Writes the end of the file, and flushes everything to disk.
    ///
    /// # Errors
    /// If the output cannot be written.
    fn finish(self: Box<Self>) -> io::Result<()>;
}

/// The output of a single-file sink.
pub enum Output<'w> {
    /// A file that appears under its name when it is finished.
    New(NewFile),
    /// The same, compressed: its name ends in `.gz`.
    NewGz(Box<GzEncoder<NewFile>>),
    /// An open output (stdout, a pipe, memory).
    Open(Box<dyn Write + 'w>),
}

impl Output<'static> {
    /// A new file that no other process may write meanwhile, or the existing target if it is not a regular file (a pipe,
    /// a device).
    ///
    /// # Errors
    /// If it cannot be created or opened, or another process writes it.
    pub fn create(path: &Path) -> io::Result<Self> {
        match fs::metadata(path) {
            Ok(there) if !there.is_file() && !there.is_dir() => {
                let file = fs::OpenOptions::new().write(true).open(path)?;
                Ok(Self::Open(Box::new(io::BufWriter::new(file))))
            }
            _ if is_gz(path) => {
                let packed = GzEncoder::new(NewFile::create_alone(path)?, Compression::default());
                Ok(Self::NewGz(Box::new(packed)))
            }
            _ => Ok(Self::New(NewFile::create_alone(path)?)),
        }
    }
}

impl Output<'_> {
    /// Writes everything; renames a new file to its target.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn finish(self) -> io::Result<()> {
        match self {
            Self::New(file) => file.finish_on_disk(),
            Self::NewGz(file) => file.finish()?.finish_on_disk(),
            Self::Open(mut out) => out.flush(),
        }
    }
}

impl Write for Output<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::New(file) => file.write(bytes),
            Self::NewGz(file) => file.write(bytes),
            Self::Open(out) => out.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::New(file) => file.flush(),
            Self::NewGz(file) => file.flush(),
            Self::Open(out) => out.flush(),
        }
    }
}

/// The documents of a file or folder. A document with the id of an earlier one is left out and noted.
pub struct Documents<'r> {
    reader: Box<dyn Reader + 'r>,
    /// Hashes of the ids so far, eight bytes each, so that large collections can be streamed.
    seen: HashSet<u64>,
    hasher: RandomState,
    /// Faults beside those of the reader.
    others: Vec<Diagnostic>,
    has_offsets: bool,
    since: SinceDocument,
}

impl<'r> Documents<'r> {
    /// `has_offsets` is [`Format::has_offsets`].
    fn new(reader: Box<dyn Reader + 'r>, has_offsets: bool) -> Self {
        let (seen, hasher, others, since) = Default::default();
        Self { reader, seen, hasher, others, has_offsets, since }
    }

    /// The next document, or `None` at the end.
    ///
    /// # Errors
    /// If the input cannot be read.
    pub fn next_document(&mut self) -> io::Result<Option<Document>> {
        while let Some(document) = self.reader.next_document()? {
            self.since.reset();
            let is_new = self.seen.insert(self.hasher.hash_one(&document.id));
            let (file, line) = self.reader.place();
            let mut note = |kind, message: String| {
                let document = Some(document.id.clone());
                self.others.push(Diagnostic { kind, file: file.into(), line, document, message });
            };
            if is_new {
                let mentions = if self.has_offsets { document.mentions.as_slice() } else { &[] };
                // A text without mentions needs no index.
                let index = LazyCell::new(|| document.char_index());
                for mention in mentions {
                    if let Some(odd) = offsets::odd_ends(&document.text, &index, &mention.fragments) {
                        let message = format!("{} at {} {odd}", mention.entity_type, mention.span());
                        note(DiagnosticKind::OddBoundary, message);
                    }
                }
                return Ok(Some(document));
            }
            note(DiagnosticKind::DuplicateDocument, "repeats the id of an earlier document".into());
        }
        Ok(None)
    }

    /// The faults noted since the last call, ordered by file and line.
    pub fn take_diagnostics(&mut self) -> Diagnostics {
        let mut diagnostics = self.reader.take_diagnostics();
        diagnostics.0.append(&mut self.others);
        diagnostics.0.sort_by(|a, b| (&a.file, a.line).cmp(&(&b.file, b.line)));
        diagnostics
    }

    /// All remaining documents, and all faults.
    ///
    /// # Errors
    /// If the input cannot be read.
    pub fn read_all(mut self) -> io::Result<(Vec<Document>, Diagnostics)> {
        let mut documents = Vec::new();
        while let Some(document) = self.next_document()? {
            documents.push(document);
        }
        Ok((documents, self.take_diagnostics()))
    }
}

/// Writes documents in a format, and counts what the format cannot represent.
pub struct Writer<'w> {
    format: Format,
    options: FormatOptions,
    sink: Box<dyn Sink + 'w>,
    report: ConversionReport,
    /// For formats with files per document.
    names: Option<FileNames>,
}

/// The documents that have their files in a folder.
struct FileNames {
    folder: PathBuf,
    exact: HashSet<String>,
    /// In the form in which a file system without upper and lower case, or without forms of Unicode, compares names.
    folded: HashSet<String>,
}

impl FileNames {
    /// Refuses an id whose files would replace those of another document.
    fn add(&mut self, format: Format, id: &str) -> io::Result<()> {
        let folded: String = id.nfkd().flat_map(char::to_lowercase).collect();
        let is_new = self.exact.insert(id.to_owned());
        let is_alike = !self.folded.insert(folded);
        // Two names that only look alike are two files, except where the file system takes one for the other.
        if is_new && !(is_alike && format.is_written(&self.folder, id)) {
            return Ok(());
        }
        let message = if is_new {
            format!("document {id}: this file system takes its name for that of another document; change the id")
        } else {
            format!("a second document {id}: writing it would replace the files of the first")
        };
        Err(io::Error::new(io::ErrorKind::AlreadyExists, message))
    }
}

impl Writer<'_> {
    /// Writes one document; returns the changes made to it.
    ///
    /// # Errors
    /// If the output cannot be written, or ([`io::ErrorKind::AlreadyExists`]) if each document has its own files and
    /// those of another document have these names.
    pub fn write(&mut self, document: &Document) -> io::Result<Vec<ConversionChange>> {
        let expressed = self.format.express(document, &self.options);
        if let Some(names) = &mut self.names {
            names.add(self.format, &expressed.document.id)?;
        }
        self.sink.write(&expressed.document)?;
        Ok(self.report.add(document, &expressed))
    }

    /// Report of what was kept, moved and lost so far.
    pub const fn report(&self) -> &ConversionReport {
        &self.report
    }

    /// Flushes everything to disk; reports what was kept, moved and lost.
    ///
    /// # Errors
    /// If the output cannot be written.
    pub fn finish(self) -> io::Result<ConversionReport> {
        self.sink.finish()?;
        Ok(self.report)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_file_of_a_folder_is_replaced() {
        let folder = tempfile::tempdir().expect("a folder");
        let document = Document::new("1", "a");
        for format in Format::all().filter(|format| format.is_folder()) {
            let mut writer = format.create(&folder.path().join(format.name()), &FormatOptions::default()).expect("new");
            writer.write(&document).expect("the first");
            assert_eq!(writer.write(&document).expect_err("the second").kind(), io::ErrorKind::AlreadyExists);
        }
    }

    #[test]
    fn every_format_has_its_row_and_its_name() {
        for format in Format::all() {
            assert_eq!((format.facts().format, Format::from_name(format.name())), (format, Some(format)));
            assert_eq!(serde_json::to_value(format).expect("a name"), format.name());
        }
    }
}
