//! `medner active add`: takes corrected batches, trains, and proposes the next batch.

use crate::OutputFormat;
use crate::args::batch_form;
use crate::terminal::{interrupt, score_table, stdout};
use anyhow::Result;
use ner_active::{Budget, Strategy};
use ner_experiment::active::batch::To;
use ner_experiment::active::learning_loop::{LoopOptions, Round, go_round};
use std::io::Write;
use std::path::PathBuf;

const EXAMPLES: &str = "\
Examples:
  medner active add loop batch1 --dev dev.jsonl --test test.jsonl --pool notes/ --budget '2000 words'
  medner active add loop loop/batches/0001                  the batch it proposed, corrected in place
  medner active add loop loop/batches/0002 --corrected export.jsonl
  medner active add loop batch1 --annotator anna            one of several annotators of the page
  medner active add loop                                    continue after an interruption

Corrections are read from the page (`active annotate`; only items marked as done), or else from the file in the
batch's folder. The loop's folder remembers the options; options given again replace them. If a batch is damaged or
contradicts items added before, nothing of it is added, and the error names the file and the item. Without --dev and
--test, a random tenth of the labelled items is set aside for each, so the first scores rest on few items. You can
move the folder, except while a training in it is interrupted: that training would start over.";

/// Add corrected batches, train on everything labelled, and propose the next batch
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Folder of the loop; created if missing
    folder: PathBuf,
    /// Corrected batches that `active select` or the loop made
    batches: Vec<PathBuf>,
    /// Corrected file or folder that another tool exported, if it is not in the batch's folder (one batch only)
    #[arg(long, value_name = "PATH")]
    corrected: Option<PathBuf>,
    /// Annotator whose corrections to take [default: the only annotator, or `adjudicated`]
    #[arg(long, value_name = "NAME", conflicts_with = "corrected")]
    annotator: Option<String>,
    /// Annotated corpus to start with
    #[arg(long, value_name = "CORPUS")]
    labelled: Option<PathBuf>,
    /// Annotated corpus to choose the best epoch on
    #[arg(long, value_name = "CORPUS", requires = "test")]
    dev: Option<PathBuf>,
    /// Annotated corpus to measure on
    #[arg(long, value_name = "CORPUS", requires = "dev")]
    test: Option<PathBuf>,
    /// Encoder: a name that `doctor` lists, a hub id (owner/name), or a folder [default: minilm]
    #[arg(long, value_name = "ENCODER")]
    encoder: Option<String>,
    /// Recipe as TOML
    #[arg(long, value_name = "FILE.toml")]
    config: Option<PathBuf>,
    /// Continue training the last round's model instead of starting from the encoder
    #[arg(long, overrides_with = "anew")]
    further: bool,
    /// Start from the encoder in each round
    #[arg(long)]
    anew: bool,
    /// Pool to choose the next batch from; repeatable
    #[arg(long, value_name = "PATH")]
    pool: Vec<PathBuf>,
    /// Selection strategy; see `medner active simulate --help` [default: mnlp]
    #[arg(long, value_name = "NAME")]
    strategy: Option<Strategy>,
    /// How much to choose [default: 2000 words]
    #[arg(long, value_name = "BUDGET")]
    budget: Option<Budget>,
    /// Format of the batches [default: jsonl]
    #[arg(long, value_parser = batch_form())]
    to: Option<To>,
    /// auto, cpu or cuda:N
    #[arg(long, default_value = "auto")]
    device: String,
    /// Output format
    #[arg(long, default_value = "table")]
    format: OutputFormat,
}

/// Runs the command.
///
/// # Errors
/// As [`go_round`].
pub fn run(args: Args) -> Result<()> {
    let (folder, format) = (args.folder.clone(), args.format);
    let options = LoopOptions {
        folder: args.folder,
        batches: args.batches,
        corrected: args.corrected,
        annotator: args.annotator,
        labelled: args.labelled,
        dev: args.dev,
        test: args.test,
        encoder: args.encoder,
        config: args.config,
        further: args.further,
        anew: args.anew,
        pool: args.pool,
        strategy: args.strategy,
        budget: args.budget,
        to: args.to,
        device: args.device,
    };
    let stop = interrupt::stop_flag("stopping after this step")?;
    let progress = go_round(&options, &stop)?;
    if format == OutputFormat::Json {
        return stdout::print_json(&progress);
    }
    let mut out = stdout::stdout();
    let mut table = score_table::table(&["round", "items", "words", "mentions", "dev F1", "test F1", "run"]);
    for (at, Round { run, items, words, mentions, dev_f1, test_f1, .. }) in progress.rounds.iter().enumerate() {
        let numbers = [at + 1, *items, *words, *mentions].map(|number| number.to_string());
        let scores = [*dev_f1, *test_f1].map(score_table::percent);
        score_table::add_row(&mut table, numbers.into_iter().chain(scores).chain([run.clone()]).collect());
    }
    writeln!(out, "{table}")?;
    if let Some(next) = progress.next {
        writeln!(out, "next: {}", folder.join(next).display())?;
    }
    Ok(out.flush()?)
}
