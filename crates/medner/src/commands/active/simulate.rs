//! `medner active simulate`: the loop of active learning, played on a corpus whose annotation is there already.

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
  medner active simulate bc5cdr --sample --rounds 10,30,60 --min-steps 20    to see it work
  medner active simulate bc5cdr --strategies random,mnlp,badge,hybrid --seeds 1,2,3

A seed begins with sentences drawn by chance; every strategy goes on from the same ones. After each round the encoder is
trained anew on all that is annotated, by the recipe, and scored on documents of the test split, by which nothing is
chosen. What was trained is kept in --out and not done again: a simulation that was stopped or killed goes on where it
was, and strategies, seeds and rounds at the end may be added. result.json and report.html in it are the result.
Strategies:
  random, longest      chance; the most words
  mnlp                 least probable answer by word (Shen et al. 2018)
  entropy, margin      token entropy, margin (Settles and Craven 2008; Scheffer et al. 2001)
  vote-entropy, disagreement
                       of --committee models (Dagan and Engelson 1995; McCallum and Nigam 1998)
  bald                 of 8 passes under dropout (Houlsby et al. 2011; Gal et al. 2017)
  core-set, badge      Sener and Savarese 2018; Ash et al. 2020
  hybrid               entropy times distance from what is annotated";

/// Play active learning on an annotated corpus: its train split is the pool, and annotating is looking it up
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
    /// Seeds: of what is drawn at first, and of the trainings
    #[arg(long, value_name = "N,N,…", value_delimiter = ',', default_value = "1,2,3")]
    seeds: Vec<u64>,
    /// Percent of the pool's words that are annotated after each round; the first are drawn by chance
    #[arg(long, value_name = "P,P,…", value_delimiter = ',', default_value = "5,10,20,30,45")]
    rounds: Vec<f64>,
    /// Annotate whole documents instead of sentences
    #[arg(long)]
    whole_documents: bool,
    /// Documents of the test split that models are scored on, the same for all [default: all]
    #[arg(long, value_name = "N", default_value_t = 200)]
    score_documents: usize,
    /// Least steps of a training: epochs are added to the recipe's where little is annotated
    #[arg(long, value_name = "N", default_value_t = 160)]
    min_steps: usize,
    /// Models of a committee
    #[arg(long, value_name = "N", default_value_t = 3)]
    committee: usize,
    /// Encoder: a name that `doctor` lists, a hub id (owner/name), or a folder [default: minilm]
    #[arg(long, value_name = "ENCODER")]
    encoder: Option<String>,
    /// Recipe as TOML [default: experiments/recipes/active-simulation.toml of the source, compiled in]
    #[arg(long, value_name = "FILE.toml")]
    config: Option<PathBuf>,
    /// auto, cpu or cuda:N
    #[arg(long, default_value = "auto")]
    device: String,
    /// Folder of what was trained so far [default: active/DATASET, beside the runs]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Form of the result on stdout
    #[arg(long, default_value = "table")]
    format: OutputFormat,
}

/// Runs the command.
///
/// # Errors
/// As [`simulate`].
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
    writeln!(out, "– is not reached within the rounds, or there is nothing to compare with.")?;
    Ok(out.flush()?)
}
