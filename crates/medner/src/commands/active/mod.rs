//! `medner active`: what to annotate next, and what choosing it saves.

mod add;
mod annotate;
mod select;
mod simulate;

use anyhow::Result;

/// Choose what to annotate next, and find out what choosing saves
#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(clap::Subcommand)]
enum Action {
    /// Choose the next batch of a pool
    Select(Box<select::Args>),
    /// Correct a batch on a page in the browser
    Annotate(annotate::Args),
    /// Show how far those who corrected a batch on the page agree
    Agreement(annotate::AgreementArgs),
    /// Take corrected batches, train, and propose the next one
    Add(add::Args),
    /// Play the loop on an annotated corpus and draw its learning curves
    Simulate(simulate::Args),
}

/// Runs the command.
///
/// # Errors
/// As its actions say.
pub fn run(args: Args) -> Result<()> {
    match args.action {
        Action::Select(args) => select::run(*args),
        Action::Annotate(args) => annotate::run(&args),
        Action::Agreement(args) => annotate::run_agreement(&args),
        Action::Add(args) => add::run(args),
        Action::Simulate(args) => simulate::run(args),
    }
}
