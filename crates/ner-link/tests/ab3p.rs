//! Definitions in the 1,250 abstracts that Ab3P was measured on (Sohn et al. 2008). Needs `MEDNER_CORPORA`, the folder
//! that contains `ab3p`.
//!
//! `cargo test --release -p ner-link --test ab3p -- --ignored --nocapture` prints the scores of the whole and of
//! two halves, the speed, and what is missed, by kind.

use ner_document::{CharIndex, Span};
use ner_link::{definitions, uses};
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::PathBuf;
use std::time::Instant;

/// What Ab3P published for this corpus.
const PRECISION: f64 = 0.965;
const RECALL: f64 = 0.832;

/// A short form and its long form.
type Pair = (String, String);

/// An abstract with the pairs that annotators found in it.
#[derive(Default)]
struct Abstract {
    id: String,
    text: String,
    pairs: BTreeSet<Pair>,
}

fn corpus() -> Option<Vec<Abstract>> {
    match std::env::var_os("MEDNER_CORPORA") {
        Some(folder) => {
            let path = PathBuf::from(folder).join("ab3p/MED1250_labeled");
            Some(abstracts(&std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path:?}: {error}"))))
        }
        None => {
            // Written directly: the test harness hides what a passing test prints.
            let message = "SKIPPED: MEDNER_CORPORA is not set, so ab3p was not tested\n";
            std::io::stderr().write_all(message.as_bytes()).expect("stderr");
            None
        }
    }
}

/// Reads blocks of a line with the id, lines of text, and lines `  short|long`. Two abstracts contain a blank line, after
/// which their id is repeated.
fn abstracts(file: &str) -> Vec<Abstract> {
    let mut abstracts: Vec<Abstract> = Vec::new();
    for line in file.lines() {
        if !line.is_empty() && line.bytes().all(|byte| byte.is_ascii_digit()) {
            if abstracts.last().is_none_or(|last| last.id != line) {
                abstracts.push(Abstract { id: line.to_owned(), ..Abstract::default() });
            }
            continue;
        }
        let Some(last) = abstracts.last_mut() else { continue };
        match line.strip_prefix("  ").and_then(|pair| pair.split_once('|')) {
            Some((short, long)) => _ = last.pairs.insert((short.trim().to_owned(), long.trim().to_owned())),
            None => last.text.extend([line, "\n"]),
        }
    }
    abstracts
}

/// Distinct pairs that are right, wrong and missed.
#[derive(Clone, Copy, Default)]
struct Counts {
    right: usize,
    wrong: usize,
    missed: usize,
}

impl Counts {
    fn of<'a>(abstracts: impl Iterator<Item = &'a Abstract>) -> Self {
        let mut counts = Self::default();
        for one in abstracts {
            let found = found(one);
            counts.right += found.intersection(&one.pairs).count();
            counts.wrong += found.difference(&one.pairs).count();
            counts.missed += one.pairs.difference(&found).count();
        }
        counts
    }

    fn precision(self) -> f64 {
        self.right as f64 / (self.right + self.wrong) as f64
    }

    fn recall(self) -> f64 {
        self.right as f64 / (self.right + self.missed) as f64
    }
}

fn found(one: &Abstract) -> BTreeSet<Pair> {
    let index = CharIndex::new(&one.text);
    let words = |span: Span| index.slice(&one.text, span).expect("inside the text").to_owned();
    definitions(&one.text).into_iter().map(|found| (words(found.short), words(found.long))).collect()
}

#[test]
fn precision_and_recall_reach_those_of_ab3p() {
    let Some(abstracts) = corpus() else { return };
    let counts = Counts::of(abstracts.iter());
    assert_eq!((abstracts.len(), counts.right + counts.missed), (1250, 1203));
    let (precision, recall) = (counts.precision(), counts.recall());
    assert!(precision >= PRECISION && recall >= RECALL, "precision {precision:.4}, recall {recall:.4}");
}

/// Why a pair was missed, as far as the forms and the text show.
fn kind(one: &Abstract, (short, long): &Pair, found: &BTreeSet<Pair>) -> &'static str {
    let folded = long.to_lowercase();
    let mut rest = folded.chars();
    let in_order = short.to_lowercase().chars().filter(|c| c.is_alphabetic()).all(|c| rest.any(|other| other == c));
    match () {
        () if !one.text.contains(short.as_str()) || !one.text.contains(long.as_str()) => "not in the text as written",
        () if found.iter().any(|(other, _)| other == short) => "other ends of the long form",
        () if short.chars().count() == 1 => "one letter",
        () if !in_order => "letters that the long form lacks or has in another order",
        () if one.text.contains(&format!("{short} ({long}")) => "long form in the bracket",
        () if !one.text.contains(&format!("{long} ({short}")) => "words or no bracket between the forms",
        () if !long.contains([' ', '-']) => "letters inside one word",
        () => "letters inside words, or words without a letter",
    }
}

#[test]
#[ignore = "prints a report"]
#[expect(clippy::print_stderr, reason = "the report")]
fn misses_by_kind() {
    let Some(abstracts) = corpus() else { return };
    let report = |name: &str, counts: Counts| {
        let Counts { right, wrong, missed } = counts;
        let (precision, recall) = (counts.precision(), counts.recall());
        eprintln!(
            "{name}: precision {precision:.4}, recall {recall:.4} ({right} right, {wrong} wrong, {missed} missed)"
        );
    };
    report("all", Counts::of(abstracts.iter()));
    report("even", Counts::of(abstracts.iter().step_by(2)));
    report("odd", Counts::of(abstracts.iter().skip(1).step_by(2)));
    let start = Instant::now();
    let found_uses: usize = abstracts.iter().map(|one| uses(&one.text, &definitions(&one.text)).len()).sum();
    let megabytes = abstracts.iter().map(|one| one.text.len()).sum::<usize>() as f64 / 1e6;
    let speed = megabytes / start.elapsed().as_secs_f64();
    eprintln!("{found_uses} uses; {speed:.0} MB/s for definitions and uses on one core");
    let mut kinds: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for one in &abstracts {
        let found = found(one);
        for pair in one.pairs.difference(&found) {
            kinds.entry(kind(one, pair, &found)).or_default().push(format!("{} {pair:?}", one.id));
        }
        for (short, long) in found.difference(&one.pairs) {
            let others: Vec<&str> =
                one.pairs.iter().filter(|(other, _)| other == short).map(|(_, long)| long.as_str()).collect();
            kinds.entry("WRONG").or_default().push(format!("{} {short:?} {long:?}, not {others:?}", one.id));
        }
    }
    for (kind, pairs) in kinds {
        eprintln!("{kind}: {}\n    {}", pairs.len(), pairs.join("\n    "));
    }
}
