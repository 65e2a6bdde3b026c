//! A journal as bytes: JSON lines, the first of which names its batch and annotator.
//!
//! ```text
//! {"journal":1,"batch":"5d41402abc4b2a76","annotator":"anna"}
//! {"n":1,"at":"2026-01-05T09:00:00Z","item":"7.s2","do":"reject","mention":{"start":0,"end":7,"label":"Chemical"}}
//! {"n":2,"at":"2026-01-05T09:00:02Z","item":"7.s2","do":"done"}
//! ```
//!
//! A line is on the disk, with its line end, before its action is reported as saved. Bytes behind the last line end are
//! therefore a line that was being written when the process or the machine stopped, and that was never reported as
//! saved: they are cut off. Any other unreadable line is damage.

use super::{Record, Refusal, Work, check_name};
use ner_document::Document;
use serde::{Deserialize, Serialize};

const VERSION: u32 = 1;

/// The first line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// Version of the format.
    journal: u32,
    /// Checksum of its batch.
    batch: String,
    /// Its annotator.
    annotator: String,
}

/// Why a journal cannot be used. The message contains no text of documents.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {why}")]
pub struct Damage {
    /// Line number, from 1.
    pub line: usize,
    /// What is wrong with it.
    pub why: Why,
}

/// What is wrong with a line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Why {
    /// Not JSON, or not a record.
    #[error("it is not a journal record (column {0})")]
    Unreadable(usize),
    /// Another version of medner wrote it.
    #[error("it has journal version {0}; this medner reads version {VERSION}")]
    Version(u32),
    /// Its offsets belong to another batch.
    #[error("it belongs to another batch")]
    OtherBatch,
    /// The file was renamed or copied over another one.
    #[error("it belongs to another annotator than the file name says")]
    OtherAnnotator,
    /// Its action is not possible after the lines before it.
    #[error("its action is not possible after the lines before it: {0}")]
    Refused(#[from] Refusal),
}

/// A replayed journal.
#[derive(Clone, Debug)]
pub struct Journal {
    /// The work after its last line.
    pub work: Work,
    /// Bytes up to the end of its last complete line.
    pub whole: usize,
}

/// The first line of a new journal.
pub fn header(batch: &str, annotator: &str) -> Vec<u8> {
    line(&Header { journal: VERSION, batch: batch.into(), annotator: annotator.into() })
}

/// A value as a JSON line.
pub fn line(value: &impl Serialize) -> Vec<u8> {
    let mut bytes = serde_json::to_vec(value).expect("JSON objects have string keys, so this cannot fail");
    bytes.push(b'\n');
    bytes
}

/// Replays a journal of `annotator` on a batch.
///
/// # Errors
/// If a complete line is not a valid record, or the journal belongs to another batch or annotator.
pub fn read(bytes: &[u8], documents: &[Document], batch: &str, annotator: &str) -> Result<Journal, Damage> {
    let whole = bytes.iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1);
    let mut work = Work::new(documents, annotator);
    for (at, text) in bytes[..whole].split_inclusive(|&byte| byte == b'\n').enumerate() {
        let done = if at == 0 { check_header(text, batch, annotator) } else { play(text, &mut work) };
        done.map_err(|why| Damage { line: at + 1, why })?;
    }
    Ok(Journal { work, whole })
}

fn check_header(text: &[u8], batch: &str, annotator: &str) -> Result<(), Why> {
    let header: Header = serde_json::from_slice(text).map_err(|error| Why::Unreadable(error.column()))?;
    if header.journal != VERSION {
        return Err(Why::Version(header.journal));
    }
    if header.batch != batch {
        return Err(Why::OtherBatch);
    }
    if header.annotator != annotator || !check_name(annotator) {
        return Err(Why::OtherAnnotator);
    }
    Ok(())
}

fn play(text: &[u8], work: &mut Work) -> Result<(), Why> {
    let record: Record = serde_json::from_slice(text).map_err(|error| Why::Unreadable(error.column()))?;
    Ok(work.apply(&record)?)
}

#[cfg(test)]
mod tests {
    use super::super::*;
    use super::*;
    use ner_document::{Mention, Span};
    use proptest::prelude::*;

    fn documents() -> Vec<Document> {
        let mut first = Document::new("a", "👩🏽‍🔬 fever and cafe\u{301}");
        first.mentions = vec![Mention::new(Span::new(5, 10), "Disease"), Mention::new(Span::new(15, 20), "Chemical")];
        vec![first, Document::new("b", "No aspirin.")]
    }

    fn place(start: usize, end: usize, label: &str) -> LabelledSpan {
        LabelledSpan { start, end, label: label.into() }
    }

    fn record(n: u64, item: &str, action: Action) -> Record {
        Record { n, at: "2026-01-05T09:00:00Z".into(), item: item.into(), action }
    }

    /// A journal with every action.
    fn everything() -> Vec<Record> {
        let (fever, cafe, aspirin) = (place(5, 10, "Disease"), place(15, 20, "Chemical"), place(3, 10, "Chemical"));
        [
            ("a", Action::Accept { mention: fever.clone() }),
            ("a", Action::Reject { mention: cafe.clone() }),
            ("a", Action::Change { mention: fever, to: place(0, 10, "Symptom") }),
            ("a", Action::Add { mention: place(5, 20, "Disease") }),
            ("b", Action::Add { mention: aspirin.clone() }),
            ("b", Action::Undo { of: 5 }),
            ("b", Action::Add { mention: aspirin }),
            ("b", Action::Done),
            ("b", Action::Reopen),
            ("b", Action::Undo { of: 9 }),
            ("a", Action::Add { mention: cafe }),
            ("a", Action::Done),
        ]
        .into_iter()
        .enumerate()
        .map(|(at, (item, action))| record(at as u64 + 1, item, action))
        .collect()
    }

    fn bytes_of(records: &[Record]) -> Vec<u8> {
        records.iter().fold(header("x", "anna"), |bytes, record| [bytes, line(record)].concat())
    }

    #[test]
    fn what_was_done_is_what_comes_back() {
        let journal = read(&bytes_of(&everything()), &documents(), "x", "anna").unwrap();
        let places = |item: usize| journal.work.items()[item].places().cloned().collect::<Vec<_>>();
        assert_eq!(places(0), [place(0, 10, "Symptom"), place(5, 20, "Disease"), place(15, 20, "Chemical")]);
        assert_eq!(places(1), [place(3, 10, "Chemical")]);
        assert!(journal.work.items().iter().all(|item| item.done));
        assert_eq!((journal.work.last(), journal.work.undoable()), (12, Some(("a", 12))));

        // Undo goes back to the beginning, action by action, and then fails.
        let mut work = journal.work;
        let mut n = work.last();
        while let Some((item, of)) = work.undoable().map(|(item, of)| (item.to_owned(), of)) {
            n += 1;
            work.apply(&record(n, &item, Action::Undo { of })).unwrap();
        }
        assert_eq!(work.items(), Work::new(&documents(), "anna").items());
        assert_eq!(work.apply(&record(n + 1, "a", Action::Undo { of: n })), Err(Refusal::NothingToUndo));
        assert_eq!(work.last(), n, "what was refused changes nothing");
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let check = |action: Action, expected: Refusal| {
            let mut work = Work::new(&documents(), "anna");
            assert_eq!(work.apply(&record(1, "a", action)), Err(expected));
            assert_eq!(work, Work::new(&documents(), "anna"));
        };
        let fever = place(5, 10, "Disease");
        check(Action::Accept { mention: place(5, 10, "Drug") }, Refusal::UnknownMention { start: 5, end: 10 });
        check(Action::Add { mention: fever.clone() }, Refusal::There { start: 5, end: 10 });
        let to = place(15, 20, "Chemical");
        check(Action::Change { mention: fever.clone(), to }, Refusal::There { start: 15, end: 20 });
        check(Action::Add { mention: place(5, 5, "X") }, Refusal::NoPlace { start: 5, end: 5, length: 20 });
        check(Action::Add { mention: place(5, 21, "X") }, Refusal::NoPlace { start: 5, end: 21, length: 20 });
        check(Action::Add { mention: place(5, 6, " X") }, Refusal::BadLabel);
        check(Action::Add { mention: place(5, 6, "") }, Refusal::BadLabel);
        check(Action::Undo { of: 0 }, Refusal::NothingToUndo);
        check(Action::Start { entries: Vec::new() }, Refusal::NoStart);
        let mut work = Work::new(&documents(), "anna");
        assert_eq!(work.apply(&record(1, "c", Action::Done)), Err(Refusal::UnknownItem));
        assert_eq!(work.apply(&record(2, "a", Action::Done)), Err(Refusal::Number { expected: 1, found: 2 }));
        for (name, expected) in [("anna", true), ("a_1-b", true), ("", false), ("Anna", false), ("../a", false)] {
            assert_eq!(check_name(name), expected, "{name}");
        }
    }

    #[test]
    fn damage_is_refused_with_its_line() {
        let bytes = bytes_of(&everything());
        let check = |bytes: &[u8], line: usize, why: &str| {
            let damage = read(bytes, &documents(), "x", "anna").unwrap_err();
            assert!(damage.line == line && damage.to_string().contains(why), "{damage}");
        };
        let lines: Vec<&[u8]> = bytes.split_inclusive(|&byte| byte == b'\n').collect();
        let text = |at: usize, from: &str, to: &str| {
            let mut lines: Vec<String> = lines.iter().map(|line| String::from_utf8(line.to_vec()).unwrap()).collect();
            lines[at] = lines[at].replacen(from, to, 1);
            lines.concat().into_bytes()
        };
        check(&text(3, "\"do\"", "\"d"), 4, "it is not a journal record");
        check(&text(3, "change", "chance"), 4, "it is not a journal record");
        check(&text(4, "\"start\":5", "\"start\":50"), 5, "not a valid span in a text of 20 characters");
        check(&text(6, "\"of\":5", "\"of\":4"), 7, "only the latest action");
        check(&[lines[0], lines[1], &lines[3..].concat()].concat(), 3, "number 3, expected 2");
        check(&[lines[0], lines[1], lines[1]].concat(), 3, "number 1, expected 2");
        check(&lines[1..].concat(), 1, "it is not a journal record");
        check(&text(0, "\"x\"", "\"y\""), 1, "another batch");
        check(&text(0, "anna", "bert"), 1, "belongs to another annotator");
        check(&text(0, ":1", ":2"), 1, "journal version 2");
    }

    proptest! {
        // A kill may cut the last write anywhere; all complete lines survive.
        #[test]
        fn a_torn_line_is_cut_and_nothing_else(cut in 0usize..2000) {
            let bytes = bytes_of(&everything());
            let cut = cut.min(bytes.len());
            let journal = read(&bytes[..cut], &documents(), "x", "anna").unwrap();
            let lines = bytes[..cut].iter().filter(|&&byte| byte == b'\n').count();
            prop_assert_eq!(journal.work.last(), lines.saturating_sub(1) as u64);
            // It continues at the cut.
            let rest: Vec<u8> = [&bytes[..journal.whole], &bytes[journal.whole..]].concat();
            prop_assert_eq!(read(&rest, &documents(), "x", "anna").unwrap().work.last(), 12);
        }
    }

    #[test]
    fn adjudication_begins_with_what_all_have_and_ends_when_all_is_settled() {
        let documents = documents();
        let (fever, cafe) = (place(5, 10, "Disease"), place(15, 20, "Chemical"));
        let mut works = BTreeMap::new();
        for name in ["anna", "bert"] {
            let mut work = Work::new(&documents, name);
            if name == "bert" {
                work.apply(&record(1, "a", Action::Reject { mention: cafe.clone() })).unwrap();
            }
            work.apply(&record(work.last() + 1, "a", Action::Done)).unwrap();
            works.insert(name.to_owned(), work);
        }
        assert_eq!(merged(&works, 1), None);
        let entries = merged(&works, 0).unwrap();
        let told: Vec<_> = entries.iter().map(|entry| (&entry.place, entry.verdict, entry.by.join(" "))).collect();
        let expected = [(&fever, Verdict::Accepted, "anna bert".to_owned()), (&cafe, Verdict::Open, "anna".to_owned())];
        assert_eq!(told, expected);

        let mut work = Work::new(&documents, ADJUDICATED);
        assert_eq!(work.apply(&record(1, "a", Action::Done)), Err(Refusal::NoStart));
        work.apply(&record(1, "a", Action::Start { entries: entries.clone() })).unwrap();
        assert_eq!(work.undoable(), None);
        assert_eq!(work.apply(&record(2, "a", Action::Start { entries })), Err(Refusal::NoStart));
        assert_eq!(work.apply(&record(2, "a", Action::Done)), Err(Refusal::Unsettled(1)));
        work.apply(&record(2, "a", Action::Reject { mention: cafe })).unwrap();
        work.apply(&record(3, "a", Action::Done)).unwrap();
        assert_eq!(work.items()[0].places().collect::<Vec<_>>(), [&fever]);
    }

    use std::collections::BTreeMap;
}
