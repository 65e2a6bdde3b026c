//! JSON lines: one document per line.
//!
//! Documents are written in our own format, which represents everything that a document contains:
//!
//! ```json
//! {"id": "7", "text": "Aspirin and fever", "spans": [{"start": 0, "end": 7, "label": "Chemical"}]}
//! ```
//!
//! | key | holds |
//! |---|---|
//! | `id` | a string or a number; the line number if missing |
//! | `text` | the text |
//! | `spans` | mentions: `start`, `end` and `label`, and optionally `fragments`, `concept_ids`, `attributes`, and `confidence` (from 0 to 1) |
//! | `passages` | `kind`, `start` and `end` of each |
//! | `sentences`, `words`, `fragments` | positions: `[[0, 7], [8, 11]]` |
//! | `relations` | `{"kind": "CID", "arguments": [{"role": "Arg1", "target": {"mention": 0}}, …]}`; a `mention` is an index into `spans`, a `concept` an identifier |
//! | `attributes` | names and values |
//!
//! Positions count Unicode characters, half-open. If a mention has a `text`, the document must have that text at its
//! position.
//!
//! Also reads the formats of other tools, detected line by line:
//!
//! | tool | what is read |
//! |---|---|
//! | `annotate` of medner, its server | `text` and `mentions`, with `type` for `label`; `category`, `models` and `below_threshold` are attributes |
//! | Prodigy | `text` and `spans`. A line with `answer` other than `accept` is left out, and noted. |
//! | doccano | `text` or `data`; `label`, `labels` or `entities` as `[[0, 7, "Chemical"]]` or as objects with `start_offset`, `end_offset` and `label` |
//! | spaCy | `["Aspirin and fever", {"entities": [[0, 7, "Chemical"]]}]`, or one object with both |
//! | sentence by sentence | `{"pmid": "7", "sentences": [{"text": "Aspirin.", "entities": [{"start": 0, "end": 7, "type": "Chemical"}]}]}`; positions count from the start of the sentence; sentences are joined by a line break |
//!
//! Bookkeeping keys (`meta`, `tokens`, keys that begin with `_`) are ignored silently. Other keys, and labels of whole
//! texts, are annotation that is not supported; they are noted.

use super::lines::Lines;
use super::{Expressed, Output, offsets};
use crate::{CharIndex, Confidence, DiagnosticKind, Diagnostics, Document, Mention, Passage, Relation, Span, Target};
use serde::Serialize;
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::io::{self, BufRead, Write};
use std::path::Path;

/// Keys of a line whose values are read.
const READ: &[&str] = &["id", "pmid", "answer", "offsets", "passages", "sentences", "words", "relations", "attributes"];
const TEXT: &[&str] = &["text", "data"];
const MENTIONS: &[&str] = &["spans", "mentions", "entities", "labels", "label"];
/// Keys that tools add without annotating anything, besides all that begin with `_`.
const BOOKKEEPING: &[&str] =
    &["meta", "tokens", "comments", "Comments", "version", "score", "created_at", "updated_at"];

/// Whether `text` is the beginning of a file in this format: its first line is a JSON value with a text.
pub(super) fn begins(text: &str) -> bool {
    let line = text.lines().next().unwrap_or_default();
    match serde_json::from_str::<Value>(line) {
        Ok(value) => object_of(value).is_some_and(|mut object| {
            join_sentences(&mut object);
            text_of(&object).is_some()
        }),
        // The first line is longer than the part that is examined. (A BioC collection on one line has `documents`, a
        // BioC document `passages` with an `offset` each.)
        Err(_) => {
            let has = |key: &str| line.contains(&format!("\"{key}\""));
            line.len() == text.len()
                && line.starts_with(['{', '['])
                && has("text")
                && !has("documents")
                && !has("offset")
        }
    }
}

/// Reads documents one at a time, in constant memory.
pub struct Reader<R> {
    lines: Lines<R>,
    /// Line of the last returned document.
    line: usize,
}

impl<R: BufRead> super::Reader for Reader<R> {
    fn next_document(&mut self) -> io::Result<Option<Document>> {
        while let Some(line) = self.lines.next_line()? {
            if line.trim().is_empty() {
                continue;
            }
            if let Some(document) = self.read_line(&line) {
                self.line = self.lines.number();
                return Ok(Some(document));
            }
        }
        Ok(None)
    }

    fn place(&self) -> (&Path, usize) {
        (self.lines.file(), self.line)
    }

    fn take_diagnostics(&mut self) -> Diagnostics {
        self.lines.take_diagnostics()
    }
}

/// A fault in a part of a line. It never quotes the line, which may contain text of a document.
type Fault = (DiagnosticKind, String);

fn malformed(message: impl Into<String>) -> Fault {
    (DiagnosticKind::MalformedLine, message.into())
}

fn not_read(message: impl Into<String>) -> Fault {
    (DiagnosticKind::NotRead, message.into())
}

impl<R: BufRead> Reader<R> {
    /// A reader of `input`; diagnostics report `file` as its name.
    pub fn new(input: R, file: &Path) -> Self {
        Self { lines: Lines::new(input, file), line: 0 }
    }

    fn read_line(&mut self, line: &str) -> Option<Document> {
        let mut faults = Vec::new();
        let (id, document) = match serde_json::from_str(line).map_err(|error| error.column()) {
            Ok(value) => read_value(value, self.lines.number(), &mut faults),
            Err(column) => {
                faults.push(malformed(format!("invalid JSON from column {column}")));
                (None, None)
            }
        };
        for (kind, message) in faults {
            self.lines.report(kind, id.as_deref(), message);
        }
        document
    }
}

/// Reads a line; returns the id and, if it is one, the document.
fn read_value(value: Value, line: usize, faults: &mut Vec<Fault>) -> (Option<String>, Option<Document>) {
    let Some(mut object) = object_of(value) else {
        faults.push(malformed("must be an object, or a list of a text and an object"));
        return (None, None);
    };
    if let Some(message) = join_sentences(&mut object) {
        faults.push(malformed(message));
    }
    let id = match object.get("id").or_else(|| object.get("pmid")) {
        None | Some(Value::Null) => line.to_string(),
        Some(Value::String(id)) => id.clone(),
        Some(Value::Number(id)) => id.to_string(),
        Some(_) => {
            faults.push(malformed("the id must be a string or a number"));
            return (None, None);
        }
    };
    if object.get("answer").is_some_and(|answer| !answer.is_null() && answer != "accept") {
        faults.push(not_read("its answer is not `accept`"));
        return (Some(id), None);
    }
    let Some(text) = text_of(&object) else {
        faults.push(malformed("missing text"));
        return (Some(id), None);
    };
    let mut document = Document::new(id.clone(), text);
    let index = document.char_index();
    match object.get("offsets").and_then(Value::as_str) {
        None | Some("chars" | "characters") => {}
        Some("bytes") => bytes_to_characters(&mut object, &index, faults),
        Some(_) => faults.push(malformed("its offsets count neither chars nor bytes")),
    }
    read_mentions_and_relations(&object, &mut document, &index, faults);
    let items = object.get("passages").and_then(Value::as_array).into_iter().flatten();
    for (number, passage) in items.enumerate() {
        match read_passage(passage, &index) {
            Some(passage) => document.passages.push(passage),
            None => faults.push(malformed(format!("passage {number} lacks a kind, or a span inside the text"))),
        }
    }
    for (key, spans) in [("sentences", &mut document.sentences), ("words", &mut document.words)] {
        match object.get(key).filter(|value| !value.is_null()).map(|value| read_spans(value, &index)) {
            Some(Some(read)) if key == "sentences" || read.iter().all(|word| !word.is_empty()) => *spans = read,
            Some(_) => faults.push(malformed(format!("{key} must be ascending spans inside the text"))),
            None => {}
        }
    }
    if let Some(attributes) = object.get("attributes") {
        document.attributes = read_attributes(attributes, faults);
    }
    let known = |key: &str| [READ, TEXT, MENTIONS, BOOKKEEPING].iter().any(|keys| keys.contains(&key));
    let others = object.iter().filter(|(key, value)| !known(key) && !key.starts_with('_') && !value.is_null()).count();
    if others > 0 {
        faults.push(not_read(format!("{others} unknown keys")));
    }
    (Some(id), Some(document))
}

/// The object in a line, including the text if the line is spaCy's pair of both.
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

/// Joins sentences that have their own texts and entities into one text with spans; returns the fault if there is one.
fn join_sentences(object: &mut Map<String, Value>) -> Option<&'static str> {
    let has_texts = |sentences: &Vec<Value>| sentences.first().is_some_and(Value::is_object);
    let sentences = object.get("sentences").and_then(Value::as_array).filter(|sentences| has_texts(sentences))?.clone();
    let (mut text, mut at) = (String::new(), 0);
    let (mut places, mut spans) = (Vec::new(), Vec::new());
    let mut fault = None;
    for sentence in &sentences {
        let Some(own) = sentence.get("text").and_then(Value::as_str) else {
            fault = Some("a sentence has no text");
            continue;
        };
        if !places.is_empty() {
            text.push('\n');
            at += 1;
        }
        let end = at + own.chars().count();
        for entity in sentence.get("entities").and_then(Value::as_array).into_iter().flatten() {
            let position = |key: &str| Some(entity.get(key)?.as_u64()? as usize);
            let inside = |start: usize, stop: usize| start < stop && stop <= end - at;
            match (position("start"), position("end"), entity.get("type").or_else(|| entity.get("label"))) {
                (Some(start), Some(stop), Some(label)) if inside(start, stop) => {
                    spans.push(json!({ "start": at + start, "end": at + stop, "label": label }));
                }
                _ => fault = Some("a sentence has an entity without a type, or outside its text"),
            }
        }
        text.push_str(own);
        places.push(json!([at, end]));
        at = end;
    }
    object.insert("text".into(), text.into());
    object.insert("sentences".into(), places.into());
    object.insert("spans".into(), spans.into());
    fault
}

fn text_of(object: &Map<String, Value>) -> Option<&str> {
    TEXT.iter().find_map(|key| object.get(*key)?.as_str())
}

/// Converts the positions of `annotate --offsets bytes`. A mention that has none inside the text is left out.
fn bytes_to_characters(object: &mut Map<String, Value>, index: &CharIndex, faults: &mut Vec<Fault>) {
    for key in MENTIONS {
        let Some(Value::Array(items)) = object.get_mut(*key) else { continue };
        items.retain_mut(|item| {
            let bytes = read_span(item.get("start"), item.get("end"));
            let Some(span) = bytes.and_then(|bytes| index.span(bytes.start..bytes.end)) else {
                faults.push(malformed("the bytes of a mention are not characters of the text"));
                return false;
            };
            (item["start"], item["end"]) = (span.start.into(), span.end.into());
            true
        });
    }
}

fn read_mentions_and_relations(
    object: &Map<String, Value>,
    document: &mut Document,
    index: &CharIndex,
    faults: &mut Vec<Fault>,
) {
    // For each item of the list, the index of its mention, which relations refer to.
    let mut places = Vec::new();
    let mut seen: HashMap<Mention, usize> = HashMap::new();
    for value in MENTIONS.iter().filter_map(|key| object.get(*key)).filter(|value| !value.is_null()) {
        let Value::Array(items) = value else {
            faults.push(not_read("a label for the whole text"));
            continue;
        };
        for item in items {
            let number = places.len();
            let mention = read_mention(item, &document.text, index, faults);
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
            places.push(place.map_err(|fault| faults.push(fault)).ok());
        }
    }
    let items = object.get("relations").and_then(Value::as_array).into_iter().flatten();
    for (number, item) in items.enumerate() {
        match serde_json::from_value::<Relation>(item.clone()) {
            Err(_) => faults.push(not_read(format!("relation {number} has an unknown form"))),
            Ok(mut relation) => {
                let there = relation.arguments.iter_mut().all(|argument| match &mut argument.target {
                    Target::Concept(_) => true,
                    Target::Mention(at) => match places.get(*at) {
                        Some(Some(place)) => {
                            *at = *place;
                            true
                        }
                        _ => false,
                    },
                });
                if there {
                    document.relations.push(relation);
                } else {
                    faults.push(malformed(format!("relation {number} refers to a mention that was left out")));
                }
            }
        }
    }
}

/// Reads `[0, 7, "Chemical"]` or an object.
fn read_mention(item: &Value, text: &str, index: &CharIndex, faults: &mut Vec<Fault>) -> Result<Mention, Fault> {
    let first_of = |keys: [&str; 2]| keys.into_iter().find_map(|key| item.get(key));
    let (start, end, label) = match item {
        Value::Array(parts) => (parts.first(), parts.get(1), parts.get(2)),
        Value::Object(_) => {
            (first_of(["start", "start_offset"]), first_of(["end", "end_offset"]), first_of(["label", "type"]))
        }
        _ => return Err(not_read("a label for the whole text")),
    };
    let label = label.and_then(Value::as_str).filter(|label| !label.is_empty());
    let label = label.ok_or_else(|| malformed("missing label"))?;
    let fragments = match item.get("fragments") {
        None => vec![read_span(start, end).ok_or_else(|| malformed("start and end must be whole numbers"))?],
        Some(fragments) => read_spans(fragments, index)
            .filter(|fragments| !fragments.is_empty())
            .ok_or_else(|| malformed("fragments must be ascending spans inside the text"))?,
    };
    for fragment in &fragments {
        if fragment.is_empty() {
            return Err((DiagnosticKind::OffsetOutOfRange, format!("the mention at {fragment} is empty")));
        }
        let Some(found) = index.slice(text, *fragment) else {
            let message = format!("{fragment} reaches outside the document of {} characters", index.len());
            return Err((DiagnosticKind::OffsetOutOfRange, message));
        };
        let given = item.get("text").and_then(Value::as_str);
        if fragments.len() == 1 && given.is_some_and(|given| given != found) {
            let message = format!("its text differs from the document's at {fragment}");
            return Err((DiagnosticKind::TextMismatch, message));
        }
    }
    let mut mention = Mention { fragments, ..Mention::new(Span::new(0, 0), label) };
    for id in item.get("concept_ids").and_then(Value::as_array).into_iter().flatten() {
        match scalar(id) {
            Some(id) => mention.concept_ids.push(id),
            None => faults.push(not_read("a concept id that is neither a string nor a number")),
        }
    }
    if let Some(attributes) = item.get("attributes") {
        mention.attributes = read_attributes(attributes, faults);
    }
    read_wire_attributes(item, &mut mention.attributes);
    if let Some(confidence) = item.get("confidence").filter(|value| !value.is_null()) {
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
    for key in ["category", "below_threshold"] {
        attributes.extend(item.get(key).and_then(scalar).map(|value| (key.to_owned(), value)));
    }
}

fn read_passage(value: &Value, index: &CharIndex) -> Option<Passage> {
    let span = read_span(value.get("start"), value.get("end"))?;
    index.bytes(span)?;
    Some(Passage { kind: value.get("kind")?.as_str()?.to_owned(), span })
}

/// Reads `[[0, 7], [8, 11]]`, which must be ascending and inside the text.
fn read_spans(value: &Value, index: &CharIndex) -> Option<Vec<Span>> {
    let spans = value.as_array()?.iter().map(|pair| read_span(pair.get(0), pair.get(1)));
    let spans: Vec<Span> = spans.collect::<Option<_>>()?;
    let ascend = spans.windows(2).all(|pair| pair[0].end <= pair[1].start);
    (ascend && spans.iter().all(|&span| index.bytes(span).is_some())).then_some(spans)
}

fn read_span(start: Option<&Value>, end: Option<&Value>) -> Option<Span> {
    let position = |value: Option<&Value>| usize::try_from(value?.as_u64()?).ok();
    Some(Span::new(position(start)?, position(end)?))
}

fn read_attributes(value: &Value, faults: &mut Vec<Fault>) -> BTreeMap<String, String> {
    let mut attributes = BTreeMap::new();
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
/// out.
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
            let mut reader = Reader::new(line.as_bytes(), Path::new("x.jsonl"));
            let document = crate::format::Reader::next_document(&mut reader).expect("read").expect("a document");
            assert_eq!(crate::format::Reader::take_diagnostics(&mut reader).0, []);
            document
        };
        assert_eq!(read(before), read(now));
        assert_eq!(read(now).mentions[0].attributes["models"], "a|b");
        let bytes = r#"{"id":"1","offsets":"bytes","text":"é fever","mentions":[{"start":3,"end":8,"text":"fever","type":"Disease"}]}"#;
        assert_eq!(read(bytes).mentions[0].span(), Span::new(2, 7));
    }

    #[test]
    fn the_shapes_of_other_tools() {
        check("", &[], &[]);
        // A byte-order mark, CRLF, empty lines; a numeric id, and none.
        check(
            "\u{feff}{\"id\": 7, \"text\": \"a\"}\r\n\r\n{\"text\": \"b\", \"spans\": null}",
            &[("7 a", &[]), ("3 b", &[])],
            &[],
        );
        // Prodigy.
        let prodigy = r#"{"text":"äb c","_input_hash":1,"meta":{"x":1},"tokens":[{"text":"äb","start":0,"end":2,"id":0}],
            "spans":[{"start":3,"end":4,"token_start":1,"token_end":1,"label":"X"}],"answer":"accept"}"#;
        check(&prodigy.replace('\n', ""), &[("1 äb c", &["3..4 X"])], &[]);
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
        check(r#"["ab", {"entities": [[0, 2, "X"]]}]"#, &[("1 ab", &["0..2 X"])], &[]);
        check(r#"{"text": "ab", "entities": [[0, 2, "X", "Q1"]]}"#, &[("1 ab", &["0..2 X"])], &[]);
        // Sentence by sentence, nested.
        check(
            r#"{"pmid":"7","sentences":[{"text":"äb"},{"text":"cd","entities":[{"start":0,"end":2,"type":"X"},{"start":1,"end":2,"type":"Y"},{"start":1,"end":3,"type":"Y"}]}]}"#,
            &[("7 äb\ncd", &["3..5 X", "4..5 Y"])],
            &["in.jsonl:1: document 7: malformed line: a sentence has an entity without a type, or outside its text"],
        );
    }

    #[test]
    fn unsupported_parts_are_noted() {
        let fault = |what: &str| format!("in.jsonl:1: document 1: not supported, left out: {what}");
        let label = fault("a label for the whole text");
        check(r#"{"text":"a","label":"X"}"#, &[("1 a", &[])], &[&label]);
        check(r#"{"text":"a","label":["X"]}"#, &[("1 a", &[])], &[&fault("span 0: a label for the whole text")]);
        check(r#"{"text":"a","cats":{"X":1},"accept":["Y"]}"#, &[("1 a", &[])], &[&fault("2 unknown keys")]);
        let relations = r#"{"text":"a","relations":[{"head":0,"child":0,"label":"R"}]}"#;
        check(relations, &[("1 a", &[])], &[&fault("relation 0 has an unknown form")]);
        let attributes = r#"{"text":"a","attributes":{"x":true,"y":[]}}"#;
        check(attributes, &[("1 a", &[])], &[&fault("an attribute whose value is a list or an object")]);
        assert_eq!(read(attributes).0[0].attributes["x"], "true");
    }

    #[test]
    fn faults_are_noted_with_their_line_and_valid_parts_kept() {
        let deep = "[".repeat(100_000);
        for (line, column) in [("{\"text\": \"se", 12), ("secret", 1), (r#"{"text":"\ud800"}"#, 16), (&deep, 128)] {
            let fault = format!("in.jsonl:1: malformed line: invalid JSON from column {column}");
            check(&format!("{line}\n{{\"text\":\"a\"}}"), &[("2 a", &[])], &[&fault]);
        }
        let whole = |line: &str, fault: &str| {
            check(line, &[], &[&format!("in.jsonl:1: malformed line: {fault}")]);
        };
        whole("17", "must be an object, or a list of a text and an object");
        whole(r#"["a", {}, 1]"#, "must be an object, or a list of a text and an object");
        whole(r#"{"id":[],"text":"a"}"#, "the id must be a string or a number");
        check(r#"{"id":"7"}"#, &[], &["in.jsonl:1: document 7: malformed line: missing text"]);
        let table = [
            (r#"{"start":0,"end":1}"#, "malformed line: span 0: missing label"),
            (r#"{"start":0,"end":1,"label":""}"#, "malformed line: span 0: missing label"),
            (r#"[0,"1","X"]"#, "malformed line: span 0: start and end must be whole numbers"),
            (r#"[-1,1,"X"]"#, "malformed line: span 0: start and end must be whole numbers"),
            (r#"[0,1e30,"X"]"#, "malformed line: span 0: start and end must be whole numbers"),
            (r#"[1,1,"X"]"#, "offset out of range: span 0: the mention at 1..1 is empty"),
            (r#"[3,1,"X"]"#, "offset out of range: span 0: the mention at 3..1 is empty"),
            (r#"[0,5,"X"]"#, "offset out of range: span 0: 0..5 reaches outside the document of 4 characters"),
            (
                r#"{"start":0,"end":1,"text":"b","label":"X"}"#,
                "text does not match the offsets: span 0: its text differs from the document's at 0..1",
            ),
            (
                r#"{"fragments":[[2,3],[0,1]],"label":"X"}"#,
                "malformed line: span 0: fragments must be ascending spans inside the text",
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
