//! i2b2 2010: the text of a document in one file, its concepts in another, one per line.
//!
//! ```text
//! c="a hip fracture" 16:15 16:17||t="problem"                     concept/NAME.con
//! c="a hip fracture" 16:15 16:17||t="problem"||a="present"        ast/NAME.ast
//! ```
//!
//! A position is `LINE:TOKEN`, lines from 1 and tokens from 0. Single spaces separate tokens, so a line that begins
//! with a space has an empty token 0. Ends are inclusive in the file and half-open here, as everywhere. A mention never
//! begins or ends with an empty token, which has no characters.
//!
//! A collection is a folder with `txt/`, `concept/` and `ast/`, or with all files side by side. Characters of an
//! identifier that file names cannot contain are percent-encoded. Relations (`.rel`) are counted but not read.
//!
//! Format: Uzuner, South, Shen, DuVall (2011), "2010 i2b2/VA challenge on concepts, assertions, and relations in
//! clinical text", and its annotation file formatting guide.

use super::file_names::{id_of_stem, stem_of_id};
use super::lines::Lines;
use super::{Documents, Expressed, encoding};
use crate::{CharIndex, Diagnostic, DiagnosticKind, Diagnostics, Document, Mention, Span};
use fs_err as fs;
use itertools::Itertools;
use ner_files::NewFile;
use std::borrow::Cow;
use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Attribute for the assertion of a mention (`present`, `absent`, …).
pub const ASSERTION: &str = "assertion";

/// Folders of a collection; files may also lie beside them.
const FOLDERS: &[&str] = &["txt", "concept", "concepts", "con", "ast", "rel"];

/// The kind of a file, as its extension tells.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    Text,
    Concepts,
    Assertions,
    Relations,
}

/// In the order of the enum: a part is an index into [`Files`].
const PARTS: &[(Part, &str)] =
    &[(Part::Text, ".txt"), (Part::Concepts, ".con"), (Part::Assertions, ".ast"), (Part::Relations, ".rel")];

/// The files of one document, by [`Part`].
pub(crate) type Files = [Option<PathBuf>; 4];

/// Part and document of a file; `None` for other files, and for the shadow files that macOS adds to archives.
pub(crate) fn part_of(path: &Path) -> Option<(Part, String)> {
    let name = path.file_name()?.to_string_lossy();
    if name.starts_with("._") {
        return None;
    }
    PARTS.iter().find_map(|&(part, ending)| Some((part, id_of_stem(name.strip_suffix(ending)?))))
}

/// A file in memory.
#[derive(Clone, Copy)]
struct File<'f> {
    path: &'f Path,
    bytes: &'f [u8],
}

/// Position of a token as in the files: lines from 1, tokens from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TokenPosition {
    /// The line.
    pub line: usize,
    /// The token in the line.
    pub token: usize,
}

/// A concept as its line states it. Without the text, concepts are equal if their positions and types are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Concept {
    /// Its first token.
    pub start: TokenPosition,
    /// The position after its last token, on the line of that token.
    pub end: TokenPosition,
    /// Its type.
    pub entity_type: String,
    /// Its text, in lower case.
    text: String,
    /// Only in `.ast` files.
    assertion: Option<String>,
}

impl Concept {
    /// Parses `c="…" L:T L:T||t="…"`, followed by `||a="…"` if `asserted`.
    ///
    /// Parses from the end, since the text of the concept may contain quotes and anything else.
    fn parse(line: &str, asserted: bool) -> Option<Self> {
        let last_field = |line: &str, name: &str| {
            let (before, value) = line.strip_suffix('"')?.rsplit_once(name)?;
            (!value.contains('"')).then(|| (before.len(), value.to_owned()))
        };
        let (mut line, mut assertion) = (line.trim_end(), None);
        if asserted {
            let (at, value) = last_field(line, "||a=\"")?;
            (line, assertion) = (&line[..at], Some(value));
        }
        let (at, entity_type) = last_field(line, "||t=\"").filter(|(_, value)| !value.is_empty())?;
        let mut columns = line[..at].trim_end().rsplitn(3, char::is_whitespace);
        let (end, start) = (position(columns.next()?)?, position(columns.next()?)?);
        let text = columns.next()?.trim_end().strip_prefix("c=\"")?.strip_suffix('"')?.to_owned();
        let end = TokenPosition { token: end.token.checked_add(1)?, ..end };
        Some(Self { start, end, entity_type, text, assertion })
    }
}

fn position(text: &str) -> Option<TokenPosition> {
    let (line, token) = text.split_once(':')?;
    Some(TokenPosition { line: line.parse().ok()?, token: token.parse().ok()? })
}

/// The lines of a text and their tokens.
struct Grid {
    /// Each line without its line break.
    lines: Vec<Span>,
    /// Tokens of each line.
    tokens: Vec<Vec<Span>>,
}

impl Grid {
    /// Lines end with `\n` or `\r\n`, or with `\r` if the text has no `\n` (classic Mac); every other character belongs to
    /// a line.
    fn new(text: &str) -> Self {
        let (mut lines, mut tokens) = (Vec::new(), Vec::new());
        let mut at = 0;
        let end = if text.contains('\n') { '\n' } else { '\r' };
        for whole in text.split_inclusive(end) {
            let line = whole.strip_suffix("\r\n").or_else(|| whole.strip_suffix(end)).unwrap_or(whole);
            let start = at;
            let mut of_line = Vec::new();
            for token in line.split(' ') {
                let end = at + token.chars().count();
                of_line.push(Span::new(at, end));
                at = end + 1;
            }
            // There is no space after the last token.
            at -= 1;
            lines.push(Span::new(start, at));
            tokens.push(of_line);
            at += whole.len() - line.len();
        }
        Self { lines, tokens }
    }

    /// The same lines without empty tokens; with `keeps_first`, a leading space still gives one.
    fn without_empty_tokens(&self, keeps_first: bool) -> Self {
        let keeps = |(at, token): &(usize, &Span)| !token.is_empty() || (keeps_first && *at == 0);
        let tokens = self.tokens.iter().map(|line| line.iter().enumerate().filter(keeps).map(|(_, &t)| t).collect());
        Self { lines: self.lines.clone(), tokens: tokens.collect() }
    }

    /// The non-empty tokens.
    fn words(&self) -> Vec<Span> {
        self.tokens.iter().flatten().copied().filter(|token| !token.is_empty()).collect()
    }

    /// The non-empty lines.
    fn sentences(&self) -> Vec<Span> {
        self.lines.iter().copied().filter(|line| !line.is_empty()).collect()
    }

    /// The token that covers the character `at`.
    fn position(&self, at: usize) -> TokenPosition {
        let line = self.lines.partition_point(|line| line.end <= at);
        let token = self.tokens.get(line).map_or(0, |tokens| tokens.partition_point(|token| token.end <= at));
        TokenPosition { line: line + 1, token }
    }

    /// Span of a concept in `document`, whose characters `index` counts.
    fn locate(
        &self,
        concept: &Concept,
        document: &Document,
        index: &CharIndex,
    ) -> Result<Span, (DiagnosticKind, String)> {
        let (start, end) = (concept.start, concept.end);
        let place = format!("{}:{} to {}:{}", start.line, start.token, end.line, end.token - 1);
        let out_of_range = |message: String| Err((DiagnosticKind::OffsetOutOfRange, message));
        let token = |line: usize, token: usize| self.tokens.get(line.checked_sub(1)?)?.get(token);
        let (Some(first), Some(last)) = (token(start.line, start.token), token(end.line, end.token - 1)) else {
            return out_of_range(format!("the text has no tokens {place}"));
        };
        let Some(span) = covered_words(&document.words, Span::new(first.start, last.end)) else {
            return out_of_range(format!("{place} is empty"));
        };
        if !index.slice(&document.text, span).is_some_and(|text| folded(text).eq(folded(&concept.text))) {
            let message = format!("the text of the concept differs from the tokens {place}");
            return Err((DiagnosticKind::TextMismatch, message));
        }
        Ok(span)
    }
}

/// The span of all words that share a character with `span`.
fn covered_words(words: &[Span], span: Span) -> Option<Span> {
    let first = words.partition_point(|word| word.end <= span.start);
    let last = words.partition_point(|word| word.start < span.end);
    (first < last).then(|| Span::new(words[first].start, words[last - 1].end))
}

/// The text without case and white space, line breaks included. An iterator, so that comparing reads only up to the
/// first difference.
fn folded(text: &str) -> impl Iterator<Item = char> {
    text.chars().filter(|c| !c.is_whitespace()).flat_map(char::to_lowercase)
}

/// Reads the documents of a folder, ordered by identifier.
pub struct Reader {
    documents: std::collections::btree_map::IntoIter<String, Files>,
    /// Text file of the last returned document.
    place: PathBuf,
    diagnostics: Diagnostics,
}

impl Reader {
    /// A reader of a folder with `txt/` and `concept/`, or with texts and concepts side by side.
    ///
    /// # Errors
    /// If the folder cannot be listed, or contains no files of this format.
    pub fn open(folder: &Path) -> io::Result<Self> {
        let (documents, diagnostics) = gather(folder)?;
        Ok(Self { documents: documents.into_iter(), place: folder.into(), diagnostics })
    }
}

/// Whether a folder contains the text of any document, and not only annotations.
///
/// # Errors
/// If the folder cannot be listed, or contains no files of this format.
pub fn has_texts(folder: &Path) -> io::Result<bool> {
    Ok(gather(folder)?.0.values().any(|files| files[Part::Text as usize].is_some()))
}

/// Reads a folder of concepts whose texts are in another folder, such as a system's predictions.
///
/// # Errors
/// If a folder cannot be listed or a file cannot be read.
pub fn read_with_texts(concepts: &Path, texts: &Path) -> io::Result<(Vec<Document>, Diagnostics)> {
    let (mut documents, diagnostics) = gather(concepts)?;
    let (mut others, _) = gather(texts)?;
    let text = Part::Text as usize;
    for (id, files) in &mut documents {
        if files[text].is_none() {
            files[text] = others.get_mut(id).and_then(|files| files[text].take());
        }
    }
    let reader = Reader { documents: documents.into_iter(), place: concepts.into(), diagnostics };
    Documents::new(Box::new(reader), false).read_all()
}

impl super::Reader for Reader {
    fn next_document(&mut self) -> io::Result<Option<Document>> {
        for (id, files) in self.documents.by_ref() {
            let read = |path: &Path| Ok(Cow::Owned(fs::read(path)?));
            if let Some(document) = load(&id, &files, read, &mut self.diagnostics)? {
                self.place = files.into_iter().flatten().next().unwrap_or_default();
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

/// The files of each document of a folder, and faults for duplicate files.
fn gather(folder: &Path) -> io::Result<(BTreeMap<String, Files>, Diagnostics)> {
    let mut documents: BTreeMap<String, Files> = BTreeMap::new();
    let mut diagnostics = Diagnostics::default();
    let inner = FOLDERS.iter().map(|name| folder.join(name)).filter(|inner| inner.is_dir()).collect_vec();
    for folder in inner.iter().map(PathBuf::as_path).chain([folder]) {
        let mut paths: Vec<PathBuf> = fs::read_dir(folder)?.map_ok(|entry| entry.path()).collect::<io::Result<_>>()?;
        paths.sort();
        for path in paths {
            let Some((part, id)) = part_of(&path) else { continue };
            let slot = &mut documents.entry(id.clone()).or_default()[part as usize];
            if slot.is_none() {
                *slot = Some(path);
            } else {
                let message = "a second file of this kind for its document; left out".to_owned();
                note(&mut diagnostics, DiagnosticKind::DuplicateDocument, &path, &id, message);
            }
        }
    }
    if documents.is_empty() && inner.is_empty() {
        let message = format!("no .txt or .con files in {}, and no folders txt and concept", folder.display());
        return Err(io::Error::new(io::ErrorKind::NotFound, message));
    }
    Ok((documents, diagnostics))
}

/// Notes a fault of a whole file.
fn note(diagnostics: &mut Diagnostics, kind: DiagnosticKind, file: &Path, id: &str, message: String) {
    let document = Some(id.to_owned());
    diagnostics.0.push(Diagnostic { kind, file: file.into(), line: 1, document, message });
}

/// Reads the document of `files` through `read`; `None` if the text or its concepts are missing.
pub(crate) fn load<'f>(
    id: &str,
    files: &Files,
    read: impl Fn(&Path) -> io::Result<Cow<'f, [u8]>>,
    diagnostics: &mut Diagnostics,
) -> io::Result<Option<Document>> {
    let (text_path, concepts_path) = match files {
        [Some(text), Some(concepts), ..] => (text, concepts),
        [Some(text), ..] => {
            let message = "the text has no concept file; left out".to_owned();
            note(diagnostics, DiagnosticKind::UnknownDocument, text, id, message);
            return Ok(None);
        }
        _ => {
            for path in files.iter().flatten() {
                let message = "the annotation has no text; left out".to_owned();
                note(diagnostics, DiagnosticKind::UnknownDocument, path, id, message);
            }
            return Ok(None);
        }
    };
    let assertions_path = files[Part::Assertions as usize].as_deref();
    let mut contents = Vec::new();
    for path in [Some(text_path.as_path()), Some(concepts_path.as_path()), assertions_path].into_iter().flatten() {
        let bytes = read(path)?;
        match encoding::decode_file(&bytes) {
            Ok(Cow::Borrowed(_)) => contents.push(bytes),
            Ok(Cow::Owned(decoded)) => contents.push(decoded.into()),
            Err(message) => {
                let message = message + "; its document was left out";
                note(diagnostics, DiagnosticKind::InvalidUtf8, path, id, message);
                return Ok(None);
            }
        }
    }
    let text = File { path: text_path, bytes: &contents[0] };
    let concepts = File { path: concepts_path, bytes: &contents[1] };
    let assertions = assertions_path.zip(contents.get(2)).map(|(path, bytes)| File { path, bytes });
    let document = read_document(id, text, concepts, assertions, diagnostics)?;
    if let Some(path) = &files[Part::Relations as usize] {
        let count = read(path)?.split(|&byte| byte == b'\n').filter(|line| !line.trim_ascii().is_empty()).count();
        if count > 0 {
            note(diagnostics, DiagnosticKind::NotRead, path, id, format!("{count} relations"));
        }
    }
    Ok(Some(document))
}

/// Reads a document from its files.
fn read_document(
    id: &str,
    text: File<'_>,
    concepts: File<'_>,
    assertions: Option<File<'_>>,
    diagnostics: &mut Diagnostics,
) -> io::Result<Document> {
    let mut document = Document::new(id, read_text(id, text, diagnostics));
    let mut grid = Grid::new(&document.text);
    document.sentences = grid.sentences();
    document.words = grid.words();
    let index = document.char_index();
    let mut file = ConceptFile::read(concepts, id, false)?;

    // Tools that write the format differ from the release in how they count tokens around repeated spaces. The texts of
    // the concepts show which way a file follows.
    let fitting = |grid: &Grid| file.rows.iter().filter(|(_, c)| grid.locate(c, &document, &index).is_ok()).count();
    let mut most = fitting(&grid);
    for keeps_first in [true, false] {
        if most < file.rows.len() {
            let recounted = grid.without_empty_tokens(keeps_first);
            let fit = fitting(&recounted);
            if fit > most {
                (grid, most) = (recounted, fit);
            }
        }
    }

    let mut mentions = Vec::with_capacity(file.rows.len());
    // Indices in the list, to find duplicates and the concept of an assertion.
    let mut places: HashMap<(Span, String), usize> = HashMap::new();
    for (line, concept) in std::mem::take(&mut file.rows) {
        let span = match grid.locate(&concept, &document, &index) {
            Ok(span) => span,
            Err((kind, message)) => {
                file.report(line, kind, message);
                continue;
            }
        };
        match places.entry((span, concept.entity_type)) {
            Entry::Occupied(entry) => {
                let message = format!("{} at {span}", entry.key().1);
                file.report(line, DiagnosticKind::DuplicateMention, message);
            }
            Entry::Vacant(entry) => {
                mentions.push(Mention::new(span, entry.key().1.clone()));
                entry.insert(mentions.len() - 1);
            }
        }
    }
    file.finish(diagnostics);

    if let Some(assertions) = assertions {
        let mut file = ConceptFile::read(assertions, id, true)?;
        for (line, concept) in std::mem::take(&mut file.rows) {
            let mention = grid.locate(&concept, &document, &index).and_then(|span| {
                let missing = "no concept of this type at this position; the assertion was left out".to_owned();
                let place = places.get(&(span, concept.entity_type));
                Ok(&mut mentions[*place.ok_or((DiagnosticKind::MalformedLine, missing))?])
            });
            match (mention, concept.assertion) {
                (Err((kind, message)), _) => file.report(line, kind, message),
                (Ok(mention), Some(value)) => match mention.attributes.get(ASSERTION) {
                    None => drop(mention.attributes.insert(ASSERTION.to_owned(), value)),
                    Some(earlier) => {
                        let (kind, message) = if *earlier == value {
                            (DiagnosticKind::DuplicateMention, "repeated assertion")
                        } else {
                            (DiagnosticKind::MalformedLine, "a second assertion of its concept; the first was kept")
                        };
                        file.report(line, kind, message);
                    }
                },
                (Ok(_), None) => {}
            }
        }
        file.finish(diagnostics);
    }
    document.mentions = mentions;
    Ok(document)
}

/// The unchanged text, line breaks included, without a byte-order mark.
fn read_text(id: &str, file: File<'_>, diagnostics: &mut Diagnostics) -> String {
    let bytes = file.bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(file.bytes);
    let text = String::from_utf8_lossy(bytes);
    if let Cow::Owned(_) = text {
        for (at, line) in bytes.split(|&byte| byte == b'\n').enumerate() {
            if let Err(error) = std::str::from_utf8(line) {
                diagnostics.0.push(Diagnostic {
                    kind: DiagnosticKind::InvalidUtf8,
                    file: file.path.into(),
                    line: at + 1,
                    document: Some(id.to_owned()),
                    message: format!(
                        "byte {} of the line is not UTF-8; {}",
                        error.valid_up_to() + 1,
                        encoding::advice(line)
                    ),
                });
            }
        }
    }
    text.into_owned()
}

const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

/// The valid lines of a concept or assertion file with their numbers, and its faults so far.
struct ConceptFile<'f> {
    id: &'f str,
    rows: Vec<(usize, Concept)>,
    lines: Lines<&'f [u8]>,
}

impl<'f> ConceptFile<'f> {
    fn read(file: File<'f>, id: &'f str, asserted: bool) -> io::Result<Self> {
        let mut lines = Lines::new(file.bytes, file.path);
        let mut rows = Vec::new();
        while let Some(line) = lines.next_line()? {
            if line.trim().is_empty() {
                continue;
            }
            match Concept::parse(&line, asserted) {
                Some(concept) => rows.push((lines.number(), concept)),
                None => {
                    let last = if asserted { "||a=\"…\"" } else { "" };
                    let message = format!("the line must have the form c=\"…\" L:T L:T||t=\"…\"{last}");
                    lines.report(DiagnosticKind::MalformedLine, Some(id), message);
                }
            }
        }
        Ok(Self { id, rows, lines })
    }

    fn report(&mut self, line: usize, kind: DiagnosticKind, message: impl Into<String>) {
        self.lines.report_at(line, kind, Some(self.id), message.into());
    }

    fn finish(mut self, diagnostics: &mut Diagnostics) {
        // Invalid bytes are noted before the document is known.
        let faults = self.lines.take_diagnostics().0.into_iter();
        diagnostics.0.extend(faults.map(|fault| Diagnostic { document: Some(self.id.to_owned()), ..fault }));
    }
}

/// Reads the concepts of a folder as their lines state them, by document. It does not need texts: use it for folders
/// that contain only `.con` files.
///
/// # Errors
/// If the folder cannot be listed or a file cannot be read.
pub fn read_concepts(folder: &Path) -> io::Result<(BTreeMap<String, Vec<Concept>>, Diagnostics)> {
    let (documents, mut diagnostics) = gather(folder)?;
    let mut concepts = BTreeMap::new();
    for (id, files) in documents {
        let Some(path) = &files[Part::Concepts as usize] else { continue };
        let bytes = fs::read(path)?;
        let bytes = match encoding::decode_file(&bytes) {
            Ok(bytes) => bytes,
            Err(message) => {
                note(&mut diagnostics, DiagnosticKind::InvalidUtf8, path, &id, message + "; left out");
                continue;
            }
        };
        let mut file = ConceptFile::read(File { path, bytes: &bytes }, &id, false)?;
        let rows = std::mem::take(&mut file.rows);
        file.finish(&mut diagnostics);
        concepts.insert(id, rows.into_iter().map(|(_, concept)| concept).collect());
    }
    Ok((concepts, diagnostics))
}

/// Converts a document to what this format can represent: lines become sentences and tokens become words. Mentions keep
/// one fragment, widened to whole tokens, and their assertion only; duplicates are left out.
pub fn express(document: &Document) -> Expressed {
    let grid = Grid::new(&document.text);
    let words = grid.words();
    let mut seen = HashSet::new();
    let mut expressed = Expressed::new(document, |mention| {
        let [fragment] = mention.fragments[..] else { return None };
        let entity_type = quotable(&mention.entity_type);
        let span = covered_words(&words, fragment)?;
        if entity_type.is_empty() || !seen.insert((span, entity_type.clone())) {
            return None;
        }
        let mut new = Mention::new(span, entity_type);
        if let Some(assertion) = mention.attributes.get(ASSERTION) {
            new.attributes.insert(ASSERTION.to_owned(), quotable(assertion));
        }
        Some(new)
    });
    expressed.change_relations(|_| None);
    let Document { id, text, mentions, .. } = expressed.document;
    expressed.document = Document { id, text, mentions, sentences: grid.sentences(), words, ..Document::default() };
    expressed
}

/// Types and assertions are quoted on one line.
fn quotable(value: &str) -> String {
    value.replace(['"', '\n', '\r'], "_")
}

/// Whether a folder contains all files of a document; the concepts are written last.
pub(super) fn is_written(folder: &Path, id: &str) -> bool {
    folder.join("concept").join(format!("{}.con", stem_of_id(id))).is_file()
}

/// Writes a folder with `txt/`, `concept/` and, for documents with assertions, `ast/`.
pub struct Sink {
    folder: PathBuf,
}

impl Sink {
    /// A sink into `folder`.
    ///
    /// # Errors
    /// If the folder cannot be created.
    pub fn create(folder: &Path) -> io::Result<Self> {
        fs::create_dir_all(folder.join("txt"))?;
        fs::create_dir_all(folder.join("concept"))?;
        Ok(Self { folder: folder.into() })
    }

    fn write_file(&self, folder: &str, name: &str, contents: &[u8]) -> io::Result<()> {
        let mut file = NewFile::create(&self.folder.join(folder).join(name))?;
        file.write_all(contents)?;
        file.finish()
    }
}

impl super::Sink for Sink {
    fn write(&mut self, document: &Document) -> io::Result<()> {
        let grid = Grid::new(&document.text);
        let index = document.char_index();
        let (mut concepts, mut assertions) = (String::new(), String::new());
        for mention in &document.mentions {
            let span = mention.span();
            let (start, end) = (grid.position(span.start), grid.position(span.end.saturating_sub(1)));
            // Lower-cased as in `folded`, not by whole words: a final sigma would differ.
            let text = index.slice(&document.text, span).unwrap_or_default();
            let text: String = text.chars().flat_map(char::to_lowercase).collect();
            let text = text.split_whitespace().join(" ");
            let (first, last) = (format!("{}:{}", start.line, start.token), format!("{}:{}", end.line, end.token));
            let concept = format!("c=\"{text}\" {first} {last}||t=\"{}\"", mention.entity_type);
            if let Some(assertion) = mention.attributes.get(ASSERTION) {
                assertions.push_str(&format!("{concept}||a=\"{assertion}\"\n"));
            }
            concepts.push_str(&concept);
            concepts.push('\n');
        }
        let name = stem_of_id(&document.id);
        // A text that begins with a byte-order mark would lose it when read.
        let mark = if document.text.as_bytes().starts_with(BYTE_ORDER_MARK) { BYTE_ORDER_MARK } else { &[] };
        self.write_file("txt", &format!("{name}.txt"), &[mark, document.text.as_bytes()].concat())?;
        if !assertions.is_empty() {
            self.write_file("ast", &format!("{name}.ast"), assertions.as_bytes())?;
        }
        // Written last: this file marks the document as complete.
        self.write_file("concept", &format!("{name}.con"), concepts.as_bytes())
    }

    fn finish(self: Box<Self>) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::round_trip;
    use super::*;
    use crate::{Format, FormatOptions};
    use proptest::collection::vec;
    use proptest::prelude::*;
    use proptest::sample::select;

    fn read(text: &[u8], concepts: &[u8], assertions: Option<&[u8]>) -> (Document, Diagnostics) {
        let file = |path, bytes| File { path: Path::new(path), bytes };
        let mut diagnostics = Diagnostics::default();
        let assertions = assertions.map(|bytes| file("d.ast", bytes));
        let document = read_document("d", file("d.txt", text), file("d.con", concepts), assertions, &mut diagnostics);
        (document.expect("memory can be read"), diagnostics)
    }

    /// `mentions`: each as `span type` and its assertion. `faults`: as printed, without the document.
    fn check_asserted(text: &str, concepts: &str, assertions: Option<&str>, mentions: &[&str], faults: &[&str]) {
        let (document, diagnostics) = read(text.as_bytes(), concepts.as_bytes(), assertions.map(str::as_bytes));
        let show = |m: &Mention| {
            let assertion = m.attributes.get(ASSERTION).map(|value| format!(" {value}")).unwrap_or_default();
            format!("{} {}{assertion}", m.span(), m.entity_type)
        };
        assert_eq!(document.mentions.iter().map(show).collect_vec(), mentions, "{text:?} {concepts:?}");
        let printed = diagnostics.0.iter().map(|fault| fault.to_string().replace("document d: ", "")).collect_vec();
        assert_eq!(printed, faults, "{text:?} {concepts:?}");
    }

    fn check(text: &str, concepts: &str, mentions: &[&str], faults: &[&str]) {
        check_asserted(text, concepts, None, mentions, faults);
    }

    #[test]
    fn places_are_lines_and_tokens() {
        check("a bc d\n", "c=\"bc\" 1:1 1:1||t=\"x\"\n", &["2..4 x"], &[]);
        check("a bc d\n", "c=\"BC  D\" 1:1 1:2||t=\"x y\"\r\n\n", &["2..6 x y"], &[]);
        // No line break at the end; an empty line; a byte-order mark.
        check("\u{feff}a\n\nbc", "\u{feff}c=\"bc\" 3:0 3:0||t=\"x\"", &["3..5 x"], &[]);
        // A leading space gives an empty token, and carriage returns belong to line breaks.
        check(" a b\r\n c\r\n", "c=\"c\" 2:1 2:1||t=\"x\"\nc=\"a b\" 1:1 1:2||t=\"x\"\n", &["7..8 x", "1..4 x"], &[]);
        // An empty token at an end of a concept is not part of the mention.
        check(" a \n", "c=\"a\" 1:0 1:2||t=\"x\"\n", &["1..2 x"], &[]);
        // Across lines, in the ways in which texts are written.
        check("a b\nc\n", "c=\"b c\" 1:1 2:0||t=\"x\"\n", &["2..5 x"], &[]);
        check("a b\r\nc\n", "c=\"bc\" 1:1 2:0||t=\"x\"\n", &["2..6 x"], &[]);
        // Quotes, and text that looks like the rest of a line.
        check("a \" b \" c\n", "c=\"\" b \"\" 1:1 1:3||t=\"x\"\n", &["2..7 x"], &[]);
        check("a\" 1:0 1:0||t=\"y\n", "c=\"a\" 1:0 1:0||t=\"y\" 1:0 1:2||t=\"x\"\n", &["0..16 x"], &[]);
        // Characters of several bytes; a no-break space.
        check(
            "ä 👩\u{200d}👧\u{a0}É e\u{301}\n",
            "c=\"👩\u{200d}👧 é E\u{301}\" 1:1 1:2||t=\"x\"\n",
            &["2..10 x"],
            &[],
        );
    }

    #[test]
    fn three_ways_to_count_tokens_are_told_apart() {
        let spaced = " a  b\n";
        check(spaced, "c=\"a\" 1:1 1:1||t=\"x\"\nc=\"b\" 1:3 1:3||t=\"x\"\n", &["1..2 x", "4..5 x"], &[]);
        check(spaced, "c=\"a\" 1:1 1:1||t=\"x\"\nc=\"b\" 1:2 1:2||t=\"x\"\n", &["1..2 x", "4..5 x"], &[]);
        check(spaced, "c=\"a\" 1:0 1:0||t=\"x\"\nc=\"b\" 1:1 1:1||t=\"x\"\n", &["1..2 x", "4..5 x"], &[]);
    }

    #[test]
    fn lines_are_sentences_and_tokens_words() {
        let (document, _) = read(b" a bc\r\n\r\nd  e\n", b"", None);
        assert_eq!(document.text, " a bc\r\n\r\nd  e\n");
        assert_eq!(document.sentences, [Span::new(0, 5), Span::new(9, 13)]);
        assert_eq!(document.words, [(1, 2), (3, 5), (9, 10), (12, 13)].map(|(start, end)| Span::new(start, end)));
    }

    #[test]
    fn assertions_are_attributes_of_their_mentions() {
        let (text, concepts) = ("a b c\n", "c=\"a\" 1:0 1:0||t=\"x\"\nc=\"b\" 1:1 1:1||t=\"y\"\n");
        let check = |assertions: &str, mentions: &[&str], faults: &[&str]| {
            check_asserted(text, concepts, Some(assertions), mentions, faults);
        };
        let a = "c=\"a\" 1:0 1:0||t=\"x\"||a=\"absent\"\n";
        check("", &["0..1 x", "2..3 y"], &[]);
        check(a, &["0..1 x absent", "2..3 y"], &[]);
        let again = "d.ast:2: duplicate mention: repeated assertion";
        check(&format!("{a}{a}"), &["0..1 x absent", "2..3 y"], &[again]);
        let second = "d.ast:2: malformed line: a second assertion of its concept; the first was kept";
        check(&format!("{a}{}", a.replace("absent", "present")), &["0..1 x absent", "2..3 y"], &[second]);
        let missing = "malformed line: no concept of this type at this position; the assertion was left out";
        check("c=\"a\" 1:0 1:0||t=\"y\"||a=\"absent\"\n", &["0..1 x", "2..3 y"], &[&format!("d.ast:1: {missing}")]);
        let form = "malformed line: the line must have the form c=\"…\" L:T L:T||t=\"…\"||a=\"…\"";
        check("\nc=\"a\" 1:0 1:0||t=\"x\"\n", &["0..1 x", "2..3 y"], &[&format!("d.ast:2: {form}")]);
    }

    #[test]
    fn faults_are_noted_with_their_line_and_valid_parts_kept() {
        let check = |line: &str, fault: &str| {
            check(
                "a b\nc\n",
                &format!("c=\"b\" 1:1 1:1||t=\"x\"\n{line}\n"),
                &["2..3 x"],
                &[&format!("d.con:2: {fault}")],
            );
        };
        for line in [
            "secret",
            "c=\"a\"",
            "c=\"a\" 1:0||t=\"x\"",
            "c=\"a\" 1:0 1:0||t=\"\"",
            "c=\"a\" 1:0 1:0||t=\"x",
            "c=\"a 1:0 1:0||t=\"x\"",
            "c=\"a\" 1:0 1:-1||t=\"x\"",
            "c=\"a\" 1:0 1:18446744073709551615||t=\"x\"",
            "c=\"a\" 1:0 1:0||t=\"x\"||a=\"present\"",
        ] {
            check(line, "malformed line: the line must have the form c=\"…\" L:T L:T||t=\"…\"");
        }
        let at = |place: &str| format!("offset out of range: the text has no tokens {place}");
        check("c=\"a\" 0:0 1:0||t=\"x\"", &at("0:0 to 1:0"));
        check("c=\"a\" 1:0 1:2||t=\"x\"", &at("1:0 to 1:2"));
        check("c=\"a\" 1:0 3:0||t=\"x\"", &at("1:0 to 3:0"));
        check("c=\"b\" 2:0 1:1||t=\"x\"", "offset out of range: 2:0 to 1:1 is empty");
        let differs = "text does not match the offsets: the text of the concept differs from the tokens";
        check("c=\"secret\" 1:0 1:0||t=\"x\"", &format!("{differs} 1:0 to 1:0"));
        check("c=\"B\" 1:1 1:1||t=\"x\"", "duplicate mention: x at 2..3");
        let (document, diagnostics) = read(b"a\nb\xff c\n", b"c=\"c\" 2:1 2:1||t=\"x\"\n", None);
        assert_eq!((document.text.as_str(), document.mentions.len()), ("a\nb\u{fffd} c\n", 1));
        let fault = diagnostics.0[0].to_string();
        assert!(
            fault.starts_with("d.txt:2: document d: invalid UTF-8: byte 2 of the line is not UTF-8; if"),
            "{fault}"
        );
    }

    #[test]
    fn unsupported_parts_are_widened_or_lost() {
        let mut document = Document::new("d", "ab cd ef");
        let mention = |start, end, entity_type: &str| Mention::new(Span::new(start, end), entity_type);
        document.mentions = vec![
            mention(1, 2, "x"),
            mention(0, 2, "x"),
            mention(2, 3, "x"),
            mention(2, 4, "x"),
            mention(4, 7, "say \"x\""),
            mention(0, 1, ""),
        ];
        document.mentions.push(Mention { fragments: vec![Span::new(0, 2), Span::new(6, 8)], ..mention(0, 2, "x") });
        let expressed = express(&document);
        let places = [Some(0), None, None, Some(1), Some(2), None, None];
        assert_eq!(expressed.mentions, places);
        let mentions = [mention(0, 2, "x"), mention(3, 5, "x"), mention(3, 8, "say _x_")];
        assert_eq!(expressed.document.mentions, mentions);
    }

    #[test]
    fn folders_of_both_layouts_and_files_without_their_like() {
        let folder = tempfile::tempdir().expect("a folder");
        let write = |name: &str, contents: &str| {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().expect("a folder")).expect("made");
            fs::write(path, contents).expect("written");
        };
        let concept = "c=\"a\" 1:0 1:0||t=\"x\"\n";
        for name in ["b.txt", "txt/a%2F1.txt", "txt/lonely.txt", "c.txt", "txt/c.txt", "._b.txt", "txt/notes.md"] {
            write(name, "a\n");
        }
        for name in ["b.con", "concepts/a%2F1.con", "concept/c.con", "stray.con"] {
            write(name, concept);
        }
        write("ast/b.ast", "c=\"a\" 1:0 1:0||t=\"x\"||a=\"absent\"\n");
        write("rel/b.rel", "c=\"a\" 1:0 1:0||r=\"R\"||c=\"a\" 1:0 1:0\n\n");
        let (documents, diagnostics) = Format::I2b2.read(folder.path(), &FormatOptions::default()).expect("readable");
        assert_eq!(
            documents.iter().map(|d| (d.id.as_str(), d.mentions.len())).collect_vec(),
            [("a/1", 1), ("b", 1), ("c", 1)]
        );
        assert_eq!(documents[1].mentions[0].attributes[ASSERTION], "absent");
        let faults = diagnostics.0.iter().map(|fault| {
            let file = fault.file.strip_prefix(folder.path()).expect("inside");
            format!("{} {}: {}", file.display(), fault.kind, fault.message)
        });
        let expected = [
            "c.txt duplicate document: a second file of this kind for its document; left out",
            "rel/b.rel not supported, left out: 1 relations",
            "stray.con unknown document: the annotation has no text; left out",
            "txt/lonely.txt unknown document: the text has no concept file; left out",
        ];
        assert_eq!(faults.collect_vec(), expected);

        // Concepts alone, and with the texts of another folder.
        let predicted = tempfile::tempdir().expect("a folder");
        fs::write(predicted.path().join("b.con"), concept).expect("written");
        let (documents, diagnostics) = read_with_texts(predicted.path(), folder.path()).expect("readable");
        assert_eq!((documents.len(), documents[0].mentions.len(), diagnostics.0.len()), (1, 1, 0));
        let (concepts, _) = read_concepts(predicted.path()).expect("readable");
        let (start, end) = (TokenPosition { line: 1, token: 0 }, TokenPosition { line: 1, token: 1 });
        assert_eq!((concepts["b"][0].start, concepts["b"][0].end), (start, end));

        let empty = tempfile::tempdir().expect("a folder");
        assert!(Reader::open(empty.path()).is_err());
    }

    /// Pieces of concept files, so that random ones are nearly valid.
    const PIECES: &[&str] = &[
        "c=\"", "\"", " ", "1:0", "1:1", "2:0", "0:0", "9:9", "||t=\"", "x", "||a=\"", "\n", "a", "b", "\r\n",
        "\u{feff}", "é",
    ];

    fn pieces() -> impl Strategy<Value = Vec<u8>> {
        vec(select(PIECES), 0..40).prop_map(|pieces| pieces.concat().into_bytes())
    }

    proptest! {
        #[test]
        fn written_documents_are_read_back(documents in vec((round_trip::document(), vec(select(vec!["", "absent", "a\"b\nc"]), 6)), 0..4)) {
            let documents = documents.into_iter().map(|(mut document, assertions)| {
                for (mention, assertion) in document.mentions.iter_mut().zip(assertions) {
                    mention.attributes.insert(ASSERTION.to_owned(), assertion.to_owned());
                }
                document
            });
            round_trip::check(Format::I2b2, &FormatOptions::default(), &documents.collect_vec())?;
        }

        #[test]
        fn no_input_makes_it_fail(text in pieces(), concepts in pieces(), assertions in pieces(), noise in vec(any::<u8>(), 0..60)) {
            let places = |document: &Document| document.mentions.iter().all(|m| covered_words(&document.words, m.span()) == Some(m.span()));
            prop_assert!(places(&read(&text, &concepts, Some(&assertions)).0));
            prop_assert!(places(&read(&noise, &concepts, Some(&noise)).0));
            prop_assert!(places(&read(&text, &noise, None).0));
        }
    }
}
