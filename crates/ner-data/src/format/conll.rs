//! CoNLL columns: one word with its tag per line, a blank line between sentences.
//!
//! `-DOCSTART-` lines begin documents; in a file without them each sentence is a document. The format has no
//! identifiers: documents are numbered from 1, and [`express`] leaves the id empty. Reading accepts IOB1, IOB2, IO and
//! BIOES (and BILOU) tags without configuration. Writing produces two columns, which the default columns read. Source:
//! Tjong Kim Sang and De Meulder (2003), CoNLL-2003 shared task.

use super::encoding::Decoded;
use super::lines::Lines;
use super::{Expressed, Output, open_file};
use crate::{
    DiagnosticKind, Diagnostics, Document, LabelSet, Mention, MisfitReason, Position, Span, TagScheme, TaggedEntity,
    align,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::io::{self, BufRead, Write};
use std::path::Path;
use unicode_normalization::char::is_combining_mark;

/// Options of the format.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ConllOptions {
    /// Column of the words to read, from 0.
    pub word_column: usize,
    /// Column of the tags to read, from 0; `None` for the last column of each line.
    pub tag_column: Option<usize>,
    /// Scheme of the tags to write.
    pub scheme: Scheme,
    /// Whether to write a `-DOCSTART-` line before each document. Otherwise each sentence is read back as a document.
    pub documents: bool,
}

impl Default for ConllOptions {
    fn default() -> Self {
        Self { word_column: 0, tag_column: None, scheme: Scheme::default(), documents: true }
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

const DOCUMENT_START: &str = "-DOCSTART-";

/// Number of mentions beginning with `I`, and none with `B`, after which a file is assumed never to use `B`.
const PATIENCE: usize = 1000;

/// Whether `text` is the beginning of a file in this format: its first line has columns, and the last is a tag.
pub(super) fn begins(text: &str) -> bool {
    let mut columns = text.lines().next().unwrap_or_default().split_ascii_whitespace();
    let (first, last) = (columns.next(), columns.next_back());
    let is_tag = |tag: &str| tag == "O" || split(tag).is_some();
    first == Some(DOCUMENT_START) || last.is_some_and(is_tag)
}

/// A sentence as written in the file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TaggedSentence {
    /// Line of each word, from 1. (Not a single number: words may be separated by a malformed line that was left out.)
    pub lines: Vec<usize>,
    /// The words.
    pub words: Vec<String>,
    /// Their tags.
    pub tags: Vec<String>,
}

/// Reads the sentences of a file unchanged.
///
/// # Errors
/// Only if the file cannot be read.
pub fn read_sentences(path: &Path, options: &ConllOptions) -> io::Result<(Vec<TaggedSentence>, Diagnostics)> {
    let mut parts = Parts::new(Decoded::or_refused(open_file(path)?)?, path, options);
    let mut sentences = Vec::new();
    while let Some(part) = parts.next()? {
        if let Part::Sentence(sentence) = part {
            sentences.push(sentence);
        }
    }
    Ok((sentences, parts.lines.take_diagnostics()))
}

/// A part of a file.
enum Part {
    /// The start of a document, on this line.
    Document(usize),
    /// A non-empty sentence.
    Sentence(TaggedSentence),
}

/// The parts of a file, one at a time.
struct Parts<R> {
    lines: Lines<R>,
    options: ConllOptions,
    /// Line of a document that begins after the last returned sentence.
    pending: Option<usize>,
}

impl<R: BufRead> Parts<R> {
    fn new(input: R, file: &Path, options: &ConllOptions) -> Self {
        Self { lines: Lines::new(input, file), options: options.clone(), pending: None }
    }

    fn next(&mut self) -> io::Result<Option<Part>> {
        if let Some(line) = self.pending.take() {
            return Ok(Some(Part::Document(line)));
        }
        let mut sentence = TaggedSentence::default();
        while let Some(line) = self.lines.next_line()? {
            // Only ASCII spaces and tabs separate columns: a thin space or a no-break space can be a word.
            let columns: Vec<&str> = line.split_ascii_whitespace().collect();
            if columns.first() == Some(&DOCUMENT_START) {
                if sentence.words.is_empty() {
                    return Ok(Some(Part::Document(self.lines.number())));
                }
                self.pending = Some(self.lines.number());
                break;
            }
            if columns.is_empty() {
                if sentence.words.is_empty() {
                    continue;
                }
                break;
            }
            let word_column = self.options.word_column;
            let tag_column = self.options.tag_column.unwrap_or(columns.len() - 1);
            match (columns.get(word_column), columns.get(tag_column)) {
                (Some(word), Some(tag)) if word_column != tag_column => {
                    sentence.lines.push(self.lines.number());
                    sentence.words.push((*word).to_owned());
                    sentence.tags.push((*tag).to_owned());
                }
                _ => {
                    let count = columns.len();
                    let message = format!("{count} columns; the word and its tag need a column each");
                    self.lines.report(DiagnosticKind::MalformedLine, None, message);
                }
            }
        }
        Ok((!sentence.words.is_empty()).then_some(Part::Sentence(sentence)))
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
    /// With `I` on these lines of these documents, and never with `B`.
    Unknown(Vec<(usize, String)>),
    /// With `B`, so that an `I` is a fault.
    WithB,
    /// With `I`: IOB1 or IO.
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
            Part::Document(line) => self.first_line = line,
            Part::Sentence(sentence) => {
                self.first_line = sentence.lines[0];
                self.read_sentence(&mut document, &sentence);
                return Ok(Some(document));
            }
        }
        loop {
            match self.parts.next()? {
                Some(Part::Sentence(sentence)) => self.read_sentence(&mut document, &sentence),
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
    fn read_sentence(&mut self, document: &mut Document, sentence: &TaggedSentence) {
        let words = append_sentence(document, &sentence.words);
        // Type of the mention that the next tag may continue.
        let mut open: Option<&str> = None;
        for ((tag, &line), word) in sentence.tags.iter().zip(&sentence.lines).zip(&words) {
            let Some((position, entity_type)) = split(tag) else {
                if tag != "O" {
                    // The message does not quote the tag: in a file with other columns it may be text.
                    let message = "not a tag; read as O".to_owned();
                    self.parts.lines.report_at(line, DiagnosticKind::MalformedLine, Some(&document.id), message);
                }
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

    /// Notes a tag that should continue a mention but follows none. `I` may begin one, unless the file has shown that
    /// its mentions begin with `B`; earlier faults are then noted as well.
    fn check_beginning(&mut self, position: Position, follows: bool, line: usize, document: &str) {
        match (position, &mut self.beginnings) {
            // Also in IOB1, `B` begins a mention directly after another of its type.
            _ if follows => {}
            (Position::End, _) | (Position::Inside, Beginnings::WithB) => self.broken(line, document),
            (Position::Inside, Beginnings::Unknown(lines)) => {
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

/// Splits `B-Disease` into position and type.
fn split(tag: &str) -> Option<(Position, &str)> {
    let (letter, entity_type) = tag.split_once('-')?;
    let position = match letter {
        "B" => Position::Begin,
        "I" => Position::Inside,
        "E" | "L" => Position::End,
        "S" | "U" => Position::Single,
        _ => return None,
    };
    (!entity_type.is_empty()).then_some((position, entity_type))
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
        .map(|mention| Mention { entity_type: mention.entity_type.replace(parts_columns, "_"), ..mention.clone() })
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

/// Characters that a column cannot contain.
fn parts_columns(character: char) -> bool {
    // At the start of a file U+FEFF is a byte-order mark.
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
        check("a\tO\nb B-X\nc NN I-X\n\n\nd\tB-X\n", &[("a b c", &["2..5 X"]), ("d", &["0..1 X"])], &[]);
        let grouped = "-DOCSTART- -X- O\n\na B-X\n\nä S-X\n\n-DOCSTART-\n\n-DOCSTART- O\nb O\n";
        check(grouped, &[("a\nä", &["0..1 X", "2..3 X"]), ("", &[]), ("b", &[])], &[]);
        check("a B-X\nb I-X\nc E-X\nd S-Y\n", &[("a b c d", &["0..5 X", "6..7 Y"])], &[]);
        check("a B-X\nb L-X\nc U-Y\n", &[("a b c", &["0..3 X", "4..5 Y"])], &[]);
        // A thin space and a no-break space are words.
        check("\u{2009}\tO\n\u{a0}b\tB-X\r\n", &[("\u{2009} \u{a0}b", &["2..4 X"])], &[]);
    }

    #[test]
    fn every_fault_is_named_with_its_line_and_no_tag_is_quoted() {
        let broken = "document 1: invalid tag sequence: the tag continues no entity of its type; read as a beginning";
        let at = |line: usize| format!("in.tsv:{line}: {broken}");
        let mentions = &["2..3 X", "4..5 Y", "6..7 X"];
        check("a O\nb I-X\nc I-Y\nd B-X\n", &[("a b c d", mentions)], &[&at(2), &at(3)]);
        // While no mention begins with B, or only where it must, this is IOB1.
        check("a O\nb I-X\nc I-Y\nd B-Y\n", &[("a b c d", &["2..3 X", "4..5 Y", "6..7 Y"])], &[]);
        check("a S-X\nb I-X\nc E-X\nd E-X\n", &[("a b c d", &["0..1 X", "2..5 X", "6..7 X"])], &[&at(2), &at(4)]);
        let word = "in.tsv:2: malformed line: 1 columns; the word and its tag need a column each";
        let tag = |line: usize| format!("in.tsv:{line}: document 1: malformed line: not a tag; read as O");
        check("a O\nsecret\nb secret\nc B-\nd B-X\n", &[("a b c d", &["6..7 X"])], &[word, &tag(3), &tag(4)]);
    }

    #[test]
    fn columns_can_be_chosen() {
        let chosen = |word_column, tag_column| ConllOptions { word_column, tag_column, ..ConllOptions::default() };
        let input = "-DOCSTART- -X- O O\n\n1 B-X a NN\n2 O b NN\n3 O\n";
        let (documents, diagnostics) = read(input, &chosen(2, Some(1)));
        assert_eq!((documents[0].text.as_str(), documents[0].mentions[0].span()), ("a b", Span::new(0, 1)));
        assert_eq!(diagnostics.0.iter().map(|fault| fault.line).collect::<Vec<_>>(), [5]);
        // The last column cannot be the word and its tag.
        assert_eq!(read("a O\n", &chosen(1, None)).1.0.len(), 1);
    }

    #[test]
    fn text_becomes_words_and_mentions_widen_to_them() {
        let mention = |start, end, entity_type: &str| Mention::new(Span::new(start, end), entity_type);
        // The second ends inside a word, the third overlaps the first, the fourth continues in the next line.
        let mentions =
            vec![mention(1, 5, "X"), mention(9, 10, "Y"), mention(4, 7, "Y"), mention(14, 19, "Side effect")];
        let document = Document { mentions, ..Document::new("7", "[5-HT]6 ée\u{301}a. b c\nd\n\nf") };
        let expected = "[\tO\n5\tB-X\n-\tI-X\nHT\tI-X\n]\tO\n6\tO\née\u{301}a\tB-Y\n.\tO\n\
            b\tB-Side_effect\nc\tI-Side_effect\nd\tI-Side_effect\n\nf\tO\n\n";
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
