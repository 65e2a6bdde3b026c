//! Annotates for another program over a pair of pipes: tables of texts in, tables of mentions out.
//!
//! Both directions are frames: eight bytes with the length of the rest (little-endian), and the rest. The worker's first
//! frame is JSON and says what it is. Every other frame is an Arrow IPC stream:
//!
//! - a request has one column of strings, and may have missing ones
//! - its answer has the columns `mentions` and `error` ([`columns`](crate::columns)), and a row for each text
//!
//! Answers come in the order of the requests. The next requests are read and tokenized while the models compute, and the
//! worker reads no further ahead than that: whoever writes faster waits at the pipe. It ends with its input.

use crate::table::{Row, record_batch};
use crate::{Annotator, BatchSize, Event, Outcome, Thresholds, stream};
use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef};
use arrow_ipc::reader::StreamReader;
use arrow_ipc::writer::StreamWriter;
use arrow_schema::DataType;
use ner_document::Document;
use serde::Serialize;
use std::io::{self, Cursor, ErrorKind, Read, Write};
use std::sync::atomic::AtomicBool;

/// A place in the stream of texts.
enum Mark {
    /// A missing text.
    Null,
    /// The end of a request.
    End,
}

/// Answers requests until `input` ends. `hello` is the first frame.
///
/// # Errors
/// If a request is not an Arrow stream of strings, or a pipe breaks. The message holds no text of a request.
pub fn answer(
    annotator: &Annotator,
    (thresholds, all_spans): (&Thresholds, bool),
    hello: &impl Serialize,
    mut input: impl Read + Send,
    mut output: impl Write,
) -> io::Result<()> {
    write_frame(&mut output, &serde_json::to_vec(hello)?)?;
    let mut rows = Vec::new();
    let read = |push: &mut dyn FnMut(Event<Mark>) -> bool| -> io::Result<()> {
        while let Some(frame) = read_frame(&mut input)? {
            for text in texts(frame)? {
                let event = text.map_or(Event::Mark(Mark::Null), |text| Event::Document(Document::new("", text)));
                if !push(event) {
                    return Ok(());
                }
            }
            if !(push(Event::Mark(Mark::End)) && push(Event::Flush)) {
                return Ok(());
            }
        }
        Ok(())
    };
    let write = |outcome: Outcome<Mark>| -> io::Result<()> {
        rows.push(match outcome {
            Outcome::Annotated(document, found) => Row::Found(document, thresholds.apply(found, all_spans)),
            Outcome::Failed(_, message) => Row::Failed(message),
            Outcome::Mark(Mark::Null) => Row::Null,
            Outcome::Mark(Mark::End) => return write_rows(&mut output, std::mem::take(&mut rows)),
        });
        Ok(())
    };
    // Nobody stops it: the other program closes the pipe, or ends the process.
    stream(annotator, BatchSize::default(), &AtomicBool::new(false), read, write).map(|_| ())
}

fn write_rows(output: &mut impl Write, rows: Vec<Row>) -> io::Result<()> {
    let batch = record_batch(&rows).map_err(io::Error::other)?;
    let mut writer = StreamWriter::try_new(Vec::new(), &batch.schema()).map_err(io::Error::other)?;
    writer.write(&batch).map_err(io::Error::other)?;
    write_frame(output, &writer.into_inner().map_err(io::Error::other)?)
}

fn write_frame(output: &mut impl Write, bytes: &[u8]) -> io::Result<()> {
    output.write_all(&(bytes.len() as u64).to_le_bytes())?;
    output.write_all(bytes)?;
    output.flush()
}

/// The next frame; `None` at the end of the input.
fn read_frame(input: &mut impl Read) -> io::Result<Option<Vec<u8>>> {
    let mut length = [0; 8];
    let first = loop {
        match input.read(&mut length) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            read => break read?,
        }
    };
    if first == 0 {
        return Ok(None);
    }
    input.read_exact(&mut length[first..])?;
    let length = u64::from_le_bytes(length);
    // Grows with what arrives, not with what is announced.
    let mut frame = Vec::new();
    input.take(length).read_to_end(&mut frame)?;
    if frame.len() as u64 == length { Ok(Some(frame)) } else { Err(ErrorKind::UnexpectedEof.into()) }
}

/// The texts of a request.
fn texts(frame: Vec<u8>) -> io::Result<Vec<Option<String>>> {
    let invalid = |message: String| io::Error::new(ErrorKind::InvalidData, message);
    let no_stream = |error| invalid(format!("the request is no Arrow stream: {error}"));
    let mut texts = Vec::new();
    for batch in StreamReader::try_new(Cursor::new(frame), None).map_err(no_stream)? {
        let batch = batch.map_err(no_stream)?;
        let [column] = batch.columns() else {
            return Err(invalid(format!("the request has {} columns instead of one", batch.num_columns())));
        };
        texts.append(&mut strings(column).map_err(invalid)?);
    }
    Ok(texts)
}

fn strings(column: &ArrayRef) -> Result<Vec<Option<String>>, String> {
    fn owned<'a>(texts: impl Iterator<Item = Option<&'a str>>) -> Vec<Option<String>> {
        texts.map(|text| text.map(str::to_owned)).collect()
    }
    Ok(match column.data_type() {
        DataType::Utf8 => owned(column.as_string::<i32>().iter()),
        DataType::LargeUtf8 => owned(column.as_string::<i64>().iter()),
        DataType::Utf8View => owned(column.as_string_view().iter()),
        DataType::Null => vec![None; column.len()],
        other => return Err(format!("the column of the request has the type {other} instead of strings")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow_array::{Int32Array, LargeStringArray, RecordBatch, StringArray};
    use std::sync::Arc;

    fn stream_of(columns: Vec<(&str, ArrayRef)>) -> Vec<u8> {
        let batch = RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, a)| (name, a, true)));
        let batch = batch.expect("a batch");
        let mut writer = StreamWriter::try_new(Vec::new(), &batch.schema()).expect("a writer");
        writer.write(&batch).expect("written");
        writer.write(&batch).expect("written");
        writer.into_inner().expect("ended")
    }

    #[test]
    fn frames_are_whole_or_an_error() {
        let mut pipe = Vec::new();
        write_frame(&mut pipe, b"one").expect("written");
        write_frame(&mut pipe, b"").expect("written");
        let mut input = pipe.as_slice();
        let mut next = || read_frame(&mut input).expect("read");
        assert_eq!((next(), next(), next()), (Some(b"one".to_vec()), Some(vec![]), None));
        for cut in [4, 10] {
            assert!(read_frame(&mut &pipe[..cut]).is_err(), "{cut}");
        }
        // An announced length is not believed.
        assert!(read_frame(&mut u64::MAX.to_le_bytes().as_slice()).is_err());
    }

    #[test]
    fn a_request_is_one_column_of_strings() {
        let rows = vec![Some("ä"), None, Some("")];
        let expected: Vec<Option<String>> = rows.iter().map(|text| text.map(str::to_owned)).collect();
        let both = [expected.clone(), expected].concat();
        let columns: [ArrayRef; 2] =
            [Arc::new(StringArray::from(rows.clone())), Arc::new(LargeStringArray::from(rows))];
        for column in columns {
            assert_eq!(texts(stream_of(vec![("text", column)])).expect("texts"), both);
        }
        let numbers: ArrayRef = Arc::new(Int32Array::from(vec![1]));
        for (columns, message) in [
            (vec![("a", numbers.clone())], "type Int32 instead of strings"),
            (vec![("a", numbers.clone()), ("b", numbers)], "2 columns instead of one"),
        ] {
            let error = texts(stream_of(columns)).expect_err("an error").to_string();
            assert!(error.contains(message), "{error}");
        }
        assert!(texts(b"no Arrow at all".to_vec()).is_err());
    }
}
