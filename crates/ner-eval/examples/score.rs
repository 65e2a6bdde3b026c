//! Scores predicted mentions against gold ones, with an interval over documents.
//!
//! ```sh
//! cargo run --release -p ner-eval --example score
//! ```

#![allow(clippy::print_stdout, reason = "an example talks to its reader")]

use ner_document::{Document, Mention, Span};
use ner_eval::{Resampling, ScoreError, bootstrap_intervals, score_documents};

fn main() -> Result<(), ScoreError> {
    let document = |id: &str, mentions: &[(usize, usize, &str)]| Document {
        mentions: mentions.iter().map(|&(start, end, name)| Mention::new(Span::new(start, end), name)).collect(),
        ..Document::new(id, "Aspirin relieved the fever.")
    };
    let gold = [document("1", &[(0, 7, "Chemical"), (21, 26, "Disease")]), document("2", &[(0, 7, "Chemical")])];
    let predicted = [document("1", &[(0, 7, "Chemical"), (17, 26, "Disease")]), document("2", &[(0, 7, "Chemical")])];
    let scored = score_documents(&gold, &predicted)?;
    for (name, score) in scored.scores.per_type.iter().chain([(&"all".to_owned(), &scored.scores.overall)]) {
        println!("{name}: precision {:?}, recall {:?}, F1 {:?}", score.precision, score.recall, score.f1);
    }
    let intervals = bootstrap_intervals(&scored.by_document, &Resampling::default());
    println!("95 % interval of F1: {:?}", intervals.overall.f1);
    Ok(())
}
