//! What every fuzz target of a corpus format checks.
//!
//! The same guarantees as in `crates/ner-data/tests/bad_input.rs`, which changes the seeds at random in every test run;
//! here the coverage of the code decides which changes are worth keeping.

pub mod vocabularies;

use ner_data::format::{Look, Output, buffered, look_at, refused_encoding};
use ner_data::frames::Texts;
use ner_data::table::TableTexts;
use ner_data::{
    DiagnosticKind, Diagnostics, Document, Documents, Format, FormatOptions, Span, Target,
};
use std::collections::HashSet;
use std::fs;
use std::io::{BufReader, Cursor, ErrorKind, Read, Write};
use std::path::Path;
use std::sync::Once;

/// Separates the files of a document in one input. It never occurs in UTF-8, so every valid text remains reachable.
const SEPARATOR: u8 = 0xff;

/// Size of a buffer that ends inside a number, a tag or a character.
const SMALL: usize = 7;

/// Checks the reader of a single-file format on these bytes.
pub fn check_file(format: Format, bytes: &[u8]) {
    let (documents, diagnostics) = read(format, bytes);
    check(&documents, &diagnostics);
    check_round_trip(format, &documents);
    let options = FormatOptions::default();
    let input = Box::new(BufReader::with_capacity(SMALL, bytes));
    let again = format.open_input(input, Path::new("input"), &options).expect("a single file").read_all();
    let (documents_again, diagnostics_again) = again.expect("memory");
    assert_eq!(documents_again, documents, "they depend on the size of the buffer");
    assert_eq!(decoded(diagnostics_again), decoded(diagnostics), "they depend on the size of the buffer");
}

/// The diagnostics except those of bytes that are not UTF-8: where the markup ends the reading, a larger buffer has
/// decoded more of what follows.
fn decoded(mut diagnostics: Diagnostics) -> Diagnostics {
    diagnostics.0.retain(|diagnostic| diagnostic.kind != DiagnosticKind::InvalidUtf8);
    diagnostics
}

/// Checks the reader of a folder format on one document, whose files have these extensions. An empty part is no file.
pub fn check_folder(format: Format, extensions: &[&str], bytes: &[u8]) {
    let folder = tempfile::tempdir().expect("a folder");
    let parts = bytes.splitn(extensions.len(), |byte| *byte == SEPARATOR);
    for (extension, part) in extensions.iter().zip(parts).filter(|(_, part)| !part.is_empty()) {
        fs::write(folder.path().join("x").with_extension(extension), part).expect("written");
    }
    let (documents, diagnostics) = match format.read(folder.path(), &FormatOptions::default()) {
        // A folder without files of the format may be refused, and nothing else.
        Err(error) if error.kind() == ErrorKind::NotFound => return,
        result => result.expect("a folder"),
    };
    check(&documents, &diagnostics);
    check_round_trip(format, &documents);
}

/// Names whose endings decide, and one that has none.
const NAMES: &[&str] = &["a", "a.txt", "a.json", "a.csv", "a.tsv", "a.xml", "a.PubTator", "a.parquet"];

/// Checks what a file is taken for, and the reader that this chooses. The first byte chooses the name.
pub fn check_any(bytes: &[u8]) {
    let Some((first, bytes)) = bytes.split_first() else { return };
    let name = Path::new(NAMES[usize::from(*first) % NAMES.len()]);
    // A file may be refused, and so may what follows its first bytes.
    let Ok(mut input) = buffered(bytes, name) else { return };
    let Ok((look, beginning)) = look_at(name, &mut input) else { return };
    let whole = Cursor::new(beginning).chain(input);
    match look {
        Look::Corpus(format) if !format.is_folder() => {
            let documents = format.open_input(Box::new(whole), name, &FormatOptions::default());
            if let Ok((documents, diagnostics)) = documents.and_then(Documents::read_all) {
                check(&documents, &diagnostics);
            }
        }
        Look::Table(separator) => {
            let Ok(mut texts) = TableTexts::new(whole, separator, "text", None) else { return };
            while let Ok(Some((line, _))) = texts.next_row() {
                assert!(line > 0);
            }
        }
        _ => {}
    }
}

/// Checks the reader of Parquet tables. polars panics at some damaged ones, which `annotate` catches.
pub fn check_parquet(bytes: &[u8]) {
    static QUIET: Once = Once::new();
    // Instead of libFuzzer's, which ends the process.
    QUIET.call_once(|| std::panic::set_hook(Box::new(|_| {})));
    let _ = std::panic::catch_unwind(|| read_parquet(bytes));
}

fn read_parquet(bytes: &[u8]) {
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    file.write_all(bytes).expect("written");
    let Ok(mut texts) = Texts::open(file.path(), "text", Some("id")) else { return };
    while let Ok(Some(_)) = texts.next_rows() {}
}

/// Checks the reader of a model's `config.json`. (The library that reads its tokenizer may panic, which medner catches
/// and a fuzzer does not.)
pub fn check_config(bytes: &[u8]) {
    let Ok(json) = std::str::from_utf8(bytes) else { return };
    // Any config is read or refused.
    let _ = ner_model::BertConfig::from_json(json, Path::new("config.json"));
}

fn read(format: Format, bytes: &[u8]) -> (Vec<Document>, Diagnostics) {
    let input = format.open_input(Box::new(bytes), Path::new("input"), &FormatOptions::default());
    input.expect("a single file").read_all().expect("memory")
}

/// What holds for every document, whatever the file.
fn check(documents: &[Document], diagnostics: &Diagnostics) {
    let mut ids = HashSet::new();
    for document in documents {
        assert!(ids.insert(&document.id), "an id twice");
        let index = document.char_index();
        let inside = |span: &Span| index.bytes(*span).is_some();
        for mention in &document.mentions {
            assert!(!mention.fragments.is_empty() && !mention.entity_type.is_empty(), "{mention:?}");
            assert!(mention.fragments.iter().all(|part| inside(part) && !part.is_empty()), "{mention:?}");
            assert!(mention.fragments.windows(2).all(|pair| pair[0].end <= pair[1].start), "{mention:?}");
        }
        assert!(document.passages.iter().all(|passage| inside(&passage.span)), "{:?}", document.passages);
        for spans in [&document.sentences, &document.words] {
            assert!(spans.iter().all(inside), "{spans:?}");
            assert!(spans.windows(2).all(|pair| pair[0].end <= pair[1].start), "{spans:?}");
        }
        for argument in document.relations.iter().flat_map(|relation| &relation.arguments) {
            assert!(!matches!(argument.target, Target::Mention(at) if at >= document.mentions.len()));
        }
    }
    assert!(diagnostics.0.iter().all(|diagnostic| diagnostic.line >= 1), "{diagnostics:?}");
}

/// Expressed documents are read back equal and without diagnostics, and expressing them again changes nothing: the law
/// that `crates/ner-data/src/format/round_trip.rs` states.
fn check_round_trip(format: Format, documents: &[Document]) {
    let options = FormatOptions::default();
    let mut ids = HashSet::new();
    let mut expected: Vec<Document> = Vec::new();
    for document in documents {
        let once = format.express(document, &options).document;
        assert_eq!(format.express(&once, &options).document, once, "expressing it again changes it");
        if format == Format::Conll || ids.insert(once.id.clone()) {
            expected.push(once);
        }
    }
    if format.is_folder() && expected.is_empty() {
        return;
    }
    let (mut found, diagnostics) = if format.is_folder() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("written");
        format.write(&path, &expected, &options).expect("written");
        format.read(&path, &options).expect("read")
    } else {
        let mut bytes = Vec::new();
        let out: Box<dyn Write + '_> = Box::new(&mut bytes);
        let mut writer = format.create_output(Output::Open(out), &options).expect("a single file");
        for document in &expected {
            writer.write(document).expect("memory");
        }
        writer.finish().expect("memory");
        // Text of UTF-16 that was read as UTF-8 is taken for UTF-16 again.
        if refused_encoding(&bytes).is_some() {
            return;
        }
        read(format, &bytes)
    };
    if format == Format::Conll {
        // It has no ids: its reader numbers the documents.
        for (at, document) in expected.iter_mut().enumerate() {
            document.id = (at + 1).to_string();
        }
    }
    if format.is_folder() {
        found.sort_by(|a, b| a.id.cmp(&b.id));
        expected.sort_by(|a, b| a.id.cmp(&b.id));
    }
    let faults = diagnostics.0.iter().filter(|fault| fault.kind != DiagnosticKind::OddBoundary);
    assert_eq!(faults.count(), 0, "diagnostics of its own output: {diagnostics:?}");
    assert_eq!(found, expected, "it is read back otherwise");
}
