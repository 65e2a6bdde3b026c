//! The rules of a text: lexicon and headings, from their files.

use crate::lexicon::{AssertionValue, Lexicon, RuleFile};
use crate::scope::{Cues, Said, Text, said};
use crate::sections::{Headings, Section, SectionFile, SectionKind, bullet};
use crate::sentences::{lines, sentences};
use crate::words::{Word, words};
use ner_document::{Confidence, Document, Span};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::ops::Range;

/// Why a file of rules cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RuleError {
    /// The file is no TOML of rules.
    #[error("the rules cannot be read")]
    Toml(#[from] Box<toml::de::Error>),
    /// A rule is wrong.
    #[error("{0}")]
    Rule(String),
}

/// What a note says of a mention.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Assertion {
    /// Whether the patient has it.
    pub value: AssertionValue,
    /// Whether it lies in the past.
    pub historical: bool,
    /// The words, or the heading, that decided; `None` for a mention that is present because nothing says otherwise.
    pub cue: Option<Span>,
    /// Weight of the rule, less for each word between cue and mention. It orders decisions; it is not calibrated.
    pub confidence: Confidence,
}

/// What is known of a mention from the text around it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MentionContext<'r> {
    /// What the note says of it.
    pub assertion: Assertion,
    /// The section that it stands in, if a rule knows its heading.
    pub section: Option<&'r SectionKind>,
}

/// Rules of assertion and sections. Reading them takes milliseconds; applying them, microseconds a document.
#[derive(Clone, Debug)]
pub struct ContextRules {
    lexicon: Lexicon,
    headings: Headings,
}

const ASSERTION_RULES: &str = include_str!("assertion.toml");
const SECTION_RULES: &str = include_str!("sections.toml");

/// Confidence of what no cue decides: `present`, or what the heading says.
fn without_cue() -> Confidence {
    Confidence::new(0.8).expect("a number from 0 to 1")
}

impl ContextRules {
    /// The built-in rules.
    pub fn builtin() -> Self {
        Self::with(None, None).expect("the built-in rules are valid, which a test shows")
    }

    /// The built-in rules, extended or replaced by the text of a file of cues and of one of sections.
    ///
    /// # Errors
    /// If a text is no valid file of rules.
    pub fn with(assertion: Option<&str>, sections: Option<&str>) -> Result<Self, RuleError> {
        let RuleFile { mut words, mut rules, .. } = read(ASSERTION_RULES)?;
        if let Some(own) = assertion.map(read::<RuleFile>).transpose()? {
            if own.replace {
                words.clear();
                rules.clear();
            }
            words.extend(own.words);
            rules.extend(own.rules);
        }
        let mut kinds = read::<SectionFile>(SECTION_RULES)?.sections;
        if let Some(own) = sections.map(read::<SectionFile>).transpose()? {
            if own.replace {
                kinds.clear();
            }
            kinds.extend(own.sections);
        }
        Ok(Self { lexicon: Lexicon::new(&words, rules).map_err(RuleError::Rule)?, headings: Headings::new(kinds) })
    }

    /// What the text of a document says of each of these mentions. Its own mentions are ignored.
    ///
    /// Cues are looked for outside all of them, so pass the mentions of every type.
    pub fn of(&self, document: &Document, mentions: &[Span]) -> Vec<MentionContext<'_>> {
        let words = words(&document.text);
        let ids = self.lexicon.ids(&words);
        let lines = lines(&document.text, &words);
        let sections = self.headings.find(&words, &lines);
        let places: Vec<Range<usize>> = mentions.iter().map(|&mention| words_of(&words, mention)).collect();
        let mut is_mention = vec![false; words.len()];
        for place in &places {
            is_mention[place.clone()].fill(true);
        }
        // A heading that a rule knows decides as a section, not as a cue.
        for Section { heading, .. } in sections.iter().filter(|section| section.kind.is_some()) {
            is_mention[words_of(&words, *heading)].fill(true);
        }
        let text = Text { words: &words, ids: &ids, is_mention: &is_mention };
        let sentences = sentences(document, &words, &lines, &sections);
        let introductions = introductions(&words, &sentences);
        // The cues of the last sentence, and of the last introduction: mentions come in order.
        let (mut last, mut last_introduction) = (None, None);
        let mut contexts = Vec::with_capacity(mentions.len());
        for (&mention, place) in mentions.iter().zip(&places) {
            let before = sections.partition_point(|section| section.body.start <= mention.start);
            let section = before.checked_sub(1).and_then(|at| sections.get(at));
            let kind = section.and_then(|section| section.kind);
            let at = sentences.partition_point(|sentence| sentence.end <= place.start);
            let mut found = Said::default();
            if let Some(sentence) = sentences.get(at).filter(|_| !place.is_empty()) {
                let cues = remembered(&mut last, at, || Cues::of(&self.lexicon, &text, sentence.clone()));
                found = said(&self.lexicon, &text, cues, sentence.clone(), place.clone());
                // An item of a list: what introduces the list, as if the mention stood there.
                if let Some(at) = introductions[at].filter(|_| found.is_nothing()) {
                    let sentence = &sentences[at];
                    let cues =
                        remembered(&mut last_introduction, at, || Cues::of(&self.lexicon, &text, sentence.clone()));
                    found = said(&self.lexicon, &text, cues, sentence.clone(), sentence.end..sentence.end);
                }
            }
            let deciding = section.filter(|section| mention.start < section.decides_to);
            let heading = deciding.map(|section| section.heading).zip(kind);
            contexts.push(MentionContext { assertion: conclude(found, heading), section: kind });
        }
        contexts
    }
}

/// The assertion, from what the cues say and from the section.
fn conclude(said: Said, heading: Option<(Span, &SectionKind)>) -> Assertion {
    use AssertionValue::{Absent, AssociatedWithSomeoneElse, Present};
    let of_section = heading.and_then(|(span, kind)| Some((kind.assertion?, span, without_cue())));
    let value = match (said.value, of_section) {
        (Some(said), Some(section)) if section.0 == AssociatedWithSomeoneElse => {
            if said.0 == AssociatedWithSomeoneElse { Some(said) } else { Some(section) }
        }
        (Some(said), _) => Some(said),
        (None, section) => section,
    };
    let past_section = heading.filter(|(_, kind)| kind.historical && value.is_none());
    let past = said.historical.or(past_section.map(|(span, _)| (span, without_cue())));
    match (value, past) {
        (Some((Present, ..)) | None, Some((cue, confidence))) => {
            Assertion { value: Present, historical: true, cue: Some(cue), confidence }
        }
        (Some((value, cue, confidence)), past) => {
            // What is absent, or somebody else's, is no past of the patient.
            let historical = past.is_some() && !matches!(value, Absent | AssociatedWithSomeoneElse);
            Assertion { value, historical, cue: Some(cue), confidence }
        }
        (None, None) => Assertion { value: Present, historical: false, cue: None, confidence: without_cue() },
    }
}

/// The cues of sentence `at`: those of the last call, if it was the same sentence.
fn remembered(last: &mut Option<(usize, Cues)>, at: usize, make: impl FnOnce() -> Cues) -> &Cues {
    let cues = last.take().filter(|(of, _)| *of == at).map(|(_, cues)| cues);
    &last.insert((at, cues.unwrap_or_else(make))).1
}

fn read<T: DeserializeOwned>(text: &str) -> Result<T, RuleError> {
    Ok(toml::from_str(text).map_err(Box::new)?)
}

/// What has no more words may be an item of a list without bullets.
const SHORTEST_SENTENCE: usize = 4;

/// For each sentence that is an item of a list, the sentence that introduces the list: "No history of:", "Denies:".
fn introductions(words: &[Word], sentences: &[Range<usize>]) -> Vec<Option<usize>> {
    let mut last = None;
    let introduction = |(at, sentence): (usize, &Range<usize>)| {
        let introduces = words[sentence.end - 1].text == ":";
        // A bullet, or a line of few words below the introduction.
        let is_item = bullet(&words[sentence.clone()]) > 0 || sentence.len() <= SHORTEST_SENTENCE && !introduces;
        if !is_item {
            last = introduces.then_some(at);
        }
        last.filter(|_| is_item)
    };
    sentences.iter().enumerate().map(introduction).collect()
}

/// The words that a mention touches.
fn words_of(words: &[Word], mention: Span) -> Range<usize> {
    let first = words.partition_point(|word| word.span.end <= mention.start);
    let last = words.partition_point(|word| word.span.start < mention.end);
    first..last.max(first)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::sync::LazyLock;

    fn assertions(rules: &ContextRules, text: &str, mentions: &[&str]) -> Vec<String> {
        let document = Document::new("1", text);
        let index = document.char_index();
        let span = |mention: &&str| text.find(*mention).and_then(|start| index.span(start..start + mention.len()));
        let spans: Vec<Span> = mentions.iter().filter_map(span).collect();
        let shown = |context: MentionContext| {
            let cue = context.assertion.cue.and_then(|cue| index.slice(text, cue)).unwrap_or("-");
            let section = context.section.map_or("-", |section| section.name.as_str());
            format!("{} by {cue}, in {section}", context.assertion.value)
        };
        rules.of(&document, &spans).into_iter().map(shown).collect()
    }

    #[test]
    fn sections_begin_and_end_at_headings() {
        let note = "CHIEF COMPLAINT: cough\n\nFamily History:\nbreast cancer\nALLERGIES:  penicillin (hives)\nDIET NOTES: \
                    obesity.\nPMH: gout. Social History: asthma\nAssessment and Plan\n1. No anemia";
        let mentions = ["cough", "breast cancer", "hives", "obesity", "gout", "asthma", "anemia"];
        assert_eq!(
            assertions(&ContextRules::builtin(), note, &mentions),
            [
                "present by -, in chief_complaint",
                "associated_with_someone_else by Family History, in family_history",
                "conditional by ALLERGIES, in allergies",
                // A heading in capitals that no rule knows ends the section before.
                "present by -, in -",
                "present by PMH, in past_medical_history",
                "present by -, in social_history",
                "absent by No, in assessment_and_plan",
            ]
        );
    }

    #[test]
    fn a_users_file_extends_or_replaces() {
        let own = "[[rule]]\nsays = 'absent'\nplace = 'after'\nsource = 'own'\ncues = ['is a ghost']\n[[rule]]\n\
                   says = 'nothing'\nsource = 'own'\ncues = ['denies']";
        let text = "Fever is a ghost. Denies cough. No rash.";
        let mentions = ["Fever", "cough", "rash"];
        let of = |rules: &ContextRules| -> Vec<String> {
            let all = assertions(rules, text, &mentions);
            all.into_iter().map(|row| row.split(' ').next().unwrap_or_default().to_owned()).collect()
        };
        let with = |assertion: &str| ContextRules::with(Some(assertion), None).expect("rules");
        assert_eq!(of(&ContextRules::builtin()), ["present", "absent", "absent"]);
        assert_eq!(of(&with(own)), ["absent", "present", "absent"]);
        assert_eq!(of(&with(&format!("replace = true\n{own}"))), ["absent", "present", "present"]);
        let sections = "[[section]]\nname = 'pets'\nheadings = ['pets']\nassertion = 'absent'";
        let rules = ContextRules::with(None, Some(sections)).expect("rules");
        assert_eq!(assertions(&rules, "Pets: fever", &["fever"]), ["absent by Pets, in pets"]);
        for (wrong, message) in [
            ("x = 1", "cannot be read"),
            ("[[rule]]\nsays = 'absent'\nsource = ''\ncues = ['no']", "no source"),
            ("[[rule]]\nsays = 'absent'\nsource = 'own'\ncues = ['<kind>']", "<kind>"),
        ] {
            let error = ContextRules::with(Some(wrong), None).expect_err(wrong).to_string();
            assert!(error.contains(message), "{error}");
        }
    }

    static BUILTIN: LazyLock<ContextRules> = LazyLock::new(ContextRules::builtin);

    proptest! {
        #[test]
        fn any_text_and_any_spans_have_an_assertion(
            parts in proptest::collection::vec("\\PC{0,6}|no |denies |if |mother |\n|; |: |\\(|\\)|history of |\\? |- ", 0..24),
            spans in proptest::collection::vec((0usize..80, 0usize..12), 0..6),
        ) {
            let document = Document::new("1", parts.concat());
            let index = document.char_index();
            let spans: Vec<Span> = spans.into_iter().map(|(start, len)| Span::new(start, start + len)).collect();
            let found = BUILTIN.of(&document, &spans);
            prop_assert_eq!(found.len(), spans.len());
            for context in found {
                prop_assert!(context.assertion.cue.is_none_or(|cue| !cue.is_empty() && index.bytes(cue).is_some()));
            }
        }
    }
}
