//! Scores of assertions by rules, by a classifier, and by both together.

use super::score_table::{UNDEFINED_LINE, add_row, percent, range, table};
use ner_eval::{Score, ScoreIntervals};
use ner_experiment::assertion::{RULES_ALONE, Systems};
use std::collections::BTreeSet;
use std::io::{self, Write};

/// Writes the scores in percent: for each value and two averages a row for the rules, the classifier, and both.
///
/// # Errors
/// If `out` cannot be written.
pub fn print(systems: &Systems, out: &mut impl Write) -> io::Result<()> {
    let Systems { rules_weight, rules, classifier, combined } = systems;
    let all = [("rules", rules), ("classifier", classifier), ("combined", combined)];
    let interval = format!("{} % interval", 100.0 * combined.intervals.resampling.level);
    let mut table = table(&["", "precision", "recall", "F1", &interval, "support"]);
    let mut undefined = false;
    let mut add = |name: &str, system: &str, score: &Score, interval: Option<ScoreIntervals>| {
        let shares = [score.precision, score.recall, score.f1];
        undefined |= shares.contains(&None);
        let numbers = [range(interval.and_then(|interval| interval.f1)), score.support.to_string()];
        add_row(
            &mut table,
            [format!("{name}: {system}")].into_iter().chain(shares.map(percent)).chain(numbers).collect(),
        );
    };
    let values: BTreeSet<&String> = all.iter().flat_map(|(_, system)| system.scores.per_type.keys()).collect();
    for value in values {
        for (name, system) in all {
            // A value that only another of them says.
            let nothing = Score { precision: None, recall: None, f1: None, support: 0 };
            let score = system.scores.per_type.get(value).unwrap_or(&nothing);
            add(value, name, score, system.intervals.per_type.get(value).copied());
        }
    }
    for (name, system) in all {
        add("all (micro)", name, &system.scores.overall, Some(system.intervals.overall));
    }
    for (name, system) in all {
        add("mean of values (macro)", name, &system.scores.macro_, Some(system.intervals.macro_));
    }
    writeln!(out, "{table}")?;
    if undefined {
        writeln!(out, "{UNDEFINED_LINE}")?;
    }
    match *rules_weight {
        0.0 => writeln!(out, "combined: the classifier alone, as dev chose"),
        RULES_ALONE => writeln!(out, "combined: the rules alone for every value of the corpus, as dev chose"),
        weight => {
            writeln!(out, "combined: the value of the rules gets {weight} added to its log-probability, as dev chose")
        }
    }
}
