//! BioC XML: a `<collection>` of documents, passages and annotations, as in NCBI's tools and the BioCreative tasks.
//!
//! ```xml
//! <collection><source>PubTator</source><date/><key/>
//! <document><id>227508</id>
//! <passage><infon key="type">title</infon><offset>0</offset>
//! <text>Naloxone reverses the antihypertensive effect of clonidine.</text>
//! <annotation id="0"><infon key="type">Chemical</infon><infon key="identifier">D009270</infon>
//! <location offset="0" length="8"/><text>Naloxone</text></annotation>
//! </passage></document></collection>
//! ```
//!
//! `bioc.rs` explains the semantics. The file is decoded as its byte-order mark or XML declaration says. Only XML's predefined
//! entities are resolved, so that a document type can neither open files nor expand. Broken markup costs the document
//! that contains it.

use super::bioc::{self, Element, Part};
use super::encoding::Decoded;
use super::faults::Faults;
use super::offsets::OffsetUnit;
use super::utf8::Utf8;
use super::{Expressed, Output};
use crate::{DiagnosticKind, Diagnostics, Document};
use quick_xml::escape::{escape, resolve_xml_entity, unescape};
use quick_xml::events::{BytesRef, BytesStart, Event};
use std::io::{self, BufRead, ErrorKind, Write};
use std::path::Path;

/// Whether `text` is the beginning of a file in this format.
pub(super) fn begins(text: &str) -> bool {
    text.starts_with('<') && text.contains("<collection")
}

/// Reads documents one at a time, in constant memory.
pub struct Reader<R> {
    xml: quick_xml::Reader<Utf8<Decoded<R>>>,
    faults: Faults,
    unit: OffsetUnit,
    /// Line where the last returned document begins.
    first_line: usize,
    /// Whether any BioC element was found.
    is_bioc: bool,
    /// Whether the collection has begun and not ended.
    is_open: bool,
    is_done: bool,
}

impl<R: BufRead> super::Reader for Reader<R> {
    fn next_document(&mut self) -> io::Result<Option<Document>> {
        while let Some(element) = self.next_element()? {
            self.first_line = element.line;
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
        let input = self.xml.get_mut();
        let lines = input.take_invalid_lines();
        self.faults.invalid_utf8(lines, input.advice());
        self.faults.take()
    }
}

/// A document that is being read.
#[derive(Default)]
struct Open {
    /// The document, its open child element, that element's open child, and so on.
    elements: Vec<Element>,
    /// The open value or infon of the last of them.
    leaf: Option<Leaf>,
    /// Number of open elements that BioC does not allow there.
    unknown: usize,
}

struct Leaf {
    /// `None` for an infon.
    name: Option<&'static str>,
    key: String,
    text: String,
}

impl<R: BufRead> Reader<R> {
    /// A reader of `input`; diagnostics report `file` as its name.
    pub fn new(input: R, file: &Path, unit: OffsetUnit) -> Self {
        let mut xml = quick_xml::Reader::from_reader(Utf8::new(Decoded::xml(input)));
        xml.config_mut().expand_empty_elements = true;
        Self { xml, faults: Faults::new(file), unit, first_line: 0, is_bioc: false, is_open: false, is_done: false }
    }

    /// The next document element.
    fn next_element(&mut self) -> io::Result<Option<Element>> {
        let mut open = Open::default();
        let mut buffer = Vec::new();
        let mut is_broken = false;
        let mut broken_at = None;
        while !self.is_done {
            buffer.clear();
            let event = self.xml.read_event_into(&mut buffer);
            let line = self.xml.get_ref().line();
            let is_sound = match event {
                Ok(Event::Eof) => {
                    self.end(line, &open);
                    false
                }
                Ok(Event::Start(tag)) if open.elements.is_empty() => match tag.local_name().as_ref() {
                    b"document" => {
                        (self.is_bioc, is_broken) = (true, false);
                        open.elements.push(Element::new(&bioc::DOCUMENT, line));
                        true
                    }
                    b"infon" if !is_broken => {
                        self.faults.note(DiagnosticKind::NotRead, line, None, "an infon of the collection");
                        true
                    }
                    name => {
                        let is_collection = name == b"collection";
                        self.is_bioc |= is_collection;
                        self.is_open |= is_collection;
                        true
                    }
                },
                Ok(Event::End(tag)) if open.elements.is_empty() => {
                    self.is_open &= tag.local_name().as_ref() != b"collection";
                    true
                }
                Ok(Event::Start(tag)) => open.start(&tag, line).is_some(),
                Ok(Event::End(_)) => {
                    if let Some(document) = open.end() {
                        return Ok(Some(document));
                    }
                    true
                }
                Ok(Event::Text(text)) => text.xml10_content().map(|text| open.text(&text)).is_ok(),
                Ok(Event::CData(text)) => text.xml10_content().map(|text| open.text(&text)).is_ok(),
                Ok(Event::GeneralRef(reference)) => {
                    let character = resolve(&reference);
                    if character.is_none() && !open.elements.is_empty() {
                        let message = "an unknown entity or invalid character reference; read as U+FFFD";
                        self.faults.note(DiagnosticKind::MalformedLine, line, None, message);
                    }
                    open.text(character.as_deref().unwrap_or("\u{fffd}"));
                    true
                }
                Ok(_) => true,
                // The encoding is refused.
                Err(quick_xml::Error::Io(error))
                    if error.kind() == ErrorKind::InvalidData && self.xml.buffer_position() == 0 =>
                {
                    self.faults.note(DiagnosticKind::InvalidUtf8, line, None, format!("{error}; nothing was read"));
                    self.is_done = true;
                    false
                }
                Err(quick_xml::Error::Io(error)) => return Err(io::Error::new(error.kind(), error)),
                Err(_) => {
                    let at = Some(self.xml.buffer_position());
                    self.is_done = broken_at == at;
                    broken_at = at;
                    if self.is_done {
                        let message = "the rest of the file is not readable XML";
                        self.faults.note(DiagnosticKind::MalformedLine, line, None, message);
                    }
                    false
                }
            };
            if !is_sound && !self.is_done && !is_broken {
                let lost = if open.elements.is_empty() { "" } else { "; its document was left out" };
                let message = format!("the markup is not well-formed{lost}");
                self.faults.note(DiagnosticKind::MalformedLine, line, None, message);
            }
            if !is_sound {
                is_broken = true;
                open = Open::default();
            }
        }
        Ok(None)
    }

    /// Reports faults at the end of the file.
    fn end(&mut self, line: usize, open: &Open) {
        self.is_done = true;
        let message = match open.elements.first() {
            Some(document) => {
                format!("the file ends inside the document of line {}, which was left out", document.line)
            }
            None if !self.is_bioc && self.xml.buffer_position() > 0 => "not BioC XML: no collection".into(),
            None if self.is_open => "the file ends before the end of its collection; it may be cut off".into(),
            None => return,
        };
        let line = if self.is_bioc { line } else { 1 };
        self.faults.note(DiagnosticKind::MalformedLine, line, None, message);
    }
}

impl Open {
    /// Opens an element inside the document. `None` if its attributes are malformed.
    fn start(&mut self, tag: &BytesStart, line: usize) -> Option<()> {
        let parent = self.elements.last_mut()?;
        let local_name = tag.local_name();
        let name = std::str::from_utf8(local_name.as_ref()).ok()?;
        if self.unknown > 0 || self.leaf.is_some() {
            parent.unknown += usize::from(self.unknown == 0);
            self.unknown += 1;
        } else if name == "infon" && parent.shape.has_infons() {
            let key = attributes(tag)?.into_iter().find(|(name, _)| name == "key");
            self.leaf =
                Some(Leaf { name: None, key: key.map(|(_, key)| key).unwrap_or_default(), text: String::new() });
        } else if let Some(leaf) = parent.shape.leaf(name) {
            self.leaf = Some(Leaf { name: Some(leaf), key: String::new(), text: String::new() });
        } else if let Some(shape) = parent.shape.child(|shape| shape.name == name) {
            let mut element = Element::new(shape, line);
            for (name, value) in attributes(tag)? {
                match shape.attributes.iter().find(|attribute| **attribute == name) {
                    Some(attribute) => element.set(attribute, value),
                    None => element.unknown += 1,
                }
            }
            self.elements.push(element);
        } else {
            parent.unknown += 1;
            self.unknown += 1;
        }
        Some(())
    }

    /// Closes the current element; returns the document if it was that.
    fn end(&mut self) -> Option<Element> {
        if self.unknown > 0 {
            self.unknown -= 1;
        } else if let Some(Leaf { name, key, text }) = self.leaf.take() {
            let parent = self.elements.last_mut()?;
            match name {
                Some(name) => parent.set(name, text),
                None => parent.infons.push((key, text)),
            }
        } else {
            let element = self.elements.pop()?;
            match self.elements.last_mut() {
                Some(parent) => parent.children.push(element),
                None => return Some(element),
            }
        }
        None
    }

    fn text(&mut self, text: &str) {
        // Text inside markup belongs to the text around it.
        if self.unknown > 0 && self.leaf.is_none() {
            return;
        }
        match (&mut self.leaf, self.elements.last_mut()) {
            (Some(leaf), _) => leaf.text.push_str(text),
            (None, Some(element)) => element.unknown += usize::from(!text.trim().is_empty()),
            (None, None) => {}
        }
    }
}

/// The names and values of a tag's attributes. `None` if they are malformed.
fn attributes(tag: &BytesStart) -> Option<Vec<(String, String)>> {
    let mut attributes = Vec::new();
    // Without checks, which compare each name with all previous ones.
    for attribute in tag.attributes().with_checks(false) {
        let attribute = attribute.ok()?;
        let name = std::str::from_utf8(attribute.key.local_name().into_inner()).ok()?.to_owned();
        let value = unescape(std::str::from_utf8(&attribute.value).ok()?).ok()?.into_owned();
        attributes.push((name, value));
    }
    Some(attributes)
}

/// The text of a reference, if XML predefines it.
fn resolve(reference: &BytesRef) -> Option<String> {
    match reference.resolve_char_ref() {
        Ok(Some(character)) => Some(character.into()),
        Ok(None) => resolve_xml_entity(&reference.decode().ok()?).map(str::to_owned),
        Err(_) => None,
    }
}

/// Converts a document to what this format can represent.
///
/// Characters that XML forbids become spaces if they are white space, and U+FFFD otherwise, which preserves all
/// offsets. Passages are sorted; those that overlap an earlier one are left out, and so are sentences that overlap or
/// cross a passage boundary. Mentions are sorted by the passage or sentence in which they begin; of mentions with the
/// same position and type, the first is kept. Overlapping fragments are merged. Concept ids that would be read as none
/// or several are left out, and so are attributes that would be read as types, ids or parts of a composite. Relations
/// between concepts lose their roles unless these are distinct infons; relations between a mention and a concept are
/// left out.
pub fn express(document: &Document) -> Expressed {
    bioc::express(document, to_valid)
}

/// Replaces the characters of `text` that XML forbids (XML 1.0, section 2.2).
fn to_valid(text: &str) -> String {
    let is_sayable = |c: char| matches!(c, '\t' | '\n' | '\r' | ' '..) && !matches!(c, '\u{fffe}' | '\u{ffff}');
    let replacement = |c: char| if c.is_whitespace() { ' ' } else { char::REPLACEMENT_CHARACTER };
    text.chars().map(|c| if is_sayable(c) { c } else { replacement(c) }).collect()
}

/// Writes documents into one collection, one element per line.
pub struct Sink<'w> {
    out: Output<'w>,
    is_first: bool,
}

impl<'w> Sink<'w> {
    /// A sink that writes to `out`.
    pub const fn new(out: Output<'w>) -> Self {
        Self { out, is_first: true }
    }

    fn begin(&mut self) -> io::Result<()> {
        if std::mem::replace(&mut self.is_first, false) {
            writeln!(self.out, r#"<?xml version="1.0" encoding="UTF-8"?>"#)?;
            writeln!(self.out, r#"<!DOCTYPE collection SYSTEM "BioC.dtd">"#)?;
            writeln!(self.out, "<collection>\n<source>medner</source>\n<date></date>\n<key></key>")?;
        }
        Ok(())
    }
}

impl super::Sink for Sink<'_> {
    fn write(&mut self, document: &Document) -> io::Result<()> {
        self.begin()?;
        write_element(&mut self.out, &bioc::element(document))
    }

    fn finish(mut self: Box<Self>) -> io::Result<()> {
        self.begin()?;
        writeln!(self.out, "</collection>")?;
        self.out.finish()
    }
}

fn write_element(out: &mut impl Write, element: &Element) -> io::Result<()> {
    let name = element.shape.name;
    write!(out, "<{name}")?;
    for attribute in element.shape.attributes {
        write!(out, " {attribute}=\"{}\"", escape_attribute(element.value(attribute).unwrap_or_default()))?;
    }
    if element.shape.parts.is_empty() {
        return writeln!(out, "/>");
    }
    writeln!(out, ">")?;
    for part in element.shape.parts {
        match part {
            Part::Infons => {
                for (key, value) in &element.infons {
                    writeln!(out, "<infon key=\"{}\">{}</infon>", escape_attribute(key), escape_text(value))?;
                }
            }
            Part::Leaf(leaf) => {
                if let Some(value) = element.value(leaf) {
                    writeln!(out, "<{leaf}>{}</{leaf}>", escape_text(value))?;
                }
            }
            Part::Children(shape) => {
                for child in element.children(shape) {
                    write_element(out, child)?;
                }
            }
        }
    }
    writeln!(out, "</{name}>")
}

/// XML readers turn a carriage return into a line break.
fn escape_text(text: &str) -> String {
    escape(text).replace('\r', "&#13;")
}

/// XML readers turn all white space in attributes into spaces.
fn escape_attribute(text: &str) -> String {
    escape_text(text).replace('\n', "&#10;").replace('\t', "&#9;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::{Format, FormatOptions, Reader as _, round_trip};
    use proptest::collection::vec;
    use proptest::prelude::*;
    use proptest::sample::select;

    fn parse(input: &[u8]) -> (Vec<Document>, Vec<String>) {
        let mut reader = Reader::new(input, Path::new("in.xml"), OffsetUnit::default());
        let documents = std::iter::from_fn(|| reader.next_document().expect("memory can be read")).collect();
        (documents, reader.take_diagnostics().0.iter().map(ToString::to_string).collect())
    }

    /// `documents`: each as `ID text`. `faults`: as printed, without the name of the file.
    fn check(input: &str, documents: &[&str], faults: &[&str]) {
        let (found, printed) = parse(input.as_bytes());
        let faults: Vec<String> = faults.iter().map(|fault| format!("in.xml:{fault}")).collect();
        assert_eq!(printed, faults, "{input}");
        let shown: Vec<String> = found.iter().map(|document| format!("{} {}", document.id, document.text)).collect();
        assert_eq!(shown, documents, "{input}");
    }

    fn document(id: &str, text: &str) -> String {
        format!("<document><id>{id}</id><passage><offset>0</offset><text>{text}</text></passage></document>")
    }

    #[test]
    fn markup_in_all_its_forms() {
        check("", &[], &[]);
        check("<collection/>", &[], &[]);
        let one =
            |text: &str| format!("\u{feff}<?xml version='1.0'?>\r\n<collection>{}</collection>", document("1", text));
        check(&one("a &amp; &#98;&#x1D6FC;<!-- c --><![CDATA[<d>&amp;]]> "), &["1 a & b𝛼<d>&amp; "], &[]);
        // Line breaks as in XML: one character, unless they are written as references.
        check(&one("a\r\nb\rc&#13;&#10;d"), &["1 a\nb\nc\r\nd"], &[]);
        check(&one(""), &["1 "], &[]);
        check("<document><id/><passage><offset>2</offset></passage></document>", &["   "], &[]);
        check("<b:collection xmlns:b='x'><b:document><b:id>1</b:id></b:document></b:collection>", &["1 "], &[]);
        let (documents, _) = parse(b"<document><infon key='a&#10;&quot;'>b</infon><id>1</id></document>");
        assert_eq!(documents[0].attributes, [("a\n\"".to_owned(), "b".to_owned())].into());
    }

    #[test]
    fn faults_are_noted_with_their_line_and_valid_parts_kept() {
        let (one, two) = (document("1", "a"), document("2", "b"));
        let broken = "malformed line: the markup is not well-formed; its document was left out";
        let entity = "malformed line: an unknown entity or invalid character reference; read as U+FFFD";
        let unknown = "not supported, left out: unknown elements: 1";
        let table: &[(String, &[&str], &[String])] = &[
            ("a plain text\n".into(), &[], &["1: malformed line: not BioC XML: no collection".into()]),
            (format!("{one}\n<document><id>2</id>\n<pass"), &["1 a"], &[format!("3: {broken}")]),
            (
                format!("{one}\n<document><id>2</id>\n<passage>"),
                &["1 a"],
                &["3: malformed line: the file ends inside the document of line 2, which was left out".into()],
            ),
            (format!("<document>\n<id>1</passage></document>\n{two}"), &["2 b"], &[format!("2: {broken}")]),
            (format!("<document>\n<infon key=>x</infon></document>\n{two}"), &["2 b"], &[format!("2: {broken}")]),
            (format!("<document><infon key='&x;'/></document>\n{two}"), &["2 b"], &[format!("1: {broken}")]),
            (document("1", "a&nbsp;b"), &["1 a\u{fffd}b"], &[format!("1: {entity}")]),
            (document("1", "&#0;"), &["1 \u{fffd}"], &[format!("1: {entity}")]),
            (document("1", "<b>a</b>"), &["1 a"], &[format!("1: document 1: {unknown}")]),
            (format!("<document><id>1</id><x>{two}</x></document>"), &["1 "], &[format!("1: document 1: {unknown}")]),
            ("<document/>".into(), &[], &["1: malformed line: a document without an id; left out".into()]),
            (
                "<collection><infon key='a'>b</infon></collection>".into(),
                &[],
                &["1: not supported, left out: an infon of the collection".into()],
            ),
        ];
        for (input, documents, faults) in table {
            check(input, documents, &faults.iter().map(String::as_str).collect::<Vec<_>>());
        }
        let (documents, faults) = parse(b"<document><id>\xff</id></document>");
        assert_eq!(documents[0].id, "\u{fffd}");
        assert_eq!(faults.len(), 1);
        assert!(
            faults[0].starts_with("in.xml:1: invalid UTF-8: bytes that are not UTF-8; read as U+FFFD; if the file is")
        );
    }

    #[test]
    fn a_document_type_neither_opens_files_nor_grows() {
        let lol: String = (1..10).map(|n| format!("<!ENTITY l{n} '{}'>", format!("&l{};", n - 1).repeat(10))).collect();
        for entities in [format!("<!ENTITY l0 'lol'>{lol}"), "<!ENTITY l9 SYSTEM 'file:///etc/hostname'>".into()] {
            let input = format!("<!DOCTYPE collection [{entities}]>{}", document("1", "&l9;"));
            let (documents, faults) = parse(input.as_bytes());
            assert_eq!((documents[0].text.as_str(), faults.len()), ("\u{fffd}", 1));
        }
    }

    #[test]
    fn nesting_and_attributes_without_end_are_passed() {
        let deep = format!(
            "<document><id>1</id>{}{}</document>",
            "<passage><x>".repeat(50_000),
            "</x></passage>".repeat(50_000)
        );
        assert_eq!(parse(deep.as_bytes()).0[0].id, "1");
        let open = format!("<collection>{}", "<document><passage>".repeat(50_000));
        assert_eq!(parse(open.as_bytes()).0, []);
        let wide = format!("<document><id>1</id><passage{}/></document>", " a=''".repeat(50_000));
        assert_eq!(parse(wide.as_bytes()).0[0].id, "1");
    }

    proptest! {
        #[test]
        fn written_documents_are_read_back(documents in vec(round_trip::document(), 0..3)) {
            round_trip::check(Format::BiocXml, &FormatOptions::default(), &documents)?;
        }

        #[test]
        fn any_bytes_are_read_and_every_mention_lies_in_its_text(
            pieces in vec(prop_oneof![
                1 => vec(any::<u8>(), 0..6),
                9 => select(&[
                    "<collection>", "</collection>", "<document>", "</document>", "<id>1</id>", "<passage>",
                    "</passage>", "<offset>", "</offset>", "0", "1", "9", "99999999999999999999", "<text>", "</text>",
                    "aä𝛼", "\n", "&lt;", "&", "<sentence>", "</sentence>", "</annotation>",
                    "<annotation id='1'><infon key='type'>X</infon>", "<location offset='1' length='1'/>",
                    "<location offset='0' length='2'/>", "<relation><node refid='1'/>", "</relation>", "<!--",
                    "<![CDATA[", "<!DOCTYPE", "<?", ">", "/>", "<", "</",
                ][..]).prop_map(|piece| piece.as_bytes().to_vec()),
            ], 0..30)
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
