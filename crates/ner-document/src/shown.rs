//! Foreign strings (ids, types, names of files and models) as messages and tables show them.

use std::borrow::Cow;

/// Whether a character could steer a terminal, begin a new line, or change the order in which a line is shown: control
/// characters (C0, DEL, C1), line and paragraph separators, and Unicode's marks, embeddings, overrides and isolates of
/// direction.
pub const fn is_steering(character: char) -> bool {
    matches!(
        character,
        '\0'..='\u{1f}' | '\u{7f}'..='\u{9f}' | '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
    )
}

/// `text` with steering characters escaped as in Rust (`\n`, `\u{1b}`), so that it stays on its line.
pub fn shown(text: &str) -> Cow<'_, str> {
    if !text.contains(is_steering) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 8);
    for character in text.chars() {
        match character {
            '\n' | '\t' | '\r' => shown.extend(character.escape_default()),
            _ if is_steering(character) => shown.extend(character.escape_unicode()),
            _ => shown.push(character),
        }
    }
    Cow::Owned(shown)
}

/// Like [`shown`], for a message of several lines: line breaks and tabs stay, and every further line is indented, so
/// that no string in it can pose as a message of its own.
pub fn shown_lines(text: &str) -> String {
    let mut lines = text.split('\n');
    let mut message = String::new();
    let tidy = |line: &str| line.split('\t').map(shown).collect::<Vec<_>>().join("\t");
    if let Some(first) = lines.next() {
        message.push_str(&tidy(first));
    }
    for line in lines {
        let indent = if line.is_empty() || line.starts_with("  ") { "" } else { "  " };
        message.push('\n');
        message.push_str(indent);
        message.push_str(&tidy(line));
    }
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_steers_a_terminal_or_begins_a_line() {
        let table = [
            ("PMC-1 ä 中 👩\u{200d}🔬", "PMC-1 ä 中 👩\u{200d}🔬"),
            ("a\u{1b}[31mb", "a\\u{1b}[31mb"),
            ("a\nerror: b\r\t", "a\\nerror: b\\r\\t"),
            ("\u{9b}2J\u{7f}\0", "\\u{9b}2J\\u{7f}\\u{0}"),
            ("\u{202e}txt.exe\u{2066}\u{2028}", "\\u{202e}txt.exe\\u{2066}\\u{2028}"),
        ];
        for (text, expected) in table {
            assert_eq!(shown(text), expected);
        }
        assert_eq!(shown_lines("a\u{7}:\n    one\nerror: two\r\n"), "a\\u{7}:\n    one\n  error: two\\r\n");
    }
}
