use crate::{Combination, MergedMention, merge};
use ner_document::Document;
use ner_document::LabelMap;
use ner_model::Recognizer;
use ner_text::{
    DocumentTokenizer, ElectedMention, EncodedDocument, ModelOutput, TokenizeError, decode_mentions, mean_output, vote,
};

/// A model by its name.
#[derive(Debug)]
pub struct Model {
    /// The name that findings bear.
    pub name: String,
    /// The model.
    pub recognizer: Recognizer,
    /// What a reader calls its types.
    pub categories: LabelMap,
}

impl Model {
    /// A model with the categories that were stored with it.
    pub fn new(name: impl Into<String>, recognizer: Recognizer) -> Self {
        let categories = recognizer.inference().categories.clone();
        Self { name: name.into(), recognizer, categories }
    }
}

/// Models that annotate together.
///
/// It computes on the thread that it is on; [`Tokenizers`] go to other threads.
#[derive(Debug)]
pub struct Annotator {
    models: Vec<Model>,
    /// How they are brought together where they are taken for one.
    combination: Option<Combination>,
}

/// The tokenizers of an annotator's models.
#[derive(Clone, Debug)]
pub struct Tokenizers(Vec<DocumentTokenizer>);

/// A document that is ready for the models.
#[derive(Clone, Debug)]
pub struct Prepared {
    /// The document.
    pub document: Document,
    /// Its tokens and windows for each model; none for a model that is not asked.
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
    /// Makes documents ready for all models.
    ///
    /// # Errors
    /// Where a tokenizer fails.
    pub fn prepare(&self, documents: Vec<Document>) -> Result<Vec<Prepared>, TokenizeError> {
        self.prepare_for(documents, |_| true)
    }

    /// Makes documents ready for the models whose place is `wanted`.
    ///
    /// # Errors
    /// Where a tokenizer fails.
    pub fn prepare_for(
        &self,
        documents: Vec<Document>,
        wanted: impl Fn(usize) -> bool,
    ) -> Result<Vec<Prepared>, TokenizeError> {
        let mut encoded: Vec<Vec<Option<EncodedDocument>>> = documents.iter().map(|_| Vec::new()).collect();
        for (at, tokenizer) in self.0.iter().enumerate() {
            if wanted(at) {
                for (row, found) in encoded.iter_mut().zip(tokenizer.encode(&documents)?) {
                    row.push(Some(found));
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
    /// An annotator of these models, whose names differ.
    pub const fn new(models: Vec<Model>) -> Self {
        Self { models, combination: None }
    }

    /// The same models taken for one: what they say is averaged, or they vote ([`Combination::of`]). Each document has
    /// to be prepared for all of them.
    ///
    /// # Errors
    /// Where they do not find the same types.
    pub fn into_ensemble(self) -> Result<Self, String> {
        let combination = Combination::of(&self.models)?;
        Ok(Self { combination: Some(combination), ..self })
    }

    /// How the models are brought together where they are taken for one.
    pub const fn combination(&self) -> Option<Combination> {
        self.combination
    }

    /// The models in their order.
    pub fn models(&self) -> &[Model] {
        &self.models
    }

    /// Their tokenizers.
    pub fn tokenizers(&self) -> Tokenizers {
        Tokenizers(self.models.iter().map(|model| model.recognizer.tokenizer().clone()).collect())
    }

    /// What the models find in each document, merged by the rule of [`merge`], or as one model that bears the names of
    /// those that found it. Documents may come from several callers
    /// of [`Tokenizers::prepare_for`], with other models each; `progress` is told the number of tokens after each batch of
    /// a model.
    pub fn find(&self, documents: &[Prepared], mut progress: impl FnMut(usize) + Send) -> Vec<Vec<MergedMention>> {
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

    fn find_together(
        &self,
        documents: &[Prepared],
        combination: Combination,
        mut progress: impl FnMut(usize) + Send,
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
                let found: Vec<Vec<ModelOutput>> =
                    members().map(|(member, encoded)| member.outputs(encoded, &mut progress)).collect();
                let first = &self.models[0].recognizer;
                let none = vec![0.0; first.labels().types.len()];
                let everybody: Vec<usize> = (0..self.models.len()).collect();
                let of_document = |(at, document): (usize, &&EncodedDocument)| -> Vec<ElectedMention> {
                    let said: Vec<&ModelOutput> = found.iter().filter_map(|found| found.get(at)).collect();
                    let mean = mean_output(&said).expect("models that are alike say the same kind of things");
                    let mentions = decode_mentions(
                        &document.words,
                        &mean,
                        first.labels(),
                        &none,
                        first.inference().decode_options(),
                    );
                    let elect = |mention| ElectedMention { mention, voters: everybody.clone() };
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

    /// What the models find in one text.
    ///
    /// # Errors
    /// Where a tokenizer fails.
    pub fn annotate(&self, text: &str) -> Result<Vec<MergedMention>, TokenizeError> {
        let prepared = self.tokenizers().prepare(vec![Document::new("text", text)])?;
        Ok(self.find(&prepared, |_| {}).into_iter().next().unwrap_or_default())
    }
}
