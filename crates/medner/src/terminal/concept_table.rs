//! Tables of the scores of concepts.

use super::score_table::{self, add_row, percent, range, table};
use ner_eval::{ConceptAccuracies, ConceptAccuracy, ConceptScores, ValueScores};
use ner_experiment::linking::{Ceiling, LinkScores};
use std::io::{self, Write};

/// Writes the scores of predicted concepts.
///
/// # Errors
/// If `out` cannot be written.
pub fn print(concepts: &ConceptScores, out: &mut impl Write) -> io::Result<()> {
    print_documents(concepts, out)?;
    writeln!(out, "\nMentions whose span and type are right: the share whose ids are right, in percent\n")?;
    print_accuracies(concepts, None, out)
}

/// Writes the scores of linking a corpus.
///
/// # Errors
/// If `out` cannot be written.
pub fn print_links(scores: &LinkScores, out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "\nConcepts of gold mentions: the share whose ids are right, in percent\n")?;
    print_accuracies(&scores.gold_mentions, Some(&scores.ceiling), out)?;
    let LinkScores { threshold, .. } = scores;
    writeln!(out, "ceiling: mentions whose ids the vocabulary holds; links have a score of at least {threshold}")?;
    print_documents(&scores.predicted_mentions, out)
}

fn print_documents(concepts: &ConceptScores, out: &mut impl Write) -> io::Result<()> {
    let ValueScores { scores, intervals } = &concepts.documents;
    writeln!(out, "\nConcepts of documents (distinct ids of predicted mentions, wherever they are), in percent\n")?;
    score_table::print_by("types", scores, Some(intervals), out)
}

fn print_accuracies(concepts: &ConceptScores, ceiling: Option<&Ceiling>, out: &mut impl Write) -> io::Result<()> {
    let ConceptScores { documents, mentions, at_k } = concepts;
    let interval = format!("{} % interval", 100.0 * documents.intervals.resampling.level);
    let within = at_k.as_ref().map(|at_k| format!("among {}", at_k.k)).unwrap_or_default();
    let mut header = vec!["", "accuracy", &interval];
    if at_k.is_some() {
        header.extend([within.as_str(), &interval]);
    }
    if ceiling.is_some() {
        header.push("ceiling");
    }
    header.push("mentions");
    let mut table = table(&header);
    let mut add = |name: &str, of: fn(&ConceptAccuracies, &str) -> Option<ConceptAccuracy>| {
        let Some(best) = of(mentions, name) else { return };
        let shown = |one: ConceptAccuracy| [percent(one.accuracy), range(one.accuracy_interval)];
        let mut row = vec![name.to_owned()];
        row.extend(shown(best));
        if let Some(within) = at_k.as_ref().and_then(|at_k| of(&at_k.mentions, name)) {
            row.extend(shown(within));
        }
        if let Some(ceiling) = ceiling {
            row.push(percent(ceiling.per_type.get(name).unwrap_or(&ceiling.overall).share()));
        }
        row.push(best.matched.to_string());
        add_row(&mut table, row);
    };
    for name in mentions.accuracy_per_type.keys() {
        add(name, |all, name| all.accuracy_per_type.get(name).copied());
    }
    add("all", |all, _| Some(all.overall));
    writeln!(out, "{table}")
}
