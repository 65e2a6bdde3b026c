//! Descriptions of SNOMED CT, Release Format 2, snapshot (`sct2_Description_Snapshot-en_….txt`).
//!
//! The file does not say whether a concept is active: its descriptions stay active after it.

use super::{Input, Output, ReadFault, ReadOptions};
use crate::record::Record;

const COLUMNS: [&str; 9] =
    ["id", "effectiveTime", "active", "moduleId", "conceptId", "languageCode", "typeId", "term", "caseSignificanceId"];
const FULLY_SPECIFIED_NAME: &str = "900000000000003001";
const SYNONYM: &str = "900000000000013009";
const DEFINITION: &str = "900000000000550004";

pub fn read(input: &mut Input, options: &ReadOptions, output: &mut Output) -> Result<(), ReadFault> {
    let header: Vec<&str> = input.next_line()?.unwrap_or_default().split('\t').collect();
    if header != COLUMNS {
        return Err(ReadFault::of(format!("the columns are not {}", COLUMNS.join(", "))));
    }
    loop {
        let number = input.line + 1;
        let Some(line) = input.next_line()? else { break };
        if line.is_empty() {
            continue;
        }
        output.report.entries += 1;
        let fields: Vec<&str> = line.split('\t').collect();
        let [_, _, active, _, concept, language, kind, term, _] = fields.as_slice() else {
            return Err(ReadFault::of(format!("{} columns, but the header has {}", fields.len(), COLUMNS.len())));
        };
        let term = term.trim();
        if concept.is_empty() || term.is_empty() {
            return Err(ReadFault::of("an empty conceptId or term"));
        }
        match *active {
            "1" => {}
            "0" => {
                output.report.skip("inactive descriptions", number);
                continue;
            }
            _ => return Err(ReadFault::of("active is neither 0 nor 1")),
        }
        if !options.admits_language(language) {
            output.report.skip("names in other languages", number);
            continue;
        }
        let mut record = Record { id: (*concept).to_owned(), ..Default::default() };
        match *kind {
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
                continue;
            }
            _ => return Err(ReadFault::of("typeId is neither that of a name, nor of a synonym, nor of a definition")),
        }
        output.give(record);
    }
    Ok(())
}
