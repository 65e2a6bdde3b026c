use super::ADJUDICATED;
use ner_document::{Confidence, Document, Mention, Span};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

/// A place in an item's text, in Unicode characters, half-open, with the type that it is said to be.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct LabelledSpan {
    /// First character.
    pub start: usize,
    /// Character after the last.
    pub end: usize,
    /// Type of the entity.
    pub label: String,
}

impl LabelledSpan {
    /// As a mention that people annotated.
    pub fn to_mention(&self) -> Mention {
        Mention::new(Span::new(self.start, self.end), self.label.clone())
    }
}

/// What was decided of a mention.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Nothing yet.
    Open,
    /// It is one.
    Accepted,
    /// It is none. It stays in sight, so that it can be accepted after all.
    Rejected,
}

/// A mention with what is known and decided of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Where it stands.
    #[serde(flatten)]
    pub place: LabelledSpan,
    /// What was decided.
    pub verdict: Verdict,
    /// Of a suggestion, how sure the model is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confidence: Option<Confidence>,
    /// In adjudication, who has it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub by: Vec<String>,
}

/// What an annotator does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "lowercase")]
pub enum Action {
    /// A mention is one.
    Accept {
        /// It.
        mention: LabelledSpan,
    },
    /// A mention is none.
    Reject {
        /// It.
        mention: LabelledSpan,
    },
    /// A mention has another type, or stands elsewhere, and is one then.
    Change {
        /// As it was.
        mention: LabelledSpan,
        /// As it is.
        to: LabelledSpan,
    },
    /// There is another mention.
    Add {
        /// It.
        mention: LabelledSpan,
    },
    /// The item is right as it stands; what is open is accepted.
    Done,
    /// It is not.
    Reopen,
    /// The last action that counts, in whatever item, does not.
    Undo {
        /// Its number.
        of: u64,
    },
    /// Adjudication of an item begins with this; written before its first action, and never undone.
    Start {
        /// What the annotators have.
        entries: Vec<Entry>,
    },
}

/// A line of a journal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// From 1, without a gap.
    pub n: u64,
    /// When, in UTC.
    pub at: String,
    /// Id of the item.
    pub item: String,
    /// What.
    #[serde(flatten)]
    pub action: Action,
}

/// Why an action cannot be done. Nothing of a text stands in it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No item has its id.
    #[error("the batch has no such item")]
    UnknownItem,
    /// It does not come next.
    #[error("it has number {found} where {expected} is next")]
    Number {
        /// The next.
        expected: u64,
        /// The record's.
        found: u64,
    },
    /// The mention is not there.
    #[error("the item has no mention {start} to {end} of that type")]
    UnknownMention {
        /// Its start.
        start: usize,
        /// Its end.
        end: usize,
    },
    /// The same place has the same type already.
    #[error("{start} to {end} has that type already")]
    There {
        /// Its start.
        start: usize,
        /// Its end.
        end: usize,
    },
    /// The place is empty or reaches outside its text.
    #[error("{start} to {end} is no place in a text of {length} characters")]
    NoPlace {
        /// Its start.
        start: usize,
        /// Its end.
        end: usize,
        /// Of the text.
        length: usize,
    },
    /// The type has no name that can be written.
    #[error("a type is 1 to {LABEL_LENGTH} characters, without spaces at its ends and without control characters")]
    BadLabel,
    /// There is nothing left to undo, or something else.
    #[error("it is not the last action that counts")]
    NothingToUndo,
    /// Differences are not settled.
    #[error("{0} differences are not settled yet")]
    Unsettled(usize),
    /// Adjudication of what nobody finished, of what began already, or by another name.
    #[error("adjudication of the item cannot begin")]
    NoStart,
}

/// The longest type, in characters.
const LABEL_LENGTH: usize = 100;
/// The longest name of an annotator, in characters.
const NAME_LENGTH: usize = 40;

/// Whether a type can be one.
///
/// # Errors
/// Where it cannot.
pub fn check_label(label: &str) -> Result<(), Refusal> {
    let fits = (1..=LABEL_LENGTH).contains(&label.chars().count());
    let is_good = fits && label.trim() == label && !label.chars().any(char::is_control);
    if is_good { Ok(()) } else { Err(Refusal::BadLabel) }
}

/// Whether an annotator can have this name, which is also that of a file: small letters (some file systems do not tell
/// them from great ones), digits, - and _.
pub fn check_name(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-' || byte == b'_';
    !name.is_empty() && name.len() <= NAME_LENGTH && !name.starts_with('-') && name.bytes().all(allowed)
}

/// An item as an annotator has it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ItemWork {
    /// Whether he said that it is right as it stands.
    pub done: bool,
    /// Its mentions by place and type, each once.
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

    /// Those that were not rejected.
    pub fn places(&self) -> impl Iterator<Item = &LabelledSpan> {
        self.entries.iter().filter(|entry| entry.verdict != Verdict::Rejected).map(|entry| &entry.place)
    }

    fn at(&self, place: &LabelledSpan) -> Result<usize, Refusal> {
        let unknown = |_| Refusal::UnknownMention { start: place.start, end: place.end };
        self.entries.binary_search_by(|entry| entry.place.cmp(place)).map_err(unknown)
    }

    /// Puts an entry in its place; one that was rejected there makes room.
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

/// What undo brings back.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Before {
    /// Number of the action.
    n: u64,
    item: usize,
    state: Arc<ItemWork>,
}

/// What does not change of a batch.
#[derive(Debug, PartialEq, Eq)]
struct Batch {
    /// Characters of each item.
    lengths: Vec<usize>,
    ids: Vec<String>,
    places: HashMap<String, usize>,
}

/// The batch as one annotator has it: what comes of all his actions. A copy of it is cheap: items are shared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Work {
    batch: Arc<Batch>,
    items: Vec<Arc<ItemWork>>,
    /// Of adjudication, which items have begun.
    started: BTreeSet<usize>,
    is_adjudication: bool,
    history: Vec<Before>,
    last: u64,
}

impl Work {
    /// The work of somebody who has done nothing yet; `documents` are the batch as it was handed out.
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

    /// The items in the batch's order. Of adjudication, one that has not begun is empty; see [`merged`].
    pub fn items(&self) -> &[Arc<ItemWork>] {
        &self.items
    }

    /// Place of an item in the batch.
    pub fn item_of(&self, id: &str) -> Option<usize> {
        self.batch.places.get(id).copied()
    }

    /// Whether adjudication of an item has begun.
    pub fn has_started(&self, item: usize) -> bool {
        self.started.contains(&item)
    }

    /// Number of the last record; 0 where there is none.
    pub const fn last(&self) -> u64 {
        self.last
    }

    /// Item and number of what [`Action::Undo`] would undo.
    pub fn undoable(&self) -> Option<(&str, u64)> {
        self.history.last().map(|before| (self.batch.ids[before.item].as_str(), before.n))
    }

    /// Does what a record says, or nothing.
    ///
    /// # Errors
    /// Where it cannot be done.
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

    /// An item after an action that concerns it alone.
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
                // What the model, or somebody, was sure of is not what stands there now.
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

/// What adjudication of an item begins with: accepted what all have who finished the item, open what only some have. `None`
/// where nobody did.
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
