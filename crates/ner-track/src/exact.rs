//! JSON whose numbers are read to the last bit.
//!
//! serde_json reads a number of 17 digits one bit off now and then, unless its feature `float_roundtrip` is on; polars
//! depends on serde_json, too, and would be built anew for it. A value that is read from a file and sent, and one that a
//! server gives back, are compared here bit for bit.

use serde_json::Value;

/// Parses JSON, with a text in the place of each number; [`number`] and [`integer`] read those.
pub(crate) fn parse(json: &[u8]) -> serde_json::Result<Value> {
    let mut quoted = Vec::with_capacity(json.len() + json.len() / 4);
    let (mut in_text, mut is_escaped, mut in_number) = (false, false, false);
    for &byte in json {
        let goes_on = in_number && matches!(byte, b'e' | b'E' | b'+' | b'.');
        let is_number = !in_text && (goes_on || byte == b'-' || byte.is_ascii_digit());
        if is_number != in_number {
            quoted.push(b'"');
            in_number = is_number;
        }
        quoted.push(byte);
        if !in_text {
            in_text = byte == b'"';
        } else if is_escaped {
            is_escaped = false;
        } else {
            is_escaped = byte == b'\\';
            in_text = byte != b'"';
        }
    }
    if in_number {
        quoted.push(b'"');
    }
    serde_json::from_slice(&quoted)
}

/// A finite number of what [`parse`] returned.
pub(crate) fn number(value: &Value) -> Option<f64> {
    value.as_str()?.parse().ok().filter(|number: &f64| number.is_finite())
}

/// A whole number of what [`parse`] returned; a server may have given it as a text.
pub(crate) fn integer(value: &Value) -> Option<i64> {
    value.as_str()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_keep_their_last_bit_and_texts_stay() {
        let json = br#"{"a": 1.5673059225082397, "b": [-1e-7, 2.5E+3], "\"5\\": "x 1.5, \" -2", "c": null, "d": true, "e": 7}"#;
        let value = parse(json).unwrap();
        assert_eq!(number(&value["a"]).unwrap().to_bits(), "1.5673059225082397".parse::<f64>().unwrap().to_bits());
        assert_eq!((number(&value["b"][0]), number(&value["b"][1])), (Some(-1e-7), Some(2500.0)));
        assert_eq!(value["\"5\\"], "x 1.5, \" -2");
        assert_eq!((number(&value["c"]), &value["d"], integer(&value["e"])), (None, &Value::Bool(true), Some(7)));
        assert_eq!(parse(b"12").unwrap(), "12");
        assert!(parse(br#"{"a": 1.5"#).is_err());
        // Every f64 is written by serde_json so that it can be read back.
        for step in 1..2000 {
            let value = (f64::from(step) * 0.731).sin() * 3.0;
            let json = serde_json::to_vec(&value).unwrap();
            assert_eq!(number(&parse(&json).unwrap()), Some(value));
        }
    }
}
