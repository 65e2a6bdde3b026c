//! `medner worker`: annotates for another program over pipes.

use crate::args::{AnnotatorArgs, ThresholdArgs};
use anyhow::{Result, ensure};
use ner_annotate::{BatchSize, answer};
use ner_model::{device_name, find_device};
use serde_json::{Value, json};
use std::io::{self, BufReader, BufWriter, ErrorKind, IsTerminal};

/// Annotate for another program over pipes
///
/// The Python package starts it. stdin gets frames of texts, stdout frames of mentions, both as Arrow IPC streams; the
/// first frame on stdout is JSON and says what this is. It ends with stdin. The crate ner-annotate describes the frames
/// (worker.rs).
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    annotator: AnnotatorArgs,
    #[command(flatten)]
    thresholds: ThresholdArgs,
}

/// Changes with the frames.
const PROTOCOL: u32 = 1;

/// Answers until stdin ends.
///
/// # Errors
/// If a model cannot be loaded, a request is invalid, or stdin breaks off within one.
pub fn run(args: &Args) -> Result<()> {
    ensure!(!io::stdin().is_terminal(), "this command is for programs, which write to its stdin; use `annotate`");
    let (annotator, _) = args.annotator.load()?;
    let thresholds = args.thresholds.resolve(&annotator)?;
    let models = annotator.models().iter().map(|model| {
        let types = &model.recognizer.labels().types;
        let category = |name: &String| Some((name.clone(), Value::from(model.categories.label(name)?)));
        let categories: serde_json::Map<_, _> = types.iter().filter_map(category).collect();
        json!({ "name": model.name, "types": types, "categories": categories, "assertable": model.assertable })
    });
    let batch = BatchSize::default();
    let hello = json!({
        "protocol": PROTOCOL,
        "medner": env!("CARGO_PKG_VERSION"),
        "models": models.collect::<Vec<_>>(),
        "device": device_name(find_device(&args.annotator.models.device)?),
        "threads": tch::get_num_threads(),
        // What one batch of `annotate` holds: requests of this size are computed as there, to the last digit.
        "batch": { "bytes": batch.bytes, "rows": batch.events },
    });
    let (input, output) = (BufReader::new(io::stdin()), BufWriter::new(io::stdout()));
    match answer(&annotator, (&thresholds, args.thresholds.all_spans), &hello, input, output) {
        // The other program is gone, and nobody needs the answer.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        answered => Ok(answered?),
    }
}
