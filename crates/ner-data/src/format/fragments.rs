//! Compares the text that a format states for a mention with its offsets.

use crate::{CharIndex, DiagnosticKind, Span};

/// The text of each fragment.
///
/// # Errors
/// If a fragment is empty or reaches outside of the text indexed by `index`.
pub(super) fn pieces<'t>(
    text: &'t str,
    index: &CharIndex,
    fragments: &[Span],
) -> Result<Vec<&'t str>, (DiagnosticKind, String)> {
    let out_of_range = |message| (DiagnosticKind::OffsetOutOfRange, message);
    fragments
        .iter()
        .map(|&span| {
            let piece = index.slice(text, span).ok_or_else(|| {
                out_of_range(format!("{span} reaches outside the document of {} characters", index.len()))
            })?;
            if piece.is_empty() { Err(out_of_range(format!("{span} is empty"))) } else { Ok(piece) }
        })
        .collect()
}

/// Whether `given` is the text of a mention with these fragments; any white space equals a space.
///
/// Fragments are usually joined by a space. Some tools give the whole text from the first to the last fragment, as
/// `bioc` requires; old releases of brat joined fragments without a space.
pub(super) fn is_text_of(given: &str, pieces: &[&str], text: &str, index: &CharIndex, fragments: &[Span]) -> bool {
    if same(given, &pieces.join(" ")) {
        return true;
    }
    let start = fragments.iter().map(|span| span.start).min().unwrap_or(0);
    let end = fragments.iter().map(|span| span.end).max().unwrap_or(0);
    let whole = index.slice(text, Span::new(start, end));
    pieces.len() > 1 && (whole.is_some_and(|whole| same(given, whole)) || same(given, &pieces.concat()))
}

fn same(a: &str, b: &str) -> bool {
    let spaces = |c: char| if c.is_whitespace() { ' ' } else { c };
    a == b || a.chars().map(spaces).eq(b.chars().map(spaces))
}
