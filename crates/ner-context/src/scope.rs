//! Which cues a mention is in the scope of (Harkema et al. 2009, section 2.2), and what they say together.
//!
//! A cue's scope is the rest of its sentence, or what stands before it, up to a phrase that ends it. Cues of certainty
//! (present, absent, possible) end each other's scope, and the nearest of both sides decides.

use crate::lexicon::{AssertionValue, Lexicon, Place, Says};
use crate::words::Word;
use ner_document::{Confidence, Span};
use std::ops::Range;

/// A phrase of the lexicon in a text.
#[derive(Clone, Debug)]
pub(crate) struct Cue {
    /// The words that it covers.
    words: Range<usize>,
    /// Its rule.
    rule: usize,
}

/// The cues of a sentence, from left to right.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cues {
    /// Those that say something of mentions behind them, and phrases that say nothing or end a scope.
    before: Vec<Cue>,
    /// Those that say something of mentions before them, and likewise.
    after: Vec<Cue>,
    /// The first word of the sentence, and whether each of its words belongs to a phrase that says nothing. Such words end
    /// no scope.
    start: usize,
    is_idle: Vec<bool>,
}

/// A cue that says something of a mention.
#[derive(Clone, Debug)]
struct Candidate {
    says: Says,
    words: Range<usize>,
    confidence: f32,
    /// Words between cue and mention.
    distance: usize,
    /// Whether its rule is for adjacent cues only.
    is_adjacent: bool,
}

/// What the cues around a mention say.
#[derive(Clone, Debug, Default)]
pub(crate) struct Said {
    /// The value, its cue and its confidence. `Present` is an explicit affirmation.
    pub value: Option<(AssertionValue, Span, Confidence)>,
    /// The cue that puts it in the past.
    pub historical: Option<(Span, Confidence)>,
}

impl Said {
    /// Whether no cue says anything.
    pub const fn is_nothing(&self) -> bool {
        self.value.is_none() && self.historical.is_none()
    }
}

/// A text's words, and which of them belong to mentions or known headings, where no cue is looked for.
pub(crate) struct Text<'t> {
    pub words: &'t [Word<'t>],
    pub ids: &'t [u32],
    pub is_mention: &'t [bool],
}

/// Most words between a cue and its mention: what is farther away in a "sentence" is no sentence.
const REACH: usize = 150;
/// Most words of a phrase.
const LONGEST: usize = 16;

/// Confidence of a cue, for each word that stands between it and the mention.
const FADING: f32 = 0.98;

impl Cues {
    /// The cues of a sentence: at each word that is in no mention, the longest phrase for each place.
    pub fn of(lexicon: &Lexicon, text: &Text, sentence: Range<usize>) -> Self {
        let of_place = |place: Place| {
            let mut cues = Vec::new();
            let mut at = sentence.start;
            while at < sentence.end {
                let ahead = text.is_mention[at..sentence.end].iter().take(LONGEST);
                let free = ahead.take_while(|&&is_mention| !is_mention).count();
                let applies = |rule: usize, length: usize| {
                    let row = &lexicon.rules[rule];
                    // A cue that must be adjacent to its mention is none elsewhere.
                    let neighbour = match place {
                        Place::Before => (at + length < sentence.end).then_some(at + length),
                        _ => (at > sentence.start).then(|| at - 1),
                    };
                    let is_adjacent = || neighbour.is_some_and(|at| text.is_mention[at]);
                    row.is_at(place)
                        && (row.within != Some(0) || is_adjacent())
                        && (!row.first || at == sentence.start)
                        && !lexicon.is_off(rule, &text.ids[sentence.clone()])
                };
                let rest = at..at + free;
                match lexicon.longest(&text.ids[rest.clone()], &text.words[rest], applies) {
                    Some((length, rule)) => {
                        cues.push(Cue { words: at..at + length, rule });
                        at += length;
                    }
                    None => at += 1,
                }
            }
            cues
        };
        let (before, after) = (of_place(Place::Before), of_place(Place::After));
        let mut is_idle = vec![false; sentence.len()];
        let says_nothing = |cue: &&Cue| lexicon.rules[cue.rule].says == Says::Nothing;
        for Cue { words, .. } in before.iter().chain(&after).filter(says_nothing) {
            is_idle[words.start - sentence.start..words.end - sentence.start].fill(true);
        }
        Self { before, after, start: sentence.start, is_idle }
    }
}

/// What the cues of its sentence say of the mention with these words.
pub(crate) fn said(lexicon: &Lexicon, text: &Text, cues: &Cues, sentence: Range<usize>, mention: Range<usize>) -> Said {
    let scope = Scope { lexicon, text, cues, sentence, mention };
    let mut candidates = scope.inside();
    candidates.extend(scope.before());
    candidates.extend(scope.after());
    scope.decide(&candidates)
}

struct Scope<'s> {
    lexicon: &'s Lexicon,
    text: &'s Text<'s>,
    cues: &'s Cues,
    sentence: Range<usize>,
    mention: Range<usize>,
}

impl Scope<'_> {
    /// The candidate that a rule makes of a cue with the words `between` it and the mention, if it reaches that far.
    fn candidate(&self, rule: usize, words: Range<usize>, between: Range<usize>) -> Option<Candidate> {
        let row = &self.lexicon.rules[rule];
        let counts = |at: &usize| self.text.words[*at].is_word() && !self.text.is_mention[*at];
        let distance = between.clone().filter(counts).count();
        let reaches = row.within.is_none_or(|most| distance <= most)
            && !between.clone().any(|at| self.lexicon.ends(rule, self.text.ids[at]) && !self.is_idle(at));
        let confidence = row.confidence.value() * FADING.powi(distance as i32);
        let is_adjacent = row.within == Some(0);
        reaches.then_some(Candidate { says: row.says, words, confidence, distance, is_adjacent })
    }

    /// Whether a word ends no scope: it belongs to a mention, or to a phrase that says nothing.
    fn is_idle(&self, at: usize) -> bool {
        self.text.is_mention[at] || self.cues.is_idle[at - self.cues.start]
    }

    fn says(&self, cue: &Cue) -> Says {
        self.lexicon.rules[cue.rule].says
    }

    /// Words of the mention itself that decide.
    fn inside(&self) -> Vec<Candidate> {
        let mut candidates = Vec::new();
        for at in self.mention.clone() {
            let rest = at..self.mention.end;
            let is_inner = |rule: usize, _| self.lexicon.rules[rule].is_at(Place::Inside);
            let found = self.lexicon.longest(&self.text.ids[rest.clone()], &self.text.words[rest], is_inner);
            let Some((length, rule)) = found else { continue };
            candidates.extend(self.candidate(rule, at..at + length, 0..0));
        }
        // "Allergy to eggs" is present below "Allergies", but "no allergy to eggs" is absent.
        for candidate in candidates.iter_mut().filter(|candidate| candidate.says == Says::Present) {
            candidate.distance = usize::MAX;
        }
        candidates
    }

    /// Walks from the mention to the beginning of the sentence.
    fn before(&self) -> Vec<Candidate> {
        let mut candidates: Vec<Candidate> = Vec::new();
        let nearest = self.cues.before.partition_point(|cue| cue.words.end <= self.mention.start);
        let mut cues = self.cues.before[..nearest].iter().rev().peekable();
        let first = self.sentence.start.max(self.mention.start.saturating_sub(REACH));
        // "HCV: negative HBV: positive": the answer before belongs to the question before.
        let is_question = self.text.words.get(self.mention.end).is_some_and(|word| word.text == ":");
        let (mut is_settled, mut closed, mut colon, mut comma) = (false, 0usize, false, None);
        // Where the cue of possibility begins that was met last.
        let mut possible = usize::MAX;
        let mut at = self.mention.start;
        while at > first {
            if let Some(cue) = cues.next_if(|cue| cue.words.end == at) {
                at = cue.words.start;
                if closed > 0 {
                    continue;
                }
                let says = self.says(cue);
                let follows = |text: &str| at > first && self.text.words[at - 1].text == text;
                if is_question && says.is_certainty() && follows(":") {
                    break;
                }
                if says == Says::End {
                    // "Although there is no rigidity, bradykinesia is marked": a clause ends at its comma.
                    if at == self.sentence.start
                        && let Some(comma) = comma
                    {
                        candidates.retain(|candidate| candidate.words.start > comma);
                    }
                    break;
                }
                // "History of possible asthma" is both.
                let is_blocked = is_settled
                    && !self.lexicon.rules[cue.rule].far
                    && (says.is_certainty() || says == Says::Historical && cue.words.end != possible);
                let between = cue.words.end..self.mention.start;
                candidates.extend(self.candidate(cue.rule, cue.words.clone(), between).filter(|_| !is_blocked));
                is_settled |= says.is_certainty() || says == Says::Historical && follows(",");
                if says == Says::Possible {
                    possible = cue.words.start;
                }
                continue;
            }
            at -= 1;
            if self.text.is_mention[at] {
                continue;
            }
            match self.text.words[at].text {
                ";" => break,
                ")" if self.text.words[first..at].iter().any(|word| word.text == "(") => closed += 1,
                "(" => closed = closed.saturating_sub(1),
                ":" => colon = true,
                // "Neuro: no headache, Resp: cough": what stands before is another list.
                "," | "-" if colon => break,
                "," => comma = Some(at),
                _ => {}
            }
        }
        candidates
    }

    /// Walks from the mention to the end of the sentence.
    fn after(&self) -> Vec<Candidate> {
        let mut candidates = Vec::new();
        let behind = |cues: &[Cue]| cues.partition_point(|cue| cue.words.start < self.mention.end);
        let mut cues = self.cues.after[behind(&self.cues.after)..].iter().peekable();
        let mut others = self.cues.before[behind(&self.cues.before)..].iter().peekable();
        let end = self.sentence.end.min(self.mention.end + REACH);
        let (mut is_settled, mut is_past) = (false, false);
        let mut at = self.mention.end;
        while at < end {
            if let Some(cue) = cues.next_if(|cue| cue.words.start == at) {
                while others.next_if(|other| other.words.start < cue.words.end).is_some() {}
                at = cue.words.end;
                let says = self.says(cue);
                if says == Says::End {
                    return candidates;
                }
                let is_blocked = if says == Says::Historical { is_past } else { is_settled && says.is_certainty() };
                let between = self.mention.end..cue.words.start;
                if let Some(candidate) = self.candidate(cue.rule, cue.words.clone(), between).filter(|_| !is_blocked) {
                    is_settled |= says.is_certainty();
                    is_past |= says == Says::Historical;
                    candidates.push(candidate);
                }
                continue;
            }
            // A cue about what follows it begins something new.
            if others
                .next_if(|other| other.words.start <= at)
                .is_some_and(|other| other.words.start == at && self.says(other).is_certainty())
                || self.text.words[at].text == ";" && !self.text.is_mention[at]
            {
                return candidates;
            }
            at += 1;
        }
        candidates
    }

    fn decide(&self, candidates: &[Candidate]) -> Said {
        let shown = |candidate: &Candidate| {
            // The bracket or comma that a cue begins with is not what decided.
            let is_word = |&at: &usize| self.text.words[at].is_word();
            let first = candidate.words.clone().find(is_word).unwrap_or(candidate.words.start);
            let last = candidate.words.end - 1;
            let span = Span::new(self.text.words[first].span.start, self.text.words[last].span.end);
            // Two decimals: more would pretend to precision.
            Some((span, Confidence::new((candidate.confidence * 100.0).round() / 100.0)?))
        };
        let nearest = |wanted: Says| {
            candidates.iter().filter(|candidate| candidate.says == wanted).min_by_key(|candidate| candidate.distance)
        };
        let order = [Says::AssociatedWithSomeoneElse, Says::Hypothetical, Says::Conditional];
        let deciding = order.into_iter().find_map(nearest).or_else(|| {
            // Of two that are equally near, the one behind: "possible pneumonia was ruled out". But "no rash is present".
            let certain = candidates.iter().rev().filter(|candidate| candidate.says.is_certainty());
            let is_weak = |candidate: &Candidate| candidate.says == Says::Present && !candidate.is_adjacent;
            nearest(certain.min_by_key(|candidate| (candidate.distance, is_weak(candidate)))?.says)
        });
        let value = deciding.and_then(|candidate| {
            let (span, confidence) = shown(candidate)?;
            Some((candidate.says.value()?, span, confidence))
        });
        Said { value, historical: nearest(Says::Historical).and_then(shown) }
    }
}
