//! What an annotation leaves in the store of runs: by which models it was made, of how much, and how it ended.

use super::{Args, Tally};
use anyhow::Result;
use ner_annotate::{Model, Summary};
use ner_experiment::models::Located;
use ner_experiment::record::{CodeRecord, HardwareRecord, now, runs_folder};
use ner_model::Precision;
use ner_runs::{Lock, RunFolder};
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use tracing::{info, warn};

/// The folder of annotations in a store, beside those of the corpora, and the kind of these runs.
pub const KIND: &str = "annotate";

/// `run.json` of an annotation. It names no input: the name of a file can be that of a patient.
#[derive(Serialize)]
struct Record {
    run: String,
    kind: &'static str,
    plan: Plan,
    models: Vec<ModelRecord>,
    threads: i32,
    code: CodeRecord,
    hardware: HardwareRecord,
    started_at: String,
    finished_at: Option<String>,
    /// Why it failed; none where it was stopped.
    error: Option<String>,
    outcome: Option<OutcomeRecord>,
}

#[derive(Serialize)]
struct Plan {
    /// As the command line named them.
    models: Vec<String>,
    inputs: usize,
    /// Their bytes; none where stdin is one.
    input_bytes: Option<u64>,
    out: PathBuf,
    /// Whether it goes on with what an earlier run began.
    resume: bool,
    device: String,
    precision: Precision,
    settings: Value,
}

#[derive(Serialize)]
struct ModelRecord {
    name: String,
    /// SHA-256 of its weights.
    sha256: String,
    types: Vec<String>,
}

#[derive(Serialize)]
struct OutcomeRecord {
    documents: usize,
    tokens: usize,
    windows: usize,
    mentions: usize,
    mentions_by_type: BTreeMap<String, usize>,
    below_thresholds: usize,
    left_out: usize,
}

/// An annotation that is recorded.
pub struct Kept {
    folder: RunFolder,
    _lock: Lock,
    record: Record,
}

impl Kept {
    /// Begins the record of an annotation where one is to be kept: of one that leaves a file or a folder behind
    /// (`--out`), in a store that was named (`--runs`) or is there. What goes to stdout has nothing that a record could
    /// be about, and a machine that only annotates should not find folders of runs wherever somebody called the program.
    pub fn begin(
        args: &Args,
        located: &[Located],
        models: &[Model],
        (inputs, input_bytes): (usize, Option<u64>),
        settings: Value,
    ) -> Option<Self> {
        let out = args.out.as_deref().filter(|out| *out != Path::new("-"))?;
        let runs = runs_folder(args.models.runs.as_deref()).ok()?;
        let is_there = args.models.runs.is_some() || runs.parent().is_some_and(Path::is_dir);
        if args.no_run || !is_there {
            return None;
        }
        let plan = Plan {
            models: args.models.models.clone(),
            inputs,
            input_bytes,
            out: out.to_owned(),
            resume: args.resume,
            device: args.models.device.clone(),
            precision: args.models.precision,
            settings,
        };
        // Somebody else's models can be used, too, from a store that is not ours to write.
        Self::create(args, &runs, located, models, plan)
            .map_err(|error| warn!("no record of this annotation is kept: {error:#}"))
            .ok()
    }

    fn create(args: &Args, runs: &Path, located: &[Located], models: &[Model], plan: Plan) -> Result<Self> {
        let model_record = |(located, model): (&Located, &Model)| -> Result<ModelRecord> {
            Ok(ModelRecord {
                name: model.name.clone(),
                sha256: located.weights_sha256()?,
                types: model.recognizer.labels().types.clone(),
            })
        };
        let models = located.iter().zip(models).map(model_record).collect::<Result<_>>()?;
        let mut code = CodeRecord::of_this_process();
        for word in &mut code.command {
            if args.inputs.iter().any(|input| input == Path::new(word)) {
                *word = "INPUT".into();
            }
        }
        let folder = RunFolder::create_named(runs, KIND, KIND)?;
        let lock = folder.lock()?;
        let record = Record {
            run: folder.id(),
            kind: KIND,
            plan,
            models,
            threads: tch::get_num_threads(),
            code,
            hardware: HardwareRecord::of_this_machine(),
            started_at: now(),
            finished_at: None,
            error: None,
            outcome: None,
        };
        folder.write_run(&record)?;
        Ok(Self { folder, _lock: lock, record })
    }

    /// Ends the record: with what was counted, or with the error that ended the annotation. One that was stopped has
    /// neither an end nor an error.
    pub fn end(mut self, outcome: &Result<(Summary, Tally)>) {
        match outcome {
            Ok((summary, tally)) => {
                let Summary { documents, tokens, windows, stopped } = *summary;
                self.record.outcome = Some(OutcomeRecord {
                    documents,
                    tokens,
                    windows,
                    mentions: tally.mentions.values().sum(),
                    mentions_by_type: tally.mentions.clone(),
                    below_thresholds: tally.below,
                    left_out: tally.bad,
                });
                self.record.finished_at = (!stopped).then(now);
            }
            Err(error) => self.record.error = Some(format!("{error:#}")),
        }
        match self.folder.write_run(&self.record) {
            Ok(()) => info!("recorded in {}", self.folder.path().display()),
            Err(error) => warn!("the record of this annotation cannot be written: {error}"),
        }
    }
}
