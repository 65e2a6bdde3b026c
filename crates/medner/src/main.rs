//! The `medner` command: fine-tunes BERT encoders to find medical entities, and looks after what that takes.
//!
//! stdout is data, stderr is for people. The exit code is 0, 1 for an error, 2 for a command line that makes no sense.

mod allocator;
mod args;
mod commands;
mod terminal;

use crate::commands::{active, annotate, convert, data, doctor, eval, reference, runs, score, serve, sweep, train};
use crate::terminal::stdout;
use clap::{ArgAction, CommandFactory, Parser, Subcommand, ValueEnum};
use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;
use tracing_subscriber::EnvFilter;

#[derive(Parser)]
#[command(version, about = "Fine-tunes BERT to find medical entities", long_about = None, arg_required_else_help = true)]
#[command(after_help = "\
Examples:
  medner doctor                        what this machine has and what it lacks
  medner data bc5cdr --sample          what the synthetic sample holds; needs no download
  medner data bc5cdr                   the same of the real corpus, fetched if it is not here
  medner train bc5cdr --sample         fine-tune on the sample; without --sample on the real corpus
  medner eval bc5cdr                   score the newest run again
  medner runs list bc5cdr              what was trained, and how it did
  medner score --gold a --predicted b  precision, recall and F1 of any system's output
  medner annotate notes/ --model i2b2  find mentions in texts, with one model or several
  medner serve --model bc5cdr          the same over HTTP, with a page to look at it
  medner convert a b --to jsonl        the same documents in another format, and what it lost

`medner COMMAND --help` explains each command. The environment: MEDNER_CORPORA is a folder of corpora, MEDNER_CACHE
where downloads go, HF_HOME, HF_TOKEN and HF_HUB_OFFLINE mean what they mean to huggingface_hub, RUST_LOG filters the
log; MEDNER_TRACK and MLFLOW_TRACKING_URI say whom to tell of trainings.")]
struct Cli {
    /// Say more on stderr (-vv: everything)
    #[arg(short, long, global = true, display_order = 900, action = ArgAction::Count, conflicts_with = "quiet")]
    verbose: u8,
    /// Say only warnings and errors on stderr, and show no progress
    #[arg(short, long, global = true, display_order = 901)]
    quiet: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Fine-tune an encoder
    Train(train::Args),
    /// Measure a trained model
    Eval(eval::Args),
    /// List, compare, report on, tag, remove and export what was trained and measured
    Runs(runs::Args),
    /// Train with many recipes and compare them on dev
    Sweep(sweep::Args),
    /// Count what a corpus holds, name its faults, and write it as Parquet
    Data(data::Args),
    /// Compare predicted mentions with gold ones, whoever predicted them
    Score(score::Args),
    /// Choose what to annotate next, and find out what choosing saves
    Active(active::Args),
    /// Find mentions in texts
    Annotate(annotate::Args),
    /// Answer requests over HTTP, and show a page
    Serve(serve::Args),
    /// Convert documents from one format to another, and say what was lost
    Convert(convert::Args),
    /// Say what this machine has and what it lacks
    Doctor(doctor::Args),
    /// Print a page of the reference
    #[command(hide = true)]
    Reference(reference::Args),
}

/// How results are written to stdout.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum OutputFormat {
    /// For people
    #[default]
    Table,
    /// One JSON object, for programs
    Json,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    // For the check of command lines in the documentation: they parse, and nothing is done.
    if std::env::var_os("MEDNER_PARSE_ONLY").is_some() {
        return ExitCode::SUCCESS;
    }
    start_log(cli.verbose, cli.quiet);
    let result = match cli.command {
        Command::Train(args) => train::run(args),
        Command::Eval(args) => eval::run(args),
        Command::Runs(args) => runs::run(args),
        Command::Sweep(args) => sweep::run(args),
        Command::Data(args) => data::run(args),
        Command::Score(args) => score::run(args),
        Command::Active(args) => active::run(args),
        Command::Annotate(args) => annotate::run(args),
        Command::Serve(args) => serve::run(&args),
        Command::Convert(args) => convert::run(args),
        Command::Doctor(args) => doctor::run(args),
        Command::Reference(args) => reference::run(&args, &Cli::command()),
    };
    match result {
        Err(error) if !stdout::ReaderGone::caused(&error) => {
            // Where stderr cannot be written either, the exit code is all that is left to say.
            let _ = report(&error);
            ExitCode::FAILURE
        }
        _ => ExitCode::SUCCESS,
    }
}

fn start_log(verbose: u8, quiet: bool) {
    const OURS: [&str; 15] = [
        "medner",
        "ner_active",
        "ner_annotate",
        "ner_data",
        "ner_document",
        "ner_eval",
        "ner_experiment",
        "ner_files",
        "ner_hub",
        "ner_model",
        "ner_runs",
        "ner_serve",
        "ner_text",
        "ner_track",
        "ner_train",
    ];
    let ours = match (quiet, verbose) {
        (true, _) => "warn",
        (false, 0) => "info",
        (false, 1) => "debug",
        (false, _) => "trace",
    };
    let default = OURS.iter().fold("warn".to_owned(), |filter, name| format!("{filter},{name}={ours}"));
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(default));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        .with_target(false)
        .without_time()
        .init();
}

/// Prints an error and its causes. A cause that its effect's message already holds is not said twice.
fn report(error: &anyhow::Error) -> io::Result<()> {
    let mut err = io::stderr().lock();
    let mut said = error.to_string();
    writeln!(err, "error: {said}")?;
    for cause in error.chain().skip(1) {
        let cause = cause.to_string();
        if !said.contains(&cause) {
            writeln!(err, "  caused by: {cause}")?;
        }
        said = cause;
    }
    Ok(())
}
