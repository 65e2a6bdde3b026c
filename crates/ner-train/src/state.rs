//! The state from which a run resumes after its process died: weights, optimiser, average and progress.

use crate::{GradScaler, TrainError, Trainer};
use ner_files::write_bytes;
use ner_model::{Parameters, load_parameters, save_parameters};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use tch::{Tensor, no_grad};

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
/// Before the number in a folder's name: of the epoch, or of the step where states are saved within epochs.
const NUMBER: &str = "epoch-";

/// Saves the state after an epoch into a new folder under `folder`, then removes earlier states. If the process dies in
/// between, the earlier state stays intact.
///
/// # Errors
/// If it cannot be written; the earlier state then still exists.
pub fn save_state(folder: &Path, trainer: &Trainer<'_>, best: Option<(usize, f64)>) -> Result<(), TrainError> {
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
    write(folder, progress.epoch, tensors, &progress)
}

/// Writes tensors and progress into a new folder under `folder` with this number, then removes folders of other numbers.
pub(crate) fn write(
    folder: &Path,
    number: usize,
    tensors: Vec<(String, Tensor)>,
    progress: &impl Serialize,
) -> Result<(), TrainError> {
    fs_err::create_dir_all(folder)?;
    let earlier = states(folder)?;
    let draft = tempfile::Builder::new().prefix(".draft-").tempdir_in(folder)?;
    save_parameters(&draft.path().join(TENSORS), &Parameters::new(tensors))?;
    let text = serde_json::to_string_pretty(progress).map_err(std::io::Error::other)?;
    write_bytes(&draft.path().join(PROGRESS), text.as_bytes())?;
    let place = folder.join(format!("{NUMBER}{number}"));
    if place.exists() {
        fs_err::remove_dir_all(&place)?;
    }
    fs_err::rename(draft.keep(), &place)?;
    for (_, path) in earlier.into_iter().filter(|(_, path)| *path != place) {
        fs_err::remove_dir_all(path)?;
    }
    Ok(())
}

/// Reads the progress and the tensors with the highest number; `None` if there are none.
pub(crate) fn read<T: DeserializeOwned>(folder: &Path) -> Result<Option<(T, Parameters)>, TrainError> {
    if !folder.exists() {
        return Ok(None);
    }
    let Some((_, place)) = states(folder)?.pop() else { return Ok(None) };
    let path = place.join(PROGRESS);
    let progress = serde_json::from_str(&fs_err::read_to_string(&path)?)
        .map_err(|error| TrainError::State { path, message: error.to_string() })?;
    Ok(Some((progress, load_parameters(&place.join(TENSORS))?)))
}

/// Copies the weights of a saved state into `parameters`. Tensors of the optimiser and the average have the shapes of the
/// weights. All shapes are checked before anything is copied.
pub(crate) fn copy_weights(parameters: &Parameters, saved: &Parameters, folder: &Path) -> Result<(), TrainError> {
    for (name, parameter) in parameters.iter() {
        let (found, expected) = (saved.get(name)?.size(), parameter.size());
        if found != expected {
            let message = format!(
                "{name} has shape {found:?}, but the model needs {expected:?}; was it saved with another encoder or head?"
            );
            return Err(TrainError::State { path: folder.into(), message });
        }
    }
    no_grad(|| {
        for (name, parameter) in parameters.iter() {
            parameter.shallow_clone().copy_(&saved.get(name)?);
        }
        Ok(())
    })
}

/// The states under `folder` by their number, ascending.
fn states(folder: &Path) -> Result<Vec<(usize, PathBuf)>, TrainError> {
    let mut found = Vec::new();
    for entry in fs_err::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        if let Some(epoch) = name.to_str().and_then(|name| name.strip_prefix(NUMBER)?.parse().ok()) {
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
    let Some((progress, saved)) = read::<Progress>(folder)? else { return Ok(None) };
    copy_weights(&trainer.parameters, &saved, folder)?;
    no_grad(|| -> Result<(), TrainError> {
        trainer.optimizer.restore(progress.updates, &saved)?;
        if let Some(average) = &mut trainer.average {
            average.restore(progress.updates, &saved)?;
        }
        Ok(())
    })?;
    (trainer.epoch, trainer.step, trainer.loss_scale) = (progress.epoch, progress.step, progress.loss_scale);
    Ok(Some(progress))
}
