use serde::{Deserialize, Serialize};
use std::collections::HashMap;
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

/// The labels of a model trained elsewhere, in any order and scheme.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForeignLabels {
    /// The equivalent label set. Types are ordered by their first label.
    pub labels: LabelSet,
    /// For each label of the set, its index in the names, if it occurs there.
    pub places: Vec<Option<usize>>,
    /// Indices of further names that mean outside: `B-O`, `[CLS]`.
    pub outside: Vec<usize>,
    /// What was guessed, for people.
    pub notes: Vec<String>,
}

/// How a name is made of a position and a type.
#[derive(Clone, Copy)]
enum Shape {
    /// `B-X`, as transformers reads it; anything else is a type without a position.
    Usual,
    /// `b-x`, `B_X`: the letter, the separator, the type.
    Before(char),
    /// `X-B`.
    After(char),
    /// `B`, `B-`: no type.
    Bare,
}

impl Shape {
    /// The position and the type that `name` names.
    fn parse(self, name: &str) -> Option<(Position, &str)> {
        let position = |letter: &str| {
            FOREIGN_LETTERS.iter().find(|(known, _)| known.eq_ignore_ascii_case(letter)).map(|row| row.1)
        };
        let (letter, entity_type) = match self {
            Self::Usual => name.split_once('-').filter(|(letter, _)| *letter == letter.to_uppercase())?,
            Self::Before(separator) => name.split_once(separator)?,
            Self::After(separator) => name.rsplit_once(separator).map(|(entity_type, letter)| (letter, entity_type))?,
            Self::Bare => return Some((position(name.trim_end_matches('-'))?, UNNAMED)),
        };
        Some((position(letter)?, entity_type)).filter(|_| !entity_type.is_empty())
    }

    /// The shape of all `names`, which are not outside. Another than the usual one needs every name to have it, and one
    /// type to have two positions, so that types such as `B_cell` stay types.
    fn of(names: &[&str]) -> Self {
        let fits = |shape: &Self| {
            let parsed: Option<Vec<(Position, &str)>> = names.iter().map(|name| shape.parse(name)).collect();
            let Some(mut parsed) = parsed else { return false };
            parsed.sort_by_key(|&(_, entity_type)| entity_type);
            parsed.windows(2).any(|pair| pair[0].1 == pair[1].1 && pair[0].0 != pair[1].0)
        };
        if names.iter().any(|name| Self::Usual.parse(name).is_some()) {
            return Self::Usual;
        }
        let others = [Self::Bare, Self::Before('-'), Self::Before('_'), Self::After('-'), Self::After('_')];
        others.into_iter().find(fits).unwrap_or(Self::Usual)
    }
}

/// The type of tags that name none, as in seqeval.
const UNNAMED: &str = "_";

/// Labels of special tokens and of padding, which some models were trained with. They are not types.
const NO_TYPES: [&str; 9] = ["[CLS]", "[SEP]", "[PAD]", "[MASK]", "<s>", "</s>", "<pad>", "PAD", "[UNK]"];

/// The label of the later pieces of a word, in models of BERT's first months.
const LATER_PIECE: &str = "X";

impl ForeignLabels {
    /// Reads a list of label names.
    ///
    /// Accepts IOB1, IOB2, BIOES, BILOU (`L` and `U` for `E` and `S`), BMES and plain types without a position. As in
    /// transformers' pipeline, `B-O` and `I-O` are outside. Tags in lower case, with an underscore (`B_X`), with the
    /// position behind (`X-B`) or without a type (`B`) are read as tags; the pipeline takes each for a type of its own.
    /// Labels of special tokens, and `X` beside tags, are outside. All these are noted.
    ///
    /// # Errors
    /// If two names mean the same tag.
    pub fn read(names: &[&str]) -> Result<Self, String> {
        let has_outside = names.contains(&OUTSIDE);
        let tags = || names.iter().filter_map(|name| Shape::Usual.parse(name));
        let has_tags = tags().next().is_some();
        let has_type_x = tags().any(|(_, entity_type)| entity_type == LATER_PIECE);
        let is_no_type = |name: &str| {
            NO_TYPES.iter().any(|known| known.eq_ignore_ascii_case(name))
                || (name == LATER_PIECE && has_tags && !has_type_x)
        };
        let is_outside = |name: &str| name == OUTSIDE || (!has_outside && name.eq_ignore_ascii_case(OUTSIDE));
        let named: Vec<&str> = names.iter().copied().filter(|name| !is_outside(name) && !is_no_type(name)).collect();
        let shape = Shape::of(&named);
        let parse = |name: &'_ str| -> Option<(Position, String)> {
            if is_outside(name) || is_no_type(name) {
                return None;
            }
            let (position, entity_type) = shape.parse(name).unwrap_or((Position::Inside, name));
            (entity_type != OUTSIDE).then(|| (position, entity_type.to_owned()))
        };
        let parsed: Vec<Option<(Position, String)>> = names.iter().map(|name| parse(name)).collect();
        let has = |wanted: &[Position]| parsed.iter().flatten().any(|(position, _)| wanted.contains(position));
        let scheme = match () {
            () if has(&[Position::End, Position::Single]) => TagScheme::Bioes,
            () if has(&[Position::Begin]) => TagScheme::Bio,
            () => TagScheme::Io,
        };
        let mut numbers: HashMap<&str, usize> = HashMap::new();
        let mut labels = LabelSet { scheme, types: Vec::new() };
        for (_, entity_type) in parsed.iter().flatten() {
            numbers.entry(entity_type).or_insert_with(|| {
                labels.types.push(entity_type.clone());
                labels.types.len() - 1
            });
        }
        let (mut places, mut outside) = (vec![None; labels.len()], Vec::new());
        // The label `O` itself comes first, if there is one.
        let is_other = |at: &usize| parsed[*at].is_none() && !is_outside(names[*at]);
        let (others, first): (Vec<usize>, Vec<usize>) = (0..names.len()).partition(is_other);
        for at in first.into_iter().chain(others) {
            match &parsed[at] {
                None if places[0].is_none() => places[0] = Some(at),
                None if is_outside(names[at]) => return Err(twice(names[at], names[at])),
                None => outside.push(at),
                Some((position, entity_type)) => {
                    let id = labels.id(Tag::Entity(*position, numbers[entity_type.as_str()]));
                    if let Some(before) = places[id].replace(at) {
                        return Err(twice(names[before], names[at]));
                    }
                }
            }
        }
        let mut notes = Vec::new();
        if !matches!(shape, Shape::Usual)
            && let Some((name, (_, entity_type))) = named.iter().find_map(|name| Some((name, shape.parse(name)?)))
        {
            notes.push(format!("labels like {name} are read as tags of types like {entity_type}"));
        }
        let special: Vec<&str> = names.iter().copied().filter(|name| is_no_type(name)).collect();
        if !special.is_empty() {
            notes.push(format!("labels that are not types: {}; words with them are outside", special.join(", ")));
        }
        if let Some(name) = names.iter().find(|name| is_default(name)) {
            notes.push(format!(
                "labels like {name} have no names; give them names in id2label, and O to the one outside"
            ));
        }
        Ok(Self { labels, places, outside, notes })
    }
}

fn twice(one: &str, other: &str) -> String {
    format!("the labels {one} and {other} mean the same tag")
}

/// Whether this is the name that transformers gives to a label without a name.
fn is_default(name: &str) -> bool {
    let number = name.strip_prefix("LABEL_");
    number.is_some_and(|number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()))
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
        let check = |names: &[&str], expected: &str, places: &[Option<usize>], outside: &[usize], notes: usize| {
            let found = ForeignLabels::read(names).expect("labels");
            let found = (found.labels.names().join(" "), found.places, found.outside, found.notes.len());
            assert_eq!(found, (expected.to_owned(), places.to_vec(), outside.to_vec(), notes), "{names:?}");
        };
        check(&["B-X", "I-X", "O"], "O B-X I-X", &[Some(2), Some(0), Some(1)], &[], 0);
        check(&["O", "X", "cell-line"], "O I-X I-cell-line", &[Some(0), Some(1), Some(2)], &[], 0);
        check(&["O", "I-X", "I-Y", "B-Y"], "O B-X I-X B-Y I-Y", &[Some(0), None, Some(1), Some(3), Some(2)], &[], 0);
        check(&["O", "U-X", "L-X", "B-X"], "O B-X I-X E-X S-X", &[Some(0), Some(3), None, Some(2), Some(1)], &[], 0);
        check(&["LABEL_0"], "O I-LABEL_0", &[None, Some(0)], &[], 1);
        check(&["O", "B_cell", "T_cell"], "O I-B_cell I-T_cell", &[Some(0), Some(1), Some(2)], &[], 0);
        // Outside under other names.
        check(&["B-O", "I-O", "B-X", "I-X"], "O B-X I-X", &[Some(0), Some(2), Some(3)], &[1], 0);
        check(&["I-O", "B-X", "O"], "O B-X I-X", &[Some(2), Some(1), None], &[0], 0);
        check(&["PAD", "O", "B-Y", "I-Y", "X", "[SEP]"], "O B-Y I-Y", &[Some(1), Some(2), Some(3)], &[0, 4, 5], 1);
        check(&["o", "b-x", "i-x"], "O B-x I-x", &[Some(0), Some(1), Some(2)], &[], 1);
        check(&["O", "B_X", "I_X"], "O B-X I-X", &[Some(0), Some(1), Some(2)], &[], 1);
        check(&["O", "X-B", "X-I"], "O B-X I-X", &[Some(0), Some(1), Some(2)], &[], 1);
        check(&["O", "B", "I"], "O B-_ I-_", &[Some(0), Some(1), Some(2)], &[], 1);
        for names in [["O", "E-X", "L-X"], ["O", "I-X", "I-X"], ["O", "O", "I-X"], ["O", "X", "I-X"]] {
            assert!(ForeignLabels::read(&names).is_err(), "{names:?}");
        }
        let many: Vec<String> = (0..200_000).map(|at| format!("B-{at}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        assert_eq!(ForeignLabels::read(&many).map(|found| found.labels.types.len()), Ok(200_000));
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
