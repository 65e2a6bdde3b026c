//! `medner eval`: scores the model of a run on a split of its corpus.

use crate::corpus::{self, Faults};
use crate::predict::{EncodedSplit, predict};
use crate::run_record::{RunRecord, runs_folder};
use crate::{OutputFormat, score_table, stdout};
use anyhow::Result;
use ner_data::{Split, TextEncoder, WindowSize};
use ner_eval::{Scores, score_documents};
use ner_model::{Recognizer, find_device};
use ner_runs::RunFolder;
use serde::Serialize;
use std::io::Write;
use std::path::PathBuf;

/// Score the model of a run on a split of its corpus
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  medner eval bc5cdr                              the newest run, test split
  medner eval bc5cdr --run 20260102T030405Z-seed1 --split dev --format json")]
pub struct Args {
    /// Corpus: a name (`medner doctor` lists them) or the path of a dataset.toml
    dataset: String,
    /// Run: its id, its folder, or latest
    #[arg(long, default_value = "latest")]
    run: String,
    /// Split to score
    #[arg(long, default_value = "test", value_parser = split)]
    split: Split,
    /// Pack whole sentences into windows of so many tokens, instead of those that the model was chosen with
    #[arg(long, value_name = "TOKENS")]
    window: Option<usize>,
    /// Write the documents with predicted mentions, in the format of the corpus
    #[arg(long, value_name = "PATH")]
    out: Option<PathBuf>,
    /// Form of the scores
    #[arg(long, default_value = "table")]
    format: OutputFormat,
    /// auto, cpu or cuda:N
    #[arg(long, default_value = "auto")]
    device: String,
    /// Where runs are kept (default: experiments/runs of the checkout)
    #[arg(long, value_name = "DIR")]
    runs: Option<PathBuf>,
}

fn split(text: &str) -> Result<Split, String> {
    match text {
        "dev" => Ok(Split::Dev),
        "test" => Ok(Split::Test),
        _ => Err("splits to score are dev and test".to_owned()),
    }
}

/// Evaluates.
///
/// # Errors
/// Where the run, its model or its corpus cannot be had.
pub fn run(args: Args) -> Result<()> {
    let folder = RunFolder::find(&runs_folder(args.runs.as_deref())?, &corpus::name_of(&args.dataset)?, &args.run)?;
    let record: RunRecord = folder.read_run()?;
    let device = find_device(&args.device)?;
    let recognizer = Recognizer::load(&folder.model(), device, record.plan.recipe.precision.resolve(device)?)?;
    let corpus = corpus::load(&record.plan.dataset, &record.plan.place())?;
    corpus.check_faults(Faults { lenient: record.plan.lenient })?;
    let window = recognizer.reading().window;
    let window = WindowSize { packed: args.window.unwrap_or(window.packed), ..window };
    let encoder = TextEncoder::from_folder(&folder.model(), window)?;
    let split = EncodedSplit::new(&encoder, &corpus.splits.get(args.split).documents)?;
    let predicted = predict(&recognizer, &split, args.split.name());
    if let Some(path) = &args.out {
        corpus.origin.format.write(path, &predicted, &corpus.description.format_options)?;
    }
    let scores = score_documents(split.documents, &predicted)?.scores;
    print(&corpus.description.name, args.split, &record.run, &scores, args.format)
}

/// Prints scores on stdout.
///
/// # Errors
/// Where stdout cannot be written.
pub fn print(dataset: &str, split: Split, run: &str, scores: &Scores, format: OutputFormat) -> Result<()> {
    #[derive(Serialize)]
    struct Report<'s> {
        dataset: &'s str,
        split: &'s str,
        run: &'s str,
        #[serde(flatten)]
        scores: &'s Scores,
    }
    let split = split.name();
    match format {
        OutputFormat::Json => stdout::print_json(&Report { dataset, split, run, scores }),
        OutputFormat::Table => {
            let mut out = stdout::stdout();
            writeln!(out, "{dataset}, {split} split, run {run}: strict spans, in percent\n")?;
            score_table::print(scores, &mut out)?;
            Ok(out.flush()?)
        }
    }
}
