//! Formats on the command line.

use anyhow::{Context, Result};
use clap::builder::{PossibleValuesParser, TypedValueParser};
use ner_data::Format;
use ner_data::format::conll;
use std::path::Path;

/// Reads the name of a format.
pub fn format_name() -> impl TypedValueParser<Value = Format> {
    PossibleValuesParser::new(Format::all().map(Format::name)).try_map(|name| Format::from_name(&name).ok_or("unknown"))
}

/// Which columns of a CoNLL file are read.
#[derive(clap::Args, Clone, Copy, Debug, Default)]
pub struct Columns {
    /// Column of the words, from 0 (CoNLL) [default: 0]
    #[arg(long, value_name = "N")]
    word_column: Option<usize>,
    /// Column of the tags, from 0 (CoNLL) [default: the last]
    #[arg(long, value_name = "N")]
    tag_column: Option<usize>,
}

impl Columns {
    /// The options of a reader.
    pub fn options(self) -> conll::Options {
        let word_column = self.word_column.unwrap_or(0);
        conll::Options { word_column, tag_column: self.tag_column, ..conll::Options::default() }
    }
}

/// The format of a file or folder: the one given, or the one that it looks like.
///
/// # Errors
/// Where it cannot be read, or looks like no format or like several.
pub fn told(path: &Path, given: Option<Format>) -> Result<Format> {
    match given {
        Some(format) => Ok(format),
        None => Format::detect(path)?.with_context(|| ask(path)),
    }
}

/// What to say where a format cannot be told.
pub fn ask(path: &Path) -> String {
    let names: Vec<&str> = Format::all().map(Format::name).collect();
    format!(
        "the format of {} cannot be told from what it looks like; say --from ({})",
        path.display(),
        names.join(", ")
    )
}
