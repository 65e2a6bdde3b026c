//! OMOP's vocabularies as Athena (<https://athena.ohdsi.org>) exports them: `CONCEPT.csv` and `CONCEPT_SYNONYM.csv`, columns
//! separated by tabs, without quotation marks.
//!
//! Columns NOTE_NLP_CONCEPT_ID and the like hold standard concepts only
//! (<https://ohdsi.github.io/CommonDataModel/cdm54.html>). Others are therefore inactive here.

use super::lines::{Input, columns, each_line};
use super::{Output, ReadFault, ReadOptions};
use crate::record::Record;

const CONCEPT: [&str; 10] = [
    "concept_id",
    "concept_name",
    "domain_id",
    "vocabulary_id",
    "concept_class_id",
    "standard_concept",
    "concept_code",
    "valid_start_date",
    "valid_end_date",
    "invalid_reason",
];
const SYNONYM: [&str; 3] = ["concept_id", "concept_synonym_name", "language_concept_id"];
/// LANGUAGE_CONCEPT_ID of English.
const ENGLISH: &str = "4180186";

fn check_header(input: &mut Input, expected: &[&str]) -> Result<(), ReadFault> {
    let header: Vec<String> =
        input.next_line()?.unwrap_or_default().split('\t').map(|name| name.trim().to_ascii_lowercase()).collect();
    if header == expected {
        return Ok(());
    }
    Err(ReadFault::of(format!("the columns are not {}, separated by tabs", expected.join(", "))))
}

fn check_id(id: &str) -> Result<(), ReadFault> {
    if id.parse::<i32>().is_ok() {
        return Ok(());
    }
    Err(ReadFault::of("concept_id is not an integer of 32 bits"))
}

pub fn concepts(input: &mut Input, output: &mut Output) -> Result<(), ReadFault> {
    check_header(input, &CONCEPT)?;
    each_line(input, output, |number, line, output| {
        let [id, name, domain, vocabulary, class, standard, code, _, _, invalid]: [&str; CONCEPT.len()] =
            columns(line)?.map(str::trim);
        check_id(id)?;
        let why = match (standard, invalid) {
            ("S", "") => None,
            ("" | "C", "") => Some("concepts that are not standard"),
            ("" | "C" | "S", "D" | "U") => Some("invalid concepts"),
            ("" | "C" | "S", _) => return Err(ReadFault::of("invalid_reason is neither D nor U nor empty")),
            _ => return Err(ReadFault::of("standard_concept is neither S nor C nor empty")),
        };
        let id = id.to_owned();
        if let Some(why) = why {
            output.report.skip(why, number);
            output.give(Record { id, is_inactive: true, ..Default::default() });
        } else if name.is_empty() {
            output.report.skip("without a name", number);
        } else {
            let types = [domain, vocabulary, class].into_iter().filter(|name| !name.is_empty());
            output.give(Record {
                id,
                name: Some(name.to_owned()),
                types: types.map(str::to_owned).collect(),
                xrefs: vec![format!("{vocabulary}:{code}")],
                ..Default::default()
            });
        }
        Ok(())
    })
}

/// A language is named by its concept id; "en" stands for English.
pub fn synonyms(input: &mut Input, options: &ReadOptions, output: &mut Output) -> Result<(), ReadFault> {
    check_header(input, &SYNONYM)?;
    each_line(input, output, |number, line, output| {
        let [id, name, language]: [&str; SYNONYM.len()] = columns(line)?.map(str::trim);
        check_id(id)?;
        let is_wanted = options.admits_language(language) || language == ENGLISH && options.admits_language("en");
        if !is_wanted {
            output.report.skip("names in other languages", number);
        } else if name.is_empty() {
            output.report.skip("empty names", number);
        } else {
            output.give(Record { id: id.to_owned(), synonyms: vec![name.to_owned()], ..Default::default() });
        }
        Ok(())
    })
}
