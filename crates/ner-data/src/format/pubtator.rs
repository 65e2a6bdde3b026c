//! PubTator: a document is a title line, an abstract line, then mentions and relations, and ends with a blank line.
//!
//! ```text
//! 227508|t|Naloxone reverses the antihypertensive effect of clonidine.
//! 227508|a|In unanesthetized, spontaneously hypertensive rats …
//! 227508 ⇥ 0 ⇥ 8 ⇥ Naloxone ⇥ Chemical ⇥ D009270
//! 227508 ⇥ CID ⇥ D003000 ⇥ D007022
//! ```
//!
//! Offsets count Unicode characters of the title, a space, and the abstract; other units are an option. A mention line
//! has five columns (system output), six (with concept identifiers joined by `|`, `,` or `;`, and `-1` or `-` for none)
//! or seven (with the parts of a composite mention). The identifier of a sequence variant (`c|DEL|1314_1328|`), which
//! its type or its form shows, is one. A relation line has four columns, or a fifth with its novelty (BioRED) or score,
//! which is noted as not read, as are columns after the seventh. Format: Wei, Kao, Lu (2013), "PubTator: a web-based
//! text mining tool for assisting biocuration".

use super::lines::Lines;
use super::offsets::{Fault, Locator, OffsetUnit};
use super::{Expressed, Output, concept_ids, offsets};
use crate::{Argument, DiagnosticKind, Diagnostics, Document, Mention, Passage, Relation, Span, Target};
use std::borrow::Cow;
use std::collections::{BTreeMap, HashSet};
use std::io::{self, BufRead, Write};
use std::path::Path;

/// Attribute for the seventh column: the parts of a composite mention, joined by `|`.
pub const INDIVIDUAL_MENTIONS: &str = "individual_mentions";

/// The column of concept identifiers if there are none.
const NO_CONCEPT: &str = "-1";

/// The fifth column of relations in BioRED: whether the text states them as its own finding. Other tools put a score
/// there.
const NOVELTY: &[&str] = &["novel", "no", "none"];

/// Whether these lines begin a file in this format: the first is a title line, and nearly all others belong to a
/// document.
pub(super) fn begins(lines: &str) -> bool {
    let mut id = "";
    let (mut belonging, mut others) = (0, 0);
    for line in lines.lines().filter(|line| !line.trim().is_empty()) {
        let row = |id: &str| line.strip_prefix(id).is_some_and(|row| row.starts_with('\t'));
        match text_line(line) {
            Some((title_id, 't', _)) if !title_id.contains(char::is_whitespace) => {
                (id, belonging) = (title_id, belonging + 1)
            }
            _ if id.is_empty() => return false,
            Some((abstract_id, 'a', _)) if abstract_id == id => belonging += 1,
            _ if row(id) => belonging += 1,
            _ => others += 1,
        }
    }
    belonging > 0 && others * 4 <= belonging
}

/// Whether one of these lines is an abstract, or a mention or relation of the document before it.
pub(super) fn has_more(lines: &str) -> bool {
    let mut id = "";
    lines.lines().any(|line| match text_line(line) {
        Some((title_id, 't', _)) => {
            id = title_id;
            false
        }
        Some(_) => true,
        None => !id.is_empty() && line.strip_prefix(id).is_some_and(|row| row.starts_with('\t')),
    })
}

/// Reads documents one at a time, in constant memory.
pub struct Reader<R> {
    lines: Lines<R>,
    unit: OffsetUnit,
    /// A title line read while looking for the end of the previous document.
    pending: Option<(usize, String)>,
    /// Line where the last returned document begins.
    first_line: usize,
}

impl<R: BufRead> super::Reader for Reader<R> {
    fn next_document(&mut self) -> io::Result<Option<Document>> {
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

    fn place(&self) -> (&Path, usize) {
        (self.lines.file(), self.first_line)
    }

    fn take_diagnostics(&mut self) -> Diagnostics {
        self.lines.take_diagnostics()
    }
}

impl<R: BufRead> Reader<R> {
    /// A reader of `input`; diagnostics report `file` as its name.
    pub fn new(input: R, file: &Path, unit: OffsetUnit) -> Self {
        Self { lines: Lines::new(input, file), unit, pending: None, first_line: 0 }
    }

    /// Skips to the next title line; every other line on the way is a fault.
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
        let locator = Locator::new(&document.text, self.unit);
        let mut seen = HashSet::new();
        // Columns that are not read, with the first line and the number of them.
        let mut not_read: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
        for (line, row) in rows {
            match parse_row(row, document, &locator) {
                Ok((row, others)) => {
                    if let Some(others) = others {
                        not_read.entry(others).or_insert((*line, 0)).1 += 1;
                    }
                    match row {
                        Row::Relation(relation) => document.relations.push(relation),
                        Row::Mention(mention) => {
                            if seen.insert((mention.fragments.clone(), mention.entity_type.clone())) {
                                document.mentions.push(mention);
                            } else {
                                let message = format!("{} at {}", mention.entity_type, mention.span());
                                let kind = DiagnosticKind::DuplicateMention;
                                self.lines.report_at(*line, kind, Some(&document.id), message);
                            }
                        }
                    }
                }
                Err((kind, message)) => self.lines.report_at(*line, kind, Some(&document.id), message),
            }
        }
        for (what, (line, count)) in not_read {
            self.lines.report_at(line, DiagnosticKind::NotRead, Some(&document.id), format!("{what}: {count}"));
        }
    }
}

/// Splits `ID|t|text` and `ID|a|text`; spaces around the id and the letter do not belong to them.
fn text_line(line: &str) -> Option<(&str, char, &str)> {
    let (id, rest) = line.split_once('|')?;
    let (kind, text) = rest.split_once('|')?;
    match kind.trim() {
        kind @ ("t" | "a") if !id.trim().is_empty() && !id.contains('\t') => {
            Some((id.trim(), if kind == "t" { 't' } else { 'a' }, text))
        }
        _ => None,
    }
}

enum Row {
    Mention(Mention),
    Relation(Relation),
}

/// Parses a mention or relation line of `document`; returns what of it is not read as well.
fn parse_row(row: &str, document: &Document, locator: &Locator) -> Result<(Row, Option<&'static str>), Fault> {
    let columns: Vec<&str> = row.split('\t').collect();
    let malformed = |message: String| (DiagnosticKind::MalformedLine, message);
    if columns.len() < 4 {
        let message = format!("{} tab-separated columns; a mention has 5 to 7, a relation 4 or 5", columns.len());
        return Err(malformed(message));
    }
    if columns[0].trim() != document.id {
        // The message does not quote the column: in a broken line it may be text.
        return Err((DiagnosticKind::UnknownDocument, "column 1 differs from the id of its document".to_owned()));
    }
    let (Ok(start), Ok(end)) = (columns[1].parse::<usize>(), columns[2].parse::<usize>()) else {
        let others = match columns.get(4) {
            None => Some(None),
            Some(_) if columns.len() > 5 => None,
            Some(&"") => Some(None),
            Some(last) if NOVELTY.iter().any(|known| known.eq_ignore_ascii_case(last)) => {
                Some(Some("the novelty of relations"))
            }
            Some(last) if is_number(last) => Some(Some("the score of relations")),
            Some(_) => None,
        };
        if let Some(others) = others.filter(|_| !is_number(columns[1])) {
            let arguments = columns[2..4].iter().map(|&concept| Argument::concept(concept)).collect();
            return Ok((Row::Relation(Relation { kind: columns[1].to_owned(), arguments }), others));
        }
        return Err(malformed("columns 2 and 3 of a mention must be its start and end".to_owned()));
    };
    if columns.len() == 4 {
        return Err(malformed("4 tab-separated columns; a mention has 5 to 7".to_owned()));
    }
    let span = Span::new(start, end);
    let entity_type = columns[4].trim();
    if entity_type.is_empty() {
        return Err(malformed(format!("the mention at {span} has no type")));
    }
    let fragments = locator.fragments(&document.text, &[span], Some(columns[3]))?;
    let mut mention = Mention { fragments, ..Mention::new(span, entity_type) };
    if let Some(ids) = columns.get(5) {
        mention.concept_ids = concept_ids::split(entity_type, ids);
    }
    if let Some(individual) = columns.get(6) {
        mention.attributes.insert(INDIVIDUAL_MENTIONS.into(), (*individual).to_owned());
    }
    let others = (columns.len() > 7).then_some("mentions with more than 7 columns");
    Ok((Row::Mention(mention), others))
}

/// Whether the text is a number, as the start of a mention and the score of a relation are.
fn is_number(text: &str) -> bool {
    text.trim().parse::<f64>().is_ok()
}

/// Converts a document to what this format can represent.
///
/// Line breaks and tabs in the text become spaces, which preserves all offsets. A title passage followed by a space is
/// kept, and all text after it becomes the abstract; otherwise the whole text becomes the title. Mentions keep one
/// span, the concepts that can be told apart on one line and [`INDIVIDUAL_MENTIONS`]; of mentions with the same position and type, the first is
/// kept. Only relations between two concepts are kept, without roles.
pub fn express(document: &Document) -> Expressed {
    let index = document.char_index();
    let text = one_line(&document.text).into_owned();
    let title_end = match document.passages.first() {
        Some(first) if first.kind == "title" && first.span.start == 0 => first.span.end,
        _ => index.len(),
    };
    let cut = match index.slice(&text, Span::new(title_end, title_end + 1)) {
        Some(" ") => title_end,
        _ => index.len(),
    };
    let mut passages = vec![Passage { kind: "title".into(), span: Span::new(0, cut) }];
    if cut < index.len() {
        passages.push(Passage { kind: "abstract".into(), span: Span::new(cut + 1, index.len()) });
    }
    let mut seen = HashSet::new();
    let mut expressed = Expressed::new(document, |mention| {
        let entity_type = one_line(&mention.entity_type).trim().to_owned();
        let mention = Mention {
            concept_ids: concept_ids::express(
                &entity_type,
                mention.concept_ids.iter().filter(|id| **id == one_line(id)).cloned(),
            ),
            entity_type,
            attributes: individual_mentions(mention),
            fragments: offsets::normal(&mention.fragments),
            confidence: None,
        };
        let span = mention.span();
        let sayable = !mention.is_discontinuous()
            && !mention.entity_type.is_empty()
            && index.slice(&text, span).is_some_and(|text| !text.is_empty());
        (sayable && seen.insert((span, mention.entity_type.clone()))).then_some(mention)
    });
    expressed.change_relations(|relation| {
        let kind = one_line(&relation.kind).into_owned();
        let concept = |argument: &Argument| match &argument.target {
            Target::Concept(id) if *id == one_line(id) => Some(Argument::concept(id)),
            _ => None,
        };
        let arguments: Vec<Argument> = relation.arguments.iter().map(concept).collect::<Option<_>>()?;
        // A number instead of the kind would make the line a mention.
        (arguments.len() == 2 && !is_number(&kind)).then_some(Relation { kind, arguments })
    });
    expressed.document = Document {
        id: encoded_id(&document.id),
        text,
        passages,
        mentions: expressed.document.mentions,
        relations: expressed.document.relations,
        ..Document::default()
    };
    expressed
}

/// `text` with a space for each line break and tab.
fn one_line(text: &str) -> Cow<'_, str> {
    const BREAKS: [char; 3] = ['\n', '\r', '\t'];
    if text.contains(BREAKS) { text.replace(BREAKS, " ").into() } else { text.into() }
}

fn individual_mentions(mention: &Mention) -> BTreeMap<String, String> {
    let parts = mention.attributes.get(INDIVIDUAL_MENTIONS);
    parts.map(|parts| (INDIVIDUAL_MENTIONS.to_owned(), one_line(parts).into_owned())).into_iter().collect()
}

/// The id without white space around it, with line and column separators percent-encoded; `-` if it is empty.
fn encoded_id(id: &str) -> String {
    let mut sayable = String::with_capacity(id.len());
    for character in id.chars() {
        match character {
            '|' | '\n' | '\r' | '\t' => sayable.push_str(&format!("%{:02X}", u32::from(character))),
            // At the start of a file it would be a byte-order mark.
            '\u{feff}' => {}
            _ => sayable.push(character),
        }
    }
    match sayable.trim() {
        "" => "-".into(),
        id => id.into(),
    }
}

/// Writes documents, separated by an empty line.
pub struct Sink<'w> {
    out: Output<'w>,
    is_first: bool,
}

impl<'w> Sink<'w> {
    /// A sink that writes to `out`.
    pub const fn new(out: Output<'w>) -> Self {
        Self { out, is_first: true }
    }
}

impl super::Sink for Sink<'_> {
    fn write(&mut self, document: &Document) -> io::Result<()> {
        let out = &mut self.out;
        if !std::mem::replace(&mut self.is_first, false) {
            writeln!(out)?;
        }
        let Document { id, text, .. } = document;
        let index = document.char_index();
        let slice = |span| index.slice(text, span).unwrap_or_default();
        for (passage, letter) in document.passages.iter().zip(['t', 'a']) {
            writeln!(out, "{id}|{letter}|{}", slice(passage.span))?;
        }
        for mention in &document.mentions {
            let span = mention.span();
            let concepts = match mention.concept_ids.as_slice() {
                [] => NO_CONCEPT.to_owned(),
                ids => concept_ids::join(ids),
            };
            write!(out, "{id}\t{}\t{}\t{}\t{}\t{concepts}", span.start, span.end, slice(span), mention.entity_type)?;
            if let Some(individual) = mention.attributes.get(INDIVIDUAL_MENTIONS) {
                write!(out, "\t{individual}")?;
            }
            writeln!(out)?;
        }
        for relation in &document.relations {
            write!(out, "{id}\t{}", relation.kind)?;
            for argument in &relation.arguments {
                if let Target::Concept(concept) = &argument.target {
                    write!(out, "\t{concept}")?;
                }
            }
            writeln!(out)?;
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
    use crate::format::{Output, round_trip};
    use crate::{Format, FormatOptions, Item, Tally};
    use proptest::collection::vec;
    use proptest::prelude::*;

    fn parse(input: &[u8]) -> (Vec<Document>, Diagnostics) {
        let options = FormatOptions::default();
        let input = Format::Pubtator.open_input(Box::new(input), Path::new("in.txt"), &options);
        input.expect("one file").read_all().expect("memory can be read")
    }

    /// `documents`: each as `ID text` and its mentions as `span type ids`. `faults`: as printed.
    fn check(input: impl AsRef<[u8]>, documents: &[(&str, &[&str])], faults: &[&str]) {
        let (found, diagnostics) = parse(input.as_ref());
        let faults_found = diagnostics.0.iter().filter(|fault| fault.kind != DiagnosticKind::OddBoundary);
        let printed: Vec<String> = faults_found.map(ToString::to_string).collect();
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
        // Relations of BioRED, and with a score; columns that other tools add; spaces around the id and after the text.
        check(
            format!("{text}7\tX\tD1\tD2\tNovel\n7\tX\tD1\tD3\tno\n7\tX\tD1\tD4\t0.5\n7\tX\tD1\tD5\t\n"),
            &[("7 ab cd ef", &[])],
            &[
                "in.txt:3: document 7: not supported, left out: the novelty of relations: 2",
                "in.txt:5: document 7: not supported, left out: the score of relations: 1",
            ],
        );
        check(
            format!("{text}7\t0\t2\tab\tX\tD1\t\tmore\n"),
            &[("7 ab cd ef", &["0..2 X D1"])],
            &["in.txt:3: document 7: not supported, left out: mentions with more than 7 columns: 1"],
        );
        check("7 | t |ab\n7 |a|cd\n7\t0\t2\tab \tX\t-\n", &[("7 ab cd", &["0..2 X "])], &[]);
        check(
            format!("{text}7\t0\t2\tab\tSNP\tc|DEL|1_3|\n7\t3\t5\tcd\tGene\t9,8\n"),
            &[("7 ab cd ef", &["0..2 SNP c|DEL|1_3|", "3..5 Gene 9+8"])],
            &[],
        );
        // A mention whose text looks like a title line; a bar in a title.
        check("7|t|a|t|b\n7\t0\t5\ta|t|b\tX\n", &[("7 a|t|b", &["0..5 X "])], &[]);
        // Documents without a blank line between them, and with many.
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
    fn faults_are_noted_with_their_line_and_valid_parts_kept() {
        let head = "7|t|ab cd\n7|a|ef\n";
        let rows = |rows: &str| format!("{head}{rows}7\t0\t2\tab\tX\n");
        let kept: &[(&str, &[&str])] = &[("7 ab cd ef", &["0..2 X "])];
        let table = [
            ("ab\n", "malformed line: 1 tab-separated columns; a mention has 5 to 7, a relation 4 or 5"),
            ("7\tCID\tD1\n", "malformed line: 3 tab-separated columns; a mention has 5 to 7, a relation 4 or 5"),
            ("7\t0\t2\tab\n", "malformed line: 4 tab-separated columns; a mention has 5 to 7"),
            ("7\tCID\tD1\tD2\tD3\tD4\n", "malformed line: columns 2 and 3 of a mention must be its start and end"),
            ("7\t-1\t2\tab\n", "malformed line: columns 2 and 3 of a mention must be its start and end"),
            ("7\tCID\tD1\tD2\tD3\n", "malformed line: columns 2 and 3 of a mention must be its start and end"),
            ("7\t-1\t2\tab\tX\n", "malformed line: columns 2 and 3 of a mention must be its start and end"),
            ("7\t0\t2.0\tab\tX\n", "malformed line: columns 2 and 3 of a mention must be its start and end"),
            (
                "7\t0\t99999999999999999999\tab\tX\n",
                "malformed line: columns 2 and 3 of a mention must be its start and end",
            ),
            ("7\t0\t2\tab\t\n", "malformed line: the mention at 0..2 has no type"),
            ("7|a|gh\n", "malformed line: an abstract of another document, or a second one"),
            ("8|a|gh\n", "malformed line: an abstract of another document, or a second one"),
            ("8\t0\t2\tab\tX\n", "unknown document: column 1 differs from the id of its document"),
            ("7\t2\t2\t\tX\n", "offset out of range: 2..2 is empty"),
            ("7\t5\t3\tcd\tX\n", "offset out of range: 5..3 ends before it begins"),
            ("7\t6\t9\tef\tX\n", "offset out of range: 6..9 reaches outside the document of 8 characters"),
            (
                "7\t1\t3\tab\tX\n",
                "text does not match the offsets: its text differs from the document's at 1..3; it would match if \
                 offsets counted from 1: subtract 1 from them",
            ),
            ("7\t0\t2\tAB\tX\n", "text does not match the offsets: its text differs from the document's at 0..2"),
        ];
        for (row, fault) in table {
            check(rows(row), kept, &[&format!("in.txt:3: document 7: {fault}")]);
        }
        // The same with another identifier is a duplicate; with another type it is not.
        check(
            rows("7\t0\t2\tab\tX\tD1\n7\t0\t2\tab\tY\n"),
            &[("7 ab cd ef", &["0..2 X D1", "0..2 Y "])],
            &["in.txt:5: document 7: duplicate mention: X at 0..2"],
        );
        check(
            format!("{head}\n7|t|gh\n\n8|t|ij"),
            &[("7 ab cd ef", &[]), ("8 ij", &[])],
            &["in.txt:4: document 7: duplicate document: repeats the id of an earlier document"],
        );
        let first = "malformed line: a title line `ID|t|…` must come first";
        check(
            "junk\n\n7|a|ab\n7\t0\t2\tab\tX\n7|t|ab\n|t|no id",
            &[("7 ab", &[])],
            &[
                &format!("in.txt:1: {first}"),
                &format!("in.txt:3: {first}"),
                &format!("in.txt:4: {first}"),
                "in.txt:6: document 7: malformed line: 1 tab-separated columns; a mention has 5 to 7, a relation 4 or 5",
            ],
        );
        let not_utf8 = |line: usize, byte: usize| {
            let convert = "if the file is windows-1252, convert it, for example with `iconv -f windows-1252 -t UTF-8`";
            format!("in.txt:{line}: invalid UTF-8: byte {byte} of the line is not UTF-8; {convert}")
        };
        // A byte that is not UTF-8 counts as one character, so the offsets after it remain valid.
        check(
            b"7|t|a\xe4 cd\n7\t1\t3\tno\tX\n7\t3\t5\tcd\tX\n7\t0\t2\ta\xe4\tX\n",
            &[("7 a\u{fffd} cd", &["3..5 X ", "0..2 X "])],
            &[
                &not_utf8(1, 6),
                "in.txt:2: document 7: text does not match the offsets: its text differs from the document's at 1..3",
                &not_utf8(4, 8),
            ],
        );
    }

    #[test]
    fn unsupported_parts_are_changed_or_counted() {
        let fragments = vec![Span::new(0, 1), Span::new(2, 3)];
        let apart = Mention { fragments, ..Mention::new(Span::new(0, 3), "X") };
        let concept_ids = vec!["D1".to_owned(), "-1".to_owned(), "D2|D3".to_owned()];
        let broken = Mention { concept_ids, ..Mention::new(Span::new(2, 5), "Y") };
        let between = |targets: [Target; 2]| {
            let argument = |target| Argument { role: String::new(), target };
            Relation { kind: "CID".into(), arguments: targets.map(argument).into() }
        };
        let concept = |id: &str| Target::Concept(id.into());
        let document = Document {
            mentions: vec![apart, broken],
            relations: vec![
                between([concept("D1"), concept("D2")]),
                between([Target::Mention(1), concept("D2")]),
                between([Target::Mention(0), concept("D2")]),
            ],
            ..Document::new("7|8", "a b\nc\td")
        };
        let mut bytes = Vec::new();
        let out: Box<dyn Write + '_> = Box::new(&mut bytes);
        let options = FormatOptions::default();
        let mut writer = Format::Pubtator.create_output(Output::Open(out), &options).expect("one file");
        writer.write(&document).expect("memory");
        let report = writer.finish().expect("memory");
        let expected = "7%7C8|t|a b c d\n7%7C8\t2\t5\tb c\tY\tD1\n7%7C8\tCID\tD1\tD2\n";
        assert_eq!(String::from_utf8(bytes).expect("UTF-8"), expected);
        let tally = |kept, moved, lost| Tally { kept, moved, lost };
        let counts = [
            (Item::DocumentId, tally(0, 1, 0)),
            (Item::Text, tally(0, 1, 0)),
            (Item::Mention, tally(1, 0, 1)),
            (Item::Fragment, tally(1, 0, 2)),
            (Item::ConceptId, tally(1, 0, 2)),
            (Item::Relation, tally(1, 0, 2)),
        ];
        assert_eq!(report.items, BTreeMap::from(counts));
    }

    proptest! {
        #[test]
        fn written_documents_are_read_back(documents in vec(round_trip::document(), 0..4)) {
            round_trip::check(Format::Pubtator, &FormatOptions::default(), &documents)?;
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
