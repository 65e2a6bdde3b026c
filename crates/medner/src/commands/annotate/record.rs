//! The record of an annotation in the store of runs: its models, its size and its result.

use super::{Args, Tally};
use anyhow::Result;
use ner_annotate::{Model, Summary};
use ner_experiment::models::Located;
use ner_experiment::record::{CodeRecord, HardwareRecord, now, runs_folder, without_names};
use ner_model::Precision;
use ner_runs::{Lock, RunFolder};
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use tracing::{info, warn};

/// Name of the folder for annotations in the store, and their run kind.
pub const KIND: &str = "annotate";

/// `run.json` of an annotation. It contains no input names: a file name can be a patient's name.
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
    /// The error, if it failed; `None` if it was interrupted.
    error: Option<String>,
    outcome: Option<OutcomeRecord>,
}

#[derive(Serialize)]
struct Plan {
    /// As named on the command line.
    models: Vec<String>,
    inputs: usize,
    /// Total size in bytes; `None` if stdin is an input.
    input_bytes: Option<u64>,
    out: PathBuf,
    /// Whether it continues an earlier run.
    resume: bool,
    device: String,
    precision: Precision,
    settings: Value,
}

#[derive(Serialize)]
struct ModelRecord {
    name: String,
    /// SHA-256 of the weights.
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

/// A recorded annotation.
pub struct Kept {
    folder: RunFolder,
    _lock: Lock,
    record: Record,
}

impl Kept {
    /// Begins the record, if there is something to record: an output file or folder (`--out`) and a store of runs that
    /// `--runs` names or that exists. Output on stdout leaves nothing to document, and machines that only annotate
    /// should not collect folders of runs wherever the program is called.
    pub fn begin(
        args: &Args,
        located: &[Located],
        models: &[Model],
        (inputs, input_bytes): (usize, Option<u64>),
        settings: Value,
    ) -> Option<Self> {
        let out = args.out.as_deref().filter(|out| *out != Path::new("-"))?;
        let runs = runs_folder(args.annotator.models.runs.as_deref()).ok()?;
        let is_there = args.annotator.models.runs.is_some() || runs.parent().is_some_and(Path::is_dir);
        // The record of a shard is its manifest.
        if args.no_run || args.shard.is_some() || !is_there {
            return None;
        }
        let plan = Plan {
            models: args.annotator.models.models.clone(),
            inputs,
            input_bytes,
            out: out.to_owned(),
            resume: args.resume,
            device: args.annotator.models.device.clone(),
            precision: args.annotator.models.precision,
            settings,
        };
        // Other people's models can be used from a store that we cannot write to.
        Self::create(args, &runs, located, models, plan)
            .map_err(|error| warn!("this annotation is not recorded: {error:#}"))
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

    /// Ends the record with the counts, or with the error. An interrupted annotation has neither an end nor an error.
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
                if tally.cut > 0 {
                    self.record.error = Some(format!("{} inputs could not be read to the end", tally.cut));
                } else {
                    self.record.finished_at = (!stopped).then(now);
                }
            }
            Err(error) => self.record.error = Some(without_names(error)),
        }
        match self.folder.write_run(&self.record) {
            Ok(()) => info!("recorded in {}", self.folder.path().display()),
            Err(error) => warn!("cannot write the record of this annotation: {error}"),
        }
    }
}
