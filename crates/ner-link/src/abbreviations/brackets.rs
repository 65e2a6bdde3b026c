//! The brackets of a text and how far the text before them belongs to them.

/// Farthest that a long form may begin before its bracket, in characters.
const FARTHEST: usize = 200;

/// A pair of brackets.
pub(super) struct Group {
    /// Position of the opening bracket.
    pub open: usize,
    /// Position after the closing bracket.
    pub close: usize,
    /// First position inside the pair of brackets around this one, or 0.
    floor: usize,
}

/// The brackets of a text.
pub(super) struct Surroundings {
    /// In order of their opening brackets.
    pub groups: Vec<Group>,
    /// Sorted positions after the brackets that stand apart from other words: no long form reaches across them.
    ends: Vec<usize>,
}

impl Surroundings {
    /// Finds the brackets of `text`. They end in their line; a bracket that closes nothing voids the open ones.
    pub fn new(text: &[char]) -> Self {
        let (mut groups, mut open) = (Vec::new(), Vec::new());
        for (at, &c) in text.iter().enumerate() {
            match c {
                '(' | '[' => open.push(at),
                ')' | ']' => match open.pop() {
                    Some(start) if (text[start] == '(') == (c == ')') => {
                        groups.push(Group { open: start, close: at + 1, floor: 0 });
                    }
                    _ => open.clear(),
                },
                '\n' => open.clear(),
                _ => {}
            }
        }
        groups.sort_by_key(|group| group.open);
        let mut around: Vec<(usize, usize)> = Vec::new();
        for group in &mut groups {
            while around.last().is_some_and(|&(_, close)| close <= group.open) {
                around.pop();
            }
            group.floor = around.last().map_or(0, |&(open, _)| open + 1);
            around.push((group.open, group.close));
        }
        let mut ends: Vec<usize> =
            groups.iter().filter(|group| is_apart(text, group)).map(|group| group.close).collect();
        ends.sort_unstable();
        Self { groups, ends }
    }

    /// First position of the text before `group` that a long form may begin at.
    pub fn left_edge(&self, text: &[char], group: &Group) -> usize {
        let nearest = group.floor.max(group.open.saturating_sub(FARTHEST));
        let last_end = self.ends[..self.ends.partition_point(|&end| end < group.open)].last();
        let nearest = nearest.max(last_end.copied().unwrap_or(0));
        (nearest..group.open).rev().find(|&at| ends_sentence(text, at)).map_or(nearest, |at| at + 1)
    }
}

/// Whether white space or a mark separates the brackets from the words on both sides.
fn is_apart(text: &[char], group: &Group) -> bool {
    let is_after = |c: &char| c.is_whitespace() || matches!(c, ',' | '.' | ';' | ':');
    text[..group.open].last().is_none_or(|c| c.is_whitespace()) && text.get(group.close).is_some_and(is_after)
}

/// Whether the character at `at` separates sentences or members of a list.
///
/// No sentence ends after an initial (`S. aureus`) nor before a small letter or a bracket (`Aircraft Corp. (BAC)`).
fn ends_sentence(text: &[char], at: usize) -> bool {
    let is_spaced = text.get(at + 1).is_some_and(|c| c.is_whitespace());
    match text[at] {
        '\n' => true,
        ';' => is_spaced,
        '.' if is_spaced => {
            let before = |back: usize| at.checked_sub(back).map(|at| text[at]);
            let is_initial = before(1).is_some_and(char::is_uppercase) && !before(2).is_some_and(char::is_alphanumeric);
            let next = text[at + 1..].iter().take(FARTHEST).find(|c| !c.is_whitespace());
            !is_initial && next.is_some_and(|c| !c.is_lowercase() && !matches!(c, '(' | '['))
        }
        _ => false,
    }
}
