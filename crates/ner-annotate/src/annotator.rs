use crate::{Finding, merge};
use ner_data::dataset::LabelMap;
use ner_data::{Document, EncodedDocument, TextEncoder, TokenizeError};
use ner_model::Recognizer;

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
        let categories = recognizer.reading().categories.clone();
        Self { name: name.into(), recognizer, categories }
    }
}

/// Models that annotate together.
///
/// It computes on the thread that it is on; [`Encoders`] go to other threads.
#[derive(Debug)]
pub struct Annotator {
    models: Vec<Model>,
}

/// The tokenizers of an annotator's models.
#[derive(Clone, Debug)]
pub struct Encoders(Vec<TextEncoder>);

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

impl Encoders {
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
        for (at, encoder) in self.0.iter().enumerate() {
            if wanted(at) {
                for (row, found) in encoded.iter_mut().zip(encoder.encode(&documents)?) {
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
        Self { models }
    }

    /// The models in their order.
    pub fn models(&self) -> &[Model] {
        &self.models
    }

    /// Their tokenizers.
    pub fn encoders(&self) -> Encoders {
        Encoders(self.models.iter().map(|model| model.recognizer.encoder().clone()).collect())
    }

    /// What the models find in each document, merged by the rule of [`merge`]. Documents may come from several callers
    /// of [`Encoders::prepare_for`], with other models each; `progress` is told the number of tokens after each batch of
    /// a model.
    pub fn find(&self, documents: &[Prepared], mut progress: impl FnMut(usize) + Send) -> Vec<Vec<Finding>> {
        let mut found: Vec<Vec<_>> = documents.iter().map(|_| Vec::new()).collect();
        for (at, model) in self.models.iter().enumerate() {
            let (places, encoded): (Vec<usize>, Vec<EncodedDocument>) = documents
                .iter()
                .enumerate()
                .filter_map(|(place, document)| Some((place, document.encoded.get(at)?.clone()?)))
                .unzip();
            for (place, mentions) in places.into_iter().zip(model.recognizer.mentions(&encoded, &mut progress)) {
                found[place].push((model.name.as_str(), mentions, &model.categories));
            }
        }
        found.into_iter().map(merge).collect()
    }

    /// What the models find in one text.
    ///
    /// # Errors
    /// Where a tokenizer fails.
    pub fn annotate(&self, text: &str) -> Result<Vec<Finding>, TokenizeError> {
        let prepared = self.encoders().prepare(vec![Document::new("text", text)])?;
        Ok(self.find(&prepared, |_| {}).into_iter().next().unwrap_or_default())
    }
}
