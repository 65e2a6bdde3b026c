//! Sections of a clinical note, by their headings.
//!
//! A heading stands at the beginning of a line and has a colon behind it or a line for itself. A known heading with a
//! colon may also begin a sentence. Capitals with a colon are a heading even if no rule knows them: they end the section
//! before.

use crate::lexicon::AssertionValue;
use crate::words::{Word, fold, words};
use ner_document::Span;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;

/// What a file of headings says of a section.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SectionKind {
    /// Its name (`family_history`).
    pub name: String,
    /// LOINC code of the document section, where one fits.
    pub loinc: Option<String>,
    /// Its headings, without colon; upper and lower case are the same.
    pub headings: Vec<String>,
    /// The assertion of what stands in it without a cue of its own.
    pub assertion: Option<AssertionValue>,
    /// Whether what is present in it is in the past.
    #[serde(default)]
    pub historical: bool,
}

/// The name of a section, and its code.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SectionName {
    /// Its name (`family_history`).
    pub name: String,
    /// LOINC code of the document section, where one fits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub loinc: Option<String>,
}

impl SectionKind {
    /// Its name and code.
    pub fn name(&self) -> SectionName {
        SectionName { name: self.name.clone(), loinc: self.loinc.clone() }
    }
}

/// A file of sections.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SectionFile {
    /// Whether these sections replace the built-in ones; by default they come on top.
    #[serde(default)]
    pub replace: bool,
    #[serde(default, rename = "section")]
    pub sections: Vec<SectionKind>,
}

/// A section of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Section<'r> {
    /// What it is; `None` below a heading that no rule knows.
    pub kind: Option<&'r SectionKind>,
    /// The heading, without its colon.
    pub heading: Span,
    /// What follows, up to the next heading.
    pub body: Span,
    /// Up to here the heading decides what has no cue of its own: up to the end of the paragraph, or of the sentence if
    /// that says that there is nothing ("Allergies: none.").
    pub decides_to: usize,
}

/// Known headings.
#[derive(Clone, Debug, Default)]
pub(crate) struct Headings {
    kinds: Vec<SectionKind>,
    /// The kind of each heading, by its folded words joined by a space.
    by_words: HashMap<String, usize>,
    /// Most words of a heading.
    longest: usize,
}

/// Most words of a heading that no rule knows.
const MOST_WORDS: usize = 6;

impl Headings {
    /// Later kinds take over the headings of earlier ones.
    pub fn new(kinds: Vec<SectionKind>) -> Self {
        let mut headings = Self::default();
        for (at, kind) in kinds.iter().enumerate() {
            for heading in &kind.headings {
                let words: Vec<String> = words(heading).iter().map(|word| word.folded()).collect();
                headings.longest = headings.longest.max(words.len());
                headings.by_words.insert(words.join(" "), at);
            }
        }
        Self { kinds, ..headings }
    }

    /// The sections of a text with these words and lines, in order. `lines` are ranges of words.
    pub fn find(&self, words: &[Word], lines: &[std::ops::Range<usize>]) -> Vec<Section<'_>> {
        let mut sections: Vec<Section> = Vec::new();
        for line in lines {
            let mut at = line.start + bullet(&words[line.clone()]);
            let mut begins_line = true;
            while at < line.end {
                let rest = &words[at..line.end];
                match self.heading(rest, begins_line) {
                    Some((count, kind)) => {
                        let heading = Span::new(rest[0].span.start, rest[count - 1].span.end);
                        if let Some(before) = sections.last_mut() {
                            before.body.end = heading.start;
                        }
                        let body = Span::new(heading.end, usize::MAX);
                        sections.push(Section {
                            kind,
                            heading,
                            body,
                            decides_to: decides_to(words, lines, at + count),
                        });
                        at += count;
                    }
                    None => at += 1,
                }
                begins_line = false;
                // The next sentence of the line.
                while at < line.end && !matches!(words[at - 1].text, "." | ";" | "?") {
                    at += 1;
                }
            }
        }
        sections
    }

    /// The number of words of the heading that `words`, the rest of a line, begins with, and its kind.
    fn heading(&self, words: &[Word], begins_line: bool) -> Option<(usize, Option<&SectionKind>)> {
        if !words[0].text.starts_with(|c: char| c.is_uppercase()) {
            return None;
        }
        let colon = words.iter().take(self.longest.max(MOST_WORDS) + 1).position(|word| word.text == ":");
        let count = match colon {
            Some(count) => count,
            // Without a colon it has the line for itself.
            None if begins_line && words.len() <= self.longest => words.len(),
            None => return None,
        };
        let name = words[..count].iter().map(|word| fold(word.text)).collect::<Vec<_>>().join(" ");
        if let Some(&kind) = self.by_words.get(&name) {
            return Some((count, Some(&self.kinds[kind])));
        }
        let letters = || words[..count].iter().flat_map(|word| word.text.chars()).filter(|c| c.is_alphabetic());
        let is_capital = letters().count() > 3 && letters().all(char::is_uppercase);
        let has_the_line = colon == Some(words.len() - 1);
        let is_unknown = begins_line && colon.is_some() && count <= MOST_WORDS && (is_capital || has_the_line);
        is_unknown.then_some((count, None))
    }
}

/// Words that begin a section about nothing.
const NOTHING: [&str; 9] =
    ["none", "nkda", "nka", "no", "denies", "noncontributory", "negative", "unremarkable", "unknown"];

/// The position up to which a heading decides, whose colon or body begins at word `first`.
fn decides_to(words: &[Word], lines: &[std::ops::Range<usize>], first: usize) -> usize {
    let end_of = |last: usize| words.get(last).map_or(usize::MAX, |word| word.span.start);
    let body = first + words[first..].iter().take(3).take_while(|word| matches!(word.text, ":" | "-" | "*")).count();
    if words.get(body).is_some_and(|word| NOTHING.contains(&word.folded().as_str())) {
        let stop = words[body..].iter().position(|word| matches!(word.text, "." | ";"));
        let line = lines.partition_point(|line| line.end <= body);
        let of_line = lines.get(line).map_or(words.len(), |line| line.end);
        return end_of(stop.map_or(of_line, |stop| (body + stop + 1).min(of_line)));
    }
    // The paragraph: to the first empty line behind some content, unless a list goes on.
    let line = lines.partition_point(|line| line.end <= body);
    let last = (line + MOST_LINES).min(lines.len());
    for line in line..last.saturating_sub(1) {
        let further = lines[line + 1..last].iter().find(|line| !line.is_empty());
        let goes_on = further.is_none_or(|further| bullet(&words[further.clone()]) > 0);
        if lines[line + 1].is_empty() && !goes_on {
            return end_of(lines[line].end);
        }
    }
    lines.get(last).map_or(usize::MAX, |line| end_of(line.start))
}

/// Most lines for which a heading decides.
const MOST_LINES: usize = 100;

/// The number of words of the bullet or number that a line begins with.
pub(crate) fn bullet(line: &[Word]) -> usize {
    match line {
        [first, ..] if matches!(first.text, "-" | "*" | "•" | "·" | "#" | "–" | "◦" | "○" | "▪") => 1,
        [first, second, ..] if is_number(first.text) && matches!(second.text, "." | ")") => 2,
        _ => 0,
    }
}

/// A number, or a letter that counts.
fn is_number(text: &str) -> bool {
    text.len() == 1 && text.starts_with(|c: char| c.is_ascii_lowercase())
        || text.len() <= 2 && text.bytes().all(|b| b.is_ascii_digit())
}
