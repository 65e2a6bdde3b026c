//! Finds the mentions of a text with a model folder: a run's `model`, or any token-classification model of the hub.
//!
//! ```sh
//! cargo run --release -p ner-model --example annotate -- MODEL 'Aspirin relieved the fever.'
//! ```

#![allow(clippy::print_stdout, reason = "an example talks to its reader")]

use ner_model::Recognizer;
use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [model, text] = arguments.as_slice() else { return Err("usage: annotate MODEL TEXT".into()) };
    let recognizer = Recognizer::open(model)?;
    for mention in recognizer.annotate(text)? {
        println!("{} {} {:?}", mention.span(), mention.entity_type, mention.confidence);
    }
    Ok(())
}
