//! Readers never panic and always keep their guarantees, whatever their input.
//!
//! `tests/bad/FORMAT` contains faulty files; folder formats have one folder per collection. The test reads them
//! unchanged, and then with random changes that are the same in every run. A new format only needs its folder.
#![allow(clippy::unwrap_used, reason = "a test")]

use ner_data::format::{Output, refused_encoding};
use ner_data::{DiagnosticKind, Diagnostics, Document, Format, FormatOptions, Span, Target};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use std::collections::HashSet;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

/// Changed versions of each file; for a file in a folder, a tenth of that.
const CHANGES: usize = 500;

/// Bytes that break columns, markup, numbers and encodings.
const PIECES: &[&[u8]] = &[
    b"\0",
    b"\n",
    b"\r",
    b"\t",
    b" ",
    b"|",
    b"\"",
    b"'",
    b"<",
    b">",
    b"&",
    b"&#0;",
    b"&#x110000;",
    b"</",
    b"<!--",
    b"]]>",
    b"{",
    b"}",
    b"[",
    b"]",
    b",",
    b":",
    b";",
    b"-1",
    b"0",
    b"18446744073709551615",
    b"99999999999999999999",
    b"1e999",
    b"\\ud800",
    b"\xef\xbb\xbf",
    b"\xff",
    b"\xc3",
    b"\xed\xa0\x80",
    b"\xf0\x9f\x98\x80",
    b"\xcc\x81",
    b"7|t|",
    b"-DOCSTART-",
    b"T1\t",
    b"R1\t",
    b"c=\"",
    b"\"||t=\"",
];

fn seeds(format: Format) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/bad").join(format.name());
    let entries = fs::read_dir(&folder).unwrap_or_else(|_| panic!("{} holds no bad files", folder.display()));
    let mut seeds: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    seeds.sort();
    seeds
}

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let entries = walkdir::WalkDir::new(folder).sort_by_file_name().into_iter().map(Result::unwrap);
    entries.filter(|entry| entry.file_type().is_file()).map(walkdir::DirEntry::into_path).collect()
}

fn change(bytes: &mut Vec<u8>, random: &mut SmallRng) {
    for _ in 0..random.random_range(1..4) {
        let at = random.random_range(0..=bytes.len());
        let end = random.random_range(at..=bytes.len().min(at + 40));
        match random.random_range(0..6) {
            0 => bytes.truncate(at),
            1 => drop(bytes.drain(at..end)),
            2 => drop(bytes.splice(at..at, bytes[at..end].to_vec())),
            3 if at < bytes.len() => bytes[at] = random.random(),
            4 => drop(bytes.splice(at..at, PIECES[random.random_range(0..PIECES.len())].repeat(200))),
            _ => drop(bytes.splice(at..at, PIECES[random.random_range(0..PIECES.len())].to_vec())),
        }
    }
}

fn check(documents: &[Document], diagnostics: &Diagnostics, what: &str) {
    let mut ids = HashSet::new();
    for document in documents {
        assert!(ids.insert(&document.id), "{what}: an id twice");
        let index = document.char_index();
        let inside = |span: &Span| index.bytes(*span).is_some();
        for mention in &document.mentions {
            assert!(!mention.fragments.is_empty() && !mention.entity_type.is_empty(), "{what}: {mention:?}");
            assert!(mention.fragments.iter().all(|part| inside(part) && !part.is_empty()), "{what}: {mention:?}");
            assert!(mention.fragments.windows(2).all(|pair| pair[0].end <= pair[1].start), "{what}: {mention:?}");
        }
        assert!(document.passages.iter().all(|passage| inside(&passage.span)), "{what}: {:?}", document.passages);
        for spans in [&document.sentences, &document.words] {
            assert!(spans.iter().all(inside), "{what}: {spans:?}");
            assert!(spans.windows(2).all(|pair| pair[0].end <= pair[1].start), "{what}: {spans:?}");
        }
        for argument in document.relations.iter().flat_map(|relation| &relation.arguments) {
            assert!(!matches!(argument.target, Target::Mention(at) if at >= document.mentions.len()), "{what}");
        }
    }
    assert!(diagnostics.0.iter().all(|diagnostic| diagnostic.line >= 1), "{what}: {diagnostics:?}");
}

/// Documents read from a broken file can be written in every single-file format and are read back as expressed.
fn check_written(documents: &[Document], what: &str) {
    let options = FormatOptions::default();
    for format in Format::all().filter(|format| !format.is_folder()) {
        for document in documents {
            let mut bytes = Vec::new();
            let out: Box<dyn Write + '_> = Box::new(&mut bytes);
            let mut writer = format.create_output(Output::Open(out), &options).unwrap();
            writer.write(document).unwrap();
            writer.finish().unwrap();
            // Text of UTF-16 that was read as UTF-8 is taken for UTF-16 again.
            if refused_encoding(&bytes).is_some() {
                continue;
            }
            let input = format.open_input(Box::new(bytes.as_slice()), Path::new("written"), &options).unwrap();
            let (mut back, mut diagnostics) = input.read_all().unwrap();
            diagnostics.0.retain(|diagnostic| diagnostic.kind != DiagnosticKind::OddBoundary);
            let expected = format.express(document, &options).document;
            if format == Format::Conll {
                // It has no ids.
                back[0].id.clear();
            }
            assert_eq!((back, diagnostics.0), (vec![expected], vec![]), "{what}, as {format}");
        }
    }
}

#[test]
fn files_are_read_whatever_they_hold() {
    let options = FormatOptions::default();
    for format in Format::all().filter(|format| !format.is_folder()) {
        for seed in seeds(format) {
            let original = fs::read(&seed).unwrap();
            let mut random = SmallRng::seed_from_u64(5);
            for round in 0..=CHANGES {
                let mut bytes = original.clone();
                if round > 0 {
                    change(&mut bytes, &mut random);
                }
                let what = format!("{}, change {round}", seed.display());
                let input = format.open_input(Box::new(bytes.as_slice()), &seed, &options).unwrap();
                let (documents, diagnostics) = input.read_all().unwrap();
                check(&documents, &diagnostics, &what);
                check_written(&documents, &what);
            }
        }
    }
}

#[test]
fn folders_are_read_whatever_they_hold() {
    let options = FormatOptions::default();
    for format in Format::all().filter(|format| format.is_folder()) {
        for seed in seeds(format) {
            let what = seed.display().to_string();
            let (documents, diagnostics) = format.read(&seed, &options).unwrap();
            check(&documents, &diagnostics, &what);
            let mut random = SmallRng::seed_from_u64(5);
            for changed in files_below(&seed) {
                let original = fs::read(&changed).unwrap();
                let copy = tempfile::tempdir().unwrap();
                for file in files_below(&seed) {
                    let to = copy.path().join(file.strip_prefix(&seed).unwrap());
                    fs::create_dir_all(to.parent().unwrap()).unwrap();
                    fs::copy(&file, &to).unwrap();
                }
                for round in 1..=CHANGES / 10 {
                    let mut bytes = original.clone();
                    change(&mut bytes, &mut random);
                    fs::write(copy.path().join(changed.strip_prefix(&seed).unwrap()), &bytes).unwrap();
                    let (documents, diagnostics) = format.read(copy.path(), &options).unwrap();
                    let what = format!("{}, change {round}", changed.display());
                    check(&documents, &diagnostics, &what);
                    check_written(&documents, &what);
                }
            }
        }
    }
}
