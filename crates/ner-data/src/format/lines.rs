use super::encoding;
use crate::{Diagnostic, DiagnosticKind, Diagnostics};
use std::io::{self, BufRead};
use std::path::{Path, PathBuf};

/// The lines of a file with their numbers, and the faults noted so far.
///
/// Removes a byte-order mark and carriage returns. Bytes that are not UTF-8 become U+FFFD and are reported.
pub(crate) struct Lines<R> {
    input: R,
    file: PathBuf,
    number: usize,
    buffer: Vec<u8>,
    diagnostics: Diagnostics,
}

impl<R: BufRead> Lines<R> {
    pub(crate) fn new(input: R, file: &Path) -> Self {
        Self { input, file: file.into(), number: 0, buffer: Vec::new(), diagnostics: Diagnostics::default() }
    }

    /// The next line, or `None` at the end of the file.
    pub(crate) fn next_line(&mut self) -> io::Result<Option<String>> {
        self.buffer.clear();
        if self.input.read_until(b'\n', &mut self.buffer)? == 0 {
            return Ok(None);
        }
        self.number += 1;
        let mut bytes = self.buffer.as_slice();
        if self.number == 1 {
            bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
        }
        bytes = bytes.strip_suffix(b"\n").unwrap_or(bytes);
        bytes = bytes.strip_suffix(b"\r").unwrap_or(bytes);
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
