use crate::{LabelSet, Mention, Position, Span, Tag, TaggedEntity, Word};
use serde::Serialize;
use std::collections::HashSet;
use std::ops::Range;

/// Mentions brought onto the words of a text, and what did not fit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Alignment {
    /// The mentions as ranges of words, in order.
    pub entities: Vec<TaggedEntity>,
    /// Label number of each word.
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
    /// It has more units than the head scores; it is not learned.
    TooLong,
    /// It touches another mention of its type and the scheme (IO) cannot tell them apart; both become one.
    Merged,
}

impl std::fmt::Display for MisfitReason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::InsideUnit => "begins or ends inside a word",
            Self::Overlap => "overlaps another",
            Self::Discontinuous => "discontinuous",
            Self::NoUnit => "touches no word",
            Self::UnknownType => "its type is not in the label set",
            Self::TooLong => "longer than the longest span that the head scores",
            Self::Merged => "one with its neighbour",
        })
    }
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

/// The units that a span touches; an empty range where it touches none.
fn units_of(units: &[Span], span: Span) -> Range<usize> {
    units.partition_point(|unit| unit.end <= span.start)..units.partition_point(|unit| unit.start < span.end)
}

/// The mentions of a document as runs of its units, overlapping ones too, and what a head that scores spans of at most
/// `longest` units cannot say exactly.
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

/// Label number of each piece: `entities`, whose units are `words`, written on word pieces.
pub fn piece_labels(words: &[Word], entities: &[TaggedEntity], labels: &LabelSet) -> Vec<usize> {
    let pieces = words.last().map_or(0, |word| word.tokens.end);
    let on_pieces = |entity: &TaggedEntity| TaggedEntity {
        units: words[entity.units.start].tokens.start..words[entity.units.end - 1].tokens.end,
        entity_type: entity.entity_type,
    };
    let entities: Vec<TaggedEntity> = entities.iter().map(on_pieces).collect();
    labels.encode(pieces, &entities)
}

/// The mentions that a tagger's probabilities say: `probabilities` is `[pieces, labels]`, row by row.
///
/// The pieces of a word decide together: each adds its probability of lying outside and inside each type, and the
/// largest sum wins. Whether the word begins a mention is for its first piece to say. A mention thus begins and ends
/// with a word; with `line_boundaries` none goes on behind a line break.
pub fn mentions_from_probabilities(
    words: &[Word],
    probabilities: &[f32],
    labels: &LabelSet,
    line_boundaries: bool,
) -> Vec<Mention> {
    let tags: Vec<Tag> = (0..labels.len()).map(|id| labels.tag(id)).collect();
    let mut mentions: Vec<Mention> = Vec::new();
    let mut open = None;
    let mut mass = vec![0f32; labels.types.len()];
    for word in words {
        let rows = &probabilities[word.tokens.start * tags.len()..word.tokens.end * tags.len()];
        let mut outside = 0.0;
        mass.fill(0.0);
        for (tag, probability) in tags.iter().cycle().zip(rows) {
            match tag {
                Tag::Outside => outside += probability,
                Tag::Entity(_, entity_type) => mass[*entity_type] += probability,
            }
        }
        let best = (0..mass.len()).max_by(|&a, &b| mass[a].total_cmp(&mass[b])).filter(|&best| mass[best] > outside);
        if line_boundaries && word.starts_line {
            open = None;
        }
        let Some(best) = best else {
            open = None;
            continue;
        };
        // Mass of the first piece on beginning and on going on.
        let (mut begins, mut goes_on) = (0.0, 0.0);
        for (tag, probability) in tags.iter().zip(rows) {
            match tag {
                Tag::Entity(Position::Begin | Position::Single, entity_type) if *entity_type == best => {
                    begins += probability;
                }
                Tag::Entity(_, entity_type) if *entity_type == best => goes_on += probability,
                _ => {}
            }
        }
        match mentions.last_mut() {
            Some(last) if open == Some(best) && goes_on >= begins => last.fragments[0].end = word.span.end,
            _ => mentions.push(Mention::new(word.span, labels.types[best].as_str())),
        }
        open = Some(best);
    }
    mentions
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

    /// Two words of two pieces each; one row of probabilities (O, B, I) for each piece.
    fn decided(rows: [[f32; 3]; 4]) -> Vec<Span> {
        let word =
            |at: usize| Word { span: Span::new(at * 5, at * 5 + 4), tokens: at * 2..at * 2 + 2, starts_line: at == 1 };
        let labels = LabelSet::new(TagScheme::Bio, ["X"]);
        let mentions = |lines| mentions_from_probabilities(&[word(0), word(1)], rows.as_flattened(), &labels, lines);
        // Behind a line break a mention ends where that is asked for, and nothing else changes.
        let at_lines: Vec<Span> = mentions(true).iter().map(Mention::span).collect();
        let spans: Vec<Span> = mentions(false).iter().map(Mention::span).collect();
        let cut = |&span: &Span| if span == Span::new(0, 9) { vec![word(0).span, word(1).span] } else { vec![span] };
        assert_eq!(at_lines, spans.iter().flat_map(cut).collect::<Vec<_>>());
        spans
    }

    #[test]
    fn the_pieces_of_a_word_decide_together() {
        let (o, b, i) = ([1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]);
        assert_eq!(decided([b, i, i, i]), [Span::new(0, 9)]);
        assert_eq!(decided([b, i, b, i]), [Span::new(0, 4), Span::new(5, 9)]);
        assert_eq!(decided([o, [0.6, 0.4, 0.0], i, i]), [Span::new(5, 9)]);
        assert_eq!(decided([[0.6, 0.4, 0.0], i, o, o]), [Span::new(0, 4)]);
        // What the later pieces of a word say of its beginning does not count.
        assert_eq!(decided([b, b, i, b]), [Span::new(0, 9)]);
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
