//! One note with a finding for every row of the tables in docs/hospital.md, against golden files.
//!
//! `cargo xtask check fhir` shows that another implementation accepts the golden bundle. With `MEDNER_REWRITE_GOLDEN` the
//! tests write the golden files anew.

#![allow(clippy::unwrap_used, reason = "helpers of tests may unwrap as tests do")]

use ner_clinical::{Bundled, Fhir, Finding, NoteNlp, ProcessedAt, Software};
use ner_context::{Assertion, AssertionValue, SectionName};
use ner_data::frames::{NoteNlpRow, RowWriter, read};
use ner_data::{Confidence, Document, Item, Span};
use ner_link::{LinkedConcept, OMOP_SYSTEM};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

const SOFTWARE: Software = Software { name: "medner", version: "0.0.0" };

/// Each line: a sentence; in brackets the mention with its category, its assertion and, after `@`, the words that decided.
const NOTE: &str = "\
HPI: Pt has [chest pain](problem present) on arrival.
He has a history of [stroke](problem historical@history of).
Denies [fever](problem absent@Denies).
Possible [pneumonia](problem possible@Possible).
Rule out [embolism](problem possible@Rule out).
[Dyspnea](problem conditional@on exertion) on exertion.
Return if [syncope](problem hypothetical@Return if) occurs.
Mother has [diabetes](problem associated_with_someone_else@Mother).
Mother has no [asthma](problem associated_with_someone_else@Mother).
Roommate has [influenza](problem associated_with_someone_else@Roommate).
Scan shows [nodules](problem -) in the [lung](anatomy -).
Takes [aspirin](medication present), stopped [warfarin](medication historical@stopped).
No [heparin](medication absent@No) yet; [insulin](medication hypothetical@if) if needed; [saline](medication -).
After [bypass surgery](treatment historical@After), no [dialysis](treatment absent@no), [oxygen](treatment -).
[Troponin](test -) was high; [echo](test absent@not done) was not done.
Allergies: [penicillin](medication -)
Has [breast and ovarian cancer](problem present).
";

struct Made {
    span: Span,
    category: &'static str,
    assertion: Option<Assertion>,
    section: Option<SectionName>,
    concepts: Vec<LinkedConcept>,
}

/// Concepts of some mentions.
const CONCEPTS: [(&str, &str, &str, &str); 4] = [
    ("chest pain", SNOMED, "29857009", "Chest pain"),
    ("aspirin", OMOP_SYSTEM, "1112807", "aspirin"),
    ("breast and ovarian cancer", SNOMED, "254837009", "Malignant neoplasm of breast"),
    ("breast and ovarian cancer", SNOMED, "363443007", "Malignant tumor of ovary"),
];
const SNOMED: &str = "http://snomed.info/sct";

fn concepts(mention: &str) -> Vec<LinkedConcept> {
    let concept = |&(text, system, id, name): &(&str, &str, &str, &str)| LinkedConcept {
        id: id.into(),
        name: name.into(),
        score: Confidence::new(0.95).unwrap(),
        system: Some(system.into()),
        vocabulary: "test".into(),
        text: text.into(),
        others: Vec::new(),
    };
    CONCEPTS.iter().filter(|(text, ..)| *text == mention).map(concept).collect()
}

/// The document, and what models found in it.
fn example() -> (Document, Vec<Made>) {
    let (mut text, mut found) = (String::new(), Vec::new());
    for line in NOTE.lines() {
        let begin = text.chars().count();
        let mut rest = line;
        let mut marks = Vec::new();
        while let Some((before, more)) = rest.split_once('[') {
            let (mention, more) = more.split_once("](").unwrap();
            let (mark, more) = more.split_once(')').unwrap();
            text.push_str(before);
            let start = text.chars().count();
            text.push_str(mention);
            marks.push((Span::new(start, start + mention.chars().count()), mark));
            rest = more;
        }
        text.push_str(rest);
        text.push('\n');
        let sentence: String = text.chars().skip(begin).collect();
        for (span, mark) in marks {
            let (mark, cue) = mark.split_once('@').map_or((mark, None), |(mark, cue)| (mark, Some(cue)));
            let (category, value) = mark.split_once(' ').unwrap();
            let cue = cue.map(|cue| {
                let start = begin + sentence[..sentence.find(cue).unwrap()].chars().count();
                Span::new(start, start + cue.chars().count())
            });
            let (name, historical) = if value == "historical" { ("present", true) } else { (value, false) };
            let confidence = Confidence::new(0.9).unwrap();
            let assertion =
                AssertionValue::from_name(name).map(|value| Assertion { value, historical, cue, confidence });
            let section = |name: &str, loinc: &str| SectionName { name: name.into(), loinc: Some(loinc.into()) };
            let section = match line.split_once(':').map(|(heading, _)| heading) {
                Some("HPI") => Some(section("history_of_present_illness", "10164-2")),
                Some("Allergies") => Some(section("allergies", "48765-2")),
                _ => None,
            };
            let category = ["problem", "medication", "treatment", "test", "anatomy"]
                .into_iter()
                .find(|name| *name == category)
                .unwrap();
            let mention: String = text.chars().skip(span.start).take(span.len()).collect();
            found.push(Made { span, category, assertion, section, concepts: concepts(&mention) });
        }
    }
    (Document::new("12", text), found)
}

fn findings<'m>(made: &'m [Made], models: &'m [String]) -> Vec<Finding<'m>> {
    let finding = |made: &'m Made| Finding {
        span: made.span,
        entity_type: made.category,
        category: Some(made.category),
        confidence: Confidence::new(0.97).unwrap(),
        models: if made.category == "medication" { models } else { &models[..1] },
        assertion: made.assertion.as_ref(),
        section: made.section.as_ref(),
        concepts: &made.concepts,
    };
    made.iter().map(finding).collect()
}

fn models() -> [String; 2] {
    ["i2b2".to_owned(), "bc5cdr".to_owned()]
}

fn time() -> ProcessedAt {
    "2026-07-24T10:00:00Z".parse().unwrap()
}

fn bundle(document: &Document, findings: &[Finding], patient: Option<&str>) -> (Bundled, Value) {
    let fhir = Fhir { patient, processed_at: time(), software: SOFTWARE, with_text: patient.is_some() };
    let bundled = fhir.bundle(document, findings);
    let value = serde_json::from_str(&serde_json::to_string(&bundled.bundle).unwrap()).unwrap();
    (bundled, value)
}

fn check(name: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    if std::env::var_os("MEDNER_REWRITE_GOLDEN").is_some() {
        fs::write(&path, text).unwrap();
    }
    assert_eq!(text, fs::read_to_string(&path).unwrap(), "{name}");
}

#[test]
fn a_note_becomes_its_golden_bundle() {
    let (document, made) = example();
    let models = models();
    let (bundled, value) = bundle(&document, &findings(&made, &models), None);
    check("bundle.json", &(serde_json::to_string_pretty(&value).unwrap() + "\n"));
    let tally = bundled.report.items[&Item::Mention];
    let left_out: BTreeMap<String, usize> =
        bundled.left_out.iter().map(|(reason, count)| (reason.to_string(), *count)).collect();
    assert_eq!((tally.kept, tally.moved, tally.lost), (made.len() - 6, 0, 6));
    assert_eq!(left_out.values().sum::<usize>(), 6);
    assert_eq!(left_out["hypothetical or conditional"], 2);
    // The same mention elsewhere in the list, and an equal note, have equal ids; another document has others.
    let other = Document { id: "13".into(), ..document.clone() };
    let ids = |value: &Value| -> Vec<String> {
        value["entry"].as_array().unwrap().iter().map(|entry| entry["fullUrl"].to_string()).collect()
    };
    let last = &findings(&made, &models)[..1];
    assert!(ids(&value).contains(&ids(&bundle(&document, last, None).1)[3]));
    let shared = ids(&bundle(&other, last, None).1).into_iter().filter(|id| ids(&value).contains(id)).count();
    assert_eq!(shared, 2, "the program and the model");
}

#[test]
fn what_fhir_refuses_is_replaced_and_counted() {
    let document = Document::new("a\u{1}", "fe\u{0}ver");
    let models = models();
    let finding = Finding {
        span: Span::new(0, 6),
        entity_type: "Disease",
        category: Some("problem"),
        confidence: Confidence::new(0.5).unwrap(),
        models: &models,
        assertion: None,
        section: None,
        concepts: &[],
    };
    let (bundled, value) = bundle(&document, &[finding], Some("Patient/1"));
    assert_eq!(bundled.report.items[&Item::Mention].moved, 1);
    let condition = &value["entry"][4]["resource"];
    assert_eq!(
        (&condition["resourceType"], &condition["code"]["text"]),
        (&"Condition".into(), &"fe\u{fffd}ver".into())
    );
    assert_eq!(condition["subject"]["reference"], "Patient/1");
    assert_eq!(condition.get("verificationStatus").or(condition.get("clinicalStatus")), None);
    assert_eq!(value["entry"][0]["resource"]["content"][0]["attachment"]["data"], "ZmUAdmVy");
    // Without findings, nothing has a provenance.
    let kinds: Vec<Value> = bundle(&document, &[], None).1["entry"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| entry["resource"]["resourceType"].clone())
        .collect();
    assert_eq!(kinds, ["DocumentReference", "Device"]);
}

fn rows(document: &Document, findings: &[Finding]) -> (NoteNlp<'static>, Vec<NoteNlpRow>) {
    let mut omop = NoteNlp { next_id: 1, processed_at: time(), software: SOFTWARE, is_linked: true };
    let rows = omop.rows(document, findings).unwrap().0;
    (omop, rows)
}

#[test]
fn a_note_becomes_its_golden_rows() {
    let (document, made) = example();
    let models = models();
    let (omop, rows) = rows(&document, &findings(&made, &models));
    // A row more: of the second concept of a composite mention.
    assert_eq!((rows.len(), omop.next_id), (made.len() + 1, made.len() as i32 + 2));
    // Ids of other code systems are no concepts of OMOP's.
    let concepts: Vec<i32> = rows.iter().filter_map(|row| row.note_nlp_concept_id).filter(|id| *id != 0).collect();
    assert_eq!(concepts, [1_112_807]);
    let quoted = |cell: &String| format!("\"{}\"", cell.replace('"', "\"\"").replace('\n', "\\n"));
    let mut table = NoteNlpRow::COLUMNS.join(",") + "\n";
    for row in &rows {
        table += &(omop.cells(row).iter().map(quoted).collect::<Vec<_>>().join(",") + "\n");
    }
    check("note_nlp.csv", &table);
}

/// Compares columns, types and limits with the published table; `cdm54_note_nlp.csv` says where it comes from.
#[test]
fn rows_have_the_columns_and_types_of_the_published_table() {
    // Of each field: name, whether it is required, type.
    let published: Vec<[&str; 3]> = include_str!("cdm54_note_nlp.csv")
        .lines()
        .filter(|line| !line.starts_with('#'))
        .skip(1)
        .map(|line| line.split(',').collect::<Vec<_>>().try_into().unwrap())
        .collect();
    let names: Vec<&str> = published.iter().map(|[name, ..]| *name).collect();
    assert_eq!(names, NoteNlpRow::COLUMNS);

    let long = Document::new("7", "é".repeat(300));
    let models = vec!["m".repeat(300)];
    let finding = Finding {
        span: Span::new(10, 290),
        entity_type: "a;b=c%",
        category: None,
        confidence: Confidence::new(0.5).unwrap(),
        models: &models,
        assertion: None,
        section: None,
        concepts: &[],
    };
    let (omop, mut all) = rows(&long, &[finding]);
    assert_eq!(all[0].term_modifiers, "type=a%3Bb%3Dc%25;confidence=0.5");
    let (document, made) = example();
    let models = self::models();
    all.extend(rows(&document, &findings(&made, &models)).1);
    for row in &all {
        for (cell, [name, required, kind]) in omop.cells(row).iter().zip(&published) {
            if let Some(most) = kind.strip_prefix("varchar(").and_then(|kind| kind.strip_suffix(')')) {
                assert!(cell.chars().count() <= most.parse().unwrap(), "{name}");
            }
            assert!(!cell.is_empty() || *required == "No", "{name}");
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("note_nlp.parquet");
    let mut writer = RowWriter::create(&path).unwrap();
    let count = all.len();
    all.into_iter().for_each(|row| writer.write(row).unwrap());
    writer.finish().unwrap();
    let frame = read(&path).unwrap();
    let types: Vec<String> = frame.dtypes().iter().map(ToString::to_string).collect();
    let expected = published.iter().map(|[.., kind]| match *kind {
        "integer" => "i32",
        "date" => "date",
        "datetime" => "datetime[μs]",
        _ => "str",
    });
    assert_eq!((frame.height(), types), (count, expected.map(str::to_owned).collect()));
    let cell = |column: &str| frame.column(column).unwrap().get(1).unwrap().to_string();
    assert_eq!([cell("nlp_date"), cell("nlp_datetime")], ["2026-07-24", "2026-07-24 10:00:00"]);
}

#[test]
fn a_note_needs_an_integer_as_its_id() {
    let mut omop = NoteNlp { next_id: i32::MAX, processed_at: time(), software: SOFTWARE, is_linked: false };
    for id in ["note", "3000000000", ""] {
        let error = omop.rows(&Document::new(id, "secret"), &[]).unwrap_err().to_string();
        assert!(error.contains("--id-column") && !error.contains("secret"), "{error}");
    }
    let (document, made) = example();
    assert!(omop.rows(&document, &findings(&made, &models())).unwrap_err().to_string().contains("NOTE_NLP_ID"));
}
