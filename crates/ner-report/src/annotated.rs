//! A page of texts with highlighted mentions, written document by document so that it can be streamed.

use crate::ReportError;
use crate::marked::{Highlight, escaped, marked};
use crate::page::{Page, Value};
use std::collections::HashMap;

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
        format!("<article><h2>{}</h2>\n{}</article>\n", escaped(id), marked(text, highlights, colour).html())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::marked::{levels, segments};
    use ner_data::Span;

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
            is_struck: true,
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
