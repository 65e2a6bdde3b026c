//! Reads `metrics.jsonl` and `scores.json` as tracker values: key, step, number and time.

use chrono::DateTime;
use fs_err as fs;
use serde_json::Value;
use std::collections::HashSet;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

/// One value of a metric.
#[derive(Clone, Debug, PartialEq)]
pub struct Point {
    /// Its name: `train/loss`, `dev/f1`, `dev/type/Chemical/f1`, `test/f1`.
    pub key: String,
    /// Training step (from 1) for step metrics, otherwise the epoch (from 1).
    pub step: i64,
    /// The value; always finite.
    pub value: f64,
    /// Unix time in milliseconds, on the run's clock; see [`MetricsReader`].
    pub time_ms: i64,
    /// Whether it measures speed. A step repeated after a crash has the same loss but another speed; the speed sent
    /// first stays.
    pub is_speed: bool,
}

impl Point {
    /// The part that identifies a point at a tracker.
    pub(crate) fn identity(&self) -> Identity {
        let bits = if self.is_speed { SPEED } else { self.value.to_bits() };
        (self.key.clone(), self.step, bits)
    }
}

/// Key, step, and the bits of the value.
pub(crate) type Identity = (String, i64, u64);
/// Bit pattern that no metric value has.
const SPEED: u64 = f64::NAN.to_bits();

/// The points at a tracker.
#[derive(Debug, Default)]
pub(crate) struct Known(HashSet<Identity>);

impl Known {
    pub(crate) fn has(&self, point: &Point) -> bool {
        self.0.contains(&point.identity())
    }

    pub(crate) fn add(&mut self, point: &Point) {
        self.0.insert(point.identity());
    }

    /// Adds a value that the tracker reports.
    pub(crate) fn add_value(&mut self, key: &str, step: i64, value: f64) {
        let bits = if is_speed(key) { SPEED } else { value.to_bits() };
        self.0.insert((key.to_owned(), step, bits));
    }
}

const TRAIN_SPEED: &str = "train/tokens_per_second";

fn is_speed(key: &str) -> bool {
    key == TRAIN_SPEED
}

/// Fields of a `"kind": "step"` line that are metrics.
const STEP: [(&str, &str); 3] =
    [("train/loss", "loss"), ("train/learning_rate", "learning_rate"), ("train/gradient_norm", "gradient_norm")];
/// Groups of scores that are metrics, with the prefix of their keys.
const GROUPS: [(&str, &str); 3] = [("overall", ""), ("macro", "macro/"), ("weighted", "weighted/")];
const SCORES: [&str; 3] = ["precision", "recall", "f1"];

/// Reads the points of a run incrementally.
///
/// Times are on the run's clock: its start plus the time of its steps and evaluations. They are therefore the same at
/// every reading, and a resumed run has no gap.
#[derive(Debug)]
pub struct MetricsReader {
    folder: PathBuf,
    /// Bytes of `metrics.jsonl` read so far.
    offset: u64,
    /// Unix time in milliseconds at the end of the last line.
    clock_ms: f64,
    /// The same at the end of the last epoch.
    epoch_ms: f64,
    /// The last finished epoch.
    epochs: i64,
    /// Number of lines that are not JSON objects.
    unreadable: usize,
}

impl MetricsReader {
    /// A reader for a run started at `started_at` (RFC 3339; an invalid time counts as the Unix epoch).
    pub fn new(folder: &Path, started_at: &str) -> Self {
        let start = DateTime::parse_from_rfc3339(started_at).map_or(0, |time| time.timestamp_millis()) as f64;
        Self { folder: folder.to_owned(), offset: 0, clock_ms: start, epoch_ms: start, epochs: 0, unreadable: 0 }
    }

    /// Time of the last line: Unix time in milliseconds.
    pub fn time_ms(&self) -> i64 {
        self.clock_ms as i64
    }

    /// Number of lines that are not JSON objects. A last line without line end is excluded: it may still be written.
    pub fn unreadable(&self) -> usize {
        self.unreadable
    }

    /// The points of lines completed since the last call; empty if there is no file yet.
    ///
    /// # Errors
    /// If the file exists but cannot be read.
    pub fn read(&mut self) -> io::Result<Vec<Point>> {
        let mut file = match fs::File::open(self.folder.join("metrics.jsonl")) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            file => file?,
        };
        file.seek(SeekFrom::Start(self.offset))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        bytes.truncate(bytes.iter().rposition(|&byte| byte == b'\n').map_or(0, |end| end + 1));
        self.offset += bytes.len() as u64;
        let mut points = Vec::new();
        for line in bytes.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()) {
            match serde_json::from_slice(line) {
                Ok(Value::Object(line)) => self.add_line(&Value::Object(line), &mut points),
                _ => self.unreadable += 1,
            }
        }
        Ok(points)
    }

    /// Test scores from `scores.json`, at the last epoch; empty if the run has none yet.
    ///
    /// # Errors
    /// If the file exists but cannot be read or is not JSON.
    pub fn read_scores(&self) -> io::Result<Vec<Point>> {
        let path = self.folder.join("scores.json");
        let text = match fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            text => text?,
        };
        let scores = serde_json::from_slice::<Value>(&text)
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, format!("{}: {error}", path.display())))?;
        let mut points = Vec::new();
        self.add_scores("test", &scores["test"], self.epochs, &mut points);
        Ok(points)
    }

    fn add_line(&mut self, line: &Value, points: &mut Vec<Point>) {
        let number = |name: &str| line[name].as_f64().unwrap_or(0.0);
        let integer = |name: &str| line[name].as_i64().unwrap_or(0);
        match line["kind"].as_str() {
            Some("step") => {
                self.clock_ms += number("elapsed_ms");
                for (key, field) in STEP {
                    self.add(key.to_owned(), integer("step"), line[field].as_f64(), points);
                }
            }
            Some("epoch") => {
                self.epochs = integer("epoch");
                // Omit the steps in between.
                self.clock_ms = self.clock_ms.max(self.epoch_ms + number("train_ms")) + number("dev_ms");
                self.epoch_ms = self.clock_ms;
                self.add("train/epoch_loss".into(), self.epochs, line["loss"].as_f64(), points);
                let speed = number("tokens") / number("train_ms") * 1e3;
                self.add(TRAIN_SPEED.into(), self.epochs, Some(speed), points);
                self.add_scores("dev", &line["dev"], self.epochs, points);
            }
            // Of masked-language-model training, between steps.
            Some("measurement") => {
                self.clock_ms += number("dev_ms");
                for (key, field) in [("dev/loss", "loss"), ("dev/perplexity", "perplexity")] {
                    self.add(key.to_owned(), integer("step"), line["dev"][field].as_f64(), points);
                }
            }
            _ => {}
        }
    }

    fn add_scores(&self, split: &str, scores: &Value, step: i64, points: &mut Vec<Point>) {
        let mut groups: Vec<(String, &Value)> =
            GROUPS.iter().map(|(group, prefix)| (format!("{split}/{prefix}"), &scores[*group])).collect();
        for (name, scores) in scores["per_type"].as_object().into_iter().flatten() {
            groups.push((format!("{split}/type/{}/", encoded(name)), scores));
        }
        for (prefix, group) in groups {
            for score in SCORES {
                self.add(format!("{prefix}{score}"), step, group[score].as_f64(), points);
            }
        }
    }

    /// Adds a point, unless its value is undefined or overflowed (which JSON cannot express).
    fn add(&self, key: String, step: i64, value: Option<f64>, points: &mut Vec<Point>) {
        if let Some(value) = value.filter(|value| value.is_finite()) {
            let is_speed = is_speed(&key);
            // Adding zero turns -0 into 0, because not every database keeps the sign.
            points.push(Point { key, step, value: value + 0.0, time_ms: self.clock_ms as i64, is_speed });
        }
    }
}

/// Encodes a name as part of a key: characters that MLflow allows stay, except slashes, which separate levels; others
/// become their number, so that different names stay different.
pub(crate) fn encoded(name: &str) -> String {
    let allowed = |c: char| c.is_alphanumeric() || "_-. ".contains(c);
    // A part that consists of dots would be read as a path.
    if name.chars().all(|c| c == '.') {
        return name.chars().map(|c| format!("_{:X}_", u32::from(c))).collect();
    }
    name.chars().map(|c| if allowed(c) { c.to_string() } else { format!("_{:X}_", u32::from(c)) }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn whole_lines_become_points_once() {
        let folder = tempfile::tempdir().unwrap();
        let mut reader = MetricsReader::new(folder.path(), "1970-01-01T00:00:01Z");
        assert_eq!(reader.read().unwrap(), []);
        let mut file = fs::File::create(folder.path().join("metrics.jsonl")).unwrap();
        let step = r#"{"kind":"step","epoch":1,"step":1,"loss":0.5,"learning_rate":0.1,"gradient_norm":null,"elapsed_ms":250.0}"#;
        write!(file, "{step}\nno json\n{{\"kind\":\"epoch\",\"epoch\":1,\"loss\":0.5,").unwrap();
        let point = |key: &str, step, value, time_ms| Point {
            key: key.into(),
            step,
            value,
            time_ms,
            is_speed: key == "train/tokens_per_second",
        };
        let expected = [point("train/loss", 1, 0.5, 1250), point("train/learning_rate", 1, 0.1, 1250)];
        assert_eq!(reader.read().unwrap(), expected);
        assert_eq!((reader.read().unwrap(), reader.unreadable()), (vec![], 1));
        // An undefined score is none, and never 0.
        let scores = r#"{"overall":{"precision":null,"recall":0.25,"f1":null},"per_type":{"A/B":{"f1":1.0}}}"#;
        writeln!(file, "\"tokens\":30,\"train_ms\":300.0,\"dev_ms\":100.0,\"dev\":{scores}}}").unwrap();
        let expected = [
            point("train/epoch_loss", 1, 0.5, 1400),
            point("train/tokens_per_second", 1, 100.0, 1400),
            point("dev/recall", 1, 0.25, 1400),
            point("dev/type/A_2F_B/f1", 1, 1.0, 1400),
        ];
        assert_eq!(reader.read().unwrap(), expected);
        fs::write(folder.path().join("scores.json"), format!("{{\"test\":{scores}}}")).unwrap();
        let expected = [point("test/recall", 1, 0.25, 1400), point("test/type/A_2F_B/f1", 1, 1.0, 1400)];
        assert_eq!(reader.read_scores().unwrap(), expected);
    }

    #[test]
    fn a_step_made_again_is_the_same_point_at_another_speed() {
        let mut known = Known::default();
        known.add_value("train/loss", 1, 0.5);
        known.add_value(TRAIN_SPEED, 1, 100.0);
        let point = |key: &str, value| Point { key: key.into(), step: 1, value, time_ms: 0, is_speed: is_speed(key) };
        assert!(known.has(&point("train/loss", 0.5)) && !known.has(&point("train/loss", 0.25)));
        assert!(known.has(&point(TRAIN_SPEED, 101.0)));
    }
}
