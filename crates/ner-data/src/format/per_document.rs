//! A bound on what a document takes from its file: readers hold one document at a time, whatever the file says.

use std::io::{self, BufRead, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Greatest number of bytes of a file between two documents. Reading a document takes up to thirty times its bytes.
pub(super) const MAX_BYTES: u64 = 128 << 20;

/// Bytes read since the last document.
#[derive(Clone, Default)]
pub(super) struct SinceDocument(Arc<AtomicU64>);

impl SinceDocument {
    /// A document has been read.
    pub(super) fn reset(&self) {
        self.0.store(0, Ordering::Relaxed);
    }
}

/// An input that fails once more than [`MAX_BYTES`] have been read since the last document.
pub(super) struct PerDocument<R> {
    pub(super) input: R,
    pub(super) since: SinceDocument,
}

impl<R: BufRead> BufRead for PerDocument<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.since.0.load(Ordering::Relaxed) > MAX_BYTES {
            let message = format!("more than {} MiB without the end of a document; divide it", MAX_BYTES >> 20);
            return Err(io::Error::new(io::ErrorKind::InvalidData, message));
        }
        self.input.fill_buf()
    }

    fn consume(&mut self, amount: usize) {
        self.since.0.fetch_add(amount as u64, Ordering::Relaxed);
        self.input.consume(amount);
    }
}

impl<R: BufRead> Read for PerDocument<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        read_from_buffer(self, buffer)
    }
}

/// What [`Read::read`](std::io::Read::read) is for a reader with a buffer of its own.
pub(super) fn read_from_buffer(reader: &mut impl BufRead, buffer: &mut [u8]) -> io::Result<usize> {
    let amount = io::Read::read(&mut reader.fill_buf()?, buffer)?;
    reader.consume(amount);
    Ok(amount)
}

#[cfg(test)]
mod tests {
    use crate::{Format, FormatOptions};
    use std::io::{BufReader, ErrorKind, Read};
    use std::path::Path;

    #[test]
    fn a_document_without_end_does_not_fill_the_memory() {
        for (format, part) in [
            (Format::Pubtator, b"7|t|a".as_slice()),
            (Format::Jsonl, b"{\"id\": "),
            (Format::BiocXml, b"<collection><document><passage>"),
        ] {
            let input = Box::new(BufReader::new(Endless { part, at: 0 }));
            let documents = format.open_input(input, Path::new("x"), &FormatOptions::default());
            let mut documents = documents.expect("opened");
            assert_eq!(documents.next_document().expect_err("no end").kind(), ErrorKind::InvalidData, "{format}");
        }
    }

    /// The same bytes again and again.
    struct Endless {
        part: &'static [u8],
        at: usize,
    }

    impl Read for Endless {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            for byte in buffer.iter_mut() {
                *byte = self.part[self.at % self.part.len()];
                self.at += 1;
            }
            Ok(buffer.len())
        }
    }
}
