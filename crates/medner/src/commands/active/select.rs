//! `medner active select`: chooses the next batch from a pool.

use crate::args::{Columns, ModelArgs, TextColumns, batch_form, kind_name};
use anyhow::{Result, ensure};
use ner_active::{Budget, Strategy};
use ner_experiment::active::batch::{self, To};
use ner_experiment::active::select::Request;
use ner_experiment::input::Kind;
use std::path::PathBuf;

const EXAMPLES: &str = "\
Examples:
  medner active select notes/ --model bc5cdr --strategy mnlp --budget '2000 words' --out batch1
  medner active select all.jsonl.gz --model bc5cdr --strategy hybrid --known labelled.jsonl --to brat --out batch2
  medner active select pool.jsonl --model RUN1 --model RUN2 --strategy disagreement --out batch3

The batch is a folder with the items to correct, including the model's suggestions, and batch.json, which gives the
score of each chosen item. `medner active simulate --help` lists the strategies and their sources. The pool is streamed:
random, longest and the score strategies hold only the chosen items; hybrid holds ten times as many; core-set and badge
hold every item's text and a vector of f32 (the encoder's width; badge: times the number of types).";

/// Choose what to annotate next from a pool of texts, within a budget
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Files, folders, or - for stdin, in any format that `annotate` reads
    #[arg(value_name = "POOL", required = true)]
    pool: Vec<PathBuf>,
    #[command(flatten)]
    models: ModelArgs,
    /// Format of the pool [default: detected]
    #[arg(long, value_name = "FORMAT", value_parser = kind_name())]
    from: Option<Kind>,
    /// Selection strategy; see `medner active simulate --help`
    #[arg(long, value_name = "NAME", default_value = "mnlp")]
    strategy: Strategy,
    /// How much to choose: `2000 words`, `50 sentences` or `10 documents`
    #[arg(long, value_name = "BUDGET", default_value = "2000 words")]
    budget: Budget,
    /// Choose whole documents instead of sentences; implied by a budget in documents
    #[arg(long)]
    whole_documents: bool,
    /// Annotated corpus whose items are not chosen again; core-set and hybrid also keep away from them; repeatable
    #[arg(long, value_name = "CORPUS")]
    known: Vec<PathBuf>,
    /// Format of the batch
    #[arg(long, default_value = "jsonl", value_parser = batch_form())]
    to: To,
    /// Folder for the batch; must not exist yet
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Random seed
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    #[command(flatten)]
    text_columns: TextColumns,
    #[command(flatten)]
    columns: Columns,
}

/// Chooses a batch.
///
/// # Errors
/// If a model or the pool is missing, `--out` exists, or a part of the pool cannot be read.
pub fn run(args: Args) -> Result<()> {
    ensure!(!args.out.exists(), "{} already exists; name another folder with --out", args.out.display());
    let mut known = Vec::new();
    for path in &args.known {
        known.extend(batch::documents_of(path)?);
    }
    let (annotator, _) = args.models.selection().load()?;
    let request = Request {
        pool: &args.pool,
        from: args.from,
        options: args.text_columns.options(args.columns),
        device: &args.models.device,
        strategy: args.strategy,
        budget: args.budget,
        whole_documents: args.whole_documents,
        seed: args.seed,
        to: args.to,
    };
    let bad = request.select(&annotator, &known)?.write(&args.out)?;
    ensure!(bad == 0, "{bad} documents or parts of the pool could not be read; see the warnings above");
    Ok(())
}
