use crate::format::pubtator::INDIVIDUAL_MENTIONS;
use crate::{Mention, Span};

/// Spellings that a document with Unicode uses, and their ASCII equivalents in the others.
const UNICODE: &[(&str, &str)] = &[
    ("micrograms", "µg"),
    ("+/-", "±"),
    (">or=", "≥"),
    ("<or=", "≤"),
    ("alpha-", "α-"),
    ("beta-", "β-"),
    ("gamma-", "γ-"),
    ("~", "–"),
];

/// Text under construction, with its mentions at their character positions.
///
/// Text and annotation grow together, so that offsets need not be searched for.
pub(super) struct TextBuilder {
    text: String,
    chars: usize,
    mentions: Vec<Mention>,
    capitalise: bool,
    unicode: bool,
}

impl TextBuilder {
    pub(super) fn new(unicode: bool) -> Self {
        Self { text: String::new(), chars: 0, mentions: Vec::new(), capitalise: true, unicode }
    }

    /// Whether this text uses Unicode where others use ASCII.
    pub(super) const fn is_unicode(&self) -> bool {
        self.unicode
    }

    /// Number of characters so far.
    pub(super) const fn len(&self) -> usize {
        self.chars
    }

    /// Capitalises the next character if it is an ASCII letter.
    pub(super) const fn begin_sentence(&mut self) {
        self.capitalise = true;
    }

    /// Appends text that is not a mention; `~` stands for the dash of a range.
    pub(super) fn push(&mut self, piece: &str) {
        let mut piece = piece.to_owned();
        if self.unicode {
            for (ascii, unicode) in UNICODE {
                piece = piece.replace(ascii, unicode);
            }
        } else {
            piece = piece.replace('~', "-");
        }
        if std::mem::take(&mut self.capitalise)
            && let Some(first) = piece.get_mut(..1)
        {
            first.make_ascii_uppercase();
        }
        self.chars += piece.chars().count();
        self.text.push_str(&piece);
    }

    /// Appends a mention. `parts` are the single mentions of a composite one; otherwise empty.
    pub(super) fn push_mention(&mut self, text: &str, entity_type: &str, concept_ids: Vec<String>, parts: &[String]) {
        let start = self.chars;
        self.push(text);
        let mut mention = Mention { concept_ids, ..Mention::new(Span::new(start, self.chars), entity_type) };
        if !parts.is_empty() {
            mention.attributes.insert(INDIVIDUAL_MENTIONS.to_owned(), parts.join("|"));
        }
        self.mentions.push(mention);
    }

    /// The text and its mentions, in order.
    pub(super) fn finish(self) -> (String, Vec<Mention>) {
        (self.text, self.mentions)
    }
}
