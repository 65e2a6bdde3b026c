use super::{encoding, per_document};
use std::io::{self, BufRead, Read};

/// Decodes an input as UTF-8, without a byte-order mark, and with U+FFFD for invalid bytes.
pub(super) struct Utf8<R> {
    input: R,
    /// Decoded but not yet consumed text is `ready[at..]`.
    ready: String,
    at: usize,
    /// The first bytes of an incomplete character.
    incomplete: Vec<u8>,
    is_first: bool,
    /// Line of the next byte to consume.
    line: usize,
    /// Line of the next byte to decode.
    decoded_line: usize,
    invalid_lines: Vec<usize>,
    /// What to do about the first invalid bytes; empty if there are none.
    advice: String,
}

impl<R: BufRead> Utf8<R> {
    pub(super) const fn new(input: R) -> Self {
        Self {
            input,
            ready: String::new(),
            at: 0,
            incomplete: Vec::new(),
            is_first: true,
            line: 1,
            decoded_line: 1,
            invalid_lines: Vec::new(),
            advice: String::new(),
        }
    }

    /// Line of the next byte, from 1.
    pub(super) const fn line(&self) -> usize {
        self.line
    }

    /// The lines with invalid bytes since the last call.
    pub(super) fn take_invalid_lines(&mut self) -> Vec<usize> {
        std::mem::take(&mut self.invalid_lines)
    }

    /// What to do about the invalid bytes.
    pub(super) fn advice(&self) -> &str {
        &self.advice
    }

    fn decode(&mut self, bytes: &[u8], is_last: bool) {
        let mut chunks = bytes.utf8_chunks().peekable();
        while let Some(chunk) = chunks.next() {
            self.ready.push_str(chunk.valid());
            self.decoded_line += newlines(chunk.valid());
            let cut_off = chunks.peek().is_none()
                && std::str::from_utf8(chunk.invalid()).is_err_and(|error| error.error_len().is_none());
            if cut_off && !is_last {
                self.incomplete = chunk.invalid().to_vec();
            } else if !chunk.invalid().is_empty() {
                self.ready.push(char::REPLACEMENT_CHARACTER);
                if self.invalid_lines.last() != Some(&self.decoded_line) {
                    self.invalid_lines.push(self.decoded_line);
                }
                if self.advice.is_empty() {
                    self.advice = encoding::advice(bytes);
                }
            }
        }
    }
}

fn newlines(text: &str) -> usize {
    text.bytes().filter(|&byte| byte == b'\n').count()
}

impl<R: BufRead> BufRead for Utf8<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        while self.at == self.ready.len() {
            self.ready.clear();
            self.at = 0;
            let mut bytes = std::mem::take(&mut self.incomplete);
            let new = self.input.fill_buf()?;
            let read = new.len();
            bytes.extend_from_slice(new);
            self.input.consume(read);
            if bytes.is_empty() {
                break;
            }
            self.decode(&bytes, read == 0);
            if self.is_first && !self.ready.is_empty() {
                self.is_first = false;
                self.at = if self.ready.starts_with('\u{feff}') { '\u{feff}'.len_utf8() } else { 0 };
            }
        }
        Ok(&self.ready.as_bytes()[self.at..])
    }

    fn consume(&mut self, amount: usize) {
        let end = self.at + amount;
        self.line += self.ready.as_bytes()[self.at..end].iter().filter(|&&byte| byte == b'\n').count();
        self.at = end;
    }
}

impl<R: BufRead> Read for Utf8<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        per_document::read_from_buffer(self, buffer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::io::BufReader;

    proptest! {
        /// Decoding in pieces of any size gives the library's result for the whole.
        #[test]
        fn pieces_are_decoded_as_the_whole(
            parts in proptest::collection::vec(
                prop_oneof![any::<Vec<u8>>(), any::<String>().prop_map(String::into_bytes), Just(b"a\n".to_vec())],
                0..6
            ),
            capacity in 1usize..9,
        ) {
            let bytes = parts.concat();
            let mut input = Utf8::new(BufReader::with_capacity(capacity, bytes.as_slice()));
            let mut read = String::new();
            input.read_to_string(&mut read).expect("UTF-8");
            let whole = String::from_utf8_lossy(&bytes);
            prop_assert_eq!(&read, whole.strip_prefix('\u{feff}').unwrap_or(&whole));
            prop_assert_eq!(input.line(), 1 + newlines(&whole));
            let lines = whole.split('\n').zip(bytes.split(|&byte| byte == b'\n')).enumerate();
            let invalid: Vec<usize> =
                lines.filter(|(_, (_, line))| std::str::from_utf8(line).is_err()).map(|(at, _)| at + 1).collect();
            prop_assert_eq!(input.take_invalid_lines(), invalid);
        }
    }
}
