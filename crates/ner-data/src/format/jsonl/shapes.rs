//! The shapes in which other tools export documents, rewritten as our own keys before they are read.

use super::{Fault, malformed, not_read};
use crate::DiagnosticKind;
use serde_json::{Map, Value, json};

/// Keys of lists of mentions.
pub(super) const MENTIONS: &[&str] =
    &["spans", "mentions", "entities", "labels", "label", "denotations", "ents", "annotations", "annotation"];

/// Keys of objects that hold the text: Label Studio's and Argilla's.
const TEXT_HOLDERS: &[&str] = &["data", "fields"];

/// Keys of lists of documents.
const DOCUMENTS: &[&str] = &["data", "documents", "docs", "examples", "items", "notes", "records", "rows", "texts"];

/// Exports that medner does not read: keys that tell them, and what to do.
const REFUSED: &[(&[&str], &str)] = &[
    (
        &["%FEATURE_STRUCTURES"],
        "a UIMA CAS (INCEpTION) is not supported; export brat, CoNLL 2002 or WebAnno's CoNLL instead",
    ),
    (
        &["tokens", "ner_tags"],
        "words and tags of Hugging Face's datasets are not supported; write a word, a tab and its tag on each line, and \
         pass --from conll",
    ),
    (&["tokenized_text", "ner"], "GLiNER's words are not supported; write `text`, and `spans` with character offsets"),
];

/// Why this object is an export that medner does not read.
pub(super) fn refusal(object: &Map<String, Value>) -> Option<&'static str> {
    let has_all = |keys: &[&str]| keys.iter().all(|key| object.contains_key(*key));
    REFUSED.iter().find(|(keys, _)| has_all(keys)).map(|(_, what)| *what)
}

/// The documents that a value holds: the items of its only list of documents, if it has no text itself.
pub(super) fn documents_in(value: Value, has_text: impl Fn(&Value) -> bool) -> Vec<Value> {
    if has_text(&value) {
        return vec![value];
    }
    let Value::Object(mut object) = value else { return vec![value] };
    // Mentions have a text, too, so only known keys have documents. ner-annotator keeps pairs under a key of mentions.
    let is_list = |key: &str, value: &Value| {
        let is_document = |item: &Value| has_text(item) && (DOCUMENTS.contains(&key) || item.is_array());
        value.as_array().is_some_and(|items| items.iter().any(is_document))
    };
    let mut keys = object.iter().filter(|(key, value)| is_list(key, value)).map(|(key, _)| key.clone());
    match (keys.next(), keys.next()) {
        (Some(key), None) => match object.remove(&key) {
            // ner-annotator ends its list with null.
            Some(Value::Array(items)) => items.into_iter().filter(|item| !item.is_null()).collect(),
            _ => Vec::new(),
        },
        _ => vec![Value::Object(object)],
    }
}

/// Rewrites the shapes of other tools.
pub(super) fn rewrite(object: &mut Map<String, Value>, faults: &mut Vec<Fault>) {
    if let Some(message) = join_sentences(object) {
        faults.push(malformed(message));
    }
    read_label_studio(object, faults);
    read_argilla(object, faults);
}

/// Takes the text under `key` out of the object that a tool keeps it in.
pub(super) fn take_named_text(object: &mut Map<String, Value>, key: &str) {
    let text = TEXT_HOLDERS.iter().find_map(|holder| object.get(*holder)?.get(key)).cloned();
    if let Some(text) = text.filter(|_| !object.contains_key(key)) {
        object.insert(key.to_owned(), text);
    }
}

/// Takes `{"data": {"text": …}}` out of its object. A holder with one string and no `text` has no other text.
pub(super) fn take_text(object: &mut Map<String, Value>) {
    for holder in TEXT_HOLDERS {
        let Some(Value::Object(fields)) = object.get(*holder) else { continue };
        let mut strings = fields.iter().filter(|(_, value)| value.is_string());
        let text = match (fields.get("text"), strings.next(), strings.next()) {
            (Some(text @ Value::String(_)), ..) => text.clone(),
            (None, Some((_, text)), None) => text.clone(),
            _ => continue,
        };
        object.remove(*holder);
        object.insert("text".into(), text);
    }
}

/// Label Studio keeps the work of each annotator as a list of results.
fn read_label_studio(object: &mut Map<String, Value>, faults: &mut Vec<Fault>) {
    let key = ["annotations", "completions"].into_iter().find(|key| {
        let works = object.get(*key).and_then(Value::as_array);
        works.is_some_and(|works| works.iter().any(|work| work.get("result").is_some()))
    });
    let Some(Value::Array(works)) = key.and_then(|key| object.remove(key)) else { return };
    let is_done = |work: &&Value| work.get("was_cancelled") != Some(&Value::Bool(true));
    let mut done = works.iter().filter(is_done);
    let results = done.next().and_then(|work| work.get("result")?.as_array()).cloned().unwrap_or_default();
    let more = done.count();
    if more > 0 {
        let message = format!("the work of {more} further annotators; only that of the first is read");
        faults.push((DiagnosticKind::UnknownAnnotation, message));
    }
    let (mut spans, mut relations, mut others) = (Vec::new(), Vec::new(), 0);
    for mut result in results {
        match result.get("type").and_then(Value::as_str) {
            Some("relation") => relations.push(result),
            _ if result.pointer("/value/start").is_some() => {
                let mut span = result["value"].take();
                span["id"] = result["id"].take();
                spans.push(span);
            }
            _ => others += 1,
        }
    }
    if others > 0 {
        faults.push(not_read(format!("{others} results that are no spans")));
    }
    object.insert("spans".into(), spans.into());
    if !relations.is_empty() {
        object.insert("relations".into(), relations.into());
    }
}

/// Argilla keeps spans as the value of a question, by annotator.
fn read_argilla(object: &mut Map<String, Value>, faults: &mut Vec<Fault>) {
    let Some(Value::Object(responses)) = object.remove("responses") else { return };
    let is_spans = |value: &Value| {
        let items = value.get("value").and_then(Value::as_array);
        items.is_some_and(|items| items.iter().any(|item| item.get("start").is_some()))
    };
    let mut found = responses.into_iter().flat_map(|(_, answers)| match answers {
        Value::Array(answers) => answers,
        answer => vec![answer],
    });
    let spans = found.by_ref().find(is_spans);
    let more = found.filter(is_spans).count();
    if more > 0 {
        let message = format!("{more} further responses with spans; only the first is read");
        faults.push((DiagnosticKind::UnknownAnnotation, message));
    }
    if let Some(mut spans) = spans {
        object.insert("spans".into(), spans["value"].take());
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

/// Whether a value under an unknown key looks like a list of mentions.
pub(super) fn looks_like_mentions(value: &Value) -> bool {
    const POSITIONS: &[&str] =
        &["start", "begin", "start_offset", "start_char", "startOffset", "beginOffset", "offset", "offsets", "span"];
    let is_mention = |item: &Value| match item {
        Value::Object(object) => POSITIONS.iter().any(|key| object.contains_key(*key)),
        Value::Array(parts) => {
            parts.iter().filter(|part| part.is_number()).count() >= 2 && parts.iter().any(Value::is_string)
        }
        _ => false,
    };
    match value {
        Value::Array(items) => items.iter().any(is_mention),
        // By type or by id: {"Disease": [[0, 7]]}.
        Value::Object(lists) => lists.values().any(|list| match list {
            Value::Array(items) => {
                items.iter().any(|item| is_mention(item) || item.as_array().is_some_and(|pair| is_pair(pair)))
            }
            item => is_mention(item),
        }),
        _ => false,
    }
}

/// The tags of words that stand beside them under another key: as many as there are words.
pub(super) fn tags_of_words(object: &Map<String, Value>) -> Option<&'static str> {
    let list = |key: &str| object.get(key).and_then(Value::as_array).filter(|items| !items.is_empty());
    let words = ["tokens", "words"].into_iter().find_map(list)?;
    let is_tags = |key: &&str| {
        list(key)
            .is_some_and(|tags| tags.len() == words.len() && tags.iter().all(|tag| tag.is_string() || tag.is_number()))
    };
    ["tags", "ner_tags", "labels", "label", "ner"].into_iter().find(is_tags)
}

fn is_pair(parts: &[Value]) -> bool {
    parts.len() == 2 && parts.iter().all(Value::is_number)
}
