//! Parses only the requested keys of a JSON file.

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};
use std::borrow::Cow;
use std::fmt;

/// Parses JSON and keeps only `keys`, with dots between levels; null if it is not an object. Looking up a requested key
/// in the result gives the same value as in the whole.
///
/// Lists of thousands of runs use only a few of the hundreds of numbers in each; most time went into building and
/// dropping the rest.
pub fn parse(json: &[u8], keys: &[&str]) -> serde_json::Result<Value> {
    let mut parser = serde_json::Deserializer::from_slice(json);
    let value = Kept(keys.to_vec()).deserialize(&mut parser)?;
    parser.end()?;
    Ok(value)
}

/// Keys to keep in the current value.
struct Kept<'k>(Vec<&'k str>);

impl<'de> DeserializeSeed<'de> for Kept<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Kept<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Value, A::Error> {
        let mut kept = Map::new();
        while let Some(field) = fields.next_key::<Cow<'de, str>>()? {
            let below = |key: &&'_ str| key.strip_prefix(&*field).is_some_and(|rest| rest.starts_with('.'));
            if self.0.iter().any(|key| *key == field) {
                kept.insert(field.into_owned(), fields.next_value()?);
            } else if self.0.iter().any(below) {
                // The part after the dot; a field name itself may contain dots.
                let keys = self.0.iter().filter(|key| below(key)).map(|key| &key[field.len() + 1..]).collect();
                kept.insert(field.into_owned(), fields.next_value_seed(Kept(keys))?);
            } else {
                fields.next_value::<IgnoredAny>()?;
            }
        }
        Ok(Value::Object(kept))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_str<E>(self, _: &str) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_asked_for_is_kept_and_faults_are_found_in_the_rest() {
        let text = br#"{"a": {"b.c": {"d": 1, "e": [2]}, "f": 3}, "g": "h", "i\u002e": null, "j": [{"k": 1}]}"#;
        let check = |keys: &[&str], expected: Value| assert_eq!(parse(text, keys).unwrap(), expected, "{keys:?}");
        check(&["a.b.c.d", "g"], json!({"a": {"b.c": {"d": 1}}, "g": "h"}));
        check(&["a", "a.f"], json!({"a": {"b.c": {"d": 1, "e": [2]}, "f": 3}}));
        check(&["g.x", "j.k", "i."], json!({"g": null, "i.": null, "j": null}));
        check(&[], json!({}));
        assert_eq!(parse(b"[1, 2]", &["a"]).unwrap(), Value::Null);
        for bad in [&b""[..], b"{", b"{\"a\": nul", b"{} {}", b"{\"a\": [1,}"] {
            assert!(parse(bad, &["b"]).is_err(), "{bad:?}");
        }
    }
}
