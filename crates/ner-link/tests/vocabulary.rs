//! Files of vocabularies, and links to them.

#![allow(clippy::unwrap_used, reason = "helpers of tests may unwrap as tests do")]

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use ner_document::{CharIndex, Mention};
use ner_link::{
    Answer, BuildError, BuildReport, Builder, LinkOptions, Linker, Linkers, NameVectors, Query, RERANKER_VERSION,
    Record, RerankError, RerankWeights, Reranker, RerankerSettings, SETTINGS_FILE, Stage, TrainedFor, VectorWriter,
    Vocabulary, key_of, variant_of,
};
use proptest::prelude::*;

fn record(id: &str, names: &[&str], types: &[&str]) -> Record {
    let owned = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
    Record {
        id: id.to_owned(),
        name: names.first().map(|name| (*name).to_owned()),
        synonyms: owned(names.get(1..).unwrap_or_default()),
        types: owned(types),
        ..Default::default()
    }
}

fn some_records() -> Vec<Record> {
    vec![
        Record {
            other_ids: vec!["OMIM:1".to_owned()],
            xrefs: vec!["UMLS:C1".to_owned()],
            ..record("D001943", &["Breast Neoplasms", "Breast Cancer", "Cancer of the Breast"], &["C04.1", "C17"])
        },
        record("D010051", &["Ovarian Neoplasms", "Ovarian Cancer", "Cancer of the Ovary"], &["C04.2"]),
        record("D009325", &["Nausea"], &["C23"]),
        record("D014839", &["Vomiting", "Emesis"], &["C23"]),
        record("D003924", &["Diabetes Mellitus, Type 2", "NIDDM"], &["C18"]),
        record("D003922", &["Diabetes Mellitus, Type 1", "IDDM"], &["C18"]),
        record("A01", &["Breast"], &["A01"]),
        record("X1", &["Cold"], &["sign"]),
        record("X2", &["Common cold", "Cold"], &["disease"]),
        Record { synonyms: vec!["Cold".to_owned()], ..record("X2", &[], &[]) },
        record("X3", &["+/-", "Ménière’s disease"], &[]),
        record("X4", &[], &["type without a name"]),
    ]
}

fn built(folder: &Path, records: impl IntoIterator<Item = Record>) -> (PathBuf, BuildReport) {
    let mut builder = Builder::new();
    records.into_iter().for_each(|record| builder.add(record));
    let path = folder.join("test.voc");
    let report = builder.write(&path, "of the test").unwrap();
    (path, report)
}

struct Linked {
    linker: Linker,
    _folder: tempfile::TempDir,
}

impl Linked {
    fn with(records: impl IntoIterator<Item = Record>, k: usize, threshold: f64) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let vocabulary = Vocabulary::open(&built(folder.path(), records).0).unwrap();
        Self { linker: Linker::new(Arc::new(vocabulary), LinkOptions { k, threshold }), _folder: folder }
    }

    fn ids(&self, query: &Query) -> Vec<Vec<String>> {
        let ids = |answer: &Answer| answer.candidates.iter().map(|candidate| candidate.id.clone()).collect();
        self.linker.link(query).iter().map(ids).collect()
    }

    /// The best id of each answer.
    #[track_caller]
    fn check(&self, text: &str, expected: &[&str]) {
        let query = Query { text, ..Default::default() };
        let best: Vec<String> =
            self.ids(&query).into_iter().map(|ids| ids.first().cloned().unwrap_or_default()).collect();
        assert_eq!(best, expected, "{text}");
        assert_eq!(self.linker.link(&query), self.linker.link(&query));
    }
}

#[test]
fn what_was_written_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let (path, report) = built(folder.path(), some_records());
    let vocabulary = Vocabulary::open(&path).unwrap();
    vocabulary.verify().unwrap();
    assert_eq!((report.concepts, report.names), (10, 18));
    assert_eq!((report.empty_names, report.repeated_names, report.unnamed_concepts), (1, 1, 1));
    assert_eq!(report.bytes, std::fs::metadata(&path).unwrap().len());
    assert_eq!((u64::from(vocabulary.concepts()), vocabulary.names()), (report.concepts, report.names));
    assert_eq!((vocabulary.release(), vocabulary.sha256()), ("of the test", report.sha256.as_str()));
    let concept = vocabulary.concept(vocabulary.find("D001943").unwrap()).unwrap();
    assert_eq!(concept.id, "D001943");
    assert_eq!(concept.names, ["Breast Neoplasms", "Breast Cancer", "Cancer of the Breast"]);
    assert_eq!(concept.types, ["C04.1", "C17"]);
    assert_eq!((concept.other_ids, concept.xrefs), (vec!["OMIM:1".to_owned()], vec!["UMLS:C1".to_owned()]));
    assert_eq!(vocabulary.find("X4"), None);
    assert_eq!(vocabulary.concept(10), None);
    let ids: Vec<String> = (0..10).map(|concept| vocabulary.concept(concept).unwrap().id).collect();
    assert!(ids.is_sorted());
    // The same records make the same file.
    let bytes = std::fs::read(&path).unwrap();
    assert_eq!(built(folder.path(), some_records()).1, report);
    assert_eq!(std::fs::read(&path).unwrap(), bytes);
    // An open vocabulary stays as it is when another is written in its place.
    built(folder.path(), [record("Y", &["Other"], &[])]);
    vocabulary.verify().unwrap();
}

#[test]
fn foreign_and_damaged_files_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (path, _) = built(folder.path(), some_records());
    let bytes = std::fs::read(&path).unwrap();
    let error = |bytes: &[u8]| {
        let path = folder.path().join("bad.voc");
        std::fs::write(&path, bytes).unwrap();
        Vocabulary::open(&path).err().unwrap().to_string()
    };
    for foreign in [&b""[..], b"PK\x03\x04 and so on and on", &bytes[..15]] {
        assert!(error(foreign).contains("bad.voc: not a vocabulary"));
    }
    for length in (16..bytes.len()).step_by(31) {
        let message = error(&bytes[..length]);
        assert!(message.contains(&format!("has {length}; copy or build it again")), "{message}");
    }
    assert!(error(&[&bytes[..], b"."].concat()).contains("the file should have"));
    let changed = |at: usize| {
        let mut bytes = bytes.clone();
        bytes[at] ^= 1;
        error(&bytes)
    };
    assert!(changed(8).contains("version 5, but this program reads version 4"));
    // Every byte counts, from the opening on.
    for at in (16..bytes.len()).step_by(23) {
        assert!(changed(at).contains("damaged ("), "{at}");
    }
    assert!(Vocabulary::open(Path::new("no/such.voc")).err().unwrap().to_string().starts_with("no/such.voc: "));
}

#[test]
fn nothing_is_no_vocabulary() {
    let error = Builder::new().write(Path::new("never.voc"), "").unwrap_err();
    assert!(matches!(error, BuildError::Empty));
}

#[test]
fn stages() {
    let linked = Linked::with(some_records(), 2, 0.5);
    let best = |text| linked.linker.link(&Query { text, ..Default::default() })[0].candidates.first().cloned();
    let exact = best("cancer, of the BREAST").unwrap();
    assert_eq!((exact.id.as_str(), exact.name.as_str(), exact.stage), ("D001943", "Breast Neoplasms", Stage::Exact));
    assert_eq!((exact.matched.as_str(), exact.score), ("Cancer of the Breast", 1.0));
    assert_eq!(best("type II diabetes mellitus").map(|found| (found.id, found.stage)).unwrap().1, Stage::Variant);
    let near = best("vomitting").unwrap();
    assert_eq!((near.id.as_str(), near.stage), ("D014839", Stage::Ngrams));
    assert!(near.score < 0.9);
    assert_eq!(best("quux"), None);
    assert_eq!(best("+/-"), None);
    linked.check("Meniere disease", &["X3"]);
    linked.check("type I diabetes mellitus", &["D003922"]);
    // The same spelling, however often the other one is given.
    let cases = [record("C1", &["COLD"], &[]), record("C2", &["cold"], &[]), record("C2", &["cold"], &[])];
    let linked_cases = Linked::with(cases, 1, 0.5);
    linked_cases.check("COLD", &["C1"]);
    linked_cases.check("cold", &["C2"]);
    linked_cases.check("Cold", &["C2"]);
    // Given twice, though the other concept prefers the name.
    assert_eq!(linked.ids(&Query { text: "cold", ..Default::default() }), [["X2", "X1"]]);
}

#[test]
fn composite_mentions() {
    let more = [
        record("AC", &["Acute breast cancer"], &[]),
        record("CC", &["Chronic breast cancer"], &[]),
        record("AD", &["Acute cancer"], &[]),
    ];
    let linked = Linked::with(some_records().into_iter().chain(more), 1, 0.6);
    linked.check("breast and ovarian cancer", &["D001943", "D010051"]);
    linked.check("cancer of the breast or ovary", &["D001943", "D010051"]);
    linked.check("nausea/vomiting", &["D009325", "D014839"]);
    linked.check("nausea and vomiting", &["D009325", "D014839"]);
    linked.check("acute and chronic breast cancer", &["AC", "CC"]);
    // A part that is no name: the whole is one mention.
    assert_eq!(linked.linker.link(&Query { text: "nausea and quux", ..Default::default() }).len(), 1);
}

#[test]
fn names_that_resemble_a_mention_are_ranked_by_their_words() {
    // In a vocabulary of some size, rare words tell more than usual ones.
    let others = (0..200).map(|number| {
        let name = ["Hearing impairment", "Visual impairment", "Increased appetite", "Vitamin pills"][number % 4];
        record(&format!("X{number}"), &[&format!("{name} of kind {number}")], &[])
    });
    let linked = Linked::with(
        others.chain([
            record("K", &["Kidney Diseases", "Renal dysfunction"], &[]),
            record("L", &["Liver Diseases", "Hepatic impairment"], &[]),
            record("H", &["Hypertension", "Increased blood pressure"], &[]),
            record("T", &["Hypotension", "Decreased blood pressure"], &[]),
            record("A", &["Vitamin A"], &[]),
            record("C", &["Ascorbic acid", "Vitamin C"], &[]),
            record("O", &["Obesity"], &[]),
            record("B", &["OB"], &[]),
            record("N", &["Breast Neoplasms"], &[]),
            record("V", &["Ovarian Neoplasms"], &[]),
        ]),
        1,
        0.0,
    );
    // The organ says more than the word that any organ may have.
    linked.check("renal impairments", &["K"]);
    // Opposites share most of their letters.
    linked.check("hypertensive states", &["H"]);
    linked.check("increase of blood pressures", &["H"]);
    // A single letter decides.
    linked.check("vitamin c tablet", &["C"]);
    // A long form that is nearly a name, and an abbreviation that means something else.
    let query = Query { text: "OB", long_form: Some("obesitys"), types: &[] };
    assert_eq!(linked.ids(&query), [["O"]]);
    // Parts that are no names, but more probable than the whole.
    linked.check("breast and ovarian neoplasmas", &["N", "V"]);
}

#[test]
fn the_best_link_is_the_same_for_every_number_of_candidates() {
    let names =
        ["renal failure", "kidney stones", "renal stone", "acute renal failure", "liver failure", "heart stones"];
    let records = || {
        names
            .iter()
            .cycle()
            .zip(0..60)
            .map(|(name, at)| record(&format!("X{at}"), &[&format!("{name} {}", at / 6)], &[]))
    };
    for threshold in [0.0, 0.5] {
        let few = Linked::with(records(), 1, threshold);
        let many = Linked::with(records(), 20, threshold);
        for text in [
            "renal stones",
            "failing kidney",
            "renal failures 3",
            "acute and renal failure",
            "stone of kidneys",
            "quux",
        ] {
            let query = Query { text, ..Default::default() };
            let [few, many] = [few.linker.link(&query), many.linker.link(&query)];
            let best = |answers: &[Answer]| {
                answers.iter().map(|answer| answer.candidates.first().cloned()).collect::<Vec<_>>()
            };
            assert_eq!(best(&few), best(&many), "{text}");
            for answer in many.iter() {
                let scores: Vec<f64> = answer.candidates.iter().map(|candidate| candidate.score).collect();
                assert!(scores.is_sorted_by(|one, other| one >= other), "{text}: {scores:?}");
                // The threshold is for the link alone.
                assert!(scores.is_empty() || scores.len() > 1, "{text}: {scores:?}");
            }
        }
    }
}

#[test]
fn long_forms_and_types() {
    let linked = Linked::with(some_records(), 3, 0.6);
    let query = Query { text: "BC", long_form: Some("breast cancer"), types: &[] };
    assert_eq!(linked.ids(&query)[0][0], "D001943");
    let types = |filter: &str| vec![filter.to_owned()];
    let only = |text, filter: &str| linked.ids(&Query { text, long_form: None, types: &types(filter) })[0].clone();
    assert_eq!(only("cold", "sign"), ["X1"]);
    assert_eq!(only("breast", "A01"), ["A01"]);
    assert!(!only("breasts", "C04*").contains(&"A01".to_owned()));
    assert_eq!(only("breast cancer", "C04*")[0], "D001943");
    assert!(only("breast cancer", "C04").is_empty());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn exact_links_are_those_of_a_search_through_all_names(
        names in proptest::collection::vec(("[A-F]", "[abÄ]{1,2}( |-|, )?[abs]{0,2}"), 1..30),
        text in "[abä]{1,2}( |-|, )?[abs]{0,2}",
    ) {
        let records = names.iter().map(|(id, name)| record(id, &[name], &[]));
        prop_assume!(names.iter().any(|(_, name)| !key_of(name).is_empty()));
        let linked = Linked::with(records, 100, 0.9);
        let answers = linked.linker.link(&Query { text: &text, ..Default::default() });
        let is_composite = answers.len() > 1;
        let candidates = if is_composite { Vec::new() } else { answers[0].candidates.clone() };
        let found = |stage: Stage| {
            let mut ids: Vec<&str> =
                candidates.iter().filter(|found| found.stage <= stage).map(|found| found.id.as_str()).collect();
            ids.sort_unstable();
            ids
        };
        let plain = |is_same: &dyn Fn(&str) -> bool| {
            let mut ids: Vec<&str> =
                names.iter().filter(|(_, name)| is_same(&key_of(name))).map(|(id, _)| id.as_str()).collect();
            ids.sort_unstable();
            ids.dedup();
            ids
        };
        let key = key_of(&text);
        if !key.is_empty() {
            prop_assert_eq!(found(Stage::Exact), plain(&|other| other == key));
            let variant = variant_of(&key);
            prop_assert_eq!(found(Stage::Variant), plain(&|other| !other.is_empty() && variant_of(other) == variant));
        }
    }
}

/// Two kinds of names: those that end in `gamma`, and all others. Counts how often it is asked.
#[derive(Default)]
struct ByEnd(AtomicUsize);

impl NameVectors for ByEnd {
    fn vectors(&self, names: &[&str]) -> Vec<Vec<f32>> {
        self.0.fetch_add(1, Ordering::Relaxed);
        names.iter().map(|name| if name.ends_with("gamma") { vec![1.0, 0.0] } else { vec![0.0, 1.0] }).collect()
    }
}

#[test]
fn a_reranker_decides_between_names_that_resemble_a_mention() {
    let folder = tempfile::tempdir().unwrap();
    let records = [record("P1", &["Alpha beta gamma"], &[]), record("P2", &["Alpha beta delta"], &[])];
    let vocabulary = Arc::new(Vocabulary::open(&built(folder.path(), records).0).unwrap());
    let mut vectors = VectorWriter::create(&folder.path().join("names.vectors")).unwrap();
    // In the order of the concepts.
    let encoder = Arc::new(ByEnd::default());
    let of_names = encoder.vectors(&["Alpha beta gamma", "Alpha beta delta"]);
    of_names.iter().for_each(|vector| vectors.push(vector).unwrap());
    let sha256 = vectors.finish().unwrap();
    let write = |cosine: f32, version: u32, names: &str| {
        let known = TrainedFor {
            sha256: vocabulary.sha256().to_owned(),
            release: "of the test".to_owned(),
            vectors: names.to_owned(),
            vectors_sha256: sha256.clone(),
        };
        let settings = RerankerSettings {
            version,
            weights: RerankWeights { cosine, calibration: [0.0, 1.0] },
            threshold: None,
            encoder_sha256: String::new(),
            vocabularies: vec![known],
        };
        std::fs::write(folder.path().join(SETTINGS_FILE), serde_json::to_string(&settings).unwrap()).unwrap();
        let settings = RerankerSettings::read(folder.path())?;
        Ok::<_, RerankError>(Reranker::new(folder.path(), settings, Arc::clone(&encoder) as Arc<dyn NameVectors>))
    };
    let new = |vocabulary: &Arc<Vocabulary>| Linker::new(Arc::clone(vocabulary), LinkOptions { k: 2, threshold: 0.0 });
    let best = |linker: &Linker, text| {
        let best = linker.link(&Query { text, ..Default::default() })[0].candidates[0].clone();
        (best.id, best.stage, (1e3 * best.score).round())
    };
    let id = |linker: &Linker, text| best(linker, text).0;
    let without = new(&vocabulary);
    assert_eq!(id(&without, "alpha beta gamme"), "P1");
    let light = new(&vocabulary).reranked_by(&write(0.0, RERANKER_VERSION, "names.vectors").unwrap()).unwrap();
    assert_eq!(id(&light, "alpha beta gamme"), "P1");
    let heavy = new(&vocabulary).reranked_by(&write(100.0, RERANKER_VERSION, "names.vectors").unwrap()).unwrap();
    // 0.9 times the logistic function of 1.
    assert_eq!(best(&heavy, "alpha beta gamme"), ("P2".to_owned(), Stage::Ngrams, 658.0));
    // It does not touch what is certain.
    assert_eq!(best(&heavy, "ALPHA beta-gamma"), ("P1".to_owned(), Stage::Exact, 1000.0));
    // It encodes together what is not, also parts of composite mentions.
    let again = new(&vocabulary).reranked_by(&write(100.0, RERANKER_VERSION, "names.vectors").unwrap()).unwrap();
    let texts =
        ["alpha beta gamme", "alpha beta gamme", "beta alpha delte", "alpha beta gamma", "alpha and bete gamma"];
    let asked = encoder.0.load(Ordering::Relaxed);
    again.prepare(texts.map(|text| Query { text, ..Default::default() }));
    let answers = texts.map(|text| again.link(&Query { text, ..Default::default() }));
    assert_eq!(encoder.0.load(Ordering::Relaxed), asked + 1);
    assert_eq!(answers, texts.map(|text| heavy.link(&Query { text, ..Default::default() })));

    let message = |result: Result<Linker, ner_link::RerankError>| result.map(|_| ()).unwrap_err().to_string();
    let other = tempfile::tempdir().unwrap();
    let unknown = Arc::new(Vocabulary::open(&built(other.path(), some_records()).0).unwrap());
    let reranker = write(1.0, RERANKER_VERSION, "names.vectors").unwrap();
    let refused = message(new(&unknown).reranked_by(&reranker));
    assert!(refused.contains("was not trained for") && refused.contains("of the test"), "{refused}");
    std::fs::write(folder.path().join("short.vectors"), [0; 11]).unwrap();
    let short = message(new(&vocabulary).reranked_by(&write(1.0, RERANKER_VERSION, "short.vectors").unwrap()));
    assert!(short.contains("short.vectors: 11 bytes are no vectors of 2 names"), "{short}");
    std::fs::write(folder.path().join("bad.vectors"), [7; 12]).unwrap();
    let bad = message(new(&vocabulary).reranked_by(&write(1.0, RERANKER_VERSION, "bad.vectors").unwrap()));
    assert!(bad.contains("bad.vectors: damaged") && bad.contains("train it again"), "{bad}");
    let none = RerankerSettings::read(other.path()).unwrap_err().to_string();
    assert!(none.contains("is no reranker: it has no reranker.json"), "{none}");
    let old = write(1.0, 0, "names.vectors").map(|_| ()).unwrap_err().to_string();
    assert!(old.contains("version 0") && old.contains("train it again"), "{old}");
}

#[test]
fn ids_that_cannot_be_replaced_stay() {
    let Linked { linker, _folder } = Linked::with(some_records(), 1, 0.5);
    let mut linkers = Linkers::default();
    linkers.add(None, linker, Vec::new()).unwrap();
    let text = "Nausea, quux";
    let index = CharIndex::new(text);
    let mut mentions = [0..6, 8..12].map(|range| Mention::new(index.span(range).unwrap(), "Disease"));
    for mention in &mut mentions {
        mention.concept_ids = vec!["OLD".to_owned()];
        mention.attributes.insert("link_score".to_owned(), "0.7".to_owned());
    }
    let done = linkers.link_mentions(text, &mut mentions, true);
    assert_eq!((done.linked, done.unlinked, done.unreplaced, done.kept), (1, 0, 1, 0));
    let found = mentions.map(|mention| (mention.concept_ids.join("|"), mention.attributes.get("link_score").cloned()));
    assert_eq!(found, [("D009325".to_owned(), Some("1".to_owned())), ("OLD".to_owned(), None)]);
}

#[test]
fn a_mention_in_brackets_beside_a_name_has_its_concept() {
    let records = [record("M1", &["Cisplatin"], &[]), record("M2", &["Lithium"], &[]), record("D1", &["Nausea"], &[])];
    let Linked { linker, _folder } = Linked::with(records, 1, 0.5);
    let mut linkers = Linkers::default();
    linkers.add(Some("Chemical"), linker, Vec::new()).unwrap();
    let ids = |text: &str, names: &[&str]| {
        let index = CharIndex::new(text);
        let spans = names.iter().flat_map(|name| text.match_indices(name)).map(|(at, name)| (at, at + name.len()));
        let mut mentions: Vec<Mention> =
            spans.map(|(start, end)| Mention::new(index.span(start..end).unwrap(), "Chemical")).collect();
        linkers.link_mentions(text, &mut mentions, false);
        let found = |mention: &Mention| (mention.concept_ids.join("|"), mention.attributes.get("link_score").cloned());
        mentions.iter().map(found).map(|(id, score)| format!("{id} {}", score.unwrap_or_default())).collect::<Vec<_>>()
    };
    let apposed = "M1 0.8";
    assert_eq!(ids("Äh, CDDP! Cisplatin (CDDP) ...", &["CDDP", "Cisplatin"]), [apposed, apposed, "M1 1"]);
    // The one before the brackets may be a kind of the other.
    assert_eq!(ids("Platinol [cisplatin]", &["Platinol", "cisplatin"]), [" ", "M1 1"]);
    // Not beside each other, two names, and a list.
    assert_eq!(ids("Cisplatin and CDDP", &["Cisplatin", "CDDP"]), ["M1 1", " "]);
    assert_eq!(ids("Cisplatin (lithium)", &["Cisplatin", "lithium"]), ["M1 1", "M2 1"]);
    assert_eq!(ids("Cisplatin (Aa, Bb)", &["Cisplatin", "Aa", "Bb"]), ["M1 1", " ", " "]);
}
