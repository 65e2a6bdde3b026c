//! `medner active add`: corrected batches come back, and the loop goes round.

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
  medner active add loop loop/batches/0001                  the batch that it proposed, corrected where it lies
  medner active add loop loop/batches/0002 --corrected export.jsonl
  medner active add loop batch1 --annotator anna            of several who corrected it on the page
  medner active add loop                                    goes on after it was stopped

What was corrected is on the page (`active annotate`), of which items that are done are taken, or else the file in the
batch's folder. Options are kept in the loop's folder; what is given again replaces them. Nothing is taken of a batch that is damaged, or
that says of an item something else than is known: file and item are named. Without --dev and --test a tenth of what is
labelled each is set aside by chance, and scores are of few items. The folder may be moved as long as no training of it was
stopped half-way; that one would begin anew.";

/// Take corrected batches, train on all that is labelled, and propose the next batch
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The loop's folder; it is made where there is none
    folder: PathBuf,
    /// Batches that `active select` or the loop made, corrected
    batches: Vec<PathBuf>,
    /// What was corrected, where it is not in the batch's folder: a file or folder that a tool exported (one batch)
    #[arg(long, value_name = "PATH")]
    corrected: Option<PathBuf>,
    /// Whose corrections of `active annotate` are meant [default: the only annotator's, or what was adjudicated]
    #[arg(long, value_name = "NAME", conflicts_with = "corrected")]
    annotator: Option<String>,
    /// Annotated corpus to begin with
    #[arg(long, value_name = "CORPUS")]
    labelled: Option<PathBuf>,
    /// Annotated corpus that chooses the best epoch
    #[arg(long, value_name = "CORPUS", requires = "test")]
    dev: Option<PathBuf>,
    /// Annotated corpus that measures
    #[arg(long, value_name = "CORPUS", requires = "dev")]
    test: Option<PathBuf>,
    /// Encoder: a name that `doctor` lists, a hub id (owner/name), or a folder [default: minilm]
    #[arg(long, value_name = "ENCODER")]
    encoder: Option<String>,
    /// Recipe as TOML
    #[arg(long, value_name = "FILE.toml")]
    config: Option<PathBuf>,
    /// Train the last round's model further, instead of the encoder anew
    #[arg(long, overrides_with = "anew")]
    further: bool,
    /// Train the encoder anew in each round
    #[arg(long)]
    anew: bool,
    /// Pool that the next batch is chosen from; repeatable
    #[arg(long, value_name = "PATH")]
    pool: Vec<PathBuf>,
    /// How to choose; see `medner active simulate --help` [default: mnlp]
    #[arg(long, value_name = "NAME")]
    strategy: Option<Strategy>,
    /// How much to choose [default: 2000 words]
    #[arg(long, value_name = "BUDGET")]
    budget: Option<Budget>,
    /// What batches are handed out as [default: jsonl]
    #[arg(long, value_parser = batch_form())]
    to: Option<To>,
    /// auto, cpu or cuda:N
    #[arg(long, default_value = "auto")]
    device: String,
    /// Form of the result on stdout
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
