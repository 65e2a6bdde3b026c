//! The formats in which corpora are kept, behind one reader and one writer.
//!
//! A format is a module with three things: a reader, which gives documents one after the other and notes what is wrong
//! with the file; `express`, which brings a document into the form that the format can say exactly; and a sink, which
//! writes documents of that form. What `express` changes is the format's loss: [`LossReport`] finds it by comparison,
//! so that a format cannot forget to count something.

pub mod conll;
mod lines;
pub mod pubtator;

use crate::{Diagnostic, DiagnosticKind, Diagnostics, Document, LossReport, Mention, Target};
use serde::{Deserialize, Serialize};
use std::collections::HashSet;
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::path::{Path, PathBuf};

/// A format of corpus files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Format {
    /// Titles and abstracts with character offsets ([`pubtator`]).
    Pubtator,
    /// Words with tags ([`conll`]).
    Conll,
}

/// What a format is, apart from its reader and writer.
struct Facts {
    format: Format,
    name: &'static str,
    /// Ending of its files, without the dot; of the file that holds the text where a document has several.
    extension: &'static str,
    /// Whether each document is a file (or several) of its own, so that a collection is a folder.
    is_folder: bool,
}

const FACTS: &[Facts] = &[
    Facts { format: Format::Pubtator, name: "pubtator", extension: "PubTator.txt", is_folder: false },
    Facts { format: Format::Conll, name: "conll", extension: "tsv", is_folder: false },
];

impl Format {
    /// All formats.
    pub fn all() -> impl Iterator<Item = Self> {
        FACTS.iter().map(|facts| facts.format)
    }

    fn facts(self) -> &'static Facts {
        // Every format has its row: a test goes through them all.
        FACTS.iter().find(|facts| facts.format == self).unwrap_or(&FACTS[0])
    }

    /// Its name, as on the command line and in descriptions.
    pub fn name(self) -> &'static str {
        self.facts().name
    }

    /// Ending of its files, without the dot.
    pub fn extension(self) -> &'static str {
        self.facts().extension
    }

    /// Whether each document is a file (or several) of its own, so that a collection is a folder.
    pub fn is_folder(self) -> bool {
        self.facts().is_folder
    }

    /// Opens a file, or a folder where [`Format::is_folder`], for reading.
    ///
    /// # Errors
    /// Where it cannot be opened.
    pub fn open(self, path: &Path, options: &FormatOptions) -> io::Result<Documents> {
        let reader: Box<dyn Reader> = match self {
            Self::Pubtator => Box::new(pubtator::Reader::open(path)?),
            Self::Conll => Box::new(conll::Reader::open(path, &options.conll)?),
        };
        Ok(Documents::new(reader))
    }

    /// Reads a text that is in memory; `file` is the name that diagnostics give. None where [`Format::is_folder`].
    pub fn open_text(self, text: &'static str, file: &Path, options: &FormatOptions) -> Option<Documents> {
        let reader: Box<dyn Reader> = match self {
            Self::Pubtator => Box::new(pubtator::Reader::new(text.as_bytes(), file)),
            Self::Conll => Box::new(conll::Reader::new(text.as_bytes(), file, &options.conll)),
        };
        Some(Documents::new(reader))
    }

    /// Reads a whole file or folder.
    ///
    /// # Errors
    /// Only where it cannot be read; what is wrong inside it is a diagnostic.
    pub fn read(self, path: &Path, options: &FormatOptions) -> io::Result<(Vec<Document>, Diagnostics)> {
        self.open(path, options)?.read_all()
    }

    /// The document as this format can say it.
    pub fn express(self, document: &Document, options: &FormatOptions) -> Expressed {
        match self {
            Self::Pubtator => pubtator::express(document),
            Self::Conll => conll::express(document, &options.conll),
        }
    }

    /// Makes a file, or a folder where [`Format::is_folder`], to write documents into.
    ///
    /// # Errors
    /// Where it cannot be made.
    pub fn create(self, path: &Path, options: &FormatOptions) -> io::Result<Writer> {
        let sink: Box<dyn Sink> = match self {
            Self::Pubtator => Box::new(pubtator::Sink::create(path)?),
            Self::Conll => Box::new(conll::Sink::create(path, &options.conll)?),
        };
        Ok(Writer { format: self, options: options.clone(), sink, report: LossReport::default() })
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Choices that some formats leave open.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FormatOptions {
    /// Those of CoNLL files.
    pub conll: conll::Options,
}

/// Reads documents one after the other, in memory that does not grow with the file.
pub trait Reader {
    /// The next document, or `None` at the end. What is wrong in the file is noted, never an error.
    ///
    /// # Errors
    /// Where the input cannot be read.
    fn next_document(&mut self) -> io::Result<Option<Document>>;

    /// File and line (from 1) on which the document returned last begins.
    fn place(&self) -> (&Path, usize);

    /// The faults noted since the last call, in the order of the lines.
    fn take_diagnostics(&mut self) -> Diagnostics;
}

/// Writes documents one after the other. It is only given what `express` returned.
pub trait Sink {
    /// Writes one document.
    ///
    /// # Errors
    /// Where the output cannot be written.
    fn write(&mut self, document: &Document) -> io::Result<()>;

    /// Writes what has to stand at the end, and everything to the disk.
    ///
    /// # Errors
    /// Where the output cannot be written.
    fn finish(&mut self) -> io::Result<()>;
}

/// The documents of a file or folder. A document whose id came before is left out, and noted.
pub struct Documents {
    reader: Box<dyn Reader>,
    /// Hashes of the ids so far: eight bytes for each, so that a large collection streams.
    seen: HashSet<u64>,
    hasher: RandomState,
    duplicates: Vec<Diagnostic>,
}

impl Documents {
    fn new(reader: Box<dyn Reader>) -> Self {
        Self { reader, seen: HashSet::new(), hasher: RandomState::new(), duplicates: Vec::new() }
    }

    /// The next document, or `None` at the end.
    ///
    /// # Errors
    /// Where the input cannot be read.
    pub fn next_document(&mut self) -> io::Result<Option<Document>> {
        while let Some(document) = self.reader.next_document()? {
            if self.seen.insert(self.hasher.hash_one(&document.id)) {
                return Ok(Some(document));
            }
            let (file, line) = self.reader.place();
            self.duplicates.push(Diagnostic {
                kind: DiagnosticKind::DuplicateDocument,
                file: file.into(),
                line,
                document: Some(document.id),
                message: "its id is that of an earlier document".into(),
            });
        }
        Ok(None)
    }

    /// The faults noted since the last call, in the order of files and lines.
    pub fn take_diagnostics(&mut self) -> Diagnostics {
        let mut diagnostics = self.reader.take_diagnostics();
        diagnostics.0.append(&mut self.duplicates);
        diagnostics.0.sort_by(|a, b| (&a.file, a.line).cmp(&(&b.file, b.line)));
        diagnostics
    }

    /// All that is left, and all faults.
    ///
    /// # Errors
    /// Where the input cannot be read.
    pub fn read_all(mut self) -> io::Result<(Vec<Document>, Diagnostics)> {
        let mut documents = Vec::new();
        while let Some(document) = self.next_document()? {
            documents.push(document);
        }
        Ok((documents, self.take_diagnostics()))
    }
}

/// A document as a format can say it: what its sink writes, its reader reads back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expressed {
    /// The document.
    pub document: Document,
    /// For each mention of the original its place in `document`, or none where the format cannot say it.
    pub mentions: Vec<Option<usize>>,
}

impl Expressed {
    /// The document with each mention as `change` gives it, left out where it gives none. Relations between mentions
    /// follow; a relation with an end that is left out is left out too.
    pub fn new(document: &Document, mut change: impl FnMut(&Mention) -> Option<Mention>) -> Self {
        let mut kept = Vec::with_capacity(document.mentions.len());
        let mentions: Vec<Option<usize>> = document
            .mentions
            .iter()
            .map(|mention| {
                kept.push(change(mention)?);
                Some(kept.len() - 1)
            })
            .collect();
        let mut relations = Vec::with_capacity(document.relations.len());
        'relations: for relation in &document.relations {
            let mut relation = relation.clone();
            for argument in &mut relation.arguments {
                if let Target::Mention(at) = &mut argument.target {
                    match mentions.get(*at) {
                        Some(Some(new)) => *at = *new,
                        _ => continue 'relations,
                    }
                }
            }
            relations.push(relation);
        }
        Self { document: Document { mentions: kept, relations, ..document.clone() }, mentions }
    }
}

/// Writes documents in a format, and counts what it cannot say.
pub struct Writer {
    format: Format,
    options: FormatOptions,
    sink: Box<dyn Sink>,
    report: LossReport,
}

impl Writer {
    /// Writes one document.
    ///
    /// # Errors
    /// Where the output cannot be written.
    pub fn write(&mut self, document: &Document) -> io::Result<()> {
        let expressed = self.format.express(document, &self.options);
        self.report.add(document, &expressed);
        self.sink.write(&expressed.document)
    }

    /// What was kept, moved and lost so far.
    pub const fn report(&self) -> &LossReport {
        &self.report
    }

    /// Writes everything to the disk and returns what was kept, moved and lost.
    ///
    /// # Errors
    /// Where the output cannot be written.
    pub fn finish(mut self) -> io::Result<LossReport> {
        self.sink.finish()?;
        Ok(self.report)
    }
}

/// A file that is written whole or not at all: it appears under its name when it is finished.
pub(crate) struct NewFile {
    file: io::BufWriter<tempfile::NamedTempFile>,
    path: PathBuf,
}
