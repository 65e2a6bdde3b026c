use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Maps the types of a corpus to the labels of a model. `*` stands for every type that is not named; a type that is
/// mapped to nothing (`""`), or not at all where there is no `*`, is left out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct LabelMap(pub BTreeMap<String, String>);

impl LabelMap {
    /// The label of a type, or none where its mentions are left out.
    pub fn label(&self, entity_type: &str) -> Option<&str> {
        let label = self.0.get(entity_type).or_else(|| self.0.get("*"))?;
        (!label.is_empty()).then_some(label)
    }
}
