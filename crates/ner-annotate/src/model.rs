use ner_document::LabelMap;
use ner_model::Recognizer;

/// A model with a name.
#[derive(Debug)]
pub struct Model {
    /// The name that mentions carry.
    pub name: String,
    /// The model.
    pub recognizer: Recognizer,
    /// The category of each of its types.
    pub categories: LabelMap,
}

impl Model {
    /// A model with the categories stored with it.
    pub fn new(name: impl Into<String>, recognizer: Recognizer) -> Self {
        let categories = recognizer.inference().categories.clone();
        Self { name: name.into(), recognizer, categories }
    }
}
