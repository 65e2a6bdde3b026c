//! Rich Release Format of UMLS and RxNorm (UMLS Reference Manual, chapter 3; RxNorm's technical documentation).

use super::lines::{Input, each_line};
use super::{Output, ReadFault, ReadOptions};
use crate::record::Record;

/// Columns of MRCONSO.RRF and RXNCONSO.RRF.
const ID: usize = 0;
const LANGUAGE: usize = 1;
const TERM_STATUS: usize = 2;
const STRING_TYPE: usize = 4;
const IS_PREFERRED: usize = 6;
const SOURCE: usize = 11;
const TERM_TYPE: usize = 12;
const TEXT: usize = 14;
const SUPPRESS: usize = 16;
const COLUMNS: usize = 18;

/// What differs between the two.
#[derive(Clone, Copy)]
pub struct Dialect {
    is_rxnorm: bool,
}

pub const UMLS: Dialect = Dialect { is_rxnorm: false };
pub const RXNORM: Dialect = Dialect { is_rxnorm: true };

/// The fields of a line. Lines end with a separator.
fn fields(line: &str, columns: usize) -> Result<Vec<&str>, ReadFault> {
    let fields: Vec<&str> = line.strip_suffix('|').unwrap_or(line).split('|').collect();
    if fields.len() == columns {
        return Ok(fields);
    }
    Err(ReadFault::of(format!("{} columns, but the format has {columns}", fields.len())))
}

/// MRCONSO.RRF or RXNCONSO.RRF: neighbouring lines of an id become a record.
pub fn concepts(
    input: &mut Input,
    dialect: Dialect,
    options: &ReadOptions,
    output: &mut Output,
) -> Result<(), ReadFault> {
    let mut record = Record::default();
    each_line(input, output, |number, line, output| {
        let fields = fields(line, COLUMNS)?;
        let digits = if dialect.is_rxnorm { Some(fields[ID]) } else { fields[ID].strip_prefix('C') };
        if digits.is_none_or(|digits| digits.parse::<u32>().is_err()) {
            let (ids, other) = if dialect.is_rxnorm {
                ("a number, as in RxNorm", "mrconso")
            } else {
                ("C and a number, as in UMLS", "rxnconso")
            };
            return Err(ReadFault::of(format!("the concept id is not {ids}; for the other table: --format {other}")));
        }
        if fields[ID] != record.id {
            give(std::mem::take(&mut record), output);
            record.id = fields[ID].to_owned();
        }
        if !options.admits_language(fields[LANGUAGE]) {
            output.report.skip("names in other languages", number);
        } else if !options.suppressed && fields[SUPPRESS] != "N" && !fields[SUPPRESS].is_empty() {
            output.report.skip("suppressed names", number);
        } else if fields[TEXT].trim().is_empty() {
            output.report.skip("empty names", number);
        } else {
            let is_preferred = if dialect.is_rxnorm {
                fields[SOURCE] == "RXNORM" && !matches!(fields[TERM_TYPE], "SY" | "TMSY" | "ET")
            } else {
                fields[TERM_STATUS] == "P" && fields[STRING_TYPE] == "PF" && fields[IS_PREFERRED] == "Y"
            };
            let text = fields[TEXT].trim().to_owned();
            if is_preferred && record.name.is_none() {
                if dialect.is_rxnorm {
                    record.types.push(fields[TERM_TYPE].to_owned());
                }
                record.name = Some(text);
            } else {
                record.synonyms.push(text);
            }
        }
        Ok(())
    })?;
    give(record, output);
    Ok(())
}

fn give(record: Record, output: &mut Output) {
    if record.name.is_some() || !record.synonyms.is_empty() {
        output.give(record);
    }
}

/// MRSTY.RRF: the number of the semantic type, as T047.
pub fn types(input: &mut Input, output: &mut Output) -> Result<(), ReadFault> {
    each_line(input, output, |_, line, output| {
        let fields = fields(line, 6)?;
        if fields[0].is_empty() || fields[1].is_empty() {
            return Err(ReadFault::of("an empty concept id or type"));
        }
        output.give(Record { id: fields[0].to_owned(), types: vec![fields[1].to_owned()], ..Default::default() });
        Ok(())
    })
}
