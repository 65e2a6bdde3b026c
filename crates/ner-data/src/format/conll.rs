//! CoNLL columns: one word with its tag per line, a blank line between sentences.
//!
//! Reading decides from the beginning of a file how its columns are written:
//!
//! - Tabs separate columns if most rows have one; words may then contain blanks. Otherwise blanks and tabs separate them.
//! - The most frequent number of columns is that of the file. A row with another number is a fault. If the first of
//!   three or more columns numbers the words, the second has the words.
//! - Tags are prefixes with a type (`B-Disease`, `B_Disease`, `b-disease`), suffixes (`Disease-B`), or have no type (`B`),
//!   which is then `_`. The letters are those of IOB1, IOB2, IOE1, IOE2, IO, BIOES, BILOU and BMES (with `W`).
//!   `o` and `0` stand for `O`. Every other tag is a fault: no mention of its sentence is read.
//!
//! A line that begins with `#` and has no tag in its column is a comment. `-DOCSTART-` lines and comments such as
//! `###MEDLINE:95369245` or `# newdoc id = 7` begin documents; in a file without them each sentence is a document.
//! Documents without an id are numbered from 1, and [`express`] leaves the id empty. Writing produces two columns, which
//! the default columns read. Source: Tjong Kim Sang and De Meulder (2003), CoNLL-2003 shared task.

pub(super) use super::columns::begins;
use super::columns::{
    DOCUMENT_START, Shape, TAG_SEPARATORS, document_of_comment, document_start, has_several_tags, id_of_start,
    is_blank, is_extra_number, is_heading, quoted, style_of,
};
use super::encoding::Decoded;
use super::lines::Lines;
use super::{Expressed, Output, open_file};
use crate::{
    DiagnosticKind, Diagnostics, Document, LabelSet, Mention, MisfitReason, Position, Span, TagScheme, TaggedEntity,
    align,
};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeSet, VecDeque};
use std::io::{self, BufRead, Write};
use std::path::Path;
use unicode_normalization::char::is_combining_mark;

/// Options of the format.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ConllOptions {
    /// Column of the words to read, from 0; `None` for the first that does not number the words.
    pub word_column: Option<usize>,
    /// Column of the tags to read, from 0; `None` for the last column of the file.
    pub tag_column: Option<usize>,
    /// Scheme of the tags to write.
    pub scheme: Scheme,
    /// Whether to write a `-DOCSTART-` line before each document. Otherwise each sentence is read back as a document.
    pub documents: bool,
}

impl Default for ConllOptions {
    fn default() -> Self {
        Self { word_column: None, tag_column: None, scheme: Scheme::default(), documents: true }
    }
}

/// How written tags mark where mentions begin and end.
///
/// Source: Ramshaw and Marcus (1995); Ratinov and Roth (2009) for BIOES (there BILOU).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scheme {
    /// `I-X`; `B-X` on the first word only if another mention of the type ends directly before it.
    Iob1,
    /// `B-X` on the first word, `I-X` on the rest.
    #[default]
    Iob2,
    /// `B-X`, `I-X`, `E-X` on the last word, `S-X` on a single word.
    Bioes,
    /// `I-X`; two adjacent mentions of one type merge.
    Io,
}

impl Scheme {
    /// Letter of word `at` of a mention of `len` words. `touches`: a mention of its type ends directly before it.
    const fn letter(self, at: usize, len: usize, touches: bool) -> char {
        match self {
            Self::Iob1 if at == 0 && touches => 'B',
            Self::Io | Self::Iob1 => 'I',
            Self::Bioes if len == 1 => 'S',
            Self::Iob2 | Self::Bioes if at == 0 => 'B',
            Self::Bioes if at + 1 == len => 'E',
            Self::Iob2 | Self::Bioes => 'I',
        }
    }
}

/// Type of tags that name none, as in seqeval.
const UNTYPED: &str = "_";

/// Number of mentions beginning with `I`, and none with `B`, after which a file is assumed never to use `B`.
const PATIENCE: usize = 1000;

/// Number of lines, and of bytes, from which the [`Shape`] of a file is told.
const BEGINNING: (usize, usize) = (1000, 1 << 16);

/// A sentence of the file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TaggedSentence {
    /// Line of each word, from 1. (Not a single number: words may be separated by a malformed line that was left out.)
    pub lines: Vec<usize>,
    /// The words.
    pub words: Vec<String>,
    /// Their tags in one spelling: `O`, `B` without a type, `B-Disease`. What is not a tag is unchanged.
    pub tags: Vec<String>,
}

/// Reads the sentences of a file.
///
/// # Errors
/// Only if the file cannot be read.
pub fn read_sentences(path: &Path, options: &ConllOptions) -> io::Result<(Vec<TaggedSentence>, Diagnostics)> {
    let mut parts = Parts::new(Decoded::or_refused(open_file(path)?)?, path, options);
    let mut sentences = Vec::new();
    while let Some(part) = parts.next()? {
        if let Part::Sentence(sentence, faults) = part {
            sentences.push(sentence);
            for (line, message) in faults {
                parts.lines.report_at(line, DiagnosticKind::UnknownTag, None, message);
            }
        }
    }
    Ok((sentences, parts.lines.take_diagnostics()))
}

/// A part of a file.
enum Part {
    /// The start of a document on this line, and its id if it has one.
    Document(usize, Option<String>),
    /// A non-empty sentence, and the lines of its unknown tags with what is wrong.
    Sentence(TaggedSentence, Vec<(usize, String)>),
}

/// The parts of a file, one at a time.
struct Parts<R> {
    lines: Lines<R>,
    options: ConllOptions,
    shape: Shape,
    /// Lines that were read to tell the shape, with their numbers.
    ahead: VecDeque<(usize, String)>,
    /// Number of the current line.
    number: usize,
    /// Whether a row was read.
    has_rows: bool,
    /// Whether a missing column of tags was reported.
    has_reported: bool,
    /// Id that a comment gave to the current document.
    id: Option<String>,
    /// A document that begins after the last returned sentence.
    pending: Option<(usize, Option<String>)>,
}

impl<R: BufRead> Parts<R> {
    fn new(input: R, file: &Path, options: &ConllOptions) -> Self {
        Self {
            lines: Lines::new(input, file),
            options: options.clone(),
            shape: Shape::of(&[], None, None),
            ahead: VecDeque::new(),
            number: 0,
            has_rows: false,
            has_reported: false,
            id: None,
            pending: None,
        }
    }

    fn next_line(&mut self) -> io::Result<Option<String>> {
        if self.lines.number() == 0 {
            let mut bytes = 0;
            while self.ahead.len() < BEGINNING.0 && bytes < BEGINNING.1 {
                let Some(line) = self.lines.next_line()? else { break };
                bytes += line.len();
                self.ahead.push_back((self.lines.number(), line));
            }
            let lines: Vec<&str> = self.ahead.iter().map(|(_, line)| line.as_str()).collect();
            self.shape = Shape::of(&lines, self.options.word_column, self.options.tag_column);
        }
        if let Some((number, line)) = self.ahead.pop_front() {
            self.number = number;
            return Ok(Some(line));
        }
        let line = self.lines.next_line()?;
        self.number = self.lines.number();
        Ok(line)
    }

    fn next(&mut self) -> io::Result<Option<Part>> {
        if let Some((line, id)) = self.pending.take() {
            return Ok(Some(Part::Document(line, id)));
        }
        let (mut sentence, mut faults) = (TaggedSentence::default(), Vec::new());
        while let Some(line) = self.next_line()? {
            if is_blank(&line) {
                if sentence.words.is_empty() {
                    continue;
                }
                break;
            }
            match self.document_on(&line) {
                Some(Some(id)) if sentence.words.is_empty() => return Ok(Some(Part::Document(self.number, id))),
                Some(Some(id)) => {
                    self.pending = Some((self.number, id));
                    break;
                }
                Some(None) => {}
                None => self.read_row(&line, &mut sentence, &mut faults),
            }
        }
        Ok((!sentence.words.is_empty()).then_some(Part::Sentence(sentence, faults)))
    }

    /// `None` for a row, `Some(None)` for a comment, and else the id of the document that the line begins.
    fn document_on(&mut self, line: &str) -> Option<Option<Option<String>>> {
        if let Some(text) = document_start(line) {
            let id = id_of_start(text).unwrap_or_else(|()| {
                self.note("the text of this line is not a plain id; the document is numbered");
                None
            });
            self.id = None;
            return Some(Some(id.map(str::to_owned)));
        }
        if !line.starts_with('#') || self.shape.is_row(&self.shape.row(line)) {
            return None;
        }
        match document_of_comment(line) {
            // The next sentence of the same document.
            Some(id) if id.is_some() && id == self.id.as_deref() => Some(None),
            Some(id) => {
                self.id = id.map(str::to_owned);
                Some(Some(self.id.clone()))
            }
            None => {
                self.note("a comment");
                Some(None)
            }
        }
    }

    fn read_row(&mut self, line: &str, sentence: &mut TaggedSentence, faults: &mut Vec<(usize, String)>) {
        let Shape { tabs, columns, word_column, tag_column, has_tags, .. } = self.shape;
        let row = self.shape.row(line);
        let is_first = !std::mem::replace(&mut self.has_rows, true);
        if row.len() != columns {
            let by = if tabs { "; tabs separate the columns of this file" } else { "" };
            return self.malformed(format!("columns: {} here, {columns} in the file{by}", row.len()));
        }
        let (Some(word), Some(tag), true) = (row.get(word_column), row.get(tag_column), word_column != tag_column)
        else {
            let message = format!(
                "columns: {columns}; the word is expected in column {word_column} and the tag in column {tag_column}, \
                 counted from 0"
            );
            return self.malformed(message);
        };
        if word_column == 1 && row.first().is_some_and(|number| is_extra_number(number)) {
            return self.note("a token of several words, or an empty word");
        }
        let canonical = self.shape.canonical(tag);
        if word.is_empty() {
            return match canonical.as_deref() {
                Ok("O") => self.note("a row without a word"),
                _ => self.malformed("the word is empty".to_owned()),
            };
        }
        if is_first && is_heading(&row) {
            return self.note("the names of the columns");
        }
        if !has_tags && !matches!(*tag, "O" | "o") {
            self.report_other_column();
        }
        let tag = match canonical {
            Ok(canonical) => {
                if self.shape.style.is_none() {
                    self.shape.style = style_of(tag);
                }
                canonical
            }
            Err(_) if !has_tags => (*tag).to_owned(),
            Err(reason) => {
                let message = format!("{} {reason}; no mention of its sentence is read", quoted(tag));
                faults.push((self.number, message));
                (*tag).to_owned()
            }
        };
        sentence.lines.push(self.number);
        sentence.words.push((*word).to_owned());
        sentence.tags.push(tag);
    }

    /// Reports once that the tag column has other values than tags, which may be text.
    fn report_other_column(&mut self) {
        if std::mem::replace(&mut self.has_reported, true) {
            return;
        }
        let column = self.shape.tag_column;
        let other = match self.shape.other_tags {
            Some(other) => format!("column {other} has tags (--tag-column {other})"),
            None => "choose the column of the tags with --tag-column".to_owned(),
        };
        let message =
            format!("most values of column {column} (counted from 0) are not tags, so no mention is read; {other}");
        self.lines.report_at(self.number, DiagnosticKind::UnknownTag, None, message);
    }

    fn malformed(&mut self, message: String) {
        self.lines.report_at(self.number, DiagnosticKind::MalformedLine, None, message);
    }

    /// Notes a line that is passed over.
    fn note(&mut self, message: &str) {
        self.lines.report_at(self.number, DiagnosticKind::NotRead, None, message.to_owned());
    }
}

/// Reads documents one at a time: words joined by a space, sentences by a line break.
pub struct Reader<R> {
    parts: Parts<R>,
    /// The part read while looking for the end of the previous document.
    pending: Option<Part>,
    /// Number of documents so far.
    count: usize,
    /// Line where the last returned document begins.
    first_line: usize,
    beginnings: Beginnings,
}

/// How mentions begin, as far as the file has shown.
enum Beginnings {
    /// With `I` or `E` on these lines of these documents, and never with `B`.
    Unknown(Vec<(usize, String)>),
    /// With `B`, so that an `I` is a fault.
    WithB,
    /// With `I` or `E`: IOB1, IO or IOE.
    WithI,
}

impl<R: BufRead> super::Reader for Reader<R> {
    fn next_document(&mut self) -> io::Result<Option<Document>> {
        let first = match self.pending.take() {
            Some(part) => part,
            None => match self.parts.next()? {
                Some(part) => part,
                None => return Ok(None),
            },
        };
        self.count += 1;
        let mut document = Document::new(self.count.to_string(), "");
        match first {
            Part::Document(line, id) => {
                self.first_line = line;
                document.id = id.unwrap_or(document.id);
            }
            Part::Sentence(sentence, faults) => {
                self.first_line = sentence.lines[0];
                self.read_sentence(&mut document, &sentence, faults);
                return Ok(Some(document));
            }
        }
        loop {
            match self.parts.next()? {
                Some(Part::Sentence(sentence, faults)) => self.read_sentence(&mut document, &sentence, faults),
                other => {
                    self.pending = other;
                    return Ok(Some(document));
                }
            }
        }
    }

    fn place(&self) -> (&Path, usize) {
        (self.parts.lines.file(), self.first_line)
    }

    fn take_diagnostics(&mut self) -> Diagnostics {
        self.parts.lines.take_diagnostics()
    }
}

impl<R: BufRead> Reader<R> {
    /// A reader of `input`; diagnostics report `file` as its name.
    pub fn new(input: R, file: &Path, options: &ConllOptions) -> Self {
        let parts = Parts::new(input, file, options);
        Self { parts, pending: None, count: 0, first_line: 0, beginnings: Beginnings::Unknown(Vec::new()) }
    }

    /// A mention begins at `B` and `S`, and at an `I` or `E` that does not continue one of its type. It ends after `E`
    /// and `S`, and before a word that does not continue it. [`LabelSet::decode`] reads tags the same way.
    fn read_sentence(&mut self, document: &mut Document, sentence: &TaggedSentence, faults: Vec<(usize, String)>) {
        let words = append_sentence(document, &sentence.words);
        let is_readable = faults.is_empty() && self.parts.shape.has_tags;
        for (line, message) in faults {
            self.parts.lines.report_at(line, DiagnosticKind::UnknownTag, Some(&document.id), message);
        }
        if !is_readable {
            document.words.extend(words);
            return;
        }
        // Type of the mention that the next tag may continue.
        let mut open: Option<&str> = None;
        for ((tag, &line), word) in sentence.tags.iter().zip(&sentence.lines).zip(&words) {
            let Some((position, entity_type)) = split(tag) else {
                open = None;
                continue;
            };
            let follows = open == Some(entity_type);
            self.check_beginning(position, follows, line, &document.id);
            let continues = follows && matches!(position, Position::Inside | Position::End);
            match document.mentions.last_mut() {
                Some(last) if continues => last.fragments[0].end = word.end,
                _ => document.mentions.push(Mention::new(*word, entity_type)),
            }
            open = (!matches!(position, Position::End | Position::Single)).then_some(entity_type);
        }
        document.words.extend(words);
    }

    /// Notes a tag that should continue a mention but follows none. `I` and `E` may begin one, unless the file has shown
    /// that its mentions begin with `B`; earlier faults are then noted as well.
    fn check_beginning(&mut self, position: Position, follows: bool, line: usize, document: &str) {
        match (position, &mut self.beginnings) {
            // Also in IOB1, `B` begins a mention directly after another of its type.
            _ if follows => {}
            (Position::End | Position::Inside, Beginnings::WithB) => self.broken(line, document),
            (Position::End | Position::Inside, Beginnings::Unknown(lines)) => {
                lines.push((line, document.to_owned()));
                if lines.len() == PATIENCE {
                    self.beginnings = Beginnings::WithI;
                }
            }
            (Position::Begin | Position::Single, Beginnings::Unknown(lines)) => {
                let lines = std::mem::take(lines);
                self.beginnings = Beginnings::WithB;
                for (line, document) in lines {
                    self.broken(line, &document);
                }
            }
            (_, Beginnings::WithB | Beginnings::WithI) => {}
        }
    }

    fn broken(&mut self, line: usize, document: &str) {
        let message = "the tag continues no entity of its type; read as a beginning".to_owned();
        self.parts.lines.report_at(line, DiagnosticKind::InvalidTagSequence, Some(document), message);
    }
}

/// Appends a sentence to the document's text; returns the spans of its words.
fn append_sentence(document: &mut Document, words: &[String]) -> Vec<Span> {
    let mut at = document.sentences.last().map_or(0, |sentence| sentence.end);
    if at > 0 {
        document.text.push('\n');
        at += 1;
    }
    let start = at;
    let mut spans = Vec::with_capacity(words.len());
    for word in words {
        if at > start {
            document.text.push(' ');
            at += 1;
        }
        document.text.push_str(word);
        let end = at + word.chars().count();
        spans.push(Span::new(at, end));
        at = end;
    }
    document.sentences.push(Span::new(start, at));
    spans
}

/// Splits a tag in the spelling of [`TaggedSentence`] into position and type; `None` for `O`.
fn split(tag: &str) -> Option<(Position, &str)> {
    let mut rest = tag.chars();
    let position = match rest.next()? {
        'B' => Position::Begin,
        'I' => Position::Inside,
        'E' | 'L' => Position::End,
        'S' | 'U' => Position::Single,
        _ => return None,
    };
    Some((position, rest.as_str().strip_prefix('-').unwrap_or(UNTYPED)))
}

/// Converts a document to what this format can represent.
///
/// Uses the document's words; text without words is split into runs of letters and digits, and single other characters.
/// Uses the document's sentences, or else lines and passages; sentences that share a mention are joined. Mentions are
/// widened to whole words. Of overlapping mentions the longest is kept, as in [`align`].
pub fn express(document: &Document, options: &ConllOptions) -> Expressed {
    let characters: Vec<char> = document.text.chars().collect();
    let words = words_of(document, &characters);
    let mentions: Vec<Mention> = document
        .mentions
        .iter()
        .map(|mention| Mention { entity_type: written_type(&mention.entity_type), ..mention.clone() })
        .collect();
    let types: BTreeSet<&str> = mentions.iter().map(|mention| mention.entity_type.as_str()).collect();
    let labels = LabelSet::new(TagScheme::Bio, types.into_iter().filter(|entity_type| !entity_type.is_empty()));
    let alignment = align(&words, &mentions, &labels);

    let breaks = breaks_of(document, &characters);
    let sentence_of = |word: Span| breaks.partition_point(|&at| at <= word.start);
    let mut starts: Vec<bool> =
        (0..words.len()).map(|at| at == 0 || sentence_of(words[at]) != sentence_of(words[at - 1])).collect();
    for entity in &alignment.entities {
        starts[entity.units.start + 1..entity.units.end].fill(false);
    }
    let entities = match options.scheme {
        Scheme::Io => merge_touching(&alignment.entities, &starts),
        Scheme::Iob1 | Scheme::Iob2 | Scheme::Bioes => alignment.entities,
    };

    let text_of = |word: &Span| characters[word.start..word.end].iter().collect::<String>();
    let mut expressed = Document::default();
    let mut at = 0;
    while at < words.len() {
        let end = (at + 1..words.len()).find(|&next| starts[next]).unwrap_or(words.len());
        let sentence: Vec<String> = words[at..end].iter().map(text_of).collect();
        let spans = append_sentence(&mut expressed, &sentence);
        expressed.words.extend(spans);
        at = end;
    }
    expressed.mentions = entities
        .iter()
        .map(|entity| {
            let span = Span::new(expressed.words[entity.units.start].start, expressed.words[entity.units.end - 1].end);
            Mention::new(span, labels.types[entity.entity_type].as_str())
        })
        .collect();

    let place = |(at, mention): (usize, &Mention)| {
        let misfit = alignment.misfits.binary_search_by_key(&at, |misfit| misfit.mention).ok();
        if misfit.is_some_and(|misfit| alignment.misfits[misfit].reason != MisfitReason::InsideUnit) {
            return None;
        }
        let first = words.partition_point(|word| word.end <= mention.span().start);
        // `None` if it was merged into the previous one.
        entities.binary_search_by_key(&first, |entity| entity.units.start).ok()
    };
    let mentions = mentions.iter().enumerate().map(place).collect();
    Expressed { document: expressed, mentions, relations: vec![None; document.relations.len()] }
}

/// The type as it can be part of a tag.
fn written_type(entity_type: &str) -> String {
    let written = entity_type.replace(parts_columns, "_");
    if has_several_tags(&written) { written.replace(TAG_SEPARATORS, "_") } else { written }
}

/// Characters that a column cannot contain.
fn parts_columns(character: char) -> bool {
    // At the start of a line U+FEFF is a byte-order mark.
    character.is_ascii_whitespace() || character == '\u{feff}'
}

/// The words of a document and those between them, in order.
fn words_of(document: &Document, characters: &[char]) -> Vec<Span> {
    let mut words = Vec::new();
    let mut at = 0;
    for &word in &document.words {
        if word.start < at || word.end > characters.len() {
            continue;
        }
        cut_words(characters, Span::new(at, word.start), &mut words);
        let text = &characters[word.start..word.end];
        let is_mark = DOCUMENT_START.chars().eq(text.iter().copied());
        if is_mark || text.is_empty() || text.iter().copied().any(parts_columns) {
            cut_words(characters, word, &mut words);
        } else {
            words.push(word);
        }
        at = word.end;
    }
    cut_words(characters, Span::new(at, characters.len()), &mut words);
    words
}

/// Splits a part of a text into runs of letters and digits, including combining marks, and single other characters.
fn cut_words(characters: &[char], part: Span, words: &mut Vec<Span>) {
    let mut run: Option<usize> = None;
    for (at, &character) in (part.start..).zip(&characters[part.start..part.end]) {
        if character.is_alphanumeric() || is_combining_mark(character) {
            run.get_or_insert(at);
            continue;
        }
        words.extend(run.take().map(|start| Span::new(start, at)));
        if !character.is_whitespace() && !parts_columns(character) {
            words.push(Span::new(at, at + 1));
        }
    }
    words.extend(run.map(|start| Span::new(start, part.end)));
}

/// Positions where a sentence may begin, ascending.
fn breaks_of(document: &Document, characters: &[char]) -> Vec<usize> {
    let ends = |span: &Span| [span.start, span.end];
    let mut breaks: Vec<usize> = document.sentences.iter().flat_map(ends).collect();
    if breaks.is_empty() {
        breaks.extend(document.passages.iter().flat_map(|passage| ends(&passage.span)));
        breaks.extend((0..characters.len()).filter(|&at| matches!(characters[at], '\n' | '\r')));
    }
    breaks.sort_unstable();
    breaks
}

/// Merges adjacent entities of one type inside a sentence, as IO tags do.
fn merge_touching(entities: &[TaggedEntity], starts: &[bool]) -> Vec<TaggedEntity> {
    let mut merged: Vec<TaggedEntity> = Vec::with_capacity(entities.len());
    for entity in entities {
        let TaggedEntity { units, entity_type } = entity;
        match merged.last_mut() {
            Some(last) if last.units.end == units.start && last.entity_type == *entity_type && !starts[units.start] => {
                last.units.end = units.end;
            }
            _ => merged.push(entity.clone()),
        }
    }
    merged
}

/// Writes documents as two columns: word, tab, tag.
pub struct Sink<'w> {
    out: Output<'w>,
    options: ConllOptions,
}

impl<'w> Sink<'w> {
    /// A sink that writes to `out`.
    pub fn new(out: Output<'w>, options: &ConllOptions) -> Self {
        Self { out, options: options.clone() }
    }
}

impl super::Sink for Sink<'_> {
    fn write(&mut self, document: &Document) -> io::Result<()> {
        let out = &mut self.out;
        if self.options.documents {
            writeln!(out, "{DOCUMENT_START}\tO\n")?;
        }
        let words = &document.words;
        let mut tags = vec!["O".to_owned(); words.len()];
        let mut before: Option<(usize, &str)> = None;
        for mention in &document.mentions {
            let first = words.partition_point(|word| word.end <= mention.span().start);
            let end = words.partition_point(|word| word.start < mention.span().end);
            let starts = document.sentences.binary_search_by_key(&mention.span().start, |sentence| sentence.start);
            let touches = before == Some((first, mention.entity_type.as_str())) && starts.is_err();
            for (at, tag) in tags[first..end].iter_mut().enumerate() {
                let letter = self.options.scheme.letter(at, end - first, touches);
                *tag = format!("{letter}-{}", mention.entity_type);
            }
            before = Some((end, &mention.entity_type));
        }
        let index = document.char_index();
        let mut ends = document.sentences.iter().map(|sentence| sentence.end).peekable();
        for (word, tag) in words.iter().zip(tags) {
            writeln!(out, "{}\t{tag}", index.slice(&document.text, *word).unwrap_or_default())?;
            if ends.next_if_eq(&word.end).is_some() {
                writeln!(out)?;
            }
        }
        Ok(())
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
    use fs_err as fs;
    use proptest::collection::vec;
    use proptest::prelude::*;

    const SCHEMES: [Scheme; 4] = [Scheme::Iob1, Scheme::Iob2, Scheme::Bioes, Scheme::Io];

    fn read(input: &str, conll: &ConllOptions) -> (Vec<Document>, Diagnostics) {
        let options = FormatOptions { conll: conll.clone(), ..FormatOptions::default() };
        let input = Format::Conll.open_input(Box::new(input.as_bytes()), Path::new("in.tsv"), &options);
        input.expect("one file").read_all().expect("memory can be read")
    }

    /// The document as text, and the number of losses.
    fn written(document: &Document, scheme: Scheme, documents: bool) -> (String, usize) {
        let conll = ConllOptions { scheme, documents, ..ConllOptions::default() };
        let options = FormatOptions { conll, ..FormatOptions::default() };
        let mut bytes = Vec::new();
        let out: Box<dyn Write + '_> = Box::new(&mut bytes);
        let mut writer = Format::Conll.create_output(Output::Open(out), &options).expect("one file");
        let losses = writer.write(document).expect("memory").len();
        writer.finish().expect("memory");
        (String::from_utf8(bytes).expect("UTF-8"), losses)
    }

    /// `documents`: each as its text and its mentions as `span type`. `faults`: as printed.
    fn check(input: &str, documents: &[(&str, &[&str])], faults: &[&str]) {
        let (found, diagnostics) = read(input, &ConllOptions::default());
        let printed: Vec<String> = diagnostics.0.iter().map(ToString::to_string).collect();
        assert_eq!(printed, faults);
        let shown: Vec<(String, Vec<String>)> = found
            .iter()
            .map(|d| (d.text.clone(), d.mentions.iter().map(|m| format!("{} {}", m.span(), m.entity_type)).collect()))
            .collect();
        let expected: Vec<(String, Vec<String>)> = documents
            .iter()
            .map(|(text, mentions)| ((*text).to_owned(), mentions.iter().map(|&m| m.to_owned()).collect()))
            .collect();
        assert_eq!(shown, expected);
    }

    #[test]
    fn sentences_documents_and_schemes() {
        check("", &[], &[]);
        check("a\tNN O\nb NN B-X\nc NN\tI-X\n\n\nd  NN B-X\n", &[("a b c", &["2..5 X"]), ("d", &["0..1 X"])], &[]);
        let grouped = "-DOCSTART- -X- O\n\na B-X\n\nä S-X\n\n-DOCSTART-\n\n-DOCSTART- O\nb O\n";
        check(grouped, &[("a\nä", &["0..1 X", "2..3 X"]), ("", &[]), ("b", &[])], &[]);
        check("a B-X\nb I-X\nc E-X\nd S-Y\n", &[("a b c d", &["0..5 X", "6..7 Y"])], &[]);
        check("a B-X\nb L-X\nc U-Y\n", &[("a b c", &["0..3 X", "4..5 Y"])], &[]);
        check("a I-X\nb E-X\nc E-X\n", &[("a b c", &["0..3 X", "4..5 X"])], &[]);
        // A thin space and a no-break space are words.
        check("\u{2009}\tO\n\u{a0}b\tB-X\r\n", &[("\u{2009} \u{a0}b", &["2..4 X"])], &[]);
    }

    /// Each tag, and the same in the spelling of the scores; tags that are none with the reason.
    #[test]
    fn tags_are_read_in_one_spelling_or_refused() {
        let path = tempfile::NamedTempFile::new().expect("a file");
        let check = |tags: &str, expected: &str, refused: &[&str]| {
            let rows: String = tags.split(' ').map(|tag| format!("a\t{tag}\n")).collect();
            fs::write(path.path(), rows).expect("written");
            let (sentences, faults) = read_sentences(path.path(), &ConllOptions::default()).expect("read");
            assert_eq!(sentences[0].tags.join(" "), expected);
            let messages: Vec<&str> = faults.0.iter().map(|fault| fault.message.as_str()).collect();
            assert_eq!(messages.len(), refused.len(), "{messages:?}");
            assert!(messages.iter().zip(refused).all(|(message, part)| message.starts_with(part)), "{messages:?}");
        };
        check("B I O B I-", "B I O B I", &[]);
        check("b-disease i-disease o O 0", "B-disease I-disease O O O", &[]);
        check("B-X M-X E-X S-X W-X L-X U-X", "B-X I-X E-X S-X S-X L-X U-X", &[]);
        check("B_Side-effect I_Side-effect O", "B-Side-effect I-Side-effect O", &[]);
        check("B\u{2013}X I\u{2011}X O", "B-X I-X O", &[]);
        check("T-cell-B B-cell-B Virus_I O", "B-T-cell B-B-cell I-Virus O", &[]);
        check("B-X I-B O", "B-X I-B O", &[]);
        check("B-X B-O| B-X|Y O", "B-X B-O| B-X|Y O", &[]);
        check("B-X O- B O", "B-X O- B O", &["`O-` is neither O nor", "`B` names no type"]);
        check("B I-X B O", "B I-X B O", &["`I-X` names a type"]);
        check("X-B X-I Y-B B-X O", "B-X I-X B-Y B-X O", &["`B-X` has a prefix"]);
        check("B-X I-X|B-Y O O", "B-X I-X|B-Y O O", &["`I-X|B-Y` names several tags"]);
        let long = format!("Q\u{202e}-{}", "x".repeat(99));
        let shown = format!("`Q\\u{{202e}}-{}…` is neither", "x".repeat(37));
        check(&format!("B-X {long} O O"), &format!("B-X {long} O O"), &[&shown]);
    }

    #[test]
    fn every_fault_is_named_with_its_line() {
        let broken = "document 1: invalid tag sequence: the tag continues no entity of its type; read as a beginning";
        let at = |line: usize| format!("in.tsv:{line}: {broken}");
        let mentions = &["2..3 X", "4..5 Y", "6..7 X"];
        check("a O\nb I-X\nc I-Y\nd B-X\n", &[("a b c d", mentions)], &[&at(2), &at(3)]);
        // While no mention begins with B, or only where it must, this is IOB1.
        check("a O\nb I-X\nc I-Y\nd B-Y\n", &[("a b c d", &["2..3 X", "4..5 Y", "6..7 Y"])], &[]);
        check("a S-X\nb I-X\nc E-X\nd E-X\n", &[("a b c d", &["0..1 X", "2..5 X", "6..7 X"])], &[&at(2), &at(4)]);
        let word = "in.tsv:2: malformed line: columns: 1 here, 2 in the file";
        let tag = "in.tsv:4: document 1: unknown tag: `Q-X` is neither O nor one of the letters B, I, E, S, L, U, M, W with \
                   a type (B-TYPE); no mention of its sentence is read";
        check("a O\nsecret\nb B-X\nc Q-X\nd I-X\n\nd B-X\n", &[("a b c d", &[]), ("d", &["0..1 X"])], &[word, tag]);
    }

    /// Where most values of the column are no tags, they are text.
    #[test]
    fn another_column_is_suggested_and_nothing_quoted() {
        let most = "unknown tag: most values of column";
        let rest = "(counted from 0) are not tags, so no mention is read";
        let columns = "a B-X secret\n\nb O secrets\nc I-X O\n";
        let fault = format!("in.tsv:1: {most} 2 {rest}; column 1 has tags (--tag-column 1)");
        check(columns, &[("a", &[]), ("b c", &[])], &[&fault]);
        let fault = format!("in.tsv:2: {most} 1 {rest}; choose the column of the tags with --tag-column");
        check("a O\nb secret\nc secret\n", &[("a b c", &[])], &[&fault]);
        // Zeros can be anything.
        let (documents, faults) = read("a B-X 0\nb O 0\n", &ConllOptions::default());
        assert_eq!((documents[0].mentions.len(), faults.0.len()), (0, 1));
    }

    #[test]
    fn separators_columns_and_lines_that_are_no_rows() {
        let fault = |line: usize, message: &str| format!("in.tsv:{line}: malformed line: {message}");
        let note = |line: usize, message: &str| format!("in.tsv:{line}: not supported, left out: {message}");
        // Tabs alone separate columns where most rows have them; at the end of all rows they separate nothing.
        let row = fault(3, "columns: 1 here, 2 in the file; tabs separate the columns of this file");
        let long = fault(4, "columns: 3 here, 2 in the file; tabs separate the columns of this file");
        check("IL 2\tB-X\n type 2\tI-X\nb O\nc\td\tO\n", &[("IL 2 type 2", &["0..11 X"])], &[&row, &long]);
        let row = fault(3, "columns: 2 here, 3 in the file");
        check("a x O\nb x B-X\n x O\n", &[("a b", &["2..3 X"])], &[&row]);
        let (empty, skipped) = (fault(3, "the word is empty"), note(2, "a row without a word"));
        check("a\tO\n \tO\n\tB-X\n", &[("a", &[])], &[&skipped, &empty]);
        // Rows that begin with # are words, other lines are comments.
        let comments = [1, 4, 5].map(|line| note(line, "a comment"));
        let text = "# id 7 domain=en\n#1 _ _ O\n# _ _ B-X\n#Text=a b\n# c\n#b _ _ O\n";
        check(text, &[("#1 # #b", &["3..4 X"])], &comments.each_ref().map(String::as_str));
        check("Token\tTag\na\tO\n", &[("a", &[])], &[&note(1, "the names of the columns")]);
        check("1 a O\n2 b B-X\n\n1 c O\n", &[("a b", &["2..3 X"]), ("c", &[])], &[]);
        // Classic Mac, and files appended to each other.
        check("a\tO\rb\tB-X\r\rc\tO\r", &[("a b", &["2..3 X"]), ("c", &[])], &[]);
        let appended = "\u{feff}-DOCSTART- O\n\na O\n\n\u{feff}-DOCSTART- O\n\nb B-X\n";
        check(appended, &[("a", &[]), ("b", &["0..1 X"])], &[]);
    }

    #[test]
    fn documents_have_the_ids_of_their_lines() {
        let check = |lines: [&str; 2], expected: [&str; 2], faults: usize| {
            let input = format!("{}\na\tB-X\n\nb\tO\n\n{}\nc\tO\n", lines[0], lines[1]);
            let (documents, diagnostics) = read(&input, &ConllOptions::default());
            let ids: Vec<&str> = documents.iter().map(|document| document.id.as_str()).collect();
            assert_eq!((ids.as_slice(), diagnostics.0.len()), (expected.as_slice(), faults), "{lines:?}");
        };
        check(["###MEDLINE:95369245", "###MEDLINE:95333264"], ["95369245", "95333264"], 0);
        check(["# newdoc id = a-1", "# newdoc"], ["a-1", "2"], 0);
        check(["# hipe2022:document_id = x_7", "# document_id = x_8"], ["x_7", "x_8"], 0);
        check(
            ["#begin document (x/7); part 0", "#begin document (x/7); part 1"],
            ["(x/7); part 0", "(x/7); part 1"],
            0,
        );
        check(["-DOCSTART- (947 testa)", "-DOCSTART-\t-X-\t12345\tO"], ["947 testa", "12345"], 0);
        check(["-DOCSTART- (a)\t-X-\tO", "-DOCSTART- -X- -X- O"], ["a", "2"], 0);
        check(["-DOCSTART- NN O", "-DOCSTART- a new document 7"], ["1", "2"], 2);
        // The sentences of one document.
        let sentences = "# doc_id = 7\na O\n\n# doc_id = 7\nb B-X\n\n# doc_id = 8\nc O\n";
        let (documents, diagnostics) = read(sentences, &ConllOptions::default());
        assert_eq!((documents.len(), documents[0].sentences.len(), diagnostics.0.len()), (2, 2, 0));
    }

    #[test]
    fn the_beginning_of_a_file_tells_it_from_notes() {
        for text in [
            "a NN B-X\nb NN I-X\n",
            "a\tB-X\n",
            "a\tO\nb\tO",
            "a\tB\nb\tI\nc\tO\n",
            "a\tb-disease\rb\to\r",
            "a B-X O\nb O O\nc O O",
            "# id = 7\na O\n#b O\n",
            "###MEDLINE:7\n\na\tB-X\n",
            "a O _\nb B-X 7:8\n",
            "-DOCSTART- -X- O\n",
            "a O\nb B-X\nc O\nd",
        ] {
            assert!(begins(text), "{text:?}");
        }
        for text in [
            "",
            "Started vitamin B-12",
            "Started vitamin B-12\nStopped vitamin B-6\n",
            "hepatitis B\nvitamin E\ngrade I\n",
            "Hepatitis\tB\nVitamin\tE\n",
            "Potassium\t0\nSodium\t0\n",
            "Blood group O\n",
            "Positive for B-cell\nNegative for B-cell\n",
            "# Plan\n\nGave O\n",
            "7|t|vitamin B-12\n",
            "1-1\t0-4\tFever\t*\n1-2\t5-8\tand\t_\n",
        ] {
            assert!(!begins(text), "{text:?}");
        }
    }

    #[test]
    fn columns_can_be_chosen() {
        let chosen = |word_column, tag_column| ConllOptions { word_column, tag_column, ..ConllOptions::default() };
        let input = "-DOCSTART- -X- O O\n\n1 B-X a NN\n2 O b NN\n3 O\n";
        let (documents, diagnostics) = read(input, &chosen(Some(2), Some(1)));
        assert_eq!((documents[0].text.as_str(), documents[0].mentions[0].span()), ("a b", Span::new(0, 1)));
        assert_eq!(diagnostics.0.iter().map(|fault| fault.line).collect::<Vec<_>>(), [5]);
        assert_eq!(read("1 a O\n2 b O\n", &chosen(Some(0), None)).0[0].text, "1 2");
        // The last column cannot be the word and its tag.
        assert_eq!(read("a O\n", &chosen(Some(1), None)).1.0.len(), 1);
    }

    #[test]
    fn text_becomes_words_and_mentions_widen_to_them() {
        let mention = |start, end, entity_type: &str| Mention::new(Span::new(start, end), entity_type);
        // The second ends inside a word, the third overlaps the first, the fourth continues in the next line.
        let mentions =
            vec![mention(1, 5, "X"), mention(9, 10, "Y"), mention(4, 7, "Y"), mention(14, 19, "Side effect|B-x")];
        let document = Document { mentions, ..Document::new("7", "[5-HT]6 ée\u{301}a. b c\nd\n\nf") };
        let expected = "[\tO\n5\tB-X\n-\tI-X\nHT\tI-X\n]\tO\n6\tO\née\u{301}a\tB-Y\n.\tO\n\
            b\tB-Side_effect_B-x\nc\tI-Side_effect_B-x\nd\tI-Side_effect_B-x\n\nf\tO\n\n";
        // The id, the text, and of the four mentions three moved and one lost, with a fragment each.
        assert_eq!(written(&document, Scheme::Iob2, false), (expected.to_owned(), 10));
    }

    /// A word that would begin a document, one with a space in it, and text between words.
    #[test]
    fn words_that_cannot_be_written_are_cut() {
        let words = vec![Span::new(0, 10), Span::new(11, 14), Span::new(15, 18)];
        let document = Document { words, ..Document::new("1", "-DOCSTART- a b,5-x") };
        let (text, losses) = written(&document, Scheme::Iob2, true);
        let words: Vec<&str> = text.lines().skip(2).filter_map(|line| line.strip_suffix("\tO")).collect();
        assert_eq!(words, ["-", "DOCSTART", "-", "a", "b", ",", "5-x"]);
        // The text, two of the words, and the third, which has moved.
        assert_eq!(losses, 4);
    }

    /// Two adjacent mentions, in two types, and one in the next sentence.
    #[test]
    fn schemes() {
        let mention = |at: usize, entity_type: &str| Mention::new(Span::new(at, at + 1), entity_type);
        let mentions = vec![mention(0, "X"), mention(2, "X"), mention(4, "Y"), mention(6, "Y")];
        let document = Document { mentions, ..Document::new("1", "a b c\nd") };
        for (scheme, tags) in [
            (Scheme::Iob1, ["I-X", "B-X", "I-Y", "I-Y"]),
            (Scheme::Iob2, ["B-X", "B-X", "B-Y", "B-Y"]),
            (Scheme::Bioes, ["S-X", "S-X", "S-Y", "S-Y"]),
            (Scheme::Io, ["I-X", "I-X", "I-Y", "I-Y"]),
        ] {
            let [a, b, c, d] = tags;
            let expected = format!("-DOCSTART-\tO\n\na\t{a}\nb\t{b}\nc\t{c}\n\nd\t{d}\n\n");
            let (text, losses) = written(&document, scheme, true);
            assert_eq!(text, expected);
            // Of two that merged, the first is longer now and the second is lost, with its fragment each.
            assert_eq!(losses, if scheme == Scheme::Io { 4 } else { 0 }, "{scheme:?}");
        }
    }

    proptest! {
        #[test]
        fn written_documents_are_read_back(documents in vec(round_trip::document(), 0..4)) {
            for scheme in SCHEMES {
                let conll = ConllOptions { scheme, ..ConllOptions::default() };
                round_trip::check(Format::Conll, &FormatOptions { conll, ..FormatOptions::default() }, &documents)?;
            }
        }

        #[test]
        fn every_word_character_of_the_text_is_written(document in round_trip::document()) {
            let expressed = express(&document, &ConllOptions::default()).document;
            let visible = |text: &str| -> String {
                text.chars().filter(|&c| !c.is_whitespace() && !parts_columns(c)).collect()
            };
            prop_assert_eq!(visible(&expressed.text), visible(&document.text));
        }
    }
}
