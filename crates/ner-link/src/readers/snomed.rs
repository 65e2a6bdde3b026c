//! SNOMED CT, Release Format 2, snapshot: descriptions (`sct2_Description_Snapshot-en_….txt`) and concepts
//! (`sct2_Concept_Snapshot_….txt`).
//!
//! Descriptions stay active after their concept: only the file of concepts says which are inactive. A full release, which has
//! all earlier rows of a description, is refused.

use std::collections::HashSet;

use super::lines::{Input, columns, each_line};
use super::{Output, ReadFault, ReadOptions};
use crate::record::Record;

const COLUMNS: [&str; 9] =
    ["id", "effectiveTime", "active", "moduleId", "conceptId", "languageCode", "typeId", "term", "caseSignificanceId"];
const CONCEPT_COLUMNS: [&str; 5] = ["id", "effectiveTime", "active", "moduleId", "definitionStatusId"];
const FULLY_SPECIFIED_NAME: &str = "900000000000003001";
const SYNONYM: &str = "900000000000013009";
const DEFINITION: &str = "900000000000550004";

pub fn read(input: &mut Input, options: &ReadOptions, output: &mut Output) -> Result<(), ReadFault> {
    check_header(input, &COLUMNS)?;
    let mut ids = HashSet::new();
    each_line(input, output, |number, line, output| {
        let [id, _, active, _, concept, language, kind, term, _]: [&str; COLUMNS.len()] = columns(line)?;
        check_id(id, &mut ids)?;
        let term = term.trim();
        if concept.is_empty() || term.is_empty() {
            return Err(ReadFault::of("an empty conceptId or term"));
        }
        if !is_active(active)? {
            output.report.skip("inactive descriptions", number);
            return Ok(());
        }
        if !options.admits_language(language) {
            output.report.skip("names in other languages", number);
            return Ok(());
        }
        let mut record = Record { id: concept.to_owned(), ..Default::default() };
        match kind {
            // "Asthma (disorder)": the tag tells the kind of concept.
            FULLY_SPECIFIED_NAME => match term.strip_suffix(')').and_then(|term| term.rsplit_once(" (")) {
                Some((name, tag)) => {
                    record.name = Some(name.to_owned());
                    record.types.push(tag.to_owned());
                }
                None => record.name = Some(term.to_owned()),
            },
            SYNONYM => record.synonyms.push(term.to_owned()),
            DEFINITION => {
                output.report.skip("definitions", number);
                return Ok(());
            }
            _ => return Err(ReadFault::of("typeId is neither that of a name, nor of a synonym, nor of a definition")),
        }
        output.give(record);
        Ok(())
    })
}

/// The file of concepts: a record without names for each, which says whether it is inactive.
pub fn concepts(input: &mut Input, output: &mut Output) -> Result<(), ReadFault> {
    check_header(input, &CONCEPT_COLUMNS)?;
    let mut ids = HashSet::new();
    each_line(input, output, |_, line, output| {
        let [id, _, active, _, _]: [&str; CONCEPT_COLUMNS.len()] = columns(line)?;
        check_id(id, &mut ids)?;
        output.give(Record { id: id.to_owned(), is_inactive: !is_active(active)?, ..Default::default() });
        Ok(())
    })
}

fn check_header(input: &mut Input, expected: &[&str]) -> Result<(), ReadFault> {
    let header: Vec<&str> = input.next_line()?.unwrap_or_default().split('\t').collect();
    if header == expected {
        return Ok(());
    }
    Err(ReadFault::of(format!("the columns are not {}", expected.join(", "))))
}

/// A snapshot has one row for each id.
fn check_id(id: &str, seen: &mut HashSet<u64>) -> Result<(), ReadFault> {
    let number = id.parse::<u64>().map_err(|_| ReadFault::of("the id is not a number"))?;
    if seen.insert(number) {
        return Ok(());
    }
    Err(ReadFault::of("a second row with the same id, as in a full release; take the snapshot (sct2_…_Snapshot…)"))
}

fn is_active(field: &str) -> Result<bool, ReadFault> {
    match field {
        "1" => Ok(true),
        "0" => Ok(false),
        _ => Err(ReadFault::of("active is neither 0 nor 1")),
    }
}
