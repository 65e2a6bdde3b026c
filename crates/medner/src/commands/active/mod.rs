//! `medner active`: active learning.

mod add;
mod annotate;
mod select;
mod simulate;

use anyhow::Result;

/// Active learning: choose what to annotate next, and measure what that saves
#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(clap::Subcommand)]
enum Action {
    /// Choose the next batch from a pool
    Select(Box<select::Args>),
    /// Correct a batch on a page in the browser
    Annotate(annotate::Args),
    /// Show the agreement between the annotators of a batch
    Agreement(annotate::AgreementArgs),
    /// Add corrected batches, train, and propose the next one
    Add(add::Args),
    /// Simulate active learning on an annotated corpus and plot its learning curves
    Simulate(simulate::Args),
}

/// Runs the command.
///
/// # Errors
/// If the chosen action fails.
pub fn run(args: Args) -> Result<()> {
    match args.action {
        Action::Select(args) => select::run(*args),
        Action::Annotate(args) => annotate::run(&args),
        Action::Agreement(args) => annotate::run_agreement(&args),
        Action::Add(args) => add::run(args),
        Action::Simulate(args) => simulate::run(args),
    }
}
