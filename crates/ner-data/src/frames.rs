//! Documents and mentions as data frames, for whoever wants to look at a corpus with other tools.
//!
//! The frames hold the text of the corpus and belong beside it, under the same terms. Offsets count Unicode characters
//! and are half-open.

use crate::new_file::NewFile;
use crate::{Document, dataset::Split};
use fs_err as fs;
use polars::prelude::{Column, DataFrame, NamedFrom, ParquetReader, ParquetWriter, PolarsError, SerReader, Series};
use std::io;
use std::path::{Path, PathBuf};

/// Why a frame cannot be made, written or read.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// polars failed.
    #[error("{}", path.display())]
    Parquet {
        /// The file.
        path: PathBuf,
        /// What polars says.
        source: PolarsError,
    },
    /// A file cannot be read or written.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// One row a document: `split`, `id`, `characters`, `words` (null where the corpus comes without), `mentions`, `text`.
///
/// # Errors
/// None is known; polars has one for columns of different lengths.
pub fn documents<'d>(splits: impl IntoIterator<Item = (Split, &'d [Document])>) -> Result<DataFrame, PolarsError> {
    let rows: Vec<(Split, &Document)> =
        splits.into_iter().flat_map(|(split, documents)| documents.iter().map(move |d| (split, d))).collect();
    DataFrame::new(vec![
        strings("split", rows.iter().map(|(split, _)| Some(split.name()))),
        strings("id", rows.iter().map(|(_, document)| Some(document.id.as_str()))),
        numbers("characters", rows.iter().map(|(_, document)| Some(document.text.chars().count()))),
        numbers("words", rows.iter().map(|(_, d)| (!d.words.is_empty()).then_some(d.words.len()))),
        numbers("mentions", rows.iter().map(|(_, document)| Some(document.mentions.len()))),
        strings("text", rows.iter().map(|(_, document)| Some(document.text.as_str()))),
    ])
}

/// One row a mention: `split`, `document`, `start`, `end`, `entity_type`, `text`, `concept_ids` (joined by `|`, null
/// where there is none), `fragments` (`10..15;20..25` for a discontinuous mention, else null).
///
/// # Errors
/// None is known; polars has one for columns of different lengths.
pub fn mentions<'d>(splits: impl IntoIterator<Item = (Split, &'d [Document])>) -> Result<DataFrame, PolarsError> {
    let mut columns = MentionColumns::default();
    for (split, documents) in splits {
        for document in documents {
            let index = document.char_index();
            for mention in &document.mentions {
                let span = mention.span();
                let slice = |span| index.slice(&document.text, span).unwrap_or_default();
                let texts: Vec<&str> = mention.fragments.iter().map(|&fragment| slice(fragment)).collect();
                let spans: Vec<String> = mention.fragments.iter().map(ToString::to_string).collect();
                columns.split.push(split.name());
                columns.document.push(&document.id);
                columns.start.push(span.start);
                columns.end.push(span.end);
                columns.entity_type.push(&mention.entity_type);
                columns.text.push(texts.join(" "));
                columns.concept_ids.push((!mention.concept_ids.is_empty()).then(|| mention.concept_ids.join("|")));
                columns.fragments.push(mention.is_discontinuous().then(|| spans.join(";")));
            }
        }
    }
    DataFrame::new(vec![
        strings("split", columns.split.into_iter().map(Some)),
        strings("document", columns.document.into_iter().map(Some)),
        numbers("start", columns.start.into_iter().map(Some)),
        numbers("end", columns.end.into_iter().map(Some)),
        strings("entity_type", columns.entity_type.into_iter().map(Some)),
        strings("text", columns.text.iter().map(|text| Some(text.as_str()))),
        strings("concept_ids", columns.concept_ids.iter().map(Option::as_deref)),
        strings("fragments", columns.fragments.iter().map(Option::as_deref)),
    ])
}

#[derive(Default)]
struct MentionColumns<'d> {
    split: Vec<&'static str>,
    document: Vec<&'d str>,
    start: Vec<usize>,
    end: Vec<usize>,
    entity_type: Vec<&'d str>,
    text: Vec<String>,
    concept_ids: Vec<Option<String>>,
    fragments: Vec<Option<String>>,
}

fn strings<'s>(name: &str, values: impl Iterator<Item = Option<&'s str>>) -> Column {
    Series::new(name.into(), values.collect::<Vec<_>>()).into()
}

fn numbers(name: &str, values: impl Iterator<Item = Option<usize>>) -> Column {
    Series::new(name.into(), values.map(|value| value.map(|value| value as u64)).collect::<Vec<_>>()).into()
}

/// Writes a frame as Parquet. The file appears whole, by a rename, or not at all.
///
/// # Errors
/// Where it cannot be written.
pub fn write(path: &Path, frame: &mut DataFrame) -> Result<(), FrameError> {
    let mut file = NewFile::create(path)?;
    let fault = |source| FrameError::Parquet { path: path.into(), source };
    ParquetWriter::new(&mut file).finish(frame).map_err(fault)?;
    file.finish()?;
    Ok(())
}

/// Reads what [`write`] wrote.
///
/// # Errors
/// Where it cannot be read.
pub fn read(path: &Path) -> Result<DataFrame, FrameError> {
    let file = fs::File::open(path)?.into_parts().0;
    ParquetReader::new(file).finish().map_err(|source| FrameError::Parquet { path: path.into(), source })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Mention, Span};

    #[test]
    fn frames_are_read_back_as_they_were_written() {
        let fragments = vec![Span::new(0, 2), Span::new(3, 4)];
        let plain =
            Mention { concept_ids: vec!["D1".into(), "D2".into()], ..Mention::new(Span::new(3, 4), "Chemical") };
        let apart = Mention { fragments, ..Mention::new(Span::new(0, 4), "Disease") };
        let german = Document { mentions: vec![plain, apart], ..Document::new("7", "äb c") };
        let tagged = Document { words: vec![Span::new(0, 1)], ..Document::new("8", "x") };
        let (train, test) = ([german], [tagged]);
        let splits = || [(Split::Train, train.as_slice()), (Split::Test, test.as_slice())];

        let folder = tempfile::tempdir().expect("a folder");
        for (name, frame) in [("documents", documents(splits())), ("mentions", mentions(splits()))] {
            let mut frame = frame.expect("columns of one length");
            let path = folder.path().join("frames").join(format!("{name}.parquet"));
            write(&path, &mut frame).expect("written");
            write(&path, &mut frame).expect("written over");
            let back = read(&path).expect("read");
            assert!(back.equals_missing(&frame), "{back} and not {frame}");
            assert_eq!(frame.height(), 2, "{name}");
        }
        let names = std::fs::read_dir(folder.path().join("frames")).expect("a folder").count();
        assert_eq!(names, 2, "nothing is left behind");

        let mentions = mentions(splits()).expect("columns of one length");
        let cell =
            |column: &str, row: usize| mentions.column(column).expect("a column").get(row).expect("a row").to_string();
        assert_eq!((cell("text", 0), cell("concept_ids", 0)), ("\"c\"".into(), "\"D1|D2\"".into()));
        assert_eq!((cell("text", 1), cell("fragments", 1)), ("\"äb c\"".into(), "\"0..2;3..4\"".into()));
        assert_eq!(cell("concept_ids", 1), "null");
    }
}
