//! Finds mentions in the lines of stdin: `cargo run --example annotate -- MODEL_FOLDER < notes.txt`

use ner_document::CharIndex;
use ner_model::Recognizer;
use std::io::Write;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = std::env::args().nth(1).ok_or("the folder of a model is wanted")?;
    let recognizer = Recognizer::open(folder)?;
    let mut out = std::io::stdout().lock();
    for line in std::io::stdin().lines() {
        let line = line?;
        let index = CharIndex::new(&line);
        for mention in recognizer.annotate(&line)? {
            let text = index.slice(&line, mention.span()).unwrap_or_default();
            let confidence = mention.confidence.map_or(f32::NAN, f32::from);
            writeln!(out, "{}\t{}\t{text}\t{confidence:.2}", mention.span(), mention.entity_type)?;
        }
    }
    Ok(())
}
