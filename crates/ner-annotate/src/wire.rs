//! The JSON of a mention, the same in the command and the server.

use crate::MergedMention;
use ner_context::{Assertion, AssertionValue, SectionName};
use ner_document::{CharIndex, Document, Span};
use ner_link::{LinkedConcept, Other};
use serde::{Deserialize, Serialize};

/// Unit of positions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Offsets {
    /// Unicode characters (code points).
    #[default]
    #[serde(alias = "characters")]
    Chars,
    /// Bytes of the UTF-8 text.
    Bytes,
}

impl Offsets {
    /// Positions of a span in this unit; `None` if it reaches outside the document.
    pub fn positions(self, span: Span, index: &CharIndex) -> Option<(usize, usize)> {
        let bytes = index.bytes(span)?;
        Some(match self {
            Self::Chars => (span.start, span.end),
            Self::Bytes => (bytes.start, bytes.end),
        })
    }
}

/// A mention in JSON.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct WireMention<'a> {
    /// First position.
    pub start: usize,
    /// Position after the last.
    pub end: usize,
    /// Its text.
    pub text: &'a str,
    /// The model's entity type.
    #[serde(rename = "type")]
    pub entity_type: &'a str,
    /// The category of that type.
    pub category: Option<&'a str>,
    /// Confidence, from 0 to 1.
    pub confidence: f32,
    /// The models that found it.
    pub models: &'a [String],
    /// Whether its confidence is below the threshold of its type; omitted if not.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub below_threshold: bool,
    /// What the text says of it; omitted if its type is not assertable.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub assertion: Option<WireAssertion<'a>>,
    /// Its section; omitted if unknown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub section: Option<&'a SectionName>,
    /// What it is short for; omitted if the document does not say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub long_form: Option<WirePart<'a>>,
    /// The concept that it means, several for a composite mention; omitted if there is none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub concepts: Vec<WireConcept<'a>>,
}

/// A concept in JSON.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct WireConcept<'a> {
    /// Its id.
    pub id: &'a str,
    /// Its preferred name.
    pub name: &'a str,
    /// From 0 to 1.
    pub score: f32,
    /// The name of the vocabulary's file, and its release if that is known.
    pub vocabulary: &'a str,
    /// URI of the code system; omitted if the vocabulary does not say it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub system: Option<&'a str>,
    /// The text that was looked up.
    pub text: &'a str,
    /// Further candidates, the best first; omitted if there are none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub others: Vec<WireCandidate<'a>>,
}

/// A further candidate in JSON.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct WireCandidate<'a> {
    /// Its id.
    pub id: &'a str,
    /// Its preferred name.
    pub name: &'a str,
    /// From 0 to 1.
    pub score: f32,
}

impl<'a> From<&'a LinkedConcept> for WireConcept<'a> {
    fn from(concept: &'a LinkedConcept) -> Self {
        let other = |Other { id, name, score }: &'a Other| WireCandidate { id, name, score: score.value() };
        Self {
            id: &concept.id,
            name: &concept.name,
            score: concept.score.value(),
            vocabulary: &concept.vocabulary,
            system: concept.system.as_deref(),
            text: &concept.text,
            others: concept.others.iter().map(other).collect(),
        }
    }
}

/// An assertion in JSON.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct WireAssertion<'a> {
    /// `present`, `absent`, `possible`, `conditional`, `hypothetical` or `associated_with_someone_else`.
    pub value: AssertionValue,
    /// Whether it lies in the past.
    pub historical: bool,
    /// The words that decided; `null` for a mention that is present because nothing says otherwise.
    pub cue: Option<WirePart<'a>>,
    /// Weight of the rule, from 0 to 1.
    pub confidence: f32,
}

/// A part of the text in JSON: a cue, a long form.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct WirePart<'a> {
    /// First position.
    pub start: usize,
    /// Position after the last.
    pub end: usize,
    /// Its text.
    pub text: &'a str,
}

/// The mentions of a document with positions in the unit `offsets`; `None` if one reaches outside the document.
pub fn wire_mentions<'a>(
    document: &'a Document,
    mentions: &'a [MergedMention],
    offsets: Offsets,
) -> Option<Vec<WireMention<'a>>> {
    let index = document.char_index();
    let part = |span: Span| {
        let (start, end) = offsets.positions(span, &index)?;
        Some(WirePart { start, end, text: index.slice(&document.text, span)? })
    };
    let assertion = |assertion: &Assertion| {
        let Assertion { value, historical, cue, confidence } = *assertion;
        WireAssertion { value, historical, cue: cue.and_then(part), confidence: confidence.value() }
    };
    let wire = |mention: &'a MergedMention| {
        let (start, end) = offsets.positions(mention.span, &index)?;
        Some(WireMention {
            start,
            end,
            text: index.slice(&document.text, mention.span)?,
            entity_type: &mention.entity_type,
            category: mention.category.as_deref(),
            confidence: mention.confidence.value(),
            models: &mention.models,
            below_threshold: mention.below_threshold,
            assertion: mention.assertion.as_ref().map(assertion),
            section: mention.section.as_ref(),
            long_form: mention.long_form.as_ref().and_then(|long_form| part(long_form.span)),
            concepts: mention.concepts.iter().map(WireConcept::from).collect(),
        })
    };
    mentions.iter().map(wire).collect()
}
