use super::encoding;
use crate::{Diagnostic, DiagnosticKind, Diagnostics};
use std::io::{self, BufRead, ErrorKind};
use std::path::{Path, PathBuf};

/// The lines of a file with their numbers, and the faults noted so far.
///
/// A line ends with `\n` or `\r\n`, or with a lone `\r` if the first line does (classic Mac). Other carriage returns
/// are part of their line. Removes byte-order marks from the start of every line, because files may be concatenated.
/// Bytes that are not UTF-8 become U+FFFD and are reported.
pub(crate) struct Lines<R> {
    input: R,
    file: PathBuf,
    number: usize,
    buffer: Vec<u8>,
    /// Whether a lone `\r` ends a line; `None` before the end of the first line.
    lone_returns: Option<bool>,
    /// Blank lines that were read while looking at the end of the first line.
    blank: usize,
    diagnostics: Diagnostics,
}

const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

impl<R: BufRead> Lines<R> {
    pub(crate) fn new(input: R, file: &Path) -> Self {
        Self {
            input,
            file: file.into(),
            number: 0,
            buffer: Vec::new(),
            lone_returns: None,
            blank: 0,
            diagnostics: Diagnostics::default(),
        }
    }

    /// The next line, or `None` at the end of the file.
    pub(crate) fn next_line(&mut self) -> io::Result<Option<String>> {
        self.read_line()?;
        if self.buffer.is_empty() {
            return Ok(None);
        }
        self.number += 1;
        let mut bytes = self.buffer.as_slice();
        while let Some(rest) = bytes.strip_prefix(BYTE_ORDER_MARK) {
            bytes = rest;
        }
        bytes = bytes.strip_suffix(b"\n").unwrap_or(bytes);
        // Several if a program ended `\r\n` with another `\r`.
        while let Some(rest) = bytes.strip_suffix(b"\r") {
            bytes = rest;
        }
        Ok(Some(match std::str::from_utf8(bytes) {
            Ok(line) => line.to_owned(),
            Err(error) => {
                let line = String::from_utf8_lossy(bytes).into_owned();
                let (at, advice) = (error.valid_up_to() + 1, encoding::advice(bytes));
                let message = format!("byte {at} of the line is not UTF-8; {advice}");
                self.report(DiagnosticKind::InvalidUtf8, None, message);
                line
            }
        }))
    }

    /// Reads a line with its end into the buffer, which stays empty at the end of the file.
    fn read_line(&mut self) -> io::Result<()> {
        self.buffer.clear();
        if self.blank > 0 {
            self.blank -= 1;
            self.buffer.push(b'\r');
            return Ok(());
        }
        if self.lone_returns == Some(false) {
            self.input.read_until(b'\n', &mut self.buffer)?;
            return Ok(());
        }
        self.read_to_line_end()?;
        if self.buffer.last() != Some(&b'\r') {
            self.lone_returns.get_or_insert(false);
            return Ok(());
        }
        let is_first = self.lone_returns.is_none();
        let mut returns = 1;
        while let Some(next) = self.peek()? {
            if next == b'\n' {
                self.input.consume(1);
                self.buffer.push(b'\n');
                self.lone_returns.get_or_insert(false);
                return Ok(());
            }
            if next != b'\r' || !is_first {
                break;
            }
            self.input.consume(1);
            returns += 1;
        }
        if is_first {
            self.lone_returns = Some(true);
            self.blank = returns - 1;
        }
        Ok(())
    }

    /// Appends to the buffer up to and including the next `\r` or `\n`.
    fn read_to_line_end(&mut self) -> io::Result<()> {
        while self.peek()?.is_some() {
            let ready = self.input.fill_buf()?;
            let end = ready.iter().position(|byte| matches!(byte, b'\r' | b'\n'));
            let len = end.map_or(ready.len(), |at| at + 1);
            self.buffer.extend_from_slice(&ready[..len]);
            self.input.consume(len);
            if end.is_some() {
                break;
            }
        }
        Ok(())
    }

    /// The next byte; `None` at the end of the file.
    fn peek(&mut self) -> io::Result<Option<u8>> {
        loop {
            match self.input.fill_buf() {
                Ok(ready) => return Ok(ready.first().copied()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// The faults noted since the last call, ordered by line, which may differ from the order of detection.
    pub(crate) fn take_diagnostics(&mut self) -> Diagnostics {
        let mut diagnostics = std::mem::take(&mut self.diagnostics);
        diagnostics.0.sort_by_key(|diagnostic| diagnostic.line);
        diagnostics
    }

    /// The file, as given.
    pub(crate) fn file(&self) -> &Path {
        &self.file
    }

    /// Number of the last line read, from 1.
    pub(crate) const fn number(&self) -> usize {
        self.number
    }

    /// Notes a fault of the last line read.
    pub(crate) fn report(&mut self, kind: DiagnosticKind, document: Option<&str>, message: String) {
        self.report_at(self.number, kind, document, message);
    }

    /// Notes a fault of an earlier line.
    pub(crate) fn report_at(&mut self, line: usize, kind: DiagnosticKind, document: Option<&str>, message: String) {
        let (file, document) = (self.file.clone(), document.map(str::to_owned));
        self.diagnostics.0.push(Diagnostic { kind, file, line, document, message });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::BufReader;

    #[test]
    fn every_line_end_is_read_whatever_the_buffer() {
        let check = |text: &str, expected: &[&str]| {
            for size in 1..9 {
                let mut lines = Lines::new(BufReader::with_capacity(size, text.as_bytes()), Path::new("x"));
                let found: Vec<String> = std::iter::from_fn(|| lines.next_line().expect("memory")).collect();
                assert_eq!(found, expected, "{text:?}");
                assert_eq!(lines.number(), expected.len());
            }
        };
        check("", &[]);
        check("a", &["a"]);
        check("a\n\nb\n", &["a", "", "b"]);
        check("a\r\n\r\nb", &["a", "", "b"]);
        check("a\r\r\nb\r\r\n", &["a", "b"]);
        check("\r\n\r\na", &["", "", "a"]);
        check("a\r\r\rb\r", &["a", "", "", "b"]);
        check("\r\ra\r\r", &["", "", "a", ""]);
        // A Mac file, to which other files were appended.
        check("a\rb\r\nc\nd", &["a", "b", "c", "d"]);
        // In a file with other line ends a carriage return is a character.
        check("a\nb\rc\n", &["a", "b\rc"]);
        check("\u{feff}a\n\u{feff}\u{feff}b\nc\u{feff}\n\u{feff}", &["a", "b", "c\u{feff}", ""]);
    }
}
