//! `medner push`: a model on a hub.

use crate::terminal::stdout::stdout;
use anyhow::{Context, Result};
use ner_experiment::corpus::hub_options;
use ner_experiment::models::Located;
use ner_experiment::record::runs_folder;
use ner_experiment::share;
use ner_hub::upload_folder;
use std::io::Write;
use std::path::PathBuf;
use tracing::info;

/// Upload a model with a model card to a hub
///
/// The files are those of `package`. The repository is created if it is missing; the upload is one commit. HF_ENDPOINT
/// names the hub (default: <https://huggingface.co>), HF_TOKEN holds a token that may write. stdout gets the address.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  medner package bc5cdr look-first/              see what would be uploaded
  medner push bc5cdr me/bc5cdr-minilm --private
  medner annotate note.txt --model me/bc5cdr-minilm")]
pub struct Args {
    /// A corpus (its newest run) or a run (id, DATASET/ID or folder)
    #[arg(value_name = "RUN")]
    run: String,
    /// Repository on the hub
    #[arg(value_name = "OWNER/NAME")]
    repository: String,
    /// Only the owner may see a repository that is created
    #[arg(long)]
    private: bool,
    /// Folder of runs [default: experiments/runs of the checkout]
    #[arg(long, value_name = "DIR")]
    runs: Option<PathBuf>,
}

/// Uploads.
///
/// # Errors
/// If there is no such run, no token, or the hub refuses it.
pub fn run(args: &Args) -> Result<()> {
    let located = Located::find(&args.run, &runs_folder(args.runs.as_deref())?)?;
    let folder = tempfile::tempdir().context("no folder for temporary files")?;
    let folder = folder.path().join("model");
    share::package(&located, &folder)?;
    let message = format!("Upload {} with medner {}", located.name, env!("CARGO_PKG_VERSION"));
    let uploaded = upload_folder(&folder, &args.repository, args.private, &message, &hub_options())?;
    info!("commit {}", uploaded.commit);
    let mut out = stdout();
    writeln!(out, "{}", uploaded.url)?;
    Ok(out.flush()?)
}
