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
pub(crate) struct Cue<'l> {
    /// The words that it covers.
    pub words: Range<usize>,
    /// Its rules, for one or several places.
    rules: &'l [usize],
}

/// A cue that says something of a mention.
#[derive(Clone, Debug)]
struct Candidate {
    says: Says,
    words: Range<usize>,
    confidence: f32,
    /// Words between cue and mention.
    distance: usize,
}

/// What the cues around a mention say.
#[derive(Clone, Debug, Default)]
pub(crate) struct Said {
    /// The value, its cue and its confidence. `Present` is an explicit affirmation.
    pub value: Option<(AssertionValue, Span, Confidence)>,
    /// The cue that puts it in the past.
    pub historical: Option<(Span, Confidence)>,
}

/// A text's words, and which of them belong to mentions.
pub(crate) struct Text<'t> {
    pub words: &'t [Word<'t>],
    pub ids: &'t [u32],
    pub is_mention: &'t [bool],
}

/// Confidence of a cue, for each word that stands between it and the mention.
const FADING: f32 = 0.98;

/// The cues of a sentence, from left to right: the longest phrase at each place that is in no mention.
pub(crate) fn cues<'l>(lexicon: &'l Lexicon, text: &Text, sentence: Range<usize>) -> Vec<Cue<'l>> {
    let mut cues = Vec::new();
    let mut at = sentence.start;
    while at < sentence.end {
        let free = text.is_mention[at..sentence.end].iter().take_while(|&&is_mention| !is_mention).count();
        match lexicon.longest(&text.ids[at..at + free], &text.words[at..at + free]) {
            Some((length, rules)) => {
                cues.push(Cue { words: at..at + length, rules });
                at += length;
            }
            None => at += 1,
        }
    }
    cues
}

/// What the cues of its sentence say of the mention with these words.
pub(crate) fn said(
    lexicon: &Lexicon,
    text: &Text,
    cues: &[Cue],
    sentence: Range<usize>,
    mention: Range<usize>,
) -> Said {
    let scope = Scope { lexicon, text, cues, sentence, mention };
    let mut candidates = scope.inside();
    scope.before(&mut candidates);
    scope.after(&mut candidates);
    scope.decide(&candidates)
}

struct Scope<'s> {
    lexicon: &'s Lexicon,
    text: &'s Text<'s>,
    cues: &'s [Cue<'s>],
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
            && !between.clone().any(|at| !self.text.is_mention[at] && self.lexicon.ends(rule, self.text.ids[at]));
        let confidence = row.confidence.value() * FADING.powi(distance as i32);
        reaches.then_some(Candidate { says: row.says, words, confidence, distance })
    }

    fn rules(&self, cue: &Cue, place: Place) -> impl Iterator<Item = (usize, Says)> {
        let rules = cue.rules.iter().map(|&rule| (rule, &self.lexicon.rules[rule]));
        rules.filter(move |(_, row)| row.place == place).map(|(rule, row)| (rule, row.says))
    }

    /// Words of the mention itself that decide: those of rules for that, and cues that it begins with.
    fn inside(&self) -> Vec<Candidate> {
        let mut candidates = Vec::new();
        for at in self.mention.clone() {
            let rest = at..self.mention.end;
            let found = self.lexicon.longest(&self.text.ids[rest.clone()], &self.text.words[rest]);
            let Some((length, rules)) = found else { continue };
            let cue = Cue { words: at..at + length, rules };
            let is_inner = self.rules(&cue, Place::Inside);
            let behind = self.text.words.get(cue.words.end).filter(|_| cue.words.end < self.mention.end);
            let is_first = at == self.mention.start && behind.is_some_and(|next| next.is_word());
            let is_leading = self.rules(&cue, Place::Before).filter(|_| is_first);
            for (rule, _) in is_inner.chain(is_leading) {
                candidates.extend(self.candidate(rule, cue.words.clone(), 0..0));
            }
        }
        candidates
    }

    /// Walks from the mention to the beginning of the sentence.
    fn before(&self, candidates: &mut Vec<Candidate>) {
        let mut cues = self.cues.iter().rev().skip_while(|cue| cue.words.end > self.mention.start).peekable();
        let (mut is_settled, mut closed, mut has_colon) = (false, 0usize, false);
        let mut at = self.mention.start;
        while at > self.sentence.start {
            if let Some(cue) = cues.next_if(|cue| cue.words.end == at) {
                at = cue.words.start;
                if closed > 0 {
                    continue;
                }
                if cue.rules.iter().any(|&rule| self.lexicon.rules[rule].says == Says::End) {
                    return;
                }
                let follows_comma = at > self.sentence.start && self.text.words[at - 1].text == ",";
                let was_settled = is_settled;
                for (rule, says) in self.rules(cue, Place::Before) {
                    let is_blocked = was_settled && (says.is_certainty() || says == Says::Historical);
                    let between = cue.words.end..self.mention.start;
                    if let Some(candidate) = self.candidate(rule, cue.words.clone(), between).filter(|_| !is_blocked) {
                        candidates.push(candidate);
                    }
                    is_settled |= says.is_certainty() || says == Says::Historical && follows_comma;
                }
                continue;
            }
            at -= 1;
            if self.text.is_mention[at] {
                continue;
            }
            match self.text.words[at].text {
                ";" => return,
                ")" => closed += 1,
                "(" => closed = closed.saturating_sub(1),
                ":" => has_colon = true,
                // "Neuro: no headache, Resp: cough": what stands before is another list.
                "," if has_colon => return,
                _ => {}
            }
        }
    }

    /// Walks from the mention to the end of the sentence.
    fn after(&self, candidates: &mut Vec<Candidate>) {
        let mut cues = self.cues.iter().skip_while(|cue| cue.words.start < self.mention.end).peekable();
        let (mut is_settled, mut is_past) = (false, false);
        let mut at = self.mention.end;
        while at < self.sentence.end {
            if let Some(cue) = cues.next_if(|cue| cue.words.start == at) {
                at = cue.words.end;
                let mut is_about_this = false;
                for (rule, says) in self.rules(cue, Place::After) {
                    is_about_this = true;
                    let is_blocked = if says == Says::Historical { is_past } else { is_settled && says.is_certainty() };
                    let between = self.mention.end..cue.words.start;
                    if let Some(candidate) = self.candidate(rule, cue.words.clone(), between).filter(|_| !is_blocked) {
                        is_settled |= says.is_certainty();
                        is_past |= says == Says::Historical;
                        candidates.push(candidate);
                    }
                }
                let says = |rule: &usize| self.lexicon.rules[*rule].says;
                if !is_about_this && cue.rules.iter().map(says).any(|says| says.is_certainty() || says == Says::End) {
                    return;
                }
                continue;
            }
            if self.text.words[at].text == ";" && !self.text.is_mention[at] {
                return;
            }
            at += 1;
        }
    }

    fn decide(&self, candidates: &[Candidate]) -> Said {
        let shown = |candidate: &Candidate| {
            let (first, last) = (candidate.words.start, candidate.words.end - 1);
            let span = Span::new(self.text.words[first].span.start, self.text.words[last].span.end);
            Some((span, Confidence::new(candidate.confidence)?))
        };
        let nearest = |says: &dyn Fn(Says) -> bool| {
            // Of two that are equally near, the one behind: "possible pneumonia was ruled out".
            candidates.iter().rev().filter(|candidate| says(candidate.says)).min_by_key(|candidate| candidate.distance)
        };
        let order = [Says::AssociatedWithSomeoneElse, Says::Hypothetical, Says::Conditional];
        let outranking = order.into_iter().find_map(|wanted| nearest(&|says| says == wanted));
        let deciding = outranking.or_else(|| nearest(&Says::is_certainty));
        let value = deciding.and_then(|candidate| {
            let (span, confidence) = shown(candidate)?;
            Some((candidate.says.value()?, span, confidence))
        });
        Said { value, historical: nearest(&|says| says == Says::Historical).and_then(shown) }
    }
}
