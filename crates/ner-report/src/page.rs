//! The frame of every page: title, provenance, contents, sections of texts, tables and figures.

use crate::ReportError;
use crate::annotated::Marked;
use crate::plot::Plot;
use askama::Template;

/// A page.
#[derive(Template)]
#[template(path = "page.html")]
pub struct Page {
    pub title: String,
    /// What kind of page it is.
    pub subtitle: String,
    /// What a reader has to know before everything else.
    pub warning: Option<String>,
    /// Where the figures come from: names and values.
    pub provenance: Vec<(&'static str, Value)>,
    pub sections: Vec<Section>,
    pub version: String,
}

/// A value of the provenance.
pub enum Value {
    Text(String),
    /// An address that a reader may follow; nothing is loaded from it.
    Link(String),
}

/// A part of a page, listed in its contents.
pub struct Section {
    /// Fragment of its address; unique on the page.
    pub id: &'static str,
    pub title: &'static str,
    pub blocks: Vec<Block>,
}

/// What a section is made of.
pub enum Block {
    /// A paragraph.
    Text(String),
    Table(Table),
    /// Figures, side by side where there is room.
    Plots(Vec<Plot>),
    /// Names and the numbers of their colours.
    Legend(Vec<(String, usize)>),
    Article(Article),
}

/// A document, once or in several readings.
pub struct Article {
    pub heading: String,
    /// What a reading is, and its text.
    pub parts: Vec<(String, Marked)>,
}

/// A table with a heading for each row and column.
pub struct Table {
    pub caption: String,
    /// Headings of the columns; that of the column of headings is the first.
    pub header: Vec<String>,
    pub rows: Vec<Row>,
    /// Whether the cells are numbers, aligned at the right.
    pub numeric: bool,
}

/// A row of a table.
pub struct Row {
    pub heading: String,
    /// How far the heading is set in: 0, or 1 for a part of what stands above.
    pub level: usize,
    /// Section that says more.
    pub link: Option<&'static str>,
    pub cells: Vec<String>,
}

impl Value {
    /// Whether there is nothing to say.
    pub fn is_empty(&self) -> bool {
        let (Self::Text(text) | Self::Link(text)) = self;
        text.is_empty()
    }
}

impl Row {
    /// A row that says everything itself.
    pub fn new(heading: impl Into<String>, cells: Vec<String>) -> Self {
        Self { heading: heading.into(), level: 0, link: None, cells }
    }
}

impl Page {
    /// The page as HTML.
    ///
    /// # Errors
    /// Where the template fails, for which no reason is known.
    pub fn html(&self) -> Result<String, ReportError> {
        Ok(self.render()?)
    }

    /// The style of all pages.
    fn style(&self) -> &'static str {
        include_str!("../templates/style.css")
    }
}
