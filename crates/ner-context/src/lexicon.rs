//! Cues: the phrases that say something of a mention, and where they stand.

use crate::words::{Word, fold, words};
use ner_document::Confidence;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};

/// Whether a note says that the patient has a problem: the values of the 2010 i2b2/VA challenge (Uzuner et al. 2011).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AssertionValue {
    /// The patient has it, or had it.
    Present,
    /// The patient does not have it.
    Absent,
    /// It is uncertain whether the patient has it.
    Possible,
    /// The patient has it only under certain circumstances.
    Conditional,
    /// The patient may develop it.
    Hypothetical,
    /// Somebody else has it.
    AssociatedWithSomeoneElse,
}

impl AssertionValue {
    /// All values.
    pub const ALL: [Self; 6] = [
        Self::Present,
        Self::Absent,
        Self::Possible,
        Self::Conditional,
        Self::Hypothetical,
        Self::AssociatedWithSomeoneElse,
    ];

    /// Its name in `.ast` files.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Present => "present",
            Self::Absent => "absent",
            Self::Possible => "possible",
            Self::Conditional => "conditional",
            Self::Hypothetical => "hypothetical",
            Self::AssociatedWithSomeoneElse => "associated_with_someone_else",
        }
    }

    /// The value with this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|value| value.name() == name)
    }
}

impl std::fmt::Display for AssertionValue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// What a cue says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Says {
    /// Explicitly present, against a cue that is farther away.
    Present,
    Absent,
    Possible,
    Conditional,
    Hypothetical,
    AssociatedWithSomeoneElse,
    /// In the past.
    Historical,
    /// Nothing: the phrase looks like a cue and is none (a pseudo cue).
    Nothing,
    /// The scope of cues before and behind ends here.
    End,
}

impl Says {
    /// Its value; `None` for a phrase that gives no value.
    pub const fn value(self) -> Option<AssertionValue> {
        Some(match self {
            Self::Present => AssertionValue::Present,
            Self::Absent => AssertionValue::Absent,
            Self::Possible => AssertionValue::Possible,
            Self::Conditional => AssertionValue::Conditional,
            Self::Hypothetical => AssertionValue::Hypothetical,
            Self::AssociatedWithSomeoneElse => AssertionValue::AssociatedWithSomeoneElse,
            Self::Historical | Self::Nothing | Self::End => return None,
        })
    }

    /// Whether it says if the problem exists. Of such cues the nearest decides.
    pub const fn is_certainty(self) -> bool {
        matches!(self, Self::Present | Self::Absent | Self::Possible)
    }
}

/// Where a cue stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Place {
    /// Before the mentions that it is about.
    Before,
    /// Behind them.
    After,
    /// Inside them.
    Inside,
}

/// A rule of the file: phrases that say the same.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Rule {
    pub says: Says,
    /// Before the mentions by default; on both sides for phrases that say nothing or end a scope.
    place: Option<Place>,
    /// The phrases; `(a|b)` are alternatives.
    pub cues: Vec<String>,
    /// Most words between cue and mention; any number in the same sentence if absent.
    pub within: Option<usize>,
    /// Words that end the scope of these cues only.
    #[serde(default)]
    pub ends_at: Vec<String>,
    /// Words at the beginning of a sentence in which these cues say nothing.
    #[serde(default)]
    pub unless: Vec<String>,
    /// Whether these are cues only at the beginning of a sentence.
    #[serde(default)]
    pub first: bool,
    /// Whether no other cue ends their scope.
    #[serde(default)]
    pub far: bool,
    /// Confidence of a decision by an adjacent cue.
    #[serde(default = "usual_confidence")]
    pub confidence: Confidence,
    /// The publication that describes the phenomenon, or `own`.
    pub source: String,
}

impl Rule {
    /// Whether its cues stand at this place.
    pub fn is_at(&self, place: Place) -> bool {
        let is_anywhere = matches!(self.says, Says::Nothing | Says::End) && place != Place::Inside;
        self.place.map_or(place == Place::Before || is_anywhere, |own| own == place)
    }
}

const USUAL_CONFIDENCE: f32 = 0.9;

fn usual_confidence() -> Confidence {
    Confidence::new(USUAL_CONFIDENCE).expect("a number from 0 to 1")
}

/// A file of rules.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RuleFile {
    /// Whether these rules replace the built-in ones; by default they come on top.
    #[serde(default)]
    pub replace: bool,
    /// Lists of words by name.
    #[serde(default)]
    pub words: BTreeMap<String, Vec<String>>,
    #[serde(default, rename = "rule")]
    pub rules: Vec<Rule>,
}

/// Classes of words in cues that need no list.
const CLASSES: [&str; 4] = ["<word>", "<number>", "<year>", "<ing>"];
const ANY: u32 = 0;
const NUMBER: u32 = 1;
const YEAR: u32 = 2;
const ING: u32 = 3;
/// Every word that is in no cue.
pub(crate) const UNKNOWN: u32 = u32::MAX;

/// Rules, compiled: a trie over words.
#[derive(Clone, Debug, Default)]
pub(crate) struct Lexicon {
    pub rules: Vec<Rule>,
    /// Ids of the words in cues and in `ends_at`, and of the lists as `<name>`.
    ids: HashMap<String, u32>,
    /// The lists that a word is in, by its id.
    lists: HashMap<u32, Vec<u32>>,
    nodes: Vec<Node>,
    /// For each rule, the ids of its `ends_at`, and of its `unless`.
    ends_at: Vec<Vec<u32>>,
    unless: Vec<Vec<u32>>,
}

#[derive(Clone, Debug, Default)]
struct Node {
    next: HashMap<u32, usize>,
    /// Rules of the phrase that ends here.
    rules: Vec<usize>,
}

impl Lexicon {
    /// Compiles rules. Of rules with the same phrase at the same place, the last counts.
    ///
    /// # Errors
    /// If a rule has no source or no cues, or a phrase has no words, names a list that there is none of, or has too many
    /// alternatives.
    pub fn new(lists: &BTreeMap<String, Vec<String>>, rules: Vec<Rule>) -> Result<Self, String> {
        let classes = CLASSES.iter().zip(0..).map(|(name, id)| ((*name).to_owned(), id));
        let mut lexicon = Self { ids: classes.collect(), nodes: vec![Node::default()], ..Self::default() };
        for (name, words) in lists {
            let list = lexicon.id_of(&format!("<{name}>"));
            for word in words {
                let word = lexicon.id_of(&fold(word));
                lexicon.lists.entry(word).or_default().push(list);
            }
        }
        for (at, rule) in rules.iter().enumerate() {
            if rule.source.is_empty() {
                return Err(format!("the rule of the cue `{}` has no source", rule.cues.concat()));
            }
            if rule.cues.is_empty() {
                return Err(format!("rule {} has no cues", at + 1));
            }
            for cue in &rule.cues {
                if alternatives_of(cue) > MOST_ALTERNATIVES {
                    return Err(format!(
                        "the cue `{cue}` has more than {MOST_ALTERNATIVES} alternatives; write several"
                    ));
                }
                for phrase in alternatives(cue) {
                    let fault = |what| format!("the cue `{cue}` {what}");
                    lexicon.insert(&phrase, at).map_err(fault)?;
                }
            }
            let mut ids_of = |words: &[String]| words.iter().map(|word| lexicon.id_of(&fold(word))).collect();
            let (ends_at, unless) = (ids_of(&rule.ends_at), ids_of(&rule.unless));
            lexicon.ends_at.push(ends_at);
            lexicon.unless.push(unless);
        }
        Ok(Self { rules, ..lexicon })
    }

    fn id_of(&mut self, word: &str) -> u32 {
        let next = self.ids.len() as u32;
        *self.ids.entry(word.to_owned()).or_insert(next)
    }

    fn insert(&mut self, phrase: &str, rule: usize) -> Result<(), &'static str> {
        // A short phrase may also be written with hyphens (`rule-out`).
        let words = split(phrase);
        let is_short =
            (2..=3).contains(&words.len()) && words.iter().all(|word| word.starts_with(char::is_alphanumeric));
        let hyphenated = words.iter().flat_map(|word| ["-", word]).skip(1).map(str::to_owned).collect();
        for form in [Some(words), is_short.then_some(hyphenated)].into_iter().flatten() {
            let mut node = 0;
            for word in form {
                let is_list = word.len() > 1 && word.starts_with('<');
                if is_list && !self.ids.contains_key(&word) {
                    return Err("names a list that is not in [words]");
                }
                let id = self.id_of(&word);
                let new = self.nodes.len();
                node = *self.nodes[node].next.entry(id).or_insert(new);
                if node == new {
                    self.nodes.push(Node::default());
                }
            }
            if node == 0 {
                return Err("has no words");
            }
            self.nodes[node].rules.push(rule);
        }
        Ok(())
    }

    /// The id of each word.
    pub fn ids(&self, words: &[Word]) -> Vec<u32> {
        let mut lower = String::new();
        let mut id = |word: &Word| {
            let text = if word.text.bytes().all(|b| b.is_ascii_lowercase()) {
                word.text
            } else {
                lower.clear();
                lower.push_str(&fold(word.text));
                &lower
            };
            // "Sister's" is the sister.
            match self.ids.get(text).or_else(|| self.ids.get(text.strip_suffix("'s")?)) {
                Some(&id) => id,
                None if is_year(text) => YEAR,
                None if text.bytes().all(|b| b.is_ascii_digit()) => NUMBER,
                None => UNKNOWN,
            }
        };
        words.iter().map(&mut id).collect()
    }

    /// The longest phrase that begins with the first of `ids` and has a rule that `applies` to it, given its number of
    /// words: that number, and the last such rule.
    pub fn longest(
        &self,
        ids: &[u32],
        words: &[Word],
        applies: impl Fn(usize, usize) -> bool + Copy,
    ) -> Option<(usize, usize)> {
        self.longest_from(0, ids, words, 0, applies)
    }

    fn longest_from(
        &self,
        node: usize,
        ids: &[u32],
        words: &[Word],
        length: usize,
        applies: impl Fn(usize, usize) -> bool + Copy,
    ) -> Option<(usize, usize)> {
        let node = &self.nodes[node];
        if let Some((&id, rest)) = ids.split_first() {
            let step = |id: u32| {
                let next = *node.next.get(&id)?;
                self.longest_from(next, rest, &words[1..], length + 1, applies)
            };
            let word = words[0];
            // A word may be several things: any word, a word of lists, itself. Of equally long phrases the last counts.
            let is_number = word.text.bytes().all(|b| b.is_ascii_digit());
            let is_ing = word.text.len() > 4 && word.text.ends_with("ing");
            let classes = [(word.is_word(), ANY), (is_ing, ING), (is_number, NUMBER)];
            let classes = classes.into_iter().filter(|(is_it, _)| *is_it).map(|(_, id)| id);
            let of_lists = self.lists.get(&id).into_iter().flatten().copied();
            let all = classes.chain(of_lists).chain([id]);
            if let Some(found) = all.filter_map(step).max_by_key(|(length, _)| *length) {
                return Some(found);
            }
        }
        node.rules.iter().rev().find(|&&rule| applies(rule, length)).map(|&rule| (length, rule))
    }

    /// Whether the first words of a sentence take the effect of a rule's cues.
    pub fn is_off(&self, rule: usize, sentence: &[u32]) -> bool {
        sentence.first().is_some_and(|id| self.unless[rule].contains(id))
    }

    /// Whether the word with this id ends the scope of a rule's cues.
    pub fn ends(&self, rule: usize, id: u32) -> bool {
        self.ends_at[rule].contains(&id)
    }
}

fn is_year(text: &str) -> bool {
    text.len() == 4 && (text.starts_with("19") || text.starts_with("20")) && text.bytes().all(|b| b.is_ascii_digit())
}

/// The words of a phrase in a file; a `<name>` is one.
fn split(phrase: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut rest = phrase;
    while let Some((open, close)) = rest.find('<').and_then(|open| Some((open, open + rest[open..].find('>')?))) {
        found.extend(words(&rest[..open]).iter().map(|word| word.folded()));
        found.push(rest[open..=close].to_owned());
        rest = &rest[close + 1..];
    }
    found.extend(words(rest).iter().map(|word| word.folded()));
    found
}

/// Most alternatives of a cue.
const MOST_ALTERNATIVES: usize = 1000;

/// At least the number of phrases of a cue.
fn alternatives_of(cue: &str) -> usize {
    let group = |group: &str| group.split(')').next().map_or(0, |inner| inner.matches('|').count()) + 1;
    cue.split('(').skip(1).map(group).fold(1, usize::saturating_mul)
}

/// All phrases of a cue: `no (sign|signs) of` is two. Parentheses without alternatives are themselves.
fn alternatives(cue: &str) -> Vec<String> {
    let mut phrases = vec![String::new()];
    let mut rest = cue;
    let group = |text: &str, open: usize| {
        let inner = &text[open + 1..];
        let close = inner.find(['(', ')']).filter(|&at| inner[at..].starts_with(')'))?;
        inner[..close].contains('|').then_some(open + 1 + close)
    };
    while let Some((open, close)) = rest.match_indices('(').find_map(|(open, _)| Some((open, group(rest, open)?))) {
        let extended = |phrase: &String| -> Vec<String> {
            rest[open + 1..close].split('|').map(|choice| format!("{phrase}{}{choice}", &rest[..open])).collect()
        };
        phrases = phrases.iter().flat_map(extended).collect();
        rest = &rest[close + 1..];
    }
    phrases.iter_mut().for_each(|phrase| phrase.push_str(rest));
    phrases
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(says: Says, place: Place, cues: &[&str]) -> Rule {
        Rule {
            says,
            place: Some(place),
            cues: cues.iter().map(|&cue| cue.into()).collect(),
            within: None,
            ends_at: vec![],
            unless: vec![],
            first: false,
            far: false,
            confidence: usual_confidence(),
            source: "own".into(),
        }
    }

    #[test]
    fn the_longest_phrase_is_found_in_any_of_its_forms() {
        let lexicon = Lexicon::new(
            &BTreeMap::new(),
            vec![
                rule(Says::Absent, Place::Before, &["no", "no (evidence|sign|signs) of", "(-)"]),
                rule(Says::Historical, Place::After, &["in <year>", "<number> years ago", "no"]),
                rule(Says::Possible, Place::Before, &["rule <word> out", "rule out", "r/o"]),
            ],
        )
        .expect("a lexicon");
        let check = |text: &str, expected: Option<(usize, usize)>| {
            let words = words(text);
            let found = lexicon.longest(&lexicon.ids(&words), &words, |_, _| true);
            assert_eq!(found, expected, "{text}");
        };
        check("No signs of it", Some((3, 0)));
        check("no sign", Some((1, 1)));
        check("no-sign-of", Some((5, 0)));
        check("(-) fever", Some((3, 0)));
        check("in 2004", Some((2, 1)));
        check("in 2204", None);
        check("12 years ago", Some((3, 1)));
        check("rule him out", Some((3, 2)));
        check("Rule-out PE", Some((3, 2)));
        check("R/O", Some((3, 2)));
        check("never", None);
    }

    #[test]
    fn alternatives_are_written_out() {
        let check = |cue: &str, expected: &[&str]| assert_eq!(alternatives(cue), expected);
        check("no", &["no"]);
        check("no (a|b) of( c|)", &["no a of c", "no a of", "no b of c", "no b of"]);
        check("(-)", &["(-)"]);
        check("( (no|none) )", &["( no )", "( none )"]);
    }

    #[test]
    fn a_later_rule_takes_a_phrase_over_and_faults_are_named() {
        let lexicon = Lexicon::new(
            &BTreeMap::new(),
            vec![rule(Says::Absent, Place::Before, &["no"]), rule(Says::Nothing, Place::Before, &["no"])],
        )
        .expect("a lexicon");
        let words = words("no");
        assert_eq!(lexicon.longest(&lexicon.ids(&words), &words, |_, _| true), Some((1, 1)));
        let error = Lexicon::new(&BTreeMap::new(), vec![rule(Says::Absent, Place::Before, &["(a|)"])])
            .expect_err("an empty phrase");
        assert_eq!(error, "the cue `(a|)` has no words");
        let error = Lexicon::new(&BTreeMap::new(), vec![rule(Says::Absent, Place::Before, &["no <kin>"])])
            .expect_err("no list");
        assert_eq!(error, "the cue `no <kin>` names a list that is not in [words]");
    }
}
