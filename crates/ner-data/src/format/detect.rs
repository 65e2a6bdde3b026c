//! What a file is: its ending decides first, the content of its beginning second. Prose needs evidence, too: a file
//! with structure is never taken for a text.

use super::encoding::{advice, refused_encoding};
use super::{Format, bioc_json, bioc_xml, conll, jsonl, pubtator};
use crate::table;
use std::path::Path;

/// Number of bytes that decide what a file is.
pub const BEGINNING: usize = 1 << 16;

/// What a file is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Look {
    /// A corpus format.
    Corpus(Format),
    /// A table with this separator, whose rows may be documents.
    Table(u8),
    /// A Parquet table.
    Parquet,
    /// A text. Its lines may look like columns with tags.
    Text {
        /// Whether they do.
        has_columns: bool,
    },
    /// Something that medner does not read: what it is and what to do, as the end of a sentence about the file.
    Refused(String),
}

impl Look {
    /// The corpus format, also of a text whose lines look like columns.
    pub const fn format(&self) -> Option<Format> {
        match self {
            Self::Corpus(format) => Some(*format),
            Self::Text { has_columns: true } => Some(Format::Conll),
            _ => None,
        }
    }
}

/// Endings of texts.
const TEXTS: &[&str] = &["txt", "text", "md", "note"];

/// Beginnings of XML that is no BioC, and its name.
const XML: &[(&str, &str)] = &[
    ("<ClinicalDocument", "an HL7 CDA document"),
    ("<PubmedArticle", "PubMed's XML"),
    ("<article", "an article in JATS XML"),
    ("<xmi:XMI", "a UIMA CAS"),
    ("<deIdi2b2", "n2c2's XML"),
    ("<Bundle", "a FHIR bundle"),
    ("<html", "HTML"),
    ("<HTML", "HTML"),
    ("<!DOCTYPE html", "HTML"),
    ("<!doctype html", "HTML"),
];

/// Beginnings of other files, their name, and what to do.
const OTHERS: &[(&str, &str, &str)] = &[
    ("%PDF-", "a PDF file", "convert it to text first, for example with pdftotext"),
    ("{\\rtf", "an RTF file", "save it as plain text first"),
    ("#FORMAT=WebAnno TSV", "WebAnno TSV", "export CoNLL 2002 or brat from the tool instead"),
    ("MSH|", "an HL7 v2 message", "extract the text of its OBX segments first, or pass --from text"),
    ("PK\u{3}\u{4}", "a zip archive or an office document", "give it the ending .zip, or save it as plain text"),
    ("T1\t", "annotation without its text", "name the folder with both files"),
    ("c=\"", "concepts without their text", "name the folder with txt/ and concept/"),
];

/// What a file with this name and beginning is. The name has no ending of a compression; `is_whole` says that the
/// beginning is the whole file. stdin has an empty name.
pub fn look(name: &Path, beginning: &[u8], is_whole: bool) -> Look {
    let ending = name.extension().map(|ending| ending.to_string_lossy().to_lowercase()).unwrap_or_default();
    if ending == "parquet" || beginning.starts_with(b"PAR1") {
        return Look::Parquet;
    }
    if let Some(what) = unreadable(beginning) {
        return Look::Refused(what);
    }
    let text = String::from_utf8_lossy(beginning);
    let text = text.trim_start_matches('\u{feff}').trim_start();
    // The last line may be cut off.
    let lines = if is_whole { text } else { text.rsplit_once('\n').map_or(text, |(lines, _)| lines) };
    if let Some((_, what, todo)) = OTHERS.iter().find(|(sign, ..)| text.starts_with(sign)) {
        return Look::Refused(format!("is {what}, which medner does not read; {todo}"));
    }
    match ending.as_str() {
        "json" | "jsonl" | "ndjson" if text.is_empty() => Look::Corpus(Format::Jsonl),
        "json" | "jsonl" | "ndjson" => {
            let is_json = text.starts_with(['[', '{', '"']);
            let what = if is_json { "holds no objects with a text" } else { "does not begin as JSON" };
            structured(text).unwrap_or_else(|| Look::Refused(what.into()))
        }
        "xml" => structured(text).unwrap_or_else(|| Look::Refused("does not begin as XML".into())),
        "pubtator" => Look::Corpus(Format::Pubtator),
        "conll" | "conllu" | "bio" | "iob" | "iob2" | "bioes" => Look::Corpus(Format::Conll),
        "csv" if !conll::begins(lines) => Look::Table(table::separator(lines)),
        "tsv" | "tab" if !conll::begins(lines) && !pubtator::begins(lines) => Look::Table(b'\t'),
        ending => by_content(text, lines, TEXTS.contains(&ending)),
    }
}

fn by_content(text: &str, lines: &str, is_named_text: bool) -> Look {
    if let Some(look) = structured(text) {
        return look;
    }
    // A note may hold one row such as `Temp|t|36.8`.
    if pubtator::begins(lines) && (!is_named_text || pubtator::has_more(lines)) {
        return Look::Corpus(Format::Pubtator);
    }
    let has_columns = conll::begins(lines);
    if has_columns && !is_named_text {
        return Look::Corpus(Format::Conll);
    }
    match table::columns(lines).filter(|_| !has_columns) {
        Some(columns) => Look::Refused(format!(
            "is a table with the columns {columns}; pass --from csv or --from tsv, and --text-column with the column of \
             the texts"
        )),
        None => Look::Text { has_columns },
    }
}

/// JSON and XML, whatever the ending.
fn structured(text: &str) -> Option<Look> {
    if jsonl::begins(text) {
        return Some(Look::Corpus(if bioc_json::begins(text) { Format::BiocJson } else { Format::Jsonl }));
    }
    if bioc_xml::begins(text) {
        return Some(Look::Corpus(Format::BiocXml));
    }
    let known = XML.iter().filter_map(|(sign, what)| Some((text.find(sign)?, what))).min();
    let starts = ["<?xml", "<!DOCTYPE", "<!doctype"].iter().any(|sign| text.starts_with(sign));
    match known {
        Some((at, what)) if starts || at == 0 => {
            Some(Look::Refused(format!("is {what}, which medner does not read; extract the text first")))
        }
        _ if starts => Some(Look::Refused("is XML, but not BioC: it has no <collection>".into())),
        _ => None,
    }
}

/// Why these bytes are no text in UTF-8.
fn unreadable(bytes: &[u8]) -> Option<String> {
    if let Some(what) = refused_encoding(bytes) {
        return Some(format!("cannot be read: {what}"));
    }
    let is_odd = |byte: u8| byte == 0 || (byte < b' ' && !byte.is_ascii_whitespace() && !(0x1b..=0x1f).contains(&byte));
    let odd = bytes.iter().filter(|&&byte| is_odd(byte)).count();
    let broken: usize = bytes.utf8_chunks().map(|chunk| chunk.invalid().len()).sum();
    let is_binary = bytes.len() >= 4 && (odd + broken) * 10 > bytes.len() * 3;
    let found = infer::get(bytes).filter(|found| found.matcher_type() != infer::MatcherType::Text && odd + broken > 0);
    match found {
        Some(found) if is_binary || bytes.starts_with(b"PK\x03\x04") || odd > 0 => {
            Some(format!("is not a text, but {}; extract its text first", found.mime_type()))
        }
        _ if is_binary && odd * 20 < bytes.len() => Some(format!("is not UTF-8; {}", advice(bytes))),
        _ if is_binary => Some("is not a text: most of its bytes are no characters".into()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a file with this name and text is, in a word.
    fn look_of(name: &str, text: impl AsRef<[u8]>) -> String {
        match look(Path::new(name), text.as_ref(), true) {
            Look::Corpus(format) => format.name().into(),
            Look::Table(separator) => format!("table {}", char::from(separator).escape_default()),
            Look::Parquet => "parquet".into(),
            Look::Text { has_columns: false } => "text".into(),
            Look::Text { has_columns: true } => "text with columns".into(),
            Look::Refused(what) => what,
        }
    }

    #[test]
    fn corpora_are_told_by_ending_and_content() {
        let table = [
            ("", "\u{feff}7|t|a\n", "pubtator"),
            ("a.txt", "7|t|a\n7|a|b\n7\t0\t1\ta\tX\n", "pubtator"),
            ("a.PubTator", "", "pubtator"),
            ("", "7|t|vitamin B-12\n", "pubtator"),
            ("", "-DOCSTART- -X- O\n\na O\n", "conll"),
            ("a.tsv", "a\tB-X\r\nb\tO\n", "conll"),
            ("a.txt", "a\tB-X\r\nb\tO\n", "text with columns"),
            ("", "{\"text\": \"a|t|b\"}\n", "jsonl"),
            ("", "[\"a\", {}]\n", "jsonl"),
            ("a.json", "[\n {\"text\": \"a\"}]", "jsonl"),
            ("", "{\"text\": \"a text that is longer than what is", "jsonl"),
            ("", "{\"id\": \"7\", \"passages\": [{\"offset\": 0, \"text\": \"a text that is longer than", "bioc-json"),
            ("a.json", "{\"documents\": []}", "bioc-json"),
            ("", "{\"text\": \"a\", \"passages\": [{\"kind\": \"title\"}]}", "jsonl"),
            ("a.xml", "<?xml version='1.0'?>\n<collection>", "bioc-xml"),
            ("a.csv", "id,text\n1,Fever\n", "table ,"),
            ("a.csv", "id;text\n1;Fever, chills\n", "table ;"),
            ("a.tsv", "id\ttext\n1\tFever\n", "table \\t"),
        ];
        for (name, text, expected) in table {
            assert_eq!(look_of(name, text), expected, "{name} {text}");
        }
    }

    #[test]
    fn prose_is_a_text_and_structure_is_none() {
        for text in [
            "",
            "\n\n",
            "Fever.",
            "Started vitamin B-12",
            "[**2151-7-16**] Fever, [**Name**] seen.",
            "[[Name]] was seen",
            "{see above}",
            "Temp|t|36.8\nPulse|p|90\nNo fever today.\n",
            "Fever, chills\nCough, rash\n",
            "BM: soft, twice a day\n",
            "< 5 mg/dl\n",
        ] {
            assert_eq!(look_of("", text), "text", "{text}");
            assert_eq!(look_of("a.txt", text), "text", "{text}");
        }
        for (name, text, part) in [
            ("a.txt", "%PDF-1.7", "pdftotext"),
            ("a.txt", "<!DOCTYPE html><html>", "HTML"),
            ("a.xml", "<?xml version=\"1.0\"?><ClinicalDocument>", "CDA"),
            ("a.xml", "<x/>", "does not begin as XML"),
            ("a.json", "Fever", "does not begin as JSON"),
            ("", "ROW_ID,TEXT\n1,Fever\n2,Rash\n", "ROW_ID, TEXT"),
            ("", "#FORMAT=WebAnno TSV 3.3\n", "WebAnno"),
            ("a", "F\0\0\u{1}v\0e\0r\0", "is not a text"),
        ] {
            let found = look_of(name, text);
            assert!(found.contains(part), "{name}: {found}");
        }
    }
}
