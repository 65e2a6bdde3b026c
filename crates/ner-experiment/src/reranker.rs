//! Trains a reranker for vocabularies, and opens one.
//!
//! The folder of a reranker holds an encoder in the hub's layout, `reranker.json`, and the vectors of all names of its
//! vocabularies.

mod fit;

use crate::corpus::hub_options;
use crate::linking::usual_ids;
use crate::models::folder_of;
use crate::progress;
use anyhow::{Context, Result, ensure};
use fit::Example;
use ner_data::{Document, DocumentTokenizer, Mention};
use ner_files::NewFolder;
use ner_link::{
    LinkOptions, Linker, Linkers, NameVectors, RERANKER_VERSION, Reranker, RerankerSettings, SETTINGS_FILE,
    StoredVectors, TrainedFor, VectorWriter, Vocabulary, key_of, long_forms, variant_of,
};
use ner_model::{NameEncoder, Precision, Pretrained, find_device, load_name_encoder, rows_of_names, save_encoder};
use ner_train::{NameRecipe, loss_of_names, train_names};
use rand::SeedableRng;
use rand::rngs::SmallRng;
use rand::seq::SliceRandom;
use serde::Serialize;
use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tch::{Device, Kind};
use tracing::{info, warn};

/// What to train.
pub struct RerankerPlan<'p> {
    /// The vocabularies, each with the type whose mentions it is for; `None` for all others.
    pub vocabularies: Vec<(Option<String>, Arc<Vocabulary>)>,
    /// Encoder: a run or another model, a name, a hub id or a folder.
    pub encoder: String,
    /// Folder of runs.
    pub runs: PathBuf,
    /// Documents whose mentions have ids, to choose the weights and the threshold.
    pub mentions: &'p [Document],
    /// How to train; with zero steps the encoder stays as it is.
    pub recipe: NameRecipe,
    /// `auto`, `cpu` or `cuda:N`.
    pub device: String,
    /// Precision of training and of the stored vectors.
    pub precision: Precision,
}

/// How a reranker was trained, for its `reranker.json`.
#[derive(Clone, Debug, Serialize)]
pub struct TrainingFacts {
    /// The encoder that it began with.
    pub encoder: String,
    /// Steps of training.
    pub steps: usize,
    /// Seed of training.
    pub seed: u64,
    /// Names that it learned from.
    pub names: usize,
    /// Loss on concepts that it did not see, before training and after; `None` if there are too few.
    pub loss: [Option<f64>; 2],
    /// Different texts that the weights were fitted to.
    pub fitted_to: usize,
    /// Those of them whose right name was among the candidates.
    pub right_among_candidates: usize,
    /// Those of them whose best candidate is right, without and with the encoder.
    pub right: [usize; 2],
    /// Mentions that chose the threshold.
    pub mentions: usize,
    /// F1 of their links at the threshold.
    pub f1: Option<f64>,
}

/// One concept in so many is held out from training.
const HELD_OUT: usize = 20;
/// Most held-out names that weights are fitted to.
const MOST_EXAMPLES: usize = 2000;
/// Links with a smaller score come from the search by grams; a threshold is chosen if there are enough of them.
const RANKED_BELOW: f64 = 0.95;
const FEWEST_RANKED: usize = 200;
/// Weights that are fitted to fewer texts than these are no better than chance.
const FEWEST_EXAMPLES: usize = 200;
/// Names whose vectors are computed at once.
const CHUNK: u32 = 4096;

/// Trains a reranker and writes it to `out`, which must be absent or empty.
///
/// # Errors
/// If the encoder is missing, nothing can be learned or fitted, or a file cannot be written.
pub fn train(plan: &RerankerPlan<'_>, out: &Path) -> Result<TrainingFacts> {
    let device = find_device(&plan.device)?;
    let kind = plan.precision.resolve(device)?;
    let folder = NewFolder::create(out)?;
    let linkers = plan.linkers(Ok)?;
    let labelled = Labelled::of(&linkers, plan.mentions)?;
    let encoder = match folder_of(&plan.encoder, &plan.runs) {
        Ok(folder) => folder,
        Err(no_model) => ner_hub::resolve_encoder(&plan.encoder, &hub_options()).context(no_model)?.dir,
    };
    let (mut pretrained, tokenizer) = load_name_encoder(&encoder)?;

    let names = Names::of(plan, &labelled);
    let rows = |concepts: &[Vec<String>]| -> Result<Vec<Vec<Vec<u32>>>> {
        concepts.iter().map(|names| Ok(rows_of_names(&tokenizer, names)?)).collect()
    };
    let (seen, held_out) = (rows(&names.seen)?, rows(&names.held_out)?);
    let loss = |pretrained: &Pretrained| {
        loss_of_names(&pretrained.config, &pretrained.parameters, &held_out, &plan.recipe, device, kind)
    };
    let before = loss(&pretrained)?;
    let mut after = before;
    if plan.recipe.steps > 0 {
        let bar = progress::steps("train", plan.recipe.steps);
        pretrained.parameters = train_names(
            &pretrained.config,
            &pretrained.parameters,
            &seen,
            &plan.recipe,
            device,
            kind,
            |step, _, loss| {
                bar.set_position(step as u64);
                bar.set_message(format!("train, loss {loss:.3}"));
            },
        )?;
        bar.finish_and_clear();
        after = loss(&pretrained)?;
        if let (Some(before), Some(after)) = (before, after) {
            info!("loss on concepts that training did not see: {before:.3} before, {after:.3} after");
        }
    }
    save_encoder(folder.draft(), &pretrained.config_json, &pretrained.parameters)?;
    tokenizer.save(&folder.draft().join("tokenizer.json"))?;

    let stored = store(plan, &pretrained, tokenizer, device, kind, folder.draft())?;
    let encoder: Arc<dyn NameVectors> = Arc::new(Vectors::load(folder.draft())?);
    let unfitted = plan.linkers(|linker| {
        let known = stored.iter().find(|known| known.sha256 == linker.vocabulary().sha256());
        let known = known.context("a vocabulary has no vectors")?;
        let vectors = StoredVectors::open(&folder.draft().join(&known.vectors), linker.vocabulary().names())?;
        Ok(linker.with_vectors(vectors, Arc::clone(&encoder)))
    })?;
    let examples = if labelled.texts.is_empty() { names.examples(&unfitted) } else { labelled.examples(&unfitted) };
    let weights = fit::weights(&examples).context(
        "no text has a right and a wrong candidate to fit the weights to; give --mentions, or a vocabulary with synonyms",
    )?;
    let encoder_sha256 = ner_hub::sha256_file(&folder.draft().join("model.safetensors"))?;
    let right = [fit::right(&examples, 0.0), fit::right(&examples, weights.cosine)];
    if right[1] <= right[0] {
        warn!(
            "the encoder does not help: with it {} of {} texts are right, without it {}",
            right[1],
            examples.len(),
            right[0]
        );
    }
    if examples.len() < FEWEST_EXAMPLES {
        warn!(
            "the weights are fitted to {} texts only, where some hundreds are needed; give more --mentions",
            examples.len()
        );
    }
    let mut settings =
        RerankerSettings { version: RERANKER_VERSION, weights, threshold: None, encoder_sha256, vocabularies: stored };
    let mut facts = TrainingFacts {
        encoder: plan.encoder.clone(),
        steps: plan.recipe.steps,
        seed: plan.recipe.seed,
        names: names.seen.iter().map(Vec::len).sum(),
        loss: [before, after],
        fitted_to: examples.len(),
        right_among_candidates: examples.iter().filter(|example| example.iter().any(|one| one.is_right)).count(),
        right,
        mentions: labelled.count,
        f1: None,
    };
    let write = |settings: &RerankerSettings, facts: &TrainingFacts| -> Result<()> {
        let mut json = serde_json::to_value(settings)?;
        json["training"] = serde_json::to_value(facts)?;
        let text = serde_json::to_string_pretty(&json)?;
        Ok(ner_files::write_bytes(&folder.draft().join(SETTINGS_FILE), text.as_bytes())?)
    };
    write(&settings, &facts)?;
    if labelled.count > 0 {
        let reranker = Reranker::new(folder.draft(), settings.clone(), encoder);
        let linkers = plan.linkers(|linker| Ok(linker.reranked_by(&reranker)?))?;
        let links = labelled.linked(&linkers, plan.mentions);
        let ranked = links.iter().filter(|(score, _)| *score < RANKED_BELOW).count();
        if ranked >= FEWEST_RANKED {
            let (threshold, f1) = fit::threshold(&links, labelled.count);
            settings.threshold = Some(threshold);
            facts.f1 = Some(f1);
            info!("threshold {threshold}: F1 of the links of {} mentions {f1:.4}", labelled.count);
            write(&settings, &facts)?;
        } else {
            warn!(
                "no threshold chosen: {ranked} links of the mentions are decided by rank, and {FEWEST_RANKED} are needed; \
                 take mentions whose names the vocabulary was not built from"
            );
        }
    } else {
        let usual = LinkOptions::default().threshold;
        warn!("no threshold chosen: without --mentions it stays {usual}");
    }
    folder.finish()?;
    Ok(facts)
}

/// Opens a reranker. It computes on the CPU.
///
/// # Errors
/// If its files cannot be read, or are not those that were written.
pub fn open(folder: &Path) -> Result<Reranker> {
    let settings = RerankerSettings::read(folder)?;
    let weights = folder.join("model.safetensors");
    ensure!(
        ner_hub::sha256_file(&weights)? == settings.encoder_sha256,
        "{} is damaged, or not the one that the weights were fitted to; train the reranker again with `medner vocabulary \
         train`",
        weights.display()
    );
    Ok(Reranker::new(folder, settings, Arc::new(Vectors::load(folder)?)))
}

/// An encoder of names.
struct Vectors(NameEncoder);

impl Vectors {
    fn load(folder: &Path) -> Result<Self> {
        let kind = Precision::Auto.resolve(Device::Cpu)?;
        Ok(Self(NameEncoder::load(folder, Device::Cpu, kind)?))
    }
}

impl NameVectors for Vectors {
    fn vectors(&self, names: &[&str]) -> Vec<Vec<f32>> {
        let flat = self.0.vectors(names).expect("a tokenizer that encoded all names of a vocabulary");
        flat.chunks_exact(self.0.hidden_size()).map(<[f32]>::to_vec).collect()
    }
}

impl RerankerPlan<'_> {
    /// Linkers that leave nothing out, each changed.
    fn linkers(&self, change: impl Fn(Linker) -> Result<Linker>) -> Result<Linkers> {
        let mut linkers = Linkers::default();
        for (entity_type, vocabulary) in &self.vocabularies {
            let linker = Linker::new(Arc::clone(vocabulary), LinkOptions { k: 1, threshold: 0.0 });
            linkers.add(entity_type.as_deref(), change(linker)?, Vec::new())?;
        }
        Ok(linkers)
    }

    /// The vocabularies, each once.
    fn different(&self) -> Vec<&Arc<Vocabulary>> {
        let mut seen = HashSet::new();
        self.vocabularies.iter().map(|(_, vocabulary)| vocabulary).filter(|one| seen.insert(one.sha256())).collect()
    }
}

/// Computes and stores the vectors of all names.
fn store(
    plan: &RerankerPlan<'_>,
    pretrained: &Pretrained,
    tokenizer: DocumentTokenizer,
    device: Device,
    kind: Kind,
    folder: &Path,
) -> Result<Vec<TrainedFor>> {
    let encoder = NameEncoder::new(&pretrained.config, &pretrained.parameters, tokenizer, device, kind)?;
    let mut stored = Vec::new();
    for vocabulary in plan.different() {
        let vectors = format!("{}.vectors", &vocabulary.sha256()[..16]);
        let mut file = VectorWriter::create(&folder.join(&vectors))?;
        let bar = progress::steps("vectors of names", vocabulary.names() as usize);
        let mut names: Vec<String> = Vec::new();
        let mut flush = |names: &mut Vec<String>| -> Result<()> {
            for vector in encoder.vectors(names)?.chunks_exact(encoder.hidden_size()) {
                file.push(vector)?;
            }
            bar.inc(names.len() as u64);
            names.clear();
            Ok(())
        };
        // Names have the order of their concepts.
        for concept in concepts(vocabulary) {
            names.extend(concept.names);
            if names.len() >= CHUNK as usize {
                flush(&mut names)?;
            }
        }
        flush(&mut names)?;
        let vectors_sha256 = file.finish()?;
        bar.finish_and_clear();
        let (sha256, release) = (vocabulary.sha256().to_owned(), vocabulary.release().to_owned());
        stored.push(TrainedFor { sha256, release, vectors, vectors_sha256 });
    }
    Ok(stored)
}

fn concepts(vocabulary: &Vocabulary) -> impl Iterator<Item = ner_link::Concept> {
    (0..vocabulary.concepts()).filter_map(|number| vocabulary.concept(number))
}

/// The names of concepts with several.
struct Names {
    seen: Vec<Vec<String>>,
    held_out: Vec<Vec<String>>,
    /// Of the held-out concepts: number of the vocabulary, and of the concept.
    places: Vec<(usize, u32)>,
}

impl Names {
    /// As many concepts as the steps can use, in random order, without names that labelled mentions have.
    fn of(plan: &RerankerPlan<'_>, labelled: &Labelled) -> Self {
        let mut random = SmallRng::seed_from_u64(plan.recipe.seed);
        let mut all: Vec<(usize, u32)> = Vec::new();
        for (at, vocabulary) in plan.different().into_iter().enumerate() {
            all.extend((0..vocabulary.concepts()).map(|concept| (at, concept)));
        }
        all.shuffle(&mut random);
        let different = plan.different();
        let names = |(at, concept): (usize, u32)| {
            let mut names = different[at].concept(concept).map(|concept| concept.names).unwrap_or_default();
            names.retain(|name| !labelled.keys.contains(&key_of(name)));
            names
        };
        let held = all.len() / HELD_OUT;
        let (mut held_out, mut places) = (Vec::new(), Vec::new());
        for &place in &all[..held] {
            let names = names(place);
            if names.len() > 1 && places.len() < MOST_EXAMPLES {
                held_out.push(names);
                places.push(place);
            }
        }
        let most = plan.recipe.steps * plan.recipe.pairs_of_step();
        let seen = all[held..].iter().map(|place| names(*place)).filter(|names| names.len() > 1).take(most).collect();
        Self { seen, held_out, places }
    }

    /// The last name of each held-out concept as a mention.
    fn examples(&self, linkers: &Linkers) -> Vec<Example> {
        let mut seen = HashSet::new();
        let different: Vec<&Linker> =
            linkers.iter().map(|(_, linker, _)| linker).filter(|one| seen.insert(one.vocabulary().sha256())).collect();
        let example = |(names, (at, concept)): (&Vec<String>, &(usize, u32))| {
            example_of(different[*at], names.last()?, |other| other == *concept)
        };
        self.held_out.iter().zip(&self.places).filter_map(example).collect()
    }
}

/// The candidates for a text but those that differ from it by what the earlier stages of linking see through; `None` if
/// there are none.
fn example_of(linker: &Linker, text: &str, is_right: impl Fn(u32) -> bool) -> Option<Example> {
    let variant = variant_of(&key_of(text));
    let compared = linker.compare(text, &[]).into_iter();
    let others = compared.filter(|compared| variant_of(&key_of(&compared.name)) != variant);
    let candidates: Example = others
        .map(|compared| fit::Candidate {
            is_right: is_right(compared.concept),
            logit: compared.logit,
            cosine: compared.cosine,
        })
        .collect();
    (!candidates.is_empty()).then_some(candidates)
}

/// Mentions with ids.
struct Labelled {
    /// By type and text: the id.
    texts: BTreeMap<(String, String), String>,
    /// The keys of the texts.
    keys: HashSet<String>,
    /// Mentions with an id.
    count: usize,
}

/// What a mention is looked up by.
fn looked_up(document: &Document, mention: &Mention) -> String {
    let index = document.char_index();
    let slice = |span| index.slice(&document.text, span);
    let long = long_forms(&document.text).get(&mention.span()).and_then(|&span| slice(span));
    long.map_or_else(
        || mention.fragments.iter().filter_map(|&part| slice(part)).collect::<Vec<_>>().join(" "),
        str::to_owned,
    )
}

impl Labelled {
    fn of(linkers: &Linkers, documents: &[Document]) -> Result<Self> {
        let mut labelled = Self { texts: BTreeMap::new(), keys: HashSet::new(), count: 0 };
        if documents.is_empty() {
            return Ok(labelled);
        }
        let usual = usual_ids(linkers, documents);
        for document in documents {
            for mention in document.mentions.iter().filter(|mention| linkers.is_for(&mention.entity_type)) {
                let [id] = mention.concept_ids.as_slice() else { continue };
                let Some(id) = usual.get(&(mention.entity_type.clone(), id.clone())) else { continue };
                labelled.count += 1;
                let text = looked_up(document, mention);
                labelled.keys.insert(key_of(&text));
                labelled.texts.insert((mention.entity_type.clone(), text), id.clone());
            }
        }
        ensure!(
            labelled.count > 0,
            "no mention has an id of the vocabularies; ids are compared as they are written, and types with those of \
             TYPE=NAME.voc"
        );
        Ok(labelled)
    }

    fn examples(&self, linkers: &Linkers) -> Vec<Example> {
        let example = |((entity_type, text), id): (&(String, String), &String)| {
            let linker = linkers.linker(entity_type)?;
            let right = linker.vocabulary().find(id)?;
            example_of(linker, text, |concept| concept == right)
        };
        self.texts.iter().filter_map(example).collect()
    }

    /// The score of each link of the mentions, and whether it is right.
    fn linked(&self, linkers: &Linkers, documents: &[Document]) -> Vec<(f64, bool)> {
        let usual = usual_ids(linkers, documents);
        let mut links = Vec::new();
        for document in documents {
            let mut mentions = document.mentions.clone();
            linkers.link_mentions(&document.text, &mut mentions, true);
            for (gold, linked) in
                document.mentions.iter().zip(&mentions).filter(|(gold, _)| linkers.is_for(&gold.entity_type))
            {
                let Some(score) = linked.attributes.get("link_score").and_then(|score| score.parse().ok()) else {
                    continue;
                };
                let gold: HashSet<&String> = gold
                    .concept_ids
                    .iter()
                    .filter_map(|id| usual.get(&(gold.entity_type.clone(), id.clone())))
                    .collect();
                let is_right = !gold.is_empty() && linked.concept_ids.iter().collect::<HashSet<_>>() == gold;
                links.push((score, is_right));
            }
        }
        links
    }
}
