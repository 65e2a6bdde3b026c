use crate::{LabelSet, Mention, Span, TaggedEntity};
use serde::Serialize;

/// Mentions brought onto the units of a text (words or word pieces), and what did not fit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Alignment {
    /// Label number of each unit.
    pub labels: Vec<usize>,
    /// The mentions that the labels do not give back exactly, by their place in the document's list.
    pub misfits: Vec<Misfit>,
}

/// A mention that tags cannot say exactly.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Misfit {
    /// Place of the mention in the document's list.
    pub mention: usize,
    /// Why it does not fit.
    pub reason: MisfitReason,
}

/// Why tags cannot say a mention exactly.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum MisfitReason {
    /// It begins or ends inside a unit, or at a space; it is tagged on every unit that it touches.
    InsideUnit,
    /// It overlaps a longer mention, or one that stands before it; it is not tagged.
    Overlap,
    /// It has several fragments; it is not tagged.
    Discontinuous,
    /// It touches no unit (spaces, characters that the tokenizer removes); it is not tagged.
    NoUnit,
    /// Its type is not in the label set; it is not tagged.
    UnknownType,
    /// It touches another mention of its type and the scheme (IO) cannot tell them apart; both become one.
    Merged,
}

/// Tags the mentions of a document on its units.
///
/// `units` are ascending and do not overlap. Where mentions overlap, the longest is tagged; of two as long, the first.
pub fn align(units: &[Span], mentions: &[Mention], labels: &LabelSet) -> Alignment {
    let mut order: Vec<usize> = (0..mentions.len()).collect();
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
        let first = units.partition_point(|unit| unit.end <= span.start);
        let last = units.partition_point(|unit| unit.start < span.end);
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
    let decoded = labels.decode(&ids);
    for (entity, mention) in entities {
        if !decoded.contains(&entity) {
            misfits.push(Misfit { mention, reason: MisfitReason::Merged });
        }
    }
    misfits.sort_by_key(|misfit| (misfit.mention, misfit.reason));
    misfits.dedup_by_key(|misfit| misfit.mention);
    Alignment { labels: ids, misfits }
}

/// The mentions that labels on units say: [`align`] backwards.
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

    /// Units of three characters with a space between: `abc def ghi jkl`.
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
