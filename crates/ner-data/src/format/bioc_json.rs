//! BioC JSON: a collection object with `documents`, in the form of the package `bioc` and of NCBI's exports.
//!
//! ```json
//! {"source": "PubTator", "date": "", "key": "", "infons": {}, "documents": [
//!   {"id": "227508", "infons": {}, "passages": [{"offset": 0, "infons": {"type": "title"}, "text": "Naloxone …",
//!     "annotations": [{"id": "0", "infons": {"type": "Chemical", "identifier": "D009270"},
//!       "locations": [{"offset": 0, "length": 8}], "text": "Naloxone"}], "sentences": [], "relations": []}],
//!    "annotations": [], "relations": []}]}
//! ```
//!
//! `bioc.rs` explains the semantics. Also reads standalone documents, one or several per file (PubTator's export, one
//! per line), lists of collections (PubMed Central's), and the object of PubTator3, which stores its documents under
//! its own name. Infon values that are not strings are read as their JSON, except objects with an `identifier`
//! (PubTator3's concepts), which are read as the identifier.

use super::bioc::{self, Element, Part, Shape};
use super::faults::Faults;
use super::json::{self, Scanner};
use super::offsets::OffsetUnit;
use super::{Expressed, Output};
use crate::{DiagnosticKind, Diagnostics, Document};
use serde_json::{Map, Value};
use std::io::{self, BufRead, Write};
use std::path::Path;

/// Keys of lists of documents.
const DOCUMENTS: &[&str] = &["documents", "PubTator3"];

/// Keys without information about a document: its kind of object (`bioc`).
const SILENT: &[&str] = &["bioctype"];

/// Values that are numbers in JSON.
const NUMBERS: &[&str] = &["offset", "length"];

/// Maximum nesting of lists and objects around a document. The deepest known form is a list of collections: list,
/// collection, list, document.
const MAX_DEPTH: usize = 8;

const STRAY: &str = "not JSON, or not BioC";
const UNENDED: &str = "an unterminated string or value";

/// Whether `text` is the beginning of a file in this format.
pub(super) fn begins(text: &str) -> bool {
    let has = |key: &str| text.contains(&format!("\"{key}\""));
    // Our own JSON lines have passages too, but without offsets.
    let has_documents = DOCUMENTS.iter().any(|key| has(key));
    let is_bioc = if has("passages") { has("offset") || has_documents } else { has_documents && !has("text") };
    text.starts_with(['{', '[']) && is_bioc
}

/// Reads documents one at a time, in constant memory.
pub struct Reader<R> {
    json: Scanner<R>,
    /// The open lists and objects.
    open: Vec<Level>,
    faults: Faults,
    unit: OffsetUnit,
    /// Line where the last returned document begins.
    first_line: usize,
}

enum Level {
    List,
    /// An object; its end shows whether it is a collection or a document.
    Object {
        line: usize,
        fields: Map<String, Value>,
        is_collection: bool,
        is_broken: bool,
    },
}

impl<R: BufRead> super::Reader for Reader<R> {
    fn next_document(&mut self) -> io::Result<Option<Document>> {
        while let Some((line, fields)) = self.next_object()? {
            self.first_line = line;
            let element = element(&bioc::DOCUMENT, fields, line);
            if let Some(document) = bioc::document(&element, self.unit, &mut self.faults) {
                return Ok(Some(document));
            }
        }
        Ok(None)
    }

    fn place(&self) -> (&Path, usize) {
        (self.faults.file(), self.first_line)
    }

    fn take_diagnostics(&mut self) -> Diagnostics {
        let lines = self.json.take_invalid_lines();
        self.faults.invalid_utf8(lines, self.json.advice());
        self.faults.take()
    }
}

impl<R: BufRead> Reader<R> {
    /// A reader of `input`; diagnostics report `file` as its name.
    pub fn new(input: R, file: &Path, unit: OffsetUnit) -> Self {
        let json = Scanner::new(input);
        Self { json, open: Vec::new(), faults: Faults::new(file), unit, first_line: 0 }
    }

    /// The fields of the next document, and its line.
    fn next_object(&mut self) -> io::Result<Option<(usize, Map<String, Value>)>> {
        loop {
            let Some(byte) = self.json.peek()? else {
                if !self.open.is_empty() {
                    self.give_up("the file ends inside a list or object");
                }
                return Ok(None);
            };
            match (byte, self.open.last_mut()) {
                (b',', _) => self.json.skip(),
                (b'[', None | Some(Level::List)) => self.push(Level::List)?,
                (b'{', None | Some(Level::List)) => {
                    let line = self.json.line();
                    let (is_collection, is_broken) = (false, false);
                    self.push(Level::Object { line, fields: Map::new(), is_collection, is_broken })?;
                }
                (b']', Some(Level::List)) => {
                    self.json.skip();
                    self.open.pop();
                }
                (b'}', Some(Level::Object { .. })) => {
                    self.json.skip();
                    if let Some(document) = self.close_object() {
                        return Ok(Some(document));
                    }
                }
                (b'"', Some(Level::Object { .. })) => self.field()?,
                _ => {
                    self.give_up(STRAY);
                    self.json.skip_line()?;
                }
            }
        }
    }

    fn push(&mut self, level: Level) -> io::Result<()> {
        self.json.skip();
        self.open.push(level);
        if self.open.len() > MAX_DEPTH {
            self.give_up("lists and objects nested deeper than in BioC");
            self.json.skip_line()?;
        }
        Ok(())
    }

    /// Notes a fault that ends the surrounding lists and objects.
    fn give_up(&mut self, message: &str) {
        let is_lost = self.open.iter().any(|level| matches!(level, Level::Object { is_collection: false, .. }));
        let lost = if is_lost { "; its document was left out" } else { "" };
        let line = self.json.line();
        self.faults.note(DiagnosticKind::MalformedLine, line, None, format!("{message}{lost}"));
        self.open.clear();
    }

    /// Closes the current object; returns it if it is a document.
    fn close_object(&mut self) -> Option<(usize, Map<String, Value>)> {
        let Some(Level::Object { line, fields, is_collection, is_broken }) = self.open.pop() else { return None };
        if is_collection || is_broken {
            let infons = fields.get("infons").and_then(Value::as_object);
            if infons.is_some_and(|infons| !infons.is_empty()) {
                self.faults.note(DiagnosticKind::NotRead, line, None, "the infons of a collection");
            }
            return None;
        }
        if fields.contains_key("passages") {
            return Some((line, fields));
        }
        let message = "an object that is neither a collection nor a document; left out";
        self.faults.note(DiagnosticKind::MalformedLine, line, None, message);
        None
    }

    /// Reads a key and its value, or everything up to the first document of a list of documents.
    fn field(&mut self) -> io::Result<()> {
        let line = self.json.line();
        let Some(key) = self.json.value()? else {
            self.give_up(UNENDED);
            return Ok(());
        };
        let (Ok(key), Some(b':')) = (serde_json::from_slice::<String>(&key), self.json.peek()?) else {
            self.give_up(STRAY);
            return self.json.skip_line();
        };
        self.json.skip();
        let begins_list = self.json.peek()? == Some(b'[');
        if begins_list && DOCUMENTS.contains(&key.as_str()) {
            if let Some(Level::Object { is_collection, .. }) = self.open.last_mut() {
                *is_collection = true;
            }
            return self.push(Level::List);
        }
        let Some(value) = self.json.value()? else {
            self.give_up(UNENDED);
            return Ok(());
        };
        let value = json::parse(&value);
        let Some(Level::Object { fields, is_broken, .. }) = self.open.last_mut() else { return Ok(()) };
        match value {
            Ok((value, repeated)) => {
                let repeated = repeated + usize::from(fields.contains_key(&key));
                fields.entry(key).or_insert(value);
                if repeated > 0 {
                    let message = format!("keys that repeat one of their object: {repeated}");
                    self.faults.note(DiagnosticKind::NotRead, line, None, message);
                }
            }
            Err(_) if *is_broken => {}
            Err(_) => {
                *is_broken = true;
                let message = "invalid JSON, or nested too deeply; its object was left out";
                self.faults.note(DiagnosticKind::MalformedLine, line, None, message);
            }
        }
        Ok(())
    }
}

/// Reads an object as an element, and counts the parts beyond its shape.
fn element(shape: &'static Shape, fields: Map<String, Value>, line: usize) -> Element {
    let mut element = Element::new(shape, line);
    for (key, value) in fields {
        let leaf = shape.leaf(&key).or_else(|| shape.attributes.iter().find(|name| **name == key).copied());
        match (leaf, shape.child(|child| child.plural == key), value) {
            (_, _, Value::Null) => {}
            (_, _, value) if is_empty(&value) || SILENT.contains(&key.as_str()) => {
                if let Some(leaf) = leaf.filter(|_| value.is_string()) {
                    element.set(leaf, String::new());
                }
            }
            (Some(leaf), _, Value::String(text)) => element.set(leaf, text),
            (Some(leaf), _, Value::Number(number)) => element.set(leaf, number.to_string()),
            (_, Some(child), Value::Array(values)) => {
                for value in values {
                    match value {
                        Value::Object(fields) => element.children.push(self::element(child, fields, line)),
                        _ => element.unknown += 1,
                    }
                }
            }
            (_, _, Value::Object(infons)) if key == "infons" && shape.has_infons() => {
                for (key, value) in infons.into_iter().filter(|(_, value)| !value.is_null()) {
                    let (value, others) = infon(value);
                    element.infons.push((key, value));
                    element.unknown += others;
                }
            }
            _ => element.unknown += 1,
        }
    }
    element
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::String(text) => text.is_empty(),
        Value::Array(values) => values.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        _ => false,
    }
}

/// The value of an infon, and the number of its parts that are not read: those of a concept beside its identifier.
fn infon(value: Value) -> (String, usize) {
    match value {
        Value::String(text) => (text, 0),
        Value::Object(mut concept) => match concept.remove("identifier") {
            Some(Value::String(identifier)) => (identifier, concept.values().filter(|value| !value.is_null()).count()),
            Some(identifier) => {
                concept.insert("identifier".into(), identifier);
                (Value::Object(concept).to_string(), 0)
            }
            None => (Value::Object(concept).to_string(), 0),
        },
        other => (other.to_string(), 0),
    }
}

/// Converts a document to what this format can represent.
///
/// Passages are sorted; those that overlap an earlier one are left out, and so are sentences that overlap or cross a
/// passage boundary. Mentions are sorted by the passage or sentence in which they begin; of mentions with the same
/// position and type, the first is kept. Overlapping fragments are merged. Concept ids that would be read as none or
/// several are left out, and so are attributes that would be read as types, ids or parts of a composite. Relations
/// between concepts lose their roles unless these are distinct infons; relations between a mention and a concept are
/// left out.
pub fn express(document: &Document) -> Expressed {
    bioc::express(document, str::to_owned)
}

/// Writes documents into one collection, one per line.
pub struct Sink<'w> {
    out: Output<'w>,
    is_first: bool,
}

impl<'w> Sink<'w> {
    /// A sink that writes to `out`.
    pub const fn new(out: Output<'w>) -> Self {
        Self { out, is_first: true }
    }

    /// Writes the text before a document, or before the end.
    fn begin(&mut self, separator: &str) -> io::Result<()> {
        if std::mem::replace(&mut self.is_first, false) {
            write!(self.out, r#"{{"source":"medner","date":"","key":"","infons":{{}},"documents":["#)
        } else {
            write!(self.out, "{separator}")
        }
    }
}

impl super::Sink for Sink<'_> {
    fn write(&mut self, document: &Document) -> io::Result<()> {
        self.begin(",")?;
        writeln!(self.out)?;
        serde_json::to_writer(&mut self.out, &object(&bioc::element(document))).map_err(io::Error::from)
    }

    fn finish(mut self: Box<Self>) -> io::Result<()> {
        self.begin("")?;
        writeln!(self.out, "\n]}}")?;
        self.out.finish()
    }
}

/// Converts an element to an object with all lists that it may have: `bioc` requires them.
fn object(element: &Element) -> Value {
    let mut fields = Map::new();
    let shape = element.shape;
    for name in shape.attributes {
        fields.extend(value(element, name));
    }
    for part in shape.parts {
        match part {
            Part::Infons => {
                let infons = element.infons.iter().map(|(key, value)| (key.clone(), Value::from(value.as_str())));
                fields.insert("infons".into(), infons.collect());
            }
            Part::Leaf(name) => fields.extend(value(element, name)),
            Part::Children(child) => {
                fields.insert(child.plural.into(), element.children(child).map(object).collect());
            }
        }
    }
    Value::Object(fields)
}

fn value(element: &Element, name: &str) -> Option<(String, Value)> {
    let value = element.value(name)?;
    let number = value.parse::<usize>().ok().filter(|_| NUMBERS.contains(&name));
    Some((name.into(), number.map_or_else(|| Value::from(value), Value::from)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::{Format, FormatOptions, Reader as _, round_trip};
    use crate::{Argument, Target};
    use proptest::collection::vec;
    use proptest::prelude::*;
    use proptest::sample::select;

    fn parse(input: &[u8]) -> (Vec<Document>, Vec<String>) {
        let mut reader = Reader::new(input, Path::new("in.json"), OffsetUnit::default());
        let documents = std::iter::from_fn(|| reader.next_document().expect("memory can be read")).collect();
        (documents, reader.take_diagnostics().0.iter().map(ToString::to_string).collect())
    }

    /// `documents`: each as `ID text`. `faults`: as printed, without the name of the file.
    fn check(input: &str, documents: &[&str], faults: &[&str]) {
        let (found, printed) = parse(input.as_bytes());
        let faults: Vec<String> = faults.iter().map(|fault| format!("in.json:{fault}")).collect();
        assert_eq!(printed, faults, "{input}");
        let shown: Vec<String> = found.iter().map(|document| format!("{} {}", document.id, document.text)).collect();
        assert_eq!(shown, documents, "{input}");
    }

    #[test]
    fn all_shapes_are_read() {
        let one = r#"{"id": "1", "passages": [{"offset": 0, "text": "a]}\"\\"}]}"#;
        let two = r#"{"id": 2, "passages": [{"text": "b", "offset": "1", "infons": null}], "infons": {}}"#;
        let both = &["1 a]}\"\\", "2  b"][..];
        check("", &[], &[]);
        check(" []\n", &[], &[]);
        check(&format!(r#"{{"source": "x", "documents": [{one},{two}], "infons": {{}}}}"#), both, &[]);
        check(&format!("\u{feff}{{\r\n\"documents\":\r\n[\r\n{one}\r\n,{two}]\r\n}}\r\n"), both, &[]);
        check(&format!("{one}\n{two}\n"), both, &[]);
        check(&format!("[{one}, {two}]"), both, &[]);
        check(&format!(r#"[{{"documents": [{one}]}}, {{"documents": [{two}]}}]"#), both, &[]);
        check(&format!(r#"{{"PubTator3": [{one}, {two}]}}"#), both, &[]);
        let pubtator3 = r#"{"_id": "3|None", "id": "3", "passages": [{"offset": 0, "text": "c", "annotations": [
            {"id": "1", "infons": {"type": "Gene", "identifier": "9;8", "valid": true, "accession": null},
             "locations": [{"offset": 0, "length": 1}], "text": "c"}]}], "relations": [{"id": "R1", "infons": {
            "score": "0.9", "role1": {"identifier": "9", "x": [1]}, "role2": {"identifier": "8"}, "type": "x"},
            "nodes": [{"refid": "0", "role": "0,1"}]}], "pmid": 3, "pmcid": null, "meta": {}}"#;
        let faults = [
            "1: document 3: not supported, left out: infons of relations: 1",
            "1: document 3: not supported, left out: nodes of relations between concepts: 1",
            "1: document 3: not supported, left out: unknown elements: 3",
        ];
        check(pubtator3, &["3 c"], &faults);
        let (documents, _) = parse(pubtator3.as_bytes());
        let mention = &documents[0].mentions[0];
        assert_eq!(mention.attributes, [("valid".to_owned(), "true".to_owned())].into());
        assert_eq!(mention.concept_ids, ["9", "8"]);
        let concept = |role: &str, id: &str| Argument { role: role.into(), target: Target::Concept(id.into()) };
        assert_eq!(documents[0].relations[0].arguments, [concept("role1", "9"), concept("role2", "8")]);
    }

    #[test]
    fn repeated_keys_are_noted() {
        let input = r#"{"id": "1", "id": "2", "passages": [{"offset": 0, "text": "a", "annotations": [{"infons":
            {"type": "X", "type": "Y"}, "locations": [{"offset": 0, "length": 1}], "text": "a"}]}]}"#;
        let fault = "1: not supported, left out: keys that repeat one of their object: 1";
        check(input, &["1 a"], &[fault, fault]);
        assert_eq!(parse(input.as_bytes()).0[0].mentions[0].entity_type, "X");
    }

    #[test]
    fn faults_are_noted_with_their_line_and_valid_parts_kept() {
        let one = r#"{"id": "1", "passages": []}"#;
        let table: &[(String, &[&str], &str)] = &[
            (format!("{one}\nnull\n{one}"), &["1 ", "1 "], "2: malformed line: not JSON, or not BioC"),
            (
                format!("[{one}, {{\"id\": 2}}]"),
                &["1 "],
                "1: malformed line: an object that is neither a collection nor a document; left out",
            ),
            (
                format!("[{one},\n{{\"passages\": []}}]"),
                &["1 "],
                "2: malformed line: a document without an id; left out",
            ),
            (
                format!("{{\"documents\": [{one},\n{{\"id\": \"2"),
                &["1 "],
                "2: malformed line: an unterminated string or value; its document was left out",
            ),
            (
                format!("{{\"documents\": [{one},\n"),
                &["1 "],
                "2: malformed line: the file ends inside a list or object",
            ),
            (
                format!("{{\"id\": \"2\n{one}"),
                &["1 "],
                "2: malformed line: an unterminated string or value; its document was left out",
            ),
            (
                format!("[{{\"id\": tru, \"passages\": []}}, {one}]"),
                &["1 "],
                "1: malformed line: invalid JSON, or nested too deeply; its object was left out",
            ),
            (
                format!("{}\n{one}", "[".repeat(9)),
                &["1 "],
                "1: malformed line: lists and objects nested deeper than in BioC",
            ),
            (
                format!("{{\"id\": 1, \"passages\": {}{}}}\n{one}", "[".repeat(100_000), "]".repeat(100_000)),
                &["1 "],
                "1: malformed line: invalid JSON, or nested too deeply; its object was left out",
            ),
            (
                format!("{{\"infons\": {{\"a\": 1}}, \"documents\": [{one}]}}"),
                &["1 "],
                "1: not supported, left out: the infons of a collection",
            ),
        ];
        for (input, documents, fault) in table {
            check(input, documents, &[fault]);
        }
        let (documents, faults) = parse(b"{\"id\": \"\xff\", \"passages\": []}");
        assert_eq!(documents[0].id, "\u{fffd}");
        assert_eq!(faults.len(), 1);
        assert!(
            faults[0].starts_with("in.json:1: invalid UTF-8: bytes that are not UTF-8; read as U+FFFD; if the file is")
        );
    }

    proptest! {
        #[test]
        fn written_documents_are_read_back(documents in vec(round_trip::document(), 0..3)) {
            round_trip::check(Format::BiocJson, &FormatOptions::default(), &documents)?;
        }

        #[test]
        fn any_bytes_are_read_and_every_mention_lies_in_its_text(
            pieces in vec(prop_oneof![
                1 => vec(any::<u8>(), 0..6),
                9 => select(&[
                    "{", "}", "[", "]", ",", ":", "\n", "\"", "\\", "\"id\":\"1\"", "\"documents\":[",
                    "\"passages\":[{", "\"offset\":", "0", "9", "99999999999999999999", "\"text\":\"aä𝛼\"",
                    "\"annotations\":[{", "\"locations\":[{\"offset\":1,\"length\":1}]", "null", "}]", "}]}",
                    "\"infons\":{\"type\":\"X\"}",
                ][..]).prop_map(|piece| piece.as_bytes().to_vec()),
            ], 0..24)
        ) {
            let (documents, _) = parse(&pieces.concat());
            for document in documents {
                let index = document.char_index();
                for mention in document.mentions {
                    prop_assert!(index.slice(&document.text, mention.span()).is_some_and(|text| !text.is_empty()));
                }
            }
        }
    }
}
