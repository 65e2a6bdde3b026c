//! Responses to annotation requests.

use crate::problem::{Kind, Problem};
use crate::request::{ModelFacts, Wishes};
use ner_annotate::{MergedMention, Offsets, WireMention, wire_mentions};
use ner_data::format::Output;
use ner_data::{Document, Format, FormatOptions};
use serde::Serialize;
use std::io;

/// A response body with its metadata.
#[derive(Debug)]
pub struct Answer {
    /// Bytes to send.
    pub body: Vec<u8>,
    /// Media type.
    pub media_type: &'static str,
    /// Number of mentions and document parts that the format cannot express or had to move.
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
    mentions: Vec<WireMention<'a>>,
}

impl Answer {
    /// Writes the mentions found in a request's documents.
    ///
    /// # Errors
    /// A server error.
    pub fn write(
        wishes: &Wishes,
        models: &[ModelFacts],
        found: Vec<(Document, Vec<MergedMention>)>,
    ) -> Result<Self, Problem> {
        let chosen: Vec<(Document, Vec<MergedMention>)> =
            found.into_iter().map(|(document, mentions)| (document, wishes.choose(mentions))).collect();
        let written = match wishes.format {
            Some(format) => Self::in_format(format, chosen),
            None => Self::json(wishes, models, &chosen),
        };
        written.map_err(|_| Problem::new(Kind::Internal, "the response could not be written"))
    }

    fn json(wishes: &Wishes, models: &[ModelFacts], found: &[(Document, Vec<MergedMention>)]) -> io::Result<Self> {
        let written = Written {
            models: wishes.models.iter().map(|&at| models[at].name.as_str()).collect(),
            offsets: wishes.offsets,
            documents: found
                .iter()
                .map(|(document, mentions)| {
                    let mentions = wire_mentions(document, mentions, wishes.offsets);
                    Ok(WrittenDocument { id: &document.id, mentions: mentions.ok_or(io::ErrorKind::InvalidData)? })
                })
                .collect::<io::Result<_>>()?,
        };
        Ok(Self { body: serde_json::to_vec(&written)?, media_type: "application/json", lost_or_moved: 0 })
    }

    fn in_format(format: Format, found: Vec<(Document, Vec<MergedMention>)>) -> io::Result<Self> {
        let mut body = Vec::new();
        let mut writer = format.create_output(Output::Open(Box::new(&mut body)), &FormatOptions::default())?;
        for (document, merged) in found {
            let mentions = merged.iter().map(MergedMention::to_mention).collect();
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
