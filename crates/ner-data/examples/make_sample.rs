//! Writes the synthetic sample of BC5CDR into `datasets/bc5cdr/sample`.
//!
//! Run it after changing the generator: `cargo run --release -p ner-data --example make_sample`. A test compares the
//! committed files with the generator's output.

use ner_data::{Format, FormatOptions, synthetic};
use std::io::{self, Write};
use std::path::Path;

fn main() -> io::Result<()> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../datasets/bc5cdr/sample");
    let parts = synthetic::bc5cdr(synthetic::SAMPLE_SEED, synthetic::SAMPLE_SIZES);
    for (name, documents) in [("train", &parts.train), ("dev", &parts.dev), ("test", &parts.test)] {
        let path = folder.join(format!("{name}.PubTator.txt"));
        Format::Pubtator.write(&path, documents, &FormatOptions::default())?;
        let mentions: usize = documents.iter().map(|document| document.mentions.len()).sum();
        writeln!(io::stdout(), "{name}: {} synthetic documents, {mentions} mentions", documents.len())?;
    }
    Ok(())
}
