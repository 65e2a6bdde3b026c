//! `medner package`: a model as a folder to share.

use anyhow::Result;
use ner_experiment::models::Located;
use ner_experiment::record::runs_folder;
use ner_experiment::share;
use std::path::PathBuf;
use tracing::info;

/// Write a model with a model card to a folder, to share it
///
/// The card comes from the record of the run: data, splits, scores with intervals, calibration, limits, licences of
/// encoder and corpus, and how to load the model. The folder holds no text of a corpus, no path and no command line. Read
/// the card before you share it: only you can say under which licence.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  medner package bc5cdr shared/                  the newest run of a corpus
  medner annotate note.txt --model shared/       a packaged model is a model")]
pub struct Args {
    /// A corpus (its newest run) or a run (id, DATASET/ID or folder)
    #[arg(value_name = "RUN")]
    run: String,
    /// Folder to write; it must be new or empty
    #[arg(value_name = "OUT")]
    out: PathBuf,
    /// Folder of runs [default: experiments/runs of the checkout]
    #[arg(long, value_name = "DIR")]
    runs: Option<PathBuf>,
}

/// Packages.
///
/// # Errors
/// If there is no such run, or the folder has contents.
pub fn run(args: &Args) -> Result<()> {
    let located = Located::find(&args.run, &runs_folder(args.runs.as_deref())?)?;
    share::package(&located, &args.out)?;
    info!("{} is in {}; read README.md before you share it", located.name, args.out.display());
    Ok(())
}
