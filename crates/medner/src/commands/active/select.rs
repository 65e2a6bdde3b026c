//! `medner active select`: the next batch of a pool.

use crate::args::{Columns, ModelArgs, batch_form, kind_name};
use anyhow::{Result, ensure};
use ner_active::{Budget, Strategy};
use ner_experiment::active::batch::{self, To};
use ner_experiment::active::select::Request;
use ner_experiment::input::{InputOptions, Kind};
use std::path::PathBuf;

const EXAMPLES: &str = "\
Examples:
  medner active select notes/ --model bc5cdr --strategy mnlp --budget '2000 words' --out batch1
  medner active select all.jsonl.gz --model bc5cdr --strategy hybrid --known labelled.jsonl --to brat --out batch2
  medner active select pool.jsonl --model RUN1 --model RUN2 --strategy disagreement --out batch3

The batch is a folder: what is to be corrected, with the model's suggestions in it, and batch.json, which says why each
item was chosen. `medner active simulate --help` lists the strategies and their sources. A pool streams: random, longest
and the scores hold what is chosen; hybrid ten times that; core-set and badge hold every item's text and 4 bytes for each
number of its row (the encoder's width; badge: times the types).";

/// Choose what to annotate next from a pool of texts, for a budget
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Files or folders, or - for stdin: every format that `annotate` reads
    #[arg(value_name = "POOL", required = true)]
    pool: Vec<PathBuf>,
    #[command(flatten)]
    models: ModelArgs,
    /// Format of the pool [default: what it looks like]
    #[arg(long, value_name = "FORMAT", value_parser = kind_name())]
    from: Option<Kind>,
    /// How to choose; see `medner active simulate --help`
    #[arg(long, value_name = "NAME", default_value = "mnlp")]
    strategy: Strategy,
    /// How much: `2000 words`, `50 sentences` or `10 documents`
    #[arg(long, value_name = "BUDGET", default_value = "2000 words")]
    budget: Budget,
    /// Choose whole documents instead of sentences; a budget of documents does
    #[arg(long)]
    whole_documents: bool,
    /// What is annotated already: its items are not chosen, and core-set and hybrid keep away from it; repeatable
    #[arg(long, value_name = "CORPUS")]
    known: Vec<PathBuf>,
    /// What the batch is handed out as
    #[arg(long, default_value = "jsonl", value_parser = batch_form())]
    to: To,
    /// The batch's folder, which must not be there yet
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Decides what is left to chance
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Column that holds the texts (Parquet)
    #[arg(long, value_name = "NAME", default_value = "text")]
    text_column: String,
    /// Column that holds their ids (Parquet) [default: the number of the row]
    #[arg(long, value_name = "NAME")]
    id_column: Option<String>,
    #[command(flatten)]
    columns: Columns,
}

/// Chooses.
///
/// # Errors
/// Where a model or the pool is not there, the folder is, or a part of the pool could not be read.
pub fn run(args: Args) -> Result<()> {
    ensure!(!args.out.exists(), "{} is there already", args.out.display());
    let mut known = Vec::new();
    for path in &args.known {
        known.extend(batch::documents_of(path)?);
    }
    let (annotator, _) = args.models.selection().load()?;
    let request = Request {
        pool: &args.pool,
        from: args.from,
        options: InputOptions {
            columns: args.columns.options(),
            text_column: args.text_column,
            id_column: args.id_column,
        },
        device: &args.models.device,
        strategy: args.strategy,
        budget: args.budget,
        whole_documents: args.whole_documents,
        seed: args.seed,
        to: args.to,
    };
    let bad = request.select(&annotator, &known)?.write(&args.out)?;
    ensure!(bad == 0, "{bad} documents or parts of the pool could not be read; they are named above");
    Ok(())
}
