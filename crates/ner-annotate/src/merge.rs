use ner_context::{Assertion, SectionName};
use ner_document::{Confidence, LabelMap, Mention, Span};
use ner_link::LinkedConcept;
use serde::Serialize;
use std::cmp::Reverse;
use std::collections::BTreeMap;

/// A mention found by one or several models.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct MergedMention {
    /// Its span.
    pub span: Span,
    /// The model's entity type.
    pub entity_type: String,
    /// The category of that type; `None` if the type has no category.
    pub category: Option<String>,
    /// The highest confidence of the models, as defined by
    /// [`mentions_from_probabilities`](ner_text::mentions_from_probabilities).
    pub confidence: Confidence,
    /// The models that found it, in order.
    pub models: Vec<String>,
    /// Whether its confidence is below the threshold of its type.
    pub below_threshold: bool,
    /// What the text says of it; `None` if its type is not assertable.
    pub assertion: Option<Assertion>,
    /// The section of the note that it stands in; `None` if that is unknown.
    pub section: Option<SectionName>,
    /// What it is short for, if the document says so.
    pub long_form: Option<LongForm>,
    /// The concept that it means; several if it is a composite mention, none without a vocabulary or a name in it.
    pub concepts: Vec<LinkedConcept>,
}

/// The long form of an abbreviation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LongForm {
    /// Where the document defines it.
    pub span: Span,
    /// Its text.
    pub text: String,
}

/// Names of the attributes that a merged mention has in a document. Every format with attributes can represent them.
const CATEGORY: &str = "category";
const MODELS: &str = "models";
const BELOW_THRESHOLD: &str = "below_threshold";
const LONG_FORM: &str = "long_form";

impl MergedMention {
    /// Converts it to a mention. Category, models (joined by `|`), assertion, section and long form become attributes, as
    /// does `below_threshold` if it is true. Concepts become ids, with the attributes of [`LinkedConcept::set`].
    pub fn to_mention(&self) -> Mention {
        let mut mention = Mention::new(self.span, self.entity_type.as_str());
        mention.confidence = Some(self.confidence);
        mention.attributes.extend(self.category.clone().map(|category| (CATEGORY.to_owned(), category)));
        mention.attributes.insert(MODELS.to_owned(), self.models.join("|"));
        if self.below_threshold {
            mention.attributes.insert(BELOW_THRESHOLD.to_owned(), true.to_string());
        }
        if let Some(assertion) = &self.assertion {
            assertion.set(&mut mention);
        }
        if let Some(long_form) = &self.long_form {
            mention.attributes.insert(LONG_FORM.to_owned(), long_form.text.clone());
        }
        SectionName::set(self.section.as_ref(), &mut mention);
        LinkedConcept::set(&self.concepts, &mut mention);
        mention
    }
}

/// Merges the mentions that models found in one document. Each item is a model's name, mentions and categories.
///
/// Keeps all mentions, overlapping ones included. Only mentions with the same span and type become one: it has the
/// names of both models, and the confidence and category of the more confident one (the first if equal). Sorted by
/// start, then longest first, then by type.
pub fn merge<'m>(found: impl IntoIterator<Item = (&'m str, Vec<Mention>, &'m LabelMap)>) -> Vec<MergedMention> {
    let mut merged: BTreeMap<(usize, Reverse<usize>, String), MergedMention> = BTreeMap::new();
    for (model, mentions, categories) in found {
        for mention in mentions {
            // Every predicted mention has a confidence.
            let Some(confidence) = mention.confidence else { continue };
            let span = mention.span();
            let category = categories.label(&mention.entity_type).map(str::to_owned);
            let key = (span.start, Reverse(span.end), mention.entity_type.clone());
            let entity_type = mention.entity_type;
            let models = vec![model.to_owned()];
            let new = MergedMention {
                span,
                entity_type,
                category,
                confidence,
                models,
                below_threshold: false,
                assertion: None,
                section: None,
                long_form: None,
                concepts: Vec::new(),
            };
            match merged.get_mut(&key) {
                None => drop(merged.insert(key, new)),
                Some(known) => {
                    let models = [known.models.as_slice(), new.models.as_slice()].concat();
                    let surer = if new.confidence > known.confidence { new } else { known.clone() };
                    *known = MergedMention { models, ..surer };
                }
            }
        }
    }
    merged.into_values().collect()
}

/// Minimum confidence by type.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Thresholds {
    /// For types without their own threshold.
    pub general: f32,
    /// Thresholds by type.
    pub by_type: BTreeMap<String, f32>,
}

impl Thresholds {
    /// Minimum confidence of a type, from 0 to 1.
    pub fn of(&self, entity_type: &str) -> f32 {
        self.by_type.get(entity_type).copied().unwrap_or(self.general)
    }

    /// Drops mentions below their threshold; with `all_spans`, marks them instead.
    pub fn apply(&self, mentions: Vec<MergedMention>, all_spans: bool) -> Vec<MergedMention> {
        let mark = |mention: MergedMention| {
            let below_threshold = mention.confidence.value() < self.of(&mention.entity_type);
            MergedMention { below_threshold, ..mention }
        };
        mentions.into_iter().map(mark).filter(|mention| all_spans || !mention.below_threshold).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mention(start: usize, end: usize, entity_type: &str, confidence: f32) -> Mention {
        Mention { confidence: Confidence::new(confidence), ..Mention::new(Span::new(start, end), entity_type) }
    }

    #[test]
    fn all_is_kept_and_what_is_the_same_is_one() {
        let table =
            |rows: &[(&str, &str)]| LabelMap(rows.iter().map(|&(from, to)| (from.to_owned(), to.to_owned())).collect());
        let (first, second) = (table(&[("X", "x")]), table(&[("*", "y"), ("Z", "")]));
        let found = [
            ("a", vec![mention(4, 6, "X", 0.5), mention(8, 9, "X", 0.5)], &first),
            (
                "b",
                vec![
                    mention(0, 3, "Z", 0.9),
                    mention(4, 6, "X", 0.75),
                    mention(4, 8, "X", 0.2),
                    mention(8, 9, "X", 0.5),
                ],
                &second,
            ),
        ];
        let shown = |findings: &[MergedMention]| -> Vec<String> {
            let row = |f: &MergedMention| {
                let category = f.category.as_deref().unwrap_or("-");
                format!("{} {} {category} {} {}", f.span, f.entity_type, f.confidence, f.models.join("+"))
            };
            findings.iter().map(row).collect()
        };
        let findings = merge(found);
        assert_eq!(shown(&findings), ["0..3 Z - 0.9 b", "4..8 X y 0.2 b", "4..6 X y 0.75 a+b", "8..9 X x 0.5 a+b"]);

        let thresholds = Thresholds { general: 0.75, by_type: [("Z".to_owned(), 0.95)].into() };
        assert_eq!(shown(&thresholds.apply(findings.clone(), false)), ["4..6 X y 0.75 a+b"]);
        let all = thresholds.apply(findings, true);
        assert_eq!(all.iter().map(|f| f.below_threshold).collect::<Vec<_>>(), [true, true, false, true]);
        assert_eq!(all[0].to_mention().attributes["below_threshold"], "true");
        assert_eq!(all[2].to_mention().attributes["models"], "a|b");
    }
}
