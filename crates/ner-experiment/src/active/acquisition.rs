//! Acquisition scores of document parts: the part of active learning that needs models. `ner-active` has the formulas.

use anyhow::{Context, Result, bail, ensure};
use ner_active::{Cost, DocumentPart, Posterior, Strategy, disagreement, parts, uncertainty};
use ner_data::{CharIndex, Document, EncodedDocument, ModelOutput, Span, derive_seed};
use ner_model::{Recognizer, TrainingPass};
use tch::Device;

/// Dropout passes for BALD. More passes reduce the variance of the estimate, at proportional cost.
const PASSES: u64 = 8;

/// Dropout rate of these passes: BERT's own.
const PASS_DROPOUT: f64 = 0.1;

/// Documents assessed together. Their token states are held at once: 1.5 kB per token with MiniLM.
pub const CHUNK: usize = 64;

/// A document cut into the parts to annotate.
pub struct Cut {
    pub encoded: EncodedDocument,
    pub parts: Vec<DocumentPart>,
    pub costs: Vec<Cost>,
}

impl Cut {
    /// Cuts a document into sentences, or into one part if `whole`.
    pub fn new(document: &Document, encoded: EncodedDocument, whole: bool) -> Self {
        let parts = parts(&encoded, whole);
        let index = document.char_index();
        let cost = |part: &DocumentPart| Cost {
            words: slice(document, &index, place(&encoded, part)).split_whitespace().count(),
            sentences: encoded.sentences.iter().filter(|start| part.tokens.contains(start)).count(),
        };
        let costs = parts.iter().map(cost).collect();
        Self { costs, parts, encoded }
    }

    /// Span of a part in the text.
    pub fn place(&self, part: usize) -> Span {
        place(&self.encoded, &self.parts[part])
    }
}

fn place(encoded: &EncodedDocument, part: &DocumentPart) -> Span {
    Span::new(encoded.tokens[part.tokens.start].span.start, encoded.tokens[part.tokens.end - 1].span.end)
}

/// The text of a span.
pub fn slice<'d>(document: &'d Document, index: &CharIndex, place: Span) -> &'d str {
    index.slice(&document.text, place).unwrap_or_default()
}

/// A strategy's input for one part.
pub struct Assessment {
    /// Acquisition score; `None` if the strategy uses no scores.
    pub score: Option<f64>,
    /// Representation; empty if the strategy uses none.
    pub row: Vec<f32>,
}

/// Assesses parts of documents with models.
pub struct Assessor<'m> {
    pub strategy: Strategy,
    /// The models. Only committee strategies use more than the first.
    pub models: Vec<&'m Recognizer>,
    pub device: Device,
    /// Seed of BALD's dropout masks.
    pub seed: u64,
}

impl Assessor<'_> {
    /// Assesses all parts of `cuts`. `documents` are the same documents, which the other committee members encode.
    ///
    /// # Errors
    /// If a committee has too few models, or its models differ in words or types.
    pub fn assess(&self, documents: &[&Document], cuts: &[&Cut]) -> Result<Vec<Vec<Assessment>>> {
        let nothing = |cut: &&Cut| cut.parts.iter().map(|_| Assessment { score: None, row: Vec::new() }).collect();
        if !self.strategy.needs_model() {
            return Ok(cuts.iter().map(nothing).collect());
        }
        let Some(first) = self.models.first() else { bail!("{} needs a model", self.strategy) };
        let encoded: Vec<&EncodedDocument> = cuts.iter().map(|cut| &cut.encoded).collect();
        let posteriors_of =
            |model: &Recognizer, outputs: &[ModelOutput], cuts: &[&Cut]| -> Result<Vec<Vec<Posterior>>> {
                let of = |(cut, output): (&&Cut, &ModelOutput)| {
                    Posterior::of_parts(
                        &cut.parts,
                        &cut.encoded.words,
                        output,
                        model.labels(),
                        model.inference().aggregation,
                    )
                    .context("model-based strategies need the head span or token")
                };
                cuts.iter().zip(outputs).map(of).collect()
            };
        let mut members: Vec<Vec<Vec<Posterior>>> = Vec::new();
        if self.strategy == Strategy::Bald {
            for pass in 0..PASSES {
                let seed = derive_seed(self.seed, pass);
                let dropout = |batch| TrainingPass::new(derive_seed(seed, batch), self.device, PASS_DROPOUT, 0.0);
                members.push(posteriors_of(first, &first.outputs_under(&encoded, &dropout), cuts)?);
            }
        } else if self.strategy.needs_findings() {
            members.push(posteriors_of(first, &first.outputs(&encoded, |_| {}), cuts)?);
        }
        if self.strategy.needs_committee() {
            ensure!(self.models.len() > 1, "{} compares models; name at least two", self.strategy);
            for other in &self.models[1..] {
                ensure!(
                    other.labels().types == first.labels().types && same_head(other, first),
                    "{} needs models with the same head and types",
                    self.strategy
                );
                members.push(posteriors_of(
                    other,
                    &other.outputs(&self.encode_for(other, documents, cuts)?, |_| {}),
                    cuts,
                )?);
            }
        }
        let states = if self.strategy.needs_states() { states(first, &encoded) } else { Vec::new() };
        let mut assessed = Vec::with_capacity(cuts.len());
        for (document, cut) in cuts.iter().enumerate() {
            let of_part = |at: usize| -> Assessment {
                let part = &cut.parts[at];
                let posterior = || &members[0][document][at];
                let committee = || -> Vec<Posterior> { members.iter().map(|one| one[document][at].clone()).collect() };
                let score = match self.strategy {
                    Strategy::Mnlp => Some(uncertainty::least_confidence(posterior())),
                    Strategy::Entropy | Strategy::Hybrid => Some(uncertainty::entropy(posterior())),
                    Strategy::Margin => Some(uncertainty::margin(posterior())),
                    Strategy::VoteEntropy => Some(disagreement::vote_entropy(&committee())),
                    Strategy::Disagreement | Strategy::Bald => Some(disagreement::divergence(&committee())),
                    Strategy::Random | Strategy::Longest | Strategy::CoreSet | Strategy::Badge => None,
                };
                let row = match self.strategy {
                    Strategy::CoreSet | Strategy::Hybrid => {
                        let (states, hidden) = &states[document];
                        Posterior::embedding(part, states, *hidden)
                    }
                    Strategy::Badge => {
                        let (states, hidden) = &states[document];
                        posterior().gradient(part, &cut.encoded.words, states, *hidden)
                    }
                    _ => Vec::new(),
                };
                Assessment { score, row }
            };
            assessed.push((0..cut.parts.len()).map(of_part).collect());
        }
        Ok(assessed)
    }

    /// Encodes the documents for another model, which must produce the same words.
    fn encode_for(&self, other: &Recognizer, documents: &[&Document], cuts: &[&Cut]) -> Result<Vec<EncodedDocument>> {
        let documents: Vec<Document> = documents.iter().map(|&document| document.clone()).collect();
        let encoded = other.tokenizer().encode(&documents)?;
        for ((document, cut), encoded) in documents.iter().zip(cuts).zip(&encoded) {
            let same = encoded.tokens.iter().map(|token| token.id).eq(cut.encoded.tokens.iter().map(|token| token.id));
            ensure!(same, "document {}: {} needs models with the same tokenizer", document.id, self.strategy);
        }
        Ok(encoded)
    }
}

fn same_head(a: &Recognizer, b: &Recognizer) -> bool {
    std::mem::discriminant(&a.inference().head) == std::mem::discriminant(&b.inference().head)
}

/// Hidden states of each document's tokens, as row-major `[tokens, width]` values with their width.
pub fn states(model: &Recognizer, documents: &[&EncodedDocument]) -> Vec<(Vec<f32>, usize)> {
    let mut states: Vec<(Vec<f32>, usize)> = vec![(Vec::new(), 0); documents.len()];
    let mut runs: Vec<(usize, usize, Vec<f32>)> = Vec::new();
    model.states(documents, |document, first, rows| runs.push((document, first, rows.to_vec())));
    runs.sort_by_key(|(document, first, _)| (*document, *first));
    // Each token is in exactly one run, so the runs in order give all tokens in order.
    for (document, _, rows) in runs {
        states[document].0.extend_from_slice(&rows);
    }
    for ((states, hidden), document) in states.iter_mut().zip(documents) {
        *hidden = states.len() / document.tokens.len().max(1);
    }
    states
}
