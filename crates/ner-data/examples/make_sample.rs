//! Writes the synthetic sample of BC5CDR into `datasets/bc5cdr/sample`.
//!
//! Run it after a change of the generator: `cargo run --release -p ner-data --example make_sample`. A test compares the
//! committed files with what the generator gives.

use ner_data::{pubtator, synthetic};
use std::io::{self, BufWriter, Write};
use std::path::Path;

fn main() -> io::Result<()> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../datasets/bc5cdr/sample");
    fs_err::create_dir_all(&folder)?;
    let parts = synthetic::bc5cdr(synthetic::SAMPLE_SEED, synthetic::SAMPLE_SIZES);
    for (name, documents) in [("train", &parts.train), ("dev", &parts.dev), ("test", &parts.test)] {
        let path = folder.join(format!("{name}.PubTator.txt"));
        let mut out = BufWriter::new(fs_err::File::create(&path)?);
        pubtator::write(&mut out, documents)?;
        out.flush()?;
        let mentions: usize = documents.iter().map(|document| document.mentions.len()).sum();
        writeln!(io::stdout(), "{name}: {} synthetic documents, {mentions} mentions", documents.len())?;
    }
    Ok(())
}
