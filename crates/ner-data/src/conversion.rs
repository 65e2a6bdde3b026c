use crate::format::Expressed;
use crate::{Argument, Document, Mention, Relation, Span, Target, shown};
use serde::Serialize;
use std::collections::{BTreeMap, HashSet};
use std::fmt;

/// A part of a document that a format may lose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Item {
    /// The document's identifier. A format without identifiers numbers its documents from 1.
    DocumentId,
    /// The document's text.
    Text,
    /// A named part of the text.
    Passage,
    /// A sentence that the corpus marks.
    Sentence,
    /// A word of a tokenised corpus.
    Word,
    /// A mention, by its type and position.
    Mention,
    /// One of the fragments of a mention.
    Fragment,
    /// An attribute of a mention or a document.
    Attribute,
    /// A model's confidence in a mention.
    Confidence,
    /// An identifier of a concept.
    ConceptId,
    /// A relation.
    Relation,
}

impl Item {
    /// Its name in the plural.
    pub const fn name(self) -> &'static str {
        match self {
            Self::DocumentId => "document ids",
            Self::Text => "texts",
            Self::Passage => "passages",
            Self::Sentence => "sentences",
            Self::Word => "words",
            Self::Mention => "mentions",
            Self::Fragment => "fragments",
            Self::Attribute => "attributes",
            Self::Confidence => "confidences",
            Self::ConceptId => "concept ids",
            Self::Relation => "relations",
        }
    }
}

impl fmt::Display for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// How many items of a kind were kept, moved or lost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Tally {
    /// Unchanged.
    pub kept: usize,
    /// At other offsets, or altered (a text whose tabs became spaces, a mention widened to whole words).
    pub moved: usize,
    /// Missing after the conversion.
    pub lost: usize,
}

/// What a conversion did to an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fate {
    /// Unchanged.
    Kept,
    /// Altered, or at other offsets.
    Moved,
    /// Missing after the conversion.
    Lost,
}

/// An item that a conversion changed. It names the location, never the text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ConversionChange {
    /// The document.
    pub document: String,
    /// The kind of item.
    pub item: Item,
    /// [`Fate::Moved`] or [`Fate::Lost`].
    pub fate: Fate,
    /// A description of the item: a mention's type and position, an attribute's name, a concept's id; never text of the
    /// document.
    pub which: String,
}

impl fmt::Display for ConversionChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fate = if self.fate == Fate::Moved { "moved" } else { "lost" };
        write!(f, "document {}: {fate}: {}", shown(&self.document), shown(&self.which))
    }
}

/// Counts of what a conversion kept, moved and lost.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ConversionReport {
    /// Number of documents compared.
    pub documents: usize,
    /// Counts for each kind of item that occurs.
    pub items: BTreeMap<Item, Tally>,
}

impl ConversionReport {
    /// Whether everything was kept.
    pub fn is_lossless(&self) -> bool {
        self.items.values().all(|tally| tally.moved == 0 && tally.lost == 0)
    }

    /// Adds the counts of another report.
    pub fn merge(&mut self, other: &Self) {
        self.documents += other.documents;
        for (item, tally) in &other.items {
            let sum = self.items.entry(*item).or_default();
            sum.kept += tally.kept;
            sum.moved += tally.moved;
            sum.lost += tally.lost;
        }
    }

    /// Compares a document with its form in a format; returns the items that were moved or lost.
    pub fn add(&mut self, document: &Document, expressed: &Expressed) -> Vec<ConversionChange> {
        self.documents += 1;
        let number = self.documents.to_string();
        let mut comparison = Comparison { document, new: &expressed.document, report: self, changes: Vec::new() };
        comparison.document_id(&number);
        comparison.text_and_its_parts();
        for (key, value) in &document.attributes {
            let fate = fate_of(comparison.new.attributes.get(key), value);
            comparison.count(Item::Attribute, fate, || format!("the attribute {key} of the document"));
        }
        for (mention, &place) in document.mentions.iter().zip(&expressed.mentions) {
            comparison.mention(mention, place.and_then(|place| expressed.document.mentions.get(place)));
        }
        for (relation, &place) in document.relations.iter().zip(&expressed.relations) {
            comparison.relation(relation, place.and_then(|at| expressed.document.relations.get(at)), expressed);
        }
        comparison.changes
    }
}

/// A document and its expressed form.
struct Comparison<'c> {
    document: &'c Document,
    new: &'c Document,
    report: &'c mut ConversionReport,
    changes: Vec<ConversionChange>,
}

impl Comparison<'_> {
    /// `number` replaces the identifier in formats without identifiers.
    fn document_id(&mut self, number: &str) {
        let (old, new) = (&self.document.id, &self.new.id);
        let fate = match new.as_str() {
            new if new == old => Fate::Kept,
            "" if old == number => Fate::Kept,
            "" => Fate::Lost,
            _ => Fate::Moved,
        };
        self.count(Item::DocumentId, fate, || "its id".into());
    }

    fn text_and_its_parts(&mut self) {
        let (old, new) = (self.document, self.new);
        let fate = if new.text == old.text { Fate::Kept } else { Fate::Moved };
        self.count(Item::Text, fate, || "its text, or positions in it".into());
        for passage in &old.passages {
            let fate = if new.passages.contains(passage) {
                Fate::Kept
            } else if new.passages.iter().any(|other| other.kind == passage.kind) {
                Fate::Moved
            } else {
                Fate::Lost
            };
            // The kind may be a heading of the text, so it is not printed.
            self.count(Item::Passage, fate, || format!("the passage at {}", passage.span));
        }
        for (item, name, old, new) in
            [(Item::Sentence, "sentence", &old.sentences, &new.sentences), (Item::Word, "word", &old.words, &new.words)]
        {
            let there: HashSet<Span> = new.iter().copied().collect();
            for span in old {
                let fate = fate_of_span(*span, |span| there.contains(&span), old.len() == new.len());
                self.count(item, fate, || format!("the {name} at {span}"));
            }
        }
    }

    fn mention(&mut self, old: &Mention, new: Option<&Mention>) {
        let name = || format!("the mention {} at {}", old.entity_type, spans(&old.fragments));
        let fate = match new {
            None => Fate::Lost,
            Some(new) if new.fragments == old.fragments && new.entity_type == old.entity_type => Fate::Kept,
            Some(_) => Fate::Moved,
        };
        self.count(Item::Mention, fate, name);
        let fragments = new.map_or(&[][..], |new| &new.fragments);
        for fragment in &old.fragments {
            let there = |span| fragments.contains(&span);
            let fate = fate_of_span(*fragment, there, fragments.len() == old.fragments.len());
            self.count(Item::Fragment, fate, || format!("the fragment {fragment} of {}", name()));
        }
        for (key, value) in &old.attributes {
            let fate = fate_of(new.and_then(|new| new.attributes.get(key)), value);
            self.count(Item::Attribute, fate, || format!("the attribute {key} of {}", name()));
        }
        if let Some(confidence) = old.confidence {
            let kept = new.is_some_and(|new| new.confidence == Some(confidence));
            self.count(Item::Confidence, if kept { Fate::Kept } else { Fate::Lost }, || {
                format!("the confidence of {}", name())
            });
        }
        for id in &old.concept_ids {
            let kept = new.is_some_and(|new| new.concept_ids.contains(id));
            let fate = if kept { Fate::Kept } else { Fate::Lost };
            self.count(Item::ConceptId, fate, || format!("the concept id {id} of {}", name()));
        }
    }

    fn relation(&mut self, old: &Relation, new: Option<&Relation>, expressed: &Expressed) {
        // A mention's new index is not a change.
        let follow = |argument: &Argument| {
            let mut argument = argument.clone();
            if let Target::Mention(at) = &mut argument.target {
                *at = expressed.mentions.get(*at).copied().flatten().unwrap_or(usize::MAX);
            }
            argument
        };
        let same =
            |new: &Relation| new.kind == old.kind && new.arguments.iter().cloned().eq(old.arguments.iter().map(follow));
        let fate = match new {
            None => Fate::Lost,
            Some(new) if same(new) => Fate::Kept,
            Some(_) => Fate::Moved,
        };
        self.count(Item::Relation, fate, || format!("the relation {}", old.kind));
    }

    fn count(&mut self, item: Item, fate: Fate, which: impl FnOnce() -> String) {
        let tally = self.report.items.entry(item).or_default();
        match fate {
            Fate::Kept => tally.kept += 1,
            Fate::Moved => tally.moved += 1,
            Fate::Lost => tally.lost += 1,
        }
        if fate != Fate::Kept {
            self.changes.push(ConversionChange { document: self.document.id.clone(), item, fate, which: which() });
        }
    }
}

fn fate_of(new: Option<&String>, old: &String) -> Fate {
    match new {
        Some(new) if new == old => Fate::Kept,
        Some(_) => Fate::Moved,
        None => Fate::Lost,
    }
}

/// If there are fewer than before, it is unknown which one survives, so a missing one counts as lost.
fn fate_of_span(old: Span, is_there: impl Fn(Span) -> bool, as_many: bool) -> Fate {
    match (is_there(old), as_many) {
        (true, _) => Fate::Kept,
        (false, true) => Fate::Moved,
        (false, false) => Fate::Lost,
    }
}

fn spans(fragments: &[Span]) -> String {
    fragments.iter().map(ToString::to_string).collect::<Vec<_>>().join(";")
}
