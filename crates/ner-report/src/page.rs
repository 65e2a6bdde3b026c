//! The frame of every page: title, provenance, contents, and sections of texts, tables and figures.

use crate::ReportError;
use crate::marked::Marked;
use crate::plot::Plot;
use askama::Template;

/// A page.
#[derive(Template)]
#[template(path = "page.html")]
pub struct Page {
    pub title: String,
    /// Kind of page.
    pub subtitle: String,
    /// A warning shown first.
    pub warning: Option<String>,
    /// Origin of the figures: names and values.
    pub provenance: Vec<(&'static str, Value)>,
    pub sections: Vec<Section>,
    pub version: String,
}

/// A provenance value.
pub enum Value {
    Text(String),
    /// A link for the reader; the page loads nothing from it.
    Link(String),
}

/// A section, listed in the contents.
pub struct Section {
    /// Anchor; unique on the page.
    pub id: &'static str,
    pub title: &'static str,
    pub blocks: Vec<Block>,
}

/// A block of a section.
pub enum Block {
    /// A paragraph.
    Text(String),
    Table(Table),
    /// Figures, side by side if there is space.
    Plots(Vec<Plot>),
    /// Names and colour numbers.
    Legend(Vec<(String, usize)>),
    Article(Article),
}

/// A document, in one or several versions.
pub struct Article {
    pub heading: String,
    /// Heading and text of each version.
    pub parts: Vec<(String, Marked)>,
}

/// A table with headings for rows and columns.
pub struct Table {
    pub caption: String,
    /// Column headings, starting with that of the row headings.
    pub header: Vec<String>,
    pub rows: Vec<Row>,
    /// Whether the cells are right-aligned numbers.
    pub numeric: bool,
}

/// A row of a table.
pub struct Row {
    pub heading: String,
    /// Indentation of the heading: 0, or 1 for a part of the row above.
    pub level: usize,
    /// Section with details.
    pub link: Option<&'static str>,
    pub cells: Vec<String>,
}

impl Value {
    /// A link, if the address is one of the web: another scheme (`javascript:`) could run code.
    pub fn address(address: &str) -> Self {
        let scheme = address.split_once("://").map(|(scheme, _)| scheme.to_ascii_lowercase());
        match scheme.as_deref() {
            Some("http" | "https") => Self::Link(address.to_owned()),
            _ => Self::Text(address.to_owned()),
        }
    }

    /// Whether it is empty.
    pub fn is_empty(&self) -> bool {
        let (Self::Text(text) | Self::Link(text)) = self;
        text.is_empty()
    }
}

impl Row {
    /// A row without link.
    pub fn new(heading: impl Into<String>, cells: Vec<String>) -> Self {
        Self { heading: heading.into(), level: 0, link: None, cells }
    }
}

impl Page {
    /// The page as HTML.
    ///
    /// # Errors
    /// If the template fails, which is not known to happen.
    pub fn html(&self) -> Result<String, ReportError> {
        Ok(self.render()?)
    }

    /// The style of all pages.
    fn style(&self) -> &'static str {
        include_str!("../templates/style.css")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_of_the_web_become_links() {
        for (address, is_link) in [
            ("https://example.org/?a=1", true),
            ("HTTP://example.org", true),
            ("javascript:alert(1)", false),
            ("javascript://example.org/%0aalert(1)", false),
            ("data:text/html,x", false),
            (" https://example.org", false),
            ("see the paper", false),
        ] {
            assert_eq!(matches!(Value::address(address), Value::Link(_)), is_link, "{address}");
        }
    }
}
