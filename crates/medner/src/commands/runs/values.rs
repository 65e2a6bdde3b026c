//! Formatting of values for people.

use serde_json::Value;

/// Formats a value: scores in percent, revisions shortened.
pub fn shown(key: &str, value: &Value) -> String {
    let is_score = matches!(key, "dev" | "test") || (key.starts_with("scores.") && !key.ends_with(".support"));
    match value {
        Value::Null => "–".into(),
        Value::Number(number) if is_score => {
            number.as_f64().map_or_else(String::new, |score| format!("{:.2}", 100.0 * score))
        }
        Value::String(text) if key == "revision" => text.chars().take(10).collect(),
        Value::String(text) => text.clone(),
        value => value.to_string(),
    }
}

/// `1 run`, `2 runs`.
pub fn count(runs: usize) -> String {
    if runs == 1 { "1 run".into() } else { format!("{runs} runs") }
}
