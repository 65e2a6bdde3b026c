//! The page about a simulation of active learning.

use crate::ReportError;
use crate::page::{Block, Page, Row, Section, Table, Value};
use crate::plot::{LINES, Line, lines};

/// Contents of the page.
pub struct ActivePage<'r> {
    /// Name of the corpus.
    pub title: &'r str,
    /// Whether it is a synthetic sample.
    pub synthetic: bool,
    /// Origin of the figures: names and values.
    pub provenance: Vec<(&'static str, String)>,
    /// Learning curves. If there are more than one plot has colours for, the first is drawn in each plot.
    pub curves: Vec<Curve>,
    /// Score with everything annotated.
    pub full: Option<f64>,
    /// Tables: the score after each round, and the savings.
    pub tables: Vec<PlainTable>,
    /// Version of medner.
    pub version: &'r str,
}

/// A learning curve.
pub struct Curve {
    /// Name of the strategy.
    pub name: String,
    /// Words, mean score, half the width of its interval.
    pub points: Vec<(f64, f64, Option<f64>)>,
}

/// A table of text; the first cell of a row is its heading.
pub struct PlainTable {
    /// Caption.
    pub caption: String,
    /// Column headings.
    pub header: Vec<String>,
    /// The rows.
    pub rows: Vec<Vec<String>>,
}

impl ActivePage<'_> {
    /// The page as HTML.
    ///
    /// # Errors
    /// If a plot cannot be drawn.
    pub fn html(self) -> Result<String, ReportError> {
        let line =
            |(colour, curve): (usize, &Curve)| Line { name: curve.name.clone(), colour, points: curve.points.clone() };
        let mut plots = Vec::new();
        if let Some((first, others)) = self.curves.split_first() {
            let groups: Vec<&[Curve]> = if others.is_empty() { vec![&[]] } else { others.chunks(LINES - 1).collect() };
            for group in groups {
                let drawn: Vec<Line> = [first].into_iter().chain(group).enumerate().map(line).collect();
                plots.push(lines(
                    "F1 by annotated words; the horizontal line is F1 with all words",
                    &drawn,
                    self.full,
                )?);
            }
        }
        let text = "Each point is the mean over seeds of models trained from scratch on the annotated words, with its \
                    95 % interval by Student's t. All strategies of a seed start from the same sentences.";
        let tables = self.tables.into_iter().map(|table| {
            let row = |mut cells: Vec<String>| {
                let heading = if cells.is_empty() { String::new() } else { cells.remove(0) };
                Row::new(heading, cells)
            };
            let rows = table.rows.into_iter().map(row).collect();
            Block::Table(Table { caption: table.caption, header: table.header, rows, numeric: true })
        });
        let warning = "Synthetic documents: scores on them say nothing about real text.";
        let page = Page {
            title: self.title.to_owned(),
            subtitle: "Simulated active learning".into(),
            warning: self.synthetic.then(|| warning.into()),
            provenance: self.provenance.into_iter().map(|(name, value)| (name, Value::Text(value))).collect(),
            sections: vec![
                Section {
                    id: "curves",
                    title: "Learning curves",
                    blocks: vec![Block::Text(text.into()), Block::Plots(plots)],
                },
                Section { id: "figures", title: "Figures", blocks: tables.collect() },
            ],
            version: self.version.to_owned(),
        };
        page.html()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_curve_is_drawn_and_named() {
        let curve = |at: usize| Curve {
            name: format!("strategy <{at}>"),
            points: vec![(1000.0, 0.5, Some(0.02)), (2000.0, 0.6 + at as f64 / 100.0, None)],
        };
        let page = ActivePage {
            title: "x",
            synthetic: true,
            provenance: vec![("encoder", "minilm".into())],
            curves: (0..7).map(curve).collect(),
            full: Some(0.8),
            tables: vec![PlainTable {
                caption: "c".into(),
                header: vec!["words".into(), "random".into()],
                rows: vec![vec!["1000".into(), "50.00 ± 2.00".into()]],
            }],
            version: "0",
        };
        let html = page.html().expect("a page");
        // Seven lines in two plots with two points each; the first line is in both plots.
        assert_eq!(html.matches("<circle").count(), 16, "{html}");
        assert!(
            html.contains("strategy &#60;6&#62;") && html.contains("50.00 ± 2.00") && !html.contains("NaN"),
            "{html}"
        );
    }
}
