use super::share;
use crate::Document;
use serde::Serialize;
use std::collections::{BTreeMap, HashMap, HashSet};

/// Mentions of a split whose string and type do not occur as a training mention: what memorising cannot find.
///
/// Whole strings are compared, folded.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Unseen {
    /// Counts over all types.
    #[serde(flatten)]
    pub overall: UnseenCounts,
    /// Counts of each type of the split.
    pub by_type: BTreeMap<String, UnseenCounts>,
}

/// Counts of [`Unseen`].
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct UnseenCounts {
    /// Mentions.
    pub mentions: usize,
    /// Mentions whose string never has this type in training.
    pub unseen: usize,
    /// `unseen / mentions`; `None` if there are no mentions.
    pub share: Option<f64>,
    /// Unseen mentions whose string is a training mention of another type.
    pub seen_as_another_type: usize,
}

impl UnseenCounts {
    fn add(&mut self, types_in_training: Option<&HashSet<&str>>, entity_type: &str) {
        self.mentions += 1;
        if types_in_training.is_none_or(|types| !types.contains(entity_type)) {
            self.unseen += 1;
            self.seen_as_another_type += usize::from(types_in_training.is_some());
        }
        self.share = share(self.unseen, self.mentions);
    }
}

impl Unseen {
    /// Compares the mentions of `documents` with those of `training`.
    pub fn of(training: &[Document], documents: &[Document]) -> Self {
        let mut seen: HashMap<String, HashSet<&str>> = HashMap::new();
        for document in training {
            let index = document.char_index();
            for mention in &document.mentions {
                seen.entry(mention.folded_text(&document.text, &index)).or_default().insert(&mention.entity_type);
            }
        }
        let mut counted = Self::default();
        for document in documents {
            let index = document.char_index();
            for mention in &document.mentions {
                let types = seen.get(&mention.folded_text(&document.text, &index));
                counted.overall.add(types, &mention.entity_type);
                counted.by_type.entry(mention.entity_type.clone()).or_default().add(types, &mention.entity_type);
            }
        }
        counted
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Mention, Span};

    /// A document of one-word mentions.
    fn document(mentions: &[(&str, &str)]) -> Document {
        let mut document = Document::new("1", "");
        for (word, entity_type) in mentions {
            let start = document.text.chars().count();
            document.text += word;
            let span = Span::new(start, document.text.chars().count());
            document.mentions.push(Mention::new(span, *entity_type));
            document.text += " ";
        }
        document
    }

    fn check(training: &[(&str, &str)], test: &[(&str, &str)], expected: (usize, usize, Option<f64>)) {
        let found = Unseen::of(&[document(training)], &[document(test)]);
        let UnseenCounts { mentions, unseen, share, seen_as_another_type } = found.overall;
        assert_eq!((unseen, seen_as_another_type, share), expected);
        assert_eq!(mentions, test.len());
        assert_eq!(found.by_type.values().map(|of_type| of_type.mentions).sum::<usize>(), mentions);
        assert_eq!(found.by_type.values().map(|of_type| of_type.unseen).sum::<usize>(), unseen);
    }

    #[test]
    fn a_mention_is_seen_where_training_has_its_string_and_type() {
        check(&[], &[], (0, 0, None));
        check(&[], &[("fever", "D")], (1, 0, Some(1.0)));
        check(&[("Fever", "D")], &[("fever", "D"), ("FEVER", "D")], (0, 0, Some(0.0)));
        check(&[("fever", "D")], &[("fever", "C"), ("fevers", "D"), ("fever", "D")], (2, 1, Some(2.0 / 3.0)));
    }
}
