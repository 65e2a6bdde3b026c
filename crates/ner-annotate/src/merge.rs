use ner_document::LabelMap;
use ner_document::{Confidence, Mention, Span};
use serde::Serialize;
use std::cmp::Reverse;
use std::collections::BTreeMap;

/// A mention that one or several models found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct MergedMention {
    /// Where it stands.
    pub span: Span,
    /// Its type, as the model calls it.
    pub entity_type: String,
    /// What a reader calls that type; none where no table says.
    pub category: Option<String>,
    /// How sure the surest of the models is, as
    /// [`mentions_from_probabilities`](ner_text::mentions_from_probabilities) defines it.
    pub confidence: Confidence,
    /// The models that found it, in their order.
    pub models: Vec<String>,
    /// Whether its confidence lies below the threshold of its type.
    pub below_threshold: bool,
}

/// Names of the attributes that a finding has as a mention, which every format with attributes can say.
const CATEGORY: &str = "category";
const MODELS: &str = "models";
const BELOW_THRESHOLD: &str = "below_threshold";

impl MergedMention {
    /// The finding as a mention: category and models (joined by `|`) are attributes, as is `below_threshold` where it
    /// is so.
    pub fn to_mention(&self) -> Mention {
        let mut mention = Mention::new(self.span, self.entity_type.as_str());
        mention.confidence = Some(self.confidence);
        mention.attributes.extend(self.category.clone().map(|category| (CATEGORY.to_owned(), category)));
        mention.attributes.insert(MODELS.to_owned(), self.models.join("|"));
        if self.below_threshold {
            mention.attributes.insert(BELOW_THRESHOLD.to_owned(), true.to_string());
        }
        mention
    }
}

/// Merges what models found in one document; of each model its name, its mentions and its categories.
///
/// Every mention of every model is kept, whatever it overlaps. Only where two models find the same span with the same
/// type the two become one, which bears the names of both, and the confidence and the category of the surer (of two as
/// sure, the first). The findings come in the order of their starts, at one start the longest first, then by type.
pub fn merge<'m>(found: impl IntoIterator<Item = (&'m str, Vec<Mention>, &'m LabelMap)>) -> Vec<MergedMention> {
    let mut merged: BTreeMap<(usize, Reverse<usize>, String), MergedMention> = BTreeMap::new();
    for (model, mentions, categories) in found {
        for mention in mentions {
            // A mention that a model predicted has one.
            let Some(confidence) = mention.confidence else { continue };
            let span = mention.span();
            let category = categories.label(&mention.entity_type).map(str::to_owned);
            let key = (span.start, Reverse(span.end), mention.entity_type.clone());
            let entity_type = mention.entity_type;
            let models = vec![model.to_owned()];
            let new = MergedMention { span, entity_type, category, confidence, models, below_threshold: false };
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

/// How sure a model must be, by type.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Thresholds {
    /// Of every type that is not named.
    pub general: f32,
    /// By type.
    pub by_type: BTreeMap<String, f32>,
}

impl Thresholds {
    /// The least confidence of a type, from 0 to 1.
    pub fn of(&self, entity_type: &str) -> f32 {
        self.by_type.get(entity_type).copied().unwrap_or(self.general)
    }

    /// Leaves out what lies below, or keeps it, marked so, where `all_spans`.
    pub fn apply(&self, findings: Vec<MergedMention>, all_spans: bool) -> Vec<MergedMention> {
        let mark = |finding: MergedMention| {
            let below_threshold = finding.confidence.value() < self.of(&finding.entity_type);
            MergedMention { below_threshold, ..finding }
        };
        findings.into_iter().map(mark).filter(|finding| all_spans || !finding.below_threshold).collect()
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
