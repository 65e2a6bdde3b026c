//! Reads a corpus, writes it in another format, and says what that format cannot hold.
//!
//! ```sh
//! cargo run --release -p ner-data --example convert -- IN.PubTator.txt OUT.tsv
//! ```

#![allow(clippy::print_stdout, reason = "an example talks to its reader")]

use ner_data::{Format, FormatOptions};
use std::error::Error;
use std::path::Path;

fn main() -> Result<(), Box<dyn Error>> {
    let paths: Vec<String> = std::env::args().skip(1).collect();
    let [input, output] = paths.as_slice() else { return Err("name an input and an output".into()) };
    let format = Format::detect(Path::new(input))?.ok_or("the format of the input is unknown")?;
    let options = FormatOptions::default();
    let (documents, diagnostics) = format.open(Path::new(input), &options)?.read_all()?;
    for diagnostic in &diagnostics.0 {
        println!("{diagnostic}");
    }
    let report = Format::Conll.write(Path::new(output), &documents, &options)?;
    println!("{} documents from {format} to conll", report.documents);
    for (item, tally) in &report.items {
        println!("{item}: {} kept, {} moved, {} lost", tally.kept, tally.moved, tally.lost);
    }
    Ok(())
}
