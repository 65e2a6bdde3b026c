//! Tables of texts in CSV and TSV: one document per row.

use std::io::{self, BufRead};

/// A row of a table.
pub struct Row {
    /// Its line, from 1.
    pub line: usize,
    /// Its fields; `None` for one that is not UTF-8.
    pub fields: Vec<Option<String>>,
    /// What is wrong with its quotes.
    pub fault: Option<&'static str>,
}

/// Rows of a table: fields in quotes may hold separators and line breaks (RFC 4180).
pub struct Rows<R> {
    input: R,
    parser: csv_core::Reader,
    /// Line of the next row.
    line: usize,
    quotes: Quotes,
}

/// Where in a field the last byte stands. The parser of the library accepts every use of quotes, so that one that is not
/// closed takes in all further rows.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Start,
    Plain,
    Quoted,
    /// After a quote in a quoted field: its end, or half of a quote in it.
    Closed,
}

/// Follows the quotes of a table.
struct Quotes {
    separator: u8,
    place: Place,
    /// Whether something stood between a closing quote and the next separator.
    is_broken: bool,
}

impl Quotes {
    fn follow(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.place = match (self.place, byte) {
                (Place::Start | Place::Closed, b'"') => Place::Quoted,
                (Place::Quoted, b'"') => Place::Closed,
                (Place::Quoted, _) => Place::Quoted,
                (_, b'\n' | b'\r') => Place::Start,
                (_, byte) if byte == self.separator => Place::Start,
                (Place::Closed, _) => {
                    self.is_broken = true;
                    Place::Plain
                }
                _ => Place::Plain,
            };
        }
    }

    /// What is wrong with the row that ends here.
    fn fault(&mut self, is_end: bool) -> Option<&'static str> {
        let is_open = is_end && self.place == Place::Quoted;
        match (is_open, std::mem::take(&mut self.is_broken)) {
            (true, _) => Some("a quote of this row is not closed, so that it takes in all that follows"),
            (false, true) => Some("characters after a closing quote; write a quote inside a field twice"),
            (false, false) => None,
        }
    }
}

impl<R: BufRead> Rows<R> {
    /// The rows of `input`, which has this separator.
    pub fn new(input: R, separator: u8) -> Self {
        let parser = csv_core::ReaderBuilder::new().delimiter(separator).build();
        let quotes = Quotes { separator, place: Place::Start, is_broken: false };
        Self { input, parser, line: 1, quotes }
    }

    /// Skips the line break of the last row, and empty lines.
    fn skip_line_breaks(&mut self) -> io::Result<()> {
        while let Some(byte @ (b'\r' | b'\n')) = self.input.fill_buf()?.first() {
            self.line += usize::from(*byte == b'\n');
            self.input.consume(1);
        }
        Ok(())
    }

    /// The next row, or `None` at the end.
    ///
    /// # Errors
    /// If the input cannot be read.
    pub fn next_row(&mut self) -> io::Result<Option<Row>> {
        let (mut fields, mut ends) = (vec![0; 4096], vec![0; 64]);
        let (mut written, mut ended) = (0, 0);
        self.skip_line_breaks()?;
        let first_line = self.line;
        loop {
            // Without input, the parser ends the last row.
            let bytes = self.input.fill_buf()?;
            let (result, read, wrote, found) =
                self.parser.read_record(bytes, &mut fields[written..], &mut ends[ended..]);
            self.line += bytes[..read].iter().filter(|&&byte| byte == b'\n').count();
            self.quotes.follow(&bytes[..read]);
            let is_end = bytes.is_empty();
            self.input.consume(read);
            (written, ended) = (written + wrote, ended + found);
            match result {
                csv_core::ReadRecordResult::InputEmpty => {}
                csv_core::ReadRecordResult::OutputFull => fields.resize(fields.len() * 2, 0),
                csv_core::ReadRecordResult::OutputEndsFull => ends.resize(ends.len() * 2, 0),
                csv_core::ReadRecordResult::End => return Ok(None),
                csv_core::ReadRecordResult::Record => {
                    let starts = std::iter::once(0).chain(ends[..ended].iter().copied());
                    let field = |(start, end): (usize, &usize)| String::from_utf8(fields[start..*end].to_vec()).ok();
                    let fields = starts.zip(&ends[..ended]).map(field).collect();
                    return Ok(Some(Row { line: first_line, fields, fault: self.quotes.fault(is_end) }));
                }
            }
        }
    }
}

/// What Excel writes before the names, with the separator behind it.
const EXCEL: &str = "sep=";

/// Number of names that a message lists.
const LISTED: usize = 12;

/// The name of a column without a byte-order mark, and without the quotes that the mark hides from the parser.
fn cleaned(name: &str) -> String {
    match name.strip_prefix('\u{feff}') {
        Some(rest) => rest.trim().trim_matches('"').to_owned(),
        None => name.trim().to_owned(),
    }
}

/// Whether a field of the first row may be the name of a column, so that a message can quote it.
fn is_name(field: &str) -> bool {
    let is_part = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | ' ' | '(' | ')' | '#' | '/' | ':');
    !field.is_empty() && field.len() <= 40 && field.starts_with(char::is_alphabetic) && field.chars().all(is_part)
}

/// The names of columns as a message lists them: only what looks like names, because a table without a header begins
/// with text.
pub fn list_columns<'n>(names: impl IntoIterator<Item = &'n str>) -> String {
    list_names(names.into_iter().map(|name| if is_name(name) { name } else { "(not a name)" }.to_owned()).collect())
}

/// The first names, and how many more there are.
pub(crate) fn list_names(mut names: Vec<String>) -> String {
    let more = names.len().saturating_sub(LISTED);
    names.truncate(LISTED);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("{}{more}", names.join(", "))
}

/// The separator of a table with this beginning: of comma, semicolon, tab and bar the one that occurs most often in the
/// first row.
pub(crate) fn separator(text: &str) -> u8 {
    let first = text.lines().next().unwrap_or_default();
    if let Some(&[separator, ..]) = first.strip_prefix(EXCEL).map(str::as_bytes) {
        return separator;
    }
    let count = |separator: u8| first.bytes().filter(|&byte| byte == separator).count();
    // The last of equals, so that comma comes last.
    [b'|', b'\t', b';', b','].into_iter().max_by_key(|&separator| count(separator)).unwrap_or(b',')
}

/// The columns, if this is the beginning of a table beyond doubt: a first row of names without spaces, and rows of as
/// many fields.
pub(crate) fn columns(text: &str) -> Option<String> {
    let separator = separator(text);
    let mut rows = Rows::new(text.as_bytes(), separator);
    let names: Vec<String> = rows.next_row().ok()??.fields.into_iter().collect::<Option<_>>()?;
    // In prose, a blank follows a comma.
    if names.len() < 2 || !names.iter().all(|name| is_name(name) && !name.contains(' ')) {
        return None;
    }
    let mut others = Vec::new();
    while let Some(row) = rows.next_row().ok()? {
        others.push(row.fields.len() == names.len());
    }
    // The last row may be cut off.
    let whole = &others[..others.len().saturating_sub(1).max(1).min(others.len())];
    (!whole.is_empty() && whole.iter().all(|&is_whole| is_whole))
        .then(|| list_columns(names.iter().map(String::as_str)))
}

/// The texts of a table with their ids, row by row.
pub struct TableTexts<R> {
    rows: Rows<R>,
    columns: usize,
    text: usize,
    id: Option<usize>,
    row: usize,
}

/// A row of [`TableTexts`]: its line, and its id and text, or what is wrong with it.
pub type TextRow = (usize, Result<(String, String), String>);

impl<R: BufRead> TableTexts<R> {
    /// Opens a table whose first row names its columns. Without an id column, the ids are row numbers, counted from 1.
    ///
    /// # Errors
    /// If the table cannot be read or lacks such a column; the message lists its columns.
    pub fn new(input: R, separator: u8, text: &str, id: Option<&str>) -> io::Result<Self> {
        let mut rows = Rows::new(input, separator);
        let is_excel =
            |row: &Row| row.fields.first().and_then(Option::as_deref).is_some_and(|name| cleaned(name) == EXCEL);
        let first = rows.next_row()?;
        let first = if first.as_ref().is_some_and(is_excel) { rows.next_row()? } else { first };
        let names: Vec<String> = match first {
            Some(row) => row.fields.into_iter().map(|name| cleaned(&name.unwrap_or_default())).collect(),
            None => {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "the table is empty: it has no row of names"));
            }
        };
        let find = |wanted: &str, option: &str| {
            if names.iter().filter(|name| *name == wanted).count() > 1 {
                let message = format!("two columns are named {wanted:?}; rename one");
                return Err(io::Error::new(io::ErrorKind::InvalidData, message));
            }
            let found = names.iter().position(|name| name == wanted);
            found.ok_or_else(|| {
                let listed = list_columns(names.iter().map(String::as_str));
                let message =
                    format!("the table has no column {wanted:?}; its first row names {listed}; name one with {option}");
                io::Error::new(io::ErrorKind::InvalidData, message)
            })
        };
        let text = find(text, "--text-column")?;
        let id = id.map(|id| find(id, "--id-column")).transpose()?;
        Ok(Self { rows, columns: names.len(), text, id, row: 0 })
    }

    /// The next row; `None` at the end.
    ///
    /// # Errors
    /// If the table cannot be read.
    pub fn next_row(&mut self) -> io::Result<Option<TextRow>> {
        let Some(Row { line, fields: mut row, fault }) = self.rows.next_row()? else { return Ok(None) };
        self.row += 1;
        if let Some(fault) = fault {
            return Ok(Some((line, Err(fault.into()))));
        }
        if row.len() != self.columns {
            let fault = format!("the row has {} fields, but the first row names {} columns", row.len(), self.columns);
            return Ok(Some((line, Err(fault))));
        }
        let id = match self.id {
            None => Some(self.row.to_string()),
            Some(at) => row[at].clone().filter(|id| !id.is_empty()),
        };
        let text = row[self.text].take();
        Ok(Some((
            line,
            match (id, text) {
                (Some(id), Some(text)) => Ok((id, text)),
                (None, _) => Err("the row has no id".into()),
                (Some(id), None) => Err(format!(
                    "document {id}: its text is not UTF-8; convert the table first: iconv -f WINDOWS-1252 -t UTF-8"
                )),
            },
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_keep_quoted_separators_and_line_breaks() {
        let table = "\u{feff}ROW_ID,TEXT\r\n1,\"No fever,\n no \"\"rash\"\".\"\r\n2\r\n,x\r\n3,last";
        for size in [1, 2, 7, 4096] {
            let input = io::BufReader::with_capacity(size, table.as_bytes());
            let mut texts = TableTexts::new(input, b',', "TEXT", Some("ROW_ID")).expect("columns");
            let mut found = Vec::new();
            while let Some((line, row)) = texts.next_row().expect("memory") {
                found.push((line, row.unwrap_or_else(|fault| (String::new(), fault))));
            }
            let row = |line, id: &str, text: &str| (line, (id.to_owned(), text.to_owned()));
            assert_eq!(
                found,
                [
                    row(2, "1", "No fever,\n no \"rash\"."),
                    row(4, "", "the row has 1 fields, but the first row names 2 columns"),
                    row(5, "", "the row has no id"),
                    row(6, "3", "last"),
                ]
            );
        }
        let error = TableTexts::new(table.as_bytes(), b',', "text", None).err().expect("no such column");
        assert!(error.to_string().contains("names ROW_ID, TEXT; name one with --text-column"), "{error}");
        let error = TableTexts::new("Seen by J. Doe, 5 mg!\n".as_bytes(), b',', "text", None).err().expect("none");
        assert!(!error.to_string().contains("mg"), "{error}");
    }
}
