//! `medner active add`: corrected batches come back, and the loop goes round.
//!
//! The loop is a folder, which can be stopped and moved:
//!
//! ```text
//! loop.json        what was asked for
//! gold/            dev.jsonl and test.jsonl, where they were given
//! labelled/        what came back, a file for each batch
//! corpus/          both as a corpus, with its dataset.toml
//! runs/            the trainings
//! rounds/          what each round had and what came of it
//! batches/         what is to be annotated next
//! ```

use super::batch::{self, To};
use super::select::Request;
use super::{files_of, write_whole};
use crate::annotate::input;
use crate::experiment::RecipeFile;
use crate::models::{self, ModelArgs};
use crate::run_record::{GroupRecord, Plan, RunRecord, TrainOn, now};
use crate::train::{DEFAULT_ENCODER, Job, check, recipe_for, train};
use crate::{OutputFormat, corpus, interrupt, score_table, stdout, tracking};
use anyhow::{Context, Result, bail, ensure};
use ner_active::{Budget, Strategy};
use ner_data::Document;
use ner_model::Precision;
use ner_runs::{Status, Store};
use serde::{Deserialize, Serialize};
use serde_json::json;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use tracing::info;

const EXAMPLES: &str = "\
Examples:
  medner active add loop batch1 --dev dev.jsonl --test test.jsonl --pool notes/ --budget '2000 words'
  medner active add loop loop/batches/0001                  the batch that it proposed, corrected where it lies
  medner active add loop loop/batches/0002 --corrected export.jsonl
  medner active add loop batch1 --annotator anna            of several who corrected it on the page
  medner active add loop                                    goes on after it was stopped

What was corrected is on the page (`active annotate`), of which items that are done are taken, or else the file in the
batch's folder. Options are kept in the loop's folder; what is given again replaces them. Nothing is taken of a batch that is damaged, or
that says of an item something else than is known: file and item are named. Without --dev and --test a tenth of what is
labelled each is set aside by chance, and scores are of few items. The folder may be moved as long as no training of it was
stopped half-way; that one would begin anew.";

/// Take corrected batches, train on all that is labelled, and propose the next batch
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The loop's folder; it is made where there is none
    folder: PathBuf,
    /// Batches that `active select` or the loop made, corrected
    batches: Vec<PathBuf>,
    /// What was corrected, where it is not in the batch's folder: a file or folder that a tool exported (one batch)
    #[arg(long, value_name = "PATH")]
    corrected: Option<PathBuf>,
    /// Whose corrections of `active annotate` are meant [default: the only annotator's, or what was adjudicated]
    #[arg(long, value_name = "NAME", conflicts_with = "corrected")]
    annotator: Option<String>,
    /// Annotated corpus to begin with
    #[arg(long, value_name = "CORPUS")]
    labelled: Option<PathBuf>,
    /// Annotated corpus that chooses the best epoch
    #[arg(long, value_name = "CORPUS", requires = "test")]
    dev: Option<PathBuf>,
    /// Annotated corpus that measures
    #[arg(long, value_name = "CORPUS", requires = "dev")]
    test: Option<PathBuf>,
    /// Encoder: a name that `doctor` lists, a hub id (owner/name), or a folder [default: minilm]
    #[arg(long, value_name = "ENCODER")]
    encoder: Option<String>,
    /// Recipe as TOML
    #[arg(long, value_name = "FILE.toml")]
    config: Option<PathBuf>,
    /// Train the last round's model further, instead of the encoder anew
    #[arg(long, overrides_with = "anew")]
    further: bool,
    /// Train the encoder anew in each round
    #[arg(long)]
    anew: bool,
    /// Pool that the next batch is chosen from; repeatable
    #[arg(long, value_name = "PATH")]
    pool: Vec<PathBuf>,
    /// How to choose; see `medner active simulate --help` [default: mnlp]
    #[arg(long, value_name = "NAME")]
    strategy: Option<Strategy>,
    /// How much to choose [default: 2000 words]
    #[arg(long, value_name = "BUDGET")]
    budget: Option<Budget>,
    /// What batches are handed out as [default: jsonl]
    #[arg(long, value_enum)]
    to: Option<To>,
    /// auto, cpu or cuda:N
    #[arg(long, default_value = "auto")]
    device: String,
    /// Form of the result on stdout
    #[arg(long, default_value = "table")]
    format: OutputFormat,
}

/// `loop.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Setting {
    encoder: String,
    /// Hyperparameters beside the general ones.
    recipe: toml::Table,
    further: bool,
    /// Relative to the loop's folder where they lie in it.
    pool: Vec<PathBuf>,
    strategy: Strategy,
    budget: Budget,
    to: To,
}

/// `rounds/NNNN.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Round {
    /// Checksum of what decides about it.
    key: String,
    /// Id of its run.
    run: String,
    items: usize,
    words: usize,
    mentions: usize,
    /// F1, from 0 to 1; none where undefined.
    dev_f1: Option<f64>,
    test_f1: Option<f64>,
    finished_at: String,
}

/// Name of the loop's corpus.
const NAME: &str = "active";

/// Runs the command.
///
/// # Errors
/// Where a batch cannot be taken, another process has the loop, a training fails or is stopped, or nothing is left in the
/// pool.
pub fn run(args: &Args) -> Result<()> {
    ensure!(args.corrected.is_none() || args.batches.len() == 1, "--corrected is what came back of one batch");
    fs_err::create_dir_all(&args.folder)?;
    let active = Loop { folder: args.folder.canonicalize()? };
    let _lock = Store::new(active.folder.clone()).lock_group("", "loop")?;
    let setting = active.setting(args)?;
    active.take_gold(args)?;
    active.take_batches(args)?;
    let labelled = active.labelled()?;
    ensure!(!labelled.is_empty(), "nothing is labelled yet; name a batch that was corrected, or --labelled");
    let (number, round) = active.train(&setting, &labelled, &args.device)?;
    let next = active.propose(&setting, number, &round, &labelled, &args.device)?;
    let rounds = active.rounds()?;
    let shown = next.as_deref().map(|next| next.strip_prefix(&active.folder).unwrap_or(next).display().to_string());
    if args.format == OutputFormat::Json {
        return stdout::print_json(&json!({ "rounds": rounds, "next": shown }));
    }
    let mut out = stdout::stdout();
    let mut table = score_table::table(&["round", "items", "words", "mentions", "dev F1", "test F1", "run"]);
    for (at, Round { run, items, words, mentions, dev_f1, test_f1, .. }) in rounds.iter().enumerate() {
        let numbers = [at + 1, *items, *words, *mentions].map(|number| number.to_string());
        let scores = [*dev_f1, *test_f1].map(score_table::percent);
        score_table::add_row(&mut table, numbers.into_iter().chain(scores).chain([run.clone()]).collect());
    }
    writeln!(out, "{table}")?;
    if let Some(next) = shown {
        writeln!(out, "next: {}", args.folder.join(next).display())?;
    }
    Ok(out.flush()?)
}

/// The folder of a loop, which this process holds.
struct Loop {
    folder: PathBuf,
}

/// What is labelled: for each item its document, and the file that it stands in.
type Labelled = BTreeMap<String, (Document, PathBuf)>;

impl Loop {
    fn at(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// What was asked for before, and what is asked for now over it.
    fn setting(&self, args: &Args) -> Result<Setting> {
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
        if let Some(path) = &args.config {
            setting.recipe = RecipeFile::read(path)?.recipe;
        }
        setting.encoder = args.encoder.clone().unwrap_or(setting.encoder);
        setting.further = (setting.further || args.further) && !args.anew;
        setting.strategy = args.strategy.unwrap_or(setting.strategy);
        setting.budget = args.budget.unwrap_or(setting.budget);
        setting.to = args.to.unwrap_or(setting.to);
        if !args.pool.is_empty() {
            setting.pool = Vec::new();
            for path in &args.pool {
                let whole = fs_err::canonicalize(path)?;
                setting.pool.push(whole.strip_prefix(&self.folder).map(Path::to_owned).unwrap_or(whole));
            }
        }
        ensure!(
            !setting.strategy.needs_committee(),
            "{} compares several models, and a loop has one; `active select` takes several",
            setting.strategy
        );
        write_whole(&path, &serde_json::to_vec_pretty(&setting)?)?;
        Ok(setting)
    }

    /// Takes over the corpora of dev and test, and what was labelled before, once.
    fn take_gold(&self, args: &Args) -> Result<()> {
        let wanted = [
            ("gold/dev.jsonl", &args.dev),
            ("gold/test.jsonl", &args.test),
            ("labelled/0000-given.jsonl", &args.labelled),
        ];
        for (name, path) in wanted {
            let Some(path) = path else { continue };
            let documents = batch::documents_of(path)?;
            ensure!(!documents.is_empty(), "{} holds no documents", path.display());
            let place = self.at(name);
            if place.is_file() {
                ensure!(
                    batch::documents_of(&place)? == documents,
                    "{} is there already and is another",
                    place.display()
                );
                continue;
            }
            batch::write_documents(&place, &documents)?;
        }
        Ok(())
    }

    /// Takes batches, all or none of them.
    fn take_batches(&self, args: &Args) -> Result<()> {
        let mut labelled = self.labelled()?;
        let mut new = Vec::new();
        for path in &args.batches {
            let corrected = batch::read(path, args.corrected.as_deref(), args.annotator.as_deref())?;
            let name = PathBuf::from(format!("{}.jsonl", corrected.id));
            let mut documents = Vec::new();
            for document in corrected.documents {
                if let Some((known, place)) = labelled.get(&document.id) {
                    ensure!(
                        *known == document,
                        "{}: item {}: {} says something else of it; nothing was taken",
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
                "{}: {} items are new, {} did not come back; of the mentions {} were suggested, {} were added, {} removed",
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

    /// Writes the corpus; returns its folder and a checksum of it.
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
        write_whole(&folder.join("dataset.toml"), description.as_bytes())?;
        sha256.update(description);
        Ok((folder, hex(sha256)))
    }

    /// The round of what is labelled: that which is there, or a training. Returns its number, from 1.
    fn train(&self, setting: &Setting, labelled: &Labelled, device: &str) -> Result<(usize, Round)> {
        let rounds = self.rounds()?;
        let (corpus, corpus_sha256) = self.corpus(labelled)?;
        let key = hex(Sha256::new_with_prefix(serde_json::to_vec(&(
            corpus_sha256,
            &setting.encoder,
            &setting.recipe,
            setting.further,
        ))?));
        if let Some(at) = rounds.iter().position(|round| round.key == key) {
            info!("round {}: nothing is new since then", at + 1);
            return Ok((at + 1, rounds[at].clone()));
        }
        let dataset = corpus.to_str().context("the path of the loop is no UTF-8")?.to_owned();
        let recipe = recipe_for(&corpus::describe(&dataset)?.description, &[&setting.recipe])?;
        check(&recipe)?;
        let last = rounds.last().filter(|_| setting.further);
        let encoder = match last {
            Some(last) => {
                let folder = models::folder_of(&last.run, &self.at("runs"))?.canonicalize()?;
                folder.to_str().context("the path of the loop is no UTF-8")?.to_owned()
            }
            None => setting.encoder.clone(),
        };
        let plan = Plan {
            dataset,
            data_dir: None,
            sample: false,
            labels: None,
            lenient: false,
            encoder,
            keep_head: last.is_some(),
            device: device.to_owned(),
            keep_text: false,
            dev_only: false,
            train_on: TrainOn::Train,
            thresholds_from: None,
            recipe,
        };
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
        let stop = interrupt::stop_flag("stopping after this step")?;
        let trained = train(job, &store, &tracking::Options::default().for_training()?, &stop)
            .with_context(|| format!("round {number}; `active add {}` goes on", self.folder.display()))?;
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
        write_whole(&self.at("rounds").join(format!("{number:04}.json")), &serde_json::to_vec_pretty(&round)?)?;
        Ok((number, round))
    }

    /// The next batch, where there is a pool: that which is there, or a new one.
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
        let models = ModelArgs {
            models: vec![round.run.clone()],
            categories: None,
            device: device.to_owned(),
            precision: Precision::Auto,
            runs: Some(self.at("runs")),
        };
        let pool: Vec<PathBuf> = setting.pool.iter().map(|path| self.folder.join(path)).collect();
        let request = Request {
            pool: &pool,
            from: None,
            options: input::Options { text_column: "text".into(), ..input::Options::default() },
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
            info!("all of the pool is labelled");
            return Ok(None);
        }
        let bad = selection.write(&folder)?;
        if bad > 0 {
            bail!("{bad} documents or parts of the pool could not be read; they are named above, the batch is there");
        }
        Ok(Some(folder))
    }
}

fn read<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T> {
    let bytes = fs_err::read(path)?;
    serde_json::from_slice(&bytes).with_context(|| format!("{} is not what a loop wrote", path.display()))
}

fn hex(sha256: Sha256) -> String {
    sha256.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}
