//! The task `assertion`: a model that says of given mentions whether the patient has them, beside the rules.
//!
//! The task takes the value of a mention's attribute `assertion` for its type. Training, scores, intervals and records
//! are then those of mentions: all spans are given, so micro F1 is the share of mentions with the right value, as in
//! the 2010 i2b2/VA challenge (Uzuner et al. 2011).
//!
//! The model decides together with the rules ([`decide`]); dev chooses how much they count.

use crate::corpus::Corpus;
use crate::models::assertion_folder;
use crate::predict::EncodedSplit;
use crate::progress;
use anyhow::{Context, Result, ensure};
use ner_context::{ASSERTION, Assertion, AssertionValue, ContextRules, MentionContext};
use ner_data::dataset::LoadedSplit;
use ner_data::{Confidence, Document, Span, Split};
use ner_eval::{DocumentScores, Intervals, Resampling, Scores, bootstrap_intervals, score_documents};
use ner_model::{AssertionClassifier, BertConfig, Precision, device_name, find_device, precision_name};
use serde::Serialize;
use std::path::Path;
use tracing::{info, warn};

/// What dev chooses from: the addend to the log-probability of the value that the rules say.
const WEIGHTS: [f32; 8] = [0.0, 0.5, 1.0, 2.0, 3.0, 4.0, 6.0, RULES_ALONE];

/// More than any difference of log-probabilities: the rules decide, if the corpus has their value.
pub const RULES_ALONE: f32 = 1e6;

/// The hyperparameters of the task, over those of the corpus. A masked cue is a lost cue, and the lines around a mention
/// are its section.
///
/// # Panics
/// Never: a test reads them.
pub fn recipe() -> toml::Table {
    toml::toml! {
        head = "assertion"
        epochs = 5
        thresholds = false
        token_masking = 0.0
        shortest_crop = 1
        longest_crop = 128
        window = 128
    }
}

/// Makes the values of a corpus its types, and keeps what the rules say of each mention. Mentions without a value are
/// left out; the rules see them.
///
/// # Errors
/// If it is several corpora, a value is unknown, or the train split has fewer than two values.
pub fn assertions_as_types(corpus: &mut Corpus) -> Result<()> {
    ensure!(corpus.parts.is_empty(), "--task assertion needs a single corpus");
    let name = corpus.description.name.clone();
    let rules = ContextRules::builtin();
    let take = |LoadedSplit { documents, .. }: &mut LoadedSplit| {
        documents.iter_mut().map(|document| taken(document, &rules)).collect::<Result<Vec<_>>>()
    };
    let mut rule_values = corpus.splits.map(|_, _| Vec::new());
    for split in Split::ALL {
        *rule_values.get_mut(split) =
            take(corpus.splits.get_mut(split)).with_context(|| format!("the {split} split of {name}"))?;
    }
    corpus.rule_values = Some(rule_values);
    let trained = || corpus.splits.train.documents.iter().flat_map(|document| &document.mentions);
    let seen = |value: &AssertionValue| trained().any(|mention| mention.entity_type == value.name());
    corpus.labels = AssertionValue::ALL.iter().filter(|value| seen(value)).map(ToString::to_string).collect();
    match corpus.labels.as_slice() {
        [] => anyhow::bail!(
            "the train split of {name} has no mention with an assertion, so there is nothing to learn from. Assertions are \
             the .ast files beside the .con files (i2b2), or an attribute `{ASSERTION}` of mentions (brat, JSON Lines)"
        ),
        [only] => anyhow::bail!(
            "all {} mentions with an assertion in the train split of {name} are {only}, so there is nothing to learn",
            trained().count()
        ),
        _ => Ok(()),
    }
}

/// Leaves the mentions with a value in a document, as their type. Returns what the rules say of each.
fn taken(document: &mut Document, rules: &ContextRules) -> Result<Vec<AssertionValue>> {
    let spans: Vec<Span> = document.mentions.iter().map(|mention| mention.span()).collect();
    let said: Vec<AssertionValue> =
        rules.of(document, &spans).into_iter().map(|context| context.assertion.value).collect();
    // They refer to mentions by number.
    document.relations.clear();
    let (mut mentions, mut kept) = (Vec::new(), Vec::new());
    for (mut mention, said) in std::mem::take(&mut document.mentions).into_iter().zip(said) {
        let Some(value) = mention.attributes.get(ASSERTION) else { continue };
        ensure!(
            AssertionValue::from_name(value).is_some(),
            "document {}: the assertion `{value}` is unknown; known: {}",
            document.id,
            AssertionValue::ALL.map(AssertionValue::name).join(", ")
        );
        mention.entity_type.clone_from(value);
        mentions.push(mention);
        kept.push(said);
    }
    document.mentions = mentions;
    Ok(kept)
}

/// The value of a mention, by its number, and its probability: the largest log-probability, with `rules_weight` added to
/// that of the value that the rules say. The first of equal ones.
pub fn decide(log_probabilities: &[f32], rule: Option<usize>, rules_weight: f32) -> (usize, f32) {
    let scores = log_probabilities.iter().enumerate();
    let scores: Vec<f32> =
        scores.map(|(at, score)| if rule == Some(at) { score + rules_weight } else { *score }).collect();
    let mut best = 0;
    for (at, score) in scores.iter().enumerate() {
        if *score > scores[best] {
            best = at;
        }
    }
    let total: f32 = scores.iter().map(|score| (score - scores[best]).exp()).sum();
    (best, 1.0 / total)
}

/// Log-probabilities of the values of each mention of a split.
pub fn log_probabilities(model: &AssertionClassifier, split: &EncodedSplit<'_>, what: &str) -> Vec<Vec<Vec<f32>>> {
    let bar = progress::tokens(what, split.encoded.iter().map(|document| document.tokens.len()).sum());
    let spans = |document: &Document| document.mentions.iter().map(|mention| mention.span()).collect();
    let spans: Vec<Vec<Span>> = split.documents.iter().map(spans).collect();
    model.log_probabilities(&split.encoded, &spans, |done| bar.inc(done as u64))
}

/// The weight of the rules with the best micro F1 (on ties, the smaller one), and the scores of the model alone: those
/// choose the epoch, since rules that are right everywhere would hide what the model learns.
///
/// # Errors
/// If documents of the split have equal ids.
pub fn choose_weight(
    split: &EncodedSplit<'_>,
    found: &[Vec<Vec<f32>>],
    values: &[String],
) -> Result<(f32, DocumentScores)> {
    let score = |weight: f32| score_documents(split.documents, &with_values(split, found, values, weight));
    let alone = score(WEIGHTS[0])?;
    let mut best = (WEIGHTS[0], alone.scores.overall.f1);
    for weight in WEIGHTS.into_iter().skip(1) {
        let f1 = score(weight)?.scores.overall.f1;
        if f1 > best.1 {
            best = (weight, f1);
        }
    }
    Ok((best.0, alone))
}

/// The documents with the values that model and rules say together.
fn with_values(split: &EncodedSplit<'_>, found: &[Vec<Vec<f32>>], values: &[String], weight: f32) -> Vec<Document> {
    let decide_all = |(at, document): (usize, &Document)| {
        let mut document = document.clone();
        let given = found[at].iter().zip(&split.rule_values[at]);
        for (mention, (found, rule)) in document.mentions.iter_mut().zip(given) {
            let (value, probability) = decide(found, values.iter().position(|value| value == rule.name()), weight);
            mention.entity_type.clone_from(&values[value]);
            mention.confidence = Confidence::new(probability);
        }
        document
    };
    split.documents.iter().enumerate().map(decide_all).collect()
}

/// The scores of rules, model, and both together, on the same mentions.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Systems {
    /// What is added to the log-probability of the value that the rules say; dev chose it.
    pub rules_weight: f32,
    /// The rules alone.
    pub rules: System,
    /// The model alone.
    pub classifier: System,
    /// Both, as the saved model decides.
    pub combined: System,
}

/// The scores of one of them.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct System {
    /// Scores; the types are values.
    #[serde(flatten)]
    pub scores: Scores,
    /// Bootstrap intervals, over documents.
    pub intervals: Intervals,
}

impl System {
    fn of(gold: &[Document], predicted: &[Document]) -> Result<Self> {
        let scored = score_documents(gold, predicted)?;
        let intervals = bootstrap_intervals(&scored.by_document, &Resampling::default());
        Ok(Self { scores: scored.scores, intervals })
    }
}

impl Systems {
    /// Scores all three on a split. Also returns the documents with the combined values.
    ///
    /// # Errors
    /// If documents of the split have equal ids.
    pub fn score(model: &AssertionClassifier, split: &EncodedSplit<'_>, what: &str) -> Result<(Self, Vec<Document>)> {
        let found = log_probabilities(model, split, what);
        let rules_weight = model.inference().rules_weight.unwrap_or_default();
        let with = |weight: f32| with_values(split, &found, model.values(), weight);
        let mut by_rules = split.documents.to_vec();
        for (document, said) in by_rules.iter_mut().zip(split.rule_values) {
            let pairs = document.mentions.iter_mut().zip(said);
            pairs.for_each(|(mention, value)| mention.entity_type = value.to_string());
        }
        let combined = with(rules_weight);
        let systems = Self {
            rules_weight,
            rules: System::of(split.documents, &by_rules)?,
            classifier: System::of(split.documents, &with(0.0))?,
            combined: System::of(split.documents, &combined)?,
        };
        Ok((systems, combined))
    }
}

/// A trained classifier that says, together with the rules, what a text says of any mention.
#[derive(Debug)]
pub struct AssertionModel {
    classifier: AssertionClassifier,
    values: Vec<AssertionValue>,
}

impl AssertionModel {
    /// Loads a model by its name: a run, a corpus (its newest run of this task), or a folder.
    ///
    /// # Errors
    /// If it is missing, cannot be loaded, or is another kind of model.
    pub fn load(wanted: &str, runs: &Path, device: &str) -> Result<Self> {
        let device = find_device(device)?;
        let folder = assertion_folder(wanted, runs)?;
        let kind = Precision::Auto.for_prediction(device, &BertConfig::of_folder(&folder)?)?;
        let classifier = AssertionClassifier::load(&folder, device, kind)?;
        let value = |name: &String| {
            AssertionValue::from_name(name)
                .with_context(|| format!("{}: the value `{name}` is unknown", folder.display()))
        };
        let values = classifier.values().iter().map(value).collect::<Result<Vec<_>>>()?;
        info!("{wanted}: {} values on {} in {}", values.len(), device_name(device), precision_name(kind));
        if classifier.inference().rules_weight == Some(RULES_ALONE) {
            warn!(
                "{wanted}: dev chose the rules alone, so this model changes a value only where the rules say one that it was \
                 not trained on"
            );
        }
        Ok(Self { classifier, values })
    }

    /// Replaces the assertions of the rules by those of rules and model together. Whether a mention is historical stays
    /// as the rules say; a cue stays if it says the same value.
    ///
    /// # Errors
    /// If the tokenizer fails.
    pub fn apply(&self, document: &Document, mentions: &[Span], contexts: &mut [MentionContext<'_>]) -> Result<()> {
        let encoded = self.classifier.tokenizer().encode(std::slice::from_ref(document))?;
        let found = self.classifier.log_probabilities(&encoded, &[mentions.to_vec()], |_| {});
        let weight = self.classifier.inference().rules_weight.unwrap_or_default();
        for (context, found) in contexts.iter_mut().zip(found.iter().flatten()) {
            let Assertion { value: said, cue, historical, confidence } = context.assertion;
            let (value, probability) = decide(found, self.values.iter().position(|value| *value == said), weight);
            let value = self.values[value];
            context.assertion = Assertion {
                value,
                historical,
                cue: cue.filter(|_| value == said),
                // A probability behind rules that decide alone would always be 1.
                confidence: match weight == RULES_ALONE {
                    true => confidence,
                    false => Confidence::new(probability).unwrap_or(confidence),
                },
            };
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_recipe_is_one() {
        crate::recipe_file::recipe(&[&recipe()]).unwrap().check().unwrap();
    }

    #[test]
    fn rules_count_as_much_as_their_weight() {
        let found = [0.7f32, 0.2, 0.1].map(f32::ln);
        let check = |rule, weight, value: usize, probability: f32| {
            let (found, confidence) = decide(&found, rule, weight);
            assert_eq!(found, value);
            assert!((confidence - probability).abs() < 1e-5, "{confidence}");
        };
        check(None, 5.0, 0, 0.7);
        check(Some(2), 0.0, 0, 0.7);
        check(Some(2), 1.0, 0, 0.7 / (0.9 + 0.1 * 1f32.exp()));
        check(Some(2), 3.0, 2, 0.1 * 3f32.exp() / (0.9 + 0.1 * 3f32.exp()));
        check(Some(1), RULES_ALONE, 1, 1.0);
        // The first of equal ones.
        assert_eq!(decide(&[-1.0, -1.0], None, 0.0), (0, 0.5));
    }
}
