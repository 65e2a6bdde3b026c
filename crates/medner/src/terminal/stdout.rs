//! stdout, with a separate error for a reader that is gone.

use std::io::{self, BufWriter, Write};

/// Opens stdout. Flush it after writing, so that failures are seen.
pub fn stdout() -> Stdout {
    Stdout(BufWriter::new(io::stdout()))
}

/// Writes one JSON object and a line break.
///
/// # Errors
/// If stdout cannot be written.
pub fn print_json(value: &impl serde::Serialize) -> anyhow::Result<()> {
    let mut out = stdout();
    serde_json::to_writer_pretty(&mut out, value).map_err(io::Error::from)?;
    writeln!(out)?;
    Ok(out.flush()?)
}

/// Buffered stdout.
pub struct Stdout(BufWriter<io::Stdout>);

/// The reader of stdout is gone (`medner … | head`). A separate type, because a broken network connection has the same
/// error kind but is a failure.
#[derive(Debug)]
pub struct ReaderGone;

impl std::fmt::Display for ReaderGone {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the reader of stdout is gone")
    }
}

impl std::error::Error for ReaderGone {}

impl ReaderGone {
    /// Whether this is the cause of an error.
    pub fn caused(error: &anyhow::Error) -> bool {
        error.chain().any(|cause| {
            let inner = cause.downcast_ref::<io::Error>().and_then(|error| error.get_ref());
            inner.is_some_and(|inner| inner.is::<Self>())
        })
    }

    fn mark(error: io::Error) -> io::Error {
        match error.kind() {
            io::ErrorKind::BrokenPipe => io::Error::new(io::ErrorKind::BrokenPipe, Self),
            _ => error,
        }
    }
}

impl Write for Stdout {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes).map_err(ReaderGone::mark)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush().map_err(ReaderGone::mark)
    }
}
