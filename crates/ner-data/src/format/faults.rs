use crate::{Diagnostic, DiagnosticKind, Diagnostics};
use std::path::{Path, PathBuf};

/// The faults of a file so far.
pub(super) struct Faults {
    file: PathBuf,
    found: Vec<Diagnostic>,
}

impl Faults {
    pub(super) fn new(file: &Path) -> Self {
        Self { file: file.into(), found: Vec::new() }
    }

    /// The file, as given.
    pub(super) fn file(&self) -> &Path {
        &self.file
    }

    /// Notes a fault. The message never quotes text of a document.
    pub(super) fn note(
        &mut self,
        kind: DiagnosticKind,
        line: usize,
        document: Option<&str>,
        message: impl Into<String>,
    ) {
        let (file, document, message) = (self.file.clone(), document.map(str::to_owned), message.into());
        self.found.push(Diagnostic { kind, file, line, document, message });
    }

    /// Notes the lines of a file with bytes that are not UTF-8, and what to do about them.
    pub(super) fn invalid_utf8(&mut self, lines: Vec<usize>, advice: &str) {
        for line in lines {
            let message = format!("bytes that are not UTF-8; read as U+FFFD; {advice}");
            self.note(DiagnosticKind::InvalidUtf8, line, None, message);
        }
    }

    /// The faults noted since the last call, ordered by line.
    pub(super) fn take(&mut self) -> Diagnostics {
        let mut found = std::mem::take(&mut self.found);
        found.sort_by_key(|diagnostic| diagnostic.line);
        Diagnostics(found)
    }
}
