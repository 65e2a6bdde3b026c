use crate::fold::fold;
use crate::{CharIndex, Span};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A text with its annotation.
///
/// Every [`Span`] in it refers to `text`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Document {
    /// Identifier, unique in its split (a PMID, a file stem, a running number).
    pub id: String,
    /// The whole text, exactly as the corpus gives it.
    pub text: String,
    /// Named parts of the text (title, abstract), in order; empty if the corpus names none.
    #[serde(default)]
    pub passages: Vec<Passage>,
    /// Sentences; empty if the corpus marks none.
    #[serde(default)]
    pub sentences: Vec<Span>,
    /// Words, if the corpus is tokenised (CoNLL); otherwise empty.
    #[serde(default)]
    pub words: Vec<Span>,
    /// Annotated entities, in the order of the corpus.
    #[serde(default)]
    pub mentions: Vec<Mention>,
    /// Relations between concepts or mentions. They are kept so that writing loses nothing.
    #[serde(default)]
    pub relations: Vec<Relation>,
    /// Other information about the document (BioC's infons).
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub attributes: BTreeMap<String, String>,
}

/// A named part of a document (BioC's term): title, abstract, section.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Passage {
    /// What the part is: `title`, `abstract`, a heading.
    pub kind: String,
    /// Its position.
    pub span: Span,
}

/// One annotated entity.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Mention {
    /// Its position: one span, or several ascending ones if it is discontinuous. Never empty.
    pub fragments: Vec<Span>,
    /// Entity type, as the corpus names it (`Disease`, `problem`).
    pub entity_type: String,
    /// Concept identifiers in a terminology: several for a composite mention, empty if unknown.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub concept_ids: Vec<String>,
    /// Other information about the mention (assertion, individual parts of a composite).
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub attributes: BTreeMap<String, String>,
    /// Confidence of the model that predicted it; `None` for a mention that people annotated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confidence: Option<Confidence>,
}

/// A model's confidence in a mention, from 0 to 1. Its meaning depends on the model; for medner's, see
/// `ner_text::mentions_from_probabilities`.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(try_from = "f32", into = "f32")]
pub struct Confidence(f32);

impl Confidence {
    /// The least one.
    pub const MIN: Self = Self(0.0);

    /// A confidence, or `None` if `value` is not from 0 to 1.
    pub fn new(value: f32) -> Option<Self> {
        // `-0.0 + 0.0` is `0.0`: zero has one representation.
        (0.0..=1.0).contains(&value).then_some(Self(value + 0.0))
    }

    /// The confidence as a number from 0 to 1.
    pub const fn value(self) -> f32 {
        self.0
    }
}

impl TryFrom<f32> for Confidence {
    type Error = &'static str;

    fn try_from(value: f32) -> Result<Self, Self::Error> {
        Self::new(value).ok_or("a confidence must be a number from 0 to 1")
    }
}

impl std::str::FromStr for Confidence {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().ok().and_then(Self::new).ok_or("a confidence must be a number from 0 to 1")
    }
}

impl From<Confidence> for f32 {
    fn from(confidence: Confidence) -> Self {
        confidence.0
    }
}

/// Formats the shortest number that parses back to the same value.
impl std::fmt::Display for Confidence {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(&self.0, f)
    }
}

// The number is never NaN, so it has the total order and equality that mentions need.
impl PartialEq for Confidence {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Confidence {}

impl PartialOrd for Confidence {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Confidence {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.total_cmp(&other.0)
    }
}

impl std::hash::Hash for Confidence {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.0.to_bits().hash(state);
    }
}

/// A relation as the corpus states it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Relation {
    /// Kind of relation (`CID`).
    pub kind: String,
    /// The arguments, in order.
    pub arguments: Vec<Argument>,
}

/// One argument of a relation.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Argument {
    /// Its role in the relation (`Arg1`, `Chemical`); empty if the corpus names none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub role: String,
    /// The concept or mention.
    pub target: Target,
}

/// An argument's concept or mention.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Target {
    /// A concept, by its identifier.
    Concept(String),
    /// A mention, by its index in the document's list.
    Mention(usize),
}

impl Argument {
    /// An argument without a role that refers to a concept.
    pub fn concept(id: impl Into<String>) -> Self {
        Self { role: String::new(), target: Target::Concept(id.into()) }
    }
}

impl Mention {
    /// A mention of one fragment without identifiers.
    pub fn new(span: Span, entity_type: impl Into<String>) -> Self {
        Self {
            fragments: vec![span],
            entity_type: entity_type.into(),
            concept_ids: Vec::new(),
            attributes: BTreeMap::new(),
            confidence: None,
        }
    }

    /// The span from the start of the first fragment to the end of the last.
    pub fn span(&self) -> Span {
        let start = self.fragments.iter().map(|part| part.start).min().unwrap_or(0);
        let end = self.fragments.iter().map(|part| part.end).max().unwrap_or(0);
        Span::new(start, end)
    }

    /// The mention's text in a document's `text`, [folded](crate::fold), with fragments joined by a space.
    pub fn folded_text(&self, text: &str, index: &CharIndex) -> String {
        let texts = self.fragments.iter().filter_map(|&fragment| index.slice(text, fragment));
        fold(&texts.collect::<Vec<_>>().join(" "))
    }

    /// Whether the mention has several fragments.
    pub fn is_discontinuous(&self) -> bool {
        self.fragments.len() > 1
    }
}

impl Document {
    /// A document of plain text.
    pub fn new(id: impl Into<String>, text: impl Into<String>) -> Self {
        Self { id: id.into(), text: text.into(), ..Self::default() }
    }

    /// Builds the index from characters to bytes of the text.
    pub fn char_index(&self) -> CharIndex {
        CharIndex::new(&self.text)
    }
}
