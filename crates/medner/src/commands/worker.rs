//! `medner worker`: annotates for another program over pipes.

use crate::args::{AnnotatorArgs, ThresholdArgs, add_checksums};
use anyhow::{Result, ensure};
use ner_annotate::{BatchSize, answer};
use ner_experiment::record::runs_folder;
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
    /// Say in the first frame what decides the mentions (settings, precision, checksums), and where the runs are
    #[arg(long)]
    identify: bool,
}

/// Changes with the frames.
const PROTOCOL: u32 = 1;

/// Answers until stdin ends.
///
/// # Errors
/// If a model cannot be loaded, a request is invalid, or stdin breaks off within one.
pub fn run(args: &Args) -> Result<()> {
    ensure!(!io::stdin().is_terminal(), "this command is for programs, which write to its stdin; use `annotate`");
    let (annotator, located) = args.annotator.load()?;
    let thresholds = args.thresholds.resolve(&annotator)?;
    let models = annotator.models().iter().map(|model| {
        let types = &model.recognizer.labels().types;
        let category = |name: &String| Some((name.clone(), Value::from(model.categories.label(name)?)));
        let categories: serde_json::Map<_, _> = types.iter().filter_map(category).collect();
        json!({ "name": model.name, "types": types, "categories": categories, "assertable": model.assertable })
    });
    let batch = BatchSize::default();
    let mut hello = json!({
        "protocol": PROTOCOL,
        "medner": env!("CARGO_PKG_VERSION"),
        "models": models.collect::<Vec<_>>(),
        "device": device_name(find_device(&args.annotator.models.device)?),
        "threads": tch::get_num_threads(),
        // What one batch of `annotate` holds: requests of this size are computed as there, to the last digit.
        "batch": { "bytes": batch.bytes, "rows": batch.events },
    });
    if args.identify {
        let models = annotator.models().iter();
        let models: Vec<_> =
            models.map(|model| json!({ "name": model.name, "categories": model.categories })).collect();
        let mut identity = json!({
            "medner": env!("CARGO_PKG_VERSION"),
            "models": models,
            "threshold": thresholds.general,
            "thresholds": thresholds.by_type,
            "all_spans": args.thresholds.all_spans,
            "ensemble": args.annotator.ensemble,
        });
        args.annotator.add_settings(&annotator, &mut identity)?;
        add_checksums(annotator.models(), &located, &mut identity)?;
        hello["identity"] = identity;
        // Another process may run in another folder.
        hello["runs"] = json!(std::path::absolute(runs_folder(args.annotator.models.runs.as_deref())?)?);
    }
    let (input, output) = (BufReader::new(io::stdin()), BufWriter::new(io::stdout()));
    match answer(&annotator, (&thresholds, args.thresholds.all_spans), &hello, input, output) {
        // The other program is gone, and nobody needs the answer.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        answered => Ok(answered?),
    }
}
