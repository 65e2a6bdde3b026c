//! What the fuzz targets of vocabularies check.

use ner_link::{
    Builder, Format, LinkOptions, Linker, Query, ReadOptions, Record, Vocabulary, read,
};
use std::fs;
use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock};

/// Checks the reader of the format that the first byte chooses, and that its records make a vocabulary that holds them.
pub fn check_reader(bytes: &[u8]) {
    let Some((first, bytes)) = bytes.split_first() else { return };
    let formats: Vec<Format> = Format::names().filter_map(Format::named).collect();
    // One more than the formats: the format is detected then.
    let format = formats.get(usize::from(*first) % (formats.len() + 1)).copied();
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("input");
    fs::write(&path, bytes).expect("written");
    let (mut records, mut count) = (Vec::new(), 0_u64);
    let options = ReadOptions { format, ..ReadOptions::default() };
    let result = read(&path, &options, &mut |record| {
        count += 1;
        records.push(record);
    });
    match result {
        Ok(report) => {
            assert_eq!(report.records, count);
            assert!(report.skipped.values().all(|skipped| skipped.count > 0 && skipped.first_line > 0));
        }
        Err(error) => assert!(!error.fault.to_string().is_empty()),
    }
    assert!(records.iter().all(|record| !record.id.is_empty()), "a record without an id");
    check_built(records, &folder.path().join("built.voc"));
}

fn check_built(records: Vec<Record>, path: &Path) {
    let mut builder = Builder::new();
    let names: Vec<(String, String)> = records
        .iter()
        .filter(|record| !record.is_inactive)
        .filter_map(|record| Some((record.id.clone(), record.name.clone()?)))
        .take(4)
        .collect();
    let inactive: Vec<String> =
        records.iter().filter(|record| record.is_inactive).map(|record| record.id.clone()).collect();
    records.into_iter().for_each(|record| builder.add(record));
    // Without names there is nothing to write.
    let Ok(report) = builder.write(path, "") else { return };
    let vocabulary = Vocabulary::open(path).expect("what was built");
    vocabulary.verify().expect("what was built");
    assert_eq!(u64::from(vocabulary.concepts()), report.concepts);
    let linker = Linker::new(Arc::new(vocabulary), LinkOptions { k: 3, threshold: 0.9 });
    for (id, name) in names {
        if inactive.contains(&id) {
            assert_eq!(linker.vocabulary().find(&id), None);
        }
        let answers = linker.link(&Query { text: &name, ..Query::default() });
        assert!(answers.iter().flat_map(|answer| &answer.candidates).all(|found| found.score >= 0.9));
    }
}

/// A small vocabulary file.
fn small() -> &'static [u8] {
    static SMALL: OnceLock<Vec<u8>> = OnceLock::new();
    SMALL.get_or_init(|| {
        let mut builder = Builder::new();
        for (id, name, synonyms) in [
            ("D1", "Heart Failure", &["Cardiac failure", "heart decompensation"][..]),
            ("D2", "Gout", &[]),
            ("D3", "Breast Neoplasms", &["breast cancer"]),
        ] {
            let synonyms = synonyms.iter().map(|&name| name.to_owned()).collect();
            let types = vec!["C14".to_owned(), "T047".to_owned()];
            let name = Some(name.to_owned());
            builder.add(Record { id: id.into(), name, synonyms, types, ..Record::default() });
        }
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("small.voc");
        builder.write(&path, "small").expect("written");
        fs::read(&path).expect("read")
    })
}

/// Opens a file and does with it what medner does. The input is either a file, if it has the beginning of one, or changes to
/// a good one: two bytes of a place, and the byte that stands there.
pub fn check_file(bytes: &[u8]) {
    let mut file = small().to_vec();
    if bytes.starts_with(&file[..8]) {
        file = bytes.to_vec();
    } else {
        for change in bytes.chunks_exact(3) {
            let place = usize::from(u16::from_le_bytes([change[0], change[1]])) % file.len();
            file[place] = change[2];
        }
        // What is left over cuts the file.
        if let [cut] = bytes.chunks_exact(3).remainder() {
            file.truncate(file.len().saturating_sub(usize::from(*cut)));
        }
    }
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("a.voc");
    fs::write(&path, &file).expect("written");
    let Ok(vocabulary) = Vocabulary::open(&path) else { return };
    let is_whole = vocabulary.verify().is_ok();
    let _ = (vocabulary.release(), vocabulary.system(), vocabulary.names(), vocabulary.types().count());
    if file == small() {
        assert!(is_whole);
        return search(vocabulary);
    }
    // The library of the maps (fst) panics at some bytes, which `annotate` catches. Nothing hangs or takes all memory.
    if let Ok(hook) = HOOK.lock() {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(|_| {}));
        let _ = std::panic::catch_unwind(AssertUnwindSafe(|| search(vocabulary)));
        std::panic::set_hook(before);
        drop(hook);
    }
}

/// One at a time changes what a panic does.
static HOOK: Mutex<()> = Mutex::new(());

fn search(vocabulary: Vocabulary) {
    for number in 0..vocabulary.concepts().min(100) {
        let _ = vocabulary.concept(number);
    }
    let linker = Linker::new(Arc::new(vocabulary), LinkOptions { k: 5, threshold: 0.2 });
    for text in ["heart failures", "gout", "breast and heart failure", "cardic falure"] {
        for types in [&[][..], &["C1*".to_owned()]] {
            let _ = linker.link(&Query { text, long_form: Some("breast cancers"), types });
        }
    }
}
