use ner_document::LabelMap;
use ner_model::{InferenceConfig, Recognizer};
use std::collections::BTreeSet;

/// A model with a name.
#[derive(Debug)]
pub struct Model {
    /// The name that mentions carry.
    pub name: String,
    /// The model.
    pub recognizer: Recognizer,
    /// The category of each of its types.
    pub categories: LabelMap,
    /// Its types whose mentions get an assertion.
    pub assertable: BTreeSet<String>,
}

impl Model {
    /// A model with the categories and assertable types stored with it.
    pub fn new(name: impl Into<String>, recognizer: Recognizer) -> Self {
        let InferenceConfig { categories, assertable, .. } = recognizer.inference().clone();
        Self { name: name.into(), recognizer, categories, assertable }
    }
}
