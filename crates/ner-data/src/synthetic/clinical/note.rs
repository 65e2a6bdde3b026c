//! Writes one note: chooses its concepts, then fills the templates of the grammar.

use super::grammar::{SECTIONS, STYLES, Section, WORDS};
use super::lexicon::{Lexicon, Term};
use crate::synthetic::lexicon::Part;
use crate::synthetic::random::Random;
use itertools::Itertools;
use std::ops::Range;

/// The first line of every note.
const NOTICE: &str = "SYNTHETIC RECORD : invented by a program , no patient , no clinician .";
/// Minimum and maximum number of lines of a note.
const LINES: Range<usize> = 20..46;
/// Annotators differ: how often an article or a modifier is excluded from its concept, and how often one is overlooked.
const STRAY_PERCENT: usize = 5;
const OVERLOOKED_PERCENT: usize = 2;
/// One in this many lines of the grammar is reserved for held-out notes.
const HELD_OUT_EVERY: usize = 5;
/// How often a line begins with a space, which makes an empty token, and how often a long one is split in two.
const LEADING_SPACE_PERCENT: usize = 3;
const BROKEN_PERCENT: usize = 4;
/// How often a note is all in capitals.
const CAPITALS_PERCENT: usize = 4;
/// How often, in a thousand, two letters of a long word are swapped.
const TYPO_PERMILLE: usize = 7;

/// A note as tokens, with concepts at their positions.
#[derive(Clone, Debug, Default)]
pub(super) struct Note {
    pub(super) tokens: Vec<String>,
    /// First token of each line.
    pub(super) lines: Vec<usize>,
    pub(super) concepts: Vec<Concept>,
}

/// An annotated concept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Concept {
    pub(super) tokens: Range<usize>,
    pub(super) entity_type: &'static str,
    /// Problems have one.
    pub(super) assertion: Option<&'static str>,
}

/// Numberings of list items; `#` stands for the number.
const NUMBERINGS: &[&str] = &["# .", "#.", "#.", "-", ""];

/// The type and assertion that the mark at a concept's end denotes.
const MARKS: &[(&str, &str, Option<&str>)] = &[
    ("p", "problem", Some("present")),
    ("pa", "problem", Some("absent")),
    ("pp", "problem", Some("possible")),
    ("pc", "problem", Some("conditional")),
    ("ph", "problem", Some("hypothetical")),
    ("pf", "problem", Some("associated_with_someone_else")),
    ("t", "treatment", None),
    ("x", "test", None),
];

/// Form of a phrase at its position.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    /// With an article, if it takes one.
    Phrase,
    /// Without an article.
    Bare,
    /// The words alone, which are not a concept.
    Name,
}

struct Writer<'l> {
    part: Part,
    random: Random,
    note: Note,
    /// The concepts of this note.
    problems: Vec<&'l Term>,
    drugs: Vec<&'l Term>,
    procedures: Vec<&'l Term>,
    labs: Vec<&'l Term>,
    studies: Vec<&'l Term>,
    surnames: Vec<&'l String>,
    acronyms: Vec<&'l String>,
    style: &'static [(&'static str, &'static [&'static str])],
    is_man: bool,
    /// One of [`NUMBERINGS`].
    numbering: &'static str,
    /// First token of the concept being written.
    open: Option<usize>,
}

/// The note of one random stream, in one of the given `styles` (indices in [`STYLES`]).
pub(super) fn write(lexicon: &Lexicon, part: Part, mut random: Random, styles: &[usize]) -> Note {
    loop {
        let names =
            |random: &mut Random| -> Vec<&String> { (0..6).map(|_| lexicon.surnames.choose(part, random)).collect() };
        let &numbering = random.choose(NUMBERINGS);
        let mut writer = Writer {
            part,
            note: Note::default(),
            problems: Lexicon::cast(&lexicon.problems, part, 10, &mut random),
            drugs: Lexicon::cast(&lexicon.drugs, part, 8, &mut random),
            procedures: Lexicon::cast(&lexicon.procedures, part, 5, &mut random),
            labs: Lexicon::cast(&lexicon.labs, part, 7, &mut random),
            studies: Lexicon::cast(&lexicon.studies, part, 5, &mut random),
            surnames: names(&mut random),
            acronyms: (0..4).map(|_| lexicon.acronyms.choose(part, &mut random)).collect(),
            style: STYLES[*random.choose(styles)],
            is_man: random.chance(50),
            numbering,
            open: None,
            random,
        };
        writer.write();
        if LINES.contains(&writer.note.lines.len()) {
            return writer.note;
        }
        // Too short or too long: write another one, continuing the stream.
        random = writer.random;
    }
}

impl Writer<'_> {
    fn write(&mut self) {
        self.begin_line();
        self.note.tokens.extend(NOTICE.split(' ').map(str::to_owned));
        for section in SECTIONS {
            if self.random.chance(section.percent) {
                self.section(section);
            }
        }
        if self.random.chance(CAPITALS_PERCENT) {
            self.note.tokens.iter_mut().for_each(|token| token.make_ascii_uppercase());
        }
    }

    fn section(&mut self, section: &Section) {
        let heading = *self.random.choose(section.headings);
        let count = self.random.between(section.least, section.most + 1);
        let in_training = |at: &usize| at % HELD_OUT_EVERY != HELD_OUT_EVERY - 1;
        let known = (0..section.lines.len()).filter(|at| self.part != Part::Train || in_training(at)).collect_vec();
        let lines = self.random.sample(&known, count).into_iter().map(|at| section.lines[at]).collect_vec();
        let is_inline = count == 1 && !section.is_list && self.random.chance(60);
        if !heading.is_empty() {
            self.begin_line();
            self.expand(heading);
        }
        for (at, line) in lines.into_iter().enumerate() {
            if !is_inline || heading.is_empty() {
                self.begin_line();
            }
            let first = self.note.tokens.len();
            if section.is_list && !self.numbering.is_empty() {
                self.push_all(&self.numbering.replace('#', &(at + 1).to_string()));
            }
            let item = self.note.tokens.len();
            self.expand(line);
            if !section.is_list || self.random.chance(70) {
                self.capitalise(item);
            }
            self.break_line(first);
        }
    }

    fn begin_line(&mut self) {
        self.note.lines.push(self.note.tokens.len());
        if self.random.chance(LEADING_SPACE_PERCENT) {
            self.note.tokens.push(String::new());
        }
    }

    /// Splits some of the long lines in two, at any place.
    fn break_line(&mut self, first: usize) {
        let end = self.note.tokens.len();
        if end - first > 8 && self.random.chance(BROKEN_PERCENT) {
            let at = self.random.between(first + 3, end - 2);
            self.note.lines.push(at);
        }
    }

    fn capitalise(&mut self, token: usize) {
        if let Some(first) = self.note.tokens.get_mut(token).and_then(|token| token.get_mut(..1)) {
            first.make_ascii_uppercase();
        }
    }

    /// Appends `template` with its slots filled and its concepts recorded.
    fn expand(&mut self, template: &str) {
        for piece in template.split(' ') {
            let mut piece = piece;
            // "<" and "< 0.1" are numbers, not marks.
            if let Some(rest) = piece.strip_prefix('<').filter(|rest| !rest.is_empty()) {
                self.open = Some(self.note.tokens.len());
                piece = rest;
            }
            let marked = piece.strip_suffix('>').and_then(|piece| piece.rsplit_once('|'));
            let (piece, mark) = marked.map_or((piece, None), |(piece, mark)| (piece, Some(mark)));
            match piece.strip_prefix('{').and_then(|slot| slot.strip_suffix('}')).filter(|slot| !slot.contains('{')) {
                Some(slot) => self.fill(slot),
                None => {
                    let token = self.substitute(piece);
                    self.push(&token);
                }
            }
            if let Some(mark) = mark
                && let Some(first) = self.open.take()
            {
                self.close(first, mark);
            }
        }
    }

    /// Records the concept from the token `first` to here, unless it is overlooked.
    fn close(&mut self, first: usize, mark: &str) {
        let is_overlooked = self.random.chance(OVERLOOKED_PERCENT);
        if let Some(&(_, entity_type, assertion)) = MARKS.iter().find(|(name, ..)| *name == mark)
            && !is_overlooked
        {
            self.note.concepts.push(Concept { tokens: first..self.note.tokens.len(), entity_type, assertion });
        }
    }

    fn push_all(&mut self, words: &str) {
        words.split(' ').for_each(|word| self.push(word));
    }

    fn push(&mut self, word: &str) {
        let vowel = word.starts_with(['a', 'e', 'i', 'o', 'u', 'A', 'E', 'I', 'O', 'U']);
        if let Some(article) = self.note.tokens.last_mut().filter(|token| matches!(token.as_str(), "a" | "an")) {
            *article = if vowel { "an" } else { "a" }.to_owned();
        }
        let mut word = word.to_owned();
        let is_long = word.len() > 6 && word.bytes().all(|byte| byte.is_ascii_lowercase());
        if is_long && self.random.below(1000) < TYPO_PERMILLE {
            let at = self.random.between(1, word.len() - 2);
            let pair: String = word[at..at + 2].chars().rev().collect();
            word.replace_range(at..at + 2, &pair);
        }
        self.note.tokens.push(word);
    }

    /// A token with its slots filled, each by one word.
    fn substitute(&mut self, piece: &str) -> String {
        let (mut filled, mut rest) = (String::new(), piece);
        while let Some((before, (slot, after))) = rest.split_once('{').and_then(|(b, a)| Some((b, a.split_once('}')?)))
        {
            filled.push_str(before);
            filled.push_str(&self.word(slot));
            rest = after;
        }
        filled + rest
    }

    /// The text for a slot inside a token.
    fn word(&mut self, slot: &str) -> String {
        let random = &mut self.random;
        match slot {
            "n" => random.between(1, 13).to_string(),
            "digit" => random.below(10).to_string(),
            "age" => random.between(21, 94).to_string(),
            "room" => random.between(1000, 9999).to_string(),
            "year" => random.between(1991, 2010).to_string(),
            "month" => format!("{:02}", random.between(1, 13)),
            "day" => format!("{:02}", random.between(1, 29)),
            "letters" => (0..3).map(|_| char::from(b'A' + random.below(26) as u8)).collect(),
            "name" => (*random.choose(&self.surnames)).clone(),
            "acr" => (*random.choose(&self.acronyms)).clone(),
            "he" => (if self.is_man { "he" } else { "she" }).to_owned(),
            "his" => (if self.is_man { "his" } else { "her" }).to_owned(),
            "him" => (if self.is_man { "him" } else { "her" }).to_owned(),
            "sex" => (if self.is_man { "man" } else { "woman" }).to_owned(),
            "title" => (if self.is_man { "Mr." } else { "Ms." }).to_owned(),
            "m" => (if self.is_man { "M" } else { "F" }).to_owned(),
            _ => match self.choice(slot) {
                Some(choice) => self.substitute(choice),
                // An unknown slot is left visible; a test checks that there are none.
                None => format!("{{{slot}}}"),
            },
        }
    }

    /// One of the choices of a row of words or of the note's style.
    fn choice(&mut self, slot: &str) -> Option<&'static str> {
        let row = self.style.iter().chain(WORDS).find(|(name, _)| *name == slot)?;
        Some(*self.random.choose(row.1))
    }

    /// Fills a slot that is a whole token, with one token or several.
    fn fill(&mut self, slot: &str) {
        let (name, form) = slot.split_once('.').unwrap_or((slot, ""));
        let form = match form {
            "bare" => Form::Bare,
            "name" => Form::Name,
            _ => Form::Phrase,
        };
        match name {
            "p" | "pa" | "pp" | "pc" | "ph" | "pf" => self.problem(name, form),
            "d" => {
                let term = *self.random.choose(&self.drugs);
                self.phrase(&[], &term.name, "t", form);
            }
            "o" => {
                let term = *self.random.choose(&self.procedures);
                let articles = ["a", "a", "a", "the", "{his}", ""];
                let article = self.article(term, form, &articles, &["", "", "", "", "{his}"]);
                let modifier = self.modifier(form, 8, &["urgent", "elective", "aggressive", "repeat"]);
                self.phrase(&[article, modifier], &term.name, "t", form);
            }
            "l" => {
                let term = *self.random.choose(&self.labs);
                let article = self.article(term, form, &[""], &["", "", "", "", "", "", "", "", "{his}"]);
                self.phrase(&[article], &term.name, "x", form);
            }
            "s" => {
                let term = *self.random.choose(&self.studies);
                let articles = ["a", "a", "the", "{his}", "", ""];
                let article = self.article(term, form, &articles, &["", "", "", "the"]);
                let modifier = self.modifier(form, 12, &["repeat", "follow-up", "bedside", "portable"]);
                self.phrase(&[article, modifier], &term.name, "x", form);
            }
            _ => match self.choice(name) {
                Some(choice) => self.expand(choice),
                None => {
                    let word = self.word(name);
                    self.push(&word);
                }
            },
        }
    }

    fn problem(&mut self, mark: &str, form: Form) {
        let term = *self.random.choose(&self.problems);
        let article = match mark {
            "pa" => self.article(term, form, &["a", "any", "", "", ""], &["any", "", "", ""]),
            "ph" | "pp" => self.article(term, form, &["a", "a", "a", ""], &["", "", "", "any"]),
            _ => self.article(
                term,
                form,
                &["a", "a", "a", "{his}", "the", ""],
                &["", "", "", "", "{his}", "the", "some"],
            ),
        };
        let modifier = self.modifier(form, 20, &["{modifier}"]);
        let name = match self.random.below(4) {
            _ if form == Form::Name || !term.local => term.name.clone(),
            0 => format!("{{side}} {{part}} {}", term.name),
            1 => format!("{} in the {{body}}", term.name),
            2 => format!("{} of {{his}} {{body}}", term.name),
            _ => term.name.clone(),
        };
        self.phrase(&[article, modifier], &name, mark, form);
    }

    /// An article that the term takes in this form, or "".
    fn article(&mut self, term: &Term, form: Form, countable: &[&'static str], mass: &[&'static str]) -> &'static str {
        if form != Form::Phrase {
            return "";
        }
        let &article = self.random.choose(if term.countable { countable } else { mass });
        article
    }

    /// One of the words, or "".
    fn modifier(&mut self, form: Form, percent: usize, words: &[&'static str]) -> &'static str {
        if form == Form::Name || !self.random.chance(percent) {
            return "";
        }
        let &word = self.random.choose(words);
        word
    }

    /// Appends a phrase, as a concept unless it is only a name.
    fn phrase(&mut self, before: &[&str], name: &str, mark: &str, form: Form) {
        let mut begin = self.note.tokens.len();
        for word in before.iter().filter(|word| !word.is_empty()) {
            self.expand(word);
            if self.random.chance(STRAY_PERCENT) {
                begin = self.note.tokens.len();
            }
        }
        self.expand(name);
        if form != Form::Name {
            self.close(begin, mark);
        }
    }
}
