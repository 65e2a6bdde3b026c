//! The active-learning loop: add corrected batches, train a model, propose the next batch.
//!
//! The loop is a folder. You can stop it at any time and move it:
//!
//! ```text
//! loop.json        options
//! gold/            dev.jsonl and test.jsonl, if given
//! labelled/        corrected items, one file per batch
//! corpus/          both as a corpus, with its dataset.toml
//! runs/            the trainings
//! rounds/          the size and scores of each round
//! batches/         the batches to annotate next
//! ```

use super::batch::{self, To};
use super::files_of;
use super::returned;
use super::select::Request;
use crate::corpus;
use crate::input::InputOptions;
use crate::models::{DEFAULT_ENCODER, ModelSelection, folder_of};
use crate::plan::Plan;
use crate::recipe_file::{RecipeFile, check_recipe, recipe_for};
use crate::record::{GroupRecord, RunRecord, now};
use crate::tracking::Tracking;
use crate::train::{Job, train};
use anyhow::{Context, Result, bail, ensure};
use ner_active::{Budget, Strategy};
use ner_data::Document;
use ner_files::write_bytes;
use ner_model::Precision;
use ner_runs::{Status, Store};
use ner_track::Wanted;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use tracing::info;

/// Options of a round. Options that are `None` or empty keep the value in the loop's folder.
#[derive(Clone, Debug)]
pub struct LoopOptions {
    /// The loop's folder; created if missing.
    pub folder: PathBuf,
    /// Corrected batches.
    pub batches: Vec<PathBuf>,
    /// File or folder exported by another tool, if it is not in the batch's folder.
    pub corrected: Option<PathBuf>,
    /// Annotator whose corrections to take.
    pub annotator: Option<String>,
    /// Annotated corpus to start with.
    pub labelled: Option<PathBuf>,
    /// Annotated corpus to choose the best epoch on.
    pub dev: Option<PathBuf>,
    /// Annotated corpus to measure on.
    pub test: Option<PathBuf>,
    /// Encoder.
    pub encoder: Option<String>,
    /// Recipe file.
    pub config: Option<PathBuf>,
    /// Whether to continue training the last round's model.
    pub further: bool,
    /// Whether to start from the encoder in each round.
    pub anew: bool,
    /// Pool to choose the next batch from.
    pub pool: Vec<PathBuf>,
    /// Selection strategy.
    pub strategy: Option<Strategy>,
    /// Selection budget.
    pub budget: Option<Budget>,
    /// Format of the batches.
    pub to: Option<To>,
    /// `auto`, `cpu` or `cuda:N`.
    pub device: String,
}

/// The state after a round: all rounds so far, and the next batch, relative to the loop's folder.
#[derive(Debug, Serialize)]
pub struct Progress {
    /// The rounds.
    pub rounds: Vec<Round>,
    /// The next batch; `None` without a pool, or if everything in it is labelled.
    pub next: Option<String>,
}

/// Adds batches, trains on everything labelled, and proposes the next batch.
///
/// # Errors
/// If a batch is damaged, another process holds the loop, a training fails or is stopped, or nothing is labelled yet.
pub fn go_round(options: &LoopOptions, stop: &AtomicBool) -> Result<Progress> {
    ensure!(options.corrected.is_none() || options.batches.len() == 1, "--corrected needs exactly one batch");
    fs_err::create_dir_all(&options.folder)?;
    let active = Loop { folder: options.folder.canonicalize()? };
    let _lock = Store::new(active.folder.clone()).lock_group("", "loop")?;
    let setting = active.setting(options)?;
    active.take_gold(options)?;
    active.take_batches(options)?;
    let labelled = active.labelled()?;
    ensure!(!labelled.is_empty(), "nothing is labelled yet; name a corrected batch, or pass --labelled");
    let (number, round) = active.train(&setting, &labelled, &options.device, stop)?;
    let next = active.propose(&setting, number, &round, &labelled, &options.device)?;
    let next = next.as_deref().map(|next| next.strip_prefix(&active.folder).unwrap_or(next).display().to_string());
    Ok(Progress { rounds: active.rounds()?, next })
}

/// `loop.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Setting {
    encoder: String,
    /// Hyperparameters that differ from the defaults.
    recipe: toml::Table,
    further: bool,
    /// Relative to the loop's folder if inside it.
    pool: Vec<PathBuf>,
    strategy: Strategy,
    budget: Budget,
    to: To,
}

/// `rounds/NNNN.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Round {
    /// Checksum of everything that determines the round.
    key: String,
    /// Id of its run.
    pub run: String,
    /// Number of labelled items.
    pub items: usize,
    /// Their words.
    pub words: usize,
    /// Their mentions.
    pub mentions: usize,
    /// F1 on dev, from 0 to 1; `None` if undefined.
    pub dev_f1: Option<f64>,
    /// F1 on test, from 0 to 1; `None` if undefined.
    pub test_f1: Option<f64>,
    finished_at: String,
}

/// Name of the loop's corpus.
const NAME: &str = "active";

/// The folder of a loop, locked by this process.
struct Loop {
    folder: PathBuf,
}

/// Labelled items: each item's document and the file that holds it.
type Labelled = BTreeMap<String, (Document, PathBuf)>;

impl Loop {
    fn at(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Merges `options` into the stored options.
    fn setting(&self, options: &LoopOptions) -> Result<Setting> {
        let path = self.at("loop.json");
        let known: Option<Setting> = path.is_file().then(|| read(&path)).transpose()?;
        let mut setting = known.unwrap_or_else(|| Setting {
            encoder: DEFAULT_ENCODER.into(),
            recipe: toml::Table::new(),
            further: false,
            pool: Vec::new(),
            strategy: Strategy::Mnlp,
            budget: Budget { amount: 2000, unit: ner_active::Unit::Words },
            to: To::default(),
        });
        if let Some(path) = &options.config {
            setting.recipe = RecipeFile::read(path)?.recipe;
        }
        setting.encoder = options.encoder.clone().unwrap_or(setting.encoder);
        setting.further = (setting.further || options.further) && !options.anew;
        setting.strategy = options.strategy.unwrap_or(setting.strategy);
        setting.budget = options.budget.unwrap_or(setting.budget);
        setting.to = options.to.unwrap_or(setting.to);
        if !options.pool.is_empty() {
            setting.pool = Vec::new();
            for path in &options.pool {
                let whole = fs_err::canonicalize(path)?;
                setting.pool.push(whole.strip_prefix(&self.folder).map(Path::to_owned).unwrap_or(whole));
            }
        }
        ensure!(
            !setting.strategy.needs_committee(),
            "{} needs several models, but a loop trains one; use `active select` with several models",
            setting.strategy
        );
        write_bytes(&path, &serde_json::to_vec_pretty(&setting)?)?;
        Ok(setting)
    }

    /// Copies the dev, test and labelled corpora into the loop, once.
    fn take_gold(&self, options: &LoopOptions) -> Result<()> {
        let wanted = [
            ("gold/dev.jsonl", &options.dev),
            ("gold/test.jsonl", &options.test),
            ("labelled/0000-given.jsonl", &options.labelled),
        ];
        for (name, path) in wanted {
            let Some(path) = path else { continue };
            let documents = batch::documents_of(path)?;
            ensure!(!documents.is_empty(), "{} has no documents", path.display());
            let place = self.at(name);
            if place.is_file() {
                ensure!(
                    batch::documents_of(&place)? == documents,
                    "{} already exists with other content; start a new loop to change it",
                    place.display()
                );
                continue;
            }
            batch::write_documents(&place, &documents)?;
        }
        Ok(())
    }

    /// Adds batches, all or none of them.
    fn take_batches(&self, options: &LoopOptions) -> Result<()> {
        let mut labelled = self.labelled()?;
        let mut new = Vec::new();
        for path in &options.batches {
            let corrected = returned::read(path, options.corrected.as_deref(), options.annotator.as_deref())?;
            let name = PathBuf::from(format!("{}.jsonl", corrected.id));
            let mut documents = Vec::new();
            for document in corrected.documents {
                if let Some((known, place)) = labelled.get(&document.id) {
                    ensure!(
                        *known == document,
                        "{}: item {}: its annotation differs from {}; nothing was added",
                        path.display(),
                        document.id,
                        place.display()
                    );
                    continue;
                }
                labelled.insert(document.id.clone(), (document.clone(), path.clone()));
                documents.push(document);
            }
            info!(
                "{}: {} new items, {} missing; mentions: {} suggestions kept, {} added, {} removed",
                path.display(),
                documents.len(),
                corrected.missing,
                corrected.kept,
                corrected.added,
                corrected.removed
            );
            if !documents.is_empty() {
                new.push((name, documents));
            }
        }
        for (name, documents) in new {
            let number = 1 + fs_err::read_dir(self.at("labelled")).map_or(0, Iterator::count);
            batch::write_documents(&self.at("labelled").join(format!("{number:04}-{}", name.display())), &documents)?;
        }
        Ok(())
    }

    fn labelled(&self) -> Result<Labelled> {
        let mut labelled = Labelled::new();
        for path in files_of(&self.at("labelled"))? {
            for document in batch::documents_of(&path)? {
                labelled.insert(document.id.clone(), (document, path.clone()));
            }
        }
        Ok(labelled)
    }

    fn rounds(&self) -> Result<Vec<Round>> {
        files_of(&self.at("rounds"))?.iter().map(|path| read(path)).collect()
    }

    /// Writes the corpus; returns its folder and checksum.
    fn corpus(&self, labelled: &Labelled) -> Result<(PathBuf, String)> {
        let folder = self.at("corpus");
        let documents: Vec<Document> = labelled.values().map(|(document, _)| document.clone()).collect();
        let mut sha256 = Sha256::new();
        let mut add = |name: &str, documents: &[Document]| -> Result<()> {
            let path = folder.join(name);
            batch::write_documents(&path, documents)?;
            sha256.update(fs_err::read(&path)?);
            Ok(())
        };
        add("train.jsonl", &documents)?;
        let has_gold = self.at("gold/dev.jsonl").is_file();
        let splits = if has_gold {
            add("dev.jsonl", &batch::documents_of(&self.at("gold/dev.jsonl"))?)?;
            add("test.jsonl", &batch::documents_of(&self.at("gold/test.jsonl"))?)?;
            "splits = { train = { file = \"train.jsonl\" }, dev = { file = \"dev.jsonl\" }, test = { file = \"test.jsonl\" } }"
        } else {
            "split = { file = \"train.jsonl\", dev = 0.1, test = 0.1, seed = 1 }"
        };
        let description = format!("name = \"{NAME}\"\nformat = \"jsonl\"\n{splits}\n");
        write_bytes(&folder.join("dataset.toml"), description.as_bytes())?;
        sha256.update(description);
        Ok((folder, hex(sha256)))
    }

    /// Trains on the labelled items, unless their round exists. Returns the round's number, from 1.
    fn train(&self, setting: &Setting, labelled: &Labelled, device: &str, stop: &AtomicBool) -> Result<(usize, Round)> {
        let rounds = self.rounds()?;
        let (corpus, corpus_sha256) = self.corpus(labelled)?;
        let key = hex(Sha256::new_with_prefix(serde_json::to_vec(&(
            corpus_sha256,
            &setting.encoder,
            &setting.recipe,
            setting.further,
        ))?));
        if let Some(at) = rounds.iter().position(|round| round.key == key) {
            info!("round {}: no new items since then", at + 1);
            return Ok((at + 1, rounds[at].clone()));
        }
        let dataset = corpus.to_str().context("the path of the loop is not UTF-8")?.to_owned();
        let recipe = recipe_for(&corpus::describe(&dataset)?.description, false, &[&setting.recipe])?;
        check_recipe(&recipe)?;
        let last = rounds.last().filter(|_| setting.further);
        let encoder = match last {
            Some(last) => {
                let folder = folder_of(&last.run, &self.at("runs"))?.canonicalize()?;
                folder.to_str().context("the path of the loop is not UTF-8")?.to_owned()
            }
            None => setting.encoder.clone(),
        };
        let plan =
            Plan { keep_head: last.is_some(), device: device.to_owned(), ..Plan::new(&dataset, &encoder, recipe) };
        let store = Store::new(self.at("runs"));
        let number = rounds.len() + 1;
        let mut unfinished = store.list(Some(NAME))?;
        unfinished.retain(|run| {
            let record: Option<RunRecord> = run.folder.read_run().ok();
            let is_ours = record.is_some_and(|record| {
                record.plan.dataset == plan.dataset && record.group.and_then(|group| group.trial).as_ref() == Some(&key)
            });
            is_ours && run.status == Status::Stopped
        });
        let job = match unfinished.pop() {
            Some(run) => Job::Resume(run.folder),
            None => Job::New {
                plan: Box::new(plan),
                group: Some(GroupRecord {
                    id: format!("round-{number:04}"),
                    seeds: Vec::new(),
                    trial: Some(key.clone()),
                }),
            },
        };
        let trained = train(job, &store, &Tracking::for_training(Wanted::default())?, stop)
            .with_context(|| format!("round {number}; continue with `active add {}`", self.folder.display()))?;
        let documents = || labelled.values().map(|(document, _)| document);
        let round = Round {
            key,
            run: trained.folder.id(),
            items: labelled.len(),
            words: documents().map(|document| document.text.split_whitespace().count()).sum(),
            mentions: documents().map(|document| document.mentions.len()).sum(),
            dev_f1: trained.outcome.dev.and_then(|dev| dev.overall.f1),
            test_f1: trained.outcome.test.and_then(|test| test.overall.f1),
            finished_at: now(),
        };
        write_bytes(&self.at("rounds").join(format!("{number:04}.json")), &serde_json::to_vec_pretty(&round)?)?;
        Ok((number, round))
    }

    /// The next batch, if there is a pool: the existing one, or a new one.
    fn propose(
        &self,
        setting: &Setting,
        number: usize,
        round: &Round,
        labelled: &Labelled,
        device: &str,
    ) -> Result<Option<PathBuf>> {
        if setting.pool.is_empty() {
            return Ok(None);
        }
        let folder = self.at("batches").join(format!("{number:04}"));
        if folder.is_dir() {
            return Ok(Some(folder));
        }
        let models = ModelSelection {
            models: vec![round.run.clone()],
            categories: None,
            device: device.to_owned(),
            precision: Precision::Auto,
            apart: false,
            runs: Some(self.at("runs")),
        };
        let pool: Vec<PathBuf> = setting.pool.iter().map(|path| self.folder.join(path)).collect();
        let request = Request {
            pool: &pool,
            from: None,
            options: InputOptions::default(),
            device,
            strategy: setting.strategy,
            budget: setting.budget,
            whole_documents: false,
            seed: number as u64,
            to: setting.to,
        };
        let known: Vec<Document> = labelled.values().map(|(document, _)| document.clone()).collect();
        let selection = request.select(&models.load()?.0, &known)?;
        if selection.is_empty() {
            info!("the whole pool is labelled");
            return Ok(None);
        }
        let bad = selection.write(&folder)?;
        if bad > 0 {
            bail!(
                "{bad} documents or parts of the pool could not be read; see the warnings above; the batch was written"
            );
        }
        Ok(Some(folder))
    }
}

fn read<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T> {
    let bytes = fs_err::read(path)?;
    serde_json::from_slice(&bytes).with_context(|| format!("{} was not written by a loop", path.display()))
}

fn hex(sha256: Sha256) -> String {
    sha256.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}
