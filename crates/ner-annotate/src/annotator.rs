use crate::Model;
use crate::{Combination, MergedMention, merge};
use ner_document::Document;
use ner_model::Progress;
use ner_text::{
    DocumentTokenizer, ElectedMention, EncodedDocument, ModelOutput, TokenizeError, caught, decode_mentions,
    mean_output, vote,
};

/// Models that annotate together.
///
/// Models compute on the calling thread; [`Tokenizers`] can go to other threads.
#[derive(Debug)]
pub struct Annotator {
    models: Vec<Model>,
    /// How to combine the models; only for an ensemble.
    combination: Option<Combination>,
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
        Self { models, combination: None }
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
    /// that found each. Documents may come from several calls of [`Tokenizers::prepare_for`] for different models.
    /// `progress` gets the number of tokens after each batch of a model, and may stop the computation ([`Progress`]).
    pub fn find<P: Progress>(
        &self,
        documents: &[Prepared],
        mut progress: impl FnMut(usize) -> P + Send,
    ) -> Vec<Vec<MergedMention>> {
        if let Some(combination) = self.combination {
            return self.find_together(documents, combination, progress);
        }
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
        found.into_iter().map(merge).collect()
    }

    /// The mentions in each document, or why its computation failed: a panic of a library, or numbers that are not
    /// finite. If one document of a batch fails, each is computed alone, so that the others keep their mentions; the
    /// last digits of their confidences may then differ.
    pub fn find_each(&self, documents: &[Prepared]) -> Vec<Result<Vec<MergedMention>, String>> {
        if let Ok(found) = caught(|| self.find(documents, |_| {})) {
            return found.into_iter().map(Ok).collect();
        }
        let alone = |document: &Prepared| {
            let found = caught(|| self.find(std::slice::from_ref(document), |_| {}));
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
