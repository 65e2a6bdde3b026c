//! JSON: one document per line, or a list of documents.
//!
//! Documents are written in our own format, which represents everything that a document contains:
//!
//! ```json
//! {"id": "7", "text": "Aspirin and fever", "spans": [{"start": 0, "end": 7, "label": "Chemical"}]}
//! ```
//!
//! | key | holds |
//! |---|---|
//! | `id` | a string or a number; `line-7` or `item-7` if missing |
//! | `text` | the text |
//! | `spans` | mentions: `start`, `end` and `label`, and optionally `fragments`, `concept_ids`, `attributes`, and `confidence` (from 0 to 1) |
//! | `passages` | `kind`, `start` and `end` of each |
//! | `sentences`, `words`, `fragments` | positions: `[[0, 7], [8, 11]]` |
//! | `relations` | `{"kind": "CID", "arguments": [{"role": "Arg1", "target": {"mention": 0}}, …]}`; a `mention` is an index into `spans`, a `concept` an identifier |
//! | `attributes` | names and values |
//!
//! Positions count Unicode characters, half-open. If a mention has a `text`, the document must have that text at its
//! position. [`JsonKeys`] names other keys for text and id.
//!
//! A file is read in one of three layouts, which its beginning decides: one value per line; one list, whose items are
//! the documents; values that each take several lines. An object without a text is replaced by the documents in its
//! only list of documents (`{"data": […]}`).
//!
//! Also reads the formats of other tools, detected for each document:
//!
//! | tool | what is read |
//! |---|---|
//! | `annotate` of medner, its server | `text` and `mentions`, with `type` for `label`; `category`, `models`, `below_threshold`, `assertion`, `section` and `long_form` are attributes |
//! | Prodigy | `text` and `spans`. A line with `answer` other than `accept` is left out, and noted. |
//! | doccano | `text` or `data`; `label`, `labels` or `entities` as `[[0, 7, "Chemical"]]` or as objects with `start_offset`, `end_offset` and `label`; `relations` |
//! | spaCy | `["Aspirin and fever", {"entities": [[0, 7, "Chemical"]]}]`, or one object with both; `ents` of displaCy |
//! | Label Studio | the text in `data`; spans and relations of the first annotator; the short form with `label` |
//! | Argilla | `text` or the text in `fields`; `annotation` as `[["Chemical", 0, 7]]`, or the spans of the first response |
//! | Hugging Face, GLiNER | mentions of a pipeline: `entity_group`, `score` |
//! | PubAnnotation, BERN2 | `denotations` or `annotations` with a `span` and `obj`; `relations` |
//! | sentence by sentence | `{"pmid": "7", "sentences": [{"text": "Aspirin.", "entities": [{"start": 0, "end": 7, "type": "Chemical"}]}]}`; positions count from the start of the sentence; sentences are joined by a line break |
//!
//! Bookkeeping keys (`meta`, `tokens`, keys that begin with `_`) are ignored silently. Annotation under a key that is
//! not known is a loss; other keys, and labels of whole texts, are noted.

mod shapes;

use super::faults::Faults;
use super::json::{self, Scanner};
use super::lines::Lines;
use super::offsets::{self, Locator, OffsetUnit};
use super::{Expressed, Output};
use crate::table::list_names;
use crate::{
    Argument, CharIndex, Confidence, DiagnosticKind, Diagnostics, Document, Mention, Passage, Relation, Span, Target,
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Number, Value};
use shapes::MENTIONS;
use std::cmp::Ordering;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::io::{self, BufRead, Cursor, Read, Write};
use std::path::Path;

/// Keys of a document whose values are read.
const READ: &[&str] = &["id", "pmid", "answer", "offsets", "passages", "sentences", "words", "relations", "attributes"];
const TEXT: &[&str] = &["text", "data"];
const IDS: &[&str] = &["id", "pmid"];
/// Keys that tools add without annotating anything, besides all that begin with `_`.
const BOOKKEEPING: &[&str] = &[
    "answer",
    "comments",
    "Comments",
    "created_at",
    "project",
    "score",
    "settings",
    "sourcedb",
    "sourceid",
    "status",
    "target",
    "timestamp",
    "meta",
    "metadata",
    "tokens",
    "tracks",
    "updated_at",
    "version",
    "vectors",
];
/// Keys of a mention whose values are read, or that say nothing more.
const MENTION_KEYS: &[&str] = &[
    "start",
    "start_offset",
    "begin",
    "end",
    "end_offset",
    "span",
    "label",
    "type",
    "entity_group",
    "tag",
    "obj",
    "labels",
    "text",
    "mention",
    "word",
    "fragments",
    "concept_ids",
    "concepts",
    "attributes",
    "confidence",
    "score",
    "prob",
    "category",
    "models",
    "below_threshold",
    "assertion",
    "historical",
    "section",
    "long_form",
    "id",
    "token_start",
    "token_end",
    "is_neural_normalized",
    "kb_id",
    "entity_id",
    "flair",
];

/// Number of characters of a key that a message shows.
const KEY_CHARACTERS: usize = 40;

/// Number of bytes of the first line that decide the layout.
const BEGINNING: u64 = 1 << 16;

/// Keys of the text and the id, where they are not our own.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct JsonKeys {
    /// Key of the text.
    pub text: Option<String>,
    /// Key of the id.
    pub id: Option<String>,
}

/// Whether `text` is the beginning of a file in this format: a list or an object with keys. Prose in brackets is none.
pub(super) fn begins(text: &str) -> bool {
    let after = |text: &str, open: char| text.trim_start().strip_prefix(open).map(|rest| rest.trim_start().to_owned());
    let is_object = |text: &str| after(text, '{').is_some_and(|rest| rest.starts_with(['"', '}']));
    let is_pair = |text: &str| {
        after(text, '[').is_some_and(|rest| rest.starts_with('"')) && {
            let first = serde_json::Deserializer::from_str(text).into_iter::<Value>().next();
            first.is_none_or(|first| first.is_ok_and(|pair| object_of(pair).is_some()))
        }
    };
    is_object(text)
        || is_pair(text)
        || after(text, '[').is_some_and(|rest| rest.starts_with(']') || is_object(&rest) || is_pair(&rest))
}

/// The values of a file, as its layout has them.
enum Layout<R> {
    /// One value per line.
    Lines(Lines<R>),
    /// The items of one list, or values one after the other.
    Values { json: Scanner<R>, faults: Faults, in_list: bool },
}

/// An input whose first lines were looked at.
type Looked<R> = io::Chain<Cursor<Vec<u8>>, R>;

/// Looks at the first lines; returns whether each is a value, and the whole input.
fn look<R: BufRead>(mut input: R) -> io::Result<(bool, Looked<R>)> {
    let mut head = Vec::new();
    let mut next_line = || -> io::Result<String> {
        let mut line = Vec::new();
        while line.trim_ascii().is_empty() {
            line.clear();
            let read = input.by_ref().take(BEGINNING).read_until(b'\n', &mut line)?;
            head.extend_from_slice(&line);
            if read == 0 {
                break;
            }
        }
        Ok(String::from_utf8_lossy(&line).trim_start_matches('\u{feff}').trim().to_owned())
    };
    let first = next_line()?;
    let is_line = if first.len() as u64 >= BEGINNING - 8 {
        // Only a line that long has no end here.
        first.starts_with('{') || first.trim_start_matches(['[', ' ']).starts_with('"')
    } else {
        match serde_json::from_str::<Value>(&first) {
            Ok(Value::Array(items)) => !items.first().is_none_or(|item| item.is_object() || item.is_array()),
            Ok(_) => true,
            // An object or list that goes on, unless the next line begins another.
            Err(error) if error.is_eof() && first.starts_with(['{', '[']) => {
                let starts_list = first.starts_with('[');
                let second = next_line()?;
                second.starts_with('{') && !starts_list
            }
            Err(_) => !first.starts_with('['),
        }
    };
    Ok((is_line, Cursor::new(head).chain(input)))
}

/// Reads documents one at a time, in constant memory.
pub struct Reader<R> {
    layout: Layout<Looked<R>>,
    keys: JsonKeys,
    unit: OffsetUnit,
    /// Documents of a value that holds several.
    pending: std::vec::IntoIter<Value>,
    /// Number of documents so far.
    count: usize,
    /// Line of the last value.
    line: usize,
}

impl<R: BufRead> super::Reader for Reader<R> {
    fn next_document(&mut self) -> io::Result<Option<Document>> {
        loop {
            if let Some(value) = self.pending.next() {
                let id = format!("item-{}", self.count + 1);
                if let Some(document) = self.read_value(value, id) {
                    return Ok(Some(document));
                }
                continue;
            }
            let Some(value) = self.next_value()? else { return Ok(None) };
            let Some(value) = value else { continue };
            let mut documents = shapes::documents_in(value, |value| has_text(value, &self.keys));
            let value = match documents.len() {
                1 => documents.remove(0),
                _ => {
                    self.pending = documents.into_iter();
                    continue;
                }
            };
            let id = match self.layout {
                Layout::Lines(_) => format!("line-{}", self.line),
                Layout::Values { .. } => format!("item-{}", self.count + 1),
            };
            if let Some(document) = self.read_value(value, id) {
                return Ok(Some(document));
            }
        }
    }

    fn place(&self) -> (&Path, usize) {
        let file = match &self.layout {
            Layout::Lines(lines) => lines.file(),
            Layout::Values { faults, .. } => faults.file(),
        };
        (file, self.line)
    }

    fn take_diagnostics(&mut self) -> Diagnostics {
        match &mut self.layout {
            Layout::Lines(lines) => lines.take_diagnostics(),
            Layout::Values { json, faults, .. } => {
                let lines = json.take_invalid_lines();
                faults.invalid_utf8(lines, json.advice());
                faults.take()
            }
        }
    }
}

/// A fault in a part of a document. It never quotes text of a document.
type Fault = (DiagnosticKind, String);

fn malformed(message: impl Into<String>) -> Fault {
    (DiagnosticKind::MalformedLine, message.into())
}

fn not_read(message: impl Into<String>) -> Fault {
    (DiagnosticKind::NotRead, message.into())
}

impl<R: BufRead> Reader<R> {
    /// A reader of `input`; diagnostics report `file` as its name.
    ///
    /// # Errors
    /// If the first lines cannot be read.
    pub fn new(input: R, file: &Path, keys: &JsonKeys, unit: OffsetUnit) -> io::Result<Self> {
        let (is_line, input) = look(input)?;
        let layout = if is_line {
            Layout::Lines(Lines::new(input, file))
        } else {
            Layout::Values { json: Scanner::new(input), faults: Faults::new(file), in_list: false }
        };
        Ok(Self { layout, keys: keys.clone(), unit, pending: Vec::new().into_iter(), count: 0, line: 0 })
    }

    /// The next value, `Some(None)` if it is broken, or `None` at the end of the file.
    fn next_value(&mut self) -> io::Result<Option<Option<Value>>> {
        let (json, faults, in_list) = match &mut self.layout {
            Layout::Lines(lines) => {
                let line = loop {
                    let Some(line) = lines.next_line()? else { return Ok(None) };
                    if !line.trim().is_empty() {
                        break line;
                    }
                };
                self.line = lines.number();
                let value = json::parse(line.as_bytes());
                let message = match &value {
                    Err(error) => Some(format!("invalid JSON from column {}", error.column())),
                    Ok((_, repeated)) => repeats(*repeated),
                };
                if let Some(message) = message {
                    lines.report(DiagnosticKind::MalformedLine, None, message);
                }
                return Ok(Some(value.ok().map(|(value, _)| value)));
            }
            Layout::Values { json, faults, in_list } => (json, faults, in_list),
        };
        loop {
            let byte = json.peek()?;
            self.line = json.line();
            let mut malformed = |message: &str| faults.note(DiagnosticKind::MalformedLine, self.line, None, message);
            match byte {
                None => {
                    if std::mem::take(in_list) {
                        malformed("the file ends inside the list of documents");
                    }
                    return Ok(None);
                }
                Some(b'[') if !*in_list => {
                    *in_list = true;
                    json.skip();
                }
                Some(b']') => {
                    *in_list = false;
                    json.skip();
                }
                Some(b',') => json.skip(),
                Some(b'}') => {
                    malformed("a closing brace without an opening one");
                    json.skip();
                }
                Some(_) => {
                    let Some(bytes) = json.value()? else {
                        malformed("an unterminated string or value; left out");
                        return Ok(Some(None));
                    };
                    let value = json::parse(&bytes);
                    let message = match &value {
                        Err(_) => Some("invalid JSON; left out".to_owned()),
                        Ok((_, repeated)) => repeats(*repeated),
                    };
                    if let Some(message) = message {
                        malformed(&message);
                    }
                    return Ok(Some(value.ok().map(|(value, _)| value)));
                }
            }
        }
    }

    fn read_value(&mut self, value: Value, default_id: String) -> Option<Document> {
        self.count += 1;
        let mut faults = Vec::new();
        let (id, document) = read_value(value, default_id, &self.keys, self.unit, &mut faults);
        for (kind, message) in faults {
            match &mut self.layout {
                Layout::Lines(lines) => lines.report(kind, id.as_deref(), message),
                Layout::Values { faults, .. } => faults.note(kind, self.line, id.as_deref(), message),
            }
        }
        document
    }
}

/// The message for keys that an object has twice.
fn repeats(count: usize) -> Option<String> {
    (count > 0).then(|| format!("{count} keys are repeated; only the first value of each is read"))
}

/// Whether a value is a document with a text.
fn has_text(value: &Value, keys: &JsonKeys) -> bool {
    let is_text = |key: &str| {
        let place = value.get(key);
        place.is_some_and(|value| value.is_string() || value.get("text").is_some_and(Value::is_string))
    };
    match (value, &keys.text) {
        (Value::Array(pair), _) => matches!(pair.as_slice(), [Value::String(_), Value::Object(_)]),
        (_, Some(key)) => value.get(key).is_some() || ["data", "fields"].iter().any(|at| value[*at].get(key).is_some()),
        _ => ["text", "data", "fields"].into_iter().any(is_text) || value.pointer("/sentences/0/text").is_some(),
    }
}

/// Reads a document; returns its id and, if it has a text, the document.
fn read_value(
    value: Value,
    default_id: String,
    keys: &JsonKeys,
    unit: OffsetUnit,
    faults: &mut Vec<Fault>,
) -> (Option<String>, Option<Document>) {
    let Some(mut object) = object_of(value) else {
        faults.push(malformed("must be an object, or a list of a text and an object"));
        return (None, None);
    };
    if let Some(what) = shapes::refusal(&object) {
        faults.push(malformed(what));
        return (None, None);
    }
    match &keys.text {
        Some(key) => shapes::take_named_text(&mut object, key),
        None => shapes::take_text(&mut object),
    }
    shapes::rewrite(&mut object, faults);
    let id = match keys.id.as_deref().map_or_else(|| IDS.iter().find_map(|key| object.get(*key)), |key| object.get(key))
    {
        Some(Value::String(id)) => id.clone(),
        Some(id @ Value::Number(number)) => position(id).map_or_else(|| number.to_string(), |id| id.to_string()),
        None | Some(Value::Null) if keys.id.is_none() => default_id,
        id => {
            let key = shown(keys.id.as_deref().unwrap_or("id"));
            faults.push(malformed(match id {
                None | Some(Value::Null) => format!("missing id: no key `{key}`; {}", keys_of(&object)),
                Some(_) => format!("the id `{key}` must be a string or a number"),
            }));
            return (None, None);
        }
    };
    if object.get("answer").is_some_and(|answer| !answer.is_null() && answer != "accept") {
        faults.push(not_read("its answer is not `accept`"));
        return (Some(id), None);
    }
    let text = match &keys.text {
        Some(key) => object.get(key).and_then(Value::as_str),
        None => TEXT.iter().find_map(|key| object.get(*key)?.as_str()),
    };
    let Some(text) = text else {
        let key = shown(keys.text.as_deref().unwrap_or("text"));
        faults.push(malformed(format!("missing text: no string under `{key}`; {}", keys_of(&object))));
        return (Some(id), None);
    };
    let mut document = Document::new(id.clone(), text);
    let unit = match object.get("offsets").and_then(Value::as_str) {
        None => unit,
        Some("chars" | "characters") => OffsetUnit::Characters,
        Some("bytes") => OffsetUnit::Bytes,
        Some(_) => {
            faults.push(malformed("its offsets count neither chars nor bytes"));
            unit
        }
    };
    let locator = Locator::new(&document.text, unit);
    read_mentions_and_relations(&object, &mut document, &locator, faults);
    let index = locator.index();
    let items = object.get("passages").and_then(Value::as_array).into_iter().flatten();
    for (number, passage) in items.enumerate() {
        match read_passage(passage, index) {
            Some(passage) => document.passages.push(passage),
            None => faults.push(malformed(format!("passage {number} lacks a kind, or a span inside the text"))),
        }
    }
    for (key, spans) in [("sentences", &mut document.sentences), ("words", &mut document.words)] {
        match object.get(key).filter(|value| !value.is_null()).map(|value| read_spans(value, index)) {
            Some(Some(read)) if key == "sentences" || read.iter().all(|word| !word.is_empty()) => *spans = read,
            Some(_) => faults.push(malformed(format!("{key} must be ascending spans inside the text"))),
            None => {}
        }
    }
    if let Some(attributes) = object.get("attributes") {
        document.attributes = read_attributes(attributes, faults);
    }
    note_unknown_keys(&object, keys, faults);
    (Some(id), Some(document))
}

fn note_unknown_keys(object: &Map<String, Value>, keys: &JsonKeys, faults: &mut Vec<Fault>) {
    let is_named = |key: &str| [&keys.text, &keys.id].into_iter().flatten().any(|named| named == key);
    let is_known = |key: &str| {
        key.starts_with('_')
            || is_named(key)
            || [READ, TEXT, MENTIONS, BOOKKEEPING].iter().any(|keys| keys.contains(&key))
    };
    let unknown = object.iter().filter(|(key, value)| !is_known(key) && !value.is_null());
    let (annotation, others): (Vec<_>, Vec<_>) = unknown.partition(|(_, value)| shapes::looks_like_mentions(value));
    let list = |keys: &[(&String, &Value)]| list_keys(keys.iter().map(|(key, _)| key.as_str()));
    if let Some(key) = shapes::tags_of_words(object) {
        let message =
            format!("tags of words under {key}; write a word, a tab and its tag on each line, and pass --from conll");
        faults.push((DiagnosticKind::UnknownAnnotation, message));
    }
    if !annotation.is_empty() {
        let message = format!(
            "mentions under {}; medner reads `spans` (see the formats in the documentation)",
            list(&annotation)
        );
        faults.push((DiagnosticKind::UnknownAnnotation, message));
    }
    if !others.is_empty() {
        faults.push(not_read(format!("unknown keys: {}", list(&others))));
    }
}

/// The keys of an object, as the end of a message.
fn keys_of(object: &Map<String, Value>) -> String {
    format!("its keys are {}; name one with --text-column or --id-column", list_keys(object.keys().map(String::as_str)))
}

fn list_keys<'k>(keys: impl Iterator<Item = &'k str>) -> String {
    let keys: Vec<String> = keys.map(shown).collect();
    if keys.is_empty() { "none".into() } else { list_names(keys) }
}

/// A key as a message shows it.
fn shown(key: &str) -> String {
    key.chars().filter(|c| !c.is_control()).take(KEY_CHARACTERS).collect()
}

/// The object of a document, including the text if the value is spaCy's pair of both.
fn object_of(value: Value) -> Option<Map<String, Value>> {
    match value {
        Value::Object(object) => Some(object),
        Value::Array(pair) => match <[Value; 2]>::try_from(pair) {
            Ok([text @ Value::String(_), Value::Object(mut object)]) => {
                object.insert("text".into(), text);
                Some(object)
            }
            _ => None,
        },
        _ => None,
    }
}

fn read_mentions_and_relations(
    object: &Map<String, Value>,
    document: &mut Document,
    locator: &Locator,
    faults: &mut Vec<Fault>,
) {
    // For each item of the list, the index of its mention, which relations refer to; also by the item's id.
    let mut places = Vec::new();
    let mut place_of_id = HashMap::new();
    let mut seen: HashMap<Mention, usize> = HashMap::new();
    let mut unknown = HashSet::new();
    for value in MENTIONS.iter().filter_map(|key| object.get(*key)).filter(|value| !value.is_null()) {
        // spaCy keeps spans in groups.
        let is_mention = |item: &Value| item.get("start").is_some() && item.get("end").is_some();
        let groups = value.as_object().map(|groups| groups.values().map(Value::as_array).collect::<Option<Vec<_>>>());
        let groups = groups.flatten().filter(|groups| groups.iter().all(|items| items.iter().all(is_mention)));
        let items: Vec<&Value> = match (value, groups) {
            (Value::Array(items), _) => items.iter().collect(),
            (_, Some(groups)) => groups.into_iter().flatten().collect(),
            (value, _) => {
                let is_list = value.is_object() || value.as_str().is_some_and(|text| text.contains(['[', '(']));
                faults.push(match is_list {
                    true => (DiagnosticKind::UnknownAnnotation, "mentions that are no list".into()),
                    false => not_read("a label for the whole text"),
                });
                continue;
            }
        };
        for item in items {
            let number = places.len();
            let mention = read_mention(item, &document.text, locator, faults);
            let place = mention.map_err(|(kind, message)| (kind, format!("span {number}: {message}"))).map(|mention| {
                let next = document.mentions.len();
                let place = *seen.entry(mention.clone()).or_insert(next);
                if place == next {
                    document.mentions.push(mention);
                } else {
                    let message = format!("span {number} repeats span {place}");
                    faults.push((DiagnosticKind::DuplicateMention, message));
                }
                place
            });
            let place = place.map_err(|fault| faults.push(fault)).ok();
            places.push(place);
            if let Some(id) = item.get("id").and_then(scalar) {
                place_of_id.insert(id, place);
            }
            let keys = item.as_object().into_iter().flat_map(Map::keys);
            unknown.extend(keys.filter(|key| !MENTION_KEYS.contains(&key.as_str())));
        }
    }
    if !unknown.is_empty() {
        let mut keys: Vec<&str> = unknown.into_iter().map(String::as_str).collect();
        keys.sort_unstable();
        faults.push(not_read(format!("unknown keys of mentions: {}", list_keys(keys.into_iter()))));
    }
    let items = object.get("relations").and_then(Value::as_array).into_iter().flatten();
    for (number, item) in items.enumerate() {
        match read_relation(item, &places, &place_of_id) {
            Ok(relation) => document.relations.push(relation),
            Err((kind, message)) => faults.push((kind, format!("relation {number} {message}"))),
        }
    }
}

/// Reads a relation of our own, or one between the ids of two mentions: `from_id` and `to_id` with `type` (doccano) or
/// `labels` (Label Studio), `subj` and `obj` with `pred` (PubAnnotation).
fn read_relation(
    item: &Value,
    places: &[Option<usize>],
    place_of_id: &HashMap<String, Option<usize>>,
) -> Result<Relation, Fault> {
    let left_out = || malformed("refers to a mention that was left out");
    if let Ok(mut relation) = serde_json::from_value::<Relation>(item.clone()) {
        for argument in &mut relation.arguments {
            if let Target::Mention(at) = &mut argument.target {
                *at = places.get(*at).copied().flatten().ok_or_else(left_out)?;
            }
        }
        return Ok(relation);
    }
    let ends = [["from_id", "to_id"], ["subj", "obj"]]
        .into_iter()
        .find_map(|[from, to]| Some([scalar(item.get(from)?)?, scalar(item.get(to)?)?]));
    let kind = ["type", "pred", "label"].into_iter().filter(|_| item.get("labels").is_none());
    let kind = kind.filter_map(|key| item.get(key)).chain(item.pointer("/labels/0")).find_map(scalar);
    let ends = ends.ok_or_else(|| not_read("has an unknown form"))?;
    let place = |id: &String| place_of_id.get(id).copied().flatten().ok_or_else(left_out);
    let argument = |role: &str, at| Argument { role: role.into(), target: Target::Mention(at) };
    let arguments = vec![argument("Arg1", place(&ends[0])?), argument("Arg2", place(&ends[1])?)];
    Ok(Relation { kind: kind.unwrap_or_default(), arguments })
}

/// Reads `[0, 7, "Chemical"]`, `["Chemical", 0, 7]` or an object.
fn read_mention(item: &Value, text: &str, locator: &Locator, faults: &mut Vec<Fault>) -> Result<Mention, Fault> {
    let first_of = |keys: &[&str]| keys.iter().find_map(|key| item.pointer(key));
    let (start, end, label) = match item {
        Value::Array(parts) if parts.first().is_some_and(Value::is_string) && parts.len() > 2 => {
            // Argilla, or scispaCy with the text of the mention first.
            (parts.get(1), parts.get(2), parts.get(3).filter(|label| label.is_string()).or(parts.first()))
        }
        Value::Array(parts) => (parts.first(), parts.get(1), parts.get(2)),
        Value::Object(object) if object.contains_key("entity") && object.contains_key("index") => {
            let message = "a label of a token, as a pipeline without aggregation gives it; pass aggregation_strategy";
            return Err((DiagnosticKind::UnknownAnnotation, message.into()));
        }
        Value::Object(_) => (
            first_of(&["/start", "/start_offset", "/begin", "/span/begin", "/span/start"]),
            first_of(&["/end", "/end_offset", "/span/end"]),
            first_of(&["/label", "/type", "/entity_group", "/tag", "/obj", "/labels/0"]),
        ),
        _ => return Err(not_read("a label for the whole text")),
    };
    let label = label.and_then(Value::as_str).filter(|label| !label.is_empty());
    let label = label.ok_or_else(|| malformed("missing label"))?;
    if let Some(labels) = item.get("labels").and_then(Value::as_array).filter(|labels| labels.len() > 1) {
        let message = format!("{} further labels of one span", labels.len() - 1);
        faults.push((DiagnosticKind::UnknownAnnotation, message));
    }
    let stated = match item.get("fragments").or_else(|| item.get("span").filter(|span| span.is_array())) {
        None => vec![read_span(start, end).ok_or_else(|| malformed("start and end must be whole numbers"))?],
        Some(fragments) => {
            let fragments = read_pairs(fragments).filter(|fragments| !fragments.is_empty());
            fragments.ok_or_else(|| malformed("fragments must be a list of starts and ends"))?
        }
    };
    let fragments = locator.fragments(text, &stated, item.get("text").and_then(Value::as_str))?;
    let mut mention = Mention { fragments, ..Mention::new(Span::new(0, 0), label) };
    let concept_ids = ["concept_ids", "id"].into_iter().find_map(|key| item.get(key)?.as_array());
    // spaCy: the concept follows the label.
    let concept_id = item.get("kb_id").or_else(|| item.get(3).filter(|id| id.is_string() && item[0].is_number()));
    for id in concept_ids.into_iter().flatten().chain(concept_id.filter(|id| *id != "")) {
        match scalar(id) {
            Some(id) => mention.concept_ids.push(id),
            None => faults.push(not_read("a concept id that is neither a string nor a number")),
        }
    }
    if let Some(attributes) = item.get("attributes") {
        mention.attributes = read_attributes(attributes, faults);
    }
    read_wire_attributes(item, &mut mention.attributes);
    read_concepts(item, &mut mention, faults);
    read_assertion(item, text, locator, &mut mention.attributes, faults);
    let confidence = ["confidence", "score", "prob"].into_iter().find_map(|key| item.get(key));
    if let Some(confidence) = confidence.filter(|value| !value.is_null()) {
        // Parsed from its text: rounding to f64 and then to f32 could change the number.
        mention.confidence = confidence.as_number().and_then(|number| number.to_string().parse().ok());
        if mention.confidence.is_none() {
            faults.push(not_read("a confidence that is not a number from 0 to 1"));
        }
    }
    Ok(mention)
}

/// Reads what `annotate` writes about a mention besides its position and type, as attributes with the names of its
/// other formats.
fn read_wire_attributes(item: &Value, attributes: &mut BTreeMap<String, String>) {
    let models = item.get("models").and_then(Value::as_array);
    let names = models.map(|names| names.iter().filter_map(Value::as_str).collect::<Vec<_>>().join("|"));
    attributes.extend(names.map(|names| ("models".to_owned(), names)));
    for key in ["category", "below_threshold", "assertion", "historical", "section"] {
        attributes.extend(item.get(key).and_then(scalar).map(|value| (key.to_owned(), value)));
    }
    for (key, place) in
        [("section", "/section/name"), ("section_loinc", "/section/loinc"), ("long_form", "/long_form/text")]
    {
        attributes.extend(item.pointer(place).and_then(scalar).map(|value| (key.to_owned(), value)));
    }
}

/// Reads the concepts that `annotate` writes: their ids, and attributes with the names of its other formats.
fn read_concepts(item: &Value, mention: &mut Mention, faults: &mut Vec<Fault>) {
    let Some(concepts) = item.get("concepts") else { return };
    let of = |concept: &Value| Some((scalar(concept.get("id")?)?, concept.get("score")?.as_number()?.clone()));
    let list = concepts.as_array().map(Vec::as_slice).unwrap_or_default();
    let read: Option<Vec<(String, Number)>> = list.iter().map(of).collect();
    let Some(read) = read.filter(|read| !read.is_empty()) else {
        return faults.push(not_read("concepts that are no list of objects with an id and a score"));
    };
    let others = |concept: &Value| concept.get("others").and_then(Value::as_array).cloned().unwrap_or_default();
    if list.iter().any(|concept| !others(concept).is_empty()) {
        let candidates =
            |concept| std::iter::once(of(concept)).chain(others(concept).iter().map(of)).flatten().collect();
        let candidates: Vec<Vec<(String, Number)>> = list.iter().map(candidates).collect();
        mention
            .attributes
            .extend(serde_json::to_string(&candidates).ok().map(|text| ("link_candidates".to_owned(), text)));
    }
    let worst =
        read.iter().min_by(|(_, one), (_, other)| one.as_f64().partial_cmp(&other.as_f64()).unwrap_or(Ordering::Equal));
    mention.attributes.extend(worst.map(|(_, score)| ("link_score".to_owned(), plain_number(score))));
    let names: Option<Vec<String>> = list.iter().map(|concept| scalar(concept.get("name")?)).collect();
    mention.attributes.extend(names.map(|names| ("concept_name".to_owned(), names.join("|"))));
    mention.concept_ids.extend(read.into_iter().map(|(id, _)| id));
}

/// `1.0` as `1`, which is how other formats write it.
fn plain_number(number: &Number) -> String {
    let text = number.to_string();
    text.strip_suffix(".0").map_or_else(|| text.clone(), str::to_owned)
}

/// Reads the object that `annotate` writes for an assertion.
fn read_assertion(
    item: &Value,
    text: &str,
    locator: &Locator,
    attributes: &mut BTreeMap<String, String>,
    faults: &mut Vec<Fault>,
) {
    let Some(assertion) = item.get("assertion").filter(|assertion| assertion.is_object()) else { return };
    let mut set = |name: &str, value: Option<String>| attributes.extend(value.map(|value| (name.to_owned(), value)));
    set("assertion", assertion.get("value").and_then(scalar));
    set("assertion_confidence", assertion.get("confidence").and_then(scalar));
    set("historical", assertion.get("historical").and_then(scalar).filter(|value| value == "true"));
    if let Some(cue) = assertion.get("cue").filter(|cue| !cue.is_null()) {
        let stated = read_span(cue.get("start"), cue.get("end"));
        let located = stated.and_then(|span| locator.fragments(text, &[span], cue.get("text")?.as_str()).ok());
        match located.as_deref() {
            Some([Span { start, end }]) => set("assertion_cue", Some(format!("{start}-{end}"))),
            _ => faults.push(not_read("a cue that is not at its position")),
        }
    }
}

fn read_passage(value: &Value, index: &CharIndex) -> Option<Passage> {
    let span = read_span(value.get("start"), value.get("end"))?;
    index.bytes(span)?;
    Some(Passage { kind: value.get("kind")?.as_str()?.to_owned(), span })
}

/// Reads `[[0, 7], [8, 11]]`.
fn read_pairs(value: &Value) -> Option<Vec<Span>> {
    let pair = |pair: &Value| match pair {
        Value::Object(span) => read_span(span.get("begin").or_else(|| span.get("start")), span.get("end")),
        pair => read_span(pair.get(0), pair.get(1)),
    };
    value.as_array()?.iter().map(pair).collect()
}

/// Reads spans that must be ascending and inside the text.
fn read_spans(value: &Value, index: &CharIndex) -> Option<Vec<Span>> {
    let spans = read_pairs(value)?;
    let ascend = spans.windows(2).all(|pair| pair[0].end <= pair[1].start);
    (ascend && spans.iter().all(|&span| index.bytes(span).is_some())).then_some(spans)
}

fn read_span(start: Option<&Value>, end: Option<&Value>) -> Option<Span> {
    Some(Span::new(position(start?)?, position(end?)?))
}

/// A whole number; pandas writes `7.0` in columns with gaps.
fn position(value: &Value) -> Option<usize> {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    let whole = value.as_u64().or_else(|| {
        let number = value.as_f64().filter(|number| number.fract() == 0.0 && (0.0..EXACT).contains(number))?;
        Some(number as u64)
    });
    usize::try_from(whole?).ok()
}

fn read_attributes(value: &Value, faults: &mut Vec<Fault>) -> BTreeMap<String, String> {
    let mut attributes = BTreeMap::new();
    if !value.is_object() && !value.is_null() {
        faults.push(not_read("attributes that are no object"));
    }
    for (key, value) in value.as_object().into_iter().flatten() {
        match scalar(value) {
            Some(value) => drop(attributes.insert(key.clone(), value)),
            None => faults.push(not_read("an attribute whose value is a list or an object")),
        }
    }
    attributes
}

fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(_) | Value::Bool(_) => Some(value.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

/// Converts a document to what this format can represent: only mentions without a type and duplicate mentions are left
/// out; overlapping fragments are joined.
pub fn express(document: &Document) -> Expressed {
    let mut seen = HashSet::new();
    Expressed::new(document, |mention| {
        let mention = Mention { fragments: offsets::normal(&mention.fragments), ..mention.clone() };
        let is_sayable = !mention.fragments.is_empty() && !mention.entity_type.is_empty();
        (is_sayable && seen.insert(mention.clone())).then_some(mention)
    })
}

#[derive(Serialize)]
struct Line<'d> {
    id: &'d str,
    text: &'d str,
    spans: Vec<MentionForm<'d>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    passages: Vec<PassageForm<'d>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    sentences: Vec<[usize; 2]>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    words: Vec<[usize; 2]>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    relations: &'d [Relation],
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    attributes: &'d BTreeMap<String, String>,
}

#[derive(Serialize)]
struct MentionForm<'d> {
    start: usize,
    end: usize,
    label: &'d str,
    /// Only if there are several.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    fragments: Vec<[usize; 2]>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    concept_ids: &'d [String],
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    attributes: &'d BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    confidence: Option<Confidence>,
}

#[derive(Serialize)]
struct PassageForm<'d> {
    kind: &'d str,
    start: usize,
    end: usize,
}

impl<'d> From<&'d Mention> for MentionForm<'d> {
    fn from(mention: &'d Mention) -> Self {
        let Span { start, end } = mention.span();
        let fragments = if mention.is_discontinuous() { pairs(&mention.fragments) } else { Vec::new() };
        let Mention { entity_type: label, concept_ids, attributes, confidence, .. } = mention;
        Self { start, end, label, fragments, concept_ids, attributes, confidence: *confidence }
    }
}

fn pairs(spans: &[Span]) -> Vec<[usize; 2]> {
    spans.iter().map(|span| [span.start, span.end]).collect()
}

/// Writes documents, one per line.
pub struct Sink<'w> {
    out: Output<'w>,
}

impl<'w> Sink<'w> {
    /// A sink that writes to `out`.
    pub const fn new(out: Output<'w>) -> Self {
        Self { out }
    }
}

impl super::Sink for Sink<'_> {
    fn write(&mut self, document: &Document) -> io::Result<()> {
        let line = Line {
            id: &document.id,
            text: &document.text,
            spans: document.mentions.iter().map(MentionForm::from).collect(),
            passages: document
                .passages
                .iter()
                .map(|Passage { kind, span }| PassageForm { kind, start: span.start, end: span.end })
                .collect(),
            sentences: pairs(&document.sentences),
            words: pairs(&document.words),
            relations: &document.relations,
            attributes: &document.attributes,
        };
        serde_json::to_writer(&mut self.out, &line)?;
        writeln!(self.out)
    }

    fn finish(self: Box<Self>) -> io::Result<()> {
        self.out.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::round_trip;
    use crate::{Format, FormatOptions};
    use proptest::collection::vec;
    use proptest::prelude::*;

    fn read(input: &str) -> (Vec<Document>, Vec<String>) {
        let options = FormatOptions::default();
        let input = Format::Jsonl.open_input(Box::new(input.as_bytes()), Path::new("in.jsonl"), &options);
        let (documents, diagnostics) = input.expect("one file").read_all().expect("memory can be read");
        let faults = diagnostics.0.iter().filter(|fault| fault.kind != DiagnosticKind::OddBoundary);
        (documents, faults.map(ToString::to_string).collect())
    }

    /// `documents`: each as `ID text` and its mentions as `fragments type`. `faults`: as printed.
    fn check(input: &str, documents: &[(&str, &[&str])], faults: &[&str]) {
        let (found, printed) = read(input);
        assert_eq!(printed, faults, "{input}");
        let mention = |mention: &Mention| {
            let fragments: Vec<String> = mention.fragments.iter().map(ToString::to_string).collect();
            format!("{} {}", fragments.join(";"), mention.entity_type)
        };
        let shown: Vec<(String, Vec<String>)> =
            found.iter().map(|d| (format!("{} {}", d.id, d.text), d.mentions.iter().map(mention).collect())).collect();
        let expected: Vec<(String, Vec<String>)> = documents
            .iter()
            .map(|(text, mentions)| ((*text).to_owned(), mentions.iter().map(|&m| m.to_owned()).collect()))
            .collect();
        assert_eq!(shown, expected, "{input}");
    }

    #[test]
    fn old_and_new_output_of_annotate_give_the_same_document() {
        let before = r#"{"id":"1","text":"a fever","spans":[{"start":2,"end":7,"text":"fever","label":"Disease","confidence":0.75,"attributes":{"category":"problem","models":"a|b"}}]}"#;
        let now = r#"{"id":"1","text":"a fever","mentions":[{"start":2,"end":7,"text":"fever","type":"Disease","category":"problem","confidence":0.75,"models":["a","b"]}]}"#;
        let read = |line: &str| {
            let mut reader =
                Reader::new(line.as_bytes(), Path::new("x.jsonl"), &JsonKeys::default(), OffsetUnit::default())
                    .expect("memory");
            let document = crate::format::Reader::next_document(&mut reader).expect("read").expect("a document");
            assert_eq!(crate::format::Reader::take_diagnostics(&mut reader).0, []);
            document
        };
        assert_eq!(read(before), read(now));
        assert_eq!(read(now).mentions[0].attributes["models"], "a|b");
        let bytes = r#"{"id":"1","offsets":"bytes","text":"é fever","mentions":[{"start":3,"end":8,"text":"fever","type":"Disease"}]}"#;
        assert_eq!(read(bytes).mentions[0].span(), Span::new(2, 7));
        let asserted = r#"{"id":"1","offsets":"bytes","text":"é no fever","mentions":[{"start":6,"end":11,"type":"Disease","assertion":{"value":"absent","historical":false,"cue":{"start":3,"end":5,"text":"no"},"confidence":0.9},"section":{"name":"plan","loinc":"1-8"}}]}"#;
        let expected = [
            ("assertion", "absent"),
            ("assertion_confidence", "0.9"),
            ("assertion_cue", "2-4"),
            ("section", "plan"),
            ("section_loinc", "1-8"),
        ];
        let attributes = &read(asserted).mentions[0].attributes;
        assert!(attributes.iter().map(|(name, value)| (name.as_str(), value.as_str())).eq(expected), "{attributes:?}");
    }

    #[test]
    fn the_shapes_of_other_tools() {
        check("", &[], &[]);
        // A byte-order mark, CRLF, empty lines; a numeric id, and none.
        check(
            "\u{feff}{\"id\": 7, \"text\": \"a\"}\r\n\r\n{\"text\": \"b\", \"spans\": null}",
            &[("7 a", &[]), ("line-3 b", &[])],
            &[],
        );
        // Prodigy.
        let prodigy = r#"{"text":"äb c","_input_hash":1,"meta":{"x":1},"tokens":[{"text":"äb","start":0,"end":2,"id":0}],
            "spans":[{"start":3,"end":4,"token_start":1,"token_end":1,"label":"X"}],"answer":"accept"}"#;
        check(&prodigy.replace('\n', ""), &[("line-1 äb c", &["3..4 X"])], &[]);
        check(
            r#"{"id":"7","text":"a","spans":[{"start":0,"end":1,"label":"X"}],"answer":"reject"}"#,
            &[],
            &["in.jsonl:1: document 7: not supported, left out: its answer is not `accept`"],
        );
        // doccano, old and new.
        check(r#"{"id":1,"data":"ab","label":[[0,1,"X"],[1,2,"Y"]]}"#, &[("1 ab", &["0..1 X", "1..2 Y"])], &[]);
        check(r#"{"id":1,"text":"ab","labels":[[0,1,"X"]],"Comments":[]}"#, &[("1 ab", &["0..1 X"])], &[]);
        check(
            r#"{"id":1,"text":"ab","entities":[{"id":4,"label":"X","start_offset":0,"end_offset":2}],"relations":[]}"#,
            &[("1 ab", &["0..2 X"])],
            &[],
        );
        // spaCy, as a pair and as an object.
        check(r#"["ab", {"entities": [[0, 2, "X"]]}]"#, &[("line-1 ab", &["0..2 X"])], &[]);
        check(r#"{"text": "ab", "entities": [[0, 2, "X", "Q1"]]}"#, &[("line-1 ab", &["0..2 X"])], &[]);
        // Label Studio, in full and short; Argilla, now and before; PubAnnotation; displaCy; a pipeline.
        let result = r#"{"id":"a","type":"labels","value":{"start":0,"end":2,"text":"ab","labels":["X"]}}"#;
        let other = r#"{"id":"b","type":"labels","value":{"start":1,"end":2,"labels":["Y"]}}"#;
        let relation = r#"{"type":"relation","from_id":"a","to_id":"b","labels":["R"]}"#;
        let task =
            format!(r#"{{"id":4,"data":{{"note":"ab"}},"annotations":[{{"result":[{result},{other},{relation}]}}]}}"#);
        check(&task, &[("4 ab", &["0..2 X", "1..2 Y"])], &[]);
        assert_eq!(read(&task).0[0].relations[0].kind, "R");
        for line in [
            r#"{"id":4,"text":"ab","label":[{"start":0,"end":2,"text":"ab","labels":["X"]}]}"#,
            r#"{"id":4,"fields":{"text":"ab"},"responses":{"spans":[{"value":[{"start":0,"end":2,"label":"X"}]}]}}"#,
            r#"{"id":4,"text":"ab","annotation":[["X",0,2]]}"#,
            r#"{"id":4,"text":"ab","denotations":[{"id":"T1","span":{"begin":0,"end":2},"obj":"X"}]}"#,
            r#"{"id":4,"text":"ab","ents":[{"start":0,"end":2,"label":"X"}],"title":null}"#,
            r#"{"id":4,"text":"ab","entities":[{"entity_group":"X","score":0.5,"word":"Ab","start":0.0,"end":2.0}]}"#,
        ] {
            check(line, &[("4 ab", &["0..2 X"])], &[]);
        }
        // doccano's relations.
        let doccano = r#"{"text":"ab","entities":[{"id":7,"label":"X","start_offset":0,"end_offset":1},{"id":8,"label":"Y","start_offset":1,"end_offset":2}],"relations":[{"id":1,"from_id":7,"to_id":8,"type":"R"}]}"#;
        let relation = &read(doccano).0[0].relations[0];
        assert_eq!((relation.kind.as_str(), &relation.arguments[1].target), ("R", &Target::Mention(1)));
        // Sentence by sentence, nested.
        check(
            r#"{"pmid":"7","sentences":[{"text":"äb"},{"text":"cd","entities":[{"start":0,"end":2,"type":"X"},{"start":1,"end":2,"type":"Y"},{"start":1,"end":3,"type":"Y"}]}]}"#,
            &[("7 äb\ncd", &["3..5 X", "4..5 Y"])],
            &["in.jsonl:1: document 7: malformed line: a sentence has an entity without a type, or outside its text"],
        );
    }

    #[test]
    fn lists_and_values_of_several_lines() {
        let both: &[(&str, &[&str])] = &[("7 ab", &["0..2 X"]), ("item-2 c", &[])];
        let (first, second) = (r#"{"id":"7","text":"ab","spans":[[0,2,"X"]]}"#, r#"{"text":"c"}"#);
        let spread = first.replace(',', ",\n  ");
        for input in [
            format!("[{first},{second}]"),
            format!("[\n {first},\n {second}\n]\n"),
            format!("\u{feff}[\r\n{spread},{second}]"),
            format!("{spread}\n{second}\n"),
            format!(r#"{{"classes":["X"],"data":[{first},{second},null]}}"#),
            format!("{{\n\"data\": [{first},\n{second}]}}"),
        ] {
            check(&input, both, &[]);
        }
        check(r#"[["ab", {"entities": []}], ["c", {"entities": []}]]"#, &[("item-1 ab", &[]), ("item-2 c", &[])], &[]);
        check("[]", &[], &[]);
        let fault = |line: usize, what: &str| format!("in.jsonl:{line}: malformed line: {what}");
        check(
            &format!("[{first},\n{{]}},\n{second}\n"),
            both,
            &[
                &fault(2, "invalid JSON; left out"),
                &fault(2, "a closing brace without an opening one"),
                &fault(4, "the file ends inside the list of documents"),
            ],
        );
        // An id that equals the number of a line without one.
        check("{\"text\":\"a\"}\n{\"id\":1,\"text\":\"b\"}", &[("line-1 a", &[]), ("1 b", &[])], &[]);
    }

    #[test]
    fn keys_can_be_named_and_unknown_annotation_is_a_loss() {
        let read = |line: &str, text: Option<&str>, id: Option<&str>| {
            let json = JsonKeys { text: text.map(str::to_owned), id: id.map(str::to_owned) };
            let options = FormatOptions { json, ..FormatOptions::default() };
            let input = Format::Jsonl.open_input(Box::new(line.as_bytes()), Path::new("in.jsonl"), &options);
            let (documents, faults) = input.expect("one file").read_all().expect("memory can be read");
            let shown =
                documents.iter().map(|document| format!("{} {}", document.id, document.text)).collect::<String>();
            (shown, faults.losses().map(|fault| fault.message.clone()).collect::<String>())
        };
        let line = r#"{"note_id":"n1","note":"a","data":{"body":"b"}}"#;
        assert_eq!(read(line, Some("note"), Some("note_id")), ("n1 a".into(), String::new()));
        assert_eq!(read(line, Some("body"), None), ("line-1 b".into(), String::new()));
        assert!(read(line, Some("x"), None).1.contains("`x`; its keys are note_id, note, data"));
        assert!(read(line, Some("note"), Some("x")).1.starts_with("missing id: no key `x`"));
        for (line, part) in [
            (r#"{"text":"a","findings":[{"start":0,"end":1,"label":"X"}]}"#, "mentions under findings"),
            (r#"{"text":"a","ner":[[0,1,"X"]]}"#, "mentions under ner"),
            (r#"{"text":"a","X":{"Disease":[[0,1]]}}"#, "mentions under X"),
            (r#"{"text":"a","spans":[{"entity":"B-X","index":1,"start":0,"end":1}]}"#, "aggregation_strategy"),
            (r#"{"tokens":["a"],"ner_tags":[0]}"#, "--from conll"),
        ] {
            let (_, losses) = read(line, None, None);
            assert!(losses.contains(part), "{line}: {losses}");
        }
    }

    #[test]
    fn unsupported_parts_are_noted() {
        let fault = |what: &str| format!("in.jsonl:1: document line-1: not supported, left out: {what}");
        let label = fault("a label for the whole text");
        check(r#"{"text":"a","label":"X"}"#, &[("line-1 a", &[])], &[&label]);
        check(r#"{"text":"a","label":["X"]}"#, &[("line-1 a", &[])], &[&fault("span 0: a label for the whole text")]);
        check(
            r#"{"text":"a","cats":{"X":1},"accept":["Y"]}"#,
            &[("line-1 a", &[])],
            &[&fault("unknown keys: cats, accept")],
        );
        let relations = r#"{"text":"a","relations":[{"head":0,"child":0,"label":"R"}]}"#;
        check(relations, &[("line-1 a", &[])], &[&fault("relation 0 has an unknown form")]);
        let attributes = r#"{"text":"a","attributes":{"x":true,"y":[]}}"#;
        check(attributes, &[("line-1 a", &[])], &[&fault("an attribute whose value is a list or an object")]);
        assert_eq!(read(attributes).0[0].attributes["x"], "true");
    }

    #[test]
    fn faults_are_noted_with_their_line_and_valid_parts_kept() {
        let deep = format!("{{\"text\":{}", "[".repeat(100_000));
        for (line, column) in [("{\"text\": \"se", 12), ("secret", 1), (r#"{"text":"\ud800"}"#, 16), (&deep, 135)] {
            let fault = format!("in.jsonl:1: malformed line: invalid JSON from column {column}");
            check(&format!("{line}\n{{\"text\":\"a\"}}"), &[("line-2 a", &[])], &[&fault]);
        }
        let whole = |line: &str, fault: &str| {
            check(line, &[], &[&format!("in.jsonl:1: malformed line: {fault}")]);
        };
        whole("17", "must be an object, or a list of a text and an object");
        whole(r#"["a", {}, 1]"#, "must be an object, or a list of a text and an object");
        whole(r#"{"id":[],"text":"a"}"#, "the id `id` must be a string or a number");
        let missing =
            "missing text: no string under `text`; its keys are id, note; name one with --text-column or --id-column";
        check(r#"{"id":"7","note":1}"#, &[], &[&format!("in.jsonl:1: document 7: malformed line: {missing}")]);
        let table = [
            (r#"{"start":0,"end":1}"#, "malformed line: span 0: missing label"),
            (r#"{"start":0,"end":1,"label":""}"#, "malformed line: span 0: missing label"),
            (r#"[0,"1","X"]"#, "malformed line: span 0: start and end must be whole numbers"),
            (r#"[-1,1,"X"]"#, "malformed line: span 0: start and end must be whole numbers"),
            (r#"[0,1e30,"X"]"#, "malformed line: span 0: start and end must be whole numbers"),
            (r#"[1,1,"X"]"#, "offset out of range: span 0: 1..1 is empty"),
            (r#"[3,1,"X"]"#, "offset out of range: span 0: 3..1 ends before it begins"),
            (r#"[0,5,"X"]"#, "offset out of range: span 0: 0..5 reaches outside the document of 4 characters"),
            (
                r#"{"start":0,"end":1,"text":"b","label":"X"}"#,
                "text does not match the offsets: span 0: its text differs from the document's at 0..1; it would match if \
                 offsets counted from -1: add 1 to them",
            ),
            (
                r#"{"fragments":[[0,2],[1,3]],"label":"X"}"#,
                "malformed line: span 0: its fragments 0..2 and 1..3 overlap",
            ),
            (r#"[2,4,"Y"],[2,4,"Y"]"#, "duplicate mention: span 1 repeats span 0"),
        ];
        for (spans, fault) in table {
            let line = format!(r#"{{"id":"7","text":"ab c","spans":[{spans},{{"start":2,"end":4,"label":"Y"}}]}}"#);
            let line = if spans.contains('Y') { line.replace(r#",{"start":2,"end":4,"label":"Y"}"#, "") } else { line };
            check(&line, &[("7 ab c", &["2..4 Y"])], &[&format!("in.jsonl:1: document 7: {fault}")]);
        }
        for (key, fault) in [
            (r#""words":[[0,0]]"#, "words must be ascending spans inside the text"),
            (r#""sentences":[[0,9]]"#, "sentences must be ascending spans inside the text"),
            (r#""sentences":[[1,2],[0,1]]"#, "sentences must be ascending spans inside the text"),
            (r#""passages":[{"kind":"x","start":2,"end":1}]"#, "passage 0 lacks a kind, or a span inside the text"),
            (
                r#""relations":[{"kind":"R","arguments":[{"target":{"mention":0}}]}]"#,
                "relation 0 refers to a mention that was left out",
            ),
        ] {
            let line = format!(r#"{{"id":"7","text":"ab c",{key}}}"#);
            check(&line, &[("7 ab c", &[])], &[&format!("in.jsonl:1: document 7: malformed line: {fault}")]);
        }
    }

    proptest! {
        #[test]
        fn written_documents_are_read_back(documents in vec(round_trip::document(), 0..4)) {
            round_trip::check(Format::Jsonl, &FormatOptions::default(), &documents)?;
        }

        #[test]
        fn everything_is_kept(document in round_trip::document()) {
            let sound = |mention: &Mention| !mention.entity_type.is_empty();
            let mut document = document;
            for mention in &mut document.mentions {
                mention.fragments = offsets::normal(&mention.fragments);
            }
            let mut mentions: Vec<Mention> = document.mentions.iter().filter(|m| sound(m)).cloned().collect();
            let mut seen = HashSet::new();
            mentions.retain(|mention| seen.insert(mention.clone()));
            prop_assume!(mentions.len() == document.mentions.len());
            prop_assert_eq!(express(&document).document, document);
        }
    }
}
