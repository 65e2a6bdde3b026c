//! Compressed inputs.

use super::encoding::Decoded;
use super::extension_of;
use flate2::read::MultiGzDecoder;
use std::io::{self, BufRead, BufReader, Cursor, Read};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// First bytes of gzip and Zstandard.
const GZIP: &[u8] = b"\x1f\x8b";
const ZSTANDARD: &[u8] = b"\x28\xb5\x2f\xfd";

/// How many times its size an input may unpack to. Text unpacks to 3 to 30 times its size, zeros to 1,000 times.
pub const MAX_RATIO: u64 = 200;

/// Number of unpacked bytes from which [`MAX_RATIO`] counts.
const SMALL: u64 = 64 << 20;

/// The contents of a file, unpacked if its first bytes are those of gzip or Zstandard, and decoded if a byte-order mark
/// says that it is UTF-16. Reading fails if it unpacks to more than [`MAX_RATIO`] times its size.
///
/// # Errors
/// If the first bytes cannot be read, or are not those of the compression that the ending of `name` promises.
pub fn buffered<'r>(file: impl Read + Send + 'r, name: &Path) -> io::Result<Box<dyn BufRead + Send + 'r>> {
    let mut file = BufReader::new(file);
    // A pipe may give its first bytes one by one.
    let mut first = Vec::new();
    file.by_ref().take(ZSTANDARD.len() as u64).read_to_end(&mut first)?;
    let (is_gzip, is_zstandard) = (first.starts_with(GZIP), first == ZSTANDARD);
    for (ending, is_there) in [("gz", is_gzip), ("zst", is_zstandard)] {
        if extension_of(name) == ending && !is_there {
            let message = format!("its name ends in .{ending}, but its contents are not packed like that");
            return Err(io::Error::new(io::ErrorKind::InvalidData, message));
        }
    }
    let whole = Cursor::new(first).chain(file);
    if !is_gzip && !is_zstandard {
        return Ok(Box::new(Decoded::new(whole)?));
    }
    let packed = Arc::new(AtomicU64::new(0));
    let counted = Counted { input: whole, count: Arc::clone(&packed) };
    let unpacked: Box<dyn Read + Send + 'r> =
        if is_gzip { Box::new(MultiGzDecoder::new(counted)) } else { Box::new(zstd::Decoder::new(counted)?) };
    Ok(Box::new(Decoded::new(BufReader::new(Bounded { input: unpacked, packed, unpacked: 0 }))?))
}

/// Counts the bytes read.
struct Counted<R> {
    input: R,
    count: Arc<AtomicU64>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.input.read(buffer)?;
        self.count.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }
}

/// Fails if the input unpacks to too many times its size.
struct Bounded<R> {
    input: R,
    packed: Arc<AtomicU64>,
    unpacked: u64,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.input.read(buffer)?;
        self.unpacked += read as u64;
        if self.unpacked > SMALL && self.unpacked / MAX_RATIO > self.packed.load(Ordering::Relaxed) {
            let message =
                format!("it unpacks to more than {MAX_RATIO} times its size, as no text does; unpack it first");
            return Err(io::Error::new(io::ErrorKind::InvalidData, message));
        }
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::Compression;
    use flate2::write::GzEncoder;
    use std::io::Write;

    #[test]
    fn first_bytes_show_the_packing() {
        let mut packed = GzEncoder::new(Vec::new(), Compression::default());
        packed.write_all(b"text").expect("memory");
        let gzip = packed.finish().expect("memory");
        let zstandard = zstd::encode_all(b"text".as_slice(), 0).expect("memory");
        for bytes in [b"text".to_vec(), gzip, zstandard] {
            let mut text = String::new();
            let input = BufReader::with_capacity(1, bytes.as_slice());
            buffered(input, Path::new("")).expect("read").read_to_string(&mut text).expect("text");
            assert_eq!(text, "text");
        }
    }

    #[test]
    fn what_unpacks_to_far_more_than_its_size_is_refused() {
        let mut packed = GzEncoder::new(Vec::new(), Compression::default());
        for _ in 0..80 {
            packed.write_all(&vec![0; 1 << 20]).expect("memory");
        }
        let bytes = packed.finish().expect("memory");
        let read = io::copy(&mut buffered(bytes.as_slice(), Path::new("")).expect("read"), &mut io::sink());
        assert_eq!(read.expect_err("too large").kind(), io::ErrorKind::InvalidData);
    }
}
