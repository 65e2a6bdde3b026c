use crate::{LabelSet, Mention, Span, TaggedEntity};
use serde::Serialize;
use std::collections::HashSet;
use std::ops::Range;

/// Mentions aligned to the words of a text, and the mentions that do not fit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Alignment {
    /// The mentions as ranges of words, in order.
    pub entities: Vec<TaggedEntity>,
    /// Label number of each word.
    pub labels: Vec<usize>,
    /// The mentions that the labels do not reproduce exactly, in the document's order.
    pub misfits: Vec<Misfit>,
}

/// A mention that tags cannot express exactly.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Misfit {
    /// Index of the mention in the document's list.
    pub mention: usize,
    /// Why it does not fit.
    pub reason: MisfitReason,
}

/// Why tags cannot express a mention exactly.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum MisfitReason {
    /// It begins or ends inside a unit, or at a space. It is tagged on every unit that it touches.
    InsideUnit,
    /// It overlaps a longer mention, or an equally long earlier one. It is not tagged.
    Overlap,
    /// It has several fragments. It is not tagged.
    Discontinuous,
    /// It touches no unit (only spaces or characters that the tokenizer removes). It is not tagged.
    NoUnit,
    /// Its type is not in the label set. It is not tagged.
    UnknownType,
    /// It has more units than the head scores. It is not learned.
    TooLong,
    /// It touches another mention of its type, and the scheme (IO) merges both.
    Merged,
}

impl std::fmt::Display for MisfitReason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::InsideUnit => "begins or ends inside a word",
            Self::Overlap => "overlaps another mention",
            Self::Discontinuous => "discontinuous",
            Self::NoUnit => "touches no word",
            Self::UnknownType => "type not in the label set",
            Self::TooLong => "longer than the longest span of the head",
            Self::Merged => "merged with an adjacent mention",
        })
    }
}

/// Tags the mentions of a document on its units.
///
/// `units` must be ascending and must not overlap. Of overlapping mentions the longest is tagged; of equally long ones,
/// the first.
pub fn align(units: &[Span], mentions: &[Mention], labels: &LabelSet) -> Alignment {
    let all: Vec<usize> = (0..mentions.len()).collect();
    align_some(units, mentions, &all, labels)
}

/// Aligns the mentions of each type separately, so that mentions of different types may overlap. Returns the mentions
/// as runs of units, and those that tags cannot express exactly. Of overlapping mentions of one type the longest is
/// kept.
pub fn align_by_type(units: &[Span], mentions: &[Mention], labels: &LabelSet) -> (Vec<TaggedEntity>, Vec<Misfit>) {
    let (mut entities, mut misfits) = (Vec::new(), Vec::new());
    // Unknown types form a group as well, so that they are counted.
    for of_type in labels.types.iter().map(Some).chain([None]) {
        let is_of_type = |&at: &usize| match of_type {
            Some(name) => mentions[at].entity_type == *name,
            None => labels.type_id(&mentions[at].entity_type).is_none(),
        };
        let group: Vec<usize> = (0..mentions.len()).filter(is_of_type).collect();
        let found = align_some(units, mentions, &group, labels);
        entities.extend(found.entities);
        misfits.extend(found.misfits);
    }
    entities.sort_by_key(|entity| (entity.units.start, entity.units.end, entity.entity_type));
    misfits.sort_by_key(|misfit| misfit.mention);
    (entities, misfits)
}

/// Tags the mentions with the indices `which`.
fn align_some(units: &[Span], mentions: &[Mention], which: &[usize], labels: &LabelSet) -> Alignment {
    let mut order = which.to_vec();
    order.sort_by_key(|&at| (std::cmp::Reverse(mentions[at].span().len()), mentions[at].span().start, at));
    let mut taken = vec![false; units.len()];
    let mut entities: Vec<(TaggedEntity, usize)> = Vec::new();
    let mut misfits = Vec::new();
    for at in order {
        let mention = &mentions[at];
        let span = mention.span();
        let mut misfit = |reason| misfits.push(Misfit { mention: at, reason });
        let Some(entity_type) = labels.type_id(&mention.entity_type) else {
            misfit(MisfitReason::UnknownType);
            continue;
        };
        if mention.is_discontinuous() {
            misfit(MisfitReason::Discontinuous);
            continue;
        }
        let Range { start: first, end: last } = units_of(units, span);
        if first >= last {
            misfit(MisfitReason::NoUnit);
            continue;
        }
        if taken[first..last].iter().any(|&taken| taken) {
            misfit(MisfitReason::Overlap);
            continue;
        }
        if Span::new(units[first].start, units[last - 1].end) != span {
            misfit(MisfitReason::InsideUnit);
        }
        taken[first..last].fill(true);
        entities.push((TaggedEntity { units: first..last, entity_type }, at));
    }
    entities.sort_by_key(|(entity, _)| entity.units.start);
    let tagged: Vec<TaggedEntity> = entities.iter().map(|(entity, _)| entity.clone()).collect();
    let ids = labels.encode(units.len(), &tagged);
    let decoded: HashSet<TaggedEntity> = labels.decode(&ids).into_iter().collect();
    for (entity, mention) in entities {
        if !decoded.contains(&entity) {
            misfits.push(Misfit { mention, reason: MisfitReason::Merged });
        }
    }
    misfits.sort_by_key(|misfit| (misfit.mention, misfit.reason));
    misfits.dedup_by_key(|misfit| misfit.mention);
    Alignment { entities: tagged, labels: ids, misfits }
}

/// The units that a span touches; empty if there are none.
fn units_of(units: &[Span], span: Span) -> Range<usize> {
    units.partition_point(|unit| unit.end <= span.start)..units.partition_point(|unit| unit.start < span.end)
}

/// Aligns all mentions, overlapping ones included, for a head that scores spans of at most `longest` units. Returns the
/// mentions as runs of units, and those that cannot be expressed exactly.
pub fn align_spans(
    units: &[Span],
    mentions: &[Mention],
    labels: &LabelSet,
    longest: usize,
) -> (Vec<TaggedEntity>, Vec<Misfit>) {
    let (mut entities, mut misfits) = (Vec::new(), Vec::new());
    for (at, mention) in mentions.iter().enumerate() {
        let range = units_of(units, mention.span());
        let exact = |range: &Range<usize>| Span::new(units[range.start].start, units[range.end - 1].end);
        let Some(entity_type) = labels.type_id(&mention.entity_type) else {
            misfits.push(Misfit { mention: at, reason: MisfitReason::UnknownType });
            continue;
        };
        let reason = if mention.is_discontinuous() {
            Some(MisfitReason::Discontinuous)
        } else if range.is_empty() {
            Some(MisfitReason::NoUnit)
        } else if range.len() > longest {
            Some(MisfitReason::TooLong)
        } else {
            let inside = exact(&range) != mention.span();
            entities.push(TaggedEntity { units: range, entity_type });
            inside.then_some(MisfitReason::InsideUnit)
        };
        misfits.extend(reason.map(|reason| Misfit { mention: at, reason }));
    }
    (entities, misfits)
}

/// Reads the mentions from the labels of units: the inverse of [`align`].
pub fn mentions_of(units: &[Span], ids: &[usize], labels: &LabelSet) -> Vec<Mention> {
    let to_mention = |entity: TaggedEntity| {
        let span = Span::new(units[entity.units.start].start, units[entity.units.end - 1].end);
        Mention::new(span, labels.types[entity.entity_type].as_str())
    };
    labels.decode(ids).into_iter().map(to_mention).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::TagScheme;
    use MisfitReason::{Discontinuous, InsideUnit, Merged, NoUnit, Overlap, UnknownType};

    /// Units of three characters, separated by a space: `abc def ghi jkl`.
    fn check(scheme: TagScheme, mentions: &[Mention], tags: &str, misfits: &[(usize, MisfitReason)]) {
        let units: Vec<Span> = (0..4).map(|at| Span::new(at * 4, at * 4 + 3)).collect();
        let labels = LabelSet::new(scheme, ["X", "Y"]);
        let found = align(&units, mentions, &labels);
        let names = labels.names();
        let found_tags: Vec<&str> = found.labels.iter().map(|&id| names[id].as_str()).collect();
        assert_eq!(found_tags.join(" "), tags);
        assert_eq!(found.misfits.iter().map(|m| (m.mention, m.reason)).collect::<Vec<_>>(), misfits);
        let lost: Vec<usize> = misfits.iter().map(|&(at, _)| at).collect();
        let back = mentions_of(&units, &found.labels, &labels);
        for (at, mention) in mentions.iter().enumerate() {
            assert_eq!(back.contains(mention), !lost.contains(&at), "mention {at}");
        }
    }

    fn x(start: usize, end: usize) -> Mention {
        Mention::new(Span::new(start, end), "X")
    }

    #[test]
    fn types_by_themselves_express_all_but_overlaps_of_one_type() {
        let units: Vec<Span> = (0..4).map(|at| Span::new(at * 4, at * 4 + 3)).collect();
        let of = |name: &str, start, end| Mention::new(Span::new(start, end), name);
        let mentions = [x(0, 11), of("Y", 4, 7), x(4, 7), of("Z", 0, 3), of("Y", 8, 14)];
        let (entities, misfits) = align_by_type(&units, &mentions, &LabelSet::new(TagScheme::Bio, ["X", "Y"]));
        let found: Vec<_> = entities.into_iter().map(|entity| (entity.units, entity.entity_type)).collect();
        assert_eq!(found, [(0..3, 0), (1..2, 1), (2..4, 1)]);
        let misfits: Vec<_> = misfits.into_iter().map(|misfit| (misfit.mention, misfit.reason)).collect();
        assert_eq!(misfits, [(2, Overlap), (3, UnknownType), (4, InsideUnit)]);
    }

    #[test]
    fn mentions_become_tags_and_misfits_are_named() {
        check(TagScheme::Bio, &[x(4, 11), x(0, 3)], "B-X B-X I-X O", &[]);
        check(TagScheme::Bioes, &[x(4, 11), x(0, 3)], "S-X B-X E-X O", &[]);
        check(TagScheme::Bio, &[x(4, 6)], "O B-X O O", &[(0, InsideUnit)]);
        check(TagScheme::Bio, &[x(3, 7)], "O B-X O O", &[(0, InsideUnit)]);
        check(TagScheme::Bio, &[x(3, 4)], "O O O O", &[(0, NoUnit)]);
        check(TagScheme::Bio, &[x(0, 3), x(0, 7)], "B-X I-X O O", &[(0, Overlap)]);
        check(TagScheme::Bio, &[Mention::new(Span::new(0, 3), "Z")], "O O O O", &[(0, UnknownType)]);
        check(TagScheme::Io, &[x(0, 3), x(4, 7)], "I-X I-X O O", &[(0, Merged), (1, Merged)]);
        let fragments = vec![Span::new(0, 3), Span::new(8, 11)];
        check(TagScheme::Bio, &[Mention { fragments, ..x(0, 3) }], "O O O O", &[(0, Discontinuous)]);
    }
}
