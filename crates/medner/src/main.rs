//! The `medner` command: fine-tunes BERT encoders to find medical entities in text.
//!
//! stdout is data, stderr is for people. The exit code is 0 for success, 1 for an error, 2 for an invalid command line.
//!
//! Where things are: `commands/` has a module per subcommand, `args.rs` the arguments that several share, `terminal/`
//! tables, stdout and Ctrl-C, `stores.rs` which arguments may be URLs, `allocator.rs` the global allocator. The work
//! itself is in the libraries, most of it in [`ner_experiment`].

mod allocator;
mod args;
mod commands;
mod stores;
mod terminal;
mod vocabularies;

use crate::commands::{
    active, annotate, assert, convert, data, doctor, eval, link, package, pretrain, push, reference, runs, score,
    serve, sweep, train, vocabulary, worker,
};
use crate::terminal::stdout;
use clap::{ArgAction, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};
use ner_data::shown_lines;
use ner_model::MOST_THREADS;
use std::io::{self, IsTerminal, Write};
use std::num::NonZero;
use std::process::ExitCode;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::field::MakeExt;
use tracing_subscriber::fmt::format;

fn threads(text: &str) -> Result<NonZero<usize>, String> {
    let number = text.parse::<NonZero<usize>>().ok().filter(|number| number.get() <= MOST_THREADS);
    number.ok_or_else(|| format!("it must be a number from 1 to {MOST_THREADS}"))
}

#[derive(Parser)]
#[command(version, about = "Fine-tunes BERT to find medical entities", long_about = None, arg_required_else_help = true)]
#[command(after_help = "\
Examples:
  medner doctor                        check what this machine has and what is missing
  medner data bc5cdr --sample          inspect the synthetic sample; no download
  medner data bc5cdr                   inspect the real corpus, downloaded if missing
  medner train bc5cdr --sample         fine-tune on the sample; without --sample on the real corpus
  medner eval bc5cdr                   score the newest run again
  medner pretrain notes/ --hours 2     train an encoder further on your text, before `train`
  medner runs list bc5cdr              list runs and their scores
  medner score --gold a --predicted b  precision, recall and F1 of any system's output
  medner annotate notes/ --model i2b2  find mentions in texts, with one model or several
  medner serve --model bc5cdr          the same over HTTP, with a page to try it
  medner convert a b --to jsonl        convert to another format, and report losses
  medner assert a b --to jsonl         say of each mention whether the patient has it

`medner COMMAND --help` explains each command. Environment variables: MEDNER_CORPORA is a folder of corpora and
MEDNER_CACHE the folder for downloads. HF_HOME, HF_TOKEN and HF_HUB_OFFLINE work as in huggingface_hub. RUST_LOG filters
the log. MEDNER_CPU limits predictions to older CPU instructions. MEDNER_TRACK and MLFLOW_TRACKING_URI select the trackers for trainings.")]
struct Cli {
    /// More log output on stderr (-vv: everything)
    #[arg(short, long, global = true, display_order = 900, action = ArgAction::Count, conflicts_with = "quiet")]
    verbose: u8,
    /// Only warnings and errors on stderr, and no progress bars
    #[arg(short, long, global = true, display_order = 901)]
    quiet: bool,
    /// Number of threads [default: OMP_NUM_THREADS, else what the cgroup and the affinity mask grant; at most 16 if they
    /// grant all cores]
    #[arg(long, global = true, display_order = 902, value_name = "N", value_parser = threads)]
    threads: Option<NonZero<usize>>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Fine-tune an encoder
    Train(train::Args),
    /// Train an encoder further on plain text
    Pretrain(pretrain::Args),
    /// Evaluate a trained model
    Eval(eval::Args),
    /// List, compare, report on, tag, remove and export runs
    Runs(runs::Args),
    /// Train with many recipes and compare them on dev
    Sweep(sweep::Args),
    /// Inspect a corpus: statistics and faults; export it as Parquet
    Data(data::Args),
    /// Compare predicted mentions of any system with gold ones
    Score(score::Args),
    /// Active learning: choose what to annotate next, and measure what that saves
    Active(active::Args),
    /// Find mentions in texts
    Annotate(annotate::Args),
    /// Serve models over HTTP, with a page to try them
    Serve(serve::Args),
    /// Annotate for another program over pipes
    Worker(worker::Args),
    /// Convert documents from one format to another, and report losses
    Convert(convert::Args),
    /// Add assertions (absent, possible, somebody else's) and sections to mentions of any origin
    Assert(assert::Args),
    /// Build vocabularies for `link`, or say what one holds
    Vocabulary(vocabulary::Args),
    /// Add concept ids of your vocabulary to mentions of any origin
    Link(link::Args),
    /// Write a model with a model card to a folder, to share it
    Package(package::Args),
    /// Upload a model with a model card to a hub
    Push(push::Args),
    /// Check what this machine has and what is missing
    Doctor(doctor::Args),
    /// Print a page of the reference
    #[command(hide = true)]
    Reference(reference::Args),
}

/// Format of results on stdout.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum OutputFormat {
    /// A table for people
    #[default]
    Table,
    /// One JSON object, for programs
    Json,
}

fn main() -> ExitCode {
    let mut command = Cli::command();
    let matches = command.get_matches_mut();
    let checked = stores::check(&mut command, &matches).and_then(|()| Cli::from_arg_matches(&matches));
    let cli = checked.unwrap_or_else(|error| error.exit());
    // For the check of command lines in the documentation: they parse, and nothing is done.
    if std::env::var_os("MEDNER_PARSE_ONLY").is_some_and(|value| value == "1") {
        return ExitCode::SUCCESS;
    }
    start_log(cli.verbose, cli.quiet);
    let threads = ner_model::set_threads(cli.threads);
    let result = match cli.command {
        Command::Train(args) => train::run(args),
        Command::Pretrain(args) => pretrain::run(args),
        Command::Eval(args) => eval::run(args),
        Command::Runs(args) => runs::run(args),
        Command::Sweep(args) => sweep::run(args),
        Command::Data(args) => data::run(args),
        Command::Score(args) => score::run(args),
        Command::Active(args) => active::run(args),
        Command::Annotate(args) => annotate::run(args),
        Command::Serve(args) => serve::run(&args),
        Command::Worker(args) => worker::run(&args),
        Command::Convert(args) => convert::run(&args),
        Command::Assert(args) => assert::run(&args),
        Command::Vocabulary(args) => vocabulary::run(args),
        Command::Link(args) => link::run(&args),
        Command::Package(args) => package::run(&args),
        Command::Push(args) => push::run(&args),
        Command::Doctor(args) => doctor::run(args, threads),
        Command::Reference(args) => reference::run(&args, &Cli::command()),
    };
    match result {
        Err(error) if !stdout::ReaderGone::caused(&error) => {
            // If stderr fails too, only the exit code is left.
            let _ = report(&error);
            ExitCode::FAILURE
        }
        _ => ExitCode::SUCCESS,
    }
}

fn start_log(verbose: u8, quiet: bool) {
    const OURS: [&str; 16] = [
        "medner",
        "ner_active",
        "ner_annotate",
        "ner_context",
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
    // Which request a store has to be asked again; without the queries of its URLs.
    let default = if quiet { "warn" } else { "warn,object_store=info" }.to_owned();
    let default = OURS.iter().fold(default, |filter, name| format!("{filter},{name}={ours}"));
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(default));
    // Messages name foreign files, ids and types.
    let fields = format::debug_fn(|out, field, value| {
        let value = shown_lines(&format!("{value:?}"));
        if field.name() == "message" { write!(out, "{value}") } else { write!(out, "{}={value}", field.name()) }
    });
    tracing_subscriber::fmt()
        .fmt_fields(fields.delimited(" "))
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        .with_target(false)
        .without_time()
        .init();
}

/// Prints an error and its causes. Skips a cause that the message before it already contains.
fn report(error: &anyhow::Error) -> io::Result<()> {
    let mut err = io::stderr().lock();
    let mut previous = error.to_string();
    writeln!(err, "error: {}", shown_lines(&previous))?;
    for cause in error.chain().skip(1) {
        let cause = cause.to_string();
        if !previous.contains(&cause) {
            writeln!(err, "  caused by: {}", shown_lines(&cause))?;
        }
        previous = cause;
    }
    Ok(())
}
