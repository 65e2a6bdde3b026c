use serde::{Deserialize, Serialize};
use std::ops::Range;

/// How tags mark where entities begin and end.
///
/// Source: Ramshaw and Marcus (1995); Ratinov and Roth (2009) for BIOES (there BILOU).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TagScheme {
    /// `I-X` inside, `O` outside; two adjacent entities of one type merge.
    Io,
    /// `B-X` on the first, `I-X` on the rest (IOB2).
    #[default]
    Bio,
    /// `B-X`, `I-X`, `E-X` on the last, `S-X` on an entity of one unit.
    Bioes,
}

impl TagScheme {
    /// The positions that the scheme distinguishes, in the order of the label numbers.
    const fn positions(self) -> &'static [Position] {
        match self {
            Self::Io => &[Position::Inside],
            Self::Bio => &[Position::Begin, Position::Inside],
            Self::Bioes => &[Position::Begin, Position::Inside, Position::End, Position::Single],
        }
    }

    /// Number of labels per type.
    pub const fn width(self) -> usize {
        self.positions().len()
    }

    /// The tag with number `label`: `O` is 0, followed by the positions of each type in turn.
    pub fn tag(self, label: usize) -> Tag {
        let positions = self.positions();
        label
            .checked_sub(1)
            .map_or(Tag::Outside, |at| Tag::Entity(positions[at % positions.len()], at / positions.len()))
    }

    /// Number of a tag; a position that the scheme lacks counts as `Inside`.
    pub fn label(self, tag: Tag) -> usize {
        let Tag::Entity(position, entity_type) = tag else { return 0 };
        let positions = self.positions();
        let inside = positions.iter().position(|&known| known == Position::Inside);
        let at = positions.iter().position(|&known| known == position).or(inside).unwrap_or(0);
        1 + entity_type * positions.len() + at
    }

    /// Label numbers of `units` units with `entities`, which must not overlap.
    pub fn encode(self, units: usize, entities: &[TaggedEntity]) -> Vec<usize> {
        let mut labels = vec![0; units];
        for entity in entities {
            for (at, unit) in entity.units.clone().enumerate() {
                labels[unit] = self.label(Tag::Entity(self.position(at, entity.units.len()), entity.entity_type));
            }
        }
        labels
    }

    /// Whether `to` may follow `from`; `None` stands for the start or end of a text.
    pub fn allows(self, from: Option<Tag>, to: Option<Tag>) -> bool {
        match self {
            Self::Io => true,
            // `Inside` must continue an entity of its type.
            Self::Bio => match (from, to) {
                (Some(Tag::Entity(_, before)), Some(Tag::Entity(Position::Inside, goes_on))) => before == goes_on,
                (_, Some(Tag::Entity(Position::Inside, _))) => false,
                _ => true,
            },
            // And a begun entity must be ended.
            Self::Bioes => {
                let open = match from {
                    Some(Tag::Entity(Position::Begin | Position::Inside, open)) => Some(open),
                    _ => None,
                };
                let goes_on = match to {
                    Some(Tag::Entity(Position::Inside | Position::End, goes_on)) => Some(goes_on),
                    _ => None,
                };
                open == goes_on
            }
        }
    }

    /// Position of the unit `at` in an entity of `len` units.
    const fn position(self, at: usize, len: usize) -> Position {
        match self {
            Self::Io => Position::Inside,
            Self::Bio if at == 0 => Position::Begin,
            Self::Bioes if len == 1 => Position::Single,
            Self::Bioes if at == 0 => Position::Begin,
            Self::Bioes if at + 1 == len => Position::End,
            Self::Bio | Self::Bioes => Position::Inside,
        }
    }
}

/// Position of a unit in its entity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Position {
    /// First of several, or first in a scheme that does not mark the last.
    Begin,
    /// Neither first nor last, or anywhere in a scheme that marks neither.
    Inside,
    /// Last of several.
    End,
    /// The only one.
    Single,
}

const LETTERS: [(Position, char); 4] =
    [(Position::Begin, 'B'), (Position::Inside, 'I'), (Position::End, 'E'), (Position::Single, 'S')];

/// The label outside of entities.
const OUTSIDE: &str = "O";

/// Letters of positions in every scheme that models are trained with.
const FOREIGN_LETTERS: [(&str, Position); 7] = [
    ("B", Position::Begin),
    ("I", Position::Inside),
    ("M", Position::Inside),
    ("E", Position::End),
    ("L", Position::End),
    ("S", Position::Single),
    ("U", Position::Single),
];

impl Position {
    fn letter(self) -> char {
        LETTERS.iter().find(|(position, _)| *position == self).map_or('I', |(_, letter)| *letter)
    }
}

/// One tag: outside, or a position in an entity with a type number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Tag {
    /// Outside every entity.
    Outside,
    /// Inside an entity.
    Entity(Position, usize),
}

/// An entity as a run of units.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TaggedEntity {
    /// The units that it covers.
    pub units: Range<usize>,
    /// Number of its type in the label set.
    pub entity_type: usize,
}

/// The numbered labels of a tagger: `O`, then the positions of each type in turn.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LabelSet {
    /// Scheme of the labels.
    pub scheme: TagScheme,
    /// Entity types, in order.
    pub types: Vec<String>,
}

impl LabelSet {
    /// Labels of `types` in `scheme`.
    pub fn new(scheme: TagScheme, types: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self { scheme, types: types.into_iter().map(Into::into).collect() }
    }

    /// Reads a list of labels; `None` unless it is `O` followed by the tags of each type in the order of one scheme.
    pub fn from_names(names: &[&str]) -> Option<Self> {
        [TagScheme::Io, TagScheme::Bio, TagScheme::Bioes].into_iter().find_map(|scheme| {
            let firsts = names.get(1..)?.chunks(scheme.positions().len());
            let types: Option<Vec<&str>> = firsts.map(|chunk| Some(chunk.first()?.split_once('-')?.1)).collect();
            let labels = Self::new(scheme, types?);
            (labels.names() == names).then_some(labels)
        })
    }

    /// Reads the labels of a model trained elsewhere, in any order and scheme. Returns the equivalent label set and,
    /// for each of its labels, its index in `names` if it occurs there.
    ///
    /// Accepts IOB1, IOB2, BIOES, BILOU (`L` and `U` for `E` and `S`), BMES and plain types without a position. Types
    /// are ordered by their first label. `None` if `names` contains a label twice.
    pub fn from_any_names(names: &[&str]) -> Option<(Self, Vec<Option<usize>>)> {
        let parse = |name: &str| -> Option<(Position, String)> {
            if name == OUTSIDE {
                return None;
            }
            let position = |letter: &str| FOREIGN_LETTERS.iter().find(|(known, _)| *known == letter).map(|row| row.1);
            let parted = name.split_once('-').filter(|(_, entity_type)| !entity_type.is_empty());
            let parted = parted.and_then(|(letter, entity_type)| Some((position(letter)?, entity_type)));
            let (position, entity_type) = parted.unwrap_or((Position::Inside, name));
            Some((position, entity_type.to_owned()))
        };
        let parsed: Vec<Option<(Position, String)>> = names.iter().map(|name| parse(name)).collect();
        let has = |wanted: &[Position]| parsed.iter().flatten().any(|(position, _)| wanted.contains(position));
        let scheme = match () {
            () if has(&[Position::End, Position::Single]) => TagScheme::Bioes,
            () if has(&[Position::Begin]) => TagScheme::Bio,
            () => TagScheme::Io,
        };
        let mut labels = Self { scheme, types: Vec::new() };
        for (_, entity_type) in parsed.iter().flatten() {
            if labels.type_id(entity_type).is_none() {
                labels.types.push(entity_type.clone());
            }
        }
        let mut places = vec![None; labels.len()];
        for (place, parsed) in parsed.iter().enumerate() {
            let id = match parsed {
                Some((position, entity_type)) => labels.id(Tag::Entity(*position, labels.type_id(entity_type)?)),
                None => labels.id(Tag::Outside),
            };
            if places[id].replace(place).is_some() {
                return None;
            }
        }
        Some((labels, places))
    }

    /// Number of labels, `O` included.
    pub fn len(&self) -> usize {
        1 + self.types.len() * self.scheme.positions().len()
    }

    /// A label set always holds `O`.
    pub const fn is_empty(&self) -> bool {
        false
    }

    /// The labels as text (`O`, `B-Chemical`, …) in the order of their numbers.
    pub fn names(&self) -> Vec<String> {
        (0..self.len()).map(|id| self.name(self.tag(id))).collect()
    }

    /// The tag as text.
    pub fn name(&self, tag: Tag) -> String {
        match tag {
            Tag::Outside => OUTSIDE.into(),
            Tag::Entity(position, entity_type) => format!("{}-{}", position.letter(), self.types[entity_type]),
        }
    }

    /// The tag with number `id`. Panics unless `id` is below [`len`](Self::len).
    pub fn tag(&self, id: usize) -> Tag {
        assert!(id < self.len(), "label {id} of {}", self.len());
        self.scheme.tag(id)
    }

    /// Number of a tag; a position that the scheme lacks counts as `Inside`.
    pub fn id(&self, tag: Tag) -> usize {
        self.scheme.label(tag)
    }

    /// Number of the type named `name`.
    pub fn type_id(&self, name: &str) -> Option<usize> {
        self.types.iter().position(|known| known == name)
    }

    /// Label numbers of `units` units with `entities`, which must not overlap.
    pub fn encode(&self, units: usize, entities: &[TaggedEntity]) -> Vec<usize> {
        self.scheme.encode(units, entities)
    }

    /// The entities in a sequence of label numbers, in order.
    ///
    /// Accepts any sequence: an entity starts at `B` and `S`, and at an `I` or `E` that does not continue an open
    /// entity of its type. It ends after `E` and `S`, and before a unit that does not continue it. conlleval and
    /// seqeval's default mode read sequences the same way.
    pub fn decode(&self, ids: &[usize]) -> Vec<TaggedEntity> {
        let mut entities: Vec<TaggedEntity> = Vec::new();
        let mut open = false;
        for (unit, &id) in ids.iter().enumerate() {
            let Tag::Entity(position, entity_type) = self.tag(id) else {
                open = false;
                continue;
            };
            let continues = matches!(position, Position::Inside | Position::End);
            match entities.last_mut() {
                Some(last) if open && continues && last.entity_type == entity_type => last.units.end = unit + 1,
                _ => entities.push(TaggedEntity { units: unit..unit + 1, entity_type }),
            }
            open = !matches!(position, Position::End | Position::Single);
        }
        entities
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SCHEMES: [TagScheme; 3] = [TagScheme::Io, TagScheme::Bio, TagScheme::Bioes];

    #[test]
    fn labels_are_numbered_as_the_checkpoint_lists_them() {
        let labels = LabelSet::new(TagScheme::Bio, ["Chemical", "Disease"]);
        assert_eq!(labels.names(), ["O", "B-Chemical", "I-Chemical", "B-Disease", "I-Disease"]);
        for scheme in SCHEMES {
            let labels = LabelSet::new(scheme, ["a", "b"]);
            assert!((0..labels.len()).all(|id| labels.id(labels.tag(id)) == id));
            let names = labels.names();
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            assert_eq!(LabelSet::from_names(&names), Some(labels));
        }
    }

    #[test]
    fn labels_of_any_order_and_scheme_are_read() {
        let check = |names: &[&str], expected: Option<(&str, &[Option<usize>])>| {
            let found = LabelSet::from_any_names(names);
            let found = found.map(|(labels, places)| (labels.names().join(" "), places));
            assert_eq!(found, expected.map(|(names, places)| (names.to_owned(), places.to_vec())), "{names:?}");
        };
        check(&["B-X", "I-X", "O"], Some(("O B-X I-X", &[Some(2), Some(0), Some(1)])));
        check(&["O", "X", "cell-line"], Some(("O I-X I-cell-line", &[Some(0), Some(1), Some(2)])));
        check(&["O", "I-X", "I-Y", "B-Y"], Some(("O B-X I-X B-Y I-Y", &[Some(0), None, Some(1), Some(3), Some(2)])));
        check(&["O", "U-X", "L-X", "B-X"], Some(("O B-X I-X E-X S-X", &[Some(0), Some(3), None, Some(2), Some(1)])));
        check(&["LABEL_0"], Some(("O I-LABEL_0", &[None, Some(0)])));
        check(&["O", "E-X", "L-X"], None);
    }

    proptest! {
        #[test]
        fn entities_survive_the_tags(gaps in prop::collection::vec((0usize..3, 1usize..4, 0usize..2), 0..6)) {
            let mut at = 0;
            let mut entities = Vec::new();
            for (gap, len, entity_type) in gaps {
                entities.push(TaggedEntity { units: at + gap..at + gap + len, entity_type });
                at += gap + len;
            }
            for scheme in [TagScheme::Bio, TagScheme::Bioes] {
                let labels = LabelSet::new(scheme, ["a", "b"]);
                prop_assert_eq!(labels.decode(&labels.encode(at + 1, &entities)), entities.clone());
            }
        }

        #[test]
        fn allowed_sequences_are_those_that_entities_encode_to(ids in prop::collection::vec(0usize..9, 1..7)) {
            for scheme in SCHEMES {
                let labels = LabelSet::new(scheme, ["a", "b"]);
                let ids: Vec<usize> = ids.iter().map(|id| id % labels.len()).collect();
                let tags: Vec<Option<Tag>> = ids.iter().map(|&id| Some(labels.tag(id))).collect();
                let pairs = [None].into_iter().chain(tags.clone()).zip(tags.into_iter().chain([None]));
                let allowed = pairs.into_iter().all(|(from, to)| scheme.allows(from, to));
                prop_assert_eq!(allowed, labels.encode(ids.len(), &labels.decode(&ids)) == ids);
            }
        }

        #[test]
        fn any_sequence_decodes_to_disjoint_entities(ids in prop::collection::vec(0usize..9, 0..12)) {
            let entities = LabelSet::new(TagScheme::Bioes, ["a", "b"]).decode(&ids);
            prop_assert!(entities.windows(2).all(|pair| pair[0].units.end <= pair[1].units.start));
            let covered: usize = entities.iter().map(|entity| entity.units.len()).sum();
            prop_assert_eq!(covered, ids.iter().filter(|&&id| id != 0).count());
        }
    }
}
