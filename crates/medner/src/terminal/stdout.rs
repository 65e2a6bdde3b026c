//! stdout, with an error of its own for a reader who has gone.

use std::io::{self, BufWriter, Write};

/// Opens stdout. What is written has to be flushed, so that a failure is seen.
pub fn stdout() -> Stdout {
    Stdout(BufWriter::new(io::stdout()))
}

/// Writes one JSON object and a line break.
///
/// # Errors
/// Where stdout cannot be written.
pub fn print_json(value: &impl serde::Serialize) -> anyhow::Result<()> {
    let mut out = stdout();
    serde_json::to_writer_pretty(&mut out, value).map_err(io::Error::from)?;
    writeln!(out)?;
    Ok(out.flush()?)
}

/// Buffered stdout.
pub struct Stdout(BufWriter<io::Stdout>);

/// The reader of stdout has gone (`medner … | head`). Told from a connection of the network that broke, which has the
/// same kind of error and is a failure.
#[derive(Debug)]
pub struct ReaderGone;

impl std::fmt::Display for ReaderGone {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("nobody reads stdout any more")
    }
}

impl std::error::Error for ReaderGone {}

impl ReaderGone {
    /// Whether an error comes of it.
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
