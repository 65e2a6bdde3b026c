//! Milliseconds of each of N calls of `Recognizer::annotate`, for each text of a JSONL file, as JSON:
//! `cargo xtask bench peers --only latency` starts it.
//!
//! ```sh
//! cargo run --release -p ner-model --example latency -- MODEL TEXTS.jsonl 50
//! ```

#![allow(clippy::print_stdout, reason = "an example talks to its reader")]

use ner_model::Recognizer;
use serde_json::Value;
use std::error::Error;
use std::time::Instant;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [model, texts, count] = arguments.as_slice() else { return Err("usage: latency MODEL TEXTS.jsonl N".into()) };
    ner_model::set_threads(None);
    let recognizer = Recognizer::open(model)?;
    let mut found: Vec<Vec<f64>> = Vec::new();
    for line in fs_err::read_to_string(texts)?.lines() {
        let document: Value = serde_json::from_str(line)?;
        let text = document["text"].as_str().ok_or("a document without text")?;
        recognizer.annotate(text)?;
        let mut times = Vec::new();
        for _ in 0..count.parse::<usize>()? {
            let begin = Instant::now();
            recognizer.annotate(text)?;
            times.push(begin.elapsed().as_secs_f64() * 1e3);
        }
        found.push(times);
    }
    println!("{}", serde_json::to_string(&found)?);
    Ok(())
}
