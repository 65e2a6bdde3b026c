//! TensorBoard event files.
//!
//! The file is a function of the run folder: two records from `run.json`, then one per point. Appending and rewriting
//! are therefore the same operation: keep the leading records that are correct, and write the rest. A resumed run has
//! no duplicates, and a record truncated by a crash is replaced.
//!
//! Framing as in TFRecord (<https://www.tensorflow.org/tutorials/load_data/tfrecord>): length as u64, masked CRC-32C of
//! the length, data, masked CRC-32C of the data, little endian. The data is an `Event` message of
//! `tensorflow/core/util/event.proto`; only the used fields are declared here.

use crate::Tracker;
use crate::error::Failure;
use crate::points::{MetricsReader, Point, encoded};
use crate::record::{Claim, State};
use crc::{CRC_32_ISCSI, Crc};
use fs_err as fs;
use ner_runs::flatten;
use prost::Message;
use serde_json::Value;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::PathBuf;

#[derive(Clone, PartialEq, Message)]
struct Event {
    /// Unix time in seconds.
    #[prost(double, tag = "1")]
    wall_time: f64,
    #[prost(int64, tag = "2")]
    step: i64,
    #[prost(oneof = "What", tags = "3, 5")]
    what: Option<What>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum What {
    #[prost(string, tag = "3")]
    FileVersion(String),
    #[prost(message, tag = "5")]
    Summary(Summary),
}

#[derive(Clone, PartialEq, Message)]
struct Summary {
    #[prost(message, repeated, tag = "1")]
    value: Vec<SummaryValue>,
}

#[derive(Clone, PartialEq, Message)]
struct SummaryValue {
    #[prost(string, tag = "1")]
    tag: String,
    #[prost(oneof = "Content", tags = "2, 8")]
    content: Option<Content>,
    #[prost(message, optional, tag = "9")]
    metadata: Option<Metadata>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum Content {
    #[prost(float, tag = "2")]
    SimpleValue(f32),
    #[prost(message, tag = "8")]
    Tensor(TextTensor),
}

#[derive(Clone, PartialEq, Message)]
struct Metadata {
    #[prost(message, optional, tag = "1")]
    plugin_data: Option<PluginData>,
}

#[derive(Clone, PartialEq, Message)]
struct PluginData {
    #[prost(string, tag = "1")]
    plugin_name: String,
}

/// A `TensorProto` of strings.
#[derive(Clone, PartialEq, Message)]
struct TextTensor {
    #[prost(int32, tag = "1")]
    dtype: i32,
    #[prost(message, optional, tag = "2")]
    shape: Option<Shape>,
    #[prost(bytes = "vec", repeated, tag = "8")]
    string_val: Vec<Vec<u8>>,
}

#[derive(Clone, PartialEq, Message)]
struct Shape {
    #[prost(message, repeated, tag = "2")]
    dim: Vec<Dimension>,
}

#[derive(Clone, PartialEq, Message)]
struct Dimension {
    #[prost(int64, tag = "1")]
    size: i64,
}

const DT_STRING: i32 = 7;

impl Event {
    fn new(time_ms: i64, step: i64, what: What) -> Self {
        Self { wall_time: time_ms as f64 / 1e3, step, what: Some(what) }
    }

    fn scalar(point: &Point) -> Self {
        let content = Some(Content::SimpleValue(point.value as f32));
        let value = SummaryValue { tag: point.key.clone(), content, metadata: None };
        Self::new(point.time_ms, point.step, What::Summary(Summary { value: vec![value] }))
    }

    /// A Markdown text for the text plugin.
    fn text(time_ms: i64, tag: &str, text: String) -> Self {
        let shape = Some(Shape { dim: vec![Dimension { size: 1 }] });
        let tensor = TextTensor { dtype: DT_STRING, shape, string_val: vec![text.into_bytes()] };
        let metadata = Some(Metadata { plugin_data: Some(PluginData { plugin_name: "text".into() }) });
        let value = SummaryValue { tag: tag.to_owned(), content: Some(Content::Tensor(tensor)), metadata };
        Self::new(time_ms, 0, What::Summary(Summary { value: vec![value] }))
    }

    /// Appends the event's record.
    fn write(&self, bytes: &mut Vec<u8>) {
        let data = self.encode_to_vec();
        let length = (data.len() as u64).to_le_bytes();
        bytes.extend(length);
        bytes.extend(masked_crc(&length).to_le_bytes());
        bytes.extend(&data);
        bytes.extend(masked_crc(&data).to_le_bytes());
    }
}

const HEADER: usize = 12;
const FOOTER: usize = 4;

fn masked_crc(bytes: &[u8]) -> u32 {
    const CASTAGNOLI: Crc<u32> = Crc::<u32>::new(&CRC_32_ISCSI);
    CASTAGNOLI.checksum(bytes).rotate_right(15).wrapping_add(0xa282_ead8)
}

/// Event files in `tensorboard/` of the run folder.
pub(crate) struct Tensorboard {
    claim: Claim,
    path: PathBuf,
    /// The open file and its metrics reader; `None` before the first update and after a failed one.
    open: Option<(fs::File, MetricsReader)>,
}

impl Tensorboard {
    pub(crate) fn new(claim: Claim) -> Self {
        let path = claim.run().path().join("tensorboard");
        Self { claim, path, open: None }
    }

    fn write(&mut self, state: State) -> Result<bool, Failure> {
        let (mut file, mut reader, mut bytes) = match self.open.take() {
            Some((file, reader)) => (file, reader, Vec::new()),
            None => {
                let record: Value = self.claim.run().read_run()?;
                let reader = MetricsReader::new(self.claim.run().path(), record["started_at"].as_str().unwrap_or(""));
                let mut bytes = Vec::new();
                Event::new(reader.time_ms(), 0, What::FileVersion("brain.Event:2".into())).write(&mut bytes);
                Event::text(reader.time_ms(), "configuration", table(&record["plan"])).write(&mut bytes);
                fs::create_dir_all(&self.path)?;
                let name = format!("events.out.tfevents.{}.medner", reader.time_ms() / 1000);
                let path = self.path.join(name);
                let file = fs::OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
                (file, reader, bytes)
            }
        };
        for point in reader.read()? {
            Event::scalar(&point).write(&mut bytes);
        }
        if state != State::Running {
            for point in reader.read_scores()? {
                Event::scalar(&point).write(&mut bytes);
            }
        }
        let position = file.stream_position()?;
        let mut there = Vec::new();
        file.read_to_end(&mut there)?;
        let kept = common_records(&there, &bytes);
        if kept < there.len() {
            file.set_len(position + kept as u64)?;
        }
        file.seek(SeekFrom::Start(position + kept as u64))?;
        file.write_all(&bytes[kept..])?;
        if state != State::Running {
            file.sync_all()?;
        }
        self.open = Some((file, reader));
        Ok(kept < there.len().max(bytes.len()))
    }
}

impl Tracker for Tensorboard {
    fn name(&self) -> String {
        format!("TensorBoard's file in {}", self.path.display())
    }

    fn update(&mut self, state: State) -> Result<bool, Failure> {
        self.write(state)
    }
}

/// Length of the leading records that both have in common.
fn common_records(there: &[u8], wanted: &[u8]) -> usize {
    let mut end = 0;
    while let Some(length) = wanted.get(end..end + 8).and_then(|length| length.try_into().ok()) {
        let next = end + HEADER + u64::from_le_bytes(length) as usize + FOOTER;
        if there.get(end..next) != wanted.get(end..next) {
            break;
        }
        end = next;
    }
    end
}

/// A Markdown table of all values.
fn table(value: &Value) -> String {
    let mut table = "| key | value |\n|---|---|\n".to_owned();
    for (key, value) in flatten(value) {
        let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned).replace('|', "\\|");
        table += &format!("| {} | {value} |\n", encoded(&key));
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// Reads TFRecord records and checks both checksums.
    fn events(mut bytes: &[u8]) -> Vec<Event> {
        let mut events = Vec::new();
        while !bytes.is_empty() {
            let crc = |bytes: &[u8]| u32::from_le_bytes(bytes.try_into().unwrap());
            let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
            assert_eq!(crc(&bytes[8..HEADER]), masked_crc(&bytes[..8]));
            let data = &bytes[HEADER..HEADER + length];
            assert_eq!(crc(&bytes[HEADER + length..][..FOOTER]), masked_crc(data));
            events.push(Event::decode(data).unwrap());
            bytes = &bytes[HEADER + length + FOOTER..];
        }
        events
    }

    #[test]
    fn checksums_are_masked_crc32c() {
        // RFC 3720, appendix B.4: 32 zero bytes have the CRC-32C 0x8a9136aa; masked as in TFRecord.
        let crc: u32 = 0x8a91_36aa;
        let masked = crc.rotate_right(15).wrapping_add(0xa282_ead8);
        assert_eq!(masked_crc(&[0; 32]), masked);
    }

    #[test]
    fn records_are_those_that_tensorboard_writes() {
        // Written by `tensorboard` 2.21.0, see scripts/check_trackers.py --golden.
        let golden: String = include_str!("../tests/golden/events.hex").split_whitespace().collect();
        let mut bytes = Vec::new();
        Event::new(1_500_000_000_250, 0, What::FileVersion("brain.Event:2".into())).write(&mut bytes);
        Event::text(1_500_000_000_250, "configuration", "| a |".into()).write(&mut bytes);
        let point =
            Point { key: "train/loss".into(), step: 300, value: 0.1, time_ms: 1_500_000_001_500, is_speed: false };
        Event::scalar(&point).write(&mut bytes);
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, golden);
    }

    #[test]
    fn a_file_goes_on_where_it_is_right() {
        let folder = tempfile::tempdir().unwrap();
        let run = ner_runs::RunFolder::at(folder.path());
        run.write_run(&json!({"started_at": "2026-01-02T03:04:05Z", "plan": {"dataset": "d|e"}})).unwrap();
        let mut log = run.metrics_after(0).unwrap();
        let line = |step: u32, elapsed: f64| json!({"epoch": step, "step": step, "loss": 0.25, "elapsed_ms": elapsed});
        log.append("step", &line(1, 10.0)).unwrap();
        let update = |state| {
            let claim = Claim::take(folder.path()).unwrap().unwrap();
            Tensorboard::new(claim).update(state).unwrap();
        };
        update(State::Running);
        let path = folder.path().join("tensorboard/events.out.tfevents.1767323045.medner");
        let first = fs::read(&path).unwrap();
        assert_eq!(events(&first).len(), 3);
        // Repeating changes nothing.
        update(State::Running);
        assert_eq!(fs::read(&path).unwrap(), first);
        // Truncated by a crash, with a step that the resumed run repeated more slowly.
        log.append("step", &line(2, 10.0)).unwrap();
        update(State::Running);
        fs::OpenOptions::new().append(true).open(&path).unwrap().write_all(b"half a record").unwrap();
        let mut log = run.metrics_after(1).unwrap();
        log.append("step", &line(2, 30.0)).unwrap();
        run.write_json("scores.json", &json!({"test": {"overall": {"f1": 0.5}}})).unwrap();
        update(State::Finished);
        let bytes = fs::read(&path).unwrap();
        assert!(bytes.starts_with(&first));
        let seen: Vec<(i64, f64)> = events(&bytes)[2..].iter().map(|event| (event.step, event.wall_time)).collect();
        let start = 1_767_323_045.0;
        assert_eq!(seen, [(1, start + 0.01), (2, start + 0.04), (0, start + 0.04)]);
    }
}
