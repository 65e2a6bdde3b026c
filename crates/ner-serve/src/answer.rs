//! What a client is answered.

use crate::problem::{Kind, Problem};
use crate::request::{ModelFacts, Offsets, Wishes};
use ner_annotate::Finding;
use ner_data::format::Output;
use ner_data::{Document, Format, FormatOptions};
use serde::Serialize;
use std::io;

/// The body of an answer, and what has to be said about it.
#[derive(Debug)]
pub struct Answer {
    /// As it is sent.
    pub body: Vec<u8>,
    /// Media type.
    pub media_type: &'static str,
    /// Mentions and parts of documents that the format could not say, or not where they stood.
    pub lost_or_moved: usize,
}

#[derive(Serialize)]
struct Written<'a> {
    models: Vec<&'a str>,
    offsets: Offsets,
    documents: Vec<WrittenDocument<'a>>,
}

#[derive(Serialize)]
struct WrittenDocument<'a> {
    id: &'a str,
    mentions: Vec<WrittenMention<'a>>,
}

#[derive(Serialize)]
struct WrittenMention<'a> {
    start: usize,
    end: usize,
    text: &'a str,
    #[serde(rename = "type")]
    entity_type: &'a str,
    category: Option<&'a str>,
    confidence: f32,
    models: &'a [String],
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    below_threshold: bool,
}

impl Answer {
    /// Writes what was found in the documents of a request.
    ///
    /// # Errors
    /// A fault of the server.
    pub fn write(
        wishes: &Wishes,
        models: &[ModelFacts],
        found: Vec<(Document, Vec<Finding>)>,
    ) -> Result<Self, Problem> {
        let chosen: Vec<(Document, Vec<Finding>)> =
            found.into_iter().map(|(document, findings)| (document, wishes.choose(findings))).collect();
        let written = match wishes.format {
            Some(format) => Self::in_format(format, chosen),
            None => Self::json(wishes, models, &chosen),
        };
        written.map_err(|_| Problem::new(Kind::Internal, "the answer cannot be written"))
    }

    fn json(wishes: &Wishes, models: &[ModelFacts], found: &[(Document, Vec<Finding>)]) -> io::Result<Self> {
        let written = Written {
            models: wishes.models.iter().map(|&at| models[at].name.as_str()).collect(),
            offsets: wishes.offsets,
            documents: found
                .iter()
                .map(|(document, findings)| written(document, findings, wishes.offsets))
                .collect::<io::Result<_>>()?,
        };
        Ok(Self { body: serde_json::to_vec(&written)?, media_type: "application/json", lost_or_moved: 0 })
    }

    fn in_format(format: Format, found: Vec<(Document, Vec<Finding>)>) -> io::Result<Self> {
        let mut body = Vec::new();
        let mut writer = format.create_output(Output::Open(Box::new(&mut body)), &FormatOptions::default())?;
        for (document, findings) in found {
            let mentions = findings.iter().map(Finding::to_mention).collect();
            writer.write(&Document { mentions, ..document })?;
        }
        let losses = writer.finish()?;
        let lost_or_moved = losses.items.values().map(|tally| tally.moved + tally.lost).sum();
        let media_type = match format {
            Format::BiocXml => "application/xml",
            Format::BiocJson => "application/json",
            Format::Jsonl => "application/jsonl",
            Format::Pubtator | Format::Conll | Format::Brat | Format::I2b2 => "text/plain; charset=utf-8",
        };
        Ok(Self { body, media_type, lost_or_moved })
    }
}

fn written<'a>(document: &'a Document, findings: &'a [Finding], offsets: Offsets) -> io::Result<WrittenDocument<'a>> {
    let index = document.char_index();
    let mention = |finding: &'a Finding| -> io::Result<WrittenMention<'a>> {
        let bytes = index.bytes(finding.span).ok_or(io::ErrorKind::InvalidData)?;
        let (start, end) = match offsets {
            Offsets::Chars => (finding.span.start, finding.span.end),
            Offsets::Bytes => (bytes.start, bytes.end),
        };
        Ok(WrittenMention {
            start,
            end,
            text: &document.text[bytes],
            entity_type: &finding.entity_type,
            category: finding.category.as_deref(),
            confidence: finding.confidence.value(),
            models: &finding.models,
            below_threshold: finding.below_threshold,
        })
    };
    Ok(WrittenDocument { id: &document.id, mentions: findings.iter().map(mention).collect::<io::Result<_>>()? })
}
