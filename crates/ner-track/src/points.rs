//! `metrics.jsonl` and `scores.json` as the values that trackers know: a key, a step, a number and a time.

use chrono::DateTime;
use fs_err as fs;
use serde_json::Value;
use std::collections::HashSet;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

/// One value of one metric.
#[derive(Clone, Debug, PartialEq)]
pub struct Point {
    /// Its name: `train/loss`, `dev/f1`, `dev/type/Chemical/f1`, `test/f1`.
    pub key: String,
    /// Step of the training (from 1) where the key is of a step, else the epoch (from 1).
    pub step: i64,
    /// The number; always finite.
    pub value: f64,
    /// Unix time in milliseconds, on the clock of the run; see [`MetricsReader`].
    pub time_ms: i64,
    /// Whether it measures time. A step that is made again after a crash has the same loss and another speed, and the
    /// speed that was sent first stays.
    pub is_speed: bool,
}

impl Point {
    /// What two points have in common that are the same to a tracker.
    pub(crate) fn identity(&self) -> Identity {
        let bits = if self.is_speed { SPEED } else { self.value.to_bits() };
        (self.key.clone(), self.step, bits)
    }
}

/// Key, step, and the bits of the value.
pub(crate) type Identity = (String, i64, u64);
/// The bits of a number that is no value of a metric.
const SPEED: u64 = f64::NAN.to_bits();

/// The points that a tracker has.
#[derive(Debug, Default)]
pub(crate) struct Known(HashSet<Identity>);

impl Known {
    pub(crate) fn has(&self, point: &Point) -> bool {
        self.0.contains(&point.identity())
    }

    pub(crate) fn add(&mut self, point: &Point) {
        self.0.insert(point.identity());
    }

    /// Adds what a tracker says that it has.
    pub(crate) fn add_value(&mut self, key: &str, step: i64, value: f64) {
        let bits = if is_speed(key) { SPEED } else { value.to_bits() };
        self.0.insert((key.to_owned(), step, bits));
    }
}

const TRAIN_SPEED: &str = "train/tokens_per_second";

fn is_speed(key: &str) -> bool {
    key == TRAIN_SPEED
}

/// Metrics of a line of `"kind": "step"`, with their fields.
const STEP: [(&str, &str); 3] =
    [("train/loss", "loss"), ("train/learning_rate", "learning_rate"), ("train/gradient_norm", "gradient_norm")];
/// Groups of scores that are metrics, with what stands before the score's name.
const GROUPS: [(&str, &str); 3] = [("overall", ""), ("macro", "macro/"), ("weighted", "weighted/")];
const SCORES: [&str; 3] = ["precision", "recall", "f1"];

/// Reads the points of a run, those that were added since the last call.
///
/// Their times are on the clock of the run: the moment at which it started and the time that its steps and evaluations
/// took since, so that they are the same whenever they are read. A run that was resumed has no gap on that clock.
#[derive(Debug)]
pub struct MetricsReader {
    folder: PathBuf,
    /// Bytes of `metrics.jsonl` that were read.
    offset: u64,
    /// Unix time in milliseconds at the end of the last line.
    clock_ms: f64,
    /// The same at the end of the last epoch.
    epoch_ms: f64,
    /// The last epoch that ended.
    epochs: i64,
    /// Lines that are no JSON object.
    unreadable: usize,
}

impl MetricsReader {
    /// A reader at the start of a run that began at `started_at` (RFC 3339; the epoch of Unix where it is no time).
    pub fn new(folder: &Path, started_at: &str) -> Self {
        let start = DateTime::parse_from_rfc3339(started_at).map_or(0, |time| time.timestamp_millis()) as f64;
        Self { folder: folder.to_owned(), offset: 0, clock_ms: start, epoch_ms: start, epochs: 0, unreadable: 0 }
    }

    /// The time of the last line, Unix, in milliseconds.
    pub fn time_ms(&self) -> i64 {
        self.clock_ms as i64
    }

    /// Lines so far that are no JSON object; a line without an end is not counted, since it may be in the writing.
    pub fn unreadable(&self) -> usize {
        self.unreadable
    }

    /// The points of the lines that were completed since the last call; none where there is no file yet.
    ///
    /// # Errors
    /// Where the file is there and cannot be read.
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

    /// The test scores in `scores.json`, at the last epoch; none where the run has not got so far.
    ///
    /// # Errors
    /// Where the file is there and cannot be read or is no JSON.
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
                // Steps leave out what lies between them.
                self.clock_ms = self.clock_ms.max(self.epoch_ms + number("train_ms")) + number("dev_ms");
                self.epoch_ms = self.clock_ms;
                self.add("train/epoch_loss".into(), self.epochs, line["loss"].as_f64(), points);
                let speed = number("tokens") / number("train_ms") * 1e3;
                self.add(TRAIN_SPEED.into(), self.epochs, Some(speed), points);
                self.add_scores("dev", &line["dev"], self.epochs, points);
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

    /// Adds a point. What is undefined is no point, and neither is what overflowed, which JSON cannot say.
    fn add(&self, key: String, step: i64, value: Option<f64>, points: &mut Vec<Point>) {
        if let Some(value) = value.filter(|value| value.is_finite()) {
            let is_speed = is_speed(&key);
            // Adding zero makes -0 a 0; not every database keeps the sign.
            points.push(Point { key, step, value: value + 0.0, time_ms: self.clock_ms as i64, is_speed });
        }
    }
}

/// A name as a part of a key: what MLflow allows in keys stays as it is (but slashes, which divide them), each other
/// character becomes its number, so that two names never meet.
pub(crate) fn encoded(name: &str) -> String {
    let allowed = |c: char| c.is_alphanumeric() || "_-. ".contains(c);
    // A part of dots alone would be read as a path.
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
