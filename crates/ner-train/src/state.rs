//! The state from which a run resumes after its process died: weights, optimiser, average and progress.

use crate::{GradScaler, TrainError, Trainer};
use ner_files::write_bytes;
use ner_model::{Parameters, load_parameters, save_parameters};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use tch::no_grad;

/// Progress of training when its state was saved.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// Completed epochs.
    pub epoch: usize,
    /// Steps taken.
    pub step: usize,
    /// Updates by the optimiser (steps without the skipped ones).
    pub updates: usize,
    /// The scale of the loss.
    pub loss_scale: GradScaler,
    /// Epoch and value of the best dev F1 so far.
    pub best: Option<(usize, f64)>,
}

const TENSORS: &str = "tensors.safetensors";
const PROGRESS: &str = "progress.json";
const EPOCH: &str = "epoch-";

/// Saves the state after an epoch into a new folder under `folder`, then removes earlier states. If the process dies in
/// between, the earlier state stays intact.
///
/// # Errors
/// If it cannot be written; the earlier state then still exists.
pub fn save_state(folder: &Path, trainer: &Trainer<'_>, best: Option<(usize, f64)>) -> Result<(), TrainError> {
    fs_err::create_dir_all(folder)?;
    let earlier = states(folder)?;
    let progress = Progress {
        epoch: trainer.epoch,
        step: trainer.step,
        updates: trainer.optimizer.updates(),
        loss_scale: trainer.loss_scale,
        best,
    };
    let mut tensors = trainer.optimizer.state();
    tensors.extend(trainer.parameters.iter().map(|(name, tensor)| (name.to_owned(), tensor.shallow_clone())));
    if let Some(average) = &trainer.average {
        let average = average.parameters().iter();
        tensors.extend(average.map(|(name, tensor)| (format!("average.{name}"), tensor.shallow_clone())));
    }
    let draft = tempfile::Builder::new().prefix(".draft-").tempdir_in(folder)?;
    save_parameters(&draft.path().join(TENSORS), &Parameters::new(tensors))?;
    let text = serde_json::to_string_pretty(&progress).map_err(std::io::Error::other)?;
    write_bytes(&draft.path().join(PROGRESS), text.as_bytes())?;
    let place = folder.join(format!("{EPOCH}{}", progress.epoch));
    if place.exists() {
        fs_err::remove_dir_all(&place)?;
    }
    fs_err::rename(draft.keep(), &place)?;
    for (_, path) in earlier.into_iter().filter(|(_, path)| *path != place) {
        fs_err::remove_dir_all(path)?;
    }
    Ok(())
}

/// The states under `folder` by epoch, ascending.
fn states(folder: &Path) -> Result<Vec<(usize, PathBuf)>, TrainError> {
    let mut found = Vec::new();
    for entry in fs_err::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        if let Some(epoch) = name.to_str().and_then(|name| name.strip_prefix(EPOCH)?.parse().ok()) {
            found.push((epoch, entry.path()));
        }
    }
    found.sort();
    Ok(found)
}

/// Restores a trainer from the last saved state. Returns `None` if no state was saved.
///
/// # Errors
/// If the state cannot be read or belongs to another model.
pub fn restore_state(folder: &Path, trainer: &mut Trainer<'_>) -> Result<Option<Progress>, TrainError> {
    if !folder.exists() {
        return Ok(None);
    }
    let Some((_, place)) = states(folder)?.pop() else { return Ok(None) };
    let path = place.join(PROGRESS);
    let progress: Progress = serde_json::from_str(&fs_err::read_to_string(&path)?)
        .map_err(|error| TrainError::State { path, message: error.to_string() })?;
    let path = place.join(TENSORS);
    let saved = load_parameters(&path)?;
    // Tensors of the optimiser and the average have the shapes of the weights. All shapes are checked before anything
    // is restored.
    for (name, parameter) in trainer.parameters.iter() {
        let (found, expected) = (saved.get(name)?.size(), parameter.size());
        if found != expected {
            let message = format!(
                "{name} has shape {found:?}, but the model needs {expected:?}; was it saved with another encoder or head?"
            );
            return Err(TrainError::State { path, message });
        }
    }
    no_grad(|| -> Result<(), TrainError> {
        for (name, parameter) in trainer.parameters.iter() {
            parameter.shallow_clone().copy_(&saved.get(name)?);
        }
        trainer.optimizer.restore(progress.updates, &saved)?;
        if let Some(average) = &mut trainer.average {
            average.restore(progress.updates, &saved)?;
        }
        Ok(())
    })?;
    (trainer.epoch, trainer.step, trainer.loss_scale) = (progress.epoch, progress.step, progress.loss_scale);
    Ok(Some(progress))
}
