//! JSON values in a stream.

use super::utf8::Utf8;
use std::io::{self, BufRead};

/// Finds the ends of JSON values, so that each document is parsed when complete and a collection is never parsed as a
/// whole.
pub(super) struct Scanner<R> {
    input: Utf8<R>,
}

impl<R: BufRead> Scanner<R> {
    pub(super) const fn new(input: R) -> Self {
        Self { input: Utf8::new(input) }
    }

    /// Line of the next byte, from 1.
    pub(super) const fn line(&self) -> usize {
        self.input.line()
    }

    /// The lines with bytes that are not UTF-8 since the last call.
    pub(super) fn take_invalid_lines(&mut self) -> Vec<usize> {
        self.input.take_invalid_lines()
    }

    /// The next byte that is not white space.
    pub(super) fn peek(&mut self) -> io::Result<Option<u8>> {
        loop {
            let bytes = self.input.fill_buf()?;
            if bytes.is_empty() {
                return Ok(None);
            }
            let space = bytes.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
            let found = bytes.get(space).copied();
            self.input.consume(space);
            if found.is_some() {
                return Ok(found);
            }
        }
    }

    /// Skips the peeked byte.
    pub(super) fn skip(&mut self) {
        self.input.consume(1);
    }

    pub(super) fn skip_line(&mut self) -> io::Result<()> {
        self.input.skip_until(b'\n').map(drop)
    }

    /// The bytes of the value that begins here. `None` if it is unterminated: at the end of the file, or at a line
    /// break in a string, which JSON forbids; the text after it can still be valid.
    pub(super) fn value(&mut self) -> io::Result<Option<Vec<u8>>> {
        let mut value = Vec::new();
        let (mut depth, mut in_string, mut is_escaped) = (0usize, false, false);
        loop {
            let bytes = self.input.fill_buf()?;
            if bytes.is_empty() {
                return Ok((depth == 0 && !in_string && !value.is_empty()).then_some(value));
            }
            let mut end = None;
            for (at, &byte) in bytes.iter().enumerate() {
                if in_string {
                    match byte {
                        b'\n' => {
                            self.input.consume(at + 1);
                            return Ok(None);
                        }
                        _ if is_escaped => is_escaped = false,
                        b'\\' => is_escaped = true,
                        b'"' => in_string = false,
                        _ => {}
                    }
                    if !in_string && depth == 0 {
                        end = Some(at + 1);
                        break;
                    }
                    continue;
                }
                match byte {
                    b'"' => in_string = true,
                    b'{' | b'[' => depth += 1,
                    b'}' | b']' if depth > 0 => {
                        depth -= 1;
                        if depth == 0 {
                            end = Some(at + 1);
                            break;
                        }
                    }
                    b'}' | b']' | b',' if depth == 0 => {
                        end = Some(at);
                        break;
                    }
                    _ => {}
                }
            }
            let amount = end.unwrap_or(bytes.len());
            value.extend_from_slice(&bytes[..amount]);
            self.input.consume(amount);
            if end.is_some() {
                return Ok(Some(value));
            }
        }
    }
}
