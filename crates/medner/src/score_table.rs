//! Scores as a table.

use comfy_table::{Cell, CellAlignment, ContentArrangement, Table, presets};
use ner_eval::{Score, Scores};
use std::io::{self, Write};

/// Writes the scores in percent, a row for each type and two averages. What is undefined is `–`, never 0.
///
/// # Errors
/// Where `out` cannot be written.
pub fn print(scores: &Scores, out: &mut impl Write) -> io::Result<()> {
    let mut table = table(&["", "precision", "recall", "F1", "support"]);
    let types = scores.per_type.iter().map(|(entity_type, score)| (entity_type.as_str(), score));
    let rows: Vec<(&str, &Score)> =
        types.chain([("all (micro)", &scores.overall), ("mean of types (macro)", &scores.macro_)]).collect();
    let mut undefined = false;
    for (name, score) in rows {
        let mut row = vec![name.to_owned()];
        for part in [score.precision, score.recall, score.f1] {
            undefined |= part.is_none();
            row.push(part.map_or_else(|| "–".to_owned(), |part| format!("{:.2}", 100.0 * part)));
        }
        row.push(score.support.to_string());
        add_row(&mut table, row);
    }
    writeln!(out, "{table}")?;
    if undefined {
        writeln!(out, "– is undefined: nothing was predicted, or there is nothing to find.")?;
    }
    Ok(())
}

/// An empty table that reads well in a terminal, to whose width it is wrapped, and in Markdown, where it is not.
pub fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::ASCII_MARKDOWN).set_content_arrangement(ContentArrangement::Dynamic).set_header(header);
    table
}

/// Adds a row: the first cell is a name, the others are numbers.
pub fn add_row(table: &mut Table, row: Vec<String>) {
    let align = |(at, text): (usize, String)| {
        Cell::new(text).set_alignment(if at == 0 { CellAlignment::Left } else { CellAlignment::Right })
    };
    table.add_row(row.into_iter().enumerate().map(align));
}

#[cfg(test)]
mod tests {
    use super::*;
    use ner_eval::Counts;
    use std::collections::BTreeMap;

    #[test]
    fn undefined_is_never_zero() {
        let counts = BTreeMap::from([
            ("A".to_owned(), Counts { tp: 2, fp: 1, fn_: 1 }),
            ("B".to_owned(), Counts { tp: 0, fp: 0, fn_: 3 }),
        ]);
        let mut out = Vec::new();
        print(&Scores::from(counts), &mut out).expect("memory");
        let expected = "\
|                       | precision | recall | F1    | support |
|-----------------------|-----------|--------|-------|---------|
| A                     |     66.67 |  66.67 | 66.67 |       3 |
| B                     |         – |   0.00 |  0.00 |       3 |
| all (micro)           |     66.67 |  33.33 | 44.44 |       6 |
| mean of types (macro) |     33.33 |  33.33 | 33.33 |       6 |
– is undefined: nothing was predicted, or there is nothing to find.
";
        assert_eq!(String::from_utf8(out).expect("UTF-8"), expected);
    }
}
