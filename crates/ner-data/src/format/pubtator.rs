//! PubTator: one document is a title line, an abstract line, then mentions and relations, ended by a blank line.
//!
//! ```text
//! 227508|t|Naloxone reverses the antihypertensive effect of clonidine.
//! 227508|a|In unanesthetized, spontaneously hypertensive rats …
//! 227508 ⇥ 0 ⇥ 8 ⇥ Naloxone ⇥ Chemical ⇥ D009270
//! 227508 ⇥ CID ⇥ D003000 ⇥ D007022
//! ```
//!
//! Offsets count Unicode characters of the title, one space, the abstract. A mention line has five columns (system
//! output), six (with concept identifiers joined by `|`, `-1` for none) or seven (the parts of a composite mention).
//! Format: Wei, Kao, Lu (2013), "PubTator: a web-based text mining tool for assisting biocuration".

use crate::lines::Lines;
use crate::{Argument, CharIndex, DiagnosticKind, Diagnostics, Document, Mention, Passage, Relation, Span};
use fs_err as fs;
use std::collections::HashSet;
use std::io::{self, BufRead, BufReader, Write};
use std::path::Path;

/// Attribute that keeps the seventh column: the parts of a composite mention, joined by `|`.
pub const INDIVIDUAL_MENTIONS: &str = "individual_mentions";

const NO_CONCEPT: &str = "-1";

/// Reads a whole file: its documents, and what was wrong with it.
///
/// # Errors
/// Only where the file cannot be read; what is wrong inside it is a diagnostic.
pub fn read(path: &Path) -> io::Result<(Vec<Document>, Diagnostics)> {
    read_from(BufReader::new(fs::File::open(path)?), path)
}

/// As [`read`], from an input that need not be a file; `file` is the name that diagnostics give.
///
/// # Errors
/// Where the input cannot be read.
pub fn read_from(input: impl BufRead, file: &Path) -> io::Result<(Vec<Document>, Diagnostics)> {
    let mut reader = Reader::new(input, file);
    let mut documents = Vec::new();
    let mut ids = HashSet::new();
    while let Some(document) = reader.next_document()? {
        if ids.insert(document.id.clone()) {
            documents.push(document);
        } else {
            let line = reader.first_line;
            let message = "its id is that of an earlier document".to_owned();
            reader.lines.report_at(line, DiagnosticKind::DuplicateDocument, Some(&document.id), message);
        }
    }
    Ok((documents, reader.into_diagnostics()))
}

/// Reads documents one by one, in memory that does not grow with the file.
pub struct Reader<R> {
    lines: Lines<R>,
    /// A title line that was read while looking for the end of the document before it.
    pending: Option<(usize, String)>,
    /// Line on which the document returned last begins.
    first_line: usize,
}

impl<R: BufRead> Reader<R> {
    /// A reader of `input`; `file` is the name that diagnostics give.
    pub fn new(input: R, file: &Path) -> Self {
        Self { lines: Lines::new(input, file), pending: None, first_line: 0 }
    }

    /// The faults met so far, in the order of the lines.
    pub fn into_diagnostics(self) -> Diagnostics {
        self.lines.into_diagnostics()
    }

    /// The next document, or `None` at the end of the file.
    ///
    /// # Errors
    /// Where the input cannot be read.
    pub fn next_document(&mut self) -> io::Result<Option<Document>> {
        let Some((id, title)) = self.find_title()? else { return Ok(None) };
        let passage = Passage { kind: "title".into(), span: Span::new(0, title.chars().count()) };
        let mut document = Document { id, text: title, passages: vec![passage], ..Document::default() };
        let mut rows = Vec::new();
        while let Some(line) = self.lines.next_line()? {
            if line.trim().is_empty() {
                break;
            }
            match text_line(&line) {
                Some((_, 't', _)) => {
                    self.pending = Some((self.lines.number(), line));
                    break;
                }
                Some((id, _, text)) if id == document.id && document.passages.len() == 1 => {
                    let start = document.passages[0].span.end + 1;
                    document.text.push(' ');
                    document.text.push_str(text);
                    let span = Span::new(start, start + text.chars().count());
                    document.passages.push(Passage { kind: "abstract".into(), span });
                }
                Some(_) => self.malformed(&document, "an abstract of another document, or a second one"),
                None => rows.push((self.lines.number(), line)),
            }
        }
        self.read_rows(&mut document, &rows);
        Ok(Some(document))
    }

    /// Skips to the next title line; everything else on the way is a fault.
    fn find_title(&mut self) -> io::Result<Option<(String, String)>> {
        loop {
            let (number, line) = match self.pending.take() {
                Some(pending) => pending,
                None => match self.lines.next_line()? {
                    Some(line) => (self.lines.number(), line),
                    None => return Ok(None),
                },
            };
            if let Some((id, 't', title)) = text_line(&line) {
                self.first_line = number;
                return Ok(Some((id.to_owned(), title.to_owned())));
            }
            if !line.trim().is_empty() {
                let message = "a title line `ID|t|…` must come first".to_owned();
                self.lines.report_at(number, DiagnosticKind::MalformedLine, None, message);
            }
        }
    }

    fn malformed(&mut self, document: &Document, message: &str) {
        self.lines.report(DiagnosticKind::MalformedLine, Some(&document.id), message.to_owned());
    }

    fn read_rows(&mut self, document: &mut Document, rows: &[(usize, String)]) {
        let index = document.char_index();
        let mut seen = HashSet::new();
        for (line, row) in rows {
            match parse_row(row, document, &index) {
                Ok(Row::Relation(relation)) => document.relations.push(relation),
                Ok(Row::Mention(mention)) => {
                    if seen.insert((mention.fragments.clone(), mention.entity_type.clone())) {
                        document.mentions.push(mention);
                    } else {
                        let message = format!("the {} mention at {} again", mention.entity_type, mention.span());
                        self.lines.report_at(*line, DiagnosticKind::DuplicateMention, Some(&document.id), message);
                    }
                }
                Err((kind, message)) => self.lines.report_at(*line, kind, Some(&document.id), message),
            }
        }
    }
}

/// Splits `ID|t|text` and `ID|a|text`.
fn text_line(line: &str) -> Option<(&str, char, &str)> {
    let (id, rest) = line.split_once('|')?;
    let (kind, text) = rest.split_once('|')?;
    match kind {
        "t" | "a" if !id.is_empty() && !id.contains('\t') => Some((id, if kind == "t" { 't' } else { 'a' }, text)),
        _ => None,
    }
}

enum Row {
    Mention(Mention),
    Relation(Relation),
}

/// Reads a mention or relation line of `document`.
fn parse_row(row: &str, document: &Document, index: &CharIndex) -> Result<Row, (DiagnosticKind, String)> {
    let columns: Vec<&str> = row.split('\t').collect();
    let malformed = |message: String| (DiagnosticKind::MalformedLine, message);
    if columns.len() < 4 {
        return Err(malformed(format!("{} tab-separated columns; a mention has 5 to 7, a relation 4", columns.len())));
    }
    if columns[0] != document.id {
        // The column is not quoted: in a broken line it may be a piece of text.
        return Err((
            DiagnosticKind::UnknownDocument,
            "column 1 is not the id of the document it stands in".to_owned(),
        ));
    }
    let (Ok(start), Ok(end)) = (columns[1].parse::<usize>(), columns[2].parse::<usize>()) else {
        if columns.len() == 4 && columns[1].parse::<usize>().is_err() {
            let arguments = columns[2..].iter().map(|&concept| Argument::concept(concept)).collect();
            return Ok(Row::Relation(Relation { kind: columns[1].to_owned(), arguments }));
        }
        return Err(malformed("columns 2 and 3 of a mention are its start and end".to_owned()));
    };
    if !(5..=7).contains(&columns.len()) {
        return Err(malformed(format!("{} tab-separated columns; a mention has 5 to 7", columns.len())));
    }
    let span = Span::new(start, end);
    if columns[4].is_empty() {
        return Err(malformed(format!("the mention at {span} has no type")));
    }
    if span.is_empty() {
        return Err((DiagnosticKind::OffsetOutOfRange, format!("the mention at {span} is empty")));
    }
    let Some(text) = index.slice(&document.text, span) else {
        let message = format!("{span} reaches outside the document of {} characters", index.len());
        return Err((DiagnosticKind::OffsetOutOfRange, message));
    };
    if text != columns[3] {
        return Err((DiagnosticKind::TextMismatch, format!("column 4 is not the document's text at {span}")));
    }
    let mut mention = Mention::new(span, columns[4]);
    if let Some(ids) = columns.get(5) {
        mention.concept_ids =
            ids.split('|').filter(|id| !id.is_empty() && *id != NO_CONCEPT).map(str::to_owned).collect();
    }
    if let Some(individual) = columns.get(6) {
        mention.attributes.insert(INDIVIDUAL_MENTIONS.into(), (*individual).to_owned());
    }
    Ok(Row::Mention(mention))
}

/// Writes documents; returns how many mentions were left out because they have several fragments, which this format
/// cannot say.
///
/// A document without a title passage is written as one title line. Line breaks in the text become spaces, which
/// keeps every offset.
///
/// # Errors
/// Where `out` cannot be written.
pub fn write<'d>(out: &mut impl Write, documents: impl IntoIterator<Item = &'d Document>) -> io::Result<usize> {
    let mut left_out = 0;
    for (number, document) in documents.into_iter().enumerate() {
        if number > 0 {
            writeln!(out)?;
        }
        let index = document.char_index();
        let text = document.text.replace(['\n', '\r', '\t'], " ");
        let cut = match document.passages.as_slice() {
            [title, ..] if title.span.end < index.len() => title.span.end,
            _ => index.len(),
        };
        let slice = |span| index.slice(&text, span).unwrap_or_default();
        writeln!(out, "{}|t|{}", document.id, slice(Span::new(0, cut)))?;
        if cut < index.len() {
            writeln!(out, "{}|a|{}", document.id, slice(Span::new(cut + 1, index.len())))?;
        }
        for mention in &document.mentions {
            if mention.is_discontinuous() {
                left_out += 1;
                continue;
            }
            let (id, span) = (&document.id, mention.span());
            let concepts = match mention.concept_ids.as_slice() {
                [] => NO_CONCEPT.to_owned(),
                ids => ids.join("|"),
            };
            write!(out, "{id}\t{}\t{}\t{}\t{}\t{concepts}", span.start, span.end, slice(span), mention.entity_type)?;
            if let Some(individual) = mention.attributes.get(INDIVIDUAL_MENTIONS) {
                write!(out, "\t{individual}")?;
            }
            writeln!(out)?;
        }
        for relation in &document.relations {
            writeln!(out, "{}\t{}\t{}", document.id, relation.kind, relation.arguments.join("\t"))?;
        }
    }
    if left_out > 0 {
        tracing::warn!(left_out, "discontinuous mentions cannot be written as PubTator");
    }
    Ok(left_out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    fn parse(input: &[u8]) -> (Vec<Document>, Diagnostics) {
        read_from(input, Path::new("in.txt")).expect("memory can be read")
    }

    /// `documents`: each as `ID text` and its mentions as `span type ids`. `faults`: as they are printed.
    fn check(input: impl AsRef<[u8]>, documents: &[(&str, &[&str])], faults: &[&str]) {
        let (found, diagnostics) = parse(input.as_ref());
        let printed: Vec<String> = diagnostics.0.iter().map(ToString::to_string).collect();
        assert_eq!(printed, faults);
        let mut shown = Vec::new();
        for document in &found {
            let mention = |m: &Mention| format!("{} {} {}", m.span(), m.entity_type, m.concept_ids.join("+"));
            let mentions: Vec<String> = document.mentions.iter().map(mention).collect();
            shown.push((format!("{} {}", document.id, document.text), mentions));
        }
        let expected: Vec<(String, Vec<String>)> = documents
            .iter()
            .map(|(text, mentions)| ((*text).to_owned(), mentions.iter().map(|&m| m.to_owned()).collect()))
            .collect();
        assert_eq!(shown, expected);
    }

    #[test]
    fn good_input_in_all_its_forms() {
        check("", &[], &[]);
        check("\n\n", &[], &[]);
        check("7|t|ab\n", &[("7 ab", &[])], &[]);
        check("7|t|ab\n7|a|\n", &[("7 ab ", &[])], &[]);
        check("7|t|\n7|a|cd\n7\t1\t3\tcd\tX\t-1", &[("7  cd", &["1..3 X "])], &[]);
        // Five, six and seven columns; several identifiers on six.
        let text = "7|t|ab cd\n7|a|ef\n";
        check(format!("{text}7\t0\t2\tab\tX\n"), &[("7 ab cd ef", &["0..2 X "])], &[]);
        check(format!("{text}7\t3\t8\tcd ef\tX\tD1\n"), &[("7 ab cd ef", &["3..8 X D1"])], &[]);
        check(format!("{text}7\t0\t2\tab\tX\tD1|D2\n"), &[("7 ab cd ef", &["0..2 X D1+D2"])], &[]);
        check(format!("{text}7\t0\t5\tab cd\tX\tD1|-1\tab|ab cd\n"), &[("7 ab cd ef", &["0..5 X D1"])], &[]);
        // A mention whose text looks like a title line; a bar in a title.
        check("7|t|a|t|b\n7\t0\t5\ta|t|b\tX\n", &[("7 a|t|b", &["0..5 X "])], &[]);
        // No blank line between documents, and many.
        check(
            "7|t|ab\n7\t0\t2\tab\tX\n8|t|cd\n\n\n9|t|ef",
            &[("7 ab", &["0..2 X "]), ("8 cd", &[]), ("9 ef", &[])],
            &[],
        );
        check("\u{feff}7|t|ab\r\n7|a|cd\r\n7\t3\t5\tcd\tX\tD1\r\n\r\n", &[("7 ab cd", &["3..5 X D1"])], &[]);
        // Offsets count Unicode scalar values: of one, two, three and four bytes, and two for a base and its accent.
        let text = "7|t|aä→𝛼e\u{301}\n7|a|β\n";
        check(
            format!("{text}7\t3\t6\t𝛼e\u{301}\tX\n7\t7\t8\tβ\tY\n"),
            &[("7 aä→𝛼e\u{301} β", &["3..6 X ", "7..8 Y "])],
            &[],
        );
    }

    #[test]
    fn every_fault_is_named_with_its_line_and_what_is_sound_is_kept() {
        let head = "7|t|ab cd\n7|a|ef\n";
        let rows = |rows: &str| format!("{head}{rows}7\t0\t2\tab\tX\n");
        let kept: &[(&str, &[&str])] = &[("7 ab cd ef", &["0..2 X "])];
        let table = [
            ("ab\n", "malformed line: 1 tab-separated columns; a mention has 5 to 7, a relation 4"),
            ("7\tCID\tD1\n", "malformed line: 3 tab-separated columns; a mention has 5 to 7, a relation 4"),
            ("7\t0\t2\tab\n", "malformed line: 4 tab-separated columns; a mention has 5 to 7"),
            ("7\t0\t2\tab\tX\tD1\tab\tmore\n", "malformed line: 8 tab-separated columns; a mention has 5 to 7"),
            ("7\tCID\tD1\tD2\tD3\n", "malformed line: columns 2 and 3 of a mention are its start and end"),
            ("7\t-1\t2\tab\tX\n", "malformed line: columns 2 and 3 of a mention are its start and end"),
            ("7\t0\t2.0\tab\tX\n", "malformed line: columns 2 and 3 of a mention are its start and end"),
            (
                "7\t0\t99999999999999999999\tab\tX\n",
                "malformed line: columns 2 and 3 of a mention are its start and end",
            ),
            ("7\t0\t2\tab\t\n", "malformed line: the mention at 0..2 has no type"),
            ("7|a|gh\n", "malformed line: an abstract of another document, or a second one"),
            ("8|a|gh\n", "malformed line: an abstract of another document, or a second one"),
            ("8\t0\t2\tab\tX\n", "unknown document: column 1 is not the id of the document it stands in"),
            ("7\t2\t2\t\tX\n", "offset out of range: the mention at 2..2 is empty"),
            ("7\t5\t3\tcd\tX\n", "offset out of range: the mention at 5..3 is empty"),
            ("7\t6\t9\tef\tX\n", "offset out of range: 6..9 reaches outside the document of 8 characters"),
            ("7\t1\t3\tab\tX\n", "text does not match the offsets: column 4 is not the document's text at 1..3"),
            ("7\t0\t2\tAB\tX\n", "text does not match the offsets: column 4 is not the document's text at 0..2"),
        ];
        for (row, fault) in table {
            check(rows(row), kept, &[&format!("in.txt:3: document 7: {fault}")]);
        }
        // Once more with another identifier is a duplicate, too; with another type it is not.
        check(
            rows("7\t0\t2\tab\tX\tD1\n7\t0\t2\tab\tY\n"),
            &[("7 ab cd ef", &["0..2 X D1", "0..2 Y "])],
            &["in.txt:5: document 7: duplicate mention: the X mention at 0..2 again"],
        );
        check(
            format!("{head}\n7|t|gh\n\n8|t|ij"),
            &[("7 ab cd ef", &[]), ("8 ij", &[])],
            &["in.txt:4: document 7: duplicate document: its id is that of an earlier document"],
        );
        let first = "malformed line: a title line `ID|t|…` must come first";
        check(
            "junk\n\n7|a|ab\n7\t0\t2\tab\tX\n7|t|ab\n|t|no id",
            &[("7 ab", &[])],
            &[
                &format!("in.txt:1: {first}"),
                &format!("in.txt:3: {first}"),
                &format!("in.txt:4: {first}"),
                "in.txt:6: document 7: malformed line: 1 tab-separated columns; a mention has 5 to 7, a relation 4",
            ],
        );
        // A byte that is not UTF-8 is one character, so that the offsets after it hold.
        check(
            b"7|t|a\xe4 cd\n7\t1\t3\tno\tX\n7\t3\t5\tcd\tX\n7\t0\t2\ta\xe4\tX\n",
            &[("7 a\u{fffd} cd", &["3..5 X ", "0..2 X "])],
            &[
                "in.txt:1: invalid UTF-8: byte 6 of the line is not UTF-8",
                "in.txt:2: document 7: text does not match the offsets: column 4 is not the document's text at 1..3",
                "in.txt:4: invalid UTF-8: byte 8 of the line is not UTF-8",
            ],
        );
    }

    #[test]
    fn what_the_format_cannot_say_is_counted_or_made_sayable() {
        let fragments = vec![Span::new(0, 1), Span::new(2, 3)];
        let apart = Mention { fragments, ..Mention::new(Span::new(0, 3), "X") };
        let broken = Mention::new(Span::new(2, 5), "Y");
        let document = Document { mentions: vec![apart, broken], ..Document::new("7", "a b\nc\td") };
        let mut out = Vec::new();
        assert_eq!(write(&mut out, [&document]).expect("memory"), 1);
        assert_eq!(String::from_utf8(out).expect("UTF-8"), "7|t|a b c d\n7\t2\t5\tb c\tY\t-1\n");
    }

    /// Text of characters of one to four bytes, with bars and single spaces, and never a line break or a tab.
    fn text() -> impl Strategy<Value = String> {
        "[a-c|äβ→𝛼\u{301} ]{0,12}"
    }

    prop_compose! {
        fn document()(title in text(), body in proptest::option::of(text()), rows in vec((0usize..30, 1usize..9, "[XY]", vec("D[0-9]", 0..3), any::<bool>()), 0..5)) -> Document {
            let title_span = Span::new(0, title.chars().count());
            let mut passages = vec![Passage { kind: "title".into(), span: title_span }];
            let mut all = title;
            if let Some(body) = body {
                let start = title_span.end + 1;
                passages.push(Passage { kind: "abstract".into(), span: Span::new(start, start + body.chars().count()) });
                all.push(' ');
                all.push_str(&body);
            }
            let len = all.chars().count();
            let mut mentions: Vec<Mention> = Vec::new();
            for (start, length, entity_type, concept_ids, composite) in rows {
                let span = Span::new(start, start + length);
                let again = mentions.iter().any(|m| m.span() == span && m.entity_type == entity_type);
                if span.end <= len && !again {
                    let mut mention = Mention { concept_ids, ..Mention::new(span, entity_type) };
                    if composite {
                        mention.attributes.insert(INDIVIDUAL_MENTIONS.into(), "a|b".into());
                    }
                    mentions.push(mention);
                }
            }
            let relations = vec![Relation { kind: "CID".into(), arguments: vec![Argument::concept("D1"), Argument::concept("D2")] }];
            Document { text: all, passages, mentions, relations, ..Document::default() }
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(mut documents in vec(document(), 0..4)) {
            for (at, document) in documents.iter_mut().enumerate() {
                document.id = at.to_string();
            }
            let mut out = Vec::new();
            prop_assert_eq!(write(&mut out, &documents).expect("memory"), 0);
            let (back, diagnostics) = parse(&out);
            prop_assert_eq!(diagnostics.0, vec![]);
            prop_assert_eq!(back, documents);
        }

        #[test]
        fn any_bytes_are_read_and_every_mention_lies_in_its_text(
            lines in vec(prop_oneof![
                vec(any::<u8>(), 0..12),
                "[78]\\|[ta]\\|[a-bä ]{0,6}".prop_map(String::into_bytes),
                "[78]\t[0-4]\t[0-6]\t[abä]{0,3}\tX(\tD1)?".prop_map(String::into_bytes),
            ], 0..12)
        ) {
            let (documents, diagnostics) = parse(&lines.join(&b'\n'));
            for document in documents {
                let index = document.char_index();
                for mention in document.mentions {
                    prop_assert!(index.slice(&document.text, mention.span()).is_some_and(|text| !text.is_empty()));
                }
            }
            prop_assert!(diagnostics.0.is_sorted_by_key(|diagnostic| diagnostic.line));
        }
    }
}
