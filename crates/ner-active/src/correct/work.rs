use super::ADJUDICATED;
use ner_document::{Confidence, Document, Mention, Span};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

/// A place in an item's text with an entity type. Unicode characters, half-open.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct LabelledSpan {
    /// First character.
    pub start: usize,
    /// Character after the last.
    pub end: usize,
    /// Entity type.
    pub label: String,
}

impl LabelledSpan {
    /// Converts it to a mention without confidence.
    pub fn to_mention(&self) -> Mention {
        Mention::new(Span::new(self.start, self.end), self.label.clone())
    }
}

/// The decision about a mention.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Not decided yet.
    Open,
    /// It is a mention.
    Accepted,
    /// It is not a mention. It stays visible, so that it can be accepted later.
    Rejected,
}

/// A mention and the decision about it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Its place and type.
    #[serde(flatten)]
    pub place: LabelledSpan,
    /// The decision.
    pub verdict: Verdict,
    /// The model's confidence, for a suggestion.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confidence: Option<Confidence>,
    /// The annotators who have it, in adjudication.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub by: Vec<String>,
}

/// An annotator's action.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "lowercase")]
pub enum Action {
    /// Accept a mention.
    Accept {
        /// The mention.
        mention: LabelledSpan,
    },
    /// Reject a mention.
    Reject {
        /// The mention.
        mention: LabelledSpan,
    },
    /// Change the type or place of a mention, and accept it.
    Change {
        /// The old mention.
        mention: LabelledSpan,
        /// The new mention.
        to: LabelledSpan,
    },
    /// Add a mention.
    Add {
        /// The mention.
        mention: LabelledSpan,
    },
    /// Finish the item and accept its open mentions.
    Done,
    /// Reopen a finished item.
    Reopen,
    /// Undo the latest action in effect, in any item.
    Undo {
        /// Its number.
        of: u64,
    },
    /// Start adjudication of an item. Written before its first action; cannot be undone.
    Start {
        /// The annotators' mentions.
        entries: Vec<Entry>,
    },
}

/// A line of a journal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Number, from 1 without gaps.
    pub n: u64,
    /// Time in UTC.
    pub at: String,
    /// Id of the item.
    pub item: String,
    /// The action.
    #[serde(flatten)]
    pub action: Action,
}

/// Why an action is not possible. The message contains no text of documents.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No item has this id.
    #[error("the batch has no such item")]
    UnknownItem,
    /// The number is not the next one.
    #[error("the action has number {found}, expected {expected}")]
    Number {
        /// The next number.
        expected: u64,
        /// The record's number.
        found: u64,
    },
    /// The item does not have the mention.
    #[error("the item has no mention of that type from {start} to {end}")]
    UnknownMention {
        /// Its start.
        start: usize,
        /// Its end.
        end: usize,
    },
    /// The item has the mention already.
    #[error("the item already has a mention of that type from {start} to {end}")]
    There {
        /// Its start.
        start: usize,
        /// Its end.
        end: usize,
    },
    /// The place is empty or reaches outside the text.
    #[error("{start} to {end} is not a valid span in a text of {length} characters")]
    NoPlace {
        /// Its start.
        start: usize,
        /// Its end.
        end: usize,
        /// Length of the text.
        length: usize,
    },
    /// The type's name is not valid.
    #[error("a type needs 1 to {LABEL_LENGTH} characters, without spaces at its ends and without control characters")]
    BadLabel,
    /// Nothing is left to undo, or another action is the latest.
    #[error("only the latest action in effect can be undone")]
    NothingToUndo,
    /// Some differences are still open.
    #[error("{0} differences are still open; accept or reject them first")]
    Unsettled(usize),
    /// Adjudication of an item that nobody has finished, that has started already or not yet, or under another name.
    #[error("adjudication of the item cannot start")]
    NoStart,
}

/// Longest type, in characters.
const LABEL_LENGTH: usize = 100;
/// Longest name of an annotator, in characters.
const NAME_LENGTH: usize = 40;

/// Checks the name of a type.
///
/// # Errors
/// If it is not valid.
pub fn check_label(label: &str) -> Result<(), Refusal> {
    let fits = (1..=LABEL_LENGTH).contains(&label.chars().count());
    let is_good = fits && label.trim() == label && !label.chars().any(char::is_control);
    if is_good { Ok(()) } else { Err(Refusal::BadLabel) }
}

/// Whether an annotator's name is valid. It is also a file name: lower-case letters (some file systems ignore case),
/// digits, - and _.
pub fn check_name(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-' || byte == b'_';
    !name.is_empty() && name.len() <= NAME_LENGTH && !name.starts_with('-') && name.bytes().all(allowed)
}

/// The state of an item for one annotator.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ItemWork {
    /// Whether the annotator has finished it.
    pub done: bool,
    /// Its mentions, sorted by place and type, without duplicates.
    pub entries: Vec<Entry>,
}

impl ItemWork {
    fn suggested(document: &Document) -> Self {
        let mut by_place = BTreeMap::new();
        for mention in &document.mentions {
            let Span { start, end } = mention.span();
            let place = LabelledSpan { start, end, label: mention.entity_type.clone() };
            by_place.insert(place, mention.confidence);
        }
        let entry = |(place, confidence)| Entry { place, verdict: Verdict::Open, confidence, by: Vec::new() };
        Self { done: false, entries: by_place.into_iter().map(entry).collect() }
    }

    /// Mentions that are not rejected.
    pub fn places(&self) -> impl Iterator<Item = &LabelledSpan> {
        self.entries.iter().filter(|entry| entry.verdict != Verdict::Rejected).map(|entry| &entry.place)
    }

    fn at(&self, place: &LabelledSpan) -> Result<usize, Refusal> {
        let unknown = |_| Refusal::UnknownMention { start: place.start, end: place.end };
        self.entries.binary_search_by(|entry| entry.place.cmp(place)).map_err(unknown)
    }

    /// Inserts an entry, replacing a rejected one at the same place.
    fn put(&mut self, entry: Entry) -> Result<(), Refusal> {
        match self.entries.binary_search_by(|other| other.place.cmp(&entry.place)) {
            Ok(at) if self.entries[at].verdict == Verdict::Rejected => self.entries[at] = entry,
            Ok(_) => return Err(Refusal::There { start: entry.place.start, end: entry.place.end }),
            Err(at) => self.entries.insert(at, entry),
        }
        Ok(())
    }

    fn open(&self) -> usize {
        self.entries.iter().filter(|entry| entry.verdict == Verdict::Open).count()
    }
}

/// The state that undo restores.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Before {
    /// Number of the action.
    n: u64,
    item: usize,
    state: Arc<ItemWork>,
}

/// The constant data of a batch.
#[derive(Debug, PartialEq, Eq)]
struct Batch {
    /// Characters of each item.
    lengths: Vec<usize>,
    ids: Vec<String>,
    places: HashMap<String, usize>,
}

/// The batch after all actions of one annotator. Cheap to clone: items are shared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Work {
    batch: Arc<Batch>,
    items: Vec<Arc<ItemWork>>,
    /// Items whose adjudication has started.
    started: BTreeSet<usize>,
    is_adjudication: bool,
    history: Vec<Before>,
    last: u64,
}

impl Work {
    /// The work of an annotator before the first action. `documents` are the batch as handed out.
    pub fn new(documents: &[Document], name: &str) -> Self {
        let is_adjudication = name == ADJUDICATED;
        let item = |document| if is_adjudication { ItemWork::default() } else { ItemWork::suggested(document) };
        Self {
            batch: Arc::new(Batch {
                lengths: documents.iter().map(|document| document.text.chars().count()).collect(),
                ids: documents.iter().map(|document| document.id.clone()).collect(),
                places: documents.iter().enumerate().map(|(at, document)| (document.id.clone(), at)).collect(),
            }),
            items: documents.iter().map(item).map(Arc::new).collect(),
            started: BTreeSet::new(),
            is_adjudication,
            history: Vec::new(),
            last: 0,
        }
    }

    /// The items in the batch's order. In adjudication, an item that has not started is empty; see [`merged`].
    pub fn items(&self) -> &[Arc<ItemWork>] {
        &self.items
    }

    /// Index of an item in the batch.
    pub fn item_of(&self, id: &str) -> Option<usize> {
        self.batch.places.get(id).copied()
    }

    /// Whether adjudication of an item has started.
    pub fn has_started(&self, item: usize) -> bool {
        self.started.contains(&item)
    }

    /// Number of the last record; 0 without records.
    pub const fn last(&self) -> u64 {
        self.last
    }

    /// Item and number of the action that [`Action::Undo`] would undo.
    pub fn undoable(&self) -> Option<(&str, u64)> {
        self.history.last().map(|before| (self.batch.ids[before.item].as_str(), before.n))
    }

    /// Applies a record. Changes nothing on an error.
    ///
    /// # Errors
    /// If the action is not possible.
    pub fn apply(&mut self, record: &Record) -> Result<(), Refusal> {
        let expected = self.last + 1;
        if record.n != expected {
            return Err(Refusal::Number { expected, found: record.n });
        }
        let item = self.item_of(&record.item).ok_or(Refusal::UnknownItem)?;
        match &record.action {
            Action::Undo { of } => match self.history.pop_if(|before| before.n == *of && before.item == item) {
                Some(before) => self.items[item] = before.state,
                None => return Err(Refusal::NothingToUndo),
            },
            Action::Start { entries } => {
                if !self.is_adjudication || self.has_started(item) {
                    return Err(Refusal::NoStart);
                }
                let mut state = ItemWork::default();
                for entry in entries {
                    self.check(item, &entry.place)?;
                    state.put(entry.clone())?;
                }
                self.items[item] = Arc::new(state);
                self.started.insert(item);
            }
            action => {
                if self.is_adjudication && !self.has_started(item) {
                    return Err(Refusal::NoStart);
                }
                let state = Arc::new(self.changed(item, action)?);
                let state = std::mem::replace(&mut self.items[item], state);
                self.history.push(Before { n: record.n, item, state });
            }
        }
        self.last = record.n;
        Ok(())
    }

    /// An item after an action on this item only.
    fn changed(&self, item: usize, action: &Action) -> Result<ItemWork, Refusal> {
        let mut state = ItemWork::clone(&self.items[item]);
        match action {
            Action::Accept { mention } => {
                let at = state.at(mention)?;
                state.entries[at].verdict = Verdict::Accepted;
            }
            Action::Reject { mention } => {
                let at = state.at(mention)?;
                state.entries[at].verdict = Verdict::Rejected;
            }
            Action::Change { mention, to } => {
                self.check(item, to)?;
                let at = state.at(mention)?;
                let entry = state.entries.remove(at);
                // The model's confidence and the annotators' votes were for the old mention.
                state.put(Entry {
                    place: to.clone(),
                    verdict: Verdict::Accepted,
                    confidence: None,
                    by: if to == mention { entry.by } else { Vec::new() },
                })?;
            }
            Action::Add { mention } => {
                self.check(item, mention)?;
                state.put(Entry {
                    place: mention.clone(),
                    verdict: Verdict::Accepted,
                    confidence: None,
                    by: Vec::new(),
                })?;
            }
            Action::Done => {
                if self.is_adjudication && state.open() > 0 {
                    return Err(Refusal::Unsettled(state.open()));
                }
                for entry in state.entries.iter_mut().filter(|entry| entry.verdict == Verdict::Open) {
                    entry.verdict = Verdict::Accepted;
                }
                state.done = true;
            }
            Action::Reopen => state.done = false,
            Action::Undo { .. } | Action::Start { .. } => return Err(Refusal::NothingToUndo),
        }
        Ok(state)
    }

    fn check(&self, item: usize, place: &LabelledSpan) -> Result<(), Refusal> {
        let (&LabelledSpan { start, end, .. }, length) = (place, self.batch.lengths[item]);
        if start >= end || end > length {
            return Err(Refusal::NoPlace { start, end, length });
        }
        check_label(&place.label)
    }
}

/// The mentions that adjudication of an item starts with: accepted if all annotators who finished the item have them,
/// open if only some do. `None` if nobody finished it.
pub fn merged(works: &BTreeMap<String, Work>, item: usize) -> Option<Vec<Entry>> {
    let mut by_place: BTreeMap<&LabelledSpan, Vec<String>> = BTreeMap::new();
    let mut finished = 0;
    for (name, work) in works.iter().filter(|(name, _)| *name != ADJUDICATED) {
        if work.items[item].done {
            finished += 1;
            work.items[item].places().for_each(|place| by_place.entry(place).or_default().push(name.clone()));
        }
    }
    let entry = |(place, by): (&LabelledSpan, Vec<String>)| {
        let verdict = if by.len() == finished { Verdict::Accepted } else { Verdict::Open };
        Entry { place: place.clone(), verdict, confidence: None, by }
    };
    (finished > 0).then(|| by_place.into_iter().map(entry).collect())
}
