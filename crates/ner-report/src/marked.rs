//! Texts with highlighted mentions as HTML.

use ner_data::{CharIndex, Span};
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
    /// Whether to strike it through, for mentions that the text says are absent.
    pub is_struck: bool,
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
            let Highlight { category, details, is_dotted, is_struck, .. } = &highlights[at];
            let colour = colour(category);
            let dotted = if *is_dotted { " dotted" } else { "" };
            let struck = if *is_struck { " struck" } else { "" };
            // Writing to a string cannot fail.
            let _ = write!(
                html,
                "<mark class=\"series-{colour}{dotted}{struck}\" style=\"padding-bottom:{}px\" title=\"{}\">",
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
pub(crate) fn levels(spans: &[Span]) -> Vec<usize> {
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
pub(crate) fn escaped(text: &str) -> String {
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
