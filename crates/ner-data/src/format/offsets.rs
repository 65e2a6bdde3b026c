//! From the offsets that a file states for a mention to its fragments: their unit, their order, and the text that must
//! be there.

use crate::{CharIndex, DiagnosticKind, Span};
use serde::{Deserialize, Serialize};
use std::cell::OnceCell;

/// What the offsets of a file count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OffsetUnit {
    /// Unicode characters (scalar values), as Python counts.
    #[default]
    Characters,
    /// UTF-16 code units, as Java, JavaScript and Windows count: characters beyond U+FFFF count as two.
    Utf16,
    /// Bytes of UTF-8.
    Bytes,
    /// Characters, with CRLF as one: the annotator's tool read the text in text mode.
    CrlfAsOne,
    /// Characters, with LF as two: the text lost its carriage returns after it was annotated.
    LfAsTwo,
}

impl OffsetUnit {
    /// All units.
    pub const ALL: [Self; 5] = [Self::Characters, Self::Utf16, Self::Bytes, Self::CrlfAsOne, Self::LfAsTwo];

    /// Its name on the command line and in descriptions.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Characters => "characters",
            Self::Utf16 => "utf16",
            Self::Bytes => "bytes",
            Self::CrlfAsOne => "crlf-as-one",
            Self::LfAsTwo => "lf-as-two",
        }
    }

    /// What it counts, as a phrase.
    pub const fn phrase(self) -> &'static str {
        match self {
            Self::Characters => "characters",
            Self::Utf16 => "UTF-16 units",
            Self::Bytes => "bytes",
            Self::CrlfAsOne => "characters with CRLF as one",
            Self::LfAsTwo => "characters with LF as two",
        }
    }

    /// Position of each character of `text` and of its end, in this unit.
    fn positions(self, text: &str) -> Vec<usize> {
        let mut at = 0;
        let mut positions = vec![0];
        let mut characters = text.chars().peekable();
        let mut last = None;
        while let Some(character) = characters.next() {
            at += match self {
                Self::Characters => 1,
                Self::Utf16 => character.len_utf16(),
                Self::Bytes => character.len_utf8(),
                Self::CrlfAsOne => usize::from(character != '\r' || characters.peek() != Some(&'\n')),
                Self::LfAsTwo => 1 + usize::from(character == '\n' && last != Some('\r')),
            };
            last = Some(character);
            positions.push(at);
        }
        positions
    }

    /// Length of `text` in this unit.
    pub(super) fn length(self, text: &str) -> usize {
        self.positions(text).last().copied().unwrap_or(0)
    }
}

/// A fault of a mention. The message never quotes text of a document.
pub(crate) type Fault = (DiagnosticKind, String);

/// Finds the mentions of one text by their offsets.
pub(crate) struct Locator {
    unit: OffsetUnit,
    index: CharIndex,
    /// Positions of the characters in `unit`; `None` if they are the characters' own numbers.
    positions: Option<Vec<usize>>,
    /// Those in the other units, made for the first text that does not match.
    others: OnceCell<Vec<(OffsetUnit, Vec<usize>)>>,
}

impl Locator {
    /// A locator in `text`, for offsets that count `unit`.
    pub(crate) fn new(text: &str, unit: OffsetUnit) -> Self {
        let positions = (unit != OffsetUnit::Characters).then(|| unit.positions(text));
        Self { unit, index: CharIndex::new(text), positions, others: OnceCell::new() }
    }

    /// The index of the text.
    pub(crate) const fn index(&self) -> &CharIndex {
        &self.index
    }

    /// Length of the text in its unit.
    fn len(&self) -> usize {
        self.positions.as_ref().map_or(self.index.len(), |positions| positions.last().copied().unwrap_or(0))
    }

    /// The characters of a span in the unit. `None` if an end lies inside a character or past the text.
    pub(crate) fn span(&self, stated: Span) -> Option<Span> {
        let span = match &self.positions {
            None => stated,
            Some(positions) => characters(stated, positions)?,
        };
        self.index.bytes(span).map(|_| span)
    }

    /// The ascending fragments of a mention in `text` (which must be the text of this locator).
    ///
    /// `given` is the text that the file states for the mention, if it states one; any white space in it equals a
    /// space, and white space after it is ignored.
    ///
    /// # Errors
    /// If a fragment is empty or outside of the text, if fragments overlap, or if the text there differs from `given`.
    /// The message names another unit in which `given` would match.
    pub(crate) fn fragments(&self, text: &str, stated: &[Span], given: Option<&str>) -> Result<Vec<Span>, Fault> {
        let mut spans = Vec::with_capacity(stated.len());
        for &span in stated {
            let out_of_range = |message| Err((DiagnosticKind::OffsetOutOfRange, message));
            if span.is_empty() {
                let fault = if span.start == span.end { "is empty" } else { "ends before it begins" };
                return out_of_range(format!("{span} {fault}"));
            }
            let Some(found) = self.span(span).filter(|found| !found.is_empty()) else {
                let (length, unit) = (self.len(), self.unit.phrase());
                let fault = if span.end > length {
                    format!("reaches outside the document of {length} {unit}")
                } else {
                    "begins or ends inside a character".to_owned()
                };
                return out_of_range(format!("{span} {fault}{}", self.hint(text, stated, given)));
            };
            spans.push(found);
        }
        if given.is_some_and(|given| !is_text_of(given, text, &self.index, &spans)) {
            let message = format!(
                "its text differs from the document's at {}{}",
                stated.first().copied().unwrap_or(Span::new(0, 0)),
                self.hint(text, stated, given)
            );
            return Err((DiagnosticKind::TextMismatch, message));
        }
        spans.sort_unstable();
        match spans.windows(2).find(|pair| pair[0].overlaps(pair[1])) {
            Some(pair) => {
                Err((DiagnosticKind::MalformedLine, format!("its fragments {} and {} overlap", pair[0], pair[1])))
            }
            None => Ok(spans),
        }
    }

    /// In which unit, or by which shift, the stated offsets would match the given text; empty if in none.
    fn hint(&self, text: &str, stated: &[Span], given: Option<&str>) -> String {
        let Some(given) = given.filter(|given| !given.trim().is_empty()) else { return String::new() };
        let fits = |positions: &[usize], shift: [isize; 2]| {
            let shifted = |span: &Span| {
                let (start, end) = (span.start.checked_add_signed(shift[0])?, span.end.checked_add_signed(shift[1])?);
                characters(Span::new(start, end), positions)
            };
            let spans: Option<Vec<Span>> = stated.iter().map(shifted).collect();
            spans.is_some_and(|spans| is_text_of(given, text, &self.index, &spans))
        };
        let units = || OffsetUnit::ALL.map(|unit| (unit, unit.positions(text))).into();
        let units: &Vec<(OffsetUnit, Vec<usize>)> = self.others.get_or_init(units);
        if let Some((unit, _)) = units.iter().find(|(unit, positions)| *unit != self.unit && fits(positions, [0, 0])) {
            let (phrase, name) = (unit.phrase(), unit.name());
            return format!("; it would match if offsets counted {phrase}: --input-offsets {name}");
        }
        const SHIFTS: [([isize; 2], &str); 4] = [
            ([-1, -1], "counted from 1: subtract 1 from them"),
            ([0, 1], "had inclusive ends: add 1 to the ends"),
            ([-1, 0], "counted from 1 and had inclusive ends: subtract 1 from the starts"),
            ([1, 1], "counted from -1: add 1 to them"),
        ];
        let own = units.iter().find(|(unit, _)| *unit == self.unit);
        let shift = own.and_then(|(_, positions)| SHIFTS.iter().find(|(shift, _)| fits(positions, *shift)));
        shift.map_or(String::new(), |(_, words)| format!("; it would match if offsets {words}"))
    }
}

/// The characters of a span of `positions`, which ascend. At a position that several characters share, the first counts.
fn characters(span: Span, positions: &[usize]) -> Option<Span> {
    let character = |at: usize| {
        let character = positions.partition_point(|&position| position < at);
        (positions.get(character) == Some(&at)).then_some(character)
    };
    Some(Span::new(character(span.start)?, character(span.end)?))
}

/// Whether `given` is the text of a mention with these fragments; any white space equals a space, and white space after
/// it is ignored, as in brat.
///
/// Fragments are usually joined by a space. Some tools give the whole text from the first to the last fragment, as
/// `bioc` requires; old releases of brat joined fragments without a space.
fn is_text_of(given: &str, text: &str, index: &CharIndex, fragments: &[Span]) -> bool {
    let pieces: Option<Vec<&str>> = fragments.iter().map(|&span| index.slice(text, span)).collect();
    let Some(pieces) = pieces else { return false };
    if same(given, &pieces.join(" ")) {
        return true;
    }
    let start = fragments.iter().map(|span| span.start).min().unwrap_or(0);
    let end = fragments.iter().map(|span| span.end).max().unwrap_or(0);
    let whole = index.slice(text, Span::new(start, end));
    pieces.len() > 1 && (whole.is_some_and(|whole| same(given, whole)) || same(given, &pieces.concat()))
}

fn same(a: &str, b: &str) -> bool {
    let spaces = |c: char| if c.is_whitespace() { ' ' } else { c };
    a == b || a.trim_end().chars().map(spaces).eq(b.trim_end().chars().map(spaces))
}

/// Fragments that every format can state: ascending, not empty, and merged where they overlap.
pub(super) fn normal(fragments: &[Span]) -> Vec<Span> {
    let mut sorted: Vec<Span> = fragments.iter().copied().filter(|span| !span.is_empty()).collect();
    sorted.sort_unstable();
    let mut normal: Vec<Span> = Vec::with_capacity(sorted.len());
    for span in sorted {
        match normal.last_mut() {
            Some(last) if last.overlaps(span) => last.end = last.end.max(span.end),
            _ => normal.push(span),
        }
    }
    normal
}

/// What is odd about the ends of a mention in `text`: white space at an end, or letters or digits on both sides of it.
/// Often its offsets are wrong, or the corpus annotates parts of words.
pub(super) fn odd_ends(text: &str, index: &CharIndex, fragments: &[Span]) -> Option<&'static str> {
    let outer = |at: Option<usize>| text.get(at?..)?.chars().next();
    let before = |at: usize| text.get(..at)?.chars().next_back();
    let mut odd = None;
    for span in fragments {
        let bytes = index.bytes(*span)?;
        let (first, last) = (outer(Some(bytes.start))?, before(bytes.end)?);
        let is_cut = |left: Option<char>, right: Option<char>| {
            left.is_some_and(is_letter_of_word) && right.is_some_and(is_letter_of_word)
        };
        if first.is_whitespace() || last.is_whitespace() {
            return Some("begins or ends with white space");
        }
        if is_cut(before(bytes.start), Some(first)) || is_cut(Some(last), outer(Some(bytes.end))) {
            odd = Some("begins or ends inside a word");
        }
    }
    odd
}

/// Whether the character is part of a word between spaces. The scripts of Chinese, Japanese, Korean, Thai, Lao, Burmese
/// and Khmer do not part words by spaces, or join particles to them.
fn is_letter_of_word(character: char) -> bool {
    character.is_alphanumeric()
        && !matches!(
            character,
            '\u{e00}'..='\u{eff}' | '\u{1000}'..='\u{109f}' | '\u{1100}'..='\u{11ff}' | '\u{1780}'..='\u{17ff}'
                | '\u{2e80}'..='\u{d7ff}' | '\u{f900}'..='\u{faff}' | '\u{ff66}'..='\u{ffdc}' | '\u{20000}'..='\u{3ffff}'
        )
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TEXT: &str = "𝛼 ab\r\ncd é\nef";

    #[test]
    fn offsets_in_every_unit_find_the_same_mention() {
        let table = [
            (OffsetUnit::Characters, [(2, 4), (6, 8), (11, 13)]),
            (OffsetUnit::Utf16, [(3, 5), (7, 9), (12, 14)]),
            (OffsetUnit::Bytes, [(5, 7), (9, 11), (15, 17)]),
            (OffsetUnit::CrlfAsOne, [(2, 4), (5, 7), (10, 12)]),
            (OffsetUnit::LfAsTwo, [(2, 4), (6, 8), (12, 14)]),
        ];
        for (unit, spans) in table {
            let locator = Locator::new(TEXT, unit);
            for ((start, end), given) in spans.into_iter().zip(["ab", "cd", "ef"]) {
                let found = locator
                    .fragments(TEXT, &[Span::new(start, end)], Some(given))
                    .unwrap_or_else(|fault| panic!("{}: {fault:?}", unit.name()));
                assert_eq!(locator.index().slice(TEXT, found[0]), Some(given));
            }
            // In any other unit the message names this one.
            let (start, end) = spans[2];
            for other in OffsetUnit::ALL.into_iter().filter(|other| *other != unit) {
                let wrong = Locator::new(TEXT, other).fragments(TEXT, &[Span::new(start, end)], Some("ef"));
                if let Err((_, message)) = wrong {
                    let unit = OffsetUnit::ALL
                        .into_iter()
                        .find(|unit| message.ends_with(&format!(": --input-offsets {}", unit.name())));
                    assert!(unit.is_some(), "{message}");
                }
            }
        }
    }

    #[test]
    fn faults_say_what_would_match() {
        let check = |unit, stated: &[(usize, usize)], given: &str, expected: &str| {
            let stated: Vec<Span> = stated.iter().map(|&(start, end)| Span::new(start, end)).collect();
            let found = Locator::new(TEXT, unit).fragments(TEXT, &stated, Some(given));
            assert_eq!(found.map_err(|(_, message)| message), Err(expected.to_owned()));
        };
        let characters = OffsetUnit::Characters;
        check(characters, &[(3, 3)], "", "3..3 is empty");
        check(characters, &[(3, 2)], "", "3..2 ends before it begins");
        check(characters, &[(3, 99)], "x", "3..99 reaches outside the document of 13 characters");
        check(OffsetUnit::Utf16, &[(1, 2)], "x", "1..2 begins or ends inside a character");
        check(
            OffsetUnit::Bytes,
            &[(2, 4)],
            "ab",
            "2..4 begins or ends inside a character; it would match if offsets counted characters: --input-offsets characters",
        );
        check(
            characters,
            &[(12, 14)],
            "ef",
            "12..14 reaches outside the document of 13 characters; it would match if offsets counted UTF-16 units: --input-offsets utf16",
        );
        check(
            characters,
            &[(3, 4)],
            "ab",
            "its text differs from the document's at 3..4; it would match if offsets counted from 1 and had inclusive ends: subtract 1 from the starts",
        );
        check(
            characters,
            &[(2, 3)],
            "ab",
            "its text differs from the document's at 2..3; it would match if offsets had inclusive ends: add 1 to the ends",
        );
        check(characters, &[(2, 4)], "cd", "its text differs from the document's at 2..4");
        check(characters, &[(2, 4), (3, 4)], "ab b", "its fragments 2..4 and 3..4 overlap");
    }

    #[test]
    fn ends_of_mentions_in_words_and_white_space_are_odd() {
        let check = |text: &str, start, end, expected: Option<&str>| {
            let found = odd_ends(text, &CharIndex::new(text), &[Span::new(start, end)]);
            assert_eq!(found.map(|words| words.rsplit_once(' ').map_or(words, |(_, last)| last)), expected, "{text}");
        };
        check("ab cd", 0, 2, None);
        check("ab cd", 0, 3, Some("space"));
        check("ab cd", 2, 5, Some("space"));
        check("ab cd", 0, 4, Some("word"));
        check("ab cd", 1, 2, Some("word"));
        check("IL-2", 0, 2, None);
        check("患者发热", 2, 4, None);
    }

    proptest! {
        #[test]
        fn any_offsets_give_fragments_inside_the_text(
            text in "[a𝛼é\r\n ]{0,9}",
            stated in proptest::collection::vec((0usize..24, 0usize..24), 1..4),
            given in "[a𝛼 ]{0,3}",
        ) {
            let stated: Vec<Span> = stated.into_iter().map(|(start, end)| Span::new(start, end)).collect();
            for unit in OffsetUnit::ALL {
                let locator = Locator::new(&text, unit);
                for given in [None, Some(given.as_str())] {
                    if let Ok(fragments) = locator.fragments(&text, &stated, given) {
                        prop_assert_eq!(normal(&fragments), fragments.clone());
                        prop_assert!(fragments.iter().all(|span| locator.index().bytes(*span).is_some()));
                    }
                }
            }
        }
    }
}
