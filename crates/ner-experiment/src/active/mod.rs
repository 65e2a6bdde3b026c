//! Active learning with models: selection, batches, the loop, and its simulation.

mod acquisition;
pub mod batch;
pub mod corrections;
pub mod learning_loop;
pub mod returned;
pub mod select;
pub mod simulation;

use anyhow::Result;
use std::path::{Path, PathBuf};

/// The visible files of a folder, sorted by name; empty if the folder is missing.
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
