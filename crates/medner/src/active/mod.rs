//! `medner active`: what to annotate next, and what choosing it saves.

mod add;
mod annotate;
mod assess;
mod batch;
mod corrections;
mod select;
mod simulate;

use anyhow::Result;
use std::io::Write;
use std::path::{Path, PathBuf};

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
        Action::Add(args) => add::run(&args),
        Action::Simulate(args) => simulate::run(&args),
    }
}

/// Writes a file that is there whole or not at all, also after a crash of the machine.
///
/// # Errors
/// Where it cannot be written.
fn write_whole(path: &Path, bytes: &[u8]) -> Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs_err::create_dir_all(folder)?;
    let mut builder = tempfile::Builder::new();
    builder.prefix(".medner-");
    // Temporary files as such are for the owner's eyes alone. The process's umask still applies.
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    let mut file = builder.tempfile_in(folder)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    Ok(())
}

/// The files of a folder in the order of their names, but for hidden ones; none where there is no folder.
fn files_of(folder: &Path) -> Result<Vec<PathBuf>> {
    if !folder.is_dir() {
        return Ok(Vec::new());
    }
    let mut paths = Vec::new();
    for entry in fs_err::read_dir(folder)? {
        let entry = entry?;
        if !entry.file_name().to_string_lossy().starts_with('.') {
            paths.push(entry.path());
        }
    }
    paths.sort();
    Ok(paths)
}
