use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

/// What is wrong with a piece of a corpus.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum DiagnosticKind {
    /// A line that fits no form of its format; it was left out.
    MalformedLine,
    /// A mention that reaches outside its document or is empty; it was left out.
    OffsetOutOfRange,
    /// The text at a mention's offsets is not the text that the corpus gives for it; the mention was left out.
    TextMismatch,
    /// A second document with an id that the split already has; it was left out.
    DuplicateDocument,
    /// The same span and type twice in one document; one was kept.
    DuplicateMention,
    /// An annotation of a document that the file does not hold; it was left out.
    UnknownDocument,
    /// Bytes that are not UTF-8; they were read as U+FFFD.
    InvalidUtf8,
    /// A tag that cannot follow the one before it (`I-X` after `O`); it was read as a beginning.
    InvalidTagSequence,
    /// Something that is sound but for which [`Document`](crate::Document) has no place (an event, a normalisation's
    /// text); it was left out.
    NotRead,
}

impl DiagnosticKind {
    /// Whether something of the corpus was left out or changed, so that a user has to decide before training.
    pub const fn is_loss(self) -> bool {
        !matches!(self, Self::DuplicateMention | Self::InvalidTagSequence | Self::NotRead)
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
            Self::NotRead => "left out, no place for it",
        }
    }
}

/// One fault of a corpus, with its place. The message never quotes the text of a document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Diagnostic {
    /// What is wrong.
    pub kind: DiagnosticKind,
    /// The file, as the reader was given it.
    pub file: PathBuf,
    /// Line of the file, from 1.
    pub line: usize,
    /// The document, where one is known.
    pub document: Option<String>,
    /// What exactly is wrong there.
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

/// The faults met while reading, in the order of the file.
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

    /// The faults that left out or changed something.
    pub fn losses(&self) -> impl Iterator<Item = &Diagnostic> {
        self.0.iter().filter(|diagnostic| diagnostic.kind.is_loss())
    }
}
