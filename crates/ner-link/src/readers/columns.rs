//! Tables: TSV, CSV, MEDIC and CTD.

use std::io::BufRead;

use csv_core::{ReadRecordResult, Reader, ReaderBuilder};

use super::{Input, Output, ReadFault, ReadOptions};
use crate::record::Record;

/// The parts of a field that are not empty.
fn split(field: &str, separator: char) -> impl Iterator<Item = String> {
    field.split(separator).map(str::trim).filter(|part| !part.is_empty()).map(str::to_owned)
}

/// The place of a column, or what the columns are.
fn place_of(header: &[String], name: &str, is_csv: bool) -> Result<usize, ReadFault> {
    let mut places = header.iter().enumerate().filter(|(_, column)| *column == name).map(|(at, _)| at);
    match (places.next(), places.next()) {
        (Some(at), None) => Ok(at),
        (Some(_), Some(_)) => Err(ReadFault::of(format!("two columns \"{name}\"; rename one"))),
        (None, _) => Err(ReadFault::of(format!(
            "no column \"{name}\" among \"{}\"; name the columns with --id-column, --name-column, --synonyms-column and \
             --types-column; {} separate columns",
            header.join("\", \""),
            if is_csv { "commas" } else { "tabs" }
        ))),
    }
}

/// Rows of fields.
enum Rows {
    Tabs,
    Commas(Box<Reader>),
}

/// Where in the quotation marks of CSV a reader is. The library does not tell, and takes the rest of the file for one field
/// if a mark is not closed.
#[derive(Clone, Copy, PartialEq)]
enum Quotes {
    /// At the begin of a field.
    Begin,
    /// In a field without marks, or after the last one.
    Outside,
    /// Behind the mark that opens, in this line.
    Inside(u64),
    /// Behind a mark inside that closes, unless another follows.
    Closing(u64),
}

impl Quotes {
    fn after(self, byte: u8, line: u64) -> Self {
        match (self, byte) {
            (Self::Inside(from), b'"') => Self::Closing(from),
            (Self::Inside(_), _) => self,
            (Self::Closing(from), b'"') => Self::Inside(from),
            (Self::Begin, b'"') => Self::Inside(line),
            (_, b',' | b'\r' | b'\n') => Self::Begin,
            _ => Self::Outside,
        }
    }
}

impl Rows {
    fn of(is_csv: bool) -> Self {
        if is_csv { Self::Commas(Box::new(ReaderBuilder::new().build())) } else { Self::Tabs }
    }

    /// The fields of the next row that is not empty.
    fn next(&mut self, input: &mut Input) -> Result<Option<Vec<String>>, ReadFault> {
        match self {
            Self::Tabs => loop {
                let Some(line) = input.next_line()? else { return Ok(None) };
                if !line.trim().is_empty() {
                    return Ok(Some(line.split('\t').map(|field| field.trim().to_owned()).collect()));
                }
            },
            Self::Commas(reader) => commas(reader, input),
        }
    }
}

fn commas(reader: &mut Reader, input: &mut Input) -> Result<Option<Vec<String>>, ReadFault> {
    let (mut bytes, mut ends) = (vec![0; 1 << 10], vec![0; 1 << 5]);
    let (mut written, mut ended) = (0, 0);
    let mut quotes = Quotes::Begin;
    loop {
        let mut line = input.line.max(1);
        let next = input.fill_buf()?;
        let is_end = next.is_empty();
        let (result, read, wrote, fields) = reader.read_record(next, &mut bytes[written..], &mut ends[ended..]);
        let is_line_over = next[..read].ends_with(b"\n");
        for &byte in &next[..read] {
            quotes = quotes.after(byte, line);
            line += u64::from(byte == b'\n');
        }
        if let (true, Quotes::Inside(from)) = (is_end, quotes) {
            return Err(ReadFault::of(format!("the file ends within quotation marks that line {from} opens")));
        }
        input.consume(read);
        input.row = Some(input.line - u64::from(is_line_over));
        written += wrote;
        ended += fields;
        match result {
            ReadRecordResult::InputEmpty => {}
            ReadRecordResult::OutputFull => bytes.resize(2 * bytes.len(), 0),
            ReadRecordResult::OutputEndsFull => ends.resize(2 * ends.len(), 0),
            ReadRecordResult::End => return Ok(None),
            ReadRecordResult::Record => {
                let mut start = 0;
                let fields = ends[..ended].iter().map(|end| {
                    let field = std::str::from_utf8(&bytes[start..*end]);
                    start = *end;
                    field
                        .map(|field| field.trim().to_owned())
                        .map_err(|_| ReadFault::of("not UTF-8; save the file as UTF-8"))
                });
                return fields.collect::<Result<_, _>>().map(Some);
            }
        }
    }
}

pub fn table(input: &mut Input, is_csv: bool, options: &ReadOptions, output: &mut Output) -> Result<(), ReadFault> {
    let mut rows = Rows::of(is_csv);
    let Some(header) = rows.next(input)? else { return Ok(()) };
    let id = place_of(&header, &options.id_column, is_csv)?;
    let name = place_of(&header, &options.name_column, is_csv)?;
    // A column that was asked for must be there.
    let default = ReadOptions::default();
    let optional = |column: &str, default: &str| {
        let is_there = header.iter().any(|other| other == column) || column != default;
        is_there.then(|| place_of(&header, column, is_csv)).transpose()
    };
    let synonyms = optional(&options.synonyms_column, &default.synonyms_column)?;
    let types = optional(&options.types_column, &default.types_column)?;
    while let Some(row) = rows.next(input)? {
        output.report.entries += 1;
        same_columns(&row, &header)?;
        if row[id].is_empty() {
            output.report.skip("without an id", input.place());
            continue;
        }
        let list =
            |column: Option<usize>| column.map(|at| split(&row[at], options.separator).collect()).unwrap_or_default();
        let record = Record {
            id: row[id].clone(),
            name: Some(row[name].clone()).filter(|name| !name.is_empty()),
            synonyms: list(synonyms),
            types: list(types),
            ..Default::default()
        };
        if record.name.is_none() && record.synonyms.is_empty() {
            output.report.skip("without a name", input.place());
            continue;
        }
        output.give(record);
    }
    Ok(())
}

fn same_columns(row: &[String], header: &[String]) -> Result<(), ReadFault> {
    if row.len() == header.len() {
        return Ok(());
    }
    Err(ReadFault::of(format!("{} columns, but the header has {}", row.len(), header.len())))
}

pub fn medic(input: &mut Input, output: &mut Output) -> Result<(), ReadFault> {
    while let Some(line) = input.next_line()? {
        if line.trim().is_empty() {
            continue;
        }
        let Some((ids, names)) = line.split_once("||") else {
            return Err(ReadFault::of("no \"||\" between ids and names"));
        };
        let mut ids = split(ids, '|');
        let Some(id) = ids.next() else { return Err(ReadFault::of("no id before \"||\"")) };
        let other_ids = ids.collect();
        if names.contains("||") {
            return Err(ReadFault::of("a second \"||\", which MEDIC does not have"));
        }
        let mut names = split(names, '|');
        let Some(name) = names.next() else { return Err(ReadFault::of("no name after \"||\"")) };
        let record = Record { id, name: Some(name), synonyms: names.collect(), other_ids, ..Default::default() };
        output.report.entries += 1;
        output.give(record);
    }
    Ok(())
}

/// CTD's tables of diseases, chemicals, genes…, as TSV or CSV.
pub fn ctd(input: &mut Input, output: &mut Output) -> Result<(), ReadFault> {
    let mut columns = String::new();
    let mut is_next = false;
    while input.first_bytes()?.starts_with(b"#") {
        let Some(line) = input.next_line()? else { break };
        let comment = line.trim_start_matches('#').trim();
        if std::mem::replace(&mut is_next, comment == "Fields:") {
            columns = comment.to_owned();
        }
    }
    let is_csv = !columns.contains('\t');
    let header: Vec<String> =
        columns.split(if is_csv { ',' } else { '\t' }).map(|column| column.trim().to_owned()).collect();
    let with_ending = |ending: &str| {
        let place = header.iter().position(|column| column.ends_with(ending) && !column.starts_with("Alt"));
        place.ok_or_else(|| ReadFault::of(format!("no column that ends with \"{ending}\" after \"# Fields:\"")))
    };
    let (name, id) = (with_ending("Name")?, with_ending("ID")?);
    let other = |name: &str| header.iter().position(|column| column == name);
    // Chemicals have synonyms of MeSH and of CTD, genes are known by their symbols.
    let is_synonym = |column: &String| column.ends_with("Synonyms") || column == "GeneSymbol";
    let synonyms: Vec<usize> = (0..header.len()).filter(|at| is_synonym(&header[*at])).collect();
    let other_ids = header.iter().position(|column| column.starts_with("Alt") && column.ends_with("IDs"));
    let (types, cas) = (other("TreeNumbers"), other("CasRN"));
    let mut rows = Rows::of(is_csv);
    while let Some(row) = rows.next(input)? {
        if row[0].starts_with('#') {
            continue;
        }
        output.report.entries += 1;
        same_columns(&row, &header)?;
        if row[id].is_empty() || row[name].is_empty() {
            output.report.skip("without an id or a name", input.place());
            continue;
        }
        let list = |column: Option<usize>| column.map(|at| split(&row[at], '|').collect()).unwrap_or_default();
        output.give(Record {
            id: row[id].clone(),
            name: Some(row[name].clone()),
            synonyms: synonyms.iter().flat_map(|at| split(&row[*at], '|')).collect(),
            types: list(types),
            other_ids: list(other_ids),
            xrefs: cas.map(|at| split(&row[at], '|').map(|id| format!("CAS:{id}")).collect()).unwrap_or_default(),
            is_inactive: false,
        });
    }
    Ok(())
}
