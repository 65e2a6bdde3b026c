//! Tables of scores.

use comfy_table::{Cell, CellAlignment, ContentArrangement, presets};
use ner_data::shown;
use ner_eval::{Interval, Intervals, Score, ScoreIntervals, Scores};
use std::fmt;
use std::io::{self, Write};

/// The last line of a table with an undefined score.
pub const UNDEFINED_LINE: &str = "– is undefined: nothing was predicted, or there is nothing to find.";

/// Printed for an undefined score: nothing was predicted, or there is nothing to find.
const UNDEFINED: &str = "–";

/// Writes the scores in percent: a row for each type and three averages, with the bootstrap interval of each F1 if
/// `intervals` are given. Undefined scores are `–`, never 0.
///
/// # Errors
/// If `out` cannot be written.
pub fn print(scores: &Scores, intervals: Option<&Intervals>, out: &mut impl Write) -> io::Result<()> {
    print_by("types", scores, intervals, out)
}

/// The same for scores by something else than types: `rows` is the plural of what a row is.
///
/// # Errors
/// If `out` cannot be written.
pub fn print_by(rows: &str, scores: &Scores, intervals: Option<&Intervals>, out: &mut impl Write) -> io::Result<()> {
    let interval = intervals.map(|intervals| format!("{} % interval", 100.0 * intervals.resampling.level));
    let mut header = vec!["", "precision", "recall", "F1", "support"];
    if let Some(interval) = &interval {
        header.insert(4, interval);
    }
    let mut table = table(&header);
    let mut undefined = false;
    let mut add = |name: &str, score: &Score, interval: Option<ScoreIntervals>| {
        undefined |= [score.precision, score.recall, score.f1].contains(&None);
        let mut row = vec![name.to_owned()];
        row.extend([score.precision, score.recall, score.f1].map(percent));
        if intervals.is_some() {
            row.push(range(interval.and_then(|interval| interval.f1)));
        }
        row.push(score.support.to_string());
        add_row(&mut table, row);
    };
    for (entity_type, score) in &scores.per_type {
        add(entity_type, score, intervals.and_then(|intervals| intervals.per_type.get(entity_type)).copied());
    }
    add("all (micro)", &scores.overall, intervals.map(|intervals| intervals.overall));
    add(&format!("mean of {rows} (macro)"), &scores.macro_, intervals.map(|intervals| intervals.macro_));
    add("mean by support (weighted)", &scores.weighted, intervals.map(|intervals| intervals.weighted));
    writeln!(out, "{table}")?;
    if undefined {
        writeln!(out, "{UNDEFINED_LINE}")?;
    }
    Ok(())
}

/// Formats a share in percent.
pub fn percent(share: Option<f64>) -> String {
    share.map_or_else(|| UNDEFINED.to_owned(), |share| format!("{:.2}", 100.0 * share))
}

/// Formats an interval in percent.
pub fn range(interval: Option<Interval>) -> String {
    let range = |Interval { low, high, .. }| format!("{:.2} to {:.2}", 100.0 * low, 100.0 * high);
    interval.map_or_else(|| UNDEFINED.to_owned(), range)
}

/// A table in Markdown style, wrapped to the width of a terminal and not wrapped elsewhere. Its cells stay on their line
/// and cannot steer the terminal: types, ids and names of models come from foreign files.
pub struct Table(comfy_table::Table);

/// An empty table.
pub fn table(header: &[&str]) -> Table {
    let mut table = comfy_table::Table::new();
    table.load_preset(presets::ASCII_MARKDOWN).set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(header.iter().map(|name| shown(name)));
    Table(table)
}

impl Table {
    /// Adds a row of texts.
    pub fn add_row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.0.add_row(cells.into_iter().map(|cell| shown(&cell).into_owned()));
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Adds a row: the first cell is a name, the others are numbers.
pub fn add_row(table: &mut Table, row: Vec<String>) {
    let align = |(at, text): (usize, String)| {
        Cell::new(shown(&text)).set_alignment(if at == 0 { CellAlignment::Left } else { CellAlignment::Right })
    };
    table.0.add_row(row.into_iter().enumerate().map(align));
}

#[cfg(test)]
mod tests {
    use super::*;
    use ner_eval::{Counts, DocumentCounts, Resampling, bootstrap_intervals};
    use std::collections::BTreeMap;

    fn printed(scores: &Scores, intervals: Option<&Intervals>) -> String {
        let mut out = Vec::new();
        print(scores, intervals, &mut out).expect("memory");
        String::from_utf8(out).expect("UTF-8")
    }

    #[test]
    fn undefined_is_never_zero() {
        let by_type = BTreeMap::from([
            ("A".to_owned(), Counts { tp: 2, fp: 1, fn_: 1 }),
            ("B".to_owned(), Counts { tp: 0, fp: 0, fn_: 3 }),
        ]);
        let scores = Scores::from(by_type.clone());
        let expected = "\
|                            | precision | recall | F1    | support |
|----------------------------|-----------|--------|-------|---------|
| A                          |     66.67 |  66.67 | 66.67 |       3 |
| B                          |         – |   0.00 |  0.00 |       3 |
| all (micro)                |     66.67 |  33.33 | 44.44 |       6 |
| mean of types (macro)      |     33.33 |  33.33 | 33.33 |       6 |
| mean by support (weighted) |     33.33 |  33.33 | 33.33 |       6 |
– is undefined: nothing was predicted, or there is nothing to find.
";
        assert_eq!(printed(&scores, None), expected);

        let documents = ["1", "2"].map(|id| DocumentCounts { id: id.to_owned(), by_type: by_type.clone() });
        let intervals = bootstrap_intervals(&documents, &Resampling { resamples: 10, ..Resampling::default() });
        let with_intervals = printed(&scores, Some(&intervals));
        assert!(with_intervals.contains("| F1    | 95 % interval  | support |"), "{with_intervals}");
        assert!(with_intervals.contains("| 44.44 | 44.44 to 44.44 |       6 |"), "{with_intervals}");
    }
}
