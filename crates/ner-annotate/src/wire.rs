//! The JSON of a mention, the same in the command and the server.

use crate::MergedMention;
use ner_document::{CharIndex, Document};
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
    /// Positions of a mention in this unit; `None` if it reaches outside the document.
    pub fn positions(self, mention: &MergedMention, index: &CharIndex) -> Option<(usize, usize)> {
        let bytes = index.bytes(mention.span)?;
        Some(match self {
            Self::Chars => (mention.span.start, mention.span.end),
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
}

/// The mentions of a document with positions in the unit `offsets`; `None` if one reaches outside the document.
pub fn wire_mentions<'a>(
    document: &'a Document,
    mentions: &'a [MergedMention],
    offsets: Offsets,
) -> Option<Vec<WireMention<'a>>> {
    let index = document.char_index();
    let wire = |mention: &'a MergedMention| {
        let (start, end) = offsets.positions(mention, &index)?;
        Some(WireMention {
            start,
            end,
            text: index.slice(&document.text, mention.span)?,
            entity_type: &mention.entity_type,
            category: mention.category.as_deref(),
            confidence: mention.confidence.value(),
            models: &mention.models,
            below_threshold: mention.below_threshold,
        })
    };
    mentions.iter().map(wire).collect()
}
