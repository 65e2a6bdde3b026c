//! Assertions and sections as attributes of mentions.

use crate::{Assertion, SectionName};
use ner_document::{Mention, Span};

/// The assertion's value; the name that readers of `.ast` files use, too.
pub const ASSERTION: &str = "assertion";
/// `true` if it lies in the past; absent otherwise.
pub const HISTORICAL: &str = "historical";
/// Characters of the cue, as `start-end`, the end exclusive.
pub const CUE: &str = "assertion_cue";
/// Confidence of the assertion.
pub const CONFIDENCE: &str = "assertion_confidence";
/// Name of the section.
pub const SECTION: &str = "section";
/// LOINC code of the section.
pub const SECTION_LOINC: &str = "section_loinc";

impl Assertion {
    /// Sets the attributes of a mention, over those that it has.
    pub fn set(&self, mention: &mut Mention) {
        let Self { value, historical, cue, confidence } = self;
        let attributes = &mut mention.attributes;
        attributes.insert(ASSERTION.to_owned(), value.to_string());
        attributes.insert(CONFIDENCE.to_owned(), confidence.to_string());
        let historical = historical.then(|| true.to_string());
        let cue = cue.map(|Span { start, end }| format!("{start}-{end}"));
        for (name, value) in [(HISTORICAL, historical), (CUE, cue)] {
            match value {
                Some(value) => drop(attributes.insert(name.to_owned(), value)),
                None => drop(attributes.remove(name)),
            }
        }
    }
}

impl SectionName {
    /// Sets the section of a mention, over one that it has; without a section, removes it.
    pub fn set(section: Option<&Self>, mention: &mut Mention) {
        let name = section.map(|section| section.name.clone());
        let loinc = section.and_then(|section| section.loinc.clone());
        for (attribute, value) in [(SECTION, name), (SECTION_LOINC, loinc)] {
            match value {
                Some(value) => drop(mention.attributes.insert(attribute.to_owned(), value)),
                None => drop(mention.attributes.remove(attribute)),
            }
        }
    }
}
