use crate::format::Expressed;
use crate::{Document, Mention, Span};
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt;

/// What a document consists of, as far as a format may lose it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Item {
    /// The document's text.
    Text,
    /// A named part of the text.
    Passage,
    /// A mention, by its type and position.
    Mention,
    /// One of the fragments of a mention.
    Fragment,
    /// An attribute of a mention or a document.
    Attribute,
    /// An identifier of a concept.
    ConceptId,
    /// A relation.
    Relation,
}

impl Item {
    /// All of them, in their order.
    pub const ALL: [Self; 7] = [
        Self::Text,
        Self::Passage,
        Self::Mention,
        Self::Fragment,
        Self::Attribute,
        Self::ConceptId,
        Self::Relation,
    ];

    /// In words, plural.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Text => "texts",
            Self::Passage => "passages",
            Self::Mention => "mentions",
            Self::Fragment => "fragments",
            Self::Attribute => "attributes",
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

/// How many items of a kind came through.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Tally {
    /// As they were.
    pub kept: usize,
    /// At other offsets, or changed (a text whose tabs became spaces, a mention widened to whole words).
    pub moved: usize,
    /// Not at all.
    pub lost: usize,
}

/// Whether something came through.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fate {
    /// As it was.
    Kept,
    /// Changed.
    Moved,
    /// Not at all.
    Lost,
}

/// One thing that did not come through as it was. It says where, never what the text is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Loss {
    /// The document.
    pub document: String,
    /// What it is.
    pub item: Item,
    /// What became of it: [`Fate::Moved`] or [`Fate::Lost`].
    pub fate: Fate,
    /// Which one: a mention's type and position, an attribute's name.
    pub which: String,
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fate = if self.fate == Fate::Moved { "moved" } else { "lost" };
        write!(f, "document {}: {} {fate}: {}", self.document, self.item, self.which)
    }
}

/// What a conversion kept, moved and lost.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct LossReport {
    /// Documents compared.
    pub documents: usize,
    /// Counts of each kind of item; a kind that did not occur is not there.
    pub tallies: BTreeMap<Item, Tally>,
    /// Everything that was moved or lost.
    pub losses: Vec<Loss>,
}

impl LossReport {
    /// Whether something was moved or lost.
    pub fn is_lossless(&self) -> bool {
        self.losses.is_empty()
    }

    /// Compares a document with what a format can say of it.
    pub fn add(&mut self, document: &Document, expressed: &Expressed) {
        let new = &expressed.document;
        self.documents += 1;
        let text = if new.text == document.text { Fate::Kept } else { Fate::Moved };
        self.count(document, Item::Text, text, || "characters or their positions differ".into());
        for passage in &document.passages {
            let same_kind = |p: &&crate::Passage| p.kind == passage.kind;
            let fate = if new.passages.contains(passage) {
                Fate::Kept
            } else if new.passages.iter().any(|p| same_kind(&p)) {
                Fate::Moved
            } else {
                Fate::Lost
            };
            self.count(document, Item::Passage, fate, || format!("{} at {}", passage.kind, passage.span));
        }
        for (key, value) in &document.attributes {
            let fate = fate_of(new.attributes.get(key), value);
            self.count(document, Item::Attribute, fate, || format!("{key} of the document"));
        }
        for (mention, place) in document.mentions.iter().zip(&expressed.mentions) {
            self.add_mention(document, mention, place.and_then(|place| new.mentions.get(place)));
        }
        for (relation, fate) in document.relations.iter().zip(relation_fates(document, expressed)) {
            self.count(document, Item::Relation, fate, || relation.kind.clone());
        }
    }

    fn add_mention(&mut self, document: &Document, mention: &Mention, new: Option<&Mention>) {
        let name = || format!("{} at {}", mention.entity_type, spans(&mention.fragments));
        let fate = match new {
            None => Fate::Lost,
            Some(new) if new.fragments == mention.fragments && new.entity_type == mention.entity_type => Fate::Kept,
            Some(_) => Fate::Moved,
        };
        self.count(document, Item::Mention, fate, name);
        let fragments = new.map_or(&[][..], |new| &new.fragments);
        for fragment in &mention.fragments {
            let fate = if fragments.contains(fragment) {
                Fate::Kept
            } else if fragments.len() == mention.fragments.len() {
                Fate::Moved
            } else {
                // Fewer than there were: which one survives as which cannot be said.
                Fate::Lost
            };
            self.count(document, Item::Fragment, fate, || format!("{fragment} of {}", name()));
        }
        for (key, value) in &mention.attributes {
            let fate = fate_of(new.and_then(|new| new.attributes.get(key)), value);
            self.count(document, Item::Attribute, fate, || format!("{key} of {}", name()));
        }
        for id in &mention.concept_ids {
            let kept = new.is_some_and(|new| new.concept_ids.contains(id));
            let fate = if kept { Fate::Kept } else { Fate::Lost };
            self.count(document, Item::ConceptId, fate, || format!("{id} of {}", name()));
        }
    }

    fn count(&mut self, document: &Document, item: Item, fate: Fate, which: impl FnOnce() -> String) {
        let tally = self.tallies.entry(item).or_default();
        match fate {
            Fate::Kept => tally.kept += 1,
            Fate::Moved => tally.moved += 1,
            Fate::Lost => tally.lost += 1,
        }
        if fate != Fate::Kept {
            self.losses.push(Loss { document: document.id.clone(), item, fate, which: which() });
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

/// A relation is kept where it is still there with its mentions' new places, and lost where it is not.
fn relation_fates(document: &Document, expressed: &Expressed) -> Vec<Fate> {
    let same_mentions = Expressed::new(document, |mention| Some(mention.clone()));
    let renumber = |relation: &crate::Relation| {
        let mut relation = relation.clone();
        for argument in &mut relation.arguments {
            if let crate::Target::Mention(at) = &mut argument.target {
                *at = (*expressed.mentions.get(*at)?)?;
            }
        }
        Some(relation)
    };
    let relations = same_mentions.document.relations;
    let fate = |relation: &crate::Relation| match renumber(relation) {
        Some(relation) if expressed.document.relations.contains(&relation) => Fate::Kept,
        _ => Fate::Lost,
    };
    relations.iter().map(fate).collect()
}

fn spans(fragments: &[Span]) -> String {
    fragments.iter().map(ToString::to_string).collect::<Vec<_>>().join(";")
}
