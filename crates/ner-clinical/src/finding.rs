use ner_context::{Assertion, SectionName};
use ner_data::{CharIndex, Confidence, Document, Span};

/// A mention that models found, with what the note says of it.
#[derive(Clone, Copy, Debug)]
pub struct Finding<'a> {
    /// Its span.
    pub span: Span,
    /// The model's entity type.
    pub entity_type: &'a str,
    /// The category of that type.
    pub category: Option<&'a str>,
    /// Confidence of the mention.
    pub confidence: Confidence,
    /// The models that found it.
    pub models: &'a [String],
    /// What the note says of it; `None` if its type is not assertable.
    pub assertion: Option<&'a Assertion>,
    /// Its section; `None` if unknown.
    pub section: Option<&'a SectionName>,
}

impl Finding<'_> {
    /// Its text; empty if it lies outside the document.
    pub(crate) fn text<'d>(&self, document: &'d Document, index: &CharIndex) -> &'d str {
        index.slice(&document.text, self.span).unwrap_or_default()
    }

    /// The words that decided its assertion.
    pub(crate) fn cue<'d>(&self, document: &'d Document, index: &CharIndex) -> Option<&'d str> {
        index.slice(&document.text, self.assertion?.cue?)
    }
}

/// The program that processes the notes.
#[derive(Clone, Copy, Debug)]
pub struct Software<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its version.
    pub version: &'a str,
}
