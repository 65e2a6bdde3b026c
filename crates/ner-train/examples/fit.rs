//! Trains a head on two sentences, step by step, and prints the loss.
//!
//! ```sh
//! cargo run --release -p ner-train --example fit -- ENCODER_FOLDER
//! ```

#![allow(clippy::print_stdout, reason = "an example talks to its reader")]

use ner_document::{Document, LabelSet, Mention, Span, TagScheme};
use ner_model::{find_device, load_encoder};
use ner_text::DocumentTokenizer;
use ner_train::{Recipe, Trainer, TrainingSet};
use std::error::Error;
use std::path::PathBuf;

fn main() -> Result<(), Box<dyn Error>> {
    let folder = PathBuf::from(std::env::args().nth(1).ok_or("name the folder of an encoder")?);
    let weights = ["model.safetensors", "pytorch_model.bin"].map(|name| folder.join(name));
    let weights = weights.iter().find(|path| path.is_file()).ok_or("the folder holds no weights")?;
    let document = |id: &str, text: &str, start: usize, end: usize| Document {
        mentions: vec![Mention::new(Span::new(start, end), "Disease")],
        ..Document::new(id, text)
    };
    let documents = [document("1", "No fever today.", 3, 8), document("2", "Headache and nausea.", 0, 8)];

    let labels = LabelSet::new(TagScheme::Bio, ["Disease"]);
    let mut recipe = Recipe { epochs: 3, learning_rate: 1e-3, overlap: 8, ..Recipe::default() };
    let pretrained = load_encoder(&folder.join("config.json"), weights, &labels, recipe.head(), recipe.seed)?;
    recipe.max_tokens = recipe.max_tokens.min(pretrained.config.max_tokens() as usize);
    let tokenizer = DocumentTokenizer::from_folder(&folder, recipe.window_size())?;
    let encoded = tokenizer.encode(&documents)?;
    let data = TrainingSet::new(&tokenizer, &documents, &encoded, &labels, recipe.head());

    let device = find_device("auto")?;
    let mut trainer = Trainer::new(&recipe, &pretrained.config, &pretrained.parameters, &data, device)?;
    while trainer.epochs_done() < recipe.epochs {
        for step in trainer.next_epoch() {
            let step = step?;
            println!("epoch {}, step {}: loss {:.4}", step.epoch, step.step, step.loss);
        }
    }
    Ok(())
}
