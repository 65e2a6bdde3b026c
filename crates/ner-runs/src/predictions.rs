//! Gold and predicted mentions of a split, without text: enough to score, compare and report on a run without its
//! corpus.

use crate::{RunFolder, RunsError};
use fs_err as fs;
use ner_document::{Confidence, Document, Mention, Span};
use serde::{Deserialize, Serialize};
use std::io::{BufRead, BufReader};
use std::path::Path;

/// One line of `predictions/SPLIT.jsonl`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PredictedDocument {
    /// Document id.
    pub id: String,
    /// Length of its text in characters (Unicode scalar values).
    pub length: usize,
    /// Gold mentions, with labels mapped.
    pub gold: Vec<SpanRecord>,
    /// Predicted mentions.
    pub predicted: Vec<SpanRecord>,
}

/// A mention as span and type.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SpanRecord {
    /// First character.
    pub start: usize,
    /// Character after the last.
    pub end: usize,
    /// Entity type.
    #[serde(rename = "type")]
    pub entity_type: String,
    /// The fragments `[start, end]` of a discontinuous mention; empty for others.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fragments: Vec<[usize; 2]>,
    /// Confidence of the model; `None` for gold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confidence: Option<Confidence>,
}

impl From<&Mention> for SpanRecord {
    fn from(mention: &Mention) -> Self {
        let Span { start, end } = mention.span();
        let parts = mention.fragments.iter().filter(|_| mention.is_discontinuous());
        Self {
            start,
            end,
            entity_type: mention.entity_type.clone(),
            fragments: parts.map(|part| [part.start, part.end]).collect(),
            confidence: mention.confidence,
        }
    }
}

impl From<&SpanRecord> for Mention {
    fn from(record: &SpanRecord) -> Self {
        let span = Span { start: record.start, end: record.end };
        let mut mention = Self { confidence: record.confidence, ..Self::new(span, record.entity_type.as_str()) };
        if !record.fragments.is_empty() {
            mention.fragments = record.fragments.iter().map(|&[start, end]| Span { start, end }).collect();
        }
        mention
    }
}

impl PredictedDocument {
    /// Combines the `gold` and `predicted` mentions of one document.
    pub fn new(gold: &Document, predicted: &Document) -> Self {
        Self {
            id: gold.id.clone(),
            length: gold.text.chars().count(),
            gold: gold.mentions.iter().map(SpanRecord::from).collect(),
            predicted: predicted.mentions.iter().map(SpanRecord::from).collect(),
        }
    }
}

/// Writes `predictions/SPLIT.jsonl` of a run, atomically.
///
/// # Errors
/// If it cannot be written.
pub fn write_predictions(folder: &RunFolder, split: &str, documents: &[PredictedDocument]) -> Result<(), RunsError> {
    let mut text = Vec::new();
    for document in documents {
        serde_json::to_writer(&mut text, document).map_err(std::io::Error::from)?;
        text.push(b'\n');
    }
    Ok(folder.write(&name(split), &text)?)
}

/// Reads `predictions/SPLIT.jsonl` of a run; `None` if it is missing (an unfinished run, or one of an earlier version).
///
/// # Errors
/// If it exists but cannot be read.
pub fn read_predictions(folder: &Path, split: &str) -> Result<Option<Vec<PredictedDocument>>, RunsError> {
    let path = folder.join(name(split));
    if !path.exists() {
        return Ok(None);
    }
    let mut documents = Vec::new();
    for (at, line) in BufReader::new(fs::File::open(&path)?).lines().enumerate() {
        let fault = |error: serde_json::Error| RunsError::Predictions {
            path: path.clone(),
            line: at + 1,
            message: error.to_string(),
        };
        documents.push(serde_json::from_str(&line?).map_err(fault)?);
    }
    Ok(Some(documents))
}

fn name(split: &str) -> String {
    format!("predictions/{split}.jsonl")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn predictions_read_back_and_hold_no_text() {
        let runs = tempfile::tempdir().unwrap();
        let folder = RunFolder::create(runs.path(), "d", 1).unwrap();
        let mut gold = Document::new("7", "Aspirin for fébrile fits");
        gold.mentions =
            vec![Mention::new(Span { start: 0, end: 7 }, "Drug"), Mention::new(Span { start: 12, end: 24 }, "Sign")];
        gold.mentions[1].fragments = vec![Span { start: 12, end: 15 }, Span { start: 20, end: 24 }];
        let predicted = Document { mentions: vec![gold.mentions[0].clone()], ..gold.clone() };
        let documents = [PredictedDocument::new(&gold, &predicted)];
        write_predictions(&folder, "dev", &documents).unwrap();
        let back = read_predictions(folder.path(), "dev").unwrap().unwrap();
        assert_eq!(back, documents);
        assert_eq!(back[0].gold.iter().map(Mention::from).collect::<Vec<_>>(), gold.mentions);
        let text = fs::read_to_string(folder.path().join(name("dev"))).unwrap();
        assert_eq!(
            text,
            "{\"id\":\"7\",\"length\":24,\"gold\":[{\"start\":0,\"end\":7,\"type\":\"Drug\"},{\"start\":12,\"end\":24,\
             \"type\":\"Sign\",\"fragments\":[[12,15],[20,24]]}],\"predicted\":[{\"start\":0,\"end\":7,\"type\":\"Drug\"}]}\n"
        );
        assert_eq!(read_predictions(folder.path(), "test").unwrap(), None);
        folder.write(&name("test"), b"{}\n").unwrap();
        assert!(
            read_predictions(folder.path(), "test").unwrap_err().to_string().contains("test.jsonl:1: missing field")
        );
    }
}
