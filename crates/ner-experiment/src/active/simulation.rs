//! Simulates active learning on an annotated corpus.

use super::acquisition::{Assessor, CHUNK, Cut, states};
use crate::corpus::{self, Corpus, CorpusSource};
use crate::models::DEFAULT_ENCODER;
use crate::plan::Plan;
use crate::predict::{EncodedSplit, predict};
use crate::prepare::Prepared;
use crate::recipe_file::{RecipeFile, check_keys, check_recipe, recipe_for};
use crate::record::{now, runs_folder};
use anyhow::{Context, Result, bail, ensure};
use ner_active::curve::{Mean, Point, mean_score, words_for};
use ner_active::{Budget, Cost, Offer, Posterior, Rows, Selector, Strategy, Unit, chance};
use ner_data::{Document, DocumentTokenizer, LabelSet, derive_seed};
use ner_eval::{Score, score_documents};
use ner_files::write_bytes;
use ner_model::{Head, InferenceConfig, Parameters, Pretrained, Recognizer, Tagger, load_encoder, precision_name};
use ner_report::active::{ActivePage, Curve, PlainTable};
use ner_runs::{Store, modern_name};
use ner_train::{Trainer, TrainingDocument, TrainingSet, steps_of_epoch};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;
use tch::{Device, Kind};
use tracing::info;

/// Options of a simulation.
#[derive(Clone, Debug)]
pub struct SimulationOptions {
    /// Corpus: a name, or the path of a dataset.toml.
    pub dataset: String,
    /// Where the corpus comes from.
    pub source: CorpusSource,
    /// Whether to skip faulty parts of the corpus.
    pub lenient: bool,
    /// The strategies to compare.
    pub strategies: Vec<Strategy>,
    /// Seeds of the first draw and of training.
    pub seeds: Vec<u64>,
    /// Percent of the pool's words annotated after each round, increasing.
    pub rounds: Vec<f64>,
    /// Whether to annotate whole documents instead of sentences.
    pub whole_documents: bool,
    /// Maximum number of test documents to score on.
    pub score_documents: usize,
    /// Minimum steps per training.
    pub min_steps: usize,
    /// Number of models in a committee.
    pub committee: usize,
    /// Encoder; `None` uses the recipe's or the default.
    pub encoder: Option<String>,
    /// Recipe file; `None` uses the embedded recipe.
    pub config: Option<PathBuf>,
    /// `auto`, `cpu` or `cuda:N`.
    pub device: String,
    /// Folder for finished trainings and results; `None` is `active/DATASET` beside the runs.
    pub out: Option<PathBuf>,
}

/// A part of a document of the pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(from = "(usize, usize)", into = "(usize, usize)")]
struct PoolPart {
    /// Index of the document in the split.
    document: usize,
    /// Index of the part in the document.
    part: usize,
}

impl From<(usize, usize)> for PoolPart {
    fn from((document, part): (usize, usize)) -> Self {
        Self { document, part }
    }
}

impl From<PoolPart> for (usize, usize) {
    fn from(PoolPart { document, part }: PoolPart) -> Self {
        (document, part)
    }
}

/// Runs the simulation and writes `result.json` and `report.html`. Finished trainings are reused.
///
/// # Errors
/// If the options are inconsistent, the corpus or the encoder is missing, a training fails or is stopped, or the folder
/// belongs to another simulation or is in use.
pub fn simulate(options: &SimulationOptions, stop: &AtomicBool) -> Result<Summary> {
    ensure!(!options.strategies.is_empty() && !options.seeds.is_empty(), "name at least one strategy and one seed");
    let rising = options.rounds.windows(2).all(|pair| pair[0] < pair[1]);
    let within = options.rounds.iter().all(|&percent| percent > 0.0 && percent < 100.0);
    ensure!(
        rising && within && !options.rounds.is_empty(),
        "--rounds must be increasing percentages between 0 and 100"
    );
    ensure!(options.committee > 1, "--committee must be at least 2");
    let name = corpus::name_of(&options.dataset)?;
    let out = match &options.out {
        Some(out) => out.clone(),
        None => runs_folder(None)?.with_file_name("active").join(&name),
    };
    let simulation = Simulation::new(options, stop)?;
    fs_err::create_dir_all(&out)?;
    let _lock = Store::new(out.clone()).lock_group("", "simulation")?;
    simulation.claim(&out)?;
    for &seed in &options.seeds {
        let weights = simulation.new_head(seed)?;
        SeedRun { simulation: &simulation, seed, folder: out.join(format!("seed{seed}")), weights }
            .play(&options.strategies, &options.rounds)?;
    }
    let summary = Summary::read(&out, options, &simulation)?;
    write_bytes(&out.join("result.json"), &serde_json::to_vec_pretty(&summary)?)?;
    write_bytes(&out.join("report.html"), summary.page()?.as_bytes())?;
    info!("report: {}", out.join("report.html").display());
    Ok(summary)
}

/// The default recipe of a simulation.
const RECIPE: &str = include_str!("../../../../experiments/recipes/active-simulation.toml");

/// Seed streams from here on belong to further committee members; lower ones belong to rounds.
const COMMITTEE: u64 = 1 << 32;

/// Shares of the full-data score in the results table.
const TARGETS: [f64; 3] = [0.90, 0.95, 0.99];

/// `simulation.json`: everything that determines a round's result. A folder can be continued only with equal settings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Setting {
    plan: Plan,
    encoder_sha256: String,
    corpus_sha256: Vec<String>,
    documents: [usize; 2],
    whole_documents: bool,
    score_documents: usize,
    min_steps: usize,
    committee: usize,
    threads: i32,
    #[serde(deserialize_with = "modern_compute")]
    compute: String,
}

/// Reads the libtorch names of earlier versions.
fn modern_compute<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    Ok(modern_name(&String::deserialize(deserializer)?))
}

/// `*.json` of one training: the selected parts and the scores.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Round {
    /// Parts selected in this round: document index in the split, part index in the document.
    chosen: Vec<PoolPart>,
    /// Total cost of annotation after this round.
    annotated: Cost,
    /// Its share of the pool's words.
    share: f64,
    /// On the test documents, over all types; `None` if undefined.
    precision: Option<f64>,
    recall: Option<f64>,
    f1: Option<f64>,
    steps: usize,
    epochs: usize,
    select_ms: f64,
    train_ms: f64,
    score_ms: f64,
    finished_at: String,
}

/// Data shared by all trainings.
struct Simulation<'a> {
    setting: Setting,
    corpus: Corpus,
    files: ner_hub::EncoderFiles,
    pretrained: Pretrained,
    labels: LabelSet,
    inference: InferenceConfig,
    tokenizer: DocumentTokenizer,
    device: Device,
    kind: Kind,
    pool: Vec<Cut>,
    data: TrainingSet,
    /// Cost of the whole pool.
    whole: Cost,
    scored: Vec<Document>,
    stop: &'a AtomicBool,
}

impl<'a> Simulation<'a> {
    fn new(options: &SimulationOptions, stop: &'a AtomicBool) -> Result<Self> {
        let file = match &options.config {
            Some(path) => RecipeFile::read(path)?,
            None => RecipeFile { recipe: toml::from_str(RECIPE)?, ..RecipeFile::default() },
        };
        check_keys(&file.recipe, "the recipe")?;
        let recipe =
            recipe_for(&corpus::describe(&options.dataset)?.description, options.source.sample, &[&file.recipe])?;
        check_recipe(&recipe)?;
        ensure!(
            recipe.head() != Head::Assertion,
            "active learning chooses texts to find mentions in; take another head"
        );
        let encoder = options.encoder.as_ref().or(file.experiment.encoder.as_ref());
        let encoder = encoder.map_or(DEFAULT_ENCODER, String::as_str);
        let mut plan = Plan {
            data_dir: options.source.data_dir.clone(),
            sample: options.source.sample,
            labels: options.source.labels.clone().or(file.experiment.labels),
            lenient: options.lenient,
            device: options.device.clone(),
            ..Plan::new(&options.dataset, encoder, recipe)
        };
        let Prepared { corpus, files, labels, pretrained, inference, tokenizer, device, kind, .. } =
            Prepared::of(&mut plan)?;
        let documents = &corpus.splits.train.documents;
        let encoded = tokenizer.encode(documents)?;
        let data = TrainingSet::new(&tokenizer, documents, &encoded, &labels, plan.recipe.head());
        let pairs = documents.iter().zip(encoded);
        let pool: Vec<Cut> =
            pairs.map(|(document, encoded)| Cut::new(document, encoded, options.whole_documents)).collect();
        let whole = sum(pool.iter().flat_map(|cut| cut.costs.iter().copied()));
        ensure!(whole.words > 0, "the train split of {} has no text", options.dataset);

        let test = &corpus.splits.test.documents;
        ensure!(!test.is_empty(), "{} has no test split to score on", options.dataset);
        // The same documents for every seed and strategy, so that their choice affects all alike.
        let mut places: Vec<usize> = (0..test.len()).collect();
        places.sort_by(|&a, &b| chance(0, a as u64).total_cmp(&chance(0, b as u64)));
        places.truncate(options.score_documents);
        places.sort_unstable();
        let scored: Vec<Document> = places.into_iter().map(|at| test[at].clone()).collect();
        ensure!(!scored.is_empty(), "--score-documents must be at least 1");
        let setting = Setting {
            encoder_sha256: files.weights_sha256()?,
            corpus_sha256: corpus.origin.files.iter().map(|file| file.sha256.clone()).collect(),
            documents: [documents.len(), test.len()],
            whole_documents: options.whole_documents,
            score_documents: scored.len(),
            min_steps: options.min_steps,
            committee: options.committee,
            threads: tch::get_num_threads(),
            compute: precision_name(kind),
            plan,
        };
        info!(
            "the pool: {} words, {} sentences, {} documents; scored on {} documents of the test split",
            whole.words,
            whole.sentences,
            pool.len(),
            scored.len()
        );
        Ok(Self {
            setting,
            files,
            pretrained,
            labels,
            inference,
            tokenizer,
            device,
            kind,
            pool,
            data,
            whole,
            scored,
            stop,
            corpus,
        })
    }

    /// Creates `out` as the folder of this simulation, or checks that it is.
    fn claim(&self, out: &Path) -> Result<()> {
        let path = out.join("simulation.json");
        if !path.is_file() {
            return Ok(write_bytes(&path, &serde_json::to_vec_pretty(&self.setting)?)?);
        }
        // Parsed into the type first, so that fields added by later versions get their defaults.
        let stored = serde_json::to_value(read::<Setting>(&path)?)?;
        let ours = serde_json::to_value(&self.setting)?;
        if let Some(key) = first_difference(&stored, &ours, "") {
            bail!("{} holds a simulation with another {key}; name another folder with --out", out.display());
        }
        Ok(())
    }

    /// The encoder's weights with a new head.
    fn new_head(&self, seed: u64) -> Result<Parameters> {
        if seed == self.setting.plan.recipe.seed {
            return Ok(self.pretrained.parameters.copy());
        }
        let head = self.inference.head;
        Ok(load_encoder(&self.files.config, &self.files.weights, &self.labels, head, seed)?.parameters)
    }

    fn documents(&self) -> &[Document] {
        &self.corpus.splits.train.documents
    }

    /// The annotated parts as training data.
    fn training_set(&self, labelled: &BTreeSet<PoolPart>) -> TrainingSet {
        let part = |&PoolPart { document, part }: &PoolPart| -> TrainingDocument {
            self.data.documents[document].part(self.pool[document].parts[part].tokens.clone())
        };
        self.data.with_documents(labelled.iter().map(part).collect())
    }

    /// Trains from `weights` on `data`.
    fn train(&self, weights: &Parameters, data: &TrainingSet, seed: u64) -> Result<Fitted> {
        let begin = Instant::now();
        let mut recipe = self.setting.plan.recipe.clone();
        recipe.seed = seed;
        let config = &self.pretrained.config;
        let per_epoch = steps_of_epoch(data, &recipe, 0);
        recipe.epochs = recipe.epochs.max(self.setting.min_steps.div_ceil(per_epoch.max(1)));
        let mut trainer = Trainer::new(&recipe, config, weights, data, self.device)?;
        while trainer.epochs_done() < recipe.epochs {
            for step in trainer.next_epoch() {
                step?;
                ensure!(!self.stop.load(Ordering::Relaxed), "stopped; run the same command again to continue");
            }
        }
        let tagger = Tagger::new(config, &self.labels, self.inference.head, trainer.weights(), self.device, self.kind)?;
        let model = Recognizer::new(tagger, self.tokenizer.clone(), self.inference.clone());
        let train_ms = begin.elapsed().as_secs_f64() * 1e3;
        Ok(Fitted { model, steps: trainer.steps_taken(), epochs: recipe.epochs, train_ms })
    }

    fn score(&self, model: &Recognizer) -> Result<Score> {
        let split = EncodedSplit::new(&self.tokenizer, &self.scored)?;
        let predicted = predict(model, &split, "test");
        Ok(score_documents(&self.scored, &predicted)?.scores.overall)
    }

    /// Lets a strategy select from the unannotated parts; also returns its time in milliseconds.
    fn select(
        &self,
        strategy: Strategy,
        models: &[Recognizer],
        labelled: &BTreeSet<PoolPart>,
        words: usize,
        seed: u64,
    ) -> Result<(Vec<PoolPart>, f64)> {
        let begin = Instant::now();
        let assessor = Assessor { strategy, models: models.iter().collect(), device: self.device, seed };
        let mut selector = Selector::new(strategy, Budget { amount: words, unit: Unit::Words }, seed);
        let mut known = Rows::new();
        for first in (0..self.pool.len()).step_by(CHUNK) {
            let chunk = first..(first + CHUNK).min(self.pool.len());
            let open: Vec<usize> = chunk
                .clone()
                .filter(|&at| {
                    (0..self.pool[at].parts.len()).any(|part| !labelled.contains(&PoolPart { document: at, part }))
                })
                .collect();
            let documents: Vec<&Document> = open.iter().map(|&at| &self.documents()[at]).collect();
            let cuts: Vec<&Cut> = open.iter().map(|&at| &self.pool[at]).collect();
            for (&document, assessments) in open.iter().zip(assessor.assess(&documents, &cuts)?) {
                for (part, assessed) in assessments.into_iter().enumerate() {
                    let cost = self.pool[document].costs[part];
                    if !labelled.contains(&PoolPart { document, part }) {
                        let item = PoolPart { document, part };
                        selector.offer(Offer { cost, score: assessed.score, row: &assessed.row, item });
                    } else if matches!(strategy, Strategy::CoreSet | Strategy::Hybrid) {
                        known.push(&assessed.row);
                    }
                }
            }
            if matches!(strategy, Strategy::CoreSet | Strategy::Hybrid) {
                let closed: Vec<usize> = chunk.filter(|at| !open.contains(at)).collect();
                let encoded: Vec<_> = closed.iter().map(|&at| &self.pool[at].encoded).collect();
                for (at, (states, hidden)) in closed.into_iter().zip(states(&models[0], &encoded)) {
                    for part in &self.pool[at].parts {
                        known.push(&Posterior::embedding(part, &states, hidden));
                    }
                }
            }
        }
        let chosen = selector.finish(&known).into_iter().map(|chosen| chosen.item).collect();
        Ok((chosen, begin.elapsed().as_secs_f64() * 1e3))
    }

    fn cost(&self, labelled: &BTreeSet<PoolPart>) -> Cost {
        sum(labelled.iter().map(|&PoolPart { document, part }| self.pool[document].costs[part]))
    }

    /// Maximum number of words annotated after a round.
    fn words_at(&self, percent: f64) -> usize {
        (self.whole.words as f64 * percent / 100.0).round() as usize
    }
}

/// A trained model and its costs.
struct Fitted {
    model: Recognizer,
    steps: usize,
    epochs: usize,
    train_ms: f64,
}

fn sum(costs: impl Iterator<Item = Cost>) -> Cost {
    costs.fold(Cost::default(), |sum, cost| Cost {
        words: sum.words + cost.words,
        sentences: sum.sentences + cost.sentences,
    })
}

/// One seed of a simulation.
struct SeedRun<'b> {
    simulation: &'b Simulation<'b>,
    seed: u64,
    folder: PathBuf,
    weights: Parameters,
}

impl SeedRun<'_> {
    fn play(&self, strategies: &[Strategy], rounds: &[f64]) -> Result<()> {
        let simulation = self.simulation;
        // Trained once for all strategies, and only if one of them still needs it.
        let mut first: Option<Vec<Recognizer>> = None;
        let everything: Vec<PoolPart> = (0..simulation.pool.len())
            .flat_map(|document| {
                (0..simulation.pool[document].parts.len()).map(move |part| PoolPart { document, part })
            })
            .collect();
        let start = {
            let path = self.folder.join("start.json");
            let budget = Budget { amount: simulation.words_at(rounds[0]), unit: Unit::Words };
            let mut selector = Selector::new(Strategy::Random, budget, self.seed);
            for &part in &everything {
                let cost = simulation.pool[part.document].costs[part.part];
                selector.offer(Offer { cost, score: None, row: &[], item: part });
            }
            let chosen = selector.finish(&Rows::new()).into_iter().map(|chosen| chosen.item).collect();
            self.round(&path, "start", chosen, &BTreeSet::new(), 0.0, &mut first)?
        };
        for &strategy in strategies {
            let mut labelled: BTreeSet<PoolPart> = start.chosen.iter().copied().collect();
            let mut last: Option<Vec<Recognizer>> = None;
            for (number, &percent) in rounds.iter().enumerate().skip(1) {
                let path = self.folder.join(format!("{strategy}-{percent}.json"));
                let what = format!("{strategy}, {percent} %");
                if path.is_file() {
                    let round: Round = read(&path)?;
                    labelled.extend(round.chosen);
                    continue;
                }
                // The previous round's models: in memory, or trained again after an interruption.
                let models = match if number == 1 { &mut first } else { &mut last } {
                    _ if !strategy.needs_model() => &[],
                    Some(models) if models.len() >= self.members(strategy) => models.as_slice(),
                    held => self.committee(strategy, &labelled, held)?,
                };
                let words = simulation.words_at(percent).saturating_sub(simulation.cost(&labelled).words);
                // A different random stream than the seed's first draw.
                let seed = derive_seed(self.seed, number as u64);
                let (chosen, select_ms) = simulation.select(strategy, models, &labelled, words, seed)?;
                let before = labelled.clone();
                let mut made = None;
                let round = self.round(&path, &what, chosen, &before, select_ms, &mut made)?;
                labelled.extend(round.chosen);
                last = made;
            }
        }
        let path = self.folder.join("full.json");
        self.round(&path, "all", everything, &BTreeSet::new(), 0.0, &mut None)?;
        Ok(())
    }

    fn members(&self, strategy: Strategy) -> usize {
        if strategy.needs_committee() { self.simulation.setting.committee } else { 1 }
    }

    /// The models of a strategy, trained on the annotated parts unless already held.
    fn committee<'h>(
        &self,
        strategy: Strategy,
        labelled: &BTreeSet<PoolPart>,
        held: &'h mut Option<Vec<Recognizer>>,
    ) -> Result<&'h [Recognizer]> {
        let data = self.simulation.training_set(labelled);
        let models = held.get_or_insert_default();
        for member in models.len()..self.members(strategy) {
            models.push(match member {
                0 => self.simulation.train(&self.weights, &data, self.seed)?.model,
                member => {
                    let seed = derive_seed(self.seed, COMMITTEE + member as u64);
                    self.simulation.train(&self.simulation.new_head(seed)?, &data, seed)?.model
                }
            });
        }
        Ok(models)
    }

    /// Reads the round's file, or trains on `before` plus `chosen`, writes the file, and puts the model into `model`.
    fn round(
        &self,
        path: &Path,
        what: &str,
        chosen: Vec<PoolPart>,
        before: &BTreeSet<PoolPart>,
        select_ms: f64,
        model: &mut Option<Vec<Recognizer>>,
    ) -> Result<Round> {
        if path.is_file() {
            return read(path);
        }
        let mut labelled = before.clone();
        labelled.extend(chosen.iter().copied());
        let fitted = self.simulation.train(&self.weights, &self.simulation.training_set(&labelled), self.seed)?;
        let begin = Instant::now();
        let score = self.simulation.score(&fitted.model)?;
        let annotated = self.simulation.cost(&labelled);
        let round = Round {
            chosen,
            share: annotated.words as f64 / self.simulation.whole.words as f64,
            annotated,
            precision: score.precision,
            recall: score.recall,
            f1: score.f1,
            steps: fitted.steps,
            epochs: fitted.epochs,
            select_ms,
            train_ms: fitted.train_ms,
            score_ms: begin.elapsed().as_secs_f64() * 1e3,
            finished_at: now(),
        };
        write_bytes(path, &serde_json::to_vec(&round)?)?;
        info!(
            "seed {}, {what}: {} words, F1 {} ({} steps in {:.0} s, selection {:.0} s)",
            self.seed,
            annotated.words,
            round.f1.map_or_else(|| "–".into(), |f1| format!("{:.2}", 100.0 * f1)),
            round.steps,
            round.train_ms / 1e3,
            select_ms / 1e3
        );
        *model = Some(vec![fitted.model]);
        Ok(round)
    }
}

fn read<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T> {
    let bytes = fs_err::read(path)?;
    serde_json::from_slice(&bytes).with_context(|| format!("{} was not written by a simulation", path.display()))
}

/// The dotted name of the first key in which two values differ. Skips the corpus folder and the device, which do not
/// affect results beyond what `compute` records.
fn first_difference(a: &Value, b: &Value, key: &str) -> Option<String> {
    if ["plan.data_dir", "plan.device"].contains(&key) {
        return None;
    }
    match (a, b) {
        (Value::Object(left), Value::Object(right)) => {
            let keys: BTreeSet<&String> = left.keys().chain(right.keys()).collect();
            keys.into_iter().find_map(|name| {
                let key = if key.is_empty() { name.clone() } else { format!("{key}.{name}") };
                first_difference(a.get(name).unwrap_or(&Value::Null), b.get(name).unwrap_or(&Value::Null), &key)
            })
        }
        _ => (a != b).then(|| key.to_owned()),
    }
}

/// `result.json`: the results of a simulation.
#[derive(Debug, Serialize)]
pub struct Summary {
    /// Name of the corpus.
    pub dataset: String,
    encoder: String,
    synthetic: bool,
    /// Unit of annotation.
    pub unit: &'static str,
    /// Cost of the whole pool.
    pub pool: Cost,
    scored_documents: usize,
    seeds: Vec<u64>,
    recipe: ner_train::Recipe,
    min_steps: usize,
    /// F1 with the whole pool annotated, with the same recipe.
    full: Option<Mean>,
    strategies: BTreeMap<Strategy, StrategyResult>,
}

/// Results of one strategy.
#[derive(Debug, Serialize)]
struct StrategyResult {
    source: &'static str,
    /// Mean words and F1 after each round.
    curve: Vec<(f64, Mean)>,
    by_seed: BTreeMap<u64, Vec<Point>>,
    /// Words needed to reach a percentage of the full F1, over the seeds that reach it.
    words_for: BTreeMap<u64, Option<Mean>>,
    /// Share of random's words saved there, over the seeds in which both reach it.
    saving: BTreeMap<u64, Option<Mean>>,
    /// Mean F1 difference to random over the words that both curves cover.
    above_random: Option<Mean>,
    /// Mean selection time per round.
    select_ms: Option<Mean>,
}

impl Summary {
    fn read(out: &Path, options: &SimulationOptions, simulation: &Simulation<'_>) -> Result<Self> {
        let folder = |seed: u64| out.join(format!("seed{seed}"));
        let point = |round: &Round| Point {
            words: round.annotated.words as f64,
            // A model without predictions has no F1, but the curve needs a first point.
            score: round.f1.unwrap_or(0.0),
        };
        let mut full = Vec::new();
        for &seed in &options.seeds {
            full.push(point(&read(&folder(seed).join("full.json"))?).score);
        }
        let full = Mean::of(&full);
        let mut curves: BTreeMap<Strategy, BTreeMap<u64, Vec<Point>>> = BTreeMap::new();
        let mut times: BTreeMap<Strategy, Vec<f64>> = BTreeMap::new();
        for &strategy in &options.strategies {
            for &seed in &options.seeds {
                let mut curve = vec![point(&read(&folder(seed).join("start.json"))?)];
                for percent in options.rounds.iter().skip(1) {
                    let round: Round = read(&folder(seed).join(format!("{strategy}-{percent}.json")))?;
                    times.entry(strategy).or_default().push(round.select_ms);
                    curve.push(point(&round));
                }
                curves.entry(strategy).or_default().insert(seed, curve);
            }
        }
        let random = curves.get(&Strategy::Random).cloned();
        let judge = |(strategy, by_seed): (Strategy, BTreeMap<u64, Vec<Point>>)| {
            let rounds = 0..options.rounds.len();
            let curve = rounds.filter_map(|round| {
                let points: Vec<Point> = by_seed.values().map(|curve| curve[round]).collect();
                let words = points.iter().map(|point| point.words).sum::<f64>() / points.len() as f64;
                Some((words, Mean::of(&points.iter().map(|point| point.score).collect::<Vec<_>>())?))
            });
            let curve = curve.collect();
            let (mut words, mut saving) = (BTreeMap::new(), BTreeMap::new());
            for target in TARGETS {
                let percent = (100.0 * target).round() as u64;
                let needed = |curve: &[Point]| words_for(curve, target * full?.mean);
                let all: Vec<f64> = by_seed.values().filter_map(|curve| needed(curve)).collect();
                words.insert(percent, Mean::of(&all));
                let saved = |(seed, curve): (&u64, &Vec<Point>)| {
                    Some(1.0 - needed(curve)? / needed(random.as_ref()?.get(seed)?)?)
                };
                let saved: Vec<f64> = by_seed.iter().filter_map(saved).collect();
                saving.insert(percent, Mean::of(&saved));
            }
            let above = |(seed, curve): (&u64, &Vec<Point>)| {
                let chance = random.as_ref()?.get(seed)?;
                let from = curve.first()?.words.max(chance.first()?.words);
                let to = curve.last()?.words.min(chance.last()?.words);
                Some(mean_score(curve, from, to)? - mean_score(chance, from, to)?)
            };
            let above_random = Mean::of(&by_seed.iter().filter_map(above).collect::<Vec<_>>());
            let select_ms = times.get(&strategy).and_then(|times| Mean::of(times));
            let source = strategy.source();
            (strategy, StrategyResult { source, curve, words_for: words, saving, above_random, select_ms, by_seed })
        };
        Ok(Self {
            dataset: corpus::name_of(&options.dataset)?,
            encoder: simulation.files.name.clone(),
            synthetic: simulation.corpus.is_sample(),
            unit: if options.whole_documents { "documents" } else { "sentences" },
            pool: simulation.whole,
            scored_documents: simulation.scored.len(),
            seeds: options.seeds.clone(),
            recipe: simulation.setting.plan.recipe.clone(),
            min_steps: options.min_steps,
            full,
            strategies: curves.clone().into_iter().map(judge).collect(),
        })
    }

    /// Tables: the score after each round, and the savings.
    pub fn tables(&self) -> Vec<PlainTable> {
        let Some(first) = self.strategies.values().next() else { return Vec::new() };
        let seeds = self.seeds.len();
        let names = |first: &str| {
            [first.to_owned()].into_iter().chain(self.strategies.keys().map(ToString::to_string)).collect()
        };
        let row = |name: String, cell: &dyn Fn(&StrategyResult) -> String| {
            [name].into_iter().chain(self.strategies.values().map(cell)).collect::<Vec<_>>()
        };
        let mut rows = Vec::new();
        for (round, (words, _)) in first.curve.iter().enumerate() {
            let score = |result: &StrategyResult| with_interval(Some(result.curve[round].1), 100.0, 2);
            rows.push(row(format!("{words:.0}"), &score));
        }
        rows.push(row(format!("{} (all)", self.pool.words), &|_| with_interval(self.full, 100.0, 2)));
        let caption = format!(
            "Strict F1 in percent on {} test documents, by words annotated: mean of {seeds} seeds ± half of \
             its 95 % interval",
            self.scored_documents
        );
        let scores = PlainTable { caption, header: names("words"), rows };

        let reached = |mean: Option<Mean>, text: String| match mean {
            Some(mean) if mean.seeds < seeds => format!("{text} ({} of {seeds} seeds)", mean.seeds),
            _ => text,
        };
        let mut rows = Vec::new();
        for percent in first.words_for.keys() {
            rows.push(row(format!("words for {percent} % of the full F1"), &|result| {
                reached(result.words_for[percent], with_interval(result.words_for[percent], 1.0, 0))
            }));
            rows.push(row("saved compared with random, %".into(), &|result| {
                reached(result.saving[percent], with_interval(result.saving[percent], 100.0, 1))
            }));
        }
        rows.push(row("F1 difference to random, mean over words".into(), &|result| {
            with_interval(result.above_random, 100.0, 2)
        }));
        rows.push(row("selection time, seconds".into(), &|result| with_interval(result.select_ms, 1e-3, 1)));
        vec![scores, PlainTable { caption: "Savings of active selection".into(), header: names(""), rows }]
    }

    /// The HTML page.
    fn page(&self) -> Result<String> {
        let Cost { words, sentences } = self.pool;
        let curve = |(strategy, result): (&Strategy, &StrategyResult)| Curve {
            name: format!("{strategy} ({})", strategy.source()),
            points: result.curve.iter().map(|(words, score)| (*words, score.mean, score.half_width)).collect(),
        };
        let seeds: Vec<String> = self.seeds.iter().map(ToString::to_string).collect();
        let page = ActivePage {
            title: &self.dataset,
            synthetic: self.synthetic,
            provenance: vec![
                ("Encoder", self.encoder.clone()),
                ("Pool", format!("{words} words in {sentences} sentences of the train split")),
                ("Annotated by", self.unit.to_owned()),
                ("Scored on", format!("{} documents of the test split", self.scored_documents)),
                ("Seeds", seeds.join(", ")),
                ("Training", format!("{} epochs, at least {} steps", self.recipe.epochs, self.min_steps)),
            ],
            curves: self.strategies.iter().map(curve).collect(),
            full: self.full.map(|full| full.mean),
            tables: self.tables(),
            version: env!("CARGO_PKG_VERSION"),
        };
        Ok(page.html()?)
    }
}

fn with_interval(mean: Option<Mean>, factor: f64, digits: usize) -> String {
    let Some(Mean { mean, half_width, .. }) = mean else { return "–".into() };
    let half = half_width.map_or_else(String::new, |half| format!(" ± {:.digits$}", factor * half));
    format!("{:.digits$}{half}", factor * mean)
}
