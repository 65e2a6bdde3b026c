//! Active learning with models: what to annotate next, batches of it, the loop, and its simulation.

mod acquisition;
pub mod batch;
pub mod corrections;
pub mod learning_loop;
pub mod returned;
pub mod select;
pub mod simulation;

use anyhow::Result;
use std::path::{Path, PathBuf};

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
