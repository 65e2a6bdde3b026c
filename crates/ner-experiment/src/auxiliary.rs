//! Auxiliary corpora: each trains a head of its own on the encoder of another corpus's model.
//!
//! Their guidelines differ from those of the corpus, so that pooled labels would contradict each other; a head for each
//! lets the encoder learn from all of them. Sources: Caruana (1997), "Multitask learning"; Crichton et al. (2017), "A
//! neural network multi-task learning approach to biomedical named entity recognition".

use crate::corpus::{self, Corpus, CorpusSource, Origin};
use crate::overlap::{EvaluationTexts, Excluded};
use crate::plan::{AuxiliaryPlan, Plan};
use anyhow::{Context, Result, ensure};
use ner_data::{Document, DocumentTokenizer, LabelSet, Split};
use ner_model::{BertConfig, Head, Parameters, new_head_for};
use ner_train::{Further, FurtherTask, TrainingSet};
use serde::{Deserialize, Serialize};
use tracing::{info, warn};

/// An auxiliary corpus, ready to train on.
pub struct Auxiliary {
    /// For the record of the run.
    pub record: AuxiliaryRecord,
    data: TrainingSet,
    head: Parameters,
}

/// An auxiliary corpus in the record of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AuxiliaryRecord {
    /// Its name.
    pub name: String,
    /// Factor on its loss.
    pub weight: f64,
    /// Origin, with checksums.
    pub origin: Origin,
    /// Its labels.
    pub labels: Vec<String>,
    /// Documents that are trained on, of all its splits.
    pub documents: usize,
    /// Their mentions.
    pub mentions: usize,
    /// Documents left out, because they are in the dev or test split of the corpus.
    pub left_out: Excluded,
}

/// Documents that a warning names.
const NAMED: usize = 10;

/// The documents of the corpus's dev and test splits.
pub fn evaluation_documents(corpus: &Corpus) -> EvaluationTexts {
    let splits = [Split::Dev, Split::Test].map(|split| &corpus.splits.get(split).documents);
    EvaluationTexts::of(splits.into_iter().flatten())
}

/// Loads the auxiliary corpora of a plan, with new heads. All their splits are trained on, because nothing is measured on
/// them, but no document that is in the dev or test split of the corpus, by id or by text.
///
/// # Errors
/// If one is missing, has faults that the plan does not accept, or has no document left.
pub fn load(
    plan: &Plan,
    corpus: &Corpus,
    tokenizer: &DocumentTokenizer,
    config: &BertConfig,
) -> Result<Vec<Auxiliary>> {
    if plan.auxiliary.is_empty() {
        return Ok(Vec::new());
    }
    let head = plan.recipe.head();
    ensure!(head != Head::Assertion, "--auxiliary has no effect with --task assertion; drop it");
    let evaluation = evaluation_documents(corpus);
    let load = |(at, wanted): (usize, &AuxiliaryPlan)| -> Result<Auxiliary> {
        let AuxiliaryPlan { dataset, weight } = wanted;
        let place = CorpusSource { sample: plan.sample, ..CorpusSource::default() };
        let what = || format!("the auxiliary corpus {dataset}");
        let loaded = corpus::load(dataset, &place).with_context(what)?;
        ensure!(loaded.parts.is_empty(), "{dataset}: name each auxiliary corpus with its own --auxiliary");
        loaded.check_faults(plan.lenient).with_context(what)?;
        let name = corpus::name_of(dataset)?;
        let mut left_out = Excluded { from: format!("{}:dev,test", corpus.description.name), ..Excluded::default() };
        let mut ids = Vec::new();
        let mut documents: Vec<Document> = Vec::new();
        for document in Split::ALL.into_iter().flat_map(|split| &loaded.splits.get(split).documents) {
            match evaluation.overlap(document) {
                Some(overlap) => {
                    left_out.count(overlap);
                    ids.push(document.id.as_str());
                }
                None => documents.push(document.clone()),
            }
        }
        if !ids.is_empty() {
            let more = if ids.len() > NAMED { " …" } else { "" };
            warn!(
                "left out {} documents of {name} that are in the dev or test split of {}, {} by id and {} by text: {}{more}",
                ids.len(),
                corpus.description.name,
                left_out.by_id,
                left_out.by_text,
                ids[..ids.len().min(NAMED)].join(", ")
            );
        }
        let labels = LabelSet::new(plan.recipe.tag_scheme, &loaded.labels);
        let encoded = tokenizer.encode(&documents)?;
        let data = TrainingSet::new(tokenizer, &documents, &encoded, &labels, head);
        let mentions = documents.iter().map(|document| document.mentions.len()).sum();
        ensure!(mentions > 0, "{name} has no mention in {} documents that may be trained on", documents.len());
        info!("{name}: an auxiliary corpus of {} documents and {mentions} mentions, weight {weight}", documents.len());
        let seed = ner_data::derive_seed(plan.recipe.seed, 1 + at as u64);
        let record = AuxiliaryRecord {
            name,
            weight: *weight,
            origin: loaded.origin,
            labels: loaded.labels,
            documents: documents.len(),
            mentions,
            left_out,
        };
        Ok(Auxiliary { record, data, head: new_head_for(config, &labels, head, seed) })
    };
    let all = plan.auxiliary.iter().enumerate().map(load).collect::<Result<Vec<_>>>()?;
    for (at, auxiliary) in all.iter().enumerate() {
        let name = &auxiliary.record.name;
        ensure!(*name != corpus.description.name, "{name} is the corpus itself; drop --auxiliary {name}");
        ensure!(all[..at].iter().all(|other| other.record.name != *name), "--auxiliary {name} is given twice");
    }
    Ok(all)
}

/// The corpora as sources of batches: `batches` for each batch of the corpus, in proportion to their sizes.
pub fn sources(all: &[Auxiliary], batches: f64) -> impl Iterator<Item = Further<'_>> {
    let tokens = |auxiliary: &Auxiliary| -> usize {
        auxiliary.data.documents.iter().map(|document| document.input_ids.len()).sum()
    };
    let total: usize = all.iter().map(tokens).sum();
    all.iter().map(move |auxiliary| Further {
        data: &auxiliary.data,
        batches: batches * tokens(auxiliary) as f64 / total as f64,
        task: FurtherTask::Auxiliary {
            name: auxiliary.record.name.clone(),
            weight: auxiliary.record.weight,
            head: auxiliary.head.share(),
        },
    })
}
