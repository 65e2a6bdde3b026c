//! JSON values in a stream, whose objects may repeat a key.

use super::utf8::Utf8;
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};
use std::cell::Cell;
use std::fmt;
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

    /// What to do about bytes that are not UTF-8.
    pub(super) fn advice(&self) -> &str {
        self.input.advice()
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

/// Parses a value. Of the values of a repeated key the first is kept, as of BioC's infons in XML; also returns the number
/// of the others, which `serde_json` would not tell.
///
/// # Errors
/// If it is not JSON, or nested too deeply.
pub(super) fn parse(bytes: &[u8]) -> serde_json::Result<(Value, usize)> {
    let repeated = Cell::new(0);
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let value = Counted { repeated: &repeated }.deserialize(&mut deserializer)?;
    deserializer.end()?;
    Ok((value, repeated.get()))
}

/// Builds a value, and counts repeated keys.
#[derive(Clone, Copy)]
struct Counted<'c> {
    repeated: &'c Cell<usize>,
}

impl<'d> DeserializeSeed<'d> for Counted<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'d>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'d> Visitor<'d> for Counted<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E: Error>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'d>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = items.next_element_seed(self)? {
            values.push(value);
        }
        Ok(values.into())
    }

    fn visit_map<A: MapAccess<'d>>(self, mut fields: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(key) = fields.next_key::<String>()? {
            let value = fields.next_value_seed(self)?;
            if object.contains_key(&key) {
                self.repeated.set(self.repeated.get() + 1);
            } else {
                object.insert(key, value);
            }
        }
        Ok(object.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_those_of_serde_json_and_repeated_keys_are_counted() {
        for text in
            ["null", "true", "-1", "1", "18446744073709551615", "0.1", "1e400", "\"a\\n\"", "[1, {}]", "[", "1 2"]
        {
            let expected = serde_json::from_str::<Value>(text).map(|value| (value, 0)).ok();
            assert_eq!(parse(text.as_bytes()).ok(), expected, "{text}");
        }
        let (value, repeated) = parse(br#"{"b": {"a": 1, "a": 2}, "a": 3, "b": 4}"#).expect("JSON");
        assert_eq!((value.to_string().as_str(), repeated), (r#"{"b":{"a":1},"a":3}"#, 2));
        assert!(parse(&[b"[".repeat(200), b"]".repeat(200)].concat()).is_err());
    }
}
