use ner_context::{Assertion, SectionName};
use ner_data::{CharIndex, Confidence, Document, Span};
use ner_link::LinkedConcept;

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
    /// The concept that it means; several if it is a composite mention.
    pub concepts: &'a [LinkedConcept],
}

impl Finding<'_> {
    /// Its text; empty if it lies outside the document.
    pub(crate) fn text<'d>(&self, document: &'d Document, index: &CharIndex) -> &'d str {
        index.slice(&document.text, self.span).unwrap_or_default()
    }

    /// Its different concepts; one `None` if it has none. Forms with a place for one concept state it once for each.
    pub(crate) fn each_concept(&self) -> Vec<Option<&LinkedConcept>> {
        let is_new = |at: usize| self.concepts[..at].iter().all(|earlier| earlier.id != self.concepts[at].id);
        let concepts: Vec<_> =
            (0..self.concepts.len()).filter(|&at| is_new(at)).map(|at| self.concepts.get(at)).collect();
        if concepts.is_empty() { vec![None] } else { concepts }
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
