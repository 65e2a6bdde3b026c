//! brat standoff: a folder with a text NAME.txt and its annotation NAME.ann, one item per line.
//!
//! ```text
//! T1 ⇥ Disease 10 15;20 25 ⇥ renal failure
//! A1 ⇥ Negation T1
//! A2 ⇥ Certainty T1 possible
//! N1 ⇥ Reference T1 MESH:D051437 ⇥ Renal Insufficiency
//! R1 ⇥ causes Arg1:T2 Arg2:T1
//! #1 ⇥ AnnotatorNotes T1 ⇥ see the guideline
//! ```
//!
//! Subfolders are read as well: the id of a document is the path of its files, without the extension, which may be in
//! capitals. Ids that are too long for file names are shortened. Files whose names begin with a dot are ignored; links are followed. As in brat, a document without a .ann
//! file has its annotation in .a1, .a2, .co and .rel (BioNLP shared tasks). A text without annotation is a document
//! without mentions, and noted.
//!
//! Offsets count Unicode scalar values of the unchanged text of the file: CRLF is two characters, and the byte-order mark
//! of UTF-8 is part of the text, as in brat. Other units are an option. Format: <https://brat.nlplab.org/standoff.html>, and `server/src/annotation.py` for
//! what it leaves open.
//!
//! Reading: attributes (`A`, and `M` in old files) and notes (`#`) of mentions become their attributes, with the value
//! `true` if they have none. Ids of normalisations (`N`) become concept ids, without the resource if that is `ID`.
//! White space after the text of a mention is ignored; other columns after it are noted as not read, and so are
//! events (`E`), equivalences (`*`) and their attributes, as well as those of relations, are noted as not read.

use super::faults::Faults;
use super::file_names::{id_of_stem, short_id, stem_of_id};
use super::lines::Lines;
use super::offsets::{Fault, Locator, OffsetUnit};
use super::{Documents, Expressed, encoding, offsets};
use crate::{Argument, CharIndex, DiagnosticKind, Diagnostics, Document, Mention, Relation, Span, Target};
use fs_err as fs;
use itertools::Itertools;
use ner_files::NewFile;
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use walkdir::WalkDir;

const TEXT: &str = "txt";
const ANNOTATION: &str = "ann";

/// Endings of the files of a document. Those after the second are annotation in several files, which are read together if
/// there is no .ann file.
const ENDINGS: &[&str] = &[TEXT, ANNOTATION, "a1", "a2", "co", "rel"];

/// Value of an attribute without one.
const FLAG: &str = "true";

/// Kind of a note by a person.
const NOTES: &str = "AnnotatorNotes";

/// The attribute with the preferred names of the concepts, joined by `|`.
const CONCEPT_NAMES: &str = "concept_name";

/// The resource of a concept id without one: brat requires a resource.
const ANY_RESOURCE: &str = "ID:";

/// Id of a document without one.
const NO_ID: &str = "-";

/// The files of one document, by their endings in lower case.
type Files = BTreeMap<&'static str, PathBuf>;

/// Reads the documents of a folder one at a time, ordered by name.
pub struct Reader {
    /// With the path inside the folder, without an extension.
    documents: std::collections::btree_map::IntoIter<PathBuf, Files>,
    unit: OffsetUnit,
    /// Texts of documents without a text file.
    texts: HashMap<String, String>,
    /// The text file of the last returned document.
    place: PathBuf,
    diagnostics: Diagnostics,
}

impl Reader {
    /// Lists the folder. Offsets count `unit`.
    ///
    /// # Errors
    /// If the folder cannot be listed, or has files but none of this format.
    pub fn open(folder: &Path, unit: OffsetUnit) -> io::Result<Self> {
        let (documents, diagnostics) = gather(folder)?;
        let (documents, texts) = (documents.into_iter(), HashMap::new());
        Ok(Self { documents, unit, texts, place: folder.into(), diagnostics })
    }
}

/// The files of each document of a folder, by their path without an extension, and the faults of links.
fn gather(folder: &Path) -> io::Result<(BTreeMap<PathBuf, Files>, Diagnostics)> {
    if !fs::metadata(folder)?.is_dir() {
        let message = format!("{} is not a folder of brat's .txt and .ann files", folder.display());
        return Err(io::Error::new(ErrorKind::NotADirectory, message));
    }
    let mut documents: BTreeMap<PathBuf, Files> = BTreeMap::new();
    let mut diagnostics = Diagnostics::default();
    let mut other_files = 0;
    let is_hidden = |name: &std::ffi::OsStr| name.as_encoded_bytes().starts_with(b".");
    let entries = WalkDir::new(folder).follow_links(true).sort_by_file_name().into_iter();
    for entry in entries.filter_entry(|entry| entry.depth() == 0 || !is_hidden(entry.file_name())) {
        let (path, broken_link) = match entry {
            Ok(entry) if entry.file_type().is_file() => (entry.into_path(), None),
            Ok(_) => continue,
            Err(error) => match (error.path(), error.loop_ancestor(), error.io_error().map(io::Error::kind)) {
                (Some(path), Some(_), _) => {
                    let message = "a link to a folder that contains it; not followed";
                    note(&mut diagnostics, DiagnosticKind::NotRead, path, message);
                    continue;
                }
                (Some(path), None, Some(ErrorKind::NotFound)) => {
                    (path.to_owned(), Some("a link to a file that does not exist"))
                }
                _ => return Err(error.into()),
            },
        };
        let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
        let Some(ending) = ENDINGS.iter().find(|known| known.eq_ignore_ascii_case(ending)) else {
            other_files += 1;
            continue;
        };
        if let Some(message) = broken_link {
            note(&mut diagnostics, DiagnosticKind::UnknownDocument, &path, message);
            continue;
        }
        let name = path.strip_prefix(folder).unwrap_or(&path).with_extension("");
        match documents.entry(name).or_default().entry(ending) {
            Entry::Vacant(entry) => drop(entry.insert(path)),
            Entry::Occupied(_) => {
                let message = "a second file of this kind for its document; left out";
                note(&mut diagnostics, DiagnosticKind::DuplicateDocument, &path, message);
            }
        }
    }
    join_by_case(&mut documents);
    if documents.is_empty() && other_files > 0 {
        let message = format!("{} has no .txt and .ann files, which brat's format consists of", folder.display());
        return Err(io::Error::new(ErrorKind::NotFound, message));
    }
    Ok((documents, diagnostics))
}
/// Gives annotation to the text whose name differs only in the case of its letters, if there is exactly one without
/// annotation: the names are the same on Windows.
fn join_by_case(documents: &mut BTreeMap<PathBuf, Files>) {
    let folded = |name: &Path| name.to_string_lossy().to_lowercase();
    let is_alone = |files: &Files| files.contains_key(TEXT) && files.len() == 1;
    let mut alone: HashMap<String, Vec<PathBuf>> = HashMap::new();
    for (name, _) in documents.iter().filter(|(_, files)| is_alone(files)) {
        alone.entry(folded(name)).or_default().push(name.clone());
    }
    let without_text = documents.iter().filter(|(_, files)| !files.contains_key(TEXT));
    let names: Vec<PathBuf> = without_text.map(|(name, _)| name.clone()).collect();
    for name in names {
        if let Some([text]) = alone.remove(&folded(&name)).as_deref() {
            let files = documents.remove(&name).unwrap_or_default();
            documents.entry(text.clone()).or_default().extend(files);
        }
    }
}

/// Notes a fault of a whole file.
fn note(diagnostics: &mut Diagnostics, kind: DiagnosticKind, file: &Path, message: impl Into<String>) {
    let mut faults = Faults::new(file);
    faults.note(kind, 1, None, message);
    diagnostics.0.append(&mut faults.take().0);
}

/// Whether a folder contains the text of any document, and not only annotation.
///
/// # Errors
/// If the folder cannot be listed, or has files but none of this format.
pub fn has_texts(folder: &Path) -> io::Result<bool> {
    Ok(gather(folder)?.0.values().any(|files| files.contains_key(TEXT)))
}

/// Reads a folder of annotation, such as a system's predictions; the texts that it lacks are those of the documents in
/// `texts` with the same ids. Offsets count `unit`.
///
/// # Errors
/// If a folder cannot be listed or a file cannot be read.
pub fn read_with_texts(
    folder: &Path,
    texts: &[Document],
    unit: OffsetUnit,
) -> io::Result<(Vec<Document>, Diagnostics)> {
    let texts = texts.iter().map(|document| (document.id.clone(), document.text.clone())).collect();
    let reader = Reader { texts, ..Reader::open(folder, unit)? };
    Documents::new(Box::new(reader), true).read_all()
}

impl super::Reader for Reader {
    fn next_document(&mut self) -> io::Result<Option<Document>> {
        while let Some((name, files)) = self.documents.next() {
            if let Some(document) = self.read(id_of_path(&name), &files)? {
                self.place = files.into_values().next_back().unwrap_or_default();
                return Ok(Some(document));
            }
        }
        Ok(None)
    }

    fn place(&self) -> (&Path, usize) {
        (&self.place, 1)
    }

    fn take_diagnostics(&mut self) -> Diagnostics {
        std::mem::take(&mut self.diagnostics)
    }
}

impl Reader {
    /// Reads a document; `None` if it has no text.
    fn read(&mut self, id: String, files: &Files) -> io::Result<Option<Document>> {
        let text = match files.get(TEXT) {
            Some(path) => self.read_text(path)?,
            None => {
                let text = self.texts.remove(&id);
                if text.is_none() {
                    for path in files.values() {
                        let message = "no .txt file for this annotation";
                        note(&mut self.diagnostics, DiagnosticKind::UnknownDocument, path, message);
                    }
                }
                text
            }
        };
        let Some(text) = text else { return Ok(None) };
        let mut document = Document::new(id, text);
        let is_whole = files.contains_key(ANNOTATION);
        let mut contents = Vec::new();
        for (ending, path) in files.iter().filter(|(ending, _)| **ending != TEXT) {
            if is_whole && *ending != ANNOTATION {
                let message = "its document has a .ann file, which is read instead";
                note(&mut self.diagnostics, DiagnosticKind::NotRead, path, message);
                continue;
            }
            match encoding::decode_file(&fs::read(path)?) {
                Ok(bytes) => contents.push((path, bytes.into_owned())),
                Err(message) => {
                    note(&mut self.diagnostics, DiagnosticKind::InvalidUtf8, path, message + "; left out");
                }
            }
        }
        if let (1, Some(path)) = (files.len(), files.get(TEXT)) {
            let message = "the text has no annotation file; read without mentions";
            note(&mut self.diagnostics, DiagnosticKind::NotRead, path, message);
        }
        let mut lines: Vec<_> = contents.iter().map(|(path, bytes)| Lines::new(bytes.as_slice(), path)).collect();
        read_annotation(&mut document, &mut lines, self.unit)?;
        for mut lines in lines {
            self.diagnostics.0.append(&mut lines.take_diagnostics().0);
        }
        Ok(Some(document))
    }

    /// Reads a text, with U+FFFD for bytes that are not UTF-8. `None` if its encoding is refused.
    fn read_text(&mut self, path: &Path) -> io::Result<Option<String>> {
        let bytes = fs::read(path)?;
        let bytes = match encoding::decode_file(&bytes) {
            Ok(bytes) => bytes,
            Err(message) => {
                let message = message + "; its document was left out";
                note(&mut self.diagnostics, DiagnosticKind::InvalidUtf8, path, message);
                return Ok(None);
            }
        };
        if let Err(error) = std::str::from_utf8(&bytes) {
            let line = 1 + bytes[..error.valid_up_to()].iter().filter(|&&byte| byte == b'\n').count();
            let mut faults = Faults::new(path);
            faults.invalid_utf8(vec![line], &encoding::advice(&bytes));
            self.diagnostics.0.append(&mut faults.take().0);
        }
        Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
    }
}

/// The id of a document from the path of its files inside the folder, without an extension.
fn id_of_path(path: &Path) -> String {
    path.iter().map(|part| id_of_stem(&part.to_string_lossy())).join("/")
}

/// Path of a document's files inside the folder, without an extension.
fn path_of_id(id: &str) -> PathBuf {
    if id.split('/').any(str::is_empty) { stem_of_id(id).into() } else { id.split('/').map(stem_of_id).collect() }
}

/// The id that a document has in a folder of this format: each part of it fits into a file name, and the path is not too
/// long for Linux.
fn expressed_id(id: &str) -> String {
    const LONGEST_PATH: usize = 1000;
    if id.is_empty() {
        return NO_ID.into();
    }
    let id = if id.split('/').any(str::is_empty) { short_id(id) } else { id.split('/').map(short_id).join("/") };
    if path_of_id(&id).as_os_str().len() <= LONGEST_PATH { id } else { short_id(&id) }
}

/// Whether a folder contains both files of a document; the annotation is written last.
pub(super) fn is_written(folder: &Path, id: &str) -> bool {
    let mut path = folder.join(path_of_id(&expressed_id(id))).into_os_string();
    path.push(format!(".{ANNOTATION}"));
    Path::new(&path).is_file()
}

/// The mentions of a file so far.
#[derive(Default)]
struct Mentions {
    /// Index in the document for each `T` line, or `None` if it was left out.
    place_of_name: HashMap<String, Option<usize>>,
    place_of_mention: HashMap<(Vec<Span>, String), usize>,
}

impl Mentions {
    /// Index in the document of the mention that a line refers to.
    fn place(&self, name: &str) -> Result<usize, Fault> {
        match self.place_of_name.get(name) {
            Some(Some(place)) => Ok(*place),
            Some(None) => Err(not_read("refers to a mention that was left out")),
            None if name.starts_with('T') => Err(malformed("refers to a mention that does not exist")),
            None => Err(not_read("refers to something other than a mention")),
        }
    }
}

const RELATION: &str = "a relation must be `ID⇥KIND ROLE:MENTION ROLE:MENTION`";

fn malformed(message: &str) -> Fault {
    (DiagnosticKind::MalformedLine, message.into())
}

fn not_read(message: &str) -> Fault {
    (DiagnosticKind::NotRead, message.into())
}

/// Reads the annotation of a document, which may be in several files.
fn read_annotation(document: &mut Document, files: &mut [Lines<impl io::BufRead>], unit: OffsetUnit) -> io::Result<()> {
    let locator = Locator::new(&document.text, unit);
    let mut mentions = Mentions::default();
    let mut names = Vec::new();
    // A line may refer to a mention further down, or in another file.
    let mut others = Vec::new();
    for (file, lines) in files.iter_mut().enumerate() {
        while let Some(line) = lines.next_line()? {
            let number = lines.number();
            if line.starts_with('T') {
                if let Err((kind, message)) = read_mention(document, &mut mentions, &locator, &line) {
                    lines.report_at(number, kind, Some(&document.id), message);
                }
            } else if !line.trim().is_empty() {
                others.push((file, number, line));
            }
        }
    }
    for (file, number, line) in others {
        let columns: Vec<&str> = line.splitn(3, '\t').collect();
        let (name, body, tail) = match columns[..] {
            [name, body] => (name, body, ""),
            [name, body, tail] => (name, body, tail),
            _ => ("", "", ""),
        };
        let result = match name.chars().next() {
            Some('A' | 'M') => read_attribute(document, &mentions, body),
            Some('N') => read_concept(document, &mentions, body).map(|at| {
                if !tail.is_empty() {
                    names.push((at, tail.to_owned()));
                }
            }),
            Some('#') => read_note(document, &mentions, body, tail),
            Some('R') => read_relation(document, &mentions, body),
            Some('E') => Err(not_read("an event")),
            Some('*') => Err(not_read("an equivalence")),
            _ => Err(malformed("not a T, A, M, N, R, E, # or * line, or no tab")),
        };
        if let Err((kind, message)) = result {
            files[file].report_at(number, kind, Some(&document.id), message);
        }
    }
    // Names that an attribute of the mention holds are read.
    names.retain(|(at, name)| {
        let known = document.mentions[*at].attributes.get(CONCEPT_NAMES);
        !known.is_some_and(|known| known.split('|').any(|known| known == name))
    });
    if let (1.., Some(lines)) = (names.len(), files.first_mut()) {
        let message = format!("{} concept names beside their ids", names.len());
        lines.report_at(1, DiagnosticKind::NotRead, Some(&document.id), message);
    }
    Ok(())
}

/// Reads a `T` line.
fn read_mention(document: &mut Document, mentions: &mut Mentions, locator: &Locator, line: &str) -> Result<(), Fault> {
    let mut columns = line.splitn(3, '\t');
    let (name, body) = (columns.next().unwrap_or_default(), columns.next().unwrap_or_default());
    if mentions.place_of_name.contains_key(name) {
        return Err(malformed("repeats the id of an earlier line"));
    }
    mentions.place_of_name.insert(name.into(), None);
    let (entity_type, places) = body.split_once(' ').unwrap_or_default();
    if entity_type.is_empty() {
        return Err(malformed("a mention must be `ID⇥TYPE START END⇥TEXT`, with single spaces"));
    }
    let span = |place: &str| {
        let (start, end) = place.split_whitespace().collect_tuple()?;
        Some(Span::new(start.parse().ok()?, end.parse().ok()?))
    };
    let spans: Option<Vec<Span>> = places.split(';').map(span).collect();
    let spans =
        spans.ok_or_else(|| malformed("the position of a mention must be `START END`, several joined by `;`"))?;
    let given = columns.next().filter(|given| !given.trim().is_empty());
    let locate = |given: Option<&str>| locator.fragments(&document.text, &spans, given);
    // The text of a mention may contain a tab, or be followed by one and a remark.
    let first = |given: &str| given.match_indices('\t').find_map(|(tab, _)| locate(Some(&given[..tab])).ok());
    let (spans, has_remark) = match (locate(given), given) {
        (Err(fault), Some(given)) => (first(given).ok_or(fault)?, true),
        (located, _) => (located?, false),
    };
    let next = document.mentions.len();
    let place = *mentions.place_of_mention.entry((spans.clone(), entity_type.into())).or_insert(next);
    mentions.place_of_name.insert(name.into(), Some(place));
    let mention = Mention { fragments: spans, ..Mention::new(Span::new(0, 0), entity_type) };
    if place != next {
        return Err((DiagnosticKind::DuplicateMention, format!("{entity_type} at {}", mention.span())));
    }
    document.mentions.push(mention);
    if has_remark { Err(not_read("a column after the text of a mention")) } else { Ok(()) }
}

fn set(mention: &mut Mention, key: &str, value: &str) -> Result<(), Fault> {
    if mention.attributes.contains_key(key) {
        return Err(not_read("a second value or note of the same name"));
    }
    mention.attributes.insert(key.into(), value.into());
    Ok(())
}

fn read_attribute(document: &mut Document, mentions: &Mentions, body: &str) -> Result<(), Fault> {
    let mut parts = body.splitn(3, ' ');
    let (Some(key), Some(name)) = (parts.next(), parts.next()) else {
        return Err(malformed("an attribute must be `ID⇥NAME MENTION VALUE`, with or without a value"));
    };
    let value = parts.next().filter(|value| !value.trim().is_empty()).unwrap_or(FLAG);
    set(&mut document.mentions[mentions.place(name)?], key, value)
}

fn read_note(document: &mut Document, mentions: &Mentions, body: &str, text: &str) -> Result<(), Fault> {
    let Some((kind, name)) = body.split_once(' ') else {
        return Err(malformed("a note must be `ID⇥KIND MENTION⇥TEXT`"));
    };
    set(&mut document.mentions[mentions.place(name)?], kind, text)
}

/// The index of its mention.
fn read_concept(document: &mut Document, mentions: &Mentions, body: &str) -> Result<usize, Fault> {
    let Some((_, name, id)) = body.split_whitespace().collect_tuple() else {
        return Err(malformed("a normalisation must be `ID⇥Reference MENTION RESOURCE:CONCEPT⇥NAME`"));
    };
    let at = mentions.place(name)?;
    document.mentions[at].concept_ids.push(id.strip_prefix(ANY_RESOURCE).unwrap_or(id).into());
    Ok(at)
}

fn read_relation(document: &mut Document, mentions: &Mentions, body: &str) -> Result<(), Fault> {
    let mut parts = body.split_whitespace();
    let kind = parts.next().unwrap_or_default().to_owned();
    let mut arguments = Vec::new();
    for part in parts {
        let Some((role, name)) = part.split_once(':') else {
            return Err(malformed(RELATION));
        };
        arguments.push(Argument { role: role.into(), target: Target::Mention(mentions.place(name)?) });
    }
    if arguments.is_empty() {
        return Err(malformed(RELATION));
    }
    document.relations.push(Relation { kind, arguments });
    Ok(())
}

/// The line breaks of brat, which splits lines as Python does.
fn is_line_break(character: char) -> bool {
    matches!(character, '\n' | '\r' | '\x0b' | '\x0c' | '\x1c'..='\x1e' | '\u{85}' | '\u{2028}' | '\u{2029}')
}

/// Whether `text` can be an item between spaces.
fn is_token(text: &str) -> bool {
    !text.is_empty() && !text.contains(|c: char| c.is_whitespace() || c.is_control())
}

/// Converts `text` to such an item: `_` replaces white space and the empty text.
fn token(text: &str) -> String {
    let character = |c: char| if c.is_whitespace() || c.is_control() { '_' } else { c };
    if text.is_empty() { "_".into() } else { text.chars().map(character).collect() }
}

/// Converts a document to what this format can represent.
///
/// A fragment with a line break is split, as brat requires. White space in types, attribute names, kinds and roles
/// becomes `_`. Line breaks in attribute values become spaces. Concept ids with white space are left out. Only
/// relations between two mentions are kept; missing or equal roles become `Arg1` and `Arg2`. Of mentions with the same
/// position and type, the first is kept. Passages, sentences, words, document attributes and confidences are left out.
pub fn express(document: &Document) -> Expressed {
    let index = document.char_index();
    let mut seen = HashSet::new();
    let mut expressed = Expressed::new(document, |mention| {
        let fragments = split_at_line_breaks(&document.text, &index, &offsets::normal(&mention.fragments))?;
        let entity_type = token(&mention.entity_type);
        if fragments.is_empty() || !seen.insert((fragments.clone(), entity_type.clone())) {
            return None;
        }
        let concept_ids = mention.concept_ids.iter().filter(|id| is_token(id)).cloned().collect();
        let mut attributes = BTreeMap::new();
        for (key, value) in &mention.attributes {
            let value = if value.contains(is_line_break) { value.replace(is_line_break, " ") } else { value.clone() };
            attributes.entry(token(key)).or_insert(value);
        }
        Some(Mention { fragments, entity_type, concept_ids, attributes, confidence: None })
    });
    expressed.change_relations(|relation| {
        let mut arguments = relation.arguments.clone();
        if arguments.len() != 2 || arguments.iter().any(|argument| matches!(argument.target, Target::Concept(_))) {
            return None;
        }
        for argument in &mut arguments {
            argument.role =
                if argument.role.is_empty() { String::new() } else { token(&argument.role).replace(':', "_") };
        }
        if arguments[0].role == arguments[1].role || arguments.iter().any(|argument| argument.role.is_empty()) {
            for (at, argument) in arguments.iter_mut().enumerate() {
                argument.role = format!("Arg{}", at + 1);
            }
        }
        Some(Relation { kind: token(&relation.kind), arguments })
    });
    expressed.document = Document {
        id: expressed_id(&document.id),
        text: document.text.clone(),
        mentions: expressed.document.mentions,
        relations: expressed.document.relations,
        ..Document::default()
    };
    expressed
}

/// The fragments without the line breaks in them, ascending. `None` if one lies outside the text.
fn split_at_line_breaks(text: &str, index: &CharIndex, fragments: &[Span]) -> Option<Vec<Span>> {
    let mut split = Vec::new();
    for fragment in fragments {
        let mut start = fragment.start;
        for part in index.slice(text, *fragment)?.split(is_line_break) {
            let end = start + part.chars().count();
            if start < end {
                split.push(Span::new(start, end));
            }
            start = end + 1;
        }
    }
    split.sort_unstable();
    Some(split)
}

/// Writes documents into a folder, two files each.
pub struct Sink {
    folder: PathBuf,
}

impl Sink {
    /// Creates the folder if it does not exist.
    ///
    /// # Errors
    /// If the folder cannot be created.
    pub fn create(folder: &Path) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        Ok(Self { folder: folder.into() })
    }
}

impl super::Sink for Sink {
    fn write(&mut self, document: &Document) -> io::Result<()> {
        // Not `set_extension`: a dot in the id does not begin an extension.
        let path = |ending: &str| {
            let mut path = self.folder.join(path_of_id(&document.id)).into_os_string();
            path.push(format!(".{ending}"));
            PathBuf::from(path)
        };
        let mut text = NewFile::create(&path(TEXT))?;
        text.write_all(document.text.as_bytes())?;
        let mut annotation = NewFile::create(&path(ANNOTATION))?;
        write_annotation(&mut annotation, document)?;
        text.finish()?;
        annotation.finish()
    }

    fn finish(self: Box<Self>) -> io::Result<()> {
        Ok(())
    }
}

fn write_annotation(out: &mut impl Write, document: &Document) -> io::Result<()> {
    let index = document.char_index();
    let (mut attributes, mut concepts, mut notes) = (0, 0, 0);
    for (mention, number) in document.mentions.iter().zip(1..) {
        let places = mention.fragments.iter().map(|span| format!("{} {}", span.start, span.end)).join(";");
        let text =
            mention.fragments.iter().map(|&span| index.slice(&document.text, span).unwrap_or_default()).join(" ");
        writeln!(out, "T{number}\t{} {places}\t{text}", mention.entity_type)?;
        for (key, value) in &mention.attributes {
            if key == NOTES || !is_token(value) {
                notes += 1;
                writeln!(out, "#{notes}\t{key} T{number}\t{value}")?;
                continue;
            }
            attributes += 1;
            match value.as_str() {
                FLAG => writeln!(out, "A{attributes}\t{key} T{number}")?,
                value => writeln!(out, "A{attributes}\t{key} T{number} {value}")?,
            }
        }
        // The preferred names, where linking gave them.
        let names: Vec<&str> =
            mention.attributes.get(CONCEPT_NAMES).map(|names| names.split('|').collect()).unwrap_or_default();
        let is_named = names.len() == mention.concept_ids.len();
        for (at, id) in mention.concept_ids.iter().enumerate() {
            concepts += 1;
            let name = if is_named { names[at] } else { "" };
            let names_resource =
                id.split_once(':').is_some_and(|(resource, id)| !resource.is_empty() && !id.is_empty());
            let resource = if names_resource && !id.starts_with(ANY_RESOURCE) { "" } else { ANY_RESOURCE };
            writeln!(out, "N{concepts}\tReference T{number} {resource}{id}\t{name}")?;
        }
    }
    for (relation, number) in document.relations.iter().zip(1..) {
        write!(out, "R{number}\t{}", relation.kind)?;
        for Argument { role, target } in &relation.arguments {
            if let Target::Mention(at) = target {
                write!(out, " {role}:T{}", at + 1)?;
            }
        }
        writeln!(out)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::{Format, FormatOptions, round_trip};
    use proptest::collection::vec;
    use proptest::prelude::*;
    use proptest::sample::select;

    fn parse(files: &[(&str, &[u8])]) -> (Vec<Document>, Vec<String>) {
        let folder = tempfile::tempdir().expect("a folder");
        for (name, content) in files {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
            std::fs::write(path, content).expect("a file");
        }
        let (documents, diagnostics) = Format::Brat.read(folder.path(), &FormatOptions::default()).expect("readable");
        let prefix = format!("{}/", folder.path().display());
        let faults = diagnostics.0.iter().filter(|fault| fault.kind != DiagnosticKind::OddBoundary);
        (documents, faults.map(|diagnostic| diagnostic.to_string().replace(&prefix, "")).collect())
    }

    /// `shown`: the mentions and relations of the annotation `ann` of `text`. `faults`: as printed.
    fn check(text: &str, ann: &str, shown: &[&str], faults: &[&str]) {
        let (documents, printed) = parse(&[("x.txt", text.as_bytes()), ("x.ann", ann.as_bytes())]);
        let faults: Vec<String> = faults.iter().map(|fault| format!("x.ann:{fault}")).collect();
        assert_eq!(printed, faults, "{ann}");
        let mention = |mention: &Mention| {
            let spans = mention.fragments.iter().join(" ");
            let attributes = mention.attributes.iter().map(|(key, value)| format!(" {key}={value}")).join("");
            let ids = mention.concept_ids.iter().map(|id| format!(" #{id}")).join("");
            format!("{} {spans}{ids}{attributes}", mention.entity_type)
        };
        let argument = |argument: &Argument| match &argument.target {
            Target::Mention(at) => format!(" {}:{at}", argument.role),
            Target::Concept(id) => format!(" {}:{id}", argument.role),
        };
        let relation =
            |relation: &Relation| format!("{}{}", relation.kind, relation.arguments.iter().map(argument).join(""));
        let [document] = &documents[..] else { panic!("one document") };
        let found = document.mentions.iter().map(mention).chain(document.relations.iter().map(relation));
        assert_eq!(found.collect::<Vec<_>>(), shown, "{ann}");
        assert_eq!(document.text, text);
    }

    #[test]
    fn good_lines_in_all_their_forms() {
        check("ab", "", &[], &[]);
        check("ab cd", "T1\tX 0 2\tab\nT2\tY 0 5\tab cd\n", &["X 0..2", "Y 0..5"], &[]);
        // Spaces after the text, as in brat.
        check("ab cd", "T1\tX 0 2\tab \nT2\tX 3 5\tcd\t\n", &["X 0..2", "X 3..5"], &[]);
        check("ab cd", "\u{feff}T1\tX 0 2\tab\r\n\r\n", &["X 0..2"], &[]);
        // In several places, in any order, and with texts joined as by old tools.
        check("ab cd ef", "T1\tX 0 2;6 8\tab ef\n", &["X 0..2 6..8"], &[]);
        check("ab cd ef", "T1\tX 6 8;0 2\tef ab\n", &["X 0..2 6..8"], &[]);
        check("ab cd ef", "T1\tX 0 2;6 8\tabef\nT2\tY 0 2;3 5\n", &["X 0..2 6..8", "Y 0..2 3..5"], &[]);
        // Offsets count characters, line breaks included; these are spaces in the third column.
        check("\u{feff}ä𝛼\r\ne\u{301}", "T1\tX 1 3\tä𝛼\nT2\tY 2 7\t𝛼  e\u{301}\n", &["X 1..3", "Y 2..7"], &[]);
        check("a\tb", "T1\tX 0 3\ta\tb\n", &["X 0..3"], &[]);
        check(
            "ab cd",
            "A1\tNegated T1\nM2\tSure T1\nA3\tLevel T1 very high\nN1\tReference T1 MESH:D1\t\n\
             N2\tReference T1 ID:C2\t\n#1\tAnnotatorNotes T1\tsee\tthere\nR1\tpart Arg1:T2 Arg2:T1\nT1\tX 0 2\tab\nT2\tX 3 5\tcd\n",
            &[
                "X 0..2 #MESH:D1 #C2 AnnotatorNotes=see\tthere Level=very high Negated=true Sure=true",
                "X 3..5",
                "part Arg1:1 Arg2:0",
            ],
            &[],
        );
    }

    #[test]
    fn faults_are_noted_with_their_line_and_valid_parts_kept() {
        let table = [
            ("ab", "malformed line: not a T, A, M, N, R, E, # or * line, or no tab"),
            ("X1\tb c", "malformed line: not a T, A, M, N, R, E, # or * line, or no tab"),
            ("T1\tX 3 5\tcd", "malformed line: repeats the id of an earlier line"),
            ("T2\tX\tcd", "malformed line: a mention must be `ID⇥TYPE START END⇥TEXT`, with single spaces"),
            ("T2", "malformed line: a mention must be `ID⇥TYPE START END⇥TEXT`, with single spaces"),
            ("T2\tX 3\tcd", "malformed line: the position of a mention must be `START END`, several joined by `;`"),
            ("T2\tX 3 5;\tcd", "malformed line: the position of a mention must be `START END`, several joined by `;`"),
            ("T2\tX 3 9\tcd", "offset out of range: 3..9 reaches outside the document of 5 characters"),
            ("T2\tX 5 3\tcd", "offset out of range: 5..3 ends before it begins"),
            ("T2\tX 3 3\t", "offset out of range: 3..3 is empty"),
            (
                "T2\tX 2 4\tcd",
                "text does not match the offsets: its text differs from the document's at 2..4; it would match if \
                 offsets counted from -1: add 1 to them",
            ),
            ("T2\tX 3 5;4 5\tcd d", "malformed line: its fragments 3..5 and 4..5 overlap"),
            ("T2\tX 0 2\tab", "duplicate mention: X at 0..2"),
            ("A1\tNegated", "malformed line: an attribute must be `ID⇥NAME MENTION VALUE`, with or without a value"),
            ("A1\tNegated T9", "malformed line: refers to a mention that does not exist"),
            ("A1\tNegated E1", "not supported, left out: refers to something other than a mention"),
            (
                "N1\tReference T1",
                "malformed line: a normalisation must be `ID⇥Reference MENTION RESOURCE:CONCEPT⇥NAME`",
            ),
            ("#1\tAnnotatorNotes\tx", "malformed line: a note must be `ID⇥KIND MENTION⇥TEXT`"),
            ("#1\tAnnotatorNotes R1\tx", "not supported, left out: refers to something other than a mention"),
            ("R1\tpart", "malformed line: a relation must be `ID⇥KIND ROLE:MENTION ROLE:MENTION`"),
            ("R1\tpart T1 T1", "malformed line: a relation must be `ID⇥KIND ROLE:MENTION ROLE:MENTION`"),
            ("R1\tpart Arg1:T1 Arg2:T9", "malformed line: refers to a mention that does not exist"),
            ("R1\tpart Arg1:T1 Arg2:E9", "not supported, left out: refers to something other than a mention"),
            ("E1\tX:T1 Theme:T1", "not supported, left out: an event"),
            ("*\tEquiv T1 T1", "not supported, left out: an equivalence"),
        ];
        for (line, fault) in table {
            check("ab cd", &format!("T1\tX 0 2\tab\n{line}\n"), &["X 0..2"], &[&format!("2: document x: {fault}")]);
        }
        let remark = "2: document x: not supported, left out: a column after the text of a mention";
        check("ab cd", "T1\tX 0 2\tab\nT2\tY 3 5\tcd\tsure", &["X 0..2", "Y 3..5"], &[remark]);
        check(
            "ab cd",
            "T1\tX 0 9\tab\nA1\tNegated T1\nN1\tReference T2 A:1\tname\nA2\tN T2\nA3\tN T2 x\nT2\tY 3 5\tcd",
            &["Y 3..5 #A:1 N=true"],
            &[
                "1: document x: offset out of range: 0..9 reaches outside the document of 5 characters",
                "1: document x: not supported, left out: 1 concept names beside their ids",
                "2: document x: not supported, left out: refers to a mention that was left out",
                "5: document x: not supported, left out: a second value or note of the same name",
            ],
        );
    }

    #[test]
    fn unsupported_parts_are_changed_or_left_out() {
        let mut document = Document::new("x", "a\r\nb\n c d");
        let mut mention = Mention::new(Span::new(0, 6), "a b");
        mention.concept_ids = ["MESH:1", "2", "ID:3", ":4", "a b"].map(String::from).into();
        let attributes =
            [(NOTES, "one"), ("flag", "true"), ("level", "low"), ("n", "a\nb"), ("of b", ""), ("t", "x y")];
        mention.attributes = attributes.map(|(key, value)| (key.into(), value.into())).into();
        let lost = Mention::new(Span::new(1, 3), "X");
        let again = Mention {
            fragments: vec![Span::new(0, 1), Span::new(3, 4), Span::new(5, 6)],
            ..Mention::new(Span::new(0, 1), "a_b")
        };
        document.mentions = vec![lost, mention, again, Mention::new(Span::new(6, 7), "X")];
        let relation = |roles: [&str; 2], targets: [usize; 2]| {
            let argument = |(role, at): (&str, usize)| Argument { role: role.into(), target: Target::Mention(at) };
            Relation { kind: "of a".into(), arguments: roles.into_iter().zip(targets).map(argument).collect() }
        };
        document.relations =
            vec![relation(["", "x"], [1, 3]), relation(["a:b", "c"], [3, 1]), relation(["a", "b"], [0, 1])];
        let expressed = express(&document);
        assert_eq!(expressed.mentions, [None, Some(0), None, Some(1)]);
        let mut written = Vec::new();
        write_annotation(&mut written, &expressed.document).expect("memory");
        let expected = "T1\ta_b 0 1;3 4;5 6\ta b  \n#1\tAnnotatorNotes T1\tone\nA1\tflag T1\nA2\tlevel T1 low\n\
            #2\tn T1\ta b\n#3\tof_b T1\t\n#4\tt T1\tx y\n\
            N1\tReference T1 MESH:1\t\nN2\tReference T1 ID:2\t\nN3\tReference T1 ID:ID:3\t\nN4\tReference T1 ID::4\t\n\
            T2\tX 6 7\tc\nR1\tof_a Arg1:T1 Arg2:T2\nR2\tof_a a_b:T2 c:T1\n";
        assert_eq!(String::from_utf8(written).expect("UTF-8"), expected);
    }

    #[test]
    fn files_and_folders() {
        let (documents, faults) = parse(&[
            ("b.txt", b"no annotation"),
            ("a/x.y.txt", b"\n\xff"),
            ("a/x.y.ann", b""),
            ("a/lost.ann", b""),
            (".hidden.txt", b""),
            ("annotation.conf", b""),
            ("a%2Fb.TXT", b"cd"),
            ("a%2Fb.Ann", b"T1\tX 0 2\tcd"),
            ("Note.txt", b"ab"),
            ("NOTE.ann", b"T1\tX 0 2\tab"),
            ("task.txt", b"\xff\xfea\0b\0"),
            ("task.a1", b"T1\tX 0 2\tab"),
            ("task.a2", b"T2\tY 0 1\ta\nR1\tx a:T1 b:T2"),
            ("wide.txt", b"w\0i\0d\0e\0 \0"),
            ("wide.ann", b""),
        ]);
        let shown = documents.iter().map(|d| format!("{} {} {}", d.id, d.mentions.len(), d.relations.len()));
        let expected = ["Note 1 0", "a/x.y 0 0", "a/b 1 0", "b 0 0", "task 2 1"];
        assert_eq!(shown.collect::<Vec<_>>(), expected);
        let convert = |name: &str| format!("convert it, for example with `iconv -f {name} -t UTF-8`");
        let latin = convert("windows-1252");
        assert_eq!(
            faults,
            [
                "a/lost.ann:1: unknown document: no .txt file for this annotation",
                &format!(
                    "a/x.y.txt:2: invalid UTF-8: bytes that are not UTF-8; read as U+FFFD; if the file is \
                     windows-1252, {latin}"
                ),
                "b.txt:1: not supported, left out: the text has no annotation file; read without mentions",
                &format!(
                    "wide.txt:1: invalid UTF-8: it looks like UTF-16 without a byte-order mark; {}; its document was \
                     left out",
                    convert("UTF-16LE")
                ),
            ]
        );
        for id in ["a/b", "/a", "a//b", "a/", "../x", "a b/ä.txt", "%", "."] {
            let path = path_of_id(id);
            assert_eq!(id_of_path(&path), id);
            assert!(path.components().all(|part| matches!(part, std::path::Component::Normal(_))), "{id}");
        }
    }

    proptest! {
        #[test]
        fn written_documents_are_read_back(documents in vec(round_trip::document(), 0..3)) {
            round_trip::check(Format::Brat, &FormatOptions::default(), &documents)?;
        }

        #[test]
        fn any_bytes_are_read_and_every_mention_lies_in_its_text(
            text in "[a-cä𝛼\n ]{0,9}",
            lines in vec(prop_oneof![
                vec(any::<u8>(), 0..12),
                "T[12]\tX [0-6] [0-9](;[0-6] [0-9])?(\t[a-cä𝛼 ]{0,4})?".prop_map(String::into_bytes),
                select(&[
                    "A1\tN T1", "A2\tN T2 x", "R1\tx a:T1 b:T2", "N1\tR T1 a:b\t", "#1\tN T1\tx", "*\tE T1", "E1\tX:T1",
                ][..]).prop_map(|line| line.as_bytes().to_vec()),
            ], 0..12)
        ) {
            let mut document = Document::new("x", text);
            let ann = lines.join(&b'\n');
            let mut lines = [Lines::new(ann.as_slice(), Path::new("x.ann"))];
            read_annotation(&mut document, &mut lines, OffsetUnit::default()).expect("memory can be read");
            let index = document.char_index();
            for mention in document.mentions {
                prop_assert!(index.slice(&document.text, mention.span()).is_some_and(|text| !text.is_empty()));
            }
        }
    }
}
