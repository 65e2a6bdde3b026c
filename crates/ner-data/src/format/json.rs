//! JSON whose objects may repeat a key.

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};
use std::cell::Cell;
use std::fmt;

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
