use super::{TextPlace, share};
use crate::{Document, Span};
use serde::Serialize;
use std::cmp::Reverse;
use std::collections::BTreeSet;

/// Mentions that share characters with others of their document, which flat tags cannot express.
///
/// A mention extends from its first character to its last, gaps between fragments included. Each number counts
/// mentions, not pairs; a mention can be nested in one mention and cross another.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Overlaps {
    /// Mentions that share a character with another in any way.
    pub overlapping: usize,
    /// `overlapping` as a share of all mentions; `None` if there are no mentions.
    pub share: Option<f64>,
    /// Mentions with the same start and end as another.
    pub same_extent: usize,
    /// Mentions inside a longer one.
    pub nested: usize,
    /// Mentions that contain a shorter one.
    pub containing: usize,
    /// Mentions that partly overlap another: each of the two has a part of its own.
    pub crossing: usize,
    /// Maximum number of mentions over one character.
    pub deepest: usize,
    /// Mentions with several fragments.
    pub discontinuous: usize,
    /// Locations of the crossing mentions, which are rarely intended.
    #[serde(skip)]
    pub crossing_places: Vec<TextPlace>,
}

impl Overlaps {
    /// Counts the mentions of documents.
    pub fn of(documents: &[Document]) -> Self {
        let mut counted = Self::default();
        for (at, document) in documents.iter().enumerate() {
            counted.add(at, document);
        }
        counted.share = share(counted.overlapping, documents.iter().map(|document| document.mentions.len()).sum());
        counted
    }

    fn add(&mut self, at: usize, document: &Document) {
        self.discontinuous += document.mentions.iter().filter(|mention| mention.is_discontinuous()).count();
        let mut spans: Vec<Span> = document.mentions.iter().map(crate::Mention::span).collect();
        self.deepest = self.deepest.max(deepest(&spans));
        spans.sort_unstable_by_key(|span| (span.start, Reverse(span.end)));
        let mut extents: Vec<(Span, usize)> = Vec::new();
        for span in spans {
            match extents.last_mut() {
                Some((last, count)) if *last == span => *count += 1,
                _ => extents.push((span, 1)),
            }
        }
        let spans: Vec<Span> = extents.iter().map(|&(span, _)| span).collect();
        // Earlier mentions in the order do not begin later, and later ones do not begin earlier.
        let mut nested = vec![false; spans.len()];
        let mut furthest = 0;
        for (i, span) in spans.iter().enumerate() {
            nested[i] = span.end <= furthest;
            furthest = furthest.max(span.end);
        }
        let mut containing = vec![false; spans.len()];
        let mut nearest = usize::MAX;
        for (i, span) in spans.iter().enumerate().rev() {
            containing[i] = nearest <= span.end;
            nearest = nearest.min(span.end);
        }
        let from_left = crossed_from_left(&spans);
        let mirrored: Vec<Span> =
            spans.iter().map(|span| Span::new(usize::MAX - span.end, usize::MAX - span.start)).collect();
        let from_right = crossed_from_left(&mirrored);
        for (i, &(span, count)) in extents.iter().enumerate() {
            let crossing = from_left[i] || from_right[i];
            let same_extent = count > 1;
            let counts = [
                (&mut self.nested, nested[i]),
                (&mut self.containing, containing[i]),
                (&mut self.crossing, crossing),
                (&mut self.same_extent, same_extent),
                (&mut self.overlapping, nested[i] || containing[i] || crossing || same_extent),
            ];
            for (counted, holds) in counts {
                *counted += if holds { count } else { 0 };
            }
            if crossing {
                self.crossing_places.extend(std::iter::repeat_n(TextPlace { document: at, span }, count));
            }
        }
    }
}

/// For each span, whether another begins before it and ends inside it.
fn crossed_from_left(spans: &[Span]) -> Vec<bool> {
    let mut order: Vec<usize> = (0..spans.len()).collect();
    order.sort_unstable_by_key(|&i| spans[i].start);
    let mut crossed = vec![false; spans.len()];
    let mut ends_before = BTreeSet::new();
    for same_start in order.chunk_by(|&a, &b| spans[a].start == spans[b].start) {
        for &i in same_start {
            let last = ends_before.range(..spans[i].end).next_back();
            crossed[i] = last.is_some_and(|&end| end > spans[i].start);
        }
        ends_before.extend(same_start.iter().map(|&i| spans[i].end));
    }
    crossed
}

/// Maximum number of spans over one position.
fn deepest(spans: &[Span]) -> usize {
    // At the same position an end sorts before a beginning: the two spans do not overlap.
    let ends = spans.iter().map(|span| (span.end, false));
    let mut borders: Vec<(usize, bool)> = spans.iter().map(|span| (span.start, true)).chain(ends).collect();
    borders.sort_unstable();
    let (mut depth, mut deepest) = (0_usize, 0);
    for (_, begins) in borders {
        depth = if begins { depth + 1 } else { depth.saturating_sub(1) };
        deepest = deepest.max(depth);
    }
    deepest
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Mention;
    use proptest::prelude::*;

    fn document(spans: &[(usize, usize)]) -> Document {
        let mentions = spans.iter().map(|&(start, end)| Mention::new(Span::new(start, end), "X")).collect();
        Document { mentions, ..Document::new("1", "x".repeat(40)) }
    }

    /// `expected`: overlapping, same extent, nested, containing, crossing, deepest.
    fn check(spans: &[(usize, usize)], expected: [usize; 6]) {
        let found = Overlaps::of(&[document(spans)]);
        let Overlaps { overlapping, same_extent, nested, containing, crossing, deepest, .. } = found;
        assert_eq!([overlapping, same_extent, nested, containing, crossing, deepest], expected, "{spans:?}");
        assert_eq!(found.crossing_places.len(), crossing);
        assert_eq!(found.share, share(overlapping, spans.len()));
    }

    #[test]
    fn overlaps_are_told_apart() {
        check(&[], [0; 6]);
        check(&[(0, 3), (3, 5)], [0, 0, 0, 0, 0, 1]);
        check(&[(0, 3), (0, 3)], [2, 2, 0, 0, 0, 2]);
        check(&[(0, 5), (1, 3), (1, 2), (6, 7)], [3, 0, 2, 2, 0, 3]);
        check(&[(0, 5), (0, 3), (2, 5)], [3, 0, 2, 1, 2, 3]);
        check(&[(0, 3), (2, 5), (4, 7)], [3, 0, 0, 0, 3, 2]);
        let apart = Mention { fragments: vec![Span::new(0, 2), Span::new(8, 9)], ..Mention::new(Span::new(0, 2), "X") };
        let document = Document { mentions: vec![apart, Mention::new(Span::new(4, 6), "X")], ..document(&[]) };
        let found = Overlaps::of(&[document]);
        assert_eq!((found.discontinuous, found.nested, found.containing), (1, 1, 1));
    }

    proptest! {
        #[test]
        fn counts_are_those_of_all_pairs(spans in prop::collection::vec((0usize..12, 1usize..8), 0..14)) {
            let spans: Vec<(usize, usize)> = spans.into_iter().map(|(start, len)| (start, start + len)).collect();
            let count = |holds: &dyn Fn(Span, Span) -> bool| {
                let all: Vec<Span> = spans.iter().map(|&(start, end)| Span::new(start, end)).collect();
                let others = |i: usize| all.iter().enumerate().filter(move |&(j, _)| j != i).map(|(_, &span)| span);
                (0..all.len()).filter(|&i| others(i).any(|other| holds(all[i], other))).count()
            };
            let over = |at: usize| spans.iter().filter(|&&(start, end)| start <= at && at < end).count();
            check(&spans, [
                count(&|a, b| a.overlaps(b)),
                count(&|a, b| a == b),
                count(&|a, b| a != b && b.covers(a)),
                count(&|a, b| a != b && a.covers(b)),
                count(&|a, b| a.overlaps(b) && !a.covers(b) && !b.covers(a)),
                (0..20).map(over).max().unwrap_or(0),
            ]);
        }
    }
}
