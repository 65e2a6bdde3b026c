//! Teachers: trained models whose probabilities another model learns from.
//!
//! Source: Hinton, Vinyals and Dean (2015), "Distilling the knowledge in a neural network". The probabilities of several
//! teachers are averaged.

use crate::auxiliary::evaluation_documents;
use crate::corpus::Corpus;
use crate::overlap::Excluded;
use crate::plan::Plan;
use crate::progress;
use crate::texts::TextInputs;
use anyhow::{Context, Result, bail, ensure};
use ner_data::{Document, DocumentTokenizer, EncodedDocument, LabelSet, ModelOutput, ScoredEntity, Span, Word};
use ner_model::{Head, Recognizer, SoftLabels};
use ner_train::TrainingSet;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::atomic::AtomicBool;
use tch::{Device, Kind};
use tracing::info;

/// Teachers in the record of a run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TeacherRecord {
    /// SHA-256 of the weights of each.
    pub weights_sha256: Vec<String>,
    /// Documents without labels.
    pub unlabelled_documents: usize,
    /// Their tokens.
    pub unlabelled_tokens: usize,
    /// Unlabelled documents left out, because they are in the dev or test split of the corpus.
    pub left_out: Vec<Excluded>,
    /// Spans or places (tokens or words) that teachers scored.
    pub scored: usize,
    /// Those of them that the student cannot represent, because its tokenizer cuts the text differently.
    pub unmatched: usize,
}

/// What a training learns from teachers.
pub struct Lessons {
    /// For the record of the run.
    pub record: TeacherRecord,
    /// The unlabelled documents.
    pub unlabelled: Option<TrainingSet>,
}

/// A student's view of the teachers.
struct Class<'t> {
    teachers: &'t [Recognizer],
    tokenizer: &'t DocumentTokenizer,
    labels: &'t LabelSet,
    head: Head,
    scored: usize,
    unmatched: usize,
}

/// Asks the teachers of a plan about the training documents and the unlabelled ones. `set` holds the `documents`, and gets
/// the teachers' probabilities.
///
/// # Errors
/// If a teacher cannot be loaded or does not fit the head and the types, or the unlabelled text cannot be read.
pub fn lessons(
    plan: &Plan,
    corpus: &Corpus,
    (tokenizer, labels): (&DocumentTokenizer, &LabelSet),
    (documents, set): (&[Document], &mut TrainingSet),
    (device, kind): (Device, Kind),
    stop: &AtomicBool,
) -> Result<Option<Lessons>> {
    if plan.teachers.is_empty() {
        ensure!(plan.unlabelled.is_empty(), "--unlabelled has no effect without --teacher");
        ensure!(plan.recipe.temperature == 1.0, "temperature has no effect without --teacher");
        return Ok(None);
    }
    let head = plan.recipe.head();
    ensure!(head != Head::Assertion, "--teacher has no effect with --task assertion; drop it");
    ensure!(corpus.parts.is_empty(), "--teacher needs a single corpus");
    let load = |folder: &String| -> Result<Recognizer> {
        let folder = Path::new(folder);
        let teacher = Recognizer::load(folder, device, kind)
            .with_context(|| format!("cannot load the teacher {}", folder.display()))?;
        check(&teacher, labels, head).with_context(|| format!("the teacher {} does not fit", folder.display()))?;
        Ok(teacher)
    };
    let teachers = plan.teachers.iter().map(load).collect::<Result<Vec<_>>>()?;
    let sha256 = |folder: &String| Ok(ner_hub::weights_sha256(&Path::new(folder).join("model.safetensors"))?);
    let mut record = TeacherRecord {
        weights_sha256: plan.teachers.iter().map(sha256).collect::<Result<_>>()?,
        ..TeacherRecord::default()
    };
    let mut class = Class { teachers: &teachers, tokenizer, labels, head, scored: 0, unmatched: 0 };
    class.teach(documents, &mut set.documents, true)?;

    let mut unlabelled = (!plan.unlabelled.is_empty()).then(|| set.with_documents(Vec::new()));
    if let Some(unlabelled) = &mut unlabelled {
        let left_out = Excluded { from: format!("{}:dev,test", corpus.description.name), ..Excluded::default() };
        let mut excluded = [(left_out, evaluation_documents(corpus))];
        let inputs = TextInputs {
            paths: &plan.unlabelled,
            from: None,
            text_column: None,
            id_column: None,
            lenient: plan.lenient,
        };
        inputs.read(&mut excluded, stop, |documents| {
            let encoded = tokenizer.encode(&documents)?;
            let mut more = TrainingSet::new(tokenizer, &documents, &encoded, labels, head);
            class.teach(&documents, &mut more.documents, false)?;
            more.documents.retain(|document| !document.input_ids.is_empty());
            unlabelled.documents.append(&mut more.documents);
            Ok(())
        })?;
        ensure!(!unlabelled.documents.is_empty(), "the unlabelled inputs have no text");
        record.unlabelled_documents = unlabelled.documents.len();
        record.unlabelled_tokens = unlabelled.documents.iter().map(|document| document.input_ids.len()).sum();
        let [(left_out, _)] = excluded;
        info!(
            "{} unlabelled documents with {} tokens; left out {} that are in the dev or test split: {} by id, {} by text",
            record.unlabelled_documents,
            record.unlabelled_tokens,
            left_out.by_id + left_out.by_text,
            left_out.by_id,
            left_out.by_text
        );
        record.left_out = vec![left_out];
    }
    (record.scored, record.unmatched) = (class.scored, class.unmatched);
    let what = if matches!(head, Head::Span { .. }) { "spans" } else { "tokens or words" };
    info!(
        "{} teachers scored {} {what}, of which {} do not match the student's words",
        teachers.len(),
        record.scored,
        record.unmatched
    );
    Ok(Some(Lessons { record, unlabelled }))
}

/// Fails unless a teacher has the head and the types of the student.
fn check(teacher: &Recognizer, labels: &LabelSet, head: Head) -> Result<()> {
    let theirs = teacher.inference().head;
    if std::mem::discriminant(&theirs) != std::mem::discriminant(&head) {
        bail!("its head is another one than the student's; teach with a model of the same head");
    }
    let sorted = |mut names: Vec<String>| {
        names.sort();
        names
    };
    // The tag scheme is in the labels' names, and of no effect on spans.
    let names = |labels: &LabelSet| match head {
        Head::Span { .. } => sorted(labels.types.clone()),
        _ => sorted(labels.names()),
    };
    let (ours, theirs) = (names(labels), names(teacher.labels()));
    ensure!(ours == theirs, "its labels are {}, but the student's are {}", theirs.join(", "), ours.join(", "));
    Ok(())
}

impl Class<'_> {
    /// Adds what the teachers say to the training documents that were made of `documents`.
    fn teach(
        &mut self,
        documents: &[Document],
        taught: &mut [ner_train::TrainingDocument],
        with_bar: bool,
    ) -> Result<()> {
        let own = self.tokenizer.encode(documents)?;
        let mut sums: Vec<Mean> = documents.iter().map(|_| Mean::default()).collect();
        for teacher in self.teachers {
            let theirs = teacher.tokenizer().encode(documents)?;
            // The bar over unlabelled text is that of the reader.
            let tokens = theirs.iter().map(|document| document.tokens.len()).sum();
            let bar = with_bar.then(|| progress::tokens("asking the teacher", tokens));
            let advance = |done: usize| bar.iter().for_each(|bar| bar.inc(done as u64));
            let outputs = teacher.outputs(&theirs, advance);
            let pairs = outputs.iter().zip(&theirs).zip(own.iter().zip(&mut sums));
            for ((output, theirs), (own, mean)) in pairs {
                self.add(teacher.labels(), output, theirs, own, mean);
            }
        }
        for ((document, own), mean) in taught.iter_mut().zip(&own).zip(sums) {
            document.soft = Some(self.soft_labels(mean, own));
        }
        Ok(())
    }

    /// Adds a teacher's output for a document.
    fn add(
        &mut self,
        labels: &LabelSet,
        output: &ModelOutput,
        theirs: &EncodedDocument,
        own: &EncodedDocument,
        mean: &mut Mean,
    ) {
        let type_of: Vec<usize> = places_of(&labels.types, &self.labels.types);
        match output {
            ModelOutput::Spans(spans) => {
                let starts: HashMap<usize, usize> = at_each(&own.words, |word| word.span.start);
                let ends: HashMap<usize, usize> = at_each(&own.words, |word| word.span.end);
                for ScoredEntity { words, entity_type, probability } in spans {
                    self.scored += 1;
                    let (first, last) = (&theirs.words[words.start].span, &theirs.words[words.end - 1].span);
                    match (starts.get(&first.start), ends.get(&last.end)) {
                        (Some(&start), Some(&last)) if start <= last => {
                            *mean.spans.entry((start, last + 1, type_of[*entity_type])).or_default() +=
                                f64::from(*probability);
                        }
                        _ => self.unmatched += 1,
                    }
                }
            }
            ModelOutput::Labels(rows) => {
                let class_of = places_of(&labels.names(), &self.labels.names());
                let spans = |document: &EncodedDocument| document.tokens.iter().map(|token| token.span).collect();
                self.add_places(mean, rows, &class_of, spans(theirs), spans(own));
            }
            ModelOutput::Chains(chains) => {
                let width = chains.transitions.labels();
                let ends = chains.starts.iter().skip(1).copied().chain([theirs.words.len()]);
                let chains_of_words = chains.starts.iter().zip(ends);
                let rows: Vec<f32> = chains_of_words
                    .flat_map(|(&start, end)| chains.transitions.marginals(&chains.scores[start * width..end * width]))
                    .collect();
                let class_of = places_of(&labels.names(), &self.labels.names());
                self.add_places(mean, &rows, &class_of, theirs.word_spans(), own.word_spans());
            }
            ModelOutput::Types(scores) => {
                let width = labels.scheme.width();
                // Of each type: the probability of being outside of it, and those of its positions.
                let of_type = |odds: &[f32]| -> Vec<f32> {
                    let exps: Vec<f32> = [1.0].into_iter().chain(odds.iter().map(|odds| odds.exp())).collect();
                    let sum: f32 = exps.iter().sum();
                    exps.into_iter().map(|exp| exp / sum).collect()
                };
                let rows: Vec<f32> = scores.chunks_exact(width).flat_map(of_type).collect();
                let classes = |entity_type: &usize| {
                    let first = entity_type * (width + 1);
                    first..first + width + 1
                };
                let class_of: Vec<usize> = type_of.iter().flat_map(classes).collect();
                self.add_places(mean, &rows, &class_of, theirs.word_spans(), own.word_spans());
            }
        }
    }

    /// Adds the probabilities at places, whose class `i` is the student's `class_of[i]`. Places match if they are the same
    /// characters of the text.
    fn add_places(&mut self, mean: &mut Mean, rows: &[f32], class_of: &[usize], theirs: Vec<Span>, own: Vec<Span>) {
        let width = class_of.len();
        let places: HashMap<(usize, usize), usize> =
            theirs.iter().enumerate().map(|(at, span)| ((span.start, span.end), at)).collect();
        mean.places.resize(own.len() * width, 0.0);
        mean.known.resize(own.len(), 0);
        self.scored += theirs.len();
        let mut matched = 0;
        for (at, span) in own.iter().enumerate() {
            let Some(&place) = places.get(&(span.start, span.end)) else { continue };
            matched += 1;
            mean.known[at] += 1;
            for (probability, class) in rows[place * width..(place + 1) * width].iter().zip(class_of) {
                mean.places[at * width + class] += f64::from(*probability);
            }
        }
        self.unmatched += theirs.len().saturating_sub(matched);
    }

    /// The mean of the teachers.
    fn soft_labels(&self, mean: Mean, own: &EncodedDocument) -> SoftLabels {
        let count = self.teachers.len() as f64;
        if let Head::Span { longest } = self.head {
            let fits = |((start, end, _), _): &((usize, usize, usize), f64)| end - start <= longest;
            let span = |((start, end, entity_type), sum): ((usize, usize, usize), f64)| ScoredEntity {
                words: start..end,
                entity_type,
                probability: (sum / count) as f32,
            };
            return SoftLabels::Spans(mean.spans.into_iter().filter(fits).map(span).collect());
        }
        debug_assert!(mean.known.len() == own.words.len() || self.head == Head::Token);
        let width = mean.places.len() / mean.known.len().max(1);
        let places =
            mean.places.iter().enumerate().map(|(at, sum)| (sum / f64::from(mean.known[at / width].max(1))) as f32);
        SoftLabels::Places(places.collect())
    }
}

/// Sums over teachers.
#[derive(Default)]
struct Mean {
    /// By first word, word after the last, and type.
    spans: BTreeMap<(usize, usize, usize), f64>,
    places: Vec<f64>,
    /// How many teachers know each place.
    known: Vec<u32>,
}

/// For each name, its place in `all`, which has the same names.
fn places_of(names: &[String], all: &[String]) -> Vec<usize> {
    names.iter().filter_map(|name| all.iter().position(|known| known == name)).collect()
}

/// The number of the word at each boundary.
fn at_each(words: &[Word], boundary: impl Fn(&Word) -> usize) -> HashMap<usize, usize> {
    words.iter().enumerate().map(|(at, word)| (boundary(word), at)).collect()
}
