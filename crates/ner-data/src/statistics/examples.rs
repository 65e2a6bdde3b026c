use super::{CorpusStatistics, Inconsistency, SharedTexts, SharedTextsPair, TextPlace};
use crate::dataset::LoadedSplit;
use crate::{Document, Span, Split, Splits};
use serde::Serialize;
use std::cmp::Reverse;
use std::collections::BTreeMap;

/// Examples to inspect, a limited number of each kind and split; the statistics give the totals.
///
/// Contains text of the corpus only if requested.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Examples<'d> {
    /// Documents with the same text in two splits.
    pub shared_documents: Vec<[Example<'d>; 2]>,
    /// The same sentence in two splits.
    pub shared_sentences: Vec<[Example<'d>; 2]>,
    /// Mentions that cross another.
    pub crossing: Vec<Example<'d>>,
    /// Strings with different types in one document.
    pub differently_typed: Vec<InconsistencyExample<'d>>,
    /// Strings with unlabelled occurrences in one document, those with the most first.
    pub partly_unlabelled: Vec<InconsistencyExample<'d>>,
}

/// A location in a document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Example<'d> {
    /// Split of the document.
    pub split: Split,
    /// Identifier of the document.
    pub document: &'d str,
    /// Position in its text.
    pub span: Span,
    /// The text there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<&'d str>,
}

/// A string that is labelled inconsistently in its document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct InconsistencyExample<'d> {
    /// Split of the document.
    pub split: Split,
    /// Identifier of the document.
    pub document: &'d str,
    /// The string, as written at one of its occurrences.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<&'d str>,
    /// Occurrences with each type.
    pub labelled: BTreeMap<String, Vec<Span>>,
    /// Occurrences without a mention.
    pub unlabelled: Vec<Span>,
}

impl<'d> Examples<'d> {
    /// At most `most` examples of each kind and split (or pair of splits), with text if `with_text`. `statistics` must
    /// be those of `splits`.
    pub fn of(statistics: &CorpusStatistics, splits: &'d Splits<LoadedSplit>, most: usize, with_text: bool) -> Self {
        let lookup = Lookup { splits, with_text };
        let mut examples = Self {
            shared_documents: lookup.shared(&statistics.shared.documents, most),
            shared_sentences: lookup.shared(&statistics.shared.sentences, most),
            crossing: Vec::new(),
            differently_typed: Vec::new(),
            partly_unlabelled: Vec::new(),
        };
        for (split, report) in statistics.splits.iter() {
            let crossing = report.overlaps.crossing_places.iter().take(most);
            examples.crossing.extend(crossing.map(|&place| lookup.example(split, place)));
            let cases = &report.consistency.cases;
            let typed = cases.iter().filter(|case| case.differently_typed).take(most);
            examples.differently_typed.extend(typed.map(|case| lookup.inconsistency(split, case)));
            let mut unlabelled: Vec<&Inconsistency> = cases.iter().filter(|case| !case.unlabelled.is_empty()).collect();
            unlabelled.sort_by_key(|case| Reverse(case.unlabelled.len()));
            let unlabelled = unlabelled.into_iter().take(most);
            examples.partly_unlabelled.extend(unlabelled.map(|case| lookup.inconsistency(split, case)));
        }
        examples
    }
}

struct Lookup<'d> {
    splits: &'d Splits<LoadedSplit>,
    with_text: bool,
}

impl<'d> Lookup<'d> {
    fn text(&self, document: &'d Document, span: Span) -> Option<&'d str> {
        self.with_text.then(|| document.char_index().slice(&document.text, span)).flatten()
    }

    fn example(&self, split: Split, place: TextPlace) -> Example<'d> {
        let document = &self.splits.get(split).documents[place.document];
        Example { split, document: &document.id, span: place.span, text: self.text(document, place.span) }
    }

    fn shared(&self, shared: &SharedTexts, most: usize) -> Vec<[Example<'d>; 2]> {
        let all = shared.pairs.iter().flat_map(|pair| pair.places.iter().take(most).map(move |places| (pair, places)));
        let example = |(pair, &[first, second]): (&SharedTextsPair, &[TextPlace; 2])| {
            [self.example(pair.first, first), self.example(pair.second, second)]
        };
        all.map(example).collect()
    }

    fn inconsistency(&self, split: Split, case: &Inconsistency) -> InconsistencyExample<'d> {
        let document = &self.splits.get(split).documents[case.document];
        let somewhere = case.labelled.values().flatten().next();
        InconsistencyExample {
            split,
            document: &document.id,
            text: somewhere.and_then(|&span| self.text(document, span)),
            labelled: case.labelled.clone(),
            unlabelled: case.unlabelled.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Diagnostics, LabelSet, Mention, TagScheme};

    /// Examples from one document that is in the training and in the test split.
    fn check(most: usize, with_text: bool, expected: &str) {
        let mention = |start, end, kind: &str| Mention::new(Span::new(start, end), kind);
        let mentions = vec![mention(0, 5, "A"), mention(7, 12, "B"), mention(10, 14, "B")];
        let document = Document { mentions, ..Document::new("1", "Fever, fever to be seen. FEVER") };
        let loaded = LoadedSplit { documents: vec![document], diagnostics: Diagnostics::default() };
        let splits = Splits { train: loaded.clone(), dev: LoadedSplit::default(), test: loaded };
        let statistics =
            CorpusStatistics::of(&splits, None, &LabelSet::new(TagScheme::Bio, ["A"])).expect("no encoder");
        let examples = Examples::of(&statistics, &splits, most, with_text);
        let pairs = |pairs: &[[Example; 2]]| -> String {
            let side = |e: &Example| format!("{} {} {} {:?}", e.split, e.document, e.span, e.text.map(str::len));
            pairs.iter().map(|[a, b]| format!("{}, {}; ", side(a), side(b))).collect()
        };
        let strings = |cases: &[InconsistencyExample]| -> String {
            cases.iter().map(|c| format!("{} {:?} {}; ", c.split, c.text, c.unlabelled.len())).collect()
        };
        let found = [
            pairs(&examples.shared_documents),
            pairs(&examples.shared_sentences),
            strings(&examples.differently_typed),
            strings(&examples.partly_unlabelled),
            examples.crossing.iter().map(|e| format!("{} {}; ", e.split, e.span)).collect(),
        ];
        assert_eq!(found.join("\n"), expected);
    }

    #[test]
    fn text_is_shown_only_where_it_was_asked_for() {
        check(0, true, "\n\n\n\n");
        let without = "train 1 0..30 None, test 1 0..30 None; \n\
                       train 1 0..24 None, test 1 0..24 None; \n\
                       train None 1; test None 1; \n\
                       train None 1; test None 1; \n\
                       train 7..12; train 10..14; test 7..12; test 10..14; ";
        check(2, false, without);
        let with = "train 1 0..30 Some(30), test 1 0..30 Some(30); \n\
                    train 1 0..24 Some(24), test 1 0..24 Some(24); \n\
                    train Some(\"Fever\") 1; test Some(\"Fever\") 1; \n\
                    train Some(\"Fever\") 1; test Some(\"Fever\") 1; \n\
                    train 7..12; test 7..12; ";
        check(1, true, with);
    }
}
