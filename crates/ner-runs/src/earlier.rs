//! Converts records of earlier versions.

use serde_json::Value;

/// Former values of `device` and `compute`, before they got the names of the options.
const NAMES: [(&str, &str); 4] = [("Cpu", "cpu"), ("Float", "fp32"), ("BFloat16", "bf16"), ("Half", "fp16")];

/// The record with current names.
pub(crate) fn modernised(mut record: Value) -> Value {
    for key in ["device", "compute"] {
        if let Some(Value::String(value)) = record.get_mut(key) {
            *value = modern_name(value);
        }
    }
    record
}

/// Current name of a device or a precision.
pub fn modern_name(value: &str) -> String {
    let cuda = value.strip_prefix("Cuda(").and_then(|rest| rest.strip_suffix(')'));
    match (cuda, NAMES.iter().find(|(earlier, _)| *earlier == value)) {
        (Some(number), _) => format!("cuda:{number}"),
        (None, Some((_, today))) => (*today).to_owned(),
        (None, None) => value.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn names_of_earlier_versions_are_read_as_todays() {
        let record = |device: &str, compute: &str| json!({ "device": device, "compute": compute, "run": "Cpu" });
        assert_eq!(modernised(record("Cpu", "BFloat16")), record("cpu", "bf16"));
        assert_eq!(modernised(record("Cuda(1)", "Half")), record("cuda:1", "fp16"));
        assert_eq!(modernised(record("cpu", "fp32")), record("cpu", "fp32"));
    }
}
