//! Finds models by name: a run, a corpus (its newest run), or a folder.

use crate::corpus::{self, hub_options};
use crate::record::{RunRecord, runs_folder};
use anyhow::{Context, Result, bail, ensure};
use ner_annotate::{Annotator, Model};
use ner_data::DatasetDescription;
use ner_hub::resolve_encoder;
use ner_model::{Precision, Recognizer, device_name, find_device, precision_name};
use ner_runs::{Run, RunFolder, Store};
use serde::Deserialize;
use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};
use tracing::info;

/// The default encoder.
pub const DEFAULT_ENCODER: &str = "minilm";

/// Which models to load, and how they compute.
#[derive(Clone, Debug)]
pub struct ModelSelection {
    /// Corpora (their newest runs), runs (id, DATASET/ID or folder), folders of any token-classification model, or ids on
    /// the hub (owner/name).
    pub models: Vec<String>,
    /// TOML file of categories by type; a table `[MODEL]` applies to that model only.
    pub categories: Option<PathBuf>,
    /// `auto`, `cpu` or `cuda:N`.
    pub device: String,
    /// Compute precision.
    pub precision: Precision,
    /// Whether no document may affect another ([`Recognizer::open_apart`]).
    pub apart: bool,
    /// Folder of runs; `None` is experiments/runs of the checkout.
    pub runs: Option<PathBuf>,
}

/// A model on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Located {
    /// `DATASET/ID` of a run, or the folder name of another model.
    pub name: String,
    folder: PathBuf,
    /// Its run, if any.
    run: Option<RunFolder>,
}

impl ModelSelection {
    /// Loads the models; also returns where they were found.
    ///
    /// # Errors
    /// If a model is missing or cannot be loaded, or two are the same.
    pub fn load(&self) -> Result<(Annotator, Vec<Located>)> {
        let runs = runs_folder(self.runs.as_deref())?;
        let table = self.categories.as_deref().map(CategoryFile::read).transpose()?.unwrap_or_default();
        let device = find_device(&self.device)?;
        let (mut models, mut found, mut names) = (Vec::new(), Vec::new(), HashSet::new());
        for wanted in &self.models {
            let located = locate(wanted, &runs, Task::Mentions)?;
            ensure!(names.insert(located.name.clone()), "model {} is named twice", located.name);
            let open = if self.apart { Recognizer::open_apart } else { Recognizer::open_in };
            let recognizer = open(&located.folder, device, self.precision)
                .with_context(|| format!("cannot load model {}", located.name))?;
            let mut model = Model::new(located.name.clone(), recognizer);
            if model.categories.0.is_empty()
                && let Some(description) = description_of_run(&located)
            {
                model.categories = description.categories;
                model.assertable = description.assertable;
            }
            table.apply(&mut model, &[wanted, &located.name]);
            info!(
                "{}: {} types on {} in {}",
                model.name,
                model.recognizer.labels().types.len(),
                device_name(device),
                precision_name(model.recognizer.kind())
            );
            models.push(model);
            found.push(located);
        }
        for name in table.models.keys() {
            let is_there = models.iter().any(|model| model.name == *name) || self.models.contains(name);
            ensure!(is_there, "{}: the models include no {name}", table.path.display());
        }
        Ok((Annotator::new(models), found))
    }
}

impl Located {
    /// The folder with its files.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Its run, if it has one.
    pub const fn run(&self) -> Option<&RunFolder> {
        self.run.as_ref()
    }

    /// Finds a model by its name, as [`ModelSelection::models`].
    ///
    /// # Errors
    /// If there is no such model.
    pub fn find(wanted: &str, runs: &Path) -> Result<Self> {
        locate(wanted, runs, Task::Mentions)
    }

    /// SHA-256 of the weights.
    ///
    /// # Errors
    /// If they cannot be read.
    pub fn weights_sha256(&self) -> Result<String> {
        let names = ["", ".index.json"];
        let names = ["model.safetensors", "pytorch_model.bin"]
            .into_iter()
            .flat_map(|name| names.map(|end| name.to_owned() + end));
        let files: Vec<PathBuf> = names.map(|name| self.folder.join(name)).collect();
        let file = files.iter().find(|file| file.is_file()).unwrap_or(&files[0]);
        Ok(ner_hub::weights_sha256(file)?)
    }
}

impl ModelSelection {
    /// Loads the models as an ensemble.
    ///
    /// # Errors
    /// As [`load`](Self::load), and if the models have different types.
    pub fn load_ensemble(&self) -> Result<(Annotator, Vec<Located>)> {
        let (annotator, located) = self.load()?;
        let ensemble = annotator.into_ensemble().map_err(anyhow::Error::msg)?;
        if let Some(combination) = ensemble.combination() {
            info!("ensemble of {} models, by {}", ensemble.models().len(), combination.name());
        }
        Ok((ensemble, located))
    }
}

/// The folder of a model, by its name.
///
/// # Errors
/// If there is no such model.
pub fn folder_of(wanted: &str, runs: &Path) -> Result<PathBuf> {
    Ok(locate(wanted, runs, Task::Mentions)?.folder)
}

/// The folder of a model that classifies assertions, by its name.
///
/// # Errors
/// If there is no such model.
pub fn assertion_folder(wanted: &str, runs: &Path) -> Result<PathBuf> {
    Ok(locate(wanted, runs, Task::Assertion)?.folder)
}

/// What the newest run of a corpus must have learned.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Task {
    /// To find mentions.
    Mentions,
    /// To classify their assertions.
    Assertion,
}

/// The newest run of a corpus with a model for a task.
fn newest(runs: &Path, dataset: &str, task: Task) -> Result<RunFolder> {
    let is_of_task = |run: &Run| (run.value("head") == Some("assertion".into())) == (task == Task::Assertion);
    let has_model = |run: &Run| run.folder.model().join("model.safetensors").exists();
    let all = Store::new(runs).list(Some(dataset))?;
    let found = all.into_iter().rev().find(|run| is_of_task(run) && has_model(run));
    found.map(|run| run.folder).with_context(|| {
        let (what, option) = match task {
            Task::Mentions => ("finds mentions", ""),
            Task::Assertion => ("classifies assertions", " --task assertion"),
        };
        format!("no run of {dataset} in {} {what}; create one with `train {dataset}{option}`", runs.display())
    })
}

/// Finds a model by its name.
fn locate(wanted: &str, runs: &Path, task: Task) -> Result<Located> {
    let path = Path::new(wanted);
    let has_model = |folder: &Path| folder.join("config.json").is_file();
    for folder in [path.to_owned(), runs.join(path)] {
        if has_model(&folder.join("model")) {
            let run = RunFolder::find(runs, "", &folder.to_string_lossy()).ok();
            return Ok(Located { name: run_name(&folder), folder: folder.join("model"), run });
        }
    }
    if has_model(path) {
        let folder = path.canonicalize()?;
        let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
        return Ok(match folder.parent().filter(|_| name == "model") {
            Some(run) if run.join("run.json").is_file() => {
                let record = RunFolder::find(runs, "", &run.to_string_lossy()).ok();
                Located { name: run_name(run), folder, run: record }
            }
            _ => Located { name, folder, run: None },
        });
    }
    let datasets = datasets(runs)?;
    if datasets.iter().any(|dataset| dataset == wanted) {
        let run = newest(runs, wanted, task)?;
        return Ok(Located { name: run_name(run.path()), folder: run.model(), run: Some(run) });
    }
    for dataset in &datasets {
        if has_model(&runs.join(dataset).join(wanted).join("model")) {
            return locate(&format!("{dataset}/{wanted}"), runs, task);
        }
    }
    // Not a mistyped run: its corpus is no owner on the hub.
    let owner = wanted.split_once('/').map(|(owner, _)| owner);
    if owner.is_some_and(|owner| is_hub_id(wanted) && !datasets.iter().any(|dataset| dataset == owner)) {
        let files = resolve_encoder(wanted, &hub_options());
        let files =
            files.with_context(|| format!("{wanted} is no folder and no run here, so it was sought on the hub"))?;
        return Ok(Located { name: wanted.to_owned(), folder: files.dir, run: None });
    }
    let known = match datasets.as_slice() {
        [] => format!("{} has no runs; create one with `train`", runs.display()),
        datasets => format!("{} has runs of {}", runs.display(), datasets.join(", ")),
    };
    bail!(
        "no model {wanted}: it is neither a folder with a config.json, nor a run, nor a corpus with runs, nor an id on the \
         hub (owner/name); {known}"
    )
}

/// Whether a name could be `owner/name` or `owner/name@revision` on the hub.
fn is_hub_id(wanted: &str) -> bool {
    let allowed = |part: &str| {
        !part.is_empty()
            && !part.starts_with('.')
            && part.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c))
    };
    let id = wanted.split_once('@').map_or(wanted, |(id, _)| id);
    id.split_once('/').is_some_and(|(owner, name)| allowed(owner) && allowed(name))
}

/// `DATASET/ID`.
fn run_name(folder: &Path) -> String {
    let whole = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
    let names: Vec<_> = whole.iter().map(|part| part.to_string_lossy().into_owned()).collect();
    names[names.len().saturating_sub(2)..].join("/")
}

/// Names of the corpora that have runs.
fn datasets(runs: &Path) -> Result<Vec<String>> {
    let mut names = Vec::new();
    if runs.is_dir() {
        for entry in fs_err::read_dir(runs)? {
            let entry = entry?;
            if entry.path().is_dir() {
                names.push(entry.file_name().to_string_lossy().into_owned());
            }
        }
    }
    names.sort();
    Ok(names)
}

/// The corpus's description, for runs of versions that did not store categories with the model.
fn description_of_run(located: &Located) -> Option<DatasetDescription> {
    let record = located.run.as_ref()?.read_run::<RunRecord>().ok()?;
    Some(corpus::describe(&record.plan.dataset).ok()?.description)
}

/// A user's categories, for all models and for single ones.
#[derive(Debug, Default)]
struct CategoryFile {
    path: PathBuf,
    all: BTreeMap<String, String>,
    models: BTreeMap<String, BTreeMap<String, String>>,
}

impl CategoryFile {
    fn read(path: &Path) -> Result<Self> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Value {
            Category(String),
            Model(BTreeMap<String, String>),
        }
        let table: BTreeMap<String, Value> = toml::from_str(&fs_err::read_to_string(path)?)
            .with_context(|| format!("{} is not a valid table of categories", path.display()))?;
        let mut file = Self { path: path.into(), ..Self::default() };
        for (key, value) in table {
            match value {
                Value::Category(category) => drop(file.all.insert(key, category)),
                Value::Model(categories) => drop(file.models.insert(key, categories)),
            }
        }
        Ok(file)
    }

    /// Overrides the model's categories: first with those for all models, then with those for this one.
    fn apply(&self, model: &mut Model, names: &[&str]) {
        let of_model = names.iter().find_map(|&name| self.models.get(name)).into_iter().flatten();
        for (entity_type, category) in self.all.iter().chain(of_model) {
            model.categories.0.insert(entity_type.clone(), category.clone());
        }
    }
}

/// The model folder for `--init-from`, in place of an encoder.
///
/// # Errors
/// If there is no such model.
pub fn trained_model(run: &str, runs: Option<&Path>) -> Result<String> {
    let folder = folder_of(run, &runs_folder(runs)?)?.canonicalize()?;
    Ok(folder.to_str().context("the path of the model is not UTF-8")?.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn models_are_found_by_run_corpus_and_folder() {
        let folder = tempfile::tempdir().expect("a folder");
        let runs = folder.path().join("runs");
        for place in ["runs/a/1", "runs/a/2", "runs/b/3"] {
            let model = folder.path().join(place).join("model");
            fs_err::create_dir_all(&model).expect("made");
            for file in [model.join("config.json"), model.join("model.safetensors"), model.join("../run.json")] {
                fs_err::write(file, "{}").expect("written");
            }
        }
        let elsewhere = folder.path().join("elsewhere");
        fs_err::create_dir(&elsewhere).expect("made");
        fs_err::write(elsewhere.join("config.json"), "{}").expect("written");
        let check = |wanted: &str, expected: &str| {
            let located = locate(wanted, &runs, Task::Mentions).expect("found");
            assert_eq!(located.name, expected, "{wanted}");
            assert!(located.folder.join("config.json").is_file());
            assert_eq!(located.run.is_some(), expected != "elsewhere");
        };
        check("a", "a/2");
        check("1", "a/1");
        check("b/3", "b/3");
        check(&runs.join("a/1").to_string_lossy(), "a/1");
        check(&runs.join("a/1/model").to_string_lossy(), "a/1");
        check(&elsewhere.to_string_lossy(), "elsewhere");
        let error = locate("c", &runs, Task::Mentions).expect_err("none").to_string();
        assert!(error.contains("has runs of a, b"), "{error}");
    }
}
