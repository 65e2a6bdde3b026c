//! Lines of a file, plain or compressed, with their numbers.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use flate2::read::MultiGzDecoder;

use super::{Output, ReadFault};

const GZIP: &[u8] = b"\x1f\x8b";
/// Beginnings of files that are not read, and what they are.
const FOREIGN: [(&[u8], &str); 4] = [
    (b"PK\x03\x04", "a ZIP archive; unpack it"),
    (b"\x28\xb5\x2f\xfd", "compressed by Zstandard; unpack it, or compress it by gzip"),
    (b"\xff\xfe", "UTF-16; save it as UTF-8"),
    (b"\xfe\xff", "UTF-16; save it as UTF-8"),
];

/// A file as it is read.
pub struct Input {
    file: Box<dyn BufRead>,
    bytes: Vec<u8>,
    /// Number of the line that was read last; while XML is read, the line that has been reached.
    pub line: u64,
    /// Line of the row that was read last, where a row may have several lines.
    pub row: Option<u64>,
}

impl Input {
    pub fn open(path: &Path) -> io::Result<Self> {
        let mut file: BufReader<File> = BufReader::with_capacity(1 << 16, ner_files::open_regular(path)?);
        let mut file: Box<dyn BufRead> = if file.fill_buf()?.starts_with(GZIP) {
            Box::new(BufReader::with_capacity(1 << 16, MultiGzDecoder::new(file)))
        } else {
            Box::new(file)
        };
        let first = file.fill_buf()?;
        if let Some((_, what)) = FOREIGN.iter().find(|(begin, _)| first.starts_with(begin)) {
            return Err(io::Error::new(io::ErrorKind::InvalidData, *what));
        }
        if first.starts_with(b"\xef\xbb\xbf") {
            file.consume(3);
        }
        Ok(Self { file, bytes: Vec::new(), line: 0, row: None })
    }

    /// The line that a message about what was read last should name.
    pub fn place(&self) -> u64 {
        self.row.unwrap_or(self.line)
    }

    /// Some of the first bytes, which stay to be read.
    pub fn first_bytes(&mut self) -> io::Result<&[u8]> {
        self.file.fill_buf()
    }

    /// The next line without its end.
    pub fn next_line(&mut self) -> Result<Option<&str>, ReadFault> {
        self.bytes.clear();
        if self.file.read_until(b'\n', &mut self.bytes)? == 0 {
            return Ok(None);
        }
        self.line += 1;
        if self.bytes.ends_with(b"\n") {
            self.bytes.pop();
        }
        if self.bytes.ends_with(b"\r") {
            self.bytes.pop();
        }
        match std::str::from_utf8(&self.bytes) {
            Ok(line) => Ok(Some(line)),
            Err(error) => Err(ReadFault::of(format!(
                "not UTF-8: byte {} of the line; save the file as UTF-8",
                error.valid_up_to() + 1
            ))),
        }
    }
}

/// Gives each line that is not empty to `take`, with its number, and counts it as an entry.
pub fn each_line(
    input: &mut Input,
    output: &mut Output<'_>,
    mut take: impl FnMut(u64, &str, &mut Output<'_>) -> Result<(), ReadFault>,
) -> Result<(), ReadFault> {
    loop {
        let number = input.line + 1;
        let Some(line) = input.next_line()? else { return Ok(()) };
        if !line.is_empty() {
            output.report.entries += 1;
            take(number, line, output)?;
        }
    }
}

/// The columns of a line, separated by tabs; as many as the header has.
pub fn columns<const COUNT: usize>(line: &str) -> Result<[&str; COUNT], ReadFault> {
    let fields: Vec<&str> = line.split('\t').collect();
    fields
        .try_into()
        .map_err(|fields: Vec<&str>| ReadFault::of(format!("{} columns, but the header has {COUNT}", fields.len())))
}

impl Read for Input {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let length = self.file.fill_buf()?.read(bytes)?;
        self.consume(length);
        Ok(length)
    }
}

/// Counts the ends of the lines that have been consumed.
impl BufRead for Input {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.line = self.line.max(1);
        self.file.fill_buf()
    }

    fn consume(&mut self, amount: usize) {
        // The bytes are in the buffer, so that this reads nothing.
        if let Ok(bytes) = self.file.fill_buf() {
            self.line += bytes[..amount.min(bytes.len())].iter().filter(|byte| **byte == b'\n').count() as u64;
        }
        self.file.consume(amount);
    }
}
