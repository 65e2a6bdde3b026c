use crate::Model;
use crate::{Combination, LongForm, MergedMention, merge};
use ner_context::{ContextRules, SectionKind};
use ner_document::{CharIndex, Document, Span};
use ner_link::{Linkable, Linkers, long_forms};
use ner_model::{Progress, caught_on_device};
use ner_text::{
    DocumentTokenizer, ElectedMention, EncodedDocument, ModelOutput, TokenizeError, decode_mentions, in_parallel,
    mean_output, vote,
};
use std::collections::BTreeSet;
use std::sync::Arc;

/// Models that annotate together.
///
/// Models compute on the calling thread; [`Tokenizers`] can go to other threads.
#[derive(Debug)]
pub struct Annotator {
    models: Vec<Model>,
    /// How to combine the models; only for an ensemble.
    combination: Option<Combination>,
    /// Rules of assertion and sections, if those are wanted.
    context: Option<ContextRules>,
    /// Whether mentions that are abbreviations get their long form.
    has_long_forms: bool,
    /// Vocabularies that mentions are linked to.
    linkers: Option<Arc<Linkers>>,
}

/// The tokenizers of an annotator's models.
#[derive(Clone, Debug)]
pub struct Tokenizers(Vec<DocumentTokenizer>);

/// A tokenized document.
#[derive(Clone, Debug)]
pub struct Prepared {
    /// The document.
    pub document: Document,
    /// Its tokens and windows by model; `None` for a model that is not wanted.
    encoded: Vec<Option<EncodedDocument>>,
}

impl Prepared {
    /// Number of tokens, over all models.
    pub fn tokens(&self) -> usize {
        self.encoded.iter().flatten().map(|encoded| encoded.tokens.len()).sum()
    }

    /// Number of windows, over all models.
    pub fn windows(&self) -> usize {
        self.encoded.iter().flatten().map(|encoded| encoded.windows.len()).sum()
    }
}

impl Tokenizers {
    /// Tokenizes documents for all models.
    ///
    /// # Errors
    /// If a tokenizer fails.
    pub fn prepare(&self, documents: Vec<Document>) -> Result<Vec<Prepared>, TokenizeError> {
        self.prepare_for(documents, |_| true)
    }

    /// Tokenizes documents for the models whose index is `wanted`.
    ///
    /// # Errors
    /// If a tokenizer fails.
    pub fn prepare_for(
        &self,
        documents: Vec<Document>,
        wanted: impl Fn(usize) -> bool,
    ) -> Result<Vec<Prepared>, TokenizeError> {
        let mut encoded: Vec<Vec<Option<EncodedDocument>>> = documents.iter().map(|_| Vec::new()).collect();
        for (at, tokenizer) in self.0.iter().enumerate() {
            if wanted(at) {
                for (row, document) in encoded.iter_mut().zip(tokenizer.encode(&documents)?) {
                    row.push(Some(document));
                }
            } else {
                encoded.iter_mut().for_each(|row| row.push(None));
            }
        }
        let prepared = documents.into_iter().zip(encoded);
        Ok(prepared.map(|(document, encoded)| Prepared { document, encoded }).collect())
    }
}

impl Annotator {
    /// An annotator with these models. Their names must differ.
    pub const fn new(models: Vec<Model>) -> Self {
        Self { models, combination: None, context: None, has_long_forms: false, linkers: None }
    }

    /// Combines the models into one by averaging or voting ([`Combination::of`]). Every document must be prepared for
    /// all of them.
    ///
    /// # Errors
    /// If their entity types differ.
    pub fn into_ensemble(self) -> Result<Self, String> {
        let combination = Combination::of(&self.models)?;
        Ok(Self { combination: Some(combination), ..self })
    }

    /// Adds the section to every mention, and the assertion to those of the models' assertable types.
    pub fn with_context(self, rules: ContextRules) -> Self {
        Self { context: Some(rules), ..self }
    }

    /// Adds the long form to every mention that is an abbreviation which its document defines.
    pub fn with_long_forms(self) -> Self {
        Self { has_long_forms: true, ..self }
    }

    /// Links mentions to vocabularies: they get the concepts that they mean.
    ///
    /// # Errors
    /// If no model finds a type that has a vocabulary of its own, or every type that they find has one and there is
    /// another for all types.
    pub fn with_vocabularies(self, linkers: Arc<Linkers>) -> Result<Self, String> {
        for entity_type in linkers.entity_types() {
            self.check_type(entity_type)?;
        }
        let mut types = self.models.iter().flat_map(|model| &model.recognizer.labels().types);
        let is_own = |name: &String| linkers.entity_types().any(|own| own == name);
        if linkers.iter().any(|(of, ..)| of.is_none()) && types.all(is_own) {
            return Err("the vocabulary for all types has no effect: every type has its own".to_owned());
        }
        Ok(Self { linkers: Some(linkers), ..self })
    }

    /// The vocabularies that mentions are linked to.
    pub fn linkers(&self) -> Option<&Linkers> {
        self.linkers.as_deref()
    }

    /// Makes a type of one of the models assertable.
    ///
    /// # Errors
    /// If no model has the type; the message lists them.
    pub fn make_assertable(&mut self, entity_type: &str) -> Result<(), String> {
        self.check_type(entity_type)?;
        let has_type = |model: &&mut Model| model.recognizer.labels().types.iter().any(|name| name == entity_type);
        for model in self.models.iter_mut().filter(has_type) {
            model.assertable.insert(entity_type.to_owned());
        }
        Ok(())
    }

    /// Checks that one of the models finds a type.
    ///
    /// # Errors
    /// If none does; the message lists the types.
    pub fn check_type(&self, entity_type: &str) -> Result<(), String> {
        let types = self.models.iter().flat_map(|model| &model.recognizer.labels().types).map(String::as_str);
        let types: BTreeSet<&str> = types.collect();
        if types.contains(entity_type) {
            return Ok(());
        }
        let known = types.into_iter().collect::<Vec<_>>().join(", ");
        Err(format!("no model finds the type {entity_type}; the models find {known}"))
    }

    /// The assertable types of all models.
    pub fn assertable(&self) -> BTreeSet<&str> {
        self.models.iter().flat_map(|model| model.assertable.iter().map(String::as_str)).collect()
    }

    /// Whether mentions get assertion and section.
    pub fn has_context(&self) -> bool {
        self.context.is_some() && self.models.iter().any(|model| !model.assertable.is_empty())
    }

    /// How the models are combined; `None` unless this is an ensemble.
    pub const fn combination(&self) -> Option<Combination> {
        self.combination
    }

    /// The models in order.
    pub fn models(&self) -> &[Model] {
        &self.models
    }

    /// Their tokenizers.
    pub fn tokenizers(&self) -> Tokenizers {
        Tokenizers(self.models.iter().map(|model| model.recognizer.tokenizer().clone()).collect())
    }

    /// The mentions in each document, merged as in [`merge`]; or those of the ensemble, with the names of the models
    /// that found each. With [`with_context`](Self::with_context) they have assertion and section. Documents may come from
    /// several calls of [`Tokenizers::prepare_for`] for different models.
    /// `progress` gets the number of tokens after each batch of a model, and may stop the computation ([`Progress`]).
    pub fn find<P: Progress>(
        &self,
        documents: &[Prepared],
        progress: impl FnMut(usize) -> P + Send,
    ) -> Vec<Vec<MergedMention>> {
        let mut found = match self.combination {
            Some(combination) => self.find_together(documents, combination, progress),
            None => self.find_merged(documents, progress),
        };
        if let Some(rules) = self.context.as_ref().filter(|_| self.has_context()) {
            in_parallel(documents.iter().zip(&mut found), |(prepared, mentions)| {
                self.add_context(rules, &prepared.document, mentions);
            });
        }
        if self.has_long_forms || self.linkers.is_some() {
            let texts: Vec<&str> = documents.iter().map(|prepared| prepared.document.text.as_str()).collect();
            finish(&texts, &mut found, self.has_long_forms, self.linkers());
        }
        found
    }

    fn add_context(&self, rules: &ContextRules, document: &Document, mentions: &mut [MergedMention]) {
        let is_assertable =
            |mention: &MergedMention| self.models.iter().any(|model| model.assertable.contains(&mention.entity_type));
        if !mentions.iter().any(is_assertable) {
            return;
        }
        let spans: Vec<Span> = mentions.iter().map(|mention| mention.span).collect();
        for (mention, context) in mentions.iter_mut().zip(rules.of(document, &spans)) {
            mention.assertion = is_assertable(mention).then_some(context.assertion);
            mention.section = context.section.map(SectionKind::name);
        }
    }

    fn find_merged<P: Progress>(
        &self,
        documents: &[Prepared],
        mut progress: impl FnMut(usize) -> P + Send,
    ) -> Vec<Vec<MergedMention>> {
        let mut found: Vec<Vec<_>> = documents.iter().map(|_| Vec::new()).collect();
        for (at, model) in self.models.iter().enumerate() {
            let (places, encoded): (Vec<usize>, Vec<&EncodedDocument>) = documents
                .iter()
                .enumerate()
                .filter_map(|(place, document)| Some((place, document.encoded.get(at)?.as_ref()?)))
                .unzip();
            for (place, mentions) in places.into_iter().zip(model.recognizer.mentions(&encoded, &mut progress)) {
                found[place].push((model.name.as_str(), mentions, &model.categories));
            }
        }
        in_parallel(found, merge)
    }

    /// The mentions in each document, or why its computation failed: a panic of a library, or numbers that are not
    /// finite. If one document of a batch fails, each is computed alone, so that the others keep their mentions; the
    /// last digits of their confidences may then differ.
    pub fn find_each(&self, documents: &[Prepared]) -> Vec<Result<Vec<MergedMention>, String>> {
        if let Ok(found) = caught_on_device(|| self.find(documents, |_| {})) {
            return found.into_iter().map(Ok).collect();
        }
        let alone = |document: &Prepared| {
            let found = caught_on_device(|| self.find(std::slice::from_ref(document), |_| {}));
            found.map(|found| found.into_iter().next().unwrap_or_default())
        };
        documents.iter().map(alone).collect()
    }

    fn find_together<P: Progress>(
        &self,
        documents: &[Prepared],
        combination: Combination,
        mut progress: impl FnMut(usize) -> P + Send,
    ) -> Vec<Vec<MergedMention>> {
        // [model][document]
        let encoded: Vec<Vec<&EncodedDocument>> = (0..self.models.len())
            .map(|at| documents.iter().filter_map(|document| document.encoded.get(at)?.as_ref()).collect())
            .collect();
        let members = || self.models.iter().map(|model| &model.recognizer).zip(&encoded);
        let elected: Vec<Vec<ElectedMention>> = match combination {
            Combination::Vote => {
                let mut found: Vec<_> =
                    members().map(|(member, encoded)| member.mentions(encoded, &mut progress).into_iter()).collect();
                let of_document = |_| vote(&found.iter_mut().map(|f| f.next().unwrap_or_default()).collect::<Vec<_>>());
                documents.iter().map(of_document).collect()
            }
            Combination::Mean => {
                let outputs: Vec<Vec<ModelOutput>> =
                    members().map(|(member, encoded)| member.outputs(encoded, &mut progress)).collect();
                let first = &self.models[0].recognizer;
                let none = vec![0.0; first.labels().types.len()];
                let all_models: Vec<usize> = (0..self.models.len()).collect();
                let of_document = |(at, document): (usize, &&EncodedDocument)| -> Vec<ElectedMention> {
                    let outputs: Vec<&ModelOutput> = outputs.iter().filter_map(|outputs| outputs.get(at)).collect();
                    let mean = mean_output(&outputs).expect("models that are averaged have outputs of the same kind");
                    let mentions = decode_mentions(
                        &document.words,
                        &mean,
                        first.labels(),
                        &none,
                        first.inference().decode_options(),
                    );
                    let elect = |mention| ElectedMention { mention, voters: all_models.clone() };
                    mentions.into_iter().map(elect).collect()
                };
                encoded[0].iter().enumerate().map(of_document).collect()
            }
        };
        let to_merged = |ElectedMention { mention, voters }: ElectedMention| {
            let category = voters.iter().find_map(|&at| self.models[at].categories.label(&mention.entity_type));
            Some(MergedMention {
                span: mention.span(),
                category: category.map(str::to_owned),
                confidence: mention.confidence?,
                models: voters.iter().map(|&at| self.models[at].name.clone()).collect(),
                below_threshold: false,
                assertion: None,
                section: None,
                long_form: None,
                concepts: Vec::new(),
                entity_type: mention.entity_type,
            })
        };
        let in_order = |elected: Vec<ElectedMention>| {
            let mut merged: Vec<MergedMention> = elected.into_iter().filter_map(to_merged).collect();
            merged.sort_by_key(|f| (f.span.start, std::cmp::Reverse(f.span.end), f.entity_type.clone()));
            merged
        };
        elected.into_iter().map(in_order).collect()
    }

    /// The mentions in one text.
    ///
    /// # Errors
    /// If a tokenizer fails.
    pub fn annotate(&self, text: &str) -> Result<Vec<MergedMention>, TokenizeError> {
        let prepared = self.tokenizers().prepare(vec![Document::new("text", text)])?;
        Ok(self.find(&prepared, |_| {}).into_iter().next().unwrap_or_default())
    }
}

/// Adds long forms to the mentions that are short forms, where they are defined and where they are used, and concepts to
/// those whose type has a vocabulary. Links begin with the long form, also where mentions do not get it.
fn finish(texts: &[&str], found: &mut [Vec<MergedMention>], has_long_forms: bool, linkers: Option<&Linkers>) {
    // The texts of the mentions.
    let add_long_forms = |(text, mentions): (&&str, &mut Vec<MergedMention>)| -> Vec<String> {
        if mentions.is_empty() {
            return Vec::new();
        }
        let long_forms = long_forms(text);
        if long_forms.is_empty() && linkers.is_none() {
            return Vec::new();
        }
        let index = CharIndex::new(text);
        let slice = |span| index.slice(text, span).unwrap_or_default().to_owned();
        for mention in mentions.iter_mut() {
            mention.long_form = long_forms.get(&mention.span).map(|&span| LongForm { span, text: slice(span) });
        }
        mentions.iter().map(|mention| slice(mention.span)).collect()
    };
    let own: Vec<Vec<String>> = in_parallel(texts.iter().zip(&mut *found), add_long_forms);
    let Some(linkers) = linkers else { return };
    fn linkable<'m>((mention, text): (&'m MergedMention, &'m String)) -> Linkable<'m> {
        let long_form = mention.long_form.as_ref().map(|long_form| long_form.text.as_str());
        Linkable { entity_type: &mention.entity_type, span: mention.span, text, long_form }
    }
    linkers.prepare(found.iter().zip(&own).flat_map(|(mentions, texts)| mentions.iter().zip(texts)).map(linkable));
    let having_mentions = texts.iter().zip(found).zip(&own).filter(|(_, own)| !own.is_empty());
    in_parallel(having_mentions, |((text, mentions), own)| {
        let linkables: Vec<Linkable> = mentions.iter().zip(own).map(linkable).collect();
        let linked = linkers.link_all(text, &CharIndex::new(text), &linkables);
        for (mention, concepts) in mentions.iter_mut().zip(linked) {
            mention.concepts = concepts;
            mention.long_form = mention.long_form.take().filter(|_| has_long_forms);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use ner_document::{Confidence, LabelMap, Mention};

    #[test]
    fn a_short_form_gets_its_long_form_wherever_it_stands() {
        let text = "Héart failure (HF) is common. HF and fever; HFrEF.";
        let index = CharIndex::new(text);
        let mention = |(at, short): (usize, &str)| {
            let start = index.span(at..at + short.len()).unwrap_or(Span::new(0, 0));
            Mention { confidence: Confidence::new(0.5), ..Mention::new(start, "Disease") }
        };
        let found = text.match_indices("HF").chain(text.match_indices("fever")).map(mention).collect();
        let mentions = merge([("m", found, &LabelMap::default())]);
        let mut found = vec![mentions];
        finish(&[text], &mut found, true, None);
        let mentions = found.remove(0);
        let shown: Vec<Option<&str>> =
            mentions.iter().map(|mention| mention.long_form.as_ref().map(|long| long.text.as_str())).collect();
        assert_eq!(shown, [Some("Héart failure"), Some("Héart failure"), None, None]);
        assert_eq!(mentions[1].long_form.as_ref().map(|long| long.span), Some(Span::new(0, 13)));
        assert_eq!(mentions[1].to_mention().attributes["long_form"], "Héart failure");
    }
}
