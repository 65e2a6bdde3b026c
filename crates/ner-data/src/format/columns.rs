//! How the columns of a CoNLL file are written: separators, numbers of columns, spellings of tags, comments.

use super::pubtator;
use std::collections::BTreeMap;

pub(super) const DOCUMENT_START: &str = "-DOCSTART-";

/// Number of characters of a tag that a message quotes.
const QUOTED: usize = 40;

/// Names of the words' column in files that begin with the names of their columns.
const HEADINGS: [&str; 6] = ["word", "words", "token", "tokens", "form", "text"];

/// How the columns of a file are written, told from its beginning.
#[derive(Clone, Debug)]
pub(super) struct Shape {
    /// Whether only tabs separate columns.
    pub(super) tabs: bool,
    /// Number of columns.
    pub(super) columns: usize,
    pub(super) word_column: usize,
    pub(super) tag_column: usize,
    /// Whether most values of the tag column are tags.
    pub(super) has_tags: bool,
    /// Another column that has tags.
    pub(super) other_tags: Option<usize>,
    /// `None` until the first tag of an entity.
    pub(super) style: Option<Style>,
}

/// How a file writes the tags of entities.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Style {
    /// `B`.
    Untyped,
    /// `Disease-B`.
    Suffix,
    /// `B-Disease`.
    Prefix,
}

impl Shape {
    /// The shape of a file that begins with these lines.
    pub(super) fn of(lines: &[&str], word_column: Option<usize>, tag_column: Option<usize>) -> Self {
        let rows = rows_of(lines);
        let has_tab = |row: &&&str| {
            let fields = fields(row, true);
            let tag = tag_column.map_or(fields.last(), |column| fields.get(column));
            row.contains('\t') && !tag.is_some_and(|tag| tag.contains(' '))
        };
        let tabs = !rows.is_empty() && 2 * rows.iter().filter(has_tab).count() >= rows.len();
        let mut rows: Vec<Vec<&str>> = rows.into_iter().map(|row| fields(row, tabs)).collect();
        if rows.first().is_some_and(|row| is_heading(row)) {
            rows.remove(0);
        }
        let mut counts: BTreeMap<usize, usize> = BTreeMap::new();
        for row in &rows {
            *counts.entry(row.len()).or_default() += 1;
        }
        let mut columns = counts.into_iter().max_by_key(|(_, count)| *count).map_or(0, |(columns, _)| columns);
        // Tabs at the ends of all rows make no column.
        while columns > 1 && rows.iter().all(|row| row.get(columns - 1).is_none_or(|field| field.is_empty())) {
            columns -= 1;
        }
        let numbers = word_column.is_none() && columns >= 3 && numbers_words(&rows);
        let tag_column = tag_column.unwrap_or(columns.saturating_sub(1));
        let tags_in = |column: usize| rows.iter().filter_map(move |row| row.get(column)).copied();
        let mostly = |column: usize| {
            let (tags, all) = (tags_in(column).filter(|tag| is_tag(tag)).count(), tags_in(column).count());
            2 * tags > all || all == 0
        };
        // A column of zeros or single letters may be anything else.
        let is_sure = |column: usize| tags_in(column).any(|tag| matches!(tag, "O" | "o") || typed(tag).is_some());
        let other_tags = (0..columns).rev().find(|&column| column != tag_column && mostly(column) && is_sure(column));
        let is_only = other_tags.is_none() && tags_in(tag_column).any(|tag| tag != "0");
        let has_tags = mostly(tag_column) && (is_sure(tag_column) || is_only || tags_in(tag_column).count() == 0);
        let styles = tags_in(tag_column).filter_map(style_of);
        let mut by_style: BTreeMap<Style, usize> = BTreeMap::new();
        for style in styles {
            *by_style.entry(style).or_default() += 1;
        }
        Self {
            tabs,
            columns,
            word_column: word_column.unwrap_or(usize::from(numbers)),
            tag_column,
            has_tags,
            other_tags,
            style: by_style.into_iter().max_by_key(|(_, count)| *count).map(|(style, _)| style),
        }
    }

    /// The columns of a line; empty columns that the file does not have are left out at the end.
    pub(super) fn row<'l>(&self, line: &'l str) -> Vec<&'l str> {
        let mut row = fields(line, self.tabs);
        while row.len() > self.columns && row.last().is_some_and(|field| field.is_empty()) {
            row.pop();
        }
        row
    }

    /// Whether a line that begins with `#` is a row: it has the columns of the file, and a tag. With tabs, a line with
    /// these columns is a row even if its tag is wrong.
    pub(super) fn is_row(&self, row: &[&str]) -> bool {
        let has_tag = || row.get(self.tag_column).is_some_and(|tag| self.canonical(tag).is_ok());
        row.len() == self.columns && self.columns > 1 && (self.tabs || has_tag())
    }

    /// A tag in the spelling of [`TaggedSentence`](super::conll::TaggedSentence).
    pub(super) fn canonical(&self, tag: &str) -> Result<String, &'static str> {
        if is_outside(tag) {
            return Ok("O".to_owned());
        }
        let style = self.style.or_else(|| style_of(tag)).ok_or(NO_TAG)?;
        let parsed = match style {
            Style::Prefix | Style::Untyped => prefix(tag),
            Style::Suffix => suffix(tag),
        };
        match (parsed, style) {
            (Some((_, Some(entity_type))), _) if has_several_tags(entity_type) => {
                Err("names several tags; a row can have one")
            }
            (Some((letter, Some(entity_type))), Style::Prefix | Style::Suffix) => Ok(format!("{letter}-{entity_type}")),
            (Some((letter, None)), Style::Untyped) => Ok(letter.to_string()),
            (Some((_, Some(_))), Style::Untyped) => Err("names a type, unlike the other tags"),
            (Some((_, None)), _) => Err("names no type, unlike the other tags"),
            (None, Style::Suffix) if prefix(tag).is_some() => Err("has a prefix, but the other tags have suffixes"),
            (None, _) => Err(NO_TAG),
        }
    }
}

const NO_TAG: &str = "is neither O nor one of the letters B, I, E, S, L, U, M, W with a type (B-TYPE)";

/// The lines of words among these lines.
fn rows_of<'l>(lines: &[&'l str]) -> Vec<&'l str> {
    let is_row = |line: &&str| !is_blank(line) && document_start(line).is_none();
    let rows: Vec<&str> = lines.iter().copied().filter(is_row).collect();
    let uncommented: Vec<&str> = rows.iter().copied().filter(|line| !line.starts_with('#')).collect();
    if uncommented.is_empty() { rows } else { uncommented }
}

pub(super) fn is_blank(line: &str) -> bool {
    line.bytes().all(|byte| byte.is_ascii_whitespace())
}

/// The columns of a line. Only ASCII spaces and tabs separate columns: a thin space or a no-break space can be a word.
fn fields(line: &str, tabs: bool) -> Vec<&str> {
    if tabs {
        line.split('\t').map(|field| field.trim_matches(|c: char| c.is_ascii_whitespace())).collect()
    } else {
        line.split_ascii_whitespace().collect()
    }
}

/// Whether a row has the names of the columns.
pub(super) fn is_heading(row: &[&str]) -> bool {
    let names_words = row.iter().take(2).any(|name| HEADINGS.contains(&name.to_ascii_lowercase().as_str()));
    names_words && !row.iter().skip(1).any(|name| is_tag(name))
}

/// Whether the first column numbers the words of each sentence, with few exceptions.
fn numbers_words(rows: &[Vec<&str>]) -> bool {
    let rows: Vec<&Vec<&str>> =
        rows.iter().filter(|row| !row.first().is_some_and(|field| is_extra_number(field))).collect();
    let mut last = 0;
    let follows = |row: &&&Vec<&str>| {
        let Some(number) = row.first().and_then(|field| field.parse::<usize>().ok()) else { return false };
        let follows = number == last + 1 || number == 1;
        last = number;
        follows
    };
    rows.len() >= 2 && 10 * rows.iter().filter(follows).count() >= 9 * rows.len()
}

/// Whether a field numbers no word of its own: a token of several words (`1-2`) or an empty word (`1.1`) of CoNLL-U.
pub(super) fn is_extra_number(field: &str) -> bool {
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    field.split_once(['-', '.']).is_some_and(|(first, last)| is_number(first) && is_number(last))
}

/// The text after `-DOCSTART-`, if the line begins with this word.
pub(super) fn document_start(line: &str) -> Option<&str> {
    let rest = line.trim_ascii().strip_prefix(DOCUMENT_START)?;
    (rest.is_empty() || rest.starts_with(|c: char| c.is_ascii_whitespace())).then(|| rest.trim_ascii())
}

/// The id in the text after `-DOCSTART-`: the text in parentheses, or the only column that is not a placeholder. It has a
/// digit then, because the placeholders of some corpora look like words. An error if there is text, but no id.
pub(super) fn id_of_start(text: &str) -> Result<Option<&str>, ()> {
    let is_placeholder = |column: &&str| {
        is_tag(column) || matches!(*column, "X" | "_" | "-" | "*") || (column.starts_with('-') && column.ends_with('-'))
    };
    let parenthesised = |text: &'_ str| text.len() > 2 && text.starts_with('(') && text.ends_with(')');
    let columns: Vec<&str> = text.split_ascii_whitespace().filter(|column| !is_placeholder(column)).collect();
    let id = match columns.as_slice() {
        [] => return Ok(None),
        _ if parenthesised(text) => text,
        [id] if parenthesised(id) || id.contains(|c: char| c.is_ascii_digit()) => id,
        _ => return Err(()),
    };
    Ok(Some(id.trim_start_matches('(').trim_end_matches(')').trim()))
}

/// Whether a comment begins a document, and its id: `###MEDLINE:95369245` (JNLPBA), `# newdoc id = 7` (CoNLL-U),
/// `# document_id = 7` (HIPE), `#begin document (7); part 0` (CoNLL-2012).
pub(super) fn document_of_comment(comment: &str) -> Option<Option<&str>> {
    let text = comment.trim_start_matches('#').trim();
    if text == "newdoc" {
        return Some(None);
    }
    if let Some(id) = text.strip_prefix("begin document ") {
        return Some(Some(id.trim()).filter(|id| !id.is_empty()));
    }
    let (key, value) = text.split_once('=').or_else(|| text.split_once(':'))?;
    let key = key.rsplit(':').next()?.trim().to_ascii_lowercase().replace([' ', '-'], "_");
    let value = value.trim();
    let names_document =
        matches!(key.as_str(), "newdoc_id" | "doc_id" | "docid" | "document_id" | "medline" | "pmid" | "pmcid");
    // A value with blanks would be text, which messages must not quote.
    (names_document && !value.is_empty() && !value.contains(char::is_whitespace)).then_some(Some(value))
}

fn is_outside(tag: &str) -> bool {
    matches!(tag, "O" | "o" | "0")
}

/// Whether it is a tag in any style.
fn is_tag(tag: &str) -> bool {
    is_outside(tag) || style_of(tag).is_some()
}

/// The style of an entity's tag; of several the more common.
pub(super) fn style_of(tag: &str) -> Option<Style> {
    match (prefix(tag), suffix(tag)) {
        (Some((_, Some(_))), _) => Some(Style::Prefix),
        (_, Some(_)) => Some(Style::Suffix),
        (Some((_, None)), None) => Some(Style::Untyped),
        (None, None) => None,
    }
}

/// The type that a tag names.
fn typed(tag: &str) -> Option<&str> {
    prefix(tag).and_then(|(_, entity_type)| entity_type).or_else(|| suffix(tag)?.1)
}

/// Letter and type of `B-Disease`; no type in `B` and `B-`.
fn prefix(tag: &str) -> Option<(char, Option<&str>)> {
    let mut rest = tag.chars();
    let letter = letter(rest.next()?)?;
    match rest.next() {
        None => Some((letter, None)),
        Some(sign) => is_joint(sign).then_some((letter, Some(rest.as_str()).filter(|rest| !rest.is_empty()))),
    }
}

/// Letter and type of `Disease-B`.
fn suffix(tag: &str) -> Option<(char, Option<&str>)> {
    let mut rest = tag.chars();
    let letter = letter(rest.next_back()?)?;
    let joint = rest.next_back()?;
    (is_joint(joint) && !rest.as_str().is_empty()).then_some((letter, Some(rest.as_str())))
}

/// Between letter and type: a hyphen, a dash that a text program made of it, or an underscore.
const fn is_joint(sign: char) -> bool {
    matches!(sign, '-' | '_' | '\u{2010}'..='\u{2015}' | '\u{2212}')
}

/// The letter of a tag: `M` (BMES) is `I`, and `W` (BMEWO) is `S`.
const fn letter(letter: char) -> Option<char> {
    match letter.to_ascii_uppercase() {
        known @ ('B' | 'I' | 'E' | 'S' | 'L' | 'U') => Some(known),
        'M' => Some('I'),
        'W' => Some('S'),
        _ => None,
    }
}

/// Between the tags of a word that has several.
pub(super) const TAG_SEPARATORS: [char; 6] = ['|', ',', ';', '+', '/', '&'];

/// Whether another tag follows inside a type, as in `B-Disease|B-Finding`.
pub(super) fn has_several_tags(entity_type: &str) -> bool {
    let is_next = |part: &str| part == "O" || matches!(prefix(part), Some((_, Some(_))));
    entity_type.split(TAG_SEPARATORS).skip(1).any(is_next)
}

/// A tag for a message: without control characters, and not longer than tags are.
pub(super) fn quoted(tag: &str) -> String {
    let shown: String = tag.chars().take(QUOTED).flat_map(char::escape_debug).collect();
    let more = if tag.chars().nth(QUOTED).is_some() { "…" } else { "" };
    format!("`{shown}{more}`")
}

/// Whether `text` is the beginning of a file in this format: a document mark, or rows with the same number of columns of
/// which one has tags, with few exceptions.
///
/// Last words of notes look like tags (`vitamin B-12`, `hepatitis B`), so tags alone are not enough: without tabs, some
/// rows must be `O` or continue an entity.
pub(super) fn begins(text: &str) -> bool {
    if pubtator::begins(text) {
        return false;
    }
    let mut lines: Vec<&str> = text.split(['\n', '\r']).map(|line| line.trim_start_matches('\u{feff}')).collect();
    let first = lines.iter().find(|line| !is_blank(line) && !line.starts_with('#'));
    if first.is_some_and(|line| document_start(line).is_some()) {
        return true;
    }
    // The last line may be cut off.
    if lines.len() > 3 {
        lines.pop();
    }
    let shape = Shape::of(&lines, None, None);
    let is_row = |line: &&&str| {
        !is_blank(line) && document_start(line).is_none() && (!line.starts_with('#') || shape.is_row(&shape.row(line)))
    };
    let mut rows: Vec<Vec<&str>> = lines.iter().filter(is_row).map(|line| shape.row(line)).collect();
    if rows.first().is_some_and(|row| is_heading(row)) {
        rows.remove(0);
    }
    (1..shape.columns).any(|column| holds_tags(&rows, column, &shape))
}

/// Whether a column of these rows has tags.
fn holds_tags(rows: &[Vec<&str>], column: usize, shape: &Shape) -> bool {
    let names_type = |tag: &str| typed(tag).is_some_and(|entity_type| entity_type.starts_with(char::is_alphabetic));
    let fits = |row: &&Vec<&str>| {
        let is_tag = |tag: &&str| is_outside(tag) || prefix(tag).is_some_and(|(_, t)| t.is_none()) || names_type(tag);
        row.len() == shape.columns && row.get(column).is_some_and(is_tag)
    };
    let tags: Vec<&str> = rows.iter().filter(fits).map(|row| row[column]).collect();
    if 4 * (rows.len() - tags.len()) > rows.len() {
        return false;
    }
    let has_outside = tags.iter().any(|tag| matches!(*tag, "O" | "o"));
    let has_type = tags.iter().any(|tag| names_type(tag));
    let continues = tags.windows(2).any(|pair| match (prefix(pair[0]), prefix(pair[1])) {
        (Some((_, Some(before))), Some(('I' | 'E' | 'L', Some(after)))) => before == after && names_type(pair[1]),
        _ => false,
    });
    let is_all_outside = tags.iter().all(|tag| is_outside(tag));
    match (shape.tabs, has_type) {
        (true, true) => true,
        (false, true) => tags.len() >= 2 && (has_outside || continues),
        (_, false) => has_outside && tags.len() >= if is_all_outside { 2 } else { 3 },
    }
}
