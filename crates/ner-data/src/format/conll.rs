//! CoNLL columns: one word a line, its tag in the last column, a blank line between sentences.
//!
//! `-DOCSTART-` lines group sentences into documents; in a file without them each sentence is a document of its own.
//! Source: Tjong Kim Sang and De Meulder (2003), CoNLL-2003 shared task.

use crate::lines::Lines;
use crate::{DiagnosticKind, Diagnostics, Document, LabelSet, Position, Span, Tag, TagScheme, mentions_of};
use fs_err as fs;
use std::collections::BTreeSet;
use std::io::{self, BufRead, BufReader, Write};
use std::path::Path;

/// A sentence as the file has it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TaggedSentence {
    /// Line of each word, from 1. (Not one number: a line that was left out as malformed parts two words.)
    pub lines: Vec<usize>,
    /// Whether a `-DOCSTART-` line stands before it.
    pub starts_document: bool,
    /// First column.
    pub words: Vec<String>,
    /// Last column.
    pub tags: Vec<String>,
}

/// Reads the sentences of a file as they stand.
///
/// # Errors
/// Only where the file cannot be read.
pub fn read_sentences(path: &Path) -> io::Result<(Vec<TaggedSentence>, Diagnostics)> {
    read_sentences_from(BufReader::new(fs::File::open(path)?), path)
}

/// As [`read_sentences`], from an input that need not be a file; `file` is the name that diagnostics give.
///
/// # Errors
/// Where the input cannot be read.
pub fn read_sentences_from(input: impl BufRead, file: &Path) -> io::Result<(Vec<TaggedSentence>, Diagnostics)> {
    let mut lines = Lines::new(input, file);
    let mut sentences = Vec::new();
    let mut sentence = TaggedSentence::default();
    loop {
        let line = lines.next_line()?;
        // Only ASCII spaces and tabs part the columns: a thin space or a no-break space can be a word.
        let mut columns = line.as_deref().unwrap_or_default().split_ascii_whitespace();
        let (word, tag) = (columns.next(), columns.next_back());
        match (word, tag) {
            (Some("-DOCSTART-"), _) | (None, _) => {
                if !sentence.words.is_empty() {
                    sentences.push(std::mem::take(&mut sentence));
                }
                sentence.starts_document |= word.is_some();
            }
            (Some(word), Some(tag)) => {
                sentence.lines.push(lines.number());
                sentence.words.push(word.to_owned());
                sentence.tags.push(tag.to_owned());
            }
            (Some(_), None) => {
                let message = "one column; a word and its tag are needed".to_owned();
                lines.report(DiagnosticKind::MalformedLine, None, message);
            }
        }
        if line.is_none() {
            return Ok((sentences, lines.into_diagnostics()));
        }
    }
}

/// Reads a file as documents: words joined by one space, sentences by one line break.
///
/// # Errors
/// Only where the file cannot be read.
pub fn read(path: &Path) -> io::Result<(Vec<Document>, Diagnostics)> {
    read_from(BufReader::new(fs::File::open(path)?), path)
}

/// As [`read`], from an input that need not be a file; `file` is the name that diagnostics give.
///
/// # Errors
/// Where the input cannot be read.
pub fn read_from(input: impl BufRead, file: &Path) -> io::Result<(Vec<Document>, Diagnostics)> {
    let (sentences, mut diagnostics) = read_sentences_from(input, file)?;
    let types: BTreeSet<&str> = sentences.iter().flat_map(|s| &s.tags).filter_map(|tag| Some(split(tag)?.1)).collect();
    // Bioes holds the positions of every scheme, and decoding reads any sequence of them.
    let labels = LabelSet::new(TagScheme::Bioes, types);
    let grouped = sentences.iter().any(|sentence| sentence.starts_document);
    let mut documents: Vec<Document> = Vec::new();
    for sentence in &sentences {
        if documents.is_empty() || !grouped || sentence.starts_document {
            documents.push(Document::new((documents.len() + 1).to_string(), ""));
        }
        let Some(document) = documents.last_mut() else { continue };
        let mut ids = Vec::with_capacity(sentence.tags.len());
        // Type of the entity that the next tag may continue.
        let mut open: Option<&str> = None;
        for (at, tag) in sentence.tags.iter().enumerate() {
            // The tag is not quoted: in a file of other columns it may be a piece of text.
            let fault = match split(tag) {
                None if tag == "O" => None,
                None => Some((DiagnosticKind::MalformedLine, "the last column is no tag; it was read as O")),
                Some((position, kind)) => {
                    let continues = matches!(position, Position::Inside | Position::End);
                    let message = "the tag continues no entity of its type; it was read as a beginning";
                    (continues && open != Some(kind)).then_some((DiagnosticKind::InvalidTagSequence, message))
                }
            };
            if let Some((kind, message)) = fault {
                diagnostics.0.push(crate::Diagnostic {
                    kind,
                    file: file.into(),
                    line: sentence.lines[at],
                    document: Some(document.id.clone()),
                    message: message.to_owned(),
                });
            }
            open = split(tag)
                .filter(|(position, _)| !matches!(position, Position::End | Position::Single))
                .map(|(_, kind)| kind);
            let tag = split(tag).and_then(|(position, kind)| Some(Tag::Entity(position, labels.type_id(kind)?)));
            ids.push(labels.id(tag.unwrap_or(Tag::Outside)));
        }
        let words = append_sentence(document, &sentence.words);
        document.mentions.extend(mentions_of(&words, &ids, &labels));
        document.words.extend(words);
    }
    diagnostics.0.sort_by_key(|diagnostic| diagnostic.line);
    Ok((documents, diagnostics))
}

/// Adds a sentence to the document's text; returns where its words stand.
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

/// Splits `B-Disease` into its position and type.
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

/// Writes documents that have words as CoNLL: word, tab, tag; returns how many mentions the tags could not say.
///
/// # Errors
/// Where `out` cannot be written.
pub fn write<'d>(
    out: &mut impl Write,
    documents: impl IntoIterator<Item = &'d Document>,
    labels: &LabelSet,
) -> io::Result<usize> {
    let names = labels.names();
    let mut lost = 0;
    for document in documents {
        let index = document.char_index();
        let alignment = crate::align(&document.words, &document.mentions, labels);
        lost += alignment.misfits.len();
        let mut ends = document.sentences.iter().map(|sentence| sentence.end).peekable();
        for (&word, &id) in document.words.iter().zip(&alignment.labels) {
            while ends.next_if(|&end| end <= word.start).is_some() {
                writeln!(out)?;
            }
            writeln!(out, "{}\t{}", index.slice(&document.text, word).unwrap_or_default(), names[id])?;
        }
        writeln!(out)?;
    }
    Ok(lost)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `documents`: each as its text and its mentions as `span type`. `faults`: as they are printed.
    fn check(input: &str, documents: &[(&str, &[&str])], faults: &[&str]) {
        let (found, diagnostics) = read_from(input.as_bytes(), Path::new("in.tsv")).expect("memory can be read");
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
        check(grouped, &[("a\nä", &["0..1 X", "2..3 X"]), ("b", &[])], &[]);
        check("a B-X\nb I-X\nc E-X\nd S-Y\n", &[("a b c d", &["0..5 X", "6..7 Y"])], &[]);
        check("a B-X\nb L-X\nc U-Y\n", &[("a b c", &["0..3 X", "4..5 Y"])], &[]);
        // A thin space and a no-break space are words.
        check("\u{2009}\tO\n\u{a0}b\tB-X\r\n", &[("\u{2009} \u{a0}b", &["2..4 X"])], &[]);
    }

    #[test]
    fn every_fault_is_named_with_its_line_and_no_tag_is_quoted() {
        let broken =
            "document 1: invalid tag sequence: the tag continues no entity of its type; it was read as a beginning";
        let at = |line: usize| format!("in.tsv:{line}: {broken}");
        check("a O\nb I-X\nc I-Y\n", &[("a b c", &["2..3 X", "4..5 Y"])], &[&at(2), &at(3)]);
        check("a S-X\nb I-X\nc E-X\nd E-X\n", &[("a b c d", &["0..1 X", "2..5 X", "6..7 X"])], &[&at(2), &at(4)]);
        let word = "in.tsv:2: malformed line: one column; a word and its tag are needed";
        let tag = |line: usize| {
            format!("in.tsv:{line}: document 1: malformed line: the last column is no tag; it was read as O")
        };
        check("a O\nsecret\nb secret\nc B-\nd B-X\n", &[("a b c d", &["6..7 X"])], &[word, &tag(3), &tag(4)]);
    }

    #[test]
    fn what_is_written_is_read_back() {
        let input = "a\tO\nb\tB-X\nc\tI-X\n\nd\tB-Y\n\n";
        let (documents, _) = read_from(input.as_bytes(), Path::new("in.tsv")).expect("memory can be read");
        let mut out = Vec::new();
        let labels = LabelSet::new(TagScheme::Bio, ["X", "Y"]);
        assert_eq!(write(&mut out, &documents, &labels).expect("memory"), 0);
        assert_eq!(String::from_utf8(out).expect("UTF-8"), input);
    }
}
