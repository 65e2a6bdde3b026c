use crate::counts::{DocumentCounts, Scores, sum_by_type, tally};
use crate::error::{MalformedTag, ScoreError, Side};
use serde::Serialize;
use std::ops::Range;

/// How to read tag sequences.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Like `conlleval` and seqeval's default mode: the prefixes `B`, `I`, `E` and `S` may come in any order, and a tag
    /// that cannot continue an entity begins one.
    Default,
    /// Like seqeval's `mode="strict"`: tags that do not fit the scheme are not entities.
    Strict(SeqevalScheme),
}

/// The schemes of seqeval's strict mode (`seqeval/scheme.py`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SeqevalScheme {
    /// `B` only if an entity directly follows another of its type.
    Iob1,
    /// Every entity begins with `B`; also called BIO.
    Iob2,
    /// `E` only if an entity directly precedes another of its type. seqeval documents that it misses some of these
    /// cases; so does this.
    Ioe1,
    /// Every entity ends with `E`.
    Ioe2,
    /// `B` begins and `E` ends an entity, `S` marks one of a single tag; also called BIOES.
    Iobes,
    /// IOBES with `L` for `E` and `U` for `S`.
    Bilou,
}

impl SeqevalScheme {
    /// All schemes, the more common first.
    pub const ALL: [Self; 6] = [Self::Iob2, Self::Iobes, Self::Bilou, Self::Iob1, Self::Ioe2, Self::Ioe1];

    /// The scheme that gold tags follow. Among the schemes that know all prefixes of both sides, it is the one with the
    /// fewest invalid gold transitions, or the more common of several. `None` if no scheme knows all prefixes.
    pub fn of_tags<T: AsRef<str>>(gold: &[Vec<T>], predicted: &[Vec<T>]) -> Option<Self> {
        let invalid = |sequences: &[Vec<T>], mode: Mode| -> Option<u64> {
            let count = |tags: &Vec<T>| entities(tags, mode).ok().map(|(_, invalid)| invalid);
            sequences.iter().map(count).sum()
        };
        let fitting = Self::ALL.into_iter().filter_map(|scheme| {
            let in_gold = invalid(gold, Mode::Strict(scheme))?;
            invalid(predicted, Mode::Strict(scheme)).map(|_| (in_gold, scheme))
        });
        fitting.min_by_key(|(invalid, _)| *invalid).map(|(_, scheme)| scheme)
    }
}

/// An entity in a tag sequence.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Entity<'t> {
    /// Positions of its tags in the sequence, half-open. (Not a `Span`: that counts characters.)
    pub tags: Range<usize>,
    /// Its type; `_` if the tags name none (`B`, `I`), as in seqeval.
    pub entity_type: &'t str,
}

/// The result of [`score_tags`]. Serialises to the fields of [`Scores`] and the two counts.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TagScores {
    /// The scores.
    #[serde(flatten)]
    pub scores: Scores,
    /// Number of pairs of adjacent gold tags that the mode does not allow. See [`entities`].
    pub invalid_gold_transitions: u64,
    /// Number of pairs of adjacent predicted tags that the mode does not allow. See [`entities`].
    pub invalid_predicted_transitions: u64,
    /// The counts of each sequence, in order.
    #[serde(skip)]
    pub by_sequence: Vec<DocumentCounts>,
}

/// Scores the entities of tag sequences (`B-Disease`, `I-Disease`, `O`), sequence by sequence.
///
/// Equals seqeval's `classification_report(gold, predicted, mode=…, scheme=…)` wherever seqeval's scores are defined.
///
/// # Errors
/// If the two sides differ in the number of sequences or in the length of one, or if a tag is neither `O` nor a prefix
/// of the mode, alone or with `-TYPE`. In its default mode seqeval accepts such a tag with a warning, and then counts
/// entities that begin anywhere.
pub fn score_tags<T: AsRef<str>>(gold: &[Vec<T>], predicted: &[Vec<T>], mode: Mode) -> Result<TagScores, ScoreError> {
    if gold.len() != predicted.len() {
        return Err(ScoreError::SequenceCount { gold: gold.len(), predicted: predicted.len() });
    }
    let mut by_sequence = Vec::with_capacity(gold.len());
    let (mut invalid_gold_transitions, mut invalid_predicted_transitions) = (0, 0);
    for (sequence, (gold, predicted)) in gold.iter().zip(predicted).enumerate() {
        if gold.len() != predicted.len() {
            return Err(ScoreError::SequenceLength { sequence, gold: gold.len(), predicted: predicted.len() });
        }
        let read = |tags, side| entities(tags, mode).map_err(|source| ScoreError::Tags { side, sequence, source });
        let (gold, invalid) = read(gold, Side::Gold)?;
        invalid_gold_transitions += invalid;
        let (predicted, invalid) = read(predicted, Side::Predicted)?;
        invalid_predicted_transitions += invalid;
        let by_type = tally(gold.into_iter().map(place_and_type), predicted.into_iter().map(place_and_type));
        by_sequence.push(DocumentCounts { id: sequence.to_string(), by_type });
    }
    let scores = sum_by_type(&by_sequence).into();
    Ok(TagScores { scores, invalid_gold_transitions, invalid_predicted_transitions, by_sequence })
}

fn place_and_type(entity: Entity<'_>) -> (Range<usize>, &str) {
    (entity.tags, entity.entity_type)
}

/// The entities of one tag sequence, ascending and disjoint, and the number of its invalid transitions.
///
/// A transition is a pair of adjacent tags; the ends of the sequence count as `O`. It is invalid if the scheme does not
/// allow it: in IOB2 `I-X` after anything but `B-X` and `I-X`, in IOE2 `I-X` before anything but `I-X` and `E-X`, in
/// IOBES both of these, and so on. The default mode has no scheme; there, an `I-X` or `E-X` after anything but `B-X`
/// and `I-X` is invalid. One misplaced tag may break two transitions.
///
/// # Errors
/// On the first tag that is neither `O` nor a prefix of the mode, alone or with `-TYPE`.
pub fn entities<T: AsRef<str>>(tags: &[T], mode: Mode) -> Result<(Vec<Entity<'_>>, u64), MalformedTag> {
    let rules = mode.rules();
    let mut parsed = Vec::with_capacity(tags.len() + 1);
    for (position, tag) in tags.iter().enumerate() {
        match Tag::parse(tag.as_ref(), mode) {
            Some(tag) => parsed.push(tag),
            None => return Err(MalformedTag { position, prefixes: rules.letters() }),
        }
    }
    // Ends an entity that reaches the end of the sequence.
    parsed.push(Tag::OUTSIDE);

    let mut found = Vec::new();
    let mut invalid_transitions = 0;
    let mut previous = Tag::OUTSIDE;
    // First tag not taken by an entity. An entity takes its tags even if it later turns out to lack an end.
    let mut free = 0;
    for (start, &tag) in parsed.iter().enumerate() {
        invalid_transitions += u64::from(any(rules.invalid, previous, tag));
        if start >= free && any(rules.starts, previous, tag) {
            let mut end = start + 1;
            while any(rules.inside, parsed[end - 1], parsed[end]) {
                end += 1;
            }
            if any(rules.ends, parsed[end - 1], parsed[end]) {
                found.push(Entity { tags: start..end, entity_type: tag.entity_type });
            }
            free = end;
        }
        previous = tag;
    }
    Ok((found, invalid_transitions))
}

#[derive(Clone, Copy)]
struct Tag<'t> {
    prefix: Prefixes,
    entity_type: &'t str,
}

impl<'t> Tag<'t> {
    const OUTSIDE: Self = Self { prefix: O, entity_type: UNTYPED };

    fn parse(tag: &'t str, mode: Mode) -> Option<Self> {
        let mut rest = tag.chars();
        let letter = rest.next()?;
        let rest = rest.as_str();
        let &(_, prefix) = LETTERS.iter().find(|(known, _)| *known == letter)?;
        if prefix & O != 0 {
            return rest.is_empty().then_some(Self::OUTSIDE);
        }
        if prefix & mode.rules().prefixes == 0 || !(rest.is_empty() || rest.starts_with('-')) {
            return None;
        }
        // The two parts of seqeval differ for types with hyphens at their ends.
        let entity_type = match mode {
            Mode::Default => rest.strip_prefix('-').unwrap_or(rest),
            Mode::Strict(_) => rest.trim_matches('-'),
        };
        Some(Self { prefix, entity_type: if entity_type.is_empty() { UNTYPED } else { entity_type } })
    }
}

/// Type of tags that name none.
const UNTYPED: &str = "_";

/// A set of prefixes, one bit each.
type Prefixes = u8;
const O: Prefixes = 1;
const B: Prefixes = 1 << 1;
const I: Prefixes = 1 << 2;
const E: Prefixes = 1 << 3;
const S: Prefixes = 1 << 4;
const L: Prefixes = 1 << 5;
const U: Prefixes = 1 << 6;
const ANY: Prefixes = O | B | I | E | S | L | U;

const LETTERS: [(char, Prefixes); 7] = [('O', O), ('B', B), ('I', I), ('E', E), ('S', S), ('L', L), ('U', U)];

/// How the types of two adjacent tags must relate.
#[derive(Clone, Copy)]
enum Types {
    Same,
    Differ,
    Whatever,
}
use Types::{Differ, Same, Whatever};

/// Prefixes of a tag, prefixes of the next tag, and the relation of their types.
type Pattern = (Prefixes, Prefixes, Types);

/// Whether one of the patterns matches the two adjacent tags.
fn any(patterns: &[Pattern], previous: Tag<'_>, tag: Tag<'_>) -> bool {
    patterns.iter().any(|&(before, after, types)| {
        let types_fit = match types {
            Same => previous.entity_type == tag.entity_type,
            Differ => previous.entity_type != tag.entity_type,
            Whatever => true,
        };
        before & previous.prefix != 0 && after & tag.prefix != 0 && types_fit
    })
}

/// The rules of one mode. `starts`, `inside` and `ends` are seqeval's tables (`Token` of `seqeval/scheme.py`), gaps
/// included.
struct Rules {
    /// The prefixes that the mode knows, without `O`.
    prefixes: Prefixes,
    /// The second tag begins an entity.
    starts: &'static [Pattern],
    /// The second tag continues the entity of the first.
    inside: &'static [Pattern],
    /// The entity of the first tag is complete; an entity that stops otherwise is dropped.
    ends: &'static [Pattern],
    /// The scheme never allows this pair. (Our own table; seqeval has none.)
    invalid: &'static [Pattern],
}

impl Rules {
    fn letters(&self) -> String {
        LETTERS.iter().filter(|(_, prefix)| prefix & self.prefixes != 0).map(|(letter, _)| letter).collect()
    }
}

impl Mode {
    const fn rules(self) -> &'static Rules {
        match self {
            Self::Default => &DEFAULT,
            Self::Strict(SeqevalScheme::Iob1) => &IOB1,
            Self::Strict(SeqevalScheme::Iob2) => &IOB2,
            Self::Strict(SeqevalScheme::Ioe1) => &IOE1,
            Self::Strict(SeqevalScheme::Ioe2) => &IOE2,
            Self::Strict(SeqevalScheme::Iobes) => &IOBES,
            Self::Strict(SeqevalScheme::Bilou) => &BILOU,
        }
    }
}

/// `start_of_chunk` and `end_of_chunk` of `seqeval/metrics/sequence_labeling.py`, in the form of the other tables.
/// Every entity ends where the next tag does not continue it, so only continuations need a pattern.
const DEFAULT: Rules = Rules {
    prefixes: B | I | E | S,
    starts: &[(ANY, B | S, Whatever), (O | E | S, I | E, Whatever), (B | I, I | E, Differ)],
    inside: &[(B | I, I | E, Same)],
    ends: &[(ANY, ANY, Whatever)],
    invalid: &[(O | E | S, I | E, Whatever), (B | I, I | E, Differ)],
};

const IOB1: Rules = Rules {
    prefixes: B | I,
    starts: &[(O | B, I, Whatever), (I, I, Differ), (I | B, B, Same)],
    inside: &[(B | I, I, Same)],
    ends: &[(I, O | B, Whatever), (B, O, Whatever), (I | B, I, Differ), (B, B, Same)],
    invalid: &[(O, B, Whatever), (B | I, B, Differ)],
};

const IOB2: Rules = Rules {
    prefixes: B | I,
    starts: &[(ANY, B, Whatever)],
    inside: &[(B | I, I, Same)],
    ends: &[(B | I, O | B, Whatever), (B | I, I, Differ)],
    invalid: &[(O, I, Whatever), (B | I, I, Differ)],
};

const IOE1: Rules = Rules {
    prefixes: I | E,
    starts: &[(O | E, I, Whatever), (I, I, Differ), (E, E, Same)],
    inside: &[(I, I | E, Same)],
    ends: &[(I, I | E, Differ), (I, O, Whatever), (E, I | E, Same)],
    invalid: &[(E, O, Whatever), (E, I | E, Differ)],
};

const IOE2: Rules = Rules {
    prefixes: I | E,
    starts: &[(O | E, I | E, Whatever), (I, I | E, Differ)],
    inside: &[(I, I | E, Same)],
    ends: &[(E, ANY, Whatever)],
    invalid: &[(I, O, Whatever), (I, I | E, Differ)],
};

const IOBES: Rules = Rules {
    prefixes: B | I | E | S,
    starts: &[(ANY, B | S, Whatever)],
    inside: &[(B | I, I | E, Same)],
    ends: &[(S | E, ANY, Whatever)],
    invalid: &[(B | I, O | B | S, Whatever), (O | E | S, I | E, Whatever), (B | I, I | E, Differ)],
};

const BILOU: Rules = Rules {
    prefixes: B | I | L | U,
    starts: &[(ANY, B | U, Whatever)],
    inside: &[(B | I, I | L, Same)],
    ends: &[(U | L, ANY, Whatever)],
    invalid: &[(B | I, O | B | U, Whatever), (O | L | U, I | L, Whatever), (B | I, I | L, Differ)],
};

#[cfg(test)]
mod tests {
    use super::*;
    use Mode::{Default, Strict};
    use SeqevalScheme::{Bilou, Iob1, Iob2, Iobes, Ioe1, Ioe2};
    use proptest::prelude::*;

    const MODES: [Mode; 7] =
        [Default, Strict(Iob1), Strict(Iob2), Strict(Ioe1), Strict(Ioe2), Strict(Iobes), Strict(Bilou)];

    /// The entities themselves are compared with seqeval's in `tests/seqeval.rs`; seqeval counts no transitions.
    #[test]
    fn invalid_transitions() {
        let check = |mode: Mode, tags: &str, expected: u64| {
            let tags: Vec<&str> = tags.split(' ').collect();
            let (_, invalid) = entities(&tags, mode).expect("well-formed tags");
            assert_eq!(invalid, expected, "{mode:?} {tags:?}");
        };
        for mode in [Default, Strict(Iob2)] {
            check(mode, "B-X I-X I-X O B-X B-X B-Y I-Y", 0);
            check(mode, "I-X I-X O I-X B-X I-Y I-Y", 3);
        }
        check(Default, "B-X E-X S-X", 0);
        check(Default, "B-X S-X E-X E-X", 2);
        check(Strict(Iob1), "I-X B-X I-X B-X I-Y O I-X I-Y", 0);
        check(Strict(Iob1), "B-X I-X B-Y O B-X", 3);
        check(Strict(Ioe1), "I-X E-X I-X O E-X I-X", 0);
        check(Strict(Ioe1), "I-X E-X O E-X I-Y I-Y E-Y", 3);
        check(Strict(Ioe2), "I-X E-X E-Y O E-X E-X", 0);
        check(Strict(Ioe2), "I-X I-Y O I-X", 3);
        for (scheme, end, single) in [(Iobes, "E", "S"), (Bilou, "L", "U")] {
            check(Strict(scheme), &format!("B-X I-X {end}-X B-X {end}-X O {single}-Y {single}-Y"), 0);
            check(Strict(scheme), &format!("I-X O {end}-X B-X {single}-X B-X {end}-Y B-X"), 6);
        }
    }

    #[test]
    fn a_scheme_is_told_from_its_tags() {
        let check = |gold: &str, predicted: &str, expected: Option<SeqevalScheme>| {
            let split = |tags: &str| -> Vec<Vec<String>> { vec![tags.split(' ').map(str::to_owned).collect()] };
            assert_eq!(SeqevalScheme::of_tags(&split(gold), &split(predicted)), expected, "{gold} {predicted}");
        };
        check("O", "O", Some(Iob2));
        check("B-X I-X", "I-X B-X", Some(Iob2));
        check("I-X B-X I-X", "O O O", Some(Iob1));
        check("B-X E-X S-X", "O O O", Some(Iobes));
        check("B-X I-X O", "B-X S-X O", Some(Iobes));
        check("B-X L-X U-X", "O O O", Some(Bilou));
        check("I-X E-X", "O O", Some(Ioe2));
        check("I-X E-X I-X", "O O O", Some(Ioe1));
        check("U-X S-X", "O O", None);
    }

    #[test]
    fn incomparable_sequences_are_errors() {
        let check = |gold: &[&str], predicted: &[&str], mode: Mode, expected: &str| {
            let split = |side: &[&str]| -> Vec<Vec<String>> {
                side.iter().map(|tags| tags.split(' ').map(str::to_owned).collect()).collect()
            };
            let error = score_tags(&split(gold), &split(predicted), mode).expect_err("not comparable");
            let source = std::error::Error::source(&error).map(|source| format!(": {source}")).unwrap_or_default();
            assert_eq!(format!("{error}{source}"), expected);
        };
        check(&["O"], &[], Default, "1 tag sequences in gold and 0 in predicted");
        check(&["O", "O O"], &["O", "O"], Default, "tag sequence 1 has 2 tags in gold and 1 in predicted");
        let rest = "is neither O nor one of the prefixes BI, alone or with -TYPE";
        for tag in ["E-X", "BX", "", "O-X", "ä-X", "b-X"] {
            let expected = format!("cannot read the predicted tags of sequence 0: the tag at position 1 {rest}");
            check(&["O O"], &[&format!("O {tag}")], Strict(Iob2), &expected);
        }
    }

    proptest! {
        #[test]
        fn entities_are_ascending_disjoint_and_of_one_type(
            tags in proptest::collection::vec("[OBIESLU](-[XY]?)?", 0..9),
            mode in proptest::sample::select(&MODES[..]),
        ) {
            if let Ok((entities, _)) = entities(&tags, mode) {
                let mut free = 0;
                for Entity { tags: range, entity_type } in entities {
                    prop_assert!(free <= range.start && range.start < range.end && range.end <= tags.len());
                    free = range.end;
                    for tag in &tags[range] {
                        let type_of_tag = tag[1..].trim_start_matches('-');
                        prop_assert_eq!(entity_type, if type_of_tag.is_empty() { "_" } else { type_of_tag });
                    }
                }
            }
        }
    }
}
