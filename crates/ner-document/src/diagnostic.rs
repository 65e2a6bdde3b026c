use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

/// What is wrong with a part of a corpus.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum DiagnosticKind {
    /// A line that does not fit its format; left out.
    MalformedLine,
    /// A mention that is empty or reaches outside its document; left out.
    OffsetOutOfRange,
    /// The text at a mention's offsets differs from the text that the corpus gives for it; the mention is left out.
    TextMismatch,
    /// A second document with the same id in a split; left out.
    DuplicateDocument,
    /// A second mention with the same span and type in a document; one is kept.
    DuplicateMention,
    /// An annotation of a document that the file does not contain; left out.
    UnknownDocument,
    /// Bytes that are not UTF-8; read as U+FFFD.
    InvalidUtf8,
    /// A tag that cannot follow the one before it (`I-X` after `O`); read as the first of a mention.
    InvalidTagSequence,
    /// Annotation of mentions in a form that the reader does not know; left out.
    UnknownAnnotation,
    /// A mention that begins or ends in white space or inside a word; read as it is. Its offsets may be wrong.
    OddBoundary,
    /// A tag of no known form; no mention of its sentence is read.
    UnknownTag,
    /// A valid part that [`Document`](crate::Document) cannot hold (an event, the text of a normalisation); left out.
    NotRead,
}

impl DiagnosticKind {
    /// Whether a part of the corpus was left out or changed, so that the user has to decide before training.
    pub const fn is_loss(self) -> bool {
        !matches!(self, Self::DuplicateMention | Self::InvalidTagSequence | Self::OddBoundary | Self::NotRead)
    }

    const fn phrase(self) -> &'static str {
        match self {
            Self::MalformedLine => "malformed line",
            Self::OffsetOutOfRange => "offset out of range",
            Self::TextMismatch => "text does not match the offsets",
            Self::DuplicateDocument => "duplicate document",
            Self::DuplicateMention => "duplicate mention",
            Self::UnknownDocument => "unknown document",
            Self::InvalidUtf8 => "invalid UTF-8",
            Self::InvalidTagSequence => "invalid tag sequence",
            Self::UnknownAnnotation => "annotation in an unknown form, left out",
            Self::OddBoundary => "mention with an odd beginning or end",
            Self::UnknownTag => "unknown tag",
            Self::NotRead => "not supported, left out",
        }
    }
}

/// One fault in a corpus, with its location. The message never quotes the text of a document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Diagnostic {
    /// What kind of fault it is.
    pub kind: DiagnosticKind,
    /// The file, as given to the reader.
    pub file: PathBuf,
    /// Line in the file, counted from 1.
    pub line: usize,
    /// The document, if known.
    pub document: Option<String>,
    /// What exactly is wrong.
    pub message: String,
}

impl fmt::Display for DiagnosticKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.phrase())
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: ", self.file.display(), self.line)?;
        if let Some(document) = &self.document {
            write!(f, "document {document}: ")?;
        }
        write!(f, "{}: {}", self.kind, self.message)
    }
}

/// The faults found while reading, in the order of the file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Diagnostics(pub Vec<Diagnostic>);

impl Diagnostics {
    /// Number of faults of each kind.
    pub fn counts(&self) -> BTreeMap<DiagnosticKind, usize> {
        let mut counts = BTreeMap::new();
        for diagnostic in &self.0 {
            *counts.entry(diagnostic.kind).or_insert(0) += 1;
        }
        counts
    }

    /// The faults by which a part of the corpus was left out or changed.
    pub fn losses(&self) -> impl Iterator<Item = &Diagnostic> {
        self.0.iter().filter(|diagnostic| diagnostic.kind.is_loss())
    }
}
