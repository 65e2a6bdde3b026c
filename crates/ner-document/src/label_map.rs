use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Maps the types of a corpus to the labels of a model. `*` stands for all types that are not listed. Types that map to
/// the empty label (`""`) are left out, and so are unlisted types if there is no `*`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct LabelMap(pub BTreeMap<String, String>);

impl LabelMap {
    /// The label of a type, or `None` if its mentions are left out.
    pub fn label(&self, entity_type: &str) -> Option<&str> {
        let label = self.0.get(entity_type).or_else(|| self.0.get("*"))?;
        (!label.is_empty()).then_some(label)
    }
}
