//! A page of texts with highlighted mentions, written document by document so that it can be streamed.

use crate::ReportError;
use crate::page::{Page, Value};
use ner_data::{CharIndex, Span};
use std::collections::HashMap;
use std::fmt::Write;

/// A highlighted mention.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Highlight {
    /// Its span.
    pub span: Span,
    /// Label behind it: its type.
    pub label: String,
    /// Category, which sets the colour.
    pub category: String,
    /// Tooltip.
    pub details: String,
    /// Whether to draw a dotted line, for uncertain mentions.
    pub is_dotted: bool,
}

/// Number of colours in the style.
const COLOURS: usize = 5;

/// A page written from top to bottom.
#[derive(Debug)]
pub struct AnnotatedPage {
    top: String,
    bottom: String,
    colours: HashMap<String, usize>,
}

/// Placeholder for the documents in the frame.
const PLACE: &str = "<main>";

impl AnnotatedPage {
    /// A page; `models` appears at its top, `version` is medner's.
    ///
    /// # Errors
    /// If the template fails, which is not known to happen.
    pub fn new(title: &str, models: &str, version: &str) -> Result<Self, ReportError> {
        let warning = "Found by a program that makes mistakes. For research and development; not a medical device.";
        let page = Page {
            title: title.into(),
            subtitle: "Annotated text".into(),
            warning: Some(warning.into()),
            provenance: vec![("Models", Value::Text(models.into()))],
            sections: Vec::new(),
            version: version.into(),
        };
        let html = page.html()?;
        let (top, bottom) = html.split_once(PLACE).unwrap_or((&html, ""));
        Ok(Self { top: format!("{top}{PLACE}\n"), bottom: bottom.into(), colours: HashMap::new() })
    }

    /// HTML before the documents.
    pub fn top(&self) -> &str {
        &self.top
    }

    /// HTML after the documents.
    pub fn bottom(&self) -> &str {
        &self.bottom
    }

    /// HTML of one document.
    pub fn document(&mut self, id: &str, text: &str, highlights: &[Highlight]) -> String {
        let Self { colours, .. } = self;
        let colour = |category: &str| {
            let next = colours.len();
            1 + *colours.entry(category.to_owned()).or_insert(next) % COLOURS
        };
        format!("<article><h2>{}</h2>\n{}</article>\n", escaped(id), marked(text, highlights, colour).0)
    }
}

/// HTML of a text with highlighted mentions; the text itself is escaped.
pub(crate) struct Marked(String);

impl Marked {
    pub(crate) fn html(&self) -> &str {
        &self.0
    }
}

/// Highlights mentions, which may nest and cross: each gets its own line under the text and a label behind it. `colour`
/// returns the number of a category's colour, from 1.
pub(crate) fn marked(text: &str, highlights: &[Highlight], mut colour: impl FnMut(&str) -> usize) -> Marked {
    let index = CharIndex::new(text);
    let spans: Vec<Span> = highlights.iter().map(|highlight| highlight.span).collect();
    let levels = levels(&spans);
    let mut html = "<div class=\"note\">".to_owned();
    for (segment, mut over) in segments(index.len(), &spans) {
        over.sort_by_key(|&at| std::cmp::Reverse(levels[at]));
        for &at in &over {
            let Highlight { category, details, is_dotted, .. } = &highlights[at];
            let colour = colour(category);
            let dotted = if *is_dotted { " dotted" } else { "" };
            // Writing to a string cannot fail.
            let _ = write!(
                html,
                "<mark class=\"series-{colour}{dotted}\" style=\"padding-bottom:{}px\" title=\"{}\">",
                4 * levels[at],
                escaped(details)
            );
        }
        html.push_str(&escaped(index.slice(text, segment).unwrap_or_default()));
        html.push_str(&"</mark>".repeat(over.len()));
        for &at in over.iter().rev().filter(|&&at| highlights[at].span.end == segment.end) {
            let _ = write!(html, "<sub>{}</sub>", escaped(&highlights[at].label));
        }
    }
    html.push_str("</div>");
    Marked(html)
}

/// Cuts `0..len` at the borders of the spans; returns each part with the indices of the spans that cover it.
pub fn segments(len: usize, spans: &[Span]) -> Vec<(Span, Vec<usize>)> {
    let mut borders: Vec<usize> = spans.iter().flat_map(|span| [span.start, span.end]).chain([0, len]).collect();
    borders.sort_unstable();
    borders.dedup();
    let mut order: Vec<usize> = (0..spans.len()).filter(|&at| !spans[at].is_empty()).collect();
    order.sort_by_key(|&at| spans[at].start);
    let mut coming = order.into_iter().peekable();
    let mut over: Vec<usize> = Vec::new();
    let segment = |pair: &[usize]| {
        let segment = Span::new(pair[0], pair[1]);
        over.retain(|&at| spans[at].end > segment.start);
        while let Some(at) = coming.next_if(|&at| spans[at].start <= segment.start) {
            over.push(at);
        }
        (segment, over.clone())
    };
    borders.windows(2).map(segment).collect()
}

/// Assigns each span a line, from 0, so that overlapping spans have different lines.
fn levels(spans: &[Span]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..spans.len()).collect();
    // Of two spans with the same start, the shorter is nearer to the text.
    order.sort_by_key(|&at| (spans[at].start, spans[at].end));
    let mut ends: Vec<usize> = Vec::new();
    let mut levels = vec![0; spans.len()];
    for at in order {
        let free = ends.iter().position(|&end| end <= spans[at].start);
        let level = free.unwrap_or(ends.len());
        if free.is_none() {
            ends.push(0);
        }
        ends[level] = spans[at].end;
        levels[at] = level;
    }
    levels
}

/// Escapes text for HTML. Control characters, which HTML does not allow, become their pictures.
fn escaped(text: &str) -> String {
    let mut html = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => html.push_str("&amp;"),
            '<' => html.push_str("&lt;"),
            '>' => html.push_str("&gt;"),
            '"' => html.push_str("&quot;"),
            '\n' | '\t' | '\r' => html.push(character),
            '\0'..='\u{1f}' => html.push(char::from_u32(0x2400 + character as u32).unwrap_or('\u{fffd}')),
            '\u{7f}'..='\u{9f}' => html.push('\u{fffd}'),
            _ => html.push(character),
        }
    }
    html
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mentions_that_nest_and_cross_have_their_own_lines() {
        let spans = [Span::new(0, 4), Span::new(1, 2), Span::new(3, 6)];
        assert_eq!(levels(&spans), [0, 1, 1]);
        let found: Vec<(String, Vec<usize>)> =
            segments(7, &spans).into_iter().map(|(span, over)| (span.to_string(), over)).collect();
        let expected: [(&str, &[usize]); 6] =
            [("0..1", &[0]), ("1..2", &[0, 1]), ("2..3", &[0]), ("3..4", &[0, 2]), ("4..6", &[2]), ("6..7", &[])];
        assert_eq!(found, expected.map(|(span, over)| (span.to_owned(), over.to_vec())));

        let highlight = |span: Span, label: &str| Highlight {
            span,
            label: label.into(),
            category: label.into(),
            details: "\"x\"".into(),
            is_dotted: false,
        };
        let mut page = AnnotatedPage::new("t", "m", "0").expect("a page");
        let html = page.document("<1>", "a<ä\u{1b}cde", &[highlight(spans[0], "X"), highlight(spans[2], "Y")]);
        assert!(
            html.contains("<h2>&lt;1&gt;</h2>") && html.contains("&lt;ä") && html.contains("title=\"&quot;x&quot;\"")
        );
        assert!(!html.contains('\u{1b}') && html.contains('\u{241b}'));
        assert_eq!(html.matches("<mark").count(), html.matches("</mark>").count());
        assert_eq!(html.matches("<sub>").count(), 2);
        assert!(page.top().contains("not a medical device") && page.bottom().ends_with("</html>"));
        assert!(!page.top().contains("Contents"));
    }
}
