//! `medner active simulate`: simulates active learning on an annotated corpus.

use crate::OutputFormat;
use crate::args::{CorpusArgs, FaultArgs};
use crate::terminal::{interrupt, score_table, stdout};
use anyhow::Result;
use ner_active::{Cost, Strategy};
use ner_experiment::active::simulation::{SimulationOptions, Summary, simulate};
use ner_report::active::PlainTable;
use std::io::Write;
use std::path::PathBuf;

const EXAMPLES: &str = "\
Examples:
  medner active simulate bc5cdr --sample --rounds 10,30,60 --min-steps 20    a quick demonstration
  medner active simulate bc5cdr --strategies random,mnlp,badge,hybrid --seeds 1,2,3

Each seed starts from a random set of sentences, the same for all strategies. After each round the encoder is trained
from scratch on everything annotated so far, and scored on test documents; no decision uses these scores. --out keeps
finished trainings: run the same command again to continue after an interruption, or to add strategies, seeds and later
rounds. The results are result.json and report.html in that folder.
Strategies:
  random, longest      random order; most words first
  mnlp                 lowest mean log-probability per word (Shen et al. 2018)
  entropy, margin      token entropy, margin (Settles and Craven 2008; Scheffer et al. 2001)
  vote-entropy, disagreement
                       of --committee models (Dagan and Engelson 1995; McCallum and Nigam 1998)
  bald                 of 8 passes under dropout (Houlsby et al. 2011; Gal et al. 2017)
  core-set, badge      Sener and Savarese 2018; Ash et al. 2020
  hybrid               entropy times the distance from annotated items";

/// Simulate active learning: the train split of an annotated corpus is the pool, and its gold labels the annotator
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Corpus: a name (`medner doctor` lists them) or the path of a dataset.toml
    dataset: String,
    #[command(flatten)]
    place: CorpusArgs,
    #[command(flatten)]
    faults: FaultArgs,
    /// Strategies to compare
    #[arg(long, value_name = "NAME,…", value_delimiter = ',', default_value = "random,mnlp,badge,hybrid")]
    strategies: Vec<Strategy>,
    /// Seeds for the first set of sentences and for training
    #[arg(long, value_name = "N,N,…", value_delimiter = ',', default_value = "1,2,3")]
    seeds: Vec<u64>,
    /// Percent of the pool's words annotated after each round; the first round is drawn at random
    #[arg(long, value_name = "P,P,…", value_delimiter = ',', default_value = "5,10,20,30,45")]
    rounds: Vec<f64>,
    /// Annotate whole documents instead of sentences
    #[arg(long)]
    whole_documents: bool,
    /// Number of test documents to score on, the same for all models
    #[arg(long, value_name = "N", default_value_t = 200)]
    score_documents: usize,
    /// Minimum steps per training; adds epochs to the recipe's if little is annotated
    #[arg(long, value_name = "N", default_value_t = 160)]
    min_steps: usize,
    /// Number of models in a committee
    #[arg(long, value_name = "N", default_value_t = 3)]
    committee: usize,
    /// Encoder: a name that `doctor` lists, a hub id (owner/name), or a folder [default: minilm]
    #[arg(long, value_name = "ENCODER")]
    encoder: Option<String>,
    /// Recipe as TOML [default: the embedded experiments/recipes/active-simulation.toml]
    #[arg(long, value_name = "FILE.toml")]
    config: Option<PathBuf>,
    /// auto, cpu or cuda:N
    #[arg(long, default_value = "auto")]
    device: String,
    /// Folder for finished trainings and the results [default: active/DATASET, beside the runs]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Output format
    #[arg(long, default_value = "table")]
    format: OutputFormat,
}

/// Runs the command.
///
/// # Errors
/// As in [`simulate`].
pub fn run(args: Args) -> Result<()> {
    let format = args.format;
    let options = SimulationOptions {
        dataset: args.dataset,
        source: args.place.source(),
        lenient: args.faults.lenient,
        strategies: args.strategies,
        seeds: args.seeds,
        rounds: args.rounds,
        whole_documents: args.whole_documents,
        score_documents: args.score_documents,
        min_steps: args.min_steps,
        committee: args.committee,
        encoder: args.encoder,
        config: args.config,
        device: args.device,
        out: args.out,
    };
    let stop = interrupt::stop_flag("stopping after this step")?;
    let summary = simulate(&options, &stop)?;
    match format {
        OutputFormat::Json => stdout::print_json(&summary),
        OutputFormat::Table => print(&summary),
    }
}

fn print(summary: &Summary) -> Result<()> {
    let mut out = stdout::stdout();
    let Cost { words, sentences } = summary.pool;
    writeln!(
        out,
        "{}: a pool of {words} words in {sentences} sentences, annotated by {}",
        summary.dataset, summary.unit
    )?;
    for PlainTable { caption, header, rows } in summary.tables() {
        let mut table = score_table::table(&header.iter().map(String::as_str).collect::<Vec<_>>());
        rows.into_iter().for_each(|row| score_table::add_row(&mut table, row));
        writeln!(out, "\n{caption}\n{table}")?;
    }
    writeln!(out, "–: not reached within these rounds, or nothing to compare with.")?;
    Ok(out.flush()?)
}
